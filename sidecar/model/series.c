/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The series table. A stream is known by name, unit, kind of data and its set of attributes. What
 * names it is copied into an arena that only ever grows, up to a bound: a region that invents new
 * names for ever costs that much and no more, and the series beyond are left out.
 */
#include "series.h"

#include "catalogue.h"
#include "hash_index.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX       ((size_t)1 << 17)
#define SERIES_BYTES_MAX ((size_t)64 << 20)
#define PREFIX_DEFAULT   "forwarder"
#define NOT_IN_TABLE     SIZE_MAX

/* The limit of the layout; what is beyond it is left out. */
enum { ATTRIBUTES_MAX = 32 };

struct series_table {
    struct arena *arena;
    const char **names; /* of the catalogue's entries, with the prefix */
    struct hash_index by_identity, by_metric;
    struct series_node **nodes;
    size_t count, capacity;
    struct series_metric **metrics;
    size_t metric_count, metric_capacity;
    /* The row that is being made. */
    uint64_t row_number;
    uint64_t *words;
    size_t word_count, word_capacity;
    uint8_t *states; /* enum sample_state, one a node */
    size_t state_capacity;
    bool out_of_memory;
    struct point_row *recycled;  /* NULL, or the block of a row that nobody needs any more */
    struct series_place *places; /* of instruments */
    size_t place_count;
    struct series_companion *companion;
};

/* ---- life ---------------------------------------------------------------------------------------
 */

/* A copy of `prefix` and then `name`, or NULL. */
static const char *copy_joined(struct arena *arena, const char *prefix, const char *name)
{
    const size_t prefix_bytes = strlen(prefix), name_bytes = strlen(name);
    char *copy = arena_alloc(arena, prefix_bytes + name_bytes + 1);
    if (copy != NULL) {
        memcpy(copy, prefix, prefix_bytes);
        memcpy(copy + prefix_bytes, name, name_bytes);
    }
    return copy;
}

static bool name_catalogue(struct series_table *table, const char *prefix)
{
    table->names = arena_array(table->arena, catalogue_count, sizeof table->names[0]);
    if (table->names == NULL) {
        return false;
    }
    for (size_t i = 0; i < catalogue_count; i++) {
        const char *name = catalogue[i].name;
        table->names[i] = copy_joined(table->arena, name[0] == '.' ? prefix : "", name);
        if (table->names[i] == NULL) {
            return false;
        }
    }
    return true;
}

struct series_table *series_table_new(const char *metric_prefix)
{
    const bool given = metric_prefix != NULL && metric_prefix[0] != '\0';
    struct series_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return NULL;
    }
    table->arena = arena_new(SERIES_BYTES_MAX);
    table->companion = calloc(1, sizeof *table->companion);
    if (table->arena == NULL || table->companion == NULL ||
        !name_catalogue(table, given ? metric_prefix : PREFIX_DEFAULT)) {
        series_table_free(&table);
    }
    return table;
}

struct series_table *series_table_new_self(void)
{
    return series_table_new(NULL);
}

void series_table_free(struct series_table **table)
{
    if (*table == NULL) {
        return;
    }
    free((*table)->recycled);
    if ((*table)->companion != NULL && (*table)->companion->data != NULL) {
        (*table)->companion->drop((*table)->companion->data);
    }
    free((*table)->companion);
    free((*table)->places);
    free((*table)->states);
    free((*table)->words);
    free((*table)->metrics);
    free((*table)->nodes);
    hash_index_free(&(*table)->by_metric);
    hash_index_free(&(*table)->by_identity);
    arena_free(&(*table)->arena);
    free(*table);
    *table = NULL;
}

size_t series_table_bytes(const struct series_table *table)
{
    const struct series_companion *companion = table->companion;
    const struct point_row *recycled = table->recycled;
    return sizeof *table + arena_bytes(table->arena) + hash_index_bytes(&table->by_identity) +
           hash_index_bytes(&table->by_metric) + table->capacity * sizeof table->nodes[0] +
           table->metric_capacity * sizeof table->metrics[0] +
           table->word_capacity * sizeof table->words[0] + table->state_capacity +
           table->place_count * sizeof table->places[0] +
           (recycled != NULL ? point_row_bytes(recycled) : 0) +
           (companion->data != NULL ? companion->bytes(companion->data) : 0);
}

size_t series_table_count(const struct series_table *table)
{
    return table->count;
}

const struct series *series_table_at(const struct series_table *table, size_t index)
{
    return &table->nodes[index]->series;
}

struct series_companion *series_table_companion(const struct series_table *table)
{
    return table->companion;
}

