# SPDX-License-Identifier: Apache-2.0
"""The region file in other hands while the forwarder runs: what harms nothing, who is kept from
doing harm, and the one thing that its owner could do (shmlayout/README.md, "Who can truncate it").
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import unittest

from hurt_common import FORWARDER, OTHER_UID, Case, Forwarder, figure, needs_root, wait_until


class Region(Case):
    LINES = 4000

    def setUp(self):
        super().setUp()
        data = self.input.read_bytes()
        middle = data.index(b"\n", len(data) // 2) + 1
        self.halves = data[:middle], data[middle:]

    def start(self):
        """A forwarder that has delivered something, and its region."""
        self.clear()
        self.input.write_bytes(self.halves[0])
        forwarder = Forwarder(self, FORWARDER)
        self.assertTrue(forwarder.is_on)
        wait_until(lambda: forwarder.delivered() > 0, what="output")
        return forwarder, pathlib.Path(self.dir, os.listdir(self.dir)[0])

    def go_on(self):
        with open(self.input, "ab") as file:
            file.write(self.halves[1])


def rename(path):
    path.rename(path.with_name("elsewhere"))


def replace(path):
    other = path.with_name("other")
    other.write_bytes(b"not a region")
    other.rename(path)


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


def remove_directory(path):
    path.unlink()
    path.parent.rmdir()
    path.parent.write_bytes(b"")


def overwrite(path):
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


def grow(path):
    os.truncate(path, 4 * path.stat().st_size)


class Harmless(Region):
    DAMAGES = {"unlinked": pathlib.Path.unlink, "renamed": rename, "replaced": replace,
               "replaced by a directory": replace_by_directory,
               "its directory replaced by a file": remove_directory,
               "chmod 000": lambda path: path.chmod(0), "grown": grow,
               "overwritten by its owner": overwrite}

    def test_damages(self):
        for what, damage in self.DAMAGES.items():
            sidecar = self.sidecar()
            forwarder, path = self.start()
            wait_until(lambda: sidecar.status()["writer"].get("pid") == forwarder.pid)
            damage(path)
            self.go_on()
            forwarder.quit()
            self.assert_delivered(what)
            sidecar.stop()
            if os.path.isfile(self.dir):
                os.unlink(self.dir)
                os.mkdir(self.dir)
            for path in pathlib.Path(self.dir).glob("*/"):
                path.rmdir()
        figure("region file of a running forwarder", f"{', '.join(self.DAMAGES)}: it goes on, "
               f"output identical in all {len(self.DAMAGES)}; the sidecar ends in good order")


# Run by another user: what each way to write or cut the file gives.
ATTEMPTS = """
import errno, fcntl, json, mmap, os, sys
path, descriptor = sys.argv[1:]
def tried(function, *arguments):
    try:
        function(*arguments)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps({
    "truncate": tried(os.truncate, path, 0),
    "open to write": tried(os.open, path, os.O_WRONLY),
    "open to read and write": tried(os.open, path, os.O_RDWR),
    "open with O_TRUNC": tried(os.open, path, os.O_RDONLY | os.O_TRUNC),
    "chmod": tried(os.chmod, path, 0o666),
    "its descriptor in /proc": tried(os.open, descriptor, os.O_RDWR)}))
try:
    fd = os.open(path, os.O_RDONLY)
except OSError as error:
    print(json.dumps({"open to read": errno.errorcode[error.errno]}))
else:
    print(json.dumps({
        "open to read": "done",
        "ftruncate": tried(os.ftruncate, fd, 0),
        "fallocate": tried(os.posix_fallocate, fd, 0, 1 << 24),
        "map to write": tried(mmap.mmap, fd, 4096, mmap.MAP_SHARED,
                              mmap.PROT_READ | mmap.PROT_WRITE),
        "write lock": tried(fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)}))
"""


@needs_root
class OtherUser(Region):
    def attempts(self, path, forwarder, group):
        descriptor = next(str(link) for link in pathlib.Path(f"/proc/{forwarder.pid}/fd").iterdir()
                          if os.readlink(link) == str(path))
        command = ["setpriv", f"--reuid={OTHER_UID}", f"--regid={group}", "--clear-groups",
                   sys.executable, "-c", ATTEMPTS, path, descriptor]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd="/")
        first, second = said.stdout.splitlines()
        return {**json.loads(first), **json.loads(second)}

    def test_another_uid(self):
        os.chmod(self.scratch, 0o755)
        forwarder, path = self.start()
        size = path.stat().st_size
        member = self.attempts(path, forwarder, path.stat().st_gid)
        stranger = self.attempts(path, forwarder, OTHER_UID)
        for attempts in member, stranger:
            for what in ("truncate", "open to write", "open to read and write",
                         "open with O_TRUNC", "its descriptor in /proc"):
                self.assertEqual(attempts.pop(what), "EACCES", what)
            self.assertEqual(attempts.pop("chmod"), "EPERM")
        self.assertEqual(stranger, {"open to read": "EACCES"})
        # Its group reads, which is what the sidecar needs, and has no way from there to writing.
        self.assertEqual(member, {"open to read": "done", "ftruncate": "EINVAL",
                                  "fallocate": "EBADF", "map to write": "EACCES",
                                  "write lock": "EBADF"})
        self.assertEqual(path.stat().st_size, size)
        self.go_on()
        forwarder.quit()
        self.assert_delivered()
        figure("another uid, of the region's group or not", "truncate, open to write, O_TRUNC, "
               "ftruncate, map to write, chmod, /proc/PID/fd: all refused; output identical")


class Owner(Region):
    """The kernel's rule for every map of a file, not of our making: to touch a page beyond the
    file's end is SIGBUS. The shim takes no signal of its host's, so the host's disposition
    decides. Only the owner and root can cut the file."""

    def cut(self, size):
        forwarder, path = self.start()
        os.truncate(path, size(path.stat().st_size))
        self.go_on()
        # Its last log lines go into the ring, in the second half.
        forwarder.signal(signal.SIGTERM)
        forwarder.wait(-signal.SIGBUS)

    def test_truncated(self):
        self.cut(lambda size: 0)
        self.cut(lambda size: size // 2)
        figure("truncated to 0 or half by its owner", "SIGBUS, as for every map; in another "
               "user's power it is not")

    def test_cut_and_grown_back(self):
        """Pages that are gone and back as zeros: nothing that the shim stores depends on them."""
        forwarder, path = self.start()
        forwarder.signal(signal.SIGSTOP)
        wait_until(lambda: pathlib.Path(f"/proc/{forwarder.pid}/stat").read_text()
                   .rsplit(")", 1)[1].split()[0] == "T", what="it stands still")
        size = path.stat().st_size
        os.truncate(path, 0)
        os.truncate(path, size)
        forwarder.signal(signal.SIGCONT)
        self.go_on()
        forwarder.quit()
        self.assert_delivered()
        figure("truncated and grown back before it is touched", "it goes on, output identical")


if __name__ == "__main__":
    unittest.main(verbosity=0)
