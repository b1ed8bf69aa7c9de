/* SPDX-License-Identifier: Apache-2.0 */
/* The config document: one seqlocked slot, written under the registration mutex. */
#include "shim.h"

#include <stdio.h>
#include <string.h>

static void config_write(enum fws_config_state state, const char *path, const char *text,
                         size_t bytes)
{
    struct shim *shim = shim_current();
    if (shim == NULL)
        return;
    if (path == NULL)
        path = "";
    size_t path_bytes =
        text_cut(path, strnlen(path, FWS_CONFIG_PATH_BYTES_MAX + 1), FWS_CONFIG_PATH_BYTES_MAX);
    fws_word *words = shim->config_words;
    pthread_mutex_lock(&shim->registering);
    fws_seq_write_begin(&words[FWS_CONFIG_SEQ], &shim->config_seq);
    fws_publish(&words[FWS_CONFIG_STATE], state);
    fws_publish(&words[FWS_CONFIG_PATH_BYTES], path_bytes);
    fws_publish(&words[FWS_CONFIG_TEXT_BYTES], bytes);
    fws_text_publish(&words[FWS_CONFIG_PATH], path, path_bytes);
    fws_text_publish(&words[FWS_CONFIG_TEXT], text, bytes);
    fws_seq_write_end(&words[FWS_CONFIG_SEQ], &shim->config_seq);
    pthread_mutex_unlock(&shim->registering);
}

void fwdscope_config_refuse(const char *path, const char *reason)
{
    if (reason == NULL)
        reason = "";
    size_t bytes = text_cut(reason, strnlen(reason, FWS_NAME_BYTES_MAX + 1), FWS_NAME_BYTES_MAX);
    config_write(FWS_CONFIG_REFUSED, path, reason, bytes);
}

void fwdscope_config_publish_redacted(const char *path, const char *text, size_t text_bytes)
{
    if (text == NULL)
        return;
    if (text_bytes > FWS_CONFIG_BYTES_MAX) {
        char reason[FWS_NAME_BYTES_MAX + 1];
        snprintf(reason, sizeof reason, "the configuration has %zu bytes, more than %d", text_bytes,
                 (int)FWS_CONFIG_BYTES_MAX);
        fwdscope_config_refuse(path, reason);
        return;
    }
    config_write(FWS_CONFIG_PUBLISHED, path, text, text_bytes);
}
