/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarder seen by the shim: pipeline, batches, spans, log lines. */
#include "telemetry.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "clock.h"
#include "config.h"
#include "fwdscope_config.h"
#include "memory.h"

#define MESSAGE_BYTES      512
#define PIPELINE           "default"
#define RETRY_LOG_EVERY_NS (10000ull * NS_PER_MS)
#define COUNT(array)       (sizeof(array) / sizeof((array)[0]))

static struct {
    fwdscope_pipeline pipeline;
    fwdscope_component input;
    fwdscope_component transform;
    fwdscope_component output;
    fwdscope_histogram latency;
    fwdscope_counter retries;
    size_t queue_capacity;

    pthread_mutex_t mutex; /* of what follows: changes of health, which are rare */
    size_t retrying;       /* workers whose batch failed at least once */
    bool stopping;
    uint64_t retry_logged_ns; /* 0: not since the output last worked */
} the = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- life ------------------------------------------------------------------------------------ */

static void describe_transform(const struct config *config, char *text, size_t bytes)
{
    const char *include = config->include, *exclude = config->exclude;
    snprintf(text, bytes, "%s%s%s%s%s", include ? "include /" : "", include ? include : "",
             include && exclude ? "/ exclude /"
             : include          ? "/"
             : exclude          ? "exclude /"
                                : "all lines",
             exclude ? exclude : "", exclude ? "/" : "");
}

static void register_all(const struct config *config)
{
    char query[MESSAGE_BYTES];
    describe_transform(config, query, sizeof(query));
    the.pipeline = fwdscope_pipeline_register(PIPELINE, 0);
    the.input = fwdscope_input_register(the.pipeline, "files", "file", 0);
    /* A transform counts lines and errors; bytes are those of its neighbours. */
    the.transform = fwdscope_transform_register(the.pipeline, query, 1u << FWDSCOPE_BYTES);
    the.output = fwdscope_output_register(the.pipeline, "destination",
                                          config->output_is_file ? "file" : "tcp",
                                          1u << FWDSCOPE_ROTATIONS | 1u << FWDSCOPE_PARSE_ERRORS);
    the.queue_capacity = config->queue_batches;
    fwdscope_component_queue(the.output, 0, the.queue_capacity);

    static const double bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60};
    struct fwdscope_attribute pipeline = fwdscope_string("pipeline", PIPELINE);
    the.latency = fwdscope_histogram_register(
        &(struct fwdscope_instrument){
            .name = "forwarder.batch_latency",
            .unit = "s",
            .description = "From the first line read of a batch to its last byte accepted",
            .attributes = &pipeline,
            .attribute_count = 1},
        bounds, COUNT(bounds));
    the.retries = fwdscope_counter_register(&(struct fwdscope_instrument){
        .name = "forwarder.output_retries",
        .unit = "{attempt}",
        .description = "Attempts to send that failed and were made again",
        .attributes = &pipeline,
        .attribute_count = 1});
}

void telemetry_open(const struct config *config, const char *directory)
{
    struct fwdscope_options options = {.service_name = config->service_name,
                                       .service_version = FWDSCOPE_VERSION,
                                       .instance = config->instance,
                                       .directory = directory,
                                       .heartbeat_interval_ms = config->heartbeat_ms};
    if (!fwdscope_open(&options))
        telemetry_log(FWDSCOPE_WARN, NULL, "runs without diagnostics: %s", fwdscope_reason());
    fwdscope_config_publish(config->path, config->text, config->text_bytes);
    register_all(config);
    telemetry_log(FWDSCOPE_INFO, NULL, "started: %zu path(s) to %s, %u worker(s)",
                  config->path_count, config->address, config->workers);
}

void telemetry_close(const char *reason)
{
    fwdscope_component_health(the.input, FWDSCOPE_STOPPED);
    fwdscope_component_health(the.transform, FWDSCOPE_STOPPED);
    fwdscope_component_health(the.output, FWDSCOPE_STOPPED);
    telemetry_log(FWDSCOPE_INFO, NULL, "ended: %s", reason);
    fwdscope_close(FWDSCOPE_CLOSED, reason);
}

void telemetry_heartbeat(size_t queue_depth)
{
    fwdscope_heartbeat();
    fwdscope_component_queue(the.output, queue_depth, the.queue_capacity);
}

void telemetry_stopping(void)
{
    pthread_mutex_lock(&the.mutex);
    the.stopping = true;
    pthread_mutex_unlock(&the.mutex);
    fwdscope_component_health(the.input, FWDSCOPE_STOPPING);
    fwdscope_component_health(the.output, FWDSCOPE_STOPPING);
}

/* ---- messages -------------------------------------------------------------------------------- */

static const char *severity_name(enum fwdscope_severity severity)
{
    return severity >= FWDSCOPE_ERROR ? "error" : severity >= FWDSCOPE_WARN ? "warning" : "info";
}

