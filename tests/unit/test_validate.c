/* SPDX-License-Identifier: Apache-2.0 */
/* The checks on private copies: every refusal has a case of its own, beside the case next to it
 * that is still accepted. */
#include "shmlayout/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- prefix ---------------------------------------------------------------------------------- */

enum { REGION_BYTES = 1 << 20 };

static uint64_t prefix[FWS_H_PREFIX_WORDS];

static void prefix_seal(void)
{
    prefix[FWS_H_CHECKSUM] = fws_prefix_checksum(prefix);
}

static int prefix_good(void **state)
{
    (void)state;
    memset(prefix, 0, sizeof prefix);
    prefix[FWS_H_MAGIC] = FWS_MAGIC;
    prefix[FWS_H_BYTE_ORDER] = FWS_BYTE_ORDER;
    prefix[FWS_H_WORD_BITS] = 64;
    prefix[FWS_H_MAJOR] = 1;
    prefix[FWS_H_HEADER_BYTES] = 4096;
    prefix[FWS_H_REGION_BYTES] = REGION_BYTES;
    prefix[FWS_H_DIR_OFFSET] = 4096;
    prefix[FWS_H_DIR_COUNT] = 12;
    prefix[FWS_H_DIR_STRIDE] = 64;
    prefix_seal();
    return 0;
}

/* The verdict with one word of the good prefix changed and the checksum made right again. */
static enum fws_verdict verdict_with(enum fws_header_word word, uint64_t value)
{
    prefix_good(NULL);
    prefix[word] = value;
    prefix_seal();
    return fws_check_prefix(prefix, REGION_BYTES);
}

static void test_prefix_sound(void **state)
{
    (void)state;
    assert_int_equal(fws_check_prefix(prefix, REGION_BYTES), FWS_OK);
    assert_int_equal(fws_check_prefix(prefix, REGION_BYTES + 1), FWS_OK); /* longer file: fine */
}

static void test_prefix_not_ready(void **state)
{
    (void)state;
    prefix[FWS_H_MAGIC] = 0;
    assert_int_equal(fws_check_prefix(prefix, REGION_BYTES), FWS_NOT_READY);
    memset(prefix, 0, sizeof prefix);
    assert_int_equal(fws_check_prefix(prefix, REGION_BYTES), FWS_NOT_READY);
}

static void test_prefix_foreign(void **state)
{
    (void)state;
    for (int bit = 0; bit < 64; bit++)
        assert_int_equal(verdict_with(FWS_H_MAGIC, FWS_MAGIC ^ UINT64_C(1) << bit), FWS_FOREIGN);
}

static void test_prefix_byte_order(void **state)
{
    (void)state;
    /* As a machine of the other order would have written it: seen before anything else. */
    assert_int_equal(verdict_with(FWS_H_MAGIC, __builtin_bswap64(FWS_MAGIC)), FWS_BYTE_ORDER_OTHER);
    assert_int_equal(verdict_with(FWS_H_BYTE_ORDER, __builtin_bswap64(FWS_BYTE_ORDER)),
                     FWS_BYTE_ORDER_OTHER);
}

static void test_prefix_word_size(void **state)
{
    (void)state;
    assert_int_equal(verdict_with(FWS_H_WORD_BITS, 32), FWS_WORD_SIZE_OTHER);
    assert_int_equal(verdict_with(FWS_H_WORD_BITS, 0), FWS_WORD_SIZE_OTHER);
}

static void test_prefix_checksum(void **state)
{
    (void)state;
    for (int w = FWS_H_MAJOR; w < FWS_H_PREFIX_WORDS; w++) {
        prefix_good(NULL);
        prefix[w] ^= UINT64_C(1) << (w % 64);
        assert_int_equal(fws_check_prefix(prefix, REGION_BYTES), FWS_CHECKSUM_WRONG);
    }
}

