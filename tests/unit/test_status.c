/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON bodies, byte for byte: the worked example of the contract and each rule beside it. */
#include "status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND    UINT64_C(1000000000)
#define STARTED   (UINT64_C(1700000000) * SECOND)
#define OBSERVED  (STARTED + 90 * SECOND)
#define BODY_MAX  ((size_t)1 << 20)
#define EVERY_BIT UINT32_MAX

enum { INPUT, TRANSFORM, OUTPUT, COMPONENTS };

/* The worked example: one forwarder, one pipeline. */
struct fixture {
    struct identity identity;
    struct component components[COMPONENTS];
    uint64_t stuck_ns[COMPONENTS];
    struct pipeline pipeline;
    struct pipeline_view pipeline_view;
    struct instrument instruments[4];
    uint64_t values[4];
    uint8_t absent[4];
    struct snapshot snapshot;
    struct identity other_identity;
    struct writer_verdict other_verdict;
    struct forwarder_view other;
    struct writer_verdict verdict;
    struct forwarder_view forwarder;
    const struct forwarder_view *forwarders[2];
    struct status_view view;
    struct buffer out;
    char text[1 << 16];
};

static void set_up_pipeline(struct fixture *f)
{
    f->components[INPUT] = (struct component){
        .kind = COMPONENT_INPUT,
        .name = "pod_logs",
        .type = "file",
        .counts = {[COUNT_LINES] = 1000, [COUNT_BYTES] = 50000, [COUNT_ROTATIONS] = 1}};
    f->components[TRANSFORM] =
        (struct component){.kind = COMPONENT_TRANSFORM,
                           .name = "",
                           .type = "SELECT * FROM logs",
                           .counts = {[COUNT_LINES] = 1000, [COUNT_ERRORS] = 3}};
    f->components[OUTPUT] = (struct component){
        .kind = COMPONENT_OUTPUT,
        .name = "collector",
        .type = "otlp",
        .counts = {[COUNT_LINES] = 900, [COUNT_BYTES] = 30000, [COUNT_ERRORS] = 2}};
    f->pipeline = (struct pipeline){.name = "default",
                                    .batches = {[BATCH_BATCHES] = 50,
                                                [BATCH_ROWS] = 4500,
                                                [BATCH_FLUSH_SIZE] = 30,
                                                [BATCH_FLUSH_TIMEOUT] = 20,
                                                [BATCH_DROPPED] = 5,
                                                [BATCH_SCAN_ERRORS] = 2,
                                                [BATCH_PARSE_ERRORS] = 4,
                                                [BATCH_LATENCY_NS] = 500000000,
                                                [BATCH_SCAN_NS] = 100000000,
                                                [BATCH_TRANSFORM_NS] = 500000000,
                                                [BATCH_OUTPUT_NS] = 200000000,
                                                [BATCH_QUEUE_WAIT_NS] = 50000000,
                                                [BATCH_SEND_NS] = 150000000,
                                                [BATCH_STALLS] = 7,
                                                [BATCH_INFLIGHT] = 3},
                                    .components = f->components,
                                    .component_count = COMPONENTS};
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    set_up_pipeline(f);
    f->pipeline_view.stuck_ns = f->stuck_ns;
    f->identity = (struct identity){.path = "/run/fwdscope/a.fws",
                                    .major = 1,
                                    .minor = 0,
                                    .uuid = "0123456789abcdef0123456789abcdef",
                                    .pid = 4711,
                                    .created_unix_ns = STARTED,
                                    .generation = 2,
                                    .size_bytes = 8388608,
                                    .service_name = "shipper",
                                    .service_version = "1.2.3",
                                    .instance = "shipper-0"};
    f->snapshot = (struct snapshot){.time_unix_ns = OBSERVED,
                                    .lock = LOCK_HELD,
                                    .state = STATE_RUNNING,
                                    .close_reason = "",
                                    .pipelines = &f->pipeline,
                                    .pipeline_count = 1};
    f->verdict = (struct writer_verdict){
        .state = WRITER_ALIVE, .reason = "holds its lock", .heartbeat_age_ms = 12};
    f->forwarder = (struct forwarder_view){.identity = &f->identity,
                                           .snapshot = &f->snapshot,
                                           .verdict = &f->verdict,
                                           .lost = {.spans = 1, .logs = 2, .logs_cut = 3},
                                           .pipelines = &f->pipeline_view};
    f->forwarders[0] = &f->forwarder;
    f->view = (struct status_view){.forwarders = f->forwarders,
                                   .forwarder_count = 1,
                                   .sampler = {.interval_ms = 2000,
                                               .ticks = 45,
                                               .last_tick_us = 310,
                                               .retries = 6,
                                               .stale = 7,
                                               .torn = 8,
                                               .stream_clients = 9,
                                               .ticks_skipped = 10},
                                   .observed_unix_ns = OBSERVED,
                                   .now_unix_ns = OBSERVED + 5,
                                   .uptime_seconds = 100,
                                   .version = "0.1.0"};
    buffer_init(&f->out, BODY_MAX);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buffer_free(&f->out);
    free(f);
    return 0;
}

