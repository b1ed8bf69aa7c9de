/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fleet over real regions, with a clock of the test's own: what is bounded over all lives, what
 * is forgotten when, and totals that never fall.
 */
#include "fleet.h"
#include "fwdscope.h"
#include "sampler.h"

#include "shmlayout/region.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND_NS UINT64_C(1000000000)

enum { LINE_BYTES = 500, DESCRIPTION_BYTES = 1000, PATH_BYTES = 512, FORWARDERS_MAX = 8 };
#define REGION_BYTES ((size_t)192 << 20)

static char dir[64];
static size_t line_bytes, counters, ring_bytes; /* of the forwarders that are started from now on */

/* A forwarder in a process of its own, which writes when it is told to. */
struct forwarder {
    pid_t pid; /* 0: it is dead */
    int orders, answers;
    char path[PATH_BYTES];
};

static struct forwarder forwarders[FORWARDERS_MAX];
static size_t forwarder_count;
static struct fleet fleet;
static uint64_t now_ns;

/* ---- forwarders ------------------------------------------------------------------------------ */

/* Each a metric of its own, with DESCRIPTION_BYTES that describe it. */
static void counters_register(void)
{
    char name[32], description[DESCRIPTION_BYTES + 1] = {0};
    memset(description, 'd', DESCRIPTION_BYTES);
    for (size_t i = 0; i < counters; i++) {
        snprintf(name, sizeof name, "counter.%zu", i);
        const struct fwdscope_instrument counter = {.name = name, .description = description};
        fwdscope_counter_add(fwdscope_counter_register(&counter), 1);
    }
}

_Noreturn static void forwarder_run(const char *instance, int orders, int answers)
{
    const struct fwdscope_options options = {
        .service_name = "tester",
        .instance = instance,
        .directory = dir,
        .lanes = 2,
        .instruments = 16 + 8 * (uint32_t)counters, /* with room for what describes them */
        .active_spans = 1,
        .log_ring_bytes = (uint32_t)ring_bytes,
        .span_ring_bytes = 16 << 10,
    };
    static const char line[FWS_LOG_BYTES_MAX];
    char path[PATH_BYTES] = "";
    uint32_t lines;
    if (fwdscope_open(&options))
        snprintf(path, sizeof path, "%s", fwdscope_path());
    counters_register();
    if (write(answers, path, sizeof path) != sizeof path)
        _exit(1);
    while (read(orders, &lines, sizeof lines) == sizeof lines) {
        for (uint32_t i = 0; i < lines; i++)
            fwdscope_log(FWDSCOPE_INFO, line, line_bytes);
        if (write(answers, &lines, sizeof lines) != sizeof lines)
            _exit(1);
    }
    _exit(0);
}

static struct forwarder *forwarder_start(const char *instance)
{
    struct forwarder *it = &forwarders[forwarder_count++];
    int orders[2], answers[2];
    assert_true(forwarder_count <= FORWARDERS_MAX);
    assert_int_equal(pipe2(orders, O_CLOEXEC) + pipe2(answers, O_CLOEXEC), 0);
    it->pid = fork();
    if (it->pid == 0) {
        close(orders[1]); /* or it would never see the end of its orders */
        forwarder_run(instance, orders[0], answers[1]);
    }
    assert_true(it->pid > 0);
    close(orders[0]);
    close(answers[1]);
    it->orders = orders[1];
    it->answers = answers[0];
    assert_int_equal(read(it->answers, it->path, sizeof it->path), sizeof it->path);
    assert_true(it->path[0] != '\0');
    return it;
}

static void forwarder_write(const struct forwarder *it, uint32_t lines)
{
    assert_int_equal(write(it->orders, &lines, sizeof lines), sizeof lines);
    assert_int_equal(read(it->answers, &lines, sizeof lines), sizeof lines);
}

