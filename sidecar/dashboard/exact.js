// SPDX-License-Identifier: Apache-2.0
// Integers that stay what they are. JavaScript's numbers hold integers to 2^53; a counter goes to
// 2^64. A count is therefore a number while it is safe, and a BigInt beyond. Pure.

const UNSAFE_DIGITS = 16; // the fewest that an integer beyond 2^53 has
const MARK = "\u0000exact";

export const isCount = (value) => typeof value === "number" || typeof value === "bigint";

const narrow = (value) => (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER
  ? Number(value) : value);

/* The count that a decimal string says; undefined when it says none. */
export function countOf(digits) {
  return /^-?\d{1,20}$/.test(digits) ? narrow(BigInt(digits)) : undefined;
}

const isExact = (value) => typeof value === "bigint" || Number.isSafeInteger(value);

/* Exact where both are; a fraction, or what came as a double beyond 2^53, makes a double of it. */
const combine = (a, b, operate) => (isExact(a) && isExact(b)
  ? narrow(operate(BigInt(a), BigInt(b))) : operate(Number(a), Number(b)));

export const plus = (a, b) => combine(a, b, (x, y) => x + y);
export const minus = (a, b) => combine(a, b, (x, y) => x - y);
export const larger = (a, b) => (b > a ? b : a);

/* JSON.parse that keeps every integer: one beyond 2^53 becomes a BigInt. No string of the text is
 * touched; the mark is a key, and the keys of a status are the sidecar's own. */
export function parseExact(text) {
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g, (token) =>
    (token.length < UNSAFE_DIGITS || token[0] === '"' || !/^-?\d+$/.test(token) ||
      Number.isSafeInteger(Number(token)) ? token : `{${JSON.stringify(MARK)}:"${token}"}`));
  if (marked === text) return JSON.parse(text);
  return JSON.parse(marked, (key, value) =>
    (value !== null && typeof value === "object" && Object.hasOwn(value, MARK)
      ? countOf(value[MARK]) : value));
}
