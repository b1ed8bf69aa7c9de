/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded memory of records and points, against a plain list that remembers everything. */
#include "history.h"
#include "sampler.h"

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
    uint64_t random = 88172645463325252ull, evicted = 0, most = 0;
    for (size_t max_bytes = 4000; max_bytes < 400000; max_bytes *= 3) {
        struct record_queue queue;
        record_queue_init(&queue, max_bytes, 300);
        for (uint64_t serial = 0; serial < 3000; serial++) {
            assert_int_equal(queue.next, serial);
            if (random_next(&random) % 4 == 0 || queue.next - queue.published > 2)
                record_queue_publish(&queue);
            assert_true(push(&queue, serial));
            assert_true(queue.bytes <= max_bytes);
            most = queue.next - queue.first > most ? queue.next - queue.first : most;
            size_t count =
                record_queue_collect(&queue, queue.first, queue.next, 0, out, COLLECT_MAX);
            assert_int_equal(count, queue.next - queue.first);
            for (size_t i = 0; i < count; i++)
                assert_is(&out[i], queue.first + i);
        }
        assert_int_equal(queue.dropped, 0);
        evicted += queue.first;
        record_queue_free(&queue);
    }
    assert_true(evicted > 0);
    assert_true(most >= 300 && most < 500); /* a chunk more than was asked for at most */
    free(out);
}

static void unpublished_records_are_not_evicted(void **state)
{
    (void)state;
    struct record_queue queue;
    struct record out[64];
    uint64_t kept = 0;
    record_queue_init(&queue, 4000, 1000);
    while (kept < 1000 && push(&queue, kept))
        kept++;
    assert_true(kept > 3);
    assert_int_equal(queue.dropped, 1);
    assert_int_equal(queue.first, 0);
    assert_int_equal(record_queue_collect(&queue, 0, queue.next, 0, out, 64), kept);
    assert_is(&out[0], 0);

    record_queue_publish(&queue); /* and then they make room */
    assert_int_equal(queue.waiting_bytes, 0);
    assert_true(push(&queue, kept));
    assert_true(queue.first > 0);
    record_queue_free(&queue);
}

static void a_record_beyond_all_room_is_counted(void **state)
{
    (void)state;
    uint64_t words[600] = {0};
    const struct record large = {.kind = RECORD_LOG, .words = words, .word_count = 400};
    const struct record record = {.kind = RECORD_LOG, .words = words, .word_count = 600};
    struct record_queue queue;
    record_queue_init(&queue, 4000, 10);
    assert_true(push(&queue, 0));
    record_queue_publish(&queue);
    assert_false(record_queue_push(&queue, &record));
    assert_int_equal(queue.dropped, 1);
    assert_true(push(&queue, 1)); /* the queue lives on */
    record_queue_publish(&queue);
    assert_true(record_queue_push(&queue, &large)); /* longer than a chunk usually is */
    record_queue_free(&queue);
}

