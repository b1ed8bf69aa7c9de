/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model: readings and records made into OTLP messages (protobuf-c), built in an arena. Pure. The
 * catalogue of standard metric names exists once, as a table in model/catalogue.c.
 *
 * Series. What a forwarder emits is flattened into series: one per data point stream, in an order
 * that only ever grows within one life (first what depends on nothing, then instruments, then the
 * metrics of pipelines, as they appear), so that a tick of history is one array of words.
 *
 * A stream is known by name, unit, kind of data and set of attributes. Who shows it first owns it;
 * the same stream from an instrument and from the catalogue is not sent twice. The same name with
 * another unit or kind is a metric of its own. One table or arena belongs to one thread at a time.
 */
#ifndef SIDECAR_MODEL_H
#define SIDECAR_MODEL_H

#include "arena.h"
#include "snapshot.h"

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb-c.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"

/* ---- series ---------------------------------------------------------------------------------- */

/* SUM and GAUGE_UINT hold a uint64_t, UPDOWN and GAUGE_INT two's complement; what is above INT64_MAX
 * goes out as a double. */
enum series_kind {
    SERIES_SUM,
    SERIES_UPDOWN,
    SERIES_GAUGE_INT,
    SERIES_GAUGE_UINT,
    SERIES_GAUGE_DOUBLE,
    SERIES_HISTOGRAM,
};

struct series {
    enum series_kind kind;
    const char *name, *unit, *description;
    const struct attribute *attributes;
    size_t attribute_count;
    const double *bounds;
    size_t bound_count;
    size_t point_index; /* its first word in a point row */
    size_t point_words; /* 1; histogram: 1 sum + buckets */
};

struct series_table; /* owned by a forwarder of the sampler; grows, never shrinks */

struct series_table *series_table_new(const char *metric_prefix);
void series_table_free(struct series_table **table);

/* Process figures of the subject, from /proc where it can be seen. */
struct process_figures {
    bool known;
    uint64_t rss_bytes, cpu_user_ms, cpu_system_ms;
};

/*
 * One tick's values of every series: words[table's word count] and one state byte a series. Owned
 * by the caller of series_table_row(), who frees it with free(); one block.
 */
enum point_state { POINT_ABSENT = 0, POINT_GOOD = 1, POINT_ENDED = 2 }; /* ended: had a value at the
                                                                          previous row, has none now */
struct point_row {
    uint64_t time_unix_ns;
    size_t series_count;
    size_t word_count;
    uint64_t *words;
    uint8_t *states; /* enum point_state */
};

/* How much memory it takes. */
static inline size_t point_row_bytes(const struct point_row *row)
{
    return sizeof *row + row->word_count * sizeof *row->words + row->series_count;
}

/* Adds the series that this snapshot shows for the first time and makes its row. NULL when memory is
 * out. `previous` (may be NULL) is the row before: it tells POINT_ENDED from POINT_ABSENT. Stale
 * units are POINT_ABSENT: an old value never gets a new time. */
struct point_row *series_table_row(struct series_table *table, const struct identity *identity,
                                   const struct snapshot *snapshot,
                                   const struct process_figures *process,
                                   const struct point_row *previous);

/* Gives a row of the table back (NULL: none): its next row of that size needs no memory. */
void series_table_recycle(struct series_table *table, struct point_row *row);

/* The sidecar's own account, a second resource of every metrics document: `fwdscope.sidecar.*`. */
struct self_figures {
    uint64_t ticks, tick_us, retries, stale, torn, spans_lost, logs_lost;
    uint64_t regions, regions_refused, sections_refused, stream_clients, ticks_skipped;
    struct process_figures process;
};
struct series_table *series_table_new_self(void);
struct point_row *series_table_self_row(struct series_table *table, const struct self_figures *self,
                                        uint64_t time_unix_ns);

/* How much memory it holds, what others keep beside it included. */
size_t series_table_bytes(const struct series_table *table);

size_t series_table_count(const struct series_table *table);
const struct series *series_table_at(const struct series_table *table, size_t index);

/* ---- documents ------------------------------------------------------------------------------- */

/* Names of the scopes; their version is that of the sidecar. */
#define MODEL_SCOPE_FORWARDER "fwdscope.forwarder" /* what the forwarder says of itself */
#define MODEL_SCOPE_SIDECAR   "fwdscope.sidecar"   /* the sidecar's own account */
#define MODEL_SCOPE_LOSS      "fwdscope"           /* the loss record */

/* The resource of a forwarder: attributes from its identity, what it published, and the
 * environment's k8s.* and OTEL_* (given as `extra`, which never overrides what the forwarder said). */
struct resource_view {
    const struct identity *identity;     /* NULL: the sidecar itself */
    const struct attribute *published;
    size_t published_count;
    const struct attribute *extra;
    size_t extra_count;
    uint64_t start_unix_ns; /* startTimeUnixNano of its sums */
};

struct metrics_part {
    struct resource_view resource;
    const struct series_table *table;
    const struct point_row *const *rows; /* oldest first */
    size_t row_count;
};
struct spans_part {
    struct resource_view resource;
    const struct record *finished; /* in the order in which they are to go out */
    size_t finished_count;
    const struct span *active; /* end time becomes active_unix_ns, attribute in_progress true */
    size_t active_count;
    uint64_t active_unix_ns;
};
struct logs_part {
    struct resource_view resource;
    const struct record *records;
    size_t record_count;
    uint64_t lost_ticks, lost_spans, lost_logs; /* > 0: one loss record, scope fwdscope */
    uint64_t notice_unix_ns;
};

typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceRequest MetricsRequest;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest TraceRequest;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest LogsRequest;

/* Each builds one whole document over all parts; parts without content leave no envelope. NULL when
 * nothing is left to say (no message is to be sent; *full false) or the arena is full (*full true).
 * The messages point into the parts (rows, table, strings), which must live until the document is
 * encoded. */
MetricsRequest *model_metrics(struct arena *arena, const struct metrics_part *parts, size_t count,
                              bool *full);
TraceRequest *model_spans(struct arena *arena, const struct spans_part *parts, size_t count,
                          bool *full);
LogsRequest *model_logs(struct arena *arena, const struct logs_part *parts, size_t count,
                        bool *full);

#endif
