/* SPDX-License-Identifier: Apache-2.0 */
/* Processes made in every way: prefork, daemons, forks under load, exec, raw clone, vfork. */
#include "host.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 16, CHILDREN_AT_ONCE = 8 };

/* What a child does with what it inherited: all of it must reach nothing. 0: the shim is off. */
static int child_misuses(void)
{
    host_write(100);
    fwdscope_heartbeat();
    fwdscope_close(FWDSCOPE_CRASHED, "by a child");
    return fwdscope_is_on() || fwdscope_path()[0] != '\0' ? 1 : 0;
}

/* ---- prefork --------------------------------------------------------------------------------- */

/* A worker with an odd number opens a region of its own, the others stay inert. */
static _Noreturn void worker(const char *dir, int number, int lives)
{
    char name[32], byte;
    if (child_misuses() != 0)
        _exit(1);
    if (number % 2 == 1) {
        snprintf(name, sizeof name, "worker-%d", number);
        host_open(dir, name, 0);
        host_write((uint64_t)number);
    }
    say("worker %d %d %s", number, (int)getpid(), fwdscope_is_on() ? "on" : "off");
    while (read(lives, &byte, 1) < 0 && errno == EINTR) {
    }
    fwdscope_close(FWDSCOPE_CLOSED, "told to");
    _exit(0);
}

static pid_t worker_start(const char *dir, int number, const int lives[2])
{
    const pid_t pid = fork();
    if (pid < 0)
        die("fork", strerror(errno));
    if (pid == 0) {
        close(lives[1]);
        worker(dir, number, lives[0]);
    }
    return pid;
}

/* Commands: "restart N" kills a worker and starts it again. At the end of input all end in order.
 */
void run_prefork(char **words)
{
    const int workers = atoi(words[1]);
    pid_t pids[WORKERS_MAX];
    char line[64];
    int lives[2], number;
    if (workers > WORKERS_MAX || pipe(lives) != 0)
        die("prefork", "too many workers, or no pipe");
    host_open(words[0], "master", 0);
    uint64_t rounds = 100;
    host_write(rounds);
    for (int i = 0; i < workers; i++)
        pids[i] = worker_start(words[0], i, lives);
    while (await_line(line, sizeof line)) {
        if (sscanf(line, "restart %d", &number) != 1 || number >= workers)
            die("no such command", line);
        kill(pids[number], SIGKILL);
        (void)child_end(pids[number]);
        host_write(1);
        rounds++;
        pids[number] = worker_start(words[0], number, lives);
    }
    close(lives[1]);
    for (int i = 0; i < workers; i++)
        if (child_end(pids[i]) != 0)
            die("a worker", "failed");
    fwdscope_close(FWDSCOPE_CLOSED, "told to");
    say_wrote(rounds);
}

/* ---- daemons --------------------------------------------------------------------------------- */

/* The classic way: fork, setsid, fork; both parents end by `leave`. */
static void become_daemon(void (*leave)(int status))
{
    for (int i = 0; i < 2; i++) {
        const pid_t pid = fork();
        if (pid < 0)
            die("fork", strerror(errno));
        if (pid > 0)
            leave(0);
        if (i == 0 && setsid() < 0)
            die("setsid", strerror(errno));
    }
}

/* HOW: daemon3, classic (parents _exit), exit (parents exit), close (before it), late (opens after
 * it only). Says what the daemon finds; at the line "open" it opens again; ends with the input. */
void run_daemon(char **words)
{
    const char *how = words[1];
    char line[64];
    if (strcmp(how, "late") != 0) {
        host_open(words[0], "daemon", 0);
        host_write(7);
    }
    if (strcmp(how, "close") == 0)
        fwdscope_close(FWDSCOPE_CLOSED, "becomes a daemon");
    if (strcmp(how, "daemon3") == 0 && daemon(1, 1) != 0)
        die("daemon", strerror(errno));
    if (strcmp(how, "daemon3") != 0)
        become_daemon(strcmp(how, "exit") == 0 ? exit : _exit);
    alarm(HANG_S);
    say("daemon %d %s %s", (int)getpid(), fwdscope_is_on() ? "on" : "off", fwdscope_reason());
    host_write(100); /* into nothing */
    if (!await_line(line, sizeof line))
        die("daemon", "was not told to open");
    host_open(words[0], "daemon", 0);
    host_write(5);
    say("open");
    while (await_line(line, sizeof line)) {
    }
    fwdscope_close(FWDSCOPE_CLOSED, "told to");
}

/* ---- forks under load ------------------------------------------------------------------------ */

