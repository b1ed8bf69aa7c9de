#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client that stops reading, and the end of the sidecar with clients attached."""
import socket
import time
import unittest

import harness
import otlp_rules
from harness import Case, SANITIZER, wait_until
from otlp_rules import attributes

LINE = 1000
LINES_A_GO, GO_MS = 20, 10  # 2 MB/s of lines, 200 KB a tick of 100 ms
MIB = 1 << 20


class SlowClient(Case):
    # The history of log lines (16 MiB) and the rest of the sidecar are full before the client
    # stops; what it may then cost is its queue of 4 MiB and its socket buffer.
    GROWTH_MAX = (24 if SANITIZER else 12) * MIB
    # Longer than the 30 s after which a client that is gone is hung up on.
    PAUSE = 35.0

    def test_stops_reading(self):
        patient = self.patient("--log-ring", 4 * MIB)
        patient.pipeline()
        sidecar = self.sidecar()
        slow = self.subscriber(sidecar, backlog=0, receive_buffer=16 << 10, rules=False)
        quick = self.subscriber(sidecar, backlog=0, rules=False, keep=False)
        patient.do("load", 1, LINES_A_GO, LINE, 1, GO_MS)
        wait_until(lambda: len(quick.log_bodies()) * LINE > 20 * MIB)
        wait_until(lambda: slow.log_bodies())

        slow.reading.clear()
        stopped, memory, most, slowest = time.monotonic(), harness.memory_bytes(sidecar.pid), 0, 0
        while time.monotonic() < stopped + self.PAUSE:
            began = time.monotonic()
            self.assertEqual(sidecar.get("/live").status, 200)
            slowest = max(slowest, time.monotonic() - began)
            most = max(most, harness.memory_bytes(sidecar.pid) - memory)
            quick.pump()
        self.assertLess(most, self.GROWTH_MAX)
        self.assertLess(slowest, 5 if SANITIZER else 1)
        self.assertGreater(sidecar.status()["sampler"]["ticks_skipped"], 50)

        resumed_unix_ns = time.time_ns()
        slow.reading.set()
        wait_until(lambda: slow.lost("ticks"))
        lines, spans = patient.do("load-stop")
        for client in (quick, slow):
            wait_until(lambda: len(client.log_bodies()) + client.lost() >= lines)
            wait_until(lambda: len(client.finished_spans()) + client.lost("spans") >= spans)
        sidecar.await_tick(2)
        self.check_notice(slow, resumed_unix_ns)
        for client in (quick, slow):
            self.assertEqual(len(client.log_bodies()) + client.lost(), lines)
            self.assertEqual(len(client.finished_spans()) + client.lost("spans"), spans)
            numbers = [int(body.split()[1][2:]) for body in client.log_bodies()]
            self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(quick.lost("ticks"), 0)
        self.assertGreater(slow.lost("log_records"), 1000)

    def check_notice(self, slow, resumed_unix_ns):
        """One small message of its own, and behind it the newest ticks without a gap."""
        documents = slow.pump()
        at = [i for i, (kind, document, _) in enumerate(documents) if kind == "logs" and any(
            "fwdscope.lost.ticks" in attributes(log) for log in otlp_rules.log_records([document]))]
        self.assertTrue(at)
        notice = documents[at[0]][1]
        (resource, scope, record), = otlp_rules.resources([notice], "resourceLogs", "scopeLogs",
                                                          "logRecords")
        self.assertEqual((scope, record["severityNumber"]), ("fwdscope", 13))
        self.assertEqual(set(attributes(record)), {f"fwdscope.lost.{what}" for what in
                                                   ("ticks", "spans", "log_records")})
        self.assertLess(len(slow.texts[at[0]][1]), 2000)
        times = [int(otlp_rules.points([document], "forwarder.uptime_seconds")[0]["timeUnixNano"])
                 for kind, document, _ in documents[at[-1]:] if kind == "metrics"]
        # At most 8 ticks wait for a client.
        self.assertGreater(times[0], resumed_unix_ns - 10 * 100_000_000
                           - (5_000_000_000 if SANITIZER else 0))
        steps = [b - a for a, b in zip(times, times[1:])]
        self.assertLess(max(steps), (2_000 if SANITIZER else 450) * 1_000_000)


