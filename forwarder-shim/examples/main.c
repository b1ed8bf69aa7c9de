/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fwdscope-example-forwarder: follows log files and sends their lines as NDJSON.
 *
 * The main thread follows files and collects batches; W workers take them from a bounded queue. A
 * full queue stops the reading. SIGTERM or SIGINT: what the files hold by then is read, the rest
 * of the queue is delivered within DRAIN_MS; a second signal ends the waiting.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "batch.h"
#include "clock.h"
#include "config.h"
#include "follow.h"
#include "memory.h"
#include "output.h"
#include "queue.h"
#include "telemetry.h"
#include "worker.h"

#define PROGRAM  "fwdscope-example-forwarder"
#define POLL_MS  50
#define DRAIN_MS 5000

enum { EXIT_OK = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2 };

struct app {
    struct config config;
    struct queue queue;
    struct destination destination;
    struct worker *workers;
    uint32_t worker_count;
    struct batch *batch; /* being collected */
    uint64_t lines;      /* read since the shim was last told */
    uint64_t bytes;
    uint64_t cut_lines;
    uint64_t lines_undelivered;
    int signal_fd;
    int give_up_fd;
    int signal;           /* the one that ends the forwarder; 0: none yet */
    uint64_t deadline_ns; /* of the drain */
};

/* ---- signals --------------------------------------------------------------------------------- */

/* Blocks the signals for this thread and all that come, so that only signal_fd takes them. */
static bool open_signals(struct app *app)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* Whoever reads stderr may go away without taking the forwarder along. */
    signal(SIGPIPE, SIG_IGN);
    app->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    app->give_up_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return app->signal_fd >= 0 && app->give_up_fd >= 0;
}

