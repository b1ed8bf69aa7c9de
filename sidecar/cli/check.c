/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fwdscope check: one look, one line, one exit code; a probe for Kubernetes exec, systemd and cron.
 *
 * What one look can know: whether the writer holds its lock, what it says of itself, and how old
 * its newest record is. That it hangs takes two looks at its heartbeat: --max-age asks for a sign
 * of life and waits for it.
 */
#include "cli.h"

#include "policy.h"
#include "sampler.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "usage: fwdscope check [--ready] [--max-age TIME] FILE | --dir DIR | --pid N\n"
    "\n"
    "Looks once and prints one line: a probe. Of a directory ($FWDSCOPE_DIR when neither is "
    "given)\n"
    "it judges the worst of the current forwarders; previous lives do not count.\n"
    "\n"
    "Healthy is a forwarder that holds its lock and has not closed its region.\n"
    "  --ready          and whose components are healthy or degraded, as GET /ready; what takes\n"
    "                   time to see, such as an output that delivers nothing, only `serve` sees\n"
    "  --max-age TIME   and that gave a sign of life (heartbeat, record, batch) no longer than "
    "TIME\n"
    "                   ago: 100ms to 1h. Without a recent record it watches the heartbeat until "
    "it\n"
    "                   moves, for TIME at most: give the probe a longer timeout\n"
    "  --pid N          the region that process N writes, wherever it is; as its user or root\n"
    "  --help\n"
    "\n"
    "exit: 0 healthy, 1 runtime, 2 usage, 3 no region, 4 unreadable, incompatible or corrupt,\n"
    "      5 attached but not healthy\n";

enum { SETTLE_TICKS_MAX = 64, LOOK_MS = 20 };

#define SECOND_NS UINT64_C(1000000000)

struct check_options {
    struct fleet_target target;
    bool ready;
    uint64_t max_age_ns; /* 0: not asked for */
};

static uint64_t clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* ---- signs of life --------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The newest time that the forwarder itself wrote down. */
static uint64_t newest_sign(const struct life *life)
{
    const struct snapshot *snapshot = life->snapshot;
    uint64_t newest = later(life->identity->created_unix_ns, life->last_record_unix_ns);
    for (size_t p = 0; p < snapshot->pipeline_count; p++) {
        const struct pipeline *pipeline = &snapshot->pipelines[p];
        newest = later(newest, pipeline->last_batch_unix_ns);
        for (size_t c = 0; c < pipeline->component_count; c++)
            newest = later(newest, pipeline->components[c].last_success_unix_ns);
    }
    return newest;
}

/* How long ago that was; a time that has not come yet is none. */
static bool sign_age(const struct life *life, uint64_t *age_ns)
{
    const uint64_t now = clock_read(CLOCK_REALTIME), sign = newest_sign(life);
    *age_ns = now - sign;
    return sign != 0 && sign <= now;
}

static bool has_sign(const struct life *life, uint64_t max_age_ns, uint64_t since_mono_ns)
{
    uint64_t age_ns;
    return life->heartbeat_mono_ns > since_mono_ns ||
           (sign_age(life, &age_ns) && age_ns <= max_age_ns);
}

/* The current forwarder that gave no sign of life within max_age_ns, NULL when all did. Looks again
 * and again until then. */
static const struct life *silent_one(struct sampler *sampler, uint64_t max_age_ns)
{
    const struct fleet *fleet = &sampler->fleet;
    const uint64_t began = clock_read(CLOCK_MONOTONIC);
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    for (;;) {
        const struct life *silent = NULL;
        for (size_t i = 0; i < fleet->current_count && silent == NULL; i++) {
            if (!has_sign(fleet->current[i], max_age_ns, began))
                silent = fleet->current[i];
        }
        if (silent == NULL || clock_read(CLOCK_MONOTONIC) - began >= max_age_ns)
            return silent;
        nanosleep(&pause, NULL);
        sampler_tick(sampler);
    }
}

/* ---- the line -------------------------------------------------------------------------------- */

static void print_life(const char *verdict, const struct life *life)
{
    printf("%s: ", verdict);
    cli_print_safe(life->identity->instance);
    printf(" (pid %llu, generation %llu): ", (unsigned long long)life->identity->pid,
           (unsigned long long)life->identity->generation);
}

