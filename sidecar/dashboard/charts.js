// SPDX-License-Identifier: Apache-2.0
// The ten charts. What they draw is worked out without a document; dygraphs draws it. A restart is a
// gap, never a line down or a spike; a crash is a marker.
import { addUp, meansOf, ratesOf, seriesNamed, seriesOf, valuesOf } from "./store.js";
import { periodsOf } from "./lineage.js";
import { NONE, formatBytes, formatClock, formatCount, formatDuration, formatRate } from "./format.js";
import { byId, make, replace, setData, setText } from "./dom.js";

const UNSEEN_EVERY = 3; // ticks
const QUEUES_MAX = 6; // lines in one chart

const perSecond = (suffix) => (lives) =>
  addUp(lives.flatMap((life) => seriesOf(life, suffix).map(ratesOf)));
const gauge = (suffix) => (lives) =>
  addUp(lives.flatMap((life) => seriesOf(life, suffix).map(valuesOf)));
const scaled = (pairs, factor) =>
  pairs.map(([t, value]) => [t, value === null ? null : value * factor]);

/* Fill in percent where the capacity is known, of each component with a queue. */
function queueFill(lives) {
  const parts = new Map();
  for (const life of lives) {
    const capacities = new Map(seriesOf(life, "queue_capacity").map((series) =>
      [JSON.stringify([...series.attributes]), Number(series.points[series.points.length - 1]?.value)]));
    for (const series of seriesOf(life, "queue_depth")) {
      const capacity = capacities.get(JSON.stringify([...series.attributes]));
      const component = String(series.attributes.get("component") ?? "queue");
      const label = component + (capacity > 0 ? " %" : " items");
      if (!parts.has(label) && parts.size >= QUEUES_MAX) continue;
      const pairs = scaled(valuesOf(series), capacity > 0 ? 100 / capacity : 1);
      parts.set(label, [...parts.get(label) ?? [], ...pairs]);
    }
  }
  return [...parts].map(([label, pairs]) => [label, addUp([pairs])]);
}

/* Of the forwarder's own histogram where there is one, else of the finished batches themselves. */
function latency(lives) {
  const histograms = lives.flatMap((life) => seriesOf(life, "batch_latency"))
    .filter((series) => series.kind === "histogram");
  if (histograms.length > 0) {
    const factor = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 }[histograms[0].unit] ?? 1000;
    return scaled(histograms.length === 1 ? meansOf(histograms[0]) : mergedMeans(histograms), factor);
  }
  const BUCKET_MS = 2000, buckets = new Map();
  for (const span of lives.flatMap((life) => life.spans)) {
    if (span.parent !== "") continue;
    const at = Math.ceil((span.start + span.ms) / BUCKET_MS) * BUCKET_MS;
    const bucket = buckets.get(at) ?? [0, 0];
    buckets.set(at, [bucket[0] + span.ms, bucket[1] + 1]);
  }
  return [...buckets].map(([t, [sum, count]]) => [t, sum / count]).sort((a, b) => a[0] - b[0]);
}

const mergedMeans = (histograms) => histograms.flatMap(meansOf).sort((a, b) => a[0] - b[0]);

const cpu = (lives) => scaled(addUp(lives.flatMap((life) =>
  [...seriesNamed(life, "process.cpu.user_ms"), ...seriesNamed(life, "process.cpu.sys_ms")]
    .map(ratesOf))), 0.1);

const memory = (lives) => addUp(lives.flatMap((life) => {
  const rss = seriesNamed(life, "process.memory.rss");
  return (rss.length ? rss : seriesNamed(life, "process.memory.resident")).map(valuesOf);
}));

const fixed = (...parts) => (lives) => parts.map(([label, read]) => [label, read(lives)]);

export const CHARTS = [
  { name: "lines", title: "Lines /s", format: formatRate,
    read: fixed(["in", perSecond("input_lines")], ["out", perSecond("output_lines")]) },
  { name: "bytes", title: "Bytes /s", format: formatBytes, binary: true,
    read: fixed(["in", perSecond("input_bytes")], ["out", perSecond("output_bytes")]) },
  { name: "errors", title: "Errors /s", format: formatRate, bad: true,
    read: fixed(["errors", (lives) => addUp(["output_errors", "scan_errors", "parse_errors"]
      .flatMap((suffix) => lives.flatMap((life) => seriesOf(life, suffix).map(ratesOf))))]) },
  { name: "queue", title: "Queue fill", format: formatRate, labelled: true, read: queueFill },
  { name: "latency", title: "Batch latency", format: formatDuration, read: fixed(["mean", latency]) },
  { name: "inflight", title: "Batches in flight", format: formatRate,
    read: fixed(["in flight", gauge("inflight_batches")]) },
  { name: "batches", title: "Batches /min", format: formatRate,
    read: fixed(["batches", (lives) => scaled(perSecond("batches")(lives), 60)]) },
  { name: "stalls", title: "Stalls /s", format: formatRate, bad: true,
    read: fixed(["stalls", perSecond("backpressure_stalls")]) },
  { name: "cpu", title: "CPU, % of a core", format: formatRate, read: fixed(["used", cpu]) },
  { name: "memory", title: "Memory", format: formatBytes, binary: true,
    read: fixed(["resident", memory]) },
];

