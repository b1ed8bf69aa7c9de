/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire schema of OTLP 1.x as facts: every message, field and enum that the three signals use.
 * Names of messages and enums leave out "opentelemetry.proto.".
 */
#ifndef TESTS_OTLP_SCHEMA_H
#define TESTS_OTLP_SCHEMA_H

enum {
    SCHEMA_MESSAGES = 40,
    SCHEMA_FIELDS = 160,
    SCHEMA_FIELDS_MAX = 16, /* of a message */
    SCHEMA_ENUMS = 4,
    SCHEMA_VALUES = 37,
    SCHEMA_VALUES_MAX = 25, /* of an enum */
};

/* Label: "" singular, "repeated", or "oneof NAME". What OTLP has as `optional NAME` is the only
 * member of a oneof _NAME, as protobuf itself has it underneath. Number 0 ends a list. */
struct schema_message {
    const char *name;
    struct {
        unsigned number;
        const char *name, *type, *label;
    } fields[SCHEMA_FIELDS_MAX + 1];
};

/* A name of NULL ends a list. */
struct schema_enum {
    const char *name;
    struct {
        int number;
        const char *name;
    } values[SCHEMA_VALUES_MAX + 1];
};

/* clang-format off */
static const struct schema_message SCHEMA_MESSAGE[SCHEMA_MESSAGES] = {
    {"collector.logs.v1.ExportLogsPartialSuccess",
     {
         {1, "rejected_log_records", "int64", ""},
         {2, "error_message", "string", ""},
     }},
    {"collector.logs.v1.ExportLogsServiceRequest",
     {
         {1, "resource_logs", "logs.v1.ResourceLogs", "repeated"},
     }},
    {"collector.logs.v1.ExportLogsServiceResponse",
     {
         {1, "partial_success", "collector.logs.v1.ExportLogsPartialSuccess", ""},
     }},
    {"collector.metrics.v1.ExportMetricsPartialSuccess",
     {
         {1, "rejected_data_points", "int64", ""},
         {2, "error_message", "string", ""},
     }},
    {"collector.metrics.v1.ExportMetricsServiceRequest",
     {
         {1, "resource_metrics", "metrics.v1.ResourceMetrics", "repeated"},
     }},
    {"collector.metrics.v1.ExportMetricsServiceResponse",
     {
         {1, "partial_success", "collector.metrics.v1.ExportMetricsPartialSuccess", ""},
     }},
    {"collector.trace.v1.ExportTracePartialSuccess",
     {
         {1, "rejected_spans", "int64", ""},
         {2, "error_message", "string", ""},
     }},
    {"collector.trace.v1.ExportTraceServiceRequest",
     {
         {1, "resource_spans", "trace.v1.ResourceSpans", "repeated"},
     }},
    {"collector.trace.v1.ExportTraceServiceResponse",
     {
         {1, "partial_success", "collector.trace.v1.ExportTracePartialSuccess", ""},
     }},
    {"common.v1.AnyValue",
     {
         {1, "string_value", "string", "oneof value"},
         {2, "bool_value", "bool", "oneof value"},
         {3, "int_value", "int64", "oneof value"},
         {4, "double_value", "double", "oneof value"},
         {5, "array_value", "common.v1.ArrayValue", "oneof value"},
         {6, "kvlist_value", "common.v1.KeyValueList", "oneof value"},
         {7, "bytes_value", "bytes", "oneof value"},
         {8, "string_value_strindex", "int32", "oneof value"},
     }},
    {"common.v1.ArrayValue",
     {
         {1, "values", "common.v1.AnyValue", "repeated"},
     }},
    {"common.v1.EntityRef",
     {
         {1, "schema_url", "string", ""},
         {2, "type", "string", ""},
         {3, "id_keys", "string", "repeated"},
         {4, "description_keys", "string", "repeated"},
     }},
    {"common.v1.InstrumentationScope",
     {
         {1, "name", "string", ""},
         {2, "version", "string", ""},
         {3, "attributes", "common.v1.KeyValue", "repeated"},
         {4, "dropped_attributes_count", "uint32", ""},
     }},
    {"common.v1.KeyValue",
     {
         {1, "key", "string", ""},
         {2, "value", "common.v1.AnyValue", ""},
         {3, "key_strindex", "int32", ""},
     }},
    {"common.v1.KeyValueList",
     {
         {1, "values", "common.v1.KeyValue", "repeated"},
     }},
    {"logs.v1.LogRecord",
     {
         {1, "time_unix_nano", "fixed64", ""},
         {2, "severity_number", "logs.v1.SeverityNumber", ""},
         {3, "severity_text", "string", ""},
         {5, "body", "common.v1.AnyValue", ""},
         {6, "attributes", "common.v1.KeyValue", "repeated"},
         {7, "dropped_attributes_count", "uint32", ""},
         {8, "flags", "fixed32", ""},
         {9, "trace_id", "bytes", ""},
         {10, "span_id", "bytes", ""},
         {11, "observed_time_unix_nano", "fixed64", ""},
         {12, "event_name", "string", ""},
     }},
    {"logs.v1.ResourceLogs",
     {
         {1, "resource", "resource.v1.Resource", ""},
         {2, "scope_logs", "logs.v1.ScopeLogs", "repeated"},
         {3, "schema_url", "string", ""},
     }},
    {"logs.v1.ScopeLogs",
     {
         {1, "scope", "common.v1.InstrumentationScope", ""},
         {2, "log_records", "logs.v1.LogRecord", "repeated"},
         {3, "schema_url", "string", ""},
     }},
    {"metrics.v1.Exemplar",
     {
         {2, "time_unix_nano", "fixed64", ""},
         {3, "as_double", "double", "oneof value"},
         {4, "span_id", "bytes", ""},
         {5, "trace_id", "bytes", ""},
         {6, "as_int", "sfixed64", "oneof value"},
         {7, "filtered_attributes", "common.v1.KeyValue", "repeated"},
     }},
    {"metrics.v1.ExponentialHistogram",
     {
         {1, "data_points", "metrics.v1.ExponentialHistogramDataPoint", "repeated"},
         {2, "aggregation_temporality", "metrics.v1.AggregationTemporality", ""},
     }},
    {"metrics.v1.ExponentialHistogramDataPoint",
     {
         {1, "attributes", "common.v1.KeyValue", "repeated"},
         {2, "start_time_unix_nano", "fixed64", ""},
         {3, "time_unix_nano", "fixed64", ""},
         {4, "count", "fixed64", ""},
         {5, "sum", "double", "oneof _sum"},
         {6, "scale", "sint32", ""},
         {7, "zero_count", "fixed64", ""},
         {8, "positive", "metrics.v1.ExponentialHistogramDataPoint.Buckets", ""},
         {9, "negative", "metrics.v1.ExponentialHistogramDataPoint.Buckets", ""},
         {10, "flags", "uint32", ""},
         {11, "exemplars", "metrics.v1.Exemplar", "repeated"},
         {12, "min", "double", "oneof _min"},
         {13, "max", "double", "oneof _max"},
         {14, "zero_threshold", "double", ""},
     }},
    {"metrics.v1.ExponentialHistogramDataPoint.Buckets",
     {
         {1, "offset", "sint32", ""},
         {2, "bucket_counts", "uint64", "repeated"},
     }},
    {"metrics.v1.Gauge",
     {
         {1, "data_points", "metrics.v1.NumberDataPoint", "repeated"},
     }},
    {"metrics.v1.Histogram",
     {
         {1, "data_points", "metrics.v1.HistogramDataPoint", "repeated"},
         {2, "aggregation_temporality", "metrics.v1.AggregationTemporality", ""},
     }},
    {"metrics.v1.HistogramDataPoint",
     {
         {2, "start_time_unix_nano", "fixed64", ""},
         {3, "time_unix_nano", "fixed64", ""},
         {4, "count", "fixed64", ""},
         {5, "sum", "double", "oneof _sum"},
         {6, "bucket_counts", "fixed64", "repeated"},
         {7, "explicit_bounds", "double", "repeated"},
         {8, "exemplars", "metrics.v1.Exemplar", "repeated"},
         {9, "attributes", "common.v1.KeyValue", "repeated"},
         {10, "flags", "uint32", ""},
         {11, "min", "double", "oneof _min"},
         {12, "max", "double", "oneof _max"},
     }},
    {"metrics.v1.Metric",
     {
         {1, "name", "string", ""},
         {2, "description", "string", ""},
         {3, "unit", "string", ""},
         {5, "gauge", "metrics.v1.Gauge", "oneof data"},
         {7, "sum", "metrics.v1.Sum", "oneof data"},
         {9, "histogram", "metrics.v1.Histogram", "oneof data"},
         {10, "exponential_histogram", "metrics.v1.ExponentialHistogram", "oneof data"},
         {11, "summary", "metrics.v1.Summary", "oneof data"},
         {12, "metadata", "common.v1.KeyValue", "repeated"},
     }},
    {"metrics.v1.NumberDataPoint",
     {
         {2, "start_time_unix_nano", "fixed64", ""},
         {3, "time_unix_nano", "fixed64", ""},
         {4, "as_double", "double", "oneof value"},
         {5, "exemplars", "metrics.v1.Exemplar", "repeated"},
         {6, "as_int", "sfixed64", "oneof value"},
         {7, "attributes", "common.v1.KeyValue", "repeated"},
         {8, "flags", "uint32", ""},
     }},
    {"metrics.v1.ResourceMetrics",
     {
         {1, "resource", "resource.v1.Resource", ""},
         {2, "scope_metrics", "metrics.v1.ScopeMetrics", "repeated"},
         {3, "schema_url", "string", ""},
     }},
    {"metrics.v1.ScopeMetrics",
     {
         {1, "scope", "common.v1.InstrumentationScope", ""},
         {2, "metrics", "metrics.v1.Metric", "repeated"},
         {3, "schema_url", "string", ""},
     }},
    {"metrics.v1.Sum",
     {
         {1, "data_points", "metrics.v1.NumberDataPoint", "repeated"},
         {2, "aggregation_temporality", "metrics.v1.AggregationTemporality", ""},
         {3, "is_monotonic", "bool", ""},
     }},
    {"metrics.v1.Summary",
     {
         {1, "data_points", "metrics.v1.SummaryDataPoint", "repeated"},
     }},
    {"metrics.v1.SummaryDataPoint",
     {
         {2, "start_time_unix_nano", "fixed64", ""},
         {3, "time_unix_nano", "fixed64", ""},
         {4, "count", "fixed64", ""},
         {5, "sum", "double", ""},
         {6, "quantile_values", "metrics.v1.SummaryDataPoint.ValueAtQuantile", "repeated"},
         {7, "attributes", "common.v1.KeyValue", "repeated"},
         {8, "flags", "uint32", ""},
     }},
    {"metrics.v1.SummaryDataPoint.ValueAtQuantile",
     {
         {1, "quantile", "double", ""},
         {2, "value", "double", ""},
     }},
    {"resource.v1.Resource",
     {
         {1, "attributes", "common.v1.KeyValue", "repeated"},
         {2, "dropped_attributes_count", "uint32", ""},
         {3, "entity_refs", "common.v1.EntityRef", "repeated"},
     }},
    {"trace.v1.ResourceSpans",
     {
         {1, "resource", "resource.v1.Resource", ""},
         {2, "scope_spans", "trace.v1.ScopeSpans", "repeated"},
         {3, "schema_url", "string", ""},
     }},
    {"trace.v1.ScopeSpans",
     {
         {1, "scope", "common.v1.InstrumentationScope", ""},
         {2, "spans", "trace.v1.Span", "repeated"},
         {3, "schema_url", "string", ""},
     }},
    {"trace.v1.Span",
     {
         {1, "trace_id", "bytes", ""},
         {2, "span_id", "bytes", ""},
         {3, "trace_state", "string", ""},
         {4, "parent_span_id", "bytes", ""},
         {5, "name", "string", ""},
         {6, "kind", "trace.v1.Span.SpanKind", ""},
         {7, "start_time_unix_nano", "fixed64", ""},
         {8, "end_time_unix_nano", "fixed64", ""},
         {9, "attributes", "common.v1.KeyValue", "repeated"},
         {10, "dropped_attributes_count", "uint32", ""},
         {11, "events", "trace.v1.Span.Event", "repeated"},
         {12, "dropped_events_count", "uint32", ""},
         {13, "links", "trace.v1.Span.Link", "repeated"},
         {14, "dropped_links_count", "uint32", ""},
         {15, "status", "trace.v1.Status", ""},
         {16, "flags", "fixed32", ""},
     }},
    {"trace.v1.Span.Event",
     {
         {1, "time_unix_nano", "fixed64", ""},
         {2, "name", "string", ""},
         {3, "attributes", "common.v1.KeyValue", "repeated"},
         {4, "dropped_attributes_count", "uint32", ""},
     }},
    {"trace.v1.Span.Link",
     {
         {1, "trace_id", "bytes", ""},
         {2, "span_id", "bytes", ""},
         {3, "trace_state", "string", ""},
         {4, "attributes", "common.v1.KeyValue", "repeated"},
         {5, "dropped_attributes_count", "uint32", ""},
         {6, "flags", "fixed32", ""},
     }},
    {"trace.v1.Status",
     {
         {2, "message", "string", ""},
         {3, "code", "trace.v1.Status.StatusCode", ""},
     }},
};

