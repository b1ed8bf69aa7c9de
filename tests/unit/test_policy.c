/* SPDX-License-Identifier: Apache-2.0 */
/* Policy: the words of health, readiness, the writer's verdict, liveness, the bottleneck. */
#include "policy.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

/* One forwarder with one pipeline of one input and one output, alive and healthy. */
struct fixture {
    struct identity identity;
    struct component components[2];
    uint64_t stuck_ns[2];
    struct pipeline pipeline;
    struct pipeline_view pipeline_view;
    struct snapshot snapshot;
    struct writer_verdict verdict;
    struct forwarder_view view;
};

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->components[0] = (struct component){.kind = COMPONENT_INPUT, .name = "in", .type = "file"};
    f->components[1] = (struct component){.kind = COMPONENT_OUTPUT, .name = "out", .type = "tcp"};
    f->pipeline = (struct pipeline){.name = "p", .components = f->components, .component_count = 2};
    f->pipeline_view.stuck_ns = f->stuck_ns;
    f->snapshot = (struct snapshot){.lock = LOCK_HELD,
                                    .state = STATE_RUNNING,
                                    .close_reason = "",
                                    .pipelines = &f->pipeline,
                                    .pipeline_count = 1};
    f->verdict = (struct writer_verdict){.state = WRITER_ALIVE, .reason = "alive"};
    f->view = (struct forwarder_view){.identity = &f->identity,
                                      .snapshot = &f->snapshot,
                                      .verdict = &f->verdict,
                                      .pipelines = &f->pipeline_view};
}

static void assert_readiness(const struct fixture *f, bool ready, const char *reason)
{
    const struct forwarder_view *views[] = {&f->view};
    const struct readiness got = policy_readiness(views, 1, TROUBLE_NONE);
    assert_string_equal(got.reason, reason);
    assert_int_equal(got.ready, ready);
}

/* ---- words --------------------------------------------------------------------------------------
 */

static void health_words_are_those_of_the_contract(void **state)
{
    (void)state;
    static const struct {
        unsigned published;
        const char *name, *reason, *impact;
    } rows[] = {
        {0, "healthy", "all_components_healthy", "ready"},
        {1, "degraded", "components_degraded_but_operational", "non_blocking"},
        {2, "starting", "components_starting", "gating"},
        {3, "stopping", "components_stopping", "gating"},
        {4, "stopped", "components_stopped", "gating"},
        {5, "failed", "components_failed", "gating"},
        {6, "failed", "components_failed", "gating"},
        {UINT32_MAX, "failed", "components_failed", "gating"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const enum health health = policy_health(rows[i].published);
        assert_string_equal(health_name(health), rows[i].name);
        assert_string_equal(health_reason(health), rows[i].reason);
        assert_string_equal(health_readiness_impact(health), rows[i].impact);
    }
}

static void writer_words_are_those_of_the_contract(void **state)
{
    (void)state;
    assert_string_equal(writer_state_name(WRITER_ALIVE), "alive");
    assert_string_equal(writer_state_name(WRITER_STALLED), "stalled");
    assert_string_equal(writer_state_name(WRITER_EXITED), "exited");
    assert_string_equal(writer_state_name(WRITER_CRASHED), "crashed");
    assert_string_equal(writer_state_name(WRITER_UNKNOWN), "unknown");
}

/* ---- readiness ----------------------------------------------------------------------------------
 */

static void readiness_follows_the_worst_component(void **state)
{
    (void)state;
    static const struct {
        unsigned health;
        bool ready;
        const char *reason;
    } rows[] = {
        {0, true, "all_components_healthy"}, {1, true, "components_degraded_but_operational"},
        {2, false, "components_starting"},   {3, false, "components_stopping"},
        {4, false, "components_stopped"},    {5, false, "components_failed"},
        {99, false, "components_failed"},
    };
    struct fixture f;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_up(&f);
        f.components[1].health = rows[i].health;
        assert_readiness(&f, rows[i].ready, rows[i].reason);
    }
}

static void no_pipeline_is_not_ready(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.snapshot.pipeline_count = 0;
    assert_readiness(&f, false, "no_pipelines_registered");
}

