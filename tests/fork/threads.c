/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that come and go, small stacks, and a process that ends under its threads. */
#include "host.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- churn ----------------------------------------------------------------------------------- */

enum { ROUNDS_A_THREAD = 16 };

static pthread_barrier_t wave; /* every thread of a wave has a lane */

static void *short_life(void *arg)
{
    (void)arg;
    host_write(1);
    pthread_barrier_wait(&wave);
    host_write(ROUNDS_A_THREAD - 1);
    return NULL;
}

static void wave_run(unsigned threads)
{
    pthread_t running[THREADS_MAX];
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&running[i], NULL, short_life, NULL) != 0)
            die("no thread", "");
    for (unsigned i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
}

/* Resident pages, as the kernel counts them. */
static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1)
        die("statm", "cannot be read");
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) >> 10);
}

/* The next descriptor that would be given out: none was left open below it. */
static int next_descriptor(void)
{
    const int fd = dup(STDOUT_FILENO);
    close(fd);
    return fd;
}

/* WAVES of AT_ONCE threads each, all of a wave alive at the same time. */
void run_churn(char **words)
{
    const unsigned waves = (unsigned)atoi(words[1]), at_once = (unsigned)atoi(words[2]);
    long settled_kib = 0;
    if (at_once > THREADS_MAX || pthread_barrier_init(&wave, NULL, at_once) != 0)
        die("churn", "too many at once");
    host_open(words[0], "churn", 8);
    const int descriptor = next_descriptor();
    for (unsigned i = 0; i < waves; i++) {
        wave_run(at_once);
        if (i == waves / 2)
            settled_kib = resident_kib(); /* every ring is full by then */
    }
    say("resident %ld %ld", settled_kib, resident_kib());
    say("descriptors %d %d", descriptor, next_descriptor());
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say_wrote((uint64_t)waves * at_once * ROUNDS_A_THREAD);
}

/* ---- small stacks ---------------------------------------------------------------------------- */

enum { PAINT = 0xa5, GUARD_BYTES = 4096 };

static void everything_once(void)
{
    static char text[20000];
    struct fwdscope_attribute attributes[4];
    char query[256];
    memset(text, 'x', sizeof text);
    memset(query, 'q', sizeof query - 1);
    query[sizeof query - 1] = '\0';
    for (int i = 0; i < 4; i++)
        attributes[i] = fwdscope_string(i % 2 == 0 ? "even" : "odd", query);
    const fwdscope_span span = fwdscope_span_start(query, FWDSCOPE_SPAN_CLIENT, 0);
    const struct fwdscope_log_record record = {.severity = FWDSCOPE_WARN,
                                               .severity_text = query,
                                               .body = text,
                                               .body_bytes = sizeof text,
                                               .span = span,
                                               .attributes = attributes,
                                               .attribute_count = 4};
    fwdscope_span_set(span, attributes, 4);
    fwdscope_span_stage(span, "output");
    fwdscope_span_status(span, FWDSCOPE_STATUS_ERROR, query);
    fwdscope_log_record(&record);
    fwdscope_span_end(span, 0);
}

static void *small_thread(void *arg)
{
    (void)arg;
    everything_once();
    host_write(1);
    return NULL;
}

static void on_small_stack(int number)
{
    (void)number;
    everything_once();
    host_write(1);
}

/* Bytes of a painted stack that were written, from its low end. */
static size_t stack_used(const unsigned char *stack, size_t bytes)
{
    size_t untouched = 0;
    while (untouched < bytes && stack[untouched] == PAINT)
        untouched++;
    return bytes - untouched;
}

/* A thread on the smallest stack that there is, and a handler on a painted alternate stack. */
void run_stacks(char **words)
{
    const size_t bytes = 64 << 10;
    unsigned char *stack =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const struct sigaction action = {.sa_handler = on_small_stack, .sa_flags = SA_ONSTACK};
    const stack_t alternate = {.ss_sp = stack, .ss_size = bytes};
    pthread_attr_t small;
    pthread_t thread;
    host_open(words[0], "stacks", 0);
    pthread_attr_init(&small);
    if (pthread_attr_setstacksize(&small, (size_t)PTHREAD_STACK_MIN) != 0 ||
        pthread_create(&thread, &small, small_thread, NULL) != 0)
        die("no thread on a small stack", "");
    pthread_join(thread, NULL);
    if (stack == MAP_FAILED)
        die("no memory", strerror(errno));
    memset(stack, PAINT, bytes);
    if (sigaltstack(&alternate, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0)
        die("no alternate stack", strerror(errno));
    raise(SIGUSR1);
    say("stack %zu %ld", stack_used(stack, bytes), (long)PTHREAD_STACK_MIN);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say_wrote(2);
}

/* ---- a thread's first call ------------------------------------------------------------------- */

static void *first_call(void *arg)
{
    size_t *allocated = arg;
    const size_t before = mallinfo2().uordblks;
    host_write(1);
    *allocated = mallinfo2().uordblks - before;
    return NULL;
}

/* The C library keeps a thread's values of the first 32 keys at hand and allocates for later ones:
 * a host that made more before it opens must not make the shim allocate. */
void run_keys(char **words)
{
    enum { KEYS = 64 };
    pthread_key_t keys[KEYS];
    pthread_t thread;
    size_t allocated = SIZE_MAX;
    for (int i = 0; i < KEYS; i++) {
        if (pthread_key_create(&keys[i], NULL) != 0)
            die("no key", "");
    }
    host_open(words[0], "keys", 0);
    if (pthread_create(&thread, NULL, first_call, &allocated) != 0)
        die("no thread", "");
    pthread_join(thread, NULL);
    say("allocated %zu", allocated);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say_wrote(1);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static struct tallies *ends;

static void close_at_end(void)
{
    uint64_t begun, done;
    tallies_sum(ends, &begun, &done);
    const uint64_t done_before = done;
    fwdscope_close(FWDSCOPE_CLOSED, "at exit");
    tallies_sum(ends, &begun, &done);
    say("between %llu %llu", (unsigned long long)done_before, (unsigned long long)begun);
}

static void *segfaulting(void *arg)
{
    (void)arg;
    raise(SIGSEGV);
    return NULL;
}

/* Ends while four threads call the shim. HOW: return, exit, quick, now (_exit), main (its thread
 * alone ends, then the process by exit), close (exit, atexit handler closes), quick-close, segv,
 * abort. */
void run_exits(char **words)
{
    const char *how = words[1];
    pthread_t thread;
    ends = tallies_map(words[2]);
    host_open(words[0], "exits", 0);
    if (strcmp(how, "close") == 0 && atexit(close_at_end) != 0)
        die("atexit", how);
    if (strcmp(how, "quick-close") == 0 && at_quick_exit(close_at_end) != 0)
        die("at_quick_exit", how);
    writers_start(ends, 4, 200);
    if (strcmp(how, "return") == 0)
        return;
    if (strcmp(how, "exit") == 0 || strcmp(how, "close") == 0)
        exit(0);
    if (strcmp(how, "quick") == 0 || strcmp(how, "quick-close") == 0)
        quick_exit(0);
    if (strcmp(how, "now") == 0)
        _exit(0);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "segv") == 0 && pthread_create(&thread, NULL, segfaulting, NULL) == 0)
        pause();
    die("no such end", how);
}
