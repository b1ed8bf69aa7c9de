# SPDX-License-Identifier: Apache-2.0
"""Children made in every way, seen by the real sidecar: who is a forwarder, who lives, what counts.
"""
import os
import signal
import unittest

import fork
from fork import choose, figure, gone, lock_held, traces, wait_until

WORKERS = 8


class Prefork(fork.Case):
    """A parent with the shim on forks workers: odd ones open a region of their own."""

    def test_prefork(self):
        sidecar = self.sidecar()
        host = self.host("prefork", self.dir, WORKERS)
        pids = dict(self.worker(host) for _ in range(WORKERS))
        self.check(sidecar, host, pids, {})
        generations = {}
        restarts = choose(8, 200)
        for i in range(restarts):
            number = i % WORKERS
            host.send(f"restart {number}")
            started, pid = self.worker(host)
            self.assertEqual(started, number)
            self.assertNotEqual(pid, pids[number])
            pids[number] = pid
            generations[number] = generations.get(number, 1) + 1
        views = self.check(sidecar, host, pids, generations)
        host.end_input()
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertEqual(rounds, 100 + restarts)
        master = self.region("master")
        self.assert_exact(master, rounds)
        self.assertEqual(master.writer["state"], "exited")
        for number in range(1, WORKERS, 2):
            self.assert_exact(self.region(f"worker-{number}", generations[number]), number)
        figure("prefork", f"{WORKERS} workers, {restarts} killed and started again: forwarders "
               f"shown {1 + WORKERS // 2} with the right pids, killed lives shown "
               f"{len(views) - 1 - WORKERS // 2}, the parent's totals exact ({rounds} rounds; its "
               f"{WORKERS + restarts} children tried {(WORKERS + restarts) * 100} more)")

    def worker(self, host):
        number, pid, state = host.line("worker").split()
        self.assertEqual(state, "on" if int(number) % 2 else "off")
        return int(number), int(pid)

    def check(self, sidecar, host, pids, generations):
        expected = {("master", 1): "alive"}
        for number in range(1, WORKERS, 2):
            generation = generations.get(number, 1)
            expected[f"worker-{number}", generation] = "alive"
            if generation > 1:
                expected[f"worker-{number}", generation - 1] = "crashed"
        views = self.await_lives(sidecar, expected)
        self.assertEqual(views["master", 1]["writer"]["pid"], host.pid)
        for number in range(1, WORKERS, 2):
            writer = views[f"worker-{number}", generations.get(number, 1)]["writer"]
            self.assertEqual(writer["pid"], pids[number])
        return views


class Daemon(fork.Case):
    """A forwarder that becomes a daemon. What it left behind without a close reads as a crash; the
    ways out are to open late, or to close before."""

    def daemon(self, how, before):
        """before: the verdict on what was opened before, None: nothing was."""
        self.instance = "daemon"
        sidecar = self.sidecar()
        host = self.host("daemon", self.dir, how)
        pid, state, reason = host.line("daemon").split(" ", 2)
        pid = int(pid)
        try:
            self.assertEqual(host.popen.wait(fork.harness.BOUND), 0)
            self.assertEqual(state, "off")
            first = {("daemon", 1): before} if before else {}
            if before:
                views = self.await_lives(sidecar, first)
                verdict = views["daemon", 1]["writer"]
                self.assertEqual(verdict["pid"], host.pid)
                self.assertEqual(self.region("daemon").metric("adds"), 7)
            if before == "crashed":
                self.assertIn("fwdscope_close", verdict["reason"])
                self.assertIn("daemon", reason)
                self.assertIn("fwdscope_open", reason)
                self.assertEqual(sidecar.ready(), (503, "writer_crashed"))
            host.send("open")
            host.line("open")
            second = 2 if before else 1
            views = self.await_lives(sidecar, {**first, ("daemon", second): "alive"})
            self.assertEqual(views["daemon", second]["writer"]["pid"], pid)
            sidecar.await_ready(503, "no_pipelines_registered")
        finally:
            host.end_input()
            wait_until(lambda: gone(pid), what="the daemon's end")
        self.assertEqual(self.region("daemon", second).writer["state"], "exited")
        self.assert_exact(self.region("daemon", second), 5)

        figure(f"daemon, {how}", f"opened before: {before or 'nothing'}; opened in the daemon: "
                                 "alive with its pid, 5 of 5 rounds exact, then exited")


class Storm(fork.Case):
    """Forks while four threads write at full speed."""

    def test_storm(self):
        self.instance = "storm"
        forks = choose(2000, 20_000)
        children = os.path.join(self.scratch, "children")
        os.mkdir(children)
        sidecar = self.sidecar()
        host = self.host("storm", self.dir, children, forks, 4, release=True)
        self.await_lives(sidecar, {("storm", 1): "alive"})
        bad, = host.numbers("bad")
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertEqual(bad, 0)
        views = self.await_lives(sidecar, {("storm", 1): "exited"})
        self.assertEqual(views["storm", 1]["writer"]["pid"], host.pid)
        self.assert_exact(self.region("storm"), rounds)
        opened = [name for name in os.listdir(children) if name.endswith(".fwdscope")]
        self.assertTrue(0 < len(opened) <= 8, opened)
        for name in opened:
            region = fork.Region(self.scratch, os.path.join(children, name))
            self.assert_exact(region, 10)
            self.assertEqual(region.writer["state"], "exited")
        figure("fork under load", f"{forks} forks while 4 threads write {rounds} rounds: totals "
               f"exact, hung children 0, wrong children 0, {forks // 16} opened their own")


