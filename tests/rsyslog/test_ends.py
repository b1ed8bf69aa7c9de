#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How an rsyslogd ended: killed, in good order; what is left of it; the next life."""
import glob
import os
import pathlib
import signal
import stat
import time
import unittest

import daemon
from daemon import Case
from harness import wait_until


class Ends(Case):
    def actions(self):
        return f'action(name="keep" type="omfile" file="{self.scratch}/one/kept.log")'

    def regions(self):
        return glob.glob(os.path.join(self.dir, "*.fwdscope"))

    def sockets(self):
        return glob.glob(os.path.join(self.dir, "*.sock"))

    def test_killed_then_started_again(self):
        rsyslogd = self.rsyslogd(self.actions())
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=600)
        sidecar.await_ready(200, "all_components_healthy")
        wait_until(lambda: len(subscriber.log_bodies()) > 0)
        [socket] = self.sockets()
        self.assertEqual(stat.S_IMODE(os.stat(socket).st_mode), 0o600)
        rsyslogd.write(100)
        wait_until(lambda: rsyslogd.lines("kept.log") == 100)

        killed = time.monotonic()
        rsyslogd.kill()
        sidecar.await_ready(503, "writer_crashed")
        seconds = time.monotonic() - killed
        reason = sidecar.status()["writer"]["reason"]
        self.assertIn(f"rsyslogd (pid {rsyslogd.pid}) died", reason)
        self.assertEqual(self.sockets(), [])  # nothing but the evidence is left
        text, _ = self.run_command("dump", self.regions()[0])
        self.assertIn("crashed", text)
        self.assertIn(f'x-pid="{rsyslogd.pid}"', text)  # the last log lines

        again = self.rsyslogd(self.actions())
        sidecar.await_ready(200, "all_components_healthy")
        status = sidecar.status()
        self.assertEqual((status["writer"]["pid"], status["writer"]["generation"]),
                         (again.pid, 2))
        self.assertEqual(status["forwarders"][0]["previous"]["writer"]["state"], "crashed")
        again.stop()
        print(f"figure: SIGKILL of rsyslogd to the verdict writer_crashed: {seconds:.2f} s")

    def test_clean_stop(self):
        rsyslogd = self.rsyslogd(self.actions())
        sidecar = self.sidecar()
        subscriber = self.subscriber(sidecar, backlog=600)
        sidecar.await_ready(200, "all_components_healthy")
        began = time.monotonic()
        rsyslogd.stop()
        self.assertLess(time.monotonic() - began, 3 + 5 * bool(daemon.harness.SANITIZER))
        sidecar.await_ready(503, "writer_exited")
        self.assertIn("in good order", sidecar.status()["writer"]["reason"])
        wait_until(lambda: any("exiting on signal 15" in body
                               for body in subscriber.log_bodies()), what="the last message")
        self.assertEqual(self.sockets(), [])

    def test_counters_that_go_back(self):
        """impstats that resets is a wrong configuration: it shows as such, after few lives."""
        rsyslogd = self.rsyslogd(self.actions(),
                                 edits=[('resetCounters="off"', 'resetCounters="on"')])
        sidecar = self.sidecar()
        sidecar.await_ready(503, "writer_exited")
        wait_until(lambda: 'resetCounters="off"' in sidecar.status()["writer"]["reason"] and
                   sidecar.status()["writer"]["generation"] > 2, what="the reason, for good")
        rsyslogd.stop()

    def test_sockets_of_the_dead_are_removed(self):
        """Killed together with its adapter, an rsyslogd leaves a socket; the next one removes it."""
        first = self.rsyslogd(self.actions())
        [left] = wait_until(self.sockets, what="a socket")
        os.kill(first.adapter_pid("stats"), signal.SIGSTOP)
        adapter = first.adapter_pid("stats")
        first.kill()
        os.kill(adapter, signal.SIGKILL)
        wait_until(lambda: not pathlib.Path(f"/proc/{adapter}").exists() or
                   "State:\tZ" in pathlib.Path(f"/proc/{adapter}/status").read_text())
        self.assertEqual(self.sockets(), [left])
        second = self.rsyslogd(self.actions())
        wait_until(lambda: self.sockets() not in ([], [left]) and left not in self.sockets(),
                   what=f"the new socket alone, last {self.sockets()}")
        second.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
