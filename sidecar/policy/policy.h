/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy: what a reading means. Health, readiness, the writer's verdict, the bottleneck. Pure: no
 * I/O, no clock, no allocation; the tables of words are the contract's.
 */
#ifndef SIDECAR_POLICY_H
#define SIDECAR_POLICY_H

#include "snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the writer ------------------------------------------------------------------------------ */

enum writer_state { WRITER_UNKNOWN, WRITER_ALIVE, WRITER_STALLED, WRITER_EXITED, WRITER_CRASHED };

struct writer_verdict {
    enum writer_state state;
    char reason[320]; /* one line of words with its numbers */
    uint64_t heartbeat_age_ms;
};
const char *writer_state_name(enum writer_state state); /* "alive", ... */

/* heartbeat_age_ns: how long, on the reader's monotonic clock, no heartbeat word has changed. */
void policy_judge_writer(const struct identity *identity, const struct snapshot *snapshot,
                         uint64_t heartbeat_age_ns, struct writer_verdict *out);

/* ---- one forwarder, as the endpoints see it -------------------------------------------------- */

/* What happened to a pipeline over the sliding window; kept by the sampler. */
struct pipeline_window {
    double seconds; /* 0: not two readings yet */
    double queue_wait_s, scan_s, transform_s; /* time spent in the window, summed over workers */
    uint64_t stalls;
};
/* Per component, in the order of pipeline.components: how long it has had a queue with depth > 0
 * and delivered nothing, in ns; 0: it moves, or has nothing waiting. */
struct pipeline_view {
    struct pipeline_window window;
    const uint64_t *stuck_ns;
};

struct forwarder_view {
    const struct identity *identity;
    const struct snapshot *snapshot;
    const struct writer_verdict *verdict;
    struct losses lost; /* of this life: by the writer, in the rings, and in this program */
    const struct pipeline_view *pipelines; /* as many as snapshot.pipeline_count */
    const struct forwarder_view *previous; /* the life before this one, or NULL */
    const struct section_report *sections; /* of its region */
    size_t section_count;
};

/* A region file that is there but could not be attached. */
enum attach_trouble { TROUBLE_NONE, TROUBLE_INCOMPATIBLE, TROUBLE_CORRUPT, TROUBLE_DENIED };

/* ---- health and readiness -------------------------------------------------------------------- */

enum health { HEALTHY, DEGRADED, STARTING, STOPPING, STOPPED, FAILED };

enum health policy_health(unsigned published);          /* above 5: FAILED */
const char *health_name(enum health health);             /* "healthy", ... */
const char *health_reason(enum health health);           /* "all_components_healthy", ... */
const char *health_readiness_impact(enum health health); /* "ready", "non_blocking", "gating" */

#define POLICY_STUCK_NS UINT64_C(10000000000) /* work waiting and nothing delivered for so long */

/* Health of one component: its own word, at least degraded when an output is stuck. */
enum health policy_component_health(const struct component *component, uint64_t stuck_ns);
/* The worst over the components of the given forwarders; *pipelines (may be NULL) counts them. */
enum health policy_worst_health(const struct forwarder_view *const *forwarders, size_t count,
                                size_t *pipelines);

struct readiness {
    bool ready;
    const char *reason; /* a tag of the contract */
};
/* Over the current lives of all forwarders; the worst trouble of regions that could not be attached
 * counts only when no forwarder is attached... or is worse than what is: see policy.c. */
struct readiness policy_readiness(const struct forwarder_view *const *forwarders, size_t count,
                                  enum attach_trouble trouble);

/* 503 exactly when a current forwarder is stalled. */
struct forwarder_liveness {
    bool stalled;
    const char *state; /* "alive", "stalled", "exited", "crashed", "unknown", "not_attached" */
    const char *reason;
};
struct forwarder_liveness policy_forwarder_liveness(const struct forwarder_view *const *forwarders,
                                                    size_t count);

/* ---- bottleneck ------------------------------------------------------------------------------ */

struct bottleneck {
    const char *stage; /* "output", "input", "transform", "scan", "none" */
    char reason[512];  /* a sentence with its numbers */
};
void policy_bottleneck(const struct pipeline *pipeline, const struct pipeline_view *view,
                       struct bottleneck *out);

#endif
