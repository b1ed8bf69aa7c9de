/* SPDX-License-Identifier: Apache-2.0 */
/* A deliberate slowdown, for the test of the gate: linked with --wrap=fwdscope_log. */
#include "fwdscope.h"

void __real_fwdscope_log(enum fwdscope_severity severity, const char *body, size_t body_bytes);
void __wrap_fwdscope_log(enum fwdscope_severity severity, const char *body, size_t body_bytes);

void __wrap_fwdscope_log(enum fwdscope_severity severity, const char *body, size_t body_bytes)
{
    for (volatile int i = 0; i < 10; i++)
        continue;
    __real_fwdscope_log(severity, body, body_bytes);
}
