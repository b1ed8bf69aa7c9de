/* SPDX-License-Identifier: Apache-2.0 */
/* The rings: draining them, and private copies of records, spans and attributes made into
 * structures. What is decoded here never touches the map. */
#include "snapshot_private.h"

#include "utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)RAW_ATTRIBUTES_MAX == (int)FWS_ATTRS_MAX, "a raw record holds all attributes");

/* ---- text and attributes --------------------------------------------------------------------- */

const char *text_padded(struct arena *arena, const uint64_t *words, size_t max)
{
    const char *bytes = (const char *)words;
    return utf8_repair(arena, bytes, strnlen(bytes, max), NULL);
}

/* The attribute at `words`, of which its head was found sound. */
static void attribute_view(const uint64_t *words, struct raw_attribute *out)
{
    const unsigned key_bytes = FWS_ATTR_KEY_BYTES(words[0]);
    const uint64_t *value = words + 1 + fws_words_of(key_bytes);

    out->type = (enum attribute_type)FWS_ATTR_TYPE(words[0]);
    out->key = (struct raw_text){(const char *)(words + 1), key_bytes};
    out->value = value;
    out->value_bytes = FWS_ATTR_VALUE_BYTES(words[0]);
}

/* Exactly `count` attributes of a private block. False: malformed, or too many. */
static bool attributes_view(const uint64_t *block, size_t words, size_t count, unsigned dropped,
                            struct raw_attributes *out)
{
    out->count = count;
    out->dropped = dropped;
    if (count > RAW_ATTRIBUTES_MAX)
        return false;
    for (size_t i = 0, at = 0; i < count; i++) {
        const size_t taken = at < words ? fws_attr_words(block[at], words - at - 1) : 0;
        if (taken == 0)
            return false;
        attribute_view(block + at, &out->list[i]);
        at += taken;
    }
    return true;
}

static const char *text_repair(struct arena *arena, const struct raw_text *text)
{
    return utf8_repair(arena, text->bytes, text->count, NULL);
}

static bool attribute_repair(struct arena *arena, const struct raw_attribute *from,
                             struct attribute *out)
{
    *out = (struct attribute){.type = from->type};
    out->key = text_repair(arena, &from->key);
    if (out->key == NULL)
        return false;
    switch (out->type) {
    case ATTRIBUTE_STRING:
        out->string = utf8_repair(arena, (const char *)from->value, from->value_bytes, NULL);
        return out->string != NULL;
    case ATTRIBUTE_INT:
        out->integer = (int64_t)from->value[0];
        return true;
    case ATTRIBUTE_DOUBLE:
        memcpy(&out->real, from->value, sizeof out->real);
        return true;
    case ATTRIBUTE_BOOL:
        out->boolean = from->value[0] != 0;
        return true;
    }
    return false;
}

static bool attributes_repair(struct arena *arena, const struct raw_attributes *from,
                              const struct attribute **out)
{
    *out = NULL;
    if (from->count == 0)
        return true;
    struct attribute *attributes = arena_array(arena, from->count, sizeof *attributes);
    if (attributes == NULL)
        return false;
    for (size_t i = 0; i < from->count; i++)
        if (!attribute_repair(arena, &from->list[i], &attributes[i]))
            return false;
    *out = attributes;
    return true;
}

bool attributes_build(struct arena *arena, const uint64_t *block, size_t words, size_t count,
                      const struct attribute **out)
{
    struct raw_attributes raw;
    *out = NULL;
    return attributes_view(block, words, count, 0, &raw) && attributes_repair(arena, &raw, out);
}

/* ---- spans and log lines --------------------------------------------------------------------- */

/* All but the end. The shim always writes a start: without one it is no span. */
static bool span_view(const struct span_words *words, struct raw_span *out)
{
    const uint64_t *head = words->head, meta = head[FWS_S_META];

    out->trace_id = (const uint8_t *)&head[FWS_S_TRACE_ID];
    out->span_id = (const uint8_t *)&head[FWS_S_SPAN_ID];
    out->parent_id = (const uint8_t *)&head[FWS_S_PARENT_ID];
    out->kind = FWS_SPAN_KIND(meta) >= 1 && FWS_SPAN_KIND(meta) <= 5 ? FWS_SPAN_KIND(meta) : 1;
    out->status = FWS_SPAN_STATUS(meta) <= 2 ? FWS_SPAN_STATUS(meta) : 0;
    out->name = (struct raw_text){(const char *)words->name, FWS_SPAN_NAME_BYTES(meta)};
    out->message = (struct raw_text){(const char *)words->message, FWS_SPAN_MESSAGE_BYTES(meta)};
    out->start_unix_ns = time_clamp(head[FWS_S_START_UNIX_NS]);
    out->end_unix_ns = 0;
    return out->start_unix_ns != 0 &&
           attributes_view(words->attributes, (size_t)head[FWS_S_ATTR_WORDS], FWS_SPAN_ATTRS(meta),
                           FWS_SPAN_DROPPED(meta), &out->attributes);
}

