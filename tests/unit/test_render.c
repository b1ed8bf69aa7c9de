/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The renderer against the encoder: random tables, spans and log lines, good, odd and hostile ones,
 * come out byte for byte as the model's messages do when they are written after their descriptors.
 */
#include "render.h"

#include "json.h"
#include "series.h"

#include "shmlayout/layout.h"
#include "shmlayout/validate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND       UINT64_C(1000000000)
#define STARTED      (UINT64_C(1700000000) * SECOND)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OUT_MAX      ((size_t)64 << 20)

/* ---- memory that can run out -----------------------------------------------------------------
 */

void *__real_realloc(void *block, size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);

/* Calls until memory is out, and whether it is counted. */
static size_t allocations_left;
static bool memory_is_counted;

static bool memory_is_out(void)
{
    if (!memory_is_counted || allocations_left > 0) {
        allocations_left -= memory_is_counted;
        return false;
    }
    return true;
}

void *__wrap_realloc(void *block, size_t bytes)
{
    return memory_is_out() ? NULL : __real_realloc(block, bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return memory_is_out() ? NULL : __real_calloc(count, bytes);
}

/* ---- chance -------------------------------------------------------------------------------------
 */

static uint64_t chance_state;

static uint64_t chance_word(void)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return chance_state;
}

static size_t chance(size_t bound)
{
    return (size_t)((chance_word() >> 11) % bound);
}

/* Numbers of all magnitudes, and those at which something changes. */
static uint64_t chance_number(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     9,
                                     10,
                                     99999999,
                                     100000000,
                                     INT64_MAX,
                                     UINT64_MAX,
                                     UINT64_C(1) << 63,
                                     UINT64_C(1) << 53};
    return chance(3) == 0 ? edges[chance(COUNT(edges))] : chance_word() >> chance(64);
}

static double chance_double(void)
{
    static const double edges[] = {0,   -0.0, 1,     -1,     0.5,  0.1,        1e-7,
                                   1e9, 1e22, 1e300, 5e-324, 42.0, 123456.789, 1.0 / 3};
    double real;
    if (chance(4) > 0) {
        return edges[chance(COUNT(edges))];
    }
    const uint64_t word = chance_word();
    memcpy(&real, &word, sizeof real); /* now and then not finite */
    return chance(8) == 0 ? (double)(chance(2) == 0 ? NAN : INFINITY) : real;
}

/* Texts as a region may hold them: plain of all lengths, escaped, of many bytes, broken. */
static const struct raw_text texts[] = {
#define TEXT(literal)               \
    {                               \
        literal, sizeof literal - 1 \
    }
    TEXT(""),
    TEXT("a"),
    TEXT("ab"),
    TEXT("pipeline"),
    TEXT("exactly sixteen."),
    TEXT("a text of more than sixteen bytes"),
    TEXT("a \"quoted\\ text"),
    TEXT("control\x01\n\x1F\x7F"),
    TEXT("gr\xC3\xBC\xC3\x9F"),
    TEXT("\xF0\x9F\x98\x80"),
    TEXT("\xC2\x80"),
    TEXT("broken \xC3"),
    TEXT("\xFF"),
    TEXT("\xFE"), /* repaired as the one before */
    TEXT("\xEF\xBF\xBD"),
    TEXT("a\0b"),
    TEXT("\0"),
    TEXT("12345678"),
    TEXT("123456789"),
    TEXT("1234567"),
    TEXT("12345678\t"),
#undef TEXT
};

static struct raw_text chance_text(void)
{
    return texts[chance(COUNT(texts))];
}

/* ---- what is compared ---------------------------------------------------------------------------
 */

static struct arena *arena, *other;
static struct buffer expected, rendered;

static int set_up(void **state)
{
    (void)state;
    chance_state = UINT64_C(0x9E3779B97F4A7C15);
    arena = arena_new((size_t)64 << 20);
    other = arena_new((size_t)64 << 20);
    assert_non_null(arena);
    assert_non_null(other);
    buffer_init(&expected, OUT_MAX);
    buffer_init(&rendered, OUT_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&rendered);
    buffer_free(&expected);
    arena_free(&other);
    arena_free(&arena);
    return 0;
}

