#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every number of a panel is that of `fwdscope dump`, read while the forwarder is quiet."""
import gzip
import os
import pathlib
import re

import browser
from browser import PageCase, figure, true_numbers, wait_until

CHARTS = 10


def fill(patient, name="main", factor=1):
    """A pipeline whose numbers are all different, so that none can stand for another."""
    patient.pipeline(name)
    patient.do("progress", "in", 100_003 * factor, 5_000_011 * factor)
    for which, count in ((2, 17), (3, 5), (4, 23)):
        patient.do("add", "in", which, count * factor)
    patient.do("add", "transform", 0, 99_991 * factor)
    patient.do("add", "transform", 2, 7 * factor)
    patient.do("progress", "out", 90_001 * factor, 3_000_017 * factor)
    patient.do("add", "out", 2, 3 * factor)
    patient.do("queue", "out", 0, 1000)
    patient.do("batch", "batches", 500 * factor, "rows", 90_007 * factor, "flush_by_size", 301,
               "flush_by_timeout", 199, "dropped_batches", 11, "scan_errors", 2,
               "parse_errors", 29, "latency_ns", 77_000_000_000, "scan_ns", 1_000_000,
               "transform_ns", 5_000_000, "output_ns", 2_000_000, "queue_wait_ns", 500_000,
               "send_ns", 1_500_000, "backpressure_stalls", 41, "inflight", 3)


