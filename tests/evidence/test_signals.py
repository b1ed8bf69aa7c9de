#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fatal signals: noted in the region, and then exactly what would have been without us."""
import os
import re
import signal
import subprocess
import tempfile
import unittest

from evidence import CHECKED, PLAIN, Case, Victim

FAULTS = {"segv": "SIGSEGV", "bus": "SIGBUS", "ill": "SIGILL", "fpe": "SIGFPE", "trap": "SIGTRAP",
          "abort": "SIGABRT", "sys": "SIGSYS"}


def described(status):
    return f"signal {os.WTERMSIG(status)}, core {os.WCOREDUMP(status)}, status {status:#x}"


class Signals(Case):
    def compared(self, *arguments):
        """The same end without and with us: the victim of the second, and its writer."""
        alone = self.ended(*arguments)
        caught = self.ended("--catch", *arguments)
        self.assertEqual(described(caught.status), described(alone.status), arguments)
        self.assertEqual(alone.errors(), caught.errors())
        said = [[line for line in victim.says().splitlines() if line.startswith("handler")]
                for victim in (alone, caught)]
        self.assertEqual(*said)
        self.assertNotIn("signal", self.writer(alone.region))
        return caught, self.writer(caught.region), said[1]

    def assert_noted(self, writer, victim, name, address=None):
        self.assertEqual(writer["state"], "crashed")
        self.assertEqual(writer["signal_name"], name)
        self.assertEqual(writer["signal"], getattr(signal, name))
        self.assertEqual(writer["signal_thread"], int(victim.word("thread")))
        self.assertIn(f"({name})", writer["reason"])
        if address is not None:
            self.assertEqual(writer["signal_address"], address and f"0x{address}")
        text, _ = self.run_command("dump", victim.region)
        self.assertIn(f"fatal signal {int(getattr(signal, name))} ({name})", text)
        self.assertIn(f"in thread {victim.word('thread')}", text)

    def test_each_fault_by_default(self):
        cores = 0
        for mode, name in FAULTS.items():
            with self.subTest(mode):
                victim, writer, _ = self.compared(mode)
                self.assertEqual(os.WTERMSIG(victim.status), getattr(signal, name))
                cores += os.WCOREDUMP(victim.status)
                self.assert_noted(writer, victim, name)
                if mode == "segv":
                    self.assertEqual(writer["signal_address"], f"0x{victim.word('page')}")
                elif mode == "bus":
                    self.assertEqual(writer["signal_address"], f"0x{victim.word('address')}")
                elif mode in ("abort", "trap"):
                    self.assertNotIn("signal_address", writer)
        print(f"\nfigure: fatal signals: {len(FAULTS)} of {len(FAULTS)} noted with the wait status of"
              f" an uncaught one, {cores} with a core")

    def test_sent_from_outside(self):
        """Somebody's kill -SEGV: no address, the same end."""
        statuses = []
        for options in ((), ("--catch",)):
            victim = Victim(self, *options, "wait")
            victim.await_word("page")
            os.kill(victim.pid, signal.SIGSEGV)
            statuses.append(described(victim.wait()))
        self.assertEqual(*statuses)
        writer = self.writer(victim.region)
        self.assert_noted(writer, victim, "SIGSEGV")
        self.assertNotIn("signal_address", writer)

    def test_a_handler_of_its_own(self):
        """It is given the same siginfo, mask and stack; it ends the process as it did."""
        for mode, name in FAULTS.items():
            with self.subTest(mode):
                victim, writer, said = self.compared("--handler", "dies", mode)
                self.assertEqual(len(said), 1, said)
                self.assertIn("usr1-blocked 1 self-blocked 1 alt 0", said[0])
                self.assertIn(f"page {int(mode == 'segv')}", said[0])
                self.assert_noted(writer, victim, name)
                self.assertIn(b"last words of the handler\n", victim.errors())

    def test_its_flags(self):
        victim, writer, said = self.compared("--handler", "once", "segv")
        self.assertEqual(len(said), 1, "SA_RESETHAND: the second time it is the default action")
        self.assertIn("self-blocked 0", said[0])
        self.assert_noted(writer, victim, "SIGSEGV")
        victim, writer, said = self.compared("--altstack", "--handler", "onstack", "segv")
        self.assertIn("alt 1", said[0])
        self.assert_noted(writer, victim, "SIGSEGV")
        _, _, said = self.compared("--altstack", "--handler", "dies", "segv")
        self.assertIn("alt 0", said[0], "its handler is not made to run on that stack")

    def test_survived(self):
        """A handler that mends what is wrong, or jumps out: no signal was fatal."""
        for kind, reason in (("recovers", "recovered"), ("jumps", "done")):
            victim, writer, _ = self.compared("--handler", kind, "segv")
            self.assertEqual(victim.status, 0)
            self.assertEqual(writer["state"], "exited")
            self.assertIn(reason, writer["reason"])
            self.assertNotIn("signal", writer)

    def test_survived_with_the_default_restored(self):
        """SA_RESETHAND takes the handler away; a signal that was sent does not come again."""
        victim, writer, said = self.compared("--handler", "once", "raise", int(signal.SIGSEGV))
        self.assertEqual((victim.status, len(said)), (0, 1))
        self.assertEqual(writer["state"], "exited")
        self.assertNotIn("signal", writer)

    def test_survived_within_a_fatal_one(self):
        """A crash handler that meets another signal and survives that: the first is the cause."""
        victim, writer, said = self.compared("--handler", "nests", "abort")
        self.assertEqual(len(said), 1)
        self.assert_noted(writer, victim, "SIGABRT")

    @unittest.skipIf(os.geteuid() != 0, "skipped: making a pid namespace needs root")
    def test_first_process_of_a_pid_namespace(self):
        """The kernel passes over what is sent to it; a fault of its own and abort() end it."""
        for mode, name in ((["raise", int(signal.SIGSEGV)], None), (["segv"], "SIGSEGV"),
                           (["abort"], "SIGABRT")):
            statuses, out = [], None
            for options in ([], ["--catch"]):
                directory = tempfile.mkdtemp(dir=self.scratch)
                # Between: ends of pid 1 are told by its parent's exit code.
                done = subprocess.run(
                    ["unshare", "--pid", "--fork", "--kill-child", PLAIN, "--dir", directory,
                     *options, *map(str, mode)], capture_output=True, text=True, check=False)
                statuses.append(done.returncode)
                out = done.stdout
            self.assertEqual(*statuses, mode)
            writer = self.writer(re.search("^on (.*)$", out, re.M)[1])
            self.assertEqual(writer["state"], "crashed" if name else "exited", mode)
            self.assertEqual(writer.get("signal_name"), name, mode)

    def test_ignored(self):
        victim, writer, _ = self.compared("--handler", "ignored", "raise", int(signal.SIGTRAP))
        self.assertEqual(victim.status, 0)
        self.assertNotIn("signal", writer)

    def test_noted_by_the_forwarder_itself(self):
        """fwdscope_signal_mark() from a handler of the forwarder's."""
        victim = self.ended("--handler", "marks", "segv")
        self.assertEqual(os.WTERMSIG(victim.status), signal.SIGSEGV)
        self.assert_noted(self.writer(victim.region), victim, "SIGSEGV")

    def test_stack_overflow(self):
        """Noted on an alternate stack; without one the kernel ends it, and no signal is made up."""
        victim, writer, _ = self.compared("--altstack", "overflow")
        self.assertEqual(os.WTERMSIG(victim.status), signal.SIGSEGV)
        self.assert_noted(writer, victim, "SIGSEGV")
        victim, writer, _ = self.compared("overflow")
        self.assertEqual(os.WTERMSIG(victim.status), signal.SIGSEGV)
        self.assertEqual(writer["state"], "crashed")
        self.assertNotIn("signal", writer)

    def test_the_sidecar_shows_it(self):
        sidecar = self.sidecar()
        victim = self.ended("--catch", "segv", directory=self.dir)
        sidecar.await_ready(503, "writer_crashed")
        writer = sidecar.status()["writer"]
        self.assert_noted(writer, victim, "SIGSEGV")
        self.assertEqual(writer["signal_address"], f"0x{victim.word('page')}")

    def test_under_the_sanitizers(self):
        """Their handler is one like any other: it is called, and says what it says."""
        victim = self.ended("--catch", "abort", program=CHECKED)
        writer = self.writer(victim.region)
        self.assertEqual(writer["signal_name"], "SIGABRT")


if __name__ == "__main__":
    unittest.main(verbosity=2)
