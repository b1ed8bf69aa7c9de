/* SPDX-License-Identifier: Apache-2.0 */
/* Files are told apart by their names, as any tool would. */
#include "listing.h"

#include "shmlayout/layout.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *end)
{
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* INSTANCE.GENERATION.UUID8.fwdscope, the instance without dots. */
static uint64_t generation_of(const char *name)
{
    const char *dot = strchr(name, '.');
    return dot != NULL ? strtoull(dot + 1, NULL, 10) : 0;
}

static DIR *directory_open(const char *dir)
{
    DIR *entries = opendir(dir);
    if (entries == NULL) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        exit(2);
    }
    return entries;
}

struct listing listing_read(const char *dir)
{
    struct listing out = {0};
    DIR *entries = directory_open(dir);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        struct stat st;
        if (ends_with(entry->d_name, FWS_TEMP_SUFFIX)) {
            const bool there = fstatat(dirfd(entries), entry->d_name, &st, 0) == 0;
            out.filling += there && st.st_size > 0;
            out.begun += there && st.st_size == 0;
            if (out.regions == 0 && there)
                snprintf(out.newest, sizeof out.newest, "%s/%s", dir, entry->d_name);
        } else if (ends_with(entry->d_name, FWS_FILE_SUFFIX)) {
            const uint64_t generation = generation_of(entry->d_name);
            if (out.regions++ == 0 || generation > out.generation) {
                out.generation = generation;
                snprintf(out.newest, sizeof out.newest, "%s/%s", dir, entry->d_name);
            }
        }
    }
    closedir(entries);
    return out;
}

void listing_clear(const char *dir)
{
    DIR *entries = directory_open(dir);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
}