class Numbers(PageCase):
    def assert_equals_dump(self, region):
        """The panels show what a dump of the region says; waits for the page to have read it."""
        status = self.dump(region)["status"]
        for panel, expected in true_numbers(status).items():
            wait_until(lambda: self.agrees(panel, expected),
                       what=f"{panel}: {self.difference(panel, expected)}")

    def agrees(self, panel, expected):
        return not self.difference(panel, expected)

    def difference(self, panel, expected):
        """{name: (shown, true)} of what the panel shows wrongly or lacks."""
        shown = self.numbers(panel)
        return {name: (shown.get(name), value) for name, value in expected.items()
                if shown.get(name) != value and (name in shown or self.must_show(name))}

    @staticmethod
    def must_show(name):
        """What no panel may leave out; of the rest, what is shown must be right."""
        return name.endswith(("/lines_total", "/bytes_total", "/errors", "/lines_in", "/lines_out",
                              "/inflight", "/backpressure_stalls", "/dropped_batches_total",
                              "queue.depth", "queue.capacity", "/total", "writer/pid",
                              "writer/generation", "lost.spans", "lost.logs"))

    def test_panels(self):
        patient = self.patient()
        fill(patient)
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_verdict("well")
        self.assert_equals_dump(patient.path)
        self.check_ledger()
        self.check_cost(sidecar)
        self.check_sources(sidecar)
        self.assertEqual(len(self.charts()), CHARTS, self.charts().keys())
        # Numbers that change are followed.
        patient.do("progress", "in", 1, 1)
        patient.do("progress", "out", 9_973, 77)
        patient.do("add", "out", 2, 1)
        self.assert_equals_dump(patient.path)
        self.screenshot("well")

    def check_ledger(self):
        """in = delivered + queued + dropped + unknown, with the counters' own numbers."""
        ledger = self.numbers("ledger")
        part = {key: ledger.get(f"main/ledger/{key}", 0)
                for key in ("in", "delivered", "queued", "dropped", "unknown")}
        self.assertEqual((part["in"], part["delivered"]), (100_003, 90_001))
        self.assertEqual(part["in"], sum(part.values()) - part["in"], part)

    def check_cost(self, sidecar):
        cost = wait_until(lambda: self.numbers("cost"), what="the cost")
        status = sidecar.status()
        self.assertEqual(cost["sampler/interval_ms"], 100)
        self.assertEqual(cost["region/size_bytes"], status["region"]["size_bytes"])
        self.assertGreater(cost["sampler/ticks"], 0)
        self.assertLessEqual(cost["sampler/ticks"], status["sampler"]["ticks"])

    def check_sources(self, sidecar):
        """Each panel says a command that answers, as it stands there."""
        sources = self.js("return [...document.querySelectorAll('section[id^=panel-]')].map((e) =>"
                          "[e.id, e.hidden || e.querySelector('.source > code')?.textContent])")
        self.assertGreaterEqual(len(sources), 10)
        curls = set()
        for panel, source in sources:
            if source is True:
                continue
            self.assertIsNotNone(source, f"{panel} names no source")
            self.assertRegex(source, r"^(curl|websocat) ", panel)
            self.assertIn(f"127.0.0.1:{sidecar.port}/", source)
            if source.startswith("curl "):
                curls.add(source)
        self.assertTrue(curls)
        for url in {re.search(r"https?://[^\s'\"]+", source)[0] for source in curls}:
            path = url.split(str(sidecar.port), 1)[1]
            self.assertIn(sidecar.get(path).status, (200, 403), url)
        self.assertEqual(self.count(".source button.copy"), self.count(".source > code"))
        # Where a browser gives no clipboard, the line is selected for the reader to copy.
        self.js("document.querySelector('#panel-flow button.copy').click()")
        wait_until(lambda: self.text("#panel-flow button.copy") in ("copied", "selected"))

    def test_the_last_digit(self):
        """Counters beyond 2^53, where a browser's own numbers end, to the last digit."""
        patient = self.patient()
        patient.pipeline()
        patient.do("progress", "in", 2**64 - 1, 2**53 + 1)
        patient.do("progress", "out", 2**63 - 1, 2**53 + 3)
        patient.do("add", "out", 2, 2**53 + 5)
        self.open(self.sidecar())
        self.await_verdict("well")
        self.assert_equals_dump(patient.path)
        flow, ledger = self.numbers("flow"), self.numbers("ledger")
        self.assertEqual([flow[f"main/{name}"] for name in (
            "in/lines_total", "in/bytes_total", "out/lines_total", "out/errors")],
            [2**64 - 1, 2**53 + 1, 2**63 - 1, 2**53 + 5])
        self.assertEqual(ledger["main/ledger/unknown"], 2**63)
        # What a person reads, too, where it is no rounded size.
        for panel, name, value in (("flow", "main/in/lines_total", 2**64 - 1),
                                   ("flow", "main/out/errors", 2**53 + 5),
                                   ("ledger", "main/ledger/delivered", 2**63 - 1)):
            self.assertEqual(re.sub(r"\D", "", self.text(
                f"#panel-{panel} [data-name='{name}']")), str(value))

    def test_absent_is_not_zero(self):
        """A counter that the forwarder does not have shows no number."""
        patient = self.patient()
        patient.pipeline()
        patient.do("progress", "out", 5, 50)
        self.open(self.sidecar())
        self.await_verdict("well")
        wait_until(lambda: self.numbers("flow").get("main/out/lines_total") == 5)
        self.assertNotIn("main/out/queue.depth", self.numbers("flow"))

    def test_a_stage_that_is_blocked(self):
        """Work waiting and nothing delivered: the edge is marked, the words name it."""
        patient = self.patient()
        patient.pipeline()
        patient.do("progress", "out", 5, 50)
        patient.do("queue", "out", 1000, 1000)
        self.open(self.sidecar())
        words = self.await_verdict("output")
        self.assertIn("1000/1000", words)
        self.await_count("#panel-flow .blocking", 1)
        self.assertEqual(self.numbers("flow")["main/out/queue.depth"], 1000)
        self.screenshot("output")
        # It delivers again.
        patient.do("progress", "out", 995, 10_000)
        patient.do("queue", "out", 0, 1000)
        self.await_verdict("well")
        self.await_count("#panel-flow .blocking", 0)
        self.assert_equals_dump(patient.path)


