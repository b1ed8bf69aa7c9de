/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scenario that uses every operation of the shim, and beside it, in plain structures, what a
 * reader is to see: the world before the call in progress and the world after it. Whatever store
 * the writer dies at, each unit of the region is as in the one or as in the other.
 */
#ifndef TESTS_CRASH_SCENARIO_H
#define TESTS_CRASH_SCENARIO_H

#include "fwdscope.h"
#include "snapshot.h"

enum {
    WORLD_LANES = 2, /* 0 is shared: the second thread of the scenario has no lane of its own */
    WORLD_INSTRUMENTS_MAX = 8,
    WORLD_VALUES_MAX = 5,
    WORLD_PIPELINES_MAX = 2,
    WORLD_COMPONENTS_MAX = 4,
    WORLD_SPANS_MAX = 24,
    WORLD_LOGS_MAX = 24,
    WORLD_ATTRIBUTES_MAX = 33,
    WORLD_STEPS_MAX = 256,
    SLOTS = 4, /* active spans that the region has room for */
};
#define SPAN_RING_BYTES  UINT64_C(16384)
#define LOG_RING_BYTES   UINT64_C(65536)
#define SPAN_START_NS    UINT64_C(1700000000000000000)
#define SCENARIO_SERVICE "crash"

struct world_instrument {
    enum instrument_kind kind;
    bool is_double;
    struct fwdscope_instrument what;
    const double *bounds;
    size_t bound_count;
    bool absent;
    uint64_t words[WORLD_VALUES_MAX]; /* as in snapshot.values */
};

struct world_component {
    enum component_kind kind;
    size_t pipeline;
    const char *name, *type;
    uint32_t absent;
    uint64_t counts[COUNTS];
    unsigned health;
    bool has_queue;
    uint64_t queue_depth, queue_capacity, last_success_unix_ns;
};

struct world_pipeline {
    const char *name;
    uint32_t absent;
    uint64_t batches[BATCH_FIELDS];
    uint64_t last_batch_unix_ns;
};

enum span_phase { SPAN_UNBORN, SPAN_ACTIVE, SPAN_ENDED };
struct world_span {
    enum span_phase phase;
    int parent; /* -1: a root */
    const char *name, *message, *stage;
    bool reached_output;
    unsigned kind, status;
    uint64_t end_unix_ns; /* it began at SPAN_START_NS + its number */
    struct fwdscope_attribute attributes[WORLD_ATTRIBUTES_MAX];
    size_t attribute_count;
    unsigned attributes_dropped;
};

struct world_log {
    unsigned severity;
    const char *severity_text, *body; /* the body begins with its number */
    size_t kept_bytes, original_bytes;
    uint64_t time_unix_ns; /* 0: when it was written */
    int span;              /* -1: none */
    struct fwdscope_attribute attributes[WORLD_ATTRIBUTES_MAX];
    size_t attribute_count;
    unsigned attributes_dropped;
};

/* Records in the order in which they were written. */
struct world_ring {
    struct {
        size_t number; /* in world.spans or world.logs */
        uint64_t bytes;
    } records[WORLD_LOGS_MAX];
    size_t count;
};

struct world {
    bool open;
    enum published_state state;
    const char *close_reason;
    struct world_instrument instruments[WORLD_INSTRUMENTS_MAX];
    size_t instrument_count;
    struct world_pipeline pipelines[WORLD_PIPELINES_MAX];
    size_t pipeline_count;
    struct world_component components[WORLD_COMPONENTS_MAX];
    size_t component_count;
    struct world_span spans[WORLD_SPANS_MAX];
    size_t span_count;
    struct world_log logs[WORLD_LOGS_MAX];
    size_t log_count;
    struct world_ring rings[2][WORLD_LANES]; /* of spans, of log lines */
    enum config_state config_state;
    const char *config_path, *config_text;
    uint64_t spans_refused, logs_cut, attributes_dropped, values_dropped, registrations_refused;
};

/* The call in progress. Between calls before and after are equal. */
struct scenario {
    struct world before, after;
    unsigned step; /* 1 is the first */
    const char *call;
    bool shared;                  /* it writes lane 0, whose words are each good alone */
    volatile uint64_t *step_told; /* where the step is told to another process; may be NULL */
    void (*step_done)(void);      /* after each call; may be NULL */
};
extern struct scenario scenario;

/* Runs it from the start, in `dir`. dir NULL: nothing is opened, so every call of the shim returns
 * at once and only the worlds are made. False: the shim did not start; fwdscope_reason() says why.
 */
bool scenario_run(const char *dir);

/* Opens the scenario's instance and nothing more. */
bool scenario_open(const char *dir);

#endif
