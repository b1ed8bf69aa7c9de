/* SPDX-License-Identifier: Apache-2.0 */
/* Which lane a call may write: the switch that forks turn off, the thread's own lane, lane 0. */
#include "shim.h"

#include <stddef.h>
#include <sys/mman.h>
#include <time.h>

/*
 * The switch: the epoch of the life that is on, 0 when the shim is off. It lives in a page of its
 * own that the kernel wipes in every child, also one made by raw clone, so a child reads 0 before
 * anything else and touches nothing. Until the first open it is the static word below.
 */
static const fws_word switch_off;
static _Atomic(const fws_word *) switch_word = &switch_off;
static fws_word *switch_page; /* the same page, writable; NULL until shim_prepare() */

static _Atomic(struct shim *) current; /* the life that the switch speaks of */

static pthread_key_t thread_key; /* its destructor gives the lane of an ending thread back */
static bool thread_key_made;

/* What a thread remembers. An epoch that no life has: the first call looks for a lane. */
static _Thread_local struct {
    uint64_t epoch;
    struct shim *shim; /* the life of that epoch, and this thread's lane in it */
    struct lane *lane;
    volatile int depth;   /* > 0: inside the shim; a signal handler then takes lane 0 */
    volatile bool ending; /* gave its lane back: what it still writes goes to lane 0 */
} thread = {.epoch = UINT64_MAX};

static void lane_give_back(void *lane)
{
    /* A later call of this thread, from another destructor or a signal handler, looks for a lane
     * again, and must not find one that nobody would give back. */
    thread.ending = true;
    atomic_signal_fence(memory_order_seq_cst);
    thread.epoch = UINT64_MAX;
    /* A handler left a call in the middle, by siglongjmp() or pthread_exit(): the lane's private
     * state may be half a step on, so nobody gets it again. */
    if (thread.depth > 0)
        return;
    /* Release: the next owner finds the private state as this thread left it.
     * PAIRS WITH lane_take. */
    fws_publish(&((struct lane *)lane)->owned, 0);
}

/* Before main(), when keys are few: the C library keeps the values of the first 32 keys of a
 * process in the thread itself, and allocates for those of later ones, at a thread's first call. */
__attribute__((constructor)) static void thread_key_make(void)
{
    thread_key_made = pthread_key_create(&thread_key, lane_give_back) == 0;
}

