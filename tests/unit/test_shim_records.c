/* SPDX-License-Identifier: Apache-2.0 */
/* Spans and log lines, live and finished, and what becomes of them when signals, threads and
 * closing meet inside the shim. */
#include "shim_cases.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char letters[20001]; /* 20,000 times the letter a */

static const char *text_of(size_t bytes)
{
    memset(letters, 'a', sizeof letters - 1);
    return letters + sizeof letters - 1 - bytes;
}

static fwdscope_span span_start(void)
{
    return fwdscope_span_start("s", FWDSCOPE_SPAN_INTERNAL, 1000);
}

/* ---- reading spans --------------------------------------------------------------------------- */

/* A private copy of an active slot. */
struct active {
    uint64_t w[FWS_A_WORDS];
};

static struct active active_read(const struct peek *peek, size_t slot)
{
    struct active copy;
    uint64_t retries = 0;
    const fws_word *words = peek_entry(peek, FWS_SECTION_ACTIVE_SPANS, 0, slot);
    CHECK(fws_seq_copy(&words[FWS_A_SEQ], words, FWS_A_WORDS, copy.w, &retries));
    return copy;
}

static size_t active_count(const struct peek *peek)
{
    size_t count = 0;
    for (size_t i = 0; i < peek->sections[FWS_SECTION_ACTIVE_SPANS].count; i++)
        count += active_read(peek, i).w[FWS_A_STATE] == 1;
    return count;
}

/* The attribute with that key in a block; false: none. Counts them on the way. */
static bool attribute_find(const uint64_t *block, size_t words, const char *key,
                           struct fws_attr *out, size_t *count)
{
    struct fws_attr a;
    bool found = false;
    *count = 0;
    for (size_t at = 0; at < words; ++*count) {
        CHECK(fws_attr_next(block, words, &at, &a));
        if (a.key_bytes == strlen(key) && memcmp(a.key, key, a.key_bytes) == 0) {
            CHECK(!found); /* a key stands once */
            *out = a;
            found = true;
        }
    }
    return found;
}

/* The last finished span. */
struct finished {
    uint64_t count, time, w[FWS_RECORD_WORDS_MAX];
};

static void finished_take(void *arg, const uint64_t *record, size_t words)
{
    struct finished *f = arg;
    CHECK_EQUAL(record[FWS_REC_KIND], FWS_RECORD_SPAN);
    f->count++;
    f->time = record[FWS_REC_TIME_UNIX_NS];
    memcpy(f->w, record + FWS_REC_WORDS, (words - FWS_REC_WORDS) * 8);
}

static struct finished finished_read(const struct peek *peek)
{
    static struct finished f;
    memset(&f, 0, sizeof f);
    peek_records(peek, FWS_SECTION_SPAN_RINGS, finished_take, &f);
    return f;
}

/* ---- spans ------------------------------------------------------------------------------------
 */

static void span_life(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = fwdscope_span_start("batch", FWDSCOPE_SPAN_CONSUMER, 1000);
    struct active a = active_read(&peek, 0);
    CHECK_EQUAL(a.w[FWS_A_STATE], 1);
    CHECK_EQUAL(a.w[FWS_A_START_UNIX_NS], 1000);
    CHECK_EQUAL(FWS_SPAN_KIND(a.w[FWS_A_META]), 5);
    CHECK_EQUAL(FWS_SPAN_NAME_BYTES(a.w[FWS_A_META]), 5);
    CHECK(memcmp(&a.w[FWS_A_NAME], "batch", 5) == 0);
    CHECK(a.w[FWS_A_SPAN_ID] != 0 && a.w[FWS_A_TRACE_ID] != 0 && a.w[FWS_A_TRACE_ID + 1] != 0);
    CHECK_EQUAL(a.w[FWS_A_PARENT_ID], 0);
    CHECK_EQUAL(a.w[FWS_A_STAGE_START_UNIX_NS], 0);

    fwdscope_span_stage(span, "scan");
    a = active_read(&peek, 0);
    CHECK(strcmp((const char *)&a.w[FWS_A_STAGE], "scan") == 0);
    CHECK(a.w[FWS_A_STAGE_START_UNIX_NS] > UINT64_C(1600000000000000000));
    CHECK_EQUAL(a.w[FWS_A_OUTPUT_START_UNIX_NS], 0);
    fwdscope_span_stage(span, "output");
    a = active_read(&peek, 0);
    CHECK_EQUAL(a.w[FWS_A_OUTPUT_START_UNIX_NS], a.w[FWS_A_STAGE_START_UNIX_NS]);
    const uint64_t output = a.w[FWS_A_OUTPUT_START_UNIX_NS];
    fwdscope_span_stage(span, text_of(40)); /* the output's start stays; the name is cut */
    a = active_read(&peek, 0);
    CHECK_EQUAL(a.w[FWS_A_OUTPUT_START_UNIX_NS], output);
    CHECK(strcmp((const char *)&a.w[FWS_A_STAGE], text_of(31)) == 0);

    fwdscope_span_status(span, FWDSCOPE_STATUS_ERROR, "it broke");
    fwdscope_span_status(span, (enum fwdscope_span_status)3, "never shown");
    a = active_read(&peek, 0);
    CHECK_EQUAL(FWS_SPAN_STATUS(a.w[FWS_A_META]), 2);
    CHECK_EQUAL(FWS_SPAN_MESSAGE_BYTES(a.w[FWS_A_META]), 8);
    CHECK(memcmp(&a.w[FWS_A_MESSAGE], "it broke", 8) == 0);

    fwdscope_span_end(span, 5000);
    CHECK_EQUAL(active_count(&peek), 0);
    const struct finished f = finished_read(&peek);
    CHECK_EQUAL(f.count, 1);
    CHECK_EQUAL(f.time, 5000);
    CHECK_EQUAL(f.w[FWS_S_START_UNIX_NS], 1000);
    CHECK_EQUAL(f.w[FWS_S_END_UNIX_NS], 5000);
    CHECK_EQUAL(f.w[FWS_S_SPAN_ID], a.w[FWS_A_SPAN_ID]);
    CHECK_EQUAL(f.w[FWS_S_TRACE_ID], a.w[FWS_A_TRACE_ID]);
    CHECK(memcmp(&f.w[FWS_S_WORDS], "batch", 5) == 0);
    CHECK(memcmp(&f.w[FWS_S_WORDS + 1], "it broke", 8) == 0);
}

