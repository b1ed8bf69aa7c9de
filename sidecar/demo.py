# SPDX-License-Identifier: Apache-2.0
"""The running part of sidecar/demo: replays, forwards, watches, prints one line a tick.

Everything it starts is ended by it, by pid; everything it writes lies in two temporary
directories that it removes. A forwarder that somebody kills stays dead: the demo goes on serving.
"""

import signal

# Until the loop takes the signals over there is nothing to remove: Ctrl-C just ends.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.request

import websockets

BUILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build")
ROTATE_BYTES = 64 << 20  # the followed file is rotated, as a log is
LOGS = ("/var/log/dpkg.log", "/var/log/dpkg.log.1")  # the first may have been rotated just now

CONFIG = """\
service_name: demo-forwarder
heartbeat_ms: 1000
input:
  paths: [{log}]
  from: beginning
transform:
  exclude: " trigproc "
batch: {{rows: 500, bytes: 262144, timeout_ms: 500}}
output:
  type: tcp
  address: 127.0.0.1:{port}
  workers: 2
  queue_batches: 64
"""


def default_log():
    filled = [log for log in LOGS if os.path.exists(log) and os.path.getsize(log) > 0]
    return (filled or LOGS)[0]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="sidecar/demo")
    parser.add_argument("--for", dest="seconds", type=float, default=None, metavar="SECONDS")
    parser.add_argument("--listen", default="127.0.0.1:9090", metavar="ADDR:PORT")
    parser.add_argument("--log", default=default_log(), metavar="FILE")
    parser.add_argument("--rate", type=int, default=2000, metavar="LINES")
    arguments = parser.parse_args()
    if arguments.rate < 1 or (arguments.seconds is not None and arguments.seconds <= 0):
        parser.error("--rate and --for take positive numbers")
    return arguments


def read_lines(log):
    with open(log, "rb") as file:
        lines = file.readlines()
    if not lines:
        raise RuntimeError(f"{log} is empty: give another file with --log")
    return lines


async def replay(lines, target, rate):
    """Appends the lines to target, over and over, `rate` a second."""
    at, began, written = 0, time.monotonic(), 0
    out = open(target, "ab", buffering=0)
    try:
        while True:
            due = int((time.monotonic() - began) * rate) - written
            block = b"".join(lines[(at + i) % len(lines)] for i in range(due))
            out.write(block)
            at = (at + due) % len(lines)
            written += due
            if out.tell() > ROTATE_BYTES:
                out.close()
                os.replace(target, target + ".1")
                out = open(target, "ab", buffering=0)
            await asyncio.sleep(0.05)
    finally:
        out.close()


class Sink:
    """The destination: a TCP server that counts the lines it is sent."""

    def __init__(self):
        self.lines = 0
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self.take, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def take(self, reader, writer):
        try:
            while block := await reader.read(1 << 16):
                self.lines += block.count(b"\n")
        except ConnectionError:
            pass
        finally:
            writer.close()


class Seen:
    """What came over the stream so far, and since the last line that was printed."""

    def __init__(self):
        self.metrics = self.spans = self.logs = 0
        self.active = self.lost = 0
        self.sums = {}
        self.tick = asyncio.Event()

    def take(self, document):
        for resource in document.get("resourceMetrics", []):
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    self.take_metric(metric)
        if "resourceMetrics" in document:
            self.metrics += 1
            self.tick.set()
        for resource in document.get("resourceSpans", []):
            self.active = 0
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    keys = {a["key"] for a in span.get("attributes", [])}
                    if "in_progress" in keys:
                        self.active += 1
                    else:
                        self.spans += 1
        for resource in document.get("resourceLogs", []):
            for scope in resource["scopeLogs"]:
                notice = scope["scope"]["name"] == "fwdscope"
                for record in scope["logRecords"]:
                    if notice:
                        self.lost += sum(
                            int(a["value"]["intValue"])
                            for a in record["attributes"]
                            if a["key"] != "fwdscope.lost.ticks"
                        )
                    else:
                        self.logs += 1

    def take_metric(self, metric):
        total = sum(
            int(point["asInt"])
            for point in metric.get("sum", {}).get("dataPoints", [])[-1:]
            if "asInt" in point
        )
        if "sum" in metric:
            self.sums[metric["name"]] = total


async def watch(address, seen):
    """Reads the stream; comes back when the sidecar goes away for a moment."""
    while True:
        try:
            url = f"ws://{address}/admin/v1/telemetry"
            async with websockets.connect(url, max_size=None) as stream:
                async for message in stream:
                    seen.take(json.loads(message))
        except (OSError, websockets.WebSocketException):
            await asyncio.sleep(0.2)


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=2) as answer:
        return json.load(answer)


