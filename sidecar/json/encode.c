/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder walks a message along its plan. Every member of an object and every element of an
 * array is put with a comma before it; when all are there, the first comma becomes the bracket.
 */
#include "json.h"

#include "json_plan.h"
#include "json_put.h"

#include <assert.h>
#include <math.h>

#define DEPTH_MAX 16

const ProtobufCMessageDescriptor json_gap_descriptor;

_Static_assert(sizeof(void *) == sizeof(uint64_t) && sizeof(size_t) == sizeof(uint64_t),
               "PLAN_LONG tests pointers and counts as 8 bytes");

static bool encode_message(struct buffer *out, const struct plan *plan, const char *message,
                           unsigned depth);

/* Brackets for what was put since `start`. */
static void enclose(struct buffer *out, size_t start, char begin, char end)
{
    if (out->failed) {
        return;
    }
    if (out->length == start) {
        json_put_char(out, begin);
    } else {
        out->data[start] = begin;
    }
    json_put_char(out, end);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void put_hex(struct buffer *out, const ProtobufCBinaryData *bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *place = json_room(out, bytes->len * 2);
    if (place == NULL) {
        return;
    }
    const size_t whole = bytes->len / 8 * 8;
    place = json_write_hex(place, bytes->data, whole);
    for (size_t i = whole; i < bytes->len; i++) {
        *place++ = digits[bytes->data[i] >> 4];
        *place++ = digits[bytes->data[i] & 15];
    }
    out->length += bytes->len * 2;
}

static void put_base64(struct buffer *out, const ProtobufCBinaryData *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes->len; i += 3) {
        const size_t left = bytes->len - i;
        const unsigned first = bytes->data[i];
        const unsigned second = left > 1 ? bytes->data[i + 1] : 0;
        const unsigned third = left > 2 ? bytes->data[i + 2] : 0;
        const char group[4] = {
            digits[first >> 2],
            digits[(first & 3) << 4 | second >> 4],
            left > 1 ? digits[(second & 15) << 2 | third >> 6] : '=',
            left > 2 ? digits[third & 63] : '=',
        };
        json_put(out, group, sizeof group);
    }
}

static bool put_finite(struct buffer *out, double value)
{
    if (!isfinite(value)) {
        return false;
    }
    json_put_double(out, value);
    return true;
}

/* A string that is NULL, as only a oneof can hold it here, is the empty one. */
static void put_string(struct buffer *out, const char *text)
{
    json_put_text(out, text, text != NULL ? strlen(text) : 0);
}

/* Pointers to messages are of as many types as there are messages. */
static const char *load_message(const char *member)
{
    const char *message;
    memcpy(&message, member, sizeof message);
    return message;
}

/* Puts what stands between quotes. */
static void put_quoted(struct buffer *out, enum plan_value value, const char *member)
{
    json_put_char(out, '"');
    switch (value) {
    case PLAN_INT64:
        json_put_int(out, *(const int64_t *)(const void *)member);
        break;
    case PLAN_UINT64:
        json_put_uint(out, *(const uint64_t *)(const void *)member);
        break;
    case PLAN_ID:
        put_hex(out, (const void *)member);
        break;
    default:
        put_base64(out, (const void *)member);
        break;
    }
    json_put_char(out, '"');
}

/* A message, or the gap that stands for one. */
static bool put_message(struct buffer *out, const struct plan *plan, const char *message,
                        unsigned depth)
{
    const ProtobufCMessage *base = (const void *)message;
    if (base->descriptor == &json_gap_descriptor) {
        ((struct json_gap *)(void *)message)->at = out->length;
        return true;
    }
    return encode_message(out, plan, message, depth);
}

/* Puts the value at `member`. False when it cannot be written. */
static bool encode_value(struct buffer *out, const struct plan_field *field, const char *member,
                         unsigned depth)
{
    const void *at = member;
    switch (field->value) {
    case PLAN_INT32:
        json_put_int(out, *(const int32_t *)at);
        return true;
    case PLAN_UINT32:
        json_put_uint(out, *(const uint32_t *)at);
        return true;
    case PLAN_INT64:
    case PLAN_UINT64:
    case PLAN_ID:
    case PLAN_BYTES:
        put_quoted(out, field->value, member);
        return true;
    case PLAN_DOUBLE:
        return put_finite(out, *(const double *)at);
    case PLAN_BOOL:
        json_put_bool(out, *(const protobuf_c_boolean *)at != 0);
        return true;
    case PLAN_STRING:
        put_string(out, *(char *const *)at);
        return true;
    case PLAN_MESSAGE:
        return put_message(out, field->plan, load_message(member), depth + 1);
    }
    assert(false); /* every value is above */
    return false;
}

/* ---- members --------------------------------------------------------------------------------- */

/* A message that is NULL in the chosen member of a oneof is as good as not chosen. */
static bool is_chosen(const struct plan_field *field, const char *message)
{
    const uint32_t chosen = *(const uint32_t *)(const void *)(message + field->test_offset);
    return chosen == field->number &&
           !(field->value == PLAN_MESSAGE && load_message(message + field->offset) == NULL);
}

static bool is_present(const struct plan_field *field, const char *message)
{
    const void *at = message + field->test_offset;
    uint64_t bits;
    switch (field->test) {
    case PLAN_WORD:
        return *(const uint32_t *)at != 0;
    case PLAN_LONG:
        memcpy(&bits, at, sizeof bits);
        return bits != 0;
    case PLAN_REAL:
        return *(const double *)at != 0;
    case PLAN_TEXT:
        return *(char *const *)at != NULL && **(char *const *)at != '\0';
    case PLAN_CHOSEN:
        return is_chosen(field, message);
    }
    assert(false); /* every test is above */
    return false;
}

/* At least one value. */
static bool encode_array(struct buffer *out, const struct plan_field *field, const char *message,
                         unsigned depth)
{
    const size_t count = *(const size_t *)(const void *)(message + field->test_offset);
    const size_t stride = json_plan_value_bytes(field->value);
    const char *items = load_message(message + field->offset);
    const size_t start = out->length;
    for (size_t i = 0; i < count; i++) {
        json_put_char(out, ',');
        if (!encode_value(out, field, items + i * stride, depth)) {
            return false;
        }
    }
    enclose(out, start, '[', ']');
    return true;
}

static bool encode_field(struct buffer *out, const struct plan_field *field, const char *message,
                         unsigned depth)
{
    json_put(out, field->key, field->key_bytes);
    return field->repeated ? encode_array(out, field, message, depth)
                           : encode_value(out, field, message + field->offset, depth);
}

/* The recursion ends at DEPTH_MAX messages within each other. */
static bool encode_message(struct buffer *out, const struct plan *plan, const char *message,
                           unsigned depth)
{
    if (depth > DEPTH_MAX) {
        return false;
    }
    const size_t start = out->length;
    for (size_t i = 0; i < plan->field_count;) {
        const struct plan_field *field = &plan->fields[i];
        const bool present = is_present(field, message);
        if (present && !encode_field(out, field, message, depth)) {
            return false;
        }
        i += present ? field->run : 1; /* one member of a oneof is all there is */
    }
    enclose(out, start, '{', '}');
    return !out->failed;
}

bool json_encode_message(struct buffer *out, const ProtobufCMessage *message)
{
    const struct plan *plan = json_plan_of(message->descriptor);
    const size_t start = out->length;
    json_put_separator(out);
    if (plan != NULL && encode_message(out, plan, (const char *)message, 1)) {
        return true;
    }
    out->length = start;
    return false;
}
