/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our server is measured against: as little as can be written for the same work.
 *
 *   server_peers send BYTES EVERY_MS           one send() of so many bytes to each connection
 *   server_peers libwebsockets BYTES EVERY_MS  the same as one text message, after tuning
 *   server_peers evhttp                        GET: a JSON body as long as ours of /live
 *
 * Prints "listening PORT", on 127.0.0.1, and runs until it is ended.
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, SEND_BUFFER_BYTES = 256 << 10, BACKLOG = 128 };

static size_t message_bytes;
static unsigned every_ms;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void told(int port)
{
    printf("listening %d\n", port);
    fflush(stdout);
}

static int port_of(int fd)
{
    struct sockaddr_in bound;
    socklen_t bytes = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &bytes) != 0) {
        die("getsockname");
    }
    return ntohs(bound.sin_port);
}

static int listen_anywhere(void)
{
    const struct sockaddr_in where = {.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&where, sizeof where) != 0 ||
        listen(fd, BACKLOG) != 0) {
        die("listen");
    }
    return fd;
}

/* ---- the kernel's copy ----------------------------------------------------------------------- */

struct rest {
    int fd;
    size_t left; /* of the message that is being sent */
};

static struct rest rests[CONNECTIONS_MAX];
static size_t connections;

/* Sends what the socket takes; edge-triggered, so that waiting for the rest costs no call. */
static void rest_send(struct rest *rest, const char *message)
{
    while (rest->left > 0) {
        const ssize_t sent = send(rest->fd, message + message_bytes - rest->left, rest->left,
                                  MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        rest->left -= (size_t)sent;
    }
}

static void rest_accept(int epoll, int listener)
{
    const int bytes = SEND_BUFFER_BYTES, on = 1;
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0 || connections == CONNECTIONS_MAX) {
        die("accept");
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    rests[connections] = (struct rest){.fd = fd};
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.ptr = &rests[connections++]};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void all_send(const char *message)
{
    for (size_t i = 0; i < connections; i++) {
        if (rests[i].left == 0) {
            rests[i].left = message_bytes;
            rest_send(&rests[i], message);
        }
    }
}

static int send_run(void)
{
    static int listener, timer;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const struct itimerspec beat = {
        {every_ms / 1000, (long)(every_ms % 1000) * 1000000},
        {every_ms / 1000, (long)(every_ms % 1000) * 1000000},
    };
    char *message = malloc(message_bytes);
    if (message == NULL) {
        return 1;
    }
    memset(message, 'x', message_bytes);
    listener = listen_anywhere();
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(timer, 0, &beat, NULL);
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &timer;
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
    told(port_of(listener));
    for (;;) {
        const int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            uint64_t beats;
            if (events[i].data.ptr == &listener) {
                rest_accept(epoll, listener);
            } else if (events[i].data.ptr != &timer) {
                rest_send(events[i].data.ptr, message);
            } else if (read(timer, &beats, sizeof beats) == sizeof beats) {
                all_send(message);
            }
        }
    }
}

/* ---- libwebsockets ----------------------------------------------------------------------------
 */

static unsigned char *ws_message;
static struct lws_context *ws_context;

static int ws_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t bytes)
{
    const int room = SEND_BUFFER_BYTES, on = 1;
    (void)user;
    (void)in;
    (void)bytes;
    if (reason == LWS_CALLBACK_ESTABLISHED) {
        setsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        setsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (reason == LWS_CALLBACK_SERVER_WRITEABLE) {
        return lws_write(wsi, ws_message + LWS_PRE, message_bytes, LWS_WRITE_TEXT) < 0 ? -1 : 0;
    }
    return 0;
}

static const struct lws_protocols ws_protocols[] = {
    {.name = "bench", .callback = ws_event, .tx_packet_size = 1 << 20}, {0}};

static void ws_beat(lws_sorted_usec_list_t *timer)
{
    lws_callback_on_writable_all_protocol(ws_context, &ws_protocols[0]);
    lws_sul_schedule(ws_context, 0, timer, ws_beat, (lws_usec_t)every_ms * LWS_US_PER_MS);
}

static int ws_run(void)
{
    static lws_sorted_usec_list_t timer;
    const struct rlimit limit = {CONNECTIONS_MAX, CONNECTIONS_MAX};
    const int probe = listen_anywhere();
    const int port = port_of(probe);
    close(probe);
    setrlimit(RLIMIT_NOFILE, &limit); /* libwebsockets makes tables of as many entries */
    lws_set_log_level(LLL_ERR, NULL);
    const struct lws_context_creation_info info = {
        .port = port, .iface = "127.0.0.1", .protocols = ws_protocols, .gid = -1, .uid = -1};
    ws_message = malloc(LWS_PRE + message_bytes);
    ws_context = lws_create_context(&info);
    if (ws_message == NULL || ws_context == NULL) {
        return 1;
    }
    memset(ws_message, 'x', LWS_PRE + message_bytes);
    lws_sul_schedule(ws_context, 0, &timer, ws_beat, (lws_usec_t)every_ms * LWS_US_PER_MS);
    told(port);
    while (lws_service(ws_context, 0) >= 0) {
    }
    return 1;
}

/* ---- evhttp -----------------------------------------------------------------------------------
 */

static void http_answer(struct evhttp_request *request, void *arg)
{
    static const char body[] =
        "{\"status\":\"live\",\"component\":\"fwdscope\",\"version\":\"0.1.0\"}";
    struct evbuffer *buffer = evbuffer_new();
    (void)arg;
    evbuffer_add(buffer, body, sizeof body - 1);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      "application/json");
    evhttp_send_reply(request, 200, "OK", buffer);
    evbuffer_free(buffer);
}

static int http_run(void)
{
    struct event_base *base = event_base_new();
    struct evhttp *http = base != NULL ? evhttp_new(base) : NULL;
    struct evhttp_bound_socket *bound =
        http != NULL ? evhttp_bind_socket_with_handle(http, "127.0.0.1", 0) : NULL;
    if (bound == NULL) {
        return 1;
    }
    evhttp_set_gencb(http, http_answer, NULL);
    told(port_of(evhttp_bound_socket_get_fd(bound)));
    return event_base_dispatch(base);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4) {
        message_bytes = strtoul(argv[2], NULL, 10);
        every_ms = (unsigned)strtoul(argv[3], NULL, 10);
    }
    if (strcmp(mode, "send") == 0 && message_bytes > 0 && every_ms > 0) {
        return send_run();
    }
    if (strcmp(mode, "libwebsockets") == 0 && message_bytes > 0 && every_ms > 0) {
        return ws_run();
    }
    return strcmp(mode, "evhttp") == 0 ? http_run() : 2;
}
