/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what json_oracle.py judges, the same on every run: messages of every type filled at random
 * with extremes, bytes that are not text, and doubles. One record a line:
 *
 *   message NAME HEX JSON   the message in protobuf's binary form, and as encoded
 *   text HEX HEX JSON       bytes, as repaired, and as written
 *   double HEX JSON         the bits, and as written
 */
#include "json.h"
#include "utf8.h"

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb-c.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TYPES_MAX = 100,
    MESSAGES_PER_TYPE = 60,
    MESSAGE_DEPTH_MAX = 12,
    RANDOM_TEXTS = 20000,
    RANDOM_DOUBLES = 20000,
};

static struct arena *arena;
static struct buffer json;
static const ProtobufCMessageDescriptor *types[TYPES_MAX];
static size_t type_count;

static void stop(const char *reason)
{
    (void)fprintf(stderr, "json_documents: %s\n", reason);
    exit(1);
}

/* ---- chance ---------------------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t random_bits(void)
{
    static uint64_t state = 20240501;
    uint64_t mixed = state += 0x9E3779B97F4A7C15U;
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EBU;
    return mixed ^ mixed >> 31;
}

static size_t random_below(size_t bound)
{
    return (size_t)(random_bits() % bound);
}

static uint64_t random_integer(void)
{
    static const uint64_t extremes[] = {
        0,         1,          UINT64_MAX, INT64_MAX,           (uint64_t)INT64_MIN,
        INT32_MAX, UINT32_MAX, 9,          1700000000123456789, (uint64_t)1 << 53,
    };
    if (random_below(2) == 0) {
        return extremes[random_below(sizeof extremes / sizeof extremes[0])];
    }
    return random_bits() >> random_below(64);
}

/* Finite. */
static double random_double(void)
{
    static const double extremes[] = {
        0,  -0.0, 1,    -1,      0.1,    DBL_MAX, -DBL_MAX, DBL_MIN, DBL_TRUE_MIN, DBL_EPSILON,
        42, 1e15, 1e-4, 0.00005, 0x1p53, 0x1p52,  0x1p50,   1e22,    1e23,         0.5,
    };
    const uint64_t bits = random_bits();
    double value;
    switch (random_below(4)) {
    case 0:
        return extremes[random_below(sizeof extremes / sizeof extremes[0])];
    case 1: /* a decimal of a few digits */
        value = (double)(int64_t)(bits >> 32) / pow(10, (double)random_below(12));
        break;
    case 2: /* near a power of two, where neighbours lie closer on one side */
        value = nextafter(ldexp(1, (int)(bits % 2098) - 1074), random_below(2) == 0 ? 0 : 1);
        break;
    default:
        memcpy(&value, &bits, sizeof value);
        break;
    }
    return isfinite(value) ? value : 1.5;
}

/* Valid UTF-8 without NUL, of all lengths of characters and with all that is escaped. */
static char *random_string(void)
{
    static const char *const characters[] = {
        "a",
        "Z",
        "7",
        " ",
        "\"",
        "\\",
        "/",
        "\n",
        "\t",
        "\x01",
        "\x1F",
        "\x7F",
        "\xC2\x80",
        "\xC2\x9F",
        "\xC2\xA0",
        "\xC3\xBC",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xE2\x82\xAC",
        "\xE2\x80\xA8",
        "\xED\x9F\xBF",
        "\xEE\x80\x80",
        "\xEF\xBF\xBD",
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF0\x9F\x98\x80",
        "\xF4\x8F\xBF\xBF",
        "plain text",
    };
    const size_t count = random_below(3) == 0 ? 0 : random_below(12);
    char *text = arena_alloc(arena, count * 10 + 1);
    if (text == NULL) {
        stop("arena full");
    }
    for (size_t i = 0; i < count; i++) {
        strcat(text, characters[random_below(sizeof characters / sizeof characters[0])]);
    }
    return text;
}

