/* SPDX-License-Identifier: Apache-2.0 */
/* JSON strings out, JSON objects checked. */
#include "json.h"

#include <stdint.h>
#include <stdio.h>

#include "memory.h"

#define DEPTH_MAX 64

void json_add(struct json *json, const char *bytes, size_t count)
{
    json->bytes = memory_grow(json->bytes, &json->room, json->used + count, 1);
    if (count > 0)
        memcpy(json->bytes + json->used, bytes, count);
    json->used += count;
}

void json_free(struct json *json)
{
    free(json->bytes);
    *json = (struct json){0};
}

/* Length of the UTF-8 sequence at `s`, or 0 when it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    size_t length = s[0] < 0x80                   ? 1
                    : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                    : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                    : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                  : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool outside = (s[0] == 0xED && s[1] >= 0xA0) || (s[0] == 0xF4 && s[1] >= 0x90);
    return overlong || outside ? 0 : length;
}

static void add_escaped(struct json *json, unsigned char c)
{
    char escape[8];
    int length = c == '"' || c == '\\' ? snprintf(escape, sizeof(escape), "\\%c", c)
                                       : snprintf(escape, sizeof(escape), "\\u%04x", c);
    json_add(json, escape, (size_t)length);
}

void json_add_string(struct json *json, const char *bytes, size_t count)
{
    const unsigned char *s = (const unsigned char *)bytes;
    json_add(json, "\"", 1);
    size_t i = 0;
    while (i < count) {
        size_t plain = i;
        size_t length = 0;
        while (i < count && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' &&
               (length = utf8_length(s + i, count - i)) > 0)
            i += length;
        json_add(json, bytes + plain, i - plain);
        if (i == count)
            break;
        if (s[i] < 0x80)
            add_escaped(json, s[i]);
        else
            json_add(json, "\\ufffd", 6);
        i++;
    }
    json_add(json, "\"", 1);
}

/* ---- checking: a recursive descent over the grammar of RFC 8259 ------------------------------ */

struct scan {
    const char *at;
    const char *end;
    unsigned depth;
};

static bool scan_value(struct scan *scan);

static void scan_space(struct scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

static bool scan_char(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static bool scan_word(struct scan *scan, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
        return false;
    scan->at += length;
    return true;
}

static bool scan_escape(struct scan *scan)
{
    if (scan->at == scan->end)
        return false;
    char c = *scan->at++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++, scan->at++)
        if (scan->at == scan->end || *scan->at == '\0' ||
            strchr("0123456789abcdefABCDEF", *scan->at) == NULL)
            return false;
    return true;
}

static bool scan_string(struct scan *scan)
{
    if (!scan_char(scan, '"'))
        return false;
    while (scan->at < scan->end && *scan->at != '"') {
        const unsigned char *s = (const unsigned char *)scan->at;
        size_t length = utf8_length(s, (size_t)(scan->end - scan->at));
        if (length == 0 || s[0] < 0x20)
            return false;
        scan->at += length;
        if (s[0] == '\\' && !scan_escape(scan))
            return false;
    }
    return scan_char(scan, '"');
}

static bool scan_digits(struct scan *scan)
{
    const char *begin = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > begin;
}

static bool scan_number(struct scan *scan)
{
    scan_char(scan, '-');
    if (!scan_char(scan, '0') && !scan_digits(scan))
        return false;
    if (scan_char(scan, '.') && !scan_digits(scan))
        return false;
    if (!scan_char(scan, 'e') && !scan_char(scan, 'E'))
        return true;
    if (!scan_char(scan, '-'))
        scan_char(scan, '+');
    return scan_digits(scan);
}

static bool scan_member(struct scan *scan, bool named)
{
    scan_space(scan);
    if (named) {
        if (!scan_string(scan))
            return false;
        scan_space(scan);
        if (!scan_char(scan, ':'))
            return false;
    }
    bool good = scan_value(scan);
    scan_space(scan);
    return good;
}

/* What stands between the brackets of an object (named) or an array. */
static bool scan_members(struct scan *scan, bool named)
{
    char close = named ? '}' : ']';
    if (++scan->depth > DEPTH_MAX)
        return false;
    scan_space(scan);
    if (!scan_char(scan, close)) {
        do {
            if (!scan_member(scan, named))
                return false;
        } while (scan_char(scan, ','));
        if (!scan_char(scan, close))
            return false;
    }
    scan->depth--;
    return true;
}

static bool scan_value(struct scan *scan)
{
    scan_space(scan);
    if (scan_char(scan, '{'))
        return scan_members(scan, true);
    if (scan_char(scan, '['))
        return scan_members(scan, false);
    if (scan->at < scan->end && *scan->at == '"')
        return scan_string(scan);
    return scan_word(scan, "true") || scan_word(scan, "false") || scan_word(scan, "null") ||
           scan_number(scan);
}

bool json_is_object(const char *bytes, size_t count)
{
    struct scan scan = {.at = bytes, .end = bytes + count};
    if (count == 0 || bytes[0] != '{' || !scan_value(&scan))
        return false;
    scan_space(&scan);
    return scan.at == scan.end;
}
