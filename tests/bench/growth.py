# SPDX-License-Identifier: Apache-2.0
"""How cost grows: growth.py [--json FILE] [--svg FILE] [--curve NAME]...

Each curve changes one thing and measures the sidecar's process at each point: CPU a tick, resident
memory without the regions' pages, bytes that a client gets a tick. Of records written faster than a
tick can carry, how many were lost, and whether those that came and those that were told as lost are
together exactly those written. The law is the slope in the upper half of the curve, both axes
logarithmic: 1 is linear.

Programs of ours are found below $FWDSCOPE_BUILD (default: build-tests/bench). Exit code 1: could
not be measured.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import re
import socket
import sys
import threading
import time

import load
from load import Clients, Directory, Failed, Forwarders, Sidecar, cpu_ns, rss_bytes

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FWDSCOPE_BUILD", ROOT / "build-tests/bench"))

INTERVAL_MS = 500
SETTLE_S, MEASURE_S = 1.2, 2.0


@contextlib.contextmanager
def running(**regions):
    with Directory() as directory, \
            Forwarders(BUILD, directory, **regions), \
            Sidecar(BUILD, "--dir", directory, "--interval", f"{INTERVAL_MS}ms",
                    "--max-clients", 1000) as sidecar:
        yield sidecar


def point(clients, **regions):
    """One point of a curve with clients that throw away what they get."""
    with running(**regions) as sidecar, \
            Clients(BUILD, sidecar.port, clients, load.STREAM) as readers:
        time.sleep(SETTLE_S)
        first = readers.message_bytes()
        ticks, cpu = sidecar.sampler()["ticks"], cpu_ns(sidecar.pid)
        time.sleep(MEASURE_S)
        got = readers.message_bytes() - first
        cpu = cpu_ns(sidecar.pid) - cpu
        ticks = sidecar.sampler()["ticks"] - ticks
        return {"cpu_ms": cpu / ticks / 1e6, "rss_mb": rss_bytes(sidecar.pid) / 1e6,
                "kb": got / ticks / clients / 1e3}


class Counter:
    """A WebSocket client that counts the records it gets and those told as lost."""

    def __init__(self, port, record, lost):
        self.record, self.lost = record, re.compile(lost)
        self.records = self.told = self.bytes = 0
        self.socket = socket.create_connection(("127.0.0.1", port), load.BOUND)
        self.socket.sendall(f"GET {load.STREAM} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        head = self.socket.recv(4096)
        if not head.startswith(b"HTTP/1.1 101"):
            raise Failed(f"no WebSocket: {head!r}")
        self.socket.settimeout(None)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with contextlib.suppress(OSError), self.socket.makefile("rb", 1 << 20) as stream:
            parts = []
            while head := stream.read(2):
                size = head[1] & 0x7f
                if size >= 126:
                    size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
                payload = stream.read(size)
                if head[0] & 0xf <= 1: # of a text message
                    parts.append(payload)
                    if head[0] & 0x80:
                        self.take(b"".join(parts))
                        parts.clear()

    def take(self, text):
        self.bytes += len(text)
        self.records += text.count(self.record)
        self.told += sum(int(match[1]) for match in self.lost.finditer(text))

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


RECORDS = {
    "lines": (b'"body":{"stringValue":"....',
              rb'"fwdscope.lost.log_records","value":{"intValue":"(\d+)"'),
    "spans": (b'"name":"batch"',
              rb'"fwdscope.lost.spans","value":{"intValue":"(\d+)"'),
}


def point_of_records(kind, rate):
    """So many lines or spans a second by four threads; what was written is counted to the last."""
    with Directory() as directory, \
            Sidecar(BUILD, "--dir", directory, "--interval", f"{INTERVAL_MS}ms") as sidecar, \
            contextlib.closing(Counter(sidecar.port, *RECORDS[kind])) as counter, \
            Forwarders(BUILD, directory, threads=4, lanes=8, **{kind: rate}) as forwarders:
        time.sleep(SETTLE_S)
        ticks, cpu, got = sidecar.sampler()["ticks"], cpu_ns(sidecar.pid), counter.bytes
        time.sleep(MEASURE_S)
        got, cpu = counter.bytes - got, cpu_ns(sidecar.pid) - cpu
        ticks = sidecar.sampler()["ticks"] - ticks
        written = forwarders.stop()[kind == "spans"]
        with contextlib.suppress(Failed):
            load.wait_until(lambda: counter.records + counter.told >= written, "the last record")
        if counter.records + counter.told != written:
            raise Failed(f"{written} {kind} were written, {counter.records} came, "
                         f"{counter.told} were told as lost")
        return {"cpu_ms": cpu / ticks / 1e6, "rss_mb": rss_bytes(sidecar.pid) / 1e6,
                "kb": got / ticks / 1e3, "lost": counter.told / written * 100}


def point_of_instruments(n):
    """In as many regions as it takes: one holds 65,536 at most."""
    count = 1 + n // 65537
    return point(1, count=count, instruments=n // count)


CURVES = {
    # name: (what grows, its values, how a point is measured)
    "instruments": ("instruments", (10, 100, 1000, 10000, 100000), point_of_instruments),
    "lanes": ("lanes, of 1,000 instruments", (2, 4, 8, 16, 32, 64),
              lambda n: point(1, instruments=1000, lanes=n, threads=n - 1)),
    "lines": ("log lines a second", (100, 1000, 3000, 10000, 30000, 100000, 300000),
              lambda n: point_of_records("lines", n)),
    "spans": ("spans a second", (100, 300, 1000, 3000, 10000, 30000, 100000),
              lambda n: point_of_records("spans", n)),
    "clients": ("clients, of 100 instruments", (1, 3, 10, 30, 100, 300, 1000),
                lambda n: point(n, instruments=100)),
    "regions": ("regions, of 10 instruments", (1, 3, 10, 30, 100, 200),
                lambda n: point(1, count=n)),
}
FIGURES = {"cpu_ms": "CPU a tick, ms", "rss_mb": "memory, MB", "kb": "bytes a tick, KB",
           "lost": "lost, %"}


# ---- what it says ------------------------------------------------------------------------------


def slope(points):
    """Of a straight line through points, both axes logarithmic."""
    places = [(math.log(x), math.log(max(y, 1e-9))) for x, y in points]
    mean_x = sum(x for x, _ in places) / len(places)
    mean_y = sum(y for _, y in places) / len(places)
    return sum((x - mean_x) * (y - mean_y) for x, y in places) / \
        sum((x - mean_x) ** 2 for x, _ in places)


def line(points):
    """(a, b) of a + b * x, such that the relative errors are least."""
    weights = [1 / max(y, 1e-9) ** 2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points)) / total
    b = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points)) / \
        sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points))
    return mean_y - b * mean_x, b


def law(name, figure, points):
    """Records beyond what is carried are lost, not worked on: the law holds up to there."""
    carried = [(n, each[figure]) for n, each in points if each.get("lost", 0) == 0]
    if len(carried) < 3:
        return {"exponent": None, "text": "too few points"}
    exponent = slope(carried[len(carried) // 2:])
    a, b = line(carried)
    unit = FIGURES[figure].split(", ")[1]
    if exponent >= 1.15:
        text = f"n^{exponent:.2f}: more than linear"
    elif abs(b) * carried[-1][0] < 0.1 * a:
        text = f"{a:.3g} {unit}, whatever n is"
    else:
        text = f"{a:.3g} {unit} + {b * 1000:.3g} {unit} a thousand"
    return {"exponent": round(exponent, 2), "text": text}


def show(name, points, laws):
    what = CURVES[name][0]
    figures = [figure for figure in FIGURES if figure in points[0][1]]
    print(f"\n{what}")
    print("".join([f"{'n':>10}", *(f"{FIGURES[figure]:>20}" for figure in figures)]))
    for n, each in points:
        print("".join([f"{n:>10,}", *(f"{each[figure]:>20.3f}" for figure in figures)]))
    for figure, found in laws.items():
        print(f"  {FIGURES[figure].split(', ')[0]}: {found['text']} "
              f"(slope above the middle: {found['exponent']})")
    sys.stdout.flush()


# ---- the picture -------------------------------------------------------------------------------

WIDTH, PANEL, HEIGHT, LEFT, TOP, GAP = 860, 250, 150, 52, 58, 34
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 13px; }
.faint { fill: #59636e; font-size: 11px; }
.page { fill: #ffffff; }
.grid { stroke: #d1d9e0; fill: none; }
.cpu_ms { stroke: #2a6fb0; fill: #2a6fb0; }
.rss_mb { stroke: #b35900; fill: #b35900; }
.kb { stroke: #4c8c2b; fill: #4c8c2b; }
.curve { fill: none; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .faint { fill: #9198a1; }
  .page { fill: #0d1117; }
  .grid { stroke: #3d444d; }
  .cpu_ms { stroke: #58a6ff; fill: #58a6ff; }
  .rss_mb { stroke: #e3934a; fill: #e3934a; }
  .kb { stroke: #7ec355; fill: #7ec355; }
}
"""


