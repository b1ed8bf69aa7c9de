/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing run of bytes with an upper bound. A write beyond the bound, or without memory, marks
 * the buffer failed and writes nothing more; the caller looks at `failed` once, at the end.
 */
#ifndef SIDECAR_BUFFER_H
#define SIDECAR_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* bytes written so far, not NUL-terminated */
    size_t length;
    size_t capacity;
    size_t max;
    bool failed;
};

/* An empty buffer that grows up to max bytes. Allocates nothing yet. */
void buffer_init(struct buffer *buffer, size_t max);

/* Room for `bytes` more, to be written at the returned place and then counted by adding to length;
 * NULL (and failed) when there is none. */
char *buffer_reserve(struct buffer *buffer, size_t bytes);

void buffer_append(struct buffer *buffer, const char *bytes, size_t count);

/* Empties the buffer and clears `failed`; keeps the memory. */
void buffer_reset(struct buffer *buffer);

void buffer_free(struct buffer *buffer);

#endif
