/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded memory of records and points, against a plain list that remembers everything. */
#include "history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS_MAX = 64, COLLECT_MAX = 4096 };

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The record of a serial: its length, kind and words follow from it. */
static struct record record_of(uint64_t serial, uint64_t words[WORDS_MAX])
{
    size_t count = 1 + serial * 7919 % (WORDS_MAX - 1);
    for (size_t i = 0; i < count; i++)
        words[i] = serial * 1000 + i;
    return (struct record){.kind = serial % 3 == 0 ? RECORD_SPAN : RECORD_LOG,
                           .time_unix_ns = 1000 + serial,
                           .words = words,
                           .word_count = count};
}

static void assert_is(const struct record *got, uint64_t serial)
{
    uint64_t words[WORDS_MAX];
    struct record wanted = record_of(serial, words);
    assert_int_equal(got->kind, wanted.kind);
    assert_int_equal(got->time_unix_ns, wanted.time_unix_ns);
    assert_int_equal(got->word_count, wanted.word_count);
    assert_memory_equal(got->words, wanted.words, wanted.word_count * sizeof *words);
}

static bool push(struct record_queue *queue, uint64_t serial)
{
    uint64_t words[WORDS_MAX];
    struct record record = record_of(serial, words);
    return record_queue_push(queue, &record);
}

static void an_empty_queue_gives_nothing(void **state)
{
    (void)state;
    struct record_queue queue;
    struct record out[1];
    record_queue_init(&queue, 1024, 10);
    assert_int_equal(record_queue_collect(&queue, 0, UINT64_MAX, 0, out, 1), 0);
    record_queue_free(&queue);
}

/* Any sequence of pushes and publishes: what is held is the newest run, whole and in order. */
static void random_pushes_keep_the_newest_run(void **state)
{
    (void)state;
    struct record *out = calloc(COLLECT_MAX, sizeof *out);
    uint64_t random = 88172645463325252ull, evicted = 0;
    for (size_t max_words = 200; max_words < 40000; max_words *= 3) {
        struct record_queue queue;
        record_queue_init(&queue, max_words, 300);
        for (uint64_t serial = 0; serial < 3000; serial++) {
            assert_int_equal(queue.next, serial);
            if (random_next(&random) % 4 == 0 || queue.next - queue.published > 2)
                queue.published = queue.next;
            assert_true(push(&queue, serial));
            assert_true(queue.next - queue.first <= 300);
            size_t count =
                record_queue_collect(&queue, queue.first, queue.next, 0, out, COLLECT_MAX);
            assert_int_equal(count, queue.next - queue.first);
            for (size_t i = 0; i < count; i++)
                assert_is(&out[i], queue.first + i);
        }
        assert_true(queue.capacity <= max_words);
        assert_int_equal(queue.dropped, 0);
        evicted += queue.first;
        record_queue_free(&queue);
    }
    assert_true(evicted > 0);
    free(out);
}

static void unpublished_records_are_not_evicted(void **state)
{
    (void)state;
    struct record_queue queue;
    struct record out[64];
    uint64_t kept = 0;
    record_queue_init(&queue, 400, 1000);
    while (push(&queue, kept))
        kept++;
    assert_true(kept > 3);
    assert_int_equal(queue.dropped, 1);
    assert_int_equal(queue.first, 0);
    assert_int_equal(record_queue_collect(&queue, 0, queue.next, 0, out, 64), kept);
    assert_is(&out[0], 0);

    queue.published = queue.next; /* and then they make room */
    assert_true(push(&queue, kept));
    assert_true(queue.first > 0);
    record_queue_free(&queue);
}

static void a_record_beyond_all_room_is_counted(void **state)
{
    (void)state;
    uint64_t words[600] = {0};
    const struct record record = {.kind = RECORD_LOG, .words = words, .word_count = 600};
    struct record_queue queue;
    record_queue_init(&queue, 400, 10);
    assert_true(push(&queue, 0));
    queue.published = queue.next;
    assert_false(record_queue_push(&queue, &record));
    assert_int_equal(queue.dropped, 1);
    assert_true(push(&queue, 1)); /* the queue lives on */
    record_queue_free(&queue);
}

