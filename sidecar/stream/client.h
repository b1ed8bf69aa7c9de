/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the stream: made on the main thread, used and freed by the stream thread. */
#ifndef SIDECAR_CLIENT_H
#define SIDECAR_CLIENT_H

#include "feed.h"

#include <libwebsockets.h>
#include <stdbool.h>
#include <sys/queue.h>

struct client {
    LIST_ENTRY(client) link;
    struct lws *wsi; /* NULL until adopted */
    int fd;          /* -1 once libwebsockets owns it */
    char *head;      /* what libwebsockets is to read first; NULL once it has */
    size_t head_bytes;
    bool established;
    bool closing;  /* a close frame is due, and nothing more */
    bool finished; /* the close is libwebsockets' business now */
    bool ping_due;
    uint64_t heard_ms; /* when the peer's program last sent anything */
    struct feed feed;
    struct message *sending; /* part of it was written */
    size_t fragment;         /* the next of it */
    size_t received_bytes;
};

/* Owns fd and the backlog's references, also on failure; copies head. NULL when memory is out. */
struct client *client_new(int fd, const char *head, size_t head_bytes,
                          struct message *backlog[TICK_MESSAGES]);

/* Frees, closes what is open, nulls. */
void client_free(struct client **client);

/* The connection stands: sets the socket up, asks for its first write. */
void client_established(struct client *client, uint64_t now_ms);

/* Asks to be called when the socket takes more. */
void client_want_write(struct client *client);

/* Writes what the socket takes. Nonzero: the connection is broken. */
int client_write(struct client *client, const struct loss_teller *teller);

/* Counts what a client sends, which nobody reads. Nonzero: too much, and a close reason is set. */
int client_received(struct client *client, size_t bytes, uint64_t now_ms);

/* A pong came. */
void client_answered(struct client *client, uint64_t now_ms);

/* Sends a ping between two messages, as soon as the socket takes it. */
void client_ping(struct client *client);

/* For how long nothing came from the peer: neither from its program nor, on TCP, an acknowledgement
 * by its kernel. */
uint64_t client_silent_ms(const struct client *client, uint64_t now_ms);

/* Ends a connection whose peer is gone, from the loop and without a farewell. */
void client_hang_up(struct client *client);

#endif
