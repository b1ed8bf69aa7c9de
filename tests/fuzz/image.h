/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A good region image, made by the shim with every section filled, and everything that the sidecar
 * does to a region file, in this process: attach, snapshot, drain, decode, dump, inspect.
 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include "snapshot.h"

#include "shmlayout/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
    uint64_t *words; /* freed by the caller */
    size_t count;
};

/* A new directory on tmpfs, and its removal with all that is in it. */
void scratch_make(char dir[64]);
void scratch_remove(const char *dir);

/* Opens the shim in dir and fills every section. False: it is inert. */
bool shim_fill(const char *dir);

/* The image of a running forwarder; once a process. Ends the process when that fails. */
struct image image_make(const char *dir);

/* The checksum of the prefix, after a change. */
void image_stamp(uint64_t *words);

/* The directory entry of a section; NULL: there is none. */
uint64_t *image_entry(uint64_t *words, enum fws_section kind);

/* ---- reading --------------------------------------------------------------------------------- */

/* What a reading serves, as digests: equal digests, equal readings. */
enum part {
    PART_RESOURCE,
    PART_INSTRUMENTS,
    PART_PIPELINES,
    PART_ACTIVE_SPANS,
    PART_SPANS,
    PART_LOGS,
    PART_CONFIG,
    PART_LANES,
    PARTS,
};
/* The sections on which a part depends, a bit each. */
extern const unsigned part_sections[PARTS];

struct reading {
    enum attach_result result;
    char why[1024];
    uint64_t parts[PARTS];
    unsigned refused; /* sections that are not served whole, a bit each */
    size_t records, undecoded;
};

/* Reads the region at path three times over, drains and decodes it. */
void reading_take(const char *path, struct reading *out);

/* ---- commands -------------------------------------------------------------------------------- */

/* Output of a command that was run in this process. */
struct output {
    int code;
    char *out, *error; /* freed by output_free() */
    size_t out_bytes, error_bytes;
};

void command_run(struct output *output, const char *command, const char *format, const char *path);
void output_free(struct output *output);

/* What is wrong with the output of such a command, or NULL: an exit code that says something else
 * than "printed" or "refused", a refusal of another size than one line, text with control
 * characters, documents that are no JSON. */
const char *output_fault(const struct output *output, bool json);

#endif
