#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""http and stream over real sockets: test_http_stream.py HOST_PROGRAM [unittest arguments].

The host program (http_stream_host.c) publishes numbered ticks: tick t stands for t % 5 spans and
t % 7 log records, so a client can account for every one of them."""
import asyncio
import base64
import ctypes
import gzip
import hashlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import websockets

PROGRAM = None
PATIENCE_S = 20  # how long anything expected may take, generous for sanitizers
TOKEN = "0123456789abcdef-._~+/="
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
STREAM = "/admin/v1/telemetry"
UPGRADE = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           f"Sec-WebSocket-Key: {KEY}\r\n")
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


# Freed memory that AddressSanitizer keeps back would drown what the tests of memory look for.
ENVIRONMENT = {"ASAN_OPTIONS": "quarantine_size_mb=1"} | os.environ


class Host:
    """The program under test, running; stops with SIGTERM and must then exit 0."""
    running = set()

    def __init__(self, *options):
        self.process = subprocess.Popen([PROGRAM, *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        Host.running.add(self)
        found = re.fullmatch(r"listening http://\S+:(\d+)/(?:, unix socket \S+)?(?:, probes on \S+:(\d+))?\n",
                             self.process.stdout.readline())
        if found is None:
            _, errors = self.process.communicate(timeout=PATIENCE_S)
            raise AssertionError(f"did not start: {errors}")
        self.port = int(found[1])
        self.probe_port = int(found[2]) if found[2] else None
        self.errors = []
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr),
                                       daemon=True)
        self.reader.start()

    @classmethod
    def kill_leftovers(cls):
        """What a failed test left running."""
        while cls.running:
            cls.running.pop().process.kill()

    def stop(self):
        Host.running.discard(self)
        self.process.send_signal(signal.SIGTERM)
        output = self.process.stdout.read()
        code = self.process.wait(PATIENCE_S)
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0, f"exit code {code}: {''.join(self.errors)}"
        assert output == "stopped\n", output

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def status(self):
        return json.loads(get(self.port, "/admin/v1/status").body)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def header(self, name):
        """The value of a header that came once; None when absent."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


def dial(port, receive_buffer=None):
    """A connection to a port of 127.0.0.1, or to the unix socket at a path."""
    on_path = isinstance(port, str)
    one = socket.socket(socket.AF_UNIX if on_path else socket.AF_INET)
    if receive_buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    one.settimeout(PATIENCE_S)
    one.connect(port if on_path else ("127.0.0.1", port))
    return one


