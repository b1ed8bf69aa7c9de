/* SPDX-License-Identifier: Apache-2.0 */
/* Which lane a call may write: the gates that forks shut, the thread's own lane, lane 0. */
#include "shim.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/* Where a thread stands that has no lane yet, and the process before its first open. */
static const struct gate gate_shut;

_Atomic(const struct gate *) shim_gates = &gate_shut;
_Thread_local struct shim_thread shim_thread = {.gate = &gate_shut};

static pthread_key_t thread_key; /* its destructor gives the lane of an ending thread back */
static bool thread_key_made;

static void lane_give_back(void *lane)
{
    /* A later call of this thread, from another destructor or a signal handler, looks for a lane
     * again, and must not find one that nobody would give back. */
    shim_thread.ending = true;
    atomic_signal_fence(memory_order_seq_cst);
    shim_thread.gate = &gate_shut;
    /* A handler left a call in the middle, by siglongjmp() or pthread_exit(): the lane's private
     * state may be half a step on, so nobody gets it again. */
    if (shim_thread.depth > 0)
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

bool shim_gates_make(struct shim *shim)
{
    const size_t bytes = shim->sizes.lanes * sizeof *shim->gates;
    if (!thread_key_made) {
        errno = EAGAIN;
        return false;
    }
    shim->gates = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shim->gates == MAP_FAILED)
        return false;
    if (madvise(shim->gates, bytes, MADV_WIPEONFORK) == 0)
        return true;
    shim_gates_free(shim);
    return false;
}

void shim_gates_free(struct shim *shim)
{
    munmap(shim->gates, shim->sizes.lanes * sizeof *shim->gates);
}

void shim_gates_wire(struct shim *shim)
{
    for (uint32_t i = 0; i < shim->sizes.lanes; i++) {
        struct gate *gate = &shim->gates[i];
        gate->lane = &shim->lanes[i];
        gate->values = gate->lane->values;
        gate->histograms = gate->lane->histograms;
        gate->shim = shim;
        for (int kind = 0; kind < HANDLE_KINDS; kind++)
            gate->keys[kind] = handle_make(shim->key, (enum handle_kind)kind, 0);
    }
}

void shim_turn_on(struct shim *shim)
{
    shim_gates_wire(shim);
    for (uint32_t i = 0; i < shim->sizes.lanes; i++) {
        struct gate *gate = &shim->gates[i];
        fws_put(&gate->slots, shim->sizes.slots);
        if (!gate->lane->shared) {
            fws_put(&gate->own_slots, shim->sizes.slots);
            fws_put(&gate->own_histograms, shim->sizes.instruments);
        }
    }
    /* Release: who finds the gates finds the life and the region behind them. PAIRS WITH shim_gate.
     */
    atomic_store_explicit(&shim_gates, shim->gates, memory_order_release);
}

bool shim_turn_off(struct shim *shim)
{
    uint64_t slots = shim->sizes.slots;
    if (!fws_claim(&shim->gates[0].slots, &slots, 0))
        return false;
    for (uint32_t i = 0; i < shim->sizes.lanes; i++) {
        fws_put(&shim->gates[i].slots, 0);
        fws_put(&shim->gates[i].own_slots, 0);
        fws_put(&shim->gates[i].own_histograms, 0);
    }
    return true;
}

/* Claims a free lane for this thread, or shares lane 0. */
static struct lane *lane_take(struct shim *shim)
{
    for (uint32_t i = 1; i < shim->sizes.lanes && !shim_thread.ending; i++) {
        struct lane *lane = &shim->lanes[i];
        uint64_t expected = 0;
        /* Acquire on success: the last owner's private state. PAIRS WITH lane_give_back. */
        if (fws_peek(&lane->owned) == 0 && fws_claim(&lane->owned, &expected, 1)) {
            if (pthread_setspecific(thread_key, lane) == 0) {
                fws_put(&lane->control[FWS_LANE_USED], 1);
                return lane;
            }
            fws_publish(&lane->owned, 0); /* without it nobody would give the lane back */
            break;
        }
    }
    return &shim->lanes[0];
}

const struct gate *shim_enter_slowly(void)
{
    const struct gate *first = shim_gate();
    if (fws_peek(&first->slots) == 0)
        return NULL;
    if (shim_thread.depth > 0) { /* a signal handler on top of a call of this thread */
        shim_thread.depth = shim_thread.depth + 1;
        return first;
    }
    shim_thread.depth = 1;
    atomic_signal_fence(memory_order_seq_cst);
    if (shim_thread.gate->shim != first->shim) /* the first call of this thread in this life */
        shim_thread.gate = first + (lane_take(first->shim) - first->lane);
    return shim_thread.gate;
}

bool lane_ring_enter_shared(struct lane *lane)
{
    for (int attempt = 0; attempt < SHIM_TRIES; attempt++) {
        uint64_t expected = 0;
        /* Acquire: the ring's private state as the last one left it. PAIRS WITH lane_ring_leave. */
        if (fws_claim(&lane->ring_busy, &expected, 1))
            return true;
    }
    return false;
}

void fwdscope_heartbeat(void)
{
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return;
    lane_beat(gate->lane);
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
    return shim_current() != NULL;
}