void telemetry_log(enum fwdscope_severity severity, const struct batch *batch, const char *format,
                   ...)
{
    char body[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(body, sizeof(body), format, arguments);
    va_end(arguments);
    fprintf(stderr, "fwdscope-example-forwarder: %s: %s\n", severity_name(severity), body);
    struct fwdscope_log_record record = {.severity = severity,
                                         .severity_text = severity_name(severity),
                                         .body = body,
                                         .body_bytes = strlen(body)};
    if (batch != NULL)
        record.span = batch->telemetry.root;
    fwdscope_log_record(&record);
}

/* ---- input ----------------------------------------------------------------------------------- */

void telemetry_input_opened(const char *path)
{
    fwdscope_component_health(the.input, FWDSCOPE_HEALTHY);
    telemetry_log(FWDSCOPE_INFO, NULL, "follows %s", path);
}

void telemetry_input_rotated(const char *path)
{
    fwdscope_component_add(the.input, FWDSCOPE_ROTATIONS, 1);
    telemetry_log(FWDSCOPE_INFO, NULL, "%s was rotated", path);
}

void telemetry_input_truncated(const char *path)
{
    fwdscope_component_add(the.input, FWDSCOPE_ROTATIONS, 1);
    telemetry_log(FWDSCOPE_INFO, NULL, "%s was truncated", path);
}

void telemetry_input_failed(const char *path, int error)
{
    fwdscope_component_add(the.input, FWDSCOPE_ERRORS, 1);
    fwdscope_component_health(the.input, FWDSCOPE_DEGRADED);
    telemetry_log(FWDSCOPE_ERROR, NULL, "cannot read %s: %s", path, strerror(error));
}

void telemetry_input_read(uint64_t lines, uint64_t bytes, uint64_t cut_lines)
{
    if (lines == 0)
        return;
    fwdscope_component_progress(the.input, lines, bytes);
    if (cut_lines > 0)
        fwdscope_batch_add(the.pipeline, &(struct fwdscope_batch){.scan_errors = cut_lines});
}

void telemetry_input_stalled(void)
{
    fwdscope_batch_add(the.pipeline, &(struct fwdscope_batch){.backpressure_stalls = 1});
}

/* ---- batches --------------------------------------------------------------------------------- */

static const char *flush_reason_name(enum flush_reason reason)
{
    static const char *const names[] = {"size", "timeout", "drain"};
    return names[reason];
}

void telemetry_batch_begin(struct batch *batch)
{
    fwdscope_batch_add(the.pipeline, &(struct fwdscope_batch){.inflight = 1});
    batch->telemetry.root =
        fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, batch->first_unix_ns);
    struct fwdscope_attribute pipeline = fwdscope_string("pipeline", PIPELINE);
    fwdscope_span_set(batch->telemetry.root, &pipeline, 1);
}

void telemetry_batch_queued(const struct batch *batch)
{
    fwdscope_span_stage(batch->telemetry.root, "queued");
    const struct fwdscope_attribute attributes[] = {
        fwdscope_int("bytes_in", (int64_t)batch->bytes_in),
        fwdscope_int("input_rows", (int64_t)batch->row_count),
        fwdscope_string("flush_reason", flush_reason_name(batch->reason)),
    };
    fwdscope_span_set(batch->telemetry.root, attributes, COUNT(attributes));
}

void telemetry_batch_stage(const struct batch *batch, const char *stage)
{
    fwdscope_span_stage(batch->telemetry.root, stage);
}

void telemetry_transformed(const struct batch *batch)
{
    fwdscope_component_progress(the.transform, batch->row_count, 0);
}

void telemetry_output_begin(struct batch *batch)
{
    telemetry_batch_stage(batch, "output");
    batch->telemetry.output =
        fwdscope_span_child(batch->telemetry.root, "output", FWDSCOPE_SPAN_CLIENT, 0);
    struct fwdscope_attribute pipeline = fwdscope_string("pipeline", PIPELINE);
    fwdscope_span_set(batch->telemetry.output, &pipeline, 1);
}

void telemetry_output_failed(const struct batch *batch, uint64_t attempt, const char *why)
{
    fwdscope_component_add(the.output, FWDSCOPE_ERRORS, 1);
    fwdscope_counter_add(the.retries, 1);
    struct fwdscope_attribute retries = fwdscope_int("retries", (int64_t)attempt);
    fwdscope_span_set(batch->telemetry.output, &retries, 1);

    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&the.mutex);
    if (attempt == 1) {
        the.retrying++;
        if (!the.stopping)
            fwdscope_component_health(the.output, FWDSCOPE_DEGRADED);
    }
    bool log = the.retry_logged_ns == 0 || now - the.retry_logged_ns >= RETRY_LOG_EVERY_NS;
    if (log)
        the.retry_logged_ns = now;
    pthread_mutex_unlock(&the.mutex);
    if (log)
        telemetry_log(FWDSCOPE_WARN, batch, "attempt %llu failed, tries again: %s",
                      (unsigned long long)attempt, why);
}

