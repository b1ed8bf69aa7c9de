# SPDX-License-Identifier: Apache-2.0
"""Others' servers as Debian packages them, on 127.0.0.1, one process each.

    with servers.start("node_ws", 100000, 100) as server: ... server.pid, server.port

node_http, nginx            GET /live: 200 and a small JSON body
node_ws, python_ws          BYTES EVERY_MS: one text message of so many bytes to every client
node_exporter               Prometheus' exporter of a host, for its memory
"""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BOUND = 30.0  # seconds until it listens
# Where Debian puts modules of Node.js, for a node that is not Debian's.
ENVIRONMENT = {**os.environ, "NODE_PATH": "/usr/share/nodejs"}

NGINX = """daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    default_type application/json;
    client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /live {{ return 200 '{{"status":"ok"}}'; }}
    }}
}}
"""


class Server:
    def __init__(self, popen, port):
        self.popen, self.pid, self.port = popen, popen.pid, port


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def command(name, arguments, directory):
    """(argv, port): the port is None where the program prints it."""
    words = [str(argument) for argument in arguments]
    if name in ("node_http", "node_ws"):
        kind = "http" if name == "node_http" else "stream"
        return ["node", HERE / "server.js", kind, *words], None
    if name == "python_ws":
        return [sys.executable, HERE / "websockets_server.py", *words], None
    port = free_port()
    if name == "nginx":
        (directory / "nginx.conf").write_text(NGINX.format(directory=directory, port=port))
        return [shutil.which("nginx") or "/usr/sbin/nginx", "-e", directory / "error.log", "-c",
                directory / "nginx.conf"], port
    if name == "node_exporter":
        return ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error"], port
    raise ValueError(f"no server {name!r}")


def await_port(popen, port, name):
    if port is None:
        words = popen.stdout.readline().split()
        if len(words) != 2 or words[0] != b"listening":
            raise OSError(f"{name} does not listen: {words}")
        return int(words[1])
    deadline = time.monotonic() + BOUND
    while not answers(port):
        if popen.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"{name} does not listen")
        time.sleep(0.01)
    return port


@contextlib.contextmanager
def start(name, *arguments):
    with tempfile.TemporaryDirectory(prefix="fwdscope-bench-", dir="/dev/shm") as path:
        directory = pathlib.Path(path)
        words, port = command(name, arguments, directory)
        with open(directory / "stderr", "wb") as stderr:
            popen = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=stderr, env=ENVIRONMENT)
        try:
            yield Server(popen, await_port(popen, port, name))
        finally:
            popen.kill()
            popen.wait()
            popen.stdout.close()
