/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot against the real shim (what is written comes out) and against images: files that a
 * shim once wrote and that the test then bends, with and without a living writer's lock.
 */
#include "fwdscope.h"
#include "snapshot.h"

#include "shmlayout/region.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

enum { WHY_BYTES = 1024, PATH_BYTES = 512 };

static char dir[64];

/* ---- helpers --------------------------------------------------------------------------------- */

static uint64_t clock_unix_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static struct region *region_of(const char *path)
{
    char why[WHY_BYTES] = "";
    struct region *region;
    const enum attach_result result = region_open(path, &region, NULL, why, sizeof why);
    if (result != ATTACH_OK)
        fail_msg("region_open: %d: %s", (int)result, why);
    return region;
}

static const struct snapshot *sample(struct region *region)
{
    return region_sample(region, clock_unix_ns(), 1);
}

static const struct span *active_spans(struct region *region, const struct snapshot *s)
{
    size_t count;
    const struct span *spans = region_active_spans(region, &count);
    assert_int_equal(count, s->active_span_count);
    return spans;
}

static size_t instrument_find(const struct snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->instrument_count; i++)
        if (strcmp(snapshot->instruments[i].name, name) == 0)
            return i;
    fail_msg("no instrument %s", name);
    return 0;
}

static const uint64_t *values_of(const struct snapshot *snapshot, const char *name)
{
    return snapshot->values + snapshot->instruments[instrument_find(snapshot, name)].value_index;
}

static int absent_of(const struct snapshot *snapshot, const char *name)
{
    return snapshot->values_absent[instrument_find(snapshot, name)];
}

static double double_of(uint64_t word)
{
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static const struct section_report *report_of(const struct region *region, unsigned kind)
{
    const struct section_report *reports;
    const size_t count = region_sections(region, &reports);
    for (size_t i = 0; i < count; i++)
        if (reports[i].kind == kind)
            return &reports[i];
    fail_msg("section %u is not listed", kind);
    return NULL;
}

/* What a drain handed out, decoded. */
struct drained {
    struct arena *arena;
    size_t spans, logs, undecoded;
    uint64_t first_log, last_log; /* the numbers in bodies of the form "line N" */
    struct span last_span;
    struct log_record last_record;
};

static void drained_take(void *arg, const struct record *record)
{
    struct drained *d = arg;
    arena_reset(d->arena);
    if (record->kind == RECORD_SPAN && record_decode_span(d->arena, record, &d->last_span)) {
        d->spans++;
        assert_true(d->last_span.end_unix_ns >= d->last_span.start_unix_ns);
    } else if (record->kind == RECORD_LOG && record_decode_log(d->arena, record, &d->last_record)) {
        unsigned long long number;
        if (sscanf(d->last_record.body, "line %llu", &number) == 1) {
            if (d->logs == 0)
                d->first_log = number;
            else
                assert_int_equal(number, d->last_log + 1);
            d->last_log = number;
        }
        d->logs++;
    } else {
        d->undecoded++;
    }
}

static struct drained drained_new(void)
{
    struct drained d = {.arena = arena_new((size_t)1 << 20)};
    assert_non_null(d.arena);
    return d;
}

static void attribute_check(const struct attribute *a, const char *key, enum attribute_type type)
{
    assert_string_equal(a->key, key);
    assert_int_equal(a->type, type);
}

/* ---- a shim ---------------------------------------------------------------------------------- */

/* At most 16 times a process. */
static void shim_open_sized(const char *instance, uint32_t active_spans)
{
    const struct fwdscope_attribute resource[] = {fwdscope_string("zone", "a"),
                                                  fwdscope_int("rack", 7)};
    const struct fwdscope_options options = {
        .service_name = "tester",
        .service_version = "1.2",
        .instance = instance,
        .instance_id = "one",
        .metric_prefix = "pre",
        .resource = resource,
        .resource_count = 2,
        .directory = dir,
        .lanes = 4,
        .instruments = 32,
        .active_spans = active_spans,
        .log_ring_bytes = 64 << 10,
        .span_ring_bytes = 16 << 10,
        .heartbeat_interval_ms = 500,
    };
    if (!fwdscope_open(&options))
        fail_msg("fwdscope_open: %s", fwdscope_reason());
}

static void shim_open(const char *instance)
{
    shim_open_sized(instance, 4);
}

static struct region *shim_region(void)
{
    return region_of(fwdscope_path());
}

static void lines_write(uint64_t from, uint64_t to)
{
    char text[32];
    for (uint64_t i = from; i < to; i++) {
        const int n = snprintf(text, sizeof text, "line %llu", (unsigned long long)i);
        fwdscope_log(FWDSCOPE_INFO, text, (size_t)n);
    }
}

/* ---- images ---------------------------------------------------------------------------------- */

/* A region that a shim filled with some of everything, as it stood in its file. */
static uint64_t *image;
static size_t image_bytes;

static uint64_t *image_read(const char *path, size_t *bytes)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    uint64_t *words = malloc((size_t)st.st_size);
    assert_non_null(words);
    assert_int_equal(read(fd, words, (size_t)st.st_size), st.st_size);
    close(fd);
    *bytes = (size_t)st.st_size;
    return words;
}

static void image_fill(void)
{
    const double bounds[] = {1, 2, 3};
    struct fwdscope_instrument what = {.name = "first"};
    fwdscope_counter_add(fwdscope_counter_register(&what), 11);
    what.name = "second";
    fwdscope_gauge_set(fwdscope_gauge_register(&what), 22);
    what.name = "third";
    fwdscope_histogram_record(fwdscope_histogram_register(&what, bounds, 3), 2.5);
    what.name = "fourth";
    fwdscope_counter_add(fwdscope_counter_register(&what), 44);
    fwdscope_pipeline p = fwdscope_pipeline_register("p", 0);
    fwdscope_component_progress(fwdscope_input_register(p, "in", "file", 0), 5, 50);
    const struct fwdscope_batch batch = {.batches = 6, .rows = 60};
    fwdscope_batch_add(p, &batch);
    const struct fwdscope_attribute attribute = fwdscope_string("key", "value");
    fwdscope_span done = fwdscope_span_start("done", FWDSCOPE_SPAN_INTERNAL, 0);
    fwdscope_span_set(done, &attribute, 1);
    fwdscope_span_end(done, 0);
    fwdscope_span open_span = fwdscope_span_start("open", FWDSCOPE_SPAN_INTERNAL, 0);
    fwdscope_span_set(open_span, &attribute, 1);
    fwdscope_config_publish_redacted("c.yaml", "a: 1\n", 5);
    lines_write(0, 20);
}

static uint64_t *image_copy(void)
{
    uint64_t *words = malloc(image_bytes);
    assert_non_null(words);
    memcpy(words, image, image_bytes);
    return words;
}

static void image_write(const char *path, const uint64_t *words, size_t bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    if (bytes > 0) /* once: the file system has room */
        assert_int_equal(write(fd, words, bytes), bytes);
    close(fd);
}

static void path_make(char out[PATH_BYTES], const char *name)
{
    snprintf(out, PATH_BYTES, "%s/%s", dir, name);
}

/* Attaches to words as a dead region. */
static struct region *image_open(const uint64_t *words, size_t bytes)
{
    char path[PATH_BYTES];
    path_make(path, "image");
    image_write(path, words, bytes);
    return region_of(path);
}

