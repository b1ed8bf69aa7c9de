/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: put together in private memory, then one record of the lane's ring. */
#include "shim.h"

#include <string.h>

/* Writes the record into the lane's ring, which the caller has entered. */
static inline __attribute__((always_inline)) void
log_write(const struct gate *gate, const struct fwdscope_log_record *record)
{
    struct lane *lane = gate->lane;
    const uint64_t now = shim_now();
    const char *text = record->severity_text;
    const char *body = record->body;
    const size_t original = body != NULL ? record->body_bytes : 0;
    const size_t body_bytes = text_cut(body, original, FWS_LOG_BYTES_MAX);
    size_t text_bytes = 0;
    if (text != NULL)
        text_bytes = text_cut(text, strnlen(text, FWS_NAME_BYTES_MAX + 1), FWS_NAME_BYTES_MAX);
    struct attr_list attrs = {0};
    if (record->attributes != NULL)
        attrs_put(&attrs, lane->attrs, FWS_ATTR_WORDS_MAX, record->attributes,
                  record->attribute_count, false);
    const unsigned severity = record->severity >= 0 && (unsigned)record->severity <= 24
                                  ? (unsigned)record->severity
                                  : FWDSCOPE_SEVERITY_UNKNOWN;
    uint64_t words[FWS_REC_WORDS + FWS_L_WORDS], *fixed = words + FWS_REC_WORDS;
    fixed[FWS_L_META] = FWS_LOG_META(severity, text_bytes, attrs.count,
                                     attrs.dropped < 0xffff ? attrs.dropped : 0xffff);
    fixed[FWS_L_BODY_BYTES] = body_bytes;
    fixed[FWS_L_ORIGINAL_BYTES] = original;
    fixed[FWS_L_TIME_UNIX_NS] = record->time_unix_ns != 0 ? record->time_unix_ns : now;
    fixed[FWS_L_ATTR_WORDS] = attrs.words;
    if (record->span.id == 0 ||
        !span_ids(gate->shim, record->span, &fixed[FWS_L_TRACE_ID], &fixed[FWS_L_SPAN_ID]))
        fixed[FWS_L_TRACE_ID] = fixed[FWS_L_TRACE_ID + 1] = fixed[FWS_L_SPAN_ID] = 0;

    fws_ring_begin(&lane->logs, FWS_RECORD_LOG, now,
                   FWS_L_WORDS + (size_t)fws_words_of(text_bytes) +
                       (size_t)fws_words_of(body_bytes) + attrs.words,
                   words);
    fws_ring_put(&lane->logs, words, FWS_REC_WORDS + FWS_L_WORDS);
    if (text_bytes > 0)
        fws_ring_put_text(&lane->logs, text, text_bytes);
    fws_ring_put_text(&lane->logs, body, body_bytes);
    if (attrs.words > 0)
        fws_ring_put(&lane->logs, lane->attrs, attrs.words);
    fws_ring_end(&lane->logs);
    if (body_bytes < original)
        lane_add(lane, &lane->control[FWS_LANE_LOGS_CUT], 1);
    if (attrs.dropped + attrs.cut > 0)
        lane_add(lane, &lane->control[FWS_LANE_ATTRS_DROPPED], attrs.dropped + attrs.cut);
}

/* What both calls do; in fwdscope_log() most of it is known not to be there. */
static inline __attribute__((always_inline)) void log_take(const struct fwdscope_log_record *record)
{
    const struct gate *gate = shim_enter();
    if (gate == NULL)
        return;
    struct lane *lane = gate->lane;
    if (lane_ring_enter(lane)) {
        log_write(gate, record);
        lane_ring_leave(lane);
    } else {
        lane_add(lane, &lane->control[FWS_LANE_LOGS_DROPPED], 1);
    }
    lane_beat(lane);
    shim_leave();
}

void fwdscope_log_record(const struct fwdscope_log_record *record)
{
    if (record != NULL)
        log_take(record);
}

void fwdscope_log(enum fwdscope_severity severity, const char *body, size_t body_bytes)
{
    const struct fwdscope_log_record record = {
        .severity = severity, .body = body, .body_bytes = body_bytes};
    log_take(&record);
}