static void end_before_start(void)
{
    case_open();
    const struct peek peek = peek_now();
    fwdscope_span_end(span_start(), 999);
    CHECK_EQUAL(finished_read(&peek).w[FWS_S_END_UNIX_NS], 1000);
    fwdscope_span_end(fwdscope_span_start("now", FWDSCOPE_SPAN_INTERNAL, 0), 0);
    const struct finished f = finished_read(&peek);
    CHECK(f.w[FWS_S_START_UNIX_NS] > UINT64_C(1600000000000000000));
    CHECK(f.w[FWS_S_END_UNIX_NS] >= f.w[FWS_S_START_UNIX_NS]);
}

static void long_names_and_strange_kinds(void)
{
    case_open();
    const struct peek peek = peek_now();
    /* The 255th byte is inside a character: it goes as a whole. */
    char name[300];
    memset(name, 'n', sizeof name);
    memcpy(name + 253, "\xe2\x82\xac", 4);
    fwdscope_span_end(fwdscope_span_start(name, (enum fwdscope_span_kind)77, 1), 2);
    struct finished f = finished_read(&peek);
    CHECK_EQUAL(FWS_SPAN_NAME_BYTES(f.w[FWS_S_META]), 253);
    CHECK_EQUAL(FWS_SPAN_KIND(f.w[FWS_S_META]), 1);
    fwdscope_span_end(fwdscope_span_start(NULL, (enum fwdscope_span_kind) - 1, 1), 2);
    f = finished_read(&peek);
    CHECK_EQUAL(FWS_SPAN_NAME_BYTES(f.w[FWS_S_META]), 0);
    CHECK_EQUAL(FWS_SPAN_KIND(f.w[FWS_S_META]), 1);
}

static void child_of_a_parent(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span parent = span_start();
    const fwdscope_span child = fwdscope_span_child(parent, "c", FWDSCOPE_SPAN_CLIENT, 1);
    const struct active p = active_read(&peek, 0);
    struct active c = active_read(&peek, 1);
    CHECK_EQUAL(c.w[FWS_A_PARENT_ID], p.w[FWS_A_SPAN_ID]);
    CHECK_EQUAL(c.w[FWS_A_TRACE_ID], p.w[FWS_A_TRACE_ID]);
    CHECK_EQUAL(c.w[FWS_A_TRACE_ID + 1], p.w[FWS_A_TRACE_ID + 1]);
    CHECK(c.w[FWS_A_SPAN_ID] != p.w[FWS_A_SPAN_ID]);
    fwdscope_span_end(child, 0);

    /* The parent's slot is the one that the next child gets: it must not be its own parent. */
    fwdscope_span_end(parent, 0);
    const fwdscope_span orphan = fwdscope_span_child(parent, "o", FWDSCOPE_SPAN_CLIENT, 1);
    CHECK(orphan.id != 0);
    c = active_read(&peek, 0);
    CHECK_EQUAL(c.w[FWS_A_STATE], 1);
    CHECK_EQUAL(c.w[FWS_A_PARENT_ID], 0);
    CHECK(c.w[FWS_A_TRACE_ID] != p.w[FWS_A_TRACE_ID]);
}

static void stale_handles_do_nothing(void)
{
    case_open();
    const struct peek peek = peek_now();
    const struct fwdscope_attribute attribute = fwdscope_string("k", "v");
    const fwdscope_span old = span_start();
    fwdscope_span_end(old, 0);
    const fwdscope_span fresh = fwdscope_span_start("fresh", FWDSCOPE_SPAN_SERVER, 7);
    CHECK(fresh.id != old.id);
    const struct active before = active_read(&peek, 0);
    fwdscope_span_set(old, &attribute, 1);
    fwdscope_span_stage(old, "scan");
    fwdscope_span_status(old, FWDSCOPE_STATUS_ERROR, "x");
    fwdscope_span_end(old, 0);
    const struct active after = active_read(&peek, 0);
    CHECK(memcmp(&before, &after, sizeof before) == 0); /* not even the sequence moved */
    CHECK_EQUAL(finished_read(&peek).count, 1);
}

