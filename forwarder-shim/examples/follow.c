/* SPDX-License-Identifier: Apache-2.0 */
/* Follows files; see follow.h for what it promises. */
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "memory.h"

#define CHUNK_BYTES      65536
#define LINE_BYTES_MAX   262144
#define POLL_BYTES_MAX   (1u << 20)
#define MEMORY_BYTES     64
#define SCAN_INTERVAL_MS 100
#define FAIL_INTERVAL_MS 10000
#define REPLACED_WAIT_MS 5000
#define NAMELESS_WAIT_MS 60000

/* One open file. */
struct tail {
    char *path; /* under which it was opened */
    int fd;
    dev_t device;
    ino_t inode;
    off_t offset;              /* of the next byte to read */
    struct timespec modified;  /* when that was last seen to be the end */
    char memory[MEMORY_BYTES]; /* the bytes before `offset`: they tell a rewritten file */
    size_t memory_bytes;
    char *partial; /* the line that has no newline yet */
    size_t partial_bytes;
    size_t partial_room;
    bool listed;                /* found by the last scan */
    bool rotated;               /* has lost its name, and the listener knows */
    bool replaced;              /* another file has its name */
    bool behind;                /* its last read did not reach the end */
    uint64_t nameless_since_ns; /* or since its last data; 0: it has its name */
};

struct follow {
    char *const *patterns;
    size_t pattern_count;
    const struct follow_listener *listener;
    bool from_end;
    struct tail *tails[FOLLOW_FILES_MAX];
    size_t tail_count;
    uint64_t scanned_ns; /* 0: never */
    uint64_t failed_ns;  /* when the listener was last told of a failure */
    char chunk[CHUNK_BYTES];
};

