/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans. A live span is a private record and its copy in a slot of the region, so that a reader
 * sees it while it runs, and after a crash. Its end writes one record into the lane's ring and then
 * frees the slot, in this order: a writer that dies in between shows the span twice, never not at
 * all.
 */
#include "shim.h"

#include <string.h>

/* ---- slots ----------------------------------------------------------------------------------- */

/* A span's handle: epoch (16 bits), generation of its slot (32), slot + 1 (16). */
static fwdscope_span span_handle(const struct shim *shim, uint32_t slot)
{
    return (fwdscope_span){(uint64_t)(shim->epoch & 0xffff) << 48 |
                           (fws_peek(&shim->spans[slot].generation) & 0xffffffff) << 16 |
                           (slot + 1)};
}

/* The live span of a handle, or NULL. It may end at any moment, unless the caller owns it. */
static struct shim_span *span_live(struct shim *shim, fwdscope_span handle, uint32_t *slot)
{
    *slot = (uint32_t)(handle.id & 0xffff) - 1;
    if ((handle.id & 0xffff) == 0 || handle.id >> 48 != (shim->epoch & 0xffff) ||
        *slot >= shim->sizes.active_spans)
        return NULL;
    struct shim_span *span = &shim->spans[*slot];
    /* Acquire: the ids of this generation, when it is this one. PAIRS WITH span_fill. */
    return (uint32_t)fws_observe(&span->generation) == (uint32_t)(handle.id >> 16) ? span : NULL;
}

/* The same, for a call that changes the span: NULL also when another call is in the middle of
 * changing it, in another thread or below a signal handler. Nobody waits; what a host does wrong
 * here costs it this call. Every span that is not NULL is followed by span_leave(). */
static struct shim_span *span_enter(struct shim *shim, fwdscope_span handle, uint32_t *slot)
{
    uint64_t expected = 0;
    struct shim_span *span = span_live(shim, handle, slot);
    if (span == NULL || !fws_claim(&span->busy, &expected, 1))
        return NULL;
    if (span_live(shim, handle, slot) != NULL)
        return span;
    fws_publish(&span->busy, 0); /* it ended in between */
    return NULL;
}

static void span_leave(struct shim_span *span)
{
    fws_publish(&span->busy, 0);
}

/* Takes a free slot, or false after a bounded number of tries. */
static bool slot_take(struct shim *shim, uint32_t *slot)
{
    uint64_t head = fws_observe(&shim->free_spans);
    for (int attempt = 0; attempt < SHIM_TRIES; attempt++) {
        uint32_t index = (uint32_t)head;
        if (index == 0)
            return false;
        uint64_t next = fws_peek(&shim->spans[index - 1].next);
        uint64_t tag = (head >> 32) + 1; /* a slot that went and came back has another tag */
        /* Acquire: the private span as its last owner left it. PAIRS WITH slot_give. */
        if (fws_claim(&shim->free_spans, &head, tag << 32 | (uint32_t)next)) {
            *slot = index - 1;
            return true;
        }
    }
    return false;
}

static void slot_give(struct shim *shim, uint32_t slot)
{
    uint64_t head = fws_observe(&shim->free_spans);
    for (int attempt = 0; attempt < SHIM_TRIES * SHIM_TRIES; attempt++) {
        atomic_store_explicit(&shim->spans[slot].next, (uint32_t)head, memory_order_relaxed);
        uint64_t tag = (head >> 32) + 1;
        /* Release, by the claim's acq_rel: the next owner finds what we wrote. */
        if (fws_claim(&shim->free_spans, &head, tag << 32 | (slot + 1)))
            return;
    }
    /* Other threads won every one of 4,096 races: the slot stays out of use, nobody waits. */
}

/* ---- the slot in the region ------------------------------------------------------------------ */

static fws_word *slot_words(const struct shim *shim, uint32_t slot)
{
    return shim->active_words + (size_t)slot * FWS_A_WORDS;
}

static uint64_t span_meta(const struct shim_span *span)
{
    unsigned dropped = span->attributes_dropped < 0xffff ? span->attributes_dropped : 0xffff;
    return FWS_SPAN_META(span->kind, span->status, span->name_bytes, span->message_bytes,
                         span->attributes, dropped);
}

