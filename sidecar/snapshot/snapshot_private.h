/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the snapshot share. The rule of all of them: words come out of the map only
 * through the verbs of shmlayout, inside fws_view_guard(); they are copied once, and it is the
 * private copy that is checked and used. A function marked [guarded] reads the map: it may be left
 * in the middle when the file is cut, so all that it takes is in an arena.
 *
 *   region.c     open and close, identity, sections, resource
 *   catalogue.c  what is registered once: strings, instruments, pipelines, components
 *   sample.c     one reading: values, histograms, batch groups, active spans, config, losses
 *   records.c    rings, and records and attributes made into structures
 *   verify.c     a walk through everything by the code above, which says what it finds wrong
 *
 * Times. The forwarder's clock is taken as it is, however wrong; what would break arithmetic is
 * not: a time beyond int64 nanoseconds (the year 2262) becomes that bound, an end before its start
 * becomes the start, and nothing of an active span lies after the reading.
 */
#ifndef SIDECAR_SNAPSHOT_PRIVATE_H
#define SIDECAR_SNAPSHOT_PRIVATE_H

#include "snapshot.h"

#include "shmlayout/region.h"
#include "shmlayout/ring.h"
#include "shmlayout/validate.h"

enum {
    NOTE_BYTES = 128,
    BATCH_MASK = (1 << BATCH_FIELDS) - 1,
    COUNT_MASK = (1 << COUNTS) - 1,
};
#define ARENA_BYTES_MAX  ((size_t)64 << 20) /* each of four: the catalogue, two readings,
                                             the spans of one */
#define CONFIG_BYTES_MAX ((size_t)1 << 20)  /* each of two: raw, and repaired to thrice as much */

/* ---- sections -------------------------------------------------------------------------------- */

/* A section that is served, in words. */
struct section {
    const fws_word *words; /* NULL: there is none, or it is refused */
    size_t stride;         /* of an entry */
    size_t count;          /* entries of one lane */
    size_t lanes;
    struct section_report *report;
};

/* The caller holds lane < lanes and index < count: then the entry lies inside the region, because
 * stride * count * lanes was checked against the section and the section against the region. */
static inline const fws_word *section_entry(const struct section *section, size_t lane,
                                            size_t index)
{
    return section->words + (lane * section->count + index) * section->stride;
}

/* [guarded] Copies immutable words, or words of which each is good alone. Relaxed: what published
 * them was observed before. */
static inline void words_copy(const fws_word *words, size_t count, uint64_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = fws_peek(&words[i]);
}

/* ---- the catalogue: grows, is never reset ---------------------------------------------------- */

/* Counters and up-down counters whose slots and values follow each other. */
struct run {
    size_t slot, value, count;
};
/* Gauges and totals, likewise: each is two shared words of lane 0, value and present. */
struct setting_run {
    size_t slot, value, instrument, count;
};
struct distribution {
    size_t slot, value, buckets, instrument;
};
struct pipeline_entry {
    const char *name;
    uint32_t absent;
    size_t index;                   /* of its entry in PIPELINES and BATCHES */
    uint64_t batches[BATCH_FIELDS]; /* the last whole reading */
};
struct component_entry {
    enum component_kind kind;
    const char *name, *type;
    uint32_t absent;
    size_t pipeline; /* in catalogue.pipelines */
    size_t index;    /* of its entry in COMPONENTS */
    size_t slot;
};

/* How far an append-only table was read. */
struct progress {
    size_t seen;    /* entries looked at, good or not */
    size_t refused; /* of them: malformed, seen before, or without room here */
};

struct catalogue {
    struct arena *arena;

    /* Each has room for the count of its section. */
    struct instrument *instruments;
    size_t instrument_count;
    size_t value_count;   /* words of a reading */
    size_t slots_claimed; /* of one lane */
    uint32_t *index;      /* hash table: 0, or 1 + an instrument */
    size_t index_mask;
    struct run *runs;
    size_t run_count;
    struct setting_run *setting_runs;
    size_t setting_run_count;
    struct distribution *distributions;
    size_t distribution_count;

    struct pipeline_entry *pipelines;
    size_t pipeline_count;
    uint32_t *pipeline_of_entry; /* 0, or 1 + an index of pipelines */
    struct component_entry *components;
    size_t component_count;

    struct progress instruments_read, pipelines_read, components_read;
};