class Exec(fork.Case):
    """Nothing of a region survives exec: no descriptor, no map, no lock."""

    def test_plain(self):
        self.instance = "exec"
        sidecar = self.sidecar()
        host = self.host("exec", self.dir, "plain")
        self.assertEqual(host.numbers("idle"), [host.pid])
        path, = self.paths()
        self.assertEqual((traces(host.pid, self.dir), lock_held(path)), ((0, 0), False))
        self.await_lives(sidecar, {("exec", 1): "crashed"})
        self.assert_exact(self.region("exec"), 7)
        host.end_input()
        host.wait(0)
        figure("exec without fork", "descriptors 0, maps 0, lock free, verdict crashed (never "
                                    "closed), 7 of 7 rounds exact")

    def child(self, how):
        """The parent dies while the child runs on as another program."""
        self.instance = "exec"
        host = self.host("exec", self.dir, how)
        said = dict(host.any_line() for _ in range(2))
        child = int(said["idle"])
        self.assertEqual(int(said["parent"]), host.pid)
        path, = self.paths()
        self.assertEqual(traces(child, self.dir), (0, 0))
        self.assertEqual(traces(host.pid, self.dir), (1, 1))
        self.assertTrue(lock_held(path))
        sidecar = self.sidecar()
        views = self.await_lives(sidecar, {("exec", 1): "alive"})
        self.assertEqual(views["exec", 1]["writer"]["pid"], host.pid)
        host.signal(signal.SIGKILL)
        self.await_lives(sidecar, {("exec", 1): "crashed"})
        self.assertFalse(gone(child))
        self.assert_exact(self.region("exec"), 10)
        host.end_input()
        host.wait(-signal.SIGKILL)
        wait_until(lambda: gone(child), what="the child's end")
        figure(f"{how} and exec", "in the child: descriptors 0, maps 0; the parent alive, then "
                                  "killed: crashed although the child lives; 10 of 10 rounds exact")


class Clone(fork.Case):
    """Children that no fork handler sees, and children that share the memory."""

    def clone(self, how):
        self.instance = "clone"
        sidecar = self.sidecar()
        host = self.host("clone", self.dir, how, release=True)
        child, = host.numbers("child")
        expected = {("clone", 1): "alive"}
        if how == "open":
            expected["clone-child", 1] = "alive"
        views = self.await_lives(sidecar, expected)
        self.assertEqual(views["clone", 1]["writer"]["pid"], host.pid)
        host.signal(signal.SIGKILL)
        host.code = host.popen.wait()
        self.assertEqual(host.code, -signal.SIGKILL)
        return sidecar, host, child, views

    def test_inert_child(self):
        """What sidecar/README.md says: its copy of the descriptor keeps the lock until it ends."""
        sidecar, host, child, _ = self.clone("inert")
        path, = self.paths()
        self.assertEqual((traces(child, self.dir), lock_held(path)), ((1, 0), True))
        sidecar.await_tick()
        self.await_lives(sidecar, {("clone", 1): "alive"})
        host.end_input()
        wait_until(lambda: gone(child), what="the child's end")
        self.await_lives(sidecar, {("clone", 1): "crashed"})
        self.assert_exact(self.region("clone"), 10)
        figure("raw clone, inert child", "10 of 10 rounds exact (the child tried 100 more); dead "
                                         "parent seen when the child ends")

    def test_child_that_opens(self):
        """It gives up the descriptor that it inherited: its dead parent is seen at once."""
        sidecar, host, child, views = self.clone("open")
        self.assertEqual(views["clone-child", 1]["writer"]["pid"], child)
        self.await_lives(sidecar, {("clone", 1): "crashed", ("clone-child", 1): "alive"})
        self.assertEqual(traces(child, self.dir), (1, 1))
        host.end_input()
        wait_until(lambda: gone(child), what="the child's end")
        self.assert_exact(self.region("clone"), 10)
        self.assert_exact(self.region("clone-child"), 5)
        figure("raw clone, child that opens", "parent 10 of 10, child 5 of 5 rounds exact; the "
                                              "parent killed: crashed although the child lives")

    def test_shared_memory(self):
        host = self.host("shares", self.dir, release=True)
        rounds, = host.numbers("wrote")
        host.wait(0)
        self.assertEqual(rounds, 7 + 100 * 12)
        self.assert_exact(self.region("shares"), rounds)
        figure("CLONE_VM | CLONE_VFORK", f"100 children write as their parent: {rounds} rounds "
                                         "exact")


def add_cases(case, method, cases):
    """One test method a line of a table."""
    for name, *arguments in cases:
        def test(self, method=method, arguments=(name, *arguments)):
            getattr(self, method)(*arguments)
        setattr(case, "test_" + name, test)


add_cases(Daemon, "daemon", [("daemon3", "crashed"), ("classic", "crashed"), ("exit", "crashed"),
                             ("close", "exited"), ("late", None)])
add_cases(Exec, "child", [("fork",), ("vfork",), ("spawn",)])

if __name__ == "__main__":
    unittest.main(verbosity=2)
