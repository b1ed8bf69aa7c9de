/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from a peer made into text: valid UTF-8 without NUL. */
#ifndef SIDECAR_UTF8_H
#define SIDECAR_UTF8_H

#include "arena.h"

#include <stdbool.h>

/* U+FFFD, which stands for what is not a character. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/*
 * How many bytes the first sequence of bytes[0..count) takes, 1..4; count > 0. *valid: they are one
 * character and not NUL. If not, they are what one U+FFFD stands for: the maximal subpart, as
 * Unicode recommends, or one byte.
 */
size_t utf8_sequence(const char *bytes, size_t count, bool *valid);

/*
 * A NUL-terminated copy of bytes[0..count) in the arena in which every invalid sequence (maximal
 * subpart, as Unicode recommends) and every NUL became U+FFFD; *length is its length in bytes
 * (length may be NULL). NULL when the arena is full.
 */
const char *utf8_repair(struct arena *arena, const char *bytes, size_t count, size_t *length);

#endif
