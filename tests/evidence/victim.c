/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forwarder that comes to a bad end: opens a region, does some work, and dies as it is told.
 *
 *   victim --dir DIR [--catch] [--capture] [--handler KIND] [--altstack] MODE [NUMBER...]
 *
 * Standard output says what a test needs to know: "on PATH", "thread TID", "address HEX".
 */
#include "fwdscope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

extern char **environ;
static char *page; /* may not be written */
static sigjmp_buf way_out;
static volatile sig_atomic_t recovered;

static void die(const char *what)
{
    dprintf(STDOUT_FILENO, "error %s: %s\n", what, strerror(errno));
    _exit(2);
}

/* ---- the forwarder's own handlers -------------------------------------------------------------
 */

/* One line of what a handler is given, by write() alone; the same with and without us. */
static void tell(int number, const siginfo_t *info)
{
    sigset_t mask;
    (void)sigprocmask(SIG_SETMASK, NULL, &mask);
    stack_t stack;
    (void)sigaltstack(NULL, &stack);
    dprintf(STDOUT_FILENO,
            "handler signal %d code %d page %d usr1-blocked %d self-blocked %d alt %d\n", number,
            info != NULL ? info->si_code : -1,
            info != NULL && info->si_code > 0 && (char *)info->si_addr == page,
            sigismember(&mask, SIGUSR1), sigismember(&mask, number), stack.ss_flags == SS_ONSTACK);
}

static void handler_dies(int number, siginfo_t *info, void *context)
{
    (void)context;
    tell(number, info);
    dprintf(STDERR_FILENO, "last words of the handler\n");
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void handler_plain(int number)
{
    tell(number, NULL);
}

static void handler_marks(int number, siginfo_t *info, void *context)
{
    (void)context;
    fwdscope_signal_mark(number, (uint64_t)(uintptr_t)info->si_addr, (uint64_t)syscall(SYS_gettid));
    (void)signal(number, SIG_DFL);
}

/* Meets a signal that another handler survives, and ends by the first all the same. */
static void handler_nests(int number)
{
    (void)raise(SIGTRAP);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void handler_recovers(int number, siginfo_t *info, void *context)
{
    (void)context;
    tell(number, info);
    recovered = 1;
    if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
        die("mprotect");
}

static void handler_jumps(int number)
{
    (void)number;
    fwdscope_signal_mark(0, FWDSCOPE_NO_ADDRESS, (uint64_t)syscall(SYS_gettid));
    siglongjmp(way_out, 1);
}

static void handlers_install(const char *kind)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGUSR1);
    action.sa_sigaction = handler_dies;
    if (strcmp(kind, "once") == 0) { /* the kernel takes it away before it runs */
        action.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
        action.sa_handler = handler_plain;
    } else if (strcmp(kind, "onstack") == 0) {
        action.sa_flags |= SA_ONSTACK;
    } else if (strcmp(kind, "marks") == 0) {
        action.sa_sigaction = handler_marks;
    } else if (strcmp(kind, "recovers") == 0) {
        action.sa_sigaction = handler_recovers;
    } else if (strcmp(kind, "jumps") == 0) {
        action.sa_flags = 0;
        action.sa_handler = handler_jumps;
    } else if (strcmp(kind, "ignored") == 0) {
        action.sa_handler = SIG_IGN;
    }
    if (strcmp(kind, "nests") == 0) {
        action.sa_flags = 0;
        action.sa_handler = handler_plain;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] == SIGABRT && strcmp(kind, "nests") == 0)
            action.sa_handler = handler_nests;
        if (sigaction(numbers[i], &action, NULL) != 0)
            die("sigaction");
        if (numbers[i] == SIGABRT && strcmp(kind, "nests") == 0)
            action.sa_handler = handler_plain;
    }
}

static void altstack_install(void)
{
    const stack_t stack = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};
    if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0)
        die("sigaltstack");
}

/* ---- ends -------------------------------------------------------------------------------------
 */

#define BARE __attribute__((noinline, no_sanitize("address", "undefined")))

static BARE void end_segv(void)
{
    *(volatile char *)page = 1;
}

static BARE void end_bus(void)
{
    char name[] = "/dev/shm/fwdscope-victim-XXXXXX";
    const int fd = mkstemp(name);
    if (fd < 0 || unlink(name) != 0 || ftruncate(fd, PAGE) != 0)
        die(name);
    volatile char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || ftruncate(fd, 0) != 0)
        die("mmap");
    dprintf(STDOUT_FILENO, "address %lx\n", (unsigned long)(uintptr_t)map);
    *map = 1;
}

static BARE void end_ill(void)
{
#ifdef __x86_64__
    __asm__ volatile("ud2");
#else
    (void)raise(SIGILL);
#endif
}

static BARE void end_fpe(void)
{
    volatile int zero = 0;
    zero = 7 / zero;
    (void)raise(SIGFPE); /* where a division by zero is none */
}

