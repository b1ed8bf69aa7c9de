# SPDX-License-Identifier: Apache-2.0
"""Rows of the benchmark that need whole processes: server.py OPERATION CONTENDER, or --list.

One round of one operation with one contender; prints one number, in the operation's unit:

  broadcast        us of CPU a client and 100 KB: 1,000 WebSocket clients, a message each 100 ms
  broadcast_rss    MB that the server grows by while it does that, over what it had before clients
  http_live        us of CPU a request: wrk, 64 connections, GET /live
  http_live_streams  the same of the thread that answers, with 100 streams beside
  rss              MB resident, without regions
  idle_cpu         % of one CPU, nobody asking, one forwarder
  start            ms from exec to the word that it serves
  tick             ms of CPU a reading of 1,000 points, sent to 10 clients
  tick_unheard     the same without clients

Programs of ours are found below $FWDSCOPE_BUILD (default: build-tests/bench). Exit code 1: could
not be measured, and why.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time

import load
from load import Clients, Directory, Failed, Forwarders, Peer, Sidecar, cpu_ns, rss_bytes

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FWDSCOPE_BUILD", ROOT / "build-tests/bench"))

MESSAGE_BYTES = 100000
MESSAGE_INSTRUMENTS = 258 # about so many bytes as one document of OTLP
TICK_BYTES = 375500 # of 1,000 points
EVERY_MS = 100
CLIENTS = 1000
ROUND_S = 1.5


@contextlib.contextmanager
def ours(*options, **regions):
    """A sidecar, one forwarder."""
    with Directory() as directory, \
            Forwarders(BUILD, directory, **regions), \
            Sidecar(BUILD, "--dir", directory, *options) as sidecar:
        yield sidecar


@contextlib.contextmanager
def peer(name, *arguments):
    """Another's server, on the server's CPU."""
    import peers.servers as servers
    with servers.start(name, *arguments) as server:
        for thread in os.listdir(f"/proc/{server.pid}/task"):
            os.sched_setaffinity(int(thread), {load.SERVER_CPU})
        yield server


def broadcaster(contender):
    if contender == "fwdscope":
        return ours("--interval", f"{EVERY_MS}ms", "--max-clients", CLIENTS,
                    instruments=MESSAGE_INSTRUMENTS)
    if contender in ("send", "libwebsockets"):
        return Peer(BUILD, contender, MESSAGE_BYTES, EVERY_MS)
    return peer(contender, MESSAGE_BYTES, EVERY_MS)


def broadcast_run(contender):
    """(us a client and message, MB of growth)"""
    path = None if contender == "send" else load.STREAM
    with broadcaster(contender) as server:
        before = rss_bytes(server.pid)
        with Clients(BUILD, server.port, CLIENTS, path) as clients:
            enough = clients.bytes() + 2 * CLIENTS * MESSAGE_BYTES
            load.wait_until(lambda: clients.bytes() > enough, "the first messages")
            first = clients.quiet_bytes()
            cpu = cpu_ns(server.pid)
            time.sleep(ROUND_S)
            last = clients.quiet_bytes()
            cpu = cpu_ns(server.pid) - cpu
            messages = (last - first) / MESSAGE_BYTES
            if messages < CLIENTS:
                raise Failed(f"only {messages:g} messages came")
            return cpu / messages / 1e3, (rss_bytes(server.pid) - before) / 1e6


def broadcast(contender):
    return broadcast_run(contender)[0]


def broadcast_rss(contender):
    return broadcast_run(contender)[1]


def http_server(contender):
    if contender == "fwdscope":
        return ours()
    return Peer(BUILD, "evhttp") if contender == "evhttp" else peer(contender)


def requests_cpu(server, cpu):
    """us of CPU a request, as cpu() counts it."""
    wrk = ["wrk", "-t1", "-c64", "-d1s", f"http://127.0.0.1:{server.port}/live"]
    before = cpu()
    said = subprocess.run(["taskset", "-c", str(load.LOAD_CPU), *wrk], capture_output=True,
                          text=True, timeout=load.BOUND, check=True).stdout
    spent = cpu() - before
    count = re.search(r"(\d+) requests in", said)
    if count is None or "Non-2xx" in said or "Socket errors" in said:
        raise Failed(f"wrk says: {said}")
    return spent / int(count[1]) / 1e3


def http_live(contender):
    with http_server(contender) as server:
        return requests_cpu(server, lambda: cpu_ns(server.pid))


def http_live_streams(contender):
    with ours("--interval", f"{EVERY_MS}ms", "--max-clients", 100,
              instruments=MESSAGE_INSTRUMENTS) as server, \
            Clients(BUILD, server.port, 100, load.STREAM):
        # The tick is of the same thread: what it takes without requests is not theirs.
        cpu = lambda: load.thread_cpu_ns(server.pid, server.pid)
        before, began = cpu(), time.monotonic()
        time.sleep(1)
        a_second = (cpu() - before) / (time.monotonic() - began)
        return requests_cpu(server, lambda: cpu() - round(a_second * time.monotonic()))


def rss(contender):
    if contender == "fwdscope":
        server = ours("--interval", "100ms")
    elif contender == "evhttp":
        server = Peer(BUILD, "evhttp")
    elif contender == "libwebsockets":
        server = Peer(BUILD, "libwebsockets", MESSAGE_BYTES, EVERY_MS)
    else:
        server = peer(contender, *([MESSAGE_BYTES, EVERY_MS] if contender.endswith("_ws") else []))
    with server as it:
        time.sleep(0.5)
        return rss_bytes(it.pid) / 1e6


QUIET_S = 62 # rings that nobody wrote to for a minute are looked at once a tick


def idle_cpu(contender):
    with ours() as server:
        time.sleep(QUIET_S)
        before, began = cpu_ns(server.pid), time.monotonic()
        time.sleep(20) # ten ticks, whenever it begins
        return (cpu_ns(server.pid) - before) / (time.monotonic() - began) / 1e9 * 100


def start(contender):
    """Without Python between fork and exec: its own start is not ours."""
    with Directory() as directory:
        read, write = os.pipe()
        words = [str(BUILD / "fwdscope"), "serve", "--listen", "127.0.0.1:0", "--dir", directory]
        began = time.monotonic()
        pid = os.posix_spawn(words[0], words, os.environ,
                             file_actions=[(os.POSIX_SPAWN_DUP2, write, 2)])
        os.close(write)
        said = b""
        while b"serving http://" not in said:
            got = os.read(read, 4096)
            if not got:
                break
            said += got
        took = time.monotonic() - began
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(read)
        if b"serving http://" not in said:
            raise Failed(said.decode())
        return took * 1e3


def tick_cpu(server):
    ticks, cpu = server.sampler()["ticks"], cpu_ns(server.pid)
    time.sleep(ROUND_S)
    cpu = cpu_ns(server.pid) - cpu
    ticks = server.sampler()["ticks"] - ticks
    return cpu / ticks / 1e6


def tick_sent():
    """What the kernel takes of it: as many bytes, sent to as many connections as often."""
    with Peer(BUILD, "send", TICK_BYTES, EVERY_MS) as server, \
            Clients(BUILD, server.port, 10) as clients:
        time.sleep(0.3)
        first, cpu = clients.quiet_bytes(), cpu_ns(server.pid)
        time.sleep(ROUND_S)
        ticks = (clients.quiet_bytes() - first) / TICK_BYTES / 10
        return (cpu_ns(server.pid) - cpu) / ticks / 1e6


def tick(contender):
    if contender == "send":
        return tick_sent()
    with ours("--interval", f"{EVERY_MS}ms", instruments=1000) as server, \
            Clients(BUILD, server.port, 10, load.STREAM):
        return tick_cpu(server)


def tick_unheard(contender):
    with ours("--interval", f"{EVERY_MS}ms", instruments=1000) as server:
        return tick_cpu(server)


OPERATIONS = {
    broadcast: ("fwdscope", "send", "libwebsockets", "node_ws", "python_ws"),
    broadcast_rss: ("fwdscope", "libwebsockets", "node_ws", "python_ws"),
    http_live: ("fwdscope", "evhttp", "nginx", "node_http"),
    http_live_streams: ("fwdscope",),
    rss: ("fwdscope", "evhttp", "libwebsockets", "nginx", "node_exporter", "node_ws"),
    idle_cpu: ("fwdscope",),
    start: ("fwdscope",),
    tick: ("fwdscope", "send"),
    tick_unheard: ("fwdscope",),
}


def main(words):
    if words == ["--list"]:
        for operation, contenders in OPERATIONS.items():
            print(operation.__name__, *contenders)
        return 0
    chosen = [operation for operation in OPERATIONS if [operation.__name__] == words[:1]]
    if len(words) != 2 or not chosen or words[1] not in OPERATIONS[chosen[0]]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(f"{chosen[0](words[1]):.4f}")
        return 0
    except (Failed, OSError, subprocess.SubprocessError) as why:
        print(f"server.py {words[0]} {words[1]}: {why}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