/* The image's directory entry of a kind. */
static uint64_t *entry_of(uint64_t *words, unsigned kind)
{
    uint64_t *entry = words + words[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES;
    for (uint64_t i = 0; i < words[FWS_H_DIR_COUNT]; i++, entry += FWS_D_WORDS)
        if (entry[FWS_D_KIND] == kind)
            return entry;
    fail_msg("the image has no section %u", kind);
    return NULL;
}

static uint64_t *section_of(uint64_t *words, unsigned kind)
{
    return words + entry_of(words, kind)[FWS_D_OFFSET] / FWS_WORD_BYTES;
}

/* The lane of a section that the writer of the image used: its first own one. */
static uint64_t *lane_of(uint64_t *words, unsigned kind)
{
    const uint64_t *entry = entry_of(words, kind);
    return section_of(words, kind) + entry[FWS_D_STRIDE] * entry[FWS_D_COUNT] / FWS_WORD_BYTES;
}

/* The report of `kind` must give a reason with `expected` in it. */
static void refused_check(const struct region *region, unsigned kind, const char *expected)
{
    const struct section_report *report = report_of(region, kind);
    if (report->refused == NULL || strstr(report->refused, expected) == NULL)
        fail_msg("%s: %s, not %s", report->name,
                 report->refused != NULL ? report->refused : "served", expected);
}

/* ---- what a shim writes comes out ------------------------------------------------------------ */

/* After each test that opens a shim, so that one that fails does not take the next ones along. */
static int shim_teardown(void **state)
{
    (void)state;
    fwdscope_close(FWDSCOPE_CLOSED, "");
    return 0;
}

static void *add_from_thread(void *arg)
{
    fwdscope_counter_add(*(fwdscope_counter *)arg, 5);
    return NULL;
}

static void test_identity(void **state)
{
    (void)state;
    shim_open("identity");
    struct region *region = shim_region();
    const struct identity *identity = region_identity(region);
    size_t count;

    assert_string_equal(identity->path, fwdscope_path());
    assert_int_equal(identity->major, 1);
    assert_int_equal(identity->minor, 0);
    assert_int_equal(strlen(identity->uuid), 32);
    assert_non_null(strstr(fwdscope_path(), ".fwdscope"));
    assert_int_equal(identity->pid, getpid());
    assert_int_equal(identity->uid, geteuid());
    assert_int_equal(identity->generation, 1);
    assert_int_equal(identity->heartbeat_interval_ns, SECOND / 2);
    assert_string_equal(identity->service_name, "tester");
    assert_string_equal(identity->service_version, "1.2");
    assert_string_equal(identity->instance, "identity");
    assert_string_equal(region_metric_prefix(region), "pre");

    const struct attribute *resource = region_resource(region, &count);
    assert_int_equal(count, 4);
    attribute_check(&resource[0], "service.instance.id", ATTRIBUTE_STRING);
    assert_string_equal(resource[0].string, "one");
    attribute_check(&resource[2], "rack", ATTRIBUTE_INT);
    assert_int_equal(resource[2].integer, 7);
    attribute_check(&resource[3], "process.executable.name", ATTRIBUTE_STRING);
    assert_string_equal(resource[3].string, "test_snapshot");

    const struct section_report *reports;
    const size_t sections = region_sections(region, &reports);
    assert_int_equal(sections, 12);
    for (size_t i = 0; i < sections; i++)
        assert_null(reports[i].refused);
    region_close(&region);
    assert_null(region);
}

static void test_values(void **state)
{
    (void)state;
    shim_open("values");
    const struct fwdscope_attribute attribute = fwdscope_bool("hot", true);
    struct fwdscope_instrument what = {.name = "c",
                                       .unit = "By",
                                       .description = "a counter",
                                       .attributes = &attribute,
                                       .attribute_count = 1};
    const double bounds[] = {1, 10};
    fwdscope_counter counter = fwdscope_counter_register(&what);
    what = (struct fwdscope_instrument){.name = "u"};
    fwdscope_updown updown = fwdscope_updown_register(&what);
    what.name = "t";
    fwdscope_total total = fwdscope_total_register(&what);
    what.name = "g";
    fwdscope_gauge gauge = fwdscope_gauge_register(&what);
    what.name = "i";
    fwdscope_gauge integer = fwdscope_int_gauge_register(&what);
    what.name = "h";
    fwdscope_histogram histogram = fwdscope_histogram_register(&what, bounds, 2);

    struct region *region = shim_region();
    const struct snapshot *s = sample(region);
    assert_int_equal(s->instrument_count, 6);
    assert_int_equal(absent_of(s, "c"), 0);
    assert_int_equal(values_of(s, "c")[0], 0);
    assert_int_equal(absent_of(s, "t"), 1);
    assert_int_equal(absent_of(s, "g"), 1);
    assert_int_equal(absent_of(s, "h"), 0);
    const struct instrument *first = &s->instruments[0];
    assert_int_equal(first->kind, INSTRUMENT_COUNTER);
    assert_string_equal(first->unit, "By");
    assert_string_equal(first->description, "a counter");
    assert_int_equal(first->attribute_count, 1);
    attribute_check(&first->attributes[0], "hot", ATTRIBUTE_BOOL);
    assert_true(first->attributes[0].boolean);

    pthread_t threads[6]; /* more than there are lanes: some share lane 0 */
    fwdscope_counter_add(counter, 2);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_from_thread, &counter), 0);
    for (size_t i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    fwdscope_updown_add(updown, -3);
    fwdscope_total_set(total, 99);
    fwdscope_gauge_set(gauge, 2.5);
    fwdscope_gauge_set_int(integer, -4);
    fwdscope_histogram_record(histogram, 0.5);
    fwdscope_histogram_record(histogram, 10);
    fwdscope_histogram_record(histogram, 11);
    s = sample(region);
    assert_int_equal(values_of(s, "c")[0], 32);
    assert_int_equal((int64_t)values_of(s, "u")[0], -3);
    assert_int_equal(absent_of(s, "t"), 0);
    assert_int_equal(values_of(s, "t")[0], 99);
    assert_true(double_of(values_of(s, "g")[0]) == 2.5);
    assert_int_equal((int64_t)values_of(s, "i")[0], -4);
    const struct instrument *h = &s->instruments[instrument_find(s, "h")];
    assert_int_equal(h->bound_count, 2);
    assert_true(h->bounds[1] == 10);
    assert_int_equal(h->value_count, 4);
    const uint64_t *points = values_of(s, "h");
    assert_true(double_of(points[0]) == 21.5);
    assert_int_equal(points[1], 1);
    assert_int_equal(points[2], 1);
    assert_int_equal(points[3], 1);
    assert_int_equal(s->stale, 0);

    /* Later registrations leave the places of earlier ones as they are. */
    const size_t before = s->instruments[instrument_find(s, "h")].value_index;
    fwdscope_gauge_clear(gauge);
    what = (struct fwdscope_instrument){.name = "late"};
    fwdscope_counter_add(fwdscope_counter_register(&what), 1);
    s = sample(region);
    assert_int_equal(s->instrument_count, 7);
    assert_int_equal(s->instruments[instrument_find(s, "h")].value_index, before);
    assert_int_equal(values_of(s, "late")[0], 1);
    assert_int_equal(absent_of(s, "g"), 1);
    region_close(&region);
}

/* One name with many sets of attributes is as many instruments. */
static void test_attributes_tell_apart(void **state)
{
    (void)state;
    shim_open("attributes");
    const struct fwdscope_attribute sets[][2] = {
        {fwdscope_string("k", "a"), fwdscope_int("n", 1)},
        {fwdscope_string("k", "a"), fwdscope_int("n", 2)},
        {fwdscope_string("k", "b"), fwdscope_int("n", 1)},
        {fwdscope_double("k", 0.5), fwdscope_bool("n", true)},
        {fwdscope_double("k", 0.5), fwdscope_bool("n", false)},
        {fwdscope_double("k", 1.5), fwdscope_bool("n", true)},
    };
    enum { SETS = sizeof sets / sizeof *sets };
    for (size_t i = 0; i < 2 * SETS; i++) { /* the second round finds what the first registered */
        const struct fwdscope_instrument what = {
            .name = "same", .attributes = sets[i % SETS], .attribute_count = 2};
        fwdscope_counter_add(fwdscope_counter_register(&what), 1 + i % SETS);
    }
    struct region *region = shim_region();
    const struct fwdscope_instrument gauge = {.name = "same"};
    fwdscope_gauge_set(fwdscope_gauge_register(&gauge), 1.5);
    fwdscope_gauge_set_int(fwdscope_int_gauge_register(&gauge), 2);
    const struct snapshot *s = sample(region);
    assert_int_equal(s->instrument_count, SETS + 2);
    assert_true(double_of(s->values[s->instruments[SETS].value_index]) == 1.5);
    assert_int_equal(s->values[s->instruments[SETS + 1].value_index], 2);
    for (size_t i = 0; i < SETS; i++)
        assert_int_equal(s->values[s->instruments[i].value_index], 2 * (1 + i));
    assert_null(report_of(region, FWS_SECTION_INSTRUMENTS)->refused);
    region_close(&region);

    /* What the shim would never do: the same series in two entries. */
    size_t bytes;
    uint64_t *words = image_read(fwdscope_path(), &bytes);
    uint64_t *entries = section_of(words, FWS_SECTION_INSTRUMENTS);
    for (size_t i = 0; i < SETS; i++) {
        uint64_t *copy = entries + (SETS + 2 + i) * FWS_I_WORDS;
        memcpy(copy, entries + i * FWS_I_WORDS, FWS_I_WORDS * sizeof *copy);
        copy[FWS_I_SLOT] += 100;
    }
    region = image_open(words, bytes);
    assert_int_equal(sample(region)->instrument_count, SETS + 2);
    refused_check(region, FWS_SECTION_INSTRUMENTS, "6 of 14");
    region_close(&region);
    free(words);
}

static void test_pipelines(void **state)
{
    (void)state;
    shim_open("pipelines");
    fwdscope_pipeline p = fwdscope_pipeline_register("main", 1u << FWDSCOPE_BATCH_STALLS);
    fwdscope_pipeline q = fwdscope_pipeline_register("other \xff", 0);
    fwdscope_component out =
        fwdscope_output_register(p, "collector", "otlp", 1u << FWDSCOPE_ROTATIONS);
    fwdscope_component in_q = fwdscope_input_register(q, "x", "tcp", 0);
    fwdscope_component in = fwdscope_input_register(p, "pod_logs", "file", 0);
    (void)fwdscope_transform_register(p, "SELECT *", 0);
    fwdscope_component_progress(in, 1000, 50000);
    fwdscope_component_add(in, FWDSCOPE_ROTATIONS, 1);
    fwdscope_component_set(out, FWDSCOPE_ERRORS, 2);
    fwdscope_component_health(in, FWDSCOPE_DEGRADED);
    fwdscope_component_health(in_q, (enum fwdscope_health)77);
    fwdscope_component_queue(out, 3, 16);
    fwdscope_output_success(out, 123 * SECOND);
    const struct fwdscope_batch batch = {.batches = 50,
                                         .rows = 4500,
                                         .send_ns = 7,
                                         .backpressure_stalls = 9,
                                         .inflight = 3,
                                         .finished_unix_ns = 456 * SECOND};
    fwdscope_batch_add(p, &batch);
    const struct fwdscope_batch ended = {.inflight = -1};
    fwdscope_batch_add(q, &ended);

    struct region *region = shim_region();
    const struct snapshot *s = sample(region);
    assert_int_equal(s->pipeline_count, 2);
    const struct pipeline *one = &s->pipelines[0], *two = &s->pipelines[1];
    assert_string_equal(one->name, "main");
    assert_string_equal(two->name, "other \xef\xbf\xbd");
    assert_int_equal(one->absent, 1u << BATCH_STALLS);
    assert_int_equal(two->absent, 0);
    assert_false(one->batches_stale);
    assert_int_equal(one->batches[BATCH_BATCHES], 50);
    assert_int_equal(one->batches[BATCH_ROWS], 4500);
    assert_int_equal(one->batches[BATCH_SEND_NS], 7);
    assert_int_equal(one->batches[BATCH_INFLIGHT], 3);
    assert_int_equal(two->batches[BATCH_INFLIGHT], 0);
    assert_int_equal(one->last_batch_unix_ns, 456 * SECOND);

    assert_int_equal(one->component_count, 3);
    const struct component *c = one->components;
    assert_int_equal(c[0].kind, COMPONENT_OUTPUT);
    assert_string_equal(c[0].name, "collector");
    assert_string_equal(c[0].type, "otlp");
    assert_int_equal(c[0].absent, 1u << COUNT_ROTATIONS);
    assert_int_equal(c[0].counts[COUNT_ERRORS], 2);
    assert_int_equal(c[0].health, 0);
    assert_true(c[0].has_queue);
    assert_int_equal(c[0].queue_depth, 3);
    assert_int_equal(c[0].queue_capacity, 16);
    assert_int_equal(c[0].last_success_unix_ns, 123 * SECOND);
    assert_int_equal(c[1].kind, COMPONENT_INPUT);
    assert_int_equal(c[1].counts[COUNT_LINES], 1000);
    assert_int_equal(c[1].counts[COUNT_BYTES], 50000);
    assert_int_equal(c[1].counts[COUNT_ROTATIONS], 1);
    assert_int_equal(c[1].health, 1);
    assert_false(c[1].has_queue);
    assert_int_equal(c[2].kind, COMPONENT_TRANSFORM);
    assert_string_equal(c[2].name, "");
    assert_string_equal(c[2].type, "SELECT *");
    assert_int_equal(two->component_count, 1);
    assert_int_equal(two->components[0].health, 5);
    region_close(&region);
}

