/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs share that measure others: the command line of the benchmark's programs and a
 * round of one operation. Valid C11 and C++17.
 *
 *   PROGRAM --list             the operations, one a line
 *   PROGRAM OPERATION [CALLS]  one round: prints nanoseconds per call, or what the operation counts
 *
 * Without CALLS a round lasts about PEER_ROUND_MS, after a warm-up that finds the number of calls.
 */
#ifndef TESTS_BENCH_PEER_H
#define TESTS_BENCH_PEER_H

#include "../bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEER_ROUND_MS = 80, PEER_WARM_UP_MS = 20, PEER_THREADS_MAX = 2 };

struct peer_operation {
    const char *name;
    void (*run)(uint64_t calls);
    int threads;
    /* NULL: the value is ns per call. Else what the round counted, called after `calls` calls of
     * each thread, the warm-up's not included. */
    double (*counted)(uint64_t calls);
    void (*prepare)(void); /* may be NULL; called once, before the first call */
};

__attribute__((noreturn)) static inline void peer_failed(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline double peer_timed(void (*run)(uint64_t), uint64_t calls)
{
    const uint64_t begin = now_ns();
    run(calls);
    return (double)(now_ns() - begin);
}

/* The CPUs that the process was given, one to a thread. */
static inline void peer_pin(const cpu_set_t *given, int index)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, given) && index-- == 0)
            CPU_SET(cpu, &one);
    }
    (void)sched_setaffinity(0, sizeof one, &one);
}

struct peer_thread {
    pthread_t id;
    void (*run)(uint64_t calls);
    uint64_t calls;
    cpu_set_t given;
    int index;
    pthread_barrier_t *start;
    double ns;
};

static inline void *peer_thread_run(void *argument)
{
    struct peer_thread *thread = (struct peer_thread *)argument;
    peer_pin(&thread->given, thread->index);
    pthread_barrier_wait(thread->start);
    thread->ns = peer_timed(thread->run, thread->calls);
    return NULL;
}

/* All threads at once; the slower of them counts. */
static inline double peer_timed_threads(const struct peer_operation *operation, uint64_t calls)
{
    struct peer_thread threads[PEER_THREADS_MAX];
    pthread_barrier_t start;
    double ns = 0;
    cpu_set_t given;
    if (sched_getaffinity(0, sizeof given, &given) != 0 || CPU_COUNT(&given) < operation->threads)
        peer_failed("a CPU for each thread is needed");
    pthread_barrier_init(&start, NULL, (unsigned)operation->threads);
    for (int i = 0; i < operation->threads; i++) {
        struct peer_thread *thread = &threads[i];
        thread->run = operation->run;
        thread->calls = calls;
        thread->given = given;
        thread->index = i;
        thread->start = &start;
        if (pthread_create(&thread->id, NULL, peer_thread_run, thread) != 0)
            peer_failed("no thread");
    }
    for (int i = 0; i < operation->threads; i++) {
        pthread_join(threads[i].id, NULL);
        ns = threads[i].ns > ns ? threads[i].ns : ns;
    }
    pthread_barrier_destroy(&start);
    return ns;
}

/* How many calls last a round: doubled until the warm-up is over. */
static inline uint64_t peer_calls_find(void (*run)(uint64_t))
{
    uint64_t calls = 1;
    double ns;
    while ((ns = peer_timed(run, calls)) < PEER_WARM_UP_MS * 1e6)
        calls *= 2;
    return (uint64_t)((double)calls * PEER_ROUND_MS * 1e6 / ns) + 1;
}

static inline double peer_round(const struct peer_operation *operation, uint64_t calls)
{
    if (operation->prepare != NULL)
        operation->prepare();
    if (calls == 0)
        calls = peer_calls_find(operation->run);
    if (operation->counted != NULL)
        (void)operation->counted(0); /* the warm-up is no part of it */
    const double ns = operation->threads > 1 ? peer_timed_threads(operation, calls)
                                             : peer_timed(operation->run, calls);
    return operation->counted != NULL ? operation->counted(calls) : ns / (double)calls;
}

static inline int peer_main(const struct peer_operation *operations, size_t count, int argc,
                            char **argv)
{
    for (size_t i = 0; argc >= 2 && i < count; i++) {
        if (strcmp(argv[1], "--list") == 0) {
            puts(operations[i].name);
        } else if (strcmp(argv[1], operations[i].name) == 0) {
            printf("%.6g\n",
                   peer_round(&operations[i], argc > 2 ? strtoull(argv[2], NULL, 10) : 0));
            return 0;
        }
    }
    if (argc >= 2 && strcmp(argv[1], "--list") == 0)
        return 0;
    peer_failed("usage: PROGRAM OPERATION [CALLS] | PROGRAM --list");
}

#endif
