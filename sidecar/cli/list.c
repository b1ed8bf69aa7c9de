/* SPDX-License-Identifier: Apache-2.0 */
/* fwdscope list: the regions of this host or pod, by directory and by process. */
#include "cli.h"

#include "find.h"
#include "json.h"
#include "policy.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "usage: fwdscope list [--dir DIR]... [--all] [-o text|json]\n"
    "\n"
    "Lists the regions in $FWDSCOPE_DIR, /run/fwdscope and /dev/shm/fwdscope-UID (as root in\n"
    "those of all users), and those that a process writes, wherever they are; each once, with\n"
    "its writer's verdict. What cannot be read is listed with the reason. Into a process of\n"
    "another user only root looks, or who has CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.\n"
    "\n"
    "  --dir DIR  in DIR only, and in no process; repeatable\n"
    "  --all      with --dir: the other places too; and what processes only read, such as a\n"
    "             region whose file is gone but which a sidecar still holds\n"
    "  -o text    a table (the default)\n"
    "  -o json    one object\n"
    "  --help\n"
    "\n"
    "exit: 0 listed, also when there is nothing to list; 1 runtime, 2 usage\n";

enum { ENTRIES_MAX = 4096, DIRECTORIES_MAX = 64, OUTPUT_BYTES_MAX = 64 << 20, WIDTH_MAX = 24 };

struct entry {
    uint64_t key;
    pid_t holder; /* the process here that writes it, or with --all one that reads it; 0: none */
    bool holder_writes;
    enum attach_result result;
    struct identity identity;
    struct writer_verdict verdict;
    char why[512]; /* of what cannot be read */
};

struct list {
    const char *directories[DIRECTORIES_MAX];
    size_t directory_count;
    bool all, json;
    struct entry **entries;
    size_t count, left_out;
    size_t processes, denied;
    bool no_memory;
};

/* ---- what is there --------------------------------------------------------------------------- */

static struct entry *entry_new(struct list *list)
{
    if (list->count == ENTRIES_MAX) {
        list->left_out++;
        return NULL;
    }
    if (list->entries == NULL)
        list->entries = calloc(ENTRIES_MAX, sizeof(struct entry *));
    struct entry *entry = list->entries != NULL ? calloc(1, sizeof *entry) : NULL;
    if (entry == NULL)
        list->no_memory = true;
    else
        list->entries[list->count++] = entry;
    return entry;
}

/* The same file is one entry, however often it is found. */
static struct entry *entry_of_key(const struct list *list, uint64_t key)
{
    for (size_t i = 0; key != 0 && i < list->count; i++) {
        if (list->entries[i]->key == key)
            return list->entries[i];
    }
    return NULL;
}

static void list_take(void *arg, const char *path, pid_t pid, bool writes)
{
    struct list *list = arg;
    struct region_glance glance;
    if (pid != 0 && !writes && !list->all)
        return;
    const uint64_t key = region_file_key(path);
    struct entry *entry = entry_of_key(list, key);
    const bool known = entry != NULL;
    if (!known)
        entry = entry_new(list);
    if (entry == NULL)
        return;
    if (pid != 0 && (entry->holder == 0 || (writes && !entry->holder_writes))) {
        entry->holder = pid;
        entry->holder_writes = writes;
    }
    if (known)
        return;
    entry->key = key;
    entry->result = region_glance(path, &glance, entry->why, sizeof entry->why);
    entry->identity = glance.identity;
    if (entry->result == ATTACH_OK)
        policy_judge_writer(&entry->identity, &glance.snapshot, 0, &entry->verdict);
    if (entry->identity.path[0] == '\0')
        snprintf(entry->identity.path, sizeof entry->identity.path, "%s", path);
}

static void directory_take(void *arg, const char *dir)
{
    struct list *list = arg;
    const int error = region_find_in_directory(dir, list_take, list);
    struct entry *entry = error != 0 ? entry_new(list) : NULL;
    if (entry == NULL)
        return;
    entry->result = error == EACCES   ? ATTACH_DENIED
                    : error == ENOENT ? ATTACH_NOT_FOUND
                                      : ATTACH_FAILED;
    snprintf(entry->identity.path, sizeof entry->identity.path, "%s", dir);
    snprintf(entry->why, sizeof entry->why, "%s: %s", dir, region_find_error(error));
}

/* A directory that a shim may have chosen. It need not be there. */
static void usual_directory_take(struct list *list, const char *dir)
{
    struct stat st;
    if (dir == NULL || dir[0] == '\0' || (stat(dir, &st) != 0 && errno == ENOENT))
        return;
    directory_take(list, dir);
}

