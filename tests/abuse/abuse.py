# SPDX-License-Identifier: Apache-2.0
"""What the tests of this group share: a locked sidecar under watch, and load in other processes."""
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402
from harness import wait_until  # noqa: E402

LONG = os.environ.get("FWDSCOPE_LONG") == "1"
TOKEN = "3f1c-right-token-7d~9"
COOKIE = "fwdscope_token"


def figure(claim, numbers):
    print(f"figure: {claim}: {numbers}", flush=True)


def allow_descriptors(count):
    """For what this process holds open itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise RuntimeError(f"this test needs {count} descriptors, the hard limit is {hard}")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class LockedSidecar(harness.Sidecar):
    """Asks its own questions with the token."""

    def get(self, path, **options):
        headers = [f"Authorization: Bearer {TOKEN}", *options.pop("headers", [])]
        return super().get(path, headers=headers, **options)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory_bytes(self):
        return harness.memory_bytes(self.pid)

    def cpu_seconds(self):
        """Of all threads."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Prober:
    """A thread that asks for /live on new connections, all the time, and keeps how long it took."""

    def __init__(self, port, pause_s=0.01):
        self.port, self.pause_s = port, pause_s
        self.seconds, self.troubles = [], []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.wait(self.pause_s):
            begin = time.monotonic()
            try:
                status = harness.http(self.port, "/live", bound=30).status
                if status != 200:
                    self.troubles.append(status)
            except (OSError, IndexError, ValueError) as error:
                self.troubles.append(repr(error))
            self.seconds.append(time.monotonic() - begin)

    def stop(self):
        """(count, p50, p99, worst), times in ms; fails when any was not answered."""
        self.stopping.set()
        self.thread.join(harness.BOUND)
        assert not self.troubles, f"/live: {self.troubles[:5]} of {len(self.seconds)}"
        ms = sorted(1000 * seconds for seconds in self.seconds)
        assert len(ms) > 10, f"only {len(ms)} probes"
        return len(ms), ms[len(ms) // 2], ms[len(ms) * 99 // 100], ms[-1]


def probe_words(numbers):
    return "{} x /live, p50 {:.1f} ms, p99 {:.1f} ms, worst {:.1f} ms".format(*numbers)


class Load:
    """One of the load programs as a child; ends by itself, result() is the object it prints."""

    def __init__(self, program, *arguments):
        self.popen = subprocess.Popen([sys.executable, HERE / program, *map(str, arguments)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        return self.popen.stdout.readline().rstrip("\n")

    def result(self, bound=harness.BOUND):
        output, _ = self.popen.communicate(timeout=bound)
        assert self.popen.returncode == 0, self.popen.returncode
        return json.loads(output)

    def abandon(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.communicate()


class Case(harness.Case):
    """A sidecar that wants a token, and a forwarder that writes all the while."""

    def setUp(self):
        super().setUp()
        self.token_file = os.path.join(self.scratch, "token")
        pathlib.Path(self.token_file).write_text(TOKEN + "\n", encoding="ascii")

    def locked_sidecar(self, *options, interval="200ms", limit=None, environment=None):
        """limit: of descriptors, soft and hard."""
        arguments = ["--dir", self.dir, "--interval", interval, "--token-file", self.token_file,
                     "--probe-listen", "127.0.0.1:0", *options]
        before = [] if limit is None else ["prlimit", f"--nofile={limit}:{limit}"]
        sidecar = LockedSidecar(self.scratch, *arguments, environment=environment, before=before)
        self.processes.append(sidecar)
        return sidecar

    def writing_patient(self):
        patient = self.patient()
        patient.pipeline()
        patient.do("load", 1, 5, 100, 2, 50)
        return patient

    def load(self, program, *arguments):
        load = Load(program, *arguments)
        self.addCleanup(load.abandon)
        return load

    def good_client(self, sidecar):
        client = harness.Subscriber(sidecar.port, backlog=0, rules=False,
                                    headers=[("Authorization", f"Bearer {TOKEN}")])
        self.subscribers.append(client)
        self.assertEqual(client.response.status_code, 101)
        self.first_tick = sidecar.ticks()
        return client

    def check_good_client(self, sidecar, patient, client):
        """It got every tick and every line since it came."""
        last_tick = sidecar.ticks()
        patient.do("load-stop")
        sidecar.await_tick()
        wanted = last_tick - self.first_tick
        client.await_documents(wanted, "metrics")
        # Each tick has its sequence: the sidecar's own counter of ticks, in the document itself.
        numbers = [tick_number(document) for document in client.documents("metrics")]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
        self.assertLessEqual(numbers[0], self.first_tick + 1)
        lines = [int(body.split()[1].partition("=")[2]) for body in client.log_bodies()]
        self.assertGreater(len(lines), 10)
        self.assertEqual(lines, list(range(lines[0], lines[0] + len(lines))))
        self.assertEqual((client.lost("ticks"), client.lost()), (0, 0))
        self.assertIsNone(client.connection.close_code)
        figure("a well-behaved client got every tick and line",
               f"{len(numbers)} ticks, {len(lines)} lines")

    def check_log(self, sidecar, lines_max):
        """No secret in it, and no flood."""
        errors = sidecar.errors()
        self.assertIn("serving http://", errors)
        for secret in (TOKEN, TOKEN[:-1], "Bearer", COOKIE, "Authorization"):
            self.assertNotIn(secret, errors)
        self.assertLess(errors.count("\n"), lines_max, errors[-2000:])


def tick_number(document):
    """fwdscope.sidecar.ticks of a metrics document."""
    return next(int(point["asInt"])
                for _, _, metric in harness.otlp_rules.metrics([document])
                if metric["name"] == "fwdscope.sidecar.ticks"
                for point in metric["sum"]["dataPoints"])
