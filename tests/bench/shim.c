/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a call of the shim costs, and what the machine could do at best.
 *
 *   bench_shim OPERATION [CALLS]   one round: prints nanoseconds per call
 *   bench_shim --list              the operations, one a line
 *
 * Without CALLS the round lasts about ROUND_MS, after a warm-up that also finds the number of
 * calls. Operations whose name ends in _2t run on two threads, each on a processor of its own.
 */
#include "bench.h"
#include "fwdscope.h"

#include "shmlayout/layout.h"
#include "shmlayout/region.h"
#include "shmlayout/ring.h"
#include "shmlayout/seqlock.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ROUND_MS = 80,
    WARM_UP_MS = 20,
    LINE_BYTES = 160,
    SPAN_WORDS = 31, /* 248 bytes: the record of the span below without its head */
    RING_BYTES = 256 << 10,
    BOUNDS = 10,
    VALUES = 64, /* measurements that a histogram is given in turn */
};

static struct {
    fwdscope_counter counter;
    fwdscope_gauge gauge;
    fwdscope_histogram histogram;
    double values[VALUES];
    char line[LINE_BYTES + 1];
    char directory[64];
    int pipe;
} the;

static void fail(const char *what)
{
    fprintf(stderr, "bench_shim: %s\n", what);
    exit(1);
}

/* ---- the shim -------------------------------------------------------------------------------- */

static void counter_add(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        fwdscope_counter_add(the.counter, 1);
}

static void gauge_set(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        fwdscope_gauge_set(the.gauge, (double)(int64_t)i);
}

static void histogram_record(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        fwdscope_histogram_record(the.histogram, the.values[i % VALUES]);
}

/* A finished span of about 250 bytes: what a batch of a forwarder has to say. */
static void span(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++) {
        const struct fwdscope_attribute attributes[] = {
            fwdscope_string("pipeline", "default"),
            fwdscope_int("bytes_in", (int64_t)i),
            fwdscope_int("input_rows", 1000),
            fwdscope_string("flush_reason", "size"),
            fwdscope_int("queue_wait_ns", (int64_t)i * 3),
            fwdscope_int("worker_id", 1),
        };
        fwdscope_span one = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
        fwdscope_span_set(one, attributes, sizeof attributes / sizeof *attributes);
        fwdscope_span_end(one, 0);
    }
}

static void span_bare(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        fwdscope_span_end(fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0), 0);
}

static void log_line(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        fwdscope_log(FWDSCOPE_INFO, the.line, LINE_BYTES);
}

static void heartbeat(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        fwdscope_heartbeat();
}

/* ---- its parts ------------------------------------------------------------------------------- */

static void clock_read(uint64_t calls)
{
    struct timespec now;
    for (uint64_t i = 0; i < calls; i++) {
        clock_gettime(CLOCK_REALTIME, &now);
        keep(&now);
    }
}

/* A ring of one's own, as a lane has them. */
static void ring_open(struct fws_ring_writer *ring, uint64_t **payload)
{
    fws_word *words = calloc(FWS_R_WORDS + RING_BYTES / sizeof *words, sizeof *words);
    uint16_t *lengths = calloc(fws_ring_lengths_count(RING_BYTES), sizeof *lengths);
    *payload = calloc(SPAN_WORDS, sizeof **payload);
    if (words == NULL || lengths == NULL || *payload == NULL)
        fail("no memory");
    fws_ring_writer_init(ring, words, words + FWS_R_WORDS, RING_BYTES, lengths, 0, 0);
}