static BARE void end_trap(void)
{
#ifdef __x86_64__
    __asm__ volatile("int3");
#else
    (void)raise(SIGTRAP);
#endif
}

/* A system call that a filter turns into SIGSYS. */
static void end_sys(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof rules / sizeof *rules, .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        die("seccomp");
    (void)syscall(SYS_getsid, 0);
}

static BARE int overflow(int depth)
{
    volatile char room[PAGE];
    room[0] = (char)depth;
    return depth < 1 << 30 ? overflow(depth + 1) + room[0] : 0;
}

static void end_oom(void)
{
    for (;;) {
        char *more = malloc(1 << 20);
        if (more == NULL)
            abort(); /* as many forwarders do */
        memset(more, 1, 1 << 20);
    }
}

static void lines_write(unsigned long count)
{
    for (unsigned long i = 0; i < count; i++)
        dprintf(STDERR_FILENO, "line %lu of standard error\n", i);
}

/* Lines without end; how many went out stands in an instrument. */
static void lines_for_ever(unsigned long pause_us)
{
    const fwdscope_total total = fwdscope_total_register(
        &(struct fwdscope_instrument){.name = "victim.lines", .unit = "{line}"});
    for (unsigned long i = 0;; i++) {
        dprintf(STDERR_FILENO, "line %lu of standard error\n", i);
        fwdscope_total_set(total, i + 1);
        if (i == 10)
            dprintf(STDOUT_FILENO, "writing\n");
        if (pause_us > 0)
            usleep((useconds_t)pause_us);
    }
}

static void *mixed_thread(void *arg)
{
    const unsigned thread = *(const unsigned *)arg;
    char line[4096];
    for (unsigned i = 0; i < 3000; i++) {
        const int n = snprintf(line, sizeof line, "t%u n%u %.*s\n", thread, i, (int)(i * 7 % 300),
                               "..........................................");
        if (write(STDERR_FILENO, line, (size_t)n) != n)
            die("write");
    }
    return NULL;
}

/* Four threads, lines of all lengths. */
static void lines_mixed(void)
{
    pthread_t threads[4];
    unsigned numbers[4];
    for (unsigned i = 0; i < 4; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, mixed_thread, &numbers[i]) != 0)
            die("pthread_create");
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* Every byte value, lines of any length, a last one without an end. */
static void bytes_write(unsigned long count)
{
    static char bytes[200000];
    unsigned long state = 1;
    for (unsigned long i = 0; i < count; i++) {
        const size_t length = i % 5 == 0 ? sizeof bytes : 700;
        for (size_t b = 0; b < length; b++) {
            state = state * 6364136223846793005ul + 1442695040888963407ul;
            bytes[b] = (char)(state >> 56);
        }
        for (size_t at = 0; at < length;) {
            const ssize_t n = write(STDERR_FILENO, bytes + at, length - at);
            if (n < 0)
                die("write");
            at += (size_t)n;
        }
    }
}

/* Children: made by fork() they write to the original, by posix_spawn() into the pipe. */
static void children_write(void)
{
    char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"echo from a spawned child >&2",
                               NULL};
    pid_t child = fork();
    if (child == 0) {
        dprintf(STDERR_FILENO, "from a forked child\n");
        exit(0);
    }
    (void)waitpid(child, NULL, 0);
    if (posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) != 0)
        die("posix_spawn");
    (void)waitpid(child, NULL, 0);
}

