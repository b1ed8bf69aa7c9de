# SPDX-License-Identifier: Apache-2.0
"""Judges the documents of model_documents by the rules of OTLP JSON, with a parser that is not ours.

google.protobuf's json_format parses each document after our .proto files, unknown fields being
errors; the rules that it does not know (hex ids, integers as strings, no null, unique keys, start
times, bucket sums) are checked on the JSON itself.

usage: model_oracle.py MODEL_DOCUMENTS PROTO_DIR PROTOC
"""
import base64
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

COLLECTOR = "opentelemetry.proto.collector."
REQUESTS = {
    "resourceMetrics": COLLECTOR + "metrics.v1.ExportMetricsServiceRequest",
    "resourceSpans": COLLECTOR + "trace.v1.ExportTraceServiceRequest",
    "resourceLogs": COLLECTOR + "logs.v1.ExportLogsServiceRequest",
}
ID_DIGITS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
WIDE = {"asInt", "intValue", "count", "zeroCount"}


def request_classes(proto_dir, protoc):
    """Message classes by the key that a document begins with."""
    protos = sorted(str(path) for path in pathlib.Path(proto_dir).rglob("*.proto"))
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run([protoc, f"-I{proto_dir}", f"--descriptor_set_out={out.name}",
                        "--include_imports", *protos], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    descriptors = {key: pool.FindMessageTypeByName(name) for key, name in REQUESTS.items()}
    if hasattr(message_factory, "GetMessageClass"):
        return {key: message_factory.GetMessageClass(d) for key, d in descriptors.items()}
    factory = message_factory.MessageFactory(pool)
    return {key: factory.GetPrototype(d) for key, d in descriptors.items()}


def unique_keys(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)


def nodes(value, key=None):
    """Every value of a document with the key that it stands under."""
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from nodes(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from nodes(inner, key)


def check_values(document):
    for key, value in nodes(document):
        assert value is not None, key
        assert value not in ({}, []) or key == "resource", f"empty {key}"
        if key in ID_DIGITS:
            assert re.fullmatch("[0-9a-f]{%d}" % ID_DIGITS[key], value), value
            assert int(value, 16) != 0, key
        if key is not None and not isinstance(value, list):
            if key in WIDE or key.endswith("UnixNano") or key == "bucketCounts":
                assert isinstance(value, str) and re.fullmatch("-?[0-9]+", value), (key, value)
            if key in ("flags", "kind", "severityNumber") or key.endswith("Count"):
                assert isinstance(value, int), (key, value)
        if key == "attributes" and isinstance(value, list):
            keys = [pair["key"] for pair in value]
            assert len(keys) == len(set(keys)) and "" not in keys, keys
            assert all(len(pair["value"]) == 1 for pair in value), value


def check_number(point, kind):
    assert len({"asInt", "asDouble"} & point.keys()) == (0 if point.get("flags") else 1), point
    assert ("startTimeUnixNano" in point) == (kind == "sum"), point


def check_histogram(point):
    buckets = [int(count) for count in point["bucketCounts"]]
    bounds = point.get("explicitBounds", [])
    assert len(buckets) == len(bounds) + 1 and bounds == sorted(set(bounds)), point
    assert int(point.get("count", "0")) == sum(buckets), point
    assert sum(buckets) > 0 or point["sum"] == 0, point
    assert "startTimeUnixNano" in point, point


def check_metrics(document):
    kinds = set()
    for part in document["resourceMetrics"]:
        for metric in part["scopeMetrics"][0]["metrics"]:
            kind, = metric.keys() & {"gauge", "sum", "histogram"}
            kinds.add(kind)
            data = metric[kind]
            assert kind == "gauge" or data["aggregationTemporality"] == 2, metric
            seen = set()
            for point in data["dataPoints"]:
                stream = json.dumps([point.get("attributes"), point["timeUnixNano"]])
                assert stream not in seen, metric
                seen.add(stream)
                assert int(point.get("startTimeUnixNano", 0)) <= int(point["timeUnixNano"]), point
                check_histogram(point) if kind == "histogram" else check_number(point, kind)
    assert kinds == {"gauge", "sum", "histogram"}, kinds
    assert len(document["resourceMetrics"]) == 2
    assert '"name": "nan"' not in json.dumps(document)


def check_spans(document):
    finished, active = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for span in (finished, active):
        assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]), span
        assert span["flags"] == 1, span
    assert finished["status"] == {"message": "refused\x03", "code": 2}
    assert "status" not in active and "parentSpanId" not in active
    values = {pair["key"]: pair["value"] for pair in active["attributes"]}
    assert values["in_progress"] == {"boolValue": True}
    assert values["output_start_unix_ns"] == {"intValue": str(2**63 - 1)}
    assert values["infinite"] == {"stringValue": "-Infinity"}


def check_logs(document):
    loss, lines = document["resourceLogs"][0]["scopeLogs"]
    assert loss["scope"]["name"] == "fwdscope"
    assert loss["logRecords"][0]["severityNumber"] == 13
    log, bare = lines["logRecords"]
    assert log["body"]["stringValue"] == "\x01\x1f\"\\/\x7f\x80 \u2028"
    assert {"key": "log.original_length", "value": {"intValue": "65536"}} in log["attributes"]
    assert set(bare) == {"body", "observedTimeUnixNano"}, bare


def with_base64_ids(value):
    """The same document in plain proto3 JSON, where bytes are base64."""
    if isinstance(value, list):
        return [with_base64_ids(inner) for inner in value]
    if isinstance(value, dict):
        return {key: base64.b64encode(bytes.fromhex(inner)).decode() if key in ID_DIGITS
                else with_base64_ids(inner) for key, inner in value.items()}
    return value


def main():
    program, proto_dir, protoc = sys.argv[1:]
    classes = request_classes(proto_dir, protoc)
    output = subprocess.run([program], check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")
    documents = output.rstrip("\n").split("\n")
    checks = {"resourceMetrics": check_metrics, "resourceSpans": check_spans,
              "resourceLogs": check_logs}
    for text in documents:
        document = json.loads(text, object_pairs_hook=unique_keys)
        key, = document
        json_format.Parse(json.dumps(with_base64_ids(document)), classes[key]())
        check_values(document)
        checks.pop(key)(document)
    assert not checks, checks.keys()
    print(f"{len(documents)} documents hold")


if __name__ == "__main__":
    main()
