// SPDX-License-Identifier: Apache-2.0
// The store: bounds, what comes twice, resets; and what the charts make of it.
import assert from "node:assert/strict";
import test from "node:test";
import * as store from "../../../sidecar/dashboard/store.js";
import { Lineage, periodsOf } from "../../../sidecar/dashboard/lineage.js";
import { CHARTS, axisTop, chartData } from "../../../sidecar/dashboard/charts.js";
import { leftBy, pastLife } from "../../../sidecar/dashboard/previous.js";
import { spansToDraw } from "../../../sidecar/dashboard/traces.js";
import { START, gauge, integer, line, logs, metrics, nanos, point, span, spans, sum, take,
  text } from "./build.mjs";

const { Store } = store;
const lifeOf = (held) => [...held.lives.values()][0];
const lines = CHARTS.find((chart) => chart.name === "lines");

function running(from, count, { start = START, first = 0, step = 100, who = {} } = {}) {
  return Array.from({ length: count }, (_, i) => metrics(who,
    gauge("p.uptime_seconds", point(from + i * 2000, i, start)),
    sum("p.input_lines", point(from + i * 2000, first + i * step, start))));
}

test("a backlog that comes again adds nothing, and is counted", () => {
  const held = take(new Store(), ...running(START + 2000, 5));
  const { points } = held;
  take(held, ...running(START + 2000, 6));
  assert.equal(held.points, points + 2);
  assert.equal(held.duplicates, points);
});

test("points of one document that come by several attribute sets stay apart", () => {
  const of = (stage, t, value) => point(t, value, START, [text("stage", stage)]);
  const held = take(new Store(), metrics({}, sum("p.batches", of("a", START + 1, 1),
    of("b", START + 1, 10), of("a", START + 2, 2), of("b", START + 2, 20))));
  assert.deepEqual(store.seriesOf(lifeOf(held), "batches").map((series) => series.points.length), [2, 2]);
});

test("a finished span counts once; the active ones are replaced at each tick", () => {
  const held = take(new Store(), spans({}, span("01"), span("02", { active: true })), spans({}, span("01"),
    span("02"), span("03", { active: true })));
  assert.equal(lifeOf(held).spans.length, 2);
  assert.deepEqual([...lifeOf(held).active.keys()], ["03"]);
  assert.equal(held.duplicates, 1);
});

test("a life that goes on without active spans has none; one that ended keeps what was in flight", () => {
  const held = take(new Store(), ...running(START + 2000, 1), spans({}, span("01", { active: true })));
  assert.equal(lifeOf(held).active.size, 1);
  take(held, ...running(START + 2000, 1)); // the same points again: no new tick of this life
  assert.equal(lifeOf(held).active.size, 1);
  take(held, ...running(START + 4000, 1), ...running(START + 6000, 1));
  assert.equal(lifeOf(held).active.size, 0);
});

/* Two lives as a client that comes in the second one is told of them; as one that saw both is. */
function killedAndBack(who, next, seen) {
  const left = span("01", { t: START + 5000, active: true }), now = span("02", { t: START + 33000, active: true });
  const first = running(START + 2000, 5, { who }), second = running(START + 34000, 2,
    { start: START + 31000, who: next });
  const both = { resourceSpans: [...spans(who, left).resourceSpans, ...spans(next, now).resourceSpans] };
  const held = take(new Store(), ...first, ...seen ? [spans(who, left), ...second, spans(next, now)]
    : [...second, both, ...running(START + 38000, 1, { start: START + 31000, who: next }), spans(next, now)]);
  const forwarder = { instance: "ship", writer: { state: "alive", started_unix_ns: nanos(START + 31000) },
    region: {}, pipelines: [], previous: { writer: { state: "crashed", started_unix_ns: nanos(START) } } };
  const lineage = new Lineage();
  lineage.learn(held.lives.values(), [forwarder]);
  return { forwarder, lives: lineage.livesOf(held.lives.values(), forwarder) };
}

test("what a life left in flight is its own, never under way in the next, even under the same key", () => {
  for (const next of [{ pid: 8, instance: "two" }, {}]) {
    for (const seen of [false, true]) {
      const { forwarder, lives } = killedAndBack({}, next, seen);
      const past = pastLife(forwarder), life = lives[0];
      assert.equal(lives.length, next.pid ? 2 : 1);
      assert.deepEqual(leftBy(life, past, forwarder).map(({ id }) => id), ["01"]);
      const drawn = spansToDraw(lives, lives.at(-1), START);
      assert.deepEqual(drawn.filter(({ active }) => active).map(({ id }) => id), ["02"]);
      assert.deepEqual(drawn.filter(({ cut }) => cut).map(({ id }) => id), ["01"]);
    }
  }
});

test("lines: a new connection's backlog is known line by line, equal lines are each their own", () => {
  const document = logs({}, "fwdscope.forwarder", line(START, "same"), line(START, "same"), line(START, "other"));
  const held = take(new Store(), document);
  assert.equal(held.held().logs, 3);
  held.connectionBegins();
  take(held, document, logs({}, "fwdscope.forwarder", line(START, "same"), line(START + 5, "new")));
  assert.equal(held.held().logs, 5);
  assert.equal(held.duplicates, 3);
});

test("loss notices are kept among the lines and summed", () => {
  const notice = { ...line(START, "lost"), attributes: [integer("fwdscope.lost.log_records", 5)] };
  const held = take(new Store(), logs({}, "fwdscope", notice));
  assert.equal(held.lost, 5);
  assert.equal(held.held().logs, 0);
  assert.equal(lifeOf(held).logs.length, 1);
});

