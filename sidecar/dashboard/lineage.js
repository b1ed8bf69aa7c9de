// SPDX-License-Identifier: Apache-2.0
// Which life of the stream belongs to which forwarder of the status, and how each life ended. Pure.
// A life is known by when it started: the status and every total of the stream say the same number.

const ENDS_MAX = 64, LIVES_REMEMBERED_MAX = 64, PIPELINES_REMEMBERED_MAX = 8;

function put(map, key, value, max) {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value);
}

export function lifeIs(life, side) {
  const started = side.writer?.started_unix_ns;
  if (life.starts.length > 0 && started !== undefined) return life.starts.includes(started);
  return life.resource.instance !== "" && life.resource.instance === side.region?.uuid;
}

/* Whether a life ended; one of an unknown state may well go on. */
export const isOver = (side) => side?.writer?.state === "crashed" || side?.writer?.state === "exited";

export class Lineage {
  constructor() {
    this.owners = new Map(); // key of a life -> instance
    this.ends = new Map(); // start -> {state, signal}
    this.pipelines = new Map(); // start -> the pipelines of the last status of that life
  }

  learn(lives, forwarders) {
    const all = [...lives];
    for (const forwarder of forwarders) {
      for (const side of [forwarder, forwarder.previous]) {
        if (!side) continue;
        for (const life of all)
          if (lifeIs(life, side)) put(this.owners, life.key, forwarder.instance, LIVES_REMEMBERED_MAX);
        const { state, signal, signal_name: name, started_unix_ns: started } = side.writer ?? {};
        if (isOver(side))
          put(this.ends, started, { state, signal: name ?? signal }, ENDS_MAX);
        else this.ends.delete(started);
      }
      if (forwarder.pipelines.length > 0)
        put(this.pipelines, forwarder.writer.started_unix_ns, forwarder.pipelines,
          PIPELINES_REMEMBERED_MAX);
    }
  }

  /* The lives of a forwarder, oldest first. */
  livesOf(lives, forwarder) {
    return [...lives].filter((life) => this.owners.get(life.key) === forwarder.instance)
      .sort((a, b) => a.firstTime - b.firstTime);
  }
}

/* When each start of these lives was first and last heard of, oldest first. */
export function periodsOf(lives) {
  const periods = new Map();
  for (const life of lives) {
    for (const series of life.series.values()) {
      if (series.kind === "gauge") continue;
      for (const { t, start } of series.points) {
        const period = periods.get(start);
        if (period === undefined) {
          periods.set(start, { start, from: t, to: t });
        } else {
          if (t < period.from) period.from = t;
          if (t > period.to) period.to = t;
        }
      }
    }
  }
  return [...periods.values()].sort((a, b) => a.from - b.from);
}
