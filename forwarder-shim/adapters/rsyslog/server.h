/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving end of the socket, in `stats`: takes the records of `log` and `ship` and writes them
 * into the region as log lines and spans. Bounded in clients and in what it reads at a time.
 */
#ifndef RSYSLOG_SERVER_H
#define RSYSLOG_SERVER_H

#include "fwdscope.h"
#include "wire.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum { SERVER_CLIENTS_MAX = 32 };

struct server_client {
    int fd;        /* -1: not connected; its span may still be open */
    bool used;
    bool has_span; /* a transaction is on its way */
    char name[WIRE_NAME_BYTES];
    fwdscope_span span;
};

struct server {
    int fd;   /* -1: not listening */
    bool met; /* a client came since it listens */
    char path[128];
    fwdscope_pipeline pipeline;
    fwdscope_counter lost_records;
    struct server_client clients[SERVER_CLIENTS_MAX];
    struct wire_record record;
};

/* Listens at the address of that rsyslogd's adapter in dir; mode 0600. False: why says it. */
bool server_open(struct server *server, const char *dir, int subject, char *why, size_t cap);

/* What is written from now on belongs to this pipeline; spans of a life before are forgotten. */
void server_attach(struct server *server, fwdscope_pipeline pipeline);

/* The descriptors to wait for; returns their number, at most SERVER_CLIENTS_MAX + 1. */
size_t server_poll_set(const struct server *server, struct pollfd *set);

/* Accepts and reads whatever there is now. */
void server_serve(struct server *server);

/* Serves until every client has hung up, at most `ms` milliseconds: their last words. rsyslogd may
 * start a client only as it ends, so one that never came is waited for as long. */
void server_drain(struct server *server, unsigned ms);

void server_close(struct server *server);

#endif
