/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opt-in: what the process writes to standard error goes to where it went before, byte by byte, and
 * line by line into the region. An object of its own, on public calls only: who does not call it
 * does not link it.
 *
 * Descriptor 2 becomes the writing end of a pipe. Whoever holds the token moves what is in the pipe
 * to the original first and into lines then: a thread, as soon as there is something; or, when the
 * process ends (exit, a caught fatal signal) and in fwdscope_stderr_flush(), the thread that asks.
 * A thread, and not a process that would survive SIGKILL: a child that the forwarder did not make
 * shows in its waitpid(), keeps its memory alive, and dies with the container all the same.
 */
#include "fwdscope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    PIPE_BYTES = 1 << 20,
    CHUNK_BYTES = 64 << 10,
    CAREFUL_BYTES = 4096, /* a pipe that is said to be writable takes so much without waiting */
    LINE_BYTES = 16 << 10,
    STACK_BYTES = 256 << 10,
    EXIT_MS = 1000,
    ASK_NS = 200000, /* between two tries at the token */
};
#define FOR_EVER UINT64_MAX

struct file_key {
    dev_t device;
    ino_t inode;
};

static struct {
    atomic_bool on;
    atomic_int token; /* the thread that moves bytes; 0: none */
    int reading, original;
    struct file_key pipe_key, original_key;
    bool prepared; /* the handlers of exit and fork are there */
    /* Of who has the token. */
    size_t chunk_from, chunk_to; /* taken out of the pipe, and not at the original yet */
    size_t line_bytes;           /* of a line that has no end yet */
    char chunk[CHUNK_BYTES];
    char line[LINE_BYTES];
} capture;

static uint64_t mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static struct file_key file_key(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return (struct file_key){0};
    return (struct file_key){st.st_dev, st.st_ino};
}

static bool is_file(int fd, struct file_key key)
{
    const struct file_key now = file_key(fd);
    return now.device == key.device && now.inode == key.inode;
}

/* Puts `fd` in the place of `at`, with the flag that tells whether exec closes it. */
static bool descriptor_put(int fd, int at)
{
    const int flags = fcntl(at, F_GETFD);
    return flags >= 0 && dup3(fd, at, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0) >= 0;
}

/* Gives standard error back, and standard output where the forwarder made it the same; not what it
 * put something else at. If it closed the original, they lead nowhere: a pipe that nobody reads
 * would end the forwarder by SIGPIPE. */
static void stderr_restore(void)
{
    const bool there = is_file(capture.original, capture.original_key);
    for (int at = STDOUT_FILENO; at <= STDERR_FILENO; at++) {
        if (!is_file(at, capture.pipe_key))
            continue;
        const int to = there ? capture.original : open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)descriptor_put(to, at);
        if (!there && to >= 0)
            (void)close(to);
    }
}

static void file_close(int fd, struct file_key key)
{
    if (is_file(fd, key))
        (void)close(fd);
}

