/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one client is still to be sent, in order: its backlog, what it lost, the ticks. Knows no
 * socket. The stream thread only.
 *
 * A tick that does not fit drops every pending one. A tick of which a message already left is
 * dropped from its next message on; it counts as a lost tick when anything of it was dropped, and
 * its spans and log records count when the message that holds them, or tells their loss, was. So
 * each is either sent or counted, never both.
 */
#ifndef SIDECAR_FEED_H
#define SIDECAR_FEED_H

#include "message.h"

#include <stdbool.h>

struct loss {
    uint64_t ticks, spans, log_records;
};

/* Makes the loss notice; NULL when it cannot: the loss is kept, and told later. */
struct loss_teller {
    struct message *(*tell)(void *arg, uint64_t ticks, uint64_t spans, uint64_t log_records);
    void *arg;
};

struct feed {
    struct message *backlog[TICK_MESSAGES];
    struct tick_messages *ticks; /* STREAM_PENDING_TICKS of them, a ring */
    unsigned first, count;
    size_t bytes; /* of the messages in ticks */
    struct loss loss;
};

/* False when memory is out; takes the references in backlog when true. */
bool feed_init(struct feed *feed, struct message *const backlog[TICK_MESSAGES]);

/* Appends a tick, with references of its own. Returns how many ticks were lost by that. */
uint64_t feed_push(struct feed *feed, const struct tick_messages *tick);

/* Counts what was lost before it came here. */
void feed_add_loss(struct feed *feed, const struct loss *loss);

/* Whether there is nothing to send and nothing to tell. */
bool feed_is_empty(const struct feed *feed);

/* The next message, whose reference passes to the caller; NULL: nothing to send. */
struct message *feed_next(struct feed *feed, const struct loss_teller *teller);

/* Drops all references and memory. */
void feed_clear(struct feed *feed);

#endif
