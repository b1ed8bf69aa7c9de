/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file format, written out a second time: byte offsets, packings and numbers as a reader in
 * another language would have them. A change of the layout that is not a change of its version
 * fails here.
 */
#include "fwdscope.h"

#include "shmlayout/layout.h"
#include "shmlayout/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct number {
    const char *name;
    uint64_t have, want;
};

/* The position of a word in bytes. */
#define BYTE(word) (uint64_t)(word) * 8
#define AT(word, want)          \
    {                           \
#word, BYTE(word), want \
    }
#define IS(value, want)                 \
    {                                   \
#value, (uint64_t)(value), want \
    }

static void numbers_compare(const struct number *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i].have != numbers[i].want)
            fail_msg("%s is %llu, the format says %llu", numbers[i].name,
                     (unsigned long long)numbers[i].have, (unsigned long long)numbers[i].want);
}

#define COMPARE(table) numbers_compare(table, sizeof table / sizeof *table)

static void test_magic_and_versions(void **state)
{
    (void)state;
    const uint64_t magic = FWS_MAGIC;
    assert_memory_equal(&magic, "FWDSCOPE", 8); /* what `head -c 8` of a region shows */
    const uint64_t mark = FWS_BYTE_ORDER;
    assert_memory_equal(&mark, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    static const struct number numbers[] = {
        IS(FWS_WORD_BITS, 64),          IS(FWS_LAYOUT_MAJOR, 1),
        IS(FWS_LAYOUT_MINOR, 0),        IS(FWS_INCOMPAT_KNOWN, 0),
        IS(FWS_REGION_BYTES_MIN, 8192), IS(FWS_REGION_BYTES_MAX, 1073741824),
    };
    COMPARE(numbers);
    assert_string_equal(FWS_FILE_SUFFIX, ".fwdscope");
    assert_string_equal(FWS_TEMP_SUFFIX, ".creating");
}

static void test_limits(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        IS(FWS_WORD_BYTES, 8),
        IS(FWS_LINE_BYTES, 128),
        IS(FWS_LINE_WORDS, 16),
        IS(FWS_PAGE_BYTES, 4096),
        IS(FWS_NAME_BYTES_MAX, 255),
        IS(FWS_DESCRIPTION_BYTES_MAX, 1024),
        IS(FWS_ATTR_VALUE_BYTES_MAX, 1024),
        IS(FWS_ATTRS_MAX, 32),
        IS(FWS_ATTR_WORDS_MAX, 256),
        IS(FWS_LOG_BYTES_MAX, 16384),
        IS(FWS_CONFIG_BYTES_MAX, 65536),
        IS(FWS_CONFIG_PATH_BYTES_MAX, 1023),
        IS(FWS_STAGE_BYTES_MAX, 31),
        IS(FWS_BOUNDS_MAX, 128),
        IS(FWS_LANES_MAX, 64),
        IS(FWS_SECTIONS_MAX, 64),
        IS(FWS_RECORD_WORDS_MAX, 5 + 8 + 32 + 2048 + 256),
    };
    COMPARE(numbers);
}

