/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: options, sizes, the region's sections, one life of the shim. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A life's private memory is kept until the process ends, so their number is bounded. */
enum { LIVES_MAX = 16 };

/* How long closing may wait for a captured standard error; not linked unless it is captured. */
enum { CLOSE_MS = 1000 };
__attribute__((weak)) bool fwdscope_stderr_flush(unsigned ms);

/* What survives a life. Written by the thread that opens and closes. */
static struct {
    struct shim *last; /* the newest life: on, or closed */
    uint32_t lives;
    uint32_t epoch;
    bool forked_handler;
    fws_word opening; /* 1 while a thread opens */
    char reason[SHIM_REASON_BYTES];
    char path[4096];
} process;

/* ---- sizes ----------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

static uint64_t power_of_two(uint64_t value)
{
    uint64_t power = 1;
    while (power < value)
        power <<= 1;
    return power;
}

/* One numeric option: 0 is the default; out of range is said, not bent. */
static bool option_number(const char *name, uint64_t given, uint64_t fallback, uint64_t low,
                          uint64_t high, uint64_t *out, char *why, size_t cap)
{
    *out = given != 0 ? given : fallback;
    if (*out >= low && *out <= high)
        return true;
    snprintf(why, cap, "option %s is %llu, not %llu to %llu", name, (unsigned long long)given,
             (unsigned long long)low, (unsigned long long)high);
    return false;
}

static bool sizes_plan(const struct fwdscope_options *options, struct shim_sizes *out, char *why,
                       size_t cap)
{
    const uint64_t ring_max = UINT64_C(64) << 20;
    uint64_t lanes, instruments, active, log_ring, span_ring;
    if (!option_number("lanes", options->lanes, 8, 2, FWS_LANES_MAX, &lanes, why, cap) ||
        !option_number("instruments", options->instruments, 1024, 16, 65536, &instruments, why,
                       cap) ||
        !option_number("active_spans", options->active_spans, 256, 1, 4096, &active, why, cap) ||
        !option_number("log_ring_bytes", options->log_ring_bytes, 512 << 10, 64 << 10, ring_max,
                       &log_ring, why, cap) ||
        !option_number("span_ring_bytes", options->span_ring_bytes, 256 << 10, 16 << 10, ring_max,
                       &span_ring, why, cap))
        return false;
    *out = (struct shim_sizes){
        .lanes = (uint32_t)lanes,
        .instruments = (uint32_t)instruments,
        .active_spans = (uint32_t)active,
        .slots =
            (uint32_t)round_up(instruments * 4 + SHIM_COMPONENTS_MAX * FWS_COUNTS, FWS_LINE_WORDS),
        .string_bytes = instruments * 256 + SHIM_COMPONENTS_MAX * 512,
        .log_ring_bytes = power_of_two(log_ring),
        .span_ring_bytes = power_of_two(span_ring),
    };
    return true;
}

static bool options_check(const struct fwdscope_options *options, char *why, size_t cap)
{
    const char *const texts[] = {options->service_name, options->service_version, options->instance,
                                 options->instance_id, options->metric_prefix};
    const char *const names[] = {"service_name", "service_version", "instance", "instance_id",
                                 "metric_prefix"};
    if (options->service_name == NULL || options->service_name[0] == '\0') {
        snprintf(why, cap, "option service_name is required, or OTEL_SERVICE_NAME");
        return false;
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i] != NULL && strnlen(texts[i], FWS_NAME_BYTES_MAX + 1) > FWS_NAME_BYTES_MAX) {
            snprintf(why, cap, "option %s is longer than %d bytes", names[i],
                     (int)FWS_NAME_BYTES_MAX);
            return false;
        }
    }
    return true;
}

/* ---- sections -------------------------------------------------------------------------------- */

/* Sections in file order, as they are planned. */
struct plan {
    struct {
        uint64_t kind, offset, stride, count, lanes;
    } sections[FWS_SECTION_KINDS];
    size_t count;
    uint64_t bytes;
};

static void plan_add(struct plan *plan, enum fws_section kind, uint64_t stride, uint64_t count,
                     uint64_t lanes)
{
    plan->sections[plan->count].kind = kind;
    plan->sections[plan->count].offset = plan->bytes;
    plan->sections[plan->count].stride = stride;
    plan->sections[plan->count].count = count;
    plan->sections[plan->count].lanes = lanes;
    plan->count++;
    plan->bytes = round_up(plan->bytes + stride * count * lanes, FWS_LINE_BYTES);
}

