#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad use: each a message of one line that names cause and cure, and the documented exit code."""
import os
import shutil
import unittest

import dead_region
import harness
from harness import Case

OK, RUNTIME, USAGE, ABSENT, UNREADABLE = range(5)
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Arguments(Case):
    def assert_usage(self, arguments, *parts):
        with self.subTest(arguments=arguments):
            out, errors = self.run_command(*arguments, expected=USAGE)
            self.assertEqual(out, "")
            self.assert_one_line(errors, "--help", *parts)

    def test_usage_errors(self):
        for arguments, *parts in (
                ([], "no command"),
                (["server"], "unknown command 'server'"),
                (["--bogus"], "--bogus"),
                (["serve", "--bogus"], "unknown option '--bogus'"),
                (["serve", "-x"], "'-x'"),
                (["serve", "-xyz"], "'-x'"),
                (["serve", "--dir", ""], "--dir needs a value"),
                (["serve", "--listen"], "--listen needs a value"),
                (["serve", "--interval", "fast"], "--interval fast", "100ms to 60s"),
                (["serve", "--interval", "99ms"], "--interval 99ms", "100ms to 60s"),
                (["serve", "--interval", "61s"], "--interval 61s", "100ms to 60s"),
                (["serve", "--interval", "nan"], "--interval nan", "100ms to 60s"),
                (["serve", "--max-clients", "many"], "--max-clients many", "0 to 10000"),
                (["serve", "--max-clients", "10001"], "--max-clients 10001", "0 to 10000"),
                (["serve", "--max-clients", "-1"], "--max-clients -1", "0 to 10000"),
                (["serve", "here"], "'here'"),
                (["serve", "--dir", "/a", "--region", "/b"], "--dir", "--region"),
                (["dump"], "no region file"),
                (["dump", "a", "b"], "more than one"),
                (["dump", "--bogus", "a"], "--bogus"),
                (["dump", "-o"], "-o needs a value"),
                (["dump", "-o", "xml", "a"], "-o xml", "text, json or otlp"),
                (["inspect"], "no region file"),
                (["inspect", "a", "b"], "more than one"),
                (["inspect", "--bogus", "a"], "--bogus")):
            self.assert_usage(arguments, *parts)

    def test_environment(self):
        _, errors = self.run_command("serve", expected=USAGE,
                                     environment={"FWDSCOPE_INTERVAL": "soon"})
        self.assert_one_line(errors, "soon", "100ms to 60s")
        # The flag wins.
        sidecar = self.sidecar(interval="300ms", environment={"FWDSCOPE_INTERVAL": "200ms"})
        self.assertEqual(sidecar.status()["sampler"]["interval_ms"], 300)

    def test_help_and_version(self):
        for arguments in (["--help"], ["serve", "--help"], ["dump", "--help"],
                          ["inspect", "--help"]):
            with self.subTest(arguments=arguments):
                out, errors = self.run_command(*arguments)
                self.assertIn("usage: fwdscope", out)
                self.assertEqual(errors, "")
        out, _ = self.run_command("--version")
        self.assertIn("layout 1.0", out)

    def test_bad_addresses(self):
        for where in ("nonsense", "127.0.0.1", "127.0.0.1:99999", "256.0.0.1:80", ":"):
            with self.subTest(listen=where):
                _, errors = self.run_command("serve", "--dir", self.dir, "--listen", where,
                                             expected=USAGE)
                self.assert_one_line(errors, "--listen", "ADDR:PORT")

    def test_bad_tokens(self):
        path = os.path.join(self.scratch, "token")
        for content, *parts in ((None, "No such file"), (b"short", "16"), (b"x" * 5000, "4096"),
                                (b"has a space in the middle", "A-Z a-z 0-9")):
            with self.subTest(content=content):
                if content is not None:
                    with open(path, "wb") as file:
                        file.write(content)
                _, errors = self.run_command("serve", "--dir", self.dir, "--token-file", path,
                                             expected=RUNTIME)
                self.assert_one_line(errors, "--token-file", path, *parts)