/* Both documents begin behind the same bytes. */
static void begin_documents(void)
{
    static const struct raw_text before[] = {{"", 0}, {"\n", 1}, {"[", 1}, {"{}", 2}};
    const struct raw_text chosen = before[chance(COUNT(before))];
    arena_reset(arena);
    buffer_reset(&expected);
    buffer_reset(&rendered);
    buffer_append(&expected, chosen.bytes, chosen.count);
    buffer_append(&rendered, chosen.bytes, chosen.count);
}

static void compare_documents(const void *tree, bool tree_full, bool has_document, bool full)
{
    const bool has_tree = tree != NULL && json_encode_message(&expected, tree);
    assert_false(tree_full);
    assert_false(full);
    assert_false(rendered.failed);
    assert_int_equal(has_document, has_tree);
    if (rendered.length != expected.length ||
        (expected.length > 0 && memcmp(rendered.data, expected.data, expected.length) != 0)) {
        fail_msg("expected %.*s\nrendered %.*s", (int)expected.length, expected.data,
                 (int)rendered.length, rendered.data);
    }
}

static void compare_metrics(const struct metrics_part *parts, size_t count)
{
    bool tree_full, full;
    begin_documents();
    const MetricsRequest *tree = model_metrics(arena, parts, count, &tree_full);
    const bool has_document = render_metrics(arena, &rendered, parts, count, &full);
    compare_documents(tree, tree_full, has_document, full);
}

static void compare_spans(const struct spans_part *parts, size_t count)
{
    bool tree_full, full;
    begin_documents();
    const TraceRequest *tree = model_spans(arena, parts, count, &tree_full);
    const bool has_document = render_spans(arena, &rendered, parts, count, &full);
    compare_documents(tree, tree_full, has_document, full);
}

static void compare_logs(const struct logs_part *parts, size_t count)
{
    bool tree_full, full;
    begin_documents();
    const LogsRequest *tree = model_logs(arena, parts, count, &tree_full);
    const bool has_document = render_logs(arena, &rendered, parts, count, &full);
    compare_documents(tree, tree_full, has_document, full);
}

/* ---- metrics ------------------------------------------------------------------------------------
 */

enum {
    INSTRUMENTS_MAX = 12,
    BOUNDS_MAX = 5,
    WORDS_MAX = BOUNDS_MAX + 2,
    ATTRIBUTES_EACH = 4,
    ROWS_MAX = 5,
    PARTS_MAX = 3,
};

/* A forwarder that registers instruments while it runs. */
struct forwarder {
    struct identity identity;
    struct series_table *table;
    struct instrument instruments[INSTRUMENTS_MAX];
    struct attribute attributes[INSTRUMENTS_MAX][ATTRIBUTES_EACH];
    double bounds[INSTRUMENTS_MAX][BOUNDS_MAX];
    uint64_t values[INSTRUMENTS_MAX * WORDS_MAX];
    uint8_t absent[INSTRUMENTS_MAX];
    struct component component;
    struct pipeline pipeline;
    struct snapshot snapshot;
    struct point_row *rows[ROWS_MAX];
    size_t row_count;
    struct resource_view resource;
};

/* As the snapshot gives them: without NUL, and ended by one. */
static const char *chance_string(void)
{
    return chance_text().bytes;
}

static struct attribute chance_attribute(void)
{
    struct attribute attribute = {.key = chance_string()};
    attribute.type = (enum attribute_type)(ATTRIBUTE_STRING + chance(4));
    attribute.string = chance_string();
    attribute.integer = (int64_t)chance_number();
    attribute.real = chance_double();
    attribute.boolean = chance(2) == 0;
    return attribute;
}

static void add_instrument(struct forwarder *f)
{
    static const char *const names[] = {"lines", "bytes", "depth", "x\"y\xC3\xBC", ""};
    const size_t i = f->snapshot.instrument_count++;
    f->instruments[i] = (struct instrument){
        .kind = (enum instrument_kind)(INSTRUMENT_COUNTER + chance(5)),
        .is_double = chance(2) == 0,
        .name = names[chance(COUNT(names))],
        .unit = chance(2) == 0 ? "By" : "",
        .description = chance_string(),
        .attributes = f->attributes[i],
        .attribute_count = chance(ATTRIBUTES_EACH + 1),
        .bounds = f->bounds[i],
        .bound_count = chance(BOUNDS_MAX + 1),
        .value_index = i * WORDS_MAX,
    };
    for (size_t a = 0; a < ATTRIBUTES_EACH; a++) {
        f->attributes[i][a] = chance_attribute();
    }
    for (size_t b = 0; b < BOUNDS_MAX; b++) {
        f->bounds[i][b] = chance(20) == 0 ? chance_double() : 0.25 * (double)(b * b);
    }
}

