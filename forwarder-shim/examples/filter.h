/* SPDX-License-Identifier: Apache-2.0 */
/* Which lines pass: those that match `include` and do not match `exclude`. */
#ifndef EXAMPLE_FILTER_H
#define EXAMPLE_FILTER_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

/* One thread uses a filter: matching the same regex from several makes them wait for each other. */
struct filter {
    bool has_include;
    bool has_exclude;
    regex_t include;
    regex_t exclude;
};

/* Either expression may be NULL. Both are known to compile (config_load() checks); false when
 * memory is out. */
bool filter_open(struct filter *filter, const char *include, const char *exclude);
/* The byte behind the line is a NUL. */
bool filter_passes(const struct filter *filter, const char *line, size_t bytes);
void filter_close(struct filter *filter);

#endif
