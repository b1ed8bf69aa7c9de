/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer doubles, or takes what is asked for where that is more; never beyond its bound. */
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN ((size_t)256)

void buffer_init(struct buffer *buffer, size_t max)
{
    *buffer = (struct buffer){.max = max};
}

/* Makes room for `needed` bytes in all, needed <= max. False when memory is out. */
static bool buffer_grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > CAPACITY_MIN / 2 ? buffer->capacity : CAPACITY_MIN / 2;
    capacity = capacity > buffer->max / 2 ? buffer->max : capacity * 2;
    capacity = capacity > needed ? capacity : needed;
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

char *buffer_reserve(struct buffer *buffer, size_t bytes)
{
    if (buffer->failed) {
        return NULL;
    }
    if (bytes > buffer->max - buffer->length) {
        buffer->failed = true;
        return NULL;
    }
    const size_t needed = buffer->length + bytes;
    if (buffer->data == NULL || needed > buffer->capacity) {
        if (!buffer_grow(buffer, needed)) {
            buffer->failed = true;
            return NULL;
        }
    }
    return buffer->data + buffer->length;
}

void buffer_append(struct buffer *buffer, const char *bytes, size_t count)
{
    if (count == 0) {
        return;
    }
    char *place = buffer_reserve(buffer, count);
    if (place != NULL) {
        memcpy(place, bytes, count);
        buffer->length += count;
    }
}

void buffer_reset(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    buffer_init(buffer, buffer->max);
}