static ProtobufCBinaryData random_bytes(void)
{
    static const size_t lengths[] = {0, 1, 2, 3, 7, 8, 16, 16, 8, 100};
    ProtobufCBinaryData bytes = {lengths[random_below(10)], NULL};
    bytes.data = arena_alloc(arena, bytes.len);
    if (bytes.data == NULL) {
        stop("arena full");
    }
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] = (uint8_t)random_bits();
    }
    return bytes;
}

/* ---- messages -------------------------------------------------------------------------------- */

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *type, unsigned depth);

/* A value of the schema, or one that a newer schema may have. */
static int32_t random_enum(const ProtobufCEnumDescriptor *type)
{
    return random_below(10) == 0 ? 77 : type->values[random_below(type->n_values)].value;
}

static size_t value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    default:
        return sizeof(uint32_t);
    }
}

static void fill_value(void *member, const ProtobufCFieldDescriptor *field, unsigned depth)
{
    union {
        uint32_t word;
        int32_t number;
        uint64_t integer;
        double real;
        protobuf_c_boolean boolean;
        char *string;
        ProtobufCBinaryData bytes;
        ProtobufCMessage *message;
    } value = {.integer = random_integer()};
    switch (field->type) {
    case PROTOBUF_C_TYPE_DOUBLE:
        value.real = random_double();
        break;
    case PROTOBUF_C_TYPE_BOOL:
        value.boolean = random_below(2) == 0;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        value.number = random_enum(field->descriptor);
        break;
    case PROTOBUF_C_TYPE_STRING:
        value.string = random_string();
        break;
    case PROTOBUF_C_TYPE_BYTES:
        value.bytes = random_bytes();
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        value.message = random_message(field->descriptor, depth + 1);
        break;
    default:
        if (value_bytes(field->type) == sizeof value.word) {
            value.word = (uint32_t)value.integer;
        }
        break;
    }
    memcpy(member, &value, value_bytes(field->type));
}

static void fill_repeated(char *message, const ProtobufCFieldDescriptor *field, unsigned depth)
{
    const size_t count = random_below(depth < 4 ? 4 : 3), bytes = value_bytes(field->type);
    char *items = arena_array(arena, count, bytes);
    if (items == NULL) {
        stop("arena full");
    }
    for (size_t i = 0; i < count; i++) {
        fill_value(items + i * bytes, field, depth);
    }
    memcpy(message + field->quantifier_offset, &count, sizeof count);
    memcpy(message + field->offset, &items, sizeof items);
}

/* The members of a oneof share their place: the first one that is chosen stays. */
static void fill_oneof(char *message, const ProtobufCFieldDescriptor *field, unsigned depth)
{
    uint32_t chosen;
    memcpy(&chosen, message + field->quantifier_offset, sizeof chosen);
    if (chosen == 0 && random_below(4) == 0) {
        memcpy(message + field->quantifier_offset, &field->id, sizeof field->id);
        fill_value(message + field->offset, field, depth);
    }
}

static ProtobufCMessage *random_message(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    ProtobufCMessage *message = arena_alloc(arena, type->sizeof_message);
    if (message == NULL) {
        stop("arena full");
    }
    protobuf_c_message_init(type, message);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && depth >= MESSAGE_DEPTH_MAX) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            fill_repeated((char *)message, field, depth);
        } else if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            fill_oneof((char *)message, field, depth);
        } else if (random_below(3) != 0) {
            fill_value((char *)message + field->offset, field, depth);
        }
    }
    return message;
}

static void add_type(const ProtobufCMessageDescriptor *type)
{
    for (size_t i = 0; i < type_count; i++) {
        if (types[i] == type) {
            return;
        }
    }
    if (type_count == TYPES_MAX) {
        stop("too many types");
    }
    types[type_count++] = type;
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            add_type(type->fields[i].descriptor);
        }
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static void print_hex(const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)printf("%02x", ((const uint8_t *)bytes)[i]);
    }
}

