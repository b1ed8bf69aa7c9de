/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side: libevent's evhttp on the main thread. Knows paths, methods, hosts, origins and
 * tokens; bodies are finished bytes that a provider hands it. Upgrades to the stream are vetted
 * here and handed on as {socket, head in our own words}.
 */
#ifndef SIDECAR_HTTP_H
#define SIDECAR_HTTP_H

#include "buffer.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

enum http_endpoint {
    HTTP_LIVE,
    HTTP_READY,
    HTTP_FORWARDER_LIVE,
    HTTP_STATUS,
    HTTP_CONFIG,
};

struct http_provider {
    void *arg;
    /* Writes the JSON body of an endpoint and returns the HTTP status (200, 403, 503). */
    int (*body)(void *arg, enum http_endpoint endpoint, struct buffer *out);
    /* Whether one more stream client may come (the cap is not reached). */
    bool (*stream_has_room)(void *arg);
    /* Takes a vetted client: owns fd. backlog_seconds < 0: the default. */
    void (*stream_adopt)(void *arg, int fd, const char *head, size_t head_bytes,
                         long backlog_seconds);
};

struct http_options {
    const char *listen;         /* ADDR:PORT, [V6]:PORT; port 0: any free one; NULL: none */
    const char *probe_listen;   /* the same, of a listener with probes only */
    const char *unix_path;      /* all endpoints on a unix socket too; NULL: none */
    int listen_fd, probe_fd;    /* listening sockets that the process was started with, instead of
                                   the above; 0: none. Owned by http from the call on */
    const char *const *allow_hosts; /* further names for the Host check */
    size_t allow_host_count;
    const char *token;          /* NULL: no token; else 16..4096 bytes */
    bool insecure_bind;         /* a non-loopback address without a token is wanted */
    unsigned connections_max;   /* HTTP connections at once; beyond: not accepted for now */
    unsigned header_deadline_s; /* a connection that sent no whole request by then is cut */
    struct http_provider provider;
};

/* Whether where is ADDR:PORT, [V6]:PORT or localhost:PORT. */
bool http_address_is_valid(const char *where);

struct http;

/* Binds and serves on `base`. NULL and a one-line reason naming cause and cure in why on failure:
 * port in use, bad address, non-loopback without a token. Main thread only, like all of this. */
struct http *http_start(struct event_base *base, const struct http_options *options, char *why,
                        size_t cap);

/* Where it listens, in words: "http://ADDR:PORT/, unix socket PATH, probes on ADDR:PORT". Valid
 * until http_stop(). */
const char *http_address(const struct http *http);

/* Stops accepting, drops idle connections, frees. */
void http_stop(struct http **http);

#endif