static void test_prefix_versions(void **state)
{
    (void)state;
    assert_int_equal(verdict_with(FWS_H_MAJOR, 0), FWS_MAJOR_OTHER);
    assert_int_equal(verdict_with(FWS_H_MAJOR, 2), FWS_MAJOR_OTHER);
    assert_int_equal(verdict_with(FWS_H_MINOR, 7), FWS_OK); /* only adds */
    assert_int_equal(verdict_with(FWS_H_COMPAT, ~UINT64_C(0)), FWS_OK);
    for (int bit = 0; bit < 64; bit++)
        assert_int_equal(verdict_with(FWS_H_INCOMPAT, UINT64_C(1) << bit), FWS_INCOMPAT_UNKNOWN);
}

static void test_prefix_truncated(void **state)
{
    (void)state;
    assert_int_equal(fws_check_prefix(prefix, REGION_BYTES - 1), FWS_TRUNCATED);
    assert_int_equal(fws_check_prefix(prefix, 0), FWS_TRUNCATED);
}

static void test_prefix_region_bytes(void **state)
{
    (void)state;
    prefix[FWS_H_REGION_BYTES] = FWS_REGION_BYTES_MIN - 1;
    prefix_seal();
    assert_int_equal(fws_check_prefix(prefix, UINT64_MAX), FWS_HEADER_WRONG);
    prefix[FWS_H_REGION_BYTES] = FWS_REGION_BYTES_MIN;
    prefix_seal();
    assert_int_equal(fws_check_prefix(prefix, UINT64_MAX), FWS_OK);
    prefix[FWS_H_REGION_BYTES] = FWS_REGION_BYTES_MAX;
    prefix_seal();
    assert_int_equal(fws_check_prefix(prefix, UINT64_MAX), FWS_OK);
    prefix[FWS_H_REGION_BYTES] = FWS_REGION_BYTES_MAX + 1;
    prefix_seal();
    assert_int_equal(fws_check_prefix(prefix, UINT64_MAX), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_REGION_BYTES, UINT64_MAX), FWS_HEADER_WRONG);
}

static void test_prefix_header_bytes(void **state)
{
    (void)state;
    assert_int_equal(verdict_with(FWS_H_HEADER_BYTES, 4095), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_HEADER_BYTES, REGION_BYTES + 1), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_HEADER_BYTES, UINT64_MAX), FWS_HEADER_WRONG);
}

static void test_prefix_directory_offset(void **state)
{
    (void)state;
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, 4097), FWS_HEADER_WRONG); /* unaligned */
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, 4088), FWS_HEADER_WRONG); /* in the header */
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, 0), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, REGION_BYTES - 12 * 64), FWS_OK);
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, REGION_BYTES - 12 * 64 + 8), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, REGION_BYTES), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_OFFSET, UINT64_MAX - 7), FWS_HEADER_WRONG);
}

static void test_prefix_directory_count(void **state)
{
    (void)state;
    assert_int_equal(verdict_with(FWS_H_DIR_COUNT, 0), FWS_OK);
    assert_int_equal(verdict_with(FWS_H_DIR_COUNT, FWS_SECTIONS_MAX), FWS_OK);
    assert_int_equal(verdict_with(FWS_H_DIR_COUNT, FWS_SECTIONS_MAX + 1), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_COUNT, UINT64_MAX), FWS_HEADER_WRONG);
    /* Times the stride this is 0 in 64 bits: the count is judged before it is multiplied. */
    assert_int_equal(verdict_with(FWS_H_DIR_COUNT, UINT64_C(1) << 58), FWS_HEADER_WRONG);
}

static void test_prefix_directory_stride(void **state)
{
    (void)state;
    assert_int_equal(verdict_with(FWS_H_DIR_STRIDE, 56), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_STRIDE, 65), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_STRIDE, 72), FWS_OK); /* longer: the tail is ignored */
    assert_int_equal(verdict_with(FWS_H_DIR_STRIDE, 4096), FWS_OK);
    assert_int_equal(verdict_with(FWS_H_DIR_STRIDE, 4104), FWS_HEADER_WRONG);
    assert_int_equal(verdict_with(FWS_H_DIR_STRIDE, UINT64_C(1) << 60), FWS_HEADER_WRONG);
}

