/* SPDX-License-Identifier: Apache-2.0 */
/* Plates are cut from messages that hold nothing but what does not change. */
#include "plates.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

#define PLATES_BYTES_MAX ((size_t)32 << 20)

static void plates_drop(void *data)
{
    struct plates *plates = data;
    buffer_free(&plates->text);
    free(plates->series);
    free(plates->metrics);
    free(plates);
}

static size_t plates_bytes(const void *data)
{
    const struct plates *plates = data;
    return sizeof *plates + plates->text.capacity +
           (plates->series_count + plates->metric_count) * sizeof *plates->series;
}

static struct plates *plates_find_or_make(const struct series_table *table)
{
    struct series_companion *companion = series_table_companion(table);
    if (companion->data == NULL) {
        struct plates *plates = calloc(1, sizeof *plates);
        if (plates == NULL) {
            return NULL;
        }
        buffer_init(&plates->text, PLATES_BYTES_MAX);
        *companion =
            (struct series_companion){.data = plates, .drop = plates_drop, .bytes = plates_bytes};
    }
    return companion->data;
}

/* A plate of what was put since `start`, or none when it did not fit. */
static struct plate plate_since(struct buffer *text, size_t start, size_t end_bytes)
{
    if (text->failed) {
        text->failed = false;
        text->length = start;
        return (struct plate){0};
    }
    return (struct plate){.at = (uint32_t)start,
                          .bytes = (uint32_t)(text->length - start - end_bytes),
                          .end_bytes = (uint32_t)end_bytes};
}

/* The message of a point that has attributes and nothing else begins with them,
 * {"attributes":[...]} or {}, and the bracket gives way to a quote and a comma. */
static struct plate cut_series(struct buffer *text, const struct series *series,
                               const struct key_values *attributes)
{
    NumberPoint number = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__INIT;
    HistogramPoint histogram = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__INIT;
    const bool is_histogram = series->kind == SERIES_HISTOGRAM;
    ProtobufCMessage *point = is_histogram ? &histogram.base : &number.base;
    set_point_attributes(series, point, attributes);

    const size_t start = text->length;
    buffer_append(text, "\"", 1); /* behind which the message is put with a comma: ",{ */
    if (!json_encode_message(text, point)) {
        text->failed = true;
        return plate_since(text, start, 0);
    }
    const size_t skip = attributes->count > 0 ? 1 : 2;
    text->data[start + skip] = '"';
    if (attributes->count > 0) {
        text->data[start + 2] = ',';
    }
    return plate_since(text, start + skip, 0);
}

static struct plate cut_metric(struct buffer *text, const Metric *metric,
                               const struct json_gap *gap)
{
    const size_t start = text->length;
    buffer_append(text, "}", 1); /* as if behind another: with a comma */
    if (metric == NULL || !json_encode_message(text, &metric->base)) {
        text->failed = true;
        return plate_since(text, start, 0);
    }
    return plate_since(text, start + 1, text->length - gap->at);
}

/* Room for `count` plates; the list may then be longer than it was. */
static bool reserve(struct plate **list, size_t count)
{
    struct plate *moved = realloc(*list, count * sizeof **list);
    if (moved != NULL) {
        *list = moved;
    }
    return moved != NULL;
}

static void cut_new_series(struct plates *plates, const struct series_table *table,
                           struct build *build)
{
    const size_t count = series_table_count(table);
    if (count == plates->series_count || !reserve(&plates->series, count)) {
        return;
    }
    for (; plates->series_count < count; plates->series_count++) {
        const struct series *series = series_table_at(table, plates->series_count);
        struct key_values attributes;
        if (!build_point_attributes(build, series, &attributes)) {
            return;
        }
        plates->series[plates->series_count] = cut_series(&plates->text, series, &attributes);
    }
}

static void cut_new_metrics(struct plates *plates, const struct series_table *table,
                            struct build *build)
{
    const size_t count = series_metric_count(table);
    if (count == plates->metric_count || !reserve(&plates->metrics, count)) {
        return;
    }
    for (; plates->metric_count < count; plates->metric_count++) {
        struct json_gap gap = JSON_GAP_INIT;
        void *points[] = {&gap};
        const Metric *metric =
            build_metric(build, series_metric_at(table, plates->metric_count), points, 1);
        plates->metrics[plates->metric_count] = cut_metric(&plates->text, metric, &gap);
    }
}

const struct plates *plates_of(const struct series_table *table, struct build *build)
{
    struct plates *plates = plates_find_or_make(table);
    if (plates != NULL) {
        cut_new_metrics(plates, table, build);
        cut_new_series(plates, table, build);
    }
    return plates;
}