static uint64_t chance_value(const struct instrument *instrument)
{
    uint64_t word = chance_number();
    if (instrument->kind == INSTRUMENT_GAUGE && instrument->is_double) {
        const double real = chance_double();
        memcpy(&word, &real, sizeof word);
    }
    return word;
}

static void set_values(struct forwarder *f)
{
    for (size_t i = 0; i < f->snapshot.instrument_count; i++) {
        uint64_t *words = f->values + i * WORDS_MAX;
        const double sum = chance_double();
        words[0] = chance_value(&f->instruments[i]);
        f->absent[i] = chance(4) == 0 ? (uint8_t)(1 + chance(2)) : 0;
        if (f->instruments[i].kind == INSTRUMENT_HISTOGRAM) {
            memcpy(words, &sum, sizeof sum);
            const bool wild = chance(4) == 0, empty = chance(4) == 0;
            for (size_t b = 1; b < WORDS_MAX; b++) {
                words[b] = empty ? 0 : wild ? chance_number() : chance(1000);
            }
        }
    }
    f->component.counts[COUNT_LINES] = chance_number();
    f->component.has_queue = chance(2) == 0;
    f->component.queue_depth = chance_number();
}

static void tick(struct forwarder *f)
{
    const struct process_figures process = {.known = chance(2) == 0, .rss_bytes = chance_number()};
    for (size_t added = chance(4); added > 0 && f->snapshot.instrument_count < INSTRUMENTS_MAX;
         added--) {
        add_instrument(f);
    }
    set_values(f);
    f->snapshot.time_unix_ns += chance(3) * SECOND + chance(SECOND);
    struct point_row *row = series_table_row(f->table, &f->identity, &f->snapshot, &process,
                                             f->row_count > 0 ? f->rows[f->row_count - 1] : NULL);
    assert_non_null(row);
    f->rows[f->row_count++] = row;
}

static struct forwarder *forwarder_new(void)
{
    struct forwarder *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->identity = (struct identity){.pid = chance(2) * 4711, .created_unix_ns = STARTED};
    (void)snprintf(f->identity.service_name, sizeof f->identity.service_name, "%s",
                   chance_string());
    f->table = series_table_new(chance(2) == 0 ? "fw" : NULL);
    assert_non_null(f->table);
    f->component = (struct component){.kind = COMPONENT_INPUT, .name = "in", .type = "file"};
    f->pipeline = (struct pipeline){.name = "p", .components = &f->component, .component_count = 1};
    f->snapshot = (struct snapshot){.time_unix_ns = chance(8) == 0 ? 0 : STARTED,
                                    .state = chance(2) == 0 ? STATE_CLOSED : STATE_RUNNING,
                                    .instruments = f->instruments,
                                    .values = f->values,
                                    .values_absent = f->absent,
                                    .pipelines = &f->pipeline,
                                    .pipeline_count = chance(2)};
    static const uint64_t starts[] = {STARTED, STARTED + SECOND, 0, 1, UINT64_MAX};
    f->resource = (struct resource_view){.identity = chance(8) > 0 ? &f->identity : NULL,
                                         .start_unix_ns = starts[chance(COUNT(starts))]};
    return f;
}

static void forwarder_free(struct forwarder *f)
{
    for (size_t i = 0; i < f->row_count; i++) {
        free(f->rows[i]);
    }
    series_table_free(&f->table);
    free(f);
}

/* Some rows of it, as a tick or a backlog takes them. */
static struct metrics_part part_of(const struct forwarder *f)
{
    const size_t first = chance(f->row_count + 1);
    return (struct metrics_part){
        .resource = f->resource,
        .table = f->table,
        .rows = (const struct point_row *const *)f->rows + first,
        .row_count = chance(f->row_count - first + 1),
    };
}

static void compare_forwarders(struct forwarder **forwarders, size_t count)
{
    struct metrics_part parts[PARTS_MAX];
    for (size_t i = 0; i < count; i++) {
        parts[i] = part_of(forwarders[i]);
    }
    compare_metrics(parts, count);
}

