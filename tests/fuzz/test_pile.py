#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A directory piled up with hostile files, a good forwarder among them: it is served, and memory,
CPU and descriptors of the sidecar stay bounded."""
import os
import socket
import struct
import time
import unittest

import hostile
import dead_region
from harness import SANITIZER, wait_until

EACH = 300 // 8 + 1
DEAD_LARGE = 64 if hostile.LONG else 40
# 256 MiB of evidence, and what is opened at a time: 64 MiB and one region, over two ticks. A client
# brings a document of a tick with all that, of at most 64 MiB, and its tree of at most 256 MiB. ASan
# adds an eighth.
EVIDENCE_MAX_MIB, CLIENT_MAX_MIB = 506 if SANITIZER else 450, 400
GENERATION, INSTANCE, UUID, REGION_BYTES, DIR_OFFSET, DIR_COUNT = 23, 96, 12, 6, 9, 10
MIB = 1 << 20


def words_set(data, instance, **more):
    """A copy of a region under another instance's name, with a checksum that fits."""
    header = list(struct.unpack("<256Q", data[:2048]))
    header[INSTANCE:INSTANCE + 32] = struct.unpack("<32Q", instance.encode().ljust(256, b"\0"))
    header[UUID] = int.from_bytes(os.urandom(8), "little")
    for place, value in more.items():
        header[int(place[1:])] = value
    header[dead_region.CHECKSUM] = dead_region.checksum(header)
    return struct.pack("<256Q", *header) + data[2048:]


