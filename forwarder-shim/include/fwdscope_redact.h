/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redaction of a YAML configuration, on libyaml. Used twice: by the forwarder before its document
 * enters the region, and by the sidecar before it leaves; redacting twice gives the same text.
 */
#ifndef FWDSCOPE_REDACT_H
#define FWDSCOPE_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What stands for a document that could not be redacted. */
#define FWDSCOPE_CONFIG_UNAVAILABLE "<redacted config unavailable>"

/*
 * Returns a new NUL-terminated text, freed by the caller with free(): `yaml` with every secret
 * replaced, or FWDSCOPE_CONFIG_UNAVAILABLE when the input is not YAML (fails closed), or NULL when
 * memory is out. *ok says whether it is the document. Any thread; no state.
 */
__attribute__((visibility("default"))) char *fwdscope_redact_yaml(const char *yaml, size_t bytes,
                                                                  bool *ok);

#ifdef __cplusplus
}
#endif

#endif
