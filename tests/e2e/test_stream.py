#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The WebSocket stream: order, backlog, exactly once, honest losses, active spans, two clients."""
import statistics
import time
import unittest

import harness
import otlp_rules
from harness import Case, SANITIZER, wait_until
from otlp_rules import attributes

ORDER = ["metrics", "spans", "logs"]
RING = 64 << 10  # the smallest log ring that the shim takes
LINE = 100       # bytes of a counted line
# Head, payload head and body of a record, in bytes: how much of the ring a line takes.
RECORD = (5 + 8) * 8 + (LINE + 7) // 8 * 8


def numbers(bodies):
    """The counters of counted lines, per thread, in order."""
    result = {}
    for body in bodies:
        words = dict(word.split("=") for word in body.split()[:2])
        result.setdefault(int(words["t"]), []).append(int(words["n"]))
    return result


def span_numbers(spans):
    return [attributes(span)["n"] for span in spans if span["name"] == "counted"]


class Ticks(Case):
    def test_order_within_a_tick(self):
        patient = self.patient()
        patient.pipeline()
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=0)
        for _ in range(5):
            before = len(subscriber.log_bodies())
            patient.do("lines", 3)
            patient.do("spans", 3)
            wait_until(lambda: len(subscriber.log_bodies()) == before + 3)
        wait_until(lambda: len(subscriber.finished_spans()) == 15)
        kinds = [kind for kind, _, _ in subscriber.pump()]
        ticks = []
        for kind in kinds:  # metrics stand in every tick, so each begins one
            if kind == "metrics":
                ticks.append([])
            ticks[-1].append(kind)
        self.assertEqual([tick for tick in ticks
                          if tick != [kind for kind in ORDER if kind in tick]], [])
        self.assertIn(ORDER, ticks)

    def test_a_tick_at_each_interval(self):
        self.patient().pipeline()
        sidecar = self.sidecar(interval="200ms")
        subscriber = self.subscriber(sidecar, backlog=0)
        documents = subscriber.await_documents(11, "metrics")
        times = sorted({int(point["timeUnixNano"]) for point in
                        otlp_rules.points(documents, "forwarder.uptime_seconds")})
        steps = [(b - a) / 1e6 for a, b in zip(times, times[1:])]
        self.assertGreaterEqual(len(steps), 10)
        self.assertAlmostEqual(statistics.median(steps), 200, delta=60)

    def test_one_time_for_all_points_of_a_tick(self):
        patient = self.patient()
        patient.pipeline()
        patient.do("counter", "a.count", 1)
        subscriber = self.subscriber(self.sidecar(), backlog=0)
        for document in subscriber.await_documents(5, "metrics"):
            self.assertEqual(len({point["timeUnixNano"] for _, _, metric
                                  in otlp_rules.metrics([document])
                                  for point in metric[otlp_rules.data_of(metric)]["dataPoints"]}),
                             1)

    def test_standard_metrics(self):
        patient = self.patient("--prefix", "logfwd")
        patient.pipeline()
        patient.do("progress", "in", 10, 1000)
        patient.do("progress", "out", 8, 800)
        patient.do("queue", "out", 3, 16)
        patient.do("batch", "batches", 2, "rows", 8, "scan_ns", 5, "transform_ns", 6,
                   "output_ns", 7, "queue_wait_ns", 8, "send_ns", 9, "inflight", 1,
                   "backpressure_stalls", 4, "dropped_batches", 3, "scan_errors", 2,
                   "parse_errors", 1)
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=0)
        document = subscriber.await_documents(1, "metrics")[-1]
        values = {}
        for resource, _, metric in otlp_rules.metrics([document]):
            if resource["service.name"] != "patient":
                continue
            self.assertTrue(metric["unit"] and metric["description"], metric)
            for point in metric[otlp_rules.data_of(metric)]["dataPoints"]:
                names = attributes(point)
                key = (metric["name"], names.get("stage") or names.get("component"))
                values[key] = otlp_rules.number_of(point)
                if not metric["name"].startswith("process.") and "uptime" not in metric["name"]:
                    self.assertEqual(names["pipeline"], "main")
        for name, value in {"input_lines": 10, "input_bytes": 1000, "output_lines": 8,
                            "output_bytes": 800, "output_errors": 0, "batches": 2, "batch_rows": 8,
                            "queue_wait_nanos": 8, "send_nanos": 9, "backpressure_stalls": 4,
                            "dropped_batches": 3, "scan_errors": 2, "parse_errors": 1,
                            "inflight_batches": 1}.items():
            self.assertEqual(values.pop((f"logfwd.{name}", None)), value, name)
        for stage, value in (("scan", 5), ("transform", 6), ("output", 7)):
            self.assertEqual(values.pop(("logfwd.stage_nanos", stage)), value)
        self.assertEqual(values.pop(("logfwd.queue_depth", "out")), 3)
        self.assertEqual(values.pop(("logfwd.queue_capacity", "out")), 16)
        self.assertGreater(values.pop(("logfwd.uptime_seconds", None)), 0)
        self.assertGreater(values.pop(("process.memory.rss", None)), 1 << 20)
        for name in ("user", "sys"):
            self.assertGreaterEqual(values.pop((f"process.cpu.{name}_ms", None)), 0)
        self.assertEqual(values, {})

    def test_resources(self):
        patient = self.patient("--service", "shipper", "--instance-id", "me-17")
        patient.do("lines", 1)
        patient.do("spans", 1)
        subscriber = self.subscriber(self.sidecar())
        wait_until(lambda: subscriber.finished_spans() and subscriber.log_bodies())
        for root, scopes, items, kind in (("resourceMetrics", "scopeMetrics", "metrics", "metrics"),
                                          ("resourceSpans", "scopeSpans", "spans", "spans"),
                                          ("resourceLogs", "scopeLogs", "logRecords", "logs")):
            found = [resource for resource, _, _ in otlp_rules.resources(
                subscriber.documents(kind), root, scopes, items)
                if resource["service.name"] == "shipper"]
            self.assertTrue(found, kind)
            self.assertEqual(found[0]["service.instance.id"], "me-17")
            self.assertEqual(found[0]["service.version"], "1.2.3")
            self.assertEqual(found[0]["process.pid"], patient.pid)
            self.assertEqual(found[0]["host.name"], harness.socket.gethostname())
        own = [metric["name"] for resource, _, metric in
               otlp_rules.metrics(subscriber.documents("metrics"))
               if resource["service.name"] == "fwdscope"]
        self.assertIn("fwdscope.sidecar.ticks", own)


