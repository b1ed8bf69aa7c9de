/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares a secret token with given ones under valgrind, which is told that the secret's bytes are
 * undefined: memcheck then reports every jump and every address that depends on one of them, for
 * all values at once. The length of the secret is no secret; only strlen, which must find its end,
 * is excepted, by a suppression.
 *
 *   token_work equal GIVEN      one comparison (callgrind counts the instructions of it)
 *   token_work bearer GIVEN     through the gate, as a request with Authorization
 *   token_work cookie GIVEN     through the gate, as a request with a cookie
 *   token_work leak GIVEN       compares as one should not: memcheck must complain
 *
 * Prints "right" or "wrong".
 */
#include "gate.h"

#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#define SECRET "0123456789abcdef-secret-token-0123456789"

static char secret[] = SECRET;

static int gate_answer(const char *name, const char *before, const char *given)
{
    static const char *const hosts[] = {"localhost"};
    const struct gate_policy policy = {hosts, 1, secret};
    char value[512];
    const char *why;
    snprintf(value, sizeof value, "%s%s", before, given);
    const struct gate_header headers[] = {{"Host", "localhost"}, {name, value}};
    const struct gate_request request = {
        .get_or_head = true, .http_minor = 1, .headers = headers, .header_count = 2};
    return gate_check(&policy, &request, GATE_DATA, &why);
}

static bool is_right(const char *way, const char *given)
{
    if (strcmp(way, "bearer") == 0) {
        return gate_answer("Authorization", "Bearer ", given) == 0;
    }
    if (strcmp(way, "cookie") == 0) {
        return gate_answer("Cookie", GATE_COOKIE "=", given) == 0;
    }
    if (strcmp(way, "leak") == 0) {
        for (size_t i = 0; given[i] != '\0'; i++) {
            if (secret[i] != given[i]) {
                return false;
            }
        }
        return true;
    }
    return gate_token_equal(secret, given);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    VALGRIND_MAKE_MEM_UNDEFINED(secret, sizeof secret - 1);
    bool right = is_right(argv[1], argv[2]);
    VALGRIND_MAKE_MEM_DEFINED(&right, sizeof right); /* the answer is for all to see */
    puts(right ? "right" : "wrong");
    return 0;
}
