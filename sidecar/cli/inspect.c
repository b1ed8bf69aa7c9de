/* SPDX-License-Identifier: Apache-2.0 */
/* fwdscope inspect: how a region is made, section by section, and who writes it. */
#include "cli.h"

#include "policy.h"
#include "snapshot.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "usage: fwdscope inspect [--verify] FILE | --pid N\n"
    "\n"
    "Prints a region's header, its sections with sizes (and why one is refused), the writer's\n"
    "verdict and what was lost.\n"
    "\n"
    "  --verify   walk through everything that it holds and print each thing that is wrong, with\n"
    "             section, entry and byte offset. A unit that a writer was at work on, or died "
    "at,\n"
    "             is noted and not wrong.\n"
    "  --pid N    the region that process N writes, wherever it is; as its user or root\n"
    "  --help\n"
    "\n"
    "exit: 0 sound, 1 runtime, 2 usage, 3 no such region, 4 unreadable, incompatible or corrupt;\n"
    "      without --verify a refused section of a region that can be read is printed, and 0\n";

static void print_identity(const struct identity *identity)
{
    unsigned major, minor;
    region_layout(&major, &minor);
    fputs("path        ", stdout);
    cli_print_safe(identity->path);
    printf("\nlayout      %u.%u (this program reads %u.x)\n", identity->major, identity->minor,
           major);
    printf("size        %llu bytes\n", (unsigned long long)identity->size_bytes);
    printf("uuid        %s\n", identity->uuid);
    fputs("service     ", stdout);
    cli_print_safe(identity->service_name);
    putchar(' ');
    cli_print_safe(identity->service_version);
    fputs("\ninstance    ", stdout);
    cli_print_safe(identity->instance);
    printf(", generation %llu\n", (unsigned long long)identity->generation);
    printf("writer      pid %llu in pid namespace %llu, uid %llu, gid %llu\n",
           (unsigned long long)identity->pid, (unsigned long long)identity->pid_namespace,
           (unsigned long long)identity->uid, (unsigned long long)identity->gid);
    printf("boot        %s\n", identity->boot_id);
    printf("created     %llu ns since the epoch\n", (unsigned long long)identity->created_unix_ns);
    if (identity->heartbeat_interval_ns != 0)
        printf("heartbeat   every %llu ms\n",
               (unsigned long long)(identity->heartbeat_interval_ns / 1000000));
    else
        puts("heartbeat   none declared");
}

static void print_sections(const struct region *region)
{
    const struct section_report *sections;
    size_t count = region_sections(region, &sections);
    puts("\nsection        kind  version      offset      length     stride    count  lanes");
    for (size_t i = 0; i < count; i++) {
        const struct section_report *s = &sections[i];
        printf("%-13s %5u %8u %11llu %11llu %10llu %8llu %6llu%s%s\n", s->name, s->kind, s->version,
               (unsigned long long)s->offset, (unsigned long long)s->length,
               (unsigned long long)s->stride, (unsigned long long)s->count,
               (unsigned long long)s->lanes, s->refused != NULL ? "  refused: " : "",
               s->refused != NULL ? s->refused : "");
    }
}

