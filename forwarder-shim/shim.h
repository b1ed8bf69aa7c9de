/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the shim: its state, its lanes, and how a call finds the lane that it may write.
 *
 * Everything that decides where the shim writes is private memory: sequences, ring tails, slot
 * numbers. What stands in the region is only ever added to or overwritten, so a region that
 * somebody scribbles over shows wrong numbers and harms nobody.
 */
#ifndef FWDSCOPE_SHIM_H
#define FWDSCOPE_SHIM_H

#include "fwdscope.h"

#include "shmlayout/atomic.h"
#include "shmlayout/layout.h"
#include "shmlayout/region.h"
#include "shmlayout/ring.h"
#include "shmlayout/seqlock.h"
#include "shmlayout/text.h"

#include <pthread.h>
#include <time.h>

/* A condition of calls that need not be fast: what follows it is laid out of the way. */
#define SHIM_RARE(condition) __builtin_expect((condition), 0)

enum {
    SHIM_PIPELINES_MAX = 16,
    SHIM_COMPONENTS_MAX = 64,
    SHIM_REASON_BYTES = 512,
    SHIM_ATTR_WORDS_MAX = 1 + FWS_STRING_WORDS + FWS_ATTR_VALUE_BYTES_MAX / FWS_WORD_BYTES,
    SHIM_ATTRS_ROOM = FWS_ATTR_WORDS_MAX + SHIM_ATTR_WORDS_MAX, /* and one more encoded */
    SHIM_TRIES = 64, /* of every loop that another thread's progress can prolong */
    SHIM_BOUNDS_STEP = 8, /* so many bounds of a histogram are skipped at once */
    SHIM_BOUNDS_ROOM = 3, /* doubles a slot: n bounds and a step of infinities in n + 3 slots */
    SHIM_SPARE_SPANS = 2, /* a lane keeps so many free slots at hand: a batch and its output */
};

/* ---- lanes ----------------------------------------------------------------------------------- */

/* A lane's private side of an instrument that is a histogram; of others it is zero. */
struct lane_histogram {
    fws_word *words; /* of the lane: sequence, sum, buckets */
    uint64_t sequence;
    double sum;
    const double *bounds; /* private, the same for all lanes, then SHIM_BOUNDS_STEP infinities */
};

/* What one thread at a time writes. Lane 0 is shared: its words take atomic adds, its rings are
 * entered through ring_busy. Private memory. */
struct lane {
    _Alignas(FWS_LINE_BYTES) fws_word owned; /* 1 while a thread has it: claim / publish */
    bool shared;
    fws_word *control;       /* FWS_LANE_WORDS */
    fws_word *values;        /* the lane's stripe of slots */
    fws_word *batches;       /* the lane's groups, one a pipeline */
    uint64_t *batch_seq;     /* private sequence of each group */
    struct lane_histogram *histograms; /* one an instrument */
    struct fws_ring_writer spans, logs;
    uint64_t heartbeat;
    fws_word ids;            /* drawn so far: makes ids unique */
    uint64_t id_seed[2];
    fws_word ring_busy;      /* lane 0: 1 while a thread writes one of its rings */
    fws_word spare_spans[SHIM_SPARE_SPANS]; /* index + 1 of free slots kept at hand; 0: none */
    uint64_t attrs[SHIM_ATTRS_ROOM]; /* where the attributes of a log line are put together */
};

/* ---- tables ---------------------------------------------------------------------------------- */

struct shim_instrument {
    uint64_t hash; /* of kind, name and attributes: finds a second registration */
    enum fws_instrument_kind kind;
    uint32_t slot;
};

struct shim_component {
    enum fws_component_kind kind;
    uint32_t pipeline;
    uint32_t slot;
    char name[FWS_NAME_BYTES_MAX + 1];
};

/* Encoded attributes; their words stand elsewhere. All zero: none. */
struct attr_list {
    size_t words;
    uint64_t keys; /* a bit for each key: no bit, no such key */
    unsigned count, dropped, cut;
};

/* A span's private side: what goes into its slot now and into a ring when it ends. */
struct shim_span {
    fws_word busy;       /* 1 while a call changes the span */
    fws_word generation; /* of the slot, 32 bits: an ended span's handle no longer matches */
    fws_word next;       /* free list: index + 1 of the next free slot */
    fws_word trace_id[2], span_id; /* also read by who only links to the span */
    uint64_t parent_id, sequence;
    uint64_t start_unix_ns, stage_start_unix_ns, output_start_unix_ns;
    unsigned kind, status, name_bytes, message_bytes;
    struct attr_list list;
    uint64_t stage[4];
    uint64_t name[FWS_STRING_WORDS];
    uint64_t message[FWS_STRING_WORDS];
    uint64_t attrs[SHIM_ATTRS_ROOM]; /* of the list */
};

/* Sizes of one region, from the options. */
struct shim_sizes {
    uint32_t lanes, instruments, active_spans, slots;
    uint64_t string_bytes, span_ring_bytes, log_ring_bytes;
};

