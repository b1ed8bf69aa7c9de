/* SPDX-License-Identifier: Apache-2.0 */
/* Checks on private copies: the header's prefix, the directory, attributes, record heads. */
#include "shmlayout/validate.h"

const char *fws_verdict_text(enum fws_verdict verdict)
{
    switch (verdict) {
    case FWS_OK:
        return "sound";
    case FWS_NOT_READY:
        return "the writer has not finished creating it";
    case FWS_FOREIGN:
        return "not a fwdscope region";
    case FWS_BYTE_ORDER_OTHER:
        return "written in another byte order";
    case FWS_WORD_SIZE_OTHER:
        return "written with another word size";
    case FWS_MAJOR_OTHER:
        return "another major version of the layout";
    case FWS_INCOMPAT_UNKNOWN:
        return "uses a layout feature that this version does not know";
    case FWS_TRUNCATED:
        return "shorter than its header says";
    case FWS_CHECKSUM_WRONG:
        return "the header's checksum is wrong";
    case FWS_HEADER_WRONG:
        return "sizes in the header contradict each other";
    }
    return "unknown";
}

uint64_t fws_prefix_checksum(const uint64_t prefix[FWS_H_PREFIX_WORDS])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int w = 1; w < FWS_H_CHECKSUM; w++) {
        for (int byte = 0; byte < FWS_WORD_BYTES; byte++) {
            hash ^= prefix[w] >> (8 * byte) & 0xff;
            hash *= UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

enum fws_verdict fws_check_prefix(const uint64_t prefix[FWS_H_PREFIX_WORDS], uint64_t file_bytes)
{
    if (prefix[FWS_H_MAGIC] == 0)
        return FWS_NOT_READY;
    if (prefix[FWS_H_MAGIC] == __builtin_bswap64(FWS_MAGIC))
        return FWS_BYTE_ORDER_OTHER;
    if (prefix[FWS_H_MAGIC] != FWS_MAGIC)
        return FWS_FOREIGN;
    if (prefix[FWS_H_BYTE_ORDER] != FWS_BYTE_ORDER)
        return FWS_BYTE_ORDER_OTHER;
    if (prefix[FWS_H_WORD_BITS] != FWS_WORD_BITS)
        return FWS_WORD_SIZE_OTHER;
    if (prefix[FWS_H_CHECKSUM] != fws_prefix_checksum(prefix))
        return FWS_CHECKSUM_WRONG;
    if (prefix[FWS_H_MAJOR] != FWS_LAYOUT_MAJOR)
        return FWS_MAJOR_OTHER;
    if ((prefix[FWS_H_INCOMPAT] & ~FWS_INCOMPAT_KNOWN) != 0)
        return FWS_INCOMPAT_UNKNOWN;

    const uint64_t bytes = prefix[FWS_H_REGION_BYTES];
    const uint64_t count = prefix[FWS_H_DIR_COUNT];
    const uint64_t stride = prefix[FWS_H_DIR_STRIDE];
    if (bytes < FWS_REGION_BYTES_MIN || bytes > FWS_REGION_BYTES_MAX)
        return FWS_HEADER_WRONG;
    if (bytes > file_bytes)
        return FWS_TRUNCATED;
    if (prefix[FWS_H_HEADER_BYTES] < FWS_H_WORDS * FWS_WORD_BYTES ||
        prefix[FWS_H_HEADER_BYTES] > bytes || prefix[FWS_H_DIR_OFFSET] % FWS_WORD_BYTES != 0 ||
        prefix[FWS_H_DIR_OFFSET] < prefix[FWS_H_HEADER_BYTES] || count > FWS_SECTIONS_MAX ||
        stride < FWS_D_WORDS * FWS_WORD_BYTES || stride > FWS_PAGE_BYTES ||
        stride % FWS_WORD_BYTES != 0 ||
        !fws_inside(prefix[FWS_H_DIR_OFFSET], count * stride, bytes))
        return FWS_HEADER_WRONG;
    return FWS_OK;
}

/* What every known kind needs at least. */
static const struct {
    const char *name;
    uint64_t stride_words_min;
    uint64_t count_max;
    bool lanes; /* whether more than one lane makes sense */
} kinds[FWS_SECTION_KINDS] = {
    [FWS_SECTION_NONE] = {"unknown", 0, 0, false},
    [FWS_SECTION_RESOURCE] = {"resource", FWS_RES_WORDS, 1, false},
    [FWS_SECTION_STRINGS] = {"strings", 1, UINT64_C(1) << 24, false},
    [FWS_SECTION_INSTRUMENTS] = {"instruments", FWS_I_WORDS, 65536, false},
    [FWS_SECTION_VALUES] = {"values", 1, UINT64_C(1) << 22, true},
    [FWS_SECTION_PIPELINES] = {"pipelines", FWS_P_WORDS, 1024, false},
    [FWS_SECTION_COMPONENTS] = {"components", FWS_C_WORDS, 4096, false},
    [FWS_SECTION_BATCHES] = {"batches", FWS_B_WORDS, 1024, true},
    [FWS_SECTION_ACTIVE_SPANS] = {"active_spans", FWS_A_WORDS, 4096, false},
    [FWS_SECTION_SPAN_RINGS] = {"span_rings", FWS_R_WORDS + 1, 1, true},
    [FWS_SECTION_LOG_RINGS] = {"log_rings", FWS_R_WORDS + 1, 1, true},
    [FWS_SECTION_CONFIG] = {"config", FWS_CONFIG_WORDS, 1, false},
    [FWS_SECTION_LANES] = {"lanes", FWS_LANE_WORDS, 1, true},
};

const char *fws_section_name(uint64_t kind)
{
    return kind < FWS_SECTION_KINDS ? kinds[kind].name : kinds[FWS_SECTION_NONE].name;
}

/* Why a section is not usable by itself, or NULL. */
static const char *section_refusal(const struct fws_section_info *s, uint64_t region_bytes)
{
    if (s->kind == FWS_SECTION_NONE || s->kind >= FWS_SECTION_KINDS)
        return "of a kind that this version does not know";
    if (s->version != 1)
        return "of a version that this version does not know";
    if (s->offset % FWS_LINE_BYTES != 0 || s->stride % FWS_WORD_BYTES != 0)
        return "not aligned";
    if (!fws_inside(s->offset, s->length, region_bytes))
        return "outside the region";
    if (s->stride < kinds[s->kind].stride_words_min * FWS_WORD_BYTES)
        return "entries shorter than this version needs";
    if (s->count == 0 || s->count > kinds[s->kind].count_max)
        return "entry count out of range";
    if (s->lanes == 0 || s->lanes > (kinds[s->kind].lanes ? FWS_LANES_MAX : 1))
        return "lane count out of range";
    /* No overflow: count <= 2^24, lanes <= 64, so the quotient below is exact enough to compare. */
    if (s->stride > s->length / (s->count * s->lanes))
        return "shorter than its entries";
    return NULL;
}

static bool sections_overlap(const struct fws_section_info *a, const struct fws_section_info *b)
{
    return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

/* Why a section, sound by itself, contradicts what stands before it, or NULL. */
static const char *section_conflict(const struct fws_section_info *all, size_t index,
                                    const struct fws_section_info *header,
                                    const struct fws_section_info *directory)
{
    const struct fws_section_info *s = &all[index];
    if (sections_overlap(s, header) || sections_overlap(s, directory))
        return "overlaps the header or the directory";
    for (size_t i = 0; i < index; i++) {
        if (all[i].refused != NULL)
            continue;
        if (all[i].kind == s->kind)
            return "listed twice";
        if (sections_overlap(&all[i], s))
            return "overlaps another section";
    }
    return NULL;
}

size_t fws_check_directory(const uint64_t *directory, uint64_t dir_count, uint64_t dir_stride,
                           uint64_t header_bytes, uint64_t dir_offset, uint64_t region_bytes,
                           struct fws_section_info out[FWS_SECTIONS_MAX])
{
    const struct fws_section_info header = {.offset = 0, .length = header_bytes};
    const struct fws_section_info own = {.offset = dir_offset, .length = dir_count * dir_stride};
    size_t count = dir_count < FWS_SECTIONS_MAX ? (size_t)dir_count : FWS_SECTIONS_MAX;

    for (size_t i = 0; i < count; i++) {
        const uint64_t *entry = directory + i * (dir_stride / FWS_WORD_BYTES);
        out[i] = (struct fws_section_info){
            .kind = entry[FWS_D_KIND],
            .version = entry[FWS_D_VERSION],
            .offset = entry[FWS_D_OFFSET],
            .length = entry[FWS_D_LENGTH],
            .stride = entry[FWS_D_STRIDE],
            .count = entry[FWS_D_COUNT],
            .lanes = entry[FWS_D_LANES],
        };
        out[i].refused = section_refusal(&out[i], region_bytes);
        if (out[i].refused == NULL)
            out[i].refused = section_conflict(out, i, &header, &own);
    }
    return count;
}

bool fws_attr_next(const uint64_t *block, size_t words, size_t *at, struct fws_attr *out)
{
    if (*at >= words)
        return false;
    const uint64_t head = block[*at];
    const size_t taken = fws_attr_words(head, words - *at - 1);
    if (taken == 0)
        return false;
    const unsigned type = FWS_ATTR_TYPE(head);
    const unsigned key_bytes = FWS_ATTR_KEY_BYTES(head);
    const size_t key_words = (size_t)fws_words_of(key_bytes);
    const uint64_t *value = block + *at + 1 + key_words;
    *out = (struct fws_attr){
        .type = type,
        .key = (const char *)(block + *at + 1),
        .key_bytes = key_bytes,
        .value = type == FWS_ATTR_STRING ? (const char *)value : NULL,
        .value_bytes = FWS_ATTR_VALUE_BYTES(head),
        .number = type == FWS_ATTR_STRING ? 0 : value[0],
    };
    *at += taken;
    return true;
}

bool fws_check_record_head(const uint64_t head[FWS_REC_WORDS], uint64_t position, uint64_t capacity)
{
    const uint64_t length = head[FWS_REC_LENGTH];
    return head[FWS_REC_POSITION] == position && length % FWS_WORD_BYTES == 0 &&
           length >= FWS_REC_WORDS * FWS_WORD_BYTES &&
           length <= FWS_RECORD_WORDS_MAX * FWS_WORD_BYTES && length <= capacity / 2 &&
           (head[FWS_REC_KIND] == FWS_RECORD_SPAN || head[FWS_REC_KIND] == FWS_RECORD_LOG);
}
