/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reading of a region. Each unit (a histogram of a lane, a batch group of a lane, an active
 * span, the document) is copied whole or left out and counted; all other words are good alone.
 * Tries at a unit are bounded, and so are those of a whole reading: a writer that never lets a unit
 * rest costs no more than that.
 */
#include "snapshot_private.h"

#include "utf8.h"

#include "shmlayout/seqlock.h"

#include <stdlib.h>
#include <string.h>

/* Copies that one reading may throw away. Beyond it each unit still gets its first try. */
enum { READING_RETRIES = 8192 };

enum { VALUE_GOOD = 0, VALUE_ABSENT = 1, VALUE_STALE = 2 }; /* snapshot.values_absent */

struct sampling {
    struct region *region;
    struct arena *arena;
    struct snapshot *to;
    uint64_t *values;
    uint8_t *values_absent;
    struct span *active_spans;
    uint64_t retries;
    bool done; /* false after the guard: there was no room */
};

/* ---- units ----------------------------------------------------------------------------------- */

struct unit {
    const fws_word *seq;
    uint64_t begun;
    int tries;
};

/* [guarded] Opens the unit for a copy by fws_observe(). False: its tries are used up. */
static bool unit_begin(struct sampling *s, struct unit *unit)
{
    while (unit->tries < FWS_SEQ_TRIES && (unit->tries == 0 || s->retries < READING_RETRIES)) {
        unit->tries++;
        unit->begun = fws_seq_read_begin(unit->seq);
        if ((unit->begun & 1) == 0)
            return true;
        s->retries++;
    }
    return false;
}

/* [guarded] Whether what was copied since unit_begin() is whole. */
static bool unit_end(struct sampling *s, const struct unit *unit)
{
    if (fws_seq_read_end(unit->seq, unit->begun))
        return true;
    s->retries++;
    return false;
}

/* [guarded] Copies `count` words, `stride` apart, that are whole together. False: to be left out.
 */
static bool unit_copy(struct sampling *s, const fws_word *seq, const fws_word *words, size_t stride,
                      size_t count, uint64_t *out)
{
    struct unit unit = {.seq = seq};
    while (unit_begin(s, &unit)) {
        for (size_t i = 0; i < count; i++)
            out[i] = fws_observe(&words[i * stride]);
        if (unit_end(s, &unit))
            return true;
    }
    return false;
}

/* at: where the unit begins. malformed: it is whole, but cannot be what it should be. */
static void unit_left_out(struct sampling *s, enum fws_section kind, const fws_word *at,
                          bool malformed)
{
    s->to->stale++;
    s->region->torn++;
    finding_add(s->region, malformed, kind, at,
                malformed ? "malformed" : "not whole: its writer was at work on it");
}

/* ---- values ---------------------------------------------------------------------------------- */

/* [guarded] Sums counters and up-down counters over the lanes; both wrap as the writer's do. */
static void runs_sum(struct sampling *s, const struct section *section)
{
    const struct catalogue *c = &s->region->catalogue;
    const size_t stride = section->stride;

    for (size_t lane = 0; lane < section->lanes; lane++) {
        const fws_word *slots = section_entry(section, lane, 0);
        for (size_t i = 0; i < c->run_count; i++) {
            const struct run *run = &c->runs[i];
            const fws_word *words = slots + run->slot * stride;
            uint64_t *values = s->values + run->value;
            for (size_t j = 0; j < run->count; j++)
                values[j] += fws_peek(&words[j * stride]);
        }
    }
}

/* [guarded] */
static void settings_read(struct sampling *s, const struct section *section)
{
    const struct catalogue *c = &s->region->catalogue;
    for (size_t i = 0; i < c->setting_count; i++) {
        const struct setting *setting = &c->settings[i];
        /* Acquire: a value was there before it was said to be.
         * PAIRS WITH fwdscope_gauge_set and fwdscope_total_set, which publish `present` last. */
        if (fws_observe(section_entry(section, 0, setting->slot + 1)) != 0)
            s->values[setting->value] = fws_peek(section_entry(section, 0, setting->slot));
        else
            s->values_absent[setting->instrument] = VALUE_ABSENT;
    }
}

