/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. TCP_NODELAY is set here once: accepted sockets inherit it. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 128, PORT_DIGITS_MAX = 5, PORT_MAX = 65535, UNIX_MODE = 0660 };
enum { LOCK_TRIES = 50, LOCK_PAUSE_MS = 10 };

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

/* ---- unix sockets ---------------------------------------------------------------------------- */

static bool unix_address(const char *path, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    const size_t bytes = strlen(path);
    if (bytes == 0 || bytes >= sizeof out->sun_path) {
        return false;
    }
    memcpy(out->sun_path, path, bytes + 1);
    return true;
}

/* Removes a socket whose listener is gone. False: it is somebody's, or it is no socket. */
static bool unix_clear(const struct sockaddr_un *address, char *why, size_t cap)
{
    struct stat st;
    if (lstat(address->sun_path, &st) != 0) {
        return true; /* bind() says what is wrong, if anything is */
    }
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(why, cap, "--unix %s: a file that is no socket is in the way", address->sun_path);
        return false;
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const bool heard = fd < 0 ||
                       connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                       errno != ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    if (heard) {
        snprintf(why, cap, "--unix %s is in use by another process: choose another path",
                 address->sun_path);
        return false;
    }
    unlink(address->sun_path);
    return true;
}

/* Locks the directory of a path, so that of two that start at once neither takes the other's new
 * socket for a stale one. For a moment only: a lock that somebody else holds stops nobody. -1: not
 * locked. The caller closes it. */
static int directory_lock(const char *path)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
    char dir[LISTEN_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    const size_t bytes = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    memcpy(dir, path, bytes);
    dir[bytes] = '\0';
    const int fd = open(bytes != 0 ? dir : ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
        nanosleep(&pause, NULL);
    }
    return fd;
}

/* The directory is locked. */
static bool unix_bind(const struct sockaddr_un *address, struct listen_socket *out, char *why,
                      size_t cap)
{
    struct stat st;
    if (!unix_clear(address, why, cap)) {
        return false;
    }
    const char *path = address->sun_path;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* The mode comes with the name, so that nobody can connect in between. No other thread of this
     * process makes files. */
    const mode_t mask = umask((mode_t)~UNIX_MODE & 0777);
    const bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    const int error = errno;
    umask(mask);
    errno = error;
    if (!bound || listen(fd, BACKLOG) != 0 || lstat(path, &st) != 0) {
        snprintf(why, cap, "cannot listen on --unix %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    *out = (struct listen_socket){.fd = fd,
                                  .loopback = true,
                                  .host = "localhost",
                                  .device = (uint64_t)st.st_dev,
                                  .inode = (uint64_t)st.st_ino};
    snprintf(out->address, sizeof out->address, "%s", path);
    return true;
}

bool listen_open_unix(const char *path, struct listen_socket *out, char *why, size_t cap)
{
    struct sockaddr_un address;
    if (!unix_address(path, &address)) {
        snprintf(why, cap, "--unix: a path of 1 to %zu bytes is needed",
                 sizeof address.sun_path - 1);
        return false;
    }
    const int lock = directory_lock(path);
    const bool bound = unix_bind(&address, out, why, cap);
    if (lock >= 0) {
        close(lock);
    }
    return bound;
}

void listen_unlink_unix(const struct listen_socket *socket)
{
    struct stat st;
    const int lock = directory_lock(socket->address);
    if (lstat(socket->address, &st) == 0 && (uint64_t)st.st_dev == socket->device &&
        (uint64_t)st.st_ino == socket->inode) {
        unlink(socket->address);
    }
    if (lock >= 0) {
        close(lock);
    }
}

/* ---- handed over ----------------------------------------------------------------------------- */

static bool socket_option_is(int fd, int option, int wanted)
{
    int value;
    socklen_t bytes = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &bytes) == 0 && value == wanted;
}

bool listen_take(int fd, struct listen_socket *out, char *why, size_t cap)
{
    const int on = 1;
    struct target target = {.bytes = sizeof target.address};
    const int flags = fcntl(fd, F_GETFL);
    if (!socket_option_is(fd, SO_TYPE, SOCK_STREAM) || !socket_option_is(fd, SO_ACCEPTCONN, 1) ||
        getsockname(fd, (struct sockaddr *)&target.address, &target.bytes) != 0 || flags < 0 ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        snprintf(why, cap, "descriptor %d is no listening stream socket", fd);
        return false;
    }
    *out = (struct listen_socket){.fd = fd, .loopback = true, .host = "localhost"};
    if (target.address.ss_family == AF_UNIX) {
        struct sockaddr_un address;
        memcpy(&address, &target.address, sizeof address);
        address.sun_path[sizeof address.sun_path - 1] = '\0';
        snprintf(out->address, sizeof out->address, "%s", address.sun_path);
        return true;
    }
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 || !socket_name(fd, out)) {
        snprintf(why, cap, "descriptor %d is no TCP socket: %s", fd, strerror(errno));
        return false;
    }
    out->loopback = target_is_loopback(&target);
    return true;
}
