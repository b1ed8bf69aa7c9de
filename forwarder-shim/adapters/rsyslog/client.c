/* SPDX-License-Identifier: Apache-2.0 */
/* The sending end of the socket between the adapter's processes. */
#include "client.h"

#include "subject.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT_EVERY_MS = 100 };

static bool has_kept(const struct client *client)
{
    return client->begin < client->end;
}

/* Whether `stats` has not been told all yet. */
static bool is_behind(const struct client *client)
{
    return has_kept(client) || client->lost > 0;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void client_init(struct client *client, const char *dir, int subject)
{
    client->dir = dir;
    client->subject = subject;
    client->fd = -1;
    client->tried_ms = 0;
    client->lost = 0;
    client->begin = client->end = 0;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int connect_in(const char *dir, int subject)
{
    struct sockaddr_un address;
    if (dir == NULL || dir[0] == '\0' || !subject_address(dir, subject, &address))
        return -1;
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        subject_peer_trusted(fd))
        return fd;
    close(fd);
    return -1;
}

/* Where `stats` may have put its region: the shim's own order of places. */
static int connect_anywhere(const struct client *client)
{
    char private_dir[64];
    const char *environment = getenv("FWDSCOPE_DIR");
    if (client->dir != NULL)
        return connect_in(client->dir, client->subject);
    if (environment != NULL && environment[0] != '\0')
        return connect_in(environment, client->subject);
    const int fd = connect_in("/run/fwdscope", client->subject);
    if (fd >= 0)
        return fd;
    snprintf(private_dir, sizeof private_dir, "/dev/shm/fwdscope-%u", (unsigned)geteuid());
    return connect_in(private_dir, client->subject);
}

static bool is_connected(struct client *client)
{
    if (client->fd >= 0)
        return true;
    const uint64_t now = now_ms();
    if (client->tried_ms != 0 && now - client->tried_ms < CONNECT_EVERY_MS)
        return false;
    client->tried_ms = now;
    client->fd = connect_anywhere(client);
    return client->fd >= 0;
}

/* ---- records --------------------------------------------------------------------------------- */

/* One packet; it tells what was lost since the one before. False: not now. */
static bool packet_send(struct client *client, char *bytes, size_t count)
{
    memcpy(bytes + offsetof(struct wire_record, lost), &client->lost, sizeof client->lost);
    if (send(client->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        client->lost = 0;
        return true;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ENOBUFS) {
        close(client->fd); /* `stats` is gone; omprog starts it again */
        client->fd = -1;
    }
    return false;
}

void client_flush(struct client *client)
{
    while (has_kept(client) && is_connected(client)) {
        size_t bytes;
        memcpy(&bytes, client->kept + client->begin, sizeof bytes);
        if (!packet_send(client, client->kept + client->begin + sizeof bytes, bytes))
            return;
        client->begin += sizeof bytes + bytes;
    }
    if (has_kept(client))
        return;
    client->begin = client->end = 0;
    struct wire_record only_lost = {.magic = WIRE_MAGIC, .kind = WIRE_LOST};
    if (client->lost > 0 && is_connected(client))
        (void)packet_send(client, (char *)&only_lost, wire_bytes(&only_lost));
}

static void keep(struct client *client, const struct wire_record *record)
{
    const size_t bytes = wire_bytes(record);
    if (client->begin > 0) {
        memmove(client->kept, client->kept + client->begin, client->end - client->begin);
        client->end -= client->begin;
        client->begin = 0;
    }
    if (sizeof bytes + bytes > sizeof client->kept - client->end) {
        client->lost++;
        return;
    }
    memcpy(client->kept + client->end, &bytes, sizeof bytes);
    memcpy(client->kept + client->end + sizeof bytes, record, bytes);
    client->end += sizeof bytes + bytes;
}

void client_put(struct client *client, struct wire_record *record)
{
    if (client->subject == 0)
        return;
    record->magic = WIRE_MAGIC;
    client_flush(client);
    if (has_kept(client) || !is_connected(client) ||
        !packet_send(client, (char *)record, wire_bytes(record)))
        keep(client, record);
}

void client_run(struct client *client, struct lines *lines, lines_handler handler, void *context)
{
    bool open = true;
    while (open) {
        struct pollfd wait = {.fd = lines->fd, .events = POLLIN};
        if (poll(&wait, 1, is_behind(client) ? CONNECT_EVERY_MS : -1) > 0)
            open = lines_read(lines, handler, context);
        client_flush(client);
    }
}

void client_close(struct client *client, unsigned ms)
{
    const uint64_t deadline = now_ms() + ms;
    client_flush(client);
    while (is_behind(client) && now_ms() < deadline) {
        struct pollfd wait = {.fd = client->fd, .events = POLLOUT};
        (void)poll(&wait, client->fd >= 0, 10);
        client_flush(client);
    }
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}
