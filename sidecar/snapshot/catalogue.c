/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a forwarder registers: instruments, pipelines, components. Append-only, so each entry is
 * read once, when its state word says that it is complete, and kept until the region is closed. An
 * entry that is malformed, or that was there before, is passed over and counted; as entries never
 * change, the indexes of all others are the same at every reading.
 */
#include "snapshot_private.h"

#include "utf8.h"

#include <math.h>
#include <string.h>

enum { ENTRY_FREE = 0, ENTRY_PUBLISHED = 1 };

/* Places of the index that are looked at for one instrument. A forwarder's names need a handful;
 * names made to collide are refused beyond it, before they cost time. */
enum { INDEX_PROBES = 128 };

bool catalogue_init(struct region *region)
{
    struct catalogue *c = &region->catalogue;
    const size_t instruments = region->sections[FWS_SECTION_INSTRUMENTS].count;
    const size_t pipelines = region->sections[FWS_SECTION_PIPELINES].count;
    const size_t components = region->sections[FWS_SECTION_COMPONENTS].count;
    size_t index_count = 2;

    while (index_count < 4 * instruments) /* at most a quarter full; 18 rounds at most */
        index_count *= 2;
    c->index_mask = index_count - 1;
    c->index = arena_array(c->arena, index_count, sizeof *c->index);
    c->instruments = arena_array(c->arena, instruments, sizeof *c->instruments);
    c->runs = arena_array(c->arena, instruments, sizeof *c->runs);
    c->setting_runs = arena_array(c->arena, instruments, sizeof *c->setting_runs);
    c->distributions = arena_array(c->arena, instruments, sizeof *c->distributions);
    c->pipelines = arena_array(c->arena, pipelines, sizeof *c->pipelines);
    c->pipeline_of_entry = arena_array(c->arena, pipelines, sizeof *c->pipeline_of_entry);
    c->components = arena_array(c->arena, components, sizeof *c->components);
    return c->index != NULL && c->instruments != NULL && c->runs != NULL &&
           c->setting_runs != NULL && c->distributions != NULL && c->pipelines != NULL &&
           c->pipeline_of_entry != NULL && c->components != NULL;
}

/* ---- references into STRINGS ----------------------------------------------------------------- */

/* [guarded] Copies the first `max` bytes of what `ref` names. False: it is outside the section, or
 * not aligned. *bytes is how many there are in out. */
static bool reference_copy(const struct region *region, uint64_t ref, size_t max, uint64_t *out,
                           size_t *bytes)
{
    const struct section *strings = &region->sections[FWS_SECTION_STRINGS];
    const uint64_t offset = FWS_REF_OFFSET(ref), length = FWS_REF_LENGTH(ref);

    *bytes = 0;
    if (length == 0)
        return true;
    if (region->findings != NULL)
        region->findings->verified.references++;
    if (strings->words == NULL || offset % FWS_WORD_BYTES != 0 ||
        !fws_inside(offset, length, (uint64_t)strings->count * strings->stride * FWS_WORD_BYTES))
        return false;
    *bytes = length < max ? (size_t)length : max;
    words_copy(strings->words + offset / FWS_WORD_BYTES, (size_t)fws_words_of(*bytes), out);
    return true;
}

/* [guarded] NULL: outside the section, or no room. Longer than `max` bytes: cut. */
static const char *reference_text(struct region *region, uint64_t ref, size_t max)
{
    size_t bytes;
    if (!reference_copy(region, ref, max, region->scratch, &bytes))
        return NULL;
    return utf8_repair(region->catalogue.arena, (const char *)region->scratch, bytes, NULL);
}

/* ---- instruments ----------------------------------------------------------------------------- */

static bool bounds_valid(const double *bounds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1]))
            return false;
    return true;
}

/* [guarded] */
static bool bounds_read(struct region *region, uint64_t ref, struct instrument *out)
{
    const uint64_t length = FWS_REF_LENGTH(ref);
    size_t bytes;

    if (length == 0 || length % sizeof(double) != 0 || length > FWS_BOUNDS_MAX * sizeof(double) ||
        !reference_copy(region, ref, FWS_BOUNDS_MAX * sizeof(double), region->scratch, &bytes))
        return false;
    double *bounds = arena_alloc(region->catalogue.arena, bytes);
    if (bounds == NULL)
        return false;
    memcpy(bounds, region->scratch, bytes);
    out->bounds = bounds;
    out->bound_count = bytes / sizeof(double);
    return bounds_valid(bounds, out->bound_count);
}

