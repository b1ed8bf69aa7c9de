/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_encode OPERATION [DOCUMENTS]: one round of what a tick does with points and records, from
 * the snapshot or the records as they were drained to the document's bytes; prints ns an item.
 * bench_encode --document metrics|spans|logs prints such a document.
 *
 *   metrics_1000   1,000 points with 3 attributes each, 20 a metric; of it
 *   rows_1000      the row of points
 *   spans          1,000 finished spans with 6 attributes, records of 250 bytes
 *   logs           1,000 log lines of 150 bytes with a severity, records of 256 bytes
 *   X_reference    the same document as a tree of messages, written after their descriptors
 *   memcpy_X       the limit: the document's bytes copied, in pieces of one item
 */
#include "bench.h"

#include "json.h"
#include "model.h"
#include "render.h"

#include "shmlayout/layout.h"
#include "shmlayout/validate.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ITEMS = 1000,
    POINTS_PER_METRIC = 20,
    POINT_ATTRIBUTES = 3,
    RECORD_WORDS_MAX = 64,
    TEXT_BYTES = 48,
    DOCUMENT_BYTES_MAX = 16 << 20,
};

#define SECOND  UINT64_C(1000000000)
#define STARTED (UINT64_C(1753000000) * SECOND)

static void require(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "bench_encode: %s\n", what);
        exit(1);
    }
}

/* ---- what is encoded ------------------------------------------------------------------------- */

static const struct identity identity = {.uuid = "0123456789abcdef0123456789abcdef",
                                         .pid = 4711,
                                         .created_unix_ns = STARTED,
                                         .service_name = "shipper",
                                         .service_version = "1.2.3"};
static const struct resource_view resource = {.identity = &identity, .start_unix_ns = STARTED};

static struct arena *arena;
static struct buffer out;

static struct snapshot snapshot;
static struct metrics_part metrics;
static struct series_table *table;
static struct point_row *rows[1];
static struct spans_part spans;
static struct logs_part logs;

/* Numbers that repeat in every run, of all lengths. */
static uint64_t draw(uint64_t bound)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % bound;
}

/* The row of one tick, in place of that of the tick before. */
static bool make_row(void)
{
    const struct process_figures process = {0};
    struct point_row *previous = rows[0];
    rows[0] = series_table_row(table, &identity, &snapshot, &process, previous);
    free(previous);
    return rows[0] != NULL;
}

static void make_points(void)
{
    static struct instrument instruments[ITEMS];
    static struct attribute attributes[ITEMS][POINT_ATTRIBUTES];
    static char names[ITEMS / POINTS_PER_METRIC][TEXT_BYTES], texts[ITEMS][2][TEXT_BYTES];
    static uint64_t values[ITEMS];
    static uint8_t absent[ITEMS];
    for (size_t i = 0; i < ITEMS; i++) {
        const size_t metric = i / POINTS_PER_METRIC;
        (void)snprintf(names[metric], TEXT_BYTES, "shipper.output.bytes_%zu", metric);
        (void)snprintf(texts[i][0], TEXT_BYTES, "pipeline-%zu", i % 7);
        (void)snprintf(texts[i][1], TEXT_BYTES, "/var/log/app-%zu.log", i);
        attributes[i][0] =
            (struct attribute){.key = "pipeline", .type = ATTRIBUTE_STRING, .string = texts[i][0]};
        attributes[i][1] =
            (struct attribute){.key = "file", .type = ATTRIBUTE_STRING, .string = texts[i][1]};
        attributes[i][2] = (struct attribute){
            .key = "worker", .type = ATTRIBUTE_INT, .integer = (int64_t)(i % 16)};
        values[i] = draw(UINT64_C(1) << 4 * draw(8));
        instruments[i] = (struct instrument){
            .kind = INSTRUMENT_COUNTER,
            .name = names[metric],
            .unit = "By",
            .description = "Bytes delivered",
            .attributes = attributes[i],
            .attribute_count = POINT_ATTRIBUTES,
            .value_index = i,
            .value_count = 1,
        };
    }
    /* Closed: the only points are those of the instruments. */
    snapshot = (struct snapshot){.time_unix_ns = STARTED + 3600 * SECOND + 123456789,
                                 .state = STATE_CLOSED,
                                 .instruments = instruments,
                                 .instrument_count = ITEMS,
                                 .values = values,
                                 .values_absent = absent};
    table = series_table_new("shipper");
    require(table != NULL && make_row() && rows[0]->series_count == ITEMS, "no row");
    metrics = (struct metrics_part){.resource = resource,
                                    .table = table,
                                    .rows = (const struct point_row *const *)rows,
                                    .row_count = 1};
}

