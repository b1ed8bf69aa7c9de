/* SPDX-License-Identifier: Apache-2.0 */
/* fwdscope serve: one event loop for HTTP, timers and signals, one thread for the stream. */
#include "cli.h"

#include "fwdscope_redact.h"
#include "http.h"
#include "log.h"
#include "manager.h"
#include "sampler.h"

#include <ctype.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ALLOW_HOSTS_MAX = 32,
    TOKEN_BYTES_MIN = 16,
    TOKEN_BYTES_MAX = 4096,
    STOP_MS_MAX = 3000,        /* for streams to close; the whole stop stays under 5 s */
    DESCRIPTORS_SHARED = 8192, /* by connections, regions and all else */
    CONNECTIONS_MIN = 8,
    CONNECTIONS_MAX = 1024,
};

struct serve_options {
    const char *dir, *file;
    pid_t pid;
    const char *listen, *probe_listen, *unix_path;
    const char *token_file;
    const char *allow_hosts[ALLOW_HOSTS_MAX];
    size_t allow_host_count;
    unsigned clients_max;
    uint64_t interval_ns;
    bool insecure_bind;
    bool user_directories; /* no place was named, and this is root: look at all users' */
};

static const char help[] =
    "usage: fwdscope serve [OPTION...]\n"
    "\n"
    "Watches every region of a directory (or one file, or what a process writes), waits for what\n"
    "is not there yet.\n"
    "\n"
    "  --dir DIR              directory of regions ($FWDSCOPE_DIR; else /run/fwdscope if it is\n"
    "                         on tmpfs; else /dev/shm/fwdscope-UID; as root those of all users)\n"
    "  --region FILE          one region file instead\n"
    "  --pid N                the region of process N instead, wherever it is, also a memfd or a\n"
    "                         removed file; as its user or root\n"
    "  --listen ADDR:PORT     HTTP and WebSocket (127.0.0.1:9090; port 0: any free one; none)\n"
    "  --unix PATH            the same on a unix socket, for its owner and group\n"
    "  --probe-listen A:P     a second port with /live, /ready, /forwarder/live only, no token\n"
    "  --interval TIME        between two readings: 100ms to 60s (2s)\n"
    "  --token-file FILE      ask for the token in FILE: Authorization: Bearer, or /?token=\n"
    "  --insecure-bind        allow a non-loopback address without a token\n"
    "  --allow-host NAME      a further name that the Host header may carry; repeatable\n"
    "  --max-clients N        WebSocket clients at once, 0 to 10000 (64)\n"
    "  --help\n"
    "\n"
    "Every option can be set as an environment variable, FWDSCOPE_LISTEN and so on; the flag\n"
    "wins. /admin/v1/config is off unless FWDSCOPE_UNSAFE_EXPOSE_CONFIG=1.\n"
    "\n"
    "Under systemd: sockets of a .socket unit stand in for --listen, one named \"probe\" for\n"
    "--probe-listen; readiness, status and watchdog are told (Type=notify).\n"
    "\n"
    "endpoints: /  /live  /ready  /forwarder/live  /admin/v1/status  /admin/v1/config\n"
    "           /admin/v1/telemetry (WebSocket)\n"
    "exit: 0 stopped by SIGTERM or SIGINT, 1 runtime error, 2 usage\n";

/* ---- options --------------------------------------------------------------------------------- */

static bool parse_interval(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || errno != 0)
        return false;
    double unit = 0;
    if (strcmp(end, "s") == 0 || *end == '\0')
        unit = 1e9;
    else if (strcmp(end, "ms") == 0)
        unit = 1e6;
    if (!(value * unit >= 1e8 && value * unit <= 6e10))
        return false;
    *out = (uint64_t)(value * unit);
    return true;
}

static bool parse_number(const char *text, unsigned max, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value > max)
        return false;
    *out = (unsigned)value;
    return true;
}

