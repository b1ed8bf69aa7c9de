# SPDX-License-Identifier: Apache-2.0
"""What the tests of evidence share: a victim, how it ended, and what its region tells."""
import json
import os
import pathlib
import re
import resource
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402

PLAIN = harness.BUILD / "tests" / "evidence" / "victim"
CHECKED = harness.BUILD / "tests" / "evidence" / "victim_checked"


class Victim:
    """A victim that runs, or ran: its raw wait status, both outputs, its region."""

    def __init__(self, case, *arguments, program=PLAIN, stderr=None, preexec=None,
                 directory=None):
        self.case = case
        self.work = os.path.join(case.scratch, f"victim.{case.victims}")
        case.victims += 1
        os.mkdir(self.work)
        directory = directory or self.work  # the next life would remove this one's region
        self.stderr_path = os.path.join(self.work, "stderr")
        self.stdout_path = os.path.join(self.work, "stdout")

        def prepare():
            resource.setrlimit(resource.RLIMIT_CORE, (64 << 20, 64 << 20))
            os.chdir(self.work)
            if preexec is not None:
                preexec()

        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as errors:
            self.popen = subprocess.Popen(
                [str(program), "--dir", directory, *map(str, arguments)], stdin=subprocess.PIPE,
                stdout=out, stderr=errors if stderr is None else stderr, preexec_fn=prepare)
        self.pid = self.popen.pid
        case.addCleanup(self.abandon)
        self.status = None

    def wait(self):
        """Awaits the end; returns the status as the kernel gives it, core flag included."""
        def ended():
            pid, self.status = os.waitpid(self.pid, os.WNOHANG)
            return pid != 0
        harness.wait_until(ended, what="the victim's end")
        self.popen.returncode = os.waitstatus_to_exitcode(self.status)
        self.popen.stdin.close()
        for core in pathlib.Path(self.work).glob("core*"):
            core.unlink()
        return self.status

    def abandon(self):
        if self.status is None:
            self.popen.kill()
            self.wait()

    def says(self):
        return pathlib.Path(self.stdout_path).read_text()

    def errors(self):
        return pathlib.Path(self.stderr_path).read_bytes()

    def word(self, name):
        """What stands behind a word of its output."""
        found = re.search(rf"^{name} (.*)$", self.says(), re.M)
        assert found, f"no {name!r} in {self.says()!r}"
        return found[1]

    @property
    def region(self):
        return self.word("on")

    def await_word(self, word):
        harness.wait_until(lambda: word in self.says(), what=word)


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        self.victims = 0

    def ended(self, *arguments, **more):
        """A victim that came to its end."""
        victim = Victim(self, *arguments, **more)
        victim.wait()
        return victim

    def dump(self, path):
        """The dump as an object."""
        return json.loads(self.run_command("dump", "-o", "json", path)[0])

    def writer(self, path):
        return self.dump(path)["status"]["writer"]

    def lines(self, path):
        """Log lines of a dead region: (body, attributes)."""
        document = self.dump(path).get("logs")
        logs = harness.otlp_rules.log_records([document]) if document else []
        return [(log["body"]["stringValue"], harness.otlp_rules.attributes(log), log)
                for log in logs]

    def captured(self, path):
        """Lines of standard error in the region."""
        return [body for body, attributes, _ in self.lines(path)
                if attributes.get("log.iostream") == "stderr"]
