/* SPDX-License-Identifier: Apache-2.0 */
/* Which regions are watched, and which life of an instance is the current one. */
#include "fleet.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void fleet_init(struct fleet *fleet, const struct fleet_target *target,
                const struct life_options *options)
{
    struct rlimit limit;
    *fleet = (struct fleet){.target = *target,
                            .options = *options,
                            .count_max = FLEET_REGIONS_MAX,
                            .dead_bytes_max = FLEET_DEAD_BYTES_MAX,
                            .history_bytes_max = FLEET_HISTORY_BYTES_MAX,
                            .waiting_bytes_max = FLEET_WAITING_BYTES_MAX};
    /* A region holds a descriptor; probes and streams need some too. */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < FLEET_REGIONS_MAX)
        fleet->count_max = (size_t)limit.rlim_cur / 2;
}

void fleet_free(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        life_free(&fleet->lives[i]);
    fleet->count = fleet->current_count = fleet->known_count = fleet->given_up_count = 0;
}

static uint64_t text_hash(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

/* Stops at the largest number instead of beginning anew: a region may claim any. */
static void total_add(uint64_t *total, uint64_t value)
{
    *total = value < UINT64_MAX - *total ? *total + value : UINT64_MAX;
}

static void totals_add(struct life_totals *totals, const struct life *life)
{
    if (life->snapshot == NULL)
        return;
    struct losses lost = life_losses(life);
    totals->retries += life->snapshot->retries;
    totals->torn += life->snapshot->torn;
    total_add(&totals->spans_lost, lost.spans);
    total_add(&totals->logs_lost, lost.logs);
}

struct life_totals fleet_totals(const struct fleet *fleet)
{
    struct life_totals totals = fleet->gone;
    for (size_t i = 0; i < fleet->count; i++)
        totals_add(&totals, fleet->lives[i]);
    return totals;
}

size_t fleet_sections_refused(const struct fleet *fleet)
{
    size_t refused = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct section_report *sections;
        const size_t count = region_sections(fleet->lives[i]->region, &sections);
        for (size_t s = 0; s < count; s++)
            refused += sections[s].refused != NULL;
    }
    return refused;
}

/* ---- files that are known -------------------------------------------------------------------- */

