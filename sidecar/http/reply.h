/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: status, headers, body, each with the headers that all of them carry. */
#ifndef SIDECAR_REPLY_H
#define SIDECAR_REPLY_H

#include <event2/http.h>
#include <stddef.h>

/* Adds a header to the answer to come. */
void reply_header(struct evhttp_request *request, const char *name, const char *value);

/*
 * Sends an answer with the headers added so far, and ends the request. The length is always told;
 * HEAD gets no body. The bytes are copied. Content-Type is type, a constant, unless NULL. 400 and
 * 405 close the connection: what follows a request of doubtful framing is not read.
 */
void reply_send(struct evhttp_request *request, int status, const char *type, const char *body,
                size_t bytes);

/* The same with a line of text, which gets its newline here. */
void reply_text(struct evhttp_request *request, int status, const char *line);

#endif
