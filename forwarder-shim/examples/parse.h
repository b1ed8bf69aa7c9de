/* SPDX-License-Identifier: Apache-2.0 */
/* What a line says: timestamp, level and message, or a JSON object. */
#ifndef EXAMPLE_PARSE_H
#define EXAMPLE_PARSE_H

#include <stdbool.h>
#include <stddef.h>

/* A part of the line; absent when `bytes` is 0. */
struct part {
    const char *at;
    size_t bytes;
};

struct record {
    struct part timestamp; /* as it stands in the line */
    struct part level;
    struct part message; /* what follows timestamp and level */
    bool is_json;
};

/* Takes a line apart; the parts point into it. Timestamps: 2024-01-31 10:11:12 (dpkg), the same
 * with T, fraction and zone (ISO 8601), Jan 31 10:11:12 (syslog). False: the line begins with {
 * and is no JSON object; it then counts as a text. */
bool parse_line(const char *line, size_t bytes, struct record *record);

#endif