static double word_double(uint64_t word)
{
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* [guarded] One lane of a histogram: its sum, then its buckets. Lane 0 is shared: its words are
 * added to one by one, so there is no whole to wait for. */
static bool distribution_lane(struct sampling *s, const struct section *section, size_t lane,
                              const struct distribution *from, uint64_t *out)
{
    const fws_word *seq = section_entry(section, lane, from->slot);
    const fws_word *words = seq + section->stride;
    if (lane != 0)
        return unit_copy(s, seq, words, section->stride, 1 + from->buckets, out);
    for (size_t i = 0; i < 1 + from->buckets; i++)
        out[i] = fws_peek(&words[i * section->stride]);
    return true;
}

/* [guarded] */
static void distribution_read(struct sampling *s, const struct section *section,
                              const struct distribution *from)
{
    uint64_t copy[1 + FWS_BOUNDS_MAX + 1];
    uint64_t *values = s->values + from->value;
    double sum = 0;
    bool whole = true;

    for (size_t lane = 0; lane < section->lanes; lane++) {
        if (!distribution_lane(s, section, lane, from, copy)) {
            unit_left_out(s, FWS_SECTION_VALUES, section_entry(section, lane, from->slot), false);
            whole = false;
            break;
        }
        sum += word_double(copy[0]);
        for (size_t i = 1; i <= from->buckets; i++)
            values[i] += copy[i];
    }
    if (!whole) {
        memset(values, 0, (1 + from->buckets) * sizeof *values);
        s->values_absent[from->instrument] = VALUE_STALE;
        return;
    }
    memcpy(&values[0], &sum, sizeof sum);
}

/* [guarded] */
static bool values_read(struct sampling *s)
{
    const struct section *section = &s->region->sections[FWS_SECTION_VALUES];
    const struct catalogue *c = &s->region->catalogue;

    s->values = arena_array(s->arena, c->value_count, sizeof *s->values);
    s->values_absent = arena_alloc(s->arena, c->instrument_count);
    if (s->values == NULL || s->values_absent == NULL)
        return false;
    runs_sum(s, section);
    settings_read(s, section);
    for (size_t i = 0; i < c->distribution_count; i++)
        distribution_read(s, section, &c->distributions[i]);
    s->to->instruments = c->instruments;
    s->to->instrument_count = c->instrument_count;
    s->to->values = s->values;
    s->to->values_absent = s->values_absent;
    return true;
}

/* ---- pipelines and components ---------------------------------------------------------------- */

/* [guarded] The sum of a pipeline's groups over the lanes; lane 0 as in distribution_lane().
 * False: a group was not whole, out is not to be used. */
static bool batches_sum(struct sampling *s, const struct section *section, size_t index,
                        uint64_t out[BATCH_FIELDS])
{
    uint64_t copy[BATCH_FIELDS];

    memset(out, 0, BATCH_FIELDS * sizeof *out);
    for (size_t lane = 0; lane < section->lanes; lane++) {
        const fws_word *group = section_entry(section, lane, index);
        if (lane == 0)
            words_copy(group + FWS_B_BATCHES, BATCH_FIELDS, copy);
        else if (!unit_copy(s, group + FWS_B_SEQ, group + FWS_B_BATCHES, 1, BATCH_FIELDS, copy)) {
            unit_left_out(s, FWS_SECTION_BATCHES, group, false);
            return false;
        }
        for (size_t i = 0; i < BATCH_FIELDS; i++)
            out[i] += copy[i];
    }
    if (out[BATCH_INFLIGHT] > INT64_MAX) /* ends were seen before their begins, in other lanes */
        out[BATCH_INFLIGHT] = 0;
    return true;
}

/* [guarded] */
static void pipeline_read(struct sampling *s, struct pipeline_entry *entry, struct pipeline *out)
{
    const struct section *batches = &s->region->sections[FWS_SECTION_BATCHES];
    const struct section *section = &s->region->sections[FWS_SECTION_PIPELINES];
    uint64_t fields[BATCH_FIELDS];

    *out = (struct pipeline){.name = entry->name, .absent = entry->absent};
    out->last_batch_unix_ns =
        time_clamp(fws_peek(section_entry(section, 0, entry->index) + FWS_P_LAST_BATCH_UNIX_NS));
    if (entry->index < batches->count) {
        if (batches_sum(s, batches, entry->index, fields)) {
            memcpy(entry->batches, fields, sizeof fields);
        } else {
            out->batches_stale = true;
        }
    }
    memcpy(out->batches, entry->batches, sizeof out->batches);
}

/* [guarded] */
static void component_read(struct sampling *s, const struct component_entry *entry,
                           struct component *out)
{
    const struct section *values = &s->region->sections[FWS_SECTION_VALUES];
    const fws_word *words =
        section_entry(&s->region->sections[FWS_SECTION_COMPONENTS], 0, entry->index);
    const uint64_t health = fws_peek(&words[FWS_C_HEALTH]);

    *out = (struct component){
        .kind = entry->kind,
        .name = entry->name,
        .type = entry->type,
        .absent = entry->absent,
        .health = health < FWS_FAILED ? (unsigned)health : FWS_FAILED,
        /* Acquire: a depth was there before. PAIRS WITH fwdscope_component_queue. */
        .has_queue = fws_observe(&words[FWS_C_QUEUE]) == 1,
        .last_success_unix_ns = time_clamp(fws_peek(&words[FWS_C_LAST_SUCCESS_UNIX_NS])),
    };
    if (out->has_queue) {
        out->queue_depth = fws_peek(&words[FWS_C_QUEUE_DEPTH]);
        out->queue_capacity = fws_peek(&words[FWS_C_QUEUE_CAPACITY]);
    }
    for (size_t lane = 0; lane < values->lanes; lane++)
        for (size_t i = 0; i < COUNTS; i++)
            out->counts[i] += fws_peek(section_entry(values, lane, entry->slot + i));
}

/* [guarded] Components stand in one array, those of a pipeline together and in their order. */
static bool pipelines_read(struct sampling *s)
{
    struct catalogue *c = &s->region->catalogue;
    struct pipeline *pipelines = arena_array(s->arena, c->pipeline_count, sizeof *pipelines);
    struct component *all = arena_array(s->arena, c->component_count, sizeof *all);
    size_t first = 0;

    if (pipelines == NULL || all == NULL)
        return false;
    for (size_t i = 0; i < c->pipeline_count; i++)
        pipeline_read(s, &c->pipelines[i], &pipelines[i]);
    for (size_t i = 0; i < c->component_count; i++)
        pipelines[c->components[i].pipeline].component_count++;
    for (size_t i = 0; i < c->pipeline_count; i++) {
        pipelines[i].components = all + first;
        first += pipelines[i].component_count;
        pipelines[i].component_count = 0;
    }
    for (size_t i = 0; i < c->component_count; i++) {
        struct pipeline *pipeline = &pipelines[c->components[i].pipeline];
        const size_t place = (size_t)(pipeline->components - all) + pipeline->component_count++;
        component_read(s, &c->components[i], &all[place]);
    }
    s->to->pipelines = pipelines;
    s->to->pipeline_count = c->pipeline_count;
    return true;
}

/* ---- active spans ---------------------------------------------------------------------------- */

/* Of words [0, FWS_A_NAME) the copy holds all, of the rest what the sizes among them say. */
static void active_copy(const fws_word *slot, uint64_t copy[FWS_A_WORDS])
{
    for (size_t i = FWS_A_STATE; i < FWS_A_NAME; i++)
        copy[i] = fws_observe(&slot[i]);
    if (copy[FWS_A_STATE] == 0)
        return;
    const uint64_t meta = copy[FWS_A_META];
    const size_t name = (size_t)fws_words_of(FWS_SPAN_NAME_BYTES(meta));
    const size_t message = (size_t)fws_words_of(FWS_SPAN_MESSAGE_BYTES(meta));
    if (copy[FWS_A_ATTR_WORDS] > FWS_ATTR_WORDS_MAX)
        copy[FWS_A_ATTR_WORDS] = FWS_ATTR_WORDS_MAX;
    for (size_t i = FWS_A_NAME; i < FWS_A_NAME + name; i++)
        copy[i] = fws_observe(&slot[i]);
    for (size_t i = FWS_A_MESSAGE; i < FWS_A_MESSAGE + message; i++)
        copy[i] = fws_observe(&slot[i]);
    for (size_t i = FWS_A_ATTRS; i < FWS_A_ATTRS + (size_t)copy[FWS_A_ATTR_WORDS]; i++)
        copy[i] = fws_observe(&slot[i]);
}

/* A time of an active span: none, or from its start to the reading. */
static uint64_t active_time(uint64_t unix_ns, uint64_t from, uint64_t to)
{
    if (unix_ns == 0)
        return 0;
    return unix_ns < from ? from : unix_ns > to ? to : unix_ns;
}

static bool active_build(struct sampling *s, const uint64_t copy[FWS_A_WORDS], struct span *out)
{
    _Static_assert(FWS_A_SPAN_ID - FWS_A_TRACE_ID == FWS_S_SPAN_ID &&
                       FWS_A_PARENT_ID - FWS_A_TRACE_ID == FWS_S_PARENT_ID &&
                       FWS_A_META - FWS_A_TRACE_ID == FWS_S_META &&
                       FWS_A_ATTR_WORDS - FWS_A_TRACE_ID == FWS_S_ATTR_WORDS &&
                       FWS_A_START_UNIX_NS - FWS_A_TRACE_ID == FWS_S_START_UNIX_NS,
                   "an active span begins as a finished one");
    const struct span_words words = {
        .head = copy + FWS_A_TRACE_ID,
        .name = copy + FWS_A_NAME,
        .message = copy + FWS_A_MESSAGE,
        .attributes = copy + FWS_A_ATTRS,
    };
    const uint64_t now = s->to->time_unix_ns;

    *out = (struct span){0};
    /* Without a start the words are those of a span that had the slot before. */
    const bool staged = copy[FWS_A_STAGE_START_UNIX_NS] != 0;
    out->stage = staged ? text_padded(s->arena, copy + FWS_A_STAGE, FWS_STAGE_BYTES_MAX) : "";
    if (out->stage == NULL || !span_build(s->arena, &words, out))
        return false;
    if (out->start_unix_ns > now)
        out->start_unix_ns = now;
    out->stage_start_unix_ns =
        active_time(copy[FWS_A_STAGE_START_UNIX_NS], out->start_unix_ns, now);
    out->output_start_unix_ns =
        active_time(copy[FWS_A_OUTPUT_START_UNIX_NS], out->start_unix_ns, now);
    return true;
}

/* [guarded] A slot that is whole but malformed is left out and counted like one that is not. */
static bool active_read(struct sampling *s, const fws_word *slot, struct span *out, bool *free_slot)
{
    uint64_t copy[FWS_A_WORDS];
    struct unit unit = {.seq = &slot[FWS_A_SEQ]};

    *free_slot = false;
    while (unit_begin(s, &unit)) {
        active_copy(slot, copy);
        if (!unit_end(s, &unit))
            continue;
        *free_slot = copy[FWS_A_STATE] == 0;
        if (*free_slot || active_build(s, copy, out))
            return !*free_slot;
        unit_left_out(s, FWS_SECTION_ACTIVE_SPANS, slot, true);
        return false;
    }
    unit_left_out(s, FWS_SECTION_ACTIVE_SPANS, slot, false);
    return false;
}

/* [guarded] */
static bool active_spans_read(struct sampling *s)
{
    const struct section *section = &s->region->sections[FWS_SECTION_ACTIVE_SPANS];
    size_t count = 0;

    s->active_spans = arena_array(s->arena, section->count, sizeof *s->active_spans);
    if (s->active_spans == NULL)
        return false;
    for (size_t i = 0; i < section->count; i++) {
        bool free_slot;
        if (active_read(s, section_entry(section, 0, i), &s->active_spans[count], &free_slot)) {
            count++;
        } else if (!free_slot) {
            s->to->active_spans_stale++;
        }
    }
    s->to->active_spans = s->active_spans;
    s->to->active_span_count = count;
    return true;
}

static int span_order(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->start_unix_ns != y->start_unix_ns)
        return x->start_unix_ns < y->start_unix_ns ? -1 : 1;
    return memcmp(x->span_id, y->span_id, sizeof x->span_id);
}

