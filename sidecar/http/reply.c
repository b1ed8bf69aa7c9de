/* SPDX-License-Identifier: Apache-2.0 */
/* Answers through evhttp, which forgets the length on HEAD and sends a body if it is given one. */
#include "reply.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {303, "See Other"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {426, "Upgrade Required"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "Status";
}

void reply_header(struct evhttp_request *request, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(request), name, value);
}

static void reply_common_headers(struct evhttp_request *request, int status, const char *type,
                                 size_t bytes)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (status != 304) {
        char length[24];
        snprintf(length, sizeof length, "%zu", bytes);
        reply_header(request, "Content-Length", length);
    }
    if (type != NULL) {
        reply_header(request, "Content-Type", type);
    }
    reply_header(request, "X-Content-Type-Options", "nosniff");
    if (evhttp_find_header(headers, "Cache-Control") == NULL) {
        reply_header(request, "Cache-Control", "no-store");
    }
    if (status == 400 || status == 405) {
        reply_header(request, "Connection", "close");
    }
}

void reply_send(struct evhttp_request *request, int status, const char *type, const char *body,
                size_t bytes)
{
    reply_common_headers(request, status, type, bytes);
    struct evbuffer *buffer = NULL;
    if (bytes > 0 && evhttp_request_get_command(request) != EVHTTP_REQ_HEAD) {
        buffer = evbuffer_new();
        if (buffer == NULL || evbuffer_add(buffer, body, bytes) != 0) {
            /* A length was promised: an answer without its body would mislead. */
            if (buffer != NULL) {
                evbuffer_free(buffer);
            }
            evhttp_connection_free(evhttp_request_get_connection(request));
            return;
        }
    }
    evhttp_send_reply(request, status, reason_phrase(status), buffer);
    if (buffer != NULL) {
        evbuffer_free(buffer);
    }
}

void reply_text(struct evhttp_request *request, int status, const char *line)
{
    char text[256];
    snprintf(text, sizeof text - 1, "%s", line);
    const size_t length = strlen(text);
    text[length] = '\n';
    reply_send(request, status, "text/plain; charset=utf-8", text, length + 1);
}
