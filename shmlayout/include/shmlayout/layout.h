/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of a region, version 1.0: magic, versions, limits and word positions. No functions.
 *
 * This header and shmlayout/README.md are the file format. A region is an array of 64-bit
 * little-endian words; every position below is an index of words from the start of the structure
 * that its name begins with, so its byte offset is 8 times the index. No field is narrower than a
 * word in memory: where several small values share a word, the shifts are given here.
 *
 *   page 0           header: immutable prefix (words 0..255), then mutable words
 *   dir_offset       section directory: immutable entries {kind, version, offset, length, ...}
 *   elsewhere        the sections, each 128-byte aligned, disjoint, inside the region
 *
 * What the words mean is in README.md; which memory order each access takes is in atomic.h.
 */
#ifndef SHMLAYOUT_LAYOUT_H
#define SHMLAYOUT_LAYOUT_H

#include <stdint.h>

/* ---- versions -------------------------------------------------------------------------------- */

#define FWS_MAGIC         UINT64_C(0x45504f4353445746) /* the bytes "FWDSCOPE" in file order */
#define FWS_BYTE_ORDER    UINT64_C(0x0102030405060708)
#define FWS_WORD_BITS     64u
#define FWS_LAYOUT_MAJOR  1u /* a reader refuses another major */
#define FWS_LAYOUT_MINOR  0u /* a higher minor only adds: sections, longer strides, compat bits */
#define FWS_INCOMPAT_KNOWN UINT64_C(0) /* a bit that the reader does not know refuses the region */
#define FWS_COMPAT_LANES_USED UINT64_C(1) /* the writer keeps FWS_LANE_USED */

#define FWS_FILE_SUFFIX ".fwdscope" /* path file: INSTANCE.GENERATION.UUID8.fwdscope */
#define FWS_MEMFD_PREFIX "fwdscope:" /* memfd: /proc/PID/fd/N -> /memfd:fwdscope:... (deleted) */
#define FWS_TEMP_SUFFIX ".creating" /* while the writer fills it; readers pass it over */

/* ---- limits ---------------------------------------------------------------------------------- */

enum {
    FWS_WORD_BYTES = 8,
    FWS_LINE_BYTES = 128, /* two cache lines: adjacent-line prefetch shares pairs */
    FWS_LINE_WORDS = FWS_LINE_BYTES / FWS_WORD_BYTES,
    FWS_PAGE_BYTES = 4096,

    FWS_NAME_BYTES_MAX = 255,       /* names, units, keys, service name, version, instance */
    FWS_DESCRIPTION_BYTES_MAX = 1024,
    FWS_ATTR_VALUE_BYTES_MAX = 1024, /* longer values are cut at a UTF-8 boundary */
    FWS_ATTRS_MAX = 32,             /* per span, record, instrument, resource */
    FWS_ATTR_WORDS_MAX = 256,       /* 2 KiB of attributes of one span or record in all */
    FWS_LOG_BYTES_MAX = 16 * 1024,
    FWS_CONFIG_BYTES_MAX = 64 * 1024,
    FWS_CONFIG_PATH_BYTES_MAX = 1023,
    FWS_STAGE_BYTES_MAX = 31,
    FWS_BOUNDS_MAX = 128,           /* histogram bounds; buckets are one more */
    FWS_LANES_MAX = 64,
    FWS_SECTIONS_MAX = 64,
};
#define FWS_REGION_BYTES_MIN UINT64_C(8192)
#define FWS_REGION_BYTES_MAX (UINT64_C(1) << 30)

/* ---- header ---------------------------------------------------------------------------------- */

/* The immutable prefix. Its positions hold for every version, for ever: a reader of any version
 * can name the writer of any other. Strings are NUL padded, at most 255 bytes. */
