/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded memory of records and metric points. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

/* ---- records --------------------------------------------------------------------------------- */

/* A kept record: a head of two words, then its own. */
enum { KEPT_HEAD = 2, CHUNK_BYTES = 64 << 10, CHUNKS_MIN = 16 };

struct record_chunk {
    struct record_chunk *next;
    uint64_t first, count;                     /* serials */
    uint64_t earliest_unix_ns, latest_unix_ns; /* lanes were drained one by one: in no order */
    size_t used, capacity;                     /* words */
    uint64_t words[];
};

static size_t chunk_bytes(const struct record_chunk *chunk)
{
    return sizeof *chunk + chunk->capacity * sizeof *chunk->words;
}

/* What none of its records takes. */
static size_t chunk_rest_bytes(const struct record_chunk *chunk)
{
    return sizeof *chunk + (chunk->capacity - chunk->used) * sizeof *chunk->words;
}

static uint64_t kept_head(const struct record *record)
{
    return (uint64_t)record->word_count | (uint64_t)record->kind << 32;
}

static size_t kept_words(const uint64_t *at)
{
    return KEPT_HEAD + (size_t)(at[0] & 0xffffffff);
}

static struct record kept_record(const uint64_t *at)
{
    return (struct record){.kind = (enum record_kind)(at[0] >> 32),
                           .time_unix_ns = at[1],
                           .words = at + KEPT_HEAD,
                           .word_count = (size_t)(at[0] & 0xffffffff)};
}

void record_queue_init(struct record_queue *queue, size_t max_bytes, size_t records_kept)
{
    *queue = (struct record_queue){.max_bytes = max_bytes, .records_kept = records_kept};
}

static void queue_drop_oldest(struct record_queue *queue)
{
    struct record_chunk *chunk = queue->oldest;
    queue->oldest = chunk->next;
    if (queue->oldest == NULL)
        queue->newest = NULL;
    queue->bytes -= chunk_bytes(chunk);
    queue->first += chunk->count;
    free(chunk);
}

void record_queue_free(struct record_queue *queue)
{
    while (queue->oldest != NULL)
        queue_drop_oldest(queue);
    *queue = (struct record_queue){0};
}

static bool queue_evict(struct record_queue *queue)
{
    if (queue->oldest == NULL || queue->first + queue->oldest->count > queue->published)
        return false;
    queue_drop_oldest(queue);
    return true;
}

/* A new chunk with room for `need` words, in the place of published ones if there is none else. */
static bool queue_add_chunk(struct record_queue *queue, size_t need)
{
    const size_t usual =
        queue->max_bytes / CHUNKS_MIN < CHUNK_BYTES ? queue->max_bytes / CHUNKS_MIN : CHUNK_BYTES;
    size_t bytes = sizeof(struct record_chunk) + need * sizeof(uint64_t);
    bytes = bytes > usual ? bytes : usual;
    if (bytes > queue->max_bytes)
        return false;
    while (queue->bytes + bytes > queue->max_bytes) {
        if (!queue_evict(queue))
            return false;
    }
    struct record_chunk *chunk = malloc(bytes);
    if (chunk == NULL)
        return false;
    *chunk = (struct record_chunk){
        .first = queue->next,
        .earliest_unix_ns = UINT64_MAX,
        .capacity = (bytes - sizeof *chunk) / sizeof *chunk->words,
    };
    if (queue->next > queue->published) /* then the newest chunk holds some that wait */
        queue->waiting_bytes += chunk_rest_bytes(queue->newest);
    if (queue->newest != NULL)
        queue->newest->next = chunk;
    else
        queue->oldest = chunk;
    queue->newest = chunk;
    queue->bytes += chunk_bytes(chunk);
    return true;
}