static void full_table(void)
{
    struct fwdscope_options options = case_options();
    options.active_spans = 4;
    CHECK(fwdscope_open(&options));
    const struct peek peek = peek_now();
    fwdscope_span spans[4];
    for (int i = 0; i < 4; i++)
        CHECK((spans[i] = span_start()).id != 0);
    CHECK_EQUAL(span_start().id, 0);
    CHECK_EQUAL(fwdscope_span_child(spans[0], "c", FWDSCOPE_SPAN_CLIENT, 0).id, 0);
    CHECK_EQUAL(peek_header(&peek, FWS_H_SPANS_REFUSED), 2);
    fwdscope_span_end(spans[2], 0);
    CHECK(span_start().id != 0);
    CHECK_EQUAL(active_count(&peek), 4);
    CHECK_EQUAL(peek_header(&peek, FWS_H_SPANS_REFUSED), 2);
}

enum { IDS = 100000, ID_THREADS = 10 };

struct ids {
    uint64_t spans[IDS], traces[IDS];
    size_t count;
};

static void ids_take(void *arg, const uint64_t *record, size_t words)
{
    struct ids *ids = arg;
    CHECK(words >= FWS_REC_WORDS + FWS_S_WORDS && ids->count < IDS);
    ids->spans[ids->count] = record[FWS_REC_WORDS + FWS_S_SPAN_ID];
    ids->traces[ids->count++] = record[FWS_REC_WORDS + FWS_S_TRACE_ID];
}

static int words_order(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void *spans_start_and_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < IDS / ID_THREADS; i++)
        fwdscope_span_end(span_start(), 0);
    return NULL;
}

/* From many lanes and lane 0: no id is zero, none comes twice. */
static void ids_are_unique(void)
{
    static struct ids ids;
    pthread_t threads[ID_THREADS];
    struct fwdscope_options options = case_options();
    options.span_ring_bytes = 16 << 20;
    options.lanes = 9; /* two of the threads meet in lane 0 */
    CHECK(fwdscope_open(&options));
    for (int i = 0; i < ID_THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, spans_start_and_end, NULL) == 0);
    for (int i = 0; i < ID_THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const struct peek peek = peek_now();
    const uint64_t lost = peek_records(&peek, FWS_SECTION_SPAN_RINGS, ids_take, &ids);
    CHECK_EQUAL(ids.count + lost + peek_lanes_sum(&peek, FWS_LANE_SPANS_DROPPED) +
                    peek_header(&peek, FWS_H_SPANS_REFUSED),
                IDS);
    CHECK(ids.count > IDS / 2);
    qsort(ids.spans, ids.count, sizeof *ids.spans, words_order);
    qsort(ids.traces, ids.count, sizeof *ids.traces, words_order);
    CHECK(ids.spans[0] != 0 && ids.traces[0] != 0);
    for (size_t i = 1; i < ids.count; i++)
        CHECK(ids.spans[i] != ids.spans[i - 1] && ids.traces[i] != ids.traces[i - 1]);
    CHECK_EQUAL(active_count(&peek), 0);
}

/* Every slot comes back: the free list loses none, whatever the threads did. */
static void slots_come_back(void)
{
    static fwdscope_span spans[256];
    pthread_t threads[8];
    case_open();
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, spans_start_and_end, NULL) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < 256; i++)
        CHECK((spans[i] = span_start()).id != 0);
    CHECK_EQUAL(span_start().id, 0);
}

static void *span_end_elsewhere(void *arg)
{
    const fwdscope_span *span = arg;
    const struct fwdscope_attribute attribute = fwdscope_bool("there", true);
    fwdscope_span_set(*span, &attribute, 1);
    fwdscope_span_end(*span, 2000);
    return NULL;
}

