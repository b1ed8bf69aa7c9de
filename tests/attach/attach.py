# SPDX-License-Identifier: Apache-2.0
"""What the tests of attaching share: the end-to-end harness, sidecars by pid, other users."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402  (the path above)

HERD = harness.BUILD / "tests" / "attach" / "herd"
OK, RUNTIME, USAGE, ABSENT, UNREADABLE, UNHEALTHY = range(6)
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def with_capabilities(*names):
    """As nobody, with capabilities."""
    plus = ",".join(f"+{name}" for name in names)
    return [*AS_NOBODY, f"--inh-caps={plus}", f"--ambient-caps={plus}"]


# A sanitizer that looks for leaks would have to trace a process of another user.
NO_LEAKS = {"ASAN_OPTIONS": "quarantine_size_mb=4:detect_leaks=0"}


def works(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def why_not_root():
    """Why tests that become somebody else cannot run here, or ""."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return "skipped: becoming another user needs root and setpriv"
    if not works(*AS_NOBODY, harness.FWDSCOPE, "--version"):
        return f"skipped: another user cannot run {harness.FWDSCOPE}"
    return ""


def figure(claim, numbers):
    # At the start of a line, whatever the test runner has said on this one.
    print(f"\nfigure: {claim}: {numbers}", flush=True)


def child_of(pid):
    """The only child of a process, once it is there."""
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return int(harness.wait_until(lambda: path.read_text().split(), what="a child")[0])


class Herd(harness.Process):
    """So many processes of herd.c; pids of them."""

    def __init__(self, scratch, count, what):
        super().__init__([HERD, count, what], scratch, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        lines = iter(self.popen.stdout.readline, b"")
        self.pids = []
        for line in lines:
            if line == b"ready\n":
                return
            self.pids.append(int(line))
        raise AssertionError(f"the herd ended: {self.errors()}")

    def quit(self):
        self.popen.stdin.close()
        self.wait(0)


class Case(harness.Case):
    def sidecar_of(self, pid, *options, interval="100ms", **more):
        sidecar = harness.Sidecar(self.scratch, "--pid", pid, "--interval", interval, *options,
                                  **more)
        self.processes.append(sidecar)
        return sidecar

    def memfd(self, *options, **more):
        """A forwarder with a sealed memfd; its directory stays empty."""
        patient = self.patient("--sealed-memfd", *options, **more)
        self.assertRegex(patient.path, r"^/proc/\d+/fd/\d+$")
        self.assertEqual(os.listdir(self.dir), [])
        return patient

    def herd(self, count, what):
        herd = Herd(self.scratch, count, what)
        self.processes.append(herd)
        self.assertEqual(len(herd.pids), count)
        return herd

    def list_json(self, *options, **more):
        out, _ = self.run_command("list", "-o", "json", *options, **more)
        return json.loads(out)

    def listed(self, *options, **more):
        """The listed regions that are this test's own."""
        return [region for region in self.list_json(*options, **more)["regions"]
                if self.scratch in region["path"] or "written_by" in region]

    def open_to_all(self):
        """Lets other users reach the scratch directory."""
        for directory in (self.scratch, self.dir):
            os.chmod(directory, 0o777)
