/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 repair and escaping, case by case. The oracle of the JSON tests compares many more cases
 * with another decoder. */
#include "escape.h"
#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define R UTF8_REPLACEMENT

/* Bytes, their count, and the text as other decoders that follow Unicode repair it. */
static const struct {
    const char *bytes;
    size_t count;
    const char *text;
} CASES[] = {
    {"", 0, ""},
    {"plain", 5, "plain"},
    {"exactly8", 8, "exactly8"},
    {"\x01\x1F\x7F", 3, "\x01\x1F\x7F"},
    {"a\0b", 3, "a" R "b"},
    {"a long enough line\0 with a NUL", 31, "a long enough line" R " with a NUL" R},
    {"\xC2\x80", 2, "\xC2\x80"},
    {"gr\xC3\xBC\xC3\x9F", 6, "gr\xC3\xBC\xC3\x9F"},
    {"\xDF\xBF", 2, "\xDF\xBF"},
    {"\xE0\xA0\x80", 3, "\xE0\xA0\x80"},
    {"\xED\x9F\xBF\xEE\x80\x80", 6, "\xED\x9F\xBF\xEE\x80\x80"},
    {"\xEF\xBF\xBF", 3, "\xEF\xBF\xBF"},
    {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8, "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
    {"\x80", 1, R},
    {"\xBF\xBF", 2, R R},
    {"\xC0\x80", 2, R R},       /* a longer form */
    {"\xC1\xBF", 2, R R},       /* a longer form */
    {"\xE0\x9F\xBF", 3, R R R}, /* a longer form */
    {"\xED\xA0\x80", 3, R R R}, /* a surrogate */
    {"\xF0\x8F\xBF\xBF", 4, R R R R},
    {"\xF4\x90\x80\x80", 4, R R R R}, /* above U+10FFFF */
    {"\xF5\x80\x80\x80", 4, R R R R},
    {"\xFE\xFF", 2, R R},
    {"\xC3", 1, R}, /* cut short */
    {"\xE2\x82", 2, R},
    {"\xF0\x9F\x98", 3, R},
    {"\xF0\x9F", 2, R},
    {"\xE2\x82x", 3, R "x"},
    {"\xF0\x9F\x98\xC3\xBC", 5, R "\xC3\xBC"},
    {"\xF0\x80\x41", 3, R R "A"},
    {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", 9, R R R R "A"},           /* Unicode 15, table 3-11 */
    {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", 9, R R R R R R R R "A"},   /* table 3-8 */
    {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", 9, R R R R R R R R "A"},   /* table 3-9 */
    {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", 9, R R R R R "A" R R "B"}, /* table 3-10 */
};

static void repairs_as_unicode_recommends(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1 << 20);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        /* An own copy of the exact size shows a sanitizer any read beyond it. */
        char *bytes = malloc(CASES[i].count + 1);
        assert_non_null(bytes);
        char *exact = realloc(bytes, CASES[i].count > 0 ? CASES[i].count : 1);
        assert_non_null(exact);
        memcpy(exact, CASES[i].bytes, CASES[i].count);
        size_t length = SIZE_MAX;
        const char *text = utf8_repair(arena, exact, CASES[i].count, &length);
        assert_non_null(text);
        assert_string_equal(text, CASES[i].text);
        assert_int_equal(length, strlen(CASES[i].text));
        free(exact);
    }
    arena_free(&arena);
}

/* Every length, a byte of each sort at every place: what is taken a word at a time is the same. */
static void one_byte_among_ascii_is_found_wherever_it_stands(void **state)
{
    (void)state;
    static const char sorts[] = {'\0', '\x01', '\x7F', '\x80', '\xFF'};
    enum { BYTES = 40 };
    struct arena *arena = arena_new(1 << 20);
    for (size_t count = 1; count <= BYTES; count++) {
        for (size_t i = 0; i < count * sizeof sorts; i++) {
            const size_t at = i / sizeof sorts;
            char bytes[BYTES], expected[BYTES + sizeof R];
            memset(bytes, 'x', count);
            bytes[at] = sorts[i % sizeof sorts];
            const bool good = bytes[at] == '\x01' || bytes[at] == '\x7F';
            memcpy(expected, bytes, at);
            memcpy(expected + at, good ? bytes + at : R, good ? 1 : strlen(R));
            const size_t behind = at + (good ? 1 : strlen(R));
            memcpy(expected + behind, bytes + at + 1, count - at - 1);
            expected[behind + count - at - 1] = '\0';
            size_t length;
            const char *text = utf8_repair(arena, bytes, count, &length);
            assert_string_equal(text, expected);
            assert_int_equal(length, strlen(expected));
            arena_reset(arena);
        }
    }
    arena_free(&arena);
}

static void repairing_twice_changes_nothing_more(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1 << 20);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *text = CASES[i].text;
        assert_string_equal(utf8_repair(arena, text, strlen(text), NULL), text);
    }
    arena_free(&arena);
}

static void a_full_arena_gives_null(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    static const char bytes[2000] = {0}; /* three times as long when repaired */
    size_t length = 7;
    assert_null(utf8_repair(arena, bytes, sizeof bytes, &length));
    assert_int_equal(length, 7);
    assert_non_null(utf8_repair(arena, bytes, 1000, &length));
    assert_int_equal(length, 3000);
    arena_free(&arena);
}

static void every_other_sequence_stands_for_itself_or_is_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count, taken;
        const char *escaped;
    } cases[] = {
        {"A", 1, 1, "A"},
        {"/", 1, 1, "/"},
        {"~", 1, 1, "~"},
        {"\"", 1, 1, "\\\""},
        {"\\", 1, 1, "\\\\"},
        {"\0", 1, 1, R},
        {"\x01", 1, 1, "\\u0001"},
        {"\n", 1, 1, "\\u000a"},
        {"\x1B[31m", 5, 1, "\\u001b"},
        {"\x1F", 1, 1, "\\u001f"},
        {"\x7F", 1, 1, "\\u007f"},
        {"\xC2\x80", 2, 2, "\\u0080"},
        {"\xC2\x9F", 2, 2, "\\u009f"},
        {"\xC2\xA0", 2, 2, "\xC2\xA0"},
        {"\xE2\x80\xA8", 3, 3, "\xE2\x80\xA8"},
        {"\xF0\x9F\x98\x80z", 5, 4, "\xF0\x9F\x98\x80"},
        {"\xF0\x9F\x98z", 4, 3, R},
        {"\xFFz", 2, 1, R},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[ESCAPE_BYTES_MAX];
        size_t taken;
        const size_t written = escape_sequence(cases[i].bytes, cases[i].count, out, &taken);
        assert_int_equal(written, strlen(cases[i].escaped));
        assert_memory_equal(out, cases[i].escaped, written);
        assert_int_equal(taken, cases[i].taken);
    }
}

