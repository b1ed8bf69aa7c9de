#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""list: every region of this host once, with its verdict; what cannot be read with the reason."""
import json
import os
import re
import shutil
import unittest

import attach
import dead_region
import harness
from attach import AS_NOBODY, NO_LEAKS, NOBODY, RUNTIME, USAGE, Case


class Listing(Case):
    def region(self, name, data):
        path = os.path.join(self.dir, f"{name}.1.00000000.fwdscope")
        with open(path, "wb") as file:
            file.write(data)
        return path

    def some(self):
        """One of each kind; returns them by state."""
        crashed = self.patient("--instance", "b-crashed")
        crashed.kill()
        exited = self.patient("--instance", "c-exited")
        exited.quit()
        alive = self.patient("--instance", "a-alive")
        data = dead_region.make(self)
        return {"alive": alive.path, "crashed": crashed.path, "exited": exited.path,
                "corrupt": self.region("d", data[:5000]),
                "incompatible": self.region("e", dead_region.patched(data, major=2))}, alive

    def test_text(self):
        paths, alive = self.some()
        out, _ = self.run_command("list", "--dir", self.dir)
        lines = out.splitlines()
        self.assertEqual(lines[0].split(), ["STATE", "PID", "AGE", "SIZE", "GEN", "SERVICE",
                                            "INSTANCE", "WHERE"])
        self.assertEqual([line.split()[0] for line in lines[1:]],
                         ["alive", "crashed", "exited", "corrupt", "incompatible"])
        self.assertRegex(lines[1], rf"^alive +{alive.pid} +\d+s +7\.5M +1  patient   a-alive +"
                                   rf"{re.escape(paths['alive'])}$")
        where = lines[0].index("WHERE")
        for line, state in zip(lines[1:4], ("alive", "crashed", "exited")):
            self.assertEqual(line[where:], paths[state])
        self.assertIn(f"{paths['corrupt']}: truncated", lines[4])
        self.assertIn(f"{paths['incompatible']}: layout 2.0", lines[5])

    def test_json(self):
        paths, alive = self.some()
        regions = self.list_json("--dir", self.dir)["regions"]
        self.assertEqual({r["state"]: r["path"] for r in regions}, paths)
        of = {r["state"]: r for r in regions}
        self.assertEqual([of["alive"][key] for key in ("service", "version", "instance",
                                                       "generation", "pid", "uid")],
                         ["patient", "1.2.3", "a-alive", 1, alive.pid, os.geteuid()])
        self.assertRegex(of["alive"]["uuid"], "^[0-9a-f]{32}$")
        self.assertEqual(of["alive"]["size_bytes"], os.path.getsize(alive.path))
        self.assertLess(of["alive"]["age_seconds"], 3600)
        self.assertNotIn("reason", of["alive"])
        self.assertIn("lock is gone", of["crashed"]["reason"])
        self.assertIn("told to quit", of["exited"]["reason"])
        self.assertIn("truncated", of["corrupt"]["reason"])
        self.assertEqual(of["incompatible"]["service"], "patient")  # identity stays readable

    def test_each_once(self):
        """A region that is found in a directory and in two processes is one entry."""
        patient = self.patient()
        sidecar = self.sidecar_of(patient.pid)
        sidecar.await_tick()
        found = [r for r in self.list_json("--dir", self.dir, "--dir", self.dir, "--all")["regions"]
                 if r["path"] == patient.path]
        self.assertEqual([(r["state"], r["written_by"]) for r in found], [("alive", patient.pid)])

    def test_by_process(self):
        memfd = self.memfd("--service", "s1")
        unlinked = self.patient("--service", "s2")
        os.unlink(unlinked.path)
        elsewhere = self.patient("--service", "s3")
        found = {r["written_by"]: r for r in self.listed()}
        self.assertIn("-> /memfd:fwdscope:s1.1.", found[memfd.pid]["path"])
        self.assertIn(f"{unlinked.path} (deleted)", found[unlinked.pid]["path"])
        self.assertEqual(found[elsewhere.pid]["path"], elsewhere.path)
        self.assertEqual({found[p.pid]["state"] for p in (memfd, unlinked, elsewhere)}, {"alive"})
        # A directory that is named is all that is looked at.
        self.assertEqual([r["path"] for r in self.list_json("--dir", self.dir)["regions"]],
                         [elsewhere.path])

    def test_what_only_a_reader_holds(self):
        """--all: the evidence that a sidecar still has open."""
        patient = self.memfd("--service", "gone")
        sidecar = self.sidecar_of(patient.pid, interval="60s")
        sidecar.await_ready(503, "no_pipelines_registered")
        patient.kill()
        self.assertEqual([r for r in self.listed() if r.get("service") == "gone"], [])
        found = [r for r in self.list_json("--all")["regions"] if r.get("service") == "gone"]
        self.assertEqual([(r["state"], r["read_by"]) for r in found], [("crashed", sidecar.pid)])
        out, _ = self.run_command("list", "--all")
        self.assertIn(f"(read by process {sidecar.pid})", out)
        out, _ = self.run_command("dump", found[0]["path"].split(" -> ")[0])
        self.assertIn("crashed", out)

    def test_nothing(self):
        out, errors = self.run_command("list", "--dir", self.dir)
        self.assertEqual(out, "")
        self.assert_one_line(errors, "no regions", "--dir", "FWDSCOPE_DIR")
        out, _ = self.run_command("list", "--dir", self.dir, "-o", "json")
        self.assertEqual(json.loads(out), {"regions": [], "processes": 0, "processes_denied": 0})

    def test_missing_directory(self):
        path = os.path.join(self.scratch, "nowhere")
        regions = self.list_json("--dir", path)["regions"]
        self.assertEqual(regions, [{"state": "not found", "path": path,
                                    "reason": f"{path}: No such file or directory"}])

    def test_a_directory_with_too_many_entries(self):
        """What is not looked at is said."""
        for i in range(65536 + 10):
            os.close(os.open(os.path.join(self.dir, f"{i}"), os.O_CREAT | os.O_WRONLY))
        out, _ = self.run_command("list", "--dir", self.dir)
        self.assertIn("not all were looked at", out)
        sidecar = self.sidecar()
        harness.wait_until(lambda: "not all were looked at" in sidecar.errors(),
                           what="the sidecar's word of it")

    def test_environment(self):
        patient = self.patient()
        found = self.list_json(environment={"FWDSCOPE_DIR": self.dir})["regions"]
        self.assertIn(patient.path, [r["path"] for r in found])

    def test_usage(self):
        for arguments, *parts in ((["--bogus"], "--bogus"), (["here"], "'here'"),
                                  (["-o", "xml"], "-o xml", "text or json"),
                                  (["--dir"], "--dir needs a value"),
                                  (["--dir", ""], "--dir needs a value")):
            out, errors = self.run_command("list", *arguments, expected=USAGE)
            self.assertEqual(out, "")
            self.assert_one_line(errors, "--help", *parts)
        out, _ = self.run_command("list", "--help")
        self.assertIn("usage: fwdscope list", out)
        with open("/dev/full", "wb") as full:
            process = harness.Process([harness.FWDSCOPE, "list", "-o", "json"], self.scratch,
                                      stdout=full)
            process.wait(RUNTIME)
        self.assertIn("No space left", process.errors())

    def test_safe_on_a_terminal(self):
        self.patient("--service", "a\x1b[31mred\u00e9", "--instance", "\x9b2J")
        out, _ = self.run_command("list", "--dir", self.dir)
        self.assertFalse([c for c in out if c != "\n" and (ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0)])
        self.assertIn("red\u00e9", out)

    def test_200_regions(self):
        for what in (self.dir, "memfd"):
            herd = self.herd(200, what)
            regions = [r for r in self.list_json()["regions"] if r.get("written_by") in herd.pids]
            self.assertEqual([(r["state"], r["instance"]) for r in regions],
                             [("alive", f"herd-{i:03}") for i in range(200)])
            self.assertEqual(len({r["uuid"] for r in regions}), 200)
            if what == self.dir:
                sidecar = self.sidecar()
                sidecar.await_tick()
                self.assertEqual(len(sidecar.status()["forwarders"]), 200)
                sidecar.stop()
            herd.quit()


