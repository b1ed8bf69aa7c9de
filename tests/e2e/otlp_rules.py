# SPDX-License-Identifier: Apache-2.0
"""An independent judge of OTLP JSON: google.protobuf parses each document by our .proto files with
unknown fields as errors, and the rules that a protobuf parser does not know are checked by hand.

A Checker follows the documents of one stream; each rule that is broken raises AssertionError.
"""
import base64
import functools
import json
import pathlib
import re
import subprocess
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
ROOTS = {
    "resourceMetrics": ("metrics", "opentelemetry.proto.collector.metrics.v1."
                                   "ExportMetricsServiceRequest"),
    "resourceSpans": ("spans", "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"),
    "resourceLogs": ("logs", "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest"),
}
ID_DIGITS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
UNSIGNED_64 = {"timeUnixNano", "startTimeUnixNano", "endTimeUnixNano", "observedTimeUnixNano",
               "count", "zeroCount"}
SIGNED_64 = {"asInt", "intValue"}
NUMBERS_32 = {"kind", "code", "severityNumber", "aggregationTemporality", "flags",
              "droppedAttributesCount", "droppedEventsCount", "droppedLinksCount"}
WRITTEN_AT_DEFAULT = {"asInt", "asDouble", "intValue", "doubleValue", "boolValue", "stringValue",
                      "sum", "min", "max"}  # members of a oneof and optional fields
METRIC_DATA = ("gauge", "sum", "histogram")
CUMULATIVE = 2


# ---- JSON ----------------------------------------------------------------------------------------


def _members(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key twice: {keys}"
    return dict(pairs)


def _refuse(word):
    raise AssertionError(f"{word} is not JSON")


def parse_json(text):
    """One document of strict JSON: no key twice, no NaN, no raw control characters."""
    return json.loads(text, object_pairs_hook=_members, parse_constant=_refuse)


# ---- google.protobuf -----------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def message_classes():
    """The classes of the three requests, compiled by protoc from our .proto files."""
    protos = sorted(str(path) for path in PROTO.rglob("*.proto"))
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"-I{PROTO}", f"--descriptor_set_out={out.name}",
                        "--include_imports", *protos], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    if hasattr(message_factory, "GetMessageClass"):
        make = message_factory.GetMessageClass
    else:
        make = message_factory.MessageFactory(pool).GetPrototype
    return {name: make(pool.FindMessageTypeByName(name)) for _, name in ROOTS.values()}


def _ids_as_base64(value):
    """The same document with every hexadecimal id as the base64 that protobuf expects."""
    if isinstance(value, list):
        return [_ids_as_base64(item) for item in value]
    if isinstance(value, dict):
        return {key: base64.b64encode(bytes.fromhex(item)).decode() if key in ID_DIGITS
                else _ids_as_base64(item) for key, item in value.items()}
    return value


# ---- rules of every value ------------------------------------------------------------------------


def _check_decimal(key, value, signed):
    assert isinstance(value, str), f"{key} is not a string: {value!r}"
    form = "-?(0|[1-9][0-9]*)" if signed else "0|[1-9][0-9]*"
    assert re.fullmatch(form, value), f"{key}: {value}"
    number = int(value)
    low, high = (-2**63, 2**63 - 1) if signed else (0, 2**64 - 1)
    assert low <= number <= high, f"{key}: {value}"


def _check_member(key, value):
    assert value is not None, f"{key} is null"
    assert value != [] and value != {}, f"{key} is empty"
    if key in ID_DIGITS:
        assert re.fullmatch("[0-9a-f]{%d}" % ID_DIGITS[key], value), f"{key}: {value!r}"
        assert set(value) != {"0"}, f"{key} is all zero"
    elif key in UNSIGNED_64 or key in SIGNED_64:
        _check_decimal(key, value, key in SIGNED_64)
    elif key == "bucketCounts":
        for item in value:
            _check_decimal(key, item, signed=False)
    elif key in NUMBERS_32:
        assert type(value) is int and 0 <= value < 2**32, f"{key}: {value!r}"
    if key not in WRITTEN_AT_DEFAULT and not isinstance(value, (list, dict)):
        assert value not in (0, "0", "", False), f"{key} is written at its default"
    if key == "attributes":
        check_attribute_list(value)


