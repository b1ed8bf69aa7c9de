/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regions as files: create and lock (the writer), attach and guard (readers). The only system calls
 * of shmlayout. No malloc, no logging; reasons go into the caller's buffer.
 */
#ifndef SHMLAYOUT_REGION_H
#define SHMLAYOUT_REGION_H

#include "shmlayout/atomic.h"
#include "shmlayout/layout.h"
#include "shmlayout/validate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the writer ------------------------------------------------------------------------------ */

struct fws_region {
    fws_word *words; /* the map, read-write, MADV_DONTFORK */
    uint64_t bytes;
    int fd;      /* keeps the OFD write lock; the kernel drops it on any death */
    uint64_t device, inode; /* of the file: tells whether fd is still ours */
    char path[4096];
};

/*
 * Makes a region file of `bytes` bytes in directory `dir` under a temporary name: exclusive, no
 * links followed, mode 0640, every block allocated, mapped, locked. The caller fills it and then
 * calls fws_region_publish(). False and a one-line reason in why (cap bytes) on any failure; nothing
 * is then left behind. allow_disk: accept a file system that is not tmpfs.
 * *no_space (may be NULL) tells whether room was what was missing.
 */
bool fws_region_create(const char *dir, const char *file_name, uint64_t bytes, bool allow_disk,
                       struct fws_region *out, bool *no_space, char *why, size_t cap);

/*
 * The same without a file: a memfd named FWS_MEMFD_PREFIX and `name`, mode 0444, sealed against
 * shrinking, growing, every later writer and any change of the seals; only the map that is returned
 * writes. It is reached through /proc/PID/fd/N, which region->path then says, and gone with its
 * process. Needs Linux 5.1. False and why as above.
 */
bool fws_region_create_sealed(const char *name, uint64_t bytes, struct fws_region *out, char *why,
                              size_t cap);

/* Stamps the checksum, publishes the magic and moves the file to its name (dir NULL: a memfd, there
 * is nothing to move). False: as above, and the file is gone. */
bool fws_region_publish(struct fws_region *region, const char *dir, const char *file_name,
                        char *why, size_t cap);

/* Gives everything back and removes the temporary file (dir NULL: a memfd, there is none): for a
 * create that is not carried through. */
void fws_region_abandon(struct fws_region *region, const char *dir, const char *file_name);

/* The region's writer ends in good order: drops the lock and closes the descriptor, the map stays.
 * A descriptor that the host closed, and perhaps uses for something else now, is left alone; the
 * lock then lasts as long as the map. */
void fws_region_release(struct fws_region *region);

/* In a forked child, which has no map: closes its copy of the descriptor, under the same condition.
 * The lock is shared with the parent and stays the parent's. Where the map was there is private
 * memory then: a call that a handler interrupted to fork ends in it. Async-signal-safe. */
void fws_region_disown(struct fws_region *region);

/* ---- readers --------------------------------------------------------------------------------- */

struct fws_view {
    const fws_word *words; /* a read-only map, or a private copy of a dead region's file */
    uint64_t bytes;        /* of the region */
    int fd;                /* read-only */
    bool copied;           /* words is private memory */
    uint64_t copied_bytes; /* so much of it: holes of the file cost none */
    uint64_t prefix[FWS_H_PREFIX_WORDS]; /* the checked copy */
};

enum fws_attach {
    FWS_ATTACH_OK,
    FWS_ATTACH_NOT_FOUND,
    FWS_ATTACH_NOT_READY,
    FWS_ATTACH_DENIED,
    FWS_ATTACH_INCOMPATIBLE,
    FWS_ATTACH_CORRUPT,
    FWS_ATTACH_FAILED,
};

/*
 * Opens and checks the region at path, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC: a regular file,
 * sizes within limits, every block allocated, prefix and directory sound. Live (lock held): mapped
 * read-only. Dead: read into private memory, or mapped when it has more than 16 MiB of data. Fills
 * out->prefix also on INCOMPATIBLE. Otherwise a one-line reason in why.
 */
enum fws_attach fws_view_attach(const char *path, struct fws_view *out, char *why, size_t cap);
void fws_view_detach(struct fws_view *view);

/*
 * Whether path is a link of the kernel's to what a process has open or mapped: /proc/N/fd/M or
 * /proc/N/map_files/A-B. Every call here that takes a path follows such a link, and no other. What
 * it leads to is looked at before it is opened, so that a process can make nobody open a device.
 */
bool fws_path_is_process_link(const char *path);

enum fws_lock_state { FWS_LOCK_UNKNOWN, FWS_LOCK_HELD, FWS_LOCK_FREE };
/* Whether a writer holds the lock of the region on fd. Works across pid namespaces and uids. */
enum fws_lock_state fws_lock_ask(int fd);
/* The same of the regular file at path; UNKNOWN when there is none, or it cannot be opened. */
enum fws_lock_state fws_lock_ask_file(const char *path);

/*
 * Runs fn(arg), which reads the view's words; false when the file was cut short underneath
 * (SIGBUS), in which case fn was left in the middle. fn must hold no resource that it alone could
 * give back. Installs a SIGBUS handler for the process at its first use; a SIGBUS that is not ours
 * goes to the handler that was there before. Any thread, not nested.
 */
bool fws_view_guard(const struct fws_view *view, void (*fn)(void *arg), void *arg);

/*
 * Reads the header page of the region at path, without mapping it, and asks its lock before that:
 * a header read while the lock was free is final. Fills header also on INCOMPATIBLE; otherwise a
 * one-line reason in why.
 */
enum fws_attach fws_header_read(const char *path, uint64_t header[FWS_H_WORDS],
                                enum fws_lock_state *lock, char *why, size_t cap);

/* Reads the frozen prefix of a file by pread, without mapping it. OK, and INCOMPATIBLE for another
 * major or an unknown feature: the prefix is sound, and *fd_out is open. A prefix in another byte
 * order, or of another word, is CORRUPT to the caller, who takes its numbers as they stand. */
enum fws_attach fws_prefix_read(int dirfd, const char *name, uint64_t prefix[FWS_H_PREFIX_WORDS],
                                int *fd_out);

#endif
