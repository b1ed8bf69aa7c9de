/* SPDX-License-Identifier: Apache-2.0 */
/* No shim at all: every call that the example forwarder makes, doing nothing. What it delivers when
 * linked with this is what it must deliver under any circumstances. */
#include "fwdscope.h"
#include "fwdscope_config.h"

bool fwdscope_open(const struct fwdscope_options *options)
{
    (void)options;
    return false;
}

const char *fwdscope_reason(void)
{
    return "there is no shim in this program";
}

void fwdscope_close(enum fwdscope_close_kind kind, const char *reason)
{
    (void)kind;
    (void)reason;
}

void fwdscope_config_publish(const char *path, const char *yaml, size_t bytes)
{
    (void)path;
    (void)yaml;
    (void)bytes;
}

void fwdscope_heartbeat(void)
{
}

fwdscope_counter fwdscope_counter_register(const struct fwdscope_instrument *what)
{
    (void)what;
    return (fwdscope_counter){0};
}

fwdscope_histogram fwdscope_histogram_register(const struct fwdscope_instrument *what,
                                               const double *bounds, size_t count)
{
    (void)what;
    (void)bounds;
    (void)count;
    return (fwdscope_histogram){0};
}

void fwdscope_counter_add(fwdscope_counter counter, uint64_t n)
{
    (void)counter;
    (void)n;
}

void fwdscope_histogram_record(fwdscope_histogram histogram, double value)
{
    (void)histogram;
    (void)value;
}

fwdscope_pipeline fwdscope_pipeline_register(const char *name, uint32_t absent)
{
    (void)name;
    (void)absent;
    return (fwdscope_pipeline){0};
}

fwdscope_component fwdscope_input_register(fwdscope_pipeline pipeline, const char *name,
                                           const char *type, uint32_t absent)
{
    (void)pipeline;
    (void)name;
    (void)type;
    (void)absent;
    return (fwdscope_component){0};
}

fwdscope_component fwdscope_transform_register(fwdscope_pipeline pipeline, const char *query,
                                               uint32_t absent)
{
    (void)pipeline;
    (void)query;
    (void)absent;
    return (fwdscope_component){0};
}

fwdscope_component fwdscope_output_register(fwdscope_pipeline pipeline, const char *name,
                                            const char *type, uint32_t absent)
{
    return fwdscope_input_register(pipeline, name, type, absent);
}

void fwdscope_component_progress(fwdscope_component component, uint64_t lines, uint64_t bytes)
{
    (void)component;
    (void)lines;
    (void)bytes;
}

void fwdscope_component_add(fwdscope_component component, enum fwdscope_count which, uint64_t n)
{
    (void)component;
    (void)which;
    (void)n;
}

void fwdscope_component_health(fwdscope_component component, enum fwdscope_health health)
{
    (void)component;
    (void)health;
}

void fwdscope_component_queue(fwdscope_component component, uint64_t depth, uint64_t capacity)
{
    (void)component;
    (void)depth;
    (void)capacity;
}

void fwdscope_output_success(fwdscope_component output, uint64_t unix_ns)
{
    (void)output;
    (void)unix_ns;
}

void fwdscope_batch_add(fwdscope_pipeline pipeline, const struct fwdscope_batch *batch)
{
    (void)pipeline;
    (void)batch;
}

fwdscope_span fwdscope_span_start(const char *name, enum fwdscope_span_kind kind,
                                  uint64_t start_unix_ns)
{
    (void)name;
    (void)kind;
    (void)start_unix_ns;
    return (fwdscope_span){0};
}

fwdscope_span fwdscope_span_child(fwdscope_span parent, const char *name,
                                  enum fwdscope_span_kind kind, uint64_t start_unix_ns)
{
    (void)parent;
    return fwdscope_span_start(name, kind, start_unix_ns);
}

void fwdscope_span_set(fwdscope_span span, const struct fwdscope_attribute *attributes,
                       size_t count)
{
    (void)span;
    (void)attributes;
    (void)count;
}

void fwdscope_span_stage(fwdscope_span span, const char *stage)
{
    (void)span;
    (void)stage;
}

void fwdscope_span_status(fwdscope_span span, enum fwdscope_span_status status, const char *message)
{
    (void)span;
    (void)status;
    (void)message;
}

void fwdscope_span_end(fwdscope_span span, uint64_t end_unix_ns)
{
    (void)span;
    (void)end_unix_ns;
}

void fwdscope_log_record(const struct fwdscope_log_record *record)
{
    (void)record;
}
