#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fwdscope inspect --verify: sound images are called sound, and each word that is broken on purpose
is told with its section, entry and offset."""
import os
import re
import struct
import unittest

from evidence import Case

UNREADABLE = 4
KINDS = {1: "resource", 2: "strings", 3: "instruments", 4: "values", 5: "pipelines",
         6: "components", 7: "batches", 8: "active_spans", 9: "span_rings", 10: "log_rings",
         11: "config", 12: "lanes"}
DIR_OFFSET, DIR_COUNT, DIR_STRIDE, STATE, SIGNAL, CHECKSUM = 9, 10, 11, 256, 272, 255
RING_WORDS, RECORD_WORDS = 16, 5


class Image:
    """A region file as words, and where its sections are."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        self.words = list(struct.unpack(f"<{len(data) // 8}Q", data))
        self.sections = {}
        for i in range(self.words[DIR_COUNT]):
            at = (self.words[DIR_OFFSET] + i * self.words[DIR_STRIDE]) // 8
            kind, _, offset, _, stride, count, _ = self.words[at:at + 7]
            self.sections[KINDS[kind]] = (at, offset // 8, stride // 8, count)

    def entry(self, section, index, lane=0):
        """Position of an entry, in words."""
        _, first, stride, count = self.sections[section]
        return first + (lane * count + index) * stride

    def record(self, section, lane, number):
        """Position of the head of a ring's record, counted from its first."""
        ring = self.entry(section, 0, lane)
        capacity, position = self.words[ring + 5], self.words[ring + 3]
        for _ in range(number):
            position += self.words[self.data(ring, capacity, position)]
        return self.data(ring, capacity, position)

    @staticmethod
    def data(ring, capacity, position):
        return ring + RING_WORDS + position % capacity // 8

    def write(self, path):
        with open(path, "wb") as file:
            file.write(struct.pack(f"<{len(self.words)}Q", *self.words))


class Verify(Case):
    def region(self):
        """A dead region with something in every section."""
        patient = self.patient("--lanes", 2, "--log-ring", 65536, "--span-ring", 16384,
                               "--instruments", 16, "--active-spans", 4)
        patient.pipeline()
        patient.do("batch", "batches", 3, "rows", 30)
        for i in range(5):
            patient.do("counter", f"own.count{i}", i, "zone", "a")
        patient.do("histogram", "own.time", 0.5, 5, 50)
        patient.do("gauge", "own.gauge", 2.5)
        patient.do("lines", 20)
        patient.do("spans", 10)
        patient.do("span-start", "s", "running")
        config = os.path.join(self.scratch, "config.yaml")
        with open(config, "w") as file:
            file.write("inputs: []\n")
        patient.do("config", "/etc/forwarder.yaml", config)
        patient.kill()
        self.path = os.path.join(self.scratch, "image.fwdscope")
        return Image(patient.path)

    def verify(self, expected, path=None):
        out, errors = self.run_command("inspect", "--verify", path or self.path, expected=expected)
        self.assertEqual(errors, "")
        return out

    def test_sound(self):
        image = self.region()
        image.write(self.path)
        out = self.verify(0)
        self.assertTrue(out.endswith(f"sound: {self.path}\n"))
        self.assertNotIn("wrong", out)
        for part in ("12 sections", "7 instruments", "1 pipelines", "3 components",
                     "4 slots with 1 active spans", "4 rings with 10 spans and 20 log lines",
                     "0 more were overwritten", "config: a document"):
            self.assertIn(part, out)

    def test_from_the_oldest_record_on(self):
        """A ring that went round: what survives is walked, what does not is counted."""
        patient = self.patient("--log-ring", 65536)
        patient.do("lines", 5000, 100)
        patient.kill()
        out = self.verify(0, patient.path)
        found = re.search(r"and (\d+) log lines \((\d+) more were overwritten\)", out)
        self.assertEqual(int(found[1]) + int(found[2]), 5000)
        self.assertGreater(int(found[1]), 100)

    def test_each_thing_that_is_broken(self):
        good = self.region()
        entry, words = good.entry, good.words
        log, span = good.record("log_rings", 1, 7), good.record("span_rings", 1, 4)
        slot = next(entry("active_spans", i) for i in range(4)
                    if words[entry("active_spans", i) + 1])
        slot_index = (slot - entry("active_spans", 0)) // good.sections["active_spans"][2]
        broken = [
            # word, value, what is said: where, offset in words (None: of the word), which words
            ("state", STATE, 9, "header word 256", None, "neither running nor closed"),
            ("signal", SIGNAL, 99, "header word 272", None, "no signal"),
            ("directory", good.sections["batches"][0] + 4, 12, "directory", -4, ""),
            ("instrument name", entry("instruments", 3) + 3, 8 << 32 | 1 << 28,
             "instruments lane 0, entry 3", -3, "malformed"),
            ("instrument kind", entry("instruments", 2) + 1, 77,
             "instruments lane 0, entry 2", -1, "malformed"),
            ("instrument attributes", entry("instruments", 1) + 7, 33,
             "instruments lane 0, entry 1", -7, "malformed"),
            ("attribute in strings", words[entry("instruments", 4) + 6] % 2**32 // 8 +
             entry("strings", 0), 0xff, "instruments lane 0, entry 4", None, "malformed"),
            ("instrument state", entry("instruments", 6), 5,
             "instruments lane 0, entry 6", None, "neither free nor published"),
            ("a hole", entry("instruments", 2), 0, "instruments lane 0, entry 3", None,
             "behind a free entry"),
            ("pipeline name", entry("pipelines", 0) + 1, 2**33 + 4,
             "pipelines lane 0, entry 0", -1, "malformed"),
            ("component pipeline", entry("components", 1) + 2, 5,
             "components lane 0, entry 1", -2, "malformed"),
            ("component health", entry("components", 2) + 16, 6,
             "components lane 0, entry 2", -16, "health"),
            ("active span", slot + 8, 0, f"active_spans lane 0, entry {slot_index}", -8,
             "malformed"),
            ("ring capacity", entry("log_rings", 0, 1) + 5, 100,
             "log_rings lane 1, entry 0", -5, "control line"),
            ("record number", log + 3, 1, "log_rings lane 1, entry 0", -3, "contradicts"),
            ("record kind", log + 1, 1, "log_rings lane 1, entry 0", -1, ""),
            ("log body", log + RECORD_WORDS + 1, 1 << 30, "log_rings lane 1, entry 0", -6,
             "malformed"),
            ("span start", span + RECORD_WORDS + 6, 0, "span_rings lane 1, entry 0", -11,
             "malformed"),
        ]
        told = 0
        for name, word, value, where, back, said in broken:
            with self.subTest(name):
                image = Image.__new__(Image)
                image.words = list(words)
                image.words[word] = value
                image.write(self.path)
                out = self.verify(UNREADABLE)
                lines = [line for line in out.splitlines()
                         if line.startswith(f"wrong: {where}") and said in line]
                self.assertTrue(lines, out)
                if back is not None:
                    self.assertIn(f"offset {8 * (word + back)}: ", lines[0])
                self.assertRegex(out, rf"\d+ wrong: {re.escape(self.path)}\n$")
                told += 1
        print(f"\nfigure: inspect --verify: {told} of {len(broken)} broken words told with"
              " section, entry and offset")

    def test_a_unit_that_the_writer_died_at(self):
        """Expected after a crash: noted, and the region is sound."""
        for section, index, lane in (("active_spans", 0, 0), ("batches", 0, 1), ("config", 0, 0)):
            image = self.region()
            image.words[image.entry(section, index, lane)] |= 1
            image.write(self.path)
            out = self.verify(0)
            self.assertRegex(out, rf"note:  {section} lane {lane}, entry {index}, offset"
                                  rf" {8 * image.entry(section, index, lane)}: not whole")
        image = self.region()
        ring = image.entry("log_rings", 0, 1)
        image.words[ring] = (image.words[ring] + 80) % 2**64
        image.write(self.path)
        self.assertIn("note:  log_rings lane 1", self.verify(0))

    def test_the_header(self):
        """What no region can be attached with is said as ever."""
        image = self.region()
        image.words[CHECKSUM] ^= 1
        image.write(self.path)
        out, errors = self.run_command("inspect", "--verify", self.path, expected=UNREADABLE)
        self.assertEqual(out, "")
        self.assert_one_line(errors, self.path, "checksum")

    def test_alive_and_busy(self):
        """A region that is written all the while is sound."""
        patient = self.patient()
        patient.pipeline()
        patient.do("load", 2, 50, 100, 20, 1, 8)
        for _ in range(5):
            self.assertTrue(self.verify(0, patient.path).endswith(f"sound: {patient.path}\n"))
        patient.do("load-stop")


if __name__ == "__main__":
    unittest.main(verbosity=2)