static void pipeline_without_components_is_ready(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.pipeline.component_count = 0;
    assert_readiness(&f, true, "all_components_healthy");
}

static void no_region_is_not_found(void **state)
{
    (void)state;
    const struct readiness got = policy_readiness(NULL, 0, TROUBLE_NONE);
    assert_string_equal(got.reason, "region_not_found");
    assert_false(got.ready);
}

static void trouble_is_told_when_nothing_is_attached(void **state)
{
    (void)state;
    assert_string_equal(policy_readiness(NULL, 0, TROUBLE_INCOMPATIBLE).reason,
                        "region_incompatible");
    assert_string_equal(policy_readiness(NULL, 0, TROUBLE_CORRUPT).reason, "region_corrupt");
    assert_string_equal(policy_readiness(NULL, 0, TROUBLE_DENIED).reason, "region_not_found");
    assert_false(policy_readiness(NULL, 0, TROUBLE_CORRUPT).ready);
}

static void trouble_does_not_unready_a_working_forwarder(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    const struct forwarder_view *views[] = {&f.view};
    assert_true(policy_readiness(views, 1, TROUBLE_CORRUPT).ready);
}

static void a_gone_or_hung_writer_comes_before_health(void **state)
{
    (void)state;
    static const struct {
        enum writer_state writer;
        const char *reason;
    } rows[] = {
        {WRITER_STALLED, "writer_stalled"},
        {WRITER_EXITED, "writer_exited"},
        {WRITER_CRASHED, "writer_crashed"},
    };
    struct fixture f;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_up(&f);
        f.verdict.state = rows[i].writer;
        f.components[0].health = FAILED;
        assert_readiness(&f, false, rows[i].reason);
        f.snapshot.pipeline_count = 0;
        assert_readiness(&f, false, rows[i].reason);
    }
}

static void a_writer_that_cannot_be_judged_is_ready_by_its_health(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.verdict.state = WRITER_UNKNOWN;
    assert_readiness(&f, true, "all_components_healthy");
}

static void a_region_cut_under_us_is_corrupt(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.snapshot.truncated = true;
    assert_readiness(&f, false, "region_corrupt");
}

static void several_forwarders_are_as_ready_as_the_worst(void **state)
{
    (void)state;
    struct fixture a, b;
    set_up(&a);
    set_up(&b);
    const struct forwarder_view *views[] = {&a.view, &b.view};
    assert_true(policy_readiness(views, 2, TROUBLE_NONE).ready);
    b.components[0].health = STOPPING;
    assert_string_equal(policy_readiness(views, 2, TROUBLE_NONE).reason, "components_stopping");
    b.snapshot.pipeline_count = 0;
    assert_string_equal(policy_readiness(views, 2, TROUBLE_NONE).reason, "no_pipelines_registered");
    b.verdict.state = WRITER_CRASHED;
    assert_string_equal(policy_readiness(views, 2, TROUBLE_NONE).reason, "writer_crashed");
    a.verdict.state = WRITER_EXITED; /* both endpoints tell of the same one */
    assert_string_equal(policy_readiness(views, 2, TROUBLE_NONE).reason, "writer_crashed");
    assert_string_equal(policy_forwarder_liveness(views, 2).state, "crashed");
    a.verdict.state = WRITER_STALLED;
    assert_string_equal(policy_readiness(views, 2, TROUBLE_NONE).reason, "writer_stalled");
}

static void a_previous_life_never_counts(void **state)
{
    (void)state;
    struct fixture now, before;
    set_up(&now);
    set_up(&before);
    before.verdict.state = WRITER_CRASHED;
    before.components[0].health = FAILED;
    now.view.previous = &before.view;
    assert_readiness(&now, true, "all_components_healthy");
}

static void worst_health_counts_the_pipelines_of_all(void **state)
{
    (void)state;
    struct fixture a, b;
    set_up(&a);
    set_up(&b);
    b.components[1].health = DEGRADED;
    const struct forwarder_view *views[] = {&a.view, &b.view};
    size_t pipelines = 0;
    assert_int_equal(policy_worst_health(views, 2, &pipelines), DEGRADED);
    assert_int_equal(pipelines, 2);
    assert_int_equal(policy_worst_health(views, 2, NULL), DEGRADED);
    assert_int_equal(policy_worst_health(NULL, 0, &pipelines), HEALTHY);
    assert_int_equal(pipelines, 0);
}

