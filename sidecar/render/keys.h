/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of spans and log lines, out of their descriptors. For the files of render only. */
#ifndef SIDECAR_RENDER_KEYS_H
#define SIDECAR_RENDER_KEYS_H

#include "json_put.h"

enum value_shape { SHAPE_STRING, SHAPE_INT, SHAPE_DOUBLE, SHAPE_BOOL, SHAPES };

/* Each begins with a comma and ends where the value begins: ,"name":" and the like. */
struct keys {
    struct {
        struct json_piece trace_id, span_id, parent_span_id, name, kind, start, end, attributes,
            dropped, status, flags;
    } span;
    struct {
        struct json_piece message, code;
    } status;
    struct {
        struct json_piece time, severity_number, severity_text, attributes, dropped, trace_id,
            span_id, observed_time;
        struct json_piece body; /* ,"body":{"stringValue":" */
    } log;
    struct json_piece attribute; /* ,{"key":" */
    struct json_piece
        values[SHAPES]; /* what follows the key's text: ","value":{"intValue":" etc. */
};

/* Made by the first call and kept for good. Any thread. NULL when memory is out. */
const struct keys *keys_get(void);

#endif
