/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The logs document: at most one record that tells what was lost, in a scope of its own, then the
 * forwarder's log lines in the order given.
 */
#include "build.h"

#include <inttypes.h>
#include <stdio.h>

enum { SEVERITY_MAX = 24 };

/* LOG_ORIGINAL_LENGTH */
enum { OWN_ATTRIBUTES = 1 };

static bool fill_body(struct build *build, const char *text, LogRecord *out)
{
    out->body = build_message(build, &opentelemetry__proto__common__v1__any_value__descriptor);
    if (out->body == NULL) {
        return false;
    }
    out->body->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    out->body->string_value = (char *)text;
    return true;
}

/* ---- the forwarder's lines ----------------------------------------------------------------------
 */

static bool fill_attributes(struct build *build, const struct log_record *log, LogRecord *out)
{
    struct key_values list;
    if (!key_values_begin(build, &list, log->attribute_count + OWN_ATTRIBUTES) ||
        (log->cut &&
         !key_values_add_uint(build, &list, LOG_ORIGINAL_LENGTH, log->original_bytes)) ||
        !key_values_add(build, &list, log->attributes, log->attribute_count)) {
        return false;
    }
    out->n_attributes = list.count;
    out->attributes = list.items;
    out->dropped_attributes_count = key_values_dropped(&list, log->attributes_dropped);
    return true;
}

/* A span id says nothing without its trace. */
static bool fill_ids(struct build *build, const struct log_record *log, LogRecord *out)
{
    return id_is_zero(log->trace_id, sizeof log->trace_id) ||
           (build_id(build, log->trace_id, sizeof log->trace_id, &out->trace_id) &&
            build_id(build, log->span_id, sizeof log->span_id, &out->span_id));
}

uint64_t log_observed_time(uint64_t observed_unix_ns, uint64_t time_unix_ns, uint64_t now_unix_ns)
{
    if (observed_unix_ns != 0) {
        return observed_unix_ns;
    }
    return time_unix_ns != 0 ? time_unix_ns : now_unix_ns;
}

static LogRecord *build_log(struct build *build, const struct log_record *log, uint64_t now_unix_ns)
{
    LogRecord *out = build_message(build, &opentelemetry__proto__logs__v1__log_record__descriptor);
    if (out == NULL || !fill_body(build, log->body, out) || !fill_attributes(build, log, out) ||
        !fill_ids(build, log, out)) {
        return NULL;
    }
    out->time_unix_nano = log->time_unix_ns;
    out->observed_time_unix_nano =
        log_observed_time(log->observed_unix_ns, log->time_unix_ns, now_unix_ns);
    out->severity_number = (SeverityNumber)(log->severity <= SEVERITY_MAX ? log->severity : 0);
    out->severity_text = (char *)log->severity_text;
    return out;
}

/* The lines that are some, put at list[0..] and counted. */
static bool add_lines(struct build *build, const struct logs_part *part, LogRecord **list,
                      size_t *count)
{
    for (size_t i = 0; i < part->record_count && !build->full; i++) {
        struct log_record log;
        if (!record_decode_log(build->arena, &part->records[i], &log)) {
            build_check_decode_room(build, &part->records[i]);
            continue;
        }
        LogRecord *record = build_log(build, &log, part->notice_unix_ns);
        if (record != NULL) {
            list[(*count)++] = record;
        }
    }
    return !build->full;
}

/* ---- what was lost ------------------------------------------------------------------------------
 */

static bool something_lost(const struct logs_part *part)
{
    return part->lost_ticks > 0 || part->lost_spans > 0 || part->lost_logs > 0;
}

static const char *build_loss_text(struct build *build, const struct logs_part *part)
{
    enum { TEXT_BYTES = 128 };
    char *text = build_array(build, TEXT_BYTES, 1);
    if (text != NULL) {
        (void)snprintf(text, TEXT_BYTES,
                       "lost before delivery: %" PRIu64 " ticks, %" PRIu64 " spans, %" PRIu64
                       " log records",
                       part->lost_ticks, part->lost_spans, part->lost_logs);
    }
    return text;
}

