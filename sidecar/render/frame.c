/* SPDX-License-Identifier: Apache-2.0 */
/* A message with a gap in it is encoded whole; its end is then kept for later. */
#include "frame.h"

#include <string.h>

bool frame_open(struct frame *frame, struct buffer *out, const ProtobufCMessage *message,
                const struct json_gap *gap)
{
    *frame = (struct frame){.start = out->length, .gap = out->length};
    if (message == NULL || !json_encode_message(out, message)) {
        return false;
    }
    frame->gap = gap->at;
    frame->end_bytes = out->length - gap->at;
    if (frame->end_bytes > sizeof frame->end) {
        out->length = frame->start;
        out->failed = true;
        return false;
    }
    memcpy(frame->end, out->data + gap->at, frame->end_bytes);
    out->length = gap->at;
    return true;
}

bool frame_close(const struct frame *frame, struct buffer *out)
{
    if (out->length == frame->gap) {
        out->length = frame->start;
        return false;
    }
    buffer_append(out, frame->end, frame->end_bytes);
    return true;
}

bool document_close(const struct frame *frame, struct buffer *out, bool full)
{
    const bool filled = frame_close(frame, out) && !full && !out->failed;
    if (!filled) {
        out->length = frame->start;
    }
    return filled;
}