/* One life of the shim. Made by open, never freed: a thread may still be inside a call. */
struct shim {
    uint64_t key; /* which life: its handles begin with it */
    pid_t pid;
    struct gate *gates; /* one a lane */
    struct fws_region region;
    struct shim_sizes sizes;

    /* Sections of the region. */
    fws_word *header, *strings, *instruments_words, *pipelines_words, *components_words;
    fws_word *active_words, *config_words;

    struct lane *lanes;

    pthread_mutex_t registering; /* guards what follows; never taken on the hot path */
    uint64_t strings_used;       /* bytes */
    uint32_t slots_used;
    struct shim_instrument *instruments;
    uint32_t instrument_count;
    double *bounds; /* of histograms, at SHIM_BOUNDS_ROOM times their first slot */
    struct shim_component components[SHIM_COMPONENTS_MAX];
    fws_word component_count; /* published after the component is filled */
    char pipeline_names[SHIM_PIPELINES_MAX][FWS_NAME_BYTES_MAX + 1];
    fws_word pipeline_count;
    uint64_t config_seq;

    struct shim_span *spans;
    fws_word free_spans; /* tag in the high half, index + 1 in the low: no ABA */
};

/* ---- handles --------------------------------------------------------------------------------- */

/*
 * A handle is the key of its life, its kind and a number of that life, + 1: 0 is the no-op handle.
 * Values that are one slot are numbered by it, so that a call finds them at once.
 */
enum handle_kind {
    HANDLE_COUNTER = 1,
    HANDLE_TOTAL,
    HANDLE_UPDOWN,
    HANDLE_INT_GAUGE,
    HANDLE_DOUBLE_GAUGE,
    HANDLE_HISTOGRAM, /* numbered as instruments are */
    HANDLE_PIPELINE,
    HANDLE_COMPONENT,
    HANDLE_KINDS,
};

/* The key of the nth life of a process. */
static inline uint64_t handle_key(uint32_t nth)
{
    return (uint64_t)nth << 36;
}

static inline uint64_t handle_make(uint64_t key, enum handle_kind kind, uint64_t number)
{
    return key + ((uint64_t)kind << 32) + number + 1;
}

/* The number of a handle, for the caller to compare with how many there are: the no-op handle and
 * those of another kind or life give more than there can be. */
static inline uint64_t handle_number(uint64_t key, enum handle_kind kind, uint64_t handle)
{
    return handle - handle_make(key, kind, 0);
}

/* ---- entering -------------------------------------------------------------------------------- */

/*
 * One lane of a life as a call finds it. The gates of a life are a piece of memory of their own that
 * the kernel wipes in every child, also in one made by raw clone: a child reads 0 slots before
 * anything else and touches nothing. Closing the life shuts them too. All but the three limits is
 * written before a thread can know of the gate.
 */
struct gate {
    _Alignas(FWS_LINE_BYTES) fws_word slots; /* of values; 0: the life is not on */
    fws_word own_slots;      /* the same where the lane is its thread's own, 0 where it is shared */
    fws_word own_histograms; /* likewise */
    fws_word *values;        /* lane->values */
    struct lane_histogram *histograms; /* lane->histograms */
    struct lane *lane;
    struct shim *shim;
    uint64_t keys[HANDLE_KINDS]; /* what to take from a handle of a kind to have its number */
};

/* What a thread remembers. */
struct shim_thread {
    const struct gate *gate; /* of its lane; before its first call one that is shut */
    volatile int depth;      /* > 0: inside the shim; a signal handler then takes lane 0 */
    volatile bool ending;    /* gave its lane back: what it still writes goes to lane 0 */
};
extern _Thread_local struct shim_thread shim_thread;

/* Gates of the newest life, lane 0 first; shut while the shim is off. */
extern _Atomic(const struct gate *) shim_gates;

/* The rest of shim_enter(). */
const struct gate *shim_enter_slowly(void);

/*
 * Begins a call on the hot path. NULL when the shim is off: nothing was entered. A thread writes its
 * own lane; a signal handler that interrupted this thread inside the shim writes lane 0. Every gate
 * is followed by shim_leave() on the same thread.
 */
static inline const struct gate *shim_enter(void)
{
    const struct gate *gate = shim_thread.gate;
    if (SHIM_RARE(shim_thread.depth > 0 || fws_peek(&gate->slots) == 0))
        return shim_enter_slowly();
    shim_thread.depth = 1;
    atomic_signal_fence(memory_order_seq_cst); /* a handler sees the depth before our first store */
    return gate;
}

static inline void shim_leave(void)
{
    atomic_signal_fence(memory_order_seq_cst); /* and our last store before the depth falls */
    shim_thread.depth = shim_thread.depth - 1;
}

