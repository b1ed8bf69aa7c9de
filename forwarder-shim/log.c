/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: put together in private memory, then one record of the lane's ring. */
#include "shim.h"

#include <string.h>

/* Fills the lane's scratch with the payload; returns its words. */
static size_t log_encode(struct entry *entry, const struct fwdscope_log_record *record,
                         uint64_t now)
{
    struct lane *lane = entry->lane;
    uint64_t *out = lane->scratch;
    const char *text = record->severity_text != NULL ? record->severity_text : "";
    const char *body = record->body != NULL ? record->body : "";
    size_t original = record->body != NULL ? record->body_bytes : 0;
    size_t text_bytes = text_cut(text, strnlen(text, FWS_NAME_BYTES_MAX + 1), FWS_NAME_BYTES_MAX);
    size_t body_bytes = text_cut(body, original, FWS_LOG_BYTES_MAX);
    unsigned severity = record->severity >= 0 && (unsigned)record->severity <= 24
                            ? (unsigned)record->severity
                            : FWDSCOPE_SEVERITY_UNKNOWN;

    out[FWS_L_BODY_BYTES] = body_bytes;
    out[FWS_L_ORIGINAL_BYTES] = original;
    out[FWS_L_TIME_UNIX_NS] = record->time_unix_ns != 0 ? record->time_unix_ns : now;
    if (!span_ids(entry->shim, record->span, &out[FWS_L_TRACE_ID], &out[FWS_L_SPAN_ID]))
        out[FWS_L_TRACE_ID] = out[FWS_L_TRACE_ID + 1] = out[FWS_L_SPAN_ID] = 0;
    size_t at = FWS_L_WORDS;
    at += words_of_text(out + at, text, text_bytes);
    at += words_of_text(out + at, body, body_bytes);
    struct attr_block attrs = attr_block_encode(out + at, FWS_ATTR_WORDS_MAX, record->attributes,
                                                record->attribute_count);
    out[FWS_L_ATTR_WORDS] = attrs.words;
    out[FWS_L_META] = FWS_LOG_META(severity, text_bytes, attrs.count,
                                   attrs.dropped < 0xffff ? attrs.dropped : 0xffff);
    if (body_bytes < original)
        lane_add(lane, &lane->control[FWS_LANE_LOGS_CUT], 1);
    if (attrs.dropped + attrs.cut > 0)
        lane_add(lane, &lane->control[FWS_LANE_ATTRS_DROPPED], attrs.dropped + attrs.cut);
    return at + attrs.words;
}

void fwdscope_log_record(const struct fwdscope_log_record *record)
{
    struct entry entry;
    if (record == NULL || !shim_enter(&entry))
        return;
    struct lane *lane = entry.lane;
    if (lane_ring_enter(lane)) {
        uint64_t now = shim_now();
        size_t words = log_encode(&entry, record, now);
        fws_ring_write(&lane->logs, FWS_RECORD_LOG, now, lane->scratch, words);
        lane_ring_leave(lane);
    } else {
        lane_add(lane, &lane->control[FWS_LANE_LOGS_DROPPED], 1);
    }
    lane_beat(lane);
    shim_leave();
}

void fwdscope_log(enum fwdscope_severity severity, const char *body, size_t body_bytes)
{
    const struct fwdscope_log_record record = {
        .severity = severity, .body = body, .body_bytes = body_bytes};
    fwdscope_log_record(&record);
}
