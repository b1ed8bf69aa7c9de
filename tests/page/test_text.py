#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whatever a forwarder calls itself and says is text on the page, never markup, never a script.

Every field that reaches the page holds an attack of its own, named after the field, so that one
that breaks out tells which it was.
"""
import os
import pathlib

import browser
from browser import PageCase, wait_until

OVERRIDE = "\u202e\u2066"  # right-to-left override, left-to-right isolate
CONTROLS = "\x01\x07\x08\x0b\x0c\x1b[31m\x1f\x7f"


def attack(field, room=255):
    """Markup that would run, set a title or fetch; quotes; entities; controls; direction."""
    text = (f"{field}<script>window.owned='{field}';document.title='{field}'</script>"
            f"<img src=x onerror=\"window.owned='{field}'\"><b class=owned>"
            f"\"'`&lt;&amp;&#60;{OVERRIDE}{CONTROLS}")
    assert len(text.encode()) <= room, len(text.encode())
    return text


def shown(text):
    """What of a text must be found on the page whatever is done about its controls."""
    return text.split("\"'`")[0]


class Hostile(PageCase):
    def everything(self):
        """A forwarder each of whose fields is an attack, with a span, lines, metrics, a life."""
        self.fields = {field: attack(field) for field in (
            "service", "instance", "version", "pipeline", "input", "type", "sql", "output", "unit",
            "description", "key", "value", "span", "span-key", "span-value", "stage", "status",
            "severity", "body", "log-key", "log-value", "reason", "worker")}
        f = self.fields
        patient = self.patient("--service", f["service"], "--instance", f["instance"],
                               "--service-version", f["version"])
        patient.do("pipeline", f["pipeline"])
        patient.do("input", f["input"], f["type"])
        patient.do("transform", f["sql"])
        patient.do("output", f["output"], f["type"])
        patient.do("health", f["input"], 0)
        patient.do("progress", f["input"], 10, 1000)
        patient.do("progress", f["output"], 9, 900)
        patient.do("queue", f["output"], 1, 5)
        patient.do("describe", f["unit"], f["description"])
        patient.do("counter", "own.count", 77, f["key"], f["value"])
        patient.do("gauge", "own.gauge", 7.5, f["key"], f["value"])
        patient.do("histogram", "own.histogram", 7)
        for key in ("done", "live"):
            patient.do("span-start", key, f["span"])
            patient.do("span-set", key, "pipeline", f["pipeline"], "worker_id", f["worker"],
                       f["span-key"], f["span-value"])
            patient.do("span-stage", key, f["stage"])
            patient.do("span-status", key, 2, f["status"])
        patient.do("span-end", "done")
        patient.do("log-named", 17, f["severity"], f["body"])
        patient.do("log", 13, "attributes", f["log-key"], f["log-value"])
        return patient

    def lines(self):
        """Lines of every odd kind; returns what of each must be found, in order."""
        return [
            "</td></tr></table></main><script>window.owned='table'</script>",
            "--><!--<svg/onload=\"window.owned='svg'\">",
            "</textarea></style></title><iframe srcdoc=\"<script>parent.owned='frame'</script>\">",
            "javascript:window.owned='link' http://127.0.0.1:1/ <a href=//x>x</a>",
            "&lt;script&gt; &amp;amp; &#x3c;b&#x3e; &copy",
            f"{OVERRIDE}gnp.exe \u200f\u200e\u2067 עברית العربية",
            "{{7*7}} ${7*7} %s %n <%= 7*7 %> \\u003cb\\u003e",
            "tab\tand several   spaces",
            "a\nb\r\nc",
            "🙂 e\u0301 \ufeff \ufffd \u2028 \u2029",
        ]

    def not_owned(self):
        self.assertIsNone(self.js("return window.owned ?? null"))
        self.assertRegex(self.js("return document.title"), r"\A[\w :,.]+ · fwdscope\Z")
        self.assertEqual(self.js(
            "return document.querySelectorAll('.owned, #panel-logs script, main script, iframe,"
            "img[src=x], svg[onload], a[href=\"//x\"]').length"), 0)
        self.assertEqual(self.count("script"), self.scripts)

    def test_every_field(self):
        sidecar = self.sidecar(environment={"FWDSCOPE_UNSAFE_EXPOSE_CONFIG": "1"})
        self.open(sidecar)  # with nothing to show yet
        self.scripts = self.count("script")
        patient = self.everything()
        config = os.path.join(self.scratch, "config.yaml")
        text = "a: \"</code></pre><script>window.owned='config'</script>\"\n"
        pathlib.Path(config).write_text(text)
        patient.do("config", "/etc/<img src=x onerror=\"window.owned='path'\">", config)
        for line in self.lines():
            patient.do("log", 9, line)
        patient.do("log", 9, b"bytes \x00 \xff\xfe\xc3( \xed\xa0\x80 end")
        patient.do("log", 9, ("<i>" * 6000)[:16384])
        wait_until(lambda: any(line.startswith("<i>") for line in self.log_lines()))
        self.not_owned()
        bodies = self.log_lines()
        for line in (*self.lines(), ("<i>" * 6000)[:16384]):
            self.assertIn(line, bodies)
        self.assertTrue(any(shown(self.fields["body"]) in line for line in bodies))
        self.assertIn("bytes \ufffd \ufffd", " ".join(bodies))
        self.check_names()
        self.check_direction()
        self.check_detail()
        wait_until(lambda: "</code></pre><script>" in self.text("#panel-config"))
        self.not_owned()
        self.check_end(patient)

    def check_names(self):
        """The names stand in their panels as they are."""
        for field, where in (("service", "body"), ("pipeline", "#panel-flow"),
                             ("input", "#panel-flow"), ("output", "#panel-flow"),
                             ("severity", "#panel-logs")):
            wait_until(lambda: shown(self.fields[field]) in self.text(where),
                       what=f"{field} in {where}")
        name = f"{self.fields['pipeline']}/{self.fields['output']}/lines_total"
        wait_until(lambda: self.numbers("flow").get(name) == 9, what=f"9 lines of {name}")

    def check_direction(self):
        """A line that turns the direction of writing turns its own cell only."""
        self.assertEqual(self.js(
            "return [...document.querySelectorAll('#logs .body')].filter((e) => !["
            "'isolate', 'isolate-override', 'plaintext'].includes(getComputedStyle(e).unicodeBidi)"
            ").length"), 0)

    def check_detail(self):
        """What a span holds, when it is opened."""
        self.js("document.querySelector('.lane .bar').click()")
        wait_until(lambda: not self.js("return document.getElementById('trace-detail').hidden"))
        for field in ("span", "span-key", "span-value"):
            self.assertIn(shown(self.fields[field]), self.text("#trace-detail"), field)
        self.not_owned()

    def check_end(self, patient):
        """The reason of an end, in the verdict and as a previous life."""
        patient.do("close", "crashed", self.fields["reason"])
        self.await_verdict("crashed")
        wait_until(lambda: shown(self.fields["reason"]) in self.text("body"))
        self.screenshot("hostile")
        self.not_owned()
        patient.send("quit")
        patient.wait(0)
        second = self.patient("--service", self.fields["service"], "--instance",
                              self.fields["instance"])
        second.pipeline(self.fields["pipeline"])
        self.await_verdict("well")
        wait_until(lambda: self.data("#panel-previous", "state") == "crashed")
        wait_until(lambda: shown(self.fields["reason"]) in self.text("#panel-previous"))
        self.not_owned()
        self.browser.viewport(360, 740, mobile=True)
        wait_until(lambda: self.js("return document.scrollingElement.scrollWidth <= "
                                   "document.scrollingElement.clientWidth"),
                   what="a page no wider than a phone, whatever the names")

    def test_search_is_text(self):
        """What is typed into the search is no markup either."""
        self.patient().pipeline()
        self.open(self.sidecar())
        self.scripts = self.count("script")
        self.await_verdict("well")
        self.js("document.getElementById('log-search').focus()")
        self.browser.press("<img src=x onerror=\"window.owned='search'\">([*\\")
        self.await_verdict("well")
        self.not_owned()


if __name__ == "__main__":
    browser.main()
