/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Render: the documents of the model as JSON. Byte for byte what json_encode_message() makes of
 * model_metrics(), model_spans() and model_logs(), which stay the reference; a test holds it so.
 *
 * What is around the points and records (resource, scope, metric) is built by the model and encoded
 * after its descriptor with a gap in it. Of points, all but time and value is encoded once a series
 * and kept beside the table (plates.h). Records are written straight from their words, with keys
 * that come from the descriptors. Whatever is rare is built and encoded as ever.
 *
 * Pure. Any thread; an arena, a buffer and the tables of the parts belong to one at a time.
 */
#ifndef SIDECAR_RENDER_H
#define SIDECAR_RENDER_H

#include "buffer.h"
#include "model.h"

/* Each adds one whole document over all parts to `out`. False when nothing is left to say (*full is
 * false, out did not fail), when the arena is full (*full is true) or when out failed; out is then
 * as it was. */
bool render_metrics(struct arena *arena, struct buffer *out, const struct metrics_part *parts,
                    size_t count, bool *full);
bool render_spans(struct arena *arena, struct buffer *out, const struct spans_part *parts,
                  size_t count, bool *full);
bool render_logs(struct arena *arena, struct buffer *out, const struct logs_part *parts,
                 size_t count, bool *full);

#endif
