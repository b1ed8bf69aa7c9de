/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every standard metric, once. A fan-out counts in output_lines and output_bytes once an output,
 * because each output wrote them; the transform's lines_out of the status is the maximum instead.
 */
#include "catalogue.h"

#define PROCESS(field) offsetof(struct process_figures, field)
#define QUEUE(field)   offsetof(struct component, field)
#define SELF(field)    offsetof(struct self_figures, field)

/* clang-format off */
const struct catalogue_metric catalogue[] = {
    {".uptime_seconds", SOURCE_UPTIME, 0, SERIES_GAUGE_DOUBLE, "s",
     "Time since this life of the forwarder began", NULL},

    {"process.memory.rss", SOURCE_PROCESS, PROCESS(rss_bytes), SERIES_GAUGE_UINT, "By",
     "Resident memory of the process", NULL},
    {"process.cpu.user_ms", SOURCE_PROCESS, PROCESS(cpu_user_ms), SERIES_SUM, "ms",
     "CPU time of the process in user mode", NULL},
    {"process.cpu.sys_ms", SOURCE_PROCESS, PROCESS(cpu_system_ms), SERIES_SUM, "ms",
     "CPU time of the process in the kernel", NULL},

    {".input_lines", SOURCE_INPUTS, COUNT_LINES, SERIES_SUM, "{line}",
     "Lines read by the inputs", NULL},
    {".input_bytes", SOURCE_INPUTS, COUNT_BYTES, SERIES_SUM, "By",
     "Bytes read by the inputs", NULL},
    {".output_lines", SOURCE_OUTPUTS, COUNT_LINES, SERIES_SUM, "{line}",
     "Lines delivered, summed over the outputs", NULL},
    {".output_bytes", SOURCE_OUTPUTS, COUNT_BYTES, SERIES_SUM, "By",
     "Bytes delivered, summed over the outputs", NULL},
    {".output_errors", SOURCE_OUTPUTS, COUNT_ERRORS, SERIES_SUM, "{error}",
     "Failed deliveries, summed over the outputs", NULL},

    {".batches", SOURCE_BATCHES, BATCH_BATCHES, SERIES_SUM, "{batch}",
     "Batches finished", NULL},
    {".batch_rows", SOURCE_BATCHES, BATCH_ROWS, SERIES_SUM, "{row}",
     "Rows in finished batches", NULL},
    {".queue_wait_nanos", SOURCE_BATCHES, BATCH_QUEUE_WAIT_NS, SERIES_SUM, "ns",
     "Time that batches waited for an output", NULL},
    {".send_nanos", SOURCE_BATCHES, BATCH_SEND_NS, SERIES_SUM, "ns",
     "Time spent sending", NULL},
    {".backpressure_stalls", SOURCE_BATCHES, BATCH_STALLS, SERIES_SUM, "{stall}",
     "Times that the input had to wait for room", NULL},
    {".dropped_batches", SOURCE_BATCHES, BATCH_DROPPED, SERIES_SUM, "{batch}",
     "Batches dropped", NULL},
    {".scan_errors", SOURCE_BATCHES, BATCH_SCAN_ERRORS, SERIES_SUM, "{error}",
     "Errors while scanning", NULL},
    {".parse_errors", SOURCE_BATCHES, BATCH_PARSE_ERRORS, SERIES_SUM, "{error}",
     "Errors while parsing", NULL},
    {".stage_nanos", SOURCE_BATCHES, BATCH_SCAN_NS, SERIES_SUM, "ns",
     "Time spent in a stage, summed over workers", "scan"},
    {".stage_nanos", SOURCE_BATCHES, BATCH_TRANSFORM_NS, SERIES_SUM, "ns",
     "Time spent in a stage, summed over workers", "transform"},
    {".stage_nanos", SOURCE_BATCHES, BATCH_OUTPUT_NS, SERIES_SUM, "ns",
     "Time spent in a stage, summed over workers", "output"},
    {".inflight_batches", SOURCE_BATCHES, BATCH_INFLIGHT, SERIES_GAUGE_UINT, "{batch}",
     "Batches begun and not done with", NULL},

    {".queue_depth", SOURCE_QUEUE, QUEUE(queue_depth), SERIES_GAUGE_UINT, "{item}",
     "Items waiting in a component's queue", NULL},
    {".queue_capacity", SOURCE_QUEUE, QUEUE(queue_capacity), SERIES_GAUGE_UINT, "{item}",
     "Items that a component's queue can hold", NULL},

    {"fwdscope.sidecar.ticks", SOURCE_SELF, SELF(ticks), SERIES_SUM, "{tick}",
     "Samples taken", NULL},
    {"fwdscope.sidecar.tick_us", SOURCE_SELF, SELF(tick_us), SERIES_GAUGE_UINT, "us",
     "Time that the last tick took", NULL},
    {"fwdscope.sidecar.retries", SOURCE_SELF, SELF(retries), SERIES_SUM, "{copy}",
     "Copies thrown away because the forwarder wrote meanwhile", NULL},
    {"fwdscope.sidecar.stale", SOURCE_SELF, SELF(stale), SERIES_GAUGE_UINT, "{unit}",
     "Units left out of the last readings", NULL},
    {"fwdscope.sidecar.torn", SOURCE_SELF, SELF(torn), SERIES_SUM, "{unit}",
     "Units left out of readings", NULL},
    {"fwdscope.sidecar.spans_lost", SOURCE_SELF, SELF(spans_lost), SERIES_SUM, "{span}",
     "Spans lost before they could be read", NULL},
    {"fwdscope.sidecar.logs_lost", SOURCE_SELF, SELF(logs_lost), SERIES_SUM, "{record}",
     "Log records lost before they could be read", NULL},
    {"fwdscope.sidecar.regions", SOURCE_SELF, SELF(regions), SERIES_GAUGE_UINT, "{region}",
     "Regions attached", NULL},
    {"fwdscope.sidecar.regions_refused", SOURCE_SELF, SELF(regions_refused), SERIES_GAUGE_UINT,
     "{region}", "Regions that are there and could not be attached", NULL},
    {"fwdscope.sidecar.sections_refused", SOURCE_SELF, SELF(sections_refused), SERIES_GAUGE_UINT,
     "{section}", "Sections of attached regions that are not served whole", NULL},
    {"fwdscope.sidecar.stream_clients", SOURCE_SELF, SELF(stream_clients), SERIES_GAUGE_UINT,
     "{client}", "Stream clients connected", NULL},
    {"fwdscope.sidecar.ticks_skipped", SOURCE_SELF, SELF(ticks_skipped), SERIES_SUM, "{tick}",
     "Ticks that slow stream clients skipped", NULL},
};
/* clang-format on */

const size_t catalogue_count = sizeof catalogue / sizeof catalogue[0];
