# SPDX-License-Identifier: Apache-2.0
"""Judges the output of json_documents with decoders that are not ours.

Messages: protoc compiles our .proto files anew, google.protobuf parses both the binary and the
JSON form of each message, and the two must be equal. Texts: Python's own UTF-8 decoder. Doubles:
Python's own float, whose repr is the shortest text.

usage: json_oracle.py DOCUMENTS PROTO_DIR PROTOC
"""
import base64
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

IDS = {"traceId", "spanId", "parentSpanId"}
MESSAGE_TYPES = 40
ENUM_TYPES = 4
MESSAGES_PER_TYPE = 60


def compile_protos(proto_dir, protoc):
    """All of our .proto files as descriptors, in an order that a pool takes."""
    protos = sorted(str(path) for path in pathlib.Path(proto_dir).rglob("*.proto"))
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([protoc, f"-I{proto_dir}", f"--descriptor_set_out={out.name}",
                        "--include_imports", *protos], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read())


def names_within(prefix, holder):
    """Full names of all messages and of all enums of a file or message."""
    nested = getattr(holder, "message_type", None)
    nested = holder.nested_type if nested is None else nested
    messages, enums = [], [prefix + enum.name for enum in holder.enum_type]
    for message in nested:
        inner = names_within(prefix + message.name + ".", message)
        messages += [prefix + message.name] + inner[0]
        enums += inner[1]
    return messages, enums


def load_classes(files):
    """Message classes by full name. Nothing may be in our files beyond the schema."""
    pool = descriptor_pool.DescriptorPool()
    messages, enums = [], []
    for file in files.file:
        pool.Add(file)
        inner = names_within(file.package + ".", file)
        messages += inner[0]
        enums += inner[1]
    assert len(messages) == MESSAGE_TYPES, messages
    assert len(enums) == ENUM_TYPES, enums
    if hasattr(message_factory, "GetMessageClass"):
        make = message_factory.GetMessageClass
    else:
        make = message_factory.MessageFactory(pool).GetPrototype
    return {name: make(pool.FindMessageTypeByName(name)) for name in messages}


def with_ids(value, convert):
    """The same document with every id converted."""
    if isinstance(value, list):
        return [with_ids(item, convert) for item in value]
    if isinstance(value, dict):
        return {key: convert(item) if key in IDS else with_ids(item, convert)
                for key, item in value.items()}
    return value


def hex_to_base64(text):
    assert re.fullmatch("([0-9a-f]{2})+", text), text
    return base64.b64encode(bytes.fromhex(text)).decode()


def base64_to_hex(text):
    return base64.b64decode(text).hex()


def members(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key twice: {keys}"
    return dict(pairs)


def refuse(word):
    raise AssertionError(f"{word} is not JSON")


def parse(text):
    without_strings = re.sub(r'"(\\.|[^"\\])*"', "", text)
    assert not re.search(r"\s", without_strings), "white space"
    assert not re.search("[\x00-\x1f\x7f-\x9f]", text), "a raw control character"
    return json.loads(text, object_pairs_hook=members, parse_constant=refuse)


def same(ours, theirs):
    """Equal with equal types and order of keys; a double may lack its point."""
    if isinstance(theirs, float):
        return type(ours) in (int, float) and struct.pack("d", ours) == struct.pack("d", theirs)
    if type(ours) is not type(theirs):
        return False
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def check_message(classes, name, packed, text):
    binary = classes[name].FromString(bytes.fromhex(packed))
    ours = parse(text)
    assert isinstance(ours, dict), ours

    parsed = json_format.ParseDict(with_ids(ours, hex_to_base64), classes[name](),
                                   ignore_unknown_fields=False)
    assert parsed == binary, "JSON and binary differ"
    assert parsed.SerializeToString(deterministic=True) == binary.SerializeToString(
        deterministic=True), "JSON and binary differ in bytes"

    theirs = json_format.MessageToDict(binary, use_integers_for_enums=True)
    assert same(ours, with_ids(theirs, base64_to_hex)), f"protobuf writes {theirs}"


def check_text(given, repaired, text):
    expected = bytes.fromhex(given).decode("utf-8", "replace").replace("\0", "\ufffd")
    assert bytes.fromhex(repaired).decode("utf-8") == expected
    assert parse(text) == expected


def significant_digits(text):
    return re.sub("[^0-9]", "", text.split("e")[0]).strip("0")


def check_double(bits, text):
    value, = struct.unpack(">d", bytes.fromhex(bits))
    assert struct.pack(">d", float(text)) == bytes.fromhex(bits), "another value"
    assert isinstance(parse(text), (int, float))
    if abs(value) < 2**53 and value == int(value) and bits != "8000000000000000":
        assert text == str(int(value)), "an integer has no point"
    power_of_two = bits[-13:] == "0" * 13
    shortest = len(significant_digits(repr(value)))
    assert len(significant_digits(text)) <= shortest + (1 if power_of_two else 0), "too long"


def main(documents, proto_dir, protoc):
    classes = load_classes(compile_protos(proto_dir, protoc))
    checks = {"message": lambda *record: check_message(classes, *record),
              "text": check_text, "double": check_double}
    counts = dict.fromkeys([*checks, *classes], 0)
    with subprocess.Popen([documents], stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            kind, *record = line.decode("utf-8").rstrip("\n").split("\t")
            try:
                checks[kind](*record)
            except Exception as error:
                sys.exit(f"{error}\nin {line.decode('utf-8')}")
            counts[kind] += 1
            if kind == "message":
                counts[record[0]] += 1
    assert process.returncode == 0, process.returncode
    assert all(counts[name] == MESSAGES_PER_TYPE for name in classes), counts
    assert counts["text"] > 30000 and counts["double"] > 20000, counts
    print({kind: counts[kind] for kind in checks})


main(*sys.argv[1:])
