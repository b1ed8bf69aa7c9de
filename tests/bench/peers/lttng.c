/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LTTng-UST: one event of the size of a finished span, or of a log line. A session that records
 * these events into overwritten buffers (a flight recorder, nobody reads) must be running: run.py
 * keeps one.
 */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "lttng_events.h"
#include "peer.h"

enum { LINE_BYTES = 160, ATTRIBUTES_BYTES = 190 };

static const char text[ATTRIBUTES_BYTES];
static const uint8_t ids[32];

/* A tracepoint that no session listens to costs nothing, and shows nothing. */
static void session_require(void)
{
    if (!lttng_ust_tracepoint_enabled(fwdscope_bench, span) ||
        !lttng_ust_tracepoint_enabled(fwdscope_bench, line))
        peer_failed("no session records the events of fwdscope_bench");
}

static void span(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        lttng_ust_tracepoint(fwdscope_bench, span, ids, i, i + 1, "batch", text, ATTRIBUTES_BYTES);
}

static void line(uint64_t calls)
{
    for (uint64_t i = 0; i < calls; i++)
        lttng_ust_tracepoint(fwdscope_bench, line, 9, text, LINE_BYTES);
}

static const struct peer_operation operations[] = {
    {"span", span, 1, NULL, session_require},
    {"span_2t", span, 2, NULL, session_require},
    {"line", line, 1, NULL, session_require},
    {"line_2t", line, 2, NULL, session_require},
};

int main(int argc, char **argv)
{
    return peer_main(operations, sizeof operations / sizeof *operations, argc, argv);
}