static void span_is_handed_to_another_thread(void)
{
    case_open();
    const struct peek peek = peek_now();
    const struct fwdscope_attribute attribute = fwdscope_bool("here", true);
    for (uint64_t i = 1; i <= 100; i++) {
        pthread_t thread;
        fwdscope_span span = span_start();
        fwdscope_span_set(span, &attribute, 1);
        CHECK(pthread_create(&thread, NULL, span_end_elsewhere, &span) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        const struct finished f = finished_read(&peek);
        CHECK_EQUAL(f.count, i);
        CHECK_EQUAL(FWS_SPAN_ATTRS(f.w[FWS_S_META]), 2);
    }
    CHECK_EQUAL(active_count(&peek), 0);
}

/* ---- attributes of spans ----------------------------------------------------------------------
 */

static void set_string(fwdscope_span span, const char *key, const char *value)
{
    const struct fwdscope_attribute attribute = fwdscope_string(key, value);
    fwdscope_span_set(span, &attribute, 1);
}

/* That slot 0 holds that value under that key, and `count` attributes in all. */
static void attribute_check(const struct peek *peek, const char *key, const char *value,
                            size_t count)
{
    const struct active a = active_read(peek, 0);
    struct fws_attr attr;
    size_t found;
    CHECK(attribute_find(&a.w[FWS_A_ATTRS], a.w[FWS_A_ATTR_WORDS], key, &attr, &found));
    CHECK_EQUAL(found, count);
    CHECK_EQUAL(FWS_SPAN_ATTRS(a.w[FWS_A_META]), count);
    CHECK_EQUAL(attr.value_bytes, strlen(value));
    CHECK(memcmp(attr.value, value, attr.value_bytes) == 0);
}

static void attributes_are_replaced(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    set_string(span, "first", "one");
    set_string(span, "middle", "two");
    set_string(span, "last", "three");
    attribute_check(&peek, "middle", "two", 3);
    set_string(span, "middle", "TWO"); /* the same size */
    attribute_check(&peek, "middle", "TWO", 3);
    set_string(span, "middle", text_of(100)); /* longer */
    attribute_check(&peek, "middle", text_of(100), 3);
    set_string(span, "first", ""); /* shorter */
    attribute_check(&peek, "first", "", 3);
    set_string(span, "last", text_of(1024));
    attribute_check(&peek, "last", text_of(1024), 3);
    attribute_check(&peek, "middle", text_of(100), 3);
    const struct fwdscope_attribute number = fwdscope_int("middle", -5); /* another type */
    fwdscope_span_set(span, &number, 1);
    const struct active a = active_read(&peek, 0);
    struct fws_attr attr;
    size_t count;
    CHECK(attribute_find(&a.w[FWS_A_ATTRS], a.w[FWS_A_ATTR_WORDS], "middle", &attr, &count));
    CHECK(attr.type == FWS_ATTR_INT && (int64_t)attr.number == -5 && count == 3);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 0);

    fwdscope_span_end(span, 0);
    const struct finished f = finished_read(&peek);
    CHECK_EQUAL(f.w[FWS_S_ATTR_WORDS], a.w[FWS_A_ATTR_WORDS]);
    CHECK(memcmp(&f.w[FWS_S_WORDS + 1], &a.w[FWS_A_ATTRS], f.w[FWS_S_ATTR_WORDS] * 8) == 0);
}

static void attribute_count_is_bounded(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    char key[16];
    for (int i = 0; i < 33; i++) {
        snprintf(key, sizeof key, "k%d", i);
        set_string(span, key, "v");
    }
    attribute_check(&peek, "k31", "v", 32);
    CHECK_EQUAL(FWS_SPAN_DROPPED(active_read(&peek, 0).w[FWS_A_META]), 1);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 1);
    set_string(span, "k7", "replaced although the table is full");
    attribute_check(&peek, "k7", "replaced although the table is full", 32);
    CHECK_EQUAL(FWS_SPAN_DROPPED(active_read(&peek, 0).w[FWS_A_META]), 1);
}

static void attribute_bytes_are_bounded(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    set_string(span, "a", text_of(1000)); /* 127 words */
    set_string(span, "b", text_of(1008)); /* 128 words: 255 of 256 */
    attribute_check(&peek, "b", text_of(1008), 2);
    set_string(span, "c", "");
    set_string(span, "d", "no room");
    CHECK_EQUAL(FWS_SPAN_DROPPED(active_read(&peek, 0).w[FWS_A_META]), 2);
    /* What replaces takes the room of what it replaces. */
    set_string(span, "a", text_of(999));
    attribute_check(&peek, "a", text_of(999), 2);
    set_string(span, "b", text_of(1016)); /* 256 words, the last */
    attribute_check(&peek, "b", text_of(1016), 2);
    set_string(span, "a", text_of(1001)); /* one word too many: the old value stays */
    attribute_check(&peek, "a", text_of(999), 2);
    attribute_check(&peek, "b", text_of(1016), 2);
    CHECK_EQUAL(FWS_SPAN_DROPPED(active_read(&peek, 0).w[FWS_A_META]), 3);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 3);
    set_string(span, "b", "");
    set_string(span, "c", text_of(900));
    attribute_check(&peek, "c", text_of(900), 3);
}

static void bad_attributes_are_dropped(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    struct fwdscope_attribute bad[4] = {fwdscope_string(NULL, "v"), fwdscope_string("", "v"),
                                        fwdscope_string(text_of(256), "v"),
                                        fwdscope_string("type", "v")};
    bad[3].type = (enum fwdscope_attribute_type)9;
    fwdscope_span_set(span, bad, 4);
    struct active a = active_read(&peek, 0);
    CHECK_EQUAL(FWS_SPAN_DROPPED(a.w[FWS_A_META]), 4);
    CHECK_EQUAL(a.w[FWS_A_ATTR_WORDS], 0);
    set_string(span, text_of(255), "v");
    attribute_check(&peek, text_of(255), "v", 1);
    set_string(span, "null", NULL); /* NULL reads as "" */
    attribute_check(&peek, "null", "", 2);
}

/* A value that is cut counts once; cut and then dropped counts once too. */
static void cut_values_are_counted_once(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    set_string(span, "a", text_of(1025));
    attribute_check(&peek, "a", text_of(1024), 1);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 1);
    set_string(span, "b", text_of(1025)); /* does not fit beside it */
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 2);
    const struct fwdscope_attribute twice[] = {fwdscope_string("k", "v"),
                                               fwdscope_string("k", text_of(1025))};
    const struct fwdscope_log_record record = {.attributes = twice, .attribute_count = 2};
    fwdscope_log_record(&record);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 3);
}

