/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   unload LIBRARY DIR THREADS
 *
 * A host that loads the shim, lets threads use it, and unloads it while they still live: their exit
 * handlers and the fork handler must still be there.
 */
#include "fwdscope.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 64, LOADS = 5, ROUNDS = 100 };

static pthread_barrier_t written, unloaded;

/* The functions that the host looks up, with the types of the header. */
static struct {
    __typeof__(&fwdscope_open) open;
    __typeof__(&fwdscope_close) close;
    __typeof__(&fwdscope_log) log;
    __typeof__(&fwdscope_counter_register) counter_register;
    __typeof__(&fwdscope_counter_add) counter_add;
} shim;

static fwdscope_counter adds;

static void check(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "unload: %s\n", what);
    _exit(99);
}

static void look_up(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    check(found != NULL, name);
    memcpy(function, &found, sizeof found);
}

static void *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    check(library != NULL, "dlopen");
    look_up(library, "fwdscope_open", &shim.open);
    look_up(library, "fwdscope_close", &shim.close);
    look_up(library, "fwdscope_log", &shim.log);
    look_up(library, "fwdscope_counter_register", &shim.counter_register);
    look_up(library, "fwdscope_counter_add", &shim.counter_add);
    return library;
}

static void *user(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        shim.counter_add(adds, 1);
        shim.log(FWDSCOPE_INFO, "line", 4);
    }
    pthread_barrier_wait(&written);
    pthread_barrier_wait(&unloaded);
    return NULL; /* the lane is given back now */
}

/* One life of the shim in this process; every thread ends after the library was unloaded. */
static void life(const char *path, const char *dir, unsigned threads)
{
    const struct fwdscope_options options = {
        .service_name = "fork", .instance = "unload", .directory = dir};
    pthread_t running[THREADS_MAX];
    void *library = load(path);
    check(shim.open(&options), "open");
    adds = shim.counter_register(&(struct fwdscope_instrument){.name = "adds"});
    for (unsigned i = 0; i < threads; i++)
        check(pthread_create(&running[i], NULL, user, NULL) == 0, "no thread");
    pthread_barrier_wait(&written);
    shim.close(FWDSCOPE_CLOSED, "unloads");
    check(dlclose(library) == 0, "dlclose");
    const pid_t pid = fork(); /* its fork handler, too */
    if (pid == 0)
        _exit(0);
    int status;
    check(waitpid(pid, &status, 0) == pid && status == 0, "a child");
    pthread_barrier_wait(&unloaded);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
}

int main(int argc, char **argv)
{
    const unsigned threads = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
    check(threads > 0 && threads <= THREADS_MAX, "usage: unload LIBRARY DIR THREADS");
    alarm(300);
    pthread_barrier_init(&written, NULL, threads + 1);
    pthread_barrier_init(&unloaded, NULL, threads + 1);
    for (int i = 0; i < LOADS; i++)
        life(argv[1], argv[2], threads);
    printf("wrote %u\n", threads * ROUNDS);
    return 0;
}
