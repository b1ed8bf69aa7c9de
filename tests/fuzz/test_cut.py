#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that change under the reader: cut, restored, unlinked, replaced, and a tmpfs that is full.
The sidecar lives, says so of that region, and serves the others. The forwarder of such a file is
idle here: what its next store into a file that it cut itself would do is its own affair."""
import os
import subprocess
import unittest

import hostile
from harness import wait_until

PAGE = 4096
ROUNDS = 10 if hostile.LONG else 1


class Cut(hostile.Case):
    def setUp(self):
        super().setUp()
        self.steps = 0

    def victim(self, sidecar, name, directory=None):
        """A forwarder that has written and is idle now, attached to."""
        patient = self.patient("--service", "victim", "--instance", name, directory=directory)
        patient.do("lines", 20)
        patient.do("counter", "own.count", 5)
        patient.do("span-start", "s", "running")
        wait_until(lambda: name in self.forwarders(sidecar), what=f"{name} attached to")
        sidecar.await_tick(2)
        return patient

    def start(self):
        self.patient_of_all = self.healthy()
        self.of_all = self.sidecar(interval="100ms")
        self.stream = self.subscriber(self.of_all)
        self.judged = hostile.Judge()
        return self.of_all

    def others_are_served(self):
        self.await_served(self.of_all, self.patient_of_all, self.stream, self.judged)
        self.assertEqual(self.of_all.get("/live").status, 200)
        self.steps += 1

    def await_marked(self, name, sidecar):
        """The status says of that region that it is cut."""
        def marked():
            region = self.forwarders(sidecar)[name]["region"]
            return any(text.startswith("region: cut short") for text in region.get("refused", ()))
        wait_until(marked, what=f"{name} marked")
        self.assertEqual(sidecar.ready(), (503, "region_corrupt"))

    def test_cut_and_restored(self):
        sidecar = self.start()
        for number in range(ROUNDS):
            for share in ("nothing", "half", "a page less"):
                name = f"cut.{share.replace(' ', '_')}.{number}"
                victim = self.victim(sidecar, name)
                size = os.stat(victim.path).st_size
                left = {"nothing": 0, "half": size // 2, "a page less": size - PAGE}[share]
                os.truncate(victim.path, left)
                if share == "a page less":
                    sidecar.await_tick(2)  # whether it is noticed depends on what the page holds
                else:
                    self.await_marked(name, sidecar)
                self.others_are_served()
                os.truncate(victim.path, size)
                sidecar.await_tick(2)
                self.others_are_served()
                os.unlink(victim.path)
                victim.kill()
                wait_until(lambda name=name: self.forwarders(sidecar)[name]["writer"]["state"] ==
                           "crashed", what=f"{name} crashed")
        print(f"figure: cut to nothing, half, a page less, and restored, {ROUNDS} times each: "
              f"{self.steps} times the healthy forwarder was served after it", flush=True)
        self.assertEqual(self.steps, 6 * ROUNDS)

    def test_cut_over_and_over_while_reading(self):
        """A file that is cut and restored all the time, under readings 100 ms apart, and attached to
        by commands."""
        sidecar = self.start()
        victim = self.victim(sidecar, "flapping")
        size = os.stat(victim.path).st_size
        with open(victim.path, "rb") as file:
            data = file.read()
        looks = 0
        for number in range(40 * ROUNDS):
            os.truncate(victim.path, (size // 40) * (number % 40))
            with open(victim.path, "r+b") as file:
                file.write(data)
            if number % 8 == 0:
                command = hostile.harness.Process(
                    [hostile.harness.FWDSCOPE, "dump", "-o", "json", victim.path], self.scratch,
                    stdout=subprocess.DEVNULL)
                os.truncate(victim.path, size // 3)
                command.code = command.popen.wait(hostile.harness.BOUND)
                command.check_reports()
                self.assertIn(command.code, (0, 1, 4), command.errors())
                looks += 1
        self.others_are_served()
        victim.kill()
        print(f"figure: cut {40 * ROUNDS} times at as many places while read: {looks} commands "
              "ended in good order, the healthy forwarder was served", flush=True)

    def test_unlinked_and_renamed_over(self):
        sidecar = self.start()
        victim = self.victim(sidecar, "unlinked")
        os.unlink(victim.path)
        victim.do("lines", 5)
        self.others_are_served()
        self.assertEqual(self.forwarders(sidecar)["unlinked"]["writer"]["state"], "alive")
        for number, data in enumerate((b"", os.urandom(PAGE), os.urandom(1 << 20))):
            other = self.victim(sidecar, f"renamed.{number}")
            path = os.path.join(self.scratch, "junk")
            with open(path, "wb") as file:
                file.write(data)
            os.rename(path, other.path)
            sidecar.await_tick(2)
            self.others_are_served()
            self.assertEqual(self.forwarders(sidecar)[f"renamed.{number}"]["writer"]["state"],
                             "alive")
        print(f"figure: unlinked and renamed over: {self.steps} times the healthy forwarder was "
              "served after it, and so was the one without its name", flush=True)

    def test_full_file_system(self):
        full = os.path.join(self.scratch, "full")
        os.mkdir(full)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", full],
                                 stderr=subprocess.PIPE, check=False)
        if mounted.returncode != 0:
            print(f"figure: a full tmpfs: not run: {mounted.stderr.decode().strip()}", flush=True)
            self.skipTest("no right to mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", full], check=True)
        patient = self.patient("--instance", "on-full", directory=full)
        patient.pipeline()
        with open(os.path.join(full, "filler"), "wb") as file:
            with self.assertRaises(OSError):
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            os.ftruncate(file.fileno(), os.stat(file.name).st_size)
        sidecar = self.sidecar(directory=full, interval="100ms")
        subscriber = self.subscriber(sidecar)
        patient.do("lines", 500)
        wait_until(lambda: len(subscriber.log_bodies()) == 500, what="500 lines")
        inert = hostile.harness.Patient(self.scratch, "--dir", full, "--instance", "late")
        self.processes.append(inert)
        self.assertFalse(inert.is_on)
        self.assertIn("No space left", inert.detail)
        self.assertEqual(sidecar.ready()[0], 200)
        print("figure: a full tmpfs: 500 of 500 lines of the forwarder on it delivered; a further "
              f"one runs without telemetry: {inert.detail[-120:]!r}", flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=0)
