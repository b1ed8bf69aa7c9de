/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of attributes as struct key_values of the model makes them: the first of a key wins, a
 * double that is not finite is text. For the files of render only.
 */
#ifndef SIDECAR_RENDER_ATTRIBUTES_H
#define SIDECAR_RENDER_ATTRIBUTES_H

#include "keys.h"
#include "writer.h"

/* What an attribute takes beside its text, at most. */
enum { ATTRIBUTE_BYTES_MAX = 128 };
/* A record's own and one of ours. */
enum { ATTRIBUTES_MAX = RAW_ATTRIBUTES_MAX + 1 };

struct attributes {
    const struct keys *keys;
    size_t start; /* in the buffer */
    uint64_t known; /* a bit for each of the writer's known keys: written in this list */
    size_t count;   /* of the other keys */
    uint64_t marks[ATTRIBUTES_MAX]; /* of the keys: equal for equal ones */
    struct {
        size_t at, bytes;
    } written[ATTRIBUTES_MAX]; /* the keys as they stand in the buffer, escaped */
    unsigned left_out;
};

/* A list has at least one. */
char *attributes_begin(struct writer *writer, char *at, const struct keys *keys,
                       const struct json_piece *key, struct attributes *list);
char *attributes_add(struct writer *writer, char *at, struct attributes *list,
                     const struct raw_attribute *attribute);
char *attributes_end(struct writer *writer, char *at, const struct attributes *list);

#endif
