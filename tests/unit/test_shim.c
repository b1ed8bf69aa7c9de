/* SPDX-License-Identifier: Apache-2.0 */
/* The shim's life, instruments, pipelines and document, seen through the region that it writes. */
#include "shim_cases.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char letters[1200]; /* 1,199 times the letter a */

static const char *name_of(size_t bytes)
{
    memset(letters, 'a', sizeof letters - 1);
    return letters + sizeof letters - 1 - bytes;
}

static fwdscope_counter counter_named(const char *name)
{
    return fwdscope_counter_register(&(struct fwdscope_instrument){.name = name});
}

/* ---- every call ------------------------------------------------------------------------------ */

struct handles {
    fwdscope_counter counter;
    fwdscope_total total;
    fwdscope_updown updown;
    fwdscope_gauge gauge, int_gauge;
    fwdscope_histogram histogram;
    fwdscope_pipeline pipeline;
    fwdscope_component input, transform, output;
    fwdscope_span span;
};

static struct handles handles_register(void)
{
    static const double bounds[] = {1, 10};
    struct handles h = {0};
    h.counter = counter_named("c");
    h.total = fwdscope_total_register(&(struct fwdscope_instrument){.name = "t"});
    h.updown = fwdscope_updown_register(&(struct fwdscope_instrument){.name = "u"});
    h.gauge = fwdscope_gauge_register(&(struct fwdscope_instrument){.name = "g"});
    h.int_gauge = fwdscope_int_gauge_register(&(struct fwdscope_instrument){.name = "i"});
    h.histogram =
        fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "h"}, bounds, 2);
    h.pipeline = fwdscope_pipeline_register("p", 0);
    h.input = fwdscope_input_register(h.pipeline, "in", "file", 0);
    h.transform = fwdscope_transform_register(h.pipeline, "SELECT 1", 0);
    h.output = fwdscope_output_register(h.pipeline, "out", "http", 0);
    h.span = fwdscope_span_start("s", FWDSCOPE_SPAN_INTERNAL, 0);
    return h;
}

/* Every hot call once; each must leave errno as it was. */
static void handles_use(const struct handles *h)
{
    const struct fwdscope_attribute attribute = fwdscope_string("k", "v");
    const struct fwdscope_batch batch = {.batches = 1, .inflight = -1, .finished_unix_ns = 5};
    const struct fwdscope_log_record record = {.body = "b", .body_bytes = 1, .span = h->span};
#define QUIET(call) errno = 4711, (call), CHECK(errno == 4711)
    QUIET(fwdscope_heartbeat());
    QUIET(fwdscope_counter_add(h->counter, 1));
    QUIET(fwdscope_total_set(h->total, 9));
    QUIET(fwdscope_updown_add(h->updown, -1));
    QUIET(fwdscope_gauge_set(h->gauge, 1.5));
    QUIET(fwdscope_gauge_set_int(h->int_gauge, 2));
    QUIET(fwdscope_gauge_clear(h->gauge));
    QUIET(fwdscope_histogram_record(h->histogram, 3));
    QUIET(fwdscope_component_progress(h->input, 1, 2));
    QUIET(fwdscope_component_add(h->output, FWDSCOPE_ERRORS, 1));
    QUIET(fwdscope_component_set(h->transform, FWDSCOPE_LINES, 7));
    QUIET(fwdscope_component_health(h->input, FWDSCOPE_DEGRADED));
    QUIET(fwdscope_component_queue(h->output, 1, 2));
    QUIET(fwdscope_output_success(h->output, 0));
    QUIET(fwdscope_batch_add(h->pipeline, &batch));
    QUIET(fwdscope_span_end(fwdscope_span_start("x", FWDSCOPE_SPAN_CLIENT, 0), 0));
    QUIET(fwdscope_span_end(fwdscope_span_child(h->span, "y", FWDSCOPE_SPAN_CLIENT, 0), 0));
    QUIET(fwdscope_span_set(h->span, &attribute, 1));
    QUIET(fwdscope_span_stage(h->span, "scan"));
    QUIET(fwdscope_span_status(h->span, FWDSCOPE_STATUS_ERROR, "bad"));
    QUIET(fwdscope_span_end(h->span, 0));
    QUIET(fwdscope_log(FWDSCOPE_INFO, "line", 4));
    QUIET(fwdscope_log_record(&record));
    QUIET(fwdscope_config_publish_redacted("path", "text", 4));
    QUIET(fwdscope_config_refuse("path", "reason"));
    QUIET(fwdscope_is_on());
    QUIET(fwdscope_reason());
    QUIET(fwdscope_path());
}

/* Arguments that make no sense, none of which may be looked through. */
static void nonsense(const struct handles *h)
{
    fwdscope_log(FWDSCOPE_INFO, NULL, 100);
    fwdscope_log_record(NULL);
    fwdscope_batch_add(h->pipeline, NULL);
    fwdscope_span_set(h->span, NULL, 9);
    fwdscope_span_stage(h->span, NULL);
    fwdscope_span_status(h->span, FWDSCOPE_STATUS_OK, NULL);
    fwdscope_span_status(h->span, (enum fwdscope_span_status)99, "x");
    fwdscope_span_end(fwdscope_span_start(NULL, (enum fwdscope_span_kind)99, 0), 1);
    fwdscope_component_add(h->input, (enum fwdscope_count)5, 1);
    fwdscope_component_set(h->input, (enum fwdscope_count) - 1, 1);
    fwdscope_config_publish_redacted(NULL, NULL, 5);
    fwdscope_config_refuse(NULL, NULL);
    const uint64_t strange[] = {1, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 32, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        const uint64_t id = strange[i];
        struct handles forged = {{id}, {id}, {id}, {id}, {id}, {id}, {id}, {id}, {id}, {id}, {id}};
        handles_use(&forged);
    }
}

static void check_inert(void)
{
    const struct handles none = {0};
    CHECK(!fwdscope_is_on());
    CHECK(fwdscope_path()[0] == '\0');
    CHECK(fwdscope_reason()[0] != '\0');
    const struct handles h = handles_register();
    CHECK(memcmp(&h, &none, sizeof h) == 0); /* every handle is the no-op handle */
    handles_use(&h);
    nonsense(&h);
    CHECK(!fwdscope_is_on());
}

static void inert_before_open(void)
{
    CHECK_TEXT(fwdscope_reason(), "fwdscope_open() was not called");
    check_inert();
    fwdscope_close(FWDSCOPE_CLOSED, "nothing to close");
    check_inert();
}

static void inert_after_a_failed_open(void)
{
    const struct fwdscope_options options = {.directory = case_dir};
    CHECK(!fwdscope_open(&options));
    check_inert();
    CHECK_EQUAL(case_dir_files(), 0);
}

static void inert_after_close(void)
{
    static unsigned char before[1 << 20], after[1 << 20];
    case_open();
    char path[256];
    snprintf(path, sizeof path, "%s", fwdscope_path());
    const struct handles h = handles_register();
    CHECK(h.counter.id != 0 && h.span.id != 0 && h.output.id != 0);
    handles_use(&h);
    fwdscope_close(FWDSCOPE_CLOSED, "end of the test");
    CHECK_TEXT(fwdscope_reason(), "closed");

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(pread(fd, before, sizeof before, 0) == sizeof before);
    check_inert();
    handles_use(&h);
    CHECK(pread(fd, after, sizeof after, 0) == sizeof after);
    CHECK(memcmp(before, after, sizeof before) == 0);
}

