/* SPDX-License-Identifier: Apache-2.0 */
/* Text as words: its bytes in file order, the last word padded with zeros. */
#ifndef SHMLAYOUT_TEXT_H
#define SHMLAYOUT_TEXT_H

#include "shmlayout/atomic.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The last word of a text of `bytes` bytes where it is not a whole one. No call and hardly a branch:
 * every key, name and log line has one. */
static inline uint64_t fws_text_rest(const char *text, size_t bytes)
{
    const size_t rest = bytes % 8;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (bytes > 8) /* the last eight bytes, without those of the word before */
        return fws_load(text + bytes - 8, 0) >> (8 - rest) * 8;
    if (rest >= 4) { /* two halves that may overlap in bytes that are the same */
        uint32_t low, high;
        memcpy(&low, text, 4);
        memcpy(&high, text + rest - 4, 4);
        return low | (uint64_t)high << (rest - 4) * 8;
    }
    const unsigned char *at = (const unsigned char *)text;
    return at[0] | (uint64_t)at[rest / 2] << rest / 2 * 8 |
           (uint64_t)at[rest - 1] << (rest - 1) * 8;
#else
    uint64_t word = 0;
    memcpy(&word, text + bytes - rest, rest);
    return word;
#endif
}

/* Copies text to words in private memory; returns how many. */
static inline size_t fws_text_to_words(uint64_t *out, const char *text, size_t bytes)
{
    const size_t whole = bytes / 8;
    for (size_t i = 0; i < whole; i++)
        out[i] = fws_load(text, i);
    if (bytes % 8 == 0)
        return whole;
    out[whole] = fws_text_rest(text, bytes);
    return whole + 1;
}

/* The same to words that readers see. */
static inline void fws_text_publish(fws_word *to, const char *text, size_t bytes)
{
    fws_publish_all(to, text, bytes / 8);
    if (bytes % 8 != 0)
        fws_publish(&to[bytes / 8], fws_text_rest(text, bytes));
}

#endif