static void forwarder_kill(struct forwarder *it)
{
    int status;
    if (it->pid == 0)
        return;
    kill(it->pid, SIGKILL);
    assert_int_equal(waitpid(it->pid, &status, 0), it->pid);
    close(it->orders);
    close(it->answers);
    it->pid = 0;
}

/* As much of a region as tests write to: its header, its directory, its first rings. */
static uint64_t *region_map(const char *path)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint64_t *words = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(words != MAP_FAILED);
    return words;
}

/* ---- the fleet ------------------------------------------------------------------------------- */

/* What a tick does, at a time of the test's choice. */
static void tick_at(uint64_t mono_ns)
{
    unsigned fill;
    now_ns = mono_ns;
    fleet_scan(&fleet);
    (void)fleet_drain(&fleet, &fill);
    fleet_sample(&fleet, now_ns, now_ns);
    documents_advance(&fleet);
}

static void ticks(int count)
{
    while (count-- > 0)
        tick_at(now_ns + 2 * SECOND_NS);
}

static int fleet_setup(void **state)
{
    (void)state;
    const struct fleet_target target = {.dir = dir};
    struct sampler sampler;
    snprintf(dir, sizeof dir, "/dev/shm/fwdscope-fleet-XXXXXX");
    if (mkdtemp(dir) == NULL || !sampler_init(&sampler, &target, 2 * SECOND_NS, NULL))
        return -1;
    struct life_options options = sampler.fleet.options;
    options.hold_back = true; /* as `serve` does */
    sampler_free(&sampler);
    fleet_init(&fleet, &target, &options);
    fleet.silent = true;
    forwarder_count = 0;
    line_bytes = LINE_BYTES;
    counters = 0;
    ring_bytes = 64 << 20;
    now_ns = 1000 * SECOND_NS;
    return 0;
}

static int fleet_teardown(void **state)
{
    (void)state;
    char command[128];
    for (size_t i = 0; i < forwarder_count; i++)
        forwarder_kill(&forwarders[i]);
    fleet_free(&fleet);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

static size_t history_bytes_of_all(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < fleet.count; i++)
        bytes += history_bytes(&fleet.lives[i]->history);
    return bytes;
}

static const struct life *current_named(const char *instance)
{
    for (size_t i = 0; i < fleet.current_count; i++) {
        if (strcmp(fleet.current[i]->identity->instance, instance) == 0)
            return fleet.current[i];
    }
    return NULL;
}

/* ---- what is forgotten ----------------------------------------------------------------------- */

static void a_dead_life_whose_file_was_removed_is_forgotten_in_time(void **state)
{
    (void)state;
    struct forwarder *removed = forwarder_start("removed"), *kept = forwarder_start("kept");
    forwarder_write(removed, 5);
    ticks(1);
    forwarder_kill(removed);
    forwarder_kill(kept);
    ticks(3);
    assert_int_equal(fleet.current_count, 2);
    assert_int_equal(unlink(removed->path), 0);
    ticks(1);
    const uint64_t seen_ns = now_ns;
    tick_at(seen_ns + 300 * SECOND_NS); /* evidence until the very end */
    assert_int_equal(fleet.current_count, 2);
    assert_int_equal(current_named("removed")->history.logs.next, 5);
    tick_at(seen_ns + 301 * SECOND_NS);
    assert_int_equal(fleet.current_count, 1);
    assert_null(current_named("removed"));
    tick_at(seen_ns + 9000 * SECOND_NS); /* one that is there stays for ever */
    assert_non_null(current_named("kept"));
    assert_int_equal(policy_readiness(fleet.views, fleet.current_count, fleet.trouble).ready,
                     false);
    assert_int_equal(unlink(kept->path), 0);
    ticks(1);
    tick_at(now_ns + 301 * SECOND_NS);
    assert_int_equal(fleet.current_count, 0);
}