/* What was written, as a string. */
static const char *body(struct fixture *f)
{
    assert_false(f->out.failed);
    assert_true(f->out.length < sizeof f->text);
    memcpy(f->text, f->out.data, f->out.length);
    f->text[f->out.length] = '\0';
    buffer_reset(&f->out);
    return f->text;
}

static const char *status_body(struct fixture *f)
{
    status_write_status(&f->out, &f->view);
    return body(f);
}

static void assert_shows(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no %s\nin %s", part, text);
    }
}

static void assert_hides(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) {
        fail_msg("%s\nin %s", part, text);
    }
}

/* ---- the worked example -------------------------------------------------------------------------
 */

static void the_worked_example_of_the_contract(void **state)
{
    assert_string_equal(
        status_body(*state),
        "{\"contract_version\":\"v1\","
        "\"live\":{\"status\":\"live\",\"reason\":\"process_running\","
        "\"observed_at_unix_ns\":\"1700000090000000005\"},"
        "\"ready\":{\"status\":\"ready\",\"reason\":\"all_components_healthy\","
        "\"observed_at_unix_ns\":\"1700000090000000000\"},"
        "\"component_health\":{\"status\":\"healthy\",\"reason\":\"all_components_healthy\","
        "\"readiness_impact\":\"ready\",\"observed_at_unix_ns\":\"1700000090000000000\"},"
        "\"pipelines\":[{\"name\":\"default\","
        "\"inputs\":[{\"name\":\"pod_logs\",\"type\":\"file\",\"health\":\"healthy\","
        "\"lines_total\":1000,\"bytes_total\":50000,\"errors\":0,\"rotations\":1,"
        "\"parse_errors\":0}],"
        "\"transform\":{\"sql\":\"SELECT * FROM logs\",\"health\":\"healthy\",\"lines_in\":1000,"
        "\"lines_out\":900,\"errors\":3,\"filter_drop_rate\":0.100},"
        "\"outputs\":[{\"name\":\"collector\",\"type\":\"otlp\",\"health\":\"healthy\","
        "\"lines_total\":900,\"bytes_total\":30000,\"errors\":2}],"
        "\"batches\":{\"total\":50,\"avg_rows\":90.0,\"flush_by_size\":30,"
        "\"flush_by_timeout\":20,\"dropped_batches_total\":5,\"scan_errors_total\":2,"
        "\"parse_errors_total\":4,\"last_batch_time_ns\":\"0\","
        "\"batch_latency_avg_ns\":10000000,\"inflight\":3,\"rows_total\":4500},"
        "\"stage_seconds\":{\"scan\":0.100000,\"transform\":0.500000,\"output\":0.200000,"
        "\"queue_wait\":0.050000,\"send\":0.150000},"
        "\"backpressure_stalls\":7,"
        "\"bottleneck\":{\"stage\":\"none\",\"reason\":\"running well within capacity\"}}],"
        "\"system\":{\"uptime_seconds\":90,\"version\":\"1.2.3\"},"
        "\"writer\":{\"state\":\"alive\",\"reason\":\"holds its lock\",\"pid\":4711,"
        "\"started_unix_ns\":\"1700000000000000000\",\"heartbeat_age_ms\":12,\"generation\":2},"
        "\"region\":{\"path\":\"/run/fwdscope/a.fws\",\"layout\":\"1.0\","
        "\"uuid\":\"0123456789abcdef0123456789abcdef\",\"size_bytes\":8388608,"
        "\"lost\":{\"spans\":1,\"logs\":2,\"logs_cut\":3,\"attributes_dropped\":0,"
        "\"values_dropped\":0,\"registrations_refused\":0}},"
        "\"sampler\":{\"interval_ms\":2000,\"ticks\":45,\"last_tick_us\":310,\"retries\":6,"
        "\"stale\":7,\"torn\":8,\"stream_clients\":9,\"ticks_skipped\":10}}");
}

