/* SPDX-License-Identifier: Apache-2.0 */
/* Writing to one client. */
#include "client.h"

#include "message_private.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SEND_BUFFER_BYTES = 256 << 10, /* left alone it grows to megabytes of stale messages */
    FRAGMENTS_A_TURN = 4,          /* then the other clients are looked at */
    RECEIVED_BYTES_MAX = 64 << 10, /* over the life of a connection */
};

struct client *client_new(int fd, const char *head, size_t head_bytes,
                          struct message *backlog[TICK_MESSAGES])
{
    struct client *client = calloc(1, sizeof *client);
    char *copy = malloc(head_bytes);
    if (client == NULL || copy == NULL || !feed_init(&client->feed, backlog)) {
        for (size_t i = 0; i < TICK_MESSAGES; i++) {
            message_unref(&backlog[i]);
        }
        free(copy);
        free(client);
        close(fd);
        return NULL;
    }
    memcpy(copy, head, head_bytes);
    client->fd = fd;
    client->head = copy;
    client->head_bytes = head_bytes;
    return client;
}

void client_free(struct client **client_pointer)
{
    struct client *client = *client_pointer;
    *client_pointer = NULL;
    if (client->fd >= 0) {
        close(client->fd);
    }
    feed_clear(&client->feed);
    message_unref(&client->sending);
    free(client->head);
    free(client);
}

void client_want_write(struct client *client)
{
    if (client->established) {
        lws_callback_on_writable(client->wsi);
    }
}

void client_established(struct client *client, uint64_t now_ms)
{
    const int fd = lws_get_socket_fd(client->wsi);
    const int bytes = SEND_BUFFER_BYTES, on = 1;
    /* Without these the stream is slower, not wrong. */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    client->established = true;
    client->heard_ms = now_ms;
    client_want_write(client);
}

/* Only here, with nothing of libwebsockets' own waiting to leave, does a close frame get out:
 * after a partial write the connection would be dropped without one. */
static void client_say_going_away(struct client *client)
{
    static const char why[] = "the sidecar stops";
    client->finished = true;
    lws_close_reason(client->wsi, LWS_CLOSE_STATUS_GOINGAWAY, (unsigned char *)why, sizeof why - 1);
    lws_set_timeout(client->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
}

/* As lws_write, but what lies before the bytes stays as it is. */
static int write_frame(struct lws *wsi, unsigned char *bytes, size_t count, int flags)
{
    unsigned char before[LWS_PRE];
    memcpy(before, bytes - LWS_PRE, LWS_PRE);
    const int written = lws_write(wsi, bytes, count, (enum lws_write_protocol)flags);
    memcpy(bytes - LWS_PRE, before, LWS_PRE);
    return written;
}

static int client_write_fragment(struct client *client)
{
    const size_t fragments = message_fragments(client->sending);
    const int flags = lws_write_ws_flags(LWS_WRITE_TEXT, client->fragment == 0,
                                         client->fragment + 1 == fragments);
    size_t bytes;
    unsigned char *fragment = message_fragment(client->sending, client->fragment, &bytes);
    if (write_frame(client->wsi, fragment, bytes, flags) < 0) {
        return -1;
    }
    if (++client->fragment == fragments) {
        message_unref(&client->sending);
    }
    return 0;
}

/* With a payload, because libwebsockets keeps the answer to an empty one to itself. */
static int client_write_ping(struct client *client)
{
    unsigned char ping[LWS_PRE + 1] = {[LWS_PRE] = '?'};
    client->ping_due = false;
    return lws_write(client->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* The next fragment, if there is one. The first of a turn needs no look at the socket:
 * libwebsockets asks only when it takes more and nothing of an earlier write waits. */
static bool client_has_fragment(struct client *client, const struct loss_teller *teller, int turn)
{
    if (client->sending == NULL && feed_is_empty(&client->feed)) {
        return false;
    }
    if (turn > 0 && lws_send_pipe_choked(client->wsi)) {
        client_want_write(client);
        return false;
    }
    if (client->sending == NULL) {
        client->sending = feed_next(&client->feed, teller);
        client->fragment = 0;
    }
    return client->sending != NULL;
}

static int client_write_some(struct client *client, const struct loss_teller *teller)
{
    if (client->closing) {
        client_say_going_away(client);
        return 0;
    }
    if (client->ping_due && client->sending == NULL) {
        client_want_write(client); /* for what follows it */
        return client_write_ping(client);
    }
    int turn = 0;
    while (turn < FRAGMENTS_A_TURN && client_has_fragment(client, teller, turn)) {
        if (client_write_fragment(client) != 0) {
            return -1;
        }
        turn++;
    }
    if (turn == FRAGMENTS_A_TURN) {
        client_want_write(client);
    }
    return 0;
}

/*
 * While libwebsockets holds the rest of a partial write, nothing is read: 4.1.6 would see the
 * peer's FIN, wait with the close until that rest has left, and look at the same FIN again for
 * ever, without a look at any other connection. A reset and a send that fails are seen all the
 * same.
 */
static void client_read_unless_partial(struct client *client)
{
    lws_rx_flow_control(client->wsi, !lws_partial_buffered(client->wsi));
}

int client_write(struct client *client, const struct loss_teller *teller)
{
    if (client->finished) {
        return 0; /* libwebsockets asks even after the close frame */
    }
    const int result = client_write_some(client, teller);
    client_read_unless_partial(client);
    return result;
}

void client_answered(struct client *client, uint64_t now_ms)
{
    client->heard_ms = now_ms;
}

int client_received(struct client *client, size_t bytes, uint64_t now_ms)
{
    static const char why[] = "this stream is push only";
    client->heard_ms = now_ms;
    client->received_bytes += bytes + 1; /* empty messages count too */
    if (client->received_bytes <= RECEIVED_BYTES_MAX) {
        return 0;
    }
    client->finished = true;
    lws_close_reason(client->wsi, LWS_CLOSE_STATUS_POLICY_VIOLATION, (unsigned char *)why,
                     sizeof why - 1);
    return -1;
}

void client_ping(struct client *client)
{
    client->ping_due = true;
    client_want_write(client);
}

/*
 * A peer whose kernel still acknowledges is there, even if its program is too busy to read, let
 * alone to answer a ping: it shall find its loss notice when it comes back. One that vanished
 * acknowledges nothing, not even the probes of a closed window.
 */
uint64_t client_silent_ms(const struct client *client, uint64_t now_ms)
{
    struct tcp_info info;
    socklen_t bytes = sizeof info;
    const uint64_t silent = now_ms - client->heard_ms;
    if (getsockopt(lws_get_socket_fd(client->wsi), IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 &&
        info.tcpi_last_ack_recv < silent) {
        return info.tcpi_last_ack_recv;
    }
    return silent;
}

void client_hang_up(struct client *client)
{
    lws_set_timeout(client->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}
