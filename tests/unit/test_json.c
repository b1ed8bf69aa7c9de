/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer and the encoder, rule by rule, against the exact text. */
#include "json.h"
#include "json_put.h"

#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb-c.h"
#include "opentelemetry/proto/logs/v1/logs.pb-c.h"
#include "opentelemetry/proto/trace/v1/trace.pb-c.h"

#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef Opentelemetry__Proto__Common__V1__AnyValue AnyValue;
typedef Opentelemetry__Proto__Common__V1__ArrayValue ArrayValue;
typedef Opentelemetry__Proto__Common__V1__KeyValue KeyValue;
typedef Opentelemetry__Proto__Logs__V1__LogRecord LogRecord;
typedef Opentelemetry__Proto__Metrics__V1__HistogramDataPoint HistogramDataPoint;
typedef Opentelemetry__Proto__Metrics__V1__Metric Metric;
typedef Opentelemetry__Proto__Metrics__V1__NumberDataPoint NumberDataPoint;
typedef Opentelemetry__Proto__Metrics__V1__Sum Sum;
typedef Opentelemetry__Proto__Trace__V1__Span Span;
typedef Opentelemetry__Proto__Trace__V1__Status Status;

#define ANY_VALUE_INIT       OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__INIT
#define ANY_VALUE(MEMBER)    OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_##MEMBER
#define ARRAY_VALUE_INIT     OPENTELEMETRY__PROTO__COMMON__V1__ARRAY_VALUE__INIT
#define KEY_VALUE_INIT       OPENTELEMETRY__PROTO__COMMON__V1__KEY_VALUE__INIT
#define LOG_RECORD_INIT      OPENTELEMETRY__PROTO__LOGS__V1__LOG_RECORD__INIT
#define HISTOGRAM_POINT_INIT OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__INIT
#define METRIC_INIT          OPENTELEMETRY__PROTO__METRICS__V1__METRIC__INIT
#define NUMBER_POINT_INIT    OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__INIT
#define NUMBER_POINT(MEMBER) OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_##MEMBER
#define SUM_INIT             OPENTELEMETRY__PROTO__METRICS__V1__SUM__INIT
#define SPAN_INIT            OPENTELEMETRY__PROTO__TRACE__V1__SPAN__INIT
#define STATUS_INIT          OPENTELEMETRY__PROTO__TRACE__V1__STATUS__INIT

static struct buffer out;