/* ---- optional keys ------------------------------------------------------------------------------
 */

static void queue_and_last_success_show_where_known(void **state)
{
    struct fixture *f = *state;
    f->components[INPUT].has_queue = true;
    f->components[INPUT].queue_depth = 1;
    f->components[INPUT].queue_capacity = 2;
    f->components[OUTPUT].has_queue = true;
    f->components[OUTPUT].queue_depth = 3;
    f->components[OUTPUT].queue_capacity = 4;
    f->components[OUTPUT].last_success_unix_ns = 1700000001;
    const char *text = status_body(f);
    assert_shows(text, "\"parse_errors\":0,\"queue\":{\"depth\":1,\"capacity\":2}}");
    assert_shows(text, "\"errors\":2,\"queue\":{\"depth\":3,\"capacity\":4},"
                       "\"last_success_unix_ns\":\"1700000001\"}");
}

static void a_counter_not_had_is_absent(void **state)
{
    struct fixture *f = *state;
    f->components[INPUT].absent = 1u << COUNT_BYTES | 1u << COUNT_PARSE_ERRORS;
    f->components[OUTPUT].absent = 1u << COUNT_ERRORS;
    f->components[TRANSFORM].absent = 1u << COUNT_ERRORS;
    f->pipeline.absent =
        1u << BATCH_SCAN_ERRORS | 1u << BATCH_LATENCY_NS | 1u << BATCH_SEND_NS | 1u << BATCH_STALLS;
    const char *text = status_body(f);
    assert_shows(text, "\"lines_total\":1000,\"errors\":0,\"rotations\":1}]");
    assert_shows(text, "\"lines_total\":900,\"bytes_total\":30000}]");
    assert_shows(text, "\"lines_out\":900,\"filter_drop_rate\"");
    assert_shows(text, "\"dropped_batches_total\":5,\"parse_errors_total\":4,"
                       "\"last_batch_time_ns\":\"0\",\"inflight\":3");
    assert_shows(text, "\"queue_wait\":0.050000},\"bottleneck\"");
}

static void with_every_counter_absent_the_shape_stays(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < COMPONENTS; i++) {
        f->components[i].absent = EVERY_BIT;
    }
    f->pipeline.absent = EVERY_BIT;
    const char *text = status_body(f);
    assert_shows(text, "\"inputs\":[{\"name\":\"pod_logs\",\"type\":\"file\","
                       "\"health\":\"healthy\"}],"
                       "\"transform\":{\"sql\":\"SELECT * FROM logs\",\"health\":\"healthy\"},"
                       "\"outputs\":[{\"name\":\"collector\",\"type\":\"otlp\","
                       "\"health\":\"healthy\"}],"
                       "\"batches\":{\"last_batch_time_ns\":\"0\"},\"stage_seconds\":{},"
                       "\"bottleneck\"");
}

static void a_pipeline_without_transform_keeps_the_key(void **state)
{
    struct fixture *f = *state;
    f->components[TRANSFORM] = f->components[OUTPUT];
    f->components[TRANSFORM].counts[COUNT_LINES] = 950;
    assert_shows(status_body(f),
                 "\"transform\":{\"sql\":\"\",\"health\":\"healthy\",\"lines_out\":950}");
}

static void last_batch_time_is_a_string(void **state)
{
    struct fixture *f = *state;
    f->pipeline.last_batch_unix_ns = OBSERVED;
    assert_shows(status_body(f), "\"last_batch_time_ns\":\"1700000090000000000\"");
}

