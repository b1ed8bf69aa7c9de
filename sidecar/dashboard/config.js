// SPDX-License-Identifier: Apache-2.0
// The forwarder's configuration as it published it, redacted; or why there is none.
import { byId, setData, setText } from "./dom.js";

export function showConfig(config) {
  setData(byId("panel-config"), "state", config.on ? "on" : "off");
  setText(byId("config-path"), config.on ? config.path || "On, but it has published none." : `Off: ${config.text}`);
  const text = byId("config-text");
  text.hidden = !config.path;
  if (config.on) setText(text, config.text);
}
