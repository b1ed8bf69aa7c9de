/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer of many lanes whose records are counted to the last.
 *
 *   lanes account           the tests: a reader in a tight loop and one at an interval beside a
 *                           writer that never waits; one that is stopped for ten laps, again and
 *                           again. Each is a process of its own beside the writer.
 *   lanes write DIR THREADS [default]
 *                           the writer alone: commands on standard input, answers on standard
 *                           output. Rings are the smallest, or the shim's own choice.
 *       to N                  each thread writes up to its N-th log line and N-th span; "ok"
 *       pace S LINES SPANS    one thread writes so many a second for S seconds; "ok NS"
 */
#include "processes.h"
#include "units.h"

#include "arena.h"
#include "snapshot_private.h" /* the losses of each ring */

#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS = 16,
    LOG_RING = 64 << 10, /* the smallest that the shim takes */
    SPAN_RING = 16 << 10,
    LAPS = 10,
    DRAIN_RECORDS = 65536, /* as the sidecar's sampler does */
    PACE_STEP_NS = 10000000,
};

/* ---- the writer ------------------------------------------------------------------------------ */

static struct {
    sem_t settled;
    pthread_barrier_t begin, end; /* of what a command asks for */
    uint64_t to;
} crew;

static void *crew_thread(void *arg)
{
    const unsigned thread = (unsigned)(uintptr_t)arg;
    fwdscope_heartbeat(); /* takes a lane: thread 0 lane 1, and so on */
    sem_post(&crew.settled);
    for (uint64_t n = 0;;) {
        pthread_barrier_wait(&crew.begin);
        for (; n < crew.to; n++) {
            unit_log(unit_id(thread, n));
            unit_span(unit_id(thread, n));
        }
        pthread_barrier_wait(&crew.end);
    }
    return NULL;
}

/* One after the other, so that the lanes are theirs in this order. */
static void crew_start(unsigned threads)
{
    pthread_t thread;
    sem_init(&crew.settled, 0, 0);
    pthread_barrier_init(&crew.begin, NULL, threads + 1);
    pthread_barrier_init(&crew.end, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&thread, NULL, crew_thread, (void *)(uintptr_t)i) != 0)
            fail("cannot start a thread");
        sem_wait(&crew.settled);
    }
}

static void crew_write(uint64_t to)
{
    crew.to = to;
    pthread_barrier_wait(&crew.begin);
    pthread_barrier_wait(&crew.end);
}

/* Writes in steps of PACE_STEP_NS that keep to the clock; returns how long it took. */
static uint64_t write_paced(uint64_t seconds, uint64_t lines, uint64_t spans)
{
    const uint64_t second = 1000000000, steps = seconds * second / PACE_STEP_NS;
    const uint64_t begun = clock_ns(CLOCK_MONOTONIC);
    uint64_t line = 0, span = 0;
    for (uint64_t step = 1; step <= steps; step++) {
        for (; line < lines * seconds * step / steps; line++)
            unit_log(line);
        for (; span < spans * seconds * step / steps; span++)
            unit_span(span);
        const uint64_t next = begun + step * PACE_STEP_NS;
        const struct timespec at = {(time_t)(next / second), (long)(next % second)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
    return clock_ns(CLOCK_MONOTONIC) - begun;
}

/* Serves commands until their end. */
static void writer_run(const char *directory, unsigned threads, bool small)
{
    const struct fwdscope_options options = {
        .service_name = "lanes",
        .directory = directory,
        .lanes = small ? threads + 1 : 0,
        .log_ring_bytes = small ? LOG_RING : 0,
        .span_ring_bytes = small ? SPAN_RING : 0,
    };
    char line[256];
    uint64_t a, b, c;
    if (!fwdscope_open(&options))
        fail("the shim is off: %s", fwdscope_reason());
    crew_start(threads);
    printf("on %s\n", fwdscope_path());
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "to %" SCNu64, &a) == 1) {
            crew_write(a);
            puts("ok");
        } else if (sscanf(line, "pace %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c) == 3) {
            printf("ok %" PRIu64 "\n", write_paced(a, b, c));
        } else {
            fail("what is %s", line);
        }
        fflush(stdout);
    }
    fwdscope_close(FWDSCOPE_CLOSED, "done");
}

/* ---- the writer as a child ------------------------------------------------------------------- */

struct writer {
    pid_t pid;
    int input[2], output[2];
    FILE *to, *from;
    char path[4096];
    const char *directory;
};

static void writer_play(void *arg)
{
    struct writer *writer = arg;
    if (dup2(writer->input[0], 0) < 0 || dup2(writer->output[1], 1) < 0)
        fail("no descriptors");
    close(writer->input[1]);
    writer_run(writer->directory, THREADS, true);
}