enum fws_header_word {
    FWS_H_MAGIC = 0, /* published last, with release: the rest of the prefix is then complete */
    FWS_H_BYTE_ORDER = 1,
    FWS_H_WORD_BITS = 2,
    FWS_H_MAJOR = 3,
    FWS_H_MINOR = 4,
    FWS_H_HEADER_BYTES = 5,
    FWS_H_REGION_BYTES = 6,
    FWS_H_INCOMPAT = 7,
    FWS_H_COMPAT = 8,
    FWS_H_DIR_OFFSET = 9, /* bytes */
    FWS_H_DIR_COUNT = 10,
    FWS_H_DIR_STRIDE = 11, /* bytes */
    FWS_H_UUID = 12,       /* 2 words: 16 random bytes, in file order */
    FWS_H_BOOT_ID = 14,    /* 2 words: the kernel's boot id; zero when it could not be read */
    FWS_H_PID = 16,        /* of the subject, as the writer sees it */
    FWS_H_PID_NS = 17,     /* inode of the pid namespace that the pid belongs to; 0 unknown */
    FWS_H_PID_START = 18,  /* start time of the pid in clock ticks since boot; 0 unknown */
    FWS_H_CREATED_UNIX_NS = 19,
    FWS_H_CREATED_BOOT_NS = 20, /* CLOCK_BOOTTIME */
    FWS_H_UID = 21,
    FWS_H_GID = 22,
    FWS_H_GENERATION = 23,   /* 1 for the first life of an instance, then + 1 */
    FWS_H_HEARTBEAT_NS = 24, /* the interval that the writer declared; 0: none */
    FWS_H_SERVICE_NAME = 32, /* 32 words */
    FWS_H_SERVICE_VERSION = 64,
    FWS_H_INSTANCE = 96,
    FWS_H_CHECKSUM = 255, /* FNV-1a of words 1..254, byte by byte in file order */
    FWS_H_PREFIX_WORDS = 256,

    /* Mutable words, each on a line of its own. */
    FWS_H_STATE = 256,         /* enum fws_state; release, after the close reason */
    FWS_H_SIGNAL = 272,        /* fatal signal number; 0: none seen */
    FWS_H_SIGNAL_ADDRESS = 273, /* all ones: of none */
    FWS_H_SIGNAL_THREAD = 274,  /* stored last; 0: address and thread are not known */
    FWS_H_REFUSED = 288,       /* registrations refused: table full or bad arguments */
    FWS_H_SPANS_REFUSED = 304, /* spans not started: no free slot */
    FWS_H_CLOSE_REASON = 320,  /* 32 words, NUL padded */
    FWS_H_WORDS = 512,
};
enum { FWS_STRING_WORDS = 32 };

enum fws_state {
    FWS_STATE_RUNNING = 1,
    FWS_STATE_CLOSED = 2,
    FWS_STATE_CLOSED_CRASHED = 3, /* an adapter saw its subject die */
};

/* ---- directory ------------------------------------------------------------------------------- */

enum fws_dir_word {
    FWS_D_KIND = 0,
    FWS_D_VERSION = 1,
    FWS_D_OFFSET = 2, /* bytes from the start of the region, 128-byte aligned */
    FWS_D_LENGTH = 3, /* bytes, >= stride * count * lanes */
    FWS_D_STRIDE = 4, /* bytes of one entry; longer than known: the tail is ignored */
    FWS_D_COUNT = 5,  /* entries (of one lane where lanes > 1) */
    FWS_D_LANES = 6,
    FWS_D_WORDS = 8,
};

enum fws_section {
    FWS_SECTION_NONE = 0,
    FWS_SECTION_RESOURCE = 1,
    FWS_SECTION_STRINGS = 2,
    FWS_SECTION_INSTRUMENTS = 3,
    FWS_SECTION_VALUES = 4,
    FWS_SECTION_PIPELINES = 5,
    FWS_SECTION_COMPONENTS = 6,
    FWS_SECTION_BATCHES = 7,
    FWS_SECTION_ACTIVE_SPANS = 8,
    FWS_SECTION_SPAN_RINGS = 9,
    FWS_SECTION_LOG_RINGS = 10,
    FWS_SECTION_CONFIG = 11,
    FWS_SECTION_LANES = 12,
    FWS_SECTION_KINDS = 13,
};

/* ---- references and attributes --------------------------------------------------------------- */

/* A reference into STRINGS: byte offset (8-aligned) in the low half, byte length in the high. */
#define FWS_REF(offset, length) ((uint64_t)(offset) | (uint64_t)(length) << 32)
#define FWS_REF_OFFSET(ref)     ((uint64_t)(ref) & UINT64_C(0xffffffff))
#define FWS_REF_LENGTH(ref)     ((uint64_t)(ref) >> 32)

/* An attribute: one head word, the key padded to words, the value padded to words. The head holds
 * type (bits 0..7), key bytes (8..15), value bytes (32..63). Numbers are one word, 8 bytes. */
enum fws_attr_type {
    FWS_ATTR_STRING = 1,
    FWS_ATTR_INT = 2,    /* two's complement */
    FWS_ATTR_DOUBLE = 3, /* IEEE 754 bits */
    FWS_ATTR_BOOL = 4,   /* 0 or 1 */
};
#define FWS_ATTR_HEAD(type, key_bytes, value_bytes) \
    ((uint64_t)(type) | (uint64_t)(key_bytes) << 8 | (uint64_t)(value_bytes) << 32)
