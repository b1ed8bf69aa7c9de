/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients PORT COUNT [PATH]: so many connections to 127.0.0.1 that read as fast as they can and
 * throw it away; with a PATH each asks for a WebSocket there first. Prints "ready" when all stand,
 * answers each line of its standard input with the bytes that all of them got since, and ends at
 * its end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, TAKEN_BYTES = 1 << 20, HEAD_BYTES = 4096 };

static void die(const char *what)
{
    fprintf(stderr, "clients: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Asks and reads to the end of the answer's head; what follows it stays in the socket. */
static void upgrade(int fd, int port, const char *path)
{
    char head[HEAD_BYTES];
    const int length = snprintf(head, sizeof head,
                                "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                                path, port);
    if (write(fd, head, (size_t)length) != length) {
        die("the upgrade");
    }
    for (size_t got = 0; got < sizeof head; got++) {
        if (read(fd, head + got, 1) != 1) {
            die("the answer to the upgrade");
        }
        if (got >= 3 && memcmp(head + got - 3, "\r\n\r\n", 4) == 0) {
            if (memcmp(head, "HTTP/1.1 101", 12) != 0) {
                die("no WebSocket");
            }
            return;
        }
    }
    die("the answer's head");
}

static void client_connect(int epoll, int port, const char *path)
{
    const struct sockaddr_in where = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&where, sizeof where) != 0) {
        die("connect");
    }
    if (path != NULL) {
        upgrade(fd, port, path);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("epoll");
    }
}

/* MSG_TRUNC throws the bytes away in the kernel: the load shall cost little beside the server. */
static unsigned long long client_read(int fd)
{
    const ssize_t got = recv(fd, NULL, TAKEN_BYTES, MSG_TRUNC);
    if (got == 0) {
        die("a connection was closed");
    }
    if (got < 0 && errno != EAGAIN) {
        die("recv");
    }
    return got > 0 ? (unsigned long long)got : 0;
}

/* False at the end of the standard input. */
static int question_answer(unsigned long long bytes)
{
    char line[64];
    if (read(STDIN_FILENO, line, sizeof line) <= 0) {
        return 0;
    }
    printf("%llu\n", bytes);
    return 1;
}

int main(int argc, char **argv)
{
    const int port = argc >= 3 ? atoi(argv[1]) : 0, count = argc >= 3 ? atoi(argv[2]) : 0;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS], input = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    struct rlimit limit;
    unsigned long long bytes = 0;
    if (port == 0 || epoll < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 2;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < count; i++) {
        client_connect(epoll, port, argv[3]);
    }
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) != 0) {
        die("standard input");
    }
    puts("ready");
    for (;;) {
        const int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd != STDIN_FILENO) {
                bytes += client_read(events[i].data.fd);
            } else if (!question_answer(bytes)) {
                return 0;
            }
        }
    }
}
