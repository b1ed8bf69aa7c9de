/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: YAML into one struct. */
#ifndef EXAMPLE_CONFIG_H
#define EXAMPLE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_PATHS_MAX 64

/* Every string is owned and not NULL after config_load(), but for those that say otherwise. */
struct config {
    char *path; /* of the file itself */
    char *text; /* as it was read */
    size_t text_bytes;

    char *service_name;
    char *instance; /* NULL: not given */
    uint32_t heartbeat_ms;

    char *paths[CONFIG_PATHS_MAX]; /* files or globs */
    size_t path_count;
    bool from_end;

    char *include; /* POSIX extended regex, or NULL */
    char *exclude; /* likewise */

    uint32_t batch_rows;
    uint32_t batch_bytes;
    uint32_t batch_timeout_ms;

    bool output_is_file;
    char *address; /* host:port, or the path of a file */
    uint32_t workers;
    uint32_t queue_batches;
    uint32_t retry_min_ms;
    uint32_t retry_max_ms;
    uint32_t send_timeout_ms;
};

/* Reads the file. False: `error` holds one line that names file, line, key and cause. Either way
 * config_free() releases what was read. */
bool config_load(struct config *config, const char *path, char *error, size_t error_bytes);
void config_free(struct config *config);

#endif
