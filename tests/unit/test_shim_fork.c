/* SPDX-License-Identifier: Apache-2.0 */
/* The shim and processes: children made in every way are inert, the lock says who lives, and a host
 * without standard streams keeps them free of us. */
#include "shim_cases.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static fwdscope_counter counter_named(const char *name)
{
    return fwdscope_counter_register(&(struct fwdscope_instrument){.name = name});
}

static fwdscope_counter the_counter;
static fwdscope_span the_span;

/* What the parent did right before, done again: it must not reach the region. 0: inert. */
static int child_is_inert(void)
{
    const struct fwdscope_attribute attribute = fwdscope_int("k", 1);
    if (fwdscope_is_on() || fwdscope_path()[0] != '\0')
        return 1;
    fwdscope_counter_add(the_counter, 100);
    fwdscope_log(FWDSCOPE_INFO, "from a child", 12);
    fwdscope_span_set(the_span, &attribute, 1);
    fwdscope_span_end(the_span, 0);
    fwdscope_heartbeat();
    fwdscope_config_refuse("p", "from a child");
    if (counter_named("child").id != 0 || fwdscope_pipeline_register("child", 0).id != 0)
        return 2;
    if (fwdscope_span_start("child", FWDSCOPE_SPAN_INTERNAL, 0).id != 0)
        return 3;
    fwdscope_close(FWDSCOPE_CRASHED, "from a child");
    return fwdscope_reason()[0] != '\0' ? 0 : 4; /* and it can be told why */
}

static void parent_begin(void)
{
    case_open();
    the_counter = counter_named("c");
    the_span = fwdscope_span_start("s", FWDSCOPE_SPAN_INTERNAL, 1);
    fwdscope_counter_add(the_counter, 1);
    fwdscope_log(FWDSCOPE_INFO, "from the parent", 15);
}

static void count_take(void *arg, const uint64_t *record, size_t words)
{
    (void)record;
    (void)words;
    ++*(uint64_t *)arg;
}

/* The parent goes on as if nothing had been, and holds its lock. */
static void parent_check(void)
{
    uint64_t logs = 0;
    fwdscope_counter_add(the_counter, 1);
    const struct peek peek = peek_now();
    CHECK(fwdscope_is_on());
    CHECK_EQUAL(fws_lock_ask(peek.view.fd), FWS_LOCK_HELD);
    CHECK_EQUAL(peek_header(&peek, FWS_H_STATE), FWS_STATE_RUNNING);
    CHECK_EQUAL(peek_sum(&peek, "c", 0), 2);
    CHECK(peek_instrument(&peek, "child", 0) == NULL);
    peek_records(&peek, FWS_SECTION_LOG_RINGS, count_take, &logs);
    CHECK_EQUAL(logs, 1);
    CHECK_EQUAL(fws_peek(&peek_entry(&peek, FWS_SECTION_ACTIVE_SPANS, 0, 0)[FWS_A_STATE]), 1);
    CHECK_EQUAL(fws_peek(&peek_entry(&peek, FWS_SECTION_CONFIG, 0, 0)[FWS_CONFIG_STATE]), 0);
}

static void wait_for(pid_t pid)
{
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 0);
}

static void forked_child_is_inert(void)
{
    parent_begin();
    const pid_t pid = fork();
    if (pid == 0)
        _exit(child_is_inert());
    wait_for(pid);
    parent_check();
}

static char *far_text; /* not there before the handler came */
static pid_t far_pid;

static void on_far_text(int number)
{
    (void)number;
    CHECK(mprotect(far_text, 4096, PROT_READ | PROT_WRITE) == 0);
    far_pid = fork();
}

/* A handler forks, and its child returns to the call that it interrupted: that ends, inert. */
static void child_returns_into_a_call(void)
{
    const struct sigaction action = {.sa_handler = on_far_text, .sa_flags = (int)SA_RESETHAND};
    far_text = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(far_text != MAP_FAILED);
    const struct fwdscope_attribute attribute = fwdscope_string("far", far_text);
    parent_begin();
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    fwdscope_span_set(the_span, &attribute, 1);
    if (far_pid == 0)
        _exit(child_is_inert());
    wait_for(far_pid);
    parent_check();
}

