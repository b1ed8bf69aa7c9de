/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction of YAML configurations: what vanishes, what stays, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fwdscope_redact.h"

#define R "'***redacted***'"

/* ---- helpers: each redacts twice, since every result must redact to itself ------------------- */

/* Returns the redacted text, to be freed. */
static char *redact(const char *yaml, size_t bytes, bool *ok)
{
    char *once = fwdscope_redact_yaml(yaml, bytes, ok);
    assert_non_null(once);
    bool ok_again = false;
    char *twice = fwdscope_redact_yaml(once, strlen(once), &ok_again);
    assert_non_null(twice);
    assert_string_equal(twice, once);
    assert_int_equal(ok_again, *ok);
    free(twice);
    return once;
}

static void assert_becomes(const char *yaml, const char *expected)
{
    bool ok = false;
    char *got = redact(yaml, strlen(yaml), &ok);
    assert_string_equal(got, expected);
    assert_true(ok);
    free(got);
}

static void assert_stays(const char *yaml)
{
    assert_becomes(yaml, yaml);
}

static void assert_refused_bytes(const char *yaml, size_t bytes)
{
    bool ok = true;
    char *got = redact(yaml, bytes, &ok);
    assert_string_equal(got, FWDSCOPE_CONFIG_UNAVAILABLE);
    assert_false(ok);
    free(got);
}

static void assert_refused(const char *yaml)
{
    assert_refused_bytes(yaml, strlen(yaml));
}

/* The word s3cret is planted in `yaml` and is gone from its result, which is a document. */
static void assert_hides(const char *yaml)
{
    assert_non_null(strstr(yaml, "s3cret"));
    bool ok = false;
    char *got = redact(yaml, strlen(yaml), &ok);
    if (strstr(got, "s3cret") != NULL)
        fail_msg("leaked from <%s>: <%s>", yaml, got);
    assert_true(ok);
    free(got);
}

/* ---- what the origin leaked ------------------------------------------------------------------ */

static void test_aws_keys(void **state)
{
    (void)state;
    assert_becomes("aws_access_key_id: AKIAIOSFODNN7EXAMPLE\n"
                   "aws_secret_access_key: wJalrXUtnFEMI/K7MDENG\n"
                   "aws_session_token: FwoGZXIvYXdzEBY\n"
                   "region: eu-west-1\n",
                   "aws_access_key_id: " R "\n"
                   "aws_secret_access_key: " R "\n"
                   "aws_session_token: " R "\n"
                   "region: eu-west-1\n");
}

static void test_nested_auth(void **state)
{
    (void)state;
    assert_becomes(
        "output:\n  auth:\n    basic:\n      user: u\n      words: [a, {b: c}]\n  n: 1\n",
        "output:\n  auth: " R "\n  n: 1\n");
}

static void test_auth_scalar(void **state)
{
    (void)state;
    assert_becomes("auth: x\nbasicAuth: y\nproxy-auth: z\n",
                   "auth: " R "\nbasicAuth: " R "\nproxy-auth: " R "\n");
}

static void test_boolean_secret(void **state)
{
    (void)state;
    assert_becomes("password: true\n", "password: " R "\n");
}

static void test_number_secret(void **state)
{
    (void)state;
    assert_becomes("token: 123456\npasscode: 1.5\n", "token: " R "\npasscode: " R "\n");
}

static void test_null_secret(void **state)
{
    (void)state;
    assert_becomes("token:\nsecret: ~\n", "token: " R "\nsecret: " R "\n");
}

static void test_tagged_secret(void **state)
{
    (void)state;
    assert_becomes("secret: !!binary c2VjcmV0\ntoken: !!int 42\npwd: !custom {a: b}\n",
                   "secret: " R "\ntoken: " R "\npwd: " R "\n");
}

static void test_sequence_secret(void **state)
{
    (void)state;
    assert_becomes("tokens:\n- a\n- b\n", "tokens: " R "\n");
}

static void test_mapping_secret(void **state)
{
    (void)state;
    assert_becomes("credentials: {user: a, key: b}\n", "credentials: " R "\n");
}

/* ---- names ----------------------------------------------------------------------------------- */

