/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON into a bounded buffer: a small writer for our own documents, and an encoder for any
 * protobuf-c message that follows its descriptor and the OTLP rules. Pure: no I/O, no clock.
 *
 * The writer puts commas itself: call object_begin, then key and a value in turn; an encoded
 * message is a value as well. The first value in an empty buffer, or after a newline, gets none.
 * Its output is valid JSON whenever the calls are balanced and the buffer did not fail, whatever
 * bytes the strings hold (invalid UTF-8 and NUL become U+FFFD, control characters \u00XX).
 *
 * Any thread, a buffer each.
 */
#ifndef SIDECAR_JSON_H
#define SIDECAR_JSON_H

#include "buffer.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

void json_object_begin(struct buffer *out);
void json_object_end(struct buffer *out);
void json_array_begin(struct buffer *out);
void json_array_end(struct buffer *out);
/* key is one of ours: ASCII without quotes or backslashes. */
void json_key(struct buffer *out, const char *key);

void json_string(struct buffer *out, const char *text); /* NUL-terminated; NULL reads as "" */
void json_bytes_string(struct buffer *out, const char *bytes, size_t count);
void json_uint(struct buffer *out, uint64_t value);        /* a bare number */
void json_int(struct buffer *out, int64_t value);          /* a bare number */
void json_uint_string(struct buffer *out, uint64_t value); /* "123" */
void json_int_string(struct buffer *out, int64_t value);
/* Shortest text that reads back as the same double (of some powers of two, a digit more); not
 * finite: null. */
void json_double(struct buffer *out, double value);
/* With `digits` digits after the point, 0..9; not finite: null. */
void json_fixed(struct buffer *out, double value, int digits);
void json_bool(struct buffer *out, bool value);
void json_null(struct buffer *out);

/* Key and value of an object. */
void json_member_string(struct buffer *out, const char *key, const char *text);
void json_member_uint(struct buffer *out, const char *key, uint64_t value);

/*
 * Writes `message`, of any proto3 type, and all below it as OTLP JSON, after its descriptor, in the
 * order of the fields' numbers: 64-bit integers as strings, enums as numbers, ids as lower-case
 * hex, other bytes as base64, defaults left out, members of a oneof written even at their default.
 * False when a message cannot be written as OTLP allows (a double that is not finite, depth over
 * 16), memory is out or the buffer failed; out is then cut back to where it was.
 */
bool json_encode_message(struct buffer *out, const ProtobufCMessage *message);

/*
 * Stands in a tree for a message that is written by somebody else: the encoder puts nothing in its
 * place and notes where that is, in bytes from the start of the buffer. So what is around a message
 * is had from the encoder without the message.
 */
struct json_gap {
    ProtobufCMessage base;
    size_t at;
};
extern const ProtobufCMessageDescriptor json_gap_descriptor;
#define JSON_GAP_INIT {.base = {.descriptor = &json_gap_descriptor}}

#endif
