/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes lie in one piece behind the room for the first fragment's header, so that neither the
 * message nor any client needs a copy.
 */
#include "message_private.h"

#include <libwebsockets.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(MESSAGE_ROOM >= LWS_PRE, "room for the header of libwebsockets");

struct message {
    atomic_uint references;
    size_t length;
    char *data; /* MESSAGE_ROOM bytes, then the message's */
};

void message_begin(struct buffer *buffer, size_t expected)
{
    const size_t most = buffer->max - MESSAGE_ROOM;
    buffer_reset(buffer);
    char *room = buffer_reserve(buffer, MESSAGE_ROOM + (expected < most ? expected : most));
    if (room != NULL) {
        memset(room, '\n', MESSAGE_ROOM);
        buffer->length = MESSAGE_ROOM;
    }
}

/* The buffer's memory. Much that is not used is given back; a little is not, because the C library
 * would take the next that is as large from the kernel, and fault it in page by page. */
static char *buffer_take(struct buffer *buffer)
{
    char *data = buffer->data;
    if (buffer->capacity - buffer->length > buffer->length / 8) {
        char *smaller = realloc(data, buffer->length);
        data = smaller != NULL ? smaller : data;
    }
    buffer_init(buffer, buffer->max);
    return data;
}

struct message *message_end(struct buffer *buffer)
{
    struct message *message = malloc(sizeof *message);
    if (message == NULL) {
        return NULL;
    }
    atomic_init(&message->references, 1);
    message->length = buffer->length - MESSAGE_ROOM;
    message->data = buffer_take(buffer);
    return message;
}

struct message *message_new(const char *bytes, size_t length)
{
    struct buffer copy;
    buffer_init(&copy, SIZE_MAX);
    message_begin(&copy, length);
    buffer_append(&copy, bytes, length);
    struct message *message = copy.failed ? NULL : message_end(&copy);
    buffer_free(&copy); /* which has nothing but on failure */
    return message;
}

struct message *message_ref(struct message *message)
{
    /* Relaxed: who refers to it already may pass it on only by means that order things. */
    atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
    return message;
}

void message_unref(struct message **message)
{
    struct message *gone = *message;
    *message = NULL;
    /* Release: our uses happen before the last one's free; acquire: the last one sees them all. */
    if (gone != NULL &&
        atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) == 1) {
        free(gone->data);
        free(gone);
    }
}

size_t message_length(const struct message *message)
{
    return message->length;
}

size_t message_fragments(const struct message *message)
{
    return message->length == 0 ? 1 : (message->length - 1) / MESSAGE_FRAGMENT_BYTES + 1;
}

unsigned char *message_fragment(struct message *message, size_t index, size_t *bytes)
{
    const size_t rest = message->length - index * MESSAGE_FRAGMENT_BYTES;
    *bytes = rest < MESSAGE_FRAGMENT_BYTES ? rest : MESSAGE_FRAGMENT_BYTES;
    return (unsigned char *)message->data + MESSAGE_ROOM + index * MESSAGE_FRAGMENT_BYTES;
}
