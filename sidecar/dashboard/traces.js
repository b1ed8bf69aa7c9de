// SPDX-License-Identifier: Apache-2.0
// Batch traces as swim lanes: a lane a worker (a pipeline where no worker is named), a bar a batch,
// its children inside it. Bars keep their place; the lane moves under the window.
import { printValue } from "./otlp.js";
import { formatBytes, formatClock, formatCount, formatDuration, plural } from "./format.js";
import { byId, fact, make, replace, setText } from "./dom.js";

export const BARS_MAX = 200;
export const LANES_MAX = 24;
const LANE_ROWS_MAX = 12; // what overlaps more deeply shares the last row
const LANE_NAME_PX = 170; // as in style.css
const LINES_IN_DETAIL_MAX = 50;

const RECENT_MAX = 1600; // finished spans looked at in one drawing
const NEW_BARS_MAX = 40; // made in one drawing, so that none is a long task
const ANCESTORS_MAX = 8;

/* The uppermost ancestor that is there. */
function topOf(span, spans) {
  for (let i = 0; i < ANCESTORS_MAX && spans.has(span.parent); i++) span = spans.get(span.parent);
  return span;
}

function laneName(span, worker) {
  const pipeline = printValue(span.attributes.get("pipeline") ?? "");
  const who = worker !== undefined ? `worker ${printValue(worker)}`
    : span.active ? "no worker yet" : "no worker named";
  return pipeline === "" ? who : `${pipeline} · ${who}`;
}

/* The spans since `from`: lanes of rows of bars {span, children}; bars of one lane that overlap lie
 * in rows. Pure. */
export function lanesOf(spans, from, barsMax = BARS_MAX) {
  const all = new Map(spans.filter((span) => endOf(span) >= from).map((span) => [span.id, span]));
  const bars = new Map(), workers = new Map();
  for (const span of all.values()) {
    const top = topOf(span, all);
    if (!bars.has(top.id)) bars.set(top.id, { span: top, children: [] });
    if (top !== span) bars.get(top.id).children.push(span);
    const worker = span.attributes.get("worker_id");
    if (worker !== undefined) workers.set(top.id, worker);
  }
  const shown = [...bars.values()].sort((a, b) => b.span.start - a.span.start).slice(0, barsMax);
  const lanes = new Map();
  for (const bar of shown.reverse()) {
    const name = laneName(bar.span, workers.get(bar.span.id));
    if (!lanes.has(name)) lanes.set(name, { name, rows: [] });
    const { rows } = lanes.get(name);
    const free = rows.find((row) => endOf(row[row.length - 1].span) <= bar.span.start);
    if (free) free.push(bar);
    else if (rows.length < LANE_ROWS_MAX) rows.push([bar]);
    else rows[LANE_ROWS_MAX - 1].push(bar);
  }
  const sorted = [...lanes.values()].sort((a, b) =>
    a.name.localeCompare(b.name, "en", { numeric: true }));
  return { lanes: sorted.slice(0, LANES_MAX), hidden: bars.size - shown.length,
    lanesHidden: Math.max(0, sorted.length - LANES_MAX) };
}

const endOf = (span) => span.start + span.ms;

const cutOff = (span) => ({ ...span, active: false, cut: true });

/* What is drawn of these lives since `from`. Only the one that lives has live bars: what another
 * died with is cut off where it was last read. Pure. */
export function spansToDraw(lives, living, from) {
  return lives.flatMap((life) => {
    const active = [...life.active.values()];
    return [...recent(life.spans, from), ...(life === living ? active : active.map(cutOff)),
      ...[...life.left.values()].map(cutOff)];
  });
}

export function stageOf(span) {
  if (span.cut) return `cut off in stage ${span.attributes.get("stage") ?? "unknown"}`;
  return span.active ? String(span.attributes.get("stage") ?? "under way") : "finished";
}

function describeBar({ span }) {
  const rows = span.attributes.get("input_rows") ?? span.attributes.get("rows");
  return `${span.name || "span"} ${formatDuration(span.ms)}, ${stageOf(span)}` +
    (rows === undefined ? "" : `, ${formatCount(rows)} rows`) + (span.failed ? ", failed" : "") +
    `, from ${formatClock(span.start, true)}`;
}

/* ---- the document ---- */

let origin = 0, scale = 0; // left = (start - origin) * scale; both stay until the window changes
let bars = new Map(); // id of a span -> {element, bar}
let opened = null, openedFrom = null, opener = null;

/* Places an element by its times; a minimum width keeps the shortest bar visible and clickable. */
function place(element, span, base) {
  const left = `${((span.start - base) * scale).toFixed(1)}px`;
  const width = `${Math.max(2, span.ms * scale).toFixed(1)}px`;
  if (element.style.left !== left) element.style.left = left;
  if (element.style.width !== width) element.style.width = width;
}

