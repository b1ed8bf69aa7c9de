/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring over a static array: what is written comes out whole and in order, what is overwritten
 * is counted exactly, and a ring that lies costs its reader nothing but a refusal.
 */
#include "shmlayout/ring.h"
#include "shmlayout/validate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum {
    CAPACITY = 4096, /* bytes */
    PAYLOAD_MAX = CAPACITY / 2 / FWS_WORD_BYTES - FWS_REC_WORDS,
    LENGTHS = 128,
};

static fws_word control[FWS_R_WORDS];
static fws_word data[CAPACITY / FWS_WORD_BYTES];
static uint16_t lengths[LENGTHS];
static struct fws_ring_writer writer;
static struct fws_ring_reader reader;

static void ring_start(uint64_t start, uint64_t start_number)
{
    memset(&reader, 0, sizeof reader);
    memset(lengths, 0, sizeof lengths);
    for (size_t i = 0; i < sizeof data / sizeof *data; i++)
        fws_put(&data[i], 0);
    assert_int_equal(fws_ring_lengths_count(CAPACITY), LENGTHS);
    fws_ring_writer_init(&writer, control, data, CAPACITY, lengths, start, start_number);
    fws_ring_reader_init(&reader, control, data, CAPACITY, start, start_number);
}

static int ring_reset(void **state)
{
    (void)state;
    ring_start(0, 0);
    return 0;
}

/* The words of record n: its number, then words that follow from number and place. */
static uint64_t payload_word(uint64_t n, size_t i)
{
    return i == 0 ? n : (n + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static void record_write(uint64_t n, size_t words)
{
    uint64_t payload[PAYLOAD_MAX];
    for (size_t i = 0; i < words; i++)
        payload[i] = payload_word(n, i);
    fws_ring_write(&writer, n % 2 == 0 ? FWS_RECORD_LOG : FWS_RECORD_SPAN, n + 1000, payload,
                   words);
}

/* Whether `out` is a whole record as record_write() made it; returns its n. */
static uint64_t record_check(const uint64_t *out, size_t words)
{
    assert_true(words > FWS_REC_WORDS);
    const uint64_t n = out[FWS_REC_WORDS];
    assert_int_equal(out[FWS_REC_LENGTH], words * 8);
    assert_int_equal(out[FWS_REC_KIND], n % 2 == 0 ? FWS_RECORD_LOG : FWS_RECORD_SPAN);
    assert_int_equal(out[FWS_REC_TIME_UNIX_NS], n + 1000);
    for (size_t i = 0; i < words - FWS_REC_WORDS; i++)
        assert_int_equal(out[FWS_REC_WORDS + i], payload_word(n, i));
    return n;
}

static uint64_t record_take(void)
{
    uint64_t out[FWS_RECORD_WORDS_MAX];
    size_t words = 0;
    assert_int_equal(fws_ring_read(&reader, out, &words), FWS_RING_RECORD);
    return record_check(out, words);
}

static enum fws_ring_result result_now(void)
{
    uint64_t out[FWS_RECORD_WORDS_MAX];
    size_t words = 0;
    return fws_ring_read(&reader, out, &words);
}

static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (random_state >> 33) % n;
}

/* ---- a writer and a reader in turn ----------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(result_now(), FWS_RING_EMPTY);
    assert_int_equal(result_now(), FWS_RING_EMPTY);
    assert_int_equal(reader.lost, 0);
}

static void test_control_line(void **state)
{
    (void)state;
    ring_start(UINT64_MAX - 4095, UINT64_MAX - 2);
    assert_int_equal(fws_peek(&control[FWS_R_START]), UINT64_MAX - 4095);
    assert_int_equal(fws_peek(&control[FWS_R_START_NUMBER]), UINT64_MAX - 2);
    assert_int_equal(fws_peek(&control[FWS_R_CAPACITY]), CAPACITY);
    assert_int_equal(fws_peek(&control[FWS_R_TAIL]), UINT64_MAX - 4095);
    record_write(0, 3);
    assert_int_equal(fws_peek(&control[FWS_R_TAIL]), UINT64_MAX - 4095 + 64);
    assert_int_equal(fws_peek(&control[FWS_R_INTENT]), UINT64_MAX - 4095 + 64);
    assert_int_equal(fws_peek(&control[FWS_R_OLDEST]), UINT64_MAX - 4095);
}

static void test_one_by_one_around_many_times(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 1000; n++) { /* records that wrap at every place */
        record_write(n, 1 + n % 97);
        assert_int_equal(record_take(), n);
        assert_int_equal(result_now(), FWS_RING_EMPTY);
    }
    assert_int_equal(reader.lost, 0);
    assert_int_equal(reader.resyncs, 0);
}

