// SPDX-License-Identifier: Apache-2.0
// What was left of a life that is over: how it ended, its last counters, what was in flight, its
// last lines. Of the life before this one, or of this one if nobody came after it.
import { isCount } from "./exact.js";
import { isOver, lifeIs } from "./lineage.js";
import { startedMs } from "./status.js";
import { printValue } from "./otlp.js";
import { formatClock, formatCount, formatDate, formatDuration } from "./format.js";
import { byId, fact, make, numberOf, replace, setData, setText } from "./dom.js";

const LINES_MAX = 30, IN_FLIGHT_MAX = 100;

/* The life to tell of: {side, which}; null when there is none. Pure. */
export function pastLife(forwarder) {
  if (isOver(forwarder)) return { side: forwarder, which: "current" };
  return forwarder?.previous ? { side: forwarder.previous, which: "previous" } : null;
}

/* The last value of each total and gauge of that life, by pipeline: [[pipeline, name, value]]. Pure. */
export function lastValues(life, started) {
  const values = [];
  for (const series of life.series.values()) {
    if (series.kind !== "sum" || life.prefix === null || !series.name.startsWith(life.prefix)) continue;
    const last = series.points.findLast((point) => point.start === started && point.value !== undefined);
    if (last === undefined) continue;
    const stage = series.attributes.get("stage");
    values.push([String(series.attributes.get("pipeline") ?? ""),
      series.name.slice(life.prefix.length) + (stage === undefined ? "" : `.${stage}`), last.value]);
  }
  return values;
}

function counterRow(name, label, value) {
  return make("tr", null, make("th", { scope: "row" }, make("bdi", null, label)),
    make("td", { class: "number" }, numberOf(name, value, formatCount(value))));
}

function componentRows(pipelines) {
  const rows = [];
  for (const pipeline of pipelines) {
    const components = [...pipeline.inputs ?? [], ...pipeline.outputs ?? []].map((one) => [one.name, one]);
    if (pipeline.transform) components.push(["transform", pipeline.transform]);
    for (const [component, counters] of components) {
      for (const [key, value] of [...Object.entries(counters),
        ...Object.entries(counters.queue ?? {}).map(([part, depth]) => [`queue.${part}`, depth])]) {
        if (isCount(value))
          rows.push(counterRow(`previous/${pipeline.name}/${component}/${key}`, `${pipeline.name} / ${component} / ${key}`, value));
      }
    }
  }
  return rows;
}

/* What the past life died with; where the one after it speaks under the same key, that is kept apart.
 * Pure. */
export function leftBy(life, { which }, forwarder) {
  if (!life) return [];
  return [...(which === "previous" && lifeIs(life, forwarder) ? life.left : life.active).values()];
}

/* Spans that were in flight, oldest first: {span, words}. Of each it is known when it began, and how
 * old it was when it was last read; when it would have ended nobody knows. Pure. */
export function inFlightOf(spans) {
  return [...spans].sort((a, b) => a.start - b.start).map((span) => {
    const { attributes } = span, rows = attributes.get("input_rows") ?? attributes.get("rows");
    const stage = attributes.get("stage"), worker = attributes.get("worker_id");
    return { span, words: [stage === undefined ? "" : `in stage ${printValue(stage)}`,
      rows === undefined ? "" : `${formatCount(rows)} rows`,
      worker === undefined ? "" : `worker ${printValue(worker)}`,
      `begun ${formatClock(span.start, true)}, ${formatDuration(span.ms)} old at the last reading`]
      .filter(Boolean).join(", ") };
  });
}

function inFlightItems(life, spans) {
  const flying = inFlightOf(spans), rest = flying.length - IN_FLIGHT_MAX;
  const items = flying.slice(0, IN_FLIGHT_MAX).map(({ span, words }) =>
    make("li", { class: "inflight", "data-span": span.id },
      make("b", null, make("bdi", null, span.name || "span")), ` ${words}`));
  if (rest > 0) items.push(make("li", { class: "note" }, `and ${formatCount(rest)} more`));
  return items.length > 0 ? items
    : [make("li", { class: "note" }, life ? "Nothing: no span was under way at its last reading."
      : "Not known: the stream has told nothing of that life.")];
}

function lastLines(life, from, to) {
  if (!life) return [];
  return life.logs.filter((log) => log.lost === null && log.t >= from - 1000 && log.t <= to).slice(-LINES_MAX)
    .map((log) => make("li", { class: "line", "data-severity": log.severity },
      make("span", { class: "time" }, formatClock(log.t, true)), " ", make("bdi", null, log.body)));
}

export function showPrevious(forwarder, lives, lineage) {
  const panel = byId("panel-previous"), past = pastLife(forwarder);
  setData(panel, "state", past ? past.side.writer.state : "none");
  setData(panel, "life", past?.which ?? "");
  for (const id of ["panel-previous", "panel-ledger"]) byId(id).classList.toggle("wide", past !== null);
  byId("previous-some").hidden = past === null;
  byId("previous-none").hidden = past !== null;
  if (past === null) return;
  const { side, which } = past, { writer, region } = side;
  const started = startedMs(writer);
  const life = lives.find((one) => lifeIs(one, side));
  const nextStart = which === "previous" ? startedMs(forwarder.writer) : Infinity;
  const signal = writer.signal_name ?? writer.signal;
  setText(byId("previous-heading"), which === "current" ? "What it left behind" : "Previous life");
  setText(byId("previous-title"), (which === "current" ? "It " : "The life before this one ") + writer.state +
    (signal === undefined ? "" : ` with ${signal}`) + (which === "current" ? ", and was not started again" : ""));
  setText(byId("previous-why"), which === "current" ? "" : writer.reason ?? "");
  const lastHeard = life && life.lastTime > 0 && life.starts.length === 1 ? life.lastTime : null;
  replace(byId("previous-facts"),
    ...fact("generation", formatCount(writer.generation)), ...fact("pid", String(writer.pid ?? "–")),
    ...fact("started", formatDate(started)),
    ...(lastHeard === null ? [] : [...fact("last reading", formatDate(lastHeard)),
      ...fact("lived for", formatDuration(lastHeard - started))]),
    ...fact("region", make("code", null, region?.path ?? "–")));
  const pipelines = which === "current" ? forwarder.pipelines : lineage.pipelines.get(writer.started_unix_ns);
  const streamed = life ? lastValues(life, writer.started_unix_ns) : [];
  replace(byId("previous-counters"), ...componentRows(pipelines ?? []),
    ...streamed.map(([pipeline, name, value]) =>
      counterRow(`previous/${pipeline}/${name}`, pipeline ? `${pipeline} / ${name}` : name, value)));
  byId("previous-counters-none").hidden = byId("previous-counters").childElementCount > 0;
  replace(byId("previous-inflight"), ...inFlightItems(life, leftBy(life, past, forwarder)));
  const lines = lastLines(life, started, nextStart);
  replace(byId("previous-lines"), ...(lines.length ? lines
    : [make("li", { class: "note" }, "None of its log lines is held.")]));
}
