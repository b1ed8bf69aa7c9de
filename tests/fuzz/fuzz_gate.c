/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer over the gate: any list of headers. The first byte chooses method, version, check and
 * token; then names and values in turn, each ended by a newline. What passes is judged again here,
 * in other words than the gate's.
 */
#include "gate.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEADERS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static size_t headers_named(const struct gate_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        count += strcasecmp(request->headers[i].name, name) == 0;
    return count;
}

static const char *header_of(const struct gate_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return "";
}

/* Whether a header of that name holds the text; a list may come in several headers. */
static bool header_shows(const struct gate_request *request, const char *name, const char *text)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0 &&
            strcasestr(request->headers[i].value, text) != NULL)
            return true;
    return false;
}

/* What must be true of every request that the gate lets pass. */
static void passed_check(const struct gate_request *request, enum gate_check what, bool token)
{
    const size_t hosts = headers_named(request, "Host");
    check(hosts == 1 || (hosts == 0 && request->http_minor == 0),
          "passed with other than one Host");
    check(headers_named(request, "Transfer-Encoding") == 0, "passed with Transfer-Encoding");
    check(headers_named(request, "Content-Length") <= 1, "passed with two lengths");
    const char *length = header_of(request, "Content-Length");
    check(strspn(length, "0123456789 \t") == strlen(length), "passed with a length that is none");
    if (what == GATE_PROBE)
        return;
    const char *host = header_of(request, "Host");
    check(hosts == 0 || strcasestr(host, "localhost") != NULL || strstr(host, "127.0.0.1") != NULL,
          "passed with a foreign Host");
    if (what == GATE_OPEN)
        return;
    bool shown = !token;
    for (size_t i = 0; i < request->header_count; i++)
        shown = shown || strstr(request->headers[i].value, "s3cret") != NULL;
    check(shown, "passed without the token");
    if (what == GATE_STREAM) {
        check(strcasecmp(header_of(request, "Sec-WebSocket-Version"), "13") == 0 &&
                  header_shows(request, "Upgrade", "websocket") &&
                  header_shows(request, "Connection", "upgrade") &&
                  strlen(header_of(request, "Sec-WebSocket-Key")) == 24,
              "passed without a proper upgrade");
        check(headers_named(request, "Origin") <= 1, "passed with two Origins");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    struct gate_header headers[HEADERS_MAX];
    if (size == 0)
        return 0;
    const unsigned how = data[0];
    char *text = malloc(size);
    check(text != NULL, "memory");
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    struct gate_request request = {
        .get_or_head = (how & 1) != 0, .http_minor = how >> 1 & 1, .headers = headers};
    const struct gate_policy policy = {
        .hosts = hosts, .host_count = 2, .token = (how & 4) != 0 ? "s3cret" : NULL};
    const enum gate_check what = (enum gate_check)(how >> 3 & 3);

    for (char *rest = text; rest != NULL && request.header_count < HEADERS_MAX;) {
        struct gate_header *header = &headers[request.header_count];
        header->name = strsep(&rest, "\n");
        header->value = rest != NULL ? strsep(&rest, "\n") : NULL;
        if (header->value == NULL)
            break;
        request.header_count++;
    }
    const char *why = NULL;
    const int status = gate_check(&policy, &request, what, &why);
    check(status == 0 || status == 400 || status == 401 || status == 403 || status == 426,
          "a status that the gate does not have");
    check(status == 0 || (why != NULL && why[0] != '\0'), "refused without a word");
    if (status == 0)
        passed_check(&request, what, policy.token != NULL);
    if (request.header_count > 0)
        check(gate_token_equal(headers[0].name, headers[0].value) ==
                  (strcmp(headers[0].name, headers[0].value) == 0),
              "tokens compared wrongly");
    free(text);
    return 0;
}