static void every_call_while_on(void)
{
    case_open();
    const struct handles h = handles_register();
    nonsense(&h);
    handles_use(&h);
    const struct peek peek = peek_now();
    CHECK_EQUAL(peek_sum(&peek, "c", 0), 1);
    CHECK_EQUAL(peek_sum(&peek, "t", 0), 9);
    CHECK_EQUAL(peek_sum(&peek, "u", 0), UINT64_MAX);
    CHECK_EQUAL(peek_sum(&peek, "h", 3), 1);
}

/* ---- open and close -------------------------------------------------------------------------- */

struct refusal {
    struct fwdscope_options options;
    const char *words;
};

static void open_refused(const struct fwdscope_options *options, const char *words)
{
    errno = 4711;
    CHECK(!fwdscope_open(options));
    CHECK(errno == 4711);
    CHECK(!fwdscope_is_on());
    CHECK_TEXT(fwdscope_reason(), words);
    CHECK(strchr(fwdscope_reason(), '\n') == NULL);
    CHECK_EQUAL(case_dir_files(), 0);
}

static void options_are_checked(void)
{
    const char *longer = name_of(256);
    const struct refusal refusals[] = {
        {{.service_name = NULL}, "service_name is required"},
        {{.service_name = ""}, "service_name is required"},
        {{.service_name = longer}, "service_name is longer than 255"},
        {{.service_name = "s", .service_version = longer}, "service_version is longer"},
        {{.service_name = "s", .instance = longer}, "option instance is longer"},
        {{.service_name = "s", .instance_id = longer}, "instance_id is longer"},
        {{.service_name = "s", .metric_prefix = longer}, "metric_prefix is longer"},
        {{.service_name = "s", .lanes = 1}, "lanes is 1, not 2 to 64"},
        {{.service_name = "s", .lanes = 65}, "lanes is 65"},
        {{.service_name = "s", .instruments = 15}, "instruments is 15, not 16 to 65536"},
        {{.service_name = "s", .instruments = 65537}, "instruments is 65537"},
        {{.service_name = "s", .active_spans = 4097}, "active_spans is 4097, not 1 to 4096"},
        {{.service_name = "s", .log_ring_bytes = 65535}, "log_ring_bytes is 65535"},
        {{.service_name = "s", .log_ring_bytes = (64u << 20) + 1}, "log_ring_bytes is 67108865"},
        {{.service_name = "s", .span_ring_bytes = 16383}, "span_ring_bytes is 16383"},
        {{.service_name = "s", .span_ring_bytes = UINT32_MAX}, "span_ring_bytes is 4294967295"},
        {{.service_name = "s", .lanes = 64, .log_ring_bytes = 64u << 20}, "smaller rings"},
    };
    open_refused(NULL, "no options");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct fwdscope_options options = refusals[i].options;
        options.directory = case_dir;
        open_refused(&options, refusals[i].words);
    }
    case_open(); /* none of that stands in the way of a good one */
    CHECK(fwdscope_reason()[0] == '\0');
}

static void surroundings_are_checked(void)
{
    struct fwdscope_options options = case_options();
    options.directory = "/dev/shm/no/such/place";
    open_refused(&options, "cannot open directory /dev/shm/no/such/place: No such file");
    options.directory = "/proc";
    open_refused(&options, "/proc is not on tmpfs");
    static char longest[5000];
    memset(longest, '/', sizeof longest - 1);
    options.directory = longest;
    open_refused(&options, "too long");
    options.directory = NULL;
    CHECK(setenv("FWDSCOPE_DIR", "/dev/shm/other/place", 1) == 0);
    open_refused(&options, "/dev/shm/other/place");
    const struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    options.directory = case_dir;
    open_refused(&options, "RLIMIT_FSIZE is 1048576");
}

static void directory_from_the_environment(void)
{
    struct fwdscope_options options = case_options();
    options.directory = NULL;
    CHECK(setenv("FWDSCOPE_DIR", case_dir, 1) == 0);
    CHECK(fwdscope_open(&options));
    CHECK_TEXT(fwdscope_path(), case_dir);
}

/* No directory is asked or touched, and every life of the process is one of its own. */
static void sealed_memfd(void)
{
    struct fwdscope_options options = case_options();
    char expected[64];
    options.sealed_memfd = true;
    options.directory = "/nowhere";
    CHECK(setenv("FWDSCOPE_DIR", "/nowhere", 1) == 0);
    snprintf(expected, sizeof expected, "/proc/%d/fd/", (int)getpid());
    for (uint64_t life = 1; life <= 3; life++) {
        CHECK(fwdscope_open(&options));
        CHECK_TEXT(fwdscope_path(), expected);
        const struct handles h = handles_register();
        handles_use(&h);
        const struct peek peek = peek_now();
        CHECK_EQUAL(peek_header(&peek, FWS_H_GENERATION), life);
        CHECK_EQUAL(fws_lock_ask(peek.view.fd), FWS_LOCK_HELD);
        CHECK_EQUAL(fcntl(peek.view.fd, F_GET_SEALS),
                    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
        fwdscope_close(FWDSCOPE_CLOSED, "done");
        CHECK_EQUAL(peek_header(&peek, FWS_H_STATE), FWS_STATE_CLOSED);
        CHECK_EQUAL(fws_lock_ask(peek.view.fd), FWS_LOCK_FREE);
    }
    CHECK_EQUAL(case_dir_files(), 0);
}

static void second_open_is_refused(void)
{
    case_open();
    const struct fwdscope_options options = case_options();
    CHECK(!fwdscope_open(&options));
    CHECK_TEXT(fwdscope_reason(), "already open");
    CHECK(fwdscope_is_on()); /* the first one goes on */
    CHECK(fwdscope_path()[0] != '\0');
    CHECK(counter_named("still").id != 0);
    CHECK_EQUAL(case_dir_files(), 1);
}

static void *opener(void *arg)
{
    const struct fwdscope_options options = case_options();
    fws_add(arg, fwdscope_open(&options));
    return NULL;
}

static void one_of_many_openers_wins(void)
{
    pthread_t threads[8];
    fws_word opened = 0;
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, opener, &opened) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(fws_peek(&opened), 1);
    CHECK_EQUAL(case_dir_files(), 1);
}

static void lives_are_bounded(void)
{
    const struct fwdscope_options options = case_options();
    int lives = 0;
    while (fwdscope_open(&options)) {
        fwdscope_close(FWDSCOPE_CLOSED, "");
        CHECK(++lives <= 100);
    }
    CHECK(lives >= 10);
    CHECK_TEXT(fwdscope_reason(), "keep the shim open");
}