size_t series_metric_count(const struct series_table *table)
{
    return table->metric_count;
}

const struct series_metric *series_metric_at(const struct series_table *table, size_t index)
{
    return table->metrics[index];
}

const char *series_table_name(const struct series_table *table, size_t index)
{
    return table->names[index];
}

/* ---- identity -----------------------------------------------------------------------------------
 */

bool series_is_gauge(enum series_kind kind)
{
    return kind == SERIES_GAUGE_INT || kind == SERIES_GAUGE_UINT || kind == SERIES_GAUGE_DOUBLE;
}

/* Kinds that OTLP cannot tell apart are one kind of data. */
static unsigned char kind_of_data(enum series_kind kind)
{
    return (unsigned char)(series_is_gauge(kind) ? SERIES_GAUGE_INT : kind);
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return hash_bytes(hash, text, strlen(text) + 1);
}

static uint64_t metric_hash(const struct series *series)
{
    const unsigned char kind = kind_of_data(series->kind);
    return hash_text(hash_text(hash_bytes(HASH_START, &kind, 1), series->name), series->unit);
}

static bool metric_equal(const struct series *a, const struct series *b)
{
    return kind_of_data(a->kind) == kind_of_data(b->kind) && strcmp(a->name, b->name) == 0 &&
           strcmp(a->unit, b->unit) == 0;
}

static uint64_t attribute_hash(const struct attribute *attribute)
{
    const unsigned char type = (unsigned char)attribute->type;
    const uint64_t hash = hash_text(hash_bytes(HASH_START, &type, 1), attribute->key);
    switch (attribute->type) {
    case ATTRIBUTE_STRING:
        return hash_text(hash, attribute->string);
    case ATTRIBUTE_INT:
        return hash_bytes(hash, &attribute->integer, sizeof attribute->integer);
    case ATTRIBUTE_DOUBLE:
        return hash_bytes(hash, &attribute->real, sizeof attribute->real);
    case ATTRIBUTE_BOOL:
        return hash_bytes(hash, &attribute->boolean, sizeof attribute->boolean);
    }
    return hash;
}

static bool attribute_equal(const struct attribute *a, const struct attribute *b)
{
    if (a->type != b->type || strcmp(a->key, b->key) != 0) {
        return false;
    }
    switch (a->type) {
    case ATTRIBUTE_STRING:
        return strcmp(a->string, b->string) == 0;
    case ATTRIBUTE_INT:
        return a->integer == b->integer;
    case ATTRIBUTE_DOUBLE:
        return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    case ATTRIBUTE_BOOL:
        return a->boolean == b->boolean;
    }
    return false;
}

/* Attributes are a set: their order does not count, so their hashes are added up. */
static uint64_t series_hash(const struct series *series)
{
    uint64_t hash = metric_hash(series);
    for (size_t i = 0; i < series->attribute_count; i++) {
        hash += attribute_hash(&series->attributes[i]);
    }
    return hash_bytes(HASH_START, &hash, sizeof hash);
}

static bool has_attribute(const struct series *series, const struct attribute *wanted)
{
    for (size_t i = 0; i < series->attribute_count; i++) {
        if (attribute_equal(&series->attributes[i], wanted)) {
            return true;
        }
    }
    return false;
}

static bool identity_equal(const void *item, const void *wanted)
{
    const struct series *a = &((const struct series_node *)item)->series;
    const struct series *b = wanted;
    if (!metric_equal(a, b) || a->attribute_count != b->attribute_count) {
        return false;
    }
    for (size_t i = 0; i < b->attribute_count; i++) {
        if (!has_attribute(a, &b->attributes[i])) {
            return false;
        }
    }
    return true;
}

static bool metric_item_equal(const void *item, const void *wanted)
{
    return metric_equal(&((const struct series_metric *)item)->first->series, wanted);
}