bool record_queue_push(struct record_queue *queue, const struct record *record)
{
    const size_t need = KEPT_HEAD + record->word_count;
    struct record_chunk *chunk = queue->newest;
    if (chunk == NULL || chunk->capacity - chunk->used < need) {
        if (!queue_add_chunk(queue, need)) {
            queue->dropped++;
            return false;
        }
        chunk = queue->newest;
    }
    uint64_t *at = chunk->words + chunk->used;
    at[0] = kept_head(record);
    at[1] = record->time_unix_ns;
    memcpy(at + KEPT_HEAD, record->words, record->word_count * sizeof *record->words);
    chunk->used += need;
    chunk->count++;
    if (record->time_unix_ns < chunk->earliest_unix_ns)
        chunk->earliest_unix_ns = record->time_unix_ns;
    if (record->time_unix_ns > chunk->latest_unix_ns)
        chunk->latest_unix_ns = record->time_unix_ns;
    queue->next++;
    queue->waiting_bytes += need * sizeof *at;
    while (queue->next - queue->first - queue->oldest->count >= queue->records_kept &&
           queue_evict(queue))
        continue;
    return true;
}

void record_queue_publish(struct record_queue *queue)
{
    queue->published = queue->next;
    queue->waiting_bytes = 0;
}

/* Which records are wanted. */
struct wanted {
    uint64_t from, to, since_unix_ns;
};

static bool record_is_wanted(const struct wanted *wanted, uint64_t serial, uint64_t time_unix_ns)
{
    return serial >= wanted->from && serial < wanted->to && time_unix_ns >= wanted->since_unix_ns;
}

static bool chunk_has_none(const struct record_chunk *chunk, const struct wanted *wanted)
{
    return chunk->first >= wanted->to || chunk->first + chunk->count <= wanted->from ||
           chunk->latest_unix_ns < wanted->since_unix_ns;
}

/* How many records of a chunk are wanted: most chunks tell without a look at their records. */
static size_t chunk_count(const struct record_chunk *chunk, const struct wanted *wanted)
{
    size_t count = 0, at = 0;
    if (chunk_has_none(chunk, wanted))
        return 0;
    if (chunk->first >= wanted->from && chunk->first + chunk->count <= wanted->to &&
        chunk->earliest_unix_ns >= wanted->since_unix_ns)
        return (size_t)chunk->count;
    for (uint64_t i = 0; i < chunk->count; i++) {
        count += record_is_wanted(wanted, chunk->first + i, chunk->words[at + 1]);
        at += kept_words(chunk->words + at);
    }
    return count;
}

size_t record_queue_count(const struct record_queue *queue, uint64_t from, uint64_t to,
                          uint64_t since_unix_ns)
{
    const struct wanted wanted = {from, to, since_unix_ns};
    size_t count = 0;
    for (const struct record_chunk *chunk = queue->oldest; chunk != NULL; chunk = chunk->next)
        count += chunk_count(chunk, &wanted);
    return count;
}

size_t record_queue_collect(const struct record_queue *queue, uint64_t from, uint64_t to,
                            uint64_t since_unix_ns, struct record *out, size_t max)
{
    const struct wanted wanted = {from, to, since_unix_ns};
    const size_t matching = record_queue_count(queue, from, to, since_unix_ns);
    size_t pass_over = matching > max ? matching - max : 0, count = 0;
    for (const struct record_chunk *chunk = queue->oldest; chunk != NULL; chunk = chunk->next) {
        const size_t here = pass_over > 0 ? chunk_count(chunk, &wanted) : 0;
        if (chunk_has_none(chunk, &wanted) || (here > 0 && here <= pass_over)) {
            pass_over -= here;
            continue;
        }
        size_t at = 0;
        for (uint64_t i = 0; i < chunk->count; i++) {
            const struct record record = kept_record(chunk->words + at);
            at += kept_words(chunk->words + at);
            if (!record_is_wanted(&wanted, chunk->first + i, record.time_unix_ns))
                continue;
            if (pass_over > 0)
                pass_over--;
            else
                out[count++] = record;
        }
    }
    return count;
}

/* ---- points ---------------------------------------------------------------------------------- */

void row_queue_init(struct row_queue *queue, size_t max_bytes, uint64_t max_age_ns)
{
    *queue = (struct row_queue){.max_bytes = max_bytes, .max_age_ns = max_age_ns};
}

static void spare_free(struct row_queue *queue)
{
    for (size_t i = 0; i < ROWS_SPARE; i++) {
        free(queue->spare[i]);
        queue->spare[i] = NULL;
    }
}

void row_queue_free(struct row_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        free(queue->rows[i]);
    spare_free(queue);
    free(queue->rows);
    *queue = (struct row_queue){0};
}