static void header_says_who_writes(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const struct fwdscope_attribute resource[] = {fwdscope_string("team", "logs"),
                                                  fwdscope_int("shard", 3)};
    struct fwdscope_options options = case_options();
    options.service_version = "1.2.3";
    options.instance = "blue";
    options.instance_id = "id-1";
    options.metric_prefix = "fwd";
    options.resource = resource;
    options.resource_count = 2;
    options.heartbeat_interval_ms = 1500;
    CHECK(fwdscope_open(&options));
    const struct peek peek = peek_now();
    CHECK_EQUAL(peek_header(&peek, FWS_H_PID), getpid());
    CHECK_EQUAL(peek_header(&peek, FWS_H_UID), geteuid());
    CHECK_EQUAL(peek_header(&peek, FWS_H_GID), getegid());
    CHECK_EQUAL(peek_header(&peek, FWS_H_GENERATION), 1);
    CHECK_EQUAL(peek_header(&peek, FWS_H_HEARTBEAT_NS), UINT64_C(1500000000));
    CHECK_EQUAL(peek_header(&peek, FWS_H_STATE), FWS_STATE_RUNNING);
    CHECK(peek_header(&peek, FWS_H_PID_START) > 0);
    CHECK(peek_header(&peek, FWS_H_PID_NS) > 0);
    CHECK((peek_header(&peek, FWS_H_BOOT_ID) | peek_header(&peek, FWS_H_BOOT_ID + 1)) != 0);
    CHECK((peek_header(&peek, FWS_H_UUID) | peek_header(&peek, FWS_H_UUID + 1)) != 0);
    CHECK(peek_header(&peek, FWS_H_CREATED_UNIX_NS) / 1000000000 - (uint64_t)now.tv_sec < 60);
    CHECK(strcmp((const char *)&peek.view.prefix[FWS_H_SERVICE_NAME], "unit") == 0);
    CHECK(strcmp((const char *)&peek.view.prefix[FWS_H_SERVICE_VERSION], "1.2.3") == 0);
    CHECK(strcmp((const char *)&peek.view.prefix[FWS_H_INSTANCE], "blue") == 0);

    const fws_word *words = peek_entry(&peek, FWS_SECTION_RESOURCE, 0, 0);
    uint64_t copy[FWS_RES_WORDS];
    for (int i = 0; i < FWS_RES_WORDS; i++)
        copy[i] = fws_peek(&words[i]);
    CHECK(strcmp((const char *)copy, "fwd") == 0);
    CHECK_EQUAL(copy[FWS_RES_ATTR_COUNT], 4);
    struct fws_attr a;
    size_t at = 0;
    CHECK(fws_attr_next(copy + FWS_RES_ATTRS, copy[FWS_RES_ATTR_WORDS], &at, &a));
    CHECK(a.key_bytes == 19 && memcmp(a.key, "service.instance.id", 19) == 0);
    CHECK(fws_attr_next(copy + FWS_RES_ATTRS, copy[FWS_RES_ATTR_WORDS], &at, &a));
    CHECK(fws_attr_next(copy + FWS_RES_ATTRS, copy[FWS_RES_ATTR_WORDS], &at, &a));
    CHECK(a.type == FWS_ATTR_INT && a.number == 3);
    CHECK(fws_attr_next(copy + FWS_RES_ATTRS, copy[FWS_RES_ATTR_WORDS], &at, &a));
    CHECK(a.key_bytes == 23 && memcmp(a.key, "process.executable.name", 23) == 0);
    CHECK(a.value_bytes == 9 && memcmp(a.value, "test_shim", 9) == 0);
    CHECK_EQUAL(at, copy[FWS_RES_ATTR_WORDS]);
}

static void environment_names_the_service(void)
{
    struct fwdscope_options options = case_options();
    options.service_name = NULL;
    unsetenv("OTEL_SERVICE_NAME");
    CHECK(!fwdscope_open(&options));
    CHECK(strstr(fwdscope_reason(), "OTEL_SERVICE_NAME") != NULL);
    setenv("OTEL_SERVICE_NAME", "from-outside", 1);
    CHECK(fwdscope_open(&options));
    const struct peek peek = peek_now();
    CHECK(strcmp((const char *)&peek.view.prefix[FWS_H_SERVICE_NAME], "from-outside") == 0);
    CHECK(strcmp((const char *)&peek.view.prefix[FWS_H_INSTANCE], "from-outside") == 0);
}

static void sizes_follow_the_options(void)
{
    struct fwdscope_options options = case_options();
    options.lanes = 3;
    options.instruments = 17;
    options.active_spans = 5;
    options.log_ring_bytes = 65537; /* the next power of two */
    options.span_ring_bytes = 16384;
    CHECK(fwdscope_open(&options));
    const struct peek peek = peek_now(); /* the whole directory was checked on the way */
    CHECK_EQUAL(peek.sections[FWS_SECTION_LANES].lanes, 3);
    CHECK_EQUAL(peek.sections[FWS_SECTION_VALUES].lanes, 3);
    CHECK_EQUAL(peek.sections[FWS_SECTION_BATCHES].lanes, 3);
    CHECK_EQUAL(peek.sections[FWS_SECTION_INSTRUMENTS].count, 17);
    CHECK_EQUAL(peek.sections[FWS_SECTION_ACTIVE_SPANS].count, 5);
    CHECK_EQUAL(peek.sections[FWS_SECTION_LOG_RINGS].stride, 131072 + 128);
    CHECK_EQUAL(peek.sections[FWS_SECTION_SPAN_RINGS].stride, 16384 + 128);
}

static void default_size_is_as_said(void)
{
    case_open();
    const struct peek peek = peek_now();
    CHECK(peek.view.bytes <= UINT64_C(8) << 20 && peek.view.bytes > UINT64_C(6) << 20);
    CHECK(strcmp((const char *)&peek.view.prefix[FWS_H_INSTANCE], "unit") == 0);
}

static void close_says_how_and_why(void)
{
    char path[256];
    const struct {
        enum fwdscope_close_kind kind;
        uint64_t state;
    } kinds[] = {{FWDSCOPE_CLOSED, FWS_STATE_CLOSED}, {FWDSCOPE_CRASHED, FWS_STATE_CLOSED_CRASHED}};
    for (size_t i = 0; i < 2; i++) {
        case_open();
        snprintf(path, sizeof path, "%s", fwdscope_path());
        errno = 4711;
        fwdscope_close(kinds[i].kind, name_of(300));
        CHECK(errno == 4711);
        const struct peek peek = peek_open(path);
        CHECK(peek.view.copied); /* the lock is free, although the process lives */
        CHECK_EQUAL(peek_header(&peek, FWS_H_STATE), kinds[i].state);
        uint64_t reason[FWS_STRING_WORDS];
        for (int w = 0; w < FWS_STRING_WORDS; w++)
            reason[w] = peek_header(&peek, FWS_H_CLOSE_REASON + w);
        CHECK_EQUAL(strnlen((const char *)reason, sizeof reason), 255);
    }
}

static void second_close_touches_no_descriptor(void)
{
    case_open();
    fwdscope_close(FWDSCOPE_CLOSED, "");
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the number that the shim had */
    fwdscope_close(FWDSCOPE_CLOSED, "");
    CHECK(fcntl(fd, F_GETFD) != -1);
}

