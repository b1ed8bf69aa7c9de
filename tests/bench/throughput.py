# SPDX-License-Identifier: Apache-2.0
"""What the shim costs a forwarder: the example forwarder over one large file, shim on and off.

    throughput.py BUILD_DIR [--pairs N] [--lines N] [--json]

Each pair runs the same program twice, in turn on first and off first; off means that it was told a
directory that is not there, so that fwdscope_open() fails and every call is a no-op. Time counts from
the message that the forwarder has started, which is after the open, to its end with every line
delivered: to /dev/null, so that no memory for copies is measured. CPU counts from there on too. A
slowdown is the median of the pairs' ratios; its bound holds with 95 % whatever the distribution,
because it is an order statistic. Runs are short and many: one that is four times as long is hardly
less disturbed. Instructions a line are what callgrind counts on a large file less what it counts on
a small one. Ends with 1 when something could not be measured, never because of a time.
"""
import argparse
import contextlib
import json
import math
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PAIRS = 240
LINES = 500_000
COUNTED_LINES = (4_000, 12_000) # under callgrind, which takes fifty times as long
BOUND = 120.0                   # seconds that a run may take before it counts as hung
FORWARDER = "fwdscope-example-forwarder"
CONFIG = """\
service_name: throughput
input:
  paths: [{input}]
output:
  type: file
  address: /dev/null
"""


class Failed(Exception):
    """Could not be measured; the message says why."""


def cpu_seconds(pid):
    """Of all threads that a process has, so far."""
    spent = []
    for task in pathlib.Path("/proc", str(pid), "task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError): # it just ended
            spent.append(int(task.read_text().split()[0]))
    if not spent:
        raise Failed("the kernel does not tell the CPU time of the forwarder's threads")
    return sum(spent) / 1e9


class Place:
    """A directory on tmpfs with the forwarder's configuration and its input."""

    def __init__(self, root, lines):
        self.lines = lines
        self.root = pathlib.Path(root) / str(lines)
        self.regions = self.root / "regions"
        self.regions.mkdir(parents=True, mode=0o700)
        self.config = self.root / "forwarder.yaml"
        source = self.root / "input.log"
        with source.open("w") as file:
            for n in range(lines):
                file.write(f"2024-01-31 10:11:{n % 60:02} INFO request {n} took {n * 37 % 991} ms, "
                           f"answered {n * 7919 % 65536} bytes to client {n % 251}\n")
        self.config.write_text(CONFIG.format(input=source))

    def run(self, program, on, prefix=()):
        """One life of the forwarder: its seconds, of the clock and of the CPU."""
        directory = self.regions if on else self.root / "nowhere"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen([*prefix, str(program), "--config", str(self.config),
                                  "--directory", str(directory)], stderr=subprocess.PIPE, text=True)
        try:
            said = ""
            for line in child.stderr:
                said += line
                if " started: " in line:
                    break
            begun, cpu = time.monotonic(), -cpu_seconds(child.pid)
            child.send_signal(signal.SIGTERM) # it reads what the file holds, then ends
            said += child.communicate(timeout=BOUND)[1]
            seconds = time.monotonic() - begun
        finally:
            child.kill()
            child.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if child.returncode != 0 or ("runs without diagnostics" in said) == on:
            raise Failed(f"the forwarder ended with {child.returncode} and said: {said[-2000:]}")
        cpu += sum(getattr(after, part) - getattr(before, part) for part in ("ru_utime", "ru_stime"))
        return seconds, cpu


def upper_bound(values):
    """Of the median, with 95 %: the smallest order statistic that reaches it in so many samples."""
    n, reached = len(values), 0.0
    for k, value in enumerate(sorted(values)):
        reached += math.comb(n, k) / 2**n # k values are below the median
        if reached >= 0.95:
            return value
    return math.inf # fewer than five values bound nothing


def slowdown(pairs, part):
    ratios = [on[part] / off[part] for on, off in pairs]
    return {"median_percent": 100 * (statistics.median(ratios) - 1),
            "upper_95_percent": 100 * (upper_bound(ratios) - 1)}


def instructions(program, places, on):
    """A line of the input, in every thread."""
    counts = []
    for place in places:
        out = place.root / "callgrind"
        place.run(program, on, ("valgrind", "--quiet", "--tool=callgrind",
                                f"--callgrind-out-file={out}"))
        counts.append(int(re.search(r"^summary: (\d+)", out.read_text(), re.MULTILINE)[1]))
    return (counts[1] - counts[0]) / (places[1].lines - places[0].lines)


def measure(program, root, pairs, lines):
    place = Place(root, lines)
    place.run(program, True) # warm: the file, the program
    taken = []
    for n in range(pairs):
        order = (True, False) if n % 2 == 0 else (False, True)
        seconds = {on: place.run(program, on) for on in order}
        taken.append((seconds[True], seconds[False]))
    off = statistics.median(pair[1][0] for pair in taken)
    result = {"pairs": pairs, "lines": lines, "lines_per_second_off": round(lines / off),
              "slowdown": slowdown(taken, 0), "cpu": slowdown(taken, 1)}
    if shutil.which("valgrind") is None:
        raise Failed("valgrind is not there to count instructions")
    small = [Place(root, count) for count in COUNTED_LINES]
    counted = {on: instructions(program, small, on) for on in (True, False)}
    result["instructions_per_line"] = {
        "on": counted[True], "off": counted[False],
        "more_percent": 100 * (counted[True] / counted[False] - 1)}
    return result


def show(result):
    print(f"the example forwarder, {result['lines']} lines, {result['pairs']} pairs, "
          f"{result['lines_per_second_off']} lines/s without the shim")
    for name, part in (("time", "slowdown"), ("CPU", "cpu")):
        print(f"{name} with the shim: {result[part]['median_percent']:+.2f} % (median), "
              f"at most {result[part]['upper_95_percent']:+.2f} % with 95 %")
    counted = result["instructions_per_line"]
    print(f"instructions a line: {counted['on']:.0f} on, {counted['off']:.0f} off, "
          f"{counted['more_percent']:+.2f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of text")
    words = parser.parse_args()
    program = words.build.resolve() / FORWARDER
    try:
        if not program.exists():
            raise Failed(f"{program} is not built")
        with tempfile.TemporaryDirectory(prefix="fwdscope-bench-", dir="/dev/shm") as root:
            result = measure(program, root, words.pairs, words.lines)
    except (Failed, OSError, subprocess.TimeoutExpired) as why:
        sys.exit(f"throughput.py: {why}")
    if words.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
