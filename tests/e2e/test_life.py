#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Beginnings and ends: both start orders, kills of either process, a new life."""
import os
import pathlib
import shutil
import unittest

import harness
import otlp_rules
from harness import Case, wait_until
from otlp_rules import attributes


def begin_batch(patient):
    """A forwarder in mid-batch: counters, one batch in flight, two active spans, log lines."""
    patient.pipeline()
    patient.do("progress", "in", 100, 10_000)
    patient.do("progress", "out", 90, 9_000)
    patient.do("batch", "batches", 9, "rows", 90, "inflight", 1)
    patient.do("counter", "own.count", 12345)
    patient.do("span-start", "b", "batch")
    patient.do("span-set", "b", "pipeline", "main", "rows", "#10")
    patient.do("span-stage", "b", "output")
    patient.do("span-start", "o", "output", "b")
    patient.do("spans", 3)
    patient.do("lines", 5)
    patient.do("log", 17, "the last words")


class Start(Case):
    def test_forwarder_first(self):
        patient = self.patient()
        patient.pipeline()
        patient.do("lines", 7)
        sidecar = self.sidecar()
        # The first answer is a reading, not a promise of one.
        self.assertEqual(sidecar.ready(), (200, "all_components_healthy"))
        subscriber = self.subscriber(sidecar)
        wait_until(lambda: len(subscriber.log_bodies()) == 7)

    def test_sidecar_first(self):
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar)
        self.assertEqual(sidecar.ready(), (503, "region_not_found"))
        patient = self.patient()
        patient.pipeline()
        patient.do("lines", 7)
        sidecar.await_ready(200, "all_components_healthy")
        wait_until(lambda: len(subscriber.log_bodies()) == 7)

    def test_sidecar_first_on_a_file_that_is_to_come(self):
        path = os.path.join(self.dir, "patient.fwdscope")
        sidecar = self.sidecar("--region", path)
        self.assertEqual(sidecar.ready(), (503, "region_not_found"))
        patient = self.patient()
        patient.pipeline()
        os.link(patient.path, path)
        sidecar.await_ready(200, "all_components_healthy")

    def test_a_file_that_is_replaced(self):
        """Another file under a known name is another region, dead or alive the one before."""
        path = os.path.join(self.scratch, "one.fwdscope")
        sidecar = self.sidecar("--region", path)
        for generation, kill in ((1, True), (2, False), (3, False)):
            patient = self.patient()
            patient.pipeline()
            if generation > 1:
                os.unlink(path)
            os.link(patient.path, path)
            wait_until(lambda: sidecar.status()["writer"].get("generation") == generation)
            self.assertEqual(sidecar.ready(), (200, "all_components_healthy"))
            if kill:
                patient.kill()
                sidecar.await_ready(503, "writer_crashed")

    def test_a_copy_of_a_living_region(self):
        """Evidence that somebody puts aside in the same directory is no second forwarder."""
        patient = self.patient()
        patient.pipeline()
        for name in ("0", "zz"):
            shutil.copy(patient.path, os.path.join(self.dir, f"{name}.fwdscope"))
        sidecar = self.sidecar()
        sidecar.await_tick(3)
        self.assertEqual(sidecar.ready(), (200, "all_components_healthy"))
        self.assertNotIn("forwarders", sidecar.status())

    def test_few_descriptors(self):
        """Regions take half of them: probes are answered all the same."""
        sidecar = self.sidecar(before=("prlimit", "--nofile=64"))
        for i in range(40):
            self.patient("--instance", f"i{i}", "--log-ring", 65536, "--lanes", 2)
        wait_until(lambda: len(sidecar.status().get("forwarders", [])) == 32)
        wait_until(lambda: "32 regions" in sidecar.errors())
        sidecar.await_tick()
        self.assertEqual(sidecar.get("/live").status, 200)

    def test_dead_ones_give_way(self):
        """More dead forwarders than there is room for do not hide one that runs."""
        for i in range(40):
            self.patient("--instance", f"i{i}", "--log-ring", 65536, "--lanes", 2).kill()
        sidecar = self.sidecar(before=("prlimit", "--nofile=64"))
        sidecar.await_tick()
        self.patient("--instance", "zz").pipeline()
        wait_until(lambda: sidecar.status()["forwarders"][-1]["instance"] == "zz")
        self.assertEqual(len(sidecar.status()["forwarders"]), 32)

    def test_serving_means_answering(self):
        """The line that says so comes when the port answers: no attempt may fail after it."""
        for _ in range(10):
            sidecar = self.sidecar()
            self.assertEqual(sidecar.get("/live").status, 200)
            self.assertGreaterEqual(sidecar.ticks(), 1)
            self.subscriber(sidecar).await_documents(1, "metrics")
            sidecar.stop()

    def test_port_in_use(self):
        with harness.socket.create_server(("127.0.0.1", 0)) as holder:
            where = f"127.0.0.1:{holder.getsockname()[1]}"
            _, errors = self.run_command("serve", "--dir", self.dir, "--listen", where, expected=1)
            self.assert_one_line(errors, where, "in use", "--listen")
            _, errors = self.run_command("serve", "--dir", self.dir, "--listen", "127.0.0.1:0",
                                         "--probe-listen", where, expected=1)
            self.assert_one_line(errors, where, "in use", "--probe-listen")