/* Inert, and every 16th opens a region of its own. A child that hangs dies by SIGALRM. */
static _Noreturn void storm_child(const char *dir, uint64_t number)
{
    char name[32];
    alarm(CHILD_HANG_S);
    if (child_misuses() != 0)
        _exit(1);
    if (number % 16 == 0) {
        snprintf(name, sizeof name, "child-%llu", (unsigned long long)(number / 16 % 4));
        host_open(dir, name, 2);
        host_write(10);
        fwdscope_close(FWDSCOPE_CLOSED, "");
        if (fwdscope_is_on())
            _exit(2);
    }
    _exit(0);
}

void run_storm(char **words)
{
    const uint64_t forks = strtoull(words[2], NULL, 10);
    struct tallies *tallies = shared_memory(sizeof *tallies);
    uint64_t begun, done, bad = 0;
    host_open(words[0], "storm", 0);
    writers_start(tallies, (unsigned)atoi(words[3]), 100);
    for (uint64_t i = 0; i < forks; i++) {
        if (i >= CHILDREN_AT_ONCE)
            bad += child_end(-1) != 0;
        const pid_t pid = fork();
        if (pid < 0)
            die("fork", strerror(errno));
        if (pid == 0)
            storm_child(words[1], i);
    }
    for (uint64_t i = 0; i < forks && i < CHILDREN_AT_ONCE; i++)
        bad += child_end(-1) != 0;
    writers_stop();
    tallies_sum(tallies, &begun, &done);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say("bad %llu", (unsigned long long)bad);
    say_wrote(done);
}

/* ---- exec ------------------------------------------------------------------------------------ */

extern char **environ;
static char *const idle_words[] = {(char[]){"host"}, (char[]){"idle"}, NULL};

static _Noreturn void become_idle(void)
{
    execv("/proc/self/exe", idle_words);
    _exit(98);
}

/* Another program, as far as the shim knows: says that it is there, ends with its input. */
void run_idle(char **words)
{
    char line[64];
    (void)words;
    say("idle %d", (int)getpid());
    while (await_line(line, sizeof line)) {
    }
}

/* HOW: plain (no fork), fork, vfork, spawn. The parent of the last three waits to be killed. */
void run_exec(char **words)
{
    const char *how = words[1];
    pid_t pid = -1;
    host_open(words[0], "exec", 0);
    host_write(7);
    if (strcmp(how, "plain") == 0)
        become_idle();
    if (strcmp(how, "fork") == 0 && (pid = fork()) == 0)
        become_idle();
    if (strcmp(how, "vfork") == 0 && (pid = vfork()) == 0)
        become_idle();
    if (strcmp(how, "spawn") == 0 &&
        posix_spawn(&pid, "/proc/self/exe", NULL, NULL, idle_words, environ) != 0)
        die("posix_spawn", how);
    if (pid < 0)
        die("exec", how);
    host_write(3);
    say("parent %d", (int)getpid());
    pause();
}

/* ---- raw clone ------------------------------------------------------------------------------- */

static pid_t clone_raw(void)
{
    return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, 0ul);
}

/* A child that no fork handler saw. It lives until its input ends, whatever its parent does. */
void run_clone(char **words)
{
    char line[64];
    host_open(words[0], "clone", 0);
    host_write(7);
    const pid_t pid = clone_raw();
    if (pid == 0) {
        alarm(HANG_S);
        if (child_misuses() != 0)
            _exit(1);
        if (strcmp(words[1], "open") == 0) {
            host_open(words[0], "clone-child", 0);
            host_write(5);
        }
        say("child %d", (int)getpid());
        while (await_line(line, sizeof line)) {
        }
        fwdscope_close(FWDSCOPE_CLOSED, "told to");
        _exit(0);
    }
    host_write(3);
    pause();
}

/* ---- children that share the memory ---------------------------------------------------------- */

static int sharing_child(void *rounds)
{
    host_write(*(const uint64_t *)rounds);
    return 0;
}

/* vfork, and clone with CLONE_VM | CLONE_VFORK: the child runs on its parent's memory while the
 * parent stands still, so what it writes is its parent's. */
void run_shares(char **words)
{
    static _Alignas(16) char stack[256 << 10];
    uint64_t rounds = 7, each = 11;
    host_open(words[0], "shares", 0);
    host_write(rounds);
    for (int i = 0; i < 100; i++) {
        const pid_t pid =
            clone(sharing_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &each);
        if (child_end(pid) != 0)
            die("a child", "failed");
        host_write(1);
        rounds += each + 1;
    }
    if (!fwdscope_is_on())
        die("the parent", "is off");
    fwdscope_close(FWDSCOPE_CLOSED, "");
    say_wrote(rounds);
}
