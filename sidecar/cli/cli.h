/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of fwdscope, each a main() of its own, and the exit codes that they share. */
#ifndef SIDECAR_CLI_H
#define SIDECAR_CLI_H

#include "snapshot.h"

#include <sys/types.h>

enum exit_code {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1, /* the system said no: port in use, no memory */
    EXIT_USAGE = 2,
    EXIT_ABSENT = 3,     /* dump, inspect, check: no such region, process, or region of it */
    EXIT_UNREADABLE = 4, /* dump, inspect, check: permission, another version, corrupt */
    EXIT_UNHEALTHY = 5,  /* check: attached, but not well */
};

/* argv[0] is the command's name. */
int serve_main(int argc, char **argv);
int dump_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int list_main(int argc, char **argv);
int check_main(int argc, char **argv);

/* One line on stderr, "fwdscope COMMAND: ...; try --help", and EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage_error(const char *command, const char *format,
                                                          ...);

/* The same for an option that getopt_long() just refused. */
int cli_unknown_option(const char *command, char **argv);

enum { CLI_PATH_BYTES = 4096 };

/*
 * The region that a one-shot command is about, into path: its only operand, or the region that the
 * process `pid` (text; NULL: no --pid was given) writes. EXIT_OK, or what to exit with: why was
 * said in one line on stderr.
 */
int cli_choose_region(const char *command, const char *pid, int count, char *const *operands,
                      char *path, size_t cap);

/* The number of a process. */
bool cli_parse_pid(const char *text, pid_t *out);

/* What a command exits with when it could not attach. */
int cli_exit_of(enum attach_result result);

/* The directory that a shim with the same environment and uid would choose; it may be another's to
 * write, so that is not asked. Static. */
const char *cli_default_directory(void);

/* Text of a region on standard output: control characters become '?'. */
void cli_print_safe(const char *text);

#endif