/* ---- progress -----------------------------------------------------------------------------------
 */

static void a_stuck_output_is_degraded_at_least(void **state)
{
    (void)state;
    struct component output = {
        .kind = COMPONENT_OUTPUT, .has_queue = true, .queue_depth = 1, .queue_capacity = 10};
    assert_int_equal(policy_component_health(&output, 10 * SECOND - 1), HEALTHY);
    assert_int_equal(policy_component_health(&output, 10 * SECOND), DEGRADED);
    output.health = FAILED;
    assert_int_equal(policy_component_health(&output, 10 * SECOND), FAILED);
    output.health = STARTING;
    assert_int_equal(policy_component_health(&output, 10 * SECOND), STARTING);
}

static void only_an_output_with_work_waiting_can_be_stuck(void **state)
{
    (void)state;
    struct component component = {.kind = COMPONENT_OUTPUT, .has_queue = true, .queue_depth = 0};
    assert_int_equal(policy_component_health(&component, 60 * SECOND), HEALTHY);
    component.queue_depth = 5;
    component.has_queue = false;
    assert_int_equal(policy_component_health(&component, 60 * SECOND), HEALTHY);
    component.has_queue = true;
    component.kind = COMPONENT_INPUT;
    assert_int_equal(policy_component_health(&component, 60 * SECOND), HEALTHY);
}

static void a_stuck_output_shows_in_readiness(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.components[1].has_queue = true;
    f.components[1].queue_depth = 3;
    f.stuck_ns[1] = 11 * SECOND;
    assert_readiness(&f, true, "components_degraded_but_operational");
}

/* ---- the writer ---------------------------------------------------------------------------------
 */

static struct writer_verdict judge(enum writer_lock lock, enum published_state published,
                                   uint64_t interval_ns, uint64_t age_ns, unsigned signal)
{
    const struct identity identity = {.heartbeat_interval_ns = interval_ns};
    const struct snapshot snapshot = {
        .lock = lock, .state = published, .close_reason = "", .signal = signal};
    struct writer_verdict verdict;
    policy_judge_writer(&identity, &snapshot, age_ns, &verdict);
    return verdict;
}

static void the_verdict_follows_lock_and_state(void **state)
{
    (void)state;
    static const struct {
        enum writer_lock lock;
        enum published_state published;
        enum writer_state verdict;
    } rows[] = {
        {LOCK_HELD, STATE_RUNNING, WRITER_ALIVE},
        {LOCK_FREE, STATE_RUNNING, WRITER_CRASHED},
        {LOCK_UNKNOWN, STATE_RUNNING, WRITER_UNKNOWN},
        {LOCK_HELD, STATE_CLOSED, WRITER_EXITED},
        {LOCK_FREE, STATE_CLOSED, WRITER_EXITED},
        {LOCK_UNKNOWN, STATE_CLOSED, WRITER_EXITED},
        {LOCK_HELD, STATE_CLOSED_CRASHED, WRITER_CRASHED},
        {LOCK_FREE, STATE_CLOSED_CRASHED, WRITER_CRASHED},
        {LOCK_UNKNOWN, STATE_CLOSED_CRASHED, WRITER_CRASHED},
        {LOCK_HELD, STATE_OTHER, WRITER_UNKNOWN},
        {LOCK_FREE, STATE_OTHER, WRITER_CRASHED},
        {LOCK_UNKNOWN, STATE_OTHER, WRITER_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct writer_verdict got = judge(rows[i].lock, rows[i].published, 0, 0, 0);
        assert_int_equal(got.state, rows[i].verdict);
        assert_true(got.reason[0] != '\0');
    }
}

static void a_stall_needs_three_intervals_and_ten_seconds(void **state)
{
    (void)state;
    const uint64_t half = SECOND / 2;
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, half, 10 * SECOND - 1, 0).state, WRITER_ALIVE);
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, half, 10 * SECOND, 0).state, WRITER_STALLED);
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, 20 * SECOND, 60 * SECOND - 1, 0).state,
                     WRITER_ALIVE);
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, 20 * SECOND, 60 * SECOND, 0).state,
                     WRITER_STALLED);
}

