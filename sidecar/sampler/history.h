/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of one life of a forwarder: its records in the order in which they were
 * drained, and its metric points tick by tick. Bounded; what was not yet published is never evicted
 * to make room for what is new.
 */
#ifndef SIDECAR_HISTORY_H
#define SIDECAR_HISTORY_H

#include "model.h"
#include "snapshot.h"

/* ---- records --------------------------------------------------------------------------------- */

/*
 * A queue of records of one kind. Records have serials 0, 1, 2, ...; those below `published` went
 * out with a tick (or would have, had anybody listened).
 */
struct record_queue {
    uint64_t *words; /* circular; each record is contiguous */
    size_t capacity; /* words; grows by doubling up to max_words */
    size_t max_words;
    size_t max_records;
    size_t head;      /* of the oldest record */
    size_t tail;      /* where the next one goes */
    size_t wrap;      /* end of the used part once tail went back to 0; else capacity */
    uint64_t first;   /* serial of the oldest record */
    uint64_t next;    /* serial of the next one */
    uint64_t published;
    uint64_t dropped; /* records refused: the queue was full of unpublished ones */
};

void record_queue_init(struct record_queue *queue, size_t max_words, size_t max_records);
void record_queue_free(struct record_queue *queue);

/* Copies a record in; evicts published ones as needed. False, and counted in dropped, when there is
 * no room or no memory. */
bool record_queue_push(struct record_queue *queue, const struct record *record);

/*
 * Fills out[0..max) with the records of serials [from, to) whose time is at or after since_unix_ns,
 * the newest `max` of them, oldest first; returns how many. The words stay valid until the next
 * push.
 */
size_t record_queue_collect(const struct record_queue *queue, uint64_t from, uint64_t to,
                            uint64_t since_unix_ns, struct record *out, size_t max);

/* ---- points ---------------------------------------------------------------------------------- */

/* Rows of the last minutes, oldest first; each from series_table_row(). */
struct row_queue {
    struct point_row **rows;
    size_t count, capacity;
    size_t bytes, max_bytes;
    uint64_t max_age_ns;
};

void row_queue_init(struct row_queue *queue, size_t max_bytes, uint64_t max_age_ns);
void row_queue_free(struct row_queue *queue);
/* Takes the row; frees those that are too old or too many. The newest always stays. */
void row_queue_push(struct row_queue *queue, struct point_row *row);
/* Moves the newest row to unix_ns if it is later than that; never before the row in front of it. */
void row_queue_end_before(struct row_queue *queue, uint64_t unix_ns);
/* The newest row, or NULL. */
const struct point_row *row_queue_newest(const struct row_queue *queue);
/* Fills out[0..max) with rows at or after since_unix_ns, thinned evenly, newest included, oldest
 * first; returns how many. */
size_t row_queue_collect(const struct row_queue *queue, uint64_t since_unix_ns,
                         const struct point_row **out, size_t max);

#endif