function makeBar(bar) {
  const { span } = bar;
  const element = make("div", { role: "button", tabindex: "-1", "data-span": span.id,
    class: "bar" + (span.active ? " live" : "") + (span.cut ? " cut" : "") + (span.failed ? " failed" : ""),
    "data-stage": span.active ? stageOf(span) : null, "aria-label": describeBar(bar) });
  place(element, span, origin);
  for (const child of bar.children) {
    const part = make("span", { class: "part" + (child.active ? " live" : "") + (child.failed ? " failed" : "") });
    place(part, child, span.start);
    element.append(part);
  }
  return element;
}

/* A live bar has grown, and may be in another stage. */
function updateBar(element, bar) {
  place(element, bar.span, origin);
  bar.children.forEach((child, i) => place(element.children[i], child, bar.span.start));
  const stage = stageOf(bar.span);
  if (bar.span.active && element.dataset.stage !== stage) {
    element.dataset.stage = stage;
    element.setAttribute("aria-label", describeBar(bar));
  }
}

/* A bar is made anew when it ended, or when a child came or ended. */
function barElement(bar, held, fresh) {
  const alike = held && held.bar.span.active === bar.span.active &&
    held.bar.children.length === bar.children.length &&
    held.bar.children.every((child, i) => child.active === bar.children[i].active);
  const element = alike ? held.element : makeBar(bar);
  if (alike && held.bar.span !== bar.span) updateBar(element, bar);
  if (held && !alike) {
    element.tabIndex = held.element.tabIndex;
    if (held.element === document.activeElement) requestAnimationFrame(() => element.focus());
  }
  fresh.set(bar.span.id, { element, bar });
  return element;
}

function sync(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
}

function laneElement(name) {
  const inner = make("div", { class: "inner" });
  const lane = make("div", { class: "lane", role: "group", "aria-label": name },
    make("div", { class: "lane-name" }, make("bdi", null, name)), make("div", { class: "track" }, inner));
  lane.dataset.lane = name;
  return lane;
}

/* True when bars were left for another drawing, which should come soon. */
export function showTraces(lives, living, windowMs, now) {
  const root = byId("lanes");
  const width = Math.max(120, root.clientWidth - (root.clientWidth < 600 ? 0 : LANE_NAME_PX));
  if (Math.abs(scale - width / windowMs) > 1e-9 || now - origin > 3600000) {
    scale = width / windowMs;
    origin = now - windowMs;
    bars = new Map();
  }
  const from = now - windowMs;
  const spans = spansToDraw(lives, living, from);
  const { lanes, hidden, lanesHidden } = lanesOf(spans, from);
  const fresh = new Map();
  let room = NEW_BARS_MAX;
  const held = new Map([...root.children].map((lane) => [lane.dataset.lane, lane]));
  sync(root, lanes.map((lane) => {
    const element = held.get(lane.name) ?? laneElement(lane.name);
    const inner = element.querySelector(".inner");
    element.style.setProperty("--rows", lane.rows.length);
    inner.style.transform = `translateX(${((origin - from) * scale).toFixed(1)}px)`;
    sync(inner, lane.rows.flatMap((row, i) => row.flatMap((bar) => {
      const known = bars.get(bar.span.id);
      if (known === undefined && room-- <= 0) return [];
      const button = barElement(bar, known, fresh);
      button.style.setProperty("--row", i);
      return [button];
    })));
    const buttons = inner.children;
    if (buttons.length && !inner.querySelector('[tabindex="0"]')) buttons[buttons.length - 1].tabIndex = 0;
    return element;
  }));
  bars = fresh;
  const live = living?.active.size ?? 0, cut = spans.filter((span) => span.cut && endOf(span) >= from).length;
  setText(byId("trace-summary"), lanes.length === 0 ? "No batch in this time."
    : `${plural(fresh.size, "batch", "batches")} in ${formatDuration(windowMs)}, ${plural(live, "span")} under way` +
      (cut ? `, ${formatCount(cut)} cut off by its end` : "") +
      (hidden ? `; ${formatCount(hidden)} more not drawn` : "") +
      (lanesHidden ? `; ${formatCount(lanesHidden)} lanes not drawn` : ""));
  setText(byId("lanes-from"), formatClock(from));
  setText(byId("lanes-to"), formatClock(now));
  if (opened !== null && opened.active && fresh.has(opened.id)) showDetail(fresh.get(opened.id).bar, openedFrom);
  return room < 0;
}

/* Spans end in about the order in which they came: the end of the list is enough. */
function recent(spans, from) {
  let first = spans.length;
  while (first > 0 && spans.length - first < RECENT_MAX && endOf(spans[first - 1]) >= from - 5000) first--;
  return spans.slice(first);
}

const NANOS = /_ns$/, UNIX = /_unix_ns$/, BYTES = /bytes/;

