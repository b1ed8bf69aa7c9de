/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies, key by key in the order of the contract. A counter that the forwarder does not have
 * is left out; so is everything about a forwarder while none is attached, but for the writer's
 * state and the reason. `transform` is always there, with an empty query where none is registered.
 */
#include "status.h"

#include "json.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_SECOND UINT64_C(1000000000)

static void put_uint_string(struct buffer *out, const char *key, uint64_t value)
{
    json_key(out, key);
    json_uint_string(out, value);
}

static void put_fixed(struct buffer *out, const char *key, double value, int digits)
{
    json_key(out, key);
    json_fixed(out, value, digits);
}

/* ---- what is worked out -------------------------------------------------------------------------
 */

/* When the readings were taken; while there is none yet, now. */
static uint64_t observed_ns(const struct status_view *view)
{
    return view->observed_unix_ns != 0 ? view->observed_unix_ns : view->now_unix_ns;
}

static struct readiness readiness_of(const struct status_view *view)
{
    return policy_readiness(view->forwarders, view->forwarder_count, view->trouble);
}

/* Seconds from the start of a life to its last reading, or to its last sign of life if it is over.
 * 0 when the clock went back behind the start. */
static uint64_t uptime_seconds(const struct forwarder_view *forwarder)
{
    const enum writer_state state = forwarder->verdict->state;
    uint64_t end_ns = forwarder->snapshot->time_unix_ns;
    if (state == WRITER_EXITED || state == WRITER_CRASHED) {
        const uint64_t age_ms = forwarder->verdict->heartbeat_age_ms;
        end_ns = end_ns / 1000000 > age_ms ? end_ns - age_ms * 1000000 : 0;
    }
    const uint64_t start_ns = forwarder->identity->created_unix_ns;
    return end_ns > start_ns ? (end_ns - start_ns) / NS_PER_SECOND : 0;
}

static bool component_has(const struct component *component, enum count_index which)
{
    return (component->absent >> which & 1) == 0;
}

static bool batches_have(const struct pipeline *pipeline, enum batch_index which)
{
    return (pipeline->absent >> which & 1) == 0;
}

/* The most lines that one of the outputs took; false when no output counts lines. */
static bool lines_out_of(const struct pipeline *pipeline, uint64_t *lines)
{
    bool known = false;
    *lines = 0;
    for (size_t i = 0; i < pipeline->component_count; i++) {
        const struct component *component = &pipeline->components[i];
        if (component->kind == COMPONENT_OUTPUT && component_has(component, COUNT_LINES)) {
            const uint64_t own = component->counts[COUNT_LINES];
            *lines = own > *lines ? own : *lines;
            known = true;
        }
    }
    return known;
}

static double drop_rate(uint64_t lines_in, uint64_t lines_out)
{
    if (lines_in == 0 || lines_out >= lines_in) {
        return 0;
    }
    return (double)(lines_in - lines_out) / (double)lines_in;
}

/* ---- pipelines ----------------------------------------------------------------------------------
 */

static void put_count(struct buffer *out, const char *key, const struct component *component,
                      enum count_index which)
{
    if (component_has(component, which)) {
        json_member_uint(out, key, component->counts[which]);
    }
}

static void put_queue(struct buffer *out, const struct component *component)
{
    if (component->has_queue) {
        json_key(out, "queue");
        json_object_begin(out);
        json_member_uint(out, "depth", component->queue_depth);
        if (component->queue_capacity > 0) { /* 0: not known, as of a queue of somebody else's */
            json_member_uint(out, "capacity", component->queue_capacity);
        }
        json_object_end(out);
    }
}

static void put_health(struct buffer *out, const struct component *component, uint64_t stuck_ns)
{
    json_member_string(out, "health", health_name(policy_component_health(component, stuck_ns)));
}