static int say_unhealthy(const struct life *life, const char *why)
{
    print_life("unhealthy", life);
    cli_print_safe(why);
    putchar('\n');
    return EXIT_UNHEALTHY;
}

static int say_healthy(const struct sampler *sampler)
{
    const struct fleet *fleet = &sampler->fleet;
    uint64_t age_ns;
    print_life("healthy", fleet->current[0]);
    printf("holds its lock, components %s",
           health_name(policy_worst_health(fleet->views, fleet->current_count, NULL)));
    if (sign_age(fleet->current[0], &age_ns))
        printf(", newest record or batch %.1f s ago", (double)age_ns / 1e9);
    if (fleet->current_count > 1)
        printf("; %zu forwarders in all", fleet->current_count);
    if (fleet->trouble_reason[0] != '\0') {
        fputs("; not attached: ", stdout);
        cli_print_safe(fleet->trouble_reason);
    }
    putchar('\n');
    return EXIT_OK;
}

static int say_nothing_attached(const struct fleet *fleet)
{
    const bool there = fleet->trouble_reason[0] != '\0';
    fputs(there ? "unreadable: " : "absent: no region at ", stdout);
    cli_print_safe(there                       ? fleet->trouble_reason
                   : fleet->target.dir != NULL ? fleet->target.dir
                                               : fleet->target.file);
    putchar('\n');
    return there ? EXIT_UNREADABLE : EXIT_ABSENT;
}

/* ---- judging --------------------------------------------------------------------------------- */

static int judge_states(const struct fleet *fleet)
{
    const struct forwarder_liveness worst =
        policy_forwarder_liveness(fleet->views, fleet->current_count);
    for (size_t i = 0; i < fleet->current_count; i++) {
        const struct life *life = fleet->current[i];
        if (life->snapshot->truncated) {
            print_life("unreadable", life);
            puts("its file was cut short");
            return EXIT_UNREADABLE;
        }
    }
    for (size_t i = 0; i < fleet->current_count; i++) {
        const struct life *life = fleet->current[i];
        if (life->verdict.reason == worst.reason && life->verdict.state != WRITER_ALIVE) {
            char why[512];
            snprintf(why, sizeof why, "%s: %s", worst.state, worst.reason);
            return say_unhealthy(life, why);
        }
    }
    return EXIT_OK;
}

/* The forwarder for which a fleet is not ready. */
static int judge_ready(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->current_count; i++) {
        const struct readiness readiness = policy_readiness(&fleet->views[i], 1, TROUBLE_NONE);
        if (!readiness.ready) {
            char why[128];
            snprintf(why, sizeof why, "not ready: %s", readiness.reason);
            return say_unhealthy(fleet->current[i], why);
        }
    }
    return EXIT_OK;
}

static int say_silent(const struct life *life, uint64_t max_age_ns)
{
    char why[160];
    uint64_t age_ns;
    if (sign_age(life, &age_ns))
        snprintf(why, sizeof why,
                 "no heartbeat while watched for %.1f s; its newest record or batch is %.1f s old",
                 (double)max_age_ns / 1e9, (double)age_ns / 1e9);
    else
        snprintf(why, sizeof why, "no heartbeat while watched for %.1f s",
                 (double)max_age_ns / 1e9);
    return say_unhealthy(life, why);
}

static int judge(struct sampler *sampler, const struct check_options *options)
{
    const struct fleet *fleet = &sampler->fleet;
    size_t before = SIZE_MAX;
    /* A scan takes only some of the dead regions at once. */
    for (int i = 0; i < SETTLE_TICKS_MAX && fleet->count != before; i++) {
        before = fleet->count;
        sampler_tick(sampler);
    }
    if (fleet->current_count == 0)
        return say_nothing_attached(fleet);
    int code = judge_states(fleet);
    if (code == EXIT_OK && options->max_age_ns != 0) {
        const struct life *silent = silent_one(sampler, options->max_age_ns);
        if (fleet->current_count == 0)
            return say_nothing_attached(fleet);
        code = judge_states(fleet); /* it may have ended meanwhile */
        if (code == EXIT_OK && silent != NULL)
            code = say_silent(silent, options->max_age_ns);
    }
    if (code == EXIT_OK && options->ready)
        code = judge_ready(fleet);
    return code == EXIT_OK ? say_healthy(sampler) : code;
}