static void collect_takes_serials_times_and_the_newest(void **state)
{
    (void)state;
    struct record_queue queue;
    struct record out[16];
    record_queue_init(&queue, 65536, 100);
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
    assert_int_equal(record_queue_count(&queue, 10, 20, 0), 10);
    assert_int_equal(record_queue_count(&queue, 0, 50, 1000 + 45), 5);
    assert_int_equal(record_queue_count(&queue, 7, 47, 1000 + 9), 38);
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

/* Once as many rows are held as there are to be, pushing needs none but those that were dropped. */
static void dropped_rows_are_given_back(void **state)
{
    (void)state;
    struct row_queue queue;
    struct history history = {0};
    struct history *const histories[] = {&history};
    row_queue_init(&queue, 1 << 20, 100);
    size_t made = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        struct point_row *row = row_queue_take_spare(&queue);
        made += row == NULL;
        if (row == NULL)
            row = row_at(0, 8);
        row->time_unix_ns = 10 * i + (i * 7 % 5 == 0); /* never quite evenly */
        row_queue_push(&queue, row);
    }
    assert_in_range(made, 11, 11 + ROWS_SPARE);
    assert_int_equal(row_queue_newest(&queue)->time_unix_ns, 9990);
    history.rows = queue; /* and they count as held, until they are what is to give way */
    const size_t bytes = history_bytes(&history);
    assert_true(bytes > history.rows.bytes);
    histories_trim(histories, 1, bytes - 1, 0);
    assert_int_equal(history_bytes(&history),
                     history.rows.bytes + history.rows.capacity * sizeof(struct point_row *));
    assert_null(row_queue_take_spare(&history.rows));
    history_free(&history);
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

/* ---- what is promised, with the bounds that the sidecar has ---------------------------------- */

#define SECOND_NS UINT64_C(1000000000)
#define MIB       ((size_t)1 << 20)

static struct life_options real_options(void)
{
    const struct fleet_target target = {.dir = "/nonexistent"};
    struct sampler sampler;
    assert_true(sampler_init(&sampler, &target, 2 * SECOND_NS, NULL));
    const struct life_options options = sampler.fleet.options;
    sampler_free(&sampler);
    return options;
}

static void history_start(struct history *history, const struct life_options *options)
{
    record_queue_init(&history->spans, options->spans_bytes_max, options->spans_kept);
    record_queue_init(&history->logs, options->logs_bytes_max, options->logs_kept);
    row_queue_init(&history->rows, options->points_bytes_max, options->history_ns);
}

/* Pushes so many records of so many words, each published; the number is in the first word. */
static void push_many(struct record_queue *queue, size_t count, size_t words_each)
{
    static uint64_t words[2400];
    assert_true(words_each <= sizeof words / sizeof *words);
    for (size_t i = 0; i < count; i++) {
        words[0] = queue->next;
        const struct record record = {
            .time_unix_ns = 1000 + queue->next, .words = words, .word_count = words_each};
        assert_true(record_queue_push(queue, &record));
        record_queue_publish(queue);
    }
}

/* 16,000 spans of 1 KiB and 1 MiB of text in lines of 16 bytes to 16 KiB. */
static void the_promised_records_are_held(void **state)
{
    (void)state;
    enum { SPAN_WORDS = 126, LINE_HEAD_WORDS = 16 }; /* what stands before a line's text */
    const struct life_options options = real_options();
    struct history history;
    history_start(&history, &options);
    push_many(&history.spans, 20000, SPAN_WORDS);
    assert_true(history.spans.next - history.spans.first >= 16000);
    for (size_t text = 16; text <= 16384; text *= 4) {
        push_many(&history.logs, 80000, LINE_HEAD_WORDS + text / 8);
        const size_t lines = history.logs.next - history.logs.first;
        assert_true(lines * text >= MIB);
        assert_true(lines * text <= 16 * MIB);
        record_queue_free(&history.logs);
        record_queue_init(&history.logs, options.logs_bytes_max, options.logs_kept);
    }
    assert_true(history.spans.bytes <= 16 * MIB);
    assert_int_equal(history.spans.dropped, 0);
    history_free(&history);
}

/* Whatever the interval and however many series, the last five minutes are there, evenly. */
static void five_minutes_of_points_are_held(void **state)
{
    (void)state;
    const struct life_options options = real_options();
    static const struct {
        uint64_t interval_ms;
        size_t words;
    } cases[] = {{2000, 100}, {100, 100}, {2000, 12000}, {100, 4000}, {60000, 4000}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct row_queue queue;
        row_queue_init(&queue, options.points_bytes_max, options.history_ns);
        const uint64_t step = cases[c].interval_ms * 1000000;
        uint64_t widest = 0;
        for (uint64_t now = SECOND_NS; now < 900 * SECOND_NS; now += step) {
            row_queue_push(&queue, row_at(now, cases[c].words));
            assert_int_equal(row_queue_newest(&queue)->time_unix_ns, now);
            assert_true(queue.bytes <= 16 * MIB);
            const uint64_t held = now - queue.rows[0]->time_unix_ns;
            assert_true(held >= (now < 301 * SECOND_NS ? now - SECOND_NS : 300 * SECOND_NS));
        }
        for (size_t i = 1; i < queue.count; i++) {
            const uint64_t gap = queue.rows[i]->time_unix_ns - queue.rows[i - 1]->time_unix_ns;
            widest = gap > widest ? gap : widest;
        }
        assert_true(widest <= (step > 2 * SECOND_NS ? step : 2 * SECOND_NS + step));
        row_queue_free(&queue);
    }
}

/* ---- all lives together ---------------------------------------------------------------------- */

enum { LIVES = 200 };

static size_t bytes_of(struct history *const *histories)
{
    size_t bytes = 0;
    for (size_t i = 0; i < LIVES; i++)
        bytes += history_bytes(histories[i]);
    return bytes;
}

/* 200 lives, each with more than its share: the sum holds, and all keep about the same. */
static void two_hundred_lives_share_the_bound(void **state)
{
    (void)state;
    const struct life_options options = real_options();
    struct history *histories[LIVES];
    size_t least = SIZE_MAX, most = 0, peak = 0;
    for (size_t i = 0; i < LIVES; i++) {
        histories[i] = malloc(sizeof *histories[i]);
        assert_non_null(histories[i]);
        history_start(histories[i], &options);
    }
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < LIVES; i++) {
            push_many(&histories[i]->logs, 1000, 80);
            push_many(&histories[i]->spans, 500, 100);
            row_queue_push(&histories[i]->rows, row_at((round + 1) * SECOND_NS, 100));
            histories_trim(histories, LIVES, FLEET_HISTORY_BYTES_MAX, FLEET_LOGS_PROMISED);
            assert_true(bytes_of(histories) <= FLEET_HISTORY_BYTES_MAX);
            peak = bytes_of(histories) > peak ? bytes_of(histories) : peak;
        }
    }
    for (size_t i = 0; i < LIVES; i++) {
        const size_t bytes = history_bytes(histories[i]);
        least = bytes < least ? bytes : least;
        most = bytes > most ? bytes : most;
        assert_non_null(row_queue_newest(&histories[i]->rows));
        assert_int_equal(histories[i]->logs.dropped + histories[i]->spans.dropped, 0);
    }
    assert_true(peak > FLEET_HISTORY_BYTES_MAX - MIB);
    assert_true(most - least <= 4 * 65536);
    for (size_t i = 0; i < LIVES; i++) {
        history_free(histories[i]);
        free(histories[i]);
    }
}