#define FWS_ATTR_TYPE(head)        ((unsigned)((head) & 0xff))
#define FWS_ATTR_KEY_BYTES(head)   ((unsigned)((head) >> 8 & 0xff))
#define FWS_ATTR_VALUE_BYTES(head) ((unsigned)((head) >> 32))

/* ---- resource (one entry, immutable after publish) ------------------------------------------- */

enum fws_resource_word {
    FWS_RES_PREFIX = 0, /* 32 words: metric prefix, NUL padded */
    FWS_RES_ATTR_COUNT = 32,
    FWS_RES_ATTR_WORDS = 33,
    FWS_RES_ATTR_DROPPED = 34,
    FWS_RES_ATTRS = 40,
    FWS_RES_WORDS = 1024,
};

/* ---- instruments (append-only) --------------------------------------------------------------- */

enum fws_instrument_word {
    FWS_I_STATE = 0, /* 0 free, 1 published (release, last) */
    FWS_I_KIND = 1,  /* enum fws_instrument_kind */
    FWS_I_NUMBER = 2, /* enum fws_number */
    FWS_I_NAME = 3,   /* references */
    FWS_I_UNIT = 4,
    FWS_I_DESCRIPTION = 5,
    FWS_I_ATTRS = 6, /* reference; length in bytes, a multiple of 8 */
    FWS_I_ATTR_COUNT = 7,
    FWS_I_ATTR_DROPPED = 8,
    FWS_I_SLOT = 9,    /* first slot in VALUES */
    FWS_I_SLOTS = 10,  /* counter, up-down 1; gauge, total 2; histogram 2 + buckets */
    FWS_I_BOUNDS = 11, /* reference to doubles; length 8 * bounds */
    FWS_I_WORDS = 16,
};
enum fws_instrument_kind {
    FWS_KIND_COUNTER = 1,   /* every lane adds; the reader sums */
    FWS_KIND_TOTAL = 2,     /* set, monotonic; shared words of lane 0: value, present */
    FWS_KIND_UPDOWN = 3,    /* every lane adds, two's complement */
    FWS_KIND_GAUGE = 4,     /* shared words of lane 0: value, present */
    FWS_KIND_HISTOGRAM = 5, /* every lane: sequence, sum, buckets; seqlocked but for lane 0 */
};
enum fws_number { FWS_NUMBER_INT = 0, FWS_NUMBER_DOUBLE = 1 };

/* ---- pipelines and components (append-only descriptors, then mutable words) ------------------ */

enum fws_pipeline_word {
    FWS_P_STATE = 0,
    FWS_P_NAME = 1,
    FWS_P_ABSENT = 2,             /* bit B_x: the forwarder does not have batch counter x */
    FWS_P_LAST_BATCH_UNIX_NS = 8, /* mutable; 0: not known */
    FWS_P_WORDS = 16,
};
enum fws_component_word {
    FWS_C_STATE = 0,
    FWS_C_KIND = 1, /* enum fws_component_kind */
    FWS_C_PIPELINE = 2,
    FWS_C_NAME = 3,
    FWS_C_TYPE = 4,   /* input, output: its type; transform: its query */
    FWS_C_ABSENT = 5, /* bit FWS_COUNT_x: the forwarder does not have that counter */
    FWS_C_SLOT = 6,   /* FWS_COUNTS slots in VALUES, summed over the lanes */

    FWS_C_HEALTH = 16, /* enum fws_health; a line of mutable, shared words from here */
    FWS_C_QUEUE = 17,  /* 1: depth and capacity are known */
    FWS_C_QUEUE_DEPTH = 18,
    FWS_C_QUEUE_CAPACITY = 19,
    FWS_C_LAST_SUCCESS_UNIX_NS = 20, /* 0: not known */
    FWS_C_WORDS = 32,
};
enum fws_component_kind { FWS_INPUT = 1, FWS_TRANSFORM = 2, FWS_OUTPUT = 3 };
enum fws_count {
    FWS_COUNT_LINES = 0, /* input, output: lines; transform: lines in */
    FWS_COUNT_BYTES = 1,
    FWS_COUNT_ERRORS = 2,
    FWS_COUNT_ROTATIONS = 3,
    FWS_COUNT_PARSE_ERRORS = 4,
    FWS_COUNTS = 5,
};
enum fws_health {
    FWS_HEALTHY = 0,
    FWS_DEGRADED = 1,
    FWS_STARTING = 2,
    FWS_STOPPING = 3,
    FWS_STOPPED = 4,
    FWS_FAILED = 5,
};

