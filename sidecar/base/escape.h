/* SPDX-License-Identifier: Apache-2.0 */
/* How text is escaped, in JSON strings and on a terminal alike. */
#ifndef SIDECAR_ESCAPE_H
#define SIDECAR_ESCAPE_H

#include <stddef.h>

#define ESCAPE_BYTES_MAX 6

/*
 * Escapes the first sequence of bytes[0..count), count > 0, into `out`: control characters (U+0001
 * to U+001F, U+007F to U+009F) become \u00XX, quotes and backslashes get a backslash, NUL and what
 * is not UTF-8 become U+FFFD, and every other character stands for itself. Returns how many bytes
 * were written; *taken is how many were read, 1..4.
 */
size_t escape_sequence(const char *bytes, size_t count, char out[ESCAPE_BYTES_MAX], size_t *taken);

#endif
