/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a forwarder: its region, the last reading, what policy says of it, and what is
 * remembered. Main thread only.
 */
#ifndef SIDECAR_LIFE_H
#define SIDECAR_LIFE_H

#include "history.h"
#include "model.h"
#include "policy.h"
#include "snapshot.h"

enum { WINDOW_SAMPLES = 64 };

/* Totals of one pipeline at one reading: the sliding window is the difference of two of them. */
struct window_sample {
    uint64_t mono_ns;
    uint64_t queue_wait_ns, scan_ns, transform_ns, stalls;
};
struct pipeline_track {
    struct window_sample samples[WINDOW_SAMPLES]; /* circular; >= a minute at one a second */
    size_t next, count;
    uint64_t *last_progress; /* per component: what it had delivered when that last moved */
    uint64_t *moved_mono_ns; /* and when, or when its queue was last empty */
    uint64_t *stuck_ns;
    size_t component_count;
};

struct life {
    struct region *region;
    uint64_t file_key; /* the fleet's: which file it is, whatever its name */
    size_t place;      /* the fleet's: a number of the directory that it is in */
    bool current;      /* the fleet's: among the current ones at the last reading */
    const struct identity *identity;
    const struct snapshot *snapshot;
    struct writer_verdict verdict;

    uint64_t heartbeat_mark, heartbeat_mono_ns;
    uint64_t dead_unix_ns; /* when the writer was first seen dead; 0: it was not */
    uint64_t removed_mono_ns; /* dead: since when its file is seen to be gone; 0: it is there */
    uint64_t last_record_unix_ns; /* the newest time of its records */
    bool drained_dry;      /* dead, and its rings gave everything */
    bool ended;            /* and that is accounted for: nothing can change any more */

    struct pipeline_track *tracks;
    struct pipeline_view *pipeline_views;
    size_t track_count;
    struct forwarder_view view;

    struct series_table *table;
    struct history history;
    struct losses lost; /* by the forwarder and in the rings; never falls, whatever a region says */
    struct losses told; /* what the loss notices have told so far */
    unsigned fill_permille; /* of the fullest ring at the last drain */

    bool fresh; /* this tick has a reading of it: alive, or not yet ended */
    bool measured; /* this tick added a row of points */
    struct life *previous; /* the life before, once it ended; not owned */
};

struct life_options {
    uint64_t history_ns;     /* how long points are kept */
    uint64_t window_ns;      /* of the bottleneck */
    size_t points_bytes_max, spans_bytes_max, logs_bytes_max;
    size_t spans_kept, logs_kept; /* records */
    bool hold_back; /* records that find no room stay in the rings, for who publishes at once */
};

/* Attaches to the region at path. NULL: *result and why say why not. */
struct life *life_open(const char *path, const struct life_options *options,
                       enum attach_result *result, char *why, size_t cap);
void life_free(struct life **life);

/* Takes a reading, judges it, adds a row of points. False: no memory for it, so the life must be
 * given up for now; the region can be attached again. */
bool life_sample(struct life *life, const struct life_options *options, uint64_t unix_ns,
                 uint64_t mono_ns);

/* A dead life's last point is at its first dead reading: no later than unix_ns, when the next life
 * of its instance began, so that no series starts anew before its last point. */
void life_end_before(struct life *life, uint64_t unix_ns);

/* Empties the rings into the history; returns how many records came. Held back: only until a queue
 * is so full of unpublished records that the next ones might find no room. */
size_t life_drain(struct life *life, bool hold_back);

/* Whether a queue is half full of what was not yet published. */
bool life_is_pressed(const struct life *life);

/* How much memory it holds: what was read, how its series are named, and what is remembered. */
size_t life_bytes(const struct life *life);

/* Everything lost of this life: by the writer, in the rings, and here. */
struct losses life_losses(const struct life *life);

#endif
