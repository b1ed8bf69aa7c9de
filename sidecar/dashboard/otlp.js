// SPDX-License-Identifier: Apache-2.0
// The OTLP JSON reader: a document of the stream -> flat records. Pure. Whatever is missing, unknown
// or of the wrong type is left out; nothing here throws on any JSON value.

import { countOf } from "./exact.js";

const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) =>
  (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
const text = (value) => (typeof value === "string" ? value : "");

/* An int64 is a decimal string; a number is taken too. A BigInt beyond 2^53, undefined when it is
 * neither. */
export function readInteger(value) {
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  return typeof value === "string" ? countOf(value) : undefined;
}

/* Nanoseconds since 1970 (a string) as milliseconds with a fraction; 0 when absent. */
export function readNanos(value) {
  const digits = typeof value === "number" ? String(value) : text(value);
  if (!/^\d{1,20}$/.test(digits)) return 0;
  return digits.length <= 6 ? Number(digits) / 1e6
    : Number(digits.slice(0, -6)) + Number(digits.slice(-6)) / 1e6;
}

/* end - start in milliseconds, exact to the nanosecond; never negative. */
export function nanosBetween(start, end) {
  try {
    const nanos = BigInt(end) - BigInt(start);
    return nanos > 0n ? Number(nanos) / 1e6 : 0;
  } catch {
    return 0;
  }
}

const VALUE_DEPTH_MAX = 8;

/* An AnyValue as a JavaScript value. An integer beyond 2^53 stays the string that it was. */
export function readValue(value, depth = 0) {
  const any = object(value);
  if (depth > VALUE_DEPTH_MAX) return undefined;
  if (typeof any.stringValue === "string") return any.stringValue;
  if (typeof any.boolValue === "boolean") return any.boolValue;
  if (any.intValue !== undefined) {
    const number = readInteger(any.intValue);
    return number === undefined || Number.isSafeInteger(number) ? number : String(any.intValue);
  }
  if (any.doubleValue !== undefined) {
    const number = Number(any.doubleValue);
    return Number.isNaN(number) ? undefined : number;
  }
  if (typeof any.bytesValue === "string") return any.bytesValue;
  if (any.arrayValue !== undefined)
    return list(object(any.arrayValue).values).map((item) => readValue(item, depth + 1));
  if (any.kvlistValue !== undefined) return readAttributes(object(any.kvlistValue).values, depth + 1);
  return undefined;
}

/* Attributes as a Map, so that no key of the forwarder's can be one of JavaScript's. */
export function readAttributes(pairs, depth = 0) {
  const attributes = new Map();
  for (const pair of list(pairs)) {
    const value = readValue(object(pair).value, depth);
    if (typeof object(pair).key === "string" && value !== undefined)
      attributes.set(pair.key, value);
  }
  return attributes;
}

/* Who speaks. The key is the same for all that one process said under one identity. */
export function readResource(resource) {
  const attributes = readAttributes(object(resource).attributes);
  const service = String(attributes.get("service.name") ?? "");
  const instance = String(attributes.get("service.instance.id") ?? "");
  const pid = attributes.get("process.pid");
  return { key: JSON.stringify([service, instance, pid ?? null]), service, instance, pid, attributes };
}

function readPoint(point, kind) {
  const out = { t: readNanos(point.timeUnixNano), start: text(point.startTimeUnixNano),
    ended: (point.flags & 1) === 1, attributes: readAttributes(point.attributes) };
  if (kind === "gauge" || kind === "sum") {
    out.value = point.asInt !== undefined ? readInteger(point.asInt)
      : typeof point.asDouble === "number" ? point.asDouble : undefined;
  } else { // histograms of both sorts and summaries have a count and a sum
    out.count = readInteger(point.count);
    out.sum = typeof point.sum === "number" ? point.sum : undefined;
  }
  return out;
}

const KINDS = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];

export function readMetric(metric) {
  const from = object(metric);
  const kind = KINDS.find((name) => from[name] !== undefined);
  if (kind === undefined || text(from.name) === "") return null;
  const data = object(from[kind]);
  return { name: from.name, unit: text(from.unit), kind,
    monotonic: data.isMonotonic === true, delta: data.aggregationTemporality === 1,
    points: list(data.dataPoints).map((point) => readPoint(object(point), kind))
      .filter((point) => point.t > 0) };
}

export function readSpan(span) {
  const from = object(span);
  const attributes = readAttributes(from.attributes);
  const start = readNanos(from.startTimeUnixNano);
  if (text(from.spanId) === "" || start === 0) return null;
  const status = object(from.status);
  return { id: from.spanId, trace: text(from.traceId), parent: text(from.parentSpanId),
    name: text(from.name), kind: readInteger(from.kind) ?? 0, start,
    ms: nanosBetween(from.startTimeUnixNano, from.endTimeUnixNano), attributes,
    active: attributes.get("in_progress") === true,
    failed: status.code === 2, message: text(status.message),
    dropped: readInteger(from.droppedAttributesCount) ?? 0 };
}

const LOST = "fwdscope.lost.";
const NOTICE_SCOPE = "fwdscope";

/* A line of the forwarder, or a notice of what was lost on the way (`lost` is set). */
export function readLog(record, scope) {
  const from = object(record);
  const attributes = readAttributes(from.attributes);
  const observed = text(from.observedTimeUnixNano);
  const body = readValue(from.body);
  const log = { t: readNanos(from.timeUnixNano) || readNanos(observed),
    stamp: text(from.timeUnixNano) + "/" + observed,
    severity: readInteger(from.severityNumber) ?? 0, label: text(from.severityText),
    body: typeof body === "string" ? body : body === undefined ? "" : printValue(body),
    attributes, trace: text(from.traceId), span: text(from.spanId), lost: null };
  if (scope === NOTICE_SCOPE) {
    const count = (what) => Number(attributes.get(LOST + what)) || 0;
    log.lost = { ticks: count("ticks"), spans: count("spans"), logs: count("log_records") };
  }
  return log;
}

/* A typed value in words: a string as it is, the rest as JSON. */
export function printValue(value) {
  if (typeof value === "string") return value;
  return JSON.stringify(value, (key, item) => (item instanceof Map ? Object.fromEntries(item) : item));
}

/* Visits every record of a document: {resource, scope, metric | span | log}, one at a time, so that
 * a caller can rest in between. */
export function* readDocument(document) {
  const from = object(document);
  for (const [signal, scopes, records, read, field] of [
    ["resourceMetrics", "scopeMetrics", "metrics", readMetric, "metric"],
    ["resourceSpans", "scopeSpans", "spans", readSpan, "span"],
    ["resourceLogs", "scopeLogs", "logRecords", readLog, "log"],
  ]) {
    for (const part of list(from[signal])) {
      const resource = readResource(object(part).resource);
      for (const group of list(object(part)[scopes])) {
        const scope = text(object(object(group).scope).name);
        for (const item of list(object(group)[records])) {
          const record = read(item, scope);
          if (record !== null) yield { resource, scope, [field]: record };
        }
      }
    }
  }
}
