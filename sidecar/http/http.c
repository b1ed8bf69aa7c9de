/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing and policy. A request passes the gate before anything looks at it; a path is compared
 * whole, as written, with a fixed table, so no decoding and no file name is ever made of it.
 */
#include "http.h"

#include "gate.h"
#include "listen.h"
#include "log.h"
#include "page.h"
#include "query.h"
#include "reply.h"
#include "server.h"
#include "upgrade.h"

#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
    HEADERS_MAX = 100,
    TOKEN_BYTES_MIN = 16,
    TOKEN_BYTES_MAX = 4096,
    BODY_BYTES_MAX = 64 << 20,
    OWN_HOSTS = 4, /* localhost, 127.0.0.1, [::1], the bound address */
    PATH_BYTES_MAX = 64,
};

enum { LISTEN_DATA, LISTEN_UNIX, LISTEN_PROBE, LISTENERS };

struct http {
    struct http_provider provider;
    char *token;
    char **hosts;
    size_t host_count;
    struct gate_policy policy;
    struct buffer body; /* of the answer that is being made; kept for the next */
    int null_fd;
    struct listener {
        struct listen_socket socket; /* fd -1 once the server has it */
        struct server *server;
        bool bound; /* a unix socket that this process made */
    } listeners[LISTENERS];
    char address[LISTEN_PATH_BYTES * LISTENERS + 64];
};

enum route_kind { ROUTE_PAGE, ROUTE_BODY, ROUTE_STREAM };

struct route {
    const char *path;
    enum route_kind kind;
    enum gate_check check;
    enum http_endpoint endpoint; /* of ROUTE_BODY */
    bool probe;                  /* served on the second listener too */
};

static const struct route ROUTES[] = {
    {"/", ROUTE_PAGE, GATE_DATA, 0, false},
    {"/live", ROUTE_BODY, GATE_OPEN, HTTP_LIVE, true},
    {"/ready", ROUTE_BODY, GATE_OPEN, HTTP_READY, true},
    {"/forwarder/live", ROUTE_BODY, GATE_OPEN, HTTP_FORWARDER_LIVE, true},
    {"/admin/v1/status", ROUTE_BODY, GATE_DATA, HTTP_STATUS, false},
    {"/admin/v1/config", ROUTE_BODY, GATE_DATA, HTTP_CONFIG, false},
    {"/admin/v1/telemetry", ROUTE_STREAM, GATE_STREAM, 0, false},
};

/* ---- requests -------------------------------------------------------------------------------- */

/* A request as the handlers see it; points into evhttp's. */
struct request {
    struct evhttp_request *evhttp;
    struct gate_header headers[HEADERS_MAX];
    struct gate_request gate;
    bool head;
    char path[PATH_BYTES_MAX]; /* empty: longer than any of ours */
    const char *query;         /* NULL: none */
};

/* False when there are more headers than any honest client sends. */
static bool request_read(struct evhttp_request *evhttp, struct request *out)
{
    const int method = (int)evhttp_request_get_command(evhttp);
    const char *target = evhttp_request_get_uri(evhttp);
    const struct evkeyval *header;
    size_t count = 0;
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(evhttp), next)
    {
        if (count == HEADERS_MAX) {
            return false;
        }
        out->headers[count++] = (struct gate_header){header->key, header->value};
    }
    out->evhttp = evhttp;
    out->head = method == EVHTTP_REQ_HEAD;
    out->gate = (struct gate_request){
        .get_or_head = method == EVHTTP_REQ_GET || out->head,
        .http_minor = evhttp->major == 1 && evhttp->minor > 0 ? (unsigned)evhttp->minor : 0,
        .headers = out->headers,
        .header_count = count,
    };
    const size_t path_bytes = strcspn(target, "?");
    const size_t kept = path_bytes < PATH_BYTES_MAX ? path_bytes : 0;
    memcpy(out->path, target, kept);
    out->path[kept] = '\0';
    out->query = target[path_bytes] == '?' ? target + path_bytes + 1 : NULL;
    return true;
}

/* Answers a request that the gate refused. */
static void request_refuse(struct evhttp_request *evhttp, int status, const char *why)
{
    if (status == 401) {
        reply_header(evhttp, "WWW-Authenticate", "Bearer");
    }
    if (status == 426) {
        reply_header(evhttp, "Upgrade", "websocket");
        reply_header(evhttp, "Connection", "Upgrade");
        reply_header(evhttp, "Sec-WebSocket-Version", "13");
    }
    reply_text(evhttp, status, why);
}

