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
#include "shmlayout/text.h"

#include <stddef.h>

/* The writer's side: all of its state is private memory. */
struct fws_ring_writer {
    fws_word *control; /* FWS_R_WORDS in the region */
    fws_word *data;
    uint64_t capacity; /* bytes, a power of two, >= 2 * the longest record */
    uint64_t tail;
    uint64_t number; /* of the next record */
    uint64_t intent; /* end of the record being written */
    fws_word *next;  /* its next word */
    size_t left;     /* words from there to the end of the data */
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

/* Moves `oldest` past every record that [tail, intent) overwrites: there is at least one. At most
 * half the capacity is written at a time, so the record before tail always survives. */
void fws_ring_evict(struct fws_ring_writer *ring);

/* fws_ring_put() of words that do not fit before the end of the data. */
void fws_ring_put_wrapping(struct fws_ring_writer *ring, const void *from, size_t words);

/* More words of the record that was begun. */
static inline void fws_ring_put(struct fws_ring_writer *ring, const void *from, size_t words)
{
    if (__builtin_expect(words > ring->left, 0)) {
        fws_ring_put_wrapping(ring, from, words);
        return;
    }
    fws_publish_all(ring->next, from, words);
    ring->next += words;
    ring->left -= words;
}

/* The same of text, padded with zeros to whole words. */
static inline void fws_ring_put_text(struct fws_ring_writer *ring, const char *text, size_t bytes)
{
    fws_ring_put(ring, text, bytes / FWS_WORD_BYTES);
    if (bytes % FWS_WORD_BYTES != 0) {
        const uint64_t last = fws_text_rest(text, bytes);
        fws_ring_put(ring, &last, 1);
    }
}

/*
 * Begins a record of `words` payload words and makes its head, in private memory; put and put_text
 * of the head and so many words follow, then end. Wait-free; overwrites the oldest. The caller holds
 * the ring: it is the lane's owner, or it entered lane 0's try-lock. words + FWS_REC_WORDS must be
 * at most half the capacity. A record that is not ended was never written.
 */
static inline void fws_ring_begin(struct fws_ring_writer *ring, enum fws_record_kind kind,
                                  uint64_t time_unix_ns, size_t words, uint64_t head[FWS_REC_WORDS])
{
    const uint64_t length = (FWS_REC_WORDS + words) * FWS_WORD_BYTES;
    head[FWS_REC_LENGTH] = length;
    head[FWS_REC_KIND] = kind;
    head[FWS_REC_POSITION] = ring->tail;
    head[FWS_REC_NUMBER] = ring->number;
    head[FWS_REC_TIME_UNIX_NS] = time_unix_ns;
    const uint64_t at = (ring->tail & (ring->capacity - 1)) / FWS_WORD_BYTES;
    ring->next = ring->data + at;
    ring->left = (size_t)(ring->capacity / FWS_WORD_BYTES - at);
    ring->intent = ring->tail + length;
    if (ring->intent - ring->oldest > ring->capacity)
        fws_ring_evict(ring);
    /* Relaxed: every data word that follows is a release store, so a reader that sees one of them
     * sees this intent too and throws away what it overwrote. PAIRS WITH ring_still_whole. */
    fws_put(&ring->control[FWS_R_INTENT], ring->intent);
}

static inline void fws_ring_end(struct fws_ring_writer *ring)
{
    ring->lengths[ring->number & ring->lengths_mask] =
        (uint16_t)((ring->intent - ring->tail) / FWS_WORD_BYTES);
    ring->number++;
    ring->tail = ring->intent;
    /* Release: a reader that sees this tail sees the whole record. PAIRS WITH fws_ring_read. */
    fws_publish(&ring->control[FWS_R_TAIL], ring->tail);
}

/* All of it at once. */
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
