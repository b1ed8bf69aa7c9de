#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Odd content: any byte in a line or a name, long lines, numbers that JSON cannot hold, full
tables.

Every document passes the rules of otlp_rules; here it is asked what became of the content.
"""
import unittest

import otlp_rules
from harness import Case, wait_until
from otlp_rules import attributes

REPLACED = "\ufffd"
NASTY = 'a"b\\c/\x01\x1f\x7f\n\t</script>é漢😀'


def decoded(data):
    """What a decoder that repairs makes of it; a NUL is repaired too."""
    return data.decode("utf-8", "replace").replace("\0", REPLACED)


class Lines(Case):
    def setUp(self):
        super().setUp()
        self.forwarder = self.patient()
        self.stream = self.subscriber(self.sidecar(), backlog=0)

    def sent(self, *bodies):
        """What comes out for the bodies that go in."""
        before = len(self.stream.log_bodies())
        for body in bodies:
            self.forwarder.do("log", 9, body)
        wait_until(lambda: len(self.stream.log_bodies()) == before + len(bodies))
        return self.stream.log_bodies()[before:]

    def test_every_byte(self):
        bodies = [b"<%c>" % byte for byte in range(256)]
        self.assertEqual(self.sent(*bodies), [decoded(body) for body in bodies])

    def test_all_bytes_in_one_line(self):
        body = bytes(range(256))
        self.assertEqual(self.sent(body), [decoded(body)])

    def test_invalid_utf8(self):
        bodies = [b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x", b"\xf0\x9f\x98", b"\xed\xa0\x80",
                  b"\xc0\x80", b"\xf8\x88\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xff\xfe",
                  b"\x80\x80\x80", b"ok\xc3\xa9\xc3", b"\xef\xbf\xbf", b"\xef\xbb\xbfbom"]
        self.assertEqual(self.sent(*bodies), [decoded(body) for body in bodies])

    def test_empty(self):
        self.assertEqual(self.sent(b""), [""])

    def test_long(self):
        """64 KiB, cut at 16 KiB, at the boundary of a character; its true length is told."""
        self.forwarder.do("log-long", 64 << 10)
        self.forwarder.do("log-long", 16 << 10)
        self.forwarder.do("log-long", (16 << 10) - 1)
        wait_until(lambda: len(self.stream.log_bodies()) == 3)
        records = otlp_rules.log_records(self.stream.documents("logs"))
        whole = "x" + "é" * 8191  # 16383 bytes: one more would be half a character
        # The second one fits, with the half character that it ends in.
        self.assertEqual([record["body"]["stringValue"] for record in records],
                         [whole, whole + REPLACED, whole])
        self.assertEqual([attributes(record).get("log.original_length") for record in records],
                         [64 << 10, None, None])

    def test_attributes(self):
        self.forwarder.do("log", 13, "x", NASTY, NASTY, "n", "#-9223372036854775808", "m",
                          "#9223372036854775807")
        wait_until(lambda: self.stream.log_bodies())
        record = otlp_rules.log_records(self.stream.documents("logs"))[0]
        self.assertEqual(attributes(record), {NASTY: NASTY, "n": -2**63, "m": 2**63 - 1})

    def test_attribute_limits(self):
        """32 are kept, the rest is counted; a key given twice is there once."""
        pairs = [word for i in range(30) for word in (f"k{i}", "v")]
        self.forwarder.do("log", 9, "x", *pairs, "k3", "again")
        self.forwarder.do("log", 9, "y", "long", "é" * 600)
        wait_until(lambda: len(self.stream.log_bodies()) == 2)
        first, second = otlp_rules.log_records(self.stream.documents("logs"))
        self.assertEqual(set(attributes(first)), {f"k{i}" for i in range(30)})
        self.assertEqual(attributes(second)["long"], "é" * 512)


class Names(Case):
    def test_pipelines_and_components(self):
        patient = self.patient("--service", NASTY, "--instance", NASTY, "--service-version", NASTY)
        patient.do("pipeline", NASTY)
        patient.do("input", NASTY, NASTY)
        patient.do("transform", NASTY)
        patient.do("output", "out" + NASTY, b"\xff\xc3(")
        patient.do("queue", "out" + NASTY, 1, 2)
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar)
        sidecar.await_tick()
        body = sidecar.get("/admin/v1/status").body
        self.assertFalse([byte for byte in body if byte < 0x20])
        self.assertIn(b"\\u0001", body)
        pipeline, = sidecar.status()["pipelines"]
        self.assertEqual(pipeline["name"], NASTY)
        self.assertEqual((pipeline["inputs"][0]["name"], pipeline["inputs"][0]["type"]),
                         (NASTY, NASTY))
        self.assertEqual(pipeline["transform"]["sql"], NASTY)
        self.assertEqual(pipeline["outputs"][0]["type"], decoded(b"\xff\xc3("))
        self.assertEqual(sidecar.status()["system"]["version"], NASTY)
        for path in ("/ready", "/forwarder/live"):
            sidecar.get(path).json()
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"),
                                             "forwarder.queue_depth", pipeline=NASTY,
                                             component="out" + NASTY))
        resource, _, _ = next(found for found in otlp_rules.metrics(subscriber.documents("metrics"))
                              if found[2]["name"] == "forwarder.queue_depth")
        self.assertEqual((resource["service.name"], resource["service.version"]), (NASTY, NASTY))

    def test_spans(self):
        patient = self.patient()
        subscriber = self.subscriber(self.sidecar())
        patient.do("span-start", "a", NASTY)
        patient.do("span-set", "a", NASTY, NASTY, "bytes", b"\xff\x00\xc3")
        patient.do("span-stage", "a", 'st"\x01')
        patient.do("span-status", "a", 2, NASTY)
        wait_until(lambda: any(attributes(span).get("stage") == 'st"\x01'
                               for span in subscriber.active_spans()))
        patient.do("span-end", "a")
        wait_until(lambda: subscriber.finished_spans())
        span, = subscriber.finished_spans()
        self.assertEqual((span["name"], span["status"]["message"]), (NASTY, NASTY))
        self.assertEqual(attributes(span), {NASTY: NASTY, "bytes": REPLACED})

    def test_instrument_names_are_vetted(self):
        """What is no name of a metric is refused and counted, and harms nobody."""
        patient = self.patient()
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar)
        for name in ("", "1a", "a b", 'a"b', "a\x01", "é", "a" * 256):
            patient.do("counter", name, 1)
        patient.do("counter", "a" * 255, 1, NASTY, NASTY)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"), "a" * 255,
                                             **{NASTY: NASTY}))
        self.assertEqual(sidecar.status()["region"]["lost"]["registrations_refused"], 7)


class Numbers(Case):
    def values(self, *names):
        """The last value of each metric, once the last of them is there; None: no point."""
        subscriber = self.subscriber(self.stream_of, backlog=0)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"), names[-1]))
        document = subscriber.documents("metrics")[-1:]
        result = []
        for name in names:
            points = otlp_rules.points(document, name)
            result.append(points[-1] if points else None)
        return result

    def setUp(self):
        super().setUp()
        self.forwarder = self.patient()
        self.stream_of = self.sidecar()

    def test_gauges(self):
        for name, value in (("nan", "nan"), ("inf", "inf"), ("minus.inf", "-inf"),
                            ("large", "1.7976931348623157e308"), ("tiny", "5e-324"),
                            ("zero", "0"), ("third", "0.333333333333333315"),
                            ("beyond", "1e19"), ("last", "1")):
            self.forwarder.do("gauge", name, value)
        nan, inf, minus, *rest = self.values("nan", "inf", "minus.inf", "large", "tiny", "zero",
                                             "third", "beyond", "last")
        self.assertEqual((nan, inf, minus), (None, None, None))
        self.assertEqual([point["asDouble"] for point in rest],
                         [1.7976931348623157e308, 5e-324, 0, 1 / 3, 1e19, 1])

    def test_a_gauge_that_becomes_nan(self):
        """It leaves out its point, not the document, and comes back."""
        self.forwarder.do("gauge", "g", 5)
        self.forwarder.do("gauge", "last", 1)
        self.assertEqual(self.values("g", "last")[0]["asDouble"], 5)
        self.forwarder.do("gauge", "g", "nan")
        self.stream_of.await_tick()
        self.assertNotIn("asDouble", self.values("g", "last")[0] or {})
        self.forwarder.do("gauge", "g", 6)
        self.stream_of.await_tick()
        self.assertEqual(self.values("g", "last")[0]["asDouble"], 6)

    def test_a_series_that_ended(self):
        """One last point without a value, then none."""
        subscriber = self.subscriber(self.stream_of, backlog=0)
        self.forwarder.do("gauge", "g", 5)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"), "g"))
        self.forwarder.do("gauge-clear", "g", 0)
        wait_until(lambda: otlp_rules.points(subscriber.documents("metrics"), "g")[-1].get("flags"))
        subscriber.await_documents(len(subscriber.documents("metrics")) + 3, "metrics")
        points = otlp_rules.points(subscriber.documents("metrics"), "g")
        self.assertEqual([point.get("flags") for point in points],
                         [None] * (len(points) - 1) + [1])
        self.assertNotIn("asDouble", points[-1])

    def test_integers_at_and_beyond_their_limits(self):
        """What fits is an exact integer, what does not is a double."""
        self.forwarder.do("counter", "at", 2**63 - 1)
        self.forwarder.do("counter", "above", 2**63)
        self.forwarder.do("total", "most", 2**64 - 1)
        self.forwarder.do("updown", "low", -2**63)
        self.forwarder.do("int-gauge", "high", 2**63 - 1)
        self.forwarder.do("int-gauge", "last", -2**63)
        at, above, most, low, high, last = self.values("at", "above", "most", "low", "high", "last")
        self.assertEqual((at["asInt"], low["asInt"], high["asInt"], last["asInt"]),
                         (str(2**63 - 1), str(-2**63), str(2**63 - 1), str(-2**63)))
        self.assertEqual((above["asDouble"], most["asDouble"]), (2.0**63, 2.0**64))

    def test_histogram(self):
        self.forwarder.do("histogram", "h", 0.5, 1, 1.5, 10, 99, 100.5, "inf", "nan", "-inf")
        self.forwarder.do("gauge", "last", 1)
        point, _ = self.values("h", "last")
        self.assertEqual((point["bucketCounts"], point["explicitBounds"], point["count"]),
                         (["2", "2", "1", "1"], [1, 10, 100], "6"))
        self.assertEqual(point["sum"], 212.5)
        self.assertEqual(self.stream_of.status()["region"]["lost"]["values_dropped"], 3)

    def test_empty_histogram(self):
        self.forwarder.do("histogram", "h", "nan")
        self.forwarder.do("gauge", "last", 1)
        point, _ = self.values("h", "last")
        self.assertEqual((point.get("count"), point["sum"]), (None, 0))


class FullTables(Case):
    def test_instruments(self):
        patient = self.patient("--instruments", 16)
        sidecar = self.sidecar()
        self.assertEqual(patient.do("register-many", 100), [16])
        patient.do("counter", "one.more", 5)
        patient.pipeline()
        patient.do("progress", "in", 7, 7)
        sidecar.await_ready(200, "all_components_healthy")
        sidecar.await_tick()
        status = sidecar.status()
        self.assertEqual(status["region"]["lost"]["registrations_refused"], 85)
        self.assertEqual(status["pipelines"][0]["inputs"][0]["lines_total"], 7)
        subscriber = self.subscriber(sidecar, backlog=0)
        document = subscriber.await_documents(1, "metrics")
        for i in range(16):
            self.assertEqual(otlp_rules.points(document, f"many.c{i}")[0]["asInt"], "1")
        self.assertFalse(otlp_rules.points(document, "many.c16"))

    def test_active_spans(self):
        patient = self.patient("--active-spans", 4)
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=0)
        for i in range(10):
            patient.do("span-start", f"s{i}", "batch")
        wait_until(lambda: subscriber.lost("spans") == 6)
        for i in range(10):
            patient.do("span-end", f"s{i}")
        patient.do("spans", 1)  # the places are free again
        wait_until(lambda: len(subscriber.finished_spans()) == 5)
        self.assertEqual(sidecar.status()["region"]["lost"]["spans"], 6)

    def test_pipelines(self):
        patient = self.patient()
        sidecar = self.sidecar()
        for i in range(20):
            patient.pipeline(f"p{i:02}")
        sidecar.await_tick()
        self.assertEqual([pipeline["name"] for pipeline in sidecar.status()["pipelines"]],
                         [f"p{i:02}" for i in range(16)])
        self.assertGreaterEqual(sidecar.status()["region"]["lost"]["registrations_refused"], 4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
