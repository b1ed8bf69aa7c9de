# SPDX-License-Identifier: Apache-2.0
"""A call of the shim costs the same whoever reads: times are told, not judged, since machines are
noisy. What does not depend on time is asserted: no call enters the kernel, whatever the readers
do, and what was called is in the region."""
import os
import pathlib
import re
import unittest

from hurt_common import CALLS, MARK, STRACE, choose, figure, harness, needs_traces

STATES = 5  # of hurt_calls: 0, 1, 50 readers, 50 stopped in a read, 50 killed in a read
KINDS = 7   # of calls, beside the empty one


class Calls(harness.Case):
    def measure(self, rounds, calls, before=()):
        shared = os.path.join(self.scratch, "shared")
        out = os.path.join(self.scratch, "out")
        with open(out, "wb") as file:
            harness.Process([*before, CALLS, "measure", self.dir, shared, rounds, calls],
                            self.scratch, stdout=file).wait(0, 1200)
        return pathlib.Path(out).read_text()

    def test_times_and_counts(self):
        """The program itself fails when a call is missing in the region, when a reader was not
        stopped or killed in the middle of a read, or when nobody read while it was measured."""
        said = self.measure(choose(3, 20), choose(100_000, 200_000))
        print(said, end="", flush=True)
        self.assertEqual(said.count("figure: shim call "), KINDS + 1)

    @needs_traces
    def test_no_system_call(self):
        rounds, calls = choose(3, 10), 100_000  # long enough for readers to come by
        trace = os.path.join(self.scratch, "trace")
        self.measure(rounds, calls, before=[STRACE, "-o", trace])
        lines = pathlib.Path(trace).read_text().splitlines()
        marks = [i for i, line in enumerate(lines) if MARK in line]
        self.assertEqual(len(marks), 2 * STATES * rounds)
        between = [line for begin, end in zip(marks[::2], marks[1::2])
                   for line in lines[begin + 1:end]]
        self.assertEqual([line for line in between if re.match(r"\w+\(", line)], [])
        figure("system calls on the hot path with 0, 1, 50 readers, 50 stopped and 50 killed in "
               "a read", f"0 in {STATES * rounds * calls * KINDS} calls")


if __name__ == "__main__":
    unittest.main(verbosity=0)
