/* SPDX-License-Identifier: Apache-2.0 */
/* From what is remembered to finished messages. */
#include "documents.h"

#include "log.h"
#include "process.h"
#include "render.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ARENA_BYTES_MAX = 256 << 20, /* one document's tree */
    JSON_BYTES_MAX = 64 << 20,   /* one document */
    KEPT_BYTES_MAX = 32 << 20,   /* of either, from one document to the next */
    BACKLOG_BYTES_MAX = 2 << 20, /* all three together */
    BACKLOG_RECORDS_MAX = 16384,
    BACKLOG_ROWS_MAX = 150,
    DUMP_RECORDS_MAX = 1 << 18, /* a kind: more than one reading of a region remembers */
};

bool documents_init(struct documents *documents)
{
    documents->arena = arena_new(ARENA_BYTES_MAX);
    buffer_init(&documents->json, JSON_BYTES_MAX);
    return documents->arena != NULL;
}

void documents_free(struct documents *documents)
{
    arena_free(&documents->arena);
    buffer_free(&documents->json);
}

/* ---- what goes into a document --------------------------------------------------------------- */

/* Which part of history a document covers. */
struct scope {
    bool backlog;     /* published records and many rows; else unpublished ones, one row */
    uint64_t seconds; /* backlog: how far back */
    uint64_t unix_ns; /* now */
    size_t max;       /* records or rows a life; of a backlog active spans too */
    bool everything;  /* dump: all records and rows, whenever they were */
    size_t first;     /* dump: leaves out so many records of each life, the oldest */
};

static struct resource_view life_resource(const struct life *life)
{
    struct resource_view view = {.identity = life->identity,
                                 .start_unix_ns = life->identity->created_unix_ns};
    view.published = region_resource(life->region, &view.published_count);
    if (process_same_boot(life->identity)) /* a copied region was written on another host */
        view.extra = process_host_attributes(&view.extra_count);
    return view;
}

static struct resource_view self_resource(const struct self_series *self)
{
    struct resource_view view = {.start_unix_ns = self->start_unix_ns};
    view.extra = process_host_attributes(&view.extra_count);
    return view;
}

/* From when on records and rows of a life belong to the backlog. A current life that is dead is
 * shown with its last moments, however long ago they were: up to its last record, because it may
 * have been dead for hours when this sidecar came. */
static uint64_t backlog_since(const struct life *life, const struct scope *scope, bool current)
{
    uint64_t end = scope->unix_ns;
    if (current && life->dead_unix_ns != 0)
        end = life->last_record_unix_ns != 0 && life->last_record_unix_ns < life->dead_unix_ns
                  ? life->last_record_unix_ns
                  : life->dead_unix_ns;
    uint64_t span = scope->seconds < UINT64_MAX / UINT64_C(1000000000)
                        ? scope->seconds * UINT64_C(1000000000)
                        : UINT64_MAX;
    return scope->everything || span > end ? 0 : end - span;
}

struct timed {
    struct record record;
    size_t index;
};

