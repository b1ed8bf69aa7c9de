# SPDX-License-Identifier: Apache-2.0
"""Podman with storage of its own, in a mount namespace of its own: nothing of the machine's podman
is read or written, and no mount outlives the test."""
import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import unittest

import harness
from harness import wait_until

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)

CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "netavark"
network_config_dir = "{scratch}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def mount_tmpfs(path, options="mode=0755"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True,
                   stderr=subprocess.PIPE, text=True)


def skip_unless_machine_can():
    """What containers need of the kernel. Only a missing privilege of the machine is a skip."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("pods need root, for mounts and namespaces")
    trial = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
         "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"], stderr=subprocess.PIPE, text=True)
    if trial.returncode != 0:
        raise unittest.SkipTest(f"no namespaces or mounts here: {trial.stderr.strip()}")


def ask(address, port, path, host):
    """One GET, as a kubelet sends it: to the address, with that Host; None: refused."""
    try:
        with socket.create_connection((address, port), 5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n"
                               "User-Agent: kube-probe/1.29\r\nConnection: close\r\n\r\n".encode())
            raw = b""
            while got := connection.recv(1 << 16):
                raw += got
    except ConnectionRefusedError:
        return None
    if not raw:
        raise ConnectionResetError(f"{address}:{port} closed without an answer")
    return harness.Response(raw)


def cgroups():
    """The groups that podman makes for all its pods, the inner ones first."""
    top = pathlib.Path("/sys/fs/cgroup")
    return [pathlib.Path(directory) for parent in [*top.glob("libpod_parent"),
                                                   *top.glob("*/libpod_parent")]
            for directory, _, _ in os.walk(parent, topdown=False)]


class Engine:
    """podman with --root and all the rest in `scratch`."""

    def __init__(self, scratch):
        self.scratch = pathlib.Path(scratch)
        call("unshare", CLONE_NEWNS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        # What podman keeps outside its roots, whatever it is told: seen by us alone.
        self.covered = []
        for path in (pathlib.Path("/var/lib/containers"), pathlib.Path("/run/containers")):
            self.covered.append((path, path.exists()))
            path.mkdir(parents=True, exist_ok=True)
            mount_tmpfs(path)
        configuration = self.scratch / "containers.conf"
        configuration.write_text(CONFIGURATION.format(scratch=scratch))
        self.environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}
        self.command = ["podman", "--root", f"{scratch}/root", "--runroot", f"{scratch}/run",
                        "--tmpdir", f"{scratch}/tmp", "--storage-driver", "vfs",
                        "--cgroup-manager", "cgroupfs"]
        self.cgroups_before = set(cgroups())

    def run(self, *arguments, expected=0):
        """Standard output; a wrong exit code shows everything."""
        done = subprocess.run([*self.command, *map(str, arguments)], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        assert done.returncode == expected, \
            f"podman {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def build_images(self, build):
        """By the script that is shipped; what it prints."""
        script = harness.ROOT / "sidecar" / "deploy" / "image"
        done = subprocess.run([script, "--build", build, "--tool", " ".join(self.command)],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=self.environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def close(self):
        self.run("pod", "rm", "--force", "--all", "--time", "0")
        subprocess.run(["umount", "--recursive", "--lazy", self.scratch / "root"],
                       stderr=subprocess.DEVNULL)
        for path, was_there in self.covered:
            subprocess.run(["umount", "--lazy", path], check=True)
            if not was_there:
                path.rmdir()
        for path in cgroups():
            if path not in self.cgroups_before:
                with contextlib.suppress(OSError): # somebody else's pods are in it by now
                    path.rmdir()


class Pod:
    """A pod that podman plays from a manifest, in a network namespace with nothing but loopback."""

    def __init__(self, engine, manifest):
        self.engine = engine
        self.name = manifest["metadata"]["name"]
        path = engine.scratch / f"{self.name}.yaml"
        path.write_text(json.dumps(manifest)) # JSON is YAML
        engine.run("kube", "play", "--network", "none", path)
        infra = engine.run("pod", "inspect", "--format", "{{.InfraContainerID}}", self.name)
        self.infra_pid = self._inspect(infra.strip())["State"]["Pid"]

    def _inspect(self, what):
        return json.loads(self.engine.run("container", "inspect", what))[0]

    def _full(self, container):
        return f"{self.name}-{container}"

    def inspect(self, container):
        return self._inspect(self._full(container))

    def pid(self, container):
        """On the host; 0 when it does not run."""
        return self.inspect(container)["State"]["Pid"]

    def logs(self, container):
        done = subprocess.run([*self.engine.command, "logs", self._full(container)], text=True,
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=self.engine.environment)
        return done.stdout

    def kill(self, container):
        """SIGKILL from outside to its pid 1; returns when the process is gone."""
        descriptor = os.pidfd_open(self.pid(container))
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            wait_until(lambda: is_readable(descriptor), what="the end of a killed process")
        finally:
            os.close(descriptor)

    def start(self, container):
        self.engine.run("start", self._full(container))

    def stop(self, container):
        self.engine.run("stop", "--time", "10", self._full(container))

    def execute(self, container, *words, expected=0):
        return self.engine.run("exec", self._full(container), *words, expected=expected)

    def debug(self, container, profile, volumes, *words):
        """An ephemeral container, as kubectl debug --target=forwarder --custom=PROFILE adds it."""
        security = profile["securityContext"]
        self.engine.run(
            "run", "--detach", "--name", self._full(container), "--pod", self.name,
            "--pid", f"container:{self._full('forwarder')}", "--pull", "never",
            "--user", f"{security['runAsUser']}:{security['runAsGroup']}",
            "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges",
            *(f"--env={item['name']}={item['value']}" for item in profile["env"]),
            *(f"--volume={volumes[mount['name']]}:{mount['mountPath']}:ro"
              for mount in profile["volumeMounts"]),
            self.inspect("fwdscope")["ImageName"], *words)

    def remove(self):
        self.engine.run("pod", "rm", "--force", "--time", "0", self.name)

    @contextlib.contextmanager
    def network(self):
        """This thread's new sockets belong to the pod meanwhile."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.infra_pid}/ns/net", os.O_RDONLY)
        try:
            call("setns", there, CLONE_NEWNET)
            yield
        finally:
            call("setns", home, CLONE_NEWNET)
            os.close(there)
            os.close(home)

    def admin(self, path):
        """What `kubectl port-forward` reaches: loopback of the pod. None: nobody answers there."""
        with self.network(), contextlib.suppress(ConnectionError):
            return ask("127.0.0.1", 9090, path, "127.0.0.1:9090")

    def status(self):
        answer = self.admin("/admin/v1/status")
        return None if answer is None else answer.json()

    def ready(self):
        answer = self.admin("/ready")
        return None if answer is None else (answer.status, answer.json()["reason"])

    def await_ready(self, status, reason):
        wait_until(lambda: self.ready() == (status, reason), what=f"{status} {reason}")


def is_readable(descriptor):
    return bool(select.select([descriptor], [], [], 0)[0])


def build_release():
    """A build directory that is Release and without sanitizers; what the compilers group made is
    brought up to date, else one is made beside the tests' own."""
    build = harness.ROOT / "build-tests" / "gcc"
    if not (build / "CMakeCache.txt").exists():
        build = harness.BUILD / "pods-release"
        subprocess.run(["cmake", "-S", harness.ROOT, "-B", build, "-DCMAKE_BUILD_TYPE=Release",
                        "-DFWDSCOPE_TESTS=OFF"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", build, "-j", str(os.cpu_count()), "--target", "fwdscope",
                    "fwdscope-example-forwarder"], check=True, stdout=subprocess.DEVNULL)
    return build