static void test_spans(void **state)
{
    (void)state;
    shim_open("spans");
    struct region *region = shim_region();
    struct drained d = drained_new();
    const uint64_t now = clock_unix_ns();
    const struct fwdscope_attribute attributes[] = {
        fwdscope_string("s", "bad \xc3("), fwdscope_int("i", -5), fwdscope_double("d", 0.25),
        fwdscope_bool("b", true)};

    fwdscope_span later = fwdscope_span_start("later", FWDSCOPE_SPAN_INTERNAL, now);
    fwdscope_span root = fwdscope_span_start("batch", FWDSCOPE_SPAN_CONSUMER, now - SECOND);
    fwdscope_span child = fwdscope_span_child(root, "output", FWDSCOPE_SPAN_CLIENT, now + SECOND);
    fwdscope_span_set(root, attributes, 4);
    fwdscope_span_stage(root, "output");
    fwdscope_span_status(root, FWDSCOPE_STATUS_ERROR, "no route");

    const struct snapshot *s = region_sample(region, now + SECOND / 2, 1);
    assert_int_equal(s->active_span_count, 3);
    const struct span *a = active_spans(region, s);
    assert_string_equal(a[0].name, "batch");
    assert_string_equal(a[1].name, "later");
    assert_int_equal(a->kind, 5);
    assert_int_equal(a->status, 2);
    assert_string_equal(a->message, "no route");
    assert_string_equal(a->stage, "output");
    assert_true(a->stage_start_unix_ns >= now - SECOND);
    assert_int_equal(a->output_start_unix_ns, a->stage_start_unix_ns);
    assert_int_equal(a->end_unix_ns, 0);
    assert_int_equal(a->start_unix_ns, now - SECOND);
    assert_int_equal(a->attribute_count, 4);
    attribute_check(&a->attributes[0], "s", ATTRIBUTE_STRING);
    assert_string_equal(a->attributes[0].string, "bad \xef\xbf\xbd(");
    attribute_check(&a->attributes[1], "i", ATTRIBUTE_INT);
    assert_int_equal(a->attributes[1].integer, -5);
    attribute_check(&a->attributes[2], "d", ATTRIBUTE_DOUBLE);
    assert_true(a->attributes[2].real == 0.25);
    attribute_check(&a->attributes[3], "b", ATTRIBUTE_BOOL);
    assert_true(a->attributes[3].boolean);
    /* A span of the future begins, for a reader, at the reading. */
    const struct span *kid = &a[2];
    assert_int_equal(kid->start_unix_ns, now + SECOND / 2);
    assert_memory_equal(kid->trace_id, a->trace_id, 16);
    assert_memory_equal(kid->parent_id, a->span_id, 8);
    assert_int_equal(kid->attribute_count, 0);

    fwdscope_span_end(child, now); /* before its start */
    fwdscope_span_end(later, now + 1);
    fwdscope_span_end(root, now + 2);
    unsigned fill;
    assert_int_equal(region_drain(region, 2, drained_take, &d, &fill), 2);
    assert_in_range(fill, 1, 999);
    assert_int_equal(region_drain(region, 100, drained_take, &d, NULL), 1);
    assert_int_equal(d.spans, 3);
    assert_int_equal(d.undecoded, 0);
    assert_string_equal(d.last_span.name, "batch");
    assert_string_equal(d.last_span.stage, "");
    assert_int_equal(d.last_span.attribute_count, 4);
    assert_string_equal(d.last_span.attributes[0].string, "bad \xef\xbf\xbd(");
    assert_int_equal(d.last_span.start_unix_ns, now - SECOND);
    assert_int_equal(d.last_span.end_unix_ns, now + 2);
    assert_string_equal(d.last_span.message, "no route");

    /* The slot's next span was never in the stage of the one before; a full table counts. */
    for (int i = 0; i < 5; i++)
        (void)fwdscope_span_start("again", FWDSCOPE_SPAN_INTERNAL, now);
    s = sample(region);
    assert_int_equal(s->active_span_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(active_spans(region, s)[i].stage, "");
    assert_int_equal(s->lost.spans, 1);
    assert_int_equal(s->lost.logs, 0);
    arena_free(&d.arena);
    region_close(&region);
}

static void test_logs(void **state)
{
    (void)state;
    shim_open("logs");
    struct region *region = shim_region();
    struct drained d = drained_new();
    fwdscope_span span = fwdscope_span_start("s", FWDSCOPE_SPAN_INTERNAL, 0);
    const struct fwdscope_attribute attributes[] = {
        fwdscope_string("k", "v"), fwdscope_int("n", INT64_MIN), fwdscope_double("x", -1.5),
        fwdscope_bool("no", false)};
    char every[256];
    for (size_t i = 0; i < sizeof every; i++)
        every[i] = (char)i;
    const struct fwdscope_log_record line = {.severity = FWDSCOPE_WARN,
                                             .severity_text = "warning",
                                             .body = every,
                                             .body_bytes = sizeof every,
                                             .time_unix_ns = 5,
                                             .span = span,
                                             .attributes = attributes,
                                             .attribute_count = 4};
    fwdscope_log_record(&line);
    assert_int_equal(region_drain(region, 10, drained_take, &d, NULL), 1);
    assert_int_equal(d.logs, 1);
    const struct log_record *l = &d.last_record;
    /* NUL and the 128 bytes from 0x80 on became U+FFFD: all of them are out of place. */
    assert_int_equal(l->body_bytes, 127 + 129 * 3);
    assert_int_equal(strlen(l->body), l->body_bytes);
    assert_int_equal(l->original_bytes, 256);
    assert_false(l->cut);
    assert_int_equal(l->severity, 13);
    assert_string_equal(l->severity_text, "warning");
    assert_int_equal(l->time_unix_ns, 5);
    assert_true(l->observed_unix_ns > 5);
    assert_int_equal(l->attribute_count, 4);
    assert_int_equal(l->attributes[1].integer, INT64_MIN);
    assert_true(l->attributes[2].real == -1.5);
    assert_false(l->attributes[3].boolean);
    const struct snapshot *s = sample(region);
    assert_memory_equal(l->trace_id, active_spans(region, s)->trace_id, 16);
    assert_memory_equal(l->span_id, active_spans(region, s)->span_id, 8);

    char *longest = test_calloc(1, 64 << 10);
    memset(longest, 'a', 64 << 10);
    fwdscope_log(FWDSCOPE_INFO, longest, 64 << 10);
    test_free(longest);
    assert_int_equal(region_drain(region, 10, drained_take, &d, NULL), 1);
    assert_int_equal(l->body_bytes, 16 << 10);
    assert_int_equal(l->original_bytes, 64 << 10);
    assert_true(l->cut);
    assert_int_equal(sample(region)->lost.logs_cut, 1);
    arena_free(&d.arena);
    region_close(&region);
}

/* Writes what a reader must never see in part. */
struct busy {
    fwdscope_histogram histogram;
    fwdscope_pipeline pipeline;
    fws_word stop;
};

static void *busy_write(void *arg)
{
    struct busy *b = arg;
    const struct fwdscope_batch batch = {.batches = 1, .rows = 10, .send_ns = 100};
    struct fwdscope_attribute attributes[FWS_ATTRS_MAX];
    char keys[FWS_ATTRS_MAX][16];
    fwdscope_span lasting = fwdscope_span_start("busy", FWDSCOPE_SPAN_INTERNAL, 0);
    for (int i = 0; i < FWS_ATTRS_MAX; i++)
        snprintf(keys[i], sizeof keys[i], "k%d", i);
    for (int64_t n = 0; fws_peek(&b->stop) == 0; n++) {
        fwdscope_histogram_record(b->histogram, 2);
        fwdscope_batch_add(b->pipeline, &batch);
        for (int i = 0; i < FWS_ATTRS_MAX; i++)
            attributes[i] = fwdscope_int(keys[i], n);
        fwdscope_span_set(lasting, attributes, FWS_ATTRS_MAX);
        if (n % 16 == 0)
            fwdscope_span_end(fwdscope_span_start("busy", FWDSCOPE_SPAN_INTERNAL, 0), 0);
    }
    return NULL;
}

/* What was read whole while a writer was at it. */
struct whole {
    uint64_t histograms, batches, spans, last_count;
};

static void whole_check(struct region *region, const struct snapshot *s, struct whole *whole)
{
    if (absent_of(s, "h") == 0) {
        const uint64_t *points = values_of(s, "h");
        assert_true(double_of(points[0]) == 2 * (double)points[1]);
        assert_true(points[1] >= whole->last_count);
        whole->last_count = points[1];
        whole->histograms++;
    }
    const struct pipeline *p = &s->pipelines[0];
    assert_int_equal(p->batches[BATCH_ROWS], 10 * p->batches[BATCH_BATCHES]);
    assert_int_equal(p->batches[BATCH_SEND_NS], 100 * p->batches[BATCH_BATCHES]);
    whole->batches += p->batches_stale ? 0 : 1;
    const struct span *spans = active_spans(region, s);
    for (size_t i = 0; i < s->active_span_count; i++) {
        const struct span *span = &spans[i];
        assert_string_equal(span->name, "busy");
        if (span->attribute_count == 0)
            continue; /* started, its attributes not set yet */
        assert_int_equal(span->attribute_count, FWS_ATTRS_MAX);
        for (size_t k = 1; k < FWS_ATTRS_MAX; k++)
            assert_int_equal(span->attributes[k].integer, span->attributes[0].integer);
        whole->spans++;
    }
}

static void test_whole_or_left_out(void **state)
{
    (void)state;
    const double bound = 2;
    const struct fwdscope_instrument what = {.name = "h"};
    shim_open("units");
    struct busy busy = {.histogram = fwdscope_histogram_register(&what, &bound, 1),
                        .pipeline = fwdscope_pipeline_register("p", 0)};
    struct region *region = shim_region();
    struct drained d = drained_new();
    struct whole whole = {0};
    uint64_t thrown_away = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, busy_write, &busy), 0);
    /* Until reader and writer met often enough, however the machine runs them. */
    while (thrown_away < 1000 || whole.histograms < 1000 || whole.batches < 1000 ||
           whole.spans < 1000 || d.spans < 1000) {
        const struct snapshot *s = sample(region);
        whole_check(region, s, &whole);
        thrown_away = s->retries;
        (void)region_drain(region, 1000, drained_take, &d, NULL);
    }
    fws_put(&busy.stop, 1);
    pthread_join(thread, NULL);
    assert_int_equal(d.undecoded, 0);
    arena_free(&d.arena);
    region_close(&region);
}