static void list_collect(struct list *list)
{
    char own[64];
    for (size_t i = 0; i < list->directory_count; i++)
        directory_take(list, list->directories[i]);
    if (list->directory_count > 0 && !list->all)
        return;
    snprintf(own, sizeof own, "/dev/shm/fwdscope-%u", (unsigned)geteuid());
    usual_directory_take(list, getenv("FWDSCOPE_DIR"));
    usual_directory_take(list, "/run/fwdscope");
    usual_directory_take(list, own);
    if (geteuid() == 0)
        region_find_user_directories(directory_take, list);
    list->processes = region_find_in_processes(list_take, list, &list->denied);
}

/* By service and instance, the newest life first; what cannot be read comes last. */
static int entries_compare(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    if ((x->result == ATTACH_OK) != (y->result == ATTACH_OK))
        return x->result == ATTACH_OK ? -1 : 1;
    int order = strcmp(x->identity.service_name, y->identity.service_name);
    if (order == 0)
        order = strcmp(x->identity.instance, y->identity.instance);
    if (order != 0)
        return order;
    if (x->identity.created_unix_ns != y->identity.created_unix_ns)
        return x->identity.created_unix_ns > y->identity.created_unix_ns ? -1 : 1;
    return strcmp(x->identity.path, y->identity.path);
}

static const char *entry_state(const struct entry *entry)
{
    switch (entry->result) {
    case ATTACH_OK:
        return writer_state_name(entry->verdict.state);
    case ATTACH_NOT_FOUND:
        return "not found";
    case ATTACH_NOT_READY:
        return "not ready";
    case ATTACH_DENIED:
        return "denied";
    case ATTACH_INCOMPATIBLE:
        return "incompatible";
    case ATTACH_CORRUPT:
        return "corrupt";
    case ATTACH_FAILED:
        break;
    }
    return "failed";
}

/* What a process may be called here: the number in the header is of the writer's pid namespace. */
static uint64_t entry_pid(const struct entry *entry)
{
    struct stat here;
    const bool ours = stat("/proc/self/ns/pid", &here) == 0 &&
                      (uint64_t)here.st_ino == entry->identity.pid_namespace;
    return ours || !entry->holder_writes ? entry->identity.pid : (uint64_t)entry->holder;
}

static uint64_t entry_age_s(const struct entry *entry)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t created_s = entry->identity.created_unix_ns / 1000000000;
    return (uint64_t)now.tv_sec > created_s ? (uint64_t)now.tv_sec - created_s : 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

static const char *age_text(uint64_t seconds, char out[32])
{
    const unsigned long long s = seconds, minutes = s / 60, hours = s / 3600, days = s / 86400;
    if (minutes == 0)
        snprintf(out, 32, "%llus", s);
    else if (hours == 0)
        snprintf(out, 32, "%llum%02llus", minutes, s % 60);
    else if (days == 0)
        snprintf(out, 32, "%lluh%02llum", hours, minutes % 60);
    else
        snprintf(out, 32, "%llud%02lluh", days, hours % 24);
    return out;
}

/* Foreign text in a column: as wide as its characters, whatever they take in bytes. */
static void print_column(const char *text, int width)
{
    int used = 0;
    for (const char *c = text; *c != '\0'; c++)
        used += ((unsigned char)*c & 0xc0) != 0x80;
    cli_print_safe(text);
    printf("%*s  ", used < width ? width - used : 0, "");
}

static int column_width(const struct list *list, bool service)
{
    int width = 8;
    for (size_t i = 0; i < list->count; i++) {
        const struct identity *identity = &list->entries[i]->identity;
        const size_t bytes = strlen(service ? identity->service_name : identity->instance);
        if (bytes > (size_t)width)
            width = bytes < WIDTH_MAX ? (int)bytes : WIDTH_MAX;
    }
    return width;
}

static void print_entry(const struct entry *entry, int service_width, int instance_width)
{
    char age[32];
    const struct identity *identity = &entry->identity;
    printf("%-12s  ", entry_state(entry));
    if (entry->result != ATTACH_OK) {
        printf("%7s  %7s  %6s  %3s  ", "-", "-", "-", "-");
        print_column(identity->service_name[0] != '\0' ? identity->service_name : "-",
                     service_width);
        print_column(identity->instance[0] != '\0' ? identity->instance : "-", instance_width);
        cli_print_safe(entry->why);
        putchar('\n');
        return;
    }
    printf("%7llu  %7s  %5.1fM  %3llu  ", (unsigned long long)entry_pid(entry),
           age_text(entry_age_s(entry), age), (double)identity->size_bytes / (1 << 20),
           (unsigned long long)identity->generation);
    print_column(identity->service_name, service_width);
    print_column(identity->instance, instance_width);
    cli_print_safe(identity->path);
    if (entry->holder != 0 && !entry->holder_writes)
        printf("  (read by process %d)", (int)entry->holder);
    putchar('\n');
}