/* Where a key stands among those that are known, or would. */
static size_t key_place(const struct fleet *fleet, uint64_t key)
{
    size_t low = 0, high = fleet->known_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (fleet->known[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether a file is attached, or was and is of no use any more. */
static bool fleet_knows(const struct fleet *fleet, uint64_t key)
{
    const size_t at = key_place(fleet, key);
    return at < fleet->known_count && fleet->known[at] == key;
}

/* There is room: for one of each life and of each file that was given up. */
static void file_remember(struct fleet *fleet, uint64_t key)
{
    uint64_t *at = fleet->known + key_place(fleet, key);
    memmove(at + 1, at, (size_t)(fleet->known + fleet->known_count - at) * sizeof *at);
    *at = key;
    fleet->known_count++;
}

/* One that was remembered. */
static void file_forget(struct fleet *fleet, uint64_t key)
{
    uint64_t *at = fleet->known + key_place(fleet, key);
    fleet->known_count--;
    memmove(at, at + 1, (size_t)(fleet->known + fleet->known_count - at) * sizeof *at);
}

/* Frees a life that nobody needs and remembers its file, so that no scan attaches it again. */
static void fleet_give_up(struct fleet *fleet, struct life *life)
{
    uint64_t *oldest = &fleet->given_up[fleet->given_up_count % FLEET_GIVEN_UP_MAX];
    totals_add(&fleet->gone, life);
    if (fleet->given_up_count >= FLEET_GIVEN_UP_MAX)
        file_forget(fleet, *oldest);
    *oldest = life->file_key;
    fleet->given_up_count++;
    life_free(&life);
}

/* ---- scan ------------------------------------------------------------------------------------ */

static bool life_is_dead(const struct life *life)
{
    return life->verdict.state == WRITER_EXITED || life->verdict.state == WRITER_CRASHED;
}

/* The order of the directories that regions are in. Who may write into one is whose word counts
 * there, and nowhere else: all else in a region is whatever its writer says. */
static int places_compare(const struct life *x, const struct life *y)
{
    const char *a = x->identity->path, *b = y->identity->path;
    const char *const a_end = strrchr(a, '/'), *const b_end = strrchr(b, '/');
    const size_t m = a_end != NULL ? (size_t)(a_end - a) : 0;
    const size_t n = b_end != NULL ? (size_t)(b_end - b) : 0;
    const int order = memcmp(a, b, m < n ? m : n);
    return order != 0 ? order : (m > n) - (m < n);
}

/* The number of a life's directory: that of the lives that are in it too, or one that none has. */
static size_t place_number(const struct fleet *fleet, const struct life *life)
{
    bool taken[FLEET_REGIONS_MAX] = {false};
    size_t number = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        if (places_compare(fleet->lives[i], life) == 0)
            return fleet->lives[i]->place;
        taken[fleet->lives[i]->place] = true;
    }
    while (taken[number]) /* there are fewer lives than numbers */
        number++;
    return number;
}

/* Gives up the oldest dead life of the directory that has the most lives: a directory that is
 * filled with them costs its own. Returns how much memory it held, 0: all of them live. What points
 * to it is settled anew in the same tick. */
static size_t fleet_drop_oldest(struct fleet *fleet)
{
    size_t oldest = fleet->count, most = 0, lives_in[FLEET_REGIONS_MAX] = {0};
    for (size_t i = 0; i < fleet->count; i++)
        lives_in[fleet->lives[i]->place]++;
    for (size_t i = 0; i < fleet->count; i++) {
        const struct life *life = fleet->lives[i];
        const size_t here = life_is_dead(life) ? lives_in[life->place] : 0;
        if (here > most ||
            (here > 0 && here == most &&
             life->identity->created_unix_ns < fleet->lives[oldest]->identity->created_unix_ns)) {
            oldest = i;
            most = here;
        }
    }
    if (oldest == fleet->count)
        return 0;
    struct life *gone = fleet->lives[oldest];
    const size_t bytes = life_bytes(gone);
    for (size_t i = 0; i < fleet->count; i++) {
        if (fleet->lives[i]->previous == gone)
            fleet->lives[i]->previous = NULL;
    }
    fleet->count--;
    memmove(&fleet->lives[oldest], &fleet->lives[oldest + 1],
            (fleet->count - oldest) * sizeof(struct life *)); /* they stay sorted */
    fleet_give_up(fleet, gone);
    return bytes;
}

/* Room for one more: evidence must not keep a running forwarder from being seen. */
static bool fleet_make_room(struct fleet *fleet)
{
    return fleet->count < fleet->count_max || fleet_drop_oldest(fleet) > 0;
}

static size_t fleet_dead_bytes(const struct fleet *fleet)
{
    size_t bytes = 0;
    for (size_t i = 0; i < fleet->count; i++)
        bytes += life_is_dead(fleet->lives[i]) ? life_bytes(fleet->lives[i]) : 0;
    return bytes;
}

/* What a dead life holds while it is not yet read: its region too, whether copied or mapped. */
static size_t unread_bytes(const struct life *life)
{
    return life->ended ? 0 : life_bytes(life) + region_mapped_bytes(life->region);
}

static size_t fleet_unread_bytes(const struct fleet *fleet)
{
    size_t bytes = 0;
    for (size_t i = 0; i < fleet->count; i++)
        bytes += life_is_dead(fleet->lives[i]) ? unread_bytes(fleet->lives[i]) : 0;
    return bytes;
}

static enum attach_trouble trouble_of(enum attach_result result)
{
    switch (result) {
    case ATTACH_INCOMPATIBLE:
        return TROUBLE_INCOMPATIBLE;
    case ATTACH_CORRUPT:
        return TROUBLE_CORRUPT;
    case ATTACH_DENIED:
        return TROUBLE_DENIED;
    case ATTACH_OK:
    case ATTACH_NOT_FOUND:
    case ATTACH_NOT_READY:
    case ATTACH_FAILED:
        break;
    }
    return TROUBLE_NONE;
}

static void trouble_note(struct fleet *fleet, enum attach_trouble trouble, const char *path,
                         const char *why)
{
    /* Corrupt is the worst, then incompatible: the order in which a person would look at them. */
    static const int rank[] = {[TROUBLE_NONE] = 0,
                               [TROUBLE_DENIED] = 1,
                               [TROUBLE_INCOMPATIBLE] = 2,
                               [TROUBLE_CORRUPT] = 3};
    fleet->refused++;
    if (rank[trouble] < rank[fleet->trouble] ||
        (trouble == fleet->trouble && fleet->trouble_path[0] != '\0'))
        return;
    fleet->trouble = trouble;
    snprintf(fleet->trouble_path, sizeof fleet->trouble_path, "%s", path);
    snprintf(fleet->trouble_reason, sizeof fleet->trouble_reason, "%s", why);
}

/* A region that was found: attached unless it is known. */
static void fleet_attach(void *arg, const char *path, pid_t pid, bool writes)
{
    struct fleet *fleet = arg;
    (void)pid;
    (void)writes;
    char why[512] = "";
    enum attach_result result;
    const uint64_t key = region_file_key(path);
    if (key != 0 && fleet_knows(fleet, key))
        return;
    if (fleet->unread_bytes > FLEET_UNREAD_BYTES_MAX && fleet->opened && region_is_dead(path))
        return; /* a later scan is soon enough for evidence */
    struct life *life = life_open(path, &fleet->options, &result, why, sizeof why);
    if (life != NULL && region_file_key(path) != key) {
        life_free(&life); /* replaced meanwhile: the next scan sees what is there then */
        return;
    }
    if (life != NULL && !fleet_make_room(fleet)) {
        life_free(&life);
        snprintf(
            why, sizeof why,
            "%s: %zu regions of running forwarders are attached, as many as this process takes "
            "(256, or half of `ulimit -n`)",
            path, fleet->count);
        trouble_note(fleet, TROUBLE_NONE, path, why);
    } else if (life != NULL) {
        life->file_key = key;
        if (region_is_dead(path)) {
            fleet->unread_bytes += unread_bytes(life);
            fleet->opened = true;
        }
        life->place = place_number(fleet, life);
        file_remember(fleet, key);
        fleet->lives[fleet->count++] = life;
        if (fleet->silent)
            return;
        log_line(LOG_LEVEL_INFO, "attached to %s: %s, instance %s, generation %llu, pid %llu",
                 life->identity->path, life->identity->service_name, life->identity->instance,
                 (unsigned long long)life->identity->generation,
                 (unsigned long long)life->identity->pid);
    } else if (result != ATTACH_NOT_FOUND && result != ATTACH_NOT_READY) {
        trouble_note(fleet, trouble_of(result), path, why);
    }
}

static void directory_scan(struct fleet *fleet)
{
    const int error = region_find_in_directory(fleet->target.dir, fleet_attach, fleet);
    if (error == 0 || error == ENOENT)
        return;
    char why[512];
    snprintf(why, sizeof why, "%s: %s%s", fleet->target.dir, region_find_error(error),
             error == EACCES ? ": let the sidecar's user or group read it" : "");
    trouble_note(fleet, error == EACCES ? TROUBLE_DENIED : TROUBLE_NONE, fleet->target.dir, why);
}

/* Of what a user's directory is filled with, only so much is looked at: it must not cost the others
 * the time of this process. */
static void user_region_attach(void *arg, const char *path, pid_t pid, bool writes)
{
    struct fleet *fleet = arg;
    if (fleet->refused - fleet->refused_before < FLEET_USER_REFUSED_MAX)
        fleet_attach(fleet, path, pid, writes);
    else
        fleet->refused++;
}

static void user_directory_scan(void *arg, const char *dir)
{
    struct fleet *fleet = arg;
    fleet->refused_before = fleet->refused;
    (void)region_find_in_directory(dir, user_region_attach, fleet);
}

/* While a region of the process is attached and lives, the process is left in peace. What it has no
 * region for is said, unless its end is what there is to see. */
static void process_scan(struct fleet *fleet)
{
    char why[512], path[64];
    for (size_t i = 0; i < fleet->count; i++) {
        if (!life_is_dead(fleet->lives[i]))
            return;
    }
    const enum attach_result result = region_find_in_process(
        fleet->target.pid, &fleet->process_start, fleet_attach, fleet, why, sizeof why);
    snprintf(path, sizeof path, "/proc/%d", (int)fleet->target.pid);
    if (result == ATTACH_DENIED) {
        trouble_note(fleet, TROUBLE_DENIED, path, why);
    } else if (result != ATTACH_OK && fleet->count == 0) {
        snprintf(fleet->trouble_path, sizeof fleet->trouble_path, "%s", path);
        snprintf(fleet->trouble_reason, sizeof fleet->trouble_reason, "%s", why);
    }
}

/* Says a trouble once, and again only when it changes. */
static void trouble_log(struct fleet *fleet)
{
    uint64_t hash = text_hash(fleet->refused, fleet->trouble_reason);
    if (hash == fleet->trouble_hash || fleet->silent)
        return;
    fleet->trouble_hash = hash;
    if (fleet->refused == 0 && fleet->trouble_reason[0] != '\0')
        log_line(LOG_LEVEL_WARN, "waiting: %s", fleet->trouble_reason);
    else if (fleet->refused > 0)
        log_line(LOG_LEVEL_WARN, "%llu region(s) not attached; %s",
                 (unsigned long long)fleet->refused, fleet->trouble_reason);
}

void fleet_scan(struct fleet *fleet)
{
    fleet->trouble = TROUBLE_NONE;
    fleet->trouble_path[0] = fleet->trouble_reason[0] = '\0';
    fleet->refused = 0;
    fleet->unread_bytes = fleet_unread_bytes(fleet);
    fleet->opened = false;
    if (fleet->target.pid != 0)
        process_scan(fleet);
    else if (fleet->target.file != NULL)
        fleet_attach(fleet, fleet->target.file, 0, false);
    else
        directory_scan(fleet);
    if (fleet->target.user_directories)
        region_find_user_directories(user_directory_scan, fleet);
    trouble_log(fleet);
}

/* ---- current and previous -------------------------------------------------------------------- */

/* Newest first within an instance of a directory; of a region and its copies the living one first.
 */
static int lives_compare(const struct life *a, const struct life *b)
{
    const struct identity *x = a->identity, *y = b->identity;
    int order = strcmp(x->instance, y->instance);
    if (order == 0)
        order = places_compare(a, b);
    if (order != 0)
        return order;
    if (x->generation != y->generation)
        return x->generation > y->generation ? -1 : 1;
    if (x->created_unix_ns != y->created_unix_ns)
        return x->created_unix_ns > y->created_unix_ns ? -1 : 1;
    order = strcmp(x->uuid, y->uuid);
    return order != 0 ? order : life_is_dead(a) - life_is_dead(b);
}

/* In place, and as fast as there is little to do: they are as the last tick left them, but for
 * those that came, at the end. */
static void lives_sort(struct life **lives, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct life *life = lives[i];
        size_t at = i;
        for (; at > 0 && lives_compare(lives[at - 1], life) > 0; at--)
            lives[at] = lives[at - 1];
        lives[at] = life;
    }
}

/* Notes since when the file of a dead life has been gone. What cannot be told is no removal. */
static void life_note_removal(struct life *life, uint64_t mono_ns)
{
    const uint64_t key = region_file_key(life->identity->path);
    const bool gone = key != 0 ? key != life->file_key : errno == ENOENT || errno == ENOTDIR;
    if (!gone)
        life->removed_mono_ns = 0;
    else if (life->removed_mono_ns == 0)
        life->removed_mono_ns = mono_ns;
}

/* Whether somebody removed the file of a dead life, and long enough ago. What a process has open
 * goes with it: there nobody removed anything. */
static bool fleet_shall_forget(const struct fleet *fleet, struct life *life, uint64_t mono_ns)
{
    if (!life_is_dead(life) || fleet->target.pid != 0)
        return false;
    life_note_removal(life, mono_ns);
    return life->removed_mono_ns != 0 &&
           mono_ns - life->removed_mono_ns > fleet->options.history_ns;
}

/*
 * Of each instance in a directory the newest life is current; an older one that is dead becomes the
 * previous life of the current one, older dead ones are given up, and so is a copy of the current
 * one's file. An older one that lives is a second forwarder with the same name: current too,
 * because nobody may vanish from view while it runs. A newest one that is to be forgotten leaves
 * its place to the one before, as if it had never been.
 */
static void fleet_settle(struct fleet *fleet, uint64_t mono_ns)
{
    size_t kept = 0;
    struct life *head = NULL; /* the newest life of the instance at hand */
    fleet->current_count = 0;
    lives_sort(fleet->lives, fleet->count);
    for (size_t i = 0; i < fleet->count; i++) {
        struct life *life = fleet->lives[i];
        const bool same = head != NULL &&
                          strcmp(head->identity->instance, life->identity->instance) == 0 &&
                          head->place == life->place;
        if (fleet_shall_forget(fleet, life, mono_ns) && !same) {
            if (!fleet->silent)
                log_line(LOG_LEVEL_INFO, "%s was removed: forgotten", life->identity->path);
            fleet_give_up(fleet, life);
            continue;
        }
        if (!same) {
            head = life;
            head->previous = NULL;
        }
        life->current = !same || !life_is_dead(life);
        if (life->current) {
            fleet->current[fleet->current_count++] = life;
            if (same)
                life->previous = NULL;
        } else if (head->previous == NULL &&
                   strcmp(head->identity->uuid, life->identity->uuid) != 0) {
            head->previous = life;
            life->previous = NULL;
            life_end_before(life, head->identity->created_unix_ns);
        } else {
            fleet_give_up(fleet, life);
            continue;
        }
        fleet->lives[kept++] = life;
    }
    fleet->count = kept;
    for (size_t i = 0; i < fleet->current_count; i++) {
        struct life *life = fleet->current[i];
        life->view.previous = life->previous != NULL ? &life->previous->view : NULL;
        fleet->views[i] = &life->view;
    }
}

/* What was published gives way where all histories together take too much; returns what they take
 * then. */
static size_t fleet_trim(struct fleet *fleet)
{
    struct history *histories[FLEET_REGIONS_MAX];
    for (size_t i = 0; i < fleet->count; i++)
        histories[i] = &fleet->lives[i]->history;
    return histories_trim(histories, fleet->count, fleet->history_bytes_max, FLEET_LOGS_PROMISED);
}

void fleet_sample(struct fleet *fleet, uint64_t unix_ns, uint64_t mono_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        if (life_sample(fleet->lives[i], &fleet->options, unix_ns, mono_ns)) {
            fleet->lives[kept++] = fleet->lives[i];
        } else {
            log_line(LOG_LEVEL_ERROR, "%s: no memory for a reading; trying again at the next tick",
                     fleet->lives[i]->identity->path);
            file_forget(fleet, fleet->lives[i]->file_key);
            life_free(&fleet->lives[i]);
        }
    }
    fleet->count = kept;
    size_t dead = fleet_dead_bytes(fleet);
    while (dead > fleet->dead_bytes_max) /* evidence must not cost more than it is worth */
        dead -= fleet_drop_oldest(fleet);
    (void)fleet_trim(fleet);
    fleet_settle(fleet, mono_ns);
}