static void test_lapped(void **state)
{
    (void)state;
    const uint64_t lines = 20000;
    shim_open("lapped");
    struct region *region = shim_region();
    struct drained d = drained_new();
    unsigned fill;

    lines_write(0, lines); /* 128 bytes each: the ring is lapped some 30 times */
    while (region_drain(region, 1000, drained_take, &d, &fill) > 0)
        ;
    const struct snapshot *s = sample(region);
    assert_true(d.logs > 400);
    assert_true(s->lost.logs > 10 * d.logs);
    assert_int_equal(d.logs + s->lost.logs, lines);
    assert_int_equal(d.first_log, s->lost.logs);
    assert_int_equal(d.last_log, lines - 1);
    assert_int_equal(fill, 0);

    lines_write(lines, lines + 10);
    assert_int_equal(region_drain(region, 100, drained_take, &d, NULL), 10);
    assert_int_equal(sample(region)->lost.logs, lines + 10 - d.logs);
    arena_free(&d.arena);
    region_close(&region);
}

static void test_config(void **state)
{
    (void)state;
    shim_open("config");
    struct region *region = shim_region();
    const char *path, *text;
    size_t bytes;

    (void)sample(region);
    assert_int_equal(region_config(region, &path, &text, &bytes), CONFIG_NONE);
    assert_string_equal(text, "");
    fwdscope_config_publish_redacted("/etc/f.yaml", "a: \xff\n", 5);
    assert_int_equal(region_config(region, &path, &text, &bytes), CONFIG_NONE);
    (void)sample(region);
    assert_int_equal(region_config(region, &path, &text, &bytes), CONFIG_PUBLISHED);
    assert_string_equal(path, "/etc/f.yaml");
    assert_string_equal(text, "a: \xef\xbf\xbd\n");
    assert_int_equal(bytes, 7);
    (void)sample(region);
    assert_int_equal(region_config(region, &path, &text, &bytes), CONFIG_PUBLISHED);
    fwdscope_config_refuse("/etc/f.yaml", "not YAML");
    (void)sample(region);
    assert_int_equal(region_config(region, &path, &text, &bytes), CONFIG_REFUSED);
    assert_string_equal(text, "not YAML");
    region_close(&region);
}

static void test_life(void **state)
{
    (void)state;
    shim_open("life");
    struct region *region = shim_region();
    const struct snapshot *s = region_sample(region, 2000 * SECOND, 7);
    assert_int_equal(s->lock, LOCK_HELD);
    assert_int_equal(s->state, STATE_RUNNING);
    assert_string_equal(s->close_reason, "");
    assert_int_equal(s->time_unix_ns, 2000 * SECOND);
    assert_int_equal(s->mono_ns, 7);

    const uint64_t mark = s->heartbeat_mark;
    assert_int_equal(sample(region)->heartbeat_mark, mark);
    fwdscope_heartbeat();
    s = sample(region);
    assert_int_not_equal(s->heartbeat_mark, mark);
    const uint64_t last = s->time_unix_ns;
    assert_int_equal(region_sample(region, 5, 8)->time_unix_ns, last); /* the clock was set back */

    fwdscope_close(FWDSCOPE_CRASHED, "it \x01 died");
    s = sample(region);
    assert_int_equal(s->state, STATE_CLOSED_CRASHED);
    assert_string_equal(s->close_reason, "it \x01 died");
    region_close(&region);
}

/* A region is opened, closed and left by a process of its own. */
static void test_exited(void **state)
{
    (void)state;
    char path[PATH_BYTES] = "";
    int status, ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        shim_open("exited");
        lines_write(0, 3);
        snprintf(path, sizeof path, "%s", fwdscope_path());
        fwdscope_close(FWDSCOPE_CLOSED, "");
        _exit(write(ends[1], path, sizeof path) == sizeof path ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], path, sizeof path), sizeof path);
    close(ends[0]);
    close(ends[1]);

    /* A dead region is read into memory: nothing that happens to its file reaches it. */
    struct region *region = region_of(path);
    struct drained d = drained_new();
    assert_int_equal(truncate(path, 0), 0);
    const struct snapshot *s = sample(region);
    assert_int_equal(s->lock, LOCK_FREE);
    assert_int_equal(s->state, STATE_CLOSED);
    assert_int_equal(region_identity(region)->pid, child);
    assert_int_equal(region_drain(region, 10, drained_take, &d, NULL), 3);
    assert_false(s->truncated);
    arena_free(&d.arena);
    region_close(&region);
}

/* ---- sections that are wrong ----------------------------------------------------------------- */

/* Whether everything that the image holds is served, but for the section of `kind`. */
static void served_check(struct region *region, unsigned kind)
{
    struct drained d = drained_new();
    const struct snapshot *s = sample(region);
    const char *path, *text;
    size_t bytes, count;

    if (kind != FWS_SECTION_RESOURCE) {
        (void)region_resource(region, &count);
        assert_int_equal(count, 4);
    }
    const bool described = kind != FWS_SECTION_STRINGS;
    if (described && kind != FWS_SECTION_VALUES && kind != FWS_SECTION_INSTRUMENTS) {
        assert_int_equal(s->instrument_count, 4);
        assert_int_equal(values_of(s, "first")[0], 11);
        assert_true(double_of(values_of(s, "second")[0]) == 22);
        assert_int_equal(values_of(s, "third")[3], 1);
        assert_int_equal(values_of(s, "fourth")[0], 44);
    } else {
        assert_int_equal(s->instrument_count, 0);
    }
    if (described && kind != FWS_SECTION_PIPELINES) {
        assert_int_equal(s->pipeline_count, 1);
        const bool counted = kind != FWS_SECTION_BATCHES;
        assert_int_equal(s->pipelines[0].batches[BATCH_ROWS], counted ? 60 : 0);
        assert_int_equal(s->pipelines[0].absent, counted ? 0 : 0xffff);
        const bool listed = kind != FWS_SECTION_COMPONENTS;
        assert_int_equal(s->pipelines[0].component_count, listed ? 1 : 0);
        if (listed && kind == FWS_SECTION_VALUES)
            assert_int_equal(s->pipelines[0].components[0].absent, 0x1f);
        else if (listed)
            assert_int_equal(s->pipelines[0].components[0].counts[COUNT_BYTES], 50);
    }
    assert_int_equal(s->active_span_count, kind != FWS_SECTION_ACTIVE_SPANS ? 1 : 0);
    assert_int_equal(region_config(region, &path, &text, &bytes),
                     kind != FWS_SECTION_CONFIG ? CONFIG_PUBLISHED : CONFIG_NONE);
    (void)region_drain(region, 1000, drained_take, &d, NULL);
    assert_int_equal(d.spans, kind != FWS_SECTION_SPAN_RINGS ? 1 : 0);
    assert_int_equal(d.logs, kind != FWS_SECTION_LOG_RINGS ? 20 : 0);
    assert_int_equal(s->stale, 0);
    arena_free(&d.arena);
}

static void test_image_whole(void **state)
{
    (void)state;
    struct region *region = image_open(image, image_bytes);
    served_check(region, FWS_SECTION_NONE);
    assert_int_equal(sample(region)->lock, LOCK_FREE);
    assert_int_equal(sample(region)->state, STATE_RUNNING);
    region_close(&region);
}

static void test_directory_corrupt(void **state)
{
    (void)state;
    static const struct {
        enum fws_dir_word word;
        uint64_t value;
        const char *expected;
    } wrongs[] = {
        {FWS_D_VERSION, 2, "version"},
        {FWS_D_OFFSET, 8, "not aligned"},
        {FWS_D_OFFSET, UINT64_C(1) << 40, "outside"},
        {FWS_D_OFFSET, UINT64_MAX - 127, "outside"},
        {FWS_D_OFFSET, 0, "overlaps"},
        {FWS_D_LENGTH, UINT64_MAX, "outside"},
        {FWS_D_LENGTH, 0, "shorter than its entries"},
        {FWS_D_STRIDE, 0, "entries shorter"},
        {FWS_D_STRIDE, UINT64_MAX - 7, "shorter than its entries"},
        {FWS_D_COUNT, 0, "count out of range"},
        {FWS_D_COUNT, UINT64_MAX, "count out of range"},
        {FWS_D_LANES, 0, "lane count"},
        {FWS_D_LANES, 65, "lane count"},
    };
    size_t refused = 0;
    for (unsigned kind = FWS_SECTION_RESOURCE; kind < FWS_SECTION_KINDS; kind++) {
        for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
            uint64_t *words = image_copy();
            entry_of(words, kind)[wrongs[i].word] = wrongs[i].value;
            struct region *region = image_open(words, image_bytes);
            refused_check(region, kind, wrongs[i].expected);
            served_check(region, kind);
            region_close(&region);
            free(words);
            refused++;
        }
    }
    assert_int_equal(refused, 12 * sizeof wrongs / sizeof *wrongs);
}

static void test_sections_unknown_and_doubled(void **state)
{
    (void)state;
    uint64_t *words = image_copy();
    entry_of(words, FWS_SECTION_LANES)[FWS_D_KIND] = 999;
    struct region *region = image_open(words, image_bytes);
    assert_string_equal(report_of(region, 999)->name, "unknown");
    refused_check(region, 999, "does not know");
    served_check(region, FWS_SECTION_LANES);
    region_close(&region);

    entry_of(words, 999)[FWS_D_LANES] = 1;
    entry_of(words, 999)[FWS_D_KIND] = FWS_SECTION_STRINGS;
    region = image_open(words, image_bytes);
    served_check(region, FWS_SECTION_LANES);
    const struct section_report *reports;
    const size_t count = region_sections(region, &reports);
    size_t doubled = 0;
    for (size_t i = 0; i < count; i++)
        if (reports[i].refused != NULL && strcmp(reports[i].refused, "listed twice") == 0)
            doubled++;
    assert_int_equal(doubled, 1);
    region_close(&region);
    free(words);
}