/* Of one file the reason is the file's own. 0: go on. */
static int file_look(const char *path)
{
    char why[512];
    struct region *region;
    const enum attach_result result = region_open(path, &region, NULL, why, sizeof why);
    if (result == ATTACH_OK) {
        region_close(&region);
        return EXIT_OK;
    }
    fputs(result == ATTACH_NOT_FOUND ? "absent: " : "unreadable: ", stdout);
    cli_print_safe(why);
    putchar('\n');
    return result == ATTACH_NOT_FOUND ? EXIT_ABSENT
           : result == ATTACH_FAILED  ? EXIT_RUNTIME
                                      : EXIT_UNREADABLE;
}

static int check_run(const struct check_options *options)
{
    struct sampler sampler;
    int code = options->target.file != NULL ? file_look(options->target.file) : EXIT_OK;
    if (code != EXIT_OK)
        return code;
    if (!sampler_init(&sampler, &options->target, 2 * SECOND_NS, NULL)) {
        fprintf(stderr, "fwdscope check: no memory\n");
        return EXIT_RUNTIME;
    }
    sampler.fleet.silent = true;
    code = judge(&sampler, options);
    sampler_free(&sampler);
    return code;
}

/* ---- options --------------------------------------------------------------------------------- */

static bool parse_age(const char *text, uint64_t *out)
{
    static const struct {
        const char *suffix;
        double ns;
    } units[] = {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"", 1e9}};
    char *end;
    errno = 0;
    const double value = strtod(text, &end);
    if (end == text || errno != 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const double ns = value * units[i].ns;
        if (strcmp(end, units[i].suffix) == 0 && ns >= 1e8 && ns <= 3600e9) {
            *out = (uint64_t)ns;
            return true;
        }
    }
    return false;
}

/* Where to look: a file, --dir, or the environment. 0, or the exit code of a usage error. */
static int target_set(struct check_options *options, int argc, char **argv)
{
    if (optind + 1 < argc)
        return cli_usage_error("check", "more than one region file given");
    if (optind < argc)
        options->target.file = argv[optind];
    if (options->target.file != NULL && options->target.dir != NULL)
        return cli_usage_error("check", "a file and --dir exclude each other");
    if (options->target.file == NULL && options->target.dir == NULL)
        options->target.dir = getenv("FWDSCOPE_DIR");
    if (options->target.file == NULL &&
        (options->target.dir == NULL || options->target.dir[0] == '\0'))
        return cli_usage_error("check", "no region file, no --dir and no $FWDSCOPE_DIR given");
    return EXIT_OK;
}

int check_main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"ready", no_argument, NULL, 'r'},     {"max-age", required_argument, NULL, 'a'},
        {"dir", required_argument, NULL, 'd'}, {"pid", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},      {0}};
    struct check_options options = {0};
    const char *pid = NULL;
    char path[CLI_PATH_BYTES];
    int c, code;
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        switch (c) {
        case 'h':
            fputs(help, stdout);
            return EXIT_OK;
        case 'r':
            options.ready = true;
            break;
        case 'd':
            options.target.dir = optarg;
            break;
        case 'p':
            pid = optarg;
            break;
        case 'a':
            if (!parse_age(optarg, &options.max_age_ns))
                return cli_usage_error("check", "--max-age %s: not a time from 100ms to 1h",
                                       optarg);
            break;
        case ':':
            return cli_usage_error("check", "%s needs a value", argv[optind - 1]);
        default:
            return cli_unknown_option("check", argv);
        }
    }
    if (pid != NULL && options.target.dir != NULL)
        return cli_usage_error("check", "--pid and --dir exclude each other");
    if (pid != NULL) {
        code = cli_choose_region("check", pid, argc - optind, argv + optind, path, sizeof path);
        options.target.file = path;
    } else {
        code = target_set(&options, argc, argv);
    }
    return code != EXIT_OK ? code : check_run(&options);
}
