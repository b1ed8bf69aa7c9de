# SPDX-License-Identifier: Apache-2.0
"""A slow way to the sidecar: a TCP proxy with a latency and a bandwidth towards the client.

What it holds is bounded: with BUFFER bytes on the way it stops reading, so that the sidecar feels
the slowness as it would through a real network.
"""
import asyncio
import threading

BUFFER = 64 << 10
PIECE = 4 << 10


class Proxy:
    """Runs in a thread of its own until close()."""

    def __init__(self, target, latency_s, bytes_per_s):
        self.target, self.latency, self.rate = target, latency_s, bytes_per_s
        self.bytes_down = 0     # to the client, over all connections
        self.heads = []         # the first line of each connection's first request
        self.free_at = 0.0      # when the line, shared by all, is free again
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def _serve(self, client_in, client_out):
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client_out.close()
            return
        up = asyncio.ensure_future(self._up(client_in, server_out))
        down = asyncio.ensure_future(self._down(server_in, client_out))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            client_out.close()
            server_out.close()

    async def _up(self, source, target):
        """What clients send is small: latency does not apply to it, the way back has it all."""
        first = True
        while block := await source.read(BUFFER):
            if first:
                self.heads.append(block.split(b"\r\n", 1)[0].decode("latin-1"))
                first = False
            target.write(block)
            await target.drain()

    async def _down(self, source, target):
        """Reads as long as less than BUFFER is on the way; a second task lets go what is due."""
        way = asyncio.Queue(BUFFER // PIECE)
        sender = asyncio.ensure_future(self._send(way, target))
        try:
            while block := await source.read(PIECE):
                now = self.loop.time()
                self.free_at = max(self.free_at, now) + len(block) / self.rate
                await way.put((self.free_at + self.latency, block))
            await way.put((0, b""))
            await sender
        finally:
            sender.cancel()

    async def _send(self, way, target):
        while True:
            due, block = await way.get()
            if not block:
                return
            await asyncio.sleep(max(0.0, due - self.loop.time()))
            target.write(block)
            await target.drain()
            self.bytes_down += len(block)

    def streams(self):
        return sum("/admin/v1/telemetry" in head for head in list(self.heads))

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
