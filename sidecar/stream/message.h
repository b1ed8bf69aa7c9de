/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finished bytes on their way to stream clients. A message is one text message of the WebSocket,
 * immutable once made, counted by references, shared by every client that is sent it.
 */
#ifndef SIDECAR_MESSAGE_H
#define SIDECAR_MESSAGE_H

#include "buffer.h"

#include <stddef.h>
#include <stdint.h>

struct message;

/* What a message has in front of its bytes, for the stream's header. */
enum { MESSAGE_ROOM = 16 };

/* Empties a buffer for a message of about `expected` bytes: with room in front, filled with
 * newlines. Without memory the buffer has failed. */
void message_begin(struct buffer *buffer, size_t expected);
/* The buffer's bytes behind that room become a message with one reference, without a copy: it takes
 * their memory, and the buffer has none then. NULL, and the buffer is as it was: memory is out. */
struct message *message_end(struct buffer *buffer);
/* Copies `length` bytes into a new message with one reference; NULL when memory is out. */
struct message *message_new(const char *bytes, size_t length);
struct message *message_ref(struct message *message);
void message_unref(struct message **message); /* nulls the pointer; any thread */
size_t message_length(const struct message *message);

/* What every client gets at one tick, in this order: metrics, spans, logs; NULL: nothing of it. */
enum { TICK_MESSAGES = 3 };
struct tick_messages {
    struct message *messages[TICK_MESSAGES];
    /* What a client misses without that message: what is in it, and what it tells the loss of. */
    struct records {
        uint64_t spans, log_records;
    } records[TICK_MESSAGES];
};

#endif
