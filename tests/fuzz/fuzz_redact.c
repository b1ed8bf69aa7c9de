/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer over the redactor. What it calls a document redacts to itself; what it does not becomes
 * the one fixed text; and a secret that is written under a secret key behind any other document
 * does not come out.
 */
#include "fwdscope_redact.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[] = "qX7vJ2mZ9pL4";

static void check(bool condition, const char *what, const char *text)
{
    if (condition)
        return;
    fprintf(stderr, "%s: %s\n", what, text);
    abort();
}

static void stable_check(const char *yaml, size_t bytes)
{
    bool ok, again_ok;
    char *once = fwdscope_redact_yaml(yaml, bytes, &ok);
    check(once != NULL, "memory", "");
    if (ok) {
        char *again = fwdscope_redact_yaml(once, strlen(once), &again_ok);
        check(again != NULL && again_ok && strcmp(once, again) == 0, "redacted otherwise", once);
        free(again);
    } else {
        check(strcmp(once, FWDSCOPE_CONFIG_UNAVAILABLE) == 0, "another text", once);
    }
    free(once);
}

/* The input with a secret behind it, at the outermost level. */
static void secret_check(const char *yaml, size_t bytes)
{
    char *text = malloc(bytes + 128);
    bool ok;
    check(text != NULL, "memory", "");
    memcpy(text, yaml, bytes);
    const int more = snprintf(text + bytes, 128, "\npassword: %s\n", secret);
    char *redacted = fwdscope_redact_yaml(text, bytes + (size_t)more, &ok);
    check(redacted != NULL, "memory", "");
    check(strstr(redacted, secret) == NULL, "a secret came out", redacted);
    free(redacted);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *yaml = (const char *)data;
    stable_check(yaml, size);
    if (memmem(yaml, size, secret, strlen(secret)) == NULL)
        secret_check(yaml, size);
    return 0;
}
