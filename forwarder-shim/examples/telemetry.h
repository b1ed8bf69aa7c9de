/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that this forwarder says about itself: the one module that calls the shim. Nothing here
 * returns a failure, since nothing that the forwarder does depends on it. Messages also go to
 * stderr. Any thread, unless it says otherwise.
 */
#ifndef EXAMPLE_TELEMETRY_H
#define EXAMPLE_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fwdscope.h"

struct batch;
struct config;

/* What a batch carries for its telemetry. */
struct telemetry_batch {
    fwdscope_span root;
    fwdscope_span output;
};

/* What became of a batch. */
struct batch_result {
    uint64_t output_rows;
    uint64_t output_bytes;
    uint64_t parse_errors;
    uint64_t retries;
    uint64_t queue_wait_ns;
    uint64_t scan_ns;
    uint64_t transform_ns;
    uint64_t output_ns;
    uint64_t send_ns; /* part of output_ns: without the waits between attempts */
    uint32_t worker_id;
    bool dropped;
};

/* Main thread, before and after all other threads. */
void telemetry_open(const struct config *config, const char *directory);
void telemetry_close(const char *reason);

/* From the main loop, at least every heartbeat_ms. */
void telemetry_heartbeat(size_t queue_depth);

/* A message of the forwarder, of `batch` when it is not NULL. */
void telemetry_log(enum fwdscope_severity severity, const struct batch *batch, const char *format,
                   ...) __attribute__((format(printf, 3, 4)));

/* The input; main thread. */
void telemetry_input_opened(const char *path);
void telemetry_input_rotated(const char *path);
void telemetry_input_truncated(const char *path);
void telemetry_input_failed(const char *path, int error);
void telemetry_input_read(uint64_t lines, uint64_t bytes, uint64_t cut_lines);
void telemetry_input_stalled(void);

/* A batch: begun with its first line, queued when complete, then its stages, its output, its end. */
void telemetry_batch_begin(struct batch *batch);
void telemetry_batch_queued(const struct batch *batch);
void telemetry_batch_stage(const struct batch *batch, const char *stage);
void telemetry_transformed(const struct batch *batch);
void telemetry_output_begin(struct batch *batch);
/* An attempt failed: the first of a batch makes the output degraded. */
void telemetry_output_failed(const struct batch *batch, uint64_t attempt, const char *why);
void telemetry_output_end(const struct batch *batch, const struct batch_result *result);
void telemetry_batch_end(const struct batch *batch, const struct batch_result *result);

/* The forwarder drains: inputs and outputs are stopping. Main thread. */
void telemetry_stopping(void);

#endif
