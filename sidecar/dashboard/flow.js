// SPDX-License-Identifier: Apache-2.0
// The flow of each pipeline: inputs -> queue -> transform -> queue -> outputs, with totals, rates and
// fill. The edge that holds it up is marked by colour and by words.
import { isCount } from "./exact.js";
import { isOver } from "./lineage.js";
import { formatBytes, formatCount, formatDuration, formatRate } from "./format.js";
import { byId, fact, make, numberOf, replace } from "./dom.js";

const COUNTERS = [["lines_total", "lines", formatCount], ["bytes_total", "bytes", formatBytes],
  ["errors", "errors", formatCount], ["rotations", "rotations", formatCount],
  ["parse_errors", "parse errors", formatCount]];
const STILL = new Set(["crashed", "exited", "stalled"]);
const QUIET_AT_ZERO = new Set(["rotations", "parse_errors"]);

/* Which edge a pipeline's bottleneck lies on: {edge, output?}; null: none. Pure. */
export function blockedEdge(pipeline) {
  const { stage, reason } = pipeline.bottleneck ?? {};
  if (stage === "output") {
    const outputs = pipeline.outputs ?? [];
    const fill = (output) => (output.queue ? Number(output.queue.depth) / (Number(output.queue.capacity) || 1) : -1);
    const named = outputs.filter((output) => String(reason).startsWith(`output ${output.name}:`));
    const worst = [...(named.length ? named : outputs)].sort((a, b) => fill(b) - fill(a))[0];
    return { edge: "output", output: worst };
  }
  if (stage === "input" || stage === "scan") return { edge: "input" };
  return stage === "transform" ? { edge: "transform" } : null;
}

function queueMeter(name, queue) {
  if (!queue) return null;
  const full = queue.capacity > 0 ? Math.min(1, Number(queue.depth) / Number(queue.capacity)) : null;
  const meter = make("span", { class: "meter", "aria-hidden": "true" }, make("span", { class: "fill" }));
  if (full !== null) meter.firstChild.style.width = `${(full * 100).toFixed(1)}%`;
  if (full !== null && full >= 0.8) meter.classList.add("high");
  return make("span", { class: "queue" }, "queue ",
    numberOf(`${name}/queue.depth`, queue.depth, formatCount(queue.depth)),
    ...(queue.capacity === undefined ? [] : [" / ",
      numberOf(`${name}/queue.capacity`, queue.capacity, formatCount(queue.capacity))]),
    full === null ? null : meter);
}

function edge(blocked, word, ...content) {
  return make("div", { class: "edge" + (blocked ? " blocking" : "") },
    make("span", { class: "arrow", "aria-hidden": "true" }),
    blocked ? make("strong", { class: "held" }, word) : null, ...content);
}

/* What a component says of itself; who stands still said it before. */
function healthOf(component, still) {
  return make("span", { class: "health" }, still ? `was ${component.health}` : component.health);
}

function endpoint(role, pipeline, component, { rate, still }) {
  const name = `${pipeline.name}/${component.name}`;
  return make("article", { class: "node", "data-health": still ? "past" : component.health },
    make("h4", null, make("span", { class: "role" }, role), " ", make("bdi", null, component.name)),
    make("p", { class: "about" }, make("bdi", null, component.type || "–"), " · ", healthOf(component, still)),
    make("p", { class: "rate" }, formatRate(rate(`${role} ${name}/lines_total`)), make("small", null, " lines/s")),
    make("dl", null, COUNTERS.flatMap(([key, word, format]) =>
      component[key] === undefined || (QUIET_AT_ZERO.has(key) && component[key] === 0) ? []
        : fact(word, numberOf(`${name}/${key}`, component[key], format(component[key]))))));
}

function transformNode(pipeline, transform, blocked, { rate, still }) {
  const name = `${pipeline.name}/transform`;
  const number = (key, word) => (transform[key] === undefined ? []
    : fact(word, numberOf(`${name}/${key}`, transform[key], formatCount(transform[key]))));
  return make("article", { class: "node" + (blocked ? " blocking" : ""), "data-health": still ? "past" : transform.health },
    make("h4", null, make("span", { class: "role" }, "transform")),
    make("p", { class: "about" }, transform.sql ? make("bdi", null, transform.sql) : "none", " · ",
      healthOf(transform, still)),
    blocked ? make("strong", { class: "held" }, "held up here") : null,
    make("p", { class: "rate" }, formatRate(rate(`transform ${pipeline.name}/lines_in`)), make("small", null, " lines/s in")),
    make("dl", null, number("lines_in", "in"), number("lines_out", "out"), number("errors", "errors"),
      transform.filter_drop_rate === undefined ? [] : fact("filtered or under way",
        `${(transform.filter_drop_rate * 100).toFixed(1)} %`)));
}

