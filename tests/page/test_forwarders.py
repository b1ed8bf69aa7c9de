#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real forwarders on the page: the example forwarder, and Debian's rsyslog.

FWDSCOPE_PICTURE=FILE: also makes the picture of the README, of the example forwarder at work for
FWDSCOPE_PICTURE_S seconds (default 75).
"""
import json
import os
import pathlib
import signal
import sys
import time

import browser
import harness
from browser import PageCase, true_numbers, wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "rsyslog"))
import daemon  # noqa: E402  (the path above)
from test_forwarder import Receiver  # noqa: E402

FORWARDER = harness.BUILD / "fwdscope-example-forwarder"
PICTURE = os.environ.get("FWDSCOPE_PICTURE")
PICTURE_S = float(os.environ.get("FWDSCOPE_PICTURE_S", "75"))
PICTURE_BYTES_MAX = 300_000


class Example(harness.Process):
    """The example forwarder: follows a file, sends its lines over TCP."""

    def __init__(self, scratch, regions, port, **output):
        self.log = os.path.join(scratch, "app.log")
        pathlib.Path(self.log).touch()
        config = {"service_name": "example", "heartbeat_ms": 200,
                  "input": {"paths": [self.log]},
                  "transform": {"exclude": " debug "},
                  "batch": {"rows": 100, "timeout_ms": 100},
                  "output": {"type": "tcp", "address": f"127.0.0.1:{port}", "workers": 2,
                             "queue_batches": 16, "retry_min_ms": 50, "retry_max_ms": 500,
                             **output}}
        path = os.path.join(scratch, "forwarder.yaml")
        pathlib.Path(path).write_text(json.dumps(config))
        super().__init__([FORWARDER, "--config", path, "--directory", regions], scratch)
        wait_until(lambda: "started:" in self.errors() or self.popen.poll() is not None)

    def write(self, lines):
        with open(self.log, "ab") as log:
            log.write("".join(line + "\n" for line in lines).encode())

    def quit(self):
        self.signal(signal.SIGTERM)
        self.wait(0)


def region_of(directory):
    region, = pathlib.Path(directory).glob("*.fwdscope")
    return str(region)


class ForwarderCase(PageCase):
    def example(self, port, **output):
        example = Example(self.scratch, self.dir, port, **output)
        self.processes.append(example)
        return example

    def receiver(self):
        receiver = Receiver()
        self.addCleanup(self.hang_up, receiver)
        return receiver

    @staticmethod
    def hang_up(receiver):
        try:
            receiver.close()
        except OSError:
            pass  # it was closed by the test

    @staticmethod
    def lines_of(receiver):
        with receiver.lock:
            return sum(data.count(b"\n") for data in receiver.data)

    def await_equal(self, region, *panels):
        """Panels and dump agree, once the forwarder is quiet."""
        def differing():
            truth = true_numbers(self.dump(region)["status"])
            found = {}
            for panel in panels:
                shown = self.numbers(panel)
                found.update({name: (shown.get(name), value)
                              for name, value in truth[panel].items()
                              if name in shown and shown[name] != value})
                if not set(truth[panel]) & set(shown):
                    found[panel] = "nothing"
            return found
        wait_until(lambda: not differing(), what=f"{differing()}")


class ExampleForwarder(ForwarderCase):
    def test_well(self):
        receiver = self.receiver()
        example = self.example(receiver.port)
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_verdict("well")
        example.write(f"line {i}{' debug ' if i % 10 == 0 else ''}" for i in range(5000))
        wait_until(lambda: self.lines_of(receiver) == 4500)
        self.await_equal(region_of(self.dir), "flow", "ledger", "writer")
        flow = self.numbers("flow")
        self.assertIn(4500, [value for name, value in flow.items()
                             if name.endswith("/lines_total")])
        wait_until(lambda: self.count(".lane .bar") > 0, what="bars of batches")
        self.assertGreater(self.held()["spans"], 0)
        self.screenshot("example")


class DeadDestinations(ForwarderCase):
    """Both at once, because each verdict takes its 10 s: the chooser shows the one or the other."""

    def rsyslogd(self, dead):
        rsyslogd = daemon.Rsyslogd(
            self.scratch, self.dir,
            f'action(name="keep" type="omfile" file="{self.scratch}/one/kept.log")\n'
            f'action(name="dead" type="omfwd" target="127.0.0.1" port="{dead}" protocol="tcp"\n'
            '       action.resumeRetryCount="-1" action.resumeInterval="1"\n'
            '       queue.type="LinkedList" queue.size="1000")\n')
        self.processes.append(rsyslogd)
        return rsyslogd

    def choose(self, name):
        """The forwarder whose entry begins with the name."""
        wait_until(lambda: self.js(
            "const e = document.getElementById('forwarder');"
            "const at = [...e.options].findIndex((o) => o.textContent.startsWith(arguments[0]));"
            "if (at < 0) return false;"
            "e.selectedIndex = at; e.dispatchEvent(new Event('change', {bubbles: true}));"
            "return true", name), what=f"an entry of {name}")

    def test_verdicts(self):
        """rsyslog counts no failure and the example forwarder retries: both are `output`."""
        receiver = self.receiver()
        example = self.example(receiver.port)
        rsyslogd = self.rsyslogd(daemon.free_port())
        sidecar = self.sidecar()
        self.open(sidecar)
        wait_until(lambda: len(sidecar.status().get("forwarders", [])) == 2)
        example.write(f"line {i}" for i in range(300))
        wait_until(lambda: self.lines_of(receiver) == 300)
        receiver.close()
        # More than the queue and the batches under way hold.
        example.write(f"more {i}" for i in range(5000))
        rsyslogd.write(2500)
        self.choose("example")
        self.await_verdict("output", words=r"destination\W.*queue \d+(/\d+)?")
        self.await_count("#panel-flow .blocking", 1)
        self.screenshot("output-example")
        self.choose("rsyslog")
        self.await_verdict("output", words="dead.*1000/1000")
        wait_until(lambda: 1000 in [depth for name, depth in self.numbers("flow").items()
                                    if name.endswith("/dead/queue.depth")], what="its queue")
        region, = pathlib.Path(self.dir).glob("rsyslog*.fwdscope")
        self.await_equal(str(region), "flow", "writer")
        self.screenshot("output-rsyslog")
        rsyslogd.kill()
        example.kill()
        self.await_verdict("crashed")


class Picture(ForwarderCase):
    """The picture of the README: `FWDSCOPE_PICTURE=sidecar/dashboard/page.png` and this test."""

    @browser.unittest.skipUnless(PICTURE, "FWDSCOPE_PICTURE names no file")
    def test_picture(self):
        receiver = self.receiver()
        example = self.example(receiver.port)
        sidecar = self.sidecar(interval="1s")
        began, written = time.monotonic(), 0
        self.browser.viewport(1600, 1350, scale=0.8)
        self.open(sidecar)

        def work():
            """A load with hills, as days have."""
            nonlocal written
            seconds = time.monotonic() - began
            due = int(seconds * 1500 + 6000 * (1 - abs(seconds % 40 / 20 - 1)))
            example.write(f"request {i} served in {i * 7919 % 97} ms" for i in range(written, due))
            written = max(written, due)
            return seconds > PICTURE_S
        wait_until(work, bound=PICTURE_S + harness.BOUND)
        self.await_verdict("well")
        self.js("const e = document.getElementById('chart-span'); e.value = '60';"
                "e.dispatchEvent(new Event('change', {bubbles: true})); scrollTo(0, 0)")
        messages = self.held()["messages"]
        wait_until(lambda: work() and self.held()["messages"] > messages + 6)
        size = self.browser.screenshot(PICTURE)
        self.assertLess(size, PICTURE_BYTES_MAX)


if __name__ == "__main__":
    browser.main()
