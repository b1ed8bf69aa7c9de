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
    bool lane_used[FWS_LANES_MAX];          /* false: all its words are 0 yet */
    const fws_word *stripes[FWS_LANES_MAX]; /* of VALUES: the slots of each used lane, lane 0's
                                               first */
    size_t stripe_count;
    uint64_t *values;
    uint8_t *values_absent;
    const uint64_t **active;
    uint64_t retries;
    bool done; /* false after the guard: there was no room */
};

/* [guarded] What a reading costs grows with the lanes that a thread ever had, not with those that
 * there could be. A walk that looks for what is wrong reads them all. */
static void lanes_find(struct sampling *s)
{
    const struct section *lanes = &s->region->sections[FWS_SECTION_LANES];
    const struct section *values = &s->region->sections[FWS_SECTION_VALUES];
    const bool told = (s->region->view.prefix[FWS_H_COMPAT] & FWS_COMPAT_LANES_USED) != 0 &&
                      s->region->findings == NULL;

    for (size_t i = 0; i < FWS_LANES_MAX; i++)
        /* Relaxed: where it is not seen yet, what the lane's thread wrote after it need not be. It
         * is seen with whatever was published, such as the state, after it. */
        s->lane_used[i] = i == 0 || !told || i >= lanes->lanes ||
                          fws_peek(&section_entry(lanes, i, 0)[FWS_LANE_USED]) != 0;
    for (size_t i = 0; i < values->lanes; i++)
        if (s->lane_used[i])
            s->stripes[s->stripe_count++] = section_entry(values, i, 0);
}

/* ---- units ----------------------------------------------------------------------------------- */

struct unit {
    const fws_word *seq;
    uint64_t begun;
    int tries;
};

/* [guarded] Opens the unit for a copy by fws_observe(). False: its tries are used up. */
static inline bool unit_begin(struct sampling *s, struct unit *unit)
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
static inline bool unit_end(struct sampling *s, const struct unit *unit)
{
    if (fws_seq_read_end(unit->seq, unit->begun))
        return true;
    s->retries++;
    return false;
}

