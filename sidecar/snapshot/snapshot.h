/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot: a region made into owned, plain, checked structures. The only part of the sidecar that
 * knows the layout; what leaves here is valid UTF-8, within limits, and whole, or it is marked
 * stale and not used. One thread owns a region. No call here ever fails because of what a region
 * holds: a bad section is refused by name and the others are served.
 */
#ifndef SIDECAR_SNAPSHOT_H
#define SIDECAR_SNAPSHOT_H

#include "arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- attaching ------------------------------------------------------------------------------- */

enum attach_result {
    ATTACH_OK,
    ATTACH_NOT_FOUND,    /* no such file (yet) */
    ATTACH_NOT_READY,    /* the writer is still filling it */
    ATTACH_DENIED,       /* permission */
    ATTACH_INCOMPATIBLE, /* another major, an unknown incompat bit, byte order or word size */
    ATTACH_CORRUPT,      /* not a region, truncated, or a header that contradicts itself */
    ATTACH_FAILED,       /* the system said no: out of memory, descriptors, ... */
};

struct region;

/*
 * Opens the region file at `path` read-only: a regular file, or what a process has open or mapped
 * (/proc/PID/fd/N, /proc/PID/map_files/A-B). On ATTACH_OK *out is the region, to be given back with
 * region_close(). Otherwise `why` (cap bytes, NUL-terminated) says in one line what is wrong and
 * what to do about it. A live region is mapped; a dead one is read into memory, so that nobody can
 * take it away. ATTACH_INCOMPATIBLE also fills *identity (when not NULL) from the frozen prefix.
 */
struct identity;
enum attach_result region_open(const char *path, struct region **out, struct identity *identity,
                               char *why, size_t cap);
void region_close(struct region **region);

/* Gives the file or its copy back once everything was read: what was read stays, but the region can
 * neither be sampled nor drained any more. */
void region_release(struct region *region);

/* Whether there is a regular file at `path` that no writer holds: opening it would copy it. */
bool region_is_dead(const char *path);

/* How much private memory the region holds, the copy of a dead one included. */
size_t region_bytes(const struct region *region);
/* How much of the file it maps instead. */
size_t region_mapped_bytes(const struct region *region);

/* ---- what does not change in one life -------------------------------------------------------- */

enum attribute_type {
    ATTRIBUTE_STRING = 1,
    ATTRIBUTE_INT = 2,
    ATTRIBUTE_DOUBLE = 3,
    ATTRIBUTE_BOOL = 4,
};
struct attribute {
    const char *key;
    enum attribute_type type;
    const char *string;
    int64_t integer;
    double real;
    bool boolean;
};

struct identity {
    char path[4096];
    unsigned major, minor;
    char uuid[33]; /* lower-case hex */
    char boot_id[33];
    uint64_t pid, pid_namespace, pid_start_ticks;
    uint64_t created_unix_ns, created_boot_ns;
    uint64_t uid, gid;
    uint64_t generation;
    uint64_t heartbeat_interval_ns; /* 0: none declared */
    uint64_t size_bytes;
    char service_name[256], service_version[256], instance[256]; /* valid UTF-8 */
};

enum instrument_kind {
    INSTRUMENT_COUNTER = 1,
    INSTRUMENT_TOTAL = 2,
    INSTRUMENT_UPDOWN = 3,
    INSTRUMENT_GAUGE = 4,
    INSTRUMENT_HISTOGRAM = 5,
};
/* Said once: it and all that it points to stay as they are until region_close(). */
struct instrument {
    enum instrument_kind kind;
    bool is_double; /* gauges: the value is an IEEE 754 double, else two's complement */
    const char *name, *unit, *description;
    const struct attribute *attributes;
    size_t attribute_count;
    const double *bounds; /* histogram: upper bounds; buckets are bound_count + 1 */
    size_t bound_count;
    size_t value_index; /* its first word in snapshot.values */
    size_t value_count; /* counter, total, updown, gauge: 1; histogram: 1 sum + buckets */
};

/* ---- one reading ----------------------------------------------------------------------------- */

enum count_index {
    COUNT_LINES,
    COUNT_BYTES,
    COUNT_ERRORS,
    COUNT_ROTATIONS,
    COUNT_PARSE_ERRORS,
    COUNTS,
};
enum component_kind { COMPONENT_INPUT = 1, COMPONENT_TRANSFORM = 2, COMPONENT_OUTPUT = 3 };

struct component {
    enum component_kind kind;
    const char *name;     /* transform: "" */
    const char *type;     /* transform: its query */
    uint32_t absent;      /* bit COUNT_x: not had by the forwarder */
    uint64_t counts[COUNTS];
    unsigned health; /* as published; above 5 reads as failed */
    bool has_queue;
    uint64_t queue_depth, queue_capacity;
    uint64_t last_success_unix_ns; /* 0: not known */
};

