/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate stands behind a lax parser: libevent lets pass two Hosts, two Content-Lengths, any
 * Transfer-Encoding and odd header names. Everything here works on what it handed on; a folded
 * line is visible only where it leaves a control character or breaks a value that must be exact.
 */
#include "gate.h"

#include <string.h>
#include <strings.h>

enum {
    STATUS_PASS = 0,
    STATUS_BAD_REQUEST = 400,
    STATUS_UNAUTHORIZED = 401,
    STATUS_FORBIDDEN = 403,
    STATUS_UPGRADE_REQUIRED = 426,
    KEY_CHARACTERS = 24, /* base64 of 16 bytes */
    PORT_DIGITS_MAX = 5,
};

static int refuse(int status, const char **why, const char *line)
{
    *why = line;
    return status;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- headers --------------------------------------------------------------------------------- */

/* The `which`th value of a header; NULL when there are not so many. */
static const char *header_value(const struct gate_request *request, const char *name, size_t which)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0 && which-- == 0) {
            return request->headers[i].value;
        }
    }
    return NULL;
}

/* The value of a header that came exactly once; NULL otherwise. */
static const char *header_single(const struct gate_request *request, const char *name)
{
    return header_value(request, name, 1) == NULL ? header_value(request, name, 0) : NULL;
}

/* A token of RFC 9110: "Host " with its space is none, which closes the way of "Host : evil". */
static bool header_name_is_proper(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        if (!is_digit(*c) && !is_letter(*c) && strchr("!#$%&'*+-.^_`|~", *c) == NULL) {
            return false;
        }
    }
    return *name != '\0';
}

static bool header_value_is_proper(const char *value)
{
    for (const char *c = value; *c != '\0'; c++) {
        const unsigned char byte = (unsigned char)*c;
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Whether the comma-separated lists under a name hold a word, in any case. */
static bool header_lists(const struct gate_request *request, const char *name, const char *word)
{
    const size_t length = strlen(word);
    const char *value;
    for (size_t which = 0; (value = header_value(request, name, which)) != NULL; which++) {
        while (*value != '\0') {
            value += strspn(value, " \t,");
            const size_t item = strcspn(value, " \t,");
            const char *end = value + item;
            const char after = end[strspn(end, " \t")];
            if (item == length && strncasecmp(value, word, length) == 0 &&
                (after == '\0' || after == ',')) {
                return true;
            }
            value += strcspn(value, ",");
        }
    }
    return false;
}

/* ---- framing --------------------------------------------------------------------------------- */

static int check_length(const struct gate_request *request, const char **why)
{
    const char *length = header_value(request, "Content-Length", 0);
    if (length == NULL) {
        return STATUS_PASS;
    }
    if (header_value(request, "Content-Length", 1) != NULL) {
        return refuse(STATUS_BAD_REQUEST, why, "more than one Content-Length");
    }
    if (*length == '\0' || length[strspn(length, "0123456789")] != '\0') {
        return refuse(STATUS_BAD_REQUEST, why, "Content-Length is not a number");
    }
    if (request->get_or_head && length[strspn(length, "0")] != '\0') {
        return refuse(STATUS_BAD_REQUEST, why, "this request takes no body");
    }
    return STATUS_PASS;
}

static int check_framing(const struct gate_request *request, const char **why)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (!header_name_is_proper(request->headers[i].name) ||
            !header_value_is_proper(request->headers[i].value)) {
            return refuse(STATUS_BAD_REQUEST, why, "malformed header");
        }
    }
    if (header_value(request, "Host", 1) != NULL) {
        return refuse(STATUS_BAD_REQUEST, why, "more than one Host");
    }
    if (request->http_minor >= 1 && header_value(request, "Host", 0) == NULL) {
        return refuse(STATUS_BAD_REQUEST, why, "HTTP/1.1 needs a Host");
    }
    if (header_value(request, "Transfer-Encoding", 0) != NULL) {
        return refuse(STATUS_BAD_REQUEST, why, "Transfer-Encoding is not taken");
    }
    return check_length(request, why);
}

/* ---- Host and Origin ------------------------------------------------------------------------- */

/* Bytes of the name in NAME[:PORT] or [V6][:PORT]; 0 when it is neither. */
static size_t authority_name_bytes(const char *authority)
{
    const char *end;
    if (*authority == '[') {
        end = strchr(authority, ']');
        if (end == NULL) {
            return 0;
        }
        end++;
    } else {
        end = authority + strcspn(authority, ":");
    }
    const size_t digits = *end == ':' ? strspn(end + 1, "0123456789") : 0;
    const char *rest = *end == ':' ? end + 1 + digits : end;
    if (*rest != '\0' || digits > PORT_DIGITS_MAX) {
        return 0;
    }
    return (size_t)(end - authority);
}