static int begin(void **state)
{
    (void)state;
    buffer_init(&out, 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buffer_free(&out);
    return 0;
}

/* Compares and empties what was written. */
static void expect(const char *text)
{
    assert_false(out.failed);
    buffer_append(&out, "", 1);
    assert_string_equal(out.data, text);
    buffer_reset(&out);
}

static void expect_encoded(const ProtobufCMessage *message, const char *text)
{
    assert_true(json_encode_message(&out, message));
    expect(text);
}

/* ---- writer ---------------------------------------------------------------------------------- */

static void commas_come_by_themselves(void **state)
{
    (void)state;
    json_object_begin(&out);
    json_key(&out, "a");
    json_array_begin(&out);
    json_uint(&out, 1);
    json_string(&out, "[");
    json_int(&out, -2);
    json_object_begin(&out);
    json_object_end(&out);
    json_array_begin(&out);
    json_array_end(&out);
    json_bool(&out, true);
    json_null(&out);
    json_array_end(&out);
    json_key(&out, "b");
    json_string(&out, "{:");
    json_key(&out, "c");
    json_bool(&out, false);
    json_object_end(&out);
    expect("{\"a\":[1,\"[\",-2,{},[],true,null],\"b\":\"{:\",\"c\":false}");
}

static void a_new_line_needs_no_comma(void **state)
{
    (void)state;
    json_object_begin(&out);
    json_object_end(&out);
    buffer_append(&out, "\n", 1);
    json_object_begin(&out);
    json_object_end(&out);
    expect("{}\n{}");
}

static void strings_are_escaped_and_repaired(void **state)
{
    (void)state;
    json_array_begin(&out);
    json_string(&out, NULL);
    json_string(&out, "plain text of more than eight bytes");
    json_string(&out, "a\"b\\c/d");
    json_string(&out, "\x01\b\t\n\f\r\x1F\x7F");
    json_string(&out, "gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80 \xC2\x80");
    json_bytes_string(&out, "12345678\0\xC3", 10);
    json_bytes_string(&out, NULL, 0);
    json_array_end(&out);
    expect("[\"\",\"plain text of more than eight bytes\",\"a\\\"b\\\\c/d\","
           "\"\\u0001\\u0008\\u0009\\u000a\\u000c\\u000d\\u001f\\u007f\","
           "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80 \\u0080\","
           "\"12345678\xEF\xBF\xBD\xEF\xBF\xBD\",\"\"]");
}

/* The scan looks at eight bytes at once: a special byte counts wherever it stands. */
static void a_special_byte_is_found_at_every_place(void **state)
{
    (void)state;
    static const struct {
        char byte;
        const char *escaped;
    } specials[] = {{'"', "\\\""},
                    {'\\', "\\\\"},
                    {'\x1F', "\\u001f"},
                    {'\x01', "\\u0001"},
                    {'\x7F', "\\u007f"},
                    {'\0', "\xEF\xBF\xBD"},
                    {'\x80', "\xEF\xBF\xBD"},
                    {'\xFF', "\xEF\xBF\xBD"}};
    static const char neighbours[] = " !#[]~z"; /* next to special ones, and plain */
    for (size_t s = 0; s < sizeof specials / sizeof specials[0]; s++) {
        for (size_t place = 0; place < 24; place++) {
            char bytes[24], text[64] = "\"";
            for (size_t i = 0; i < sizeof bytes; i++) {
                const char plain[2] = {neighbours[i % 7], '\0'};
                bytes[i] = i == place ? specials[s].byte : plain[0];
                strcat(text, i == place ? specials[s].escaped : plain);
            }
            strcat(text, "\"");
            json_bytes_string(&out, bytes, sizeof bytes);
            expect(text);
        }
    }
}

static void integers_at_their_limits(void **state)
{
    (void)state;
    json_array_begin(&out);
    json_uint(&out, 0);
    json_uint(&out, UINT64_MAX);
    json_int(&out, INT64_MIN);
    json_int(&out, INT64_MAX);
    json_uint_string(&out, 0);
    json_uint_string(&out, UINT64_MAX);
    json_int_string(&out, INT64_MIN);
    json_int_string(&out, -1);
    json_array_end(&out);
    expect("[0,18446744073709551615,-9223372036854775808,9223372036854775807,\"0\","
           "\"18446744073709551615\",\"-9223372036854775808\",\"-1\"]");
}

static void integers_around_every_power_of_ten(void **state)
{
    (void)state;
    uint64_t power = 1;
    for (size_t digits = 1; digits <= 20; digits++, power *= 10) {
        for (uint64_t value = power - 1; value != power + 2; value++) {
            char text[32];
            (void)snprintf(text, sizeof text, "%ju", (uintmax_t)value);
            json_uint(&out, value);
            expect(text);
        }
    }
}

static void doubles_have_their_shortest_text(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0.0"},
        {1, "1"},
        {-17, "-17"},
        {0.1, "0.1"},
        {-0.25, "-0.25"},
        {0.30000000000000004, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {123456.789, "123456.789"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {0.0001234567890123, "0.0001234567890123"},
        {9007199254740991, "9007199254740991"},
        {-9007199254740992.0, "-9007199254740992"},
        {1e17, "1e+17"},
        {1.5e300, "1.5e+300"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {(double)INFINITY, "null"},
        {-(double)INFINITY, "null"},
        {(double)NAN, "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_double(&out, cases[i].value);
        expect(cases[i].text);
    }
}

static void expect_uint(uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    json_uint(&out, value);
    expect(text);
}

/* Four digits are divided side by side with four others: all of each, and where a digit is added.
 */
static void integers_are_as_the_c_library_writes_them(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 10000; value++) {
        expect_uint(value);
        expect_uint(value * 10000);
        expect_uint(value * 100000000 + 9999 - value);
        expect_uint(UINT64_MAX - value * value * value);
    }
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) {
        expect_uint(power - 1);
        expect_uint(power);
        expect_uint(power * 10 - 1);
        expect_uint(power + 7);
    }
}

static void fixed_has_the_digits_asked_for(void **state)
{
    (void)state;
    json_array_begin(&out);
    json_fixed(&out, 2.5, 0);
    json_fixed(&out, 1.0 / 3, 3);
    json_fixed(&out, -12, 2);
    json_fixed(&out, (double)NAN, 2);
    json_array_end(&out);
    expect("[2,0.333,-12.00,null]");
    json_fixed(&out, -DBL_MAX, 9); /* the longest there is */
    assert_int_equal(out.length, 1 + 309 + 1 + 9);
}

static void the_point_does_not_follow_the_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "pl_PL.UTF-8", "ps_AF.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (setlocale(LC_NUMERIC, names[i]) == NULL) {
            continue;
        }
        found = true;
        json_array_begin(&out);
        json_fixed(&out, 1234.5, 2);
        json_double(&out, 1.25e-7);
        json_double(&out, 1.0 / 3);
        json_double(&out, 1e100);
        json_array_end(&out);
        setlocale(LC_NUMERIC, "C");
        expect("[1234.50,1.25e-07,0.3333333333333333,1e+100]");
    }
    if (!found) {
        skip();
    }
}

