# SPDX-License-Identifier: Apache-2.0
"""What is installed for a host: units that systemd takes, the directory, and that the sandbox of the
service leaves the sidecar all that it does."""
import os
import pathlib
import re
import stat
import subprocess
import unittest

from host import harness

HOST_GROUP = "fwdscope"


def command(*words, expected=0):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    if done.returncode != expected:
        raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}: {text}")
    return text


def syscalls_of(group):
    """The calls that systemd means by a filter group, groups inside it resolved."""
    names = set()
    for line in command("systemd-analyze", "syscall-filter", group).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            names |= syscalls_of(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


def allowed(unit):
    """The calls that the service's SystemCallFilter= lines leave, in their order."""
    names = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        take = not line.startswith("~")
        for word in line.lstrip("~").split():
            some = syscalls_of(word) if word.startswith("@") else {word}
            names = names | some if take else names - some
    return names


class Units(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.root = pathlib.Path(harness.tempfile.mkdtemp(prefix="fwdscope-host-"))
        cls.addClassCleanup(harness.shutil.rmtree, cls.root, ignore_errors=True)
        subprocess.run(["cmake", "--install", harness.BUILD], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DESTDIR": str(cls.root)})
        cls.prefix = next(cls.root.glob("**/lib/systemd/system")).parents[2]
        cls.service = cls.prefix / "lib/systemd/system/fwdscope.service"

    def test_systemd_takes_the_units(self):
        """As installed, but for the root that they were installed below."""
        for unit in self.service.parent.iterdir():
            text = unit.read_text().replace("ExecStart=", f"ExecStart={self.root}")
            (pathlib.Path(self.scratch) / unit.name).write_text(text)
        said = command("systemd-analyze", "verify", "--man=no",
                       *pathlib.Path(self.scratch).glob("fwdscope.s*"))
        self.assertNotIn("fwdscope", said)

    def test_it_is_started_again_for_ever(self):
        """The manager's own limit would leave it dead after five ends within ten seconds."""
        text = self.service.read_text()
        self.assertIn("\nStartLimitIntervalSec=0\n", text.partition("[Service]")[0])
        self.assertIn("\nRestart=on-failure\n", text)

    def test_exposure_is_small(self):
        said = command("systemd-analyze", "security", "--offline=yes", "--threshold=25",
                       str(self.service))
        level = re.search(r"Overall exposure level for fwdscope.service: ([0-9.]+)", said)
        print(f"figure: exposure of the systemd unit: {level[1]} of 10 (systemd-analyze security)")
        self.assertLess(float(level[1]), 2.5)

    def test_program_is_where_the_service_looks(self):
        program = re.search(r"^ExecStart=(\S+) serve", self.service.read_text(), re.MULTILINE)[1]
        self.assertTrue(os.access(f"{self.root}{program}", os.X_OK), program)

    def test_options_are_those_of_the_program(self):
        words = re.search(r"^ExecStart=\S+ serve (.*)$", self.service.read_text(), re.MULTILINE)[1]
        said, _ = self.run_command("serve", "--help")
        for option in re.findall(r"--[a-z-]+", words):
            self.assertIn(f"  {option} ", said)

    @unittest.skipIf(os.geteuid() != 0, "skipped: making the group and the directory needs root")
    def test_directory_gives_its_group_to_regions(self):
        root = pathlib.Path(self.scratch) / "host"
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        command("systemd-sysusers", f"--root={root}", self.prefix / "lib/sysusers.d/fwdscope.conf")
        group = re.search(rf"^{HOST_GROUP}:x:(\d+):$", (root / "etc/group").read_text(),
                          re.MULTILINE)
        self.assertTrue(group, "no group was made")
        command("systemd-tmpfiles", "--create", f"--root={root}",
                self.prefix / "lib/tmpfiles.d/fwdscope.conf")
        made = os.stat(root / "run/fwdscope")
        self.assertEqual(stat.S_IMODE(made.st_mode), 0o2770)
        self.assertEqual((made.st_uid, made.st_gid), (0, int(group[1])))
        self.as_the_service(str(root / "run/fwdscope"), int(group[1]))

    def as_the_service(self, directory, gid):
        """A forwarder of one user, the sidecar of another, with that group alone in common."""
        for parent in pathlib.Path(directory).parents:
            if str(parent).startswith(self.scratch):
                parent.chmod(0o755)
        # Programs of the build may lie where another user cannot look.
        binaries = pathlib.Path(self.scratch) / "bin"
        binaries.mkdir()
        for program in (harness.FWDSCOPE, harness.PATIENT):
            harness.shutil.copy(program, binaries)
        binaries.chmod(0o755)
        patient = harness.Process(
            ["setpriv", "--reuid=61001", "--regid=61001", f"--groups={gid}", "--no-new-privs",
             binaries / "patient", "--dir", directory], self.scratch,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.processes.append(patient)
        patient.quit = lambda: (patient.popen.stdin.write(b"quit\n"),
                                patient.popen.stdin.flush(), patient.wait(0))
        on = patient.popen.stdout.readline().decode()
        self.assertTrue(on.startswith("on "), on)
        region = os.stat(on.split()[1])
        self.assertEqual((region.st_uid, region.st_gid, stat.S_IMODE(region.st_mode)),
                         (61001, gid, 0o640))
        sidecar = harness.Process(
            ["setpriv", "--reuid=61002", "--regid=61002", f"--groups={gid}", "--no-new-privs",
             "--bounding-set=-all", binaries / "fwdscope", "serve", "--listen", "127.0.0.1:0",
             "--interval", "100ms", "--dir", directory], self.scratch)
        self.addCleanup(sidecar.abandon)
        harness.wait_until(lambda: "serving" in sidecar.errors(), what="serving")
        self.assertIn("attached to", sidecar.errors())
        port = int(re.search(r"serving http://127.0.0.1:(\d+)/", sidecar.errors())[1])
        status = harness.http(port, "/admin/v1/status").json()
        self.assertEqual(status["writer"]["state"], "alive")
        sidecar.signal(harness.signal.SIGTERM)
        sidecar.wait(0)

    def test_filter_leaves_the_sidecar_its_system_calls(self):
        trace = os.path.join(self.scratch, "trace")
        patient = self.patient()
        patient.pipeline()
        sidecar = self.sidecar(before=["strace", "-f", "-qq", "-o", trace],
                               environment={"ASAN_OPTIONS": "detect_leaks=0"})
        child = int(pathlib.Path(f"/proc/{sidecar.pid}/task/{sidecar.pid}/children").read_text())
        subscriber = self.subscriber(sidecar)
        subscriber.await_documents(3, "metrics")
        self.assertEqual(sidecar.get("/").status, 200)
        patient.kill()
        sidecar.await_ready(503, "writer_crashed")
        os.kill(child, harness.signal.SIGTERM)
        sidecar.wait(0)
        text = pathlib.Path(trace).read_text()
        # From the first line of the program's own on: what loads it is systemd's to allow.
        used = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[( ]", text, re.MULTILINE))
        used -= {"execve", "exit", "exit_group", "resumed"}
        self.assertIn("epoll_wait", used)
        self.assertEqual(used - allowed(self.service.read_text()), set(),
                         "calls that the unit forbids")


if __name__ == "__main__":
    unittest.main(verbosity=2)