static void test_longest_record(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 9; n++) {
        record_write(n, PAYLOAD_MAX);
        assert_int_equal(record_take(), n);
    }
    record_write(9, PAYLOAD_MAX);
    record_write(10, PAYLOAD_MAX); /* two of them fill the ring: both survive */
    assert_int_equal(record_take(), 9);
    assert_int_equal(record_take(), 10);
    assert_int_equal(reader.lost, 0);
}

/* A record in three pieces, of which one is text: whole wherever it wraps, padded with zeros. */
static void test_text_of_every_length(void **state)
{
    (void)state;
    char text[41];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(0x80 + i); /* no byte is zero, all are above 127 */
    for (uint64_t n = 0; n < 1000; n++) {
        const size_t bytes = n % sizeof text, words = (bytes + 7) / 8;
        const char *from = text + sizeof text - bytes; /* nothing may be read behind it */
        const uint64_t last = n;
        uint64_t head[FWS_REC_WORDS], out[FWS_RECORD_WORDS_MAX];
        char padded[48] = {0};
        size_t taken;
        fws_ring_begin(&writer, FWS_RECORD_LOG, n, words + 1, head);
        fws_ring_put(&writer, head, FWS_REC_WORDS);
        fws_ring_put_text(&writer, from, bytes);
        fws_ring_put(&writer, &last, 1);
        fws_ring_end(&writer);
        assert_int_equal(fws_ring_read(&reader, out, &taken), FWS_RING_RECORD);
        assert_int_equal(taken, FWS_REC_WORDS + words + 1);
        memcpy(padded, from, bytes);
        assert_memory_equal(out + FWS_REC_WORDS, padded, words * 8);
        assert_int_equal(out[taken - 1], n);
    }
}

static void test_full_ring_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < CAPACITY / 64; n++)
        record_write(n, 3);
    for (uint64_t n = 0; n < CAPACITY / 64; n++)
        assert_int_equal(record_take(), n);
    assert_int_equal(reader.lost, 0);
    assert_int_equal(result_now(), FWS_RING_EMPTY);
}

static void test_one_record_too_many(void **state)
{
    (void)state;
    for (uint64_t n = 0; n <= CAPACITY / 64; n++)
        record_write(n, 3);
    assert_int_equal(record_take(), 1);
    assert_int_equal(reader.lost, 1);
    assert_int_equal(reader.resyncs, 1);
}

/* Stopped for ten laps, the reader goes on with the oldest record that is still there. */
static void test_lapped_reader_gets_the_oldest_survivor(void **state)
{
    (void)state;
    record_write(0, 3);
    assert_int_equal(record_take(), 0);
    const uint64_t written = 1 + 10 * CAPACITY / 64;
    for (uint64_t n = 1; n < written; n++)
        record_write(n, 3);
    for (uint64_t n = written - CAPACITY / 64; n < written; n++)
        assert_int_equal(record_take(), n);
    assert_int_equal(result_now(), FWS_RING_EMPTY);
    assert_int_equal(reader.lost, written - 1 - CAPACITY / 64);
    assert_int_equal(reader.resyncs, 1);
}

/* A record that begins in the middle of where the cursor was: found by `oldest`, not by luck. */
static void test_lapped_among_unequal_records(void **state)
{
    (void)state;
    record_write(0, 3);
    for (uint64_t n = 1; n < 40; n++)
        record_write(n, n % 3 == 0 ? PAYLOAD_MAX - 7 : 1 + n);
    uint64_t next = record_take(), taken = 1;
    assert_int_equal(reader.lost, next);
    while (result_now() == FWS_RING_RECORD)
        taken++;
    assert_int_equal(reader.lost + taken, 40);
}