static void test_secret_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "api_key",
        "key_pem",
        "sas",
        "apikey",
        "API-KEY",
        "apiKey",
        "x-api-key",
        "token",
        "bearer_token",
        "authToken",
        "password",
        "passwd",
        "pwd",
        "db_pass",
        "PGPASSWORD",
        "secret",
        "client_secret",
        "private_key",
        "privateKey",
        "access_key",
        "secret_access_key",
        "session_token",
        "credential",
        "credentials",
        "creds",
        "Authorization",
        "passphrase",
        "signature",
        "X-Amz-Signature",
        "sig",
        "cookie",
        "Set-Cookie",
        "connection_string",
        "AccountKey",
        "SharedAccessKey",
        "dsn",
        "sentry_dsn",
        "jwt",
        "oauth2",
        "psk",
        "webhook_url",
        "ssh_key",
        "auth_users",
        "http-auth-map",
        "basic_auth_users",
        "httpAuth2",
        "AUTH_X",
        "user_pw",
        "\"pass\\u0077ord\"",
        "'api key'",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "a: {%s: s3cret}\n", names[i]);
        assert_hides(yaml);
    }
}

static void test_harmless_names_stay(void **state)
{
    (void)state;
    assert_stays("tokenizer: standard\nmax_tokens: 5\nauthor: bob\nauthority: x\nbypass: true\n"
                 "compass: n\nkey: level\npartition_key: id\nconfig: a\nuser: bob\n"
                 "keyboard: us\nmonkey: 1\nsigma: 2\n");
}

static void test_overlong_name_is_secret(void **state)
{
    (void)state;
    char yaml[400];
    memset(yaml, 'k', 300);
    snprintf(yaml + 300, sizeof(yaml) - 300, ": s3cret\n");
    assert_hides(yaml);
}

static void test_name_value_list(void **state)
{
    (void)state;
    assert_becomes("env:\n- name: API_TOKEN\n  value: abc\n- Name: LEVEL\n  Value: info\n"
                   "- value: x\n  name: db-password\n",
                   "env:\n- name: API_TOKEN\n  value: " R "\n- Name: LEVEL\n  Value: info\n"
                   "- value: " R "\n  name: db-password\n");
}

static void test_name_value_through_merge(void **state)
{
    (void)state;
    assert_hides("base: &b {name: API_TOKEN}\nenv:\n- {<<: *b, value: s3cret}\n");
    assert_hides("base: &b {value: s3cret}\nenv:\n- {<<: *b, name: API_TOKEN}\n");
}

static void test_header_map(void **state)
{
    (void)state;
    assert_becomes("headers:\n  Authorization: Bearer abc\n  Accept: text/plain\n",
                   "headers:\n  Authorization: " R "\n  Accept: text/plain\n");
}

static void test_list_of_pairs(void **state)
{
    (void)state;
    assert_hides("headers: [[Accept, x], [X-Api-Key, s3cret]]\n");
}

static void test_list_of_field_names_stays(void **state)
{
    (void)state;
    assert_stays("drop_fields: [password, message]\n");
}

static void test_list_of_arguments(void **state)
{
    (void)state;
    assert_becomes("command: [run, --token, abc, --level, info]\n",
                   "command: [run, --token, " R ", --level, info]\n");
}

static void test_secret_tag(void **state)
{
    (void)state;
    assert_hides("a: !secret s3cret\nb: !api_key [s3cret]\nc: !password {x: s3cret}\n"
                 "d: !Secret\n  e: s3cret\n");
}

/* ---- URLs ------------------------------------------------------------------------------------ */

static void test_url_user_and_password(void **state)
{
    (void)state;
    assert_becomes("endpoint: https://bob:pw@host.example:4318/v1/logs?x=1\n",
                   "endpoint: https://host.example:4318/v1/logs?x=1\n");
}

static void test_url_user_alone(void **state)
{
    (void)state;
    assert_becomes("url: ssh://bob@host/x\n", "url: ssh://host/x\n");
}

static void test_url_in_any_scalar(void **state)
{
    (void)state;
    assert_becomes("note: see http://u:p@h/ for more\nlist:\n- tcp://u:p@h:1\n",
                   "note: see http://h/ for more\nlist:\n- tcp://h:1\n");
}

