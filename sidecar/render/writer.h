/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer of a record: at a place with room for the record as long as its text is plain, so that
 * no piece of it asks for room of its own. Every call writes at `at` and returns the place behind:
 * a place in a register, because one in memory would have to be read again after every byte.
 *
 * What is not plain goes through the buffer, which may move; a place to come back to is therefore
 * kept as an offset. When there is no room, the buffer is marked failed and what is written begins
 * again at the record's start: it stays inside the room, and writer_end() drops it. For the files
 * of render only.
 */
#ifndef SIDECAR_RENDER_WRITER_H
#define SIDECAR_RENDER_WRITER_H

#include "escape.h"
#include "json_put.h"
#include "snapshot.h"

/* All of a key of at most three words, of which some are 0 or overlap; of a longer one, what may be
 * another's too. */
struct key_words {
    size_t count; /* bytes */
    uint64_t first, middle, last;
};

/* A key that was written before. */
struct known_key {
    struct key_words words;  /* their count is 0: none */
    struct json_piece piece; /* how it begins an attribute: ,{"key":"name */
};
enum { KNOWN_KEYS = 64 };

struct writer {
    struct buffer *out;
    size_t start, room; /* of the record, in the buffer */
    struct known_key known_keys[KNOWN_KEYS]; /* each at the place that its name gives it */
    /* The last whole second that was written, and its ten digits. */
    uint64_t second_ns;
    char second[JSON_UINT_ROOM];
};

void writer_init(struct writer *writer, struct buffer *out);

/* Begins an element of a list that takes `room` bytes at most as long as its text is plain. NULL,
 * and the buffer has failed, when there is no room. */
char *writer_begin(struct writer *writer, size_t room);
void writer_end(struct writer *writer, const char *at);

static inline size_t writer_offset(const struct writer *writer, const char *at)
{
    return (size_t)(at - writer->out->data);
}

static inline char *write_char(char *at, char byte)
{
    *at = byte;
    return at + 1;
}

/* In quotes, of which the piece before has put the first. */
static inline char *write_id(char *at, const uint8_t *id, size_t count)
{
    return write_char(json_write_hex(at, id, count), '"');
}

/* A time, and the quote behind it. */
char *write_time(struct writer *writer, char *at, uint64_t unix_ns);

char *write_double(struct writer *writer, char *at, double value); /* finite */

/* Escaped, without quotes. */
char *write_special_text(struct writer *writer, char *at, const struct raw_text *text);
static inline char *write_text(struct writer *writer, char *at, const struct raw_text *text)
{
    return escape_copy_plain(at, text->bytes, text->count) ? at + text->count
                                                           : write_special_text(writer, at, text);
}

/* The object whose members, each with a comma in front, were written from `start` on. */
static inline char *close_object(struct writer *writer, size_t start, char *at)
{
    writer->out->data[start] = '{';
    return write_char(at, '}');
}

#endif