/* The capture ends. Who waits for room in the pipe meets the end of it, as of the original. */
static void capture_end(void)
{
    stderr_restore();
    atomic_store(&capture.on, false);
    file_close(capture.reading, capture.pipe_key);
    file_close(capture.original, capture.original_key);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void line_record(void)
{
    const struct fwdscope_attribute stream = fwdscope_string("log.iostream", "stderr");
    const struct fwdscope_log_record record = {.severity = FWDSCOPE_SEVERITY_UNKNOWN,
                                               .body = capture.line,
                                               .body_bytes = capture.line_bytes,
                                               .attributes = &stream,
                                               .attribute_count = 1};
    if (capture.line_bytes > 0)
        fwdscope_log_record(&record);
    capture.line_bytes = 0;
}

/* A line longer than the limit becomes several records. */
static void lines_take(const char *bytes, size_t count)
{
    while (count > 0) {
        const char *end = memchr(bytes, '\n', count);
        const size_t room = LINE_BYTES - capture.line_bytes;
        size_t length = end != NULL ? (size_t)(end - bytes) : count;
        const bool whole = end != NULL && length <= room;
        length = length < room ? length : room;
        memcpy(capture.line + capture.line_bytes, bytes, length);
        capture.line_bytes += length;
        if (whole || capture.line_bytes == LINE_BYTES)
            line_record();
        bytes += length + whole;
        count -= length + whole;
    }
}

/* ---- moving bytes ---------------------------------------------------------------------------- */

enum moved { MOVED_ALL, MOVED_LATE, MOVED_BROKEN };

static bool original_is_ready(uint64_t deadline)
{
    struct pollfd original = {.fd = capture.original, .events = POLLOUT};
    const uint64_t now = mono_ns();
    const uint64_t left_ms = deadline > now ? (deadline - now) / 1000000 : 0;
    return poll(&original, 1, left_ms < INT_MAX ? (int)left_ms : -1) > 0;
}

/* Writes the chunk to the original. What that refuses for another reason than that nobody reads it
 * (a full disk) is lost, as it would have been without us. */
static enum moved chunk_write(uint64_t deadline)
{
    while (capture.chunk_from < capture.chunk_to) {
        size_t piece = capture.chunk_to - capture.chunk_from;
        if (deadline != FOR_EVER) {
            if (!original_is_ready(deadline))
                return MOVED_LATE;
            piece = piece < CAREFUL_BYTES ? piece : CAREFUL_BYTES;
        }
        const ssize_t n = write(capture.original, capture.chunk + capture.chunk_from, piece);
        if (n > 0) {
            capture.chunk_from += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!original_is_ready(deadline))
                return MOVED_LATE;
        } else if (n < 0 && errno != EINTR) {
            return errno == EPIPE ? MOVED_BROKEN : MOVED_ALL;
        }
    }
    return MOVED_ALL;
}

