/* SPDX-License-Identifier: Apache-2.0 */
/* Events of LTTng-UST that carry what a finished span and a log line of ours carry. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER fwdscope_bench

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "lttng_events.h"

#if !defined(LTTNG_EVENTS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define LTTNG_EVENTS_H

#include <lttng/tracepoint.h>

#include <stddef.h>
#include <stdint.h>

/* 248 bytes: ids, times, a name, and attributes that are already laid out. */
LTTNG_UST_TRACEPOINT_EVENT(
    fwdscope_bench, span,
    LTTNG_UST_TP_ARGS(const uint8_t *, ids, uint64_t, start, uint64_t, end, const char *, name,
                      const char *, attributes, size_t, attributes_bytes),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_array(uint8_t, ids, ids, 32) lttng_ust_field_integer(uint64_t, start, start)
            lttng_ust_field_integer(uint64_t, end, end) lttng_ust_field_string(name, name)
                lttng_ust_field_sequence(char, attributes, attributes, uint32_t, attributes_bytes)))

LTTNG_UST_TRACEPOINT_EVENT(
    fwdscope_bench, line,
    LTTNG_UST_TP_ARGS(uint32_t, severity, const char *, body, size_t, body_bytes),
    LTTNG_UST_TP_FIELDS(lttng_ust_field_integer(uint32_t, severity, severity)
                            lttng_ust_field_sequence_text(char, body, body, uint32_t, body_bytes)))

#endif

#include <lttng/tracepoint-event.h>
