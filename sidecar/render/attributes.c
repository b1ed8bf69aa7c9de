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
    list->known = 0;
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

enum { WORD = sizeof(uint64_t) };

static uint64_t word_at(const struct raw_text *key, size_t at)
{
    uint64_t word;
    memcpy(&word, key->bytes + at, sizeof word);
    return word;
}

/* Its first word as it stands in the record; not as it was just written, which would take a wait.
 */
static uint64_t plain_mark(const struct raw_text *key)
{
    const uint64_t mark = key->count > 0 ? word_at(key, 0) : 0; /* a record has whole words */
    return key->count < WORD ? mark & ((UINT64_C(1) << 8 * key->count) - 1) : mark;
}

static struct key_words words_of(const struct raw_text *key)
{
    return (struct key_words){
        .count = key->count,
        .first = plain_mark(key),
        .middle = key->count > 2 * WORD ? word_at(key, WORD) : 0,
        .last = key->count > WORD ? word_at(key, key->count - WORD) : 0,
    };
}

/* The place that a key has among the known ones; others may have the same. */
static size_t place_of(const struct key_words *words)
{
    _Static_assert(KNOWN_KEYS == 64, "six bits");
    return (words->first + words->last + words->count) * UINT64_C(0x9e3779b97f4a7c15) >> 58;
}

static bool is_known(const struct known_key *known, const struct key_words *words)
{
    return words->count > 0 && known->words.count == words->count &&
           known->words.first == words->first && known->words.middle == words->middle &&
           known->words.last == words->last;
}

/* Keeps a key that was written as it stands in the record, if its words are all of it and its place
 * is free. */
static void keep_key(struct known_key *known, const struct json_piece *before,
                     const struct raw_text *key, const struct key_words *words)
{
    if (known->words.count == 0 && key->count <= 3 * WORD &&
        key->count <= sizeof before->text - before->bytes) {
        known->words = *words;
        known->piece = *before;
        memcpy(known->piece.text + before->bytes, key->bytes, key->count);
        known->piece.bytes += key->count;
    }
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

/* A key that is not known yet, or never is: another has its place, it is long or not plain. NULL:
 * it is in the list already. */
static char *write_new_key(struct writer *writer, char *at, struct attributes *list,
                           const struct raw_text *key, const struct key_words *words, size_t place)
{
    struct known_key *known = &writer->known_keys[place];
    uint64_t mark = 0; /* as no plain key's */
    at = json_write_piece(at, &list->keys->attribute);
    const size_t start = writer_offset(writer, at);
    if (escape_copy_plain(at, key->bytes, key->count)) {
        mark = words->first;
        at += key->count;
        keep_key(known, &list->keys->attribute, key, words);
        if (is_known(known, words)) {
            list->known |= UINT64_C(1) << place;
            return at;
        }
    } else {
        at = write_special_text(writer, at, key);
    }
    if (!writer->out->failed &&
        !note_key(list, writer->out->data, mark, start, writer_offset(writer, at) - start)) {
        return NULL;
    }
    return at;
}

/* The key with what begins an attribute. NULL: it is in the list already. */
static char *write_key(struct writer *writer, char *at, struct attributes *list,
                       const struct raw_text *key)
{
    const struct key_words words = words_of(key);
    const size_t place = place_of(&words);
    const struct known_key *known = &writer->known_keys[place];
    if (!is_known(known, &words)) {
        return write_new_key(writer, at, list, key, &words, place);
    }
    if ((list->known >> place & 1) != 0) {
        return NULL;
    }
    list->known |= UINT64_C(1) << place;
    return json_write_piece(at, &known->piece);
}

char *attributes_add(struct writer *writer, char *at, struct attributes *list,
                     const struct raw_attribute *attribute)
{
    const size_t start = writer_offset(writer, at);
    at = write_key(writer, at, list, &attribute->key);
    if (at == NULL) {
        list->left_out++;
        return writer->out->data + start;
    }
    if (writer->out->failed) { /* what is written now is dropped */
        return at;
    }
    at = write_value(writer, at, list->keys->values, attribute);
    memcpy(at, "}}", 2);
    return at + 2;
}
