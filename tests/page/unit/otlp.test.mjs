// SPDX-License-Identifier: Apache-2.0
// The OTLP reader: every kind of point, typed attributes, and values that no forwarder should send.
import assert from "node:assert/strict";
import test from "node:test";
import { nanosBetween, printValue, readAttributes, readDocument, readInteger, readMetric, readNanos,
  readValue } from "../../../sidecar/dashboard/otlp.js";
import { START, attribute, integer, line, logs, metrics, nanos, point, span, spans, sum,
  text } from "./build.mjs";

const read = (document) => [...readDocument(document)];

test("an int64 is a string, and a number is taken too", () => {
  assert.equal(readInteger("42"), 42);
  assert.equal(readInteger("-7"), -7);
  assert.equal(readInteger(3), 3);
  for (const odd of ["", "4.5", "1e3", "x", null, undefined, {}, NaN, "9".repeat(30)])
    assert.equal(readInteger(odd), undefined);
});

test("nanoseconds keep their microseconds, and differences are exact", () => {
  assert.equal(readNanos("1795374585499536954"), 1795374585499.5369);
  assert.equal(readNanos("999"), 0.000999);
  assert.equal(readNanos(undefined), 0);
  assert.equal(nanosBetween("1795374585499536954", "1795374585499536955"), 1e-6);
  assert.equal(nanosBetween("5", "4"), 0);
  assert.equal(nanosBetween(null, "x"), 0);
});

test("attributes are typed, and no key of theirs is JavaScript's", () => {
  const attributes = readAttributes([text("a", "x"), integer("b", 5), attribute("c", { boolValue: false }),
    attribute("d", { doubleValue: 1.5 }), attribute("e", { bytesValue: "QUI=" }),
    attribute("f", { arrayValue: { values: [{ intValue: "1" }, { stringValue: "y" }] } }),
    attribute("g", { kvlistValue: { values: [integer("h", 2)] } }), text("__proto__", "p"),
    integer("big", "9223372036854775807"), attribute("none", {}), { key: 4 }, null]);
  assert.deepEqual([...attributes.keys()], ["a", "b", "c", "d", "e", "f", "g", "__proto__", "big"]);
  assert.deepEqual([attributes.get("a"), attributes.get("b"), attributes.get("c")], ["x", 5, false]);
  assert.deepEqual(attributes.get("f"), [1, "y"]);
  assert.equal(attributes.get("big"), "9223372036854775807");
  assert.equal(printValue(attributes.get("g")), '{"h":2}');
});

test("every kind of data point is read", () => {
  const at = { timeUnixNano: nanos(START), startTimeUnixNano: nanos(START - 1) };
  const of = (kind, fields, more = {}) =>
    readMetric({ name: "m", [kind]: { dataPoints: [{ ...at, ...fields }], ...more } });
  assert.equal(of("gauge", { asDouble: 2.5 }).points[0].value, 2.5);
  const total = of("sum", { asInt: "12" }, { isMonotonic: true, aggregationTemporality: 2 });
  assert.deepEqual([total.points[0].value, total.monotonic, total.delta], [12, true, false]);
  assert.equal(of("sum", { asInt: "12" }, { aggregationTemporality: 1 }).delta, true);
  for (const kind of ["histogram", "exponentialHistogram", "summary"]) {
    const metric = of(kind, { count: "4", sum: 0.5 });
    assert.deepEqual([metric.kind, metric.points[0].count, metric.points[0].sum], [kind, 4, 0.5]);
  }
  assert.equal(of("gauge", { asDouble: "NaN" }).points[0].value, undefined);
  assert.equal(of("gauge", { flags: 1 }).points[0].ended, true);
  assert.equal(readMetric({ name: "m", tomorrow: {} }), null);
});

test("spans: finished and active, with status and parent", () => {
  const [one, two] = read(spans({}, span("01"), { ...span("02", { active: true, parent: "01", ms: 3 }),
    status: { code: 2, message: "refused" } })).map((record) => record.span);
  assert.deepEqual([one.active, one.parent, one.ms, one.failed], [false, "", 10, false]);
  assert.deepEqual([two.active, two.parent, two.failed, two.message], [true, "01", true, "refused"]);
});

test("a loss notice is told from a line by its scope", () => {
  const notice = { ...line(START, "lost"), attributes: [integer("fwdscope.lost.log_records", 5),
    integer("fwdscope.lost.spans", 2)] };
  assert.deepEqual(read(logs({}, "fwdscope", notice))[0].log.lost, { ticks: 0, spans: 2, logs: 5 });
  assert.equal(read(logs({}, "fwdscope.forwarder", notice))[0].log.lost, null);
});

test("several forwarders are told apart by their resources", () => {
  const keys = read({ resourceMetrics: [
    ...metrics({ pid: 1 }, sum("p.a", point(START, 1))).resourceMetrics,
    ...metrics({ pid: 2 }, sum("p.a", point(START, 1))).resourceMetrics,
  ] }).map((record) => record.resource.key);
  assert.equal(new Set(keys).size, 2);
});

test("nothing throws, whatever stands where", () => {
  const odd = [null, undefined, 0, "x", true, [], {}, [null], [[]], { a: 1 }, -1, "1e9"];
  const forms = ["resourceMetrics", "resourceSpans", "resourceLogs"];
  let visited = 0;
  for (const value of odd) {
    readValue({ arrayValue: value });
    readValue({ kvlistValue: { values: value } });
    read(value);
    for (const form of forms) {
      read({ [form]: value });
      read({ [form]: [{ resource: value, scopeMetrics: value, scopeSpans: value, scopeLogs: value }] });
      read({ [form]: [{ scopeMetrics: [{ scope: value, metrics: [value, { name: "m", sum: value },
        { name: "m", gauge: { dataPoints: [value, { timeUnixNano: value, asInt: value }] } }] }],
      scopeSpans: [{ spans: [value, { spanId: "1", startTimeUnixNano: "5", attributes: value, status: value }] }],
      scopeLogs: [{ logRecords: [value, { body: value, attributes: value, severityNumber: value }] }] }] });
      visited++;
    }
  }
  assert.equal(visited, odd.length * forms.length);
  let deep = { stringValue: "x" };
  for (let i = 0; i < 100; i++) deep = { arrayValue: { values: [deep] } };
  assert.doesNotThrow(() => readValue(deep));
});