/* A later minor version: every section but the rings has entries twice as long. */
static void test_longer_strides(void **state)
{
    (void)state;
    const size_t bytes = 4 * image_bytes;
    uint64_t *words = calloc(1, bytes);
    assert_non_null(words);
    memcpy(words, image, image_bytes);
    uint64_t at = image_bytes;
    size_t moved = 0;
    for (unsigned kind = FWS_SECTION_RESOURCE; kind < FWS_SECTION_KINDS; kind++) {
        uint64_t *entry = entry_of(words, kind);
        if (kind == FWS_SECTION_STRINGS || kind == FWS_SECTION_SPAN_RINGS ||
            kind == FWS_SECTION_LOG_RINGS)
            continue;
        const uint64_t stride = entry[FWS_D_STRIDE] / FWS_WORD_BYTES;
        const uint64_t *from = section_of(words, kind);
        uint64_t *to = words + at / FWS_WORD_BYTES;
        for (uint64_t i = 0; i < entry[FWS_D_COUNT] * entry[FWS_D_LANES]; i++) {
            memcpy(to + i * 2 * stride, from + i * stride, stride * FWS_WORD_BYTES);
            memset(to + i * 2 * stride + stride, 0xee, stride * FWS_WORD_BYTES);
        }
        entry[FWS_D_OFFSET] = at;
        entry[FWS_D_STRIDE] *= 2;
        entry[FWS_D_LENGTH] *= 2;
        at += (entry[FWS_D_LENGTH] + FWS_LINE_BYTES - 1) / FWS_LINE_BYTES * FWS_LINE_BYTES;
        assert_true(at <= bytes);
        moved++;
    }
    words[FWS_H_REGION_BYTES] = bytes;
    words[FWS_H_MINOR] = 7;
    words[FWS_H_CHECKSUM] = fws_prefix_checksum(words);
    struct region *region = image_open(words, bytes);
    assert_int_equal(moved, 9);
    assert_int_equal(region_identity(region)->minor, 7);
    served_check(region, FWS_SECTION_NONE);
    region_close(&region);
    free(words);
}

/* ---- attaching that must fail ---------------------------------------------------------------- */

static void attach_check(const char *path, enum attach_result expected)
{
    char why[WHY_BYTES] = "";
    struct region *region;
    const enum attach_result result = region_open(path, &region, NULL, why, sizeof why);
    if (result != expected)
        fail_msg("%s: %d, not %d: %s", path, (int)result, (int)expected, why);
    assert_null(region);
    assert_non_null(strstr(why, path));
}

static void attach_image_check(const uint64_t *words, size_t bytes, enum attach_result expected)
{
    char path[PATH_BYTES];
    path_make(path, "image");
    image_write(path, words, bytes);
    attach_check(path, expected);
}

static void test_attach_files(void **state)
{
    (void)state;
    char path[PATH_BYTES], target[PATH_BYTES];
    path_make(path, "image");
    image_write(path, image, image_bytes);
    path_make(target, "link");
    assert_int_equal(symlink(path, target), 0);
    attach_check(target, ATTACH_CORRUPT);
    path_make(target, "fifo");
    assert_int_equal(mkfifo(target, 0600), 0);
    attach_check(target, ATTACH_CORRUPT);
    path_make(target, "nothing");
    attach_check(target, ATTACH_NOT_FOUND);
    attach_check(dir, ATTACH_CORRUPT);
    if (geteuid() != 0) { /* root reads what it likes */
        path_make(target, "closed");
        image_write(target, image, image_bytes);
        assert_int_equal(chmod(target, 0), 0);
        attach_check(target, ATTACH_DENIED);
    }
}

static void test_attach_short(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 8, 2047, 2048, 4096, 8191, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        attach_image_check(image, sizes[i], ATTACH_CORRUPT);
    attach_image_check(image, image_bytes - 1, ATTACH_CORRUPT);
    uint64_t *noise = calloc(1, image_bytes);
    assert_non_null(noise);
    memset(noise, 'x', image_bytes);
    attach_image_check(noise, image_bytes, ATTACH_CORRUPT);
    free(noise);
}

static void test_attach_headers(void **state)
{
    (void)state;
    static const struct {
        enum fws_header_word word;
        uint64_t value;
        enum attach_result expected;
    } wrongs[] = {
        {FWS_H_MAGIC, 0, ATTACH_NOT_READY},
        {FWS_H_MAGIC, 1, ATTACH_CORRUPT},
        {FWS_H_BYTE_ORDER, 1, ATTACH_INCOMPATIBLE},
        {FWS_H_WORD_BITS, 32, ATTACH_INCOMPATIBLE},
        {FWS_H_MAJOR, 2, ATTACH_INCOMPATIBLE},
        {FWS_H_INCOMPAT, 4, ATTACH_INCOMPATIBLE},
        {FWS_H_HEADER_BYTES, 8, ATTACH_CORRUPT},
        {FWS_H_HEADER_BYTES, UINT64_MAX, ATTACH_CORRUPT},
        {FWS_H_REGION_BYTES, 0, ATTACH_CORRUPT},
        {FWS_H_REGION_BYTES, UINT64_MAX, ATTACH_CORRUPT},
        {FWS_H_DIR_OFFSET, UINT64_MAX - 7, ATTACH_CORRUPT},
        {FWS_H_DIR_COUNT, UINT64_MAX, ATTACH_CORRUPT},
        {FWS_H_DIR_STRIDE, 8, ATTACH_CORRUPT},
        {FWS_H_DIR_STRIDE, UINT64_C(1) << 60, ATTACH_CORRUPT},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint64_t *words = image_copy();
        words[wrongs[i].word] = wrongs[i].value;
        words[FWS_H_CHECKSUM] = fws_prefix_checksum(words);
        attach_image_check(words, image_bytes, wrongs[i].expected);
        free(words);
    }
    uint64_t *words = image_copy();
    words[FWS_H_PID] ^= 1; /* without a new checksum */
    attach_image_check(words, image_bytes, ATTACH_CORRUPT);
    free(words);
}

/* Who wrote a region that cannot be read is known all the same. */
static void test_incompatible_identity(void **state)
{
    (void)state;
    char path[PATH_BYTES], why[WHY_BYTES];
    struct region *region;
    struct identity identity;
    uint64_t *words = image_copy();
    path_make(path, "image");
    words[FWS_H_MAJOR] = 2;
    memset(words + FWS_H_SERVICE_NAME, 0xff, 200);
    words[FWS_H_CHECKSUM] = fws_prefix_checksum(words);
    image_write(path, words, image_bytes);
    assert_int_equal(region_open(path, &region, &identity, why, sizeof why), ATTACH_INCOMPATIBLE);
    assert_int_equal(identity.major, 2);
    assert_int_equal(identity.pid, getpid());
    assert_string_equal(identity.instance, "image");
    assert_string_equal(identity.path, path);
    assert_int_equal(strlen(identity.service_name), 255); /* 200 times U+FFFD, cut to fit */
    assert_non_null(strstr(why, "2.0"));

    /* The same from a machine of the other byte order. */
    words[FWS_H_MAJOR] = 1;
    for (size_t i = 0; i < FWS_H_SERVICE_NAME; i++)
        words[i] = __builtin_bswap64(words[i]);
    image_write(path, words, image_bytes);
    assert_int_equal(region_open(path, &region, &identity, why, sizeof why), ATTACH_INCOMPATIBLE);
    assert_int_equal(identity.major, 1);
    assert_int_equal(identity.pid, getpid());
    free(words);
}

/* ---- malformed entries ----------------------------------------------------------------------- */

static void test_instruments_malformed(void **state)
{
    (void)state;
    static const struct {
        size_t entry; /* 1: the gauge, 2: the histogram */
        enum fws_instrument_word word;
        uint64_t value;
    } wrongs[] = {
        {1, FWS_I_STATE, 2},
        {1, FWS_I_KIND, 0},
        {1, FWS_I_KIND, 6},
        {1, FWS_I_NUMBER, 2},
        {1, FWS_I_NAME, 0},
        {1, FWS_I_NAME, FWS_REF(4, 3)},
        {1, FWS_I_NAME, FWS_REF(0xfffffff8, 8)},
        {1, FWS_I_NAME, UINT64_MAX},
        {1, FWS_I_UNIT, FWS_REF(0, 0xffffffff)},
        {1, FWS_I_DESCRIPTION, UINT64_MAX},
        {1, FWS_I_ATTRS, FWS_REF(0, 16)},
        {1, FWS_I_ATTRS, UINT64_MAX},
        {1, FWS_I_ATTR_COUNT, 1},
        {1, FWS_I_ATTR_COUNT, 33},
        {1, FWS_I_SLOT, UINT64_MAX},
        {1, FWS_I_SLOTS, 1},
        {1, FWS_I_SLOTS, UINT64_MAX},
        {2, FWS_I_BOUNDS, 0},
        {2, FWS_I_BOUNDS, FWS_REF(0, 8 * 129)},
        {2, FWS_I_BOUNDS, FWS_REF(0, 7)},
        {2, FWS_I_SLOTS, 3},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint64_t *words = image_copy();
        uint64_t *entry =
            section_of(words, FWS_SECTION_INSTRUMENTS) + wrongs[i].entry * FWS_I_WORDS;
        if (wrongs[i].word == FWS_I_ATTRS)
            entry[FWS_I_ATTR_COUNT] = 1;
        entry[wrongs[i].word] = wrongs[i].value;
        struct region *region = image_open(words, image_bytes);
        const struct snapshot *s = sample(region);
        if (s->instrument_count != 3)
            fail_msg("case %zu: %zu instruments", i, s->instrument_count);
        assert_int_equal(values_of(s, "first")[0], 11);
        assert_int_equal(values_of(s, "fourth")[0], 44);
        refused_check(region, FWS_SECTION_INSTRUMENTS, "1 of 4");
        region_close(&region);
        free(words);
    }
}

static void test_bounds_malformed(void **state)
{
    (void)state;
    static const double wrongs[][3] = {
        {1, 1, 2}, {3, 2, 1}, {1, 2, (double)INFINITY}, {(double)NAN, 1, 2}, {1, (double)NAN, 2}};
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint64_t *words = image_copy();
        const uint64_t *entry = section_of(words, FWS_SECTION_INSTRUMENTS) + 2 * FWS_I_WORDS;
        memcpy((char *)section_of(words, FWS_SECTION_STRINGS) + FWS_REF_OFFSET(entry[FWS_I_BOUNDS]),
               wrongs[i], sizeof wrongs[i]);
        struct region *region = image_open(words, image_bytes);
        assert_int_equal(sample(region)->instrument_count, 3);
        refused_check(region, FWS_SECTION_INSTRUMENTS, "1 of 4");
        region_close(&region);
        free(words);
    }
}

/* The same name, kind and attributes twice is one series; the same name with others is another. */
static void test_instruments_doubled(void **state)
{
    (void)state;
    uint64_t *words = image_copy();
    uint64_t *entries = section_of(words, FWS_SECTION_INSTRUMENTS);
    entries[3 * FWS_I_WORDS + FWS_I_NAME] = entries[FWS_I_NAME];
    entries[FWS_I_WORDS + FWS_I_NAME] = entries[FWS_I_NAME];
    struct region *region = image_open(words, image_bytes);
    const struct snapshot *s = sample(region);
    assert_int_equal(s->instrument_count, 3);
    assert_string_equal(s->instruments[1].name, "first");
    assert_int_equal(s->instruments[1].kind, INSTRUMENT_GAUGE);
    refused_check(region, FWS_SECTION_INSTRUMENTS, "1 of 4");
    region_close(&region);
    free(words);
}

