# SPDX-License-Identifier: Apache-2.0
"""Holds how many instructions the hot paths take to what instructions.tsv keeps.

    gate.py [--build DIR]            measures; ends with 1 when one takes more than 3 % above
    gate.py [--build DIR] --renew    measures, and keeps what it found

Counts of callgrind: the difference of a run with n calls and one with 2n is what n calls take,
whatever comes before and after. They repeat exactly on any machine of the same architecture, with
the same compiler and C library; with others the gate says so and ends with 77: skipped. The C
library is told to choose its functions for a plain x86-64, whatever processor there is.
"""
import argparse
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KEPT = HERE / "instructions.tsv"
TOLERANCE = 0.03
SKIPPED = 77
BOUND = 300.0 # seconds that a run may take before it counts as hung

# What is counted: its name, the program, its operation, n, and how many items a call has.
OPERATIONS = (
    ("counter add", "bench_shim", "counter_add", 20000, 1),
    ("gauge set", "bench_shim", "gauge_set", 20000, 1),
    ("histogram record", "bench_shim", "histogram_record", 20480, 1),
    ("span, 6 attributes", "bench_shim", "span", 2000, 1),
    ("log line", "bench_shim", "log_line", 10000, 1),
    ("reading and row, a point", "bench_reading", "reading_1000", 10, 1000),
    ("metrics document, a point", "bench_encode", "metrics_1000", 3, 1000),
    ("spans document, a span", "bench_encode", "spans", 3, 1000),
    ("logs document, a line", "bench_encode", "logs", 3, 1000),
)

# Not by what the processor is called or how large its caches are.
PLAIN = ":".join([
    "glibc.cpu.hwcaps=-AVX2,-AVX,-AVX512F,-AVX512VL,-AVX512BW,-ERMS,-FSRM,-BMI1,-BMI2,-LZCNT,-MOVBE,"
    "-POPCNT,-SSE4_1,-SSE4_2,-SSSE3,-RTM,-AVX_Fast_Unaligned_Load,-Fast_Unaligned_Load,"
    "-Fast_Unaligned_Copy,-Fast_Copy_Backward,-Fast_Rep_String,-Prefer_PMINUB_for_stringop,"
    "-Slow_BSF",
    "glibc.cpu.x86_data_cache_size=32768",
    "glibc.cpu.x86_shared_cache_size=1048576",
    "glibc.cpu.x86_non_temporal_threshold=786432",
    "glibc.cpu.x86_rep_movsb_threshold=2048",
    "glibc.cpu.x86_rep_stosb_threshold=2048",
])


class Failed(Exception):
    """Could not be measured; the message says why."""


def output(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=BOUND).stdout


def toolchain(build):
    """What counts depend on, in words."""
    cache = (build / "CMakeCache.txt").read_text()
    compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.MULTILINE)[1]
    name = "clang" if "clang" in output(compiler, "--version") else "gcc"
    version = output(compiler, "-dumpfullversion" if name == "gcc" else "-dumpversion").strip()
    flags = re.search(r"^CMAKE_C_FLAGS_RELEASE:\w+=(.*)$", cache, re.MULTILINE)[1]
    libc = os.confstr("CS_GNU_LIBC_VERSION")
    valgrind = output("valgrind", "--version").strip()
    return f"{platform.machine()}, {name} {version} {flags}, {libc}, {valgrind}"


def instructions(program, operation, calls):
    """Of a whole run."""
    environment = {**os.environ, "GLIBC_TUNABLES": PLAIN}
    with tempfile.TemporaryDirectory() as scratch:
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={scratch}/out",
                 str(program), operation, str(calls)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, env=environment,
                                  timeout=BOUND, check=False)
        except (OSError, subprocess.TimeoutExpired) as why:
            raise Failed(str(why)) from why
        collected = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode != 0 or collected is None:
            raise Failed(f"{program} {operation} {calls}: {done.stderr[-500:]}")
        return int(collected[1])


def count(bench, entry):
    """Instructions an item."""
    _, program, operation, calls, items = entry
    path = bench / program
    if not path.exists():
        raise Failed(f"{path} is not built")
    more = instructions(path, operation, 2 * calls) - instructions(path, operation, calls)
    return more / calls / items


def measure(bench):
    return {entry[0]: count(bench, entry) for entry in OPERATIONS}


def kept_read(text):
    """(toolchain, {name: instructions}) of the file that keeps them."""
    lines = text.splitlines()
    made_by = next(line[len("# made by: "):] for line in lines if line.startswith("# made by: "))
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return made_by, {name: float(value) for name, value in rows}


def kept_write(made_by, counts):
    lines = ["# SPDX-License-Identifier: Apache-2.0",
             "# Instructions an item; tests/bench/gate.py --renew writes this file.",
             f"# made by: {made_by}"]
    return "\n".join([*lines, *(f"{name}\t{value:.1f}" for name, value in counts.items())]) + "\n"


def judge(kept, counts):
    """(lines that tell it, whether it holds)"""
    lines, holds = [], True
    for name in sorted(set(kept) | set(counts), key=[*counts, *kept].index):
        if name not in counts or name not in kept:
            lines.append(f"{name}: {'not measured' if name in kept else 'no number is kept'}")
            holds = False
            continue
        change = counts[name] / kept[name] - 1
        word = "holds"
        if change > TOLERANCE:
            word, holds = "TOO MANY", False
        elif change < -TOLERANCE:
            word = "fewer: time to keep the new number"
        lines.append(f"{name}: {counts[name]:.1f} instructions, kept {kept[name]:.1f} "
                     f"({change * 100:+.1f} %): {word}")
    return lines, holds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build-tests/gate")
    parser.add_argument("--renew", action="store_true")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    made_by = toolchain(build)
    bench = build / "tests" / "bench"
    try:
        if arguments.renew:
            KEPT.write_text(kept_write(made_by, measure(bench)))
            print(KEPT.read_text(), end="")
            return 0
        kept_by, kept = kept_read(KEPT.read_text())
        if made_by != kept_by:
            print(f"skipped: the numbers were made by {kept_by}; this is {made_by}")
            return SKIPPED
        lines, holds = judge(kept, measure(bench))
    except Failed as why:
        print(why)
        return 1
    print("\n".join(lines))
    if not holds:
        print("If the change is meant: tests/bench/gate.py --renew, and say why in the commit.")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
