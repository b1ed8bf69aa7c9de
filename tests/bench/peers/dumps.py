# SPDX-License-Identifier: Apache-2.0
"""json.dumps() of the documents of ours in $FWDSCOPE_BENCH_DOCUMENTS: dumps.py --list | OPERATION.
The objects are there already; the value is ns per document."""
import json
import os
import pathlib
import sys
import time

DOCUMENTS = ("metrics", "spans", "logs")
ROUND_NS = 100e6


def timed(document, calls):
    begin = time.perf_counter_ns()
    for _ in range(calls):
        json.dumps(document)
    return time.perf_counter_ns() - begin


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(DOCUMENTS))
        return
    directory = pathlib.Path(os.environ["FWDSCOPE_BENCH_DOCUMENTS"])
    document = json.loads((directory / f"{sys.argv[1]}.json").read_text())
    calls = 1
    while (ns := timed(document, calls)) < ROUND_NS:
        calls *= 2
    print(ns / calls)


main()
