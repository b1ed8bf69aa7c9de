/* SPDX-License-Identifier: Apache-2.0 */
/* The seqlock: its states one by one, then a writer and a reader at full speed over one array. */
#include "shmlayout/seqlock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS = 12 };

static fws_word seq;
static fws_word words[WORDS];
static uint64_t private_seq;

static int unit_reset(void **state)
{
    (void)state;
    private_seq = 0;
    atomic_init(&seq, 0);
    for (int i = 0; i < WORDS; i++)
        atomic_init(&words[i], 0);
    return 0;
}

static void unit_write(uint64_t value)
{
    fws_seq_write_begin(&seq, &private_seq);
    for (uint64_t i = 0; i < WORDS; i++)
        fws_publish(&words[i], value * (i + 1));
    fws_seq_write_end(&seq, &private_seq);
}

/* ---- one thread ------------------------------------------------------------------------------ */

static void test_sequence_counts_by_two(void **state)
{
    (void)state;
    fws_seq_write_begin(&seq, &private_seq);
    assert_int_equal(fws_peek(&seq), 1);
    fws_seq_write_end(&seq, &private_seq);
    assert_int_equal(fws_peek(&seq), 2);
    assert_int_equal(private_seq, 2);
}

static void test_copy_of_a_unit_at_rest(void **state)
{
    (void)state;
    uint64_t out[WORDS], retries = 5;
    unit_write(7);
    assert_true(fws_seq_copy(&seq, words, WORDS, out, &retries));
    assert_int_equal(retries, 5);
    for (uint64_t i = 0; i < WORDS; i++)
        assert_int_equal(out[i], 7 * (i + 1));
    assert_true(fws_seq_copy(&seq, words, 0, out, &retries)); /* nothing is whole too */
}

static void test_copy_gives_up_inside_a_write(void **state)
{
    (void)state;
    uint64_t out[WORDS], retries = 0;
    fws_seq_write_begin(&seq, &private_seq);
    assert_false(fws_seq_copy(&seq, words, WORDS, out, &retries));
    assert_int_equal(retries, FWS_SEQ_TRIES); /* bounded, and each one counted */
    fws_seq_write_end(&seq, &private_seq);
    assert_true(fws_seq_copy(&seq, words, WORDS, out, &retries));
}

static void test_read_is_refused_when_anything_was_written(void **state)
{
    (void)state;
    const uint64_t begun = fws_seq_read_begin(&seq);
    assert_true(fws_seq_read_end(&seq, begun));
    fws_seq_write_begin(&seq, &private_seq);
    assert_false(fws_seq_read_end(&seq, begun));
    const uint64_t inside = fws_seq_read_begin(&seq);
    assert_false(fws_seq_read_end(&seq, inside)); /* equal, but odd */
    fws_seq_write_end(&seq, &private_seq);
    assert_false(fws_seq_read_end(&seq, begun));
    assert_false(fws_seq_read_end(&seq, inside));
    assert_true(fws_seq_read_end(&seq, fws_seq_read_begin(&seq)));
}

/* A host that leaves the writer by siglongjmp() does not turn the sequence's meaning around. */
static void test_a_write_after_one_that_was_left(void **state)
{
    (void)state;
    uint64_t out[WORDS], retries = 0;
    unit_write(3);
    fws_seq_write_begin(&seq, &private_seq);
    fws_publish(&words[0], 99);
    fws_seq_write_begin(&seq, &private_seq); /* the next write of the same owner */
    assert_int_equal(fws_peek(&seq) & 1, 1);
    assert_false(fws_seq_copy(&seq, words, WORDS, out, &retries));
    fws_seq_write_end(&seq, &private_seq);
    unit_write(4);
    assert_true(fws_seq_copy(&seq, words, WORDS, out, &retries));
    assert_int_equal(out[0], 4);
}

