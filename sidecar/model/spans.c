/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spans document: finished spans once, in the order given, then the active ones as they stand.
 * A span without a trace id or a span id is left out: OTLP knows no such span.
 */
#include "build.h"

#include <stdlib.h>
#include <string.h>

enum { KIND_INTERNAL = 1, KIND_MAX = 5, STATUS_MAX = 2 };

/* What an active span is given beyond its own attributes. */
enum { ACTIVE_ATTRIBUTES = 4 };

static bool add_active_attributes(struct build *build, struct key_values *list,
                                  const struct span *span)
{
    const struct attribute in_progress = {
        .key = "in_progress", .type = ATTRIBUTE_BOOL, .boolean = true};
    if (!key_values_add(build, list, &in_progress, 1)) {
        return false;
    }
    if (span->stage[0] != '\0' && !key_values_add_text(build, list, "stage", span->stage)) {
        return false;
    }
    if (span->stage_start_unix_ns != 0 &&
        !key_values_add_uint(build, list, "stage_start_unix_ns", span->stage_start_unix_ns)) {
        return false;
    }
    return span->output_start_unix_ns == 0 ||
           key_values_add_uint(build, list, "output_start_unix_ns", span->output_start_unix_ns);
}

static bool fill_attributes(struct build *build, const struct span *span, bool active, Span *out)
{
    struct key_values list;
    if (!key_values_begin(build, &list, span->attribute_count + ACTIVE_ATTRIBUTES) ||
        (active && !add_active_attributes(build, &list, span)) ||
        !key_values_add(build, &list, span->attributes, span->attribute_count)) {
        return false;
    }
    out->n_attributes = list.count;
    out->attributes = list.items;
    out->dropped_attributes_count = key_values_dropped(&list, span->attributes_dropped);
    return true;
}

/* Unset is the absence of a status. */
static bool fill_status(struct build *build, const struct span *span, Span *out)
{
    if (span->status == 0 || span->status > STATUS_MAX) {
        return true;
    }
    out->status = build_message(build, &opentelemetry__proto__trace__v1__status__descriptor);
    if (out->status == NULL) {
        return false;
    }
    out->status->code = (StatusCode)span->status;
    out->status->message = (char *)span->message;
    return true;
}

static bool fill_ids(struct build *build, const struct span *span, Span *out)
{
    return build_id(build, span->trace_id, sizeof span->trace_id, &out->trace_id) &&
           build_id(build, span->span_id, sizeof span->span_id, &out->span_id) &&
           build_id(build, span->parent_id, sizeof span->parent_id, &out->parent_span_id);
}

static Span *build_span(struct build *build, const struct span *span, bool active, uint64_t end_ns)
{
    Span *out = build_message(build, &opentelemetry__proto__trace__v1__span__descriptor);
    if (out == NULL || !fill_ids(build, span, out) || !fill_attributes(build, span, active, out) ||
        !fill_status(build, span, out)) {
        return NULL;
    }
    const bool kind_known = span->kind >= KIND_INTERNAL && span->kind <= KIND_MAX;
    out->name = (char *)(span->name[0] != '\0' ? span->name : SPAN_UNNAMED);
    out->kind = (SpanKind)(kind_known ? span->kind : KIND_INTERNAL);
    out->start_time_unix_nano = span->start_unix_ns;
    out->end_time_unix_nano = end_ns > span->start_unix_ns ? end_ns : span->start_unix_ns;
    out->flags = TRACE_FLAGS_SAMPLED;
    return out;
}

Span *build_active_span(struct build *build, const struct span *span, uint64_t now_unix_ns)
{
    return build_span(build, span, true, now_unix_ns);
}

static bool has_ids(const struct span *span)
{
    return !id_is_zero(span->trace_id, sizeof span->trace_id) &&
           !id_is_zero(span->span_id, sizeof span->span_id);
}

/* ---- active or finished -------------------------------------------------------------------------
 */

static uint64_t id_word(const uint8_t *span_id)
{
    uint64_t word;
    memcpy(&word, span_id, sizeof word);
    return word;
}

