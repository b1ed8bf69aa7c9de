#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example forwarder from outside: a real process, real files and sockets.

FWDSCOPE_BUILD names the directory of the binaries (default: build/ of the tree).
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FWDSCOPE_BUILD", ROOT / "build"))
BINARY = BUILD / "fwdscope-example-forwarder"
TIMEOUT = 30.0


def whole_lines(data):
    """The records of NDJSON whose last line may not be there yet."""
    return [json.loads(line) for line in data[:data.rfind(b"\n") + 1].splitlines()]


def until(condition, what, timeout=TIMEOUT):
    """Awaits a true result of `condition` and returns it; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


class Receiver:
    """A TCP peer that keeps the lines it gets, over any number of connections."""

    def __init__(self, port=0, reading=True):
        self.lock = threading.Lock()
        self.data = []
        self.connections = []
        self.reading = threading.Event()
        if reading:
            self.reading.set()
        self.server = socket.create_server(("127.0.0.1", port))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with self.lock:
                index = len(self.data)
                self.data.append(bytearray())
                self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection, index), daemon=True).start()

    def _read(self, connection, index):
        self.reading.wait()
        while True:
            try:
                got = connection.recv(65536)
            except OSError:
                return
            if not got:
                return
            with self.lock:
                self.data[index] += got

    def records(self):
        with self.lock:
            texts = [bytes(data) for data in self.data]
        return [record for text in texts for record in whole_lines(text)]

    def hang_up(self):
        with self.lock:
            for connection in self.connections:
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            self.connections.clear()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.hang_up()


class ForwarderTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="fwdscope-", dir="/dev/shm")
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name)
        self.log = self.directory / "app.log"
        self.out = self.directory / "out.ndjson"
        self.stderr = self.directory / "stderr"
        self.region = self.directory / "region"
        self.region.mkdir()

    # ---- the forwarder -------------------------------------------------------------------------

    def config(self, receiver=None, **sections):
        """The configuration of most tests: app.log to `receiver`, or to out.ndjson."""
        config = {
            "service_name": "under-test",
            "input": {"paths": [str(self.log)]},
            "batch": {"rows": 50, "timeout_ms": 20},
            "output": {"type": "file", "address": str(self.out),
                       "retry_min_ms": 10, "retry_max_ms": 50},
        }
        if receiver is not None:
            config["output"].update(type="tcp", address=f"127.0.0.1:{receiver}")
        for name, section in sections.items():
            config.setdefault(name, {}).update(section)
        return config

    def start(self, config, directory=None):
        text = config if isinstance(config, str) else json.dumps(config, indent=1)
        path = self.directory / "forwarder.yaml"
        path.write_text(text)
        with open(self.stderr, "wb") as stderr:
            process = subprocess.Popen(
                [BINARY, "--config", path, "--directory", directory or self.region], stderr=stderr)
        self.addCleanup(self.kill, process)
        self.said("started:")
        return process

    @staticmethod
    def kill(process):
        if process.poll() is None:
            process.kill()
            process.wait()

    def said(self, pattern):
        """Awaits a message on stderr."""
        until(lambda: re.search(pattern, self.stderr.read_text()), f"message {pattern!r}")

    def end(self, process, status=0):
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(TIMEOUT), status, self.stderr.read_text())

    # ---- what went in and what came out ----------------------------------------------------------

    def write(self, data, path=None):
        with open(path or self.log, "ab") as log:
            log.write(data if isinstance(data, bytes) else data.encode())

    def write_lines(self, first, count, path=None):
        lines = [f"line {i}" for i in range(first, first + count)]
        self.write("".join(line + "\n" for line in lines), path)
        return lines

    def records(self):
        return whole_lines(self.out.read_bytes()) if self.out.exists() else []

    def lines(self):
        return [record["line"] for record in self.records()]

    def arrived(self, expected, lines=None):
        """Awaits as many lines as expected, and compares them with their order."""
        lines = lines or self.lines
        until(lambda: len(lines()) >= len(expected), f"{len(expected)} lines, got {len(lines())}")
        self.assertEqual(lines(), expected)


class Delivery(ForwarderTest):
    def test_lines_to_a_file_once_and_in_order(self):
        process = self.start(self.config())
        expected = []
        for part in range(20):
            expected += self.write_lines(part * 100, 100)
        self.arrived(expected)
        self.end(process)
        self.assertEqual(self.lines(), expected)

    def test_lines_over_tcp_once_with_several_workers(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        process = self.start(self.config(receiver.port, output={"workers": 3}))
        expected = self.write_lines(0, 5000)
        until(lambda: len(receiver.records()) >= 5000, "5000 lines")
        self.end(process)
        self.assertEqual(sorted(r["line"] for r in receiver.records()), sorted(expected))

    def test_lines_to_a_file_from_several_workers_do_not_mix(self):
        process = self.start(self.config(output={"workers": 4}, batch={"rows": 7}))
        expected = self.write_lines(0, 5000)
        until(lambda: len(self.lines()) >= 5000, "5000 lines")
        self.end(process)
        self.assertEqual(sorted(self.lines()), sorted(expected))

    def test_destination_down_then_up(self):
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        process = self.start(self.config(port))
        expected = self.write_lines(0, 300)
        self.said("attempt 1 failed, tries again: connect to")
        receiver = Receiver(port)
        self.addCleanup(receiver.close)
        self.arrived(expected, lambda: [r["line"] for r in receiver.records()])
        self.said("delivered after [0-9]+ failed attempts")
        self.end(process)

    def test_peer_hangs_up_between_batches(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        process = self.start(self.config(receiver.port))
        expected = []
        for part in range(3):
            expected += self.write_lines(part * 10, 10)
            self.arrived(expected, lambda: [r["line"] for r in receiver.records()])
            receiver.hang_up()
        self.assertGreaterEqual(len(receiver.data), 3)
        self.end(process)

    def test_slow_peer_stops_the_reading_and_loses_nothing(self):
        receiver = Receiver(reading=False)
        self.addCleanup(receiver.close)
        config = self.config(receiver.port, output={"queue_batches": 1}, batch={"rows": 1000})
        process = self.start(config)
        filler = "x" * 1000
        count = 20000
        self.write("".join(f"{i} {filler}\n" for i in range(count)))

        def read_bytes():
            io = pathlib.Path(f"/proc/{process.pid}/io").read_text()
            return int(re.search(r"rchar: (\d+)", io)[1])

        until(lambda: read_bytes() > 1000000, "the forwarder reads")
        receiver.reading.set()
        until(lambda: len(receiver.records()) >= count, f"{count} lines")
        self.end(process)
        numbers = [int(record["line"].split()[0]) for record in receiver.records()]
        self.assertEqual(numbers, list(range(count)))

    def test_full_file_is_retried(self):
        process = self.start(self.config(output={"address": "/dev/full"}))
        self.write_lines(0, 1)
        self.said("attempt 1 failed, tries again: write /dev/full: No space left on device")
        process.send_signal(signal.SIGTERM)
        self.said("drains")
        self.end(process, 1)
        self.said("1 lines were not delivered")


class Following(ForwarderTest):
    def test_rotation_by_rename_and_create(self):
        process = self.start(self.config())
        expected = []
        for life in range(5):
            for part in range(10):
                expected += self.write_lines(life * 1000 + part * 100, 100)
            self.arrived(expected)
            self.log.rename(self.directory / f"app.log.{life}")
        expected += self.write_lines(9000, 10)
        self.arrived(expected)
        self.end(process)
        self.assertEqual(len(re.findall("was rotated", self.stderr.read_text())), 5)

    def test_rest_of_a_rotated_file_comes_first(self):
        process = self.start(self.config())
        expected = self.write_lines(0, 10)
        self.arrived(expected)
        process.send_signal(signal.SIGSTOP)
        # More than the forwarder reads of a file at a time.
        rest = [f"rest {i} {'x' * 1000}" for i in range(5000)]
        self.write("".join(line + "\n" for line in rest))
        self.log.rename(self.directory / "app.log.1")
        expected += rest + self.write_lines(50000, 100)
        process.send_signal(signal.SIGCONT)
        self.arrived(expected)
        self.end(process)

    def test_writer_that_reopens_late(self):
        process = self.start(self.config())
        with open(self.log, "a", buffering=1) as writer:
            writer.write("a\n")
            self.arrived(["a"])
            self.log.rename(self.directory / "app.log.1")
            self.said("was rotated")
            writer.write("b\nunfin")
            self.arrived(["a", "b"])
            self.write("new\n")
            self.arrived(["a", "b", "new"])
            writer.write("ished\n")
            self.arrived(["a", "b", "new", "unfinished"])
        self.end(process)

    def test_rotated_file_that_the_glob_still_matches(self):
        process = self.start(self.config(input={"paths": [str(self.log) + "*"]}))
        expected = self.write_lines(0, 10)
        self.arrived(expected)
        self.log.rename(self.directory / "app.log.1")
        expected += self.write_lines(10, 10)
        self.arrived(expected)
        self.write("late\n", self.directory / "app.log.1")
        self.arrived(expected + ["late"])
        self.end(process)
        self.assertEqual(self.lines(), expected + ["late"])

    def test_truncation(self):
        process = self.start(self.config())
        expected = []
        for life in range(3):
            expected += self.write_lines(life * 100, 20)
            self.arrived(expected)
            os.truncate(self.log, 0)
            self.said("was truncated(?s:.*was truncated){%d}" % life)
        self.end(process)

    def test_truncation_behind_which_the_file_grew_past_its_old_length(self):
        process = self.start(self.config())
        expected = self.write_lines(0, 10)
        self.arrived(expected)
        process.send_signal(signal.SIGSTOP)
        os.truncate(self.log, 0)
        expected += self.write_lines(1000, 50)
        process.send_signal(signal.SIGCONT)
        self.arrived(expected)
        self.end(process)

    def test_partial_line_waits_for_its_newline(self):
        other = self.directory / "other.log"
        process = self.start(self.config(input={"paths": [str(self.log), str(other)]}))
        self.write("begin")
        for i in range(3):
            self.write(f"{i}\n", other)
            self.arrived([str(k) for k in range(i + 1)])
            self.write("+")
        self.write(" end\n")
        self.arrived(["0", "1", "2", "begin+++ end"])
        self.end(process)

    def test_partial_line_at_the_end_is_told(self):
        process = self.start(self.config())
        self.write("whole\nhalf")
        self.arrived(["whole"])
        self.end(process)
        self.said("4 bytes of unfinished lines")
        self.assertEqual(self.lines(), ["whole"])

    def test_from_end_skips_what_is_there_but_for_an_unfinished_line(self):
        self.write("old\n" * 50000 + "unfin")
        process = self.start(self.config(input={"from": "end"}))
        self.said("follows")
        self.write("ished\nnew\n")
        self.arrived(["unfinished", "new"])
        self.end(process)

    def test_from_end_reads_a_later_file_from_its_beginning(self):
        # The paths are looked for in their order: with the second found, the first was missing.
        there = self.directory / "there.log"
        there.touch()
        paths = [str(self.log), str(there)]
        process = self.start(self.config(input={"paths": paths, "from": "end"}))
        self.said("follows")
        self.write("first\n")
        self.arrived(["first"])
        self.end(process)

    def test_glob_finds_later_files(self):
        process = self.start(self.config(input={"paths": [str(self.directory / "*.log")]}))
        self.write("a\n", self.directory / "a.log")
        self.arrived(["a"])
        self.write("b\n", self.directory / "b.log")
        self.arrived(["a", "b"])
        self.assertEqual([r["file"] for r in self.records()],
                         [str(self.directory / "a.log"), str(self.directory / "b.log")])
        self.end(process)

    def test_unreadable_path_is_told_and_the_rest_goes_on(self):
        loop = self.directory / "loop.log"
        process = self.start(self.config(input={"paths": [str(loop), str(self.log)]}))
        loop.mkdir()
        expected = self.write_lines(0, 3)
        self.arrived(expected)
        self.end(process)

    def test_line_beyond_the_limit_comes_in_pieces(self):
        process = self.start(self.config())
        long = "".join(chr(ord("a") + i % 26) for i in range(700000))
        self.write(long + "\nshort\n")
        until(lambda: self.lines()[-1:] == ["short"], "the line after")
        pieces = self.lines()[:-1]
        self.assertEqual([len(piece) for piece in pieces], [262144, 262144, 700000 - 2 * 262144])
        self.assertEqual("".join(pieces), long)
        self.end(process)


class Transform(ForwarderTest):
    def test_filter(self):
        process = self.start(self.config(
            transform={"include": "status (installed|unpacked)", "exclude": ":i386"}))
        self.write("status installed a:amd64\nstatus installed b:i386\n"
                   "startup\nstatus unpacked c\n")
        self.arrived(["status installed a:amd64", "status unpacked c"])
        self.end(process)

    def test_filter_that_passes_nothing(self):
        process = self.start(self.config(transform={"include": "never"}))
        self.write_lines(0, 500)
        self.end(process)
        self.assertEqual(self.lines(), [])

    def test_parts_of_a_line(self):
        process = self.start(self.config())
        self.write("2024-01-31 10:11:12 status installed foo:amd64 1.2\n"
                   "2024-01-31T10:11:12.5+01:00 [WARN] disk\n"
                   "Jan  1 00:00:00 host cron[1]: x\n"
                   "no timestamp\n")
        until(lambda: len(self.lines()) == 4, "4 lines")
        path = str(self.log)
        parts = [{k: v for k, v in r.items() if k != "line"} for r in self.records()]
        self.assertEqual(parts, [
            {"file": path, "timestamp": "2024-01-31 10:11:12",
             "message": "status installed foo:amd64 1.2"},
            {"file": path, "timestamp": "2024-01-31T10:11:12.5+01:00", "level": "WARN",
             "message": "disk"},
            {"file": path, "timestamp": "Jan  1 00:00:00", "message": "host cron[1]: x"},
            {"file": path},
        ])
        self.end(process)

    def test_json_lines(self):
        process = self.start(self.config())
        good = '{"a": [1, -2.5e3, true, null, {"b": "\\u00e9\\n"}]}'
        bad = ['{"a": 1', '{"a": 01}', '{"a": "\t"}', '{"a": 1} x', '{"a":1,}', "{" * 2000]
        self.write(good + "\n" + "\n".join(bad) + "\n")
        until(lambda: len(self.lines()) == 1 + len(bad), "all lines")
        records = self.records()
        self.assertEqual(records[0]["json"], json.loads(good))
        self.assertEqual([r["line"] for r in records], [good] + bad)
        self.assertFalse(any("json" in r for r in records[1:]))
        self.end(process)

    def test_every_byte_gives_valid_json(self):
        process = self.start(self.config())
        every = bytes(b for b in range(256) if b != 10)
        text = "h\u00e9llo \U0001f600 \"q\" \\ \x7f"
        self.write(every + b"\n" + text.encode() + b"\n" + b"\xed\xa0\x80\n")
        until(lambda: len(self.lines()) == 3, "3 lines")
        lines = self.lines()
        self.assertEqual(lines[0], every[:127].decode() + "\ufffd" * 128)
        self.assertEqual(lines[1], text)
        self.assertEqual(lines[2], "\ufffd" * 3)
        self.end(process)

    def test_filter_sees_beyond_a_nul(self):
        process = self.start(self.config(transform={"include": "wanted"}))
        self.write(b"a\0wanted\na\0other\n")
        self.arrived(["a\0wanted"])
        self.end(process)


class Ending(ForwarderTest):
    def test_sigterm_drains_what_was_written(self):
        for stop in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(stop=stop):
                self.log.unlink(missing_ok=True)
                self.out.unlink(missing_ok=True)
                self.write("")
                process = self.start(self.config(batch={"timeout_ms": 60000, "rows": 1000000}))
                self.said("follows")
                expected = self.write_lines(0, 20000)
                process.send_signal(stop)
                self.assertEqual(process.wait(TIMEOUT), 0)
                self.assertEqual(self.lines(), expected)

    def test_sigterm_drains_over_tcp(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        self.write("")
        process = self.start(self.config(receiver.port))
        self.said("follows")
        expected = self.write_lines(0, 20000)
        self.end(process)
        self.arrived(expected, lambda: [r["line"] for r in receiver.records()])

    def test_drain_without_a_destination_is_bounded(self):
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        self.write_lines(0, 7)
        process = self.start(self.config(port, output={"queue_batches": 1}, batch={"rows": 1}))
        self.said("attempt 1 failed")
        begin = time.monotonic()
        self.end(process, 1)
        self.assertLess(time.monotonic() - begin, 10)
        self.said("7 lines were not delivered")

    def test_second_signal_ends_the_drain(self):
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        self.write_lines(0, 3)
        process = self.start(self.config(port))
        self.said("attempt 1 failed")
        process.send_signal(signal.SIGTERM)
        self.said("drains")
        begin = time.monotonic()
        self.end(process, 1)
        self.assertLess(time.monotonic() - begin, 4)


class Usage(ForwarderTest):
    def run_once(self, *arguments):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=TIMEOUT)

    def assert_refused(self, result, *words):
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def test_bad_configuration(self):
        good = {"service_name": "s", "input": {"paths": ["x"]},
                "output": {"type": "tcp", "address": "h:1"}}

        def lacking(section, key):
            config = json.loads(json.dumps(good))
            del config[section][key]
            return json.dumps(config)

        cases = [
            ("service_name: a\nservice_nam: b\n", ":2:", "service_nam: unknown key"),
            ("service_name: a\nbatch:\n  rows: x\n", ":3:", "batch.rows: expected a number from 1"),
            ("batch: {bytes: -1}\n", ":1:", "batch.bytes"),
            ("heartbeat_ms: 1\n", ":1:", "heartbeat_ms: expected a number from 100"),
            ("service_name: a\nservice_name: b\n", ":2:", "service_name: given twice"),
            ("input:\n  paths: a\n", ":2:", "input.paths: expected a list"),
            ("input:\n  from: middle\n", ":2:", "input.from: expected beginning or end"),
            ("transform:\n  include: '('\n", ":2:", "transform.include: not a regular expression"),
            ("output: tcp\n", ":1:", "output: expected a map"),
            ("a: [\n", "not YAML"),
            ("- a\n", "expected a map"),
            ("", "expected a map"),
            (json.dumps({**good, "service_name": ""}), "service_name"),
            (lacking("input", "paths"), "input.paths: missing"),
            (lacking("output", "type"), "output.type: missing"),
            (lacking("output", "address"), "output.address: missing"),
            (json.dumps({**good, "output": {"type": "tcp", "address": "h"}}), "expected host:port"),
            (json.dumps({**good, "output": {"type": "tcp", "address": "h:70000"}}), "host:port"),
            (json.dumps({**good, "output": {"type": "file", "address": "x", "retry_min_ms": 9,
                                            "retry_max_ms": 8}}), "output.retry_max_ms"),
        ]
        path = self.directory / "bad.yaml"
        for text, *words in cases:
            with self.subTest(text=text):
                path.write_text(text)
                self.assert_refused(self.run_once("--config", path), str(path), *words)

    def test_missing_configuration_file(self):
        self.assert_refused(self.run_once("--config", "/nowhere/x.yaml"), "/nowhere/x.yaml",
                            "No such file or directory")

    def test_bad_command_line(self):
        self.assert_refused(self.run_once(), "--config FILE")
        self.assert_refused(self.run_once("--what"), "--what")
        self.assert_refused(self.run_once("--config", "x", "y"), "--config FILE")

    def test_help_and_version(self):
        result = self.run_once("--help")
        self.assertEqual(result.returncode, 0)
        self.assertIn("--directory DIR", result.stdout)
        result = self.run_once("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r"^fwdscope-example-forwarder \d+\.\d+\.\d+\n$")

    def test_the_example_configuration_is_accepted(self):
        example = (ROOT / "forwarder-shim/examples/forwarder.yaml").read_text()
        for comment in ("heartbeat_ms:", "from:", "transform:", "include:", "exclude:", "bytes:",
                        "queue_batches:", "retry_min_ms:", "retry_max_ms:", "send_timeout_ms:"):
            example, count = re.subn(rf"# ( *{comment})", r"\1", example)
            self.assertEqual(count, 1, comment)
        process = self.start(example.replace("/var/log/dpkg.log", str(self.log)))
        self.end(process)


class Diagnostics(ForwarderTest):
    def output_with(self, directory):
        self.out.unlink(missing_ok=True)
        self.write("")
        process = self.start(self.config(), directory)
        self.arrived([f"line {i}" for i in range(1000)])
        self.end(process)
        return self.out.read_bytes(), self.stderr.read_text()

    def test_unusable_directory_changes_nothing_but_a_warning(self):
        self.write_lines(0, 1000)
        good, quiet = self.output_with(self.region)
        self.assertNotIn("without diagnostics", quiet)
        plain_file = self.directory / "plain"
        plain_file.touch()
        for unusable in (plain_file, self.directory / "missing", "/proc"):
            with self.subTest(directory=unusable):
                output, said = self.output_with(unusable)
                self.assertEqual(output, good)
                self.assertRegex(said, "warning: runs without diagnostics: .+")

    def test_configuration_enters_the_region_redacted(self):
        config = self.config(output={"auth": {"bearer_token": "s3cret", "n": 5}})
        process = self.start(config)
        self.end(process)
        (region,) = self.region.iterdir()
        data = region.read_bytes()
        self.assertIn(b"***redacted***", data)
        self.assertIn(b"retry_max_ms", data)
        self.assertNotIn(b"s3cret", data)

    def test_payload_stays_out_of_the_region(self):
        process = self.start(self.config())
        self.write("the-payload-of-a-line\n")
        self.arrived(["the-payload-of-a-line"])
        self.end(process)
        (region,) = self.region.iterdir()
        data = region.read_bytes()
        self.assertIn(b"follows " + bytes(self.log), data)
        self.assertNotIn(b"the-payload-of-a-line", data)


if __name__ == "__main__":
    unittest.main()