static void tell_failure(struct follow *follow, const char *path, int error)
{
    uint64_t now = clock_monotonic_ns();
    if (follow->failed_ns != 0 && now - follow->failed_ns < (uint64_t)FAIL_INTERVAL_MS * NS_PER_MS)
        return;
    follow->failed_ns = now;
    follow->listener->failed(follow->listener->context, path, error);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void give_partial(struct follow *follow, struct tail *tail, bool cut)
{
    follow->listener->line(follow->listener->context, tail->partial, tail->partial_bytes,
                           tail->path, cut);
    tail->partial_bytes = 0;
}

static void keep_partial(struct follow *follow, struct tail *tail, const char *bytes, size_t count)
{
    while (tail->partial_bytes + count > LINE_BYTES_MAX) {
        size_t fits = LINE_BYTES_MAX - tail->partial_bytes;
        tail->partial = memory_grow(tail->partial, &tail->partial_room, LINE_BYTES_MAX, 1);
        memcpy(tail->partial + tail->partial_bytes, bytes, fits);
        tail->partial_bytes += fits;
        bytes += fits;
        count -= fits;
        give_partial(follow, tail, true);
    }
    tail->partial = memory_grow(tail->partial, &tail->partial_room, tail->partial_bytes + count, 1);
    if (count > 0)
        memcpy(tail->partial + tail->partial_bytes, bytes, count);
    tail->partial_bytes += count;
}

/* Gives the lines that end in these bytes, and keeps what follows the last newline. */
static void give_lines(struct follow *follow, struct tail *tail, const char *bytes, size_t count)
{
    const char *end = bytes + count;
    for (const char *newline; (newline = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL;
         bytes = newline + 1) {
        size_t length = (size_t)(newline - bytes);
        if (tail->partial_bytes == 0 && length <= LINE_BYTES_MAX) {
            follow->listener->line(follow->listener->context, bytes, length, tail->path, false);
        } else {
            keep_partial(follow, tail, bytes, length);
            give_partial(follow, tail, false);
        }
    }
    keep_partial(follow, tail, bytes, (size_t)(end - bytes));
}

/* ---- one file -------------------------------------------------------------------------------- */

/* Remembers the last bytes of what was read up to tail->offset. */
static void remember(struct tail *tail, const char *bytes, size_t count)
{
    if (count >= MEMORY_BYTES) {
        memcpy(tail->memory, bytes + count - MEMORY_BYTES, MEMORY_BYTES);
        tail->memory_bytes = MEMORY_BYTES;
        return;
    }
    size_t kept = MEMORY_BYTES - count;
    if (kept > tail->memory_bytes)
        kept = tail->memory_bytes;
    memmove(tail->memory, tail->memory + tail->memory_bytes - kept, kept);
    memcpy(tail->memory + kept, bytes, count);
    tail->memory_bytes = kept + count;
}

/* Whether the file still holds what was last read of it. */
static bool memory_holds(const struct tail *tail)
{
    char now[MEMORY_BYTES];
    ssize_t got =
        pread(tail->fd, now, tail->memory_bytes, tail->offset - (off_t)tail->memory_bytes);
    return got == (ssize_t)tail->memory_bytes && memcmp(now, tail->memory, (size_t)got) == 0;
}

/* Begins a truncated file anew. What was kept of its last line can get no end any more. */
static void restart(struct follow *follow, struct tail *tail)
{
    if (tail->partial_bytes > 0)
        give_partial(follow, tail, false);
    tail->offset = 0;
    tail->memory_bytes = 0;
    follow->listener->truncated(follow->listener->context, tail->path);
}

/* Reads one chunk. False: nothing new. */
static bool read_chunk(struct follow *follow, struct tail *tail)
{
    struct stat status;
    if (fstat(tail->fd, &status) != 0) {
        tell_failure(follow, tail->path, errno);
        return false;
    }
    bool unchanged = status.st_size == tail->offset &&
                     status.st_mtim.tv_sec == tail->modified.tv_sec &&
                     status.st_mtim.tv_nsec == tail->modified.tv_nsec;
    if (unchanged)
        return false;
    if (status.st_size < tail->offset || !memory_holds(tail))
        restart(follow, tail);
    ssize_t got = pread(tail->fd, follow->chunk, CHUNK_BYTES, tail->offset);
    if (got < 0)
        tell_failure(follow, tail->path, errno);
    if (got <= 0) {
        tail->modified = status.st_mtim;
        return false;
    }
    tail->offset += got;
    remember(tail, follow->chunk, (size_t)got);
    give_lines(follow, tail, follow->chunk, (size_t)got);
    return true;
}

/* Reads up to the poll's share; tail->behind says whether there may be more. */
static void tail_read(struct follow *follow, struct tail *tail)
{
    size_t chunks = 0;
    while (chunks < POLL_BYTES_MAX / CHUNK_BYTES && read_chunk(follow, tail))
        chunks++;
    if (chunks > 0 && tail->nameless_since_ns != 0)
        tail->nameless_since_ns = clock_monotonic_ns();
    tail->behind = chunks == POLL_BYTES_MAX / CHUNK_BYTES;
}

/* Puts the offset after the last complete line. */
static void seek_to_end(struct follow *follow, struct tail *tail, off_t size)
{
    off_t begin = size;
    while (begin > 0) {
        off_t from = begin > CHUNK_BYTES ? begin - CHUNK_BYTES : 0;
        ssize_t got = pread(tail->fd, follow->chunk, (size_t)(begin - from), from);
        if (got <= 0)
            break;
        const char *newline = memrchr(follow->chunk, '\n', (size_t)got);
        if (newline != NULL) {
            begin = from + (newline - follow->chunk) + 1;
            break;
        }
        begin = from;
    }
    tail->offset = begin;
    off_t from = begin > MEMORY_BYTES ? begin - MEMORY_BYTES : 0;
    ssize_t got = pread(tail->fd, tail->memory, (size_t)(begin - from), from);
    tail->memory_bytes = got == begin - from ? (size_t)got : 0;
}

static void tail_free(struct tail *tail)
{
    close(tail->fd);
    free(tail->path);
    free(tail->partial);
    free(tail);
}

/* ---- which files there are ------------------------------------------------------------------- */

static struct tail *find_tail(struct follow *follow, const struct stat *status)
{
    for (size_t i = 0; i < follow->tail_count; i++)
        if (follow->tails[i]->device == status->st_dev && follow->tails[i]->inode == status->st_ino)
            return follow->tails[i];
    return NULL;
}

static void tell_rotated(struct follow *follow, struct tail *tail)
{
    if (tail->rotated)
        return;
    tail->rotated = true;
    follow->listener->rotated(follow->listener->context, tail->path);
}

/* Opens what stands under `path`. */
static void open_path(struct follow *follow, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (errno != ENOENT)
            tell_failure(follow, path, errno);
        if (fd >= 0)
            close(fd);
        return;
    }
    /* The name may have moved to another file since it was looked up. */
    struct tail *known = find_tail(follow, &status);
    if (known != NULL || !S_ISREG(status.st_mode) || follow->tail_count == FOLLOW_FILES_MAX) {
        if (known != NULL)
            known->listed = true;
        else if (S_ISREG(status.st_mode))
            tell_failure(follow, path, EMFILE);
        close(fd);
        return;
    }
    for (size_t i = 0; i < follow->tail_count; i++) {
        if (strcmp(follow->tails[i]->path, path) == 0) {
            tell_rotated(follow, follow->tails[i]);
            follow->tails[i]->replaced = true;
        }
    }
    struct tail *tail = memory_zeroed(1, sizeof(*tail));
    tail->path = memory_copy(path);
    tail->fd = fd;
    tail->device = status.st_dev;
    tail->inode = status.st_ino;
    tail->listed = true;
    if (follow->from_end && follow->scanned_ns == 0)
        seek_to_end(follow, tail, status.st_size);
    follow->tails[follow->tail_count++] = tail;
    follow->listener->opened(follow->listener->context, path);
}

static void scan_pattern(struct follow *follow, const char *pattern)
{
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            struct stat status;
            if (stat(found.gl_pathv[i], &status) != 0)
                continue;
            struct tail *tail = find_tail(follow, &status);
            if (tail != NULL)
                tail->listed = true;
            else if (S_ISREG(status.st_mode))
                open_path(follow, found.gl_pathv[i]);
        }
    }
    globfree(&found);
}

