/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fwdscope.h - the shim that a log forwarder links, version 1.
 *
 * fwdscope_open() makes a region: a file of fixed size on tmpfs that the forwarder writes and a
 * separate process, `fwdscope serve`, reads. What holds for every call here:
 *
 *   - It never harms its host. After open nothing allocates, locks, waits or enters the kernel on
 *     the hot path (values, batches, spans, log lines, heartbeat); registration takes a private
 *     mutex. Nothing aborts, nothing changes errno, nothing trusts what the region holds.
 *   - While the shim is inert (not open, open failed, closed, or in a forked child) every call
 *     returns at once; a handle got then, or from a full table, is a no-op handle. What a full
 *     table refuses is counted in the region.
 *   - Every call may be made from any thread, and from a signal handler unless it says otherwise.
 *     A forked child is inert until it opens a region of its own. A daemon opens after daemon(3):
 *     a process that ends without fwdscope_close() reads as crashed. A child that shares its
 *     parent's memory (vfork) is its parent to the shim.
 *   - A handler returns to the call that it interrupted. One that leaves it by siglongjmp() leaves
 *     that call done in part; its thread then writes through the shared lane, whose log lines and
 *     spans may all be dropped, and counted. Never leave open, close, registration or the config
 *     calls that way: their mutex stays locked.
 *   - Strings are copied before the call returns. NULL reads as "". Limits: names, units and keys
 *     255 bytes, longer ones refused; descriptions and queries 1,024, span names and status
 *     messages 255, longer ones cut; attribute values 1,024 and log lines 16,384, longer ones cut
 *     and counted (every cut is at a UTF-8 boundary); 32 attributes and 2 KiB of attributes a span,
 *     record or instrument, the rest dropped and counted.
 *   - Times are nanoseconds since the Unix epoch; 0 means now where a time is asked for.
 *
 * C11, valid C++17. Needs libc and pthreads only.
 */
#ifndef FWDSCOPE_H
#define FWDSCOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FWDSCOPE_API __attribute__((visibility("default")))
#else
#define FWDSCOPE_API
#endif

/* ---- attributes ------------------------------------------------------------------------------ */

enum fwdscope_attribute_type {
    FWDSCOPE_STRING = 1,
    FWDSCOPE_INT = 2,
    FWDSCOPE_DOUBLE = 3,
    FWDSCOPE_BOOL = 4
};

/* One attribute: a key and a typed value. Make it with one of the four functions below. */
struct fwdscope_attribute {
    const char *key;
    enum fwdscope_attribute_type type;
    union {
        const char *string;
        int64_t integer;
        double real;
        bool boolean;
    } value;
};

static inline struct fwdscope_attribute fwdscope_string(const char *key, const char *value)
{
    struct fwdscope_attribute a;
    a.key = key;
    a.type = FWDSCOPE_STRING;
    a.value.string = value;
    return a;
}

static inline struct fwdscope_attribute fwdscope_int(const char *key, int64_t value)
{
    struct fwdscope_attribute a;
    a.key = key;
    a.type = FWDSCOPE_INT;
    a.value.integer = value;
    return a;
}

static inline struct fwdscope_attribute fwdscope_double(const char *key, double value)
{
    struct fwdscope_attribute a;
    a.key = key;
    a.type = FWDSCOPE_DOUBLE;
    a.value.real = value;
    return a;
}