/* Puts bytes at word `at`, padded with zeros to whole words; returns the word behind them. */
static size_t put_words(uint64_t *words, size_t at, const void *bytes, size_t count)
{
    memcpy(words + at, bytes, count);
    return at + fws_words_of(count);
}

static size_t put_attribute(uint64_t *words, size_t at, const char *key, unsigned type,
                            const void *value, size_t bytes)
{
    words[at] = FWS_ATTR_HEAD(type, strlen(key), bytes);
    return put_words(words, put_words(words, at + 1, key, strlen(key)), value, bytes);
}

static size_t put_text_attribute(uint64_t *words, size_t at, const char *key, const char *text)
{
    return put_attribute(words, at, key, FWS_ATTR_STRING, text, strlen(text));
}

static size_t put_int_attribute(uint64_t *words, size_t at, const char *key, uint64_t number)
{
    return put_attribute(words, at, key, FWS_ATTR_INT, &number, sizeof number);
}

static struct record record_of(enum record_kind kind, const uint64_t *words, size_t count, size_t i)
{
    require(count <= RECORD_WORDS_MAX, "a record is too long");
    return (struct record){.kind = kind,
                           .time_unix_ns = STARTED + 7 * SECOND + i * 1234567,
                           .words = words,
                           .word_count = count};
}

static size_t put_span(uint64_t *words, size_t i)
{
    static const char name[] = "flush_batch";
    char file[TEXT_BYTES];
    for (size_t word = FWS_S_TRACE_ID; word <= FWS_S_PARENT_ID; word++) {
        words[word] = draw(UINT64_MAX) << 32 | draw(UINT64_MAX) | 1;
    }
    words[FWS_S_META] = FWS_SPAN_META(3, 0, strlen(name), 0, 6, 0);
    words[FWS_S_START_UNIX_NS] = STARTED + 7 * SECOND + i * 1234567;
    words[FWS_S_END_UNIX_NS] = words[FWS_S_START_UNIX_NS] + draw(100000000);
    const size_t first = put_words(words, FWS_S_WORDS, name, strlen(name));
    (void)snprintf(file, sizeof file, "/var/log/app-%zu.log", i);
    size_t at = put_text_attribute(words, first, "pipeline", "pipeline-1");
    at = put_text_attribute(words, at, "file", file);
    at = put_text_attribute(words, at, "output", "elasticsearch");
    at = put_int_attribute(words, at, "worker", i % 16);
    at = put_int_attribute(words, at, "rows", draw(1000));
    at = put_int_attribute(words, at, "bytes", draw(1000000));
    words[FWS_S_ATTR_WORDS] = at - first;
    return at;
}

static void make_spans(void)
{
    static uint64_t words[ITEMS][RECORD_WORDS_MAX];
    static struct record records[ITEMS];
    for (size_t i = 0; i < ITEMS; i++) {
        records[i] = record_of(RECORD_SPAN, words[i], put_span(words[i], i), i);
    }
    spans = (struct spans_part){.resource = resource, .finished = records, .finished_count = ITEMS};
}

static size_t put_log(uint64_t *words, size_t i)
{
    static const char severity[] = "INFO";
    char body[256];
    const int length = snprintf(
        body, sizeof body,
        "output elasticsearch: batch %zu of pipeline-1 delivered to node-%zu.example.org:9200 in "
        "%zu ms, %zu rows, no error, no retry, compression gzip, next offset %016zu",
        i, i % 5, i % 90, i % 1000, i * 4096);
    require(length >= 150, "a line is too short");
    words[FWS_L_META] = FWS_LOG_META(9, strlen(severity), 0, 0);
    words[FWS_L_BODY_BYTES] = words[FWS_L_ORIGINAL_BYTES] = 150;
    words[FWS_L_TIME_UNIX_NS] = STARTED + 7 * SECOND + i * 1234567 - 4321;
    return put_words(words, put_words(words, FWS_L_WORDS, severity, strlen(severity)), body, 150);
}