static bool host_is_allowed(const struct gate_policy *policy, const char *authority)
{
    const size_t bytes = authority_name_bytes(authority);
    for (size_t i = 0; i < policy->host_count; i++) {
        if (strlen(policy->hosts[i]) == bytes &&
            strncasecmp(policy->hosts[i], authority, bytes) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * DNS rebinding: a page of evil.example that lets its own name resolve to 127.0.0.1 is of one
 * origin with us for the browser, but it cannot help saying Host: evil.example. HTTP/1.0 without a
 * Host is no browser.
 */
static int check_host(const struct gate_policy *policy, const struct gate_request *request,
                      const char **why)
{
    const char *host = header_value(request, "Host", 0);
    if (host == NULL) {
        return STATUS_PASS;
    }
    if (authority_name_bytes(host) == 0) {
        return refuse(STATUS_BAD_REQUEST, why, "malformed Host");
    }
    if (!host_is_allowed(policy, host)) {
        return refuse(STATUS_FORBIDDEN, why, "this Host is not allowed; see --allow-host");
    }
    return STATUS_PASS;
}

/* Absent: not a browser. Present: a page of ours, which is one that came from this very Host. */
static int check_origin(const struct gate_policy *policy, const struct gate_request *request,
                        const char **why)
{
    if (header_value(request, "Origin", 0) == NULL) {
        return STATUS_PASS;
    }
    const char *origin = header_single(request, "Origin");
    const char *host = header_value(request, "Host", 0);
    const char *authority = NULL;
    if (origin != NULL && strncasecmp(origin, "http://", 7) == 0) {
        authority = origin + 7;
    } else if (origin != NULL && strncasecmp(origin, "https://", 8) == 0) {
        authority = origin + 8;
    }
    if (authority == NULL || host == NULL || strcasecmp(authority, host) != 0 ||
        !host_is_allowed(policy, authority)) {
        return refuse(STATUS_FORBIDDEN, why, "this Origin is not allowed");
    }
    return STATUS_PASS;
}

/* ---- token ----------------------------------------------------------------------------------- */

/* Looks at each given byte once, whatever it finds. */
static bool token_equal(const char *wanted, const char *given, size_t given_bytes)
{
    const size_t wanted_bytes = strlen(wanted);
    unsigned difference = wanted_bytes == given_bytes ? 0 : 1;
    for (size_t i = 0; i < given_bytes; i++) { /* its NUL too, so that there always is a byte */
        difference |= (unsigned)(unsigned char)(wanted[i % (wanted_bytes + 1)] ^ given[i]);
    }
    return difference == 0;
}

bool gate_token_equal(const char *wanted, const char *given)
{
    return token_equal(wanted, given, strlen(given));
}

static bool bearer_is_right(const struct gate_policy *policy, const struct gate_request *request)
{
    const char *value = header_single(request, "Authorization");
    if (value == NULL || strncasecmp(value, "Bearer ", 7) != 0) {
        return false;
    }
    value += 7;
    return gate_token_equal(policy->token, value + strspn(value, " "));
}

/* Any cookie of our name may fit: an old one of another path or port can stand before ours. */
static bool cookie_is_right(const struct gate_policy *policy, const struct gate_request *request)
{
    static const char prefix[] = GATE_COOKIE "=";
    const size_t prefix_bytes = sizeof prefix - 1;
    bool right = false;
    const char *value;
    for (size_t which = 0; (value = header_value(request, "Cookie", which)) != NULL; which++) {
        while (*value != '\0') {
            value += strspn(value, " \t;");
            const size_t pair = strcspn(value, ";");
            if (pair >= prefix_bytes && strncmp(value, prefix, prefix_bytes) == 0) {
                right |= token_equal(policy->token, value + prefix_bytes, pair - prefix_bytes);
            }
            value += pair;
        }
    }
    return right;
}

static int check_token(const struct gate_policy *policy, const struct gate_request *request,
                       const char **why)
{
    if (policy->token == NULL || bearer_is_right(policy, request) ||
        cookie_is_right(policy, request)) {
        return STATUS_PASS;
    }
    return refuse(STATUS_UNAUTHORIZED, why, "a token is needed");
}

/* ---- upgrade --------------------------------------------------------------------------------- */

static bool key_is_proper(const char *key)
{
    if (key == NULL || strlen(key) != KEY_CHARACTERS) {
        return false;
    }
    for (size_t i = 0; i < KEY_CHARACTERS - 2; i++) {
        if (!is_digit(key[i]) && !is_letter(key[i]) && key[i] != '+' && key[i] != '/') {
            return false;
        }
    }
    return strcmp(key + KEY_CHARACTERS - 2, "==") == 0;
}

static int check_upgrade(const struct gate_request *request, const char **why)
{
    if (request->http_minor < 1) {
        return refuse(STATUS_UPGRADE_REQUIRED, why, "a WebSocket needs HTTP/1.1");
    }
    if (!header_lists(request, "Upgrade", "websocket") ||
        !header_lists(request, "Connection", "Upgrade")) {
        return refuse(STATUS_UPGRADE_REQUIRED, why, "this is a WebSocket: upgrade needed");
    }
    const char *version = header_single(request, "Sec-WebSocket-Version");
    if (version == NULL || strcmp(version, "13") != 0) {
        return refuse(STATUS_UPGRADE_REQUIRED, why, "Sec-WebSocket-Version must be 13");
    }
    if (!key_is_proper(header_single(request, "Sec-WebSocket-Key"))) {
        return refuse(STATUS_UPGRADE_REQUIRED, why, "Sec-WebSocket-Key must be 16 bytes of base64");
    }
    return STATUS_PASS;
}

int gate_check(const struct gate_policy *policy, const struct gate_request *request,
               enum gate_check check, const char **why)
{
    *why = "";
    int status = check_framing(request, why);
    if (status == STATUS_PASS && check != GATE_PROBE) {
        status = check_host(policy, request, why);
    }
    if (status == STATUS_PASS && check == GATE_STREAM) {
        status = check_origin(policy, request, why);
    }
    if (status == STATUS_PASS && (check == GATE_DATA || check == GATE_STREAM)) {
        status = check_token(policy, request, why);
    }
    if (status == STATUS_PASS && check == GATE_STREAM) {
        status = check_upgrade(request, why);
    }
    return status;
}
