/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into `fwdscope serve`: makes its time pass as fast as it sleeps, and counts what it
 * does meanwhile. When the main thread would wait in epoll_wait and nothing is ready, the clock
 * moves on by as much instead. What was counted between two times of that clock, in seconds since
 * the start, goes to the file IDLE_REPORT as "name number" lines; from then on time passes as it
 * does.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EXPORT    __attribute__((visibility("default")))
#define SECOND_NS UINT64_C(1000000000)
#define GRAIN_NS  UINT64_C(4000000)

/* What the C library calls its own, which those below stand in for. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

struct counts {
    uint64_t sleeps, allocations, heap_bytes, anonymous_kib;
};

static _Atomic uint64_t allocations;
static _Atomic uint64_t ahead_ns; /* of the virtual clock before the real one */

static struct {
    uint64_t sleeps;
    uint64_t start_ns, from_ns, to_ns;
    bool begun, done;
    struct counts at_from;
} idle;

/* ---- memory ---------------------------------------------------------------------------------- */

static void count_allocation(void)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

EXPORT void *malloc(size_t bytes)
{
    count_allocation();
    return __libc_malloc(bytes);
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    count_allocation();
    return __libc_calloc(count, bytes);
}

EXPORT void *realloc(void *old, size_t bytes)
{
    count_allocation();
    return __libc_realloc(old, bytes);
}

EXPORT void *memalign(size_t alignment, size_t bytes)
{
    count_allocation();
    return __libc_memalign(alignment, bytes);
}

EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    *out = memalign(alignment, bytes);
    return *out != NULL ? 0 : ENOMEM;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* A coarse clock lags behind by up to a grain, as the kernel's does: who times by it wakes up early
 * and waits once more. */
EXPORT int clock_gettime(clockid_t clock, struct timespec *out)
{
    const bool coarse = clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_REALTIME_COARSE;
    if (coarse)
        clock = clock == CLOCK_MONOTONIC_COARSE ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    if (syscall(SYS_clock_gettime, clock, out) != 0)
        return -1;
    uint64_t ns =
        (uint64_t)out->tv_sec * SECOND_NS + (uint64_t)out->tv_nsec + atomic_load(&ahead_ns);
    if (coarse)
        ns -= ns % GRAIN_NS;
    out->tv_sec = (time_t)(ns / SECOND_NS);
    out->tv_nsec = (long)(ns % SECOND_NS);
    return 0;
}

/* None: its time would pass as it does. libevent then gives the time to epoll_wait. */
EXPORT int timerfd_create(int clock, int flags)
{
    (void)clock;
    (void)flags;
    errno = ENOSYS;
    return -1;
}

EXPORT int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

/* ---- what is counted ------------------------------------------------------------------------- */

/* Memory of its own that the process has in RAM. */
static uint64_t anonymous_read(void)
{
    char text[2048];
    const int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    const ssize_t bytes = read(fd, text, sizeof text - 1);
    close(fd);
    text[bytes > 0 ? bytes : 0] = '\0';
    const char *found = strstr(text, "Anonymous:");
    return found != NULL ? strtoull(found + sizeof "Anonymous:" - 1, NULL, 10) : 0;
}

static struct counts counts_take(void)
{
    return (struct counts){
        .sleeps = idle.sleeps,
        .allocations = atomic_load(&allocations),
        .heap_bytes = mallinfo2().uordblks,
        .anonymous_kib = anonymous_read(),
    };
}

static void report(const struct counts *from, const struct counts *to)
{
    char text[512];
    const int bytes = snprintf(
        text, sizeof text, "sleeps %llu\nallocations %llu\nheap_bytes %lld\nanonymous_kib %lld\n",
        (unsigned long long)(to->sleeps - from->sleeps),
        (unsigned long long)(to->allocations - from->allocations),
        (long long)(to->heap_bytes - from->heap_bytes),
        (long long)(to->anonymous_kib - from->anonymous_kib));
    const int fd = open(getenv("IDLE_REPORT"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)bytes) != bytes)
        abort();
    close(fd);
}

static uint64_t seconds_of(const char *name)
{
    const char *value = getenv(name);
    return value != NULL ? strtoull(value, NULL, 10) * SECOND_NS : 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* The first time that the main thread would wait. */
static void begin(void)
{
    idle.start_ns = now_ns();
    idle.from_ns = seconds_of("IDLE_FROM_S");
    idle.to_ns = seconds_of("IDLE_TO_S");
}

/* The main thread slept for that long. */
static void slept(uint64_t ns)
{
    atomic_fetch_add(&ahead_ns, ns);
    const uint64_t passed = now_ns() - idle.start_ns;
    idle.sleeps++;
    if (!idle.begun && passed >= idle.from_ns) {
        idle.begun = true;
        idle.at_from = counts_take();
    } else if (passed >= idle.to_ns) {
        const struct counts to = counts_take();
        idle.done = true;
        report(&idle.at_from, &to);
    }
}

static int epoll_ask(int fd, struct epoll_event *events, int max, int timeout)
{
    return (int)syscall(SYS_epoll_pwait, fd, events, max, timeout, NULL, 8);
}

EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    if (timeout <= 0 || idle.done || gettid() != getpid())
        return epoll_ask(fd, events, max, timeout);
    if (idle.start_ns == 0)
        begin();
    const int ready = epoll_ask(fd, events, max, 0);
    if (ready == 0)
        slept((uint64_t)timeout * 1000000);
    return ready;
}
