/* SPDX-License-Identifier: Apache-2.0 */
/* Model: series tables that only grow, rows, and the three documents by the rules of OTLP. */
#include "model.h"

#include "hash_index.h"
#include "json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND   UINT64_C(1000000000)
#define STARTED  (UINT64_C(1700000000) * SECOND)
#define TEXT_MAX ((size_t)4 << 20)

/* ---- fakes of the decoders ----------------------------------------------------------------------
 */

/* A decoded record takes room by its words, as a real one does. */
static bool take_room(struct arena *arena, const struct record *record)
{
    return arena_array(arena, record->word_count, 3 * sizeof(uint64_t)) != NULL;
}

/* A record's first word is the address of what it decodes to; 0: it is no such record. */
bool record_decode_span(struct arena *arena, const struct record *record, struct span *out)
{
    const struct span *span = (const struct span *)(uintptr_t)record->words[0];
    if (record->kind != RECORD_SPAN || span == NULL || !take_room(arena, record)) {
        return false;
    }
    *out = *span;
    return true;
}

bool record_decode_log(struct arena *arena, const struct record *record, struct log_record *out)
{
    const struct log_record *log = (const struct log_record *)(uintptr_t)record->words[0];
    if (record->kind != RECORD_LOG || log == NULL || !take_room(arena, record)) {
        return false;
    }
    *out = *log;
    return true;
}

/* ---- fixture ------------------------------------------------------------------------------------
 */

enum { INSTRUMENTS_MAX = 8, VALUES_MAX = 64, COMPONENTS_MAX = 8, ROWS_MAX = 8 };

struct fixture {
    struct arena *arena;
    struct series_table *table;
    struct identity identity;
    struct instrument instruments[INSTRUMENTS_MAX];
    uint64_t values[VALUES_MAX];
    uint8_t absent[INSTRUMENTS_MAX];
    struct component components[COMPONENTS_MAX];
    struct pipeline pipeline;
    struct snapshot snapshot;
    struct process_figures process;
    struct point_row *rows[ROWS_MAX];
    size_t row_count;
    struct resource_view resource;
    struct buffer out;
    char *text;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->arena = arena_new((size_t)16 << 20);
    f->table = series_table_new("fw");
    f->text = malloc(TEXT_MAX);
    assert_non_null(f->arena);
    assert_non_null(f->table);
    assert_non_null(f->text);
    f->identity = (struct identity){.uuid = "0123456789abcdef0123456789abcdef",
                                    .pid = 4711,
                                    .created_unix_ns = STARTED,
                                    .service_name = "shipper",
                                    .service_version = "1.2.3"};
    f->pipeline = (struct pipeline){.name = "p", .components = f->components};
    f->snapshot = (struct snapshot){.time_unix_ns = STARTED + 10 * SECOND,
                                    .lock = LOCK_HELD,
                                    .state = STATE_RUNNING,
                                    .instruments = f->instruments,
                                    .values = f->values,
                                    .values_absent = f->absent,
                                    .pipelines = &f->pipeline};
    f->resource = (struct resource_view){.identity = &f->identity, .start_unix_ns = STARTED};
    buffer_init(&f->out, TEXT_MAX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->row_count; i++) {
        free(f->rows[i]);
    }
    buffer_free(&f->out);
    free(f->text);
    series_table_free(&f->table);
    arena_free(&f->arena);
    free(f);
    return 0;
}

static struct instrument *add_instrument(struct fixture *f, enum instrument_kind kind,
                                         const char *name)
{
    assert_true(f->snapshot.instrument_count < INSTRUMENTS_MAX);
    struct instrument *instrument = &f->instruments[f->snapshot.instrument_count];
    *instrument = (struct instrument){.kind = kind,
                                      .name = name,
                                      .unit = "1",
                                      .description = "d",
                                      .value_index = 8 * f->snapshot.instrument_count,
                                      .value_count = 1};
    f->snapshot.instrument_count++;
    return instrument;
}

static uint64_t *value_of(struct fixture *f, const struct instrument *instrument)
{
    return &f->values[instrument->value_index];
}

static uint8_t *absent_of(struct fixture *f, const struct instrument *instrument)
{
    return &f->absent[instrument - f->instruments];
}

static struct component *add_component(struct fixture *f, enum component_kind kind,
                                       const char *name)
{
    assert_true(f->pipeline.component_count < COMPONENTS_MAX);
    struct component *component = &f->components[f->pipeline.component_count++];
    *component = (struct component){.kind = kind, .name = name, .type = "t"};
    f->snapshot.pipeline_count = 1;
    return component;
}

static uint64_t bits(double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

/* One more reading, two seconds after the last. */
static const struct point_row *tick(struct fixture *f)
{
    assert_true(f->row_count < ROWS_MAX);
    const struct point_row *previous = f->row_count > 0 ? f->rows[f->row_count - 1] : NULL;
    struct point_row *row =
        series_table_row(f->table, &f->identity, &f->snapshot, &f->process, previous);
    assert_non_null(row);
    f->rows[f->row_count++] = row;
    f->snapshot.time_unix_ns += 2 * SECOND;
    return row;
}

static const char *encode(struct fixture *f, const ProtobufCMessage *message)
{
    buffer_reset(&f->out);
    assert_true(json_encode_message(&f->out, message));
    memcpy(f->text, f->out.data, f->out.length);
    f->text[f->out.length] = '\0';
    return f->text;
}

static MetricsRequest *metrics(struct fixture *f)
{
    const struct metrics_part part = {.resource = f->resource,
                                      .table = f->table,
                                      .rows = (const struct point_row *const *)f->rows,
                                      .row_count = f->row_count};
    bool full = true;
    arena_reset(f->arena);
    MetricsRequest *request = model_metrics(f->arena, &part, 1, &full);
    assert_false(full);
    return request;
}

static const char *metrics_text(struct fixture *f)
{
    MetricsRequest *request = metrics(f);
    assert_non_null(request);
    return encode(f, &request->base);
}

/* The JSON of one metric, from its name to the next metric's or the end. */
static const char *metric_text(struct fixture *f, const char *name)
{
    static char found[1 << 16];
    char wanted[300];
    (void)snprintf(wanted, sizeof wanted, "{\"name\":\"%s\"", name);
    const char *begin = strstr(metrics_text(f), wanted);
    if (begin == NULL) {
        return NULL;
    }
    const char *end = strstr(begin + 1, "{\"name\":");
    const size_t length = end != NULL ? (size_t)(end - begin) : strlen(begin);
    assert_true(length < sizeof found);
    memcpy(found, begin, length);
    found[length] = '\0';
    return found;
}

static void assert_shows(const char *text, const char *part)
{
    assert_non_null(text);
    if (strstr(text, part) == NULL) {
        fail_msg("no %s\nin %s", part, text);
    }
}

static void assert_hides(const char *text, const char *part)
{
    assert_non_null(text);
    if (strstr(text, part) != NULL) {
        fail_msg("%s\nin %s", part, text);
    }
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

/* ---- the table ----------------------------------------------------------------------------------
 */

static void series_keep_their_place_as_the_table_grows(void **state)
{
    struct fixture *f = *state;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "a")) = 1;
    const struct point_row *first = tick(f);
    const size_t before = series_table_count(f->table);
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "b")) = 2;
    add_component(f, COMPONENT_INPUT, "in")->counts[COUNT_LINES] = 3;
    const struct point_row *second = tick(f);
    assert_int_equal(first->series_count, before);
    assert_true(second->series_count > before);
    for (size_t i = 0; i < second->series_count; i++) {
        const struct series *series = series_table_at(f->table, i);
        if (strcmp(series->name, "a") == 0) {
            assert_true(i < before);
            assert_int_equal(first->words[series->point_index], 1);
            assert_int_equal(second->words[series->point_index], 1);
        }
        if (strcmp(series->name, "b") == 0) {
            assert_true(i >= before);
            assert_int_equal(second->words[series->point_index], 2);
        }
    }
}

static void a_series_outlives_the_strings_of_its_snapshot(void **state)
{
    struct fixture *f = *state;
    char name[] = "volatile", key[] = "k", value[] = "v";
    const struct attribute attribute = {.key = key, .type = ATTRIBUTE_STRING, .string = value};
    struct instrument *instrument = add_instrument(f, INSTRUMENT_COUNTER, name);
    instrument->attributes = &attribute;
    instrument->attribute_count = 1;
    tick(f);
    memset(name, 'x', sizeof name - 1);
    key[0] = 'x';
    value[0] = 'x';
    assert_shows(metric_text(f, "volatile"),
                 "\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}}]");
}

