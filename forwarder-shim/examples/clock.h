/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks: one for times that others read, one for durations. */
#ifndef EXAMPLE_CLOCK_H
#define EXAMPLE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000u

static inline uint64_t clock_read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_unix_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

static inline uint64_t clock_monotonic_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

#endif
