/* SPDX-License-Identifier: Apache-2.0 */
/* Regions in directories and in /proc. */
#include "find.h"

#include "shmlayout/region.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ENTRIES_MAX = 65536,       /* of a directory of regions */
    SHARED_MAX = 1 << 20,      /* of /dev/shm, which anybody may fill */
    DESCRIPTORS_MAX = 1 << 20, /* of a process */
    MAPS_MAX = 1 << 18,
    THREADS_MAX = 4096,
    CHILDREN_MAX = 256, /* of a thread */
    LINK_BYTES = 4096,
};

static bool ends_with(const char *text, size_t bytes, const char *end)
{
    const size_t wanted = strlen(end);
    return bytes >= wanted && memcmp(text + bytes - wanted, end, wanted) == 0;
}

static bool is_number(const char *text)
{
    return text[0] >= '1' && text[0] <= '9' && strspn(text, "0123456789") == strlen(text);
}

/* ---- directories ----------------------------------------------------------------------------- */

/* A directory that is being read, without memory of the heap: some are read every tick. */
struct listing {
    int fd;
    size_t have, at;
    _Alignas(struct dirent64) char bytes[8192];
};

/* False and errno. */
static bool listing_open(struct listing *listing, const char *dir)
{
    listing->fd = open(dir, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    listing->have = listing->at = 0;
    return listing->fd >= 0;
}

/* The next name, valid until the one after it; NULL at the end. */
static const char *listing_next(struct listing *listing)
{
    if (listing->at == listing->have) {
        const ssize_t bytes = getdents64(listing->fd, listing->bytes, sizeof listing->bytes);
        if (bytes <= 0)
            return NULL;
        listing->have = (size_t)bytes;
        listing->at = 0;
    }
    const struct dirent64 *entry = (const void *)(listing->bytes + listing->at);
    listing->at += entry->d_reclen;
    return entry->d_name;
}

static void listing_close(struct listing *listing)
{
    close(listing->fd);
}

/* ---- files ----------------------------------------------------------------------------------- */

uint64_t region_file_key(const char *path)
{
    struct statx st;
    const int links = fws_path_is_process_link(path) ? 0 : AT_SYMLINK_NOFOLLOW;
    if (statx(AT_FDCWD, path, links, STATX_INO | STATX_BTIME, &st) != 0)
        return 0;
    /* Disks give an inode number to the next file at once: the birth tells them apart. */
    const uint64_t born = (st.stx_mask & STATX_BTIME) != 0
                              ? (uint64_t)st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec
                              : 0;
    const uint64_t words[] = {st.stx_dev_major, st.stx_dev_minor, st.stx_ino, born};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    return hash | 1;
}

int region_find_in_directory(const char *dir, region_found *found, void *arg)
{
    struct listing entries;
    if (!listing_open(&entries, dir))
        return errno;
    const char *name;
    int i = 0;
    for (; i < ENTRIES_MAX && (name = listing_next(&entries)) != NULL; i++) {
        char path[LINK_BYTES];
        if (name[0] == '.' || !ends_with(name, strlen(name), FWS_FILE_SUFFIX))
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", dir, name);
        if (n > 0 && (size_t)n < sizeof path)
            found(arg, path, 0, false);
    }
    listing_close(&entries);
    return i < ENTRIES_MAX ? 0 : EOVERFLOW;
}

const char *region_find_error(int error)
{
    return error == EOVERFLOW ? "too many entries: not all were looked at" : strerror(error);
}

void region_find_user_directories(void (*found)(void *arg, const char *dir), void *arg)
{
    static const char prefix[] = "fwdscope-";
    struct listing entries;
    const char *name;
    if (!listing_open(&entries, "/dev/shm"))
        return;
    for (int i = 0; i < SHARED_MAX && (name = listing_next(&entries)) != NULL; i++) {
        const char *uid = name + sizeof prefix - 1;
        char path[sizeof "/dev/shm/" + NAME_MAX];
        struct stat st;
        if (strncmp(name, prefix, sizeof prefix - 1) != 0 ||
            (!is_number(uid) && strcmp(uid, "0") != 0))
            continue;
        snprintf(path, sizeof path, "/dev/shm/%s", name);
        /* Anybody may make an entry there: a name is believed of its owner only. */
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == strtoul(uid, NULL, 10))
            found(arg, path);
    }
    listing_close(&entries);
}

/* ---- what a process has open ----------------------------------------------------------------- */

/* Whether what a process has open looks like a region, by the kernel's name for it. *gone: the name
 * leads nowhere any more. */
static bool target_is_region(const char *target, bool *gone)
{
    static const char memfd[] = "/memfd:" FWS_MEMFD_PREFIX, deleted[] = " (deleted)";
    size_t bytes = strlen(target);
    *gone = ends_with(target, bytes, deleted);
    if (*gone)
        bytes -= sizeof deleted - 1;
    return strncmp(target, memfd, sizeof memfd - 1) == 0 ||
           ends_with(target, bytes, FWS_FILE_SUFFIX);
}

