/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Torn reads: a writer on the shim and two readers on the sidecar's snapshot, each a process of its
 * own, over a region file. The readers check every unit that the snapshot hands them as good.
 *
 *   torn flat       one life, without a pause
 *   torn overflow   many short lives. Sequences, positions and record numbers start just below
 *                   their overflow (a build with FWS_START_NEAR_OVERFLOW); the writer takes its
 *                   first steps in turn with a reader, so that both stand at the overflow. The
 *                   other reader comes when the writer is done, and was lapped across it.
 *
 * FWDSCOPE_LONG=1: the long form. Exit code 0: no unit was torn, and every kind was read.
 */
#include "processes.h"
#include "units.h"

#include "arena.h"
#include "shmlayout/region.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    READERS = 2,
    LATE_READER = 1, /* of an overflow life: begins when the writer is done */
    GROUPS = 16,
    HISTOGRAMS = 64,
    LIVE_SPANS = 8,
    BURST = 128,         /* writes of one unit before the next unit's turn */
    DOCUMENT_EVERY = 16, /* turns */
    SLOW_TURNS = 48,     /* of an overflow life: in turn with the reader */
    FAST_TURNS = 40,     /* and then flat out: several laps of each ring */
    FIRST_LINES = 40,    /* number and position overflow among them */
    DRAIN_RECORDS = 4096,
};

enum kind { GROUP, HISTOGRAM, ACTIVE_SPAN, FINISHED_SPAN, LOG_LINE, DOCUMENT, KINDS };
static const char *const kind_names[KINDS] = {"groups",         "histograms", "active spans",
                                              "finished spans", "log lines",  "documents"};

/* What a reader counts. The first KINDS are units that were accepted, of each kind. */
enum count {
    TORN = KINDS, /* units that were handed out as good and are not */
    ROUNDS,       /* readings */
    REFUSED,      /* units left out of a reading */
    RETRIED,      /* copies thrown away */
    LOST,         /* records that were told as lost */
    MISCOUNTED,   /* lives whose lost lines are not those that are missing */
    THROUGH,      /* lives whose log cursor passed the overflow line by line, */
    OVER,         /* or in one jump that was counted exactly */
    COUNTS_TOLD,
};

/* Memory of all processes. */
struct shared {
    char path[4096];
    atomic_int writer_ready, readers_ready, stop, writer_done;
    struct {
        _Alignas(128) atomic_ulong counts[COUNTS_TOLD];
    } told[READERS];
};

static bool overflow; /* the form */

/* ---- the writer ------------------------------------------------------------------------------ */

struct writer {
    fwdscope_pipeline pipelines[GROUPS];
    fwdscope_histogram histograms[HISTOGRAMS];
    fwdscope_span spans[LIVE_SPANS];
    uint64_t span_ids[LIVE_SPANS];
    unsigned span_steps[LIVE_SPANS];
    uint64_t recorded[HISTOGRAMS];
    uint64_t groups, started, lines, documents;
};

static void writer_open(struct writer *writer, struct shared *shared, const char *directory)
{
    const struct fwdscope_options options = {
        .service_name = "torn",
        .directory = directory,
        .lanes = 2,
        .active_spans = LIVE_SPANS,
        .log_ring_bytes = 64 << 10,
        .span_ring_bytes = 16 << 10,
        .drop_previous_life = true,
    };
    if (!fwdscope_open(&options))
        fail("the shim is off: %s", fwdscope_reason());
    for (unsigned i = 0; i < GROUPS; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%u", i);
        writer->pipelines[i] = fwdscope_pipeline_register(name, 0);
    }
    for (unsigned i = 0; i < HISTOGRAMS; i++)
        writer->histograms[i] = unit_histogram_register(i);
    snprintf(shared->path, sizeof shared->path, "%s", fwdscope_path());
}

static void write_span_step(struct writer *writer, size_t i)
{
    if (writer->span_steps[i] == 0)
        writer->span_ids[i] = writer->started++;
    unit_span_step(&writer->spans[i], writer->span_ids[i], writer->span_steps[i]);
    writer->span_steps[i] = (writer->span_steps[i] + 1) % UNIT_SPAN_STEPS;
}

