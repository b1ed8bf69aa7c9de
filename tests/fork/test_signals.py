# SPDX-License-Identifier: Apache-2.0
"""Handlers on top of a call of the shim; processes that are stopped or killed inside one."""
import os
import random
import signal
import unittest

import fork
from fork import choose, figure, gone, wait_until
from test_threads import tallies

SEED = 20240609


class Timers(fork.Case):
    """Handlers that write while their own thread is inside the shim, also on top of each other."""

    def test_timers(self):
        handlers = choose(50_000, 1_000_000)
        host = self.host("timers", self.dir, 5, handlers, release=True)
        came, on_top = host.numbers("handlers")
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertGreaterEqual(came, handlers)
        self.assertGreater(on_top, 100)
        region = self.region("timers")
        lost = self.assert_exact(region, rounds)
        path, = self.paths()
        shared = fork.lane_counts(path)[0]
        self.assertTrue(0 < shared <= on_top, (shared, on_top))
        self.assertEqual(lost["values_dropped"], 0)
        figure("handlers that write", f"5 threads, {came} handlers, {on_top} on top of a round, "
               f"{shared} inside a call: {rounds} rounds exact (lost and counted: {lost['logs']} "
               f"lines, {lost['spans']} spans)")


class Jumps(fork.Case):
    """Handlers that leave a call by siglongjmp: the call may be there in part, the rest is."""

    def jumps(self, threads):
        """(totals, values lane by lane) of a process."""
        path = os.path.join(self.scratch, "tallies")
        host = self.host("jumps", self.dir, threads, path, release=True)
        between = host.numbers("between")
        host.wait(0)
        self.assertEqual(list(tallies(path)), between)
        self.assertTrue(0 <= between[1] - between[0] <= threads)
        region_path = self.paths("jumps")[-1]
        region = fork.Region(self.scratch, region_path)
        self.assert_between(region, *between)
        self.assertEqual(region.writer["state"], "exited")
        lanes = fork.lane_counts(region_path)
        os.unlink(region_path)
        os.unlink(path)
        return region, lanes

    def test_many(self):
        jumps = choose(400, 4000)
        region, lanes = self.jumps(jumps)
        self.assertGreater(lanes[0], 0)
        figure("handlers that jump", f"{jumps} jumps out of a round: {region.metric('adds')} rounds, "
               f"delivered or counted all but what was left in the middle (lost and counted: "
               f"{region.lost['logs']} lines, {region.lost['spans']} spans)")

    def test_lane_is_not_handed_on(self):
        """The lane of a thread that ended inside a call may be in the middle of a record."""
        inside = 0
        for _ in range(choose(20, 200)):
            _, lanes = self.jumps(1)
            if lanes[0] > 0:  # the jump left a call: what came after it went through lane 0
                inside += 1
                self.assertEqual((lanes[0], lanes[2]), (5, 50))
            else:
                self.assertEqual(lanes[2], 0)
        self.assertGreater(inside, 0)
        figure("a lane that was left inside a call", f"{inside} of {inside} not handed on")


class Late(fork.Case):
    """Handlers that call the shim while their thread ends keep no lane."""

    def test_late(self):
        threads = choose(5000, 100_000)
        host = self.host("late", self.dir, threads, release=True)
        handlers, = host.numbers("handlers")
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertEqual(rounds, threads + 7000 + handlers)
        self.assertGreater(handlers, 0)
        self.assert_exact(self.region("late"), rounds)
        path, = self.paths()
        lanes = fork.lane_counts(path)
        self.assertGreaterEqual(min(lanes[1:]), 1000)
        figure("handlers in ending threads", f"{threads} threads, {handlers} handlers: {rounds} "
               "rounds exact, 7 of 7 lanes free at the end")


class Pauses(fork.Case):
    """SIGSTOP and SIGCONT at any moment change nothing; SIGKILL does, once."""

    def pauses(self):
        self.path = os.path.join(self.scratch, "tallies")
        host = self.host("pauses", self.dir, self.path, release=True)
        self.assertEqual(host.numbers("writing"), [host.pid])
        return host

    def stopped(self, host):
        fields = open(f"/proc/{host.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
        return fields[0] == "T"

    def test_stop_and_continue(self):
        self.instance = "pauses"
        sidecar = self.sidecar()
        host = self.pauses()
        times = choose(100, 1000)
        for i in range(times):
            host.signal(signal.SIGSTOP)
            wait_until(lambda: self.stopped(host), what="the stop")
            if i % 20 == 0:  # the sidecar reads on, however the writer stands
                sidecar.await_tick()
                self.await_lives(sidecar, {("pauses", 1): "alive"})
            before = tallies(self.path)[0]
            host.signal(signal.SIGCONT)
            wait_until(lambda: tallies(self.path)[0] > before, what="progress")
        host.end_input()
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.await_lives(sidecar, {("pauses", 1): "exited"})
        self.assert_exact(self.region("pauses"), rounds)
        figure("stopped and continued", f"{times} times inside 4 writing threads: alive throughout, "
                                        f"{rounds} rounds exact")

    def test_killed(self):
        self.instance = "pauses"
        sidecar = self.sidecar()
        draw = random.Random(SEED)
        fatal = (signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGKILL, signal.SIGBUS)
        rounds = 0
        for life in range(1, choose(10, 100) + 1):
            host = self.pauses()
            target = tallies(self.path)[0] + draw.randrange(2000)
            wait_until(lambda: tallies(self.path)[0] >= target, what="some rounds")
            number = fatal[life % len(fatal)]
            host.signal(number)
            host.wait(-number)
            expected = {("pauses", life): "crashed"}
            if life > 1:
                expected["pauses", life - 1] = "crashed"
            self.await_lives(sidecar, expected)
            region = self.region("pauses", life)
            self.assert_between(region, *tallies(self.path))
            rounds += region.metric("adds")
            os.unlink(self.path)
        figure("killed by a signal", f"{life} processes by {len(fatal)} signals: crashed each time, "
                                     f"nothing missing of {rounds} rounds")


if __name__ == "__main__":
    unittest.main(verbosity=2)
