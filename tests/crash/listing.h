/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a directory of regions that holds one instance. */
#ifndef TESTS_CRASH_LISTING_H
#define TESTS_CRASH_LISTING_H

#include <stdint.h>

struct listing {
    unsigned regions;    /* files under their final name */
    unsigned filling;    /* files under their temporary name that take memory */
    unsigned begun;      /* the same, still empty */
    uint64_t generation; /* of the newest region; 0: none */
    char newest[512];    /* path of that region, else of a file that is being filled; "": none */
};

/* Ends the test when the directory cannot be read. */
struct listing listing_read(const char *dir);

/* Removes every file of the directory. */
void listing_clear(const char *dir);

#endif