static void metrics_are_as_the_encoder_writes_them(void **state)
{
    (void)state;
    enum { TABLES = 2000 };
    for (size_t n = 0; n < TABLES; n++) {
        struct forwarder *forwarders[PARTS_MAX];
        const size_t count = 1 + chance(PARTS_MAX);
        for (size_t i = 0; i < count; i++) {
            forwarders[i] = forwarder_new();
        }
        for (size_t t = 0; t < ROWS_MAX; t++) {
            for (size_t i = 0; i < count; i++) {
                tick(forwarders[i]);
            }
            compare_forwarders(forwarders, count);
        }
        compare_forwarders(forwarders, count);
        for (size_t i = 0; i < count; i++) {
            forwarder_free(forwarders[i]);
        }
    }
}

static void the_sidecars_own_account_is_as_the_encoder_writes_it(void **state)
{
    (void)state;
    struct series_table *table = series_table_new_self();
    const struct self_figures self = {
        .ticks = 5, .tick_us = UINT64_MAX, .process = {.known = true}};
    struct point_row *row = series_table_self_row(table, &self, STARTED + SECOND);
    const struct point_row *rows[] = {row};
    const struct metrics_part part = {
        .resource = {.start_unix_ns = STARTED}, .table = table, .rows = rows, .row_count = 1};
    compare_metrics(&part, 1);
    assert_true(rendered.length > 1000);
    free(row);
    series_table_free(&table);
}

/* What is kept beside a table is only speed: without memory for it, the document is the same. */
static void metrics_need_no_memory_of_their_own(void **state)
{
    (void)state;
    for (size_t left = 0; left < 200; left++) {
        struct forwarder *f = forwarder_new();
        for (size_t t = 0; t < ROWS_MAX; t++) {
            tick(f);
        }
        const struct metrics_part part = {.resource = f->resource,
                                          .table = f->table,
                                          .rows = (const struct point_row *const *)f->rows,
                                          .row_count = f->row_count};
        assert_non_null(buffer_reserve(&rendered, (size_t)1 << 20));
        assert_non_null(buffer_reserve(&expected, (size_t)1 << 20));
        compare_metrics(&part, 0); /* whatever is made once is there */
        allocations_left = left;
        memory_is_counted = true;
        compare_metrics(&part, 1);
        memory_is_counted = false;
        compare_metrics(&part, 1);
        forwarder_free(f);
    }
}

/* ---- records ------------------------------------------------------------------------------------
 */

enum { RECORDS_MAX = 8, RECORD_WORDS = 2600, ACTIVE_MAX = 4 };

static uint64_t record_words[RECORDS_MAX][RECORD_WORDS];
static struct record records[RECORDS_MAX];

static size_t put_text(uint64_t *words, size_t at, const struct raw_text *text)
{
    words[at + fws_words_of(text->count)] = 0;
    if (text->count > 0) {
        words[at + fws_words_of(text->count) - 1] = chance(2) == 0 ? 0 : chance_word();
        memcpy(words + at, text->bytes, text->count);
    }
    return at + fws_words_of(text->count);
}

/* A key of a length around those up to which keys are kept, unlike others of it in one byte. */
static struct raw_text chance_key(void)
{
    static const size_t lengths[] = {1, 7, 8, 9, 15, 16, 17, 22, 23, 24, 25, 40};
    static char key[40];
    const size_t length = lengths[chance(sizeof lengths / sizeof *lengths)];
    const size_t places[] = {0, length / 2, length - 1};
    memset(key, 'k', length);
    key[places[chance(3)]] = chance(2) == 0 ? 'a' : 'b';
    return (struct raw_text){key, length};
}

/* An attribute with a key out of few, so that some come twice, in the same record and others. */
static size_t put_attribute(uint64_t *words, size_t at)
{
    const unsigned type = FWS_ATTR_STRING + (unsigned)chance(4);
    const struct raw_text key = chance(2) == 0 ? chance_text() : chance_key();
    const struct raw_text text = chance_text();
    const double real = chance_double();
    uint64_t number = chance_number();
    if (type == FWS_ATTR_DOUBLE) {
        memcpy(&number, &real, sizeof number);
    }
    const size_t head = at;
    at = put_text(words, at + 1, key.count > 0 ? &key : &texts[1]);
    if (type == FWS_ATTR_STRING) {
        words[head] = FWS_ATTR_HEAD(type, key.count > 0 ? key.count : 1, text.count);
        return put_text(words, at, &text);
    }
    words[head] = FWS_ATTR_HEAD(type, key.count > 0 ? key.count : 1, sizeof number);
    words[at] = number;
    return at + 1;
}

