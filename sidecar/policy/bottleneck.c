/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bottleneck of a pipeline: an output that is stuck, then what the sliding window shows. The
 * rules are tried in the order of the contract; the first that holds is the verdict.
 */
#include "policy.h"
#include "sentence.h"

#include <inttypes.h>

#define QUEUE_WAIT_SHARE  0.5 /* of wall time, summed over workers */
#define STAGE_SHARE       0.3
#define STALLS_PER_SECOND 10.0

/* A name is at most this long in a sentence, so that its numbers always fit. */
enum { NAME_BYTES = 255 };

static bool is_stuck(const struct component *component, uint64_t stuck_ns)
{
    return component->kind == COMPONENT_OUTPUT && component->has_queue &&
           component->queue_depth > 0 && stuck_ns >= POLICY_STUCK_NS;
}

enum health policy_component_health(const struct component *component, uint64_t stuck_ns)
{
    const enum health own = policy_health(component->health);
    return own == HEALTHY && is_stuck(component, stuck_ns) ? DEGRADED : own;
}

/* The output that has been stuck for longest; component_count when none is. */
static size_t most_stuck(const struct pipeline *pipeline, const struct pipeline_view *view)
{
    size_t most = pipeline->component_count;
    for (size_t i = 0; i < pipeline->component_count; i++) {
        if (is_stuck(&pipeline->components[i], view->stuck_ns[i]) &&
            (most == pipeline->component_count || view->stuck_ns[i] > view->stuck_ns[most])) {
            most = i;
        }
    }
    return most;
}

static void say_stuck(const struct component *output, uint64_t stuck_ns, struct sentence *reason)
{
    sentence_add(reason, "output ");
    sentence_add_foreign(reason, output->name, NAME_BYTES);
    sentence_add(reason, ": queue %" PRIu64, output->queue_depth);
    if (output->queue_capacity > 0) {
        sentence_add(reason, "/%" PRIu64, output->queue_capacity);
    }
    sentence_add(reason, ", nothing delivered for %.0f s", sentence_seconds(stuck_ns));
}

/* Whether `spent` seconds of the window are more than `share` of it; says so if they are. */
static bool exceeds(double spent, double share, const struct pipeline_window *window,
                    const char *what, struct sentence *reason)
{
    if (!(spent > share * window->seconds)) {
        return false;
    }
    sentence_add(reason, "%s took %.1f s of the last %.1f s (%.1f %% of wall time, over %.0f %%)",
                 what, spent, window->seconds, 100 * spent / window->seconds, 100 * share);
    return true;
}

static bool stalls_exceed(const struct pipeline_window *window, struct sentence *reason)
{
    const double rate = (double)window->stalls / window->seconds;
    if (!(rate > STALLS_PER_SECOND)) {
        return false;
    }
    sentence_add(reason,
                 "the input had to wait for room %" PRIu64 " times in the last %.1f s "
                 "(%.1f/s, over %.0f/s)",
                 window->stalls, window->seconds, rate, STALLS_PER_SECOND);
    return true;
}

static const char *stage_of_window(const struct pipeline_window *window, struct sentence *reason)
{
    if (window->seconds > 0) {
        if (exceeds(window->queue_wait_s, QUEUE_WAIT_SHARE, window, "waiting for an output",
                    reason)) {
            return "output";
        }
        if (stalls_exceed(window, reason)) {
            return "input";
        }
        if (exceeds(window->transform_s, STAGE_SHARE, window, "transform", reason)) {
            return "transform";
        }
        if (exceeds(window->scan_s, STAGE_SHARE, window, "scan", reason)) {
            return "scan";
        }
    }
    sentence_add(reason, "running well within capacity");
    return "none";
}

void policy_bottleneck(const struct pipeline *pipeline, const struct pipeline_view *view,
                       struct bottleneck *out)
{
    struct sentence reason = sentence_begin(out->reason, sizeof out->reason);
    const size_t stuck = most_stuck(pipeline, view);
    if (stuck < pipeline->component_count) {
        say_stuck(&pipeline->components[stuck], view->stuck_ns[stuck], &reason);
        out->stage = "output";
    } else {
        out->stage = stage_of_window(&view->window, &reason);
    }
}
