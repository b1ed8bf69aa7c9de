# SPDX-License-Identifier: Apache-2.0
"""The running part of `sidecar/demo rsyslog`: Debian's rsyslogd, attached by configuration only.

A file and a TCP input feed a live file output beside a TCP output whose destination is dead. rsyslog
counts no failure; fwdscope says what is wrong, then how rsyslogd died. Everything that is started
here is ended by pid; everything written lies in two temporary directories that are removed.
"""

import argparse
import asyncio
import glob
import os
import signal
import socket
import sys
import tempfile
import time

import demo

RSYSLOGD = "/usr/sbin/rsyslogd"
ADAPTER = os.path.join(demo.BUILD, "fwdscope-rsyslog")
DROP_IN = os.path.join(demo.BUILD, "forwarder-shim/adapters/rsyslog/fwdscope-rsyslog.conf")
EVERY_S = 2
SHORTEST_S = 20  # the verdict needs ten seconds of evidence

CONFIG = """\
global(workDirectory="{files}/work")
include(file="{files}/fwdscope.conf")
module(load="imtcp")
module(load="imfile" mode="inotify")
ruleset(name="data" queue.type="LinkedList" queue.size="2000") {{
    action(name="live_file" type="omfile" file="{files}/delivered.log" template="fwdscope_line")
    action(name="dead_tcp" type="omfwd" protocol="tcp" target="127.0.0.1" port="{dead}"
           queue.type="LinkedList" queue.size="1000"
           action.resumeRetryCount="-1" action.resumeInterval="1")
}}
input(type="imfile" file="{files}/app.log" tag="app:" ruleset="data")
input(type="imtcp" name="tcp_in" port="{tcp}" address="127.0.0.1" ruleset="data")
"""


