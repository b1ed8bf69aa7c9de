/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around a list that is written by somebody else. For the files of render only. */
#ifndef SIDECAR_RENDER_FRAME_H
#define SIDECAR_RENDER_FRAME_H

#include "json.h"

struct frame {
    size_t start, gap; /* in the buffer */
    char end[64];      /* what closes it */
    size_t end_bytes;
};

/* Puts what stands before `gap` in the message and keeps what stands behind it. False when out
 * failed, or for no message, as comes of a full arena. */
bool frame_open(struct frame *frame, struct buffer *out, const ProtobufCMessage *message,
                const struct json_gap *gap);

/* Puts what stands behind; or, when nothing came since, takes back what stands before. Returns
 * whether something came. */
bool frame_close(const struct frame *frame, struct buffer *out);

/* The same for the frame of a whole document, which is taken back, too, when the arena is full or
 * out failed. Returns whether there is a document. */
bool document_close(const struct frame *frame, struct buffer *out, bool full);

#endif
