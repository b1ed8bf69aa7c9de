#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A dead region as the three files that OTLP readers take: each line judged by another parser."""
import os
import pathlib
import resource
import signal
import subprocess
import unittest

from evidence import Case, harness

NAMES = {"metrics.jsonl": "metrics", "traces.jsonl": "spans", "logs.jsonl": "logs"}
LINE_MAX = 1 << 20
RUNTIME, USAGE = 1, 2
otlp = harness.otlp_rules


class Files(Case):
    def setUp(self):
        super().setUp()
        self.out = os.path.join(self.scratch, "out")

    def dead(self, lines=3, spans=2, *options):
        """The region of a forwarder that was killed with a batch in flight."""
        patient = self.patient(*options)
        patient.pipeline()
        patient.do("counter", "own.count", 4)
        patient.do("lines", lines, 160)
        patient.do("spans", spans)
        patient.do("span-start", "s", "in flight")
        patient.kill()
        return patient.path

    def write(self, path, expected=0, **more):
        return self.run_command("dump", "-o", "otlp", "--output-dir", self.out, path,
                                expected=expected, **more)

    def documents(self, directory=None):
        """By file name: its lines, each judged."""
        result = {}
        for name, kind in NAMES.items():
            checker = otlp.Checker()
            text = pathlib.Path(directory or self.out, name).read_text()
            self.assertTrue(text == "" or text.endswith("\n"))
            result[name] = []
            for line in text.splitlines():
                judged, document = checker.check(line)
                self.assertEqual(judged, kind)
                result[name].append((len(line), document))
        return result

    def test_three_files(self):
        said, errors = self.write(self.dead())
        self.assertEqual(errors, "")
        self.assertEqual(sorted(os.listdir(self.out)), sorted(NAMES))
        documents = self.documents()
        for name in NAMES:
            self.assertEqual(len(documents[name]), 1)
            size = os.path.getsize(os.path.join(self.out, name))
            self.assertIn(f"{self.out}/{name}: 1 documents, {size} bytes\n", said)
        (_, metrics), = documents["metrics.jsonl"]
        self.assertEqual(otlp.number_of(otlp.points([metrics], "own.count")[0]), 4)
        (_, spans), = documents["traces.jsonl"]
        running = [span["name"] for span in otlp.spans([spans])
                   if otlp.attributes(span).get("in_progress")]
        self.assertEqual((len(otlp.spans([spans])), running), (3, ["in flight"]))
        (_, logs), = documents["logs.jsonl"]
        self.assertEqual(len(otlp.log_records([logs])), 3)

    def test_many_records_in_lines_that_a_reader_takes(self):
        """Lines of 1 MiB at most, together every record once, in order."""
        path = self.dead(15000, 4000, "--log-ring", 16 << 20, "--span-ring", 4 << 20)
        self.write(path)
        documents = self.documents()
        for name, items, count in (("logs.jsonl", otlp.log_records, 15000),
                                   ("traces.jsonl", otlp.spans, 4001)):
            self.assertGreater(len(documents[name]), 1)
            self.assertLessEqual(max(length for length, _ in documents[name]), LINE_MAX)
            self.assertEqual(sum(len(items([one])) for _, one in documents[name]), count)
        bodies = [log["body"]["stringValue"].split()[1] for _, one in documents["logs.jsonl"]
                  for log in otlp.log_records([one])]
        self.assertEqual(bodies, [f"n={i}" for i in range(15000)])
        longest = max(length for name in documents for length, _ in documents[name])
        print(f"\nfigure: a dump of 15,000 log lines and 4,001 spans:"
              f" {sum(map(len, documents.values()))} lines of at most {longest} bytes")

    def test_nothing_of_a_signal(self):
        patient = self.patient()
        patient.do("counter", "own.count", 4)
        patient.kill()
        self.write(patient.path)
        documents = self.documents()
        self.assertEqual(documents["logs.jsonl"], [])
        self.assertEqual(documents["traces.jsonl"], [])
        self.assertEqual(len(documents["metrics.jsonl"]), 1)

    def test_nothing_is_overwritten(self):
        path = self.dead()
        os.mkdir(self.out)
        kept = pathlib.Path(self.out, "logs.jsonl")
        for make in (lambda: kept.write_text("mine\n"),
                     lambda: kept.symlink_to(os.path.join(self.scratch, "nowhere"))):
            make()
            said, errors = self.write(path, RUNTIME)
            self.assert_one_line(errors, kept, "File exists", "nothing is overwritten")
            self.assertEqual(said, "")
            self.assertEqual(os.listdir(self.out), ["logs.jsonl"])
            kept.unlink()
        self.assertFalse(os.path.exists(os.path.join(self.scratch, "nowhere")))
        self.write(path)
        self.write(path, RUNTIME)
        self.documents()

    def test_a_full_disk(self):
        """A tmpfs of 64 KiB: the error is said, nothing is left, not even part of a file."""
        path = self.dead(2000)
        os.mkdir(self.out)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", self.out],
                               capture_output=True, text=True)
        if mount.returncode != 0:
            self.skipTest(f"this machine lets nobody mount: {mount.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", self.out], check=True)
        said, errors = self.write(path, RUNTIME)
        self.assert_one_line(errors, self.out, "No space left on device")
        self.assertEqual(said, "")
        self.assertEqual(os.listdir(self.out), [])

    def test_a_limit_on_the_size_of_files(self):
        """An error like any other, not a signal that leaves parts."""
        path = self.dead(2000)
        os.mkdir(self.out)
        done = subprocess.run(
            [harness.FWDSCOPE, "dump", "-o", "otlp", "--output-dir", self.out, path],
            capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
        self.assertEqual(done.returncode, RUNTIME, done.stderr)
        self.assert_one_line(done.stderr, self.out, "File too large")
        self.assertEqual(os.listdir(self.out), [])

    def test_not_writable(self):
        path = self.dead()
        for out, why in ((os.path.join(self.scratch, "no", "such"), "No such file"),
                         (path, "Not a directory")):
            _, errors = self.run_command("dump", "-o", "otlp", "--output-dir", out, path,
                                         expected=RUNTIME)
            self.assert_one_line(errors, out, why)
        _, errors = self.run_command("dump", "--output-dir", self.out, path, expected=USAGE)
        self.assert_one_line(errors, "-o otlp")

    def test_killed_while_it_writes(self):
        """At any moment: a file under its own name is whole."""
        path = self.dead(5000)
        for delay_ms in range(0, 200, 10):
            out = os.path.join(self.scratch, f"out.{delay_ms}")
            process = subprocess.Popen([harness.FWDSCOPE, "dump", "-o", "otlp", "--output-dir", out,
                                        path], stdout=subprocess.DEVNULL)
            try:
                process.wait(delay_ms / 1000)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            if not os.path.isdir(out):
                continue
            named = [name for name in os.listdir(out) if not name.startswith(".")]
            for name in named:
                text = pathlib.Path(out, name).read_text()
                checker = otlp.Checker()
                for line in text.splitlines():
                    checker.check(line)
                self.assertTrue(text.endswith("\n"), name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