static void test_urls_in_one_string(void **state)
{
    (void)state;
    assert_becomes("brokers: kafka://a:b@h1:9092,kafka://c:d@h2:9092,kafka://h3\n",
                   "brokers: kafka://h1:9092,kafka://h2:9092,kafka://h3\n");
}

static void test_url_hosts_in_one_url(void **state)
{
    (void)state;
    assert_hides("url: mongodb://u:s3cret@h1,s3cret:x@h2/db\n");
}

static void test_url_sloppy_passwords(void **state)
{
    (void)state;
    assert_hides("a: http://bob:s3cret@s3cret@h/\n");
    assert_hides("a: http://bob:s3cret/s3cret@h/\n");
    assert_hides("a: http://bob:12/s3cret@h/\n");
    assert_hides("a: http://bob:12 s3cret@h/\n");
    assert_hides("a: http://bob:s3cret,s3cret@h/\n");
    assert_hides("a: http://bob:s3cret s3cret@h/\n");
    assert_hides("a: 'http://bob:s3cret\"s3cret@h/'\n");
    assert_hides("a: http://bob:s3cret#s3cret@h/\n");
    assert_hides("a: http://bob:x=s3cret://s3cret@h/\n");
    assert_hides("a: jdbc:mysql://bob:s3cret@h/db\n");
}

static void test_url_inside_a_query(void **state)
{
    (void)state;
    assert_hides("a: http://h/?next=http://bob:s3cret@x/\n");
}

static void test_url_as_key(void **state)
{
    (void)state;
    assert_hides("http://bob:s3cret@h/: 1\n");
}

static void test_unparsable_endpoint(void **state)
{
    (void)state;
    assert_becomes("endpoint: bob:pw@host:9092\nhosts: [bob@h1, h2]\nurl: '//bob@h'\n",
                   "endpoint: <redacted_endpoint>\nhosts: [<redacted_endpoint>, h2]\n"
                   "url: '<redacted_endpoint>'\n");
}

static void test_user_and_password_without_scheme(void **state)
{
    (void)state;
    assert_becomes("note: use bob:pw@host please\n", "note: use <redacted_endpoint> please\n");
}

static void test_mail_address_stays(void **state)
{
    (void)state;
    assert_stays("contact: bob@example.com\n");
}

static void test_clean_urls_stay(void **state)
{
    (void)state;
    assert_stays("endpoint: http://[::1]:4318/v1?x=1&y=2#z\nurl: https://h.example/a/b:c\n"
                 "hosts: h1:9092,h2:9092\n");
}

static void test_query_secret(void **state)
{
    (void)state;
    assert_becomes("url: http://h/?a=1&api_key=abc&b=2\n",
                   "url: http://h/?a=1&api_key=***redacted***&b=2\n");
    assert_hides("x: https://h/?token=s3cret\n");
}

/* ---- credentials inside other texts ---------------------------------------------------------- */

static void test_bearer_and_basic(void **state)
{
    (void)state;
    assert_becomes("a: Bearer abc.def\nb: BASIC dTpw rest\nc: basics are fine\n",
                   "a: Bearer ***redacted***\nb: BASIC ***redacted*** rest\nc: basics are fine\n");
}

static void test_header_line(void **state)
{
    (void)state;
    assert_becomes("headers:\n- 'X-Api-Key: a b c'\n- 'Accept: x'\n",
                   "headers:\n- 'X-Api-Key: ***redacted***'\n- 'Accept: x'\n");
}

static void test_assignment(void **state)
{
    (void)state;
    assert_hides("env: [LEVEL=info, API_TOKEN=s3cret]\n");
    assert_hides("dst: host=h password = s3cret words\n");
    assert_hides("json: '{\"password\":\"s3cret\"}'\n");
    assert_hides("cmd: run --password s3cret\n");
    assert_hides("cmd: run /password:s3cret\n");
    assert_hides("json: '{\\\"password\\\":\\\"s3cret\\\"}'\n");
    assert_hides("dst: jdbc:sqlserver://h:1433;user=a;password=s3cret;x=1\n");
}

static void test_embedded_document(void **state)
{
    (void)state;
    assert_becomes("file: |\n  level: info\n  password: x\n  more: y\n",
                   "file: |\n  level: info\n  password: ***redacted***\n  more: y\n");
    assert_hides("file: |\n  auth:\n    x: s3cret\n");
    assert_hides("file: |\n  token: >\n    s3cret\n");
    assert_hides("file: |\n  token: \"a\n  s3cret\"\n");
}

