/* SPDX-License-Identifier: Apache-2.0 */
/* fwdscope dump: one look at a region, of a live forwarder or a dead one. */
#include "cli.h"

#include "json.h"
#include "otlp_files.h"
#include "sampler.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char help[] =
    "usage: fwdscope dump [-o text|json|otlp] FILE | --pid N\n"
    "       fwdscope dump -o otlp --output-dir DIR FILE | --pid N\n"
    "\n"
    "Prints what a region holds: the verdict on its writer, the last counters, active spans,\n"
    "finished spans and log lines. The writer may be alive, dead, or on another machine.\n"
    "\n"
    "  -o text    for people (the default)\n"
    "  -o json    one object: status (as /admin/v1/status), metrics, spans, logs (OTLP JSON)\n"
    "  -o otlp    one OTLP JSON document a line: metrics, spans, logs\n"
    "  --output-dir DIR   with -o otlp: writes DIR/metrics.jsonl, traces.jsonl and logs.jsonl, as\n"
    "             the Collector's otlpjsonfile receiver takes them, in lines of at most 1 MiB "
    "where\n"
    "             records allow it. Makes DIR; overwrites nothing.\n"
    "  --pid N    the region that process N writes, wherever it is; as its user or root\n"
    "  --help\n"
    "\n"
    "exit: 0 printed (a dead writer too), 1 runtime, 2 usage, 3 no such region,\n"
    "      4 unreadable, incompatible or corrupt\n";

enum { OUTPUT_BYTES_MAX = 512 << 20, TEXT_LOGS_MAX = 200, TEXT_SPANS_MAX = 50 };

/* ---- JSON ------------------------------------------------------------------------------------ */

static const struct {
    enum signal signal;
    const char *name;
} signals[] = {{SIGNAL_METRICS, "metrics"}, {SIGNAL_SPANS, "spans"}, {SIGNAL_LOGS, "logs"}};

static void write_json(struct sampler *sampler, struct buffer *out)
{
    struct status_view view = sampler_view(sampler);
    json_object_begin(out);
    json_key(out, "status");
    struct buffer status;
    buffer_init(&status, OUTPUT_BYTES_MAX);
    status_write_status(&status, &view);
    buffer_append(out, status.data, status.length);
    buffer_free(&status);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        size_t before = out->length;
        json_key(out, signals[i].name);
        if (!documents_dump(&sampler->documents, &sampler->fleet, signals[i].signal, out))
            out->length = before; /* nothing of it: the key is absent */
    }
    json_object_end(out);
    buffer_append(out, "\n", 1);
}

static void write_otlp(struct sampler *sampler, struct buffer *out)
{
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (documents_dump(&sampler->documents, &sampler->fleet, signals[i].signal, out))
            buffer_append(out, "\n", 1);
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_time(const char *label, uint64_t unix_ns)
{
    time_t seconds = (time_t)(unix_ns / UINT64_C(1000000000));
    struct tm broken;
    char text[64] = "?";
    if (gmtime_r(&seconds, &broken) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &broken);
    printf("%s%s.%03lluZ", label, text,
           (unsigned long long)(unix_ns % UINT64_C(1000000000) / 1000000));
}

static void print_attributes(const struct attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct attribute *a = &attributes[i];
        putchar(' ');
        cli_print_safe(a->key);
        putchar('=');
        switch (a->type) {
        case ATTRIBUTE_STRING:
            cli_print_safe(a->string);
            break;
        case ATTRIBUTE_INT:
            printf("%lld", (long long)a->integer);
            break;
        case ATTRIBUTE_DOUBLE:
            printf("%g", a->real);
            break;
        case ATTRIBUTE_BOOL:
            fputs(a->boolean ? "true" : "false", stdout);
            break;
        }
    }
}

static void print_count(const struct component *component, enum count_index which, const char *name)
{
    if ((component->absent >> which & 1) == 0)
        printf("  %s %llu", name, (unsigned long long)component->counts[which]);
}

static void print_pipelines(const struct life *life)
{
    static const char *const roles[] = {"?", "input", "transform", "output"};
    const struct snapshot *snapshot = life->snapshot;
    for (size_t p = 0; p < snapshot->pipeline_count; p++) {
        const struct pipeline *pipeline = &snapshot->pipelines[p];
        fputs("\npipeline ", stdout);
        cli_print_safe(pipeline->name);
        printf("\n  batches %llu  rows %llu  in flight %llu  dropped %llu%s\n",
               (unsigned long long)pipeline->batches[BATCH_BATCHES],
               (unsigned long long)pipeline->batches[BATCH_ROWS],
               (unsigned long long)pipeline->batches[BATCH_INFLIGHT],
               (unsigned long long)pipeline->batches[BATCH_DROPPED],
               pipeline->batches_stale ? "  (stale: not readable whole)" : "");
        for (size_t c = 0; c < pipeline->component_count; c++) {
            const struct component *component = &pipeline->components[c];
            printf("  %-9s ", roles[component->kind]);
            cli_print_safe(component->kind == COMPONENT_TRANSFORM ? component->type
                                                                  : component->name);
            printf("  %s", health_name(policy_health(component->health)));
            print_count(component, COUNT_LINES, "lines");
            print_count(component, COUNT_BYTES, "bytes");
            print_count(component, COUNT_ERRORS, "errors");
            if (component->has_queue)
                printf("  queue %llu", (unsigned long long)component->queue_depth);
            if (component->has_queue && component->queue_capacity > 0)
                printf("/%llu", (unsigned long long)component->queue_capacity);
            putchar('\n');
        }
    }
}

