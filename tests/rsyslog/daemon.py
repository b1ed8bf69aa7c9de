# SPDX-License-Identifier: Apache-2.0
"""A real rsyslogd with the drop-in of the adapter, in directories of its own."""
import os
import pathlib
import re
import signal
import socket
import socketserver
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import harness
import otlp_rules
from harness import wait_until

ADAPTER = harness.BUILD / "fwdscope-rsyslog"
DROP_IN = harness.BUILD / "forwarder-shim/adapters/rsyslog/fwdscope-rsyslog.conf"
RSYSLOGD = "/usr/sbin/rsyslogd"
INTERVAL = 1  # seconds, of impstats

DATA = """\
global(workDirectory="{work}")
include(file="{drop_in}")
module(load="imtcp")
module(load="imudp")
module(load="imfile" mode="inotify")
ruleset(name="data" queue.type="LinkedList" queue.size="5000" queue.dequeueBatchSize="256") {{
{actions}
}}
input(type="imfile" file="{log}" tag="app:" ruleset="data")
input(type="imtcp" port="{tcp}" address="127.0.0.1" ruleset="data" name="tcp_in")
input(type="imudp" port="{udp}" address="127.0.0.1" ruleset="data" name="udp_in")
"""


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def replace_once(text, old, new):
    assert text.count(old) == 1, f"{text.count(old)} times in the drop-in: {old}"
    return text.replace(old, new)


def ship_action(file, name="ship"):
    return (f'action(name="{name}" type="omprog" template="fwdscope_ship"\n'
            f'       binary="{ADAPTER} ship --name {name} {file}"\n'
            '       confirmMessages="on" useTransactions="on" beginTransactionMark="BEGIN"\n'
            f'       commitTransactionMark="COMMIT" output="{file}.err"\n'
            '       action.resumeRetryCount="-1" action.resumeInterval="1"\n'
            '       queue.type="LinkedList" queue.size="20000" queue.dequeueBatchSize="256")')


class Sink:
    """A TCP destination that counts the lines it gets."""

    def __init__(self):
        sink = self
        self.lines = 0

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                while block := self.request.recv(1 << 16):
                    sink.lines += block.count(b"\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Rsyslogd(harness.Process):
    """Debian's rsyslogd: an imfile, an imtcp and an imudp input into the ruleset "data" with the
    given actions. `edits` are (old, new) in the drop-in."""

    def __init__(self, scratch, regions, actions, name="one", stats="", edits=()):
        self.home = os.path.join(scratch, name)
        os.makedirs(os.path.join(self.home, "work"), exist_ok=True)
        self.log = self.file("app.log")
        self.tcp, self.udp = free_port(), free_port(socket.SOCK_DGRAM)
        pathlib.Path(self.log).touch()
        drop_in = DROP_IN.read_text()
        drop_in = re.sub(r'binary="\S+/fwdscope-rsyslog (?=stats --interval 2"|log")',
                         f'binary="{ADAPTER} ', drop_in)
        drop_in = replace_once(drop_in, 'interval="2"', f'interval="{INTERVAL}"')
        drop_in = replace_once(
            drop_in, 'stats --interval 2"\n',
            f'stats --interval {INTERVAL} --dir {regions} {stats}"\n'
            f'           output="{self.file("stats.err")}"\n')
        drop_in = replace_once(drop_in, f'{ADAPTER} log"',
                               f'{ADAPTER} log --dir {regions}" output="{self.file("log.err")}"')
        for old, new in edits:
            drop_in = replace_once(drop_in, old, new)
        pathlib.Path(self.file("drop-in.conf")).write_text(drop_in)
        pathlib.Path(self.file("rsyslog.conf")).write_text(DATA.format(
            work=self.file("work"), drop_in=self.file("drop-in.conf"), log=self.log, tcp=self.tcp,
            udp=self.udp, actions=actions))
        super().__init__([RSYSLOGD, "-n", "-f", self.file("rsyslog.conf"), "-i", self.file("pid")],
                         scratch, {"FWDSCOPE_DIR": regions})
        wait_until(lambda: os.path.exists(self.file("pid")) or self.popen.poll() is not None,
                   what="a running rsyslogd")

    def file(self, name):
        return os.path.join(self.home, name)

    def lines(self, name):
        path = pathlib.Path(self.file(name))
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def write(self, count, text="line of the application"):
        """Appends to the followed file."""
        with open(self.log, "ab") as log:
            log.write(b"".join(b"%s %d\n" % (text.encode(), i) for i in range(count)))

    def send_tcp(self, count):
        with socket.create_connection(("127.0.0.1", self.tcp), harness.BOUND) as connection:
            connection.sendall(b"".join(b"<13>Jan  1 00:00:00 host tcp: line %d\n" % i
                                        for i in range(count)))

    def send_udp(self, count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for i in range(count):
                sender.sendto(b"<13>Jan  1 00:00:00 host udp: line %d" % i,
                              ("127.0.0.1", self.udp))

    def adapter_pid(self, mode, other_than=None):
        """The child of that mode, once there is one."""
        def find():
            children = pathlib.Path(f"/proc/{self.pid}/task")
            for task in list(children.iterdir()):
                try:
                    pids = (task / "children").read_text().split()
                except OSError:
                    continue
                for pid in map(int, pids):
                    try:
                        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    except OSError:
                        continue
                    if pid != other_than and words[1:2] == [mode.encode()]:
                        return pid
            return None
        return wait_until(find, what=f"a process of the adapter: {mode}")

    def check_reports(self):
        """The adapter's processes too."""
        super().check_reports()
        for path in pathlib.Path(self.home).glob("*.err"):
            errors = path.read_text(errors="replace")
            assert not any(report in errors for report in harness.REPORTS), errors[-8000:]

    def stop(self):
        self.signal(signal.SIGTERM)
        self.wait(0)

    quit = stop


class Case(harness.Case):
    def setUp(self):
        super().setUp()
        if not os.path.exists(RSYSLOGD):
            self.fail(f"{RSYSLOGD} is missing: apt-get install rsyslog")

    def rsyslogd(self, actions, **more):
        daemon = Rsyslogd(self.scratch, self.dir, actions, **more)
        self.processes.append(daemon)
        return daemon

    def sink(self):
        sink = Sink()
        self.addCleanup(sink.close)
        return sink


def counter(documents, metric, name):
    """The values of one of rsyslog's own counters, in order; None: the adapter's."""
    return [otlp_rules.number_of(point) for point in otlp_rules.points(documents, metric)
            if otlp_rules.attributes(point).get("name") == name]


def pipeline(status, instance=None):
    """The adapter's pipeline, of that instance."""
    return next((p for p in status["pipelines"]
                 if instance is None or p.get("instance") == instance), None)


def component(status, role, name, instance=None):
    """An input or output by its name, or None: it may not be there yet."""
    found = pipeline(status, instance)
    return next((c for c in found[role] if c["name"] == name), None) if found else None
