/* SPDX-License-Identifier: Apache-2.0 */
/* The arena: alignment, zeroes, the bound, and reuse after a reset. */
#include "arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KIB ((size_t)1024)

static void pieces_are_aligned_and_zeroed_and_apart(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024 * KIB);
    assert_non_null(arena);
    for (size_t round = 0; round < 2; round++) { /* the second one meets used memory */
        char *last = NULL;
        for (size_t bytes = 0; bytes < 200; bytes++) {
            char *piece = arena_alloc(arena, bytes);
            assert_non_null(piece);
            assert_ptr_not_equal(piece, last);
            assert_int_equal((uintptr_t)piece % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < bytes; i++) {
                assert_int_equal(piece[i], 0);
            }
            memset(piece, 0xA5, bytes);
            last = arena_room(arena, bytes); /* whatever it holds, it is as much and as aligned */
            assert_non_null(last);
            assert_int_equal((uintptr_t)last % _Alignof(max_align_t), 0);
            memset(last, 0x5A, bytes);
            assert_true(bytes == 0 || piece[bytes - 1] == (char)0xA5);
        }
        arena_reset(arena);
    }
    arena_free(&arena);
    assert_null(arena);
}

static void pieces_keep_their_bytes_while_others_are_taken(void **state)
{
    (void)state;
    enum { PIECES = 300 };
    struct arena *arena = arena_new(4096 * KIB);
    unsigned char *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = arena_alloc(arena, 1 + i * 17);
        assert_non_null(pieces[i]);
        memset(pieces[i], (int)(i & 0xFF), 1 + i * 17);
    }
    for (size_t i = 0; i < PIECES; i++) {
        assert_int_equal(pieces[i][0], i & 0xFF);
        assert_int_equal(pieces[i][i * 17], i & 0xFF);
    }
    arena_free(&arena);
}

/* How many bytes one round can take in pieces of the given size. */
static size_t take_all(struct arena *arena, size_t piece_bytes)
{
    size_t taken = 0;
    while (arena_alloc(arena, piece_bytes) != NULL) {
        taken += piece_bytes;
        assert_true(taken <= 1024 * KIB);
    }
    return taken;
}

static void the_bound_holds_and_a_reset_gives_all_back(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024 * KIB);
    const size_t first = take_all(arena, 1 * KIB);
    assert_true(first > 1000 * KIB);
    assert_null(arena_alloc(arena, 1 * KIB));
    arena_reset(arena);
    assert_int_equal(take_all(arena, 1 * KIB), first);
    arena_free(&arena);
}

static void small_kept_chunks_do_not_stand_in_the_way_of_a_large_piece(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024 * KIB);
    assert_true(take_all(arena, 1 * KIB) > 0);
    arena_reset(arena);
    assert_non_null(arena_alloc(arena, 1000 * KIB));
    assert_null(arena_alloc(arena, 100 * KIB));
    arena_reset(arena);
    assert_non_null(arena_alloc(arena, 1000 * KIB));
    arena_free(&arena);
}

static void an_arena_smaller_than_a_chunk_works(void **state)
{
    (void)state;
    struct arena *arena = arena_new(256);
    assert_non_null(arena_alloc(arena, 64));
    assert_null(arena_alloc(arena, 256));
    arena_free(&arena);
    arena = arena_new(0);
    assert_non_null(arena);
    assert_null(arena_alloc(arena, 0));
    arena_free(&arena);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    struct arena *arena = arena_new(SIZE_MAX);
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX - 8));
    assert_null(arena_array(arena, SIZE_MAX / 2, 3));
    assert_null(arena_array(arena, SIZE_MAX / 8 + 2, 8)); /* the product is 8 */
    assert_non_null(arena_array(arena, 0, 8));
    assert_non_null(arena_array(arena, 8, 0));
    assert_non_null(arena_array(arena, 100, 8));
    arena_free(&arena);
}

static void freeing_nothing_is_fine(void **state)
{
    (void)state;
    struct arena *arena = NULL;
    arena_free(&arena);
    assert_null(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_zeroed_and_apart),
        cmocka_unit_test(pieces_keep_their_bytes_while_others_are_taken),
        cmocka_unit_test(the_bound_holds_and_a_reset_gives_all_back),
        cmocka_unit_test(small_kept_chunks_do_not_stand_in_the_way_of_a_large_piece),
        cmocka_unit_test(an_arena_smaller_than_a_chunk_works),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(freeing_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
