# SPDX-License-Identifier: Apache-2.0
"""Start-up under every failure: the shim starts, or is inert and says why; the forwarder delivers
byte for byte what it delivers without a shim; a start that failed leaves nothing behind."""
import collections
import os
import pathlib
import re
import shutil
import unittest

from hurt_common import (FIU_PRELOAD, FORWARDER, MARK, OTHER_UID, STRACE, Case, Forwarder, choose,
                         figure, mounted, needs_mounts, needs_root, needs_traces)

SWITCH_PAGE = 4096  # stays for the life of the process; every later open uses it again
# A call of these that fails did not give its thing back: what is left is the test's doing.
GIVING_BACK = {"close", "closedir", "munmap", "unlink", "unlinkat"}
CANNOT_FAIL = {"getpid", "getuid", "geteuid", "getgid", "getegid"}
ERRORS = {"openat": ["EMFILE"], "fallocate": ["ENOSPC", "EIO"], "fcntl": ["ENOLCK"],
          "rename": ["ENOSPC"], "close": ["EIO"], "read": ["EIO"], "pread64": ["EIO"],
          "getdents64": ["EIO"], "getrandom": ["EAGAIN"]}
MORE_ERRORS = ["EPERM", "EINTR", "ENOSYS", "EINVAL", "EACCES"]


class Start(Case):
    LINES = 1000

    def assert_left(self, forwarder, what, names_before=()):
        """What a start left behind: all of a region, or nothing."""
        report = forwarder.report
        new = sorted(set(os.listdir(self.dir)) - set(names_before))
        if forwarder.is_on:
            self.assertEqual((len(new), report["region_maps"]), (1, "1"), what)
            self.assertRegex(new[0], r"^hurt\.\d+\.[0-9a-f]{8}\.fwdscope$")
            return
        self.assertRegex(report["reason"], r"^[^\n]{10,}$", what)
        self.assertNotIn("in a forked child", report["reason"], what)  # what it says by default
        if what.split("/")[-1].split()[0] in GIVING_BACK:
            return
        self.assertEqual((new, report["descriptors"], report["region_maps"]), ([], "0", "0"), what)
        self.assertIn(int(report["map_bytes"]), (0, SWITCH_PAGE), what)


