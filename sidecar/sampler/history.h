/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of one life of a forwarder: its records in the order in which they were
 * drained, and its metric points tick by tick. Bounded, each by itself and all lives together; what
 * was not yet published is never evicted to make room for what is new.
 */
#ifndef SIDECAR_HISTORY_H
#define SIDECAR_HISTORY_H

#include "model.h"
#include "snapshot.h"

/* ---- records --------------------------------------------------------------------------------- */

struct record_chunk; /* some consecutive records in one block */

/*
 * A queue of records of one kind. Records have serials 0, 1, 2, ...; those below `published` went
 * out with a tick (or would have, had anybody listened). It costs what its records cost, a chunk
 * more at most.
 */
struct record_queue {
    struct record_chunk *oldest, *newest;
    size_t bytes, max_bytes; /* of all chunks */
    size_t waiting_bytes;    /* of the records that are not yet published, and what is left of the
                                chunks that they filled: room that nobody has meanwhile */
    size_t records_kept;     /* older ones go, a chunk at a time, once there are more */
    uint64_t first;          /* serial of the oldest record */
    uint64_t next;           /* serial of the next one */
    uint64_t published;
    uint64_t dropped; /* records refused: the queue was full of unpublished ones */
};

void record_queue_init(struct record_queue *queue, size_t max_bytes, size_t records_kept);
void record_queue_free(struct record_queue *queue);

/* Copies a record in; evicts published ones as needed. False, and counted in dropped, when there is
 * no room or no memory. */
bool record_queue_push(struct record_queue *queue, const struct record *record);

/* Everything in it is published. */
void record_queue_publish(struct record_queue *queue);

/* How many records of serials [from, to) have a time at or after since_unix_ns. */
size_t record_queue_count(const struct record_queue *queue, uint64_t from, uint64_t to,
                          uint64_t since_unix_ns);

/*
 * Fills out[0..max) with the records of serials [from, to) whose time is at or after since_unix_ns,
 * the newest `max` of them, oldest first; returns how many. The words stay valid until the next
 * push.
 */
size_t record_queue_collect(const struct record_queue *queue, uint64_t from, uint64_t to,
                            uint64_t since_unix_ns, struct record *out, size_t max);

/* ---- points ---------------------------------------------------------------------------------- */

/* Rows of the last minutes, oldest first; each from series_table_row(). As ticks are never quite as
 * far apart as the last ones, now no row is dropped and now two: so many are kept to be used again. */
enum { ROWS_SPARE = 2 };
struct row_queue {
    struct point_row *spare[ROWS_SPARE]; /* each NULL or a row that was dropped */
    struct point_row **rows;
    size_t count, capacity;
    size_t bytes, max_bytes;
    uint64_t max_age_ns;
};

void row_queue_init(struct row_queue *queue, size_t max_bytes, uint64_t max_age_ns);
void row_queue_free(struct row_queue *queue);
/* Takes the row; frees those that are older than max_age_ns, but for one, so that the whole of that
 * time is covered. Rows that are so large or come so fast that this would not fit are kept farther
 * apart, evenly. The newest always stays. */
void row_queue_push(struct row_queue *queue, struct point_row *row);
/* A row that was dropped, for series_table_recycle(); the caller's from then on. NULL: none. */
struct point_row *row_queue_take_spare(struct row_queue *queue);
/* Moves the newest row to unix_ns if it is later than that; never before the row in front of it. */
void row_queue_end_before(struct row_queue *queue, uint64_t unix_ns);
/* The newest row, or NULL. */
const struct point_row *row_queue_newest(const struct row_queue *queue);
/* How many rows are at or after since_unix_ns. */
size_t row_queue_count(const struct row_queue *queue, uint64_t since_unix_ns);
/* Fills out[0..max) with rows at or after since_unix_ns, thinned evenly, newest included, oldest
 * first; returns how many. */
size_t row_queue_collect(const struct row_queue *queue, uint64_t since_unix_ns,
                         const struct point_row **out, size_t max);

/* ---- all of one life, and of all lives ------------------------------------------------------- */

struct history {
    struct record_queue spans, logs;
    struct row_queue rows;
};

void history_free(struct history *history);
size_t history_bytes(const struct history *history);
size_t history_waiting_bytes(const struct history *history);

/*
 * Brings histories down to max_bytes in all, as far as what was published allows. Log lines beyond
 * the logs_promised bytes of each go first, then the largest history gives, from the largest of its
 * parts, the oldest first; each keeps its newest row and its newest chunk of records. So small ones
 * lose nothing while there are larger ones. Returns what they take then. Looks at each once, and
 * once more for about every 64 KiB that is given.
 */
size_t histories_trim(struct history *const *histories, size_t count, size_t max_bytes,
                    size_t logs_promised);

#endif