static void test_private_key(void **state)
{
    (void)state;
    assert_becomes("tls:\n  pem: |\n    -----BEGIN RSA PRIVATE KEY-----\n    MIIEow\n"
                   "    -----END RSA PRIVATE KEY-----\n",
                   "tls:\n  pem: |-\n    ***redacted***\n");
}

static void test_image_name_stays(void **state)
{
    (void)state;
    assert_stays("image: registry.example/token-service:1.2.3\n");
}

/* ---- anchors, aliases, merges ---------------------------------------------------------------- */

static void test_alias_to_a_secret(void **state)
{
    (void)state;
    assert_becomes("a:\n  token: &t abc\nb: *t\n", "a:\n  token: " R "\nb: " R "\n");
}

static void test_alias_under_a_secret_key(void **state)
{
    (void)state;
    assert_becomes("plain: &p abc\ntoken: *p\nother: *p\n",
                   "plain: " R "\ntoken: " R "\nother: " R "\n");
}

static void test_anchor_inside_auth(void **state)
{
    (void)state;
    assert_hides("auth: {deep: [{x: &a s3cret}]}\nb: *a\n? *a\n: 1\n");
}

static void test_chain_of_aliases(void **state)
{
    (void)state;
    assert_hides("a: &a s3cret\nb: &b [*a]\nc: &c {d: *b}\nauth: *c\n");
}

static void test_merge_key(void **state)
{
    (void)state;
    assert_becomes("base: &b {token: abc, level: 1}\nuse:\n  <<: *b\n  x: 2\n",
                   "base: &b {token: " R ", level: 1}\nuse:\n  <<: *b\n  x: 2\n");
    assert_hides("base: &b {x: s3cret}\nauth: {<<: *b}\n");
}

static void test_alias_as_key(void **state)
{
    (void)state;
    assert_hides("name: &n token\nx: {*n : s3cret}\n");
}

static void test_alias_under_an_endpoint(void **state)
{
    (void)state;
    assert_hides("x: &e s3cret@host\nendpoint: *e\n");
}

static void test_anchor_redefined(void **state)
{
    (void)state;
    assert_becomes("a: &x one\nb: *x\ntoken: &x two\nc: *x\nd: &x three\ne: *x\n",
                   "a: &x one\nb: *x\ntoken: " R "\nc: " R "\nd: &x three\ne: *x\n");
}

static void test_cycle(void **state)
{
    (void)state;
    assert_stays("a: &a [*a, b]\n");
    assert_hides("a: &a {auth: *a, x: s3cret}\n");
}

static void test_undefined_alias_is_refused(void **state)
{
    (void)state;
    assert_refused("a: *nowhere\n");
    assert_refused("--- \na: &x 1\n--- \nb: *x\n");
}

/* ---- what stays ------------------------------------------------------------------------------ */

static void test_types_and_order_stay(void **state)
{
    (void)state;
    assert_stays("z: 5\ny: \"5\"\nx: '5'\nw: 1.50\nv: true\nu: ~\nt: null\ns: !!str 5\nr:\n"
                 "q: 0x1F\np: !custom abc\no: ''\n");
}

static void test_collections_stay(void **state)
{
    (void)state;
    assert_stays("a:\n- 1\n- [2, {b: c}]\n- d:\n  - e\n  f: {}\n  g: []\n");
}

static void test_blocks_stay(void **state)
{
    (void)state;
    assert_stays("a: |\n  one\n    two\nb: >-\n  folded\nc: \"\\t\\x01 caf\u00e9\"\n");
}

static void test_long_text_is_not_folded(void **state)
{
    (void)state;
    assert_stays(
        "a: one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty\n");
}

static void test_empty_value_in_flow_stays_null(void **state)
{
    (void)state;
    assert_becomes("a: {b: , c}\n", "a: {b: null, c: null}\n");
}

static void test_comments_vanish(void **state)
{
    (void)state;
    assert_becomes("# token: abc\na: 1 # s3cret\n", "a: 1\n");
}