static void a_failed_buffer_stays_failed(void **state)
{
    (void)state;
    struct buffer small;
    buffer_init(&small, 4);
    json_string(&small, "abcdef");
    json_object_begin(&small);
    assert_true(small.failed);
    assert_true(small.length <= 4);
    buffer_free(&small);
}

/* ---- encoder --------------------------------------------------------------------------------- */

static void defaults_are_left_out(void **state)
{
    (void)state;
    NumberDataPoint point = NUMBER_POINT_INIT;
    expect_encoded(&point.base, "{}");
    Metric metric = METRIC_INIT;
    metric.name = NULL;
    metric.unit = (char *)"By";
    expect_encoded(&metric.base, "{\"unit\":\"By\"}");
}

static void members_of_a_oneof_are_written_at_their_default(void **state)
{
    (void)state;
    NumberDataPoint point = NUMBER_POINT_INIT;
    point.value_case = NUMBER_POINT(AS_INT);
    expect_encoded(&point.base, "{\"asInt\":\"0\"}");
    point.value_case = NUMBER_POINT(AS_DOUBLE);
    point.as_double = 0;
    expect_encoded(&point.base, "{\"asDouble\":0}");
    AnyValue value = ANY_VALUE_INIT;
    expect_encoded(&value.base, "{}");
    value.value_case = ANY_VALUE(BOOL_VALUE);
    expect_encoded(&value.base, "{\"boolValue\":false}");
    value.value_case = ANY_VALUE(BYTES_VALUE);
    value.bytes_value = (ProtobufCBinaryData){0, NULL};
    expect_encoded(&value.base, "{\"bytesValue\":\"\"}");
    value.value_case = ANY_VALUE(STRING_VALUE);
    value.string_value = (char *)"";
    expect_encoded(&value.base, "{\"stringValue\":\"\"}");
    value.string_value = NULL;
    expect_encoded(&value.base, "{\"stringValue\":\"\"}");
    value.value_case = ANY_VALUE(ARRAY_VALUE);
    value.array_value = NULL;
    expect_encoded(&value.base, "{}");
    ArrayValue array = ARRAY_VALUE_INIT;
    value.array_value = &array;
    expect_encoded(&value.base, "{\"arrayValue\":{}}");
}

static void optional_fields_are_written_at_zero(void **state)
{
    (void)state;
    HistogramDataPoint point = HISTOGRAM_POINT_INIT;
    point._sum_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT___SUM_SUM;
    expect_encoded(&point.base, "{\"sum\":0}");
}

static void integers_of_64_bits_are_strings_and_others_are_not(void **state)
{
    (void)state;
    uint64_t counts[] = {0, 1, UINT64_MAX};
    double bounds[] = {0.5, 10};
    HistogramDataPoint point = HISTOGRAM_POINT_INIT;
    point.start_time_unix_nano = 1;
    point.time_unix_nano = 1700000000123456789;
    point.count = 3;
    point.n_bucket_counts = 3;
    point.bucket_counts = counts;
    point.n_explicit_bounds = 2;
    point.explicit_bounds = bounds;
    point.flags = UINT32_MAX;
    expect_encoded(&point.base,
                   "{\"startTimeUnixNano\":\"1\",\"timeUnixNano\":\"1700000000123456789\","
                   "\"count\":\"3\",\"bucketCounts\":[\"0\",\"1\",\"18446744073709551615\"],"
                   "\"explicitBounds\":[0.5,10],\"flags\":4294967295}");
    NumberDataPoint number = NUMBER_POINT_INIT;
    number.value_case = NUMBER_POINT(AS_INT);
    number.as_int = INT64_MIN;
    expect_encoded(&number.base, "{\"asInt\":\"-9223372036854775808\"}");
}