/* A host that closes every descriptor, as daemons do, and goes on to open its own. */
static void descriptors_of_the_host_are_safe(void)
{
    case_open();
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    int mine[16];
    for (int i = 0; i < 16; i++)
        CHECK((mine[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
    fwdscope_counter_add(counter_named("c"), 1);
    const pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 16; i++)
            if (fcntl(mine[i], F_GETFD) == -1)
                _exit(1); /* the shim's fork handler closed it */
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    fwdscope_close(FWDSCOPE_CLOSED, "");
    for (int i = 0; i < 16; i++)
        CHECK(fcntl(mine[i], F_GETFD) != -1);
}

/* ---- lives ------------------------------------------------------------------------------------
 */

/* A life of the instance in a process of its own; how it ends. Its generation. */
static uint64_t life_elsewhere(bool crash, bool drop)
{
    int pipe_fds[2], status;
    uint64_t generation = 0;
    CHECK(pipe(pipe_fds) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        struct fwdscope_options options = case_options();
        options.drop_previous_life = drop;
        CHECK(fwdscope_open(&options));
        const struct peek peek = peek_now();
        generation = peek_header(&peek, FWS_H_GENERATION);
        CHECK(write(pipe_fds[1], &generation, sizeof generation) == sizeof generation);
        if (!crash)
            fwdscope_close(FWDSCOPE_CLOSED, "");
        _exit(0);
    }
    CHECK(read(pipe_fds[0], &generation, sizeof generation) == sizeof generation);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return generation;
}

/* Whether there is a file of that generation. */
static bool generation_kept(uint64_t generation)
{
    char begin[32];
    bool found = false;
    struct dirent *entry;
    DIR *entries = opendir(case_dir);
    snprintf(begin, sizeof begin, "unit.%llu.", (unsigned long long)generation);
    while ((entry = readdir(entries)) != NULL)
        found = found || strncmp(entry->d_name, begin, strlen(begin)) == 0;
    closedir(entries);
    return found;
}

static void one_crashed_life_is_kept(void)
{
    CHECK_EQUAL(life_elsewhere(true, false), 1);
    CHECK_EQUAL(life_elsewhere(true, false), 2);
    CHECK_EQUAL(case_dir_files(), 2);
    CHECK_EQUAL(life_elsewhere(true, false), 3); /* 1 goes, 2 is the evidence */
    CHECK(!generation_kept(1) && generation_kept(2) && generation_kept(3));
    CHECK_EQUAL(life_elsewhere(false, false), 4);
    CHECK(generation_kept(3) && generation_kept(4) && !generation_kept(2));
    CHECK_EQUAL(life_elsewhere(false, false), 5); /* 4 was closed: nobody needs it */
    CHECK(generation_kept(3) && generation_kept(5));
    CHECK_EQUAL(case_dir_files(), 2);
    CHECK_EQUAL(life_elsewhere(false, true), 6); /* told to keep none */
    CHECK_EQUAL(case_dir_files(), 1);
}

/* A writer that died in open leaves no memory behind: a file that has bytes was locked, so a free
 * lock says at once that it is dead. An empty one may be somebody's who has yet to lock it. */
static void file_of_a_dead_opener_goes(void)
{
    char dead[300], empty[300];
    snprintf(dead, sizeof dead, "%s/.unit.7.00000000.fwdscope.creating", case_dir);
    snprintf(empty, sizeof empty, "%s/.unit.8.00000000.fwdscope.creating", case_dir);
    int fd = open(dead, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && posix_fallocate(fd, 0, 65536) == 0);
    close(fd);
    fd = open(empty, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
    case_open();
    CHECK(access(dead, F_OK) != 0 && access(empty, F_OK) == 0);
    CHECK_EQUAL(case_dir_files(), 2);
}

/* A life that was closed is removed only when the next region is there: an open that fails, or
 * whose process dies, must not make the generation start again. */
static void generation_survives_a_failed_open(void)
{
    struct fwdscope_options options = case_options();
    struct rlimit before, limit;
    CHECK_EQUAL(life_elsewhere(false, false), 1);
    CHECK_EQUAL(life_elsewhere(false, false), 2);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    limit = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(!fwdscope_open(&options));
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(generation_kept(2));
    CHECK_EQUAL(life_elsewhere(false, false), 3);
    CHECK_EQUAL(case_dir_files(), 1);
}

/* The lock of a closed life is free at once, so the next one of the same process removes it. */
static void closed_lives_of_one_process_are_removed(void)
{
    for (uint64_t generation = 1; generation <= 4; generation++) {
        case_open();
        const struct peek peek = peek_now();
        CHECK_EQUAL(peek_header(&peek, FWS_H_GENERATION), generation);
        CHECK_EQUAL(case_dir_files(), 1);
        fwdscope_close(FWDSCOPE_CLOSED, "");
    }
}

static void living_regions_are_left_alone(void)
{
    case_open();
    char mine[256];
    snprintf(mine, sizeof mine, "%s", fwdscope_path());
    CHECK_EQUAL(life_elsewhere(false, true), 2); /* the same instance, while we live */
    CHECK(access(mine, F_OK) == 0);
}

static void other_files_are_left_alone(void)
{
    char path[300];
    static const char *const names[] = {"unit.1.x.fwdscope", "notes.txt", ".x.creating",
                                        "other.1.00000000.fwdscope"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", case_dir, names[i]);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        CHECK(fd >= 0 && write(fd, "no region", 9) == 9);
        close(fd);
    }
    snprintf(path, sizeof path, "%s/pipe.fwdscope", case_dir);
    CHECK(mkfifo(path, 0600) == 0);
    case_open(); /* and it did not wait for the pipe's other end */
    CHECK_EQUAL(case_dir_files(), 6);
}

static void handles_of_another_life_do_nothing(void)
{
    case_open();
    const struct handles h = handles_register();
    fwdscope_close(FWDSCOPE_CLOSED, "");
    case_open();
    const struct handles fresh = handles_register();
    CHECK(h.counter.id != fresh.counter.id && h.span.id != fresh.span.id);
    handles_use(&h);
    const struct peek peek = peek_now();
    CHECK_EQUAL(peek_sum(&peek, "c", 0), 0);
    CHECK_EQUAL(peek_sum(&peek, "h", 3), 0);
    CHECK_EQUAL(fws_peek(&peek_entry(&peek, FWS_SECTION_ACTIVE_SPANS, 0, 0)[FWS_A_STATE]), 1);
}

static void heartbeat_changes_a_word(void)
{
    case_open();
    const struct peek peek = peek_now();
    uint64_t last = peek_lanes_sum(&peek, FWS_LANE_HEARTBEAT);
    for (int i = 0; i < 10; i++) {
        fwdscope_heartbeat();
        const uint64_t now = peek_lanes_sum(&peek, FWS_LANE_HEARTBEAT);
        CHECK(now != last);
        last = now;
    }
    fwdscope_log(FWDSCOPE_INFO, "x", 1);
    CHECK(peek_lanes_sum(&peek, FWS_LANE_HEARTBEAT) != last);
}

/* ---- registration ---------------------------------------------------------------------------- */

static uint64_t refused_now(void)
{
    struct peek peek = peek_now();
    const uint64_t refused = peek_header(&peek, FWS_H_REFUSED);
    fws_view_detach(&peek.view);
    return refused;
}

static void same_registration_same_handle(void)
{
    case_open();
    const struct fwdscope_attribute a = fwdscope_string("k", "a"), b = fwdscope_string("k", "b");
    struct fwdscope_instrument what = {.name = "n", .unit = "By", .description = "d"};
    const fwdscope_counter plain = fwdscope_counter_register(&what);
    CHECK(plain.id != 0);
    CHECK(fwdscope_counter_register(&what).id == plain.id);
    what.attributes = &a;
    what.attribute_count = 1;
    const fwdscope_counter with_a = fwdscope_counter_register(&what);
    CHECK(with_a.id != plain.id && fwdscope_counter_register(&what).id == with_a.id);
    what.attributes = &b;
    CHECK(fwdscope_counter_register(&what).id != with_a.id);
    /* Another kind of the same name is another instrument. */
    CHECK(fwdscope_updown_register(&what).id != fwdscope_counter_register(&what).id);
    const fwdscope_pipeline p = fwdscope_pipeline_register("p", 0),
                            q = fwdscope_pipeline_register("q", 0);
    CHECK(p.id != q.id && fwdscope_pipeline_register("p", 0).id == p.id);
    const fwdscope_component in = fwdscope_input_register(p, "x", "file", 0);
    CHECK(fwdscope_input_register(p, "x", "file", 0).id == in.id);
    CHECK(fwdscope_output_register(p, "x", "file", 0).id != in.id);
    CHECK(fwdscope_input_register(q, "x", "file", 0).id != in.id);
    CHECK(fwdscope_transform_register(p, "A", 0).id == fwdscope_transform_register(p, "B", 0).id);
    CHECK_EQUAL(refused_now(), 0);
    const struct peek peek = peek_now();
    CHECK(peek_instrument(&peek, "n", 3) != NULL && peek_instrument(&peek, "n", 4) == NULL);
}

static void invalid_names_are_refused(void)
{
    case_open();
    static const char *const invalid[] = {NULL,  "",    "1a",  "_a",      ".a",
                                          "a b", "a\n", "a:b", "\xc3\xa4"};
    uint64_t refused = 0;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        CHECK_EQUAL(counter_named(invalid[i]).id, 0);
        CHECK_EQUAL(refused_now(), ++refused);
    }
    CHECK_EQUAL(counter_named(name_of(256)).id, 0);
    CHECK(counter_named(name_of(255)).id != 0);
    CHECK(counter_named("Az09_./-").id != 0);
    CHECK_EQUAL(fwdscope_counter_register(NULL).id, 0);
    struct fwdscope_instrument what = {.name = "unit", .unit = name_of(256)};
    CHECK_EQUAL(fwdscope_gauge_register(&what).id, 0); /* longer units are refused too */
    what.unit = name_of(255);
    CHECK(fwdscope_gauge_register(&what).id != 0);
    CHECK_EQUAL(refused_now(), refused + 3);

    CHECK_EQUAL(fwdscope_pipeline_register(NULL, 0).id, 0);
    CHECK_EQUAL(fwdscope_pipeline_register("", 0).id, 0);
    CHECK_EQUAL(fwdscope_pipeline_register(name_of(256), 0).id, 0);
    const fwdscope_pipeline none = {0}, p = fwdscope_pipeline_register(name_of(255), 0);
    CHECK(p.id != 0);
    CHECK_EQUAL(fwdscope_input_register(none, "in", "file", 0).id, 0);
    CHECK_EQUAL(fwdscope_input_register(p, "", "file", 0).id, 0);
    CHECK_EQUAL(fwdscope_input_register(p, NULL, "file", 0).id, 0);
    CHECK_EQUAL(fwdscope_output_register(p, name_of(256), "file", 0).id, 0);
    CHECK_EQUAL(refused_now(), refused + 10);
    CHECK(fwdscope_output_register(p, "out", NULL, 0).id != 0);
}

static void long_texts_are_cut(void)
{
    case_open();
    struct fwdscope_instrument what = {.name = "d", .description = name_of(1100)};
    CHECK(fwdscope_counter_register(&what).id != 0);
    const fwdscope_pipeline p = fwdscope_pipeline_register("p", 0);
    CHECK(fwdscope_transform_register(p, name_of(1100), 0).id != 0); /* a long query, cut */
    const struct peek peek = peek_now();
    CHECK(peek_text_is(&peek, fws_peek(&peek_instrument(&peek, "d", 0)[FWS_I_DESCRIPTION]),
                       name_of(1024)));
    CHECK(peek_text_is(&peek,
                       fws_peek(&peek_entry(&peek, FWS_SECTION_COMPONENTS, 0, 0)[FWS_C_TYPE]),
                       name_of(1024)));
}

static void bounds_are_checked(void)
{
    case_open();
    static double bounds[129];
    for (int i = 0; i < 129; i++)
        bounds[i] = i;
    struct fwdscope_instrument what = {.name = "h"};
    const double equal[] = {1, 1}, falling[] = {2, 1}, endless[] = {1, HUGE_VAL},
                 odd[] = {(double)NAN};
    CHECK_EQUAL(fwdscope_histogram_register(&what, NULL, 1).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(&what, bounds, 0).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(&what, bounds, 129).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(&what, equal, 2).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(&what, falling, 2).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(&what, endless, 2).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(&what, odd, 1).id, 0);
    CHECK_EQUAL(fwdscope_histogram_register(NULL, bounds, 1).id, 0);
    CHECK_EQUAL(refused_now(), 8);
    CHECK(fwdscope_histogram_register(&what, bounds, 128).id != 0);
}

static void full_table_is_counted(void)
{
    struct fwdscope_options options = case_options();
    options.instruments = 16;
    CHECK(fwdscope_open(&options));
    char name[16];
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "n%d", i);
        CHECK(counter_named(name).id != 0);
    }
    CHECK_EQUAL(counter_named("more").id, 0);
    CHECK_EQUAL(counter_named("more").id, 0);
    CHECK_EQUAL(refused_now(), 2);
    CHECK(counter_named("n7").id != 0); /* found, not added */
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "p%d", i);
        CHECK(fwdscope_pipeline_register(name, 0).id != 0);
    }
    CHECK_EQUAL(fwdscope_pipeline_register("more", 0).id, 0);
    const fwdscope_pipeline p = fwdscope_pipeline_register("p3", 0);
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "c%d", i);
        CHECK(fwdscope_output_register(p, name, "t", 0).id != 0);
    }
    CHECK_EQUAL(fwdscope_output_register(p, "more", "t", 0).id, 0);
    CHECK_EQUAL(refused_now(), 4);
}

