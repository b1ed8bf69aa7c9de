/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks on private copies of what a peer wrote. Pure: no atomics, no I/O, no allocation; every
 * loop bounded by its arguments. Nothing here is ever given a pointer into a map.
 */
#ifndef SHMLAYOUT_VALIDATE_H
#define SHMLAYOUT_VALIDATE_H

#include "shmlayout/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fws_verdict {
    FWS_OK = 0,
    FWS_NOT_READY,    /* the magic is not there yet */
    FWS_FOREIGN,      /* not a region */
    FWS_BYTE_ORDER_OTHER,
    FWS_WORD_SIZE_OTHER,
    FWS_MAJOR_OTHER,
    FWS_INCOMPAT_UNKNOWN,
    FWS_TRUNCATED,    /* the file is shorter than the region says */
    FWS_CHECKSUM_WRONG,
    FWS_HEADER_WRONG, /* sizes or offsets that contradict each other */
};

/* One line of words for a verdict. Static. */
const char *fws_verdict_text(enum fws_verdict verdict);

/* FNV-1a over words 1..FWS_H_CHECKSUM-1 of a prefix, byte by byte in file order. */
uint64_t fws_prefix_checksum(const uint64_t prefix[FWS_H_PREFIX_WORDS]);

/* Judges a copy of the immutable prefix of a file of file_bytes bytes. */
enum fws_verdict fws_check_prefix(const uint64_t prefix[FWS_H_PREFIX_WORDS], uint64_t file_bytes);

/* One section as the directory describes it, checked. */
struct fws_section_info {
    uint64_t kind, version, offset, length, stride, count, lanes; /* bytes, but for the counts */
    const char *refused; /* NULL: usable; else a static line saying why not */
};

/* Checks a copy of the directory (dir_count entries, dir_stride bytes apart) against the region's
 * size: alignment, bounds, overlap, the least stride and size of known kinds. Fills out[0..count);
 * `refused` tells each verdict. At most FWS_SECTIONS_MAX entries are looked at; returns how many. */
size_t fws_check_directory(const uint64_t *directory, uint64_t dir_count, uint64_t dir_stride,
                           uint64_t header_bytes, uint64_t dir_offset, uint64_t region_bytes,
                           struct fws_section_info out[FWS_SECTIONS_MAX]);

const char *fws_section_name(uint64_t kind); /* "instruments", ...; "unknown" */

/* Whether [offset, offset + length) lies inside n bytes. */
static inline bool fws_inside(uint64_t offset, uint64_t length, uint64_t n)
{
    return offset <= n && length <= n - offset;
}

static inline uint64_t fws_words_of(uint64_t bytes)
{
    return bytes / FWS_WORD_BYTES + (bytes % FWS_WORD_BYTES != 0);
}

/* One attribute of a checked block. Key and value point into the block. */
struct fws_attr {
    unsigned type; /* enum fws_attr_type */
    const char *key;
    unsigned key_bytes;
    const char *value; /* strings: the bytes; else NULL */
    unsigned value_bytes;
    uint64_t number; /* int, double bits, bool */
};

/* How many words an attribute takes, its head included, that has `left` words behind its head; 0:
 * it is malformed. */
static inline size_t fws_attr_words(uint64_t head, size_t left)
{
    const unsigned type = FWS_ATTR_TYPE(head);
    const unsigned key_bytes = FWS_ATTR_KEY_BYTES(head);
    const unsigned value_bytes = FWS_ATTR_VALUE_BYTES(head);

    if (type < FWS_ATTR_STRING || type > FWS_ATTR_BOOL || key_bytes == 0 ||
        value_bytes > FWS_ATTR_VALUE_BYTES_MAX ||
        (type != FWS_ATTR_STRING && value_bytes != FWS_WORD_BYTES))
        return 0;
    const size_t words = 1 + (key_bytes + 7) / FWS_WORD_BYTES + (value_bytes + 7) / FWS_WORD_BYTES;
    return words <= left + 1 ? words : 0;
}

/* Takes the attribute at *at (a word index, advanced) of a private block of `words` words. False
 * when the block is malformed there. */
bool fws_attr_next(const uint64_t *block, size_t words, size_t *at, struct fws_attr *out);

/* Checks a private copy of a record head against the cursor's expectation: length within
 * [FWS_REC_WORDS * 8, FWS_RECORD_WORDS_MAX * 8] and a whole number of words, position, kind. */
bool fws_check_record_head(const uint64_t head[FWS_REC_WORDS], uint64_t position,
                           uint64_t capacity);

#endif
