/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of one client. */
#include "feed.h"

#include "stream.h"

#include <stdlib.h>
#include <string.h>

bool feed_init(struct feed *feed, struct message *const backlog[TICK_MESSAGES])
{
    *feed = (struct feed){.ticks = calloc(STREAM_PENDING_TICKS, sizeof *feed->ticks)};
    if (feed->ticks != NULL) {
        memcpy(feed->backlog, backlog, sizeof feed->backlog);
    }
    return feed->ticks != NULL;
}

static size_t tick_bytes(const struct tick_messages *tick)
{
    size_t bytes = 0;
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        bytes += tick->messages[i] != NULL ? message_length(tick->messages[i]) : 0;
    }
    return bytes;
}

/* Drops what is left of the first tick; 1 when that was anything, and counted. */
static uint64_t feed_drop_first(struct feed *feed)
{
    struct tick_messages *tick = &feed->ticks[feed->first];
    uint64_t lost = 0;
    feed->bytes -= tick_bytes(tick);
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        if (tick->messages[i] != NULL) {
            lost = 1;
            feed->loss.spans += tick->records[i].spans;
            feed->loss.log_records += tick->records[i].log_records;
        }
        message_unref(&tick->messages[i]);
    }
    feed->loss.ticks += lost;
    feed->first = (feed->first + 1) % STREAM_PENDING_TICKS;
    feed->count--;
    return lost;
}

uint64_t feed_push(struct feed *feed, const struct tick_messages *tick)
{
    const size_t bytes = tick_bytes(tick);
    uint64_t lost = 0;
    /* A tick that is beyond the bound by itself is taken alone. */
    if (feed->count == STREAM_PENDING_TICKS || feed->bytes + bytes > STREAM_PENDING_BYTES) {
        while (feed->count > 0) {
            lost += feed_drop_first(feed);
        }
    }
    struct tick_messages *place = &feed->ticks[(feed->first + feed->count) % STREAM_PENDING_TICKS];
    *place = *tick;
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        if (place->messages[i] != NULL) {
            message_ref(place->messages[i]);
        }
    }
    feed->count++;
    feed->bytes += bytes;
    return lost;
}

void feed_add_loss(struct feed *feed, const struct loss *loss)
{
    feed->loss.ticks += loss->ticks;
    feed->loss.spans += loss->spans;
    feed->loss.log_records += loss->log_records;
}

static bool row_is_empty(struct message *const messages[TICK_MESSAGES])
{
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        if (messages[i] != NULL) {
            return false;
        }
    }
    return true;
}

bool feed_is_empty(const struct feed *feed)
{
    bool empty = feed->loss.ticks == 0 && row_is_empty(feed->backlog);
    for (unsigned i = 0; i < feed->count && empty; i++) {
        empty = row_is_empty(feed->ticks[(feed->first + i) % STREAM_PENDING_TICKS].messages);
    }
    return empty;
}

/* Takes the first message out of a row of them; NULL: none left. */
static struct message *take_first(struct message *messages[TICK_MESSAGES])
{
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        struct message *message = messages[i];
        if (message != NULL) {
            messages[i] = NULL;
            return message;
        }
    }
    return NULL;
}

static struct message *take_notice(struct feed *feed, const struct loss_teller *teller)
{
    if (feed->loss.ticks == 0 || teller->tell == NULL) {
        return NULL;
    }
    struct message *notice =
        teller->tell(teller->arg, feed->loss.ticks, feed->loss.spans, feed->loss.log_records);
    if (notice != NULL) {
        feed->loss = (struct loss){0};
    }
    return notice;
}

struct message *feed_next(struct feed *feed, const struct loss_teller *teller)
{
    struct message *message = take_first(feed->backlog);
    if (message == NULL) {
        message = take_notice(feed, teller);
    }
    while (message == NULL && feed->count > 0) {
        message = take_first(feed->ticks[feed->first].messages);
        if (message == NULL) {
            feed->first = (feed->first + 1) % STREAM_PENDING_TICKS;
            feed->count--;
        } else {
            feed->bytes -= message_length(message);
        }
    }
    return message;
}

void feed_clear(struct feed *feed)
{
    while (feed->count > 0) {
        feed_drop_first(feed);
    }
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        message_unref(&feed->backlog[i]);
    }
    free(feed->ticks);
    feed->ticks = NULL;
}
