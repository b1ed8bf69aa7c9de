/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wraps the example forwarder's telemetry_open(), in which all of the shim's start-up happens:
 * open, the configuration, every registration. The environment says what goes wrong in there:
 *
 *   HURT_NTH=N           the N-th call that passes libfiu's preload fails; 0: none, they are
 * counted HURT_LIMIT=NAME:V    the soft limit NAME is V; +V: what is in use now and V more
 *   HURT_REPORT=PATH     always: what happened, "KEY VALUE" a line; written when it is over
 *
 * Two system calls that stand out in a trace frame it.
 */
#include "telemetry.h"

#include <dirent.h>
#include <fiu-control.h>
#include <fiu.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MARK = 0x5a5a, SIGNALS = 65 };

void __real_telemetry_open(const struct config *config, const char *directory);
void __wrap_telemetry_open(const struct config *config, const char *directory);

static void die(const char *what)
{
    fprintf(stderr, "hurt_window: %s\n", what);
    exit(3);
}

/* ---- what a process has ---------------------------------------------------------------------- */

/* Compared before and after: a start that failed leaves it as it was. */
struct belongings {
    unsigned descriptors;
    unsigned long long map_bytes; /* without heap and stack, which are the allocator's */
    unsigned region_maps;
    struct {
        void (*handler)(int);
        int flags;
    } actions[SIGNALS]; /* what the host does about signals */
};

static unsigned descriptors_count(void)
{
    unsigned count = 0;
    DIR *entries = opendir("/proc/self/fd");
    if (entries == NULL)
        die("cannot list the descriptors");
    while (readdir(entries) != NULL)
        count++;
    closedir(entries);
    return count;
}

static void maps_count(struct belongings *out)
{
    char line[4352];
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL)
        die("cannot list the maps");
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long long from, to;
        if (sscanf(line, "%llx-%llx", &from, &to) != 2)
            die("a map is not understood");
        if (strstr(line, "[heap]") == NULL && strstr(line, "[stack]") == NULL)
            out->map_bytes += to - from;
        out->region_maps += strstr(line, ".fwdscope") != NULL;
    }
    fclose(maps);
}

static unsigned actions_changed(const struct belongings *a, const struct belongings *b)
{
    unsigned changed = 0;
    for (int number = 1; number < SIGNALS; number++)
        changed += a->actions[number].handler != b->actions[number].handler ||
                   a->actions[number].flags != b->actions[number].flags;
    return changed;
}

static struct belongings belongings_take(void)
{
    struct belongings all = {.descriptors = descriptors_count()};
    maps_count(&all);
    for (int number = 1; number < SIGNALS; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) != 0)
            continue; /* the C library keeps two for itself */
        all.actions[number].handler = action.sa_handler;
        all.actions[number].flags = action.sa_flags;
    }
    return all;
}

/* ---- limits ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int number;
} limits[] = {
    {"AS", RLIMIT_AS},       {"DATA", RLIMIT_DATA},     {"FSIZE", RLIMIT_FSIZE},
    {"NPROC", RLIMIT_NPROC}, {"NOFILE", RLIMIT_NOFILE}, {"MEMLOCK", RLIMIT_MEMLOCK},
};

static unsigned long long in_use(int limit)
{
    unsigned long long pages = 0;
    if (limit == RLIMIT_NOFILE)
        return descriptors_count() - 3; /* neither ".", nor "..", nor the listing's own */
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm == NULL || fscanf(statm, "%llu", &pages) != 1)
        die("cannot read the size of the process");
    fclose(statm);
    return pages * (unsigned long long)sysconf(_SC_PAGESIZE);
}

/* Sets the soft limit that the environment names. Returns which, -1: none; *before as it was. */
static int limit_set(struct rlimit *before)
{
    const char *text = getenv("HURT_LIMIT");
    const char *colon = text != NULL ? strchr(text, ':') : NULL;
    if (colon == NULL)
        return -1;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (strncmp(text, limits[i].name, (size_t)(colon - text)) != 0)
            continue;
        rlim_t value = strtoull(colon + 1, NULL, 10);
        if (colon[1] == '+')
            value += in_use(limits[i].number);
        if (getrlimit((__rlimit_resource_t)limits[i].number, before) != 0 ||
            setrlimit((__rlimit_resource_t)limits[i].number,
                      &(struct rlimit){.rlim_cur = value, .rlim_max = before->rlim_max}) != 0)
            die("cannot set a limit");
        return limits[i].number;
    }
    die("no such limit");
    return -1;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Every point of libfiu that a start-up could pass. Named one by one: under a pattern, the callback
 * is not told which it is. */