/* For calls that write no lane of their own: the gate of lane 0, perhaps a shut one. */
static inline const struct gate *shim_gate(void)
{
    /* Acquire: the life behind it is whole. PAIRS WITH shim_turn_on. */
    return atomic_load_explicit(&shim_gates, memory_order_acquire);
}

/* The life that is on, or NULL. */
static inline struct shim *shim_current(void)
{
    const struct gate *gate = shim_gate();
    return fws_peek(&gate->slots) == 0 ? NULL : gate->shim;
}

/* Adds to a word of the lane: a plain add for the owner, an atomic one on lane 0. */
static inline void lane_add(const struct lane *lane, fws_word *word, uint64_t n)
{
    if (lane->shared)
        fws_add(word, n);
    else
        fws_put(word, fws_peek(word) + n); /* the owner alone stores here: no order is needed */
}

/* Says that the writer lives. */
static inline void lane_beat(struct lane *lane)
{
    if (lane->shared)
        fws_add(&lane->control[FWS_LANE_HEARTBEAT], 1);
    else
        fws_put(&lane->control[FWS_LANE_HEARTBEAT], ++lane->heartbeat);
}

/* Enters the lane's rings: always for an owner, after a bounded number of tries on lane 0. */
bool lane_ring_enter_shared(struct lane *lane);

static inline bool lane_ring_enter(struct lane *lane)
{
    return !lane->shared || lane_ring_enter_shared(lane);
}

static inline void lane_ring_leave(struct lane *lane)
{
    if (lane->shared)
        fws_publish(&lane->ring_busy, 0); /* PAIRS WITH lane_ring_enter_shared */
}

/* Numbers for `count` new ids: the first of them. */
static inline uint64_t lane_draw(struct lane *lane, uint64_t count)
{
    if (lane->shared)
        return atomic_fetch_add_explicit(&lane->ids, count, memory_order_relaxed);
    const uint64_t drawn = fws_peek(&lane->ids);
    atomic_store_explicit(&lane->ids, drawn + count, memory_order_relaxed);
    return drawn;
}

/* The id of a number that was drawn: never 0, unique within the region but for chance across lanes.
 * which: 0 or 1. splitmix64: a bijection of its counter, so a lane never has the same id twice. */
static inline uint64_t lane_id(const struct lane *lane, int which, uint64_t drawn)
{
    uint64_t z = lane->id_seed[which] + drawn * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z != 0 ? z : 1;
}

/* Makes the shut gates of a life; false, with errno: no memory, or no way to have them wiped. */
bool shim_gates_make(struct shim *shim);
/* Writes all of them but the limits; in a forked child again, where a call may be in the middle. */
void shim_gates_wire(struct shim *shim);
void shim_gates_free(struct shim *shim);
/* Opens the gates of a life to every thread, or shuts them; false: that life is not on, so another
 * thread was first. */
void shim_turn_on(struct shim *shim);
bool shim_turn_off(struct shim *shim);

/* ---- parts shared by several files ----------------------------------------------------------- */

/* Bytes of `text` to keep so that at most `max` remain and no UTF-8 sequence is cut. */
size_t text_cut_long(const char *text, size_t max);

static inline size_t text_cut(const char *text, size_t bytes, size_t max)
{
    return bytes <= max ? bytes : text_cut_long(text, max);
}

/*
 * Adds attributes to a list whose words stand at `out`, at most `room` of them and
 * SHIM_ATTR_WORDS_MAX spare ones behind. Keys are unique: one that is there already is replaced, or
 * stays and the new one is dropped. Returns the first word that changed; what is new begins at the
 * old end at the latest.
 */
size_t attrs_put(struct attr_list *list, uint64_t *out, size_t room,
                 const struct fwdscope_attribute *attributes, size_t count, bool replace);

/* Puts text into the strings section; false when it is full. Registration only, mutex held. */
bool strings_put(struct shim *shim, const void *bytes, size_t count, uint64_t *ref);

/* Counts a registration that was refused. */
void shim_refuse(struct shim *shim);

/* Ids of a live span, for a log line. False: not live. */
bool span_ids(struct shim *shim, fwdscope_span span, uint64_t trace_id[2], uint64_t *span_id);

/* CLOCK_REALTIME in nanoseconds: the vDSO, no system call. */
static inline uint64_t shim_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Where regions of this process go: into out. False and why when there is no such place. */
bool place_choose(const char *wanted, char *out, size_t out_cap, char *why, size_t cap);
/* Looks at the regions of `instance` in dir, removes those that nobody needs (all but the newest
 * that crashed; that too unless keep_one), and says which generation comes next. keep_newest: the
 * newest life stays too, however it ended, because it alone tells the generation until the next
 * region is there. */
uint64_t place_clean(const char *dir, const char *instance, bool keep_one, bool keep_newest);
/* INSTANCE.GENERATION.UUID8.fwdscope with the instance made fit for a file name. */
void place_name(const char *instance, uint64_t generation, const uint64_t uuid[2], char *out,
                size_t cap);

#endif