/* At most 32 attributes, of at most 256 words; returns how many. */
static size_t put_attributes(uint64_t *words, size_t *at)
{
    enum { LONGEST = 16 };
    const size_t wanted = chance(4) == 0 ? chance(FWS_ATTRS_MAX + 1) : chance(5), first = *at;
    size_t count = 0;
    while (count < wanted && *at - first + LONGEST <= FWS_ATTR_WORDS_MAX) {
        *at = put_attribute(words, *at);
        count++;
    }
    return count;
}

static uint64_t chance_time(void)
{
    return chance(4) > 0 ? STARTED + chance(4 * SECOND) : chance_number();
}

static uint64_t chance_id(void)
{
    return chance(6) == 0 ? 0 : chance_word() & (chance(2) == 0 ? UINT64_MAX : 0xFF0000);
}

static size_t put_span(uint64_t *words)
{
    const struct raw_text name = chance_text(), message = chance_text();
    for (size_t i = FWS_S_TRACE_ID; i <= FWS_S_PARENT_ID; i++) {
        words[i] = chance_id();
    }
    size_t at = put_text(words, put_text(words, FWS_S_WORDS, &name), &message);
    const size_t first = at, count = put_attributes(words, &at);
    words[FWS_S_META] = FWS_SPAN_META(chance(7), chance(4), name.count, message.count, count,
                                      chance(3) == 0 ? chance(0xFFFF) : 0);
    words[FWS_S_ATTR_WORDS] = at - first;
    words[FWS_S_START_UNIX_NS] = chance_time();
    words[FWS_S_END_UNIX_NS] = chance_time();
    return at;
}

/* A body is one of the texts, or many of them. */
static size_t put_body(uint64_t *words, size_t at, size_t *bytes)
{
    char *body = (char *)(words + at);
    const size_t max = chance(8) == 0 ? FWS_LOG_BYTES_MAX : 300;
    const bool plain = chance(2) == 0;
    *bytes = 0;
    while (chance(6) > 0) {
        const struct raw_text text = plain ? texts[chance(6)] : chance_text();
        if (*bytes + text.count <= max) {
            memcpy(body + *bytes, text.bytes, text.count);
            *bytes += text.count;
        }
    }
    return at + fws_words_of(*bytes);
}

static size_t put_log(uint64_t *words)
{
    const struct raw_text severity = chance_text();
    size_t bytes, at = put_body(words, put_text(words, FWS_L_WORDS, &severity), &bytes);
    const size_t first = at, count = put_attributes(words, &at);
    words[FWS_L_META] =
        FWS_LOG_META(chance(27), severity.count, count, chance(3) == 0 ? chance(0xFFFF) : 0);
    words[FWS_L_BODY_BYTES] = bytes;
    words[FWS_L_ORIGINAL_BYTES] = chance(3) == 0 ? chance_number() : bytes;
    words[FWS_L_TIME_UNIX_NS] = chance(4) == 0 ? 0 : chance_time();
    words[FWS_L_TRACE_ID] = chance_id();
    words[FWS_L_TRACE_ID + 1] = chance_id();
    words[FWS_L_SPAN_ID] = chance_id();
    words[FWS_L_ATTR_WORDS] = at - first;
    return at;
}

/* Records of a kind, one in four of them damaged or cut, in memory of just their size. */
static size_t make_records(enum record_kind kind)
{
    const size_t count = chance(RECORDS_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        size_t words = kind == RECORD_SPAN ? put_span(record_words[i]) : put_log(record_words[i]);
        if (chance(4) == 0) {
            for (size_t flips = chance(4); flips > 0; flips--) {
                record_words[i][chance(words < 24 ? words : 24)] ^= UINT64_C(1) << chance(64);
            }
            words = chance(2) == 0 ? words : chance(words + 1);
        }
        uint64_t *exact = arena_array(other, words, sizeof *exact);
        assert_non_null(exact);
        memcpy(exact, record_words[i], words * sizeof *exact);
        records[i] = (struct record){.kind = chance(40) == 0 ? RECORD_LOG : kind,
                                     .time_unix_ns = chance(8) == 0 ? 0 : chance_time(),
                                     .words = exact,
                                     .word_count = words};
    }
    return count;
}

