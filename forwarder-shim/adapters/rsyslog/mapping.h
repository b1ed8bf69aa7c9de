/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a sample of impstats to the pipeline that fwdscope shows:
 *
 *   input     what has a counter `submitted`; what came in besides is one more input, "other
 *             inputs"; the main queue and those of rulesets are inputs that count no lines but have
 *             a depth
 *   transform the rulesets: lines taken out of those queues
 *   output    an action, with its queue if it has one
 *
 * An action delivered what left its queue (without one: what it was handed), less what failed, was
 * discarded, or fell to it while it was suspended; and where its transport counts bytes, only as
 * far as bytes went out. So a destination that is dead shows as lines that stand still before a
 * queue that does not, whatever rsyslog's own counters of failures say.
 */
#ifndef RSYSLOG_MAPPING_H
#define RSYSLOG_MAPPING_H

#include "impstats.h"
#include "modes.h"

struct mapping {
    const struct options *options;
    fwdscope_pipeline pipeline;
    fwdscope_component rulesets, others;
    bool has_others;
    uint64_t taken, uncounted; /* as published: never fall */
};

/* Registers the pipeline, for a new life. */
void mapping_begin(struct mapping *mapping, const struct options *options);

/* Publishes a whole sample and gives a heartbeat. */
void mapping_apply(struct mapping *mapping, struct stat_table *table);

#endif
