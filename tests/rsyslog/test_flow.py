#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stock rsyslogd that works: its counts are what was sent and what arrived."""
import os
import pathlib
import unittest

import daemon
import otlp_rules
from daemon import Case, component, pipeline
from harness import wait_until
from otlp_rules import attributes

FILE_LINES, TCP_LINES, UDP_LINES = 3000, 2000, 50
TOTAL = FILE_LINES + TCP_LINES + UDP_LINES


def failed_with(span):
    """Why a batch failed, or None."""
    status = span.get("status", {})
    return status["message"] if status.get("code") == 2 else None


class Flow(Case):
    def test_counts_spans_and_lines(self):
        sink = self.sink()
        shipped = os.path.join(self.scratch, "one", "shipped.log")
        rsyslogd = self.rsyslogd(
            f'action(name="keep" type="omfile" file="{self.scratch}/one/kept.log"\n'
            '       template="fwdscope_line")\n'
            f'action(name="net" type="omfwd" target="127.0.0.1" port="{sink.port}"\n'
            '       protocol="tcp" template="fwdscope_line" queue.type="LinkedList"\n'
            '       queue.size="20000")\n' + daemon.ship_action(shipped),
            stats="--batches --capacity net=20000 --capacity data=5000")
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=600)
        rsyslogd.write(FILE_LINES)
        rsyslogd.send_tcp(TCP_LINES)
        rsyslogd.send_udp(UDP_LINES)
        for count in (lambda: rsyslogd.lines("kept.log"), lambda: rsyslogd.lines("shipped.log"),
                      lambda: sink.lines):
            wait_until(lambda: count() == TOTAL, what=f"{TOTAL} lines, last {count()}")

        def settled():
            status = sidecar.status()
            outputs = [component(status, "outputs", name) for name in ("keep", "net", "ship")]
            others = component(status, "inputs", "other inputs")
            done = all(o and o["lines_total"] == TOTAL for o in outputs)
            return status if done and others and others["lines_total"] >= FILE_LINES else None

        status = wait_until(settled, what=f"the counts: {sidecar.status()['pipelines']}")
        self.check_inputs(rsyslogd, sidecar, subscriber, status)
        self.check_outputs(status)
        self.check_batches(subscriber, sidecar, shipped)
        self.check_identity(rsyslogd, sidecar, subscriber, status)
        self.check_messages(rsyslogd, subscriber)
        self.assertEqual(sidecar.ready(), (200, "all_components_healthy"))
        self.assertEqual(pipeline(status)["bottleneck"]["stage"], "none")
        rsyslogd.stop()
        print(f"figure: a stock rsyslogd, counted from outside: {TOTAL} of {TOTAL} lines at each "
              "of 3 outputs")

    def check_inputs(self, rsyslogd, sidecar, subscriber, status):
        tcp = component(status, "inputs", f"tcp_in({rsyslogd.tcp})")
        self.assertEqual((tcp["type"], tcp["lines_total"]), ("imtcp", TCP_LINES))
        self.assertNotIn("bytes_total", tcp)  # rsyslog does not count them: absent, not 0
        udp = component(status, "inputs", f"udp_in(127.0.0.1/{rsyslogd.udp}/IPv4)")
        self.assertEqual((udp["type"], udp["lines_total"]), ("imudp", UDP_LINES))
        # imfile counts nothing itself: its lines are what the queues took in besides.
        def entered():
            return daemon.counter(subscriber.documents("metrics"), "rsyslog.core.queue.enqueued",
                                  "data")[-1:]

        wait_until(lambda: entered() == [TOTAL], what="rsyslog's own counter on the stream")
        documents = subscriber.documents("metrics")
        own = daemon.counter(documents, "rsyslog.core.queue.enqueued", "main Q")[-1]
        others = component(status, "inputs", "other inputs")
        self.assertLessEqual(others["lines_total"] - own, FILE_LINES + 1)
        self.assertGreaterEqual(others["lines_total"], FILE_LINES)
        # Both queues are known by depth; only one by size.
        self.assertEqual(component(status, "inputs", "data")["queue"],
                         {"depth": 0, "capacity": 5000})
        self.assertEqual(component(status, "inputs", "main Q")["queue"], {"depth": 0})
        capacities = {attributes(point)["component"]: otlp_rules.number_of(point)
                      for point in otlp_rules.points(documents, "forwarder.queue_capacity")}
        self.assertEqual(capacities, {"data": 5000, "net": 20000})

    def check_outputs(self, status):
        for name, kind in (("keep", "action"), ("net", "omfwd"), ("ship", "action")):
            output = component(status, "outputs", name)
            self.assertEqual((output["type"], output["health"], output["errors"]),
                             (kind, "healthy", 0), name)
            self.assertIn("last_success_unix_ns", output)
        net = component(status, "outputs", "net")
        self.assertEqual(net["queue"], {"depth": 0, "capacity": 20000})
        self.assertGreater(net["bytes_total"], TOTAL)
        names = {o["name"] for o in pipeline(status)["outputs"]}
        self.assertEqual(names, {"keep", "net", "ship"})  # none of the adapter's own

    def check_batches(self, subscriber, sidecar, shipped):
        def rows():
            return sum(attributes(span)["rows"] for span in subscriber.finished_spans())

        wait_until(lambda: rows() == TOTAL, what=f"rows of all batches, last {rows()}")
        spans = [attributes(span) for span in subscriber.finished_spans()]
        self.assertEqual(sum(span["bytes_in"] for span in spans),
                         os.path.getsize(shipped))
        self.assertEqual({span["output"] for span in spans}, {"ship"})
        self.assertLessEqual(max(span["rows"] for span in spans), 256)

        def batches():
            found = pipeline(sidecar.status())["batches"]
            return found["total"], found["rows_total"], found["inflight"]

        wait_until(lambda: batches() == (len(spans), TOTAL, 0), what=f"the sums, last {batches()}")

    def check_identity(self, rsyslogd, sidecar, subscriber, status):
        self.assertEqual(status["writer"]["pid"], rsyslogd.pid)
        self.assertEqual(status["writer"]["state"], "alive")
        resource = next(resource for resource, _, _ in
                        otlp_rules.metrics(subscriber.documents("metrics"))
                        if resource["service.name"] == "rsyslog")
        self.assertEqual(resource["process.pid"], rsyslogd.pid)
        # CPU and memory are rsyslogd's, not the adapter's.
        points = otlp_rules.points(subscriber.documents("metrics"), "process.memory.rss")
        self.assertTrue(points)

    def check_messages(self, rsyslogd, subscriber):
        """rsyslogd's own words, with the severity and the time that it gave them."""
        wait_until(lambda: any(" start" in body for body in subscriber.log_bodies()),
                   what="rsyslogd's first message")
        record = next(log for log in otlp_rules.log_records(subscriber.documents("logs"))
                      if " start" in log["body"]["stringValue"])
        self.assertEqual((record["severityNumber"], record["severityText"]), (9, "info"))
        self.assertEqual(attributes(record)["rsyslog.tag"], "rsyslogd:")
        self.assertIn(f'x-pid="{rsyslogd.pid}"', record["body"]["stringValue"])
        age = int(record["observedTimeUnixNano"]) - int(record["timeUnixNano"])
        self.assertTrue(0 <= age < 60e9, age)
        # The payload is nowhere.
        for _, text in subscriber.texts:
            self.assertNotIn("line of the application", text)


class Fails(Case):
    def test_an_output_that_fails_and_recovers(self):
        """What a transaction could not write comes again, once, and its span says why."""
        target = os.path.join(self.scratch, "late")
        rsyslogd = self.rsyslogd(daemon.ship_action(os.path.join(target, "shipped.log"))
                                 .replace(f'output="{target}/shipped.log.err"',
                                          f'output="{self.scratch}/ship.err"'),
                                 stats="--batches")
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=600)
        rsyslogd.write(600)

        def failed():
            return [why for why in map(failed_with, subscriber.finished_spans()) if why]

        wait_until(failed, what="a batch that failed")
        self.assertIn("cannot open", failed()[0])
        os.mkdir(target)
        path = pathlib.Path(target, "shipped.log")
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 600,
                   what="the lines after all")

        def done():
            return sum(attributes(span)["rows"] for span in subscriber.finished_spans()
                       if not failed_with(span))

        wait_until(lambda: done() >= 600, what="their spans")
        self.assertEqual(len(set(path.read_text().splitlines())), 600)
        self.assertEqual(path.read_bytes().count(b"\n"), 600)
        self.assertEqual(done(), 600)
        rsyslogd.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
