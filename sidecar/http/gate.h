/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: pure checks on the parts of a request, apart from libevent so that they can be tested
 * and fuzzed alone. Answers are HTTP statuses; 0 lets the request pass.
 */
#ifndef SIDECAR_GATE_H
#define SIDECAR_GATE_H

#include <stdbool.h>
#include <stddef.h>

/* One header as it came; a name may come several times. */
struct gate_header {
    const char *name;
    const char *value;
};

struct gate_request {
    bool get_or_head;
    unsigned http_minor; /* of HTTP/1.x */
    const struct gate_header *headers;
    size_t header_count;
};

/* The cookie in which a browser carries the token. */
#define GATE_COOKIE "fwdscope_token"

struct gate_policy {
    const char *const *hosts; /* allowed Host names, without port; lower case */
    size_t host_count;
    const char *token; /* NULL: none wanted */
};

enum gate_check {
    GATE_PROBE, /* framing only: no Host list, no token */
    GATE_OPEN,  /* framing and Host */
    GATE_DATA,  /* framing, Host, token */
    GATE_STREAM /* framing, Host, Origin, token, and a proper WebSocket upgrade */
};

/* 0, or 400 (framing), 401 (token), 403 (Host, Origin), 426 (no or bad upgrade); *why becomes one
 * static line for the body. */
int gate_check(const struct gate_policy *policy, const struct gate_request *request,
               enum gate_check check, const char **why);

/* Whether two strings are equal, in time that depends on the length of `given` only. */
bool gate_token_equal(const char *wanted, const char *given);

#endif