static void attributes_are_a_set(void **state)
{
    struct fixture *f = *state;
    const struct attribute one = {.key = "a", .type = ATTRIBUTE_INT, .integer = 1};
    const struct attribute two = {.key = "b", .type = ATTRIBUTE_BOOL, .boolean = true};
    const struct attribute order[] = {one, two}, reverse[] = {two, one};
    struct instrument *instrument = add_instrument(f, INSTRUMENT_COUNTER, "c");
    instrument->attributes = order;
    instrument->attribute_count = 2;
    tick(f);
    const size_t count = series_table_count(f->table);
    instrument->attributes = reverse;
    tick(f);
    assert_int_equal(series_table_count(f->table), count);
}

static void many_series_are_all_found_again(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct series_table *table = series_table_new("fw");
    struct instrument *instruments = calloc(COUNT, sizeof instruments[0]);
    char(*names)[16] = calloc(COUNT, sizeof names[0]);
    uint64_t *values = calloc(COUNT, sizeof values[0]);
    uint8_t *absent = calloc(COUNT, 1);
    assert_true(table && instruments && names && values && absent);
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "m%zu", i);
        instruments[i] = (struct instrument){.kind = INSTRUMENT_COUNTER,
                                             .name = names[i],
                                             .unit = "1",
                                             .description = "",
                                             .value_index = i};
        values[i] = i;
    }
    const struct identity identity = {0};
    const struct process_figures process = {0};
    const struct snapshot snapshot = {.state = STATE_CLOSED,
                                      .instruments = instruments,
                                      .instrument_count = COUNT,
                                      .values = values,
                                      .values_absent = absent};
    struct point_row *row = series_table_row(table, &identity, &snapshot, &process, NULL);
    struct point_row *again = series_table_row(table, &identity, &snapshot, &process, row);
    assert_non_null(row);
    assert_non_null(again);
    assert_int_equal(row->series_count, COUNT);
    assert_int_equal(again->series_count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(again->words[i], i);
    }
    memset(row->words, 0xA5, COUNT * sizeof row->words[0]);
    series_table_recycle(table, row);
    series_table_recycle(table, NULL);
    struct point_row *reused = series_table_row(table, &identity, &snapshot, &process, again);
    assert_ptr_equal(reused, row);
    assert_memory_equal(reused->words, again->words, COUNT * sizeof row->words[0]);
    assert_memory_equal(reused->states, again->states, COUNT);
    series_table_recycle(table, reused);
    free(again);
    free(absent);
    free(values);
    free(names);
    free(instruments);
    series_table_free(&table);
    assert_null(table);
}

static bool same_item(const void *item, const void *wanted)
{
    return item == wanted;
}

static void a_crowd_of_equal_hashes_is_refused(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static int items[COUNT];
    struct hash_index index = {0};
    size_t taken = 0;
    while (taken < COUNT && hash_index_add(&index, 42, &items[taken])) {
        taken++;
    }
    assert_in_range(taken, 100, 300);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(hash_index_find(&index, 42, same_item, &items[i]),
                         i < taken ? &items[i] : NULL);
    }
    assert_true(hash_index_add(&index, 7, &items[0]));
    hash_index_free(&index);
}

static void a_region_that_invents_names_for_ever_is_bounded(void **state)
{
    (void)state;
    enum { COUNT = 32768, TICKS = 6 };
    struct series_table *table = series_table_new("fw");
    struct instrument *instruments = calloc(COUNT, sizeof instruments[0]);
    char(*names)[24] = calloc((size_t)COUNT * TICKS, sizeof names[0]);
    uint8_t *absent = calloc(COUNT, 1);
    const uint64_t value = 1;
    assert_true(table && instruments && names && absent);
    const struct identity identity = {0};
    const struct process_figures process = {0};
    const struct snapshot snapshot = {.state = STATE_CLOSED,
                                      .instruments = instruments,
                                      .instrument_count = COUNT,
                                      .values = &value,
                                      .values_absent = absent};
    for (size_t t = 0; t < TICKS; t++) {
        for (size_t i = 0; i < COUNT; i++) {
            char *name = names[t * COUNT + i];
            (void)snprintf(name, sizeof names[0], "m%zu.%zu", t, i);
            instruments[i] = (struct instrument){
                .kind = INSTRUMENT_COUNTER, .name = name, .unit = "", .description = ""};
        }
        struct point_row *row = series_table_row(table, &identity, &snapshot, &process, NULL);
        assert_non_null(row);
        free(row);
    }
    assert_int_equal(series_table_count(table), 131072);
    free(absent);
    free(names);
    free(instruments);
    series_table_free(&table);
}

static void the_same_stream_twice_is_sent_once(void **state)
{
    struct fixture *f = *state;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "twice")) = 1;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "twice")) = 2;
    tick(f);
    assert_int_equal(count_of(metric_text(f, "twice"), "asInt"), 1);
    assert_shows(metric_text(f, "twice"), "\"asInt\":\"1\"");
}

static void a_stream_keeps_the_source_that_showed_it_first(void **state)
{
    struct fixture *f = *state;
    const struct attribute pipeline = {.key = "pipeline", .type = ATTRIBUTE_STRING, .string = "p"};
    add_component(f, COMPONENT_INPUT, "in")->counts[COUNT_LINES] = 100;
    tick(f);
    struct instrument *instrument = add_instrument(f, INSTRUMENT_COUNTER, "fw.input_lines");
    instrument->unit = "{line}";
    instrument->attributes = &pipeline;
    instrument->attribute_count = 1;
    *value_of(f, instrument) = 5;
    tick(f);
    const char *text = metric_text(f, "fw.input_lines");
    assert_int_equal(count_of(text, "\"asInt\":\"100\""), 2);
    assert_hides(text, "\"asInt\":\"5\"");
}

static void the_same_name_with_another_unit_or_kind_is_another_metric(void **state)
{
    struct fixture *f = *state;
    add_instrument(f, INSTRUMENT_COUNTER, "m");
    add_instrument(f, INSTRUMENT_COUNTER, "m")->unit = "By";
    add_instrument(f, INSTRUMENT_UPDOWN, "m");
    add_instrument(f, INSTRUMENT_GAUGE, "m");
    tick(f);
    const char *text = metrics_text(f);
    assert_int_equal(count_of(text, "\"name\":\"m\""), 4);
    assert_int_equal(count_of(text, "\"name\":\"m\",\"description\":\"d\",\"unit\":\"By\""), 1);
}

static void an_int_and_a_double_gauge_of_one_name_are_one_stream(void **state)
{
    struct fixture *f = *state;
    *value_of(f, add_instrument(f, INSTRUMENT_GAUGE, "g")) = 3;
    struct instrument *real = add_instrument(f, INSTRUMENT_GAUGE, "g");
    real->is_double = true;
    *value_of(f, real) = bits(2.5);
    tick(f);
    assert_shows(metric_text(f, "g"), "\"asInt\":\"3\"");
    assert_hides(metric_text(f, "g"), "asDouble");
}

static void streams_of_one_metric_share_its_envelope(void **state)
{
    struct fixture *f = *state;
    const struct attribute a = {.key = "k", .type = ATTRIBUTE_STRING, .string = "a"};
    const struct attribute b = {.key = "k", .type = ATTRIBUTE_STRING, .string = "b"};
    struct instrument *first = add_instrument(f, INSTRUMENT_COUNTER, "shared");
    add_instrument(f, INSTRUMENT_COUNTER, "between");
    struct instrument *second = add_instrument(f, INSTRUMENT_COUNTER, "shared");
    first->attributes = &a;
    second->attributes = &b;
    first->attribute_count = second->attribute_count = 1;
    tick(f);
    assert_int_equal(count_of(metrics_text(f), "\"name\":\"shared\""), 1);
    assert_int_equal(count_of(metric_text(f, "shared"), "timeUnixNano\":"), 2);
}

static void an_instrument_without_a_name_is_left_out(void **state)
{
    struct fixture *f = *state;
    add_instrument(f, INSTRUMENT_COUNTER, "");
    tick(f);
    assert_hides(metrics_text(f), "\"unit\":\"1\"");
}

/* ---- the catalogue ------------------------------------------------------------------------------
 */

static void set_all_batches(struct fixture *f)
{
    for (size_t i = 0; i < BATCH_FIELDS; i++) {
        f->pipeline.batches[i] = 100 + i;
    }
}

