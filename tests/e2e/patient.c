/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forwarder that does what it is told: reads one command a line from standard input, makes the
 * calls of the shim that it names, answers one line, "ok ..." or "error ...". Tests drive it into
 * exact states. In a word, %XX stands for any byte; words are separated by one space.
 *
 * The first line that it prints is "on PATH" or "off REASON"; it runs on either way.
 */
#include "fwdscope.h"
#include "fwdscope_config.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    WORDS_MAX = 64,
    NAMED_MAX = 256,
    THREADS_MAX = 8,
    SPANS_HELD_MAX = 128,
    LINE_BYTES_MAX = 64 << 10,
    MARK = 0x5a5a, /* a process group that is nobody's: getpgid() of it stands out in a trace */
};

struct word {
    char *text; /* terminated, but may hold further NULs */
    size_t bytes;
};

/* Ends the process: a test that asks for nonsense is wrong. */
static void die(const char *what, const char *detail)
{
    fprintf(stderr, "patient: %s: %s\n", what, detail);
    exit(2);
}

static unsigned long long number_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (end == text || *end != '\0' || errno != 0)
        die("not a number", text);
    return value;
}

static double real_of(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0')
        die("not a number", text);
    return value;
}

/* A handle of any kind is one word; kept under the name that the test gave it. */
static struct named {
    char *name;
    uint64_t id;
} named[NAMED_MAX];

static uint64_t *handle_place(const char *name)
{
    for (size_t i = 0; i < NAMED_MAX; i++) {
        if (named[i].name == NULL)
            named[i].name = strdup(name);
        if (named[i].name != NULL && strcmp(named[i].name, name) == 0)
            return &named[i].id;
    }
    die("too many names", name);
    return NULL;
}

/* Pairs of words as string attributes; a value that begins with '#' is an integer. */
static size_t attributes_of(const struct word *words, size_t count,
                            struct fwdscope_attribute out[WORDS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < count; i += 2, n++) {
        const char *value = words[i + 1].text;
        out[n] = value[0] == '#' ? fwdscope_int(words[i].text, strtoll(value + 1, NULL, 0))
                                 : fwdscope_string(words[i].text, value);
    }
    return n;
}

/* ---- pipelines ------------------------------------------------------------------------------- */

static fwdscope_pipeline pipeline;

static void run_pipeline(const struct word *words, size_t count)
{
    (void)count;
    pipeline = fwdscope_pipeline_register(words[0].text, 0);
    puts("ok");
}

static void run_input(const struct word *words, size_t count)
{
    (void)count;
    *handle_place(words[0].text) =
        fwdscope_input_register(pipeline, words[0].text, words[1].text, 0).id;
    puts("ok");
}

static void run_transform(const struct word *words, size_t count)
{
    (void)count;
    *handle_place("transform") = fwdscope_transform_register(pipeline, words[0].text, 0).id;
    puts("ok");
}

static void run_output(const struct word *words, size_t count)
{
    (void)count;
    *handle_place(words[0].text) =
        fwdscope_output_register(pipeline, words[0].text, words[1].text, 0).id;
    puts("ok");
}

static fwdscope_component component_of(const struct word *words)
{
    return (fwdscope_component){*handle_place(words[0].text)};
}

static void run_health(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_component_health(component_of(words), (enum fwdscope_health)number_of(words[1].text));
    puts("ok");
}

static void run_progress(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_component_progress(component_of(words), number_of(words[1].text),
                                number_of(words[2].text));
    puts("ok");
}

static void run_add(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_component_add(component_of(words), (enum fwdscope_count)number_of(words[1].text),
                           number_of(words[2].text));
    puts("ok");
}

static void run_queue(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_component_queue(component_of(words), number_of(words[1].text),
                             number_of(words[2].text));
    puts("ok");
}