def check_attribute_list(pairs):
    keys = [pair["key"] for pair in pairs]
    assert len(keys) == len(set(keys)), f"an attribute twice: {keys}"
    for pair in pairs:
        assert len(pair["value"]) == 1, f"a value with several members: {pair}"


def _check_values(value):
    if isinstance(value, list):
        for item in value:
            assert item is not None, "null in a list"
            _check_values(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert re.fullmatch("[a-z][A-Za-z0-9]*", key), f"key {key!r}"
            _check_member(key, item)
            _check_values(item)


# ---- looking into documents ----------------------------------------------------------------------


def kind_of(document):
    assert len(document) == 1, list(document)
    return ROOTS[next(iter(document))][0]


def attributes(holder):
    """The attributes of anything as a dict; integers as int."""
    result = {}
    for pair in holder.get("attributes", []):
        (kind, value), = pair["value"].items()
        result[pair["key"]] = int(value) if kind == "intValue" else value
    return result


def resources(documents, root, scopes, items):
    """(attributes of the resource, scope name, item) of every item of the documents."""
    for document in documents:
        for part in document[root]:
            resource = attributes(part["resource"])
            for scope in part[scopes]:
                for item in scope[items]:
                    yield resource, scope["scope"]["name"], item


def metrics(documents):
    return resources(documents, "resourceMetrics", "scopeMetrics", "metrics")


def points(documents, name, **wanted):
    """Every point of the metric, in order, of series whose attributes include `wanted`."""
    return [point for _, _, metric in metrics(documents) if metric["name"] == name
            for point in metric[data_of(metric)]["dataPoints"]
            if wanted.items() <= attributes(point).items()]


def spans(documents):
    return [span for _, _, span in resources(documents, "resourceSpans", "scopeSpans", "spans")]


def log_records(documents):
    return [log for _, _, log in resources(documents, "resourceLogs", "scopeLogs", "logRecords")]


def is_loss(log):
    return any(key.startswith("fwdscope.lost.") for key in attributes(log))


def data_of(metric):
    kinds = [kind for kind in METRIC_DATA if kind in metric]
    assert len(kinds) == 1, f"data of several kinds, or none: {list(metric)}"
    return kinds[0]


def number_of(point):
    """The value of a number point, as exact as it was written; None: the series ended."""
    if "asInt" in point:
        return int(point["asInt"])
    return point.get("asDouble")


# ---- the stream ----------------------------------------------------------------------------------


def _identity(resource):
    return resource["service.name"], resource.get("service.instance.id")


class Checker:
    """Judges the documents of one stream, in the order in which they came."""

    def __init__(self):
        self.series = {}        # last point of every stream: (start, time, total)
        self.finished = set()   # ids of finished spans

    def check(self, text):
        """Judges one document; returns (kind, document)."""
        document = parse_json(text)
        kind = kind_of(document)
        _check_values(document)
        json_format.ParseDict(_ids_as_base64(document),
                              message_classes()[ROOTS[next(iter(document))][1]](),
                              ignore_unknown_fields=False)
        {"metrics": self._check_metrics, "spans": self._check_spans,
         "logs": self._check_logs}[kind](document)
        return kind, document

    # metrics

    def _check_metrics(self, document):
        seen, points_of = set(), {}
        for resource, scope, metric in metrics([document]):
            assert resource.get("service.name"), "a resource without service.name"
            whole = json.dumps(resource, sort_keys=True)
            key = (whole, scope, metric["name"], metric.get("unit"), data_of(metric))
            assert key not in seen, f"a metric twice: {key}"
            seen.add(key)
            assert re.fullmatch("[A-Za-z][A-Za-z0-9_./-]{0,254}", metric["name"]), metric["name"]
            for point in self._check_data(metric):
                series = (_identity(resource), metric["name"], metric.get("unit"),
                          data_of(metric), json.dumps(attributes(point), sort_keys=True))
                totals = self._totals(metric, point)
                points_of.setdefault(series, []).append((point, totals))
        for series, of_series in points_of.items():
            # A backlog tells of an earlier life of the same instance in a resource of its own.
            for point, totals in sorted(of_series, key=lambda one: int(one[0]["timeUnixNano"])):
                self._check_progress(series, point, totals)

    @staticmethod
    def _totals(metric, point):
        """What may never fall within one life."""
        if "histogram" in metric:
            return [int(count) for count in point["bucketCounts"]]
        return [number_of(point)] if metric.get("sum", {}).get("isMonotonic") else []

    @staticmethod
    def _check_data(metric):
        kind = data_of(metric)
        data = metric[kind]
        assert ("aggregationTemporality" in data) == (kind != "gauge"), metric
        if kind != "gauge":
            assert data["aggregationTemporality"] == CUMULATIVE, metric
        for point in data["dataPoints"]:
            assert ("startTimeUnixNano" in point) == (kind != "gauge"), f"start time: {metric}"
            assert int(point.get("startTimeUnixNano", 0)) <= int(point["timeUnixNano"])
            if kind == "histogram":
                Checker._check_histogram(point)
            else:
                values = [key for key in ("asInt", "asDouble") if key in point]
                assert len(values) == (0 if point.get("flags") == 1 else 1), point
        return data["dataPoints"]

    @staticmethod
    def _check_histogram(point):
        bounds = point.get("explicitBounds", [])
        counts = [int(count) for count in point["bucketCounts"]]
        assert bounds == sorted(set(bounds)), bounds
        assert len(counts) == len(bounds) + 1, point
        assert int(point.get("count", 0)) == sum(counts), point
        if sum(counts) == 0:
            assert point["sum"] == 0 and "min" not in point and "max" not in point, point

    def _check_progress(self, series, point, totals):
        """Times grow; a start is constant until the next life; a total does not fall within one."""
        start, at = int(point.get("startTimeUnixNano", 0)), int(point["timeUnixNano"])
        last = self.series.get(series)
        if last is not None:
            assert at > last["time"], f"{series}: the time does not grow: {last['time']}, {at}"
            if start != last["start"]:
                assert start >= last["time"], f"{series}: another start before the last point"
            else:
                assert all(new >= old for new, old in zip(totals, last["totals"])), series
        self.series[series] = {"start": start, "time": at, "totals": totals}

    # spans

    def _check_spans(self, document):
        active = set()
        for span in spans([document]):
            assert span["name"] and span["kind"] in range(1, 6), span
            assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"]), span
            assert span["flags"] == 1, span
            assert span.get("status", {"code": 1})["code"] in (1, 2), span
            if attributes(span).get("in_progress"):
                assert span["spanId"] not in active, f"twice active in one document: {span}"
                active.add(span["spanId"])
                assert span["spanId"] not in self.finished, f"in progress after its end: {span}"
            else:
                assert span["spanId"] not in self.finished, f"finished twice: {span}"
                self.finished.add(span["spanId"])
        # In whatever order one document tells it: a span is either finished or in progress.
        both = active & self.finished
        assert not both, f"both finished and in progress: {both}"

    # logs

    @staticmethod
    def _check_logs(document):
        for log in log_records([document]):
            assert list(log["body"]) == ["stringValue"], log
            assert int(log["observedTimeUnixNano"]) > 0, log
            assert 1 <= log.get("severityNumber", 1) <= 24, log
            assert ("traceId" in log) == ("spanId" in log), log
