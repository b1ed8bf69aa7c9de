/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream thread: libwebsockets, one text-message feed to many clients. It never listens and
 * never parses a head that a client wrote: it adopts sockets that the HTTP side vetted, with an
 * upgrade head in our own words.
 *
 * Slow clients: each client has a queue of ticks, at most STREAM_PENDING_TICKS and
 * STREAM_PENDING_BYTES. A tick that does not fit empties the queue: the client gets one loss notice
 * of its own and then the newest tick. Bytes are shared, so a client holds references only; what it
 * costs is its socket buffer (256 KiB) and libwebsockets' own state.
 */
#ifndef SIDECAR_STREAM_H
#define SIDECAR_STREAM_H

#include "message.h"

#include <stdbool.h>

enum { STREAM_PENDING_TICKS = 8, STREAM_PENDING_BYTES = 4 << 20 };

struct stream;

struct stream_options {
    /* Makes the loss notice of one client: a whole OTLP JSON document. Called on the stream thread,
     * must be thread-safe; NULL: no notice can be made. */
    struct message *(*loss_notice)(void *arg, uint64_t ticks, uint64_t spans, uint64_t log_records);
    void *arg;
};

/* Starts the thread; returns when its loop runs. NULL and a one-line reason in why on failure. */
struct stream *stream_start(const struct stream_options *options, char *why, size_t cap);

/*
 * Hands a connected socket over. Takes fd (closed on failure too), a copy of head (the request that
 * libwebsockets is to see, plus bytes pipelined behind it), and the references in backlog (NULL
 * entries allowed). Order holds: what is published after this call reaches the client after the
 * backlog, and nothing published before it does. Main thread only.
 */
void stream_adopt(struct stream *stream, int fd, const char *head, size_t head_bytes,
                  struct message *backlog[TICK_MESSAGES]);

/* Sends a tick to every client; takes the references. Main thread only. */
void stream_publish(struct stream *stream, struct tick_messages *tick);

/* Clients now: connected or handed over and not yet closed. Any thread. */
unsigned stream_clients(const struct stream *stream);
/* Ticks that clients skipped since the start, over all clients. Any thread. */
uint64_t stream_ticks_skipped(const struct stream *stream);

/* Closes every client with 1001, waits at most max_ms for them, ends the thread, frees. */
void stream_stop(struct stream **stream, unsigned max_ms);

#endif
