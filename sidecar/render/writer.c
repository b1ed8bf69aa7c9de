/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of a record: its life, and what is too rare or too long to be inline. */
#include "writer.h"

#define SECOND UINT64_C(1000000000)

void writer_init(struct writer *writer, struct buffer *out)
{
    *writer = (struct writer){.out = out, .second_ns = 1000000000 * SECOND};
    (void)json_write_uint(writer->second, writer->second_ns / SECOND);
}

/* ---- room ------------------------------------------------------------------------------------ */

char *writer_begin(struct writer *writer, size_t room)
{
    struct buffer *out = writer->out;
    char *at = json_room(out, room);
    writer->start = out->length;
    writer->room = room;
    if (at == NULL) {
        return NULL;
    }
    return out->length > 0 && out->data[out->length - 1] != '[' ? write_char(at, ',') : at;
}

void writer_end(struct writer *writer, const char *at)
{
    writer->out->length = writer->out->failed ? writer->start : writer_offset(writer, at);
}

/* What was written so far is put, so that the buffer can take more. */
static struct buffer *writer_leave(struct writer *writer, const char *at)
{
    writer->out->length = writer_offset(writer, at);
    return writer->out;
}

/* There is again room for all of the record, whatever was put meanwhile. */
static char *writer_return(struct writer *writer)
{
    char *at = json_room(writer->out, writer->room);
    return at != NULL ? at : writer->out->data + writer->start;
}

/* ---- values ---------------------------------------------------------------------------------- */

char *write_special_text(struct writer *writer, char *at, const struct raw_text *text)
{
    json_put_escaped(writer_leave(writer, at), text->bytes, text->count);
    return writer_return(writer);
}

char *write_double(struct writer *writer, char *at, double value)
{
    json_put_double(writer_leave(writer, at), value);
    return writer_return(writer);
}

/* Most times of a document are of a few seconds, of ten digits each. */
static bool choose_second(struct writer *writer, uint64_t unix_ns)
{
    if (unix_ns - writer->second_ns < SECOND) {
        return true;
    }
    const uint64_t seconds = unix_ns / SECOND;
    if (seconds < UINT64_C(1000000000) || seconds >= UINT64_C(10000000000)) {
        return false;
    }
    writer->second_ns = seconds * SECOND;
    (void)json_write_uint(writer->second, seconds);
    return true;
}

char *write_time(struct writer *writer, char *at, uint64_t unix_ns)
{
    if (choose_second(writer, unix_ns)) {
        memcpy(at, writer->second, 16); /* cheaper than its ten */
        at = json_write_nine(at + 10, (uint32_t)(unix_ns - writer->second_ns));
    } else {
        at = json_write_uint(at, unix_ns);
    }
    return write_char(at, '"');
}