static void slots_run_out(void)
{
    struct fwdscope_options options = case_options();
    options.instruments = 16;
    CHECK(fwdscope_open(&options));
    static double bounds[128];
    for (int i = 0; i < 128; i++)
        bounds[i] = i;
    char name[16];
    int made = 0;
    for (int i = 0; i < 16; i++) {
        snprintf(name, sizeof name, "h%d", i);
        made +=
            fwdscope_histogram_register(&(struct fwdscope_instrument){.name = name}, bounds, 128)
                .id != 0;
    }
    CHECK(made >= 1 && made < 16);
    CHECK_EQUAL(refused_now(), 16 - made);
    CHECK(counter_named("small").id != 0);
}

/* What did not fit takes nothing with it: a smaller registration still goes in. */
static void strings_run_out(void)
{
    struct fwdscope_options options = case_options();
    options.instruments = 64;
    CHECK(fwdscope_open(&options));
    struct fwdscope_instrument what = {.description = name_of(1024)};
    char name[16];
    int made = 0, i = 0;
    for (; i < 64; i++) {
        snprintf(name, sizeof name, "n%d", i);
        what.name = name;
        if (fwdscope_counter_register(&what).id == 0)
            break;
        made++;
    }
    CHECK(made >= 10 && made < 64);
    for (int again = 0; again < 2000; again++) /* each would leave its name behind */
        CHECK_EQUAL(fwdscope_counter_register(&what).id, 0);
    CHECK_EQUAL(refused_now(), 2001);
    CHECK(counter_named("small").id != 0);
    const fwdscope_pipeline p = fwdscope_pipeline_register("p", 0);
    CHECK(p.id != 0);
    int refused = 0;
    for (int again = 0; again < 200; again++)
        refused += fwdscope_output_register(p, "out", name_of(1024), 0).id == 0;
    CHECK_EQUAL(refused, 200);
    CHECK(fwdscope_output_register(p, "out", "t", 0).id != 0);
}

static void attributes_of_an_instrument(void)
{
    case_open();
    struct fwdscope_attribute many[40];
    static char keys[40][16];
    for (int i = 0; i < 40; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        many[i] = fwdscope_int(keys[i], i);
    }
    many[3].key = NULL;
    many[4].key = name_of(256);
    many[5].key = "k0"; /* twice */
    struct fwdscope_instrument what = {.name = "n", .attributes = many, .attribute_count = 40};
    CHECK(fwdscope_counter_register(&what).id != 0);
    const struct peek peek = peek_now();
    const fws_word *entry = peek_instrument(&peek, "n", 0);
    CHECK_EQUAL(fws_peek(&entry[FWS_I_ATTR_COUNT]), 32);
    CHECK_EQUAL(fws_peek(&entry[FWS_I_ATTR_DROPPED]), 8);
}

