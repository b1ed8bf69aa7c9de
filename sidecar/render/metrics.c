/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics document. A number's point is a head (start, time, and the key of the value), which
 * all points of a row have in common; its value; and the plate of its series. Everything else is
 * built and encoded: the points of histograms without their attributes, which are a plate, too.
 */
#include "render.h"

#include "frame.h"
#include "json_put.h"
#include "plates.h"

#include <math.h>

enum { HEAD_BYTES_MAX = 96 };

/* ,{"startTimeUnixNano":"1","timeUnixNano":"2","asInt":" and the like. */
struct head {
    char text[1 + HEAD_BYTES_MAX];
    uint8_t bytes; /* 0: not made yet */
};

/* Of the points of one row: sums and gauges, integers and doubles. */
struct row_heads {
    struct head heads[2][2];
};

struct metrics_job {
    struct build build;
    struct buffer *out;
    const struct metrics_part *part;
    const struct plates *plates;
    struct row_heads *heads; /* one a row */
};

static const struct plate *series_plate(const struct metrics_job *job,
                                        const struct series_node *node)
{
    const struct plates *plates = job->plates;
    return node->index < plates->series_count && plates->series[node->index].bytes > 0
               ? &plates->series[node->index]
               : NULL;
}

static bool is_first(const struct buffer *out)
{
    return out->data[out->length - 1] == '[';
}

/* Encodes the point whole. */
static void put_odd_point(struct metrics_job *job, const struct series_node *node,
                          const struct point_row *row)
{
    struct key_values attributes;
    void *point = build_point(&job->build, job->part, node, row);
    if (point != NULL && build_point_attributes(&job->build, &node->series, &attributes)) {
        set_point_attributes(&node->series, point, &attributes);
        (void)json_encode_message(job->out, point);
    }
}

/* Puts a point's message without the bracket at its end, and then the plate without the quote. */
static void put_plated_point(struct metrics_job *job, const struct series_node *node,
                             const struct point_row *row, const struct plate *plate)
{
    const void *point = build_point(&job->build, job->part, node, row);
    if (point != NULL && json_encode_message(job->out, point)) {
        job->out->length--;
        buffer_append(job->out, job->plates->text.data + plate->at + 1, plate->bytes - 1);
    }
}

/* Makes a head of a point like this one, its value 0 and cut off: "asInt":"0"} or "asDouble":0} */
static bool make_head(struct metrics_job *job, const struct series_node *node,
                      const struct point_row *row, bool is_double, struct head *head)
{
    NumberPoint *point = build_point(&job->build, job->part, node, row);
    struct buffer *out = job->out;
    const size_t start = out->length, cut = is_double ? 2 : 3;
    if (point == NULL) {
        return false;
    }
    point->as_int = 0;       /* which is the double's 0, too */
    json_put_char(out, '}'); /* as if behind another: with a comma */
    const bool put = json_encode_message(out, &point->base);
    const size_t bytes = out->length - start - 1 - cut;
    out->length = start;
    if (!put || bytes > HEAD_BYTES_MAX) {
        return false;
    }
    memcpy(head->text, out->data + start + 1, bytes);
    head->bytes = (uint8_t)bytes;
    return true;
}

static void put_number(struct metrics_job *job, const struct series_node *node, size_t row,
                       const struct number *number, const struct plate *plate)
{
    struct buffer *out = job->out;
    const bool gauge = series_is_gauge(node->series.kind);
    struct head *head = &job->heads[row].heads[gauge][number->is_double];
    if (head->bytes == 0 && !make_head(job, node, job->part->rows[row], number->is_double, head)) {
        put_odd_point(job, node, job->part->rows[row]);
        return;
    }
    char *at = json_room(out, HEAD_BYTES_MAX + JSON_INT_ROOM + plate->bytes);
    if (at == NULL) {
        return;
    }
    const bool first = is_first(out); /* has no comma */
    const char *end = job->plates->text.data + plate->at;
    memcpy(at, head->text + first, HEAD_BYTES_MAX);
    at += head->bytes - first;
    if (number->is_double) {
        out->length += head->bytes - first;
        json_put_double(out, number->real);
        json_put(out, end + 1, plate->bytes - 1);
    } else {
        at = json_write_int(at, number->integer);
        memcpy(at, end, plate->bytes);
        out->length = (size_t)(at + plate->bytes - out->data);
    }
}

