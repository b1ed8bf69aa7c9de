# SPDX-License-Identifier: Apache-2.0
"""The driver of the benchmark on made-up contenders: what it takes of their numbers, what it says of
goals, and that only what cannot be measured ends it with an error."""
import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import rows
import run

BUILD = os.environ["FWDSCOPE_BUILD"]


def says(number, label, role=rows.PEER, **more):
    return rows.Contender(label, (sys.executable, "-c", f"print({number})"), role=role, **more)


def counts_up(file, label, role=rows.PEER):
    """Says 1, 2, 3, ... round by round."""
    code = f"p = {str(file)!r}; open(p, 'a').write('.'); print(len(open(p).read()))"
    return rows.Contender(label, (sys.executable, "-c", code), role=role)


def row(*contenders, goals=(), rounds=5, name="a"):
    return rows.Row(name, f"row {name}", "ns", contenders, goals, rounds)


class Driver(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)

    def run_rows(self, *chosen):
        """(exit code, report, text)"""
        report = self.scratch / "report.json"
        words = ["run.py", "--build", BUILD, "--json", str(report),
                 "--markdown", str(self.scratch / "table.md"),
                 "--picture", str(self.scratch / "picture.svg")]
        out = io.StringIO()
        with mock.patch.object(rows, "ROWS", chosen), mock.patch.object(sys, "argv", words), \
                contextlib.redirect_stdout(out):
            code = run.main()
        return code, json.loads(report.read_text()), out.getvalue()

    def test_median_scale_and_ratio(self):
        code, report, text = self.run_rows(
            row(counts_up(self.scratch / "n", "fwdscope", rows.OURS), says(6000, "x", scale=1e-3)))
        own, other = report["rows"][0]["contenders"]
        self.assertEqual((code, own["values"], own["median"]), (0, [1, 2, 3, 4, 5], 3))
        self.assertEqual((other["median"], other["ratio"]), (6, 2))
        self.assertIn("row a", text)

    def test_contenders_take_turns(self):
        file = self.scratch / "n"
        _, report, _ = self.run_rows(
            row(counts_up(file, "fwdscope", rows.OURS), counts_up(file, "x"), rounds=3))
        self.assertEqual([each["values"] for each in report["rows"][0]["contenders"]],
                         [[1, 3, 5], [2, 4, 6]])

    def test_goals(self):
        goals = ((rows.Goal(10), True), (rows.Goal(9.9), False), (rows.fewer(5, "x"), True),
                 (rows.fewer(5.1, "x"), False), (rows.Goal(1.2, "best"), False),
                 (rows.Goal(1.25, "best"), True), (rows.Goal(1, "row:a"), True))
        code, report, _ = self.run_rows(
            row(says(10, "fwdscope", rows.OURS), name="a"),
            row(says(10, "fwdscope", rows.OURS), says(8, "best", rows.LIMIT), says(50, "x"),
                goals=tuple(goal for goal, _ in goals), name="b"))
        self.assertEqual([each["met"] for each in report["rows"][1]["goals"]],
                         [met for _, met in goals])
        self.assertEqual(code, 0, "a goal that is not met is no error")

    def test_what_cannot_be_measured_is_named_and_ends_with_1(self):
        for bad in (rows.Contender("x", ("{bench}/no-such-program", "op")),
                    rows.Contender("x", (sys.executable, "-c", "import sys; sys.exit('broken')")),
                    says("'no number'", "x"), says(1, "x", cpus=100000),
                    says(1, "x", document="metrics")):
            with mock.patch.object(run, "documents_write", return_value={}):
                code, report, text = self.run_rows(
                    row(says(1, "fwdscope", rows.OURS), bad, goals=(rows.Goal(1, "x"),)))
            self.assertEqual(code, 1)
            self.assertIsNone(report["rows"][0]["contenders"][1]["median"])
            self.assertIsNone(report["rows"][0]["goals"][0]["met"])
            self.assertIn("could not be measured: row a: x: ", text)

    def test_a_document_counts_by_its_items(self):
        document = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"sum": {"dataPoints": [{}, {}]}}, {"gauge": {"dataPoints": [{}, {}]}}]}]}]}
        self.assertEqual(run.item_count(document, run.SIGNALS["metrics"]), 4)


class Table(unittest.TestCase):
    def test_every_row_is_whole(self):
        self.assertEqual(len({each.id for each in rows.ROWS}), len(rows.ROWS))
        for each in rows.ROWS:
            labels = [contender.label for contender in each.contenders]
            self.assertEqual(len(set(labels)), len(labels), each.id)
            self.assertEqual(each.contenders[0].role, rows.OURS, each.id)
            self.assertTrue(each.rounds >= 5 or len(each.contenders) == 1, each.id)
            for goal in each.goals:
                if goal.contender.startswith("row:"):
                    self.assertIn(goal.contender[4:], [row.id for row in rows.ROWS])
                else:
                    self.assertIn(goal.contender, ["", *labels])


if __name__ == "__main__":
    unittest.main()
