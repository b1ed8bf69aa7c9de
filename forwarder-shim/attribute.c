/* SPDX-License-Identifier: Apache-2.0 */
/* Text and attributes as words. */
#include "shim.h"

#include <string.h>

size_t text_cut(const char *text, size_t bytes, size_t max)
{
    if (bytes <= max)
        return bytes;
    size_t cut = max;
    /* At most three steps back: to the head of the sequence that would be cut. */
    while (cut > 0 && max - cut < 3 && ((unsigned char)text[cut] & 0xc0) == 0x80)
        cut--;
    return ((unsigned char)text[cut] & 0xc0) == 0x80 ? max : cut; /* not UTF-8 anyway: cut hard */
}

size_t words_of_text(uint64_t *out, const char *text, size_t bytes)
{
    size_t words = (size_t)fws_words_of(bytes);
    if (words > 0) {
        out[words - 1] = 0;
        memcpy(out, text, bytes);
    }
    return words;
}

size_t attr_encode(uint64_t *out, size_t room, const struct fwdscope_attribute *attribute,
                   unsigned *cut)
{
    if (attribute->key == NULL)
        return 0;
    size_t key_bytes = strnlen(attribute->key, FWS_NAME_BYTES_MAX + 1);
    if (key_bytes == 0 || key_bytes > FWS_NAME_BYTES_MAX)
        return 0;
    size_t at = 1 + (size_t)fws_words_of(key_bytes);
    size_t value_bytes = FWS_WORD_BYTES;
    const char *string = NULL;
    uint64_t number = 0;
    unsigned was_cut = 0;

    switch (attribute->type) {
    case FWDSCOPE_STRING:
        string = attribute->value.string != NULL ? attribute->value.string : "";
        value_bytes = strnlen(string, FWS_ATTR_VALUE_BYTES_MAX + 1);
        if (value_bytes > FWS_ATTR_VALUE_BYTES_MAX) {
            value_bytes = text_cut(string, value_bytes, FWS_ATTR_VALUE_BYTES_MAX);
            was_cut = 1;
        }
        break;
    case FWDSCOPE_INT:
        number = (uint64_t)attribute->value.integer;
        break;
    case FWDSCOPE_DOUBLE:
        memcpy(&number, &attribute->value.real, sizeof number);
        break;
    case FWDSCOPE_BOOL:
        number = attribute->value.boolean ? 1 : 0;
        break;
    default:
        return 0;
    }
    if (at > room || fws_words_of(value_bytes) > room - at)
        return 0;
    *cut = was_cut;
    out[0] = FWS_ATTR_HEAD(attribute->type, key_bytes, value_bytes);
    words_of_text(out + 1, attribute->key, key_bytes);
    if (string == NULL) {
        out[at] = number;
        return at + 1;
    }
    return at + words_of_text(out + at, string, value_bytes);
}

/* Whether the encoded attribute at `late` has the key of an earlier one in [0, late). */
static bool key_seen(const uint64_t *block, size_t late)
{
    size_t key_words = (size_t)fws_words_of(FWS_ATTR_KEY_BYTES(block[late]));
    for (size_t at = 0; at < late;) {
        size_t words = (size_t)fws_words_of(FWS_ATTR_KEY_BYTES(block[at]));
        if (FWS_ATTR_KEY_BYTES(block[at]) == FWS_ATTR_KEY_BYTES(block[late]) &&
            memcmp(block + at + 1, block + late + 1, key_words * FWS_WORD_BYTES) == 0)
            return true;
        at += 1 + words + (size_t)fws_words_of(FWS_ATTR_VALUE_BYTES(block[at]));
    }
    return false;
}

struct attr_block attr_block_encode(uint64_t *out, size_t room,
                                    const struct fwdscope_attribute *attributes, size_t count)
{
    struct attr_block block = {0};
    if (attributes == NULL)
        return block;
    for (size_t i = 0; i < count; i++) {
        size_t words = 0;
        unsigned cut = 0;
        if (block.count < FWS_ATTRS_MAX)
            words = attr_encode(out + block.words, room - block.words, &attributes[i], &cut);
        if (words == 0 || key_seen(out, block.words)) {
            block.dropped++;
            continue;
        }
        block.words += words;
        block.count++;
        block.cut += cut;
    }
    return block;
}
