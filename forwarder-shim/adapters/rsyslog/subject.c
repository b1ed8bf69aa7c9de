/* SPDX-License-Identifier: Apache-2.0 */
/* The rsyslogd that started this program. */
#include "subject.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void name_read(int pid, char *out, size_t cap)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, out, cap - 1) : 0;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

int subject_find(char *why, size_t cap)
{
    char name[64];
    const int pid = getppid();
    name_read(pid, name, sizeof name);
    /* Asked again: the name is of the parent only if it is still the parent. */
    if (strcmp(name, "rsyslogd") == 0 && getppid() == pid)
        return pid;
    snprintf(why, cap, "not started by rsyslogd but by pid %d, \"%s\"", pid, name);
    return 0;
}

bool subject_is_gone(int pid)
{
    return getppid() != pid;
}

bool subject_address(const char *dir, int pid, struct sockaddr_un *out)
{
    struct stat namespace = {0};
    (void)stat("/proc/self/ns/pid", &namespace); /* a volume may be shared by containers */
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    const int n = snprintf(out->sun_path, sizeof out->sun_path, "%s/rsyslog.%lu.%d.sock", dir,
                           (unsigned long)namespace.st_ino, pid);
    return n > 0 && (size_t)n < sizeof out->sun_path;
}

bool subject_peer_trusted(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}
