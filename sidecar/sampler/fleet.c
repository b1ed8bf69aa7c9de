/* SPDX-License-Identifier: Apache-2.0 */
/* Which regions are watched, and which life of an instance is the current one. */
#include "fleet.h"

#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCAN_ENTRIES_MAX = 65536 };
static const char region_suffix[] = ".fwdscope";

void fleet_init(struct fleet *fleet, const struct fleet_target *target,
                const struct life_options *options)
{
    *fleet = (struct fleet){.target = *target, .options = *options};
}

void fleet_free(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++)
        life_free(&fleet->lives[i]);
    fleet->count = fleet->current_count = 0;
}

static uint64_t text_hash(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

static void totals_add(struct life_totals *totals, const struct life *life)
{
    if (life->snapshot == NULL)
        return;
    struct losses lost = life_losses(life);
    totals->retries += life->snapshot->retries;
    totals->torn += life->snapshot->torn;
    totals->spans_lost += lost.spans;
    totals->logs_lost += lost.logs;
}

struct life_totals fleet_totals(const struct fleet *fleet)
{
    struct life_totals totals = fleet->gone;
    for (size_t i = 0; i < fleet->count; i++)
        totals_add(&totals, fleet->lives[i]);
    return totals;
}

/* Frees a life that nobody needs and remembers its file, so that no scan attaches it again. */
static void fleet_give_up(struct fleet *fleet, struct life *life)
{
    totals_add(&fleet->gone, life);
    fleet->given_up[fleet->given_up_next] = text_hash(1, life->identity->path);
    fleet->given_up_next = (fleet->given_up_next + 1) % FLEET_REGIONS_MAX;
    life_free(&life);
}

/* ---- scan ------------------------------------------------------------------------------------ */

/* Whether a path is attached, or was and is of no use any more. */
static bool fleet_knows(const struct fleet *fleet, const char *path)
{
    uint64_t hash = text_hash(1, path);
    for (size_t i = 0; i < FLEET_REGIONS_MAX; i++) {
        if (fleet->given_up[i] == hash)
            return true;
    }
    for (size_t i = 0; i < fleet->count; i++) {
        if (strcmp(fleet->lives[i]->identity->path, path) == 0)
            return true;
    }
    return false;
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

static void fleet_attach(struct fleet *fleet, const char *path)
{
    char why[512] = "";
    enum attach_result result;
    if (fleet_knows(fleet, path))
        return;
    if (fleet->count == FLEET_REGIONS_MAX) {
        snprintf(why, sizeof why, "more than %d regions: not attached", FLEET_REGIONS_MAX);
        trouble_note(fleet, TROUBLE_NONE, path, why);
        return;
    }
    struct life *life = life_open(path, &fleet->options, &result, why, sizeof why);
    if (life != NULL) {
        fleet->lives[fleet->count++] = life;
        if (fleet->silent)
            return;
        log_line(LOG_LEVEL_INFO, "attached to %s: %s, instance %s, generation %llu, pid %llu", path,
                 life->identity->service_name, life->identity->instance,
                 (unsigned long long)life->identity->generation,
                 (unsigned long long)life->identity->pid);
    } else if (result != ATTACH_NOT_FOUND && result != ATTACH_NOT_READY) {
        trouble_note(fleet, trouble_of(result), path, why);
    }
}

static void directory_scan(struct fleet *fleet)
{
    DIR *dir = opendir(fleet->target.dir);
    if (dir == NULL) {
        int error = errno;
        if (error != ENOENT)
            trouble_note(fleet, error == EACCES ? TROUBLE_DENIED : TROUBLE_NONE, fleet->target.dir,
                         strerror(error));
        return;
    }
    const struct dirent *entry;
    for (int i = 0; i < SCAN_ENTRIES_MAX && (entry = readdir(dir)) != NULL; i++) {
        char path[4096];
        size_t bytes = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || bytes < sizeof region_suffix ||
            strcmp(entry->d_name + bytes - (sizeof region_suffix - 1), region_suffix) != 0)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", fleet->target.dir, entry->d_name);
        if (n > 0 && (size_t)n < sizeof path)
            fleet_attach(fleet, path);
    }
    closedir(dir);
}

/* Says a trouble once, and again only when it changes. */
static void trouble_log(struct fleet *fleet)
{
    uint64_t hash = text_hash(fleet->refused, fleet->trouble_reason);
    if (hash == fleet->trouble_hash || fleet->silent)
        return;
    fleet->trouble_hash = hash;
    if (fleet->refused > 0)
        log_line(LOG_LEVEL_WARN, "%llu region(s) not attached; %s",
                 (unsigned long long)fleet->refused, fleet->trouble_reason);
}

void fleet_scan(struct fleet *fleet)
{
    fleet->trouble = TROUBLE_NONE;
    fleet->trouble_path[0] = fleet->trouble_reason[0] = '\0';
    fleet->refused = 0;
    if (fleet->target.file != NULL)
        fleet_attach(fleet, fleet->target.file);
    else
        directory_scan(fleet);
    trouble_log(fleet);
}

/* ---- current and previous -------------------------------------------------------------------- */

/* Newest first within an instance. */
static int lives_compare(const void *a, const void *b)
{
    const struct identity *x = (*(struct life *const *)a)->identity;
    const struct identity *y = (*(struct life *const *)b)->identity;
    int order = strcmp(x->instance, y->instance);
    if (order != 0)
        return order;
    if (x->generation != y->generation)
        return x->generation > y->generation ? -1 : 1;
    if (x->created_unix_ns != y->created_unix_ns)
        return x->created_unix_ns > y->created_unix_ns ? -1 : 1;
    return strcmp(x->uuid, y->uuid);
}

static bool life_is_dead(const struct life *life)
{
    return life->verdict.state == WRITER_EXITED || life->verdict.state == WRITER_CRASHED;
}

/*
 * Of each instance the newest life is current; an older one that is dead becomes the previous life
 * of the current one, older dead ones are given up. An older one that lives is a second forwarder
 * with the same name: current too, because nobody may vanish from view while it runs.
 */
static void fleet_settle(struct fleet *fleet)
{
    size_t kept = 0;
    struct life *head = NULL; /* the newest life of the instance at hand */
    fleet->current_count = 0;
    qsort(fleet->lives, fleet->count, sizeof(struct life *), lives_compare);
    for (size_t i = 0; i < fleet->count; i++) {
        struct life *life = fleet->lives[i];
        bool same = head != NULL && strcmp(head->identity->instance, life->identity->instance) == 0;
        if (!same) {
            head = life;
            head->previous = NULL;
        }
        if (!same || !life_is_dead(life)) {
            fleet->current[fleet->current_count++] = life;
            if (same)
                life->previous = NULL;
        } else if (head->previous == NULL) {
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

void fleet_sample(struct fleet *fleet, uint64_t unix_ns, uint64_t mono_ns)
{
    size_t kept = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        if (life_sample(fleet->lives[i], &fleet->options, unix_ns, mono_ns)) {
            fleet->lives[kept++] = fleet->lives[i];
        } else {
            log_line(LOG_LEVEL_ERROR, "%s: no memory for a reading; trying again at the next tick",
                     fleet->lives[i]->identity->path);
            life_free(&fleet->lives[i]);
        }
    }
    fleet->count = kept;
    fleet_settle(fleet);
}

size_t fleet_drain(struct fleet *fleet, unsigned *fill_permille)
{
    size_t count = 0;
    *fill_permille = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        count += life_drain(fleet->lives[i]);
        if (fleet->lives[i]->fill_permille > *fill_permille)
            *fill_permille = fleet->lives[i]->fill_permille;
    }
    return count;
}
