/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A series table from the inside: series, the metrics that they belong to, and the row that is
 * being made. For the files of model, and for render.
 */
#ifndef SIDECAR_MODEL_SERIES_H
#define SIDECAR_MODEL_SERIES_H

#include "model.h"

#include <string.h>

/* Who feeds a series. The first to show one owns it: the same stream from somebody else is dropped,
 * so that its value never jumps between two sources. */
enum series_owner { OWNER_STANDARD, OWNER_INSTRUMENT, OWNER_PIPELINE };

enum sample_state {
    SAMPLE_NONE = 0, /* nothing was said of the series in this row */
    SAMPLE_GOOD,
    SAMPLE_UNSET, /* it has no value: a gauge that had one has ended */
    SAMPLE_STALE, /* its value could not be read whole */
};

/* One value of one series, as a row is made. `series` describes it; its point_* are not read. */
struct sample {
    struct series series;
    enum series_owner owner;
    enum sample_state state;
    const uint64_t *words; /* good: 1, or 1 sum and bound_count + 1 buckets */
};

/* What describes an instrument never changes (snapshot.h), so its series is found once. */
struct series_place {
    const char *name; /* as a key: another pointer is another instrument */
    struct series_node *node;
};

struct series_node {
    struct series series;
    enum series_owner owner;
    size_t index;
    uint64_t row;             /* number of the last row that said something of it */
    struct series_node *next; /* the next series of the same metric */
};

/* Series with the same name, unit and kind of data become one metric with many points. */
struct series_metric {
    struct series_node *first, *last;
};

size_t series_metric_count(const struct series_table *table);
const struct series_metric *series_metric_at(const struct series_table *table, size_t index);

/* The full name of entry `index` of the catalogue in this table. */
const char *series_table_name(const struct series_table *table, size_t index);

/* A row: begin, put every sample, end. Row_end returns NULL when memory is out. */
void series_row_begin(struct series_table *table);
/* Returns the series that took the sample, or NULL. */
struct series_node *series_row_put(struct series_table *table, const struct sample *sample);
/* Puts a sample of a series that took one of the same description before. */
void series_row_put_again(struct series_table *table, struct series_node *node,
                          enum sample_state state, const uint64_t *words);
/* One place for each of `count` instruments of a region, zeroed at first; NULL when memory is out. */
struct series_place *series_table_places(struct series_table *table, size_t count);
struct point_row *series_row_end(struct series_table *table, uint64_t time_unix_ns,
                                 const struct point_row *previous);

/* The words of a series in a row, NULL where it has no good point. */
const uint64_t *series_point(const struct series_node *node, const struct point_row *row);
/* Whether it ended at that row. */
bool series_ended(const struct series_node *node, const struct point_row *row);

bool series_is_gauge(enum series_kind kind);

/* What the word of a point says that is no histogram's. */
struct number {
    bool is_double;
    int64_t integer;
    double real;
};
static inline struct number series_number(enum series_kind kind, uint64_t word)
{
    struct number number = {.integer = (int64_t)word};
    if (kind == SERIES_GAUGE_DOUBLE) {
        number.is_double = true;
        memcpy(&number.real, &word, sizeof number.real);
    } else if ((kind == SERIES_SUM || kind == SERIES_GAUGE_UINT) && word > INT64_MAX) {
        number.is_double = true;
        number.real = (double)word;
    }
    return number;
}

/* What somebody keeps beside a table, for as long as it lives: `drop` is called with it then, and
 * `bytes` tells how much memory it holds. */
struct series_companion {
    void *data; /* NULL: nothing yet */
    void (*drop)(void *data);
    size_t (*bytes)(const void *data);
};
struct series_companion *series_table_companion(const struct series_table *table);

#endif