static void print_instruments(const struct life *life)
{
    const struct snapshot *snapshot = life->snapshot;
    if (snapshot->instrument_count > 0)
        puts("\ninstruments");
    for (size_t i = 0; i < snapshot->instrument_count; i++) {
        const struct instrument *instrument = &snapshot->instruments[i];
        const uint64_t *value = &snapshot->values[instrument->value_index];
        double real;
        memcpy(&real, value, sizeof real);
        fputs("  ", stdout);
        cli_print_safe(instrument->name);
        print_attributes(instrument->attributes, instrument->attribute_count);
        if (snapshot->values_absent[i] != 0)
            printf("  %s", snapshot->values_absent[i] == 2 ? "stale" : "not set");
        else if (instrument->kind == INSTRUMENT_HISTOGRAM) {
            uint64_t count = 0;
            for (size_t b = 1; b < instrument->value_count; b++)
                count += value[b];
            printf("  count %llu sum %g", (unsigned long long)count, real);
        } else if (instrument->is_double)
            printf("  %g", real);
        else if (instrument->kind == INSTRUMENT_COUNTER || instrument->kind == INSTRUMENT_TOTAL)
            printf("  %llu", (unsigned long long)*value);
        else
            printf("  %lld", (long long)*value);
        putchar('\n');
    }
}

/* until: of a span that has not ended; 0: nobody knows how long it was at it. */
static void print_span(const struct span *span, uint64_t until)
{
    uint64_t end = span->end_unix_ns != 0 ? span->end_unix_ns : until;
    print_time("  ", span->start_unix_ns);
    if (end == 0)
        fputs("  in flight    ", stdout);
    else
        printf("  %8.1f ms  ",
               end > span->start_unix_ns ? (double)(end - span->start_unix_ns) / 1e6 : 0);
    cli_print_safe(span->name);
    if (span->stage != NULL && span->stage[0] != '\0') {
        fputs("  stage ", stdout);
        cli_print_safe(span->stage);
    }
    print_attributes(span->attributes, span->attribute_count);
    putchar('\n');
}

/* The newest records of a queue, decoded one by one into an arena that is reset each time. */
static void print_records(const struct record_queue *queue, size_t max, enum record_kind kind)
{
    struct record *records = calloc(max, sizeof *records);
    struct arena *arena = arena_new(1 << 20);
    size_t count = 0;
    if (records != NULL && arena != NULL)
        count = record_queue_collect(queue, queue->first, queue->next, 0, records, max);
    printf("\n%s (newest %zu of %llu)\n", kind == RECORD_SPAN ? "finished spans" : "log lines",
           count, (unsigned long long)(queue->next - queue->first));
    for (size_t i = 0; i < count; i++) {
        struct span span;
        struct log_record log;
        arena_reset(arena);
        if (kind == RECORD_SPAN && record_decode_span(arena, &records[i], &span)) {
            print_span(&span, span.end_unix_ns);
        } else if (kind == RECORD_LOG && record_decode_log(arena, &records[i], &log)) {
            print_time("  ", log.time_unix_ns != 0 ? log.time_unix_ns : log.observed_unix_ns);
            printf("  %2u  ", log.severity);
            cli_print_safe(log.body);
            print_attributes(log.attributes, log.attribute_count);
            putchar('\n');
        }
    }
    arena_free(&arena);
    free(records);
}

