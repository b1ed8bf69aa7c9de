/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through a whole region that says what is wrong, and where. There is no second parser: the
 * region is opened, sampled and drained by the code that serves everybody, which notes what it
 * leaves out; here is only what no reading needs to look at.
 */
#include "snapshot_private.h"

#include <stdlib.h>

enum { RECORDS_MAX = 1 << 24 }; /* of a writer that is faster than the walk */

/* Where `at` is in its section, as lane and index of the entry that it belongs to. */
static void finding_place(const struct region *region, enum fws_section kind, uint64_t word,
                          struct finding *out)
{
    const struct section *section = &region->sections[kind];
    const uint64_t entry = (word - (uint64_t)(section->words - region->view.words)) /
                           (section->stride != 0 ? section->stride : 1);
    out->section = fws_section_name((uint64_t)kind);
    out->lane = section->count != 0 ? entry / section->count : 0;
    out->index = section->count != 0 ? entry % section->count : 0;
}

void finding_add(struct region *region, bool wrong, enum fws_section kind, const fws_word *at,
                 const char *what)
{
    struct findings *findings = region->findings;
    if (findings == NULL)
        return;
    *(wrong ? &findings->verified.wrong : &findings->verified.torn) += 1;
    if (findings->count == FINDINGS_MAX)
        return;
    const uint64_t word = (uint64_t)(at - region->view.words);
    struct finding *finding = &findings->list[findings->count++];
    *finding = (struct finding){.wrong = wrong, .section = "header", .index = word, .what = what};
    finding->offset = word * FWS_WORD_BYTES;
    if (kind != FWS_SECTION_NONE)
        finding_place(region, kind, word, finding);
}

/* ---- what opening the region found ----------------------------------------------------------- */

static void directory_verify(struct region *region)
{
    const uint64_t *prefix = region->view.prefix;
    for (size_t i = 0; i < region->report_count; i++) {
        const struct section_report *report = &region->reports[i];
        const bool of_ring =
            report->kind == FWS_SECTION_SPAN_RINGS || report->kind == FWS_SECTION_LOG_RINGS;
        region->findings->verified.sections++;
        if (report->refused == NULL || (of_ring && report->refused == region->notes[report->kind]))
            continue; /* sound, or told ring by ring */
        finding_add(region, true, FWS_SECTION_NONE, region->view.words, report->refused);
        /* There are fewer sections than findings are told. */
        struct finding *finding = &region->findings->list[region->findings->count - 1];
        finding->section = "directory";
        finding->index = i;
        finding->offset = prefix[FWS_H_DIR_OFFSET] + i * prefix[FWS_H_DIR_STRIDE];
    }
}

static void rings_verify(struct region *region)
{
    for (size_t i = 0; i < region->ring_count; i++) {
        const struct ring *ring = &region->rings[i];
        const enum fws_section kind =
            ring->kind == RECORD_SPAN ? FWS_SECTION_SPAN_RINGS : FWS_SECTION_LOG_RINGS;
        region->findings->verified.rings++;
        if (ring->corrupt)
            finding_add(region, true, kind, section_entry(&region->sections[kind], ring->lane, 0),
                        "its control line is not that of a ring");
    }
}

/* ---- what no reading looks at ---------------------------------------------------------------- */

/* [guarded] Words that are taken as something else when they are none of those there are. */
static void header_verify(struct region *region)
{
    const fws_word *header = region->view.words;
    const uint64_t state = fws_peek(&header[FWS_H_STATE]);
    if (state < FWS_STATE_RUNNING || state > FWS_STATE_CLOSED_CRASHED)
        finding_add(region, true, FWS_SECTION_NONE, &header[FWS_H_STATE],
                    "the state is neither running nor closed");
    if (fws_peek(&header[FWS_H_SIGNAL]) > 64)
        finding_add(region, true, FWS_SECTION_NONE, &header[FWS_H_SIGNAL], "no signal of Linux");
}

/* [guarded] A table is filled from its beginning: behind a free entry all are free. */
static void table_verify(struct region *region, enum fws_section kind, size_t seen)
{
    const struct section *section = &region->sections[kind];
    for (size_t i = seen + 1; section->words != NULL && i < section->count; i++) {
        const fws_word *entry = section_entry(section, 0, i);
        /* Acquire: if a writer published it just now, it published the ones before as well. */
        if (fws_observe(entry) != 0 && fws_peek(section_entry(section, 0, seen)) == 0)
            finding_add(region, true, kind, entry, "published behind a free entry");
    }
}

