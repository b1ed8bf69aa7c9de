#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fwdscope check: one line and an exit code for every state that a forwarder can be in."""
import os
import shutil
import signal
import time
import unittest

from evidence import Case

HEALTHY, USAGE, ABSENT, UNREADABLE, UNHEALTHY = 0, 2, 3, 4, 5
FAILED, STARTING = 5, 2


class Check(Case):
    def check(self, expected, *arguments, says=(), **more):
        out, errors = self.run_command("check", *arguments, expected=expected, **more)
        self.assertEqual(errors, "")
        self.assert_one_line(out, *says)
        return out

    def ready_patient(self, *options, **more):
        patient = self.patient(*options, **more)
        patient.pipeline()
        return patient

    def test_healthy(self):
        patient = self.ready_patient()
        says = ("healthy: patient", f"pid {patient.pid}", "holds its lock", "components healthy")
        self.check(HEALTHY, patient.path, says=says)
        self.check(HEALTHY, "--ready", patient.path, says=says)
        self.check(HEALTHY, "--dir", self.dir, says=says)
        self.check(HEALTHY, "--ready", environment={"FWDSCOPE_DIR": self.dir}, says=says)

    def test_absent(self):
        self.check(ABSENT, os.path.join(self.dir, "none.fwdscope"), says=["absent: "])
        self.check(ABSENT, "--dir", self.dir, says=["absent: no region at", self.dir])
        self.check(ABSENT, "--dir", self.dir + "/none", says=["absent: "])

    def test_unreadable(self):
        path = os.path.join(self.dir, "junk.fwdscope")
        with open(path, "wb") as file:
            file.write(b"junk" * 4096)
        self.check(UNREADABLE, path, says=["unreadable: ", path])
        self.check(UNREADABLE, "--dir", self.dir, says=["unreadable: ", path])

    def test_exited(self):
        patient = self.ready_patient()
        patient.quit()
        self.check(UNHEALTHY, patient.path, says=["unhealthy: ", "exited", "told to quit"])

    def test_crashed_and_its_next_life(self):
        """A previous life does not count."""
        patient = self.ready_patient()
        patient.kill()
        self.check(UNHEALTHY, patient.path, says=["crashed: its lock is gone"])
        self.check(UNHEALTHY, "--dir", self.dir, says=["crashed: its lock is gone"])
        again = self.ready_patient()
        self.check(HEALTHY, "--dir", self.dir, says=["generation 2", f"pid {again.pid}"])

    def test_a_copy_of_a_living_region(self):
        """The copy has no writer: what it says of itself is not believed."""
        patient = self.ready_patient()
        copy = os.path.join(self.scratch, "copy.fwdscope")
        shutil.copyfile(patient.path, copy)
        self.check(UNHEALTHY, copy, says=["crashed"])

    def test_ready(self):
        patient = self.patient()
        self.check(HEALTHY, patient.path)
        self.check(UNHEALTHY, "--ready", patient.path, says=["no_pipelines_registered"])
        patient.pipeline(healthy=False)
        self.check(UNHEALTHY, "--ready", patient.path, says=["not ready: components_starting"])
        patient.do("health", "in", 0)
        self.check(HEALTHY, "--ready", patient.path)
        patient.do("health", "out", FAILED)
        self.check(UNHEALTHY, "--ready", patient.path, says=["not ready: components_failed"])
        self.check(HEALTHY, patient.path, says=["components failed"])

    def test_the_worst_of_several(self):
        good = self.ready_patient("--instance", "a")
        bad = self.ready_patient("--instance", "b")
        self.check(HEALTHY, "--dir", self.dir, says=["2 forwarders in all"])
        bad.do("health", "out", FAILED)
        self.check(UNHEALTHY, "--ready", "--dir", self.dir, says=["unhealthy: b "])
        bad.kill()
        self.check(UNHEALTHY, "--dir", self.dir, says=["unhealthy: b ", "crashed"])
        good.kill()

    def test_one_that_cannot_be_read_beside(self):
        self.ready_patient()
        with open(os.path.join(self.dir, "junk.fwdscope"), "wb") as file:
            file.write(b"junk" * 4096)
        self.check(HEALTHY, "--dir", self.dir, says=["healthy: patient", "not attached: "])

    def test_max_age_of_records(self):
        """A recent record is a sign of life: no waiting."""
        patient = self.ready_patient()
        patient.do("lines", 1)
        began = time.monotonic()
        self.check(HEALTHY, "--max-age", "1h", patient.path, says=["newest record or batch"])
        self.assertLess(time.monotonic() - began, 20)

    def test_max_age_of_a_heartbeat(self):
        """Without a record the heartbeat is watched until it moves."""
        patient = self.ready_patient("--heartbeat", 50)
        time.sleep(0.6)  # older than what is asked for
        self.check(HEALTHY, "--max-age", "500ms", patient.path)
        patient.do("beat-stop")
        time.sleep(0.6)
        began = time.monotonic()
        self.check(UNHEALTHY, "--max-age", "500ms", patient.path,
                   says=["no heartbeat while watched for 0.5 s"])
        self.assertGreater(time.monotonic() - began, 0.5)

    def test_a_stopped_process(self):
        """SIGSTOP: one look cannot tell, a watched heartbeat can."""
        patient = self.ready_patient("--heartbeat", 50)
        time.sleep(0.4)
        patient.signal(signal.SIGSTOP)
        try:
            time.sleep(0.4)
            self.check(HEALTHY, "--ready", patient.path)
            self.check(UNHEALTHY, "--max-age", "300ms", patient.path, says=["no heartbeat"])
        finally:
            patient.signal(signal.SIGCONT)

    def test_usage(self):
        for arguments, said in ((["--max-age", "5", "--wrong", "x"], "--wrong"),
                                (["--max-age", "0s", "x"], "100ms to 1h"),
                                (["--max-age", "nan", "x"], "100ms to 1h"),
                                (["--max-age"], "needs a value"),
                                (["a", "b"], "more than one"),
                                (["--dir", self.dir, "a"], "exclude each other"),
                                ([], "no region file")):
            _, errors = self.run_command("check", *arguments, expected=USAGE)
            self.assert_one_line(errors, said, "fwdscope check")

    def test_another_user_is_told(self):
        if os.geteuid() != 0:
            self.skipTest("only root can be another user")
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        patient = self.ready_patient()
        os.chmod(self.scratch, 0o755)
        try:
            self.run_command("--version", before=nobody)
        except (AssertionError, OSError) as error:
            self.skipTest(f"another user cannot run the program: {error}")
        self.check(UNREADABLE, patient.path, before=nobody, says=["Permission denied"])

    def test_cost(self):
        patient = self.ready_patient()
        began = time.monotonic()
        for _ in range(10):
            self.check(HEALTHY, "--ready", patient.path)
        print(f"\nfigure: fwdscope check --ready: {(time.monotonic() - began) * 100:.0f} ms a probe"
              " in this build, its start included")


if __name__ == "__main__":
    unittest.main(verbosity=2)