test("every bound holds", () => {
  const held = new Store();
  const many = Array.from({ length: store.LOGS_PER_LIFE_MAX + 3000 }, (_, i) => line(START + i, `line ${i}`));
  take(held, logs({}, "fwdscope.forwarder", ...many));
  assert.equal(lifeOf(held).logs.length, store.LOGS_PER_LIFE_MAX);
  assert.equal(lifeOf(held).logs.at(-1).body, many.at(-1).body.stringValue);
  const long = Array.from({ length: 600 }, (_, i) => line(START + 1e6 + i, "x".repeat(16384)));
  take(held, logs({}, "fwdscope.forwarder", ...long));
  assert.ok(lifeOf(held).logCharacters <= store.LOG_CHARACTERS_PER_LIFE_MAX);
  const ids = Array.from({ length: store.SPANS_PER_LIFE_MAX + 2000 }, (_, i) => span(i.toString(16), { t: START + i }));
  take(held, spans({}, ...ids));
  assert.equal(lifeOf(held).spans.length, store.SPANS_PER_LIFE_MAX);
  assert.equal(lifeOf(held).spanIds.size, store.SPANS_PER_LIFE_MAX);
  take(held, ...running(START, store.POINTS_PER_SERIES_MAX + 500));
  assert.ok(store.seriesOf(lifeOf(held), "input_lines")[0].points.length <= store.POINTS_PER_SERIES_MAX + 64);
  for (let pid = 0; pid < 40; pid++) take(held, metrics({ pid }, sum("p.x", point(START, 1))));
  assert.equal(held.lives.size, store.LIVES_MAX);
  take(held, metrics({ pid: 99 }, ...Array.from({ length: 1000 }, (_, i) => sum(`p.m${i}`, point(START, i)))));
  assert.equal([...held.lives.values()].at(-1).series.size, store.SERIES_PER_LIFE_MAX);
});

test("a reset is a gap, never a spike: a new start, a total that fell, a new process", () => {
  for (const again of [{ start: START + 30000 }, { start: START }, { start: START + 30000, who: { pid: 8 } }]) {
    const held = take(new Store(), ...running(START + 2000, 10, { first: 1e9 }),
      ...running(START + 32000, 10, again));
    const lives = [...held.lives.values()];
    const data = chartData(lines, lives, START, START + 60000, new Map());
    assert.equal(data.max, 50, JSON.stringify(again));
    assert.equal(data.min, 50);
    assert.equal(data.gaps, again.start === START ? 0 : 1);
    const broken = data.rows.filter((row) => row[1] === null).map((row) => row[0]);
    assert.ok(broken.some((t) => t > START + 20000 && t <= START + 32000));
  }
});

test("a crash is a marker where that life was last heard", () => {
  const held = take(new Store(), ...running(START + 2000, 5),
    ...running(START + 32000, 5, { start: START + 31000, who: { pid: 8, instance: "two" } }));
  const lineage = new Lineage();
  const current = { instance: "ship", writer: { state: "alive", started_unix_ns: nanos(START + 31000) },
    region: {}, pipelines: [], previous: { writer: { state: "crashed", started_unix_ns: nanos(START) } } };
  lineage.learn(held.lives.values(), [current]);
  const lives = lineage.livesOf(held.lives.values(), current);
  assert.equal(lives.length, 2);
  const data = chartData(lines, lives, START, START + 60000, lineage.ends);
  assert.deepEqual([data.gaps, data.markers], [1, [START + 10000]]);
  assert.equal(periodsOf(lives).length, 2);
});

test("queue fill is of each component, in percent where the capacity is known", () => {
  const of = (name, value, component) => gauge(name, point(START, value, START, [text("component", component)]));
  const held = take(new Store(), metrics({}, of("p.queue_depth", 32, "a"), of("p.queue_capacity", 64, "a"),
    of("p.queue_depth", 5, "b")));
  const data = chartData(CHARTS.find((chart) => chart.name === "queue"), [lifeOf(held)], START - 1, START + 1, new Map());
  assert.deepEqual(data.labels, ["a %", "b items"]);
  assert.deepEqual(data.rows, [[START, 50, 5]]);
});

test("latency is of the forwarder's histogram, else of its finished batches", () => {
  const chart = CHARTS.find((one) => one.name === "latency");
  const histogram = (t, count, total) => ({ timeUnixNano: nanos(t), startTimeUnixNano: nanos(START), count: String(count), sum: total });
  const own = take(new Store(), metrics({}, { name: "p.batch_latency", unit: "s",
    histogram: { dataPoints: [histogram(START + 1, 2, 1), histogram(START + 2, 4, 2)] } }));
  assert.deepEqual(chartData(chart, [lifeOf(own)], START, START + 9, new Map()).rows, [[START + 2, 500]]);
  const none = take(new Store(), spans({}, span("01", { t: START, ms: 40 }), span("02", { t: START, ms: 60 })));
  assert.equal(chartData(chart, [lifeOf(none)], START - 1, START + 9000, new Map()).max, 50);
});

test("the axis ends at a round number above what is drawn", () => {
  assert.equal(axisTop(0), 1);
  assert.equal(axisTop(1990), 3000);
  assert.equal(axisTop(100 * 1024, true), 150 * 1024);
});