static void a_file_that_comes_back_was_not_removed(void **state)
{
    (void)state;
    char aside[PATH_BYTES + 8];
    struct forwarder *it = forwarder_start("moved");
    ticks(1);
    forwarder_kill(it);
    ticks(1);
    snprintf(aside, sizeof aside, "%s.aside", it->path);
    assert_int_equal(rename(it->path, aside), 0);
    tick_at(now_ns + 2 * SECOND_NS);
    tick_at(now_ns + 200 * SECOND_NS);
    assert_int_equal(rename(aside, it->path), 0);
    tick_at(now_ns + 200 * SECOND_NS);
    assert_int_equal(rename(it->path, aside), 0);
    tick_at(now_ns + 200 * SECOND_NS); /* counted anew */
    tick_at(now_ns + 299 * SECOND_NS);
    assert_int_equal(fleet.current_count, 1);
    tick_at(now_ns + 2 * SECOND_NS);
    assert_int_equal(fleet.current_count, 0);
}

/* Of a forwarder that runs, and of a life that is only the previous one, nothing is forgotten. */
static void the_living_and_the_previous_stay(void **state)
{
    (void)state;
    struct forwarder *first = forwarder_start("again");
    ticks(1);
    forwarder_kill(first);
    struct forwarder *second = forwarder_start("again");
    ticks(2);
    assert_int_equal(fleet.current_count, 1);
    assert_non_null(fleet.current[0]->previous);
    (void)unlink(first->path);
    assert_int_equal(unlink(second->path), 0);
    ticks(1);
    tick_at(now_ns + 1000 * SECOND_NS);
    assert_int_equal(fleet.current_count, 1);
    assert_int_equal(fleet.current[0]->verdict.state, WRITER_ALIVE);
    assert_non_null(fleet.current[0]->previous);
    forwarder_kill(second); /* only from its death on does the time count */
    ticks(1);
    tick_at(now_ns + 299 * SECOND_NS);
    assert_int_equal(fleet.count, 2);
    tick_at(now_ns + 2 * SECOND_NS); /* and with it goes the previous one, removed as long ago */
    assert_int_equal(fleet.count, 0);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void all_histories_together_are_bounded(void **state)
{
    (void)state;
    struct forwarder *them[4];
    for (size_t i = 0; i < 4; i++)
        them[i] = forwarder_start((const char *const[]){"a", "b", "c", "d"}[i]);
    fleet.history_bytes_max = 4 << 20;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 4; i++)
            forwarder_write(them[i], 1000); /* some 600 KiB */
        unsigned fill;
        (void)fleet_drain(&fleet, &fill); /* what it brings is not published, but all else may go */
        assert_true(history_bytes_of_all() <= 4 << 20);
        ticks(1);
    }
    for (size_t i = 0; i < 4; i++)
        forwarder_write(them[i], 1);
    ticks(2);
    assert_true(history_bytes_of_all() <= 4 << 20);
    for (size_t i = 0; i < 4; i++) {
        const struct record_queue *logs = &fleet.current[i]->history.logs;
        assert_int_equal(logs->next, 5001);
        assert_true(logs->bytes > 800 << 10); /* the same of each */
    }
    assert_int_equal(fleet_totals(&fleet).logs_lost, 0);
}

/* Points alone count too: no record comes that would make anybody look. */
static void points_alone_are_bounded(void **state)
{
    (void)state;
    (void)forwarder_start("a");
    (void)forwarder_start("b");
    fleet.history_bytes_max = 20000;
    ticks(100);
    assert_true(history_bytes_of_all() <= 20000);
    for (size_t i = 0; i < 2; i++) {
        const struct row_queue *rows = &fleet.current[i]->history.rows;
        assert_true(rows->bytes > 5000);
        assert_int_equal(row_queue_newest(rows)->time_unix_ns, now_ns);
    }
    fleet.history_bytes_max = 0;
    ticks(1);
    assert_int_equal(fleet.current[0]->history.rows.count, 1);
}

