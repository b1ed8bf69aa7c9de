/* SPDX-License-Identifier: Apache-2.0 */
/* Compares a reading with the world before and the world after the call in progress. */
#include "oracle.h"

#include "shmlayout/layout.h"
#include "shmlayout/seqlock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A generous bound on the CPU time of one reading of this small region, sanitizers included. */
#define READING_CPU_NS_MAX UINT64_C(500000000)

/* One judgement. */
struct judging {
    struct oracle *oracle;
    struct subject *subject;
    const struct world *before, *after;
    bool shared;
    const struct snapshot *seen;
    uint64_t left_out; /* units that the reading left out */
    bool broken;       /* set by the sink, which cannot return it */
};

__attribute__((format(printf, 2, 3))) static bool broken(struct oracle *oracle, const char *format,
                                                         ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(oracle->why, sizeof oracle->why, format, arguments);
    va_end(arguments);
    return false;
}

void oracle_init(struct oracle *oracle)
{
    *oracle = (struct oracle){.arena = arena_new((size_t)64 << 20)};
    if (oracle->arena == NULL)
        abort();
}

void oracle_forget(struct oracle *oracle)
{
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < WORLD_LOGS_MAX; i++) {
            free(oracle->known[kind][i].words);
            oracle->known[kind][i] = (struct known_record){0};
        }
    memset(oracle->ids, 0, sizeof oracle->ids);
}

void oracle_free(struct oracle *oracle)
{
    oracle_forget(oracle);
    arena_free(&oracle->arena);
}

/* ---- units ----------------------------------------------------------------------------------- */

/* Counts a unit that is as in one of the worlds. */
static bool unit_is(struct judging *j, bool is_old, bool is_new, const char *what)
{
    if (!is_old && !is_new)
        return broken(j->oracle, "%s is neither as before nor as after", what);
    if (is_new)
        j->oracle->units_new++;
    else
        j->oracle->units_old++;
    return true;
}

/* A unit may be left out only by the call that changes it. */
static bool unit_left_out(struct judging *j, bool changes, const char *what)
{
    if (!changes || j->shared)
        return broken(j->oracle, "%s is left out but no call is changing it", what);
    j->left_out++;
    j->oracle->units_left_out++;
    return true;
}

static bool word_is(struct judging *j, uint64_t seen, uint64_t old, uint64_t new, const char *what)
{
    if (!unit_is(j, seen == old, seen == new, what))
        return broken(j->oracle, "%s is %llu, before %llu, after %llu", what,
                      (unsigned long long)seen, (unsigned long long)old, (unsigned long long)new);
    return true;
}

