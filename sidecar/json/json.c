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

void json_put_escaped(struct buffer *out, const char *bytes, size_t count)
{
    for (size_t i = 0, taken; i < count; i += taken) {
        taken = escape_plain_run(bytes + i, count - i);
        json_put(out, bytes + i, taken);
        if (i + taken < count) {
            char escaped[ESCAPE_BYTES_MAX];
            size_t sequence;
            const size_t written =
                escape_sequence(bytes + i + taken, count - i - taken, escaped, &sequence);
            json_put(out, escaped, written);
            taken += sequence;
        }
    }
}

void json_put_text(struct buffer *out, const char *bytes, size_t count)
{
    char *place = json_room(out, count + 2); /* what is escaped takes no less */
    if (place == NULL) {
        return;
    }
    place[0] = '"';
    out->length++;
    if (escape_copy_plain(place + 1, bytes, count)) {
        out->length += count;
    } else {
        json_put_escaped(out, bytes, count);
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
