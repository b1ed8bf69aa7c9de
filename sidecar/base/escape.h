/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How text is escaped, in JSON strings and on a terminal alike. Nearly all text is plain: bytes of
 * 0x20..0x7E other than quote and backslash, each of which stands for itself. It is looked at in
 * blocks of sixteen bytes, of which the compiler makes what the machine has.
 */
#ifndef SIDECAR_ESCAPE_H
#define SIDECAR_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ESCAPE_BYTES_MAX 6

/*
 * Escapes the first sequence of bytes[0..count), count > 0, into `out`: control characters (U+0001
 * to U+001F, U+007F to U+009F) become \u00XX, quotes and backslashes get a backslash, NUL and what
 * is not UTF-8 become U+FFFD, and every other character stands for itself. Returns how many bytes
 * were written; *taken is how many were read, 1..4.
 */
size_t escape_sequence(const char *bytes, size_t count, char out[ESCAPE_BYTES_MAX], size_t *taken);

/* How many bytes at the start are plain. */
size_t escape_plain_run(const char *bytes, size_t count);

/* For escape_copy_plain(), of blocks. */
typedef uint8_t escape_block __attribute__((vector_size(16)));
typedef int8_t escape_signed_block __attribute__((vector_size(16)));
typedef uint64_t escape_mask __attribute__((vector_size(16)));

/* All ones where the block's bytes are plain, else 0. */
static inline escape_mask escape_plain(escape_block bytes)
{
    /* One more makes 0x7F and all above it negative, or 0. */
    const escape_mask printable = (escape_mask)((escape_signed_block)(bytes + 1) > 0x20);
    const escape_mask quote = (escape_mask)(bytes == '"'), slash = (escape_mask)(bytes == '\\');
    return printable & ~(quote | slash);
}

static inline bool escape_all(escape_mask plain)
{
    return (plain[0] & plain[1]) == UINT64_MAX;
}

/* Copies a text of less than a block as two halves, which may overlap; the same for its look. */
static inline escape_block escape_copy_short(char *to, const char *from, size_t count)
{
    uint64_t first = 0x2020202020202020, last = first;
    if (count >= 8) {
        memcpy(&first, from, 8);
        memcpy(&last, from + count - 8, 8);
        memcpy(to, &first, 8);
        memcpy(to + count - 8, &last, 8);
    } else if (count >= 4) {
        memcpy(&first, from, 4);
        memcpy(&last, from + count - 4, 4);
        memcpy(to, &first, 4);
        memcpy(to + count - 4, &last, 4);
    } else if (count > 0) {
        memcpy(&first, from, 1);
        memcpy((char *)&first + 1, from + count / 2, 1);
        memcpy(&last, from + count - 1, 1);
        memcpy(to, &first, 1);
        memcpy(to + count / 2, (char *)&first + 1, 1);
        memcpy(to + count - 1, &last, 1);
    }
    return (escape_block)(escape_mask){first, last};
}

/* Copies bytes[0..count) to `to`, which does not overlap them. False when not all of them are
 * plain: what was copied is then of no use. */
static inline bool escape_copy_plain(char *to, const char *bytes, size_t count)
{
    escape_block block;
    if (count < sizeof block) {
        return escape_all(escape_plain(escape_copy_short(to, bytes, count)));
    }
    escape_mask plain = {UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < count - sizeof block; i += sizeof block) {
        memcpy(&block, bytes + i, sizeof block);
        memcpy(to + i, &block, sizeof block);
        plain &= escape_plain(block);
    }
    memcpy(&block, bytes + count - sizeof block, sizeof block); /* may overlap the one before */
    memcpy(to + count - sizeof block, &block, sizeof block);
    return escape_all(plain & escape_plain(block));
}

#endif