struct point_row *row_queue_take_spare(struct row_queue *queue)
{
    for (size_t i = 0; i < ROWS_SPARE; i++) {
        struct point_row *row = queue->spare[i];
        queue->spare[i] = NULL;
        if (row != NULL)
            return row;
    }
    return NULL;
}

static void row_drop(struct row_queue *queue, struct point_row *row)
{
    for (size_t i = 0; i < ROWS_SPARE; i++) {
        if (queue->spare[i] == NULL) {
            queue->spare[i] = row;
            return;
        }
    }
    free(row);
}

static size_t spare_bytes(const struct row_queue *queue)
{
    size_t bytes = 0;
    for (size_t i = 0; i < ROWS_SPARE; i++)
        bytes += queue->spare[i] != NULL ? point_row_bytes(queue->spare[i]) : 0;
    return bytes;
}

static void rows_drop_oldest(struct row_queue *queue, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        queue->bytes -= point_row_bytes(queue->rows[i]);
        row_drop(queue, queue->rows[i]);
    }
    queue->count -= count;
    memmove(queue->rows, queue->rows + count, queue->count * sizeof(struct point_row *));
}

/* Whether the newest row, now that another comes, stands too close to the one before it to stay:
 * rows of that size and at that distance would not cover the time that they are to cover. */
static bool newest_is_too_close(const struct row_queue *queue)
{
    if (queue->count < 2)
        return false;
    const struct point_row *newest = queue->rows[queue->count - 1];
    const uint64_t gap = newest->time_unix_ns - queue->rows[queue->count - 2]->time_unix_ns;
    const size_t fitting = queue->max_bytes / point_row_bytes(newest);
    return gap < (fitting > 2 ? queue->max_age_ns / (fitting - 2) : queue->max_age_ns);
}

/* How many of the oldest rows are one too many: too old, or beyond the bound. */
static size_t rows_too_many(const struct row_queue *queue)
{
    const uint64_t newest = queue->rows[queue->count - 1]->time_unix_ns;
    size_t old = 0, bytes = queue->bytes;
    while (old + 1 < queue->count &&
           (bytes > queue->max_bytes ||
            newest - queue->rows[old + 1]->time_unix_ns >= queue->max_age_ns))
        bytes -= point_row_bytes(queue->rows[old++]);
    return old;
}

void row_queue_push(struct row_queue *queue, struct point_row *row)
{
    if (newest_is_too_close(queue)) {
        struct point_row *last = queue->rows[--queue->count];
        queue->bytes -= point_row_bytes(last);
        row_drop(queue, last);
    }
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity != 0 ? queue->capacity * 2 : 64;
        struct point_row **rows = realloc(queue->rows, capacity * sizeof(struct point_row *));
        if (rows == NULL && queue->count == 0) {
            free(row);
            return;
        }
        if (rows == NULL) { /* no memory: one old row makes room */
            rows_drop_oldest(queue, 1);
        } else {
            queue->rows = rows;
            queue->capacity = capacity;
        }
    }
    queue->rows[queue->count++] = row;
    queue->bytes += point_row_bytes(row);
    rows_drop_oldest(queue, rows_too_many(queue));
}

void row_queue_end_before(struct row_queue *queue, uint64_t unix_ns)
{
    if (queue->count == 0)
        return;
    struct point_row *newest = queue->rows[queue->count - 1];
    bool in_order = queue->count == 1 || queue->rows[queue->count - 2]->time_unix_ns < unix_ns;
    if (newest->time_unix_ns > unix_ns && in_order)
        newest->time_unix_ns = unix_ns;
}

const struct point_row *row_queue_newest(const struct row_queue *queue)
{
    return queue->count > 0 ? queue->rows[queue->count - 1] : NULL;
}

/* Index of the first row that is not earlier. */
static size_t rows_from(const struct row_queue *queue, uint64_t since_unix_ns)
{
    size_t from = 0;
    while (from < queue->count && queue->rows[from]->time_unix_ns < since_unix_ns)
        from++;
    return from;
}

size_t row_queue_count(const struct row_queue *queue, uint64_t since_unix_ns)
{
    return queue->count - rows_from(queue, since_unix_ns);
}

