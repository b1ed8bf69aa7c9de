/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ship FILE`: an output of rsyslog that appends lines to a file, a transaction at a time, and
 * tells `stats` of each transaction. The protocol is omprog's with confirmMessages and
 * useTransactions:
 *
 *   here    "OK"                      ready
 *   rsyslog "BEGIN"                   here "OK"
 *   rsyslog "=LINE" once a line       here "DEFER_COMMIT"
 *   rsyslog "COMMIT"                  here "OK", or a reason, upon which rsyslog sends it all again
 *
 * The "=" is put there by the template, so that no line that is forwarded reads like a mark. Lines
 * arrive at least once: rsyslog does not send a confirmed line again when a later one of the same
 * transaction fails, so each is written before it is confirmed, and what fails is told at the
 * commit, after which the file is as it was before. What is said of a transaction is counts and
 * times: the lines themselves go to the file alone.
 */
#include "client.h"
#include "lines.h"
#include "modes.h"
#include "subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LAST_WORDS_MS = 500 };

struct ship {
    const char *file, *name;
    int fd; /* -1: not open */
    struct client client;
    struct wire_record record;
    bool begun;
    uint64_t start_unix_ns, rows, bytes;
    off_t start_offset; /* length of the file when the transaction began */
    char why[256];      /* what went wrong in this transaction, or "" */
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell(struct ship *ship, enum wire_kind kind, uint64_t time_unix_ns)
{
    struct wire_record *record = &ship->record;
    memset(record, 0, offsetof(struct wire_record, text));
    record->kind = (uint32_t)kind;
    record->time_unix_ns = time_unix_ns;
    record->start_unix_ns = ship->start_unix_ns;
    record->rows = ship->rows;
    record->bytes = ship->bytes;
    record->failed = ship->why[0] != '\0';
    record->text_bytes = record->text_original_bytes = (uint32_t)strlen(ship->why);
    memcpy(record->text, ship->why, record->text_bytes);
    snprintf(record->name, sizeof record->name, "%s", ship->name);
    client_put(&ship->client, record);
}

/* An answer to rsyslog. It waits for each of them, so the pipe has room. */
static void answer(const char *text)
{
    char line[512];
    const int bytes = snprintf(line, sizeof line, "%s\n", text);
    if (write(STDOUT_FILENO, line, (size_t)bytes) < 0)
        return; /* rsyslog is gone: standard input ends next */
}

/* ---- the file -------------------------------------------------------------------------------- */

static void fail(struct ship *ship, const char *what)
{
    if (ship->why[0] == '\0')
        snprintf(ship->why, sizeof ship->why, "cannot %s %.128s: %s", what, ship->file,
                 strerror(errno));
}

static void bytes_write(struct ship *ship, const char *bytes, size_t count)
{
    for (size_t at = 0; ship->why[0] == '\0' && at < count;) {
        const ssize_t n = write(ship->fd, bytes + at, count - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            fail(ship, "write to");
    }
}

/* Opened for each transaction: the file may have been rotated. */
static void file_open(struct ship *ship)
{
    struct stat st;
    ship->fd = open(ship->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (ship->fd < 0 || fstat(ship->fd, &st) != 0)
        fail(ship, "open");
    else
        ship->start_offset = st.st_size;
}

/* After a failure the file is as it was before the transaction. */
static void file_close(struct ship *ship)
{
    if (ship->fd < 0)
        return;
    if (ship->why[0] != '\0' && ftruncate(ship->fd, ship->start_offset) != 0)
        fprintf(stderr, "fwdscope-rsyslog ship: cannot take back a part of a batch: %s\n",
                strerror(errno));
    close(ship->fd);
    ship->fd = -1;
}

/* ---- the protocol ---------------------------------------------------------------------------- */

static void begin(struct ship *ship)
{
    ship->begun = true;
    ship->rows = ship->bytes = 0;
    ship->why[0] = '\0';
    ship->start_unix_ns = now_ns();
    file_open(ship);
    tell(ship, WIRE_BEGIN, ship->start_unix_ns);
}

/* `line` is writable and ends with NUL in place of its newline. */
static void add(struct ship *ship, char *line, size_t bytes)
{
    if (bytes == LINES_BYTES - 2) /* the mark was there too */
        fprintf(stderr, "fwdscope-rsyslog ship: a line was cut to %zu bytes\n", bytes);
    line[bytes] = '\n';
    bytes_write(ship, line, bytes + 1);
    ship->rows++;
    ship->bytes += bytes + 1;
}

static void commit(struct ship *ship)
{
    file_close(ship);
    if (ship->begun)
        tell(ship, WIRE_END, now_ns());
    ship->begun = false;
}

static void take_line(void *context, char *line, size_t bytes)
{
    struct ship *ship = context;
    if (line[0] == '=' && ship->begun) {
        add(ship, line + 1, bytes - 1);
        answer("DEFER_COMMIT");
    } else if (line[0] == '=') { /* without a transaction: one of its own */
        begin(ship);
        add(ship, line + 1, bytes - 1);
        commit(ship);
        answer(ship->why[0] == '\0' ? "OK" : ship->why);
    } else if (strcmp(line, "BEGIN") == 0) {
        file_close(ship); /* of a transaction that was never committed */
        begin(ship);
        answer("OK");
    } else if (strcmp(line, "COMMIT") == 0) {
        commit(ship);
        answer(ship->why[0] == '\0' ? "OK" : ship->why);
    } else {
        answer("neither a mark nor a line that begins with =: see the template");
    }
}

int mode_ship(const struct options *options)
{
    static struct ship ship = {.fd = -1};
    static struct lines lines = {.fd = STDIN_FILENO};
    char why[256] = "";
    const char *slash = strrchr(options->file, '/');
    const int subject = subject_find(why, sizeof why);
    if (subject == 0)
        fprintf(stderr, "fwdscope-rsyslog ship: %s; batches are not told of\n", why);
    ship.file = options->file;
    ship.name = options->name != NULL ? options->name : slash != NULL ? slash + 1 : options->file;
    client_init(&ship.client, options->dir, subject);
    answer("OK");
    client_run(&ship.client, &lines, take_line, &ship);
    file_close(&ship);
    client_close(&ship.client, LAST_WORDS_MS);
    return 0;
}