static void put_endpoint(struct buffer *out, const struct component *component, uint64_t stuck_ns)
{
    json_object_begin(out);
    json_member_string(out, "name", component->name);
    json_member_string(out, "type", component->type);
    put_health(out, component, stuck_ns);
    put_count(out, "lines_total", component, COUNT_LINES);
    put_count(out, "bytes_total", component, COUNT_BYTES);
    put_count(out, "errors", component, COUNT_ERRORS);
    if (component->kind == COMPONENT_INPUT) {
        put_count(out, "rotations", component, COUNT_ROTATIONS);
        put_count(out, "parse_errors", component, COUNT_PARSE_ERRORS);
    }
    put_queue(out, component);
    if (component->kind == COMPONENT_OUTPUT && component->last_success_unix_ns != 0) {
        put_uint_string(out, "last_success_unix_ns", component->last_success_unix_ns);
    }
    json_object_end(out);
}

static void put_endpoints(struct buffer *out, const char *key, const struct pipeline *pipeline,
                          const struct pipeline_view *view, enum component_kind kind)
{
    json_key(out, key);
    json_array_begin(out);
    for (size_t i = 0; i < pipeline->component_count; i++) {
        if (pipeline->components[i].kind == kind) {
            put_endpoint(out, &pipeline->components[i], view->stuck_ns[i]);
        }
    }
    json_array_end(out);
}

static void put_transform(struct buffer *out, const struct pipeline *pipeline)
{
    /* Stands for a transform that was not registered: it counts nothing and has nothing to fail. */
    static const struct component none = {
        .kind = COMPONENT_TRANSFORM, .name = "", .type = "", .absent = (1u << COUNTS) - 1};
    const struct component *transform = &none;
    for (size_t i = pipeline->component_count; i > 0; i--) {
        if (pipeline->components[i - 1].kind == COMPONENT_TRANSFORM) {
            transform = &pipeline->components[i - 1];
        }
    }
    uint64_t lines_out;
    const bool out_known = lines_out_of(pipeline, &lines_out);
    json_key(out, "transform");
    json_object_begin(out);
    json_member_string(out, "sql", transform->type);
    put_health(out, transform, 0);
    put_count(out, "lines_in", transform, COUNT_LINES);
    if (out_known) {
        json_member_uint(out, "lines_out", lines_out);
    }
    put_count(out, "errors", transform, COUNT_ERRORS);
    if (out_known && component_has(transform, COUNT_LINES)) {
        put_fixed(out, "filter_drop_rate", drop_rate(transform->counts[COUNT_LINES], lines_out), 3);
    }
    json_object_end(out);
}

static void put_batch_count(struct buffer *out, const char *key, const struct pipeline *pipeline,
                            enum batch_index which)
{
    if (batches_have(pipeline, which)) {
        json_member_uint(out, key, pipeline->batches[which]);
    }
}

static void put_rows_avg(struct buffer *out, const struct pipeline *pipeline)
{
    if (!batches_have(pipeline, BATCH_BATCHES) || !batches_have(pipeline, BATCH_ROWS)) {
        return;
    }
    const uint64_t batches = pipeline->batches[BATCH_BATCHES];
    const double rows = (double)pipeline->batches[BATCH_ROWS];
    put_fixed(out, "avg_rows", batches == 0 ? 0 : rows / (double)batches, 1);
}

static void put_latency_avg(struct buffer *out, const struct pipeline *pipeline)
{
    if (!batches_have(pipeline, BATCH_BATCHES) || !batches_have(pipeline, BATCH_LATENCY_NS)) {
        return;
    }
    const uint64_t batches = pipeline->batches[BATCH_BATCHES];
    json_key(out, "batch_latency_avg_ns");
    if (batches == 0) {
        json_null(out);
    } else {
        json_uint(out, pipeline->batches[BATCH_LATENCY_NS] / batches);
    }
}

