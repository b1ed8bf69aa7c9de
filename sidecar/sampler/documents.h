/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a fleet: the three OTLP JSON documents of a tick, and the backlog of a client that
 * connects. Main thread only, but for the loss notice.
 */
#ifndef SIDECAR_DOCUMENTS_H
#define SIDECAR_DOCUMENTS_H

#include "buffer.h"
#include "fleet.h"
#include "message.h"

struct documents {
    struct arena *arena;            /* one document's tree at a time */
    struct buffer json;             /* the document behind the room of a message */
    size_t expected[TICK_MESSAGES]; /* bytes of a tick's documents, going by the last */
};

/* The sidecar's own series, a further resource of metrics documents. */
struct self_series {
    struct series_table *table;
    struct row_queue rows;
    struct identity identity;
    uint64_t start_unix_ns;
};

enum signal { SIGNAL_METRICS, SIGNAL_SPANS, SIGNAL_LOGS };

bool documents_init(struct documents *documents); /* false: no memory */
void documents_free(struct documents *documents);

/*
 * A tick's document of one signal, into out: what was drained and not yet published, the newest row,
 * the active spans; with the log lines what was lost since the last tick. Its message is NULL where
 * there is nothing to say. What it tells is marked as published, so that rings may be drained
 * between one signal and the next; log lines come last.
 */
void documents_tick(struct documents *documents, struct fleet *fleet,
                    const struct self_series *self, uint64_t unix_ns, enum signal signal,
                    struct tick_messages *out);

/* What was published over the last `seconds`, newest first when it is too much: at most 2 MiB. With
 * it the active spans as they stand, and of a life that ended within that time those that were in
 * flight then. */
void documents_backlog(struct documents *documents, const struct fleet *fleet,
                       const struct self_series *self, uint64_t unix_ns, uint64_t seconds,
                       struct message *out[TICK_MESSAGES]);

/* Marks everything that was drained as published and every loss as told: a tick without anybody
 * who listens. */
void documents_advance(struct fleet *fleet);

/* One document of one signal over what is known of all lives, for `dump`: everything that history
 * holds, into out. False: nothing to say, or it did not fit. */
bool documents_dump(struct documents *documents, const struct fleet *fleet, enum signal signal,
                    struct buffer *out);

/* The same of finished spans or log lines in several documents: that of the records
 * [first, first + max) of each life, in order of time; active spans and losses with the first.
 * False: there are none, or it did not fit; *records says how many the document has. */
bool documents_dump_part(struct documents *documents, const struct fleet *fleet, enum signal signal,
                         size_t first, size_t max, struct buffer *out, uint64_t *records);

/* The notice that a slow client gets of what it skipped. Any thread; arg is not used. */
struct message *documents_loss_notice(void *arg, uint64_t ticks, uint64_t spans,
                                      uint64_t log_records);

#endif
