/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of impstats, as a table and as instruments. */
#include "impstats.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is known of counters --------------------------------------------------------------- */

/* Those that may fall; all others only grow. */
static bool is_gauge(const char *origin, const char *key)
{
    static const char *const keys[] = {"size", "maxqsize", "maxrss", "openfiles"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i]) == 0)
            return true;
    }
    return strncmp(origin, "percentile", strlen("percentile")) == 0;
}

static const char *unit_of(const char *key)
{
    static const struct {
        const char *key, *unit;
    } units[] = {{"utime", "us"}, {"stime", "us"}, {"maxrss", "KiBy"}, {"suspended.duration", "s"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(key, units[i].key) == 0)
            return units[i].unit;
    }
    return strncmp(key, "bytes.", 6) == 0 ? "By" : "1";
}

/* rsyslog.ORIGIN.COUNTER in the characters that names of instruments have. */
static void instrument_name(const char *origin, const char *key, char *out, size_t cap)
{
    const int n = snprintf(out, cap, "rsyslog.%s.%s", origin, key);
    if (n < 0 || (size_t)n >= cap)
        out[0] = '\0'; /* no name: the shim refuses it, and counts that */
    for (char *c = out; *c != '\0'; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                           (*c >= '0' && *c <= '9') || *c == '_' || *c == '.' || *c == '-';
        if (!plain)
            *c = '_';
    }
}

/* ---- counters -------------------------------------------------------------------------------- */

static struct stat_counter *counter_find(const struct stat_object *object, const char *key)
{
    for (size_t i = 0; i < object->counter_count; i++) {
        if (strcmp(object->counters[i].key, key) == 0)
            return &object->counters[i];
    }
    return NULL;
}

/* `key` in the table is GROUP.KEY for a counter inside a group, whose name is then an attribute:
 * keys of dynamic statistics are whatever the messages hold. */
static void counter_register(const struct stat_object *object, const char *group, const char *key,
                             struct stat_counter *counter)
{
    char name[4 * STATS_NAME_BYTES]; /* the shim refuses one that is too long */
    struct fwdscope_attribute attributes[3];
    size_t count = 0;
    instrument_name(object->origin, group != NULL ? group : key, name, sizeof name);
    attributes[count++] = fwdscope_string("name", object->name);
    if (group != NULL)
        attributes[count++] = fwdscope_string("key", key);
    if (object->nth > 1)
        attributes[count++] = fwdscope_int("nth", object->nth);
    const struct fwdscope_instrument what = {
        .name = name,
        .unit = unit_of(key),
        .description = "A counter of impstats, as rsyslog tells it",
        .attributes = attributes,
        .attribute_count = count,
    };
    counter->gauge = is_gauge(object->origin, key);
    if (counter->gauge)
        counter->level = fwdscope_int_gauge_register(&what);
    else
        counter->total = fwdscope_total_register(&what);
}