/* Whether a path leads, from here, to the regular file behind a link of the kernel's, and may be
 * printed: the process chose it. */
static bool path_is_target(const char *path, const char *link)
{
    struct stat here, there;
    for (const char *c = path; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            return false;
    }
    return stat(link, &there) == 0 && lstat(path, &here) == 0 && S_ISREG(here.st_mode) &&
           here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

/* Tells of the regions among the descriptors of a process: a readlink each. 0 or errno. */
static int descriptors_look(pid_t pid, region_found *found, void *arg)
{
    char dir[64], target[LINK_BYTES];
    snprintf(dir, sizeof dir, "/proc/%d/fd", (int)pid);
    struct listing entries;
    if (!listing_open(&entries, dir))
        return errno;
    const char *name;
    int error = 0;
    for (int i = 0; i < DESCRIPTORS_MAX && (name = listing_next(&entries)) != NULL; i++) {
        char link[128];
        struct stat st;
        bool gone;
        if (!is_number(name) && strcmp(name, "0") != 0)
            continue;
        ssize_t n = readlinkat(entries.fd, name, target, sizeof target - 1);
        if (n < 0 && (errno == EACCES || errno == EPERM))
            error = errno;
        if (n <= 0)
            continue;
        target[n] = '\0';
        /* The link's mode is the access that the process has. */
        if (!target_is_region(target, &gone) ||
            fstatat(entries.fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        snprintf(link, sizeof link, "%s/%.16s", dir, name);
        found(arg, !gone && path_is_target(target, link) ? target : link, pid,
              (st.st_mode & S_IWUSR) != 0);
    }
    listing_close(&entries);
    return error;
}

/* ---- what a process has mapped --------------------------------------------------------------- */

/* One line of /proc/PID/maps: tells of a writable shared map of a region. 0, or errno when there is
 * one that cannot be reached. */
static int map_look(pid_t pid, char *line, region_found *found, void *arg)
{
    unsigned long long low, high, inode;
    char write, share, path[LINK_BYTES + 64], link[128];
    bool gone;
    struct stat st;
    int at = 0;
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%llx-%llx %*c%c%*c%c %*x %*x:%*x %llu %n", &low, &high, &write, &share,
               &inode, &at) != 5 ||
        at == 0 || write != 'w' || share != 's' || !target_is_region(line + at, &gone))
        return 0;
    /* Through the process's own root: its mounts are not ours. */
    const int n = snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, line + at);
    if (!gone && n > 0 && (size_t)n < sizeof path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_ino == inode) {
        found(arg, path_is_target(line + at, path) ? line + at : path, pid, true);
        return 0;
    }
    snprintf(link, sizeof link, "/proc/%d/map_files/%llx-%llx", (int)pid, low, high);
    if (readlink(link, path, sizeof path) < 0)
        return errno;
    found(arg, link, pid, true);
    return 0;
}

static int maps_look(pid_t pid, region_found *found, void *arg)
{
    char name[64], *line = NULL;
    size_t cap = 0;
    int error = 0;
    snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(name, "re");
    if (maps == NULL)
        return errno;
    for (int i = 0; i < MAPS_MAX && getline(&line, &cap, maps) > 0; i++) {
        const int failed = map_look(pid, line, found, arg);
        error = failed != 0 ? failed : error;
    }
    free(line);
    fclose(maps);
    return error;
}

/* ---- one process ----------------------------------------------------------------------------- */

/* Keeps the regions that are written, and of those, when start_ticks is not 0, the ones that are
 * about the process that began then, by its number in that pid namespace. */
struct search {
    region_found *found;
    void *arg;
    size_t count;
    uint64_t start_ticks, pid, pid_namespace;
};

static void search_take(void *arg, const char *path, pid_t pid, bool writes)
{
    struct search *search = arg;
    uint64_t header[FWS_H_WORDS];
    enum fws_lock_state lock;
    char why[64];
    if (!writes)
        return;
    if (search->start_ticks != 0 &&
        (fws_header_read(path, header, &lock, why, sizeof why) != FWS_ATTACH_OK ||
         header[FWS_H_PID_START] != search->start_ticks || header[FWS_H_PID] != search->pid ||
         header[FWS_H_PID_NS] != search->pid_namespace))
        return;
    search->count++;
    search->found(search->arg, path, pid, writes);
}

/* The number of a process in its own pid namespace; 0: not known. */
static uint64_t pid_inside(pid_t pid)
{
    char name[64], line[512];
    uint64_t inside = 0;
    snprintf(name, sizeof name, "/proc/%d/status", (int)pid);
    FILE *status = fopen(name, "re");
    if (status == NULL)
        return 0;
    while (fgets(line, sizeof line, status) != NULL) { /* a page or so */
        char *last = strrchr(line, '\t');
        if (strncmp(line, "NSpid:", 6) == 0 && last != NULL)
            inside = strtoull(last + 1, NULL, 10);
    }
    fclose(status);
    return inside;
}