const BATCHES = [["total", "batches"], ["rows_total", "rows"], ["avg_rows", "rows a batch"],
  ["inflight", "in flight"], ["flush_by_size", "sent full"], ["flush_by_timeout", "sent by timeout"],
  ["dropped_batches_total", "dropped"], ["scan_errors_total", "scan errors"],
  ["parse_errors_total", "parse errors"]];

function batchFacts(pipeline) {
  const batches = pipeline.batches ?? {}, stages = pipeline.stage_seconds ?? {};
  const facts = BATCHES.filter(([key]) => batches[key] !== undefined).flatMap(([key, word]) =>
    fact(word, numberOf(`${pipeline.name}/batches/${key}`, batches[key], formatCount(batches[key]))));
  if (isCount(batches.batch_latency_avg_ns))
    facts.push(...fact("mean latency", numberOf(`${pipeline.name}/batches/batch_latency_avg_ns`,
      batches.batch_latency_avg_ns, formatDuration(Number(batches.batch_latency_avg_ns) / 1e6))));
  if (pipeline.backpressure_stalls !== undefined)
    facts.push(...fact("stalls", numberOf(`${pipeline.name}/backpressure_stalls`,
      pipeline.backpressure_stalls, formatCount(pipeline.backpressure_stalls))));
  for (const [stage, seconds] of Object.entries(stages))
    facts.push(...fact(`time in ${stage.replace("_", " ")}`, numberOf(`${pipeline.name}/stage_seconds/${stage}`,
      seconds, formatDuration(seconds * 1000))));
  return make("dl", { class: "facts" }, facts);
}

/* The words above a pipeline: where it is held up, and how much of it still holds. Pure. */
export function flowWords(pipeline, state) {
  const { stage, reason = "" } = pipeline.bottleneck ?? {};
  const held = stage !== undefined && stage !== "none";
  if (state === "crashed" || state === "exited")
    return `Its last numbers: it ${state}, nothing moves any more.` + (held ? ` When it ended: ${reason}.` : "");
  if (state === "stalled") return "Its last numbers: nothing moves while it is stalled." + (held ? ` Before: ${reason}.` : "");
  return (state === "silent" ? "As last read: " : "") + reason;
}

function pipelineFlow(pipeline, { rate, state }) {
  const blocked = blockedEdge(pipeline), still = STILL.has(state), how = { rate, still };
  const inputs = pipeline.inputs ?? [], outputs = pipeline.outputs ?? [];
  const named = (input) => (inputs.length > 1 && input.queue
    ? make("span", { class: "of" }, make("bdi", null, input.name)) : null);
  return make("div", { class: "pipeline" },
    make("h3", null, "Pipeline ", make("bdi", null, pipeline.name),
      pipeline.stale || pipeline.batches?.stale ? make("span", { class: "stale" }, " · an older reading") : null),
    make("p", { class: "reason" + (blocked || still ? " bad" : "") }, flowWords(pipeline, state)),
    make("div", { class: "flow" },
      make("div", { class: "stage" + (inputs.length > 2 ? " many" : "") },
        inputs.map((input) => endpoint("input", pipeline, input, how))),
      edge(blocked?.edge === "input", "held up here", inputs.map((input) =>
        [named(input), queueMeter(`${pipeline.name}/${input.name}`, input.queue)]).flat()),
      make("div", { class: "stage" },
        transformNode(pipeline, pipeline.transform ?? {}, blocked?.edge === "transform", how)),
      make("div", { class: "stage branches" }, outputs.map((output) => make("div", { class: "branch" },
        edge(blocked?.edge === "output" && blocked.output === output, "held up here",
          queueMeter(`${pipeline.name}/${output.name}`, output.queue)),
        endpoint("output", pipeline, output, how))))),
    batchFacts(pipeline));
}

/* silent: the sidecar does not answer, so this is how it was. */
export function showFlow(forwarder, rates, silent) {
  const state = silent && !STILL.has(forwarder?.writer.state) ? "silent" : forwarder?.writer.state;
  const rate = (name) => (isOver(forwarder) ? undefined : rates.rate(forwarder.instance, name));
  replace(byId("flow"), ...(forwarder?.pipelines.length
    ? forwarder.pipelines.map((pipeline) => pipelineFlow(pipeline, { rate, state }))
    : [make("p", { class: "empty" }, forwarder === null ? "No forwarder is attached." : "It has registered no pipeline.")]));
}
