#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--pid: what a process writes is found wherever it is, and stays when the process goes."""
import fcntl
import json
import mmap
import os
import signal
import subprocess
import unittest

import attach
import harness
from attach import ABSENT, AS_NOBODY, NO_LEAKS, UNREADABLE, USAGE, Case, with_capabilities

F_GET_SEALS = 1034
SHRINK, GROW, FUTURE_WRITE, SEAL = 2, 4, 16, 1

# A thread of the process makes the child, as rsyslogd does.
IN_A_THREAD = """
import os, subprocess, sys, threading
command = [str(os.getpid()) if word == "PID" else word for word in sys.argv[1:]]
threading.Thread(target=lambda: subprocess.run(command, check=True)).start()
"""


class Memfd(Case):
    def test_commands(self):
        patient = self.memfd("--service", "in-memory")
        patient.pipeline()
        patient.do("lines", 3)
        out, _ = self.run_command("inspect", "--pid", patient.pid)
        self.assertIn(f"path        {patient.path} -> /memfd:fwdscope:in-memory.1.", out)
        self.assertIn("verdict     alive", out)
        out, _ = self.run_command("check", "--pid", patient.pid)
        self.assertIn("healthy: in-memory", out)
        out, _ = self.run_command("dump", "-o", "json", "--pid", patient.pid)
        self.assertEqual(json.loads(out)["status"]["writer"]["state"], "alive")
        # What fwdscope_path() says is a FILE for every command.
        out, _ = self.run_command("dump", patient.path)
        self.assertIn("t=0 n=2", out)

    def test_seals(self):
        """Nobody cuts it or writes to it: not its owner, not root, by whatever way in."""
        patient = self.memfd()
        for flags in (os.O_RDWR, os.O_RDONLY):
            fd = os.open(patient.path, flags)
            self.assertEqual(fcntl.fcntl(fd, F_GET_SEALS), SHRINK | GROW | FUTURE_WRITE | SEAL)
            size = os.fstat(fd).st_size
            attempts = [lambda: mmap.mmap(fd, size, mmap.MAP_SHARED,
                                          mmap.PROT_READ | mmap.PROT_WRITE)]
            if flags == os.O_RDWR:
                attempts += [lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, size * 2),
                             lambda: os.pwrite(fd, b"x", 0),
                             lambda: fcntl.fcntl(fd, 1033, 1)]
            for attempt in attempts:
                with self.assertRaises(PermissionError):
                    attempt()
            mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ).close()
            os.close(fd)
        with self.assertRaises(PermissionError):
            os.truncate(patient.path, 0)

    def test_killed_while_attached(self):
        patient = self.memfd()
        patient.pipeline()
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_ready(200, "all_components_healthy")
        self.assertTrue(sidecar.status()["region"]["path"].startswith(
            f"{patient.path} -> /memfd:fwdscope:patient.1."))
        patient.do("log", 17, "the last words")
        patient.kill()
        # Nothing is left of it but what the sidecar holds.
        sidecar.await_ready(503, "writer_crashed")
        subscriber = self.subscriber(sidecar)
        harness.wait_until(lambda: "the last words" in subscriber.log_bodies(), what="the line")
        sidecar.await_tick(3)
        self.assertEqual(sidecar.status()["writer"]["state"], "crashed")
        self.assertEqual(sidecar.get("/live").status, 200)
        _, errors = self.run_command("dump", "--pid", patient.pid, expected=ABSENT)
        self.assert_one_line(errors, f"no such process: {patient.pid}")

    def test_exits_while_attached(self):
        patient = self.memfd()
        patient.pipeline()
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_ready(200, "all_components_healthy")
        patient.quit()
        sidecar.await_ready(503, "writer_exited")
        self.assertIn("told to quit", sidecar.status()["writer"]["reason"])

    def test_descriptors_closed(self):
        """A host closed every descriptor: the map is what is left, and the lock is the map's."""
        patient = self.memfd()
        patient.do("close-descriptors")
        if not os.access(f"/proc/{patient.pid}/map_files", os.X_OK) or os.geteuid() != 0:
            self.skipTest("skipped: /proc/PID/map_files needs root")
        out, _ = self.run_command("inspect", "--pid", patient.pid)
        self.assertRegex(out, rf"path +/proc/{patient.pid}/map_files/[0-9a-f]+-[0-9a-f]+ -> /memfd:")
        self.assertIn("verdict     alive", out)

    def test_names_are_safe_on_a_terminal(self):
        patient = self.memfd("--instance", "a\x1b[31m/../b\nc")
        for command in ("inspect", "list"):
            options = ["--pid", patient.pid] if command == "inspect" else []
            out, _ = self.run_command(command, *options)
            self.assertFalse([c for c in out if c != "\n" and ord(c) < 0x20], out)


