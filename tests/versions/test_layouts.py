#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layouts of other days, both ways: forwarders of a newer minor, a newer and an older major under
the sidecar of today, and the forwarder of today under the sidecars of a newer minor and major.

What they are is in layouts.py. A reader serves what it knows of its major, whole, and names what it
does not; of another major it still knows who writes and whether he lives."""
import os
import re
import unittest

import versions
from harness import wait_until
from versions import PROGRAMS, UPDOWN, figure

READER_MINOR = PROGRAMS / "reader_minor_reader"
READER_MAJOR = PROGRAMS / "reader_major"
NEWER = ["unknown: of a kind that this version does not know",
         "instruments: 1 of 6 entries unknown, malformed, doubled or too many: left out"]
SHORT = "entries shorter than this version needs"


def without(told, name):
    """The same without a metric."""
    return told | {"metrics": {key: value for key, value in told["metrics"].items()
                               if key[0] != name}}


class NewerMinor(versions.Case):
    def test_is_served_but_for_what_is_new(self):
        present, newer = self.forwarder(), self.forwarder("minor")
        expected = without(self.told(present.path), UPDOWN)
        self.assertEqual(self.told(newer.path), expected)
        self.assertEqual(len(expected["metrics"]) + 1, len(self.told(present.path)["metrics"]))
        region = self.dump(newer.path)["status"]["region"]
        self.assertEqual((region["layout"], region["refused"]), ("1.1", NEWER))
        out, errors = self.run_command("inspect", newer.path)
        self.assertEqual(errors, "")
        self.assertRegex(out, r"unknown +13 .* refused: of a kind")
        longer = self.longer(present.path, newer.path)
        self.assertGreaterEqual(len(longer), 10)
        figure("a newer minor (longer header, directory and entries, a new section, flag bits, a new "
               "kind of instrument) is served as the present layout",
               f"{versions.size(expected)} equal; {len(longer)} sections with longer entries; named "
               f"and left out: {len(NEWER)}")

    def longer(self, present, newer):
        """The kinds of sections whose entries are longer in the newer layout."""
        mine, theirs = versions.sections(present), versions.sections(newer)
        self.assertEqual(set(theirs) - set(mine), {13})
        return [kind for kind, (entry, _) in mine.items() if theirs[kind][0][4] > entry[4]]

    def test_is_streamed(self):
        newer = self.forwarder("minor")
        sidecar = self.sidecar("--region", newer.path,
                               environment={"FWDSCOPE_UNSAFE_EXPOSE_CONFIG": "1"})
        sidecar.await_ready(200, "all_components_healthy")
        subscriber = self.subscriber(sidecar)
        newer.do("lines", 1000)
        newer.do("spans", 300)
        wait_until(lambda: (len(subscriber.log_bodies()), len(subscriber.finished_spans())) >=
                   (1102, 321), what="all lines and spans")
        self.assertEqual((subscriber.lost(), subscriber.lost("spans")), (0, 0))
        self.assertEqual(len(subscriber.finished_spans()), 321)
        self.assertEqual(sidecar.status()["region"]["refused"], NEWER)
        self.assertEqual(sidecar.get("/admin/v1/config").json()["raw_yaml"].split(),
                         versions.CONFIG.split())
        newer.kill()
        sidecar.await_ready(503, "writer_crashed")
        figure("a newer minor is streamed", "1102 lines, 321 spans, 0 lost; its crash is told")

    def test_reader_serves_the_present_layout(self):
        present, newer = self.forwarder(), self.forwarder("minor")
        whole = self.told(present.path)
        dump = self.dump(present.path, program=READER_MINOR)
        self.assertEqual(dump["status"]["region"]["refused"], [f"batches: {SHORT}"])
        told = versions.told(dump)
        for part in ("spans", "logs", "lost"):
            self.assertEqual(told[part], whole[part])
        missing = {key[0] for key in whole["metrics"].keys() - told["metrics"].keys()}
        self.assertEqual(missing, {f"forwarder.{name}" for name in (
            "batches", "batch_rows", "backpressure_stalls", "dropped_batches", "inflight_batches",
            "parse_errors", "queue_wait_nanos", "scan_errors", "send_nanos", "stage_nanos")})
        self.assertEqual(told["metrics"], {key: value for key, value in whole["metrics"].items()
                                           if key[0] not in missing})
        # Its own layout it reads whole: what is refused above is so for its age alone.
        own = self.dump(newer.path, program=READER_MINOR)
        self.assertEqual(own["status"]["region"]["refused"], NEWER[1:])
        self.assertEqual(versions.told(own), without(whole, UPDOWN))
        figure("the sidecar of a newer minor serves the present layout",
               f"{versions.size(told)} equal; left out and named: the batches, whose "
               f"{len(missing)} metrics are absent")


class Refused(versions.Case):
    """Who is refused is so by name; who he is and whether he lives is told; others are served."""

    def check(self, patient, *parts):
        out = self.refused(patient.path, *parts)
        for text in ("it 1.2.3", f"pid {patient.pid} ", "generation 1", "alive: its lock is held"):
            self.assertIn(text, out)
        alone = self.sidecar("--region", patient.path)
        alone.await_ready(503, "region_incompatible")
        status = alone.status()
        for part in (patient.path, *parts):
            self.assertIn(part, status["writer"]["reason"])
        self.assertEqual((status["writer"]["state"], status["region"]["path"]),
                         ("unknown", patient.path))
        self.check_others(*parts)
        patient.kill()
        self.assertIn("dead: its lock is gone", self.refused(patient.path, *parts))
        self.assertEqual(alone.get("/live").status, 200)
        self.assertEqual(alone.ready(), (503, "region_incompatible"))

    def check_others(self, *parts):
        """A forwarder of today in the same directory is served as if it were alone."""
        present = self.forwarder()
        sidecar = self.sidecar()
        sidecar.await_ready(200, "all_components_healthy")
        subscriber = self.subscriber(sidecar)
        present.do("lines", 50)
        wait_until(lambda: len(subscriber.log_bodies()) == 152, what="the lines of the other")
        refused = wait_until(lambda: versions.otlp_rules.points(
            subscriber.documents("metrics"), "fwdscope.sidecar.regions_refused"), what="the metric")
        self.assertEqual(refused[-1]["asInt"], "1")
        self.assertEqual(sidecar.status()["region"]["path"], present.path)
        for part in ("1 region(s) not attached", *parts):
            self.assertIn(part, sidecar.errors())

    def test_newer_major(self):
        self.check(self.forwarder("major"), "layout 2.0", "reads 1.x")
        figure("a newer major is refused by name",
               "dump, inspect, serve; 152 of 152 lines of the one beside it")

    def test_older_major(self):
        self.check(self.forwarder("old"), "layout 0.9", "reads 1.x")
        figure("an older major is refused by name",
               "dump, inspect, serve; 152 of 152 lines of the one beside it")

    def test_incompatible_feature(self):
        newer = self.forwarder("incompat")
        told = versions.told(self.dump(newer.path, program=READER_MINOR))
        self.check(newer, "uses a layout feature that this version does not know")
        present = self.forwarder(instance="second")
        self.assertEqual(told, without(self.told(present.path), UPDOWN))
        figure("an unknown incompat bit is refused by name", "dump, inspect, serve; who knows the bit "
               f"serves {versions.size(told)}")

    def test_present_layout_by_a_newer_major(self):
        present, newer = self.forwarder(), self.forwarder("major")
        out = self.refused(present.path, "layout 1.0", "reads 2.x", program=READER_MAJOR)
        self.assertIn("layout      1.0 (this program reads 2.x)", out)
        sidecar = self.sidecar("--region", present.path, program=READER_MAJOR)
        sidecar.await_ready(503, "region_incompatible")
        told = versions.told(self.dump(newer.path, program=READER_MAJOR))
        self.assertEqual(told, self.told(present.path))
        figure("the sidecar of a newer major refuses the present layout by name",
               f"and serves its own: {versions.size(told)}")


class Upgrade(versions.Case):
    def test_restart_with_another_major(self):
        """The lives of an instance are counted, and its leftovers removed, whoever wrote them."""
        generations, left = [], []
        for name in (None, "major", "old", "incompat", None, None):
            patient = self.forwarder(name, instance="same")
            generations.append(int(re.search(r"same\.(\d+)\.", patient.path)[1]))
            left.append(len(os.listdir(self.dir)) - 1)
            patient.kill()
        self.assertEqual(generations, [1, 2, 3, 4, 5, 6])
        self.assertEqual(left, [0, 1, 1, 1, 1, 1])
        figure("restarts with other majors and back", f"generations {generations}, leftovers {left}")

    def test_restart_with_another_minor(self):
        """A forwarder is killed and comes back with a newer shim, and back again."""
        sidecar = self.sidecar()
        generations = []
        for name in (None, "minor", None):
            patient = self.forwarder(name, instance="same")
            generations.append(int(re.search(r"same\.(\d+)\.", patient.path)[1]))
            wait_until(lambda: sidecar.status().get("writer", {}).get("generation") ==
                       generations[-1], what=f"generation {generations[-1]}")
            if len(generations) > 1:
                wait_until(lambda: "previous" in sidecar.status()["forwarders"][0],
                           what="the previous life")
                one, = sidecar.status()["forwarders"]
                self.assertEqual((one["writer"]["state"], one["previous"]["writer"]["state"]),
                                 ("alive", "crashed"))
                self.assertEqual({one["region"]["layout"], one["previous"]["region"]["layout"]},
                                 {"1.0", "1.1"})
            patient.kill()
        self.assertEqual(generations, [1, 2, 3])
        figure("restarts with a newer minor and back", f"generations {generations}, each with the "
               "life before it beside it")


if __name__ == "__main__":
    unittest.main(verbosity=0)
