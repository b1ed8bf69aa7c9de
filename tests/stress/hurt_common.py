# SPDX-License-Identifier: Apache-2.0
"""What the "forwarder is never hurt" tests share: a run of the example forwarder over a file of
lines, whose delivered file is compared byte by byte with that of a program without any shim."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402  (the path above)
from harness import wait_until  # noqa: E402

HERE = harness.BUILD / "tests" / "stress"
CALLS = HERE / "hurt_calls"
FORWARDER = HERE / "hurt_forwarder"  # the example, released, its start-up in our hands
PLAIN = HERE / "hurt_plain"          # the same without a shim
EXAMPLE = harness.BUILD / "fwdscope-example-forwarder"  # as this build made it
FIU_PRELOAD = os.environ.get("FIU_PRELOAD", "/usr/lib/fiu/fiu_posix_preload.so")
STRACE = os.environ.get("STRACE", "strace")
LONG = os.environ.get("FWDSCOPE_LONG", "0") not in ("", "0")
MARK = "getpgid(23130)"
OTHER_UID = 65534
LONG_BOUND = 600.0  # seconds, for a large input under a sanitizer on a loaded machine


def choose(short, long):
    """The number for this form of the group."""
    return long if LONG else short


def figure(claim, numbers):
    print(f"figure: {claim}: {numbers}", flush=True)


def works(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


MOUNTS = works("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt")
TRACES = works(STRACE, "true")
needs_mounts = unittest.skipUnless(MOUNTS, "mounting a small tmpfs is not permitted")
needs_traces = unittest.skipUnless(TRACES, "ptrace is not permitted")
needs_root = unittest.skipUnless(os.geteuid() == 0, "becoming another user is not permitted")


def mounted(directory, options, then=""):
    """What to put before a command that shall see a tmpfs of its own at `directory`."""
    return ["unshare", "-m", "sh", "-c",
            f'mount -t tmpfs -o {options} none "$0" && {then or "true"} && exec "$@"', directory]


def lines_make(count, seed=7):
    """Lines of many kinds: plain, JSON, with a time and a level, long, empty, not UTF-8."""
    draw = random.Random(seed)
    for i in range(count):
        kind = draw.randrange(8)
        if kind == 0:
            yield json.dumps({"level": "info", "n": i, "text": "x" * draw.randrange(200)}).encode()
        elif kind == 1:
            yield bytes(draw.choice(b"ab\"\\\t\xc3\xff\x01") for _ in range(draw.randrange(60)))
        else:
            yield b"2024-01-31 10:11:%02d error line %d %s" % (i % 60, i, b"y" * draw.randrange(90))


class Forwarder(harness.Process):
    """One run of the example. `report`: what the wrapped start-up said, see hurt_window.c."""

    def __init__(self, case, binary, directory=None, environment=None, before=()):
        self.case = case
        self.report_path = pathlib.Path(case.scratch, "report")
        self.report_path.unlink(missing_ok=True)
        case.out.unlink(missing_ok=True)
        super().__init__([*before, binary, "--config", case.config, "--directory",
                          directory or case.dir], case.scratch,
                         {"HURT_REPORT": str(self.report_path), **(environment or {})})
        case.processes.append(self)
        said = self.report_path.exists if binary == FORWARDER else \
            lambda: "info: started:" in self.errors()
        wait_until(lambda: said() or self.popen.poll() is not None, what="the start")
        assert said(), f"it did not start: {self.popen.returncode} {self.errors()}"
        self.report = self._report() if binary == FORWARDER else {"pid": str(self.pid)}

    def _report(self):
        lines = self.report_path.read_text().splitlines()
        return dict((line.partition(" ")[0], line.partition(" ")[2]) for line in lines)

    @property
    def is_on(self):
        return self.report["on"] == "1"

    def delivered(self):
        return self.case.out.stat().st_size if self.case.out.exists() else 0

    def await_delivered(self, size):
        """Awaits so many bytes; what is left at the end has to be delivered in 5 s."""
        wait_until(lambda: self.delivered() >= size or self.popen.poll() is not None, LONG_BOUND,
                   f"{size} bytes")
        assert self.delivered() >= size, f"it ended: {self.popen.returncode}: {self.errors()}"

    def await_lines(self, count):
        size = lines = 0
        while lines < count:
            self.await_delivered(size + 1)
            with open(self.case.out, "rb") as file:
                file.seek(size)
                data = file.read()
            size += len(data)
            lines += data.count(b"\n")

    def quit(self):
        """Ends it in good order: it reads what its file holds, and delivers all of it."""
        os.kill(int(self.report["pid"]), signal.SIGTERM)
        self.wait(0)


class Case(harness.Case):
    """A file of lines, and what a forwarder without a shim makes of it."""
    LINES = 2000

    def setUp(self):
        super().setUp()
        self.input = pathlib.Path(self.scratch, "in.log")
        self.out = pathlib.Path(self.scratch, "out.ndjson")
        self.config = pathlib.Path(self.scratch, "forwarder.yaml")
        self.config.write_text(json.dumps({
            "service_name": "hurt",
            "input": {"paths": [str(self.input)]},
            "batch": {"rows": 500, "timeout_ms": 20},
            "output": {"type": "file", "address": str(self.out), "workers": 1}}))
        self.input.write_bytes(b"".join(line + b"\n" for line in lines_make(self.LINES)))
        plain = Forwarder(self, PLAIN)
        plain.await_lines(self.LINES)
        plain.quit()
        self.reference = self.out.read_bytes()
        self.assertEqual(self.reference.count(b"\n"), self.LINES)

    def assert_delivered(self, what=""):
        """Byte by byte what it is without a shim."""
        self.assertEqual(self.out.stat().st_size, len(self.reference), what)
        self.assertTrue(self.out.read_bytes() == self.reference, f"other bytes: {what}")

    def run_whole(self, what, **options):
        """A run over the whole file; returns what its start-up said."""
        forwarder = Forwarder(self, FORWARDER, **options)
        forwarder.quit()
        self.assert_delivered(what)
        self.processes.remove(forwarder)
        os.unlink(forwarder.log_path)
        self.assertEqual(forwarder.report["actions_changed"], "0", what)
        return forwarder

    def clear(self):
        shutil.rmtree(self.dir)
        os.mkdir(self.dir)
