/* SPDX-License-Identifier: Apache-2.0 */
/* The three programs in one: what rsyslog starts by omprog. */
#ifndef RSYSLOG_MODES_H
#define RSYSLOG_MODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CAPACITIES_MAX = 64 };

/* Size of a queue, as the administrator configured it: impstats does not tell. */
struct capacity {
    char queue[256];
    uint64_t items;
};

struct options {
    const char *dir;       /* of regions; NULL: the shim's default */
    const char *service;   /* stats: service.name */
    const char *instance;  /* stats: NULL: the service name */
    double interval_s;     /* stats: of impstats; 0: not told, so never called stalled */
    bool batches;          /* stats: a `ship` action is configured */
    struct capacity capacities[CAPACITIES_MAX];
    size_t capacity_count;
    const char *name;      /* ship: of the action; NULL: the file's name */
    const char *file;      /* ship */
};

/* Each runs until standard input ends and returns the exit code. */
int mode_stats(const struct options *options);
int mode_log(const struct options *options);
int mode_ship(const struct options *options);

#endif