static bool fill_loss_attributes(struct build *build, const struct logs_part *part, LogRecord *out)
{
    const struct {
        const char *key;
        uint64_t lost;
    } losses[] = {
        {"fwdscope.lost.ticks", part->lost_ticks},
        {"fwdscope.lost.spans", part->lost_spans},
        {"fwdscope.lost.log_records", part->lost_logs},
    };
    const size_t count = sizeof losses / sizeof losses[0];
    struct key_values list;
    if (!key_values_begin(build, &list, count)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (losses[i].lost > 0 &&
            !key_values_add_uint(build, &list, losses[i].key, losses[i].lost)) {
            return false;
        }
    }
    out->n_attributes = list.count;
    out->attributes = list.items;
    return true;
}

static LogRecord *build_loss(struct build *build, const struct logs_part *part)
{
    static char warn[] = "WARN";
    LogRecord *out = build_message(build, &opentelemetry__proto__logs__v1__log_record__descriptor);
    const char *text = build_loss_text(build, part);
    if (out == NULL || text == NULL || !fill_body(build, text, out) ||
        !fill_loss_attributes(build, part, out)) {
        return NULL;
    }
    out->time_unix_nano = part->notice_unix_ns;
    out->observed_time_unix_nano = part->notice_unix_ns;
    out->severity_number = OPENTELEMETRY__PROTO__LOGS__V1__SEVERITY_NUMBER__SEVERITY_NUMBER_WARN;
    out->severity_text = warn;
    return out;
}

/* ---- the document -------------------------------------------------------------------------------
 */

static ScopeLogs *build_scope_logs(struct build *build, const char *name, LogRecord **records,
                                   size_t count)
{
    ScopeLogs *out = build_message(build, &opentelemetry__proto__logs__v1__scope_logs__descriptor);
    if (out != NULL) {
        out->scope = build_scope(build, name);
        out->n_log_records = count;
        out->log_records = records;
    }
    return out;
}

static ScopeLogs *build_loss_scope(struct build *build, const struct logs_part *part)
{
    LogRecord **records = build_array(build, 1, sizeof records[0]);
    if (records == NULL) {
        return NULL;
    }
    records[0] = build_loss(build, part);
    return build_scope_logs(build, MODEL_SCOPE_LOSS, records, 1);
}

ResourceLogs *build_resource_logs(struct build *build, const struct logs_part *part,
                                  LogRecord **records, size_t count)
{
    enum { SCOPES_MAX = 2 };
    if (count == 0 && !something_lost(part)) {
        return NULL;
    }
    ResourceLogs *out =
        build_message(build, &opentelemetry__proto__logs__v1__resource_logs__descriptor);
    ScopeLogs **scopes = build_array(build, SCOPES_MAX, sizeof scopes[0]);
    if (out == NULL || scopes == NULL) {
        return NULL;
    }
    out->resource = build_resource(build, &part->resource);
    out->scope_logs = scopes;
    if (something_lost(part)) {
        scopes[out->n_scope_logs++] = build_loss_scope(build, part);
    }
    if (count > 0) {
        scopes[out->n_scope_logs++] =
            build_scope_logs(build, MODEL_SCOPE_FORWARDER, records, count);
    }
    return build->full ? NULL : out;
}

/* NULL when the part has no content, or when the arena is full. */
static ResourceLogs *build_part(struct build *build, const struct logs_part *part)
{
    LogRecord **records = build_array(build, part->record_count, sizeof records[0]);
    size_t count = 0;
    if (records == NULL || !add_lines(build, part, records, &count)) {
        return NULL;
    }
    return build_resource_logs(build, part, records, count);
}

LogsRequest *model_logs(struct arena *arena, const struct logs_part *parts, size_t count,
                        bool *full)
{
    struct build build = {.arena = arena};
    LogsRequest *out = build_message(
        &build,
        &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor);
    ResourceLogs **list = build_array(&build, count, sizeof list[0]);
    size_t filled = 0;
    for (size_t i = 0; i < count && !build.full; i++) {
        ResourceLogs *part = build_part(&build, &parts[i]);
        if (part != NULL) {
            list[filled++] = part;
        }
    }
    *full = build.full;
    if (build.full || filled == 0) {
        return NULL;
    }
    out->n_resource_logs = filled;
    out->resource_logs = list;
    return out;
}
