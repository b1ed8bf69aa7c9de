/* SPDX-License-Identifier: Apache-2.0 */
/* Sends over TCP, or appends to a file. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory.h"

/* Always false. */
static bool __attribute__((format(printf, 2, 3)))
say(char error[OUTPUT_ERROR_BYTES], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, OUTPUT_ERROR_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static void split_address(struct destination *destination, const char *address)
{
    size_t host = (size_t)(strrchr(address, ':') - address);
    destination->port = memory_copy(address + host + 1);
    bool brackets = address[0] == '[' && address[host - 1] == ']';
    destination->host = memory_copy(address + brackets);
    destination->host[brackets ? host - 2 : host] = '\0';
}

static void disconnect(struct output *output)
{
    if (output->socket >= 0)
        close(output->socket);
    output->socket = -1;
}

/* Waits until the socket is ready for `events`. False: the time is over, or the drain is. */
static bool wait_for_socket(const struct output *output, short events,
                            char error[OUTPUT_ERROR_BYTES])
{
    struct pollfd fds[] = {{.fd = output->socket, .events = events},
                           {.fd = output->destination->give_up_fd, .events = POLLIN}};
    int timeout = (int)output->destination->config->send_timeout_ms;
    int ready = 0;
    do
        ready = poll(fds, 2, timeout);
    while (ready < 0 && errno == EINTR);
    if (fds[1].revents != 0)
        return say(error, "the time to drain is over");
    if (ready == 0)
        return say(error, "no progress in %d ms", timeout);
    return ready > 0 || say(error, "poll: %s", strerror(errno));
}

static bool connect_to(struct output *output, const struct addrinfo *address,
                       char error[OUTPUT_ERROR_BYTES])
{
    output->socket =
        socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (output->socket < 0)
        return say(error, "socket: %s", strerror(errno));
    int on = 1;
    unsigned timeout = output->destination->config->send_timeout_ms;
    setsockopt(output->socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(output->socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    int failure = 0;
    if (connect(output->socket, address->ai_addr, address->ai_addrlen) != 0) {
        failure = errno;
        if (failure == EINPROGRESS) {
            if (!wait_for_socket(output, POLLOUT, error))
                return false;
            socklen_t size = sizeof(failure);
            getsockopt(output->socket, SOL_SOCKET, SO_ERROR, &failure, &size);
        }
    }
    return failure == 0 ||
           say(error, "connect to %s: %s", output->destination->config->address, strerror(failure));
}

static bool connect_output(struct output *output, char error[OUTPUT_ERROR_BYTES])
{
    const struct destination *destination = output->destination;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int status = getaddrinfo(destination->host, destination->port, &hints, &addresses);
    if (status != 0)
        return say(error, "look-up of %s: %s", destination->host, gai_strerror(status));
    bool connected = false;
    for (const struct addrinfo *a = addresses; a != NULL && !connected; a = a->ai_next) {
        disconnect(output);
        connected = connect_to(output, a, error);
    }
    freeaddrinfo(addresses);
    if (!connected)
        disconnect(output);
    return connected;
}

/* Throws away what the peer says, and drops a connection that it has closed. */
static void listen_to_peer(struct output *output)
{
    char ignored[4096];
    ssize_t got = 1;
    /* A peer that never stops talking is left for the next batch. */
    for (int reads = 0; output->socket >= 0 && got > 0 && reads < 64; reads++)
        got = recv(output->socket, ignored, sizeof(ignored), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        disconnect(output);
}

static bool send_to_peer(struct output *output, const char *bytes, size_t count,
                         char error[OUTPUT_ERROR_BYTES])
{
    listen_to_peer(output);
    if (output->socket < 0 && !connect_output(output, error))
        return false;
    for (size_t sent = 0; sent < count;) {
        ssize_t n = send(output->socket, bytes + sent, count - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        bool full = errno == EAGAIN || errno == EWOULDBLOCK;
        if (errno == EINTR || (full && wait_for_socket(output, POLLOUT, error)))
            continue;
        if (!full)
            say(error, "send to %s: %s", output->destination->config->address, strerror(errno));
        disconnect(output);
        return false;
    }
    return true;
}

/* ---- file ------------------------------------------------------------------------------------ */

static bool append_to_file(struct destination *destination, const char *bytes, size_t count,
                           size_t *done, char error[OUTPUT_ERROR_BYTES])
{
    const char *path = destination->config->address;
    if (destination->file < 0)
        destination->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (destination->file < 0)
        return say(error, "open %s: %s", path, strerror(errno));
    while (*done < count) {
        ssize_t n = write(destination->file, bytes + *done, count - *done);
        if (n < 0 && errno != EINTR)
            return say(error, "write %s: %s", path, strerror(errno));
        if (n > 0)
            *done += (size_t)n;
    }
    return true;
}

/* ---- the interface --------------------------------------------------------------------------- */

void destination_open(struct destination *destination, const struct config *config, int give_up_fd)
{
    *destination = (struct destination){.config = config, .give_up_fd = give_up_fd, .file = -1};
    pthread_mutex_init(&destination->mutex, NULL);
    if (!config->output_is_file)
        split_address(destination, config->address);
}

void destination_close(struct destination *destination)
{
    if (destination->file >= 0)
        close(destination->file);
    pthread_mutex_destroy(&destination->mutex);
    free(destination->host);
    free(destination->port);
    *destination = (struct destination){.file = -1};
}

void output_open(struct output *output, struct destination *destination)
{
    *output = (struct output){.destination = destination, .socket = -1};
}

void output_close(struct output *output)
{
    /* Unread bytes would turn the close into a reset, which discards what is on its way. */
    if (output->socket >= 0) {
        shutdown(output->socket, SHUT_WR);
        listen_to_peer(output);
    }
    disconnect(output);
}

void output_begin(struct output *output)
{
    if (output->destination->config->output_is_file)
        pthread_mutex_lock(&output->destination->mutex);
}

void output_end(struct output *output)
{
    if (output->destination->config->output_is_file)
        pthread_mutex_unlock(&output->destination->mutex);
}

bool output_send(struct output *output, const char *bytes, size_t count, size_t *done,
                 char error[OUTPUT_ERROR_BYTES])
{
    if (output->destination->config->output_is_file)
        return append_to_file(output->destination, bytes, count, done, error);
    return send_to_peer(output, bytes, count, error);
}