static void the_standard_metrics_have_their_names_units_and_kinds(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *unit, *kind;
    } wanted[] = {
        {"fw.uptime_seconds", "s", "gauge"},
        {"process.memory.rss", "By", "gauge"},
        {"process.cpu.user_ms", "ms", "sum"},
        {"process.cpu.sys_ms", "ms", "sum"},
        {"fw.input_lines", "{line}", "sum"},
        {"fw.input_bytes", "By", "sum"},
        {"fw.output_lines", "{line}", "sum"},
        {"fw.output_bytes", "By", "sum"},
        {"fw.output_errors", "{error}", "sum"},
        {"fw.batches", "{batch}", "sum"},
        {"fw.batch_rows", "{row}", "sum"},
        {"fw.queue_wait_nanos", "ns", "sum"},
        {"fw.send_nanos", "ns", "sum"},
        {"fw.backpressure_stalls", "{stall}", "sum"},
        {"fw.dropped_batches", "{batch}", "sum"},
        {"fw.scan_errors", "{error}", "sum"},
        {"fw.parse_errors", "{error}", "sum"},
        {"fw.stage_nanos", "ns", "sum"},
        {"fw.inflight_batches", "{batch}", "gauge"},
        {"fw.queue_depth", "{item}", "gauge"},
        {"fw.queue_capacity", "{item}", "gauge"},
    };
    add_component(f, COMPONENT_INPUT, "in");
    struct component *output = add_component(f, COMPONENT_OUTPUT, "out");
    output->has_queue = true;
    output->queue_capacity = 1;
    set_all_batches(f);
    f->process = (struct process_figures){true, 1, 2, 3};
    tick(f);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const char *text = metric_text(f, wanted[i].name);
        char unit[64], kind[64];
        (void)snprintf(unit, sizeof unit, "\"unit\":\"%s\"", wanted[i].unit);
        (void)snprintf(kind, sizeof kind, "\"%s\":{\"dataPoints\":[{", wanted[i].kind);
        assert_shows(text, unit);
        assert_shows(text, kind);
        assert_shows(text, "\"description\":\"");
        if (strcmp(wanted[i].kind, "sum") == 0) {
            assert_shows(text, "\"startTimeUnixNano\":\"1700000000000000000\"");
            assert_shows(text, "\"aggregationTemporality\":2,\"isMonotonic\":true");
        }
    }
    assert_int_equal(count_of(metrics_text(f), "\"name\":\""),
                     sizeof wanted / sizeof wanted[0] + 1 /* the scope's */);
}

static void pipeline_metrics_carry_their_values_and_attributes(void **state)
{
    struct fixture *f = *state;
    add_component(f, COMPONENT_INPUT, "in1")->counts[COUNT_LINES] = 10;
    add_component(f, COMPONENT_INPUT, "in2")->counts[COUNT_LINES] = 5;
    struct component *output = add_component(f, COMPONENT_OUTPUT, "out");
    output->counts[COUNT_ERRORS] = 2;
    output->has_queue = true;
    output->queue_depth = 7;
    set_all_batches(f);
    tick(f);
    assert_shows(metric_text(f, "fw.input_lines"),
                 "\"asInt\":\"15\",\"attributes\":[{\"key\":\"pipeline\","
                 "\"value\":{\"stringValue\":\"p\"}}]");
    assert_shows(metric_text(f, "fw.output_errors"), "\"asInt\":\"2\"");
    assert_shows(metric_text(f, "fw.queue_depth"),
                 "\"asInt\":\"7\",\"attributes\":[{\"key\":\"pipeline\","
                 "\"value\":{\"stringValue\":\"p\"}},{\"key\":\"component\","
                 "\"value\":{\"stringValue\":\"out\"}},{\"key\":\"role\","
                 "\"value\":{\"stringValue\":\"output\"}}]");
    assert_null(metric_text(f, "fw.queue_capacity")); /* 0: not known */
    const char *stages = metric_text(f, "fw.stage_nanos");
    assert_int_equal(count_of(stages, "asInt"), 3);
    assert_shows(stages, "{\"key\":\"stage\",\"value\":{\"stringValue\":\"scan\"}}");
    assert_shows(stages, "{\"key\":\"stage\",\"value\":{\"stringValue\":\"transform\"}}");
    assert_shows(stages, "{\"key\":\"stage\",\"value\":{\"stringValue\":\"output\"}}");
}

static void an_input_and_an_output_of_one_name_have_two_queues(void **state)
{
    struct fixture *f = *state;
    struct component *input = add_component(f, COMPONENT_INPUT, "tcp");
    struct component *output = add_component(f, COMPONENT_OUTPUT, "tcp");
    input->has_queue = output->has_queue = true;
    input->queue_depth = 1;
    output->queue_depth = 2;
    tick(f);
    assert_shows(metric_text(f, "fw.queue_depth"), "\"asInt\":\"1\"");
    assert_shows(metric_text(f, "fw.queue_depth"), "\"asInt\":\"2\"");
}

static void counters_not_had_make_no_metric(void **state)
{
    struct fixture *f = *state;
    add_component(f, COMPONENT_INPUT, "in")->absent = 1u << COUNT_BYTES;
    f->pipeline.absent = 1u << BATCH_SCAN_ERRORS | 1u << BATCH_TRANSFORM_NS;
    tick(f);
    assert_non_null(metric_text(f, "fw.input_lines"));
    assert_null(metric_text(f, "fw.input_bytes"));
    assert_null(metric_text(f, "fw.output_lines")); /* no output at all */
    assert_null(metric_text(f, "fw.scan_errors"));
    assert_null(metric_text(f, "fw.queue_depth"));
    assert_null(metric_text(f, "process.memory.rss"));
    assert_int_equal(count_of(metric_text(f, "fw.stage_nanos"), "asInt"), 2);
}

static void one_input_that_counts_bytes_is_enough(void **state)
{
    struct fixture *f = *state;
    struct component *without = add_component(f, COMPONENT_INPUT, "a");
    without->absent = 1u << COUNT_BYTES;
    without->counts[COUNT_BYTES] = 1000;
    add_component(f, COMPONENT_INPUT, "b")->counts[COUNT_BYTES] = 7;
    tick(f);
    assert_shows(metric_text(f, "fw.input_bytes"), "\"asInt\":\"7\"");
}

static void sums_over_components_saturate(void **state)
{
    struct fixture *f = *state;
    add_component(f, COMPONENT_OUTPUT, "a")->counts[COUNT_LINES] = UINT64_MAX;
    add_component(f, COMPONENT_OUTPUT, "b")->counts[COUNT_LINES] = 2;
    tick(f);
    assert_shows(metric_text(f, "fw.output_lines"), "\"asDouble\":1.8446744073709552e");
}

static void an_empty_prefix_is_the_default(void **state)
{
    struct fixture *f = *state;
    series_table_free(&f->table);
    f->table = series_table_new("");
    tick(f);
    assert_non_null(metric_text(f, "forwarder.uptime_seconds"));
}

static void uptime_counts_from_the_start_of_the_life(void **state)
{
    struct fixture *f = *state;
    f->snapshot.time_unix_ns = STARTED + 3 * SECOND / 2;
    tick(f);
    assert_shows(metric_text(f, "fw.uptime_seconds"), "\"asDouble\":1.5");
}

static void uptime_is_zero_when_the_clock_went_back_and_time_is_not_before_the_start(void **state)
{
    struct fixture *f = *state;
    add_instrument(f, INSTRUMENT_COUNTER, "c");
    f->snapshot.time_unix_ns = STARTED - SECOND;
    tick(f);
    assert_shows(metric_text(f, "fw.uptime_seconds"), "\"asDouble\":0");
    assert_shows(metric_text(f, "c"), "\"startTimeUnixNano\":\"1700000000000000000\","
                                      "\"timeUnixNano\":\"1700000000000000000\"");
}

static void uptime_ends_with_the_life(void **state)
{
    struct fixture *f = *state;
    tick(f);
    f->snapshot.lock = LOCK_FREE;
    tick(f);
    tick(f);
    const char *text = metric_text(f, "fw.uptime_seconds");
    assert_int_equal(count_of(text, "asDouble"), 1);
    assert_int_equal(count_of(text, "\"flags\":1"), 1);
}

static void figures_from_proc_beat_published_ones_and_fall_back_to_them(void **state)
{
    struct fixture *f = *state;
    struct instrument *published = add_instrument(f, INSTRUMENT_GAUGE, "process.memory.rss");
    published->unit = "By";
    *value_of(f, published) = 11;
    tick(f);
    assert_shows(metric_text(f, "process.memory.rss"), "\"asInt\":\"11\"");
    series_table_free(&f->table);
    f->table = series_table_new("fw");
    free(f->rows[--f->row_count]);
    f->process = (struct process_figures){true, 22, 0, 0};
    tick(f);
    assert_shows(metric_text(f, "process.memory.rss"), "\"asInt\":\"22\"");
    assert_hides(metric_text(f, "process.memory.rss"), "\"asInt\":\"11\"");
}