static int timed_compare(const void *a, const void *b)
{
    const struct timed *x = a, *y = b;
    if (x->record.time_unix_ns != y->record.time_unix_ns)
        return x->record.time_unix_ns < y->record.time_unix_ns ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* The records of a queue that the scope covers, ordered by time; lanes were drained one by one. */
static const struct record *records_collect(struct arena *arena, const struct record_queue *queue,
                                            const struct scope *scope, uint64_t since,
                                            size_t *count)
{
    uint64_t from = scope->backlog ? queue->first : queue->published;
    uint64_t to = scope->backlog && !scope->everything ? queue->published : queue->next;
    size_t max =
        scope->everything || (size_t)(to - from) < scope->max ? (size_t)(to - from) : scope->max;
    struct record *records = arena_array(arena, max, sizeof *records);
    struct timed *timed = arena_array(arena, max, sizeof *timed);
    *count = 0;
    if (records == NULL || timed == NULL)
        return NULL;
    *count = record_queue_collect(queue, from, to, scope->backlog ? since : 0, records, max);
    for (size_t i = 0; i < *count; i++)
        timed[i] = (struct timed){records[i], i};
    qsort(timed, *count, sizeof *timed, timed_compare);
    for (size_t i = 0; i < *count; i++)
        records[i] = timed[i].record;
    if (scope->everything) { /* of all of them, a part */
        const size_t first = scope->first < *count ? scope->first : *count;
        *count = *count - first < scope->max ? *count - first : scope->max;
        return records + first;
    }
    return records;
}

/*
 * How many active spans of a life a document tells of: a tick of all, while the life is read. A
 * backlog tells of what the ticks that it stands for told last: of a current life what is under way
 * or was when it ended, and of the life before, if it ended within that time, what was in flight
 * then. Of each life at most so many as of records, or many lives would leave no room for those.
 */
static size_t active_count(const struct life *life, const struct scope *scope, bool current)
{
    const size_t all = life->snapshot->active_span_count;
    if (scope->everything)
        return scope->first == 0 ? all : 0;
    if (!scope->backlog)
        return life->fresh ? all : 0;
    if (!current && life->snapshot->time_unix_ns < backlog_since(life, scope, current))
        return 0;
    return all < scope->max ? all : scope->max;
}

/* ---- one document ---------------------------------------------------------------------------- */

static bool rows_take(struct arena *arena, const struct row_queue *queue, const struct scope *scope,
                      uint64_t since, bool fresh, struct metrics_part *part)
{
    size_t max = scope->backlog ? scope->max : 1;
    const struct point_row **rows = arena_array(arena, max, sizeof *rows);
    if (rows == NULL)
        return false;
    if (scope->backlog) {
        part->row_count = row_queue_collect(queue, since, rows, max);
    } else if (fresh && row_queue_newest(queue) != NULL) {
        rows[0] = row_queue_newest(queue);
        part->row_count = 1;
    }
    part->rows = rows;
    return true;
}

static bool metrics_build(struct documents *documents, const struct fleet *fleet,
                          const struct self_series *self, const struct scope *scope, bool *full)
{
    struct arena *arena = documents->arena;
    struct metrics_part *parts = arena_array(arena, fleet->count + 1, sizeof *parts);
    size_t count = 0;
    *full = parts == NULL;
    for (size_t i = 0; i < fleet->count && !*full; i++) {
        const struct life *life = fleet->lives[i];
        parts[count] = (struct metrics_part){.resource = life_resource(life), .table = life->table};
        *full =
            !rows_take(arena, &life->history.rows, scope, backlog_since(life, scope, life->current),
                       life->measured, &parts[count++]);
    }
    if (self != NULL && !*full) {
        uint64_t span = scope->seconds * UINT64_C(1000000000);
        parts[count] = (struct metrics_part){.resource = self_resource(self), .table = self->table};
        *full =
            !rows_take(arena, &self->rows, scope, span < scope->unix_ns ? scope->unix_ns - span : 0,
                       true, &parts[count++]);
    }
    return !*full && render_metrics(arena, &documents->json, parts, count, full);
}

static bool spans_build(struct documents *documents, const struct fleet *fleet,
                        const struct scope *scope, uint64_t *sent, bool *full)
{
    struct arena *arena = documents->arena;
    struct spans_part *parts = arena_array(arena, fleet->count, sizeof *parts);
    *full = parts == NULL;
    *sent = 0;
    for (size_t i = 0; i < fleet->count && !*full; i++) {
        const struct life *life = fleet->lives[i];
        bool current = life->current;
        struct spans_part *part = &parts[i];
        *part = (struct spans_part){.resource = life_resource(life),
                                    .active_unix_ns = life->snapshot->time_unix_ns};
        part->finished =
            records_collect(arena, &life->history.spans, scope, backlog_since(life, scope, current),
                            &part->finished_count);
        *full = part->finished == NULL;
        *sent += part->finished_count;
        const size_t wanted = active_count(life, scope, current);
        if (wanted > 0)
            part->active = region_active_spans(life->region, &part->active_count);
        if (part->active_count > wanted)
            part->active_count = wanted;
    }
    return !*full && render_spans(arena, &documents->json, parts, fleet->count, full);
}

static bool logs_build(struct documents *documents, const struct fleet *fleet,
                       const struct scope *scope, uint64_t *sent, bool *full)
{
    struct arena *arena = documents->arena;
    struct logs_part *parts = arena_array(arena, fleet->count, sizeof *parts);
    *full = parts == NULL;
    *sent = 0;
    for (size_t i = 0; i < fleet->count && !*full; i++) {
        const struct life *life = fleet->lives[i];
        struct logs_part *part = &parts[i];
        *part =
            (struct logs_part){.resource = life_resource(life), .notice_unix_ns = scope->unix_ns};
        part->records =
            records_collect(arena, &life->history.logs, scope,
                            backlog_since(life, scope, life->current), &part->record_count);
        *full = part->records == NULL;
        *sent += part->record_count;
        if (scope->everything ? scope->first == 0 : !scope->backlog) {
            struct losses now = life_losses(life);
            part->lost_spans = now.spans - life->told.spans;
            part->lost_logs = now.logs - life->told.logs;
        }
    }
    return !*full && render_logs(arena, &documents->json, parts, fleet->count, full);
}

/* Builds one document into documents->json, as a message begun; *sent counts its records. */
static bool signal_build(struct documents *documents, const struct fleet *fleet,
                         const struct self_series *self, enum signal signal,
                         const struct scope *scope, uint64_t *sent, bool *full)
{
    arena_reset(documents->arena);
    message_begin(&documents->json, scope->backlog ? 0 : documents->expected[signal]);
    *full = false;
    *sent = 0;
    switch (signal) {
    case SIGNAL_METRICS:
        return metrics_build(documents, fleet, self, scope, full);
    case SIGNAL_SPANS:
        return spans_build(documents, fleet, scope, sent, full);
    case SIGNAL_LOGS:
        break;
    }
    return logs_build(documents, fleet, scope, sent, full);
}

/* What an unusually large document took is given back. */
static void documents_give_back(struct documents *documents)
{
    struct arena *fresh =
        arena_bytes(documents->arena) > KEPT_BYTES_MAX ? arena_new(ARENA_BYTES_MAX) : NULL;
    if (fresh != NULL) {
        arena_free(&documents->arena);
        documents->arena = fresh;
    }
    if (documents->json.capacity > KEPT_BYTES_MAX)
        buffer_free(&documents->json);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* What the next document of a signal tells of: the records that are waiting to be published, and
 * with the log lines what was lost since the last. */
static struct records signal_records(const struct fleet *fleet, enum signal signal)
{
    struct records records = {0};
    for (size_t i = 0; i < fleet->count; i++) {
        const struct life *life = fleet->lives[i];
        const struct record_queue *spans = &life->history.spans, *logs = &life->history.logs;
        if (signal == SIGNAL_SPANS)
            records.spans += spans->next - spans->published;
        if (signal == SIGNAL_LOGS) {
            const struct losses now = life_losses(life);
            records.spans += now.spans - life->told.spans;
            records.log_records += now.logs - life->told.logs + logs->next - logs->published;
        }
    }
    return records;
}

/* Everything of a signal that was drained is published, and every loss up to now is told with the
 * log lines. */
static void signal_advance(struct fleet *fleet, enum signal signal)
{
    for (size_t i = 0; i < fleet->count; i++) {
        struct life *life = fleet->lives[i];
        if (signal == SIGNAL_SPANS)
            record_queue_publish(&life->history.spans);
        if (signal == SIGNAL_LOGS) {
            record_queue_publish(&life->history.logs);
            life->told = life_losses(life);
        }
    }
}

void documents_tick(struct documents *documents, struct fleet *fleet,
                    const struct self_series *self, uint64_t unix_ns, enum signal signal,
                    struct tick_messages *out)
{
    const struct scope scope = {.unix_ns = unix_ns, .max = SIZE_MAX};
    const struct records records = signal_records(fleet, signal);
    uint64_t sent;
    bool full;
    bool built = signal_build(documents, fleet, self, signal, &scope, &sent, &full);
    documents->expected[signal] = documents->json.length + documents->json.length / 16;
    out->records[signal] = records;
    out->messages[signal] = built ? message_end(&documents->json) : NULL;
    if (out->messages[signal] == NULL && (full || built || documents->json.failed)) {
        /* Too large or no memory: nobody gets it, and everybody is told how much it was. */
        log_line(LOG_LEVEL_ERROR, "a tick's document did not fit: %llu records are lost",
                 (unsigned long long)(records.spans + records.log_records));
        out->messages[signal] = documents_loss_notice(NULL, 1, records.spans, records.log_records);
    }
    documents_give_back(documents);
    signal_advance(fleet, signal);
}

/* What one part may add to a backlog: so many records or rows, each of about so many bytes. */
struct share {
    size_t count, item_bytes;
};

/* Guessed rather low, so that seldom less is sent than would fit. */
enum { POINT_JSON_BYTES = 110, LOG_JSON_BYTES = 60, SPAN_JSON_BYTES = 200 };

static struct share records_share(const struct record_queue *queue, uint64_t since,
                                  size_t json_bytes)
{
    const size_t held = (size_t)(queue->next - queue->first);
    return (struct share){
        .count = record_queue_count(queue, queue->first, queue->published, since),
        .item_bytes = json_bytes + (held > 0 ? queue->bytes / held : 0),
    };
}

static struct share life_share(const struct life *life, enum signal signal,
                               const struct scope *scope, bool current)
{
    const struct history *history = &life->history;
    const uint64_t since = backlog_since(life, scope, current);
    struct share share;
    switch (signal) {
    case SIGNAL_SPANS:
        share = records_share(&history->spans, since, SPAN_JSON_BYTES);
        share.count += active_count(life, scope, current);
        return share;
    case SIGNAL_LOGS:
        return records_share(&history->logs, since, LOG_JSON_BYTES);
    case SIGNAL_METRICS:
        break;
    }
    return (struct share){.count = row_queue_count(&history->rows, since),
                          .item_bytes = series_table_count(life->table) * POINT_JSON_BYTES};
}

/* The most records or rows of each life, up to `max`, that are likely to fit; 1 at least. */
static size_t shares_fit(const struct share *shares, size_t count, size_t max, size_t budget)
{
    size_t least = 1;
    while (least < max) {
        const size_t middle = max - (max - least) / 2;
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++)
            bytes += (shares[i].count < middle ? shares[i].count : middle) * shares[i].item_bytes;
        if (bytes <= budget)
            least = middle;
        else
            max = middle - 1;
    }
    return least;
}

/* With how many records or rows of each life to begin, so that no more is made than is sent. */
static size_t backlog_begin(const struct fleet *fleet, enum signal signal,
                            const struct scope *scope, size_t budget)
{
    struct share shares[FLEET_REGIONS_MAX];
    for (size_t i = 0; i < fleet->count; i++) {
        const struct life *life = fleet->lives[i];
        shares[i] = life_share(life, signal, scope, life->current);
    }
    return shares_fit(shares, fleet->count, scope->max, budget);
}

/* How many records or rows to try after `max` of them made `length` bytes: at most a share that
 * would fit, so that even a long history takes few rounds, and one before none. */
static size_t backlog_shrink(size_t max, size_t length, size_t budget)
{
    size_t most = max - max / 8 - 1;
    if (length <= budget) /* too large to be written at all */
        return max / 2;
    size_t fitting = (size_t)((double)max * (double)budget / (double)length);
    fitting = fitting > 0 ? fitting : 1;
    return fitting < most ? fitting : most;
}

void documents_backlog(struct documents *documents, const struct fleet *fleet,
                       const struct self_series *self, uint64_t unix_ns, uint64_t seconds,
                       struct message *out[TICK_MESSAGES])
{
    size_t left = BACKLOG_BYTES_MAX;
    for (int signal = SIGNAL_METRICS; signal <= SIGNAL_LOGS; signal++) {
        size_t budget = left / (size_t)(TICK_MESSAGES - signal); /* what one leaves, others use */
        out[signal] = NULL;
        if (seconds == 0)
            continue;
        struct scope scope = {
            .backlog = true,
            .unix_ns = unix_ns,
            .seconds = seconds,
            .max = signal == SIGNAL_METRICS ? BACKLOG_ROWS_MAX : BACKLOG_RECORDS_MAX,
        };
        scope.max = backlog_begin(fleet, (enum signal)signal, &scope, budget);
        while (scope.max > 0) {
            uint64_t sent;
            bool full;
            bool built =
                signal_build(documents, fleet, self, (enum signal)signal, &scope, &sent, &full);
            if (scope.max == 1) /* the last try may take what the others leave */
                budget = left;
            if (built && documents->json.length <= budget) {
                left -= documents->json.length;
                out[signal] = message_end(&documents->json);
                break;
            }
            if (!built && !full && !documents->json.failed)
                break; /* nothing to say */
            scope.max = backlog_shrink(scope.max, built ? documents->json.length : 0, budget);
        }
    }
}

void documents_advance(struct fleet *fleet)
{
    signal_advance(fleet, SIGNAL_SPANS);
    signal_advance(fleet, SIGNAL_LOGS);
}

bool documents_dump_part(struct documents *documents, const struct fleet *fleet, enum signal signal,
                         size_t first, size_t max, struct buffer *out, uint64_t *records)
{
    const struct scope scope = {.backlog = true, .everything = true, .first = first, .max = max};
    bool full;
    if (!signal_build(documents, fleet, NULL, signal, &scope, records, &full))
        return false;
    buffer_append(out, documents->json.data + MESSAGE_ROOM, documents->json.length - MESSAGE_ROOM);
    return !out->failed;
}

bool documents_dump(struct documents *documents, const struct fleet *fleet, enum signal signal,
                    struct buffer *out)
{
    uint64_t records;
    return documents_dump_part(documents, fleet, signal, 0, DUMP_RECORDS_MAX, out, &records);
}

/* ---- the loss notice of one client ----------------------------------------------------------- */

struct message *documents_loss_notice(void *arg, uint64_t ticks, uint64_t spans,
                                      uint64_t log_records)
{
    (void)arg;
    struct timespec now;
    struct message *message = NULL;
    struct arena *arena = arena_new(1 << 20);
    struct buffer json;
    bool full;
    if (arena == NULL)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    buffer_init(&json, 1 << 20);
    const struct logs_part part = {
        .lost_ticks = ticks,
        .lost_spans = spans,
        .lost_logs = log_records,
        .notice_unix_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec,
    };
    if (render_logs(arena, &json, &part, 1, &full))
        message = message_new(json.data, json.length);
    buffer_free(&json);
    arena_free(&arena);
    return message;
}
