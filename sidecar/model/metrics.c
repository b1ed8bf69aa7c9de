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

/* Whether this row has something to say of the series. */
static bool is_shown(const struct series_node *node, const struct point_row *row)
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

static size_t count_shown(const struct series_node *node, const struct metrics_part *part)
{
    size_t count = 0;
    for (size_t i = 0; i < part->row_count; i++) {
        count += is_shown(node, part->rows[i]);
    }
    return count;
}

static size_t count_points(const struct series_metric *metric, const struct metrics_part *part)
{
    size_t count = 0;
    for (const struct series_node *node = metric->first; node != NULL; node = node->next) {
        count += count_shown(node, part);
    }
    return count;
}

static bool build_series_attributes(struct build *build, const struct series *series,
                                    struct key_values *list)
{
    return key_values_begin(build, list, series->attribute_count) &&
           key_values_add(build, list, series->attributes, series->attribute_count);
}

/* ---- numbers ------------------------------------------------------------------------------------
 */

static void set_int(NumberPoint *point, int64_t value)
{
    point->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT;
    point->as_int = value;
}

static void set_double(NumberPoint *point, double value)
{
    point->value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
    point->as_double = value;
}

static void set_number(NumberPoint *point, enum series_kind kind, uint64_t word)
{
    switch (kind) {
    case SERIES_SUM:
    case SERIES_GAUGE_UINT:
        if (word > INT64_MAX) {
            set_double(point, (double)word);
        } else {
            set_int(point, (int64_t)word);
        }
        break;
    case SERIES_GAUGE_DOUBLE:
        set_double(point, double_of(word));
        break;
    case SERIES_UPDOWN:
    case SERIES_GAUGE_INT:
    case SERIES_HISTOGRAM:
        set_int(point, (int64_t)word);
        break;
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
        set_number(point, node->series.kind, words[0]);
    } else {
        point->flags = FLAG_NO_VALUE;
    }
    return point;
}

/* The points of one series, put at list[*count] and counted. */
static bool add_numbers(struct build *build, const struct metrics_part *part,
                        const struct series_node *node, NumberPoint **list, size_t *count)
{
    struct key_values attributes;
    if (count_shown(node, part) == 0) {
        return true;
    }
    if (!build_series_attributes(build, &node->series, &attributes)) {
        return false;
    }
    for (size_t i = 0; i < part->row_count; i++) {
        if (!is_shown(node, part->rows[i])) {
            continue;
        }
        NumberPoint *point = build_number(build, part, node, part->rows[i]);
        if (point == NULL) {
            return false;
        }
        point->n_attributes = attributes.count;
        point->attributes = attributes.items;
        list[(*count)++] = point;
    }
    return true;
}

static NumberPoint **build_numbers(struct build *build, const struct metrics_part *part,
                                   const struct series_metric *metric, size_t count)
{
    NumberPoint **list = build_array(build, count, sizeof list[0]);
    size_t filled = 0;
    for (const struct series_node *node = metric->first; node != NULL && list != NULL;
         node = node->next) {
        if (!add_numbers(build, part, node, list, &filled)) {
            return NULL;
        }
    }
    return list;
}

static bool fill_gauge(struct build *build, const struct metrics_part *part,
                       const struct series_metric *metric, size_t count, Metric *out)
{
    Gauge *gauge = build_message(build, &opentelemetry__proto__metrics__v1__gauge__descriptor);
    if (gauge == NULL) {
        return false;
    }
    gauge->n_data_points = count;
    gauge->data_points = build_numbers(build, part, metric, count);
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_GAUGE;
    out->gauge = gauge;
    return gauge->data_points != NULL;
}

static bool fill_sum(struct build *build, const struct metrics_part *part,
                     const struct series_metric *metric, size_t count, Metric *out)
{
    Sum *sum = build_message(build, &opentelemetry__proto__metrics__v1__sum__descriptor);
    if (sum == NULL) {
        return false;
    }
    sum->aggregation_temporality = CUMULATIVE;
    sum->is_monotonic = metric->first->series.kind == SERIES_SUM;
    sum->n_data_points = count;
    sum->data_points = build_numbers(build, part, metric, count);
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM;
    out->sum = sum;
    return sum->data_points != NULL;
}

/* ---- histograms ---------------------------------------------------------------------------------
 */

static void set_histogram(HistogramPoint *point, const struct series *series, const uint64_t *words)
{
    const double sum = double_of(words[0]);
    (void)count_buckets(series, words, &point->count);
    point->n_bucket_counts = series->point_words - 1;
    point->bucket_counts = (uint64_t *)(words + 1);
    point->n_explicit_bounds = series->bound_count;
    point->explicit_bounds = (double *)series->bounds;
    if (point->count == 0 || isfinite(sum)) {
        point->_sum_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT___SUM_SUM;
        point->sum = point->count == 0 ? 0 : sum;
    }
}