static void the_sidecar_accounts_for_itself(void **state)
{
    struct fixture *f = *state;
    series_table_free(&f->table);
    f->table = series_table_new_self();
    const struct self_figures self = {.ticks = 1,
                                      .tick_us = 2,
                                      .retries = 3,
                                      .stale = 4,
                                      .torn = 5,
                                      .spans_lost = 6,
                                      .logs_lost = 7,
                                      .regions = 8,
                                      .regions_refused = 9,
                                      .sections_refused = 10,
                                      .stream_clients = 11,
                                      .ticks_skipped = 12,
                                      .process = {true, 13, 14, 15}};
    f->rows[f->row_count++] = series_table_self_row(f->table, &self, STARTED + SECOND);
    assert_non_null(f->rows[0]);
    f->resource.identity = NULL;
    static const char *const names[] = {
        "fwdscope.sidecar.ticks",
        "fwdscope.sidecar.tick_us",
        "fwdscope.sidecar.retries",
        "fwdscope.sidecar.stale",
        "fwdscope.sidecar.torn",
        "fwdscope.sidecar.spans_lost",
        "fwdscope.sidecar.logs_lost",
        "fwdscope.sidecar.regions",
        "fwdscope.sidecar.regions_refused",
        "fwdscope.sidecar.sections_refused",
        "fwdscope.sidecar.stream_clients",
        "fwdscope.sidecar.ticks_skipped",
        "process.memory.rss",
        "process.cpu.user_ms",
        "process.cpu.sys_ms",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char value[32];
        (void)snprintf(value, sizeof value, "\"asInt\":\"%zu\"", i + 1);
        assert_shows(metric_text(f, names[i]), value);
    }
    assert_shows(metrics_text(f), "\"scope\":{\"name\":\"fwdscope.sidecar\",\"version\":\"");
    assert_shows(f->text, "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"fwdscope\"}}");
}

/* ---- points -------------------------------------------------------------------------------------
 */

static void instruments_go_out_as_what_they_are(void **state)
{
    struct fixture *f = *state;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "counter")) = 1;
    *value_of(f, add_instrument(f, INSTRUMENT_TOTAL, "total")) = 2;
    *value_of(f, add_instrument(f, INSTRUMENT_UPDOWN, "updown")) = (uint64_t)-3;
    *value_of(f, add_instrument(f, INSTRUMENT_GAUGE, "int")) = (uint64_t)-4;
    struct instrument *real = add_instrument(f, INSTRUMENT_GAUGE, "double");
    real->is_double = true;
    *value_of(f, real) = bits(0.5);
    tick(f);
    const char *counter = metric_text(f, "counter");
    assert_shows(counter, "\"asInt\":\"1\"");
    assert_shows(counter, "\"aggregationTemporality\":2,\"isMonotonic\":true}");
    assert_shows(counter, "\"startTimeUnixNano\":\"1700000000000000000\","
                          "\"timeUnixNano\":\"1700000010000000000\"");
    assert_shows(metric_text(f, "total"), "\"isMonotonic\":true}");
    const char *updown = metric_text(f, "updown");
    assert_shows(updown, "\"asInt\":\"-3\"");
    assert_shows(updown, "\"aggregationTemporality\":2}");
    assert_shows(updown, "startTimeUnixNano");
    const char *gauge = metric_text(f, "int");
    assert_shows(gauge, "\"gauge\":");
    assert_shows(gauge, "\"asInt\":\"-4\"");
    assert_hides(gauge, "startTimeUnixNano");
    assert_shows(metric_text(f, "double"), "\"asDouble\":0.5");
}

static void a_counter_above_the_int64_range_is_a_double(void **state)
{
    struct fixture *f = *state;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "edge")) = INT64_MAX;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "beyond")) = (uint64_t)INT64_MAX + 1;
    tick(f);
    assert_shows(metric_text(f, "edge"), "\"asInt\":\"9223372036854775807\"");
    assert_shows(metric_text(f, "beyond"), "\"asDouble\":9.223372036854776e+18");
    assert_hides(metric_text(f, "beyond"), "asInt");
}

static void a_gauge_outside_the_int64_range_is_a_double(void **state)
{
    struct fixture *f = *state;
    struct component *output = add_component(f, COMPONENT_OUTPUT, "out");
    output->has_queue = true;
    output->queue_depth = UINT64_MAX;
    struct instrument *real = add_instrument(f, INSTRUMENT_GAUGE, "huge");
    real->is_double = true;
    *value_of(f, real) = bits(1e300);
    tick(f);
    assert_shows(metric_text(f, "fw.queue_depth"), "\"asDouble\":1.8446744073709552e");
    assert_shows(metric_text(f, "huge"), "\"asDouble\":1e");
}

static void a_gauge_that_is_not_finite_has_no_point(void **state)
{
    struct fixture *f = *state;
    const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    struct instrument *gauge = add_instrument(f, INSTRUMENT_GAUGE, "g");
    gauge->is_double = true;
    for (size_t i = 0; i < 3; i++) {
        *value_of(f, gauge) = bits(bad[i]);
        tick(f);
    }
    assert_null(metric_text(f, "g"));
    *value_of(f, gauge) = bits(1);
    tick(f);
    assert_int_equal(count_of(metric_text(f, "g"), "timeUnixNano"), 1);
}

static void what_was_never_set_is_absent(void **state)
{
    struct fixture *f = *state;
    *absent_of(f, add_instrument(f, INSTRUMENT_GAUGE, "g")) = 1;
    *absent_of(f, add_instrument(f, INSTRUMENT_TOTAL, "t")) = 1;
    tick(f);
    assert_null(metric_text(f, "g"));
    assert_null(metric_text(f, "t"));
}

static void a_gauge_that_ended_says_so_once(void **state)
{
    struct fixture *f = *state;
    struct instrument *gauge = add_instrument(f, INSTRUMENT_GAUGE, "g");
    *value_of(f, gauge) = 5;
    tick(f);
    *absent_of(f, gauge) = 1;
    tick(f);
    tick(f);
    assert_shows(metric_text(f, "g"),
                 "\"dataPoints\":[{\"timeUnixNano\":\"1700000010000000000\",\"asInt\":\"5\"},"
                 "{\"timeUnixNano\":\"1700000012000000000\",\"flags\":1}]");
}

static void a_process_that_is_gone_ends_its_gauge_but_no_sum(void **state)
{
    struct fixture *f = *state;
    f->process = (struct process_figures){true, 1, 2, 3};
    tick(f);
    f->process = (struct process_figures){0};
    tick(f);
    assert_int_equal(count_of(metric_text(f, "process.memory.rss"), "\"flags\":1"), 1);
    assert_int_equal(count_of(metric_text(f, "process.cpu.user_ms"), "\"timeUnixNano\""), 1);
}

static void what_the_row_before_does_not_know_has_not_ended(void **state)
{
    struct fixture *f = *state;
    const struct point_row *older = tick(f);
    struct instrument *gauge = add_instrument(f, INSTRUMENT_GAUGE, "g");
    tick(f);
    *absent_of(f, gauge) = 1;
    f->rows[f->row_count] =
        series_table_row(f->table, &f->identity, &f->snapshot, &f->process, older);
    assert_non_null(f->rows[f->row_count++]);
    assert_hides(metric_text(f, "g"), "flags");
}

static void a_stale_unit_has_no_point_and_does_not_end(void **state)
{
    struct fixture *f = *state;
    static const double bounds[] = {1};
    struct instrument *histogram = add_instrument(f, INSTRUMENT_HISTOGRAM, "h");
    histogram->bounds = bounds;
    histogram->bound_count = 1;
    add_component(f, COMPONENT_INPUT, "in");
    tick(f);
    *absent_of(f, histogram) = 2;
    f->pipeline.batches_stale = true;
    f->pipeline.batches[BATCH_BATCHES] = 99;
    tick(f);
    assert_int_equal(count_of(metric_text(f, "h"), "timeUnixNano"), 1);
    const char *batches = metric_text(f, "fw.batches");
    assert_int_equal(count_of(batches, "timeUnixNano"), 1);
    assert_hides(batches, "99");
    const char *inflight = metric_text(f, "fw.inflight_batches");
    assert_int_equal(count_of(inflight, "timeUnixNano"), 1);
    assert_hides(inflight, "flags");
    assert_int_equal(count_of(metric_text(f, "fw.input_lines"), "asInt"), 2);
}

