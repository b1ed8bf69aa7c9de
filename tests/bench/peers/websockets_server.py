# SPDX-License-Identifier: Apache-2.0
"""A stream of Python's websockets: websockets_server.py BYTES EVERY_MS. Prints "listening PORT", then
sends one text message of so many bytes to every client each so many ms, until it is ended."""
import asyncio
import sys

import websockets

CLIENTS = set()


async def serve(socket):
    CLIENTS.add(socket)
    try:
        await socket.wait_closed()
    finally:
        CLIENTS.remove(socket)


async def main(message, every):
    async with websockets.serve(serve, "127.0.0.1", 0, compression=None, backlog=1024) as server:
        print(f"listening {server.sockets[0].getsockname()[1]}", flush=True)
        while True:
            await asyncio.sleep(every)
            websockets.broadcast(CLIENTS, message)


asyncio.run(main("x" * int(sys.argv[1]), int(sys.argv[2]) / 1000))