static void put_point(struct metrics_job *job, const struct series_node *node, size_t index)
{
    const struct point_row *row = job->part->rows[index];
    const struct plate *plate = series_plate(job, node);
    const uint64_t *words = series_point(node, row);
    if (words != NULL && plate != NULL && node->series.kind != SERIES_HISTOGRAM) {
        const struct number number = series_number(node->series.kind, words[0]);
        if (!number.is_double || isfinite(number.real)) {
            put_number(job, node, index, &number, plate);
        }
    } else if (point_is_shown(node, row)) {
        if (words != NULL && plate != NULL) {
            put_plated_point(job, node, row, plate);
        } else {
            put_odd_point(job, node, row);
        }
    }
}

static void put_points(struct metrics_job *job, const struct series_metric *metric)
{
    for (const struct series_node *node = metric->first; node != NULL; node = node->next) {
        for (size_t i = 0; i < job->part->row_count; i++) {
            put_point(job, node, i);
        }
    }
}

/* Puts the metric, unless it has no point. */
static void put_plated_metric(struct metrics_job *job, const struct series_metric *metric,
                              const struct plate *plate)
{
    struct buffer *out = job->out;
    const size_t start = out->length, comma = is_first(out);
    const char *text = job->plates->text.data + plate->at;
    json_put(out, text + comma, plate->bytes - comma);
    const size_t before = out->length;
    put_points(job, metric);
    if (out->length > before) {
        json_put(out, text + plate->bytes, plate->end_bytes);
    } else {
        out->length = start;
    }
}

static void put_odd_metric(struct metrics_job *job, const struct series_metric *metric)
{
    struct json_gap gap = JSON_GAP_INIT;
    struct frame frame;
    void *points[] = {&gap};
    const Metric *around = build_metric(&job->build, metric, points, 1);
    if (frame_open(&frame, job->out, (const ProtobufCMessage *)around, &gap)) {
        put_points(job, metric);
        (void)frame_close(&frame, job->out);
    }
}

static void put_metrics(struct metrics_job *job)
{
    for (size_t i = 0; i < series_metric_count(job->part->table) && !job->build.full; i++) {
        const struct series_metric *metric = series_metric_at(job->part->table, i);
        if (i < job->plates->metric_count && job->plates->metrics[i].bytes > 0) {
            put_plated_metric(job, metric, &job->plates->metrics[i]);
        } else {
            put_odd_metric(job, metric);
        }
    }
}

static void put_part(struct metrics_job *job)
{
    static const struct plates none;
    struct json_gap gap = JSON_GAP_INIT;
    Metric *metrics[] = {(Metric *)&gap};
    struct frame frame;
    const ResourceMetrics *around = build_resource_metrics(&job->build, job->part, metrics, 1);
    job->plates = plates_of(job->part->table, &job->build);
    job->plates = job->plates != NULL ? job->plates : &none;
    job->heads = build_array(&job->build, job->part->row_count, sizeof job->heads[0]);
    if (!job->build.full && frame_open(&frame, job->out, (const ProtobufCMessage *)around, &gap)) {
        put_metrics(job);
        (void)frame_close(&frame, job->out);
    }
}

bool render_metrics(struct arena *arena, struct buffer *out, const struct metrics_part *parts,
                    size_t count, bool *full)
{
    struct json_gap gap = JSON_GAP_INIT;
    ResourceMetrics *list[] = {(ResourceMetrics *)&gap};
    MetricsRequest request =
        OPENTELEMETRY__PROTO__COLLECTOR__METRICS__V1__EXPORT_METRICS_SERVICE_REQUEST__INIT;
    request.n_resource_metrics = 1;
    request.resource_metrics = list;
    struct metrics_job job = {.build = {.arena = arena}, .out = out};
    struct frame frame;
    const bool opened = frame_open(&frame, out, &request.base, &gap);
    for (size_t i = 0; i < count && opened && !job.build.full; i++) {
        job.part = &parts[i];
        if (job.part->row_count > 0) {
            put_part(&job);
        }
    }
    *full = job.build.full;
    return document_close(&frame, out, *full);
}