/* [guarded] */
static bool instrument_attributes_read(struct region *region, const uint64_t *entry,
                                       struct instrument *out)
{
    const uint64_t length = FWS_REF_LENGTH(entry[FWS_I_ATTRS]), count = entry[FWS_I_ATTR_COUNT];
    size_t bytes;

    if (length % FWS_WORD_BYTES != 0 || length > FWS_ATTR_WORDS_MAX * FWS_WORD_BYTES ||
        count > FWS_ATTRS_MAX ||
        !reference_copy(region, entry[FWS_I_ATTRS], FWS_ATTR_WORDS_MAX * FWS_WORD_BYTES,
                        region->scratch, &bytes))
        return false;
    out->attribute_count = (size_t)count;
    return attributes_build(region->catalogue.arena, region->scratch, bytes / FWS_WORD_BYTES,
                            out->attribute_count, &out->attributes);
}

/* How many slots of a lane an instrument takes. */
static size_t instrument_slots(const struct instrument *instrument)
{
    switch (instrument->kind) {
    case INSTRUMENT_COUNTER:
    case INSTRUMENT_UPDOWN:
        return 1;
    case INSTRUMENT_TOTAL:
    case INSTRUMENT_GAUGE:
        return 2;
    case INSTRUMENT_HISTOGRAM:
        break;
    }
    return 2 + instrument->bound_count + 1;
}

/* [guarded] Makes an instrument of a private copy of its entry. False: malformed, or no room. */
static bool instrument_read(struct region *region, const uint64_t *entry, struct instrument *out)
{
    struct catalogue *c = &region->catalogue;
    const size_t slots_there = region->sections[FWS_SECTION_VALUES].count;

    if (entry[FWS_I_KIND] < FWS_KIND_COUNTER || entry[FWS_I_KIND] > FWS_KIND_HISTOGRAM ||
        entry[FWS_I_NUMBER] > FWS_NUMBER_DOUBLE)
        return false;
    *out = (struct instrument){
        .kind = (enum instrument_kind)entry[FWS_I_KIND],
        .is_double = entry[FWS_I_NUMBER] == FWS_NUMBER_DOUBLE,
    };
    if (out->kind == INSTRUMENT_HISTOGRAM && !bounds_read(region, entry[FWS_I_BOUNDS], out))
        return false;
    const size_t slots = instrument_slots(out);
    /* No two instruments share slots, so together they never claim more than there are: this
     * bounds the memory of a reading by the size of the region. */
    if (entry[FWS_I_SLOTS] != slots || !fws_inside(entry[FWS_I_SLOT], slots, slots_there) ||
        slots > slots_there - c->slots_claimed)
        return false;
    out->name = reference_text(region, entry[FWS_I_NAME], FWS_NAME_BYTES_MAX);
    out->unit = reference_text(region, entry[FWS_I_UNIT], FWS_NAME_BYTES_MAX);
    out->description = reference_text(region, entry[FWS_I_DESCRIPTION], FWS_DESCRIPTION_BYTES_MAX);
    return out->name != NULL && out->name[0] != '\0' && out->unit != NULL &&
           out->description != NULL && instrument_attributes_read(region, entry, out);
}

static bool attribute_equal(const struct attribute *a, const struct attribute *b)
{
    if (a->type != b->type || strcmp(a->key, b->key) != 0)
        return false;
    switch (a->type) {
    case ATTRIBUTE_STRING:
        return strcmp(a->string, b->string) == 0;
    case ATTRIBUTE_INT:
        return a->integer == b->integer;
    case ATTRIBUTE_DOUBLE:
        return memcmp(&a->real, &b->real, sizeof a->real) == 0;
    case ATTRIBUTE_BOOL:
        break;
    }
    return a->boolean == b->boolean;
}