static uint64_t written_of_many; /* records over all rounds: that the test did work */

/* Random sizes and pauses: what was read and what was lost is what was written, at every pause. */
static void exact_loss_round(uint64_t start, uint64_t start_number, uint64_t pause_max)
{
    uint64_t written = 0, taken = 0, next = 0, out[FWS_RECORD_WORDS_MAX];
    size_t words;
    ring_start(start, start_number);
    for (int burst = 0; burst < 200; burst++) {
        for (uint64_t i = random_below(pause_max); i > 0; i--)
            record_write(written++, 1 + random_below(random_below(4) == 0 ? PAYLOAD_MAX : 20));
        for (uint64_t i = random_below(pause_max); i > 0; i--) {
            if (fws_ring_read(&reader, out, &words) != FWS_RING_RECORD)
                break;
            const uint64_t n = record_check(out, words);
            assert_true(n >= next);
            taken++;
            next = n + 1;
            assert_int_equal(reader.lost + taken, next);
        }
    }
    enum fws_ring_result result;
    while ((result = fws_ring_read(&reader, out, &words)) == FWS_RING_RECORD) {
        record_check(out, words);
        taken++;
    }
    assert_int_equal(result, FWS_RING_EMPTY);
    assert_int_equal(taken + reader.lost, written);
    written_of_many += written;
}

static void test_exact_loss(void **state)
{
    (void)state;
    uint64_t lost = 0;
    written_of_many = 0;
    for (uint64_t round = 0; round < 60; round++) {
        random_state = round;
        exact_loss_round(0, 0, 2 + round);
        lost += reader.lost;
        /* Both free-running numbers pass zero on the way. */
        exact_loss_round(UINT64_MAX - 4095 - 8 * random_below(64), UINT64_MAX - 2, 2 + round);
        assert_true(reader.position < UINT64_MAX / 2);
        lost += reader.lost;
    }
    print_message("%llu written, %llu lost\n", (unsigned long long)written_of_many,
                  (unsigned long long)lost);
    assert_true(lost > 0 && lost < written_of_many);
}

/* A writer that died between its intent and its tail: what it overwrote is gone, the rest is whole,
 * and the record that it did not finish never shows. */
static void test_writer_dead_inside_a_record(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < CAPACITY / 64; n++)
        record_write(n, 3);
    const uint64_t tail = fws_peek(&control[FWS_R_TAIL]);
    record_write(64, 5); /* overwrites records 0 and 1 */
    fws_put(&control[FWS_R_TAIL], tail);
    for (uint64_t n = 2; n < 64; n++)
        assert_int_equal(record_take(), n);
    assert_int_equal(result_now(), FWS_RING_EMPTY);
    assert_int_equal(reader.lost, 2);
}

/* The writer follows its own numbers: a scribbled control line does not lead it astray. */
static void test_writer_trusts_nothing_in_the_region(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 500; n++) {
        for (int i = 0; i < FWS_R_WORDS; i++)
            if (i != FWS_R_START && i != FWS_R_START_NUMBER && i != FWS_R_CAPACITY)
                fws_put(&control[i], ~UINT64_C(0) / (n + 1));
        record_write(n, 1 + n % PAYLOAD_MAX);
    }
    assert_int_equal(writer.number, 500);
    assert_int_equal(fws_peek(&control[FWS_R_TAIL]), writer.tail);
}

/* ---- rings that lie -------------------------------------------------------------------------- */

/* A ring with ten records, the cursor at the first. */
static void ring_with_ten(void)
{
    ring_start(0, 0);
    for (uint64_t n = 0; n < 10; n++)
        record_write(n, 3);
}

