/* SPDX-License-Identifier: Apache-2.0 */
/* One life of a forwarder: read, judged, remembered. */
#include "life.h"

#include "process.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLE_SPACING_NS UINT64_C(1000000000)

enum {
    DRAIN_RECORDS_MAX = 65536, /* a drain: a bound on the work between two events */
    SLICE_RECORDS = 64,        /* taken between two looks at the room that is left */
    SLICE_BYTES_MAX = 2 << 20, /* chunks of so many of the longest, 18 KiB of each 64 KiB empty */
};

struct life *life_open(const char *path, const struct life_options *options,
                       enum attach_result *result, char *why, size_t cap)
{
    struct region *region;
    *result = region_open(path, &region, NULL, why, cap);
    if (*result != ATTACH_OK)
        return NULL;
    struct life *life = calloc(1, sizeof *life);
    struct series_table *table = series_table_new(region_metric_prefix(region));
    if (life == NULL || table == NULL) {
        free(life);
        series_table_free(&table);
        region_close(&region);
        *result = ATTACH_FAILED;
        return NULL;
    }
    life->region = region;
    life->identity = region_identity(region);
    life->table = table;
    row_queue_init(&life->history.rows, options->points_bytes_max, options->history_ns);
    record_queue_init(&life->history.spans, options->spans_bytes_max, options->spans_kept);
    record_queue_init(&life->history.logs, options->logs_bytes_max, options->logs_kept);
    return life;
}

static void track_free(struct pipeline_track *track)
{
    free(track->last_progress);
    free(track->moved_mono_ns);
    free(track->stuck_ns);
}

void life_free(struct life **life)
{
    struct life *it = *life;
    if (it == NULL)
        return;
    for (size_t i = 0; i < it->track_count; i++)
        track_free(&it->tracks[i]);
    free(it->tracks);
    free(it->pipeline_views);
    history_free(&it->history);
    series_table_free(&it->table);
    region_close(&it->region);
    free(it);
    *life = NULL;
}

/* ---- tracking -------------------------------------------------------------------------------- */

/* Room for pipelines and components that appeared. False: no memory. */
static bool tracks_grow(struct life *life, const struct snapshot *snapshot)
{
    size_t count = snapshot->pipeline_count;
    if (count > life->track_count) {
        struct pipeline_track *tracks = realloc(life->tracks, count * sizeof *tracks);
        if (tracks != NULL)
            life->tracks = tracks;
        struct pipeline_view *views = realloc(life->pipeline_views, count * sizeof *views);
        if (views != NULL)
            life->pipeline_views = views;
        if (tracks == NULL || views == NULL)
            return false;
        memset(tracks + life->track_count, 0, (count - life->track_count) * sizeof *tracks);
        memset(views + life->track_count, 0, (count - life->track_count) * sizeof *views);
        life->track_count = count;
    }
    for (size_t i = 0; i < count; i++) {
        struct pipeline_track *track = &life->tracks[i];
        size_t components = snapshot->pipelines[i].component_count;
        if (components <= track->component_count)
            continue;
        uint64_t **const arrays[] = {&track->last_progress, &track->moved_mono_ns,
                                     &track->stuck_ns};
        for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++) {
            uint64_t *grown = realloc(*arrays[a], components * sizeof *grown);
            if (grown == NULL)
                return false;
            memset(grown + track->component_count, 0,
                   (components - track->component_count) * sizeof *grown);
            *arrays[a] = grown;
        }
        for (size_t c = track->component_count; c < components; c++)
            track->moved_mono_ns[c] = snapshot->mono_ns;
        track->component_count = components;
    }
    return true;
}

/* What a component delivered: each of these only grows, so the sum moves when one of them does.
 * False: it publishes none of them, so nobody can tell. */
static bool component_progress(const struct component *component, uint64_t *progress)
{
    const uint32_t counted = 1u << COUNT_LINES | 1u << COUNT_BYTES;
    *progress = component->counts[COUNT_LINES] + component->counts[COUNT_BYTES] +
                component->last_success_unix_ns;
    return (component->absent & counted) != counted || component->last_success_unix_ns != 0;
}