static void history_of_fewer_series_makes_fewer_points(void **state)
{
    struct fixture *f = *state;
    add_instrument(f, INSTRUMENT_COUNTER, "old");
    tick(f);
    add_instrument(f, INSTRUMENT_COUNTER, "new");
    tick(f);
    assert_int_equal(count_of(metric_text(f, "old"), "asInt"), 2);
    assert_int_equal(count_of(metric_text(f, "new"), "asInt"), 1);
    assert_shows(metric_text(f, "old"), "\"timeUnixNano\":\"1700000010000000000\"");
    assert_shows(metric_text(f, "old"), "\"timeUnixNano\":\"1700000012000000000\"");
}

static void the_points_of_a_row_have_one_time(void **state)
{
    struct fixture *f = *state;
    add_instrument(f, INSTRUMENT_COUNTER, "c");
    add_instrument(f, INSTRUMENT_GAUGE, "g");
    add_component(f, COMPONENT_INPUT, "in");
    tick(f);
    const char *text = metrics_text(f);
    assert_int_equal(count_of(text, "\"timeUnixNano\":"),
                     count_of(text, "\"timeUnixNano\":\"1700000010000000000\""));
}

/* ---- histograms ---------------------------------------------------------------------------------
 */

static struct instrument *add_histogram(struct fixture *f, const double *bounds, size_t count)
{
    struct instrument *histogram = add_instrument(f, INSTRUMENT_HISTOGRAM, "h");
    histogram->bounds = bounds;
    histogram->bound_count = count;
    histogram->value_count = count + 2;
    return histogram;
}

static void a_histogram_counts_its_buckets(void **state)
{
    struct fixture *f = *state;
    static const double bounds[] = {0.5, 10};
    uint64_t *words = value_of(f, add_histogram(f, bounds, 2));
    words[0] = bits(12.25);
    words[1] = 3;
    words[3] = 4;
    tick(f);
    const char *text = metric_text(f, "h");
    assert_shows(text, "\"histogram\":{\"dataPoints\":[{\"startTimeUnixNano\":"
                       "\"1700000000000000000\",\"timeUnixNano\":\"1700000010000000000\","
                       "\"count\":\"7\",\"sum\":12.25,\"bucketCounts\":[\"3\",\"0\",\"4\"],"
                       "\"explicitBounds\":[0.5,10]}],\"aggregationTemporality\":2}");
}

static void an_empty_histogram_has_sum_zero(void **state)
{
    struct fixture *f = *state;
    static const double bounds[] = {1};
    value_of(f, add_histogram(f, bounds, 1))[0] = bits(3.5);
    tick(f);
    assert_shows(metric_text(f, "h"), "\"sum\":0,\"bucketCounts\":[\"0\",\"0\"]");
    assert_hides(metric_text(f, "h"), "\"count\"");
    assert_hides(metric_text(f, "h"), "\"min\"");
}

static void a_sum_that_is_not_finite_is_left_out(void **state)
{
    struct fixture *f = *state;
    static const double bounds[] = {1};
    uint64_t *words = value_of(f, add_histogram(f, bounds, 1));
    words[0] = bits((double)INFINITY);
    words[1] = 1;
    tick(f);
    assert_shows(metric_text(f, "h"), "\"count\":\"1\",\"bucketCounts\":[\"1\",\"0\"]");
}

static void buckets_that_overflow_their_count_make_no_point(void **state)
{
    struct fixture *f = *state;
    static const double bounds[] = {1};
    uint64_t *words = value_of(f, add_histogram(f, bounds, 1));
    words[1] = UINT64_MAX;
    words[2] = 1;
    tick(f);
    assert_null(metric_text(f, "h"));
}

static void unsound_bounds_refuse_the_series(void **state)
{
    struct fixture *f = *state;
    static const double falling[] = {2, 1}, equal[] = {1, 1};
    const double infinite[] = {1, (double)INFINITY};
    const double *const cases[] = {falling, equal, infinite};
    struct instrument *histogram = add_histogram(f, falling, 2);
    for (size_t i = 0; i < 3; i++) {
        histogram->bounds = cases[i];
        tick(f);
        assert_null(metric_text(f, "h"));
    }
}

static void other_bounds_under_a_known_name_are_dropped(void **state)
{
    struct fixture *f = *state;
    static const double first[] = {1}, second[] = {1, 2, 3, 4};
    static const char same_name[] = "h"; /* of another instrument */
    struct instrument *histogram = add_histogram(f, first, 1);
    tick(f);
    histogram->name = same_name;
    histogram->bounds = second;
    histogram->bound_count = 4;
    tick(f);
    assert_int_equal(count_of(metric_text(f, "h"), "timeUnixNano"), 1);
}

/* ---- attributes and resource --------------------------------------------------------------------
 */

static void attribute_keys_are_unique_and_not_empty(void **state)
{
    struct fixture *f = *state;
    const struct attribute attributes[] = {
        {.key = "k", .type = ATTRIBUTE_INT, .integer = -7},
        {.key = "", .type = ATTRIBUTE_INT, .integer = 8},
        {.key = "k", .type = ATTRIBUTE_STRING, .string = "again"},
        {.key = "b", .type = ATTRIBUTE_BOOL, .boolean = false},
        {.key = "d", .type = ATTRIBUTE_DOUBLE, .real = (double)NAN},
        {.key = "e", .type = ATTRIBUTE_STRING, .string = ""},
    };
    struct instrument *instrument = add_instrument(f, INSTRUMENT_COUNTER, "c");
    instrument->attributes = attributes;
    instrument->attribute_count = 6;
    tick(f);
    assert_shows(metric_text(f, "c"),
                 "\"attributes\":[{\"key\":\"k\",\"value\":{\"intValue\":\"-7\"}},"
                 "{\"key\":\"b\",\"value\":{\"boolValue\":false}},"
                 "{\"key\":\"d\",\"value\":{\"stringValue\":\"NaN\"}},"
                 "{\"key\":\"e\",\"value\":{\"stringValue\":\"\"}}]");
}

static void the_resource_is_the_forwarder(void **state)
{
    struct fixture *f = *state;
    tick(f);
    assert_shows(metrics_text(f),
                 "{\"resourceMetrics\":[{\"resource\":{\"attributes\":["
                 "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"shipper\"}},"
                 "{\"key\":\"service.version\",\"value\":{\"stringValue\":\"1.2.3\"}},"
                 "{\"key\":\"service.instance.id\",\"value\":{\"stringValue\":"
                 "\"0123456789abcdef0123456789abcdef\"}},"
                 "{\"key\":\"process.pid\",\"value\":{\"intValue\":\"4711\"}}]},"
                 "\"scopeMetrics\":[{\"scope\":{\"name\":\"fwdscope.forwarder\",");
}

static void published_beats_extra_and_nothing_is_said_twice(void **state)
{
    struct fixture *f = *state;
    const struct attribute published[] = {
        {.key = "service.instance.id", .type = ATTRIBUTE_STRING, .string = "mine"},
        {.key = "host.name", .type = ATTRIBUTE_STRING, .string = "said"},
        {.key = "process.pid", .type = ATTRIBUTE_INT, .integer = 99},
    };
    const struct attribute extra[] = {
        {.key = "host.name", .type = ATTRIBUTE_STRING, .string = "guessed"},
        {.key = "service.name", .type = ATTRIBUTE_STRING, .string = "other"},
        {.key = "k8s.pod.name", .type = ATTRIBUTE_STRING, .string = "pod-0"},
    };
    f->resource.published = published;
    f->resource.published_count = 3;
    f->resource.extra = extra;
    f->resource.extra_count = 3;
    tick(f);
    const char *text = metrics_text(f);
    assert_shows(text, "{\"key\":\"service.instance.id\",\"value\":{\"stringValue\":\"mine\"}}");
    assert_shows(text, "{\"key\":\"host.name\",\"value\":{\"stringValue\":\"said\"}}");
    assert_shows(text, "{\"key\":\"process.pid\",\"value\":{\"intValue\":\"99\"}}");
    assert_shows(text, "{\"key\":\"k8s.pod.name\",\"value\":{\"stringValue\":\"pod-0\"}}");
    assert_int_equal(count_of(text, "\"key\":\"service.name\""), 1);
    assert_int_equal(count_of(text, "\"key\":\"service.instance.id\""), 1);
    assert_int_equal(count_of(text, "\"key\":\"host.name\""), 1);
    assert_int_equal(count_of(text, "\"key\":\"process.pid\""), 1);
}

static void a_service_always_has_a_name_and_the_unknown_is_absent(void **state)
{
    struct fixture *f = *state;
    f->identity.service_name[0] = '\0';
    f->identity.service_version[0] = '\0';
    f->identity.pid = 0;
    tick(f);
    const char *text = metrics_text(f);
    assert_shows(text,
                 "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"unknown_service\"}}");
    assert_hides(text, "service.version");
    assert_hides(text, "process.pid");
}

