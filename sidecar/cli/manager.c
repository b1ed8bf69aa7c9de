/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3) and sd_listen_fds(3). */
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_FD = 3, FDS_MAX = 16 };

/* A number from the environment; 0: absent, no number, or out of range. */
static uint64_t environment_number(const char *name, uint64_t max)
{
    const char *text = getenv(name);
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && value <= max ? value : 0;
}

/* Whether a variable that names a process means this one. */
static bool is_for_us(const char *name)
{
    return environment_number(name, INT32_MAX) == (uint64_t)getpid();
}

void manager_notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address.sun_path)
        return;
    const size_t bytes = strlen(path);
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes));
    close(fd);
}

uint64_t manager_watchdog_ns(void)
{
    if (getenv("WATCHDOG_PID") != NULL && !is_for_us("WATCHDOG_PID"))
        return 0;
    return environment_number("WATCHDOG_USEC", UINT64_MAX / 1000) * 1000;
}

bool manager_sockets_take(struct manager_sockets *out, char *why, size_t cap)
{
    *out = (struct manager_sockets){0};
    if (!is_for_us("LISTEN_PID"))
        return true;
    const int count = (int)environment_number("LISTEN_FDS", FDS_MAX);
    const char *names = getenv("LISTEN_FDNAMES");
    for (int i = 0; i < count; i++) {
        const size_t bytes = names != NULL ? strcspn(names, ":") : 0;
        int *slot = bytes == strlen("probe") && memcmp(names, "probe", bytes) == 0 ? &out->probe
                                                                                   : &out->listen;
        if (*slot != 0) {
            snprintf(why, cap,
                     "the service manager handed over two sockets of one kind: give one, and one "
                     "more named \"probe\"");
            return false;
        }
        *slot = FIRST_FD + i;
        if (names != NULL)
            names += bytes + (names[bytes] == ':');
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return true;
}
