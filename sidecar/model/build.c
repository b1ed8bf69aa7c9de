/* SPDX-License-Identifier: Apache-2.0 */
/* Building message trees in an arena. */
#include "build.h"

#include <math.h>
#include <string.h>

void *build_array(struct build *build, size_t count, size_t item_bytes)
{
    void *array = arena_array(build->arena, count, item_bytes);
    if (array == NULL) {
        build->full = true;
    }
    return array;
}

void *build_message(struct build *build, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = build_array(build, 1, descriptor->sizeof_message);
    if (message != NULL) {
        protobuf_c_message_init(descriptor, message);
    }
    return message;
}

Scope *build_scope(struct build *build, const char *name)
{
    static char version[] = FWDSCOPE_VERSION;
    Scope *scope =
        build_message(build, &opentelemetry__proto__common__v1__instrumentation_scope__descriptor);
    if (scope != NULL) {
        scope->name = (char *)name;
        scope->version = version;
    }
    return scope;
}

bool build_id(struct build *build, const uint8_t *id, size_t count, ProtobufCBinaryData *out)
{
    if (id_is_zero(id, count)) {
        return true;
    }
    uint8_t *copy = build_array(build, count, 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, id, count);
    *out = (ProtobufCBinaryData){.len = count, .data = copy};
    return true;
}

void build_check_decode_room(struct build *build, const struct record *record)
{
    /* Each byte grows to three at most when it is repaired; the rest is the attributes' own. */
    enum { GROWTH = 3, FIXED_BYTES = 8192 };
    (void)build_array(build, 1, GROWTH * record->word_count * sizeof(uint64_t) + FIXED_BYTES);
}

/* ---- attributes ---------------------------------------------------------------------------------
 */

bool key_values_begin(struct build *build, struct key_values *list, size_t capacity)
{
    *list = (struct key_values){.capacity = capacity};
    list->items = build_array(build, capacity, sizeof list->items[0]);
    return list->items != NULL;
}

static bool has_key(const struct key_values *list, const char *key)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i]->key, key) == 0) {
            return true;
        }
    }
    return false;
}

static void set_text(AnyValue *value, const char *text)
{
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    value->string_value = (char *)text;
}

const char *attribute_text(double real)
{
    return isnan(real) ? "NaN" : real > 0 ? "Infinity" : "-Infinity";
}

static void set_double(AnyValue *value, double real)
{
    if (!isfinite(real)) {
        set_text(value, attribute_text(real));
        return;
    }
    value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_DOUBLE_VALUE;
    value->double_value = real;
}

static void set_value(AnyValue *value, const struct attribute *attribute)
{
    switch (attribute->type) {
    case ATTRIBUTE_STRING:
        set_text(value, attribute->string);
        break;
    case ATTRIBUTE_INT:
        value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE;
        value->int_value = attribute->integer;
        break;
    case ATTRIBUTE_DOUBLE:
        set_double(value, attribute->real);
        break;
    case ATTRIBUTE_BOOL:
        value->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE;
        value->bool_value = attribute->boolean;
        break;
    }
}

static bool add_one(struct build *build, struct key_values *list, const struct attribute *attribute)
{
    if (attribute->key[0] == '\0' || list->count == list->capacity ||
        has_key(list, attribute->key)) {
        list->left_out++;
        return true;
    }
    KeyValue *pair = build_message(build, &opentelemetry__proto__common__v1__key_value__descriptor);
    AnyValue *value =
        build_message(build, &opentelemetry__proto__common__v1__any_value__descriptor);
    if (pair == NULL || value == NULL) {
        return false;
    }
    set_value(value, attribute);
    pair->key = (char *)attribute->key;
    pair->value = value;
    list->items[list->count++] = pair;
    return true;
}

bool key_values_add(struct build *build, struct key_values *list,
                    const struct attribute *attributes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!add_one(build, list, &attributes[i])) {
            return false;
        }
    }
    return true;
}

bool key_values_add_text(struct build *build, struct key_values *list, const char *key,
                         const char *text)
{
    const struct attribute one = {.key = key, .type = ATTRIBUTE_STRING, .string = text};
    return add_one(build, list, &one);
}

bool key_values_add_uint(struct build *build, struct key_values *list, const char *key,
                         uint64_t value)
{
    const struct attribute one = {.key = key,
                                  .type = ATTRIBUTE_INT,
                                  .integer = value > INT64_MAX ? INT64_MAX : (int64_t)value};
    return add_one(build, list, &one);
}

uint32_t key_values_dropped(const struct key_values *list, unsigned dropped)
{
    return dropped > UINT32_MAX - list->left_out ? UINT32_MAX : dropped + list->left_out;
}
