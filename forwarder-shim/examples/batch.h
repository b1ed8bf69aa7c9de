/* SPDX-License-Identifier: Apache-2.0 */
/* Lines on their way together: collected by rows, bytes or time. */
#ifndef EXAMPLE_BATCH_H
#define EXAMPLE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "telemetry.h"

enum flush_reason { FLUSH_SIZE, FLUSH_TIMEOUT, FLUSH_DRAIN };

/* One line: where it and the name of its file stand in the batch's text, each with a NUL behind. */
struct row {
    size_t offset;
    size_t bytes;
    size_t path_offset;
};

/* Owned by one thread at a time; the queue hands it on. */
struct batch {
    char *text;
    size_t text_used;
    size_t text_room;
    struct row *rows;
    size_t row_count;
    size_t row_room;
    size_t bytes_in; /* of the lines alone */
    uint64_t first_unix_ns; /* when its first line was read */
    uint64_t first_monotonic_ns;
    uint64_t queued_monotonic_ns; /* when it was complete */
    enum flush_reason reason;
    struct telemetry_batch telemetry;
};

struct batch *batch_create(void);
void batch_free(struct batch *batch);
/* Adds a line; the bytes and the path are copied. */
void batch_add(struct batch *batch, const char *line, size_t bytes, const char *path);
bool batch_is_full(const struct batch *batch, const struct config *config);
/* Whether its first line has waited for batch.timeout_ms. */
bool batch_is_due(const struct batch *batch, const struct config *config);
const char *batch_line(const struct batch *batch, size_t row);
const char *batch_path(const struct batch *batch, size_t row);

#endif
