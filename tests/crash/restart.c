/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer that is killed at random moments and started again.
 *
 *   restart cycles DIR COUNT SEED   COUNT lives of one instance in one directory. Most are ended by
 *       SIGKILL, during open or while they write; one in eight ends in good order. After each the
 *       region is read: every line that the writer saw complete is there, unless lapped and
 * counted. restart write DIR PROGRESS PACE_US   one life that writes until it is killed; PROGRESS
 * is a file of struct progress. For tests that watch from outside.
 */
#include "listing.h"

#include "fwdscope.h"
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 256, HANG_S = 120, LINES_A_PAUSE = 16 };

/* How a life goes, drawn from LIFE_KINDS. */
enum {
    CLOSES,         /* ends in good order */
    FLAT_OUT,       /* writes without a pause, so that the ring is lapped */
    DIES_EARLY = 5, /* this and above: killed in open, or soon after it */
    LIFE_KINDS = 8,
};

/* What the writer tells; memory that survives it. Words of 8 bytes, in this order. */
struct progress {
    volatile uint64_t opened;      /* 1: the shim is on, 2: it is not */
    volatile uint64_t begun, done; /* log lines: the call was made, the call returned */
    volatile uint64_t generation, regions, filling; /* the directory, after open */
    volatile uint64_t told_to_close;
    char reason[256];
};

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "restart: %s: %s\n", what, detail);
    exit(1);
}

static void pause_us(uint64_t us)
{
    const struct timespec pause = {.tv_sec = (time_t)(us / 1000000),
                                   .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&pause, NULL);
}

static uint64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- the writer ------------------------------------------------------------------------------ */

/* Line `number` of a life: every byte follows from both. Returns its length. */
static size_t line_make(uint64_t generation, uint64_t number, char out[LINE_BYTES_MAX])
{
    const size_t bytes = 64 + (size_t)(number * 7 % 150);
    int n = snprintf(out, LINE_BYTES_MAX, "life %llu line %llu ", (unsigned long long)generation,
                     (unsigned long long)number);
    for (size_t i = (size_t)n; i < bytes; i++)
        out[i] = (char)('a' + (i + number) % 26);
    return bytes;
}

static bool writer_open(const char *dir, struct progress *progress)
{
    const bool on = fwdscope_open(&(struct fwdscope_options){
        .service_name = "crash", .instance = "restart", .directory = dir});
    snprintf(progress->reason, sizeof progress->reason, "%s", fwdscope_reason());
    const struct listing listing = listing_read(dir);
    progress->generation = listing.generation;
    progress->regions = listing.regions;
    progress->filling = listing.filling;
    progress->opened = on ? 1 : 2;
    return on;
}

/* Lines in between spans, batches and a histogram, until it is killed or told to close. */
static void writer_run(const char *dir, struct progress *progress, uint64_t pace_us)
{
    static const double bounds[] = {1, 10, 100};
    char line[LINE_BYTES_MAX];
    if (!writer_open(dir, progress))
        return;
    const fwdscope_histogram histogram =
        fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "wait"}, bounds, 3);
    const fwdscope_pipeline pipeline = fwdscope_pipeline_register("main", 0);
    const fwdscope_component input = fwdscope_input_register(pipeline, "in", "file", 0);
    fwdscope_component_health(input, FWDSCOPE_HEALTHY);
    for (uint64_t n = 0; !progress->told_to_close; n++) {
        const size_t bytes = line_make(progress->generation, n, line);
        progress->begun = n + 1;
        fwdscope_log(FWDSCOPE_INFO, line, bytes);
        progress->done = n + 1;
        if (n % LINES_A_PAUSE != 0)
            continue;
        const fwdscope_span span = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
        fwdscope_histogram_record(histogram, (double)(n % 128));
        fwdscope_component_progress(input, LINES_A_PAUSE, bytes);
        fwdscope_batch_add(pipeline, &(struct fwdscope_batch){.batches = 1, .rows = 16});
        fwdscope_span_end(span, 0);
        if (pace_us > 0)
            pause_us(pace_us);
    }
    fwdscope_close(FWDSCOPE_CLOSED, "told to");
}

/* ---- what a life left ------------------------------------------------------------------------ */

struct lines {
    uint64_t generation, first, next, count;
    bool torn;
    struct arena *arena;
};

static void line_take(void *arg, const struct record *record)
{
    struct lines *lines = arg;
    struct log_record log;
    char expected[LINE_BYTES_MAX];
    if (record->kind != RECORD_LOG)
        return;
    arena_reset(lines->arena);
    if (!record_decode_log(lines->arena, record, &log)) {
        lines->torn = true;
        return;
    }
    const char *number = strstr(log.body, " line ");
    const uint64_t n = number != NULL ? strtoull(number + 6, NULL, 10) : UINT64_MAX;
    if (lines->count == 0)
        lines->first = lines->next = n;
    const size_t bytes = line_make(lines->generation, n, expected);
    if (n != lines->next || bytes != log.body_bytes || memcmp(expected, log.body, bytes) != 0)
        lines->torn = true;
    lines->next = n + 1;
    lines->count++;
}

/* Of the whole run. */
static struct {
    uint64_t opened, closed, killed_in_open, killed_writing;
    uint64_t lines_done, lines_read, lines_lapped, empty_files_max, generation;
    struct progress *progress;
    struct arena *arena;
} run;

/* Every line that was complete is there, from the oldest that the ring has room for. */
static void lines_judge(const struct lines *lines, uint64_t lost)
{
    const struct progress *progress = run.progress;
    if (lines->torn)
        die("a line", "is torn, doubled or out of order");
    if (lines->count > 0 && lines->first != lost)
        die("the first line", "what is missing before it is not counted as lost");
    if (lines->next < progress->done || lines->next > progress->begun)
        die("the last line", "a complete line is missing, or one that was never written is there");
    run.lines_done += progress->done;
    run.lines_read += lines->count;
    run.lines_lapped += lost;
}