static void test_pipelines_doubled(void **state)
{
    (void)state;
    uint64_t *words = image_copy();
    uint64_t *pipelines = section_of(words, FWS_SECTION_PIPELINES);
    uint64_t *components = section_of(words, FWS_SECTION_COMPONENTS);
    memcpy(pipelines + FWS_P_WORDS, pipelines, FWS_P_WORDS * sizeof *pipelines);
    for (size_t i = 1; i < 3; i++)
        memcpy(components + i * FWS_C_WORDS, components, FWS_C_WORDS * sizeof *components);
    components[2 * FWS_C_WORDS + FWS_C_PIPELINE] = 1; /* of the pipeline that is left out */
    struct region *region = image_open(words, image_bytes);
    const struct snapshot *s = sample(region);
    assert_int_equal(s->pipeline_count, 1);
    assert_int_equal(s->pipelines[0].component_count, 1);
    refused_check(region, FWS_SECTION_PIPELINES, "1 of 2");
    refused_check(region, FWS_SECTION_COMPONENTS, "2 of 3");
    region_close(&region);
    free(words);
}

/* Instruments that share their slots would make a reading larger than its region: refused beyond
 * what there is. */
static void test_slots_claimed_once(void **state)
{
    (void)state;
    enum { SAME = 8, BOUNDS = FWS_BOUNDS_MAX, SLOTS = 2 + BOUNDS + 1 };
    uint64_t *words = image_copy();
    uint64_t *strings = section_of(words, FWS_SECTION_STRINGS);
    const uint64_t slots = entry_of(words, FWS_SECTION_VALUES)[FWS_D_COUNT];
    const uint64_t end = entry_of(words, FWS_SECTION_STRINGS)[FWS_D_LENGTH];
    const uint64_t bounds = end - BOUNDS * sizeof(double), names = bounds - SAME * FWS_WORD_BYTES;
    for (int i = 0; i < BOUNDS; i++) {
        const double bound = i;
        memcpy(strings + bounds / FWS_WORD_BYTES + i, &bound, sizeof bound);
    }
    for (size_t i = 0; i < SAME; i++) {
        uint64_t *entry = section_of(words, FWS_SECTION_INSTRUMENTS) + (4 + i) * FWS_I_WORDS;
        strings[names / FWS_WORD_BYTES + i] = 'a' + i;
        entry[FWS_I_STATE] = 1;
        entry[FWS_I_KIND] = FWS_KIND_HISTOGRAM;
        entry[FWS_I_NAME] = FWS_REF(names + i * FWS_WORD_BYTES, 1);
        entry[FWS_I_SLOTS] = SLOTS;
        entry[FWS_I_BOUNDS] = FWS_REF(bounds, BOUNDS * sizeof(double));
    }
    struct region *region = image_open(words, image_bytes);
    const size_t fit = (size_t)slots / SLOTS; /* the four others take a few slots more */
    assert_in_range(fit, 2, SAME - 1);
    assert_int_equal(sample(region)->instrument_count, 4 + fit);
    assert_non_null(report_of(region, FWS_SECTION_INSTRUMENTS)->refused);
    region_close(&region);
    free(words);
}

static void test_components_malformed(void **state)
{
    (void)state;
    static const struct {
        enum fws_component_word word;
        uint64_t value;
    } wrongs[] = {
        {FWS_C_STATE, 9},
        {FWS_C_KIND, 0},
        {FWS_C_KIND, 4},
        {FWS_C_PIPELINE, 1},
        {FWS_C_PIPELINE, 1 << 20},
        {FWS_C_PIPELINE, UINT64_MAX},
        {FWS_C_NAME, FWS_REF(1, 1)},
        {FWS_C_NAME, UINT64_MAX},
        {FWS_C_TYPE, UINT64_MAX},
        {FWS_C_SLOT, 1 << 30},
        {FWS_C_SLOT, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint64_t *words = image_copy();
        section_of(words, FWS_SECTION_COMPONENTS)[wrongs[i].word] = wrongs[i].value;
        struct region *region = image_open(words, image_bytes);
        const struct snapshot *s = sample(region);
        assert_int_equal(s->pipeline_count, 1);
        assert_int_equal(s->pipelines[0].component_count, 0);
        refused_check(region, FWS_SECTION_COMPONENTS, "1 of 1");
        region_close(&region);
        free(words);
    }
}

static void test_active_malformed(void **state)
{
    (void)state;
    const uint64_t meta = FWS_SPAN_META(9, 9, 255, 255, 33, 0);
    uint64_t *words = image_copy();
    uint64_t *slots = section_of(words, FWS_SECTION_ACTIVE_SPANS);
    for (size_t i = 0; i < 4; i++) {
        slots[i * FWS_A_WORDS + FWS_A_STATE] = 1;
        slots[i * FWS_A_WORDS + FWS_A_META] = meta;
        slots[i * FWS_A_WORDS + FWS_A_ATTR_WORDS] = UINT64_MAX;
    }
    slots[FWS_A_META] = FWS_SPAN_META(9, 9, 0, 0, 0, 0);
    slots[FWS_A_START_UNIX_NS] = UINT64_MAX;
    struct region *region = image_open(words, image_bytes);
    const struct snapshot *s = sample(region);
    assert_int_equal(s->active_span_count, 1);
    assert_int_equal(s->active_spans_stale, 3);
    const struct span *span = active_spans(region, s);
    assert_int_equal(span->kind, 1);
    assert_int_equal(span->status, 0);
    assert_int_equal(span->start_unix_ns, s->time_unix_ns);
    region_close(&region);
    free(words);
}

static void test_ring_corrupt(void **state)
{
    (void)state;
    struct drained d = drained_new();
    uint64_t *words = image_copy();
    uint64_t *ring = lane_of(words, FWS_SECTION_LOG_RINGS);
    const uint64_t mask = ring[FWS_R_CAPACITY] / FWS_WORD_BYTES - 1;
    ring[FWS_R_WORDS + (ring[FWS_R_START] / FWS_WORD_BYTES & mask)] = 3; /* the first length */
    struct region *region = image_open(words, image_bytes);
    (void)region_drain(region, 1000, drained_take, &d, NULL);
    assert_int_equal(d.logs, 0);
    assert_int_equal(d.spans, 1);
    refused_check(region, FWS_SECTION_LOG_RINGS, "lane 1");
    assert_null(report_of(region, FWS_SECTION_SPAN_RINGS)->refused);
    assert_int_equal(region_drain(region, 1000, drained_take, &d, NULL), 0);
    region_close(&region);

    static const uint64_t capacities[] = {0, 1, 64, 3 << 12, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        ring[FWS_R_CAPACITY] = capacities[i];
        region = image_open(words, image_bytes);
        refused_check(region, FWS_SECTION_LOG_RINGS, "lane 1");
        region_close(&region);
    }
    free(words);
    arena_free(&d.arena);
}

/* A record of a kind that its ring is not for is not handed out, and counts as lost. */
static void test_record_misplaced(void **state)
{
    (void)state;
    struct drained d = drained_new();
    uint64_t *words = image_copy();
    uint64_t *ring = lane_of(words, FWS_SECTION_SPAN_RINGS);
    const uint64_t mask = ring[FWS_R_CAPACITY] / FWS_WORD_BYTES - 1;
    const uint64_t head = ring[FWS_R_START] / FWS_WORD_BYTES;
    ring[FWS_R_WORDS + ((head + FWS_REC_KIND) & mask)] = FWS_RECORD_LOG;
    struct region *region = image_open(words, image_bytes);
    assert_int_equal(region_drain(region, 1000, drained_take, &d, NULL), 21); /* taken with them */
    assert_int_equal(d.logs, 20);
    assert_int_equal(d.spans, 0);
    assert_int_equal(sample(region)->lost.spans, 1);
    assert_int_equal(region_drain(region, 1000, drained_take, &d, NULL), 0);
    region_close(&region);
    free(words);
    arena_free(&d.arena);
}

static void test_records_malformed(void **state)
{
    (void)state;
    struct arena *arena = arena_new((size_t)1 << 20);
    uint64_t words[64] = {0};
    struct record record = {.kind = RECORD_SPAN, .words = words, .word_count = 64};
    struct span span;
    struct log_record line;

    words[FWS_S_META] = FWS_SPAN_META(1, 0, 8, 8, 0, 0);
    words[FWS_S_START_UNIX_NS] = UINT64_MAX;
    assert_true(record_decode_span(arena, &record, &span));
    assert_int_equal(span.start_unix_ns, INT64_MAX);
    assert_int_equal(span.end_unix_ns, INT64_MAX);
    assert_false(record_decode_log(arena, &record, &line));
    words[FWS_S_START_UNIX_NS] = 0; /* every span has a start */
    assert_false(record_decode_span(arena, &record, &span));
    words[FWS_S_START_UNIX_NS] = 1;
    record.word_count = FWS_S_WORDS + 1; /* the message lies behind the end */
    assert_false(record_decode_span(arena, &record, &span));
    record.word_count = FWS_S_WORDS - 1;
    assert_false(record_decode_span(arena, &record, &span));
    record.word_count = 64;
    words[FWS_S_ATTR_WORDS] = UINT64_MAX;
    assert_false(record_decode_span(arena, &record, &span));
    words[FWS_S_ATTR_WORDS] = 0;
    words[FWS_S_META] = FWS_SPAN_META(1, 0, 0, 0, 1, 0); /* an attribute, but no words of one */
    assert_false(record_decode_span(arena, &record, &span));

    memset(words, 0, sizeof words);
    record.kind = RECORD_LOG;
    words[FWS_L_META] = FWS_LOG_META(200, 3, 0, 0);
    words[FWS_L_ORIGINAL_BYTES] = UINT64_MAX;
    assert_true(record_decode_log(arena, &record, &line));
    assert_int_equal(line.severity, 0);
    assert_int_equal(line.original_bytes, INT64_MAX);
    assert_true(line.cut);
    words[FWS_L_BODY_BYTES] = 8;
    words[FWS_L_ORIGINAL_BYTES] = 7; /* less than there is */
    assert_true(record_decode_log(arena, &record, &line));
    assert_int_equal(line.original_bytes, 8);
    assert_false(line.cut);
    words[FWS_L_BODY_BYTES] = UINT64_MAX;
    assert_false(record_decode_log(arena, &record, &line));
    words[FWS_L_BODY_BYTES] = 56 * 8;
    assert_false(record_decode_log(arena, &record, &line));
    uint64_t *longest = test_calloc(FWS_RECORD_WORDS_MAX, sizeof *longest);
    record = (struct record){RECORD_LOG, 0, longest, FWS_RECORD_WORDS_MAX};
    longest[FWS_L_BODY_BYTES] = FWS_LOG_BYTES_MAX + 1;
    assert_false(record_decode_log(arena, &record, &line));
    longest[FWS_L_BODY_BYTES] = FWS_LOG_BYTES_MAX;
    assert_true(record_decode_log(arena, &record, &line));
    assert_int_equal(line.body_bytes, 3 * FWS_LOG_BYTES_MAX); /* every NUL repaired */
    test_free(longest);
    arena_free(&arena);
}

/* ---- a living writer that misbehaves --------------------------------------------------------- */

/* The image in a file whose lock is held, as by a writer that lives, mapped for the test to bend.
 */
struct patient {
    char path[PATH_BYTES];
    int fd;
    fws_word *words;
};

static struct patient patient_new(const char *name)
{
    struct patient p;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    path_make(p.path, name);
    image_write(p.path, image, image_bytes);
    p.fd = open(p.path, O_RDWR | O_CLOEXEC);
    assert_true(p.fd >= 0);
    assert_int_equal(fcntl(p.fd, F_OFD_SETLK, &lock), 0);
    p.words = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);
    assert_true(p.words != MAP_FAILED);
    return p;
}