/* ---- config document ------------------------------------------------------------------------- */

/* [guarded] False: the unit was not whole, or has no room. *seq is that of the copy. */
static bool config_copy_whole(struct sampling *s, const fws_word *words, uint64_t *copy,
                              uint64_t *seq)
{
    struct unit unit = {.seq = &words[FWS_CONFIG_SEQ]};
    while (unit_begin(s, &unit)) {
        for (size_t i = FWS_CONFIG_STATE; i <= FWS_CONFIG_TEXT_BYTES; i++)
            copy[i] = fws_observe(&words[i]);
        if (copy[FWS_CONFIG_PATH_BYTES] > FWS_CONFIG_PATH_BYTES_MAX)
            copy[FWS_CONFIG_PATH_BYTES] = FWS_CONFIG_PATH_BYTES_MAX;
        if (copy[FWS_CONFIG_TEXT_BYTES] > FWS_CONFIG_BYTES_MAX)
            copy[FWS_CONFIG_TEXT_BYTES] = FWS_CONFIG_BYTES_MAX;
        const size_t path = (size_t)fws_words_of(copy[FWS_CONFIG_PATH_BYTES]);
        const size_t text = (size_t)fws_words_of(copy[FWS_CONFIG_TEXT_BYTES]);
        for (size_t i = FWS_CONFIG_PATH; i < FWS_CONFIG_PATH + path; i++)
            copy[i] = fws_observe(&words[i]);
        for (size_t i = FWS_CONFIG_TEXT; i < FWS_CONFIG_TEXT + text; i++)
            copy[i] = fws_observe(&words[i]);
        *seq = unit.begun;
        if (unit_end(s, &unit))
            return true;
    }
    return false;
}

