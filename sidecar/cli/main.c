/* SPDX-License-Identifier: Apache-2.0 */
/* fwdscope: which command. */
#include "cli.h"

#include "snapshot.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "fwdscope " FWDSCOPE_VERSION " - a window, from outside, into a running log forwarder\n"
    "\n"
    "usage: fwdscope COMMAND [OPTION...]\n"
    "\n"
    "  serve     watch regions; answer HTTP, stream OTLP JSON over WebSocket\n"
    "  dump      print what a region holds, also of a forwarder that is dead\n"
    "  inspect   print a region's header, sections, writer and losses\n"
    "  check     judge a forwarder by one look: a probe with an exit code\n"
    "  list      the regions of this host or pod, by directory and by process\n"
    "\n"
    "fwdscope COMMAND --help tells more; --version prints versions.\n";

int cli_usage_error(const char *command, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "fwdscope%s%s: ", command[0] != '\0' ? " " : "", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; try fwdscope %s%s--help\n", command, command[0] != '\0' ? " " : "");
    return EXIT_USAGE;
}

int cli_unknown_option(const char *command, char **argv)
{
    /* Of letters in a row, as in -xyz, getopt tells which; a long option it only passes by. */
    const char *last = argv[optind - 1];
    if (optopt > ' ' && strncmp(last, "--", 2) != 0)
        return cli_usage_error(command, "unknown option '-%c'", optopt);
    return cli_usage_error(command, "unknown option '%s'", last);
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"serve", serve_main},
                    {"dump", dump_main},
                    {"inspect", inspect_main},
                    {"check", check_main},
                    {"list", list_main}};

    if (argc < 2)
        return cli_usage_error("", "no command given");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        unsigned major, minor;
        region_layout(&major, &minor);
        printf("fwdscope " FWDSCOPE_VERSION " (region layout %u.%u, writes and reads %u.x)\n",
               major, minor, major);
        return EXIT_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    return cli_usage_error("", "unknown command '%s'", argv[1]);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of write() */
    const int code = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "fwdscope %s: cannot write the output: %s\n", argv[1], strerror(errno));
        return EXIT_RUNTIME;
    }
    return code;
}
