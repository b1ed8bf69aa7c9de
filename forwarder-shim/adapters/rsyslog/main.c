/* SPDX-License-Identifier: Apache-2.0 */
/* fwdscope-rsyslog: attaches a stock rsyslog by configuration only. Arguments. */
#include "modes.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: fwdscope-rsyslog stats [--dir DIR] [--service NAME] [--instance NAME]\n"
    "                              [--interval SECONDS] [--capacity QUEUE=N]... [--batches]\n"
    "       fwdscope-rsyslog log   [--dir DIR]\n"
    "       fwdscope-rsyslog ship  [--dir DIR] [--name ACTION] FILE\n"
    "\n"
    "Started by rsyslog's omprog: see fwdscope-rsyslog.conf and the README beside it.\n"
    "\n"
    "  stats                 impstats (JSON) on standard input; owns the region\n"
    "  log                   rsyslog's own messages on standard input\n"
    "  ship                  an output: appends lines to FILE, a transaction at a time\n"
    "  --dir DIR             of regions (default $FWDSCOPE_DIR, /run/fwdscope, /dev/shm/...)\n"
    "  --service NAME        service.name (default rsyslog)\n"
    "  --instance NAME       tells several rsyslogd of a host apart (default: the service)\n"
    "  --interval SECONDS    that of impstats; without it a hang is not told from idleness\n"
    "  --capacity QUEUE=N    size of a queue: of an action, a ruleset, or \"main Q\"\n"
    "  --batches             a ship action is configured: batches are counted\n"
    "  --name ACTION         what the batches of this output are called (default: the file)\n";

static int usage(const char *what, const char *word)
{
    fprintf(stderr, "fwdscope-rsyslog: %s%s%s; try --help\n", what, word != NULL ? " " : "",
            word != NULL ? word : "");
    return 2;
}

/* QUEUE=N; names of queues may hold anything, so the last = counts. */
static bool capacity_read(struct options *options, const char *text)
{
    const char *equals = strrchr(text, '=');
    char *end;
    if (equals == NULL || equals == text || options->capacity_count == CAPACITIES_MAX)
        return false;
    struct capacity *capacity = &options->capacities[options->capacity_count];
    const size_t bytes = (size_t)(equals - text);
    if (bytes >= sizeof capacity->queue || equals[1] < '0' || equals[1] > '9')
        return false;
    errno = 0;
    capacity->items = strtoull(equals + 1, &end, 10);
    if (errno != 0 || *end != '\0' || capacity->items == 0)
        return false;
    memcpy(capacity->queue, text, bytes);
    capacity->queue[bytes] = '\0';
    options->capacity_count++;
    return true;
}

static bool interval_read(struct options *options, const char *text)
{
    char *end;
    options->interval_s = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(options->interval_s) &&
           options->interval_s >= 0.1 && options->interval_s <= 86400;
}

/* False: a word was wrong, and *what says so. */
static bool options_read(struct options *options, int argc, char **argv, const char **what)
{
    static const struct option known[] = {
        {"dir", required_argument, NULL, 'd'},      {"service", required_argument, NULL, 's'},
        {"instance", required_argument, NULL, 'i'}, {"interval", required_argument, NULL, 't'},
        {"capacity", required_argument, NULL, 'c'}, {"batches", no_argument, NULL, 'b'},
        {"name", required_argument, NULL, 'n'},     {NULL, 0, NULL, 0},
    };
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        *what = "wrong option";
        if (c == 'd')
            options->dir = optarg;
        else if (c == 's')
            options->service = optarg;
        else if (c == 'i')
            options->instance = optarg;
        else if (c == 'n')
            options->name = optarg;
        else if (c == 'b')
            options->batches = true;
        else if (c == '?' || (c == 't' && !interval_read(options, optarg)) ||
                 (c == 'c' && !capacity_read(options, optarg)))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct options options = {.service = "rsyslog"};
    const char *what = "";
    if (argc < 2)
        return usage("which of stats, log, ship?", NULL);
    if (strcmp(argv[1], "--help") == 0) {
        fputs(help, stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("fwdscope-rsyslog " FWDSCOPE_VERSION);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a full file is an error of write() */
    if (!options_read(&options, argc - 1, argv + 1, &what))
        return usage(what, argv[optind < argc - 1 ? optind : argc - 1]);
    const int words = argc - 1 - optind;
    char *const *rest = argv + 1 + optind;
    if (strcmp(argv[1], "ship") == 0) {
        if (words != 1)
            return usage("ship takes one FILE", NULL);
        options.file = rest[0];
        return mode_ship(&options);
    }
    if (words != 0)
        return usage("what is", rest[0]);
    if (strcmp(argv[1], "stats") == 0)
        return mode_stats(&options);
    if (strcmp(argv[1], "log") == 0)
        return mode_log(&options);
    return usage("unknown mode", argv[1]);
}
