#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`fwdscope serve` with nothing to do, over 10,000 ticks whose time passes as fast as it sleeps."""
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402  (the path above)
from harness import wait_until  # noqa: E402

TICKS = 100000 if os.environ.get("FWDSCOPE_LONG") == "1" else 10000
INTERVAL = 2  # seconds, the default
# By then the rings are long quiet and the five minutes of history full, some of its chunks twice.
SETTLED = 1000
BOUND = 600


class Idle(harness.Case):
    def forwarder(self, name):
        """One of each kind of thing, then nothing more but its life."""
        patient = self.patient("--instance", name, program=os.environ["PATIENT"])
        patient.pipeline()
        patient.do("batch", "rows", 5)
        for i in range(20):
            patient.do("counter", f"c{i}", i)
            patient.do("gauge", f"g{i}", i)
            patient.do("histogram", f"h{i}", i)
        patient.do("lines", 200)
        patient.do("spans", 50)

    def test_nothing(self):
        for name in ("one", "two", "three"):
            self.forwarder(name)
        report = pathlib.Path(self.scratch, "report")
        sidecar = self.sidecar(interval=f"{INTERVAL}s", environment={
            "LD_PRELOAD": os.environ["IDLE"],
            "IDLE_REPORT": str(report),
            "IDLE_FROM_S": str(SETTLED * INTERVAL),
            "IDLE_TO_S": str((SETTLED + TICKS) * INTERVAL),
        })
        wait_until(lambda: report.exists() and report.read_text().count("\n") == 4, BOUND, "a report")
        status = sidecar.status()
        self.assertGreaterEqual(status["sampler"]["ticks"], SETTLED + TICKS - 1)
        self.assertEqual(len(status["forwarders"]), 3)
        found = {name: int(number) for name, number in
                 (line.split() for line in report.read_text().splitlines())}
        print(f"figure: {TICKS} idle ticks of three forwarders: {found}", flush=True)
        self.assertLessEqual(found["sleeps"], TICKS + 1)  # one wake-up a tick
        self.assertEqual(found["allocations"], 0)
        self.assertEqual(found["heap_bytes"], 0)
        self.assertEqual(found["anonymous_kib"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
