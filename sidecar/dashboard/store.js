// SPDX-License-Identifier: Apache-2.0
// What the page remembers: per life of a forwarder a bounded history of points, finished spans, the
// active ones, and log lines. Pure. A record that comes again, in a backlog after a new connection,
// is known by what it is and left out.
import { minus } from "./exact.js";
import { readDocument } from "./otlp.js";

export const LIVES_MAX = 16; // the one that was silent for longest goes first
export const SERIES_PER_LIFE_MAX = 512;
export const POINTS_PER_SERIES_MAX = 900; // half an hour of ticks every 2 s
export const POINTS_PER_LIFE_MAX = 60000;
export const SPANS_PER_LIFE_MAX = 4000;
export const ACTIVE_PER_LIFE_MAX = 1000;
export const LOGS_PER_LIFE_MAX = 10000;
export const LOG_CHARACTERS_PER_LIFE_MAX = 4 << 20;
const STARTS_PER_LIFE_MAX = 32; // one key may live several times: pid 1, and an id of its own
const SLACK = 512; // an array is cut when it is this much too long, not at every record
/* The most that is ever held, over all lives. */
export const CAPS = Object.freeze({ points: LIVES_MAX * POINTS_PER_LIFE_MAX,
  spans: LIVES_MAX * (SPANS_PER_LIFE_MAX + SLACK), logs: LIVES_MAX * (LOGS_PER_LIFE_MAX + SLACK) });
const SIDECAR_SCOPE = "fwdscope.sidecar";

/* Metrics whose past is drawn; of every other one the last point is kept. */
const DRAWN = new Set(["input_lines", "output_lines", "input_bytes", "output_bytes", "output_errors",
  "batches", "inflight_batches", "backpressure_stalls", "queue_depth", "queue_capacity",
  "batch_latency", "scan_errors", "parse_errors"]);
const DRAWN_WHOLE = new Set(["process.memory.rss", "process.memory.resident", "process.cpu.user_ms",
  "process.cpu.sys_ms"]);

const lastPart = (name) => name.slice(name.lastIndexOf(".") + 1);

function newLife(resource) {
  return { key: resource.key, resource, series: new Map(), prefix: null, points: 0,
    spans: [], spanIds: new Set(), active: new Map(), activeClock: 0, metricsClock: 0,
    left: new Map(), begun: 0, newPoints: false,
    logs: [], notices: 0, logCharacters: 0, logsSorted: true, firstTime: Infinity, lastTime: 0, starts: [],
    heard: 0, version: 0 };
}

function attributesKey(attributes) {
  return attributes.size === 0 ? "" : JSON.stringify([...attributes].sort());
}

/* Under this key there was a life before: what that one leaves is kept, of the one before no more. */
function anotherLife(life) {
  const begun = Math.max(...life.starts.map((start) => Number(start.slice(0, -6))));
  if (begun === life.begun) return;
  life.begun = begun;
  life.left = new Map();
}

/* Each start is one string, however many points carry it. */
function internStart(life, start) {
  const known = life.starts.find((one) => one === start);
  if (known !== undefined || start === "") return known ?? "";
  life.starts.push(start);
  if (life.starts.length > 1) anotherLife(life);
  if (life.starts.length > STARTS_PER_LIFE_MAX) life.starts.shift();
  return start;
}

/* The line's identity; long lines by their length and beginning. */
function logIdentity(life, log) {
  return life.key + log.stamp + ":" + log.severity + ":" + log.body.length + ":" +
    log.body.slice(0, 80) + (log.lost ? JSON.stringify(log.lost) : "");
}

export class Store {
  constructor() {
    this.lives = new Map();
    this.sidecar = newLife({ key: "sidecar", service: "fwdscope", instance: "", attributes: new Map() });
    this.known = new Map(); // identity -> how many lines were held when the connection began
    this.clock = 0;
    this.points = this.duplicates = this.lost = 0;
  }

  /* A new connection begins with a backlog: lines that are held may come once more each. */
  connectionBegins() {
    this.known.clear();
    for (const life of this.lives.values()) {
      for (const log of life.logs) {
        const identity = logIdentity(life, log);
        this.known.set(identity, (this.known.get(identity) ?? 0) + 1);
      }
    }
  }