static struct plan plan_make(const struct shim_sizes *sizes)
{
    const uint64_t w = FWS_WORD_BYTES;
    struct plan plan = {.bytes = 2 * FWS_PAGE_BYTES}; /* the header, the directory */
    plan_add(&plan, FWS_SECTION_RESOURCE, FWS_RES_WORDS * w, 1, 1);
    plan_add(&plan, FWS_SECTION_STRINGS, w, sizes->string_bytes / w, 1);
    plan_add(&plan, FWS_SECTION_INSTRUMENTS, FWS_I_WORDS * w, sizes->instruments, 1);
    plan_add(&plan, FWS_SECTION_LANES, FWS_LANE_WORDS * w, 1, sizes->lanes);
    plan_add(&plan, FWS_SECTION_VALUES, w, sizes->slots, sizes->lanes);
    plan_add(&plan, FWS_SECTION_PIPELINES, FWS_P_WORDS * w, SHIM_PIPELINES_MAX, 1);
    plan_add(&plan, FWS_SECTION_COMPONENTS, FWS_C_WORDS * w, SHIM_COMPONENTS_MAX, 1);
    plan_add(&plan, FWS_SECTION_BATCHES, FWS_B_WORDS * w, SHIM_PIPELINES_MAX, sizes->lanes);
    plan_add(&plan, FWS_SECTION_ACTIVE_SPANS, FWS_A_WORDS * w, sizes->active_spans, 1);
    plan_add(&plan, FWS_SECTION_SPAN_RINGS, FWS_R_WORDS * w + sizes->span_ring_bytes, 1,
             sizes->lanes);
    plan_add(&plan, FWS_SECTION_LOG_RINGS, FWS_R_WORDS * w + sizes->log_ring_bytes, 1,
             sizes->lanes);
    plan_add(&plan, FWS_SECTION_CONFIG, FWS_CONFIG_WORDS * w, 1, 1);
    plan.bytes = round_up(plan.bytes, FWS_PAGE_BYTES);
    return plan;
}

static fws_word *plan_words(const struct plan *plan, fws_word *region, enum fws_section kind)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->sections[i].kind == (uint64_t)kind)
            return region + plan->sections[i].offset / FWS_WORD_BYTES;
    }
    return NULL; /* not reached: every kind is planned */
}

static void directory_write(const struct plan *plan, fws_word *region)
{
    fws_word *entry = region + FWS_PAGE_BYTES / FWS_WORD_BYTES;
    for (size_t i = 0; i < plan->count; i++, entry += FWS_D_WORDS) {
        uint64_t length =
            plan->sections[i].stride * plan->sections[i].count * plan->sections[i].lanes;
        fws_put(&entry[FWS_D_KIND], plan->sections[i].kind);
        fws_put(&entry[FWS_D_VERSION], 1);
        fws_put(&entry[FWS_D_OFFSET], plan->sections[i].offset);
        fws_put(&entry[FWS_D_LENGTH], length);
        fws_put(&entry[FWS_D_STRIDE], plan->sections[i].stride);
        fws_put(&entry[FWS_D_COUNT], plan->sections[i].count);
        fws_put(&entry[FWS_D_LANES], plan->sections[i].lanes);
    }
}

/* ---- the header ------------------------------------------------------------------------------ */

static void words_put(fws_word *to, const char *text, size_t words)
{
    uint64_t padded[FWS_STRING_WORDS] = {0};
    memcpy(padded, text, strnlen(text, words * FWS_WORD_BYTES - 1));
    for (size_t i = 0; i < words; i++)
        fws_put(&to[i], padded[i]);
}

/* Reads a small file of the kernel; its length, or 0. */
static size_t kernel_file_read(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, out, cap - 1);
    close(fd);
    if (n < 0)
        n = 0;
    out[n] = '\0';
    return (size_t)n;
}