def powers(values):
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def short(number):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def panel(name, points, x0, y0):
    """One curve's figures against what grows; both axes logarithmic."""
    width = PANEL - LEFT
    figures = ("cpu_ms", "rss_mb", "kb")
    x_low, x_high = powers([n for n, _ in points])
    y_low, y_high = powers([max(each[figure], 1e-3) for _, each in points for figure in figures])
    place_x = lambda n: x0 + LEFT + (math.log10(n) - x_low) / (x_high - x_low) * width
    place_y = lambda y: y0 + HEIGHT - (math.log10(max(y, 1e-3)) - y_low) / (y_high - y_low) * HEIGHT
    out = [f'<text class="title" x="{x0 + LEFT}" y="{y0 - 8}">{CURVES[name][0]}</text>']
    for power in range(y_low, y_high + 1):
        y = place_y(10.0 ** power)
        out.append(f'<line class="grid" x1="{x0 + LEFT}" y1="{y:.1f}" x2="{x0 + PANEL}" '
                   f'y2="{y:.1f}"/>')
        out.append(f'<text class="faint" x="{x0 + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
                   f"{short(10.0 ** power)}</text>")
    for power in range(x_low, x_high + 1):
        out.append(f'<text class="faint" x="{place_x(10.0 ** power):.1f}" y="{y0 + HEIGHT + 16}" '
                   f'text-anchor="middle">{short(10.0 ** power)}</text>')
    for figure in figures:
        path = " ".join(f"{place_x(n):.1f},{place_y(each[figure]):.1f}" for n, each in points)
        out.append(f'<polyline class="curve {figure}" style="fill:none" points="{path}"/>')
    return out


