/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values without the commas of the writer, for those who write many texts of one shape. What is put
 * goes to the end of a buffer and reserves exactly the bytes that it takes, so that a document fits
 * whenever its length does. What is written goes to a place that has room, and the place behind it
 * is returned.
 */
#ifndef SIDECAR_JSON_PUT_H
#define SIDECAR_JSON_PUT_H

#include "buffer.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* As buffer_reserve(); inline, since nearly every call finds room. */
static inline char *json_room(struct buffer *out, size_t bytes)
{
    /* A failed buffer takes no more, even where it has room. */
    if (!out->failed && bytes <= out->capacity - out->length && out->data != NULL) {
        return out->data + out->length;
    }
    return buffer_reserve(out, bytes);
}

static inline void json_put(struct buffer *out, const char *bytes, size_t count)
{
    if (count == 0) {
        return; /* bytes may be NULL */
    }
    char *place = json_room(out, count);
    if (place != NULL) {
        memcpy(place, bytes, count);
        out->length += count;
    }
}

static inline void json_put_char(struct buffer *out, char byte)
{
    json_put(out, &byte, 1);
}

/* json_number.c */
void json_put_uint(struct buffer *out, uint64_t value);
void json_put_int(struct buffer *out, int64_t value);
void json_put_double(struct buffer *out, double value);            /* finite */
void json_put_fixed(struct buffer *out, double value, int digits); /* finite */

/* json.c */
/* A comma, unless what follows is the first thing of its document, object, array or line. */
void json_put_separator(struct buffer *out);
/* Escaped and in quotes. */
void json_put_text(struct buffer *out, const char *bytes, size_t count);
/* Escaped. */
void json_put_escaped(struct buffer *out, const char *bytes, size_t count);
void json_put_bool(struct buffer *out, bool value);

/* ---- written, not put ------------------------------------------------------------------------ */

/* json_number.c: digits are written eight at once, which needs some room beyond them. */
enum { JSON_UINT_ROOM = 24, JSON_INT_ROOM = 25 };
char *json_write_uint(char *at, uint64_t value);
char *json_write_int(char *at, int64_t value);
/* Nine digits, leading zeros included, of a value below 10^9. */
char *json_write_nine(char *at, uint32_t value);

/* For json_write_hex(). */
typedef uint64_t json_halves __attribute__((vector_size(16)));
typedef int8_t json_nibbles __attribute__((vector_size(16)));

/* Four bytes, the first of which is the lowest, as the low bytes of four pairs. */
static inline uint64_t json_spread(const uint8_t *bytes)
{
    uint32_t four;
    memcpy(&four, bytes, sizeof four);
    const uint64_t pairs = (four | (uint64_t)four << 16) & 0x0000FFFF0000FFFFU;
    return (pairs | pairs << 8) & 0x00FF00FF00FF00FFU;
}

/* Bytes as lower-case hex; count is a multiple of eight. */
static inline char *json_write_hex(char *at, const uint8_t *bytes, size_t count)
{
    const uint64_t low = 0x000F000F000F000FU;
    for (size_t i = 0; i < count; i += 8) {
        const json_halves pairs = {json_spread(bytes + i), json_spread(bytes + i + 4)};
        const json_nibbles nibbles = (json_nibbles)((pairs >> 4 & low) | (pairs & low) << 8);
        const json_nibbles text = nibbles + '0' + ((nibbles > 9) & ('a' - '0' - 10));
        memcpy(at + 2 * i, &text, sizeof text);
    }
    return at + 2 * count;
}

/* A short text that is copied whole, which is cheaper than measured. */
struct json_piece {
    char text[32];
    size_t bytes;
};

/* Takes sizeof piece->text bytes of room, of which the first piece->bytes count. */
static inline char *json_write_piece(char *at, const struct json_piece *piece)
{
    memcpy(at, piece->text, sizeof piece->text);
    return at + piece->bytes;
}

/* json_plan.c */
/* What stands before the value of a field that is not repeated, a comma first: ,"jsonName": and the
 * quote of a value that has one. False when memory is out, or for a name too long. */
bool json_piece_of(struct json_piece *piece, const ProtobufCMessageDescriptor *descriptor,
                   const char *field);

#endif
