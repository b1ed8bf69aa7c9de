/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spans document: finished spans written from their records, field by field in the order of the
 * fields' numbers; active ones, of which there are few, built and encoded.
 */
#include "render.h"

#include "attributes.h"
#include "build.h"
#include "frame.h"

enum { TRACE_ID_BYTES = 16, SPAN_ID_BYTES = 8 };

/* Keys, numbers and ids of a span. */
enum { SPAN_BYTES_MAX = 1024 };

struct spans_job {
    struct build build;
    struct writer writer;
    const struct keys *keys;
    const struct spans_part *part;
    struct span_ids ids; /* of the finished spans */
};

/* ---- one finished span ----------------------------------------------------------------------- */

static char *write_ids(char *at, const struct keys *keys, const struct raw_span *span)
{
    at = write_id(json_write_piece(at, &keys->span.trace_id), span->trace_id, TRACE_ID_BYTES);
    at = write_id(json_write_piece(at, &keys->span.span_id), span->span_id, SPAN_ID_BYTES);
    if (!id_is_zero(span->parent_id, SPAN_ID_BYTES)) {
        at = json_write_piece(at, &keys->span.parent_span_id);
        at = write_id(at, span->parent_id, SPAN_ID_BYTES);
    }
    return at;
}

static char *write_name(struct writer *writer, char *at, const struct keys *keys,
                        const struct raw_span *span)
{
    static const struct raw_text unnamed = {SPAN_UNNAMED, sizeof SPAN_UNNAMED - 1};
    at = json_write_piece(at, &keys->span.name);
    at = write_text(writer, at, span->name.count > 0 ? &span->name : &unnamed);
    return write_char(at, '"');
}

static char *write_attributes(struct writer *writer, char *at, const struct keys *keys,
                              const struct raw_attributes *attributes)
{
    unsigned dropped = attributes->dropped;
    if (attributes->count > 0) {
        struct attributes list;
        at = attributes_begin(writer, at, keys, &keys->span.attributes, &list);
        for (size_t i = 0; i < attributes->count; i++) {
            at = attributes_add(writer, at, &list, &attributes->list[i]);
        }
        at = attributes_end(writer, at, &list);
        dropped += list.left_out;
    }
    return dropped > 0 ? json_write_uint(json_write_piece(at, &keys->span.dropped), dropped) : at;
}

/* Unset is the absence of a status. */
static char *write_status(struct writer *writer, char *at, const struct keys *keys,
                          const struct raw_span *span)
{
    if (span->status == 0) {
        return at;
    }
    at = json_write_piece(at, &keys->span.status);
    const size_t start = writer_offset(writer, at);
    if (span->message.count > 0) {
        at = write_text(writer, json_write_piece(at, &keys->status.message), &span->message);
        at = write_char(at, '"');
    }
    at = json_write_uint(json_write_piece(at, &keys->status.code), span->status);
    return close_object(writer, start, at);
}

static char *write_span(struct writer *writer, char *at, const struct keys *keys,
                        const struct raw_span *span)
{
    const size_t start = writer_offset(writer, at);
    at = write_ids(at, keys, span);
    at = write_name(writer, at, keys, span);
    at = json_write_uint(json_write_piece(at, &keys->span.kind), span->kind);
    at = write_time(writer, json_write_piece(at, &keys->span.start), span->start_unix_ns);
    at = write_time(writer, json_write_piece(at, &keys->span.end), span->end_unix_ns);
    at = write_attributes(writer, at, keys, &span->attributes);
    at = write_status(writer, at, keys, span);
    at = json_write_uint(json_write_piece(at, &keys->span.flags), TRACE_FLAGS_SAMPLED);
    return close_object(writer, start, at);
}

/* ---- the document ---------------------------------------------------------------------------- */

/* Writes the finished spans and notes their ids. */
static void put_finished(struct spans_job *job)
{
    enum { ROOM = SPAN_BYTES_MAX + ATTRIBUTES_MAX * ATTRIBUTE_BYTES_MAX };
    for (size_t i = 0; i < job->part->finished_count; i++) {
        const struct record *record = &job->part->finished[i];
        struct raw_span span;
        if (!record_view_span(record, &span) || id_is_zero(span.trace_id, TRACE_ID_BYTES) ||
            id_is_zero(span.span_id, SPAN_ID_BYTES)) {
            continue;
        }
        char *at = writer_begin(&job->writer, ROOM + record->word_count * sizeof(uint64_t));
        if (at == NULL) {
            return;
        }
        writer_end(&job->writer, write_span(&job->writer, at, job->keys, &span));
        span_ids_add(&job->ids, span.span_id);
    }
}

static void put_active(struct spans_job *job)
{
    const struct spans_part *part = job->part;
    if (part->active_count > 0) {
        span_ids_sort(&job->ids);
    }
    for (size_t i = 0; i < part->active_count && !job->build.full; i++) {
        const struct span *span = &part->active[i];
        if (span_is_active(span, &job->ids)) {
            const Span *built = build_active_span(&job->build, span, part->active_unix_ns);
            if (built != NULL) {
                (void)json_encode_message(job->writer.out, &built->base);
            }
        }
    }
}

static void put_part(struct spans_job *job)
{
    struct buffer *out = job->writer.out;
    struct json_gap gap = JSON_GAP_INIT;
    Span *spans[] = {(Span *)&gap};
    struct frame frame;
    const ResourceSpans *around = build_resource_spans(&job->build, job->part, spans, 1);
    job->ids = (struct span_ids){
        build_array(&job->build, job->part->finished_count, sizeof job->ids.words[0]), 0};
    if (!job->build.full && frame_open(&frame, out, (const ProtobufCMessage *)around, &gap)) {
        put_finished(job);
        put_active(job);
        (void)frame_close(&frame, out);
    }
}

bool render_spans(struct arena *arena, struct buffer *out, const struct spans_part *parts,
                  size_t count, bool *full)
{
    struct json_gap gap = JSON_GAP_INIT;
    ResourceSpans *list[] = {(ResourceSpans *)&gap};
    TraceRequest request =
        OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_REQUEST__INIT;
    request.n_resource_spans = 1;
    request.resource_spans = list;
    struct spans_job job = {.build = {.arena = arena}, .keys = keys_get()};
    struct frame frame;
    writer_init(&job.writer, out);
    job.build.full = job.keys == NULL;
    const bool opened = frame_open(&frame, out, &request.base, &gap);
    for (size_t i = 0; i < count && opened && !job.build.full; i++) {
        job.part = &parts[i];
        if (job.part->finished_count + job.part->active_count > 0) {
            put_part(&job);
        }
    }
    *full = job.build.full;
    return document_close(&frame, out, *full);
}
