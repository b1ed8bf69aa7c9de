/* SPDX-License-Identifier: Apache-2.0 */
/* Takes lines apart by shape: `timestamp level? message`, or JSON. */
#include "parse.h"

#include <string.h>
#include <strings.h>

#include "json.h"

/* Whether a text has a shape: 9 stands for a digit, A for a letter, _ for a space or digit, the
 * rest for itself. */
static bool has_shape(const char *text, size_t bytes, const char *shape)
{
    size_t length = strlen(shape);
    if (bytes < length)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        bool letter = (text[i] | 0x20) >= 'a' && (text[i] | 0x20) <= 'z';
        bool good = shape[i] == '9'   ? digit
                    : shape[i] == 'A' ? letter
                    : shape[i] == '_' ? digit || text[i] == ' '
                                      : text[i] == shape[i];
        if (!good)
            return false;
    }
    return true;
}

/* Length of the timestamp that the line begins with, or 0. */
static size_t timestamp_length(const char *line, size_t bytes)
{
    size_t length = has_shape(line, bytes, "9999-99-99 99:99:99")   ? 19
                    : has_shape(line, bytes, "9999-99-99T99:99:99") ? 19
                    : has_shape(line, bytes, "AAA _9 99:99:99")     ? 15
                                                                    : 0;
    if (length == 0)
        return 0;
    while (length < bytes && line[length] != '\0' && strchr("0123456789.,:+-Z", line[length]))
        length++;
    return length;
}

/* Length of a level word, or 0. */
static size_t level_length(const char *word, size_t bytes)
{
    static const char *const levels[] = {"trace", "debug", "info",  "notice",   "warning",
                                         "warn",  "error", "err",   "critical", "crit",
                                         "alert", "emerg", "fatal", "panic"};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        size_t length = strlen(levels[i]);
        bool ends =
            bytes == length ||
            (bytes > length && (word[length] == ' ' || word[length] == ':' || word[length] == ']'));
        if (ends && strncasecmp(word, levels[i], length) == 0)
            return length;
    }
    return 0;
}

static size_t skip(const char *line, size_t from, size_t bytes, const char *set)
{
    while (from < bytes && line[from] != '\0' && strchr(set, line[from]) != NULL)
        from++;
    return from;
}

bool parse_line(const char *line, size_t bytes, struct record *record)
{
    *record = (struct record){.message = {line, bytes}};
    if (bytes > 0 && line[0] == '{') {
        record->is_json = json_is_object(line, bytes);
        return record->is_json;
    }
    size_t at = timestamp_length(line, bytes);
    if (at == 0)
        return true;
    record->timestamp = (struct part){line, at};
    at = skip(line, at, bytes, " ");
    size_t word = skip(line, at, bytes, "[");
    size_t level = level_length(line + word, bytes - word);
    if (level > 0) {
        record->level = (struct part){line + word, level};
        at = skip(line, word + level, bytes, "]: ");
    }
    record->message = (struct part){line + at, bytes - at};
    return true;
}
