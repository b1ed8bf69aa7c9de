// SPDX-License-Identifier: Apache-2.0
// The rules of the page: back-off, verdict, ledger, the blocking edge, rates, lanes, filters, words.
import assert from "node:assert/strict";
import test from "node:test";
import { BACKLOG_SECONDS, backlogSeconds, backoffMs } from "../../../sidecar/dashboard/stream.js";
import { POLL_MS, RateBook, forwardersOf, pollWaitMs } from "../../../sidecar/dashboard/status.js";
import { judgeForwarder } from "../../../sidecar/dashboard/verdict.js";
import { blockedEdge, flowWords } from "../../../sidecar/dashboard/flow.js";
import { ledgerOf } from "../../../sidecar/dashboard/ledger.js";
import { lanesOf } from "../../../sidecar/dashboard/traces.js";
import { filterLogs, lossWords, severityName } from "../../../sidecar/dashboard/logs.js";
import { pastLife } from "../../../sidecar/dashboard/previous.js";
import { formatBytes, formatCount, formatDuration, formatRate, plural } from "../../../sidecar/dashboard/format.js";
import { readSpan } from "../../../sidecar/dashboard/otlp.js";
import { START, integer, nanos, span, text } from "./build.mjs";

const pipeline = (more = {}) => ({ name: "main",
  inputs: [{ name: "in", type: "file", health: "healthy", lines_total: 1000, bytes_total: 9, errors: 0 }],
  transform: { sql: "", health: "healthy", lines_in: 990, lines_out: 900 },
  outputs: [{ name: "out", type: "tcp", health: "healthy", lines_total: 900, queue: { depth: 50, capacity: 100 } }],
  batches: { dropped_batches_total: 5, avg_rows: 10 }, bottleneck: { stage: "none", reason: "well" }, ...more });
const status = (more = {}, state = {}, at = START) => ({ ready: { status: "ready", reason: "all_components_healthy",
  observed_at_unix_ns: nanos(at) }, pipelines: [pipeline(more)],
writer: { state: "alive", reason: "because", pid: 7, started_unix_ns: "1", generation: 1, ...state } });
const judge = (reading) => judgeForwarder(reading, forwardersOf(reading)[0] ?? null, new RateBook());

test("back-off doubles from 1 s to 30 s, and no two clients agree", () => {
  assert.equal(backoffMs(0, 0.5), 1000);
  assert.equal(backoffMs(3, 0.5), 8000);
  for (let attempt = 0; attempt < 50; attempt++) {
    for (const random of [0, 0.3, 0.999]) {
      const wait = backoffMs(attempt, random);
      assert.ok(wait >= 1000 && wait <= 30000, `${attempt} ${wait}`);
    }
  }
  assert.notEqual(backoffMs(3, 0.1), backoffMs(3, 0.9));
});

test("the first backlog is all, later ones reach back to the last message", () => {
  assert.equal(backlogSeconds(0, START), BACKLOG_SECONDS);
  assert.equal(backlogSeconds(START, START + 20000), 25);
  assert.equal(backlogSeconds(START, START + 3600000), BACKLOG_SECONDS);
  assert.equal(backlogSeconds(START, START - 60000), 5);
});

test("polling slows down when it fails, and no more than to 30 s", () => {
  assert.deepEqual([0, 1, 2, 99].map((failures) => pollWaitMs(failures)), [POLL_MS, 4000, 8000, 30000]);
  assert.deepEqual([100, 500, 60000].map((interval) => pollWaitMs(0, interval)), [250, 500, POLL_MS]);
});

test("the verdict takes the worst that is known, in order", () => {
  assert.equal(judge(status()).state, "well");
  assert.equal(judge({ ready: {}, pipelines: [], writer: { state: "unknown", reason: "no region" } }).state, "waiting");
  for (const state of ["crashed", "exited", "stalled"]) {
    assert.equal(judge(status({ bottleneck: { stage: "output", reason: "full" } }, { state })).state, state);
  }
  assert.match(judge(status({}, { state: "crashed", signal: 11, signal_name: "SIGSEGV" })).title, /SIGSEGV/);
  for (const stage of ["output", "input", "transform", "scan"]) {
    const verdict = judge(status({ bottleneck: { stage, reason: "the numbers" } }));
    assert.deepEqual([verdict.state, verdict.evidence], [stage, "the numbers"]);
  }
  assert.match(judge(status({}, { state: "crashed", heartbeat_age_ms: 5000 })).evidence, /^because\. Last sign of life at \d\d:/);
  const starting = status({ inputs: [{ name: "in", health: "starting" }] });
  starting.ready = { status: "not_ready", reason: "components_starting" };
  assert.equal(judge(starting).state, "unready");
  const degraded = judge(status({ outputs: [{ name: "out", health: "degraded" }] }));
  assert.deepEqual([degraded.state, degraded.degraded], ["well", true]);
});

test("each forwarder has its own pipelines", () => {
  const reading = { pipelines: [pipeline({ instance: "a" }), pipeline({ instance: "b" })],
    forwarders: [{ instance: "a", writer: {} }, { instance: "b", writer: {} }] };
  assert.deepEqual(forwardersOf(reading).map((one) => one.pipelines.length), [1, 1]);
  assert.deepEqual(forwardersOf({}), []);
});

test("rates: from two readings of one life; a restart starts over", () => {
  const book = new RateBook(), name = "input main/in/lines_total";
  const at = (lines, t, started) => status({ inputs: [{ name: "in", lines_total: lines }] }, { started_unix_ns: started }, t);
  book.take(at(1000, START, "1"));
  assert.equal(book.rate("", name), undefined);
  book.take(at(1200, START + 2000, "1"));
  assert.equal(book.rate("", name), 100);
  book.take(at(5, START + 4000, "2"));
  assert.equal(book.rate("", name), undefined);
  book.take(at(2, START + 6000, "2"));
  assert.equal(book.rate("", name), undefined, "a total that fell");
});

