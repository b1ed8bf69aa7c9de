/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building message trees in an arena. A call that finds the arena full marks the build and gives
 * NULL or false; the document is then given up as a whole. Text and arrays are pointed to, never
 * copied: messages are read by the encoder only. For the files of model only.
 */
#ifndef SIDECAR_MODEL_BUILD_H
#define SIDECAR_MODEL_BUILD_H

#include "otlp.h"

struct build {
    struct arena *arena;
    bool full;
};

void *build_array(struct build *build, size_t count, size_t item_bytes);

/* One message at its defaults. */
void *build_message(struct build *build, const ProtobufCMessageDescriptor *descriptor);

Scope *build_scope(struct build *build, const char *name);

/* An id of `count` bytes, copied; an id of zeros leaves *out empty. */
bool build_id(struct build *build, const uint8_t *id, size_t count, ProtobufCBinaryData *out);
bool id_is_zero(const uint8_t *id, size_t count);

/* Room in which a record is decoded at most; marks the build full when the arena has less. Tells a
 * record that is none from an arena that is full, after a decoder said no. */
void build_check_decode_room(struct build *build, const struct record *record);

/* Attributes as they go out: keys unique and not empty, the first of a key wins. A double that is
 * not finite goes out as text, because OTLP's JSON has no number for it. */
struct key_values {
    KeyValue **items;
    size_t count, capacity;
    uint32_t left_out;
};
bool key_values_begin(struct build *build, struct key_values *list, size_t capacity);
bool key_values_add(struct build *build, struct key_values *list,
                    const struct attribute *attributes, size_t count);
bool key_values_add_text(struct build *build, struct key_values *list, const char *key,
                         const char *text);
bool key_values_add_uint(struct build *build, struct key_values *list, const char *key,
                         uint64_t value); /* saturates at INT64_MAX */

/* dropped + left_out, saturated. */
uint32_t key_values_dropped(const struct key_values *list, unsigned dropped);

/* The resource of a part. */
Resource *build_resource(struct build *build, const struct resource_view *view);

#endif
