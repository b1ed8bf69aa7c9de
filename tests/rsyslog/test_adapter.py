#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The adapter never harms rsyslogd: killed, stopped, started by somebody else, without a region."""
import array
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import resource
import signal
import subprocess
import termios
import time
import unittest

import daemon
import otlp_rules
from daemon import ADAPTER, Case, component
from harness import Process, wait_until
from otlp_rules import attributes


def rows_of(subscriber):
    return sum(attributes(span)["rows"] for span in subscriber.finished_spans()
               if span.get("status", {}).get("code") != 2)


class Killed(Case):
    def test_each_process_killed(self):
        shipped = os.path.join(self.scratch, "one", "shipped.log")
        rsyslogd = self.rsyslogd(daemon.ship_action(shipped), stats="--batches")
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=600)
        sidecar.await_ready(200, "all_components_healthy")
        rsyslogd.write(1000)
        wait_until(lambda: rsyslogd.lines("shipped.log") == 1000)
        for mode in ("log", "ship", "stats"):
            old = rsyslogd.adapter_pid(mode)
            os.kill(old, signal.SIGKILL)
            rsyslogd.write(1000, mode)
            if mode == "log":  # started again by the next message, which the death itself is
                os.kill(rsyslogd.pid, signal.SIGHUP)
            rsyslogd.adapter_pid(mode, other_than=old)
        def distinct():
            return len(set(pathlib.Path(shipped).read_text().splitlines()))

        wait_until(lambda: distinct() == 4000, what=f"all lines, last {distinct()}")
        # What a killed output had not confirmed comes again.
        self.assertLessEqual(rsyslogd.lines("shipped.log") - 4000, 256)
        self.assertIsNone(rsyslogd.popen.poll())
        wait_until(lambda: sidecar.status()["writer"].get("generation") == 2,
                   what="a region of the new process")
        sidecar.await_ready(200, "all_components_healthy")
        self.assertEqual(sidecar.status()["writer"]["pid"], rsyslogd.pid)
        rsyslogd.write(500)
        before = rows_of(subscriber)
        wait_until(lambda: rows_of(subscriber) >= before + 500,
                   what="batches told to the new process")
        rsyslogd.stop()


class Stopped(Case):
    def test_stopped_stats_holds_nothing_up(self):
        """`stats` is stopped for as long as its pipe, its queue and its socket take to fill."""
        shipped = os.path.join(self.scratch, "one", "shipped.log")
        # A small queue, so that it is full in seconds.
        rsyslogd = self.rsyslogd(
            daemon.ship_action(shipped) +
            f'\naction(name="keep" type="omfile" file="{self.scratch}/one/kept.log")',
            stats="--batches",
            edits=[('ruleset(name="fwdscope_stats" queue.type="LinkedList" queue.size="1000"',
                    'ruleset(name="fwdscope_stats" queue.type="LinkedList" queue.size="20"')])
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=600)
        sidecar.await_ready(200, "all_components_healthy")
        stats = rsyslogd.adapter_pid("stats")
        pipe = os.open(f"/proc/{stats}/fd/0", os.O_RDONLY)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        os.close(pipe)

        os.kill(stats, signal.SIGSTOP)
        total, slowest = 0, 0.0
        try:
            end = time.monotonic() + 8 * daemon.INTERVAL
            while time.monotonic() < end:
                began = time.monotonic()
                rsyslogd.write(200)
                total += 200
                wait_until(lambda: rsyslogd.lines("kept.log") >= total and
                           rsyslogd.lines("shipped.log") >= total, what="lines at both outputs")
                slowest = max(slowest, time.monotonic() - began)
            self.assertEqual(sidecar.ready()[1], "all_components_healthy")
        finally:
            os.kill(stats, signal.SIGCONT)
        self.assertEqual((rsyslogd.lines("kept.log"), rsyslogd.lines("shipped.log")),
                         (total, total))
        self.assertLess(slowest, 2)  # a full queue that makes others wait costs 2 s a message

        def lost():
            return daemon.counter(subscriber.documents("metrics"),
                                  "rsyslog.adapter.lost_records", None)[-1]

        def accounted():
            """Every batch is told of, or records are counted as lost."""
            keep = component(sidecar.status(), "outputs", "keep")
            return keep and keep["lines_total"] == total and (
                rows_of(subscriber) == total or (rows_of(subscriber) < total and lost() > 0))

        wait_until(accounted, what="the counts after it")
        discarded = daemon.counter(subscriber.documents("metrics"),
                                   "rsyslog.core.queue.discarded.full", "fwdscope_stats")
        self.assertGreater(discarded[-1], 0)  # it was full: the test did what it says
        rsyslogd.stop()
        print(f"figure: {total} lines past a stopped adapter: slowest 200 lines in "
              f"{slowest * 1000:.0f} ms; {rows_of(subscriber)} of them in batches that were "
              f"told, {lost()} records counted as lost")


