# SPDX-License-Identifier: Apache-2.0
"""Processes that measure the sidecar as a whole: it, forwarders, clients that read all they get.

Everything listens on 127.0.0.1 and is ended by its own pid, whatever happens. The server has the
last CPU and its load the first, so that neither is measured on the other's caches.
"""
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time
import urllib.request

BOUND = 30.0  # seconds that anything may take that is awaited
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[-1], CPUS[0]


class Failed(Exception):
    """Could not be measured; the message says why."""


def cpu_ns(pid):
    """CPU time of all threads of a process since its start, ended ones too."""
    return round(time.clock_gettime((~pid << 3) | 2) * 1e9)


def thread_cpu_ns(pid, thread):
    return int(pathlib.Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])


def rss_bytes(pid):
    """Resident memory of a process without files and regions on tmpfs that it maps."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    kilobytes = {name: int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", status)}
    return (kilobytes["VmRSS"] - kilobytes["RssShmem"]) * 1024


def wait_until(condition, what):
    deadline = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {BOUND:g} s: {what}")
        time.sleep(0.002)


class Child:
    """A process with lines in and lines out."""

    def __init__(self, arguments, cpu, stdout=subprocess.PIPE, stderr=None):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith("FWDSCOPE_")}

        def prepare():
            os.sched_setaffinity(0, {cpu})
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        self.popen = subprocess.Popen([str(word) for word in arguments], stdin=subprocess.PIPE,
                                      stdout=stdout, stderr=stderr, env=environment,
                                      preexec_fn=prepare)
        self.pid = self.popen.pid

    def line(self, begins):
        """The next line of its output, without what it begins with."""
        text = self.popen.stdout.readline().decode()
        if not text.startswith(begins):
            raise Failed(f"{self.popen.args} says {text!r}, not {begins!r}")
        return text[len(begins):].strip()

    def ask(self):
        """The numbers that it answers an empty line with."""
        self.popen.stdin.write(b"\n")
        self.popen.stdin.flush()
        return [int(number) for number in self.line("").split()]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None:
                stream.close()


class Sidecar(Child):
    """`fwdscope serve`; constructed when it says that it serves."""

    def __init__(self, build, *options):
        super().__init__([build / "fwdscope", "serve", "--listen", "127.0.0.1:0", *options],
                         SERVER_CPU, subprocess.DEVNULL, subprocess.PIPE)
        said = ""
        while "serving http://" not in said:
            line = self.popen.stderr.readline().decode()
            if not line:
                raise Failed(f"the sidecar does not serve: {said}")
            said += line
        os.set_blocking(self.popen.stderr.fileno(), False) # what it says later stays in the pipe
        self.port = int(re.search(r"serving http://[0-9.]+:([0-9]+)/", said)[1])

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=BOUND) as answer:
            return answer.read()

    def sampler(self):
        return json.loads(self.get("/admin/v1/status"))["sampler"]


class Peer(Child):
    """A server of server_peers.c."""

    def __init__(self, build, *arguments):
        super().__init__([build / "tests/bench/server_peers", *arguments], SERVER_CPU)
        self.port = int(self.line("listening "))


class Forwarders(Child):
    """Regions that are written to: see forwarders.c."""

    def __init__(self, build, directory, **options):
        words = [f"--{name}={value}" for name, value in options.items()]
        super().__init__([build / "tests/bench/forwarders", "--dir", directory, *words], LOAD_CPU)
        self.line("ready")

    def stop(self):
        """No more records from the first of them; (lines, spans) that it wrote."""
        return tuple(self.ask())


class Clients(Child):
    """Connections that read and throw away: see clients.c."""

    def __init__(self, build, port, count, path=None):
        words = [] if path is None else [path]
        super().__init__([build / "tests/bench/clients", port, count, *words], LOAD_CPU)
        self.line("ready")

    def bytes(self):
        return self.ask()[0]

    def message_bytes(self):
        """Awaits the end of the next message; what came up to it."""
        before = self.bytes()
        wait_until(lambda: self.bytes() != before, "the next message")
        return self.quiet_bytes()

    def quiet_bytes(self):
        """Awaits a pause between two messages; what came up to it."""
        seen, since = self.bytes(), time.monotonic()
        deadline = since + BOUND
        while time.monotonic() - since < 0.02:
            time.sleep(0.005)
            now = self.bytes()
            if now != seen:
                seen, since = now, time.monotonic()
            if since > deadline:
                raise Failed("the clients are never at rest")
        return seen


STREAM = "/admin/v1/telemetry?backlog=0"


class Directory:
    """A directory for regions, on tmpfs."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="fwdscope-bench-", dir="/dev/shm")
        return self.path

    def __exit__(self, *unused):
        shutil.rmtree(self.path, ignore_errors=True)