static inline struct fwdscope_attribute fwdscope_bool(const char *key, bool value)
{
    struct fwdscope_attribute a;
    a.key = key;
    a.type = FWDSCOPE_BOOL;
    a.value.boolean = value;
    return a;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* What fwdscope_open() is told. Zero every field that is not set: zero is the default. */
struct fwdscope_options {
    const char *service_name;    /* service.name of the resource; default: $OTEL_SERVICE_NAME. One
                                    of the two is required */
    const char *service_version; /* default "" (absent) */
    const char *instance;        /* what the forwarder calls itself; default: the service name.
                                    Lives of one instance are generations of each other. */
    const char *instance_id;     /* service.instance.id; default: the region's UUID */
    const char *metric_prefix;   /* of the standard pipeline metrics; default "forwarder" */
    const struct fwdscope_attribute *resource; /* further resource attributes */
    size_t resource_count;
    const char *directory;         /* default: $FWDSCOPE_DIR; else /run/fwdscope if it is a
                                      writable tmpfs; else /dev/shm/fwdscope-UID, made 0700 */
    uint32_t lanes;                /* 2..64, default 8: threads that write at full speed, + 1 */
    uint32_t instruments;          /* 16..65536, default 1024 */
    uint32_t active_spans;         /* 1..4096, default 256 */
    uint32_t log_ring_bytes;       /* a lane; 64 KiB..64 MiB, rounded up to a power of two;
                                      default 512 KiB */
    uint32_t span_ring_bytes;      /* a lane; 16 KiB..64 MiB, likewise; default 256 KiB */
    uint32_t heartbeat_interval_ms; /* how often at least fwdscope_heartbeat() or a record will
                                      come, idle or not; 0: no promise, so never called stalled */
    bool allow_disk;               /* take a directory that is not tmpfs: writes to a disk-backed
                                      map can stall the forwarder for 100s of ms */
    bool drop_previous_life;       /* do not keep the last dead region of this instance */
    bool sealed_memfd;             /* a sealed memfd instead of a file: attach by pid only, as the
                                      same user or root (`fwdscope serve --pid`). It can be cut or
                                      written to by nobody, not even the owner, and is gone with the
                                      process, its evidence too unless a sidecar was attached.
                                      Directories, FWDSCOPE_DIR and drop_previous_life mean nothing
                                      then. Needs Linux 5.1. */
    uint32_t subject_pid;          /* for adapters: the process that the region tells of, in the
                                      pid namespace of this one; 0: this process */
};

/*
 * Makes the region and turns the shim on. True: on. False: the shim stays inert, the forwarder
 * runs on, and fwdscope_reason() says why. Never blocks longer than the file system does; meant for
 * start-up, not for the hot path. Not from a signal handler. One region a process: a second open
 * without a close between is refused.
 */
FWDSCOPE_API bool fwdscope_open(const struct fwdscope_options *options);

/* Why the shim is inert, one line naming cause and cure, or "" when it is on. The text stays valid
 * until the next open. Thread rule: call it from the thread that opens. */
FWDSCOPE_API const char *fwdscope_reason(void);

/* Whether the shim is on in this process. */
FWDSCOPE_API bool fwdscope_is_on(void);

/* Path of the open region, "" when inert; of a memfd, "/proc/PID/fd/N". Valid until the next
 * open. */
FWDSCOPE_API const char *fwdscope_path(void);

enum fwdscope_close_kind {
    FWDSCOPE_CLOSED = 0, /* the forwarder ends in good order */
    FWDSCOPE_CRASHED = 1 /* for adapters: the subject died, this process only reports it */
};

/*
 * Turns the shim off and marks the region closed, with a reason in words (at most 255 bytes). The
 * file stays, for the reader's last look; the next life of the instance removes it. The map stays
 * until the process ends, so a thread inside a call is safe. Not from a signal handler.
 */
FWDSCOPE_API void fwdscope_close(enum fwdscope_close_kind kind, const char *reason);

/* Says that the caller is alive. Cheap: one store to the calling thread's own line. Every span,
 * log line and batch says the same; a main loop that may be idle calls this. */
FWDSCOPE_API void fwdscope_heartbeat(void);

/* ---- the end, as evidence (each linked only when it is called) --------------------------------- */

/*
 * Notes a fatal signal in the region, for forwarders with a crash handler of their own: its number,
 * the address that it is about, and the kernel's id of the thread. The first one noted stays.
 * Number 0 takes back what that thread noted: it was not fatal after all. True: noted, or taken
 * back.
 */
#define FWDSCOPE_NO_ADDRESS UINT64_MAX /* somebody sent the signal */
FWDSCOPE_API bool fwdscope_signal_mark(int number, uint64_t address, uint64_t thread);

/*
 * Catches SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP and SIGSYS, where they are not ignored:
 * notes the signal, then hands it to the handler that was there, in its way (its mask, its flags,
 * the same siginfo), or to the default action: exit status, core flag and core are those without
 * us. Call it once, after the forwarder installed its own handlers. A handler that returns and
 * leaves the signal caught has survived it: the note is taken back; one that leaves by siglongjmp()
 * takes it back itself, by number 0.
 *
 * A stack overflow is noted only where the thread has an alternate stack (sigaltstack); else the
 * kernel ends the process and the region shows a crash without a signal, as after SIGKILL. False:
 * a signal could not be caught. Not from a signal handler.
 */
FWDSCOPE_API bool fwdscope_fatal_signals_catch(void);

/*
 * From now on each line that the process writes to standard error also becomes a log record: of
 * unknown severity, with the attribute log.iostream = "stderr", stamped when it is taken. Lines of
 * more than 16 KiB become several records. Every byte still goes to where standard error goes now,
 * in order. For that, descriptor 2 becomes a pipe of 1 MiB that a thread (and a lane) empties.
 *
 *   - Lost with the process is what is still in the pipe when it ends without a chance to empty it:
 *     SIGKILL, the OOM killer, _exit(), quick_exit(), a fatal signal that nobody catches. That is
 *     what was written in the last moment, usually nothing. After
 *     fwdscope_fatal_signals_catch() those signals empty it first; before _exit() call
 *     fwdscope_stderr_flush().
 *   - exit() and fwdscope_close() empty the pipe too, and wait for at most a second each.
 *   - Standard error that blocks, blocks the forwarder as before, 1 MiB later. One that does not
 *     wait (O_NONBLOCK) does not wait here either. When nobody reads it (EPIPE) the capture ends
 *     and the forwarder has its own descriptor back.
 *   - Descriptor 2 is no terminal any more. Lines of more than 4 KiB from several threads at once
 *     may mix, as on any pipe. Children made by fork() have the original; those of posix_spawn(),
 *     system() and popen() have the pipe, are captured too, and lose it with the process.
 *   - Call it after daemonising, and do not close descriptors that are not yours afterwards: with
 *     the original closed, standard error leads nowhere.
 *
 * True: captured. False, and nothing has changed: the shim is off, there is no standard error,
 * descriptor, memory or thread for it, or it was released and a child still holds the pipe. Not
 * from a signal handler.
 */
FWDSCOPE_API bool fwdscope_stderr_capture(void);

/* Empties the pipe of a captured standard error, for at most `ms` milliseconds. True: everything
 * written before the call is where standard error goes, and in the region; or nothing is captured.
 * Waits; meant for the end of the process, also from a signal handler. */
FWDSCOPE_API bool fwdscope_stderr_flush(unsigned ms);

/* Ends the capture: empties the pipe and gives the forwarder its own standard error back. exit()
 * does it; before execve() in the same process it is the forwarder's to call. */
FWDSCOPE_API void fwdscope_stderr_release(void);

/* ---- instruments ----------------------------------------------------------------------------- */

/* Handles are values: copy them freely. All zero is the no-op handle. */
typedef struct { uint64_t id; } fwdscope_counter;
typedef struct { uint64_t id; } fwdscope_total;
typedef struct { uint64_t id; } fwdscope_updown;
typedef struct { uint64_t id; } fwdscope_gauge;
typedef struct { uint64_t id; } fwdscope_histogram;

/* What every instrument is described by. Names: letter, then letters, digits, _ . / - ; unit in
 * UCUM ("By", "s", "{line}", "1"). */
struct fwdscope_instrument {
    const char *name; /* required */
    const char *unit;
    const char *description;
    const struct fwdscope_attribute *attributes;
    size_t attribute_count;
};

/* Registration: takes a private mutex, so not from a signal handler. The same name, kind and
 * attributes registered again give the same instrument. */
FWDSCOPE_API fwdscope_counter fwdscope_counter_register(const struct fwdscope_instrument *what);
FWDSCOPE_API fwdscope_total fwdscope_total_register(const struct fwdscope_instrument *what);
FWDSCOPE_API fwdscope_updown fwdscope_updown_register(const struct fwdscope_instrument *what);
FWDSCOPE_API fwdscope_gauge fwdscope_gauge_register(const struct fwdscope_instrument *what);
FWDSCOPE_API fwdscope_gauge fwdscope_int_gauge_register(const struct fwdscope_instrument *what);
/* bounds: upper, inclusive, finite, increasing; 1..128 of them. */
FWDSCOPE_API fwdscope_histogram fwdscope_histogram_register(const struct fwdscope_instrument *what,
                                                            const double *bounds, size_t count);

/* Adds to a monotonic sum. */
FWDSCOPE_API void fwdscope_counter_add(fwdscope_counter counter, uint64_t n);
/* Sets a monotonic sum that somebody else counts. Absent until it is first set. */
FWDSCOPE_API void fwdscope_total_set(fwdscope_total total, uint64_t value);
/* Adds to a sum that may fall. */
FWDSCOPE_API void fwdscope_updown_add(fwdscope_updown updown, int64_t n);
/* Sets a gauge; the last writer wins. Absent until first set. A gauge holds what it was registered
 * for: set on an int gauge rounds toward zero, and makes it absent where no int64_t is the value
 * (not-a-number, infinite, too large); set_int on a double gauge converts. */
FWDSCOPE_API void fwdscope_gauge_set(fwdscope_gauge gauge, double value);
FWDSCOPE_API void fwdscope_gauge_set_int(fwdscope_gauge gauge, int64_t value);
/* Makes a gauge absent again: its series has ended. */
FWDSCOPE_API void fwdscope_gauge_clear(fwdscope_gauge gauge);
/* Records one measurement; not-a-number and infinities are counted as dropped instead. */
FWDSCOPE_API void fwdscope_histogram_record(fwdscope_histogram histogram, double value);

/* ---- pipelines ------------------------------------------------------------------------------- */

typedef struct { uint64_t id; } fwdscope_pipeline;
typedef struct { uint64_t id; } fwdscope_component;

/* What a component counts. As a bit (1u << x) in `absent`: the forwarder does not have that
 * counter, so it is left out everywhere instead of reading 0. */
enum fwdscope_count {
    FWDSCOPE_LINES = 0, /* input and output: lines; transform: lines in */
    FWDSCOPE_BYTES = 1,
    FWDSCOPE_ERRORS = 2,
    FWDSCOPE_ROTATIONS = 3,
    FWDSCOPE_PARSE_ERRORS = 4
};

enum fwdscope_health {
    FWDSCOPE_HEALTHY = 0,
    FWDSCOPE_DEGRADED = 1,
    FWDSCOPE_STARTING = 2,
    FWDSCOPE_STOPPING = 3,
    FWDSCOPE_STOPPED = 4,
    FWDSCOPE_FAILED = 5
};

/* The fields of a batch, for a pipeline's `absent` bits. */
enum fwdscope_batch_field {
    FWDSCOPE_BATCH_BATCHES = 1,
    FWDSCOPE_BATCH_ROWS = 2,
    FWDSCOPE_BATCH_FLUSH_SIZE = 3,
    FWDSCOPE_BATCH_FLUSH_TIMEOUT = 4,
    FWDSCOPE_BATCH_FLUSH_DRAIN = 5,
    FWDSCOPE_BATCH_DROPPED = 6,
    FWDSCOPE_BATCH_SCAN_ERRORS = 7,
    FWDSCOPE_BATCH_PARSE_ERRORS = 8,
    FWDSCOPE_BATCH_LATENCY = 9,
    FWDSCOPE_BATCH_SCAN = 10,
    FWDSCOPE_BATCH_TRANSFORM = 11,
    FWDSCOPE_BATCH_OUTPUT = 12,
    FWDSCOPE_BATCH_QUEUE_WAIT = 13,
    FWDSCOPE_BATCH_SEND = 14,
    FWDSCOPE_BATCH_STALLS = 15,
    FWDSCOPE_BATCH_INFLIGHT = 16
};

/* Registration, as for instruments; at most 16 pipelines and 64 components a region. A name seen
 * again (in its pipeline and role) gives the same handle. An input begins as starting, an output
 * or a transform as healthy. A pipeline has one transform; `query` is shown as its "sql", at most
 * its first 1,024 bytes. */
FWDSCOPE_API fwdscope_pipeline fwdscope_pipeline_register(const char *name, uint32_t absent);
FWDSCOPE_API fwdscope_component fwdscope_input_register(fwdscope_pipeline pipeline, const char *name,
                                                        const char *type, uint32_t absent);
FWDSCOPE_API fwdscope_component fwdscope_transform_register(fwdscope_pipeline pipeline,
                                                            const char *query, uint32_t absent);
FWDSCOPE_API fwdscope_component fwdscope_output_register(fwdscope_pipeline pipeline,
                                                         const char *name, const char *type,
                                                         uint32_t absent);

/* Adds lines and bytes at once: the hot call of an input or output. */
FWDSCOPE_API void fwdscope_component_progress(fwdscope_component component, uint64_t lines,
                                              uint64_t bytes);
/* Adds to one counter. */
FWDSCOPE_API void fwdscope_component_add(fwdscope_component component, enum fwdscope_count which,
                                         uint64_t n);
/* Sets one counter to a total that somebody else counts (adapters). A counter is either added to
 * or set, never both. */
FWDSCOPE_API void fwdscope_component_set(fwdscope_component component, enum fwdscope_count which,
                                         uint64_t total);
FWDSCOPE_API void fwdscope_component_health(fwdscope_component component,
                                            enum fwdscope_health health);
/* Depth and capacity of the queue in front of an output or behind an input, in its own items.
 * Capacity 0: not known, so left out everywhere. */
FWDSCOPE_API void fwdscope_component_queue(fwdscope_component component, uint64_t depth,
                                           uint64_t capacity);
/* The output's destination took something at that time. */
FWDSCOPE_API void fwdscope_output_success(fwdscope_component output, uint64_t unix_ns);

/* What is added to a pipeline's batch accounting; one call is one consistent step to a reader. */
struct fwdscope_batch {
    uint64_t batches;
    uint64_t rows;
    uint64_t flush_by_size;
    uint64_t flush_by_timeout;
    uint64_t flush_by_drain;
    uint64_t dropped_batches;
    uint64_t scan_errors;
    uint64_t parse_errors;
    uint64_t latency_ns; /* sum over the batches, first line read to last byte accepted */
    uint64_t scan_ns;
    uint64_t transform_ns;
    uint64_t output_ns;
    uint64_t queue_wait_ns;
    uint64_t send_ns;
    uint64_t backpressure_stalls; /* times that the input had to wait for room */
    int64_t inflight;             /* +1 when a batch begins, -1 when it is done with */
    uint64_t finished_unix_ns;    /* when the last of them finished; 0: leave as it is */
};
FWDSCOPE_API void fwdscope_batch_add(fwdscope_pipeline pipeline, const struct fwdscope_batch *batch);

/* ---- spans ----------------------------------------------------------------------------------- */

/* A span belongs to one thread at a time; its handle may be passed on to another thread by any
 * means that synchronises (a queue, a join). Calls on an ended or no-op span do nothing, nor do
 * those that come, from a signal handler, say, while another call is changing the same span. */
typedef struct { uint64_t id; } fwdscope_span;

enum fwdscope_span_kind {
    FWDSCOPE_SPAN_INTERNAL = 1,
    FWDSCOPE_SPAN_SERVER = 2,
    FWDSCOPE_SPAN_CLIENT = 3,
    FWDSCOPE_SPAN_PRODUCER = 4,
    FWDSCOPE_SPAN_CONSUMER = 5
};
enum fwdscope_span_status {
    FWDSCOPE_STATUS_UNSET = 0,
    FWDSCOPE_STATUS_OK = 1,
    FWDSCOPE_STATUS_ERROR = 2
};

/* Starts a root span with a trace id of its own. No free slot: a no-op span, counted. */
FWDSCOPE_API fwdscope_span fwdscope_span_start(const char *name, enum fwdscope_span_kind kind,
                                               uint64_t start_unix_ns);
/* Starts a child. A parent that has ended or is a no-op makes it a root. */
FWDSCOPE_API fwdscope_span fwdscope_span_child(fwdscope_span parent, const char *name,
                                               enum fwdscope_span_kind kind,
                                               uint64_t start_unix_ns);
/* Sets attributes; a key set before is replaced. One call is one consistent step to a reader. */
FWDSCOPE_API void fwdscope_span_set(fwdscope_span span, const struct fwdscope_attribute *attributes,
                                    size_t count);
/* Names the stage that the span is in (at most 31 bytes), since now: seen while it is active.
 * The standard stages of a batch are "queued", "scan", "transform", "output". */
FWDSCOPE_API void fwdscope_span_stage(fwdscope_span span, const char *stage);
FWDSCOPE_API void fwdscope_span_status(fwdscope_span span, enum fwdscope_span_status status,
                                       const char *message);
/* Ends the span: it leaves the table of active spans and enters the ring of finished ones. An end
 * before the start counts as the start. */
FWDSCOPE_API void fwdscope_span_end(fwdscope_span span, uint64_t end_unix_ns);

/* ---- log lines ------------------------------------------------------------------------------- */

/* The forwarder's own diagnostic messages, never the payload that it forwards. */
enum fwdscope_severity {
    FWDSCOPE_SEVERITY_UNKNOWN = 0,
    FWDSCOPE_TRACE = 1,
    FWDSCOPE_DEBUG = 5,
    FWDSCOPE_INFO = 9,
    FWDSCOPE_NOTICE = 10,
    FWDSCOPE_WARN = 13,
    FWDSCOPE_ERROR = 17,
    FWDSCOPE_CRITICAL = 18,
    FWDSCOPE_ALERT = 19,
    FWDSCOPE_FATAL = 21
};

struct fwdscope_log_record {
    enum fwdscope_severity severity; /* 0..24 as OTLP numbers them */
    const char *severity_text;       /* as at the source; may be NULL */
    const char *body;                /* any bytes; NUL and invalid UTF-8 are repaired when read */
    size_t body_bytes;
    uint64_t time_unix_ns; /* the line's own time; 0: now */
    fwdscope_span span;    /* the span that it belongs to, or the no-op span */
    const struct fwdscope_attribute *attributes;
    size_t attribute_count;
};

FWDSCOPE_API void fwdscope_log(enum fwdscope_severity severity, const char *body,
                               size_t body_bytes);
FWDSCOPE_API void fwdscope_log_record(const struct fwdscope_log_record *record);

/* ---- config document ------------------------------------------------------------------------- */

/*
 * Publishes the forwarder's configuration, already redacted. Forwarders with a YAML configuration
 * call fwdscope_config_publish() of fwdscope_config.h, which redacts and then calls this. At most
 * 64 KiB; a longer text is not published and the reason is. Takes a private mutex.
 */
FWDSCOPE_API void fwdscope_config_publish_redacted(const char *path, const char *text,
                                                   size_t text_bytes);
/* Says why there is no configuration to show (at most 255 bytes). */
FWDSCOPE_API void fwdscope_config_refuse(const char *path, const char *reason);

#ifdef __cplusplus
}
#endif

#endif