static const char *const points[] = {
    "libc/mm/malloc",          "libc/mm/calloc",       "libc/mm/realloc",
    "libc/str/strdup",         "libc/str/strndup",     "posix/mm/mmap",
    "posix/mm/munmap",         "posix/mm/mprotect",    "posix/mm/madvise",
    "posix/mm/mlock",          "posix/mm/mlockall",    "posix/mm/msync",
    "posix/io/oc/open",        "posix/io/oc/close",    "posix/io/dir/opendir",
    "posix/io/dir/fdopendir",  "posix/io/dir/readdir", "posix/io/dir/closedir",
    "posix/io/dir/rename",     "posix/io/dir/unlink",  "posix/io/rw/read",
    "posix/io/rw/read/reduce", "posix/io/rw/pread",    "posix/io/rw/pread/reduce",
    "posix/io/rw/write",       "posix/io/rw/pwrite",   "posix/io/rw/ftruncate",
    "posix/io/rw/truncate",    "posix/proc/fork",      "posix/proc/sigaction",
    "posix/proc/signal",       "posix/stdio/oc/fopen", "posix/stdio/oc/fdopen",
};

static struct {
    unsigned long long nth, calls;
    char failed[64];
} injection;

/* libfiu asks before each call that it knows. */
static int fails(const char *name, int *failnum, void **failinfo, unsigned *flags)
{
    (void)failnum;
    (void)failinfo;
    (void)flags;
    if (++injection.calls != injection.nth)
        return 0;
    snprintf(injection.failed, sizeof injection.failed, "%s", name);
    return 1;
}

static void injection_begin(void)
{
    const char *nth = getenv("HURT_NTH");
    if (nth == NULL)
        return;
    injection.nth = strtoull(nth, NULL, 10);
    bool ok = fiu_init(0) == 0;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        ok = ok && fiu_enable_external(points[i], 1, NULL, 0, fails) == 0;
    if (!ok)
        die("libfiu does not start");
}

static void injection_end(void)
{
    for (size_t i = 0; getenv("HURT_NTH") != NULL && i < sizeof points / sizeof *points; i++)
        (void)fiu_disable(points[i]);
}

/* ---- the window ------------------------------------------------------------------------------ */

/* PATH appears with all that there is to say in it. */
static void report(const struct belongings *before, const struct belongings *after)
{
    char temporary[4096];
    const char *path = getenv("HURT_REPORT");
    snprintf(temporary, sizeof temporary, "%s.part", path != NULL ? path : "");
    FILE *out = path != NULL ? fopen(temporary, "we") : NULL;
    if (out == NULL)
        die("HURT_REPORT names no file");
    fprintf(out, "pid %d\non %d\nreason %s\ncalls %llu\nfailed %s\n", (int)getpid(),
            fwdscope_is_on(), fwdscope_reason(), injection.calls, injection.failed);
    fprintf(out, "descriptors %d\nmap_bytes %lld\nregion_maps %u\nactions_changed %u\n",
            (int)(after->descriptors - before->descriptors),
            (long long)(after->map_bytes - before->map_bytes), after->region_maps,
            actions_changed(before, after));
    if (fclose(out) != 0 || rename(temporary, path) != 0)
        die("cannot write the report");
}

void __wrap_telemetry_open(const struct config *config, const char *directory)
{
    struct rlimit limit_before;
    const struct belongings before = belongings_take();
    const int limit = limit_set(&limit_before);
    injection_begin();
    syscall(SYS_getpgid, MARK);
    __real_telemetry_open(config, directory);
    syscall(SYS_getpgid, MARK);
    injection_end();
    if (limit >= 0 && setrlimit((__rlimit_resource_t)limit, &limit_before) != 0)
        die("cannot set a limit back");
    const struct belongings after = belongings_take();
    report(&before, &after);
}