static void a_stale_unit_says_so(void **state)
{
    struct fixture *f = *state;
    f->pipeline.batches_stale = true;
    assert_shows(status_body(f), "\"rows_total\":4500,\"stale\":true}");
}

static void the_signal_shows_when_known(void **state)
{
    struct fixture *f = *state;
    f->snapshot.signal = 11;
    f->verdict.state = WRITER_CRASHED;
    assert_shows(status_body(f), "\"writer\":{\"state\":\"crashed\"");
    assert_shows(status_body(f), "\"generation\":2,\"signal\":11,\"signal_name\":\"SIGSEGV\"}");
    f->snapshot.signal_thread = 77;
    f->snapshot.signal_address = 0;
    assert_shows(status_body(f), "\"signal_address\":\"0x0\",\"signal_thread\":77}");
    f->snapshot.signal_address = UINT64_MAX;
    assert_shows(status_body(f), "\"signal_name\":\"SIGSEGV\",\"signal_thread\":77}");
    assert_shows(status_body(f),
                 "\"ready\":{\"status\":\"not_ready\",\"reason\":\"writer_crashed\"");
}

static void refused_sections_are_named_and_only_they(void **state)
{
    struct fixture *f = *state;
    const struct section_report sections[] = {
        {.name = "strings"},
        {.name = "instruments", .refused = "2 of 3 entries \"malformed\""},
        {.name = "values", .refused = "outside the region"},
    };
    f->forwarder.sections = sections;
    f->forwarder.section_count = 1;
    assert_hides(status_body(f), "refused\":[");
    f->forwarder.section_count = 3;
    assert_shows(status_body(f),
                 "\"registrations_refused\":0},\"refused\":[\"instruments: 2 of 3 entries "
                 "\\\"malformed\\\"\",\"values: outside the region\"]},\"sampler\"");
    f->forwarder.section_count = 0;
    f->snapshot.truncated = true;
    assert_shows(status_body(f),
                 "0},\"refused\":[\"region: cut short: this is the last whole reading\"]}");
}

/* ---- averages and rates -------------------------------------------------------------------------
 */

static void no_batch_has_no_latency_and_zero_rows(void **state)
{
    struct fixture *f = *state;
    memset(f->pipeline.batches, 0, sizeof f->pipeline.batches);
    const char *text = status_body(f);
    assert_shows(text, "\"avg_rows\":0.0,");
    assert_shows(text, "\"batch_latency_avg_ns\":null,");
}

static void lines_out_is_the_maximum_over_the_outputs(void **state)
{
    struct fixture *f = *state;
    f->components[INPUT].kind = COMPONENT_OUTPUT;
    f->components[INPUT].counts[COUNT_LINES] = 250;
    assert_shows(status_body(f), "\"lines_out\":900,");
}

static void the_drop_rate_is_clamped(void **state)
{
    struct fixture *f = *state;
    f->components[TRANSFORM].counts[COUNT_LINES] = 0;
    assert_shows(status_body(f), "\"filter_drop_rate\":0.000}");
    f->components[TRANSFORM].counts[COUNT_LINES] = 100; /* fewer in than out */
    assert_shows(status_body(f), "\"filter_drop_rate\":0.000}");
    f->components[OUTPUT].counts[COUNT_LINES] = 0;
    assert_shows(status_body(f), "\"filter_drop_rate\":1.000}");
}

static void the_largest_counters_neither_wrap_nor_break(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < BATCH_FIELDS; i++) {
        f->pipeline.batches[i] = UINT64_MAX;
    }
    for (size_t i = 0; i < COMPONENTS; i++) {
        for (size_t j = 0; j < COUNTS; j++) {
            f->components[i].counts[j] = UINT64_MAX;
        }
    }
    f->view.sampler.ticks = UINT64_MAX;
    const char *text = status_body(f);
    assert_shows(text, "\"total\":18446744073709551615,\"avg_rows\":1.0,");
    assert_shows(text, "\"batch_latency_avg_ns\":1,");
    assert_shows(text, "\"scan\":18446744073.709553,");
    assert_shows(text, "\"filter_drop_rate\":0.000}");
    assert_shows(text, "\"ticks\":18446744073709551615");
    f->pipeline.batches[BATCH_BATCHES] = 1;
    assert_shows(status_body(f), "\"batch_latency_avg_ns\":18446744073709551615,");
}