@unittest.skipIf(attach.why_not_root(), attach.why_not_root())
class Users(Case):
    """The default directory of another user, whose forwarder names none."""

    def setUp(self):
        super().setUp()
        self.theirs = f"/dev/shm/fwdscope-{NOBODY}"
        if os.path.exists("/run/fwdscope"):
            self.skipTest("skipped: /run/fwdscope exists, so that forwarders choose it")
        if not os.path.exists(self.theirs):
            self.addCleanup(shutil.rmtree, self.theirs, ignore_errors=True)

    def theirs_alive(self):
        patient = harness.Patient(self.scratch, "--service", "theirs", before=AS_NOBODY,
                                  environment=NO_LEAKS)
        self.processes.append(patient)
        self.assertTrue(patient.is_on, patient.detail)
        self.assertTrue(patient.path.startswith(self.theirs + "/"), patient.path)
        return patient

    def test_root_sees_all(self):
        patient = self.theirs_alive()
        patient.pipeline()
        found = [r for r in self.list_json()["regions"] if r["path"] == patient.path]
        self.assertEqual([(r["state"], r["uid"]) for r in found], [("alive", NOBODY)])
        sidecar = harness.Sidecar(self.scratch, "--interval", "100ms")
        self.processes.append(sidecar)
        # Others may run on this host: theirs are here too.
        sidecar.await_tick()
        status = sidecar.status()
        paths = [status["region"]["path"]] + [f["region"]["path"]
                                              for f in status.get("forwarders", [])]
        self.assertIn(patient.path, paths)

    def test_nobody_hides_the_crash_of_another(self):
        """Lives of one instance are those of one directory, whatever another user's regions say."""
        patient = self.theirs_alive()
        patient.kill()
        with open(patient.path, "rb") as file:
            data = file.read()
        evil = "/dev/shm/fwdscope-64997"
        self.assertFalse(os.path.lexists(evil))
        os.mkdir(evil)
        self.addCleanup(shutil.rmtree, evil)
        for i in range(2):
            with open(f"{evil}/theirs.{i}.fwdscope", "wb") as file:
                file.write(dead_region.patched(data, generation=2**40 + i, uuid=i))
        os.chown(evil, 64997, 64997)
        sidecar = harness.Sidecar(self.scratch, "--interval", "100ms")
        self.processes.append(sidecar)
        sidecar.await_tick()
        status = sidecar.status()
        paths = [f["region"]["path"] for f in status["forwarders"]]
        self.assertIn(patient.path, paths)
        self.assertIn(f"{evil}/theirs.1.fwdscope", paths)

    def test_a_crowd_in_dev_shm_hides_nobody(self):
        """Anybody may fill it with names."""
        patient = self.theirs_alive()
        crowd = [f"/dev/shm/{os.path.basename(self.scratch)}.{i}" for i in range(66000)]
        try:
            for path in crowd:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            found = [r["path"] for r in self.list_json()["regions"]]
        finally:
            for path in crowd:
                if os.path.exists(path):
                    os.unlink(path)
        self.assertIn(patient.path, found)

    def test_a_name_is_believed_of_its_owner_only(self):
        """A directory that somebody made in another's name, and a link, are not looked into."""
        patient = self.patient("--service", "posed")
        for uid, make in (("64999", lambda path: shutil.copytree(self.dir, path)),
                          ("64998", lambda path: os.symlink(self.dir, path))):
            path = f"/dev/shm/fwdscope-{uid}"
            self.assertFalse(os.path.lexists(path))
            make(path)
            self.addCleanup(shutil.rmtree if uid == "64999" else os.unlink, path)
        found = [r for r in self.list_json()["regions"] if r.get("service") == "posed"]
        self.assertEqual([(r["path"], r["written_by"]) for r in found],
                         [(patient.path, patient.pid)])

    def test_others_see_what_they_may(self):
        mine = self.patient()
        theirs = self.theirs_alive()
        os.chmod(self.scratch, 0o755)
        os.chmod(self.dir, 0o755)
        out, errors = self.run_command("list", "-o", "json", before=AS_NOBODY, environment=NO_LEAKS)
        answer = json.loads(out)
        self.assertEqual([r["path"] for r in answer["regions"]], [theirs.path])
        self.assertGreater(answer["processes_denied"], 0)
        self.assert_one_line(errors, "another user's", "root", "CAP_SYS_PTRACE")
        # Named, it is listed with the reason.
        out, _ = self.run_command("list", "-o", "json", "--dir", self.dir, before=AS_NOBODY,
                                  environment=NO_LEAKS)
        self.assertEqual([(r["state"], r["reason"]) for r in json.loads(out)["regions"]],
                         [("denied", f"{mine.path}: Permission denied")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
