// SPDX-License-Identifier: Apache-2.0
// The verdict: is it well, where is it stuck, what happened to it; in words, with its evidence. And
// the writer's facts beside it.
import { isOver } from "./lineage.js";
import { readAtMs, startedMs } from "./status.js";
import { formatBytes, formatClock, formatCount, formatDate, formatDuration, formatRate, plural } from "./format.js";
import { byId, fact, make, numberOf, replace, setData, setText } from "./dom.js";

const REASONS = {
  no_pipelines_registered: "it has registered no pipeline yet",
  components_starting: "a component is still starting",
  components_stopping: "a component is stopping",
  components_stopped: "a component has stopped",
  components_failed: "a component has failed",
  region_not_found: "no region was found",
  region_incompatible: "its region is of a version that this sidecar cannot read",
  region_corrupt: "its region is corrupt",
};

const STAGES = { output: "Held up by an output", input: "The input has to wait",
  transform: "Held up by the transform", scan: "Held up by scanning" };

/* What keeps going, for the sentence of a well forwarder; "" while there is nothing to say. */
function progress(forwarder, rates) {
  const parts = [];
  let read, delivered;
  for (const pipeline of forwarder.pipelines) {
    for (const input of pipeline.inputs ?? []) {
      const rate = rates.rate(forwarder.instance,
        `input ${pipeline.name}/${input.name}/lines_total`);
      if (rate !== undefined) read = (read ?? 0) + rate;
    }
    for (const output of pipeline.outputs ?? []) {
      const rate = rates.rate(forwarder.instance,
        `output ${pipeline.name}/${output.name}/lines_total`);
      if (rate !== undefined) delivered = (delivered ?? 0) + rate;
      if (output.queue) {
        const { depth, capacity } = output.queue;
        parts.push(`queue of ${output.name} ${formatCount(depth)}` +
          (capacity === undefined ? "" : ` of ${formatCount(capacity)}`));
      }
    }
  }
  if ((read ?? delivered) === 0 && (delivered ?? read) === 0) {
    parts.unshift("Idle: no line is read, none delivered");
  } else {
    if (delivered !== undefined) parts.unshift(`${formatRate(delivered)} lines/s delivered`);
    if (read !== undefined) parts.unshift(`${formatRate(read)} lines/s read`);
  }
  return parts.slice(0, 4).join(", ");
}

function notWell(pipelines) {
  const found = [];
  for (const pipeline of pipelines) {
    for (const component of [...pipeline.inputs ?? [], ...pipeline.outputs ?? []])
      if (component.health !== "healthy") found.push(`${component.name} is ${component.health}`);
    if (pipeline.transform?.health && pipeline.transform.health !== "healthy")
      found.push(`the transform is ${pipeline.transform.health}`);
  }
  return found.join(", ");
}

/* When it last gave a sign of life, on the sidecar's clock; it says more than how long ago. */
function lastSign(status, writer) {
  const age = Number(writer.heartbeat_age_ms), now = readAtMs(status);
  return now > 0 && age >= 0 ? ` Last sign of life at ${formatClock(now - age)}.` : "";
}

const sentence = (words) => String(words ?? "").replace(/[^.]$/, "$&.");

/* {state, title, evidence, degraded?} of one forwarder; forwarder null: none is attached. */
export function judgeForwarder(status, forwarder, rates) {
  if (forwarder === null) {
    return { state: "waiting", title: "Waiting for a forwarder",
      evidence: status.writer?.reason ?? "no region was found yet" };
  }
  const { writer, pipelines } = forwarder;
  const signal = writer.signal_name ?? (writer.signal ? `signal ${writer.signal}` : "");
  if (writer.state === "crashed")
    return { state: "crashed", title: signal ? `Crashed with ${signal}` : "Crashed",
      evidence: sentence(writer.reason) + lastSign(status, writer) };
  if (writer.state === "exited")
    return { state: "exited", title: "Exited", evidence: sentence(writer.reason) + lastSign(status, writer) };
  if (writer.state === "stalled")
    return { state: "stalled", title: "Stalled: it runs, but does nothing", evidence: writer.reason };
  const held = pipelines.find((pipeline) => STAGES[pipeline.bottleneck?.stage]);
  if (held) {
    const where = pipelines.length > 1 ? `pipeline ${held.name}: ` : "";
    return { state: held.bottleneck.stage, title: STAGES[held.bottleneck.stage],
      evidence: where + held.bottleneck.reason };
  }
  const bad = notWell(pipelines);
  const ready = status.ready ?? {};
  if (pipelines.length === 0 || (ready.status !== "ready" && (bad !== "" || !status.forwarders))) {
    return { state: "unready", title: "Not ready",
      evidence: [REASONS[ready.reason] ?? ready.reason ?? "", bad].filter(Boolean).join(": ") };
  }
  if (writer.state === "unknown")
    return { state: "unready", title: "Not known to be alive", evidence: writer.reason };
  const moves = progress(forwarder, rates) || "counting since this moment";
  if (bad !== "")
    return { state: "well", degraded: true, title: "Working, but degraded", evidence: `${bad}; ${moves}` };
  return { state: "well", title: "Well", evidence: moves };
}

