/* SPDX-License-Identifier: Apache-2.0 */
/* A list of where each key comes from, and the few that are put together from two. */
#include "keys.h"

#include "otlp.h"

#include <pthread.h>

static struct keys keys;
static bool known; /* false: memory was out */

#define SPAN   &opentelemetry__proto__trace__v1__span__descriptor
#define STATUS &opentelemetry__proto__trace__v1__status__descriptor
#define LOG    &opentelemetry__proto__logs__v1__log_record__descriptor
#define PAIR   &opentelemetry__proto__common__v1__key_value__descriptor
#define VALUE  &opentelemetry__proto__common__v1__any_value__descriptor

static struct json_piece pair_value;

static const struct {
    struct json_piece *piece;
    const ProtobufCMessageDescriptor *descriptor;
    const char *field;
} sources[] = {
    {&keys.span.trace_id, SPAN, "trace_id"},
    {&keys.span.span_id, SPAN, "span_id"},
    {&keys.span.parent_span_id, SPAN, "parent_span_id"},
    {&keys.span.name, SPAN, "name"},
    {&keys.span.kind, SPAN, "kind"},
    {&keys.span.start, SPAN, "start_time_unix_nano"},
    {&keys.span.end, SPAN, "end_time_unix_nano"},
    {&keys.span.attributes, SPAN, "attributes"},
    {&keys.span.dropped, SPAN, "dropped_attributes_count"},
    {&keys.span.status, SPAN, "status"},
    {&keys.span.flags, SPAN, "flags"},
    {&keys.status.message, STATUS, "message"},
    {&keys.status.code, STATUS, "code"},
    {&keys.log.time, LOG, "time_unix_nano"},
    {&keys.log.severity_number, LOG, "severity_number"},
    {&keys.log.severity_text, LOG, "severity_text"},
    {&keys.log.body, LOG, "body"},
    {&keys.log.attributes, LOG, "attributes"},
    {&keys.log.dropped, LOG, "dropped_attributes_count"},
    {&keys.log.trace_id, LOG, "trace_id"},
    {&keys.log.span_id, LOG, "span_id"},
    {&keys.log.observed_time, LOG, "observed_time_unix_nano"},
    {&keys.attribute, PAIR, "key"},
    {&pair_value, PAIR, "value"},
    {&keys.values[SHAPE_STRING], VALUE, "string_value"},
    {&keys.values[SHAPE_INT], VALUE, "int_value"},
    {&keys.values[SHAPE_DOUBLE], VALUE, "double_value"},
    {&keys.values[SHAPE_BOOL], VALUE, "bool_value"},
};

/* `before` and then `piece`, whose first byte becomes `first`. False when that is too long. */
static bool piece_join(const struct json_piece *before, char first, const struct json_piece *piece,
                       struct json_piece *out)
{
    struct json_piece joined = *before;
    if (before->bytes + piece->bytes > sizeof joined.text) {
        return false;
    }
    memcpy(joined.text + before->bytes, piece->text, piece->bytes);
    joined.text[before->bytes] = first;
    joined.bytes += piece->bytes;
    *out = joined;
    return true;
}

static bool keys_join(void)
{
    const struct json_piece comma = {",", 1}, quote = {"\"", 1};
    bool joined = piece_join(&comma, '{', &keys.attribute, &keys.attribute) &&
                  piece_join(&keys.log.body, '{', &keys.values[SHAPE_STRING], &keys.log.body) &&
                  piece_join(&quote, ',', &pair_value, &pair_value);
    for (size_t i = 0; i < SHAPES && joined; i++) {
        joined = piece_join(&pair_value, '{', &keys.values[i], &keys.values[i]);
    }
    return joined;
}

static void keys_make(void)
{
    bool found = true;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0] && found; i++) {
        found = json_piece_of(sources[i].piece, sources[i].descriptor, sources[i].field);
    }
    known = found && keys_join();
}

const struct keys *keys_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, keys_make);
    return known ? &keys : NULL;
}
