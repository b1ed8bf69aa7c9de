# SPDX-License-Identifier: Apache-2.0
"""The benchmark: ours beside what somebody would otherwise use, in turn, in one table.

    run.py [--build DIR] [--rows ID,...] [--rounds N] [--json FILE] [--markdown FILE]
           [--picture FILE]

Each row's contenders run in turn, one round each, again and again, each on CPUs of its own: a change
of the machine's pace meets all of them. A value is the median of the rounds, a ratio the median of
the ratios within a turn; the spread is that of the middle half of the rounds. Ends with 1 when
something could not be measured, never because of a time. `tests/run bench` builds and runs it.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

import picture
import rows
import tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOUND = 120.0 # seconds that a round may take before it counts as hung
SIGNALS = {"metrics": "dataPoints", "spans": "spans", "logs": "logRecords"}


class Failed(Exception):
    """Could not be measured; the message says why."""


# ---- the machine -----------------------------------------------------------------------------------


def first_line(*words):
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(words, capture_output=True, text=True, check=True,
                              timeout=BOUND).stdout.splitlines()[0]
    return "unknown"


def machine(build):
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(),
                      re.MULTILINE)
    cache = (build / "CMakeCache.txt").read_text()
    flags = re.search(r"^CMAKE_C_FLAGS_RELEASE:\w+=(.*)$", cache, re.MULTILINE)
    compiler = re.search(r"^CMAKE_C_COMPILER:\w+=(.*)$", cache, re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "compiler": f"{first_line(compiler[1], '--version')} {flags[1]}",
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


# ---- what contenders need --------------------------------------------------------------------------


def lttng(*words):
    done = subprocess.run(["lttng", "--no-sessiond", *words], capture_output=True, text=True,
                          timeout=BOUND, check=False)
    if done.returncode != 0:
        raise Failed(f"lttng {words[0]}: {(done.stderr or done.stdout).strip()[-300:]}")


def lttng_listens():
    with contextlib.suppress(Failed):
        lttng("list")
        return True
    return False


@contextlib.contextmanager
def lttng_session(scratch):
    """A flight recorder: what it takes is overwritten, nobody reads. Unless one runs already, the
    daemon is ours; one that is not root's has a home of its own."""
    if os.geteuid() != 0:
        os.environ["LTTNG_HOME"] = str(scratch)
    daemon = None
    name = f"fwdscope-bench-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        if not lttng_listens():
            log = stack.enter_context(open(scratch / "lttng-sessiond.log", "wb"))
            daemon = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdout=log, stderr=log)
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
        deadline = time.monotonic() + BOUND
        while not lttng_listens():
            if time.monotonic() > deadline or daemon.poll() is not None:
                raise Failed("lttng-sessiond does not answer")
            time.sleep(0.05)
        lttng("create", name, "--snapshot", "--output", str(scratch / "lttng"))
        stack.callback(lttng, "destroy", name)
        lttng("enable-channel", "--userspace", "--session", name, "--subbuf-size", "64K",
              "--num-subbuf", "4", "bench")
        lttng("enable-event", "--userspace", "--session", name, "--channel", "bench",
              "fwdscope_bench:*")
        lttng("start", name)
        yield


def item_count(document, key):
    if isinstance(document, dict):
        return sum(len(value) if name == key else item_count(value, key)
                   for name, value in document.items())
    return sum(item_count(each, key) for each in document) if isinstance(document, list) else 0


def documents_write(bench, scratch):
    """The documents that ours writes, for others to write again; how many items each has."""
    counts = {}
    for signal, key in SIGNALS.items():
        words = [str(bench / "bench_encode"), "--document", signal]
        try:
            text = subprocess.run(words, capture_output=True, check=True, timeout=BOUND).stdout
            counts[signal] = item_count(json.loads(text), key)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
        (scratch / f"{signal}.json").write_bytes(text)
    os.environ["FWDSCOPE_BENCH_DOCUMENTS"] = str(scratch)
    return counts


# ---- rounds ----------------------------------------------------------------------------------------


