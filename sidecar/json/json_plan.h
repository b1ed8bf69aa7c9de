/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the files of this module only: how to write the messages of a type, worked out once from its
 * descriptor.
 */
#ifndef SIDECAR_JSON_PLAN_H
#define SIDECAR_JSON_PLAN_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What tells whether a field is written. */
enum plan_test {
    PLAN_WORD,   /* the 4 bytes at test_offset are not 0 */
    PLAN_LONG,   /* the 8 bytes are not 0: an integer, a pointer or a count */
    PLAN_REAL,   /* the double is not 0 */
    PLAN_TEXT,   /* the string is neither NULL nor empty */
    PLAN_CHOSEN, /* the case of the oneof is the field's number */
};

enum plan_value {
    PLAN_INT32,
    PLAN_UINT32,
    PLAN_INT64,
    PLAN_UINT64,
    PLAN_DOUBLE,
    PLAN_BOOL,
    PLAN_STRING,
    PLAN_ID, /* bytes as hex */
    PLAN_BYTES,
    PLAN_MESSAGE,
};

struct plan_field {
    enum plan_test test;
    enum plan_value value;
    bool repeated;
    uint32_t number;
    uint32_t test_offset; /* of what is tested: the value, the count or the case */
    uint32_t offset;      /* of the value, or of the pointer to the first of them */
    uint32_t run;         /* PLAN_CHOSEN: how many fields from here on are of the same oneof */
    uint32_t key_bytes;
    char *key;               /* ,"jsonName": */
    const struct plan *plan; /* PLAN_MESSAGE: of the value */
};

struct plan {
    struct plan *next; /* in the list of all */
    const ProtobufCMessageDescriptor *descriptor;
    size_t field_count;
    struct plan_field fields[]; /* by number */
};

/*
 * The plan of a type of proto3 message. It and the plans below it are made by the first call, kept
 * for good and never changed. Any thread. NULL when memory is out.
 */
const struct plan *json_plan_of(const ProtobufCMessageDescriptor *descriptor);

/* Bytes that a value takes in its structure or in an array. */
size_t json_plan_value_bytes(enum plan_value value);

#endif