static bool config_build(struct config_copy *to, const uint64_t *copy)
{
    const uint64_t state = copy[FWS_CONFIG_STATE];

    to->state = state == FWS_CONFIG_PUBLISHED ? CONFIG_PUBLISHED
                : state == FWS_CONFIG_REFUSED ? CONFIG_REFUSED
                                              : CONFIG_NONE;
    to->path = utf8_repair(to->arena, (const char *)(copy + FWS_CONFIG_PATH),
                           (size_t)copy[FWS_CONFIG_PATH_BYTES], NULL);
    to->text = utf8_repair(to->arena, (const char *)(copy + FWS_CONFIG_TEXT),
                           (size_t)copy[FWS_CONFIG_TEXT_BYTES], &to->bytes);
    return to->path != NULL && to->text != NULL;
}

/* [guarded] Takes a new copy when the document changed; else the last whole one stays. */
static void config_read(struct sampling *s)
{
    struct region *region = s->region;
    const fws_word *words = region->sections[FWS_SECTION_CONFIG].words;
    struct config_copy *to = &region->configs[1 - region->config_current];
    uint64_t seq;

    /* Relaxed: the words behind it are not read when it is still the same. */
    if (words == NULL ||
        (region->config_read && fws_peek(&words[FWS_CONFIG_SEQ]) == region->config_seq))
        return;
    arena_reset(to->arena);
    uint64_t *copy = arena_array(to->arena, FWS_CONFIG_WORDS, sizeof *copy);
    if (copy == NULL || !config_copy_whole(s, words, copy, &seq) || !config_build(to, copy)) {
        unit_left_out(s, FWS_SECTION_CONFIG, words, false);
        return;
    }
    region->config_current = 1 - region->config_current;
    region->config_seq = seq;
    region->config_read = true;
}

