# SPDX-License-Identifier: Apache-2.0
"""The sidecar is killed at random moments and started again, under a forwarder that runs on."""
import random
import time
import unittest

from crash import choose, figure, harness

SEED = 20240608
SERVES_S_MAX = 20.0  # from the start of the process to the right answer; a loaded machine is slow


class SidecarKilled(harness.Case):
    def test_cycles(self):
        draw = random.Random(SEED)
        patient = self.patient("--instance", "goes-on")
        patient.pipeline()
        patient.do("load", 2, 5, 100, 1, 2)
        listen = self.free_address()
        cycles, early = choose(30, 1000), 0
        took = []
        for cycle in range(1, cycles + 1):
            if draw.random() < 0.3:
                early += self.kill_early(listen, draw.uniform(0, 0.08))
            patient.do("progress", "in", 1, 10)
            took.append(self.serve_once(listen, patient, cycle))
        lines, spans = patient.do("load-stop")
        self.assertTrue(lines > cycles and spans > cycles)
        took.sort()
        self.assertGreater(early, 0)
        self.assertLess(took[-1], SERVES_S_MAX)
        figure("sidecar killed and started again",
               f"kills {cycles + early} ({early} while it started), failed starts 0, right answers "
               f"{cycles}, served again after {took[len(took) // 2] * 1000:.0f} ms (median), "
               f"{took[-1] * 1000:.0f} ms (slowest)")
        figure("the forwarder meanwhile", f"one pid, {lines} lines and {spans} spans written, "
                                          f"count exact after each of {cycles} starts")
        patient.quit()

    def free_address(self):
        """Where every sidecar of the test listens, one after the other."""
        first = self.sidecar()
        first.stop()
        return f"127.0.0.1:{first.port}"

    def kill_early(self, listen, after_s):
        """A sidecar that dies while it starts; it must not have ended by itself."""
        process = harness.Process([harness.FWDSCOPE, "serve", "--listen", listen, "--dir", self.dir],
                                  self.scratch)
        self.processes.append(process)
        time.sleep(after_s)
        process.kill()
        return 1

    def serve_once(self, listen, patient, count):
        """Starts the sidecar, awaits what only the running forwarder can have told, kills it."""
        begun = time.monotonic()
        sidecar = harness.Sidecar(self.scratch, "--dir", self.dir, "--interval", "100ms",
                                  listen=listen)
        self.processes.append(sidecar)
        self.assertEqual(sidecar.get("/live").status, 200)
        sidecar.await_ready(200, "all_components_healthy")
        took = time.monotonic() - begun
        status = sidecar.status()
        self.assertEqual((status["writer"]["state"], status["writer"]["pid"],
                          status["writer"]["generation"]), ("alive", patient.pid, 1))
        self.assertEqual(status["pipelines"][0]["inputs"][0]["lines_total"], count)
        sidecar.kill()
        self.assertIsNone(patient.popen.poll())
        return took


if __name__ == "__main__":
    unittest.main(verbosity=2)