/* Sets one option by name; 0, or the exit code of a usage error. */
static int option_set(struct serve_options *options, const char *name, const char *value)
{
    if (value != NULL && value[0] == '\0')
        return cli_usage_error("serve", "--%s needs a value", name);
    if (strcmp(name, "dir") == 0) {
        options->dir = value;
    } else if (strcmp(name, "region") == 0) {
        options->file = value;
    } else if (strcmp(name, "pid") == 0) {
        if (!cli_parse_pid(value, &options->pid))
            return cli_usage_error("serve", "--pid %s: not the number of a process", value);
    } else if (strcmp(name, "listen") == 0) {
        options->listen = value;
    } else if (strcmp(name, "probe-listen") == 0) {
        options->probe_listen = value;
    } else if (strcmp(name, "unix") == 0) {
        options->unix_path = value;
    } else if (strcmp(name, "token-file") == 0) {
        options->token_file = value;
    } else if (strcmp(name, "insecure-bind") == 0) {
        options->insecure_bind = value == NULL || strcmp(value, "1") == 0;
    } else if (strcmp(name, "interval") == 0) {
        if (!parse_interval(value, &options->interval_ns))
            return cli_usage_error("serve", "--interval %s: not a time from 100ms to 60s", value);
    } else if (strcmp(name, "max-clients") == 0) {
        if (!parse_number(value, 10000, &options->clients_max))
            return cli_usage_error("serve", "--max-clients %s: not a number from 0 to 10000",
                                   value);
    } else if (strcmp(name, "allow-host") == 0) {
        if (options->allow_host_count == ALLOW_HOSTS_MAX)
            return cli_usage_error("serve", "more than %d --allow-host", ALLOW_HOSTS_MAX);
        options->allow_hosts[options->allow_host_count++] = value;
    }
    return 0;
}

static const struct option long_options[] = {
    {"dir", required_argument, NULL, 0},
    {"region", required_argument, NULL, 0},
    {"pid", required_argument, NULL, 0},
    {"listen", required_argument, NULL, 0},
    {"probe-listen", required_argument, NULL, 0},
    {"unix", required_argument, NULL, 0},
    {"interval", required_argument, NULL, 0},
    {"token-file", required_argument, NULL, 0},
    {"insecure-bind", no_argument, NULL, 0},
    {"allow-host", required_argument, NULL, 0},
    {"max-clients", required_argument, NULL, 0},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* FWDSCOPE_PROBE_LISTEN for "probe-listen", and so on. */
static const char *option_environment(const char *name)
{
    char variable[64] = "FWDSCOPE_";
    size_t at = strlen(variable);
    for (; *name != '\0' && at < sizeof variable - 1; name++)
        variable[at++] = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
    variable[at] = '\0';
    const char *value = getenv(variable);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* Environment first, then flags. 0: go on; -1: --help was printed; else an exit code. */
static int options_parse(struct serve_options *options, int argc, char **argv)
{
    int code = 0, index = 0, c;
    for (const struct option *o = long_options; o->name != NULL && code == 0; o++) {
        const char *value = option_environment(o->name);
        if (value != NULL && o->val == 0)
            code = option_set(options, o->name, value);
    }
    opterr = 0;
    optind = 1;
    const char *file_flag = NULL, *dir_flag = NULL, *pid_flag = NULL;
    while (code == 0 && (c = getopt_long(argc, argv, ":h", long_options, &index)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return -1;
        }
        if (c == ':')
            return cli_usage_error("serve", "%s needs a value", argv[optind - 1]);
        if (c != 0)
            return cli_unknown_option("serve", argv);
        code = option_set(options, long_options[index].name, optarg);
        if (strcmp(long_options[index].name, "region") == 0)
            file_flag = optarg;
        if (strcmp(long_options[index].name, "dir") == 0)
            dir_flag = optarg;
        if (strcmp(long_options[index].name, "pid") == 0)
            pid_flag = optarg;
    }
    if (code == 0 && optind < argc)
        return cli_usage_error("serve", "unexpected argument '%s'", argv[optind]);
    if (code == 0 && file_flag != NULL && dir_flag != NULL)
        return cli_usage_error("serve", "--dir and --region exclude each other");
    if (code == 0 && pid_flag != NULL && (file_flag != NULL || dir_flag != NULL))
        return cli_usage_error("serve", "--pid and %s exclude each other",
                               dir_flag != NULL ? "--dir" : "--region");
    const char *const addresses[][2] = {{"--listen", options->listen},
                                        {"--probe-listen", options->probe_listen}};
    for (size_t i = 0; i < 2 && code == 0; i++) {
        if (addresses[i][1] != NULL && strcmp(addresses[i][1], "none") != 0 &&
            !http_address_is_valid(addresses[i][1]))
            return cli_usage_error("serve", "%s %s: not ADDR:PORT, such as 127.0.0.1:9090",
                                   addresses[i][0], addresses[i][1]);
    }
    /* A flag beats the environment; there, a file beats a process. */
    if (dir_flag != NULL || pid_flag != NULL)
        options->file = NULL;
    if (dir_flag != NULL || options->file != NULL)
        options->pid = 0;
    return code;
}

/* ---- the token ------------------------------------------------------------------------------- */

/* Reads the token: one line of visible ASCII. NULL and a reason in why. */
static const char *token_read(const char *path, char token[TOKEN_BYTES_MAX + 2], char *why,
                              size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, token, TOKEN_BYTES_MAX + 1) : -1;
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        snprintf(why, cap, "--token-file %s: %s", path, strerror(error));
        return NULL;
    }
    while (n > 0 && (token[n - 1] == '\n' || token[n - 1] == '\r' || token[n - 1] == ' '))
        n--;
    token[n] = '\0';
    if (n < TOKEN_BYTES_MIN || n > TOKEN_BYTES_MAX) {
        snprintf(why, cap, "--token-file %s: a token has %d to %d bytes, this one has %zd", path,
                 TOKEN_BYTES_MIN, TOKEN_BYTES_MAX, n);
        return NULL;
    }
    for (ssize_t i = 0; i < n; i++) {
        /* What may stand in a header, a cookie and a URL alike. */
        if (!isalnum((unsigned char)token[i]) && strchr("-._~+/=", token[i]) == NULL) {
            snprintf(why, cap, "--token-file %s: a token is of A-Z a-z 0-9 - . _ ~ + / =", path);
            return NULL;
        }
    }
    return token;
}