static void ids_are_hex_and_absent_when_empty(void **state)
{
    (void)state;
    uint8_t trace_id[16] = {0x00, 0x0F, 0xA0, 0xFF, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t span_id[8] = {0xDE, 0xAD, 0xBE, 0xEF, 0, 0, 0, 1};
    Span span = SPAN_INIT;
    Status status = STATUS_INIT;
    span.trace_id = (ProtobufCBinaryData){sizeof trace_id, trace_id};
    span.span_id = (ProtobufCBinaryData){sizeof span_id, span_id};
    span.kind = OPENTELEMETRY__PROTO__TRACE__V1__SPAN__SPAN_KIND__SPAN_KIND_CLIENT;
    status.code = OPENTELEMETRY__PROTO__TRACE__V1__STATUS__STATUS_CODE__STATUS_CODE_ERROR;
    status.message = (char *)"no route";
    span.status = &status;
    expect_encoded(&span.base, "{\"traceId\":\"000fa0ff0405060708090a0b0c0d0e0f\","
                               "\"spanId\":\"deadbeef00000001\",\"kind\":3,"
                               "\"status\":{\"message\":\"no route\",\"code\":2}}");
    span = (Span)SPAN_INIT;
    span.parent_span_id = (ProtobufCBinaryData){sizeof span_id, span_id};
    expect_encoded(&span.base, "{\"parentSpanId\":\"deadbeef00000001\"}");
}

/* Ids are of 16 or 8 bytes; other lengths are written all the same. */
static void an_id_of_any_length_is_hex(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    for (size_t count = 1; count <= sizeof bytes; count++) {
        char text[32 + 2 * sizeof bytes] = "{\"traceId\":\"";
        char *at = text + strlen(text);
        for (size_t i = 0; i < count; i++) {
            at += snprintf(at, 3, "%02x", bytes[i]);
        }
        memcpy(at, "\"}", 3);
        Span span = SPAN_INIT;
        span.trace_id = (ProtobufCBinaryData){count, bytes};
        expect_encoded(&span.base, text);
    }
}

static void what_is_around_a_gap_is_written(void **state)
{
    (void)state;
    struct json_gap gap = JSON_GAP_INIT;
    NumberDataPoint first = NUMBER_POINT_INIT;
    NumberDataPoint *points[] = {&first, (NumberDataPoint *)&gap};
    first.flags = 1;
    Sum sum = SUM_INIT;
    sum.n_data_points = 2;
    sum.data_points = points;
    sum.is_monotonic = true;
    assert_true(json_encode_message(&out, &sum.base));
    assert_int_equal(gap.at, strlen("{\"dataPoints\":[{\"flags\":1},"));
    expect("{\"dataPoints\":[{\"flags\":1},],\"isMonotonic\":true}");
    sum.data_points = points + 1;
    sum.n_data_points = 1;
    assert_true(json_encode_message(&out, &sum.base));
    assert_int_equal(gap.at, strlen("{\"dataPoints\":["));
    expect("{\"dataPoints\":[],\"isMonotonic\":true}");
}

static void the_piece_before_a_value_is_had_alone(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *span = &opentelemetry__proto__trace__v1__span__descriptor;
    static const struct {
        const char *field, *text;
    } cases[] = {{"name", ",\"name\":\""},
                 {"kind", ",\"kind\":"},
                 {"parent_span_id", ",\"parentSpanId\":\""},
                 {"end_time_unix_nano", ",\"endTimeUnixNano\":\""},
                 {"status", ",\"status\":"}};
    struct json_piece piece;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(json_piece_of(&piece, span, cases[i].field));
        assert_int_equal(piece.bytes, strlen(cases[i].text));
        assert_memory_equal(piece.text, cases[i].text, piece.bytes);
    }
    assert_false(json_piece_of(&piece, span, "no_such_field"));
}

