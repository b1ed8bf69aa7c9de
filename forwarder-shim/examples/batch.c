/* SPDX-License-Identifier: Apache-2.0 */
/* A batch of lines in one piece of memory. */
#include "batch.h"

#include "clock.h"
#include "memory.h"

struct batch *batch_create(void)
{
    return memory_zeroed(1, sizeof(struct batch));
}

void batch_free(struct batch *batch)
{
    if (batch == NULL)
        return;
    free(batch->text);
    free(batch->rows);
    free(batch);
}

static size_t add_text(struct batch *batch, const char *bytes, size_t count)
{
    size_t offset = batch->text_used;
    batch->text = memory_grow(batch->text, &batch->text_room, offset + count, 1);
    if (count > 0)
        memcpy(batch->text + offset, bytes, count);
    batch->text_used += count;
    return offset;
}

void batch_add(struct batch *batch, const char *line, size_t bytes, const char *path)
{
    if (batch->row_count == 0) {
        batch->first_unix_ns = clock_unix_ns();
        batch->first_monotonic_ns = clock_monotonic_ns();
    }
    size_t path_offset = 0;
    if (batch->row_count > 0 && strcmp(batch_path(batch, batch->row_count - 1), path) == 0)
        path_offset = batch->rows[batch->row_count - 1].path_offset;
    else
        path_offset = add_text(batch, path, strlen(path) + 1);
    size_t offset = add_text(batch, line, bytes);
    add_text(batch, "", 1);
    batch->rows =
        memory_grow(batch->rows, &batch->row_room, batch->row_count + 1, sizeof(*batch->rows));
    batch->rows[batch->row_count++] = (struct row){offset, bytes, path_offset};
    batch->bytes_in += bytes;
}

bool batch_is_full(const struct batch *batch, const struct config *config)
{
    return batch->row_count >= config->batch_rows || batch->bytes_in >= config->batch_bytes;
}

bool batch_is_due(const struct batch *batch, const struct config *config)
{
    uint64_t timeout_ns = (uint64_t)config->batch_timeout_ms * NS_PER_MS;
    return batch->row_count > 0 && clock_monotonic_ns() - batch->first_monotonic_ns >= timeout_ns;
}

const char *batch_line(const struct batch *batch, size_t row)
{
    return batch->text + batch->rows[row].offset;
}

const char *batch_path(const struct batch *batch, size_t row)
{
    return batch->text + batch->rows[row].path_offset;
}
