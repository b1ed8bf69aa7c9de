// SPDX-License-Identifier: Apache-2.0
// What the tests of the reader share: small OTLP documents, in the form that the stream has.

export const attribute = (key, value) => ({ key, value });
export const text = (key, value) => attribute(key, { stringValue: value });
export const integer = (key, value) => attribute(key, { intValue: String(value) });

export function resource({ service = "ship", instance = "one", pid = 7 } = {}) {
  return { attributes: [text("service.name", service), text("service.instance.id", instance),
    integer("process.pid", pid)] };
}

/* Milliseconds as a decimal string of nanoseconds. */
export const nanos = (ms) => String(BigInt(Math.round(ms * 1000)) * 1000n);

export const START = 1_790_000_000_000;

export function point(t, value, start = START, attributes = []) {
  return { timeUnixNano: nanos(t), startTimeUnixNano: nanos(start), asInt: String(value), attributes };
}

export function metrics(who, ...list) {
  return { resourceMetrics: [{ resource: resource(who),
    scopeMetrics: [{ scope: { name: "fwdscope.forwarder" }, metrics: list }] }] };
}

export const sum = (name, ...dataPoints) =>
  ({ name, unit: "{line}", sum: { dataPoints, aggregationTemporality: 2, isMonotonic: true } });
export const gauge = (name, ...dataPoints) => ({ name, gauge: { dataPoints } });

export function spans(who, ...list) {
  return { resourceSpans: [{ resource: resource(who),
    scopeSpans: [{ scope: { name: "fwdscope.forwarder" }, spans: list }] }] };
}

export function span(id, { t = START, ms = 10, active = false, parent, attributes = [] } = {}) {
  return { traceId: "ab".repeat(16), spanId: id, ...(parent ? { parentSpanId: parent } : {}),
    name: "batch", kind: 1, startTimeUnixNano: nanos(t), endTimeUnixNano: nanos(t + ms),
    attributes: [...(active ? [attribute("in_progress", { boolValue: true })] : []), ...attributes] };
}

export function logs(who, scope, ...list) {
  return { resourceLogs: [{ resource: resource(who), scopeLogs: [{ scope: { name: scope }, logRecords: list }] }] };
}

export const line = (t, body, severityNumber = 9) => ({ timeUnixNano: nanos(t),
  observedTimeUnixNano: nanos(t), severityNumber, severityText: "info", body: { stringValue: body } });

/* Gives documents to a store to the end. */
export function take(store, ...documents) {
  for (const document of documents) for (const step of store.take(document)) void step;
  return store;
}
