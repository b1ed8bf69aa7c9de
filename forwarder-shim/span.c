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

/* A span's handle: 16 bits of its life's key, generation of its slot (32), slot + 1 (16). */
static fwdscope_span span_handle(const struct shim *shim, uint32_t slot)
{
    return (fwdscope_span){shim->key << 12 |
                           (fws_peek(&shim->spans[slot].generation) & 0xffffffff) << 16 |
                           (slot + 1)};
}

/* The live span of a handle, or NULL. It may end at any moment, unless the caller owns it. */
static inline struct shim_span *span_live(struct shim *shim, fwdscope_span handle, uint32_t *slot)
{
    *slot = (uint32_t)(handle.id & 0xffff) - 1;
    if (handle.id >> 48 != shim->key << 12 >> 48 || *slot >= shim->sizes.active_spans)
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

/* Takes a slot that a lane has at hand: the one given last, which is warm. */
static bool slot_take_spare(struct lane *lane, uint32_t *slot)
{
    for (int i = SHIM_SPARE_SPANS - 1; i >= 0; i--) {
        uint64_t index = fws_peek(&lane->spare_spans[i]);
        /* Acquire: the private span as its last owner left it. PAIRS WITH slot_give. */
        if (index != 0 && fws_claim(&lane->spare_spans[i], &index, 0)) {
            *slot = (uint32_t)index - 1;
            return true;
        }
    }
    return false;
}

/* Takes a slot of the list that all lanes share; false: it is empty, or too many races were lost.
 */
static bool slot_take_listed(struct shim *shim, uint32_t *slot)
{
    uint64_t head = fws_observe(&shim->free_spans);
    for (int attempt = 0; attempt < SHIM_TRIES; attempt++) {
        uint32_t index = (uint32_t)head;
        if (index == 0)
            return false;
        uint64_t next = fws_peek(&shim->spans[index - 1].next);
        uint64_t tag = (head >> 32) + 1; /* a slot that went and came back has another tag */
        /* Acquire, as above. */
        if (fws_claim(&shim->free_spans, &head, tag << 32 | (uint32_t)next)) {
            *slot = index - 1;
            return true;
        }
    }
    return false;
}

/* Takes a free slot: one at hand, which no other thread's calls slow down; one of the list; in need
 * one that another lane has at hand. */
static bool slot_take(struct shim *shim, struct lane *lane, uint32_t *slot)
{
    if (slot_take_spare(lane, slot) || slot_take_listed(shim, slot))
        return true;
    for (uint32_t i = 0; i < shim->sizes.lanes; i++) {
        if (slot_take_spare(&shim->lanes[i], slot))
            return true;
    }
    return false;
}

static void slot_give(struct shim *shim, struct lane *lane, uint32_t slot)
{
    for (int i = 0; i < SHIM_SPARE_SPANS && !lane->shared; i++) {
        if (fws_peek(&lane->spare_spans[i]) == 0) { /* only the owner makes it anything else */
            fws_publish(&lane->spare_spans[i], slot + 1);
            return;
        }
    }
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
    unsigned dropped = span->list.dropped < 0xffff ? span->list.dropped : 0xffff;
    return FWS_SPAN_META(span->kind, span->status, span->name_bytes, span->message_bytes,
                         span->list.count, dropped);
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
    fws_publish_all(&words[FWS_A_NAME], span->name, (size_t)fws_words_of(span->name_bytes));
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
    fws_text_to_words(span->name, name, span->name_bytes);
    span->kind = kind >= FWDSCOPE_SPAN_INTERNAL && kind <= FWDSCOPE_SPAN_CONSUMER
                     ? (unsigned)kind
                     : FWDSCOPE_SPAN_INTERNAL;
    span->status = FWDSCOPE_STATUS_UNSET;
    span->message_bytes = 0;
    span->list = (struct attr_list){0};
    span->start_unix_ns = start_unix_ns != 0 ? start_unix_ns : shim_now();
    span->stage_start_unix_ns = span->output_start_unix_ns = 0;
    /* Release: who finds ids of this span by an old handle finds the new generation too, which was
     * published when the slot became free. PAIRS WITH span_ids. */
    const uint64_t drawn = lane_draw(lane, 2);
    fws_publish(&span->span_id, lane_id(lane, 0, drawn));
    fws_publish(&span->trace_id[0],
                parent->live ? parent->trace_id[0] : lane_id(lane, 0, drawn + 1));
    fws_publish(&span->trace_id[1], parent->live ? parent->trace_id[1] : lane_id(lane, 1, drawn));
    span->parent_id = parent->live ? parent->span_id : 0;
}

fwdscope_span fwdscope_span_child(fwdscope_span parent, const char *name,
                                  enum fwdscope_span_kind kind, uint64_t start_unix_ns)
{
    fwdscope_span handle = {0};
    struct span_parent from = {.live = false};
    uint32_t slot;
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return handle;
    if (slot_take(gate->shim, gate->lane, &slot)) {
        struct shim_span *span = &gate->shim->spans[slot];
        from.live = parent.id != 0 && span_ids(gate->shim, parent, from.trace_id, &from.span_id);
        span_fill(span, gate->lane, &from, name != NULL ? name : "", kind, start_unix_ns);
        slot_publish_start(gate->shim, slot, span);
        handle = span_handle(gate->shim, slot);
    } else {
        fws_add(&gate->shim->header[FWS_H_SPANS_REFUSED], 1);
    }
    lane_beat(gate->lane);
    shim_leave();
    return handle;
}

fwdscope_span fwdscope_span_start(const char *name, enum fwdscope_span_kind kind,
                                  uint64_t start_unix_ns)
{
    return fwdscope_span_child((fwdscope_span){0}, name, kind, start_unix_ns);
}

/* ---- attributes, stage, status --------------------------------------------------------------- */

void fwdscope_span_set(fwdscope_span handle, const struct fwdscope_attribute *attributes,
                       size_t count)
{
    uint32_t slot;
    const struct gate *gate = attributes != NULL ? shim_enter() : NULL;
    if (gate == NULL)
        return;
    struct shim_span *span = span_enter(gate->shim, handle, &slot);
    if (span != NULL) {
        const unsigned lost = span->list.dropped + span->list.cut;
        const size_t changed =
            attrs_put(&span->list, span->attrs, FWS_ATTR_WORDS_MAX, attributes, count, true);
        fws_word *words = slot_words(gate->shim, slot);
        fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
        fws_publish(&words[FWS_A_META], span_meta(span));
        fws_publish(&words[FWS_A_ATTR_WORDS], span->list.words);
        fws_publish_all(&words[FWS_A_ATTRS + changed], span->attrs + changed,
                        span->list.words - changed);
        fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
        if (span->list.dropped + span->list.cut != lost)
            lane_add(gate->lane, &gate->lane->control[FWS_LANE_ATTRS_DROPPED],
                     span->list.dropped + span->list.cut - lost);
        span_leave(span);
    }
    shim_leave();
}

void fwdscope_span_stage(fwdscope_span handle, const char *stage)
{
    uint32_t slot;
    const struct gate *gate = stage != NULL ? shim_enter() : NULL;
    if (gate == NULL)
        return;
    struct shim_span *span = span_enter(gate->shim, handle, &slot);
    if (span != NULL) {
        size_t bytes = strnlen(stage, FWS_STAGE_BYTES_MAX + 1);
        memset(span->stage, 0, sizeof span->stage);
        memcpy(span->stage, stage, text_cut(stage, bytes, FWS_STAGE_BYTES_MAX));
        span->stage_start_unix_ns = shim_now();
        if (strcmp(stage, "output") == 0)
            span->output_start_unix_ns = span->stage_start_unix_ns;

        fws_word *words = slot_words(gate->shim, slot);
        fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
        fws_publish(&words[FWS_A_STAGE_START_UNIX_NS], span->stage_start_unix_ns);
        fws_publish(&words[FWS_A_OUTPUT_START_UNIX_NS], span->output_start_unix_ns);
        fws_publish_all(&words[FWS_A_STAGE], span->stage, 4);
        fws_seq_write_end(&words[FWS_A_SEQ], &span->sequence);
        span_leave(span);
    }
    shim_leave();
}

void fwdscope_span_status(fwdscope_span handle, enum fwdscope_span_status status,
                          const char *message)
{
    uint32_t slot;
    const bool valid = status >= FWDSCOPE_STATUS_UNSET && status <= FWDSCOPE_STATUS_ERROR;
    const struct gate *gate = valid ? shim_enter() : NULL;
    if (gate == NULL)
        return;
    struct shim_span *span = span_enter(gate->shim, handle, &slot);
    if (span != NULL) {
        const char *text = message != NULL ? message : "";
        size_t bytes = strnlen(text, FWS_NAME_BYTES_MAX + 1);
        span->status = (unsigned)status;
        span->message_bytes = (unsigned)text_cut(text, bytes, FWS_NAME_BYTES_MAX);
        size_t message_words = fws_text_to_words(span->message, text, span->message_bytes);

        fws_word *words = slot_words(gate->shim, slot);
        fws_seq_write_begin(&words[FWS_A_SEQ], &span->sequence);
        fws_publish(&words[FWS_A_META], span_meta(span));
        fws_publish_all(&words[FWS_A_MESSAGE], span->message, message_words);
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

static void span_finish(struct lane *lane, const struct shim_span *span, uint64_t end)
{
    if (!lane_ring_enter(lane)) {
        lane_add(lane, &lane->control[FWS_LANE_SPANS_DROPPED], 1);
        return;
    }
    const size_t name_words = (size_t)fws_words_of(span->name_bytes);
    const size_t message_words = (size_t)fws_words_of(span->message_bytes);
    uint64_t record[FWS_REC_WORDS + FWS_S_WORDS], *fixed = record + FWS_REC_WORDS;
    fixed[FWS_S_TRACE_ID] = fws_peek(&span->trace_id[0]);
    fixed[FWS_S_TRACE_ID + 1] = fws_peek(&span->trace_id[1]);
    fixed[FWS_S_SPAN_ID] = fws_peek(&span->span_id);
    fixed[FWS_S_PARENT_ID] = span->parent_id;
    fixed[FWS_S_META] = span_meta(span);
    fixed[FWS_S_ATTR_WORDS] = span->list.words;
    fixed[FWS_S_START_UNIX_NS] = span->start_unix_ns;
    fixed[FWS_S_END_UNIX_NS] = end;

    fws_ring_begin(&lane->spans, FWS_RECORD_SPAN, end,
                   FWS_S_WORDS + name_words + message_words + span->list.words, record);
    fws_ring_put(&lane->spans, record, FWS_REC_WORDS + FWS_S_WORDS);
    fws_ring_put(&lane->spans, span->name, name_words);
    if (message_words > 0)
        fws_ring_put(&lane->spans, span->message, message_words);
    fws_ring_put(&lane->spans, span->attrs, span->list.words);
    fws_ring_end(&lane->spans);
    lane_ring_leave(lane);
}

void fwdscope_span_end(fwdscope_span handle, uint64_t end_unix_ns)
{
    uint32_t slot;
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return;
    struct shim_span *span = span_enter(gate->shim, handle, &slot);
    if (span != NULL) {
        uint64_t end = end_unix_ns != 0 ? end_unix_ns : shim_now();
        span_finish(gate->lane, span, end > span->start_unix_ns ? end : span->start_unix_ns);
        slot_publish_free(gate->shim, slot, span);
        /* From here on the handle is stale. PAIRS WITH span_live. */
        fws_publish(&span->generation, fws_peek(&span->generation) + 1);
        span_leave(span);
        slot_give(gate->shim, gate->lane, slot);
        lane_beat(gate->lane);
    }
    shim_leave();
}
