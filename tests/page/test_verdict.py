#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What happens to the forwarder changes the verdict; restarts and losses are shown as what they
are."""
import re
import signal

import browser
from browser import PageCase, wait_until


class FaultCase(PageCase):
    def assert_still(self):
        """Nothing on the page says that it runs well, now that it does not run."""
        wait_until(lambda: "nothing moves" in self.text("#flow .reason"), what="words of the past")
        self.assertNotIn("running well", self.text("body"))
        self.assertEqual(set(self.js("return [...document.querySelectorAll('#flow .node')].map("
                                     "(e) => e.dataset.health)")), {"past"})
        self.assertTrue(all(health.startswith("was ") for health in self.js(
            "return [...document.querySelectorAll('#flow .health')].map((e) => e.textContent)")))


class Verdict(FaultCase):
    def test_waiting_then_well(self):
        """A page that is open before the forwarder: waiting, then well, without a reload."""
        self.open(self.sidecar())
        self.await_verdict("waiting", "unready")
        self.screenshot("waiting")
        self.patient().pipeline()
        self.await_verdict("well")

    def test_unready(self):
        patient = self.patient()
        patient.pipeline()
        patient.do("health", "out", 5)
        self.open(self.sidecar())
        self.assertRegex(self.await_verdict("unready"), "(?i)failed")
        patient.do("health", "out", 0)
        self.await_verdict("well")

    def test_stalled_and_back(self):
        patient = self.patient("--heartbeat", 200)
        patient.pipeline()
        self.open(self.sidecar())
        self.await_verdict("well")
        patient.signal(signal.SIGSTOP)
        try:
            self.assertRegex(self.await_verdict("stalled"), r"heartbeat.*\d")
            self.assertEqual(self.data("#writer-state", "state"), "stalled")
            self.assert_still()
            self.screenshot("stalled")
        finally:
            patient.signal(signal.SIGCONT)
        self.await_verdict("well")

    def test_clean_exit(self):
        patient = self.patient()
        patient.pipeline()
        self.open(self.sidecar())
        self.await_verdict("well")
        patient.quit()
        self.await_verdict("exited")
        self.assertIn("told to quit", self.text("body"))
        self.screenshot("exited")

    def test_input_transform_scan(self):
        """The other stages of the contract's table, with their evidence."""
        for stage, batch in (("transform", "transform_ns"), ("scan", "scan_ns"),
                             ("input", "backpressure_stalls")):
            with self.subTest(stage=stage):
                patient = self.patient("--service", stage, "--instance", stage)
                patient.pipeline()
                sidecar = self.sidecar("--region", patient.path)
                self.open(sidecar)
                self.await_verdict("well")

                def push():
                    """Far above the threshold: 10 s of work in no time, 1000 stalls."""
                    patient.do("batch", "batches", 1, "rows", 1, batch,
                               1000 if stage == "input" else 10_000_000_000)
                    return self.verdict() == stage
                wait_until(push, what=f"verdict {stage}, last {self.text('#verdict')}")
                self.assertRegex(self.text("#verdict"), r"\d")
                self.browser.forget()
                patient.quit()


class Crash(FaultCase):
    def begin_batch(self, patient, lines=5):
        patient.pipeline()
        patient.do("progress", "in", 1234, 56_789)
        patient.do("progress", "out", 1201, 50_001)
        patient.do("batch", "batches", 12, "rows", 1201, "inflight", 1)
        patient.do("span-start", "b", "batch")
        patient.do("span-set", "b", "pipeline", "main", "worker_id", "#0", "input_rows", "#33")
        patient.do("span-stage", "b", "output")
        patient.do("lines", lines)
        patient.do("log", 17, "the last words")

    def check_previous(self):
        """The panel of the life that crashed: last counters, what was in flight, last lines."""
        wait_until(lambda: self.data("#panel-previous", "state") == "crashed",
                   what=f"the previous life: {self.text('#panel-previous')}")
        numbers = self.numbers("previous")
        found = {name.split("previous/", 1)[-1]: value for name, value in numbers.items()}
        self.assertEqual(found.get("main/in/lines_total"), 1234, numbers)
        self.assertEqual(found.get("main/out/lines_total"), 1201, numbers)
        self.await_count("#panel-previous .inflight", 1)
        self.assertIn("output", self.text("#panel-previous .inflight"))
        self.assertIn("the last words", self.text("#panel-previous"))
        # It is cut off, not live: nobody works on it any more.
        self.await_count(".lane .bar.cut", 1)
        self.assertEqual(self.count(".lane .bar.live"), 0)

    def test_killed_restarted_previous_life(self):
        patient = self.patient()
        self.begin_batch(patient)
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_verdict("well")
        wait_until(lambda: "the last words" in self.log_lines())
        patient.kill()
        self.assertRegex(self.await_verdict("crashed"), "(?i)sigkill|signal|memory")
        self.assertEqual(self.data("#writer-state", "state"), "crashed")
        self.assert_still()
        self.screenshot("crashed")
        second = self.patient()
        second.pipeline()
        self.await_verdict("well")
        wait_until(lambda: self.text("#generation").strip().endswith("2"))
        self.check_previous()
        self.assertFalse(self.js("return document.getElementById('panel-previous').hidden"))
        self.js("document.getElementById('panel-previous').scrollIntoView()")
        self.screenshot("previous")
        wait_until(lambda: all(chart["markers"] >= 1 for chart in self.charts().values()),
                   what=f"a mark of the crash in each chart: {self.charts()}")
        # Somebody who comes only now sees it too, from what the sidecar remembers.
        self.browser.driver.refresh()
        self.await_verdict("well")
        wait_until(lambda: self.data("#panel-previous", "state") == "crashed")
        wait_until(lambda: "the last words" in self.text("#panel-previous"))
        self.await_count("#panel-previous .inflight", 1)
        self.assertEqual(self.count(".lane .bar.live"), 0)

    def test_signal_is_named(self):
        patient = self.patient()
        patient.pipeline()
        self.open(self.sidecar())
        self.await_verdict("well")
        patient.do("close", "crashed", "killed by signal 11")
        self.assertIn("killed by signal 11", self.await_verdict("crashed"))
        patient.send("quit")
        patient.wait(0)