static void other_bytes_are_padded_base64(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "+w==", "+/8=", "+/8A", "+/8AEA=="};
    uint8_t bytes[] = {0xFB, 0xFF, 0x00, 0x10};
    for (size_t count = 0; count <= sizeof bytes; count++) {
        char text[64];
        AnyValue value = ANY_VALUE_INIT;
        value.value_case = ANY_VALUE(BYTES_VALUE);
        value.bytes_value = (ProtobufCBinaryData){count, bytes};
        (void)snprintf(text, sizeof text, "{\"bytesValue\":\"%s\"}", texts[count]);
        expect_encoded(&value.base, text);
    }
}

static void a_whole_document(void **state)
{
    (void)state;
    AnyValue text = ANY_VALUE_INIT;
    text.value_case = ANY_VALUE(STRING_VALUE);
    text.string_value = (char *)"tab\there";
    KeyValue attribute = KEY_VALUE_INIT, *attributes[] = {&attribute};
    attribute.key = (char *)"pipeline.name";
    attribute.value = &text;
    NumberDataPoint first = NUMBER_POINT_INIT, second = NUMBER_POINT_INIT;
    NumberDataPoint *points[] = {&first, &second};
    first.value_case = NUMBER_POINT(AS_INT);
    first.as_int = 5;
    first.n_attributes = 1;
    first.attributes = attributes;
    second.flags = 1;
    Sum sum = SUM_INIT;
    sum.n_data_points = 2;
    sum.data_points = points;
    sum.aggregation_temporality =
        OPENTELEMETRY__PROTO__METRICS__V1__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE;
    sum.is_monotonic = true;
    Metric metric = METRIC_INIT;
    metric.name = (char *)"lines";
    metric.data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM;
    metric.sum = &sum;
    expect_encoded(&metric.base, "{\"name\":\"lines\",\"sum\":{\"dataPoints\":["
                                 "{\"asInt\":\"5\",\"attributes\":[{\"key\":\"pipeline.name\","
                                 "\"value\":{\"stringValue\":\"tab\\u0009here\"}}]},{\"flags\":1}],"
                                 "\"aggregationTemporality\":2,\"isMonotonic\":true}}");
}

static void a_message_is_a_value_of_the_writer(void **state)
{
    (void)state;
    NumberDataPoint point = NUMBER_POINT_INIT;
    point.flags = 1;
    json_array_begin(&out);
    assert_true(json_encode_message(&out, &point.base));
    assert_true(json_encode_message(&out, &point.base));
    json_array_end(&out);
    expect("[{\"flags\":1},{\"flags\":1}]");
}

static void a_double_that_is_not_finite_is_refused(void **state)
{
    (void)state;
    double bounds[] = {1, (double)NAN};
    HistogramDataPoint histogram = HISTOGRAM_POINT_INIT;
    NumberDataPoint number = NUMBER_POINT_INIT;
    histogram.n_explicit_bounds = 2;
    histogram.explicit_bounds = bounds;
    number.time_unix_nano = 1;
    number.value_case = NUMBER_POINT(AS_DOUBLE);
    json_array_begin(&out);
    json_uint(&out, 1);
    assert_false(json_encode_message(&out, &histogram.base));
    number.as_double = (double)INFINITY;
    assert_false(json_encode_message(&out, &number.base));
    number.as_double = -(double)INFINITY;
    assert_false(json_encode_message(&out, &number.base));
    number.as_double = 2;
    assert_true(json_encode_message(&out, &number.base));
    json_array_end(&out);
    expect("[1,{\"timeUnixNano\":\"1\",\"asDouble\":2}]"); /* cut back each time */
}