/* What finds no room before it is published stays in its ring, asks for a tick, and comes then. */
static void what_finds_no_room_waits_in_its_ring(void **state)
{
    (void)state;
    enum { LINES = 45000 }; /* 28 MiB, in a ring of 64; a queue takes 16 */
    struct forwarder *loud = forwarder_start("loud"), *quiet = forwarder_start("quiet");
    unsigned fill;
    ticks(1);
    assert_false(fleet_is_pressed(&fleet));
    forwarder_write(loud, LINES);
    forwarder_write(quiet, 3);
    (void)fleet_drain(&fleet, &fill);
    assert_true(fleet_is_pressed(&fleet));
    (void)fleet_drain(&fleet, &fill);
    assert_int_equal(fill, 1000);
    assert_true(current_named("loud")->history.logs.next < LINES);
    assert_int_equal(current_named("quiet")->history.logs.next, 3);
    int rounds = 0;
    for (; fleet_is_pressed(&fleet); rounds++) { /* as `serve` does */
        ticks(1);
        (void)fleet_drain(&fleet, &fill);
    }
    assert_in_range(rounds, 2, 6);
    assert_int_equal(current_named("loud")->history.logs.next, LINES);
    assert_int_equal(fleet_totals(&fleet).logs_lost, 0);
}