static void writer_start(struct writer *writer, const char *directory)
{
    char line[4200];
    writer->directory = directory;
    if (pipe(writer->input) != 0 || pipe(writer->output) != 0)
        fail("no pipes");
    writer->pid = child_start(writer_play, writer);
    close(writer->input[0]);
    close(writer->output[1]);
    writer->to = fdopen(writer->input[1], "w");
    writer->from = fdopen(writer->output[0], "r");
    if (writer->to == NULL || writer->from == NULL ||
        fgets(line, sizeof line, writer->from) == NULL ||
        sscanf(line, "on %4095s", writer->path) != 1)
        fail("the writer does not start");
}

static void writer_tell(struct writer *writer, uint64_t to)
{
    char line[16];
    fprintf(writer->to, "to %" PRIu64 "\n", to);
    fflush(writer->to);
    if (fgets(line, sizeof line, writer->from) == NULL || strcmp(line, "ok\n") != 0)
        fail("the writer does not write");
}

static void writer_end(struct writer *writer)
{
    fclose(writer->to);
    child_end(writer->pid);
    fclose(writer->from);
}

/* ---- a reader -------------------------------------------------------------------------------- */

enum { KIND_NUMBERS = 1 + RECORD_LOG };

/* What a reader has of one lane and kind. */
struct tally {
    uint64_t next, delivered, missing;
    uint64_t must; /* the number that has to come next; NOTHING_MUST */
};
#define NOTHING_MUST UINT64_MAX

struct reader {
    struct region *region;
    struct arena *arena;
    struct tally tallies[KIND_NUMBERS][THREADS];
};

static void reader_open(struct reader *reader, const char *path)
{
    char why[512] = "no memory";
    *reader = (struct reader){.arena = arena_new(1 << 20)};
    if (reader->arena == NULL ||
        region_open(path, &reader->region, NULL, why, sizeof why) != ATTACH_OK)
        fail("cannot read %s: %s", path, why);
    for (int kind = RECORD_SPAN; kind <= RECORD_LOG; kind++)
        for (unsigned thread = 0; thread < THREADS; thread++)
            reader->tallies[kind][thread].must = NOTHING_MUST;
}

static void reader_close(struct reader *reader)
{
    region_close(&reader->region);
    arena_free(&reader->arena);
}

/* Every record is whole, newer than the one before, and the one that has to come. */
static void reader_take(void *arg, const struct record *record)
{
    struct reader *reader = arg;
    uint64_t id;
    if (!unit_record_good(reader->arena, record, &id) || unit_thread(id) >= THREADS)
        fail("a record is not as it was written");
    struct tally *tally = &reader->tallies[record->kind][unit_thread(id)];
    const uint64_t n = unit_number(id);
    if (n < tally->next)
        fail("number %" PRIu64 " of thread %u came again", n, unit_thread(id));
    if (tally->must != NOTHING_MUST && n != tally->must++)
        fail("number %" PRIu64 " of thread %u, not %" PRIu64, n, unit_thread(id), tally->must - 1);
    tally->missing += n - tally->next;
    tally->delivered++;
    tally->next = n + 1;
}

static void reader_drain(struct reader *reader)
{
    while (region_drain(reader->region, DRAIN_RECORDS, reader_take, reader, NULL) > 0)
        ;
}

static const struct ring *ring_of(const struct reader *reader, int kind, size_t lane)
{
    for (size_t i = 0; i < reader->region->ring_count; i++)
        if ((int)reader->region->rings[i].kind == kind && reader->region->rings[i].lane == lane)
            return &reader->region->rings[i];
    fail("lane %zu has no ring", lane);
}

/* After the last drain: of each lane and kind, what was delivered and what the ring told as lost is
 * what was written; what the snapshot tells is the sum. Returns both sums. */
static struct tally reader_settle(const struct reader *reader, int kind, uint64_t written)
{
    struct tally sum = {0};
    for (unsigned thread = 0; thread < THREADS; thread++) {
        const struct tally *tally = &reader->tallies[kind][thread];
        const struct ring *ring = ring_of(reader, kind, thread + 1);
        if (tally->delivered + ring->reader.lost != written ||
            tally->missing != ring->reader.lost || tally->next != written)
            fail("lane %u, kind %d: %" PRIu64 " delivered + %" PRIu64 " lost, %" PRIu64 " missing, "
                 "%" PRIu64 " written",
                 thread + 1, kind, tally->delivered, ring->reader.lost, tally->missing, written);
        sum.delivered += tally->delivered;
        sum.missing += tally->missing;
    }
    const struct snapshot *last =
        region_sample(reader->region, clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_MONOTONIC));
    const uint64_t told = kind == RECORD_LOG ? last->lost.logs : last->lost.spans;
    if (told != sum.missing)
        fail("%" PRIu64 " told as lost, %" PRIu64 " missing", told, sum.missing);
    if (sum.delivered == 0 || sum.missing == 0)
        fail("nothing was delivered, or nothing lost");
    return sum;
}

