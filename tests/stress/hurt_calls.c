/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shim's calls cost, one by one, while others read the region.
 *
 *   hurt_calls measure DIR SHARED ROUNDS CALLS
 *       Each round goes through the states below, CALLS of each kind in each. One line a kind, and
 *       one that everything that was called is in the region. Nothing is asserted about times.
 *   hurt_calls read REGION SHARED NUMBER
 *       A reader process; see hurt_readers.h.
 *
 * Each measurement lies between two system calls that stand out in a trace.
 */
#include "hurt_readers.h"

#include "fwdscope.h"
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MARK = 0x5a5a, NS_MAX = 1 << 16, LINE_BYTES = 100 };

enum state { ALONE, ONE, FIFTY, STOPPED, KILLED, STATES };
static const char *const state_names[STATES] = {"0 readers", "1", "50", "50 stopped in a read",
                                                "50 killed in a read"};

static fwdscope_counter counter;
static fwdscope_gauge gauge;
static fwdscope_histogram histogram;
static fwdscope_pipeline pipeline;
static fwdscope_component input;
static char line[LINE_BYTES];

/* ---- the calls ------------------------------------------------------------------------------- */

static void call_nothing(void)
{
}

static void call_counter(void)
{
    fwdscope_counter_add(counter, 1);
}

static void call_gauge(void)
{
    fwdscope_gauge_set(gauge, 2.5);
}

static void call_progress(void)
{
    fwdscope_component_progress(input, 1, 100);
}

static void call_histogram(void)
{
    fwdscope_histogram_record(histogram, 5);
}

static void call_batch(void)
{
    fwdscope_batch_add(pipeline, &(struct fwdscope_batch){.batches = 1, .rows = 10});
}

static void call_span(void)
{
    fwdscope_span_end(fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0), 0);
}

static void call_log(void)
{
    fwdscope_log(FWDSCOPE_INFO, line, sizeof line);
}

enum kind { NOTHING, COUNTER, GAUGE, PROGRESS, HISTOGRAM, BATCH, SPAN, LOG, KINDS };
static const struct {
    const char *name;
    void (*call)(void);
} kinds[KINDS] = {
    {"no call (two clock readings)", call_nothing},
    {"counter_add", call_counter},
    {"gauge_set", call_gauge},
    {"component_progress", call_progress},
    {"histogram_record", call_histogram},
    {"batch_add", call_batch},
    {"span_start + span_end", call_span},
    {"log of 100 bytes", call_log},
};

static uint64_t called[KINDS];

static void call(enum kind kind)
{
    called[kind]++;
    kinds[kind].call();
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* How often a call took so many ns; the last counts all that took longer. */
static uint32_t times[STATES][KINDS][NS_MAX];
static uint64_t longest_ns[STATES][KINDS];
static uint64_t readings[STATES]; /* whole ones, while it was measured */

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void measure(enum state state, unsigned calls)
{
    const uint64_t readings_before = readers_readings();
    syscall(SYS_getpgid, MARK);
    for (enum kind kind = 0; kind < KINDS; kind++) {
        for (unsigned i = 0; i < calls; i++) {
            const uint64_t begun = clock_ns();
            call(kind);
            const uint64_t ns = clock_ns() - begun;
            times[state][kind][ns < NS_MAX ? ns : NS_MAX - 1]++;
            if (ns > longest_ns[state][kind])
                longest_ns[state][kind] = ns;
        }
    }
    syscall(SYS_getpgid, MARK);
    readings[state] += readers_readings() - readings_before;
}

static void write_for_readers(void)
{
    call(LOG);
}

static void round_run(unsigned calls)
{
    measure(ALONE, calls);
    readers_start(fwdscope_path(), 1);
    measure(ONE, calls);
    readers_start(fwdscope_path(), READERS_MAX);
    measure(FIFTY, calls);
    readers_stop(write_for_readers);
    measure(STOPPED, calls);
    readers_continue();
    readers_kill(write_for_readers);
    measure(KILLED, calls);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* The time that `permille` of the calls did not exceed. */
static unsigned percentile(const uint32_t *counts, unsigned permille)
{
    uint64_t total = 0, seen = 0;
    for (unsigned ns = 0; ns < NS_MAX; ns++)
        total += counts[ns];
    for (unsigned ns = 0; ns < NS_MAX; ns++) {
        seen += counts[ns];
        if (seen * 1000 >= total * permille)
            return ns;
    }
    return NS_MAX;
}

static void times_print(void)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        printf("figure: shim call %s, ns p50/p99/p99.9/longest", kinds[kind].name);
        for (enum state state = 0; state < STATES; state++)
            printf("%s %s %u/%u/%u/%llu", state == 0 ? ":" : ",", state_names[state],
                   percentile(times[state][kind], 500), percentile(times[state][kind], 990),
                   percentile(times[state][kind], 999),
                   (unsigned long long)longest_ns[state][kind]);
        printf("\n");
    }
    printf("figure: whole readings while it was measured");
    for (enum state state = 0; state < STATES; state++)
        printf("%s %s %llu", state == 0 ? ":" : ",", state_names[state],
               (unsigned long long)readings[state]);
    printf("\n");
    if (readings[ONE] == 0 || readings[FIFTY] == 0)
        hurt_die("this run shows nothing", "nobody read while it was measured");
    if (readings[ALONE] + readings[STOPPED] + readings[KILLED] != 0)
        hurt_die("this run shows nothing", "readers that should not be there have read");
}