/* A child that no fork handler ever saw. */
static void cloned_child_is_inert(void)
{
    parent_begin();
    const long pid = syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, 0ul);
    if (pid == 0)
        _exit(child_is_inert());
    wait_for((pid_t)pid);
    parent_check();
}

static void grandchild_is_inert(void)
{
    parent_begin();
    const pid_t pid = fork();
    if (pid == 0) {
        const pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(child_is_inert());
        wait_for(grandchild);
        _exit(child_is_inert());
    }
    wait_for(pid);
    parent_check();
}

static void fork_leaves_errno_alone(void)
{
    parent_begin();
    CHECK(dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 100) == 100);
    errno = 4711;
    const pid_t pid = fork();
    if (pid == 0)
        _exit(errno == 4711 ? 0 : 1);
    wait_for(pid);
}

/* A daemon's child: its own region, its own numbers; the parent's stay as they are. */
static void child_may_open_its_own(void)
{
    parent_begin();
    const pid_t pid = fork();
    if (pid == 0) {
        CHECK_EQUAL(child_is_inert(), 0);
        case_open();
        const fwdscope_counter mine = counter_named("mine");
        CHECK(mine.id != 0);
        fwdscope_counter_add(mine, 5);
        fwdscope_counter_add(the_counter, 100); /* a handle of the parent's life */
        fwdscope_span_end(the_span, 0);
        fwdscope_log(FWDSCOPE_INFO, "mine", 4);
        const struct peek peek = peek_now();
        CHECK_EQUAL(peek_sum(&peek, "mine", 0), 5);
        CHECK_EQUAL(peek_header(&peek, FWS_H_PID), getpid());
        CHECK_EQUAL(peek_header(&peek, FWS_H_GENERATION), 2);
        const pid_t grandchild = fork(); /* and its children are inert in turn */
        if (grandchild == 0)
            _exit(child_is_inert());
        wait_for(grandchild);
        CHECK(fwdscope_is_on());
        fwdscope_close(FWDSCOPE_CLOSED, "");
        _exit(0);
    }
    wait_for(pid);
    parent_check();
    CHECK_EQUAL(case_dir_files(), 2);
}

/* Lives are counted in each process: a server that forks and opens in each child never runs out. */
static void generations_of_children_do_not_run_out(void)
{
    parent_begin();
    const pid_t pid = fork();
    if (pid == 0) {
        for (int life = 0; life < 10; life++) {
            case_open();
            fwdscope_close(FWDSCOPE_CLOSED, "");
        }
        const pid_t grandchild = fork();
        if (grandchild == 0) {
            for (int life = 0; life < 10; life++) {
                case_open();
                fwdscope_close(FWDSCOPE_CLOSED, "");
            }
            _exit(0);
        }
        wait_for(grandchild);
        _exit(0);
    }
    wait_for(pid);
    parent_check();
}

/* ---- the lock ---------------------------------------------------------------------------------
 */

/* A process that opens, then makes a child that lives on; both are told of by pipes. */
struct family {
    pid_t parent;
    int child_lives; /* the child ends when this is closed */
    char path[256];
};

