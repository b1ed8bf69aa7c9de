# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: Debian's Chromium without a window, driven over WebDriver.

A PageCase is a Case of the end-to-end harness with a browser. Whatever a test does, at its end the
console must hold no error and nothing may have offended against the page's content policy.
"""
import base64
import json
import os
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402  (the path above)
from harness import wait_until  # noqa: E402

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402,F401  (for the tests)

SCREENSHOTS = harness.BUILD / "tests" / "page" / "screenshots"
LONG = os.environ.get("FWDSCOPE_LONG", "0") not in ("", "0")
WIDTH, HEIGHT = 1280, 1000
CONTRAST = 4.5

# Runs before the page's own script: takes down what the page cannot be asked for afterwards.
WATCH = """
window.watch = {violations: [], errors: [], shifts: [], tasks: [], firstVerdict: null,
                firstPoints: null};
addEventListener('securitypolicyviolation', (event) => watch.violations.push(
    event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample));
addEventListener('error', (event) => watch.errors.push(String(event.message)));
addEventListener('unhandledrejection', (event) => watch.errors.push(String(event.reason)));
const observe = (type, take) => new PerformanceObserver(
    (list) => list.getEntries().forEach(take)).observe({type, buffered: true});
observe('layout-shift', (entry) => entry.hadRecentInput || watch.shifts.push(
    [entry.startTime, entry.value]));
observe('longtask', (entry) => watch.tasks.push([entry.startTime, entry.duration]));
const look = setInterval(() => {
  const verdict = document.getElementById('verdict');
  const state = verdict && verdict.dataset.state;
  if (watch.firstVerdict === null && state && state !== 'waiting')
    watch.firstVerdict = performance.now();
  if (watch.firstPoints === null && window.fwdscope && fwdscope.points > 0)
    watch.firstPoints = performance.now();
  if (watch.firstVerdict !== null && watch.firstPoints !== null) clearInterval(look);
}, 10);
"""


# Contrast of each visible text with what lies behind it, by the formula of WCAG 2.
CONTRASTS = """
const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a),
                                           b * a + B * (1 - a), 1];
