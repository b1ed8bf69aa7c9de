/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans are a list that only grows, under a lock that is taken once a document. A plan points at
 * those of the messages within it, which may point back: it is therefore in the list before its
 * fields are worked out, and leaves it with everything added since when one of them fails.
 */
#include "json_plan.h"

#include "json_put.h"

#include <assert.h>
#include <ctype.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct plan *plans;

size_t json_plan_value_bytes(enum plan_value value)
{
    static const size_t bytes[] = {
        [PLAN_INT32] = sizeof(int32_t),
        [PLAN_UINT32] = sizeof(uint32_t),
        [PLAN_INT64] = sizeof(int64_t),
        [PLAN_UINT64] = sizeof(uint64_t),
        [PLAN_DOUBLE] = sizeof(double),
        [PLAN_BOOL] = sizeof(protobuf_c_boolean),
        [PLAN_STRING] = sizeof(char *),
        [PLAN_ID] = sizeof(ProtobufCBinaryData),
        [PLAN_BYTES] = sizeof(ProtobufCBinaryData),
        [PLAN_MESSAGE] = sizeof(ProtobufCMessage *),
    };
    return bytes[value];
}

/* OTLP writes these fields, alone of all bytes, as hex. */
static bool is_id(const ProtobufCFieldDescriptor *field)
{
    static const char *const names[] = {"trace_id", "span_id", "parent_span_id"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(field->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum plan_value value_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        return PLAN_INT32;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return PLAN_UINT32;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return PLAN_INT64;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return PLAN_UINT64;
    case PROTOBUF_C_TYPE_DOUBLE:
        return PLAN_DOUBLE;
    case PROTOBUF_C_TYPE_BOOL:
        return PLAN_BOOL;
    case PROTOBUF_C_TYPE_STRING:
        return PLAN_STRING;
    case PROTOBUF_C_TYPE_BYTES:
        return is_id(field) ? PLAN_ID : PLAN_BYTES;
    case PROTOBUF_C_TYPE_MESSAGE:
        return PLAN_MESSAGE;
    case PROTOBUF_C_TYPE_FLOAT: /* OTLP has none */
        break;
    }
    assert(false);
    return PLAN_INT32;
}

static enum plan_test test_of(enum plan_value value)
{
    switch (value) {
    case PLAN_INT32:
    case PLAN_UINT32:
    case PLAN_BOOL:
        return PLAN_WORD;
    case PLAN_DOUBLE:
        return PLAN_REAL;
    case PLAN_STRING:
        return PLAN_TEXT;
    default:
        return PLAN_LONG; /* bytes begin with their length */
    }
}

/* ,"lowerCamelCase": from snake_case, as protobuf does it: an underscore goes and the letter after
 * it becomes a capital. NULL when memory is out. */
static char *key_of(const char *name)
{
    char *key = malloc(strlen(name) + sizeof ",\"\":");
    if (key == NULL) {
        return NULL;
    }
    char *at = key;
    *at++ = ',';
    *at++ = '"';
    for (bool capital = false; *name != '\0'; name++) {
        if (*name == '_') {
            capital = true;
            continue;
        }
        *at++ = capital ? (char)toupper((unsigned char)*name) : *name;
        capital = false;
    }
    memcpy(at, "\":", sizeof "\":");
    return key;
}

static const struct plan *plan_find_or_make(const ProtobufCMessageDescriptor *descriptor);

static bool plan_make_field(struct plan_field *out, const ProtobufCFieldDescriptor *field)
{
    const bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    const bool chosen = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    const enum plan_value value = value_of(field);
    *out = (struct plan_field){
        .test = chosen     ? PLAN_CHOSEN
                : repeated ? PLAN_LONG
                           : test_of(value),
        .value = value,
        .repeated = repeated,
        .number = field->id,
        .test_offset = chosen || repeated ? field->quantifier_offset : field->offset,
        .offset = field->offset,
        .key = key_of(field->name),
    };
    if (out->key == NULL) {
        return false;
    }
    out->key_bytes = (uint32_t)strlen(out->key);
    if (value == PLAN_MESSAGE) {
        out->plan = plan_find_or_make(field->descriptor);
    }
    return value != PLAN_MESSAGE || out->plan != NULL;
}

/* Counts the runs of fields of the same oneof, which are those that share the place of the case. */
static void plan_count_runs(struct plan *plan)
{
    for (size_t i = plan->field_count; i-- > 0;) {
        struct plan_field *field = &plan->fields[i];
        const struct plan_field *next = field + 1;
        const bool goes_on = i + 1 < plan->field_count && field->test == PLAN_CHOSEN &&
                             next->test == PLAN_CHOSEN && next->test_offset == field->test_offset;
        field->run = goes_on ? next->run + 1 : 1;
    }
}

/* Frees the plans that were added after `last`. */
static void plans_drop_until(const struct plan *last)
{
    while (plans != last) {
        struct plan *plan = plans;
        plans = plan->next;
        for (size_t i = 0; i < plan->field_count; i++) {
            free(plan->fields[i].key);
        }
        free(plan);
    }
}

/* The depth of this recursion is bounded by the number of types: each is made once. */
static const struct plan *plan_find_or_make(const ProtobufCMessageDescriptor *descriptor)
{
    for (const struct plan *plan = plans; plan != NULL; plan = plan->next) {
        if (plan->descriptor == descriptor) {
            return plan;
        }
    }
    struct plan *plan = calloc(1, sizeof *plan + descriptor->n_fields * sizeof plan->fields[0]);
    if (plan == NULL) {
        return NULL;
    }
    plan->next = plans;
    plan->descriptor = descriptor;
    plan->field_count = descriptor->n_fields;
    plans = plan;
    for (size_t i = 0; i < plan->field_count; i++) {
        if (!plan_make_field(&plan->fields[i], &descriptor->fields[i])) {
            return NULL;
        }
    }
    plan_count_runs(plan);
    return plan;
}

const struct plan *json_plan_of(const ProtobufCMessageDescriptor *descriptor)
{
    pthread_mutex_lock(&lock);
    const struct plan *last = plans;
    const struct plan *plan = plan_find_or_make(descriptor);
    if (plan == NULL) {
        plans_drop_until(last);
    }
    pthread_mutex_unlock(&lock);
    return plan;
}

static bool value_is_quoted(enum plan_value value)
{
    switch (value) {
    case PLAN_INT64:
    case PLAN_UINT64:
    case PLAN_STRING:
    case PLAN_ID:
    case PLAN_BYTES:
        return true;
    case PLAN_INT32:
    case PLAN_UINT32:
    case PLAN_DOUBLE:
    case PLAN_BOOL:
    case PLAN_MESSAGE:
        break;
    }
    return false;
}

bool json_piece_of(struct json_piece *piece, const ProtobufCMessageDescriptor *descriptor,
                   const char *field)
{
    const struct plan *plan = json_plan_of(descriptor);
    for (size_t i = 0; plan != NULL && i < plan->field_count; i++) {
        const struct plan_field *at = &plan->fields[i];
        if (strcmp(descriptor->fields[i].name, field) == 0 && at->key_bytes < sizeof piece->text) {
            memcpy(piece->text, at->key, at->key_bytes);
            piece->text[at->key_bytes] = '"';
            piece->bytes = at->key_bytes + value_is_quoted(at->value);
            return true;
        }
    }
    return false;
}
