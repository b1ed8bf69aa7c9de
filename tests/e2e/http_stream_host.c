/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modules http and stream with a made-up provider in place of the rest of the sidecar: ticks
 * whose messages say their number and how many spans and log records they stand for, so that a
 * client can tell exactly what it got. Prints "listening ADDRESS PROBE" once it serves and
 * "stopped" when it ended well; ends at SIGTERM. test_http_stream.py drives it.
 */
#include "http.h"
#include "stream.h"

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { ALLOW_HOSTS_MAX = 4, STOP_MAX_MS = 3000, MESSAGE_BYTES_MAX = 8 << 20 };

struct host {
    struct event_base *base;
    struct http *http;
    struct stream *stream;
    unsigned long tick;
    unsigned clients_max;
    unsigned interval_ms;
    char *pad;         /* of the metrics message of each tick */
    char *logs_pad;    /* of its logs message */
    char *backlog_pad; /* of the metrics message of the backlog */
    const char *allow_hosts[ALLOW_HOSTS_MAX];
    struct http_options options;
};

/* What a tick stands for; the test computes the same. */
static unsigned long spans_of(unsigned long tick)
{
    return tick % 5;
}

static unsigned long log_records_of(unsigned long tick)
{
    return tick % 7;
}

static struct message *message_of(const char *kind, unsigned long tick, unsigned long count,
                                  const char *pad)
{
    const size_t cap = strlen(pad) + 200;
    char *text = malloc(cap);
    if (text == NULL) {
        return NULL;
    }
    const int length =
        snprintf(text, cap, "{\"kind\":\"%s\",\"tick\":%lu,\"count\":%lu,\"pad\":\"%s\"}", kind,
                 tick, count, pad);
    struct message *message = message_new(text, (size_t)length);
    free(text);
    return message;
}

static struct message *loss_notice(void *arg, uint64_t ticks, uint64_t spans, uint64_t log_records)
{
    (void)arg;
    char text[200];
    const int length = snprintf(text, sizeof text,
                                "{\"kind\":\"loss\",\"ticks\":%llu,\"spans\":%llu,"
                                "\"log_records\":%llu}",
                                (unsigned long long)ticks, (unsigned long long)spans,
                                (unsigned long long)log_records);
    return message_new(text, (size_t)length);
}

static void host_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct host *host = arg;
    const unsigned long tick = ++host->tick;
    if (stream_clients(host->stream) == 0) {
        return;
    }
    struct tick_messages messages = {
        .records = {[1] = {.spans = spans_of(tick)}, [2] = {.log_records = log_records_of(tick)}}};
    messages.messages[0] = message_of("metrics", tick, 0, host->pad);
    if (messages.records[1].spans > 0) {
        messages.messages[1] = message_of("spans", tick, messages.records[1].spans, "");
    }
    if (messages.records[2].log_records > 0) {
        messages.messages[2] =
            message_of("logs", tick, messages.records[2].log_records, host->logs_pad);
    }
    stream_publish(host->stream, &messages);
}

static int host_body(void *arg, enum http_endpoint endpoint, struct buffer *out)
{
    const struct host *host = arg;
    char text[400];
    int status = 200;
    switch (endpoint) {
    case HTTP_LIVE:
        snprintf(text, sizeof text, "{\"status\":\"live\"}");
        break;
    case HTTP_READY:
        status = 503;
        snprintf(text, sizeof text, "{\"status\":\"not_ready\",\"reason\":\"region_not_found\"}");
        break;
    case HTTP_FORWARDER_LIVE:
        snprintf(text, sizeof text, "{\"state\":\"not_attached\"}");
        break;
    case HTTP_STATUS:
        snprintf(text, sizeof text, "{\"tick\":%lu,\"stream_clients\":%u,\"ticks_skipped\":%llu}",
                 host->tick, stream_clients(host->stream),
                 (unsigned long long)stream_ticks_skipped(host->stream));
        break;
    case HTTP_CONFIG:
        status = 403;
        snprintf(text, sizeof text, "{\"error\":\"config_endpoint_disabled\"}");
        break;
    }
    buffer_append(out, text, strlen(text));
    return status;
}

static bool host_has_room(void *arg)
{
    const struct host *host = arg;
    return stream_clients(host->stream) < host->clients_max;
}

static void host_adopt(void *arg, int fd, const char *head, size_t head_bytes, long backlog_seconds)
{
    struct host *host = arg;
    struct message *backlog[TICK_MESSAGES] = {NULL};
    const unsigned long asked = backlog_seconds < 0 ? 60 : (unsigned long)backlog_seconds;
    if (asked > 0) {
        backlog[0] = message_of("backlog-metrics", host->tick, asked, host->backlog_pad);
        backlog[1] = message_of("backlog-spans", host->tick, asked, "");
    }
    backlog[2] = message_of("backlog-logs", host->tick, asked, "");
    stream_adopt(host->stream, fd, head, head_bytes, backlog);
}

static void host_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct host *host = arg;
    event_base_loopbreak(host->base);
}

