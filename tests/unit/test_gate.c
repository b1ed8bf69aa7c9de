/* SPDX-License-Identifier: Apache-2.0 */
/* The gate, check by check. Each request is a good one with one thing wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gate.h"

#include <string.h>

#define TOKEN "0123456789abcdef-secret"
#define KEY   "dGhlIHNhbXBsZSBub25jZQ=="
enum { HEADERS_MAX = 16 };

static const char *const HOSTS[] = {"localhost", "127.0.0.1", "[::1]", "scope.example"};
static const struct gate_policy OPEN = {HOSTS, 4, NULL};
static const struct gate_policy LOCKED = {HOSTS, 4, TOKEN};

/* Checks a GET of HTTP/1.minor whose headers are given as name, value, ..., NULL. */
static int check_minor(const struct gate_policy *policy, enum gate_check check, unsigned minor,
                       const char *const *words)
{
    struct gate_header headers[HEADERS_MAX];
    struct gate_request request = {.get_or_head = true, .http_minor = minor, .headers = headers};
    for (; words[0] != NULL; words += 2) {
        assert_true(request.header_count < HEADERS_MAX);
        headers[request.header_count++] = (struct gate_header){words[0], words[1]};
    }
    const char *why = NULL;
    const int status = gate_check(policy, &request, check, &why);
    assert_non_null(why);
    assert_int_equal(status != 0, why[0] != '\0'); /* a refusal says why, a pass says nothing */
    return status;
}

#define CHECK(policy, check, ...) \
    check_minor(&(policy), check, 1, (const char *const[]){__VA_ARGS__, NULL})

#define UPGRADE                                                                     \
    "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13", \
        "Sec-WebSocket-Key", KEY

/* ---- framing --------------------------------------------------------------------------------- */

static void test_good_requests_pass(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_PROBE, "Host", "10.0.0.7:9091"), 0);
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", "localhost:9090"), 0);
    assert_int_equal(CHECK(OPEN, GATE_DATA, "Host", "localhost:9090"), 0);
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost:9090", UPGRADE), 0);
}

static void test_two_hosts_are_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", "localhost", "host", "localhost"), 400);
    assert_int_equal(CHECK(OPEN, GATE_PROBE, "Host", "a", "Host", "a"), 400);
}

static void test_http_1_1_needs_a_host(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Accept", "*/*"), 400);
    assert_int_equal(CHECK(OPEN, GATE_PROBE, "Accept", "*/*"), 400);
}

static void test_http_1_0_needs_no_host(void **state)
{
    (void)state;
    const char *const none[] = {NULL};
    const char *const wrong[] = {"Host", "evil.example", NULL};
    assert_int_equal(check_minor(&OPEN, GATE_OPEN, 0, none), 0);
    assert_int_equal(check_minor(&OPEN, GATE_OPEN, 0, wrong), 403);
}

static void test_two_content_lengths_are_refused(void **state)
{
    (void)state;
    assert_int_equal(
        CHECK(OPEN, GATE_OPEN, "Host", "localhost", "Content-Length", "0", "Content-Length", "0"),
        400);
}

static void test_content_length_must_be_digits(void **state)
{
    (void)state;
    const char *const wrong[] = {"+0", "-1", "0x0", "", "0 0", "0, 0", "1e1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_PROBE, "Host", "localhost", "Content-Length", wrong[i]),
                         400);
    }
}

static void test_get_takes_no_body(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", "localhost", "Content-Length", "0"), 0);
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", "localhost", "Content-Length", "10"), 400);
}

static void test_other_methods_may_bring_one(void **state)
{
    (void)state;
    const struct gate_header headers[] = {{"Host", "localhost"}, {"Content-Length", "10"}};
    const struct gate_request request = {false, 1, headers, 2};
    const char *why;
    assert_int_equal(gate_check(&OPEN, &request, GATE_PROBE, &why), 0);
}

static void test_transfer_encoding_is_refused(void **state)
{
    (void)state;
    const char *const values[] = {"chunked", "identity", "xchunked", ""};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_int_equal(
            CHECK(OPEN, GATE_PROBE, "Host", "localhost", "transfer-encoding", values[i]), 400);
    }
}

static void test_header_names_are_tokens(void **state)
{
    (void)state;
    const char *const names[] = {"Host ",      " X", "X\tY", "X(Y)", "", "Transfer-Encoding ",
                                 "caf\xc3\xa9"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_PROBE, "Host", "localhost", names[i], "v"), 400);
    }
}

static void test_folded_and_control_values_are_refused(void **state)
{
    (void)state;
    const char *const values[] = {"a\r\n b", "a\nb", "a\rb", "a\x01", "\x7f"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_PROBE, "Host", "localhost", "X-Any", values[i]), 400);
    }
    assert_int_equal(CHECK(OPEN, GATE_PROBE, "Host", "localhost", "X-Any", "a\tb \xff"), 0);
}

static void test_a_folded_host_is_no_host_of_ours(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", "localhost evil.example"), 403);
}

/* ---- Host ------------------------------------------------------------------------------------ */

