# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: real processes, HTTP and WebSocket over real sockets.

FWDSCOPE_BUILD names the directory of the binaries (default: build/ of the tree). Nothing here
sleeps for a fixed time: wait_until() awaits a condition, with a bound that only a failure reaches.
"""
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from websockets.client import ClientConnection
from websockets.frames import Opcode
from websockets.uri import parse_uri

import otlp_rules

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FWDSCOPE_BUILD", ROOT / "build"))
FWDSCOPE = BUILD / "fwdscope"
PATIENT = BUILD / "tests" / "e2e" / "patient"

BOUND = 60.0  # seconds; generous, because sanitizers and a loaded machine are slow
REPORTS = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "UndefinedBehaviorSanitizer",
           "runtime error:")


def sanitizer():
    """"address", "thread", or "" for a build without."""
    binary = FWDSCOPE.read_bytes()
    return "address" if b"__asan_init" in binary else "thread" if b"__tsan_init" in binary else ""


SANITIZER = sanitizer()


def wait_until(condition, bound=BOUND, what="the condition"):
    """Awaits a true result of `condition` and returns it."""
    deadline = time.monotonic() + bound
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound:g} s: {what}")
        time.sleep(0.005)


# ---- processes -----------------------------------------------------------------------------------


class Process:
    """A child whose standard error goes to a file; ended by its own pid, exit code asserted."""

    def __init__(self, arguments, scratch, environment=None, stdin=None, stdout=None):
        log, self.log_path = tempfile.mkstemp(dir=scratch, suffix=".stderr")
        self.arguments = [str(argument) for argument in arguments]
        variables = {key: value for key, value in os.environ.items()
                     if not key.startswith("FWDSCOPE_")}
        # A small quarantine, so that the memory of a process is its own and not ASan's.
        variables["ASAN_OPTIONS"] = "quarantine_size_mb=4:" + variables.get("ASAN_OPTIONS", "")
        variables.update(environment or {})
        self.popen = subprocess.Popen(self.arguments, stdin=stdin, stdout=stdout, stderr=log,
                                      env=variables)
        os.close(log)
        self.pid = self.popen.pid
        self.code = None

    def errors(self):
        return pathlib.Path(self.log_path).read_bytes().decode("utf-8", "replace")

    def wait(self, expected, bound=BOUND):
        """Awaits the end; the exit code must be `expected` (negative: the signal)."""
        self.code = self.popen.wait(bound)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()
        self.check_reports()
        assert self.code == expected, \
            f"{self.arguments} ended with {self.code}, not {expected}: {self.errors()[-2000:]}"

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.wait(-signal.SIGKILL)

    def check_reports(self):
        errors = self.errors()
        assert not any(report in errors for report in REPORTS), errors[-8000:]

    def abandon(self):
        """After a failure: no questions asked."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def whereabouts(self):
        """What can be seen of it from outside: how it ended, or of each thread whether it runs and
        the system call that it waits in."""
        if self.popen.poll() is not None:
            return f"ended with {self.popen.returncode}"
        threads = []
        for task in sorted(pathlib.Path(f"/proc/{self.pid}/task").iterdir()):
            facts = [task.name]
            for name in ("stat", "wchan", "syscall"):
                try:
                    text = (task / name).read_text()
                    # Of stat the state and, in ticks, what it ran in user and in kernel mode.
                    words = text.rpartition(")")[2].split()
                    facts += [words[i] for i in (0, 11, 12)] if name == "stat" else [text.strip()]
                except OSError as error: # it ended, or one may not look
                    facts.append(error.strerror)
            threads.append(" ".join(facts))
        return "threads: " + "; ".join(threads)

    def give_up(self, what):
        """A failure to come up or to answer: says all that is known, and ends it."""
        where = self.whereabouts()
        self.abandon()
        self.code = self.popen.returncode
        raise AssertionError(f"{self.arguments} {what}; {where}; it said: {self.errors()[-4000:]!r}")


