/* SPDX-License-Identifier: Apache-2.0 */
/* Redacts a YAML configuration and hands it to the shim. */
#include "fwdscope_config.h"

#include <stdlib.h>
#include <string.h>

#include "fwdscope.h"
#include "fwdscope_redact.h"

void fwdscope_config_publish(const char *path, const char *yaml, size_t bytes)
{
    if (!fwdscope_is_on())
        return;
    bool ok = false;
    char *text = fwdscope_redact_yaml(yaml, bytes, &ok);
    if (text == NULL)
        fwdscope_config_refuse(path, "out of memory while redacting");
    else if (!ok)
        fwdscope_config_refuse(path, "not YAML that can be redacted safely");
    else
        fwdscope_config_publish_redacted(path, text, strlen(text));
    free(text);
}
