/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarders that this sidecar watches: every region of a directory, one file, or the regions
 * of one process, which live on here when it dies. Regions come and go; of each instance in a
 * directory the newest life is current and the one before it is kept as evidence.
 * Main thread only.
 */
#ifndef SIDECAR_FLEET_H
#define SIDECAR_FLEET_H

#include "find.h"
#include "life.h"

enum { FLEET_REGIONS_MAX = 256, FLEET_GIVEN_UP_MAX = 4096, FLEET_USER_REFUSED_MAX = 1024 };

/* Evidence is bounded: what dead regions hold that are not yet read, before a scan leaves all but one
 * of the others to the next, and what all dead lives hold before the oldest gives way. Of a dead
 * region the copy goes once it was read, two ticks later or more; readings and records stay. */
#define FLEET_UNREAD_BYTES_MAX ((size_t)64 << 20)
#define FLEET_DEAD_BYTES_MAX   ((size_t)256 << 20)

/* What all lives remember, and of it what is not yet published: a document of it must be small
 * enough to be made in one piece. */
#define FLEET_HISTORY_BYTES_MAX ((size_t)256 << 20)
#define FLEET_WAITING_BYTES_MAX ((size_t)32 << 20)
/* Of log lines, what the largest histories keep while others keep more: 1 MiB of text and heads. */
#define FLEET_LOGS_PROMISED ((size_t)4 << 20)

/* Where to look. Exactly one of dir, file and pid is set. */
struct fleet_target {
    const char *dir;
    const char *file;
    pid_t pid;             /* the regions of that process */
    bool user_directories; /* with dir: every /dev/shm/fwdscope-UID as well */
};

/* What is counted over lives, also over those that are gone. */
struct life_totals {
    uint64_t retries, torn, spans_lost, logs_lost;
};

struct fleet {
    struct fleet_target target;
    struct life_options options;
    struct life *lives[FLEET_REGIONS_MAX];
    size_t count, count_max;
    struct life *current[FLEET_REGIONS_MAX]; /* sorted by instance */
    const struct forwarder_view *views[FLEET_REGIONS_MAX];
    size_t current_count;
    size_t drain_next; /* the life that is drained first */
    size_t dead_bytes_max, history_bytes_max, waiting_bytes_max; /* as above; tests set less */
    struct life_totals gone; /* of lives that were given up: totals never fall */
    uint64_t given_up[FLEET_GIVEN_UP_MAX]; /* file keys of lives that are of no use any more, the
                                              oldest overwritten */
    size_t given_up_count;                 /* of all that ever were */
    uint64_t known[FLEET_REGIONS_MAX + FLEET_GIVEN_UP_MAX]; /* those and of the lives, sorted */
    size_t known_count;
    size_t unread_bytes; /* of dead lives that are not yet read, at the last scan */
    bool opened;         /* whether that scan attached to a dead region */
    uint64_t process_start; /* of target.pid, so that no other process passes for it; 0: not seen */
    bool silent; /* log nothing: one-shot commands */

    enum attach_trouble trouble; /* the worst of what could not be attached at the last scan */
    char trouble_path[512], trouble_reason[512];
    uint64_t refused; /* region files that are there but not attached, at the last scan */
    uint64_t refused_before; /* the user's directory that is being scanned */
    uint64_t trouble_hash; /* of what was last logged, so that a standing trouble is said once */
};

void fleet_init(struct fleet *fleet, const struct fleet_target *target,
                const struct life_options *options);
void fleet_free(struct fleet *fleet);

/* Looks for regions that came; attaches up to FLEET_REGIONS_MAX, and no more than half of the
 * process's descriptors are for. Where there is no room, the oldest dead life gives way. Of dead
 * regions a scan takes a few, and leaves the others to the next ones. */
void fleet_scan(struct fleet *fleet);

/* Reads every life, then settles which are current and which are previous; lives older than that
 * are given up. So is a current life that is dead and whose file has been gone for as long as
 * history reaches back: who removes it by hand wants it forgotten. */
void fleet_sample(struct fleet *fleet, uint64_t unix_ns, uint64_t mono_ns);

/* Totals over every life there ever was. */
struct life_totals fleet_totals(const struct fleet *fleet);

/* How many sections of the attached regions are not served whole. */
size_t fleet_sections_refused(const struct fleet *fleet);

/* Drains every ring; returns how many records came. *fill_permille: the fullest ring found. What
 * was published gives way where all histories together would take too much. */
size_t fleet_drain(struct fleet *fleet, unsigned *fill_permille);

/* Whether so much waits to be published that the next tick should come at once. */
bool fleet_is_pressed(const struct fleet *fleet);

#endif