class Sidecar(Process):
    """`fwdscope serve` on a port of its own; constructed when it says that it serves."""

    def __init__(self, scratch, *options, environment=None, listen="127.0.0.1:0", before=(),
                 program=FWDSCOPE):
        super().__init__([*before, program, "serve", "--listen", listen, *options], scratch,
                         environment)
        try:
            wait_until(lambda: self.popen.poll() is not None or "serving http://" in self.errors())
        except AssertionError:
            self.give_up(f"does not serve within {BOUND:g} s")
        found = re.search(r"serving http://([0-9.]+):([0-9]+)/", self.errors())
        assert found, f"it does not serve: {self.errors()}"
        self.port = int(found[2])
        probe = re.search(r"probes on [0-9.]+:([0-9]+)", self.errors())
        self.probe_port = int(probe[1]) if probe else None

    def get(self, path, **options):
        return http(self.port, path, **options)

    def status(self):
        return self.get("/admin/v1/status").json()

    def ready(self):
        """(status, reason)"""
        answer = self.get("/ready")
        return answer.status, answer.json()["reason"]

    def ticks(self):
        return self.status()["sampler"]["ticks"]

    def await_ready(self, status, reason, bound=BOUND):
        wait_until(lambda: self.ready() == (status, reason), bound,
                   f"{status} {reason}, last {self.ready()}")

    def await_tick(self, more=1):
        """Awaits readings that began after this call: the one at hand may have begun before."""
        target = self.ticks() + 1 + more
        wait_until(lambda: self.ticks() >= target, what="a tick")

    def stop(self, bound=BOUND):
        self.signal(signal.SIGTERM)
        self.wait(0, bound)


