/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plates: what never changes of a table's metrics and points, as JSON, in one run of bytes. They
 * are made when a series is rendered for the first time and live as long as its table, in which
 * nothing ever changes: a plate cannot grow old. For the files of render only.
 *
 * A series takes as much as its attributes do in a document (some 180 bytes for three), a metric
 * as much as its name, unit and description; 12 bytes of an index each; 32 MiB a table at most.
 * What has no plate, for want of memory, is encoded each time.
 */
#ifndef SIDECAR_RENDER_PLATES_H
#define SIDECAR_RENDER_PLATES_H

#include "build.h"

#include "buffer.h"

struct plate {
    uint32_t at, bytes, end_bytes; /* bytes 0: there is none */
};

struct plates {
    struct buffer text;
    /* What stands behind the value of a number, the quote of an integer first:
     * ","attributes":[...]} and of a histogram the same. */
    struct plate *series; /* by index in the table */
    size_t series_count;
    /* What stands before the points of a metric, a comma first, and then what stands behind. */
    struct plate *metrics; /* by index in the table */
    size_t metric_count;
};

/* The plates of a table, those of its new series included. NULL when memory is out. */
const struct plates *plates_of(const struct series_table *table, struct build *build);

#endif