static bool is_deleted(const struct tail *tail)
{
    struct stat status;
    return fstat(tail->fd, &status) == 0 && status.st_nlink == 0;
}

/* Notes a tail that lost its name; true when it has been silent long enough to be closed. */
static bool nameless_is_done(struct follow *follow, struct tail *tail, uint64_t now)
{
    if (tail->listed) {
        tail->nameless_since_ns = 0;
        return false;
    }
    tell_rotated(follow, tail);
    if (tail->nameless_since_ns == 0)
        tail->nameless_since_ns = now;
    uint64_t wait_ms = tail->replaced || is_deleted(tail) ? REPLACED_WAIT_MS : NAMELESS_WAIT_MS;
    uint64_t since = tail->nameless_since_ns;
    if (now < since || now - since < wait_ms * NS_PER_MS)
        return false;
    tail_read(follow, tail);
    return tail->nameless_since_ns == since;
}

static void scan(struct follow *follow)
{
    for (size_t i = 0; i < follow->tail_count; i++)
        follow->tails[i]->listed = false;
    for (size_t i = 0; i < follow->pattern_count; i++)
        scan_pattern(follow, follow->patterns[i]);
    uint64_t now = clock_monotonic_ns();
    size_t kept = 0;
    for (size_t i = 0; i < follow->tail_count; i++) {
        struct tail *tail = follow->tails[i];
        if (!nameless_is_done(follow, tail, now)) {
            follow->tails[kept++] = tail;
            continue;
        }
        if (tail->partial_bytes > 0)
            give_partial(follow, tail, false);
        tail_free(tail);
    }
    follow->tail_count = kept;
    follow->scanned_ns = now;
}

/* ---- the whole ------------------------------------------------------------------------------- */

struct follow *follow_create(char *const *patterns, size_t count, bool from_end,
                             const struct follow_listener *listener)
{
    struct follow *follow = memory_zeroed(1, sizeof(*follow));
    follow->patterns = patterns;
    follow->pattern_count = count;
    follow->from_end = from_end;
    follow->listener = listener;
    return follow;
}

/* Whether the file that had this tail's name before has lines yet to give. */
static bool must_wait(const struct follow *follow, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        const struct tail *before = follow->tails[i];
        if (before->replaced && before->behind &&
            strcmp(before->path, follow->tails[index]->path) == 0)
            return true;
    }
    return false;
}

bool follow_poll(struct follow *follow)
{
    bool more = false;
    for (size_t i = 0; i < follow->tail_count; i++) {
        if (!must_wait(follow, i))
            tail_read(follow, follow->tails[i]);
        more |= follow->tails[i]->behind;
    }
    if (follow->scanned_ns != 0 &&
        clock_monotonic_ns() - follow->scanned_ns < (uint64_t)SCAN_INTERVAL_MS * NS_PER_MS)
        return more;
    size_t before = follow->tail_count;
    scan(follow);
    return more || follow->tail_count > before;
}

size_t follow_unfinished_bytes(const struct follow *follow)
{
    size_t bytes = 0;
    for (size_t i = 0; i < follow->tail_count; i++)
        bytes += follow->tails[i]->partial_bytes;
    return bytes;
}

void follow_free(struct follow *follow)
{
    for (size_t i = 0; i < follow->tail_count; i++)
        tail_free(follow->tails[i]);
    free(follow);
}
