/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's side of the seqlock: a bounded number of copies. */
#include "shmlayout/seqlock.h"

bool fws_seq_copy(const fws_word *seq, const fws_word *words, size_t count, uint64_t *out,
                  uint64_t *retries)
{
    for (int attempt = 0; attempt < FWS_SEQ_TRIES; attempt++) {
        uint64_t begun = fws_seq_read_begin(seq);
        if ((begun & 1) == 0) {
            fws_observe_words(words, count, out);
            if (fws_seq_read_end(seq, begun))
                return true;
        }
        *retries += 1;
    }
    return false;
}