/* Every field of a batch is 8 bytes wide; inflight is given in two's complement. */
static void run_batch(const struct word *words, size_t count)
{
#define FIELD(name)                                  \
    {                                                \
#name, offsetof(struct fwdscope_batch, name) \
    }
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {FIELD(batches),
                  FIELD(rows),
                  FIELD(flush_by_size),
                  FIELD(flush_by_timeout),
                  FIELD(flush_by_drain),
                  FIELD(dropped_batches),
                  FIELD(scan_errors),
                  FIELD(parse_errors),
                  FIELD(latency_ns),
                  FIELD(scan_ns),
                  FIELD(transform_ns),
                  FIELD(output_ns),
                  FIELD(queue_wait_ns),
                  FIELD(send_ns),
                  FIELD(backpressure_stalls),
                  FIELD(inflight),
                  FIELD(finished_unix_ns)};
#undef FIELD
    struct fwdscope_batch batch = {0};
    for (size_t i = 0; i + 1 < count; i += 2) {
        const uint64_t value = number_of(words[i + 1].text);
        size_t f = 0;
        while (f < sizeof fields / sizeof *fields && strcmp(fields[f].name, words[i].text) != 0)
            f++;
        if (f == sizeof fields / sizeof *fields)
            die("no such field of a batch", words[i].text);
        memcpy((char *)&batch + fields[f].offset, &value, sizeof value);
    }
    fwdscope_batch_add(pipeline, &batch);
    puts("ok");
}

/* ---- instruments -------------------------------------------------------------------------------
 */

/* UNIT DESCRIPTION: of the instruments that are registered from now on. */
static char unit[256] = "{thing}", description[1025] = "counted by a test";

static void run_describe(const struct word *words, size_t count)
{
    (void)count;
    snprintf(unit, sizeof unit, "%s", words[0].text);
    snprintf(description, sizeof description, "%s", words[1].text);
    puts("ok");
}

/* words: NAME VALUE [KEY VALUE]... */
struct described {
    struct fwdscope_instrument what;
    struct fwdscope_attribute attributes[WORDS_MAX];
};

static const struct fwdscope_instrument *describe(const struct word *words, size_t count,
                                                  struct described *out)
{
    out->what = (struct fwdscope_instrument){
        .name = words[0].text,
        .unit = unit,
        .description = description,
        .attributes = out->attributes,
        .attribute_count = attributes_of(words + 2, count - 2, out->attributes),
    };
    return &out->what;
}

static void run_counter(const struct word *words, size_t count)
{
    struct described d;
    fwdscope_counter_add(fwdscope_counter_register(describe(words, count, &d)),
                         number_of(words[1].text));
    puts("ok");
}

static void run_total(const struct word *words, size_t count)
{
    struct described d;
    fwdscope_total_set(fwdscope_total_register(describe(words, count, &d)),
                       number_of(words[1].text));
    puts("ok");
}

static void run_updown(const struct word *words, size_t count)
{
    struct described d;
    fwdscope_updown_add(fwdscope_updown_register(describe(words, count, &d)),
                        strtoll(words[1].text, NULL, 0));
    puts("ok");
}

static void run_gauge(const struct word *words, size_t count)
{
    struct described d;
    fwdscope_gauge_set(fwdscope_gauge_register(describe(words, count, &d)), real_of(words[1].text));
    puts("ok");
}

static void run_int_gauge(const struct word *words, size_t count)
{
    struct described d;
    fwdscope_gauge_set_int(fwdscope_int_gauge_register(describe(words, count, &d)),
                           strtoll(words[1].text, NULL, 0));
    puts("ok");
}

static void run_gauge_clear(const struct word *words, size_t count)
{
    struct described d;
    (void)count;
    fwdscope_gauge_clear(fwdscope_gauge_register(describe(words, 2, &d)));
    puts("ok");
}

static void run_histogram(const struct word *words, size_t count)
{
    static const double bounds[] = {1, 10, 100};
    struct described d;
    fwdscope_histogram histogram = fwdscope_histogram_register(describe(words, 2, &d), bounds, 3);
    for (size_t i = 1; i < count; i++)
        fwdscope_histogram_record(histogram, real_of(words[i].text));
    puts("ok");
}

/* Registers N counters and adds 1 to each; says how many handles were real. */
static void run_register_many(const struct word *words, size_t count)
{
    const unsigned long long wanted = number_of(words[0].text);
    unsigned long long real = 0;
    (void)count;
    for (unsigned long long i = 0; i < wanted; i++) {
        char name[64];
        snprintf(name, sizeof name, "many.c%llu", i);
        const fwdscope_counter counter =
            fwdscope_counter_register(&(struct fwdscope_instrument){.name = name, .unit = "1"});
        fwdscope_counter_add(counter, 1);
        real += counter.id != 0;
    }
    printf("ok %llu\n", real);
}

/* ---- spans --------------------------------------------------------------------------------------
 */

static fwdscope_span span_of(const struct word *words)
{
    return (fwdscope_span){*handle_place(words[0].text)};
}