static void words_publish(fws_word *to, const uint64_t *from, size_t words)
{
    for (size_t i = 0; i < words; i++)
        fws_publish(&to[i], from[i]);
}

/* Shows a span that just began. */
static void slot_publish_start(const struct shim *shim, uint32_t slot, struct shim_span *span)
{
    fws_word *words = slot_words(shim, slot);
    fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
    fws_publish(&words[FWS_A_STATE], 1);
    fws_publish(&words[FWS_A_TRACE_ID], fws_peek(&span->trace_id[0]));
    fws_publish(&words[FWS_A_TRACE_ID + 1], fws_peek(&span->trace_id[1]));
    fws_publish(&words[FWS_A_SPAN_ID], fws_peek(&span->span_id));
    fws_publish(&words[FWS_A_PARENT_ID], span->parent_id);
    fws_publish(&words[FWS_A_META], span_meta(span));
    fws_publish(&words[FWS_A_ATTR_WORDS], 0);
    fws_publish(&words[FWS_A_START_UNIX_NS], span->start_unix_ns);
    fws_publish(&words[FWS_A_STAGE_START_UNIX_NS], 0);
    fws_publish(&words[FWS_A_OUTPUT_START_UNIX_NS], 0);
    words_publish(&words[FWS_A_NAME], span->name, (size_t)fws_words_of(span->name_bytes));
    fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
}

static void slot_publish_free(const struct shim *shim, uint32_t slot, struct shim_span *span)
{
    fws_word *words = slot_words(shim, slot);
    fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
    fws_publish(&words[FWS_A_STATE], 0);
    fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
}

/* ---- start ----------------------------------------------------------------------------------- */

/* What a child has of its parent. */
struct span_parent {
    bool live;
    uint64_t trace_id[2], span_id;
};

static void span_fill(struct shim_span *span, struct lane *lane, const struct span_parent *parent,
                      const char *name, enum fwdscope_span_kind kind, uint64_t start_unix_ns)
{
    size_t bytes = strnlen(name, FWS_NAME_BYTES_MAX + 1);
    span->name_bytes = (unsigned)text_cut(name, bytes, FWS_NAME_BYTES_MAX);
    words_of_text(span->name, name, span->name_bytes);
    span->kind = kind >= FWDSCOPE_SPAN_INTERNAL && kind <= FWDSCOPE_SPAN_CONSUMER
                     ? (unsigned)kind
                     : FWDSCOPE_SPAN_INTERNAL;
    span->status = FWDSCOPE_STATUS_UNSET;
    span->message_bytes = span->attributes = span->attributes_dropped = 0;
    span->attr_words = 0;
    span->start_unix_ns = start_unix_ns != 0 ? start_unix_ns : shim_now();
    span->stage_start_unix_ns = span->output_start_unix_ns = 0;
    /* Release: who finds ids of this span by an old handle finds the new generation too, which was
     * published when the slot became free. PAIRS WITH span_ids. */
    fws_publish(&span->span_id, lane_id(lane, 0));
    fws_publish(&span->trace_id[0], parent->live ? parent->trace_id[0] : lane_id(lane, 0));
    fws_publish(&span->trace_id[1], parent->live ? parent->trace_id[1] : lane_id(lane, 1));
    span->parent_id = parent->live ? parent->span_id : 0;
}

fwdscope_span fwdscope_span_child(fwdscope_span parent, const char *name,
                                  enum fwdscope_span_kind kind, uint64_t start_unix_ns)
{
    fwdscope_span none = {0};
    struct entry entry;
    struct span_parent from = {.live = false};
    uint32_t slot;
    if (!shim_enter(&entry))
        return none;
    if (!slot_take(entry.shim, &slot)) {
        fws_add(&entry.shim->header[FWS_H_SPANS_REFUSED], 1);
        lane_beat(entry.lane);
        shim_leave();
        return none;
    }
    struct shim_span *span = &entry.shim->spans[slot];
    from.live = span_ids(entry.shim, parent, from.trace_id, &from.span_id);
    span_fill(span, entry.lane, &from, name != NULL ? name : "", kind, start_unix_ns);
    slot_publish_start(entry.shim, slot, span);
    lane_beat(entry.lane);
    fwdscope_span handle = span_handle(entry.shim, slot);
    shim_leave();
    return handle;
}