static void reader_report(const struct reader *reader, const char *what, uint64_t written)
{
    const struct tally spans = reader_settle(reader, RECORD_SPAN, written);
    const struct tally lines = reader_settle(reader, RECORD_LOG, written);
    printf("figure: exact accounting, %s: %d lanes x %" PRIu64 " records; lines: %" PRIu64
           " delivered + %" PRIu64 " lost == %" PRIu64 "; spans: %" PRIu64 " + %" PRIu64
           " == %" PRIu64 "\n",
           what, THREADS, 2 * written, lines.delivered, lines.missing, THREADS * written,
           spans.delivered, spans.missing, THREADS * written);
}

/* ---- beside a writer that never waits -------------------------------------------------------- */

struct shared {
    atomic_int attached, writer_done;
};
struct beside {
    struct shared *shared;
    const char *path;
    uint64_t interval_ns; /* 0: none */
    uint64_t written;
};

static void beside_play(void *arg)
{
    const struct beside *beside = arg;
    const uint64_t second = 1000000000;
    const struct timespec interval = {(time_t)(beside->interval_ns / second),
                                      (long)(beside->interval_ns % second)};
    struct reader reader;
    char what[64] = "a reader in a tight loop";
    reader_open(&reader, beside->path);
    atomic_fetch_add(&beside->shared->attached, 1);
    while (!atomic_load(&beside->shared->writer_done)) {
        nanosleep(&interval, NULL);
        reader_drain(&reader);
    }
    reader_drain(&reader);
    if (beside->interval_ns > 0)
        snprintf(what, sizeof what, "a reader every %" PRIu64 " ms", beside->interval_ns / 1000000);
    reader_report(&reader, what, beside->written);
    reader_close(&reader);
}

static void account_beside(const char *directory, uint64_t written, uint64_t interval_ns)
{
    struct shared *shared = memory_shared(sizeof *shared);
    struct writer writer;
    pid_t pids[2];
    writer_start(&writer, directory);
    for (unsigned i = 0; i < 2; i++)
        pids[i] = child_start(
            beside_play, &(struct beside){shared, writer.path, i == 0 ? 0 : interval_ns, written});
    await(&shared->attached, 2);
    writer_tell(&writer, written);
    atomic_store(&shared->writer_done, 1);
    child_end(pids[0]);
    child_end(pids[1]);
    writer_end(&writer);
}

/* ---- stopped for ten laps -------------------------------------------------------------------- */

/* The oldest of the records 0..written-1 of a lane that still fits its ring with all after it. */
static uint64_t oldest_surviving(int kind, unsigned thread, uint64_t written)
{
    const uint64_t capacity = kind == RECORD_LOG ? LOG_RING : SPAN_RING;
    uint64_t oldest = written, bytes = 0;
    while (oldest > 0) {
        bytes += unit_record_bytes((enum record_kind)kind, unit_id(thread, oldest - 1));
        if (bytes > capacity)
            break;
        oldest--;
    }
    return oldest;
}

/* How far the writer has to go from record `from` on until its log rings went round LAPS times; the
 * smaller rings of spans did so then, too. */
static uint64_t laps_later(uint64_t from)
{
    uint64_t furthest = from;
    for (unsigned thread = 0; thread < THREADS; thread++) {
        uint64_t to = from;
        for (uint64_t bytes = 0; bytes < LAPS * LOG_RING; to++)
            bytes += unit_record_bytes(RECORD_LOG, unit_id(thread, to));
        if (to > furthest)
            furthest = to;
    }
    return furthest;
}

static void account_stopped(const char *directory, uint64_t records)
{
    struct writer writer;
    struct reader reader;
    uint64_t written = 0, stops = 0;
    writer_start(&writer, directory);
    reader_open(&reader, writer.path);
    for (; written < records; stops++) {
        written = laps_later(written);
        writer_tell(&writer, written);
        for (int kind = RECORD_SPAN; kind <= RECORD_LOG; kind++)
            for (unsigned thread = 0; thread < THREADS; thread++)
                reader.tallies[kind][thread].must = oldest_surviving(kind, thread, written);
        reader_drain(&reader);
        (void)reader_settle(&reader, RECORD_SPAN, written);
        (void)reader_settle(&reader, RECORD_LOG, written);
    }
    reader_report(&reader, "a reader stopped for 10 laps", written);
    printf("figure: stopped for 10 laps: %" PRIu64 " stops, each of %d lanes and 2 kinds: the "
           "oldest surviving record first, then each in order, the loss exact\n",
           stops, THREADS);
    reader_close(&reader);
    writer_end(&writer);
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "write") == 0) {
        writer_run(argv[2], (unsigned)strtoul(argv[3], NULL, 10), argc == 4);
        return 0;
    }
    if (argc != 2 || strcmp(argv[1], "account") != 0)
        fail("usage: lanes account | lanes write DIR THREADS [default]");
    /* Of each kind; a lane has twice as many records. */
    const uint64_t records = is_long() ? 5000000 : 50000;
    const char *directory = scratch_make();
    account_beside(directory, records, is_long() ? UINT64_C(2000000000) : 50000000);
    account_stopped(directory, records);
    return 0;
}
