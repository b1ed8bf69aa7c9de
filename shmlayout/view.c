/* SPDX-License-Identifier: Apache-2.0 */
/* Regions as files: the reader's side. No part of it is in the library that a forwarder links. */
#include "region_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- opening ----------------------------------------------------------------------------------
 */

bool fws_path_is_process_link(const char *path)
{
    int end = 0;
    if (strncmp(path, "/proc/", 6) != 0 || path[6] < '1' || path[6] > '9')
        return false;
    if (sscanf(path, "/proc/%*u/fd/%*u%n", &end) == 0 && end > 0)
        return path[end] == '\0';
    end = 0;
    return sscanf(path, "/proc/%*u/map_files/%*x-%*x%n", &end) == 0 && end > 0 && path[end] == '\0';
}

/* Opens what such a link leads to. It is named first and looked at, then opened by that name: what
 * acts on being opened never is, whatever the process puts there meanwhile. What is no regular file
 * stays only named: who looks at the descriptor refuses it. */
static int process_link_open(const char *path)
{
    char named[32];
    struct stat st;
    int fd = fws_fd_above_stdio(open(path, O_PATH | O_CLOEXEC));
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return fd;
    snprintf(named, sizeof named, "/proc/self/fd/%d", fd);
    int file = fws_fd_above_stdio(open(named, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    int saved = errno;
    close(fd);
    errno = saved;
    return file;
}

static int path_open(const char *path)
{
    return fws_path_is_process_link(path) ? process_link_open(path) : fws_file_open(AT_FDCWD, path);
}
enum fws_lock_state fws_lock_ask_file(const char *path)
{
    enum fws_lock_state state = FWS_LOCK_UNKNOWN;
    struct stat st;
    int fd = path_open(path);
    if (fd < 0)
        return state;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        state = fws_lock_ask(fd);
    close(fd);
    return state;
}

/* ---- attaching ------------------------------------------------------------------------------- */

/* A dead region with up to this much data is copied, so that nobody can take it away. A larger one
 * is mapped: a file that somebody put there must not cost the reader its memory. */
#define COPY_BYTES_MAX (UINT64_C(16) << 20)

/* Reads the data of a file into untouched private memory. Holes stay untouched, so that a sparse
 * file of any size costs its data only. False: the file ends before `bytes`, it has more data than
 * is copied, or an error (errno; 0: the former). */
static bool read_data(int fd, char *out, uint64_t bytes, uint64_t *copied)
{
    struct stat st;
    *copied = 0;
    for (uint64_t at = 0; at < bytes;) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return false;
        if (data < 0 || (uint64_t)data >= bytes)
            break; /* nothing but a hole to the end */
        off_t hole = lseek(fd, data, SEEK_HOLE);
        if (hole <= data)
            return false;
        const uint64_t end = (uint64_t)hole < bytes ? (uint64_t)hole : bytes;
        *copied += end - (uint64_t)data;
        errno = 0;
        if (*copied > COPY_BYTES_MAX ||
            !fws_read_whole(fd, out + data, end - (uint64_t)data, (uint64_t)data))
            return false;
        at = end;
    }
    errno = 0;
    return fstat(fd, &st) == 0 && (uint64_t)st.st_size >= bytes;
}

static enum fws_attach view_copy(struct fws_view *view, const char *path, char *why, size_t cap)
{
    void *copy = mmap(NULL, (size_t)view->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED) {
        snprintf(why, cap, "%s: no memory for a copy of %llu bytes", path,
                 (unsigned long long)view->bytes);
        return FWS_ATTACH_FAILED;
    }
    if (!read_data(view->fd, copy, view->bytes, &view->copied_bytes)) {
        snprintf(why, cap, "%s: cannot be read whole: %s", path,
                 errno != 0 ? strerror(errno) : "it changed meanwhile");
        munmap(copy, (size_t)view->bytes);
        view->copied_bytes = 0;
        return FWS_ATTACH_CORRUPT;
    }
    view->words = copy;
    view->copied = true;
    return FWS_ATTACH_OK;
}

/* Whether reading a hole through a map would allocate it, on somebody's account. */
static bool holes_cost(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) != 0 || fs.f_type == TMPFS_MAGIC;
}

/* Makes view->words: a map of a live region, a private copy of a dead one. */
static enum fws_attach view_load(struct fws_view *view, const struct stat *st, const char *path,
                                 char *why, size_t cap)
{
    const uint64_t allocated = (uint64_t)st->st_blocks * 512;
    char reason[160];

    if (fws_lock_ask(view->fd) != FWS_LOCK_HELD && allocated <= COPY_BYTES_MAX)
        return view_copy(view, path, why, cap);
    if (allocated < view->bytes && holes_cost(view->fd)) {
        snprintf(why, cap, "%s: has holes: only %llu of %llu bytes are allocated", path,
                 (unsigned long long)allocated, (unsigned long long)view->bytes);
        return FWS_ATTACH_CORRUPT;
    }
    view->words = fws_map_shared(view->fd, view->bytes, PROT_READ, reason, sizeof reason);
    if (view->words == NULL) {
        snprintf(why, cap, "%s: %s", path, reason);
        return FWS_ATTACH_FAILED;
    }
    return FWS_ATTACH_OK;
}

