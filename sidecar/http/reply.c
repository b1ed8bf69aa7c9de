/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers through evhttp, which forgets the length on HEAD and sends a body if it is given one.
 * A header costs it three allocations and a formatted line. What every answer carries rides behind
 * the reason phrase instead, which evhttp copies as it is; nothing that came from outside does.
 */
#include "reply.h"

#include <event2/buffer.h>
#include <event2/http_struct.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { STATUS_LINES_BYTES = 256 };

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

/* evhttp would format the time anew for each answer. Main thread only. */
static const char *date_now(void)
{
    static char text[32];
    static time_t second;
    const time_t now = time(NULL);
    if (now != second) {
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        second = now;
    }
    return text;
}

/* The reason phrase and behind it the lines that most answers have alike, of constants only. */
static void status_lines(char lines[STATUS_LINES_BYTES], int status, const char *type, bool cached)
{
    char *end = stpcpy(lines, reason_phrase(status));
    end = stpcpy(end, "\r\nX-Content-Type-Options: nosniff");
    if (!cached) {
        end = stpcpy(end, "\r\nCache-Control: no-store");
    }
    if (type != NULL) {
        stpcpy(stpcpy(end, "\r\nContent-Type: "), type);
    }
}

static void reply_headers(struct evhttp_request *request, int status, size_t bytes)
{
    const bool body_told = request->minor > 0 && request->type != EVHTTP_REQ_HEAD;
    if (status != 304 && !body_told) { /* else evhttp adds it */
        char length[24];
        snprintf(length, sizeof length, "%zu", bytes);
        reply_header(request, "Content-Length", length);
    }
    if (request->minor > 0) {
        reply_header(request, "Date", date_now());
    }
    if (status == 400 || status == 405) {
        reply_header(request, "Connection", "close");
    }
}

void reply_send(struct evhttp_request *request, int status, const char *type, const char *body,
                size_t bytes)
{
    char lines[STATUS_LINES_BYTES];
    const struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    status_lines(lines, status, type, evhttp_find_header(headers, "Cache-Control") != NULL);
    reply_headers(request, status, bytes);
    if (bytes > 0 && evhttp_request_get_command(request) != EVHTTP_REQ_HEAD &&
        evbuffer_add(evhttp_request_get_output_buffer(request), body, bytes) != 0) {
        /* A length was promised: an answer without its body would mislead. */
        evhttp_connection_free(evhttp_request_get_connection(request));
        return;
    }
    evhttp_send_reply(request, status, lines, NULL);
}

void reply_text(struct evhttp_request *request, int status, const char *line)
{
    char text[256];
    snprintf(text, sizeof text - 1, "%s", line);
    const size_t length = strlen(text);
    text[length] = '\n';
    reply_send(request, status, "text/plain; charset=utf-8", text, length + 1);
}