static const struct schema_enum SCHEMA_ENUM[SCHEMA_ENUMS] = {
    {"logs.v1.SeverityNumber",
     {
         {0, "SEVERITY_NUMBER_UNSPECIFIED"},
         {1, "SEVERITY_NUMBER_TRACE"},
         {2, "SEVERITY_NUMBER_TRACE2"},
         {3, "SEVERITY_NUMBER_TRACE3"},
         {4, "SEVERITY_NUMBER_TRACE4"},
         {5, "SEVERITY_NUMBER_DEBUG"},
         {6, "SEVERITY_NUMBER_DEBUG2"},
         {7, "SEVERITY_NUMBER_DEBUG3"},
         {8, "SEVERITY_NUMBER_DEBUG4"},
         {9, "SEVERITY_NUMBER_INFO"},
         {10, "SEVERITY_NUMBER_INFO2"},
         {11, "SEVERITY_NUMBER_INFO3"},
         {12, "SEVERITY_NUMBER_INFO4"},
         {13, "SEVERITY_NUMBER_WARN"},
         {14, "SEVERITY_NUMBER_WARN2"},
         {15, "SEVERITY_NUMBER_WARN3"},
         {16, "SEVERITY_NUMBER_WARN4"},
         {17, "SEVERITY_NUMBER_ERROR"},
         {18, "SEVERITY_NUMBER_ERROR2"},
         {19, "SEVERITY_NUMBER_ERROR3"},
         {20, "SEVERITY_NUMBER_ERROR4"},
         {21, "SEVERITY_NUMBER_FATAL"},
         {22, "SEVERITY_NUMBER_FATAL2"},
         {23, "SEVERITY_NUMBER_FATAL3"},
         {24, "SEVERITY_NUMBER_FATAL4"},
     }},
    {"metrics.v1.AggregationTemporality",
     {
         {0, "AGGREGATION_TEMPORALITY_UNSPECIFIED"},
         {1, "AGGREGATION_TEMPORALITY_DELTA"},
         {2, "AGGREGATION_TEMPORALITY_CUMULATIVE"},
     }},
    {"trace.v1.Span.SpanKind",
     {
         {0, "SPAN_KIND_UNSPECIFIED"},
         {1, "SPAN_KIND_INTERNAL"},
         {2, "SPAN_KIND_SERVER"},
         {3, "SPAN_KIND_CLIENT"},
         {4, "SPAN_KIND_PRODUCER"},
         {5, "SPAN_KIND_CONSUMER"},
     }},
    {"trace.v1.Status.StatusCode",
     {
         {0, "STATUS_CODE_UNSET"},
         {1, "STATUS_CODE_OK"},
         {2, "STATUS_CODE_ERROR"},
     }},
};
/* clang-format on */

#endif
