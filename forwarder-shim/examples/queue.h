/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue of pointers between threads. */
#ifndef EXAMPLE_QUEUE_H
#define EXAMPLE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    void **slots;
    size_t capacity;
    size_t head;
    size_t count;
    bool closed;
};

void queue_open(struct queue *queue, size_t capacity);
/* Frees the queue; what is still in it stays the caller's (see queue_pop). No thread uses it. */
void queue_free(struct queue *queue);

/* Adds an item; waits at most `timeout_ms` for room. False: still full. */
bool queue_push(struct queue *queue, void *item, uint32_t timeout_ms);
/* Takes the oldest item; waits for one. NULL: closed and empty. */
void *queue_pop(struct queue *queue);
/* No more items will come. */
void queue_close(struct queue *queue);
size_t queue_depth(struct queue *queue);

#endif