/* The kernel drops the lock with the last reference to the open file: the map is one. */
static void patient_die(struct patient *p)
{
    if (p->words != NULL) {
        munmap((void *)p->words, image_bytes);
        close(p->fd);
    }
    p->words = NULL;
}

static void patient_free(struct patient *p)
{
    patient_die(p);
    unlink(p->path);
}

/* The word of the patient that stands where `word` stands in the image. */
static fws_word *patient_word(const struct patient *p, const uint64_t *word)
{
    return p->words + (word - image);
}

static void test_stale_units(void **state)
{
    (void)state;
    struct patient p = patient_new("stale");
    struct region *region = region_of(p.path);
    const char *path, *text;
    size_t bytes;
    const struct snapshot *s = sample(region);
    assert_int_equal(s->lock, LOCK_HELD);
    assert_int_equal(s->stale, 0);
    assert_int_equal(absent_of(s, "third"), 0);

    const uint64_t *third = section_of(image, FWS_SECTION_INSTRUMENTS) + 2 * FWS_I_WORDS;
    /* Of the histogram a lane behind the one that holds its values: nothing of them is to stay. */
    const size_t lane = (size_t)entry_of(image, FWS_SECTION_VALUES)[FWS_D_COUNT];
    fws_word *sequences[] = {
        patient_word(&p, lane_of(image, FWS_SECTION_VALUES) + lane + third[FWS_I_SLOT]),
        patient_word(&p, lane_of(image, FWS_SECTION_BATCHES) + FWS_B_SEQ),
        patient_word(&p, section_of(image, FWS_SECTION_CONFIG) + FWS_CONFIG_SEQ),
        NULL,
    };
    uint64_t *lanes = section_of(image, FWS_SECTION_LANES);
    fws_put(patient_word(&p, lanes + 2 * FWS_LANE_WORDS + FWS_LANE_USED), 1);
    uint64_t *slot = section_of(image, FWS_SECTION_ACTIVE_SPANS);
    while (slot[FWS_A_STATE] == 0)
        slot += FWS_A_WORDS;
    sequences[3] = patient_word(&p, slot + FWS_A_SEQ);
    for (size_t i = 0; i < 4; i++)
        fws_put(sequences[i], fws_peek(sequences[i]) + 1);
    s = sample(region);
    assert_int_equal(s->stale, 4);
    assert_int_equal(s->torn, 4);
    assert_true(s->retries >= 4);
    assert_int_equal(absent_of(s, "third"), 2);
    assert_int_equal(values_of(s, "third")[3], 0); /* the old value is not there to be sent */
    assert_true(s->pipelines[0].batches_stale);
    assert_int_equal(s->pipelines[0].batches[BATCH_ROWS], 60); /* the last whole reading */
    assert_int_equal(s->active_spans_stale, 1);
    assert_int_equal(s->active_span_count, 0);
    assert_int_equal(values_of(s, "first")[0], 11); /* plain counters are always good */
    assert_int_equal(region_config(region, &path, &text, &bytes), CONFIG_PUBLISHED);
    assert_string_equal(text, "a: 1\n");

    for (size_t i = 0; i < 4; i++)
        fws_publish(sequences[i], fws_peek(sequences[i]) + 1);
    s = sample(region);
    assert_int_equal(s->stale, 0);
    assert_int_equal(s->torn, 4);
    assert_int_equal(values_of(s, "third")[3], 1);
    assert_false(s->pipelines[0].batches_stale);
    assert_int_equal(s->active_span_count, 1);
    region_close(&region);
    patient_free(&p);
}

/* However busy a writer keeps its units, a reading throws away a bounded number of copies; a unit
 * that is whole at the first try is read all the same. */
/* Lanes are read once they say that they were used, and always where nobody would say so. */
static void test_lanes_unused(void **state)
{
    (void)state;
    const size_t slots = (size_t)entry_of(image, FWS_SECTION_VALUES)[FWS_D_COUNT];
    const size_t groups = (size_t)entry_of(image, FWS_SECTION_BATCHES)[FWS_D_COUNT] * FWS_B_WORDS;
    assert_int_equal(image[FWS_H_COMPAT], FWS_COMPAT_LANES_USED);
    for (int told = 0; told < 2; told++) {
        uint64_t *words = image_copy();
        words[FWS_H_COMPAT] = told ? FWS_COMPAT_LANES_USED : 0;
        words[FWS_H_CHECKSUM] = fws_prefix_checksum(words);
        uint64_t *used = section_of(words, FWS_SECTION_LANES) + 2 * FWS_LANE_WORDS + FWS_LANE_USED;
        assert_int_equal(used[-FWS_LANE_WORDS], 1); /* the lane of the image's writer */
        assert_int_equal(used[0], 0);
        lane_of(words, FWS_SECTION_VALUES)[slots] += 100; /* of the lane behind it */
        lane_of(words, FWS_SECTION_BATCHES)[groups + FWS_B_ROWS] += 100;
        struct region *region = image_open(words, image_bytes);
        const struct snapshot *s = sample(region);
        assert_int_equal(values_of(s, "first")[0], told ? 11 : 111);
        assert_int_equal(s->pipelines[0].batches[BATCH_ROWS], told ? 60 : 160);
        region_close(&region);
        used[0] = 1;
        region = image_open(words, image_bytes);
        s = sample(region);
        assert_int_equal(values_of(s, "first")[0], 111);
        assert_int_equal(s->pipelines[0].batches[BATCH_ROWS], 160);
        region_close(&region);
        free(words);
    }
}

/* A span that was found sound is not looked at again while its sequence stays; what somebody made
 * of it meanwhile is a span or none, and never ends the reader. */
static void test_active_scribbled_under_its_sequence(void **state)
{
    (void)state;
    struct patient p = patient_new("sound");
    struct region *region = region_of(p.path);
    const uint64_t *slot = section_of(image, FWS_SECTION_ACTIVE_SPANS);
    while (slot[FWS_A_STATE] == 0)
        slot += FWS_A_WORDS;
    fws_word *sequence = patient_word(&p, slot + FWS_A_SEQ);
    fws_word *attribute = patient_word(&p, slot + FWS_A_ATTRS);
    size_t count;
    const struct snapshot *s = sample(region);
    assert_string_equal(active_spans(region, s)->name, "open");
    fws_put(attribute, 0);
    s = sample(region);
    assert_int_equal(s->active_span_count, 1);
    (void)region_active_spans(region, &count);
    assert_int_equal(count, 0);
    fws_put(sequence, fws_peek(sequence) + 2);
    s = sample(region);
    assert_int_equal(s->active_span_count, 0);
    assert_int_equal(s->active_spans_stale, 1);
    fws_put(attribute, slot[FWS_A_ATTRS]);
    s = sample(region);
    assert_int_equal(s->active_spans_stale, 0);
    assert_string_equal(active_spans(region, s)->attributes[0].string, "value");
    region_close(&region);
    patient_free(&p);
}

static void test_retries_bounded(void **state)
{
    (void)state;
    enum { SLOTS = 256, RETRIES = 8192 };
    shim_open_sized("busy", SLOTS);
    struct region *region = shim_region();
    fwdscope_span span;
    for (int i = 0; i < SLOTS; i++)
        span = fwdscope_span_start("busy", FWDSCOPE_SPAN_INTERNAL, 0);
    assert_int_not_equal(span.id, 0);

    size_t bytes;
    uint64_t *words = image_read(fwdscope_path(), &bytes);
    const int fd = open(fwdscope_path(), O_RDWR | O_CLOEXEC);
    fws_word *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    fws_word *slots = map + (section_of(words, FWS_SECTION_ACTIVE_SPANS) - words);
    for (size_t i = 0; i + 1 < SLOTS; i++)
        fws_put(&slots[i * FWS_A_WORDS + FWS_A_SEQ], 1);
    const struct snapshot *s = sample(region);
    assert_int_equal(s->active_spans_stale, SLOTS - 1);
    assert_int_equal(s->active_span_count, 1);
    assert_in_range(s->retries, RETRIES, RETRIES + SLOTS);
    munmap((void *)map, bytes);
    close(fd);
    free(words);
    region_close(&region);
}

/* The handler that the guard put in place. cmocka sets its own before every test. */
static struct sigaction guard_action;

static void guard_action_keep(void)
{
    struct patient p = patient_new("first");
    struct region *region = region_of(p.path); /* the first guard of this process */
    region_close(&region);
    patient_free(&p);
    sigaction(SIGBUS, NULL, &guard_action);
}