class Backlog(Case):
    # Promised within 100 ms; measured from the call of connect(), handshake and parsing included.
    BOUND = 1.5 if SANITIZER else 0.1

    def test_comes_at_once_and_holds_the_past(self):
        patient = self.patient()
        patient.pipeline()
        patient.do("lines", 50)
        patient.do("spans", 20)
        sidecar = self.sidecar(interval="60s")  # so that nothing else can come
        subscriber = self.subscriber(sidecar)
        wait_until(lambda: len(subscriber.texts) == 3, what="three messages of backlog")
        delay = subscriber.texts[-1][0] - subscriber.connected
        kinds = [kind for kind, _, _ in subscriber.pump()]
        self.assertEqual(kinds, ORDER)
        self.assertEqual(numbers(subscriber.log_bodies()), {0: list(range(50))})
        self.assertEqual(span_numbers(subscriber.finished_spans()), list(range(20)))
        self.assertLess(delay, self.BOUND)

    def test_many_points_a_metric_in_one_document(self):
        patient = self.patient()
        patient.do("counter", "own.count", 1)
        sidecar = self.sidecar()
        wait_until(lambda: sidecar.ticks() >= 20)
        subscriber = self.subscriber(sidecar)
        document = subscriber.await_documents(1, "metrics")[0]
        points = otlp_rules.points([document], "own.count")
        self.assertGreaterEqual(len(points), 20)
        times = [int(point["timeUnixNano"]) for point in points]
        self.assertEqual(times, sorted(set(times)))
        self.assertEqual(len({point["startTimeUnixNano"] for point in points}), 1)

    def test_none_when_none_is_asked_for(self):
        patient = self.patient()
        patient.do("lines", 100)
        patient.do("spans", 100)
        sidecar = self.sidecar()
        old = self.subscriber(sidecar)
        wait_until(lambda: len(old.log_bodies()) == 100 and len(old.finished_spans()) == 100)
        sidecar.await_tick()
        subscriber = self.subscriber(sidecar, backlog=0)
        patient.do("lines", 1)
        wait_until(lambda: subscriber.log_bodies())
        self.assertEqual(numbers(subscriber.log_bodies()), {0: [100]})
        self.assertEqual(subscriber.finished_spans(), [])

    def test_seconds_bound_it(self):
        patient = self.patient()
        patient.do("lines", 10)
        sidecar = self.sidecar()
        old = self.subscriber(sidecar)
        wait_until(lambda: len(old.log_bodies()) == 10)
        written = time.monotonic()
        wait_until(lambda: time.monotonic() - written > 2.5, what="the lines to age")
        patient.do("lines", 1)
        wait_until(lambda: len(old.log_bodies()) == 11)
        sidecar.await_tick()
        subscriber = self.subscriber(sidecar, backlog=2)
        wait_until(lambda: subscriber.log_bodies())
        self.assertEqual(numbers(subscriber.log_bodies()), {0: [10]})

    def test_bad_seconds(self):
        sidecar = self.sidecar()
        for text in ("-1", "x", "3601", ""):
            with self.subTest(backlog=text):
                subscriber = harness.Subscriber(sidecar.port, backlog=text)
                self.subscribers.append(subscriber)
                self.assertEqual(subscriber.response.status_code, 400)


