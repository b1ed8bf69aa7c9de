/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream thread. The main thread hands it commands through a short row under a mutex and wakes
 * it by lws_cancel_service; everything of libwebsockets but that call, creation and destruction of
 * the context happens on this thread.
 */
#include "stream.h"

#include "client.h"
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    /* So many commands wait without asking for memory; the thread takes them within ms. */
    COMMANDS_KEPT = 64,
    /* Ticks waiting at once, should the thread hang; what comes beyond is told as lost. */
    TICKS_WAITING_MAX = 32,
    /* libwebsockets makes tables of as many entries as there may be descriptors. */
    DESCRIPTORS_MAX = 65536,
    /* Its default writes 4 KiB at a time and copies the rest; beyond any fragment of ours. */
    WRITE_BYTES_MAX = 1 << 20,
    RECEIVE_BYTES = 1024,
    /* Silence of a peer: so long until a ping, and until it is taken for gone. */
    PING_AFTER_MS = 20000,
    HANG_UP_AFTER_MS = 30000,
    LOOK_EVERY_MS = 5000,
    /* Clients can make libwebsockets complain: so many of its lines in so long. */
    LOG_LINES_MAX = 10,
    LOG_WINDOW_MS = 10000,
};

enum command_kind { COMMAND_ADOPT, COMMAND_TICK, COMMAND_LOSS };

struct command {
    enum command_kind kind;
    struct client *client;
    struct tick_messages tick;
    struct loss loss;
};

/*
 * Commands in their order. Clients wait here only up to their cap, which their taker knows. One
 * place is kept behind each of them, so that a tick can always be put or counted.
 */
struct row {
    struct command *commands;
    size_t count, capacity;
    unsigned ticks;
};

struct stream {
    struct loss_teller teller;
    struct lws_context *context;
    struct lws_vhost *vhost;
    pthread_t thread;
    atomic_uint clients;
    _Atomic uint64_t ticks_skipped;

    pthread_mutex_t mutex; /* guards what follows up to the next line */
    pthread_cond_t changed;
    bool running, stopping, dead;
    unsigned stop_max_ms;
    struct row waiting;

    /* The stream thread's own. */
    struct row taken; /* empty but within stream_drain */
    LIST_HEAD(, client) connected;
    struct client *adopting;
    bool closing, done;
    lws_sorted_usec_list_t stop_deadline;
    lws_sorted_usec_list_t look; /* runs while anybody is connected */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Room for `more` commands beyond those that wait. False: no memory. */
static bool row_reserve(struct row *row, size_t more)
{
    if (row->capacity - row->count >= more) {
        return true;
    }
    const size_t capacity = 2 * row->capacity + more;
    struct command *commands = realloc(row->commands, capacity * sizeof *commands);
    if (commands != NULL) {
        row->commands = commands;
        row->capacity = capacity;
    }
    return commands != NULL;
}

/* ---- clients, on the stream thread ----------------------------------------------------------- */

static void stream_end_client(struct stream *stream, struct client *client)
{
    client_free(&client);
    atomic_fetch_sub_explicit(&stream->clients, 1, memory_order_relaxed);
}

/* Ends the loop. A timer's callback runs before the wait for events, hence the wake-up. */
static void stream_finish(struct stream *stream)
{
    stream->done = true;
    lws_cancel_service(stream->context);
}

static void stream_look(lws_sorted_usec_list_t *timer);

static void stream_look_later(struct stream *stream)
{
    lws_sul_schedule(stream->context, 0, &stream->look, stream_look,
                     (lws_usec_t)LOOK_EVERY_MS * LWS_US_PER_MS);
}

/*
 * One timer for all: libwebsockets' own, one a connection, lie in a list that is searched from its
 * beginning whenever one is set.
 */
static void stream_look(lws_sorted_usec_list_t *timer)
{
    struct stream *stream = lws_container_of(timer, struct stream, look);
    const uint64_t now = now_ms();
    struct client *client;
    LIST_FOREACH(client, &stream->connected, link)
    {
        const uint64_t silent_ms = client->established ? client_silent_ms(client, now) : 0;
        if (silent_ms >= HANG_UP_AFTER_MS) {
            client_hang_up(client);
        } else if (silent_ms >= PING_AFTER_MS) {
            client_ping(client);
        }
    }
    if (!LIST_EMPTY(&stream->connected)) {
        stream_look_later(stream);
    }
}

/* Unlinks a client whose connection is gone. */
static void stream_forget(struct stream *stream, struct client *client)
{
    LIST_REMOVE(client, link);
    stream_end_client(stream, client);
    if (stream->closing && LIST_EMPTY(&stream->connected)) {
        stream_finish(stream);
    }
}

/* libwebsockets may read the head, answer it and even close within this call: the callback binds
 * the client before any of that. */
static void stream_take_in(struct stream *stream, struct client *client)
{
    if (stream->closing) {
        stream_end_client(stream, client);
        return;
    }
    char *head = client->head;
    const int fd = client->fd;
    client->head = NULL;
    client->fd = -1;
    stream->adopting = client;
    lws_adopt_socket_vhost_readbuf(stream->vhost, fd, head, client->head_bytes);
    free(head);
    if (stream->adopting != NULL) { /* it failed before it had a name for the connection */
        stream->adopting = NULL;
        stream_end_client(stream, client);
    }
}

static void stream_bind(struct stream *stream, struct lws *wsi)
{
    struct client *client = stream->adopting;
    stream->adopting = NULL;
    if (client != NULL) {
        client->wsi = wsi;
        lws_set_opaque_user_data(wsi, client);
        if (LIST_EMPTY(&stream->connected)) {
            stream_look_later(stream);
        }
        LIST_INSERT_HEAD(&stream->connected, client, link);
    }
}

static void stream_run_tick(struct stream *stream, struct tick_messages *tick)
{
    struct client *client;
    uint64_t lost = 0;
    LIST_FOREACH(client, &stream->connected, link)
    {
        lost += feed_push(&client->feed, tick);
        client_want_write(client);
    }
    atomic_fetch_add_explicit(&stream->ticks_skipped, lost, memory_order_relaxed);
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        message_unref(&tick->messages[i]);
    }
}