def svg(results):
    columns = 3
    rows = -(-len(results) // columns)
    height = TOP + rows * (HEIGHT + GAP + 30) - 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" role="img">',
           "<title>How the sidecar's cost grows</title>", f"<style>{STYLE}</style>",
           f'<rect class="page" width="{WIDTH}" height="{height}"/>']
    x = LEFT
    for figure in ("cpu_ms", "rss_mb", "kb"):
        out.append(f'<rect class="{figure}" x="{x}" y="14" width="14" height="4"/>')
        out.append(f'<text x="{x + 20}" y="21">{FIGURES[figure]}</text>')
        x += 150
    for i, (name, result) in enumerate(results.items()):
        out += panel(name, result["points"], 10 + i % columns * (PANEL + 32),
                     TOP + i // columns * (HEIGHT + GAP + 30))
    return "\n".join([*out, "</svg>"]) + "\n"


def main(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path)
    parser.add_argument("--curve", action="append", choices=CURVES, default=[])
    arguments = parser.parse_args(words)
    results = {}
    try:
        for name in arguments.curve or CURVES:
            _, values, measure = CURVES[name]
            points = [(n, measure(n)) for n in values]
            laws = {figure: law(name, figure, points) for figure in ("cpu_ms", "rss_mb", "kb")}
            results[name] = {"points": points, "laws": laws}
            show(name, points, laws)
    except (Failed, OSError) as why:
        print(f"growth.py: {name}: {why}", file=sys.stderr)
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.svg:
        arguments.svg.write_text(svg(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