test("the ledger adds up, and says what it does not know", () => {
  const books = ledgerOf(pipeline());
  assert.deepEqual([books.read, books.delivered, books.queued, books.dropped, books.unknown], [1000, 900, 50, 5, 45]);
  assert.equal(books.read, books.delivered + books.queued + books.dropped + books.unknown);
  const blind = ledgerOf({ name: "x", inputs: [{ name: "in" }], outputs: [] });
  assert.deepEqual([blind.read, blind.delivered, blind.unknown], [undefined, undefined, undefined]);
  assert.equal(blind.notes.length, 2);
});

test("the blocking edge is that of the output which is named", () => {
  const outputs = [{ name: "a", queue: { depth: 9, capacity: 10 } }, { name: "b", queue: { depth: 1, capacity: 10 } }];
  assert.equal(blockedEdge(pipeline()), null);
  const held = (reason) => blockedEdge({ outputs, bottleneck: { stage: "output", reason } });
  assert.equal(held("output b: queue 1/10").output.name, "b");
  assert.equal(held("waiting took 9 s").output.name, "a");
  assert.equal(blockedEdge({ bottleneck: { stage: "scan" } }).edge, "input");
});

test("who stands still does not run well, whatever was last read of it", () => {
  const held = { bottleneck: { stage: "output", reason: "output a: queue 9/10" } };
  assert.equal(flowWords(pipeline(), "alive"), "well");
  assert.equal(flowWords(pipeline(), "silent"), "As last read: well");
  for (const state of ["crashed", "exited", "stalled"]) {
    assert.match(flowWords(pipeline(), state), /nothing moves/);
    assert.doesNotMatch(flowWords(pipeline(), state), /well/);
    assert.match(flowWords(held, state), /queue 9\/10/);
  }
});

test("lanes: by worker, children in their batch, overlaps in rows, the newest where there are too many", () => {
  const worker = (number) => [text("pipeline", "main"), integer("worker_id", number)];
  const list = [span("01", { attributes: worker(1) }), span("02", { parent: "01", t: START + 5, ms: 2 }),
    span("03", { t: START + 5, attributes: worker(1) }), span("04", { active: true }),
    span("05", { parent: "gone", attributes: worker(2) })].map(readSpan);
  const { lanes } = lanesOf(list, START - 1);
  assert.deepEqual(lanes.map((lane) => [lane.name, lane.rows.length]),
    [["main · worker 1", 2], ["main · worker 2", 1], ["no worker yet", 1]]);
  assert.equal(lanes[0].rows[0][0].children.length, 1);
  const many = Array.from({ length: 50 }, (_, i) => readSpan(span(`a${i}`, { t: START + i * 20 })));
  const cut = lanesOf(many, START, 10);
  assert.equal(cut.hidden, 40);
  assert.equal(cut.lanes[0].rows[0].at(-1).span.id, "a49");
});

test("the log filter: severity, text without regard to case, losses always", () => {
  const log = (t, severity, body, lost = null) => ({ t, severity, body, lost });
  const life = { logsSorted: false, logs: [log(3, 17, "Broken (a.b)"), log(1, 9, "fine"), log(2, 13, "", { logs: 4, spans: 0, ticks: 0 })] };
  const bodies = (filter) => filterLogs([life], { severity: 0, search: "", ...filter }).map((one) => one.body);
  assert.deepEqual(bodies({}), ["fine", "", "Broken (a.b)"]);
  assert.deepEqual(bodies({ severity: 17 }), ["", "Broken (a.b)"]);
  assert.deepEqual(bodies({ search: "BROKEN (A.B)" }), ["", "Broken (a.b)"]);
  assert.deepEqual(bodies({ search: "(axb)" }), [""]);
  assert.equal(lossWords({ logs: 4, spans: 0, ticks: 2 }), "4 log lines lost, 2 ticks lost");
  assert.deepEqual([1, 9, 12, 17, 24, 0].map(severityName), ["trace", "info", "info", "error", "fatal", ""]);
});

test("the past life: this one if it is over, else the one before", () => {
  const before = { writer: { state: "crashed" } };
  assert.equal(pastLife({ writer: { state: "exited" }, previous: before }).which, "current");
  assert.equal(pastLife({ writer: { state: "alive" }, previous: before }).side, before);
  assert.equal(pastLife({ writer: { state: "alive" }, previous: null }), null);
  assert.equal(pastLife(null), null);
});

test("numbers in words", () => {
  const plain = (words) => words.replaceAll("\u202f", " ");
  assert.equal(plain(formatCount(1234567)), "1 234 567");
  assert.equal(formatCount(undefined), "–");
  assert.equal(plain(formatCount(-12345.5)), "-12 345.5");
  assert.equal(formatCount(4711), "4711");
  assert.deepEqual([0, 0.001, 0.5, 0.9999999, 42, 1999.6, 2.5e6, Infinity, undefined].map(formatRate).map(plain),
    ["0", "<0.01", "0.50", "1", "42", "2000", "2.50 M", "–", "–"]);
  assert.deepEqual([0, 1023, 1536, 8 << 20].map(formatBytes).map(plain), ["0 B", "1023 B", "1.5 KiB", "8.0 MiB"]);
  assert.deepEqual([0, 0.25, 2.5, 250, 2000, 65000, 7200000, NaN].map(formatDuration).map(plain),
    ["0 s", "250 µs", "2.5 ms", "250 ms", "2 s", "1 min 5 s", "2 h 0 min", "–"]);
  assert.deepEqual([plural(1, "span"), plural(2, "batch", "batches")], ["1 span", "2 batches"]);
});