class Restart(PageCase):
    """A restart is a gap and a marker in each chart, never a rate that nobody had."""

    def work(self, patient, until):
        """10 lines at a time until the condition holds; returns how many."""
        lines = 0
        while not until():
            patient.do("progress", "in", 10, 1000)
            patient.do("progress", "out", 10, 1000)
            patient.do("batch", "batches", 1, "rows", 10, "latency_ns", 1_000_000)
            lines += 10
        return lines

    def points(self):
        return self.charts()["lines"]["points"] or 0

    def test_no_spike(self):
        huge = 10**13
        first = self.patient()
        first.pipeline()
        first.do("progress", "in", huge, huge)
        first.do("progress", "out", huge, huge)
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_verdict("well")
        done = self.work(first, lambda: self.points() >= 10)
        before = self.charts()
        first.kill()
        self.await_verdict("crashed")
        # The second life is first read with great numbers already, more than before and less.
        sidecar.signal(signal.SIGSTOP)
        try:
            second = self.patient()
            second.pipeline()
            second.do("progress", "in", 2 * huge, 2 * huge)
            second.do("progress", "out", huge // 2, huge // 2)
        finally:
            sidecar.signal(signal.SIGCONT)
        self.await_verdict("well")
        known = self.points()
        done += self.work(second, lambda: self.points() >= known + 10)
        after = self.charts()
        for name in ("lines", "bytes", "batches"):
            self.assertEqual(after[name]["gaps"], before[name]["gaps"] + 1, name)
            self.assertGreaterEqual(after[name]["markers"], 1, name)
            # All of it within a millisecond is more than was ever true, and far less than a spike.
            most = 1000 * done * {"lines": 1, "bytes": 100, "batches": 6}[name]
            self.assertLess(most, huge)
            self.assertLessEqual(after[name]["max"], most, name)
            self.assertGreater(after[name]["max"], 0, name)
        self.js("document.getElementById('panel-charts').scrollIntoView()")
        self.screenshot("restart")


class Lapped(PageCase):
    def test_loss_rows(self):
        """A ring that is overwritten while the sidecar cannot look: told, to the record."""
        patient = self.patient("--log-ring", 64 << 10, "--lanes", 2)
        patient.pipeline()
        patient.do("lines", 3)
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_live()
        wait_until(lambda: len(self.log_lines()) == 3)
        sidecar.signal(signal.SIGSTOP)
        try:
            written, = patient.do("lines", 5000, 1000)
        finally:
            sidecar.signal(signal.SIGCONT)
        lost = wait_until(lambda: sidecar.status()["region"]["lost"]["logs"])
        wait_until(lambda: self.lost() == lost, what=f"{lost} lost, shown {self.lost()}")
        wait_until(lambda: self.held()["logs"] + lost >= written,
                   what=f"{written} lines, {lost} of them lost: {self.held()}")
        self.assertEqual(self.held()["logs"], written - lost)
        wait_until(lambda: self.numbers("ledger")["region/lost.logs"] == lost)
        self.assertGreater(self.count("#logs .loss"), 0)
        self.assertTrue(re.search(r"\d", self.text("#logs .loss")))
        self.js("document.querySelector('#logs .loss').scrollIntoView({block: 'center'})")
        self.screenshot("lapped")


if __name__ == "__main__":
    browser.main()
