/* SPDX-License-Identifier: Apache-2.0 */
/* The good image, its readings, and the commands over it. */
#include "image.h"

#include "cli.h"
#include "fwdscope.h"
#include "json_valid.h"

#include "shmlayout/validate.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fwdscope_main(int argc, char **argv); /* main() of the program */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- files ----------------------------------------------------------------------------------- */

void scratch_make(char dir[64])
{
    snprintf(dir, 64, "/dev/shm/fwdscope-fuzz-XXXXXX");
    if (mkdtemp(dir) == NULL)
        die(dir);
}

void scratch_remove(const char *dir)
{
    DIR *entries = opendir(dir);
    const struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        if (entry->d_type == DT_REG)
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries != NULL)
        closedir(entries);
    (void)rmdir(dir);
}

/* ---- the good image -------------------------------------------------------------------------- */

static void fill_instruments(void)
{
    const double bounds[] = {0.5, 1, 2.5};
    const struct fwdscope_attribute attributes[] = {
        fwdscope_string("zone", "a"), fwdscope_int("rack", -7), fwdscope_double("share", 0.25),
        fwdscope_bool("spare", true)};
    struct fwdscope_instrument what = {.name = "image.counter",
                                       .unit = "{thing}",
                                       .description = "counted for the image",
                                       .attributes = attributes,
                                       .attribute_count = 4};
    fwdscope_counter_add(fwdscope_counter_register(&what), 11);
    what.name = "image.total";
    fwdscope_total_set(fwdscope_total_register(&what), 22);
    what.name = "image.updown";
    fwdscope_updown_add(fwdscope_updown_register(&what), -33);
    what.name = "image.gauge";
    fwdscope_gauge_set(fwdscope_gauge_register(&what), 4.5);
    what.name = "image.int_gauge";
    fwdscope_gauge_set_int(fwdscope_int_gauge_register(&what), -55);
    what.name = "image.histogram";
    fwdscope_histogram_record(fwdscope_histogram_register(&what, bounds, 3), 0.75);
}

static void fill_pipeline(void)
{
    const fwdscope_pipeline pipeline = fwdscope_pipeline_register("main", 0);
    const fwdscope_component input = fwdscope_input_register(pipeline, "in", "file", 0);
    const fwdscope_component output = fwdscope_output_register(pipeline, "out", "otlp", 0);
    const struct fwdscope_batch batch = {.batches = 6,
                                         .rows = 60,
                                         .latency_ns = 700,
                                         .scan_ns = 100,
                                         .transform_ns = 200,
                                         .output_ns = 300,
                                         .inflight = 1,
                                         .finished_unix_ns = 1700000000000000000};
    (void)fwdscope_transform_register(pipeline, "SELECT * FROM lines", 0);
    fwdscope_component_progress(input, 100, 10000);
    fwdscope_component_progress(output, 90, 9000);
    fwdscope_component_health(input, FWDSCOPE_HEALTHY);
    fwdscope_component_queue(output, 3, 10);
    fwdscope_output_success(output, 1700000000000000000);
    fwdscope_batch_add(pipeline, &batch);
}

static void fill_records(void)
{
    const struct fwdscope_attribute attributes[] = {fwdscope_string("key", "value"),
                                                    fwdscope_int("n", 5)};
    fwdscope_span batch = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
    fwdscope_span_set(batch, attributes, 2);
    fwdscope_span_stage(batch, "output");
    fwdscope_span_status(batch, FWDSCOPE_STATUS_ERROR, "half of it");
    for (int i = 0; i < 8; i++) {
        char text[64];
        fwdscope_span child = fwdscope_span_child(batch, "output", FWDSCOPE_SPAN_CLIENT, 0);
        fwdscope_span_set(child, attributes, 2);
        fwdscope_span_status(child, FWDSCOPE_STATUS_OK, "done");
        const int bytes = snprintf(text, sizeof text, "line %d of the image", i);
        const struct fwdscope_log_record record = {.severity = FWDSCOPE_WARN,
                                                   .severity_text = "warn",
                                                   .body = text,
                                                   .body_bytes = (size_t)bytes,
                                                   .time_unix_ns = 1700000000000000000,
                                                   .span = child,
                                                   .attributes = attributes,
                                                   .attribute_count = 2};
        fwdscope_log_record(&record);
        fwdscope_span_end(child, 0);
    }
}