class Files(Case):
    def test_its_own_path(self):
        """Where the file's name leads to it, that is the path: it outlives the process."""
        patient = self.patient()
        patient.pipeline()
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_ready(200, "all_components_healthy")
        self.assertEqual(sidecar.status()["region"]["path"], patient.path)
        patient.kill()
        sidecar.await_ready(503, "writer_crashed")

    def test_unlinked(self):
        patient = self.patient()
        patient.pipeline()
        os.unlink(patient.path)
        out, _ = self.run_command("inspect", "--pid", patient.pid)
        self.assertRegex(out, rf"path +/proc/{patient.pid}/fd/\d+ -> {patient.path} \(deleted\)")
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_ready(200, "all_components_healthy")
        patient.do("log", 9, "nobody finds me")
        patient.kill()
        sidecar.await_ready(503, "writer_crashed")
        self.assertIn("nobody finds me", str(self.subscriber(sidecar).await_documents(1, "logs")))

    def test_replaced(self):
        """Another file under its name is not it."""
        patient = self.patient()
        other = self.patient("--service", "other")
        os.rename(other.path, patient.path)
        out, _ = self.run_command("inspect", "--pid", patient.pid)
        self.assertIn("service     patient", out)
        out, _ = self.run_command("inspect", patient.path)
        self.assertIn("service     other", out)

    def test_descriptors_closed(self):
        patient = self.patient()
        patient.do("close-descriptors")
        out, _ = self.run_command("inspect", "--pid", patient.pid)
        self.assertIn(f"path        {patient.path}\n", out)
        self.assertIn("verdict     alive", out)

    def test_fork_child(self):
        """A child has nothing of its parent's region, and does not keep it alive."""
        patient = self.patient()
        patient.pipeline()
        child = patient.do("fork")[0]
        _, errors = self.run_command("dump", "--pid", child, expected=ABSENT)
        self.assert_one_line(errors, f"process {child} (patient) has no region", "shim")
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_ready(200, "all_components_healthy")
        os.kill(child, signal.SIGSTOP)  # it is told to die with its parent: not at once
        patient.kill()
        sidecar.await_ready(503, "writer_crashed")

    def test_region_that_comes_later(self):
        """serve --pid waits, says why, and attaches when the process opens its region."""
        shell = harness.Process(["sh", "-c", f'read x; exec "$0" --dir "{self.dir}"',
                                 harness.PATIENT], self.scratch, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        self.processes.append(shell)
        sidecar = self.sidecar_of(shell.pid)
        sidecar.await_ready(503, "region_not_found")
        self.assertIn(f"process {shell.pid} (sh) has no region", sidecar.status()["writer"]["reason"])
        self.assertIn("waiting: ", sidecar.errors())
        shell.popen.stdin.write(b"go\n")
        shell.popen.stdin.flush()
        sidecar.await_ready(503, "no_pipelines_registered")  # it is attached
        self.assertEqual(sidecar.status()["writer"]["pid"], shell.pid)
        shell.popen.stdin.write(b"quit\n")
        shell.popen.stdin.flush()
        shell.wait(0)
        sidecar.await_ready(503, "writer_exited")

    def test_adapter(self):
        """A process whose region a child of it writes, because it knows no shim itself: found by
        its own number. A child that writes about itself is another forwarder."""
        for subject in (True, False):
            about = ["--subject", "PID"] if subject else []
            parent = harness.Process(["/usr/bin/python3", "-c", IN_A_THREAD, harness.PATIENT,
                                      "--dir", self.dir, *about], self.scratch,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.processes.append(parent)
            self.assertTrue(parent.popen.stdout.readline().startswith(b"on "))
            out, errors = self.run_command("inspect", "--pid", parent.pid,
                                           expected=0 if subject else ABSENT)
            if subject:
                self.assertIn(f"writer      pid {parent.pid} in pid namespace", out)
            else:
                self.assert_one_line(errors, f"process {parent.pid} (python3) has no region")
            parent.popen.stdin.write(b"quit\n")
            parent.popen.stdin.close()
            parent.wait(0)

    def test_reader_is_no_writer(self):
        """A sidecar holds regions open too; it is not taken for their writer."""
        patient = self.patient()
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_tick()
        _, errors = self.run_command("dump", "--pid", sidecar.pid, expected=ABSENT)
        self.assert_one_line(errors, f"process {sidecar.pid} (fwdscope) has no region")


class Refused(Case):
    COMMANDS = ("dump", "inspect", "check")

    def refused(self, pid, code, *parts, **more):
        for command in self.COMMANDS:
            out, errors = self.run_command(command, "--pid", pid, expected=code, **more)
            self.assertEqual(out, "")
            self.assert_one_line(errors, f"fwdscope {command}: ", *parts)

    def test_no_such_process(self):
        gone = harness.Process(["true"], self.scratch)
        gone.wait(0)
        self.refused(gone.pid, ABSENT, f"no such process: {gone.pid}")
        sidecar = self.sidecar_of(gone.pid)
        sidecar.await_ready(503, "region_not_found")
        self.assertIn("no such process", sidecar.status()["writer"]["reason"])

    def test_no_forwarder(self):
        sleeper = self.herd(1, "none").pids[0]
        self.refused(sleeper, ABSENT, f"process {sleeper} (herd) has no region", "shim")

    def test_usage(self):
        for pid in ("0", "-1", "abc", "1x", "", "99999999"):
            self.refused(pid, USAGE, f"--pid {pid}: not the number of a process")
        for command in self.COMMANDS:
            _, errors = self.run_command(command, "--pid", 1, "FILE", expected=USAGE)
            self.assert_one_line(errors, "--pid and a region file exclude each other")
            _, errors = self.run_command(command, "--pid", expected=USAGE)
            self.assert_one_line(errors, "--pid needs a value")
        for more in (["--dir", "/d"], ["--region", "/r"]):
            _, errors = self.run_command("serve", "--pid", 1, *more, expected=USAGE)
            self.assert_one_line(errors, "--pid", more[0], "exclude")
        _, errors = self.run_command("serve", "--pid", "x", expected=USAGE)
        self.assert_one_line(errors, "--pid x")

    def test_two_regions(self):
        """A process that writes two: a person chooses."""
        patient = self.patient()
        both = harness.Process(["sh", "-c", 'exec 8<>"$0" 9<>"$1"; read x', patient.path,
                                self.patient("--instance", "other").path], self.scratch,
                               stdin=subprocess.PIPE)
        self.processes.append(both)
        harness.wait_until(lambda: os.path.exists(f"/proc/{both.pid}/fd/9"), what="descriptors")
        self.refused(both.pid, USAGE, f"process {both.pid} has 2 regions")
        both.popen.stdin.write(b"\n")
        both.popen.stdin.close()
        both.wait(0)


@unittest.skipIf(attach.why_not_root(), attach.why_not_root())
class Users(Case):
    def test_another_user(self):
        patient = self.memfd()
        for command in Refused.COMMANDS:
            out, errors = self.run_command(command, "--pid", patient.pid, expected=UNREADABLE,
                                           before=AS_NOBODY, environment=NO_LEAKS)
            self.assertEqual(out, "")
            self.assert_one_line(errors, f"process {patient.pid} (patient) is of user 0",
                                 "permission denied", "root", "CAP_SYS_PTRACE")
        sidecar = self.sidecar_of(patient.pid, before=AS_NOBODY, environment=NO_LEAKS)
        sidecar.await_ready(503, "region_not_found")
        self.assertIn("CAP_SYS_PTRACE", sidecar.status()["writer"]["reason"])

    def test_capabilities(self):
        """CAP_SYS_PTRACE to follow the links, CAP_DAC_READ_SEARCH to list them."""
        patient = self.memfd()
        patient.pipeline()
        before = with_capabilities("sys_ptrace", "dac_read_search")
        if not attach.works(*before, "true"):
            self.skipTest("skipped: CAP_SYS_PTRACE is not to be had")
        out, _ = self.run_command("inspect", "--pid", patient.pid, before=before,
                                  environment=NO_LEAKS)
        self.assertIn("verdict     alive", out)
        sidecar = self.sidecar_of(patient.pid, before=before, environment=NO_LEAKS)
        sidecar.await_ready(200, "all_components_healthy")
        # The first alone: the map tells the path of a file, and that may be open to all.
        before = with_capabilities("sys_ptrace")
        self.run_command("inspect", "--pid", patient.pid, before=before, environment=NO_LEAKS,
                         expected=UNREADABLE)
        self.open_to_all()
        other = self.patient()
        os.chmod(other.path, 0o644)
        out, _ = self.run_command("inspect", "--pid", other.pid, before=before,
                                  environment=NO_LEAKS)
        self.assertIn(f"path        {other.path}\n", out)

    def test_same_user(self):
        """No privilege at all is needed to look at what runs as oneself."""
        self.open_to_all()
        for options in ([], ["--sealed-memfd"]):
            patient = self.patient(*options, before=AS_NOBODY, environment=NO_LEAKS)
            out, _ = self.run_command("inspect", "--pid", patient.pid, before=AS_NOBODY,
                                      environment=NO_LEAKS)
            self.assertIn("verdict     alive", out)
            self.assertIn(f"uid {attach.NOBODY}", out)
            patient.quit()


if __name__ == "__main__":
    unittest.main(verbosity=2)
