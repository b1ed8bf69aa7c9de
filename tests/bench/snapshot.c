/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reading of a region costs, and what the same words cost when they are only copied.
 * instruments_* spans_*: microseconds a reading; drain_*: nanoseconds a record; the limits:
 * nanoseconds an entry. The region is one that a shim of this process writes.
 */
#include "bench.h"

#include "fwdscope.h"
#include "snapshot.h"

#include "shmlayout/layout.h"
#include "shmlayout/seqlock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LANES = 8, /* the default of the shim */
    INSTRUMENTS = 10000,
    HISTOGRAMS = 1000,
    BOUNDS = 10,
    SPANS = 1000,
    RECORDS = 500, /* of one filling of a ring */
    ROUND_MS = 80,
    SLOT_WORDS = 31, /* of 248 bytes: what a span with six attributes takes */
};

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* ---- a region -------------------------------------------------------------------------------- */

static struct {
    char directory[64], path[512];
    struct region *region;
    uint64_t now;
} the;

static void region_remove(void)
{
    region_close(&the.region);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    unlink(the.path);
    rmdir(the.directory);
}

static void shim_start(uint32_t lanes, uint32_t instruments, uint32_t spans)
{
    snprintf(the.directory, sizeof the.directory, "/dev/shm/fwdscope-bench-XXXXXX");
    if (mkdtemp(the.directory) == NULL)
        fail("no directory in /dev/shm");
    const struct fwdscope_options options = {
        .service_name = "bench",
        .directory = the.directory,
        .lanes = lanes,
        .instruments = instruments,
        .active_spans = spans,
    };
    atexit(region_remove);
    if (!fwdscope_open(&options))
        fail("the shim is off: %s", fwdscope_reason());
    snprintf(the.path, sizeof the.path, "%s", fwdscope_path());
}

static void region_start(void)
{
    char why[512];
    if (region_open(the.path, &the.region, NULL, why, sizeof why) != ATTACH_OK)
        fail("%s", why);
}

/* Threads that hold their lanes until all have written, so that each has one of its own. */
struct crew {
    pthread_barrier_t begun;
    void (*write)(void);
};

static void *crew_thread(void *arg)
{
    struct crew *crew = arg;
    fwdscope_heartbeat();
    crew->write();
    pthread_barrier_wait(&crew->begun);
    return NULL;
}

static void crew_run(unsigned threads, void (*write)(void))
{
    struct crew crew = {.write = write};
    pthread_t ids[FWS_LANES_MAX];
    pthread_barrier_init(&crew.begun, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&ids[i], NULL, crew_thread, &crew) != 0)
            fail("cannot start a thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&crew.begun);
}

/* ---- readings -------------------------------------------------------------------------------- */

static const struct snapshot *sample_once(void)
{
    the.now++;
    return region_sample(the.region, the.now, the.now);
}

/* Microseconds of one call, over about ROUND_MS of them after a warm-up. */
static double call_us(void (*call)(void))
{
    const uint64_t limit = (uint64_t)ROUND_MS * 1000000;
    uint64_t calls = 0;
    for (int i = 0; i < 20; i++)
        call();
    const uint64_t begin = now_ns();
    uint64_t now = begin;
    for (; now - begin < limit; now = now_ns()) {
        for (int i = 0; i < 50; i++)
            call();
        calls += 50;
    }
    return (double)(now - begin) / (double)calls / 1000;
}

static void sample_call(void)
{
    keep((void *)(uintptr_t)sample_once());
}

/* Checks that the reading is of what was written, then measures. */
static double readings_us(size_t instruments, size_t spans)
{
    region_start();
    const struct snapshot *snapshot = sample_once();
    if (snapshot->instrument_count != instruments || snapshot->active_span_count != spans ||
        snapshot->stale != 0)
        fail("the reading is not of what was written");
    return call_us(sample_call);
}

/* ---- instruments ----------------------------------------------------------------------------- */

static fwdscope_counter counters[INSTRUMENTS];
static fwdscope_histogram histograms[HISTOGRAMS];