static void the_environment_names_a_service_that_did_not(void **state)
{
    struct fixture *f = *state;
    const struct attribute extra = {
        .key = "service.name", .type = ATTRIBUTE_STRING, .string = "from-env"};
    f->identity.service_name[0] = '\0';
    f->resource.extra = &extra;
    f->resource.extra_count = 1;
    tick(f);
    assert_shows(metrics_text(f),
                 "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"from-env\"}}");
    assert_hides(f->text, "unknown_service");
}

static void names_with_control_characters_make_valid_json(void **state)
{
    struct fixture *f = *state;
    *value_of(f, add_instrument(f, INSTRUMENT_COUNTER, "a\x01\"b")) = 1;
    tick(f);
    assert_shows(metrics_text(f), "\"name\":\"a\\u0001\\\"b\"");
}

/* ---- envelopes ----------------------------------------------------------------------------------
 */

static void nothing_to_say_is_no_document(void **state)
{
    struct fixture *f = *state;
    bool full = true;
    assert_null(model_metrics(f->arena, NULL, 0, &full));
    assert_false(full);
    assert_null(metrics(f)); /* a table without rows */
    const struct spans_part spans = {.resource = f->resource};
    full = true;
    assert_null(model_spans(f->arena, &spans, 1, &full));
    assert_false(full);
    const struct logs_part logs = {.resource = f->resource};
    full = true;
    assert_null(model_logs(f->arena, &logs, 1, &full));
    assert_false(full);
}

static void parts_without_content_leave_no_envelope(void **state)
{
    struct fixture *f = *state;
    tick(f);
    const struct metrics_part parts[] = {
        {.resource = f->resource, .table = f->table},
        {.resource = f->resource,
         .table = f->table,
         .rows = (const struct point_row *const *)f->rows,
         .row_count = 1},
    };
    bool full = true;
    MetricsRequest *request = model_metrics(f->arena, parts, 2, &full);
    assert_non_null(request);
    assert_false(full);
    assert_int_equal(request->n_resource_metrics, 1);
}

/* ---- spans --------------------------------------------------------------------------------------
 */

static struct span sample_span(void)
{
    return (struct span){.trace_id = {0xAB, [15] = 0x01},
                         .span_id = {0xCD, [7] = 0x02},
                         .kind = 1,
                         .name = "batch",
                         .message = "",
                         .start_unix_ns = STARTED,
                         .end_unix_ns = STARTED + SECOND,
                         .stage = ""};
}

static TraceRequest *active_request(struct fixture *f, const struct span *span, size_t count,
                                    uint64_t now)
{
    const struct spans_part part = {
        .resource = f->resource, .active = span, .active_count = count, .active_unix_ns = now};
    bool full = true;
    TraceRequest *request = model_spans(f->arena, &part, 1, &full);
    assert_false(full);
    return request;
}

static const char *active_text(struct fixture *f, const struct span *span, uint64_t now)
{
    TraceRequest *request = active_request(f, span, 1, now);
    assert_non_null(request);
    return encode(f, &request->base);
}

/* A record that the fakes decode to `what`. */
static struct record record_of(enum record_kind kind, uint64_t *word, const void *what)
{
    *word = (uint64_t)(uintptr_t)what;
    return (struct record){.kind = kind, .words = word, .word_count = 1};
}

static const char *finished_text(struct fixture *f, const struct span *span)
{
    uint64_t word;
    const struct record record = record_of(RECORD_SPAN, &word, span);
    const struct spans_part part = {
        .resource = f->resource, .finished = &record, .finished_count = 1};
    bool full = true;
    TraceRequest *request = model_spans(f->arena, &part, 1, &full);
    assert_false(full);
    assert_non_null(request);
    return encode(f, &request->base);
}

static void a_finished_span_is_whole(void **state)
{
    struct fixture *f = *state;
    const struct attribute attributes[] = {
        {.key = "rows", .type = ATTRIBUTE_INT, .integer = 5},
        {.key = "flush_reason", .type = ATTRIBUTE_STRING, .string = "size"}};
    struct span span = sample_span();
    span.parent_id[0] = 0xEF;
    span.kind = 3;
    span.status = 2;
    span.message = "refused";
    span.attributes = attributes;
    span.attribute_count = 2;
    span.attributes_dropped = 4;
    assert_shows(finished_text(f, &span),
                 "\"scopeSpans\":[{\"scope\":{\"name\":\"fwdscope.forwarder\",\"version\":"
                 "\"" FWDSCOPE_VERSION "\"},\"spans\":[{"
                 "\"traceId\":\"ab000000000000000000000000000001\",\"spanId\":\"cd00000000000002\","
                 "\"parentSpanId\":\"ef00000000000000\",\"name\":\"batch\",\"kind\":3,"
                 "\"startTimeUnixNano\":\"1700000000000000000\","
                 "\"endTimeUnixNano\":\"1700000001000000000\","
                 "\"attributes\":[{\"key\":\"rows\",\"value\":{\"intValue\":\"5\"}},"
                 "{\"key\":\"flush_reason\",\"value\":{\"stringValue\":\"size\"}}],"
                 "\"droppedAttributesCount\":4,"
                 "\"status\":{\"message\":\"refused\",\"code\":2},\"flags\":1}]}]}]}");
}

static void a_root_has_no_parent_and_an_unset_status_no_key(void **state)
{
    const struct span span = sample_span();
    const char *text = finished_text(*state, &span);
    assert_hides(text, "parentSpanId");
    assert_hides(text, "status");
    assert_hides(text, "droppedAttributesCount");
    assert_hides(text, "in_progress");
}

static void ok_is_said_when_the_forwarder_says_so(void **state)
{
    struct span span = sample_span();
    span.status = 1;
    assert_shows(finished_text(*state, &span), "\"status\":{\"code\":1}");
}

static void numbers_out_of_range_read_as_internal_and_unset(void **state)
{
    struct fixture *f = *state;
    static const unsigned kinds[] = {0, 6, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct span span = sample_span();
        span.kind = kinds[i];
        span.status = 3;
        const char *text = finished_text(f, &span);
        assert_shows(text, "\"kind\":1,");
        assert_hides(text, "status");
    }
}

static void an_end_before_the_start_is_the_start(void **state)
{
    struct span span = sample_span();
    span.end_unix_ns = STARTED - 1;
    assert_shows(finished_text(*state, &span), "\"endTimeUnixNano\":\"1700000000000000000\"");
}

static void an_active_span_is_in_progress_until_now(void **state)
{
    struct span span = sample_span();
    span.end_unix_ns = 0;
    span.stage = "scan";
    span.stage_start_unix_ns = STARTED + 1;
    span.output_start_unix_ns = STARTED + 2;
    const char *text = active_text(*state, &span, STARTED + 5);
    assert_shows(text, "\"endTimeUnixNano\":\"1700000000000000005\"");
    assert_shows(text, "\"attributes\":[{\"key\":\"in_progress\",\"value\":{\"boolValue\":true}},"
                       "{\"key\":\"stage\",\"value\":{\"stringValue\":\"scan\"}},"
                       "{\"key\":\"stage_start_unix_ns\","
                       "\"value\":{\"intValue\":\"1700000000000000001\"}},"
                       "{\"key\":\"output_start_unix_ns\","
                       "\"value\":{\"intValue\":\"1700000000000000002\"}}]");
}

static void an_active_span_without_a_stage_names_none(void **state)
{
    const struct span span = sample_span();
    const char *text = active_text(*state, &span, STARTED + 5);
    assert_shows(text, "\"attributes\":[{\"key\":\"in_progress\",\"value\":{\"boolValue\":true}}]");
}

static void the_times_of_an_active_span_saturate(void **state)
{
    struct span span = sample_span();
    span.start_unix_ns = UINT64_MAX;
    span.stage_start_unix_ns = UINT64_MAX;
    const char *text = active_text(*state, &span, STARTED);
    assert_shows(text, "\"endTimeUnixNano\":\"18446744073709551615\"");
    assert_shows(text, "{\"intValue\":\"9223372036854775807\"}");
}

static void what_we_say_of_an_active_span_wins_over_its_own_attribute(void **state)
{
    const struct attribute own = {.key = "in_progress", .type = ATTRIBUTE_INT, .integer = 0};
    struct span span = sample_span();
    span.attributes = &own;
    span.attribute_count = 1;
    span.attributes_dropped = UINT32_MAX;
    const char *text = active_text(*state, &span, STARTED + 5);
    assert_int_equal(count_of(text, "in_progress"), 1);
    assert_shows(text, "\"droppedAttributesCount\":4294967295");
}

