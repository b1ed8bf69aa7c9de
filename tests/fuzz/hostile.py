# SPDX-License-Identifier: Apache-2.0
"""What the tests of hostile directories share: a healthy forwarder and the proof that it is served,
a judge for documents with hostile parts, and the figures of the sidecar."""
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
# pylint: disable=wrong-import-position
import harness  # noqa: E402
import otlp_rules  # noqa: E402

LONG = os.environ.get("FWDSCOPE_LONG") == "1"
SCRIBBLER = harness.BUILD / "tests" / "fuzz" / "scribbler"
HEALTHY = "healthy"


def instance_of(resource):
    return otlp_rules.attributes(resource["resource"]).get("service.name")


class Judge:
    """Judges the documents of a stream: each by itself as a whole, and what the healthy forwarder
    and the sidecar say of themselves also as one story. A hostile forwarder may tell any story."""

    def __init__(self):
        self.story = otlp_rules.Checker()
        self.documents = {"metrics": 0, "spans": 0, "logs": 0}
        self.lines = []

    def take(self, text):
        kind, document = otlp_rules.Checker().check(text)
        self.documents[kind] += 1
        (root, parts), = document.items()
        own = [part for part in parts if instance_of(part) in (HEALTHY, "fwdscope")]
        if own:
            self.story.check(json.dumps({root: own}))
        if kind == "logs":
            self.lines += [log["body"]["stringValue"] for log in otlp_rules.log_records([{root: own}])
                           if not otlp_rules.is_loss(log)] if own else []


class Watch:
    """Asks /live over and over on a thread of its own; keeps every time that it took."""

    def __init__(self, sidecar):
        self.sidecar, self.times, self.error = sidecar, [], None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._ask, daemon=True)
        self.thread.start()

    def _ask(self):
        try:
            while not self.ended.wait(0.02):
                began = time.monotonic()
                assert self.sidecar.get("/live").status == 200
                self.times.append(time.monotonic() - began)
        except (AssertionError, OSError) as error:
            self.error = error

    def stop(self):
        """p50 and p99 in ms, after the count."""
        self.ended.set()
        self.thread.join(harness.BOUND)
        assert self.error is None, f"/live did not answer: {self.error!r}"
        times = sorted(self.times)
        return len(times), times[len(times) // 2] * 1e3, times[len(times) * 99 // 100] * 1e3


def process_cpu_s(pid):
    """CPU time of a process, all threads, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_peak_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


class Case(harness.Case):
    def healthy(self):
        patient = self.patient("--service", HEALTHY, "--instance", HEALTHY)
        patient.pipeline()
        return patient

    def forwarders(self, sidecar):
        """{instance: its part of the status}"""
        status = sidecar.status()
        if "forwarders" in status:
            return {one["instance"]: one for one in status["forwarders"]}
        return {}

    def await_served(self, sidecar, patient, subscriber, judge):
        """A line that the healthy forwarder writes now comes out."""
        number, = patient.do("lines", 1)
        wanted = f"t=0 n={number - 1} "

        def came():
            self.judge(subscriber, judge)
            return wanted in judge.lines
        harness.wait_until(came, what=f"the line {wanted!r} of the healthy forwarder")

    @staticmethod
    def judge(subscriber, judge):
        """Judges what came since the last call."""
        assert not subscriber.ended, "the stream ended"
        while subscriber.texts:
            judge.take(subscriber.texts.pop(0)[1])