/* [guarded] Copies `count` words that are whole together. False: to be left out. */
static bool unit_copy(struct sampling *s, const fws_word *seq, const fws_word *words, size_t count,
                      uint64_t *out)
{
    struct unit unit = {.seq = seq};
    while (unit_begin(s, &unit)) {
        fws_observe_words(words, count, out);
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

enum { BLOCK = 8 };

/* [guarded] Sums BLOCK slots over the lanes, in registers. The loads are atomic, so no compiler
 * would make a wide one of them: they are written out. */
static void block_sum(const struct sampling *s, size_t slot, uint64_t out[BLOCK])
{
    uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    for (size_t i = 0; i < s->stripe_count; i++) {
        const fws_word *words = s->stripes[i] + slot;
        a += fws_peek(&words[0]);
        b += fws_peek(&words[1]);
        c += fws_peek(&words[2]);
        d += fws_peek(&words[3]);
        e += fws_peek(&words[4]);
        f += fws_peek(&words[5]);
        g += fws_peek(&words[6]);
        h += fws_peek(&words[7]);
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
    out[4] = e;
    out[5] = f;
    out[6] = g;
    out[7] = h;
}

/* [guarded] One slot, `at` words into each lane. */
static uint64_t slot_sum(const struct sampling *s, size_t at)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->stripe_count; i++)
        sum += fws_peek(&s->stripes[i][at]);
    return sum;
}

/* [guarded] Sums counters and up-down counters over the lanes; both wrap as the writer's do. */
static void runs_sum(struct sampling *s, const struct section *section)
{
    const struct catalogue *c = &s->region->catalogue;
    const size_t stride = section->stride;

    for (size_t i = 0; i < c->run_count; i++) {
        const struct run run = c->runs[i];
        uint64_t *values = s->values + run.value;
        size_t j = 0;
        for (; stride == 1 && run.count - j >= BLOCK; j += BLOCK)
            block_sum(s, run.slot + j, values + j);
        for (; j < run.count; j++)
            values[j] = slot_sum(s, (run.slot + j) * stride);
    }
}

/* [guarded] */
static void settings_read(struct sampling *s, const struct section *section)
{
    const struct catalogue *c = &s->region->catalogue;
    const size_t stride = section->stride;

    for (size_t i = 0; i < c->setting_run_count; i++) {
        const struct setting_run run = c->setting_runs[i];
        const fws_word *words = section_entry(section, 0, run.slot);
        uint64_t *values = s->values + run.value;
        uint8_t *absent = s->values_absent + run.instrument;
        for (size_t j = 0; j < run.count; j++, words += 2 * stride) {
            /* Acquire: a value was there before it was said to be.
             * PAIRS WITH fwdscope_gauge_set and fwdscope_total_set, which publish `present` last.
             */
            const bool present = fws_observe(&words[stride]) != 0;
            values[j] = present ? fws_peek(words) : 0;
            absent[j] = present ? VALUE_GOOD : VALUE_ABSENT;
        }
    }
}

static double word_double(uint64_t word)
{
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* [guarded] Adds one lane of a histogram to `before`: its sum, then its buckets. False: it is not
 * whole, and `after` is not to be used. Lane 0 is shared: its words are added to one by one, so
 * there is no whole to wait for. */
static bool distribution_add(struct sampling *s, const fws_word *seq, bool shared, size_t stride,
                             size_t count, const uint64_t *before, uint64_t *after)
{
    struct unit unit = {.seq = seq};

    while (shared || unit_begin(s, &unit)) {
        const fws_word *word = seq + stride;
        const double sum = word_double(before[0]) + word_double(fws_observe(word));
        memcpy(&after[0], &sum, sizeof sum);
        for (size_t i = 1; i < count; i++) {
            word += stride;
            after[i] = before[i] + fws_observe(word);
        }
        if (shared || unit_end(s, &unit))
            return true;
    }
    return false;
}

/* [guarded] */
static void distribution_read(struct sampling *s, const struct section *section,
                              const struct distribution *from)
{
    uint64_t sums[2][1 + FWS_BOUNDS_MAX + 1];
    uint64_t *sum = sums[0], *next = sums[1];
    const size_t count = 1 + from->buckets, bytes = count * sizeof *sum;

    memset(sum, 0, bytes);
    for (size_t i = 0; i < s->stripe_count; i++) {
        const fws_word *seq = s->stripes[i] + from->slot * section->stride;
        if (!distribution_add(s, seq, i == 0, section->stride, count, sum, next)) {
            unit_left_out(s, FWS_SECTION_VALUES, seq, false);
            s->values_absent[from->instrument] = VALUE_STALE;
            memset(s->values + from->value, 0, bytes);
            return;
        }
        uint64_t *const done = next;
        next = sum;
        sum = done;
    }
    memcpy(s->values + from->value, sum, bytes);
}

/* [guarded] */
static bool values_read(struct sampling *s)
{
    const struct section *section = &s->region->sections[FWS_SECTION_VALUES];
    const struct catalogue *c = &s->region->catalogue;

    s->values = arena_room(s->arena, c->value_count * sizeof *s->values); /* each is set below */
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
        if (!s->lane_used[lane])
            continue;
        if (lane == 0)
            words_copy(group + FWS_B_BATCHES, BATCH_FIELDS, copy);
        else if (!unit_copy(s, group + FWS_B_SEQ, group + FWS_B_BATCHES, BATCH_FIELDS, copy)) {
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
    for (size_t i = 0; i < COUNTS; i++)
        out->counts[i] = slot_sum(s, (entry->slot + i) * values->stride);
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

/* Words that hold the copies of spans; each is taken when the one before may lack room for a span.
 */
enum { COPIES_WORDS = 2048 };

/* What a reading keeps of a slot is its words up to the name, then of name, message and attributes
 * those in use, without gaps. */
static struct span_words active_words(const uint64_t *copy)
{
    const uint64_t meta = copy[FWS_A_META];
    struct span_words words = {.head = copy + FWS_A_TRACE_ID, .name = copy + FWS_A_NAME};
    words.message = words.name + fws_words_of(FWS_SPAN_NAME_BYTES(meta));
    words.attributes = words.message + fws_words_of(FWS_SPAN_MESSAGE_BYTES(meta));
    return words;
}

/* [guarded] Returns how many words it kept; 0: the slot is free. */
static size_t active_copy(const fws_word *slot, uint64_t copy[FWS_A_WORDS])
{
    if (fws_observe(&slot[FWS_A_STATE]) == 0)
        return 0;
    fws_observe_words(slot, FWS_A_NAME, copy);
    const uint64_t meta = copy[FWS_A_META];
    const size_t name = (size_t)fws_words_of(FWS_SPAN_NAME_BYTES(meta));
    const size_t message = (size_t)fws_words_of(FWS_SPAN_MESSAGE_BYTES(meta));
    if (copy[FWS_A_ATTR_WORDS] > FWS_ATTR_WORDS_MAX)
        copy[FWS_A_ATTR_WORDS] = FWS_ATTR_WORDS_MAX;
    const size_t attributes = (size_t)copy[FWS_A_ATTR_WORDS];
    uint64_t *to = copy + FWS_A_NAME;
    fws_observe_words(&slot[FWS_A_NAME], name, to);
    fws_observe_words(&slot[FWS_A_MESSAGE], message, to + name);
    fws_observe_words(&slot[FWS_A_ATTRS], attributes, to + name + message);
    return FWS_A_NAME + name + message + attributes;
}

/* Whether a block begins with that many attributes, and they are not too many. */
static bool attributes_sound(const uint64_t *block, size_t words, size_t count)
{
    if (count > FWS_ATTRS_MAX)
        return false;
    for (size_t taken; count > 0; count--, block += taken, words -= taken) {
        taken = words > 0 ? fws_attr_words(block[0], words - 1) : 0;
        if (taken == 0)
            return false;
    }
    return true;
}

/* Whether active_build() can make a span of it. */
static bool active_is_sound(const uint64_t *copy)
{
    return copy[FWS_A_START_UNIX_NS] != 0 &&
           attributes_sound(active_words(copy).attributes, (size_t)copy[FWS_A_ATTR_WORDS],
                            FWS_SPAN_ATTRS(copy[FWS_A_META]));
}

/*
 * [guarded] Returns how many words of `copy` hold an active span, 0: none. A slot that is whole but
 * malformed is left out and counted like one that is not.
 *
 * *sound is 1 + the sequence that the slot had when its words were last found sound. A writer's
 * sequence only grows, so the same sequence means the same words, until it wraps after 2^63 changes
 * of one slot. A region that breaks the rule lies about itself only: active_build() checks the
 * copy.
 */
static size_t active_read(struct sampling *s, const fws_word *slot, uint64_t *sound,
                          uint64_t copy[FWS_A_WORDS])
{
    struct unit unit = {.seq = &slot[FWS_A_SEQ]};
    size_t words = 0;
    bool whole = false;

    while (!whole && unit_begin(s, &unit)) {
        words = active_copy(slot, copy);
        whole = unit_end(s, &unit);
    }
    if (whole && (words == 0 || *sound == unit.begun + 1 || active_is_sound(copy))) {
        *sound = unit.begun + 1;
        return words;
    }
    unit_left_out(s, FWS_SECTION_ACTIVE_SPANS, slot, whole);
    s->to->active_spans_stale++;
    return 0;
}

/* [guarded] */
static bool active_spans_read(struct sampling *s)
{
    const struct section *section = &s->region->sections[FWS_SECTION_ACTIVE_SPANS];
    const uint64_t **spans = arena_room(s->arena, section->count * sizeof *spans);
    uint64_t *room = NULL;
    size_t left = 0;

    if (spans == NULL)
        return false;
    s->active = spans;
    for (size_t i = 0; i < section->count; i++) {
        if (left < FWS_A_WORDS) {
            left = COPIES_WORDS;
            room = arena_room(s->arena, COPIES_WORDS * sizeof *room);
            if (room == NULL)
                return false;
        }
        const size_t words =
            active_read(s, section_entry(section, 0, i), &s->region->sound[i], room);
        if (words == 0)
            continue;
        spans[s->to->active_span_count++] = room;
        room += words;
        left -= words;
    }
    return true;
}

/* A time of an active span: none, or from its start to the reading. */
static uint64_t active_time(uint64_t unix_ns, uint64_t from, uint64_t to)
{
    if (unix_ns == 0)
        return 0;
    return unix_ns < from ? from : unix_ns > to ? to : unix_ns;
}

/* Makes a span of what a reading at `now` kept. False: no room. */
static bool active_build(struct arena *arena, const uint64_t *copy, uint64_t now, struct span *out)
{
    _Static_assert(FWS_A_SPAN_ID - FWS_A_TRACE_ID == FWS_S_SPAN_ID &&
                       FWS_A_PARENT_ID - FWS_A_TRACE_ID == FWS_S_PARENT_ID &&
                       FWS_A_META - FWS_A_TRACE_ID == FWS_S_META &&
                       FWS_A_ATTR_WORDS - FWS_A_TRACE_ID == FWS_S_ATTR_WORDS &&
                       FWS_A_START_UNIX_NS - FWS_A_TRACE_ID == FWS_S_START_UNIX_NS,
                   "an active span begins as a finished one");
    const struct span_words words = active_words(copy);

    *out = (struct span){0};
    /* Without a start the words are those of a span that had the slot before. */
    const bool staged = copy[FWS_A_STAGE_START_UNIX_NS] != 0;
    out->stage = staged ? text_padded(arena, copy + FWS_A_STAGE, FWS_STAGE_BYTES_MAX) : "";
    if (out->stage == NULL || !span_build(arena, &words, out))
        return false;
    if (out->start_unix_ns > now)
        out->start_unix_ns = now;
    out->stage_start_unix_ns =
        active_time(copy[FWS_A_STAGE_START_UNIX_NS], out->start_unix_ns, now);
    out->output_start_unix_ns =
        active_time(copy[FWS_A_OUTPUT_START_UNIX_NS], out->start_unix_ns, now);
    return true;
}

static int span_order(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->start_unix_ns != y->start_unix_ns)
        return x->start_unix_ns < y->start_unix_ns ? -1 : 1;
    return memcmp(x->span_id, y->span_id, sizeof x->span_id);
}

const struct span *region_active_spans(struct region *region, size_t *count)
{
    const struct reading *reading = &region->readings[region->current];
    const struct snapshot *snapshot = &reading->snapshot;

    *count = region->span_count;
    if (region->spans != NULL)
        return region->spans;
    arena_reset(region->span_arena);
    struct span *spans =
        arena_array(region->span_arena, snapshot->active_span_count, sizeof *spans);
    size_t built = 0;
    for (size_t i = 0; i < snapshot->active_span_count && spans != NULL; i++)
        built += active_build(region->span_arena, reading->active[i], snapshot->time_unix_ns,
                              &spans[built]);
    if (spans != NULL)
        qsort(spans, built, sizeof *spans, span_order);
    region->spans = spans;
    region->span_count = built;
    *count = built;
    return spans;
}

/* ---- config document ------------------------------------------------------------------------- */

/* [guarded] False: the unit was not whole, or has no room. *seq is that of the copy. */
static bool config_copy_whole(struct sampling *s, const fws_word *words, uint64_t *copy,
                              uint64_t *seq)
{
    struct unit unit = {.seq = &words[FWS_CONFIG_SEQ]};
    while (unit_begin(s, &unit)) {
        fws_observe_words(&words[FWS_CONFIG_STATE], 3, &copy[FWS_CONFIG_STATE]);
        if (copy[FWS_CONFIG_PATH_BYTES] > FWS_CONFIG_PATH_BYTES_MAX)
            copy[FWS_CONFIG_PATH_BYTES] = FWS_CONFIG_PATH_BYTES_MAX;
        if (copy[FWS_CONFIG_TEXT_BYTES] > FWS_CONFIG_BYTES_MAX)
            copy[FWS_CONFIG_TEXT_BYTES] = FWS_CONFIG_BYTES_MAX;
        const size_t path = (size_t)fws_words_of(copy[FWS_CONFIG_PATH_BYTES]);
        const size_t text = (size_t)fws_words_of(copy[FWS_CONFIG_TEXT_BYTES]);
        fws_observe_words(&words[FWS_CONFIG_PATH], path, &copy[FWS_CONFIG_PATH]);
        fws_observe_words(&words[FWS_CONFIG_TEXT], text, &copy[FWS_CONFIG_TEXT]);
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
    lanes_find(s);
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
    next->active = s.active;
    region->spans = NULL; /* those of the reading before */
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