static void put_batches(struct buffer *out, const struct pipeline *pipeline)
{
    json_key(out, "batches");
    json_object_begin(out);
    put_batch_count(out, "total", pipeline, BATCH_BATCHES);
    put_rows_avg(out, pipeline);
    put_batch_count(out, "flush_by_size", pipeline, BATCH_FLUSH_SIZE);
    put_batch_count(out, "flush_by_timeout", pipeline, BATCH_FLUSH_TIMEOUT);
    put_batch_count(out, "dropped_batches_total", pipeline, BATCH_DROPPED);
    put_batch_count(out, "scan_errors_total", pipeline, BATCH_SCAN_ERRORS);
    put_batch_count(out, "parse_errors_total", pipeline, BATCH_PARSE_ERRORS);
    put_uint_string(out, "last_batch_time_ns", pipeline->last_batch_unix_ns);
    put_latency_avg(out, pipeline);
    put_batch_count(out, "inflight", pipeline, BATCH_INFLIGHT);
    put_batch_count(out, "rows_total", pipeline, BATCH_ROWS);
    if (pipeline->batches_stale) {
        json_key(out, "stale");
        json_bool(out, true);
    }
    json_object_end(out);
}

static void put_stages(struct buffer *out, const struct pipeline *pipeline)
{
    static const struct {
        const char *key;
        enum batch_index which;
    } stages[] = {
        {"scan", BATCH_SCAN_NS},     {"transform", BATCH_TRANSFORM_NS},
        {"output", BATCH_OUTPUT_NS}, {"queue_wait", BATCH_QUEUE_WAIT_NS},
        {"send", BATCH_SEND_NS},
    };
    json_key(out, "stage_seconds");
    json_object_begin(out);
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        if (batches_have(pipeline, stages[i].which)) {
            const double ns = (double)pipeline->batches[stages[i].which];
            put_fixed(out, stages[i].key, ns / (double)NS_PER_SECOND, 6);
        }
    }
    json_object_end(out);
}

static void put_bottleneck(struct buffer *out, const struct pipeline *pipeline,
                           const struct pipeline_view *view)
{
    struct bottleneck bottleneck;
    policy_bottleneck(pipeline, view, &bottleneck);
    json_key(out, "bottleneck");
    json_object_begin(out);
    json_member_string(out, "stage", bottleneck.stage);
    json_member_string(out, "reason", bottleneck.reason);
    json_object_end(out);
}

/* instance: NULL when there is only one forwarder. */
static void put_pipeline(struct buffer *out, const char *instance, const struct pipeline *pipeline,
                         const struct pipeline_view *view)
{
    json_object_begin(out);
    json_member_string(out, "name", pipeline->name);
    if (instance != NULL) {
        json_member_string(out, "instance", instance);
    }
    put_endpoints(out, "inputs", pipeline, view, COMPONENT_INPUT);
    put_transform(out, pipeline);
    put_endpoints(out, "outputs", pipeline, view, COMPONENT_OUTPUT);
    put_batches(out, pipeline);
    put_stages(out, pipeline);
    put_batch_count(out, "backpressure_stalls", pipeline, BATCH_STALLS);
    put_bottleneck(out, pipeline, view);
    json_object_end(out);
}

static void put_pipelines(struct buffer *out, const struct status_view *view)
{
    json_key(out, "pipelines");
    json_array_begin(out);
    for (size_t i = 0; i < view->forwarder_count; i++) {
        const struct forwarder_view *forwarder = view->forwarders[i];
        const char *instance = view->forwarder_count > 1 ? forwarder->identity->instance : NULL;
        for (size_t j = 0; j < forwarder->snapshot->pipeline_count; j++) {
            put_pipeline(out, instance, &forwarder->snapshot->pipelines[j],
                         &forwarder->pipelines[j]);
        }
    }
    json_array_end(out);
}

/* ---- system, writer, region ---------------------------------------------------------------------
 */

/* The value of a gauge that the forwarder published under one of the standard names, if it has a
 * good one that a count of bytes can have. */
