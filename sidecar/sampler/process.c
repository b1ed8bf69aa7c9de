/* SPDX-License-Identifier: Apache-2.0 */
/* /proc and the environment. */
#include "process.h"

#include "log.h"
#include "utf8.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- /proc ----------------------------------------------------------------------------------- */

/* Text that ends with a newline. Not by stdio, which would ask for memory at every tick. */
static bool file_read(const char *path, char *out, size_t cap)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t n = 0;
    ssize_t got;
    do {
        got = read(fd, out + n, cap - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    } while (got > 0 && n < cap - 1 && out[n - 1] != '\n');
    close(fd);
    out[n] = '\0';
    return n > 0;
}

/* Fields of /proc/PID/stat behind the name: user and system time in ticks, start time in ticks. */
static bool stat_read(const char *pid, uint64_t *user, uint64_t *system, uint64_t *start)
{
    char path[64], text[2048];
    unsigned long long u, s, t;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    if (!file_read(path, text, sizeof text))
        return false;
    const char *at = strrchr(text, ')');
    if (at == NULL ||
        sscanf(at + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d "
               "%*d %llu",
               &u, &s, &t) != 3)
        return false;
    *user = u;
    *system = s;
    *start = t;
    return true;
}

static bool rss_read(const char *pid, uint64_t *bytes)
{
    char path[64], text[256];
    unsigned long long pages;
    const long page = sysconf(_SC_PAGESIZE);
    snprintf(path, sizeof path, "/proc/%s/statm", pid);
    if (page <= 0 || !file_read(path, text, sizeof text) || sscanf(text, "%*u %llu", &pages) != 1)
        return false;
    *bytes = pages * (uint64_t)page;
    return true;
}

/* Whether it has the pid namespace of this process, which never changes. */
static bool same_pid_namespace(const struct identity *identity)
{
    static uint64_t here;
    struct stat file;
    if (here == 0 && stat("/proc/self/ns/pid", &file) == 0)
        here = (uint64_t)file.st_ino;
    return here != 0 && here == identity->pid_namespace;
}

struct process_figures process_read(const struct identity *identity)
{
    struct process_figures figures = {0};
    char pid[32];
    uint64_t user, system, start;
    const long ticks = sysconf(_SC_CLK_TCK);
    /* Without a start time a reused pid could pass for the forwarder. */
    if (ticks <= 0 || identity->pid_start_ticks == 0 || !process_same_boot(identity) ||
        !same_pid_namespace(identity))
        return figures;
    snprintf(pid, sizeof pid, "%llu", (unsigned long long)identity->pid);
    if (!stat_read(pid, &user, &system, &start) || start != identity->pid_start_ticks ||
        !rss_read(pid, &figures.rss_bytes))
        return figures;
    figures.known = true;
    figures.cpu_user_ms = user * 1000 / (uint64_t)ticks;
    figures.cpu_system_ms = system * 1000 / (uint64_t)ticks;
    return figures;
}

static uint64_t milliseconds(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_usec / 1000;
}

struct process_figures process_read_self(void)
{
    struct process_figures figures = {0};
    struct rusage usage;
    figures.known = getrusage(RUSAGE_SELF, &usage) == 0 && rss_read("self", &figures.rss_bytes);
    if (figures.known) {
        figures.cpu_user_ms = milliseconds(&usage.ru_utime);
        figures.cpu_system_ms = milliseconds(&usage.ru_stime);
    }
    return figures;
}

bool process_same_boot(const struct identity *identity)
{
    static char boot_id[33];
    if (boot_id[0] == '\0') {
        char text[64];
        size_t n = 0;
        if (!file_read("/proc/sys/kernel/random/boot_id", text, sizeof text))
            return false;
        for (const char *c = text; *c != '\0' && *c != '\n' && n < sizeof boot_id - 1; c++) {
            if (*c != '-')
                boot_id[n++] = *c;
        }
        boot_id[n] = '\0';
    }
    return strcmp(boot_id, identity->boot_id) == 0;
}

/* ---- the environment ------------------------------------------------------------------------- */

enum { HOST_ATTRIBUTES_MAX = 32 };

static struct {
    struct attribute list[HOST_ATTRIBUTES_MAX];
    size_t count;
    bool filled;
    struct arena *arena;
} host;

static void host_add(const char *key, const char *value)
{
    if (host.count < HOST_ATTRIBUTES_MAX && key[0] != '\0' && value[0] != '\0')
        host.list[host.count++] =
            (struct attribute){.key = key, .type = ATTRIBUTE_STRING, .string = value};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Percent-decodes `bytes` of text into valid UTF-8 in the arena. */
static const char *percent_decode(const char *text, size_t bytes)
{
    char decoded[1024];
    size_t n = 0;
    for (size_t i = 0; i < bytes && n < sizeof decoded; i++) {
        int high = i + 2 < bytes ? hex_digit(text[i + 1]) : -1;
        int low = i + 2 < bytes ? hex_digit(text[i + 2]) : -1;
        if (text[i] == '%' && high >= 0 && low >= 0) {
            decoded[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            decoded[n++] = text[i];
        }
    }
    return utf8_repair(host.arena, decoded, n, NULL);
}

/* k1=v1,k2=v2 with percent-encoded values. */
static void otel_attributes_add(const char *list)
{
    while (*list != '\0') {
        size_t item = strcspn(list, ",");
        const char *equals = memchr(list, '=', item);
        if (equals != NULL) {
            size_t key_bytes = (size_t)(equals - list);
            const char *key = percent_decode(list, key_bytes);
            const char *value = percent_decode(equals + 1, item - key_bytes - 1);
            if (key != NULL && value != NULL)
                host_add(key, value);
        }
        list += item + (list[item] == ',');
    }
}

static void host_add_raw(const char *key, const char *value)
{
    const char *text = utf8_repair(host.arena, value, strlen(value), NULL);
    if (text != NULL)
        host_add(key, text);
}

/* What a pod's downward API gives, under the names of the OpenTelemetry conventions. */
static void kubernetes_add(void)
{
    static const char *const names[][2] = {
        {"K8S_NAMESPACE_NAME", "k8s.namespace.name"},
        {"K8S_POD_NAME", "k8s.pod.name"},
        {"K8S_POD_UID", "k8s.pod.uid"},
        {"K8S_NODE_NAME", "k8s.node.name"},
        {"K8S_CONTAINER_NAME", "k8s.container.name"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i][0]);
        if (value != NULL)
            host_add_raw(names[i][1], value);
    }
}

const struct attribute *process_host_attributes(size_t *count)
{
    if (!host.filled) {
        char name[256] = "";
        const char *list = getenv("OTEL_RESOURCE_ATTRIBUTES");
        host.filled = true;
        host.arena = arena_new(256 * 1024);
        if (host.arena != NULL) {
            if (list != NULL)
                otel_attributes_add(list);
            kubernetes_add();
            if (gethostname(name, sizeof name - 1) == 0)
                host_add_raw("host.name", name);
        }
    }
    *count = host.count;
    return host.list;
}