static void test_verdict_texts(void **state)
{
    (void)state;
    for (int a = FWS_OK; a <= FWS_HEADER_WRONG; a++) {
        assert_true(strlen(fws_verdict_text((enum fws_verdict)a)) > 4);
        assert_string_not_equal(fws_verdict_text((enum fws_verdict)a), "unknown");
        for (int b = FWS_OK; b < a; b++)
            assert_string_not_equal(fws_verdict_text((enum fws_verdict)a),
                                    fws_verdict_text((enum fws_verdict)b));
    }
}

/* ---- directory ------------------------------------------------------------------------------- */

/* Two entries: counters of 4 lanes and a config document, in a region of 1 MiB. */
static uint64_t directory[FWS_SECTIONS_MAX * 9];
static struct fws_section_info infos[FWS_SECTIONS_MAX];

static uint64_t *entry(size_t index)
{
    return directory + index * FWS_D_WORDS;
}

static void entry_set(size_t index, uint64_t kind, uint64_t offset, uint64_t stride, uint64_t count,
                      uint64_t lanes)
{
    uint64_t *e = entry(index);
    e[FWS_D_KIND] = kind;
    e[FWS_D_VERSION] = 1;
    e[FWS_D_OFFSET] = offset;
    e[FWS_D_LENGTH] = stride * count * lanes;
    e[FWS_D_STRIDE] = stride;
    e[FWS_D_COUNT] = count;
    e[FWS_D_LANES] = lanes;
}

static int directory_good(void **state)
{
    (void)state;
    memset(directory, 0, sizeof directory);
    entry_set(0, FWS_SECTION_VALUES, 8192, 8, 256, 4);
    entry_set(1, FWS_SECTION_CONFIG, 16384, FWS_CONFIG_WORDS * 8, 1, 1);
    return 0;
}

static size_t directory_check(uint64_t count)
{
    return fws_check_directory(directory, count, FWS_D_WORDS * 8, 4096, 4096, REGION_BYTES, infos);
}

/* Entry 0 is refused with these words, entry 1 is served. */
static void refused_alone(const char *words)
{
    assert_int_equal(directory_check(2), 2);
    if (infos[0].refused == NULL || strcmp(infos[0].refused, words) != 0)
        fail_msg("refused: %s; expected: %s", infos[0].refused, words);
    assert_null(infos[1].refused);
}

/* The same, with one word of entry 0 changed. */
static void refused_with(enum fws_dir_word word, uint64_t value, const char *words)
{
    directory_good(NULL);
    entry(0)[word] = value;
    refused_alone(words);
}

static void test_directory_sound(void **state)
{
    (void)state;
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[0].refused);
    assert_null(infos[1].refused);
    assert_int_equal(infos[0].kind, FWS_SECTION_VALUES);
    assert_int_equal(infos[0].version, 1);
    assert_int_equal(infos[0].offset, 8192);
    assert_int_equal(infos[0].length, 8192);
    assert_int_equal(infos[0].stride, 8);
    assert_int_equal(infos[0].count, 256);
    assert_int_equal(infos[0].lanes, 4);
}

static void test_directory_longer_strides(void **state)
{
    (void)state;
    /* Entries of the directory 72 bytes apart, as a later minor version may have them. */
    memmove(directory + 9, directory + 8, 8 * sizeof *directory);
    directory[8] = UINT64_MAX;
    assert_int_equal(fws_check_directory(directory, 2, 72, 4096, 4096, REGION_BYTES, infos), 2);
    assert_null(infos[0].refused);
    assert_null(infos[1].refused);
    assert_int_equal(infos[1].kind, FWS_SECTION_CONFIG);
    /* Entries of a section longer than known: served. */
    directory_good(NULL);
    entry_set(1, FWS_SECTION_CONFIG, 16384, (FWS_CONFIG_WORDS + 16) * 8, 1, 1);
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[1].refused);
}

static void test_directory_count_is_capped(void **state)
{
    (void)state;
    static uint64_t many[(FWS_SECTIONS_MAX + 4) * FWS_D_WORDS];
    assert_int_equal(
        fws_check_directory(many, FWS_SECTIONS_MAX + 4, 64, 4096, 4096, REGION_BYTES, infos),
        FWS_SECTIONS_MAX);
    assert_int_equal(directory_check(0), 0);
}

