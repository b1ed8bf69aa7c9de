/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics document: rows of points, regrouped by metric. The messages point into the rows and
 * the table, which must live until the document is encoded.
 */
#include "build.h"
#include "series.h"

#include <math.h>
#include <string.h>

#define CUMULATIVE \
    OPENTELEMETRY__PROTO__METRICS__V1__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE

/* OTLP's "no recorded value" */
enum { FLAG_NO_VALUE = 1 };

static double double_of(uint64_t word)
{
    double real;
    memcpy(&real, &word, sizeof real);
    return real;
}

/* A point is never before the start of its stream, even if the clock went back behind it. */
static uint64_t point_time(const struct metrics_part *part, const struct point_row *row)
{
    const uint64_t start = part->resource.start_unix_ns;
    return row->time_unix_ns > start ? row->time_unix_ns : start;
}

/* The sum of the buckets; false when it does not fit. */
static bool count_buckets(const struct series *series, const uint64_t *words, uint64_t *count)
{
    *count = 0;
    for (size_t i = 1; i < series->point_words; i++) {
        if (words[i] > UINT64_MAX - *count) {
            return false;
        }
        *count += words[i];
    }
    return true;
}

bool point_is_shown(const struct series_node *node, const struct point_row *row)
{
    const uint64_t *words = series_point(node, row);
    if (words == NULL) {
        return series_ended(node, row);
    }
    uint64_t count;
    switch (node->series.kind) {
    case SERIES_GAUGE_DOUBLE:
        return isfinite(double_of(words[0]));
    case SERIES_HISTOGRAM:
        return count_buckets(&node->series, words, &count);
    case SERIES_SUM:
    case SERIES_UPDOWN:
    case SERIES_GAUGE_INT:
    case SERIES_GAUGE_UINT:
        break;
    }
    return true;
}

static size_t count_points(const struct series_metric *metric, const struct metrics_part *part)
{
    size_t count = 0;
    for (const struct series_node *node = metric->first; node != NULL; node = node->next) {
        for (size_t i = 0; i < part->row_count; i++) {
            count += point_is_shown(node, part->rows[i]);
        }
    }
    return count;
}

/* ---- points -------------------------------------------------------------------------------------
 */

static void set_number(NumberPoint *point, const struct number *number)
{
    if (number->is_double) {
        point->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
        point->as_double = number->real;
    } else {
        point->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT;
        point->as_int = number->integer;
    }
}

static NumberPoint *build_number(struct build *build, const struct metrics_part *part,
                                 const struct series_node *node, const struct point_row *row)
{
    NumberPoint *point =
        build_message(build, &opentelemetry__proto__metrics__v1__number_data_point__descriptor);
    if (point == NULL) {
        return NULL;
    }
    const uint64_t *words = series_point(node, row);
    point->time_unix_nano = point_time(part, row);
    if (!series_is_gauge(node->series.kind)) {
        point->start_time_unix_nano = part->resource.start_unix_ns;
    }
    if (words != NULL) {
        const struct number number = series_number(node->series.kind, words[0]);
        set_number(point, &number);
    } else {
        point->flags = FLAG_NO_VALUE;
    }
    return point;
}

static HistogramPoint *build_histogram(struct build *build, const struct metrics_part *part,
                                       const struct series_node *node, const struct point_row *row)
{
    HistogramPoint *point =
        build_message(build, &opentelemetry__proto__metrics__v1__histogram_data_point__descriptor);
    if (point == NULL) {
        return NULL;
    }
    const struct series *series = &node->series;
    const uint64_t *words = series_point(node, row);
    const double sum = double_of(words[0]);
    point->start_time_unix_nano = part->resource.start_unix_ns;
    point->time_unix_nano = point_time(part, row);
    (void)count_buckets(series, words, &point->count);
    point->n_bucket_counts = series->point_words - 1;
    point->bucket_counts = (uint64_t *)(words + 1);
    point->n_explicit_bounds = series->bound_count;
    point->explicit_bounds = (double *)series->bounds;
    if (point->count == 0 || isfinite(sum)) {
        point->_sum_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT___SUM_SUM;
        point->sum = point->count == 0 ? 0 : sum;
    }
    return point;
}

void *build_point(struct build *build, const struct metrics_part *part,
                  const struct series_node *node, const struct point_row *row)
{
    if (node->series.kind == SERIES_HISTOGRAM) {
        return build_histogram(build, part, node, row);
    }
    return build_number(build, part, node, row);
}

bool build_point_attributes(struct build *build, const struct series *series,
                            struct key_values *list)
{
    return key_values_begin(build, list, series->attribute_count) &&
           key_values_add(build, list, series->attributes, series->attribute_count);
}

void set_point_attributes(const struct series *series, void *point, const struct key_values *list)
{
    if (series->kind == SERIES_HISTOGRAM) {
        HistogramPoint *histogram = point;
        histogram->n_attributes = list->count;
        histogram->attributes = list->items;
    } else {
        NumberPoint *number = point;
        number->n_attributes = list->count;
        number->attributes = list->items;
    }
}

/* The points of one series, put at list[*count] and counted. */
static bool add_points(struct build *build, const struct metrics_part *part,
                       const struct series_node *node, void **list, size_t *count)
{
    struct key_values attributes = {0};
    for (size_t i = 0; i < part->row_count; i++) {
        if (!point_is_shown(node, part->rows[i])) {
            continue;
        }
        if (attributes.items == NULL &&
            !build_point_attributes(build, &node->series, &attributes)) {
            return false;
        }
        void *point = build_point(build, part, node, part->rows[i]);
        if (point == NULL) {
            return false;
        }
        set_point_attributes(&node->series, point, &attributes);
        list[(*count)++] = point;
    }
    return true;
}

