/* SPDX-License-Identifier: Apache-2.0 */
/* The tick. */
#include "sampler.h"

#include "log.h"
#include "process.h"

#include <stdlib.h>
#include <time.h>

#define SECOND_NS UINT64_C(1000000000)

/* History: five minutes, and per life what the contract asks for at least. */
static const struct life_options history_options = {
    .history_ns = 300 * SECOND_NS,
    .window_ns = 60 * SECOND_NS,
    .points_bytes_max = 16 << 20,
    .spans_bytes_max = 16 << 20, /* 16,000 spans of 1 KiB */
    .spans_kept = 16000,
    .logs_bytes_max = 16 << 20, /* what 1 s at 50,000 lines/s needs, and >= 1 MiB of lines */
    .logs_kept = 65536,
};

enum { BACKLOG_SECONDS = 60 };
static const uint64_t drain_ns_min = 50 * UINT64_C(1000000);
/* While records come at all: at 5,000 lines/s a ring of the default size fills by half in 200 ms,
 * however quiet it was a moment before. */
static const uint64_t drain_ns_lively = 150 * UINT64_C(1000000);
static const uint64_t quiet_ns = 60 * SECOND_NS;

static uint64_t clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

bool sampler_init(struct sampler *sampler, const struct fleet_target *target, uint64_t interval_ns,
                  struct stream *stream)
{
    *sampler = (struct sampler){
        .stream = stream,
        .interval_ns = interval_ns,
        .started_mono_ns = clock_read(CLOCK_MONOTONIC),
        .quiet_since_ns = clock_read(CLOCK_MONOTONIC),
        .drain_ns = drain_ns_min,
        .stats = {.interval_ms = interval_ns / 1000000},
    };
    struct life_options options = history_options;
    options.hold_back = stream != NULL; /* whoever serves publishes at once when it is pressed */
    fleet_init(&sampler->fleet, target, &options);
    sampler->self.start_unix_ns = clock_read(CLOCK_REALTIME);
    sampler->self.table = series_table_new_self();
    row_queue_init(&sampler->self.rows, 4 << 20, history_options.history_ns);
    if (documents_init(&sampler->documents) && sampler->self.table != NULL)
        return true;
    sampler_free(sampler);
    return false;
}

void sampler_free(struct sampler *sampler)
{
    fleet_free(&sampler->fleet);
    documents_free(&sampler->documents);
    row_queue_free(&sampler->self.rows);
    series_table_free(&sampler->self.table);
}

/* The sidecar's account of itself, as it stands at this tick. */
static void stats_update(struct sampler *sampler, const struct life_totals *totals)
{
    struct sampler_stats *stats = &sampler->stats;
    stats->retries = totals->retries;
    stats->torn = totals->torn;
    stats->stale = 0;
    for (size_t i = 0; i < sampler->fleet.count; i++)
        stats->stale += sampler->fleet.lives[i]->snapshot->stale;
    if (sampler->stream != NULL) {
        stats->stream_clients = stream_clients(sampler->stream);
        stats->ticks_skipped = stream_ticks_skipped(sampler->stream);
    }
}

static void self_sample(struct sampler *sampler)
{
    const struct life_totals totals = fleet_totals(&sampler->fleet);
    stats_update(sampler, &totals);
    const struct sampler_stats *stats = &sampler->stats;
    const struct self_figures figures = {
        .ticks = stats->ticks,
        .tick_us = stats->last_tick_us,
        .retries = stats->retries,
        .stale = stats->stale,
        .torn = stats->torn,
        .spans_lost = totals.spans_lost,
        .logs_lost = totals.logs_lost,
        .regions = sampler->fleet.count,
        .regions_refused = sampler->fleet.refused,
        .sections_refused = fleet_sections_refused(&sampler->fleet),
        .stream_clients = stats->stream_clients,
        .ticks_skipped = stats->ticks_skipped,
        .process = process_read_self(),
    };
    series_table_recycle(sampler->self.table, row_queue_take_spare(&sampler->self.rows));
    struct point_row *row =
        series_table_self_row(sampler->self.table, &figures, sampler->last_unix_ns);
    if (row != NULL)
        row_queue_push(&sampler->self.rows, row);
}