/* What a chart shows of these lives between from and to: rows of [t, value...] with a row of nulls
 * between two lives. Pure. */
export function chartData(chart, lives, from, to, ends) {
  const parts = chart.read(lives);
  const periods = periodsOf(lives).filter((period) => period.to >= from && period.from <= to);
  const rows = new Map();
  parts.forEach(([, pairs], column) => {
    for (const [t, value] of pairs) {
      if (t < from || t > to) continue;
      if (!rows.has(t)) rows.set(t, [t, ...parts.map(() => null)]);
      rows.get(t)[column + 1] = value;
    }
  });
  let gaps = 0;
  periods.slice(1).forEach((period, i) => {
    const t = (periods[i].to + period.from) / 2;
    rows.set(t, [t, ...parts.map(() => null)]);
    gaps++;
  });
  const markers = periods.filter((period) => ends.get(period.start)?.state === "crashed")
    .map((period) => period.to);
  const sorted = [...rows.values()].sort((a, b) => a[0] - b[0]);
  const values = sorted.flatMap((row) => row.slice(1)).filter((value) => value !== null);
  const told = sorted.filter((row) => row.slice(1).some((value) => value !== null));
  return { labels: parts.map(([label]) => label), rows: sorted, gaps, markers, points: values.length,
    max: values.reduce((a, b) => Math.max(a, b), -Infinity),
    min: values.reduce((a, b) => Math.min(a, b), Infinity), first: told[0] ?? null, last: told.at(-1) ?? null };
}

/* The top of the axis: 1, 2 or 5 times a power of ten at or above what is drawn. Pure. */
export function axisTop(max, binary) {
  if (!(max > 0)) return binary ? 1024 : 1;
  const base = binary ? 1024 ** Math.floor(Math.log(max) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(max / base));
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((one) => one * power * base >= max * 1.02) ?? 12;
  return step * power * base;
}

/* ---- the document ---- */

const drawn = new Map(); // name -> {figure, plot, graph, data, value, range}

let palette = null;

/* Read once: asking for a style makes the browser work it out for the whole page. */
function colours() {
  if (palette !== null) return palette;
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  palette = { grid: of("--line"), axis: of("--faint"), bad: of("--bad"),
    series: ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"].map(of) };
  return palette;
}

/* After light became dark, or dark light. */
export function forgetColours() {
  palette = null;
}

/* Draws what is due; a chart that is out of sight is drawn now and then, and when it comes in sight. */
function paint(entry) {
  const { chart, due } = entry;
  if (due === null || (!entry.seen && entry.putOff++ % UNSEEN_EVERY !== 0)) return;
  entry.due = null;
  if (entry.data.rows.length === 0) {
    entry.graph?.destroy();
    entry.graph = null;
    return;
  }
  const now = options(chart, entry, axisTop(entry.data.max, chart.binary), due.from, due.to);
  if (entry.graph !== null && entry.graph.getLabels().length !== now.labels.length) {
    entry.graph.destroy();
    entry.graph = null;
  }
  if (entry.graph === null) makeGraph(chart, entry, now);
  else entry.graph.updateOptions(now);
}

function watchCharts() {
  const watcher = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const entry = drawn.get(target.dataset.chart);
      entry.seen = isIntersecting;
      if (isIntersecting) requestAnimationFrame(() => paint(entry));
    }
  }, { rootMargin: "200px" });
  for (const { figure } of drawn.values()) watcher.observe(figure);
}

export function makeCharts() {
  const grid = byId("charts");
  for (const chart of CHARTS) {
    const value = make("p", { class: "values" }, NONE), range = make("p", { class: "range" });
    const plot = make("div", { class: "plot", role: "img", "aria-label": `${chart.title}: no data yet` });
    const figure = make("figure", { class: "chart", "data-chart": chart.name, "data-gaps": "0",
      "data-markers": "0", "data-points": "0", "data-max": "", "aria-labelledby": `chart-${chart.name}` },
    make("figcaption", null, make("h3", { id: `chart-${chart.name}` }, chart.title), value), plot, range);
    grid.append(figure);
    drawn.set(chart.name, { chart, figure, plot, graph: null, data: null, due: null, seen: false, putOff: 0, value, range });
  }
  watchCharts();
}