static void test_header(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_H_MAGIC, 0),
        AT(FWS_H_BYTE_ORDER, 8),
        AT(FWS_H_WORD_BITS, 16),
        AT(FWS_H_MAJOR, 24),
        AT(FWS_H_MINOR, 32),
        AT(FWS_H_HEADER_BYTES, 40),
        AT(FWS_H_REGION_BYTES, 48),
        AT(FWS_H_INCOMPAT, 56),
        AT(FWS_H_COMPAT, 64),
        AT(FWS_H_DIR_OFFSET, 72),
        AT(FWS_H_DIR_COUNT, 80),
        AT(FWS_H_DIR_STRIDE, 88),
        AT(FWS_H_UUID, 96),
        AT(FWS_H_BOOT_ID, 112),
        AT(FWS_H_PID, 128),
        AT(FWS_H_PID_NS, 136),
        AT(FWS_H_PID_START, 144),
        AT(FWS_H_CREATED_UNIX_NS, 152),
        AT(FWS_H_CREATED_BOOT_NS, 160),
        AT(FWS_H_UID, 168),
        AT(FWS_H_GID, 176),
        AT(FWS_H_GENERATION, 184),
        AT(FWS_H_HEARTBEAT_NS, 192),
        AT(FWS_H_SERVICE_NAME, 256),
        AT(FWS_H_SERVICE_VERSION, 512),
        AT(FWS_H_INSTANCE, 768),
        AT(FWS_H_CHECKSUM, 2040),
        AT(FWS_H_PREFIX_WORDS, 2048),
        AT(FWS_H_STATE, 2048),
        AT(FWS_H_SIGNAL, 2176),
        AT(FWS_H_SIGNAL_ADDRESS, 2184),
        AT(FWS_H_SIGNAL_THREAD, 2192),
        AT(FWS_H_REFUSED, 2304),
        AT(FWS_H_SPANS_REFUSED, 2432),
        AT(FWS_H_CLOSE_REASON, 2560),
        AT(FWS_H_WORDS, 4096),
        AT(FWS_STRING_WORDS, 256),
        IS(FWS_STATE_RUNNING, 1),
        IS(FWS_STATE_CLOSED, 2),
        IS(FWS_STATE_CLOSED_CRASHED, 3),
    };
    COMPARE(numbers);
}

static void test_directory(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_D_KIND, 0),
        AT(FWS_D_VERSION, 8),
        AT(FWS_D_OFFSET, 16),
        AT(FWS_D_LENGTH, 24),
        AT(FWS_D_STRIDE, 32),
        AT(FWS_D_COUNT, 40),
        AT(FWS_D_LANES, 48),
        AT(FWS_D_WORDS, 64),
        IS(FWS_SECTION_RESOURCE, 1),
        IS(FWS_SECTION_STRINGS, 2),
        IS(FWS_SECTION_INSTRUMENTS, 3),
        IS(FWS_SECTION_VALUES, 4),
        IS(FWS_SECTION_PIPELINES, 5),
        IS(FWS_SECTION_COMPONENTS, 6),
        IS(FWS_SECTION_BATCHES, 7),
        IS(FWS_SECTION_ACTIVE_SPANS, 8),
        IS(FWS_SECTION_SPAN_RINGS, 9),
        IS(FWS_SECTION_LOG_RINGS, 10),
        IS(FWS_SECTION_CONFIG, 11),
        IS(FWS_SECTION_LANES, 12),
    };
    COMPARE(numbers);
}