static void test_directory_unknown_kind(void **state)
{
    (void)state;
    const char *words = "of a kind that this version does not know";
    refused_with(FWS_D_KIND, FWS_SECTION_NONE, words);
    refused_with(FWS_D_KIND, FWS_SECTION_KINDS, words);
    refused_with(FWS_D_KIND, UINT64_MAX, words);
}

static void test_directory_unknown_version(void **state)
{
    (void)state;
    refused_with(FWS_D_VERSION, 0, "of a version that this version does not know");
    refused_with(FWS_D_VERSION, 2, "of a version that this version does not know");
}

static void test_directory_alignment(void **state)
{
    (void)state;
    refused_with(FWS_D_OFFSET, 8192 + 8, "not aligned");
    refused_with(FWS_D_OFFSET, 8192 + 64, "not aligned");
    refused_with(FWS_D_STRIDE, 12, "not aligned");
}

static void test_directory_outside(void **state)
{
    (void)state;
    refused_with(FWS_D_OFFSET, REGION_BYTES, "outside the region");
    refused_with(FWS_D_OFFSET, REGION_BYTES - 8192 + 128, "outside the region");
    refused_with(FWS_D_OFFSET, UINT64_MAX - 127, "outside the region");
    refused_with(FWS_D_LENGTH, REGION_BYTES - 8192 + 1, "outside the region");
    refused_with(FWS_D_LENGTH, UINT64_MAX, "outside the region");
    directory_good(NULL);
    entry(0)[FWS_D_OFFSET] = REGION_BYTES - 8192; /* up to the last byte */
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[0].refused);
}

static void test_directory_short_stride(void **state)
{
    (void)state;
    const char *words = "entries shorter than this version needs";
    static const struct {
        uint64_t kind, words;
    } least[] = {
        {FWS_SECTION_RESOURCE, FWS_RES_WORDS},     {FWS_SECTION_INSTRUMENTS, FWS_I_WORDS},
        {FWS_SECTION_PIPELINES, FWS_P_WORDS},      {FWS_SECTION_COMPONENTS, FWS_C_WORDS},
        {FWS_SECTION_BATCHES, FWS_B_WORDS},        {FWS_SECTION_ACTIVE_SPANS, FWS_A_WORDS},
        {FWS_SECTION_SPAN_RINGS, FWS_R_WORDS + 1}, {FWS_SECTION_LOG_RINGS, FWS_R_WORDS + 1},
        {FWS_SECTION_LANES, FWS_LANE_WORDS},
    };
    refused_with(FWS_D_STRIDE, 0, words);
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        directory_good(NULL);
        entry_set(0, least[i].kind, 8192, (least[i].words - 1) * 8, 1, 1);
        refused_alone(words);
        entry_set(0, least[i].kind, 8192, least[i].words * 8, 1, 1);
        assert_int_equal(directory_check(1), 1);
        assert_null(infos[0].refused);
    }
}

static void test_directory_counts(void **state)
{
    (void)state;
    const char *words = "entry count out of range";
    refused_with(FWS_D_COUNT, 0, words);
    refused_with(FWS_D_COUNT, (UINT64_C(1) << 22) + 1, words);
    refused_with(FWS_D_COUNT, UINT64_MAX, words);
    directory_good(NULL);
    entry_set(0, FWS_SECTION_RESOURCE, 8192, FWS_RES_WORDS * 8 / 2, 2, 1);
    entry(0)[FWS_D_STRIDE] = FWS_RES_WORDS * 8;
    refused_alone(words); /* there is one resource */
}

static void test_directory_lanes(void **state)
{
    (void)state;
    const char *words = "lane count out of range";
    refused_with(FWS_D_LANES, 0, words);
    refused_with(FWS_D_LANES, FWS_LANES_MAX + 1, words);
    refused_with(FWS_D_LANES, UINT64_MAX, words);
    directory_good(NULL);
    entry_set(0, FWS_SECTION_PIPELINES, 8192, FWS_P_WORDS * 8, 1, 2);
    refused_alone(words); /* pipelines are not per lane */
}