static bool span_repair(struct arena *arena, const struct raw_span *raw, struct span *out)
{
    memcpy(out->trace_id, raw->trace_id, sizeof out->trace_id);
    memcpy(out->span_id, raw->span_id, sizeof out->span_id);
    memcpy(out->parent_id, raw->parent_id, sizeof out->parent_id);
    out->kind = raw->kind;
    out->status = raw->status;
    out->name = text_repair(arena, &raw->name);
    out->message = text_repair(arena, &raw->message);
    out->start_unix_ns = raw->start_unix_ns;
    out->attribute_count = raw->attributes.count;
    out->attributes_dropped = raw->attributes.dropped;
    return out->name != NULL && out->message != NULL &&
           attributes_repair(arena, &raw->attributes, &out->attributes);
}

bool span_build(struct arena *arena, const struct span_words *words, struct span *out)
{
    struct raw_span raw;
    return span_view(words, &raw) && span_repair(arena, &raw, out);
}

/* Whether name, message and attributes lie inside what follows a head of head_words. */
static bool parts_fit(const struct record *record, size_t head_words, uint64_t first_bytes,
                      uint64_t second_bytes, uint64_t attribute_words)
{
    const uint64_t left = record->word_count - head_words;
    const uint64_t first = fws_words_of(first_bytes), second = fws_words_of(second_bytes);
    return first <= left && second <= left - first && attribute_words <= FWS_ATTR_WORDS_MAX &&
           attribute_words <= left - first - second;
}

bool record_view_span(const struct record *record, struct raw_span *out)
{
    const uint64_t *head = record->words;

    if (record->kind != RECORD_SPAN || record->word_count < FWS_S_WORDS)
        return false;
    const uint64_t name_bytes = FWS_SPAN_NAME_BYTES(head[FWS_S_META]);
    const uint64_t message_bytes = FWS_SPAN_MESSAGE_BYTES(head[FWS_S_META]);
    if (!parts_fit(record, FWS_S_WORDS, name_bytes, message_bytes, head[FWS_S_ATTR_WORDS]))
        return false;
    struct span_words words = {.head = head, .name = head + FWS_S_WORDS};
    words.message = words.name + fws_words_of(name_bytes);
    words.attributes = words.message + fws_words_of(message_bytes);
    if (!span_view(&words, out))
        return false;
    const uint64_t end = time_clamp(head[FWS_S_END_UNIX_NS]);
    out->end_unix_ns = end > out->start_unix_ns ? end : out->start_unix_ns;
    return true;
}

bool record_decode_span(struct arena *arena, const struct record *record, struct span *out)
{
    struct raw_span raw;

    *out = (struct span){.stage = ""};
    if (!record_view_span(record, &raw) || !span_repair(arena, &raw, out))
        return false;
    out->end_unix_ns = raw.end_unix_ns;
    return true;
}

bool record_view_log(const struct record *record, struct raw_log *out)
{
    const uint64_t *head = record->words;

    if (record->kind != RECORD_LOG || record->word_count < FWS_L_WORDS)
        return false;
    const uint64_t meta = head[FWS_L_META], body_bytes = head[FWS_L_BODY_BYTES];
    const uint64_t original_bytes = head[FWS_L_ORIGINAL_BYTES];
    if (body_bytes > FWS_LOG_BYTES_MAX || !parts_fit(record, FWS_L_WORDS, FWS_LOG_TEXT_BYTES(meta),
                                                     body_bytes, head[FWS_L_ATTR_WORDS]))
        return false;
    const uint64_t *text = head + FWS_L_WORDS;
    const uint64_t *body = text + fws_words_of(FWS_LOG_TEXT_BYTES(meta));
    const uint64_t *attributes = body + fws_words_of(body_bytes);

    out->trace_id = (const uint8_t *)&head[FWS_L_TRACE_ID];
    out->span_id = (const uint8_t *)&head[FWS_L_SPAN_ID];
    out->time_unix_ns = time_clamp(head[FWS_L_TIME_UNIX_NS]);
    out->observed_unix_ns = time_clamp(record->time_unix_ns);
    out->severity = FWS_LOG_SEVERITY(meta) <= 24 ? FWS_LOG_SEVERITY(meta) : 0;
    out->severity_text = (struct raw_text){(const char *)text, FWS_LOG_TEXT_BYTES(meta)};
    out->body = (struct raw_text){(const char *)body, (size_t)body_bytes};
    out->cut = original_bytes > body_bytes;
    out->original_bytes = time_clamp(out->cut ? original_bytes : body_bytes);
    return attributes_view(attributes, (size_t)head[FWS_L_ATTR_WORDS], FWS_LOG_ATTRS(meta),
                           FWS_LOG_DROPPED(meta), &out->attributes);
}