/* How long each component has had work waiting and delivered nothing. */
static void track_stuck(struct pipeline_track *track, const struct pipeline *pipeline,
                        uint64_t mono_ns)
{
    for (size_t c = 0; c < pipeline->component_count; c++) {
        const struct component *component = &pipeline->components[c];
        bool waiting = component->has_queue && component->queue_depth > 0;
        uint64_t progress;
        bool told = component_progress(component, &progress);
        if (!waiting || !told || progress != track->last_progress[c]) {
            track->last_progress[c] = progress;
            track->moved_mono_ns[c] = mono_ns;
        }
        track->stuck_ns[c] = mono_ns - track->moved_mono_ns[c];
    }
}

/* The time that the pipeline spent over the last window_ns, or since the reading before if that is
 * longer ago. Samples are kept a second apart at least, so that a short interval does not shorten
 * the window. */
static void track_window(struct pipeline_track *track, const struct pipeline *pipeline,
                         uint64_t mono_ns, uint64_t window_ns, struct pipeline_window *out)
{
    if (pipeline->batches_stale)
        return; /* it tells nothing new: the last window stays */
    const struct window_sample now = {
        .mono_ns = mono_ns,
        .queue_wait_ns = pipeline->batches[BATCH_QUEUE_WAIT_NS],
        .scan_ns = pipeline->batches[BATCH_SCAN_NS],
        .transform_ns = pipeline->batches[BATCH_TRANSFORM_NS],
        .stalls = pipeline->batches[BATCH_STALLS],
    };
    const struct window_sample *oldest = &now;
    for (size_t i = 1; i <= track->count; i++) {
        const struct window_sample *sample =
            &track->samples[(track->next + WINDOW_SAMPLES - i) % WINDOW_SAMPLES];
        if (i > 1 && mono_ns - sample->mono_ns > window_ns)
            break;
        oldest = sample;
    }
    *out = (struct pipeline_window){
        .seconds = (double)(now.mono_ns - oldest->mono_ns) / 1e9,
        .queue_wait_s = (double)(now.queue_wait_ns - oldest->queue_wait_ns) / 1e9,
        .scan_s = (double)(now.scan_ns - oldest->scan_ns) / 1e9,
        .transform_s = (double)(now.transform_ns - oldest->transform_ns) / 1e9,
        .stalls = now.stalls - oldest->stalls,
    };
    size_t newest = (track->next + WINDOW_SAMPLES - 1) % WINDOW_SAMPLES;
    if (track->count == 0 || mono_ns - track->samples[newest].mono_ns >= SAMPLE_SPACING_NS) {
        track->samples[track->next] = now;
        track->next = (track->next + 1) % WINDOW_SAMPLES;
        if (track->count < WINDOW_SAMPLES)
            track->count++;
    }
}

