// SPDX-License-Identifier: Apache-2.0
// Keeps the page answering: long work is cut into slices, drawing waits for a frame, and what it all
// costs is measured.

export const SLICE_MS = 8;

/* A task of its own, after input and drawing had their turn. */
const pause = () => new Promise((resolve) => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => resolve();
  channel.port2.postMessage(0);
});

export class Meter {
  constructor() {
    this.tickMs = this.lastTickMs = this.maxTickMs = this.longestMs = this.ticks = 0;
    this.longest = new Map(); // name of a piece of work -> the longest that it took, in ms
  }

  /* A tick begins: what was done since the last one was its work. The first holds the backlog. */
  tick() {
    if (this.ticks++ > 0) {
      this.lastTickMs = this.tickMs;
      if (this.ticks > 3) this.maxTickMs = Math.max(this.maxTickMs, this.tickMs);
    }
    this.tickMs = 0;
  }

  measure(name, work) {
    const began = performance.now();
    try {
      return work();
    } finally {
      const took = performance.now() - began;
      this.tickMs += took;
      this.longestMs = Math.max(this.longestMs, took);
      if (took > (this.longest.get(name) ?? 0)) this.longest.set(name, took);
    }
  }

  watchLongTasks() {
    if (!globalThis.PerformanceObserver?.supportedEntryTypes?.includes("longtask")) return;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) this.longestMs = Math.max(this.longestMs, entry.duration);
    }).observe({ type: "longtask" });
  }
}

/* Runs a generator to its end in slices. */
export async function runSliced(steps, meter, sliceMs = SLICE_MS) {
  for (let done = false; !done;) {
    done = meter.measure("take", () => {
      const until = performance.now() + sliceMs;
      do {
        if (steps.next().done) return true;
      } while (performance.now() < until);
      return false;
    });
    if (!done) await pause();
  }
}

/* Jobs by name, each at most once in the queue, drawn when a frame comes and as far as it has room. */
export class Painter {
  constructor(meter) {
    this.meter = meter;
    this.jobs = new Map();
    this.scheduled = false;
  }

  ask(name, job) {
    this.jobs.set(name, job);
    if (!this.scheduled) {
      this.scheduled = true;
      requestAnimationFrame(() => this.run());
    }
  }

  run() {
    const until = performance.now() + SLICE_MS;
    for (const [name, job] of this.jobs) {
      this.jobs.delete(name);
      this.meter.measure(name, job);
      if (performance.now() >= until) break;
    }
    this.scheduled = this.jobs.size > 0;
    if (this.scheduled) requestAnimationFrame(() => this.run());
  }
}
