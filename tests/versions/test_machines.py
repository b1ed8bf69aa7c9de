#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Machines of other makes: the very sources of the shim, compiled for aarch64, 32-bit x86 and s390x
(big-endian), run under qemu-user, and read here; and the reader of there on a region from here.

Little-endian machines write and read the same bytes. A region in another byte order, or of another
word, is refused by name, and still tells who writes it."""
import pathlib
import re
import struct
import unittest

import versions
from harness import ROOT, wait_until
from versions import EMULATORS, PROGRAMS, figure

LAYOUT_H = ROOT / "shmlayout" / "include" / "shmlayout" / "layout.h"
MACHINES = ("native", "arm64", "i386", "s390x")
# Sections without times, ids or addresses of the process: of equal lives they are equal.
SETTLED = {1: "resource", 2: "strings", 3: "instruments", 4: "values", 5: "pipelines",
           6: "components", 7: "batches", 11: "config", 12: "lanes"}


class Case(versions.Case):
    def inspect(self, machine, path, expected):
        """(stdout, stderr) of that machine's inspect."""
        return self.run_command("inspect", path, expected=expected,
                                program=PROGRAMS / f"inspect_{machine}",
                                before=EMULATORS.get(machine, []))


class Offsets(Case):
    def output(self, machine):
        return self.run_command(program=PROGRAMS / f"offsets_{machine}",
                                before=EMULATORS.get(machine, []))[0]

    def test_are_equal_on_every_machine(self):
        outputs = {machine: self.output(machine) for machine in MACHINES}
        here = outputs["native"]
        self.assertTrue(here.startswith("sizeof(fws_word) 8, alignof 8\n"), here[:80])
        printed = set(re.findall(r"^(FWS_\w+)", here, re.M))
        header = LAYOUT_H.read_text()
        # Another way to the names than that of offsets.py: by where a definition stands in its line.
        defined = set(re.findall(r"^(?:#define |    )(FWS_\w+)", header, re.M))
        self.assertGreater(len(defined), 200)
        self.assertEqual(defined - printed, set())
        self.assertNotRegex(header, r"(?m)^(typedef )?(struct|union) ")  # its members would be missed
        for machine, output in outputs.items():
            self.assertEqual(output, here, machine)
        figure("every name of layout.h has the same value on x86-64, aarch64, 32-bit x86 and s390x",
               f"{len(printed)} names, {here.count(chr(10))} lines equal byte for byte")


class SameBytes(Case):
    """Machines whose regions are ours."""

    def check(self, machine):
        here, there = self.forwarder("native"), self.forwarder(machine)
        expected = self.told(here.path)
        self.assertEqual(self.told(there.path), expected)
        mine, theirs = versions.sections(here.path), versions.sections(there.path)
        self.assertEqual([entry for entry, _ in mine.values()], [entry for entry, _ in theirs.values()])
        for kind, name in SETTLED.items():
            self.assertEqual(theirs[kind][1], mine[kind][1], name)
        size = sum(len(mine[kind][1]) for kind in SETTLED)
        self.check_life(there)
        self.check_reader(machine)
        figure(f"a forwarder of {machine} is served here",
               f"{versions.size(expected)} equal, {len(mine)} sections at the same places, "
               f"{size} bytes of {len(SETTLED)} of them equal; followed live until its crash")

    def check_life(self, there):
        """Followed live: its lock and its rings."""
        sidecar = self.sidecar("--region", there.path)
        sidecar.await_ready(200, "all_components_healthy")
        subscriber = self.subscriber(sidecar)
        there.do("lines", 500)
        there.do("spans", 100)
        wait_until(lambda: (len(subscriber.log_bodies()), len(subscriber.finished_spans())) >=
                   (602, 121), what="all lines and spans")
        self.assertEqual((subscriber.lost(), subscriber.lost("spans")), (0, 0))
        there.kill()
        sidecar.await_ready(503, "writer_crashed")
        sidecar.stop()

    def check_reader(self, machine):
        """inspect of there says of a region from here what inspect of here says."""
        for patient in (self.forwarder(), self.forwarder("minor"), self.forwarder("s390x")):
            code = versions.UNREADABLE if "s390x" in patient.path else 0
            here, there = (self.inspect(reader, patient.path, code) for reader in ("native", machine))
            self.assertIn("instance    ", here[0])
            self.assertEqual(there, here)
            patient.kill()

    def test_arm64(self):
        self.check("arm64")

    def test_i386(self):
        self.check("i386")


class Refused(Case):
    def check(self, name, cause, big_endian):
        patient = self.forwarder(name)
        header = struct.unpack(">32Q" if big_endian else "<32Q",
                               pathlib.Path(patient.path).read_bytes()[:256])
        self.assertEqual((header[0], header[1], header[3]),
                         (0x45504f4353445746, 0x0102030405060708, 1))
        out = self.refused(patient.path, cause)
        for text in ("layout      1.0", "it 1.2.3", "generation 1", "alive: its lock is held",
                     f"size        {pathlib.Path(patient.path).stat().st_size} bytes"):
            self.assertIn(text, out)
        alone = self.sidecar("--region", patient.path)
        alone.await_ready(503, "region_incompatible")
        self.assertIn(cause, alone.status()["writer"]["reason"])
        self.assertIn(cause, alone.errors())
        present = self.forwarder()
        sidecar = self.sidecar()
        sidecar.await_ready(200, "all_components_healthy")
        self.assertEqual(sidecar.status()["region"]["path"], present.path)
        patient.kill()
        self.assertIn("dead: its lock is gone", self.refused(patient.path, cause))
        figure(f"refused by name, {cause}", f"dump, inspect, serve; word {header[2]} bits; the one "
               "beside it is served")
        return header

    def test_big_endian(self):
        """A whole big-endian shim."""
        self.check("s390x", "written in another byte order", True)

    def test_word_of_32_bits(self):
        """A shim of a layout whose word is the machine's, on a machine of 32 bits."""
        header = self.check("word", "written with another word size", False)
        self.assertEqual(header[2], 32)

    def test_big_endian_reader(self):
        """It refuses ours by the same words."""
        present = self.forwarder()
        out, errors = self.inspect("s390x", present.path, versions.UNREADABLE)
        self.assert_one_line(errors, present.path, "written in another byte order")
        self.assertIn("layout      1.0", out)
        figure("a big-endian reader refuses the present layout by name", "1 region")


if __name__ == "__main__":
    unittest.main(verbosity=0)
