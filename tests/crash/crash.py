# SPDX-License-Identifier: Apache-2.0
"""What the crash tests share: the end-to-end harness, this group's programs, short and long form."""
import mmap
import os
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402  (the path above)

EVERY_STORE = harness.BUILD / "tests" / "crash" / "every_store"
RESTART = harness.BUILD / "tests" / "crash" / "restart"
LONG = os.environ.get("FWDSCOPE_LONG", "0") not in ("", "0")


def choose(short, long):
    """The number for this form of the group."""
    return long if LONG else short


def figure(claim, numbers):
    print(f"figure: {claim}: {numbers}", flush=True)


class Writer(harness.Process):
    """A life of `restart write`; what it tells is read from memory that survives it."""

    FIELDS = ("opened", "begun", "done", "generation", "regions", "filling", "told_to_close")

    def __init__(self, scratch, directory, pace_us):
        path = os.path.join(scratch, "progress")
        with open(path, "wb") as file:
            file.write(bytes(mmap.PAGESIZE))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        super().__init__([RESTART, "write", directory, path, pace_us], scratch)

    def told(self, field):
        return struct.unpack_from("=Q", self.memory, 8 * self.FIELDS.index(field))[0]

    def await_open(self):
        harness.wait_until(lambda: self.told("opened") or self.popen.poll() is not None)
        assert self.told("opened") == 1, f"a start failed: {self.errors()}"