/* ---- what HTTP asks -------------------------------------------------------------------------- */

struct server {
    struct sampler sampler;
    struct stream *stream;
    struct http *http;
    struct event_base *base;
    struct event *tick, *drain, *watchdog, *term, *interrupt;
    char told[160]; /* the last status that the service manager was told */
    unsigned clients_max;
    rlim_t descriptors;
    bool expose_config;
};

static int config_body(const struct server *server, struct buffer *out)
{
    const char *path, *text;
    size_t bytes;
    enum config_state state = sampler_config(&server->sampler, &path, &text, &bytes);
    if (!server->expose_config || state != CONFIG_PUBLISHED)
        return status_write_config(out, server->expose_config, path, FWDSCOPE_CONFIG_UNAVAILABLE,
                                   strlen(FWDSCOPE_CONFIG_UNAVAILABLE));
    /* Once more: the region may have been written by anybody. */
    bool whole;
    char *redacted = fwdscope_redact_yaml(text, bytes, &whole);
    const char *shown = redacted != NULL ? redacted : FWDSCOPE_CONFIG_UNAVAILABLE;
    int status = status_write_config(out, true, path, shown, strlen(shown));
    free(redacted);
    return status;
}

static int http_body(void *arg, enum http_endpoint endpoint, struct buffer *out)
{
    const struct server *server = arg;
    struct status_view view = sampler_view(&server->sampler);
    switch (endpoint) {
    case HTTP_LIVE:
        status_write_live(out, &view);
        return 200;
    case HTTP_READY:
        return status_write_ready(out, &view);
    case HTTP_FORWARDER_LIVE:
        return status_write_forwarder_live(out, &view);
    case HTTP_STATUS:
        status_write_status(out, &view);
        return 200;
    case HTTP_CONFIG:
        return config_body(server, out);
    }
    return 404;
}

static bool http_stream_has_room(void *arg)
{
    const struct server *server = arg;
    return stream_clients(server->stream) < server->clients_max;
}

