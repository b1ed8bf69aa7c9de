/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logs document: lines written from their records, field by field in the order of the fields'
 * numbers; what was lost is built and encoded.
 */
#include "render.h"

#include "attributes.h"
#include "build.h"
#include "frame.h"

enum { TRACE_ID_BYTES = 16, SPAN_ID_BYTES = 8 };

/* Keys, numbers and ids of a line. */
enum { LINE_BYTES_MAX = 1024 };

struct logs_job {
    struct build build;
    struct writer writer;
    const struct keys *keys;
    const struct logs_part *part;
};

/* ---- one line -------------------------------------------------------------------------------- */

static char *write_severity(struct writer *writer, char *at, const struct keys *keys,
                            const struct raw_log *log)
{
    if (log->severity != 0) {
        at = json_write_uint(json_write_piece(at, &keys->log.severity_number), log->severity);
    }
    if (log->severity_text.count > 0) {
        at = json_write_piece(at, &keys->log.severity_text);
        at = write_char(write_text(writer, at, &log->severity_text), '"');
    }
    return at;
}

static char *write_body(struct writer *writer, char *at, const struct keys *keys,
                        const struct raw_log *log)
{
    at = write_text(writer, json_write_piece(at, &keys->log.body), &log->body);
    memcpy(at, "\"}", 2);
    return at + 2;
}

static char *write_attributes(struct writer *writer, char *at, const struct keys *keys,
                              const struct raw_log *log)
{
    unsigned dropped = log->attributes.dropped;
    if (log->attributes.count > 0 || log->cut) {
        const struct raw_attribute length = {
            .type = ATTRIBUTE_INT,
            .key = {LOG_ORIGINAL_LENGTH, sizeof LOG_ORIGINAL_LENGTH - 1},
            .value = &log->original_bytes,
            .value_bytes = sizeof log->original_bytes,
        };
        struct attributes list;
        at = attributes_begin(writer, at, keys, &keys->log.attributes, &list);
        if (log->cut) {
            at = attributes_add(writer, at, &list, &length);
        }
        for (size_t i = 0; i < log->attributes.count; i++) {
            at = attributes_add(writer, at, &list, &log->attributes.list[i]);
        }
        at = attributes_end(writer, at, &list);
        dropped += list.left_out;
    }
    return dropped > 0 ? json_write_uint(json_write_piece(at, &keys->log.dropped), dropped) : at;
}

/* A span id says nothing without its trace. */
static char *write_ids(char *at, const struct keys *keys, const struct raw_log *log)
{
    if (id_is_zero(log->trace_id, TRACE_ID_BYTES)) {
        return at;
    }
    at = write_id(json_write_piece(at, &keys->log.trace_id), log->trace_id, TRACE_ID_BYTES);
    if (!id_is_zero(log->span_id, SPAN_ID_BYTES)) {
        at = write_id(json_write_piece(at, &keys->log.span_id), log->span_id, SPAN_ID_BYTES);
    }
    return at;
}

static char *write_log(struct writer *writer, char *at, const struct keys *keys,
                       const struct raw_log *log, uint64_t now_unix_ns)
{
    const size_t start = writer_offset(writer, at);
    const uint64_t observed =
        log_observed_time(log->observed_unix_ns, log->time_unix_ns, now_unix_ns);
    if (log->time_unix_ns != 0) {
        at = write_time(writer, json_write_piece(at, &keys->log.time), log->time_unix_ns);
    }
    at = write_severity(writer, at, keys, log);
    at = write_body(writer, at, keys, log);
    at = write_attributes(writer, at, keys, log);
    at = write_ids(at, keys, log);
    if (observed != 0) {
        at = write_time(writer, json_write_piece(at, &keys->log.observed_time), observed);
    }
    return close_object(writer, start, at);
}

/* ---- the document ---------------------------------------------------------------------------- */

static void put_lines(struct logs_job *job)
{
    enum { ROOM = LINE_BYTES_MAX + ATTRIBUTES_MAX * ATTRIBUTE_BYTES_MAX };
    for (size_t i = 0; i < job->part->record_count; i++) {
        const struct record *record = &job->part->records[i];
        struct raw_log log;
        if (!record_view_log(record, &log)) {
            continue;
        }
        char *at = writer_begin(&job->writer, ROOM + record->word_count * sizeof(uint64_t));
        if (at == NULL) {
            return;
        }
        at = write_log(&job->writer, at, job->keys, &log, job->part->notice_unix_ns);
        writer_end(&job->writer, at);
    }
}

/* The part with its lines, and its loss if there is one. False when it has no line. */
static bool put_lines_part(struct logs_job *job)
{
    struct buffer *out = job->writer.out;
    struct json_gap gap = JSON_GAP_INIT;
    LogRecord *records[] = {(LogRecord *)&gap};
    struct frame frame;
    const ResourceLogs *around = build_resource_logs(&job->build, job->part, records, 1);
    if (!frame_open(&frame, out, (const ProtobufCMessage *)around, &gap)) {
        return false;
    }
    put_lines(job);
    return frame_close(&frame, out);
}

/* Without lines there is no scope for them either: what remains is the loss, if there is one. */
static void put_part(struct logs_job *job)
{
    if (job->part->record_count > 0 && put_lines_part(job)) {
        return;
    }
    const ResourceLogs *loss = build_resource_logs(&job->build, job->part, NULL, 0);
    if (loss != NULL) {
        (void)json_encode_message(job->writer.out, &loss->base);
    }
}

bool render_logs(struct arena *arena, struct buffer *out, const struct logs_part *parts,
                 size_t count, bool *full)
{
    struct json_gap gap = JSON_GAP_INIT;
    ResourceLogs *list[] = {(ResourceLogs *)&gap};
    LogsRequest request =
        OPENTELEMETRY__PROTO__COLLECTOR__LOGS__V1__EXPORT_LOGS_SERVICE_REQUEST__INIT;
    request.n_resource_logs = 1;
    request.resource_logs = list;
    struct logs_job job = {.build = {.arena = arena}, .keys = keys_get()};
    struct frame frame;
    writer_init(&job.writer, out);
    job.build.full = job.keys == NULL;
    const bool opened = frame_open(&frame, out, &request.base, &gap);
    for (size_t i = 0; i < count && opened && !job.build.full; i++) {
        job.part = &parts[i];
        put_part(&job);
    }
    *full = job.build.full;
    return document_close(&frame, out, *full);
}