/* ---- the region ------------------------------------------------------------------------------ */

/* Two of each, so that what was handed out stays valid while the next is made. */
struct reading {
    struct arena *arena;
    struct snapshot snapshot;
    const uint64_t **active; /* copies of the slots of its active spans, each whole and sound */
};
struct config_copy {
    struct arena *arena;
    enum config_state state;
    const char *path, *text;
    size_t bytes;
};

struct ring {
    struct fws_ring_reader reader;
    enum record_kind kind;
    size_t lane;
    uint64_t misplaced; /* records of another kind than the ring's: not handed out */
    bool corrupt;       /* it contradicted itself: nothing more is read from it */
};

/* What the walk of region_verify() has found so far; plain memory, because [guarded] code adds. */
struct findings {
    struct finding list[FINDINGS_MAX];
    size_t count;
    struct verified verified;
};

struct region {
    struct fws_view view;
    struct findings *findings; /* NULL but for region_verify() */
    struct identity identity;
    struct section sections[FWS_SECTION_KINDS];
    struct section_report reports[FWS_SECTIONS_MAX];
    size_t report_count;
    char notes[FWS_SECTION_KINDS][NOTE_BYTES]; /* what was found wrong after the directory */
    bool truncated;                            /* the map is not to be read any more */

    const char *metric_prefix;
    const struct attribute *resource;
    size_t resource_count;
    struct catalogue catalogue;

    struct reading readings[2];
    unsigned current; /* index of the last whole reading */
    uint64_t retries, torn;

    uint64_t *sound; /* of each slot of an active span, see active_read() */
    struct arena *span_arena;
    const struct span *spans; /* those of the current reading; NULL: nobody asked yet */
    size_t span_count;

    struct config_copy configs[2];
    unsigned config_current;
    bool config_read;    /* whether config_seq means anything */
    uint64_t config_seq; /* of the current copy */

    struct ring *rings;
    size_t ring_count;
    size_t ring_next; /* where the next drain begins */
    uint64_t *batch;  /* records between the map and the sink */

    uint64_t scratch[FWS_ATTR_WORDS_MAX]; /* holds the longest thing that STRINGS is asked for */
};

/* Says in the section's report what was found wrong with it. A section that is not listed: no-op. */
__attribute__((format(printf, 3, 4))) void section_note(struct region *region,
                                                        enum fws_section kind, const char *format,
                                                        ...);

/* Notes what stands at `at` of a section (FWS_SECTION_NONE: the header). `what` is static. No-op but
 * for region_verify(). */
void finding_add(struct region *region, bool wrong, enum fws_section kind, const fws_word *at,
                 const char *what);

/* ---- catalogue.c ----------------------------------------------------------------------------- */

/* Makes room for what the sections may hold. False: memory is out. */
bool catalogue_init(struct region *region);
/* [guarded] Takes in what was registered since the last call. */
void catalogue_read(struct region *region);

/* ---- sample.c -------------------------------------------------------------------------------- */

/* Words of the header as what they mean. */
enum published_state published_state_of(uint64_t state);
unsigned signal_of(uint64_t signal);
enum writer_lock writer_lock_of(enum fws_lock_state state);

/* ---- records.c ------------------------------------------------------------------------------- */

/* A time that signed 64-bit arithmetic can bear. */
static inline uint64_t time_clamp(uint64_t unix_ns)
{
    return unix_ns < INT64_MAX ? unix_ns : INT64_MAX;
}

/* Bytes up to the first NUL, at most `max` of them, as text. NULL: the arena is full. */
const char *text_padded(struct arena *arena, const uint64_t *words, size_t max);

/* Exactly `count` attributes of a private block. False: malformed, too many, or no room. */
bool attributes_build(struct arena *arena, const uint64_t *block, size_t words, size_t count,
                      const struct attribute **out);

/* A span of private words. `head` is laid out as a finished span's payload up to its start; an
 * active span's slot is the same from its trace id on. Leaves end and stage alone. */
struct span_words {
    const uint64_t *head;
    const uint64_t *name, *message, *attributes;
};
bool span_build(struct arena *arena, const struct span_words *words, struct span *out);

/* [guarded] Makes a cursor of every sound ring. False: memory is out. */
bool rings_init(struct region *region);

/* [guarded] Where in its ring a position stands. */
const fws_word *ring_word(const struct ring *ring, uint64_t position);

#endif
