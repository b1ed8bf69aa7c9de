/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `stats`: owns the region. Reads impstats from standard input, takes the records of `log` and
 * `ship`, and tells at the end how rsyslogd ended: SIGTERM before the end of input is good order
 * (omprog with signalOnClose="on"), an end without it is the death of rsyslogd, if that is gone.
 */
#include "impstats.h"
#include "lines.h"
#include "mapping.h"
#include "modes.h"
#include "server.h"
#include "subject.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long an end of input may come before the death that causes it is seen, and how long the last
 * words of `log` and `ship` may take. */
enum {
    DEATH_MS = 2000,
    DEATH_STEP_MS = 5,
    LAST_WORDS_MS = 1000,
    CLEAN_WORDS_MS = 300, /* `log` and `ship` may end after this process */
    RESETS_MAX = 3
};

struct stats {
    const struct options *options;
    int subject; /* pid of rsyslogd; 0: not known, no region */
    unsigned resets;
    struct stat_table table;
    struct mapping mapping;
    struct server server;
    fwdscope_counter refused;
    uint64_t refused_told;
};

static volatile sig_atomic_t terminated;

static void on_term(int number)
{
    (void)number;
    terminated = 1;
}

/* ---- the region ------------------------------------------------------------------------------ */

static bool region_open(struct stats *stats)
{
    const struct options *given = stats->options;
    const struct fwdscope_instrument refused = {
        .name = "rsyslog.adapter.refused_lines",
        .unit = "{line}",
        .description = "Lines and counters of impstats that could not be used",
    };
    const struct fwdscope_options options = {
        .service_name = given->service,
        .instance = given->instance,
        .directory = given->dir,
        .heartbeat_interval_ms = (uint32_t)lround(given->interval_s * 1000),
        .subject_pid = (uint32_t)stats->subject,
        .lanes = 2, /* one thread writes */
    };
    if (!fwdscope_open(&options)) {
        fprintf(stderr, "fwdscope-rsyslog: rsyslog runs without telemetry: %s\n",
                fwdscope_reason());
        return false;
    }
    mapping_begin(&stats->mapping, given);
    server_attach(&stats->server, stats->mapping.pipeline);
    stats->refused = fwdscope_counter_register(&refused);
    stats->refused_told = 0;
    return true;
}

static void socket_open(struct stats *stats)
{
    char dir[4096], why[256];
    snprintf(dir, sizeof dir, "%s", fwdscope_path());
    char *slash = strrchr(dir, '/');
    if (slash == NULL)
        return;
    *slash = '\0';
    if (server_open(&stats->server, dir, stats->subject, why, sizeof why))
        return;
    fprintf(stderr, "fwdscope-rsyslog: no log lines and batches: %s\n", why);
    fwdscope_log(FWDSCOPE_ERROR, why, strlen(why));
}

/* Counters that went back tell of another life. A life every sample is a wrong configuration: then
 * it ends for good, and the reason says so. */
static void life_renew(struct stats *stats)
{
    static const char reason[] =
        "rsyslog's counters went back: impstats needs resetCounters=\"off\"";
    fwdscope_close(FWDSCOPE_CLOSED, reason);
    stat_table_clear(&stats->table);
    if (++stats->resets <= RESETS_MAX)
        (void)region_open(stats);
}

/* ---- input ----------------------------------------------------------------------------------- */

static void take_line(void *context, char *line, size_t bytes)
{
    struct stats *stats = context;
    if (!fwdscope_is_on() || stat_table_take(&stats->table, line, bytes) != STAT_END)
        return;
    if (stats->table.fell) {
        life_renew(stats);
        return;
    }
    mapping_apply(&stats->mapping, &stats->table);
    fwdscope_counter_add(stats->refused, stats->table.refused - stats->refused_told);
    stats->refused_told = stats->table.refused;
}

static void serve(struct stats *stats, struct lines *lines)
{
    for (bool open = true; open;) {
        struct pollfd set[SERVER_CLIENTS_MAX + 2] = {{.fd = lines->fd, .events = POLLIN}};
        const size_t count = 1 + server_poll_set(&stats->server, set + 1);
        if (poll(set, count, -1) <= 0)
            continue; /* a signal */
        if (set[0].revents != 0)
            open = lines_read(lines, take_line, stats);
        server_serve(&stats->server);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Standard input ends a moment before its writer is gone for good. */
static bool subject_died(int subject)
{
    const struct timespec step = {.tv_nsec = DEATH_STEP_MS * 1000000L};
    for (int waited = 0; waited < DEATH_MS && !subject_is_gone(subject); waited += DEATH_STEP_MS)
        nanosleep(&step, NULL);
    return subject_is_gone(subject);
}

static void end(struct stats *stats)
{
    char reason[256];
    const bool clean = terminated != 0;
    const bool died = !clean && subject_died(stats->subject);
    server_drain(&stats->server, died ? LAST_WORDS_MS : CLEAN_WORDS_MS);
    if (died)
        snprintf(reason, sizeof reason,
                 "rsyslogd (pid %d) died: its pipe closed and no shutdown was announced",
                 stats->subject);
    else
        snprintf(reason, sizeof reason, "rsyslogd (pid %d) ended the adapter%s", stats->subject,
                 clean ? " in good order" : "; it lives, or gave no signal (signalOnClose)");
    fwdscope_close(died ? FWDSCOPE_CRASHED : FWDSCOPE_CLOSED, reason);
    server_close(&stats->server);
}

int mode_stats(const struct options *options)
{
    static struct stats stats = {.server.fd = -1};
    static struct lines lines = {.fd = STDIN_FILENO};
    char why[256] = "";
    const struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    stats.options = options;
    for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
        stats.server.clients[i].fd = -1;
    stats.subject = subject_find(why, sizeof why);
    if (stats.subject == 0)
        fprintf(stderr, "fwdscope-rsyslog: no telemetry: %s\n", why);
    else if (region_open(&stats))
        socket_open(&stats);
    serve(&stats, &lines); /* without a region too: rsyslog must never wait for a full pipe */
    if (stats.subject != 0)
        end(&stats);
    stat_table_clear(&stats.table);
    return 0;
}
