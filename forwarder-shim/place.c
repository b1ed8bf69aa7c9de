/* SPDX-License-Identifier: Apache-2.0 */
/* Where regions live, what they are called, and which old ones are no longer needed. */
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* ---- the directory --------------------------------------------------------------------------- */

static bool is_writable_tmpfs(const char *dir)
{
    struct statfs fs;
    return statfs(dir, &fs) == 0 && fs.f_type == TMPFS_MAGIC && access(dir, W_OK | X_OK) == 0;
}

/* The private directory of the user: made 0700, taken only when it is a real directory of ours. */
static bool private_directory(const char *dir, char *why, size_t cap)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        snprintf(why, cap, "cannot make %s: %s; set FWDSCOPE_DIR", dir, strerror(errno));
        return false;
    }
    if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        snprintf(why, cap, "%s is a link or belongs to somebody else; set FWDSCOPE_DIR", dir);
        return false;
    }
    return true;
}

bool place_choose(const char *wanted, char *out, size_t out_cap, char *why, size_t cap)
{
    if (wanted == NULL || wanted[0] == '\0')
        wanted = secure_getenv("FWDSCOPE_DIR");
    if (wanted == NULL || wanted[0] == '\0')
        wanted = is_writable_tmpfs("/run/fwdscope") ? "/run/fwdscope" : NULL;
    if (wanted != NULL) {
        int n = snprintf(out, out_cap, "%s", wanted);
        if (n < 0 || (size_t)n >= out_cap)
            snprintf(why, cap, "the directory name %.64s... is too long", wanted);
        return n >= 0 && (size_t)n < out_cap;
    }
    snprintf(out, out_cap, "/dev/shm/fwdscope-%u", (unsigned)geteuid());
    return private_directory(out, why, cap);
}

void place_name(const char *instance, uint64_t generation, const uint64_t uuid[2], char *out,
                size_t cap)
{
    char safe[65];
    size_t n = 0;
    for (; n < sizeof safe - 1 && instance[n] != '\0'; n++) {
        char c = instance[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-' || (c == '.' && n > 0);
        safe[n] = plain ? c : '_';
    }
    safe[n] = '\0';
    unsigned char id[4]; /* the UUID's first bytes, as they stand in the file */
    memcpy(id, uuid, sizeof id);
    snprintf(out, cap, "%s.%llu.%02x%02x%02x%02x" FWS_FILE_SUFFIX, safe,
             (unsigned long long)generation, id[0], id[1], id[2], id[3]);
}

/* ---- old lives ------------------------------------------------------------------------------- */

enum { ENTRIES_MAX = 65536, LEFTOVER_AGE_S = 60 };

/* A dead life of the instance. */
struct dead_life {
    char name[NAME_MAX + 1];
    uint64_t generation;
    bool crashed;
};

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* A file that some writer died creating: nobody's once its lock is free. A writer locks its file
 * before it gives it bytes, so one with bytes was locked; an empty one costs nothing and waits
 * until its writer cannot be between creating and locking it. */
static void leftover_remove(int dirfd, const char *name)
{
    struct stat st;
    struct timespec now;
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    clock_gettime(CLOCK_REALTIME, &now);
    /* The size before the lock: one that was locked when it had bytes is still locked, or dead. */
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        (st.st_size > 0 || now.tv_sec - st.st_ctim.tv_sec > LEFTOVER_AGE_S) &&
        fws_lock_ask(fd) == FWS_LOCK_FREE)
        unlinkat(dirfd, name, 0);
    close(fd);
}

/* Reads one region file. True when it is a dead life of the instance; *generation is told of every
 * life of it, dead or not. */
static bool life_read(int dirfd, const char *name, const char *instance, uint64_t *generation,
                      struct dead_life *out)
{
    uint64_t prefix[FWS_H_PREFIX_WORDS];
    uint64_t state = 0;
    char wanted[FWS_STRING_WORDS * FWS_WORD_BYTES] = {0};
    int fd;
    *generation = 0;
    if (strlen(name) > NAME_MAX)
        return false;
    const enum fws_attach found = fws_prefix_read(dirfd, name, prefix, &fd);
    if (found != FWS_ATTACH_OK && found != FWS_ATTACH_INCOMPATIBLE)
        return false;
    strncpy(wanted, instance, sizeof wanted - 1);
    bool ours = memcmp(&prefix[FWS_H_INSTANCE], wanted, sizeof wanted) == 0;
    bool dead = ours && fws_lock_ask(fd) == FWS_LOCK_FREE;
    if (ours)
        *generation = prefix[FWS_H_GENERATION];
    if (dead) {
        /* Where another layout keeps its state is not known: such a life counts as evidence. */
        if (found != FWS_ATTACH_OK ||
            pread(fd, &state, sizeof state, FWS_H_STATE * FWS_WORD_BYTES) != sizeof state)
            state = 0;
        snprintf(out->name, sizeof out->name, "%s", name);
        out->generation = prefix[FWS_H_GENERATION];
        out->crashed = state != FWS_STATE_CLOSED;
    }
    close(fd);
    return dead;
}

static void lives_swap(struct dead_life *a, struct dead_life *b)
{
    const struct dead_life old = *a;
    *a = *b;
    *b = old;
}

uint64_t place_clean(const char *dir, const char *instance, bool keep_one, bool keep_newest)
{
    uint64_t newest = 0, generation;
    struct dead_life last = {.generation = 0}, crashed = {.generation = 0}, life;
    DIR *entries = opendir(dir);
    if (entries == NULL)
        return 1;
    struct dirent *entry;
    for (int seen = 0; seen < ENTRIES_MAX && (entry = readdir(entries)) != NULL; seen++) {
        if (entry->d_name[0] == '.' && ends_with(entry->d_name, FWS_FILE_SUFFIX FWS_TEMP_SUFFIX))
            leftover_remove(dirfd(entries), entry->d_name);
        if (!ends_with(entry->d_name, FWS_FILE_SUFFIX))
            continue;
        bool dead = life_read(dirfd(entries), entry->d_name, instance, &generation, &life);
        if (generation > newest && generation < UINT64_MAX)
            newest = generation;
        if (!dead)
            continue;
        /* A swap takes the life at hand in and gives out the one that it beats, if there is one. */
        if (keep_newest && life.generation > last.generation)
            lives_swap(&life, &last);
        if (keep_one && life.crashed && life.generation > crashed.generation)
            lives_swap(&life, &crashed);
        if (life.name[0] != '\0')
            unlinkat(dirfd(entries), life.name, 0);
    }
    if (last.crashed && crashed.name[0] != '\0') /* the newer one is the evidence */
        unlinkat(dirfd(entries), crashed.name, 0);
    closedir(entries);
    return newest + 1;
}
