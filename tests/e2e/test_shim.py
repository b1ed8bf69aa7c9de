#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shim in its host: it stays out of the way when it cannot open, and out of the kernel when it
can."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import BUILD, Case, Patient, SANITIZER

MARK = "getpgid(23130)"
ALL_COMMANDS = [("pipeline", "p"), ("input", "in", "file"), ("output", "out", "tcp"),
                ("health", "in", 0), ("progress", "in", 1, 1), ("batch", "batches", 1),
                ("counter", "c", 1), ("gauge", "g", 1), ("histogram", "h", 1),
                ("span-start", "s", "batch"), ("span-set", "s", "a", "b"), ("span-end", "s"),
                ("lines", 100), ("spans", 100), ("hot", 100), ("register-many", 10)]


def works(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


class Inert(Case):
    """It does not open: the host runs on, is told why in one line, and each call does nothing."""

    def assert_inert(self, *parts, before=(), directory, **more):
        patient = Patient(self.scratch, "--dir", directory, before=before, **more)
        self.processes.append(patient)
        self.assertFalse(patient.is_on)
        for part in parts:
            self.assertIn(part, patient.detail)
        for command in ALL_COMMANDS:
            patient.do(*command)
        patient.quit()
        return patient

    def test_no_such_directory(self):
        directory = os.path.join(self.scratch, "nowhere")
        self.assert_inert(directory, "No such file", directory=directory)

    def test_disk(self):
        directory = tempfile.mkdtemp(dir=BUILD)
        self.addCleanup(shutil.rmtree, directory)
        kind = subprocess.run(["stat", "-f", "-c", "%T", directory], check=True,
                              stdout=subprocess.PIPE, text=True).stdout.strip()
        if kind == "tmpfs":
            self.skipTest(f"the build directory {BUILD} is on tmpfs")
        self.assert_inert("not on tmpfs", "/dev/shm", directory=directory)
        self.assertEqual(os.listdir(directory), [])

    @unittest.skipUnless(works("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"),
                         "mounting a small tmpfs is not permitted")
    def test_full_tmpfs(self):
        directory = os.path.join(self.scratch, "small")
        listing = os.path.join(self.scratch, "listing")
        os.mkdir(directory)
        # A mount of its own, gone with the process; what it left in it is listed at its end.
        script = ('mount -t tmpfs -o size=256k none "$0" && "$@"; code=$?; '
                  f'ls -A "$0" >{listing}; exit $code')
        self.assert_inert("No space left", "smaller rings", directory=directory,
                          before=["unshare", "-m", "sh", "-c", script, directory])
        self.assertEqual(pathlib.Path(listing).read_text(), "")

    def test_bad_size(self):
        patient = Patient(self.scratch, "--dir", self.dir, "--log-ring", 1)
        self.processes.append(patient)
        self.assertFalse(patient.is_on)
        self.assertIn("log_ring_bytes is 1", patient.detail)
        patient.quit()


class NoSystemCalls(Case):
    LOOPS = 2000

    @unittest.skipIf(SANITIZER == "thread", "the sanitizer itself enters the kernel")
    def test_hot_loop(self):
        """strace of the patient: between the two marks no thread of it enters the kernel."""
        probe = subprocess.run(["strace", "-f", "true"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=False) \
            if shutil.which("strace") else None
        if probe is None or probe.returncode != 0:
            self.skipTest("strace is missing or ptrace is not permitted")
        trace = os.path.join(self.scratch, "trace")
        options = os.environ.get("ASAN_OPTIONS", "")
        patient = self.patient(before=["strace", "-f", "-o", trace], environment={
            "ASAN_OPTIONS": f"{options}:detect_leaks=0"})  # it cannot look while it is traced
        patient.pipeline()
        patient.do("hot", self.LOOPS)
        sidecar = self.sidecar()
        sidecar.await_tick()
        # The loop did its work.
        self.assertEqual(sidecar.status()["pipelines"][0]["batches"]["total"], self.LOOPS + 1)
        patient.quit()
        lines = pathlib.Path(trace).read_text().splitlines()
        marks = [i for i, line in enumerate(lines) if MARK in line]
        self.assertEqual(len(marks), 2, lines[-20:])
        thread = lines[marks[0]].split()[0]
        # A sanitizer may keep a thread of its own.
        between = [line for line in lines[marks[0] + 1:marks[1]]
                   if not SANITIZER or line.split()[0] == thread]
        calls = [line for line in between if re.search(r"^\d+\s+(\w+\(|<\.\.\. )", line)]
        self.assertEqual(calls, [])


class Idle(Case):
    def test_no_reader_no_difference(self):
        """Rings that nobody reads are overwritten, not waited for."""
        patient = self.patient("--log-ring", 64 << 10)
        for _ in range(5):
            patient.do("lines", 20_000, bound=harness.BOUND)
        self.assertEqual(patient.do("lines", 1), [100_001])


if __name__ == "__main__":
    unittest.main(verbosity=2)
