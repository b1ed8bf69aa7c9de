#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attaching and detaching cost the forwarder nothing, and are quick on a host with 1,000 processes.

Figures of a build with sanitizers are those of a slow program: the claims hold there too.
"""
import os
import pathlib
import re
import select
import shutil
import statistics
import threading
import time
import unittest

import attach
import harness
from attach import Case, figure, works
from harness import SANITIZER

MARK = "getpgid(23130)"
ROUNDS = 12
TRACED = ["strace", "-f", "-o"]


def status_of(pid):
    """Numbers of /proc/PID/status and stat: what the kernel counts of a process."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    fields = dict(re.findall(r"(?m)^(\w+):\s+(\d+)", text))
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {"voluntary": int(fields["voluntary_ctxt_switches"]),
            "faults": int(stat[7]) + int(stat[9]), "tracer": int(fields["TracerPid"])}


class Attacher:
    """Attaches to a process and detaches again, by every command, until it is told to stop."""

    def __init__(self, case, pid):
        self.case, self.pid = case, pid
        self.times, self.error = 0, None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def once(self):
        for command in ("inspect", "dump", "check"):
            self.case.run_command(command, "--pid", self.pid)
        self.case.run_command("list")
        sidecar = harness.Sidecar(self.case.scratch, "--pid", self.pid, "--interval", "100ms")
        try:
            sidecar.await_ready(200, "all_components_healthy")
            sidecar.stop()
        finally:
            sidecar.abandon()
        self.times += 1

    def _run(self):
        try:
            while not self.stopped.is_set():
                self.once()
        except BaseException as error:  # told to the test by stop()
            self.error = error

    def stop(self):
        self.stopped.set()
        self.thread.join()
        if self.error is not None:
            raise self.error
        return self.times


class Nothing(Case):
    def attachable(self, **more):
        patient = self.memfd(**more)
        patient.pipeline()
        return patient

    @unittest.skipIf(SANITIZER == "thread", "skipped: the sanitizer itself enters the kernel")
    @unittest.skipUnless(shutil.which("strace") and works("strace", "-f", "true"),
                         "skipped: strace is missing or ptrace is not permitted")
    def test_no_system_call_and_no_signal(self):
        """strace of the forwarder, in its hot loop while others attach and detach."""
        trace = os.path.join(self.scratch, "trace")
        patient = self.attachable(before=[*TRACED, trace], environment=attach.NO_LEAKS)
        pid = attach.child_of(patient.pid)
        began = time.monotonic()
        patient.do("hot", 5000)
        steps = int(5000 * 4 / (time.monotonic() - began))
        done = False
        while not done:
            patient.send("hot", steps)
            attacher = Attacher(self, pid)
            harness.wait_until(lambda: attacher.times > 0 or attacher.error, what="an attach")
            # The loop still runs: everything fell between its marks.
            done = not select.select([patient.popen.stdout], [], [], 0)[0]
            attacher.stop()
            self.assertEqual(patient._line(harness.BOUND * 5), "ok")
            steps *= 2
        patient.quit()
        lines = pathlib.Path(trace).read_text().splitlines()
        marks = [i for i, line in enumerate(lines) if MARK in line]
        thread = lines[marks[-2]].split()[0]
        self.assertEqual(int(thread), pid)
        # A sanitizer may keep a thread of its own.
        between = [line for line in lines[marks[-2] + 1:marks[-1]]
                   if not SANITIZER or line.split()[0] == thread]
        self.assertEqual(between, [])

    def round_of(self, patient, steps):
        """One round of the hot loop: CPU ns a step, and what the kernel counted meanwhile."""
        before, cpu = status_of(patient.pid), harness.cpu_ns(patient.pid)
        patient.do("hot", steps)
        cost = (harness.cpu_ns(patient.pid) - cpu) / steps
        after = status_of(patient.pid)
        self.assertEqual(after["tracer"], 0)
        return cost, after["voluntary"] - before["voluntary"], after["faults"] - before["faults"]

    def test_counters(self):
        """Context switches, page faults, a tracer, CPU time a round: before, during and after."""
        patient = self.attachable()
        steps = 20_000
        patient.do("hot", steps)  # every page is touched, every ring lapped
        began = time.monotonic()
        patient.do("hot", steps)
        steps = max(2000, int(steps * 0.3 / (time.monotonic() - began)))
        rounds = {}
        for phase in ("before", "during", "after"):
            attacher = Attacher(self, patient.pid) if phase == "during" else None
            rounds[phase] = [self.round_of(patient, steps) for _ in range(ROUNDS)]
            while attacher is not None and attacher.times == 0 and attacher.error is None:
                rounds[phase].append(self.round_of(patient, steps))
            if attacher is not None:
                times = attacher.stop()
        summary = []
        for phase, of in rounds.items():
            costs, voluntary, faults = zip(*of)
            summary.append(f"{phase} {statistics.median(costs):.0f} ns a step, "
                           f"{sum(faults)} page faults, {sum(voluntary)} waits")
            # It waits for the next command, which may or may not be counted yet; for nothing else.
            self.assertLessEqual(sum(voluntary), len(of) + 1, phase)
            self.assertEqual(sum(faults), 0, phase)
        figure("the forwarder while others attach and detach",
               f"{'; '.join(summary)} ({len(rounds['during'])} rounds of {steps} steps of 14 calls,"
               f" attached {times} times by 5 commands; TracerPid always 0)")
        median = {phase: statistics.median(cost for cost, _, _ in of)
                  for phase, of in rounds.items()}
        # Nothing but the neighbour's share of cache and memory; a stop would cost thousands.
        self.assertLess(median["during"], 2 * median["before"])


