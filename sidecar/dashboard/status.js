// SPDX-License-Identifier: Apache-2.0
// /admin/v1/status and /admin/v1/config: asked for, made uniform, and compared with the readings
// before. The polling is the only part that is not pure.
import { isCount, minus, parseExact } from "./exact.js";

export const POLL_MS = 2000;
const POLL_MIN_MS = 250; // a sidecar that samples faster is asked no faster
const TIMEOUT_MS = 5000;
const POLL_MAX_MS = 30000;
const RATE_WINDOW_MS = 10000;

const array = (value) => (Array.isArray(value) ? value : []);

const milliseconds = (nanos) => Number(String(nanos ?? "").slice(0, -6));

/* When a status was read, on the sidecar's clock, and when a life began: ms since 1970; 0: unknown. */
export const readAtMs = (status) => milliseconds(status?.ready?.observed_at_unix_ns);
export const startedMs = (writer) => milliseconds(writer.started_unix_ns);

/* The forwarders of a status, one shape whether it tells of one or several. */
export function forwardersOf(status) {
  const pipelines = array(status.pipelines);
  if (Array.isArray(status.forwarders) && status.forwarders.length > 0) {
    const several = status.forwarders.length > 1;
    return status.forwarders.map((one) => ({
      ...one, writer: one.writer ?? {}, region: one.region ?? {}, previous: one.previous ?? null,
      pipelines: several ? pipelines.filter((pipeline) => pipeline.instance === one.instance) : pipelines,
    }));
  }
  if (!status.writer || status.writer.pid === undefined) return [];
  return [{ instance: "", service: "", writer: status.writer, region: status.region ?? {},
    previous: null, pipelines }];
}

/* Every counter of a pipeline as [name, value]; a name says the role too, because an input and an
 * output may be called the same. */
export function* countersOf(pipeline) {
  const groups = [["input", pipeline.inputs], ["output", pipeline.outputs]];
  for (const [role, components] of groups) {
    for (const component of array(components)) {
      for (const [key, value] of Object.entries(component))
        if (isCount(value)) yield [`${role} ${pipeline.name}/${component.name}/${key}`, value];
    }
  }
  for (const [key, value] of Object.entries(pipeline.transform ?? {}))
    if (isCount(value)) yield [`transform ${pipeline.name}/${key}`, value];
}

/* Rates over the last readings of a life. A new life, or a total that fell, starts over. */
export class RateBook {
  constructor() {
    this.readings = new Map(); // instance -> [{t, started, counters}]
  }

  take(status) {
    const t = readAtMs(status);
    const seen = new Set();
    for (const forwarder of forwardersOf(status)) {
      const started = forwarder.writer.started_unix_ns;
      const counters = new Map();
      for (const pipeline of forwarder.pipelines)
        for (const [name, value] of countersOf(pipeline)) counters.set(name, value);
      let readings = this.readings.get(forwarder.instance) ?? [];
      const last = readings[readings.length - 1];
      if (last && last.started !== started) readings = [];
      else if (last && t <= last.t) readings.pop();
      readings.push({ t, started, counters });
      while (readings.length > 2 && readings[1].t <= t - RATE_WINDOW_MS) readings.shift();
      this.readings.set(forwarder.instance, readings);
      seen.add(forwarder.instance);
    }
    for (const instance of this.readings.keys()) if (!seen.has(instance)) this.readings.delete(instance);
  }

  /* Per second; undefined while there are not two readings, or the total fell. */
  rate(instance, name) {
    const readings = this.readings.get(instance) ?? [];
    if (readings.length < 2) return undefined;
    const first = readings[0], last = readings[readings.length - 1];
    const change = Number(minus(last.counters.get(name), first.counters.get(name)));
    return last.t > first.t && change >= 0 ? change * 1000 / (last.t - first.t) : undefined;
  }
}

/* The wait before the next poll: as often as the sidecar samples, and less often after `failures` in
 * a row. */
export function pollWaitMs(failures, intervalMs = POLL_MS) {
  const wait = Math.min(POLL_MS, Math.max(POLL_MIN_MS, intervalMs));
  return failures === 0 ? wait : Math.min(POLL_MAX_MS, POLL_MS * 2 ** Math.min(failures, 10));
}

/* The next poll starts when this one has ended: one request in flight, always. */
export function pollStatus({ reading, trouble }) {
  let failures = 0, interval;
  async function poll() {
    try {
      const answer = await fetch("/admin/v1/status",
        { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
      if (answer.status === 401) {
        trouble("It wants a token (open /?token=TOKEN once)");
        failures++;
      } else if (!answer.ok) {
        trouble(`It answered ${answer.status} to /admin/v1/status`);
        failures++;
      } else {
        const status = parseExact(await answer.text());
        failures = 0;
        interval = status.sampler?.interval_ms;
        reading(status);
      }
    } catch {
      failures++;
      trouble("No answer to /admin/v1/status");
    }
    setTimeout(poll, pollWaitMs(failures, interval));
  }
  poll();
}

/* {on, path, text}, path "" while none is published; or {on: false, refused, text: why};
 * refused: it is off, and asking again is vain. */
export async function fetchConfig() {
  try {
    const answer = await fetch("/admin/v1/config", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const body = await answer.json();
    if (answer.ok) return { on: true, path: String(body.path ?? ""), text: String(body.raw_yaml ?? "") };
    return { on: false, refused: answer.status === 403, text: String(body.message ?? body.error ?? `answered ${answer.status}`) };
  } catch {
    return { on: false, text: "the sidecar did not answer" };
  }
}
