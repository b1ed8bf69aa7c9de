/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer: growth, the bound, and what a failure leaves behind. */
#include "buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void it_grows_by_doubling_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1 << 20);
    assert_null(buffer.data);
    unsigned growths = 0;
    for (size_t i = 0, capacity = 0; i < 100000; i++) {
        const char byte = (char)('a' + i % 26);
        buffer_append(&buffer, &byte, 1);
        if (buffer.capacity != capacity) {
            assert_true(capacity == 0 || buffer.capacity == 2 * capacity);
            capacity = buffer.capacity;
            growths++;
        }
    }
    assert_true(growths > 1);
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 100000);
    for (size_t i = 0; i < buffer.length; i++) {
        assert_int_equal(buffer.data[i], 'a' + (int)(i % 26));
    }
    buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
}

static void it_takes_exactly_its_bound(void **state)
{
    (void)state;
    const size_t bounds[] = {1, 100, 256, 257, 1000};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        struct buffer buffer;
        buffer_init(&buffer, bounds[i]);
        for (size_t n = 0; n < bounds[i]; n++) {
            buffer_append(&buffer, "x", 1);
        }
        assert_false(buffer.failed);
        assert_int_equal(buffer.length, bounds[i]);
        assert_true(buffer.capacity <= bounds[i]);
        buffer_append(&buffer, "x", 1);
        assert_true(buffer.failed);
        assert_int_equal(buffer.length, bounds[i]);
        buffer_free(&buffer);
    }
}

static void a_failed_buffer_takes_nothing_until_it_is_reset(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 10);
    buffer_append(&buffer, "12345678", 8);
    buffer_append(&buffer, "9abc", 4);
    assert_true(buffer.failed);
    buffer_append(&buffer, "9", 1);
    assert_null(buffer_reserve(&buffer, 1));
    assert_int_equal(buffer.length, 8);
    buffer_reset(&buffer);
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 0);
    buffer_append(&buffer, "again", 5);
    assert_memory_equal(buffer.data, "again", 5);
    buffer_free(&buffer);
}

static void reserved_room_can_be_written_and_counted(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    buffer_append(&buffer, "ab", 2);
    char *place = buffer_reserve(&buffer, 3000);
    assert_ptr_equal(place, buffer.data + 2);
    memset(place, 'c', 3000);
    assert_int_equal(buffer.length, 2);
    buffer.length += 3000;
    assert_memory_equal(buffer.data, "abccc", 5);
    buffer_free(&buffer);
}

static void sizes_that_overflow_fail(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, SIZE_MAX);
    buffer_append(&buffer, "x", 1);
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 1);
    buffer_free(&buffer);
}

static void appending_nothing_changes_nothing(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 0);
    buffer_append(&buffer, NULL, 0);
    assert_false(buffer.failed);
    assert_null(buffer.data);
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_by_doubling_and_keeps_what_it_has),
        cmocka_unit_test(it_takes_exactly_its_bound),
        cmocka_unit_test(a_failed_buffer_takes_nothing_until_it_is_reset),
        cmocka_unit_test(reserved_room_can_be_written_and_counted),
        cmocka_unit_test(sizes_that_overflow_fail),
        cmocka_unit_test(appending_nothing_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
