/* SPDX-License-Identifier: Apache-2.0 */
/* A judge of JSON that shares nothing with the program's own writer: RFC 8259, and UTF-8. */
#ifndef TESTS_JSON_VALID_H
#define TESTS_JSON_VALID_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the bytes are exactly one JSON text of valid UTF-8, at most 64 levels deep. */
bool json_valid(const char *bytes, size_t count);

#endif
