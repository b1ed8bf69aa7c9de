/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building message trees in an arena. A call that finds the arena full marks the build and gives
 * NULL or false; the document is then given up as a whole. Text and arrays are pointed to, never
 * copied: messages are read by the encoder only. For the files of model, and for render, which puts
 * documents together from these pieces.
 */
#ifndef SIDECAR_MODEL_BUILD_H
#define SIDECAR_MODEL_BUILD_H

#include "otlp.h"
#include "series.h"

#include <string.h>

struct build {
    struct arena *arena;
    bool full;
};

void *build_array(struct build *build, size_t count, size_t item_bytes);

/* One message at its defaults. */
void *build_message(struct build *build, const ProtobufCMessageDescriptor *descriptor);

Scope *build_scope(struct build *build, const char *name);

/* An id of `count` bytes, copied; an id of zeros leaves *out empty. */
bool build_id(struct build *build, const uint8_t *id, size_t count, ProtobufCBinaryData *out);
static inline bool id_is_zero(const uint8_t *id, size_t count)
{
    static const uint8_t zeros[16]; /* the longest id */
    return memcmp(id, zeros, count) == 0;
}

/* Room in which a record is decoded at most; marks the build full when the arena has less. Tells a
 * record that is none from an arena that is full, after a decoder said no. */
void build_check_decode_room(struct build *build, const struct record *record);

/* Attributes as they go out: keys unique and not empty, the first of a key wins. A double that is
 * not finite goes out as text, because OTLP's JSON has no number for it. */
struct key_values {
    KeyValue **items;
    size_t count, capacity;
    uint32_t left_out;
};
const char *attribute_text(double real); /* of one that is not finite */
bool key_values_begin(struct build *build, struct key_values *list, size_t capacity);
bool key_values_add(struct build *build, struct key_values *list,
                    const struct attribute *attributes, size_t count);
bool key_values_add_text(struct build *build, struct key_values *list, const char *key,
                         const char *text);
bool key_values_add_uint(struct build *build, struct key_values *list, const char *key,
                         uint64_t value); /* saturates at INT64_MAX */

/* dropped + left_out, saturated. */
uint32_t key_values_dropped(const struct key_values *list, unsigned dropped);

/* The resource of a part. */
Resource *build_resource(struct build *build, const struct resource_view *view);

/* ---- metrics ------------------------------------------------------------------------------------
 */

/* Whether this row has something to say of the series. */
bool point_is_shown(const struct series_node *node, const struct point_row *row);

/* The point of a series in a row that shows it, a NumberPoint or a HistogramPoint; and the
 * attributes that every point of the series has. */
void *build_point(struct build *build, const struct metrics_part *part,
                  const struct series_node *node, const struct point_row *row);
bool build_point_attributes(struct build *build, const struct series *series,
                            struct key_values *list);
void set_point_attributes(const struct series *series, void *point, const struct key_values *list);

/* A metric around its points, and resource and scope around the metrics. */
Metric *build_metric(struct build *build, const struct series_metric *metric, void **points,
                     size_t count);
ResourceMetrics *build_resource_metrics(struct build *build, const struct metrics_part *part,
                                        Metric **metrics, size_t count);

/* ---- spans --------------------------------------------------------------------------------------
 */

/* OTLP wants a name, and forwarders may have none to give. */
#define SPAN_UNNAMED "unknown"
enum { TRACE_FLAGS_SAMPLED = 1 };

/* The ids of the spans that went out as finished. A span enters the ring before it leaves its slot,
 * and may do either between the reading of the slots and the drain of the rings: found in both, it
 * has finished. */
struct span_ids {
    uint64_t *words; /* room for all */
    size_t count;
};
void span_ids_add(struct span_ids *ids, const uint8_t *span_id);
void span_ids_sort(struct span_ids *ids); /* once all are there */

/* Whether an active span goes out: it has ids, and they are none of these. */
bool span_is_active(const struct span *span, const struct span_ids *ids);
Span *build_active_span(struct build *build, const struct span *span, uint64_t now_unix_ns);

/* Resource and scope around the spans. */
ResourceSpans *build_resource_spans(struct build *build, const struct spans_part *part,
                                    Span **spans, size_t count);

/* ---- logs ---------------------------------------------------------------------------------------
 */

#define LOG_ORIGINAL_LENGTH "log.original_length" /* attribute of a line that was cut */

/* When the shim took the line; a record without that time, which no shim writes, was taken when its
 * line says, or now. */
uint64_t log_observed_time(uint64_t observed_unix_ns, uint64_t time_unix_ns, uint64_t now_unix_ns);

/* Resource, the loss record in its scope if something was lost, and the scope around the records,
 * if there are any. NULL when there is neither. */
ResourceLogs *build_resource_logs(struct build *build, const struct logs_part *part,
                                  LogRecord **records, size_t count);

#endif
