# SPDX-License-Identifier: Apache-2.0
"""A writer that is killed at random moments and started again, in one directory as one instance."""
import random
import time
import unittest

from crash import RESTART, Writer, choose, figure, harness

SEED = 20240607
PACE_US = 4000  # 16 lines every so often: far from lapping the reader


class Restart(harness.Case):
    def test_cycles(self):
        cycles = choose(200, 10_000)
        harness.Process([RESTART, "cycles", self.dir, cycles, SEED], self.scratch).wait(0, 3000)

    def test_seen_from_outside(self):
        """A running sidecar has the right verdict at its first tick after each death, and each
        line that was complete: delivered, or counted as lost."""
        draw = random.Random(SEED)
        sidecar = self.sidecar(interval="100ms")
        subscriber = self.subscriber(sidecar, rules=False)
        lives = choose(20, 300)
        done = {}
        slowest = 0.0
        for life in range(1, lives + 1):
            writer = Writer(self.scratch, self.dir, PACE_US)
            self.processes.append(writer)
            writer.await_open()
            self.assertEqual(writer.told("generation"), life)
            self.assertLessEqual(writer.told("regions"), 2)
            # Found, and then killed at any moment of a few ticks.
            harness.wait_until(lambda: sidecar.status()["writer"].get("pid") == writer.pid)
            sidecar.await_ready(200, "all_components_healthy")
            time.sleep(draw.uniform(0, 0.25))
            writer.kill()
            slowest = max(slowest, self.await_verdict(sidecar, writer.pid, life))
            done[life] = writer.told("done")
            writer.memory.close()
        sidecar.await_tick(2)
        self.check_lines(subscriber, done)
        figure("verdict writer_crashed after kill -9",
               f"lives {lives}, at the first tick after the death {lives}, at a later one 0, "
               f"slowest {slowest * 1000:.0f} ms at --interval 100ms")

    def await_verdict(self, sidecar, pid, generation):
        """What the first tick that began after the death says; returns how long that took."""
        died = time.monotonic()
        ticks = sidecar.ticks()
        status = harness.wait_until(
            lambda: (lambda now: now if now["sampler"]["ticks"] > ticks else None)(
                sidecar.status()))
        took = time.monotonic() - died
        self.assertEqual((status["writer"]["state"], status["writer"]["pid"],
                          status["writer"]["generation"]), ("crashed", pid, generation))
        self.assertEqual(sidecar.ready(), (503, "writer_crashed"))
        return took

    def check_lines(self, subscriber, done):
        numbers = {life: [] for life in done}
        for body in subscriber.log_bodies():
            words = body.split()
            self.assertEqual((words[0], words[2]), ("life", "line"))
            numbers[int(words[1])].append(int(words[3]))
        missing = 0
        for life, lines in numbers.items():
            self.assertEqual(lines, sorted(set(lines)))
            self.assertLessEqual(len(lines), done[life] + 1)
            missing += len(set(range(done[life])) - set(lines))
        self.assertGreater(sum(done.values()), len(done))
        self.assertLessEqual(missing, subscriber.lost())
        figure("lines complete before a kill, through the sidecar",
               f"written {sum(done.values())}, missing {missing}, counted as lost "
               f"{subscriber.lost()}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