bool record_decode_log(struct arena *arena, const struct record *record, struct log_record *out)
{
    struct raw_log raw;

    *out = (struct log_record){0};
    if (!record_view_log(record, &raw))
        return false;
    out->time_unix_ns = raw.time_unix_ns;
    out->observed_unix_ns = raw.observed_unix_ns;
    out->severity = raw.severity;
    out->severity_text = text_repair(arena, &raw.severity_text);
    out->body = utf8_repair(arena, raw.body.bytes, raw.body.count, &out->body_bytes);
    out->cut = raw.cut;
    out->original_bytes = (size_t)raw.original_bytes;
    memcpy(out->trace_id, raw.trace_id, sizeof out->trace_id);
    memcpy(out->span_id, raw.span_id, sizeof out->span_id);
    out->attribute_count = raw.attributes.count;
    out->attributes_dropped = raw.attributes.dropped;
    return out->severity_text != NULL && out->body != NULL &&
           attributes_repair(arena, &raw.attributes, &out->attributes);
}

/* ---- rings ----------------------------------------------------------------------------------- */

/* Records of one guarded stretch: a few of the longest, or some hundred usual ones. */
enum { BATCH_WORDS = 4 * FWS_RECORD_WORDS_MAX };

static enum fws_section ring_section(const struct ring *ring)
{
    return ring->kind == RECORD_SPAN ? FWS_SECTION_SPAN_RINGS : FWS_SECTION_LOG_RINGS;
}

const fws_word *ring_word(const struct ring *ring, uint64_t position)
{
    const uint64_t mask = ring->reader.capacity / FWS_WORD_BYTES - 1;
    return ring->reader.data + (position / FWS_WORD_BYTES & mask);
}

static void ring_refuse(struct region *region, struct ring *ring)
{
    ring->corrupt = true;
    section_note(region, ring_section(ring),
                 "the ring of lane %zu contradicts itself: the others are served", ring->lane);
}

/* [guarded] */
static void ring_init(struct region *region, struct ring *ring, const struct section *section,
                      size_t lane, enum record_kind kind)
{
    uint64_t control[FWS_R_WORDS];
    const fws_word *words = section_entry(section, lane, 0);

    words_copy(words, FWS_R_WORDS, control);
    *ring = (struct ring){.kind = kind, .lane = lane};
    const uint64_t capacity = control[FWS_R_CAPACITY];
    if (capacity < FWS_LINE_BYTES || (capacity & (capacity - 1)) != 0 ||
        capacity > (section->stride - FWS_R_WORDS) * FWS_WORD_BYTES) {
        ring_refuse(region, ring);
        return;
    }
    fws_ring_reader_init(&ring->reader, words, words + FWS_R_WORDS, capacity, control[FWS_R_START],
                         control[FWS_R_START_NUMBER]);
}

bool rings_init(struct region *region)
{
    const struct section *spans = &region->sections[FWS_SECTION_SPAN_RINGS];
    const struct section *logs = &region->sections[FWS_SECTION_LOG_RINGS];
    struct arena *arena = region->catalogue.arena;

    region->rings = arena_array(arena, spans->lanes + logs->lanes, sizeof *region->rings);
    region->batch = arena_array(arena, BATCH_WORDS, sizeof *region->batch);
    if (region->rings == NULL || region->batch == NULL)
        return false;
    for (size_t lane = 0; lane < spans->lanes; lane++)
        ring_init(region, &region->rings[region->ring_count++], spans, lane, RECORD_SPAN);
    for (size_t lane = 0; lane < logs->lanes; lane++)
        ring_init(region, &region->rings[region->ring_count++], logs, lane, RECORD_LOG);
    return true;
}

/* ---- draining -------------------------------------------------------------------------------- */

struct draining {
    struct region *region;
    struct ring *ring;
    size_t records_max;
    size_t words; /* taken into region->batch */
    bool more;    /* the batch was full before the ring was empty */
};

/* [guarded] Takes whole records, head and payload, until the batch has no room for the longest. */
static void batch_take(void *arg)
{
    struct draining *d = arg;
    size_t words;

    d->more = false;
    for (size_t taken = 0; taken < d->records_max; taken++) {
        if (d->words + FWS_RECORD_WORDS_MAX > BATCH_WORDS) {
            d->more = true;
            return;
        }
        const enum fws_ring_result result =
            fws_ring_read(&d->ring->reader, d->region->batch + d->words, &words);
        if (result == FWS_RING_CORRUPT) {
            ring_refuse(d->region, d->ring);
            finding_add(d->region, true, ring_section(d->ring),
                        ring_word(d->ring, d->ring->reader.position),
                        "contradicts the ring: nothing behind it is read");
        }
        if (result != FWS_RING_RECORD)
            return;
        d->words += words;
    }
}