static void print_text(const struct list *list)
{
    const int service_width = column_width(list, true);
    const int instance_width = column_width(list, false);
    if (list->count > 0)
        printf("%-12s  %7s  %7s  %6s  %3s  %-*s  %-*s  %s\n", "STATE", "PID", "AGE", "SIZE", "GEN",
               service_width, "SERVICE", instance_width, "INSTANCE", "WHERE");
    for (size_t i = 0; i < list->count; i++)
        print_entry(list->entries[i], service_width, instance_width);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_identity(struct buffer *out, const struct entry *entry)
{
    const struct identity *identity = &entry->identity;
    json_member_string(out, "service", identity->service_name);
    json_member_string(out, "version", identity->service_version);
    json_member_string(out, "instance", identity->instance);
    json_member_string(out, "uuid", identity->uuid);
    json_member_uint(out, "generation", identity->generation);
    json_member_uint(out, "pid", identity->pid);
    json_member_uint(out, "uid", identity->uid);
    json_member_uint(out, "age_seconds", entry_age_s(entry));
    json_member_uint(out, "size_bytes", identity->size_bytes);
}

static void put_entry(struct buffer *out, const struct entry *entry)
{
    json_object_begin(out);
    json_member_string(out, "state", entry_state(entry));
    if (entry->result != ATTACH_OK)
        json_member_string(out, "reason", entry->why);
    else if (entry->verdict.state != WRITER_ALIVE)
        json_member_string(out, "reason", entry->verdict.reason);
    if (entry->identity.uuid[0] != '\0')
        put_identity(out, entry);
    json_member_string(out, "path", entry->identity.path);
    if (entry->holder != 0)
        json_member_uint(out, entry->holder_writes ? "written_by" : "read_by",
                         (uint64_t)entry->holder);
    json_object_end(out);
}

static bool print_json(const struct list *list)
{
    struct buffer out;
    buffer_init(&out, OUTPUT_BYTES_MAX);
    json_object_begin(&out);
    json_key(&out, "regions");
    json_array_begin(&out);
    for (size_t i = 0; i < list->count; i++)
        put_entry(&out, list->entries[i]);
    json_array_end(&out);
    json_member_uint(&out, "processes", list->processes);
    json_member_uint(&out, "processes_denied", list->denied);
    json_object_end(&out);
    buffer_append(&out, "\n", 1);
    const bool failed = out.failed;
    if (!failed)
        fwrite(out.data, 1, out.length, stdout);
    buffer_free(&out);
    return !failed;
}

/* ---- main ------------------------------------------------------------------------------------ */

/* What the list does not say by itself. */
static void list_hint(const struct list *list)
{
    if (list->count == 0)
        fprintf(stderr, "fwdscope list: no regions: no forwarder with the shim runs here, or its "
                        "directory is another: --dir DIR or FWDSCOPE_DIR\n");
    if (list->left_out > 0)
        fprintf(stderr, "fwdscope list: %zu more regions are not listed: name their --dir\n",
                list->left_out);
    if (list->denied > 0)
        fprintf(stderr,
                "fwdscope list: %zu of %zu processes are another user's and were not looked into: "
                "be root, or have CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH\n",
                list->denied, list->processes);
}

static int list_print(struct list *list)
{
    if (list->count > 1)
        qsort(list->entries, list->count, sizeof *list->entries, entries_compare);
    bool printed = !list->no_memory;
    if (printed && list->json)
        printed = print_json(list);
    else if (printed)
        print_text(list);
    if (!printed) {
        fprintf(stderr, "fwdscope list: no memory\n");
        return EXIT_RUNTIME;
    }
    list_hint(list);
    return EXIT_OK;
}

static int option_take(struct list *list, int option)
{
    switch (option) {
    case 'd':
        if (optarg[0] == '\0')
            return cli_usage_error("list", "--dir needs a value");
        if (list->directory_count == DIRECTORIES_MAX)
            return cli_usage_error("list", "more than %d --dir", DIRECTORIES_MAX);
        list->directories[list->directory_count++] = optarg;
        return EXIT_OK;
    case 'a':
        list->all = true;
        return EXIT_OK;
    default:
        list->json = strcmp(optarg, "json") == 0;
        if (!list->json && strcmp(optarg, "text") != 0)
            return cli_usage_error("list", "-o %s: not text or json", optarg);
        return EXIT_OK;
    }
}

int list_main(int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct list list = {0};
    int c, code = EXIT_OK;
    opterr = 0;
    while (code == EXIT_OK && (c = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(help, stdout);
            return EXIT_OK;
        }
        code = c == ':'   ? cli_usage_error("list", "%s needs a value", argv[optind - 1])
               : c == '?' ? cli_unknown_option("list", argv)
                          : option_take(&list, c);
    }
    if (code == EXIT_OK && optind < argc)
        code = cli_usage_error("list", "unexpected argument '%s'", argv[optind]);
    if (code != EXIT_OK)
        return code;
    list_collect(&list);
    code = list_print(&list);
    for (size_t i = 0; i < list.count; i++)
        free(list.entries[i]);
    free(list.entries);
    return code;
}
