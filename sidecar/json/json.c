/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: each value puts the comma that it needs, which the byte before it tells. */
#include "json.h"

#include "escape.h"
#include "json_put.h"

#include <math.h>

void json_put_separator(struct buffer *out)
{
    if (out->length > 0 && strchr("{[:\n", out->data[out->length - 1]) == NULL) {
        json_put_char(out, ',');
    }
}

void json_object_begin(struct buffer *out)
{
    json_put_separator(out);
    json_put_char(out, '{');
}

void json_object_end(struct buffer *out)
{
    json_put_char(out, '}');
}

void json_array_begin(struct buffer *out)
{
    json_put_separator(out);
    json_put_char(out, '[');
}

void json_array_end(struct buffer *out)
{
    json_put_char(out, ']');
}

void json_key(struct buffer *out, const char *key)
{
    json_put_separator(out);
    json_put_char(out, '"');
    json_put(out, key, strlen(key));
    json_put(out, "\":", 2);
}

/* ---- strings --------------------------------------------------------------------------------- */

/* Nonzero when one of the eight bytes is not plain: outside of 0x20..0x7E, a quote or a backslash.
 */
static uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101U, highs = ones << 7;
    const uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    /* Each difference borrows, and the sum carries, only out of a byte that is special itself. */
    return (word | (word + ones) | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) &
           highs;
}

/* How many bytes at the start are plain. */
static size_t plain_run(const char *bytes, size_t count)
{
    size_t i = 0;
    for (uint64_t word; count - i >= sizeof word; i += sizeof word) {
        memcpy(&word, bytes + i, sizeof word);
        if (special_bytes(word) != 0) {
            break;
        }
    }
    while (i < count && bytes[i] >= 0x20 && bytes[i] < 0x7F && bytes[i] != '"' &&
           bytes[i] != '\\') {
        i++;
    }
    return i;
}

/* Puts the text from its first special byte on. */
static void put_escaped(struct buffer *out, const char *bytes, size_t count)
{
    while (count > 0) {
        char escaped[ESCAPE_BYTES_MAX];
        size_t taken;
        const size_t written = escape_sequence(bytes, count, escaped, &taken);
        json_put(out, escaped, written);
        const size_t run = plain_run(bytes + taken, count - taken);
        json_put(out, bytes + taken, run);
        bytes += taken + run;
        count -= taken + run;
    }
}

void json_put_text(struct buffer *out, const char *bytes, size_t count)
{
    const size_t run = plain_run(bytes, count);
    char *place = json_room(out, run + 2); /* room for the second quote is needed in any case */
    if (place == NULL) {
        return;
    }
    place[0] = '"';
    if (run > 0) {
        memcpy(place + 1, bytes, run);
    }
    out->length += run + 1;
    if (run < count) {
        put_escaped(out, bytes + run, count - run);
    }
    json_put_char(out, '"');
}

void json_string(struct buffer *out, const char *text)
{
    json_bytes_string(out, text, text != NULL ? strlen(text) : 0);
}

void json_bytes_string(struct buffer *out, const char *bytes, size_t count)
{
    json_put_separator(out);
    json_put_text(out, bytes, count);
}

/* ---- numbers and words ----------------------------------------------------------------------- */

void json_uint(struct buffer *out, uint64_t value)
{
    json_put_separator(out);
    json_put_uint(out, value);
}

void json_int(struct buffer *out, int64_t value)
{
    json_put_separator(out);
    json_put_int(out, value);
}

void json_uint_string(struct buffer *out, uint64_t value)
{
    json_put_separator(out);
    json_put_char(out, '"');
    json_put_uint(out, value);
    json_put_char(out, '"');
}

void json_int_string(struct buffer *out, int64_t value)
{
    json_put_separator(out);
    json_put_char(out, '"');
    json_put_int(out, value);
    json_put_char(out, '"');
}

void json_double(struct buffer *out, double value)
{
    if (!isfinite(value)) {
        json_null(out);
        return;
    }
    json_put_separator(out);
    json_put_double(out, value);
}

void json_fixed(struct buffer *out, double value, int digits)
{
    if (!isfinite(value)) {
        json_null(out);
        return;
    }
    json_put_separator(out);
    json_put_fixed(out, value, digits);
}

void json_put_bool(struct buffer *out, bool value)
{
    if (value) {
        json_put(out, "true", 4);
    } else {
        json_put(out, "false", 5);
    }
}

void json_bool(struct buffer *out, bool value)
{
    json_put_separator(out);
    json_put_bool(out, value);
}

void json_null(struct buffer *out)
{
    json_put_separator(out);
    json_put(out, "null", 4);
}

void json_member_string(struct buffer *out, const char *key, const char *text)
{
    json_key(out, key);
    json_string(out, text);
}

void json_member_uint(struct buffer *out, const char *key, uint64_t value)
{
    json_key(out, key);
    json_uint(out, value);
}
