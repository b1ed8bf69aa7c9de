/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmark programs share. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* The compiler must take the memory at p for read and written here, so it drops no work on it. */
static inline void keep(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

#endif
