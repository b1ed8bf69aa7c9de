#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many well-behaved stream clients in one process: streams.py PORT TOKEN COUNT.

Prints "open" when every one got its 101 and a tick, then reads on until its standard input ends,
then one JSON object: how many streams, of each the metrics documents (the least and the most), the
bytes of all, and those that ended early.
"""
import json
import os
import selectors
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from test_http_stream import CLOSE, STREAM, TEXT, UPGRADE

PATIENCE_S = 60


class Stream:
    """One client: follows frames without keeping them, answers nothing (no ping comes so soon)."""

    def __init__(self, port, token):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.sendall((f"GET {STREAM}?backlog=0 HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}"
                             f"Authorization: Bearer {token}\r\n\r\n").encode())
        self.buffer, self.metrics, self.bytes = b"", 0, 0
        self.status = self.trouble = None

    def read(self):
        data = self.socket.recv(1 << 20)
        self.bytes += len(data)
        self.buffer += data
        if not data:
            self.trouble = "closed"
        if self.status is None and b"\r\n\r\n" in self.buffer:
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            self.status = int(head.split(b" ")[1])
            if self.status != 101:
                self.trouble = f"status {self.status}"
        while self.status == 101 and self._take_frame():
            pass

    def _take_frame(self):
        """Drops one whole frame; a message that begins like metrics is one more tick."""
        buffer = self.buffer
        if len(buffer) < 2:
            return False
        short = buffer[1] & 0x7f
        begin = {126: 4, 127: 10}.get(short, 2)
        size = short if begin == 2 else int.from_bytes(buffer[2:begin], "big")
        if len(buffer) < begin + size:
            return False
        opcode = buffer[0] & 0xf
        self.metrics += opcode == TEXT and buffer[begin:begin + 17] == b'{"resourceMetrics'
        if opcode == CLOSE:
            self.trouble = f"close frame {int.from_bytes(buffer[begin:begin + 2], 'big')}"
        self.buffer = buffer[begin + size:]
        return True


def main(port, token, count):
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    streams = []
    for _ in range(count):
        streams.append(Stream(port, token))
        selector.register(streams[-1].socket, selectors.EVENT_READ, streams[-1])
    open_told, deadline = False, time.monotonic() + PATIENCE_S
    while True:
        for key, _ in selector.select(1):
            if key.data is None:
                print(json.dumps({
                    "streams": len(streams),
                    "metrics_least": min(stream.metrics for stream in streams),
                    "metrics_most": max(stream.metrics for stream in streams),
                    "bytes": sum(stream.bytes for stream in streams),
                    "troubles": [stream.trouble for stream in streams if stream.trouble]}))
                return
            key.data.read()
            if key.data.trouble:
                selector.unregister(key.data.socket)
        if not open_told and (all(stream.metrics or stream.trouble for stream in streams) or
                              time.monotonic() > deadline):
            print("open", flush=True)
            open_told = True


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