/* KEY NAME [PARENT-KEY] */
static void run_span_start(const struct word *words, size_t count)
{
    const char *name = words[1].text;
    *handle_place(words[0].text) =
        count > 2 ? fwdscope_span_child(span_of(words + 2), name, FWDSCOPE_SPAN_CLIENT, 0).id
                  : fwdscope_span_start(name, FWDSCOPE_SPAN_INTERNAL, 0).id;
    puts("ok");
}

static void run_span_set(const struct word *words, size_t count)
{
    struct fwdscope_attribute attributes[WORDS_MAX];
    fwdscope_span_set(span_of(words), attributes, attributes_of(words + 1, count - 1, attributes));
    puts("ok");
}

static void run_span_stage(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_span_stage(span_of(words), words[1].text);
    puts("ok");
}

static void run_span_status(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_span_status(span_of(words), (enum fwdscope_span_status)number_of(words[1].text),
                         words[2].text);
    puts("ok");
}

static void run_span_end(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_span_end(span_of(words), 0);
    puts("ok");
}

/* ---- counted lines and spans ----------------------------------------------------------------- */

/* What one thread wrote so far: the numbers that stand in its lines and spans. */
struct writer {
    unsigned thread;
    unsigned long long lines, spans;
    fwdscope_span held[SPANS_HELD_MAX]; /* running: each ends when its place is needed */
    unsigned long long held_max;
};

static struct writer main_writer;

/* "t=0 n=17" and so many bytes of padding that the line has `bytes`. */
static void write_line(struct writer *writer, size_t bytes)
{
    char line[LINE_BYTES_MAX];
    const int n = snprintf(line, sizeof line, "t=%u n=%llu ", writer->thread, writer->lines++);
    const size_t length = bytes > (size_t)n ? bytes : (size_t)n;
    memset(line + n, '.', length - (size_t)n);
    fwdscope_log(FWDSCOPE_INFO, line, length);
}

static void write_span(struct writer *writer)
{
    const fwdscope_span span = fwdscope_span_start("counted", FWDSCOPE_SPAN_INTERNAL, 0);
    const struct fwdscope_attribute attributes[] = {fwdscope_int("t", writer->thread),
                                                    fwdscope_int("n", (int64_t)writer->spans++)};
    fwdscope_span_set(span, attributes, 2);
    if (writer->held_max == 0) {
        fwdscope_span_end(span, 0);
        return;
    }
    fwdscope_span *place = &writer->held[writer->spans % writer->held_max];
    fwdscope_span_end(*place, 0);
    *place = span;
}

static void end_held_spans(struct writer *writer)
{
    for (unsigned long long i = 0; i < writer->held_max; i++)
        fwdscope_span_end(writer->held[i], 0);
}

static size_t line_bytes_of(const char *text)
{
    const unsigned long long bytes = number_of(text);
    if (bytes > LINE_BYTES_MAX)
        die("a longer line than there is room for", text);
    return (size_t)bytes;
}

/* N [BYTES] */
static void run_lines(const struct word *words, size_t count)
{
    const size_t bytes = count > 1 ? line_bytes_of(words[1].text) : 0;
    for (unsigned long long i = number_of(words[0].text); i > 0; i--)
        write_line(&main_writer, bytes);
    printf("ok %llu\n", main_writer.lines);
}

static void run_spans(const struct word *words, size_t count)
{
    (void)count;
    for (unsigned long long i = number_of(words[0].text); i > 0; i--)
        write_span(&main_writer);
    printf("ok %llu\n", main_writer.spans);
}

/* The load: threads that write at a pace until they are told to stop. */
static struct {
    pthread_t threads[THREADS_MAX];
    struct writer writers[THREADS_MAX];
    size_t count, line_bytes;
    unsigned long long lines, spans, every_ms;
    atomic_bool stop;
} load;

static void pause_ms(unsigned long long ms)
{
    const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000 * 1000000)};
    nanosleep(&pause, NULL);
}

static void *load_thread(void *arg)
{
    struct writer *writer = arg;
    while (!atomic_load(&load.stop)) {
        for (unsigned long long i = 0; i < load.lines; i++)
            write_line(writer, load.line_bytes);
        for (unsigned long long i = 0; i < load.spans; i++)
            write_span(writer);
        fwdscope_batch_add(pipeline, &(struct fwdscope_batch){.batches = 1, .rows = load.lines});
        pause_ms(load.every_ms);
    }
    end_held_spans(writer);
    return NULL;
}

/* THREADS LINES BYTES SPANS EVERY_MS [HELD]: what each thread writes in one go, how often, and how
 * many spans it keeps running. */