function printAttribute(key, value) {
  if (typeof value === "number") {
    if (UNIX.test(key)) return formatClock(value / 1e6, true);
    if (NANOS.test(key)) return formatDuration(value / 1e6);
    if (BYTES.test(key)) return `${formatBytes(value)} (${formatCount(value)})`;
    return formatCount(value);
  }
  if (UNIX.test(key) && /^\d+$/.test(String(value))) return formatClock(Number(value) / 1e6, true);
  return printValue(value);
}

function spanTable(span, caption) {
  const rows = [...span.attributes].filter(([key]) => key !== "in_progress").map(([key, value]) =>
    make("tr", null, make("th", { scope: "row" }, make("bdi", null, key)),
      make("td", null, make("bdi", null, printAttribute(key, value)))));
  return make("table", null, make("caption", null, caption), make("tbody", null, rows));
}

const STAGE_KEYS = [["scan_ns", "scan"], ["transform_ns", "transform"], ["queue_wait_ns", "queue"], ["send_ns", "send"], ["recv_ns", "receive"]];

function stageBar(bar) {
  const found = STAGE_KEYS.map(([key, word]) => [word, [bar.span, ...bar.children]
    .map((span) => span.attributes.get(key)).find((value) => typeof value === "number")])
    .filter(([, ns]) => ns > 0);
  if (found.length === 0) return null;
  const strip = make("div", { class: "stages", role: "img", "aria-label": "Time by stage: " +
    found.map(([word, ns]) => `${word} ${formatDuration(ns / 1e6)}`).join(", ") });
  for (const [word, ns] of found) {
    const part = make("span", { class: "stage-" + word }, `${word} ${formatDuration(ns / 1e6)}`);
    part.style.flexGrow = String(ns);
    strip.append(part);
  }
  return strip;
}

function showDetail(bar, lives) {
  const { span } = bar;
  opened = span;
  openedFrom = lives;
  const lines = lives.flatMap((life) => life.logs).filter((log) => log.trace !== "" && log.trace === span.trace)
    .slice(-LINES_IN_DETAIL_MAX);
  setText(byId("trace-title"), `${span.name || "span"}: ${stageOf(span)}${span.failed ? ", failed" : ""}`);
  replace(byId("trace-body"),
    make("dl", { class: "facts" }, fact("from", formatClock(span.start, true)), fact("took", formatDuration(span.ms)),
      fact("trace", make("code", null, span.trace)), fact("span", make("code", null, span.id)),
      span.message ? fact("message", make("bdi", null, span.message)) : [],
      span.dropped ? fact("attributes lost", formatCount(span.dropped)) : []),
    stageBar(bar), spanTable(span, span.name || "span"),
    ...bar.children.map((child) => spanTable(child, `${child.name || "span"}: ${formatDuration(child.ms)}, ` +
      `${stageOf(child)}${child.failed ? ", failed" : ""}${child.message ? ", " + child.message : ""}`)),
    ...(lines.length ? [make("h4", null, "Its log lines"), make("ul", { class: "lines" },
      lines.map((log) => make("li", null, make("bdi", null, `${formatClock(log.t, true)} ${log.body}`))))] : []));
  byId("trace-detail").hidden = false;
}

function closeDetail() {
  byId("trace-detail").hidden = true;
  opened = null;
  const back = opener && (opener.isConnected ? opener : bars.get(opener.dataset.span)?.element);
  back?.focus();
}

function step(from, key) {
  const lane = from.closest(".lane");
  const inLane = [...lane.querySelectorAll(".bar")].sort((a, b) => parseFloat(a.style.left) - parseFloat(b.style.left));
  const at = inLane.indexOf(from);
  if (key === "ArrowLeft") return inLane[at - 1];
  if (key === "ArrowRight") return inLane[at + 1];
  if (key === "Home") return inLane[0];
  if (key === "End") return inLane[inLane.length - 1];
  const other = key === "ArrowUp" ? lane.previousElementSibling : lane.nextElementSibling;
  return other?.querySelector('.bar[tabindex="0"]');
}

/* lives(): those whose log lines may belong to a trace. */
export function wireTraces(lives) {
  const root = byId("lanes");
  const open = (element) => {
    const held = element && bars.get(element.dataset.span);
    if (!held) return;
    opener = element;
    showDetail(held.bar, lives());
    byId("trace-close").focus();
  };
  root.addEventListener("click", (event) => open(event.target.closest(".bar")));
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(event.target.closest(".bar"));
      return;
    }
    if (!/^(Arrow|Home$|End$)/.test(event.key) || !event.target.matches(".bar")) return;
    event.preventDefault();
    const next = step(event.target, event.key);
    if (!next) return;
    for (const one of next.parentElement.querySelectorAll('[tabindex="0"]')) one.tabIndex = -1;
    next.tabIndex = 0;
    next.focus({ preventScroll: true });
  });
  byId("trace-close").addEventListener("click", closeDetail);
  byId("panel-traces").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("trace-detail").hidden) closeDetail();
  });
}
