#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dead destinations and a hang: rsyslog counts no failure, the verdict is right all the same."""
import re
import signal
import time
import unittest

import daemon
from daemon import Case, component, pipeline
from harness import wait_until

RETRY = 'action.resumeRetryCount="-1" action.resumeInterval="1"'


def forward(name, port, more):
    return (f'action(name="{name}" type="omfwd" target="127.0.0.1" port="{port}" '
            f'protocol="tcp" template="fwdscope_line" {more})\n')


def queue(size):
    return f'queue.type="LinkedList" queue.size="{size}"'


class DeadDestination(Case):
    def keep(self, name):
        return (f'action(name="keep" type="omfile" file="{self.scratch}/{name}/kept.log"\n'
                '       template="fwdscope_line")\n')

    def bottleneck(self, sidecar, instance):
        found = pipeline(sidecar.status(), instance)
        return (found["bottleneck"]["stage"], found["bottleneck"]["reason"]) if found else None

    def test_queue_of_its_own_and_none(self):
        """One rsyslogd with a dead TCP action before a queue of 1000 and one that drops; another
        with a dead TCP action that has no queue and so holds up everything."""
        dead = daemon.free_port()
        queued = self.rsyslogd(
            self.keep("queued") + forward("dead", dead, f"{RETRY} {queue(1000)}") +
            forward("drops", dead, queue(1000)),
            name="queued", stats="--instance queued")
        direct = self.rsyslogd(
            self.keep("direct") + forward("dead", dead, RETRY),
            name="direct", stats="--instance direct")
        sidecar = self.sidecar()
        for instance in ("queued", "direct"):
            wait_until(lambda: self.bottleneck(sidecar, instance) is not None, what=instance)
            self.assertEqual(self.bottleneck(sidecar, instance),
                             ("none", "running well within capacity"))
        self.assertEqual(sidecar.ready(), (200, "all_components_healthy"))

        queued.write(2500)
        direct.write(2500)
        began = time.monotonic()
        for instance in ("queued", "direct"):
            wait_until(lambda: self.bottleneck(sidecar, instance)[0] == "output",
                       what=f"the verdict on {instance}: {sidecar.status()['pipelines']}")
        seconds = time.monotonic() - began
        status = sidecar.status()
        self.check_queued(queued, status)
        self.check_direct(direct, status)
        self.assertEqual(sidecar.ready(), (200, "components_degraded_but_operational"))
        self.check_no_failure_counted(sidecar)
        self.end_stuck(queued, direct)
        print("figure: verdict on a dead destination before which rsyslog counts no failure: "
              f"output, {seconds:.0f} s after the first line")

    def check_queued(self, rsyslogd, status):
        stage, reason = self.bottleneck_of(status, "queued")
        found = re.fullmatch(r"output dead: queue 1000/1000, nothing delivered for (\d+) s", reason)
        self.assertTrue(found, reason)
        self.assertGreaterEqual(int(found[1]), 10)
        dead = component(status, "outputs", "dead", "queued")
        self.assertEqual((dead["lines_total"], dead["bytes_total"], dead["health"]),
                         (0, 0, "degraded"))
        # rsyslog calls these processed; nobody got them.
        drops = component(status, "outputs", "drops", "queued")
        self.assertEqual((drops["lines_total"], drops["bytes_total"], drops["health"]),
                         (0, 0, "degraded"))
        self.assertGreater(drops["errors"], 0)
        keep = component(status, "outputs", "keep", "queued")
        self.assertEqual(keep["health"], "healthy")
        self.assertGreater(keep["lines_total"], 0)
        self.assertGreater(rsyslogd.lines("kept.log"), 0)

    def check_direct(self, rsyslogd, status):
        stage, reason = self.bottleneck_of(status, "direct")
        self.assertRegex(reason,
                         r"^output dead: queue \d+(/\d+)?, nothing delivered for \d+ s$")
        dead = component(status, "outputs", "dead", "direct")
        self.assertEqual((dead["lines_total"], dead["health"]), (0, "degraded"))
        self.assertGreater(dead["queue"]["depth"], 0)

    def bottleneck_of(self, status, instance):
        verdict = pipeline(status, instance)["bottleneck"]
        return verdict["stage"], verdict["reason"]

    def check_no_failure_counted(self, sidecar):
        documents = self.subscriber(sidecar, backlog=600).await_documents(1, "metrics")
        for what in ("failed", "suspended"):
            values = daemon.counter(documents, f"rsyslog.core.action.{what}", "dead")
            self.assertEqual(set(values), {0}, what)

    def end_stuck(self, *daemons):
        """rsyslogd gives a stuck action up only after a while: not what is tested here."""
        for rsyslogd in daemons:
            rsyslogd.kill()


class Hang(Case):
    def test_stopped_and_continued(self):
        rsyslogd = self.rsyslogd(f'action(type="omfile" file="{self.scratch}/one/kept.log")')
        sidecar = self.sidecar()
        sidecar.await_ready(200, "all_components_healthy")
        rsyslogd.signal(signal.SIGSTOP)
        try:
            sidecar.await_ready(503, "writer_stalled")
            answer = sidecar.get("/forwarder/live")
            self.assertEqual((answer.status, answer.json()["state"]), (503, "stalled"))
            reason = sidecar.status()["writer"]["reason"]
            self.assertIn(f"declared every {daemon.INTERVAL}.0 s", reason)
        finally:
            rsyslogd.signal(signal.SIGCONT)
        sidecar.await_ready(200, "all_components_healthy")
        rsyslogd.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
