# SPDX-License-Identifier: Apache-2.0
"""What the tests of this group share: the host, what it leaves behind, exact totals."""
import contextlib
import fcntl
import json
import os
import pathlib
import select
import signal
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402  (the path above)
import otlp_rules  # noqa: E402
from harness import wait_until  # noqa: E402

PROGRAMS = harness.BUILD / "tests" / "fork"
LONG = os.environ.get("FWDSCOPE_LONG", "0") not in ("", "0")


def choose(short, long):
    """The number for this form of the group."""
    return long if LONG else short


def figure(claim, numbers):
    print(f"figure: {claim}: {numbers}", flush=True)


class Host(harness.Process):
    """A scenario of host.c. release: without sanitizers, at full speed."""

    def __init__(self, scratch, *words, release=False):
        program = PROGRAMS / ("fork_host_release" if release else "fork_host")
        super().__init__([program, *words], scratch, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.said = b""

    def any_line(self, bound=4 * harness.BOUND):
        """The first word of its next line, and the rest."""
        while b"\n" not in self.said:
            ready, _, _ = select.select([self.popen.stdout], [], [], bound)
            assert ready, f"{self.arguments} says nothing"
            more = os.read(self.popen.stdout.fileno(), 4096)
            assert more, f"{self.arguments} ended: {self.errors()}"
            self.said += more
        line, _, self.said = self.said.partition(b"\n")
        word, _, rest = line.decode().partition(" ")
        return word, rest

    def line(self, first):
        """The words behind `first` of its next line."""
        word, rest = self.any_line()
        assert word == first, f"{self.arguments}: {word} {rest}, not {first}: {self.errors()}"
        return rest

    def numbers(self, first):
        return [int(word) for word in self.line(first).split()]

    def send(self, text):
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()

    def end_input(self):
        self.popen.stdin.close()


class Region:
    """What `fwdscope dump` finds in a region file."""

    def __init__(self, scratch, path):
        output, _ = harness.run(["dump", "-o", "json", path], scratch, 0)
        self.all = json.loads(output)
        status = self.all["status"]
        self.writer, self.lost = status["writer"], status["region"]["lost"]
        self.sampler = status["sampler"]

    def points(self, name):
        if "metrics" not in self.all:
            return []
        return otlp_rules.points([self.all["metrics"]], name)

    def metric(self, name):
        """The value of a counter, or the count of a histogram."""
        point, = self.points(name)
        return int(point["asInt"] if "asInt" in point else point["count"])

    def records(self, what):
        """Delivered, and counted as lost."""
        read = otlp_rules.log_records if what == "logs" else otlp_rules.spans
        delivered = len(list(read([self.all[what]]))) if what in self.all else 0
        return delivered, self.lost[what]


def gone(pid):
    """Whether a process that is not our child has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def traces(pid, directory):
    """What a process has of a directory: (descriptors, maps)."""
    descriptors = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            descriptors += os.readlink(f"/proc/{pid}/fd/{name}").startswith(directory)
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return descriptors, maps.count(directory)


def lock_held(path):
    """F_OFD_GETLK, as any reader asks."""
    with open(path, "rb") as file:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(file, 36, asked)
    return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK


def lane_counts(path, slot=0):
    """A slot of the values, lane by lane: "adds" is the first instrument, so its slot is 0."""
    words = memoryview(pathlib.Path(path).read_bytes()).cast("Q")
    for at in range(words[9] // 8, words[9] // 8 + words[10] * words[11] // 8, words[11] // 8):
        kind, _, offset, _, stride, count, lanes = words[at:at + 7]
        if kind == 4:
            return [words[(offset + stride * (lane * count + slot)) // 8] for lane in range(lanes)]
    raise AssertionError("no values")


class Case(harness.Case):
    """Hosts, the regions that they leave, and a sidecar that watches them."""

    instance = "master"  # of a forwarder that is the only one: status does not name it

    def host(self, *words, **more):
        host = Host(self.scratch, *words, **more)
        self.processes.append(host)
        return host

    def _stop_all(self):
        for process in self.processes:
            if isinstance(process, Host) and process.popen.poll() is None:
                process.abandon()
                process.code = -signal.SIGKILL
        super()._stop_all()

    def paths(self, instance=""):
        """Region files, by name: of one instance, or of all."""
        names = sorted(name for name in os.listdir(self.dir) if name.startswith(f"{instance}"))
        return [os.path.join(self.dir, name) for name in names]

    def region(self, instance, generation=1):
        path, = self.paths(f"{instance}.{generation}.")
        return Region(self.scratch, path)

    def await_lives(self, sidecar, expected):
        """Awaits that the sidecar shows just these: {(instance, generation): state}; previous
        lives count too. Returns the views."""
        def lives():
            status = sidecar.status()
            current = status.get("forwarders", [status] if "region" in status else [])
            views = [view for one in current for view in (one, one.get("previous")) if view]
            found = {(view.get("instance", self.instance), view["writer"]["generation"]): view
                     for view in views}
            self.found = {key: view["writer"]["state"] for key, view in found.items()}
            return found if self.found == expected else None
        self.found = None
        try:
            return wait_until(lives, what="the lives")
        except AssertionError:
            raise AssertionError(f"{self.found}, not {expected}") from None

    def assert_exact(self, region, rounds):
        """One of each a round: delivered + counted as lost == written. Returns what was lost."""
        self.assertGreater(rounds, 0)
        self.assertEqual(region.metric("adds"), rounds)
        self.assertEqual(region.metric("values") + region.lost["values_dropped"], rounds)
        for what in ("logs", "spans"):
            delivered, lost = region.records(what)
            self.assertGreater(delivered, 0)
            self.assertEqual(delivered + lost, rounds, (what, delivered, lost))
        self.assertEqual((region.sampler["torn"], region.lost["registrations_refused"]), (0, 0))
        return region.lost

    def assert_between(self, region, done, begun):
        """The same where some rounds may be there in part."""
        self.assertGreater(done, 0)
        self.assertTrue(done <= region.metric("adds") <= begun,
                        (done, region.metric("adds"), begun))
        if region.points("values") or region.sampler["stale"] == 0:  # else it died in the middle
            values = region.metric("values") + region.lost["values_dropped"]
            self.assertTrue(done <= values <= begun, (done, values, begun))
        for what in ("logs", "spans"):
            delivered, lost = region.records(what)
            self.assertGreater(delivered, 0)
            self.assertTrue(done <= delivered + lost <= begun, (what, done, delivered, lost, begun))