static bool is_pipe(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Whether a thread of this process sleeps in the kernel. */
static bool thread_sleeps(const char *tid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%.16s/stat", tid);
    FILE *file = fopen(path, "re");
    const size_t n = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'S';
}

/* Waits until every other thread sleeps: the one that empties the pipe then waits for it. */
static void threads_await_sleep(void)
{
    for (bool awake = true; awake;) {
        DIR *tasks = opendir("/proc/self/task");
        const struct dirent *task;
        if (tasks == NULL)
            die("/proc/self/task");
        awake = false;
        while ((task = readdir(tasks)) != NULL) {
            if (task->d_name[0] != '.' && atoi(task->d_name) != gettid())
                awake = awake || !thread_sleeps(task->d_name);
        }
        closedir(tasks);
    }
}

/* A host that closes what it does not know: whether it can go on writing to standard error. */
static void descriptors_lose(void)
{
    threads_await_sleep();
    closefrom(STDERR_FILENO + 1);
    dprintf(STDERR_FILENO, "wakes the thread\n");
    while (is_pipe(STDERR_FILENO))
        usleep(1000);
    dprintf(STDERR_FILENO, "into nothing\n");
}

/* Standard output made the same as a captured standard error: a child has the original of both. */
static void outputs_join(void)
{
    int status = -1;
    if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        die("dup2");
    const pid_t child = fork();
    if (child == 0) {
        dprintf(STDOUT_FILENO, "from a forked child\n");
        _exit(is_pipe(STDOUT_FILENO) || is_pipe(STDERR_FILENO));
    }
    (void)waitpid(child, &status, 0);
    fwdscope_stderr_release();
    dprintf(STDOUT_FILENO, "released\n");
    exit(status != 0 || is_pipe(STDOUT_FILENO) || is_pipe(STDERR_FILENO));
}

/* Captured once more, while a child that outlives the first capture has its pipe. */
static void capture_again(void)
{
    char *const arguments[] = {(char *)"cat", NULL};
    pid_t child;
    if (posix_spawn(&child, "/bin/cat", NULL, NULL, arguments, environ) != 0)
        die("posix_spawn");
    fwdscope_stderr_release();
    dprintf(STDOUT_FILENO, "again %d pipe %d\n", fwdscope_stderr_capture(), is_pipe(STDERR_FILENO));
}

/* ---- main -------------------------------------------------------------------------------------
 */

static void work(void)
{
    const fwdscope_pipeline pipeline = fwdscope_pipeline_register("default", 0);
    const fwdscope_component input = fwdscope_input_register(pipeline, "app.log", "file", 0);
    const fwdscope_component output = fwdscope_output_register(pipeline, "collector", "tcp", 0);
    fwdscope_component_health(input, FWDSCOPE_HEALTHY);
    fwdscope_component_progress(input, 300, 30000);
    fwdscope_component_queue(output, 7, 8);
    const fwdscope_span span = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
    fwdscope_span_stage(span, "output");
    fwdscope_log(FWDSCOPE_WARN, "the collector does not answer", 29);
}

static void run(const char *mode, unsigned long number)
{
    static const struct {
        const char *name;
        void (*end)(void);
    } ends[] = {{"segv", end_segv},         {"bus", end_bus},
                {"ill", end_ill},           {"fpe", end_fpe},
                {"trap", end_trap},         {"abort", abort},
                {"sys", end_sys},           {"oom", end_oom},
                {"mixed", lines_mixed},     {"children", children_write},
                {"lose", descriptors_lose}, {"join", outputs_join},
                {"again", capture_again}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (strcmp(mode, ends[i].name) == 0)
            ends[i].end();
    }
    if (strcmp(mode, "overflow") == 0)
        exit(overflow(0));
    if (strcmp(mode, "raise") == 0)
        (void)raise((int)number);
    if (strcmp(mode, "lines") == 0)
        lines_write(number);
    if (strcmp(mode, "lines-abort") == 0) {
        lines_write(number);
        dprintf(STDERR_FILENO, "no end");
        abort();
    }
    if (strcmp(mode, "lines-segv") == 0) {
        lines_write(number);
        end_segv();
    }
    if (strcmp(mode, "lines-exec") == 0) {
        lines_write(number);
        fwdscope_stderr_release();
        execl("/bin/sh", "sh", "-c", "echo after exec >&2", (char *)NULL);
    }
    if (strcmp(mode, "lines-flush") == 0) {
        lines_write(number);
        dprintf(STDOUT_FILENO, "flushed %d\n", fwdscope_stderr_flush(200));
        _exit(0);
    }
    if (strcmp(mode, "for-ever") == 0)
        lines_for_ever(number);
    if (strcmp(mode, "bytes") == 0)
        bytes_write(number);
    if (strcmp(mode, "wait") == 0)
        (void)getchar();
    if (strcmp(mode, "flags") == 0)
        dprintf(STDOUT_FILENO, "nonblock %d cloexec %d\n",
                (fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) != 0,
                (fcntl(STDERR_FILENO, F_GETFD) & FD_CLOEXEC) != 0);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'}, {"catch", no_argument, NULL, 'c'},
        {"capture", no_argument, NULL, 's'},   {"handler", required_argument, NULL, 'h'},
        {"altstack", no_argument, NULL, 'a'},  {NULL, 0, NULL, 0}};
    struct fwdscope_options region = {.service_name = "victim"};
    bool catch = false, capture = false;
    const char *handler = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'd')
            region.directory = optarg;
        else if (option == 'c')
            catch = true;
        else if (option == 's')
            capture = true;
        else if (option == 'h')
            handler = optarg;
        else if (option == 'a')
            altstack_install();
        else
            return 2;
    }
    page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || optind == argc)
        die("arguments");
    if (!fwdscope_open(&region))
        die(fwdscope_reason());
    work();
    if (handler != NULL)
        handlers_install(handler);
    if (catch && !fwdscope_fatal_signals_catch())
        die("not caught");
    if (capture && !fwdscope_stderr_capture())
        die("not captured");
    dprintf(STDOUT_FILENO, "on %s\nthread %ld\npage %lx\n", fwdscope_path(),
            (long)syscall(SYS_gettid), (unsigned long)(uintptr_t)page);
    if (sigsetjmp(way_out, 1) == 0)
        run(argv[optind], optind + 1 < argc ? strtoul(argv[optind + 1], NULL, 0) : 0);
    fwdscope_close(FWDSCOPE_CLOSED, recovered ? "recovered" : "done");
    return 0;
}