class ExactlyOnce(Case):
    def test_two_clients_over_many_laps(self):
        """Bursts of at most half a ring, each awaited: nothing may be lost, nothing repeated."""
        patient = self.patient("--log-ring", RING, "--span-ring", RING)
        sidecar = self.sidecar()
        first = self.subscriber(sidecar)
        burst = RING // 2 // RECORD
        rounds = 2 * 6 * RING // (burst * RECORD)  # six laps before and six after the second client
        second = None
        for step in range(1, rounds + 1):
            written = patient.do("lines", burst, LINE)[0]
            spans = patient.do("spans", 50)[0]
            wait_until(lambda: len(first.log_bodies()) >= written and
                       len(first.finished_spans()) >= spans, what=f"burst {step}")
            if step == rounds // 2:
                second = self.subscriber(sidecar)
        self.assertGreater(written * RECORD, 10 * RING)
        self.assertEqual(numbers(first.log_bodies()), {0: list(range(written))})
        self.assertEqual(span_numbers(first.finished_spans()), list(range(spans)))
        self.assertEqual((first.lost(), first.lost("spans")), (0, 0))
        # The second one: from its first record on the same, without a gap, without a repetition.
        wait_until(lambda: numbers(second.log_bodies())[0][-1] == written - 1)
        lines = numbers(second.log_bodies())[0]
        self.assertEqual(lines, list(range(lines[0], written)))
        self.assertLess(lines[0], written // 2)
        of_spans = span_numbers(second.finished_spans())
        self.assertEqual(of_spans, list(range(of_spans[0], spans)))

    def test_connecting_in_mid_stream(self):
        """Clients that come while lines are written: no gap between backlog and first tick."""
        patient = self.patient("--log-ring", 1 << 20)
        sidecar = self.sidecar()
        patient.do("load", 2, 5, LINE, 1, 5)
        clients = []
        for _ in range(8):
            clients.append(self.subscriber(sidecar))
            clients[-1].await_documents(3, "metrics")
        lines, _ = patient.do("load-stop")
        wait_until(lambda: len(clients[0].log_bodies()) >= lines)
        for client in clients:
            wait_until(lambda: sum(map(len, numbers(client.log_bodies()).values())) and all(
                found[-1] == numbers(clients[0].log_bodies())[thread][-1]
                for thread, found in numbers(client.log_bodies()).items()))
            self.assertEqual(client.lost(), 0)
            for found in numbers(client.log_bodies()).values():
                self.assertEqual(found, list(range(found[0], found[-1] + 1)))

    def test_flood(self):
        """Unpaced: what came and what was told as lost is what was written, for every client."""
        patient = self.patient("--log-ring", RING, "--span-ring", 16 << 10)
        sidecar = self.sidecar()
        clients = [self.subscriber(sidecar, backlog=0) for _ in range(2)]
        for _ in range(4):
            lines, spans = patient.do("lines", 5000, LINE)[0], patient.do("spans", 2000)[0]
            for client in clients:
                wait_until(lambda: len(client.log_bodies()) + client.lost() >= lines)
                wait_until(lambda: len(client.finished_spans()) + client.lost("spans") >= spans)
        sidecar.await_tick(2)
        for client in clients:
            got = numbers(client.log_bodies())[0]
            self.assertEqual(got, sorted(set(got)), "out of order or repeated")
            self.assertEqual(len(got) + client.lost(), lines)
            self.assertEqual(len(client.finished_spans()) + client.lost("spans"), spans)
            self.assertGreater(client.lost(), 0)
            self.assertGreater(len(got), RING // RECORD // 2)
        lost = sidecar.status()["region"]["lost"]
        self.assertEqual((lost["logs"], lost["spans"]),
                         (clients[0].lost(), clients[0].lost("spans")))

    def test_loss_notice_form(self):
        patient = self.patient("--log-ring", RING)
        subscriber = self.subscriber(self.sidecar(), backlog=0)
        patient.do("lines", 5000, LINE)
        wait_until(lambda: subscriber.lost())
        resource, scope, notice = next(
            found for found in otlp_rules.resources(subscriber.documents("logs"), "resourceLogs",
                                                    "scopeLogs", "logRecords")
            if otlp_rules.is_loss(found[2]))
        self.assertEqual((scope, resource["service.name"]), ("fwdscope", "patient"))
        self.assertEqual(notice["severityNumber"], 13)
        self.assertIsInstance(attributes(notice)["fwdscope.lost.log_records"], int)

    def test_flood_of_a_writer_that_dies(self):
        """The losses of its last moments are told too."""
        patient = self.patient("--log-ring", RING)
        sidecar = self.sidecar(interval="1s")
        subscriber = self.subscriber(sidecar, backlog=0)
        lines = patient.do("lines", 5000, LINE)[0]
        patient.kill()
        sidecar.await_ready(503, "writer_crashed")
        sidecar.await_tick(2)
        wait_until(lambda: len(subscriber.log_bodies()) + subscriber.lost() == lines, 5,
                   "all lines delivered or told as lost")


class Spans(Case):
    def test_active_then_finished_once(self):
        patient = self.patient()
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=0)
        patient.do("span-start", "b", "batch")
        patient.do("span-set", "b", "pipeline", "main", "bytes_in", "#4096")
        patient.do("span-stage", "b", "scan")
        patient.do("span-start", "o", "output", "b")
        wait_until(lambda: len(subscriber.active_spans()) >= 6)
        by_name = {span["name"]: span for span in subscriber.active_spans()}
        batch, output = by_name["batch"], by_name["output"]
        self.assertEqual(attributes(batch)["stage"], "scan")
        self.assertEqual((attributes(batch)["pipeline"], attributes(batch)["bytes_in"]),
                         ("main", 4096))
        self.assertGreater(attributes(batch)["stage_start_unix_ns"], 10**18)
        self.assertNotIn("parentSpanId", batch)
        self.assertEqual((output["parentSpanId"], output["traceId"], output["kind"]),
                         (batch["spanId"], batch["traceId"], 3))
        ends = [int(span["endTimeUnixNano"]) for span in subscriber.active_spans()
                if span["name"] == "batch"]
        self.assertEqual(ends, sorted(set(ends)))  # each tick's own time
        patient.do("span-stage", "b", "output")
        wait_until(lambda: attributes(subscriber.active_spans()[-1]).get("output_start_unix_ns") or
                   attributes(subscriber.active_spans()[-2]).get("output_start_unix_ns"))
        patient.do("span-status", "o", 2, "connection refused")
        patient.do("span-end", "o")
        patient.do("span-end", "b")
        wait_until(lambda: len(subscriber.finished_spans()) == 2)
        subscriber.await_documents(len(subscriber.documents("metrics")) + 3, "metrics")
        finished = {span["name"]: span for span in subscriber.finished_spans()}
        self.assertEqual(len(subscriber.finished_spans()), 2)
        self.assertEqual(finished["batch"]["spanId"], batch["spanId"])
        self.assertEqual(finished["output"]["status"],
                         {"code": 2, "message": "connection refused"})
        self.assertNotIn("status", finished["batch"])
        for span in finished.values():
            self.assertNotIn("stage", attributes(span))

    def test_never_in_progress_after_its_end(self):
        """Spans end at a millisecond's pace, so that some end between the reading and the drain of
        a tick. The rules of the stream refuse one that is in progress after, or beside, its end."""
        patient = self.patient()
        subscriber = self.subscriber(self.sidecar())
        patient.do("load", 2, 0, LINE, 1, 1, 60)
        wait_until(lambda: len(subscriber.documents("metrics")) >= 50)
        _, spans = patient.do("load-stop")
        wait_until(lambda: len(subscriber.finished_spans()) + subscriber.lost("spans") >= spans)
        self.assertGreater(len(subscriber.active_spans()), 50)

    def test_log_line_of_a_span(self):
        patient = self.patient()
        subscriber = self.subscriber(self.sidecar())
        patient.do("span-start", "b", "batch")
        patient.do("log-in-span", "b", "cannot parse")
        patient.do("span-end", "b")
        wait_until(lambda: subscriber.finished_spans() and subscriber.log_bodies())
        line = otlp_rules.log_records(subscriber.documents("logs"))[0]
        span = subscriber.finished_spans()[0]
        self.assertEqual((line["traceId"], line["spanId"]), (span["traceId"], span["spanId"]))
        self.assertEqual((line["severityNumber"], line["severityText"]), (17, "error"))


class NoSubscriber(Case):
    def test_cursors_advance(self):
        """Eight laps of the ring while nobody listens: drained all the same, so nothing is lost."""
        patient = self.patient("--log-ring", RING)
        sidecar = self.sidecar()
        burst = RING // 2 // RECORD
        for _ in range(16):
            patient.do("lines", burst, LINE)
            sidecar.await_tick()
        self.assertEqual(sidecar.status()["region"]["lost"]["logs"], 0)
        subscriber = self.subscriber(sidecar, backlog=0)
        written = patient.do("lines", 1)[0]
        wait_until(lambda: subscriber.log_bodies())
        self.assertEqual(numbers(subscriber.log_bodies()), {0: [written - 1]})


if __name__ == "__main__":
    unittest.main(verbosity=2)
