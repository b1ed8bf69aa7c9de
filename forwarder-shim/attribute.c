/* SPDX-License-Identifier: Apache-2.0 */
/* Text and attributes as words. */
#include "shim.h"

#include <string.h>

size_t text_cut_long(const char *text, size_t max)
{
    size_t cut = max;
    /* At most three steps back: to the head of the sequence that would be cut. */
    while (cut > 0 && max - cut < 3 && ((unsigned char)text[cut] & 0xc0) == 0x80)
        cut--;
    return ((unsigned char)text[cut] & 0xc0) == 0x80 ? max : cut; /* not UTF-8 anyway: cut hard */
}

/* Words of the encoded attribute that begins at `head`. */
static size_t attr_words(const uint64_t *head)
{
    return 1 + (size_t)fws_words_of(FWS_ATTR_KEY_BYTES(*head)) +
           (size_t)fws_words_of(FWS_ATTR_VALUE_BYTES(*head));
}

/* The value of an attribute that is no string; false: of no known type. */
static inline bool attr_number(const struct fwdscope_attribute *attribute, uint64_t *number)
{
    switch (attribute->type) {
    case FWDSCOPE_INT:
    case FWDSCOPE_DOUBLE:
        memcpy(number, &attribute->value, sizeof *number);
        return true;
    case FWDSCOPE_BOOL:
        *number = attribute->value.boolean ? 1 : 0;
        return true;
    default:
        return false;
    }
}

/* One attribute as words at out[0..SHIM_ATTR_WORDS_MAX): returns its words, 0 when it is refused
 * (bad key or type). *cut is 1 when the value was cut; *bit stands for the key, among others. */
static inline size_t attr_encode(uint64_t *out, const struct fwdscope_attribute *attribute,
                                 unsigned *cut, uint64_t *bit)
{
    uint64_t number;
    if (attribute->key == NULL)
        return 0;
    const size_t key_bytes = strnlen(attribute->key, FWS_NAME_BYTES_MAX + 1);
    if (key_bytes == 0 || key_bytes > FWS_NAME_BYTES_MAX)
        return 0;
    const size_t at = 1 + fws_text_to_words(out + 1, attribute->key, key_bytes);
    *bit = UINT64_C(1) << (out[at - 1] * UINT64_C(0x9e3779b97f4a7c15) >> 58);
    if (attribute->type == FWDSCOPE_STRING) {
        const char *text = attribute->value.string != NULL ? attribute->value.string : "";
        size_t bytes = strnlen(text, FWS_ATTR_VALUE_BYTES_MAX + 1);
        if (SHIM_RARE(bytes > FWS_ATTR_VALUE_BYTES_MAX)) {
            bytes = text_cut(text, bytes, FWS_ATTR_VALUE_BYTES_MAX);
            *cut = 1;
        }
        out[0] = FWS_ATTR_HEAD(FWS_ATTR_STRING, key_bytes, bytes);
        return at + fws_text_to_words(out + at, text, bytes);
    }
    if (!attr_number(attribute, &number))
        return 0;
    out[0] = FWS_ATTR_HEAD(attribute->type, key_bytes, FWS_WORD_BYTES);
    out[at] = number;
    return at + 1;
}

/* Where an attribute with the key of the one at `fresh` stands before it; fresh: nowhere. */
static size_t attr_find(const uint64_t *attrs, size_t fresh)
{
    const size_t key_bytes = FWS_ATTR_KEY_BYTES(attrs[fresh]);
    size_t at = 0;
    while (at < fresh && (FWS_ATTR_KEY_BYTES(attrs[at]) != key_bytes ||
                          memcmp(attrs + at + 1, attrs + fresh + 1, key_bytes) != 0))
        at += attr_words(attrs + at);
    return at;
}

/* Makes an attribute that was encoded behind the end part of the list, whatever is there already;
 * *at is the first word that changed. False: it was dropped. */
static __attribute__((noinline)) bool attr_join(struct attr_list *list, uint64_t *out, size_t room,
                                                size_t words, bool replace, size_t *at)
{
    const size_t end = list->words;
    *at = attr_find(out, end);
    const size_t old = *at < end ? attr_words(out + *at) : 0;
    if (end - old + words > room || (old > 0 && !replace) ||
        (old == 0 && list->count == FWS_ATTRS_MAX))
        return false;
    if (old == 0)
        list->count++;
    else if (old == words) /* in its place, so that little is published again */
        memcpy(out + *at, out + end, words * sizeof *out);
    else /* the old one goes, everything behind it moves up */
        memmove(out + *at, out + *at + old, (end + words - *at - old) * sizeof *out);
    list->words = end - old + words;
    return true;
}

size_t attrs_put(struct attr_list *list, uint64_t *out, size_t room,
                 const struct fwdscope_attribute *attributes, size_t count, bool replace)
{
    size_t end = list->words, changed = end;
    uint64_t keys = list->keys;
    for (size_t i = 0; i < count; i++) {
        /* Behind the end there is room for any one attribute: whether it fits is known when the one
         * that it replaces was found. */
        uint64_t bit = 0;
        unsigned cut = 0;
        const size_t words = attr_encode(out + end, &attributes[i], &cut, &bit);
        if (words != 0 && (keys & bit) == 0 && end + words <= room && list->count < FWS_ATTRS_MAX) {
            end += words; /* nearly always: a new key, and room for it */
            list->count++;
        } else {
            size_t at = end;
            list->words = end;
            if (words == 0 || !attr_join(list, out, room, words, replace, &at)) {
                list->dropped++;
                continue;
            }
            end = list->words;
            if (at < changed)
                changed = at;
        }
        keys |= bit;
        list->cut += cut;
    }
    list->words = end;
    list->keys = keys;
    return changed;
}
