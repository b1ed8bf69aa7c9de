// SPDX-License-Identifier: Apache-2.0
// What observing costs: the region, the sidecar, and this page.
import { ratesOf, seriesNamed } from "./store.js";
import { formatBytes, formatCount, formatDuration, formatRate } from "./format.js";
import { byId, fact, make, numberOf, replace } from "./dom.js";

const lastOf = (life, name) => {
  const points = seriesNamed(life, name)[0]?.points ?? [];
  return points[points.length - 1]?.value;
};

/* CPU of the sidecar in percent of a core, over what is held. */
function sidecarCpu(sidecar) {
  const rates = ["process.cpu.user_ms", "process.cpu.sys_ms"].flatMap((name) => {
    const series = seriesNamed(sidecar, name)[0];
    return series ? [ratesOf(series).map(([, rate]) => rate).filter((rate) => rate !== null)] : [];
  });
  if (rates.length === 0 || rates[0].length === 0) return undefined;
  return rates.reduce((total, one) => total + one.reduce((a, b) => a + b, 0) / Math.max(1, one.length), 0) / 10;
}

const SAMPLER = [["interval_ms", "interval", formatDuration], ["ticks", "ticks", formatCount],
  ["last_tick_us", "last tick", (us) => formatDuration(us / 1000)], ["retries", "reads repeated", formatCount],
  ["stale", "shown from before", formatCount], ["torn", "torn, left out", formatCount],
  ["stream_clients", "stream clients", formatCount], ["ticks_skipped", "ticks skipped", formatCount]];

export function showCost(status, forwarder, sidecar, page) {
  const region = forwarder?.region ?? {}, sampler = status?.sampler ?? {};
  replace(byId("cost-region"),
    ...(region.size_bytes === undefined ? [] : fact("size",
      numberOf("region/size_bytes", region.size_bytes, formatBytes(region.size_bytes)))),
    ...(region.layout === undefined ? [] : fact("layout", region.layout)),
    ...(region.path === undefined ? [] : fact("file", make("code", null, region.path))));
  const cpu = sidecarCpu(sidecar);
  replace(byId("cost-sidecar"),
    ...fact("memory", formatBytes(lastOf(sidecar, "process.memory.rss"))),
    ...fact("CPU", cpu === undefined ? "–" : `${formatRate(cpu)} % of a core`),
    ...SAMPLER.filter(([key]) => sampler[key] !== undefined).flatMap(([key, word, format]) =>
      fact(word, numberOf(`sampler/${key}`, sampler[key], format(sampler[key])))));
  replace(byId("cost-page"),
    ...fact("work a tick", formatDuration(page.tickWorkMs)), ...fact("longest task", formatDuration(page.longestTaskMs)),
    ...fact("points taken", formatCount(page.points)), ...fact("spans held", formatCount(page.spans)),
    ...fact("lines held", formatCount(page.logs)), ...fact("came twice, left out", formatCount(page.duplicates)));
}