/* Takes a chunk out of the pipe. False: there is none now, or never again. */
static bool chunk_read(void)
{
    ssize_t n;
    do {
        n = read(capture.reading, capture.chunk, sizeof capture.chunk);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        capture_end(); /* nobody has the pipe any more */
    capture.chunk_to = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* Moves what is in the pipe: to the original first. The caller holds the token. */
static enum moved pipe_move(uint64_t deadline)
{
    while (atomic_load(&capture.on)) {
        /* Descriptors that the forwarder closed, and perhaps uses for something else now. */
        if (!is_file(capture.reading, capture.pipe_key) ||
            !is_file(capture.original, capture.original_key)) {
            capture_end();
            return MOVED_BROKEN;
        }
        if (capture.chunk_to == 0 && !chunk_read())
            return MOVED_ALL;
        const enum moved moved = chunk_write(deadline);
        if (moved == MOVED_LATE)
            return moved; /* the next one goes on with it */
        lines_take(capture.chunk, capture.chunk_to);
        capture.chunk_from = capture.chunk_to = 0;
        if (moved == MOVED_BROKEN) {
            capture_end(); /* the forwarder's next write meets the same error as it would have */
            return moved;
        }
    }
    return MOVED_ALL;
}

/* ---- the token ------------------------------------------------------------------------------- */

static bool token_take(uint64_t deadline)
{
    const struct timespec pause = {.tv_nsec = ASK_NS};
    const int me = (int)syscall(SYS_gettid);
    for (;;) {
        int holder = 0;
        if (atomic_compare_exchange_strong(&capture.token, &holder, me))
            return true;
        if (holder == me || mono_ns() >= deadline)
            return false; /* a signal on top of ourselves; or it takes too long */
        nanosleep(&pause, NULL);
    }
}

static void token_give(void)
{
    atomic_store(&capture.token, 0);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *capture_run(void *arg)
{
    (void)arg;
    while (atomic_load(&capture.on)) {
        struct pollfd reading = {.fd = capture.reading, .events = POLLIN};
        if (poll(&reading, 1, -1) < 0 && errno != EINTR)
            break;
        (void)token_take(FOR_EVER);
        (void)pipe_move(FOR_EVER);
        token_give();
    }
    return NULL;
}

static bool thread_start(void)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    (void)sigfillset(&all); /* the forwarder's signals go to the forwarder's threads */
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGBUS);
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    const bool started = pthread_create(&thread, &attributes, capture_run, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return started;
}

/* ---- the end of the process, and children ---------------------------------------------------- */

bool fwdscope_stderr_flush(unsigned ms)
{
    const int saved = errno;
    const uint64_t deadline = mono_ns() + (uint64_t)ms * 1000000;
    const struct timespec at_once = {0};
    sigset_t broken, before, pending;
    bool done = false;
    if (!atomic_load(&capture.on))
        return true;
    /* A broken original must not end the caller by a signal that it would not have met here. */
    (void)sigemptyset(&broken);
    (void)sigaddset(&broken, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &broken, &before);
    if (token_take(deadline)) {
        const enum moved moved = pipe_move(deadline);
        line_record(); /* a line that has no end yet, as it stands */
        token_give();
        if (moved == MOVED_BROKEN && sigismember(&pending, SIGPIPE) == 0)
            (void)sigtimedwait(&broken, NULL, &at_once);
        done = moved == MOVED_ALL;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return done;
}

void fwdscope_stderr_release(void)
{
    const int saved = errno;
    if (atomic_load(&capture.on)) {
        (void)fwdscope_stderr_flush(EXIT_MS);
        stderr_restore();
        (void)fwdscope_stderr_flush(EXIT_MS); /* what came in between */
    }
    errno = saved;
}

/* In a child made by fork(): there is no thread here that empties the pipe. */
static void child_let_go(void)
{
    const int saved = errno;
    if (atomic_load(&capture.on))
        capture_end();
    capture.line_bytes = capture.chunk_from = capture.chunk_to = 0;
    token_give();
    errno = saved;
}

/* ---- capture --------------------------------------------------------------------------------- */

static bool process_prepare(void)
{
    if (!capture.prepared)
        capture.prepared =
            pthread_atfork(NULL, NULL, child_let_go) == 0 && atexit(fwdscope_stderr_release) == 0;
    return capture.prepared;
}

/* A pipe whose ends are none of the standard descriptors. *writing is closed by the caller. */
static bool pipe_make(int *writing)
{
    int ends[2], moved[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        moved[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        (void)close(ends[i]);
    }
    capture.reading = moved[0];
    *writing = moved[1];
    if (moved[0] >= 0 && moved[1] >= 0 && fcntl(moved[0], F_SETFL, O_NONBLOCK) == 0)
        return true;
    (void)close(moved[0]);
    (void)close(moved[1]);
    return false;
}

/* Makes the pipe standard error; the ends and the original are there. */
static bool stderr_replace(int writing)
{
    const int flags = fcntl(STDERR_FILENO, F_GETFL);
    (void)fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES); /* or as much as there is */
    capture.pipe_key = file_key(capture.reading);
    capture.original_key = file_key(capture.original);
    /* Who does not want to wait for standard error does not wait for the pipe either. */
    if (flags < 0 || ((flags & O_NONBLOCK) != 0 && fcntl(writing, F_SETFL, O_NONBLOCK) != 0) ||
        !descriptor_put(writing, STDERR_FILENO))
        return false;
    atomic_store(&capture.on, true);
    return thread_start();
}

static bool capture_begin(void)
{
    bool captured = false;
    int writing;
    capture.original = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (capture.original < 0)
        return false;
    if (pipe_make(&writing)) {
        captured = stderr_replace(writing);
        (void)close(writing);
    } else {
        capture.reading = -1;
    }
    if (!captured)
        capture_end();
    return captured;
}

bool fwdscope_stderr_capture(void)
{
    const int saved = errno;
    /* Released while a child still has the pipe, it is on and yet nothing is captured. */
    const bool captured = atomic_load(&capture.on)
                              ? is_file(STDERR_FILENO, capture.pipe_key)
                              : fwdscope_is_on() && process_prepare() && capture_begin();
    errno = saved;
    return captured;
}