static void test_tables(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_RES_PREFIX, 0),
        AT(FWS_RES_ATTR_COUNT, 256),
        AT(FWS_RES_ATTR_WORDS, 264),
        AT(FWS_RES_ATTR_DROPPED, 272),
        AT(FWS_RES_ATTRS, 320),
        AT(FWS_RES_WORDS, 8192),
        AT(FWS_I_STATE, 0),
        AT(FWS_I_KIND, 8),
        AT(FWS_I_NUMBER, 16),
        AT(FWS_I_NAME, 24),
        AT(FWS_I_UNIT, 32),
        AT(FWS_I_DESCRIPTION, 40),
        AT(FWS_I_ATTRS, 48),
        AT(FWS_I_ATTR_COUNT, 56),
        AT(FWS_I_ATTR_DROPPED, 64),
        AT(FWS_I_SLOT, 72),
        AT(FWS_I_SLOTS, 80),
        AT(FWS_I_BOUNDS, 88),
        AT(FWS_I_WORDS, 128),
        IS(FWS_KIND_COUNTER, 1),
        IS(FWS_KIND_TOTAL, 2),
        IS(FWS_KIND_UPDOWN, 3),
        IS(FWS_KIND_GAUGE, 4),
        IS(FWS_KIND_HISTOGRAM, 5),
        IS(FWS_NUMBER_INT, 0),
        IS(FWS_NUMBER_DOUBLE, 1),
        AT(FWS_P_STATE, 0),
        AT(FWS_P_NAME, 8),
        AT(FWS_P_ABSENT, 16),
        AT(FWS_P_LAST_BATCH_UNIX_NS, 64),
        AT(FWS_P_WORDS, 128),
        AT(FWS_C_STATE, 0),
        AT(FWS_C_KIND, 8),
        AT(FWS_C_PIPELINE, 16),
        AT(FWS_C_NAME, 24),
        AT(FWS_C_TYPE, 32),
        AT(FWS_C_ABSENT, 40),
        AT(FWS_C_SLOT, 48),
        AT(FWS_C_HEALTH, 128),
        AT(FWS_C_QUEUE, 136),
        AT(FWS_C_QUEUE_DEPTH, 144),
        AT(FWS_C_QUEUE_CAPACITY, 152),
        AT(FWS_C_LAST_SUCCESS_UNIX_NS, 160),
        AT(FWS_C_WORDS, 256),
        IS(FWS_INPUT, 1),
        IS(FWS_TRANSFORM, 2),
        IS(FWS_OUTPUT, 3),
        IS(FWS_COUNT_LINES, 0),
        IS(FWS_COUNT_BYTES, 1),
        IS(FWS_COUNT_ERRORS, 2),
        IS(FWS_COUNT_ROTATIONS, 3),
        IS(FWS_COUNT_PARSE_ERRORS, 4),
        IS(FWS_COUNTS, 5),
        IS(FWS_HEALTHY, 0),
        IS(FWS_DEGRADED, 1),
        IS(FWS_STARTING, 2),
        IS(FWS_STOPPING, 3),
        IS(FWS_STOPPED, 4),
        IS(FWS_FAILED, 5),
        AT(FWS_LANE_HEARTBEAT, 0),
        AT(FWS_LANE_SPANS_DROPPED, 8),
        AT(FWS_LANE_LOGS_DROPPED, 16),
        AT(FWS_LANE_LOGS_CUT, 24),
        AT(FWS_LANE_ATTRS_DROPPED, 32),
        AT(FWS_LANE_VALUES_DROPPED, 40),
        AT(FWS_LANE_USED, 48),
        IS(FWS_COMPAT_LANES_USED, 1),
        AT(FWS_LANE_WORDS, 128),
    };
    COMPARE(numbers);
}

static void test_batches(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_B_SEQ, 0),         AT(FWS_B_BATCHES, 8),         AT(FWS_B_ROWS, 16),
        AT(FWS_B_FLUSH_SIZE, 24), AT(FWS_B_FLUSH_TIMEOUT, 32),  AT(FWS_B_FLUSH_DRAIN, 40),
        AT(FWS_B_DROPPED, 48),    AT(FWS_B_SCAN_ERRORS, 56),    AT(FWS_B_PARSE_ERRORS, 64),
        AT(FWS_B_LATENCY_NS, 72), AT(FWS_B_SCAN_NS, 80),        AT(FWS_B_TRANSFORM_NS, 88),
        AT(FWS_B_OUTPUT_NS, 96),  AT(FWS_B_QUEUE_WAIT_NS, 104), AT(FWS_B_SEND_NS, 112),
        AT(FWS_B_STALLS, 120),    AT(FWS_B_INFLIGHT, 128),      AT(FWS_B_USED, 136),
        AT(FWS_B_WORDS, 256),
    };
    COMPARE(numbers);
}