const behind = (element) => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const color = rgba(getComputedStyle(e).backgroundColor);
    if (color[3] > 0) layers.push(color);
    if (color[3] === 1) break;
  }
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  return layers.reverse().reduce((under, layer) => over(layer, under),
                                 dark ? [0, 0, 0, 1] : [255, 255, 255, 1]);
};
const luminance = (color) => color.slice(0, 3).map((c) => c / 255).map(
    (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce(
    (sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !element.checkVisibility(
      {checkOpacity: true, checkVisibilityCSS: true}) || element.closest('script, style, noscript'))
    continue;
  const style = getComputedStyle(element), back = behind(element);
  const [a, b] = [luminance(over(rgba(style.color), back)), luminance(back)];
  found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.tagName + '.' +
              element.className + '#' + element.id, walker.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""


def figure(claim, numbers):
    print(f"figure: {claim}: {numbers}", flush=True)


def choose(short, long):
    """The number for this form of the group."""
    return long if LONG else short


class Browser:
    """One Chromium. The console's entries are gathered until they are asked for."""

    def __init__(self):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                         "--disable-background-networking", "--no-first-run", "--mute-audio",
                         "--enable-precise-memory-info", "--force-color-profile=srgb",
                         "--disable-features=Translate,OptimizationHints,MediaRouter",
                         *(["--no-sandbox"] if os.geteuid() == 0 else [])):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_script_timeout(harness.BOUND)
        self.driver.set_page_load_timeout(harness.BOUND)
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=WATCH)

    def cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def console(self):
        """What came since the last call: [(level, source, message)]."""
        return [(entry["level"], entry.get("source", ""), entry["message"])
                for entry in self.driver.get_log("browser")]

    def viewport(self, width=WIDTH, height=HEIGHT, mobile=False, scale=1):
        """In CSS pixels; a screenshot has `scale` pixels for each."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=scale, mobile=mobile)

    def media(self, **features):
        """media(prefers_color_scheme="dark")"""
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def forget(self):
        """As a browser that was never here."""
        self.driver.get("about:blank")
        self.cdp("Network.clearBrowserCookies")
        self.cdp("Network.clearBrowserCache")
        self.media()
        self.viewport()
        self.console()

    def press(self, *keys):
        """Keys to whatever has the focus."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def screenshot(self, path, whole=False):
        """What is in sight, or the whole page."""
        picture = base64.b64decode(self.cdp("Page.captureScreenshot", format="png",
                                            captureBeyondViewport=whole,
                                            **(self.whole() if whole else {}))["data"])
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_bytes(picture)
        return len(picture)

    def whole(self):
        size = self.cdp("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "scale": 1}}

    def close(self):
        self.driver.quit()


class PageCase(harness.Case):
    """A test with a browser, the same one for all tests of a file."""

    browser = None

    # What a test that takes the sidecar away may read on the console: the network's own words.
    network_may_fail = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if PageCase.browser is None:
            PageCase.browser = Browser()
            unittest.addModuleCleanup(PageCase.browser.close)

    def setUp(self):
        super().setUp()
        self.browser.forget()

    def tearDown(self):
        """Asked while the sidecar still runs, so that its end is not the page's error."""
        try:
            self.assert_quiet()
        finally:
            self.browser.forget()
            super().tearDown()

    def assert_quiet(self):
        watch = self.js("return window.watch || null")
        if watch is not None:
            self.assertEqual(watch["violations"], [], "the content policy was broken")
            self.assertEqual(watch["errors"], [], "errors in scripts")
        bad = [entry for entry in self.browser.console()
               if entry[0] in ("SEVERE", "WARNING") and not self.is_allowed(*entry)]
        self.assertEqual(bad, [], "on the console")

    def is_allowed(self, _, source, message):
        # The browser itself notes every answer of 400 and more; /admin/v1/config is off by default.
        if source == "network" and "/admin/v1/config" in message and "403" in message:
            return True
        return self.network_may_fail and (source == "network" or "WebSocket connection" in message)

    # ---- the page ------------------------------------------------------------------------------

    def open(self, sidecar, path="/"):
        """Opens the page; a Sidecar, or the port of a proxy before it."""
        port = getattr(sidecar, "port", sidecar)
        self.browser.driver.get(f"http://127.0.0.1:{port}{path}")
        return self

    def js(self, script, *arguments):
        return self.browser.js(script, *arguments)

    def text(self, selector):
        return self.js("const e = document.querySelector(arguments[0]);"
                       "return e && e.textContent", selector)

    def data(self, selector, name):
        return self.js("const e = document.querySelector(arguments[0]);"
                       "return e ? e.dataset[arguments[1]] ?? null : null", selector, name)

    def count(self, selector):
        return self.js("return document.querySelectorAll(arguments[0]).length", selector)

    def verdict(self):
        return self.data("#verdict", "state")

    def await_verdict(self, *states, words=""):
        """Awaits one of the states with words in which the pattern is found; returns the words."""
        def found():
            state, text = last[:] = self.js("const e = document.getElementById('verdict');"
                                            "return e ? [e.dataset.state, e.textContent] : ['', '']")
            return state in states and re.search(words, text)
        last = []
        try:
            wait_until(found)
        except AssertionError:
            raise AssertionError(f"no verdict {states} with {words!r}, last {last}") from None
        return last[1]

    def await_live(self):
        wait_until(lambda: self.data("#stream-state", "state") == "live", what="the stream")

    def await_count(self, selector, number):
        """Awaits exactly so many elements; number None: at least one."""
        def right():
            count = self.count(selector)
            return count > 0 if number is None else count == number
        wait_until(right, what=f"{number or 'some'} {selector}")

    def numbers(self, panel):
        """The numbers of a panel by name, as numbers."""
        found = self.js("return [...document.querySelectorAll(arguments[0])].map("
                        "(e) => [e.dataset.name, e.dataset.value, e.textContent])",
                        f"#panel-{panel} [data-name][data-value]")
        result = {}
        for name, value, text in found:
            self.assertTrue(text.strip(), f"{name} shows nothing")
            if value in ("", "-"):
                continue
            result[name] = float(value) if any(c in value for c in ".eE") else int(value)
        return result

    def charts(self):
        """By name: gaps, markers, points, the largest value that is drawn, and the times in ms of
        the first and the last one."""
        return {name: {key: float(value) if value not in (None, "") else None
                       for key, value in zip(("gaps", "markers", "points", "max", "from", "to"),
                                             values)}
                for name, *values in self.js(
                    "return [...document.querySelectorAll('figure.chart')].map((e) => ["
                    "e.dataset.chart, e.dataset.gaps, e.dataset.markers, e.dataset.points,"
                    "e.dataset.max, e.dataset.from, e.dataset.to])")}

    def log_lines(self):
        """The bodies of the rows, as they stand."""
        return self.js("return [...document.querySelectorAll('#logs tr.log .body')].map("
                       "(e) => e.textContent)")

    def lost(self):
        """The sum over the rows that tell of a loss."""
        return self.js("return [...document.querySelectorAll('#logs .loss')].reduce("
                       "(sum, e) => sum + Number(e.dataset.lost), 0)")

    def first_times(self):
        """When the page first painted, had a verdict and had data: ms since it was asked for."""
        times = ("const at = [performance.getEntriesByName('first-contentful-paint')[0]?.startTime,"
                 "watch.firstVerdict, watch.firstPoints];"
                 "return at.every((one) => one > 0) && at")
        return wait_until(lambda: self.js(times), what="paint, verdict and data")

    def held(self):
        """The page's own counters."""
        return self.js("return {...window.fwdscope}")

    def screenshot(self, state, whole=False):
        """A picture of a state, once its texts are known to be readable, dark and light."""
        scheme = "dark" if self.js("return matchMedia('(prefers-color-scheme: dark)').matches") \
            else "light"
        for shown in ("light" if scheme == "dark" else "dark", scheme):
            self.browser.media(prefers_color_scheme=shown)
            found = self.js(CONTRASTS)
            self.assertGreater(len(found), 50)
            self.assertEqual([entry for entry in found if entry[0] < CONTRAST], [],
                             f"too faint in {state}, {shown}")
        self.browser.screenshot(SCREENSHOTS / f"{state}.png", whole)

    # ---- what is true --------------------------------------------------------------------------

    def dump(self, region):
        out, _ = self.run_command("dump", "-o", "json", region)
        return json.loads(out)


def true_numbers(status):
    """What the panels must show of /admin/v1/status or a dump's: {panel: {name: number}}."""
    flow, ledger = {}, {}
    for pipeline in status["pipelines"]:
        name = pipeline["name"]
        parts = [(part["name"], part) for part in pipeline["inputs"] + pipeline["outputs"]]
        if "transform" in pipeline:
            parts.append(("transform", pipeline["transform"]))
        for part, values in parts:
            flow.update(flat(f"{name}/{part}", values))
        flow.update(flat(f"{name}/batches", pipeline["batches"]))
        flow[f"{name}/backpressure_stalls"] = pipeline["backpressure_stalls"]
    for what in ("spans", "logs"):
        ledger[f"region/lost.{what}"] = status["region"]["lost"][what]
    writer = {f"writer/{key}": status["writer"][key] for key in ("pid", "generation")}
    return {"flow": flow, "ledger": ledger, "writer": writer}


def flat(prefix, values):
    """Integers of an object as PREFIX/KEY, those of its "queue" as PREFIX/queue.KEY."""
    found = {}
    for key, value in values.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, int):
            found[f"{prefix}/{key}"] = value
        elif isinstance(value, dict):
            found.update({f"{prefix}/{key}.{inner}": number for inner, number in value.items()
                          if isinstance(number, int)})
    return found


def main():
    unittest.main(verbosity=2)
