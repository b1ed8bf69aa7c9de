// SPDX-License-Identifier: Apache-2.0
// The log lines: a window of at most ROWS_MAX rows over all that is held, filtered, in the order of
// their times. What was lost stands among them as rows of its own.
import { formatClock, formatCount, formatDate } from "./format.js";
import { printValue } from "./otlp.js";
import { byId, make, setData, setText } from "./dom.js";

export const ROWS_MAX = 400;
const FOLLOW_ROWS = 120; // enough while the end is looked at
const STEP = 200; // rows that the window moves by
const NEAR = 300; // pixels from an end at which it moves

const NAMES = [[21, "fatal"], [17, "error"], [13, "warn"], [9, "info"], [5, "debug"], [1, "trace"]];

export function severityName(number) {
  const found = NAMES.find(([from]) => number >= from);
  return found ? found[1] : "";
}

/* Those that pass, oldest first. A notice of a loss passes always: nobody filters it away. Pure. */
export function filterLogs(lives, { severity, search }) {
  const sorted = [];
  for (const life of lives) {
    if (!life.logsSorted) {
      life.logs.sort((a, b) => a.t - b.t);
      life.logsSorted = true;
    }
    sorted.push(life.logs);
  }
  let all = sorted.length === 1 ? sorted[0] : sorted.flat();
  if (sorted.length > 1) all.sort((a, b) => a.t - b.t);
  if (severity === 0 && search === "") return all;
  const pattern = search === "" ? null
    : new RegExp(search.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"), "i");
  return all.filter((log) => log.lost !== null ||
    (log.severity >= severity && (pattern === null || pattern.test(log.body))));
}

export function lossWords(lost) {
  return [[lost.logs, "log lines"], [lost.spans, "spans"], [lost.ticks, "ticks"]]
    .filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} ${what} lost`).join(", ");
}

/* ---- the document ---- */

let shown = []; // all that passes
let begin = 0, end = 0; // the window into it
let follow = true;
let rows = new WeakMap();

function makeRow(log) {
  if (log.lost) {
    return make("tr", { class: "loss", tabindex: "-1", "data-lost": log.lost.logs + log.lost.spans,
      "data-lost-logs": log.lost.logs, "data-lost-spans": log.lost.spans, "data-lost-ticks": log.lost.ticks },
    make("td", { class: "time", title: formatDate(log.t) }, formatClock(log.t, true)),
    make("td", { class: "severity" }, "lost"), make("td", { class: "body" }, lossWords(log.lost)));
  }
  const name = severityName(log.severity);
  const extra = log.attributes.size === 0 ? null : make("span", { class: "attributes" },
    [...log.attributes].map(([key, value]) => make("bdi", null, `${key}=${printValue(value)}`)));
  return make("tr", { class: "log", tabindex: "-1", "aria-expanded": "false", "data-severity": log.severity,
    "data-level": name },
  make("td", { class: "time", title: formatDate(log.t) }, formatClock(log.t, true)),
  make("td", { class: "severity" }, log.label || name || "–"),
  make("td", { class: "line" }, make("bdi", { class: "body" }, log.body), extra));
}

function rowOf(log) {
  let row = rows.get(log);
  if (row === undefined) {
    row = makeRow(log);
    rows.set(log, row);
  }
  return row;
}

/* Puts the window into the document, touching only rows that come or go. */
function fill() {
  const body = byId("logs");
  const wanted = shown.slice(begin, end).map(rowOf);
  const keep = new Set(wanted);
  for (const row of [...body.children]) if (!keep.has(row)) row.remove();
  let at = body.firstElementChild;
  for (const row of wanted) {
    if (row === at) at = at.nextElementSibling;
    else body.insertBefore(row, at);
  }
  if (body.firstElementChild && !body.querySelector('[tabindex="0"]')) body.lastElementChild.tabIndex = 0;
  setText(byId("log-count"), shown.length === 0 ? "no lines"
    : `${formatCount(begin + 1)} to ${formatCount(end)} of ${formatCount(shown.length)} lines`);
  byId("log-empty").hidden = shown.length > 0;
}

function toEnd() {
  end = shown.length;
  begin = Math.max(0, end - FOLLOW_ROWS);
}

export function showLogs(lives, filter) {
  const scroll = byId("log-scroll");
  const first = shown[begin];
  shown = filterLogs(lives, filter);
  if (follow) {
    toEnd();
  } else { // the reader's place stays, whatever came in or fell out
    const at = first === undefined ? 0 : shown.indexOf(first);
    begin = at >= 0 ? at : Math.min(begin, Math.max(0, shown.length - ROWS_MAX));
    end = Math.min(shown.length, begin + ROWS_MAX);
  }
  fill();
  if (follow) scroll.scrollTop = scroll.scrollHeight;
}

/* Moves the window by `by` rows and keeps what is looked at where it is. */
function move(by) {
  const scroll = byId("log-scroll"), to = Math.min(Math.max(0, shown.length - ROWS_MAX), Math.max(0, begin + by));
  if (shown.length === 0 || (to === begin && end === shown.length)) return;
  const anchor = rowOf(shown[by > 0 ? end - 1 : begin]);
  const before = anchor.offsetTop;
  begin = Math.max(0, to);
  end = Math.min(shown.length, begin + ROWS_MAX);
  fill();
  if (anchor.isConnected) scroll.scrollTop += anchor.offsetTop - before;
}

function setFollow(on) {
  follow = on;
  const box = byId("log-follow");
  if (box.checked !== on) box.checked = on;
  setData(byId("panel-logs"), "follow", on);
}

function toggleRow(row) {
  if (row.classList.contains("log"))
    row.setAttribute("aria-expanded", String(row.getAttribute("aria-expanded") !== "true"));
}

function focusRow(row) {
  if (!row) return;
  for (const one of byId("logs").querySelectorAll('[tabindex="0"]')) one.tabIndex = -1;
  row.tabIndex = 0;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function rowKey(event) {
  const row = event.target.closest("tr");
  if (!row || event.target !== row) return;
  const page = 10;
  const body = byId("logs");
  const at = [...body.children].indexOf(row);
  const goes = { ArrowUp: at - 1, ArrowDown: at + 1, PageUp: at - page, PageDown: at + page };
  if (event.key in goes) {
    setFollow(false);
    if (goes[event.key] < 0) move(-STEP);
    else if (goes[event.key] >= body.children.length) move(STEP);
    const now = [...body.children].indexOf(row);
    focusRow(body.children[Math.max(0, Math.min(body.children.length - 1, now + goes[event.key] - at))]);
  } else if (event.key === "Home" || event.key === "End") {
    setFollow(event.key === "End");
    begin = event.key === "End" ? Math.max(0, shown.length - FOLLOW_ROWS) : 0;
    end = Math.min(shown.length, begin + ROWS_MAX);
    fill();
    focusRow(event.key === "End" ? body.lastElementChild : body.firstElementChild);
  } else if (event.key === "Enter" || event.key === " ") {
    toggleRow(row);
  } else {
    return;
  }
  event.preventDefault();
}

/* changed(): the filter is another. */
export function wireLogs(changed) {
  const scroll = byId("log-scroll"), body = byId("logs");
  byId("log-severity").addEventListener("change", changed);
  byId("log-search").addEventListener("input", changed);
  byId("log-follow").addEventListener("change", (event) => {
    setFollow(event.target.checked);
    changed();
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row && String(getSelection()) === "") toggleRow(row);
  });
  body.addEventListener("keydown", rowKey);
  let last = 0;
  scroll.addEventListener("wheel", (event) => { if (event.deltaY < 0) setFollow(false); }, { passive: true });
  scroll.addEventListener("touchmove", () => setFollow(false), { passive: true });
  scroll.addEventListener("scroll", () => {
    const up = scroll.scrollTop < last;
    last = scroll.scrollTop;
    if (follow) return;
    if (up && scroll.scrollTop < NEAR) move(-STEP);
    else if (!up && scroll.scrollTop + scroll.clientHeight > scroll.scrollHeight - NEAR) move(STEP);
  }, { passive: true });
}

export function logFilter() {
  return { severity: Number(byId("log-severity").value), search: byId("log-search").value };
}