function drawMarkers(entry, canvas, area, graph) {
  const { bad } = colours();
  for (const t of entry.data.markers) {
    const x = Math.round(graph.toDomXCoord(t)) + 0.5;
    canvas.strokeStyle = canvas.fillStyle = bad;
    canvas.lineWidth = 1;
    canvas.setLineDash([3, 2]);
    canvas.beginPath();
    canvas.moveTo(x, area.y);
    canvas.lineTo(x, area.y + area.h);
    canvas.stroke();
    canvas.setLineDash([]);
    canvas.font = "10px system-ui, sans-serif";
    canvas.textAlign = x > area.x + area.w - 60 ? "right" : "left";
    canvas.fillText("crashed", x + (canvas.textAlign === "right" ? -4 : 4), area.y + area.h / 4);
  }
}

function showReadout(chart, entry, row) {
  const { labels } = entry.data;
  replace(entry.value, ...(row === null ? [NONE] : labels.map((label, i) => {
    const [, name, unit] = /^(.*) (%|items)$/.exec(label) ?? [null, label, ""];
    const swatch = make("span", { class: `swatch swatch-${chart.bad ? "bad" : i + 1}` });
    return make("span", { class: "value" }, ...(labels.length > 1 || chart.labelled ? [swatch, `${name} `] : []),
      make("b", null, row[i + 1] === null ? NONE : chart.format(row[i + 1])), unit ? ` ${unit} ` : " ");
  })));
}

function options(chart, entry, top, from, to) {
  const tint = colours();
  return {
    file: entry.data.rows.map(([t, ...values]) => [new Date(t), ...values]),
    labels: ["t", ...entry.data.labels], dateWindow: [from, to], valueRange: [0, top * 1.06],
    colors: chart.bad ? [tint.bad] : tint.series, gridLineColor: tint.grid, axisLineColor: tint.grid,
  };
}

/* Nothing, half, all: told from 0 to the top, whatever it is. */
const axisTicks = (top, option) => [0, top / 2, top].map((v) =>
  ({ v, label: option("axisLabelFormatter")(v) }));

function makeGraph(chart, entry, now) {
  const { Dygraph } = globalThis;
  const { file, ...rest } = now;
  entry.graph = new Dygraph(entry.plot, file, {
    ...rest, interactionModel: {}, legend: "never", strokeWidth: 1.5, fillGraph: now.labels.length === 2, fillAlpha: 0.12,
    drawGapEdgePoints: true, axisLabelFontSize: 10, gridLineWidth: 1, highlightCircleSize: 3,
    axes: { y: { axisLabelWidth: 48, ticker: (bottom, height, pixels, option) => axisTicks(height / 1.06, option),
      axisLabelFormatter: (value) => (chart.binary ? formatBytes(value) : chart.name === "latency"
        ? formatDuration(value) : formatRate(value)) },
    x: { pixelsPerLabel: 50, axisLabelFormatter: (date) => formatClock(date).replace(/:00$/, "") } },
    underlayCallback: (canvas, area, graph) => drawMarkers(entry, canvas, area, graph),
    highlightCallback: (event, t) => {
      const row = entry.data.rows.find((one) => one[0] === t);
      if (row) {
        showReadout(chart, entry, row);
        setText(entry.range, `at ${formatClock(t)}`);
      }
    },
    unhighlightCallback: () => describe(chart, entry),
  });
}

function describe(chart, entry) {
  const { data } = entry;
  showReadout(chart, entry, data.last);
  const least = chart.format(data.min), most = chart.format(data.max);
  const range = data.points === 0 ? "not published" : least === most ? `${most} throughout` : `${least} to ${most}`;
  const events = (data.gaps ? `, restarted ${data.gaps === 1 ? "once" : data.gaps + " times"}` : "") +
    (data.markers.length ? `, crashed at ${data.markers.map((t) => formatClock(t)).join(", ")}` : "");
  setText(entry.range, range + (data.markers.length ? " · crashed" : data.gaps ? " · restarted" : ""));
  entry.range.title = range + events;
  entry.plot.setAttribute("aria-label",
    `${chart.title}: last ${entry.value.textContent.trim()}; ${range}${events}`);
}

/* Draws one chart; main.js gives each a task of its own. */
export function showChart(chart, lives, from, to, ends) {
  const entry = drawn.get(chart.name);
  const data = entry.data = chartData(chart, lives, from, to, ends);
  setData(entry.figure, "gaps", data.gaps);
  setData(entry.figure, "markers", data.markers.length);
  setData(entry.figure, "points", data.points);
  setData(entry.figure, "max", data.points ? data.max : "");
  setData(entry.figure, "from", data.first?.[0] ?? "");
  setData(entry.figure, "to", data.last?.[0] ?? "");
  setData(entry.figure, "last", data.last ? data.last.slice(1).filter((value) => value !== null).join(" ") : "");
  describe(chart, entry);
  entry.figure.classList.toggle("blank", data.points === 0);
  entry.due = { from, to };
  paint(entry);
}

/* dygraphs draws here what it is told; no legend of its own, which would style itself inline. */
export function prepareDygraphs() {
  const { Dygraph } = globalThis;
  const { Axes, Grid } = Dygraph.Plugins;
  Dygraph.PLUGINS = [Axes, Grid];
}