/* `count` writes of one unit of each kind: of the turn-th. */
static void write_turn(struct writer *writer, uint64_t turn, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        unit_group_add(writer->pipelines[turn % GROUPS], writer->groups++);
    for (unsigned i = 0; i < count; i++)
        unit_histogram_record(writer->histograms[turn % HISTOGRAMS],
                              writer->recorded[turn % HISTOGRAMS]++);
    for (unsigned i = 0; i < count; i++)
        write_span_step(writer, turn % LIVE_SPANS);
    for (unsigned i = 0; i < count; i++)
        unit_log(writer->lines++);
    if (turn % DOCUMENT_EVERY == 0)
        unit_document(writer->documents++);
}

/* Until the reader that reads all the time has begun another reading. */
static void await_round(struct shared *shared)
{
    const atomic_ulong *rounds = &shared->told[0].counts[ROUNDS];
    const unsigned long seen = atomic_load(rounds);
    while (atomic_load(rounds) == seen)
        sched_yield();
}

static void write_life(struct shared *shared, const char *directory)
{
    static struct writer writer;
    writer_open(&writer, shared, directory);
    atomic_store(&shared->writer_ready, 1);
    await(&shared->readers_ready, READERS + 1); /* and who watches the words */
    for (uint64_t turn = 0; !atomic_load(&shared->stop); turn++) {
        const bool slow = overflow && turn < SLOW_TURNS;
        write_turn(&writer, turn, slow ? 1 : BURST);
        if (slow)
            await_round(shared);
        if (overflow && turn == SLOW_TURNS + FAST_TURNS)
            break;
    }
    atomic_store(&shared->writer_done, 1);
    fwdscope_close(FWDSCOPE_CLOSED, "done");
}

/* ---- a reader -------------------------------------------------------------------------------- */

struct reader {
    uint64_t counts[COUNTS_TOLD]; /* of this life */
    struct arena *arena;
    uint64_t line, missing; /* the next log line, and how many were passed over */
    bool jumped;            /* the first line that it saw was none of the first */
    char document[32];      /* path of the last one that was seen */
};

static void judge(struct reader *reader, enum kind kind, bool good, uint64_t which)
{
    if (!good && reader->counts[TORN] == 0)
        fprintf(stderr, "torn: %s, number %llu\n", kind_names[kind], (unsigned long long)which);
    reader->counts[good ? (enum count)kind : TORN]++;
}

static void check_snapshot(struct reader *reader, struct region *region,
                           const struct snapshot *snapshot)
{
    size_t active;
    const struct span *spans = region_active_spans(region, &active);
    for (size_t i = 0; i < snapshot->pipeline_count; i++)
        if (!snapshot->pipelines[i].batches_stale && snapshot->pipelines[i].batches[0] != 0)
            judge(reader, GROUP, unit_group_good(snapshot->pipelines[i].batches), i);
    for (size_t i = 0; i < snapshot->instrument_count; i++)
        if (snapshot->values_absent[i] == 0)
            judge(reader, HISTOGRAM,
                  unit_histogram_good(snapshot->values + snapshot->instruments[i].value_index), i);
    for (size_t i = 0; i < active; i++)
        judge(reader, ACTIVE_SPAN, unit_active_span_good(&spans[i]), i);
    if (active != snapshot->active_span_count)
        judge(reader, ACTIVE_SPAN, false, active);
    reader->counts[REFUSED] += snapshot->stale;
}

static void check_document(struct reader *reader, struct region *region)
{
    const char *path, *text;
    size_t bytes;
    if (region_config(region, &path, &text, &bytes) != CONFIG_PUBLISHED ||
        strcmp(path, reader->document) == 0)
        return;
    snprintf(reader->document, sizeof reader->document, "%s", path);
    judge(reader, DOCUMENT, unit_document_good(path, text, bytes), 0);
}

static void check_record(void *arg, const struct record *record)
{
    struct reader *reader = arg;
    uint64_t id = 0;
    const bool good = unit_record_good(reader->arena, record, &id);
    if (record->kind == RECORD_SPAN) { /* they end in an order of their own */
        judge(reader, FINISHED_SPAN, good, id);
        return;
    }
    judge(reader, LOG_LINE, good && id >= reader->line, id);
    if (reader->line == 0 && id >= FIRST_LINES)
        reader->jumped = true;
    if (id == FIRST_LINES && reader->missing == 0 && reader->line == id)
        reader->counts[THROUGH]++;
    reader->missing += id - reader->line;
    reader->line = id + 1;
}

static const struct snapshot *sample(struct region *region)
{
    return region_sample(region, clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_MONOTONIC));
}

/* Reads until the writer is done; then everything is taken, and what is missing is what was told
 * as lost. */