/* True when the gate lets the request pass; else it is answered. */
static bool request_passes(const struct http *http, const struct request *request,
                           enum gate_check check)
{
    const char *why;
    const int status = gate_check(&http->policy, &request->gate, check, &why);
    if (status != 0) {
        request_refuse(request->evhttp, status, why);
    }
    return status == 0;
}

/* ---- the page -------------------------------------------------------------------------------- */

/* Whether the query carries the right token, percent-encoded or as it is. */
static bool query_token_is_right(const struct http *http, const char *value, size_t bytes)
{
    char *written = strndup(value, bytes);
    size_t decoded_bytes = 0;
    char *decoded = written != NULL ? evhttp_uridecode(written, 0, &decoded_bytes) : NULL;
    const bool right = decoded != NULL && strlen(decoded) == decoded_bytes &&
                       gate_token_equal(http->token, decoded);
    free(decoded);
    free(written);
    return right;
}

/* /?token=T: turns the token into a cookie and away from the address line. */
static void serve_login(const struct http *http, const struct request *request, const char *value,
                        size_t bytes)
{
    if (!query_token_is_right(http, value, bytes)) {
        page_send_locked(request->evhttp);
        return;
    }
    char cookie[TOKEN_BYTES_MAX + 80];
    snprintf(cookie, sizeof cookie, GATE_COOKIE "=%s; Path=/; HttpOnly; SameSite=Strict",
             http->token);
    reply_header(request->evhttp, "Set-Cookie", cookie);
    reply_header(request->evhttp, "Location", "/");
    reply_header(request->evhttp, "Referrer-Policy", "no-referrer");
    reply_send(request->evhttp, 303, NULL, NULL, 0);
}

static void serve_page(const struct http *http, const struct request *request)
{
    const char *why, *value;
    size_t bytes;
    if (http->token != NULL && query_find(request->query, "token", &value, &bytes)) {
        if (request_passes(http, request, GATE_OPEN)) {
            serve_login(http, request, value, bytes);
        }
        return;
    }
    const int status = gate_check(&http->policy, &request->gate, GATE_DATA, &why);
    if (status == 0) {
        page_send(request->evhttp);
    } else if (status == 401) {
        page_send_locked(request->evhttp);
    } else {
        request_refuse(request->evhttp, status, why);
    }
}

/* ---- data ------------------------------------------------------------------------------------ */

static void serve_body(struct http *http, const struct request *request,
                       enum http_endpoint endpoint)
{
    buffer_reset(&http->body);
    const int status = http->provider.body(http->provider.arg, endpoint, &http->body);
    if (http->body.failed) {
        reply_text(request->evhttp, 500, "the answer does not fit into memory");
        return;
    }
    reply_send(request->evhttp, status, "application/json", http->body.data, http->body.length);
}

static void serve_stream(struct http *http, const struct request *request)
{
    const struct http_provider *provider = &http->provider;
    if (!request_passes(http, request, GATE_STREAM)) {
        return;
    }
    if (request->head) {
        request_refuse(request->evhttp, 426, "this is a WebSocket: GET needed");
        return;
    }
    const long backlog_seconds = query_backlog_seconds(request->query);
    if (backlog_seconds < -1) {
        reply_text(request->evhttp, 400, "backlog must be 0 to 3600 seconds");
        return;
    }
    struct upgrade upgrade;
    if (!provider->stream_has_room(provider->arg)) {
        reply_header(request->evhttp, "Retry-After", "5");
        reply_text(request->evhttp, 503, "too many stream clients; see --max-clients");
        return;
    }
    if (!upgrade_take(request->evhttp, http->null_fd, &upgrade)) {
        reply_text(request->evhttp, 503, "out of file descriptors or memory");
        return;
    }
    provider->stream_adopt(provider->arg, upgrade.fd, upgrade.head, upgrade.head_bytes,
                           backlog_seconds);
    free(upgrade.head);
}

/* ---- routing ----------------------------------------------------------------------------------
 */

static const struct route *route_find(const char *path)
{
    for (size_t i = 0; i < sizeof ROUTES / sizeof ROUTES[0]; i++) {
        if (strcmp(ROUTES[i].path, path) == 0) {
            return &ROUTES[i];
        }
    }
    return NULL;
}

