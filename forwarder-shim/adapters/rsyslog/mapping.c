/* SPDX-License-Identifier: Apache-2.0 */
/* What a sample of impstats means. */
#include "mapping.h"

#include <stdio.h>
#include <string.h>

#define ONLY(counts) (UINT32_C(0x1f) & ~(uint32_t)(counts))
#define LINES        (1u << FWDSCOPE_LINES)
#define BYTES        (1u << FWDSCOPE_BYTES)
#define ERRORS       (1u << FWDSCOPE_ERRORS)

/* Bytes may be a sample older than the lines that they carry. */
enum { QUIET_SAMPLES_MAX = 2 };

/* ---- names ----------------------------------------------------------------------------------- */

/* What the drop-in configures for the adapter itself is not what the forwarder does. */
static bool is_own(const struct stat_object *object)
{
    return strncmp(object->name, "fwdscope", strlen("fwdscope")) == 0;
}

static bool is_action(const struct stat_object *object)
{
    return strcmp(object->origin, "core.action") == 0;
}

/* "NAME queue" is the queue of action NAME; "...[DA]" the disk part of a queue. */
static struct stat_object *queue_of(const struct stat_table *table, const char *name,
                                    const char *suffix)
{
    char full[STATS_NAME_BYTES + 16];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    return stat_find(table, "core.queue", full);
}

static bool has_suffix(const char *text, const char *suffix, size_t *stem)
{
    const size_t bytes = strlen(text), tail = strlen(suffix);
    if (bytes < tail || strcmp(text + bytes - tail, suffix) != 0)
        return false;
    *stem = bytes - tail;
    return true;
}

/* The main queue or one of a ruleset. */
static bool is_primary_queue(const struct stat_table *table, const struct stat_object *object)
{
    size_t stem;
    char action[STATS_NAME_BYTES];
    if (strcmp(object->origin, "core.queue") != 0 || is_own(object) ||
        has_suffix(object->name, "[DA]", &stem))
        return false;
    if (!has_suffix(object->name, " queue", &stem))
        return true;
    snprintf(action, sizeof action, "%.*s", (int)stem, object->name);
    return stat_find(table, "core.action", action) == NULL;
}

/* ---- queues ---------------------------------------------------------------------------------- */

struct queue {
    uint64_t depth, enqueued, discarded, full, capacity; /* capacity 0: not known */
};

/* As it was configured, else as it was learnt: a queue that was full once held just its size. */
static uint64_t capacity_of(const struct mapping *mapping, const struct stat_object *object,
                            const char *name)
{
    for (size_t i = 0; i < mapping->options->capacity_count; i++) {
        const struct capacity *told = &mapping->options->capacities[i];
        if (strcmp(told->queue, object->name) == 0 || strcmp(told->queue, name) == 0)
            return told->items;
    }
    return stat_value(object, "full") > 0 ? stat_value(object, "maxqsize") : 0;
}

/* name: of what the queue belongs to. */
static struct queue queue_read(const struct mapping *mapping, const struct stat_table *table,
                               const struct stat_object *object, const char *name)
{
    const struct stat_object *disk = queue_of(table, object->name, "[DA]");
    struct queue queue = {
        .depth = stat_value(object, "size"),
        .enqueued = stat_value(object, "enqueued"),
        .discarded = stat_value(object, "discarded.full") + stat_value(object, "discarded.nf"),
        .full = stat_value(object, "full"),
        .capacity = capacity_of(mapping, object, name),
    };
    if (disk != NULL) {
        queue.depth += stat_value(disk, "size");
        queue.discarded += stat_value(disk, "discarded.full") + stat_value(disk, "discarded.nf");
    }
    return queue;
}

/* What left a queue in good order. Its counters are read one after another: never below 0. */
static uint64_t queue_done(const struct queue *queue)
{
    const uint64_t gone = queue->depth + queue->discarded;
    return queue->enqueued > gone ? queue->enqueued - gone : 0;
}