static void test_corrupt_head(void **state)
{
    (void)state;
    static const struct {
        enum fws_record_word word;
        uint64_t value;
    } lies[] = {
        {FWS_REC_LENGTH, 0},
        {FWS_REC_LENGTH, 32},
        {FWS_REC_LENGTH, 65},
        {FWS_REC_LENGTH, CAPACITY / 2 + 8},
        {FWS_REC_LENGTH, UINT64_MAX},
        {FWS_REC_LENGTH, 11 * 64}, /* past the tail */
        {FWS_REC_KIND, 0},
        {FWS_REC_KIND, 99},
        {FWS_REC_POSITION, 8},
        {FWS_REC_NUMBER, 1},
        {FWS_REC_NUMBER, UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        ring_with_ten();
        fws_put(&data[lies[i].word], lies[i].value);
        assert_int_equal(result_now(), FWS_RING_CORRUPT);
        assert_int_equal(reader.lost, 0);
    }
}

/* Lapped, and what stands at `oldest` is no record. */
static void test_corrupt_oldest(void **state)
{
    (void)state;
    static const uint64_t lies[] = {1, 8, UINT64_MAX - 7, UINT64_MAX / 2 + 9, 64 * 20};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        ring_start(0, 0);
        for (uint64_t n = 0; n < 100; n++)
            record_write(n, 3);
        fws_put(&control[FWS_R_OLDEST], lies[i]);
        const enum fws_ring_result result = result_now();
        assert_true(result == FWS_RING_CORRUPT || result == FWS_RING_BUSY);
        assert_int_equal(reader.lost, 0);
        assert_int_equal(reader.position, 0);
    }
}

static void test_corrupt_gap(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, UINT64_MAX, 100000};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        ring_start(0, 0);
        for (uint64_t n = 0; n < 100; n++)
            record_write(n, 3);
        /* More records than could ever have stood in the bytes between, or none, or less. */
        const uint64_t oldest = fws_peek(&control[FWS_R_OLDEST]) % CAPACITY / 8;
        fws_put(&data[oldest + FWS_REC_NUMBER], numbers[i]);
        assert_int_equal(result_now(), FWS_RING_CORRUPT);
        assert_int_equal(reader.lost, 0);
    }
}

/* No writer takes its tail back behind what was read: this will not get better by waiting. */
static void test_tail_behind_the_cursor(void **state)
{
    (void)state;
    ring_with_ten();
    for (uint64_t n = 0; n < 10; n++)
        assert_int_equal(record_take(), n);
    fws_put(&control[FWS_R_TAIL], 5 * 64);
    assert_int_equal(result_now(), FWS_RING_CORRUPT);
    fws_put(&control[FWS_R_TAIL], 10 * 64 - 1);
    assert_int_equal(result_now(), FWS_RING_CORRUPT);
}

/* An intent far ahead says that everything is being overwritten: bounded, nothing taken. */
static void test_intent_that_never_rests(void **state)
{
    (void)state;
    ring_with_ten();
    fws_put(&control[FWS_R_INTENT], UINT64_C(1) << 40);
    assert_int_equal(result_now(), FWS_RING_BUSY);
    assert_int_equal(reader.position, 0);
    fws_put(&control[FWS_R_INTENT], 10 * 64); /* the writer's next record would do that */
    assert_int_equal(record_take(), 0);
}

/* Random words anywhere: every read ends, and what it calls a record is one by its head. */
static void test_noise(void **state)
{
    (void)state;
    uint64_t out[FWS_RECORD_WORDS_MAX], results[4] = {0};
    size_t words;
    for (uint64_t round = 0; round < 20000; round++) {
        random_state = round;
        if (round % 100 == 0)
            ring_start(round % 200 == 0 ? 0 : UINT64_MAX - 4095, 0);
        record_write(round, 1 + random_below(30));
        if (random_below(3) == 0)
            fws_put(&control[random_below(3)], random_below(2) == 0
                                                   ? random_below(2 * CAPACITY) & ~UINT64_C(7)
                                                   : random_state * random_state);
        if (random_below(3) == 0)
            fws_put(&data[random_below(CAPACITY / 8)], random_below(CAPACITY));
        const enum fws_ring_result result = fws_ring_read(&reader, out, &words);
        results[result]++;
        if (result == FWS_RING_RECORD) {
            assert_true(words >= FWS_REC_WORDS && words <= CAPACITY / 2 / 8);
            assert_int_equal(out[FWS_REC_LENGTH], words * 8);
        }
    }
    assert_true(results[FWS_RING_RECORD] > 0 && results[FWS_RING_CORRUPT] > 0);
}

