/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys are compared as they are written: repair makes some alike that differ in the record, and
 * escaping keeps different ones different.
 */
#include "attributes.h"

#include "build.h"

#include <math.h>

char *attributes_begin(struct writer *writer, char *at, const struct keys *keys,
                       const struct json_piece *key, struct attributes *list)
{
    at = json_write_piece(at, key);
    list->keys = keys;
    list->start = writer_offset(writer, at);
    list->count = list->left_out = 0;
    return at;
}

/* Each was written with a comma in front; the first becomes the bracket. */
char *attributes_end(struct writer *writer, char *at, const struct attributes *list)
{
    writer->out->data[list->start] = '[';
    return write_char(at, ']');
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Its first word as it stands in the record; not as it was just written, which would take a wait.
 */
static uint64_t plain_mark(const struct raw_text *key)
{
    uint64_t mark;
    memcpy(&mark, key->bytes, sizeof mark);
    return key->count < sizeof mark ? mark & ((UINT64_C(1) << 8 * key->count) - 1) : mark;
}

static char *write_key(struct writer *writer, char *at, const struct raw_text *key, uint64_t *mark)
{
    if (escape_copy_plain(at, key->bytes, key->count)) {
        *mark = plain_mark(key);
        return at + key->count;
    }
    *mark = 0; /* as no plain key's */
    return write_special_text(writer, at, key);
}

/* Whether the key is new to the list, which then has it. */
static bool note_key(struct attributes *list, const char *data, uint64_t mark, size_t at,
                     size_t bytes)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->marks[i] == mark && list->written[i].bytes == bytes &&
            memcmp(data + list->written[i].at, data + at, bytes) == 0) {
            return false;
        }
    }
    list->marks[list->count] = mark;
    list->written[list->count].at = at;
    list->written[list->count++].bytes = bytes;
    return true;
}

/* ---- values ---------------------------------------------------------------------------------- */

static double double_of(uint64_t word)
{
    double real;
    memcpy(&real, &word, sizeof real);
    return real;
}

static char *write_string(struct writer *writer, char *at, const struct json_piece *before,
                          const struct raw_text *text)
{
    return write_char(write_text(writer, json_write_piece(at, before), text), '"');
}

static char *write_real(struct writer *writer, char *at, const struct json_piece *values,
                        double real)
{
    if (isfinite(real)) {
        return write_double(writer, json_write_piece(at, &values[SHAPE_DOUBLE]), real);
    }
    const char *text = attribute_text(real);
    return write_string(writer, at, &values[SHAPE_STRING], &(struct raw_text){text, strlen(text)});
}

static char *write_bool(char *at, const struct json_piece *before, bool value)
{
    at = json_write_piece(at, before);
    memcpy(at, value ? "true " : "false", 5);
    return at + (value ? 4 : 5);
}

/* What stands between key and value, the value, and the quote behind it where there is one. */
static char *write_value(struct writer *writer, char *at, const struct json_piece *values,
                         const struct raw_attribute *attribute)
{
    const uint64_t *value = attribute->value;
    switch (attribute->type) {
    case ATTRIBUTE_STRING:
        break;
    case ATTRIBUTE_INT:
        at = json_write_int(json_write_piece(at, &values[SHAPE_INT]), (int64_t)value[0]);
        return write_char(at, '"');
    case ATTRIBUTE_DOUBLE:
        return write_real(writer, at, values, double_of(value[0]));
    case ATTRIBUTE_BOOL:
        return write_bool(at, &values[SHAPE_BOOL], value[0] != 0);
    }
    return write_string(writer, at, &values[SHAPE_STRING],
                        &(struct raw_text){(const char *)value, attribute->value_bytes});
}

char *attributes_add(struct writer *writer, char *at, struct attributes *list,
                     const struct raw_attribute *attribute)
{
    const size_t start = writer_offset(writer, at);
    uint64_t mark;
    at = json_write_piece(at, &list->keys->attribute);
    const size_t key = writer_offset(writer, at);
    at = write_key(writer, at, &attribute->key, &mark);
    if (writer->out->failed) { /* what is written now is dropped */
        return at;
    }
    if (!note_key(list, writer->out->data, mark, key, writer_offset(writer, at) - key)) {
        list->left_out++;
        return writer->out->data + start;
    }
    at = write_value(writer, at, list->keys->values, attribute);
    memcpy(at, "}}", 2);
    return at + 2;
}
