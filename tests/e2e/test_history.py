#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sidecar remembers: bounded over all forwarders, published early when it must be, and
there at once for who connects."""
import pathlib
import re
import statistics
import time
import unittest

import otlp_rules
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
        """Bursts of less than half a ring, each awaited, so that nothing is lost. All together
        they are 43 MiB, and a tick takes no more than 16 MiB out of the rings."""
        for _ in range(rounds):
            for patient in patients:
                patient.send("lines", self.LINES, LINE)
            for patient in patients:
                patient._line()
            self.stream_of.await_tick(3)

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

        for patient in patients:  # those before may be older than a backlog of a minute by now
            patient.do("spans", 20)
        sidecar.await_tick()
        for backlog in (60, 300):
            first, last, size = self.first_ms(sidecar, backlog)
            print(f"figure: backlog of {backlog} s, {self.COUNT} loaded forwarders: first message "
                  f"after {first:.0f} ms, all after {last:.0f} ms, {size} bytes", flush=True)
            self.assertGreater(size, MIB)
            self.assertLessEqual(size, 2 * MIB)


class InFlight(Case):
    """What was in flight when a forwarder was killed, for who comes only afterwards."""

    def await_all_read(self, sidecar, *patients):
        """From then on no tick tells of them: what a client hears of them is its backlog."""
        maps = pathlib.Path(f"/proc/{sidecar.pid}/maps")
        for patient in patients:
            patient.kill()
        wait_until(lambda: not any(patient.path in maps.read_text() for patient in patients))

    @staticmethod
    def told(subscriber):
        """Names by the instance id of the life that they are told of: (under way, finished)."""
        running, finished = {}, {}
        for resource, _, span in otlp_rules.resources(subscriber.documents("spans"),
                                                      "resourceSpans", "scopeSpans", "spans"):
            into = running if otlp_rules.attributes(span).get("in_progress") else finished
            instance = resource["service.instance.id"]
            into.setdefault(instance, []).append(span["name"])
        return running, finished

    def test_of_the_life_before(self):
        first = self.patient("--instance", "one")
        first.pipeline()
        first.do("span-start", "b", "batch")
        first.do("span-stage", "b", "output")
        first.do("span-start", "o", "output", "b")
        first.do("spans", 3)
        sidecar = self.sidecar()
        one = sidecar.status()["region"]["uuid"]
        self.await_all_read(sidecar, first)
        second = self.patient("--instance", "one")
        second.pipeline()
        second.do("span-start", "n", "next")
        sidecar.await_ready(200, "all_components_healthy")
        two = sidecar.status()["region"]["uuid"]
        self.assertEqual(sidecar.status()["forwarders"][0]["previous"]["region"]["uuid"], one)

        late = self.subscriber(sidecar, backlog=300)
        wait_until(lambda: len(self.told(late)[0].get(two, [])) >= 3)  # its backlog and some ticks
        running, finished = self.told(late)
        self.assertEqual(sorted(running.pop(one)), ["batch", "output"])
        self.assertEqual(set(running.pop(two)), {"next"})
        self.assertEqual((running, finished), ({}, {one: ["counted"] * 3}))

        none = self.subscriber(sidecar, backlog=0)
        wait_until(lambda: two in self.told(none)[0])
        self.assertNotIn(one, self.told(none)[0])

        def has_passed():
            """Whether a backlog of one second reaches back to its end no more."""
            short = self.subscriber(sidecar, backlog=1)
            running = wait_until(lambda: self.told(short)[0])
            short.close()
            return one not in running
        wait_until(has_passed)

    def test_more_than_fits(self):
        """Spans that were under way leave room for finished ones, and each life for the others."""
        patients = [self.patient("--instance", f"p{i}", "--active-spans", 1100, "--lanes", 10)
                    for i in range(8)]
        for patient in patients:
            patient.pipeline()
            patient.do("load", 8, 0, 0, 16, 20, 128)
        sidecar = self.sidecar()
        watching = self.subscriber(sidecar, rules=False, backlog=0)
        wait_until(lambda: len(self.told(watching)[1]) == len(patients))
        self.await_all_read(sidecar, *patients)
        late = self.subscriber(sidecar, backlog=300)
        late.await_documents(1, "spans")
        text = next(text for _, text in late.texts if '"resourceSpans"' in text)
        self.assertLessEqual(len(text), 2 * MIB)
        self.assertGreater(len(text), MIB // 2)
        for held in self.told(late):
            self.assertEqual(len(held), len(patients))


if __name__ == "__main__":
    unittest.main(verbosity=2)
