/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units that the stress tests write and read back. Everything in one is a function of one
 * number, its id, or of itself: a reader can tell from what it was given alone that it is whole.
 *
 *   group      every batch counter is its own multiple of the first
 *   histogram  values 1, 2, 4, 8, 16 in turn, each in a bucket of its own: the buckets fall by at
 *              most one in all, and the sum follows from them
 *   span       name, times, kind, attributes, stage, message from the id; while it is active the
 *              parts come in this order, each at once or not at all
 *   log        body, time, severity, attribute from the id
 *   document   path and text from the id
 *
 * An id holds the number of the thread and the count of what it wrote of that kind.
 */
#ifndef STRESS_UNITS_H
#define STRESS_UNITS_H

#include "fwdscope.h"
#include "snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UNIT_BUCKETS = 5, UNIT_SPAN_STEPS = 5 };

static inline uint64_t unit_id(unsigned thread, uint64_t n)
{
    return (uint64_t)thread << 40 | n;
}
static inline unsigned unit_thread(uint64_t id)
{
    return (unsigned)(id >> 40);
}
static inline uint64_t unit_number(uint64_t id)
{
    return id & ((UINT64_C(1) << 40) - 1);
}

/* ---- writing --------------------------------------------------------------------------------- */

void unit_group_add(fwdscope_pipeline pipeline, uint64_t id);
fwdscope_histogram unit_histogram_register(unsigned number);
/* The n-th record of that histogram, from 0. */
void unit_histogram_record(fwdscope_histogram histogram, uint64_t n);
void unit_log(uint64_t id);
/* Step 0 starts the span, the last of UNIT_SPAN_STEPS ends it. */
void unit_span_step(fwdscope_span *span, uint64_t id, unsigned step);
void unit_span(uint64_t id);
void unit_document(uint64_t id);

/* ---- reading: true when it is whole ---------------------------------------------------------- */

bool unit_group_good(const uint64_t batches[BATCH_FIELDS]);
/* The values of a snapshot from the histogram's value_index on: sum, buckets. */
bool unit_histogram_good(const uint64_t *values);
bool unit_log_good(const struct log_record *log, uint64_t *id);
bool unit_active_span_good(const struct span *span);
bool unit_finished_span_good(const struct span *span, uint64_t *id);
bool unit_document_good(const char *path, const char *text, size_t bytes);

/* Decodes a record of a ring, checks it, and says which it is. */
bool unit_record_good(struct arena *arena, const struct record *record, uint64_t *id);

/* What a record takes of its ring, in bytes, counted from the format's description. */
uint64_t unit_record_bytes(enum record_kind kind, uint64_t id);

#endif
