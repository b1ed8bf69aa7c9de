#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile clients against the real sidecar with a real forwarder: each gets the right answer, /live
is answered throughout, a well-behaved client misses nothing, and nothing is left behind."""
import re
import select
import socket
import time
import unittest

import abuse
from abuse import LONG, TOKEN, Case, Prober, figure, probe_words, wait_until
from harness import SANITIZER, http
from test_http_stream import STREAM, UPGRADE
from visitors import WAYS, declared_more_than_there_is, visit

PROBE_S_MAX = 1.0           # a loose bound; the figures say what it really takes
HEADER_DEADLINE_S = 10      # of the sidecar
CONNECTIONS_MAX = 1024      # its cap
MIB = 1 << 20
# Memory that a process keeps although all is freed: arenas; under ASan its quarantine as well.
MEMORY_KEPT = (48 if SANITIZER else 8) * MIB


class Visitors(Case):
    def visit(self, sidecar, count, at_once, addresses, which="all"):
        """Runs the visitors; every end of every way must be a right one."""
        begin = time.monotonic()
        ends = self.load("visitors.py", sidecar.port, TOKEN, count, at_once, addresses,
                         which).result(bound=560)
        right = {way.__name__: allowed for way, allowed in WAYS.items()}
        wrong = {way: of_way for way, of_way in ends.items() if set(of_way) - set(right[way])}
        self.assertEqual(wrong, {})
        self.assertEqual(sum(sum(of_way.values()) for of_way in ends.values()), count)
        if which == "all":
            self.assertEqual(set(ends), set(right))
        return len(ends), time.monotonic() - begin

    def await_left(self, sidecar, descriptors):
        wait_until(lambda: sidecar.status()["sampler"]["stream_clients"] <= 1,
                   what="clients gone")
        # A question takes a connection of its own, which may or may not be gone by now.
        wait_until(lambda: sidecar.descriptors() <= descriptors, what="descriptors back")

    def test_every_way_at_scale(self):
        """Each way many times, 32 at once, beside a well-behaved client and a prober."""
        count = 5000 if LONG else 600
        patient = self.writing_patient()
        sidecar = self.locked_sidecar("--max-clients", "200")
        client = self.good_client(sidecar)
        self.visit(sidecar, 2 * len(WAYS), 32, 50)  # warm: what is allocated once
        wait_until(lambda: sidecar.status()["sampler"]["stream_clients"] == 1)
        descriptors, memory = sidecar.descriptors(), sidecar.memory_bytes()
        probers = [Prober(sidecar.port), Prober(sidecar.probe_port)]
        ways, seconds = self.visit(sidecar, count, 32, 50)
        for prober, where in zip(probers, ("main port", "probe port")):
            numbers = prober.stop()
            figure(f"answered during {count} abusive connections, {where}", probe_words(numbers))
            self.assertLess(numbers[2] / 1000, PROBE_S_MAX)
        self.await_left(sidecar, descriptors)
        kept = sidecar.memory_bytes() - memory
        figure(f"{count} abusive connections of {ways} ways, each answered right",
               f"{seconds:.1f} s, descriptors {descriptors} -> {sidecar.descriptors()}, "
               f"memory {memory >> 10} -> {memory + kept >> 10} KiB")
        self.assertLess(kept, MEMORY_KEPT)
        self.check_good_client(sidecar, patient, client)
        self.check_log(sidecar, lines_max=40 + 1.5 * seconds)

    def test_nothing_is_left_behind(self):
        """Ever more connections from ever more addresses: rounds of one size cost no memory."""
        count, addresses = (100000, 2000) if LONG else (600, 40)
        rounds = 5 if LONG else 3
        # A forwarder at rest and few ticks: the history of a busy one grows by itself at first.
        self.patient().pipeline()
        sidecar = self.locked_sidecar("--max-clients", "200", interval="2s")
        self.visit(sidecar, 300, 16, addresses, "light")
        descriptors = sidecar.descriptors()
        memory, seconds = [], 0.0
        for _ in range(rounds):
            seconds += self.visit(sidecar, count // rounds, 16, addresses, "light")[1]
            self.await_left(sidecar, descriptors)
            memory.append(sidecar.memory_bytes())
        figure(f"{count} connections from {addresses} addresses leave nothing",
               f"{seconds:.0f} s, descriptors {descriptors} -> {sidecar.descriptors()}, memory "
               f"after each of {rounds} rounds {[number >> 10 for number in memory]} KiB")
        self.assertLess(memory[-1] - memory[0], (16 if SANITIZER else 2) * MIB)
        self.check_log(sidecar, lines_max=40 + 1.5 * (seconds + 20))

    def test_the_log_is_not_flooded(self):
        """libwebsockets complains of each of these; ten lines in ten seconds must do."""
        count = 300
        sidecar = self.locked_sidecar("--max-clients", "200")
        begin = time.monotonic()
        for number in range(count):
            _, end = visit(sidecar.port, TOKEN, number, [declared_more_than_there_is], 1)
            self.assertEqual(end, "closed")
        windows = (time.monotonic() - begin) / 10 + 2
        lines = sidecar.errors().count("libwebsockets:")
        figure(f"log lines for {count} connections that libwebsockets complains of", lines)
        self.assertGreater(lines, 0)
        self.assertLess(lines, 12 * windows)
        self.check_log(sidecar, lines_max=12 * windows + 5)


GOOD = "GET /live HTTP/1.1\r\nHost: localhost\r\n"
# What is sent, the status, and whether the connection ends with it: all that can be understood in
# two ways is cut, what is merely refused is not.
HEADS = {
    "two Hosts": (GOOD + "Host: localhost\r\n\r\n", 400, True),
    "two Hosts, one evil": (GOOD + "Host: evil.example\r\n\r\n", 400, True),
    "no Host": ("GET /live HTTP/1.1\r\n\r\n", 400, True),
    "empty Host": ("GET /live HTTP/1.1\r\nHost:\r\n\r\n", 400, True),
    "rebinding Host": ("GET /live HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, False),
    "rebinding Host with our name": (
        "GET /live HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403, False),
    "user in the Host": ("GET /live HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 403, False),
    "folded Host": ("GET /live HTTP/1.1\r\nHost: localhost\r\n .evil.example\r\n\r\n", 403, False),
    "Host with NUL": ("GET /live HTTP/1.1\r\nHost: localhost\0.evil.example\r\n\r\n", 400, True),
    "two lengths": (GOOD + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400, True),
    "two different lengths": (
        GOOD + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, True),
    "list of lengths": (GOOD + "Content-Length: 1, 1\r\n\r\na", 400, True),
    "signed length": (GOOD + "Content-Length: +1\r\n\r\na", 400, True),
    "negative length": (GOOD + "Content-Length: -1\r\n\r\n", 400, True),
    "hexadecimal length": (GOOD + "Content-Length: 0x1\r\n\r\na", 400, True),
    "length beyond 2^64": (GOOD + "Content-Length: 99999999999999999999\r\n\r\n", 413, True),
    "length of 1 GiB": (GOOD + "Content-Length: 1073741824\r\n\r\n", 413, True),
    "space before the colon": (GOOD + "Content-Length : 1\r\n\r\na", 400, True),
    "body of a GET": (
        GOOD + "Content-Length: 44\r\n\r\nGET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n....",
        400, True),
    "chunked": (GOOD + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, True),
    "chunked behind a tab": (GOOD + "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", 400, True),
    "chunked, folded": (GOOD + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, True),
    "chunked behind a control": (
        GOOD + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, True),
    "xchunked": (GOOD + "Transfer-Encoding: xchunked\r\n\r\n", 400, True),
    "identity": (GOOD + "Transfer-Encoding: identity\r\n\r\n", 400, True),
    "both framings": (
        GOOD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, True),
    "POST, both framings": (
        GOOD.replace("GET", "POST") + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\nGET /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, True),
    "chunk of 2^64 - 1": (
        GOOD.replace("GET", "POST") + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        413, True),
    "negative chunk": (
        GOOD.replace("GET", "POST") + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 413, True),
    "fold without a header": (
        "GET /live HTTP/1.1\r\n folded: 1\r\nHost: localhost\r\n\r\n", 400, True),
    "folded harmless header": (GOOD + "X: a\r\n b\r\n\r\n", 200, False),
    "NUL in a value": (GOOD + "X: a\0b\r\n\r\n", 400, True),
    "NUL in a name": (GOOD + "X\0Y: 1\r\n\r\n", 400, True),
    "NUL in the target": ("GET /live\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, True),
    "NUL behind the head": (GOOD + "\r\n\0", 200, True),
    "LF only": (GOOD.replace("\r", "") + "\n", 200, False),
    "absolute target": (GOOD.replace("/live", "http://localhost/live") + "\r\n", 400, True),
    "absolute target elsewhere": (GOOD.replace("/live", "http://evil/live") + "\r\n", 400, True),
    "two slashes": (GOOD.replace("/live", "//live") + "\r\n", 404, False),
    "two slashes and a host": (GOOD.replace("/live", "//evil.example/live") + "\r\n", 404, False),
    "dots": (GOOD.replace("/live", "/x/../live") + "\r\n", 404, False),
    "asterisk": (GOOD.replace("/live", "*") + "\r\n", 400, True),
    "no version": ("GET /live\r\n\r\n", 400, True),
    "HTTP/0.9": ("GET /live HTTP/0.9\r\n\r\n", 400, True),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, True),
    "two spaces": ("GET  /live HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, True),
    "tabs": ("GET\t/live\tHTTP/1.1\r\nHost: localhost\r\n\r\n", 400, True),
    "long target": (GOOD.replace("/live", "/" + "a" * 9000) + "\r\n", 404, False),
    "longer head than there may be": (GOOD + "X: " + "a" * 20000 + "\r\n\r\n", 400, True),
    "endless line": ("GET /" + "a" * 100000, 400, True),
    "100 headers": (GOOD + "X: 1\r\n" * 99 + "\r\n", 200, False),
    "101 headers": (GOOD + "X: 1\r\n" * 100 + "\r\n", 400, True),
    "5,000 headers": (GOOD + "X: 1\r\n" * 5000 + "\r\n", 400, True),
}


class Answers(Case):
    """One sidecar each; what is wrong with a request decides, not what else it carries."""

    def ask(self, sidecar, text):
        """Sends a head, and a good request behind it; returns the statuses that come back."""
        with socket.create_connection(("127.0.0.1", sidecar.port), 30) as one:
            raw = b""
            try:
                one.sendall(text.encode("latin-1"))
                while b"\r\n\r\n" not in raw and (data := one.recv(1 << 16)):
                    raw += data
                one.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                while data := one.recv(1 << 16):
                    raw += data
            except ConnectionError:
                pass  # cut with something of ours unread
            return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", raw)]

    def test_heads(self):
        sidecar = self.locked_sidecar()
        descriptors = sidecar.descriptors()
        for name, (text, status, cut) in HEADS.items():
            with self.subTest(name):
                found = self.ask(sidecar, text)
                if name == "NUL behind the head":
                    self.assertEqual(found, [200, 400])  # it stands before the second request
                else:
                    self.assertEqual(found, [status] if cut else [status, 200])
        wait_until(lambda: sidecar.descriptors() <= descriptors)
        figure("heads that can be read in two ways, each answered right", len(HEADS))
        self.check_log(sidecar, lines_max=10)

    def test_tokens(self):
        """Only a bearer header and the cookie open anything; /?token= only sets the cookie."""
        sidecar = self.locked_sidecar()
        wrong = [
            [], [f"Authorization: Bearer {TOKEN[:-1]}"], [f"Authorization: Bearer {TOKEN}x"],
            [f"Authorization: Bearer {TOKEN.upper()}"], [f"Authorization: {TOKEN}"],
            [f"Authorization: Basic {TOKEN}"], [f"Authorization: Bearer {TOKEN}, Bearer {TOKEN}"],
            ["Authorization: Bearer wrong", f"Authorization: Bearer {TOKEN}"],
            [f"Authorization: Bearer {TOKEN}", "Authorization: Bearer wrong"],
            ["Authorization: Bearer "], [f"Proxy-Authorization: Bearer {TOKEN}"],
            [f"X-Token: {TOKEN}"], [f"Cookie: token={TOKEN}"], [f"Cookie: {TOKEN}"],
            [f"Cookie: {abuse.COOKIE}={TOKEN[:-1]}"], [f"Cookie: x{abuse.COOKIE}={TOKEN}"],
            [f"Cookie: {abuse.COOKIE}=", "Cookie: a=b"],
            [f"Sec-WebSocket-Protocol: {TOKEN}"], [f"Referer: http://localhost/?token={TOKEN}"],
        ]
        paths = ["/", "/admin/v1/status", "/admin/v1/config", STREAM,
                 f"/admin/v1/status?token={TOKEN}", f"{STREAM}?token={TOKEN}"]
        for headers in wrong:
            for path in paths:
                upgrade = UPGRADE.strip().split("\r\n") if path.startswith(STREAM) else []
                answer = http(sidecar.port, path, headers=[*upgrade, *headers])
                self.assertEqual(answer.status, 401, (path, headers))
                self.assertEqual(answer.headers["www-authenticate"], "Bearer")
                self.assertNotIn("set-cookie", answer.headers)
                self.assertNotIn(TOKEN, answer.body.decode())
        self.assertEqual(http(sidecar.port, f"/{TOKEN}").status, 404)
        self.assertEqual(http(sidecar.port, "/", "POST", [f"Authorization: Bearer {TOKEN}"],
                              b"x").status, 405)
        for header in (f"Authorization: Bearer {TOKEN}", f"Cookie: {abuse.COOKIE}={TOKEN}"):
            self.assertEqual(http(sidecar.port, "/admin/v1/status", headers=[header]).status, 200)
        figure("wrong tokens and tokens in wrong places, all 401", len(wrong) * len(paths))
        self.check_log(sidecar, lines_max=10)

    def test_login(self):
        """The token leaves the address line at once and goes nowhere else."""
        sidecar = self.locked_sidecar()
        answer = http(sidecar.port, f"/?token={TOKEN}")
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/"))
        self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        pair, *flags = answer.headers["set-cookie"].split("; ")
        self.assertEqual(pair, f"{abuse.COOKIE}={TOKEN}")
        self.assertEqual(sorted(flags), ["HttpOnly", "Path=/", "SameSite=Strict"])
        for name, value in answer.headers.items():
            if name != "set-cookie":
                self.assertNotIn(TOKEN, value)
        self.assertEqual(answer.body, b"")
        for headers in ([], [f"Cookie: {pair}"]):
            page = http(sidecar.port, "/", headers=headers)
            self.assertEqual(page.headers["referrer-policy"], "no-referrer")
            self.assertIn("default-src 'none'", page.headers["content-security-policy"])
            self.assertNotIn(TOKEN, page.body.decode())
        wrong = http(sidecar.port, f"/?token={TOKEN[:-1]}")
        self.assertEqual((wrong.status, wrong.headers["referrer-policy"]), (401, "no-referrer"))
        self.assertNotIn(TOKEN[:-1], wrong.body.decode())
        other = http(sidecar.port, f"/?token={TOKEN}", headers=["Host: evil.example"])
        self.assertEqual(other.status, 400)  # two Hosts
        figure("the token in a redirect, a body or a header other than Set-Cookie", 0)
        self.check_log(sidecar, lines_max=10)


class Slow(Case):
    """Clients that take their time. What they may cost is the deadline of a head."""

    BEGINNINGS = (
        b"", b"G", b"GET /live HTTP/1.1\r\nHost: loc",
        f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}Authorization: ".encode(),
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n",
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n",  # and then nothing more
    )

    def open_slow(self, port, count):
        slow = []
        for number in range(count):
            one = socket.create_connection(("127.0.0.1", port), 30)
            one.setblocking(False)
            one.sendall(self.BEGINNINGS[number % len(self.BEGINNINGS)])
            slow.append(one)
            self.addCleanup(one.close)
        return slow

    def drip_until_cut(self, slow, bound):
        """A byte from each, now and then; returns when the first and the last were cut."""
        begin, ends = time.monotonic(), []
        while slow and time.monotonic() - begin < bound:
            left = []
            for one in slow:
                try:
                    one.send(b"x")
                    while one.recv(4096):
                        pass
                    ends.append(time.monotonic() - begin)
                except BlockingIOError:
                    left.append(one)
                except ConnectionError:
                    ends.append(time.monotonic() - begin)
            slow = left
            select.select([], [], [], 0.25)
        self.assertEqual(len(slow), 0, "not cut")
        return ends

    def test_slowloris(self):
        """Below the cap nobody else notices; each is cut at its deadline."""
        count = 900 if LONG else 300
        abuse.allow_descriptors(2048)
        patient = self.writing_patient()
        sidecar = self.locked_sidecar()
        client = self.good_client(sidecar)
        descriptors = sidecar.descriptors()
        probers = [Prober(sidecar.port), Prober(sidecar.probe_port)]
        begin = time.monotonic()
        slow = self.open_slow(sidecar.port, count)
        wait_until(lambda: sidecar.descriptors() >= descriptors + count // 2, what="accepted")
        ends = self.drip_until_cut(slow, 4 * HEADER_DEADLINE_S)
        last = time.monotonic() - begin
        for prober, where in zip(probers, ("main port", "probe port")):
            numbers = prober.stop()
            figure(f"answered beside {count} slow clients, {where}", probe_words(numbers))
            self.assertLess(numbers[2] / 1000, PROBE_S_MAX)
        self.assertGreater(last, HEADER_DEADLINE_S - 1)
        self.assertLess(last, 2 * HEADER_DEADLINE_S + 5)
        figure(f"{count} slow clients cut", f"all {len(ends)} within {last:.1f} s")
        wait_until(lambda: sidecar.descriptors() <= descriptors, what="descriptors back")
        self.check_good_client(sidecar, patient, client)
        self.check_log(sidecar, lines_max=20)

    def test_more_than_the_cap(self):
        """The main port waits for the deadline of those that fill it; the probe port does not, nor
        do streams that are open."""
        abuse.allow_descriptors(4096)
        patient = self.writing_patient()
        sidecar = self.locked_sidecar()
        client = self.good_client(sidecar)
        descriptors = sidecar.descriptors()
        slow = self.open_slow(sidecar.port, CONNECTIONS_MAX + 50)
        wait_until(lambda: sidecar.descriptors() >= CONNECTIONS_MAX, what="the cap")
        prober = Prober(sidecar.probe_port)
        begin = time.monotonic()
        self.assertEqual(http(sidecar.port, "/live").status, 200)
        waited = time.monotonic() - begin
        numbers = prober.stop()
        figure(f"answered beside {CONNECTIONS_MAX} connections that fill the main port, "
               "probe port", probe_words(numbers))
        figure("the main port answers again after", f"{waited:.1f} s")
        self.assertLess(numbers[2] / 1000, PROBE_S_MAX)
        self.assertLess(waited, 2 * HEADER_DEADLINE_S + 5)
        for one in slow:
            one.close()
        wait_until(lambda: sidecar.descriptors() <= descriptors, what="descriptors back")
        self.check_good_client(sidecar, patient, client)
        self.check_log(sidecar, lines_max=20)


class Exhaustion(Case):
    def flood(self, sidecar, count):
        """Beyond the kernel's queue a connection is only asked for."""
        held = []
        for _ in range(count):
            held.append(socket.socket())
            self.addCleanup(held[-1].close)
            held[-1].setblocking(False)
            held[-1].connect_ex(("127.0.0.1", sidecar.port))
        return held

    def test_few_descriptors(self):
        """A flood of connections cannot take the descriptors that probes, streams and regions
        need."""
        limit = 256
        abuse.allow_descriptors(2048)
        patient = self.writing_patient()
        sidecar = self.locked_sidecar(limit=limit)
        client = self.good_client(sidecar)
        descriptors = sidecar.descriptors()
        held = self.flood(sidecar, limit + 50)
        select.select([], [], [], 1)  # whatever it takes of them, it takes within this time
        prober = Prober(sidecar.probe_port)
        cpu, begin = sidecar.cpu_seconds(), time.monotonic()
        other = self.patient("--instance", "other")
        wait_until(lambda: "instance other" in sidecar.errors(), what="a region that comes now")
        wait_until(lambda: len(prober.seconds) > 30, what="enough probes")
        numbers = prober.stop()
        spent = (sidecar.cpu_seconds() - cpu) / (time.monotonic() - begin)
        figure(f"answered beside a flood at {limit} descriptors, probe port",
               probe_words(numbers))
        self.assertLess(numbers[2] / 1000, PROBE_S_MAX)
        figure("a region that came during the flood was attached", f"CPU {100 * spent:.0f} %")
        for one in held:
            one.close()
        wait_until(lambda: sidecar.get("/live").status == 200)
        other.quit()
        wait_until(lambda: sidecar.descriptors() <= descriptors + 1, what="descriptors back")
        self.check_good_client(sidecar, patient, client)
        self.check_log(sidecar, lines_max=30)