static void print_text(const struct sampler *sampler)
{
    const struct life *life = sampler->fleet.current[0];
    const struct identity *identity = life->identity;
    const struct snapshot *snapshot = life->snapshot;
    struct losses lost = life_losses(life);
    fputs("forwarder ", stdout);
    cli_print_safe(identity->service_name);
    fputs("  instance ", stdout);
    cli_print_safe(identity->instance);
    printf("  generation %llu  pid %llu\n", (unsigned long long)identity->generation,
           (unsigned long long)identity->pid);
    print_time("started   ", identity->created_unix_ns);
    printf("\nwriter    %s: ", writer_state_name(life->verdict.state));
    cli_print_safe(life->verdict.reason);
    printf(
        "\nlost      spans %llu, log lines %llu; cut lines %llu; dropped attributes %llu, values "
        "%llu; refused registrations %llu\n",
        (unsigned long long)lost.spans, (unsigned long long)lost.logs,
        (unsigned long long)lost.logs_cut, (unsigned long long)lost.attributes_dropped,
        (unsigned long long)lost.values_dropped, (unsigned long long)lost.registrations_refused);
    print_pipelines(life);
    print_instruments(life);
    const bool dead = life->verdict.state == WRITER_CRASHED || life->verdict.state == WRITER_EXITED;
    printf("\nactive spans (%zu%s)\n", snapshot->active_span_count,
           dead ? ", in flight when it ended" : "");
    size_t active_count;
    const struct span *active = region_active_spans(life->region, &active_count);
    for (size_t i = 0; i < active_count; i++)
        print_span(&active[i], dead ? 0 : snapshot->time_unix_ns);
    print_records(&life->history.spans, TEXT_SPANS_MAX, RECORD_SPAN);
    print_records(&life->history.logs, TEXT_LOGS_MAX, RECORD_LOG);
}

/* ---- main ------------------------------------------------------------------------------------ */

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_OTLP };

static int dump_print(struct sampler *sampler, enum format format)
{
    if (format == FORMAT_TEXT) {
        print_text(sampler);
    } else {
        struct buffer out;
        buffer_init(&out, OUTPUT_BYTES_MAX);
        if (format == FORMAT_JSON)
            write_json(sampler, &out);
        else
            write_otlp(sampler, &out);
        bool failed = out.failed;
        if (!failed)
            fwrite(out.data, 1, out.length, stdout);
        buffer_free(&out);
        if (failed) {
            fprintf(stderr, "fwdscope dump: the document would be larger than %d MiB\n",
                    OUTPUT_BYTES_MAX >> 20);
            return EXIT_RUNTIME;
        }
    }
    return EXIT_OK;
}

/* otlp_dir: NULL but for three files. */
static int dump_file(const char *path, enum format format, const char *otlp_dir)
{
    const struct fleet_target target = {.file = path};
    struct sampler sampler;
    char why[512];
    struct region *region;
    /* Once by itself, for a clear reason and exit code. */
    enum attach_result result = region_open(path, &region, NULL, why, sizeof why);
    if (result != ATTACH_OK) {
        fprintf(stderr, "fwdscope dump: %s\n", why);
        return result == ATTACH_NOT_FOUND ? EXIT_ABSENT
               : result == ATTACH_FAILED  ? EXIT_RUNTIME
                                          : EXIT_UNREADABLE;
    }
    region_close(&region);
    if (!sampler_init(&sampler, &target, UINT64_C(2000000000), NULL)) {
        fprintf(stderr, "fwdscope dump: no memory\n");
        return EXIT_RUNTIME;
    }
    sampler.fleet.silent = true;
    sampler_tick(&sampler);
    int code = EXIT_ABSENT;
    if (sampler.fleet.current_count > 0) {
        code =
            otlp_dir != NULL ? otlp_files_write(&sampler, otlp_dir) : dump_print(&sampler, format);
    } else if (sampler.fleet.trouble_reason[0] != '\0') { /* it is another one by now */
        fprintf(stderr, "fwdscope dump: %s\n", sampler.fleet.trouble_reason);
        code = EXIT_UNREADABLE;
    } else {
        fprintf(stderr, "fwdscope dump: %s went away\n", path);
    }
    sampler_free(&sampler);
    return code;
}

int dump_main(int argc, char **argv)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"output-dir", required_argument, NULL, 'd'},
                                            {"pid", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    enum format format = FORMAT_TEXT;
    const char *otlp_dir = NULL, *pid = NULL;
    char path[CLI_PATH_BYTES];
    int c;
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (c == 'd') {
            otlp_dir = optarg;
            continue;
        }
        if (c == 'p') {
            pid = optarg;
            continue;
        }
        if (c != 'o')
            return c == ':' ? cli_usage_error("dump", "%s needs a value", argv[optind - 1])
                            : cli_unknown_option("dump", argv);
        if (strcmp(optarg, "text") == 0)
            format = FORMAT_TEXT;
        else if (strcmp(optarg, "json") == 0)
            format = FORMAT_JSON;
        else if (strcmp(optarg, "otlp") == 0)
            format = FORMAT_OTLP;
        else
            return cli_usage_error("dump", "-o %s: not text, json or otlp", optarg);
    }
    if (otlp_dir != NULL && format != FORMAT_OTLP)
        return cli_usage_error("dump", "--output-dir is for -o otlp");
    c = cli_choose_region("dump", pid, argc - optind, argv + optind, path, sizeof path);
    return c != EXIT_OK ? c : dump_file(path, format, otlp_dir);
}
