/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the lines go: a TCP peer, with a connection a worker, or one file for all of them.
 *
 * NDJSON over TCP has no acknowledgement. A batch that was cut off is sent again as a whole, so
 * some of its lines may come twice; what the kernel had taken when the peer died is lost. A file
 * that was full goes on where it stopped.
 */
#ifndef EXAMPLE_OUTPUT_H
#define EXAMPLE_OUTPUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "config.h"

#define OUTPUT_ERROR_BYTES 256

/* Shared by the workers. */
struct destination {
    const struct config *config;
    char *host; /* of a TCP peer, else NULL */
    char *port;
    int give_up_fd;         /* readable: the time to drain is over */
    pthread_mutex_t mutex;  /* of the file: one batch is written at a time */
    int file;               /* -1: not open */
};

/* One worker's way to it. */
struct output {
    struct destination *destination;
    int socket; /* -1: not connected */
};

/* `config` must outlive it. Opens nothing yet. */
void destination_open(struct destination *destination, const struct config *config,
                      int give_up_fd);
void destination_close(struct destination *destination);

void output_open(struct output *output, struct destination *destination);
void output_close(struct output *output);

/* Around all attempts for one batch: no other batch gets into the middle of a file's line. */
void output_begin(struct output *output);
void output_end(struct output *output);
/* One attempt to hand over a batch; *done counts what need not be sent again, 0 at the first
 * attempt. False: `error` says why, and another attempt may be made. */
bool output_send(struct output *output, const char *bytes, size_t count, size_t *done,
                 char error[OUTPUT_ERROR_BYTES]);

#endif
