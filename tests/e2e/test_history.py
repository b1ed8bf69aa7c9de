#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sidecar remembers: bounded over all forwarders, published early when it must be, and
there at once for who connects."""
import pathlib
import re
import statistics
import time
import unittest

from harness import Case, SANITIZER, wait_until

MIB = 1 << 20
LINE = 1000
RECORD = LINE + 15 * 8  # of a line in its ring
INTERVAL = 60


def own_memory(pid):
    """Resident memory that is the process's alone: not the pages of mapped regions."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) * 1024


class EarlyTicks(Case):
    def test_bursts_within_a_long_interval(self):
        """Each burst is more than waits for a tick by half, all together more than is remembered:
        more ticks come than are due, and nothing is lost."""
        patient = self.patient("--log-ring", 16 * MIB, "--lanes", 2)
        patient.pipeline()
        began = time.monotonic()
        sidecar = self.sidecar(interval=f"{INTERVAL}s")
        subscriber = self.subscriber(sidecar, backlog=0)
        written, before = 0, sidecar.ticks()
        for burst in range(1, 5):
            written = patient.do("lines", 12 * MIB // RECORD, LINE)[0]
            wait_until(lambda: len(subscriber.log_bodies()) >= written * (burst - 0.5) / burst,
                       what=f"burst {burst}")
        numbers = [int(body.split()[1][2:]) for body in subscriber.log_bodies()]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertGreater(len(numbers) * RECORD, 32 * MIB)
        self.assertEqual(subscriber.lost(), 0)
        self.assertEqual(sidecar.status()["region"]["lost"]["logs"], 0)
        due = (time.monotonic() - began) / INTERVAL
        self.assertGreater(sidecar.ticks() - before, due + 2)

    def test_more_than_is_remembered_in_one_burst(self):
        """What finds no room stays in its ring until a tick made some. A client may be too slow for
        such ticks; it is told of what it missed."""
        patient = self.patient("--log-ring", 64 * MIB, "--lanes", 2)
        sidecar = self.sidecar(interval=f"{INTERVAL}s")
        subscriber = self.subscriber(sidecar, backlog=0, rules=False)
        written = patient.do("lines", 40 * MIB // RECORD, LINE)[0]
        wait_until(lambda: len(subscriber.log_bodies()) + subscriber.lost() > written * 3 // 4)
        numbers = [int(body.split()[1][2:]) for body in subscriber.log_bodies()]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertGreaterEqual(sidecar.ticks(), 4)
        self.assertEqual(sidecar.status()["region"]["lost"]["logs"], 0)

    def test_none_without_need(self):
        """A few lines make no tick come early."""
        patient = self.patient()
        sidecar = self.sidecar(interval=f"{INTERVAL}s")
        before = sidecar.ticks()
        patient.do("lines", 1000, LINE)
        late = self.subscriber(sidecar, backlog=60)  # and a client that comes makes none either
        wait_until(lambda: late.documents("metrics"))
        self.assertEqual(sidecar.ticks(), before)


class ManyForwarders(Case):
    COUNT, LINES = 200, 200
    # The bound of all histories, and what 200 regions take besides: readings and series. With
    # TSan, memory is mostly its own.
    OWN_MAX = {"": (256 + 128) * MIB, "address": 1200 * MIB, "thread": float("inf")}[SANITIZER]

    def load(self, patients, rounds):
        """Bursts of less than half a ring, each awaited, so that nothing is lost."""
        for _ in range(rounds):
            for patient in patients:
                patient.send("lines", self.LINES, LINE)
            for patient in patients:
                patient._line()
            self.stream_of.await_tick(0)

    def first_ms(self, sidecar, backlog):
        """From the call of connect() to the first message, to all three; and the bytes of them."""
        firsts, lasts, sizes = [], [], []
        for _ in range(7):
            subscriber = self.subscriber(sidecar, backlog=backlog, rules=False)
            wait_until(lambda: len(subscriber.texts) >= 3)
            firsts.append((subscriber.texts[0][0] - subscriber.connected) * 1e3)
            lasts.append((subscriber.texts[2][0] - subscriber.connected) * 1e3)
            sizes.append(sum(len(text) for _, text in subscriber.texts[:3]))
            subscriber.close()
        return statistics.median(firsts), statistics.median(lasts), max(sizes)

    def test_memory_and_backlog(self):
        patients = []
        for number in range(self.COUNT):
            patients.append(self.patient("--instance", f"p{number:03}", "--lanes", 2,
                                         "--log-ring", 512 << 10, "--span-ring", 64 << 10))
            patients[-1].pipeline()
        sidecar = self.stream_of = self.sidecar(interval="1s")
        wait_until(lambda: len(sidecar.status()["forwarders"]) == self.COUNT)
        for patient in patients:
            patient.do("spans", 200)
        idle = own_memory(sidecar.pid)
        self.load(patients, 8)  # 342 MiB of records, of which 256 are remembered
        loaded = own_memory(sidecar.pid)
        self.load(patients, 4)
        later = own_memory(sidecar.pid)
        status = sidecar.status()
        self.assertEqual(sum(one["region"]["lost"]["logs"] for one in status["forwarders"]), 0)
        read = self.COUNT * 12 * self.LINES * RECORD
        print(f"figure: {self.COUNT} forwarders: {idle / MIB:.0f} MiB idle, "
              f"{max(loaded, later) / MIB:.0f} MiB once {read / MIB:.0f} MiB of records were read",
              flush=True)
        self.assertGreater(later, 200 * MIB)
        self.assertLess(max(loaded, later), self.OWN_MAX)

        for backlog in (60, 300):
            first, last, size = self.first_ms(sidecar, backlog)
            print(f"figure: backlog of {backlog} s, {self.COUNT} loaded forwarders: first message "
                  f"after {first:.0f} ms, all after {last:.0f} ms, {size} bytes", flush=True)
            self.assertGreater(size, MIB)
            self.assertLessEqual(size, 2 * MIB)


if __name__ == "__main__":
    unittest.main(verbosity=2)