class NoRegion(Case):
    def test_a_directory_that_is_not_there(self):
        """No region, one line of why, and rsyslogd runs on."""
        rsyslogd = daemon.Rsyslogd(
            self.scratch, os.path.join(self.scratch, "missing"),
            f'action(name="keep" type="omfile" file="{self.scratch}/one/kept.log")')
        self.processes.append(rsyslogd)
        said = pathlib.Path(rsyslogd.file("stats.err"))
        wait_until(lambda: said.exists() and "without telemetry" in said.read_text(),
                   what="the reason")
        rsyslogd.write(500)
        wait_until(lambda: rsyslogd.lines("kept.log") == 500)
        rsyslogd.stop()

    def test_started_by_somebody_else(self):
        for mode in (["stats", "--dir", self.dir], ["log", "--dir", self.dir]):
            process = Process([ADAPTER, *mode], self.scratch, stdin=subprocess.PIPE)
            process.popen.stdin.write(b"BEGIN\nEND\n{}\nnonsense\n")
            process.popen.stdin.close()
            process.popen.stdin = None
            process.wait(0)
            self.assertIn("not started by rsyslogd", process.errors())
        self.assertEqual(os.listdir(self.dir), [])

    def test_wrong_words(self):
        for words in ([], ["other"], ["ship"], ["stats", "file"], ["stats", "--capacity", "x"],
                      ["stats", "--interval", "soon"], ["log", "--nonsense"]):
            process = Process([ADAPTER, *words], self.scratch)
            process.wait(2)
            self.assert_one_line(process.errors(), "fwdscope-rsyslog", "--help")


