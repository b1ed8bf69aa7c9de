/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's way: evhttp asks for a bufferevent (server_bufferevent), which is the only sign
 * of an accept that it gives; before the loop sees the socket again, server_greet learns the
 * evhttp_connection that the bufferevent got and asks to be told of its end. evhttp's own timeout
 * is not used: it also cuts a client that is slowly reading an answer, because that one sends
 * nothing. A sweep looks at deadlines instead.
 */
#include "server.h"

#include "log.h"
#include "reply.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

enum {
    SINGLE_WRITE_BYTES = 1 << 20, /* evhttp's 16 KiB a write make an answer wait for ACKs */
    INPUT_BYTES_MAX = 64 << 10,   /* evhttp reads on while it writes an answer */
    HEADER_BYTES_MAX = 16 << 10,
    BODY_BYTES_MAX = 16 << 10, /* of requests that are refused anyway */
    ANSWER_DEADLINE_S = 60,    /* the slowest reader of an answer */
    SWEEP_INTERVAL_MS = 500,   /* while there are connections */
    BUCKETS_LOG2 = 8,
    REST_MS = 200,           /* between two tries to accept without descriptors */
    REST_LOG_INTERVAL_S = 10 /* at most one line in so long */
};

struct connection {
    struct server *server;
    struct bufferevent *bufferevent;  /* referenced until greeted */
    struct evhttp_connection *evhttp; /* NULL until greeted */
    uint64_t deadline_ms;
    size_t nuls; /* bytes of value 0 that came so far */
    LIST_ENTRY(connection) link, bucket_link;
};

LIST_HEAD(connections, connection);

struct server {
    struct evhttp *evhttp;
    struct evconnlistener *listener;
    struct event *greet, *sweep, *rest;
    struct connections connections;                /* those that are not greeted first */
    struct connections buckets[1 << BUCKETS_LOG2]; /* greeted ones, by their evhttp_connection */
    unsigned count;
    bool bound; /* the listener belongs to evhttp */
    bool resting;
    uint64_t rest_logged_ms;
    struct server_limits limits;
    void (*handler)(struct evhttp_request *, void *);
    void *arg;
    LIST_ENTRY(server) link;
};

/* evconnlistener hands its error callback evhttp's argument, not ours: the server is found here by
 * its listener. Main thread only. */
