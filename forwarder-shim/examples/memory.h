/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that ends the forwarder, with a message, when memory is out. */
#ifndef EXAMPLE_MEMORY_H
#define EXAMPLE_MEMORY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *memory_check(void *memory)
{
    if (memory == NULL) {
        fputs("fwdscope-example-forwarder: error: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static inline void *memory_zeroed(size_t count, size_t size)
{
    return memory_check(calloc(count, size));
}

static inline char *memory_copy(const char *string)
{
    return memory_check(strdup(string));
}

/* Makes room for `needed` items of `size` bytes; *room is what there is, in items. */
static inline void *memory_grow(void *memory, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room)
        return memory;
    *room = needed + needed / 2 + 16;
    return memory_check(realloc(memory, *room * size));
}

#endif
