/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that read a region, and the herding of them. */
#include "hurt_readers.h"

#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_MS = 20, BOUND_MS = 60000 };

/* What a reader and the writer tell each other. */
struct slot {
    _Atomic uint64_t readings; /* whole ones */
    _Atomic uint64_t order;    /* a signal to raise in the middle of a read; 0: none */
    _Atomic uint64_t in_read;
};

static struct slot *slots;
static const char *slots_path;
static pid_t pids[READERS_MAX];
static unsigned running;
static uint64_t readings_of_the_dead;
extern char **environ;

void hurt_die(const char *what, const char *detail)
{
    fprintf(stderr, "hurt_calls: %s: %s\n", what, detail);
    exit(1);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void slots_map(const char *path)
{
    const size_t bytes = READERS_MAX * sizeof *slots;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        hurt_die(path, strerror(errno));
    slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (slots == MAP_FAILED)
        hurt_die(path, strerror(errno));
    close(fd);
    slots_path = path;
}

void readers_share(const char *path)
{
    slots_map(path);
}

/* ---- a reader -------------------------------------------------------------------------------- */

static void record_take(void *arg, const struct record *record)
{
    struct slot *slot = arg;
    (void)record;
    const uint64_t order = atomic_exchange(&slot->order, 0);
    if (order != 0)
        raise((int)order);
}

int reader_main(const char *path, const char *shared, const char *number)
{
    struct region *region;
    char why[256];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    slots_map(shared);
    struct slot *slot = &slots[strtoul(number, NULL, 10) % READERS_MAX];
    if (region_open(path, &region, NULL, why, sizeof why) != ATTACH_OK)
        hurt_die("a reader cannot attach", why);
    for (uint64_t now = 1;; now++) {
        atomic_store(&slot->in_read, 1);
        const struct snapshot *snapshot = region_sample(region, now, now);
        (void)region_drain(region, SIZE_MAX, record_take, slot, NULL);
        atomic_store(&slot->in_read, 0);
        if (snapshot->lock != LOCK_HELD)
            hurt_die("a reader", "does not see that the writer lives");
        atomic_fetch_add(&slot->readings, 1);
        pause_ms(PERIOD_MS);
    }
}

/* ---- the herd -------------------------------------------------------------------------------- */

void readers_start(const char *region, unsigned count)
{
    for (; running < count; running++) {
        char number[16];
        snprintf(number, sizeof number, "%u", running);
        memset(&slots[running], 0, sizeof slots[running]);
        char *const arguments[] = {
            "hurt_calls", "read", (char *)(uintptr_t)region, (char *)(uintptr_t)slots_path,
            number,       NULL};
        /* Not fork(): it would make every page of the writer copy-on-write, which the writer then
         * pays for. */
        const int error =
            posix_spawn(&pids[running], "/proc/self/exe", NULL, NULL, arguments, environ);
        if (error != 0)
            hurt_die("cannot start a reader", strerror(error));
    }
    for (unsigned i = 0; i < running; i++) {
        for (int ms = 0; atomic_load(&slots[i].readings) == 0; ms++) {
            if (ms > BOUND_MS || waitpid(pids[i], NULL, WNOHANG) != 0)
                hurt_die("a reader", "ended, or reads nothing");
            pause_ms(1);
        }
    }
}

/* Every reader raises `number` in the middle of a read; returns when all have. */
static void readers_order(int number, void (*write)(void))
{
    for (unsigned i = 0; i < running; i++)
        atomic_store(&slots[i].order, (uint64_t)number);
    for (unsigned i = 0; i < running; i++) {
        int status = 0;
        for (int ms = 0; waitpid(pids[i], &status, WUNTRACED | WNOHANG) == 0; ms++) {
            if (ms > BOUND_MS)
                hurt_die("a reader", "does not take its order");
            write();
            pause_ms(1);
        }
        if (number == SIGSTOP ? !WIFSTOPPED(status)
                              : !WIFSIGNALED(status) || WTERMSIG(status) != number)
            hurt_die("a reader", "ended otherwise");
        if (atomic_load(&slots[i].in_read) != 1)
            hurt_die("a reader", "was not in the middle of a read");
    }
}

void readers_stop(void (*write)(void))
{
    readers_order(SIGSTOP, write);
}

void readers_continue(void)
{
    for (unsigned i = 0; i < running; i++)
        kill(pids[i], SIGCONT);
}

void readers_kill(void (*write)(void))
{
    readers_order(SIGKILL, write);
    readings_of_the_dead = readers_readings();
    running = 0;
}

uint64_t readers_readings(void)
{
    uint64_t sum = readings_of_the_dead;
    for (unsigned i = 0; i < running; i++)
        sum += atomic_load(&slots[i].readings);
    return sum;
}