def parse_arguments():
    parser = argparse.ArgumentParser(prog="sidecar/demo rsyslog")
    parser.add_argument("--for", dest="seconds", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--listen", default="127.0.0.1:9090", metavar="ADDR:PORT")
    parser.add_argument("--rate", type=int, default=200, metavar="LINES")
    arguments = parser.parse_args()
    if arguments.rate < 10 or arguments.seconds < SHORTEST_S:
        parser.error(f"--rate takes 10 lines a second or more, --for {SHORTEST_S} s or more")
    return arguments


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_configuration(files, tcp):
    """The drop-in as it is installed, but for the place of the program."""
    with open(DROP_IN) as file:
        drop_in = file.read()
    installed = drop_in.split('binary="')[1].split()[0]
    os.mkdir(os.path.join(files, "work"))
    open(os.path.join(files, "app.log"), "wb").close()
    with open(os.path.join(files, "fwdscope.conf"), "w") as file:
        file.write(drop_in.replace(installed, ADAPTER))
    path = os.path.join(files, "rsyslog.conf")
    with open(path, "w") as file:
        file.write(CONFIG.format(files=files, tcp=tcp, dead=free_port()))
    return path


async def generate(files, tcp, rate):
    """Half of the lines into the followed file, half over TCP; connects when rsyslogd listens."""
    writer = None
    while writer is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", tcp)
        except OSError:
            await asyncio.sleep(0.1)
    written, began = 0, time.monotonic()
    with open(os.path.join(files, "app.log"), "ab", buffering=0) as log:
        while True:
            due = int((time.monotonic() - began) * rate / 2) - written
            log.write(b"".join(b"file line %d\n" % (written + i) for i in range(due)))
            for i in range(due):
                writer.write(b"<13>Jan  1 00:00:00 host app: tcp line %d\n" % (written + i))
            written += due
            await asyncio.sleep(0.1)


class Watch:
    """Asks the sidecar and prints what it says, with the numbers behind it."""

    def __init__(self, address):
        self.address = address
        self.began = time.monotonic()
        self.verdicts = []

    async def status(self):
        return await asyncio.to_thread(demo.get, self.address, "/admin/v1/status")

    async def report(self):
        status = await self.status()
        if not status["pipelines"]:
            print(f"{self.seconds()}  waiting for rsyslogd's first statistics", flush=True)
            return
        found = status["pipelines"][0]
        stage, reason = found["bottleneck"]["stage"], found["bottleneck"]["reason"]
        if not self.verdicts or self.verdicts[-1] != stage:
            self.verdicts.append(stage)
        print(f"{self.seconds()}  {stage + '-bound' if stage != 'none' else 'well'}: {reason}")
        print(f"       {status['ready']['status']} ({status['ready']['reason']}); "
              f"in {sum(i.get('lines_total', 0) for i in found['inputs'])} lines; "
              + "; ".join(f"{o['name']}: {o['lines_total']} delivered, {o['errors']} lost, "
                          f"queue {self.queue(o)}" for o in found["outputs"]), flush=True)

    def seconds(self):
        return f"{time.monotonic() - self.began:4.0f} s"

    @staticmethod
    def queue(component):
        queue = component.get("queue", {"depth": 0})
        return "/".join(str(queue[key]) for key in ("depth", "capacity") if key in queue)

    async def keep_reporting(self):
        while True:
            await self.report()
            await asyncio.sleep(EVERY_S)

    async def crashed(self):
        """Awaits the verdict on a death; what it says."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            writer = (await self.status())["writer"]
            if writer["state"] != "alive":
                return writer
            await asyncio.sleep(0.1)
        raise RuntimeError("the sidecar did not see that rsyslogd died")


async def last_lines(regions):
    """The last log lines that the dead region holds, by `fwdscope dump`."""
    [region] = glob.glob(os.path.join(regions, "*.fwdscope"))
    dump = await asyncio.create_subprocess_exec(
        os.path.join(demo.BUILD, "fwdscope"), "dump", region, stdout=asyncio.subprocess.PIPE)
    text = (await dump.communicate())[0].decode()
    if dump.returncode != 0 or "\nlog lines" not in text:
        raise RuntimeError("fwdscope dump shows no log lines of the dead rsyslogd")
    return [line for line in text.split("\nlog lines")[1].splitlines()[1:] if line][-4:]


async def show(arguments, files, regions, stop):
    tcp = free_port()
    config = write_configuration(files, tcp)
    environment = dict(os.environ, FWDSCOPE_DIR=regions)
    sidecar = rsyslogd = None
    tasks = []
    try:
        sidecar = await asyncio.create_subprocess_exec(
            os.path.join(demo.BUILD, "fwdscope"), "serve", "--listen", arguments.listen,
            env=environment, stderr=asyncio.subprocess.PIPE, start_new_session=True)
        address = await demo.served(sidecar)
        rsyslogd = await asyncio.create_subprocess_exec(
            RSYSLOGD, "-n", "-f", config, "-i", os.path.join(files, "pid"), env=environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True)
        print(f"open http://{address}/   rsyslogd pid {rsyslogd.pid}, sidecar pid {sidecar.pid}")
        print(f"{arguments.rate} lines/s from a file and over TCP; outputs: a file, and a TCP "
              "destination that is dead", flush=True)
        watch = Watch(address)
        tasks = [asyncio.create_task(job) for job in (
            watch.keep_reporting(), generate(files, tcp, arguments.rate), demo.pass_on(sidecar),
            sidecar.wait(), rsyslogd.wait(), stop.wait())]
        await asyncio.wait(tasks, timeout=arguments.seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks[:2]:
            if task.done():
                task.result()  # raises what went wrong
        if tasks[5].done():
            return 0
        if tasks[3].done() or tasks[4].done():
            raise RuntimeError("rsyslogd or the sidecar ended by itself")
        for task in tasks[:2]:
            task.cancel()
        print(f"kill -9 {rsyslogd.pid}", flush=True)
        rsyslogd.kill()
        writer = await watch.crashed()
        print(f"{watch.seconds()}  rsyslogd {writer['state']}: {writer['reason']}")
        print("its last log lines, by fwdscope dump:")
        print("\n".join(await last_lines(regions)), flush=True)
    finally:
        for task in tasks:
            task.cancel()
        await demo.end(rsyslogd)
        await demo.end(sidecar)
    return judge(watch.verdicts, writer["state"], sidecar.returncode)


def judge(verdicts, state, code):
    wrong = []
    if verdicts != ["none", "output"]:
        wrong.append(f"the verdict went {' -> '.join(verdicts)}, not from well to output")
    if state != "crashed":
        wrong.append(f"the killed rsyslogd is called {state}")
    if code != 0:
        wrong.append(f"the sidecar ended with {code}, not 0")
    for text in wrong:
        print(f"demo: {text}", file=sys.stderr)
    return 1 if wrong else 0


async def run(arguments):
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with (
        tempfile.TemporaryDirectory(prefix="fwdscope-demo.", ignore_cleanup_errors=True) as files,
        tempfile.TemporaryDirectory(
            prefix="fwdscope-demo.", dir="/dev/shm", ignore_cleanup_errors=True
        ) as regions,
    ):
        return await show(arguments, files, regions, stop)


def main():
    arguments = parse_arguments()
    try:
        return asyncio.run(run(arguments))
    except (RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