static void stream_run_loss(struct stream *stream, const struct loss *loss)
{
    struct client *client;
    LIST_FOREACH(client, &stream->connected, link)
    {
        feed_add_loss(&client->feed, loss);
        client_want_write(client);
        atomic_fetch_add_explicit(&stream->ticks_skipped, loss->ticks, memory_order_relaxed);
    }
}

static void stream_run(struct stream *stream, struct command *command)
{
    switch (command->kind) {
    case COMMAND_ADOPT:
        stream_take_in(stream, command->client);
        break;
    case COMMAND_TICK:
        stream_run_tick(stream, &command->tick);
        break;
    case COMMAND_LOSS:
        stream_run_loss(stream, &command->loss);
        break;
    }
}

static void stream_deadline_passed(lws_sorted_usec_list_t *timer)
{
    stream_finish(lws_container_of(timer, struct stream, stop_deadline));
}

/* Asks every client to leave; the last to go, or the deadline, ends the loop. */
static void stream_begin_close(struct stream *stream, unsigned max_ms)
{
    struct client *client;
    stream->closing = true;
    stream->done = LIST_EMPTY(&stream->connected);
    LIST_FOREACH(client, &stream->connected, link)
    {
        client->closing = true;
        client_want_write(client);
    }
    lws_sul_schedule(stream->context, 0, &stream->stop_deadline, stream_deadline_passed,
                     (lws_usec_t)max_ms * LWS_US_PER_MS);
}

/* Takes all that the main thread handed over: the two rows change places. */
static void stream_drain(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    const bool stopping = stream->stopping;
    const unsigned max_ms = stream->stop_max_ms;
    struct row taken = stream->waiting;
    stream->waiting = stream->taken;
    stream->taken = taken;
    stream->running = true;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
    for (size_t i = 0; i < taken.count; i++) {
        stream_run(stream, &taken.commands[i]);
    }
    stream->taken.count = stream->taken.ticks = 0;
    if (stopping && !stream->closing) {
        stream_begin_close(stream, max_ms);
    }
}

/* ---- libwebsockets --------------------------------------------------------------------------- */

static int stream_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                        size_t bytes)
{
    (void)user;
    (void)in;
    struct stream *stream = lws_context_user(lws_get_context(wsi));
    switch ((int)reason) {
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        stream_drain(stream);
        return 0;
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
        stream_bind(stream, wsi);
        return 0;
    case LWS_CALLBACK_ESTABLISHED:
        client_established(lws_get_opaque_user_data(wsi), now_ms());
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return client_write(lws_get_opaque_user_data(wsi), &stream->teller);
    case LWS_CALLBACK_RECEIVE:
        return client_received(lws_get_opaque_user_data(wsi), bytes, now_ms());
    case LWS_CALLBACK_RECEIVE_PONG:
        client_answered(lws_get_opaque_user_data(wsi), now_ms());
        return 0;
    case LWS_CALLBACK_WSI_DESTROY: {
        /* Follows CLOSED, and comes too when the connection never stood. */
        struct client *client = lws_get_opaque_user_data(wsi);
        if (client != NULL) {
            stream_forget(stream, client);
        }
        return 0;
    }
    default:
        return 0;
    }
}