/* The record of a span alone, its time read from the clock. */
static void span_record(uint64_t calls)
{
    struct fws_ring_writer ring;
    uint64_t *payload;
    ring_open(&ring, &payload);
    for (uint64_t i = 0; i < calls; i++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        fws_ring_write(&ring, FWS_RECORD_SPAN,
                       (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec, payload,
                       SPAN_WORDS);
        keep(payload);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void plain_increment(uint64_t calls)
{
    static uint64_t n;
    for (uint64_t i = 0; i < calls; i++) {
        n++;
        keep(&n);
    }
}

static void store(uint64_t calls)
{
    static uint64_t n;
    for (uint64_t i = 0; i < calls; i++) {
        n = i;
        keep(&n);
    }
}

/* A word of the thread's own, behind a call that is not inlined. */
static _Thread_local uint64_t *own_word;

static __attribute__((noinline)) void own_word_add(uint64_t n)
{
    if (own_word != NULL)
        *own_word += n;
    __asm__ volatile("" : : : "memory");
}

static void tls_call(uint64_t calls)
{
    uint64_t word = 0;
    own_word = &word;
    for (uint64_t i = 0; i < calls; i++)
        own_word_add(1);
    own_word = NULL;
}

static void atomic_word_add(uint64_t calls)
{
    static fws_word word;
    for (uint64_t i = 0; i < calls; i++)
        fws_add(&word, 1);
}

/* Sum and bucket of a known bucket, seqlocked: what a histogram must at least store. */
static void histogram_limit(uint64_t calls)
{
    static _Alignas(FWS_LINE_BYTES) fws_word words[FWS_LINE_WORDS];
    uint64_t sequence = 0, sum = 0;
    for (uint64_t i = 0; i < calls; i++) {
        fws_seq_write_begin(&words[0], &sequence);
        fws_publish(&words[1], sum += i);
        fws_publish(&words[2 + i % 8], fws_peek(&words[2 + i % 8]) + 1);
        fws_seq_write_end(&words[0], &sequence);
    }
}

/* Bytes into a ring of one's own by memcpy, as one that no other process may read. */
static void memcpy_turns(uint64_t calls, size_t bytes)
{
    static char ring[RING_BYTES];
    char record[SPAN_WORDS * sizeof(uint64_t)] = {0};
    size_t at = 0;
    for (uint64_t i = 0; i < calls; i++) {
        keep(record);
        memcpy(ring + at, record, bytes);
        at = at + 2 * sizeof record < sizeof ring ? at + bytes : 0;
        keep(ring);
    }
}

static void memcpy_ring(uint64_t calls)
{
    memcpy_turns(calls, SPAN_WORDS * sizeof(uint64_t));
}

static void memcpy_line(uint64_t calls)
{
    memcpy_turns(calls, LINE_BYTES);
}

/* How messages leave a forwarder whose standard error somebody collects. */
static void write_pipe(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++) {
        if (write(the.pipe, the.line, LINE_BYTES) != LINE_BYTES)
            fail("the pipe does not take a line");
    }
}

static void *pipe_empty(void *fd)
{
    static char buffer[1 << 16];
    while (read(*(int *)fd, buffer, sizeof buffer) > 0)
        continue;
    return NULL;
}

static void pipe_open(void)
{
    static int ends[2];
    pthread_t thread;
    if (pipe(ends) != 0 || pthread_create(&thread, NULL, pipe_empty, &ends[0]) != 0)
        fail("no pipe, or no thread to empty it");
    the.pipe = ends[1];
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static const struct operation {
    const char *name;
    void (*run)(uint64_t calls);
    int threads;
} operations[] = {
    {"counter_add", counter_add, 1},
    {"counter_add_2t", counter_add, 2},
    {"gauge_set", gauge_set, 1},
    {"histogram_record", histogram_record, 1},
    {"histogram_record_2t", histogram_record, 2},
    {"span", span, 1},
    {"span_2t", span, 2},
    {"span_bare", span_bare, 1},
    {"span_record", span_record, 1},
    {"log_line", log_line, 1},
    {"log_line_2t", log_line, 2},
    {"heartbeat", heartbeat, 1},
    {"clock_read", clock_read, 1},
    {"plain_increment", plain_increment, 1},
    {"store", store, 1},
    {"tls_call", tls_call, 1},
    {"atomic_add", atomic_word_add, 1},
    {"atomic_add_2t", atomic_word_add, 2},
    {"histogram_limit", histogram_limit, 1},
    {"memcpy_ring", memcpy_ring, 1},
    {"memcpy_line", memcpy_line, 1},
    {"write_pipe", write_pipe, 1},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static double timed(const struct operation *operation, uint64_t calls)
{
    uint64_t begin = now_ns();
    operation->run(calls);
    return (double)(now_ns() - begin);
}

static struct {
    const struct operation *operation;
    uint64_t calls;
    pthread_barrier_t start;
} pair;

struct half {
    pthread_t thread;
    unsigned processor;
    double ns;
};

static void *half_run(void *arg)
{
    struct half *half = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(half->processor, &set);
    (void)sched_setaffinity(0, sizeof set, &set); /* refused: where the caller pinned us */
    pair.operation->run(pair.calls / 16);         /* the thread's first call, and its pages */
    pthread_barrier_wait(&pair.start);
    half->ns = timed(pair.operation, pair.calls);
    return NULL;
}

/* Two threads at once, whatever the caller pinned us to; the slower of them counts. */
static double timed_pair(const struct operation *operation, uint64_t calls)
{
    struct half halves[2] = {{.processor = 0}, {.processor = 1}};
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        fail("two threads at once need two processors");
    pair.operation = operation;
    pair.calls = calls;
    pthread_barrier_init(&pair.start, NULL, 2);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&halves[i].thread, NULL, half_run, &halves[i]) != 0)
            fail("no thread");
    for (int i = 0; i < 2; i++)
        pthread_join(halves[i].thread, NULL);
    return halves[0].ns > halves[1].ns ? halves[0].ns : halves[1].ns;
}

/* How many calls last a round: doubled until the warm-up is over. */
static uint64_t calls_find(const struct operation *operation)
{
    uint64_t calls = 64;
    double ns;
    while ((ns = timed(operation, calls)) < WARM_UP_MS * 1e6)
        calls *= 2;
    return (uint64_t)((double)calls * ROUND_MS * 1e6 / ns) + 1;
}

/* Leaves nothing behind, however the program ends. */
static void shim_close(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s", fwdscope_path());
    fwdscope_close(FWDSCOPE_CLOSED, "measured");
    unlink(path);
    rmdir(the.directory);
}

static void shim_open(void)
{
    static const double bounds[BOUNDS] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60};
    strcpy(the.directory, "/dev/shm/fwdscope-bench-XXXXXX");
    if (mkdtemp(the.directory) == NULL)
        fail("no directory below /dev/shm");
    atexit(shim_close);
    const struct fwdscope_options options = {.service_name = "bench", .directory = the.directory};
    if (!fwdscope_open(&options))
        fail(fwdscope_reason());
    the.counter = fwdscope_counter_register(&(struct fwdscope_instrument){.name = "lines"});
    the.gauge = fwdscope_gauge_register(&(struct fwdscope_instrument){.name = "depth"});
    the.histogram = fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "latency"},
                                                bounds, BOUNDS);
    for (int i = 0; i < VALUES;
         i++) /* around 10 ms, as the latencies of a forwarder that is well */
        the.values[i] = 0.006 + 0.0005 * (double)(i * 37 % VALUES % 16);
    memset(the.line, 'x', LINE_BYTES);
}

