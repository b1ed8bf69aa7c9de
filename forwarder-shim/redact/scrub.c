/* SPDX-License-Identifier: Apache-2.0 */
/* Rules over names and texts; see scrub.h for what they are. */
#include "scrub.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "text.h"

/* Bytes of a squashed name, its NUL included. */
#define NAME_ROOM 256

/* A part of somebody else's text: not owned, not terminated. */
struct piece {
    const char *at;
    size_t bytes;
};

static const char *const harmless_words[] = {
    "tokeniz",  "tokenis",  "tokenbucket", "tokencount", "tokensper",
    "maxtoken", "mintoken", "bypass",      "compass",
};
static const char *const secret_anywhere[] = {
    "token",         "secret",
    "password",      "passwd",
    "passphrase",    "passcode",
    "pwd",           "credential",
    "apikey",        "privatekey",
    "accesskey",     "secretkey",
    "accountkey",    "sharedkey",
    "signingkey",    "signaturekey",
    "encryptionkey", "masterkey",
    "deploykey",     "sshkey",
    "licensekey",    "licencekey",
    "storagekey",    "writekey",
    "ingestkey",     "instrumentationkey",
    "sessionkey",    "sessionid",
    "accesscode",    "authorization",
    "authorisation", "authentication",
    "basicauth",     "oauth",
    "bearer",        "cookie",
    "csrf",          "xsrf",
    "jwt",           "jaas",
    "webhook",       "connectionstring",
    "connstr",       "keypem",
};
static const char *const secret_at_end[] = {
    "auth", "pass",    "pw",    "signature", "sig",    "dsn",    "psk",    "otp",
    "hmac", "hmackey", "creds", "cred",      "heckey", "saskey", "aeskey", "sas",
};
static const char *const endpoint_anywhere[] = {
    "endpoint", "url",   "uri",    "host",        "broker", "address",  "addr",
    "server",   "proxy", "target", "destination", "remote", "upstream", "peer",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- characters, without the locale ---------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'' || c == '`';
}

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Writes the squashed form of a name; false when it does not fit. */
static bool name_squash(const char *name, size_t bytes, char squashed[NAME_ROOM])
{
    size_t used = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (!is_alnum(name[i]))
            continue;
        if (used + 1 == NAME_ROOM)
            return false;
        squashed[used++] = lower(name[i]);
    }
    squashed[used] = '\0';
    return true;
}

static bool name_contains(const char *name, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(name, words[i]) != NULL)
            return true;
    return false;
}

static bool name_ends(const char *name, const char *const *words, size_t count)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < count; i++) {
        size_t word = strlen(words[i]);
        if (word <= length && strcmp(name + length - word, words[i]) == 0)
            return true;
    }
    return false;
}

/* Blanks the harmless words, so that what stands around them does not join. */
static void name_blank_harmless(char *name)
{
    for (size_t i = 0; i < COUNT(harmless_words); i++)
        for (char *at = strstr(name, harmless_words[i]); at != NULL;
             at = strstr(at, harmless_words[i]))
            memset(at, ' ', strlen(harmless_words[i]));
}

/* Whether the word auth stands in the name: auth, auth_users, httpAuth2, not author. */
static bool name_has_auth_word(const char *name, size_t bytes)
{
    for (size_t i = 0; i + 4 <= bytes; i++) {
        if (strncasecmp(name + i, "auth", 4) != 0)
            continue;
        bool begins =
            i == 0 || !is_alnum(name[i - 1]) || (is_upper(name[i]) && !is_upper(name[i - 1]));
        char after = i + 4 < bytes ? name[i + 4] : '\0';
        bool ends =
            !is_alnum(after) || is_digit(after) || (is_upper(after) && !is_upper(name[i + 3]));
        if (begins && ends)
            return true;
    }
    return false;
}

bool scrub_name_is_secret(const char *name, size_t bytes)
{
    if (name_has_auth_word(name, bytes))
        return true;
    char squashed[NAME_ROOM];
    if (!name_squash(name, bytes, squashed))
        return true;
    name_blank_harmless(squashed);
    return name_contains(squashed, secret_anywhere, COUNT(secret_anywhere)) ||
           name_ends(squashed, secret_at_end, COUNT(secret_at_end));
}

bool scrub_name_is_endpoint(const char *name, size_t bytes)
{
    char squashed[NAME_ROOM];
    if (!name_squash(name, bytes, squashed))
        return true;
    return name_contains(squashed, endpoint_anywhere, COUNT(endpoint_anywhere));
}

/* ---- URLs ------------------------------------------------------------------------------------ */

static bool is_scheme_char(char c)
{
    return is_alnum(c) || is_in(c, "+.-");
}

