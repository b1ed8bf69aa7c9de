/* SPDX-License-Identifier: Apache-2.0 */
/* Every call of the shim, each with what it changes. A step is begun, the world after it is
 * described, the call is made, the step is ended: a store in between belongs to that call. */
#include "scenario.h"

#include "shmlayout/layout.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scenario scenario;

static struct {
    const char *dir;
    fwdscope_counter counter;
    fwdscope_total total;
    fwdscope_updown updown;
    fwdscope_gauge gauge, int_gauge;
    fwdscope_histogram histogram;
    fwdscope_pipeline pipelines[WORLD_PIPELINES_MAX];
    fwdscope_component components[WORLD_COMPONENTS_MAX];
    fwdscope_span spans[WORLD_SPANS_MAX];
    bool ok;
} run;

/* What is registered first, second, ... */
enum { COUNTER, TOTAL, UPDOWN, GAUGE, INT_GAUGE, HISTOGRAM };
enum { INPUT, TRANSFORM, OUTPUT };

/* ---- steps ----------------------------------------------------------------------------------- */

static struct world *begin(const char *call)
{
    scenario.call = call;
    scenario.step++;
    if (scenario.step_told != NULL)
        *scenario.step_told = scenario.step;
    return &scenario.after;
}

static void end(void)
{
    if (scenario.step_done != NULL)
        scenario.step_done();
    scenario.before = scenario.after;
}

/* ---- open ------------------------------------------------------------------------------------ */

bool scenario_open(const char *dir)
{
    const struct fwdscope_attribute resource = fwdscope_string("host.name", "here");
    return fwdscope_open(&(struct fwdscope_options){
        .service_name = SCENARIO_SERVICE,
        .service_version = "1.2.3",
        .instance = "every-store",
        .instance_id = "the-same",
        .metric_prefix = "crash",
        .resource = &resource,
        .resource_count = 1,
        .directory = dir,
        .lanes = WORLD_LANES,
        .instruments = 16,
        .active_spans = SLOTS,
        .log_ring_bytes = (uint32_t)LOG_RING_BYTES,
        .span_ring_bytes = (uint32_t)SPAN_RING_BYTES,
        .heartbeat_interval_ms = 1000,
    });
}

static void step_open(void)
{
    begin("open")->open = true;
    run.ok = run.dir == NULL || scenario_open(run.dir);
    end();
}

/* ---- instruments ----------------------------------------------------------------------------- */

