/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health and readiness: the tables of words, and what several forwarders add up to.
 *
 * Readiness asks about the current lives only; a previous life never counts. A region that is there
 * but could not be attached (`trouble`) decides only while no forwarder is attached: a broken file
 * left in the directory must not take a working forwarder out of service. A region that may not be
 * read counts as not found, since nothing of it can be known. One that was truncated under us is
 * corrupt, whatever its last whole reading said.
 */
#include "policy.h"

struct health_words {
    const char *name, *reason, *impact;
};

static const struct health_words health_words[] = {
    [HEALTHY] = {"healthy", "all_components_healthy", "ready"},
    [DEGRADED] = {"degraded", "components_degraded_but_operational", "non_blocking"},
    [STARTING] = {"starting", "components_starting", "gating"},
    [STOPPING] = {"stopping", "components_stopping", "gating"},
    [STOPPED] = {"stopped", "components_stopped", "gating"},
    [FAILED] = {"failed", "components_failed", "gating"},
};

enum health policy_health(unsigned published)
{
    return published > FAILED ? FAILED : (enum health)published;
}

const char *health_name(enum health health)
{
    return health_words[health].name;
}

const char *health_reason(enum health health)
{
    return health_words[health].reason;
}

const char *health_readiness_impact(enum health health)
{
    return health_words[health].impact;
}

static enum health worst_of_pipeline(const struct pipeline *pipeline,
                                     const struct pipeline_view *view)
{
    enum health worst = HEALTHY;
    for (size_t i = 0; i < pipeline->component_count; i++) {
        const enum health health =
            policy_component_health(&pipeline->components[i], view->stuck_ns[i]);
        worst = health > worst ? health : worst;
    }
    return worst;
}

enum health policy_worst_health(const struct forwarder_view *const *forwarders, size_t count,
                                size_t *pipelines)
{
    enum health worst = HEALTHY;
    size_t counted = 0;
    for (size_t i = 0; i < count; i++) {
        const struct snapshot *snapshot = forwarders[i]->snapshot;
        for (size_t j = 0; j < snapshot->pipeline_count; j++) {
            const enum health health =
                worst_of_pipeline(&snapshot->pipelines[j], &forwarders[i]->pipelines[j]);
            worst = health > worst ? health : worst;
        }
        counted += snapshot->pipeline_count;
    }
    if (pipelines != NULL) {
        *pipelines = counted;
    }
    return worst;
}

static bool any_in_state(const struct forwarder_view *const *forwarders, size_t count,
                         enum writer_state state)
{
    for (size_t i = 0; i < count; i++) {
        if (forwarders[i]->verdict->state == state) {
            return true;
        }
    }
    return false;
}

static bool any_truncated(const struct forwarder_view *const *forwarders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (forwarders[i]->snapshot->truncated) {
            return true;
        }
    }
    return false;
}

static bool any_without_pipeline(const struct forwarder_view *const *forwarders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (forwarders[i]->snapshot->pipeline_count == 0) {
            return true;
        }
    }
    return false;
}

/* Why nothing is attached. */
static const char *trouble_tag(enum attach_trouble trouble)
{
    switch (trouble) {
    case TROUBLE_INCOMPATIBLE:
        return "region_incompatible";
    case TROUBLE_CORRUPT:
        return "region_corrupt";
    case TROUBLE_NONE:
    case TROUBLE_DENIED:
        break;
    }
    return "region_not_found";
}

/* The tag of a region or writer that keeps from being ready, the worst first, in the order of
 * state_weight(); NULL when there is none. */
static const char *blocking_tag(const struct forwarder_view *const *forwarders, size_t count,
                                enum attach_trouble trouble)
{
    if (count == 0) {
        return trouble_tag(trouble);
    }
    if (any_truncated(forwarders, count)) {
        return "region_corrupt";
    }
    if (any_in_state(forwarders, count, WRITER_STALLED)) {
        return "writer_stalled";
    }
    if (any_in_state(forwarders, count, WRITER_CRASHED)) {
        return "writer_crashed";
    }
    if (any_in_state(forwarders, count, WRITER_EXITED)) {
        return "writer_exited";
    }
    return any_without_pipeline(forwarders, count) ? "no_pipelines_registered" : NULL;
}

struct readiness policy_readiness(const struct forwarder_view *const *forwarders, size_t count,
                                  enum attach_trouble trouble)
{
    const char *blocking = blocking_tag(forwarders, count, trouble);
    if (blocking != NULL) {
        return (struct readiness){.ready = false, .reason = blocking};
    }
    const enum health worst = policy_worst_health(forwarders, count, NULL);
    return (struct readiness){.ready = worst <= DEGRADED, .reason = health_reason(worst)};
}

/* How much a state matters where one of several is told: a hang first, it is what is acted on. */
static int state_weight(enum writer_state state)
{
    static const int weights[] = {
        [WRITER_ALIVE] = 0,   [WRITER_UNKNOWN] = 1, [WRITER_EXITED] = 2,
        [WRITER_CRASHED] = 3, [WRITER_STALLED] = 4,
    };
    return weights[state];
}

struct forwarder_liveness policy_forwarder_liveness(const struct forwarder_view *const *forwarders,
                                                    size_t count)
{
    if (count == 0) {
        return (struct forwarder_liveness){.state = "not_attached",
                                           .reason = "no forwarder is attached"};
    }
    const struct writer_verdict *told = forwarders[0]->verdict;
    for (size_t i = 1; i < count; i++) {
        if (state_weight(forwarders[i]->verdict->state) > state_weight(told->state)) {
            told = forwarders[i]->verdict;
        }
    }
    return (struct forwarder_liveness){.stalled = told->state == WRITER_STALLED,
                                       .state = writer_state_name(told->state),
                                       .reason = told->reason};
}