static void no_declared_interval_is_never_a_stall(void **state)
{
    (void)state;
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, 0, UINT64_MAX, 0).state, WRITER_ALIVE);
}

static void a_huge_interval_does_not_wrap(void **state)
{
    (void)state;
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, UINT64_MAX, 3600 * SECOND, 0).state,
                     WRITER_ALIVE);
    assert_int_equal(judge(LOCK_HELD, STATE_RUNNING, UINT64_MAX / 3 + 1, 3600 * SECOND, 0).state,
                     WRITER_ALIVE);
}

static void a_dead_writer_is_not_called_stalled(void **state)
{
    (void)state;
    assert_int_equal(judge(LOCK_FREE, STATE_RUNNING, SECOND, 60 * SECOND, 0).state, WRITER_CRASHED);
    assert_int_equal(judge(LOCK_HELD, STATE_CLOSED, SECOND, 60 * SECOND, 0).state, WRITER_EXITED);
}

static void a_recorded_signal_ends_the_doubt(void **state)
{
    (void)state;
    const struct writer_verdict got = judge(LOCK_UNKNOWN, STATE_RUNNING, 0, 0, 6);
    assert_int_equal(got.state, WRITER_CRASHED);
    assert_non_null(strstr(got.reason, "fatal signal 6 (SIGABRT)"));
}

static void reasons_carry_their_numbers(void **state)
{
    (void)state;
    const struct writer_verdict stalled =
        judge(LOCK_HELD, STATE_RUNNING, 5 * SECOND, 17 * SECOND + SECOND / 2, 0);
    assert_non_null(strstr(stalled.reason, "17.5 s"));
    assert_non_null(strstr(stalled.reason, "every 5.0 s"));
    assert_non_null(strstr(stalled.reason, "after 15.0 s"));
    assert_int_equal(stalled.heartbeat_age_ms, 17500);
    const struct writer_verdict crashed = judge(LOCK_FREE, STATE_RUNNING, 0, 0, 11);
    assert_non_null(strstr(crashed.reason, "fatal signal 11 (SIGSEGV)"));
    const struct snapshot marked = {.lock = LOCK_FREE,
                                    .state = STATE_RUNNING,
                                    .close_reason = "",
                                    .signal = 7,
                                    .signal_thread = 4242,
                                    .signal_address = 0x1000};
    static const struct identity nobody;
    struct writer_verdict whole;
    policy_judge_writer(&nobody, &marked, 0, &whole);
    assert_non_null(
        strstr(whole.reason, "fatal signal 7 (SIGBUS) at address 0x1000 in thread 4242"));
    const struct writer_verdict strange = judge(LOCK_FREE, STATE_RUNNING, 0, 0, UINT32_MAX);
    assert_non_null(strstr(strange.reason, "fatal signal 4294967295"));
}

static void the_close_reason_stays_on_one_line_and_whole(void **state)
{
    (void)state;
    char long_reason[400];
    memset(long_reason, 'x', sizeof long_reason - 1);
    long_reason[sizeof long_reason - 1] = '\0';
    memcpy(long_reason + 254, "\xC3\xA4", 2); /* a character across the cut at 255 bytes */
    long_reason[3] = '\n';
    const struct identity identity = {0};
    const struct snapshot snapshot = {.state = STATE_CLOSED, .close_reason = long_reason};
    struct writer_verdict verdict;
    policy_judge_writer(&identity, &snapshot, 0, &verdict);
    assert_null(strchr(verdict.reason, '\n'));
    assert_null(strchr(verdict.reason, '\xC3'));
    assert_string_equal(verdict.reason + strlen(verdict.reason) - 3, "xxx");
    assert_int_equal(strlen(verdict.reason), strlen("closed its region: ") + 254);
}

static void an_empty_close_reason_is_said_so(void **state)
{
    (void)state;
    assert_string_equal(judge(LOCK_FREE, STATE_CLOSED, 0, 0, 0).reason,
                        "closed its region: no reason given");
}

