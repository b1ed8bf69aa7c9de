#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layouts of other days: the sources of writer and reader with a few lines replaced, each of which
must be there exactly once, so that a layout that moves on does not leave a test without its subject.

    layouts.py NAME SOURCE OUT     writes OUT, the copy of SOURCE that the layout NAME has
    layouts.py --list NAME         the names of the files that it changes
"""
import pathlib
import sys

# A minor that only adds. What its reader knows beyond ours: a kind of section, an incompat bit, and
# counters in the batches, which it therefore needs to be longer.
MINOR_1 = [
    ("FWS_LAYOUT_MINOR  0u", "FWS_LAYOUT_MINOR  1u"),
    ("FWS_INCOMPAT_KNOWN UINT64_C(0)", "FWS_INCOMPAT_KNOWN UINT64_C(4)"),
    ("    FWS_SECTION_KINDS = 13,", "    FWS_SECTION_QUOTAS = 13,\n    FWS_SECTION_KINDS = 14,"),
    ("FWS_B_WORDS = 32,", "FWS_B_WORDS = 64,"),
]
# Its writer makes every entry longer, the directory's too, and sets bits that mean nothing to us.
LONGER = [
    ("FWS_D_WORDS = 8,", "FWS_D_WORDS = 16,"),
    ("FWS_RES_WORDS = 1024,", "FWS_RES_WORDS = 1040,"),
    ("FWS_I_WORDS = 16,", "FWS_I_WORDS = 32,"),
    ("FWS_P_WORDS = 16,", "FWS_P_WORDS = 32,"),
    ("FWS_C_WORDS = 32,", "FWS_C_WORDS = 48,"),
    ("FWS_A_WORDS = 336,", "FWS_A_WORDS = 352,"),
    ("FWS_ATTR_WORDS_MAX == FWS_A_WORDS,", "FWS_ATTR_WORDS_MAX <= FWS_A_WORDS,"),
    ("FWS_CONFIG_WORDS = 8336,", "FWS_CONFIG_WORDS = 8352,"),
    ("FWS_WORD_BYTES == FWS_CONFIG_WORDS,", "FWS_WORD_BYTES <= FWS_CONFIG_WORDS,"),
    ("FWS_LANE_WORDS = 16,", "FWS_LANE_WORDS = 32,"),
    ("FWS_KIND_UPDOWN = 3,", "FWS_KIND_UPDOWN = 6,"),  # to us a kind of instrument from nowhere
    ("    ((uint64_t)(kind) | (uint64_t)(status) << 8",
     "    (UINT64_C(0xa5) << 56 | (uint64_t)(kind) | (uint64_t)(status) << 8"),
    ("    ((uint64_t)(severity) | (uint64_t)(text) << 8",
     "    (UINT64_C(0x5a) << 56 | (uint64_t)(severity) | (uint64_t)(text) << 8"),
]
# A longer header, rings with something behind their data, and the new section amid the others.
SHIM_OPEN = [
    ("{.bytes = 2 * FWS_PAGE_BYTES}", "{.bytes = 3 * FWS_PAGE_BYTES}"),
    ("    fws_word *entry = region + FWS_PAGE_BYTES / FWS_WORD_BYTES;",
     "    fws_word *entry = region + 2 * FWS_PAGE_BYTES / FWS_WORD_BYTES;"),
    ("&header[FWS_H_HEADER_BYTES], FWS_PAGE_BYTES", "&header[FWS_H_HEADER_BYTES], 2 * FWS_PAGE_BYTES"),
    ("&header[FWS_H_DIR_OFFSET], FWS_PAGE_BYTES", "&header[FWS_H_DIR_OFFSET], 2 * FWS_PAGE_BYTES"),
    ("    fws_put(&header[FWS_H_REGION_BYTES], plan->bytes);",
     "    fws_put(&header[FWS_H_REGION_BYTES], plan->bytes);\n"
     "    fws_put(&header[FWS_H_COMPAT], UINT64_C(1) << 63 | 3);\n"
     "    for (int w = 128; w < FWS_H_CHECKSUM; w++)\n"
     "        fws_put(&header[w], UINT64_MAX);\n"),
    ("    plan_add(&plan, FWS_SECTION_STRINGS,",
     "    plan_add(&plan, FWS_SECTION_QUOTAS, 24 * w, 7, 3);\n    plan_add(&plan, FWS_SECTION_STRINGS,"),
    ("FWS_R_WORDS * w + sizes->span_ring_bytes", "FWS_R_WORDS * w + sizes->span_ring_bytes + 256"),
    ("FWS_R_WORDS * w + sizes->log_ring_bytes", "FWS_R_WORDS * w + sizes->log_ring_bytes + 256"),
    ("(FWS_R_WORDS + capacity / FWS_WORD_BYTES)", "(FWS_R_WORDS + capacity / FWS_WORD_BYTES + 32)"),
]
INCOMPAT_BIT = [
    ("    fws_put(&header[FWS_H_DIR_COUNT], plan->count);",
     "    fws_put(&header[FWS_H_DIR_COUNT], plan->count);\n    fws_put(&header[FWS_H_INCOMPAT], 4);"),
]
NEW_KIND = [
    ('    [FWS_SECTION_LANES] = {"lanes",',
     '    [FWS_SECTION_QUOTAS] = {"quotas", 16, 65536, true},\n    [FWS_SECTION_LANES] = {"lanes",'),
]
# A minor that makes the directory's entries longer still takes the shorter ones of before.
OLD_DIRECTORY = NEW_KIND + [("stride < FWS_D_WORDS * FWS_WORD_BYTES", "stride < 64")]
MAJOR_2 = [
    ("FWS_LAYOUT_MAJOR  1u", "FWS_LAYOUT_MAJOR  2u"),
    ("FWS_H_STATE = 256,", "FWS_H_STATE = 480,"),  # all that is behind the prefix may move
    ("FWS_L_BODY_BYTES = 1,", "FWS_L_BODY_BYTES = 2,"),
    ("FWS_L_ORIGINAL_BYTES = 2,", "FWS_L_ORIGINAL_BYTES = 1,"),
]
MAJOR_0 = [("FWS_LAYOUT_MAJOR  1u", "FWS_LAYOUT_MAJOR  0u"),
           ("FWS_LAYOUT_MINOR  0u", "FWS_LAYOUT_MINOR  9u")]
# The word is whatever the machine calls a word.
NATIVE_WORD = [("FWS_WORD_BITS     64u", "FWS_WORD_BITS     (8u * (unsigned)sizeof(long))")]

LAYOUTS = {
    "minor": {"layout.h": MINOR_1 + LONGER, "open.c": SHIM_OPEN, "validate.c": OLD_DIRECTORY},
    "incompat": {"layout.h": MINOR_1 + LONGER, "open.c": SHIM_OPEN + INCOMPAT_BIT,
                 "validate.c": OLD_DIRECTORY},
    "minor_reader": {"layout.h": MINOR_1, "validate.c": NEW_KIND},
    "major": {"layout.h": MAJOR_2},
    "old": {"layout.h": MAJOR_0},
    "word": {"layout.h": NATIVE_WORD},
}


def copy(text, replacements):
    for old, new in replacements:
        if text.count(old) != 1:
            raise SystemExit(f"layouts.py: {text.count(old)} times in the source: {old!r}")
        text = text.replace(old, new)
    return text


def main():
    if sys.argv[1] == "--list":
        print(";".join(LAYOUTS[sys.argv[2]]), end="")
        return
    name, source, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(copy(source.read_text(), LAYOUTS[name][source.name]))


if __name__ == "__main__":
    main()
