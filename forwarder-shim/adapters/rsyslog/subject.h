/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that an adapter tells of: the rsyslogd that started it, and where the adapter's
 * processes of that rsyslogd meet.
 */
#ifndef RSYSLOG_SUBJECT_H
#define RSYSLOG_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The parent's pid when it is an rsyslogd, or 0 and one line of why. Call it at the start. */
int subject_find(char *why, size_t cap);

/* Whether that parent is gone: an orphan gets another parent at once. */
bool subject_is_gone(int pid);

/* Address of the socket of that rsyslogd's `stats` process in a directory; false: the name is too
 * long for an address. */
bool subject_address(const char *dir, int pid, struct sockaddr_un *out);

/* Whether the other end of a connection is of our user, or root. */
bool subject_peer_trusted(int fd);

#endif