class Quick(Case):
    TIMES = 5

    def timed(self, *arguments):
        """Seconds from start to end, the median of some runs."""
        took = []
        for _ in range(self.TIMES):
            began = time.monotonic()
            out, _ = self.run_command(*arguments)
            took.append(time.monotonic() - began)
        return statistics.median(took), out

    def first_message(self, pid):
        """Seconds from the start of serve, at its default interval, to the first message."""
        began = time.monotonic()
        sidecar = self.sidecar_of(pid, interval="2s")
        subscriber = self.subscriber(sidecar)
        harness.wait_until(lambda: subscriber.texts, what="a message")
        took = subscriber.texts[0][0] - began
        self.assertEqual(subscriber.documents("metrics")[0]["resourceMetrics"][0]["resource"]
                         ["attributes"][0]["value"]["stringValue"], "patient")
        subscriber.close()
        sidecar.stop()
        return took

    def test_among_1000_processes(self):
        patient = self.memfd()
        patient.pipeline()
        slow = 4 if SANITIZER else 1
        told = []
        for crowd in (0, 1000):
            if crowd:
                self.herd(crowd, "none")
            attached, out = self.timed("inspect", "--pid", patient.pid)
            self.assertIn("verdict     alive", out)
            listed, out = self.timed("list")
            self.assertIn("memfd:fwdscope:patient", out)
            started = statistics.median(self.first_message(patient.pid) for _ in range(3))
            processes = sum(name.isdigit() for name in os.listdir("/proc"))
            told.append(f"{processes} processes: attach by pid (inspect --pid) "
                        f"{attached * 1000:.0f} ms, list {listed * 1000:.0f} ms, serve to first "
                        f"message {started * 1000:.0f} ms")
            self.assertLess(attached, 0.5 * slow)
            self.assertLess(listed, 0.8 * slow)
            self.assertLess(started, 1.0 * slow)
        figure(f"time to attach{f', with {SANITIZER} sanitizer' if SANITIZER else ''}",
               "; ".join(told))


if __name__ == "__main__":
    unittest.main(verbosity=2)
