/* SPDX-License-Identifier: Apache-2.0 */
/* A hash index of things that are never taken out again. For the files of model only. */
#ifndef SIDECAR_MODEL_HASH_INDEX_H
#define SIDECAR_MODEL_HASH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_index_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};
struct hash_index {
    struct hash_index_slot *slots; /* open addressing, at most half of them taken */
    size_t capacity;          /* 0 or a power of two */
    size_t used;
};

typedef bool (*hash_index_equal)(const void *item, const void *wanted);

/* The item with that hash for which equal(item, wanted) holds, or NULL. */
void *hash_index_find(const struct hash_index *index, uint64_t hash, hash_index_equal equal, const void *wanted);

/* Adds an item. False when memory is out, or when the hash meets a crowd that only crafted names
 * make: the index is then as before. */
bool hash_index_add(struct hash_index *index, uint64_t hash, void *item);

/* How much memory it holds. */
size_t hash_index_bytes(const struct hash_index *index);

void hash_index_free(struct hash_index *index);

/* A hash that goes on from `hash` (begin with HASH_START) over `count` bytes. */
#define HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count);

#endif