class Patient(Process):
    """The command-driven forwarder of patient.c."""

    def __init__(self, scratch, *options, environment=None, before=(), program=PATIENT):
        super().__init__([*before, program, *options], scratch, environment,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        state, _, self.detail = self._line().partition(" ")
        if state not in ("on", "off"):
            self.give_up(f"begins with {state!r}")
        self.is_on = state == "on"
        self.path = self.detail if self.is_on else None

    def _line(self, bound=BOUND):
        ready, _, _ = select.select([self.popen.stdout], [], [], bound)
        if not ready:
            self.give_up(f"says nothing for {bound:g} s")
        return self.popen.stdout.readline().decode().rstrip("\n")

    def send(self, *words):
        """A command without waiting for its answer. Each word is encoded."""
        line = " ".join(encode(word) for word in words)
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def do(self, *words, bound=BOUND):
        """A command; returns the numbers of its answer."""
        self.send(*words)
        answer = self._line(bound)
        assert answer == "ok" or answer.startswith("ok "), f"{words}: {answer!r}: {self.errors()}"
        return [int(number) for number in answer.split()[1:]]

    def pipeline(self, name="main", healthy=True):
        """A pipeline of the input "in", a transform and the output "out"."""
        self.do("pipeline", name)
        self.do("input", "in", "file")
        self.do("transform", "SELECT * FROM lines")
        self.do("output", "out", "otlp")
        if healthy:
            self.do("health", "in", 0)

    def quit(self):
        self.send("quit")
        self.wait(0)


def encode(word):
    """A word of a command: any bytes, those that separate words percent-encoded."""
    data = word if isinstance(word, bytes) else str(word).encode()
    return "".join(chr(byte) if 0x20 < byte < 0x7f and byte != 0x25 else f"%{byte:02x}"
                   for byte in data)


def run(arguments, scratch, expected, environment=None, before=(), program=FWDSCOPE):
    """Runs a command to its end; returns (stdout, stderr) as text."""
    out_path = os.path.join(scratch, f"out.{time.monotonic_ns()}")
    with open(out_path, "wb") as out:
        process = Process([*before, program, *arguments], scratch, environment, stdout=out)
        process.wait(expected)
    return pathlib.Path(out_path).read_text(), process.errors()


def memory_bytes(pid):
    """Resident memory of a process."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def cpu_ns(pid):
    """CPU time of a process's first thread, in ns."""
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


# ---- HTTP ----------------------------------------------------------------------------------------


class Response:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def json(self):
        return otlp_rules.parse_json(self.body.decode())


def connect(where, bound=BOUND, receive_buffer=None):
    """A connection to a port of 127.0.0.1, or to the unix socket at a path."""
    on_path = isinstance(where, str)
    connection = socket.socket(socket.AF_UNIX if on_path else socket.AF_INET)
    connection.settimeout(bound)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(where if on_path else ("127.0.0.1", where))
    return connection


def host_of(where):
    return "localhost" if isinstance(where, str) else f"127.0.0.1:{where}"


def http(where, path, method="GET", headers=(), body=b"", bound=BOUND):
    """One request on a connection of its own, read to its end; path goes out as it is."""
    with connect(where, bound) as connection:
        head = [f"{method} {path} HTTP/1.1", f"Host: {host_of(where)}", "Connection: close",
                *headers, *([f"Content-Length: {len(body)}"] if body else []), "", ""]
        connection.sendall("\r\n".join(head).encode() + body)
        raw = b""
        while True:
            got = connection.recv(1 << 16)
            if not got:
                return Response(raw)
            raw += got


# ---- the stream ----------------------------------------------------------------------------------


class Subscriber:
    """A WebSocket client. A thread reads; documents are parsed and judged when they are asked for.

    rules=False: JSON only, for tests whose messages are many and large. keep=False: of those, the
    documents are not kept, and of a log line only its beginning.
    """

    def __init__(self, where, backlog=None, headers=(), receive_buffer=None, rules=True, keep=True):
        query = "" if backlog is None else f"?backlog={backlog}"
        self.connection = ClientConnection(
            parse_uri(f"ws://{host_of(where)}/admin/v1/telemetry{query}"), max_size=None)
        self.checker = otlp_rules.Checker() if rules else None
        self.keep = keep
        self.texts = []      # (monotonic time of the last byte, text)
        self.parsed = []     # (kind, document, monotonic time)
        self.bodies, self.losses, self.ended_spans, self.running_spans = [], [], [], []
        self.response = None # a refusal: the HTTP response
        self.reading = threading.Event()
        self.reading.set()
        self.ended = False
        self.part = b""
        self.connected = time.monotonic()
        self.socket = connect(where, None, receive_buffer)
        request = self.connection.connect()
        for name, value in headers:
            request.headers[name] = value
        self.connection.send_request(request)
        self._flush()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        wait_until(lambda: self.ended or self.response is not None, what="an answer to the upgrade")

    def _flush(self):
        for data in self.connection.data_to_send():
            if data:
                self.socket.sendall(data)

    def _read(self):
        try:
            while True:
                self.reading.wait()
                data = self.socket.recv(1 << 16)
                if not data:
                    self.connection.receive_eof()
                    break
                self.connection.receive_data(data)
                self._flush()
                for event in self.connection.events_received():
                    self._take(event)
        except OSError:
            pass
        self.ended = True

    def _take(self, event):
        if not hasattr(event, "opcode"):
            self.response = event
            return
        if event.opcode in (Opcode.TEXT, Opcode.CONT):
            self.part += event.data
            if event.fin:
                self.texts.append((time.monotonic(), self.part.decode("utf-8")))
                self.part = b""
        assert event.opcode is not Opcode.BINARY, "a binary message"

    def pump(self):
        """Parses and judges what came; returns all documents so far."""
        for at, text in self.texts[len(self.parsed):]:
            if self.checker is not None:
                kind, document = self.checker.check(text)
            else:
                document = json.loads(text)
                kind = otlp_rules.kind_of(document)
            self.parsed.append((kind, document if self.keep else None, at))
            if not self.keep:
                self.texts[len(self.parsed) - 1] = None
            if kind == "logs":
                self._sort_logs(document)
            elif kind == "spans":
                self._sort_spans(document)
        return self.parsed

    def _sort_logs(self, document):
        for log in otlp_rules.log_records([document]):
            if otlp_rules.is_loss(log):
                self.losses.append(otlp_rules.attributes(log))
            else:
                body = log["body"]["stringValue"]
                self.bodies.append(body if self.keep else body[:32])

    def _sort_spans(self, document):
        for span in otlp_rules.spans([document]):
            running = otlp_rules.attributes(span).get("in_progress")
            (self.running_spans if running else self.ended_spans).append(span)

    def documents(self, kind):
        return [document for what, document, _ in self.pump() if what == kind]

    def await_documents(self, count, kind, bound=BOUND):
        return wait_until(lambda: len(self.documents(kind)) >= count and self.documents(kind),
                          bound, f"{count} documents of {kind}")

    def log_bodies(self):
        self.pump()
        return self.bodies

    def lost(self, what="log_records"):
        """The sum over the loss notices."""
        self.pump()
        return sum(loss.get(f"fwdscope.lost.{what}", 0) for loss in self.losses)

    def finished_spans(self):
        self.pump()
        return self.ended_spans

    def active_spans(self):
        self.pump()
        return self.running_spans

    def close_code(self, bound=BOUND):
        """Awaits the end and returns the code of the server's close frame."""
        wait_until(lambda: self.ended, bound, "the end of the stream")
        return self.connection.close_code

    def close(self):
        self.reading.set()
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(BOUND)
        self.socket.close()


# ---- a test --------------------------------------------------------------------------------------


class Case(unittest.TestCase):
    """Gives a test its scratch directory on tmpfs and ends what it started.

    What a test leaves running is ended in good order and must end with 0.
    """

    def run(self, result=None):
        """A failed test shows what its processes said."""
        before = len(result.failures) + len(result.errors)
        self.processes, self.subscribers, self.said = [], [], []
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for text in self.said:
                print(text, flush=True)
        return result

    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="fwdscope-e2e-", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.dir = os.path.join(self.scratch, "regions")
        os.mkdir(self.dir)
        self.addCleanup(self._stop_all)

    def _stop_all(self):
        for subscriber in self.subscribers:
            subscriber.close()
        try:
            for process in self.processes:
                if process.code is None and process.popen.poll() is None:
                    process.stop() if isinstance(process, Sidecar) else process.quit()
                elif process.code is None:
                    process.wait(0)
        finally:
            for process in self.processes:
                process.abandon()
                self.said.append(f"---- {process.arguments}\n{process.errors()[-4000:]}")

    def sidecar(self, *options, interval="100ms", directory=None, **more):
        where = [] if "--region" in options else ["--dir", directory or self.dir]
        sidecar = Sidecar(self.scratch, *where, "--interval", interval, *options, **more)
        self.processes.append(sidecar)
        return sidecar

    def patient(self, *options, directory=None, **more):
        """A forwarder whose shim is on."""
        patient = Patient(self.scratch, "--dir", directory or self.dir, *options, **more)
        self.processes.append(patient)
        self.assertTrue(patient.is_on, patient.detail)
        return patient

    def subscriber(self, sidecar, **options):
        subscriber = Subscriber(sidecar.port, **options)
        self.subscribers.append(subscriber)
        self.assertEqual(subscriber.response.status_code, 101)
        return subscriber

    def run_command(self, *arguments, expected=0, **more):
        return run(arguments, self.scratch, expected, **more)

    def assert_one_line(self, text, *parts):
        """A message of one line that names all of `parts`."""
        self.assertEqual(text.count("\n"), 1, text)
        for part in parts:
            self.assertIn(str(part), text)
