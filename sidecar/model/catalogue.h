/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: the standard metrics as data. For the files of model only. */
#ifndef SIDECAR_MODEL_CATALOGUE_H
#define SIDECAR_MODEL_CATALOGUE_H

#include "model.h"

/* Where a value comes from, and with it the attributes of its series. */
enum metric_source {
    SOURCE_UPTIME,  /* the age of the life; no attribute */
    SOURCE_PROCESS, /* struct process_figures; no attribute */
    SOURCE_INPUTS,  /* sum over the inputs of a pipeline; attribute pipeline */
    SOURCE_OUTPUTS, /* sum over its outputs; attribute pipeline */
    SOURCE_BATCHES, /* its batch accounting; attribute pipeline, and stage where one is named */
    SOURCE_QUEUE,   /* a component's queue; attributes pipeline, component, role */
    SOURCE_SELF,    /* struct self_figures; no attribute */
};

struct catalogue_metric {
    const char *name; /* begins with a dot: what follows the metric prefix */
    enum metric_source source;
    size_t field; /* COUNT_x, BATCH_x, or the offset of a uint64_t in the source's struct */
    enum series_kind kind;
    const char *unit, *description;
    const char *stage; /* attribute stage, or NULL */
};

extern const struct catalogue_metric catalogue[];
extern const size_t catalogue_count;

#endif