/* ---- system -------------------------------------------------------------------------------------
 */

static void uptime_is_zero_when_the_clock_went_back(void **state)
{
    struct fixture *f = *state;
    f->snapshot.time_unix_ns = STARTED - 1;
    assert_shows(status_body(f), "\"system\":{\"uptime_seconds\":0,");
    f->identity.created_unix_ns = UINT64_MAX;
    assert_shows(status_body(f), "\"system\":{\"uptime_seconds\":0,");
}

static void uptime_of_a_life_that_is_over_ends_with_its_last_sign(void **state)
{
    struct fixture *f = *state;
    f->verdict.state = WRITER_CRASHED;
    f->verdict.heartbeat_age_ms = 60000;
    assert_shows(status_body(f), "\"system\":{\"uptime_seconds\":30,");
    f->verdict.heartbeat_age_ms = UINT64_MAX;
    assert_shows(status_body(f), "\"system\":{\"uptime_seconds\":0,");
}

static void add_gauge(struct fixture *f, const char *name, bool is_double, uint64_t word)
{
    const size_t index = f->snapshot.instrument_count++;
    f->instruments[index] = (struct instrument){
        .kind = INSTRUMENT_GAUGE, .is_double = is_double, .name = name, .value_index = index};
    f->values[index] = word;
    f->snapshot.instruments = f->instruments;
    f->snapshot.values = f->values;
    f->snapshot.values_absent = f->absent;
}

static uint64_t bits(double real)
{
    uint64_t word;
    memcpy(&word, &real, sizeof word);
    return word;
}

static void memory_shows_the_gauges_that_were_published(void **state)
{
    struct fixture *f = *state;
    add_gauge(f, "process.memory.resident", false, 1048576);
    add_gauge(f, "process.memory.active", true, bits(4096.75));
    add_gauge(f, "process.memory.allocated", false, 7);
    f->absent[2] = 1;
    add_gauge(f, "process.memory.allocated", false, 9);
    f->instruments[3].kind = INSTRUMENT_COUNTER;
    assert_shows(status_body(f),
                 "\"version\":\"1.2.3\",\"memory\":{\"resident\":1048576,\"active\":4096}}");
}

static void memory_that_no_process_can_have_is_left_out(void **state)
{
    struct fixture *f = *state;
    const double bad[] = {strtod("nan", NULL), -1, 0x1p64};
    add_gauge(f, "process.memory.resident", false, (uint64_t)-5);
    add_gauge(f, "process.memory.active", true, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->values[1] = bits(bad[i]);
        assert_hides(status_body(f), "\"memory\"");
    }
}

/* ---- text ---------------------------------------------------------------------------------------
 */

static void names_with_control_characters_are_escaped(void **state)
{
    struct fixture *f = *state;
    f->pipeline.name = "a\x01\"\\\x1f";
    f->components[INPUT].name = "udp_in(127.0.0.1/15514/IPv4)\n";
    const char *text = status_body(f);
    assert_shows(text, "\"name\":\"a\\u0001\\\"\\\\\\u001f\"");
    assert_hides(text, "\n");
    assert_hides(text, "\x01");
}

static void a_full_buffer_is_seen(void **state)
{
    struct fixture *f = *state;
    struct buffer small;
    buffer_init(&small, 100);
    status_write_status(&small, &f->view);
    assert_true(small.failed);
    buffer_free(&small);
}

/* ---- no forwarder, several forwarders -----------------------------------------------------------
 */

