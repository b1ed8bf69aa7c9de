/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a vetted WebSocket request out of evhttp. */
#ifndef SIDECAR_UPGRADE_H
#define SIDECAR_UPGRADE_H

#include <event2/http.h>
#include <stdbool.h>
#include <stddef.h>

/* A connected socket, and the head that the stream side is to see in place of the client's. */
struct upgrade {
    int fd;
    char *head; /* the caller frees it */
    size_t head_bytes;
};

/*
 * Takes the socket of a request that passed the gate away from evhttp. On success the request and
 * its connection are gone and the caller owns fd and head; on failure nothing happened (no
 * descriptor or no memory left), and the request is still to be answered. null_fd is /dev/null,
 * open for writing.
 */
bool upgrade_take(struct evhttp_request *request, int null_fd, struct upgrade *out);

#endif
