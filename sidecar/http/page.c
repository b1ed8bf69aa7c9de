/* SPDX-License-Identifier: Apache-2.0 */
/* The page and its headers. Nothing but its own script and style may run in it. */
#include "page.h"

#include "page_data.h"
#include "reply.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HTML "text/html; charset=utf-8"

static void page_policy(struct evhttp_request *request)
{
    char policy[512];
    snprintf(policy, sizeof policy,
             "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; "
             "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             page_script_source, page_style_source);
    reply_header(request, "Content-Security-Policy", policy);
    reply_header(request, "Referrer-Policy", "no-referrer");
}

/* Whether an Accept-Encoding takes gzip: named, and not with q=0. */
static bool takes_gzip(const char *accept)
{
    while (accept != NULL && *accept != '\0') {
        accept += strspn(accept, " \t,");
        const size_t item = strcspn(accept, ",");
        const size_t name = strcspn(accept, " \t;,");
        if (name == 4 && strncasecmp(accept, "gzip", 4) == 0) {
            const char *quality = memchr(accept, '=', item);
            if (quality == NULL) {
                return true;
            }
            const char *end = accept + item;
            quality += 1;
            while (quality < end && (*quality == '0' || *quality == '.' || *quality == ' ')) {
                quality++;
            }
            return quality < end;
        }
        accept += item;
    }
    return false;
}

void page_send(struct evhttp_request *request)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    const bool gzip = takes_gzip(evhttp_find_header(headers, "Accept-Encoding"));
    const char *known = evhttp_find_header(headers, "If-None-Match");
    char etag[80];
    snprintf(etag, sizeof etag, "\"%s%s\"", page_etag, gzip ? "-gzip" : "");
    page_policy(request);
    reply_header(request, "ETag", etag);
    reply_header(request, "Vary", "Accept-Encoding");
    reply_header(request, "Cache-Control", "private, no-cache");
    if (known != NULL && (strstr(known, etag) != NULL || strcmp(known, "*") == 0)) {
        reply_send(request, 304, NULL, NULL, 0);
    } else if (gzip) {
        reply_header(request, "Content-Encoding", "gzip");
        reply_send(request, 200, HTML, (const char *)page_gzip, page_gzip_bytes);
    } else {
        reply_send(request, 200, HTML, (const char *)page_plain, page_plain_bytes);
    }
}

void page_send_locked(struct evhttp_request *request)
{
    static const char page[] =
        "<!doctype html><html lang=en><meta charset=utf-8><title>fwdscope: token needed</title>"
        "<h1>Token needed</h1><p>Open <code>/?token=TOKEN</code> once with the token that this "
        "fwdscope was started with (the content of its token file); the browser then keeps it in "
        "a cookie. Programs send <code>Authorization: Bearer TOKEN</code>.</html>\n";
    page_policy(request);
    reply_header(request, "WWW-Authenticate", "Bearer");
    reply_send(request, 401, HTML, page, sizeof page - 1);
}
