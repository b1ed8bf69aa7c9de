/* SPDX-License-Identifier: Apache-2.0 */
/* Units of the stress tests: how each follows from its id, for the writer and for the reader. */
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGITS = 16, /* an id as text */
    LETTERS = 26,
    MESSAGE_BYTES_MAX = 97,
    TEXT_BYTES_MAX = 61,
    BODY_BYTES_MAX = DIGITS + 1 + 100 + 120,
    DOCUMENT_BYTES_MAX = 60000,
    SEVERITIES = 24,
    SPAN_KINDS = 5,
};
#define TIME_UNIX_NS UINT64_C(1600000000000000000) /* long past, so no reader clamps it */

static uint64_t time_of(uint64_t id)
{
    return TIME_UNIX_NS + unit_number(id) * 1000 + unit_thread(id);
}

/* Before the next one's, because documents are in the order of ends. */
static uint64_t end_of(uint64_t id)
{
    return time_of(id) + 1 + id % 900;
}

static void digits_of(uint64_t id, char out[DIGITS + 1])
{
    for (int i = 0; i < DIGITS; i++)
        out[i] = "0123456789abcdef"[id >> (60 - 4 * i) & 15];
    out[DIGITS] = '\0';
}

/* The alphabet over and over, from a letter that the id chooses. */
static void letters_of(uint64_t id, char *out, size_t bytes)
{
    static const char twice[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    const char *from = twice + id % LETTERS;
    for (size_t at = 0; at < bytes; at += LETTERS)
        memcpy(out + at, from, bytes - at < LETTERS ? bytes - at : LETTERS);
    out[bytes] = '\0';
}

static size_t message_of(uint64_t id, char out[MESSAGE_BYTES_MAX + 1])
{
    const size_t bytes = 1 + id % MESSAGE_BYTES_MAX;
    letters_of(id, out, bytes);
    return bytes;
}

static size_t text_of(uint64_t id, char out[TEXT_BYTES_MAX + 1])
{
    const size_t bytes = 1 + id % TEXT_BYTES_MAX;
    letters_of(id + 7, out, bytes);
    return bytes;
}

static size_t body_of(uint64_t id, char out[BODY_BYTES_MAX + 1])
{
    const size_t bytes = 100 + id % 120;
    digits_of(id, out);
    out[DIGITS] = ' ';
    letters_of(id, out + DIGITS + 1, bytes);
    return DIGITS + 1 + bytes;
}

static size_t document_of(uint64_t id, char out[DOCUMENT_BYTES_MAX + 1])
{
    const size_t bytes = 1 + id % DOCUMENT_BYTES_MAX;
    letters_of(id, out, bytes);
    return bytes;
}

/* ---- writing --------------------------------------------------------------------------------- */

void unit_group_add(fwdscope_pipeline pipeline, uint64_t id)
{
    const uint64_t n = 1 + id % 7;
    const struct fwdscope_batch batch = {
        .batches = n,
        .rows = 2 * n,
        .flush_by_size = 3 * n,
        .flush_by_timeout = 4 * n,
        .flush_by_drain = 5 * n,
        .dropped_batches = 6 * n,
        .scan_errors = 7 * n,
        .parse_errors = 8 * n,
        .latency_ns = 9 * n,
        .scan_ns = 10 * n,
        .transform_ns = 11 * n,
        .output_ns = 12 * n,
        .queue_wait_ns = 13 * n,
        .send_ns = 14 * n,
        .backpressure_stalls = 15 * n,
        .inflight = (int64_t)(16 * n),
    };
    fwdscope_batch_add(pipeline, &batch);
}

fwdscope_histogram unit_histogram_register(unsigned number)
{
    static const double bounds[UNIT_BUCKETS - 1] = {1, 2, 4, 8};
    char name[32];
    snprintf(name, sizeof name, "stress.histogram%u", number);
    const struct fwdscope_instrument what = {.name = name, .unit = "1"};
    return fwdscope_histogram_register(&what, bounds, UNIT_BUCKETS - 1);
}

void unit_histogram_record(fwdscope_histogram histogram, uint64_t n)
{
    fwdscope_histogram_record(histogram, (double)(1u << n % UNIT_BUCKETS));
}

void unit_log(uint64_t id)
{
    char body[BODY_BYTES_MAX + 1];
    const struct fwdscope_attribute attribute = fwdscope_int("id", (int64_t)id);
    const struct fwdscope_log_record record = {
        .severity = (enum fwdscope_severity)(1 + id % SEVERITIES),
        .body = body,
        .body_bytes = body_of(id, body),
        .time_unix_ns = time_of(id),
        .attributes = &attribute,
        .attribute_count = 1,
    };
    fwdscope_log_record(&record);
}

void unit_span_step(fwdscope_span *span, uint64_t id, unsigned step)
{
    char name[DIGITS + 1], text[TEXT_BYTES_MAX + 1], message[MESSAGE_BYTES_MAX + 1];
    digits_of(id, name);
    switch (step) {
    case 0:
        *span =
            fwdscope_span_start(name, (enum fwdscope_span_kind)(1 + id % SPAN_KINDS), time_of(id));
        break;
    case 1:
        (void)text_of(id, text);
        fwdscope_span_set(*span,
                          (const struct fwdscope_attribute[]){fwdscope_int("id", (int64_t)id),
                                                              fwdscope_string("text", text)},
                          2);
        break;
    case 2:
        fwdscope_span_stage(*span, name);
        break;
    case 3:
        (void)message_of(id, message);
        fwdscope_span_status(*span, (enum fwdscope_span_status)(1 + id % 2), message);
        break;
    default:
        fwdscope_span_end(*span, end_of(id));
        break;
    }
}

void unit_span(uint64_t id)
{
    fwdscope_span span;
    for (unsigned step = 0; step < UNIT_SPAN_STEPS; step++)
        unit_span_step(&span, id, step);
}

void unit_document(uint64_t id)
{
    static char text[DOCUMENT_BYTES_MAX + 1];
    char path[DIGITS + 1];
    digits_of(id, path);
    const size_t bytes = document_of(id, text);
    fwdscope_config_publish_redacted(path, text, bytes);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Exactly DIGITS digits as digits_of() writes them. */
static bool digits_read(const char *text, uint64_t *id)
{
    char digits[DIGITS + 1], again[DIGITS + 1];
    memcpy(digits, text, strnlen(text, DIGITS));
    digits[strnlen(text, DIGITS)] = '\0';
    *id = strtoull(digits, NULL, 16);
    digits_of(*id, again);
    return strcmp(digits, again) == 0;
}

bool unit_group_good(const uint64_t batches[BATCH_FIELDS])
{
    for (uint64_t i = 0; i < BATCH_FIELDS; i++)
        if (batches[i] != (i + 1) * batches[0])
            return false;
    return true;
}

bool unit_histogram_good(const uint64_t *values)
{
    const uint64_t *buckets = values + 1;
    uint64_t expected = 0;
    double sum;
    for (unsigned i = 0; i < UNIT_BUCKETS; i++) {
        expected += buckets[i] << i;
        if (i > 0 && buckets[i] > buckets[i - 1])
            return false;
    }
    memcpy(&sum, values, sizeof sum);
    return buckets[0] - buckets[UNIT_BUCKETS - 1] <= 1 && sum >= 0 && (uint64_t)sum == expected;
}

bool unit_log_good(const struct log_record *log, uint64_t *id)
{
    char body[BODY_BYTES_MAX + 1];
    if (log->body_bytes < DIGITS || !digits_read(log->body, id))
        return false;
    return log->body_bytes == body_of(*id, body) && memcmp(log->body, body, log->body_bytes) == 0 &&
           log->severity == 1 + *id % SEVERITIES && log->time_unix_ns == time_of(*id) &&
           !log->cut && log->attribute_count == 1 && log->attributes_dropped == 0 &&
           log->attributes[0].type == ATTRIBUTE_INT && strcmp(log->attributes[0].key, "id") == 0 &&
           log->attributes[0].integer == (int64_t)*id;
}

static bool attributes_good(const struct span *span, uint64_t id)
{
    char text[TEXT_BYTES_MAX + 1];
    (void)text_of(id, text);
    return span->attribute_count == 2 && span->attributes[0].type == ATTRIBUTE_INT &&
           strcmp(span->attributes[0].key, "id") == 0 &&
           span->attributes[0].integer == (int64_t)id &&
           span->attributes[1].type == ATTRIBUTE_STRING &&
           strcmp(span->attributes[1].key, "text") == 0 &&
           strcmp(span->attributes[1].string, text) == 0;
}

static bool status_good(const struct span *span, uint64_t id)
{
    char message[MESSAGE_BYTES_MAX + 1];
    (void)message_of(id, message);
    return span->status == 1 + id % 2 && strcmp(span->message, message) == 0;
}

/* What is there from the first step on. */
static bool start_good(const struct span *span, uint64_t *id)
{
    return digits_read(span->name, id) && strlen(span->name) == DIGITS &&
           span->kind == 1 + *id % SPAN_KINDS && span->start_unix_ns == time_of(*id) &&
           span->attributes_dropped == 0;
}

bool unit_active_span_good(const struct span *span)
{
    uint64_t id;
    if (!start_good(span, &id) || span->end_unix_ns != 0 || span->output_start_unix_ns != 0)
        return false;
    const bool has_attributes = span->attribute_count != 0;
    const bool has_stage = span->stage[0] != '\0';
    const bool has_status = span->status != 0 || span->message[0] != '\0';
    if (has_stage > has_attributes || has_status > has_stage ||
        has_stage != (span->stage_start_unix_ns != 0))
        return false;
    return (!has_attributes || attributes_good(span, id)) &&
           (!has_stage || strcmp(span->stage, span->name) == 0) &&
           (!has_status || status_good(span, id));
}

bool unit_finished_span_good(const struct span *span, uint64_t *id)
{
    return start_good(span, id) && attributes_good(span, *id) && status_good(span, *id) &&
           span->end_unix_ns == end_of(*id);
}

bool unit_document_good(const char *path, const char *text, size_t bytes)
{
    static char expected[DOCUMENT_BYTES_MAX + 1];
    uint64_t id;
    return digits_read(path, &id) && bytes == document_of(id, expected) &&
           memcmp(text, expected, bytes) == 0;
}

bool unit_record_good(struct arena *arena, const struct record *record, uint64_t *id)
{
    struct span span;
    struct log_record log;
    arena_reset(arena);
    if (record->kind == RECORD_SPAN)
        return record_decode_span(arena, record, &span) && unit_finished_span_good(&span, id) &&
               record->time_unix_ns == span.end_unix_ns;
    return record_decode_log(arena, record, &log) && unit_log_good(&log, id);
}

static uint64_t words_of(size_t bytes)
{
    return (bytes + 7) / 8;
}

uint64_t unit_record_bytes(enum record_kind kind, uint64_t id)
{
    enum { HEAD = 5, PAYLOAD_HEAD = 8, ID_ATTRIBUTE = 3, TEXT_ATTRIBUTE = 2 };
    char buffer[BODY_BYTES_MAX + 1];
    uint64_t words = HEAD + PAYLOAD_HEAD + ID_ATTRIBUTE;
    if (kind == RECORD_LOG)
        words += words_of(body_of(id, buffer));
    else
        words += words_of(DIGITS) + words_of(message_of(id, buffer)) + TEXT_ATTRIBUTE +
                 words_of(text_of(id, buffer));
    return 8 * words;
}
