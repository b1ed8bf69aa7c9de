/* SPDX-License-Identifier: Apache-2.0 */
/* The generated descriptors against the wire schema of OTLP, in both directions. */
#include "otlp_schema.h"

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb-c.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NAMES_COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Every message and enum that a request or a response reaches. */
static const ProtobufCMessageDescriptor *messages[2 * SCHEMA_MESSAGES];
static const ProtobufCEnumDescriptor *enums[2 * SCHEMA_ENUMS];
static size_t message_count, enum_count;

static void add_enum(const ProtobufCEnumDescriptor *found)
{
    for (size_t i = 0; i < enum_count; i++) {
        if (enums[i] == found) {
            return;
        }
    }
    assert_true(enum_count < NAMES_COUNT(enums));
    enums[enum_count++] = found;
}

static void add_message(const ProtobufCMessageDescriptor *found)
{
    for (size_t i = 0; i < message_count; i++) {
        if (messages[i] == found) {
            return;
        }
    }
    assert_true(message_count < NAMES_COUNT(messages));
    messages[message_count++] = found;
    for (unsigned i = 0; i < found->n_fields; i++) {
        if (found->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            add_message(found->fields[i].descriptor);
        } else if (found->fields[i].type == PROTOBUF_C_TYPE_ENUM) {
            add_enum(found->fields[i].descriptor);
        }
    }
}

static int collect(void **state)
{
    (void)state;
    add_message(
        &opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor);
    add_message(
        &opentelemetry__proto__collector__metrics__v1__export_metrics_service_response__descriptor);
    add_message(
        &opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor);
    add_message(
        &opentelemetry__proto__collector__trace__v1__export_trace_service_response__descriptor);
    add_message(
        &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor);
    add_message(
        &opentelemetry__proto__collector__logs__v1__export_logs_service_response__descriptor);
    return 0;
}

static const char *without_prefix(const char *name)
{
    static const char prefix[] = "opentelemetry.proto.";
    assert_memory_equal(name, prefix, sizeof prefix - 1);
    return name + sizeof prefix - 1;
}

static const ProtobufCMessageDescriptor *message_named(const char *name)
{
    for (size_t i = 0; i < message_count; i++) {
        if (strcmp(without_prefix(messages[i]->name), name) == 0) {
            return messages[i];
        }
    }
    fail_msg("no message %s", name);
    return NULL;
}

static const ProtobufCEnumDescriptor *enum_named(const char *name)
{
    for (size_t i = 0; i < enum_count; i++) {
        if (strcmp(without_prefix(enums[i]->name), name) == 0) {
            return enums[i];
        }
    }
    fail_msg("no enum %s", name);
    return NULL;
}

static const char *type_name(const ProtobufCFieldDescriptor *field)
{
    static const char *const names[] = {
        [PROTOBUF_C_TYPE_INT32] = "int32",       [PROTOBUF_C_TYPE_SINT32] = "sint32",
        [PROTOBUF_C_TYPE_SFIXED32] = "sfixed32", [PROTOBUF_C_TYPE_INT64] = "int64",
        [PROTOBUF_C_TYPE_SINT64] = "sint64",     [PROTOBUF_C_TYPE_SFIXED64] = "sfixed64",
        [PROTOBUF_C_TYPE_UINT32] = "uint32",     [PROTOBUF_C_TYPE_FIXED32] = "fixed32",
        [PROTOBUF_C_TYPE_UINT64] = "uint64",     [PROTOBUF_C_TYPE_FIXED64] = "fixed64",
        [PROTOBUF_C_TYPE_FLOAT] = "float",       [PROTOBUF_C_TYPE_DOUBLE] = "double",
        [PROTOBUF_C_TYPE_BOOL] = "bool",         [PROTOBUF_C_TYPE_STRING] = "string",
        [PROTOBUF_C_TYPE_BYTES] = "bytes",
    };
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessageDescriptor *message = field->descriptor;
        return without_prefix(message->name);
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM) {
        const ProtobufCEnumDescriptor *enumeration = field->descriptor;
        return without_prefix(enumeration->name);
    }
    return names[field->type];
}

static bool is_oneof(const char *label)
{
    return strncmp(label, "oneof ", 6) == 0;
}

static void check_label(const ProtobufCFieldDescriptor *field, const char *label)
{
    const bool repeated = strcmp(label, "repeated") == 0;
    assert_int_equal(field->label, repeated ? PROTOBUF_C_LABEL_REPEATED : PROTOBUF_C_LABEL_NONE);
    assert_int_equal((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0, is_oneof(label));
}

/* Descriptors do not name a oneof: its members are those that share the place of the case. */
static void check_oneofs(const struct schema_message *expected,
                         const ProtobufCMessageDescriptor *message)
{
    for (unsigned i = 0; i < message->n_fields; i++) {
        for (unsigned j = 0; j < i; j++) {
            const char *left = expected->fields[i].label, *right = expected->fields[j].label;
            if (is_oneof(left) && is_oneof(right)) {
                assert_int_equal(message->fields[i].quantifier_offset ==
                                     message->fields[j].quantifier_offset,
                                 strcmp(left, right) == 0);
            }
        }
    }
}

static unsigned check_message(const struct schema_message *expected)
{
    const ProtobufCMessageDescriptor *message = message_named(expected->name);
    unsigned i = 0;
    for (; expected->fields[i].number != 0; i++) {
        assert_true(i < message->n_fields);
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        assert_int_equal(field->id, expected->fields[i].number);
        assert_string_equal(field->name, expected->fields[i].name);
        assert_string_equal(type_name(field), expected->fields[i].type);
        check_label(field, expected->fields[i].label);
    }
    assert_int_equal(message->n_fields, i);
    check_oneofs(expected, message);
    return i;
}

static void every_message_and_no_other(void **state)
{
    (void)state;
    assert_int_equal(message_count, SCHEMA_MESSAGES);
    unsigned fields = 0;
    for (size_t i = 0; i < SCHEMA_MESSAGES; i++) {
        fields += check_message(&SCHEMA_MESSAGE[i]);
    }
    assert_int_equal(fields, SCHEMA_FIELDS);
}

static unsigned check_enum(const struct schema_enum *expected)
{
    const ProtobufCEnumDescriptor *enumeration = enum_named(expected->name);
    unsigned i = 0;
    for (; expected->values[i].name != NULL; i++) {
        assert_true(i < enumeration->n_values);
        assert_int_equal(enumeration->values[i].value, expected->values[i].number);
        assert_string_equal(enumeration->values[i].name, expected->values[i].name);
    }
    assert_int_equal(enumeration->n_values, i);
    assert_int_equal(enumeration->n_value_names, i); /* no second name for a number */
    return i;
}

static void every_enum_and_no_other(void **state)
{
    (void)state;
    assert_int_equal(enum_count, SCHEMA_ENUMS);
    unsigned values = 0;
    for (size_t i = 0; i < SCHEMA_ENUMS; i++) {
        values += check_enum(&SCHEMA_ENUM[i]);
    }
    assert_int_equal(values, SCHEMA_VALUES);
}

/* Two rows of the same name would hide a message that is missing. */
static void the_table_names_each_message_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCHEMA_MESSAGES; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(SCHEMA_MESSAGE[i].name, SCHEMA_MESSAGE[j].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_and_no_other),
        cmocka_unit_test(every_enum_and_no_other),
        cmocka_unit_test(the_table_names_each_message_once),
    };
    return cmocka_run_group_tests(tests, collect, NULL);
}
