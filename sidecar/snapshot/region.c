/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a region, and what does not change in one life: identity, sections,
 * resource. */
#include "snapshot_private.h"

#include "utf8.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- identity -------------------------------------------------------------------------------- */

/* A number of the frozen prefix, also when a machine of the other byte order wrote it. */
static uint64_t prefix_number(const uint64_t *prefix, enum fws_header_word word)
{
    const bool swapped = prefix[FWS_H_MAGIC] == __builtin_bswap64(FWS_MAGIC);
    return swapped ? __builtin_bswap64(prefix[word]) : prefix[word];
}

static unsigned number_narrow(uint64_t number)
{
    return number < UINT_MAX ? (unsigned)number : UINT_MAX;
}

/* 16 bytes in file order as lower-case hex. */
static void prefix_hex(const uint64_t *words, char out[33])
{
    const unsigned char *bytes = (const unsigned char *)words;
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* A string of the prefix as text, cut at a character to fit. */
static void prefix_text(const uint64_t *words, struct arena *arena, char out[256])
{
    const char *text = text_padded(arena, words, FWS_NAME_BYTES_MAX);
    if (text == NULL)
        text = "";
    size_t length = strlen(text);
    if (length > FWS_NAME_BYTES_MAX) {
        length = FWS_NAME_BYTES_MAX;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--; /* at most three steps: the text is valid UTF-8 */
    }
    memcpy(out, text, length);
    out[length] = '\0';
}

/* A path as people read it: what a link of the kernel's leads to is told, because the link itself
 * ends with its process. */
static void path_show(const char *path, char *out, size_t cap)
{
    char target[4096];
    ssize_t n = fws_path_is_process_link(path) ? readlink(path, target, sizeof target - 1) : -1;
    if (n < 0)
        n = 0;
    target[n] = '\0';
    for (char *c = target; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
            *c = '?'; /* the process chose it */
    }
    snprintf(out, cap, "%s%s%.3900s", path, n > 0 ? " -> " : "", target);
}

static void identity_fill(const uint64_t *prefix, const char *path, struct arena *arena,
                          struct identity *out)
{
    *out = (struct identity){
        .major = number_narrow(prefix_number(prefix, FWS_H_MAJOR)),
        .minor = number_narrow(prefix_number(prefix, FWS_H_MINOR)),
        .pid = prefix_number(prefix, FWS_H_PID),
        .pid_namespace = prefix_number(prefix, FWS_H_PID_NS),
        .pid_start_ticks = prefix_number(prefix, FWS_H_PID_START),
        .created_unix_ns = time_clamp(prefix_number(prefix, FWS_H_CREATED_UNIX_NS)),
        .created_boot_ns = time_clamp(prefix_number(prefix, FWS_H_CREATED_BOOT_NS)),
        .uid = prefix_number(prefix, FWS_H_UID),
        .gid = prefix_number(prefix, FWS_H_GID),
        .generation = prefix_number(prefix, FWS_H_GENERATION),
        .heartbeat_interval_ns = time_clamp(prefix_number(prefix, FWS_H_HEARTBEAT_NS)),
        .size_bytes = prefix_number(prefix, FWS_H_REGION_BYTES),
    };
    path_show(path, out->path, sizeof out->path);
    prefix_hex(prefix + FWS_H_UUID, out->uuid);
    prefix_hex(prefix + FWS_H_BOOT_ID, out->boot_id);
    prefix_text(prefix + FWS_H_SERVICE_NAME, arena, out->service_name);
    prefix_text(prefix + FWS_H_SERVICE_VERSION, arena, out->service_version);
    prefix_text(prefix + FWS_H_INSTANCE, arena, out->instance);
}

/* ---- sections -------------------------------------------------------------------------------- */

void section_note(struct region *region, enum fws_section kind, const char *format, ...)
{
    for (size_t i = 0; i < region->report_count; i++) {
        struct section_report *report = &region->reports[i];
        if (report->kind != (unsigned)kind ||
            (report->refused != NULL && report->refused != region->notes[kind]))
            continue;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(region->notes[kind], NOTE_BYTES, format, arguments);
        va_end(arguments);
        report->refused = region->notes[kind];
        return;
    }
}

static void section_take(struct region *region, const struct fws_section_info *info)
{
    struct section_report *report = &region->reports[region->report_count++];
    *report = (struct section_report){
        .name = fws_section_name(info->kind),
        .kind = number_narrow(info->kind),
        .version = number_narrow(info->version),
        .offset = info->offset,
        .length = info->length,
        .stride = info->stride,
        .count = info->count,
        .lanes = info->lanes,
        .refused = info->refused,
    };
    if (info->refused == NULL && info->kind < FWS_SECTION_KINDS)
        region->sections[info->kind] = (struct section){
            .words = region->view.words + info->offset / FWS_WORD_BYTES,
            .stride = (size_t)(info->stride / FWS_WORD_BYTES),
            .count = (size_t)info->count,
            .lanes = (size_t)info->lanes,
        };
}

/* [guarded] The numbers used are those of the checked prefix. False: memory is out. */
static bool sections_read(struct region *region)
{
    const uint64_t *prefix = region->view.prefix;
    const uint64_t count = prefix[FWS_H_DIR_COUNT], stride = prefix[FWS_H_DIR_STRIDE];
    const size_t words = (size_t)(count * stride / FWS_WORD_BYTES);
    struct fws_section_info infos[FWS_SECTIONS_MAX];

    /* A reading's arena: it is free until the first sample, and the copy is not needed then. */
    uint64_t *directory = arena_array(region->readings[0].arena, words, sizeof *directory);
    if (directory == NULL)
        return false;
    words_copy(region->view.words + prefix[FWS_H_DIR_OFFSET] / FWS_WORD_BYTES, words, directory);
    const size_t found = fws_check_directory(directory, count, stride, prefix[FWS_H_HEADER_BYTES],
                                             prefix[FWS_H_DIR_OFFSET], region->view.bytes, infos);
    for (size_t i = 0; i < found; i++)
        section_take(region, &infos[i]);
    return true;
}

/* [guarded] */
static void resource_read(struct region *region)
{
    const struct section *section = &region->sections[FWS_SECTION_RESOURCE];
    struct arena *arena = region->catalogue.arena;
    uint64_t words[FWS_RES_WORDS];

    if (section->words == NULL)
        return;
    words_copy(section->words, FWS_RES_WORDS, words);
    const char *prefix = text_padded(arena, words + FWS_RES_PREFIX, FWS_NAME_BYTES_MAX);
    if (prefix != NULL && prefix[0] != '\0')
        region->metric_prefix = prefix;
    const uint64_t count = words[FWS_RES_ATTR_COUNT], length = words[FWS_RES_ATTR_WORDS];
    if (count <= FWS_ATTRS_MAX && fws_inside(FWS_RES_ATTRS, length, FWS_RES_WORDS) &&
        attributes_build(arena, words + FWS_RES_ATTRS, (size_t)length, (size_t)count,
                         &region->resource))
        region->resource_count = (size_t)count;
    else
        section_note(region, FWS_SECTION_RESOURCE, "malformed attributes: left out");
}

/* ---- open and close -------------------------------------------------------------------------- */

static enum attach_result attach_result_of(enum fws_attach result)
{
    switch (result) {
    case FWS_ATTACH_OK:
        return ATTACH_OK;
    case FWS_ATTACH_NOT_FOUND:
        return ATTACH_NOT_FOUND;
    case FWS_ATTACH_NOT_READY:
        return ATTACH_NOT_READY;
    case FWS_ATTACH_DENIED:
        return ATTACH_DENIED;
    case FWS_ATTACH_INCOMPATIBLE:
        return ATTACH_INCOMPATIBLE;
    case FWS_ATTACH_CORRUPT:
        return ATTACH_CORRUPT;
    case FWS_ATTACH_FAILED:
        break;
    }
    return ATTACH_FAILED;
}

static bool arenas_init(struct region *region)
{
    region->catalogue.arena = arena_new(ARENA_BYTES_MAX);
    region->span_arena = arena_new(ARENA_BYTES_MAX);
    bool made = region->catalogue.arena != NULL && region->span_arena != NULL;
    for (int i = 0; i < 2; i++) {
        region->readings[i].arena = arena_new(ARENA_BYTES_MAX);
        region->readings[i].snapshot.close_reason = "";
        region->configs[i].arena = arena_new(CONFIG_BYTES_MAX);
        region->configs[i].path = region->configs[i].text = "";
        made = made && region->readings[i].arena != NULL && region->configs[i].arena != NULL;
    }
    return made;
}

struct opening {
    struct region *region;
    bool done; /* false after the guard: memory was out */
};

/* [guarded] */
static void region_read(void *arg)
{
    struct opening *opening = arg;
    struct region *region = opening->region;

    if (!sections_read(region) || !catalogue_init(region) || !rings_init(region))
        return;
    region->sound =
        arena_array(region->catalogue.arena, region->sections[FWS_SECTION_ACTIVE_SPANS].count,
                    sizeof *region->sound);
    if (region->sound == NULL)
        return;
    resource_read(region);
    opening->done = true;
}

/* Everything after the attach. */
static enum attach_result region_fill(struct region *region, const char *path, char *why,
                                      size_t cap)
{
    struct opening opening = {.region = region};

    region->metric_prefix = "forwarder";
    if (!arenas_init(region)) {
        snprintf(why, cap, "%s: no memory to read it", path);
        return ATTACH_FAILED;
    }
    identity_fill(region->view.prefix, path, region->readings[1].arena, &region->identity);
    if (!fws_view_guard(&region->view, region_read, &opening)) {
        snprintf(why, cap, "%s: cut short while it was being read", path);
        return ATTACH_CORRUPT;
    }
    if (!opening.done) {
        snprintf(why, cap, "%s: no memory to read it", path);
        return ATTACH_FAILED;
    }
    return ATTACH_OK;
}

/* The identity of a region that this version cannot read further. */
static void identity_of_incompatible(const uint64_t *prefix, const char *path, struct identity *out)
{
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    if (arena != NULL)
        identity_fill(prefix, path, arena, out);
    arena_free(&arena);
}

enum attach_result region_open(const char *path, struct region **out, struct identity *identity,
                               char *why, size_t cap)
{
    struct region *region = calloc(1, sizeof *region);
    *out = NULL;
    if (region == NULL) {
        snprintf(why, cap, "%s: no memory to read it", path);
        return ATTACH_FAILED;
    }
    enum attach_result result = attach_result_of(fws_view_attach(path, &region->view, why, cap));
    if (result == ATTACH_OK)
        result = region_fill(region, path, why, cap);
    else if (result == ATTACH_INCOMPATIBLE && identity != NULL)
        identity_of_incompatible(region->view.prefix, path, identity);
    if (result != ATTACH_OK) {
        region_close(&region);
        return result;
    }
    if (identity != NULL)
        *identity = region->identity;
    *out = region;
    return ATTACH_OK;
}

enum attach_result region_glance(const char *path, struct region_glance *out, char *why, size_t cap)
{
    uint64_t header[FWS_H_WORDS];
    enum fws_lock_state lock;
    *out = (struct region_glance){.snapshot = {.close_reason = ""}};
    enum attach_result result = attach_result_of(fws_header_read(path, header, &lock, why, cap));
    if (result != ATTACH_OK && result != ATTACH_INCOMPATIBLE)
        return result;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    if (arena == NULL) {
        snprintf(why, cap, "%s: no memory to read it", path);
        return ATTACH_FAILED;
    }
    identity_fill(header, path, arena, &out->identity);
    if (result == ATTACH_OK) {
        prefix_text(header + FWS_H_CLOSE_REASON, arena, out->close_reason);
        out->snapshot = (struct snapshot){
            .lock = writer_lock_of(lock),
            .state = published_state_of(header[FWS_H_STATE]),
            .signal = signal_of(header[FWS_H_SIGNAL]),
            .signal_address = header[FWS_H_SIGNAL_ADDRESS],
            .signal_thread = header[FWS_H_SIGNAL] != 0 ? header[FWS_H_SIGNAL_THREAD] : 0,
            .close_reason = out->close_reason};
    }
    arena_free(&arena);
    return result;
}

bool region_is_dead(const char *path)
{
    return fws_lock_ask_file(path) == FWS_LOCK_FREE;
}

size_t region_bytes(const struct region *region)
{
    size_t bytes =
        sizeof *region + arena_bytes(region->catalogue.arena) + arena_bytes(region->span_arena);
    for (int i = 0; i < 2; i++)
        bytes += arena_bytes(region->readings[i].arena) + arena_bytes(region->configs[i].arena);
    return bytes + (size_t)region->view.copied_bytes;
}

size_t region_mapped_bytes(const struct region *region)
{
    const struct fws_view *view = &region->view;
    return view->words != NULL && !view->copied ? (size_t)view->bytes : 0;
}

void region_release(struct region *region)
{
    fws_view_detach(&region->view);
}

void region_close(struct region **region)
{
    if (*region == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        arena_free(&(*region)->configs[i].arena);
        arena_free(&(*region)->readings[i].arena);
    }
    arena_free(&(*region)->span_arena);
    arena_free(&(*region)->catalogue.arena);
    fws_view_detach(&(*region)->view);
    free(*region);
    *region = NULL;
}

/* ---- what was read at open ------------------------------------------------------------------- */

const struct identity *region_identity(const struct region *region)
{
    return &region->identity;
}

const char *region_metric_prefix(const struct region *region)
{
    return region->metric_prefix;
}

const struct attribute *region_resource(const struct region *region, size_t *count)
{
    *count = region->resource_count;
    return region->resource;
}

size_t region_sections(const struct region *region, const struct section_report **out)
{
    *out = region->reports;
    return region->report_count;
}

void region_layout(unsigned *major, unsigned *minor)
{
    *major = FWS_LAYOUT_MAJOR;
    *minor = FWS_LAYOUT_MINOR;
}