bool shim_prepare(void)
{
    if (switch_page != NULL)
        return true;
    void *page =
        mmap(NULL, FWS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    if (!thread_key_made || madvise(page, FWS_PAGE_BYTES, MADV_WIPEONFORK) != 0) {
        munmap(page, FWS_PAGE_BYTES);
        return false;
    }
    switch_page = page;
    atomic_store_explicit(&switch_word, switch_page, memory_order_release);
    return true;
}

void shim_turn_on(struct shim *shim)
{
    atomic_store_explicit(&current, shim, memory_order_release);
    /* Release: who sees the epoch sees the life and the region behind it. PAIRS WITH switch_read.
     */
    fws_publish(switch_page, shim->epoch);
}

bool shim_turn_off(const struct shim *shim)
{
    uint64_t expected = shim->epoch;
    return fws_claim(switch_page, &expected, 0);
}

/* The epoch that is on, 0: none. Acquire: the life behind it is whole. */
static inline uint64_t switch_read(void)
{
    return fws_observe(atomic_load_explicit(&switch_word, memory_order_acquire));
}

struct shim *shim_current(void)
{
    return switch_read() == 0 ? NULL : atomic_load_explicit(&current, memory_order_acquire);
}

/* Claims a free lane for this thread, or shares lane 0. */
static struct lane *lane_take(struct shim *shim)
{
    for (uint32_t i = 1; i < shim->sizes.lanes && !thread.ending; i++) {
        struct lane *lane = &shim->lanes[i];
        uint64_t expected = 0;
        /* Acquire on success: the last owner's private state. PAIRS WITH lane_give_back. */
        if (fws_peek(&lane->owned) == 0 && fws_claim(&lane->owned, &expected, 1)) {
            if (pthread_setspecific(thread_key, lane) == 0)
                return lane;
            fws_publish(&lane->owned, 0); /* without it nobody would give the lane back */
            break;
        }
    }
    return &shim->lanes[0];
}

/* The first call of a thread in a life. */
static bool thread_settle(uint64_t epoch)
{
    struct shim *shim = atomic_load_explicit(&current, memory_order_acquire);
    if (epoch == 0 || shim == NULL || shim->epoch != epoch)
        return false; /* off, or between two lives */
    thread.shim = shim;
    thread.lane = lane_take(shim);
    thread.epoch = epoch;
    return true;
}

bool shim_enter(struct entry *entry)
{
    uint64_t epoch = switch_read();
    if (epoch == 0)
        return false;
    if (thread.depth > 0) { /* a signal handler on top of a call of this thread */
        entry->shim = atomic_load_explicit(&current, memory_order_acquire);
        if (entry->shim->epoch != epoch)
            return false;
        entry->lane = &entry->shim->lanes[0];
        thread.depth = thread.depth + 1;
        return true;
    }
    thread.depth = 1;
    atomic_signal_fence(memory_order_seq_cst); /* a handler sees the depth before our first store */
    if (thread.epoch != epoch && !thread_settle(epoch)) {
        thread.depth = 0;
        return false;
    }
    entry->shim = thread.shim;
    entry->lane = thread.lane;
    return true;
}

void shim_leave(void)
{
    atomic_signal_fence(memory_order_seq_cst); /* and our last store before the depth falls */
    thread.depth = thread.depth - 1;
}

bool lane_ring_enter(struct lane *lane)
{
    if (!lane->shared)
        return true;
    for (int attempt = 0; attempt < SHIM_TRIES; attempt++) {
        uint64_t expected = 0;
        /* Acquire: the ring's private state as the last one left it. PAIRS WITH lane_ring_leave. */
        if (fws_claim(&lane->ring_busy, &expected, 1))
            return true;
    }
    return false;
}

void lane_ring_leave(struct lane *lane)
{
    if (lane->shared)
        fws_publish(&lane->ring_busy, 0);
}

uint64_t lane_id(struct lane *lane, int which)
{
    uint64_t drawn;
    if (lane->shared) {
        drawn = atomic_fetch_add_explicit(&lane->ids, 1, memory_order_relaxed);
    } else {
        drawn = fws_peek(&lane->ids);
        atomic_store_explicit(&lane->ids, drawn + 1, memory_order_relaxed);
    }
    /* splitmix64: a bijection of its counter, so a lane never draws the same id twice. */
    uint64_t z = lane->id_seed[which] + drawn * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z != 0 ? z : 1;
}

uint64_t shim_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void fwdscope_heartbeat(void)
{
    struct entry entry;
    if (!shim_enter(&entry))
        return;
    lane_beat(entry.lane);
    shim_leave();
}

bool fwdscope_signal_mark(int number, uint64_t address, uint64_t thread_id)
{
    struct shim *shim = shim_current();
    uint64_t none = 0;
    if (shim == NULL)
        return false;
    fws_word *mark = &shim->header[FWS_H_SIGNAL];
    fws_word *owner = &shim->header[FWS_H_SIGNAL_THREAD];
    if (number == 0) {
        const bool own = fws_peek(mark) != 0 && fws_peek(owner) == thread_id;
        if (own)
            fws_put(mark, 0);
        return own;
    }
    if (!fws_claim(mark, &none, (uint64_t)number))
        return false; /* the first is the cause */
    fws_put(&shim->header[FWS_H_SIGNAL_ADDRESS], address);
    /* Release: who sees the thread sees the address. PAIRS WITH the snapshot. */
    fws_publish(owner, thread_id);
    return true;
}

bool fwdscope_is_on(void)
{
    return switch_read() != 0;
}