static void test_spans(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_A_SEQ, 0),
        AT(FWS_A_STATE, 8),
        AT(FWS_A_TRACE_ID, 16),
        AT(FWS_A_SPAN_ID, 32),
        AT(FWS_A_PARENT_ID, 40),
        AT(FWS_A_META, 48),
        AT(FWS_A_ATTR_WORDS, 56),
        AT(FWS_A_START_UNIX_NS, 64),
        AT(FWS_A_STAGE_START_UNIX_NS, 72),
        AT(FWS_A_OUTPUT_START_UNIX_NS, 80),
        AT(FWS_A_STAGE, 96),
        AT(FWS_A_NAME, 128),
        AT(FWS_A_MESSAGE, 384),
        AT(FWS_A_ATTRS, 640),
        AT(FWS_A_WORDS, 2688),
        AT(FWS_S_TRACE_ID, 0),
        AT(FWS_S_SPAN_ID, 16),
        AT(FWS_S_PARENT_ID, 24),
        AT(FWS_S_META, 32),
        AT(FWS_S_ATTR_WORDS, 40),
        AT(FWS_S_START_UNIX_NS, 48),
        AT(FWS_S_END_UNIX_NS, 56),
        AT(FWS_S_WORDS, 64),
        IS(FWS_SPAN_META(5, 2, 255, 254, 32, 65535), UINT64_C(0x00ffff20feff0205)),
        IS(FWS_SPAN_KIND(UINT64_C(0x00ffff20feff0205)), 5),
        IS(FWS_SPAN_STATUS(UINT64_C(0x00ffff20feff0205)), 2),
        IS(FWS_SPAN_NAME_BYTES(UINT64_C(0x00ffff20feff0205)), 255),
        IS(FWS_SPAN_MESSAGE_BYTES(UINT64_C(0x00ffff20feff0205)), 254),
        IS(FWS_SPAN_ATTRS(UINT64_C(0x00ffff20feff0205)), 32),
        IS(FWS_SPAN_DROPPED(UINT64_C(0x00ffff20feff0205)), 65535),
    };
    COMPARE(numbers);
}

static void test_rings_and_logs(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_R_INTENT, 0),
        AT(FWS_R_TAIL, 8),
        AT(FWS_R_OLDEST, 16),
        AT(FWS_R_START, 24),
        AT(FWS_R_START_NUMBER, 32),
        AT(FWS_R_CAPACITY, 40),
        AT(FWS_R_WORDS, 128),
        AT(FWS_REC_LENGTH, 0),
        AT(FWS_REC_KIND, 8),
        AT(FWS_REC_POSITION, 16),
        AT(FWS_REC_NUMBER, 24),
        AT(FWS_REC_TIME_UNIX_NS, 32),
        AT(FWS_REC_WORDS, 40),
        IS(FWS_RECORD_SPAN, 1),
        IS(FWS_RECORD_LOG, 2),
        AT(FWS_L_META, 0),
        AT(FWS_L_BODY_BYTES, 8),
        AT(FWS_L_ORIGINAL_BYTES, 16),
        AT(FWS_L_TIME_UNIX_NS, 24),
        AT(FWS_L_TRACE_ID, 32),
        AT(FWS_L_SPAN_ID, 48),
        AT(FWS_L_ATTR_WORDS, 56),
        AT(FWS_L_WORDS, 64),
        IS(FWS_LOG_META(24, 255, 32, 65535), UINT64_C(0x000000ffff20ff18)),
        IS(FWS_LOG_SEVERITY(UINT64_C(0x000000ffff20ff18)), 24),
        IS(FWS_LOG_TEXT_BYTES(UINT64_C(0x000000ffff20ff18)), 255),
        IS(FWS_LOG_ATTRS(UINT64_C(0x000000ffff20ff18)), 32),
        IS(FWS_LOG_DROPPED(UINT64_C(0x000000ffff20ff18)), 65535),
    };
    COMPARE(numbers);
}

static void test_references_and_attributes(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        IS(FWS_REF(0x11223340, 0x55), UINT64_C(0x0000005511223340)),
        IS(FWS_REF_OFFSET(UINT64_C(0x0000005511223340)), 0x11223340),
        IS(FWS_REF_LENGTH(UINT64_C(0x0000005511223340)), 0x55),
        IS(FWS_ATTR_STRING, 1),
        IS(FWS_ATTR_INT, 2),
        IS(FWS_ATTR_DOUBLE, 3),
        IS(FWS_ATTR_BOOL, 4),
        IS(FWS_ATTR_HEAD(FWS_ATTR_BOOL, 255, 1024), UINT64_C(0x000004000000ff04)),
        IS(FWS_ATTR_TYPE(UINT64_C(0x000004000000ff04)), 4),
        IS(FWS_ATTR_KEY_BYTES(UINT64_C(0x000004000000ff04)), 255),
        IS(FWS_ATTR_VALUE_BYTES(UINT64_C(0x000004000000ff04)), 1024),
    };
    COMPARE(numbers);
}

