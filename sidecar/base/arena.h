/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: memory that is taken piece by piece and given back all at once. The snapshot and the
 * message trees of a tick live in one each; nothing in them is freed alone.
 */
#ifndef SIDECAR_ARENA_H
#define SIDECAR_ARENA_H

#include <stddef.h>

struct arena;

/* An arena that never holds more than max_bytes in all; NULL when memory is out. */
struct arena *arena_new(size_t max_bytes);

/* `bytes` zeroed bytes, aligned for any type, valid until the next reset; NULL beyond the bound or
 * when memory is out. bytes 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t bytes);

/* The same without zeroing them: for who writes every byte before it is read. */
void *arena_room(struct arena *arena, size_t bytes);

/* Zeroed bytes for count items of item_bytes each, overflow-checked; else as arena_alloc(). */
void *arena_array(struct arena *arena, size_t count, size_t item_bytes);

/* How many bytes it holds, taken or kept; 0 for NULL. */
size_t arena_bytes(const struct arena *arena);

/* Forgets everything that was taken; keeps the memory for the next round. */
void arena_reset(struct arena *arena);

/* Frees the arena and nulls the pointer; NULL is fine. */
void arena_free(struct arena **arena);

#endif
