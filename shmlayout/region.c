/* SPDX-License-Identifier: Apache-2.0 */
/* Regions as files: the only system calls of shmlayout. */
#include "shmlayout/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- small things ---------------------------------------------------------------------------- */

/* A descriptor of 3 or more: a host that closed its standard streams must never print into us. */
static int above_stdio(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int saved = errno;
    close(fd);
    errno = saved;
    return high;
}

static bool temp_name(const char *file_name, char *out, size_t cap)
{
    int n = snprintf(out, cap, ".%s" FWS_TEMP_SUFFIX, file_name);
    return n > 0 && (size_t)n < cap;
}

/* ---- the writer ---------------------------------------------------------------------------------
 */

/* Opens the directory and refuses it when a map in it could stall the writer. -1 and why. */
static int directory_open(const char *dir, bool allow_disk, char *why, size_t cap)
{
    int fd = above_stdio(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) {
        snprintf(why, cap, "cannot open directory %s: %s", dir, strerror(errno));
        return -1;
    }
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0) {
        snprintf(why, cap, "cannot ask what file system %s is on: %s", dir, strerror(errno));
        close(fd);
        return -1;
    }
    if (fs.f_type != TMPFS_MAGIC && !allow_disk) {
        snprintf(why, cap,
                 "%s is not on tmpfs (file system type 0x%llx): a disk could stall the forwarder; "
                 "use a tmpfs such as /dev/shm or set allow_disk",
                 dir, (unsigned long long)fs.f_type);
        close(fd);
        return -1;
    }
    return fd;
}

/* Allocates every block, so that a full file system shows now and never as SIGBUS later. */
static bool blocks_allocate(int fd, uint64_t bytes, const char *dir, bool *no_space, char *why,
                            size_t cap)
{
    struct rlimit limit;
    /* Beyond this limit the kernel would send SIGXFSZ, which kills by default. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < bytes) {
        snprintf(why, cap, "the region needs %llu bytes but RLIMIT_FSIZE is %llu: raise ulimit -f",
                 (unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
        return false;
    }
    int error;
    int tries = 0;
    do {
        error = posix_fallocate(fd, 0, (off_t)bytes);
    } while (error == EINTR && ++tries < 16);
    if (error == 0)
        return true;
    *no_space = error == ENOSPC || error == EDQUOT;
    snprintf(why, cap, "cannot allocate %llu bytes in %s: %s%s", (unsigned long long)bytes, dir,
             strerror(error), *no_space ? ": enlarge it or configure smaller rings" : "");
    return false;
}

static bool lock_take(int fd, char *why, size_t cap)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return true;
    snprintf(why, cap, "cannot lock the region: %s", strerror(errno));
    return false;
}

static fws_word *map_shared(int fd, uint64_t bytes, int protection, char *why, size_t cap)
{
    void *map = mmap(NULL, (size_t)bytes, protection, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        snprintf(why, cap, "cannot map %llu bytes: %s", (unsigned long long)bytes, strerror(errno));
        return NULL;
    }
    return map;
}

bool fws_region_create(const char *dir, const char *file_name, uint64_t bytes, bool allow_disk,
                       struct fws_region *out, bool *no_space, char *why, size_t cap)
{
    char temp[300];
    bool unused;
    if (no_space == NULL)
        no_space = &unused;
    *no_space = false;
    *out = (struct fws_region){.fd = -1, .bytes = bytes};
    int n = snprintf(out->path, sizeof out->path, "%s/%s", dir, file_name);
    if (!temp_name(file_name, temp, sizeof temp) || n < 0 || (size_t)n >= sizeof out->path) {
        snprintf(why, cap, "the path %.64s.../%.64s is too long", dir, file_name);
        return false;
    }
    int dirfd = directory_open(dir, allow_disk, why, cap);
    if (dirfd < 0)
        return false;
    int fd = openat(dirfd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0) {
        *no_space = errno == ENOSPC || errno == EDQUOT;
        snprintf(why, cap, "cannot create a file in %s: %s", dir, strerror(errno));
        goto fail_directory;
    }
    fd = above_stdio(fd);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, cap, "cannot keep a descriptor of %s/%s: %s", dir, temp, strerror(errno));
        goto fail_file;
    }
    out->device = (uint64_t)st.st_dev;
    out->inode = (uint64_t)st.st_ino;
    if (fchmod(fd, 0640) != 0) { /* whatever the umask is: the group reads */
        snprintf(why, cap, "cannot set the mode of %s/%s: %s", dir, temp, strerror(errno));
        goto fail_file;
    }
    if (!lock_take(fd, why, cap) || !blocks_allocate(fd, bytes, dir, no_space, why, cap))
        goto fail_file;
    out->words = map_shared(fd, bytes, PROT_READ | PROT_WRITE, why, cap);
    if (out->words == NULL)
        goto fail_file;
    if (madvise((void *)out->words, (size_t)bytes, MADV_DONTFORK) != 0) {
        snprintf(why, cap, "cannot keep the map out of forked children: %s", strerror(errno));
        goto fail_map;
    }
    out->fd = fd;
    close(dirfd);
    return true;

