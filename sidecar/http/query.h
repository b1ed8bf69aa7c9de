/* SPDX-License-Identifier: Apache-2.0 */
/* The query part of a request target. Pure. */
#ifndef SIDECAR_QUERY_H
#define SIDECAR_QUERY_H

#include <stdbool.h>
#include <stddef.h>

/* Finds NAME=VALUE, the first of that name, in a query without its '?'; query may be NULL. The
 * value is as written, percent signs and all. False when there is none. */
bool query_find(const char *query, const char *name, const char **value, size_t *bytes);

/* The backlog that a client asks for: -1 when it does not ask, else 0..3600 seconds; -2 for what
 * is no such number. */
long query_backlog_seconds(const char *query);

#endif