static bool is_scheme_end(struct piece s, size_t i)
{
    return s.bytes - i >= 3 && memcmp(s.at + i, "://", 3) == 0;
}

/* Position of the next "://" from `from` on, or `bytes`. */
static size_t find_scheme_end(struct piece s, size_t from)
{
    while (from < s.bytes && !is_scheme_end(s, from))
        from++;
    return from;
}

static size_t scheme_begin(struct piece s, size_t colon, size_t limit)
{
    size_t i = colon;
    while (i > limit && is_scheme_char(s.at[i - 1]))
        i--;
    return i;
}

/* A URL reaches to white space, or to where the next one of a list begins. */
static size_t url_end(struct piece s, size_t begin)
{
    for (size_t end = begin; end < s.bytes; end++) {
        if (is_space(s.at[end]))
            return end;
        if (!is_scheme_end(s, end))
            continue;
        size_t next = scheme_begin(s, end, begin);
        if (next > begin && next < end && is_in(s.at[next - 1], ",;|=&\"'([{<"))
            return next;
    }
    return s.bytes;
}

/* Position after the last `@` of [begin, end), or `begin` when there is none. */
static size_t after_last_at(struct piece s, size_t begin, size_t end)
{
    for (size_t i = end; i > begin; i--)
        if (s.at[i - 1] == '@')
            return i;
    return begin;
}

/* Whether every colon of host[:port][,host...] is followed by a number. Else the "port" may be the
 * beginning of a password that holds a delimiter. */
static bool ports_are_numbers(struct piece s, size_t begin, size_t end)
{
    bool bracket = false;
    for (size_t i = begin; i < end; i++) {
        if (s.at[i] == '[' || s.at[i] == ']')
            bracket = s.at[i] == '[';
        if (s.at[i] != ':' || bracket)
            continue;
        while (i + 1 < end && is_digit(s.at[i + 1]))
            i++;
        if (i + 1 < end && !is_in(s.at[i + 1], ",;|\"')]}>"))
            return false;
    }
    return true;
}

/* Copies `s` without the user part of any URL. */
static void scrub_urls(struct text *out, struct piece s)
{
    size_t done = 0;
    size_t last_at = after_last_at(s, 0, s.bytes);
    for (size_t colon = find_scheme_end(s, 0); colon < s.bytes;) {
        size_t begin = colon + 3;
        size_t end = url_end(s, begin);
        size_t authority_end = begin;
        while (authority_end < end && !is_in(s.at[authority_end], "/?#\\"))
            authority_end++;
        size_t host = after_last_at(s, begin, authority_end);
        if (after_last_at(s, authority_end, end) != authority_end) {
            size_t scheme = scheme_begin(s, colon, done);
            text_add(out, s.at + done, scheme - done);
            text_add_string(out, SCRUB_ENDPOINT);
            done = end;
        } else if (host != begin) {
            text_add(out, s.at + done, begin - done);
            done = host;
        } else if (last_at > end && !ports_are_numbers(s, begin, authority_end)) {
            text_become(out, SCRUB_ENDPOINT);
            return;
        }
        colon = find_scheme_end(s, end);
    }
    text_add(out, s.at + done, s.bytes - done);
}

/* Replaces words of the form user:password@host. */
static void scrub_words(struct text *out, struct piece s)
{
    for (size_t i = 0; i < s.bytes;) {
        size_t begin = i;
        if (is_space(s.at[i])) {
            text_add(out, s.at + i++, 1);
            continue;
        }
        bool colon = false;
        bool user = false;
        for (; i < s.bytes && !is_space(s.at[i]); i++) {
            colon |= s.at[i] == ':';
            user |= colon && s.at[i] == '@';
        }
        if (user)
            text_add_string(out, SCRUB_ENDPOINT);
        else
            text_add(out, s.at + begin, i - begin);
    }
}

/* ---- credentials inside a text --------------------------------------------------------------- */

/* Length of the credential scheme that stands at `i` as a word of its own, or 0. */
static size_t credential_scheme(struct piece s, size_t i)
{
    static const char *const schemes[] = {"bearer", "basic"};
    if (i > 0 && is_alnum(s.at[i - 1]))
        return 0;
    for (size_t k = 0; k < COUNT(schemes); k++) {
        size_t length = strlen(schemes[k]);
        if (s.bytes - i > length && strncasecmp(s.at + i, schemes[k], length) == 0 &&
            is_space(s.at[i + length]))
            return length;
    }
    return 0;
}

/* Replaces the word after Bearer or Basic. */
static void scrub_schemes(struct text *out, struct piece s)
{
    size_t i = 0;
    while (i < s.bytes) {
        size_t length = credential_scheme(s, i);
        if (length == 0) {
            text_add(out, s.at + i++, 1);
            continue;
        }
        size_t word = i + length;
        while (word < s.bytes && is_space(s.at[word]))
            word++;
        text_add(out, s.at + i, word - i);
        if (word < s.bytes)
            text_add_string(out, SCRUB_REDACTED);
        while (word < s.bytes && !is_space(s.at[word]))
            word++;
        i = word;
    }
}