static const char *name_make(const char *what, int number)
{
    static char name[64];
    snprintf(name, sizeof name, "%s.%d", what, number);
    return name;
}

static void counters_register(void)
{
    for (int i = 0; i < INSTRUMENTS; i++)
        counters[i] = fwdscope_counter_register(
            &(struct fwdscope_instrument){.name = name_make("counter", i), .unit = "1"});
}

static void counters_write(void)
{
    for (int i = 0; i < INSTRUMENTS; i++)
        fwdscope_counter_add(counters[i], 1);
}

/* Counters of a region of `lanes` lanes, of which `used` were ever a thread's. */
static double counters_us(uint32_t lanes, unsigned used)
{
    shim_start(lanes, INSTRUMENTS, 1);
    counters_register();
    crew_run(used, counters_write);
    const double us = readings_us(INSTRUMENTS, 0);
    const uint64_t *values = sample_once()->values;
    for (int i = 0; i < INSTRUMENTS; i++)
        if (values[i] != used)
            fail("a counter is not what was written");
    return us;
}

static double instruments_10000(void)
{
    return counters_us(LANES, LANES - 1);
}

static double instruments_10000_one_lane(void)
{
    return counters_us(LANES, 1);
}

static double instruments_10000_one_of_64_lanes(void)
{
    return counters_us(64, 1);
}

static double instruments_10000_64_lanes(void)
{
    return counters_us(64, 63);
}

static double gauges_10000(void)
{
    shim_start(LANES, INSTRUMENTS, 1);
    for (int i = 0; i < INSTRUMENTS; i++)
        fwdscope_gauge_set(fwdscope_gauge_register(&(struct fwdscope_instrument){
                               .name = name_make("gauge", i), .unit = "1"}),
                           i);
    return readings_us(INSTRUMENTS, 0);
}

static void mixed_write(void)
{
    for (int i = 0; i < INSTRUMENTS; i += 2)
        fwdscope_counter_add(counters[i], 1);
}

/* Counters and gauges in turn: no two counters side by side. */
static double mixed_10000(void)
{
    shim_start(LANES, INSTRUMENTS, 1);
    for (int i = 0; i < INSTRUMENTS; i += 2) {
        counters[i] = fwdscope_counter_register(
            &(struct fwdscope_instrument){.name = name_make("counter", i), .unit = "1"});
        fwdscope_gauge_set(fwdscope_gauge_register(&(struct fwdscope_instrument){
                               .name = name_make("gauge", i), .unit = "1"}),
                           i);
    }
    crew_run(LANES - 1, mixed_write);
    return readings_us(INSTRUMENTS, 0);
}

static void histograms_write(void)
{
    for (int i = 0; i < HISTOGRAMS; i++)
        fwdscope_histogram_record(histograms[i], i % BOUNDS);
}

static double histograms_1000(void)
{
    double bounds[BOUNDS];
    for (int i = 0; i < BOUNDS; i++)
        bounds[i] = i;
    shim_start(LANES, INSTRUMENTS, 1);
    for (int i = 0; i < HISTOGRAMS; i++)
        histograms[i] = fwdscope_histogram_register(
            &(struct fwdscope_instrument){.name = name_make("histogram", i), .unit = "s"}, bounds,
            BOUNDS);
    crew_run(LANES - 1, histograms_write);
    return readings_us(HISTOGRAMS, 0);
}

/* ---- spans and log lines --------------------------------------------------------------------- */

static fwdscope_span spans[SPANS];

static void span_start(int number)
{
    const struct fwdscope_attribute attributes[] = {
        fwdscope_string("pipeline", "default"), fwdscope_int("bytes_in", number),
        fwdscope_int("bytes_out", number),      fwdscope_string("input", "file"),
        fwdscope_int("rows", 1000 + number),    fwdscope_bool("flushed", true),
    };
    spans[number] = fwdscope_span_start("pipeline.batch", FWDSCOPE_SPAN_INTERNAL,
                                        1 + (uint64_t)number * 7919 % SPANS);
    fwdscope_span_set(spans[number], attributes, sizeof attributes / sizeof *attributes);
    fwdscope_span_stage(spans[number], "output");
}

