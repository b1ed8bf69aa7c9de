#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The libFuzzer harnesses, in a build of their own with clang.

Short form: a fixed number of runs each, from the seeds made here. Long form (FWDSCOPE_LONG=1):
minutes each. Both tell what share of the modules' lines was reached.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import otlp_rules  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FWDSCOPE_BUILD", ROOT / "build")) / "fuzzers"
LONG = os.environ.get("FWDSCOPE_LONG") == "1"

# The modules that a fuzzer is about, and how much of each it must reach.
JUDGED = {"region": ("shmlayout", "sidecar/snapshot", "sidecar/model", "sidecar/render",
                     "sidecar/policy"),
          "gate": ("sidecar/http",), "redact": ("forwarder-shim/redact",),
          "json": ("sidecar/json",)}
LEAST_SHARE = 0.6
RUNS = {"region": 4000, "gate": 200_000, "redact": 20_000, "json": 100_000}
LONG_SECONDS = 120
IMAGE_WORDS = 8192  # more than the words of the image that seeds begin at


def build():
    """Configures and builds the fuzzers."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "build.log", "w", encoding="utf-8") as log:
        for command in (["cmake", "-S", ROOT, "-B", BUILD, "-DCMAKE_C_COMPILER=clang",
                         "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                         "-DCMAKE_C_FLAGS=-fprofile-instr-generate -fcoverage-mapping",
                         "-DFWDSCOPE_SANITIZE=fuzzer-no-link,address,undefined"],
                        ["cmake", "--build", BUILD, "--target", "fuzzers", "-j",
                         str(os.cpu_count())]):
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
                raise AssertionError((BUILD / "build.log").read_text()[-4000:])


# ---- seeds ---------------------------------------------------------------------------------------


def region_seeds():
    """One patch each: words of the header, of the directory, and on through the image."""
    values = (0, 1, 2**64 - 1, 4097, 2**40, 2**32, 0x7ff8 << 48)
    words = [*range(0, 32), 255, 256, 272, 288, 320, *range(512, 608), *range(608, IMAGE_WORDS, 97)]
    for number, word in enumerate(words):
        value = values[number % len(values)]
        yield bytes([number % 8]) + struct.pack("<HQ", word, value)


def gate_seeds():
    upgrade = ("Connection", "keep-alive, Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version",
               "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    heads = [("Host", "localhost:9090"),
             ("Host", "127.0.0.1", "Authorization", "Bearer s3cret"),
             ("Host", "localhost", "Cookie", "a=b; fwdscope_token=s3cret", "Content-Length", "0"),
             ("Host", "localhost", "Origin", "http://localhost", "Authorization", "Bearer s3cret",
              *upgrade),
             ("Host", "evil.example", "Transfer-Encoding", "chunked", "Host", "localhost")]
    for how in range(32):
        for head in heads:
            yield bytes([how]) + "\n".join(head).encode() + b"\n"


def redact_seeds():
    yield from (text.encode() for text in (
        "a: 1\nlist:\n  - x\n  - y: {z: 2}\n",
        "output:\n  url: https://user:pw@host/path?token=abc\n  api_key: &k s3\n  other: *k\n",
        "env:\n  - name: API_TOKEN\n    value: abc\n",
        "args: [--token, abc, --other=x]\nheaders: [[X-Api-Key, abc]]\n",
        "text: |\n  password=abc\n  Authorization: Bearer abc\n",
        "a: !secret x\n'password': \"x\"\n? password\n: y\n",
        "<<: *a\n", "- &a {password: x}\n- *a\n", "---\na: b\n...\n---\nc: d\n", "\ufeffa: b\n"))


def message_seeds():
    """Messages of the three signals as protobuf, behind the byte that chooses the type."""
    metrics, spans, logs = (otlp_rules.message_classes()[otlp_rules.ROOTS[root][1]]()
                            for root in ("resourceMetrics", "resourceSpans", "resourceLogs"))
    part = metrics.resource_metrics.add()
    part.resource.attributes.add(key="a").value.string_value = "\x01\u20ac"
    metric = part.scope_metrics.add().metrics.add(name="m", unit="1")
    metric.sum.data_points.add(as_int=-5, time_unix_nano=2**63)
    metric = part.scope_metrics[0].metrics.add(name="h")
    metric.histogram.data_points.add(explicit_bounds=[1.5], bucket_counts=[1, 2], count=3, sum=4.5)
    span = spans.resource_spans.add().scope_spans.add().spans.add(
        trace_id=bytes(range(16)), span_id=bytes(range(8)), name="s", kind=2)
    span.attributes.add(key="list").value.array_value.values.add().double_value = 0.1
    log = logs.resource_logs.add().scope_logs.add().log_records.add(severity_number=9)
    log.body.kvlist_value.values.add(key="k").value.bytes_value = b"\xff"
    return [bytes([number]) + message.SerializeToString()
            for number, message in enumerate((metrics, spans, logs))]


def json_seeds():
    yield from message_seeds()
    yield bytes([3, 9, 8, 5, 0, 0, 0, 0, 0, 0, 0]) + b"a\"\\\x00\xff" + bytes([10, 0]) + bytes(8)
    yield bytes([3, 10, 2]) + b"\xff" * 8 + bytes([1]) + struct.pack("<d", 1e300) + bytes([11, 7])


SEEDS = {"region": region_seeds, "gate": gate_seeds, "redact": redact_seeds, "json": json_seeds}

# ---- runs ----------------------------------------------------------------------------------------


def modules_reached(binary, profile):
    """{module: (lines reached, lines)} after llvm-cov."""
    merged = profile.with_suffix(".merged")
    subprocess.run(["llvm-profdata", "merge", "-sparse", profile, "-o", merged], check=True)
    told = subprocess.run(["llvm-cov", "export", "-summary-only", "-instr-profile", merged, binary],
                          check=True, stdout=subprocess.PIPE).stdout
    modules = collections.defaultdict(lambda: [0, 0])
    for file in json.loads(told)["data"][0]["files"]:
        found = re.search(r"/(shmlayout|sidecar/\w+|forwarder-shim/redact)/[^/]*\.c$",
                          file["filename"])
        if found:
            lines = file["summary"]["lines"]
            modules[found[1]][0] += lines["covered"]
            modules[found[1]][1] += lines["count"]
    return modules


class Fuzzers(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="fwdscope-fuzz-", dir="/dev/shm"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def fuzz(self, name):
        seeds = self.scratch / "seeds"
        found = self.scratch / "found"
        seeds.mkdir()
        found.mkdir()
        count = 0
        for count, seed in enumerate(SEEDS[name](), 1):
            (seeds / str(count)).write_bytes(seed)
        bound = [f"-max_total_time={LONG_SECONDS}"] if LONG else [f"-runs={RUNS[name]}"]
        binary = BUILD / "tests" / "fuzz" / f"fuzzer_{name}"
        profile = self.scratch / "profile"
        result = subprocess.run(
            [binary, *bound, "-seed=1", "-max_len=600",
             "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1",
             "-artifact_prefix=" + str(self.scratch / "crash-"), found, seeds],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, cwd=self.scratch,
            env=os.environ | {"LLVM_PROFILE_FILE": str(profile)})
        log = result.stderr.decode("utf-8", "replace")
        artifacts = {path.name: path.read_bytes() for path in self.scratch.glob("crash-*")}
        self.assertEqual(result.returncode, 0, f"{log[-6000:]}\n{artifacts}")
        runs = int(re.search(r"number_of_executed_units: (\d+)", log)[1])
        edges = int(re.findall(r"cov: (\d+)", log)[-1])
        memory = int(re.search(r"peak_rss_mb: +(\d+)", log)[1])
        slowest = int(re.search(r"slowest_unit_time_sec: +(\d+)", log)[1])
        print(f"figure: fuzz {name}: {runs} runs from {count} seeds, {edges} edges reached, "
              f"slowest run under {slowest + 1} s, peak {memory} MiB", flush=True)
        self.assertGreaterEqual(runs, 100 if LONG else RUNS[name])
        reached = modules_reached(binary, profile)
        for module in JUDGED[name]:
            hit, lines = reached[module]
            print(f"figure: fuzz {name}, {module}: {hit} of {lines} lines "
                  f"({100 * hit // max(lines, 1)} %)", flush=True)
            self.assertGreater(hit, LEAST_SHARE * lines, module)

    def test_region(self):
        self.fuzz("region")

    def test_gate(self):
        self.fuzz("gate")

    def test_redact(self):
        self.fuzz("redact")

    def test_json(self):
        self.fuzz("json")


if __name__ == "__main__":
    if sys.argv[1:] == ["--build"]:
        build()
    else:
        unittest.main(verbosity=0)