/* A batch that had failed is done with: the output is healthy again once no other is failing. */
static void output_recovered(const struct batch *batch, const struct batch_result *result)
{
    pthread_mutex_lock(&the.mutex);
    the.retrying--;
    if (!result->dropped)
        the.retry_logged_ns = 0;
    if (the.retrying == 0 && !result->dropped && !the.stopping)
        fwdscope_component_health(the.output, FWDSCOPE_HEALTHY);
    pthread_mutex_unlock(&the.mutex);
    if (!result->dropped)
        telemetry_log(FWDSCOPE_INFO, batch, "delivered after %llu failed attempts",
                      (unsigned long long)result->retries);
}

void telemetry_output_end(const struct batch *batch, const struct batch_result *result)
{
    if (result->retries > 0)
        output_recovered(batch, result);
    if (!result->dropped) {
        fwdscope_component_progress(the.output, result->output_rows, result->output_bytes);
        fwdscope_output_success(the.output, clock_unix_ns());
    }
    const struct fwdscope_attribute attributes[] = {
        fwdscope_int("rows", (int64_t)result->output_rows),
        fwdscope_int("worker_id", result->worker_id),
        fwdscope_int("req_bytes", (int64_t)result->output_bytes),
        fwdscope_int("send_ns", (int64_t)result->send_ns),
        fwdscope_int("took_ms", (int64_t)(result->output_ns / NS_PER_MS)),
        fwdscope_int("retries", (int64_t)result->retries),
    };
    fwdscope_span_set(batch->telemetry.output, attributes, COUNT(attributes));
    fwdscope_span_status(batch->telemetry.output,
                         result->dropped ? FWDSCOPE_STATUS_ERROR : FWDSCOPE_STATUS_OK,
                         result->dropped ? "not delivered before the end" : NULL);
    fwdscope_span_end(batch->telemetry.output, 0);
}

static void end_root_span(const struct batch *batch, const struct batch_result *result,
                          uint64_t now)
{
    uint64_t errors = result->parse_errors + (result->dropped ? 1 : 0);
    const struct fwdscope_attribute attributes[] = {
        fwdscope_int("output_rows", result->dropped ? 0 : (int64_t)result->output_rows),
        fwdscope_int("errors", (int64_t)errors),
        fwdscope_int("queue_wait_ns", (int64_t)result->queue_wait_ns),
        fwdscope_int("scan_ns", (int64_t)result->scan_ns),
        fwdscope_int("transform_ns", (int64_t)result->transform_ns),
        fwdscope_int("worker_id", result->worker_id),
    };
    fwdscope_span_set(batch->telemetry.root, attributes, COUNT(attributes));
    fwdscope_span_status(batch->telemetry.root,
                         result->dropped ? FWDSCOPE_STATUS_ERROR : FWDSCOPE_STATUS_OK,
                         result->dropped ? "not delivered before the end" : NULL);
    fwdscope_span_end(batch->telemetry.root, now);
}

void telemetry_batch_end(const struct batch *batch, const struct batch_result *result)
{
    uint64_t latency_ns = clock_monotonic_ns() - batch->first_monotonic_ns;
    uint64_t now = clock_unix_ns();
    if (result->parse_errors > 0)
        fwdscope_component_add(the.input, FWDSCOPE_PARSE_ERRORS, result->parse_errors);
    struct fwdscope_batch step = {.parse_errors = result->parse_errors,
                                  .dropped_batches = result->dropped,
                                  .scan_ns = result->scan_ns,
                                  .transform_ns = result->transform_ns,
                                  .output_ns = result->output_ns,
                                  .queue_wait_ns = result->queue_wait_ns,
                                  .send_ns = result->send_ns,
                                  .inflight = -1,
                                  .finished_unix_ns = now};
    if (!result->dropped) {
        step.batches = 1;
        step.rows = batch->row_count;
        step.flush_by_size = batch->reason == FLUSH_SIZE;
        step.flush_by_timeout = batch->reason == FLUSH_TIMEOUT;
        step.flush_by_drain = batch->reason == FLUSH_DRAIN;
        step.latency_ns = latency_ns;
        fwdscope_histogram_record(the.latency, (double)latency_ns / 1e9);
    }
    fwdscope_batch_add(the.pipeline, &step);
    if (result->dropped)
        telemetry_log(FWDSCOPE_ERROR, batch, "%zu lines were not delivered before the end",
                      batch->row_count);
    end_root_span(batch, result, now);
}
