/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of fwdscope, each a main() of its own, and the exit codes that they share. */
#ifndef SIDECAR_CLI_H
#define SIDECAR_CLI_H

enum exit_code {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1, /* the system said no: port in use, no memory */
    EXIT_USAGE = 2,
    EXIT_ABSENT = 3,     /* dump, inspect: no such region */
    EXIT_UNREADABLE = 4, /* dump, inspect: permission, another version, corrupt */
};

/* argv[0] is the command's name. */
int serve_main(int argc, char **argv);
int dump_main(int argc, char **argv);
int inspect_main(int argc, char **argv);

/* One line on stderr, "fwdscope COMMAND: ...; try --help", and EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_usage_error(const char *command, const char *format,
                                                          ...);

/* The same for an option that getopt_long() just refused. */
int cli_unknown_option(const char *command, char **argv);

/* Text of a region on standard output: control characters become '?'. */
void cli_print_safe(const char *text);

#endif
