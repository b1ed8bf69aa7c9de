/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that takes batches from the queue and delivers them. */
#ifndef EXAMPLE_WORKER_H
#define EXAMPLE_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "filter.h"
#include "json.h"
#include "output.h"
#include "queue.h"

struct worker {
    uint32_t id;
    const struct config *config;
    struct queue *queue;
    struct filter filter;
    struct output output;
    struct json ndjson; /* of the batch in hand */
    uint64_t random;    /* state of the jitter */
    uint64_t lines_undelivered;
    pthread_t thread;
};

/* Starts the thread; what is given must outlive it. False: no thread, errno says why. */
bool worker_start(struct worker *worker, uint32_t id, const struct config *config,
                  struct queue *queue, struct destination *destination);
/* Waits at most `timeout_ms` for the thread, which ends when the queue is closed and empty. True:
 * it has ended and everything of the worker is released. */
bool worker_join(struct worker *worker, uint32_t timeout_ms);

#endif
