#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sidecar remembers: published early when it must be."""
import time
import unittest

from harness import Case, wait_until

MIB = 1 << 20
LINE = 1000
RECORD = LINE + 15 * 8  # of a line in its ring
INTERVAL = 60


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


if __name__ == "__main__":
    unittest.main(verbosity=2)