class SidecarKilled(Case):
    def test_the_forwarder_does_not_notice(self):
        patient = self.patient("--log-ring", 1 << 20)
        patient.pipeline()
        patient.do("load", 2, 2, 100, 1, 5)
        counts = []
        for _ in range(3):
            sidecar = self.sidecar()
            subscriber = self.subscriber(sidecar)
            subscriber.await_documents(3, "metrics")
            status = sidecar.status()
            self.assertEqual((status["writer"]["pid"], status["writer"]["generation"]),
                             (patient.pid, 1))
            counts.append(status["pipelines"][0]["batches"]["total"])
            wait_until(lambda: subscriber.log_bodies() and subscriber.finished_spans())
            sidecar.kill()
        self.assertEqual(counts, sorted(set(counts)))
        lines, spans = patient.do("load-stop")
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar)
        # What is still in the rings is served; nothing of the forwarder's was lost by the kills.
        wait_until(lambda: len(subscriber.log_bodies()) == lines and
                   len(subscriber.finished_spans()) == spans)
        self.assertEqual(subscriber.lost(), 0)
        self.assertEqual(sidecar.status()["pipelines"][0]["batches"]["rows_total"], lines)


class ForwarderKilled(Case):
    def test_within_one_tick(self):
        patient = self.patient()
        sidecar = self.sidecar(interval="1s")
        begin_batch(patient)
        sidecar.await_ready(200, "all_components_healthy")
        patient.kill()
        ticks = sidecar.ticks()
        # The very next reading tells.
        wait_until(lambda: sidecar.ticks() > ticks)
        status = sidecar.status()
        self.assertEqual((status["ready"]["reason"], status["writer"]["state"]),
                         ("writer_crashed", "crashed"))

    def test_last_state_is_still_served(self):
        patient = self.patient()
        sidecar = self.sidecar()
        begin_batch(patient)
        patient.kill()
        sidecar.await_ready(503, "writer_crashed")
        sidecar.await_tick(3)
        self.check_status(sidecar.status(), patient)
        subscriber = self.subscriber(sidecar)
        wait_until(lambda: {kind for kind, _, _ in subscriber.pump()} == {"metrics", "spans",
                                                                         "logs"})
        self.check_documents(subscriber.documents("metrics"), subscriber.documents("spans"),
                             subscriber.documents("logs"))

    def test_a_sidecar_that_comes_later(self):
        patient = self.patient()
        begin_batch(patient)
        patient.kill()
        sidecar = self.sidecar()
        sidecar.await_ready(503, "writer_crashed")
        sidecar.await_tick()
        self.check_status(sidecar.status(), patient)
        subscriber = self.subscriber(sidecar)
        wait_until(lambda: {kind for kind, _, _ in subscriber.pump()} == {"metrics", "spans",
                                                                         "logs"})
        self.check_documents(subscriber.documents("metrics"), subscriber.documents("spans"),
                             subscriber.documents("logs"))

    def test_dump(self):
        patient = self.patient()
        begin_batch(patient)
        patient.kill()
        out, errors = self.run_command("dump", patient.path, "-o", "json")
        self.assertEqual(errors, "")
        whole = otlp_rules.parse_json(out)
        self.assertEqual(list(whole), ["status", "metrics", "spans", "logs"])
        self.check_status(whole["status"], patient)
        checker = otlp_rules.Checker()
        for kind in ("metrics", "spans", "logs"):
            self.assertEqual(checker.check(harness.json.dumps(whole[kind]))[0], kind)
        self.check_documents([whole["metrics"]], [whole["spans"]], [whole["logs"]])

    def test_a_dead_region_is_given_back(self):
        """Once all of it was read, neither its pages nor its descriptor are held."""
        patient = self.patient()
        begin_batch(patient)
        sidecar = self.sidecar()
        maps = pathlib.Path(f"/proc/{sidecar.pid}/maps")
        self.assertIn(patient.path, maps.read_text())
        patient.kill()
        wait_until(lambda: patient.path not in maps.read_text())
        sidecar.await_tick(2)
        self.check_status(sidecar.status(), patient)

    def check_status(self, status, patient):
        self.assertEqual((status["writer"]["state"], status["writer"]["pid"]),
                         ("crashed", patient.pid))
        pipeline, = status["pipelines"]
        self.assertEqual((pipeline["inputs"][0]["lines_total"],
                          pipeline["outputs"][0]["bytes_total"], pipeline["batches"]["total"],
                          pipeline["batches"]["inflight"]), (100, 9_000, 9, 1))

    def check_documents(self, metrics, spans, logs):
        point = otlp_rules.points(metrics, "own.count")[-1]
        self.assertEqual(point["asInt"], "12345")
        found = otlp_rules.spans(spans)
        active = {span["name"]: attributes(span) for span in found
                  if attributes(span).get("in_progress")}
        self.assertEqual(set(active), {"batch", "output"})
        self.assertEqual((active["batch"]["stage"], active["batch"]["rows"]), ("output", 10))
        self.assertEqual([attributes(span)["n"] for span in found if span["name"] == "counted"],
                         [0, 1, 2])
        bodies = [log["body"]["stringValue"] for log in otlp_rules.log_records(logs)]
        self.assertEqual(bodies, [f"t=0 n={n} " for n in range(5)] + ["the last words"])

    def test_killed_under_load(self):
        """At any moment of writing: what was whole is served, nothing else is."""
        for step in range(5):
            with self.subTest(step=step):
                patient = self.patient("--instance", f"i{step}", "--log-ring", 1 << 20)
                patient.pipeline()
                sidecar = self.sidecar()
                subscriber = self.subscriber(sidecar, backlog=0)
                patient.do("load", 3, 4, 100, 2, 1)
                wait_until(lambda: len(subscriber.log_bodies()) > 100)
                patient.kill()
                sidecar.await_ready(503, "writer_crashed")
                sidecar.await_tick(3)
                lines = {}
                for body in subscriber.log_bodies():
                    thread, number = (int(word[2:]) for word in body.split()[:2])
                    lines.setdefault(thread, []).append(number)
                for numbers in lines.values():
                    if subscriber.lost() == 0:
                        self.assertEqual(numbers, list(range(numbers[0], numbers[-1] + 1)))
                    self.assertEqual(numbers, sorted(set(numbers)))
                sidecar.stop()