/* Decodes a record once, for region_verify() only. */
static void record_verify(struct region *region, const struct ring *ring, const uint64_t *head,
                          const struct record *record)
{
    struct verified *verified = &region->findings->verified;
    /* The arena of the reading that is not current: nobody holds anything of it. */
    struct arena *arena = region->readings[1 - region->current].arena;
    struct span span;
    struct log_record log;

    arena_reset(arena);
    if (record->kind == RECORD_SPAN && record_decode_span(arena, record, &span)) {
        verified->spans++;
        verified->attributes += span.attribute_count;
    } else if (record->kind == RECORD_LOG && record_decode_log(arena, record, &log)) {
        verified->logs++;
        verified->attributes += log.attribute_count;
    } else {
        finding_add(region, true, ring_section(ring), ring_word(ring, head[FWS_REC_POSITION]),
                    "malformed");
    }
}

/* Hands the batch out, but for misplaced records; returns how many it had, those included. */
static size_t batch_give(const struct draining *d,
                         void (*sink)(void *arg, const struct record *record), void *arg)
{
    size_t taken = 0;
    for (size_t at = 0; at < d->words; taken++) {
        const uint64_t *head = d->region->batch + at;
        /* Checked by fws_ring_read() on this very copy. */
        const size_t words = (size_t)(head[FWS_REC_LENGTH] / FWS_WORD_BYTES);
        const struct record record = {
            .kind = d->ring->kind,
            .time_unix_ns = time_clamp(head[FWS_REC_TIME_UNIX_NS]),
            .words = head + FWS_REC_WORDS,
            .word_count = words - FWS_REC_WORDS,
        };
        at += words;
        if (head[FWS_REC_KIND] != (uint64_t)d->ring->kind) {
            d->ring->misplaced++;
            finding_add(d->region, true, ring_section(d->ring),
                        ring_word(d->ring, head[FWS_REC_POSITION]), "a record of another kind");
            continue;
        }
        if (d->region->findings != NULL)
            record_verify(d->region, d->ring, head, &record);
        sink(arg, &record);
    }
    return taken;
}

/* Drains one ring of at most records_max records. The map is read in stretches, so that the sink
 * runs outside the guard and may do as it likes. */
static size_t ring_drain(struct region *region, struct ring *ring, size_t records_max,
                         void (*sink)(void *arg, const struct record *record), void *arg)
{
    struct draining d = {.region = region, .ring = ring, .more = true};
    size_t taken = 0;

    while (d.more && taken < records_max && !region->truncated && !ring->corrupt) {
        d.words = 0;
        d.records_max = records_max - taken;
        if (!fws_view_guard(&region->view, batch_take, &d)) {
            region->truncated = true;
            break;
        }
        taken += batch_give(&d, sink, arg);
    }
    return taken;
}

struct measuring {
    const struct region *region;
    unsigned fullest_permille;
};

/* [guarded] */
static void rings_measure(void *arg)
{
    struct measuring *m = arg;
    for (size_t i = 0; i < m->region->ring_count; i++) {
        const struct ring *ring = &m->region->rings[i];
        if (ring->corrupt)
            continue;
        /* Relaxed: only how much there is, not what. */
        const uint64_t waiting =
            fws_peek(&ring->reader.control[FWS_R_TAIL]) - ring->reader.position;
        const unsigned permille = waiting < ring->reader.capacity
                                      ? (unsigned)(waiting * 1000 / ring->reader.capacity)
                                      : 1000;
        if (permille > m->fullest_permille)
            m->fullest_permille = permille;
    }
}

size_t region_drain(struct region *region, size_t max_records,
                    void (*sink)(void *arg, const struct record *record), void *arg,
                    unsigned *fill_permille)
{
    struct measuring measuring = {.region = region};
    size_t taken = 0;

    if (!region->truncated && !fws_view_guard(&region->view, rings_measure, &measuring))
        region->truncated = true;
    if (fill_permille != NULL)
        *fill_permille = measuring.fullest_permille;
    /* Begins where the last call ended, so that a busy lane never starves the others. */
    for (size_t i = 0; i < region->ring_count && taken < max_records; i++) {
        struct ring *ring = &region->rings[region->ring_next];
        taken += ring_drain(region, ring, max_records - taken, sink, arg);
        region->ring_next = (region->ring_next + 1) % region->ring_count;
    }
    return taken;
}
