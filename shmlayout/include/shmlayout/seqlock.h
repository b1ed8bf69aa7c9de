/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seqlock without fences, over (sequence word, data words): one writer, any number of readers in
 * other processes that can never write. Memory orders and their proof: README.md, "Seqlock".
 *
 * The writer keeps the sequence in private memory and passes it in, so that a scribbled region
 * cannot lead it astray. A unit is whole iff the sequence is even and unchanged around the copy.
 */
#ifndef SHMLAYOUT_SEQLOCK_H
#define SHMLAYOUT_SEQLOCK_H

#include "shmlayout/atomic.h"

#include <stddef.h>

/* Opens the unit for writing: data words may follow, each by fws_publish(). A host may have left the
 * writer in the middle by siglongjmp(): the unit is then opened once more by the same odd value. */
static inline void fws_seq_write_begin(fws_word *seq, const uint64_t *private_seq)
{
    /* Relaxed is enough: each data word that follows is a release store, so a reader that sees one
     * of them sees this odd value too. PAIRS WITH fws_seq_read_end. */
    fws_put(seq, *private_seq + 1);
}

/* Closes the unit. Release: a reader that sees the even value sees every data word before it.
 * PAIRS WITH fws_seq_read_begin. */
static inline void fws_seq_write_end(fws_word *seq, uint64_t *private_seq)
{
    *private_seq += 2;
    fws_publish(seq, *private_seq);
}

/* The sequence to compare with afterwards. Data words may follow, each by fws_observe(). */
static inline uint64_t fws_seq_read_begin(const fws_word *seq)
{
    return fws_observe(seq);
}

/* Whether what was copied since read_begin is whole. Relaxed is enough: the data loads before it
 * are acquires, so it cannot move above them; had one of them seen a newer word, this load would
 * see the newer odd sequence. */
static inline bool fws_seq_read_end(const fws_word *seq, uint64_t begun)
{
    return (begun & 1) == 0 && fws_peek(seq) == begun;
}

enum { FWS_SEQ_TRIES = 64 }; /* copies of one unit before the reader leaves it out of the tick */

/* Copies `count` words behind `seq` that are whole together. False after FWS_SEQ_TRIES: the unit
 * is busy, or its writer died inside it; out is then not to be used. *retries grows by the copies
 * that were thrown away. */
bool fws_seq_copy(const fws_word *seq, const fws_word *words, size_t count, uint64_t *out,
                  uint64_t *retries);

#endif
