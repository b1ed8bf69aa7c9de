/* SPDX-License-Identifier: Apache-2.0 */
/* The host's table of scenarios, and what they share. */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void die(const char *what, const char *detail)
{
    fprintf(stderr, "host: %s: %s\n", what, detail);
    _exit(99);
}

void say(const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t)n >= sizeof line - 1)
        die("a line is too long", format);
    line[n] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)n + 1) != n + 1)
        die("standard output", strerror(errno));
}

bool await_line_of(int fd, char *out, size_t cap)
{
    for (size_t n = 0; n < cap; n++) {
        ssize_t got;
        do {
            got = read(fd, &out[n], 1);
        } while (got < 0 && errno == EINTR);
        if (got != 1)
            return false;
        if (out[n] == '\n') {
            out[n] = '\0';
            return true;
        }
    }
    die("a command is too long", "");
}

bool await_line(char *out, size_t cap)
{
    return await_line_of(STDIN_FILENO, out, cap);
}

/* ---- writing --------------------------------------------------------------------------------- */

static fwdscope_counter adds;
static fwdscope_histogram values;

void host_open(const char *dir, const char *instance, uint32_t lanes)
{
    static const double bounds[] = {1, 2, 4};
    const struct fwdscope_options options = {
        .service_name = "fork", .instance = instance, .directory = dir, .lanes = lanes};
    if (!fwdscope_open(&options))
        die("the shim does not open", fwdscope_reason());
    adds = fwdscope_counter_register(&(struct fwdscope_instrument){.name = "adds"});
    values =
        fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "values"}, bounds, 3);
    if (adds.id == 0 || values.id == 0)
        die("registration", "refused");
}

void host_write(uint64_t times)
{
    for (uint64_t i = 0; i < times; i++) {
        fwdscope_counter_add(adds, 1);
        fwdscope_histogram_record(values, 1);
        fwdscope_log(FWDSCOPE_INFO, "line", 4);
        fwdscope_span_end(fwdscope_span_start("span", FWDSCOPE_SPAN_INTERNAL, 0), 0);
    }
}

void say_wrote(uint64_t rounds)
{
    say("wrote %llu", (unsigned long long)rounds);
}

int child_end(pid_t pid)
{
    int status;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0 || (pid > 0 && got != pid))
        die("a child", strerror(errno));
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void *shared_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("no memory", strerror(errno));
    return memory;
}

/* ---- threads that write ---------------------------------------------------------------------- */

static pthread_t writers[THREADS_MAX];
static unsigned writer_count;
static _Atomic bool writers_end;

void tally_round(struct tally *tally)
{
    atomic_fetch_add(&tally->begun, 1);
    host_write(1);
    atomic_fetch_add(&tally->done, 1);
}

static void *writer(void *arg)
{
    while (!atomic_load(&writers_end))
        tally_round(arg);
    return NULL;
}

void writers_start(struct tallies *tallies, unsigned threads, uint64_t rounds)
{
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&writers[i], NULL, writer, &tallies->threads[i]) != 0)
            die("no thread", "");
    writer_count = threads;
    for (unsigned i = 0; i < threads; i++)
        while (atomic_load(&tallies->threads[i].done) < rounds)
            sched_yield();
}

void writers_stop(void)
{
    atomic_store(&writers_end, true);
    for (unsigned i = 0; i < writer_count; i++)
        pthread_join(writers[i], NULL);
}

void tallies_sum(struct tallies *tallies, uint64_t *begun, uint64_t *done)
{
    *begun = *done = 0;
    for (int i = 0; i < THREADS_MAX; i++) {
        *begun += atomic_load(&tallies->threads[i].begun);
        *done += atomic_load(&tallies->threads[i].done);
    }
}

struct tallies *tallies_map(const char *path)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct tallies)) != 0)
        die(path, strerror(errno));
    void *map = mmap(NULL, sizeof(struct tallies), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        die(path, strerror(errno));
    close(fd);
    return map;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*run)(char **words);
    int words;
} scenarios[] = {
    {"prefork", run_prefork, 2}, /* DIR, WORKERS */
    {"daemon", run_daemon, 2},   /* DIR, HOW */
    {"storm", run_storm, 4},     /* DIR, DIR of children, FORKS, THREADS */
    {"exec", run_exec, 2},       /* DIR, HOW */
    {"idle", run_idle, 0},       /* what exec becomes */
    {"clone", run_clone, 2},     /* DIR, open | inert */
    {"shares", run_shares, 1},   /* DIR */
    {"churn", run_churn, 3},     /* DIR, WAVES, threads a wave */
    {"exits", run_exits, 3},     /* DIR, HOW, file of tallies */
    {"stacks", run_stacks, 1},   /* DIR */
    {"keys", run_keys, 1},       /* DIR */
    {"timers", run_timers, 3},   /* DIR, THREADS, HANDLERS */
    {"jumps", run_jumps, 3},     /* DIR, JUMPS, file of tallies */
    {"late", run_late, 2},       /* DIR, THREADS */
    {"pauses", run_pauses, 2},   /* DIR, file of tallies */
};

int main(int argc, char **argv)
{
    alarm(HANG_S);
    for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name) == 0 && argc == 2 + scenarios[i].words) {
            scenarios[i].run(argv + 2);
            return 0;
        }
    }
    die("usage", "see the table in host.c");
}