/* The log ring of a region that has records, in its words. */
static uint64_t *log_ring_of(uint64_t *words)
{
    const uint64_t *entry = words + words[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES;
    while (entry[FWS_D_KIND] != FWS_SECTION_LOG_RINGS)
        entry += FWS_D_WORDS;
    uint64_t *ring = words + entry[FWS_D_OFFSET] / FWS_WORD_BYTES;
    for (uint64_t lane = 0; lane < entry[FWS_D_LANES]; lane++) {
        if (ring[FWS_R_TAIL] != ring[FWS_R_START])
            return ring;
        ring += entry[FWS_D_STRIDE] * entry[FWS_D_COUNT] / FWS_WORD_BYTES;
    }
    fail_msg("no lane has a line");
    return NULL;
}

/* Makes spans, by name, of the first `count` lines of a region. */
static void lines_misplace(const char *path, size_t count)
{
    uint64_t *words = region_map(path), *ring = log_ring_of(words);
    const uint64_t mask = ring[FWS_R_CAPACITY] / FWS_WORD_BYTES - 1;
    uint64_t at = ring[FWS_R_START] / FWS_WORD_BYTES;
    for (size_t i = 0; i < count; i++) {
        ring[FWS_R_WORDS + ((at + FWS_REC_KIND) & mask)] = FWS_RECORD_SPAN;
        at += ring[FWS_R_WORDS + ((at + FWS_REC_LENGTH) & mask)] / FWS_WORD_BYTES;
    }
    munmap(words, REGION_BYTES);
}

/* Records that their ring is not for are no empty ring: what is behind them comes at once, and of a
 * dead forwarder too. */
static void behind_misplaced_records_it_goes_on(void **state)
{
    (void)state;
    enum { LINES = 3000, MISPLACED = 2900 }; /* some hundred are read at a time */
    for (int dead = 0; dead < 2; dead++) {
        struct forwarder *it = forwarder_start(dead ? "dead" : "living");
        unsigned fill;
        forwarder_write(it, LINES);
        lines_misplace(it->path, MISPLACED);
        if (dead)
            forwarder_kill(it);
        ticks(1);
        const struct life *life = current_named(dead ? "dead" : "living");
        (void)fleet_drain(&fleet, &fill);
        assert_int_equal(life->history.logs.next, LINES - MISPLACED);
        ticks(2);
        assert_int_equal(life_losses(life).logs, MISPLACED);
    }
}

/* Three of the longest lines leave a quarter of their chunk empty: room that nobody has. */
static void the_longest_lines_wait_as_well(void **state)
{
    (void)state;
    enum { LINES = 3000 }; /* 48 MiB, in a ring of 64; a queue takes 16 */
    line_bytes = FWS_LOG_BYTES_MAX;
    const struct forwarder *loud = forwarder_start("loud");
    unsigned fill;
    ticks(1);
    forwarder_write(loud, LINES);
    (void)fleet_drain(&fleet, &fill);
    assert_true(fleet_is_pressed(&fleet));
    for (; fleet_is_pressed(&fleet); (void)fleet_drain(&fleet, &fill)) {
        assert_int_equal(life_losses(current_named("loud")).logs, 0);
        ticks(1); /* as `serve` does */
    }
    assert_int_equal(current_named("loud")->history.logs.next, LINES);
    assert_int_equal(fleet_totals(&fleet).logs_lost, 0);
}

/* Of all lives together no more waits than makes one document; who had to wait is the next. */
static void all_that_waits_is_bounded(void **state)
{
    (void)state;
    enum { LINES = 8000 }; /* 5 MiB each */
    static const char *const names[] = {"a", "b", "c"};
    const struct forwarder *them[3];
    unsigned fill;
    for (size_t i = 0; i < 3; i++)
        them[i] = forwarder_start(names[i]);
    ticks(1);
    for (size_t i = 0; i < 3; i++)
        forwarder_write(them[i], LINES);
    fleet.waiting_bytes_max = 6 << 20;
    (void)fleet_drain(&fleet, &fill);
    assert_true(fleet_is_pressed(&fleet));
    size_t came = 0, waiting = 0;
    for (size_t i = 0; i < 3; i++) {
        came += fleet.lives[i]->history.logs.next > 0;
        waiting += history_waiting_bytes(&fleet.lives[i]->history);
    }
    assert_int_equal(came, 2);
    assert_in_range(waiting, 6 << 20, 12 << 20);
    documents_advance(&fleet);
    for (size_t i = 0; i < 3; i++) {
        if (current_named(names[i])->history.logs.next > 0)
            forwarder_write(them[i], LINES);
    }
    (void)fleet_drain(&fleet, &fill);
    for (size_t i = 0; i < 3; i++)
        assert_true(current_named(names[i])->history.logs.next >= LINES);
}

static void dead_lives_are_bounded_and_the_oldest_goes(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        struct forwarder *it = forwarder_start(names[i]);
        forwarder_write(it, 4000);
        forwarder_kill(it);
        ticks(6); /* read, and its copy given back */
    }
    assert_int_equal(fleet.count, 3);
    size_t bytes = 0;
    for (size_t i = 0; i < fleet.count; i++)
        bytes += life_bytes(fleet.lives[i]);
    fleet.dead_bytes_max = bytes;
    ticks(1);
    assert_int_equal(fleet.count, 3);
    fleet.dead_bytes_max = bytes - 1;
    ticks(1);
    assert_int_equal(fleet.count, 2);
    assert_null(current_named("a"));
    struct forwarder *living = forwarder_start("d");
    fleet.dead_bytes_max = 0;
    ticks(2);
    assert_int_equal(fleet.count, 1); /* what lives is no evidence yet */
    assert_non_null(current_named("d"));
    forwarder_kill(living);
    ticks(2);
    assert_int_equal(fleet.count, 0);
}

/* What lives hold that are not yet read to their end; *all_ended: none is left. */
static size_t unread_bytes_of_all(bool *all_ended)
{
    size_t bytes = 0;
    *all_ended = true;
    for (size_t i = 0; i < fleet.count; i++) {
        const struct life *life = fleet.lives[i];
        if (!life->ended)
            bytes += region_bytes(life->region) + region_mapped_bytes(life->region);
        *all_ended = *all_ended && life->ended;
    }
    return bytes;
}

/* However slowly they can be read, only so many dead regions are open at a time, and one more a
 * tick. */