/* The newest region of the directory is that of the life that just ended. */
static void remains_read(const char *path, bool closed)
{
    struct region *region;
    struct identity identity;
    char why[256];
    if (region_open(path, &region, &identity, why, sizeof why) != ATTACH_OK)
        die("what a life left is refused", why);
    struct lines lines = {.generation = identity.generation, .arena = run.arena};
    (void)region_drain(region, SIZE_MAX, line_take, &lines, NULL);
    const struct snapshot *snapshot = region_sample(region, 1, 1);
    if (snapshot->lock != LOCK_FREE || snapshot->state != (closed ? STATE_CLOSED : STATE_RUNNING) ||
        snapshot->stale > 1)
        die(path, "the lock is held, the state is wrong, or two units are in the middle");
    lines_judge(&lines, snapshot->lost.logs);
    region_close(&region);
}

/* ---- cycles ---------------------------------------------------------------------------------- */

/* A pseudo-random number below `limit`. */
static uint64_t draw(uint64_t *seed, uint64_t limit)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % limit;
}

/* Awaits the end of open; its time in us. */
static uint64_t opened_await(pid_t pid)
{
    const uint64_t begun = clock_us();
    while (run.progress->opened == 0) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            die("a writer", "ended while it opened");
        pause_us(20);
    }
    return clock_us() - begun;
}

static void life_end(pid_t pid, bool closes)
{
    int status;
    if (closes)
        run.progress->told_to_close = 1;
    else
        kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid", strerror(errno));
    if (closes ? !WIFEXITED(status) || WEXITSTATUS(status) != 0
               : !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("a writer", "ended by itself");
}

/* What holds after each life, whenever it ended. */
static void life_judge(const char *dir, bool closed)
{
    const struct progress *progress = run.progress;
    const struct listing listing = listing_read(dir);
    if (progress->opened == 2)
        die("a start failed", progress->reason);
    if (progress->opened == 1) {
        run.opened++;
        if (progress->generation != run.generation + 1)
            die("a life", "its generation is not the next one");
        if (progress->regions > 2 || progress->filling > 0)
            die("a life", "more than one region was left over beside it");
    }
    if (listing.begun > run.empty_files_max)
        run.empty_files_max = listing.begun;
    if (listing.generation < run.generation)
        die("the directory", "the newest generation is gone");
    /* Killed after the region was there and before it could say so: that life counts too. */
    if (listing.generation > run.generation || closed)
        remains_read(listing.newest, closed);
    run.generation = listing.generation;
}

static void cycle(const char *dir, uint64_t *seed, uint64_t *open_us)
{
    memset(run.progress, 0, sizeof *run.progress);
    const uint64_t kind = draw(seed, LIFE_KINDS);
    const pid_t pid = fork();
    if (pid < 0)
        die("fork", strerror(errno));
    if (pid == 0) {
        alarm(HANG_S);
        writer_run(dir, run.progress, kind == FLAT_OUT ? 0 : 200);
        _exit(0);
    }
    if (kind >= DIES_EARLY) {
        pause_us(draw(seed, 2 * *open_us));
    } else {
        *open_us = (*open_us * 7 + opened_await(pid)) / 8;
        pause_us(draw(seed, kind == FLAT_OUT ? 40000 : 10000));
    }
    life_end(pid, kind == CLOSES);
    run.closed += kind == CLOSES;
    if (kind != CLOSES)
        *(run.progress->opened != 0 ? &run.killed_writing : &run.killed_in_open) += 1;
    life_judge(dir, kind == CLOSES);
}

static int cycles_run(const char *dir, uint64_t count, uint64_t seed)
{
    uint64_t open_us = 500;
    run.progress =
        mmap(NULL, sizeof *run.progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    run.arena = arena_new((size_t)1 << 20);
    if (run.progress == MAP_FAILED || run.arena == NULL)
        die("no memory", "");
    for (uint64_t i = 0; i < count; i++)
        cycle(dir, &seed, &open_us);
    arena_free(&run.arena);
    if (run.killed_in_open == 0 || run.killed_writing == 0 || run.closed == 0 ||
        run.lines_read == 0 || run.lines_lapped == 0)
        die("this run shows nothing", "some kind of end never came");
    printf("figure: kill -9 and restart: cycles %llu (killed in open %llu, while writing %llu, "
           "closed %llu), starts that came to an end %llu, failed 0, leftovers at most 1, "
           "generation %llu\n",
           (unsigned long long)count, (unsigned long long)run.killed_in_open,
           (unsigned long long)run.killed_writing, (unsigned long long)run.closed,
           (unsigned long long)run.opened, (unsigned long long)run.generation);
    printf("figure: lines complete before the end: %llu, read %llu, lapped and counted %llu, torn "
           "0, missing 0\n",
           (unsigned long long)run.lines_done, (unsigned long long)run.lines_read,
           (unsigned long long)run.lines_lapped);
    printf("figure: empty files of writers that died before they locked: at most %llu at a time\n",
           (unsigned long long)run.empty_files_max);
    return 0;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int write_run(const char *dir, const char *path, uint64_t pace_us)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        die(path, strerror(errno));
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (progress == MAP_FAILED)
        die(path, strerror(errno));
    close(fd);
    alarm(HANG_S);
    writer_run(dir, progress, pace_us);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "cycles") == 0)
        return cycles_run(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    if (argc == 5 && strcmp(argv[1], "write") == 0)
        return write_run(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    return 2;
}