class Streams(Case):
    def test_500_at_once(self):
        """All come in one burst and get every tick, as does the one who was there before."""
        count, seconds = 500, 20 if LONG else 5
        abuse.allow_descriptors(2048)
        patient = self.writing_patient()
        sidecar = self.locked_sidecar("--max-clients", "600", interval="1s")
        client = self.good_client(sidecar)
        descriptors, memory = sidecar.descriptors(), sidecar.memory_bytes()
        streams = self.load("streams.py", sidecar.port, TOKEN, count)
        self.assertEqual(streams.line(), "open")
        prober = Prober(sidecar.port)
        first_tick, cpu, begin = sidecar.ticks(), sidecar.cpu_seconds(), time.monotonic()
        wait_until(lambda: sidecar.ticks() >= first_tick + seconds)
        ticks = sidecar.ticks() - first_tick
        spent, elapsed = sidecar.cpu_seconds() - cpu, time.monotonic() - begin
        self.assertEqual(sidecar.status()["sampler"]["stream_clients"], count + 1)
        grown = sidecar.memory_bytes() - memory
        numbers = prober.stop()
        found = streams.result()
        self.assertEqual((found["streams"], found["troubles"]), (count, []))
        self.assertGreaterEqual(found["metrics_least"], ticks)
        # They came one after the other, in the time of a few ticks.
        self.assertLessEqual(found["metrics_most"] - found["metrics_least"], 4)
        figure(f"{count} streams at once, each got every one of {ticks} ticks",
               f"{found['bytes'] / MIB:.0f} MiB, CPU {100 * spent / elapsed:.1f} %, "
               f"{1e6 * spent / ticks / count:.0f} us a client and tick, memory +{grown >> 10} KiB")
        figure(f"answered beside {count} streams, main port", probe_words(numbers))
        self.assertLess(numbers[2] / 1000, PROBE_S_MAX)
        self.assertLess(grown, (128 if SANITIZER else 32) * MIB)
        wait_until(lambda: sidecar.status()["sampler"]["stream_clients"] == 1, what="all gone")
        wait_until(lambda: sidecar.descriptors() <= descriptors, what="descriptors back")
        self.check_good_client(sidecar, patient, client)
        self.check_log(sidecar, lines_max=20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