static int id_compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void span_ids_add(struct span_ids *ids, const uint8_t *span_id)
{
    ids->words[ids->count++] = id_word(span_id);
}

void span_ids_sort(struct span_ids *ids)
{
    qsort(ids->words, ids->count, sizeof ids->words[0], id_compare);
}

bool span_is_active(const struct span *span, const struct span_ids *ids)
{
    const uint64_t id = id_word(span->span_id);
    return has_ids(span) &&
           bsearch(&id, ids->words, ids->count, sizeof ids->words[0], id_compare) == NULL;
}

/* ---- the document -------------------------------------------------------------------------------
 */

/* Spans in the making; the list has room for all. */
struct span_list {
    Span **items;
    size_t count;
};

static bool add_span(struct build *build, const struct span *span, bool active, uint64_t end_ns,
                     struct span_list *list)
{
    Span *out = build_span(build, span, active, end_ns);
    if (out != NULL) {
        list->items[list->count++] = out;
    }
    return out != NULL;
}

static bool add_finished(struct build *build, const struct spans_part *part, struct span_list *list,
                         struct span_ids *ids)
{
    for (size_t i = 0; i < part->finished_count; i++) {
        struct span span;
        if (!record_decode_span(build->arena, &part->finished[i], &span)) {
            build_check_decode_room(build, &part->finished[i]);
            if (build->full) {
                return false;
            }
            continue;
        }
        if (has_ids(&span)) {
            span_ids_add(ids, span.span_id);
            if (!add_span(build, &span, false, span.end_unix_ns, list)) {
                return false;
            }
        }
    }
    span_ids_sort(ids);
    return true;
}

static bool add_spans(struct build *build, const struct spans_part *part, struct span_list *list)
{
    struct span_ids ids = {build_array(build, part->finished_count, sizeof ids.words[0]), 0};
    if (ids.words == NULL || !add_finished(build, part, list, &ids)) {
        return false;
    }
    for (size_t i = 0; i < part->active_count; i++) {
        const struct span *span = &part->active[i];
        if (span_is_active(span, &ids) &&
            !add_span(build, span, true, part->active_unix_ns, list)) {
            return false;
        }
    }
    return true;
}

ResourceSpans *build_resource_spans(struct build *build, const struct spans_part *part,
                                    Span **spans, size_t count)
{
    ResourceSpans *out =
        build_message(build, &opentelemetry__proto__trace__v1__resource_spans__descriptor);
    ScopeSpans *scope =
        build_message(build, &opentelemetry__proto__trace__v1__scope_spans__descriptor);
    ScopeSpans **scopes = build_array(build, 1, sizeof scopes[0]);
    if (out == NULL || scope == NULL || scopes == NULL) {
        return NULL;
    }
    scope->scope = build_scope(build, MODEL_SCOPE_FORWARDER);
    scope->n_spans = count;
    scope->spans = spans;
    scopes[0] = scope;
    out->resource = build_resource(build, &part->resource);
    out->n_scope_spans = 1;
    out->scope_spans = scopes;
    return out;
}

/* NULL when the part has no content, or when the arena is full. */
static ResourceSpans *build_part(struct build *build, const struct spans_part *part)
{
    struct span_list list = {0};
    list.items =
        build_array(build, part->finished_count + part->active_count, sizeof list.items[0]);
    if (list.items == NULL || !add_spans(build, part, &list) || list.count == 0) {
        return NULL;
    }
    return build_resource_spans(build, part, list.items, list.count);
}

TraceRequest *model_spans(struct arena *arena, const struct spans_part *parts, size_t count,
                          bool *full)
{
    struct build build = {.arena = arena};
    TraceRequest *out = build_message(
        &build,
        &opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor);
    ResourceSpans **list = build_array(&build, count, sizeof list[0]);
    size_t filled = 0;
    for (size_t i = 0; i < count && !build.full; i++) {
        ResourceSpans *part = build_part(&build, &parts[i]);
        if (part != NULL) {
            list[filled++] = part;
        }
    }
    *full = build.full;
    if (build.full || filled == 0) {
        return NULL;
    }
    out->n_resource_spans = filled;
    out->resource_spans = list;
    return out;
}