static void without_a_forwarder_the_rest_still_stands(void **state)
{
    struct fixture *f = *state;
    f->view.forwarder_count = 0;
    f->view.observed_unix_ns = 0;
    assert_string_equal(
        status_body(f),
        "{\"contract_version\":\"v1\","
        "\"live\":{\"status\":\"live\",\"reason\":\"process_running\","
        "\"observed_at_unix_ns\":\"1700000090000000005\"},"
        "\"ready\":{\"status\":\"not_ready\",\"reason\":\"region_not_found\","
        "\"observed_at_unix_ns\":\"1700000090000000005\"},"
        "\"component_health\":{\"status\":\"starting\",\"reason\":\"no_pipelines_registered\","
        "\"readiness_impact\":\"gating\",\"observed_at_unix_ns\":\"1700000090000000005\"},"
        "\"pipelines\":[],\"system\":{},"
        "\"writer\":{\"state\":\"unknown\","
        "\"reason\":\"no forwarder is attached: no region was found yet\"},"
        "\"sampler\":{\"interval_ms\":2000,\"ticks\":45,\"last_tick_us\":310,\"retries\":6,"
        "\"stale\":7,\"torn\":8,\"stream_clients\":9,\"ticks_skipped\":10}}");
}

static void trouble_is_told_with_its_path(void **state)
{
    struct fixture *f = *state;
    f->view.forwarder_count = 0;
    f->view.trouble = TROUBLE_INCOMPATIBLE;
    f->view.trouble_path = "/run/fwdscope/x.fws";
    f->view.trouble_reason = "layout 2.0 is not 1.x";
    const char *text = status_body(f);
    assert_shows(text, "\"reason\":\"region_incompatible\"");
    assert_shows(text, "\"writer\":{\"state\":\"unknown\",\"reason\":\"layout 2.0 is not 1.x\"},"
                       "\"region\":{\"path\":\"/run/fwdscope/x.fws\"},\"sampler\"");
}

static void several_forwarders_are_listed(void **state)
{
    struct fixture *f = *state;
    f->other_identity = f->identity;
    f->other = f->forwarder;
    memcpy(f->other_identity.instance, "shipper-1", sizeof "shipper-1");
    f->other_identity.generation = 9;
    f->other.identity = &f->other_identity;
    f->forwarders[1] = &f->other;
    f->view.forwarder_count = 2;
    const char *text = status_body(f);
    assert_shows(text, "\"pipelines\":[{\"name\":\"default\",\"instance\":\"shipper-0\","
                       "\"inputs\":");
    assert_shows(text, "{\"name\":\"default\",\"instance\":\"shipper-1\",\"inputs\":");
    assert_shows(text, "\"ticks_skipped\":10},\"forwarders\":[{\"instance\":\"shipper-0\","
                       "\"service\":\"shipper\",\"writer\":{\"state\":\"alive\"");
    assert_shows(text, "{\"instance\":\"shipper-1\",\"service\":\"shipper\",\"writer\":");
    assert_shows(text, "\"generation\":9},\"region\":{\"path\":");
}

static void one_forwarder_alone_is_not_listed(void **state)
{
    const char *text = status_body(*state);
    assert_hides(text, "\"forwarders\"");
    assert_hides(text, "\"instance\"");
}

static void a_previous_life_is_listed_under_its_forwarder(void **state)
{
    struct fixture *f = *state;
    f->other_identity = f->identity;
    f->other_identity.generation = 1;
    f->other_verdict = (struct writer_verdict){.state = WRITER_CRASHED, .reason = "gone"};
    f->other = f->forwarder;
    f->other.identity = &f->other_identity;
    f->other.verdict = &f->other_verdict;
    f->forwarder.previous = &f->other;
    const char *text = status_body(f);
    assert_shows(text, "\"ready\":{\"status\":\"ready\"");
    assert_shows(text, "\"previous\":{\"instance\":\"shipper-0\",\"service\":\"shipper\","
                       "\"writer\":{\"state\":\"crashed\",\"reason\":\"gone\"");
    assert_shows(text, "\"generation\":1},\"region\"");
    assert_hides(text, "\"name\":\"default\",\"instance\"");
}

/* ---- the small bodies ---------------------------------------------------------------------------
 */

static void live_is_the_sidecar_alone(void **state)
{
    struct fixture *f = *state;
    f->view.forwarder_count = 0;
    status_write_live(&f->out, &f->view);
    assert_string_equal(body(f),
                        "{\"status\":\"live\",\"uptime_seconds\":100,\"version\":\"0.1.0\"}");
}