static bool is_name_char(char c)
{
    return is_alnum(c) || is_in(c, "_.-");
}

/* The name that ends where an assignment's sign stands: `name =`, `"name":`, `\"name\":`. */
static struct piece name_before(struct piece s, size_t sign)
{
    size_t end = sign;
    while (end > 0 && is_space(s.at[end - 1]))
        end--;
    while (end > 0 && (is_quote(s.at[end - 1]) || s.at[end - 1] == '\\'))
        end--;
    size_t begin = end;
    while (begin > 0 && is_name_char(s.at[begin - 1]))
        begin--;
    return (struct piece){s.at + begin, end - begin};
}

/* Where a secret that begins at `value` ends: see scrub.h. */
static size_t secret_end(struct piece s, size_t value, bool query)
{
    size_t end = value;
    if (query) {
        while (end < s.bytes && s.at[end] != '&')
            end++;
        return end;
    }
    while (end < s.bytes && s.at[end] != '\n')
        end++;
    bool goes_on = end == value || is_in(s.at[value], "|>\"'`[{(") || s.at[end - 1] == '\\' ||
                   (end + 1 < s.bytes && is_space(s.at[end + 1]));
    return goes_on ? s.bytes : end;
}

/* Whether a secret is assigned at `i`; then *value is where it begins. */
static bool secret_assigned(struct piece s, size_t i, size_t *value, bool *query)
{
    bool flag = i > 0 && is_space(s.at[i]) && !is_space(s.at[i - 1]);
    if (s.at[i] != '=' && s.at[i] != ':' && !flag)
        return false;
    struct piece name = name_before(s, i);
    char before = name.at > s.at ? name.at[-1] : '\0';
    if (name.bytes == 0 || (flag && name.at[0] != '-') ||
        !scrub_name_is_secret(name.at, name.bytes))
        return false;
    *value = i + 1;
    while (*value < s.bytes && (s.at[*value] == ' ' || s.at[*value] == '\t'))
        ++*value;
    /* registry/token-service:1.2 is an image, not an assignment. */
    bool path = before == '/' && name.at - s.at >= 2 && is_name_char(name.at[-2]);
    if (path && s.at[i] == ':' && *value == i + 1)
        return false;
    if (flag && *value < s.bytes && is_in(s.at[*value], "-=:"))
        return false;
    *query = before == '?' || before == '&';
    return *value < s.bytes;
}

/* Replaces what is assigned to a secret name. */
static void scrub_assignments(struct text *out, struct piece s)
{
    size_t done = 0;
    for (size_t i = 0; i < s.bytes; i++) {
        size_t value = 0;
        bool query = false;
        if (!secret_assigned(s, i, &value, &query))
            continue;
        text_add(out, s.at + done, value - done);
        text_add_string(out, SCRUB_REDACTED);
        done = secret_end(s, value, query);
        i = done;
    }
    if (done < s.bytes)
        text_add(out, s.at + done, s.bytes - done);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool begins_as_url(struct piece s)
{
    size_t colon = find_scheme_end(s, 0);
    return colon < s.bytes && colon > 0 && scheme_begin(s, colon, 0) == 0;
}

static bool holds(struct piece s, const char *what)
{
    return s.bytes > 0 && memmem(s.at, s.bytes, what, strlen(what)) != NULL;
}

/* Runs one rule over `text` in place of its content. */
static void text_pass(struct text *text, void (*rule)(struct text *, struct piece))
{
    struct text next = {0};
    text_add(&next, "", 0);
    rule(&next, (struct piece){text->bytes, text->used});
    next.failed |= text->failed;
    text_free(text);
    *text = next;
}

char *scrub_text(const char *text, size_t bytes, bool endpoint, size_t *out_bytes)
{
    struct piece s = {text, bytes};
    struct text out = {0};
    text_add(&out, text, bytes);
    if (holds(s, "PRIVATE KEY-----"))
        text_become(&out, SCRUB_REDACTED);
    endpoint |= begins_as_url(s);
    text_pass(&out, scrub_urls);
    if (endpoint && !out.failed && memchr(out.bytes, '@', out.used) != NULL)
        text_become(&out, SCRUB_ENDPOINT);
    text_pass(&out, scrub_words);
    text_pass(&out, scrub_schemes);
    text_pass(&out, scrub_assignments);
    if (out.failed) {
        text_free(&out);
        return NULL;
    }
    *out_bytes = out.used;
    return out.bytes;
}