static void test_allowed_hosts_pass_with_any_port(void **state)
{
    (void)state;
    const char *const hosts[] = {
        "localhost", "localhost:1", "LocalHost:65535", "127.0.0.1:9090",
        "[::1]",     "[::1]:9090",  "scope.example",   "SCOPE.EXAMPLE:8080"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", hosts[i]), 0);
    }
}

static void test_other_hosts_are_refused(void **state)
{
    (void)state;
    const char *const hosts[] = {
        "evil.example", "localhost.evil.example", "localhost.", "xlocalhost", "127.0.0.2",
        "[::2]:9090",   "localhost@evil.net",     "10.0.0.7",   "::1"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        const int status = CHECK(OPEN, GATE_OPEN, "Host", hosts[i]);
        assert_true(status == 403 || status == 400);
    }
    assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", "evil.example:9090"), 403);
}

static void test_malformed_hosts_are_bad_requests(void **state)
{
    (void)state;
    const char *const hosts[] = {"",     ":9090",  "localhost:x",  "localhost:123456",
                                 "[::1", "[::1]x", "localhost:1:2"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_OPEN, "Host", hosts[i]), 400);
    }
}

static void test_probes_come_under_any_host(void **state)
{
    (void)state;
    assert_int_equal(CHECK(LOCKED, GATE_PROBE, "Host", "evil.example"), 0);
}

static void test_rebinding_is_refused_although_origin_equals_host(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "evil.example:9090", "Origin",
                           "http://evil.example:9090", UPGRADE),
                     403);
}

/* ---- Origin ---------------------------------------------------------------------------------- */

static void test_own_origin_passes(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost:9090", "Origin",
                           "http://localhost:9090", UPGRADE),
                     0);
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "scope.example", "Origin",
                           "https://Scope.example", UPGRADE),
                     0);
}

static void test_other_origins_are_refused(void **state)
{
    (void)state;
    const char *const origins[] = {"http://evil.example",
                                   "http://127.0.0.1:9090",
                                   "http://localhost:9091",
                                   "http://localhost",
                                   "null",
                                   "",
                                   "file://localhost:9090",
                                   "http://localhost:9090/",
                                   "http://localhost:9090 x"};
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
        assert_int_equal(
            CHECK(OPEN, GATE_STREAM, "Host", "localhost:9090", "Origin", origins[i], UPGRADE), 403);
    }
}

static void test_two_origins_are_refused(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Origin", "http://localhost",
                           "Origin", "http://evil.example", UPGRADE),
                     403);
}

/* ---- token ----------------------------------------------------------------------------------- */

static void test_data_and_stream_need_the_token(void **state)
{
    (void)state;
    assert_int_equal(CHECK(LOCKED, GATE_DATA, "Host", "localhost"), 401);
    assert_int_equal(CHECK(LOCKED, GATE_STREAM, "Host", "localhost", UPGRADE), 401);
    assert_int_equal(CHECK(LOCKED, GATE_OPEN, "Host", "localhost"), 0);
}

static void test_bearer_token(void **state)
{
    (void)state;
    assert_int_equal(
        CHECK(LOCKED, GATE_DATA, "Host", "localhost", "Authorization", "Bearer " TOKEN), 0);
    assert_int_equal(
        CHECK(LOCKED, GATE_DATA, "Host", "localhost", "authorization", "bearer " TOKEN), 0);
    const char *const wrong[] = {"Bearer",   "Bearer ",          "Bearer " TOKEN "x",
                                 TOKEN,      "Basic " TOKEN,     "Bearer 0123456789abcdef-secreT",
                                 "Bearer 0", "Bearer " TOKEN " "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(CHECK(LOCKED, GATE_DATA, "Host", "localhost", "Authorization", wrong[i]),
                         401);
    }
}

static void test_cookie_token(void **state)
{
    (void)state;
    const char *const right[] = {GATE_COOKIE "=" TOKEN, "a=b; " GATE_COOKIE "=" TOKEN "; c=d",
                                 GATE_COOKIE "=old; " GATE_COOKIE "=" TOKEN};
    const char *const wrong[] = {GATE_COOKIE "=", GATE_COOKIE, "x" GATE_COOKIE "=" TOKEN,
                                 GATE_COOKIE "=" TOKEN "x", "a=" GATE_COOKIE "=" TOKEN};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_int_equal(CHECK(LOCKED, GATE_DATA, "Host", "localhost", "Cookie", right[i]), 0);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(CHECK(LOCKED, GATE_DATA, "Host", "localhost", "Cookie", wrong[i]), 401);
    }
}

static void test_host_is_judged_before_the_token(void **state)
{
    (void)state;
    assert_int_equal(CHECK(LOCKED, GATE_DATA, "Host", "evil.example"), 403);
}

static void test_token_equality(void **state)
{
    (void)state;
    assert_true(gate_token_equal("abc", "abc"));
    assert_false(gate_token_equal("abc", ""));
    assert_false(gate_token_equal("abc", "ab"));
    assert_false(gate_token_equal("abc", "abcabc")); /* the wanted one repeats in the comparison */
    assert_false(gate_token_equal("abc", "abd"));
    assert_false(gate_token_equal("", "abc"));
    assert_true(gate_token_equal("", ""));
}

