/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a batch after the queue: scan, transform, output. */
#include "worker.h"

#include <errno.h>
#include <poll.h>

#include "batch.h"
#include "clock.h"
#include "memory.h"
#include "parse.h"
#include "telemetry.h"

/* ---- scan and transform ---------------------------------------------------------------------- */

static void add_member(struct json *json, const char *name, struct part value)
{
    if (value.bytes == 0)
        return;
    json_add(json, ",", 1);
    json_add_string(json, name, strlen(name));
    json_add(json, ":", 1);
    json_add_string(json, value.at, value.bytes);
}

/* {"line":...,"file":...[,"timestamp":...][,"level":...][,"message":...]|[,"json":{...}]} */
static void add_row(struct json *json, const char *line, size_t bytes, const char *path,
                    const struct record *record)
{
    json_add(json, "{\"line\":", 8);
    json_add_string(json, line, bytes);
    add_member(json, "file", (struct part){path, strlen(path)});
    if (record->is_json) {
        json_add(json, ",\"json\":", 8);
        json_add(json, line, bytes);
    } else if (record->timestamp.bytes > 0) {
        add_member(json, "timestamp", record->timestamp);
        add_member(json, "level", record->level);
        add_member(json, "message", record->message);
    }
    json_add(json, "}\n", 2);
}

static struct record *scan(const struct batch *batch, struct batch_result *result)
{
    uint64_t begin = clock_monotonic_ns();
    telemetry_batch_stage(batch, "scan");
    struct record *records = memory_zeroed(batch->row_count, sizeof(*records));
    for (size_t i = 0; i < batch->row_count; i++)
        if (!parse_line(batch_line(batch, i), batch->rows[i].bytes, &records[i]))
            result->parse_errors++;
    result->scan_ns = clock_monotonic_ns() - begin;
    return records;
}

static void transform(struct worker *worker, const struct batch *batch,
                      const struct record *records, struct batch_result *result)
{
    uint64_t begin = clock_monotonic_ns();
    telemetry_batch_stage(batch, "transform");
    worker->ndjson.used = 0;
    for (size_t i = 0; i < batch->row_count; i++) {
        const char *line = batch_line(batch, i);
        if (!filter_passes(&worker->filter, line, batch->rows[i].bytes))
            continue;
        add_row(&worker->ndjson, line, batch->rows[i].bytes, batch_path(batch, i), &records[i]);
        result->output_rows++;
    }
    result->output_bytes = worker->ndjson.used;
    telemetry_transformed(batch);
    result->transform_ns = clock_monotonic_ns() - begin;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The wait before attempt number `attempt` + 1: doubled each time, of which a random 50 to 100 %,
 * so that workers that failed together do not come back together. */
static uint32_t backoff_ms(struct worker *worker, uint64_t attempt)
{
    uint64_t wait = worker->config->retry_min_ms;
    for (uint64_t i = 1; i < attempt && wait < worker->config->retry_max_ms; i++)
        wait *= 2;
    if (wait > worker->config->retry_max_ms)
        wait = worker->config->retry_max_ms;
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return (uint32_t)(wait - worker->random % (wait / 2 + 1));
}

/* False: the time to drain is over. */
static bool wait_before_retry(const struct worker *worker, uint32_t ms)
{
    struct pollfd give_up = {.fd = worker->output.destination->give_up_fd, .events = POLLIN};
    int ready = 0;
    do
        ready = poll(&give_up, 1, (int)ms);
    while (ready < 0 && errno == EINTR);
    return ready == 0;
}

/* Tries until the batch is delivered or the time to drain is over. */
static void deliver(struct worker *worker, const struct batch *batch, struct batch_result *result)
{
    size_t done = 0;
    output_begin(&worker->output);
    for (;;) {
        char error[OUTPUT_ERROR_BYTES];
        uint64_t begin = clock_monotonic_ns();
        bool sent =
            output_send(&worker->output, worker->ndjson.bytes, worker->ndjson.used, &done, error);
        result->send_ns += clock_monotonic_ns() - begin;
        if (sent)
            break;
        telemetry_output_failed(batch, ++result->retries, error);
        if (!wait_before_retry(worker, backoff_ms(worker, result->retries))) {
            result->dropped = true;
            worker->lines_undelivered += result->output_rows;
            break;
        }
    }
    output_end(&worker->output);
}

static void output(struct worker *worker, struct batch *batch, struct batch_result *result)
{
    uint64_t begin = clock_monotonic_ns();
    telemetry_output_begin(batch);
    deliver(worker, batch, result);
    result->output_ns = clock_monotonic_ns() - begin;
    telemetry_output_end(batch, result);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void process(struct worker *worker, struct batch *batch)
{
    struct batch_result result = {.worker_id = worker->id};
    result.queue_wait_ns = clock_monotonic_ns() - batch->queued_monotonic_ns;
    struct record *records = scan(batch, &result);
    transform(worker, batch, records, &result);
    free(records);
    if (result.output_rows > 0)
        output(worker, batch, &result);
    telemetry_batch_end(batch, &result);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    for (struct batch *batch; (batch = queue_pop(worker->queue)) != NULL; batch_free(batch))
        process(worker, batch);
    output_close(&worker->output);
    return NULL;
}

bool worker_start(struct worker *worker, uint32_t id, const struct config *config,
                  struct queue *queue, struct destination *destination)
{
    *worker = (struct worker){.id = id,
                              .config = config,
                              .queue = queue,
                              .random = clock_unix_ns() * (2 * (uint64_t)id + 1) | 1};
    output_open(&worker->output, destination);
    if (!filter_open(&worker->filter, config->include, config->exclude)) {
        errno = ENOMEM;
        return false;
    }
    int status = pthread_create(&worker->thread, NULL, run, worker);
    if (status != 0)
        filter_close(&worker->filter);
    errno = status;
    return status == 0;
}

bool worker_join(struct worker *worker, uint32_t timeout_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    uint64_t ns = (uint64_t)deadline.tv_nsec + (uint64_t)timeout_ms * NS_PER_MS;
    deadline.tv_sec += (time_t)(ns / 1000000000u);
    deadline.tv_nsec = (long)(ns % 1000000000u);
    if (pthread_timedjoin_np(worker->thread, NULL, &deadline) != 0)
        return false;
    filter_close(&worker->filter);
    json_free(&worker->ndjson);
    return true;
}