/* Chains of AnyValue and ArrayValue: `levels` messages within each other. */
static bool encode_nested(size_t levels)
{
    AnyValue values[16], *pointers[16];
    ArrayValue arrays[16];
    for (size_t i = 0; i < levels; i++) {
        const size_t at = i / 2;
        if (i % 2 == 0) {
            values[at] = (AnyValue)ANY_VALUE_INIT;
            pointers[at] = &values[at];
            if (at > 0) {
                arrays[at - 1].n_values = 1;
                arrays[at - 1].values = &pointers[at];
            }
        } else {
            arrays[at] = (ArrayValue)ARRAY_VALUE_INIT;
            values[at].value_case = ANY_VALUE(ARRAY_VALUE);
            values[at].array_value = &arrays[at];
        }
    }
    return json_encode_message(&out, &values[0].base);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    assert_true(encode_nested(3));
    expect("{\"arrayValue\":{\"values\":[{}]}}");
    assert_true(encode_nested(16));
    buffer_reset(&out);
    assert_false(encode_nested(17));
    assert_int_equal(out.length, 0);
    assert_false(out.failed);
}

static void a_message_fits_exactly_or_leaves_no_trace(void **state)
{
    (void)state;
    uint8_t trace_id[16] = {1};
    AnyValue body = ANY_VALUE_INIT;
    body.value_case = ANY_VALUE(STRING_VALUE);
    body.string_value = (char *)"a line with \"quotes\" \xFF and \x01";
    LogRecord record = LOG_RECORD_INIT;
    record.time_unix_nano = 1700000000123456789;
    record.severity_number = OPENTELEMETRY__PROTO__LOGS__V1__SEVERITY_NUMBER__SEVERITY_NUMBER_WARN;
    record.body = &body;
    record.trace_id = (ProtobufCBinaryData){sizeof trace_id, trace_id};
    assert_true(json_encode_message(&out, &record.base));
    const size_t length = out.length;
    assert_true(length > 100);
    for (size_t max = 2; max <= 2 + length; max++) {
        struct buffer bounded;
        buffer_init(&bounded, max);
        buffer_append(&bounded, "x\n", 2);
        const bool fits = max == 2 + length;
        assert_int_equal(json_encode_message(&bounded, &record.base), fits);
        assert_int_equal(bounded.length, fits ? 2 + length : 2);
        assert_int_equal(bounded.failed, !fits);
        assert_memory_equal(bounded.data, "x\n", 2);
        buffer_free(&bounded);
    }
}

static void *encode_in_a_thread(void *unused)
{
    (void)unused;
    Opentelemetry__Proto__Logs__V1__ScopeLogs logs =
        OPENTELEMETRY__PROTO__LOGS__V1__SCOPE_LOGS__INIT;
    logs.schema_url = (char *)"x";
    struct buffer own;
    buffer_init(&own, 1000);
    static const char text[] = "{\"schemaUrl\":\"x\"}";
    const bool good = json_encode_message(&own, &logs.base) && own.length == strlen(text) &&
                      memcmp(own.data, text, own.length) == 0;
    buffer_free(&own);
    return good ? &out : NULL; /* any pointer but NULL */
}

/* ScopeLogs is in no other message encoded here, so that all these threads meet it first. */
static void threads_may_encode_at_once(void **state)
{
    (void)state;
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, encode_in_a_thread, NULL), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        void *good = NULL;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_non_null(good);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commas_come_by_themselves),
        TEST(a_new_line_needs_no_comma),
        TEST(strings_are_escaped_and_repaired),
        TEST(a_special_byte_is_found_at_every_place),
        TEST(integers_at_their_limits),
        TEST(integers_around_every_power_of_ten),
        TEST(doubles_have_their_shortest_text),
        TEST(integers_are_as_the_c_library_writes_them),
        TEST(fixed_has_the_digits_asked_for),
        TEST(the_point_does_not_follow_the_locale),
        TEST(a_failed_buffer_stays_failed),
        TEST(defaults_are_left_out),
        TEST(members_of_a_oneof_are_written_at_their_default),
        TEST(optional_fields_are_written_at_zero),
        TEST(integers_of_64_bits_are_strings_and_others_are_not),
        TEST(ids_are_hex_and_absent_when_empty),
        TEST(an_id_of_any_length_is_hex),
        TEST(what_is_around_a_gap_is_written),
        TEST(the_piece_before_a_value_is_had_alone),
        TEST(other_bytes_are_padded_base64),
        TEST(a_whole_document),
        TEST(a_message_is_a_value_of_the_writer),
        TEST(a_double_that_is_not_finite_is_refused),
        TEST(depth_is_bounded),
        TEST(a_message_fits_exactly_or_leaves_no_trace),
        TEST(threads_may_encode_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