/* Waits at most `ms` for a signal. */
static void await_signal(struct app *app, int ms)
{
    struct pollfd fd = {.fd = app->signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    if (poll(&fd, 1, ms) <= 0 || read(app->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    uint64_t now = clock_monotonic_ns();
    if (app->signal != 0) {
        app->deadline_ns = now;
        return;
    }
    app->signal = (int)info.ssi_signo;
    app->deadline_ns = now + (uint64_t)DRAIN_MS * NS_PER_MS;
    telemetry_stopping();
}

static bool drain_is_over(const struct app *app)
{
    return app->signal != 0 && clock_monotonic_ns() >= app->deadline_ns;
}

/* ---- from lines to the queue ----------------------------------------------------------------- */

static void tell_progress(struct app *app)
{
    telemetry_input_read(app->lines, app->bytes, app->cut_lines);
    app->lines = 0;
    app->bytes = 0;
    app->cut_lines = 0;
}

/* The queue is full and the time to drain is over. */
static void drop_batch(struct app *app, struct batch *batch)
{
    struct batch_result result = {.dropped = true};
    app->lines_undelivered += batch->row_count;
    telemetry_batch_end(batch, &result);
    batch_free(batch);
}

/* Hands the batch over; waits for room, which is what slows the reading down. */
static void flush(struct app *app, enum flush_reason reason)
{
    struct batch *batch = app->batch;
    if (batch->row_count == 0)
        return;
    app->batch = batch_create();
    tell_progress(app);
    batch->reason = reason;
    batch->queued_monotonic_ns = clock_monotonic_ns();
    telemetry_batch_queued(batch);
    if (queue_push(&app->queue, batch, 0))
        return;
    telemetry_input_stalled();
    while (!queue_push(&app->queue, batch, POLL_MS)) {
        telemetry_heartbeat(queue_depth(&app->queue));
        await_signal(app, 0);
        if (drain_is_over(app)) {
            drop_batch(app, batch);
            return;
        }
    }
}

static void on_line(void *context, const char *line, size_t bytes, const char *path, bool cut)
{
    struct app *app = context;
    app->lines++;
    app->bytes += bytes + 1;
    app->cut_lines += cut;
    batch_add(app->batch, line, bytes, path);
    if (app->batch->row_count == 1)
        telemetry_batch_begin(app->batch);
    if (batch_is_full(app->batch, &app->config))
        flush(app, FLUSH_SIZE);
}

static void on_opened(void *context, const char *path)
{
    (void)context;
    telemetry_input_opened(path);
}

static void on_rotated(void *context, const char *path)
{
    (void)context;
    telemetry_input_rotated(path);
}

static void on_truncated(void *context, const char *path)
{
    (void)context;
    telemetry_input_truncated(path);
}

static void on_failed(void *context, const char *path, int error)
{
    (void)context;
    telemetry_input_failed(path, error);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Follows until a signal comes, and then as long as there is more to read. */
static void follow_files(struct app *app)
{
    const struct follow_listener listener = {.context = app,
                                             .line = on_line,
                                             .opened = on_opened,
                                             .rotated = on_rotated,
                                             .truncated = on_truncated,
                                             .failed = on_failed};
    struct follow *follow =
        follow_create(app->config.paths, app->config.path_count, app->config.from_end, &listener);
    bool more = true;
    while (app->signal == 0) {
        await_signal(app, more ? 0 : POLL_MS);
        telemetry_heartbeat(queue_depth(&app->queue));
        more = follow_poll(follow);
        tell_progress(app);
        if (batch_is_due(app->batch, &app->config))
            flush(app, FLUSH_TIMEOUT);
    }
    telemetry_log(FWDSCOPE_INFO, NULL, "signal %d: drains", app->signal);
    while (more && !drain_is_over(app)) {
        more = follow_poll(follow);
        await_signal(app, 0);
        telemetry_heartbeat(queue_depth(&app->queue));
    }
    if (follow_unfinished_bytes(follow) > 0)
        telemetry_log(FWDSCOPE_WARN, NULL, "%zu bytes of unfinished lines stay unsent",
                      follow_unfinished_bytes(follow));
    follow_free(follow);
    flush(app, FLUSH_DRAIN);
}

static bool start_workers(struct app *app)
{
    app->workers = memory_zeroed(app->config.workers, sizeof(*app->workers));
    while (app->worker_count < app->config.workers) {
        if (!worker_start(&app->workers[app->worker_count], app->worker_count, &app->config,
                          &app->queue, &app->destination))
            return false;
        app->worker_count++;
    }
    return true;
}

/* Lets the workers empty the queue until the time is over. */
static void stop_workers(struct app *app)
{
    queue_close(&app->queue);
    for (uint32_t i = 0; i < app->worker_count; i++) {
        while (!worker_join(&app->workers[i], POLL_MS)) {
            telemetry_heartbeat(queue_depth(&app->queue));
            await_signal(app, 0);
            if (drain_is_over(app))
                eventfd_write(app->give_up_fd, 1);
        }
        app->lines_undelivered += app->workers[i].lines_undelivered;
    }
    free(app->workers);
}

static int run(struct app *app, const char *directory)
{
    if (!open_signals(app)) {
        fprintf(stderr, PROGRAM ": error: signalfd or eventfd: %s\n", strerror(errno));
        return EXIT_RUNTIME;
    }
    telemetry_open(&app->config, directory);
    queue_open(&app->queue, app->config.queue_batches);
    destination_open(&app->destination, &app->config, app->give_up_fd);
    app->batch = batch_create();
    const char *reason = "signal";
    bool started = start_workers(app);
    if (started) {
        follow_files(app);
    } else {
        telemetry_log(FWDSCOPE_FATAL, NULL, "cannot start a worker: %s", strerror(errno));
        reason = "cannot start a worker";
    }
    stop_workers(app);
    if (app->lines_undelivered > 0) {
        telemetry_log(FWDSCOPE_ERROR, NULL, "%llu lines were not delivered in %d ms",
                      (unsigned long long)app->lines_undelivered, DRAIN_MS);
        reason = "signal, with lines undelivered";
    }
    telemetry_close(reason);
    batch_free(app->batch);
    destination_close(&app->destination);
    queue_free(&app->queue);
    close(app->signal_fd);
    close(app->give_up_fd);
    return started && app->lines_undelivered == 0 ? EXIT_OK : EXIT_RUNTIME;
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char usage[] =
    "usage: " PROGRAM " --config FILE [--directory DIR]\n"
    "\n"
    "Follows log files and sends their lines as NDJSON over TCP or to a file.\n"
    "\n"
    "  --config FILE    YAML configuration; see forwarder.yaml\n"
    "  --directory DIR  where the diagnostics region is made; default: $FWDSCOPE_DIR,\n"
    "                   /run/fwdscope, /dev/shm/fwdscope-UID\n"
    "  --help           this text\n"
    "  --version        the version\n"
    "\n"
    "Exit codes: 0 ended by SIGTERM or SIGINT with everything delivered, 1 run-time failure or\n"
    "lines undelivered, 2 bad usage or configuration.\n";

static int refuse_usage(void)
{
    fputs(PROGRAM ": expected --config FILE; see --help\n", stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"directory", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    const char *config_path = NULL;
    const char *directory = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'd':
            directory = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        case 'v':
            puts(PROGRAM " " FWDSCOPE_VERSION);
            return EXIT_OK;
        default:
            return EXIT_USAGE; /* getopt_long() has named the option */
        }
    }
    if (config_path == NULL || optind < argc)
        return refuse_usage();
    struct app app = {0};
    char error[512];
    int status = EXIT_USAGE;
    if (config_load(&app.config, config_path, error, sizeof(error)))
        status = run(&app, directory);
    else
        fprintf(stderr, PROGRAM ": error: %s\n", error);
    config_free(&app.config);
    return status;
}
