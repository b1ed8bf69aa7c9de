/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `log` and `ship` tell `stats`: one record a packet of a unix SOCK_SEQPACKET socket. Both ends
 * are the same program on the same machine, so a record is a plain structure; it is checked all the
 * same before it is used.
 */
#ifndef RSYSLOG_WIRE_H
#define RSYSLOG_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum { WIRE_NAME_BYTES = 256, WIRE_TEXT_BYTES = 16384 };
#define WIRE_MAGIC UINT32_C(0x31525746) /* the bytes FWR1 */

enum wire_kind {
    WIRE_LOG = 1,   /* a line of rsyslog's own: name is its tag */
    WIRE_BEGIN = 2, /* a transaction began: name is the output's */
    WIRE_END = 3,   /* it was committed, or failed and text says why */
    WIRE_LOST = 4,  /* nothing but what was lost */
};

struct wire_record {
    uint32_t magic;
    uint32_t kind;
    uint32_t severity;      /* log: 0..7 as syslog numbers them */
    uint32_t failed;        /* end: 1 when the output did not take the lines */
    uint64_t time_unix_ns;  /* log: of the line; begin: the beginning; end: the end */
    uint64_t start_unix_ns; /* end: the beginning, in case that record was lost */
    uint64_t rows, bytes;   /* end */
    uint64_t lost;          /* records that this sender could not pass on since its last packet */
    uint32_t text_bytes;
    uint32_t text_original_bytes; /* more than text_bytes: it was cut */
    char name[WIRE_NAME_BYTES];   /* NUL terminated */
    char text[WIRE_TEXT_BYTES];   /* text_bytes of it are sent */
};

/* Bytes of a record on the socket. */
static inline size_t wire_bytes(const struct wire_record *record)
{
    return offsetof(struct wire_record, text) + record->text_bytes;
}

#endif
