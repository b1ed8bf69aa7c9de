#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Abusive clients: visitors.py PORT TOKEN COUNT AT_ONCE ADDRESSES all|light.

Makes COUNT connections, AT_ONCE at a time, each behaving badly in one of the ways of WAYS, in turn
(light: without those that send much or take long), from ADDRESSES addresses of 127.0.0.0/8. Prints
one JSON object: of each way how often it ended how. A process of its own, so that it takes no time
from a thread that measures.
"""
import concurrent.futures
import json
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from test_http_stream import CLOSE, KEY, PING, PONG, STREAM, TEXT, UPGRADE, frame

PATIENCE_S = 30  # for a visit as a whole: a stream that is left open sends for ever
CONTINUATION = 0
STREAM_RECEIVED_MAX = 64 << 10  # what the sidecar takes from a stream client before it hangs up


class Visitor:
    """One connection, and what comes back on it."""

    def __init__(self, port, token, source):
        self.port, self.token = port, token
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.buffer = b""
        self.deadline = time.monotonic() + PATIENCE_S

    def head(self, path, *headers, method="GET", host="localhost", token=True):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        if token:
            lines.append(f"Authorization: Bearer {self.token}")
        return "\r\n".join([*lines, "", ""]).encode()

    def send(self, data):
        """Sends as far as the other side takes it: it may have hung up already."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def more(self):
        if time.monotonic() > self.deadline:
            raise TimeoutError("left open")
        data = self.socket.recv(1 << 16)
        self.buffer += data
        return data != b""

    def take(self, count):
        while len(self.buffer) < count:
            if not self.more():
                raise EOFError
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def status(self):
        """The status of an answer, as text; its body is left behind."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.more():
                return "closed"
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head.split(b" ")[1].decode()

    def asks(self, *arguments, **options):
        self.send(self.head(*arguments, **options))
        return self.status()

    def upgrades(self, *headers, behind=b"", query="?backlog=0"):
        """A request for the stream that is to be taken."""
        self.send(self.head(STREAM + query, UPGRADE[:-2], *headers) + behind)
        status = self.status()
        if status != "101":
            raise ValueError(f"upgrade answered with {status}")

    def frames(self):
        """Frames of the stream up to the end of the connection."""
        while True:
            first, second = self.take(2)
            size = second & 0x7f
            if size == 126:
                size, = struct.unpack("!H", self.take(2))
            elif size == 127:
                size, = struct.unpack("!Q", self.take(8))
            yield first & 0xf, self.take(size)

    def end(self, polite=True):
        """How the stream ended: the close code when there was one, answered if polite."""
        code = None
        try:
            for opcode, payload in self.frames():
                if opcode == CLOSE and code is None:
                    code = str(int.from_bytes(payload[:2], "big")) if len(payload) > 1 else "echo"
                    if polite:
                        self.send(frame(CLOSE, payload))
        except (EOFError, ConnectionError):
            return code or "closed"

    def rest(self):
        """Reads to the end of the connection."""
        try:
            while self.more():
                self.buffer = b""
        except ConnectionError:
            pass
        return "closed"

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "left"


# ---- HTTP ----------------------------------------------------------------------------------------


def reset_in_the_head(visitor):
    visitor.send(visitor.head("/admin/v1/status")[:30])
    return visitor.reset()


def reset_after_the_head(visitor):
    visitor.send(visitor.head("/admin/v1/status"))
    return visitor.reset()


def half_close(visitor):
    visitor.send(visitor.head("/admin/v1/status"))
    visitor.socket.shutdown(socket.SHUT_WR)
    return f"{visitor.status()} {visitor.rest()}"


def half_close_in_the_head(visitor):
    visitor.send(visitor.head("/live")[:30])
    visitor.socket.shutdown(socket.SHUT_WR)
    return visitor.rest()


def garbage(visitor):
    visitor.send(random.randbytes(4096) + b"\n\n")
    return visitor.status()


def many_questions_and_no_ear(visitor):
    visitor.send(visitor.head("/admin/v1/status") * 50)
    return visitor.reset()


def long_head(visitor):
    visitor.send(visitor.head("/live", "X: " + "a" * 20000))
    return visitor.status()


def no_token(visitor):
    return visitor.asks("/admin/v1/status", token=False)


def wrong_token(visitor):
    return visitor.asks("/admin/v1/status", f"Authorization: Bearer {visitor.token[:-1]}!",
                        token=False)


def rebinding(visitor):
    return visitor.asks("/admin/v1/status", host="evil.example")


def other_method(visitor):
    return visitor.asks("/live", method="DELETE")


def other_origin(visitor):
    return visitor.asks(STREAM, UPGRADE[:-2], "Origin: http://evil.example")


def upgrade_without_token(visitor):
    return visitor.asks(STREAM, UPGRADE[:-2], token=False)


def upgrade_without_key(visitor):
    return visitor.asks(STREAM, UPGRADE[:-2].replace(KEY, "short"))


# ---- the stream ----------------------------------------------------------------------------------


def upgrade_and_reset(visitor):
    visitor.send(visitor.head(STREAM, UPGRADE[:-2]))
    return visitor.reset()


def stream_reset(visitor):
    visitor.upgrades()
    return visitor.reset()


def stream_half_close(visitor):
    visitor.upgrades()
    visitor.socket.shutdown(socket.SHUT_WR)
    return visitor.end()


def stream_garbage(visitor):
    visitor.upgrades()
    visitor.send(b"\xff" + random.randbytes(1000))
    return visitor.end()


def stream_garbage_behind_the_head(visitor):
    visitor.upgrades(behind=b"\xff" + random.randbytes(1000))
    return visitor.end()


def unmasked_frames(visitor):
    """libwebsockets takes them; they count like all that a client sends and nobody reads."""
    visitor.upgrades()
    visitor.send(frame(TEXT, b"x" * 1000, mask=b"") * 80)
    return visitor.end()


def declared_gibibyte(visitor):
    visitor.upgrades()
    visitor.send(bytes([0x80 | TEXT, 0xff]) + struct.pack("!Q", 1 << 30) + b"mask")
    visitor.send(b"x" * (STREAM_RECEIVED_MAX + 4096))
    return visitor.end()


def declared_gibibyte_and_reset(visitor):
    visitor.upgrades()
    visitor.send(bytes([0x80 | TEXT, 0xff]) + struct.pack("!Q", 1 << 30) + b"mask" + b"x" * 1000)
    return visitor.reset()


def declared_more_than_there_is(visitor):
    visitor.upgrades()
    visitor.send(bytes([0x80 | TEXT, 0xff]) + b"\xff" * 8 + b"mask" + b"x" * 1000)
    return visitor.end()


def endless_fragments(visitor):
    visitor.upgrades()
    visitor.send(frame(TEXT, b"x" * 1000, final=False))
    visitor.send(frame(CONTINUATION, b"x" * 1000, final=False) * 80)
    return visitor.end()


def endless_empty_fragments(visitor):
    visitor.upgrades()
    visitor.send(frame(TEXT, b"", final=False))
    visitor.send(frame(CONTINUATION, b"", final=False) * (STREAM_RECEIVED_MAX + 1000))
    return visitor.end()


def ping_flood(visitor):
    """Pongs may be fewer than pings, and none of it may keep the close from being answered."""
    visitor.upgrades()
    visitor.send(frame(PING, b"p" * 125) * 500 + frame(CLOSE, b"\x03\xe8"))
    pongs, code = 0, None
    try:
        for opcode, payload in visitor.frames():
            pongs += opcode == PONG and payload == b"p" * 125
            if opcode == CLOSE and code is None:
                code = int.from_bytes(payload[:2], "big")
    except (EOFError, ConnectionError):
        return f"{code} after pongs" if pongs else f"{code} without a pong"


def long_ping(visitor):
    visitor.upgrades()
    visitor.send(frame(PING, b"p" * 126))
    return visitor.end()


def reserved_opcode(visitor):
    visitor.upgrades()
    visitor.send(frame(3, b"what"))
    return visitor.end()


def no_answer_to_the_close(visitor):
    """The sidecar waits 5 s for it, and no longer."""
    visitor.upgrades()
    visitor.send(frame(3, b"what"))
    return visitor.end(polite=False)


def close_flood(visitor):
    visitor.upgrades()
    visitor.send(frame(CLOSE, b"\x03\xe8") * 500)
    return visitor.end()


def malformed_close(visitor):
    visitor.upgrades()
    visitor.send(frame(CLOSE, b"\x03"))
    return visitor.end()


# Each way, and all the ends that are right. Who still sends when he is hung up on may see the reset
# before the close frame.
WAYS = {
    reset_in_the_head: ["left"],
    reset_after_the_head: ["left"],
    half_close: ["200 closed"],
    half_close_in_the_head: ["closed"],
    garbage: ["400"],
    many_questions_and_no_ear: ["left"],
    long_head: ["400"],
    no_token: ["401"],
    wrong_token: ["401"],
    rebinding: ["403"],
    other_method: ["405"],
    other_origin: ["403"],
    upgrade_without_token: ["401"],
    upgrade_without_key: ["426"],
    upgrade_and_reset: ["left"],
    stream_reset: ["left"],
    stream_half_close: ["closed"],
    stream_garbage: ["1002", "closed"],
    stream_garbage_behind_the_head: ["1002", "closed"],
    unmasked_frames: ["1008", "closed"],
    declared_gibibyte: ["1008", "closed"],
    declared_gibibyte_and_reset: ["left"],
    declared_more_than_there_is: ["closed"],
    endless_fragments: ["1008", "closed"],
    endless_empty_fragments: ["1008", "closed"],
    ping_flood: ["1000 after pongs"],
    long_ping: ["closed"],
    reserved_opcode: ["1002", "closed"],
    no_answer_to_the_close: ["1002", "closed"],
    close_flood: ["1000", "closed"],
    malformed_close: ["echo"],
}


HEAVY = {many_questions_and_no_ear, long_head, unmasked_frames, declared_gibibyte,
         endless_fragments, endless_empty_fragments, ping_flood, close_flood,
         no_answer_to_the_close}


def visit(port, token, number, ways, addresses):
    way = ways[number % len(ways)]
    source = number // len(ways) % addresses
    try:
        visitor = Visitor(port, token, f"127.0.{source // 250}.{source % 250 + 2}")
        with visitor.socket:
            return way.__name__, way(visitor)
    except (OSError, ValueError, EOFError) as error:
        return way.__name__, repr(error)


def main(port, token, count, at_once, addresses, light):
    ways = [way for way in WAYS if not light or way not in HEAVY]
    ends = {}
    with concurrent.futures.ThreadPoolExecutor(at_once) as threads:
        for way, end in threads.map(lambda number: visit(port, token, number, ways, addresses),
                                    range(count)):
            of_way = ends.setdefault(way, {})
            of_way[end] = of_way.get(end, 0) + 1
    print(json.dumps(ends))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6] == "light")
