#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may read what: modes and owners of regions and directories, the configuration's secrets, the
token's comparison, and what the sidecar writes to its log."""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import threading
import unittest
from unittest import mock

import abuse
import harness
from abuse import COOKIE, LONG, TOKEN, figure, wait_until
from harness import BUILD, http

TOKEN_WORK = BUILD / "tests" / "abuse" / "token_work"
VALGRIND = os.environ.get("VALGRIND", "valgrind")
NEEDS_ROOT = unittest.skipUnless(os.geteuid() == 0, "needs root: acts as another user")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class Modes(harness.Case):
    """Region files are 0640 and of the directory's group, whatever the umask."""

    def with_umask(self, umask, **more):
        return self.patient(before=["/bin/sh", "-c", f"umask {umask:03o}; exec \"$@\"", "sh"],
                            **more)

    def test_umask(self):
        umasks = (0o000, 0o002, 0o022, 0o027, 0o077, 0o177, 0o777)
        for umask in umasks:
            patient = self.with_umask(umask)
            self.assertEqual(mode(patient.path), 0o640, oct(umask))
            patient.quit()
        figure("region files 0640 whatever the umask", f"{len(umasks)} umasks")

    @NEEDS_ROOT
    def test_group_of_the_directory(self):
        group = 54321
        os.chown(self.dir, 0, group)
        os.chmod(self.dir, 0o2770)
        for umask in (0o022, 0o077):
            patient = self.with_umask(umask)
            self.assertEqual(mode(patient.path), 0o640)
            self.assertEqual(os.stat(patient.path).st_gid, group)
            patient.quit()
        figure("region files get the group of a setgid directory", "2 umasks")


@NEEDS_ROOT
@unittest.skipIf(os.path.exists("/run/fwdscope"), "/run/fwdscope would be the place instead")
class Place(harness.Case):
    """The default directory, /dev/shm/fwdscope-UID, of a user whom nobody else uses."""

    def setUp(self):
        super().setUp()
        self.uid, self.attacker = 64000 + os.getpid() % 900, 65000
        self.place = f"/dev/shm/fwdscope-{self.uid}"
        self.assertFalse(os.path.lexists(self.place), "somebody is there already")
        self.addCleanup(self.remove_place)
        # The program where that user can reach it.
        os.chmod(self.scratch, 0o711)
        self.program = shutil.copy(harness.PATIENT, os.path.join(self.scratch, "program"))
        os.chmod(self.program, 0o755)
        self.elsewhere = os.path.join(self.scratch, "elsewhere")

    def remove_place(self):
        if os.path.islink(self.place) or os.path.isfile(self.place):
            os.unlink(self.place)
        else:
            shutil.rmtree(self.place, ignore_errors=True)

    def victim(self, umask=0o022):
        """A forwarder of that user, without any choice of a directory."""
        before = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups",
                  "/bin/sh", "-c", f"umask {umask:03o}; exec \"$@\"", "sh"]
        with mock.patch.object(harness, "PATIENT", self.program):
            patient = harness.Patient(self.scratch, before=before)
        self.processes.append(patient)
        return patient

    def assert_refused(self, patient):
        """It runs on without telemetry, says why, and touched nothing."""
        self.assertFalse(patient.is_on)
        self.assertIn(self.place, patient.detail)
        self.assertIn("is a link or belongs to somebody else", patient.detail)
        patient.do("lines", 10)
        patient.quit()

    def make_elsewhere(self, owner, permissions):
        os.mkdir(self.elsewhere)
        os.chown(self.elsewhere, owner, owner)
        os.chmod(self.elsewhere, permissions)

    def test_made_private(self):
        for umask in (0o000, 0o022, 0o077):
            patient = self.victim(umask)
            self.assertTrue(patient.is_on, patient.detail)
            self.assertEqual(os.path.dirname(patient.path), self.place)
            self.assertEqual((mode(self.place), os.stat(self.place).st_uid), (0o700, self.uid))
            self.assertEqual((mode(patient.path), os.stat(patient.path).st_uid),
                             (0o640, self.uid))
            patient.quit()
            self.remove_place()
        figure("the default directory is made 0700, owned by the user", "3 umasks")

    def test_foreign_directory(self):
        os.mkdir(self.place)
        os.chown(self.place, self.attacker, self.attacker)
        os.chmod(self.place, 0o777)
        self.assert_refused(self.victim())
        self.assertEqual(os.listdir(self.place), [])
        figure("a directory of somebody else refused", "1, left empty")

    def test_links(self):
        """Set by another user: to his own directory, to one of the victim's, to nothing yet."""
        for owner in (self.attacker, self.uid, None):
            if owner is not None:
                self.make_elsewhere(owner, 0o777)
            os.symlink(self.elsewhere, self.place)
            os.lchown(self.place, self.attacker, self.attacker)
            self.assert_refused(self.victim())
            if owner is None:
                self.assertFalse(os.path.exists(self.elsewhere))
            else:
                self.assertEqual(os.listdir(self.elsewhere), [])
                os.rmdir(self.elsewhere)
            os.unlink(self.place)
        figure("linked directories refused", "3, nothing written where they lead")

    def test_file_in_its_place(self):
        pathlib.Path(self.place).write_bytes(b"mine")
        os.chown(self.place, self.uid, self.uid)
        self.assert_refused(self.victim())
        self.assertEqual(pathlib.Path(self.place).read_bytes(), b"mine")


