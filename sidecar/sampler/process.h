/* SPDX-License-Identifier: Apache-2.0 */
/* What the host says: figures of processes from /proc, names of this host from the environment. */
#ifndef SIDECAR_PROCESS_H
#define SIDECAR_PROCESS_H

#include "model.h"
#include "snapshot.h"

/* Figures of the process that an identity names, if that very process can be seen from here: same
 * boot, same pid namespace, same start time. Else known = false. */
struct process_figures process_read(const struct identity *identity);

/* Figures of this process. */
struct process_figures process_read_self(void);

/* Attributes for the resources of forwarders on this host: host.name, and OTEL_RESOURCE_ATTRIBUTES.
 * A static table, filled at the first call; main thread. */
const struct attribute *process_host_attributes(size_t *count);

/* Whether the region was written under the kernel that runs here now. */
bool process_same_boot(const struct identity *identity);

#endif
