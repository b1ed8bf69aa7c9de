/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What impstats says, as a table: objects of rsyslog and their counters, one sample after another.
 * Every counter is also published under its own name, rsyslog.ORIGIN.COUNTER, so that nothing that
 * rsyslog counts is lost. impstats writes JSON (format="json"), one object a line, between the lines
 * BEGIN and END (bracketing="on"), and never resets (resetCounters="off").
 */
#ifndef RSYSLOG_IMPSTATS_H
#define RSYSLOG_IMPSTATS_H

#include "fwdscope.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STATS_OBJECTS_MAX = 1024, STATS_COUNTERS_MAX = 8192, STATS_NAME_BYTES = 256 };

/* What the mapping remembers of an object from sample to sample; all zero at first. */
struct stat_role {
    fwdscope_component component;
    bool registered;
    uint64_t lines;       /* as published: never falls */
    uint64_t done;        /* left the queue, or was handed to the action */
    uint64_t undelivered; /* of these: dropped while the action was suspended */
    uint64_t failed, full, moved; /* moved: done, of a queue */
    uint64_t bytes;       /* that its transport sent */
    unsigned quiet;       /* samples since bytes grew */
    bool stalled;         /* of a queue: waiting, and nothing left it since the sample before;
                             of an action: its own queue is full */
};

struct stat_counter {
    char *key;
    bool gauge;
    uint64_t value;
    fwdscope_total total;
    fwdscope_gauge level;
};

struct stat_object {
    char origin[STATS_NAME_BYTES], name[STATS_NAME_BYTES];
    unsigned nth;    /* among objects of the same origin and name in one sample, from 1 */
    uint64_t sample; /* the last one that it was in */
    struct stat_counter *counters;
    size_t counter_count;
    bool has_transport; /* of an action: objects of omfwd came right before it */
    uint64_t transport_bytes;
    struct stat_role role;
};

struct stat_table {
    struct stat_object *objects;
    size_t count, counters;
    uint64_t sample;  /* number of the one at hand, from 1 */
    bool open;        /* between BEGIN and END */
    uint64_t refused; /* lines that could not be used, counters beyond the bounds */
    bool fell;        /* a counter of rsyslog's core went back: they were reset */
    bool transport;   /* pending: bytes of omfwd objects, for the action that comes next */
    uint64_t transport_bytes;
};

enum stat_event { STAT_LINE, STAT_BEGIN, STAT_END };

/* Takes one line. After STAT_END the table holds a whole sample. */
enum stat_event stat_table_take(struct stat_table *table, const char *line, size_t bytes);

/* Forgets everything, for a new life. */
void stat_table_clear(struct stat_table *table);

/* Whether the object was in the sample at hand. */
static inline bool stat_is_current(const struct stat_table *table, const struct stat_object *object)
{
    return object->sample == table->sample;
}

/* The first object of that origin and name in the sample at hand, or NULL. */
struct stat_object *stat_find(const struct stat_table *table, const char *origin, const char *name);

/* A counter's value; false: the object has no such counter. */
bool stat_get(const struct stat_object *object, const char *key, uint64_t *value);
/* The same, 0 when there is none. */
uint64_t stat_value(const struct stat_object *object, const char *key);

#endif
