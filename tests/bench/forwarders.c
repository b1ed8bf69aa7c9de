/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forwarders --dir DIR [--count N] [--instruments N] [--attributes N] [--lanes N] [--threads N]
 *            [--lines N] [--spans N]: N processes, each with a region in DIR of so many counters.
 *
 * Threads take a lane each and keep it. Every 100 ms they add to each counter; every 10 ms each
 * writes its share of so many log lines and spans a second (100 bytes; 6 attributes). Prints
 * "ready"; a line on its standard input stops all that of the first process, and is answered with
 * the "LINES SPANS" that it wrote. Everything ends at the end of the input.
 */
#include "fwdscope.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 64,
    ATTRIBUTES_MAX = 8,
    LINE_BYTES = 100,
    TURN_MS = 10,
    TURNS_A_SECOND = 100,
    TURNS_A_COUNT = 10,
};

static struct {
    const char *dir;
    unsigned long count, instruments, attributes, lanes, threads, lines, spans;
} wanted = {.count = 1, .instruments = 10, .attributes = 3, .lanes = 2, .threads = 1};

static fwdscope_counter *counters;
static atomic_ulong lines_written, spans_written;
static atomic_bool stopping;
static pthread_t threads[THREADS_MAX];

/* ---- one process ------------------------------------------------------------------------------
 */

static void counters_register(void)
{
    static const char *const values[ATTRIBUTES_MAX] = {"main", "journal", "parse", "eu-west",
                                                       "blue", "stable",  "batch", "v1"};
    static const char *const keys[ATTRIBUTES_MAX] = {"pipeline", "source",  "stage", "zone",
                                                     "colour",   "channel", "mode",  "schema"};
    struct fwdscope_attribute attributes[ATTRIBUTES_MAX];
    for (unsigned long i = 0; i < wanted.attributes; i++) {
        attributes[i] = fwdscope_string(keys[i], values[i]);
    }
    for (unsigned long i = 0; i < wanted.instruments; i++) {
        char name[48];
        snprintf(name, sizeof name, "bench.lines.%lu", i);
        counters[i] = fwdscope_counter_register(
            &(struct fwdscope_instrument){.name = name,
                                          .unit = "{line}",
                                          .attributes = attributes,
                                          .attribute_count = wanted.attributes});
    }
}

static void lines_write(unsigned long count)
{
    char line[LINE_BYTES];
    memset(line, '.', sizeof line);
    for (unsigned long i = 0; i < count; i++) {
        fwdscope_log(FWDSCOPE_INFO, line, sizeof line);
    }
    atomic_fetch_add(&lines_written, count);
}

static void spans_write(unsigned long count)
{
    const struct fwdscope_attribute attributes[] = {
        fwdscope_string("pipeline", "main"), fwdscope_string("input", "journal"),
        fwdscope_string("output", "otlp"),   fwdscope_int("rows", 500),
        fwdscope_int("bytes", 65536),        fwdscope_double("ratio", 0.25)};
    for (unsigned long i = 0; i < count; i++) {
        const fwdscope_span span = fwdscope_span_start("batch", FWDSCOPE_SPAN_INTERNAL, 0);
        fwdscope_span_set(span, attributes, sizeof attributes / sizeof *attributes);
        fwdscope_span_end(span, 0);
    }
    atomic_fetch_add(&spans_written, count);
}

/* What one thread writes in one of the turns of a second: shares add up exactly. */
static unsigned long share(unsigned long a_second, unsigned long turn, unsigned long thread)
{
    const unsigned long parts = TURNS_A_SECOND * wanted.threads;
    const unsigned long part = turn % TURNS_A_SECOND * wanted.threads + thread;
    return a_second * (part + 1) / parts - a_second * part / parts;
}

static void *thread_run(void *arg)
{
    const unsigned long thread = (unsigned long)(size_t)arg;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    /* Without records there is nothing to do in between. */
    const unsigned long step = wanted.lines + wanted.spans > 0 ? 1 : TURNS_A_COUNT;
    for (unsigned long turn = 0; !atomic_load(&stopping); turn += step) {
        fwdscope_heartbeat();
        for (unsigned long i = 0; i < wanted.instruments && turn % TURNS_A_COUNT == 0; i++) {
            fwdscope_counter_add(counters[i], 1 + i % 7);
        }
        lines_write(share(wanted.lines, turn, thread));
        spans_write(share(wanted.spans, turn, thread));
        next.tv_nsec += (long)step * TURN_MS * 1000000;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    return NULL;
}

static int region_open(unsigned long number)
{
    char instance[32];
    snprintf(instance, sizeof instance, "bench-%03lu", number);
    const struct fwdscope_options options = {
        .service_name = "bench",
        .instance = instance,
        .directory = wanted.dir,
        .lanes = (uint32_t)wanted.lanes,
        .instruments = wanted.instruments < 16 ? 16 : (uint32_t)wanted.instruments,
        .allow_disk = true,
    };
    counters = calloc(wanted.instruments + 1, sizeof *counters);
    if (counters == NULL || !fwdscope_open(&options)) {
        fprintf(stderr, "forwarders: %s\n", counters != NULL ? fwdscope_reason() : "no memory");
        return 1;
    }
    counters_register();
    for (unsigned long i = 0; i < wanted.threads; i++) {
        if (pthread_create(&threads[i], NULL, thread_run, (void *)(size_t)i) != 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- all of them ------------------------------------------------------------------------------
 */

/* The others: they end with the first, however that ends. */
static int others_start(void)
{
    int ready[2];
    char byte;
    if (pipe(ready) != 0) {
        return 1;
    }
    for (unsigned long i = 1; i < wanted.count; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (region_open(i) != 0 || write(ready[1], "r", 1) != 1) {
                _exit(1);
            }
            for (;;) {
                pause();
            }
        }
        if (pid < 0 || read(ready[0], &byte, 1) != 1) {
            return 1;
        }
    }
    return 0;
}

static unsigned long number_of(const char *text)
{
    return strtoul(text, NULL, 10);
}

static int options_parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", 1, NULL, 'd'},        {"count", 1, NULL, 'c'}, {"instruments", 1, NULL, 'i'},
        {"attributes", 1, NULL, 'a'}, {"lanes", 1, NULL, 'l'}, {"threads", 1, NULL, 't'},
        {"lines", 1, NULL, 'n'},      {"spans", 1, NULL, 's'}, {0}};
    unsigned long *const numbers[] = {
        ['c'] = &wanted.count, ['i'] = &wanted.instruments, ['a'] = &wanted.attributes,
        ['l'] = &wanted.lanes, ['t'] = &wanted.threads,     ['n'] = &wanted.lines,
        ['s'] = &wanted.spans};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?') {
            return 2;
        }
        if (option == 'd') {
            wanted.dir = optarg;
        } else {
            *numbers[option] = number_of(optarg);
        }
    }
    return wanted.dir != NULL && wanted.threads <= THREADS_MAX &&
                   wanted.attributes <= ATTRIBUTES_MAX
               ? 0
               : 2;
}

int main(int argc, char **argv)
{
    char line[64];
    if (options_parse(argc, argv) != 0 || others_start() != 0 || region_open(0) != 0) {
        return 2;
    }
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, line, sizeof line) > 0) {
        atomic_store(&stopping, true);
        for (unsigned long i = 0; i < wanted.threads; i++) {
            pthread_join(threads[i], NULL);
        }
        wanted.threads = 0;
        printf("%lu %lu\n", atomic_load(&lines_written), atomic_load(&spans_written));
        fflush(stdout);
    }
    return 0;
}