static void test_directory_short_section(void **state)
{
    (void)state;
    refused_with(FWS_D_LENGTH, 8191, "shorter than its entries");
    refused_with(FWS_D_LENGTH, 0, "shorter than its entries");
    refused_with(FWS_D_COUNT, 257, "shorter than its entries");
    refused_with(FWS_D_LANES, 5, "shorter than its entries");
    refused_with(FWS_D_STRIDE, 16, "shorter than its entries");
    refused_with(FWS_D_STRIDE, UINT64_MAX - 7, "shorter than its entries");
    /* stride * count * lanes is 2^64, which is 0 in 64 bits. */
    directory_good(NULL);
    entry(0)[FWS_D_STRIDE] = UINT64_C(1) << 54;
    refused_alone("shorter than its entries");
}

static void test_directory_over_header(void **state)
{
    (void)state;
    const char *words = "overlaps the header or the directory";
    refused_with(FWS_D_OFFSET, 0, words);
    refused_with(FWS_D_OFFSET, 4096 - 128, words);
    refused_with(FWS_D_OFFSET, 4096, words); /* where the directory stands */
    directory_good(NULL);
    entry(0)[FWS_D_OFFSET] = 4096 + 128; /* right behind its two entries */
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[0].refused);
}

static void test_directory_listed_twice(void **state)
{
    (void)state;
    entry_set(1, FWS_SECTION_VALUES, 16384, 8, 256, 4);
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[0].refused);
    assert_string_equal(infos[1].refused, "listed twice");
    /* A refused entry does not stand in the way of a good one of its kind. */
    entry(0)[FWS_D_VERSION] = 9;
    assert_int_equal(directory_check(2), 2);
    assert_non_null(infos[0].refused);
    assert_null(infos[1].refused);
}

static void test_directory_overlap(void **state)
{
    (void)state;
    entry(1)[FWS_D_OFFSET] = 8192 + 8192 - 128;
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[0].refused);
    assert_string_equal(infos[1].refused, "overlaps another section");
    entry(1)[FWS_D_OFFSET] = 8192 + 8192;
    assert_int_equal(directory_check(2), 2);
    assert_null(infos[1].refused);
    /* One inside the other. */
    entry(0)[FWS_D_LENGTH] = REGION_BYTES - 8192;
    assert_int_equal(directory_check(2), 2);
    assert_string_equal(infos[1].refused, "overlaps another section");
}