/* What the region has counted, summed over the lanes: the first instrument's slot is the first. */
static uint64_t counted(void)
{
    struct fws_view view = {.fd = -1};
    char why[512];
    uint64_t sum = 0;
    if (fws_view_attach(fwdscope_path(), &view, why, sizeof why) != FWS_ATTACH_OK)
        fail(why);
    const fws_word *entry = view.words + view.prefix[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES;
    for (uint64_t i = 0; i < view.prefix[FWS_H_DIR_COUNT]; i++, entry += FWS_D_WORDS) {
        if (fws_peek(&entry[FWS_D_KIND]) != FWS_SECTION_VALUES)
            continue;
        const fws_word *values = view.words + fws_peek(&entry[FWS_D_OFFSET]) / FWS_WORD_BYTES;
        for (uint64_t lane = 0; lane < fws_peek(&entry[FWS_D_LANES]); lane++)
            sum += fws_peek(&values[lane * fws_peek(&entry[FWS_D_COUNT])]);
    }
    fws_view_detach(&view);
    return sum;
}

static double round_run(const struct operation *operation, uint64_t calls)
{
    if (calls == 0)
        calls = calls_find(operation);
    uint64_t before = counted();
    double ns = operation->threads == 2 ? timed_pair(operation, calls) : timed(operation, calls);
    uint64_t expected = operation->run != counter_add ? 0
                        : operation->threads == 2     ? 2 * (calls + calls / 16)
                                                      : calls;
    if (counted() - before != expected)
        fail("the region has not counted every call");
    return ns / (double)calls;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < OPERATIONS; i++)
            puts(operations[i].name);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < OPERATIONS; i++) {
        if (strcmp(operations[i].name, argv[1]) != 0)
            continue;
        shim_open();
        if (operations[i].run == write_pipe)
            pipe_open();
        double ns = round_run(&operations[i], argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
        printf("%.3f\n", ns);
        return 0;
    }
    fprintf(stderr, "usage: bench_shim OPERATION [CALLS] | bench_shim --list\n");
    return 1;
}
