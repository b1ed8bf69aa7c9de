/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. TCP_NODELAY is set here once: accepted sockets inherit it. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128, PORT_DIGITS_MAX = 5, PORT_MAX = 65535 };

struct target {
    struct sockaddr_storage address;
    socklen_t bytes;
};

static bool port_is_proper(const char *port)
{
    const size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits > PORT_DIGITS_MAX || port[digits] != '\0') {
        return false;
    }
    unsigned value = 0;
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (unsigned)(port[i] - '0');
    }
    return value <= PORT_MAX;
}

/* Splits ADDR:PORT and resolves it without asking anyone: numbers and "localhost" only. */
static bool target_parse(const char *where, struct target *target)
{
    char host[LISTEN_NAME_BYTES];
    const char *colon = strrchr(where, ':');
    if (colon == NULL || colon == where || !port_is_proper(colon + 1)) {
        return false;
    }
    size_t bytes = (size_t)(colon - where);
    const bool bracketed = where[0] == '[' && where[bytes - 1] == ']';
    if (bracketed) {
        where++;
        bytes -= 2;
    }
    if (bytes == 0 || bytes >= sizeof host || (!bracketed && memchr(where, ':', bytes) != NULL)) {
        return false;
    }
    memcpy(host, where, bytes);
    host[bytes] = '\0';
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        .ai_family = bracketed ? AF_INET6 : AF_INET,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found = NULL;
    const char *number = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (getaddrinfo(number, colon + 1, &hints, &found) != 0) {
        return false;
    }
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->bytes = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool target_is_loopback(const struct target *target)
{
    if (target->address.ss_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, &target->address, sizeof four);
        return ntohl(four.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 six;
    memcpy(&six, &target->address, sizeof six);
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&six.sin6_addr);
    return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr) || (mapped && six.sin6_addr.s6_addr[12] == 127);
}

enum listen_reach listen_reach(const char *where)
{
    struct target target;
    if (!target_parse(where, &target)) {
        return LISTEN_NOT_AN_ADDRESS;
    }
    return target_is_loopback(&target) ? LISTEN_LOOPBACK : LISTEN_PUBLIC;
}

/* Writes host and address as the kernel bound them. */
static bool socket_name(int fd, struct listen_socket *out)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof bound;
    char host[LISTEN_NAME_BYTES - 10], port[8];
    if (getsockname(fd, (struct sockaddr *)&bound, &bytes) != 0 ||
        getnameinfo((struct sockaddr *)&bound, bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return false;
    }
    const char *form = bound.ss_family == AF_INET6 ? "[%s]" : "%s";
    if (form[0] == '[') {
        snprintf(out->host, sizeof out->host, "[%s]", host);
    } else {
        snprintf(out->host, sizeof out->host, "%s", host);
    }
    const size_t length = strlen(out->host);
    memcpy(out->address, out->host, length);
    snprintf(out->address + length, sizeof out->address - length, ":%s", port);
    return true;
}

static void explain(int error, const char *where, const char *flag, char *why, size_t cap)
{
    switch (error) {
    case EADDRINUSE:
        snprintf(why, cap,
                 "%s is in use by another process: stop that one or choose another port with %s",
                 where, flag);
        break;
    case EACCES:
        snprintf(why, cap,
                 "no permission to bind %s: choose a port above 1023 with %s, or grant "
                 "CAP_NET_BIND_SERVICE",
                 where, flag);
        break;
    case EADDRNOTAVAIL:
        snprintf(why, cap, "no interface of this machine has the address of %s: choose one with %s",
                 where, flag);
        break;
    default:
        snprintf(why, cap, "cannot listen on %s (%s %s): %s", where, flag, where, strerror(error));
        break;
    }
}

bool listen_open(const char *where, const char *flag, struct listen_socket *out, char *why,
                 size_t cap)
{
    struct target target;
    const int on = 1;
    if (!target_parse(where, &target)) {
        snprintf(why, cap, "%s %s: not an address; write ADDR:PORT, such as 127.0.0.1:9090", flag,
                 where);
        return false;
    }
    const int fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&target.address, target.bytes) != 0 ||
        listen(fd, BACKLOG) != 0 || !socket_name(fd, out)) {
        explain(errno, where, flag, why, cap);
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    out->fd = fd;
    out->loopback = target_is_loopback(&target);
    return true;
}