/* ---- upgrade --------------------------------------------------------------------------------- */

static void test_a_plain_get_is_told_to_upgrade(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost"), 426);
}

static void test_upgrade_words_stand_in_lists(void **state)
{
    (void)state;
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "h2c, WebSocket",
                           "Connection", "keep-alive", "connection", "x , upgrade",
                           "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", KEY),
                     0);
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "websockets",
                           "Connection", "Upgrade", "Sec-WebSocket-Version", "13",
                           "Sec-WebSocket-Key", KEY),
                     426);
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "websocket",
                           "Connection", "upgraded", "Sec-WebSocket-Version", "13",
                           "Sec-WebSocket-Key", KEY),
                     426);
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "websocket foo",
                           "Connection", "Upgrade", "Sec-WebSocket-Version", "13",
                           "Sec-WebSocket-Key", KEY),
                     426);
}

static void test_version_8_is_refused(void **state)
{
    (void)state;
    const char *const versions[] = {"8", "", "013", "13, 8", "130"};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "websocket",
                               "Connection", "Upgrade", "Sec-WebSocket-Version", versions[i],
                               "Sec-WebSocket-Key", KEY),
                         426);
    }
}

static void test_bad_keys_are_refused(void **state)
{
    (void)state;
    const char *const keys[] = {"",
                                "dGhlIHNhbXBsZSBub25jZQ=",
                                "dGhlIHNhbXBsZSBub25jZQ===",
                                "dGhlIHNhbXBsZSBub25jZQxx",
                                "dGhlIHNhbXBs SBub25jZQ==",
                                "dGhlIHNhbXBs=SBub25jZQ=="};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "websocket",
                               "Connection", "Upgrade", "Sec-WebSocket-Version", "13",
                               "Sec-WebSocket-Key", keys[i]),
                         426);
    }
}

static void test_two_keys_or_none_are_refused(void **state)
{
    (void)state;
    assert_int_equal(
        CHECK(OPEN, GATE_STREAM, "Host", "localhost", UPGRADE, "Sec-WebSocket-Key", KEY), 426);
    assert_int_equal(CHECK(OPEN, GATE_STREAM, "Host", "localhost", "Upgrade", "websocket",
                           "Connection", "Upgrade", "Sec-WebSocket-Version", "13"),
                     426);
}

static void test_http_1_0_does_not_upgrade(void **state)
{
    (void)state;
    const char *const words[] = {"Host", "localhost", UPGRADE, NULL};
    assert_int_equal(check_minor(&OPEN, GATE_STREAM, 0, words), 426);
}

static void test_framing_is_judged_first(void **state)
{
    (void)state;
    assert_int_equal(
        CHECK(LOCKED, GATE_STREAM, "Host", "evil.example", "Transfer-Encoding", "chunked"), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_requests_pass),
        cmocka_unit_test(test_two_hosts_are_refused),
        cmocka_unit_test(test_http_1_1_needs_a_host),
        cmocka_unit_test(test_http_1_0_needs_no_host),
        cmocka_unit_test(test_two_content_lengths_are_refused),
        cmocka_unit_test(test_content_length_must_be_digits),
        cmocka_unit_test(test_get_takes_no_body),
        cmocka_unit_test(test_other_methods_may_bring_one),
        cmocka_unit_test(test_transfer_encoding_is_refused),
        cmocka_unit_test(test_header_names_are_tokens),
        cmocka_unit_test(test_folded_and_control_values_are_refused),
        cmocka_unit_test(test_a_folded_host_is_no_host_of_ours),
        cmocka_unit_test(test_allowed_hosts_pass_with_any_port),
        cmocka_unit_test(test_other_hosts_are_refused),
        cmocka_unit_test(test_malformed_hosts_are_bad_requests),
        cmocka_unit_test(test_probes_come_under_any_host),
        cmocka_unit_test(test_rebinding_is_refused_although_origin_equals_host),
        cmocka_unit_test(test_own_origin_passes),
        cmocka_unit_test(test_other_origins_are_refused),
        cmocka_unit_test(test_two_origins_are_refused),
        cmocka_unit_test(test_data_and_stream_need_the_token),
        cmocka_unit_test(test_bearer_token),
        cmocka_unit_test(test_cookie_token),
        cmocka_unit_test(test_host_is_judged_before_the_token),
        cmocka_unit_test(test_token_equality),
        cmocka_unit_test(test_a_plain_get_is_told_to_upgrade),
        cmocka_unit_test(test_upgrade_words_stand_in_lists),
        cmocka_unit_test(test_version_8_is_refused),
        cmocka_unit_test(test_bad_keys_are_refused),
        cmocka_unit_test(test_two_keys_or_none_are_refused),
        cmocka_unit_test(test_http_1_0_does_not_upgrade),
        cmocka_unit_test(test_framing_is_judged_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