static bool published_bytes(const struct snapshot *snapshot, const char *name, uint64_t *bytes)
{
    for (size_t i = 0; i < snapshot->instrument_count; i++) {
        const struct instrument *gauge = &snapshot->instruments[i];
        if (gauge->kind != INSTRUMENT_GAUGE || strcmp(gauge->name, name) != 0 ||
            snapshot->values_absent[i] != 0) {
            continue;
        }
        const uint64_t word = snapshot->values[gauge->value_index];
        if (!gauge->is_double) {
            *bytes = word;
            return word <= INT64_MAX;
        }
        double real;
        memcpy(&real, &word, sizeof real);
        if (real >= 0 && real < 0x1p64) {
            *bytes = (uint64_t)real;
            return true;
        }
        return false;
    }
    return false;
}

static void put_memory(struct buffer *out, const struct snapshot *snapshot)
{
    static const char *const names[] = {"resident", "allocated", "active"};
    bool begun = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char instrument[64];
        uint64_t bytes;
        (void)snprintf(instrument, sizeof instrument, "process.memory.%s", names[i]);
        if (!published_bytes(snapshot, instrument, &bytes)) {
            continue;
        }
        if (!begun) {
            json_key(out, "memory");
            json_object_begin(out);
            begun = true;
        }
        json_member_uint(out, names[i], bytes);
    }
    if (begun) {
        json_object_end(out);
    }
}

/* forwarder: the first, or NULL while none is attached. */
static void put_system(struct buffer *out, const struct forwarder_view *forwarder)
{
    json_key(out, "system");
    json_object_begin(out);
    if (forwarder != NULL) {
        json_member_uint(out, "uptime_seconds", uptime_seconds(forwarder));
        json_member_string(out, "version", forwarder->identity->service_version);
        put_memory(out, forwarder->snapshot);
    }
    json_object_end(out);
}

/* A fatal signal; what is not known of it is absent. */
static void put_signal(struct buffer *out, const struct snapshot *snapshot)
{
    char text[32];
    json_member_uint(out, "signal", snapshot->signal);
    const char *name = snapshot->signal <= INT_MAX ? sigabbrev_np((int)snapshot->signal) : NULL;
    if (name != NULL) {
        (void)snprintf(text, sizeof text, "SIG%s", name);
        json_member_string(out, "signal_name", text);
    }
    if (snapshot->signal_thread == 0) {
        return;
    }
    if (snapshot->signal_address != UINT64_MAX) {
        (void)snprintf(text, sizeof text, "0x%llx", (unsigned long long)snapshot->signal_address);
        json_member_string(out, "signal_address", text);
    }
    json_member_uint(out, "signal_thread", snapshot->signal_thread);
}

static void put_writer(struct buffer *out, const struct forwarder_view *forwarder)
{
    const struct identity *identity = forwarder->identity;
    json_key(out, "writer");
    json_object_begin(out);
    json_member_string(out, "state", writer_state_name(forwarder->verdict->state));
    json_member_string(out, "reason", forwarder->verdict->reason);
    json_member_uint(out, "pid", identity->pid);
    put_uint_string(out, "started_unix_ns", identity->created_unix_ns);
    json_member_uint(out, "heartbeat_age_ms", forwarder->verdict->heartbeat_age_ms);
    json_member_uint(out, "generation", identity->generation);
    if (forwarder->snapshot->signal != 0) {
        put_signal(out, forwarder->snapshot);
    }
    json_object_end(out);
}

static void put_lost(struct buffer *out, const struct losses *lost)
{
    json_key(out, "lost");
    json_object_begin(out);
    json_member_uint(out, "spans", lost->spans);
    json_member_uint(out, "logs", lost->logs);
    json_member_uint(out, "logs_cut", lost->logs_cut);
    json_member_uint(out, "attributes_dropped", lost->attributes_dropped);
    json_member_uint(out, "values_dropped", lost->values_dropped);
    json_member_uint(out, "registrations_refused", lost->registrations_refused);
    json_object_end(out);
}

