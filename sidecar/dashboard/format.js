// SPDX-License-Identifier: Apache-2.0
// Numbers, sizes and times in words. Pure. Five digits and more are grouped by a thin space in every
// locale, so that a number looks the same to everybody who compares notes.

export const NONE = "–";

export function formatCount(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return NONE;
  if (typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER && Number.isFinite(value))
    return `≈${value.toExponential(4).replace("+", "")}`; // it came as a double: its last digits are not known
  const [whole, fraction] = String(value).split(".");
  if (!/^-?\d+$/.test(whole)) return String(value);
  const grouped = /\d{5}/.test(whole) ? whole.replace(/\B(?=(\d{3})+$)/g, "\u202f") : whole;
  return fraction === undefined ? grouped : grouped + "." + fraction;
}

/* Three significant digits are enough for a rate. */
export function formatRate(value) {
  if (value === undefined || value === null || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 1e6) return (value / 1e6).toFixed(size >= 1e7 ? 1 : 2) + "\u202fM";
  const rounded = Math.round(value * 100) / 100;
  if (size >= 100 || Number.isInteger(rounded)) return rounded === 0 && size > 0 ? "<0.01" : formatCount(Math.round(value));
  return size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function formatBytes(count) {
  let value = Number(count ?? NaN);
  if (!Number.isFinite(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return (unit === 0 ? String(Math.round(value)) : value.toFixed(value >= 100 ? 0 : 1)) +
    "\u202f" + units[unit];
}

/* Digits that tell something, and none that do not. */
export function formatDuration(count) {
  const ms = Number(count ?? NaN);
  if (!Number.isFinite(ms)) return NONE;
  if (ms < 0.001) return ms === 0 ? "0\u202fs" : "<1\u202fµs";
  if (ms < 1) return Math.round(ms * 1000) + "\u202fµs";
  if (ms < 1000) return (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + "\u202fms";
  if (ms < 60000) return (ms % 1000 === 0 ? ms / 1000 : (ms / 1000).toFixed(1)) + "\u202fs";
  const s = Math.floor(ms / 1000), min = Math.floor(s / 60), h = Math.floor(min / 60);
  if (min < 60) return `${min}\u202fmin ${s % 60}\u202fs`;
  return h < 48 ? `${h}\u202fh ${min % 60}\u202fmin` : `${Math.floor(h / 24)}\u202fd ${h % 24}\u202fh`;
}

const two = (number) => String(number).padStart(2, "0");

export function formatClock(ms, fraction = false) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return NONE;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return fraction ? clock + "." + String(date.getMilliseconds()).padStart(3, "0") : clock;
}

export function formatDate(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return NONE;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${formatClock(ms)}`;
}

export const plural = (count, one, many = one + "s") =>
  `${formatCount(count)} ${count === 1 ? one : many}`;