fail_map:
    munmap((void *)out->words, (size_t)bytes);
    out->words = NULL;
fail_file:
    unlinkat(dirfd, temp, 0);
    if (fd >= 0)
        close(fd);
fail_directory:
    close(dirfd);
    return false;
}

bool fws_region_publish(struct fws_region *region, const char *dir, const char *file_name,
                        char *why, size_t cap)
{
    char temp[300], from[4096];
    uint64_t prefix[FWS_H_PREFIX_WORDS];

    for (int w = 0; w < FWS_H_PREFIX_WORDS; w++)
        prefix[w] = fws_peek(&region->words[w]); /* our own stores, same thread */
    fws_put(&region->words[FWS_H_CHECKSUM], fws_prefix_checksum(prefix));
    /* Release: who sees the magic sees the whole header and directory.
     * PAIRS WITH fws_view_attach (which reads by pread after it saw the file under its name). */
    fws_publish(&region->words[FWS_H_MAGIC], FWS_MAGIC);

    int n = -1;
    if (temp_name(file_name, temp, sizeof temp))
        n = snprintf(from, sizeof from, "%s/%s", dir, temp);
    if (n < 0 || (size_t)n >= sizeof from) {
        snprintf(why, cap, "the path %.64s/... is too long", dir);
    } else if (rename(from, region->path) == 0) {
        return true;
    } else {
        snprintf(why, cap, "cannot rename %s to %s: %s", from, region->path, strerror(errno));
    }
    fws_region_abandon(region, dir, file_name);
    return false;
}

void fws_region_abandon(struct fws_region *region, const char *dir, const char *file_name)
{
    char temp[300], path[4096];
    if (temp_name(file_name, temp, sizeof temp)) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, temp);
        if (n > 0 && (size_t)n < sizeof path)
            unlink(path);
    }
    if (region->words != NULL)
        munmap((void *)region->words, (size_t)region->bytes);
    if (region->fd >= 0)
        close(region->fd);
    region->words = NULL;
    region->fd = -1;
}

/* Whether the descriptor is still the region's: a host may close every number that it finds open
 * and get the same number again for a socket. */
static bool descriptor_is_ours(const struct fws_region *region)
{
    struct stat st;
    return region->fd >= 0 && fstat(region->fd, &st) == 0 &&
           (uint64_t)st.st_dev == region->device && (uint64_t)st.st_ino == region->inode;
}

void fws_region_release(struct fws_region *region)
{
    if (descriptor_is_ours(region)) {
        /* Closing is not enough: the map refers to the same open file and would keep the lock. */
        struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
        (void)fcntl(region->fd, F_OFD_SETLK, &lock);
        close(region->fd);
    }
    region->fd = -1;
}

void fws_region_disown(struct fws_region *region)
{
    if (descriptor_is_ours(region))
        close(region->fd);
    region->fd = -1;
}

/* ---- readers --------------------------------------------------------------------------------- */

enum fws_lock_state fws_lock_ask(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return FWS_LOCK_UNKNOWN;
    return lock.l_type == F_UNLCK ? FWS_LOCK_FREE : FWS_LOCK_HELD;
}

/* Opens a file of somebody else's for reading: follows no link, waits for nobody. */
static int open_foreign(int dirfd, const char *path)
{
    return above_stdio(openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
}

enum fws_lock_state fws_lock_ask_file(const char *path)
{
    enum fws_lock_state state = FWS_LOCK_UNKNOWN;
    struct stat st;
    int fd = open_foreign(AT_FDCWD, path);
    if (fd < 0)
        return state;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        state = fws_lock_ask(fd);
    close(fd);
    return state;
}

static enum fws_attach attach_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return FWS_ATTACH_NOT_FOUND;
    case EACCES:
    case EPERM:
        return FWS_ATTACH_DENIED;
    case ELOOP: /* a symbolic link */
    case ENXIO: /* a socket, or a FIFO without its other end */
    case ENODEV:
        return FWS_ATTACH_CORRUPT;
    default:
        return FWS_ATTACH_FAILED;
    }
}