static void run_load(const struct word *words, size_t count)
{
    const unsigned long long held = count > 5 ? number_of(words[5].text) : 0;
    if (held > SPANS_HELD_MAX)
        die("more running spans than there is room for", words[5].text);
    load.count = (size_t)number_of(words[0].text);
    load.lines = number_of(words[1].text);
    load.line_bytes = line_bytes_of(words[2].text);
    load.spans = number_of(words[3].text);
    load.every_ms = number_of(words[4].text);
    if (load.count > THREADS_MAX)
        die("more threads than there is room for", words[0].text);
    atomic_store(&load.stop, false);
    for (size_t i = 0; i < load.count; i++) {
        load.writers[i].thread = (unsigned)i + 1;
        load.writers[i].held_max = held;
        if (pthread_create(&load.threads[i], NULL, load_thread, &load.writers[i]) != 0)
            die("cannot start a thread", words[0].text);
    }
    puts("ok");
}

/* Answers with the lines and spans that all threads wrote since the beginning. */
static void run_load_stop(const struct word *words, size_t count)
{
    unsigned long long lines = 0, spans = 0;
    (void)words;
    (void)count;
    atomic_store(&load.stop, true);
    for (size_t i = 0; i < load.count; i++) {
        pthread_join(load.threads[i], NULL);
        lines += load.writers[i].lines;
        spans += load.writers[i].spans;
    }
    load.count = 0;
    printf("ok %llu %llu\n", lines, spans);
}

/* ---- log lines, configuration ---------------------------------------------------------------- */

/* SEVERITY BODY [KEY VALUE]... */
static void run_log(const struct word *words, size_t count)
{
    struct fwdscope_attribute attributes[WORDS_MAX];
    const struct fwdscope_log_record record = {
        .severity = (enum fwdscope_severity)number_of(words[0].text),
        .body = words[1].text,
        .body_bytes = words[1].bytes,
        .attributes = attributes,
        .attribute_count = attributes_of(words + 2, count - 2, attributes),
    };
    fwdscope_log_record(&record);
    puts("ok");
}

/* SEVERITY SEVERITY-TEXT BODY */
static void run_log_named(const struct word *words, size_t count)
{
    (void)count;
    const struct fwdscope_log_record record = {.severity =
                                                   (enum fwdscope_severity)number_of(words[0].text),
                                               .severity_text = words[1].text,
                                               .body = words[2].text,
                                               .body_bytes = words[2].bytes};
    fwdscope_log_record(&record);
    puts("ok");
}

/* KEY-OF-SPAN BODY: a line that belongs to a span. */
static void run_log_in_span(const struct word *words, size_t count)
{
    (void)count;
    const struct fwdscope_log_record record = {.severity = FWDSCOPE_ERROR,
                                               .severity_text = "error",
                                               .body = words[1].text,
                                               .body_bytes = words[1].bytes,
                                               .span = span_of(words)};
    fwdscope_log_record(&record);
    puts("ok");
}

/* N: a line of N bytes, "x" and then two-byte characters, so that no even cut fits. */
static void run_log_long(const struct word *words, size_t count)
{
    static char line[LINE_BYTES_MAX];
    const size_t bytes = line_bytes_of(words[0].text);
    (void)count;
    for (size_t i = 0; i < bytes; i++)
        line[i] = i == 0 ? 'x' : i % 2 == 1 ? '\xc3' : '\xa9';
    fwdscope_log(FWDSCOPE_INFO, line, bytes);
    puts("ok");
}

/* PATH FILE: publishes the text of FILE as the configuration at PATH. */
static void run_config(const struct word *words, size_t count)
{
    static char text[256 << 10];
    (void)count;
    FILE *file = fopen(words[1].text, "rb");
    if (file == NULL)
        die("cannot open", words[1].text);
    const size_t bytes = fread(text, 1, sizeof text, file);
    fclose(file);
    fwdscope_config_publish(words[0].text, text, bytes);
    puts("ok");
}

/* ---- heartbeat, hot loop, the end ------------------------------------------------------------ */

static atomic_bool beating;
static unsigned long long beat_every_ms;

static void *beat_thread(void *arg)
{
    (void)arg;
    while (atomic_load(&beating)) {
        fwdscope_heartbeat();
        pause_ms(beat_every_ms);
    }
    return NULL;
}

static void beat_start(unsigned long long every_ms)
{
    pthread_t thread;
    beat_every_ms = every_ms;
    atomic_store(&beating, true);
    if (pthread_create(&thread, NULL, beat_thread, NULL) != 0)
        die("cannot start a thread", "heartbeat");
    pthread_detach(thread);
}