static void a_span_without_ids_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct span spans[] = {sample_span(), sample_span(), sample_span()};
    memset(spans[0].trace_id, 0, sizeof spans[0].trace_id);
    memset(spans[1].span_id, 0, sizeof spans[1].span_id);
    TraceRequest *request = active_request(f, spans, 3, STARTED);
    assert_non_null(request);
    assert_int_equal(request->resource_spans[0]->scope_spans[0]->n_spans, 1);
    assert_null(active_request(f, spans, 2, STARTED));
}

static void a_span_without_a_name_gets_one(void **state)
{
    struct span span = sample_span();
    span.name = "";
    assert_shows(active_text(*state, &span, STARTED), "\"name\":\"unknown\"");
}

static void finished_spans_come_first_and_in_order(void **state)
{
    struct fixture *f = *state;
    struct span active = sample_span(), first = sample_span(), second = sample_span();
    first.name = "first";
    second.name = "second";
    active.span_id[1] = 1; /* another span than those that finished */
    uint64_t words[3];
    const struct record records[] = {record_of(RECORD_SPAN, &words[0], &first),
                                     record_of(RECORD_LOG, &words[1], &first), /* no span */
                                     record_of(RECORD_SPAN, &words[2], &second)};
    const struct spans_part part = {.resource = f->resource,
                                    .finished = records,
                                    .finished_count = 3,
                                    .active = &active,
                                    .active_count = 1,
                                    .active_unix_ns = STARTED};
    bool full = true;
    TraceRequest *request = model_spans(f->arena, &part, 1, &full);
    assert_non_null(request);
    assert_false(full);
    const Opentelemetry__Proto__Trace__V1__ScopeSpans *scope =
        request->resource_spans[0]->scope_spans[0];
    assert_int_equal(scope->n_spans, 3);
    assert_string_equal(scope->spans[0]->name, "first");
    assert_string_equal(scope->spans[1]->name, "second");
    assert_string_equal(scope->spans[2]->name, "batch");
}

/* It entered the ring after its slot was read, or its slot was read before it was freed. */
static void a_span_found_active_and_finished_has_finished(void **state)
{
    struct fixture *f = *state;
    struct span actives[] = {sample_span(), sample_span(), sample_span()};
    const struct span finished = sample_span();
    actives[0].span_id[1] = 1;
    actives[2].span_id[1] = 2;
    uint64_t word;
    const struct record record = record_of(RECORD_SPAN, &word, &finished);
    const struct spans_part part = {.resource = f->resource,
                                    .finished = &record,
                                    .finished_count = 1,
                                    .active = actives,
                                    .active_count = 3,
                                    .active_unix_ns = STARTED};
    bool full = true;
    TraceRequest *request = model_spans(f->arena, &part, 1, &full);
    assert_non_null(request);
    const Opentelemetry__Proto__Trace__V1__ScopeSpans *scope =
        request->resource_spans[0]->scope_spans[0];
    assert_int_equal(scope->n_spans, 3);
    assert_memory_equal(scope->spans[0]->span_id.data, finished.span_id, 8);
    assert_memory_equal(scope->spans[1]->span_id.data, actives[0].span_id, 8);
    assert_memory_equal(scope->spans[2]->span_id.data, actives[2].span_id, 8);
}

/* ---- logs ---------------------------------------------------------------------------------------
 */

static struct log_record sample_log(void)
{
    return (struct log_record){.time_unix_ns = STARTED,
                               .observed_unix_ns = STARTED + 1,
                               .severity = 9,
                               .severity_text = "info",
                               .body = "hello"};
}

static const char *log_text(struct fixture *f, const struct log_record *log)
{
    uint64_t word;
    const struct record record = record_of(RECORD_LOG, &word, log);
    const struct logs_part part = {.resource = f->resource,
                                   .records = &record,
                                   .record_count = 1,
                                   .notice_unix_ns = STARTED + 9};
    bool full = true;
    LogsRequest *request = model_logs(f->arena, &part, 1, &full);
    assert_false(full);
    assert_non_null(request);
    return encode(f, &request->base);
}

static void a_log_line_is_whole(void **state)
{
    const struct attribute attribute = {.key = "k", .type = ATTRIBUTE_DOUBLE, .real = 0.5};
    struct log_record log = sample_log();
    log.trace_id[0] = 1;
    log.span_id[0] = 2;
    log.cut = true;
    log.original_bytes = 65536;
    log.attributes = &attribute;
    log.attribute_count = 1;
    log.attributes_dropped = 3;
    assert_shows(log_text(*state, &log),
                 "\"logRecords\":[{\"timeUnixNano\":\"1700000000000000000\",\"severityNumber\":9,"
                 "\"severityText\":\"info\",\"body\":{\"stringValue\":\"hello\"},"
                 "\"attributes\":[{\"key\":\"log.original_length\","
                 "\"value\":{\"intValue\":\"65536\"}},"
                 "{\"key\":\"k\",\"value\":{\"doubleValue\":0.5}}],\"droppedAttributesCount\":3,"
                 "\"traceId\":\"01000000000000000000000000000000\","
                 "\"spanId\":\"0200000000000000\","
                 "\"observedTimeUnixNano\":\"1700000000000000001\"}]");
}

static void what_a_log_line_does_not_know_is_absent(void **state)
{
    struct log_record log = sample_log();
    log.time_unix_ns = 0;
    log.severity = 0;
    log.severity_text = "";
    log.span_id[0] = 2; /* a span without its trace says nothing */
    assert_shows(log_text(*state, &log), "\"logRecords\":[{\"body\":{\"stringValue\":\"hello\"},"
                                         "\"observedTimeUnixNano\":\"1700000000000000001\"}]");
}

static void a_severity_text_stands_without_a_number(void **state)
{
    struct log_record log = sample_log();
    log.severity = 25;
    log.severity_text = "verbose";
    const char *text = log_text(*state, &log);
    assert_hides(text, "severityNumber");
    assert_shows(text, "\"severityText\":\"verbose\"");
}

static void the_observed_time_is_always_there(void **state)
{
    struct log_record log = sample_log();
    log.observed_unix_ns = 0;
    assert_shows(log_text(*state, &log), "\"observedTimeUnixNano\":\"1700000000000000000\"");
    log.time_unix_ns = 0;
    assert_shows(log_text(*state, &log), "\"observedTimeUnixNano\":\"1700000000000000009\"");
}

static void an_empty_body_is_still_a_body(void **state)
{
    struct log_record log = sample_log();
    log.body = "";
    assert_shows(log_text(*state, &log), "\"body\":{\"stringValue\":\"\"}");
}

static void a_loss_is_told_alone(void **state)
{
    struct fixture *f = *state;
    const struct logs_part part = {.resource = f->resource,
                                   .lost_ticks = 3,
                                   .lost_logs = UINT64_MAX,
                                   .notice_unix_ns = STARTED + 7};
    bool full = true;
    LogsRequest *request = model_logs(f->arena, &part, 1, &full);
    assert_non_null(request);
    const char *text = encode(f, &request->base);
    assert_shows(text,
                 "\"scopeLogs\":[{\"scope\":{\"name\":\"fwdscope\",\"version\":\"" FWDSCOPE_VERSION
                 "\"},\"logRecords\":[{\"timeUnixNano\":\"1700000000000000007\","
                 "\"severityNumber\":13,\"severityText\":\"WARN\",\"body\":{\"stringValue\":"
                 "\"lost before delivery: 3 ticks, 0 spans, 18446744073709551615 log records\"},"
                 "\"attributes\":[{\"key\":\"fwdscope.lost.ticks\","
                 "\"value\":{\"intValue\":\"3\"}},{\"key\":\"fwdscope.lost.log_records\","
                 "\"value\":{\"intValue\":\"9223372036854775807\"}}],"
                 "\"observedTimeUnixNano\":\"1700000000000000007\"}]}]}]}");
}

static void a_loss_comes_before_the_lines_that_remain(void **state)
{
    struct fixture *f = *state;
    const struct log_record log = sample_log();
    uint64_t words[2];
    const struct record records[] = {record_of(RECORD_LOG, &words[0], NULL), /* no record */
                                     record_of(RECORD_LOG, &words[1], &log)};
    const struct logs_part part = {
        .resource = f->resource, .records = records, .record_count = 2, .lost_spans = 1};
    bool full = true;
    LogsRequest *request = model_logs(f->arena, &part, 1, &full);
    assert_non_null(request);
    assert_false(full);
    const Opentelemetry__Proto__Logs__V1__ResourceLogs *logs = request->resource_logs[0];
    assert_int_equal(logs->n_scope_logs, 2);
    assert_string_equal(logs->scope_logs[0]->scope->name, "fwdscope");
    assert_string_equal(logs->scope_logs[1]->scope->name, "fwdscope.forwarder");
    assert_int_equal(logs->scope_logs[1]->n_log_records, 1);
}