static enum fws_attach attach_of_verdict(enum fws_verdict verdict)
{
    switch (verdict) {
    case FWS_OK:
        return FWS_ATTACH_OK;
    case FWS_NOT_READY:
        return FWS_ATTACH_NOT_READY;
    case FWS_BYTE_ORDER_OTHER:
    case FWS_WORD_SIZE_OTHER:
    case FWS_MAJOR_OTHER:
    case FWS_INCOMPAT_UNKNOWN:
        return FWS_ATTACH_INCOMPATIBLE;
    case FWS_FOREIGN:
    case FWS_TRUNCATED:
    case FWS_CHECKSUM_WRONG:
    case FWS_HEADER_WRONG:
        break;
    }
    return FWS_ATTACH_CORRUPT;
}

/* Reads [offset, offset + bytes) whole. False: the file ends before, or an error (errno; 0: end).
 */
static bool read_whole(int fd, void *out, uint64_t bytes, uint64_t offset)
{
    uint64_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(fd, (char *)out + done, (size_t)(bytes - done), (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = 0;
            return false;
        }
        done += (uint64_t)n;
    }
    return true;
}

enum fws_attach fws_prefix_read(int dirfd, const char *name, uint64_t prefix[FWS_H_PREFIX_WORDS],
                                int *fd_out)
{
    int fd = open_foreign(dirfd, name);
    if (fd < 0)
        return attach_of_errno(errno);
    struct stat st;
    enum fws_verdict verdict = FWS_FOREIGN;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        read_whole(fd, prefix, FWS_H_PREFIX_WORDS * FWS_WORD_BYTES, 0))
        verdict = fws_check_prefix(prefix, (uint64_t)st.st_size);
    if (verdict == FWS_OK || verdict == FWS_MAJOR_OTHER || verdict == FWS_INCOMPAT_UNKNOWN) {
        *fd_out = fd;
        return attach_of_verdict(verdict);
    }
    close(fd);
    return verdict == FWS_NOT_READY ? FWS_ATTACH_NOT_READY : FWS_ATTACH_CORRUPT;
}

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
            !read_whole(fd, out + data, end - (uint64_t)data, (uint64_t)data))
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
    view->words = map_shared(view->fd, view->bytes, PROT_READ, reason, sizeof reason);
    if (view->words == NULL) {
        snprintf(why, cap, "%s: %s", path, reason);
        return FWS_ATTACH_FAILED;
    }
    return FWS_ATTACH_OK;
}

static enum fws_attach view_check(struct fws_view *view, const char *path, char *why, size_t cap)
{
    struct stat st;
    if (fstat(view->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        snprintf(why, cap, "%s: not a regular file", path);
        return FWS_ATTACH_CORRUPT;
    }
    if (!read_whole(view->fd, view->prefix, sizeof view->prefix, 0)) {
        snprintf(why, cap, "%s: truncated: %lld bytes are less than a header", path,
                 (long long)st.st_size);
        return FWS_ATTACH_CORRUPT;
    }
    enum fws_verdict verdict = fws_check_prefix(view->prefix, (uint64_t)st.st_size);
    if (verdict == FWS_MAJOR_OTHER) {
        snprintf(why, cap,
                 "%s: layout %llu.%llu, this version reads %u.x: use a fwdscope of that version",
                 path, (unsigned long long)view->prefix[FWS_H_MAJOR],
                 (unsigned long long)view->prefix[FWS_H_MINOR], FWS_LAYOUT_MAJOR);
        return FWS_ATTACH_INCOMPATIBLE;
    }
    if (verdict == FWS_TRUNCATED) {
        snprintf(why, cap, "%s: truncated: %lld of %llu bytes are there", path,
                 (long long)st.st_size, (unsigned long long)view->prefix[FWS_H_REGION_BYTES]);
        return FWS_ATTACH_CORRUPT;
    }
    if (verdict != FWS_OK) {
        snprintf(why, cap, "%s: %s", path, fws_verdict_text(verdict));
        return attach_of_verdict(verdict);
    }
    view->bytes = view->prefix[FWS_H_REGION_BYTES];
    return view_load(view, &st, path, why, cap);
}

enum fws_attach fws_view_attach(const char *path, struct fws_view *out, char *why, size_t cap)
{
    *out = (struct fws_view){.fd = -1};
    int fd = open_foreign(AT_FDCWD, path);
    if (fd < 0) {
        int error = errno;
        snprintf(why, cap, "%s: %s", path,
                 error == ELOOP ? "a symbolic link, not a region" : strerror(error));
        return attach_of_errno(error);
    }
    out->fd = fd;
    enum fws_attach result = view_check(out, path, why, cap);
    if (result != FWS_ATTACH_OK) {
        close(fd);
        out->fd = -1;
    }
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
