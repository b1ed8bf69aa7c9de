/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences in fixed buffers. */
#include "sentence.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct sentence sentence_begin(char *text, size_t cap)
{
    text[0] = '\0';
    return (struct sentence){.text = text, .cap = cap};
}

void sentence_add(struct sentence *sentence, const char *format, ...)
{
    const size_t left = sentence->cap - sentence->length;
    va_list arguments;
    va_start(arguments, format);
    const int wanted = vsnprintf(sentence->text + sentence->length, left, format, arguments);
    va_end(arguments);
    if (wanted > 0) {
        sentence->length += (size_t)wanted < left ? (size_t)wanted : left - 1;
    }
}

/* The longest length <= max at which `text` may be cut: no byte of a character's inside follows. */
static size_t cut_length(const char *text, size_t max)
{
    size_t length = strnlen(text, max + 1);
    if (length > max) {
        length = max;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
            length--;
        }
    }
    return length;
}

void sentence_add_foreign(struct sentence *sentence, const char *foreign, size_t bytes_max)
{
    const size_t left = sentence->cap - sentence->length - 1;
    const size_t count = cut_length(foreign, bytes_max < left ? bytes_max : left);
    char *end = sentence->text + sentence->length;
    for (size_t i = 0; i < count; i++) {
        const unsigned char byte = (unsigned char)foreign[i];
        end[i] = byte < 0x20 || byte == 0x7F ? ' ' : foreign[i];
    }
    end[count] = '\0';
    sentence->length += count;
}

double sentence_seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}
