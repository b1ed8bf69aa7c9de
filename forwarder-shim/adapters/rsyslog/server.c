/* SPDX-License-Identifier: Apache-2.0 */
/* The receiving end of the socket between the adapter's processes. */
#include "server.h"

#include "subject.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RECORDS_AT_ONCE = 256, BACKLOG = 16, STALE_MAX = 64 };

/* ---- records --------------------------------------------------------------------------------- */

static void take_log(const struct wire_record *record)
{
    static const struct {
        enum fwdscope_severity severity;
        const char *text;
    } severities[] = {{FWDSCOPE_FATAL, "emerg"},   {FWDSCOPE_ALERT, "alert"},
                      {FWDSCOPE_CRITICAL, "crit"}, {FWDSCOPE_ERROR, "err"},
                      {FWDSCOPE_WARN, "warning"},  {FWDSCOPE_NOTICE, "notice"},
                      {FWDSCOPE_INFO, "info"},     {FWDSCOPE_DEBUG, "debug"}};
    struct fwdscope_attribute attributes[2];
    size_t count = 0;
    if (record->name[0] != '\0')
        attributes[count++] = fwdscope_string("rsyslog.tag", record->name);
    if (record->text_original_bytes > record->text_bytes)
        attributes[count++] = fwdscope_int("log.original_length", record->text_original_bytes);
    const struct fwdscope_log_record line = {
        .severity = severities[record->severity].severity,
        .severity_text = severities[record->severity].text,
        .body = record->text,
        .body_bytes = record->text_bytes,
        .time_unix_ns = record->time_unix_ns,
        .attributes = attributes,
        .attribute_count = count,
    };
    fwdscope_log_record(&line);
}

static void span_begin(struct server *server, struct server_client *client, uint64_t start_unix_ns)
{
    const struct fwdscope_attribute attributes[] = {fwdscope_string("pipeline", "rsyslog"),
                                                    fwdscope_string("output", client->name)};
    client->span = fwdscope_span_start("batch", FWDSCOPE_SPAN_CLIENT, start_unix_ns);
    client->has_span = true;
    fwdscope_span_set(client->span, attributes, 2);
    fwdscope_span_stage(client->span, "output");
    fwdscope_batch_add(server->pipeline, &(struct fwdscope_batch){.inflight = 1});
}

/* Ends a transaction of which no end was told: its program is gone. */
static void span_abandon(struct server *server, struct server_client *client)
{
    if (!client->has_span)
        return;
    fwdscope_span_status(client->span, FWDSCOPE_STATUS_ERROR, "the end was not told");
    fwdscope_span_end(client->span, 0);
    client->has_span = false;
    fwdscope_batch_add(server->pipeline, &(struct fwdscope_batch){.inflight = -1});
}

static void take_begin(struct server *server, struct server_client *client,
                       const struct wire_record *record)
{
    /* What a program of the same name left behind when it ended is over now. */
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
        struct server_client *other = &server->clients[i];
        if (other->used && other->fd < 0 && strcmp(other->name, record->name) == 0) {
            span_abandon(server, other);
            other->used = false;
        }
    }
    span_abandon(server, client);
    memcpy(client->name, record->name, sizeof client->name);
    span_begin(server, client, record->time_unix_ns);
}

static void take_end(struct server *server, struct server_client *client,
                     const struct wire_record *record)
{
    memcpy(client->name, record->name, sizeof client->name);
    if (!client->has_span)
        span_begin(server, client, record->start_unix_ns);
    const uint64_t took_ns = record->time_unix_ns > record->start_unix_ns
                                 ? record->time_unix_ns - record->start_unix_ns
                                 : 0;
    const struct fwdscope_attribute attributes[] = {
        fwdscope_int("rows", (int64_t)record->rows),
        fwdscope_int("bytes_in", (int64_t)record->bytes),
        fwdscope_int("errors", record->failed != 0),
    };
    fwdscope_span_set(client->span, attributes, 3);
    if (record->failed != 0)
        fwdscope_span_status(client->span, FWDSCOPE_STATUS_ERROR, record->text);
    fwdscope_span_end(client->span, record->time_unix_ns);
    client->has_span = false;
    const struct fwdscope_batch done = {
        .batches = record->failed == 0,
        .rows = record->failed == 0 ? record->rows : 0,
        .latency_ns = record->failed == 0 ? took_ns : 0,
        .output_ns = took_ns,
        .inflight = -1,
        .finished_unix_ns = record->failed == 0 ? record->time_unix_ns : 0,
    };
    fwdscope_batch_add(server->pipeline, &done);
}

/* Whether what came is a record; ends its strings. */
static bool record_check(struct wire_record *record, size_t bytes)
{
    if (bytes < offsetof(struct wire_record, text) || record->magic != WIRE_MAGIC ||
        record->text_bytes > WIRE_TEXT_BYTES || bytes != wire_bytes(record) ||
        record->severity > 7 || record->rows > INT64_MAX || record->bytes > INT64_MAX)
        return false;
    record->name[WIRE_NAME_BYTES - 1] = '\0';
    if (record->text_bytes < WIRE_TEXT_BYTES)
        record->text[record->text_bytes] = '\0';
    else
        record->text[WIRE_TEXT_BYTES - 1] = '\0';
    return true;
}