/* ---- values -----------------------------------------------------------------------------------
 */

enum { THREADS = 20, ADDS = 20000 };

struct work {
    fwdscope_counter counter;
    fwdscope_updown updown;
    fwdscope_histogram histogram;
    fwdscope_pipeline pipeline;
    fwdscope_component output;
    int adds;
};

static void *worker(void *arg)
{
    const struct work *work = arg;
    const struct fwdscope_batch batch = {.batches = 1, .rows = 3};
    for (int i = 0; i < work->adds; i++) {
        fwdscope_counter_add(work->counter, 3);
        fwdscope_updown_add(work->updown, i % 2 == 0 ? 5 : -4);
        fwdscope_histogram_record(work->histogram, i % 4);
        fwdscope_batch_add(work->pipeline, &batch);
        fwdscope_component_progress(work->output, 1, 100);
    }
    return NULL;
}

static struct work work_register(void)
{
    static const double bounds[] = {0, 2};
    struct work work = {.counter = counter_named("c"), .adds = ADDS};
    work.updown = fwdscope_updown_register(&(struct fwdscope_instrument){.name = "u"});
    work.histogram =
        fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "h"}, bounds, 2);
    work.pipeline = fwdscope_pipeline_register("p", 0);
    work.output = fwdscope_output_register(work.pipeline, "o", "t", 0);
    return work;
}

/* That the region holds `adds` rounds of work, to the last one. */
static void work_check(const struct peek *peek, uint64_t adds)
{
    uint64_t batches = 0, rows = 0, lines = 0, bytes = 0;
    CHECK_EQUAL(peek_sum(peek, "c", 0), 3 * adds);
    CHECK_EQUAL(peek_sum(peek, "u", 0), adds / 2);
    const uint64_t dropped = peek_lanes_sum(peek, FWS_LANE_VALUES_DROPPED);
    CHECK_EQUAL(peek_sum(peek, "h", 2) + peek_sum(peek, "h", 3) + peek_sum(peek, "h", 4) + dropped,
                adds);
    const uint64_t slot = fws_peek(&peek_entry(peek, FWS_SECTION_COMPONENTS, 0, 0)[FWS_C_SLOT]);
    for (size_t lane = 0; lane < peek->sections[FWS_SECTION_LANES].lanes; lane++) {
        const fws_word *group = peek_entry(peek, FWS_SECTION_BATCHES, lane, 0);
        batches += fws_peek(&group[FWS_B_BATCHES]);
        rows += fws_peek(&group[FWS_B_ROWS]);
        CHECK_EQUAL(fws_peek(&group[FWS_B_SEQ]) % 2, 0);
        lines += fws_peek(peek_entry(peek, FWS_SECTION_VALUES, lane, slot + FWS_COUNT_LINES));
        bytes += fws_peek(peek_entry(peek, FWS_SECTION_VALUES, lane, slot + FWS_COUNT_BYTES));
    }
    CHECK_EQUAL(batches, adds);
    CHECK_EQUAL(rows, 3 * adds);
    CHECK_EQUAL(lines, adds);
    CHECK_EQUAL(bytes, 100 * adds);
}

/* More threads than lanes: those beyond share lane 0, and nothing is lost. */
static void totals_of_many_threads_are_exact(void)
{
    pthread_t threads[THREADS];
    case_open();
    struct work work = work_register();
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, &work) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    const struct peek peek = peek_now();
    work_check(&peek, (uint64_t)THREADS * ADDS);
}

/* A lane goes from thread to thread: its totals go on, and one lane is enough for all. */
static void lanes_are_handed_on(void)
{
    case_open();
    struct work work = work_register();
    work.adds = 10;
    for (int i = 0; i < 1000; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, worker, &work) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    const struct peek peek = peek_now();
    work_check(&peek, 10000);
    const uint64_t slot = fws_peek(&peek_instrument(&peek, "c", 0)[FWS_I_SLOT]);
    CHECK_EQUAL(fws_peek(peek_entry(&peek, FWS_SECTION_VALUES, 1, slot)), 30000);
}

