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

#include <pthread.h>

enum {
    SHIM_PIPELINES_MAX = 16,
    SHIM_COMPONENTS_MAX = 64,
    SHIM_REASON_BYTES = 512,
    SHIM_ATTR_WORDS_MAX = 1 + FWS_STRING_WORDS + FWS_ATTR_VALUE_BYTES_MAX / FWS_WORD_BYTES,
    SHIM_TRIES = 64, /* of every loop that another thread's progress can prolong */
};

/* ---- lanes ----------------------------------------------------------------------------------- */

/* What one thread at a time writes. Lane 0 is shared: its words take atomic adds, its rings are
 * entered through ring_busy. Private memory. */
struct lane {
    _Alignas(FWS_LINE_BYTES) fws_word owned; /* 1 while a thread has it: claim / publish */
    bool shared;
    fws_word *control;       /* FWS_LANE_WORDS */
    fws_word *values;        /* the lane's stripe of slots */
    fws_word *batches;       /* the lane's groups, one a pipeline */
    uint64_t *batch_seq;     /* private sequence of each group */
    uint64_t *histogram_seq; /* private sequence of the histogram whose first slot is [slot] */
    struct fws_ring_writer spans, logs;
    uint64_t heartbeat;
    fws_word ids;            /* drawn so far: makes ids unique */
    uint64_t id_seed[2];
    fws_word ring_busy;      /* lane 0: 1 while a thread writes one of its rings */
    uint64_t scratch[FWS_RECORD_WORDS_MAX]; /* where a record is put together */
};

/* ---- tables ---------------------------------------------------------------------------------- */

struct shim_instrument {
    uint64_t hash; /* of kind, name and attributes: finds a second registration */
    enum fws_instrument_kind kind;
    bool is_double;
    uint32_t slot;
    const double *bounds; /* private copy, in shim.bounds */
    size_t bound_count;
};

struct shim_component {
    enum fws_component_kind kind;
    uint32_t pipeline;
    uint32_t slot;
    char name[FWS_NAME_BYTES_MAX + 1];
};

/* A span's private side: what goes into its slot now and into a ring when it ends. */
struct shim_span {
    fws_word busy;       /* 1 while a call changes the span */
    fws_word generation; /* of the slot, 32 bits: an ended span's handle no longer matches */
    fws_word next;       /* free list: index + 1 of the next free slot */
    fws_word trace_id[2], span_id; /* also read by who only links to the span */
    uint64_t parent_id, sequence;
    uint64_t start_unix_ns, stage_start_unix_ns, output_start_unix_ns;
    unsigned kind, status, name_bytes, message_bytes, attributes, attributes_dropped;
    size_t attr_words;
    uint64_t stage[4];
    uint64_t name[FWS_STRING_WORDS];
    uint64_t message[FWS_STRING_WORDS];
    uint64_t attrs[FWS_ATTR_WORDS_MAX + SHIM_ATTR_WORDS_MAX]; /* and room to encode one more */
};

/* Sizes of one region, from the options. */
struct shim_sizes {
    uint32_t lanes, instruments, active_spans, slots;
    uint64_t string_bytes, span_ring_bytes, log_ring_bytes;
};

/* One life of the shim. Made by open, never freed: a thread may still be inside a call. */
struct shim {
    uint32_t epoch; /* which life: handles carry it */
    pid_t pid;
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
    double *bounds; /* of histograms, at the number of their first slot */
    struct shim_component components[SHIM_COMPONENTS_MAX];
    fws_word component_count; /* published after the component is filled */
    char pipeline_names[SHIM_PIPELINES_MAX][FWS_NAME_BYTES_MAX + 1];
    fws_word pipeline_count;
    uint64_t config_seq;

    struct shim_span *spans;
    fws_word free_spans; /* tag in the high half, index + 1 in the low: no ABA */
};

/* ---- entering -------------------------------------------------------------------------------- */

/* What a call needs: the life that is on and the lane that this thread may write. */
struct entry {
    struct shim *shim;
    struct lane *lane;
};

/*
 * Begins a call on the hot path: false when the shim is off, and nothing was entered. A thread
 * writes its own lane; a signal handler that interrupted this thread inside the shim writes lane 0.
 * Every true is followed by shim_leave() on the same thread.
 */
bool shim_enter(struct entry *entry);
void shim_leave(void);

/* The life that is on, or NULL: for calls that write no lane. */
struct shim *shim_current(void);

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
bool lane_ring_enter(struct lane *lane);
void lane_ring_leave(struct lane *lane);

/* A new id: never 0, unique within the region but for chance across lanes. which: 0 or 1. */
uint64_t lane_id(struct lane *lane, int which);

/* Makes the lanes of a life known to entering threads, or takes them away; false: that life is not
 * on, so another thread was first. */
void shim_turn_on(struct shim *shim);
bool shim_turn_off(const struct shim *shim);
/* Prepares the private page that a forked child finds wiped. False: no memory. Once a process. */
bool shim_prepare(void);

/* ---- handles --------------------------------------------------------------------------------- */

/* A handle is the epoch of its life and a number of that life, + 1: 0 is the no-op handle. */
static inline uint64_t handle_make(const struct shim *shim, uint32_t number)
{
    return (uint64_t)shim->epoch << 32 | (number + 1);
}

/* False for the no-op handle and for handles of another life. */
static inline bool handle_open(const struct shim *shim, uint64_t handle, uint32_t *number)
{
    *number = (uint32_t)handle - 1;
    return handle >> 32 == shim->epoch && (uint32_t)handle != 0;
}

/* ---- parts shared by several files ----------------------------------------------------------- */

/* Bytes of `text` to keep so that at most `max` remain and no UTF-8 sequence is cut. */
size_t text_cut(const char *text, size_t bytes, size_t max);

/* Copies bytes into words, the last one padded with zeros; returns the words. */
size_t words_of_text(uint64_t *out, const char *text, size_t bytes);

/* One attribute as words at out[0..room): returns its words, 0 when it is refused (bad key, no
 * room). *cut, 0 before, is 1 when the value was cut. */
size_t attr_encode(uint64_t *out, size_t room, const struct fwdscope_attribute *attribute,
                   unsigned *cut);

/* A block of attributes with unique keys; what does not fit is counted. */
struct attr_block {
    size_t words;
    unsigned count, dropped, cut;
};
struct attr_block attr_block_encode(uint64_t *out, size_t room,
                                    const struct fwdscope_attribute *attributes, size_t count);

/* Puts text into the strings section; false when it is full. Registration only, mutex held. */
bool strings_put(struct shim *shim, const void *bytes, size_t count, uint64_t *ref);

/* Counts a registration that was refused. */
void shim_refuse(struct shim *shim);

/* Ids of a live span, for a log line. False: not live. */
bool span_ids(struct shim *shim, fwdscope_span span, uint64_t trace_id[2], uint64_t *span_id);

/* CLOCK_REALTIME in nanoseconds: the vDSO, no system call. */
uint64_t shim_now(void);

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