enum batch_index {
    BATCH_BATCHES,
    BATCH_ROWS,
    BATCH_FLUSH_SIZE,
    BATCH_FLUSH_TIMEOUT,
    BATCH_FLUSH_DRAIN,
    BATCH_DROPPED,
    BATCH_SCAN_ERRORS,
    BATCH_PARSE_ERRORS,
    BATCH_LATENCY_NS,
    BATCH_SCAN_NS,
    BATCH_TRANSFORM_NS,
    BATCH_OUTPUT_NS,
    BATCH_QUEUE_WAIT_NS,
    BATCH_SEND_NS,
    BATCH_STALLS,
    BATCH_INFLIGHT, /* clamped to >= 0 */
    BATCH_FIELDS,
};
struct pipeline {
    const char *name;
    uint32_t absent;    /* bit BATCH_x: not had by the forwarder */
    bool batches_stale; /* could not be read whole this time: batches[] holds the last whole reading,
                           all 0 if there was none; never to be sent with a new time */
    uint64_t batches[BATCH_FIELDS];
    uint64_t last_batch_unix_ns; /* 0: not known */
    const struct component *components; /* in order of registration */
    size_t component_count;
};

/* A span, active or finished. Ids are bytes; all zero: none. */
struct span {
    uint8_t trace_id[16], span_id[8], parent_id[8];
    unsigned kind, status; /* OTLP numbers; out of range reads as 1 and 0 */
    const char *name, *message;
    uint64_t start_unix_ns, end_unix_ns; /* end: 0 while active; never before start */
    const struct attribute *attributes;
    size_t attribute_count;
    unsigned attributes_dropped;
    const char *stage; /* active only; "" when none was named */
    uint64_t stage_start_unix_ns, output_start_unix_ns;
};

struct log_record {
    uint64_t time_unix_ns, observed_unix_ns; /* time 0: not known */
    unsigned severity;                       /* 0..24; 0 unknown */
    const char *severity_text, *body;
    size_t body_bytes;     /* of the repaired body */
    size_t original_bytes; /* of the line as the forwarder had it; > what was kept: it was cut */
    bool cut;
    uint8_t trace_id[16], span_id[8];
    const struct attribute *attributes;
    size_t attribute_count;
    unsigned attributes_dropped;
};

enum writer_lock { LOCK_UNKNOWN, LOCK_HELD, LOCK_FREE };
enum published_state { STATE_RUNNING, STATE_CLOSED, STATE_CLOSED_CRASHED, STATE_OTHER };
enum config_state { CONFIG_NONE, CONFIG_PUBLISHED, CONFIG_REFUSED };

struct losses {
    uint64_t spans, logs;         /* all that was lost: dropped by the writer, or overwritten
                                     before it could be read */
    uint64_t logs_cut, attributes_dropped, values_dropped, registrations_refused;
};

/* One consistent-per-unit reading of a region. Pointers stay valid until the next region_sample()
 * of the same region or region_close(). */
struct snapshot {
    uint64_t time_unix_ns; /* when it was taken; never decreasing per region */
    uint64_t mono_ns;      /* the same on CLOCK_MONOTONIC */

    enum writer_lock lock;
    enum published_state state;
    const char *close_reason;
    unsigned signal;         /* fatal signal, 0 none */
    uint64_t signal_thread;  /* 0: not known, nor is the address */
    uint64_t signal_address; /* UINT64_MAX: somebody sent it */
    uint64_t heartbeat_mark; /* changes when any heartbeat word changed */

    const struct instrument *instruments;
    size_t instrument_count;
    const uint64_t *values;       /* summed over lanes; see instrument.value_index */
    const uint8_t *values_absent; /* per instrument: 0 good, 1 not set or ended, 2 stale */

    const struct pipeline *pipelines;
    size_t pipeline_count;

    size_t active_span_count; /* see region_active_spans() */
    size_t active_spans_stale; /* slots that could not be read whole */

    struct losses lost;
    uint64_t retries; /* copies thrown away, since attach */
    uint64_t torn;    /* units left out of a reading, since attach */
    uint64_t stale;   /* units left out of this reading */
    bool truncated;   /* the file was cut under us: this is the last whole reading */
};

const struct identity *region_identity(const struct region *region);

/* A look at a region's header alone: nothing is mapped or copied. Fills *out also, but for what
 * `snapshot` says, on ATTACH_INCOMPATIBLE. Otherwise as region_open(). */
struct region_glance {
    struct identity identity;
    struct snapshot snapshot; /* of it: lock, state, signal, and close_reason, which is in here */
    char close_reason[256];
};
enum attach_result region_glance(const char *path, struct region_glance *out, char *why,
                                 size_t cap);
const char *region_metric_prefix(const struct region *region);
const struct attribute *region_resource(const struct region *region, size_t *count);

/* Takes a reading at the given times. Bounded in time and memory. The result belongs to the region. */
const struct snapshot *region_sample(struct region *region, uint64_t time_unix_ns, uint64_t mono_ns);

