# SPDX-License-Identifier: Apache-2.0
"""What the tests of versions share: forwarders and sidecars of other layouts and machines, the same
life for each of them, and what of a region comes out of a reader."""
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
# pylint: disable=wrong-import-position
import harness  # noqa: E402
import otlp_rules  # noqa: E402

PROGRAMS = harness.BUILD / "tests" / "versions"
EMULATORS = {"arm64": [os.environ.get("QEMU_ARM64")], "s390x": [os.environ.get("QEMU_S390X")]}
UNREADABLE = 4
CONFIG = "inputs: [pod_logs]\n"
UPDOWN = "own.updown"
PREFIXES = ("own.", "forwarder.")
CHANGING = {"forwarder.uptime_seconds"}


def figure(claim, numbers):
    print(f"figure: {claim}: {numbers}", flush=True)


def alike(program, folder):
    """The program under the name that every writer has: a region tells it."""
    link = PROGRAMS / "alike" / folder / "writer"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(program)
    return link


def writer(name=None):
    """What constructs a harness.Patient of a layout or machine; None: the build's own."""
    if name is None:
        return {}
    return {"program": alike(PROGRAMS / f"writer_{name}", name),
            "before": [alike(program, f"{name}.emulator") for program in EMULATORS.get(name, [])]}


LIFE = [
    ("pipeline", "main"), ("input", "in", "file"), ("transform", "SELECT * FROM lines"),
    ("output", "out", "otlp"), ("health", "in", 0), ("progress", "in", 1000, 50000),
    ("progress", "out", 900, 30000), ("queue", "out", 2, 16),
    ("batch", "batches", 50, "rows", 4500, "flush_by_size", 30, "dropped_batches", 5, "inflight", 3,
     "latency_ns", 500_000_000, "finished_unix_ns", 1_700_000_000_000_000_000),
    ("counter", "own.counter", 41, "zone", "a", "rack", "#7"), ("total", "own.total", 2**64 - 1),
    ("gauge", "own.gauge", -0.125), ("int-gauge", "own.int_gauge", -2**63),
    ("histogram", "own.histogram", 0.5, 1, 5, 50, 500), ("updown", UPDOWN, 12),
    ("span-start", "root", "batch"), ("span-set", "root", "pipeline", "main", "rows", "#4500"),
    ("span-start", "child", "output", "root"), ("span-status", "child", 2, "refused by the peer"),
    ("span-end", "child"), ("span-stage", "root", "output"),
    ("log", 13, "a line \u00e9", "key", "value", "n", "#-5"), ("log-in-span", "root", "in a span"),
    ("lines", 100), ("spans", 20),
]


def live_through(patient, scratch):
    """One use of everything that a forwarder can say."""
    config = pathlib.Path(scratch, "config.yaml")
    config.write_text(CONFIG, encoding="ascii")
    for words in [*LIFE, ("config", "/etc/patient.yaml", config)]:
        patient.do(*words)


def sections(path):
    """{kind: (directory entry, the section's bytes)} of a little-endian region file."""
    data = pathlib.Path(path).read_bytes()
    header = struct.unpack("<256Q", data[:2048])
    offset, count, stride = header[9:12]
    found = {}
    for number in range(count):
        at = offset + number * stride
        entry = struct.unpack("<7Q", data[at:at + 56])
        found[entry[0]] = (entry, data[entry[2]:entry[2] + entry[3]])
    return found


# ---- what came out -------------------------------------------------------------------------------


def told(dump):
    """What `dump -o json` tells of a forwarder, but for times, ids and the process itself."""
    metrics = {}
    for _, _, metric in otlp_rules.metrics([dump["metrics"]]):
        if metric["name"].startswith(PREFIXES) and metric["name"] not in CHANGING:
            for point in metric[otlp_rules.data_of(metric)]["dataPoints"]:
                key = (metric["name"], metric["unit"], *sorted(otlp_rules.attributes(point).items()))
                metrics[key] = {name: value for name, value in point.items()
                                if name in ("asInt", "asDouble", "count", "sum", "bucketCounts",
                                            "explicitBounds")}
    spans = [(span["name"], span["kind"], span.get("status"), "parentSpanId" in span,
              sorted((key, value) for key, value in otlp_rules.attributes(span).items()
                     if not key.endswith("unix_ns")))
             for span in otlp_rules.spans([dump["spans"]])]
    logs = [(log["severityNumber"], log["body"]["stringValue"], "spanId" in log,
             sorted(otlp_rules.attributes(log).items()))
            for log in otlp_rules.log_records([dump["logs"]])]
    pipelines = [{key: value for key, value in pipeline.items() if key != "bottleneck"}
                 for pipeline in dump["status"]["pipelines"]]
    return {"metrics": metrics, "spans": sorted(spans, key=repr), "logs": logs,
            "pipelines": pipelines, "lost": dump["status"]["region"]["lost"]}


def size(what):
    return (f"{len(what['metrics'])} series, {len(what['spans'])} spans, {len(what['logs'])} lines, "
            f"{len(what['pipelines'])} pipeline")


class Case(harness.Case):
    """Forwarders with one and the same life, and what readers tell of them."""

    def forwarder(self, name=None, instance=None, **more):
        """A forwarder that has lived through it all, and idles."""
        patient = self.patient("--service", "it", "--instance", instance or name or "present",
                               *("--lanes", "3"), **writer(name), **more)
        live_through(patient, self.scratch)
        return patient

    def dump(self, path, **more):
        out, errors = self.run_command("dump", "-o", "json", path, **more)
        self.assertEqual(errors, "")
        return otlp_rules.parse_json(out)

    def told(self, path, **more):
        what = told(self.dump(path, **more))
        self.assertGreater(len(what["metrics"]), 15)
        self.assertEqual((len(what["spans"]), len(what["logs"]), len(what["pipelines"])), (22, 102, 1))
        return what

    def refused(self, path, *parts, program=harness.FWDSCOPE):
        """dump and inspect refuse it in one line that says all of `parts`; returns what inspect could
        say of the writer all the same."""
        for command in ("dump", "inspect"):
            out, errors = self.run_command(command, path, expected=UNREADABLE, program=program)
            self.assert_one_line(errors, path, *parts)
        return out
