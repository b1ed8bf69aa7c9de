#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A forwarder that scribbles over its own region while the sidecar serves it, a healthy one beside
it, and a client: 10 s for each of two forms, 5 min in the long form."""
import subprocess
import time
import unittest

import hostile
from harness import Process, wait_until

SECONDS = 300 if hostile.LONG else 10
HEADER_WORDS = 512


class Scribble(hostile.Case):
    def scribbler(self, first):
        process = Process([hostile.SCRIBBLER, self.dir, first], self.scratch,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.popen.stdin.close)
        self.addCleanup(process.popen.stdout.close)
        self.addCleanup(process.abandon)
        state, _, path = process.popen.stdout.readline().decode().strip().partition(" ")
        self.assertEqual(state, "on", process.errors())
        return process, path

    def commands_check(self, path):
        """One look at the region from outside: printed, or refused in one line."""
        for command in (("inspect",), ("dump",), ("dump", "-o", "json")):
            process = Process([hostile.harness.FWDSCOPE, *command, path], self.scratch,
                              stdout=subprocess.DEVNULL)
            process.code = process.popen.wait(hostile.harness.BOUND)
            process.check_reports()
            self.assertIn(process.code, (0, 4), process.errors())

    def scribble(self, name, first):
        patient = self.healthy()
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar)
        scribbler, path = self.scribbler(first)
        wait_until(lambda: "hostile" in self.forwarders(sidecar), what="the region to scribble on")
        scribbler.popen.stdin.write(b"\n")
        scribbler.popen.stdin.flush()
        judge, watch = hostile.Judge(), hostile.Watch(sidecar)
        before = sidecar.status()["sampler"]
        memory_before = hostile.memory_peak_mib(sidecar.pid)
        cpu_before, began = hostile.process_cpu_s(sidecar.pid), time.monotonic()
        looks, lines, refusals = 0, 0, set()
        while time.monotonic() < began + SECONDS:
            self.await_served(sidecar, patient, subscriber, judge)
            lines += 1
            self.commands_check(path)
            looks += 3
            for one in self.forwarders(sidecar).values():
                refusals.update(text.partition(":")[0] for text in one["region"].get("refused", ()))
            if looks == 30:  # one that attaches while it goes on
                late = self.sidecar()
                late.await_tick(5)
                late.stop()
        took = time.monotonic() - began
        cpu = hostile.process_cpu_s(sidecar.pid) - cpu_before
        memory = hostile.memory_peak_mib(sidecar.pid)
        after = sidecar.status()["sampler"]
        answers, p50, p99 = watch.stop()
        scribbler.popen.stdin.close()
        stored = int(scribbler.popen.stdout.readline().split()[1])
        scribbler.wait(0)
        self.await_served(sidecar, patient, subscriber, judge)
        documents = sum(judge.documents.values())
        print(f"figure: scribbled {name}: {stored} words in {took:.0f} s; "
              f"{after['ticks'] - before['ticks']} ticks, {documents} documents accepted, {lines} "
              f"lines of the healthy forwarder served meanwhile, {looks} commands", flush=True)
        print(f"figure: scribbled {name}: sidecar {100 * cpu / took:.0f} % of a core, peak memory "
              f"{memory_before:.0f} -> {memory:.0f} MiB, /live {answers} times, p50 {p50:.1f} ms, "
              f"p99 {p99:.1f} ms", flush=True)
        print(f"figure: scribbled {name}: {after['torn'] - before['torn']} units left out, sections "
              f"named in the status: {', '.join(sorted(refusals)) or 'none'}", flush=True)
        self.assertGreater(stored, 100_000)
        self.assertGreater(documents, SECONDS)
        self.assertGreater(lines, SECONDS // 4)
        self.assertGreater(after["ticks"] - before["ticks"], 2 * SECONDS)
        self.assertGreater(answers, SECONDS)
        self.assertTrue(refusals, "a section that is scribbled over is named")
        self.assertLess(memory - memory_before, 400)
        self.assertLess(cpu / took, 1.0)

    def test_everything_but_the_header(self):
        self.scribble("sections", HEADER_WORDS)

    def test_the_header_too(self):
        self.scribble("header and sections", 0)


if __name__ == "__main__":
    unittest.main(verbosity=0)
