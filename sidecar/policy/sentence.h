/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sentences in fixed buffers: what a forwarder said of itself is cut at a UTF-8 boundary and kept on
 * one line. For the files of policy only.
 */
#ifndef SIDECAR_POLICY_SENTENCE_H
#define SIDECAR_POLICY_SENTENCE_H

#include <stddef.h>
#include <stdint.h>

struct sentence {
    char *text; /* NUL-terminated */
    size_t cap; /* of text; at least 1 */
    size_t length;
};

/* An empty sentence in text[0..cap). */
struct sentence sentence_begin(char *text, size_t cap);

/* Adds words of ours; what does not fit is left out. */
__attribute__((format(printf, 2, 3))) void sentence_add(struct sentence *sentence,
                                                        const char *format, ...);

/* Adds at most bytes_max bytes of foreign UTF-8, each control character as a blank. */
void sentence_add_foreign(struct sentence *sentence, const char *foreign, size_t bytes_max);

double sentence_seconds(uint64_t ns);

#endif