static void tick_publish(struct sampler *sampler)
{
    if (sampler->stream == NULL || stream_clients(sampler->stream) == 0) {
        documents_advance(&sampler->fleet);
        return;
    }
    struct tick_messages tick;
    for (int signal = SIGNAL_METRICS; signal <= SIGNAL_LOGS; signal++) {
        documents_tick(&sampler->documents, &sampler->fleet, &sampler->self, sampler->last_unix_ns,
                       (enum signal)signal, &tick);
        /* A large document takes long; what comes meanwhile must not lap a ring. */
        (void)sampler_drain(sampler);
    }
    stream_publish(sampler->stream, &tick);
}

void sampler_tick(struct sampler *sampler)
{
    uint64_t began = clock_read(CLOCK_MONOTONIC);
    uint64_t unix_ns = clock_read(CLOCK_REALTIME);
    if (unix_ns <= sampler->last_unix_ns) /* the clock was set back: times of a series never fall */
        unix_ns = sampler->last_unix_ns + 1;
    sampler->last_unix_ns = unix_ns;
    fleet_scan(&sampler->fleet);
    (void)sampler_drain(sampler); /* first, so that the reading counts what it missed */
    fleet_sample(&sampler->fleet, unix_ns, began);
    (void)sampler_drain(sampler); /* and what came meanwhile goes out with it */
    self_sample(sampler);
    tick_publish(sampler);
    sampler->stats.ticks++;
    sampler->stats.last_tick_us = (clock_read(CLOCK_MONOTONIC) - began) / 1000;
}

uint64_t sampler_drain(struct sampler *sampler)
{
    unsigned fill;
    uint64_t now = clock_read(CLOCK_MONOTONIC);
    uint64_t elapsed = now - sampler->drained_mono_ns;
    sampler->drained_mono_ns = now;
    if (fleet_drain(&sampler->fleet, &fill) > 0)
        sampler->quiet_since_ns = now;
    if (elapsed < drain_ns_min / 2)
        return sampler->drain_ns; /* too short a time to tell a rate */
    uint64_t longest =
        now - sampler->quiet_since_ns > quiet_ns ? sampler->interval_ns : drain_ns_lively;
    if (longest > sampler->interval_ns)
        longest = sampler->interval_ns;
    /* Aims at a ring a third full at the rate just seen; grows at most twofold a step. */
    uint64_t wanted = fill > 0 ? elapsed * 333 / fill : longest;
    if (wanted > sampler->drain_ns * 2)
        wanted = sampler->drain_ns * 2;
    if (wanted > longest)
        wanted = longest;
    sampler->drain_ns = wanted > drain_ns_min ? wanted : drain_ns_min;
    return sampler->drain_ns;
}

bool sampler_wants_tick(const struct sampler *sampler)
{
    return fleet_is_pressed(&sampler->fleet);
}

struct status_view sampler_view(const struct sampler *sampler)
{
    const struct fleet *fleet = &sampler->fleet;
    struct status_view view = {
        .forwarders = fleet->views,
        .forwarder_count = fleet->current_count,
        .trouble = fleet->trouble,
        .trouble_path = fleet->trouble_path[0] != '\0' ? fleet->trouble_path : NULL,
        .trouble_reason = fleet->trouble_reason[0] != '\0' ? fleet->trouble_reason : NULL,
        .sampler = sampler->stats,
        .observed_unix_ns = sampler->last_unix_ns,
        .now_unix_ns = clock_read(CLOCK_REALTIME),
        .uptime_seconds = (clock_read(CLOCK_MONOTONIC) - sampler->started_mono_ns) / SECOND_NS,
        .version = FWDSCOPE_VERSION,
    };
    if (sampler->stream != NULL) {
        view.sampler.stream_clients = stream_clients(sampler->stream);
        view.sampler.ticks_skipped = stream_ticks_skipped(sampler->stream);
    }
    return view;
}

enum config_state sampler_config(const struct sampler *sampler, const char **path,
                                 const char **text, size_t *bytes)
{
    *path = *text = "";
    *bytes = 0;
    if (sampler->fleet.current_count == 0)
        return CONFIG_NONE;
    return region_config(sampler->fleet.current[0]->region, path, text, bytes);
}

void sampler_adopt(struct sampler *sampler, int fd, const char *head, size_t head_bytes,
                   long backlog_seconds)
{
    struct message *backlog[TICK_MESSAGES];
    uint64_t seconds = backlog_seconds < 0 ? BACKLOG_SECONDS : (uint64_t)backlog_seconds;
    documents_backlog(&sampler->documents, &sampler->fleet, &sampler->self, sampler->last_unix_ns,
                      seconds, backlog);
    stream_adopt(sampler->stream, fd, head, head_bytes, backlog);
}
