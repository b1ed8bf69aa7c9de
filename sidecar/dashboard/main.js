// SPDX-License-Identifier: Apache-2.0
// The wiring: readings and messages come in, are remembered, and the panels that show them are asked
// to draw.
import { CAPS, Store } from "./store.js";
import { Lineage, isOver, lifeIs } from "./lineage.js";
import { openStream } from "./stream.js";
import { RateBook, fetchConfig, forwardersOf, pollStatus } from "./status.js";
import { Meter, Painter, runSliced } from "./work.js";
import { formatClock, formatDuration } from "./format.js";
import { byId, fillSources, setData, setText } from "./dom.js";
import { judgeForwarder, showChooser, showVerdict, showWriter } from "./verdict.js";
import { showFlow } from "./flow.js";
import { showLedger } from "./ledger.js";
import { CHARTS, forgetColours, makeCharts, prepareDygraphs, showChart } from "./charts.js";
import { showTraces, wireTraces } from "./traces.js";
import { logFilter, showLogs, wireLogs } from "./logs.js";
import { showConfig } from "./config.js";
import { showPrevious } from "./previous.js";
import { showCost } from "./cost.js";

const store = new Store(), lineage = new Lineage(), rates = new RateBook();
const meter = new Meter(), painter = new Painter(meter);
let status = null, forwarders = [], chosenInstance = null, silentSince = null;
let messages = 0, firstDataMs = 0;

const chosen = () => forwarders.find((one) => one.instance === chosenInstance) ?? forwarders[0] ?? null;

function livesShown() {
  const forwarder = chosen();
  return forwarder === null ? [] : lineage.livesOf(store.lives.values(), forwarder);
}

/* The time of the newest reading, on the sidecar's clock: the browser's may be another. */
function nowThere() {
  const observed = Number(String(status?.ready?.observed_at_unix_ns ?? "").slice(0, -6)) || 0;
  return Math.max(store.sidecar.lastTime, observed) || Date.now();
}

/* ---- what each panel is asked to draw ---- */

const DRAW = {
  verdict() {
    if (status === null && silentSince === null) return;
    showVerdict(silentSince === null ? judgeForwarder(status, chosen(), rates)
      : { state: "unready", title: "Unknown: the sidecar does not answer",
        evidence: `No answer since ${formatClock(silentSince)}. Below is its last reading; the ` +
          "forwarder may well be running." });
    if (status === null) return;
    showChooser(forwarders, chosen());
    showWriter(status, chosen());
  },
  flow: () => showFlow(chosen(), rates),
  ledger: () => showLedger(chosen()),
  traces() {
    const lives = livesShown();
    const living = isOver(chosen()) ? undefined : lives.find((life) => lifeIs(life, chosen()));
    showTraces(lives, living, Number(byId("trace-span").value) * 1000, nowThere());
  },
  logs: () => showLogs(livesShown(), logFilter()),
  previous: () => showPrevious(chosen(), livesShown(), lineage),
  cost: () => showCost(status, chosen(), store.sidecar, globalThis.fwdscope),
};

const draw = (...names) => names.forEach((name) => painter.ask(name, DRAW[name]));

/* Each chart is a job of its own, and none waits for all ten. */
function drawCharts() {
  for (const chart of CHARTS) {
    painter.ask(`chart ${chart.name}`, () => {
      const to = nowThere();
      showChart(chart, livesShown(), to - Number(byId("chart-span").value) * 1000, to, lineage.ends);
    });
  }
}

function drawAll() {
  draw("verdict", "flow", "ledger", "previous", "traces", "logs", "cost");
  drawCharts();
}

/* A lone forwarder's status does not say its service; the stream does. True when one was named. */
function nameForwarders() {
  let named = false;
  for (const forwarder of forwarders) {
    if (forwarder.service) continue;
    const lives = lineage.livesOf(store.lives.values(), forwarder);
    forwarder.service = lives[lives.length - 1]?.resource.service ?? "";
    named ||= forwarder.service !== "";
  }
  return named;
}

/* ---- status ---- */

let configOf = null, configRefused = false;

