/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that names memory orders. Every shared word, and every private word that threads
 * share, is touched through one of these verbs.
 *
 *   peek     relaxed load    the value alone matters, or a later check decides
 *   observe  acquire load    what was written before the matching publish is visible after it
 *   put      relaxed store   ordered by nothing, or by the release stores that follow it
 *   publish  release store   everything written before it is visible to who observes it
 *   add      relaxed add     words that several threads add to (lane 0, totals of the header)
 *
 * On x86-64 all but add are plain moves. A publish orders what precedes it, never what follows;
 * an observe orders what follows it, never what precedes: the protocols in seqlock.h and ring.h
 * use just that, and say beside each access which access of the peer it pairs with.
 */
#ifndef SHMLAYOUT_ATOMIC_H
#define SHMLAYOUT_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef _Atomic uint64_t fws_word;

_Static_assert(sizeof(fws_word) == 8, "a word is eight bytes");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words are lock-free");

static inline uint64_t fws_peek(const fws_word *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}

static inline uint64_t fws_observe(const fws_word *w)
{
    return atomic_load_explicit(w, memory_order_acquire);
}

/* Observes `count` words that follow each other, in their order. */
static inline void fws_observe_words(const fws_word *from, size_t count, uint64_t *out)
{
    /* Four at a time: no compiler unrolls a loop of acquire loads. */
    for (; count >= 4; count -= 4, from += 4, out += 4) {
        out[0] = fws_observe(&from[0]);
        out[1] = fws_observe(&from[1]);
        out[2] = fws_observe(&from[2]);
        out[3] = fws_observe(&from[3]);
    }
    for (size_t i = 0; i < count; i++)
        out[i] = fws_observe(&from[i]);
}

/* Called before every store to shared memory in a build that counts them; see tests/crash. */
#ifdef FWS_STORE_HOOK
void FWS_STORE_HOOK(void);
#define FWS_STORE() FWS_STORE_HOOK()
#else
#define FWS_STORE() ((void)0)
#endif

static inline void fws_put(fws_word *w, uint64_t value)
{
    FWS_STORE();
    atomic_store_explicit(w, value, memory_order_relaxed);
}

static inline void fws_publish(fws_word *w, uint64_t value)
{
    FWS_STORE();
    atomic_store_explicit(w, value, memory_order_release);
}

/* Eight bytes that stand anywhere in private memory, text too, as a word. */
static inline uint64_t fws_load(const void *from, size_t index)
{
    uint64_t value;
    memcpy(&value, (const char *)from + index * sizeof value, sizeof value);
    return value;
}

/* Publishes `count` words that stand at `from`, which need not be aligned. */
static inline void fws_publish_all(fws_word *w, const void *from, size_t count)
{
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        fws_publish(&w[i], fws_load(from, i));
        fws_publish(&w[i + 1], fws_load(from, i + 1));
        fws_publish(&w[i + 2], fws_load(from, i + 2));
        fws_publish(&w[i + 3], fws_load(from, i + 3));
    }
    for (; i < count; i++)
        fws_publish(&w[i], fws_load(from, i));
}

static inline void fws_add(fws_word *w, uint64_t n)
{
    FWS_STORE();
    (void)atomic_fetch_add_explicit(w, n, memory_order_relaxed);
}

/* Replaces *expected by value; on failure *expected is what was there. Acquire on success: what
 * the last owner wrote before fws_publish() of this word is visible to the next. */
static inline bool fws_claim(fws_word *w, uint64_t *expected, uint64_t value)
{
    FWS_STORE();
    return atomic_compare_exchange_strong_explicit(w, expected, value, memory_order_acq_rel,
                                                   memory_order_acquire);
}

#endif