static void run_beat_stop(const struct word *words, size_t count)
{
    (void)words;
    (void)count;
    atomic_store(&beating, false);
    puts("ok");
}

/* Every call of the hot path, once. */
static void hot_step(fwdscope_counter counter, fwdscope_histogram histogram, fwdscope_gauge gauge)
{
    const fwdscope_component out = {*handle_place("out")};
    const fwdscope_span span = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
    const fwdscope_span child = fwdscope_span_child(span, "output", FWDSCOPE_SPAN_CLIENT, 0);
    const struct fwdscope_attribute attribute = fwdscope_string("pipeline", "main");
    fwdscope_counter_add(counter, 1);
    fwdscope_histogram_record(histogram, 5);
    fwdscope_gauge_set(gauge, 2.5);
    fwdscope_component_progress(out, 10, 1000);
    fwdscope_component_health(out, FWDSCOPE_HEALTHY);
    fwdscope_component_queue(out, 1, 8);
    fwdscope_output_success(out, 1);
    fwdscope_batch_add(pipeline, &(struct fwdscope_batch){.batches = 1, .rows = 10});
    fwdscope_span_set(child, &attribute, 1);
    fwdscope_span_stage(span, "output");
    fwdscope_span_end(child, 0);
    fwdscope_span_end(span, 0);
    write_line(&main_writer, 80);
    fwdscope_heartbeat();
}

/* N: the hot path N times, between two system calls that stand out. */
static void run_hot(const struct word *words, size_t count)
{
    static const double bounds[] = {1, 10};
    const struct fwdscope_instrument what = {.name = "hot.value", .unit = "1"};
    const fwdscope_counter counter = fwdscope_counter_register(&what);
    const fwdscope_gauge gauge = fwdscope_gauge_register(&what);
    const fwdscope_histogram histogram = fwdscope_histogram_register(&what, bounds, 2);
    (void)count;
    hot_step(counter, histogram, gauge); /* the thread takes its lane: once in its life */
    syscall(SYS_getpgid, MARK);
    for (unsigned long long i = number_of(words[0].text); i > 0; i--)
        hot_step(counter, histogram, gauge);
    syscall(SYS_getpgid, MARK);
    puts("ok");
}

/* As a host that becomes a daemon does: whatever is open, ours too. */
static void run_close_descriptors(const struct word *words, size_t count)
{
    (void)words;
    (void)count;
    if (close_range(3, ~0U, 0) != 0)
        die("cannot close", "descriptors");
    puts("ok");
}

/* A child that does nothing and ends with this process; answers with its pid. */
static void run_fork(const struct word *words, size_t count)
{
    (void)words;
    (void)count;
    fflush(stdout);
    const pid_t pid = fork();
    if (pid < 0)
        die("cannot fork", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    printf("ok %d\n", (int)pid);
}

static void run_close(const struct word *words, size_t count)
{
    (void)count;
    fwdscope_close(strcmp(words[0].text, "crashed") == 0 ? FWDSCOPE_CRASHED : FWDSCOPE_CLOSED,
                   words[1].text);
    puts("ok");
}

static void run_abort(const struct word *words, size_t count)
{
    (void)words;
    (void)count;
    abort();
}

static void run_quit(const struct word *words, size_t count)
{
    (void)words;
    (void)count;
    fwdscope_close(FWDSCOPE_CLOSED, "told to quit");
    exit(0);
}

/* ---- commands -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t words_min;
    void (*run)(const struct word *words, size_t count);
} commands[] = {
    {"pipeline", 1, run_pipeline},
    {"input", 2, run_input},
    {"transform", 1, run_transform},
    {"output", 2, run_output},
    {"health", 2, run_health},
    {"progress", 3, run_progress},
    {"add", 3, run_add},
    {"queue", 3, run_queue},
    {"batch", 2, run_batch},
    {"describe", 2, run_describe},
    {"counter", 2, run_counter},
    {"total", 2, run_total},
    {"updown", 2, run_updown},
    {"gauge", 2, run_gauge},
    {"int-gauge", 2, run_int_gauge},
    {"gauge-clear", 1, run_gauge_clear},
    {"histogram", 2, run_histogram},
    {"register-many", 1, run_register_many},
    {"span-start", 2, run_span_start},
    {"span-set", 3, run_span_set},
    {"span-stage", 2, run_span_stage},
    {"span-status", 3, run_span_status},
    {"span-end", 1, run_span_end},
    {"lines", 1, run_lines},
    {"spans", 1, run_spans},
    {"load", 5, run_load},
    {"load-stop", 0, run_load_stop},
    {"log", 2, run_log},
    {"log-named", 3, run_log_named},
    {"log-in-span", 2, run_log_in_span},
    {"log-long", 1, run_log_long},
    {"config", 2, run_config},
    {"beat-stop", 0, run_beat_stop},
    {"hot", 1, run_hot},
    {"close-descriptors", 0, run_close_descriptors},
    {"fork", 0, run_fork},
    {"close", 2, run_close},
    {"abort", 0, run_abort},
    {"quit", 0, run_quit},
};

/* Undoes %XX in place; returns the bytes. */
static size_t word_decode(char *text)
{
    size_t n = 0;
    for (size_t i = 0; text[i] != '\0'; i++, n++) {
        unsigned value;
        if (text[i] == '%' && sscanf(text + i + 1, "%2x", &value) == 1) {
            text[n] = (char)value;
            i += 2;
        } else {
            text[n] = text[i];
        }
    }
    text[n] = '\0';
    return n;
}

static void command_run(char *line)
{
    struct word words[WORDS_MAX] = {{0}};
    size_t count = 0;
    char *rest = line, *name = strsep(&rest, " ");
    while (rest != NULL && count < WORDS_MAX) {
        words[count].text = strsep(&rest, " ");
        words[count].bytes = word_decode(words[count].text);
        count++;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0 && count >= commands[i].words_min) {
            commands[i].run(words, count);
            return;
        }
    }
    printf("error no command '%s' with %zu words\n", name, count);
}