/* ---- two threads ----------------------------------------------------------------------------- */

enum { CONCURRENT_RECORDS = 300000 };

static void *concurrent_writer(void *arg)
{
    uint64_t *seed = arg;
    uint64_t random = *seed;
    for (uint64_t n = 0; n < CONCURRENT_RECORDS; n++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        record_write(n, 1 + (random >> 33) % 40);
        for (int i = 0; n % 4 == 0 && i < 500; i++) /* sometimes the reader keeps up */
            (void)fws_peek(&control[FWS_R_TAIL]);
    }
    return NULL;
}

/* A reader that now and then stands still, against a writer that never does. */
static void concurrent_check(uint64_t start, uint64_t start_number)
{
    uint64_t out[FWS_RECORD_WORDS_MAX], taken = 0, next = 0, seed = start + 1;
    size_t words;
    pthread_t thread;
    ring_start(start, start_number);
    assert_int_equal(pthread_create(&thread, NULL, concurrent_writer, &seed), 0);
    while (taken + reader.lost < CONCURRENT_RECORDS) {
        const enum fws_ring_result result = fws_ring_read(&reader, out, &words);
        assert_int_not_equal(result, FWS_RING_CORRUPT);
        if (result != FWS_RING_RECORD)
            continue;
        const uint64_t n = record_check(out, words);
        assert_true(n >= next);
        next = n + 1;
        taken++;
        assert_int_equal(taken + reader.lost, next);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(result_now(), FWS_RING_EMPTY);
    assert_int_equal(taken + reader.lost, CONCURRENT_RECORDS);
    assert_true(taken > 0);
    print_message("%llu read, %llu lost in %llu laps\n", (unsigned long long)taken,
                  (unsigned long long)reader.lost, (unsigned long long)reader.resyncs);
}

static void test_two_threads(void **state)
{
    (void)state;
    concurrent_check(0, 0);
}

static void test_two_threads_across_overflow(void **state)
{
    (void)state;
    concurrent_check(UINT64_MAX - 100 * CAPACITY + 1, UINT64_MAX - 5000);
    assert_true(reader.position < UINT64_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, ring_reset),
        cmocka_unit_test_setup(test_control_line, ring_reset),
        cmocka_unit_test_setup(test_one_by_one_around_many_times, ring_reset),
        cmocka_unit_test_setup(test_longest_record, ring_reset),
        cmocka_unit_test_setup(test_text_of_every_length, ring_reset),
        cmocka_unit_test_setup(test_full_ring_loses_nothing, ring_reset),
        cmocka_unit_test_setup(test_one_record_too_many, ring_reset),
        cmocka_unit_test_setup(test_lapped_reader_gets_the_oldest_survivor, ring_reset),
        cmocka_unit_test_setup(test_lapped_among_unequal_records, ring_reset),
        cmocka_unit_test_setup(test_exact_loss, ring_reset),
        cmocka_unit_test_setup(test_writer_dead_inside_a_record, ring_reset),
        cmocka_unit_test_setup(test_writer_trusts_nothing_in_the_region, ring_reset),
        cmocka_unit_test_setup(test_corrupt_head, ring_reset),
        cmocka_unit_test_setup(test_corrupt_oldest, ring_reset),
        cmocka_unit_test_setup(test_corrupt_gap, ring_reset),
        cmocka_unit_test_setup(test_tail_behind_the_cursor, ring_reset),
        cmocka_unit_test_setup(test_intent_that_never_rests, ring_reset),
        cmocka_unit_test_setup(test_noise, ring_reset),
        cmocka_unit_test_setup(test_two_threads, ring_reset),
        cmocka_unit_test_setup(test_two_threads_across_overflow, ring_reset),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