fwdscope_span fwdscope_span_start(const char *name, enum fwdscope_span_kind kind,
                                  uint64_t start_unix_ns)
{
    return fwdscope_span_child((fwdscope_span){0}, name, kind, start_unix_ns);
}

/* ---- attributes, stage, status --------------------------------------------------------------- */

static size_t attr_words_at(const uint64_t *attrs, size_t at)
{
    return 1 + (size_t)fws_words_of(FWS_ATTR_KEY_BYTES(attrs[at])) +
           (size_t)fws_words_of(FWS_ATTR_VALUE_BYTES(attrs[at]));
}

/* Where an attribute with the key of the one encoded at `fresh` stands before it; fresh: nowhere.
 */
static size_t attr_find(const uint64_t *attrs, size_t fresh)
{
    unsigned key_bytes = FWS_ATTR_KEY_BYTES(attrs[fresh]);
    size_t at = 0;
    while (at < fresh && (FWS_ATTR_KEY_BYTES(attrs[at]) != key_bytes ||
                          memcmp(attrs + at + 1, attrs + fresh + 1, key_bytes) != 0))
        at += attr_words_at(attrs, at);
    return at;
}

/* Sets one attribute in the private span. Returns the first word that changed, or the end. */
static size_t span_set_one(struct shim_span *span, const struct fwdscope_attribute *attribute,
                           unsigned *lost)
{
    const size_t end = span->attr_words;
    unsigned cut = 0;
    /* Behind the end there is room for any one attribute: whether it fits is known when the one
     * that it replaces was found. */
    const size_t words = attr_encode(span->attrs + end, SHIM_ATTR_WORDS_MAX, attribute, &cut);
    const size_t at = words != 0 ? attr_find(span->attrs, end) : end;
    const size_t old = at < end ? attr_words_at(span->attrs, at) : 0;
    if (words == 0 || end - old + words > FWS_ATTR_WORDS_MAX ||
        (old == 0 && span->attributes == FWS_ATTRS_MAX)) {
        span->attributes_dropped++;
        *lost += 1;
        return end;
    }
    *lost += cut;
    if (old == 0)
        span->attributes++;
    if (old == words) /* in its place, so that little is published again */
        memcpy(span->attrs + at, span->attrs + end, words * sizeof *span->attrs);
    else if (old > 0) /* the old one goes, everything behind it moves up */
        memmove(span->attrs + at, span->attrs + at + old,
                (end + words - at - old) * sizeof *span->attrs);
    span->attr_words = end + words - old;
    return at;
}

void fwdscope_span_set(fwdscope_span handle, const struct fwdscope_attribute *attributes,
                       size_t count)
{
    struct entry entry;
    uint32_t slot;
    if (attributes == NULL || !shim_enter(&entry))
        return;
    struct shim_span *span = span_enter(entry.shim, handle, &slot);
    if (span != NULL) {
        size_t changed = span->attr_words;
        unsigned lost = 0;
        for (size_t i = 0; i < count; i++) {
            size_t at = span_set_one(span, &attributes[i], &lost);
            if (at < changed)
                changed = at;
        }
        fws_word *words = slot_words(entry.shim, slot);
        fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
        fws_publish(&words[FWS_A_META], span_meta(span));
        fws_publish(&words[FWS_A_ATTR_WORDS], span->attr_words);
        words_publish(&words[FWS_A_ATTRS + changed], span->attrs + changed,
                      span->attr_words - changed);
        fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
        if (lost > 0)
            lane_add(entry.lane, &entry.lane->control[FWS_LANE_ATTRS_DROPPED], lost);
        span_leave(span);
    }
    shim_leave();
}

void fwdscope_span_stage(fwdscope_span handle, const char *stage)
{
    struct entry entry;
    uint32_t slot;
    if (stage == NULL || !shim_enter(&entry))
        return;
    struct shim_span *span = span_enter(entry.shim, handle, &slot);
    if (span != NULL) {
        size_t bytes = strnlen(stage, FWS_STAGE_BYTES_MAX + 1);
        memset(span->stage, 0, sizeof span->stage);
        memcpy(span->stage, stage, text_cut(stage, bytes, FWS_STAGE_BYTES_MAX));
        span->stage_start_unix_ns = shim_now();
        if (strcmp(stage, "output") == 0)
            span->output_start_unix_ns = span->stage_start_unix_ns;

        fws_word *words = slot_words(entry.shim, slot);
        fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
        fws_publish(&words[FWS_A_STAGE_START_UNIX_NS], span->stage_start_unix_ns);
        fws_publish(&words[FWS_A_OUTPUT_START_UNIX_NS], span->output_start_unix_ns);
        words_publish(&words[FWS_A_STAGE], span->stage, 4);
        fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
        span_leave(span);
    }
    shim_leave();
}

