# SPDX-License-Identifier: Apache-2.0
"""The gate can fail: on numbers above its tolerance, on missing ones, and on a program that does more
work in one call; and what it measures repeats. FWDSCOPE_BUILD: the build directory."""
import contextlib
import io
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import gate

BENCH = pathlib.Path(os.environ["FWDSCOPE_BUILD"]) / "tests" / "bench"
LOG_LINE = next(entry for entry in gate.OPERATIONS if entry[2] == "log_line")


def entry_of(program):
    name, _, operation, calls, items = LOG_LINE
    return name, program, operation, calls, items


class Judgement(unittest.TestCase):
    KEPT = {"a": 100.0, "b": 2000.0}

    def judged(self, counts):
        return gate.judge(self.KEPT, counts)[1]

    def test_equal_holds(self):
        self.assertTrue(self.judged(self.KEPT))

    def test_within_the_tolerance_holds(self):
        self.assertTrue(self.judged({"a": 102.9, "b": 2059.0}))

    def test_four_per_cent_more_of_any_fails(self):
        for name in self.KEPT:
            self.assertFalse(self.judged({**self.KEPT, name: self.KEPT[name] * 1.04}), name)

    def test_fewer_holds_and_says_so(self):
        lines, holds = gate.judge(self.KEPT, {"a": 50.0, "b": 2000.0})
        self.assertTrue(holds)
        self.assertIn("time to keep the new number", lines[0])

    def test_not_measured_or_not_kept_fails(self):
        self.assertFalse(self.judged({"a": 100.0}))
        self.assertFalse(self.judged({**self.KEPT, "c": 1.0}))

    def test_what_is_written_is_read(self):
        made_by, kept = gate.kept_read(gate.kept_write("x, gcc 1", self.KEPT))
        self.assertEqual((made_by, kept), ("x, gcc 1", self.KEPT))

    def test_every_operation_has_a_number(self):
        kept = gate.kept_read(gate.KEPT.read_text())[1]
        self.assertEqual(list(kept), [entry[0] for entry in gate.OPERATIONS])


class Toolchain(unittest.TestCase):
    def test_numbers_of_another_one_are_skipped_by_name(self):
        with tempfile.TemporaryDirectory() as scratch:
            kept = pathlib.Path(scratch) / "instructions.tsv"
            kept.write_text(gate.kept_write("z80, gcc 1", {"a": 100.0}))
            out = io.StringIO()
            with mock.patch.object(gate, "KEPT", kept), contextlib.redirect_stdout(out), \
                    mock.patch.object(sys, "argv", ["gate.py", "--build", str(BENCH.parents[1])]):
                self.assertEqual(gate.main(), gate.SKIPPED)
        self.assertIn("z80, gcc 1", out.getvalue())
        self.assertIn(os.confstr("CS_GNU_LIBC_VERSION"), out.getvalue())


class Measurement(unittest.TestCase):
    def test_repeats_whatever_the_environment(self):
        first = gate.count(BENCH, LOG_LINE)
        with mock.patch.dict(os.environ, {"FILLING": "x" * 5000, "LC_ALL": "C"}):
            self.assertAlmostEqual(gate.count(BENCH, LOG_LINE) / first, 1, places=3)

    def test_a_slower_call_fails(self):
        """The same program, its fwdscope_log() wrapped in one that loops ten times first."""
        plain, slow = gate.count(BENCH, LOG_LINE), gate.count(BENCH, entry_of("bench_shim_slow"))
        name = LOG_LINE[0]
        self.assertTrue(gate.judge({name: plain}, {name: plain})[1])
        self.assertFalse(gate.judge({name: plain}, {name: slow})[1])


if __name__ == "__main__":
    unittest.main()
