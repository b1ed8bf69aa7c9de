/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows: what one reading says of every series. A counter that the forwarder does not have makes no
 * sample, an unset one makes an unset sample, and what could not be read whole makes a stale one.
 */
#include "catalogue.h"
#include "series.h"

#include <string.h>

/* ---- samples of the catalogue -------------------------------------------------------------------
 */

/* Attributes that the series of one place have in common. */
struct place {
    const struct attribute *attributes;
    size_t count;
    enum series_owner owner;
};

static struct attribute text_attribute(const char *key, const char *text)
{
    return (struct attribute){.key = key, .type = ATTRIBUTE_STRING, .string = text};
}

static void put(struct series_table *table, size_t entry, const struct place *place,
                enum sample_state state, uint64_t word)
{
    const struct sample sample = {
        .series = {.kind = catalogue[entry].kind,
                   .name = series_table_name(table, entry),
                   .unit = catalogue[entry].unit,
                   .description = catalogue[entry].description,
                   .attributes = place->attributes,
                   .attribute_count = place->count},
        .owner = place->owner,
        .state = state,
        .words = &word,
    };
    series_row_put(table, &sample);
}

/* A uint64_t at an offset of the catalogue in its struct. */
static uint64_t field_at(const void *figures, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)figures + offset, sizeof value);
    return value;
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- what depends on nothing --------------------------------------------------------------------
 */

static const struct place nowhere = {.owner = OWNER_STANDARD};

static void put_process(struct series_table *table, const struct process_figures *process)
{
    for (size_t i = 0; i < catalogue_count; i++) {
        if (catalogue[i].source == SOURCE_PROCESS) {
            put(table, i, &nowhere, process->known ? SAMPLE_GOOD : SAMPLE_UNSET,
                field_at(process, catalogue[i].field));
        }
    }
}

/* The age of a life ends with it, as far as lock and state word tell. */
static void put_uptime(struct series_table *table, const struct identity *identity,
                       const struct snapshot *snapshot)
{
    const bool over = snapshot->lock == LOCK_FREE || snapshot->state == STATE_CLOSED ||
                      snapshot->state == STATE_CLOSED_CRASHED;
    const uint64_t start = identity->created_unix_ns, now = snapshot->time_unix_ns;
    const double seconds = now > start ? (double)(now - start) / 1e9 : 0;
    uint64_t word;
    memcpy(&word, &seconds, sizeof word);
    for (size_t i = 0; i < catalogue_count; i++) {
        if (catalogue[i].source == SOURCE_UPTIME) {
            put(table, i, &nowhere, over ? SAMPLE_UNSET : SAMPLE_GOOD, word);
        }
    }
}

/* ---- instruments --------------------------------------------------------------------------------
 */

static enum series_kind kind_of_instrument(const struct instrument *instrument)
{
    switch (instrument->kind) {
    case INSTRUMENT_COUNTER:
    case INSTRUMENT_TOTAL:
        return SERIES_SUM;
    case INSTRUMENT_UPDOWN:
        return SERIES_UPDOWN;
    case INSTRUMENT_GAUGE:
        break;
    case INSTRUMENT_HISTOGRAM:
        return SERIES_HISTOGRAM;
    }
    return instrument->is_double ? SERIES_GAUGE_DOUBLE : SERIES_GAUGE_INT;
}

static enum sample_state state_of_value(uint8_t absent)
{
    return absent == 0 ? SAMPLE_GOOD : absent == 1 ? SAMPLE_UNSET : SAMPLE_STALE;
}

static struct series_node *put_instrument(struct series_table *table,
                                          const struct instrument *instrument,
                                          enum sample_state state, const uint64_t *words)
{
    const bool is_histogram = instrument->kind == INSTRUMENT_HISTOGRAM;
    const struct sample sample = {
        .series = {.kind = kind_of_instrument(instrument),
                   .name = instrument->name,
                   .unit = instrument->unit,
                   .description = instrument->description,
                   .attributes = instrument->attributes,
                   .attribute_count = instrument->attribute_count,
                   .bounds = is_histogram ? instrument->bounds : NULL,
                   .bound_count = is_histogram ? instrument->bound_count : 0},
        .owner = OWNER_INSTRUMENT,
        .state = state,
        .words = words,
    };
    return series_row_put(table, &sample);
}

static void put_instruments(struct series_table *table, const struct snapshot *snapshot)
{
    struct series_place *places = series_table_places(table, snapshot->instrument_count);
    for (size_t i = 0; i < snapshot->instrument_count; i++) {
        const struct instrument *instrument = &snapshot->instruments[i];
        const enum sample_state state = state_of_value(snapshot->values_absent[i]);
        const uint64_t *words = snapshot->values + instrument->value_index;
        struct series_place *place = places != NULL ? &places[i] : NULL;
        if (place != NULL && place->node != NULL && place->name == instrument->name) {
            series_row_put_again(table, place->node, state, words);
            continue;
        }
        struct series_node *node = put_instrument(table, instrument, state, words);
        if (place != NULL) {
            *place = (struct series_place){.name = instrument->name, .node = node};
        }
    }
}