/* [guarded] Whether a component's words are those that there are. */
static void components_verify(struct region *region)
{
    const struct catalogue *c = &region->catalogue;
    const struct section *section = &region->sections[FWS_SECTION_COMPONENTS];
    for (size_t i = 0; i < c->component_count; i++) {
        const fws_word *words = section_entry(section, 0, c->components[i].index);
        if (fws_peek(&words[FWS_C_HEALTH]) > FWS_FAILED)
            finding_add(region, true, FWS_SECTION_COMPONENTS, words, "its health is none there is");
        if (fws_peek(&words[FWS_C_QUEUE]) > 1)
            finding_add(region, true, FWS_SECTION_COMPONENTS, words,
                        "its queue is neither known nor unknown");
    }
}

/* [guarded] */
static void rest_verify(void *arg)
{
    struct region *region = arg;
    const struct catalogue *c = &region->catalogue;
    header_verify(region);
    table_verify(region, FWS_SECTION_INSTRUMENTS, c->instruments_read.seen);
    table_verify(region, FWS_SECTION_PIPELINES, c->pipelines_read.seen);
    table_verify(region, FWS_SECTION_COMPONENTS, c->components_read.seen);
    components_verify(region);
}

/* [guarded] A record that was begun and not ended: the one that the writer died at. */
static void tails_verify(void *arg)
{
    struct region *region = arg;
    for (size_t i = 0; i < region->ring_count; i++) {
        const struct ring *ring = &region->rings[i];
        if (ring->corrupt)
            continue;
        const uint64_t tail = fws_observe(&ring->reader.control[FWS_R_TAIL]);
        if (fws_peek(&ring->reader.control[FWS_R_INTENT]) != tail)
            finding_add(region, false,
                        ring->kind == RECORD_SPAN ? FWS_SECTION_SPAN_RINGS : FWS_SECTION_LOG_RINGS,
                        ring_word(ring, tail), "a record that was begun and not ended");
    }
}

/* ---- the walk -------------------------------------------------------------------------------- */

static void ignore_record(void *arg, const struct record *record)
{
    (void)arg;
    (void)record;
}

static void snapshot_count(struct region *region, const struct snapshot *snapshot,
                           struct verified *out)
{
    out->instruments = region->catalogue.instruments_read.seen;
    out->pipelines = region->catalogue.pipelines_read.seen;
    out->components = region->catalogue.components_read.seen;
    out->histograms =
        region->catalogue.distribution_count * region->sections[FWS_SECTION_VALUES].lanes;
    out->batch_groups =
        region->catalogue.pipeline_count * region->sections[FWS_SECTION_BATCHES].lanes;
    out->active_slots = region->sections[FWS_SECTION_ACTIVE_SPANS].count;
    out->active_spans = snapshot->active_span_count;
    out->attributes += region->resource_count;
    for (size_t i = 0; i < snapshot->instrument_count; i++)
        out->attributes += snapshot->instruments[i].attribute_count;
    size_t spans;
    const struct span *active = region_active_spans(region, &spans);
    for (size_t i = 0; i < spans; i++)
        out->attributes += active[i].attribute_count;
    for (size_t i = 0; i < region->ring_count; i++)
        out->overwritten += region->rings[i].reader.lost;
    out->config = region->configs[region->config_current].state;
}

bool region_verify(struct region *region, uint64_t time_unix_ns, uint64_t mono_ns,
                   void (*sink)(void *arg, const struct finding *finding), void *arg,
                   struct verified *out)
{
    struct findings *findings = calloc(1, sizeof *findings);
    if (findings == NULL)
        return false;
    region->findings = findings;
    directory_verify(region);
    rings_verify(region);
    const struct snapshot *snapshot = region_sample(region, time_unix_ns, mono_ns);
    if (!region->truncated && !fws_view_guard(&region->view, rest_verify, region))
        region->truncated = true;
    (void)region_drain(region, RECORDS_MAX, ignore_record, NULL, NULL);
    if (!region->truncated && !fws_view_guard(&region->view, tails_verify, region))
        region->truncated = true;
    findings->verified.truncated = region->truncated;
    snapshot_count(region, snapshot, &findings->verified);
    region->findings = NULL;
    for (size_t i = 0; i < findings->count; i++)
        sink(arg, &findings->list[i]);
    *out = findings->verified;
    free(findings);
    return true;
}
