/* SPDX-License-Identifier: Apache-2.0 */
/* The single-writer ring: what the writer stores, in which order, and how a reader that may be
 * lapped at any moment takes whole records and counts exactly what it missed. */
#include "shmlayout/ring.h"

#include "shmlayout/validate.h"

enum { RING_TRIES = 32 }; /* resynchronisations in one read before the reader gives way */

static const uint64_t head_bytes = FWS_REC_WORDS * FWS_WORD_BYTES;

size_t fws_ring_lengths_count(uint64_t capacity)
{
    size_t count = 1;
    while (count < capacity / head_bytes + 1)
        count <<= 1;
    return count;
}

void fws_ring_writer_init(struct fws_ring_writer *ring, fws_word *control, fws_word *data,
                          uint64_t capacity, uint16_t *lengths, uint64_t start,
                          uint64_t start_number)
{
    *ring = (struct fws_ring_writer){
        .control = control,
        .data = data,
        .capacity = capacity,
        .tail = start,
        .number = start_number,
        .oldest = start,
        .oldest_number = start_number,
        .lengths = lengths,
        .lengths_mask = fws_ring_lengths_count(capacity) - 1,
    };
    /* Relaxed: nobody reads the ring before the region's magic is published. */
    fws_put(&control[FWS_R_START], start);
    fws_put(&control[FWS_R_START_NUMBER], start_number);
    fws_put(&control[FWS_R_CAPACITY], capacity);
    fws_put(&control[FWS_R_INTENT], start);
    fws_put(&control[FWS_R_TAIL], start);
    fws_put(&control[FWS_R_OLDEST], start);
}

void fws_ring_evict(struct fws_ring_writer *ring)
{
    do { /* bounded by the records in the ring; the lengths are private, so they are true */
        ring->oldest +=
            (uint64_t)ring->lengths[ring->oldest_number & ring->lengths_mask] * FWS_WORD_BYTES;
        ring->oldest_number++;
    } while (ring->intent - ring->oldest > ring->capacity);
    /* Release: who finds this position also finds the record that was written there before.
     * PAIRS WITH ring_resync. */
    fws_publish(&ring->control[FWS_R_OLDEST], ring->oldest);
}

void fws_ring_put_wrapping(struct fws_ring_writer *ring, const void *from, size_t words)
{
    const size_t run = ring->left;
    fws_publish_all(ring->next, from, run);
    ring->next = ring->data;
    ring->left = (size_t)(ring->capacity / FWS_WORD_BYTES);
    fws_ring_put(ring, (const char *)from + run * FWS_WORD_BYTES, words - run);
}

void fws_ring_write(struct fws_ring_writer *ring, enum fws_record_kind kind, uint64_t time_unix_ns,
                    const uint64_t *payload, size_t words)
{
    uint64_t head[FWS_REC_WORDS];
    fws_ring_begin(ring, kind, time_unix_ns, words, head);
    fws_ring_put(ring, head, FWS_REC_WORDS);
    fws_ring_put(ring, payload, words);
    fws_ring_end(ring);
}

void fws_ring_reader_init(struct fws_ring_reader *reader, const fws_word *control,
                          const fws_word *data, uint64_t capacity, uint64_t start,
                          uint64_t start_number)
{
    *reader = (struct fws_ring_reader){
        .control = control,
        .data = data,
        .capacity = capacity,
        .position = start,
        .number = start_number,
    };
}

static void ring_copy(const struct fws_ring_reader *reader, uint64_t position, size_t words,
                      uint64_t *out)
{
    const uint64_t capacity = reader->capacity / FWS_WORD_BYTES;
    const uint64_t at = position / FWS_WORD_BYTES & (capacity - 1);
    const size_t first = words < capacity - at ? words : (size_t)(capacity - at);
    fws_observe_words(&reader->data[at], first, out);
    fws_observe_words(reader->data, words - first, out + first); /* behind the wrap */
}

/* Whether nothing at or after `position` was being overwritten while it was copied. Relaxed: the
 * copies before it are acquires, so it stays below them; had one of them seen a newer word, this
 * would see the newer intent. PAIRS WITH fws_ring_begin. */
static bool ring_still_whole(const struct fws_ring_reader *reader, uint64_t position)
{
    return fws_peek(&reader->control[FWS_R_INTENT]) - position <= reader->capacity;
}

enum ring_step { STEP_DONE, STEP_AGAIN, STEP_CORRUPT };

/* Moves a lapped cursor to the oldest surviving record and counts the gap in record numbers. */
static enum ring_step ring_resync(struct fws_ring_reader *reader)
{
    uint64_t head[FWS_REC_WORDS];
    uint64_t oldest = fws_observe(&reader->control[FWS_R_OLDEST]);
    uint64_t skipped = oldest - reader->position;
    if (oldest % FWS_WORD_BYTES != 0 || skipped > UINT64_MAX / 2)
        return STEP_CORRUPT;
    if (skipped == 0)
        return STEP_AGAIN; /* the writer has yet to say where it goes on */
    ring_copy(reader, oldest, FWS_REC_WORDS, head);
    if (!ring_still_whole(reader, oldest))
        return STEP_AGAIN; /* lapped once more in between */
    uint64_t gap = head[FWS_REC_NUMBER] - reader->number;
    if (!fws_check_record_head(head, oldest, reader->capacity) || gap == 0 ||
        gap > skipped / head_bytes)
        return STEP_CORRUPT;
    reader->lost += gap;
    reader->resyncs++;
    reader->position = oldest;
    reader->number = head[FWS_REC_NUMBER];
    return STEP_DONE;
}

enum fws_ring_result fws_ring_read(struct fws_ring_reader *reader, uint64_t *out, size_t *words)
{
    for (int attempt = 0; attempt < RING_TRIES; attempt++) {
        /* Acquire: everything below the tail is written. PAIRS WITH fws_ring_end. */
        uint64_t available = fws_observe(&reader->control[FWS_R_TAIL]) - reader->position;
        if (available == 0)
            return FWS_RING_EMPTY;
        bool lapped = available > reader->capacity;
        if (!lapped) {
            ring_copy(reader, reader->position, FWS_REC_WORDS, out);
            lapped = !ring_still_whole(reader, reader->position);
        }
        if (!lapped) {
            uint64_t length = out[FWS_REC_LENGTH];
            if (!fws_check_record_head(out, reader->position, reader->capacity) ||
                out[FWS_REC_NUMBER] != reader->number || length > available)
                return FWS_RING_CORRUPT;
            size_t count = (size_t)(length / FWS_WORD_BYTES);
            ring_copy(reader, reader->position + head_bytes, count - FWS_REC_WORDS,
                      out + FWS_REC_WORDS);
            if (ring_still_whole(reader, reader->position)) {
                reader->position += length;
                reader->number++;
                *words = count;
                return FWS_RING_RECORD;
            }
        }
        if (ring_resync(reader) == STEP_CORRUPT)
            return FWS_RING_CORRUPT;
    }
    return FWS_RING_BUSY;
}