/* The active spans of the newest reading, oldest start first: what the reading copied is decoded
 * when it is first asked for. Valid until the next region_sample(). Fewer than the snapshot says
 * when memory is out, or a slot was scribbled over under the sequence of a sound span. */
const struct span *region_active_spans(struct region *region, size_t *count);

/* ---- rings ----------------------------------------------------------------------------------- */

enum record_kind { RECORD_SPAN = 1, RECORD_LOG = 2 };

/* A record as it stood in its ring: opaque words, to be kept and decoded later. */
struct record {
    enum record_kind kind;
    uint64_t time_unix_ns; /* span: its end; log: when the shim took it */
    const uint64_t *words;
    size_t word_count;
};

/* Hands every record that is new since the last drain to `sink`, lane by lane, each lane in its
 * order; the record is valid during the call. Returns how many were taken from the rings, at most
 * max_records a call; 0: there is nothing to take. One of a kind that its ring is not for is taken
 * and counted as lost, and not handed out.
 * *fill_permille (may be NULL) becomes how full the fullest ring was found, 0..1000. */
size_t region_drain(struct region *region, size_t max_records,
                    void (*sink)(void *arg, const struct record *record), void *arg,
                    unsigned *fill_permille);

/*
 * A kept record where it stands: checked, numbers as in struct span and struct log_record, but
 * nothing is copied. Text is any bytes, NUL included, and begins a word of the record: of a text
 * that is not empty, eight bytes can be read. A key is not empty. False: it is not such a record.
 */
struct raw_text {
    const char *bytes;
    size_t count;
};
struct raw_attribute {
    enum attribute_type type;
    struct raw_text key;
    const uint64_t *value; /* string: its text; else a word: two's complement, bits of the double,
                              0 or not */
    size_t value_bytes;
};
enum { RAW_ATTRIBUTES_MAX = 32 };
struct raw_attributes {
    size_t count;
    unsigned dropped;
    struct raw_attribute list[RAW_ATTRIBUTES_MAX];
};
struct raw_span {
    const uint8_t *trace_id, *span_id, *parent_id;
    unsigned kind, status;
    struct raw_text name, message;
    uint64_t start_unix_ns, end_unix_ns;
    struct raw_attributes attributes;
};
struct raw_log {
    const uint8_t *trace_id, *span_id;
    uint64_t time_unix_ns, observed_unix_ns;
    unsigned severity;
    struct raw_text severity_text, body;
    uint64_t original_bytes;
    bool cut;
    struct raw_attributes attributes;
};
bool record_view_span(const struct record *record, struct raw_span *out);
bool record_view_log(const struct record *record, struct raw_log *out);

/* The same as structures in the arena. False: it is not such a record, or the arena is full. */
bool record_decode_span(struct arena *arena, const struct record *record, struct span *out);
bool record_decode_log(struct arena *arena, const struct record *record, struct log_record *out);

/* ---- config document ------------------------------------------------------------------------- */

/* The last whole copy of the document: its state; path and text (NUL-terminated, of *bytes bytes)
 * valid until the next region_sample(). CONFIG_REFUSED: text is the reason. */
enum config_state region_config(struct region *region, const char **path, const char **text,
                                size_t *bytes);

/* ---- for inspect ----------------------------------------------------------------------------- */

struct section_report {
    const char *name;   /* "instruments", ...; "unknown" for kinds of a newer minor */
    unsigned kind, version;
    uint64_t offset, length, stride, count, lanes;
    const char *refused; /* NULL: served; else why not */
};
size_t region_sections(const struct region *region, const struct section_report **out);

/* The layout of this program: it reads regions of that major, whatever their minor. */
void region_layout(unsigned *major, unsigned *minor);

/* What region_verify() found. */
struct finding {
    bool wrong;          /* else: a unit that is not whole, as a writer leaves it that is at work on
                            it, or that died at it */
    const char *section; /* "header", "directory", or the name of a section */
    uint64_t lane, index; /* of the entry; header: the word; of a ring the lane alone tells */
    uint64_t offset;     /* bytes from the start of the file */
    const char *what;    /* words; valid as long as the region */
};

/* How much was looked at, and how much of it is not as it should be. */
struct verified {
    size_t sections, references, instruments, pipelines, components, histograms, batch_groups,
        active_slots, active_spans, rings, spans, logs, attributes;
    enum config_state config;
    uint64_t overwritten; /* records that the rings do not hold any more */
    size_t wrong, torn;   /* findings, those included that are not told one by one */
    bool truncated;       /* the file was cut under us */
};

enum { FINDINGS_MAX = 1000 }; /* told one by one */

/* Walks all that the region holds, by the code that reads it for everybody else: once, right after
 * region_open(). sink is called for each finding, in the order of the walk. False: no memory. */
bool region_verify(struct region *region, uint64_t time_unix_ns, uint64_t mono_ns,
                   void (*sink)(void *arg, const struct finding *finding), void *arg,
                   struct verified *out);

#endif