/* The same with threads that overlap. */
static void lanes_are_handed_on_at_once(void)
{
    pthread_t threads[12];
    case_open();
    struct work work = work_register();
    work.adds = 20;
    for (int round = 0; round < 84; round++) {
        for (int i = 0; i < 12; i++)
            CHECK(pthread_create(&threads[i], NULL, worker, &work) == 0);
        for (int i = 0; i < 12; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
    const struct peek peek = peek_now();
    work_check(&peek, 84 * 12 * 20);
}

static double gauge_value(const struct peek *peek, const char *name)
{
    return peek_sum_double(peek, name, 0);
}

static void gauges(void)
{
    case_open();
    const fwdscope_gauge g = fwdscope_gauge_register(&(struct fwdscope_instrument){.name = "g"});
    const fwdscope_gauge i =
        fwdscope_int_gauge_register(&(struct fwdscope_instrument){.name = "i"});
    const struct peek peek = peek_now();
    CHECK_EQUAL(fws_peek(&peek_instrument(&peek, "g", 0)[FWS_I_NUMBER]), FWS_NUMBER_DOUBLE);
    CHECK_EQUAL(fws_peek(&peek_instrument(&peek, "i", 0)[FWS_I_NUMBER]), FWS_NUMBER_INT);
    CHECK_EQUAL(peek_sum(&peek, "g", 1), 0); /* absent until first set */
    fwdscope_gauge_set(g, -2.5);
    CHECK_EQUAL(peek_sum(&peek, "g", 1), 1);
    CHECK(gauge_value(&peek, "g") == -2.5);
    fwdscope_gauge_set_int(g, 7);
    CHECK(gauge_value(&peek, "g") == 7.0);
    fwdscope_gauge_clear(g);
    CHECK_EQUAL(peek_sum(&peek, "g", 1), 0);
    fwdscope_gauge_set(g, 1);
    CHECK_EQUAL(peek_sum(&peek, "g", 1), 1);

    static const struct {
        double from;
        int64_t to;
    } rounded[] = {{2.9, 2},
                   {-2.9, -2},
                   {9223372036854774784.0, INT64_MAX - 1023},
                   {-9223372036854775808.0, INT64_MIN},
                   {-0.0, 0}};
    static const double unfit[] = {(double)NAN, 1e300,     -1e300,
                                   HUGE_VAL,    -HUGE_VAL, 9223372036854775808.0};
    for (size_t n = 0; n < sizeof rounded / sizeof *rounded; n++) {
        fwdscope_gauge_set(i, rounded[n].from);
        CHECK_EQUAL(peek_sum(&peek, "i", 0), rounded[n].to);
        CHECK_EQUAL(peek_sum(&peek, "i", 1), 1);
    }
    for (size_t n = 0; n < sizeof unfit / sizeof *unfit; n++) { /* no number is made up for it */
        fwdscope_gauge_set_int(i, 1);
        fwdscope_gauge_set(i, unfit[n]);
        CHECK_EQUAL(peek_sum(&peek, "i", 1), 0);
    }
    fwdscope_gauge_set_int(i, INT64_MIN);
    CHECK_EQUAL(peek_sum(&peek, "i", 0), INT64_MIN);
}

static void totals_are_set(void)
{
    case_open();
    const fwdscope_total t = fwdscope_total_register(&(struct fwdscope_instrument){.name = "t"});
    const struct peek peek = peek_now();
    CHECK_EQUAL(peek_sum(&peek, "t", 1), 0);
    fwdscope_total_set(t, UINT64_MAX);
    CHECK_EQUAL(peek_sum(&peek, "t", 1), 1);
    CHECK_EQUAL(peek_sum(&peek, "t", 0), UINT64_MAX);
    /* A handle of one kind is none of another. */
    fwdscope_counter_add((fwdscope_counter){t.id}, 1);
    fwdscope_gauge_set((fwdscope_gauge){t.id}, 1);
    CHECK_EQUAL(peek_sum(&peek, "t", 0), UINT64_MAX);
}

static void histogram_bounds_are_inclusive(void)
{
    case_open();
    static const double bounds[] = {-1, 0, 2.5};
    const fwdscope_histogram h =
        fwdscope_histogram_register(&(struct fwdscope_instrument){.name = "h"}, bounds, 3);
    static const double values[] = {-5, -1, -0.5, 0, 2.5, 2.6, 1e300};
    double sum = 0;
    for (size_t i = 0; i < 7; i++) {
        fwdscope_histogram_record(h, values[i]);
        sum += values[i];
    }
    fwdscope_histogram_record(h, (double)NAN);
    fwdscope_histogram_record(h, HUGE_VAL);
    fwdscope_histogram_record(h, -HUGE_VAL);
    const struct peek peek = peek_now();
    CHECK_EQUAL(peek_sum(&peek, "h", 2), 2); /* (-inf, -1] */
    CHECK_EQUAL(peek_sum(&peek, "h", 3), 2); /* (-1, 0] */
    CHECK_EQUAL(peek_sum(&peek, "h", 4), 1); /* (0, 2.5] */
    CHECK_EQUAL(peek_sum(&peek, "h", 5), 2);
    CHECK(peek_sum_double(&peek, "h", 1) == sum);
    CHECK_EQUAL(peek_lanes_sum(&peek, FWS_LANE_VALUES_DROPPED), 3);
    const fws_word *entry = peek_instrument(&peek, "h", 0);
    CHECK_EQUAL(fws_peek(&entry[FWS_I_SLOTS]), 2 + 4);
    CHECK_EQUAL(FWS_REF_LENGTH(fws_peek(&entry[FWS_I_BOUNDS])), 24);
}

/* Histograms of every size find the bucket that counting the bounds below finds. */
static void histograms_of_every_size(void)
{
    case_open();
    static double bounds[128];
    for (size_t i = 0; i < 128; i++)
        bounds[i] = (double)(i * i);
    for (size_t count = 1; count <= 128; count = count < 20 ? count + 1 : count + 36) {
        uint64_t expected[129] = {0};
        char name[16];
        snprintf(name, sizeof name, "h%zu", count);
        const fwdscope_histogram h =
            fwdscope_histogram_register(&(struct fwdscope_instrument){.name = name}, bounds, count);
        for (double value = -1; value < 128 * 128; value += 20.5) {
            size_t below = 0;
            while (below < count && bounds[below] < value)
                below++;
            expected[below]++;
            fwdscope_histogram_record(h, value);
        }
        const struct peek peek = peek_now();
        for (size_t i = 0; i <= count; i++)
            CHECK_EQUAL(peek_sum(&peek, name, 2 + i), expected[i]);
    }
}

/* ---- pipelines --------------------------------------------------------------------------------
 */

static void components(void)
{
    case_open();
    const fwdscope_pipeline p = fwdscope_pipeline_register("main", 1u << FWDSCOPE_BATCH_SEND);
    const fwdscope_component in = fwdscope_input_register(p, "in", "file", 1u << FWDSCOPE_BYTES);
    const fwdscope_component tr = fwdscope_transform_register(p, "SELECT *", 0);
    const fwdscope_component out = fwdscope_output_register(p, "out", "http", 0);
    const struct peek peek = peek_now();
    const fws_word *c[3];
    for (size_t i = 0; i < 3; i++)
        c[i] = peek_entry(&peek, FWS_SECTION_COMPONENTS, 0, i);
    const fws_word *pipeline = peek_entry(&peek, FWS_SECTION_PIPELINES, 0, 0);
    CHECK(peek_text_is(&peek, fws_peek(&pipeline[FWS_P_NAME]), "main"));
    CHECK_EQUAL(fws_peek(&pipeline[FWS_P_ABSENT]), 1u << FWS_B_SEND_NS);
    CHECK(peek_text_is(&peek, fws_peek(&c[1][FWS_C_TYPE]), "SELECT *"));
    CHECK_EQUAL(fws_peek(&c[0][FWS_C_KIND]), FWS_INPUT);
    CHECK_EQUAL(fws_peek(&c[0][FWS_C_ABSENT]), 1u << FWS_COUNT_BYTES);
    CHECK_EQUAL(fws_peek(&c[0][FWS_C_HEALTH]), FWS_STARTING);
    CHECK_EQUAL(fws_peek(&c[1][FWS_C_HEALTH]), FWS_HEALTHY);
    CHECK_EQUAL(fws_peek(&c[2][FWS_C_HEALTH]), FWS_HEALTHY);
    CHECK_EQUAL(fws_peek(&c[2][FWS_C_QUEUE]), 0);

    fwdscope_component_health(in, FWDSCOPE_HEALTHY);
    fwdscope_component_queue(out, 3, 10);
    fwdscope_output_success(out, 123);
    fwdscope_component_progress(in, 5, 500);
    fwdscope_component_add(in, FWDSCOPE_ROTATIONS, 2);
    fwdscope_component_set(tr, FWDSCOPE_PARSE_ERRORS, 44);
    fwdscope_component_set(tr, FWDSCOPE_PARSE_ERRORS, 45);
    CHECK_EQUAL(fws_peek(&c[0][FWS_C_HEALTH]), FWS_HEALTHY);
    CHECK_EQUAL(fws_peek(&c[2][FWS_C_QUEUE]), 1);
    CHECK_EQUAL(fws_peek(&c[2][FWS_C_QUEUE_DEPTH]), 3);
    CHECK_EQUAL(fws_peek(&c[2][FWS_C_QUEUE_CAPACITY]), 10);
    CHECK_EQUAL(fws_peek(&c[2][FWS_C_LAST_SUCCESS_UNIX_NS]), 123);
    fwdscope_output_success(out, 0); /* now */
    CHECK(fws_peek(&c[2][FWS_C_LAST_SUCCESS_UNIX_NS]) > UINT64_C(1600000000000000000));
    uint64_t counts[3][FWS_COUNTS] = {{0}};
    for (size_t i = 0; i < 3; i++)
        for (size_t lane = 0; lane < peek.sections[FWS_SECTION_VALUES].lanes; lane++)
            for (size_t n = 0; n < FWS_COUNTS; n++)
                counts[i][n] += fws_peek(
                    peek_entry(&peek, FWS_SECTION_VALUES, lane, fws_peek(&c[i][FWS_C_SLOT]) + n));
    CHECK_EQUAL(counts[0][FWS_COUNT_LINES], 5);
    CHECK_EQUAL(counts[0][FWS_COUNT_BYTES], 500);
    CHECK_EQUAL(counts[0][FWS_COUNT_ROTATIONS], 2);
    CHECK_EQUAL(counts[1][FWS_COUNT_PARSE_ERRORS], 45);
    CHECK_EQUAL(counts[2][FWS_COUNT_LINES], 0);
}

static void batches(void)
{
    case_open();
    const fwdscope_pipeline p = fwdscope_pipeline_register("p", 0);
    const fwdscope_pipeline other = fwdscope_pipeline_register("other", 0);
    const struct fwdscope_batch all = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -16, 17};
    fwdscope_batch_add(p, &all);
    fwdscope_batch_add(p, &all);
    fwdscope_batch_add(other, &(struct fwdscope_batch){.inflight = 1});
    const struct peek peek = peek_now();
    const fws_word *group = peek_entry(&peek, FWS_SECTION_BATCHES, 1, 0);
    for (uint64_t field = FWS_B_BATCHES; field < FWS_B_INFLIGHT; field++)
        CHECK_EQUAL(fws_peek(&group[field]), 2 * field);
    CHECK_EQUAL(fws_peek(&group[FWS_B_INFLIGHT]), -32);
    CHECK_EQUAL(fws_peek(&group[FWS_B_SEQ]) % 2, 0);
    const fws_word *pipeline = peek_entry(&peek, FWS_SECTION_PIPELINES, 0, 0);
    CHECK_EQUAL(fws_peek(&pipeline[FWS_P_LAST_BATCH_UNIX_NS]), 17);
    CHECK_EQUAL(fws_peek(&pipeline[FWS_P_WORDS + FWS_P_LAST_BATCH_UNIX_NS]), 0);
    CHECK_EQUAL(fws_peek(&peek_entry(&peek, FWS_SECTION_BATCHES, 1, 1)[FWS_B_INFLIGHT]), 1);
}

/* A reader beside the writer never sees half a batch. */
static fws_word stop;

static void *batch_writer(void *arg)
{
    const fwdscope_pipeline *p = arg;
    const struct fwdscope_batch one = {.batches = 1, .rows = 1, .send_ns = 1, .inflight = 1};
    while (fws_peek(&stop) == 0) {
        fwdscope_batch_add(*p, &one);
        for (int i = 0; i < 100; i++)
            (void)fws_peek(&stop);
    }
    return NULL;
}

static void batches_are_whole(void)
{
    pthread_t thread;
    case_open();
    fwdscope_pipeline p = fwdscope_pipeline_register("p", 0);
    const struct peek peek = peek_now();
    const fws_word *group = peek_entry(&peek, FWS_SECTION_BATCHES, 1, 0);
    CHECK(pthread_create(&thread, NULL, batch_writer, &p) == 0);
    uint64_t words[FWS_B_USED], retries = 0, changes = 0, last = 0;
    while (changes < 1000) {
        if (!fws_seq_copy(&group[FWS_B_SEQ], group, FWS_B_USED, words, &retries))
            continue;
        CHECK_EQUAL(words[FWS_B_ROWS], words[FWS_B_BATCHES]);
        CHECK_EQUAL(words[FWS_B_SEND_NS], words[FWS_B_BATCHES]);
        CHECK_EQUAL(words[FWS_B_INFLIGHT], words[FWS_B_BATCHES]);
        changes += words[FWS_B_BATCHES] != last;
        last = words[FWS_B_BATCHES];
    }
    fws_put(&stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- config document --------------------------------------------------------------------------
 */

static void document_check(const struct peek *peek, uint64_t state, const char *path,
                           const char *text, size_t text_bytes)
{
    static uint64_t copy[FWS_CONFIG_WORDS];
    const fws_word *words = peek_entry(peek, FWS_SECTION_CONFIG, 0, 0);
    uint64_t retries = 0;
    CHECK(fws_seq_copy(&words[FWS_CONFIG_SEQ], words, FWS_CONFIG_WORDS, copy, &retries));
    CHECK_EQUAL(copy[FWS_CONFIG_STATE], state);
    CHECK_EQUAL(copy[FWS_CONFIG_PATH_BYTES], strlen(path));
    CHECK(memcmp(&copy[FWS_CONFIG_PATH], path, strlen(path)) == 0);
    CHECK_EQUAL(copy[FWS_CONFIG_TEXT_BYTES], text_bytes);
    CHECK(memcmp(&copy[FWS_CONFIG_TEXT], text, text_bytes) == 0);
}

static void config_document(void)
{
    static char text[FWS_CONFIG_BYTES_MAX + 1];
    case_open();
    const struct peek peek = peek_now();
    memset(text, 'x', sizeof text);
    document_check(&peek, FWS_CONFIG_NONE, "", "", 0);
    fwdscope_config_publish_redacted("/etc/f.yaml", "a: 1\n", 5);
    document_check(&peek, FWS_CONFIG_PUBLISHED, "/etc/f.yaml", "a: 1\n", 5);
    fwdscope_config_publish_redacted(name_of(1100), text, FWS_CONFIG_BYTES_MAX);
    document_check(&peek, FWS_CONFIG_PUBLISHED, name_of(1023), text, FWS_CONFIG_BYTES_MAX);
    fwdscope_config_publish_redacted(NULL, text, FWS_CONFIG_BYTES_MAX + 1);
    const char *reason = "the configuration has 65537 bytes, more than 65536";
    document_check(&peek, FWS_CONFIG_REFUSED, "", reason, strlen(reason));
    fwdscope_config_refuse("p", name_of(300));
    document_check(&peek, FWS_CONFIG_REFUSED, "p", name_of(255), 255);
    fwdscope_config_publish_redacted("", "", 0);
    document_check(&peek, FWS_CONFIG_PUBLISHED, "", "", 0);
}

int main(void)
{
    static const struct shim_case cases[] = {
        {"inert before open", inert_before_open},
        {"inert after a failed open", inert_after_a_failed_open},
        {"inert after close", inert_after_close},
        {"every call while on", every_call_while_on},
        {"options are checked", options_are_checked},
        {"surroundings are checked", surroundings_are_checked},
        {"directory from the environment", directory_from_the_environment},
        {"sealed memfd", sealed_memfd},
        {"second open is refused", second_open_is_refused},
        {"one of many openers wins", one_of_many_openers_wins},
        {"lives are bounded", lives_are_bounded},
        {"header says who writes", header_says_who_writes},
        {"sizes follow the options", sizes_follow_the_options},
        {"environment names the service", environment_names_the_service},
        {"default size is as said", default_size_is_as_said},
        {"close says how and why", close_says_how_and_why},
        {"second close touches no descriptor", second_close_touches_no_descriptor},
        {"descriptors of the host are safe", descriptors_of_the_host_are_safe},
        {"one crashed life is kept", one_crashed_life_is_kept},
        {"file of a dead opener goes", file_of_a_dead_opener_goes},
        {"generation survives a failed open", generation_survives_a_failed_open},
        {"closed lives of one process are removed", closed_lives_of_one_process_are_removed},
        {"living regions are left alone", living_regions_are_left_alone},
        {"other files are left alone", other_files_are_left_alone},
        {"handles of another life do nothing", handles_of_another_life_do_nothing},
        {"heartbeat changes a word", heartbeat_changes_a_word},
        {"same registration, same handle", same_registration_same_handle},
        {"invalid names are refused", invalid_names_are_refused},
        {"long texts are cut", long_texts_are_cut},
        {"bounds are checked", bounds_are_checked},
        {"full table is counted", full_table_is_counted},
        {"slots run out", slots_run_out},
        {"strings run out", strings_run_out},
        {"attributes of an instrument", attributes_of_an_instrument},
        {"totals of many threads are exact", totals_of_many_threads_are_exact},
        {"lanes are handed on", lanes_are_handed_on},
        {"lanes are handed on at once", lanes_are_handed_on_at_once},
        {"gauges", gauges},
        {"totals are set", totals_are_set},
        {"histogram bounds are inclusive", histogram_bounds_are_inclusive},
        {"histograms of every size", histograms_of_every_size},
        {"components", components},
        {"batches", batches},
        {"batches are whole", batches_are_whole},
        {"config document", config_document},
    };
    return shim_cases_run("shim", cases, sizeof cases / sizeof *cases);
}