static void put_refusal(struct buffer *out, bool *begun, const char *what, const char *why)
{
    char text[192];
    if (!*begun) {
        json_key(out, "refused");
        json_array_begin(out);
        *begun = true;
    }
    (void)snprintf(text, sizeof text, "%s: %s", what, why);
    json_string(out, text);
}

/* What of the region is not served whole, "SECTION: why" each; nothing where all is well. */
static void put_refused(struct buffer *out, const struct forwarder_view *forwarder)
{
    bool begun = false;
    if (forwarder->snapshot->truncated) {
        put_refusal(out, &begun, "region", "cut short: this is the last whole reading");
    }
    for (size_t i = 0; i < forwarder->section_count; i++) {
        const struct section_report *section = &forwarder->sections[i];
        if (section->refused != NULL) {
            put_refusal(out, &begun, section->name, section->refused);
        }
    }
    if (begun) {
        json_array_end(out);
    }
}

static void put_region(struct buffer *out, const struct forwarder_view *forwarder)
{
    const struct identity *identity = forwarder->identity;
    char layout[32];
    (void)snprintf(layout, sizeof layout, "%u.%u", identity->major, identity->minor);
    json_key(out, "region");
    json_object_begin(out);
    json_member_string(out, "path", identity->path);
    json_member_string(out, "layout", layout);
    json_member_string(out, "uuid", identity->uuid);
    json_member_uint(out, "size_bytes", identity->size_bytes);
    put_lost(out, &forwarder->lost);
    put_refused(out, forwarder);
    json_object_end(out);
}

static const char *not_attached_reason(const struct status_view *view)
{
    return view->trouble_reason != NULL ? view->trouble_reason
                                        : "no forwarder is attached: no region was found yet";
}

static void put_not_attached(struct buffer *out, const struct status_view *view)
{
    json_key(out, "writer");
    json_object_begin(out);
    json_member_string(out, "state", writer_state_name(WRITER_UNKNOWN));
    json_member_string(out, "reason", not_attached_reason(view));
    json_object_end(out);
    if (view->trouble_path != NULL) {
        json_key(out, "region");
        json_object_begin(out);
        json_member_string(out, "path", view->trouble_path);
        json_object_end(out);
    }
}

static void put_life(struct buffer *out, const struct forwarder_view *life)
{
    json_member_string(out, "instance", life->identity->instance);
    json_member_string(out, "service", life->identity->service_name);
    put_writer(out, life);
    put_region(out, life);
}

static void put_forwarders(struct buffer *out, const struct status_view *view)
{
    bool wanted = view->forwarder_count > 1;
    for (size_t i = 0; i < view->forwarder_count; i++) {
        wanted = wanted || view->forwarders[i]->previous != NULL;
    }
    if (!wanted) {
        return;
    }
    json_key(out, "forwarders");
    json_array_begin(out);
    for (size_t i = 0; i < view->forwarder_count; i++) {
        const struct forwarder_view *current = view->forwarders[i];
        json_object_begin(out);
        put_life(out, current);
        if (current->previous != NULL) {
            json_key(out, "previous");
            json_object_begin(out);
            put_life(out, current->previous);
            json_object_end(out);
        }
        json_object_end(out);
    }
    json_array_end(out);
}

static void put_sampler(struct buffer *out, const struct sampler_stats *stats)
{
    json_key(out, "sampler");
    json_object_begin(out);
    json_member_uint(out, "interval_ms", stats->interval_ms);
    json_member_uint(out, "ticks", stats->ticks);
    json_member_uint(out, "last_tick_us", stats->last_tick_us);
    json_member_uint(out, "retries", stats->retries);
    json_member_uint(out, "stale", stats->stale);
    json_member_uint(out, "torn", stats->torn);
    json_member_uint(out, "stream_clients", stats->stream_clients);
    json_member_uint(out, "ticks_skipped", stats->ticks_skipped);
    json_object_end(out);
}

