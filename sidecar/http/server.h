/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listening socket with its evhttp, and what evhttp 2.1.12 lacks: a cap on connections, a
 * deadline for each of them, and rest when the process is out of descriptors. Two servers share
 * nothing, so a flood on one port never starves the other.
 */
#ifndef SIDECAR_SERVER_H
#define SIDECAR_SERVER_H

#include <event2/event.h>
#include <event2/http.h>
#include <stddef.h>

struct server;

struct server_limits {
    unsigned connections_max;
    unsigned header_deadline_s; /* from accept, or from the last answer, to a whole request */
};

/* Serves on a listening fd, which it owns, also on failure. handler(request, arg) answers every
 * request that evhttp could parse, of any method. NULL when memory is out. Main thread only. */
struct server *server_start(struct event_base *base, int fd, const struct server_limits *limits,
                            void (*handler)(struct evhttp_request *, void *), void *arg);

/* Stops accepting, cuts every connection, frees, nulls. */
void server_stop(struct server **server);

#endif
