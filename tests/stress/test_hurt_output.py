# SPDX-License-Identifier: Apache-2.0
"""A large input through the example forwarder while everything around its shim goes wrong: what it
delivers is byte for byte what a program without a shim delivers."""
import os
import pathlib
import signal
import unittest

from hurt_common import (EXAMPLE, Case, Forwarder, choose, figure, harness, lines_make, mounted,
                         needs_mounts, wait_until)

PARTS = 10


class Output(Case):
    LINES = choose(60_000, 1_000_000)

    def setUp(self):
        super().setUp()
        self.parts = []
        lines = [line + b"\n" for line in lines_make(self.LINES)]
        for part in range(PARTS):
            self.parts.append(b"".join(lines[part * self.LINES // PARTS:
                                             (part + 1) * self.LINES // PARTS]))

    def feed(self, during=lambda part: None, **options):
        """Writes the input part by part; while each is on its way comes what the test is about.
        Returns the forwarder, which has ended."""
        self.input.write_bytes(b"")
        self.forwarder = Forwarder(self, EXAMPLE, **options)
        for part, data in enumerate(self.parts):
            before = self.forwarder.delivered()
            with open(self.input, "ab") as file:
                file.write(data)
            during(part)
            self.forwarder.await_delivered(before + 1)
        self.forwarder.await_delivered(len(self.reference))
        self.forwarder.quit()
        self.assert_delivered()
        return self.forwarder

    def tell(self, what, more=""):
        figure(f"delivered bytes, {what}", f"{self.LINES} lines, {len(self.reference)} bytes, "
               f"identical to those without a shim{more}")

    def region(self):
        names = [name for name in os.listdir(self.dir) if not name.startswith(".")]
        self.assertEqual(len(names), 1)
        return os.path.join(self.dir, names[0])

    def lines_seen(self, sidecar):
        return sum(component["lines_total"] for pipeline in sidecar.status()["pipelines"]
                   for component in pipeline["inputs"])

    def test_inert(self):
        """The same binary, its shim off because there is no place for a region."""
        forwarder = self.feed(directory=os.path.join(self.scratch, "nowhere"))
        self.assertIn("runs without diagnostics", forwarder.errors())
        self.tell("shim inert")

    def test_nobody_reads(self):
        self.feed()
        self.assertTrue(self.region())
        self.tell("shim on, nobody reads")

    def test_sidecar(self):
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, rules=False, keep=False)
        self.feed()
        wait_until(lambda: self.lines_seen(sidecar) == self.LINES, what="all lines in the status")
        self.assertGreater(len(subscriber.pump()), 0)
        self.tell("sidecar and a subscriber attached", "; the sidecar counts every line")

    def test_sidecar_stopped(self):
        sidecar = self.sidecar()

        def stop(part):
            if part == 2:
                self.await_seen(sidecar)
                sidecar.signal(signal.SIGSTOP)
        self.feed(during=stop)
        state = pathlib.Path(f"/proc/{sidecar.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        self.assertEqual(state, "T")
        sidecar.signal(signal.SIGCONT)
        wait_until(lambda: self.lines_seen(sidecar) == self.LINES, what="all lines in the status")
        self.tell("sidecar stopped", "; the sidecar, continued, counts every line")

    def await_seen(self, sidecar):
        pid = self.forwarder.pid
        wait_until(lambda: sidecar.status()["writer"].get("pid") == pid, what="the forwarder seen")

    def test_sidecar_killed(self):
        """Again and again, while it reads the forwarder that is at work."""
        killed = []

        def kill(_):
            for _ in range(choose(1, 5)):
                sidecar = self.sidecar(interval="100ms")
                self.await_seen(sidecar)
                sidecar.kill()
                killed.append(sidecar.pid)
        self.feed(during=kill)
        self.tell(f"sidecar killed {len(killed)} times")

    def test_region_unlinked(self):
        sidecar = self.sidecar()

        def unlink(part):
            if part == PARTS // 2:
                self.await_seen(sidecar)
                os.unlink(self.region())
        self.feed(during=unlink)
        self.assertEqual(os.listdir(self.dir), [])
        self.tell("region unlinked in the middle")

    @needs_mounts
    def test_full_at_start(self):
        forwarder = self.feed(before=mounted(self.dir, "size=1m"))
        self.assertIn("No space left on device", forwarder.errors())
        self.tell("tmpfs full at start")

    @needs_mounts
    def test_full_while_running(self):
        """The region was allocated whole, so it needs nothing more."""
        filler = []

        def fill(part):
            if part != 2:
                return
            inside = f"/proc/{self.forwarder.pid}/root{self.dir}"
            filler.append(os.stat(next(pathlib.Path(inside).glob("*.fwdscope"))).st_blocks * 512)
            with open(f"{inside}/full", "wb", buffering=0) as file, \
                    self.assertRaises(OSError) as raised:
                while True:
                    filler.append(file.write(bytes(4096)))
            self.assertEqual(raised.exception.errno, 28)
            self.assertEqual(os.statvfs(inside).f_bfree, 0)
        self.feed(during=fill, before=mounted(self.dir, "size=12m"))
        self.assertGreater(len(filler), 2)
        self.tell("tmpfs filled to the last page while it runs",
                  f"; region {filler[0]} bytes, allocated at start")


if __name__ == "__main__":
    unittest.main(verbosity=0)
