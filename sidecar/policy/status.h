/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON bodies of the contract: /live, /ready, /forwarder/live, /admin/v1/status and
 * /admin/v1/config, written from views. Pure; key order is part of the contract.
 */
#ifndef SIDECAR_STATUS_H
#define SIDECAR_STATUS_H

#include "buffer.h"
#include "policy.h"

/* The sampler's account of itself. */
struct sampler_stats {
    uint64_t interval_ms, ticks, last_tick_us, retries, stale, torn, stream_clients, ticks_skipped;
};

/* One consistent view of everything, for one answer. */
struct status_view {
    const struct forwarder_view *const *forwarders; /* current lives, sorted by instance */
    size_t forwarder_count;
    enum attach_trouble trouble;
    const char *trouble_path, *trouble_reason; /* of the worst region not attached, or NULL */
    struct sampler_stats sampler;
    uint64_t observed_unix_ns; /* when the readings were taken */
    uint64_t now_unix_ns;
    uint64_t uptime_seconds; /* of the sidecar */
    const char *version;     /* of the sidecar */
};

void status_write_live(struct buffer *out, const struct status_view *view);
int status_write_ready(struct buffer *out, const struct status_view *view);          /* 200, 503 */
int status_write_forwarder_live(struct buffer *out, const struct status_view *view); /* 200, 503 */
void status_write_status(struct buffer *out, const struct status_view *view);

/* 403 body unless enabled; else path and text as JSON (text was redacted by the caller). */
int status_write_config(struct buffer *out, bool enabled, const char *path, const char *text,
                        size_t text_bytes);

#endif