static void dead_regions_are_opened_as_they_are_read(void **state)
{
    (void)state;
    enum { LINES = 8000, ROUNDS_MAX = 100 };
    static const char *const names[FORWARDERS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    const size_t region = 20 << 20; /* and less */
    ring_bytes = 8 << 20;
    for (size_t i = 0; i < FORWARDERS_MAX; i++) {
        struct forwarder *it = forwarder_start(names[i]);
        forwarder_write(it, LINES);
        forwarder_kill(it);
    }
    fleet.waiting_bytes_max = 1; /* one of them a tick */
    bool all_ended = false;
    for (int round = 0; !all_ended; round++) {
        assert_true(round < ROUNDS_MAX);
        ticks(1);
        assert_true(unread_bytes_of_all(&all_ended) <= FLEET_UNREAD_BYTES_MAX + 2 * region);
    }
    assert_int_equal(fleet.count, FORWARDERS_MAX);
    for (size_t i = 0; i < FORWARDERS_MAX; i++)
        assert_int_equal(current_named(names[i])->history.logs.next, LINES);
}

/* As if so many files had been given up that the next one takes the place of the first. */
static void given_up_fill(void)
{
    assert_int_equal(fleet.given_up_count, 1);
    assert_int_equal(fleet.known_count, 1);
    assert_true(fleet.known[0] > FLEET_GIVEN_UP_MAX);
    fleet.known[FLEET_GIVEN_UP_MAX - 1] = fleet.known[0];
    for (uint64_t i = 1; i < FLEET_GIVEN_UP_MAX; i++)
        fleet.given_up[i] = fleet.known[i - 1] = i;
    fleet.given_up_count = fleet.known_count = FLEET_GIVEN_UP_MAX;
}

/* A file that was given up is not looked at again, until many more were. */
static void files_given_up_are_known(void **state)
{
    (void)state;
    fleet.dead_bytes_max = 0;
    forwarder_kill(forwarder_start("a"));
    ticks(3);
    given_up_fill();
    ticks(1);
    assert_int_equal(fleet.given_up_count, FLEET_GIVEN_UP_MAX);
    forwarder_kill(forwarder_start("b")); /* in place of the other, which so comes back once */
    ticks(1);
    assert_int_equal(fleet.given_up_count, FLEET_GIVEN_UP_MAX + 1);
    ticks(3);
    assert_int_equal(fleet.given_up_count, FLEET_GIVEN_UP_MAX + 2);
    assert_int_equal(fleet.known_count, FLEET_GIVEN_UP_MAX);
    assert_int_equal(fleet.count, 0);
}

/* How its series are described counts as well: as the region said it, as it is remembered, and as
 * it stands in documents. */
static void all_that_a_dead_life_holds_is_counted(void **state)
{
    (void)state;
    struct documents documents;
    struct self_series self = {.table = series_table_new_self()};
    struct message *backlog[TICK_MESSAGES];
    assert_true(documents_init(&documents) && self.table != NULL);
    counters = 200;
    const size_t described = counters * DESCRIPTION_BYTES;
    forwarder_kill(forwarder_start("wordy"));
    ticks(6); /* read, and its copy given back */
    assert_int_equal(fleet.count, 1);
    const struct life *life = fleet.lives[0];
    const size_t bytes = life_bytes(life);
    assert_true(bytes > region_bytes(life->region) + history_bytes(&life->history) + described);
    documents_backlog(&documents, &fleet, &self, now_ns, 300, backlog);
    for (size_t i = 0; i < TICK_MESSAGES; i++)
        message_unref(&backlog[i]);
    assert_true(life_bytes(life) > bytes + described);
    fleet.dead_bytes_max = bytes; /* enough but for the last */
    ticks(1);
    assert_int_equal(fleet.count, 0);
    series_table_free(&self.table);
    documents_free(&documents);
}

static void a_dead_life_gives_way_to_a_living_one(void **state)
{
    (void)state;
    struct forwarder *old = forwarder_start("old"), *young = forwarder_start("young");
    ticks(1);
    forwarder_kill(old);
    forwarder_kill(young);
    ticks(1);
    fleet.count_max = 2;
    (void)forwarder_start("living");
    ticks(2);
    assert_int_equal(fleet.count, 2);
    assert_null(current_named("old"));
    assert_non_null(current_named("young"));
    (void)forwarder_start("second");
    (void)forwarder_start("third"); /* and none that runs to another one */
    ticks(2);
    assert_int_equal(fleet.count, 2);
    assert_non_null(current_named("living"));
    assert_true((current_named("second") == NULL) != (current_named("third") == NULL));
    assert_int_equal(fleet.refused, 1);
}

/* ---- totals ---------------------------------------------------------------------------------- */

/* A region may claim to have lost less than before, or more than there is: totals stand, or stop at
 * the largest number. */
static void losses_never_fall(void **state)
{
    (void)state;
    struct forwarder *it = forwarder_start("liar"), *other = forwarder_start("other");
    uint64_t *header = region_map(it->path);
    static const uint64_t claims[] = {7, 100, 3, 0, 200, UINT64_MAX, 5};
    uint64_t before = 0;
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        header[FWS_H_SPANS_REFUSED] = claims[i];
        ticks(1);
        const uint64_t lost = life_losses(current_named("liar")).spans;
        assert_true(lost >= before);
        assert_true(lost >= (claims[i] < INT64_MAX ? claims[i] : INT64_MAX));
        assert_int_equal(fleet_totals(&fleet).spans_lost, lost);
        assert_int_equal(current_named("liar")->view.lost.spans, lost);
        assert_int_equal(life_losses(current_named("other")).spans, 0);
        before = lost;
    }
    assert_int_equal(before, INT64_MAX);
    munmap(header, REGION_BYTES);
    forwarder_kill(other);
}