/* Whether one more line may be written; the first of a window says how many were not. On the stream
 * thread, and on the main thread only while that one does not run. */
static bool stream_may_log(void)
{
    static uint64_t window_ms, lines;
    const uint64_t now = now_ms();
    if (window_ms == 0 || now - window_ms >= LOG_WINDOW_MS) {
        if (lines > LOG_LINES_MAX) {
            log_line(LOG_LEVEL_WARN, "libwebsockets: %llu further lines within %d s were left out",
                     (unsigned long long)(lines - LOG_LINES_MAX), LOG_WINDOW_MS / 1000);
        }
        window_ms = now;
        lines = 0;
    }
    return ++lines <= LOG_LINES_MAX;
}

static void stream_log(int level, const char *line)
{
    /* Said by 4.1.6 at the level of errors whenever it adopts a socket. */
    if (strstr(line, "adopt_socket_readbuf: ") != NULL) {
        return;
    }
    if (!stream_may_log()) {
        return;
    }
    const size_t length = strcspn(line, "\n");
    log_line(level == LLL_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "libwebsockets: %.*s",
             (int)length, line);
}

static const struct lws_protocols PROTOCOLS[] = {
    {.name = "fwdscope",
     .callback = stream_event,
     .rx_buffer_size = RECEIVE_BYTES,
     .tx_packet_size = WRITE_BYTES_MAX},
    {0},
};

/* None of its own: see stream_look. */
static const lws_retry_bo_t IDLE_POLICY = {
    .secs_since_valid_ping = 0,
    .secs_since_valid_hangup = 0,
};

static bool descriptors_clamp(char *why, size_t cap)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        if (limit.rlim_cur <= DESCRIPTORS_MAX) {
            return true;
        }
        limit.rlim_cur = DESCRIPTORS_MAX;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
            return true;
        }
    }
    snprintf(why, cap, "cannot bound the number of open files to %d: %s", DESCRIPTORS_MAX,
             strerror(errno));
    return false;
}

/* No listening socket, no TLS, no extension: sockets come by adoption only. */
static bool stream_create_context(struct stream *stream, char *why, size_t cap)
{
    const struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = PROTOCOLS,
        .vhost_name = "stream",
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .user = stream,
        .retry_and_idle_policy = &IDLE_POLICY,
    };
    lws_set_log_level(LLL_ERR | LLL_WARN, stream_log);
    if (!descriptors_clamp(why, cap)) {
        return false;
    }
    stream->context = lws_create_context(&info);
    stream->vhost = stream->context != NULL ? lws_create_vhost(stream->context, &info) : NULL;
    if (stream->vhost == NULL) {
        snprintf(why, cap, "cannot start libwebsockets (its reason is logged above)");
    }
    return stream->vhost != NULL;
}

/* ---- the thread -------------------------------------------------------------------------------
 */

static void *stream_thread(void *arg)
{
    struct stream *stream = arg;
    int failed = 0;
    while (!stream->done && failed == 0) {
        failed = lws_service(stream->context, 0) < 0;
    }
    if (failed) {
        log_line(LOG_LEVEL_ERROR, "the stream thread ended: libwebsockets gave up");
    }
    pthread_mutex_lock(&stream->mutex);
    stream->dead = true;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->mutex);
    return NULL;
}

/* Signals are the main thread's: the new one inherits a mask of all but its own faults. */
static int thread_create_masked(struct stream *stream)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t mask, before;
    sigfillset(&mask);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigdelset(&mask, faults[i]);
    }
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    const int error = pthread_create(&stream->thread, NULL, stream_thread, stream);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Waits until the thread took its first commands, which is when its loop runs. */
static bool stream_await_running(struct stream *stream)
{
    lws_cancel_service(stream->context);
    pthread_mutex_lock(&stream->mutex);
    while (!stream->running && !stream->dead) {
        pthread_cond_wait(&stream->changed, &stream->mutex);
    }
    const bool running = stream->running;
    pthread_mutex_unlock(&stream->mutex);
    return running;
}

/* Frees what the thread left; it has ended, or never was. */
static void stream_free(struct stream *stream)
{
    if (stream->context != NULL) {
        lws_context_destroy(stream->context); /* ends the clients that are left, by its callbacks */
    }
    for (size_t i = 0; i < stream->waiting.count; i++) {
        struct command *command = &stream->waiting.commands[i];
        if (command->kind == COMMAND_ADOPT) {
            client_free(&command->client);
        }
        for (size_t m = 0; m < TICK_MESSAGES; m++) {
            message_unref(&command->tick.messages[m]);
        }
    }
    free(stream->waiting.commands);
    free(stream->taken.commands);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
}