static uint64_t clock_read(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void ignore_record(void *arg, const struct record *record)
{
    (void)arg;
    (void)record;
}

/* ---- --verify -------------------------------------------------------------------------------- */

static void print_finding(void *arg, const struct finding *finding)
{
    (void)arg;
    printf("%s %s", finding->wrong ? "wrong:" : "note: ", finding->section);
    if (strcmp(finding->section, "header") == 0)
        printf(" word %llu", (unsigned long long)finding->index);
    else
        printf(" lane %llu, entry %llu", (unsigned long long)finding->lane,
               (unsigned long long)finding->index);
    printf(", offset %llu: ", (unsigned long long)finding->offset);
    cli_print_safe(finding->what);
    putchar('\n');
}

static int verify_file(const char *path, struct region *region)
{
    static const char *const configs[] = {"no document", "a document", "a reason for no document"};
    struct verified v;
    if (!region_verify(region, clock_read(CLOCK_REALTIME), clock_read(CLOCK_MONOTONIC),
                       print_finding, NULL, &v)) {
        fprintf(stderr, "fwdscope inspect: no memory\n");
        return EXIT_RUNTIME;
    }
    printf("checked: header, %zu sections, %zu references, %zu instruments, %zu pipelines, %zu "
           "components, %zu histograms and %zu batch groups of lanes, %zu slots with %zu active "
           "spans, %zu rings with %zu spans and %zu log lines (%llu more were overwritten), %zu "
           "attributes, config: %s\n",
           v.sections, v.references, v.instruments, v.pipelines, v.components, v.histograms,
           v.batch_groups, v.active_slots, v.active_spans, v.rings, v.spans, v.logs,
           (unsigned long long)v.overwritten, v.attributes, configs[v.config]);
    if (v.wrong + v.torn > FINDINGS_MAX)
        printf("not all findings are told: %zu wrong, %zu noted\n", v.wrong, v.torn);
    if (v.truncated)
        puts("wrong: the file was cut short while it was read");
    if (v.wrong == 0 && !v.truncated) {
        printf("sound: %s\n", path);
        return EXIT_OK;
    }
    printf("%zu wrong: %s\n", v.wrong + v.truncated, path);
    return EXIT_UNREADABLE;
}

/* ---- main ------------------------------------------------------------------------------------ */

static int inspect_file(const char *path, bool verify)
{
    char why[512];
    struct region *region;
    struct identity other = {0};
    enum attach_result result = region_open(path, &region, &other, why, sizeof why);
    if (result != ATTACH_OK) {
        if (result == ATTACH_INCOMPATIBLE && other.uuid[0] != '\0') {
            print_identity(&other);
            /* The lock means the same in every version; more of a verdict takes the layout. */
            printf("\nverdict     %s\n",
                   region_is_dead(path) ? "dead: its lock is gone" : "alive: its lock is held");
        }
        fprintf(stderr, "fwdscope inspect: %s\n", why);
        return result == ATTACH_NOT_FOUND ? EXIT_ABSENT
               : result == ATTACH_FAILED  ? EXIT_RUNTIME
                                          : EXIT_UNREADABLE;
    }
    if (verify) {
        const int code = verify_file(path, region);
        region_close(&region);
        return code;
    }
    const struct identity *identity = region_identity(region);
    print_identity(identity);
    /* The rings first, so that the losses below count what a reader of now would miss. */
    (void)region_drain(region, SIZE_MAX, ignore_record, NULL, NULL);
    const struct snapshot *snapshot =
        region_sample(region, clock_read(CLOCK_REALTIME), clock_read(CLOCK_MONOTONIC));
    struct writer_verdict verdict;
    policy_judge_writer(identity, snapshot, 0, &verdict);
    print_sections(region);
    printf("\nverdict     %s: ", writer_state_name(verdict.state));
    cli_print_safe(verdict.reason);
    putchar('\n');
    printf("holds       %zu instruments, %zu pipelines, %zu active spans\n",
           snapshot->instrument_count, snapshot->pipeline_count, snapshot->active_span_count);
    printf("lost        spans %llu, log lines %llu; cut lines %llu; attributes %llu; values %llu; "
           "registrations %llu\n",
           (unsigned long long)snapshot->lost.spans, (unsigned long long)snapshot->lost.logs,
           (unsigned long long)snapshot->lost.logs_cut,
           (unsigned long long)snapshot->lost.attributes_dropped,
           (unsigned long long)snapshot->lost.values_dropped,
           (unsigned long long)snapshot->lost.registrations_refused);
    printf("stale       %llu units of this reading\n", (unsigned long long)snapshot->stale);
    region_close(&region);
    return EXIT_OK;
}

int inspect_main(int argc, char **argv)
{
    static const struct option options[] = {{"verify", no_argument, NULL, 'v'},
                                            {"pid", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool verify = false;
    const char *pid = NULL;
    char path[CLI_PATH_BYTES];
    int c;
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (c == 'v') {
            verify = true;
            continue;
        }
        if (c == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (c != 'p')
            return c == ':' ? cli_usage_error("inspect", "%s needs a value", argv[optind - 1])
                            : cli_unknown_option("inspect", argv);
        pid = optarg;
    }
    c = cli_choose_region("inspect", pid, argc - optind, argv + optind, path, sizeof path);
    return c != EXIT_OK ? c : inspect_file(path, verify);
}
