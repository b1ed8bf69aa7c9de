/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of a reading: each unit as before the call in progress, or as after it, or left out
 * and said to be. Anything else is a violation, told in words.
 */
#ifndef TESTS_CRASH_ORACLE_H
#define TESTS_CRASH_ORACLE_H

#include "scenario.h"

/* What a span was seen with first; it never changes. */
struct span_ids {
    bool known;
    uint8_t trace_id[16], span_id[8], parent_id[8];
};

/* The last words of a record that were decoded and found right: the same words again are right. */
struct known_record {
    uint64_t *words;
    size_t word_count;
};

struct oracle {
    struct arena *arena;
    struct span_ids ids[WORLD_SPANS_MAX];
    struct known_record known[2][WORLD_LOGS_MAX];

    /* What it judged. */
    uint64_t readings, units_old, units_new, units_left_out, records;
    uint64_t cpu_ns_max; /* of one reading */
    char why[512];       /* the violation */
};

/* A region that is being read. */
struct subject {
    struct region *region;
    bool continued; /* read since it was opened: never lapped, and it keeps its last readings */
    /* Of a continued one: records that were handed out, in order. */
    size_t taken[2][WORLD_LANES][WORLD_LOGS_MAX];
    size_t taken_count[2][WORLD_LANES];
};

void oracle_init(struct oracle *oracle);
void oracle_free(struct oracle *oracle);
/* Forgets what belongs to one life. */
void oracle_forget(struct oracle *oracle);

/* Reads the region once (sample, drain, sample) and judges it. False: oracle->why. */
bool oracle_read(struct oracle *oracle, struct subject *subject, const struct world *before,
                 const struct world *after, bool shared);

#endif
