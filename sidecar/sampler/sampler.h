/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sampler: the tick that everything else hangs on. It scans, reads, drains, remembers, and
 * when somebody listens it makes the tick's messages. One tick's reading answers every request
 * until the next. Main thread only.
 */
#ifndef SIDECAR_SAMPLER_H
#define SIDECAR_SAMPLER_H

#include "documents.h"
#include "fleet.h"
#include "status.h"
#include "stream.h"

struct sampler {
    struct fleet fleet;
    struct documents documents;
    struct self_series self;
    struct stream *stream; /* not owned; NULL: nobody listens */
    uint64_t interval_ns;
    uint64_t started_mono_ns;
    uint64_t last_unix_ns;   /* of the last tick; never decreasing */
    uint64_t quiet_since_ns; /* monotonic: when the rings last gave a record */
    uint64_t drained_mono_ns; /* when the rings were last emptied */
    uint64_t drain_ns;       /* how long to wait before the next drain */
    struct sampler_stats stats;
};

/* False: no memory. */
bool sampler_init(struct sampler *sampler, const struct fleet_target *target, uint64_t interval_ns,
                  struct stream *stream);
void sampler_free(struct sampler *sampler);

/* One tick: every region is read, and what is new goes to the stream. */
void sampler_tick(struct sampler *sampler);

/* Between ticks: empties the rings. Returns in how many ns to do it again: 50 ms to one interval,
 * so that a ring that fills at the rate just seen is emptied before it is half full. */
uint64_t sampler_drain(struct sampler *sampler);

/* Whether so much was drained that a tick should come at once: what comes further might find no
 * room before the next one is due. */
bool sampler_wants_tick(const struct sampler *sampler);

/* What the endpoints answer with; valid until the next tick. */
struct status_view sampler_view(const struct sampler *sampler);

/* The config document of the first current forwarder, or CONFIG_NONE. */
enum config_state sampler_config(const struct sampler *sampler, const char **path,
                                 const char **text, size_t *bytes);

/* Hands a vetted client to the stream with its backlog; backlog_seconds < 0: 60. */
void sampler_adopt(struct sampler *sampler, int fd, const char *head, size_t head_bytes,
                   long backlog_seconds);

#endif