static char *pad_new(const char *bytes_text)
{
    const size_t bytes = strtoul(bytes_text, NULL, 10);
    char *pad = bytes <= MESSAGE_BYTES_MAX ? malloc(bytes + 1) : NULL;
    if (pad == NULL) {
        fprintf(stderr, "http_stream_host: no pad of %s bytes\n", bytes_text);
        exit(2);
    }
    memset(pad, 'x', bytes);
    pad[bytes] = '\0';
    return pad;
}

static void limit_descriptors(const char *text)
{
    const rlim_t count = strtoul(text, NULL, 10);
    const struct rlimit limit = {count, count};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        perror("http_stream_host: setrlimit");
        exit(2);
    }
}

static void option_set(struct host *host, int option, char *value)
{
    const unsigned number = (unsigned)strtoul(value, NULL, 10);
    switch (option) {
    case 'l':
        host->options.listen = value;
        break;
    case 'p':
        host->options.probe_listen = value;
        break;
    case 't':
        host->options.token = value;
        break;
    case 'b':
        host->options.insecure_bind = number != 0;
        break;
    case 'a':
        if (host->options.allow_host_count < ALLOW_HOSTS_MAX) {
            host->allow_hosts[host->options.allow_host_count++] = value;
        }
        break;
    case 'c':
        host->clients_max = number;
        break;
    case 'n':
        host->options.connections_max = number;
        break;
    case 'd':
        host->options.header_deadline_s = number;
        break;
    case 'i':
        host->interval_ms = number;
        break;
    case 'u':
        host->options.unix_path = value;
        break;
    case 'x':
        free(host->pad);
        host->pad = pad_new(value);
        break;
    case 'z':
        free(host->logs_pad);
        host->logs_pad = pad_new(value);
        break;
    case 'y':
        free(host->backlog_pad);
        host->backlog_pad = pad_new(value);
        break;
    case 'f':
        limit_descriptors(value);
        break;
    default:
        exit(2);
    }
}

static void options_parse(struct host *host, int count, char **arguments)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"probe-listen", required_argument, NULL, 'p'},
        {"token", required_argument, NULL, 't'},
        {"insecure-bind", required_argument, NULL, 'b'},
        {"allow-host", required_argument, NULL, 'a'},
        {"max-clients", required_argument, NULL, 'c'},
        {"connections-max", required_argument, NULL, 'n'},
        {"header-deadline-s", required_argument, NULL, 'd'},
        {"interval-ms", required_argument, NULL, 'i'},
        {"unix", required_argument, NULL, 'u'},
        {"pad", required_argument, NULL, 'x'},
        {"logs-pad", required_argument, NULL, 'z'},
        {"backlog-pad", required_argument, NULL, 'y'},
        {"nofile", required_argument, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        option_set(host, option, optarg);
    }
}

static void host_run(struct host *host)
{
    const struct timeval interval = {.tv_sec = host->interval_ms / 1000,
                                     .tv_usec = (host->interval_ms % 1000) * 1000};
    struct event *tick = event_new(host->base, -1, EV_PERSIST, host_tick, host);
    struct event *term = evsignal_new(host->base, SIGTERM, host_signal, host);
    event_add(tick, &interval);
    event_add(term, NULL);
    printf("listening %s\n", http_address(host->http));
    fflush(stdout);
    event_base_dispatch(host->base);
    event_free(tick);
    event_free(term);
}

static int host_start_and_run(struct host *host)
{
    char why[400];
    const struct stream_options stream_options = {.loss_notice = loss_notice, .arg = host};
    host->stream = stream_start(&stream_options, why, sizeof why);
    if (host->stream == NULL) {
        fprintf(stderr, "http_stream_host: %s\n", why);
        return 1;
    }
    host->http = http_start(host->base, &host->options, why, sizeof why);
    if (host->http != NULL) {
        host_run(host);
    } else {
        fprintf(stderr, "http_stream_host: %s\n", why);
    }
    const bool ran = host->http != NULL;
    http_stop(&host->http);
    stream_stop(&host->stream, STOP_MAX_MS);
    return ran ? 0 : 1;
}

int main(int count, char **arguments)
{
    struct host host = {.clients_max = 64, .interval_ms = 100};
    host.options = (struct http_options){
        .listen = "127.0.0.1:0",
        .allow_hosts = host.allow_hosts,
        .connections_max = 256,
        .header_deadline_s = 10,
        .provider = {&host, host_body, host_has_room, host_adopt},
    };
    host.pad = pad_new("0");
    host.logs_pad = pad_new("0");
    host.backlog_pad = pad_new("0");
    options_parse(&host, count, arguments);
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    host.base = event_base_new_with_config(config);
    event_config_free(config);
    const int result = host_start_and_run(&host);
    event_base_free(host.base);
    libevent_global_shutdown();
    free(host.pad);
    free(host.logs_pad);
    free(host.backlog_pad);
    if (result == 0) {
        printf("stopped\n");
    }
    return result;
}