class SlowClientOfALappedRing(Case):
    RING = 64 << 10  # lapped several times between two drains
    BURST = 2000

    def test_losses_told_in_ticks_that_it_skips(self):
        """What was lost in the region is told once, in a tick: who skips that is told all the same."""
        patient = self.patient("--log-ring", self.RING)
        sidecar = self.sidecar()
        slow = self.subscriber(sidecar, backlog=0, receive_buffer=4 << 10, rules=False)
        quick = self.subscriber(sidecar, backlog=0, rules=False)
        slow.reading.clear()
        written = 0
        while sidecar.status()["sampler"]["ticks_skipped"] < 20:
            patient.do("lines", self.BURST)
            written += self.BURST
            quick.pump()
        slow.reading.set()
        for client in (quick, slow):
            wait_until(lambda: len(client.log_bodies()) + client.lost() >= written)
        sidecar.await_tick(2)
        for client in (quick, slow):
            self.assertEqual(len(client.log_bodies()) + client.lost(), written)
        self.assertGreater(slow.lost("ticks"), 0)
        self.assertGreater(sidecar.status()["region"]["lost"]["logs"], 0)


class HalfClosed(Case):
    def test_a_client_that_does_not_read_says_goodbye(self):
        """Its FIN comes while part of a message still waits for it: others go on, it gets what it
        takes and is closed then, and the sidecar ends as ever."""
        patient = self.patient("--log-ring", 4 * MIB)
        sidecar = self.sidecar(interval="500ms")  # messages of several fragments
        slow, later = (self.subscriber(sidecar, receive_buffer=16 << 10, rules=False)
                       for _ in range(2))
        quick = self.subscriber(sidecar, rules=False, keep=False)
        for client in (slow, later):
            client.reading.clear()
        patient.do("load", 1, LINES_A_GO, LINE, 1, GO_MS)
        wait_until(lambda: sidecar.status()["sampler"]["ticks_skipped"] > 2)
        for client in (slow, later):
            client.socket.shutdown(socket.SHUT_WR)
        ticks = sidecar.ticks()
        wait_until(lambda: sidecar.ticks() > ticks + 4)
        before = len(quick.documents("metrics"))
        quick.await_documents(before + 4, "metrics")
        patient.do("load-stop")
        later.reading.set()
        wait_until(lambda: later.ended and sidecar.status()["sampler"]["stream_clients"] == 2)
        began = time.monotonic()
        sidecar.stop()
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(quick.close_code(), 1001)


class End(Case):
    def test_1001_at_each_client(self):
        for number in ("SIGTERM", "SIGINT"):
            with self.subTest(signal=number):
                patient = self.patient()
                patient.do("lines", 10)
                sidecar = self.sidecar()
                clients = [self.subscriber(sidecar) for _ in range(5)]
                for client in clients:
                    client.await_documents(2, "metrics")
                began = time.monotonic()
                sidecar.signal(getattr(harness.signal, number))
                sidecar.wait(0)
                self.assertLess(time.monotonic() - began, 5)
                self.assertEqual([client.close_code() for client in clients], [1001] * 5)
                patient.quit()

    def test_a_client_that_does_not_read_delays_nothing(self):
        patient = self.patient("--log-ring", 4 * MIB)
        sidecar = self.sidecar()
        slow = self.subscriber(sidecar, receive_buffer=16 << 10, rules=False)
        quick = self.subscriber(sidecar, rules=False)
        slow.reading.clear()
        patient.do("load", 1, LINES_A_GO, LINE, 1, GO_MS)
        wait_until(lambda: sidecar.status()["sampler"]["ticks_skipped"] > 0)
        began = time.monotonic()
        sidecar.stop()
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(quick.close_code(), 1001)
        patient.do("load-stop")

    def test_clients_at_most(self):
        sidecar = self.sidecar("--max-clients", 2)
        clients = [self.subscriber(sidecar) for _ in range(2)]
        refused = harness.Subscriber(sidecar.port)
        self.subscribers.append(refused)
        self.assertEqual(refused.response.status_code, 503)
        clients[0].close()
        wait_until(lambda: sidecar.status()["sampler"]["stream_clients"] == 1)
        self.subscriber(sidecar).await_documents(1, "metrics")


if __name__ == "__main__":
    unittest.main(verbosity=2)
