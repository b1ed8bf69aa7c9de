/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that end together, and little else. */
#include "processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

bool is_long(void)
{
    const char *text = getenv("FWDSCOPE_LONG");
    return text != NULL && strcmp(text, "1") == 0;
}

uint64_t clock_ns(int clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void *memory_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("no memory");
    return memory;
}

static struct {
    pid_t owner;
    char path[64];
} scratch;

static void scratch_remove(void)
{
    DIR *directory = scratch.owner == getpid() ? opendir(scratch.path) : NULL;
    if (directory == NULL)
        return;
    for (const struct dirent *e = readdir(directory); e != NULL; e = readdir(directory))
        (void)unlinkat(dirfd(directory), e->d_name, 0);
    closedir(directory);
    (void)rmdir(scratch.path);
}

const char *scratch_make(void)
{
    strcpy(scratch.path, "/dev/shm/fwdscope-stress-XXXXXX");
    scratch.owner = getpid();
    if (atexit(scratch_remove) != 0 || mkdtemp(scratch.path) == NULL)
        fail("cannot make %s", scratch.path);
    return scratch.path;
}

pid_t child_start(void (*fn)(void *arg), void *arg)
{
    fflush(NULL);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0)
        fail("cannot fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    fn(arg);
    exit(0);
}

void child_end(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0)
        fail("a process ended with status %#x", (unsigned)status);
}

void await_others(void)
{
    siginfo_t info = {0};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0 &&
        info.si_status != 0)
        fail("process %d failed", (int)info.si_pid);
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void await(const atomic_int *number, int least)
{
    while (atomic_load(number) < least)
        await_others();
}