static void test_cut_short(void **state)
{
    (void)state;
    sigaction(SIGBUS, &guard_action, NULL);
    struct drained d = drained_new();
    /* To nothing, in the middle of a page, in the midst of the sections. */
    static const int divisors[] = {0, 1000, 2};
    for (size_t i = 0; i < sizeof divisors / sizeof *divisors; i++) {
        struct patient p = patient_new("cut");
        struct region *region = region_of(p.path);
        const struct snapshot *s = sample(region);
        const uint64_t time = s->time_unix_ns;
        assert_false(s->truncated);
        const off_t left = divisors[i] == 0 ? 0 : (off_t)image_bytes / divisors[i];
        assert_int_equal(ftruncate(p.fd, left), 0);
        s = sample(region);
        assert_true(s->truncated);
        assert_int_equal(s->time_unix_ns, time);
        assert_int_equal(values_of(s, "first")[0], 11);
        assert_int_equal(s->lock, LOCK_HELD);
        assert_int_equal(region_drain(region, 100, drained_take, &d, NULL), 0);
        assert_int_equal(ftruncate(p.fd, (off_t)image_bytes), 0); /* full length, but of zeros */
        s = sample(region);
        assert_true(s->truncated);
        assert_int_equal(values_of(s, "first")[0], 11);
        patient_die(&p);
        assert_int_equal(sample(region)->lock, LOCK_FREE);
        region_close(&region);
        patient_free(&p);
    }
    arena_free(&d.arena);
}

/* Cut before the first reading, and found out by a drain. */
static void test_cut_short_early(void **state)
{
    (void)state;
    sigaction(SIGBUS, &guard_action, NULL);
    struct drained d = drained_new();
    struct patient p = patient_new("early");
    struct region *region = region_of(p.path);
    assert_int_equal(ftruncate(p.fd, 0), 0);
    assert_int_equal(region_drain(region, 100, drained_take, &d, NULL), 0);
    const struct snapshot *s = sample(region);
    assert_true(s->truncated);
    assert_int_equal(s->instrument_count, 0);
    assert_string_equal(s->close_reason, "");
    region_close(&region);
    patient_free(&p);
    arena_free(&d.arena);
}

/* ---- scribbling ------------------------------------------------------------------------------ */

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t random_word(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A value that is likely to be near some limit. */
static uint64_t random_value(uint64_t before)
{
    switch (random_word() % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return random_word();
    case 3:
        return random_word() % 64;
    case 4:
        return before ^ UINT64_C(1) << random_word() % 64;
    case 5:
        return before + 1;
    case 6:
        return image_bytes - random_word() % 256;
    default:
        return random_word() >> random_word() % 64;
    }
}

/* Half of the scribbles hit what others are found by: directory, descriptors, ring control. */
static size_t random_place(void)
{
    static const unsigned kinds[] = {FWS_SECTION_INSTRUMENTS, FWS_SECTION_PIPELINES,
                                     FWS_SECTION_COMPONENTS,  FWS_SECTION_ACTIVE_SPANS,
                                     FWS_SECTION_CONFIG,      FWS_SECTION_RESOURCE,
                                     FWS_SECTION_STRINGS};
    const size_t near = (size_t)(random_word() % 96);
    switch (random_word() % 6) {
    case 0:
        return (size_t)(image[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES) + near;
    case 1:
        return (size_t)(section_of(image, kinds[random_word() % 7]) - image) + near;
    case 2: {
        uint64_t *ring =
            lane_of(image, random_word() % 2 == 0 ? FWS_SECTION_SPAN_RINGS : FWS_SECTION_LOG_RINGS);
        const uint64_t mask = ring[FWS_R_CAPACITY] / FWS_WORD_BYTES - 1;
        const uint64_t at =
            near < 8 ? near : FWS_R_WORDS + ((ring[FWS_R_START] / FWS_WORD_BYTES + near) & mask);
        return (size_t)(ring - image) + (size_t)at;
    }
    default:
        return FWS_H_PREFIX_WORDS +
               (size_t)(random_word() % (image_bytes / FWS_WORD_BYTES - FWS_H_PREFIX_WORDS));
    }
}

/* Bodies of scribbled lines say anything: their order is not looked at. */
static void scribbled_take(void *arg, const struct record *record)
{
    struct drained *d = arg;
    arena_reset(d->arena);
    if (record_decode_span(d->arena, record, &d->last_span))
        d->spans++;
    else if (record_decode_log(d->arena, record, &d->last_record))
        d->logs++;
    else
        d->undecoded++;
}

/* What a scribbled region still gave. */
struct work {
    struct drained drained;
    size_t instruments, active, refused;
    uint64_t sum; /* of everything that was handed out, so that it was touched */
};

static void snapshot_touch(struct region *region, const struct snapshot *s, struct work *work)
{
    size_t spans_count;
    const struct span *spans = region_active_spans(region, &spans_count);
    assert_true(spans_count <= s->active_span_count);

    work->instruments += s->instrument_count;
    work->active += s->active_span_count;
    for (size_t i = 0; i < s->instrument_count; i++) {
        const struct instrument *in = &s->instruments[i];
        work->sum += strlen(in->name) + strlen(in->unit) + strlen(in->description);
        for (size_t k = 0; k < in->value_count; k++)
            work->sum += s->values[in->value_index + k] + s->values_absent[i];
        for (size_t k = 0; k < in->attribute_count; k++)
            work->sum += strlen(in->attributes[k].key);
    }
    for (size_t i = 0; i < s->pipeline_count; i++)
        for (size_t k = 0; k < s->pipelines[i].component_count; k++)
            work->sum += strlen(s->pipelines[i].components[k].type);
    for (size_t i = 0; i < spans_count; i++) {
        work->sum += strlen(spans[i].name) + strlen(spans[i].stage);
        assert_true(spans[i].start_unix_ns <= s->time_unix_ns);
    }
}

static void region_exercise(struct region *region, struct work *work)
{
    const char *path, *text;
    const struct section_report *reports;
    size_t bytes;

    for (int i = 0; i < 2; i++) {
        snapshot_touch(region, sample(region), work);
        (void)region_config(region, &path, &text, &bytes);
        assert_int_equal(strlen(text), bytes);
        (void)region_drain(region, 200, scribbled_take, &work->drained, NULL);
    }
    const size_t count = region_sections(region, &reports);
    for (size_t i = 0; i < count; i++)
        work->refused += reports[i].refused != NULL ? 1 : 0;
}

static bool work_done(const struct work *work, size_t wanted)
{
    return work->instruments > wanted && work->active > wanted && work->refused > wanted &&
           work->drained.logs > wanted && work->drained.spans > wanted && work->sum != 0;
}

static void test_scribbled(void **state)
{
    (void)state;
    enum { ROUNDS = 1500 };
    struct work work = {.drained = drained_new()};
    uint64_t *words = image_copy();
    for (int round = 0; round < ROUNDS || !work_done(&work, 100); round++) {
        memcpy(words, image, image_bytes);
        const uint64_t scribbles = 1 + random_word() % 64;
        for (uint64_t i = 0; i < scribbles; i++) {
            const size_t at = random_place();
            words[at] = random_value(words[at]);
        }
        struct region *region = image_open(words, image_bytes);
        region_exercise(region, &work);
        region_close(&region);
    }
    free(words);
    arena_free(&work.drained.arena);
}

struct scribbler {
    fws_word *words;
    fws_word stop;
    size_t scribbled;
};

/* Scribbles over a region while it is being read. The prefix stays: it was copied at attach. */
static void *scribble(void *arg)
{
    struct scribbler *s = arg;
    while (fws_peek(&s->stop) == 0) {
        const size_t at = random_place();
        fws_put(&s->words[at], random_value(fws_peek(&s->words[at])));
        s->scribbled++;
        if (s->scribbled % 64 == 0) /* now and then a sound region again */
            for (size_t i = 0; i < image_bytes / FWS_WORD_BYTES; i++)
                fws_put(&s->words[i], image[i]);
    }
    return NULL;
}

static void test_scribbled_alive(void **state)
{
    (void)state;
    enum { ROUNDS = 300 };
    struct patient p = patient_new("alive");
    struct scribbler scribbler = {.words = p.words};
    struct work work = {.drained = drained_new()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, scribble, &scribbler), 0);
    for (int round = 0; round < ROUNDS || !work_done(&work, 100); round++) {
        struct region *region = region_of(p.path);
        region_exercise(region, &work);
        region_close(&region);
    }
    fws_put(&scribbler.stop, 1);
    pthread_join(thread, NULL);
    assert_true(scribbler.scribbled > 100);
    arena_free(&work.drained.arena);
    patient_free(&p);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/dev/shm/fwdscope-test-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    shim_open("image");
    image_fill();
    image = image_read(fwdscope_path(), &image_bytes);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    guard_action_keep();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    free(image);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_identity, shim_teardown),
        cmocka_unit_test_teardown(test_values, shim_teardown),
        cmocka_unit_test_teardown(test_attributes_tell_apart, shim_teardown),
        cmocka_unit_test_teardown(test_pipelines, shim_teardown),
        cmocka_unit_test_teardown(test_spans, shim_teardown),
        cmocka_unit_test_teardown(test_logs, shim_teardown),
        cmocka_unit_test_teardown(test_whole_or_left_out, shim_teardown),
        cmocka_unit_test_teardown(test_lapped, shim_teardown),
        cmocka_unit_test_teardown(test_config, shim_teardown),
        cmocka_unit_test_teardown(test_life, shim_teardown),
        cmocka_unit_test(test_exited),
        cmocka_unit_test(test_image_whole),
        cmocka_unit_test(test_directory_corrupt),
        cmocka_unit_test(test_sections_unknown_and_doubled),
        cmocka_unit_test(test_longer_strides),
        cmocka_unit_test(test_attach_files),
        cmocka_unit_test(test_attach_short),
        cmocka_unit_test(test_attach_headers),
        cmocka_unit_test(test_incompatible_identity),
        cmocka_unit_test(test_instruments_malformed),
        cmocka_unit_test(test_bounds_malformed),
        cmocka_unit_test(test_instruments_doubled),
        cmocka_unit_test(test_pipelines_doubled),
        cmocka_unit_test(test_slots_claimed_once),
        cmocka_unit_test(test_components_malformed),
        cmocka_unit_test(test_active_malformed),
        cmocka_unit_test(test_ring_corrupt),
        cmocka_unit_test(test_record_misplaced),
        cmocka_unit_test(test_records_malformed),
        cmocka_unit_test(test_stale_units),
        cmocka_unit_test(test_lanes_unused),
        cmocka_unit_test(test_active_scribbled_under_its_sequence),
        cmocka_unit_test_teardown(test_retries_bounded, shim_teardown),
        cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_cut_short_early),
        cmocka_unit_test(test_scribbled),
        cmocka_unit_test(test_scribbled_alive),
    };
    return cmocka_run_group_tests_name("snapshot", tests, setup, teardown);
}