static void read_region(struct reader *reader, struct region *region, struct shared *shared,
                        atomic_ulong *told)
{
    uint64_t before[COUNTS_TOLD];
    for (size_t i = 0; i < COUNTS_TOLD; i++)
        before[i] = atomic_load(&told[i]);
    for (bool done = false; !done;) {
        done = atomic_load(&shared->writer_done) != 0;
        check_snapshot(reader, region, sample(region));
        check_document(reader, region);
        while (region_drain(region, DRAIN_RECORDS, check_record, reader, NULL) > 0 && done)
            ;
        reader->counts[ROUNDS]++;
        if (done) {
            const struct snapshot *last = sample(region);
            reader->counts[LOST] = last->lost.logs + last->lost.spans;
            reader->counts[RETRIED] = last->retries;
            reader->counts[MISCOUNTED] = last->lost.logs != reader->missing;
            reader->counts[OVER] = reader->jumped && last->lost.logs == reader->missing;
        }
        for (size_t i = 0; i < COUNTS_TOLD; i++)
            atomic_store_explicit(&told[i], before[i] + reader->counts[i], memory_order_relaxed);
    }
}

static void read_life(struct shared *shared, unsigned number)
{
    struct reader reader = {.arena = arena_new(1 << 20)};
    struct region *region;
    char why[512] = "no memory";
    await(&shared->writer_ready, 1);
    if (reader.arena == NULL ||
        region_open(shared->path, &region, NULL, why, sizeof why) != ATTACH_OK)
        fail("cannot read %s: %s", shared->path, why);
    atomic_fetch_add(&shared->readers_ready, 1);
    if (overflow && number == LATE_READER)
        await(&shared->writer_done, 1);
    read_region(&reader, region, shared, shared->told[number].counts);
    region_close(&region);
    arena_free(&reader.arena);
}

/* ---- the overflow ---------------------------------------------------------------------------- */

/* The words that start just below overflow: of lane 1 unless they have none. */
enum { MARKS = GROUPS + LIVE_SPANS + 3 };

static const fws_word *section_of(const struct fws_view *view, enum fws_section kind, size_t lane,
                                  size_t entry)
{
    const fws_word *directory = view->words + FWS_PAGE_BYTES / FWS_WORD_BYTES;
    for (size_t i = 0; i < view->prefix[FWS_H_DIR_COUNT]; i++) {
        const fws_word *d = directory + i * (view->prefix[FWS_H_DIR_STRIDE] / FWS_WORD_BYTES);
        if (fws_peek(&d[FWS_D_KIND]) == (uint64_t)kind)
            return view->words + fws_peek(&d[FWS_D_OFFSET]) / FWS_WORD_BYTES +
                   (lane * fws_peek(&d[FWS_D_COUNT]) + entry) * fws_peek(&d[FWS_D_STRIDE]) /
                       FWS_WORD_BYTES;
    }
    fail("no section %d", (int)kind);
}

static void marks_read(const struct fws_view *view, uint64_t marks[MARKS])
{
    size_t at = 0;
    for (size_t i = 0; i < GROUPS; i++)
        marks[at++] = fws_peek(section_of(view, FWS_SECTION_BATCHES, 1, i) + FWS_B_SEQ);
    for (size_t i = 0; i < LIVE_SPANS; i++)
        marks[at++] = fws_peek(section_of(view, FWS_SECTION_ACTIVE_SPANS, 0, i) + FWS_A_SEQ);
    marks[at++] = fws_peek(section_of(view, FWS_SECTION_CONFIG, 0, 0) + FWS_CONFIG_SEQ);
    marks[at++] = fws_peek(section_of(view, FWS_SECTION_SPAN_RINGS, 1, 0) + FWS_R_TAIL);
    marks[at++] = fws_peek(section_of(view, FWS_SECTION_LOG_RINGS, 1, 0) + FWS_R_TAIL);
}

/* Each of them stood just below overflow and has passed it. */
static void check_passed(const uint64_t before[MARKS], const uint64_t after[MARKS])
{
    for (size_t i = 0; i < MARKS; i++)
        if (before[i] < UINT64_MAX - 8192 || after[i] > UINT64_MAX / 2)
            fail("word %zu went from %#llx to %#llx: no overflow", i, (unsigned long long)before[i],
                 (unsigned long long)after[i]);
}

/* ---- lives ----------------------------------------------------------------------------------- */

struct role {
    struct shared *shared;
    const char *directory;
    int reader; /* < 0: the writer */
};

static void role_play(void *arg)
{
    const struct role *role = arg;
    if (role->reader < 0)
        write_life(role->shared, role->directory);
    else
        read_life(role->shared, (unsigned)role->reader);
}