class Forwarders(PageCase):
    def test_chooser(self):
        """One forwarder at a time; the other's numbers never show."""
        first = self.patient("--service", "alpha", "--instance", "alpha")
        second = self.patient("--service", "beta", "--instance", "beta")
        fill(first)
        fill(second, factor=3)
        first.do("log", 9, "of alpha")
        second.do("log", 9, "of beta")
        self.open(self.sidecar())
        self.await_verdict("well")
        self.assertEqual(self.js("return [...document.querySelectorAll('#forwarder option')].map("
                                 "(e) => e.textContent.trim().split(' ')[0])"), ["alpha", "beta"])
        for index, lines, other in ((0, 100_003, "beta"), (1, 300_009, "alpha"),
                                    (0, 100_003, "beta")):
            self.js("const e = document.getElementById('forwarder');"
                    "e.selectedIndex = arguments[0];"
                    "e.dispatchEvent(new Event('change', {bubbles: true}))", index)
            wait_until(lambda: self.numbers("flow").get("main/in/lines_total") == lines,
                       what=f"{lines} lines: {self.numbers('flow')}")
            own = "alpha" if other == "beta" else "beta"
            wait_until(lambda: self.log_lines() == [f"of {own}"], what=f"only lines of {own}")
            pid = (first, second)[index].pid
            wait_until(lambda: self.numbers("writer")["writer/pid"] == pid)


class Config(PageCase):
    def publish(self, patient, text):
        path = os.path.join(self.scratch, "forwarder.yaml")
        pathlib.Path(path).write_text(text)
        patient.do("config", path, path)
        return path

    def test_off_says_why(self):
        patient = self.patient()
        patient.pipeline()
        self.publish(patient, "a: 1\n")
        self.open(self.sidecar())
        self.await_verdict("well")
        wait_until(lambda: "FWDSCOPE_UNSAFE_EXPOSE_CONFIG" in self.text("#panel-config"))
        self.assertNotIn("a: 1", self.text("#panel-config"))

    def test_on(self):
        patient = self.patient()
        patient.pipeline()
        self.open(self.sidecar(environment={"FWDSCOPE_UNSAFE_EXPOSE_CONFIG": "1"}))
        wait_until(lambda: "published none" in self.text("#panel-config"))
        path = self.publish(patient, "input: x\nauth: {token: hush-hush}\n")
        wait_until(lambda: "input: x" in self.text("#panel-config"))
        self.assertIn(path, self.text("#panel-config"))
        self.assertIn("***redacted***", self.text("#panel-config"))
        self.assertNotIn("hush", self.js("return document.documentElement.outerHTML"))


class Traces(PageCase):
    def batch(self, patient, key, worker):
        patient.do("span-start", key, "batch")
        patient.do("span-set", key, "pipeline", "main", "worker_id", f"#{worker}", "input_rows",
                   "#4711", "bytes_in", "#815", "retries", "#2", "scan_ns", "#1500000", "send_ns",
                   "#40000000")
        patient.do("span-stage", key, "output")
        patient.do("span-start", f"{key}-out", "output", key)

    def digits(self, selector):
        """The text without what groups digits."""
        return re.sub(r"[\s,.\u00a0\u202f]", "", self.text(selector) or "")

    def test_lanes_bars_and_detail(self):
        patient = self.patient()
        patient.pipeline()
        for worker in (0, 1, 2):
            self.batch(patient, f"done{worker}", worker)
            patient.do("span-end", f"done{worker}-out")
            patient.do("span-end", f"done{worker}")
        self.batch(patient, "live", 1)
        self.open(self.sidecar())
        wait_until(lambda: self.count(".lane") == 3, what=f"3 lanes, now {self.count('.lane')}")
        wait_until(lambda: self.count(".lane .bar.live") > 0, what="a live bar")
        spans = {span["spanId"]
                 for resource in self.dump(patient.path)["spans"]["resourceSpans"]
                 for scope in resource["scopeSpans"] for span in scope["spans"]}
        drawn = set(self.js("return [...document.querySelectorAll('.lane .bar')].map("
                            "(e) => e.dataset.span)"))
        self.assertTrue(drawn)
        self.assertLessEqual(drawn, spans)
        self.js("document.querySelector('.lane .bar:not(.live)').click()")
        wait_until(lambda: "4711" in self.digits("#trace-detail"), what="its rows")
        detail = self.text("#trace-detail")
        span = self.js("return document.querySelector('.lane .bar:not(.live)').dataset.span")
        self.assertIn("815", self.digits("#trace-detail"))
        self.assertIn(span, detail)
        self.assertRegex(detail, r"retries\s*2")
        self.assertEqual(self.js("return [...document.querySelectorAll('#trace-detail .stages span')]"
                                 ".map((e) => e.textContent.replace(/\u202f/g, ' '))"),
                         ["scan 1.5 ms", "send 40 ms"])
        patient.do("span-end", "live-out")
        patient.do("span-end", "live")
        wait_until(lambda: self.count(".lane .bar.live") == 0, what="no live bar any more")
        self.screenshot("traces")


