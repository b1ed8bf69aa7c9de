/* SPDX-License-Identifier: Apache-2.0 */
/* What a region holds as metrics.jsonl, traces.jsonl and logs.jsonl. */
#ifndef SIDECAR_CLI_OTLP_FILES_H
#define SIDECAR_CLI_OTLP_FILES_H

#include "sampler.h"

/* Writes the three files into a directory, which is made when it is not there. Nothing that is
 * there is overwritten, and nothing is left when it fails. Returns an exit code; says on standard
 * output what was written, on standard error why not. */
int otlp_files_write(struct sampler *sampler, const char *dir_name);

#endif