static LIST_HEAD(, server) servers = LIST_HEAD_INITIALIZER(servers);

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct timeval timeval_of_ms(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

/* ---- accepting or not ------------------------------------------------------------------------ */

static void server_update_listener(struct server *server)
{
    if (server->listener == NULL) {
        return; /* stopping */
    }
    if (server->resting || server->count >= server->limits.connections_max) {
        evconnlistener_disable(server->listener);
    } else {
        evconnlistener_enable(server->listener);
    }
}

static void server_rest_ends(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    server->resting = false;
    server_update_listener(server);
}

/* accept failed, most likely for want of descriptors: the listener stays readable, so the loop
 * would spin if it did not look away for a while. */
static void server_accept_failed(struct evconnlistener *listener, void *arg)
{
    const int error = errno;
    (void)arg;
    struct server *server;
    LIST_FOREACH(server, &servers, link)
    {
        if (server->listener == listener) {
            break;
        }
    }
    if (server == NULL) {
        return;
    }
    const uint64_t now = now_ms();
    if (server->rest_logged_ms == 0 || now - server->rest_logged_ms >= REST_LOG_INTERVAL_S * 1000) {
        log_line(LOG_LEVEL_WARN, "cannot accept connections: %s; trying again every %d ms",
                 strerror(error), REST_MS);
        server->rest_logged_ms = now;
    }
    const struct timeval delay = timeval_of_ms(REST_MS);
    server->resting = true;
    server_update_listener(server);
    event_add(server->rest, &delay);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void connection_set_deadline(struct connection *connection, unsigned seconds)
{
    connection->deadline_ms = now_ms() + (uint64_t)seconds * 1000;
}

/* By a multiplication, because addresses of the same size lie at equal distances. */
static struct connections *server_bucket(struct server *server,
                                         const struct evhttp_connection *evhttp)
{
    const uint64_t mixed = (uint64_t)(uintptr_t)evhttp * UINT64_C(0x9e3779b97f4a7c15);
    return &server->buckets[mixed >> (64 - BUCKETS_LOG2)];
}

/* NULL: none of ours, because memory was out when it came. */
static struct connection *server_find(struct server *server, const struct evhttp_connection *evhttp)
{
    struct connection *connection;
    LIST_FOREACH(connection, server_bucket(server, evhttp), bucket_link)
    {
        if (connection->evhttp == evhttp) {
            break;
        }
    }
    return connection;
}

static void connection_end(struct connection *connection)
{
    struct server *server = connection->server;
    LIST_REMOVE(connection, link);
    if (connection->evhttp != NULL) {
        LIST_REMOVE(connection, bucket_link);
    }
    server->count--;
    free(connection);
    server_update_listener(server);
}

static void connection_closed(struct evhttp_connection *evhttp, void *arg)
{
    (void)evhttp;
    connection_end(arg);
}

/* NULs of a buffer from a position on. */
static size_t buffer_nuls(struct evbuffer *buffer, size_t from)
{
    struct evbuffer_ptr at;
    size_t count = 0;
    if (evbuffer_ptr_set(buffer, &at, from, EVBUFFER_PTR_SET) != 0) {
        return 0;
    }
    for (at = evbuffer_search(buffer, "", 1, &at); at.pos >= 0;
         at = evbuffer_search(buffer, "", 1, &at)) {
        count++;
        if (evbuffer_ptr_set(buffer, &at, 1, EVBUFFER_PTR_ADD) != 0) {
            break;
        }
    }
    return count;
}

/* Counts in what just came in, before evhttp takes it. */
static void connection_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    if (info->n_added > 0) {
        struct connection *connection = arg;
        connection->nuls += buffer_nuls(input, info->orig_size - info->n_deleted);
    }
}

/* Whether evhttp took a NUL: it reads strings only so far, and whoever stands before us may read
 * them on. Behind the head a NUL is nobody's business here: it may be of a frame. */
static bool connection_took_nul(const struct connection *connection)
{
    struct bufferevent *bufferevent = evhttp_connection_get_bufferevent(connection->evhttp);
    return connection->nuls > 0 &&
           connection->nuls > buffer_nuls(bufferevent_get_input(bufferevent), 0);
}

/* Nobody wakes up for an empty list. */
static void server_sweep_later(struct server *server)
{
    const struct timeval interval = timeval_of_ms(SWEEP_INTERVAL_MS);
    if (server->count > 0 && !event_pending(server->sweep, EV_TIMEOUT, NULL)) {
        event_add(server->sweep, &interval);
    }
}

/* A new connection's bufferevent. evhttp makes one of its own when given NULL, unseen by us. */
static struct bufferevent *server_bufferevent(struct event_base *base, void *arg)
{
    struct server *server = arg;
    struct connection *connection = calloc(1, sizeof *connection);
    struct bufferevent *bufferevent = bufferevent_socket_new(base, -1, 0);
    if (connection == NULL || bufferevent == NULL) {
        free(connection);
        return bufferevent;
    }
    bufferevent_set_max_single_write(bufferevent, SINGLE_WRITE_BYTES);
    bufferevent_setwatermark(bufferevent, EV_READ, 0, INPUT_BYTES_MAX);
    bufferevent_incref(bufferevent);
    if (evbuffer_add_cb(bufferevent_get_input(bufferevent), connection_input, connection) == NULL) {
        connection->nuls = 1; /* no memory: better not served than served unseen */
    }
    connection->server = server;
    connection->bufferevent = bufferevent;
    connection_set_deadline(connection, server->limits.header_deadline_s);
    LIST_INSERT_HEAD(&server->connections, connection, link);
    server->count++;
    server_update_listener(server);
    server_sweep_later(server);
    event_active(server->greet, 0, 0);
    return bufferevent;
}

/* evhttp made its connection the argument of the bufferevent's callbacks; none when it failed
 * between the accept and here. */
static void connection_greet(struct connection *connection)
{
    void *argument = NULL;
    bufferevent_getcb(connection->bufferevent, NULL, NULL, NULL, &argument);
    bufferevent_decref(connection->bufferevent);
    connection->bufferevent = NULL;
    if (argument == NULL) {
        connection_end(connection);
        return;
    }
    connection->evhttp = argument;
    LIST_INSERT_HEAD(server_bucket(connection->server, argument), connection, bucket_link);
    evhttp_connection_set_closecb(connection->evhttp, connection_closed, connection);
}

static void server_greet(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    struct connection *connection = LIST_FIRST(&server->connections);
    while (connection != NULL && connection->evhttp == NULL) {
        struct connection *next = LIST_NEXT(connection, link);
        connection_greet(connection);
        connection = next;
    }
}

static void server_sweep(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    const uint64_t now = now_ms();
    struct connection *connection = LIST_FIRST(&server->connections);
    while (connection != NULL) {
        struct connection *next = LIST_NEXT(connection, link);
        if (connection->evhttp != NULL && now >= connection->deadline_ms) {
            evhttp_connection_free(connection->evhttp); /* ends ours by its close callback */
        }
        connection = next;
    }
    server_sweep_later(server);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void request_answered(struct evhttp_request *request, void *arg)
{
    (void)request;
    struct connection *connection = arg;
    connection_set_deadline(connection, connection->server->limits.header_deadline_s);
}

static void server_request(struct evhttp_request *request, void *arg)
{
    struct server *server = arg;
    struct connection *connection = server_find(server, evhttp_request_get_connection(request));
    if (connection != NULL) {
        connection_set_deadline(connection, ANSWER_DEADLINE_S);
        evhttp_request_set_on_complete_cb(request, request_answered, connection);
        if (connection_took_nul(connection)) {
            reply_text(request, 400, "a NUL in the request");
            return;
        }
    }
    server->handler(request, server->arg);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool server_make_events(struct server *server, struct event_base *base)
{
    server->greet = event_new(base, -1, 0, server_greet, server);
    server->rest = evtimer_new(base, server_rest_ends, server);
    server->sweep = evtimer_new(base, server_sweep, server);
    return server->greet != NULL && server->rest != NULL && server->sweep != NULL;
}

static void server_configure(struct server *server)
{
    evhttp_set_bevcb(server->evhttp, server_bufferevent, server);
    evhttp_set_gencb(server->evhttp, server_request, server);
    evhttp_set_allowed_methods(server->evhttp, 0xffff); /* or evhttp answers 501 by itself */
    evhttp_set_max_headers_size(server->evhttp, HEADER_BYTES_MAX);
    evhttp_set_max_body_size(server->evhttp, BODY_BYTES_MAX);
    evhttp_set_default_content_type(server->evhttp, NULL);
}

struct server *server_start(struct event_base *base, int fd, const struct server_limits *limits,
                            void (*handler)(struct evhttp_request *, void *), void *arg)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        close(fd);
        return NULL;
    }
    LIST_INSERT_HEAD(&servers, server, link);
    server->limits = *limits;
    server->handler = handler;
    server->arg = arg;
    server->listener =
        evconnlistener_new(base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (server->listener == NULL) {
        close(fd);
        server_stop(&server);
        return NULL;
    }
    server->evhttp = evhttp_new(base);
    if (server->evhttp == NULL || !server_make_events(server, base)) {
        server_stop(&server);
        return NULL;
    }
    server_configure(server);
    evconnlistener_set_error_cb(server->listener, server_accept_failed);
    server->bound = evhttp_bind_listener(server->evhttp, server->listener) != NULL;
    if (!server->bound) {
        server_stop(&server);
    }
    return server;
}

void server_stop(struct server **server_pointer)
{
    struct server *server = *server_pointer;
    *server_pointer = NULL;
    if (server == NULL) {
        return;
    }
    struct evconnlistener *listener = server->listener;
    server->listener = NULL; /* connections that end below leave it alone */
    server_greet(-1, 0, server);
    if (listener != NULL) {
        evconnlistener_set_error_cb(listener, NULL);
    }
    if (server->evhttp != NULL) {
        evhttp_free(server->evhttp); /* the listener too, once it is bound to it */
    }
    if (listener != NULL && !server->bound) {
        evconnlistener_free(listener);
    }
    struct event *const events[] = {server->greet, server->sweep, server->rest};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (events[i] != NULL) {
            event_free(events[i]);
        }
    }
    LIST_REMOVE(server, link);
    free(server);
}