/* Who holds little loses nothing; of who holds much, log lines beyond what is promised go first. */
static void the_largest_gives_first_and_lines_before_spans(void **state)
{
    (void)state;
    const struct life_options options = real_options();
    struct history small, wordy, busy;
    struct history *const all[] = {&small, &wordy, &busy};
    history_start(&small, &options);
    history_start(&wordy, &options);
    history_start(&busy, &options);
    push_many(&small.logs, 100, 50);
    push_many(&small.spans, 100, 50);
    push_many(&wordy.logs, 12000, 126); /* 12 MiB of which 4 are promised */
    push_many(&busy.spans, 14000, 126); /* 14 MiB, promised */
    push_many(&busy.logs, 3000, 126);   /* 3 MiB, promised */

    histories_trim(all, 3, 22 * MIB, 4 * MIB);
    assert_true(wordy.logs.first > 0 && wordy.logs.bytes > 3 * MIB);
    assert_int_equal(busy.spans.first + busy.logs.first, 0); /* the promise still fits */
    histories_trim(all, 3, 12 * MIB, 4 * MIB);
    assert_true(busy.spans.first > 0 && busy.logs.first == 0);
    assert_int_equal(small.spans.first + small.logs.first, 0);
    assert_true(history_bytes(&small) + history_bytes(&wordy) + history_bytes(&busy) <= 12 * MIB);
    for (size_t i = 0; i < 3; i++)
        history_free(all[i]);
}

/* What nobody was told of yet stays, whatever the bound; so do the newest of everything. */
static void a_trim_leaves_what_is_not_published(void **state)
{
    (void)state;
    static const uint64_t words[126];
    const struct record record = {.kind = RECORD_LOG, .words = words, .word_count = 126};
    const struct life_options options = real_options();
    struct history history;
    struct history *const all[] = {&history};
    history_start(&history, &options);
    for (size_t i = 0; i < 5000; i++)
        assert_true(record_queue_push(&history.logs, &record));
    for (uint64_t t = 1; t <= 200; t++)
        row_queue_push(&history.rows, row_at(t * SECOND_NS, 1000));
    histories_trim(all, 1, 0, 0);
    assert_int_equal(history.logs.first, 0);
    assert_in_range(history.logs.waiting_bytes, 5000 * 128 * 8, history.logs.bytes);
    assert_int_equal(history.rows.count, 1);
    assert_int_equal(row_queue_newest(&history.rows)->time_unix_ns, 200 * SECOND_NS);
    record_queue_publish(&history.logs);
    histories_trim(all, 1, 0, 0);
    assert_true(history.logs.next - history.logs.first > 0);
    assert_true(history.logs.bytes <= 65536);
    history_free(&history);
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
        cmocka_unit_test(dropped_rows_are_given_back),
        cmocka_unit_test(thinned_rows_are_even_and_end_with_the_newest),
        cmocka_unit_test(the_last_row_ends_before_the_next_life),
        cmocka_unit_test(the_promised_records_are_held),
        cmocka_unit_test(five_minutes_of_points_are_held),
        cmocka_unit_test(two_hundred_lives_share_the_bound),
        cmocka_unit_test(the_largest_gives_first_and_lines_before_spans),
        cmocka_unit_test(a_trim_leaves_what_is_not_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