/* ---- the full arena -----------------------------------------------------------------------------
 */

/* Every size that is too small says full and gives nothing; the first that is not gives all. */
static void a_full_arena_gives_no_document(void **state)
{
    struct fixture *f = *state;
    static const double bounds[] = {1};
    const struct span span = sample_span();
    const struct log_record log = sample_log();
    uint64_t span_word, log_word;
    const struct record span_record = record_of(RECORD_SPAN, &span_word, &span);
    const struct record log_record = record_of(RECORD_LOG, &log_word, &log);
    add_histogram(f, bounds, 1);
    add_component(f, COMPONENT_INPUT, "in");
    tick(f);
    const struct metrics_part metrics_part = {.resource = f->resource,
                                              .table = f->table,
                                              .rows = (const struct point_row *const *)f->rows,
                                              .row_count = 1};
    const struct spans_part spans_part = {.resource = f->resource,
                                          .finished = &span_record,
                                          .finished_count = 1,
                                          .active = &span,
                                          .active_count = 1};
    const struct logs_part logs_part = {
        .resource = f->resource, .records = &log_record, .record_count = 1, .lost_ticks = 1};
    size_t refused = 0, given[3] = {0};
    for (size_t bytes = 64; bytes < 65536; bytes += 64) {
        struct arena *small = arena_new(bytes);
        bool full[3] = {false, false, false};
        assert_non_null(small);
        const void *documents[3];
        documents[0] = model_metrics(small, &metrics_part, 1, &full[0]);
        arena_reset(small);
        documents[1] = model_spans(small, &spans_part, 1, &full[1]);
        arena_reset(small);
        documents[2] = model_logs(small, &logs_part, 1, &full[2]);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(full[i], documents[i] == NULL);
            refused += documents[i] == NULL;
            given[i] += documents[i] != NULL;
        }
        arena_free(&small);
    }
    assert_true(refused > 0);
    assert_true(given[0] > 0 && given[1] > 0 && given[2] > 0);
}

/* A record that does not fit must not be taken for one that is none, and so be lost in silence. */
static void a_record_too_large_for_the_arena_is_not_skipped(void **state)
{
    struct fixture *f = *state;
    const struct span span = sample_span();
    const struct log_record log = sample_log();
    uint64_t span_word, log_word;
    struct record span_record = record_of(RECORD_SPAN, &span_word, &span);
    struct record log_record = record_of(RECORD_LOG, &log_word, &log);
    span_record.word_count = log_record.word_count = 1024;
    const struct spans_part spans = {.resource = f->resource,
                                     .finished = &span_record,
                                     .finished_count = 1,
                                     .active = &span,
                                     .active_count = 1};
    const struct logs_part logs = {
        .resource = f->resource, .records = &log_record, .record_count = 1, .lost_ticks = 1};
    struct arena *small = arena_new((size_t)20 << 10);
    bool full = false;
    assert_null(model_spans(small, &spans, 1, &full));
    assert_true(full);
    arena_reset(small);
    full = false;
    assert_null(model_logs(small, &logs, 1, &full));
    assert_true(full);
    arena_free(&small);
}

#define MODEL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODEL_TEST(series_keep_their_place_as_the_table_grows),
        MODEL_TEST(a_series_outlives_the_strings_of_its_snapshot),
        MODEL_TEST(attributes_are_a_set),
        MODEL_TEST(many_series_are_all_found_again),
        MODEL_TEST(a_crowd_of_equal_hashes_is_refused),
        MODEL_TEST(a_region_that_invents_names_for_ever_is_bounded),
        MODEL_TEST(the_same_stream_twice_is_sent_once),
        MODEL_TEST(a_stream_keeps_the_source_that_showed_it_first),
        MODEL_TEST(the_same_name_with_another_unit_or_kind_is_another_metric),
        MODEL_TEST(an_int_and_a_double_gauge_of_one_name_are_one_stream),
        MODEL_TEST(streams_of_one_metric_share_its_envelope),
        MODEL_TEST(an_instrument_without_a_name_is_left_out),
        MODEL_TEST(the_standard_metrics_have_their_names_units_and_kinds),
        MODEL_TEST(pipeline_metrics_carry_their_values_and_attributes),
        MODEL_TEST(an_input_and_an_output_of_one_name_have_two_queues),
        MODEL_TEST(counters_not_had_make_no_metric),
        MODEL_TEST(one_input_that_counts_bytes_is_enough),
        MODEL_TEST(sums_over_components_saturate),
        MODEL_TEST(an_empty_prefix_is_the_default),
        MODEL_TEST(uptime_counts_from_the_start_of_the_life),
        MODEL_TEST(uptime_is_zero_when_the_clock_went_back_and_time_is_not_before_the_start),
        MODEL_TEST(uptime_ends_with_the_life),
        MODEL_TEST(figures_from_proc_beat_published_ones_and_fall_back_to_them),
        MODEL_TEST(the_sidecar_accounts_for_itself),
        MODEL_TEST(instruments_go_out_as_what_they_are),
        MODEL_TEST(a_counter_above_the_int64_range_is_a_double),
        MODEL_TEST(a_gauge_outside_the_int64_range_is_a_double),
        MODEL_TEST(a_gauge_that_is_not_finite_has_no_point),
        MODEL_TEST(what_was_never_set_is_absent),
        MODEL_TEST(a_gauge_that_ended_says_so_once),
        MODEL_TEST(a_process_that_is_gone_ends_its_gauge_but_no_sum),
        MODEL_TEST(what_the_row_before_does_not_know_has_not_ended),
        MODEL_TEST(a_stale_unit_has_no_point_and_does_not_end),
        MODEL_TEST(history_of_fewer_series_makes_fewer_points),
        MODEL_TEST(the_points_of_a_row_have_one_time),
        MODEL_TEST(a_histogram_counts_its_buckets),
        MODEL_TEST(an_empty_histogram_has_sum_zero),
        MODEL_TEST(a_sum_that_is_not_finite_is_left_out),
        MODEL_TEST(buckets_that_overflow_their_count_make_no_point),
        MODEL_TEST(unsound_bounds_refuse_the_series),
        MODEL_TEST(other_bounds_under_a_known_name_are_dropped),
        MODEL_TEST(attribute_keys_are_unique_and_not_empty),
        MODEL_TEST(the_resource_is_the_forwarder),
        MODEL_TEST(published_beats_extra_and_nothing_is_said_twice),
        MODEL_TEST(a_service_always_has_a_name_and_the_unknown_is_absent),
        MODEL_TEST(the_environment_names_a_service_that_did_not),
        MODEL_TEST(names_with_control_characters_make_valid_json),
        MODEL_TEST(nothing_to_say_is_no_document),
        MODEL_TEST(parts_without_content_leave_no_envelope),
        MODEL_TEST(a_finished_span_is_whole),
        MODEL_TEST(a_root_has_no_parent_and_an_unset_status_no_key),
        MODEL_TEST(ok_is_said_when_the_forwarder_says_so),
        MODEL_TEST(numbers_out_of_range_read_as_internal_and_unset),
        MODEL_TEST(an_end_before_the_start_is_the_start),
        MODEL_TEST(an_active_span_is_in_progress_until_now),
        MODEL_TEST(an_active_span_without_a_stage_names_none),
        MODEL_TEST(the_times_of_an_active_span_saturate),
        MODEL_TEST(what_we_say_of_an_active_span_wins_over_its_own_attribute),
        MODEL_TEST(a_span_without_ids_is_left_out),
        MODEL_TEST(a_span_without_a_name_gets_one),
        MODEL_TEST(finished_spans_come_first_and_in_order),
        MODEL_TEST(a_span_found_active_and_finished_has_finished),
        MODEL_TEST(a_log_line_is_whole),
        MODEL_TEST(what_a_log_line_does_not_know_is_absent),
        MODEL_TEST(a_severity_text_stands_without_a_number),
        MODEL_TEST(the_observed_time_is_always_there),
        MODEL_TEST(an_empty_body_is_still_a_body),
        MODEL_TEST(a_loss_is_told_alone),
        MODEL_TEST(a_loss_comes_before_the_lines_that_remain),
        MODEL_TEST(a_full_arena_gives_no_document),
        MODEL_TEST(a_record_too_large_for_the_arena_is_not_skipped),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