/* Whoever makes an attribute once and sets a member later means what stands there then. */
static void members_may_be_set_later(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    struct fwdscope_attribute attribute = fwdscope_string("a long key", "a long value");
    attribute.key = "key";
    attribute.value.string = "value";
    fwdscope_span_set(span, &attribute, 1);
    attribute_check(&peek, "key", "value", 1);
    attribute.key = "a key that is longer";
    attribute.value.string = "a value that is longer";
    fwdscope_span_set(span, &attribute, 1);
    attribute_check(&peek, "a key that is longer", "a value that is longer", 2);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_ATTRS_DROPPED), 0);
}

/* ---- logs -------------------------------------------------------------------------------------
 */

struct logged {
    uint64_t count, time, w[FWS_RECORD_WORDS_MAX];
};

static void logged_take(void *arg, const uint64_t *record, size_t words)
{
    struct logged *l = arg;
    CHECK_EQUAL(record[FWS_REC_KIND], FWS_RECORD_LOG);
    l->count++;
    l->time = record[FWS_REC_TIME_UNIX_NS];
    memcpy(l->w, record + FWS_REC_WORDS, (words - FWS_REC_WORDS) * 8);
}

static const struct logged *logged_read(const struct peek *peek)
{
    static struct logged l;
    memset(&l, 0, sizeof l);
    peek_records(peek, FWS_SECTION_LOG_RINGS, logged_take, &l);
    return &l;
}

static void log_line(void)
{
    case_open();
    const struct peek peek = peek_now();
    const fwdscope_span span = span_start();
    const struct fwdscope_attribute attributes[] = {fwdscope_string("a", "b"),
                                                    fwdscope_double("c", 0.5)};
    const struct fwdscope_log_record record = {.severity = FWDSCOPE_WARN,
                                               .severity_text = "warning",
                                               .body = "nul \0 and \xff stay",
                                               .body_bytes = 17,
                                               .time_unix_ns = 77,
                                               .span = span,
                                               .attributes = attributes,
                                               .attribute_count = 2};
    fwdscope_log_record(&record);
    const struct logged *l = logged_read(&peek);
    CHECK_EQUAL(l->count, 1);
    CHECK_EQUAL(l->w[FWS_L_META], FWS_LOG_META(13, 7, 2, 0));
    CHECK_EQUAL(l->w[FWS_L_BODY_BYTES], 17);
    CHECK_EQUAL(l->w[FWS_L_ORIGINAL_BYTES], 17);
    CHECK_EQUAL(l->w[FWS_L_TIME_UNIX_NS], 77);
    CHECK(l->time > UINT64_C(1600000000000000000)); /* when the shim took it */
    CHECK(memcmp(&l->w[FWS_L_WORDS], "warning", 7) == 0);
    CHECK(memcmp(&l->w[FWS_L_WORDS + 1], "nul \0 and \xff stay", 17) == 0); /* bytes as they are */
    const struct active a = active_read(&peek, 0);
    CHECK_EQUAL(l->w[FWS_L_TRACE_ID], a.w[FWS_A_TRACE_ID]);
    CHECK_EQUAL(l->w[FWS_L_TRACE_ID + 1], a.w[FWS_A_TRACE_ID + 1]);
    CHECK_EQUAL(l->w[FWS_L_SPAN_ID], a.w[FWS_A_SPAN_ID]);

    fwdscope_span_end(span, 0);
    fwdscope_log_record(&record); /* the span has ended: no link */
    l = logged_read(&peek);
    CHECK_EQUAL(l->w[FWS_L_TRACE_ID] | l->w[FWS_L_TRACE_ID + 1] | l->w[FWS_L_SPAN_ID], 0);
    fwdscope_log(FWDSCOPE_INFO, "now", 3);
    l = logged_read(&peek);
    CHECK_EQUAL(l->w[FWS_L_TIME_UNIX_NS], l->time);
    CHECK_EQUAL(l->count, 3);
    fwdscope_log(FWDSCOPE_INFO, "", 0);
    CHECK_EQUAL(logged_read(&peek)->w[FWS_L_BODY_BYTES], 0);
}

static void severities(void)
{
    case_open();
    const struct peek peek = peek_now();
    static const int given[] = {0, 1, 24, 25, -1, 1 << 20};
    static const uint64_t shown[] = {0, 1, 24, 0, 0, 0};
    for (size_t i = 0; i < 6; i++) {
        fwdscope_log((enum fwdscope_severity)given[i], "x", 1);
        CHECK_EQUAL(FWS_LOG_SEVERITY(logged_read(&peek)->w[FWS_L_META]), shown[i]);
    }
}

