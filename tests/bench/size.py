# SPDX-License-Identifier: Apache-2.0
"""How much the shim adds to a forwarder: size.py BUILD prints the KiB of code and data of the static
library's core, hot path and setup (what signals and standard error need is linked only when called).
Fails when the shared library needs anything but libc."""
import pathlib
import re
import subprocess
import sys


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def main(build):
    shim = pathlib.Path(build) / "forwarder-shim"
    needs = output("readelf", "-d", shim / "libfwdscope.so")
    others = set(re.findall(r"\(NEEDED\).*\[(.*)\]", needs)) - {"libc.so.6"}
    if others:
        sys.exit(f"the shim depends on {', '.join(sorted(others))}")
    core = re.search(r"^\s*(\d+)\s+(\d+)\s.*\bfwdscope\.o\b", output("size", shim / "libfwdscope.a"),
                     re.MULTILINE)
    print((int(core[1]) + int(core[2])) / 1024)


main(sys.argv[1])
