/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes lie as they are written to sockets: LWS_PRE bytes of room, up to 256 KiB, LWS_PRE
 * bytes, up to 256 KiB, ... so that no client needs a copy.
 */
#include "message_private.h"

#include <libwebsockets.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { STRIDE = LWS_PRE + MESSAGE_FRAGMENT_BYTES };

struct message {
    atomic_uint references;
    size_t length;
    unsigned char room[];
};

static size_t fragments_of(size_t length)
{
    return length == 0 ? 1 : (length - 1) / MESSAGE_FRAGMENT_BYTES + 1;
}

struct message *message_new(const char *bytes, size_t length)
{
    const size_t fragments = fragments_of(length);
    if (length > SIZE_MAX / 2) {
        return NULL;
    }
    struct message *message = malloc(sizeof *message + fragments * LWS_PRE + length);
    if (message == NULL) {
        return NULL;
    }
    atomic_init(&message->references, 1);
    message->length = length;
    for (size_t i = 0; i < fragments; i++) {
        size_t count;
        unsigned char *place = message_fragment(message, i, &count);
        if (count > 0) {
            memcpy(place, bytes + i * MESSAGE_FRAGMENT_BYTES, count);
        }
    }
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
        free(gone);
    }
}

size_t message_length(const struct message *message)
{
    return message->length;
}

size_t message_fragments(const struct message *message)
{
    return fragments_of(message->length);
}

unsigned char *message_fragment(struct message *message, size_t index, size_t *bytes)
{
    const size_t rest = message->length - index * MESSAGE_FRAGMENT_BYTES;
    *bytes = rest < MESSAGE_FRAGMENT_BYTES ? rest : MESSAGE_FRAGMENT_BYTES;
    return message->room + index * STRIDE + LWS_PRE;
}