static struct resource_view chance_resource(void)
{
    static const struct identity identity = {.service_name = "shipper", .pid = 1};
    return (struct resource_view){.identity = chance(4) > 0 ? &identity : NULL};
}

/* Active spans, some of which are among the finished ones. */
static size_t make_active(struct span *active, size_t finished)
{
    static struct attribute attributes[ACTIVE_MAX][ATTRIBUTES_EACH];
    const size_t count = chance(2) == 0 ? 0 : chance(ACTIVE_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        for (size_t a = 0; a < ATTRIBUTES_EACH; a++) {
            attributes[i][a] = chance_attribute();
        }
        active[i] = (struct span){.trace_id = {(uint8_t)chance(3)},
                                  .kind = 1,
                                  .name = chance_string(),
                                  .message = "",
                                  .start_unix_ns = STARTED,
                                  .attributes = attributes[i],
                                  .attribute_count = chance(ATTRIBUTES_EACH + 1),
                                  .stage = chance_string()};
        uint64_t id = chance_id();
        if (finished > 0 && chance(2) == 0) {
            const struct record *record = &records[chance(finished)];
            id = record->word_count > FWS_S_SPAN_ID ? record->words[FWS_S_SPAN_ID] : id;
        }
        memcpy(active[i].span_id, &id, sizeof id);
    }
    return count;
}

enum { DOCUMENTS = 6000 };

static void spans_are_as_the_encoder_writes_them(void **state)
{
    (void)state;
    for (size_t n = 0; n < DOCUMENTS; n++) {
        struct spans_part parts[PARTS_MAX];
        struct span active[ACTIVE_MAX];
        arena_reset(other);
        const size_t finished = make_records(RECORD_SPAN);
        const size_t active_count = make_active(active, finished), count = 1 + chance(PARTS_MAX);
        for (size_t i = 0; i < count; i++) { /* each a share of the records */
            const size_t first = chance(finished + 1);
            parts[i] = (struct spans_part){.resource = chance_resource(),
                                           .finished = records + first,
                                           .finished_count = chance(finished - first + 1),
                                           .active = active,
                                           .active_count = chance(active_count + 1),
                                           .active_unix_ns = STARTED + SECOND};
        }
        compare_spans(parts, count);
    }
}

static void logs_are_as_the_encoder_writes_them(void **state)
{
    (void)state;
    for (size_t n = 0; n < DOCUMENTS; n++) {
        struct logs_part parts[PARTS_MAX];
        arena_reset(other);
        const size_t lines = make_records(RECORD_LOG), count = 1 + chance(PARTS_MAX);
        for (size_t i = 0; i < count; i++) {
            const size_t first = chance(lines + 1);
            parts[i] = (struct logs_part){.resource = chance_resource(),
                                          .records = records + first,
                                          .record_count = chance(lines - first + 1),
                                          .lost_ticks = chance(4) == 0 ? chance_number() : 0,
                                          .lost_logs = chance(4) == 0 ? chance_number() : 0,
                                          .notice_unix_ns = chance(8) == 0 ? 0 : STARTED};
        }
        compare_logs(parts, count);
    }
}

/* ---- room ---------------------------------------------------------------------------------------
 */

/* Finds no room at any length, takes back what it put, and stays inside its buffer. */
static void a_document_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    for (size_t n = 0; n < 400; n++) {
        bool full;
        arena_reset(other);
        const size_t count = make_records(n % 2 == 0 ? RECORD_SPAN : RECORD_LOG);
        const struct spans_part spans = {.finished = records, .finished_count = count};
        const struct logs_part logs = {.records = records, .record_count = count};
        begin_documents();
        buffer_reset(&rendered);
        if (!(n % 2 == 0 ? render_spans(arena, &rendered, &spans, 1, &full)
                         : render_logs(arena, &rendered, &logs, 1, &full))) {
            continue;
        }
        for (size_t tries = 0; tries < 20; tries++) {
            struct buffer bounded;
            arena_reset(arena);
            buffer_init(&bounded, 1 + chance(rendered.length));
            buffer_append(&bounded, "[", 1);
            assert_false(n % 2 == 0 ? render_spans(arena, &bounded, &spans, 1, &full)
                                    : render_logs(arena, &bounded, &logs, 1, &full));
            assert_false(full);
            assert_true(bounded.failed);
            assert_int_equal(bounded.length, 1);
            buffer_free(&bounded);
        }
    }
}

