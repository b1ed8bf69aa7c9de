# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark: what is measured, against what, and what it is meant to reach.

A row has contenders: ours, limits (what the machine could do at best) and peers (what somebody
would otherwise use). Each is a command that does one round and prints one number. Where both exist,
a goal is a ratio, because times differ from machine to machine.
"""
import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
OURS, LIMIT, PEER = "ours", "limit", "peer"


@dataclasses.dataclass(frozen=True)
class Contender:
    label: str
    words: tuple        # the command; "{bench}" is the directory of the programs
    cpus: int = 1       # that it needs: 1, 2, or 0: it chooses its own
    scale: float = 1.0  # its number times this is the row's unit
    document: str = ""  # its number is of a whole document of that signal
    lttng: bool = False # needs a session of LTTng
    role: str = PEER


@dataclasses.dataclass(frozen=True)
class Goal:
    """Ours is at most `factor` times what `contender` (a label of the row, or "row:ID": ours of
    another row) takes; without one, at most `factor` units."""
    factor: float
    contender: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    id: str
    title: str
    unit: str
    contenders: tuple
    goals: tuple = ()
    rounds: int = 9


def program(name, operation):
    return (f"{{bench}}/{name}", operation)


def ours(operation, area="shim", **more):
    return Contender("fwdscope", program(f"bench_{area}", operation), role=OURS, **more)


def limit(label, operation, area="shim", **more):
    return Contender(label, program(f"bench_{area}", operation), role=LIMIT, **more)


def peer(label, name, operation, **more):
    return Contender(label, program(f"peers/peer_{name}", operation), **more)


def script(label, interpreter, name, operation, **more):
    return Contender(label, (interpreter, str(HERE / "peers" / name), operation), **more)


def server(operation, contender, label, role=PEER):
    return Contender(label, ("python3", str(HERE / "server.py"), operation, contender), cpus=0,
                     role=role)


def fewer(times, contender):
    """Ours takes at least so many times less."""
    return Goal(1 / times, contender)


ATOMIC = "shared atomic counter"
PCP = "PCP mmv"
PROMETHEUS = "Prometheus client, Python"
LTTNG = "LTTng-UST event"
SPDLOG = "spdlog async"
PIPE = "write(2) to a pipe"
PROTOBUF = "libprotobuf, JSON"
RAPID = "RapidJSON, built and written"


def prometheus(operation):
    return script(PROMETHEUS, "python3", "prometheus.py", operation)


SHIM = (
    Row("counter_add", "counter add", "ns", (
        ours("counter_add"),
        limit("plain ++", "plain_increment"),
        limit("own word behind a call", "tls_call"),
        peer(PCP, "pcp", "mmv_inc"),
        peer(ATOMIC, "plain", "atomic_add"),
        prometheus("counter_inc"),
    ), (Goal(3), Goal(2, "plain ++"))), # set for an inlined call; ours is one
    Row("counter_add_2t", "counter add, two threads, none lost", "ns", (
        ours("counter_add_2t", cpus=2),
        peer(PCP + " (loses updates)", "pcp", "mmv_inc_2t", cpus=2),
        peer(ATOMIC, "plain", "atomic_add_2t", cpus=2),
    ), (Goal(3), fewer(9, ATOMIC))), # a lost update ends a round of ours as a failure
    Row("counter_lost_2t", "updates lost, two threads", "%", (
        Contender("fwdscope", ("{bench}/bench_shim", "counter_add_2t"), cpus=2, scale=0.0,
                  role=OURS),
        peer(PCP, "pcp", "mmv_inc_2t_lost", cpus=2),
    ), (Goal(0),)),
    Row("gauge_set", "gauge set", "ns", (
        ours("gauge_set"),
        limit("plain store", "store"),
        peer(PCP, "pcp", "mmv_set"),
        prometheus("gauge_set"),
    ), (Goal(1, PCP),)),
    Row("histogram_record", "histogram record", "ns", (
        ours("histogram_record"),
        limit("its stores alone", "histogram_limit"),
        prometheus("histogram_observe"),
    ), (Goal(3),)),
    Row("span", "span: start, 6 attributes, end", "ns", (
        ours("span"),
        limit("one clock reading", "clock_read"),
        peer(LTTNG, "lttng", "span", lttng=True),
    ), (Goal(120),)),
    Row("span_record", "record of a finished span, 250 bytes", "ns", (
        ours("span_record"),
        limit("memcpy into an own ring", "memcpy_ring"),
        limit("one clock reading", "clock_read"),
        peer(LTTNG, "lttng", "span", lttng=True),
    ), (Goal(30), fewer(5, LTTNG))),
    Row("log_line", "log line, 160 bytes", "ns", (
        ours("log_line"),
        limit("memcpy into an own ring", "memcpy_line"),
        limit("one clock reading", "clock_read"),
        peer(LTTNG, "lttng", "line", lttng=True),
        peer(SPDLOG, "spdlog", "async", cpus=2),
        peer(SPDLOG + ", overwriting", "spdlog", "async_overwrite", cpus=2),
        peer(PIPE, "plain", "write_pipe", cpus=2),
    ), (Goal(30), fewer(4.5, LTTNG), fewer(15, SPDLOG), fewer(20, PIPE))),
    Row("log_line_2t", "log line, two threads", "ns", (
        ours("log_line_2t", cpus=2),
        peer("ring shared without a lock", "plain", "shared_ring_2t", cpus=2),
        peer("ring behind a mutex", "plain", "mutex_ring_2t", cpus=2),
        peer(LTTNG, "lttng", "line_2t", cpus=2, lttng=True),
    ), (Goal(1.3, "row:log_line"),)),
    Row("shim_size", "shim in a forwarder, needs libc only", "KiB", (
        Contender("fwdscope", ("python3", str(HERE / "size.py"), "{build}"), role=OURS),
    ), (Goal(48),), rounds=1),
)


def documents(signal):
    return (
        peer(PROTOBUF, "protobuf", f"{signal}_json", document=signal),
        peer("libprotobuf, binary", "protobuf", f"{signal}_binary", document=signal),
        peer(RAPID, "rapidjson", f"{signal}_build", document=signal),
        script("JSON.stringify, Node.js", "node", "stringify.js", signal, document=signal),
        script("json.dumps, Python", "python3", "dumps.py", signal, document=signal),
    )


SIDECAR = (
    Row("instruments_10000", "snapshot of 10,000 instruments", "us", (
        ours("instruments_10000", "snapshot"),
        limit("seqlocked entries read", "seqlocked_entry", "snapshot", scale=10),
    ), (Goal(25),)),
    Row("spans_1000", "snapshot of 1,000 active spans", "us", (
        ours("spans_1000", "snapshot"),
        limit("slots copied", "slot_copy", "snapshot"),
    ), (Goal(25),)),
    Row("metrics_1000", "metrics to OTLP JSON, a point", "ns", (
        ours("metrics_1000", "encode"),
        limit("memcpy", "memcpy_metrics", "encode"),
        *documents("metrics"),
    ), (Goal(45), fewer(45, PROTOBUF), fewer(5, RAPID))),
    Row("spans", "spans to OTLP JSON, a span", "ns", (
        ours("spans", "encode"),
        limit("memcpy", "memcpy_spans", "encode"),
        *documents("spans"),
    ), (Goal(150), fewer(27, PROTOBUF))),
    Row("logs", "log lines to OTLP JSON, a line", "ns", (
        ours("logs", "encode"),
        limit("memcpy", "memcpy_logs", "encode"),
        *documents("logs"),
    ), (Goal(60),)),
    Row("broadcast", "100 KB to 1,000 clients: CPU a client", "us", (
        server("broadcast", "fwdscope", "fwdscope", OURS),
        server("broadcast", "send", "the kernel's copy", LIMIT),
        server("broadcast", "libwebsockets", "libwebsockets, tuned"),
        server("broadcast", "node_ws", "ws, Node.js"),
        server("broadcast", "python_ws", "websockets, Python"),
    ), (Goal(1.2, "the kernel's copy"),), rounds=5),
    Row("broadcast_rss", "the same: growth of memory", "MB", (
        server("broadcast_rss", "fwdscope", "fwdscope", OURS),
        server("broadcast_rss", "libwebsockets", "libwebsockets, tuned"),
        server("broadcast_rss", "node_ws", "ws, Node.js"),
        server("broadcast_rss", "python_ws", "websockets, Python"),
    ), (Goal(10),), rounds=5),
    Row("http_live", "GET /live, 64 connections: CPU a request", "us", (
        server("http_live", "fwdscope", "fwdscope", OURS),
        server("http_live", "evhttp", "bare evhttp"),
        server("http_live", "nginx", "nginx"),
        server("http_live", "node_http", "http, Node.js"),
    ), (Goal(1.15, "bare evhttp"),), rounds=5),
    Row("http_live_streams", "the same beside 100 streams", "us", (
        server("http_live_streams", "fwdscope", "fwdscope", OURS),
        server("http_live", "evhttp", "bare evhttp, no streams"),
    ), (Goal(1.15, "bare evhttp, no streams"),), rounds=5),
    Row("rss", "memory resident, without regions", "MB", (
        server("rss", "fwdscope", "fwdscope", OURS),
        server("rss", "evhttp", "bare evhttp"),
        server("rss", "libwebsockets", "libwebsockets"),
        server("rss", "nginx", "nginx"),
        server("rss", "node_exporter", "Prometheus node exporter"),
        server("rss", "node_ws", "ws, Node.js"),
    ), (Goal(6),), rounds=5),
    Row("idle_cpu", "CPU at idle, one silent forwarder", "%", (
        server("idle_cpu", "fwdscope", "fwdscope", OURS),
    ), (Goal(0.05),), rounds=3),
    Row("start", "start to listening", "ms", (
        server("start", "fwdscope", "fwdscope", OURS),
    ), (Goal(10),), rounds=9),
    Row("tick", "tick of 1,000 points, 10 clients: CPU", "ms", (
        server("tick", "fwdscope", "fwdscope", OURS),
        server("tick", "send", "the kernel's copy", LIMIT),
    ), (Goal(1),), rounds=5),
    Row("tick_unheard", "the same, nobody listening", "ms", (
        server("tick_unheard", "fwdscope", "fwdscope", OURS),
    ), rounds=5),
)

ROWS = SHIM + SIDECAR

# Named for the reader: what Debian does not package is not measured here, and no figure of it is
# quoted as ours.
NOT_MEASURED = ("opentelemetry-cpp", "opentelemetry-rust", "Aeron", "yyjson", "tokio-tungstenite",
                "uWebSockets")