def read_head(one):
    """Status and headers; byte by byte, so that nothing behind them is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = one.recv(1)
        if not byte:
            raise ConnectionError(f"closed after {head!r}")
        head += byte
    lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
    return int(lines[0].split()[1]), headers


def read_answer(one, method="GET"):
    status, headers = read_head(one)
    answer = Answer(status, headers, b"")
    length = int(answer.header("Content-Length") or 0)
    while method != "HEAD" and status != 304 and len(answer.body) < length:
        piece = one.recv(length - len(answer.body))
        if not piece:
            raise ConnectionError("closed within a body")
        answer.body += piece
    return answer


def send_raw(port, text, method="GET"):
    with dial(port) as one:
        one.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        return read_answer(one, method)


def request(port, method, path, headers="", host=None):
    host = host or f"localhost:{port}"
    return send_raw(port, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n", method)


def get(port, path, headers="", host=None):
    return request(port, "GET", path, headers, host)


def closed_by_peer(one):
    """Reads up to the end; False when the other side keeps it open."""
    try:
        while one.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def frame(opcode, payload=b"", mask=b"\x01\x02\x03\x04", final=True):
    head = bytes([(0x80 if final else 0) | opcode])
    size = len(payload)
    flag = 0x80 if mask else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", size)
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Stream:
    """A WebSocket client that reads only when told to, and answers pings only when it reads."""

    def __init__(self, port, query="", receive_buffer=None, behind=b"", headers=""):
        self.socket = dial(port, receive_buffer)
        self.pings = 0
        self.answers_pings = True
        host = "localhost" if isinstance(port, str) else f"localhost:{port}"
        head = f"GET {STREAM}{query} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}{headers}\r\n"
        self.socket.sendall(head.encode() + behind)
        self.status, self.headers = read_head(self.socket)
        if self.status == 101:
            assert ("Sec-WebSocket-Accept", ACCEPT) in self.headers, self.headers
        self.buffer = bytearray()
        self.close_code = None

    def take(self, count):
        while len(self.buffer) < count:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise ConnectionError("end of stream")
            self.buffer += piece
        piece = bytes(self.buffer[:count])
        del self.buffer[:count]
        return piece

    def read_frame(self):
        first, second = self.take(2)
        assert not first & 0x70, "a reserved bit"
        assert not second & 0x80, "a server masks nothing"
        size = second & 0x7f
        if size == 126:
            size, = struct.unpack("!H", self.take(2))
        elif size == 127:
            size, = struct.unpack("!Q", self.take(8))
        return bool(first & 0x80), first & 0xf, self.take(size)

    def read(self):
        """The next text message as an object; a close raises ConnectionError with its code kept."""
        whole = b""
        while True:
            final, opcode, payload = self.read_frame()
            if opcode == PING:
                self.pings += 1
                if self.answers_pings:
                    self.socket.sendall(frame(PONG, payload))
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
                self.socket.sendall(frame(CLOSE, payload))
                raise ConnectionError(f"closed with {self.close_code}")
            elif opcode != PONG:
                assert opcode == (0 if whole else TEXT), f"opcode {opcode}"
                whole += payload
                if final:
                    return json.loads(whole)

    def read_until(self, done):
        """Messages up to and with the first that done() likes."""
        messages = []
        while not messages or not done(messages[-1]):
            messages.append(self.read())
        return messages

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def spans_of(tick):
    return tick % 5


def logs_of(tick):
    return tick % 7


class Account:
    """What one client got of all that happened since its backlog."""

    def __init__(self, messages):
        self.begin = next(m["tick"] for m in messages if m["kind"] == "backlog-logs")
        self.losses = [m for m in messages if m["kind"] == "loss"]
        parts = [m for m in messages if m["kind"] in ("metrics", "spans", "logs")]
        self.order = [(m["tick"], ("metrics", "spans", "logs").index(m["kind"])) for m in parts]
        self.got = {(m["tick"], m["kind"]): m["count"] for m in parts}
        self.end = max(tick for tick, _ in self.got)

    def lost(self, what):
        return sum(loss[what] for loss in self.losses)

    def check(self, case):
        ticks = range(self.begin + 1, self.end + 1)
        case.assertEqual(self.order, sorted(set(self.order)), "in order, none twice")
        whole = [t for t in ticks if (t, "metrics") in self.got
                 and (not spans_of(t) or (t, "spans") in self.got)
                 and (not logs_of(t) or (t, "logs") in self.got)]
        spans = sum(n for (_, kind), n in self.got.items() if kind == "spans")
        logs = sum(n for (_, kind), n in self.got.items() if kind == "logs")
        case.assertEqual(len(whole) + self.lost("ticks"), len(ticks))
        case.assertEqual(spans + self.lost("spans"), sum(map(spans_of, ticks)))
        case.assertEqual(logs + self.lost("log_records"), sum(map(logs_of, ticks)))


def is_whole_tick_end(message):
    """The last message of a tick that has all three."""
    return message["kind"] == "logs" and spans_of(message["tick"])


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        select.select([], [], [], 0.01)


class HostCase(unittest.TestCase):
    """A case whose tests share one host."""
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.host = Host(*cls.options)
        cls.port = cls.host.port

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()


class Http(HostCase):
    def test_endpoints(self):
        for path, status in (("/live", 200), ("/ready", 503), ("/forwarder/live", 200),
                             ("/admin/v1/status", 200), ("/admin/v1/config", 403)):
            answer = get(self.port, path)
            self.assertEqual(answer.status, status, path)
            self.assertEqual(answer.header("Content-Type"), "application/json")
            self.assertEqual(answer.header("Cache-Control"), "no-store")
            self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff")
            self.assertIsNone(answer.header("Access-Control-Allow-Origin"))
            self.assertIsInstance(json.loads(answer.body), dict)

    def test_query_strings_are_ignored(self):
        self.assertEqual(get(self.port, "/live?x=/ready&y").body, get(self.port, "/live").body)
        self.assertEqual(get(self.port, "/?token=anything").status, 200)

    def test_everything_else_is_not_found(self):
        removed = ["/admin/v1/stats", "/admin/v1/traces", "/admin/v1/logs", "/admin/v1/history",
                   "/health", "/api/pipelines", "/api/stats", "/api/config", "/api/logs",
                   "/api/history", "/api/traces", "/metrics"]
        odd = ["//live", "/live/", "/LIVE", "/%6cive", "/live;x", "/../live", "/" + "a" * 4000,
               "/index.html", "/live%00"]
        for path in removed + odd:
            answer = get(self.port, path)
            self.assertEqual((answer.status, answer.body.strip()), (404, b"not found"), path)

    def test_other_methods(self):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROB"):
            for path in ("/", "/live", "/nowhere", STREAM):
                answer = request(self.port, method, path)
                self.assertEqual((answer.status, answer.header("Allow")), (405, "GET, HEAD"),
                                 f"{method} {path}")
        posted = request(self.port, "POST", "/live", "Content-Length: 3\r\n\r\nabc")
        self.assertEqual(posted.status, 405)

    def test_head_is_get_without_the_body(self):
        for path in ("/", "/live", "/ready", "/admin/v1/config", "/nowhere", STREAM):
            whole = get(self.port, path)
            with dial(self.port) as one:
                one.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                            "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                head = read_answer(one, "HEAD")
                after = read_answer(one)  # would be garbage behind a body
            self.assertEqual(head.status, whole.status, path)
            self.assertEqual(head.header("Content-Length"), str(len(whole.body)), path)
            self.assertEqual(after.body, b'{"status":"live"}')

    def test_pipelined_requests_are_answered_in_order(self):
        with dial(self.port) as one:
            one.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
                                 for path in (b"/live", b"/ready", b"/nowhere")))
            self.assertEqual([read_answer(one).status for _ in range(3)], [200, 503, 404])

    def test_plain_get_of_the_stream_is_told_to_upgrade(self):
        answer = get(self.port, STREAM)
        self.assertEqual(answer.status, 426)
        self.assertEqual(answer.header("Upgrade"), "websocket")
        self.assertEqual(answer.header("Connection"), "Upgrade")
        self.assertEqual(answer.header("Sec-WebSocket-Version"), "13")

    def test_bad_upgrades(self):
        for good, bad in (("Version: 13", "Version: 8"), (KEY, KEY[:-4]),
                          ("Upgrade: websocket", "Upgrade: h2c"),
                          ("Connection: Upgrade", "Connection: close")):
            self.assertEqual(get(self.port, STREAM, UPGRADE.replace(good, bad)).status, 426, bad)
        old = f"GET {STREAM} HTTP/1.0\r\nHost: localhost\r\n{UPGRADE}\r\n"
        self.assertEqual(send_raw(self.port, old).status, 426)
        self.assertEqual(request(self.port, "HEAD", STREAM, UPGRADE).status, 426)

    def test_bad_framing_is_refused_and_cut(self):
        good = "GET /live HTTP/1.1\r\nHost: localhost\r\n"
        for text in (good + "Host: localhost\r\n\r\n",
                     "GET /live HTTP/1.1\r\n\r\n",
                     good + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
                     good + "Content-Length: 5\r\n\r\nhello",
                     good + "Content-Length: x\r\n\r\n",
                     good + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     good + "Transfer-Encoding : chunked\r\n\r\n",
                     good + "X-Bad name: 1\r\n\r\n",
                     good + "no colon\r\n\r\n",
                     good + " folded: first\r\n\r\n" + "x",
                     "GET http://localhost/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     "GET /live HTTP/2.0\r\nHost: localhost\r\n\r\n",
                     "GET /live HTTP/0.9\r\nHost: localhost\r\n\r\n",
                     "GET /live HTTP/1.1\r\nHost: localhost\0.evil.example\r\n\r\n",
                     good + "X: a\0b\r\n\r\n",
                     "\x00\x01\x02\x03 garbage garbage\r\n\r\n",
                     good + "".join(f"X-{i}: 1\r\n" for i in range(120)) + "\r\n",
                     good + "X-Long: " + "a" * 20000 + "\r\n\r\n"):
            with dial(self.port) as one:
                one.sendall(text.encode("latin-1"))
                self.assertIn(read_answer(one).status, (400, 403), text[:80])
                self.assertTrue(closed_by_peer(one), text[:80])

    def test_a_smuggled_second_request_is_not_served(self):
        body = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for method in ("GET", "HEAD"):
            with dial(self.port) as one:
                one.sendall(f"{method} /ready HTTP/1.1\r\nHost: localhost\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
                self.assertEqual(read_answer(one, method).status, 400)
                self.assertEqual(one.recv(1), b"")

    def test_foreign_hosts_and_origins(self):
        for path in ("/", "/live", "/admin/v1/status", "/nowhere", STREAM):
            self.assertEqual(get(self.port, path, host="evil.example").status, 403, path)
        own = f"Origin: http://localhost:{self.port}\r\n"
        self.assertEqual(get(self.port, STREAM, UPGRADE + "Origin: http://evil.example\r\n").status,
                         403)
        with Stream(self.port, headers=own) as stream:
            self.assertEqual(stream.status, 101)

    def test_garbage_backlogs(self):
        for value in ("", "x", "-1", "3601", "1e3", "99999999999999999999", "5%30", "+5"):
            self.assertEqual(get(self.port, f"{STREAM}?backlog={value}", UPGRADE).status, 400,
                             value)

    def test_page(self):
        page = get(self.port, "/")
        self.assertEqual(page.header("Content-Type"), "text/html; charset=utf-8")
        policy = page.header("Content-Security-Policy")
        for name in ("script", "style"):
            inline = re.search(f"<{name}>(.*?)</{name}>".encode(), page.body, re.S).group(1)
            digest = base64.b64encode(hashlib.sha256(inline).digest()).decode()
            self.assertIn(f"{name}-src 'sha256-{digest}'", policy)
        self.assertNotRegex(page.body, rb"innerHTML|https?://|document\.write|eval\(")
        packed = get(self.port, "/", "Accept-Encoding: br, gzip;q=0.8\r\n")
        self.assertEqual(packed.header("Content-Encoding"), "gzip")
        self.assertEqual(gzip.decompress(packed.body), page.body)
        self.assertEqual(packed.header("Vary"), "Accept-Encoding")
        plain = get(self.port, "/", "Accept-Encoding: gzip;q=0, identity\r\n")
        self.assertEqual(plain.body, page.body)

    def test_page_is_not_sent_twice(self):
        for coding in ("", "Accept-Encoding: gzip\r\n"):
            etag = get(self.port, "/", coding).header("ETag")
            again = get(self.port, "/", f"{coding}If-None-Match: W/{etag}\r\n")
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(again.header("ETag"), etag)
            self.assertEqual(get(self.port, "/", f'{coding}If-None-Match: "x"\r\n').status, 200)


class Token(HostCase):
    options = ("--token", TOKEN)
    bearer = f"Authorization: Bearer {TOKEN}\r\n"

    def test_data_is_locked(self):
        for path in ("/admin/v1/status", "/admin/v1/config"):
            answer = get(self.port, path)
            self.assertEqual((answer.status, answer.header("WWW-Authenticate")), (401, "Bearer"))
        self.assertEqual(get(self.port, STREAM, UPGRADE).status, 401)
        self.assertEqual(get(self.port, "/admin/v1/status", "Authorization: Bearer x\r\n").status,
                         401)

    def test_bearer_opens(self):
        self.assertEqual(get(self.port, "/admin/v1/status", self.bearer).status, 200)
        self.assertEqual(get(self.port, "/", self.bearer).status, 200)
        with Stream(self.port, headers=self.bearer) as stream:
            self.assertEqual(stream.status, 101)

    def test_probes_stay_open(self):
        self.assertEqual(get(self.port, "/live").status, 200)
        self.assertEqual(get(self.port, "/ready").status, 503)
        self.assertEqual(get(self.port, "/forwarder/live").status, 200)

    def test_locked_page_says_how(self):
        page = get(self.port, "/")
        self.assertEqual(page.status, 401)
        self.assertIn(b"/?token=", page.body)
        self.assertNotIn(TOKEN.encode(), page.body)

    def test_browser_flow(self):
        for written in (TOKEN, TOKEN.replace("+", "%2B").replace("/", "%2F")):
            login = get(self.port, f"/?a=b&token={written}")
            self.assertEqual((login.status, login.header("Location")), (303, "/"))
            cookie, *attributes = login.header("Set-Cookie").split("; ")
            self.assertEqual(set(attributes), {"Path=/", "HttpOnly", "SameSite=Strict"})
            with_cookie = f"Cookie: other=1; {cookie}\r\n"
            self.assertEqual(get(self.port, "/", with_cookie).status, 200)
            self.assertEqual(get(self.port, "/admin/v1/status", with_cookie).status, 200)
            with Stream(self.port, headers=with_cookie) as stream:
                self.assertEqual(stream.status, 101)

    def test_wrong_logins(self):
        for value in ("", "x", TOKEN + "x", TOKEN[:-1], TOKEN + "%00"):
            answer = get(self.port, f"/?token={value}")
            self.assertEqual(answer.status, 401, value)
            self.assertIsNone(answer.header("Set-Cookie"))
        self.assertEqual(get(self.port, f"/?token={TOKEN}", host="evil.example").status, 403)


class Probe(HostCase):
    options = ("--probe-listen", "127.0.0.1:0", "--token", TOKEN, "--allow-host", "Scope.Example")

    def test_probes_and_nothing_else(self):
        port = self.host.probe_port
        for path, status in (("/live", 200), ("/ready", 503), ("/forwarder/live", 200),
                             ("/", 404), ("/admin/v1/status", 404), ("/admin/v1/config", 404),
                             (STREAM, 404), ("/nowhere", 404)):
            self.assertEqual(get(port, path, host="10.1.2.3:9091").status, status, path)
        self.assertEqual(get(port, STREAM, UPGRADE).status, 404)
        self.assertEqual(request(port, "POST", "/live").status, 405)
        self.assertEqual(send_raw(port, "GET /live HTTP/1.1\r\n\r\n").status, 400)

    def test_allowed_host(self):
        self.assertEqual(get(self.port, "/live", host="scope.example:80").status, 200)
        self.assertEqual(get(self.port, "/live", host="10.1.2.3:9091").status, 403)


class Start(unittest.TestCase):
    def refused(self, *options):
        done = subprocess.run([PROGRAM, *options], capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def test_port_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            where = f"127.0.0.1:{other.getsockname()[1]}"
            self.assertRegex(self.refused("--listen", where),
                             f"{re.escape(where)} is in use.*--listen")
            self.assertRegex(self.refused("--probe-listen", where),
                             f"{re.escape(where)} is in use.*--probe-listen")

    def test_open_address_needs_a_token(self):
        self.assertRegex(self.refused("--listen", "0.0.0.0:0"), "--token-file.*--insecure-bind")
        self.assertRegex(self.refused("--listen", "[::]:0"), "--token-file.*--insecure-bind")
        Host("--listen", "0.0.0.0:0", "--insecure-bind", "1").stop()
        Host("--listen", "0.0.0.0:0", "--token", TOKEN).stop()
        Host("--probe-listen", "0.0.0.0:0").stop()

    def test_bad_addresses(self):
        for where in ("", "9090", "localhost", ":9090", "127.0.0.1:", "127.0.0.1:x",
                      "127.0.0.1:65536", "no.such.name:1", "::1:9090", "[::1:9090"):
            self.assertRegex(self.refused("--listen", where, "--insecure-bind", "1"),
                             "not an address.*127.0.0.1:9090", where)
        self.assertRegex(self.refused("--listen", "203.0.113.7:0", "--insecure-bind", "1"),
                         "no interface")

    def test_weak_tokens(self):
        for token in ("short", "a b c d e f g h i j k", "x" * 4097, "semi;colon;semi;colon"):
            self.assertRegex(self.refused("--token", token), "token must be")


class Limits(unittest.TestCase):
    def test_slow_heads_are_cut_and_others_served(self):
        host = Host("--header-deadline-s", "1")
        with dial(host.port) as silent, dial(host.port) as dripping, dial(host.port) as idle:
            begin = time.monotonic()
            dripping.sendall(b"GET /live HT")
            idle.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(read_answer(idle).status, 200)
            dripping.settimeout(0.2)
            cut = False
            while not cut and time.monotonic() - begin < PATIENCE_S:
                try:
                    dripping.sendall(b"x")
                    cut = dripping.recv(1) == b""
                except TimeoutError:
                    self.assertEqual(get(host.port, "/live").status, 200)
                except ConnectionError:
                    cut = True
            self.assertTrue(cut)
            self.assertGreater(time.monotonic() - begin, 0.9)
            self.assertTrue(closed_by_peer(silent))
            self.assertTrue(closed_by_peer(idle))
        host.stop()

    def test_connection_cap(self):
        host = Host("--connections-max", "4")
        held = [dial(host.port) for _ in range(4)]
        for one in held:
            one.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(read_answer(one).status, 200)
        with dial(host.port) as beyond:  # the kernel's queue takes it, the program does not
            beyond.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(select.select([beyond], [], [], 0.5)[0], [])
            held.pop().close()
            self.assertEqual(read_answer(beyond).status, 200)
        for one in held:
            one.close()
        host.stop()

    def test_a_client_that_only_writes_is_bounded(self):
        host = Host()
        one = "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 10000
        before = host.rss_bytes()
        with dial(host.port, receive_buffer=4096) as flood:
            flood.settimeout(1)
            with self.assertRaises(TimeoutError):  # the program stops reading
                for _ in range(200):
                    flood.sendall(one)
            self.assertEqual(get(host.port, "/live").status, 200)
            self.assertLess(host.rss_bytes() - before, 10 << 20)
        host.stop()

    def test_out_of_descriptors(self):
        host = Host("--nofile", "48")
        before = host.descriptors()
        held = [dial(host.port) for _ in range(100)]
        wait_for(lambda: any("cannot accept" in line for line in host.errors), "the warning")
        begin = host.cpu_seconds()
        select.select([], [], [], 1)
        self.assertLess(host.cpu_seconds() - begin, 0.5, "it spins")
        for one in held:
            one.close()
        self.assertEqual(get(host.port, "/live").status, 200)
        wait_for(lambda: host.descriptors() == before, "descriptors back")
        host.stop()
        self.assertLess(len(host.errors), 10, "a flood of lines")

    def test_no_descriptor_for_an_upgrade(self):
        host = Host("--nofile", "48")
        with dial(host.port) as first:
            first.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(read_answer(first).status, 200)
            held = [dial(host.port) for _ in range(100)]
            wait_for(lambda: any("cannot accept" in line for line in host.errors), "the warning")
            first.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n".encode())
            self.assertEqual(read_answer(first).status, 503)
            for one in held:
                one.close()
        with Stream(host.port) as stream:
            self.assertEqual(stream.read()["kind"], "backlog-metrics")
        host.stop()

    def test_no_descriptor_leaks(self):
        host = Host()
        wait_for(lambda: get(host.port, "/live").status == 200, "the first answer")
        before = host.descriptors()  # one of them may be that connection's
        for i in range(500):
            if i % 2:
                with Stream(host.port, "?backlog=0") as stream:
                    if i % 4 == 1:
                        stream.read()
                    elif i % 8 == 3:
                        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                 struct.pack("ii", 1, 0))
            else:
                self.assertEqual(get(host.port, "/live").status, 200)
        wait_for(lambda: host.status()["stream_clients"] == 0, "clients gone")
        wait_for(lambda: host.descriptors() <= before, "descriptors back")
        host.stop()


class Streaming(HostCase):
    options = ("--interval-ms", "20")

    def test_backlog_then_ticks_in_order(self):
        with Stream(self.port, "?backlog=7") as stream:
            messages = stream.read_until(is_whole_tick_end)
        kinds = [m["kind"] for m in messages[:3]]
        self.assertEqual(kinds, ["backlog-metrics", "backlog-spans", "backlog-logs"])
        self.assertEqual({m["count"] for m in messages[:3]}, {7})
        Account(messages).check(self)

    def test_a_burst_of_clients(self):
        """More at once than the stream thread takes in one go: none is turned away, and one who
        is there already loses nothing by it."""
        host = Host("--interval-ms", "100", "--max-clients", "400")
        with Stream(host.port) as early, dial(host.port) as asking:
            head = f"GET {STREAM}?backlog=0 HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"
            waiting = [dial(host.port) for _ in range(300)]
            os.kill(host.process.pid, signal.SIGSTOP)
            for one in waiting:
                one.sendall(head.encode())
            os.kill(host.process.pid, signal.SIGCONT)
            self.assertEqual([read_head(one)[0] for one in waiting], [101] * len(waiting))
            asking.sendall(b"GET /admin/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            newest = json.loads(read_answer(asking).body)["tick"]
            messages = early.read_until(lambda m: is_whole_tick_end(m) and m["tick"] > newest)
            for one in waiting:
                one.close()
        host.stop()
        account = Account(messages)
        account.check(self)
        self.assertEqual(account.losses, [])

    def test_backlog_default_and_none(self):
        with Stream(self.port) as stream:
            self.assertEqual(stream.read()["count"], 60)
        with Stream(self.port, "?backlog=0") as stream:
            self.assertEqual(stream.read()["kind"], "backlog-logs")
        with Stream(self.port, "?backlog=3600&x=1") as stream:
            self.assertEqual(stream.read()["count"], 3600)

    def test_clients_that_come_at_different_times_get_everything_once(self):
        with Stream(self.port) as early:
            early_messages = early.read_until(is_whole_tick_end)
            with Stream(self.port) as late:
                late_messages = late.read_until(
                    lambda m: is_whole_tick_end(m) and m["tick"] > early_messages[-1]["tick"] + 50)
            early_messages += early.read_until(
                lambda m: is_whole_tick_end(m) and m["tick"] >= late_messages[-1]["tick"])
        for messages in (early_messages, late_messages):
            account = Account(messages)
            account.check(self)
            self.assertEqual(account.losses, [])
            self.assertGreater(account.end - account.begin, 50)

    def test_bytes_behind_the_head_are_read(self):
        pings = b"".join(frame(PING, b"%d" % i) for i in range(3))
        long = frame(TEXT, b"y" * 6000)  # more than libwebsockets reads at once
        with Stream(self.port, behind=long + pings[:4] + pings[4:]) as stream:
            pong = None
            while pong is None:
                final, opcode, payload = stream.read_frame()
                if opcode == PONG:
                    pong = payload
                self.assertTrue(final)
        self.assertIn(pong, (b"0", b"1", b"2"))

    def test_a_head_in_single_bytes(self):
        with dial(self.port) as one:
            head = f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n".encode()
            for i in range(len(head)):
                one.sendall(head[i:i + 1])
            self.assertEqual(read_head(one)[0], 101)

    def test_client_messages_are_ignored(self):
        with Stream(self.port) as stream:
            stream.socket.sendall(frame(TEXT, b"hello") + frame(BINARY, b"\x00\xff") +
                                  frame(TEXT, b"in ", final=False) + frame(0, b"pieces"))
            Account(stream.read_until(is_whole_tick_end)).check(self)

    def test_a_client_that_talks_too_much_is_told_1008(self):
        with Stream(self.port) as stream:
            stream.socket.sendall(frame(TEXT, b"z" * 70000))
            with self.assertRaises(ConnectionError):
                stream.read_until(lambda m: False)
            self.assertEqual(stream.close_code, 1008)

    def test_garbage_frames_hurt_nobody_else(self):
        garbage = [os.urandom(4096), frame(TEXT, b"unmasked", mask=None),
                   frame(3, b"reserved opcode"), frame(PING, b"p" * 200), b"\x81\xff" + b"\xff" * 8,
                   frame(0, b"continues nothing"), b"\xf1\x80\x00\x00\x00\x00",
                   frame(CLOSE, b"\x00"), frame(CLOSE, struct.pack("!H", 1005)),
                   b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
        with Stream(self.port) as witness:
            messages = witness.read_until(is_whole_tick_end)
            for junk in garbage:
                with Stream(self.port, behind=junk) as early, Stream(self.port) as later:
                    later.socket.sendall(junk)
                    try:
                        early.read()
                    except OSError:
                        pass  # thrown out already
                    messages.append(witness.read())
            messages += witness.read_until(is_whole_tick_end)
            Account(messages).check(self)
        self.assertEqual(get(self.port, "/live").status, 200)

    def test_close_handshake_of_the_client(self):
        async def run():
            uri = f"ws://127.0.0.1:{self.port}{STREAM}"
            async with websockets.connect(uri, max_size=None) as one:
                first = json.loads(await one.recv())
                await (await one.ping())
                await one.close(1000, "enough")
                return first, one.close_code
        first, code = asyncio.run(run())
        self.assertEqual((first["kind"], code), ("backlog-metrics", 1000))

    def test_clients_are_counted(self):
        wait_for(lambda: self.host.status()["stream_clients"] == 0, "none left")
        with Stream(self.port), Stream(self.port):
            self.assertEqual(self.host.status()["stream_clients"], 2)
        wait_for(lambda: self.host.status()["stream_clients"] == 0, "both gone")


class Stops(unittest.TestCase):
    def test_every_client_is_told_1001(self):
        host = Host("--interval-ms", "20", "--pad", "100000")
        streams = [Stream(host.port) for _ in range(5)]
        for stream in streams:
            stream.read_until(lambda m: m["kind"] == "metrics")
        readers = [threading.Thread(target=self.drain, args=(stream,)) for stream in streams]
        for reader in readers:
            reader.start()
        host.stop()
        for reader in readers:
            reader.join()
        self.assertEqual([stream.close_code for stream in streams], [1001] * 5)

    @staticmethod
    def drain(stream):
        try:
            stream.read_until(lambda m: False)
        except ConnectionError:
            stream.close()

    def test_a_client_that_does_not_read_delays_the_end_by_its_bound_only(self):
        host = Host("--interval-ms", "10", "--pad", "1000000")
        with Stream(host.port, receive_buffer=4096):
            wait_for(lambda: host.status()["ticks_skipped"] > 0, "a choked client")
            begin = time.monotonic()
            host.stop()
            self.assertLess(time.monotonic() - begin, 5)

    def test_stop_with_no_client_is_immediate(self):
        host = Host()
        begin = time.monotonic()
        host.stop()
        self.assertLess(time.monotonic() - begin, 2)

    def test_client_cap(self):
        host = Host("--max-clients", "2")
        with Stream(host.port) as one, Stream(host.port) as two:
            self.assertEqual((one.status, two.status), (101, 101))
            answer = get(host.port, STREAM, UPGRADE)
            self.assertEqual(answer.status, 503)
            self.assertIsNotNone(answer.header("Retry-After"))
        wait_for(lambda: host.status()["stream_clients"] == 0, "room again")
        with Stream(host.port) as again:
            self.assertEqual(again.status, 101)
        host.stop()


class Slow(unittest.TestCase):
    def run_slow(self, *options, least=30, lossless=True, queue=8):
        """A client that stops reading beside one that reads; both accounts must be exact. At most
        `queue` ticks wait for a client."""
        host = Host(*options)
        seen, done = [], threading.Event()
        with Stream(host.port) as good, Stream(host.port, receive_buffer=4096) as slow:
            def read_on():
                while not done.is_set():
                    seen.append(good.read())
                seen.extend(good.read_until(is_whole_tick_end))
            reader = threading.Thread(target=read_on, daemon=True)
            reader.start()
            longest = 0
            while host.status()["ticks_skipped"] < least:
                begin = time.monotonic()
                self.assertEqual(get(host.port, "/live").status, 200)
                longest = max(longest, time.monotonic() - begin)
            skipped_at = host.status()["tick"]
            wait_for(lambda: host.status()["tick"] >= skipped_at + 4, "ticks after the last skip")
            newest = host.status()["tick"]
            messages = slow.read_until(lambda m: m["kind"] == "loss")
            after = slow.read_until(lambda m: m["kind"] == "metrics")[-1]
            messages += [after] + slow.read_until(
                lambda m: is_whole_tick_end(m) and m["tick"] > newest + 5)
            done.set()
            reader.join()
        host.stop()
        for account in (Account(seen), Account(messages)):
            account.check(self)
        if lossless:
            self.assertEqual(Account(seen).losses, [])
            self.assertGreaterEqual(Account(messages).lost("ticks"), least)
        self.assertLessEqual(newest - after["tick"], queue, "the newest ticks come next")
        self.assertLess(longest, 2, "/live was delayed")

    def test_many_small_ticks(self):
        self.run_slow("--interval-ms", "40", "--pad", "100000")

    def test_ticks_of_several_fragments(self):
        self.run_slow("--interval-ms", "100", "--pad", "3000000", queue=1)

    def test_a_tick_on_its_way_whole_is_not_lost(self):
        self.run_slow("--interval-ms", "40", "--logs-pad", "200000")

    def test_ticks_beyond_the_bound_by_themselves(self):
        # Then even a client that reads may be a tick behind when the next one comes.
        self.run_slow("--interval-ms", "200", "--pad", "5000000", least=10, lossless=False)

    def test_choked_within_its_backlog(self):
        self.run_slow("--interval-ms", "40", "--pad", "100000", "--backlog-pad", "2000000")

    def test_memory_is_bounded(self):
        host = Host("--interval-ms", "10", "--pad", "1000000")
        streams = [Stream(host.port, receive_buffer=4096) for _ in range(8)]
        wait_for(lambda: host.status()["ticks_skipped"] > 100, "all choked")
        early = host.rss_bytes()
        wait_for(lambda: host.status()["ticks_skipped"] > 1000, "for a while")
        # Clients share what they wait for: a queue of 4 MiB, and a fragment in each.
        self.assertLess(host.rss_bytes() - early, 40 << 20)
        for stream in streams:
            stream.close()
        host.stop()


class Vanished(unittest.TestCase):
    """Takes half a minute of waiting: what a ping finds out needs as long."""

    @staticmethod
    def vanish(one):
        """From now on the socket's kernel sees nothing of the peer: no data, no end, no reset."""
        drop_all = struct.pack("HBBI", 6, 0, 0, 0)  # BPF: return 0
        code = ctypes.create_string_buffer(drop_all)
        one.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(code)))

    def test_half_open_is_cut_and_slow_is_not(self):
        try:
            with socket.socket() as probe:
                self.vanish(probe)
        except PermissionError:
            self.skipTest("this kernel lets only root attach a filter to a socket")
        host = Host("--interval-ms", "500", "--pad", "200000")
        with Stream(host.port) as gone, Stream(host.port, receive_buffer=4096) as slow, \
                Stream(host.port) as good:
            seen, done = [], threading.Event()

            def read_on():
                while not done.is_set():
                    seen.append(good.read())
                seen.extend(good.read_until(is_whole_tick_end))
            reader = threading.Thread(target=read_on, daemon=True)
            reader.start()
            gone.read()
            self.vanish(gone.socket)
            begin = time.monotonic()
            while host.status()["stream_clients"] == 3:
                self.assertLess(time.monotonic() - begin, 60, "not cut")
                select.select([], [], [], 0.5)
            self.assertGreater(time.monotonic() - begin, 25, "cut too early")
            while time.monotonic() - begin < 33:
                select.select([], [], [], 0.5)
            newest = host.status()["tick"]
            messages = slow.read_until(
                lambda m: is_whole_tick_end(m) and m["tick"] > newest)
            self.assertEqual(host.status()["stream_clients"], 2)
            done.set()
            reader.join()
        host.stop()
        Account(seen).check(self)
        Account(messages).check(self)
        self.assertEqual(Account(seen).losses, [])
        self.assertGreater(Account(messages).lost("ticks"), 10)

    def test_silent_without_tcp(self):
        """Where no kernel acknowledges, the program must: one that answers no ping is cut."""
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "socket")
            host = Host("--interval-ms", "500", "--unix", path)
            with Stream(path) as mute, Stream(path) as good:
                mute.answers_pings = False
                seen, done = [], threading.Event()

                def read_on():
                    while not done.is_set():
                        seen.append(good.read())
                reader = threading.Thread(target=read_on, daemon=True)
                reader.start()
                begin = time.monotonic()
                with self.assertRaises(ConnectionError):
                    while True:
                        mute.read()
                self.assertGreater(time.monotonic() - begin, 25, "cut too early")
                self.assertGreater(mute.pings, 0)
                cut_at = host.status()["tick"]
                wait_for(lambda: seen[-1]["tick"] > cut_at, "the other one's next tick")
                self.assertEqual(host.status()["stream_clients"], 1)
                done.set()
                reader.join()
                self.assertGreater(good.pings, 0)
            host.stop()


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    try:
        unittest.main(verbosity=2)
    finally:
        Host.kill_leftovers()