class Cost:
    """CPU and memory of a process, from /proc."""

    def __init__(self, pid):
        self.pid = pid
        self.ticks, self.at = self.cpu_ticks(), time.monotonic()

    def cpu_ticks(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def read(self):
        ticks, at = self.cpu_ticks(), time.monotonic()
        cpu = (ticks - self.ticks) / os.sysconf("SC_CLK_TCK") / max(at - self.at, 1e-9)
        self.ticks, self.at = ticks, at
        with open(f"/proc/{self.pid}/statm") as file:
            rss = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        return f"sidecar {100 * cpu:.1f} % CPU {rss / 2**20:.1f} MiB"


async def report(address, seen, cost):
    """One line a tick."""
    before, at = dict(seen.sums), time.monotonic()
    while True:
        seen.tick.clear()
        await seen.tick.wait()
        now = time.monotonic()
        status = await asyncio.to_thread(get, address, "/admin/v1/status")
        stages = [p["bottleneck"]["stage"] for p in status["pipelines"]]
        bound = [stage + "-bound" for stage in stages if stage != "none"]

        def rate(name):
            return (seen.sums.get(name, 0) - before.get(name, 0)) / max(now - at, 1e-9)

        print(
            f"{rate('forwarder.output_lines'):7.0f} lines/s  {rate('forwarder.batches'):5.1f} "
            f"batches/s  {seen.active:2d} active spans  {seen.logs:4d} log lines  "
            f"{seen.lost} lost  {cost.read()}  forwarder {status['writer']['state']}"
            f"{', ' + bound[0] if bound else ''}",
            flush=True,
        )
        before, at = dict(seen.sums), now


def message_of(line):
    """What a log line of the sidecar says."""
    text = line.decode(errors="replace").rstrip()
    try:
        return json.loads(text)["message"]
    except (ValueError, KeyError):
        return text


async def served(process):
    """Waits for the sidecar's line that says where it serves; passes its other lines on."""
    while line := await process.stderr.readline():
        text = message_of(line)
        if text.startswith("serving http://"):
            return text.split("http://")[1].split("/")[0]
        print("fwdscope:", text, file=sys.stderr)
    raise RuntimeError("the sidecar did not start")


async def pass_on(process):
    while line := await process.stderr.readline():
        print("fwdscope:", message_of(line), file=sys.stderr)


async def end(process):
    """SIGTERM, and after 10 s SIGKILL; by pid, only what was started here."""
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()


async def run(arguments, lines):
    """The demo in directories of its own, until a signal or its time ends it."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # The region lies where a forwarder's does: on tmpfs.
    with (
        tempfile.TemporaryDirectory(prefix="fwdscope-demo.", ignore_cleanup_errors=True) as files,
        tempfile.TemporaryDirectory(
            prefix="fwdscope-demo.", dir="/dev/shm", ignore_cleanup_errors=True
        ) as regions,
    ):
        return await show(arguments, lines, files, regions, stop)


async def show(arguments, lines, files, regions, stop):
    log = os.path.join(files, "app.log")
    config = os.path.join(files, "forwarder.yaml")
    sink, seen = Sink(), Seen()
    port = await sink.start()
    open(log, "wb").close()
    with open(config, "w") as file:
        file.write(CONFIG.format(log=log, port=port))

    environment = dict(os.environ, FWDSCOPE_DIR=regions)
    sidecar = forwarder = None
    tasks = []
    try:
        sidecar = await asyncio.create_subprocess_exec(
            os.path.join(BUILD, "fwdscope"), "serve", "--listen", arguments.listen,
            env=environment, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )
        address = await served(sidecar)
        forwarder = await asyncio.create_subprocess_exec(
            os.path.join(BUILD, "fwdscope-example-forwarder"), "--config", config,
            env=environment, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )
        print(f"open http://{address}/   forwarder pid {forwarder.pid}, sidecar pid {sidecar.pid}")
        print(f"replaying {arguments.log} at {arguments.rate} lines/s; Ctrl-C ends", flush=True)
        work = [
            replay(lines, log, arguments.rate),
            watch(address, seen),
            report(address, seen, Cost(sidecar.pid)),
            pass_on(sidecar),
        ]
        tasks = [asyncio.create_task(job) for job in work]
        ended = asyncio.create_task(stop.wait())
        gone = asyncio.create_task(sidecar.wait())
        await asyncio.wait(
            [ended, gone, *tasks[:3]], timeout=arguments.seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in tasks[:3]:
            if task.done():
                task.result()  # raises what went wrong
        if gone.done():
            raise RuntimeError(f"the sidecar ended by itself with {sidecar.returncode}")
    finally:
        for task in tasks:
            task.cancel()
        await end(forwarder)
        await end(sidecar)
    return judge(seen, sink, sidecar.returncode)


def judge(seen, sink, code):
    print(
        f"arrived: {seen.metrics} metric messages, {seen.spans} finished spans, {seen.logs} log "
        f"lines; lost {seen.lost}; delivered to the destination: {sink.lines} lines"
    )
    missing = [
        name
        for name, count in (
            ("metrics", seen.metrics),
            ("spans", seen.spans),
            ("log lines", seen.logs),
            ("forwarded lines", sink.lines),
        )
        if count == 0
    ]
    for name in missing:
        print(f"demo: no {name} arrived", file=sys.stderr)
    if code != 0:
        print(f"demo: the sidecar ended with {code}, not 0", file=sys.stderr)
    return 1 if missing or code != 0 else 0


def main():
    arguments = parse_arguments()
    try:
        return asyncio.run(run(arguments, read_lines(arguments.log)))
    except (RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
