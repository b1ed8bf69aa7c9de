/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with one sticky failure, so that callers check once at the end. */
#ifndef FWDSCOPE_REDACT_TEXT_H
#define FWDSCOPE_REDACT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char *bytes; /* owned; NUL-terminated once anything was added */
    size_t used;
    size_t room;
    bool failed; /* memory is out; further additions do nothing */
};

static inline void text_add(struct text *text, const char *bytes, size_t count)
{
    if (text->failed)
        return;
    if (text->room - text->used <= count) {
        size_t room = 2 * text->room + count + 64;
        char *grown = realloc(text->bytes, room);
        if (grown == NULL) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->room = room;
    }
    if (count > 0)
        memcpy(text->bytes + text->used, bytes, count);
    text->used += count;
    text->bytes[text->used] = '\0';
}

static inline void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

/* Replaces all of it. */
static inline void text_become(struct text *text, const char *string)
{
    text->used = 0;
    text_add_string(text, string);
}

static inline void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

#endif
