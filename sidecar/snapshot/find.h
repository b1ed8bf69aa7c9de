/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where regions are: in directories, and in what processes have open or mapped. Everything is looked
 * at from outside, by /proc: no process is stopped, signalled or traced. Any thread.
 */
#ifndef SIDECAR_FIND_H
#define SIDECAR_FIND_H

#include "snapshot.h"

#include <sys/types.h>

/*
 * Told of each region that is found: `path` is what region_open() takes, the file's own path where
 * that leads to it from here, else /proc/PID/fd/N and the like. `pid` holds it, 0: it was found in
 * a directory. `writes`: that process is its writer, by the access that it has.
 */
typedef void region_found(void *arg, const char *path, pid_t pid, bool writes);

/* The region files of a directory, at most 65,536 entries of it. 0, or errno of opening it, or
 * EOVERFLOW: it has more. */
int region_find_in_directory(const char *dir, region_found *found, void *arg);

/* What that means, in words; any thread, as strerror(). */
const char *region_find_error(int error);

/* The directories that shims make in /dev/shm: /dev/shm/fwdscope-UID, owned by that user and no
 * link. */
void region_find_user_directories(void (*found)(void *arg, const char *dir), void *arg);

/*
 * The regions that process `pid` writes: its descriptors; else what it has mapped, where its
 * descriptors were closed under it; else those of its children that are about it, as an adapter's
 * is. ATTACH_OK: at least one was told. Otherwise why, in one line: ATTACH_NOT_FOUND (no such
 * process, or it has none), ATTACH_DENIED (another user's).
 * *start_ticks, when not 0, is when the process began: a later one with its number is not it. It is
 * filled at the first call.
 */
enum attach_result region_find_in_process(pid_t pid, uint64_t *start_ticks, region_found *found,
                                          void *arg, char *why, size_t cap);

/* What every process here holds open, readers too. Returns how many processes there were; *denied:
 * how many of them may not be looked into. */
size_t region_find_in_processes(region_found *found, void *arg, size_t *denied);

/* Which file a path names: another one under the same name is another key. 0: it cannot be told. */
uint64_t region_file_key(const char *path);

#endif