static void boot_id_read(uint64_t out[2])
{
    char text[64];
    unsigned char bytes[16];
    size_t digits = 0;
    unsigned value = 0;
    out[0] = out[1] = 0;
    kernel_file_read("/proc/sys/kernel/random/boot_id", text, sizeof text);
    for (const char *c = text; *c != '\0' && digits < 32; c++) {
        if (*c == '-')
            continue;
        if (*c >= '0' && *c <= '9')
            value = value << 4 | (unsigned)(*c - '0');
        else if (*c >= 'a' && *c <= 'f')
            value = value << 4 | (unsigned)(*c - 'a' + 10);
        else
            break;
        if (++digits % 2 == 0)
            bytes[digits / 2 - 1] = (unsigned char)value;
    }
    if (digits == 32)
        memcpy(out, bytes, sizeof bytes);
}

/* A file of /proc about the process that the region tells of: this one, or an adapter's subject. */
static size_t subject_file_read(uint32_t pid, const char *name, char *out, size_t cap)
{
    char path[64];
    if (pid == 0)
        snprintf(path, sizeof path, "/proc/self/%s", name);
    else
        snprintf(path, sizeof path, "/proc/%u/%s", (unsigned)pid, name);
    return kernel_file_read(path, out, cap);
}

/* Field 22 of stat, counted behind the last ')' of the name; 0 when not known. */
static uint64_t pid_start_ticks(uint32_t pid)
{
    char text[1024];
    unsigned long long ticks = 0;
    if (subject_file_read(pid, "stat", text, sizeof text) == 0)
        return 0;
    const char *at = strrchr(text, ')');
    if (at == NULL || sscanf(at + 1,
                             " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
                             "%*d %*d %*d %*d %*d %llu",
                             &ticks) != 1)
        return 0;
    return ticks;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void header_write(fws_word *header, const struct fwdscope_options *options,
                         const char *instance, const struct plan *plan, const uint64_t uuid[2],
                         uint64_t generation)
{
    struct stat namespace;
    uint64_t boot_id[2];
    boot_id_read(boot_id);
    fws_put(&header[FWS_H_BYTE_ORDER], FWS_BYTE_ORDER);
    fws_put(&header[FWS_H_WORD_BITS], FWS_WORD_BITS);
    fws_put(&header[FWS_H_MAJOR], FWS_LAYOUT_MAJOR);
    fws_put(&header[FWS_H_MINOR], FWS_LAYOUT_MINOR);
    fws_put(&header[FWS_H_HEADER_BYTES], FWS_PAGE_BYTES);
    fws_put(&header[FWS_H_COMPAT], FWS_COMPAT_LANES_USED);
    fws_put(&header[FWS_H_REGION_BYTES], plan->bytes);
    fws_put(&header[FWS_H_DIR_OFFSET], FWS_PAGE_BYTES);
    fws_put(&header[FWS_H_DIR_COUNT], plan->count);
    fws_put(&header[FWS_H_DIR_STRIDE], FWS_D_WORDS * FWS_WORD_BYTES);
    fws_put(&header[FWS_H_UUID], uuid[0]);
    fws_put(&header[FWS_H_UUID + 1], uuid[1]);
    fws_put(&header[FWS_H_BOOT_ID], boot_id[0]);
    fws_put(&header[FWS_H_BOOT_ID + 1], boot_id[1]);
    fws_put(&header[FWS_H_PID],
            options->subject_pid != 0 ? options->subject_pid : (uint64_t)getpid());
    if (stat("/proc/self/ns/pid", &namespace) == 0)
        fws_put(&header[FWS_H_PID_NS], (uint64_t) namespace.st_ino);
    fws_put(&header[FWS_H_PID_START], pid_start_ticks(options->subject_pid));
    fws_put(&header[FWS_H_CREATED_UNIX_NS], clock_ns(CLOCK_REALTIME));
    fws_put(&header[FWS_H_CREATED_BOOT_NS], clock_ns(CLOCK_BOOTTIME));
    fws_put(&header[FWS_H_UID], geteuid());
    fws_put(&header[FWS_H_GID], getegid());
    fws_put(&header[FWS_H_GENERATION], generation);
    fws_put(&header[FWS_H_HEARTBEAT_NS],
            (uint64_t)options->heartbeat_interval_ms * UINT64_C(1000000));
    words_put(&header[FWS_H_SERVICE_NAME], options->service_name, FWS_STRING_WORDS);
    words_put(&header[FWS_H_SERVICE_VERSION],
              options->service_version != NULL ? options->service_version : "", FWS_STRING_WORDS);
    words_put(&header[FWS_H_INSTANCE], instance, FWS_STRING_WORDS);
    fws_put(&header[FWS_H_STATE], FWS_STATE_RUNNING);
}

/* Named by the kernel, so that a reader in another container knows it too. */
static size_t executable_name(uint32_t pid, char *out, size_t cap)
{
    size_t n = subject_file_read(pid, "comm", out, cap);
    if (n > 0 && out[n - 1] == '\n')
        out[--n] = '\0';
    return n;
}

static void resource_write(fws_word *words, const struct fwdscope_options *options)
{
    char executable[64];
    struct fwdscope_attribute all[FWS_ATTRS_MAX];
    uint64_t attrs[FWS_RES_WORDS - FWS_RES_ATTRS + SHIM_ATTR_WORDS_MAX];
    struct attr_list list = {0};
    size_t count = 0, dropped = 0;
    if (options->instance_id != NULL && options->instance_id[0] != '\0')
        all[count++] = fwdscope_string("service.instance.id", options->instance_id);
    for (size_t i = 0; options->resource != NULL && i < options->resource_count; i++) {
        if (count < FWS_ATTRS_MAX)
            all[count++] = options->resource[i];
        else
            dropped++;
    }
    if (count < FWS_ATTRS_MAX &&
        executable_name(options->subject_pid, executable, sizeof executable) > 0)
        all[count++] = fwdscope_string("process.executable.name", executable);
    attrs_put(&list, attrs, FWS_RES_WORDS - FWS_RES_ATTRS, all, count, false);
    words_put(&words[FWS_RES_PREFIX],
              options->metric_prefix != NULL && options->metric_prefix[0] != '\0'
                  ? options->metric_prefix
                  : "forwarder",
              FWS_STRING_WORDS);
    fws_put(&words[FWS_RES_ATTR_COUNT], list.count);
    fws_put(&words[FWS_RES_ATTR_WORDS], list.words);
    fws_put(&words[FWS_RES_ATTR_DROPPED], list.dropped + dropped);
    for (size_t i = 0; i < list.words; i++)
        fws_put(&words[FWS_RES_ATTRS + i], attrs[i]);
}

/* ---- private memory -------------------------------------------------------------------------- */

/* Pieces of one anonymous map, cut from the front; a first pass with base NULL measures. */
struct pieces {
    char *base;
    size_t used;
};

static void *piece_cut(struct pieces *pieces, size_t bytes)
{
    void *piece = pieces->base != NULL ? pieces->base + pieces->used : NULL;
    pieces->used += (size_t)round_up(bytes, FWS_LINE_BYTES);
    return piece;
}

static struct shim *pieces_lay(struct pieces *pieces, const struct shim_sizes *sizes)
{
    struct shim *shim = piece_cut(pieces, sizeof *shim);
    struct lane *lanes = piece_cut(pieces, sizes->lanes * sizeof *lanes);
    struct shim_instrument *instruments =
        piece_cut(pieces, sizes->instruments * sizeof *instruments);
    double *bounds = piece_cut(pieces, sizes->slots * SHIM_BOUNDS_ROOM * sizeof *bounds);
    struct shim_span *spans = piece_cut(pieces, sizes->active_spans * sizeof *spans);
    if (shim != NULL) {
        shim->sizes = *sizes;
        shim->lanes = lanes;
        shim->instruments = instruments;
        shim->bounds = bounds;
        shim->spans = spans;
    }
    for (uint32_t i = 0; i < sizes->lanes; i++) {
        uint64_t *batch_seq = piece_cut(pieces, SHIM_PIPELINES_MAX * sizeof *batch_seq);
        struct lane_histogram *histograms =
            piece_cut(pieces, sizes->instruments * sizeof *histograms);
        uint16_t *span_lengths = piece_cut(pieces, fws_ring_lengths_count(sizes->span_ring_bytes) *
                                                       sizeof *span_lengths);
        uint16_t *log_lengths =
            piece_cut(pieces, fws_ring_lengths_count(sizes->log_ring_bytes) * sizeof *log_lengths);
        if (lanes != NULL) {
            lanes[i].batch_seq = batch_seq;
            lanes[i].histograms = histograms;
            lanes[i].spans.lengths = span_lengths;
            lanes[i].logs.lengths = log_lengths;
        }
    }
    return shim;
}

static struct shim *shim_allocate(const struct shim_sizes *sizes, char *why, size_t cap)
{
    struct pieces pieces = {0};
    (void)pieces_lay(&pieces, sizes);
    void *memory =
        mmap(NULL, pieces.used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        snprintf(why, cap, "no memory: %zu bytes of private state: %s", pieces.used,
                 strerror(errno));
        return NULL;
    }
    pieces = (struct pieces){.base = memory};
    return pieces_lay(&pieces, sizes);
}

static void shim_free(struct shim *shim)
{
    struct pieces pieces = {0};
    struct shim_sizes sizes = shim->sizes;
    (void)pieces_lay(&pieces, &sizes);
    munmap(shim, pieces.used);
}

/* ---- wiring ---------------------------------------------------------------------------------- */

/* Where free-running numbers start. Debug builds start just below overflow, so that every test
 * crosses it. */
#ifdef FWS_START_NEAR_OVERFLOW
static const uint64_t position_start = UINT64_MAX - 4095;
static const uint64_t number_start = UINT64_MAX - 2;
static const uint64_t sequence_start = UINT64_MAX - 5;
#else
static const uint64_t position_start = 0;
static const uint64_t number_start = 0;
static const uint64_t sequence_start = 0;
#endif

static void ring_wire(struct fws_ring_writer *ring, fws_word *section, uint32_t lane,
                      uint64_t capacity)
{
    fws_word *control = section + lane * (FWS_R_WORDS + capacity / FWS_WORD_BYTES);
    fws_ring_writer_init(ring, control, control + FWS_R_WORDS, capacity, ring->lengths,
                         position_start, number_start);
}

static void lane_wire(struct shim *shim, uint32_t index, const struct plan *plan,
                      const uint64_t seed[2])
{
    struct lane *lane = &shim->lanes[index];
    fws_word *region = shim->region.words;
    lane->shared = index == 0;
    lane->control = plan_words(plan, region, FWS_SECTION_LANES) + index * FWS_LANE_WORDS;
    lane->values = plan_words(plan, region, FWS_SECTION_VALUES) + index * shim->sizes.slots;
    lane->batches = plan_words(plan, region, FWS_SECTION_BATCHES) +
                    (size_t)index * SHIM_PIPELINES_MAX * FWS_B_WORDS;
    ring_wire(&lane->spans, plan_words(plan, region, FWS_SECTION_SPAN_RINGS), index,
              shim->sizes.span_ring_bytes);
    ring_wire(&lane->logs, plan_words(plan, region, FWS_SECTION_LOG_RINGS), index,
              shim->sizes.log_ring_bytes);
    /* A histogram's sequence in the region is 0 until its first measurement, even like this one. */
    for (uint32_t i = 0; sequence_start != 0 && i < shim->sizes.instruments; i++)
        lane->histograms[i].sequence = sequence_start;
    for (int i = 0; i < SHIM_PIPELINES_MAX; i++) {
        lane->batch_seq[i] = sequence_start;
        fws_put(&lane->batches[(size_t)i * FWS_B_WORDS + FWS_B_SEQ], sequence_start);
    }
    /* Each lane draws its ids from a stretch of its own. */
    lane->id_seed[0] = seed[0] + (uint64_t)index * UINT64_C(0xd1342543de82ef95);
    lane->id_seed[1] = seed[1] + (uint64_t)index * UINT64_C(0xaf251af3b0f025b5);
}

static void shim_wire(struct shim *shim, const struct plan *plan, const uint64_t seed[2])
{
    fws_word *region = shim->region.words;
    shim->header = region;
    shim->strings = plan_words(plan, region, FWS_SECTION_STRINGS);
    shim->instruments_words = plan_words(plan, region, FWS_SECTION_INSTRUMENTS);
    shim->pipelines_words = plan_words(plan, region, FWS_SECTION_PIPELINES);
    shim->components_words = plan_words(plan, region, FWS_SECTION_COMPONENTS);
    shim->active_words = plan_words(plan, region, FWS_SECTION_ACTIVE_SPANS);
    shim->config_words = plan_words(plan, region, FWS_SECTION_CONFIG);
    for (uint32_t i = 0; i < shim->sizes.lanes; i++)
        lane_wire(shim, i, plan, seed);
    for (uint32_t i = 0; i < shim->sizes.active_spans; i++) {
        shim->spans[i].sequence = sequence_start;
        atomic_init(&shim->spans[i].generation, 1);
        atomic_init(&shim->spans[i].next, i + 2 <= shim->sizes.active_spans ? i + 2 : 0);
        fws_put(&shim->active_words[(size_t)i * FWS_A_WORDS + FWS_A_SEQ], sequence_start);
    }
    atomic_init(&shim->free_spans, 1);
    shim->config_seq = sequence_start;
    fws_put(&shim->config_words[FWS_CONFIG_SEQ], sequence_start);
}

/* ---- open ------------------------------------------------------------------------------------ */

/* In a child made by fork(): gives up the copy of the descriptor, so that the child does not keep
 * the lock when the parent dies. The gates are already shut. When a signal handler forks, the child
 * may return to the call that it interrupted, behind the gate: that finds its lane, and private
 * memory in the place of the region. */
static void child_let_go(void)
{
    int saved = errno;
    if (process.last != NULL) {
        fws_region_disown(&process.last->region);
        shim_gates_wire(process.last);
    }
    fws_put(&process.opening, 0); /* the thread that held it is the parent's */
    errno = saved;
}

/* What a process needs once. */
static bool process_prepare(char *why, size_t cap)
{
    if (!process.forked_handler && pthread_atfork(NULL, NULL, child_let_go) != 0) {
        snprintf(why, cap, "cannot register a fork handler: no memory");
        return false;
    }
    process.forked_handler = true;
    return true;
}

static bool may_open(char *why, size_t cap)
{
    if (fwdscope_is_on()) {
        snprintf(why, cap, "already open: one region a process; close it first");
        return false;
    }
    if (process.last != NULL && process.last->pid != getpid()) {
        process.lives = 0; /* a forked child: the parent's lives are not its own */
        fws_region_disown(&process.last->region); /* where clone() ran no fork handler */
    }
    if (process.lives >= LIVES_MAX) {
        snprintf(why, cap, "opened and closed %d times already: keep the shim open", LIVES_MAX);
        return false;
    }
    return true;
}

/* Where a region goes. */
struct backing {
    char dir[PATH_MAX], name[128];
    uint64_t generation;
    bool sealed; /* a memfd: no directory */
};

/* Creates the file, once more after another cleaning when there is no room; or the memfd. */
static bool backing_create(struct backing *to, struct fws_region *region,
                           const struct fwdscope_options *options, const char *instance,
                           uint64_t bytes, const uint64_t uuid[2], char *why, size_t cap)
{
    bool no_space;
    const bool keep_one = !options->drop_previous_life;
    to->sealed = options->sealed_memfd;
    if (!to->sealed && !place_choose(options->directory, to->dir, sizeof to->dir, why, cap))
        return false;
    /* Of memfds only this process's own lives can be counted. */
    to->generation =
        to->sealed ? process.lives + 1 : place_clean(to->dir, instance, keep_one, true);
    place_name(instance, to->generation, uuid, to->name, sizeof to->name);
    if (to->sealed)
        return fws_region_create_sealed(to->name, bytes, region, why, cap);
    if (fws_region_create(to->dir, to->name, bytes, options->allow_disk, region, &no_space, why,
                          cap))
        return true;
    if (!no_space)
        return false;
    (void)place_clean(to->dir, instance, keep_one, false);
    return fws_region_create(to->dir, to->name, bytes, options->allow_disk, region, &no_space, why,
                             cap);
}

/* Makes the region, fills it and shows it. */
static bool region_make(struct shim *shim, const struct fwdscope_options *options,
                        const char *instance, const struct plan *plan, const uint64_t uuid[2],
                        char *why, size_t cap)
{
    struct backing to;
    if (!backing_create(&to, &shim->region, options, instance, plan->bytes, uuid, why, cap))
        return false;
    header_write(shim->region.words, options, instance, plan, uuid, to.generation);
    directory_write(plan, shim->region.words);
    resource_write(plan_words(plan, shim->region.words, FWS_SECTION_RESOURCE), options);
    const uint64_t seed[2] = {uuid[1] ^ UINT64_C(0x5851f42d4c957f2d), uuid[0]};
    shim_wire(shim, plan, seed);
    if (!fws_region_publish(&shim->region, to.sealed ? NULL : to.dir, to.name, why, cap))
        return false;
    if (!to.sealed)
        (void)place_clean(to.dir, instance, !options->drop_previous_life, false);
    return true;
}

static bool open_life(const struct fwdscope_options *given, char *why, size_t cap)
{
    struct fwdscope_options named = *given, *const options = &named;
    if (named.service_name == NULL || named.service_name[0] == '\0')
        named.service_name = secure_getenv("OTEL_SERVICE_NAME");
    struct shim_sizes sizes;
    uint64_t uuid[2];
    if (!may_open(why, cap) || !options_check(options, why, cap) ||
        !sizes_plan(options, &sizes, why, cap) || !process_prepare(why, cap))
        return false;
    if (getrandom(uuid, sizeof uuid, GRND_NONBLOCK) != sizeof uuid) {
        snprintf(why, cap, "no random bytes yet: %s", strerror(errno));
        return false;
    }
    struct plan plan = plan_make(&sizes);
    if (plan.bytes > FWS_REGION_BYTES_MAX) {
        snprintf(why, cap, "the region would have %llu bytes, more than %llu: smaller rings",
                 (unsigned long long)plan.bytes, (unsigned long long)FWS_REGION_BYTES_MAX);
        return false;
    }
    struct shim *shim = shim_allocate(&sizes, why, cap);
    if (shim == NULL)
        return false;
    if (!shim_gates_make(shim)) {
        snprintf(why, cap,
                 "the kernel has no MADV_WIPEONFORK (Linux 4.14), or memory or thread keys are "
                 "out: %s",
                 strerror(errno));
        shim_free(shim);
        return false;
    }
    const char *instance = options->instance != NULL && options->instance[0] != '\0'
                               ? options->instance
                               : options->service_name;
    shim->pid = getpid();
    shim->key = handle_key(process.epoch + 1);
    pthread_mutex_init(&shim->registering, NULL);
    if (!region_make(shim, options, instance, &plan, uuid, why, cap)) {
        shim_gates_free(shim);
        shim_free(shim);
        return false;
    }
    process.epoch++;
    process.lives++;
    process.last = shim;
    memcpy(process.path, shim->region.path, sizeof process.path);
    shim_turn_on(shim);
    return true;
}

bool fwdscope_open(const struct fwdscope_options *options)
{
    int saved = errno;
    char why[SHIM_REASON_BYTES] = "";
    bool on = false;
    uint64_t idle = 0;
    if (!fws_claim(&process.opening, &idle, 1))
        return false; /* another thread opens: the reason is its to tell */
    if (options == NULL)
        snprintf(why, sizeof why, "no options were given");
    else
        on = open_life(options, why, sizeof why);
    if (!on && !fwdscope_is_on())
        process.path[0] = '\0';
    memcpy(process.reason, why, sizeof process.reason);
    fws_publish(&process.opening, 0);
    errno = saved;
    return on;
}

const char *fwdscope_reason(void)
{
    if (process.reason[0] == '\0' && process.last == NULL)
        return "not open: fwdscope_open() was not called";
    if (process.reason[0] == '\0' && !fwdscope_is_on())
        return "off in a forked child: open a region of its own with fwdscope_open(); a daemon "
               "does so after daemon(3)";
    return process.reason;
}

const char *fwdscope_path(void)
{
    return fwdscope_is_on() ? process.path : "";
}

void fwdscope_close(enum fwdscope_close_kind kind, const char *reason)
{
    int saved = errno;
    struct shim *shim = shim_current();
    if (shim != NULL && fwdscope_stderr_flush != NULL)
        (void)fwdscope_stderr_flush(CLOSE_MS); /* its last lines belong to this life */
    if (shim != NULL && shim_turn_off(shim)) {
        words_put(&shim->header[FWS_H_CLOSE_REASON], reason != NULL ? reason : "",
                  FWS_STRING_WORDS);
        /* Release: who sees the state sees the reason. PAIRS WITH the snapshot. */
        fws_publish(&shim->header[FWS_H_STATE],
                    kind == FWDSCOPE_CRASHED ? FWS_STATE_CLOSED_CRASHED : FWS_STATE_CLOSED);
        fws_region_release(&shim->region); /* the map stays for threads inside a call */
        snprintf(process.reason, sizeof process.reason, "closed by fwdscope_close()");
    }
    errno = saved;
}