/* Checks what the file is and its prefix. */
static enum fws_attach view_check(struct fws_view *view, const char *path, struct stat *st,
                                  char *why, size_t cap)
{
    if (fstat(view->fd, st) != 0 || !S_ISREG(st->st_mode)) {
        snprintf(why, cap, "%s: not a regular file", path);
        return FWS_ATTACH_CORRUPT;
    }
    if (!fws_read_whole(view->fd, view->prefix, sizeof view->prefix, 0)) {
        snprintf(why, cap, "%s: truncated: %lld bytes are less than a header", path,
                 (long long)st->st_size);
        return FWS_ATTACH_CORRUPT;
    }
    enum fws_verdict verdict = fws_check_prefix(view->prefix, (uint64_t)st->st_size);
    if (verdict == FWS_MAJOR_OTHER) {
        snprintf(why, cap,
                 "%s: layout %llu.%llu, this version reads %u.x: use a fwdscope of that version",
                 path, (unsigned long long)view->prefix[FWS_H_MAJOR],
                 (unsigned long long)view->prefix[FWS_H_MINOR], FWS_LAYOUT_MAJOR);
        return FWS_ATTACH_INCOMPATIBLE;
    }
    if (verdict == FWS_TRUNCATED) {
        snprintf(why, cap, "%s: truncated: %lld of %llu bytes are there", path,
                 (long long)st->st_size, (unsigned long long)view->prefix[FWS_H_REGION_BYTES]);
        return FWS_ATTACH_CORRUPT;
    }
    if (verdict != FWS_OK) {
        snprintf(why, cap, "%s: %s", path, fws_verdict_text(verdict));
        return fws_attach_of_verdict(verdict);
    }
    view->bytes = view->prefix[FWS_H_REGION_BYTES];
    return FWS_ATTACH_OK;
}

/* Opens and checks; on failure nothing is open. */
static enum fws_attach view_open(const char *path, struct fws_view *out, struct stat *st, char *why,
                                 size_t cap)
{
    *out = (struct fws_view){.fd = -1};
    int fd = path_open(path);
    if (fd < 0) {
        int error = errno;
        snprintf(why, cap, "%s: %s", path,
                 error == ELOOP ? "a symbolic link, not a region" : strerror(error));
        return fws_attach_of_errno(error);
    }
    out->fd = fd;
    enum fws_attach result = view_check(out, path, st, why, cap);
    if (result != FWS_ATTACH_OK) {
        close(fd);
        out->fd = -1;
    }
    return result;
}

enum fws_attach fws_view_attach(const char *path, struct fws_view *out, char *why, size_t cap)
{
    struct stat st;
    enum fws_attach result = view_open(path, out, &st, why, cap);
    if (result == FWS_ATTACH_OK)
        result = view_load(out, &st, path, why, cap);
    if (result != FWS_ATTACH_OK)
        fws_view_detach(out);
    return result;
}

enum fws_attach fws_header_read(const char *path, uint64_t header[FWS_H_WORDS],
                                enum fws_lock_state *lock, char *why, size_t cap)
{
    struct fws_view view;
    struct stat st;
    *lock = FWS_LOCK_UNKNOWN;
    memset(header, 0, FWS_PAGE_BYTES);
    enum fws_attach result = view_open(path, &view, &st, why, cap);
    memcpy(header, view.prefix, sizeof view.prefix);
    if (result != FWS_ATTACH_OK)
        return result;
    *lock = fws_lock_ask(view.fd);
    if (!fws_read_whole(view.fd, header, FWS_PAGE_BYTES, 0)) {
        snprintf(why, cap, "%s: cannot be read whole: %s", path,
                 errno != 0 ? strerror(errno) : "it changed meanwhile");
        result = FWS_ATTACH_CORRUPT;
    }
    fws_view_detach(&view);
    /* The prefix that was checked, whatever it says by now. */
    memcpy(header, view.prefix, sizeof view.prefix);
    return result;
}

void fws_view_detach(struct fws_view *view)
{
    if (view->words != NULL)
        munmap((void *)(uintptr_t)view->words, (size_t)view->bytes);
    if (view->fd >= 0)
        close(view->fd);
    view->copied_bytes = 0;
    view->words = NULL;
    view->fd = -1;
}

/* ---- SIGBUS ---------------------------------------------------------------------------------- */

/* What the running guard of this thread protects; base NULL: none runs. */
static _Thread_local struct {
    const char *volatile base;
    volatile size_t bytes;
    sigjmp_buf back;
} guard;

static struct sigaction bus_before;
static pthread_once_t bus_once = PTHREAD_ONCE_INIT;

static void bus_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    const char *at = info->si_addr;
    if (guard.base != NULL && at >= guard.base && (size_t)(at - guard.base) < guard.bytes) {
        /* The mask of the code that was interrupted, which a return would have restored. Whoever
         * delivers the signal to us, a sanitizer's runtime for one, may have blocked more. */
        const ucontext_t *interrupted = context;
        pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
        siglongjmp(guard.back, 1);
    }
    /* Not ours: the fault happens again under the handler that was there before. */
    sigaction(SIGBUS, &bus_before, NULL);
}

static void bus_install(void)
{
    struct sigaction action = {.sa_sigaction = bus_handler, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &bus_before);
}

bool fws_view_guard(const struct fws_view *view, void (*fn)(void *arg), void *arg)
{
    if (view->copied) { /* private memory: nobody can cut it */
        fn(arg);
        return true;
    }
    pthread_once(&bus_once, bus_install);
    volatile bool whole = false; /* set after fn in truth, not only in the order of the source */
    /* The mask is not saved, which would be a system call each time: the handler restores it. */
    if (sigsetjmp(guard.back, 0) == 0) {
        guard.bytes = (size_t)view->bytes;
        guard.base = (const char *)view->words;
        fn(arg);
        whole = true;
    }
    guard.base = NULL;
    return whole;
}