static void test_section_names(void **state)
{
    (void)state;
    assert_string_equal(fws_section_name(FWS_SECTION_INSTRUMENTS), "instruments");
    assert_string_equal(fws_section_name(FWS_SECTION_LANES), "lanes");
    assert_string_equal(fws_section_name(0), "unknown");
    assert_string_equal(fws_section_name(FWS_SECTION_KINDS), "unknown");
    assert_string_equal(fws_section_name(UINT64_MAX), "unknown");
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void test_inside(void **state)
{
    (void)state;
    assert_true(fws_inside(0, 0, 0));
    assert_true(fws_inside(8, 2, 10));
    assert_true(fws_inside(10, 0, 10));
    assert_false(fws_inside(8, 3, 10));
    assert_false(fws_inside(11, 0, 10));
    assert_false(fws_inside(UINT64_MAX, 2, 10)); /* the sum would be 1 */
    assert_false(fws_inside(2, UINT64_MAX, 10));
    assert_int_equal(fws_words_of(0), 0);
    assert_int_equal(fws_words_of(1), 1);
    assert_int_equal(fws_words_of(8), 1);
    assert_int_equal(fws_words_of(9), 2);
    assert_int_equal(fws_words_of(UINT64_MAX), UINT64_C(1) << 61);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void test_attribute_types(void **state)
{
    (void)state;
    const double real = -0.5;
    uint64_t block[16] = {0};
    memcpy(&block[1], "key", 3);
    block[0] = FWS_ATTR_HEAD(FWS_ATTR_STRING, 3, 9);
    memcpy(&block[2], "nine byte", 9);
    block[4] = FWS_ATTR_HEAD(FWS_ATTR_INT, 1, 8);
    memcpy(&block[5], "i", 1);
    block[6] = (uint64_t)INT64_MIN;
    block[7] = FWS_ATTR_HEAD(FWS_ATTR_DOUBLE, 8, 8);
    memcpy(&block[8], "eightkey", 8);
    memcpy(&block[9], &real, 8);
    block[10] = FWS_ATTR_HEAD(FWS_ATTR_BOOL, 1, 8);
    memcpy(&block[11], "b", 1);
    block[12] = 1;
    block[13] = FWS_ATTR_HEAD(FWS_ATTR_STRING, 1, 0);
    memcpy(&block[14], "e", 1);

    struct fws_attr a;
    size_t at = 0;
    assert_true(fws_attr_next(block, 15, &at, &a));
    assert_int_equal(a.type, FWS_ATTR_STRING);
    assert_int_equal(a.key_bytes, 3);
    assert_memory_equal(a.key, "key", 3);
    assert_int_equal(a.value_bytes, 9);
    assert_memory_equal(a.value, "nine byte", 9);
    assert_int_equal(at, 4);
    assert_true(fws_attr_next(block, 15, &at, &a));
    assert_int_equal(a.type, FWS_ATTR_INT);
    assert_null(a.value);
    assert_true((int64_t)a.number == INT64_MIN);
    assert_true(fws_attr_next(block, 15, &at, &a));
    assert_int_equal(a.type, FWS_ATTR_DOUBLE);
    assert_memory_equal(&a.number, &real, 8);
    assert_true(fws_attr_next(block, 15, &at, &a));
    assert_int_equal(a.type, FWS_ATTR_BOOL);
    assert_int_equal(a.number, 1);
    assert_true(fws_attr_next(block, 15, &at, &a));
    assert_int_equal(a.value_bytes, 0);
    assert_int_equal(at, 15);
    assert_false(fws_attr_next(block, 15, &at, &a)); /* the end */
    assert_int_equal(at, 15);
}

/* One malformed head in a block of `words` words: refused, and the index stays where it is. */
static void attribute_refused(uint64_t head, size_t words)
{
    uint64_t block[200] = {0};
    struct fws_attr a;
    size_t at = 0;
    block[0] = head;
    assert_false(fws_attr_next(block, words, &at, &a));
    assert_int_equal(at, 0);
}

static void test_attribute_malformed(void **state)
{
    (void)state;
    attribute_refused(FWS_ATTR_HEAD(0, 1, 8), 40);                   /* no type */
    attribute_refused(FWS_ATTR_HEAD(5, 1, 8), 40);                   /* an unknown type */
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_STRING, 0, 8), 40);     /* no key */
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_STRING, 1, 1025), 200); /* too long */
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_STRING, 1, UINT32_MAX), 200);
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_INT, 1, 4), 40); /* numbers have 8 bytes */
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_DOUBLE, 1, 16), 40);
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_BOOL, 1, 0), 40);
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_STRING, 255, 0), 32);       /* the key ends outside */
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_STRING, 8, 8 * 8 + 1), 10); /* the value does */
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_INT, 8, 8), 2);
    attribute_refused(FWS_ATTR_HEAD(FWS_ATTR_INT, 8, 8), 0); /* nothing there at all */
}

static void test_attribute_index_past_the_end(void **state)
{
    (void)state;
    uint64_t block[2] = {FWS_ATTR_HEAD(FWS_ATTR_STRING, 1, 0), 'k'};
    struct fws_attr a;
    size_t at = SIZE_MAX;
    assert_false(fws_attr_next(block, 2, &at, &a));
}

