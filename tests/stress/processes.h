/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of the stress tests share: processes that end together, time, the two forms. */
#ifndef STRESS_PROCESSES_H
#define STRESS_PROCESSES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Says why on standard error and ends the process with 1. */
_Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *format, ...);

/* Whether FWDSCOPE_LONG=1 asks for the long form. */
bool is_long(void);

uint64_t clock_ns(int clock);

/* Zeroed memory that children made later share. */
void *memory_shared(size_t bytes);

/* Makes a directory on tmpfs that goes, with the files in it, when this process exits. */
const char *scratch_make(void);

/* Runs fn(arg) in a child, which ends with 0 when fn returns, and with this process at the latest.
 */
pid_t child_start(void (*fn)(void *arg), void *arg);
/* Awaits the child; fails unless it ended with 0. */
void child_end(pid_t pid);

/* Awaits a number of at least `least`; fails when a child of this process fails. */
void await(const atomic_int *number, int least);
/* Lets some time pass for the others; fails when a child of this process fails. */
void await_others(void);

#endif
