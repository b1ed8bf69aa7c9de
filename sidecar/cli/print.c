/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a region on a terminal. */
#include "cli.h"

#include <stdbool.h>
#include <stdio.h>

void cli_print_safe(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        /* C1 controls are C2 80..9F in UTF-8: dangerous to terminals as well. */
        bool c1 = c == 0xc2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xa0;
        putchar(c < 0x20 || c == 0x7f || c1 ? '?' : c);
        if (c1)
            text++;
    }
}
