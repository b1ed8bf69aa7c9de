/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two threads pay that write into one thing: a counter of the process, a ring behind a mutex,
 * a ring without a lock whose room is taken by compare-and-exchange. And how a line leaves a
 * forwarder whose standard error somebody collects.
 */
#include "peer.h"

#include <stdatomic.h>
#include <unistd.h>

enum { LINE_BYTES = 160, RING_BYTES = 256 << 10, SLOT_BYTES = 192 };

static const char line[LINE_BYTES];

static void atomic_add(uint64_t calls)
{
    static _Atomic uint64_t counter;
    for (uint64_t i = 0; i < calls; i++)
        atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
}

/* ---- rings, 160 bytes a record ----------------------------------------------------------------
 */

static char ring[RING_BYTES];

static void mutex_ring(uint64_t calls)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static size_t at;
    for (uint64_t i = 0; i < calls; i++) {
        pthread_mutex_lock(&mutex);
        memcpy(ring + at, line, LINE_BYTES);
        at = at + (size_t)2 * SLOT_BYTES <= RING_BYTES ? at + SLOT_BYTES : 0;
        pthread_mutex_unlock(&mutex);
    }
}

/* A slot is claimed by the tail, marked while it is written (odd), and marked whole (even). */
static void shared_ring(uint64_t calls)
{
    enum { SLOTS = RING_BYTES / SLOT_BYTES };
    static _Alignas(64) _Atomic uint64_t tail;
    static _Alignas(64) _Atomic uint64_t marks[SLOTS];
    for (uint64_t i = 0; i < calls; i++) {
        const uint64_t ticket = atomic_fetch_add_explicit(&tail, 1, memory_order_relaxed);
        const uint64_t slot = ticket % SLOTS;
        uint64_t even = atomic_load_explicit(&marks[slot], memory_order_relaxed) & ~UINT64_C(1);
        /* A slot that another writer, a lap behind, still holds is given up: nobody waits. */
        if (!atomic_compare_exchange_strong_explicit(&marks[slot], &even, even | 1,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        memcpy(ring + slot * SLOT_BYTES, line, LINE_BYTES);
        atomic_store_explicit(&marks[slot], 2 * ticket + 2, memory_order_release);
    }
}

/* ---- a pipe -----------------------------------------------------------------------------------
 */

static int ends[2];

static void *pipe_empty(void *given)
{
    static char buffer[1 << 16];
    peer_pin((const cpu_set_t *)given, CPU_COUNT((const cpu_set_t *)given) - 1);
    while (read(ends[0], buffer, sizeof buffer) > 0)
        continue;
    return NULL;
}

/* The reader has a CPU of its own, when there are two. */
static void pipe_open(void)
{
    static cpu_set_t given;
    pthread_t thread;
    if (sched_getaffinity(0, sizeof given, &given) != 0 || pipe(ends) != 0 ||
        pthread_create(&thread, NULL, pipe_empty, &given) != 0)
        peer_failed("no pipe, or no thread to empty it");
    peer_pin(&given, 0);
}

static void write_pipe(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++) {
        if (write(ends[1], line, LINE_BYTES) != LINE_BYTES)
            peer_failed("the pipe does not take a line");
    }
}

static const struct peer_operation operations[] = {
    {"atomic_add", atomic_add, 1, NULL, NULL},      {"atomic_add_2t", atomic_add, 2, NULL, NULL},
    {"mutex_ring", mutex_ring, 1, NULL, NULL},      {"mutex_ring_2t", mutex_ring, 2, NULL, NULL},
    {"shared_ring", shared_ring, 1, NULL, NULL},    {"shared_ring_2t", shared_ring, 2, NULL, NULL},
    {"write_pipe", write_pipe, 1, NULL, pipe_open},
};

int main(int argc, char **argv)
{
    return peer_main(operations, sizeof operations / sizeof *operations, argc, argv);
}
