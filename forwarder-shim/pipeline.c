/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines, their components, and the standard batch accounting. */
#include "shim.h"

#include <string.h>

/* The public enums are the layout's: a reader finds in the region what the author wrote. */
_Static_assert((int)FWDSCOPE_PARSE_ERRORS == (int)FWS_COUNT_PARSE_ERRORS, "counts match");
_Static_assert((int)FWDSCOPE_FAILED == (int)FWS_FAILED, "healths match");
_Static_assert((int)FWDSCOPE_BATCH_INFLIGHT == (int)FWS_B_INFLIGHT, "batch fields match");
_Static_assert(FWS_B_USED == FWS_B_INFLIGHT + 1, "every field is named");

/* ---- registration ---------------------------------------------------------------------------- */

/* A name fit for display: not empty, at most 255 bytes, any characters. */
static bool label_valid(const char *name)
{
    return name != NULL && name[0] != '\0' &&
           strnlen(name, FWS_NAME_BYTES_MAX + 1) <= FWS_NAME_BYTES_MAX;
}

static bool label_put(struct shim *shim, const char *text, size_t max, uint64_t *ref)
{
    return strings_put(shim, text, text_cut(text, strnlen(text, max + 1), max), ref);
}

/* Registers with the mutex held; returns the pipeline's index + 1, or 0. */
static uint32_t pipeline_add(struct shim *shim, const char *name, uint32_t absent)
{
    uint32_t count = (uint32_t)fws_peek(&shim->pipeline_count);
    uint64_t ref;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(shim->pipeline_names[i], name) == 0)
            return i + 1;
    }
    if (count == SHIM_PIPELINES_MAX || !label_put(shim, name, FWS_NAME_BYTES_MAX, &ref))
        return 0;
    memcpy(shim->pipeline_names[count], name, strlen(name) + 1);
    fws_word *words = shim->pipelines_words + (size_t)count * FWS_P_WORDS;
    fws_put(&words[FWS_P_NAME], ref);
    fws_put(&words[FWS_P_ABSENT], absent);
    fws_publish(&words[FWS_P_STATE], 1); /* release, last: PAIRS WITH the snapshot's catalogue */
    fws_publish(&shim->pipeline_count, count + 1);
    return count + 1;
}

fwdscope_pipeline fwdscope_pipeline_register(const char *name, uint32_t absent)
{
    fwdscope_pipeline none = {0};
    struct shim *shim = shim_current();
    if (shim == NULL)
        return none;
    uint32_t number = 0;
    if (label_valid(name)) {
        pthread_mutex_lock(&shim->registering);
        number = pipeline_add(shim, name, absent);
        pthread_mutex_unlock(&shim->registering);
    }
    if (number == 0) {
        shim_refuse(shim);
        return none;
    }
    return (fwdscope_pipeline){handle_make(shim->key, HANDLE_PIPELINE, number - 1)};
}

/* What a component is registered as. */
struct component_wanted {
    enum fws_component_kind kind;
    uint32_t pipeline;
    const char *name, *type;
    uint32_t absent;
    enum fws_health health;
};

static bool component_is(const struct shim_component *have, const struct component_wanted *wanted)
{
    return have->kind == wanted->kind && have->pipeline == wanted->pipeline &&
           strcmp(have->name, wanted->name) == 0;
}

/* Registers with the mutex held; returns the component's index + 1, or 0. */
static uint32_t component_add(struct shim *shim, const struct component_wanted *wanted)
{
    uint32_t count = (uint32_t)fws_peek(&shim->component_count);
    uint64_t name, type;
    for (uint32_t i = 0; i < count; i++) {
        if (component_is(&shim->components[i], wanted))
            return i + 1;
    }
    const uint64_t strings_before = shim->strings_used;
    if (count == SHIM_COMPONENTS_MAX || shim->sizes.slots - shim->slots_used < FWS_COUNTS ||
        !label_put(shim, wanted->name, FWS_NAME_BYTES_MAX, &name) ||
        !label_put(shim, wanted->type, FWS_DESCRIPTION_BYTES_MAX, &type)) {
        shim->strings_used = strings_before; /* nothing refers to what was put */
        return 0;
    }

    struct shim_component *component = &shim->components[count];
    component->kind = wanted->kind;
    component->pipeline = wanted->pipeline;
    component->slot = shim->slots_used;
    memcpy(component->name, wanted->name, strlen(wanted->name) + 1);

    fws_word *words = shim->components_words + (size_t)count * FWS_C_WORDS;
    fws_put(&words[FWS_C_KIND], wanted->kind);
    fws_put(&words[FWS_C_PIPELINE], wanted->pipeline);
    fws_put(&words[FWS_C_NAME], name);
    fws_put(&words[FWS_C_TYPE], type);
    fws_put(&words[FWS_C_ABSENT], wanted->absent);
    fws_put(&words[FWS_C_SLOT], shim->slots_used);
    fws_put(&words[FWS_C_HEALTH], wanted->health);
    fws_publish(&words[FWS_C_STATE], 1); /* release, last: PAIRS WITH the snapshot's catalogue */
    shim->slots_used += FWS_COUNTS;
    /* Release: a thread that is handed the handle finds the component. PAIRS WITH component_of. */
    fws_publish(&shim->component_count, count + 1);
    return count + 1;
}