struct stream *stream_start(const struct stream_options *options, char *why, size_t cap)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        snprintf(why, cap, "out of memory");
        return NULL;
    }
    stream->teller = (struct loss_teller){options->loss_notice, options->arg};
    LIST_INIT(&stream->connected);
    pthread_mutex_init(&stream->mutex, NULL);
    pthread_cond_init(&stream->changed, NULL);
    if (!row_reserve(&stream->waiting, COMMANDS_KEPT) ||
        !row_reserve(&stream->taken, COMMANDS_KEPT)) {
        snprintf(why, cap, "out of memory");
        stream_free(stream);
        return NULL;
    }
    if (!stream_create_context(stream, why, cap)) {
        stream_free(stream);
        return NULL;
    }
    const int error = thread_create_masked(stream);
    if (error != 0) {
        snprintf(why, cap, "cannot start the stream thread: %s", strerror(error));
        stream_free(stream);
        return NULL;
    }
    if (!stream_await_running(stream)) {
        pthread_join(stream->thread, NULL);
        snprintf(why, cap, "the stream thread ended at once (its reason is logged above)");
        stream_free(stream);
        return NULL;
    }
    return stream;
}

void stream_stop(struct stream **stream_pointer, unsigned max_ms)
{
    struct stream *stream = *stream_pointer;
    *stream_pointer = NULL;
    if (stream == NULL) {
        return;
    }
    pthread_mutex_lock(&stream->mutex);
    stream->stopping = true;
    stream->stop_max_ms = max_ms;
    pthread_mutex_unlock(&stream->mutex);
    lws_cancel_service(stream->context);
    pthread_join(stream->thread, NULL);
    stream_free(stream);
}

/* ---- the main thread's side ---------------------------------------------------------------------
 */

static bool stream_put_client(struct stream *stream, struct client *client)
{
    pthread_mutex_lock(&stream->mutex);
    struct row *row = &stream->waiting;
    const bool put = !stream->dead && row_reserve(row, 2);
    if (put) {
        row->commands[row->count++] = (struct command){.kind = COMMAND_ADOPT, .client = client};
    }
    pthread_mutex_unlock(&stream->mutex);
    return put;
}

/* A tick that nobody gets. */
static void loss_add_tick(struct loss *loss, struct tick_messages *tick)
{
    loss->ticks++;
    for (size_t i = 0; i < TICK_MESSAGES; i++) {
        loss->spans += tick->records[i].spans;
        loss->log_records += tick->records[i].log_records;
        message_unref(&tick->messages[i]);
    }
}

/* A tick or loss that waits, and a further tick, become one loss. */
static void loss_merge(struct command *last, struct tick_messages *tick)
{
    if (last->kind == COMMAND_TICK) {
        last->kind = COMMAND_LOSS;
        last->loss = (struct loss){0};
        loss_add_tick(&last->loss, &last->tick);
    }
    loss_add_tick(&last->loss, tick);
}

static void stream_put_tick(struct stream *stream, struct tick_messages *tick)
{
    pthread_mutex_lock(&stream->mutex);
    struct row *row = &stream->waiting;
    if (row->ticks < TICKS_WAITING_MAX && row_reserve(row, 1)) {
        row->commands[row->count++] = (struct command){.kind = COMMAND_TICK, .tick = *tick};
        row->ticks++;
        memset(tick->messages, 0, sizeof tick->messages);
    } else {
        if (row->commands[row->count - 1].kind == COMMAND_ADOPT) {
            row->commands[row->count++] = (struct command){.kind = COMMAND_LOSS};
        }
        loss_merge(&row->commands[row->count - 1], tick);
    }
    pthread_mutex_unlock(&stream->mutex);
}

void stream_adopt(struct stream *stream, int fd, const char *head, size_t head_bytes,
                  struct message *backlog[TICK_MESSAGES])
{
    struct client *client = client_new(fd, head, head_bytes, backlog);
    if (client == NULL) {
        log_line(LOG_LEVEL_ERROR, "out of memory for a stream client");
        return;
    }
    atomic_fetch_add_explicit(&stream->clients, 1, memory_order_relaxed);
    if (!stream_put_client(stream, client)) {
        log_line(LOG_LEVEL_ERROR, "the stream thread does not answer; a client was turned away");
        stream_end_client(stream, client);
        return;
    }
    lws_cancel_service(stream->context);
}

void stream_publish(struct stream *stream, struct tick_messages *tick)
{
    stream_put_tick(stream, tick);
    lws_cancel_service(stream->context);
}

unsigned stream_clients(const struct stream *stream)
{
    return atomic_load_explicit(&stream->clients, memory_order_relaxed);
}

uint64_t stream_ticks_skipped(const struct stream *stream)
{
    return atomic_load_explicit(&stream->ticks_skipped, memory_order_relaxed);
}