class NextLife(Case):
    def start(self):
        return self.patient("--instance", "one", "--instance-id", "the-same")

    def test_after_a_crash(self):
        first = self.start()
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar)
        begin_batch(first)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"), "own.count"))
        first.kill()
        sidecar.await_ready(503, "writer_crashed")
        before = sidecar.status()
        second = self.start()
        second.pipeline()
        second.do("counter", "own.count", 3)
        sidecar.await_ready(200, "all_components_healthy")
        status = sidecar.status()
        self.assertEqual((status["writer"]["generation"], status["writer"]["pid"]), (2, second.pid))
        self.assertGreater(int(status["writer"]["started_unix_ns"]),
                           int(before["writer"]["started_unix_ns"]))
        forwarder, = status["forwarders"]
        previous = forwarder["previous"]
        self.assertEqual((previous["writer"]["state"], previous["writer"]["pid"],
                          previous["writer"]["generation"], previous["region"]["uuid"]),
                         ("crashed", first.pid, 1, before["region"]["uuid"]))
        # The stream: the total falls from 12345 to 3 with a new start, which the rules allow only
        # if it is not before the old series' last point. A new client gets both lives.
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"),
                                             "own.count")[-1]["asInt"] == "3")
        late = self.subscriber(sidecar)
        points = otlp_rules.points(late.await_documents(1, "metrics")[:1], "own.count")
        starts = {point["asInt"]: int(point["startTimeUnixNano"]) for point in points}
        self.assertEqual(set(starts), {"12345", "3"})
        self.assertLess(starts["12345"], starts["3"])
        wait_until(lambda: "the last words" in late.log_bodies())

    def test_at_once(self):
        """Killed and started again between two ticks: both lives come out in one document."""
        first = self.start()
        sidecar = self.sidecar(interval="500ms")
        subscriber = self.subscriber(sidecar)
        first.do("counter", "own.count", 1000)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"), "own.count"))
        first.do("counter", "own.count", 1)
        first.kill()
        self.start().do("counter", "own.count", 5)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"),
                                             "own.count")[-1]["asInt"] == "5")
        subscriber.await_documents(len(subscriber.documents("metrics")) + 3, "metrics")
        values = [point["asInt"] for point in otlp_rules.points(subscriber.documents("metrics"),
                                                                "own.count")]
        self.assertIn("1001", values)  # what came after the last tick of the first life

    def test_sidecar_that_finds_both(self):
        first = self.start()
        first.do("counter", "own.count", 1000)
        first.kill()
        second = self.start()
        second.do("counter", "own.count", 5)
        sidecar = self.sidecar()
        sidecar.await_tick(3)
        subscriber = self.subscriber(sidecar)
        document = subscriber.await_documents(1, "metrics")[0]
        self.assertEqual({point["asInt"] for point in otlp_rules.points([document], "own.count")},
                         {"1000", "5"})

    def test_after_a_clean_end(self):
        first = self.start()
        sidecar = self.sidecar()
        first.pipeline()
        sidecar.await_ready(200, "all_components_healthy")
        first.quit()
        sidecar.await_ready(503, "writer_exited")
        second = self.start()
        second.pipeline()
        sidecar.await_ready(200, "all_components_healthy")
        self.assertEqual(sidecar.status()["writer"]["generation"], 2)
        self.assertFalse(os.path.exists(first.path))

    def test_many_lives(self):
        """Only the last dead life is kept, on disk and in the answers."""
        sidecar = self.sidecar()
        for generation in range(1, 6):
            patient = self.start()
            patient.pipeline()
            wait_until(lambda: sidecar.status()["writer"].get("generation") == generation)
            patient.kill()
            sidecar.await_ready(503, "writer_crashed")
        self.assertEqual(len(os.listdir(self.dir)), 2)
        forwarder, = sidecar.status()["forwarders"]
        self.assertEqual((forwarder["writer"]["generation"],
                          forwarder["previous"]["writer"]["generation"]), (5, 4))


if __name__ == "__main__":
    unittest.main(verbosity=2)