/* Words that are good only together; in the shared lane each alone. */
static bool group_is(struct judging *j, const uint64_t *seen, const uint64_t *old,
                     const uint64_t *new, size_t count, const char *what)
{
    if (!j->shared)
        return unit_is(j, memcmp(seen, old, count * sizeof *seen) == 0,
                       memcmp(seen, new, count * sizeof *seen) == 0, what);
    for (size_t i = 0; i < count; i++)
        if (!word_is(j, seen[i], old[i], new[i], what))
            return false;
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static bool attribute_same(const struct attribute *seen, const struct fwdscope_attribute *expected)
{
    if (strcmp(seen->key, expected->key) != 0 || (int)seen->type != (int)expected->type)
        return false;
    switch (expected->type) {
    case FWDSCOPE_STRING:
        return strcmp(seen->string, expected->value.string) == 0;
    case FWDSCOPE_INT:
        return seen->integer == expected->value.integer;
    case FWDSCOPE_DOUBLE:
        return memcmp(&seen->real, &expected->value.real, sizeof seen->real) == 0;
    case FWDSCOPE_BOOL:
        break;
    }
    return seen->boolean == expected->value.boolean;
}

static bool attributes_same(const struct attribute *seen, size_t count,
                            const struct fwdscope_attribute *expected, size_t expected_count)
{
    if (count != expected_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!attribute_same(&seen[i], &expected[i]))
            return false;
    return true;
}

/* ---- identity -------------------------------------------------------------------------------- */

static bool identity_judge(struct judging *j)
{
    const struct identity *identity = region_identity(j->subject->region);
    size_t count;
    const struct attribute *resource = region_resource(j->subject->region, &count);
    if (strcmp(identity->service_name, SCENARIO_SERVICE) != 0 ||
        strcmp(identity->service_version, "1.2.3") != 0 ||
        strcmp(identity->instance, "every-store") != 0 ||
        identity->heartbeat_interval_ns != 1000000000 ||
        strcmp(region_metric_prefix(j->subject->region), "crash") != 0)
        return broken(j->oracle, "the identity is not that of the options");
    const struct fwdscope_attribute expected[] = {
        fwdscope_string("service.instance.id", "the-same"), fwdscope_string("host.name", "here"),
        fwdscope_string("process.executable.name", program_invocation_short_name)};
    if (!attributes_same(resource, count, expected, 3))
        return broken(j->oracle, "the resource is not that of the options");
    const struct section_report *sections;
    for (size_t i = region_sections(j->subject->region, &sections); i > 0; i--)
        if (sections[i - 1].refused != NULL)
            return broken(j->oracle, "section %s is refused: %s", sections[i - 1].name,
                          sections[i - 1].refused);
    return true;
}

/* ---- instruments ----------------------------------------------------------------------------- */

static const char *text_of(const char *text)
{
    return text != NULL ? text : "";
}

static bool description_same(const struct instrument *seen, const struct world_instrument *expected)
{
    return seen->kind == expected->kind && seen->is_double == expected->is_double &&
           strcmp(seen->name, expected->what.name) == 0 &&
           strcmp(seen->unit, text_of(expected->what.unit)) == 0 &&
           strcmp(seen->description, text_of(expected->what.description)) == 0 &&
           attributes_same(seen->attributes, seen->attribute_count, expected->what.attributes,
                           expected->what.attribute_count) &&
           seen->bound_count == expected->bound_count &&
           (seen->bound_count == 0 ||
            memcmp(seen->bounds, expected->bounds, seen->bound_count * sizeof *seen->bounds) == 0);
}

static bool value_judge(struct judging *j, size_t i, const struct world_instrument *old,
                        const struct world_instrument *new)
{
    const struct instrument *instrument = &j->seen->instruments[i];
    const uint64_t *words = j->seen->values + instrument->value_index;
    const uint8_t absent = j->seen->values_absent[i];

    if (absent == 2)
        return unit_left_out(j, memcmp(old->words, new->words, sizeof old->words) != 0,
                             old->what.name);
    if (instrument->value_count > WORLD_VALUES_MAX)
        return broken(j->oracle, "%s has too many values", old->what.name);
    if (instrument->kind != INSTRUMENT_TOTAL && instrument->kind != INSTRUMENT_GAUGE)
        return group_is(j, words, old->words, new->words, instrument->value_count, old->what.name);
    return unit_is(j, absent == old->absent && (absent || words[0] == old->words[0]),
                   absent == new->absent && (absent || words[0] == new->words[0]), old->what.name);
}

static bool instruments_judge(struct judging *j)
{
    const struct world *before = j->before, *after = j->after;
    if (!word_is(j, j->seen->instrument_count, before->instrument_count, after->instrument_count,
                 "the number of instruments"))
        return false;
    for (size_t i = 0; i < j->seen->instrument_count; i++) {
        const struct world_instrument *new = &after->instruments[i];
        const struct world_instrument *old =
            i < before->instrument_count ? &before->instruments[i] : new;
        if (!description_same(&j->seen->instruments[i], new))
            return broken(j->oracle, "instrument %zu is not described as registered", i);
        if (!value_judge(j, i, old, new))
            return false;
    }
    return true;
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static bool batches_judge(struct judging *j, const struct pipeline *seen,
                          const struct world_pipeline *old, const struct world_pipeline *new)
{
    static const uint64_t none[BATCH_FIELDS];
    if (!seen->batches_stale)
        return group_is(j, seen->batches, old->batches, new->batches, BATCH_FIELDS,
                        "a batch group");
    const uint64_t *last = j->subject->continued ? old->batches : none;
    if (memcmp(seen->batches, last, sizeof old->batches) != 0)
        return broken(j->oracle, "a stale batch group does not hold the last whole reading");
    return unit_left_out(j, memcmp(old->batches, new->batches, sizeof old->batches) != 0,
                         "a batch group");
}

/* Depth and capacity are words of their own; that they are known is said after they are there. */
static bool queue_judge(struct judging *j, const struct component *seen,
                        const struct world_component *old, const struct world_component *new)
{
    if (!word_is(j, seen->has_queue, old->has_queue, new->has_queue, "queue known"))
        return false;
    if (!seen->has_queue)
        return true;
    if (!old->has_queue)
        old = new;
    return word_is(j, seen->queue_depth, old->queue_depth, new->queue_depth, "depth") &&
           word_is(j, seen->queue_capacity, old->queue_capacity, new->queue_capacity, "capacity");
}

static bool component_judge(struct judging *j, const struct component *seen,
                            const struct world_component *old, const struct world_component *new)
{
    if (seen->kind != new->kind || strcmp(seen->name, new->name) != 0 ||
        strcmp(seen->type, new->type) != 0 || seen->absent != new->absent)
        return broken(j->oracle, "component %s is not as registered", new->name);
    for (size_t i = 0; i < COUNTS; i++)
        if (!word_is(j, seen->counts[i], old->counts[i], new->counts[i], "a count"))
            return false;
    return word_is(j, seen->health, old->health, new->health, "health") &&
           queue_judge(j, seen, old, new) &&
           word_is(j, seen->last_success_unix_ns, old->last_success_unix_ns,
                   new->last_success_unix_ns, "last success");
}

/* All components of the scenario are of its first pipeline, so their order is one. */
static bool pipelines_judge(struct judging *j)
{
    const struct world *before = j->before, *after = j->after;
    size_t components = 0;
    if (!word_is(j, j->seen->pipeline_count, before->pipeline_count, after->pipeline_count,
                 "the number of pipelines"))
        return false;
    for (size_t i = 0; i < j->seen->pipeline_count; i++) {
        const struct pipeline *seen = &j->seen->pipelines[i];
        const struct world_pipeline *new = &after->pipelines[i];
        const struct world_pipeline *old = i < before->pipeline_count ? &before->pipelines[i] : new;
        if (strcmp(seen->name, new->name) != 0 || seen->absent != new->absent)
            return broken(j->oracle, "pipeline %zu is not as registered", i);
        if (!batches_judge(j, seen, old, new) ||
            !word_is(j, seen->last_batch_unix_ns, old->last_batch_unix_ns, new->last_batch_unix_ns,
                     "last batch"))
            return false;
        for (size_t c = 0; c < seen->component_count; c++, components++) {
            const struct world_component *later = &after->components[components];
            if (components >= after->component_count || later->pipeline != i)
                return broken(j->oracle, "a component that is not registered");
            const struct world_component *earlier =
                components < before->component_count ? &before->components[components] : later;
            if (!component_judge(j, &seen->components[c], earlier, later))
                return false;
        }
    }
    return word_is(j, components, before->component_count, after->component_count,
                   "the number of components");
}

/* ---- spans ----------------------------------------------------------------------------------- */

/* Ids are what they were when first seen, and a child has those of its parent. */
static bool ids_judge(struct oracle *oracle, const struct world *world, size_t number,
                      const struct span *seen)
{
    static const uint8_t none[8];
    struct span_ids *ids = &oracle->ids[number];
    const int parent = world->spans[number].parent;

    if (!ids->known) {
        ids->known = true;
        memcpy(ids->trace_id, seen->trace_id, sizeof ids->trace_id);
        memcpy(ids->span_id, seen->span_id, sizeof ids->span_id);
        memcpy(ids->parent_id, seen->parent_id, sizeof ids->parent_id);
    }
    if (memcmp(ids->trace_id, seen->trace_id, sizeof ids->trace_id) != 0 ||
        memcmp(ids->span_id, seen->span_id, sizeof ids->span_id) != 0 ||
        memcmp(ids->parent_id, seen->parent_id, sizeof ids->parent_id) != 0)
        return broken(oracle, "the ids of span %zu changed", number);
    const struct span_ids *of_parent = parent >= 0 ? &oracle->ids[parent] : NULL;
    if (memcmp(ids->span_id, none, sizeof none) == 0 ||
        (of_parent == NULL && memcmp(ids->parent_id, none, sizeof none) != 0) ||
        (of_parent != NULL && of_parent->known &&
         (memcmp(of_parent->trace_id, ids->trace_id, sizeof ids->trace_id) != 0 ||
          memcmp(of_parent->span_id, ids->parent_id, sizeof ids->parent_id) != 0)))
        return broken(oracle, "the ids of span %zu are not those of its place in the tree", number);
    return true;
}

static bool span_same(const struct span *seen, const struct world_span *expected)
{
    return strcmp(seen->name, expected->name) == 0 &&
           strcmp(seen->message, expected->message) == 0 && seen->kind == expected->kind &&
           seen->status == expected->status &&
           seen->attributes_dropped == expected->attributes_dropped &&
           attributes_same(seen->attributes, seen->attribute_count, expected->attributes,
                           expected->attribute_count);
}

static bool active_same(const struct span *seen, const struct world_span *expected)
{
    const bool staged = expected->stage != NULL && expected->stage[0] != '\0';
    return expected->phase == SPAN_ACTIVE && span_same(seen, expected) &&
           strcmp(seen->stage, expected->stage) == 0 &&
           staged == (seen->stage_start_unix_ns != 0) &&
           expected->reached_output == (seen->output_start_unix_ns != 0) &&
           (strcmp(expected->stage, "output") != 0 ||
            seen->stage_start_unix_ns == seen->output_start_unix_ns);
}

static bool span_changes(const struct world_span *old, const struct world_span *new)
{
    return memcmp(old, new, sizeof *old) != 0;
}

/* Every active span that was seen is right, and every one that nobody touches was seen. */
static bool active_spans_judge(struct judging *j)
{
    bool seen[WORLD_SPANS_MAX] = {false};
    size_t changing = 0, count;
    const struct span *spans = region_active_spans(j->subject->region, &count);

    if (count != j->seen->active_span_count)
        return broken(j->oracle, "%zu of %zu active spans", count, j->seen->active_span_count);
    for (size_t i = 0; i < count; i++) {
        const struct span *span = &spans[i];
        const uint64_t number = span->start_unix_ns - SPAN_START_NS;
        if (number >= j->after->span_count || seen[number])
            return broken(j->oracle, "an active span that was never started, or twice");
        seen[number] = true;
        if (!unit_is(j, active_same(span, &j->before->spans[number]),
                     active_same(span, &j->after->spans[number]), "an active span") ||
            !ids_judge(j->oracle, j->after, (size_t)number, span))
            return false;
    }
    for (size_t i = 0; i < j->after->span_count; i++) {
        const bool changes = span_changes(&j->before->spans[i], &j->after->spans[i]);
        changing += changes;
        if (!changes && !seen[i] && j->after->spans[i].phase == SPAN_ACTIVE)
            return broken(j->oracle, "active span %zu is gone", i);
        if (changes && !seen[i] && j->seen->active_spans_stale == 0 &&
            j->before->spans[i].phase == SPAN_ACTIVE && j->after->spans[i].phase == SPAN_ACTIVE)
            return broken(j->oracle, "active span %zu is gone and nothing is said", i);
    }
    if (j->seen->active_spans_stale > changing)
        return broken(j->oracle, "%zu active spans are left out, %zu were being changed",
                      j->seen->active_spans_stale, changing);
    j->left_out += j->seen->active_spans_stale;
    j->oracle->units_left_out += j->seen->active_spans_stale;
    return true;
}

/* ---- config, header -------------------------------------------------------------------------- */

static bool config_judge(struct judging *j)
{
    const char *path, *text;
    size_t bytes;
    const enum config_state state = region_config(j->subject->region, &path, &text, &bytes);
    const struct world *const worlds[2] = {j->before, j->after};
    bool is[2];
    for (int i = 0; i < 2; i++)
        is[i] = state == worlds[i]->config_state && strcmp(path, worlds[i]->config_path) == 0 &&
                bytes == strlen(worlds[i]->config_text) &&
                memcmp(text, worlds[i]->config_text, bytes) == 0;
    const bool changes = j->before->config_text != j->after->config_text;
    /* A document that cannot be read whole: the last whole copy, or none yet. */
    if (changes && j->seen->stale > j->left_out &&
        (j->subject->continued ? is[0] : state == CONFIG_NONE && bytes == 0))
        return unit_left_out(j, changes, "the document");
    return unit_is(j, is[0], is[1], "the document");
}

static bool state_judge(struct judging *j)
{
    const struct snapshot *seen = j->seen;
    return unit_is(
        j,
        seen->state == j->before->state && strcmp(seen->close_reason, j->before->close_reason) == 0,
        seen->state == j->after->state && strcmp(seen->close_reason, j->after->close_reason) == 0,
        "the writer's state");
}

/* ---- records --------------------------------------------------------------------------------- */

static bool log_judge(struct judging *j, size_t number, const struct log_record *seen)
{
    const struct world_log *expected = &j->after->logs[number];
    if (seen->body_bytes != expected->kept_bytes ||
        memcmp(seen->body, expected->body, seen->body_bytes) != 0 ||
        seen->original_bytes != expected->original_bytes ||
        seen->cut != (expected->kept_bytes < expected->original_bytes) ||
        seen->severity != expected->severity ||
        strcmp(seen->severity_text, expected->severity_text) != 0 ||
        seen->attributes_dropped != expected->attributes_dropped ||
        !attributes_same(seen->attributes, seen->attribute_count, expected->attributes,
                         expected->attribute_count) ||
        seen->observed_unix_ns == 0 ||
        seen->time_unix_ns !=
            (expected->time_unix_ns != 0 ? expected->time_unix_ns : seen->observed_unix_ns))
        return broken(j->oracle, "log line %zu is torn", number);
    static const uint8_t none[16];
    const struct span_ids *ids = expected->span >= 0 ? &j->oracle->ids[expected->span] : NULL;
    if (ids != NULL && !ids->known)
        return true;
    if (memcmp(seen->trace_id, ids != NULL ? ids->trace_id : none, 16) != 0 ||
        memcmp(seen->span_id, ids != NULL ? ids->span_id : none, 8) != 0)
        return broken(j->oracle, "log line %zu belongs to another span", number);
    return true;
}

/* Decodes a record and finds which one it is. False: it is none of them, or torn. */
static bool record_judge(struct judging *j, const struct record *record, size_t *number)
{
    struct oracle *oracle = j->oracle;
    arena_reset(oracle->arena);
    if (record->kind == RECORD_LOG) {
        struct log_record log;
        if (!record_decode_log(oracle->arena, record, &log))
            return broken(oracle, "a log line cannot be decoded");
        *number = strtoul(log.body, NULL, 10);
        if (*number >= j->after->log_count)
            return broken(oracle, "a log line that was never written");
        return log_judge(j, *number, &log);
    }
    struct span span;
    if (!record_decode_span(oracle->arena, record, &span))
        return broken(oracle, "a span cannot be decoded");
    *number = (size_t)(span.start_unix_ns - SPAN_START_NS);
    if (*number >= j->after->span_count || j->after->spans[*number].phase != SPAN_ENDED)
        return broken(oracle, "a finished span that was never ended");
    if (!span_same(&span, &j->after->spans[*number]) ||
        span.end_unix_ns != j->after->spans[*number].end_unix_ns)
        return broken(oracle, "finished span %zu is torn", *number);
    return ids_judge(oracle, j->after, *number, &span);
}

/* The number of a record whose words were found right before; false: it is not known. */
static bool record_known(const struct oracle *oracle, size_t kind, const struct record *record,
                         size_t *number)
{
    for (size_t i = 0; i < WORLD_LOGS_MAX; i++) {
        const struct known_record *known = &oracle->known[kind][i];
        if (known->words != NULL && known->word_count == record->word_count &&
            memcmp(known->words, record->words, known->word_count * sizeof *known->words) == 0) {
            *number = i;
            return true;
        }
    }
    return false;
}

static void record_remember(struct oracle *oracle, size_t kind, const struct record *record,
                            size_t number)
{
    struct known_record *known = &oracle->known[kind][number];
    free(known->words);
    known->word_count = record->word_count;
    known->words = malloc(record->word_count * sizeof *known->words);
    if (known->words == NULL)
        abort();
    memcpy(known->words, record->words, record->word_count * sizeof *known->words);
}

/* The lane whose ring holds that record in the world. */
static size_t lane_of(const struct world *world, size_t kind, size_t number)
{
    const struct world_ring *ring = &world->rings[kind][0];
    for (size_t i = 0; i < ring->count; i++)
        if (ring->records[i].number == number)
            return 0;
    return 1;
}

static void record_take(void *arg, const struct record *record)
{
    struct judging *j = arg;
    struct subject *subject = j->subject;
    const size_t kind = record->kind == RECORD_LOG;
    size_t number = 0;
    if (j->broken)
        return;
    if (!record_known(j->oracle, kind, record, &number)) {
        if (!record_judge(j, record, &number)) {
            j->broken = true;
            return;
        }
        record_remember(j->oracle, kind, record, number);
    }
    const size_t lane = lane_of(j->after, kind, number);
    if (subject->taken_count[kind][lane] == WORLD_LOGS_MAX) {
        j->broken = !broken(j->oracle, "more records than were written");
        return;
    }
    subject->taken[kind][lane][subject->taken_count[kind][lane]++] = number;
    j->oracle->records++;
}

/* Whether what was taken is the ring's records [first, end). */
static bool records_are(const struct subject *subject, size_t kind, size_t lane,
                        const struct world_ring *ring, size_t first, size_t past)
{
    if (subject->taken_count[kind][lane] != past - first)
        return false;
    for (size_t i = first; i < past; i++)
        if (subject->taken[kind][lane][i - first] != ring->records[i].number)
            return false;
    return true;
}

/* The oldest of `count` records that survives once `bytes` more are being written. */
static size_t oldest_survivor(const struct world_ring *ring, size_t count, uint64_t bytes,
                              uint64_t capacity)
{
    uint64_t used = bytes;
    size_t first = count;
    while (first > 0 && used + ring->records[first - 1].bytes <= capacity)
        used += ring->records[--first].bytes;
    return first;
}

/* A ring holds what it held before the call, or that without what the new record overwrites, or
 * this and the new record. *lost is what the reading must count as overwritten. */
static bool ring_judge(struct judging *j, size_t kind, size_t lane, uint64_t *lost)
{
    const uint64_t capacity = kind == 0 ? SPAN_RING_BYTES : LOG_RING_BYTES;
    const struct world_ring *ring = &j->after->rings[kind][lane];
    const size_t old = j->before->rings[kind][lane].count;
    const uint64_t bytes = ring->count > old ? ring->records[old].bytes : 0;
    size_t first[3] = {oldest_survivor(ring, old, 0, capacity),
                       oldest_survivor(ring, old, bytes, capacity),
                       oldest_survivor(ring, ring->count, 0, capacity)};
    const size_t past[3] = {old, old, ring->count};
    if (j->subject->continued)
        first[0] = first[1] = first[2] = 0;
    for (int i = 0; i < 3; i++) {
        if (!records_are(j->subject, kind, lane, ring, first[i], past[i]))
            continue;
        *lost += first[i];
        return true;
    }
    return broken(j->oracle, "the %s ring of lane %zu gave %zu records, %zu were complete",
                  kind == 0 ? "span" : "log", lane, j->subject->taken_count[kind][lane], old);
}

/* A span is never found nowhere: it ends in the ring before its slot is given back. */
static bool spans_somewhere(struct judging *j)
{
    size_t count;
    const struct span *spans = region_active_spans(j->subject->region, &count);
    for (size_t i = 0; i < j->after->span_count; i++) {
        if (j->before->spans[i].phase != SPAN_ACTIVE || j->after->spans[i].phase != SPAN_ENDED)
            continue;
        bool found = false;
        for (size_t k = 0; k < count; k++)
            found = found || spans[k].start_unix_ns == SPAN_START_NS + i;
        for (size_t lane = 0; lane < WORLD_LANES; lane++)
            for (size_t k = 0; k < j->subject->taken_count[0][lane]; k++)
                found = found || j->subject->taken[0][lane][k] == i;
        if (!found)
            return broken(j->oracle, "span %zu is neither active nor finished", i);
    }
    return true;
}

static bool losses_judge(struct judging *j, const uint64_t overwritten[2])
{
    const struct world *before = j->before, *after = j->after;
    const struct losses *lost = &j->seen->lost;
    return word_is(j, lost->spans - overwritten[0], before->spans_refused, after->spans_refused,
                   "lost spans") &&
           word_is(j, lost->logs - overwritten[1], 0, 0, "lost log lines") &&
           word_is(j, lost->logs_cut, before->logs_cut, after->logs_cut, "lines cut") &&
           word_is(j, lost->attributes_dropped, before->attributes_dropped,
                   after->attributes_dropped, "attributes dropped") &&
           word_is(j, lost->values_dropped, before->values_dropped, after->values_dropped,
                   "values dropped") &&
           word_is(j, lost->registrations_refused, before->registrations_refused,
                   after->registrations_refused, "registrations refused");
}

/* ---- one reading ----------------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static const struct snapshot *sample(const struct subject *subject)
{
    return region_sample(subject->region, clock_ns(CLOCK_REALTIME), clock_ns(CLOCK_MONOTONIC));
}

/* Bounded work, and at most one unit left out, which every count tells. */
static bool budget_judge(struct judging *j, uint64_t cpu_ns)
{
    const struct snapshot *seen = j->seen;
    if (cpu_ns > j->oracle->cpu_ns_max)
        j->oracle->cpu_ns_max = cpu_ns;
    if (cpu_ns > READING_CPU_NS_MAX)
        return broken(j->oracle, "a reading took %llu ns", (unsigned long long)cpu_ns);
    if (seen->stale != j->left_out || seen->stale > 1)
        return broken(j->oracle, "%llu units are left out, %llu are marked",
                      (unsigned long long)seen->stale, (unsigned long long)j->left_out);
    if (seen->retries > FWS_SEQ_TRIES * seen->torn)
        return broken(j->oracle, "%llu retries for %llu units", (unsigned long long)seen->retries,
                      (unsigned long long)seen->torn);
    return !seen->truncated || broken(j->oracle, "the region counts as truncated");
}

bool oracle_read(struct oracle *oracle, struct subject *subject, const struct world *before,
                 const struct world *after, bool shared)
{
    struct judging j = {
        .oracle = oracle, .subject = subject, .before = before, .after = after, .shared = shared};
    uint64_t overwritten[2] = {0, 0};

    oracle->readings++;
    const uint64_t begun = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    (void)sample(subject);
    (void)region_drain(subject->region, SIZE_MAX, record_take, &j, NULL);
    j.seen = sample(subject); /* knows what the drain found lost */
    const uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun;
    if (j.broken)
        return false;
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t lane = 0; lane < WORLD_LANES; lane++)
            if (!ring_judge(&j, kind, lane, &overwritten[kind]))
                return false;
    return identity_judge(&j) && state_judge(&j) && instruments_judge(&j) && pipelines_judge(&j) &&
           active_spans_judge(&j) && spans_somewhere(&j) && config_judge(&j) &&
           losses_judge(&j, overwritten) && budget_judge(&j, cpu_ns);
}