static void long_lines_are_cut_at_a_character(void)
{
    static char line[FWS_LOG_BYTES_MAX + 8];
    case_open();
    const struct peek peek = peek_now();
    memset(line, 'x', sizeof line);
    fwdscope_log(FWDSCOPE_INFO, line, FWS_LOG_BYTES_MAX);
    CHECK_EQUAL(logged_read(&peek)->w[FWS_L_BODY_BYTES], FWS_LOG_BYTES_MAX);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_LOGS_CUT), 0);
    /* A character of 1 to 4 bytes that begins 0 to 3 bytes before the limit. */
    static const char *const characters[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    uint64_t cut = 0;
    for (size_t bytes = 1; bytes <= 4; bytes++)
        for (size_t before = 0; before <= 3; before++) {
            memset(line, 'x', sizeof line);
            memcpy(line + FWS_LOG_BYTES_MAX - before, characters[bytes - 1], bytes);
            fwdscope_log(FWDSCOPE_INFO, line, FWS_LOG_BYTES_MAX + 4);
            const struct logged *l = logged_read(&peek);
            const size_t kept =
                bytes > before ? FWS_LOG_BYTES_MAX - before : (size_t)FWS_LOG_BYTES_MAX;
            CHECK_EQUAL(l->w[FWS_L_BODY_BYTES], kept);
            CHECK_EQUAL(l->w[FWS_L_ORIGINAL_BYTES], FWS_LOG_BYTES_MAX + 4);
            CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_LOGS_CUT), ++cut);
        }
    memset(line, 0x80, sizeof line); /* no UTF-8 at all: cut hard */
    fwdscope_log(FWDSCOPE_INFO, line, sizeof line);
    CHECK_EQUAL(logged_read(&peek)->w[FWS_L_BODY_BYTES], FWS_LOG_BYTES_MAX);
}

/* Everything at its largest is the longest record that the layout knows. */
static void longest_record_fits(void)
{
    struct fwdscope_options options = case_options();
    options.log_ring_bytes = 65536; /* the smallest ring */
    CHECK(fwdscope_open(&options));
    const struct peek peek = peek_now();
    struct fwdscope_attribute attributes[40];
    for (int i = 0; i < 40; i++)
        attributes[i] = fwdscope_string(text_of((size_t)i % 32 + 1), text_of(26));
    const struct fwdscope_log_record record = {.severity_text = text_of(300),
                                               .body = text_of(20000),
                                               .body_bytes = 20000,
                                               .attributes = attributes,
                                               .attribute_count = 40};
    for (int i = 0; i < 50; i++)
        fwdscope_log_record(&record);
    const struct logged *l = logged_read(&peek);
    CHECK(l->count >= 3);
    CHECK_EQUAL(l->w[FWS_L_BODY_BYTES], FWS_LOG_BYTES_MAX);
    CHECK_EQUAL(FWS_LOG_TEXT_BYTES(l->w[FWS_L_META]), 255);
    CHECK_EQUAL(FWS_LOG_ATTRS(l->w[FWS_L_META]) + FWS_LOG_DROPPED(l->w[FWS_L_META]), 40);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_LOGS_CUT), 50);
}

/* ---- many threads -----------------------------------------------------------------------------
 */

static void count_take(void *arg, const uint64_t *record, size_t words)
{
    (void)record;
    (void)words;
    ++*(uint64_t *)arg;
}

/* Read, overwritten and dropped log lines: all that were written. */
static uint64_t logs_accounted(const struct peek *peek)
{
    uint64_t read = 0;
    const uint64_t lost = peek_records(peek, FWS_SECTION_LOG_RINGS, count_take, &read);
    CHECK(read > 0);
    return read + lost + peek_lanes_sum(peek, FWS_LANE_LOGS_DROPPED);
}

enum { LOG_THREADS = 16, LOGS = 5000 };

static void *logger(void *arg)
{
    (void)arg;
    for (int i = 0; i < LOGS; i++)
        fwdscope_log(FWDSCOPE_INFO, "a line of some length", (size_t)i % 21);
    return NULL;
}

static void log_lines_of_many_threads_are_accounted(void)
{
    pthread_t threads[LOG_THREADS];
    struct fwdscope_options options = case_options();
    options.lanes = 4; /* most threads meet in lane 0 */
    CHECK(fwdscope_open(&options));
    for (int i = 0; i < LOG_THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, logger, NULL) == 0);
    for (int i = 0; i < LOG_THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const struct peek peek = peek_now();
    CHECK_EQUAL(logs_accounted(&peek), LOG_THREADS * LOGS);
}

static fws_word stop;

static void *everything(void *arg)
{
    const fwdscope_counter *counter = arg;
    while (fws_peek(&stop) == 0) {
        const fwdscope_span span = span_start();
        fwdscope_counter_add(*counter, 1);
        set_string(span, "k", "v");
        fwdscope_log(FWDSCOPE_INFO, "line", 4);
        fwdscope_span_end(span, 0);
        fwdscope_config_publish_redacted("p", "text", 4);
        (void)fwdscope_counter_register(&(struct fwdscope_instrument){.name = "c"});
    }
    return NULL;
}

