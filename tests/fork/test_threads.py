# SPDX-License-Identifier: Apache-2.0
"""Threads that come and go, small stacks, unloading, and ends under running threads."""
import os
import signal
import struct
import unittest

import fork
from fork import choose, figure

LANES_OWNED = 7  # of 8: lane 0 is shared
GROWTH_KIB_MAX = 1024


def tallies(path):
    """(done, begun) of a file of struct tallies."""
    with open(path, "rb") as file:
        pairs = [struct.unpack_from("=QQ", file.read(128)) for _ in range(16)]
    return sum(pair[1] for pair in pairs), sum(pair[0] for pair in pairs)


class Churn(fork.Case):
    """Short threads over 8 lanes: totals exact, lanes handed on, nothing left behind."""

    def churn(self, at_once):
        waves = choose(10_000, 100_000) // at_once + 1
        threads = waves * at_once
        host = self.host("churn", self.dir, waves, at_once, release=True)
        settled, end = host.numbers("resident")
        descriptor, descriptor_end = host.numbers("descriptors")
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertEqual(rounds, 16 * threads)
        lost = self.assert_exact(self.region("churn"), rounds)
        path, = self.paths()
        lanes = fork.lane_counts(path)
        self.assertEqual((len(lanes), sum(lanes)), (8, rounds))
        self.assertEqual(descriptor_end, descriptor)
        self.assertLess(end - settled, GROWTH_KIB_MAX)
        return lanes, (f"{threads} threads, {at_once} at once, {rounds} rounds: totals exact (lost "
                       f"and counted: {lost['logs']} lines, {lost['spans']} spans), resident "
                       f"{settled} -> {end} KiB, descriptors left 0")

    def test_as_many_as_lanes(self):
        lanes, numbers = self.churn(LANES_OWNED)
        self.assertEqual(lanes, [0] + [sum(lanes) // LANES_OWNED] * LANES_OWNED)
        figure("thread churn, a lane each", f"{numbers}, written through the shared lane 0")

    def test_more_than_lanes(self):
        lanes, numbers = self.churn(12)
        self.assertGreater(lanes[0], 0)
        figure("thread churn, more than lanes",
               f"{numbers}, written through the shared lane {lanes[0]}")


class Stacks(fork.Case):
    def test_stacks(self):
        host = self.host("stacks", self.dir, release=True)
        used, smallest = host.numbers("stack")
        rounds, = host.numbers("wrote")
        host.wait(0)
        region = self.region("stacks")
        self.assertEqual(region.metric("adds"), rounds)
        self.assertEqual(region.records("logs"), (2 * rounds, 0))
        self.assertEqual(region.records("spans"), (2 * rounds, 0))
        self.assertLess(used, smallest // 2)
        figure("small stacks", f"every hot call at its largest from a thread of {smallest} bytes and "
                               f"on an alternate signal stack: {used} bytes used, the kernel's "
                               "frame included")


class Keys(fork.Case):
    def test_first_call_of_a_thread_allocates_nothing(self):
        host = self.host("keys", self.dir, release=True)
        self.assertEqual(host.numbers("allocated"), [0])
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertEqual(self.region("keys").metric("adds"), rounds)


class Unload(fork.Case):
    def test_unload(self):
        threads = 12
        process = fork.harness.Process(
            [fork.PROGRAMS / "fork_unload", os.environ["FWDSCOPE_LIBRARY"], self.dir, threads],
            self.scratch)
        self.processes.append(process)
        process.wait(0)
        names = os.listdir(self.dir)
        self.assertEqual(len(names), 1, names)
        region = self.region("unload", 5)
        self.assertEqual(region.metric("adds"), 100 * threads)
        self.assertEqual(sum(region.records("logs")), 100 * threads)
        self.assertEqual(region.writer["state"], "exited")
        figure("dlopen and dlclose", f"5 times, {threads} threads end and one child is forked after "
                                     "each dlclose: no crash, 1200 of 1200 exact")


class Exits(fork.Case):
    """The process ends while four threads call the shim: with the code that it asked for, and what
    they wrote is there. Only a close makes it a clean end."""

    def one(self, how, code, state):
        times = choose(4, 20)
        rounds = 0
        for life in range(1, times + 1):
            path = os.path.join(self.scratch, "tallies")
            # A sanitizer's runtime takes fatal signals for itself.
            host = self.host("exits", self.dir, how, path, release=life % 2 == 0 or code < 0)
            between = host.numbers("between") if "close" in how else None
            host.wait(code)
            region = self.region("exits", life)
            self.assertEqual(region.writer["state"], state)
            self.assert_between(region, *(between or tallies(path)))
            rounds += region.metric("adds")
            os.unlink(path)
        figure(f"ends under 4 writing threads, {how}",
               f"{times} processes: exit {code}, verdict {state}, nothing missing of {rounds} rounds")


def add_ends():
    for how, code, state in [("return", 0, "crashed"), ("exit", 0, "crashed"),
                             ("quick", 0, "crashed"), ("now", 0, "crashed"),
                             ("close", 0, "exited"), ("quick-close", 0, "exited"),
                             ("segv", -signal.SIGSEGV, "crashed"),
                             ("abort", -signal.SIGABRT, "crashed")]:
        def test(self, how=how, code=code, state=state):
            self.one(how, code, state)
        setattr(Exits, "test_" + how.replace("-", "_"), test)


add_ends()

if __name__ == "__main__":
    unittest.main(verbosity=2)
