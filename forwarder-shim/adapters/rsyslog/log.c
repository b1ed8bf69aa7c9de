/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `log`: rsyslog's own messages, one a line as `SECONDS.FRACTION SEVERITY TAG MESSAGE`, to the
 * `stats` process. Reading never waits for that process.
 */
#include "client.h"
#include "lines.h"
#include "modes.h"
#include "subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAST_WORDS_MS = 500 };

/* `SECONDS[.FRACTION]` as nanoseconds; 0 when it is no time. Moves *at behind it. */
static uint64_t time_read(const char **at)
{
    char *end;
    const unsigned long long seconds = strtoull(*at, &end, 10);
    uint64_t fraction = 0, unit = UINT64_C(100000000);
    if (end == *at || seconds > UINT64_MAX / UINT64_C(1000000000) - 1)
        return 0;
    if (*end == '.') {
        for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
            fraction += (uint64_t)(*end - '0') * unit;
    }
    *at = end;
    return seconds * UINT64_C(1000000000) + fraction;
}

/* The text up to the next blank into out[0..cap), cut if need be; moves *at behind the blanks. */
static void word_read(const char **at, char *out, size_t cap)
{
    const size_t bytes = strcspn(*at, " "), kept = bytes < cap - 1 ? bytes : cap - 1;
    memcpy(out, *at, kept);
    out[kept] = '\0';
    *at += bytes;
    *at += strspn(*at, " ");
}

/* A line that is not of the template is passed on whole, as it is. */
static void record_fill(struct wire_record *record, const char *line, size_t bytes)
{
    const char *at = line;
    char severity[8];
    record->kind = WIRE_LOG;
    record->time_unix_ns = time_read(&at);
    at += strspn(at, " ");
    word_read(&at, severity, sizeof severity);
    word_read(&at, record->name, sizeof record->name);
    record->severity = 6;
    if (record->time_unix_ns != 0 && severity[0] >= '0' && severity[0] <= '7' &&
        severity[1] == '\0') {
        record->severity = (uint32_t)(severity[0] - '0');
    } else {
        record->name[0] = '\0';
        record->time_unix_ns = 0;
        at = line;
    }
    const size_t left = bytes - (size_t)(at - line);
    record->text_original_bytes = (uint32_t)left;
    record->text_bytes = (uint32_t)(left < WIRE_TEXT_BYTES ? left : WIRE_TEXT_BYTES);
    memcpy(record->text, at, record->text_bytes);
}

static void take_line(void *context, char *line, size_t bytes)
{
    static struct wire_record record;
    if (bytes == 0)
        return;
    memset(&record, 0, offsetof(struct wire_record, text));
    record_fill(&record, line, bytes);
    client_put(context, &record);
}

int mode_log(const struct options *options)
{
    static struct client client;
    static struct lines lines = {.fd = STDIN_FILENO};
    char why[256] = "";
    const int subject = subject_find(why, sizeof why);
    if (subject == 0)
        fprintf(stderr, "fwdscope-rsyslog log: %s; messages are dropped\n", why);
    client_init(&client, options->dir, subject);
    client_run(&client, &lines, take_line, &client);
    client_close(&client, LAST_WORDS_MS);
    return 0;
}
