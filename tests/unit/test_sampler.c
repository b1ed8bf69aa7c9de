/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tick over a real region and a stream of the test's own, which says how many listen: what is
 * made of a tick is counted where documents are rendered.
 */
#include "fwdscope.h"
#include "render.h"
#include "sampler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SIGNALS = TICK_MESSAGES };

static char dir[64];
static struct sampler sampler;
static struct {
    unsigned clients;
    unsigned rendered[SIGNALS], published[SIGNALS]; /* documents, messages */
} seen;

/* ---- the stream's side, and where documents are made ----------------------------------------- */

unsigned __wrap_stream_clients(const struct stream *stream);
uint64_t __wrap_stream_ticks_skipped(const struct stream *stream);
void __wrap_stream_publish(struct stream *stream, struct tick_messages *tick);

unsigned __wrap_stream_clients(const struct stream *stream)
{
    (void)stream;
    return seen.clients;
}

uint64_t __wrap_stream_ticks_skipped(const struct stream *stream)
{
    (void)stream;
    return 0;
}

void __wrap_stream_publish(struct stream *stream, struct tick_messages *tick)
{
    (void)stream;
    for (size_t i = 0; i < SIGNALS; i++) {
        seen.published[i] += tick->messages[i] != NULL;
        message_unref(&tick->messages[i]);
    }
}

bool __real_render_metrics(struct arena *arena, struct buffer *out,
                           const struct metrics_part *parts, size_t count, bool *full);
bool __wrap_render_metrics(struct arena *arena, struct buffer *out,
                           const struct metrics_part *parts, size_t count, bool *full);
bool __real_render_spans(struct arena *arena, struct buffer *out, const struct spans_part *parts,
                         size_t count, bool *full);
bool __wrap_render_spans(struct arena *arena, struct buffer *out, const struct spans_part *parts,
                         size_t count, bool *full);
bool __real_render_logs(struct arena *arena, struct buffer *out, const struct logs_part *parts,
                        size_t count, bool *full);
bool __wrap_render_logs(struct arena *arena, struct buffer *out, const struct logs_part *parts,
                        size_t count, bool *full);

bool __wrap_render_metrics(struct arena *arena, struct buffer *out,
                           const struct metrics_part *parts, size_t count, bool *full)
{
    seen.rendered[SIGNAL_METRICS]++;
    return __real_render_metrics(arena, out, parts, count, full);
}

bool __wrap_render_spans(struct arena *arena, struct buffer *out, const struct spans_part *parts,
                         size_t count, bool *full)
{
    seen.rendered[SIGNAL_SPANS]++;
    return __real_render_spans(arena, out, parts, count, full);
}

bool __wrap_render_logs(struct arena *arena, struct buffer *out, const struct logs_part *parts,
                        size_t count, bool *full)
{
    seen.rendered[SIGNAL_LOGS]++;
    return __real_render_logs(arena, out, parts, count, full);
}

/* ---- the tick -------------------------------------------------------------------------------- */

static int sampler_setup(void **state)
{
    (void)state;
    const struct fwdscope_options options = {.service_name = "tester", .directory = dir};
    const struct fleet_target target = {.dir = dir};
    static char stream; /* of which nothing is ever looked at */
    snprintf(dir, sizeof dir, "/dev/shm/fwdscope-sampler-XXXXXX");
    if (mkdtemp(dir) == NULL || !fwdscope_open(&options) ||
        !sampler_init(&sampler, &target, 1000000, (struct stream *)&stream))
        return -1;
    sampler.fleet.silent = true;
    return 0;
}

static int sampler_teardown(void **state)
{
    (void)state;
    char command[128];
    sampler_free(&sampler);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : -1;
}

/* Ticks with so many clients, each of a forwarder that just wrote of every signal. */
static void ticks(unsigned clients, int count)
{
    seen.clients = clients;
    while (count-- > 0) {
        const fwdscope_span span = fwdscope_span_start("work", FWDSCOPE_SPAN_INTERNAL, 0);
        fwdscope_span_end(span, 0);
        fwdscope_log(FWDSCOPE_INFO, "line", 4);
        sampler_tick(&sampler);
    }
}

static void made_check(unsigned ticks_heard)
{
    for (size_t i = 0; i < SIGNALS; i++) {
        assert_int_equal(seen.rendered[i], ticks_heard);
        assert_int_equal(seen.published[i], ticks_heard);
    }
}

/* Rings are drained and rows made, but no document; with a client there is one of each signal, and
 * with many no more than one. */
static void without_a_client_nothing_is_rendered(void **state)
{
    (void)state;
    ticks(0, 20);
    made_check(0);
    assert_int_equal(sampler.stats.ticks, 20);
    assert_int_equal(sampler.fleet.lives[0]->history.logs.published, 20);
    ticks(1, 3);
    made_check(3);
    ticks(1000, 2);
    made_check(5);
    ticks(0, 20);
    made_check(5);
    assert_int_equal(sampler.fleet.lives[0]->history.logs.published, 45);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_client_nothing_is_rendered, sampler_setup,
                                        sampler_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