/* ---- what is in the region ------------------------------------------------------------------- */

static uint64_t records_read[3]; /* by record_kind */

static void record_count(void *arg, const struct record *record)
{
    (void)arg;
    records_read[record->kind]++;
}

static void expect(const char *what, uint64_t is, uint64_t should_be)
{
    char detail[128];
    snprintf(detail, sizeof detail, "%llu in the region, %llu called", (unsigned long long)is,
             (unsigned long long)should_be);
    if (is != should_be || is == 0)
        hurt_die(what, detail);
}

static void values_judge(const struct snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->instrument_count; i++) {
        const struct instrument *instrument = &snapshot->instruments[i];
        const uint64_t *values = &snapshot->values[instrument->value_index];
        uint64_t sum = 0;
        double real;
        memcpy(&real, values, sizeof real);
        for (size_t bucket = 1; bucket < instrument->value_count; bucket++)
            sum += values[bucket];
        if (instrument->kind == INSTRUMENT_COUNTER)
            expect("counter_add", values[0], called[COUNTER]);
        else if (instrument->kind == INSTRUMENT_HISTOGRAM)
            expect("histogram_record", sum, called[HISTOGRAM]);
        else if (real < 2.5 || real > 2.5)
            hurt_die("gauge_set", "the gauge is not what was set last");
    }
}

static void region_judge(void)
{
    struct region *region;
    char why[256];
    if (region_open(fwdscope_path(), &region, NULL, why, sizeof why) != ATTACH_OK)
        hurt_die("the region cannot be read", why);
    (void)region_drain(region, SIZE_MAX, record_count, NULL, NULL);
    const struct snapshot *snapshot = region_sample(region, 1, 1);
    if (snapshot->instrument_count != 3 || snapshot->pipeline_count != 1 || snapshot->stale != 0)
        hurt_die("the region", "three instruments and one pipeline are expected, and none stale");
    values_judge(snapshot);
    const struct pipeline *first = &snapshot->pipelines[0];
    expect("component_progress", first->components[0].counts[COUNT_LINES], called[PROGRESS]);
    expect("batch_add", first->batches[BATCH_ROWS], 10 * called[BATCH]);
    expect("log", records_read[RECORD_LOG] + snapshot->lost.logs, called[LOG]);
    expect("span_end", records_read[RECORD_SPAN] + snapshot->lost.spans, called[SPAN]);
    printf("figure: calls of a forwarder with readers stopped and killed: made and found in the "
           "region: counter %llu, histogram %llu, progress %llu, batch %llu, spans %llu, lines "
           "%llu (overwritten and counted %llu)\n",
           (unsigned long long)called[COUNTER], (unsigned long long)called[HISTOGRAM],
           (unsigned long long)called[PROGRESS], (unsigned long long)called[BATCH],
           (unsigned long long)called[SPAN], (unsigned long long)called[LOG],
           (unsigned long long)snapshot->lost.logs);
    region_close(&region);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static void shim_open(const char *directory)
{
    static const double bounds[] = {1, 10, 100};
    const struct fwdscope_instrument what = {.name = "hurt.value", .unit = "1"};
    const struct fwdscope_options options = {.service_name = "hurt", .directory = directory};
    if (!fwdscope_open(&options))
        hurt_die("the shim does not open", fwdscope_reason());
    counter = fwdscope_counter_register(&what);
    gauge = fwdscope_gauge_register(&what);
    histogram = fwdscope_histogram_register(&what, bounds, 3);
    pipeline = fwdscope_pipeline_register("main", 0);
    input = fwdscope_input_register(pipeline, "in", "file", 0);
    memset(line, 'x', sizeof line);
    for (enum kind kind = 0; kind < KINDS; kind++)
        call(kind); /* the thread takes its lane: once in its life */
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "read") == 0)
        return reader_main(argv[2], argv[3], argv[4]);
    if (argc != 6 || strcmp(argv[1], "measure") != 0)
        return 2;
    memset(times, 1, sizeof times); /* its pages are there before anything is measured */
    memset(times, 0, sizeof times);
    readers_share(argv[3]);
    shim_open(argv[2]);
    for (unsigned long rounds = strtoul(argv[4], NULL, 10); rounds > 0; rounds--)
        round_run((unsigned)strtoul(argv[5], NULL, 10));
    region_judge();
    times_print();
    fwdscope_close(FWDSCOPE_CLOSED, "measured");
    return 0;
}
