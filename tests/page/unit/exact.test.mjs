// SPDX-License-Identifier: Apache-2.0
// Integers beyond 2^53: read, added, subtracted and shown to their last digit.
import assert from "node:assert/strict";
import test from "node:test";
import { countOf, larger, minus, parseExact, plus } from "../../../sidecar/dashboard/exact.js";
import { formatBytes, formatCount, formatDuration } from "../../../sidecar/dashboard/format.js";
import { ledgerOf } from "../../../sidecar/dashboard/ledger.js";
import { readInteger, readMetric } from "../../../sidecar/dashboard/otlp.js";
import { RateBook } from "../../../sidecar/dashboard/status.js";
import { Store, ratesOf, seriesOf } from "../../../sidecar/dashboard/store.js";
import { START, metrics, nanos, point, sum, take } from "./build.mjs";

const EDGE = 2n ** 53n + 1n, INT64 = 2n ** 63n - 1n, UINT64 = 2n ** 64n - 1n;
const digits = (text) => text.replaceAll("\u202f", "");

test("a count is a number while that is safe, and a BigInt beyond", () => {
  assert.equal(countOf("9007199254740991"), 2 ** 53 - 1);
  for (const big of [EDGE, INT64, UINT64, -EDGE]) assert.equal(countOf(String(big)), big);
  assert.equal(readInteger("9007199254740993"), EDGE);
  assert.equal(larger(5, EDGE), EDGE);
});

test("sums and differences are exact, and numbers again when they are small", () => {
  assert.equal(minus(UINT64, UINT64 - 7n), 7);
  assert.equal(plus(2 ** 53 - 1, 2), EDGE);
  assert.equal(minus(5, INT64), 5n - INT64);
  assert.equal(plus(0.5, EDGE), Number(EDGE) + 0.5);
  assert.equal(minus(1.8446744073709552e19, 5), 1.8446744073709552e19 - 5);
  assert.ok(Number.isNaN(minus(undefined, 5)));
});

test("a status keeps every digit, and every string as it is", () => {
  const odd = '\\"12345678901234567890\\\\\\",[9007199254740993]:{';
  const read = parseExact(`{"a":9007199254740993,"b":[9223372036854775807,-9007199254740993,1],` +
    `"c":18446744073709551615,"d":18446744073709.500000,"e":1e300,"s":"${odd}","n":"9007199254740993"}`);
  assert.deepEqual(read, { a: EDGE, b: [INT64, -EDGE, 1], c: UINT64, d: 18446744073709.5, e: 1e300,
    s: JSON.parse(`"${odd}"`), n: "9007199254740993" });
  assert.throws(() => parseExact('{"a":90071992547409931'), SyntaxError);
});

test("shown to the last digit; a double beyond 2^53 says that it is none", () => {
  for (const big of [EDGE, INT64, UINT64]) assert.equal(digits(formatCount(big)), String(big));
  assert.equal(formatCount(Number(UINT64)), "≈1.8447e19");
  assert.equal(digits(formatBytes(INT64)), "8.0EiB");
  assert.equal(digits(formatDuration(5000n)), "5s");
});

test("a total that the stream can only say as a double is read as one", () => {
  const of = (fields) => readMetric({ name: "m", sum: { isMonotonic: true, aggregationTemporality: 2,
    dataPoints: [{ timeUnixNano: nanos(START), ...fields }] } }).points[0].value;
  assert.equal(of({ asInt: String(INT64) }), INT64);
  assert.equal(of({ asDouble: 18446744073709551615 }), 2 ** 64);
});

test("rates of such totals count single lines", () => {
  const held = take(new Store(), metrics({}, sum("p.uptime_seconds", point(START, 1)),
    sum("p.input_lines", point(START + 1000, EDGE), point(START + 2000, EDGE + 1n),
      point(START + 3000, EDGE + 4n))));
  const [series] = seriesOf([...held.lives.values()][0], "input_lines");
  assert.deepEqual(ratesOf(series).map(([, rate]) => rate), [null, 1, 3]);
  const book = new RateBook(), name = "input main/in/lines_total";
  for (const [t, lines] of [[START, INT64], [START + 2000, INT64 + 4n]])
    book.take({ ready: { observed_at_unix_ns: nanos(t) }, writer: { pid: 1, started_unix_ns: "1" },
      pipelines: [{ name: "main", inputs: [{ name: "in", lines_total: lines }] }] });
  assert.equal(book.rate("", name), 2);
});

test("the ledger adds up to the last line", () => {
  const books = ledgerOf({ name: "x", inputs: [{ lines_total: UINT64 }],
    outputs: [{ lines_total: UINT64 - 12n, queue: { depth: 3 } }, { lines_total: 4 }],
    batches: { dropped_batches_total: 2, avg_rows: 1 } });
  assert.deepEqual([books.read, books.delivered, books.queued, books.dropped, books.unknown],
    [UINT64, UINT64 - 12n, 3, 2, 7]);
});