size_t row_queue_collect(const struct row_queue *queue, uint64_t since_unix_ns,
                         const struct point_row **out, size_t max)
{
    size_t from = rows_from(queue, since_unix_ns);
    size_t matching = queue->count - from;
    size_t step = max > 0 ? (matching + max - 1) / max : 0;
    size_t count = 0;
    if (matching == 0 || step == 0)
        return 0;
    /* Counted from the newest, so that it is always there. */
    size_t first = (matching - 1) % step;
    for (size_t i = first; i < matching; i += step)
        out[count++] = queue->rows[from + i];
    return count;
}

/* ---- all of one life, and of all lives ------------------------------------------------------- */

void history_free(struct history *history)
{
    record_queue_free(&history->spans);
    record_queue_free(&history->logs);
    row_queue_free(&history->rows);
}

size_t history_bytes(const struct history *history)
{
    const struct row_queue *rows = &history->rows;
    return history->spans.bytes + history->logs.bytes + rows->bytes +
           rows->capacity * sizeof(struct point_row *) + spare_bytes(rows);
}

size_t history_waiting_bytes(const struct history *history)
{
    return history->spans.waiting_bytes + history->logs.waiting_bytes;
}

/* What a queue would give, the newest chunk never. */
static size_t records_to_give(const struct record_queue *queue)
{
    const bool some =
        queue->oldest != queue->newest && queue->first + queue->oldest->count <= queue->published;
    return some ? chunk_bytes(queue->oldest) : 0;
}

/* The same of rows: about a chunk, so that both give alike. */
static size_t rows_to_give(const struct row_queue *queue, size_t *rows)
{
    size_t bytes = 0;
    for (*rows = 0; *rows + 1 < queue->count && bytes < CHUNK_BYTES; ++*rows)
        bytes += point_row_bytes(queue->rows[*rows]);
    return bytes;
}

/* The oldest of the largest part that has some to give; returns the bytes. */
static size_t history_give(struct history *history)
{
    struct record_queue *records =
        history->spans.bytes > history->logs.bytes ? &history->spans : &history->logs;
    if (records_to_give(records) == 0)
        records = records == &history->logs ? &history->spans : &history->logs;
    size_t rows, bytes = rows_to_give(&history->rows, &rows);
    if (records_to_give(records) > 0 && (bytes == 0 || records->bytes >= history->rows.bytes)) {
        bytes = records_to_give(records);
        queue_drop_oldest(records);
    } else {
        bytes += spare_bytes(&history->rows);
        rows_drop_oldest(&history->rows, rows);
        spare_free(&history->rows);
    }
    return bytes;
}

static size_t bytes_if_it_gives(const struct history *history)
{
    const bool some = records_to_give(&history->spans) > 0 || records_to_give(&history->logs) > 0 ||
                      history->rows.count > 1;
    return some ? history_bytes(history) : 0;
}

static size_t logs_beyond(const struct history *history, size_t promised)
{
    const struct record_queue *logs = &history->logs;
    return records_to_give(logs) > 0 && logs->bytes > promised ? logs->bytes - promised : 0;
}

/* One step of the trim; returns the bytes that it gained, 0: nobody has any to give. */
static size_t histories_give(struct history *const *histories, size_t count, size_t logs_promised)
{
    struct history *wordy = NULL, *large = NULL;
    size_t most_beyond = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t beyond = logs_beyond(histories[i], logs_promised);
        const size_t bytes = bytes_if_it_gives(histories[i]);
        if (beyond > most_beyond)
            wordy = histories[i];
        if (bytes > most)
            large = histories[i];
        most_beyond = beyond > most_beyond ? beyond : most_beyond;
        most = bytes > most ? bytes : most;
    }
    if (wordy != NULL) {
        const size_t bytes = records_to_give(&wordy->logs);
        queue_drop_oldest(&wordy->logs);
        return bytes;
    }
    return large != NULL ? history_give(large) : 0;
}

size_t histories_trim(struct history *const *histories, size_t count, size_t max_bytes,
                      size_t logs_promised)
{
    size_t bytes = 0, given = 1;
    for (size_t i = 0; i < count; i++)
        bytes += history_bytes(histories[i]);
    while (bytes > max_bytes && given > 0) {
        given = histories_give(histories, count, logs_promised);
        bytes -= given;
    }
    return bytes;
}
