/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes documents of the model as JSON, one a line, for model_oracle.py to judge: two ticks of
 * everything that a forwarder may say, the bad and the extreme included.
 */
#include "json.h"
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STARTED      UINT64_C(1700000000000000000)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A record's only word is the address of what it stands for. */
bool record_decode_span(struct arena *arena, const struct record *record, struct span *out)
{
    (void)arena;
    *out = *(const struct span *)(uintptr_t)record->words[0];
    return true;
}

bool record_decode_log(struct arena *arena, const struct record *record, struct log_record *out)
{
    (void)arena;
    *out = *(const struct log_record *)(uintptr_t)record->words[0];
    return true;
}

static void require(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "model_documents: %s\n", what);
        exit(1);
    }
}

static void print_document(const ProtobufCMessage *message)
{
    struct buffer out;
    buffer_init(&out, (size_t)16 << 20);
    require(message != NULL, "no document");
    require(json_encode_message(&out, message), "a document cannot be encoded");
    require(fwrite(out.data, 1, out.length, stdout) == out.length, "cannot write");
    require(putchar('\n') == '\n', "cannot write");
    buffer_free(&out);
}

static uint64_t bits(double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static const struct attribute attributes[] = {
    {.key = "text",
     .type = ATTRIBUTE_STRING,
     .string = "a\x01\"\\\x7f \xEF\xBF\xBD \xF0\x9F\x98\x80"},
    {.key = "empty", .type = ATTRIBUTE_STRING, .string = ""},
    {.key = "least", .type = ATTRIBUTE_INT, .integer = INT64_MIN},
    {.key = "zero", .type = ATTRIBUTE_INT, .integer = 0},
    {.key = "no", .type = ATTRIBUTE_BOOL, .boolean = false},
    {.key = "yes", .type = ATTRIBUTE_BOOL, .boolean = true},
    {.key = "tiny", .type = ATTRIBUTE_DOUBLE, .real = 5e-324},
    {.key = "nan", .type = ATTRIBUTE_DOUBLE, .real = (double)NAN},
    {.key = "infinite", .type = ATTRIBUTE_DOUBLE, .real = -(double)INFINITY},
    {.key = "yes", .type = ATTRIBUTE_INT, .integer = 1},
    {.key = "", .type = ATTRIBUTE_INT, .integer = 1},
};

static const struct identity identity = {.uuid = "0123456789abcdef0123456789abcdef",
                                         .pid = 4711,
                                         .created_unix_ns = STARTED,
                                         .service_name = "shipper \"quoted\"",
                                         .service_version = "1.2.3"};
static const struct resource_view resource = {.identity = &identity,
                                              .published = attributes,
                                              .published_count = COUNT(attributes),
                                              .start_unix_ns = STARTED};

static void print_metrics(struct arena *arena)
{
    static const double bounds[] = {-1.5, 0, 1e300};
    static const struct component components[] = {
        {.kind = COMPONENT_INPUT, .name = "in\n", .type = "file", .counts = {7, UINT64_MAX}},
        {.kind = COMPONENT_OUTPUT,
         .name = "out",
         .type = "tcp",
         .counts = {5, 6, 7},
         .has_queue = true,
         .queue_depth = UINT64_MAX},
    };
    const struct pipeline pipelines[] = {
        {.name = "p", .batches = {1, 2, 3}, .components = components, .component_count = 2},
        {.name = "", .absent = 1u << BATCH_ROWS, .batches_stale = true},
    };
    const struct instrument instruments[] = {
        {.kind = INSTRUMENT_COUNTER,
         .name = "counter",
         .unit = "{line}",
         .description = "d",
         .attributes = attributes,
         .attribute_count = COUNT(attributes),
         .value_index = 0},
        {.kind = INSTRUMENT_UPDOWN,
         .name = "updown",
         .unit = "",
         .description = "",
         .value_index = 1},
        {.kind = INSTRUMENT_GAUGE,
         .name = "gauge",
         .unit = "1",
         .description = "",
         .is_double = true,
         .value_index = 2},
        {.kind = INSTRUMENT_GAUGE,
         .name = "nan",
         .unit = "1",
         .description = "",
         .is_double = true,
         .value_index = 3},
        {.kind = INSTRUMENT_HISTOGRAM,
         .name = "histogram",
         .unit = "s",
         .description = "",
         .bounds = bounds,
         .bound_count = COUNT(bounds),
         .value_index = 4,
         .value_count = 5},
        {.kind = INSTRUMENT_HISTOGRAM,
         .name = "unbounded",
         .unit = "s",
         .description = "",
         .value_index = 9,
         .value_count = 2},
    };
    uint64_t values[11] = {UINT64_MAX,
                           (uint64_t)INT64_MIN,
                           bits(-0.0),
                           bits((double)NAN),
                           bits((double)NAN),
                           1,
                           0,
                           3,
                           4,
                           bits(2),
                           0};
    uint8_t absent[COUNT(instruments)] = {0};
    struct snapshot snapshot = {.time_unix_ns = STARTED + 2000000000,
                                .lock = LOCK_HELD,
                                .instruments = instruments,
                                .instrument_count = COUNT(instruments),
                                .values = values,
                                .values_absent = absent,
                                .pipelines = pipelines,
                                .pipeline_count = COUNT(pipelines)};
    const struct process_figures process = {true, 1, 2, 3};
    const struct self_figures self = {.ticks = 1, .process = process};
    struct series_table *table = series_table_new("fw\x02"), *self_table = series_table_new_self();
    require(table != NULL && self_table != NULL, "no memory");
    struct point_row *rows[2], *self_row;
    rows[0] = series_table_row(table, &identity, &snapshot, &process, NULL);
    absent[2] = 1; /* a gauge that ended */
    snapshot.time_unix_ns += 2000000000;
    rows[1] = series_table_row(table, &identity, &snapshot, &process, rows[0]);
    self_row = series_table_self_row(self_table, &self, snapshot.time_unix_ns);
    require(rows[0] != NULL && rows[1] != NULL && self_row != NULL, "no memory");
    const struct metrics_part parts[] = {
        {resource, table, (const struct point_row *const *)rows, 2},
        {(struct resource_view){.start_unix_ns = STARTED}, self_table,
         (const struct point_row *const *)&self_row, 1},
    };
    bool full;
    print_document(&model_metrics(arena, parts, COUNT(parts), &full)->base);
    free(self_row);
    free(rows[1]);
    free(rows[0]);
    series_table_free(&self_table);
    series_table_free(&table);
}

static void print_spans(struct arena *arena)
{
    struct span span = {.trace_id = {1, 0, 0xFF},
                        .span_id = {2},
                        .parent_id = {3},
                        .kind = 3,
                        .status = 2,
                        .name = "output",
                        .message = "refused\x03",
                        .start_unix_ns = STARTED,
                        .end_unix_ns = UINT64_MAX,
                        .attributes = attributes,
                        .attribute_count = COUNT(attributes),
                        .attributes_dropped = 7,
                        .stage = "scan",
                        .stage_start_unix_ns = STARTED + 1,
                        .output_start_unix_ns = UINT64_MAX};
    struct span root = span;
    memset(root.parent_id, 0, sizeof root.parent_id);
    root.span_id[0] = 3;
    root.status = 0;
    root.name = "";
    const uint64_t word = (uint64_t)(uintptr_t)&span;
    const struct record record = {.kind = RECORD_SPAN, .words = &word, .word_count = 1};
    const struct spans_part part = {resource, &record, 1, &root, 1, STARTED - 1};
    bool full;
    print_document(&model_spans(arena, &part, 1, &full)->base);
}

static void print_logs(struct arena *arena)
{
    const struct log_record log = {.time_unix_ns = STARTED,
                                   .observed_unix_ns = STARTED + 1,
                                   .severity = 17,
                                   .severity_text = "error",
                                   .body = "\x01\x1f\"\\/\x7f\xC2\x80 \xE2\x80\xA8",
                                   .original_bytes = 65536,
                                   .cut = true,
                                   .trace_id = {9},
                                   .span_id = {8},
                                   .attributes = attributes,
                                   .attribute_count = COUNT(attributes)};
    const struct log_record bare = {.severity_text = "", .body = ""};
    const uint64_t words[] = {(uint64_t)(uintptr_t)&log, (uint64_t)(uintptr_t)&bare};
    const struct record records[] = {{RECORD_LOG, 0, &words[0], 1}, {RECORD_LOG, 0, &words[1], 1}};
    const struct logs_part part = {resource, records, COUNT(records), 1, 2, UINT64_MAX, STARTED};
    bool full;
    print_document(&model_logs(arena, &part, 1, &full)->base);
}

int main(void)
{
    struct arena *arena = arena_new((size_t)16 << 20);
    require(arena != NULL, "no memory");
    print_metrics(arena);
    print_spans(arena);
    print_logs(arena);
    arena_free(&arena);
    return 0;
}
