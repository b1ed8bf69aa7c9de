/* SPDX-License-Identifier: Apache-2.0 */
/* Regions as files: the writer's side, and what a writer asks of other writers' files. */
#include "region_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* ---- small things ---------------------------------------------------------------------------- */

int fws_fd_above_stdio(int fd)
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
    int fd = fws_fd_above_stdio(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
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

fws_word *fws_map_shared(int fd, uint64_t bytes, int protection, char *why, size_t cap)
{
    void *map = mmap(NULL, (size_t)bytes, protection, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        snprintf(why, cap, "cannot map %llu bytes: %s", (unsigned long long)bytes, strerror(errno));
        return NULL;
    }
    return map;
}

/* What both backings do with their open descriptor: learn the file, lock it, allocate it, map it.
 * False and why; the descriptor stays the caller's, and nothing else is left. */
static bool region_fill(struct fws_region *region, int fd, const char *where, bool *no_space,
                        char *why, size_t cap)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(why, cap, "cannot keep a descriptor of a file in %s: %s", where, strerror(errno));
        return false;
    }
    region->device = (uint64_t)st.st_dev;
    region->inode = (uint64_t)st.st_ino;
    if (!lock_take(fd, why, cap) || !blocks_allocate(fd, region->bytes, where, no_space, why, cap))
        return false;
    region->words = fws_map_shared(fd, region->bytes, PROT_READ | PROT_WRITE, why, cap);
    if (region->words == NULL)
        return false;
    if (madvise((void *)region->words, (size_t)region->bytes, MADV_DONTFORK) == 0) {
        region->fd = fd;
        return true;
    }
    snprintf(why, cap, "cannot keep the map out of forked children: %s", strerror(errno));
    munmap((void *)region->words, (size_t)region->bytes);
    region->words = NULL;
    return false;
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
    fd = fws_fd_above_stdio(fd);
    if (fd >= 0 && fchmod(fd, 0640) != 0) { /* whatever the umask is: the group reads */
        snprintf(why, cap, "cannot set the mode of %s/%s: %s", dir, temp, strerror(errno));
        goto fail_file;
    }
    if (!region_fill(out, fd, dir, no_space, why, cap))
        goto fail_file;
    close(dirfd);
    return true;

fail_file:
    unlinkat(dirfd, temp, 0);
    if (fd >= 0)
        close(fd);
fail_directory:
    close(dirfd);
    return false;
}

bool fws_region_create_sealed(const char *name, uint64_t bytes, struct fws_region *out, char *why,
                              size_t cap)
{
    /* Never shorter, never longer, no later writer, and so for ever. The map that is there goes on
     * to write. */
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
    char full[200];
    bool no_space;
    *out = (struct fws_region){.fd = -1, .bytes = bytes};
    snprintf(full, sizeof full, FWS_MEMFD_PREFIX "%s", name);
    int fd = fws_fd_above_stdio(memfd_create(full, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0) {
        snprintf(why, cap, "cannot make a memfd: %s", strerror(errno));
        return false;
    }
    if (region_fill(out, fd, "memory", &no_space, why, cap)) {
        /* Whoever may look into this process may read it; nobody runs it. */
        if (fcntl(fd, F_ADD_SEALS, seals) == 0 && fchmod(fd, 0444) == 0) {
            snprintf(out->path, sizeof out->path, "/proc/%d/fd/%d", (int)getpid(), fd);
            return true;
        }
        snprintf(why, cap, "cannot seal a memfd: %s%s", strerror(errno),
                 errno == EINVAL ? ": needs Linux 5.1; leave sealed_memfd unset" : "");
        munmap((void *)out->words, (size_t)bytes);
    }
    close(fd);
    out->words = NULL;
    out->fd = -1;
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
    if (dir == NULL) /* a memfd has no name to be moved to */
        return true;

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
    if (dir != NULL && temp_name(file_name, temp, sizeof temp)) {
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
    /* Never in the place of something else: a map that is there, or a newer one, stays. */
    if (region->words != NULL)
        (void)mmap((void *)region->words, (size_t)region->bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (descriptor_is_ours(region))
        close(region->fd);
    region->fd = -1;
}

/* ---- other writers' files ---------------------------------------------------------------------
 */

enum fws_lock_state fws_lock_ask(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return FWS_LOCK_UNKNOWN;
    return lock.l_type == F_UNLCK ? FWS_LOCK_FREE : FWS_LOCK_HELD;
}

int fws_file_open(int dirfd, const char *path)
{
    return fws_fd_above_stdio(openat(dirfd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
}

enum fws_attach fws_attach_of_errno(int error)
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

enum fws_attach fws_attach_of_verdict(enum fws_verdict verdict)
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

bool fws_read_whole(int fd, void *out, uint64_t bytes, uint64_t offset)
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
    int fd = fws_file_open(dirfd, name);
    if (fd < 0)
        return fws_attach_of_errno(errno);
    struct stat st;
    enum fws_verdict verdict = FWS_FOREIGN;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
        fws_read_whole(fd, prefix, FWS_H_PREFIX_WORDS * FWS_WORD_BYTES, 0))
        verdict = fws_check_prefix(prefix, (uint64_t)st.st_size);
    if (verdict == FWS_OK || verdict == FWS_MAJOR_OTHER || verdict == FWS_INCOMPAT_UNKNOWN) {
        *fd_out = fd;
        return fws_attach_of_verdict(verdict);
    }
    close(fd);
    return verdict == FWS_NOT_READY ? FWS_ATTACH_NOT_READY : FWS_ATTACH_CORRUPT;
}