/* What is plain behind a text that fills the buffer when it is escaped: sanitizers see a step over
 * the buffer's end. */
static void no_room_behind_a_long_escape_is_no_step_over_the_end(void **state)
{
    (void)state;
    enum { BODY = 4000, VALUE = 900, ATTRIBUTES = 2 };
    static char value[VALUE];
    uint64_t *words = record_words[0];
    memset(value, 'x', sizeof value);
    memset(words + FWS_L_WORDS, 1, BODY);
    size_t at = FWS_L_WORDS + BODY / sizeof(uint64_t);
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        words[at] = FWS_ATTR_HEAD(FWS_ATTR_STRING, 1, VALUE);
        words[at + 1] = 'a' + i;
        at = put_text(words, at + 2, &(struct raw_text){value, VALUE});
    }
    memset(words, 0, FWS_L_WORDS * sizeof *words);
    words[FWS_L_META] = FWS_LOG_META(0, 0, ATTRIBUTES, 0);
    words[FWS_L_BODY_BYTES] = BODY;
    words[FWS_L_ATTR_WORDS] = at - FWS_L_WORDS - BODY / sizeof(uint64_t);
    const struct record record = {.kind = RECORD_LOG, .words = words, .word_count = at};
    const struct logs_part logs = {.records = &record, .record_count = 1};
    compare_logs(&logs, 1);
    assert_true(rendered.length > 6 * BODY + ATTRIBUTES * VALUE);
    for (size_t max = 6 * BODY; max < rendered.length; max += 50) {
        struct buffer bounded;
        bool full;
        arena_reset(arena);
        buffer_init(&bounded, max);
        assert_false(render_logs(arena, &bounded, &logs, 1, &full));
        assert_int_equal(bounded.length, 0);
        buffer_free(&bounded);
    }
}

static void metrics_that_do_not_fit_leave_nothing(void **state)
{
    (void)state;
    for (size_t n = 0; n < 100; n++) {
        struct forwarder *f = forwarder_new();
        bool full;
        for (size_t t = 0; t < ROWS_MAX; t++) {
            tick(f);
        }
        const struct metrics_part part = part_of(f);
        begin_documents();
        buffer_reset(&rendered);
        if (render_metrics(arena, &rendered, &part, 1, &full)) {
            for (size_t tries = 0; tries < 20; tries++) {
                struct buffer bounded;
                arena_reset(arena);
                buffer_init(&bounded, 1 + chance(rendered.length));
                buffer_append(&bounded, "[", 1);
                assert_false(render_metrics(arena, &bounded, &part, 1, &full));
                assert_false(full);
                assert_true(bounded.failed);
                assert_int_equal(bounded.length, 1);
                buffer_free(&bounded);
            }
        }
        forwarder_free(f);
    }
}

static void a_full_arena_gives_no_document(void **state)
{
    (void)state;
    struct arena *small = arena_new(512);
    const struct logs_part logs = {.resource = chance_resource(), .lost_logs = 1};
    bool full = false;
    assert_false(render_logs(small, &rendered, &logs, 1, &full));
    assert_true(full);
    assert_int_equal(rendered.length, 0);
    while (make_records(RECORD_SPAN) == 0) {
    }
    const struct spans_part spans = {.finished = records, .finished_count = 1};
    full = false;
    assert_false(render_spans(small, &rendered, &spans, 1, &full));
    assert_true(full);
    assert_int_equal(rendered.length, 0);
    arena_free(&small);
}

#define RENDER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RENDER_TEST(metrics_are_as_the_encoder_writes_them),
        RENDER_TEST(the_sidecars_own_account_is_as_the_encoder_writes_it),
        RENDER_TEST(metrics_need_no_memory_of_their_own),
        RENDER_TEST(spans_are_as_the_encoder_writes_them),
        RENDER_TEST(logs_are_as_the_encoder_writes_them),
        RENDER_TEST(a_document_that_does_not_fit_leaves_nothing),
        RENDER_TEST(no_room_behind_a_long_escape_is_no_step_over_the_end),
        RENDER_TEST(metrics_that_do_not_fit_leave_nothing),
        RENDER_TEST(a_full_arena_gives_no_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