NAMES = ("password", "passwd", "secret", "token", "api_key", "apikey", "access_key", "private_key",
         "client_secret", "bearer_token", "aws_secret_access_key", "authorization", "credentials",
         "connection_string", "session_key", "webhook", "signing_key", "jwt", "cookie", "sasl_pass")


def planted(number):
    """A configuration full of secrets; each holds the mark, which stands nowhere else."""
    mark = f"PLANTED{number:06d}"
    lines = [f"{name}: {mark}-{name}" for name in NAMES]
    lines += ["outputs:"]
    lines += [f"  - type: http\n    {name}: \"{mark}-{name}\"\n    nested:\n      {name}:\n"
              f"        deeper: [{mark}-list]" for name in NAMES]
    lines += [f"  - url: https://user{mark}:pass{mark}@host.example/path",
              f"  - url: https://host.example/?token={mark}&x=1",
              f"  - headers: {{Authorization: Bearer {mark}}}",
              f"  - command: run --password={mark} --token {mark}"]
    if number % 5 == 4:
        lines += [f"broken: [{mark}"]  # not YAML: nothing of it may be published
    return "\n".join(lines) + "\n"


class Configuration(abuse.Case):
    """What is secret never stands in the region, not for a moment, nor in what is served."""

    def watch(self, path):
        """Reads the region file over and over until it is told to stop."""
        self.found, self.readings, self.stop_watching = [], 0, threading.Event()

        def read_on():
            with open(path, "rb", buffering=0) as region:
                while not self.stop_watching.is_set():
                    region.seek(0)
                    data = region.read()
                    at = data.find(b"PLANTED")
                    if at >= 0:
                        self.found.append(data[at - 40:at + 40])
                    self.readings += 1
        thread = threading.Thread(target=read_on, daemon=True)
        thread.start()
        return thread

    def test_never_unredacted(self):
        count = 2000 if LONG else 100
        patient = self.patient()
        patient.pipeline()
        sidecar = self.locked_sidecar(environment={"FWDSCOPE_UNSAFE_EXPOSE_CONFIG": "1"})
        client = self.good_client(sidecar)
        watcher = self.watch(patient.path)
        path = os.path.join(self.scratch, "config.yaml")
        for number in range(count + 1):  # the last one is sound
            pathlib.Path(path).write_text(planted(number), encoding="ascii")
            patient.do("config", "/etc/patient.yaml", path)
            if number % 10 == 0:
                answer = sidecar.get("/admin/v1/config")
                self.assertNotIn(b"PLANTED", answer.body)
        readings = self.readings
        wait_until(lambda: self.readings >= readings + 2)
        self.stop_watching.set()
        watcher.join()
        self.assertEqual(self.found, [])
        wait_until(lambda: b"host.example" in sidecar.get("/admin/v1/config").body,
                   what="the document")
        outputs = [self.run_command(*command, patient.path)[0] for command in
                   (["dump"], ["dump", "-o", "json"], ["dump", "-o", "otlp"], ["inspect"])]
        sidecar.await_tick()
        outputs += [sidecar.get(what).body.decode() for what in
                    ("/admin/v1/config", "/admin/v1/status")]
        outputs += [text for _, text in client.texts] + [sidecar.errors(), patient.errors()]
        self.assertGreater(sum(map(len, outputs)), 10000)
        for output in outputs:
            self.assertNotIn("PLANTED", output)
        figure("configurations full of secrets, no secret ever in the region or in an answer",
               f"{count}, {self.readings} readings of the whole file meanwhile, "
               f"{len(outputs)} outputs")