const SHAPES = { well: "●", waiting: "○", output: "▲", input: "▲", transform: "▲", scan: "▲",
  stalled: "■", exited: "■", crashed: "✕", unready: "◆" };

export function showVerdict({ state, title, evidence, degraded }) {
  const box = byId("verdict");
  setData(box, "state", state);
  setData(box, "degraded", degraded === true);
  setText(byId("verdict-shape"), SHAPES[state] ?? "◆");
  setText(byId("verdict-title"), title);
  setText(byId("verdict-evidence"), evidence);
  const page = `${title} · fwdscope`;
  if (document.title !== page) document.title = page;
}

/* silent: the sidecar does not answer, so this is how it was. */
export function showWriter(status, forwarder, silent) {
  const state = byId("writer-state"), generation = byId("generation");
  const writer = forwarder?.writer ?? status?.writer ?? {};
  const word = writer.state ?? "unknown";
  setText(state, forwarder === null ? "none attached" : silent ? `${word} when last read` : word);
  setData(state, "state", silent ? "unknown" : word);
  setText(generation, forwarder ? formatCount(writer.generation) : "–");
  if (forwarder) {
    setData(generation, "name", "writer/generation");
    setData(generation, "value", writer.generation);
  } else {
    delete generation.dataset.value;
  }
  const started = startedMs(writer);
  const system = status?.system ?? {};
  const signal = writer.signal_name ?? writer.signal;
  replace(byId("writer-facts"), ...(forwarder ? [
    ...fact("pid", numberOf("writer/pid", writer.pid, String(writer.pid))),
    ...fact("last sign of life", numberOf("writer/heartbeat_age_ms", writer.heartbeat_age_ms,
      formatDuration(writer.heartbeat_age_ms) + " ago")),
    ...fact("started", formatDate(started)),
    ...(isOver(forwarder) ? [] : fact("uptime",
      formatDuration(Math.max(0, Math.floor((readAtMs(status) - started) / 1000)) * 1000))),
    ...fact("service", [forwarder.service || forwarder.instance,
      forwarder.version ?? (forwarder.first ? system.version : "")].filter(Boolean).join(" ") || "–"),
    ...(signal === undefined ? [] : fact("signal", `${signal}` +
      (writer.signal_address ? ` at ${writer.signal_address}` : "") +
      (writer.signal_thread ? ` in thread ${writer.signal_thread}` : ""))),
    ...(system.memory?.resident && forwarder.first ? fact("memory", formatBytes(system.memory.resident)) : []),
  ] : []));
  /* Of an end the verdict says it, in larger letters. */
  setText(byId("writer-why"), isOver(forwarder) || writer.state === "stalled" ? "" : writer.reason ?? "");
}

/* The chooser lists every forwarder with its state; a choice is kept while its forwarder is there. */
export function showChooser(forwarders, chosen) {
  const select = byId("forwarder");
  const options = forwarders.map((forwarder) => make("option", { value: forwarder.instance },
    `${forwarder.instance || forwarder.service || "the forwarder"} · ${forwarder.writer.state}`));
  replace(select, ...(options.length ? options : [make("option", { value: "" }, "none attached")]));
  if (chosen && select.value !== chosen.instance) select.value = chosen.instance;
  select.disabled = forwarders.length < 2;
  const others = forwarders.filter((forwarder) => forwarder !== chosen && forwarder.writer.state !== "alive");
  setText(byId("others"), others.length === 0 ? "" : `${plural(others.length, "other forwarder")} not alive: ` +
    others.slice(0, 3).map((one) => `${one.instance} ${one.writer.state}`).join(", "));
}