class Runner:
    def __init__(self, build, counts, session):
        self.build, self.bench = build, build / "tests" / "bench"
        self.counts, self.session = counts, session # session: "" or why there is none
        self.cpus = sorted(os.sched_getaffinity(0))
        # The first CPU is where interrupts go.
        self.alone = {self.cpus[1] if len(self.cpus) > 1 else self.cpus[0]}
        self.environment = {**os.environ, "FWDSCOPE_BUILD": str(build)}

    def command(self, contender):
        words = [word.format(bench=self.bench, build=self.build) for word in contender.words]
        if words[0] == "python3":
            words[0] = sys.executable
        if words[0].startswith("peers/"):
            words[0] = str(self.bench / words[0])
        if words[0].startswith("/") and not os.access(words[0], os.X_OK):
            raise Failed("not built")
        if words[1].endswith(".py") and not os.access(words[1], os.R_OK):
            raise Failed("not there")
        return words

    def affinity(self, contender):
        if contender.cpus == 0:
            return set(self.cpus)
        if contender.cpus > len(self.cpus):
            raise Failed(f"needs {contender.cpus} CPUs")
        return self.alone if contender.cpus == 1 else set(self.cpus[:contender.cpus])

    def round(self, contender):
        """One round; its value in the row's unit."""
        if contender.lttng and self.session:
            raise Failed(self.session)
        if contender.document and contender.document not in self.counts:
            raise Failed("no document to write")
        words, cpus = self.command(contender), self.affinity(contender)
        try:
            done = subprocess.run(words, capture_output=True, text=True, env=self.environment,
                                  timeout=BOUND, check=False,
                                  preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        except (OSError, subprocess.TimeoutExpired) as why:
            raise Failed(str(why)) from why
        if done.returncode != 0:
            raise Failed((done.stderr.strip() or f"exit code {done.returncode}")[-300:])
        try:
            value = float(done.stdout)
        except ValueError:
            raise Failed(f"it prints {done.stdout[:100]!r}") from None
        return value * contender.scale / self.counts.get(contender.document, 1)


def spread(values):
    """The middle half of the values, as a share of their median."""
    middle = statistics.median(values)
    if len(values) < 2 or middle == 0:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / abs(middle)


def ratio(ours, theirs):
    """How many times ours the others take, turn by turn; None when ours takes nothing."""
    pairs = [(a, b) for a, b in zip(ours, theirs) if a > 0]
    return statistics.median(b / a for a, b in pairs) if pairs else None


def row_measure(runner, row, rounds, progress):
    """Runs the contenders in turn; what came of each, in the order of the row."""
    values = [[] for _ in row.contenders]
    failures = [""] * len(row.contenders)
    for turn in range(row.rounds if row.rounds == 1 else rounds or row.rounds):
        progress(f"{row.id}: round {turn + 1}")
        for i, contender in enumerate(row.contenders):
            if failures[i]:
                continue
            try:
                values[i].append(runner.round(contender))
            except Failed as why:
                failures[i] = str(why)
    ours = values[0]
    results = []
    for contender, own, failure in zip(row.contenders, values, failures):
        measured = own and not failure
        results.append({
            "label": contender.label,
            "role": contender.role,
            "values": own,
            "median": statistics.median(own) if measured else None,
            "spread": spread(own) if measured else None,
            "ratio": ratio(ours, own) if measured and not failures[0] else None,
            "failure": failure,
        })
    return results


# ---- goals -----------------------------------------------------------------------------------------


def goal_text(goal, row):
    if not goal.contender:
        return f"at most {goal.factor:g} {row.unit}" if goal.factor else "0"
    name = goal.contender
    if name.startswith("row:"):
        name = next(each.title for each in rows.ROWS if f"row:{each.id}" == name)
    if goal.factor < 1:
        return f"{1 / goal.factor:g} times less than {name}"
    if goal.factor == 1:
        return f"no more than {name}"
    return f"at most {goal.factor:g} times {name}"


def goal_met(goal, results, medians):
    """True, False, or None: cannot be said."""
    own = results[0]["median"]
    if own is None:
        return None
    if not goal.contender:
        return own <= goal.factor
    if goal.contender.startswith("row:"):
        other = medians.get(goal.contender[4:])
        return None if other is None else own <= goal.factor * other
    other = next(each for each in results if each["label"] == goal.contender)
    return None if other["ratio"] is None else 1 <= goal.factor * other["ratio"]


def row_result(row, results, medians):
    return {
        "id": row.id,
        "title": row.title,
        "unit": row.unit,
        "contenders": results,
        "goals": [{"text": goal_text(goal, row), "met": goal_met(goal, results, medians)}
                  for goal in row.goals],
    }


# ---- the whole -------------------------------------------------------------------------------------


def measure(arguments, chosen):
    build = arguments.build
    report = {"machine": machine(build), "rows": [], "not_measured": list(rows.NOT_MEASURED)}
    terminal = sys.stderr.isatty()

    def progress(text):
        if terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="fwdscope-bench-", dir="/dev/shm") as path, \
            contextlib.ExitStack() as stack:
        scratch = pathlib.Path(path)
        session = ""
        if any(contender.lttng for row in chosen for contender in row.contenders):
            try:
                stack.enter_context(lttng_session(scratch))
            except (Failed, OSError) as why:
                session = f"no session of LTTng: {why}"
        runner = Runner(build, documents_write(build / "tests" / "bench", scratch), session)
        medians = {}
        for row in chosen:
            results = row_measure(runner, row, arguments.rounds, progress)
            medians[row.id] = results[0]["median"]
            report["rows"].append(row_result(row, results, medians))
    progress("")
    return report


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-tests" / "bench")
    parser.add_argument("--rows", default="", help="only these, by their ids")
    parser.add_argument("--rounds", type=int, default=0, help="instead of each row's own number")
    parser.add_argument("--json", type=pathlib.Path, help="every value of every round")
    parser.add_argument("--markdown", type=pathlib.Path, help="the table of the README")
    parser.add_argument("--picture", type=pathlib.Path, help="the picture of the README")
    arguments = parser.parse_args(words)
    arguments.build = arguments.build.resolve()
    known = [row.id for row in rows.ROWS]
    wanted = [each for each in arguments.rows.split(",") if each]
    if set(wanted) - set(known):
        parser.error(f"rows: {', '.join(known)}")
    return arguments, [row for row in rows.ROWS if row.id in wanted or not wanted]


def main():
    arguments, chosen = parse(sys.argv[1:])
    began = time.monotonic()
    report = measure(arguments, chosen)
    report["seconds"] = round(time.monotonic() - began)
    print(tables.text(report))
    for path, made in ((arguments.json, lambda: json.dumps(report, indent=1) + "\n"),
                       (arguments.markdown, lambda: tables.markdown(report)),
                       (arguments.picture, lambda: picture.svg(report))):
        if path is not None:
            path.write_text(made())
    failed = [(row["title"], each["label"], each["failure"]) for row in report["rows"]
              for each in row["contenders"] if each["failure"]]
    for title, label, failure in failed:
        print(f"could not be measured: {title}: {label}: {failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