/* What is answered the same way on both listeners: true when that was it. */
static bool answer_odd_requests(const struct http *http, const struct request *request)
{
    if (request->evhttp->major != 1) {
        request->evhttp->major = 1; /* that of the answer, too */
        request->evhttp->minor = 0;
        reply_text(request->evhttp, 400, "only HTTP/1.x");
        return true;
    }
    if (!request->gate.get_or_head) {
        if (request_passes(http, request, GATE_PROBE)) {
            reply_header(request->evhttp, "Allow", "GET, HEAD");
            reply_text(request->evhttp, 405, "only GET and HEAD");
        }
        return true;
    }
    if (evhttp_request_get_uri(request->evhttp)[0] != '/') {
        reply_text(request->evhttp, 400, "the request target must be a path");
        return true;
    }
    return false;
}

static void http_serve(struct evhttp_request *evhttp, void *arg)
{
    struct http *http = arg;
    struct request request;
    if (!request_read(evhttp, &request)) {
        reply_text(evhttp, 400, "too many headers");
        return;
    }
    if (answer_odd_requests(http, &request)) {
        return;
    }
    const struct route *route = route_find(request.path);
    if (route == NULL) {
        if (request_passes(http, &request, GATE_OPEN)) {
            reply_text(evhttp, 404, "not found");
        }
    } else if (route->kind == ROUTE_PAGE) {
        serve_page(http, &request);
    } else if (route->kind == ROUTE_STREAM) {
        serve_stream(http, &request);
    } else if (request_passes(http, &request, route->check)) {
        serve_body(http, &request, route->endpoint);
    }
}

static void http_serve_probe(struct evhttp_request *evhttp, void *arg)
{
    struct http *http = arg;
    struct request request;
    if (!request_read(evhttp, &request)) {
        reply_text(evhttp, 400, "too many headers");
        return;
    }
    if (answer_odd_requests(http, &request) || !request_passes(http, &request, GATE_PROBE)) {
        return;
    }
    const struct route *route = route_find(request.path);
    if (route != NULL && route->probe) {
        serve_body(http, &request, route->endpoint);
    } else {
        reply_text(evhttp, 404, "not found");
    }
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void libevent_log(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN) {
        log_line(severity == EVENT_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "libevent: %s",
                 message);
    }
}

/* The characters of a bearer token (RFC 6750), none of which needs quoting in a cookie. */
static bool token_is_proper(const char *token)
{
    const size_t bytes = strlen(token);
    return bytes >= TOKEN_BYTES_MIN && bytes <= TOKEN_BYTES_MAX &&
           token[strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "-._~+/=")] == '\0';
}

static bool options_are_proper(const struct http_options *options, char *why, size_t cap)
{
    if (options->token != NULL && !token_is_proper(options->token)) {
        snprintf(why, cap,
                 "the token must be %d to %d characters of A-Z a-z 0-9 - . _ ~ + / = : make one "
                 "with `openssl rand -hex 32`",
                 TOKEN_BYTES_MIN, TOKEN_BYTES_MAX);
        return false;
    }
    return true;
}

/* Whoever reaches an address that is not loopback reads everything. */
static bool bind_is_safe(const struct http *http, const struct http_options *options, char *why,
                         size_t cap)
{
    const struct listen_socket *socket = &http->listeners[LISTEN_DATA].socket;
    if (options->token != NULL || options->insecure_bind || socket->fd < 0 || socket->loopback) {
        return true;
    }
    snprintf(why, cap,
             "refusing to serve on %s without a token, because it is not a loopback address: give "
             "--token-file FILE, or listen on 127.0.0.1, or accept it with --insecure-bind",
             options->listen_fd > 0 ? socket->address : options->listen);
    return false;
}

bool http_address_is_valid(const char *where)
{
    return listen_reach(where) != LISTEN_NOT_AN_ADDRESS;
}

static bool host_add(struct http *http, const char *name)
{
    http->hosts[http->host_count] = strdup(name);
    return http->hosts[http->host_count++] != NULL;
}

static bool policy_make(struct http *http, const struct http_options *options)
{
    http->hosts = calloc(OWN_HOSTS + options->allow_host_count, sizeof *http->hosts);
    if (http->hosts == NULL || !host_add(http, "localhost") || !host_add(http, "127.0.0.1") ||
        !host_add(http, "[::1]") || !host_add(http, http->listeners[LISTEN_DATA].socket.host)) {
        return false;
    }
    for (size_t i = 0; i < options->allow_host_count; i++) {
        if (!host_add(http, options->allow_hosts[i])) {
            return false;
        }
    }
    if (options->token != NULL && (http->token = strdup(options->token)) == NULL) {
        return false;
    }
    http->policy =
        (struct gate_policy){(const char *const *)http->hosts, http->host_count, http->token};
    return true;
}