static struct family family_start(void)
{
    struct family family = {.path = ""};
    int ready[2], lives[2], path[2];
    char byte;
    CHECK(pipe(ready) == 0 && pipe(lives) == 0 && pipe(path) == 0);
    family.parent = fork();
    if (family.parent == 0) {
        case_open();
        const pid_t child = fork();
        if (child == 0) {
            close(lives[1]);
            CHECK(write(ready[1], "r", 1) == 1); /* after the fork handlers ran */
            while (read(lives[0], &byte, 1) > 0) {
            }
            _exit(0);
        }
        CHECK(write(path[1], fwdscope_path(), strlen(fwdscope_path())) > 0);
        pause();
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(read(path[0], family.path, sizeof family.path - 1) > 0);
    family.child_lives = lives[1];
    return family;
}

static enum fws_lock_state lock_of(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    const enum fws_lock_state lock = fws_lock_ask(fd);
    close(fd);
    return lock;
}

static void lock_is_free_although_a_child_lives(void)
{
    int status;
    struct family family = family_start();
    CHECK_EQUAL(lock_of(family.path), FWS_LOCK_HELD);
    CHECK(kill(family.parent, SIGKILL) == 0);
    CHECK(waitpid(family.parent, &status, 0) == family.parent);
    CHECK_EQUAL(lock_of(family.path), FWS_LOCK_FREE);
    CHECK(write(family.child_lives, "x", 1) == 1); /* the child is still there to be told */
}

static void child_has_no_descriptor_of_the_region(void)
{
    char link[64], target[512];
    parent_begin();
    const pid_t pid = fork();
    if (pid == 0) {
        for (int fd = 0; fd < 256; fd++) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            const ssize_t n = readlink(link, target, sizeof target - 1);
            target[n > 0 ? n : 0] = '\0';
            CHECK(strstr(target, case_dir) == NULL);
        }
        _exit(0);
    }
    wait_for(pid);
}

/* ---- standard streams -------------------------------------------------------------------------
 */

static void standard_streams_stay_free(void)
{
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    const struct fwdscope_options options = case_options();
    if (!fwdscope_open(&options))
        _exit(1);
    /* Whoever prints prints into nothing, not into the region. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
            _exit(2 + fd);
    int above = 0;
    char link[64], target[512];
    for (int fd = 3; fd < 256; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t n = readlink(link, target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strstr(target, case_dir) != NULL) {
            above++;
            if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0)
                _exit(6);
        }
    }
    _exit(above == 1 ? 0 : 7);
}

/* ---- forks and threads ------------------------------------------------------------------------
 */

static fws_word stop;

static void *writer(void *arg)
{
    (void)arg;
    while (fws_peek(&stop) == 0) {
        fwdscope_counter_add(the_counter, 1);
        fwdscope_log(FWDSCOPE_INFO, "line", 4);
        fwdscope_span_end(fwdscope_span_start("x", FWDSCOPE_SPAN_INTERNAL, 0), 0);
        (void)counter_named("c"); /* holds the registration's mutex now and then */
    }
    return NULL;
}

/* Children of a process whose other threads are inside the shim: inert, and free to open. */
static void forks_while_threads_write(void)
{
    pthread_t threads[4];
    case_open();
    the_counter = counter_named("c");
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, writer, NULL) == 0);
    for (int i = 0; i < 30; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            if (child_is_inert() != 0)
                _exit(1);
            case_open();
            if (counter_named("c").id == 0)
                _exit(2);
            fwdscope_close(FWDSCOPE_CLOSED, "");
            _exit(0);
        }
        wait_for(pid);
    }
    fws_put(&stop, 1);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(fwdscope_is_on());
}

int main(void)
{
    static const struct shim_case cases[] = {
        {"forked child is inert", forked_child_is_inert},
        {"child returns into a call", child_returns_into_a_call},
        {"cloned child is inert", cloned_child_is_inert},
        {"grandchild is inert", grandchild_is_inert},
        {"fork leaves errno alone", fork_leaves_errno_alone},
        {"child may open its own", child_may_open_its_own},
        {"lives of children do not run out", generations_of_children_do_not_run_out},
        {"lock is free although a child lives", lock_is_free_although_a_child_lives},
        {"child has no descriptor of the region", child_has_no_descriptor_of_the_region},
        {"standard streams stay free", standard_streams_stay_free},
        {"forks while threads write", forks_while_threads_write},
    };
    return shim_cases_run("shim_fork", cases, sizeof cases / sizeof *cases);
}
