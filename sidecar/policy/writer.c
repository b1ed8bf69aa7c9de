/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is alive. The lock decides between living and dead, because the kernel drops it on any death;
 * the state word tells a clean end from a crash; the heartbeat tells a hang, and only where an
 * interval was declared. A writer that closed its region is gone for us, whether or not its process
 * lives on. A dead destination is no stall, and neither is idleness.
 */
#include "policy.h"
#include "sentence.h"

#include <limits.h>
#include <string.h>

#define STALL_NS_MIN UINT64_C(10000000000)
#define NS_PER_MS    UINT64_C(1000000)

/* A close reason is at most this long in a verdict; what the shim takes fits. */
enum { CLOSE_REASON_BYTES = 255 };

const char *writer_state_name(enum writer_state state)
{
    static const char *const names[] = {
        [WRITER_UNKNOWN] = "unknown", [WRITER_ALIVE] = "alive",     [WRITER_STALLED] = "stalled",
        [WRITER_EXITED] = "exited",   [WRITER_CRASHED] = "crashed",
    };
    return names[state];
}

/* How long a silence must last to be a stall. */
static uint64_t stall_after_ns(uint64_t interval_ns)
{
    if (interval_ns > UINT64_MAX / 3) {
        return UINT64_MAX;
    }
    return 3 * interval_ns > STALL_NS_MIN ? 3 * interval_ns : STALL_NS_MIN;
}

static void add_signal(struct sentence *reason, const struct snapshot *snapshot)
{
    const unsigned signal = snapshot->signal;
    if (signal == 0) {
        return;
    }
    sentence_add(reason, ", fatal signal %u", signal);
    const char *name = signal <= INT_MAX ? sigabbrev_np((int)signal) : NULL;
    if (name != NULL) {
        sentence_add(reason, " (SIG%s)", name);
    }
    if (snapshot->signal_thread == 0) {
        return;
    }
    if (snapshot->signal_address != UINT64_MAX) {
        sentence_add(reason, " at address 0x%llx", (unsigned long long)snapshot->signal_address);
    }
    sentence_add(reason, " in thread %llu", (unsigned long long)snapshot->signal_thread);
}

/* The state word says closed, by the forwarder itself or by an adapter that saw its subject die. */
static enum writer_state judge_closed(const struct snapshot *snapshot, struct sentence *reason)
{
    const bool crashed = snapshot->state == STATE_CLOSED_CRASHED;
    const char *said = snapshot->close_reason != NULL ? snapshot->close_reason : "";
    sentence_add(reason, crashed ? "reported as crashed: " : "closed its region: ");
    if (said[0] != '\0') {
        sentence_add_foreign(reason, said, CLOSE_REASON_BYTES);
    } else {
        sentence_add(reason, "no reason given");
    }
    add_signal(reason, snapshot);
    return crashed ? WRITER_CRASHED : WRITER_EXITED;
}

static enum writer_state judge_dead(const struct snapshot *snapshot, struct sentence *reason)
{
    sentence_add(reason, "its lock is gone and it never closed the region");
    add_signal(reason, snapshot);
    if (snapshot->signal == 0) {
        sentence_add(reason,
                     "; no signal was seen, as after SIGKILL, running out of memory, or an end "
                     "without fwdscope_close(), as daemon(3) makes");
    }
    return WRITER_CRASHED;
}

static enum writer_state judge_locked(uint64_t interval_ns, uint64_t age_ns,
                                      struct sentence *reason)
{
    const double age = sentence_seconds(age_ns);
    if (interval_ns == 0) {
        sentence_add(reason,
                     "holds its lock; declared no heartbeat interval, last sign of life "
                     "%.1f s ago",
                     age);
        return WRITER_ALIVE;
    }
    const uint64_t limit_ns = stall_after_ns(interval_ns);
    const double interval = sentence_seconds(interval_ns), limit = sentence_seconds(limit_ns);
    if (age_ns < limit_ns) {
        sentence_add(reason, "holds its lock; last heartbeat %.1f s ago, declared every %.1f s",
                     age, interval);
        return WRITER_ALIVE;
    }
    sentence_add(reason,
                 "holds its lock but gave no heartbeat for %.1f s; declared every %.1f s, "
                 "stalled after %.1f s",
                 age, interval, limit);
    return WRITER_STALLED;
}

/* The lock cannot be asked: only a recorded fatal signal is evidence enough for a verdict. */
static enum writer_state judge_unlockable(const struct snapshot *snapshot, uint64_t age_ns,
                                          struct sentence *reason)
{
    if (snapshot->signal != 0) {
        sentence_add(reason, "its lock cannot be asked, but it recorded its end");
        add_signal(reason, snapshot);
        return WRITER_CRASHED;
    }
    sentence_add(reason, "its lock cannot be asked here; last sign of life %.1f s ago",
                 sentence_seconds(age_ns));
    return WRITER_UNKNOWN;
}

static enum writer_state judge(const struct identity *identity, const struct snapshot *snapshot,
                               uint64_t age_ns, struct sentence *reason)
{
    if (snapshot->state == STATE_CLOSED || snapshot->state == STATE_CLOSED_CRASHED) {
        return judge_closed(snapshot, reason);
    }
    if (snapshot->lock == LOCK_FREE) {
        return judge_dead(snapshot, reason);
    }
    if (snapshot->state == STATE_OTHER) {
        sentence_add(reason, "its state word is none that this version knows");
        return WRITER_UNKNOWN;
    }
    if (snapshot->lock == LOCK_HELD) {
        return judge_locked(identity->heartbeat_interval_ns, age_ns, reason);
    }
    return judge_unlockable(snapshot, age_ns, reason);
}

void policy_judge_writer(const struct identity *identity, const struct snapshot *snapshot,
                         uint64_t heartbeat_age_ns, struct writer_verdict *out)
{
    struct sentence reason = sentence_begin(out->reason, sizeof out->reason);
    out->heartbeat_age_ms = heartbeat_age_ns / NS_PER_MS;
    out->state = judge(identity, snapshot, heartbeat_age_ns, &reason);
}
