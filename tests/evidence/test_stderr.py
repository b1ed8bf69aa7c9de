#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Captured standard error: the original gets every byte in order, the region every line; what is
lost with a process that is killed; and that nothing hangs or dies because of it."""
import collections
import os
import re
import select
import signal
import time
import unittest

from evidence import CHECKED, PLAIN, Case, Victim
from harness import wait_until

KILLS = 30


def numbers(data):
    return [int(number) for number in re.findall(rb"^line (\d+) of standard error$", data, re.M)]


class Stderr(Case):
    def test_byte_by_byte(self):
        """Any bytes, 200 kB at once and little ones, a last line without an end."""
        for program in (PLAIN, CHECKED):
            alone = self.ended("bytes", 40, program=program)
            captured = self.ended("--capture", "bytes", 40, program=program)
            self.assertEqual((alone.status, captured.status), (0, 0))
            self.assertGreater(len(alone.errors()), 1 << 20)
            self.assertTrue(captured.errors() == alone.errors(), "not the same bytes")

    def test_under_load(self):
        """Four threads at once: no line lost, none torn, each thread's in its order."""
        for program in (PLAIN, CHECKED):
            alone = self.ended("mixed", program=program)
            began = time.monotonic()
            victim = self.ended("--capture", "mixed", program=program)
            took = time.monotonic() - began
            mine, theirs = (v.errors().splitlines() for v in (victim, alone))
            self.assertEqual(len(mine), 4 * 3000)
            self.assertEqual(collections.Counter(mine), collections.Counter(theirs))
            for thread in range(4):
                start = b"t%d " % thread
                self.assertEqual([line for line in mine if line.startswith(start)],
                                 [line for line in theirs if line.startswith(start)])
        print(f"\nfigure: captured standard error: {len(mine)} lines of 4 threads in {took:.2f} s,"
              " same bytes at the original")

    def test_lines_in_the_region(self):
        victim = self.ended("--capture", "lines", 500)
        expected = [f"line {i} of standard error" for i in range(500)]
        self.assertEqual(victim.errors().decode().splitlines(), expected)
        self.assertEqual(self.captured(victim.region), expected)
        records = [log for _, attributes, log in self.lines(victim.region)
                   if attributes.get("log.iostream") == "stderr"]
        self.assertTrue(all("severityNumber" not in log for log in records), "no severity made up")
        times = [int(log["timeUnixNano"]) for log in records]
        self.assertEqual(times, sorted(times))

    def test_last_words(self):
        """Ends that empty the pipe: all of it is at the original and in the region."""
        for arguments, end, tail in ((("--catch", "lines-abort", 2000), signal.SIGABRT, b"no end"),
                                     (("--catch", "lines-segv", 2000), signal.SIGSEGV, b""),
                                     (("lines-flush", 2000), 0, b"")):
            for program in (PLAIN, CHECKED) if end == 0 else (PLAIN,):
                victim = self.ended("--capture", *arguments, program=program)
                self.assertEqual(os.waitstatus_to_exitcode(victim.status), -end)
                self.assertEqual(numbers(victim.errors()), list(range(2000)))
                self.assertTrue(victim.errors().endswith(b"error\n" + tail))
                captured = self.captured(victim.region)
                self.assertEqual(captured[1999], "line 1999 of standard error")
                self.assertEqual(captured[2000:], [tail.decode()] if tail else [])
        self.assertEqual(victim.word("flushed"), "1")

    def test_a_handler_that_speaks(self):
        """What the forwarder's own crash handler prints comes through too."""
        victim = self.ended("--handler", "dies", "--catch", "--capture", "segv")
        self.assertEqual(os.WTERMSIG(victim.status), signal.SIGSEGV)
        self.assertEqual(victim.errors(), b"last words of the handler\n")
        self.assertEqual(self.captured(victim.region), ["last words of the handler"])

    def test_sigkill_loses_only_the_last_moment(self):
        """What SIGKILL takes along, measured: lines that write() accepted and nobody got."""
        for pause_us, name in ((1000, "1,000 lines/s"), (0, "as fast as it can")):
            lost = []
            for i in range(KILLS):
                victim = Victim(self, "--capture", "for-ever", pause_us)
                victim.await_word("writing")
                time.sleep(0.005 * (i % 7))
                os.kill(victim.pid, signal.SIGKILL)
                self.assertEqual(os.WTERMSIG(victim.wait()), signal.SIGKILL)
                got = numbers(victim.errors())
                self.assertEqual(got, list(range(len(got))), "those that came, came whole")
                document = self.dump(victim.region)["metrics"]
                sent = next(int(metric["sum"]["dataPoints"][0]["asInt"])
                            for resource in document["resourceMetrics"]
                            for scope in resource["scopeMetrics"] for metric in scope["metrics"]
                            if metric["name"] == "victim.lines")
                lost.append(max(0, sent - len(got)))
                in_region = len(self.captured(victim.region))
                self.assertLessEqual(in_region, len(got), "the original comes first")
            lost.sort()
            print(f"\nfigure: lines lost to the original by SIGKILL, {name}: median"
                  f" {lost[KILLS // 2]}, at most {lost[-1]} in {KILLS} kills")
            if pause_us:
                self.assertLessEqual(lost[KILLS // 2], 1)

    def test_a_blocked_original(self):
        """It blocks the forwarder no sooner than before, a flush is bounded, nothing is lost."""
        reading, writing = os.pipe()
        victim = Victim(self, "--capture", "lines-flush", 20000, stderr=writing)
        os.close(writing)
        victim.await_word("flushed")  # 640 kB: the pipe behind would have blocked it at 64 kB
        self.assertEqual(victim.word("flushed"), "0")
        victim.wait()
        data = b""
        while True:
            more = os.read(reading, 1 << 16)
            if not more:
                break
            data += more
        os.close(reading)
        got = numbers(data)
        self.assertEqual(got, list(range(len(got))))
        # 5 MB do not fit: it waits as it would have, and goes on when somebody reads.
        reading, writing = os.pipe()
        victim = Victim(self, "--capture", "lines", 150000, stderr=writing)
        os.close(writing)
        victim.await_word("page")
        wait_until(lambda: self.is_waiting(victim.pid), what="the forwarder waits in write()")
        data = b""
        while select.select([reading], [], [], 30)[0]:
            more = os.read(reading, 1 << 20)
            if not more:
                break
            data += more
        os.close(reading)
        self.assertEqual(victim.wait(), 0)
        self.assertEqual(len(numbers(data)), 150000)

    @staticmethod
    def is_waiting(pid):
        with open(f"/proc/{pid}/wchan") as file:
            return "pipe_write" in file.read()

    def test_nobody_reads(self):
        """SIGPIPE ends it as it did before; its own descriptor is back."""
        ends = []
        for options in ((), ("--capture",)):
            reading, writing = os.pipe()
            victim = Victim(self, *options, "for-ever", 0, stderr=writing)
            os.close(writing)
            os.read(reading, 100)
            os.close(reading)
            ends.append(os.waitstatus_to_exitcode(victim.wait()))
        self.assertEqual(ends, [-signal.SIGPIPE, -signal.SIGPIPE])

    def test_flags_stay(self):
        """Who does not wait for standard error does not wait for the pipe either."""
        for nonblock in (False, True):
            reading, writing = os.pipe()
            os.set_blocking(writing, not nonblock)
            victim = self.ended("--capture", "flags", stderr=writing)
            os.close(reading)
            os.close(writing)
            self.assertEqual(victim.word("nonblock"), f"{int(nonblock)} cloexec 0")

    def test_children(self):
        victim = self.ended("--capture", "children")
        self.assertEqual(sorted(victim.errors().splitlines()),
                         [b"from a forked child", b"from a spawned child"])
        self.assertEqual(self.captured(victim.region), ["from a spawned child"])

    def test_descriptors_closed(self):
        """A host that closes all descriptors has no broken pipe for a standard error."""
        victim = self.ended("--capture", "lose")
        self.assertEqual(victim.status, 0)

    def test_standard_output_made_the_same(self):
        victim = self.ended("--capture", "join")
        self.assertEqual(victim.status, 0)
        self.assertEqual(victim.errors(), b"from a forked child\nreleased\n")

    def test_captured_is_what_it_says(self):
        """Not while a child still holds the pipe of a capture that was released."""
        victim = Victim(self, "--capture", "again")
        victim.await_word("again")
        victim.wait()
        self.assertEqual(victim.word("again"), "0 pipe 0")

    def test_exec(self):
        """Released, the same process goes on as another program with its own standard error."""
        victim = self.ended("--capture", "lines-exec", 10)
        self.assertEqual(victim.status, 0)
        self.assertEqual(numbers(victim.errors()), list(range(10)))
        self.assertTrue(victim.errors().endswith(b"after exec\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
