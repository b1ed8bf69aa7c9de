# SPDX-License-Identifier: Apache-2.0
"""The writer dies at its N-th store, for every N: images of memory, and true kills."""
import os
import unittest

from crash import EVERY_STORE, choose, figure, harness

import otlp_rules

BOUND = 3000


class EveryStore(harness.Case):
    def run_to_end(self, *arguments):
        harness.Process([EVERY_STORE, *arguments], self.scratch).wait(0, BOUND)

    def test_images(self):
        """Every store's image is read by the program; `fwdscope dump` reads a sample of them."""
        kept = os.path.join(self.scratch, "kept")
        os.mkdir(kept)
        self.run_to_end("image", self.scratch, kept, choose(97, 31))
        read = refused = 0
        for name in sorted(os.listdir(kept)):
            if self.dump(os.path.join(kept, name)):
                read += 1
            else:
                refused += 1
        self.assertTrue(read > 100 and refused > 0)
        figure("dump -o json of an image",
               f"images {read + refused}, documents {read}, refused as not ready {refused}")

    def dump(self, path):
        """True: a valid document. False: refused in one line that says why."""
        with open(path + ".json", "wb") as out:
            process = harness.Process([harness.FWDSCOPE, "dump", path, "-o", "json"], self.scratch,
                                      stdout=out)
            process.code = process.popen.wait(harness.BOUND)
        process.check_reports()
        with open(path + ".json", encoding="utf-8") as file:
            text = file.read()
        if process.code != 0:
            self.assertEqual((process.code, text), (4, ""), process.errors())
            self.assert_one_line(process.errors(), path, "has not finished creating it")
            return False
        whole = otlp_rules.parse_json(text)
        self.assertIn(whole["status"]["writer"]["state"], ("crashed", "exited"))
        checker = otlp_rules.Checker()
        for kind in ("metrics", "spans", "logs"):
            if whole.get(kind):
                self.assertEqual(checker.check(harness.json.dumps(whole[kind]))[0], kind)
        return True

    def test_kills(self):
        self.run_to_end("kill", self.scratch, choose(16, 1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