class Logs(PageCase):
    def visible(self):
        return self.js("return [...document.querySelectorAll('#logs tr.log')].filter("
                       "(e) => e.getClientRects().length).map("
                       "(e) => e.querySelector('.body').textContent)")

    def set(self, selector, value):
        self.js("const e = document.querySelector(arguments[0]); e.value = arguments[1];"
                "for (const name of ['input', 'change'])"
                "  e.dispatchEvent(new Event(name, {bubbles: true}))", selector, value)

    def test_filter_and_search(self):
        patient = self.patient()
        patient.pipeline()
        for severity, word in ((1, "trace"), (5, "debug"), (9, "info"), (13, "warn"),
                               (17, "error"), (21, "fatal")):
            patient.do("log", severity, f"a line of {word} [x].* é")
        self.open(self.sidecar())
        wait_until(lambda: len(self.visible()) == 6)
        self.assertEqual({int(value) for value in self.js(
            "return [...document.querySelectorAll('#logs tr.log')].map("
            "(e) => e.dataset.severity)")}, {1, 5, 9, 13, 17, 21})
        self.set("#log-severity", "13")
        wait_until(lambda: len(self.visible()) == 3, what=f"3 lines: {self.visible()}")
        self.set("#log-search", "ERROR")
        wait_until(lambda: self.visible() == ["a line of error [x].* é"],
                   what=f"the line: {self.visible()}")
        # What comes later is filtered alike.
        patient.do("log", 17, "a later error")
        patient.do("log", 9, "a later error that is none")
        patient.do("log", 17, "something else")
        wait_until(lambda: set(self.visible()) == {"a line of error [x].* é", "a later error"},
                   what=f"two lines: {self.visible()}")
        # A search is for text, not for a pattern.
        self.set("#log-severity", "0")
        self.set("#log-search", "[x].*")
        wait_until(lambda: len(self.visible()) == 6, what=f"6 lines: {self.visible()}")
        self.set("#log-search", "[x-z]")
        wait_until(lambda: self.visible() == [], what=f"no line: {self.visible()}")
        self.set("#log-search", "")
        wait_until(lambda: len(self.visible()) == 9, what=f"9 lines: {self.visible()}")


class Bytes(PageCase):
    def test_size_and_copies(self):
        """At most 150 KB gzip; raw and gzip are the same page, told apart by their ETags."""
        sidecar = self.sidecar()
        packed = sidecar.get("/", headers=("Accept-Encoding: gzip",))
        plain = sidecar.get("/")
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        self.assertLessEqual(len(packed.body), 150 << 10)
        self.assertNotEqual(packed.headers["etag"], plain.headers["etag"])
        for answer, more in ((packed, ("Accept-Encoding: gzip",)), (plain, ())):
            again = sidecar.get("/", headers=(f"If-None-Match: {answer.headers['etag']}", *more))
            self.assertEqual((again.status, again.body), (304, b""))
        policy = plain.headers["content-security-policy"]
        self.assertNotIn("unsafe", policy)
        self.assertIn("default-src 'none'", policy)
        # Nothing is fetched from anywhere else.
        self.assertEqual(set(re.findall(rb"(?:src|href)=[\"']?(?:https?:)?//[^\"'> ]+",
                                        plain.body)), set())
        figure("page", f"{len(packed.body) / 1024:.1f} KiB gzip, {len(plain.body) / 1024:.1f} KiB")


if __name__ == "__main__":
    browser.main()