/* A socket that was handed over, or one bound here, or none. */
static bool listener_open(struct listener *listener, int fd, const char *where, const char *flag,
                          char *why, size_t cap)
{
    if (fd > 0) {
        return listen_take(fd, &listener->socket, why, cap);
    }
    return where == NULL || listen_open(where, flag, &listener->socket, why, cap);
}

/* Everything is bound before anything is served. */
static bool http_listen(struct http *http, const struct http_options *options, char *why,
                        size_t cap)
{
    struct listener *listeners = http->listeners;
    if (!listener_open(&listeners[LISTEN_DATA], options->listen_fd, options->listen, "--listen",
                       why, cap) ||
        !bind_is_safe(http, options, why, cap) ||
        !listener_open(&listeners[LISTEN_PROBE], options->probe_fd, options->probe_listen,
                       "--probe-listen", why, cap)) {
        return false;
    }
    listeners[LISTEN_UNIX].bound =
        options->unix_path != NULL &&
        listen_open_unix(options->unix_path, &listeners[LISTEN_UNIX].socket, why, cap);
    return options->unix_path == NULL || listeners[LISTEN_UNIX].bound;
}

static bool http_serve_start(struct http *http, struct event_base *base,
                             const struct http_options *options)
{
    const struct server_limits limits = {options->connections_max, options->header_deadline_s};
    for (size_t i = 0; i < LISTENERS; i++) {
        struct listener *listener = &http->listeners[i];
        const int fd = listener->socket.fd;
        listener->socket.fd = -1;
        if (fd >= 0) {
            listener->server = server_start(
                base, fd, &limits, i == LISTEN_PROBE ? http_serve_probe : http_serve, http);
            if (listener->server == NULL) {
                return false;
            }
        }
    }
    return true;
}

/* Says where it listens, in the order in which people look. */
static void http_describe(struct http *http)
{
    const char *const words[LISTENERS] = {"", "unix socket ", "probes on "};
    size_t used = 0;
    for (size_t i = 0; i < LISTENERS; i++) {
        const struct listen_socket *socket = &http->listeners[i].socket;
        const bool path = socket->address[0] == '/';
        if (socket->fd >= 0) {
            const int n = snprintf(http->address + used, sizeof http->address - used, "%s%s%s%s",
                                   used > 0 ? ", " : "",
                                   i != LISTEN_DATA ? words[i] : (path ? words[1] : "http://"),
                                   socket->address, i == LISTEN_DATA && !path ? "/" : "");
            used += n > 0 ? (size_t)n : 0;
        }
    }
}

struct http *http_start(struct event_base *base, const struct http_options *options, char *why,
                        size_t cap)
{
    if (!options_are_proper(options, why, cap)) {
        return NULL;
    }
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        snprintf(why, cap, "out of memory");
        return NULL;
    }
    http->provider = options->provider;
    http->null_fd = -1;
    for (size_t i = 0; i < LISTENERS; i++) {
        http->listeners[i].socket.fd = -1;
    }
    buffer_init(&http->body, BODY_BYTES_MAX);
    event_set_log_callback(libevent_log);
    signal(SIGPIPE, SIG_IGN); /* a client that hangs up is no reason to die */
    if (!http_listen(http, options, why, cap)) {
        http_stop(&http);
        return NULL;
    }
    http_describe(http);
    http->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (http->null_fd < 0 || !policy_make(http, options) ||
        !http_serve_start(http, base, options)) {
        snprintf(why, cap, "cannot serve %s: out of memory or file descriptors", http->address);
        http_stop(&http);
    }
    return http;
}

const char *http_address(const struct http *http)
{
    return http->address;
}

void http_stop(struct http **http_pointer)
{
    struct http *http = *http_pointer;
    *http_pointer = NULL;
    if (http == NULL) {
        return;
    }
    for (size_t i = 0; i < LISTENERS; i++) {
        struct listener *listener = &http->listeners[i];
        server_stop(&listener->server);
        if (listener->socket.fd >= 0) {
            close(listener->socket.fd);
        }
        if (listener->bound) {
            listen_unlink_unix(&listener->socket);
        }
    }
    if (http->null_fd >= 0) {
        close(http->null_fd);
    }
    for (size_t i = 0; i < http->host_count; i++) {
        free(http->hosts[i]);
    }
    free(http->hosts);
    free(http->token);
    buffer_free(&http->body);
    free(http);
}