class EveryCall(Start):
    """One call of start-up fails, each in turn, in a directory that has work to do: a life that
    crashed, and what another left when it died while it was creating."""

    def setUp(self):
        super().setUp()
        crashed = Forwarder(self, FORWARDER)
        crashed.kill()
        self.remains = pathlib.Path(self.scratch, "remains")
        os.mkdir(self.remains)
        name = os.listdir(self.dir)[0]
        shutil.move(os.path.join(self.dir, name), self.remains / name)
        (self.remains / ".hurt.1.01234567.fwdscope.creating").write_bytes(bytes(8192))
        self.outcomes = collections.defaultdict(lambda: [0, 0])
        self.reasons = set()

    def run_broken(self, what, **options):
        shutil.rmtree(self.dir)
        shutil.copytree(self.remains, self.dir)
        forwarder = self.run_whole(what, **options)
        failed = what or forwarder.report["failed"]
        if failed:
            self.assert_left(forwarder, failed, os.listdir(self.remains))
            self.outcomes[failed.split()[0]][forwarder.is_on] += 1
            self.reasons.add(forwarder.report["reason"])
        return forwarder

    def tell(self, claim):
        inert, on = (sum(column) for column in zip(*self.outcomes.values()))
        self.assertGreater(inert, 0)
        self.assertGreater(on, 0)
        per_call = ", ".join(f"{call.split('/')[-1]} {sum(counts)}"
                             for call, counts in sorted(self.outcomes.items()))
        figure(claim, f"{inert + on} failures ({per_call}): started {on}, inert with a reason "
               f"{inert}, {len(self.reasons - {''})} different reasons; output identical "
               f"{inert + on}, left behind 0")

    def test_libc_calls(self):
        """malloc and its kin, mmap, open, rename, all that libfiu knows: the N-th call fails."""
        environment = {"LD_PRELOAD": FIU_PRELOAD, "HURT_NTH": "0"}
        total = int(self.run_broken("", environment=environment).report["calls"])
        self.assertGreater(total, 20)
        reached = 0
        while True:
            environment["HURT_NTH"] = str(reached + 1)
            if not self.run_broken("", environment=environment).report["failed"]:
                break
            reached += 1
        self.assertGreaterEqual(reached, total // 2)
        for name in ("libc/mm/malloc", "posix/mm/mmap", "posix/io/oc/open", "posix/io/dir/opendir",
                     "posix/io/dir/rename", "posix/mm/madvise"):
            self.assertIn(name, self.outcomes)
        # Without these there is no region.
        for name in ("posix/mm/mmap", "posix/io/oc/open", "posix/io/dir/rename"):
            self.assertGreater(self.outcomes[name][False], 0, name)
        self.tell("the N-th library call of start-up fails, for every N (libfiu)")

    def window(self, trace):
        """The system calls between the marks, each with its number among those of its name."""
        counts, inside, found = collections.Counter(), False, []
        for line in pathlib.Path(trace).read_text().splitlines():
            name = re.match(r"\w+(?=\()", line)
            if name is None:
                continue
            counts[name[0]] += 1
            if MARK in line:
                inside = not inside
            elif inside and name[0] not in CANNOT_FAIL:
                found.append((name[0], counts[name[0]]))
        return found

    @needs_traces
    def test_system_calls(self):
        """Every system call of start-up, also those inside libc, made to fail by the tracer."""
        trace = os.path.join(self.scratch, "trace")
        self.assertTrue(self.run_broken("", before=[STRACE, "-o", trace]).is_on)
        calls = self.window(trace)
        names = {name for name, _ in calls}
        self.assertLessEqual({"mmap", "openat", "fallocate", "fcntl", "rename", "madvise",
                              "unlinkat", "getrandom"}, names)
        self.assertEqual(names & {"clone", "clone3", "fork", "vfork", "rt_sigaction"}, set(),
                         "the shim makes neither threads nor signal handlers")
        for name, number in calls:
            for error in ERRORS.get(name, ["ENOMEM"]) + choose([], MORE_ERRORS):
                what = f"{name} {number} {error}"
                self.run_broken(what, before=[STRACE, "-o", trace, "-e",
                                              f"inject={name}:error={error}:when={number}"])
                self.assertIn((name, number), self.window(trace), what)
                text = pathlib.Path(trace).read_text()
                inside = text.split(MARK)[1]
                self.assertEqual((text.count("(INJECTED)"), inside.count("(INJECTED)")), (1, 1),
                                 what)
        for name in ("mmap", "openat", "fallocate", "fcntl", "rename"):
            self.assertGreater(self.outcomes[name][False], 0, name)
        self.tell("one system call of start-up fails, each in turn (strace)")


class Limits(Start):
    """Soft limits set just before the shim opens, and lifted when it is done."""
    MEMORY = "Cannot allocate memory"
    #        limit            what the reason says; None: it starts
    CASES = {"AS:0": MEMORY, "AS:+65536": MEMORY, "AS:+4000000": MEMORY, "AS:+40000000": None,
             "DATA:4096": MEMORY,
             "NOFILE:0": "Too many open files", "NOFILE:+0": "Too many open files",
             "NOFILE:+1": "Too many open files", "NOFILE:+2": None,
             "FSIZE:0": "RLIMIT_FSIZE", "FSIZE:65536": "RLIMIT_FSIZE", "FSIZE:16777216": None,
             "NPROC:0": None, "MEMLOCK:0": None}

    def test_limits(self):
        outcomes = []
        for limit, reason in self.CASES.items():
            self.clear()
            # Its own messages must not go to a file: under FSIZE:0 they would be the end of it.
            forwarder = self.run_whole(limit, environment={"HURT_LIMIT": limit},
                                       before=["sh", "-c", 'exec "$@" 2>/dev/null', "sh"])
            self.assert_left(forwarder, limit)
            self.assertEqual(forwarder.is_on, reason is None, (limit, forwarder.report))
            self.assertIn(reason or "", forwarder.report["reason"], limit)
            outcomes.append(f"{limit} {'starts' if forwarder.is_on else 'inert'}")
        figure("limits at start-up", ", ".join(outcomes) + "; output identical in all, no signal")


class Places(Start):
    """Directories in which there can be no region."""

    def assert_inert(self, reason, **options):
        forwarder = self.run_whole(reason, **options)
        self.assertFalse(forwarder.is_on)
        self.assertIn(reason, forwarder.report["reason"])
        self.assert_left(forwarder, reason)

    def test_missing(self):
        self.assert_inert("No such file or directory",
                          directory=os.path.join(self.scratch, "nowhere"))

    def test_a_file(self):
        self.assert_inert("Not a directory", directory=str(self.input))

    @needs_mounts
    def test_mounted(self):
        """What is mounted is the forwarder's own: it ends with it."""
        for options, then, reason in (
                ("size=1m", "", "No space left on device"),
                ("size=16m", 'head -c 20m /dev/zero >"$0/full" 2>/dev/null; true',
                 "No space left on device"),
                ("nr_inodes=1", "", "No space left on device"),
                ("size=16m", 'mount -o remount,ro "$0"', "Read-only file system")):
            self.assert_inert(reason, before=mounted(self.dir, options, then))
        figure("directories", "missing, a file, full tmpfs, tmpfs without inodes, read-only: inert "
               "with the reason; output identical in all")

    @needs_root
    def test_no_permission(self):
        user = ["setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", "--clear-groups"]
        os.chmod(self.scratch, 0o777)
        os.chmod(self.input, 0o644)
        os.chmod(self.config, 0o644)
        for mode in (0o700, 0o755):
            os.chmod(self.dir, mode)
            self.assert_inert("Permission denied", before=user)


if __name__ == "__main__":
    unittest.main(verbosity=0)
