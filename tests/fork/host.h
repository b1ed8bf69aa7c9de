/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A forwarder that forks, starts threads, takes signals and ends in every way. Each scenario is one
 * command; it says in lines on standard output what it did and awaits lines on standard input where
 * a test has to look first. What a region must hold is known from what the host counted itself.
 */
#ifndef TESTS_FORK_HOST_H
#define TESTS_FORK_HOST_H

#include "fwdscope.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { HANG_S = 300, CHILD_HANG_S = 60, THREADS_MAX = 16 };

/* Ends the process with a word about what went wrong. */
_Noreturn void die(const char *what, const char *detail);

/* One line on standard output, in one write: children share it. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* Awaits a line on standard input; false at its end. */
bool await_line(char *out, size_t cap);
/* The same, byte by byte, of any descriptor. */
bool await_line_of(int fd, char *out, size_t cap);

/* Opens the shim, or dies, and registers what host_write() writes. lanes 0: the default. */
void host_open(const char *dir, const char *instance, uint32_t lanes);
/* One of each, `times` times: counter "adds" + 1, histogram "values", a log line, a span. */
void host_write(uint64_t times);

/* How often one of each was written. */
void say_wrote(uint64_t rounds);

/* Waits for a child, -1: any; its exit code, or -signal. */
int child_end(pid_t pid);

/* Memory that children share, zero. */
void *shared_memory(size_t bytes);

/* ---- threads that write until they are told to end ------------------------------------------- */

/* What a thread did: a round begun may be in the region in part, a round done is there whole. */
struct tally {
    _Alignas(128) _Atomic uint64_t begun; /* no two threads on a cache line */
    _Atomic uint64_t done;
};
/* In memory that survives the process; which tests read too, so this is its form in a file. */
struct tallies {
    struct tally threads[THREADS_MAX];
};

void tally_round(struct tally *tally); /* host_write(1), counted */
/* Starts threads that write rounds for ever, and awaits `rounds` of each. */
void writers_start(struct tallies *tallies, unsigned threads, uint64_t rounds);
void writers_stop(void); /* and joins them */
void tallies_sum(struct tallies *tallies, uint64_t *begun, uint64_t *done);
/* A file of struct tallies, mapped. */
struct tallies *tallies_map(const char *path);

/* ---- the scenarios --------------------------------------------------------------------------- */

/* Each gets the words behind its name; see the table in host.c. */
void run_prefork(char **words);
void run_daemon(char **words);
void run_storm(char **words);
void run_exec(char **words);
void run_idle(char **words);
void run_clone(char **words);
void run_shares(char **words);
void run_churn(char **words);
void run_exits(char **words);
void run_stacks(char **words);
void run_keys(char **words);
void run_timers(char **words);
void run_jumps(char **words);
void run_late(char **words);
void run_pauses(char **words);

#endif