class Comparison(unittest.TestCase):
    """Constant time, shown without a clock. token_work holds the secret and is given a guess."""
    SECRET = "0123456789abcdef-secret-token-0123456789"

    def guesses(self):
        """Wrong at one place each, all of one length."""
        return [self.SECRET[:at] + "!" + self.SECRET[at + 1:] for at in range(len(self.SECRET))]

    def valgrind(self, tool, way, guess):
        done = subprocess.run([VALGRIND, *tool, TOKEN_WORK, way, guess], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertIn(done.stdout, ("right\n", "wrong\n"), done.stderr)
        self.assertEqual(done.stdout == "right\n", guess == self.SECRET)
        return done

    def memcheck(self, way, guess):
        return self.valgrind(["--tool=memcheck", "-q", "--error-exitcode=9",
                              f"--suppressions={abuse.HERE / 'strlen.supp'}"], way, guess)

    def test_no_jump_depends_on_the_secret(self):
        """For every secret at once: its bytes are marked, and what they decide is reported."""
        guesses = [self.SECRET, self.guesses()[0], self.guesses()[-1], "", "short",
                   self.SECRET * 3]
        for guess in guesses:
            done = self.memcheck("equal", guess)
            self.assertEqual(done.returncode, 0, done.stderr)
        # The same check must find a comparison that stops at the first difference.
        done = self.memcheck("leak", self.SECRET)
        self.assertEqual(done.returncode, 9)
        self.assertIn("Conditional jump", done.stderr)
        figure("jumps and addresses that depend on the token's bytes", f"0, {len(guesses)} guesses")

    def test_as_many_instructions_wherever_it_differs(self):
        """Through the gate, for both places of a token."""
        for way, function in (("bearer", "gate_check"), ("cookie", "gate_check"),
                              ("equal", "gate_token_equal")):
            counts = set()
            chosen = self.guesses() if LONG else self.guesses()[::13] + self.guesses()[-1:]
            for guess in chosen:
                done = self.valgrind(["--tool=callgrind", "--callgrind-out-file=/dev/null",
                                      f"--toggle-collect={function}"], way, guess)
                counts.add(int(re.search(r"Collected : (\d+)", done.stderr)[1]))
            self.assertEqual(len(counts), 1, f"{way}: {counts}")
            self.assertGreater(min(counts), len(self.SECRET))
            figure(f"instructions for a wrong token ({way}), the same wherever it differs",
                   f"{counts.pop()}, {len(chosen)} guesses")


class Log(abuse.Case):
    """Whatever is asked, however it fails: the log names no secret."""

    def test_no_secret_in_any_line(self):
        patient = self.writing_patient()
        sidecar = self.locked_sidecar("--max-clients", "2")
        wrong = "guessed-" + TOKEN[::-1]
        heads = []
        for token in (TOKEN, wrong):
            for path in ("/", "/admin/v1/status", "/admin/v1/telemetry", f"/?token={token}",
                         f"/?token={token}%00", f"/{token}", f"/admin/v1/config?token={token}"):
                for header in (f"Authorization: Bearer {token}", f"Authorization: Basic {token}",
                               f"Cookie: {COOKIE}={token}; other={token}", f"{token}: x",
                               f"Referer: http://localhost/?token={token}", f"Host: {token}",
                               f"Origin: http://{token}", f"bad line {token}",
                               f"Content-Length: {token}", f"Transfer-Encoding: {token}"):
                    for method in ("GET", "POST", "HEAD", token):
                        heads.append((method, path, header))
        answers = {}
        for method, path, header in heads:
            answer = http(sidecar.port, path, method, [header], bound=30)
            answers[answer.status] = answers.get(answer.status, 0) + 1
        self.assertLessEqual({200, 303, 400, 401, 404, 405, 426}, set(answers))
        for place in ("cmdline", "environ"):  # for all to read, or for the same user
            told = pathlib.Path(f"/proc/{sidecar.pid}/{place}").read_bytes()
            self.assertNotIn(TOKEN.encode(), told)
        clients = [self.good_client(sidecar) for _ in range(2)]
        full = harness.Subscriber(sidecar.port, headers=[("Authorization", f"Bearer {TOKEN}")])
        self.subscribers.append(full)
        self.assertEqual(full.response.status_code, 503)
        patient.do("load-stop")
        for client in clients:
            client.close()
        patient.quit()
        sidecar.stop()
        errors = sidecar.errors()
        for secret in (TOKEN, wrong, TOKEN[:8], wrong[8:16], "Bearer", COOKIE, "token="):
            self.assertNotIn(secret, errors)
        self.assertIn("stopping: SIGTERM", errors)
        figure("requests with tokens, none of them in the log",
               f"{len(heads)}, log of {len(errors)} B, answers "
               + " ".join(f"{status}:{number}" for status, number in sorted(answers.items())))


if __name__ == "__main__":
    unittest.main(verbosity=2)