void fwdscope_span_status(fwdscope_span handle, enum fwdscope_span_status status,
                          const char *message)
{
    struct entry entry;
    uint32_t slot;
    if (status < FWDSCOPE_STATUS_UNSET || status > FWDSCOPE_STATUS_ERROR || !shim_enter(&entry))
        return;
    struct shim_span *span = span_enter(entry.shim, handle, &slot);
    if (span != NULL) {
        const char *text = message != NULL ? message : "";
        size_t bytes = strnlen(text, FWS_NAME_BYTES_MAX + 1);
        span->status = (unsigned)status;
        span->message_bytes = (unsigned)text_cut(text, bytes, FWS_NAME_BYTES_MAX);
        size_t message_words = words_of_text(span->message, text, span->message_bytes);

        fws_word *words = slot_words(entry.shim, slot);
        fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
        fws_publish(&words[FWS_A_META], span_meta(span));
        words_publish(&words[FWS_A_MESSAGE], span->message, message_words);
        fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
        span_leave(span);
    }
    shim_leave();
}

bool span_ids(struct shim *shim, fwdscope_span handle, uint64_t trace_id[2], uint64_t *span_id)
{
    uint32_t slot;
    const struct shim_span *span = span_live(shim, handle, &slot);
    if (span == NULL)
        return false;
    trace_id[0] = fws_observe(&span->trace_id[0]);
    trace_id[1] = fws_observe(&span->trace_id[1]);
    *span_id = fws_observe(&span->span_id);
    return span_live(shim, handle, &slot) != NULL; /* else they may be of the slot's next span */
}

/* ---- end ------------------------------------------------------------------------------------- */

static size_t words_copy(uint64_t *to, const uint64_t *from, size_t words)
{
    memcpy(to, from, words * sizeof *to);
    return words;
}

static void span_finish(struct lane *lane, const struct shim_span *span, uint64_t end)
{
    if (!lane_ring_enter(lane)) {
        lane_add(lane, &lane->control[FWS_LANE_SPANS_DROPPED], 1);
        return;
    }
    uint64_t *out = lane->scratch;
    out[FWS_S_TRACE_ID] = fws_peek(&span->trace_id[0]);
    out[FWS_S_TRACE_ID + 1] = fws_peek(&span->trace_id[1]);
    out[FWS_S_SPAN_ID] = fws_peek(&span->span_id);
    out[FWS_S_PARENT_ID] = span->parent_id;
    out[FWS_S_META] = span_meta(span);
    out[FWS_S_ATTR_WORDS] = span->attr_words;
    out[FWS_S_START_UNIX_NS] = span->start_unix_ns;
    out[FWS_S_END_UNIX_NS] = end;
    size_t at = FWS_S_WORDS;
    at += words_copy(out + at, span->name, (size_t)fws_words_of(span->name_bytes));
    at += words_copy(out + at, span->message, (size_t)fws_words_of(span->message_bytes));
    at += words_copy(out + at, span->attrs, span->attr_words);
    fws_ring_write(&lane->spans, FWS_RECORD_SPAN, end, out, at);
    lane_ring_leave(lane);
}

void fwdscope_span_end(fwdscope_span handle, uint64_t end_unix_ns)
{
    struct entry entry;
    uint32_t slot;
    if (!shim_enter(&entry))
        return;
    struct shim_span *span = span_enter(entry.shim, handle, &slot);
    if (span != NULL) {
        uint64_t end = end_unix_ns != 0 ? end_unix_ns : shim_now();
        span_finish(entry.lane, span, end > span->start_unix_ns ? end : span->start_unix_ns);
        slot_publish_free(entry.shim, slot, span);
        /* From here on the handle is stale. PAIRS WITH span_live. */
        fws_publish(&span->generation, fws_peek(&span->generation) + 1);
        span_leave(span);
        slot_give(entry.shim, slot);
        lane_beat(entry.lane);
    }
    shim_leave();
}
