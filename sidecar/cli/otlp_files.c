/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP JSON lines as three files, one a signal: whole under their names, or not at all. */
#include "otlp_files.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILES = 3,
    FILE_BYTES_MAX = 512 << 20,
    LINE_BYTES_MAX = 1 << 20, /* what the OpenTelemetry Collector reads unless told otherwise */
    LINE_RECORDS = 8192,
};

static const struct {
    enum signal signal;
    const char *name;
} files[FILES] = {
    {SIGNAL_METRICS, "metrics.jsonl"}, {SIGNAL_SPANS, "traces.jsonl"}, {SIGNAL_LOGS, "logs.jsonl"}};

struct output {
    int dir;
    const char *dir_name;
    char partial[FILES][64]; /* "": there is none */
    bool named[FILES];
    struct buffer lines;
    size_t line_count[FILES], bytes[FILES];
};

static bool fail(const struct output *out, size_t i, const char *what, int error)
{
    fprintf(stderr, "fwdscope dump: %s/%s: %s%s%s\n", out->dir_name, files[i].name, what,
            error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
    return false;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The lines of a signal: as many documents as are needed for lines of LINE_BYTES_MAX, as far as one
 * record fits into it; metrics are one. */
static bool lines_make(struct sampler *sampler, size_t i, struct output *out)
{
    size_t first = 0, max = LINE_RECORDS;
    buffer_reset(&out->lines);
    for (;;) { /* each round goes on by max or halves it */
        const size_t before = out->lines.length;
        uint64_t records = 0;
        const bool built =
            files[i].signal == SIGNAL_METRICS
                ? first == 0 && documents_dump(&sampler->documents, &sampler->fleet,
                                               files[i].signal, &out->lines)
                : documents_dump_part(&sampler->documents, &sampler->fleet, files[i].signal, first,
                                      max, &out->lines, &records);
        if (out->lines.failed || (!built && records > 0 && max == 1))
            return fail(out, i, "it would be too large", 0);
        if (!built && records == 0)
            return true;
        if (records > 0 && max > 1 && (!built || out->lines.length - before > LINE_BYTES_MAX)) {
            out->lines.length = before;
            max /= 2;
            continue;
        }
        buffer_append(&out->lines, "\n", 1);
        out->line_count[i]++;
        first += max;
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool file_write(int fd, const struct buffer *lines)
{
    for (size_t at = 0; at < lines->length;) {
        const ssize_t n = write(fd, lines->data + at, lines->length - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) == 0 || errno == EINVAL; /* of what has no disk behind it */
}

/* Writes the lines under a name that nobody reads. */
static bool partial_make(size_t i, struct output *out)
{
    snprintf(out->partial[i], sizeof out->partial[i], ".%s.%ld.partial", files[i].name,
             (long)getpid());
    int fd = openat(out->dir, out->partial[i], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0640);
    if (fd < 0) {
        const int error = errno;
        out->partial[i][0] = '\0';
        return fail(out, i, "cannot be made", error);
    }
    bool written = file_write(fd, &out->lines);
    int error = errno;
    if (close(fd) != 0 && written) {
        written = false;
        error = errno;
    }
    out->bytes[i] = out->lines.length;
    return written || fail(out, i, "cannot be written", error);
}

/* Gives it its name, which nobody else may have. */
static bool file_name(size_t i, struct output *out)
{
    bool named =
        renameat2(out->dir, out->partial[i], out->dir, files[i].name, RENAME_NOREPLACE) == 0;
    if (named) {
        out->partial[i][0] = '\0';
    } else if (errno == EINVAL || errno == ENOSYS) { /* a file system that has no such rename */
        named = linkat(out->dir, out->partial[i], out->dir, files[i].name, 0) == 0;
    }
    out->named[i] = named;
    return named || fail(out, i, "nothing is overwritten", errno);
}

static void partials_remove(struct output *out)
{
    for (size_t i = 0; i < FILES; i++) {
        if (out->partial[i][0] != '\0')
            (void)unlinkat(out->dir, out->partial[i], 0);
    }
}

static bool files_make(struct sampler *sampler, struct output *out)
{
    for (size_t i = 0; i < FILES; i++) {
        if (faccessat(out->dir, files[i].name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return fail(out, i, "nothing is overwritten", EEXIST);
    }
    for (size_t i = 0; i < FILES; i++) {
        if (!lines_make(sampler, i, out) || !partial_make(i, out))
            return false;
    }
    for (size_t i = 0; i < FILES; i++) {
        if (!file_name(i, out))
            return false;
    }
    return true;
}

int otlp_files_write(struct sampler *sampler, const char *dir_name)
{
    struct output out = {.dir_name = dir_name};
    if (mkdir(dir_name, 0750) != 0 && errno != EEXIST) {
        fprintf(stderr, "fwdscope dump: %s: %s\n", dir_name, strerror(errno));
        return EXIT_RUNTIME;
    }
    out.dir = open(dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (out.dir < 0) {
        fprintf(stderr, "fwdscope dump: %s: %s\n", dir_name, strerror(errno));
        return EXIT_RUNTIME;
    }
    buffer_init(&out.lines, FILE_BYTES_MAX);
    const bool made = files_make(sampler, &out);
    for (size_t i = 0; i < FILES; i++) {
        if (made)
            printf("%s/%s: %zu documents, %zu bytes\n", dir_name, files[i].name, out.line_count[i],
                   out.bytes[i]);
        else if (out.named[i])
            (void)unlinkat(out.dir, files[i].name, 0);
    }
    partials_remove(&out);
    buffer_free(&out.lines);
    (void)close(out.dir);
    return made ? EXIT_OK : EXIT_RUNTIME;
}
