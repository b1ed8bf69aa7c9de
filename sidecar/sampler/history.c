/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded memory of records and metric points. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

/* ---- records --------------------------------------------------------------------------------- */

/* A kept record: a head of two words, then its own. */
enum { KEPT_HEAD = 2, FIRST_CAPACITY = 4096 };

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

void record_queue_init(struct record_queue *queue, size_t max_words, size_t max_records)
{
    *queue = (struct record_queue){.max_words = max_words, .max_records = max_records};
}

void record_queue_free(struct record_queue *queue)
{
    free(queue->words);
    *queue = (struct record_queue){0};
}

/* Where the record behind the one at `at` begins. */
static size_t queue_after(const struct record_queue *queue, size_t at)
{
    at += kept_words(queue->words + at);
    return at == queue->wrap && queue->tail < at ? 0 : at;
}

static bool queue_evict(struct record_queue *queue)
{
    if (queue->first == queue->next || queue->first >= queue->published)
        return false;
    size_t at = queue->head + kept_words(queue->words + queue->head);
    queue->first++;
    if (queue->first == queue->next) {
        queue->head = queue->tail = 0;
        queue->wrap = queue->capacity;
    } else if (at == queue->wrap) {
        queue->head = 0;
        queue->wrap = queue->capacity;
    } else {
        queue->head = at;
    }
    return true;
}

/* Finds a contiguous place of `need` words; false when the queue as it stands has none. */
static bool queue_place(struct record_queue *queue, size_t need, size_t *at)
{
    if (queue->first == queue->next) {
        queue->head = queue->tail = 0;
        queue->wrap = queue->capacity;
    }
    bool wrapped = queue->first != queue->next && queue->tail <= queue->head;
    if (wrapped) {
        if (queue->head - queue->tail < need)
            return false;
    } else if (queue->capacity - queue->tail < need) {
        if (queue->head < need)
            return false;
        queue->wrap = queue->tail; /* the rest of the end stays unused this round */
        queue->tail = 0;
    }
    *at = queue->tail;
    return true;
}

/* Doubles the room and lays the records out from its start. */
static bool queue_grow(struct record_queue *queue, size_t need)
{
    size_t capacity = queue->capacity != 0 ? queue->capacity * 2 : FIRST_CAPACITY;
    while (capacity < need)
        capacity *= 2;
    if (capacity > queue->max_words)
        capacity = queue->max_words;
    if (capacity <= queue->capacity || capacity < need)
        return false;
    uint64_t *words = malloc(capacity * sizeof *words);
    if (words == NULL)
        return false;
    size_t to = 0, at = queue->head;
    for (uint64_t serial = queue->first; serial != queue->next; serial++) {
        size_t count = kept_words(queue->words + at);
        memcpy(words + to, queue->words + at, count * sizeof *words);
        to += count;
        at = queue_after(queue, at);
    }
    free(queue->words);
    queue->words = words;
    queue->capacity = queue->wrap = capacity;
    queue->head = 0;
    queue->tail = to;
    return true;
}

bool record_queue_push(struct record_queue *queue, const struct record *record)
{
    size_t need = KEPT_HEAD + record->word_count;
    size_t at = 0;
    while (queue->next - queue->first >= queue->max_records && queue_evict(queue))
        ;
    while (queue->words == NULL || !queue_place(queue, need, &at)) {
        if (!queue_grow(queue, need) && !queue_evict(queue)) {
            queue->dropped++;
            return false;
        }
    }
    queue->words[at] = kept_head(record);
    queue->words[at + 1] = record->time_unix_ns;
    memcpy(queue->words + at + KEPT_HEAD, record->words,
           record->word_count * sizeof *record->words);
    queue->tail = at + need;
    queue->next++;
    return true;
}

size_t record_queue_collect(const struct record_queue *queue, uint64_t from, uint64_t to,
                            uint64_t since_unix_ns, struct record *out, size_t max)
{
    size_t matching = 0, count = 0;
    /* Twice over the queue: once to know how many to pass over, once to take the newest. */
    for (int pass = 0; pass < 2; pass++) {
        size_t at = queue->head, seen = 0;
        for (uint64_t serial = queue->first; serial != queue->next; serial++) {
            struct record record = kept_record(queue->words + at);
            at = queue_after(queue, at);
            if (serial < from || serial >= to || record.time_unix_ns < since_unix_ns)
                continue;
            seen++;
            if (pass == 1 && seen + max > matching)
                out[count++] = record;
        }
        matching = seen;
    }
    return count;
}

/* ---- points ---------------------------------------------------------------------------------- */

void row_queue_init(struct row_queue *queue, size_t max_bytes, uint64_t max_age_ns)
{
    *queue = (struct row_queue){.max_bytes = max_bytes, .max_age_ns = max_age_ns};
}

void row_queue_free(struct row_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++)
        free(queue->rows[i]);
    free(queue->rows);
    *queue = (struct row_queue){0};
}

static size_t row_bytes(const struct point_row *row)
{
    return sizeof *row + row->word_count * sizeof *row->words + row->series_count;
}

static void rows_drop_oldest(struct row_queue *queue, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        queue->bytes -= row_bytes(queue->rows[i]);
        free(queue->rows[i]);
    }
    queue->count -= count;
    memmove(queue->rows, queue->rows + count, queue->count * sizeof(struct point_row *));
}

void row_queue_push(struct row_queue *queue, struct point_row *row)
{
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
    queue->bytes += row_bytes(row);
    size_t old = 0, bytes = queue->bytes;
    while (old + 1 < queue->count &&
           (bytes > queue->max_bytes ||
            row->time_unix_ns - queue->rows[old]->time_unix_ns > queue->max_age_ns))
        bytes -= row_bytes(queue->rows[old++]);
    rows_drop_oldest(queue, old);
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

size_t row_queue_collect(const struct row_queue *queue, uint64_t since_unix_ns,
                         const struct point_row **out, size_t max)
{
    size_t from = 0;
    while (from < queue->count && queue->rows[from]->time_unix_ns < since_unix_ns)
        from++;
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