/* Closing, and opening again, under threads that know nothing of it. */
static void close_while_others_write(void)
{
    pthread_t threads[10];
    case_open();
    fwdscope_counter counter =
        fwdscope_counter_register(&(struct fwdscope_instrument){.name = "c"});
    for (int i = 0; i < 10; i++)
        CHECK(pthread_create(&threads[i], NULL, everything, &counter) == 0);
    for (int life = 0; life < 12; life++) {
        const struct timespec moment = {.tv_nsec = 2000000};
        nanosleep(&moment, NULL); /* not awaited: any moment of theirs will do */
        fwdscope_close(FWDSCOPE_CLOSED, "");
        CHECK(!fwdscope_is_on());
        case_open();
    }
    const struct peek peek = peek_now();
    uint64_t read = 0;
    while (read == 0) /* and they write into the last life */
        peek_records(&peek, FWS_SECTION_LOG_RINGS, count_take, &read);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    fws_put(&stop, 1);
    for (int i = 0; i < 10; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

/* ---- signals ----------------------------------------------------------------------------------
 */

static fwdscope_counter storm_counter;
static fwdscope_histogram storm_histogram;
static fwdscope_span storm_span;
static volatile sig_atomic_t storms;

static void one_of_each(void)
{
    fwdscope_counter_add(storm_counter, 1);
    fwdscope_histogram_record(storm_histogram, 1);
    fwdscope_log(FWDSCOPE_WARN, "a line", 6);
    fwdscope_span_end(fwdscope_span_start("storm", FWDSCOPE_SPAN_INTERNAL, 1), 2);
}

static void storm_handler(int number)
{
    (void)number;
    const int saved = errno;
    one_of_each();
    storms = storms + 1;
    errno = saved;
}

static void storm_begin(void (*handler)(int number))
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    const struct itimerval every = {.it_interval = {.tv_usec = 50}, .it_value = {.tv_usec = 50}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
}

static void storm_end(void)
{
    const struct itimerval never = {.it_value = {.tv_sec = 0}};
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(signal(SIGALRM, SIG_IGN) != SIG_ERR);
}

/* A handler that writes while its own thread is inside the shim: nothing waits, nothing is lost. */
static void signal_storm(void)
{
    static const double bounds[] = {1};
    case_open();
    storm_counter = fwdscope_counter_register(&(struct fwdscope_instrument){.name = "c"});
    storm_histogram =
        fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "h"}, bounds, 1);
    const struct peek peek = peek_now();
    uint64_t calls = 0, lane0 = 0;
    storm_begin(storm_handler);
    /* Until enough handlers came on top of a call: that is what lane 0 saw. */
    for (; (storms < 2000 || lane0 < 20) && calls < 5000000; calls++) {
        one_of_each();
        if (calls % 1024 == 0)
            lane0 = fws_peek(peek_entry(&peek, FWS_SECTION_VALUES, 0,
                                        fws_peek(&peek_instrument(&peek, "c", 0)[FWS_I_SLOT])));
    }
    storm_end();
    calls += (uint64_t)storms;
    fprintf(stderr, "%d handlers, %llu of them inside a call\n", (int)storms,
            (unsigned long long)lane0);
    CHECK(storms > 0 && lane0 > 0);
    CHECK_EQUAL(peek_sum(&peek, "c", 0), calls);
    CHECK_EQUAL(peek_sum(&peek, "h", 2) + peek_sum(&peek, "h", 3), calls);
    CHECK(peek_sum_double(&peek, "h", 1) == (double)calls);
    CHECK_EQUAL(logs_accounted(&peek), calls);
    uint64_t read = 0;
    const uint64_t lost = peek_records(&peek, FWS_SECTION_SPAN_RINGS, count_take, &read);
    CHECK_EQUAL(read + lost + peek_lanes_sum(&peek, FWS_LANE_SPANS_DROPPED), calls);
    CHECK_EQUAL(active_count(&peek), 0);
}

/* Values of many sizes under a few keys, so that the block is always on the move. */
static void span_shuffle(unsigned round)
{
    static const char *const keys[] = {"a", "second", "a much longer third key", "d"};
    set_string(storm_span, keys[round % 4], letters + 20000 - round * 7919 % 700);
}

static void span_handler(int number)
{
    (void)number;
    span_shuffle((unsigned)storms);
    fwdscope_span_stage(storm_span, "handler");
    fwdscope_span_status(storm_span, FWDSCOPE_STATUS_ERROR, "handler");
    storms = storms + 1;
}

/* A handler on the very span that its thread is changing: the call does nothing, the block of
 * attributes stays a block of attributes. */
static void signal_storm_on_one_span(void)
{
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    case_open();
    const struct peek peek = peek_now();
    (void)text_of(0);
    storm_span = span_start();
    storm_begin(span_handler);
    for (unsigned round = 0; storms < 3000; round++) {
        span_shuffle(round);
        fwdscope_span_stage(storm_span, "thread");
        if (round % 64 == 0) {
            CHECK(sigprocmask(SIG_BLOCK, &alarms, NULL) == 0); /* a copy needs a moment's rest */
            const struct active a = active_read(&peek, 0);
            struct fws_attr attr;
            size_t count;
            (void)attribute_find(&a.w[FWS_A_ATTRS], a.w[FWS_A_ATTR_WORDS], "d", &attr, &count);
            CHECK_EQUAL(count, FWS_SPAN_ATTRS(a.w[FWS_A_META]));
            CHECK(sigprocmask(SIG_UNBLOCK, &alarms, NULL) == 0);
        }
    }
    storm_end();
    fwdscope_span_end(storm_span, 0);
    CHECK_EQUAL(finished_read(&peek).count, 1);
}