/* The same series: two of them in one document would be two truths about one thing. */
static bool instrument_equal(const struct instrument *a, const struct instrument *b)
{
    if (a->kind != b->kind || a->is_double != b->is_double ||
        a->attribute_count != b->attribute_count || strcmp(a->name, b->name) != 0)
        return false;
    for (size_t i = 0; i < a->attribute_count; i++)
        if (!attribute_equal(&a->attributes[i], &b->attributes[i]))
            return false;
    return true;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Equal instruments have equal hashes. Of doubles and booleans the key alone tells. */
static uint64_t instrument_hash(const struct instrument *instrument)
{
    uint64_t hash =
        hash_bytes(UINT64_C(0xcbf29ce484222325), instrument->name, strlen(instrument->name) + 1);
    for (size_t i = 0; i < instrument->attribute_count; i++) {
        const struct attribute *a = &instrument->attributes[i];
        hash = hash_bytes(hash, a->key, strlen(a->key) + 1);
        if (a->type == ATTRIBUTE_STRING)
            hash = hash_bytes(hash, a->string, strlen(a->string) + 1);
        else if (a->type == ATTRIBUTE_INT)
            hash = hash_bytes(hash, &a->integer, sizeof a->integer);
    }
    return hash ^ hash >> 32;
}

/* Where this instrument is to be noted in the index. NULL: an equal one is there, or no place. */
static uint32_t *index_place(const struct catalogue *c, const struct instrument *instrument)
{
    const size_t first = (size_t)instrument_hash(instrument);
    for (size_t probe = 0; probe < INDEX_PROBES; probe++) {
        uint32_t *place = &c->index[(first + probe) & c->index_mask];
        if (*place == 0)
            return place;
        if (instrument_equal(&c->instruments[*place - 1], instrument))
            return NULL;
    }
    return NULL;
}

/* Notes where a reading finds the instrument's words. */
static void instrument_locate(struct catalogue *c, const struct instrument *instrument, size_t slot)
{
    const size_t number = c->instrument_count, value = instrument->value_index;

    if (instrument->kind == INSTRUMENT_HISTOGRAM) {
        c->distributions[c->distribution_count++] =
            (struct distribution){slot, value, instrument->bound_count + 1, number};
    } else if (instrument->kind == INSTRUMENT_GAUGE || instrument->kind == INSTRUMENT_TOTAL) {
        struct setting_run *last =
            c->setting_run_count > 0 ? &c->setting_runs[c->setting_run_count - 1] : NULL;
        if (last != NULL && last->slot + 2 * last->count == slot &&
            last->value + last->count == value && last->instrument + last->count == number)
            last->count++;
        else
            c->setting_runs[c->setting_run_count++] = (struct setting_run){slot, value, number, 1};
    } else {
        struct run *last = c->run_count > 0 ? &c->runs[c->run_count - 1] : NULL;
        if (last != NULL && last->slot + last->count == slot && last->value + last->count == value)
            last->count++;
        else
            c->runs[c->run_count++] = (struct run){slot, value, 1};
    }
}

static bool instrument_add(struct region *region, const uint64_t *entry)
{
    struct catalogue *c = &region->catalogue;
    struct instrument instrument;

    if (!instrument_read(region, entry, &instrument))
        return false;
    uint32_t *place = index_place(c, &instrument);
    if (place == NULL)
        return false;
    instrument.value_index = c->value_count;
    instrument.value_count =
        instrument.kind == INSTRUMENT_HISTOGRAM ? 1 + instrument.bound_count + 1 : 1;
    instrument_locate(c, &instrument, (size_t)entry[FWS_I_SLOT]);
    c->slots_claimed += instrument_slots(&instrument);
    c->value_count += instrument.value_count;
    c->instruments[c->instrument_count++] = instrument;
    *place = (uint32_t)c->instrument_count;
    return true;
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static bool pipeline_add(struct region *region, const uint64_t *entry)
{
    struct catalogue *c = &region->catalogue;
    const size_t index = c->pipelines_read.seen;
    const char *name = reference_text(region, entry[FWS_P_NAME], FWS_NAME_BYTES_MAX);

    if (name == NULL)
        return false;
    for (size_t i = 0; i < c->pipeline_count; i++)
        if (strcmp(c->pipelines[i].name, name) == 0)
            return false;
    /* The layout numbers the counters from 1: word 0 of a group is its sequence. */
    _Static_assert(FWS_B_BATCHES == BATCH_BATCHES + 1 && FWS_B_USED == BATCH_FIELDS + 1,
                   "the fields of a group are those of the snapshot, one further");
    const bool counted = index < region->sections[FWS_SECTION_BATCHES].count;
    c->pipelines[c->pipeline_count++] = (struct pipeline_entry){
        .name = name,
        .index = index,
        .absent = counted ? (uint32_t)(entry[FWS_P_ABSENT] >> 1) & BATCH_MASK : BATCH_MASK,
    };
    c->pipeline_of_entry[index] = (uint32_t)c->pipeline_count;
    return true;
}

/* ---- components ------------------------------------------------------------------------------ */

static void pipelines_read(struct region *region);

/* [guarded] The catalogue's number of the pipeline that stands at `entry`. */
static bool pipeline_find(struct region *region, uint64_t entry, size_t *out)
{
    struct catalogue *c = &region->catalogue;
    /* Registered after its pipeline, but perhaps both since pipelines were last read. */
    if (entry >= c->pipelines_read.seen)
        pipelines_read(region);
    if (entry >= c->pipelines_read.seen || c->pipeline_of_entry[entry] == 0)
        return false;
    *out = c->pipeline_of_entry[entry] - 1;
    return true;
}

static bool component_known(const struct catalogue *c, const struct component_entry *component)
{
    for (size_t i = 0; i < c->component_count; i++)
        if (c->components[i].pipeline == component->pipeline &&
            c->components[i].kind == component->kind &&
            strcmp(c->components[i].name, component->name) == 0)
            return true;
    return false;
}

static bool component_add(struct region *region, const uint64_t *entry)
{
    struct catalogue *c = &region->catalogue;
    const struct section *values = &region->sections[FWS_SECTION_VALUES];
    struct component_entry component = {.index = c->components_read.seen};

    if (entry[FWS_C_KIND] < FWS_INPUT || entry[FWS_C_KIND] > FWS_OUTPUT ||
        !pipeline_find(region, entry[FWS_C_PIPELINE], &component.pipeline) ||
        (values->words != NULL && !fws_inside(entry[FWS_C_SLOT], FWS_COUNTS, values->count)))
        return false;
    component.kind = (enum component_kind)entry[FWS_C_KIND];
    component.absent =
        values->words != NULL ? (uint32_t)entry[FWS_C_ABSENT] & COUNT_MASK : COUNT_MASK;
    component.slot = (size_t)entry[FWS_C_SLOT];
    component.name = component.kind == COMPONENT_TRANSFORM
                         ? ""
                         : reference_text(region, entry[FWS_C_NAME], FWS_NAME_BYTES_MAX);
    component.type = reference_text(region, entry[FWS_C_TYPE], FWS_DESCRIPTION_BYTES_MAX);
    if (component.name == NULL || component.type == NULL || component_known(c, &component))
        return false;
    c->components[c->component_count++] = component;
    return true;
}

/* ---- append-only tables ---------------------------------------------------------------------- */

/* [guarded] Reads on in a table up to its first free entry. `add` is given a private copy of the
 * entry's first `words` words, of which word 0 is the state. */
static void table_read(struct region *region, enum fws_section kind, size_t words,
                       struct progress *progress,
                       bool (*add)(struct region *region, const uint64_t *entry))
{
    const struct section *section = &region->sections[kind];
    const size_t refused_before = progress->refused;
    uint64_t entry[FWS_C_WORDS]; /* the longest of the three */

    if (section->words == NULL)
        return;
    for (; progress->seen < section->count; progress->seen++) {
        const fws_word *shared = section_entry(section, 0, progress->seen);
        /* Acquire: what stands in the entry, and in STRINGS, was written before this.
         * PAIRS WITH the shim's registration, which publishes the state last. */
        const uint64_t state = fws_observe(&shared[0]);
        if (state == ENTRY_FREE)
            break;
        words_copy(shared, words, entry);
        if (state == ENTRY_PUBLISHED && add(region, entry))
            continue;
        progress->refused++;
        finding_add(region, true, kind, shared,
                    state == ENTRY_PUBLISHED
                        ? "malformed, refers to what is not there, doubled, or too many"
                        : "its state is neither free nor published");
    }
    if (progress->refused != refused_before)
        section_note(region, kind,
                     "%zu of %zu entries unknown, malformed, doubled or too many: left out",
                     progress->refused, progress->seen);
}

/* [guarded] */
static void pipelines_read(struct region *region)
{
    table_read(region, FWS_SECTION_PIPELINES, FWS_P_WORDS, &region->catalogue.pipelines_read,
               pipeline_add);
}

void catalogue_read(struct region *region)
{
    struct catalogue *c = &region->catalogue;
    table_read(region, FWS_SECTION_INSTRUMENTS, FWS_I_WORDS, &c->instruments_read, instrument_add);
    pipelines_read(region);
    table_read(region, FWS_SECTION_COMPONENTS, FWS_C_WORDS, &c->components_read, component_add);
}
