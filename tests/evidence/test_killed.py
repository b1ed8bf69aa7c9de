#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL, and the kernel's OOM killer in a memory cgroup: no handler runs, the evidence stands."""
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time
import unittest

from evidence import Case, Victim, harness

V1, V2 = pathlib.Path("/sys/fs/cgroup/memory"), pathlib.Path("/sys/fs/cgroup")
LIMIT = 48 << 20


class Cgroup:
    """A memory cgroup of its own; None: this machine lets nobody make one."""

    @classmethod
    def make(cls, case):
        for version, root in ((1, V1), (2, V2)):
            limit = "memory.limit_in_bytes" if version == 1 else "memory.max"
            path = root / f"fwdscope-evidence-{os.getpid()}"
            if version == 1 and not (root / "memory.usage_in_bytes").exists() or \
                    version == 2 and not (root / "cgroup.controllers").exists():
                continue
            try:
                path.mkdir()
                case.addCleanup(path.rmdir)
                (path / limit).write_text(str(LIMIT))
            except OSError as error:
                print(f"no memory cgroup (version {version}): {error}")
                continue
            for swap, value in (("memory.memsw.limit_in_bytes", str(LIMIT)),
                                ("memory.swap.max", "0")):
                if (path / swap).exists():
                    (path / swap).write_text(value)
            return cls(version, path)
        return None

    def __init__(self, version, path):
        self.version, self.path = version, path

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def kills(self):
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return int(re.search(r"^oom_kill (\d+)$", (self.path / name).read_text(), re.M)[1])


class Killed(Case):
    def assert_evidence(self, path):
        """What it was doing: verdict, counters, the batch in flight, its last line."""
        text, _ = self.run_command("dump", path)
        self.assertIn("crashed: its lock is gone and it never closed the region", text)
        self.assertIn("app.log  healthy  lines 300  bytes 30000", text)
        self.assertIn("queue 7/8", text)
        self.assertRegex(text, r"active spans \(1, in flight when it ended\)\n.*  in flight  .*batch  stage output")
        self.assertIn("the collector does not answer", text)
        self.assertIn("sound: ", self.run_command("inspect", "--verify", path)[0])

    def test_sigkill(self):
        victim = Victim(self, "--catch", "wait")
        victim.await_word("page")
        os.kill(victim.pid, signal.SIGKILL)
        self.assertEqual(os.WTERMSIG(victim.wait()), signal.SIGKILL)
        self.assert_evidence(victim.region)
        writer = self.writer(victim.region)
        self.assertNotIn("signal", writer)
        self.assertIn("no signal was seen, as after SIGKILL, running out of memory",
                      writer["reason"])

    def test_oom_killer(self):
        cgroup = Cgroup.make(self)
        if cgroup is None:
            self.skipTest("this machine lets nobody make a memory cgroup; RLIMIT_AS is another test")
        before = cgroup.kills()
        sidecar = self.sidecar()
        victim = Victim(self, "--catch", "--capture", "oom", preexec=cgroup.enter,
                        directory=self.dir)
        self.assertEqual(os.WTERMSIG(victim.wait()), signal.SIGKILL)
        killed = time.monotonic()
        self.assertEqual(cgroup.kills(), before + 1, "the kernel's OOM killer did it")
        sidecar.await_ready(503, "writer_crashed")
        noticed = time.monotonic() - killed
        self.assertEqual(sidecar.get("/live").status, 200)
        self.assert_evidence(victim.region)
        print(f"\nfigure: OOM-killed by the kernel (memory cgroup version {cgroup.version}, limit"
              f" {LIMIT >> 20} MiB): crashed verdict {noticed * 1000:.0f} ms later at an interval of"
              " 100 ms, counters, batch in flight and last line there")

    def test_out_of_address_space(self):
        """RLIMIT_AS: malloc() says no and the forwarder aborts, as many do."""
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
        victim = self.ended("--catch", "oom", preexec=limit)
        self.assertEqual(os.WTERMSIG(victim.status), signal.SIGABRT)
        self.assert_evidence(victim.region)
        self.assertEqual(self.writer(victim.region)["signal_name"], "SIGABRT")

    def test_a_copy_elsewhere(self):
        """The file on a disk of another machine, so to say: same evidence, original gone."""
        victim = Victim(self, "--catch", "segv")
        victim.wait()
        there = pathlib.Path("/tmp") / f"fwdscope-evidence-{os.getpid()}.fwdscope"
        self.addCleanup(there.unlink)
        shutil.copyfile(victim.region, there)
        before = self.run_command("dump", victim.region)[0]
        os.unlink(victim.region)
        self.assertEqual(self.run_command("dump", there)[0], before)
        self.assert_evidence(there)

    def test_the_page_of_the_readme(self):
        """Its lines as they stand, after a SIGKILL and the start of the next life."""
        page = (harness.ROOT / "README.md").read_text().split("## My forwarder was OOM-killed")[1]
        script = re.search(r"```sh\n(.*?)```", page, re.S)[1]
        victim = Victim(self, "--catch", "wait", directory=self.dir)
        victim.await_word("page")
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        again = Victim(self, "--catch", "wait", directory=self.dir)
        again.await_word("page")
        done = subprocess.run(["sh", "-e", "-c", script.replace("dmesg |", "dmesg | cat; true ||")],
                              cwd=self.scratch, capture_output=True, text=True,
                              env={**os.environ, "FWDSCOPE_DIR": self.dir,
                                   "PATH": f"{harness.BUILD}:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("generation 1", done.stdout)
        self.assertIn("no signal was seen, as after SIGKILL, running out of memory", done.stdout)
        self.assertEqual(done.stdout.count("the collector does not answer"), 2)
        self.assertIn("sound: evidence/region.fwdscope", done.stdout)
        self.assertEqual(sorted(os.listdir(os.path.join(self.scratch, "evidence", "otlp"))),
                         ["logs.jsonl", "metrics.jsonl", "traces.jsonl"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
