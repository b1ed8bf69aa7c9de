# SPDX-License-Identifier: Apache-2.0
"""Region files for tests: what a forwarder left behind, and the same with its header patched."""
import os
import struct

from harness import Patient

MAGIC, MAJOR, UUID, PID, GENERATION, CHECKSUM = 0, 3, 12, 16, 23, 255  # words of the header


def checksum(words):
    """FNV-1a of words 1..254, byte by byte in file order."""
    value = 0xcbf29ce484222325
    for byte in struct.pack("<254Q", *words[1:CHECKSUM]):
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return value


def make(case):
    """The bytes of a sound region whose forwarder closed it."""
    directory = os.path.join(case.scratch, "dead")
    os.makedirs(directory, exist_ok=True)
    patient = Patient(case.scratch, "--dir", directory)
    case.processes.append(patient)
    path = patient.path
    patient.do("lines", 1)
    patient.quit()
    with open(path, "rb") as file:
        return file.read()


def patched(data, fix_checksum=True, **words):
    """The same region with words of its header replaced: major=2, pid=7, magic=0."""
    header = list(struct.unpack("<256Q", data[:2048]))
    assert header[CHECKSUM] == checksum(header)
    for name, value in words.items():
        header[{"magic": MAGIC, "major": MAJOR, "pid": PID, "generation": GENERATION,
                "uuid": UUID}[name]] = value
    if fix_checksum:
        header[CHECKSUM] = checksum(header)
    return struct.pack("<256Q", *header) + data[2048:]


def write(case, path, fix_checksum=True, **words):
    """Writes a patched region to path."""
    with open(path, "wb") as file:
        file.write(patched(make(case), fix_checksum, **words))
    return path