static void make_logs(void)
{
    static uint64_t words[ITEMS][RECORD_WORDS_MAX];
    static struct record records[ITEMS];
    for (size_t i = 0; i < ITEMS; i++) {
        records[i] = record_of(RECORD_LOG, words[i], put_log(words[i], i), i);
    }
    logs = (struct logs_part){.resource = resource, .records = records, .record_count = ITEMS};
}

/* ---- operations ------------------------------------------------------------------------------ */

static bool encode_tree(const void *tree)
{
    return tree != NULL && json_encode_message(&out, tree);
}

static bool metrics_rendered(void)
{
    bool full;
    return make_row() && render_metrics(arena, &out, &metrics, 1, &full);
}

static bool spans_rendered(void)
{
    bool full;
    return render_spans(arena, &out, &spans, 1, &full);
}

static bool logs_rendered(void)
{
    bool full;
    return render_logs(arena, &out, &logs, 1, &full);
}

static bool metrics_reference(void)
{
    bool full;
    if (!make_row()) {
        return false;
    }
    return encode_tree(model_metrics(arena, &metrics, 1, &full));
}

static bool spans_reference(void)
{
    bool full;
    return encode_tree(model_spans(arena, &spans, 1, &full));
}

static bool logs_reference(void)
{
    bool full;
    return encode_tree(model_logs(arena, &logs, 1, &full));
}

static const struct operation {
    const char *name;
    void (*make)(void);
    bool (*document)(void); /* one document into `out` */
    bool copied;            /* measures the copying of its bytes instead */
} operations[] = {
    {"rows_1000", make_points, make_row, false},
    {"metrics_1000", make_points, metrics_rendered, false},
    {"spans", make_spans, spans_rendered, false},
    {"logs", make_logs, logs_rendered, false},
    {"metrics_reference", make_points, metrics_reference, false},
    {"spans_reference", make_spans, spans_reference, false},
    {"logs_reference", make_logs, logs_reference, false},
    {"memcpy_metrics", make_points, metrics_reference, true},
    {"memcpy_spans", make_spans, spans_reference, true},
    {"memcpy_logs", make_logs, logs_reference, true},
};

static void encode_once(const struct operation *operation)
{
    arena_reset(arena);
    buffer_reset(&out);
    require(operation->document(), "no document");
    keep(out.data);
}

static void copy_once(char *to)
{
    const size_t piece = out.length / ITEMS;
    for (size_t at = 0; at + piece <= out.length; at += piece) {
        memcpy(to + at, out.data + at, piece);
        keep(to);
    }
}

static double measure(const struct operation *operation, size_t documents)
{
    operation->make();
    encode_once(operation);
    encode_once(operation);
    char *copy = malloc(out.length + 1);
    require(copy != NULL, "no memory");
    memset(copy, 0, out.length);
    const uint64_t begin = now_ns();
    for (size_t i = 0; i < documents; i++) {
        operation->copied ? copy_once(copy) : encode_once(operation);
    }
    const uint64_t end = now_ns();
    free(copy);
    return (double)(end - begin) / (double)documents / ITEMS;
}

static const struct operation *operation_find(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(name, operations[i].name) == 0) {
            return &operations[i];
        }
    }
    return NULL;
}

static void print_list(void)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        (void)puts(operations[i].name);
    }
}

static void print_document(const char *signal)
{
    const char *name = strcmp(signal, "metrics") == 0 ? "metrics_1000" : signal;
    const struct operation *operation = operation_find(name);
    require(operation != NULL && !operation->copied, "no such document");
    operation->make();
    encode_once(operation);
    require(fwrite(out.data, 1, out.length, stdout) == out.length, "cannot write");
}

int main(int argc, char **argv)
{
    require(argc >= 2, "usage: bench_encode OPERATION [DOCUMENTS] | --list | --document SIGNAL");
    arena = arena_new((size_t)64 << 20);
    buffer_init(&out, DOCUMENT_BYTES_MAX);
    require(arena != NULL, "no memory");
    if (strcmp(argv[1], "--list") == 0) {
        print_list();
    } else if (strcmp(argv[1], "--document") == 0 && argc > 2) {
        print_document(argv[2]);
    } else {
        const struct operation *operation = operation_find(argv[1]);
        const size_t documents = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
        require(operation != NULL && documents > 0, "no such operation, or no documents");
        (void)printf("%.3f\n", measure(operation, documents));
    }
    return 0;
}