static fwdscope_component component_register(fwdscope_pipeline pipeline,
                                             struct component_wanted *wanted)
{
    fwdscope_component none = {0};
    struct shim *shim = shim_current();
    if (shim == NULL)
        return none;
    uint32_t number = 0;
    if (wanted->name == NULL)
        wanted->name = "";
    if (wanted->type == NULL)
        wanted->type = "";
    const uint64_t in = handle_number(shim->key, HANDLE_PIPELINE, pipeline.id);
    wanted->pipeline = (uint32_t)in;
    if (in < fws_observe(&shim->pipeline_count) &&
        (wanted->kind == FWS_TRANSFORM || label_valid(wanted->name))) {
        pthread_mutex_lock(&shim->registering);
        number = component_add(shim, wanted);
        pthread_mutex_unlock(&shim->registering);
    }
    if (number == 0) {
        shim_refuse(shim);
        return none;
    }
    return (fwdscope_component){handle_make(shim->key, HANDLE_COMPONENT, number - 1)};
}

fwdscope_component fwdscope_input_register(fwdscope_pipeline pipeline, const char *name,
                                           const char *type, uint32_t absent)
{
    struct component_wanted wanted = {
        .kind = FWS_INPUT, .name = name, .type = type, .absent = absent, .health = FWS_STARTING};
    return component_register(pipeline, &wanted);
}

fwdscope_component fwdscope_transform_register(fwdscope_pipeline pipeline, const char *query,
                                               uint32_t absent)
{
    struct component_wanted wanted = {
        .kind = FWS_TRANSFORM, .type = query, .absent = absent, .health = FWS_HEALTHY};
    return component_register(pipeline, &wanted);
}

fwdscope_component fwdscope_output_register(fwdscope_pipeline pipeline, const char *name,
                                            const char *type, uint32_t absent)
{
    struct component_wanted wanted = {
        .kind = FWS_OUTPUT, .name = name, .type = type, .absent = absent, .health = FWS_HEALTHY};
    return component_register(pipeline, &wanted);
}

/* ---- hot calls ------------------------------------------------------------------------------- */

/* The component of a handle, or NULL. */
static const struct shim_component *component_of(const struct shim *shim, fwdscope_component handle)
{
    const uint64_t index = handle_number(shim->key, HANDLE_COMPONENT, handle.id);
    return index < fws_observe(&shim->component_count) ? &shim->components[index] : NULL;
}

/* Adds to one counter of a component, or to lines and bytes at once. */
static void component_count(fwdscope_component handle, unsigned which, uint64_t n, uint64_t bytes)
{
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return;
    const struct shim_component *component = component_of(gate->shim, handle);
    if (component != NULL) {
        fws_word *counts = &gate->values[component->slot];
        lane_add(gate->lane, &counts[which], n);
        if (bytes != 0)
            lane_add(gate->lane, &counts[FWS_COUNT_BYTES], bytes);
    }
    shim_leave();
}

void fwdscope_component_progress(fwdscope_component handle, uint64_t lines, uint64_t bytes)
{
    component_count(handle, FWS_COUNT_LINES, lines, bytes);
}

void fwdscope_component_add(fwdscope_component handle, enum fwdscope_count which, uint64_t n)
{
    if ((unsigned)which < FWS_COUNTS)
        component_count(handle, (unsigned)which, n, 0);
}

void fwdscope_component_set(fwdscope_component handle, enum fwdscope_count which, uint64_t total)
{
    struct shim *shim = shim_current();
    if (shim == NULL || (unsigned)which >= FWS_COUNTS)
        return;
    const struct shim_component *component = component_of(shim, handle);
    if (component != NULL) /* the shared lane's word is the total: nobody adds to it */
        fws_put(&shim->lanes[0].values[component->slot + (unsigned)which], total);
}

