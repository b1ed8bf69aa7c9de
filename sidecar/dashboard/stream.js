// SPDX-License-Identifier: Apache-2.0
// The stream: one WebSocket, opened again after it closed. What it holds is handed on as text.

export const BACKLOG_SECONDS = 300;
export const BACKOFF_MIN_MS = 1000;
export const BACKOFF_MAX_MS = 30000;
const OVERLAP_SECONDS = 5; // asked for twice, so that nothing falls between two connections

/* The wait before try number `attempt` (0: the first after a loss): doubled each time, +-25 %. */
export function backoffMs(attempt, random = Math.random()) {
  const wait = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(attempt, 10));
  return Math.round(Math.min(BACKOFF_MAX_MS, Math.max(BACKOFF_MIN_MS, wait * (0.75 + random / 2))));
}

/* How much of the past to ask for; `lastMs`: when the last message came, 0: never. */
export function backlogSeconds(lastMs, nowMs) {
  if (lastMs === 0) return BACKLOG_SECONDS;
  const since = Math.ceil((nowMs - lastMs) / 1000) + OVERLAP_SECONDS;
  return Math.min(BACKLOG_SECONDS, Math.max(OVERLAP_SECONDS, since));
}

/* Calls opened(), message(text) and state(word, detail, retryMs); word: live, connecting, lost. */
export function openStream(base, { opened, message, state }) {
  let attempt = 0, last = 0;
  function connect() {
    const socket = new WebSocket(`${base}?backlog=${backlogSeconds(last, Date.now())}`);
    state("connecting", "connecting", 0);
    socket.onopen = () => {
      opened();
      state("live", "live", 0);
    };
    socket.onmessage = (event) => {
      attempt = 0; // a server that accepts and closes at once is no reason to hurry
      last = Date.now();
      message(String(event.data));
    };
    socket.onclose = (event) => {
      const wait = backoffMs(attempt++);
      state("lost", `lost (code ${event.code}${event.reason ? ", " + event.reason : ""})`, wait);
      setTimeout(connect, wait);
    };
  }
  connect();
}