/* ---- the bodies ---------------------------------------------------------------------------------
 */

static void put_judgement(struct buffer *out, const char *status, const char *reason,
                          const char *impact, uint64_t unix_ns)
{
    json_object_begin(out);
    json_member_string(out, "status", status);
    json_member_string(out, "reason", reason);
    if (impact != NULL) {
        json_member_string(out, "readiness_impact", impact);
    }
    put_uint_string(out, "observed_at_unix_ns", unix_ns);
    json_object_end(out);
}

static void put_readiness(struct buffer *out, const struct readiness *readiness, uint64_t unix_ns)
{
    put_judgement(out, readiness->ready ? "ready" : "not_ready", readiness->reason, NULL, unix_ns);
}

static void put_component_health(struct buffer *out, const struct status_view *view)
{
    size_t pipelines;
    enum health worst = policy_worst_health(view->forwarders, view->forwarder_count, &pipelines);
    const char *reason = health_reason(worst);
    if (pipelines == 0) {
        /* Nothing is there that could be healthy: it is still to come, and ready waits for it. */
        worst = STARTING;
        reason = "no_pipelines_registered";
    }
    put_judgement(out, health_name(worst), reason, health_readiness_impact(worst),
                  observed_ns(view));
}

void status_write_live(struct buffer *out, const struct status_view *view)
{
    json_object_begin(out);
    json_member_string(out, "status", "live");
    json_member_uint(out, "uptime_seconds", view->uptime_seconds);
    json_member_string(out, "version", view->version);
    json_object_end(out);
}

int status_write_ready(struct buffer *out, const struct status_view *view)
{
    const struct readiness readiness = readiness_of(view);
    put_readiness(out, &readiness, observed_ns(view));
    return readiness.ready ? 200 : 503;
}

int status_write_forwarder_live(struct buffer *out, const struct status_view *view)
{
    const struct forwarder_liveness liveness =
        policy_forwarder_liveness(view->forwarders, view->forwarder_count);
    json_object_begin(out);
    json_member_string(out, "state", liveness.state);
    json_member_string(out, "reason",
                       view->forwarder_count > 0 ? liveness.reason : not_attached_reason(view));
    json_object_end(out);
    return liveness.stalled ? 503 : 200;
}

void status_write_status(struct buffer *out, const struct status_view *view)
{
    const struct forwarder_view *first = view->forwarder_count > 0 ? view->forwarders[0] : NULL;
    const struct readiness readiness = readiness_of(view);
    json_object_begin(out);
    json_member_string(out, "contract_version", "v1");
    json_key(out, "live");
    put_judgement(out, "live", "process_running", NULL, view->now_unix_ns);
    json_key(out, "ready");
    put_readiness(out, &readiness, observed_ns(view));
    json_key(out, "component_health");
    put_component_health(out, view);
    put_pipelines(out, view);
    put_system(out, first);
    if (first != NULL) {
        put_writer(out, first);
        put_region(out, first);
    } else {
        put_not_attached(out, view);
    }
    put_sampler(out, &view->sampler);
    put_forwarders(out, view);
    json_object_end(out);
}

int status_write_config(struct buffer *out, bool enabled, const char *path, const char *text,
                        size_t text_bytes)
{
    json_object_begin(out);
    if (!enabled) {
        json_member_string(out, "error", "config_endpoint_disabled");
        json_member_string(out, "message",
                           "set FWDSCOPE_UNSAFE_EXPOSE_CONFIG=1 to enable /admin/v1/config");
        json_object_end(out);
        return 403;
    }
    json_member_string(out, "path", path);
    json_key(out, "raw_yaml");
    if (text != NULL) {
        json_bytes_string(out, text, text_bytes);
    } else {
        json_string(out, "<redacted config unavailable>");
    }
    json_object_end(out);
    return 200;
}