static void http_stream_adopt(void *arg, int fd, const char *head, size_t head_bytes,
                              long backlog_seconds)
{
    struct server *server = arg;
    sampler_adopt(&server->sampler, fd, head, head_bytes, backlog_seconds);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static struct timeval timeval_of(uint64_t ns)
{
    return (struct timeval){.tv_sec = (time_t)(ns / 1000000000),
                            .tv_usec = (suseconds_t)(ns % 1000000000 / 1000)};
}

/* Tells the service manager in one line what `systemctl status` shall show, when it changed. */
static void status_tell(struct server *server)
{
    char line[sizeof server->told];
    const struct status_view view = sampler_view(&server->sampler);
    const struct readiness ready =
        policy_readiness(view.forwarders, view.forwarder_count, view.trouble);
    snprintf(line, sizeof line, "STATUS=%zu forwarder%s, %s: %s", view.forwarder_count,
             view.forwarder_count == 1 ? "" : "s", ready.ready ? "ready" : "not ready",
             ready.reason);
    if (strcmp(line, server->told) != 0)
        manager_notify(line);
    memcpy(server->told, line, sizeof line);
}

/* A tick empties the rings too: a timer of their own is for what cannot wait for it. */
static void drain_later(struct server *server)
{
    const struct timeval next = timeval_of(server->sampler.drain_ns);
    if (server->sampler.drain_ns < server->sampler.interval_ns)
        event_add(server->drain, &next);
    else
        event_del(server->drain);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct server *server = arg;
    sampler_tick(&server->sampler);
    drain_later(server);
    status_tell(server);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
    manager_notify("WATCHDOG=1");
}

static void on_drain(evutil_socket_t fd, short what, void *arg)
{
    struct server *server = arg;
    (void)sampler_drain(&server->sampler);
    if (sampler_wants_tick(&server->sampler))
        on_tick(fd, what, server);
    else
        drain_later(server);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct server *server = arg;
    log_line(LOG_LEVEL_INFO, "stopping: %s", fd == SIGTERM ? "SIGTERM" : "SIGINT");
    manager_notify("STOPPING=1");
    event_base_loopbreak(server->base);
}

static void on_libevent_message(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN)
        log_line(LOG_LEVEL_WARN, "libevent: %s", message);
}

/* As many descriptors as can be of use, and may be had: libwebsockets sizes tables by them, which
 * are resident. Returns how many. */
static rlim_t descriptors_set(unsigned clients_max)
{
    const rlim_t useful = DESCRIPTORS_SHARED + 2 * (rlim_t)clients_max;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max < useful ? limit.rlim_max : useful;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

/* HTTP connections at once, on each port: a flood of them leaves descriptors for the other port,
 * for streams and for regions. */
static unsigned connections_max(rlim_t descriptors)
{
    const rlim_t share = descriptors / 8;
    return share < CONNECTIONS_MIN   ? CONNECTIONS_MIN
           : share > CONNECTIONS_MAX ? CONNECTIONS_MAX
                                     : (unsigned)share;
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL) {
        /* Without it the environment could turn on the changelist, which breaks the hand-over. */
        event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
        /* By its coarse clock a timer wakes it twice, the first time a few ms early. */
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        base = event_base_new_with_config(config);
        event_config_free(config);
    }
    return base;
}

/* Timers and signals; false: no memory. */
static bool events_add(struct server *server)
{
    struct timeval interval = timeval_of(server->sampler.interval_ns);
    struct timeval soon = timeval_of(server->sampler.drain_ns);
    server->tick = event_new(server->base, -1, EV_PERSIST, on_tick, server);
    server->drain = evtimer_new(server->base, on_drain, server);
    const uint64_t watchdog_ns = manager_watchdog_ns();
    const struct timeval beat = timeval_of(watchdog_ns / 2);
    server->term = evsignal_new(server->base, SIGTERM, on_signal, server);
    server->interrupt = evsignal_new(server->base, SIGINT, on_signal, server);
    return server->tick != NULL && server->drain != NULL && server->term != NULL &&
           server->interrupt != NULL && event_add(server->tick, &interval) == 0 &&
           event_add(server->drain, &soon) == 0 && event_add(server->term, NULL) == 0 &&
           event_add(server->interrupt, NULL) == 0 &&
           (watchdog_ns == 0 || ((server->watchdog = event_new(server->base, -1, EV_PERSIST,
                                                               on_watchdog, NULL)) != NULL &&
                                 event_add(server->watchdog, &beat) == 0));
}