static void test_every_document_of_a_stream(void **state)
{
    (void)state;
    assert_becomes("a: 1\n---\ntoken: x\n---\n- auth: y\n",
                   "a: 1\n---\ntoken: " R "\n---\n- auth: " R "\n");
}

static void test_duplicate_keys_are_each_redacted(void **state)
{
    (void)state;
    assert_becomes("token: a\ntoken: b\n", "token: " R "\ntoken: " R "\n");
}

static void test_empty_document(void **state)
{
    (void)state;
    assert_becomes("", "");
    assert_becomes("# nothing\n", "");
}

static void test_null_pointer_is_empty(void **state)
{
    (void)state;
    bool ok = false;
    char *got = fwdscope_redact_yaml(NULL, 5, &ok);
    assert_string_equal(got, "");
    assert_true(ok);
    free(got);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void test_not_yaml_is_refused(void **state)
{
    (void)state;
    assert_refused("a: [1, 2\n");
    assert_refused("a: b: c\n");
    assert_refused("\tpassword: x\n");
    assert_refused("{\"a\": \"b\"\n");
}

static void test_lone_scalar_is_refused(void **state)
{
    (void)state;
    assert_refused("password = hunter2\n");
    assert_refused("hunter2");
}

static void test_invalid_utf8_is_refused(void **state)
{
    (void)state;
    assert_refused("a: \xff\xfe\n");
    assert_refused("a: \xc0\x80\n");
}

static void test_utf16_is_refused(void **state)
{
    (void)state;
    static const char yaml[] = "\xff\xfe"
                               "a\0:\0 \0b\0";
    assert_refused_bytes(yaml, sizeof(yaml) - 1);
}

static void test_nul_is_refused(void **state)
{
    (void)state;
    assert_refused_bytes("a: b\0c\n", 7);
}

static void test_complex_key_is_refused(void **state)
{
    (void)state;
    assert_refused("? [token]\n: x\n");
    assert_refused("k: &k {a: b}\n? *k\n: x\n");
}

static void test_too_deep_is_refused(void **state)
{
    (void)state;
    char yaml[4096];
    memset(yaml, '[', 2000);
    memset(yaml + 2000, ']', 2000);
    assert_refused_bytes(yaml, 4000);
    memset(yaml, '[', 65);
    memset(yaml + 65, ']', 65);
    assert_refused_bytes(yaml, 130);
    memset(yaml, '[', 64);
    memset(yaml + 64, ']', 64);
    bool ok = false;
    free(redact(yaml, 128, &ok));
    assert_true(ok);
}

static void test_too_long_is_refused(void **state)
{
    (void)state;
    size_t bytes = (1u << 20) + 1;
    char *yaml = malloc(bytes);
    assert_non_null(yaml);
    memset(yaml, 'x', bytes);
    memcpy(yaml, "a: ", 3);
    assert_refused_bytes(yaml, bytes);
    bool ok = false;
    free(redact(yaml, bytes - 2, &ok));
    assert_true(ok);
    free(yaml);
}

static void test_too_many_nodes_are_refused(void **state)
{
    (void)state;
    size_t bytes = 200001;
    char *yaml = malloc(bytes);
    assert_non_null(yaml);
    yaml[0] = '[';
    for (size_t i = 1; i + 1 < bytes; i++)
        yaml[i] = i % 2 ? 'a' : ',';
    yaml[bytes - 1] = ']';
    assert_refused_bytes(yaml, bytes);
    free(yaml);
}

static void test_alias_bomb_stays_small(void **state)
{
    (void)state;
    char yaml[2048];
    int used = snprintf(yaml, sizeof(yaml), "a0: &a0 [x, x]\n");
    for (int i = 1; i < 30; i++)
        used += snprintf(yaml + used, sizeof(yaml) - (size_t)used, "a%d: &a%d [*a%d, *a%d]\n", i, i,
                         i - 1, i - 1);
    used += snprintf(yaml + used, sizeof(yaml) - (size_t)used, "auth: *a29\n");
    bool ok = false;
    char *got = redact(yaml, (size_t)used, &ok);
    assert_true(ok);
    assert_null(strstr(got, "x"));
    assert_true(strlen(got) < 2048);
    free(got);
}

/* ---- pseudo-random documents ----------------------------------------------------------------- */

struct random_yaml {
    uint64_t seed;
    char text[16384];
    size_t used;
    unsigned planted;
    unsigned anchors;
};

static unsigned pick(struct random_yaml *r, unsigned below)
{
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(r->seed >> 33) % below;
}

static void __attribute__((format(printf, 2, 3)))
put(struct random_yaml *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(r->text + r->used, sizeof(r->text) - r->used, format, arguments);
    va_end(arguments);
    r->used += (size_t)n;
    assert_true(r->used < sizeof(r->text));
}

/* A scalar that carries a secret in itself, whatever its key is. */
static void put_leaky_scalar(struct random_yaml *r)
{
    static const char *const forms[] = {
        "https://bob:s3cret@h.example/x",
        "'tcp://s3cret@h:1,tcp://s3cret:s3cret@h:2'",
        "\"Bearer s3cret\"",
        "Basic s3cret",
        "'X-Api-Key: s3cret'",
        "API_TOKEN=s3cret",
        "http://h/?a=1&token=s3cret&b=2",
        "bob:s3cret@h",
        "!!str 'password: s3cret'",
        "http://bob:s3cret/s3cret@h",
    };
    put(r, "%s", forms[pick(r, sizeof(forms) / sizeof(forms[0]))]);
    r->planted++;
}

static void put_plain_scalar(struct random_yaml *r)
{
    static const char *const forms[] = {
        "5",       "\"5\"",         "true",           "~", "'it''s'", "plain words", "1.5",
        "!!str 7", "http://h:80/x", "\"\\u00e9\\n\"", "''"};
    put(r, "%s", forms[pick(r, sizeof(forms) / sizeof(forms[0]))]);
}

/* A flow value; with `secret` its plain scalars are secrets. */
static void put_value(struct random_yaml *r, unsigned depth, bool secret)
{
    if (pick(r, 4) == 0)
        put(r, "&a%u ", r->anchors++);
    unsigned kind = depth > 4 ? 0 : pick(r, 5);
    if (kind == 3) {
        put(r, "[");
        for (unsigned n = pick(r, 4); n > 0; n--) {
            put_value(r, depth + 1, secret);
            put(r, ", ");
        }
        put(r, "]");
    } else if (kind == 4) {
        put(r, "{");
        for (unsigned n = pick(r, 4); n > 0; n--) {
            static const char *const keys[] = {"a", "b c", "path", "'5'", "level", "host"};
            static const char *const secrets[] = {
                "token", "API-Key", "auth", "\"pass\\u0077d\"", "client_secret", "Cookie"};
            bool below = pick(r, 3) == 0;
            put(r, "%s: ", below ? secrets[pick(r, 6)] : keys[pick(r, 6)]);
            put_value(r, depth + 1, secret || below);
            put(r, ", ");
        }
        put(r, "}");
    } else if (secret) {
        put(r, "%s", pick(r, 2) ? "s3cret" : "!!binary s3cret");
        r->planted++;
    } else if (kind == 2) {
        put_leaky_scalar(r);
    } else {
        put_plain_scalar(r);
    }
}

static void test_random_documents(void **state)
{
    (void)state;
    static struct random_yaml r;
    unsigned planted = 0;
    for (unsigned round = 0; round < 3000; round++) {
        r = (struct random_yaml){.seed = round + 1};
        for (unsigned n = 1 + pick(&r, 5); n > 0; n--) {
            put(&r, "key%u: ", n);
            put_value(&r, 0, false);
            put(&r, " # s3cret\n");
        }
        for (unsigned n = 0; n < r.anchors && n < 3; n++)
            put(&r, "again%u: *a%u\n", n, pick(&r, r.anchors));
        planted += r.planted;
        assert_hides(r.text);
    }
    assert_true(planted > 3000);
}

/* Damaged documents: never a crash, never a result that does not redact to itself. */
static void test_damaged_documents(void **state)
{
    (void)state;
    static struct random_yaml r;
    unsigned refused = 0;
    unsigned accepted = 0;
    for (unsigned round = 0; round < 3000; round++) {
        r = (struct random_yaml){.seed = round + 77};
        put(&r, "key: ");
        put_value(&r, 0, false);
        put(&r, "\nb:\n  - c: |\n      text\n    d: x\n");
        for (unsigned n = 1 + pick(&r, 3); n > 0; n--)
            r.text[pick(&r, (unsigned)r.used)] = "\n:#-{}[]&*!|>'\"%@ ?,ab\t\xc3"[pick(&r, 25)];
        bool ok = false;
        free(redact(r.text, r.used, &ok));
        accepted += ok;
        refused += !ok;
    }
    assert_true(accepted > 300);
    assert_true(refused > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aws_keys),
        cmocka_unit_test(test_nested_auth),
        cmocka_unit_test(test_auth_scalar),
        cmocka_unit_test(test_boolean_secret),
        cmocka_unit_test(test_number_secret),
        cmocka_unit_test(test_null_secret),
        cmocka_unit_test(test_tagged_secret),
        cmocka_unit_test(test_sequence_secret),
        cmocka_unit_test(test_mapping_secret),
        cmocka_unit_test(test_secret_names),
        cmocka_unit_test(test_harmless_names_stay),
        cmocka_unit_test(test_overlong_name_is_secret),
        cmocka_unit_test(test_name_value_list),
        cmocka_unit_test(test_name_value_through_merge),
        cmocka_unit_test(test_header_map),
        cmocka_unit_test(test_list_of_pairs),
        cmocka_unit_test(test_list_of_field_names_stays),
        cmocka_unit_test(test_list_of_arguments),
        cmocka_unit_test(test_secret_tag),
        cmocka_unit_test(test_url_user_and_password),
        cmocka_unit_test(test_url_user_alone),
        cmocka_unit_test(test_url_in_any_scalar),
        cmocka_unit_test(test_urls_in_one_string),
        cmocka_unit_test(test_url_hosts_in_one_url),
        cmocka_unit_test(test_url_sloppy_passwords),
        cmocka_unit_test(test_url_inside_a_query),
        cmocka_unit_test(test_url_as_key),
        cmocka_unit_test(test_unparsable_endpoint),
        cmocka_unit_test(test_user_and_password_without_scheme),
        cmocka_unit_test(test_mail_address_stays),
        cmocka_unit_test(test_clean_urls_stay),
        cmocka_unit_test(test_query_secret),
        cmocka_unit_test(test_bearer_and_basic),
        cmocka_unit_test(test_header_line),
        cmocka_unit_test(test_assignment),
        cmocka_unit_test(test_embedded_document),
        cmocka_unit_test(test_private_key),
        cmocka_unit_test(test_image_name_stays),
        cmocka_unit_test(test_alias_to_a_secret),
        cmocka_unit_test(test_alias_under_a_secret_key),
        cmocka_unit_test(test_anchor_inside_auth),
        cmocka_unit_test(test_chain_of_aliases),
        cmocka_unit_test(test_merge_key),
        cmocka_unit_test(test_alias_as_key),
        cmocka_unit_test(test_alias_under_an_endpoint),
        cmocka_unit_test(test_anchor_redefined),
        cmocka_unit_test(test_cycle),
        cmocka_unit_test(test_undefined_alias_is_refused),
        cmocka_unit_test(test_types_and_order_stay),
        cmocka_unit_test(test_collections_stay),
        cmocka_unit_test(test_blocks_stay),
        cmocka_unit_test(test_long_text_is_not_folded),
        cmocka_unit_test(test_empty_value_in_flow_stays_null),
        cmocka_unit_test(test_comments_vanish),
        cmocka_unit_test(test_every_document_of_a_stream),
        cmocka_unit_test(test_duplicate_keys_are_each_redacted),
        cmocka_unit_test(test_empty_document),
        cmocka_unit_test(test_null_pointer_is_empty),
        cmocka_unit_test(test_not_yaml_is_refused),
        cmocka_unit_test(test_lone_scalar_is_refused),
        cmocka_unit_test(test_invalid_utf8_is_refused),
        cmocka_unit_test(test_utf16_is_refused),
        cmocka_unit_test(test_nul_is_refused),
        cmocka_unit_test(test_complex_key_is_refused),
        cmocka_unit_test(test_too_deep_is_refused),
        cmocka_unit_test(test_too_long_is_refused),
        cmocka_unit_test(test_too_many_nodes_are_refused),
        cmocka_unit_test(test_alias_bomb_stays_small),
        cmocka_unit_test(test_random_documents),
        cmocka_unit_test(test_damaged_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
