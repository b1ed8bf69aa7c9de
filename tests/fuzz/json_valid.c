/* SPDX-License-Identifier: Apache-2.0 */
/* JSON by recursive descent; depth is bounded. */
#include "json_valid.h"

#include <string.h>

enum { DEPTH_MAX = 64 };

struct reader {
    const unsigned char *at, *end;
};

static bool value_read(struct reader *r, int depth);

static int peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : -1;
}

static bool take(struct reader *r, int c)
{
    if (peek(r) != c)
        return false;
    r->at++;
    return true;
}

static void space_skip(struct reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\n' || peek(r) == '\r')
        r->at++;
}

static bool word_read(struct reader *r, const char *word)
{
    const size_t bytes = strlen(word);
    if ((size_t)(r->end - r->at) < bytes || memcmp(r->at, word, bytes) != 0)
        return false;
    r->at += bytes;
    return true;
}

/* One character beyond ASCII: shortest form, no surrogates, at most U+10FFFF. */
static bool utf8_read(struct reader *r)
{
    static const unsigned least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned lead = *r->at++;
    const int more = lead >= 0xf0 && lead < 0xf8 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    unsigned code = more == 0 ? 0 : lead & (0x3fu >> more);
    if (more == 0 || lead >= 0xf8)
        return false;
    for (int i = 0; i < more; i++) {
        if ((peek(r) & ~0x3f) != 0x80)
            return false;
        code = code << 6 | (*r->at++ & 0x3fu);
    }
    return code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool escape_read(struct reader *r)
{
    if (!take(r, 'u')) {
        const int c = peek(r);
        r->at++;
        return c > 0 && strchr("\"\\/bfnrt", c) != NULL;
    }
    for (int i = 0; i < 4; i++) {
        const int c = peek(r);
        if (c <= 0 || strchr("0123456789abcdefABCDEF", c) == NULL)
            return false;
        r->at++;
    }
    return true;
}

static bool string_read(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (peek(r) >= 0x20) {
        if (take(r, '"'))
            return true;
        const bool good = take(r, '\\')     ? escape_read(r)
                          : peek(r) >= 0x80 ? utf8_read(r)
                                            : (r->at++, true);
        if (!good)
            return false;
    }
    return false;
}

static bool digits_read(struct reader *r)
{
    const unsigned char *from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at > from;
}

static bool number_read(struct reader *r)
{
    (void)take(r, '-');
    if (!take(r, '0') && !digits_read(r))
        return false;
    if (take(r, '.') && !digits_read(r))
        return false;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+'))
            (void)take(r, '-');
        return digits_read(r);
    }
    return true;
}

/* After the opening bracket: members, or nothing, up to the closing one. */
static bool members_read(struct reader *r, bool object, int depth)
{
    const int close = object ? '}' : ']';
    space_skip(r);
    if (take(r, close))
        return true;
    do {
        space_skip(r);
        if (object) {
            if (!string_read(r))
                return false;
            space_skip(r);
            if (!take(r, ':'))
                return false;
        }
        if (!value_read(r, depth + 1))
            return false;
    } while (take(r, ','));
    return take(r, close);
}

static bool value_read(struct reader *r, int depth)
{
    bool good;
    if (depth > DEPTH_MAX)
        return false;
    space_skip(r);
    if (take(r, '{'))
        good = members_read(r, true, depth);
    else if (take(r, '['))
        good = members_read(r, false, depth);
    else if (peek(r) == '"')
        good = string_read(r);
    else
        good =
            word_read(r, "true") || word_read(r, "false") || word_read(r, "null") || number_read(r);
    space_skip(r);
    return good;
}

bool json_valid(const char *bytes, size_t count)
{
    struct reader r = {(const unsigned char *)bytes, (const unsigned char *)bytes + count};
    return count > 0 && value_read(&r, 0) && r.at == r.end;
}