static void take_record(struct server *server, struct server_client *client)
{
    const struct wire_record *record = &server->record;
    fwdscope_counter_add(server->lost_records, record->lost);
    if (record->kind == WIRE_LOG)
        take_log(record);
    else if (record->kind == WIRE_BEGIN)
        take_begin(server, client, record);
    else if (record->kind == WIRE_END)
        take_end(server, client, record);
}

/* ---- clients --------------------------------------------------------------------------------- */

/* The slot of a client that ended within a transaction stays: if rsyslogd died too, the transaction
 * is what was in flight then; if not, the next program of that name ends it. */
static void client_hang_up(struct server_client *client)
{
    close(client->fd);
    client->fd = -1;
    client->used = client->has_span;
}

static void client_read(struct server *server, struct server_client *client)
{
    for (int i = 0; i < RECORDS_AT_ONCE; i++) {
        const ssize_t n =
            recv(client->fd, &server->record, sizeof server->record, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return;
        if (n <= 0 || !record_check(&server->record, (size_t)n)) {
            client_hang_up(client);
            return;
        }
        take_record(server, client);
    }
}

/* A free slot, else one whose client is gone. */
static struct server_client *slot_find(struct server *server)
{
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (!server->clients[i].used)
            return &server->clients[i];
    }
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (server->clients[i].fd < 0) {
            span_abandon(server, &server->clients[i]);
            return &server->clients[i];
        }
    }
    return NULL;
}

static void accept_all(struct server *server)
{
    for (int i = 0; i < BACKLOG; i++) {
        const int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct server_client *client = subject_peer_trusted(fd) ? slot_find(server) : NULL;
        if (client != NULL)
            *client = (struct server_client){.fd = fd, .used = true};
        else
            close(fd);
        server->met = true;
    }
}

/* ---- the server ------------------------------------------------------------------------------ */

/* Removes a socket of ours at which nobody listens any more. */
static void stale_remove(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int n = snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (n > 0 && (size_t)n < sizeof address.sun_path &&
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 &&
        errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

/* What processes left that were killed together with their rsyslogd. */
static void stale_remove_all(const char *dir)
{
    glob_t found;
    char pattern[128];
    const int n = snprintf(pattern, sizeof pattern, "%s/rsyslog.*.*.sock", dir);
    if (n <= 0 || (size_t)n >= sizeof pattern || glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc && i < STALE_MAX; i++)
        stale_remove(found.gl_pathv[i]);
    globfree(&found);
}

bool server_open(struct server *server, const char *dir, int subject, char *why, size_t cap)
{
    struct sockaddr_un address;
    server->fd = -1;
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
        server->clients[i].fd = -1;
    if (!subject_address(dir, subject, &address)) {
        snprintf(why, cap, "the name of %.64s is too long for a socket in it", dir);
        return false;
    }
    snprintf(server->path, sizeof server->path, "%s", address.sun_path);
    stale_remove_all(dir);
    const mode_t mask = umask(0177);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool bound = fd >= 0 &&
                       bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
                       listen(fd, BACKLOG) == 0;
    if (!bound)
        snprintf(why, cap, "cannot listen at %s: %s", server->path, strerror(errno));
    umask(mask);
    if (!bound && fd >= 0)
        close(fd);
    server->fd = bound ? fd : -1;
    return bound;
}

void server_attach(struct server *server, fwdscope_pipeline pipeline)
{
    const struct fwdscope_instrument lost = {
        .name = "rsyslog.adapter.lost_records",
        .unit = "{record}",
        .description = "Log lines and spans that could not be passed on to the stats process",
    };
    server->pipeline = pipeline;
    server->lost_records = fwdscope_counter_register(&lost);
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
        server->clients[i].has_span = false;
}

size_t server_poll_set(const struct server *server, struct pollfd *set)
{
    size_t count = 0;
    if (server->fd >= 0)
        set[count++] = (struct pollfd){.fd = server->fd, .events = POLLIN};
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (server->clients[i].fd >= 0)
            set[count++] = (struct pollfd){.fd = server->clients[i].fd, .events = POLLIN};
    }
    return count;
}

void server_serve(struct server *server)
{
    if (server->fd >= 0)
        accept_all(server);
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (server->clients[i].fd >= 0)
            client_read(server, &server->clients[i]);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void server_drain(struct server *server, unsigned ms)
{
    const uint64_t deadline = now_ms() + ms;
    server_serve(server);
    for (uint64_t now = now_ms(); now < deadline; now = now_ms()) {
        struct pollfd set[SERVER_CLIENTS_MAX + 1];
        const size_t count = server_poll_set(server, set);
        if (count == 0 || (count == 1 && server->met))
            return; /* nobody but the listener */
        (void)poll(set, count, (int)(deadline - now));
        server_serve(server);
    }
}

void server_close(struct server *server)
{
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
        if (server->clients[i].fd >= 0)
            close(server->clients[i].fd);
        server->clients[i].fd = -1;
    }
    if (server->fd >= 0) {
        close(server->fd);
        unlink(server->path);
    }
    server->fd = -1;
}