bool shim_fill(const char *dir)
{
    const struct fwdscope_attribute resource[] = {fwdscope_string("zone", "a"),
                                                  fwdscope_int("rack", 7)};
    const struct fwdscope_options options = {.service_name = "image",
                                             .service_version = "1.2.3",
                                             .instance = "hostile",
                                             .metric_prefix = "image",
                                             .resource = resource,
                                             .resource_count = 2,
                                             .directory = dir,
                                             .lanes = 2,
                                             .instruments = 16,
                                             .active_spans = 4,
                                             .log_ring_bytes = 64 << 10,
                                             .span_ring_bytes = 16 << 10};
    if (!fwdscope_open(&options)) {
        fprintf(stderr, "the shim is inert: %s\n", fwdscope_reason());
        return false;
    }
    fill_instruments();
    fill_pipeline();
    fill_records();
    fwdscope_config_publish_redacted("/etc/forwarder.yaml", "inputs: []\n", 11);
    return true;
}

struct image image_make(const char *dir)
{
    struct image image;
    struct stat st;
    if (!shim_fill(dir))
        exit(1);
    const int fd = open(fwdscope_path(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        die(fwdscope_path());
    image.count = (size_t)st.st_size / FWS_WORD_BYTES;
    image.words = malloc((size_t)st.st_size);
    if (image.words == NULL || read(fd, image.words, (size_t)st.st_size) != st.st_size)
        die(fwdscope_path());
    close(fd);
    (void)unlink(fwdscope_path());
    fwdscope_close(FWDSCOPE_CLOSED, "its image was taken");
    return image;
}

void image_stamp(uint64_t *words)
{
    words[FWS_H_CHECKSUM] = fws_prefix_checksum(words);
}

uint64_t *image_entry(uint64_t *words, enum fws_section kind)
{
    uint64_t *entry = words + words[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES;
    for (uint64_t i = 0; i < words[FWS_H_DIR_COUNT]; i++, entry += FWS_D_WORDS)
        if (entry[FWS_D_KIND] == (uint64_t)kind)
            return entry;
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

#define BIT(kind) (1u << FWS_SECTION_##kind)
const unsigned part_sections[PARTS] = {
    [PART_RESOURCE] = BIT(RESOURCE),
    [PART_INSTRUMENTS] = BIT(STRINGS) | BIT(INSTRUMENTS) | BIT(VALUES),
    [PART_PIPELINES] = BIT(STRINGS) | BIT(PIPELINES) | BIT(COMPONENTS) | BIT(BATCHES) | BIT(VALUES),
    [PART_ACTIVE_SPANS] = BIT(ACTIVE_SPANS),
    [PART_SPANS] = BIT(SPAN_RINGS),
    [PART_LOGS] = BIT(LOG_RINGS),
    [PART_CONFIG] = BIT(CONFIG),
    [PART_LANES] = BIT(LANES),
};
#undef BIT

static void digest_bytes(uint64_t *digest, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        *digest = (*digest ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
}

static void digest_text(uint64_t *digest, const char *text)
{
    digest_bytes(digest, text, strlen(text) + 1);
}

static void digest_number(uint64_t *digest, uint64_t number)
{
    digest_bytes(digest, &number, sizeof number);
}

static void digest_attributes(uint64_t *digest, const struct attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        digest_text(digest, attributes[i].key);
        digest_number(digest, attributes[i].type);
        digest_number(digest, (uint64_t)attributes[i].integer);
        digest_bytes(digest, &attributes[i].real, sizeof attributes[i].real);
        if (attributes[i].type == ATTRIBUTE_STRING)
            digest_text(digest, attributes[i].string);
    }
}

static void digest_span(uint64_t *digest, const struct span *span)
{
    digest_bytes(digest, span->trace_id, sizeof span->trace_id);
    digest_bytes(digest, span->span_id, sizeof span->span_id);
    digest_bytes(digest, span->parent_id, sizeof span->parent_id);
    digest_text(digest, span->name);
    digest_text(digest, span->message);
    digest_text(digest, span->stage);
    digest_number(digest, span->kind);
    digest_number(digest, span->status);
    digest_number(digest, span->start_unix_ns);
    digest_number(digest, span->end_unix_ns);
    digest_attributes(digest, span->attributes, span->attribute_count);
}

struct draining {
    struct reading *reading;
    struct arena *arena;
};

static void record_digest(void *arg, const struct record *record)
{
    struct draining *d = arg;
    uint64_t *digest = &d->reading->parts[record->kind == RECORD_SPAN ? PART_SPANS : PART_LOGS];
    struct span span;
    struct log_record log;

    arena_reset(d->arena);
    d->reading->records++;
    digest_number(digest, record->time_unix_ns);
    if (record->kind == RECORD_SPAN && record_decode_span(d->arena, record, &span)) {
        digest_span(digest, &span);
    } else if (record->kind == RECORD_LOG && record_decode_log(d->arena, record, &log)) {
        digest_text(digest, log.body);
        digest_text(digest, log.severity_text);
        digest_number(digest, log.severity);
        digest_number(digest, log.original_bytes);
        digest_bytes(digest, log.span_id, sizeof log.span_id);
        digest_attributes(digest, log.attributes, log.attribute_count);
    } else {
        d->reading->undecoded++;
    }
}

static void instruments_digest(const struct snapshot *s, uint64_t *digest)
{
    for (size_t i = 0; i < s->instrument_count; i++) {
        const struct instrument *instrument = &s->instruments[i];
        digest_text(digest, instrument->name);
        digest_text(digest, instrument->unit);
        digest_text(digest, instrument->description);
        digest_attributes(digest, instrument->attributes, instrument->attribute_count);
        digest_bytes(digest, instrument->bounds, instrument->bound_count * sizeof(double));
        digest_number(digest, s->values_absent[i]);
        digest_bytes(digest, s->values + instrument->value_index,
                     instrument->value_count * sizeof(uint64_t));
    }
}

static void pipelines_digest(const struct snapshot *s, uint64_t *digest)
{
    for (size_t i = 0; i < s->pipeline_count; i++) {
        const struct pipeline *pipeline = &s->pipelines[i];
        digest_text(digest, pipeline->name);
        digest_number(digest, pipeline->absent);
        digest_number(digest, pipeline->last_batch_unix_ns);
        digest_bytes(digest, pipeline->batches, sizeof pipeline->batches);
        for (size_t c = 0; c < pipeline->component_count; c++) {
            const struct component *component = &pipeline->components[c];
            digest_text(digest, component->name);
            digest_text(digest, component->type);
            digest_number(digest, component->health);
            digest_number(digest, component->queue_depth);
            digest_bytes(digest, component->counts, sizeof component->counts);
        }
    }
}

static void snapshot_digest(struct region *region, const struct snapshot *s, struct reading *out)
{
    size_t active;
    const struct span *spans = region_active_spans(region, &active);

    instruments_digest(s, &out->parts[PART_INSTRUMENTS]);
    pipelines_digest(s, &out->parts[PART_PIPELINES]);
    for (size_t i = 0; i < active; i++)
        digest_span(&out->parts[PART_ACTIVE_SPANS], &spans[i]);
    digest_number(&out->parts[PART_LANES], s->heartbeat_mark);
    digest_number(&out->parts[PART_LANES], s->lost.logs_cut);
    digest_number(&out->parts[PART_LANES], s->lost.attributes_dropped);
    digest_number(&out->parts[PART_LANES], s->lost.values_dropped);
}

static void region_digest(struct region *region, struct reading *out)
{
    const struct section_report *sections;
    const char *path, *text;
    size_t bytes;

    const size_t count = region_sections(region, &sections);
    for (size_t i = 0; i < count; i++)
        if (sections[i].refused != NULL)
            out->refused |= sections[i].kind < FWS_SECTION_KINDS ? 1u << sections[i].kind : 1u;
    digest_text(&out->parts[PART_RESOURCE], region_metric_prefix(region));
    const struct attribute *resource = region_resource(region, &bytes);
    digest_attributes(&out->parts[PART_RESOURCE], resource, bytes);
    digest_number(&out->parts[PART_CONFIG], region_config(region, &path, &text, &bytes));
    digest_text(&out->parts[PART_CONFIG], path);
    digest_bytes(&out->parts[PART_CONFIG], text, bytes);
}

void reading_take(const char *path, struct reading *out)
{
    /* Later than everything in an image, so that no time of it is clamped by the clock. */
    const uint64_t unix_ns = UINT64_C(4000000000) * 1000000000;
    struct region *region;

    *out = (struct reading){.result = ATTACH_OK};
    out->result = region_open(path, &region, NULL, out->why, sizeof out->why);
    if (out->result != ATTACH_OK)
        return;
    struct draining draining = {out, arena_new((size_t)1 << 20)};
    if (draining.arena == NULL)
        die("arena_new");
    (void)region_sample(region, unix_ns, 1);
    for (int i = 0; i < 2; i++)
        (void)region_drain(region, 4096, record_digest, &draining, NULL);
    snapshot_digest(region, region_sample(region, unix_ns, 2), out);
    region_digest(region, out);
    arena_free(&draining.arena);
    region_close(&region);
}

/* ---- commands -------------------------------------------------------------------------------- */

void command_run(struct output *output, const char *command, const char *format, const char *path)
{
    char program[] = "fwdscope", name[16], flag[] = "-o", value[8], file[512];
    char *arguments[8] = {program, name};
    int count = 2;
    FILE *const saved_out = stdout, *const saved_error = stderr;

    snprintf(name, sizeof name, "%s", command);
    snprintf(file, sizeof file, "%s", path);
    if (format != NULL) {
        snprintf(value, sizeof value, "%s", format);
        arguments[count++] = flag;
        arguments[count++] = value;
    }
    arguments[count++] = file;
    stdout = open_memstream(&output->out, &output->out_bytes);
    stderr = open_memstream(&output->error, &output->error_bytes);
    if (stdout == NULL || stderr == NULL)
        abort();
    optind = 0; /* begin anew */
    output->code = fwdscope_main(count, arguments);
    fclose(stdout);
    fclose(stderr);
    stdout = saved_out;
    stderr = saved_error;
}

void output_free(struct output *output)
{
    free(output->out);
    free(output->error);
    *output = (struct output){0};
}

/* Every line of the output is a document. */
static bool lines_are_json(const char *text, size_t bytes)
{
    while (bytes > 0) {
        const char *end = memchr(text, '\n', bytes);
        if (end == NULL || !json_valid(text, (size_t)(end - text)))
            return false;
        bytes -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    return true;
}

static bool text_is_plain(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\n') || c == 0x7f)
            return false;
        if (c == 0xc2 && i + 1 < bytes && (unsigned char)text[i + 1] < 0xa0)
            return false;
    }
    return true;
}

const char *output_fault(const struct output *output, bool json)
{
    if (output->code != EXIT_OK && output->code != EXIT_UNREADABLE)
        return "an exit code that says something else";
    if ((output->code == EXIT_OK) != (output->error_bytes == 0))
        return "an error without a word, or a word without an error";
    if (output->error_bytes > 0 &&
        memchr(output->error, '\n', output->error_bytes) != output->error + output->error_bytes - 1)
        return "a refusal that is not one line";
    if (!text_is_plain(output->error, output->error_bytes))
        return "control characters in a refusal";
    if (json ? !lines_are_json(output->out, output->out_bytes)
             : !text_is_plain(output->out, output->out_bytes))
        return json ? "no JSON" : "control characters";
    return NULL;
}