/* ---- header and lanes ------------------------------------------------------------------------ */

enum published_state published_state_of(uint64_t state)
{
    switch (state) {
    case FWS_STATE_RUNNING:
        return STATE_RUNNING;
    case FWS_STATE_CLOSED:
        return STATE_CLOSED;
    case FWS_STATE_CLOSED_CRASHED:
        return STATE_CLOSED_CRASHED;
    default:
        return STATE_OTHER;
    }
}

unsigned signal_of(uint64_t signal)
{
    return signal <= 64 ? (unsigned)signal : 0; /* Linux has no others */
}

enum writer_lock writer_lock_of(enum fws_lock_state state)
{
    switch (state) {
    case FWS_LOCK_HELD:
        return LOCK_HELD;
    case FWS_LOCK_FREE:
        return LOCK_FREE;
    case FWS_LOCK_UNKNOWN:
        break;
    }
    return LOCK_UNKNOWN;
}

/* [guarded] */
static bool state_read(struct sampling *s)
{
    const fws_word *header = s->region->view.words;
    uint64_t reason[FWS_STRING_WORDS];

    /* Acquire: the reason was written before. PAIRS WITH fwdscope_close. */
    s->to->state = published_state_of(fws_observe(&header[FWS_H_STATE]));
    s->to->signal = signal_of(fws_peek(&header[FWS_H_SIGNAL]));
    /* Acquire: the address was there before. PAIRS WITH fwdscope_signal_mark. */
    s->to->signal_thread = s->to->signal != 0 ? fws_observe(&header[FWS_H_SIGNAL_THREAD]) : 0;
    s->to->signal_address = fws_peek(&header[FWS_H_SIGNAL_ADDRESS]);
    s->to->close_reason = "";
    if (s->to->state == STATE_RUNNING)
        return true;
    words_copy(&header[FWS_H_CLOSE_REASON], FWS_STRING_WORDS, reason);
    s->to->close_reason = text_padded(s->arena, reason, FWS_NAME_BYTES_MAX);
    return s->to->close_reason != NULL;
}

