#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a program that prints all that layout.h defines, as its compiler sees it: the value of
every name, of the macros with arguments at values that fill every field, and the size and alignment
of a word.

    offsets.py LAYOUT_H OUT.c
"""
import pathlib
import re
import sys

HEAD = r"""/* Made by offsets.py. */
#include "shmlayout/atomic.h"
#include "shmlayout/layout.h"

#include <stdalign.h>
#include <stdio.h>

#define NUMBER(name) printf("%s %llu\n", #name, (unsigned long long)(name))
#define CALL(name, ...) \
    printf("%s(%s) %llu\n", #name, #__VA_ARGS__, (unsigned long long)name(__VA_ARGS__))
#define TEXT(name) printf("%s \"%s\"\n", #name, name)

int main(void)
{
    printf("sizeof(fws_word) %zu, alignof %zu\n", sizeof(fws_word), alignof(fws_word));
"""


def names_of(text):
    """{name: number of its arguments, None: it has none}, in the order of the header."""
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    macros = {name: len(arguments.split(",")) if arguments else None
              for name, arguments in re.findall(r"#define (FWS_\w+)(?:\(([^)]*)\))?", code)}
    return {name: macros.get(name) for name in re.findall(r"\bFWS_\w+", code)}


def statement(name, arguments, texts):
    if arguments is None:
        return f"    {'TEXT' if name in texts else 'NUMBER'}({name});\n"
    # Of one argument: a word to take apart. Of more: each field with a value of its own.
    given = "UINT64_C(0xfedcba9876543210)" if arguments == 1 else \
        ", ".join(str(number + 3) for number in range(arguments))
    return f"    CALL({name}, {given});\n"


def main():
    header = pathlib.Path(sys.argv[1]).read_text()
    texts = set(re.findall(r'#define (FWS_\w+)\s+"', header))
    pathlib.Path(sys.argv[2]).write_text(
        HEAD + "".join(statement(name, arguments, texts)
                       for name, arguments in names_of(header).items()) + "    return 0;\n}\n")


if __name__ == "__main__":
    main()