/* All points of a metric, `count` of them. */
static void **build_points(struct build *build, const struct metrics_part *part,
                           const struct series_metric *metric, size_t count)
{
    void **list = build_array(build, count, sizeof list[0]);
    size_t filled = 0;
    for (const struct series_node *node = metric->first; node != NULL && list != NULL;
         node = node->next) {
        if (!add_points(build, part, node, list, &filled)) {
            return NULL;
        }
    }
    return list;
}

/* ---- metrics ------------------------------------------------------------------------------------
 */

static bool fill_gauge(struct build *build, void **points, size_t count, Metric *out)
{
    Gauge *gauge = build_message(build, &opentelemetry__proto__metrics__v1__gauge__descriptor);
    if (gauge == NULL) {
        return false;
    }
    gauge->n_data_points = count;
    gauge->data_points = (NumberPoint **)points;
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_GAUGE;
    out->gauge = gauge;
    return true;
}

static bool fill_sum(struct build *build, bool monotonic, void **points, size_t count, Metric *out)
{
    Sum *sum = build_message(build, &opentelemetry__proto__metrics__v1__sum__descriptor);
    if (sum == NULL) {
        return false;
    }
    sum->aggregation_temporality = CUMULATIVE;
    sum->is_monotonic = monotonic;
    sum->n_data_points = count;
    sum->data_points = (NumberPoint **)points;
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM;
    out->sum = sum;
    return true;
}

static bool fill_histogram(struct build *build, void **points, size_t count, Metric *out)
{
    Histogram *histogram =
        build_message(build, &opentelemetry__proto__metrics__v1__histogram__descriptor);
    if (histogram == NULL) {
        return false;
    }
    histogram->aggregation_temporality = CUMULATIVE;
    histogram->n_data_points = count;
    histogram->data_points = (HistogramPoint **)points;
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM;
    out->histogram = histogram;
    return true;
}

static bool fill_data(struct build *build, enum series_kind kind, void **points, size_t count,
                      Metric *out)
{
    switch (kind) {
    case SERIES_SUM:
    case SERIES_UPDOWN:
        return fill_sum(build, kind == SERIES_SUM, points, count, out);
    case SERIES_HISTOGRAM:
        return fill_histogram(build, points, count, out);
    case SERIES_GAUGE_INT:
    case SERIES_GAUGE_UINT:
    case SERIES_GAUGE_DOUBLE:
        break;
    }
    return fill_gauge(build, points, count, out);
}

Metric *build_metric(struct build *build, const struct series_metric *metric, void **points,
                     size_t count)
{
    const struct series *first = &metric->first->series;
    Metric *out = build_message(build, &opentelemetry__proto__metrics__v1__metric__descriptor);
    if (out == NULL || !fill_data(build, first->kind, points, count, out)) {
        return NULL;
    }
    out->name = (char *)first->name;
    out->unit = (char *)first->unit;
    out->description = (char *)first->description;
    return out;
}

/* ---- the document -------------------------------------------------------------------------------
 */

ResourceMetrics *build_resource_metrics(struct build *build, const struct metrics_part *part,
                                        Metric **metrics, size_t count)
{
    ResourceMetrics *out =
        build_message(build, &opentelemetry__proto__metrics__v1__resource_metrics__descriptor);
    ScopeMetrics *scope =
        build_message(build, &opentelemetry__proto__metrics__v1__scope_metrics__descriptor);
    ScopeMetrics **scopes = build_array(build, 1, sizeof scopes[0]);
    if (out == NULL || scope == NULL || scopes == NULL) {
        return NULL;
    }
    scope->scope = build_scope(build, part->resource.identity != NULL ? MODEL_SCOPE_FORWARDER
                                                                      : MODEL_SCOPE_SIDECAR);
    scope->n_metrics = count;
    scope->metrics = metrics;
    scopes[0] = scope;
    out->resource = build_resource(build, &part->resource);
    out->n_scope_metrics = 1;
    out->scope_metrics = scopes;
    return out;
}

/* NULL when no point is left, or when the arena is full. */
static Metric *build_whole_metric(struct build *build, const struct metrics_part *part,
                                  const struct series_metric *metric)
{
    const size_t count = count_points(metric, part);
    void **points = count > 0 ? build_points(build, part, metric, count) : NULL;
    return points != NULL ? build_metric(build, metric, points, count) : NULL;
}

/* NULL when the part has no content, or when the arena is full. */
static ResourceMetrics *build_part(struct build *build, const struct metrics_part *part)
{
    const size_t count_max = series_metric_count(part->table);
    Metric **metrics = build_array(build, count_max, sizeof metrics[0]);
    size_t count = 0;
    for (size_t i = 0; i < count_max && !build->full; i++) {
        Metric *metric = build_whole_metric(build, part, series_metric_at(part->table, i));
        if (metric != NULL) {
            metrics[count++] = metric;
        }
    }
    return count > 0 ? build_resource_metrics(build, part, metrics, count) : NULL;
}

MetricsRequest *model_metrics(struct arena *arena, const struct metrics_part *parts, size_t count,
                              bool *full)
{
    struct build build = {.arena = arena};
    MetricsRequest *out = build_message(
        &build,
        &opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor);
    ResourceMetrics **list = build_array(&build, count, sizeof list[0]);
    size_t filled = 0;
    for (size_t i = 0; i < count && !build.full; i++) {
        ResourceMetrics *part = build_part(&build, &parts[i]);
        if (part != NULL) {
            list[filled++] = part;
        }
    }
    *full = build.full;
    if (build.full || filled == 0) {
        return NULL;
    }
    out->n_resource_metrics = filled;
    out->resource_metrics = list;
    return out;
}