/* The mutable words of a component, or NULL. */
static fws_word *component_words(fwdscope_component handle)
{
    const struct shim *shim = shim_current();
    const struct shim_component *component = shim != NULL ? component_of(shim, handle) : NULL;
    return component == NULL
               ? NULL
               : shim->components_words + (size_t)(component - shim->components) * FWS_C_WORDS;
}

void fwdscope_component_health(fwdscope_component handle, enum fwdscope_health health)
{
    fws_word *words = component_words(handle);
    if (words != NULL)
        fws_put(&words[FWS_C_HEALTH], (uint64_t)health);
}

void fwdscope_component_queue(fwdscope_component handle, uint64_t depth, uint64_t capacity)
{
    fws_word *words = component_words(handle);
    if (words == NULL)
        return;
    fws_put(&words[FWS_C_QUEUE_DEPTH], depth);
    fws_put(&words[FWS_C_QUEUE_CAPACITY], capacity);
    /* Release: who sees that there is a queue sees a depth. PAIRS WITH the snapshot. */
    fws_publish(&words[FWS_C_QUEUE], 1);
}

void fwdscope_output_success(fwdscope_component output, uint64_t unix_ns)
{
    fws_word *words = component_words(output);
    if (words != NULL)
        fws_put(&words[FWS_C_LAST_SUCCESS_UNIX_NS], unix_ns != 0 ? unix_ns : shim_now());
}

/* The fields of a batch in the order of the layout. */
static void batch_words(const struct fwdscope_batch *batch, uint64_t out[FWS_B_USED])
{
    out[FWS_B_SEQ] = 0;
    out[FWS_B_BATCHES] = batch->batches;
    out[FWS_B_ROWS] = batch->rows;
    out[FWS_B_FLUSH_SIZE] = batch->flush_by_size;
    out[FWS_B_FLUSH_TIMEOUT] = batch->flush_by_timeout;
    out[FWS_B_FLUSH_DRAIN] = batch->flush_by_drain;
    out[FWS_B_DROPPED] = batch->dropped_batches;
    out[FWS_B_SCAN_ERRORS] = batch->scan_errors;
    out[FWS_B_PARSE_ERRORS] = batch->parse_errors;
    out[FWS_B_LATENCY_NS] = batch->latency_ns;
    out[FWS_B_SCAN_NS] = batch->scan_ns;
    out[FWS_B_TRANSFORM_NS] = batch->transform_ns;
    out[FWS_B_OUTPUT_NS] = batch->output_ns;
    out[FWS_B_QUEUE_WAIT_NS] = batch->queue_wait_ns;
    out[FWS_B_SEND_NS] = batch->send_ns;
    out[FWS_B_STALLS] = batch->backpressure_stalls;
    out[FWS_B_INFLIGHT] = (uint64_t)batch->inflight;
}

void fwdscope_batch_add(fwdscope_pipeline handle, const struct fwdscope_batch *batch)
{
    uint64_t delta[FWS_B_USED];
    const struct gate *gate = batch != NULL ? shim_enter() : NULL;
    if (gate == NULL)
        return;
    struct lane *lane = gate->lane;
    const uint64_t index = handle.id - gate->keys[HANDLE_PIPELINE];
    if (index < fws_observe(&gate->shim->pipeline_count)) {
        fws_word *group = lane->batches + (size_t)index * FWS_B_WORDS;
        batch_words(batch, delta);
        if (!lane->shared)
            fws_seq_write_begin(&group[FWS_B_SEQ], &lane->batch_seq[index]);
        for (int field = FWS_B_BATCHES; field < FWS_B_USED; field++) {
            if (delta[field] == 0)
                continue;
            if (lane->shared)
                fws_add(&group[field], delta[field]);
            else
                fws_publish(&group[field], fws_peek(&group[field]) + delta[field]);
        }
        if (!lane->shared)
            fws_seq_write_end(&group[FWS_B_SEQ], &lane->batch_seq[index]);
        if (batch->finished_unix_ns != 0)
            fws_put(&gate->shim
                         ->pipelines_words[(size_t)index * FWS_P_WORDS + FWS_P_LAST_BATCH_UNIX_NS],
                    batch->finished_unix_ns);
    }
    lane_beat(lane);
    shim_leave();
}