static uint64_t told(const struct shared *shared, size_t what)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < READERS; i++)
        sum += atomic_load(&shared->told[i].counts[what]);
    return sum;
}

static uint64_t accepted(const struct shared *shared)
{
    uint64_t sum = 0;
    for (size_t kind = 0; kind < KINDS; kind++)
        sum += told(shared, kind);
    return sum;
}

/* A writer and its readers; a life without an end of its own is stopped at `reads` accepted units.
 */
static void live(struct shared *shared, const char *directory, uint64_t reads)
{
    pid_t pids[1 + READERS];
    uint64_t before[MARKS], after[MARKS];
    struct fws_view view;
    char why[512];

    atomic_store(&shared->writer_ready, 0);
    atomic_store(&shared->readers_ready, 0);
    atomic_store(&shared->stop, 0);
    atomic_store(&shared->writer_done, 0);
    for (int i = 0; i <= READERS; i++)
        pids[i] = child_start(role_play, &(struct role){shared, directory, i - 1});
    await(&shared->writer_ready, 1);
    if (fws_view_attach(shared->path, &view, why, sizeof why) != FWS_ATTACH_OK)
        fail("cannot read %s: %s", shared->path, why);
    marks_read(&view, before);
    atomic_fetch_add(&shared->readers_ready, 1);
    while (!overflow && accepted(shared) < reads)
        await_others();
    atomic_store(&shared->stop, !overflow);
    for (int i = 0; i <= READERS; i++)
        child_end(pids[i]);
    marks_read(&view, after);
    fws_view_detach(&view);
    if (overflow)
        check_passed(before, after);
}

/* ---- the claims ------------------------------------------------------------------------------ */

static void report(const struct shared *shared, unsigned long long lives, double seconds)
{
    printf("figure: torn reads, %s: %llu accepted, %llu torn; %llu refused, %llu copies retried, "
           "%llu readings, %llu records lost and told, %.0f s\n",
           overflow ? "across overflow" : "flat out", (unsigned long long)accepted(shared),
           (unsigned long long)told(shared, TORN), (unsigned long long)told(shared, REFUSED),
           (unsigned long long)told(shared, RETRIED), (unsigned long long)told(shared, ROUNDS),
           (unsigned long long)told(shared, LOST), seconds);
    printf("figure: torn reads, accepted of each kind:");
    for (size_t kind = 0; kind < KINDS; kind++)
        printf("%s %s %llu", kind > 0 ? "," : "", kind_names[kind],
               (unsigned long long)told(shared, kind));
    printf("\n");
    if (overflow)
        printf("figure: overflow passed: %llu lives of %u words each; line by line in %llu, in one "
               "jump counted exactly in %llu\n",
               lives, MARKS, (unsigned long long)told(shared, THROUGH),
               (unsigned long long)told(shared, OVER));
}

static void judge_all(const struct shared *shared)
{
    for (size_t kind = 0; kind < KINDS; kind++)
        if (told(shared, kind) == 0)
            fail("no %s were read", kind_names[kind]);
    if (told(shared, TORN) != 0 || told(shared, MISCOUNTED) != 0)
        fail("%llu torn units, %llu lives with wrong losses",
             (unsigned long long)told(shared, TORN), (unsigned long long)told(shared, MISCOUNTED));
    if (told(shared, RETRIED) == 0 || told(shared, LOST) == 0)
        fail("writer and readers never met");
    if (overflow && (told(shared, THROUGH) == 0 || told(shared, OVER) == 0))
        fail("no cursor passed the overflow");
}

int main(int argc, char **argv)
{
    if (argc != 2 || (strcmp(argv[1], "flat") != 0 && strcmp(argv[1], "overflow") != 0))
        fail("usage: torn flat|overflow");
    overflow = strcmp(argv[1], "overflow") == 0;
    const unsigned long long lives = !overflow ? 1 : is_long() ? 1000 : 50;
    const uint64_t reads = is_long() ? UINT64_C(1000000000) : UINT64_C(20000000);
    const uint64_t begun = clock_ns(CLOCK_MONOTONIC);
    struct shared *shared = memory_shared(sizeof *shared);
    const char *directory = scratch_make();

    for (unsigned long long i = 0; i < lives; i++)
        live(shared, directory, reads);
    report(shared, lives, (double)(clock_ns(CLOCK_MONOTONIC) - begun) / 1e9);
    judge_all(shared);
    return 0;
}