class Pile(hostile.Case):
    def name(self, kind, number):
        return os.path.join(self.dir, f"{kind}.{number}.fwdscope")

    def write(self, kind, number, data):
        with open(self.name(kind, number), "wb") as file:
            file.write(data)

    def sparse(self, kind, number, data):
        """A region that says that it is 1 GiB, nearly all of it a hole."""
        self.write(kind, number, words_set(data, f"{kind}-{number}", **{f"_{REGION_BYTES}": 1 << 30}))
        os.truncate(self.name(kind, number), 1 << 30)

    def pile_up(self, dead):
        """EACH files of every kind; returns how many there are."""
        for number in range(EACH):
            os.mkfifo(self.name("fifo", number))
            os.symlink(self.name("fifo", 0), self.name("link", number))
            os.mkdir(self.name("directory", number))
            self.write("empty", number, b"")
            self.write("random", number, os.urandom(8192 + number))
            self.write("major", number, dead_region.patched(dead, major=2 + number))
            self.write("copy", number, dead)
            if number % 2:
                self.sparse("sparse", number, dead)
            else:
                self.write("sparse", number, b"")
                os.truncate(self.name("sparse", number), 1 << 30)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.name("socket", 0))
        return len(os.listdir(self.dir))

    def figures(self, what, sidecar, seconds, patient, subscriber, judge):
        """Watches the sidecar for a while, the good forwarder served all the time."""
        watch = hostile.Watch(sidecar)
        cpu, began, lines = hostile.process_cpu_s(sidecar.pid), time.monotonic(), 0
        ticks = sidecar.ticks()
        while time.monotonic() < began + seconds:
            self.await_served(sidecar, patient, subscriber, judge)
            lines += 1
        took = time.monotonic() - began
        share = (hostile.process_cpu_s(sidecar.pid) - cpu) / took
        answers, p50, p99 = watch.stop()
        peak = hostile.memory_peak_mib(sidecar.pid)
        ticks = sidecar.ticks() - ticks
        descriptors = len(os.listdir(f"/proc/{sidecar.pid}/fd"))
        print(f"figure: {what}: peak memory {peak:.0f} MiB, {100 * share:.0f} % of a core at "
              f"{ticks / took:.1f} ticks/s, {descriptors} descriptors, /live {answers} times p50 "
              f"{p50:.1f} ms p99 {p99:.1f} ms, {lines} lines of the good forwarder served",
              flush=True)
        self.assertGreater(lines, 3)
        self.assertGreater(ticks, 3)
        self.assertLess(share, 0.9)
        return peak

    def test_a_pile_of_everything(self):
        dead = dead_region.make(self)
        count = self.pile_up(dead)
        self.assertGreaterEqual(count, 300)
        patient = self.healthy()
        sidecar = self.sidecar(interval="500ms")
        subscriber, judge = self.subscriber(sidecar), hostile.Judge()
        wait_until(lambda: "healthy" in self.forwarders(sidecar), what="the good one attached to")
        peak = self.figures(f"a pile of {count} hostile files", sidecar, 20 if hostile.LONG else 5,
                            patient, subscriber, judge)
        self.assertLess(peak, 600)
        refused = wait_until(lambda: hostile.otlp_rules.points(
            subscriber_documents(subscriber), "fwdscope.sidecar.regions_refused"), what="the metric")
        self.assertGreater(int(refused[-1]["asInt"]), 200)

    def test_dead_regions_that_are_copied(self):
        self.large_dead_regions("copied", 4)

    def test_dead_regions_that_are_mapped(self):
        self.large_dead_regions("mapped", 5)

    def large_dead_regions(self, how, lanes):
        """Each a life of an instance of its own, with rings full of lines: none may be dropped as a
        copy of another, and all together are more than the sidecar is to hold."""
        dead = self.full_region(lanes)
        self.assertEqual(len(dead) > 16 * MIB, how == "mapped")
        room = os.statvfs(self.dir)
        count = min(DEAD_LARGE, room.f_bavail * room.f_frsize // len(dead) - 2)
        for number in range(count):
            self.write("dead", number, words_set(dead, f"dead-{number}"))
        patient = self.healthy()
        sidecar = self.sidecar(interval="500ms")
        wait_until(lambda: sidecar.errors().count("attached to ") == count + 1,
                   what=f"{count} dead regions and the good one attached to")
        sidecar.await_tick(4)
        kept = sum(name.startswith("dead-") for name in self.forwarders(sidecar))
        evidence = hostile.memory_peak_mib(sidecar.pid)
        # The regions are copies of one, spans and all, so what there was before is not told again.
        subscriber, judge = self.subscriber(sidecar, backlog=0), hostile.Judge()
        peak = self.figures(f"{count} dead regions of {len(dead) / MIB:.1f} MiB, {how}, a client", sidecar,
                            20 if hostile.LONG else 4, patient, subscriber, judge)
        print(f"figure: {count * len(dead) / MIB:.0f} MiB of dead regions, {how}: {kept} of {count} kept as "
              f"evidence, peak memory {evidence:.0f} MiB (bound {EVIDENCE_MAX_MIB}), with a client "
              f"{peak:.0f} MiB (bound {EVIDENCE_MAX_MIB + CLIENT_MAX_MIB})", flush=True)
        self.assertGreater(kept, 0)
        self.assertLess(evidence, EVIDENCE_MAX_MIB)
        self.assertLess(peak, EVIDENCE_MAX_MIB + CLIENT_MAX_MIB)

    def full_region(self, lanes):
        """The bytes of a region of 3.3 MiB a lane, with the rings of all but lane 0 full."""
        directory = os.path.join(self.scratch, "full")
        os.mkdir(directory)
        patient = self.patient("--log-ring", 2 * MIB, "--span-ring", MIB, "--lanes", lanes,
                               directory=directory)
        patient.do("load", lanes - 1, 3000, 1000, 600, 1)
        wait_until(lambda: self.is_full(patient.path), what="full rings")
        patient.do("load-stop")
        path = patient.path
        patient.kill()
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
        return data

    @staticmethod
    def is_full(path):
        """Whether two of three pages hold something: those of lane 0 do not."""
        with open(path, "rb") as file:
            data = file.read()
        pages = [data[at:at + 4096].count(0) < 4096 for at in range(0, len(data), 4096)]
        return sum(pages) > len(pages) * 2 // 3


def subscriber_documents(subscriber):
    """The metrics documents that wait to be judged; they are left where they are."""
    documents = [hostile.json.loads(text) for _, text in list(subscriber.texts)]
    return [document for document in documents if "resourceMetrics" in document]


if __name__ == "__main__":
    unittest.main(verbosity=0)
