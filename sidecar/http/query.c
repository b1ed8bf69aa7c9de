/* SPDX-License-Identifier: Apache-2.0 */
/* Queries, taken apart in place. */
#include "query.h"

#include <string.h>

enum { BACKLOG_ABSENT = -1, BACKLOG_GARBAGE = -2, BACKLOG_SECONDS_MAX = 3600 };

bool query_find(const char *query, const char *name, const char **value, size_t *bytes)
{
    const size_t name_bytes = strlen(name);
    while (query != NULL && *query != '\0') {
        const size_t pair = strcspn(query, "&");
        if (pair > name_bytes && query[name_bytes] == '=' && memcmp(query, name, name_bytes) == 0) {
            *value = query + name_bytes + 1;
            *bytes = pair - name_bytes - 1;
            return true;
        }
        query += pair;
        query += strspn(query, "&");
    }
    return false;
}

long query_backlog_seconds(const char *query)
{
    const char *value;
    size_t bytes;
    if (!query_find(query, "backlog", &value, &bytes)) {
        return BACKLOG_ABSENT;
    }
    long seconds = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return BACKLOG_GARBAGE;
        }
        seconds = seconds * 10 + (value[i] - '0');
        if (seconds > BACKLOG_SECONDS_MAX) {
            return BACKLOG_GARBAGE;
        }
    }
    return bytes > 0 ? seconds : BACKLOG_GARBAGE;
}
