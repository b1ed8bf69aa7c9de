/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A single-writer ring of records that any number of read-only peers may lag behind. Positions are
 * bytes, free-running, compared by unsigned difference; a record is whole words and may wrap.
 * The protocol and its proof: README.md, "Ring".
 */
#ifndef SHMLAYOUT_RING_H
#define SHMLAYOUT_RING_H

#include "shmlayout/atomic.h"
#include "shmlayout/layout.h"

#include <stddef.h>

/* The writer's side: all of its state is private memory. */
struct fws_ring_writer {
    fws_word *control; /* FWS_R_WORDS in the region */
    fws_word *data;
    uint64_t capacity; /* bytes, a power of two, >= 2 * the longest record */
    uint64_t tail;
    uint64_t number; /* of the next record */
    uint64_t oldest; /* position of the oldest record that survives */
    uint64_t oldest_number;
    uint16_t *lengths;     /* private: words of record number n at [n & lengths_mask] */
    uint64_t lengths_mask; /* covers every record that fits */
};

/* How many `lengths` entries a ring of that capacity needs: a power of two. */
size_t fws_ring_lengths_count(uint64_t capacity);

/* Starts an empty ring; `start` and `start_number` are its first position and record number. */
void fws_ring_writer_init(struct fws_ring_writer *ring, fws_word *control, fws_word *data,
                          uint64_t capacity, uint16_t *lengths, uint64_t start,
                          uint64_t start_number);

/* Writes one record of `words` payload words. Wait-free; overwrites the oldest. The caller holds
 * the ring: it is the lane's owner, or it entered lane 0's try-lock. words + FWS_REC_WORDS must be
 * at most half the capacity. */
void fws_ring_write(struct fws_ring_writer *ring, enum fws_record_kind kind, uint64_t time_unix_ns,
                    const uint64_t *payload, size_t words);

/* The reader's side: a cursor over a ring whose control line was validated. */
struct fws_ring_reader {
    const fws_word *control;
    const fws_word *data;
    uint64_t capacity;
    uint64_t position; /* of the next record */
    uint64_t number;   /* that it must carry */
    uint64_t lost;     /* records that were overwritten before they could be read */
    uint64_t resyncs;  /* times that the cursor was lapped */
};

enum fws_ring_result {
    FWS_RING_RECORD,  /* out holds a whole record */
    FWS_RING_EMPTY,   /* nothing more for now */
    FWS_RING_BUSY,    /* lapped again and again: try later, nothing was taken */
    FWS_RING_CORRUPT, /* the ring contradicts itself: no record of it is to be trusted */
};

/* A cursor at the start of the ring's life, so that everything overwritten before the first read
 * is counted as lost. */
void fws_ring_reader_init(struct fws_ring_reader *reader, const fws_word *control,
                          const fws_word *data, uint64_t capacity, uint64_t start,
                          uint64_t start_number);

/* Takes the next record: head and payload into out[0..FWS_RECORD_WORDS_MAX), *words of it. When
 * the cursor was lapped it goes on with the oldest record that survives and adds the gap in record
 * numbers to lost. Bounded. */
enum fws_ring_result fws_ring_read(struct fws_ring_reader *reader, uint64_t *out, size_t *words);

#endif