/* ---- pipelines ----------------------------------------------------------------------------------
 */

/* The sum over the components of a kind that have the counter; false when none has. */
static bool sum_components(const struct pipeline *pipeline, enum component_kind kind, size_t count,
                           uint64_t *sum)
{
    bool known = false;
    *sum = 0;
    for (size_t i = 0; i < pipeline->component_count; i++) {
        const struct component *component = &pipeline->components[i];
        if (component->kind == kind && (component->absent >> count & 1) == 0) {
            *sum = add_saturated(*sum, component->counts[count]);
            known = true;
        }
    }
    return known;
}

static void put_sum(struct series_table *table, size_t entry, const struct pipeline *pipeline,
                    enum component_kind kind)
{
    const struct attribute name = text_attribute("pipeline", pipeline->name);
    const struct place place = {&name, 1, OWNER_PIPELINE};
    uint64_t sum;
    if (sum_components(pipeline, kind, catalogue[entry].field, &sum)) {
        put(table, entry, &place, SAMPLE_GOOD, sum);
    }
}

static void put_batches(struct series_table *table, size_t entry, const struct pipeline *pipeline)
{
    const size_t field = catalogue[entry].field;
    const char *stage = catalogue[entry].stage;
    const struct attribute attributes[] = {text_attribute("pipeline", pipeline->name),
                                           text_attribute("stage", stage)};
    const struct place place = {attributes, stage != NULL ? 2 : 1, OWNER_PIPELINE};
    if ((pipeline->absent >> field & 1) == 0) {
        put(table, entry, &place, pipeline->batches_stale ? SAMPLE_STALE : SAMPLE_GOOD,
            pipeline->batches[field]);
    }
}

static const char *role_name(enum component_kind kind)
{
    switch (kind) {
    case COMPONENT_INPUT:
        return "input";
    case COMPONENT_TRANSFORM:
        return "transform";
    case COMPONENT_OUTPUT:
        break;
    }
    return "output";
}

/* A queue is named by its component; the role tells an input from an output of the same name. */
static void put_queues(struct series_table *table, size_t entry, const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->component_count; i++) {
        const struct component *component = &pipeline->components[i];
        const struct attribute attributes[] = {
            text_attribute("pipeline", pipeline->name),
            text_attribute("component", component->name),
            text_attribute("role", role_name(component->kind)),
        };
        const struct place place = {attributes, 3, OWNER_PIPELINE};
        /* A capacity of 0 is one that the forwarder does not know. */
        const bool known = catalogue[entry].field != offsetof(struct component, queue_capacity) ||
                           component->queue_capacity > 0;
        if (component->has_queue && known) {
            put(table, entry, &place, SAMPLE_GOOD, field_at(component, catalogue[entry].field));
        }
    }
}

static void put_pipeline(struct series_table *table, const struct pipeline *pipeline)
{
    for (size_t i = 0; i < catalogue_count; i++) {
        switch (catalogue[i].source) {
        case SOURCE_INPUTS:
            put_sum(table, i, pipeline, COMPONENT_INPUT);
            break;
        case SOURCE_OUTPUTS:
            put_sum(table, i, pipeline, COMPONENT_OUTPUT);
            break;
        case SOURCE_BATCHES:
            put_batches(table, i, pipeline);
            break;
        case SOURCE_QUEUE:
            put_queues(table, i, pipeline);
            break;
        case SOURCE_UPTIME:
        case SOURCE_PROCESS:
        case SOURCE_SELF:
            break;
        }
    }
}

/* ---- the rows -----------------------------------------------------------------------------------
 */

struct point_row *series_table_row(struct series_table *table, const struct identity *identity,
                                   const struct snapshot *snapshot,
                                   const struct process_figures *process,
                                   const struct point_row *previous)
{
    series_row_begin(table);
    put_uptime(table, identity, snapshot);
    put_process(table, process);
    put_instruments(table, snapshot);
    for (size_t i = 0; i < snapshot->pipeline_count; i++) {
        put_pipeline(table, &snapshot->pipelines[i]);
    }
    return series_row_end(table, snapshot->time_unix_ns, previous);
}

struct point_row *series_table_self_row(struct series_table *table, const struct self_figures *self,
                                        uint64_t time_unix_ns)
{
    series_row_begin(table);
    for (size_t i = 0; i < catalogue_count; i++) {
        if (catalogue[i].source == SOURCE_SELF) {
            put(table, i, &nowhere, SAMPLE_GOOD, field_at(self, catalogue[i].field));
        }
    }
    put_process(table, &self->process);
    return series_row_end(table, time_unix_ns, NULL);
}
