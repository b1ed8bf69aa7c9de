# SPDX-License-Identifier: Apache-2.0
"""`serve` under a service manager: unix socket, sockets handed over, readiness, status, watchdog."""
import os
import signal
import socket
import stat
import subprocess
import sys
import unittest

from host import harness

BOUND = harness.BOUND


class Serve(harness.Process):
    """`serve` with options as they are; constructed when it says that it serves."""

    def __init__(self, scratch, *options, environment=None, before=()):
        super().__init__([*before, harness.FWDSCOPE, "serve", "--interval", "100ms", *options],
                         scratch, environment)
        harness.wait_until(lambda: self.popen.poll() is not None or "serving" in self.errors(),
                           what="serving")

    def stop(self):
        self.signal(signal.SIGTERM)
        self.wait(0)


class Manager:
    """The other end of $NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(BOUND)
        self.heard = []

    def hear(self, what):
        """Awaits a message that begins with `what` and returns it."""
        while True:
            text = self.socket.recv(4096).decode()
            self.heard.append(text)
            if text.startswith(what):
                return text

    def is_silent(self, seconds):
        self.socket.settimeout(seconds)
        try:
            self.heard.append(self.socket.recv(4096).decode())
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(BOUND)


class Unix(harness.Case):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.scratch, "socket")

    def serve(self, *options, **more):
        serve = Serve(self.scratch, "--dir", self.dir, "--listen", "none", "--unix", self.path,
                      *options, **more)
        self.addCleanup(serve.abandon)
        return serve

    def test_http_and_stream(self):
        patient = self.patient()
        patient.pipeline()
        serve = self.serve()
        self.assertIn(f"serving unix socket {self.path}; ", serve.errors())
        self.assertEqual(harness.http(self.path, "/live").status, 200)
        self.assertEqual(harness.http(self.path, "/").headers["content-type"],
                         "text/html; charset=utf-8")
        status = harness.http(self.path, "/admin/v1/status").json()
        self.assertEqual(status["writer"]["pid"], patient.pid)
        subscriber = harness.Subscriber(self.path)
        self.subscribers.append(subscriber)
        self.assertEqual(subscriber.response.status_code, 101)
        subscriber.await_documents(3, "metrics")
        serve.stop()
        self.assertEqual(subscriber.close_code(), 1001)
        self.assertFalse(os.path.exists(self.path), "the socket outlives the sidecar")

    def test_no_port_is_open(self):
        serve = self.serve()
        inodes = {os.readlink(f"/proc/{serve.pid}/fd/{fd}")
                  for fd in os.listdir(f"/proc/{serve.pid}/fd")}
        with open("/proc/net/tcp", encoding="ascii") as table:
            listening = {f"socket:[{line.split()[9]}]" for line in list(table)[1:]
                         if line.split()[3] == "0A"}
        self.assertEqual(inodes & listening, set())
        serve.stop()

    def test_mode_is_for_owner_and_group_whatever_the_umask(self):
        for mask in (0o000, 0o077):
            serve = self.serve(before=["sh", "-c", f'umask {mask:o}; exec "$@"', "sh"])
            mode = os.stat(self.path).st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o660)
            serve.stop()

    def test_leftover_is_replaced(self):
        serve = self.serve()
        serve.kill()
        self.assertTrue(os.path.exists(self.path))
        serve = self.serve()
        self.assertEqual(harness.http(self.path, "/live").status, 200)
        serve.stop()

    def test_what_is_in_use_or_no_socket_is_left_alone(self):
        first = self.serve()
        _, said = self.run_command("serve", "--listen", "none", "--unix", self.path, expected=1)
        self.assertIn("in use by another process", said)
        self.assertEqual(harness.http(self.path, "/live").status, 200)
        first.stop()
        with open(self.path, "w", encoding="ascii") as file:
            file.write("mine")
        _, said = self.run_command("serve", "--listen", "none", "--unix", self.path, expected=1)
        self.assertIn("a file that is no socket is in the way", said)
        with open(self.path, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_what_another_made_since_is_left_alone(self):
        first = self.serve()
        os.unlink(self.path)
        second = self.serve()
        first.stop()
        self.assertEqual(harness.http(self.path, "/live").status, 200)
        second.stop()
        self.assertFalse(os.path.exists(self.path))

    def test_of_many_that_start_at_once_one_serves(self):
        """None takes the new socket of another for a stale one."""
        command = [harness.FWDSCOPE, "serve", "--dir", self.dir, "--listen", "none", "--unix",
                   self.path]
        for _ in range(10):
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(self.path)
            some = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
            try:
                harness.wait_until(lambda: sum(p.poll() is None for p in some) <= 1,
                                   what="the end of all but one")
                self.assertEqual(sum(p.poll() is None for p in some), 1)
                harness.wait_until(lambda: os.path.exists(self.path), what="its socket")
                self.assertEqual(harness.http(self.path, "/live").status, 200)
            finally:
                for process in some:
                    process.terminate()
                    process.wait(BOUND)

    def test_path_that_is_too_long(self):
        _, said = self.run_command("serve", "--listen", "none", "--unix", "/" + "x" * 200,
                                   expected=1)
        self.assertIn("107 bytes", said)

    def test_token_holds_here_too(self):
        token = os.path.join(self.scratch, "token")
        with open(token, "w", encoding="ascii") as file:
            file.write("0123456789abcdef")
        serve = self.serve("--token-file", token)
        self.assertEqual(harness.http(self.path, "/admin/v1/status").status, 401)
        allowed = harness.http(self.path, "/admin/v1/status",
                               headers=["Authorization: Bearer 0123456789abcdef"])
        self.assertEqual(allowed.status, 200)
        serve.stop()


class HandedOver(harness.Case):
    """Sockets that somebody else bound, as systemd and systemd-socket-activate hand them over."""

    def start(self, sockets, names, *options, **environment):
        """`serve` with listening sockets as descriptors 3 and up, in the way of sd_listen_fds(3)."""
        program = ("import fcntl, os, sys\n"
                   "count = int(sys.argv[1])\n"
                   "spare = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100)\n"
                   "         for fd in sys.argv[2:2 + count]]\n"
                   "for at, fd in enumerate(spare): os.dup2(fd, 3 + at, inheritable=True)\n"
                   "os.environ['LISTEN_PID'] = str(os.getpid())\n"
                   "os.execv(sys.argv[2 + count], sys.argv[2 + count:])\n")
        high = [os.dup(one.fileno()) for one in sockets]
        for fd in high:
            os.set_inheritable(fd, True)
        self.addCleanup(lambda: [os.close(fd) for fd in high])
        popen = subprocess.Popen(
            [sys.executable, "-c", program, str(len(high)), *map(str, high), harness.FWDSCOPE,
             "serve", "--dir", self.dir, "--interval", "100ms", *options],
            close_fds=False, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names,
                 **environment})
        self.addCleanup(lambda: (popen.kill(), popen.wait(), popen.stderr.close()))
        return popen, popen.stderr.readline()

    def tcp(self, address="127.0.0.1"):
        listener = socket.create_server((address, 0))
        self.addCleanup(listener.close)
        return listener, listener.getsockname()[1]

    def test_data_and_probe(self):
        data, port = self.tcp()
        probe, probe_port = self.tcp()
        popen, said = self.start([probe, data], "probe:fwdscope.socket")
        self.assertIn(f"http://127.0.0.1:{port}/, probes on 127.0.0.1:{probe_port}", said)
        self.assertEqual(harness.http(port, "/admin/v1/status").status, 200)
        self.assertEqual(harness.http(probe_port, "/live").status, 200)
        self.assertEqual(harness.http(probe_port, "/admin/v1/status").status, 404)
        popen.terminate()
        self.assertEqual(popen.wait(BOUND), 0)

    def test_unix_socket_stays(self):
        path = os.path.join(self.scratch, "socket")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(path)
        listener.listen()
        popen, said = self.start([listener], "")
        self.assertIn(f"serving unix socket {path};", said)
        self.assertEqual(harness.http(path, "/live").status, 200)
        popen.terminate()
        self.assertEqual(popen.wait(BOUND), 0)
        self.assertTrue(os.path.exists(path), "it is the manager's to remove")

    def test_public_address_needs_a_token(self):
        data, _ = self.tcp("0.0.0.0")
        popen, said = self.start([data], "")
        self.assertIn("refusing to serve on 0.0.0.0:", said)
        self.assertEqual(popen.wait(BOUND), 1)

    def test_what_is_no_listening_socket_is_refused(self):
        plain = socket.socket()
        self.addCleanup(plain.close)
        popen, said = self.start([plain], "")
        self.assertIn("descriptor 3 is no listening stream socket", said)
        self.assertEqual(popen.wait(BOUND), 1)

    def test_two_of_a_kind_are_refused(self):
        popen, said = self.start([self.tcp()[0], self.tcp()[0]], "a:b")
        self.assertIn("two sockets of one kind", said)
        self.assertEqual(popen.wait(BOUND), 1)

    def test_systemd_hands_over(self):
        """The same by systemd's own tool, started by the first connection."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        activate = harness.Process(
            ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-E", f"FWDSCOPE_DIR={self.dir}",
             harness.FWDSCOPE, "serve"], self.scratch)
        self.addCleanup(activate.abandon)
        harness.wait_until(lambda: "Listening on" in activate.errors(), what="the listener")
        self.assertEqual(harness.http(port, "/live").status, 200)
        self.assertIn("serving http://127.0.0.1:", activate.errors())
        activate.signal(signal.SIGTERM)
        activate.wait(0)


