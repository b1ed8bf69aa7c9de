/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log line is made on the stack and leaves in a single write(2) of less than PIPE_BUF bytes, so
 * that lines of several threads never mix, not even in a pipe. A line that cannot be written is
 * lost: there is nowhere to say so.
 */
#include "log.h"

#include "escape.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2000
#define END_BYTES_MAX  3 /* of "}\n */

static const char *const LEVEL_NAMES[] = {
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARN] = "warning",
    [LOG_LEVEL_ERROR] = "error",
};

/* What stands before the message. Both forms are far shorter than a line. */
static size_t line_begin(char line[LINE_BYTES_MAX], enum log_level level, bool terminal)
{
    if (terminal) {
        return (size_t)snprintf(line, LINE_BYTES_MAX, "fwdscope: %s: ", LEVEL_NAMES[level]);
    }
    struct timespec now;
    struct tm utc;
    char second[sizeof "2000-01-01T00:00:00"];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &utc);
    return (size_t)snprintf(line, LINE_BYTES_MAX,
                            "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"message\":\"", second,
                            now.tv_nsec / 1000000, LEVEL_NAMES[level]);
}

/* Appends text[0..count) escaped, as far as the line has room, whole sequences only. */
static size_t line_message(char line[LINE_BYTES_MAX], size_t length, const char *text, size_t count,
                           bool terminal)
{
    for (size_t i = 0, taken; i < count; i += taken) {
        char escaped[ESCAPE_BYTES_MAX];
        size_t written = escape_sequence(text + i, count - i, escaped, &taken);
        if (terminal && (text[i] == '"' || text[i] == '\\')) {
            escaped[0] = text[i]; /* harmless there, and easier to read */
            written = 1;
        }
        if (written > LINE_BYTES_MAX - END_BYTES_MAX - length) {
            break;
        }
        memcpy(line + length, escaped, written);
        length += written;
    }
    return length;
}

static size_t line_end(char line[LINE_BYTES_MAX], size_t length, bool terminal)
{
    const char *end = terminal ? "\n" : "\"}\n";
    memcpy(line + length, end, strlen(end));
    return length + strlen(end);
}

void log_line(enum log_level level, const char *format, ...)
{
    const int error = errno; /* a message about a failure leaves its reason alone */
    char text[LINE_BYTES_MAX], line[LINE_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    const int formatted = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (formatted < 0) {
        text[0] = '\0';
    }
    const bool terminal = isatty(STDERR_FILENO) == 1;
    size_t length = line_begin(line, level, terminal);
    length = line_message(line, length, text, strlen(text), terminal);
    length = line_end(line, length, terminal);
    const ssize_t written = write(STDERR_FILENO, line, length);
    (void)written;
    errno = error;
}
