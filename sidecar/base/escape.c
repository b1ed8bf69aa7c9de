/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that knows which characters never appear raw. */
#include "escape.h"

#include "utf8.h"

static size_t escape_control(unsigned code, char *out)
{
    static const char digits[] = "0123456789abcdef";
    memcpy(out, "\\u00", 4);
    out[4] = digits[code >> 4];
    out[5] = digits[code & 15];
    return 6;
}

size_t escape_sequence(const char *bytes, size_t count, char out[ESCAPE_BYTES_MAX], size_t *taken)
{
    bool valid;
    *taken = utf8_sequence(bytes, count, &valid);
    if (!valid) {
        memcpy(out, UTF8_REPLACEMENT, 3);
        return 3;
    }
    const unsigned char first = (unsigned char)bytes[0];
    if (first < 0x20 || first == 0x7F) {
        return escape_control(first, out);
    }
    if (first == 0xC2 && (unsigned char)bytes[1] < 0xA0) { /* U+0080 to U+009F */
        return escape_control((unsigned char)bytes[1], out);
    }
    if (first == '"' || first == '\\') {
        out[0] = '\\';
        out[1] = bytes[0];
        return 2;
    }
    memcpy(out, bytes, *taken);
    return *taken;
}

size_t escape_plain_run(const char *bytes, size_t count)
{
    size_t i = 0;
    for (escape_block block; count - i >= sizeof block; i += sizeof block) {
        memcpy(&block, bytes + i, sizeof block);
        if (!escape_all(escape_plain(block))) {
            break;
        }
    }
    while (i < count && bytes[i] >= 0x20 && bytes[i] < 0x7F && bytes[i] != '"' &&
           bytes[i] != '\\') {
        i++;
    }
    return i;
}
