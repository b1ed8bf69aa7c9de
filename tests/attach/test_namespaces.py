#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--pid across containers: other pid, mount and user namespaces, where the region has no path that
leads to it from here."""
import os
import unittest

import attach
import harness
from attach import Case, works

PID_AND_MOUNT = ["unshare", "--pid", "--fork", "--mount", "--kill-child"]


def why_not():
    if works(*PID_AND_MOUNT, "sh", "-c", "mount -t tmpfs none /mnt"):
        return ""
    return "skipped: making namespaces and mounting in them is not permitted"


@unittest.skipIf(why_not(), why_not())
class Contained(Case):
    def contained(self, *options):
        """A patient that is pid 1 of a namespace, its directory a mount that it alone has."""
        script = 'mount -t tmpfs none "$0" && exec "$@"'
        patient = self.patient(*options, before=[*PID_AND_MOUNT, "sh", "-c", script, self.dir])
        return patient, attach.child_of(patient.pid)

    def end(self, patient, pid):
        """What is started is `unshare`; it reports the end of its child as its own."""
        os.kill(pid, 9)
        patient.code = patient.popen.wait(harness.BOUND)
        patient.popen.stdin.close()
        patient.popen.stdout.close()

    def test_path_of_another_mount_namespace(self):
        patient, pid = self.contained()
        patient.pipeline()
        self.assertFalse(os.path.exists(patient.path))
        out, _ = self.run_command("inspect", "--pid", pid)
        self.assertRegex(out, rf"path +/proc/{pid}/fd/\d+ -> .*\.fwdscope\n")
        self.assertIn("writer      pid 1 in pid namespace", out)
        self.assertIn("verdict     alive", out)
        sidecar = self.sidecar_of(pid)
        sidecar.await_ready(200, "all_components_healthy")
        patient.do("log", 9, "from a container")
        # What list says is the number that it has here.
        listed = [r for r in self.listed() if r.get("written_by") == pid]
        self.assertEqual([(r["state"], r["pid"]) for r in listed], [("alive", 1)])
        text, _ = self.run_command("list")
        self.assertRegex(text, rf"(?m)^alive +{pid} .* /proc/{pid}/fd/\d+ -> ")
        self.end(patient, pid)
        sidecar.await_ready(503, "writer_crashed")
        self.assertIn("from a container", str(self.subscriber(sidecar).await_documents(1, "logs")))

    def test_descriptors_closed(self):
        """The path in the process's own root."""
        patient, pid = self.contained()
        patient.do("close-descriptors")
        out, _ = self.run_command("inspect", "--pid", pid)
        self.assertIn(f"path        /proc/{pid}/root{patient.path}\n", out)
        self.assertIn("verdict     alive", out)
        self.end(patient, pid)

    def test_memfd(self):
        patient, pid = self.contained("--sealed-memfd")
        patient.pipeline()
        self.assertRegex(patient.path, r"^/proc/1/fd/\d+$")  # as it is called in there
        sidecar = self.sidecar_of(pid)
        sidecar.await_ready(200, "all_components_healthy")
        self.assertIn("-> /memfd:fwdscope:", sidecar.status()["region"]["path"])
        self.end(patient, pid)
        sidecar.await_ready(503, "writer_crashed")


@unittest.skipUnless(works("unshare", "--user", "--map-root-user", "true"),
                     "skipped: making a user namespace is not permitted")
class UserNamespace(Case):
    def test_root_of_a_user_namespace(self):
        patient = self.patient("--sealed-memfd",
                               before=["unshare", "--user", "--map-root-user"])
        out, _ = self.run_command("inspect", "--pid", patient.pid)
        self.assertIn("verdict     alive", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