static uint64_t bits(double value)
{
    uint64_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static double real(uint64_t word)
{
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static void instrument_expect(enum instrument_kind kind, bool is_double,
                              const struct fwdscope_instrument *what)
{
    struct world *w = begin("register an instrument");
    w->instruments[w->instrument_count++] = (struct world_instrument){
        .kind = kind,
        .is_double = is_double,
        .what = *what,
        .absent = kind == INSTRUMENT_TOTAL || kind == INSTRUMENT_GAUGE,
    };
}

static void steps_register_instruments(void)
{
    static const double bounds[] = {1, 10, 100};
    static struct fwdscope_attribute attributes[4];
    attributes[0] = fwdscope_string("direction", "in");
    attributes[1] = fwdscope_int("shard", -7);
    attributes[2] = fwdscope_double("share", 0.25);
    attributes[3] = fwdscope_bool("main", true);
    const struct fwdscope_instrument counter = {.name = "lines",
                                                .unit = "{line}",
                                                .description = "lines that were read",
                                                .attributes = attributes,
                                                .attribute_count = 4};
    const struct fwdscope_instrument total = {.name = "bytes.total", .unit = "By"};
    const struct fwdscope_instrument updown = {.name = "open.files"};
    const struct fwdscope_instrument gauge = {.name = "load", .unit = "1"};
    const struct fwdscope_instrument histogram = {.name = "wait", .unit = "ms"};

    instrument_expect(INSTRUMENT_COUNTER, false, &counter);
    run.counter = fwdscope_counter_register(&counter);
    end();
    instrument_expect(INSTRUMENT_TOTAL, false, &total);
    run.total = fwdscope_total_register(&total);
    end();
    instrument_expect(INSTRUMENT_UPDOWN, false, &updown);
    run.updown = fwdscope_updown_register(&updown);
    end();
    instrument_expect(INSTRUMENT_GAUGE, true, &gauge);
    run.gauge = fwdscope_gauge_register(&gauge);
    end();
    instrument_expect(INSTRUMENT_GAUGE, false, &gauge);
    run.int_gauge = fwdscope_int_gauge_register(&gauge);
    end();
    instrument_expect(INSTRUMENT_HISTOGRAM, true, &histogram);
    scenario.after.instruments[HISTOGRAM].bounds = bounds;
    scenario.after.instruments[HISTOGRAM].bound_count = 3;
    run.histogram = fwdscope_histogram_register(&histogram, bounds, 3);
    end();

    begin("register an instrument again");
    run.counter = fwdscope_counter_register(&counter);
    end();
    begin("register an instrument without a name")->registrations_refused++;
    (void)fwdscope_counter_register(&(struct fwdscope_instrument){.name = "7"});
    end();
}

static void step_counter(uint64_t n)
{
    begin("counter_add")->instruments[COUNTER].words[0] += n;
    fwdscope_counter_add(run.counter, n);
    end();
}

static void setting_expect(const char *call, size_t which, bool absent, uint64_t word)
{
    struct world_instrument *instrument = &begin(call)->instruments[which];
    instrument->absent = absent;
    if (!absent)
        instrument->words[0] = word;
}

static void step_histogram(double value)
{
    static const double bounds[] = {1, 10, 100};
    uint64_t *words = begin("histogram_record")->instruments[HISTOGRAM].words;
    size_t bucket = 0;
    while (bucket < 3 && bounds[bucket] < value)
        bucket++;
    words[0] = bits(real(words[0]) + value);
    words[1 + bucket]++;
    fwdscope_histogram_record(run.histogram, value);
    end();
}

static void steps_values(void)
{
    step_counter(5);
    step_counter(UINT64_C(1) << 40);
    for (int64_t n = -5; n <= 2; n += 7) {
        begin("updown_add")->instruments[UPDOWN].words[0] += (uint64_t)n;
        fwdscope_updown_add(run.updown, n);
        end();
    }
    for (uint64_t total = 1000; total <= 3000; total += 2000) {
        setting_expect("total_set", TOTAL, false, total);
        fwdscope_total_set(run.total, total);
        end();
    }
    setting_expect("gauge_set", GAUGE, false, bits(0.5));
    fwdscope_gauge_set(run.gauge, 0.5);
    end();
    setting_expect("gauge_set again", GAUGE, false, bits(-1.25));
    fwdscope_gauge_set(run.gauge, -1.25);
    end();
    setting_expect("gauge_clear", GAUGE, true, 0);
    fwdscope_gauge_clear(run.gauge);
    end();
    setting_expect("gauge_set_int of doubles", GAUGE, false, bits(3));
    fwdscope_gauge_set_int(run.gauge, 3);
    end();
    setting_expect("gauge_set_int", INT_GAUGE, false, (uint64_t)-4);
    fwdscope_gauge_set_int(run.int_gauge, -4);
    end();
    step_histogram(0.5);
    step_histogram(10);
    step_histogram(4096.25);
    begin("histogram_record of no number")->values_dropped++;
    fwdscope_histogram_record(run.histogram, (double)NAN);
    end();
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static void component_expect(enum component_kind kind, const char *name, const char *type,
                             uint32_t absent, unsigned health)
{
    struct world *w = begin("register a component");
    w->components[w->component_count++] = (struct world_component){
        .kind = kind, .name = name, .type = type, .absent = absent, .health = health};
}

static void steps_register_pipelines(void)
{
    struct world *w = begin("pipeline_register");
    w->pipelines[w->pipeline_count++] = (struct world_pipeline){.name = "main"};
    run.pipelines[0] = fwdscope_pipeline_register("main", 0);
    end();
    component_expect(COMPONENT_INPUT, "app.log", "file", 1u << COUNT_PARSE_ERRORS,
                     FWDSCOPE_STARTING);
    run.components[INPUT] =
        fwdscope_input_register(run.pipelines[0], "app.log", "file", 1u << FWDSCOPE_PARSE_ERRORS);
    end();
    component_expect(COMPONENT_TRANSFORM, "", "SELECT * FROM lines", 0, FWDSCOPE_HEALTHY);
    run.components[TRANSFORM] =
        fwdscope_transform_register(run.pipelines[0], "SELECT * FROM lines", 0);
    end();
    component_expect(COMPONENT_OUTPUT, "collector", "tcp", 0, FWDSCOPE_HEALTHY);
    run.components[OUTPUT] = fwdscope_output_register(run.pipelines[0], "collector", "tcp", 0);
    end();
    w = begin("pipeline_register, of few counters");
    w->pipelines[w->pipeline_count++] =
        (struct world_pipeline){.name = "aside", .absent = 1u << BATCH_STALLS};
    run.pipelines[1] = fwdscope_pipeline_register("aside", 1u << FWDSCOPE_BATCH_STALLS);
    end();
    begin("register a component without a name")->registrations_refused++;
    (void)fwdscope_output_register(run.pipelines[0], "", "tcp", 0);
    end();
}

static void step_progress(size_t which, uint64_t lines, uint64_t bytes)
{
    struct world_component *component = &begin("component_progress")->components[which];
    component->counts[COUNT_LINES] += lines;
    component->counts[COUNT_BYTES] += bytes;
    fwdscope_component_progress(run.components[which], lines, bytes);
    end();
}

static void step_queue(uint64_t depth, uint64_t capacity)
{
    struct world_component *output = &begin("component_queue")->components[OUTPUT];
    output->has_queue = true;
    output->queue_depth = depth;
    output->queue_capacity = capacity;
    fwdscope_component_queue(run.components[OUTPUT], depth, capacity);
    end();
}

/* Every field changes, each by an amount of its own. */
static void step_batch(size_t which, uint64_t base)
{
    const struct fwdscope_batch batch = {base + 1,
                                         base + 2,
                                         base + 3,
                                         base + 4,
                                         base + 5,
                                         base + 6,
                                         base + 7,
                                         base + 8,
                                         base + 9,
                                         base + 10,
                                         base + 11,
                                         base + 12,
                                         base + 13,
                                         base + 14,
                                         base + 15,
                                         1,
                                         SPAN_START_NS + base};
    struct world_pipeline *pipeline = &begin("batch_add")->pipelines[which];
    for (size_t i = 0; i < BATCH_INFLIGHT; i++)
        pipeline->batches[i] += base + i + 1;
    pipeline->batches[BATCH_INFLIGHT]++;
    pipeline->last_batch_unix_ns = SPAN_START_NS + base;
    fwdscope_batch_add(run.pipelines[which], &batch);
    end();
}

static void steps_pipelines(void)
{
    step_progress(INPUT, 100, 12345);
    step_progress(INPUT, 1, 2);
    begin("component_add")->components[OUTPUT].counts[COUNT_ERRORS] += 3;
    fwdscope_component_add(run.components[OUTPUT], FWDSCOPE_ERRORS, 3);
    end();
    for (uint64_t total = 8; total <= 9; total++) {
        begin("component_set")->components[INPUT].counts[COUNT_ROTATIONS] = total;
        fwdscope_component_set(run.components[INPUT], FWDSCOPE_ROTATIONS, total);
        end();
    }
    begin("component_health")->components[INPUT].health = FWDSCOPE_DEGRADED;
    fwdscope_component_health(run.components[INPUT], FWDSCOPE_DEGRADED);
    end();
    step_queue(7, 64);
    step_queue(8, 128);
    begin("output_success")->components[OUTPUT].last_success_unix_ns = SPAN_START_NS;
    fwdscope_output_success(run.components[OUTPUT], SPAN_START_NS);
    end();
    step_batch(0, 100);
    step_batch(0, 2000);
    step_batch(1, 30);
}

/* ---- config ---------------------------------------------------------------------------------- */

static void config_expect(const char *call, enum config_state state, const char *path,
                          const char *text)
{
    struct world *w = begin(call);
    w->config_state = state;
    w->config_path = path;
    w->config_text = text;
}

/* A text of `bytes` bytes that begins with `number`; it stays for the life of the process. */
static const char *long_text(unsigned number, size_t bytes)
{
    static char texts[1 << 20];
    static size_t used;
    char *text = texts + used;
    if (bytes + 1 > sizeof texts - used)
        abort();
    used += bytes + 1;
    int n = snprintf(text, bytes + 1, "%u ", number);
    for (size_t i = (size_t)n; i < bytes; i++)
        text[i] = (char)('a' + (i + number) % 26);
    text[bytes] = '\0';
    return text;
}

static void steps_config(void)
{
    static const size_t sizes[] = {300, 511, 64};
    for (unsigned i = 0; i < 3; i++) {
        const char *text = long_text(i, sizes[i]);
        config_expect("config_publish_redacted", CONFIG_PUBLISHED, "/etc/forwarder.yaml", text);
        fwdscope_config_publish_redacted("/etc/forwarder.yaml", text, sizes[i]);
        end();
    }
    config_expect("config_refuse", CONFIG_REFUSED, "/etc/other.yaml", "it is not YAML");
    fwdscope_config_refuse("/etc/other.yaml", "it is not YAML");
    end();
}

/* ---- rings ----------------------------------------------------------------------------------- */

static uint64_t attribute_words(const struct fwdscope_attribute *attributes, size_t count)
{
    uint64_t words = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t value =
            attributes[i].type == FWDSCOPE_STRING ? strlen(attributes[i].value.string) : 8;
        words += 1 + (strlen(attributes[i].key) + 7) / 8 + (value + 7) / 8;
    }
    return words;
}

static void ring_expect(size_t kind, size_t number, uint64_t payload_words)
{
    struct world_ring *ring = &scenario.after.rings[kind][scenario.shared ? 0 : 1];
    ring->records[ring->count].number = number;
    ring->records[ring->count].bytes = (FWS_REC_WORDS + payload_words) * FWS_WORD_BYTES;
    ring->count++;
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void step_span_start(size_t number, const char *name, int parent)
{
    struct world *w = begin(parent >= 0 ? "span_child" : "span_start");
    const uint64_t start = SPAN_START_NS + number;
    w->spans[number] = (struct world_span){.phase = SPAN_ACTIVE,
                                           .parent = parent,
                                           .name = name,
                                           .message = "",
                                           .stage = "",
                                           .kind = FWDSCOPE_SPAN_CLIENT};
    w->span_count = number + 1;
    if (parent >= 0)
        run.spans[number] =
            fwdscope_span_child(run.spans[parent], name, FWDSCOPE_SPAN_CLIENT, start);
    else
        run.spans[number] = fwdscope_span_start(name, FWDSCOPE_SPAN_CLIENT, start);
    end();
}

/* Where the attribute with that key stands in the span; attribute_count: nowhere. */
static size_t attribute_find(const struct world_span *span, const char *key)
{
    size_t i = 0;
    while (i < span->attribute_count && strcmp(span->attributes[i].key, key) != 0)
        i++;
    return i;
}

/* What setting it makes of a span: in its place when it is as long, else at the end. */
static void attribute_expect(struct world_span *span, const struct fwdscope_attribute *attribute)
{
    const size_t at = attribute_find(span, attribute->key);
    uint64_t words = attribute_words(span->attributes, span->attribute_count);
    if (at < span->attribute_count) {
        const uint64_t old = attribute_words(&span->attributes[at], 1);
        if (old == attribute_words(attribute, 1)) {
            span->attributes[at] = *attribute;
            return;
        }
        words -= old;
    }
    if (words + attribute_words(attribute, 1) > FWS_ATTR_WORDS_MAX ||
        (at == span->attribute_count && at == FWS_ATTRS_MAX)) {
        span->attributes_dropped++;
        scenario.after.attributes_dropped++;
        return;
    }
    if (at < span->attribute_count) {
        span->attribute_count--;
        memmove(&span->attributes[at], &span->attributes[at + 1],
                (span->attribute_count - at) * sizeof *attribute);
    }
    span->attributes[span->attribute_count++] = *attribute;
}

static void step_span_set(size_t number, const struct fwdscope_attribute *attributes, size_t count)
{
    struct world *w = begin("span_set");
    for (size_t i = 0; i < count; i++)
        attribute_expect(&w->spans[number], &attributes[i]);
    fwdscope_span_set(run.spans[number], attributes, count);
    end();
}

static void step_span_stage(size_t number, const char *stage)
{
    struct world_span *span = &begin("span_stage")->spans[number];
    span->stage = stage;
    span->reached_output = span->reached_output || strcmp(stage, "output") == 0;
    fwdscope_span_stage(run.spans[number], stage);
    end();
}

static void step_span_status(size_t number, enum fwdscope_span_status status, const char *message)
{
    struct world_span *span = &begin("span_status")->spans[number];
    span->status = (unsigned)status;
    span->message = message;
    fwdscope_span_status(run.spans[number], status, message);
    end();
}

static void step_span_end(size_t number)
{
    struct world_span *span = &begin("span_end")->spans[number];
    span->phase = SPAN_ENDED;
    span->end_unix_ns = SPAN_START_NS + 1000 + number;
    ring_expect(0, number,
                FWS_S_WORDS + (strlen(span->name) + 7) / 8 + (strlen(span->message) + 7) / 8 +
                    attribute_words(span->attributes, span->attribute_count));
    fwdscope_span_end(run.spans[number], span->end_unix_ns);
    end();
}

/* Fills a span with 2 KiB of attributes, one more than fits. */
static void step_span_fill(size_t number)
{
    struct fwdscope_attribute attributes[8];
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    for (unsigned i = 0; i < 8; i++)
        attributes[i] = fwdscope_string(keys[i], long_text(i, 270));
    step_span_set(number, attributes, 8);
}

static size_t steps_spans(void)
{
    const struct fwdscope_attribute first[] = {fwdscope_string("pipeline", "main"),
                                               fwdscope_int("rows", 10),
                                               fwdscope_string("state", "waiting")};
    const struct fwdscope_attribute second[] = {fwdscope_int("rows", 11),
                                                fwdscope_string("pipeline", "another, longer name"),
                                                fwdscope_bool("last", true)};
    step_span_start(0, "batch 0", -1);
    step_span_set(0, first, 3);
    step_span_stage(0, "scan");
    step_span_start(1, "output 1, with a name that takes several words", 0);
    step_span_set(0, second, 3);
    step_span_stage(0, "output");
    step_span_stage(0, "acknowledged");
    step_span_status(1, FWDSCOPE_STATUS_ERROR, "connection refused by the collector");
    step_span_start(2, "batch 2", -1);
    step_span_start(3, "batch 3", -1);
    begin("span_start without a free slot")->spans_refused++;
    (void)fwdscope_span_start("too many", FWDSCOPE_SPAN_SERVER, SPAN_START_NS);
    end();
    step_span_end(1);
    step_span_status(0, FWDSCOPE_STATUS_OK, "");
    step_span_end(0);
    step_span_start(4, "batch 4, in a slot that another had", -1);
    begin("span_stage of a span that ended");
    fwdscope_span_stage(run.spans[1], "late");
    end();
    return 5;
}

/* Full spans until the ring has been gone round. Returns the number of the next span. */
static size_t steps_span_laps(size_t number)
{
    uint64_t bytes = 0;
    for (; bytes < SPAN_RING_BYTES + 4096; number++) {
        step_span_start(number, long_text((unsigned)number, 40), -1);
        step_span_fill(number);
        step_span_end(number);
        const struct world_ring *ring = &scenario.after.rings[0][1];
        bytes += ring->records[ring->count - 1].bytes;
    }
    return number;
}

/* ---- log lines ------------------------------------------------------------------------------- */

/* Describes line `number` and writes it; `log` lacks what follows from its body. */
static void step_log(struct world_log log, size_t original_bytes)
{
    struct world *w = begin("log_record");
    const size_t number = w->log_count++;
    struct fwdscope_log_record record = {.severity = (enum fwdscope_severity)log.severity,
                                         .severity_text = log.severity_text,
                                         .body = log.body,
                                         .body_bytes = original_bytes,
                                         .time_unix_ns = log.time_unix_ns,
                                         .attributes = log.attributes,
                                         .attribute_count = log.attribute_count};
    if (log.span >= 0)
        record.span = run.spans[log.span];
    log.original_bytes = original_bytes;
    log.kept_bytes = original_bytes < FWS_LOG_BYTES_MAX ? original_bytes : FWS_LOG_BYTES_MAX;
    w->logs_cut += log.kept_bytes < original_bytes;
    if (log.attribute_count > FWS_ATTRS_MAX) {
        log.attributes_dropped = (unsigned)(log.attribute_count - FWS_ATTRS_MAX);
        w->attributes_dropped += log.attributes_dropped;
        log.attribute_count = FWS_ATTRS_MAX;
    }
    w->logs[number] = log;
    ring_expect(1, number,
                FWS_L_WORDS + (strlen(log.severity_text) + 7) / 8 + (log.kept_bytes + 7) / 8 +
                    attribute_words(log.attributes, log.attribute_count));
    if (log.attribute_count == 0 && log.span < 0 && log.time_unix_ns == 0 &&
        log.severity_text[0] == '\0')
        fwdscope_log((enum fwdscope_severity)log.severity, log.body, original_bytes);
    else
        fwdscope_log_record(&record);
    end();
}

static void step_line(size_t bytes)
{
    step_log((struct world_log){.severity = FWDSCOPE_INFO,
                                .severity_text = "",
                                .body = long_text((unsigned)scenario.after.log_count, bytes),
                                .span = -1},
             bytes);
}

static void step_full_line(size_t bytes, size_t attribute_count, int span)
{
    static const char *const keys[] = {
        "a0",  "a1",  "a2",  "a3",  "a4",  "a5",  "a6",  "a7",  "a8",  "a9",  "a10",
        "a11", "a12", "a13", "a14", "a15", "a16", "a17", "a18", "a19", "a20", "a21",
        "a22", "a23", "a24", "a25", "a26", "a27", "a28", "a29", "a30", "a31", "a32"};
    struct world_log log = {.severity = FWDSCOPE_WARN,
                            .severity_text = "warning",
                            .body = long_text((unsigned)scenario.after.log_count, bytes),
                            .time_unix_ns = SPAN_START_NS + bytes,
                            .span = span,
                            .attribute_count = attribute_count};
    for (size_t i = 0; i < attribute_count; i++)
        log.attributes[i] = fwdscope_int(keys[i], (int64_t)i);
    step_log(log, bytes);
}

static void steps_logs(void)
{
    step_line(20);
    step_line(77);
    step_full_line(31, 2, 2);
    step_full_line(9, FWS_ATTRS_MAX + 1, -1);
    step_line(FWS_LOG_BYTES_MAX);
    step_full_line(FWS_LOG_BYTES_MAX + 5, 1, 3);
}

/* Long lines until the ring has been gone round; short ones at the end, so that a lapped reader
 * finds several. */
static void steps_log_laps(void)
{
    for (int i = 0; i < 3; i++)
        step_line(FWS_LOG_BYTES_MAX - 100 - (size_t)i);
    step_line(50);
    step_line(6000);
    step_line(51);
}

/* ---- a thread without a lane of its own ------------------------------------------------------ */

static void *shared_lane(void *arg)
{
    const size_t number = *(const size_t *)arg;
    scenario.shared = true;
    step_counter(7);
    step_histogram(5);
    step_progress(OUTPUT, 3, 400);
    step_batch(0, 50000);
    step_line(30);
    step_full_line(400, 3, -1);
    step_span_start(number, "in the shared lane", 2);
    step_span_stage(number, "queued");
    step_span_end(number);
    begin("heartbeat");
    fwdscope_heartbeat();
    end();
    scenario.shared = false;
    return NULL;
}

static void steps_shared_lane(size_t number)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, shared_lane, &number) != 0)
        abort();
    pthread_join(thread, NULL);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void step_close(void)
{
    struct world *w = begin("close");
    w->state = STATE_CLOSED;
    w->close_reason = "the scenario is over, and this reason takes several words";
    fwdscope_close(FWDSCOPE_CLOSED, w->close_reason);
    end();
}

bool scenario_run(const char *dir)
{
    scenario.before = (struct world){.close_reason = "", .config_path = "", .config_text = ""};
    scenario.after = scenario.before;
    scenario.step = 0;
    scenario.shared = false;
    run.dir = dir;
    step_open();
    if (!run.ok)
        return false;
    steps_register_instruments();
    steps_values();
    steps_register_pipelines();
    steps_pipelines();
    steps_config();
    size_t number = steps_spans();
    begin("heartbeat");
    fwdscope_heartbeat();
    end();
    steps_logs();
    steps_shared_lane(number);
    step_span_end(2); /* makes room for those that follow */
    steps_span_laps(number + 1);
    steps_log_laps();
    step_histogram(1000000);
    step_close();
    return true;
}