/* Any words at all: ends, and never points outside. */
static void test_attribute_noise(void **state)
{
    (void)state;
    uint64_t random = 1, taken = 0;
    for (int round = 0; round < 20000; round++) {
        uint64_t block[48];
        for (size_t i = 0; i < 48; i++) {
            random = random * UINT64_C(6364136223846793005) + 1;
            block[i] = (random >> 7) & UINT64_C(0x0000003f00001f07);
        }
        struct fws_attr a;
        size_t at = 0, count = 0;
        while (fws_attr_next(block, 48, &at, &a)) {
            assert_true(at <= 48 && ++count <= 24);
            assert_true(a.key >= (const char *)block &&
                        a.key + a.key_bytes <= (const char *)(block + 48));
            if (a.value != NULL)
                assert_true(a.value + a.value_bytes <= (const char *)(block + 48));
            taken++;
        }
    }
    assert_true(taken > 1000);
}

/* ---- record heads ---------------------------------------------------------------------------- */

static uint64_t head[FWS_REC_WORDS];

static bool head_ok(uint64_t length, uint64_t kind, uint64_t position)
{
    head[FWS_REC_LENGTH] = length;
    head[FWS_REC_KIND] = kind;
    head[FWS_REC_POSITION] = position;
    return fws_check_record_head(head, 4096, 65536);
}

static void test_record_head(void **state)
{
    (void)state;
    const uint64_t longest = FWS_RECORD_WORDS_MAX * 8;
    assert_true(head_ok(40, FWS_RECORD_SPAN, 4096));
    assert_true(head_ok(longest, FWS_RECORD_LOG, 4096));
    assert_false(head_ok(32, FWS_RECORD_LOG, 4096)); /* shorter than a head */
    assert_false(head_ok(0, FWS_RECORD_LOG, 4096));
    assert_false(head_ok(41, FWS_RECORD_LOG, 4096));
    assert_false(head_ok(longest + 8, FWS_RECORD_LOG, 4096));
    assert_false(head_ok(UINT64_MAX - 7, FWS_RECORD_LOG, 4096));
    assert_false(head_ok(48, 0, 4096));
    assert_false(head_ok(48, 3, 4096));
    assert_false(head_ok(48, FWS_RECORD_LOG, 4104)); /* not the record that was asked for */
    head_ok(48, FWS_RECORD_LOG, 4096);
    assert_true(fws_check_record_head(head, 4096, 96));
    assert_false(fws_check_record_head(head, 4096, 88)); /* more than half the ring */
}

int main(void)
{
#define PREFIX(test)    cmocka_unit_test_setup(test, prefix_good)
#define DIRECTORY(test) cmocka_unit_test_setup(test, directory_good)
    const struct CMUnitTest tests[] = {
        PREFIX(test_prefix_sound),
        PREFIX(test_prefix_not_ready),
        PREFIX(test_prefix_foreign),
        PREFIX(test_prefix_byte_order),
        PREFIX(test_prefix_word_size),
        PREFIX(test_prefix_checksum),
        PREFIX(test_prefix_versions),
        PREFIX(test_prefix_truncated),
        PREFIX(test_prefix_region_bytes),
        PREFIX(test_prefix_header_bytes),
        PREFIX(test_prefix_directory_offset),
        PREFIX(test_prefix_directory_count),
        PREFIX(test_prefix_directory_stride),
        cmocka_unit_test(test_verdict_texts),
        DIRECTORY(test_directory_sound),
        DIRECTORY(test_directory_longer_strides),
        DIRECTORY(test_directory_count_is_capped),
        DIRECTORY(test_directory_unknown_kind),
        DIRECTORY(test_directory_unknown_version),
        DIRECTORY(test_directory_alignment),
        DIRECTORY(test_directory_outside),
        DIRECTORY(test_directory_short_stride),
        DIRECTORY(test_directory_counts),
        DIRECTORY(test_directory_lanes),
        DIRECTORY(test_directory_short_section),
        DIRECTORY(test_directory_over_header),
        DIRECTORY(test_directory_listed_twice),
        DIRECTORY(test_directory_overlap),
        cmocka_unit_test(test_section_names),
        cmocka_unit_test(test_inside),
        cmocka_unit_test(test_attribute_types),
        cmocka_unit_test(test_attribute_malformed),
        cmocka_unit_test(test_attribute_index_past_the_end),
        cmocka_unit_test(test_attribute_noise),
        cmocka_unit_test(test_record_head),
    };
    return cmocka_run_group_tests_name("validate", tests, NULL, NULL);
}