/* What a life lost stays in the total when the life is given up. */
static void totals_outlive_lives(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (int i = 0; i < 4; i++) {
        struct forwarder *it = forwarder_start("again");
        uint64_t *header = region_map(it->path);
        header[FWS_H_SPANS_REFUSED] = 10;
        munmap(header, REGION_BYTES);
        ticks(1);
        assert_int_equal(fleet_totals(&fleet).spans_lost, before + 10);
        forwarder_kill(it);
        ticks(3);
        before += 10;
        assert_int_equal(fleet_totals(&fleet).spans_lost, before);
    }
    assert_true(fleet.count <= 2);
    fleet.dead_bytes_max = 0;
    ticks(1);
    assert_int_equal(fleet.count, 0);
    assert_int_equal(fleet_totals(&fleet).spans_lost, before);
}

#define FLEET_TEST(name) cmocka_unit_test_setup_teardown(name, fleet_setup, fleet_teardown)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        FLEET_TEST(a_dead_life_whose_file_was_removed_is_forgotten_in_time),
        FLEET_TEST(a_file_that_comes_back_was_not_removed),
        FLEET_TEST(the_living_and_the_previous_stay),
        FLEET_TEST(all_histories_together_are_bounded),
        FLEET_TEST(points_alone_are_bounded),
        FLEET_TEST(what_finds_no_room_waits_in_its_ring),
        FLEET_TEST(behind_misplaced_records_it_goes_on),
        FLEET_TEST(the_longest_lines_wait_as_well),
        FLEET_TEST(all_that_waits_is_bounded),
        FLEET_TEST(dead_lives_are_bounded_and_the_oldest_goes),
        FLEET_TEST(dead_regions_are_opened_as_they_are_read),
        FLEET_TEST(files_given_up_are_known),
        FLEET_TEST(all_that_a_dead_life_holds_is_counted),
        FLEET_TEST(a_dead_life_gives_way_to_a_living_one),
        FLEET_TEST(losses_never_fall),
        FLEET_TEST(totals_outlive_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
