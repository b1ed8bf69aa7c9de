/* SPDX-License-Identifier: Apache-2.0 */
/* The one UTF-8 decoder of the sidecar, after table 3-7 of the Unicode standard. */
#include "utf8.h"

#include <stdint.h>
#include <string.h>

#define REPLACEMENT_BYTES (sizeof UTF8_REPLACEMENT - 1)

/*
 * How many bytes a character takes that starts with `lead`, 0 if none does. [*low, *high] becomes
 * the range of its second byte; it is narrower where a longer form, a surrogate or a number above
 * U+10FFFF would come out.
 */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0x80) {
        return lead != 0;
    }
    if (lead < 0xC2 || lead > 0xF4) {
        return 0;
    }
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

size_t utf8_sequence(const char *bytes, size_t count, bool *valid)
{
    unsigned char low, high;
    const size_t length = lead_length((unsigned char)bytes[0], &low, &high);
    *valid = false;
    for (size_t i = 1; i < length; i++) {
        if (i == count || (unsigned char)bytes[i] < low || (unsigned char)bytes[i] > high) {
            return i;
        }
        low = 0x80;
        high = 0xBF;
    }
    *valid = length != 0;
    return length != 0 ? length : 1;
}

/* Whether eight bytes are ASCII other than NUL. */
static bool ascii_word(const char *bytes)
{
    const uint64_t ones = 0x0101010101010101U, highs = ones << 7;
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    /* The subtraction borrows out of a byte only if that byte is 0. */
    return ((word | (word - ones)) & highs) == 0;
}

/* How many bytes at the start are ASCII other than NUL; may stop early, at a word that is mixed. */
static size_t ascii_run(const char *bytes, size_t count)
{
    const size_t width = sizeof(uint64_t);
    size_t i = 0;
    while (count - i >= width && ascii_word(bytes + i)) {
        i += width;
    }
    if (count - i >= width) {
        return i;
    }
    if (count >= width && ascii_word(bytes + count - width)) {
        return count; /* the last word once more, with the bytes behind it */
    }
    while (i < count && bytes[i] != '\0' && ((unsigned char)bytes[i] & 0x80) == 0) {
        i++;
    }
    return i;
}

/* Repairs bytes[0..count) into `out`, or only measures when out is NULL. Returns the length. */
static size_t repair_into(char *out, const char *bytes, size_t count)
{
    size_t length = 0;
    for (size_t i = 0, taken; i < count; i += taken) {
        bool valid = true;
        taken = ascii_run(bytes + i, count - i);
        if (taken == 0) {
            taken = utf8_sequence(bytes + i, count - i, &valid);
        }
        const size_t written = valid ? taken : REPLACEMENT_BYTES;
        if (out != NULL) {
            memcpy(out + length, valid ? bytes + i : UTF8_REPLACEMENT, written);
        }
        length += written;
    }
    return length;
}

const char *utf8_repair(struct arena *arena, const char *bytes, size_t count, size_t *length)
{
    if (count > SIZE_MAX / REPLACEMENT_BYTES - 1) {
        return NULL;
    }
    const bool ascii = ascii_run(bytes, count) == count;
    const size_t needed = ascii ? count : repair_into(NULL, bytes, count);
    char *text = arena_room(arena, needed + 1);
    if (text == NULL) {
        return NULL;
    }
    if (ascii) {
        memcpy(text, bytes, count);
    } else {
        (void)repair_into(text, bytes, count);
    }
    text[needed] = '\0';
    if (length != NULL) {
        *length = needed;
    }
    return text;
}