/* ---- liveness -----------------------------------------------------------------------------------
 */

static void only_a_stall_is_not_live(void **state)
{
    (void)state;
    static const struct {
        enum writer_state writer;
        const char *name;
        bool stalled;
    } rows[] = {
        {WRITER_ALIVE, "alive", false},     {WRITER_STALLED, "stalled", true},
        {WRITER_EXITED, "exited", false},   {WRITER_CRASHED, "crashed", false},
        {WRITER_UNKNOWN, "unknown", false},
    };
    struct fixture f;
    set_up(&f);
    const struct forwarder_view *views[] = {&f.view};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f.verdict.state = rows[i].writer;
        const struct forwarder_liveness got = policy_forwarder_liveness(views, 1);
        assert_string_equal(got.state, rows[i].name);
        assert_int_equal(got.stalled, rows[i].stalled);
    }
    const struct forwarder_liveness none = policy_forwarder_liveness(NULL, 0);
    assert_string_equal(none.state, "not_attached");
    assert_false(none.stalled);
}

static void one_stalled_of_several_is_told(void **state)
{
    (void)state;
    struct fixture a, b, c;
    set_up(&a);
    set_up(&b);
    set_up(&c);
    a.verdict.state = WRITER_CRASHED;
    b.verdict.state = WRITER_STALLED;
    (void)snprintf(b.verdict.reason, sizeof b.verdict.reason, "hung");
    const struct forwarder_view *views[] = {&a.view, &b.view, &c.view};
    const struct forwarder_liveness got = policy_forwarder_liveness(views, 3);
    assert_true(got.stalled);
    assert_string_equal(got.reason, "hung");
}

static void a_stalled_previous_life_does_not_count(void **state)
{
    (void)state;
    struct fixture now, before;
    set_up(&now);
    set_up(&before);
    before.verdict.state = WRITER_STALLED;
    now.view.previous = &before.view;
    const struct forwarder_view *views[] = {&now.view};
    assert_false(policy_forwarder_liveness(views, 1).stalled);
}

/* ---- the bottleneck -----------------------------------------------------------------------------
 */

static struct bottleneck bottleneck_of(const struct fixture *f)
{
    struct bottleneck got;
    policy_bottleneck(&f->pipeline, &f->pipeline_view, &got);
    return got;
}

static void a_stuck_output_is_named_first(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.components[1].name = "out_tcp";
    f.components[1].has_queue = true;
    f.components[1].queue_depth = 1000;
    f.components[1].queue_capacity = 1000;
    f.stuck_ns[1] = 42 * SECOND;
    f.pipeline_view.window = (struct pipeline_window){.seconds = 60, .scan_s = 60, .stalls = 9999};
    const struct bottleneck got = bottleneck_of(&f);
    assert_string_equal(got.stage, "output");
    assert_string_equal(got.reason, "output out_tcp: queue 1000/1000, nothing delivered for 42 s");
}

static void the_output_stuck_for_longest_is_named(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.components[0] = (struct component){
        .kind = COMPONENT_OUTPUT, .name = "old", .has_queue = true, .queue_depth = 7};
    f.components[1].has_queue = true;
    f.components[1].queue_depth = 1;
    f.stuck_ns[0] = 30 * SECOND;
    f.stuck_ns[1] = 20 * SECOND;
    assert_string_equal(bottleneck_of(&f).reason,
                        "output old: queue 7, nothing delivered for 30 s");
}

static void the_window_is_judged_in_the_order_of_the_contract(void **state)
{
    (void)state;
    static const struct {
        struct pipeline_window window;
        const char *stage;
        const char *numbers;
    } rows[] = {
        {{60, 30.1, 60, 60, 9999}, "output", "30.1 s of the last 60.0 s (50.2 % of wall time"},
        {{60, 30.0, 60, 60, 601}, "input", "601 times in the last 60.0 s (10.0/s, over 10/s)"},
        {{60, 0, 60, 18.1, 600}, "transform", "18.1 s of the last 60.0 s (30.2 % of wall time"},
        {{60, 0, 18.1, 18.0, 600}, "scan", "18.1 s of the last 60.0 s (30.2 % of wall time"},
        {{60, 30.0, 18.0, 18.0, 600}, "none", "running well within capacity"},
        {{0, 99, 99, 99, 9999}, "none", "running well within capacity"},
        {{60, (double)NAN, (double)NAN, (double)NAN, 0}, "none", "running well within capacity"},
    };
    struct fixture f;
    set_up(&f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f.pipeline_view.window = rows[i].window;
        const struct bottleneck got = bottleneck_of(&f);
        assert_string_equal(got.stage, rows[i].stage);
        assert_non_null(strstr(got.reason, rows[i].numbers));
    }
}