static void test_sequence_crosses_overflow(void **state)
{
    (void)state;
    uint64_t out[WORDS], retries = 0;
    private_seq = UINT64_MAX - 1;
    fws_put(&seq, private_seq);
    const uint64_t begun = fws_seq_read_begin(&seq);
    fws_seq_write_begin(&seq, &private_seq);
    assert_int_equal(fws_peek(&seq), UINT64_MAX); /* odd */
    assert_false(fws_seq_copy(&seq, words, WORDS, out, &retries));
    fws_seq_write_end(&seq, &private_seq);
    assert_int_equal(fws_peek(&seq), 0); /* even */
    assert_false(fws_seq_read_end(&seq, begun));
    assert_true(fws_seq_copy(&seq, words, WORDS, out, &retries));
}

/* The writer goes on from its private sequence, whatever somebody wrote over the shared one. */
static void test_scribbled_sequence_heals(void **state)
{
    (void)state;
    uint64_t out[WORDS], retries = 0;
    unit_write(1);
    fws_put(&seq, UINT64_C(0xdeadbeefdeadbeef));
    assert_false(fws_seq_copy(&seq, words, WORDS, out, &retries));
    unit_write(2);
    assert_int_equal(fws_peek(&seq), 4);
    assert_true(fws_seq_copy(&seq, words, WORDS, out, &retries));
    assert_int_equal(out[0], 2);
}

/* ---- two threads ----------------------------------------------------------------------------- */

enum { ACCEPTED_WANTED = 200000, CHANGES_WANTED = 1000 };

static fws_word stop;

static void *writer(void *arg)
{
    (void)arg;
    for (uint64_t value = 1; fws_peek(&stop) == 0; value++) {
        unit_write(value);
        for (int i = 0; i < 200; i++) /* about as long as a copy takes: some are hit, some not */
            (void)fws_peek(&seq);
    }
    return NULL;
}

/* Reads until enough copies were accepted; each must be of one write, and none older than the one
 * before it. */
static void reader_check(void)
{
    pthread_t thread;
    uint64_t out[WORDS], retries = 0, accepted = 0, refused = 0, last = 0, changes = 0;
    fws_put(&stop, 0);
    assert_int_equal(pthread_create(&thread, NULL, writer, NULL), 0);
    while (accepted < ACCEPTED_WANTED || changes < CHANGES_WANTED) {
        if (!fws_seq_copy(&seq, words, WORDS, out, &retries)) {
            refused++;
            continue;
        }
        accepted++;
        for (uint64_t i = 0; i < WORDS; i++)
            assert_int_equal(out[i], out[0] * (i + 1));
        assert_true(out[0] >= last);
        changes += out[0] != last;
        last = out[0];
    }
    fws_put(&stop, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    print_message("%llu accepted of %llu values, %llu retries, %llu left out\n",
                  (unsigned long long)accepted, (unsigned long long)changes,
                  (unsigned long long)retries, (unsigned long long)refused);
    assert_true(fws_seq_copy(&seq, words, WORDS, out, &retries));
}

static void test_two_threads(void **state)
{
    (void)state;
    reader_check();
}

static void test_two_threads_across_overflow(void **state)
{
    (void)state;
    private_seq = UINT64_MAX - 41;
    fws_put(&seq, private_seq);
    reader_check();
    assert_true(private_seq < UINT64_MAX / 2); /* the sequence did pass zero */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sequence_counts_by_two, unit_reset),
        cmocka_unit_test_setup(test_copy_of_a_unit_at_rest, unit_reset),
        cmocka_unit_test_setup(test_copy_gives_up_inside_a_write, unit_reset),
        cmocka_unit_test_setup(test_read_is_refused_when_anything_was_written, unit_reset),
        cmocka_unit_test_setup(test_a_write_after_one_that_was_left, unit_reset),
        cmocka_unit_test_setup(test_sequence_crosses_overflow, unit_reset),
        cmocka_unit_test_setup(test_scribbled_sequence_heals, unit_reset),
        cmocka_unit_test_setup(test_two_threads, unit_reset),
        cmocka_unit_test_setup(test_two_threads_across_overflow, unit_reset),
    };
    return cmocka_run_group_tests_name("seqlock", tests, NULL, NULL);
}