static void print_json_and_end(void)
{
    if (json.failed) {
        stop("buffer full");
    }
    (void)printf("\t%.*s\n", (int)json.length, json.data);
    buffer_reset(&json);
    arena_reset(arena);
}

static void print_message(const ProtobufCMessageDescriptor *type)
{
    const ProtobufCMessage *message = random_message(type, 1);
    const size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(bytes + 1);
    if (packed == NULL || protobuf_c_message_pack(message, packed) != bytes) {
        stop("cannot pack");
    }
    if (!json_encode_message(&json, message)) {
        stop("cannot encode");
    }
    (void)printf("message\t%s\t", type->name);
    print_hex(packed, bytes);
    print_json_and_end();
    free(packed);
}

static void print_text(const char *bytes, size_t count)
{
    size_t length;
    const char *repaired = utf8_repair(arena, bytes, count, &length);
    if (repaired == NULL) {
        stop("arena full");
    }
    json_bytes_string(&json, bytes, count);
    (void)printf("text\t");
    print_hex(bytes, count);
    (void)printf("\t");
    print_hex(repaired, length);
    print_json_and_end();
}

static void print_double(double value)
{
    json_double(&json, value);
    (void)printf("double\t");
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    (void)printf("%016jx", (uintmax_t)bits);
    print_json_and_end();
}

/* ---- what is written ------------------------------------------------------------------------- */

/* The bytes at which the ranges of the encoding begin and end. */
static const unsigned char EDGES[] = {
    0x00, 0x22, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2,
    0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
};

static void print_texts(void)
{
    char bytes[24];
    for (size_t i = 0; i < sizeof EDGES * sizeof EDGES * sizeof EDGES; i++) {
        bytes[0] = (char)EDGES[i % sizeof EDGES];
        bytes[1] = (char)EDGES[i / sizeof EDGES % sizeof EDGES];
        bytes[2] = (char)EDGES[i / sizeof EDGES / sizeof EDGES];
        print_text(bytes, 3);
    }
    for (size_t i = 0; i < RANDOM_TEXTS; i++) {
        const size_t count = random_below(sizeof bytes + 1);
        for (size_t j = 0; j < count; j++) {
            bytes[j] = (char)(random_below(3) == 0 ? EDGES[random_below(sizeof EDGES)]
                                                   : 0x20 + random_below(0x5F));
        }
        print_text(bytes, count);
    }
}

static void print_doubles(void)
{
    for (int exponent = -1074; exponent <= 1023; exponent++) {
        print_double(ldexp(1, exponent));
        print_double(nextafter(ldexp(1, exponent), 0));
    }
    for (int exponent = -323; exponent <= 308; exponent++) {
        char text[16];
        (void)snprintf(text, sizeof text, "1e%d", exponent);
        print_double(strtod(text, NULL));
    }
    for (size_t i = 0; i < RANDOM_DOUBLES; i++) {
        print_double(random_double());
    }
}

int main(void)
{
    arena = arena_new((size_t)64 << 20);
    buffer_init(&json, (size_t)64 << 20);
    if (arena == NULL) {
        stop("memory is out");
    }
    add_type(
        &opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor);
    add_type(
        &opentelemetry__proto__collector__metrics__v1__export_metrics_service_response__descriptor);
    add_type(&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor);
    add_type(
        &opentelemetry__proto__collector__trace__v1__export_trace_service_response__descriptor);
    add_type(&opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor);
    add_type(&opentelemetry__proto__collector__logs__v1__export_logs_service_response__descriptor);
    for (size_t i = 0; i < type_count; i++) {
        for (unsigned j = 0; j < MESSAGES_PER_TYPE; j++) {
            print_message(types[i]);
        }
    }
    print_texts();
    print_doubles();
    buffer_free(&json);
    arena_free(&arena);
    return 0;
}
