/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows files by path or glob, and gives every complete line once.
 *
 * A file is its inode, so a renamed file goes on being read; the one that takes its name is read
 * from its beginning. A file that lost its name is read until it was silent for 5 s and a new one
 * stands in its place (or it was deleted), or for 60 s without either; then an unfinished last line
 * counts as a line. A file that is shorter than what was read of it, or whose last bytes read have
 * changed, was truncated and begins anew.
 *
 * What this cannot see: lines that were written after the last read and truncated away before the
 * next (copytruncate loses the same). A glob that also matches the rotated copy of copytruncate
 * reads it as a new file. Nothing remembers positions over a restart.
 */
#ifndef EXAMPLE_FOLLOW_H
#define EXAMPLE_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>

#define FOLLOW_FILES_MAX 256

/* Whoever follows; every call comes from within follow_poll(). */
struct follow_listener {
    void *context;
    /* A line without its newline; both valid during the call. A line over 256 KiB comes in pieces,
     * all but the last with `cut`. */
    void (*line)(void *context, const char *line, size_t bytes, const char *path, bool cut);
    void (*opened)(void *context, const char *path);
    void (*rotated)(void *context, const char *path);
    void (*truncated)(void *context, const char *path);
    /* Not to be opened or read because of `error` (an errno value); told every 10 s at most. */
    void (*failed)(void *context, const char *path, int error);
};

struct follow;

/* `patterns` and `listener` must outlive it. With `from_end`, files that exist at the first poll
 * begin after their last complete line. Never NULL. */
struct follow *follow_create(char *const *patterns, size_t count, bool from_end,
                             const struct follow_listener *listener);
/* Reads what is there, at most 1 MiB a file. True: there is more. */
bool follow_poll(struct follow *follow);
/* Bytes of unfinished lines, which no call has given. */
size_t follow_unfinished_bytes(const struct follow *follow);
void follow_free(struct follow *follow);

#endif