static void spans_prepare(void)
{
    the.now = now_ns();
    shim_start(LANES, 16, SPANS);
    for (int i = 0; i < SPANS; i++)
        span_start(i);
}

static double spans_1000(void)
{
    spans_prepare();
    return readings_us(0, SPANS);
}

static void ignore_record(void *arg, const struct record *record)
{
    (void)arg;
    keep((void *)(uintptr_t)record->words);
}

/* Nanoseconds a record, of drains that each find RECORDS of them. */
static double drained_ns(void (*write)(void))
{
    const uint64_t limit = (uint64_t)ROUND_MS * 1000000;
    uint64_t spent = 0, records = 0;
    region_start();
    for (int round = 0; spent < limit; round++) {
        for (int i = 0; i < RECORDS; i++)
            write();
        const uint64_t begin = now_ns();
        const size_t count = region_drain(the.region, SIZE_MAX, ignore_record, NULL, NULL);
        if (count != RECORDS)
            fail("%zu of %d records came", count, RECORDS);
        if (round < 20)
            continue; /* warm */
        spent += now_ns() - begin;
        records += count;
    }
    return (double)spent / (double)records;
}

static void span_write(void)
{
    span_start(0);
    fwdscope_span_end(spans[0], 0);
}

static double drain_span(void)
{
    shim_start(LANES, 16, SPANS);
    return drained_ns(span_write);
}

static void line_write(void)
{
    static const char line[160] =
        "2026-05-14T09:26:53.589Z INFO request served path=/v1/things status=200 bytes=5120 "
        "duration=12.5ms client=10.20.30.40 agent=curl request=0123456789abcdef";
    fwdscope_log(FWDSCOPE_INFO, line, sizeof line);
}

static double drain_log(void)
{
    shim_start(LANES, 16, SPANS);
    return drained_ns(line_write);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static fws_word entries[2 * INSTRUMENTS];
static fws_word slots[SPANS * FWS_A_WORDS];
static uint64_t copies[INSTRUMENTS * 2 + SPANS * SLOT_WORDS];
static uint64_t retries;

static void entries_copy(void)
{
    for (size_t i = 0; i < INSTRUMENTS; i++) {
        const uint64_t begun = fws_seq_read_begin(&entries[2 * i]);
        copies[i] = fws_observe(&entries[2 * i + 1]);
        retries += !fws_seq_read_end(&entries[2 * i], begun);
    }
    keep(copies);
}

static double seqlocked_entry(void)
{
    return call_us(entries_copy) * 1000 / INSTRUMENTS;
}

static void slots_copy(void)
{
    for (size_t i = 0; i < SPANS; i++)
        (void)fws_seq_copy(&slots[i * FWS_A_WORDS], &slots[i * FWS_A_WORDS + 1], SLOT_WORDS,
                           &copies[i * SLOT_WORDS], &retries);
    keep(copies);
}

static double slot_copy(void)
{
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i += FWS_A_WORDS)
        fws_put(&slots[i], 2);
    return call_us(slots_copy) * 1000 / SPANS;
}

static const struct {
    const char *name;
    double (*round)(void);
} operations[] = {
    {"instruments_10000", instruments_10000},
    {"instruments_10000_one_lane", instruments_10000_one_lane},
    {"instruments_10000_one_of_64_lanes", instruments_10000_one_of_64_lanes},
    {"instruments_10000_64_lanes", instruments_10000_64_lanes},
    {"gauges_10000", gauges_10000},
    {"mixed_10000", mixed_10000},
    {"histograms_1000", histograms_1000},
    {"spans_1000", spans_1000},
    {"drain_span", drain_span},
    {"drain_log", drain_log},
    {"seqlocked_entry", seqlocked_entry},
    {"slot_copy", slot_copy},
};

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : "";
    const bool list = strcmp(wanted, "--list") == 0;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (list) {
            puts(operations[i].name);
        } else if (strcmp(wanted, operations[i].name) == 0) {
            printf("%.6g\n", operations[i].round());
            return 0;
        }
    }
    if (!list)
        fail("usage: %s OPERATION | --list", argv[0]);
    return 0;
}