/* Each time that somebody had to wait for room since the sample before. */
static uint64_t queue_stalls(struct stat_role *role, const struct queue *queue)
{
    const uint64_t stalls = queue->full > role->full ? queue->full - role->full : 0;
    role->full = queue->full;
    return stalls;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static void input_register(struct mapping *mapping, struct stat_object *object, const char *type,
                           uint32_t counts)
{
    if (object->role.registered)
        return;
    object->role.registered = true;
    object->role.component =
        fwdscope_input_register(mapping->pipeline, object->name, type, ONLY(counts));
    fwdscope_component_health(object->role.component, FWDSCOPE_HEALTHY);
}

static uint64_t input_apply(struct mapping *mapping, struct stat_object *object)
{
    uint64_t submitted, bytes;
    if (!stat_get(object, "submitted", &submitted))
        return 0;
    const bool has_bytes = stat_get(object, "bytes.received", &bytes);
    input_register(mapping, object, object->origin, has_bytes ? LINES | BYTES : LINES);
    fwdscope_component_set(object->role.component, FWDSCOPE_LINES, submitted);
    if (has_bytes)
        fwdscope_component_set(object->role.component, FWDSCOPE_BYTES, bytes);
    return submitted;
}

static struct queue primary_apply(struct mapping *mapping, const struct stat_table *table,
                                  struct stat_object *object)
{
    struct stat_role *role = &object->role;
    const struct queue queue = queue_read(mapping, table, object, object->name);
    const uint64_t moved = queue_done(&queue);
    input_register(mapping, object, "queue", 0);
    fwdscope_component_queue(role->component, queue.depth, queue.capacity);
    role->stalled = queue.depth > 0 && moved == role->moved;
    role->moved = moved;
    return queue;
}

/* Most inputs count what they submit; imfile, imklog and rsyslogd's own messages are not counted.
 * What the queues took in besides came from them. */
static void others_apply(struct mapping *mapping, uint64_t submitted, uint64_t enqueued)
{
    const uint64_t uncounted = enqueued > submitted ? enqueued - submitted : 0;
    if (uncounted > mapping->uncounted)
        mapping->uncounted = uncounted;
    if (mapping->uncounted == 0)
        return;
    if (!mapping->has_others) {
        mapping->has_others = true;
        mapping->others = fwdscope_input_register(mapping->pipeline, "other inputs",
                                                  "imfile and others", ONLY(LINES));
        fwdscope_component_health(mapping->others, FWDSCOPE_HEALTHY);
    }
    fwdscope_component_set(mapping->others, FWDSCOPE_LINES, mapping->uncounted);
}

static void rulesets_apply(struct mapping *mapping, uint64_t taken)
{
    if (taken > mapping->taken)
        mapping->taken = taken;
    fwdscope_component_set(mapping->rulesets, FWDSCOPE_LINES, mapping->taken);
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* An action without a name is called action-NUMBER-MODULE. */
static const char *output_type(const struct stat_object *object)
{
    unsigned number;
    int at = 0;
    if (object->has_transport)
        return "omfwd";
    if (sscanf(object->name, "action-%u-%n", &number, &at) == 1 && at > 0)
        return object->name + at;
    return "action";
}

static bool is_suspended(const struct stat_object *object)
{
    return stat_value(object, "suspended") > stat_value(object, "resumed");
}

/* The counters of one action: what it delivered and what it did not. */
static void output_count(struct stat_object *object, uint64_t done, uint64_t discarded)
{
    struct stat_role *role = &object->role;
    const uint64_t failed = stat_value(object, "failed");
    const uint64_t more = done > role->done ? done - role->done : 0;
    const uint64_t more_failed = failed > role->failed ? failed - role->failed : 0;
    /* A suspended action that may not retry drops what it gets, and rsyslog counts it as done. */
    if (is_suspended(object) && more > more_failed)
        role->undelivered += more - more_failed;
    role->done += more;
    role->failed = failed;
    role->quiet = object->transport_bytes > role->bytes ? 0 : role->quiet + (role->quiet < 1000);
    role->bytes = object->transport_bytes;
    const bool proven =
        !object->has_transport || (role->bytes > 0 && role->quiet < QUIET_SAMPLES_MAX);
    const uint64_t lost = role->failed + role->undelivered;
    const uint64_t lines = role->done > lost ? role->done - lost : 0;
    if (proven && lines > role->lines) {
        role->lines = lines;
        fwdscope_output_success(role->component, 0);
    }
    fwdscope_component_set(role->component, FWDSCOPE_LINES, role->lines);
    fwdscope_component_set(role->component, FWDSCOPE_ERRORS, lost + discarded);
    if (object->has_transport)
        fwdscope_component_set(role->component, FWDSCOPE_BYTES, role->bytes);
    fwdscope_component_health(role->component,
                              is_suspended(object) ? FWDSCOPE_DEGRADED : FWDSCOPE_HEALTHY);
}

static uint64_t output_apply(struct mapping *mapping, const struct stat_table *table,
                             struct stat_object *object)
{
    struct stat_role *role = &object->role;
    const struct stat_object *own_queue = queue_of(table, object->name, " queue");
    if (!role->registered) {
        const uint32_t counts = LINES | ERRORS | (object->has_transport ? BYTES : 0);
        role->registered = true;
        role->component = fwdscope_output_register(mapping->pipeline, object->name,
                                                   output_type(object), ONLY(counts));
    }
    if (own_queue == NULL) {
        output_count(object, stat_value(object, "processed"), 0);
        return 0;
    }
    const struct queue queue = queue_read(mapping, table, own_queue, object->name);
    fwdscope_component_queue(role->component, queue.depth, queue.capacity);
    role->stalled = queue.capacity > 0 && queue.depth >= queue.capacity;
    output_count(object, queue_done(&queue), queue.discarded);
    return queue_stalls(role, &queue);
}

/* ---- actions without a queue ----------------------------------------------------------------- */

/* How strongly it looks as if this action holds up the queue of its ruleset: 0 not at all. */
static int suspicion(const struct stat_table *table, const struct stat_object *object)
{
    if (!is_action(object) || !stat_is_current(table, object) || is_own(object) ||
        queue_of(table, object->name, " queue") != NULL || stat_value(object, "processed") == 0)
        return 0;
    if (is_suspended(object) || (object->has_transport && object->role.quiet >= QUIET_SAMPLES_MAX))
        return 2;
    return 1;
}

/* Why a queue of rulesets stands still. */
struct standstill {
    const struct stat_object *queue; /* the only one that does, or NULL */
    int most;                        /* the strongest suspicion against an action without a queue */
};

static struct standstill standstill_find(const struct stat_table *table)
{
    struct standstill found = {0};
    size_t still = 0;
    bool full = false; /* an action's own queue is: that alone may be the reason */
    for (size_t i = 0; i < table->count; i++) {
        const struct stat_object *object = &table->objects[i];
        if (!stat_is_current(table, object))
            continue;
        const int here = suspicion(table, object);
        found.most = here > found.most ? here : found.most;
        full = full || (is_action(object) && object->role.stalled);
        if (object->role.stalled && is_primary_queue(table, object)) {
            found.queue = object;
            still++;
        }
    }
    if (still != 1 || (full && found.most < 2))
        found.queue = NULL;
    return found;
}

/*
 * An action without a queue of its own works on the queue of its ruleset; impstats does not say
 * which. While just one of those queues stands still, it is shown as the queue of the actions that
 * hold it up by the best evidence there is; at other times these actions have nothing waiting.
 */
static void direct_apply(const struct mapping *mapping, const struct stat_table *table)
{
    const struct standstill found = standstill_find(table);
    for (size_t i = 0; i < table->count; i++) {
        const struct stat_object *object = &table->objects[i];
        const int here = suspicion(table, object);
        if (here == 0)
            continue;
        struct queue queue = {0};
        if (found.queue != NULL && here == found.most)
            queue = queue_read(mapping, table, found.queue, found.queue->name);
        fwdscope_component_queue(object->role.component, queue.depth, queue.capacity);
    }
}

/* ---- a sample -------------------------------------------------------------------------------- */

void mapping_begin(struct mapping *mapping, const struct options *options)
{
    uint32_t absent = 0;
    const uint32_t batches = 1u << FWDSCOPE_BATCH_BATCHES | 1u << FWDSCOPE_BATCH_ROWS |
                             1u << FWDSCOPE_BATCH_LATENCY | 1u << FWDSCOPE_BATCH_OUTPUT |
                             1u << FWDSCOPE_BATCH_INFLIGHT;
    for (unsigned field = FWDSCOPE_BATCH_BATCHES; field <= FWDSCOPE_BATCH_INFLIGHT; field++)
        absent |= 1u << field;
    absent &= ~(1u << FWDSCOPE_BATCH_STALLS);
    if (options->batches)
        absent &= ~batches;
    *mapping = (struct mapping){.options = options};
    mapping->pipeline = fwdscope_pipeline_register("rsyslog", absent);
    mapping->rulesets = fwdscope_transform_register(mapping->pipeline, "rulesets", ONLY(LINES));
}

void mapping_apply(struct mapping *mapping, struct stat_table *table)
{
    uint64_t submitted = 0, enqueued = 0, taken = 0, stalls = 0;
    for (size_t i = 0; i < table->count; i++) {
        struct stat_object *object = &table->objects[i];
        if (!stat_is_current(table, object) || is_own(object) || object->nth > 1)
            continue;
        submitted += input_apply(mapping, object);
        if (is_action(object)) {
            stalls += output_apply(mapping, table, object);
        } else if (is_primary_queue(table, object)) {
            const struct queue queue = primary_apply(mapping, table, object);
            enqueued += queue.enqueued;
            taken += queue_done(&queue);
            stalls += queue_stalls(&object->role, &queue);
        }
    }
    others_apply(mapping, submitted, enqueued);
    rulesets_apply(mapping, taken);
    direct_apply(mapping, table);
    fwdscope_batch_add(mapping->pipeline, &(struct fwdscope_batch){.backpressure_stalls = stalls});
    fwdscope_heartbeat();
}