@contextlib.contextmanager
def passing_for_rsyslogd():
    """The adapter serves a parent of that name only."""
    name = ctypes.create_string_buffer(16)
    libc = ctypes.CDLL(None)
    libc.prctl(16, name, 0, 0, 0)
    libc.prctl(15, b"rsyslogd", 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(15, name, 0, 0, 0)


class Losses(Case):
    def adapter(self, mode):
        process = Process([ADAPTER, mode, "--dir", self.dir], self.scratch, stdin=subprocess.PIPE)
        self.addCleanup(process.abandon)
        return process

    def stats(self, generation):
        stats = self.adapter("stats")
        wait_until(lambda: list(pathlib.Path(self.dir).glob(f"rsyslog.{generation}.*.fwdscope")) and
                   list(pathlib.Path(self.dir).glob("*.sock")), what="its region and socket")
        return stats

    def lost(self, generation):
        """What the region of that generation counts as lost."""
        path, = pathlib.Path(self.dir).glob(f"rsyslog.{generation}.*.fwdscope")
        metrics = json.loads(self.run_command("dump", "-o", "json", path)[0])["metrics"]
        values = [otlp_rules.number_of(point) for point in
                  otlp_rules.points([metrics], "rsyslog.adapter.lost_records")]
        return values[-1] if values else None

    def test_told_at_once_and_once(self):
        """Lost lines are counted without another line, and not again by the next `stats`."""
        with passing_for_rsyslogd():
            stats = self.stats(1)
            log = self.adapter("log")
            stats.signal(signal.SIGSTOP)
            log.popen.stdin.write(b"".join(b"1700000000.5 6 tag: %d %s\n" % (i, b"x" * 1000)
                                           for i in range(5000)))
            log.popen.stdin.flush()
            waiting = array.array("i", [1])
            wait_until(lambda: fcntl.ioctl(log.popen.stdin, termios.FIONREAD, waiting) == 0 and
                       waiting[0] == 0, what="all lines taken")
            stats.signal(signal.SIGCONT)
            wait_until(lambda: self.lost(1), what="the loss")
            self.assertGreater(self.lost(1), 3000)
            stats.kill()
            self.stats(2)
            log.popen.stdin.write(b"1700000000.5 6 tag: last\n" * 2)
            log.popen.stdin.flush()
            log.popen.stdin.close()
            log.popen.stdin = None
            log.wait(0)
            path, = pathlib.Path(self.dir).glob("rsyslog.2.*.fwdscope")
            wait_until(lambda: "last" in self.run_command("dump", path)[0], what="the last line")
            self.assertEqual(self.lost(2), 0)


class ShipProtocol(Case):
    """`ship` by hand: what it answers, what is in the file."""

    def ship(self, file):
        process = Process([ADAPTER, "ship", file], self.scratch, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
        self.assertEqual(process.popen.stdout.readline(), b"OK\n")
        return process

    def say(self, process, line):
        process.popen.stdin.write(line + b"\n")
        process.popen.stdin.flush()
        return process.popen.stdout.readline().decode().rstrip("\n")

    def end(self, process):
        process.popen.stdin.close()
        process.wait(0)

    def test_transactions(self):
        file = pathlib.Path(self.scratch, "shipped")
        ship = self.ship(file)
        # Lines that read like marks are lines.
        lines = [b"one", b"", b"BEGIN", b"COMMIT", b"=", b"x" * 20000, b"y" * 250000]
        self.assertEqual(self.say(ship, b"BEGIN"), "OK")
        for line in lines:
            self.assertEqual(self.say(ship, b"=" + line), "DEFER_COMMIT")
        self.assertEqual(self.say(ship, b"COMMIT"), "OK")
        whole = b"".join(line + b"\n" for line in lines)
        self.assertEqual(file.read_bytes(), whole)
        # What was confirmed stays: rsyslog does not send it again.
        self.assertEqual(self.say(ship, b"BEGIN"), "OK")
        self.assertEqual(self.say(ship, b"=kept"), "DEFER_COMMIT")
        self.end(ship)
        self.assertEqual(file.read_bytes(), whole + b"kept\n")
        # A line without marks is a transaction of its own.
        ship = self.ship(file)
        self.assertEqual(self.say(ship, b"=alone"), "OK")
        self.end(ship)
        self.assertEqual(file.read_bytes(), whole + b"kept\nalone\n")

    def test_a_line_that_is_too_long(self):
        """It is cut, and answered once: rsyslogd would wait for ever, and so send it for ever."""
        file = pathlib.Path(self.scratch, "shipped")
        ship = self.ship(file)
        self.assertEqual(self.say(ship, b"BEGIN"), "OK")
        self.assertEqual(self.say(ship, b"=" + b"x" * 700000), "DEFER_COMMIT")
        self.assertEqual(self.say(ship, b"=next"), "DEFER_COMMIT")
        self.assertEqual(self.say(ship, b"COMMIT"), "OK")
        cut, following = file.read_bytes().splitlines()
        self.assertEqual((cut.strip(b"x"), len(cut), following), (b"", 262142, b"next"))
        self.assertIn("a line was cut to 262142 bytes", ship.errors())
        self.end(ship)

    def test_a_failed_transaction_leaves_nothing(self):
        """Room for a part of it: the limit on the size of files stands for a full disk."""
        file = pathlib.Path(self.scratch, "shipped")
        file.write_bytes(b"before\n")
        ship = self.ship(file)
        resource.prlimit(ship.pid, resource.RLIMIT_FSIZE, (100, 100))
        self.assertEqual(self.say(ship, b"BEGIN"), "OK")
        for _ in range(10):
            self.assertEqual(self.say(ship, b"=" + b"x" * 30), "DEFER_COMMIT")
        self.assertIn("File too large", self.say(ship, b"COMMIT"))
        self.assertEqual(file.read_bytes(), b"before\n")
        self.end(ship)

    def test_a_device_without_room(self):
        ship = self.ship("/dev/full")
        self.assertEqual(self.say(ship, b"BEGIN"), "OK")
        self.assertEqual(self.say(ship, b"=line"), "DEFER_COMMIT")
        self.assertIn("No space left", self.say(ship, b"COMMIT"))
        self.assertIn("neither a mark nor a line", self.say(ship, b"nonsense"))
        self.end(ship)


if __name__ == "__main__":
    unittest.main(verbosity=2)