static void collect_takes_serials_times_and_the_newest(void **state)
{
    (void)state;
    struct record_queue queue;
    struct record out[16];
    record_queue_init(&queue, 8192, 100);
    for (uint64_t serial = 0; serial < 50; serial++)
        assert_true(push(&queue, serial));
    assert_int_equal(record_queue_collect(&queue, 10, 20, 0, out, 16), 10);
    assert_is(&out[0], 10);
    assert_is(&out[9], 19);
    assert_int_equal(record_queue_collect(&queue, 0, 50, 1000 + 45, out, 16), 5);
    assert_is(&out[0], 45);
    assert_int_equal(record_queue_collect(&queue, 0, 50, 0, out, 4), 4);
    assert_is(&out[0], 46);
    assert_is(&out[3], 49);
    record_queue_free(&queue);
}

static struct point_row *row_at(uint64_t time_unix_ns, size_t words)
{
    struct point_row *row = calloc(1, sizeof *row);
    row->time_unix_ns = time_unix_ns;
    row->word_count = words; /* its bytes are accounted; the queue never looks inside */
    return row;
}

static void rows_are_bounded_by_age_and_bytes(void **state)
{
    (void)state;
    struct row_queue queue;
    row_queue_init(&queue, 1 << 20, 100);
    for (uint64_t t = 0; t <= 1000; t += 10)
        row_queue_push(&queue, row_at(t, 8));
    assert_int_equal(queue.count, 11); /* 900 .. 1000 */
    assert_int_equal(queue.rows[0]->time_unix_ns, 900);
    assert_int_equal(row_queue_newest(&queue)->time_unix_ns, 1000);
    row_queue_push(&queue, row_at(1001, 1 << 20)); /* too large by itself: alone, but kept */
    assert_int_equal(queue.count, 1);
    row_queue_push(&queue, row_at(1002, 1));
    assert_int_equal(queue.count, 1);
    assert_int_equal(row_queue_newest(&queue)->time_unix_ns, 1002);
    row_queue_free(&queue);
}

static void thinned_rows_are_even_and_end_with_the_newest(void **state)
{
    (void)state;
    struct row_queue queue;
    const struct point_row *out[10];
    row_queue_init(&queue, 1 << 20, 1000);
    for (uint64_t t = 0; t < 31; t++)
        row_queue_push(&queue, row_at(t, 1));
    size_t count = row_queue_collect(&queue, 0, out, 10);
    assert_true(count >= 7 && count <= 10);
    assert_int_equal(out[count - 1]->time_unix_ns, 30);
    for (size_t i = 2; i < count; i++)
        assert_int_equal(out[i]->time_unix_ns - out[i - 1]->time_unix_ns,
                         out[1]->time_unix_ns - out[0]->time_unix_ns);
    assert_int_equal(row_queue_collect(&queue, 28, out, 10), 3);
    assert_int_equal(row_queue_collect(&queue, 31, out, 10), 0);
    row_queue_free(&queue);
}

static void the_last_row_ends_before_the_next_life(void **state)
{
    (void)state;
    struct row_queue queue;
    row_queue_init(&queue, 1 << 20, 1000);
    row_queue_end_before(&queue, 5); /* nothing there: nothing happens */
    row_queue_push(&queue, row_at(10, 1));
    row_queue_push(&queue, row_at(20, 1));
    row_queue_end_before(&queue, 30);
    assert_int_equal(row_queue_newest(&queue)->time_unix_ns, 20);
    row_queue_end_before(&queue, 15);
    assert_int_equal(row_queue_newest(&queue)->time_unix_ns, 15);
    row_queue_end_before(&queue, 5); /* never before the row in front of it */
    assert_int_equal(row_queue_newest(&queue)->time_unix_ns, 15);
    row_queue_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_queue_gives_nothing),
        cmocka_unit_test(random_pushes_keep_the_newest_run),
        cmocka_unit_test(unpublished_records_are_not_evicted),
        cmocka_unit_test(a_record_beyond_all_room_is_counted),
        cmocka_unit_test(collect_takes_serials_times_and_the_newest),
        cmocka_unit_test(rows_are_bounded_by_age_and_bytes),
        cmocka_unit_test(thinned_rows_are_even_and_end_with_the_newest),
        cmocka_unit_test(the_last_row_ends_before_the_next_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