/* [guarded] Heartbeats and losses. The mark mixes the lanes in their order, each step reversible:
 * one word that changes always changes it. */
static void lanes_read(struct sampling *s)
{
    const struct section *section = &s->region->sections[FWS_SECTION_LANES];
    const fws_word *header = s->region->view.words;
    struct losses *lost = &s->to->lost;
    uint64_t mark = UINT64_C(0xcbf29ce484222325);

    lost->spans = fws_peek(&header[FWS_H_SPANS_REFUSED]);
    lost->registrations_refused = fws_peek(&header[FWS_H_REFUSED]);
    for (size_t i = 0; i < section->lanes; i++) {
        const fws_word *lane = section_entry(section, i, 0);
        mark = (mark ^ fws_peek(&lane[FWS_LANE_HEARTBEAT])) * UINT64_C(0x9e3779b97f4a7c15);
        mark ^= mark >> 32;
        lost->spans += fws_peek(&lane[FWS_LANE_SPANS_DROPPED]);
        lost->logs += fws_peek(&lane[FWS_LANE_LOGS_DROPPED]);
        lost->logs_cut += fws_peek(&lane[FWS_LANE_LOGS_CUT]);
        lost->attributes_dropped += fws_peek(&lane[FWS_LANE_ATTRS_DROPPED]);
        lost->values_dropped += fws_peek(&lane[FWS_LANE_VALUES_DROPPED]);
    }
    s->to->heartbeat_mark = mark;
    for (size_t i = 0; i < s->region->ring_count; i++) {
        const struct ring *ring = &s->region->rings[i];
        *(ring->kind == RECORD_SPAN ? &lost->spans : &lost->logs) +=
            ring->reader.lost + ring->misplaced;
    }
}

/* ---- the reading ----------------------------------------------------------------------------- */

/* [guarded] The state comes first: a reading of a closed region then holds all that was written.
 * The document comes last, so that a reading without room leaves the current one alone. */
static void reading_take(void *arg)
{
    struct sampling *s = arg;

    if (!state_read(s))
        return;
    catalogue_read(s->region);
    if (!values_read(s) || !pipelines_read(s) || !active_spans_read(s))
        return;
    lanes_read(s);
    config_read(s);
    s->done = true;
}

/* The last whole reading, whose values keep their time; who is alive is known all the same. */
static const struct snapshot *reading_keep(struct region *region, enum writer_lock lock)
{
    struct snapshot *last = &region->readings[region->current].snapshot;
    last->lock = lock;
    last->truncated = region->truncated;
    return last;
}

const struct snapshot *region_sample(struct region *region, uint64_t time_unix_ns, uint64_t mono_ns)
{
    struct reading *next = &region->readings[1 - region->current];
    const uint64_t last_unix_ns = region->readings[region->current].snapshot.time_unix_ns;
    /* Before the state: a free lock then means that the state is the last one. The other way round,
     * a writer that closes in between would look as if it had crashed. */
    const enum writer_lock lock = writer_lock_of(fws_lock_ask(region->view.fd));

    if (region->truncated)
        return reading_keep(region, lock);
    arena_reset(next->arena);
    next->snapshot = (struct snapshot){
        .time_unix_ns = time_unix_ns > last_unix_ns ? time_unix_ns : last_unix_ns,
        .mono_ns = mono_ns,
        .lock = lock,
    };
    struct sampling s = {.region = region, .arena = next->arena, .to = &next->snapshot};
    region->truncated = !fws_view_guard(&region->view, reading_take, &s);
    region->retries += s.retries;
    if (region->truncated || !s.done)
        return reading_keep(region, lock);
    qsort(s.active_spans, next->snapshot.active_span_count, sizeof *s.active_spans, span_order);
    next->snapshot.retries = region->retries;
    next->snapshot.torn = region->torn;
    region->current = 1 - region->current;
    return &next->snapshot;
}

enum config_state region_config(struct region *region, const char **path, const char **text,
                                size_t *bytes)
{
    const struct config_copy *copy = &region->configs[region->config_current];
    *path = copy->path;
    *text = copy->text;
    *bytes = copy->bytes;
    return copy->state;
}