/* The same layout of words, so that a value of one may stand in a row for the other. */
static bool same_shape(const struct series *a, const struct series *b)
{
    if (a->kind != b->kind || a->bound_count != b->bound_count) {
        return false;
    }
    for (size_t i = 0; i < a->bound_count; i++) {
        if (memcmp(&a->bounds[i], &b->bounds[i], sizeof a->bounds[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- growing ------------------------------------------------------------------------------------
 */

/* Room for `needed` items in a heap array; false when memory is out. */
static bool reserve(void **array, size_t *capacity, size_t needed, size_t item_bytes)
{
    if (needed <= *capacity) {
        return true;
    }
    const size_t wider = needed < 32 ? 64 : 2 * needed;
    void *moved = realloc(*array, wider * item_bytes);
    if (moved == NULL) {
        return false;
    }
    *array = moved;
    *capacity = wider;
    return true;
}

static bool reserve_one_more(struct series_table *table, size_t point_words)
{
    void *nodes = table->nodes, *metrics = table->metrics;
    void *words = table->words, *states = table->states;
    const bool done =
        reserve(&nodes, &table->capacity, table->count + 1, sizeof table->nodes[0]) &&
        reserve(&metrics, &table->metric_capacity, table->metric_count + 1,
                sizeof table->metrics[0]) &&
        reserve(&words, &table->word_capacity, table->word_count + point_words,
                sizeof table->words[0]) &&
        reserve(&states, &table->state_capacity, table->count + 1, sizeof table->states[0]);
    table->nodes = nodes;
    table->metrics = metrics;
    table->words = words;
    table->states = states;
    table->out_of_memory = table->out_of_memory || !done;
    return done;
}

static bool copy_attribute(struct arena *arena, const struct attribute *from, struct attribute *to)
{
    *to = *from;
    to->key = copy_joined(arena, "", from->key);
    if (from->type == ATTRIBUTE_STRING) {
        to->string = copy_joined(arena, "", from->string);
    }
    return to->key != NULL && (to->type != ATTRIBUTE_STRING || to->string != NULL);
}

/* Copies what describes a series into the arena. */
static bool copy_series(struct arena *arena, const struct series *from, struct series *to)
{
    struct attribute *attributes = arena_array(arena, from->attribute_count, sizeof attributes[0]);
    double *bounds = arena_array(arena, from->bound_count, sizeof bounds[0]);
    *to = *from;
    to->name = copy_joined(arena, "", from->name);
    to->unit = copy_joined(arena, "", from->unit);
    to->description = copy_joined(arena, "", from->description);
    to->attributes = attributes;
    to->bounds = bounds;
    if (attributes == NULL || bounds == NULL || to->name == NULL || to->unit == NULL ||
        to->description == NULL) {
        return false;
    }
    for (size_t i = 0; i < from->attribute_count; i++) {
        if (!copy_attribute(arena, &from->attributes[i], &attributes[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < from->bound_count; i++) {
        bounds[i] = from->bounds[i];
    }
    return true;
}

/* Hangs the node into its metric, which begins with it if it is the first. */
static bool join_metric(struct series_table *table, struct series_node *node)
{
    const uint64_t hash = metric_hash(&node->series);
    struct series_metric *metric =
        hash_index_find(&table->by_metric, hash, metric_item_equal, &node->series);
    if (metric != NULL) {
        metric->last->next = node;
        metric->last = node;
        return true;
    }
    metric = arena_alloc(table->arena, sizeof *metric);
    if (metric == NULL) {
        return false;
    }
    *metric = (struct series_metric){.first = node, .last = node};
    if (!hash_index_add(&table->by_metric, hash, metric)) {
        return false;
    }
    table->metrics[table->metric_count++] = metric;
    return true;
}

static bool bounds_are_sound(const struct series *series)
{
    for (size_t i = 0; i < series->bound_count; i++) {
        if (!isfinite(series->bounds[i]) ||
            (i > 0 && !(series->bounds[i] > series->bounds[i - 1]))) {
            return false;
        }
    }
    return true;
}

/* A new series at the end of the table; NULL when it is refused. One that is refused half-way stays
 * in the index as not in the table, so that it is not tried again at every row. */
static struct series_node *table_add(struct series_table *table, const struct sample *sample,
                                     const struct series *series, uint64_t hash)
{
    const size_t words = series->kind == SERIES_HISTOGRAM ? series->bound_count + 2 : 1;
    if (table->count >= SERIES_MAX || series->name[0] == '\0' || !bounds_are_sound(series) ||
        !reserve_one_more(table, words)) {
        return NULL;
    }
    struct series_node *node = arena_alloc(table->arena, sizeof *node);
    if (node == NULL || !copy_series(table->arena, series, &node->series)) {
        return NULL;
    }
    node->owner = sample->owner;
    node->index = NOT_IN_TABLE;
    if (!hash_index_add(&table->by_identity, hash, node) || !join_metric(table, node)) {
        return NULL;
    }
    node->series.point_index = table->word_count;
    node->series.point_words = words;
    node->index = table->count;
    memset(table->words + table->word_count, 0, words * sizeof table->words[0]);
    table->states[table->count] = SAMPLE_NONE;
    table->word_count += words;
    table->nodes[table->count++] = node;
    return node;
}

/* ---- a row --------------------------------------------------------------------------------------
 */

void series_row_begin(struct series_table *table)
{
    table->row_number++;
    table->out_of_memory = false;
    if (table->count > 0) {
        memset(table->words, 0, table->word_count * sizeof table->words[0]);
        memset(table->states, SAMPLE_NONE, table->count);
    }
}

/* Copies the attributes whose key is not empty and was not there before; returns how many. */
static size_t unique_attributes(const struct attribute *given, size_t count, struct attribute *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < ATTRIBUTES_MAX; i++) {
        bool wanted = given[i].key[0] != '\0';
        for (size_t j = 0; j < kept && wanted; j++) {
            wanted = strcmp(given[i].key, out[j].key) != 0;
        }
        if (wanted) {
            out[kept++] = given[i];
        }
    }
    return kept;
}

void series_row_put_again(struct series_table *table, struct series_node *node,
                          enum sample_state state, const uint64_t *words)
{
    if (node->row == table->row_number) {
        return;
    }
    node->row = table->row_number;
    table->states[node->index] = (uint8_t)state;
    if (state == SAMPLE_GOOD) {
        for (size_t i = 0; i < node->series.point_words; i++) {
            table->words[node->series.point_index + i] = words[i];
        }
    }
}

struct series_node *series_row_put(struct series_table *table, const struct sample *sample)
{
    struct attribute attributes[ATTRIBUTES_MAX];
    struct series series = sample->series;
    series.attribute_count =
        unique_attributes(series.attributes, series.attribute_count, attributes);
    series.attributes = attributes;
    const uint64_t hash = series_hash(&series);
    struct series_node *node = hash_index_find(&table->by_identity, hash, identity_equal, &series);
    if (node == NULL && sample->state == SAMPLE_GOOD) {
        node = table_add(table, sample, &series, hash);
    }
    if (node == NULL || node->index == NOT_IN_TABLE || node->owner != sample->owner ||
        !same_shape(&node->series, &series)) {
        return NULL;
    }
    series_row_put_again(table, node, sample->state, sample->words);
    return node;
}

struct series_place *series_table_places(struct series_table *table, size_t count)
{
    if (count > table->place_count) {
        struct series_place *moved = realloc(table->places, count * sizeof *moved);
        if (moved == NULL) {
            return NULL;
        }
        memset(moved + table->place_count, 0, (count - table->place_count) * sizeof *moved);
        table->places = moved;
        table->place_count = count;
    }
    return table->places;
}

static enum point_state point_state_of(const struct series_table *table, size_t index,
                                       const struct point_row *previous)
{
    const enum sample_state state = (enum sample_state)table->states[index];
    if (state == SAMPLE_GOOD) {
        return POINT_GOOD;
    }
    const bool had_value =
        previous != NULL && index < previous->series_count && previous->states[index] == POINT_GOOD;
    if (state == SAMPLE_UNSET && had_value && series_is_gauge(table->nodes[index]->series.kind)) {
        return POINT_ENDED;
    }
    return POINT_ABSENT;
}

void series_table_recycle(struct series_table *table, struct point_row *row)
{
    if (row != NULL) {
        free(table->recycled);
        table->recycled = row;
    }
}

/* Memory for a row of the series so far. */
static struct point_row *row_block(struct series_table *table)
{
    struct point_row *row = table->recycled;
    table->recycled = NULL;
    if (row != NULL && row->series_count == table->count && row->word_count == table->word_count) {
        return row;
    }
    free(row);
    const struct point_row wanted = {.series_count = table->count, .word_count = table->word_count};
    return malloc(point_row_bytes(&wanted));
}

struct point_row *series_row_end(struct series_table *table, uint64_t time_unix_ns,
                                 const struct point_row *previous)
{
    struct point_row *row = table->out_of_memory ? NULL : row_block(table);
    if (row == NULL) {
        return NULL;
    }
    uint64_t *words = (uint64_t *)(row + 1);
    *row = (struct point_row){
        .time_unix_ns = time_unix_ns,
        .series_count = table->count,
        .word_count = table->word_count,
        .words = words,
        .states = (uint8_t *)(words + table->word_count),
    };
    if (table->count > 0) {
        memcpy(row->words, table->words, table->word_count * sizeof table->words[0]);
    }
    for (size_t i = 0; i < table->count; i++) {
        row->states[i] = (uint8_t)point_state_of(table, i, previous);
    }
    return row;
}

const uint64_t *series_point(const struct series_node *node, const struct point_row *row)
{
    if (node->index >= row->series_count || row->states[node->index] != POINT_GOOD) {
        return NULL;
    }
    return row->words + node->series.point_index;
}

bool series_ended(const struct series_node *node, const struct point_row *row)
{
    return node->index < row->series_count && row->states[node->index] == POINT_ENDED;
}