/* ---- options --------------------------------------------------------------------------------- */

static const struct option long_options[] = {
    {"service", required_argument, NULL, 's'},
    {"service-version", required_argument, NULL, 'v'},
    {"instance", required_argument, NULL, 'i'},
    {"instance-id", required_argument, NULL, 'I'},
    {"prefix", required_argument, NULL, 'p'},
    {"dir", required_argument, NULL, 'd'},
    {"lanes", required_argument, NULL, 'l'},
    {"instruments", required_argument, NULL, 'n'},
    {"active-spans", required_argument, NULL, 'a'},
    {"log-ring", required_argument, NULL, 'L'},
    {"span-ring", required_argument, NULL, 'S'},
    {"heartbeat", required_argument, NULL, 'h'},
    {"sealed-memfd", no_argument, NULL, 'm'},
    {"subject", required_argument, NULL, 'P'},
    {NULL, 0, NULL, 0},
};

static void option_take(int option, struct fwdscope_options *out)
{
    switch (option) {
    case 's':
        out->service_name = optarg;
        break;
    case 'v':
        out->service_version = optarg;
        break;
    case 'i':
        out->instance = optarg;
        break;
    case 'I':
        out->instance_id = optarg;
        break;
    case 'p':
        out->metric_prefix = optarg;
        break;
    case 'd':
        out->directory = optarg;
        break;
    case 'l':
        out->lanes = (uint32_t)number_of(optarg);
        break;
    case 'n':
        out->instruments = (uint32_t)number_of(optarg);
        break;
    case 'a':
        out->active_spans = (uint32_t)number_of(optarg);
        break;
    case 'L':
        out->log_ring_bytes = (uint32_t)number_of(optarg);
        break;
    case 'S':
        out->span_ring_bytes = (uint32_t)number_of(optarg);
        break;
    case 'h':
        out->heartbeat_interval_ms = (uint32_t)number_of(optarg);
        break;
    case 'm':
        out->sealed_memfd = true;
        break;
    case 'P':
        out->subject_pid = (uint32_t)number_of(optarg);
        break;
    default:
        exit(2); /* getopt said why */
    }
}

int main(int argc, char **argv)
{
    struct fwdscope_options options = {.service_name = "patient", .service_version = "1.2.3"};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    int option;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        option_take(option, &options);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (fwdscope_open(&options))
        printf("on %s\n", fwdscope_path());
    else
        printf("off %s\n", fwdscope_reason());
    if (options.heartbeat_interval_ms != 0)
        beat_start(options.heartbeat_interval_ms);
    while ((bytes = getline(&line, &capacity, stdin)) > 0) {
        if (line[bytes - 1] == '\n')
            line[bytes - 1] = '\0';
        command_run(line);
    }
    free(line);
    fwdscope_close(FWDSCOPE_CLOSED, "end of input");
    return 0;
}