static bool tracks_update(struct life *life, const struct life_options *options)
{
    const struct snapshot *snapshot = life->snapshot;
    if (!tracks_grow(life, snapshot))
        return false;
    for (size_t i = 0; i < snapshot->pipeline_count; i++) {
        track_stuck(&life->tracks[i], &snapshot->pipelines[i], snapshot->mono_ns);
        track_window(&life->tracks[i], &snapshot->pipelines[i], snapshot->mono_ns,
                     options->window_ns, &life->pipeline_views[i].window);
        life->pipeline_views[i].stuck_ns = life->tracks[i].stuck_ns;
    }
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool writer_is_dead(enum writer_state state)
{
    return state == WRITER_EXITED || state == WRITER_CRASHED;
}

/* A row of points; the first dead reading gives the last one, because nothing changes after it. */
static void rows_update(struct life *life, uint64_t unix_ns)
{
    life->measured = life->dead_unix_ns == 0 || life->dead_unix_ns == unix_ns;
    if (!life->measured)
        return;
    struct process_figures process = process_read(life->identity);
    series_table_recycle(life->table, row_queue_take_spare(&life->history.rows));
    struct point_row *row = series_table_row(life->table, life->identity, life->snapshot, &process,
                                             row_queue_newest(&life->history.rows));
    if (row != NULL)
        row_queue_push(&life->history.rows, row);
}

/* A region may claim any number: what is added to it later must not make it begin anew. */
static void raise_to(uint64_t *total, uint64_t value)
{
    value = value < INT64_MAX ? value : INT64_MAX;
    *total = value > *total ? value : *total;
}

static void losses_update(struct losses *lost, const struct losses *now)
{
    raise_to(&lost->spans, now->spans);
    raise_to(&lost->logs, now->logs);
    raise_to(&lost->logs_cut, now->logs_cut);
    raise_to(&lost->attributes_dropped, now->attributes_dropped);
    raise_to(&lost->values_dropped, now->values_dropped);
    raise_to(&lost->registrations_refused, now->registrations_refused);
}

void life_end_before(struct life *life, uint64_t unix_ns)
{
    row_queue_end_before(&life->history.rows, unix_ns);
}

bool life_sample(struct life *life, const struct life_options *options, uint64_t unix_ns,
                 uint64_t mono_ns)
{
    if (life->ended) { /* nothing can change any more; the last reading stays */
        life->fresh = life->measured = false;
        return true;
    }
    bool first = life->snapshot == NULL;
    const struct snapshot *snapshot = region_sample(life->region, unix_ns, mono_ns);
    life->snapshot = snapshot;
    losses_update(&life->lost, &snapshot->lost);
    if (first || snapshot->heartbeat_mark != life->heartbeat_mark) {
        life->heartbeat_mark = snapshot->heartbeat_mark;
        life->heartbeat_mono_ns = mono_ns;
    }
    policy_judge_writer(life->identity, snapshot, mono_ns - life->heartbeat_mono_ns,
                        &life->verdict);
    if (writer_is_dead(life->verdict.state) && life->dead_unix_ns == 0)
        life->dead_unix_ns = unix_ns;
    life->ended = life->drained_dry; /* this reading knows all that the last drain missed */
    if (life->ended)
        region_release(life->region);
    if (!tracks_update(life, options))
        return false;
    rows_update(life, unix_ns);
    life->view = (struct forwarder_view){
        .identity = life->identity,
        .snapshot = snapshot,
        .verdict = &life->verdict,
        .lost = life_losses(life),
        .pipelines = life->pipeline_views,
        .previous = life->previous != NULL ? &life->previous->view : NULL,
    };
    life->view.section_count = region_sections(life->region, &life->view.sections);
    life->fresh = true;
    return true;
}

static void life_keep(void *arg, const struct record *record)
{
    struct life *life = arg;
    if (record->time_unix_ns > life->last_record_unix_ns)
        life->last_record_unix_ns = record->time_unix_ns;
    (void)record_queue_push(
        record->kind == RECORD_SPAN ? &life->history.spans : &life->history.logs, record);
}

static bool queue_might_overflow(const struct record_queue *queue)
{
    return queue->waiting_bytes + SLICE_BYTES_MAX > queue->max_bytes;
}

size_t life_drain(struct life *life, bool hold_back)
{
    const struct history *history = &life->history;
    const size_t slice = hold_back ? SLICE_RECORDS : DRAIN_RECORDS_MAX;
    size_t count = 0, came = slice;
    unsigned fill;
    life->fill_permille = 0;
    while (!life->ended && came == slice && count < DRAIN_RECORDS_MAX) {
        if (hold_back &&
            (queue_might_overflow(&history->spans) || queue_might_overflow(&history->logs))) {
            life->fill_permille = 1000; /* nobody empties the rings meanwhile */
            return count;
        }
        came = region_drain(life->region, slice, life_keep, life, &fill);
        if (count == 0)
            life->fill_permille = fill;
        count += came;
    }
    /* Death was seen before this drain began, so nothing comes after an empty one. */
    if (count == 0 && writer_is_dead(life->verdict.state))
        life->drained_dry = true;
    return count;
}

bool life_is_pressed(const struct life *life)
{
    const struct record_queue *spans = &life->history.spans, *logs = &life->history.logs;
    return spans->waiting_bytes >= spans->max_bytes / 2 ||
           logs->waiting_bytes >= logs->max_bytes / 2;
}

static size_t tracks_bytes(const struct life *life)
{
    size_t bytes = life->track_count * (sizeof *life->tracks + sizeof *life->pipeline_views);
    for (size_t i = 0; i < life->track_count; i++) {
        const struct pipeline_track *track = &life->tracks[i];
        bytes += track->component_count * (sizeof *track->last_progress +
                                           sizeof *track->moved_mono_ns + sizeof *track->stuck_ns);
    }
    return bytes;
}

size_t life_bytes(const struct life *life)
{
    return sizeof *life + region_bytes(life->region) + series_table_bytes(life->table) +
           tracks_bytes(life) + history_bytes(&life->history);
}

struct losses life_losses(const struct life *life)
{
    struct losses losses = life->lost;
    losses.spans += life->history.spans.dropped;
    losses.logs += life->history.logs.dropped;
    return losses;
}
