/* SPDX-License-Identifier: Apache-2.0 */
/* Lines from a pipe. */
#include "lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Hands out the whole lines of the buffer and keeps the rest. */
static void hand_out(struct lines *lines, lines_handler handler, void *context)
{
    size_t at = 0;
    char *newline;
    while ((newline = memchr(lines->bytes + at, '\n', lines->used - at)) != NULL) {
        char *line = lines->bytes + at;
        *newline = '\0';
        if (!lines->skipping)
            handler(context, line, (size_t)(newline - line));
        lines->skipping = false;
        at = (size_t)(newline - lines->bytes) + 1;
    }
    memmove(lines->bytes, lines->bytes + at, lines->used - at);
    lines->used -= at;
}

bool lines_read(struct lines *lines, lines_handler handler, void *context)
{
    if (lines->used == sizeof lines->bytes) {
        lines->bytes[sizeof lines->bytes - 1] = '\0';
        if (!lines->skipping)
            handler(context, lines->bytes, sizeof lines->bytes - 1);
        lines->skipping = true;
        lines->used = 0;
    }
    const ssize_t n =
        read(lines->fd, lines->bytes + lines->used, sizeof lines->bytes - lines->used);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return false;
    lines->used += (size_t)n;
    hand_out(lines, handler, context);
    return true;
}
