/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing. Names come from a peer that is not trusted, so a crowd of
 * equal hashes is refused instead of searched.
 */
#include "hash_index.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 64, CROWD_MAX = 256 };

/* FNV-1a; its low bits choose the slot, so they are mixed with the high ones. */
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

void *hash_index_find(const struct hash_index *index, uint64_t hash, hash_index_equal equal,
                      const void *wanted)
{
    if (index->capacity == 0) {
        return NULL;
    }
    /* Ends at a free slot: half of them are free. */
    for (size_t at = hash & (index->capacity - 1); index->slots[at].item != NULL;
         at = (at + 1) & (index->capacity - 1)) {
        if (index->slots[at].hash == hash && equal(index->slots[at].item, wanted)) {
            return index->slots[at].item;
        }
    }
    return NULL;
}

/* The first free slot at or after the hash's own; *passed counts the taken ones before it. */
static struct hash_index_slot *free_slot(const struct hash_index *index, uint64_t hash,
                                         size_t *passed)
{
    size_t at = hash & (index->capacity - 1);
    for (*passed = 0; index->slots[at].item != NULL; (*passed)++) {
        at = (at + 1) & (index->capacity - 1);
    }
    return &index->slots[at];
}

static bool grow(struct hash_index *index)
{
    struct hash_index wider = {.used = index->used};
    wider.capacity = index->capacity == 0 ? CAPACITY_MIN : 2 * index->capacity;
    wider.slots = calloc(wider.capacity, sizeof wider.slots[0]);
    if (wider.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < index->capacity; i++) {
        if (index->slots[i].item != NULL) {
            size_t passed;
            *free_slot(&wider, index->slots[i].hash, &passed) = index->slots[i];
        }
    }
    free(index->slots);
    *index = wider;
    return true;
}

bool hash_index_add(struct hash_index *index, uint64_t hash, void *item)
{
    if (2 * (index->used + 1) > index->capacity && !grow(index)) {
        return false;
    }
    size_t passed;
    struct hash_index_slot *slot = free_slot(index, hash, &passed);
    if (passed > CROWD_MAX) {
        return false;
    }
    *slot = (struct hash_index_slot){.hash = hash, .item = item};
    index->used++;
    return true;
}

size_t hash_index_bytes(const struct hash_index *index)
{
    return index->capacity * sizeof index->slots[0];
}

void hash_index_free(struct hash_index *index)
{
    free(index->slots);
    *index = (struct hash_index){0};
}
