/* SPDX-License-Identifier: Apache-2.0 */
/* The page at /, embedded at build time (see ../dashboard/embed.cmake), and its 401. */
#ifndef SIDECAR_PAGE_H
#define SIDECAR_PAGE_H

#include <event2/http.h>

/* Answers with the page: 200 (gzip when taken) or 304. */
void page_send(struct evhttp_request *request);

/* Answers 401 with a tiny page that says how to open this one with the token. */
void page_send_locked(struct evhttp_request *request);

#endif