class Notify(harness.Case):
    def start(self, address, **environment):
        manager = Manager(address.replace("@", "\0"))
        self.addCleanup(manager.socket.close)
        serve = Serve(self.scratch, "--dir", self.dir, "--listen", "127.0.0.1:0",
                      environment={"NOTIFY_SOCKET": address, **environment})
        self.addCleanup(serve.abandon)
        return manager, serve

    def test_ready_status_stopping(self):
        patient = self.patient()
        patient.pipeline()
        for address in (os.path.join(self.scratch, "notify"), f"@fwdscope-test-{os.getpid()}"):
            manager, serve = self.start(address)
            manager.hear("READY=1")
            self.assertEqual(manager.heard, ["READY=1"], "ready comes first")
            self.assertEqual(manager.hear("STATUS="),
                             "STATUS=1 forwarder, ready: all_components_healthy")
            serve.stop()
            manager.hear("STOPPING=1")

    def test_status_follows_the_forwarder(self):
        patient = self.patient()
        patient.pipeline()
        manager, serve = self.start(os.path.join(self.scratch, "notify"))
        manager.hear("STATUS=1 forwarder, ready")
        patient.kill()
        self.assertEqual(manager.hear("STATUS=1 forwarder, not"),
                         "STATUS=1 forwarder, not ready: writer_crashed")
        self.assertTrue(manager.is_silent(0.5), "a status that does not change is not told again")
        serve.stop()

    def test_watchdog_beats_while_the_loop_turns(self):
        manager, serve = self.start(os.path.join(self.scratch, "notify"), WATCHDOG_USEC="400000")
        for _ in range(5):
            manager.hear("WATCHDOG=1")
        serve.signal(signal.SIGSTOP)
        manager.socket.setblocking(False)
        try:
            while True: # what was sent before it stopped
                manager.socket.recv(4096)
        except BlockingIOError:
            pass
        self.assertTrue(manager.is_silent(1.0), "a stopped sidecar beats")
        serve.signal(signal.SIGCONT)
        manager.hear("WATCHDOG=1")
        serve.stop()

    def test_watchdog_of_another_process_is_not_ours(self):
        manager, serve = self.start(os.path.join(self.scratch, "notify"), WATCHDOG_USEC="100000",
                                    WATCHDOG_PID="1")
        manager.hear("STATUS=")
        self.assertTrue(manager.is_silent(0.5))
        serve.stop()

    def test_manager_that_is_gone_or_does_not_read_stops_nothing(self):
        address = os.path.join(self.scratch, "notify")
        manager, serve = self.start(address, WATCHDOG_USEC="2000")
        manager.hear("WATCHDOG=1") # and from here on the queue fills
        port = int(serve.errors().split("http://127.0.0.1:")[1].split("/")[0])
        before = harness.http(port, "/admin/v1/status").json()["sampler"]["ticks"]
        harness.wait_until(lambda: harness.http(port, "/admin/v1/status").json()["sampler"]["ticks"]
                           > before + 5, what="ticks")
        os.unlink(address)
        self.assertEqual(harness.http(port, "/live").status, 200)
        serve.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
