// SPDX-License-Identifier: Apache-2.0
// Elements. What the forwarder says enters the document as text only, through here.

export const byId = (id) => document.getElementById(id);

/* An element with attributes and children; strings become text, null and undefined nothing. */
export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {}))
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  for (const child of children.flat())
    if (child !== undefined && child !== null) element.append(child);
  return element;
}

/* Touches the document only when something changed: a screen reader and the layout rest. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setData(element, name, value) {
  const text = String(value);
  if (element.dataset[name] !== text) element.dataset[name] = text;
}

/* A number that says which it is. Absent is no 0: it is a dash without a value. */
export function numberOf(name, value, text) {
  if (value === undefined || value === null) return make("span", { class: "none" }, "–");
  return make("span", { class: "num", "data-name": name, "data-value": value }, text);
}

/* A term and what is said of it, kept together when the line breaks. */
export function fact(term, ...content) {
  return [make("div", { class: "fact" }, make("dt", null, term), make("dd", null, ...content))];
}

/* Replaces what is in `target` unless it would look the same. */
export function replace(target, ...children) {
  const fresh = make(target.tagName, null, ...children);
  const old = target.childNodes, next = fresh.childNodes;
  if (old.length === next.length && [...old].every((node, i) => node.isEqualNode(next[i]))) return;
  target.replaceChildren(...next);
}

async function copyText(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return "copied";
  } catch { // no clipboard without a secure context: select it instead
    getSelection().selectAllChildren(code);
    return "selected";
  }
}

const COPY_WORD_MS = 1500;

/* Completes each panel's source line with where this page came from, and its button. */
export function fillSources() {
  for (const source of document.querySelectorAll(".source")) {
    const code = source.querySelector("code"), button = source.querySelector("button.copy");
    code.textContent = code.textContent.replace("ORIGIN", location.origin)
      .replace("WS", location.origin.replace("http", "ws"));
    button.addEventListener("click", async () => {
      button.textContent = await copyText(code);
      setTimeout(() => { button.textContent = "copy"; }, COPY_WORD_MS);
    });
  }
}