/* ---- draining -------------------------------------------------------------------------------- */

static size_t fleet_waiting_bytes(const struct fleet *fleet)
{
    size_t bytes = 0;
    for (size_t i = 0; i < fleet->count; i++)
        bytes += history_waiting_bytes(&fleet->lives[i]->history);
    return bytes;
}

static size_t fleet_history_bytes(const struct fleet *fleet)
{
    size_t bytes = 0;
    for (size_t i = 0; i < fleet->count; i++)
        bytes += history_bytes(&fleet->lives[i]->history);
    return bytes;
}

size_t fleet_drain(struct fleet *fleet, unsigned *fill_permille)
{
    const bool hold_back = fleet->options.hold_back;
    size_t count = 0, drained = 0;
    size_t waiting = fleet_waiting_bytes(fleet), remembered = fleet_history_bytes(fleet);
    *fill_permille = 0;
    for (; drained < fleet->count; drained++) {
        struct life *life = fleet->lives[(fleet->drain_next + drained) % fleet->count];
        if (hold_back && waiting >= fleet->waiting_bytes_max) {
            *fill_permille = 1000; /* nobody empties the other rings meanwhile */
            break;
        }
        waiting -= history_waiting_bytes(&life->history);
        remembered -= history_bytes(&life->history);
        count += life_drain(life, hold_back);
        waiting += history_waiting_bytes(&life->history);
        remembered += history_bytes(&life->history);
        if (remembered > fleet->history_bytes_max)
            remembered = fleet_trim(fleet); /* or two lives' records were too many together */
        if (life->fill_permille > *fill_permille)
            *fill_permille = life->fill_permille;
    }
    fleet->drain_next += drained; /* who was left out is the first the next time */
    return count;
}

bool fleet_is_pressed(const struct fleet *fleet)
{
    bool pressed = fleet_waiting_bytes(fleet) >= fleet->waiting_bytes_max / 2;
    for (size_t i = 0; i < fleet->count && !pressed; i++)
        pressed = life_is_pressed(fleet->lives[i]);
    return pressed;
}
