/* SPDX-License-Identifier: Apache-2.0 */
/* Which region a command is about: a file, or what a process writes. */
#include "cli.h"

#include "find.h"

#include <ctype.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

const char *cli_default_directory(void)
{
    static char dir[64];
    struct statfs fs;
    if (statfs("/run/fwdscope", &fs) == 0 && fs.f_type == TMPFS_MAGIC)
        return "/run/fwdscope";
    snprintf(dir, sizeof dir, "/dev/shm/fwdscope-%u", (unsigned)geteuid());
    return dir;
}

int cli_exit_of(enum attach_result result)
{
    switch (result) {
    case ATTACH_OK:
        return EXIT_OK;
    case ATTACH_NOT_FOUND:
        return EXIT_ABSENT;
    case ATTACH_FAILED:
        return EXIT_RUNTIME;
    case ATTACH_NOT_READY:
    case ATTACH_DENIED:
    case ATTACH_INCOMPATIBLE:
    case ATTACH_CORRUPT:
        break;
    }
    return EXIT_UNREADABLE;
}

bool cli_parse_pid(const char *text, pid_t *out)
{
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < 1 ||
        value > 1 << 22) /* PID_MAX_LIMIT */
        return false;
    *out = (pid_t)value;
    return true;
}

struct choice {
    char *path;
    size_t cap, count;
};

static void choice_take(void *arg, const char *path, pid_t pid, bool writes)
{
    struct choice *choice = arg;
    (void)pid;
    (void)writes;
    if (choice->count++ == 0)
        snprintf(choice->path, choice->cap, "%s", path);
}

static int choose_of_process(const char *command, const char *text, char *path, size_t cap)
{
    struct choice choice = {.path = path, .cap = cap};
    char why[512];
    uint64_t start_ticks = 0;
    pid_t pid;
    if (!cli_parse_pid(text, &pid))
        return cli_usage_error(command, "--pid %s: not the number of a process", text);
    const enum attach_result result =
        region_find_in_process(pid, &start_ticks, choice_take, &choice, why, sizeof why);
    if (result != ATTACH_OK) {
        fprintf(stderr, "fwdscope %s: %s\n", command, why);
        return cli_exit_of(result);
    }
    if (choice.count > 1)
        return cli_usage_error(command, "process %d has %zu regions; name one of their files",
                               (int)pid, choice.count);
    return EXIT_OK;
}

int cli_choose_region(const char *command, const char *pid, int count, char *const *operands,
                      char *path, size_t cap)
{
    if (pid != NULL && count > 0)
        return cli_usage_error(command, "--pid and a region file exclude each other");
    if (pid != NULL)
        return choose_of_process(command, pid, path, cap);
    if (count == 0)
        return cli_usage_error(command, "no region file given, and no --pid");
    if (count > 1)
        return cli_usage_error(command, "more than one region file given");
    const int n = snprintf(path, cap, "%s", operands[0]);
    if (n >= 0 && (size_t)n < cap)
        return EXIT_OK;
    fprintf(stderr, "fwdscope %s: %.64s...: %s\n", command, operands[0], strerror(ENAMETOOLONG));
    return EXIT_UNREADABLE;
}