static bool add_histograms(struct build *build, const struct metrics_part *part,
                           const struct series_node *node, HistogramPoint **list, size_t *count)
{
    struct key_values attributes;
    if (count_shown(node, part) == 0) {
        return true;
    }
    if (!build_series_attributes(build, &node->series, &attributes)) {
        return false;
    }
    for (size_t i = 0; i < part->row_count; i++) {
        if (!is_shown(node, part->rows[i])) {
            continue;
        }
        HistogramPoint *point = build_message(
            build, &opentelemetry__proto__metrics__v1__histogram_data_point__descriptor);
        if (point == NULL) {
            return false;
        }
        point->start_time_unix_nano = part->resource.start_unix_ns;
        point->time_unix_nano = point_time(part, part->rows[i]);
        set_histogram(point, &node->series, series_point(node, part->rows[i]));
        point->n_attributes = attributes.count;
        point->attributes = attributes.items;
        list[(*count)++] = point;
    }
    return true;
}

static bool fill_histogram(struct build *build, const struct metrics_part *part,
                           const struct series_metric *metric, size_t count, Metric *out)
{
    Histogram *histogram =
        build_message(build, &opentelemetry__proto__metrics__v1__histogram__descriptor);
    HistogramPoint **list = build_array(build, count, sizeof list[0]);
    if (histogram == NULL || list == NULL) {
        return false;
    }
    size_t filled = 0;
    for (const struct series_node *node = metric->first; node != NULL; node = node->next) {
        if (!add_histograms(build, part, node, list, &filled)) {
            return false;
        }
    }
    histogram->aggregation_temporality = CUMULATIVE;
    histogram->n_data_points = count;
    histogram->data_points = list;
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM;
    out->histogram = histogram;
    return true;
}

/* ---- the document -------------------------------------------------------------------------------
 */

static bool fill_data(struct build *build, const struct metrics_part *part,
                      const struct series_metric *metric, size_t count, Metric *out)
{
    switch (metric->first->series.kind) {
    case SERIES_SUM:
    case SERIES_UPDOWN:
        return fill_sum(build, part, metric, count, out);
    case SERIES_HISTOGRAM:
        return fill_histogram(build, part, metric, count, out);
    case SERIES_GAUGE_INT:
    case SERIES_GAUGE_UINT:
    case SERIES_GAUGE_DOUBLE:
        break;
    }
    return fill_gauge(build, part, metric, count, out);
}

/* NULL when no point is left, or when the arena is full. */
static Metric *build_metric(struct build *build, const struct metrics_part *part,
                            const struct series_metric *metric)
{
    const struct series *first = &metric->first->series;
    const size_t count = count_points(metric, part);
    if (count == 0) {
        return NULL;
    }
    Metric *out = build_message(build, &opentelemetry__proto__metrics__v1__metric__descriptor);
    if (out == NULL || !fill_data(build, part, metric, count, out)) {
        return NULL;
    }
    out->name = (char *)first->name;
    out->unit = (char *)first->unit;
    out->description = (char *)first->description;
    return out;
}

static ScopeMetrics *build_scope_metrics(struct build *build, const struct metrics_part *part)
{
    const size_t count_max = series_metric_count(part->table);
    ScopeMetrics *out =
        build_message(build, &opentelemetry__proto__metrics__v1__scope_metrics__descriptor);
    Metric **metrics = build_array(build, count_max, sizeof metrics[0]);
    if (out == NULL || metrics == NULL) {
        return NULL;
    }
    out->metrics = metrics;
    for (size_t i = 0; i < count_max && !build->full; i++) {
        Metric *metric = build_metric(build, part, series_metric_at(part->table, i));
        if (metric != NULL) {
            metrics[out->n_metrics++] = metric;
        }
    }
    out->scope = build_scope(build, part->resource.identity != NULL ? MODEL_SCOPE_FORWARDER
                                                                    : MODEL_SCOPE_SIDECAR);
    return out->n_metrics > 0 ? out : NULL;
}

/* NULL when the part has no content, or when the arena is full. */
static ResourceMetrics *build_part(struct build *build, const struct metrics_part *part)
{
    ScopeMetrics *scope = build_scope_metrics(build, part);
    if (scope == NULL) {
        return NULL;
    }
    ResourceMetrics *out =
        build_message(build, &opentelemetry__proto__metrics__v1__resource_metrics__descriptor);
    ScopeMetrics **scopes = build_array(build, 1, sizeof scopes[0]);
    if (out == NULL || scopes == NULL) {
        return NULL;
    }
    scopes[0] = scope;
    out->resource = build_resource(build, &part->resource);
    out->n_scope_metrics = 1;
    out->scope_metrics = scopes;
    return out;
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