/* ---- batches: one seqlocked group a lane and pipeline (lane 0: atomic adds, not grouped) ----- */

enum fws_batch_word {
    FWS_B_SEQ = 0,
    FWS_B_BATCHES = 1,
    FWS_B_ROWS = 2,
    FWS_B_FLUSH_SIZE = 3,
    FWS_B_FLUSH_TIMEOUT = 4,
    FWS_B_FLUSH_DRAIN = 5,
    FWS_B_DROPPED = 6,
    FWS_B_SCAN_ERRORS = 7,
    FWS_B_PARSE_ERRORS = 8,
    FWS_B_LATENCY_NS = 9,
    FWS_B_SCAN_NS = 10,
    FWS_B_TRANSFORM_NS = 11,
    FWS_B_OUTPUT_NS = 12,
    FWS_B_QUEUE_WAIT_NS = 13,
    FWS_B_SEND_NS = 14,
    FWS_B_STALLS = 15,
    FWS_B_INFLIGHT = 16, /* two's complement: one lane begins what another ends */
    FWS_B_USED = 17,
    FWS_B_WORDS = 32,
};

/* ---- active spans: fixed slots, each seqlocked ----------------------------------------------- */

/* Sizes of a span, packed: kind 0..7, status 8..15, name bytes 16..23, message bytes 24..31,
 * attributes 32..39, attributes dropped 40..55. */
#define FWS_SPAN_META(kind, status, name, message, attrs, dropped) \
    ((uint64_t)(kind) | (uint64_t)(status) << 8 | (uint64_t)(name) << 16 | \
     (uint64_t)(message) << 24 | (uint64_t)(attrs) << 32 | (uint64_t)(dropped) << 40)
#define FWS_SPAN_KIND(meta)          ((unsigned)((meta) & 0xff))
#define FWS_SPAN_STATUS(meta)        ((unsigned)((meta) >> 8 & 0xff))
#define FWS_SPAN_NAME_BYTES(meta)    ((unsigned)((meta) >> 16 & 0xff))
#define FWS_SPAN_MESSAGE_BYTES(meta) ((unsigned)((meta) >> 24 & 0xff))
#define FWS_SPAN_ATTRS(meta)         ((unsigned)((meta) >> 32 & 0xff))
#define FWS_SPAN_DROPPED(meta)       ((unsigned)((meta) >> 40 & 0xffff))

enum fws_active_word {
    FWS_A_SEQ = 0,
    FWS_A_STATE = 1,   /* 0 free, 1 active */
    FWS_A_TRACE_ID = 2, /* 2 words, bytes in file order */
    FWS_A_SPAN_ID = 4,
    FWS_A_PARENT_ID = 5, /* 0: a root */
    FWS_A_META = 6,
    FWS_A_ATTR_WORDS = 7,
    FWS_A_START_UNIX_NS = 8,
    FWS_A_STAGE_START_UNIX_NS = 9,   /* 0: no stage was named */
    FWS_A_OUTPUT_START_UNIX_NS = 10, /* 0: stage "output" not reached */
    FWS_A_STAGE = 12,                /* 4 words, NUL padded */
    FWS_A_NAME = 16,                 /* 32 words */
    FWS_A_MESSAGE = 48,              /* 32 words: status message */
    FWS_A_ATTRS = 80,                /* 256 words */
    FWS_A_WORDS = 336,
};

/* ---- rings: one a lane; a control line, then the data ---------------------------------------- */

enum fws_ring_word {
    FWS_R_INTENT = 0, /* position after the record being written */
    FWS_R_TAIL = 1,   /* position after the last whole record */
    FWS_R_OLDEST = 2, /* position of the oldest record that is not being overwritten */
    FWS_R_START = 3,  /* immutable: first position; free-running, need not be 0 */
    FWS_R_START_NUMBER = 4, /* immutable: number of the first record */
    FWS_R_CAPACITY = 5,     /* immutable: bytes of data, a power of two */
    FWS_R_WORDS = 16,       /* the control line; the data follows */
};
enum fws_record_word {
    FWS_REC_LENGTH = 0, /* bytes, head included, a multiple of 8 */
    FWS_REC_KIND = 1,   /* enum fws_record_kind */
    FWS_REC_POSITION = 2,
    FWS_REC_NUMBER = 3,
    FWS_REC_TIME_UNIX_NS = 4, /* span: its end; log: when the shim took it */
    FWS_REC_WORDS = 5,
};
enum fws_record_kind { FWS_RECORD_SPAN = 1, FWS_RECORD_LOG = 2 };

