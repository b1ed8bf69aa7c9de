#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page's stream: a past at once, lost connections, slow ways."""
import socket
import threading
import time

import browser
import harness
from browser import PageCase, figure, wait_until
from proxy import Proxy

LATENCY_S, BYTES_PER_S = 0.1, 125_000  # 1 Mbit/s


class Backlog(PageCase):
    def test_charts_have_a_past(self):
        """A page that opens late shows what was before it."""
        patient = self.patient()
        patient.pipeline()
        sidecar = self.sidecar()
        patient.do("lines", 20)
        patient.do("spans", 5)
        ticks = sidecar.ticks() + 30

        def work():
            patient.do("progress", "in", 10, 1000)
            patient.do("progress", "out", 10, 1000)
            return sidecar.ticks() >= ticks
        wait_until(work, what="30 ticks")
        self.open(sidecar)
        self.await_live()
        wait_until(lambda: (self.charts()["lines"]["points"] or 0) > 50,
                   what=f"a past of 30 ticks, in two series: {self.charts()['lines']}")
        self.assertGreater(self.charts()["lines"]["max"], 0)
        wait_until(lambda: len(self.log_lines()) == 20)
        wait_until(lambda: self.held()["spans"] == 5)


class Doorkeeper:
    """Listens where the sidecar was, closes every connection at once, and notes who asked."""

    def __init__(self, port):
        self.server = socket.create_server(("127.0.0.1", port))
        self.paths = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    head = connection.recv(1 << 14).decode("latin-1")
                except OSError:
                    continue
                if head:
                    self.paths.append(head.split(" ")[1])

    def asked(self, path):
        return sum(asked.startswith(path) for asked in list(self.paths))

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()


class Reconnect(PageCase):
    network_may_fail = True

    def waits(self):
        """The waits that the page announced since it lost the stream, in ms."""
        return self.js("return window.waits")

    def note_waits(self):
        self.js("""
            const state = document.getElementById('stream-state');
            window.waits = [];
            new MutationObserver(() => {
              const wait = Number(state.dataset.retryMs ?? 0);
              if (wait > 0 && wait !== waits.at(-1)) waits.push(wait);
            }).observe(state, {attributeFilter: ['data-retry-ms']});""")

    def test_killed_and_restarted(self):
        """Back-off while it is away; afterwards no line twice and none missing.

        As few lines as the document shows at once, so that each can be looked at.
        """
        patient = self.patient()
        patient.pipeline()
        first = self.sidecar()
        self.open(first)
        patient.do("lines", 30)
        wait_until(lambda: len(self.log_lines()) == 30)
        patient.do("span-start", "a", "batch")
        patient.do("span-end", "a")
        wait_until(lambda: self.held()["spans"] == 1)
        points = self.charts()["lines"]["points"]
        self.note_waits()
        first.kill()
        wait_until(lambda: self.data("#stream-state", "state") in ("lost", "connecting"))
        doorkeeper = Doorkeeper(first.port)
        try:
            wait_until(lambda: doorkeeper.asked("/admin/v1/telemetry") >= 2, what="two attempts")
            wait_until(lambda: self.verdict() != "well", what="a page that knows nothing any more")
            self.assertIn("when last read", self.text("#writer-state"))
            wait_until(lambda: "As last read" in self.text("#flow"))
            self.screenshot("lost")
        finally:
            doorkeeper.close()
        # Each attempt follows a wait that was announced, and each wait is longer than the last.
        waits = self.waits()
        self.assertGreaterEqual(len(waits), 2)
        self.assertEqual(waits, sorted(waits), "no back-off")
        self.assertGreaterEqual(waits[0], 750)
        patient.do("lines", 30)  # while nobody looks
        second = self.sidecar(listen=f"127.0.0.1:{first.port}")
        self.await_live()
        self.await_verdict("well")
        patient.do("lines", 30)
        wait_until(lambda: len(self.log_lines()) >= 90,
                   what=f"90 lines, now {len(self.log_lines())}")
        second.await_tick(5)
        lines = self.log_lines()
        self.assertEqual(len(lines), len(set(lines)), "a line twice")
        self.assertEqual(sorted(int(line.split("n=")[1].split()[0]) for line in lines),
                         list(range(90)))
        self.assertEqual(self.held()["spans"], 1)
        self.assertEqual(self.held()["logs"], 90)
        wait_until(lambda: (self.charts()["lines"]["points"] or 0) > points)
        # The forwarder never stopped: what it counted meanwhile is no restart.
        self.assertEqual(self.charts()["lines"]["markers"], 0)


class Slow(PageCase):
    TICKS = browser.choose(4, 60)  # of 1 s

    def test_over_a_slow_way(self):
        """100 ms and 1 Mbit/s: usable, and what is sent stays below what the way takes."""
        patient = self.patient()
        patient.pipeline()
        sidecar = self.sidecar(interval="1s")
        patient.do("load", 1, 5, 120, 2, 100)  # 50 lines and 20 spans a second
        ticks = sidecar.ticks() + 2
        wait_until(lambda: sidecar.ticks() >= ticks)
        proxy = Proxy(sidecar.port, LATENCY_S, BYTES_PER_S)
        self.addCleanup(proxy.close)
        self.open(proxy.port)
        self.await_verdict("well")
        wait_until(lambda: self.log_lines())
        wait_until(lambda: (self.charts()["lines"]["points"] or 0) > 2)
        first = self.first_times()
        sent, ticks = proxy.bytes_down, sidecar.ticks()
        wait_until(lambda: sidecar.ticks() >= ticks + self.TICKS, bound=self.TICKS + harness.BOUND)
        a_tick = (proxy.bytes_down - sent) / (sidecar.ticks() - ticks)
        # A line that is written now is there soon: nothing piles up on the way.
        patient.do("log", 17, "written just now")
        written = time.monotonic()
        wait_until(lambda: "written just now" in self.log_lines())
        lag = time.monotonic() - written
        self.js("document.getElementById('log-search').focus()")
        self.assertEqual(self.data("#stream-state", "state"), "live")
        self.assertEqual(proxy.streams(), 1, proxy.heads)
        self.assertLess(a_tick, BYTES_PER_S * 0.8, "the way is full")
        self.assertEqual(self.lost(), 0)
        figure("over 100 ms and 1 Mbit/s",
               f"first paint {first[0]:.0f} ms, verdict {first[1]:.0f} ms, first data "
               f"{first[2]:.0f} ms; then {a_tick / 1024:.0f} KiB a tick of 1 s, a line after "
               f"{lag:.1f} s")
        patient.do("load-stop", bound=harness.BOUND)


if __name__ == "__main__":
    browser.main()