/* The regions of the children that one thread made. */
static void thread_children_look(pid_t pid, const char *thread, struct search *search)
{
    char name[64];
    int child;
    snprintf(name, sizeof name, "/proc/%d/task/%.16s/children", (int)pid, thread);
    FILE *children = fopen(name, "re");
    if (children == NULL)
        return;
    for (int i = 0; i < CHILDREN_MAX && fscanf(children, "%d", &child) == 1; i++)
        (void)descriptors_look(child, search_take, search);
    fclose(children);
}

/* The regions of its children that are about it. */
static void children_look(pid_t pid, uint64_t start_ticks, struct search *search)
{
    char name[64];
    struct stat namespace;
    snprintf(name, sizeof name, "/proc/%d/ns/pid", (int)pid);
    if (stat(name, &namespace) != 0)
        return;
    search->start_ticks = start_ticks;
    search->pid = pid_inside(pid);
    search->pid_namespace = namespace.st_ino;
    snprintf(name, sizeof name, "/proc/%d/task", (int)pid);
    struct listing threads;
    const char *thread;
    if (!listing_open(&threads, name))
        return;
    for (int i = 0; i < THREADS_MAX && (thread = listing_next(&threads)) != NULL; i++) {
        if (is_number(thread))
            thread_children_look(pid, thread, search);
    }
    listing_close(&threads);
}

struct process {
    char name[32], state;
    uint64_t start_ticks;
};

/* False: there is no such process. */
static bool process_look(pid_t pid, struct process *out)
{
    char path[64], text[1024];
    unsigned long long start;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (open == NULL || close == NULL ||
        sscanf(close + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &out->state, &start) != 2)
        return false;
    snprintf(out->name, sizeof out->name, "%.*s", (int)(close - open - 1), open + 1);
    for (char *c = out->name; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            *c = '?'; /* a process names itself */
    }
    out->start_ticks = start;
    return true;
}

static enum attach_result denied_say(pid_t pid, const struct process *process, char *why,
                                     size_t cap)
{
    char path[64];
    struct stat st = {0};
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    (void)stat(path, &st);
    if (st.st_uid != geteuid())
        snprintf(why, cap,
                 "process %d (%s) is of user %u: permission denied: be that user or root, have "
                 "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or name its region's file",
                 (int)pid, process->name, (unsigned)st.st_uid);
    else
        snprintf(why, cap,
                 "process %d (%s) cannot be looked into, not even by its own user: permission "
                 "denied: have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, as root has, or name its "
                 "region's file",
                 (int)pid, process->name);
    return ATTACH_DENIED;
}

enum attach_result region_find_in_process(pid_t pid, uint64_t *start_ticks, region_found *found,
                                          void *arg, char *why, size_t cap)
{
    struct process process;
    struct search search = {.found = found, .arg = arg};
    if (!process_look(pid, &process)) {
        snprintf(why, cap, "no such process: %d", (int)pid);
        return ATTACH_NOT_FOUND;
    }
    if (process.state == 'Z' || (*start_ticks != 0 && *start_ticks != process.start_ticks)) {
        snprintf(why, cap, "process %d has ended%s", (int)pid,
                 process.state == 'Z' ? "" : "; its number is another process's now");
        return ATTACH_NOT_FOUND;
    }
    *start_ticks = process.start_ticks;
    int error = descriptors_look(pid, search_take, &search);
    if (search.count == 0) {
        const int failed = maps_look(pid, search_take, &search);
        error = failed != 0 ? failed : error;
    }
    if (search.count == 0 && (error == EACCES || error == EPERM))
        return denied_say(pid, &process, why, cap);
    if (search.count == 0)
        children_look(pid, process.start_ticks, &search);
    if (search.count > 0)
        return ATTACH_OK;
    snprintf(why, cap,
             "process %d (%s) has no region: it does not use the shim, or fwdscope_reason() in it "
             "says why the shim is off",
             (int)pid, process.name);
    return ATTACH_NOT_FOUND;
}

size_t region_find_in_processes(region_found *found, void *arg, size_t *denied)
{
    size_t count = 0;
    struct listing processes;
    const char *name;
    *denied = 0;
    if (!listing_open(&processes, "/proc"))
        return 0;
    while ((name = listing_next(&processes)) != NULL) { /* as many as the kernel has */
        if (!is_number(name))
            continue;
        const int error = descriptors_look((pid_t)strtol(name, NULL, 10), found, arg);
        count += error != ENOENT;
        *denied += error == EACCES || error == EPERM;
    }
    listing_close(&processes);
    return count;
}