  /* Takes a parsed document, a step at a time. */
  * take(document) {
    const touched = new Set(), active = new Map();
    this.clock++;
    for (const record of readDocument(document)) {
      const life = record.scope === SIDECAR_SCOPE ? this.sidecar : this.life(record.resource);
      touched.add(life);
      if (record.metric) this.takeMetric(life, record.metric);
      else if (record.span) this.takeSpan(life, record.span, active);
      else this.takeLog(life, record.log);
      yield;
    }
    for (const [life, spans] of active) {
      life.active = spans;
      life.activeClock = this.clock;
    }
    for (const life of touched) this.settle(life);
  }

  life(resource) {
    let life = this.lives.get(resource.key);
    if (life === undefined) {
      if (this.lives.size >= LIVES_MAX) {
        const oldest = [...this.lives.values()].reduce((a, b) => (b.heard < a.heard ? b : a));
        this.lives.delete(oldest.key);
      }
      life = newLife(resource);
      this.lives.set(resource.key, life);
    }
    life.heard = this.clock;
    return life;
  }

  takeMetric(life, metric) {
    if (life.prefix === null && metric.name.endsWith(".uptime_seconds"))
      life.prefix = metric.name.slice(0, -"uptime_seconds".length);
    const drawn = DRAWN_WHOLE.has(metric.name) || DRAWN.has(lastPart(metric.name));
    for (const point of metric.points) this.takePoint(life, metric, point, drawn);
  }

  takePoint(life, metric, point, drawn) {
    const key = metric.name + "\n" + attributesKey(point.attributes);
    let series = life.series.get(key);
    if (series === undefined) {
      if (life.series.size >= SERIES_PER_LIFE_MAX) return;
      series = { name: metric.name, unit: metric.unit, kind: metric.kind, delta: metric.delta,
        monotonic: metric.monotonic, attributes: point.attributes, points: [] };
      life.series.set(key, series);
    }
    const last = series.points[series.points.length - 1];
    if (last !== undefined && point.t <= last.t) {
      this.duplicates++;
      return;
    }
    life.newPoints = true;
    this.points++;
    life.points++;
    if (!drawn && last !== undefined) {
      series.points.length = 0;
      life.points--;
    }
    const start = internStart(life, point.start);
    series.points.push({ t: point.t, start, value: point.ended ? undefined : point.value,
      count: point.count, sum: point.sum });
    if (series.points.length > POINTS_PER_SERIES_MAX + SLACK / 8) {
      life.points -= series.points.length - POINTS_PER_SERIES_MAX;
      series.points.splice(0, series.points.length - POINTS_PER_SERIES_MAX);
    }
    life.firstTime = Math.min(life.firstTime, point.t);
    life.lastTime = Math.max(life.lastTime, point.t);
  }

  /* A document that tells of active spans of a life tells of all of them. Those of a life that is
   * over come once, with the backlog: nobody will end them, they are what was in flight. */
  takeSpan(life, span, active) {
    if (life.spanIds.has(span.id)) {
      if (!span.active) this.duplicates++;
    } else if (span.active) {
      if (!active.has(life)) active.set(life, new Map());
      if (active.get(life).size < ACTIVE_PER_LIFE_MAX) active.get(life).set(span.id, span);
    } else {
      life.spanIds.add(span.id);
      life.active.delete(span.id);
      life.left.delete(span.id);
      active.get(life)?.delete(span.id);
      life.spans.push(span);
    }
  }

  takeLog(life, log) {
    const identity = logIdentity(life, log);
    const times = this.known.get(identity);
    if (times !== undefined) {
      this.duplicates++;
      if (times > 1) this.known.set(identity, times - 1);
      else this.known.delete(identity);
      return;
    }
    if (log.lost) {
      life.notices++;
      this.lost += log.lost.spans + log.lost.logs;
    }
    const last = life.logs[life.logs.length - 1];
    if (last !== undefined && log.t < last.t) life.logsSorted = false;
    life.logs.push(log);
    life.logCharacters += log.body.length;
    if (life.logs.length > LOGS_PER_LIFE_MAX + SLACK) this.trimLogs(life);
  }