static void work_of_several_workers_may_exceed_wall_time(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    f.pipeline_view.window = (struct pipeline_window){.seconds = 60, .queue_wait_s = 240};
    assert_non_null(strstr(bottleneck_of(&f).reason, "(400.0 % of wall time"));
}

static void a_long_name_leaves_room_for_the_numbers(void **state)
{
    (void)state;
    char name[800];
    for (size_t i = 0; i + 3 < sizeof name; i += 3) {
        memcpy(name + i, "\xEF\xBF\xBD", 4); /* U+FFFD: what repair makes of one bad byte */
    }
    struct fixture f;
    set_up(&f);
    f.components[1].name = name;
    f.components[1].has_queue = true;
    f.components[1].queue_depth = UINT64_MAX;
    f.components[1].queue_capacity = UINT64_MAX;
    f.stuck_ns[1] = UINT64_MAX;
    const struct bottleneck got = bottleneck_of(&f);
    assert_non_null(strstr(got.reason, "\xEF\xBF\xBD: queue 18446744073709551615/"));
    assert_non_null(strstr(got.reason, "nothing delivered for 18446744074 s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_words_are_those_of_the_contract),
        cmocka_unit_test(writer_words_are_those_of_the_contract),
        cmocka_unit_test(readiness_follows_the_worst_component),
        cmocka_unit_test(no_pipeline_is_not_ready),
        cmocka_unit_test(pipeline_without_components_is_ready),
        cmocka_unit_test(no_region_is_not_found),
        cmocka_unit_test(trouble_is_told_when_nothing_is_attached),
        cmocka_unit_test(trouble_does_not_unready_a_working_forwarder),
        cmocka_unit_test(a_gone_or_hung_writer_comes_before_health),
        cmocka_unit_test(a_writer_that_cannot_be_judged_is_ready_by_its_health),
        cmocka_unit_test(a_region_cut_under_us_is_corrupt),
        cmocka_unit_test(several_forwarders_are_as_ready_as_the_worst),
        cmocka_unit_test(a_previous_life_never_counts),
        cmocka_unit_test(worst_health_counts_the_pipelines_of_all),
        cmocka_unit_test(a_stuck_output_is_degraded_at_least),
        cmocka_unit_test(only_an_output_with_work_waiting_can_be_stuck),
        cmocka_unit_test(a_stuck_output_shows_in_readiness),
        cmocka_unit_test(the_verdict_follows_lock_and_state),
        cmocka_unit_test(a_stall_needs_three_intervals_and_ten_seconds),
        cmocka_unit_test(no_declared_interval_is_never_a_stall),
        cmocka_unit_test(a_huge_interval_does_not_wrap),
        cmocka_unit_test(a_dead_writer_is_not_called_stalled),
        cmocka_unit_test(a_recorded_signal_ends_the_doubt),
        cmocka_unit_test(reasons_carry_their_numbers),
        cmocka_unit_test(the_close_reason_stays_on_one_line_and_whole),
        cmocka_unit_test(an_empty_close_reason_is_said_so),
        cmocka_unit_test(only_a_stall_is_not_live),
        cmocka_unit_test(one_stalled_of_several_is_told),
        cmocka_unit_test(a_stalled_previous_life_does_not_count),
        cmocka_unit_test(a_stuck_output_is_named_first),
        cmocka_unit_test(the_output_stuck_for_longest_is_named),
        cmocka_unit_test(the_window_is_judged_in_the_order_of_the_contract),
        cmocka_unit_test(work_of_several_workers_may_exceed_wall_time),
        cmocka_unit_test(a_long_name_leaves_room_for_the_numbers),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
