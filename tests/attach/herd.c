/* SPDX-License-Identifier: Apache-2.0 */
/*
 * herd COUNT none | memfd | DIR: so many processes that do nothing; or that do nothing after each
 * opened a small region, as a memfd or in DIR. Prints their pids, one a line, and "ready" when all
 * are there; ends them, and itself, at the end of its standard input.
 */
#include "fwdscope.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0: the region is open, or none was asked for. */
static int region_open(unsigned long number, const char *where)
{
    char instance[32];
    if (strcmp(where, "none") == 0)
        return 0;
    snprintf(instance, sizeof instance, "herd-%03lu", number);
    const struct fwdscope_options options = {
        .service_name = "herd",
        .instance = instance,
        .directory = where,
        .sealed_memfd = strcmp(where, "memfd") == 0,
        .lanes = 2,
        .instruments = 16,
        .active_spans = 1,
        .log_ring_bytes = 64 << 10,
        .span_ring_bytes = 16 << 10,
    };
    if (fwdscope_open(&options))
        return 0;
    fprintf(stderr, "herd: %s: %s\n", instance, fwdscope_reason());
    return 1;
}

static void member_run(unsigned long number, const char *where, int ready)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it ends with the herd, however that ends */
    if (region_open(number, where) != 0 || write(ready, "r", 1) != 1)
        _exit(1);
    close(ready);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    int ready[2];
    char byte;
    const unsigned long count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    pid_t *pids = count > 0 ? calloc(count, sizeof *pids) : NULL;
    if (pids == NULL || pipe(ready) != 0)
        return 2;
    for (unsigned long i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            perror("herd: fork");
            return 1;
        }
        if (pids[i] == 0) {
            close(ready[0]);
            member_run(i, argv[2], ready[1]);
        }
    }
    close(ready[1]);
    for (unsigned long i = 0; i < count; i++) {
        if (read(ready[0], &byte, 1) != 1)
            return 1;
    }
    for (unsigned long i = 0; i < count; i++)
        printf("%d\n", (int)pids[i]);
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    for (unsigned long i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    free(pids);
    return 0;
}
