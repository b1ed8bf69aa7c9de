// SPDX-License-Identifier: Apache-2.0
// The loss ledger: read = delivered + queued + dropped + unknown, from the counters of the status.
// What is not known is a column of its own, and is said.
import { isCount, larger, minus, plus } from "./exact.js";
import { formatCount, plural } from "./format.js";
import { byId, make, numberOf, replace } from "./dom.js";

/* Sums over what is there; undefined when nothing is. */
function sum(values) {
  const known = values.filter(isCount);
  return known.length === 0 ? undefined : known.reduce(plus);
}

/* The books of a pipeline; a part that the forwarder does not count is undefined. Pure. */
export function ledgerOf(pipeline) {
  const inputs = pipeline.inputs ?? [], outputs = pipeline.outputs ?? [];
  const read = sum(inputs.map((input) => input.lines_total));
  const taken = outputs.map((output) => output.lines_total).filter(isCount);
  const delivered = taken.length === 0 ? undefined : taken.reduce(larger);
  const queued = sum([...inputs, ...outputs].map((component) => component.queue?.depth));
  const dropped = pipeline.batches?.dropped_batches_total;
  const unknown = read === undefined || delivered === undefined ? undefined
    : [delivered, queued ?? 0, dropped ?? 0].reduce(minus, read);
  return { read, delivered, queued, dropped, unknown, notes: notesOf(pipeline, { read, delivered, queued, dropped, unknown }) };
}

function notesOf(pipeline, books) {
  const notes = [], rows = pipeline.batches?.avg_rows;
  if (books.read === undefined) notes.push("The inputs count no lines.");
  if (books.delivered === undefined) notes.push("The outputs count no lines.");
  if (books.queued > 0 || books.dropped > 0)
    notes.push("A queued item and a dropped batch are booked as one line each, the least that they hold" +
      (rows > 1 ? `; a batch held ${formatCount(rows)} rows on average.` : "."));
  if (books.unknown > 0) {
    const filtered = pipeline.transform?.lines_in === undefined ? "" : "what the transform left out, ";
    notes.push(`Unknown: ${filtered}lines in batches under way, and what was lost uncounted.`);
  }
  if (books.unknown < 0)
    notes.push("More is booked than was read: lines that arrived twice after a retry, lines that the " +
      "transform made, or a queue that holds what was counted already.");
  if ((pipeline.outputs ?? []).length > 1)
    notes.push("Delivered is the output that took the most; each output gets its own copy.");
  return notes;
}

/* Name of the number, key in the books, words: what is read is the sum of the others. */
const COLUMNS = [["in", "read", "read"], ["delivered", "delivered", "= delivered"], ["queued", "queued", "+ queued"],
  ["dropped", "dropped", "+ dropped"], ["unknown", "unknown", "+ unknown"]];

function share(books) {
  const bar = make("div", { class: "share", "aria-hidden": "true" });
  if (!(books.read > 0)) return bar;
  for (const key of ["delivered", "queued", "dropped", "unknown"]) {
    const part = make("span", { class: key });
    part.style.flexGrow = String(Math.max(0, Number(books[key] ?? 0)) / Number(books.read));
    bar.append(part);
  }
  return bar;
}

function lossRows(region) {
  const words = { spans: "spans", logs: "log lines", logs_cut: "log lines cut short",
    attributes_dropped: "attributes", values_dropped: "values", registrations_refused: "registrations refused" };
  return Object.entries(words).filter(([key]) => region.lost?.[key] !== undefined).map(([key, word]) =>
    make("tr", { class: region.lost[key] > 0 ? "bad" : null }, make("th", { scope: "row" }, word),
      make("td", { class: "number" }, numberOf(`region/lost.${key}`, region.lost[key], formatCount(region.lost[key])))));
}

let lossSeen = false;

export function showLedger(forwarder) {
  const pipelines = forwarder?.pipelines ?? [];
  const head = make("tr", null, make("th", { scope: "col" }, "pipeline"), COLUMNS.map(([, , word]) =>
    make("th", { scope: "col", class: "number" }, word)));
  const notes = new Set(), rows = [], bars = [];
  for (const pipeline of pipelines) {
    const books = ledgerOf(pipeline);
    for (const note of books.notes) notes.add(note);
    rows.push(make("tr", null, make("th", { scope: "row" }, make("bdi", null, pipeline.name)),
      COLUMNS.map(([name, key, word]) => make("td", { "data-word": word, class: `number ${key}` +
        ((key === "dropped" && books[key] > 0) ? " bad" : "") },
      numberOf(`${pipeline.name}/ledger/${name}`, books[key], formatCount(books[key]))))));
    bars.push(share(books));
  }
  replace(byId("ledger"), ...(pipelines.length === 0 ? [make("p", { class: "empty" }, "Nothing to book yet.")] : [
    make("table", { class: "books", "aria-labelledby": "ledger-heading" }, make("thead", null, head), make("tbody", null, rows)), ...bars,
  ]));
  replace(byId("ledger-notes"), ...[...notes].map((note) => make("p", { class: "note" }, note)));
  const region = forwarder?.region ?? {};
  replace(byId("losses"), ...lossRows(region));
  replace(byId("refused"), ...(region.refused ?? []).map((line) => make("li", null, line)));
  byId("refused-title").hidden = (region.refused ?? []).length === 0;
  const lost = plus(region.lost?.spans ?? 0, region.lost?.logs ?? 0);
  if (lost > 0 && !lossSeen) byId("losses-fold").open = true; // once: then it is the reader's to fold
  lossSeen = lost > 0;
  replace(byId("losses-title"), lost === 0 ? "No telemetry was lost in the region"
    : `${plural(lost, "record")} of telemetry lost in the region`);
}