static void *span_misuser(void *arg)
{
    unsigned round = (unsigned)(uintptr_t)arg;
    while (fws_peek(&stop) == 0)
        span_shuffle(round += 3);
    return NULL;
}

/* Two threads on one span is the host's mistake, and must not become a crash. */
static void two_threads_on_one_span(void)
{
    pthread_t threads[2];
    case_open();
    const struct peek peek = peek_now();
    (void)text_of(0);
    storm_span = span_start();
    for (uintptr_t i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, span_misuser, (void *)i) == 0);
    for (int i = 0; i < 20000; i++) {
        const struct fwdscope_log_record record = {
            .body = "x", .body_bytes = 1, .span = storm_span};
        fwdscope_log_record(&record);
        fwdscope_span_end(fwdscope_span_child(storm_span, "c", FWDSCOPE_SPAN_CLIENT, 0), 0);
    }
    fws_put(&stop, 1);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const struct active a = active_read(&peek, 0);
    struct fws_attr attr;
    size_t count;
    (void)attribute_find(&a.w[FWS_A_ATTRS], a.w[FWS_A_ATTR_WORDS], "d", &attr, &count);
    CHECK_EQUAL(count, FWS_SPAN_ATTRS(a.w[FWS_A_META]));
}

static _Atomic uint64_t shared_span; /* the handle that one thread ends and others still use */
static fws_word stale_rounds;        /* times that the others used it */

static void *stale_user(void *arg)
{
    (void)arg;
    while (fws_peek(&stop) == 0) {
        const fwdscope_span span = {atomic_load_explicit(&shared_span, memory_order_acquire)};
        const struct fwdscope_log_record record = {.body = "x", .body_bytes = 1, .span = span};
        fwdscope_log_record(&record);
        fwdscope_span_end(fwdscope_span_child(span, "c", FWDSCOPE_SPAN_CLIENT, 0), 0);
        fws_add(&stale_rounds, 1);
    }
    return NULL;
}

static void linked_take(void *arg, const uint64_t *record, size_t words)
{
    const uint64_t *w = record + FWS_REC_WORDS;
    uint64_t *linked = arg;
    (void)words;
    /* One span's ids or none at all. Trace and span id are drawn one after the other. */
    CHECK((w[FWS_L_SPAN_ID] == 0) == (w[FWS_L_TRACE_ID] == 0));
    CHECK((w[FWS_L_SPAN_ID] == 0) == (w[FWS_L_TRACE_ID + 1] == 0));
    *linked += w[FWS_L_SPAN_ID] != 0;
}

/* Handles that go stale while they are used: clean under a thread sanitizer. */
static void spans_that_end_elsewhere(void)
{
    pthread_t threads[3];
    case_open();
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, stale_user, NULL) == 0);
    for (int i = 0; i < 20000; i++) {
        const fwdscope_span span = span_start();
        atomic_store_explicit(&shared_span, span.id, memory_order_release);
        /* Now and then until one of the three has surely linked to it, mostly not so long. */
        const uint64_t rounds = fws_peek(&stale_rounds);
        while (i % 1000 == 999 && fws_peek(&stale_rounds) - rounds < 8) {
        }
        fwdscope_span_end(span, 0);
    }
    fws_put(&stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const struct peek peek = peek_now();
    uint64_t linked = 0;
    peek_records(&peek, FWS_SECTION_LOG_RINGS, linked_take, &linked);
    CHECK(linked > 0);
    CHECK_EQUAL(active_count(&peek), 0);
}

int main(void)
{
    static const struct shim_case cases[] = {
        {"life of a span", span_life},
        {"end before start", end_before_start},
        {"long names and strange kinds", long_names_and_strange_kinds},
        {"child of a parent", child_of_a_parent},
        {"stale handles do nothing", stale_handles_do_nothing},
        {"full table", full_table},
        {"ids are unique", ids_are_unique},
        {"slots come back", slots_come_back},
        {"span is handed to another thread", span_is_handed_to_another_thread},
        {"attributes are replaced", attributes_are_replaced},
        {"attribute count is bounded", attribute_count_is_bounded},
        {"attribute bytes are bounded", attribute_bytes_are_bounded},
        {"bad attributes are dropped", bad_attributes_are_dropped},
        {"cut values are counted once", cut_values_are_counted_once},
        {"members may be set later", members_may_be_set_later},
        {"log line", log_line},
        {"severities", severities},
        {"long lines are cut at a character", long_lines_are_cut_at_a_character},
        {"longest record fits", longest_record_fits},
        {"log lines of many threads are accounted", log_lines_of_many_threads_are_accounted},
        {"close while others write", close_while_others_write},
        {"signal storm", signal_storm},
        {"signal storm on one span", signal_storm_on_one_span},
        {"two threads on one span", two_threads_on_one_span},
        {"spans that end elsewhere", spans_that_end_elsewhere},
    };
    return shim_cases_run("shim_records", cases, sizeof cases / sizeof *cases);
}