/* Asked for once a life: each life publishes its own. */
async function askForConfig() {
  const life = chosen()?.writer.started_unix_ns ?? "";
  if (life === configOf || configRefused) return;
  configOf = life;
  const config = await fetchConfig();
  configRefused = config.refused === true;
  showConfig(config);
}

function takeStatus(reading) {
  meter.measure("status", () => {
    const before = lineage.owners.size, life = chosen()?.writer.started_unix_ns;
    status = reading;
    silentSince = null;
    forwarders = forwardersOf(status);
    if (forwarders.length > 0) forwarders[0].first = true;
    rates.take(status);
    lineage.learn(store.lives.values(), forwarders);
    nameForwarders();
    byId("trouble").hidden = true;
    setText(byId("read-at"), formatClock(nowThere()));
    if (lineage.owners.size !== before || chosen()?.writer.started_unix_ns !== life) drawAll();
    else draw("verdict", "flow", "ledger", "previous", "cost");
    askForConfig();
  });
}

function takeTrouble(text) {
  silentSince ??= Date.now();
  setText(byId("trouble"), text);
  byId("trouble").hidden = false;
  draw("verdict");
}

/* ---- stream ---- */

const inbox = [];
let pumping = false;

async function pump() {
  if (pumping) return;
  pumping = true;
  while (inbox.length > 0) {
    const text = inbox.shift();
    if (text === null) { // a connection began
      meter.measure("connection", () => store.connectionBegins());
      continue;
    }
    let document = null;
    meter.measure("parse", () => {
      try { document = JSON.parse(text); } catch { /* not JSON: nothing to take */ }
    });
    if (document?.resourceMetrics) meter.tick();
    await runSliced(store.take(document), meter);
    messages++;
    if (firstDataMs === 0) firstDataMs = performance.now();
    meter.measure("learn", () => lineage.learn(store.lives.values(), forwarders));
    if (nameForwarders()) draw("verdict");
    if (document?.resourceMetrics) {
      drawCharts();
      draw("cost");
    }
    if (document?.resourceMetrics || document?.resourceSpans) draw("traces");
    if (document?.resourceLogs) draw("logs");
  }
  pumping = false;
}

function receive(text) {
  inbox.push(text);
  pump();
}

function showStreamState(word, detail, retryMs) {
  const element = byId("stream-state");
  setData(element, "state", word);
  if (retryMs > 0) setData(element, "retryMs", retryMs);
  else delete element.dataset.retryMs;
  setText(element, word === "live" ? "stream live" : retryMs > 0
    ? `stream ${detail}; next try in ${formatDuration(retryMs)}` : `stream ${detail}`);
}

/* ---- the page ---- */

/* Read-only figures of this page, for whoever measures it. */
globalThis.fwdscope = Object.freeze({
  get messages() { return messages; },
  get duplicates() { return store.duplicates; },
  get points() { return store.points; },
  get spans() { return store.held().spans; },
  get logs() { return store.held().logs; },
  get lost() { return store.lost; },
  get longestTaskMs() { return meter.longestMs; },
  get tickWorkMs() { return meter.lastTickMs; },
  get tickWorkMaxMs() { return meter.maxTickMs; },
  get longestWork() { return Object.fromEntries(meter.longest); },
  caps: CAPS,
  get firstDataMs() { return firstDataMs; },
});

function start() {
  meter.watchLongTasks();
  prepareDygraphs();
  makeCharts();
  fillSources();
  wireTraces(livesShown);
  wireLogs(() => draw("logs"));
  byId("forwarder").addEventListener("change", (event) => {
    chosenInstance = event.target.value;
    drawAll();
  });
  byId("chart-span").addEventListener("change", drawCharts);
  byId("trace-span").addEventListener("change", () => draw("traces"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    forgetColours();
    drawCharts();
  });
  addEventListener("resize", () => {
    drawCharts();
    draw("traces");
  });
  openStream(location.origin.replace("http", "ws") + "/admin/v1/telemetry",
    { opened: () => receive(null), message: receive, state: showStreamState });
  pollStatus({ reading: takeStatus, trouble: takeTrouble });
}
meter.measure("start", start);