static void test_config(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        AT(FWS_CONFIG_SEQ, 0),         AT(FWS_CONFIG_STATE, 8),  AT(FWS_CONFIG_PATH_BYTES, 16),
        AT(FWS_CONFIG_TEXT_BYTES, 24), AT(FWS_CONFIG_PATH, 128), AT(FWS_CONFIG_TEXT, 1152),
        AT(FWS_CONFIG_WORDS, 66688),   IS(FWS_CONFIG_NONE, 0),   IS(FWS_CONFIG_PUBLISHED, 1),
        IS(FWS_CONFIG_REFUSED, 2),
    };
    COMPARE(numbers);
}

/* The public enums are stored as they are given, so they are part of the format too. */
static void test_public_numbers(void **state)
{
    (void)state;
    static const struct number numbers[] = {
        IS(FWDSCOPE_STRING, 1),        IS(FWDSCOPE_INT, 2),
        IS(FWDSCOPE_DOUBLE, 3),        IS(FWDSCOPE_BOOL, 4),
        IS(FWDSCOPE_SPAN_INTERNAL, 1), IS(FWDSCOPE_SPAN_SERVER, 2),
        IS(FWDSCOPE_SPAN_CLIENT, 3),   IS(FWDSCOPE_SPAN_PRODUCER, 4),
        IS(FWDSCOPE_SPAN_CONSUMER, 5), IS(FWDSCOPE_STATUS_UNSET, 0),
        IS(FWDSCOPE_STATUS_OK, 1),     IS(FWDSCOPE_STATUS_ERROR, 2),
        IS(FWDSCOPE_TRACE, 1),         IS(FWDSCOPE_DEBUG, 5),
        IS(FWDSCOPE_INFO, 9),          IS(FWDSCOPE_WARN, 13),
        IS(FWDSCOPE_ERROR, 17),        IS(FWDSCOPE_FATAL, 21),
        IS(FWDSCOPE_BATCH_BATCHES, 1), IS(FWDSCOPE_BATCH_INFLIGHT, 16),
        IS(FWDSCOPE_LINES, 0),         IS(FWDSCOPE_PARSE_ERRORS, 4),
        IS(FWDSCOPE_HEALTHY, 0),       IS(FWDSCOPE_FAILED, 5),
    };
    COMPARE(numbers);
}

/* The expected value was computed by another program from the definition in the layout. */
static void test_checksum_known_answer(void **state)
{
    (void)state;
    uint64_t prefix[FWS_H_PREFIX_WORDS];
    for (uint64_t w = 0; w < FWS_H_PREFIX_WORDS; w++)
        prefix[w] = w * UINT64_C(0x9e3779b97f4a7c15);
    assert_int_equal(fws_prefix_checksum(prefix), UINT64_C(0xf4f655abe4a0731));

    /* Neither the magic, which comes later, nor the checksum itself is part of it... */
    prefix[FWS_H_MAGIC] = ~prefix[FWS_H_MAGIC];
    prefix[FWS_H_CHECKSUM] = ~prefix[FWS_H_CHECKSUM];
    assert_int_equal(fws_prefix_checksum(prefix), UINT64_C(0xf4f655abe4a0731));
    /* ... and every other word is. */
    for (int w = 1; w < FWS_H_CHECKSUM; w++) {
        prefix[w] ^= 1;
        assert_int_not_equal(fws_prefix_checksum(prefix), UINT64_C(0xf4f655abe4a0731));
        prefix[w] ^= 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_magic_and_versions),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_rings_and_logs),
        cmocka_unit_test(test_references_and_attributes),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_public_numbers),
        cmocka_unit_test(test_checksum_known_answer),
    };
    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