static void server_stop(struct server *server)
{
    struct event **const events[] = {&server->tick, &server->drain, &server->watchdog,
                                     &server->term, &server->interrupt};
    http_stop(&server->http);
    stream_stop(&server->stream, STOP_MS_MAX);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (*events[i] != NULL)
            event_free(*events[i]);
    }
    sampler_free(&server->sampler);
    if (server->base != NULL)
        event_base_free(server->base);
    libevent_global_shutdown();
}

/* Starts everything in order; false and why. */
static bool server_start(struct server *server, const struct serve_options *options,
                         const char *token, char *why, size_t cap)
{
    const struct stream_options stream_options = {.loss_notice = documents_loss_notice};
    struct manager_sockets sockets;
    const struct fleet_target target = {.dir = options->dir,
                                        .file = options->file,
                                        .pid = options->pid,
                                        .user_directories = options->user_directories};
    if (!manager_sockets_take(&sockets, why, cap))
        return false;
    snprintf(why, cap, "no memory");
    server->base = base_new();
    if (server->base == NULL)
        return false;
    server->stream = stream_start(&stream_options, why, cap);
    if (server->stream == NULL ||
        !sampler_init(&server->sampler, &target, options->interval_ns, server->stream))
        return false;
    const struct http_options http_options = {
        .listen = strcmp(options->listen, "none") != 0 ? options->listen : NULL,
        .probe_listen = options->probe_listen,
        .unix_path = options->unix_path,
        .listen_fd = sockets.listen,
        .probe_fd = sockets.probe,
        .allow_hosts = options->allow_hosts,
        .allow_host_count = options->allow_host_count,
        .token = token,
        .insecure_bind = options->insecure_bind,
        .connections_max = connections_max(server->descriptors),
        .header_deadline_s = 10,
        .provider = {.arg = server,
                     .body = http_body,
                     .stream_has_room = http_stream_has_room,
                     .stream_adopt = http_stream_adopt},
    };
    server->http = http_start(server->base, &http_options, why, cap);
    if (server->http == NULL)
        return false;
    sampler_tick(&server->sampler); /* so that the first answer is a reading */
    if (!events_add(server)) {
        snprintf(why, cap, "cannot set up timers and signals: no memory");
        return false;
    }
    return true;
}

int serve_main(int argc, char **argv)
{
    struct serve_options options = {
        .listen = "127.0.0.1:9090", .clients_max = 64, .interval_ns = UINT64_C(2000000000)};
    struct server server = {0};
    char why[512] = "", watched[CLI_PATH_BYTES], token_text[TOKEN_BYTES_MAX + 2];
    const char *token = NULL;
    int code = options_parse(&options, argc, argv);
    if (code != 0)
        return code > 0 ? code : EXIT_OK;
    if (options.file == NULL && options.dir == NULL && options.pid == 0) {
        options.dir = cli_default_directory();
        options.user_directories = geteuid() == 0;
    }
    if (options.pid != 0)
        snprintf(watched, sizeof watched, "process %d", (int)options.pid);
    else
        snprintf(watched, sizeof watched, "%s", options.file != NULL ? options.file : options.dir);
    if (options.token_file != NULL) {
        token = token_read(options.token_file, token_text, why, sizeof why);
        if (token == NULL) {
            log_line(LOG_LEVEL_ERROR, "%s", why);
            return EXIT_RUNTIME;
        }
    }
    const char *expose = getenv("FWDSCOPE_UNSAFE_EXPOSE_CONFIG");
    server.expose_config = expose != NULL && strcmp(expose, "1") == 0;
    server.clients_max = options.clients_max;
    signal(SIGPIPE, SIG_IGN);
    event_set_log_callback(on_libevent_message);
    server.descriptors = descriptors_set(options.clients_max);

    code = EXIT_RUNTIME;
    if (server_start(&server, &options, token, why, sizeof why)) {
        log_line(LOG_LEVEL_INFO, "serving %s; watching %s", http_address(server.http), watched);
        manager_notify("READY=1");
        status_tell(&server);
        event_base_dispatch(server.base);
        code = EXIT_OK;
    } else {
        log_line(LOG_LEVEL_ERROR, "%s", why);
    }
    server_stop(&server);
    return code;
}
