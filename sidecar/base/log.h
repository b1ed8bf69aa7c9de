/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sidecar's own messages, on stderr: readable lines on a terminal, one JSON object a line
 * elsewhere. Any thread. Never given a token or a secret.
 */
#ifndef SIDECAR_LOG_H
#define SIDECAR_LOG_H

enum log_level { LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* One line; longer than 2,000 bytes is cut. Control characters and invalid bytes are escaped. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#endif
