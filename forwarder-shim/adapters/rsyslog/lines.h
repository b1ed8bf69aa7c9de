/* SPDX-License-Identifier: Apache-2.0 */
/* Lines from a pipe: what rsyslog writes to a program's standard input. */
#ifndef RSYSLOG_LINES_H
#define RSYSLOG_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { LINES_BYTES = 256 << 10 }; /* with the NUL; of a longer line the rest is left out */

struct lines {
    int fd;
    size_t used;
    bool skipping; /* behind the part of a line that was handed out */
    char bytes[LINES_BYTES];
};

/* Called once with each line: text[0..bytes) without its newline, in whose place text[bytes] is NUL.
 * The handler may change all of these. A line of LINES_BYTES - 1 was cut. */
typedef void (*lines_handler)(void *context, char *text, size_t bytes);

/* One read() and the lines that it completes. False: the other end is closed, or read failed. Blocks
 * only when there is nothing to read. */
bool lines_read(struct lines *lines, lines_handler handler, void *context);

#endif
