// SPDX-License-Identifier: Apache-2.0
// The wiring: readings and messages come in, are remembered, and the panels that show them are asked
// to draw.
import { CAPS, Store } from "./store.js";
import { Lineage, isOver, lifeIs } from "./lineage.js";
import { openStream } from "./stream.js";
import { RateBook, fetchConfig, forwardersOf, pollStatus, readAtMs } from "./status.js";
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
let trouble = "", messages = 0, firstDataMs = 0;

const chosen = () => forwarders.find((one) => one.instance === chosenInstance) ?? forwarders[0] ?? null;

function livesShown() {
  const forwarder = chosen();
  return forwarder === null ? [] : lineage.livesOf(store.lives.values(), forwarder);
}

/* The time of the newest reading, on the sidecar's clock: the browser's may be another. */
function nowThere() {
  return Math.max(store.sidecar.lastTime, readAtMs(status)) || Date.now();
}

/* ---- what each panel is asked to draw ---- */

const DRAW = {
  verdict() {
    if (status === null && silentSince === null) return;
    showVerdict(silentSince === null ? judgeForwarder(status, chosen(), rates)
      : { state: "unready", title: "Unknown: the sidecar tells nothing",
        evidence: `${trouble}, since ${formatClock(silentSince)}. The forwarder may well be running.` +
          (status === null ? "" : " Below, in grey, is the last reading.") });
    setData(document.querySelector("main"), "silent", silentSince !== null);
    if (status === null) return;
    showChooser(forwarders, chosen());
    showWriter(status, chosen(), silentSince !== null);
  },
  flow: () => showFlow(chosen(), rates, silentSince !== null),
  ledger: () => showLedger(chosen()),
  traces() {
    const lives = livesShown();
    const living = isOver(chosen()) ? undefined : lives.find((life) => lifeIs(life, chosen()));
    if (showTraces(lives, living, Number(byId("trace-span").value) * 1000, nowThere())) draw("traces");
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

/* Of a forwarder's service and its version the stream tells what the status does not. True when one
 * was named. */
function nameForwarders() {
  let named = false;
  for (const forwarder of forwarders) {
    if (forwarder.version !== undefined) continue;
    const resource = lineage.livesOf(store.lives.values(), forwarder)
      .find((life) => lifeIs(life, forwarder))?.resource;
    if (resource === undefined) continue;
    forwarder.service ||= resource.service;
    forwarder.version = String(resource.attributes.get("service.version") ?? "");
    named = true;
  }
  return named;
}

/* ---- status ---- */

const CONFIG_EVERY_MS = 10000, CONFIG_SOON_MS = 1000;
let configOf = null, configAt = 0;

/* Each life publishes its own, some time after its start, and again when it read it anew. Where the
 * endpoint is off it is not asked again: that takes another sidecar. */
async function askForConfig() {
  const life = chosen()?.writer.started_unix_ns ?? "";
  if (configAt === Infinity || (life === configOf && performance.now() < configAt)) return;
  configOf = life;
  configAt = performance.now() + CONFIG_EVERY_MS;
  const config = await fetchConfig();
  showConfig(config);
  if (config.refused) configAt = Infinity;
  else if (!config.path) configAt = performance.now() + CONFIG_SOON_MS;
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
    setText(byId("read-at"), formatClock(nowThere()));
    if (lineage.owners.size !== before || chosen()?.writer.started_unix_ns !== life) drawAll();
    else draw("verdict", "flow", "ledger", "previous", "cost");
    askForConfig();
  });
}

function takeTrouble(text) {
  silentSince ??= Date.now();
  configAt = 0; // who answers next may be another sidecar
  trouble = text;
  draw("verdict", "flow");
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
