/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer over the JSON writer and the encoder. The first byte chooses: a message of OTLP in its
 * wire format, which protobuf-c unpacks and the encoder writes, or a list of calls of the writer,
 * kept balanced. What comes out is judged by a validator that shares nothing with either.
 */
#include "json.h"
#include "json_valid.h"

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb-c.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_BYTES_MAX = 1 << 20, DEPTH_MAX = 32, CALLS = 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void valid_check(const struct buffer *out)
{
    if (json_valid(out->data, out->length))
        return;
    fprintf(stderr, "no JSON: %.*s\n", (int)out->length, out->data);
    abort();
}

static void message_try(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size)
{
    struct buffer out;
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, size, data);
    if (message == NULL)
        return;
    buffer_init(&out, OUT_BYTES_MAX);
    if (json_encode_message(&out, message)) {
        valid_check(&out);
    } else if (out.length != 0) {
        fprintf(stderr, "a message that was not written left %zu bytes\n", out.length);
        abort();
    }
    buffer_free(&out);
    protobuf_c_message_free_unpacked(message, NULL);
}

/* What is still to be read of the input; zeros at its end. */
struct input {
    const uint8_t *at;
    size_t left;
};

static uint64_t input_number(struct input *in)
{
    uint64_t number = 0;
    const size_t bytes = in->left < sizeof number ? in->left : sizeof number;
    memcpy(&number, in->at, bytes);
    in->at += bytes;
    in->left -= bytes;
    return number;
}

static void put_scalar(struct buffer *out, unsigned call, struct input *in)
{
    double real;
    uint64_t number;
    size_t bytes;
    switch (call) {
    case 0:
        number = input_number(in);
        memcpy(&real, &number, sizeof real);
        json_double(out, real);
        break;
    case 1:
        number = input_number(in);
        memcpy(&real, &number, sizeof real);
        json_fixed(out, real, (int)(number % 10));
        break;
    case 2:
        json_uint(out, input_number(in));
        break;
    case 3:
        json_int(out, (int64_t)input_number(in));
        break;
    case 4:
        json_uint_string(out, input_number(in));
        break;
    case 5:
        json_int_string(out, (int64_t)input_number(in));
        break;
    case 6:
        json_bool(out, in->left % 2 == 0);
        break;
    case 7:
        json_null(out);
        break;
    default:
        bytes = (size_t)input_number(in) % 64;
        bytes = bytes < in->left ? bytes : in->left;
        json_bytes_string(out, (const char *)in->at, bytes);
        in->at += bytes;
        in->left -= bytes;
        break;
    }
}

static void calls_try(struct input in)
{
    bool object[DEPTH_MAX];
    size_t depth = 0;
    struct buffer out;

    buffer_init(&out, OUT_BYTES_MAX);
    json_array_begin(&out);
    object[depth++] = false;
    while (in.left > 0) {
        const unsigned call = *in.at % CALLS;
        in.at++;
        in.left--;
        if (call == 11 && depth > 1) {
            object[--depth] ? json_object_end(&out) : json_array_end(&out);
            continue;
        }
        if (object[depth - 1])
            json_key(&out, "key");
        if (call >= 9 && call < 11 && depth < DEPTH_MAX) {
            object[depth] = call == 9;
            object[depth++] ? json_object_begin(&out) : json_array_begin(&out);
        } else {
            put_scalar(&out, call, &in);
        }
    }
    while (depth > 0)
        object[--depth] ? json_object_end(&out) : json_array_end(&out);
    if (!out.failed)
        valid_check(&out);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor,
        &opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
        &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor,
    };
    if (size == 0)
        return 0;
    const unsigned how = data[0] % 4;
    if (how < 3)
        message_try(types[how], data + 1, size - 1);
    else
        calls_try((struct input){data + 1, size - 1});
    return 0;
}
