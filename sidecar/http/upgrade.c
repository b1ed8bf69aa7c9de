/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evhttp cannot let go of a socket: freeing its connection shuts it down and closes it. So the
 * socket is duplicated, the old number made to mean /dev/null, and evhttp may do to that what it
 * likes. Its events are removed first: epoll watches the open file, which lives on in the
 * duplicate. The head is ours: nothing that the client wrote but its key reaches libwebsockets.
 */
#include "upgrade.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_FORM                                                                   \
    "GET /admin/v1/telemetry HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n" \
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"

/* Our head, and behind it what the client already sent after its own. */
static bool head_make(struct evhttp_request *request, struct evbuffer *input, struct upgrade *out)
{
    const char *key =
        evhttp_find_header(evhttp_request_get_input_headers(request), "Sec-WebSocket-Key");
    const size_t pipelined = evbuffer_get_length(input);
    const size_t room = sizeof HEAD_FORM + strlen(key) + pipelined;
    out->head = malloc(room);
    if (out->head == NULL) {
        return false;
    }
    const int written = snprintf(out->head, room, HEAD_FORM, key);
    out->head_bytes = (size_t)written;
    if (pipelined > 0) {
        evbuffer_copyout(input, out->head + out->head_bytes, pipelined);
        out->head_bytes += pipelined;
    }
    return true;
}

bool upgrade_take(struct evhttp_request *request, int null_fd, struct upgrade *out)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    struct bufferevent *bufferevent = evhttp_connection_get_bufferevent(connection);
    const int fd = bufferevent_getfd(bufferevent);
    out->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (out->fd < 0) {
        return false;
    }
    if (!head_make(request, bufferevent_get_input(bufferevent), out)) {
        close(out->fd);
        return false;
    }
    bufferevent_disable(bufferevent, EV_READ | EV_WRITE);
    if (dup3(null_fd, fd, O_CLOEXEC) != fd) {
        bufferevent_enable(bufferevent, EV_READ | EV_WRITE);
        free(out->head);
        close(out->fd);
        return false;
    }
    evhttp_connection_free(connection);
    return true;
}