static struct stat_counter *counter_add(struct stat_table *table, struct stat_object *object,
                                        const char *group, const char *key, const char *full)
{
    if (table->counters == STATS_COUNTERS_MAX)
        return NULL;
    struct stat_counter *grown =
        realloc(object->counters, (object->counter_count + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    object->counters = grown;
    struct stat_counter *counter = &grown[object->counter_count];
    *counter = (struct stat_counter){.key = strdup(full)};
    if (counter->key == NULL)
        return NULL;
    counter_register(object, group, key, counter);
    object->counter_count++;
    table->counters++;
    return counter;
}

static void counter_take(struct stat_table *table, struct stat_object *object, const char *group,
                         const char *key, uint64_t value)
{
    char full[2 * STATS_NAME_BYTES];
    snprintf(full, sizeof full, "%s%s%s", group != NULL ? group : "", group != NULL ? "." : "",
             key);
    struct stat_counter *counter = counter_find(object, full);
    if (counter == NULL)
        counter = counter_add(table, object, group, key, full);
    if (counter == NULL) {
        table->refused++;
        return;
    }
    if (!counter->gauge && value < counter->value && strncmp(object->origin, "core.", 5) == 0)
        table->fell = true;
    counter->value = value;
    if (counter->gauge)
        fwdscope_gauge_set_int(counter->level, (int64_t)value);
    else
        fwdscope_total_set(counter->total, value);
}

/* ---- objects --------------------------------------------------------------------------------- */

/* The object of that name that this sample has not seen yet: names may come twice. */
static struct stat_object *object_take(struct stat_table *table, const char *origin,
                                       const char *name)
{
    unsigned nth = 1;
    for (size_t i = 0; i < table->count; i++) {
        struct stat_object *object = &table->objects[i];
        if (strcmp(object->origin, origin) != 0 || strcmp(object->name, name) != 0)
            continue;
        if (!stat_is_current(table, object))
            return object;
        nth++;
    }
    if (table->count == STATS_OBJECTS_MAX)
        return NULL;
    struct stat_object *grown = realloc(table->objects, (table->count + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    table->objects = grown;
    struct stat_object *object = &grown[table->count++];
    *object = (struct stat_object){.nth = nth};
    snprintf(object->origin, sizeof object->origin, "%s", origin);
    snprintf(object->name, sizeof object->name, "%s", name);
    return object;
}

/* An action's omfwd objects stand right before it: what they sent is what the action delivered. */
static void transport_take(struct stat_table *table, struct stat_object *object)
{
    if (strcmp(object->origin, "omfwd") == 0) {
        table->transport = true;
        table->transport_bytes += stat_value(object, "bytes.sent");
        return;
    }
    if (strcmp(object->origin, "core.action") == 0) {
        object->has_transport = table->transport;
        object->transport_bytes = table->transport_bytes;
    }
    table->transport = false;
    table->transport_bytes = 0;
}

static void group_take(struct stat_table *table, struct stat_object *object, const char *group,
                       json_t *values)
{
    const char *key;
    json_t *value;
    json_object_foreach(values, key, value)
    {
        if (json_is_integer(value) && json_integer_value(value) >= 0)
            counter_take(table, object, group, key, (uint64_t)json_integer_value(value));
    }
}

static bool object_read(struct stat_table *table, json_t *root)
{
    const char *origin = json_string_value(json_object_get(root, "origin"));
    const char *name = json_string_value(json_object_get(root, "name"));
    if (origin == NULL || name == NULL || strlen(origin) >= STATS_NAME_BYTES / 2 ||
        strlen(name) >= STATS_NAME_BYTES)
        return false;
    struct stat_object *object = object_take(table, origin, name);
    if (object == NULL)
        return false;
    object->sample = table->sample;
    group_take(table, object, NULL, root);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (json_is_object(value))
            group_take(table, object, key, value);
    }
    transport_take(table, object);
    return true;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum stat_event stat_table_take(struct stat_table *table, const char *line, size_t bytes)
{
    while (bytes > 0 && *line == ' ') {
        line++;
        bytes--;
    }
    if (strcmp(line, "BEGIN") == 0) {
        table->sample++;
        table->open = true;
        return STAT_BEGIN;
    }
    if (!table->open)
        return STAT_LINE; /* the beginning was missed: the next sample is whole again */
    if (strcmp(line, "END") == 0) {
        table->open = false;
        return STAT_END;
    }
    json_t *root = json_loadb(line, bytes, 0, NULL);
    if (!json_is_object(root) || !object_read(table, root))
        table->refused++;
    json_decref(root);
    return STAT_LINE;
}

void stat_table_clear(struct stat_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        for (size_t c = 0; c < table->objects[i].counter_count; c++)
            free(table->objects[i].counters[c].key);
        free(table->objects[i].counters);
    }
    free(table->objects);
    *table = (struct stat_table){0};
}

struct stat_object *stat_find(const struct stat_table *table, const char *origin, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        struct stat_object *object = &table->objects[i];
        if (stat_is_current(table, object) && strcmp(object->origin, origin) == 0 &&
            strcmp(object->name, name) == 0)
            return object;
    }
    return NULL;
}

bool stat_get(const struct stat_object *object, const char *key, uint64_t *value)
{
    const struct stat_counter *counter = counter_find(object, key);
    *value = counter != NULL ? counter->value : 0;
    return counter != NULL;
}

uint64_t stat_value(const struct stat_object *object, const char *key)
{
    uint64_t value;
    (void)stat_get(object, key, &value);
    return value;
}