  trimLogs(life) {
    if (!life.logsSorted) {
      life.logs.sort((a, b) => a.t - b.t);
      life.logsSorted = true;
    }
    let drop = Math.max(0, life.logs.length - LOGS_PER_LIFE_MAX), characters = life.logCharacters;
    for (let i = 0; i < drop; i++) characters -= life.logs[i].body.length;
    while (characters > LOG_CHARACTERS_PER_LIFE_MAX && drop < life.logs.length - 1)
      characters -= life.logs[drop++].body.length;
    for (const log of life.logs.splice(0, drop)) if (log.lost) life.notices--;
    life.logCharacters = characters;
  }

  /* Brings a life back within its bounds after a document. */
  settle(life) {
    life.version++;
    this.trimLogs(life);
    this.partLives(life);
    if (life.newPoints) {
      /* A tick begins with metrics. A life that goes on and had no active span since its last tick
       * has none; one that is over keeps those that it died with. */
      if (life.activeClock < life.metricsClock) life.active = new Map();
      life.metricsClock = this.clock;
      life.newPoints = false;
    }
    if (life.spans.length > SPANS_PER_LIFE_MAX + SLACK) {
      life.spans.sort((a, b) => a.start + a.ms - b.start - b.ms);
      for (const span of life.spans.splice(0, life.spans.length - SPANS_PER_LIFE_MAX))
        life.spanIds.delete(span.id);
    }
    if (life.points > POINTS_PER_LIFE_MAX) {
      for (const series of life.series.values()) {
        const half = series.points.length >> 1;
        series.points.splice(0, half);
        life.points -= half;
      }
    }
  }

  /* Of several lives under one key, what began before the newest was left in flight by the one
   * before it. */
  partLives(life) {
    for (const span of life.active.values()) {
      if (span.start >= life.begun) continue;
      life.active.delete(span.id);
      if (life.left.size < ACTIVE_PER_LIFE_MAX) life.left.set(span.id, span);
    }
  }

  held() {
    let spans = 0, logs = 0;
    for (const life of this.lives.values()) {
      spans += life.spans.length;
      logs += life.logs.length - life.notices;
    }
    return { spans, logs };
  }
}

/* The series of one standard metric: its name is the forwarder's prefix and `suffix`. */
export function seriesOf(life, suffix) {
  const found = [];
  for (const series of life.series.values()) {
    if (life.prefix !== null ? series.name === life.prefix + suffix : series.name.endsWith("." + suffix))
      found.push(series);
  }
  return found;
}

export const seriesNamed = (life, name) =>
  [...life.series.values()].filter((series) => series.name === name);

/* Whether b goes on from a: the same start, and no total that fell. */
export function continues(a, b) {
  const fell = (b.value ?? b.count ?? 0) < (a.value ?? a.count ?? 0);
  return a.start === b.start && !fell;
}

/* Changes per second of a cumulative series as [time, rate]; null where it began anew. */
export function ratesOf(series) {
  const rates = [];
  for (let i = 0; i < series.points.length; i++) {
    const a = series.points[i - 1], b = series.points[i];
    if (b.value === undefined) continue;
    if (series.delta) {
      if (a !== undefined) rates.push([b.t, Number(b.value) * 1000 / (b.t - a.t)]);
    } else if (a !== undefined && a.value !== undefined && continues(a, b)) {
      rates.push([b.t, Number(minus(b.value, a.value)) * 1000 / (b.t - a.t)]);
    } else {
      rates.push([b.t, null]);
    }
  }
  return rates;
}

export const valuesOf = (series) => series.points.filter((point) => point.value !== undefined)
  .map((point) => [point.t, Number(point.value)]);

/* The mean of what a histogram counted between two points. */
export function meansOf(series) {
  const means = [];
  for (let i = 1; i < series.points.length; i++) {
    const a = series.points[i - 1], b = series.points[i];
    const count = Number(minus(b.count, a.count)), sum = b.sum - a.sum;
    if (!continues(a, b)) means.push([b.t, null]);
    else if (count > 0 && Number.isFinite(sum)) means.push([b.t, sum / count]);
  }
  return means;
}

/* Adds up lists of [time, value] by time: all points of a tick share theirs. A null stays null only
 * where nothing else is known. */
export function addUp(lists) {
  const sums = new Map();
  for (const pairs of lists) {
    for (const [t, value] of pairs) {
      const before = sums.get(t);
      sums.set(t, value === null ? before ?? null : (before ?? 0) + value);
    }
  }
  return [...sums].sort((a, b) => a[0] - b[0]);
}
