/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the files of this module only: values put at the end of a buffer. What is put
 * reserves exactly the bytes that it takes, so that a document fits whenever its length does.
 */
#ifndef SIDECAR_JSON_PUT_H
#define SIDECAR_JSON_PUT_H

#include "buffer.h"

#include <stdint.h>
#include <string.h>

/* As buffer_reserve(); inline, since nearly every call finds room. */
static inline char *json_room(struct buffer *out, size_t bytes)
{
    /* A failed buffer takes no more, even where it has room. */
    if (!out->failed && bytes <= out->capacity - out->length && out->data != NULL) {
        return out->data + out->length;
    }
    return buffer_reserve(out, bytes);
}

static inline void json_put(struct buffer *out, const char *bytes, size_t count)
{
    if (count == 0) {
        return; /* bytes may be NULL */
    }
    char *place = json_room(out, count);
    if (place != NULL) {
        memcpy(place, bytes, count);
        out->length += count;
    }
}

static inline void json_put_char(struct buffer *out, char byte)
{
    json_put(out, &byte, 1);
}

/* json_number.c */
void json_put_uint(struct buffer *out, uint64_t value);
void json_put_int(struct buffer *out, int64_t value);
void json_put_double(struct buffer *out, double value);            /* finite */
void json_put_fixed(struct buffer *out, double value, int digits); /* finite */

/* json.c */
/* A comma, unless what follows is the first thing of its document, object, array or line. */
void json_put_separator(struct buffer *out);
/* Escaped and in quotes. */
void json_put_text(struct buffer *out, const char *bytes, size_t count);
void json_put_bool(struct buffer *out, bool value);

#endif
