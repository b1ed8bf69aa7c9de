/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending end of the socket: never waits. Records that cannot go out now are kept, up to a
 * bound; beyond it they are lost and counted, and the count travels with the next record.
 */
#ifndef RSYSLOG_CLIENT_H
#define RSYSLOG_CLIENT_H

#include "lines.h"
#include "wire.h"

#include <stdbool.h>

enum { CLIENT_KEPT_BYTES = 512 << 10 };

struct client {
    const char *dir; /* NULL: $FWDSCOPE_DIR, else where the shim looks by default */
    int subject;     /* pid of rsyslogd; 0: everything is dropped */
    int fd;          /* -1: not connected */
    uint64_t tried_ms;
    uint64_t lost; /* records, since the last packet */
    size_t begin, end; /* of the records that are kept: each a size_t and its bytes */
    char kept[CLIENT_KEPT_BYTES];
};

void client_init(struct client *client, const char *dir, int subject);

/* Sends the record, or keeps it, or counts it as lost. Fills magic and lost. */
void client_put(struct client *client, struct wire_record *record);

/* Sends what is kept as far as it goes; connects at most ten times a second. */
void client_flush(struct client *client);

/* Reads lines to their end and flushes meanwhile: the loop of a sending process. */
void client_run(struct client *client, struct lines *lines, lines_handler handler, void *context);

/* Sends what is kept within at most `ms` milliseconds, then hangs up. */
void client_close(struct client *client, unsigned ms);

#endif