static void ready_is_200_or_503(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(status_write_ready(&f->out, &f->view), 200);
    assert_string_equal(body(f), "{\"status\":\"ready\",\"reason\":\"all_components_healthy\","
                                 "\"observed_at_unix_ns\":\"1700000090000000000\"}");
    f->components[INPUT].health = STARTING;
    assert_int_equal(status_write_ready(&f->out, &f->view), 503);
    assert_string_equal(body(f), "{\"status\":\"not_ready\",\"reason\":\"components_starting\","
                                 "\"observed_at_unix_ns\":\"1700000090000000000\"}");
}

static void forwarder_live_is_503_only_when_stalled(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(status_write_forwarder_live(&f->out, &f->view), 200);
    assert_string_equal(body(f), "{\"state\":\"alive\",\"reason\":\"holds its lock\"}");
    f->verdict.state = WRITER_CRASHED;
    assert_int_equal(status_write_forwarder_live(&f->out, &f->view), 200);
    (void)body(f);
    f->verdict.state = WRITER_STALLED;
    assert_int_equal(status_write_forwarder_live(&f->out, &f->view), 503);
    (void)body(f);
    f->view.forwarder_count = 0;
    assert_int_equal(status_write_forwarder_live(&f->out, &f->view), 200);
    assert_string_equal(body(f),
                        "{\"state\":\"not_attached\","
                        "\"reason\":\"no forwarder is attached: no region was found yet\"}");
}

static void config_is_refused_unless_enabled(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(status_write_config(&f->out, false, "/etc/a.yaml", "secret: 1", 9), 403);
    assert_string_equal(body(f),
                        "{\"error\":\"config_endpoint_disabled\",\"message\":"
                        "\"set FWDSCOPE_UNSAFE_EXPOSE_CONFIG=1 to enable /admin/v1/config\"}");
}

static void config_is_path_and_text(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(status_write_config(&f->out, true, "/etc/a.yaml", "a: \"b\"\nbeyond", 7), 200);
    assert_string_equal(body(f), "{\"path\":\"/etc/a.yaml\",\"raw_yaml\":\"a: \\\"b\\\"\\u000a\"}");
    assert_int_equal(status_write_config(&f->out, true, "", NULL, 0), 200);
    assert_string_equal(body(f), "{\"path\":\"\",\"raw_yaml\":\"<redacted config unavailable>\"}");
}

#define STATUS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATUS_TEST(the_worked_example_of_the_contract),
        STATUS_TEST(queue_and_last_success_show_where_known),
        STATUS_TEST(a_counter_not_had_is_absent),
        STATUS_TEST(with_every_counter_absent_the_shape_stays),
        STATUS_TEST(a_pipeline_without_transform_keeps_the_key),
        STATUS_TEST(last_batch_time_is_a_string),
        STATUS_TEST(a_stale_unit_says_so),
        STATUS_TEST(the_signal_shows_when_known),
        STATUS_TEST(refused_sections_are_named_and_only_they),
        STATUS_TEST(no_batch_has_no_latency_and_zero_rows),
        STATUS_TEST(lines_out_is_the_maximum_over_the_outputs),
        STATUS_TEST(the_drop_rate_is_clamped),
        STATUS_TEST(the_largest_counters_neither_wrap_nor_break),
        STATUS_TEST(uptime_is_zero_when_the_clock_went_back),
        STATUS_TEST(uptime_of_a_life_that_is_over_ends_with_its_last_sign),
        STATUS_TEST(memory_shows_the_gauges_that_were_published),
        STATUS_TEST(memory_that_no_process_can_have_is_left_out),
        STATUS_TEST(names_with_control_characters_are_escaped),
        STATUS_TEST(a_full_buffer_is_seen),
        STATUS_TEST(without_a_forwarder_the_rest_still_stands),
        STATUS_TEST(trouble_is_told_with_its_path),
        STATUS_TEST(several_forwarders_are_listed),
        STATUS_TEST(one_forwarder_alone_is_not_listed),
        STATUS_TEST(a_previous_life_is_listed_under_its_forwarder),
        STATUS_TEST(live_is_the_sidecar_alone),
        STATUS_TEST(ready_is_200_or_503),
        STATUS_TEST(forwarder_live_is_503_only_when_stalled),
        STATUS_TEST(config_is_refused_unless_enabled),
        STATUS_TEST(config_is_path_and_text),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
