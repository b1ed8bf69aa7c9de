/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena is a list of chunks. Those before `current` and `current` itself hold what was taken in
 * this round; those after it are kept from earlier rounds. A kept chunk that is too small for the
 * piece at hand is given back, so that it never stands in the way of the bound.
 */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES_MIN ((size_t)64 * 1024)
#define ALIGNMENT       _Alignof(max_align_t)

struct chunk {
    struct chunk *next;
    size_t capacity;
    size_t used;
    max_align_t data[];
};

struct arena {
    struct chunk *first;
    struct chunk *current; /* NULL: nothing was taken in this round */
    size_t held;           /* bytes of all chunks with their heads */
    size_t max_bytes;
};

struct arena *arena_new(size_t max_bytes)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (arena != NULL) {
        arena->max_bytes = max_bytes;
    }
    return arena;
}

/* Where the chunk after the current one hangs. */
static struct chunk **next_chunk(struct arena *arena)
{
    return arena->current != NULL ? &arena->current->next : &arena->first;
}

static void chunk_drop(struct arena *arena, struct chunk **chunk)
{
    struct chunk *dropped = *chunk;
    *chunk = dropped->next;
    arena->held -= sizeof *dropped + dropped->capacity;
    free(dropped);
}

/* A new chunk for `bytes` and more, which becomes the current one. Each is as large as all before
 * it, so that their number stays small. */
static struct chunk *chunk_add(struct arena *arena, size_t bytes)
{
    const size_t left = arena->max_bytes - arena->held;
    if (left < sizeof(struct chunk) || bytes > left - sizeof(struct chunk)) {
        return NULL;
    }
    size_t capacity = arena->held > CHUNK_BYTES_MIN ? arena->held : CHUNK_BYTES_MIN;
    if (capacity > left - sizeof(struct chunk)) {
        capacity = left - sizeof(struct chunk);
    }
    if (capacity < bytes) {
        capacity = bytes;
    }
    struct chunk *chunk = malloc(sizeof *chunk + capacity);
    if (chunk == NULL) {
        return NULL;
    }
    struct chunk **place = next_chunk(arena);
    *chunk = (struct chunk){.next = *place, .capacity = capacity};
    *place = chunk;
    arena->held += sizeof *chunk + capacity;
    arena->current = chunk;
    return chunk;
}

/* The current chunk, or the next that has room for `bytes`. */
static struct chunk *chunk_with_room(struct arena *arena, size_t bytes)
{
    struct chunk *current = arena->current;
    if (current != NULL && bytes <= current->capacity - current->used) {
        return current;
    }
    struct chunk **kept = next_chunk(arena);
    while (*kept != NULL && (*kept)->capacity < bytes) {
        chunk_drop(arena, kept);
    }
    if (*kept == NULL) {
        return chunk_add(arena, bytes);
    }
    arena->current = *kept;
    arena->current->used = 0;
    return arena->current;
}

void *arena_room(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - ALIGNMENT) {
        return NULL;
    }
    /* Never empty, so that no two pieces share a place; whole units, so that the next is aligned.
     */
    const size_t taken = bytes == 0 ? ALIGNMENT : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct chunk *chunk = chunk_with_room(arena, taken);
    if (chunk == NULL) {
        return NULL;
    }
    void *piece = (char *)chunk->data + chunk->used;
    chunk->used += taken;
    return piece;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    void *piece = arena_room(arena, bytes);
    return piece != NULL ? memset(piece, 0, bytes) : NULL;
}

void *arena_array(struct arena *arena, size_t count, size_t item_bytes)
{
    if (item_bytes != 0 && count > SIZE_MAX / item_bytes) {
        return NULL;
    }
    return arena_alloc(arena, count * item_bytes);
}

size_t arena_bytes(const struct arena *arena)
{
    return arena != NULL ? arena->held : 0;
}

void arena_reset(struct arena *arena)
{
    arena->current = NULL;
}

void arena_free(struct arena **arena)
{
    if (*arena == NULL) {
        return;
    }
    while ((*arena)->first != NULL) {
        chunk_drop(*arena, &(*arena)->first);
    }
    free(*arena);
    *arena = NULL;
}