class Regions(Case):
    """Each kind of file that is no region to be read: dump and inspect refuse it with its code,
    serve says so and goes on."""

    def assert_refused(self, path, code, tag, *parts):
        for command in ("dump", "inspect"):
            out, errors = self.run_command(command, path, expected=code)
            self.assert_one_line(errors, path, *parts)
            if command == "dump":
                self.assertEqual(out, "")
        sidecar = self.sidecar("--region", path)
        sidecar.await_ready(503, tag)
        self.assertEqual(sidecar.get("/live").status, 200)
        if code != ABSENT:
            for part in (path, *parts):
                self.assertIn(part, sidecar.status()["writer"]["reason"])

    def file(self, data):
        path = os.path.join(self.dir, "it.1.00000000.fwdscope")
        with open(path, "wb") as file:
            file.write(data)
        return path

    def test_absent(self):
        self.assert_refused(os.path.join(self.dir, "no.fwdscope"), ABSENT, "region_not_found",
                            "No such file")

    def test_truncated(self):
        self.assert_refused(self.file(dead_region.make(self)[:100_000]), UNREADABLE,
                            "region_corrupt", "truncated", "100000 of")

    def test_truncated_header(self):
        self.assert_refused(self.file(dead_region.make(self)[:1000]), UNREADABLE, "region_corrupt",
                            "truncated", "1000 bytes")

    def test_empty(self):
        self.assert_refused(self.file(b""), UNREADABLE, "region_corrupt", "truncated", "0 bytes")

    def test_foreign(self):
        self.assert_refused(self.file(b"not a region at all\n" * 1000), UNREADABLE,
                            "region_corrupt", "not a fwdscope region")

    def test_later_major(self):
        self.assert_refused(self.file(dead_region.patched(dead_region.make(self), major=2)),
                            UNREADABLE, "region_incompatible", "layout 2.0", "reads 1.x", "use")

    def test_inspect_names_the_writer_of_a_later_major(self):
        path = self.file(dead_region.patched(dead_region.make(self), major=2))
        out, _ = self.run_command("inspect", path, expected=UNREADABLE)
        self.assertIn("patient 1.2.3", out)
        self.assertIn("dead: its lock is gone", out)

    def test_directory(self):
        self.assert_refused(self.dir, UNREADABLE, "region_corrupt", "not a regular file")

    def test_link(self):
        path = os.path.join(self.dir, "link.fwdscope")
        os.symlink(self.file(dead_region.make(self)), path)
        self.assert_refused(path, UNREADABLE, "region_corrupt", "symbolic link")

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"),
                         "becoming another user needs root and setpriv")
    def test_unreadable(self):
        path = self.file(dead_region.make(self))
        os.chmod(path, 0o640)
        for directory in (self.scratch, self.dir):
            os.chmod(directory, 0o755)
        try:
            self.run_command("--version", before=NOBODY)
        except (AssertionError, OSError) as error:
            self.skipTest(f"another user cannot run the program: {error}")
        for command in ("dump", "inspect"):
            _, errors = self.run_command(command, path, expected=UNREADABLE, before=NOBODY)
            self.assert_one_line(errors, path, "Permission denied")

    def test_sound(self):
        """A region of a writer that closed it: 0, from all three."""
        path = self.file(dead_region.make(self))
        out, errors = self.run_command("inspect", path)
        self.assertEqual(errors, "")
        self.assertIn("told to quit", out)
        for output in ("text", "json", "otlp"):
            out, errors = self.run_command("dump", "-o", output, path)
            self.assertEqual(errors, "")
            self.assertTrue(out)

    def test_dump_otlp_is_a_document_a_line(self):
        patient = self.patient()
        patient.do("lines", 3)
        patient.do("spans", 2)
        patient.do("counter", "own.count", 4)
        out, _ = self.run_command("dump", "-o", "otlp", patient.path)
        checker = harness.otlp_rules.Checker()
        self.assertEqual([checker.check(line)[0] for line in out.splitlines()],
                         ["metrics", "spans", "logs"])

    def test_dump_text_is_safe_on_a_terminal(self):
        patient = self.patient("--service", "a\x1b[31mred")
        patient.do("log", 9, b"\x1b]0;title\x07\xc2\x9bx")
        patient.do("span-start", "s", "\x1b[2J")
        out, _ = self.run_command("dump", patient.path)
        self.assertFalse([c for c in out if c != "\n" and (ord(c) < 0x20 or 0x7f <= ord(c) < 0xa0)])
        self.assertIn("red", out)

    def test_output_to_a_full_device(self):
        path = self.file(dead_region.make(self))
        for arguments in (["dump", path], ["dump", "-o", "otlp", path], ["inspect", path],
                          ["inspect", "--verify", path], ["check", path], ["dump", "--help"],
                          ["--version"]):
            with self.subTest(arguments[:-1]), open("/dev/full", "wb") as full:
                process = harness.Process([harness.FWDSCOPE, *arguments], self.scratch, stdout=full)
                process.wait(RUNTIME)
                self.assert_one_line(process.errors(), "No space left")


if __name__ == "__main__":
    unittest.main(verbosity=2)
