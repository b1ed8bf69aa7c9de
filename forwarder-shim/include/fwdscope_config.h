/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing a YAML configuration through the shim: a library of its own (libfwdscope-config, on
 * libyaml), so that the core needs libc only.
 */
#ifndef FWDSCOPE_CONFIG_H
#define FWDSCOPE_CONFIG_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Redacts `yaml` and publishes it under `path`. Not YAML, too long, or out of memory: the document
 * is not published, the reason is. Does nothing while the shim is inert. Allocates; call it at
 * start-up and on reload, not from a signal handler.
 */
__attribute__((visibility("default"))) void fwdscope_config_publish(const char *path,
                                                                    const char *yaml, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
