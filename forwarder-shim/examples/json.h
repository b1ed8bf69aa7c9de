/* SPDX-License-Identifier: Apache-2.0 */
/* The little JSON that the forwarder needs: strings out, objects checked. */
#ifndef EXAMPLE_JSON_H
#define EXAMPLE_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* A text that grows. All zero is empty; json_free() releases it. */
struct json {
    char *bytes;
    size_t used;
    size_t room;
};

void json_add(struct json *json, const char *bytes, size_t count);
/* Adds a string with its quotes: valid JSON whatever the bytes are. A byte that is not UTF-8
 * becomes U+FFFD. */
void json_add_string(struct json *json, const char *bytes, size_t count);
void json_free(struct json *json);

/* Whether the bytes are one JSON object in UTF-8, nested at most 64 deep. */
bool json_is_object(const char *bytes, size_t count);

#endif