/* Payload of a finished span; name, message and attributes follow, each padded to words. */
enum fws_span_word {
    FWS_S_TRACE_ID = 0,
    FWS_S_SPAN_ID = 2,
    FWS_S_PARENT_ID = 3,
    FWS_S_META = 4,
    FWS_S_ATTR_WORDS = 5,
    FWS_S_START_UNIX_NS = 6,
    FWS_S_END_UNIX_NS = 7,
    FWS_S_WORDS = 8,
};
/* Payload of a log line; severity text, body and attributes follow, each padded to words.
 * Meta: severity 0..7, severity text bytes 8..15, attributes 16..23, attributes dropped 24..39. */
enum fws_log_word {
    FWS_L_META = 0,
    FWS_L_BODY_BYTES = 1,
    FWS_L_ORIGINAL_BYTES = 2, /* > body bytes: the line was cut */
    FWS_L_TIME_UNIX_NS = 3,   /* the line's own time; 0: not known */
    FWS_L_TRACE_ID = 4,       /* 2 words; zero: none */
    FWS_L_SPAN_ID = 6,
    FWS_L_ATTR_WORDS = 7,
    FWS_L_WORDS = 8,
};
#define FWS_LOG_META(severity, text, attrs, dropped) \
    ((uint64_t)(severity) | (uint64_t)(text) << 8 | (uint64_t)(attrs) << 16 | \
     (uint64_t)(dropped) << 24)
#define FWS_LOG_SEVERITY(meta)   ((unsigned)((meta) & 0xff))
#define FWS_LOG_TEXT_BYTES(meta) ((unsigned)((meta) >> 8 & 0xff))
#define FWS_LOG_ATTRS(meta)      ((unsigned)((meta) >> 16 & 0xff))
#define FWS_LOG_DROPPED(meta)    ((unsigned)((meta) >> 24 & 0xffff))

enum {
    FWS_RECORD_WORDS_MAX = FWS_REC_WORDS + FWS_L_WORDS + FWS_STRING_WORDS +
                           FWS_LOG_BYTES_MAX / FWS_WORD_BYTES + FWS_ATTR_WORDS_MAX,
};

/* ---- config document: one seqlocked slot ----------------------------------------------------- */

enum fws_config_word {
    FWS_CONFIG_SEQ = 0,
    FWS_CONFIG_STATE = 1, /* enum fws_config_state */
    FWS_CONFIG_PATH_BYTES = 2,
    FWS_CONFIG_TEXT_BYTES = 3, /* of the document, or of the reason */
    FWS_CONFIG_PATH = 16,      /* 128 words */
    FWS_CONFIG_TEXT = 144,     /* 8192 words */
    FWS_CONFIG_WORDS = 8336,
};
enum fws_config_state {
    FWS_CONFIG_NONE = 0,
    FWS_CONFIG_PUBLISHED = 1,
    FWS_CONFIG_REFUSED = 2, /* the text says why there is no document */
};

/* ---- lanes: one line each -------------------------------------------------------------------- */

enum fws_lane_word {
    FWS_LANE_HEARTBEAT = 0, /* changes while the writer lives */
    FWS_LANE_SPANS_DROPPED = 1,
    FWS_LANE_LOGS_DROPPED = 2,
    FWS_LANE_LOGS_CUT = 3,
    FWS_LANE_ATTRS_DROPPED = 4, /* dropped or cut */
    FWS_LANE_VALUES_DROPPED = 5, /* not a number, infinite, or of a stale handle */
    FWS_LANE_USED = 6, /* 1 before its first thread writes; of lane 0, which all share, always 0 */
    FWS_LANE_WORDS = 16,
};

/* ---- what a reader in another language relies on --------------------------------------------- */

_Static_assert(FWS_H_WORDS * FWS_WORD_BYTES == FWS_PAGE_BYTES, "the header is one page");
_Static_assert(FWS_A_WORDS % FWS_LINE_WORDS == 0, "active spans do not share lines");
_Static_assert(FWS_A_ATTRS + FWS_ATTR_WORDS_MAX == FWS_A_WORDS, "a slot ends with its attributes");
_Static_assert(FWS_CONFIG_WORDS % FWS_LINE_WORDS == 0, "the document is whole lines");
_Static_assert(FWS_CONFIG_TEXT + FWS_CONFIG_BYTES_MAX / FWS_WORD_BYTES == FWS_CONFIG_WORDS,
               "the document ends with its text");
_Static_assert(FWS_B_USED <= FWS_B_WORDS, "a group fits its stride");

#endif
