// SPDX-License-Identifier: Apache-2.0
// The life before this one, as a page learns of it that was opened after the next start: from the
// backlog alone.
import assert from "node:assert/strict";
import test from "node:test";
import { inFlightOf, lastValues, leftBy, pastLife } from "../../../sidecar/dashboard/previous.js";
import { Lineage, isOver, lifeIs } from "../../../sidecar/dashboard/lineage.js";
import { lanesOf, spansToDraw, stageOf } from "../../../sidecar/dashboard/traces.js";
import { Store } from "../../../sidecar/dashboard/store.js";
import { START, integer, logs, line, metrics, nanos, point, span, spans, sum, take, text } from "./build.mjs";

const BEFORE = { pid: 7, instance: "one" }, NOW = { pid: 8, instance: "two" };
const RESTART = START + 60000;
const both = (name, a, b) => ({ [name]: [...a[name], ...b[name]] });

/* What a sidecar sends first: both lives in each document, the dead one's active spans with the time
 * of its last reading as their end. */
const BACKLOG = [
  both("resourceMetrics",
    metrics(BEFORE, sum("p.uptime_seconds", point(START + 8000, 8)),
      sum("p.input_lines", point(START + 6000, 90), point(START + 8000, 120))),
    metrics(NOW, sum("p.uptime_seconds", point(RESTART + 2000, 2, RESTART)),
      sum("p.input_lines", point(RESTART + 2000, 4, RESTART)))),
  both("resourceSpans",
    spans(BEFORE, span("a1", { t: START + 5000 }),
      span("a3", { t: START + 7900, ms: 100, active: true, attributes: [text("stage", "output"),
        integer("worker_id", 2), integer("input_rows", 33)] }),
      span("a2", { t: START + 7000, ms: 1000, active: true, attributes: [text("stage", "scan")] })),
    spans(NOW, span("b1", { t: RESTART + 1900, ms: 100, active: true }))),
  both("resourceLogs", logs(BEFORE, "fwdscope.forwarder", line(START + 7999, "the last words")),
    logs(NOW, "fwdscope.forwarder", line(RESTART + 1, "the first words"))),
];
const TICKS = [4000, 6000].flatMap((ms) => [
  metrics(NOW, sum("p.input_lines", point(RESTART + ms, 9, RESTART))), spans(NOW)]);
const forwarder = { instance: "ship", writer: { state: "alive", started_unix_ns: nanos(RESTART) },
  region: { uuid: "two" }, pipelines: [], previous: { writer: { state: "crashed",
    started_unix_ns: nanos(START) }, region: { uuid: "one" } } };

function opened(...documents) {
  const store = take(new Store(), ...documents), lineage = new Lineage();
  lineage.learn(store.lives.values(), [forwarder]);
  const lives = lineage.livesOf(store.lives.values(), forwarder);
  const find = (side) => lives.find((life) => lifeIs(life, side));
  return { store, lives, before: find(forwarder.previous), now: find(forwarder) };
}

test("the life before is known, with its last counters", () => {
  const { before } = opened(...BACKLOG);
  assert.equal(pastLife(forwarder).side, forwarder.previous);
  assert.ok(isOver(forwarder.previous) && !isOver(forwarder));
  assert.deepEqual(lastValues(before, nanos(START)).map(([, name, value]) => [name, value]),
    [["uptime_seconds", 8], ["input_lines", 120]]);
});

test("what it died with is in flight, oldest first, however often the next life ticks", () => {
  for (const documents of [BACKLOG, [...BACKLOG, ...TICKS], [...BACKLOG, ...TICKS, ...BACKLOG]]) {
    const { before } = opened(...documents);
    const flying = inFlightOf(leftBy(before, pastLife(forwarder), forwarder));
    assert.deepEqual(flying.map(({ span: one }) => one.id), ["a2", "a3"]);
    assert.match(flying[1].words, /^in stage output, 33 rows, worker 2, begun .*, 100\u202fms old at the last reading$/);
  }
  assert.equal(opened(...BACKLOG, ...TICKS).now.active.size, 0, "the living one's are over");
  assert.deepEqual(leftBy(undefined, pastLife(forwarder), forwarder), []);
});

test("only the living have live bars", () => {
  const { lives, now } = opened(...BACKLOG);
  const drawn = spansToDraw(lives, now, START);
  assert.deepEqual(drawn.filter((one) => one.active).map((one) => one.id), ["b1"]);
  assert.deepEqual(drawn.filter((one) => one.cut).map((one) => [one.id, stageOf(one)]),
    [["a3", "cut off in stage output"], ["a2", "cut off in stage scan"]]);
  assert.equal(spansToDraw(lives, undefined, START).filter((one) => one.active).length, 0);
  assert.equal(lanesOf(drawn, START).lanes.length, 3);
});