/* A byte is plain when its escape is itself and one byte. */
static bool is_plain(char byte)
{
    char out[ESCAPE_BYTES_MAX];
    size_t taken;
    return escape_sequence(&byte, 1, out, &taken) == 1 && out[0] == byte;
}

/* Blocks and halves of them are looked at at once: a byte counts wherever it stands, and in a text
 * of any length. */
static void plain_text_is_copied_and_any_other_byte_is_found(void **state)
{
    (void)state;
    enum { LONGEST = 70 };
    for (size_t count = 0; count <= LONGEST; count++) {
        char *bytes = malloc(count > 0 ? count : 1); /* a sanitizer sees a step over its end */
        char *copy = malloc(count + 1);
        assert_non_null(bytes);
        assert_non_null(copy);
        memset(bytes, 'x', count);
        copy[count] = '#';
        assert_true(escape_copy_plain(copy, bytes, count));
        assert_memory_equal(copy, bytes, count);
        assert_int_equal(copy[count], '#');
        assert_int_equal(escape_plain_run(bytes, count), count);
        for (size_t place = 0; place < count; place++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                bytes[place] = (char)byte;
                const bool plain = is_plain((char)byte);
                assert_int_equal(escape_copy_plain(copy, bytes, count), plain);
                assert_int_equal(escape_plain_run(bytes, count), plain ? count : place);
            }
            bytes[place] = 'x';
        }
        free(copy);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repairs_as_unicode_recommends),
        cmocka_unit_test(one_byte_among_ascii_is_found_wherever_it_stands),
        cmocka_unit_test(repairing_twice_changes_nothing_more),
        cmocka_unit_test(a_full_arena_gives_null),
        cmocka_unit_test(every_other_sequence_stands_for_itself_or_is_escaped),
        cmocka_unit_test(plain_text_is_copied_and_any_other_byte_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
