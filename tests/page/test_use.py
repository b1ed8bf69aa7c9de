#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page for people: keyboard, screen reader, dark and light, a phone, little motion, nothing
that jumps, and a token."""
import pathlib

import browser
from browser import Keys, PageCase, figure, wait_until

PHONE = (360, 740)
SHIFT = 0.1

# The things that a key must reach. Of radio buttons one is enough; a widget with its own arrows has
# one place in the order (tabindex 0) and -1 on the rest.
CONTROLS = """
window.controls = [...document.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex="0"]')].filter((e) =>
    !e.disabled && e.tabIndex >= 0 && e.checkVisibility({checkVisibilityCSS: true}) &&
    e.type !== 'hidden');
return controls.map((e) => e.tagName + '#' + e.id + '.' + e.className);
"""


class UseCase(PageCase):
    def scene(self):
        """A forwarder with something in every panel."""
        patient = self.patient()
        patient.pipeline()
        patient.do("progress", "in", 1000, 100_000)
        patient.do("progress", "out", 990, 99_000)
        patient.do("queue", "out", 2, 100)
        for worker in (0, 1):
            for key in ("done", "live"):
                patient.do("span-start", f"{key}{worker}", "batch")
                patient.do("span-set", f"{key}{worker}", "pipeline", "main", "worker_id",
                           f"#{worker}", "input_rows", "#10")
                patient.do("span-stage", f"{key}{worker}", "output")
            patient.do("span-end", f"done{worker}")
        for severity in (1, 5, 9, 10, 13, 17, 21):
            patient.do("log", severity, f"a line of severity {severity}")
        return patient

    def await_scene(self):
        self.await_verdict("well", "output")
        wait_until(lambda: len(self.log_lines()) == 7)
        wait_until(lambda: self.count(".lane .bar") >= 4,
                   what=f"4 bars, now {self.count('.lane .bar')}")
        wait_until(lambda: (self.charts()["lines"]["points"] or 0) > 2)


class Keyboard(UseCase):
    def test_all_controls_by_tab(self):
        self.scene()
        self.open(self.sidecar())
        self.await_scene()
        names = self.js(CONTROLS)
        self.assertGreater(len(names), 10)
        reached, hidden = set(), []
        self.js("document.activeElement.blur(); scrollTo(0, 0)")
        for _ in range(3 * len(names)):
            self.browser.press(Keys.TAB)
            index, visible = self.js("""
                const e = document.activeElement, style = getComputedStyle(e);
                return [controls.indexOf(e), style.outlineStyle !== 'none' ||
                        style.boxShadow !== 'none'];""")
            if index >= 0:
                reached.add(index)
                if not visible:
                    hidden.append(names[index])
            if len(reached) == len(names):
                break
        # What the page itself replaced meanwhile is no longer there to be reached.
        still = set(self.js("return controls.map((e, i) => e.isConnected ? i : -1)")) - {-1}
        self.assertGreater(len(still), 10)
        self.assertEqual([names[i] for i in sorted(still - reached)], [])
        self.assertEqual(hidden, [], "no mark of the focus")

    def test_detail_opens_and_closes(self):
        self.scene()
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_scene()
        hidden = "return document.getElementById('trace-detail').hidden"
        for opener in (Keys.ENTER, Keys.SPACE):
            self.js("window.opener_ = document.querySelector('.lane .bar:not(.live)');"
                    "opener_.focus()")
            self.assertTrue(self.js("return document.activeElement === opener_"))
            span = self.js("return opener_.dataset.span")
            self.browser.press(opener)
            wait_until(lambda: not self.js(hidden), what="the detail")
            self.assertIn(span, self.text("#trace-detail"))
            # It stays open while ticks come.
            sidecar.await_tick(5)
            self.assertFalse(self.js(hidden))
            self.browser.press(Keys.ESCAPE)
            wait_until(lambda: self.js(hidden), what="an end of the detail")
            wait_until(lambda: self.js("return document.activeElement?.dataset?.span") == span,
                       what="the focus back on the bar")

    def test_ticks_do_not_take_the_focus(self):
        self.scene()
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_scene()
        for selector in (".lane .bar:not(.live)", "#log-search", "#log-severity",
                         ".source button.copy", "#forwarder"):
            if not self.js("const e = document.querySelector(arguments[0]);"
                           "if (!e || e.disabled) return false; e.focus(); return true",
                           selector):
                continue
            messages = self.held()["messages"]
            wait_until(lambda: self.held()["messages"] > messages + 6)
            self.assertTrue(self.js("return document.activeElement.matches(arguments[0])",
                                    selector), selector)

    def test_names_for_a_screen_reader(self):
        self.scene()
        self.open(self.sidecar())
        self.await_scene()
        self.browser.cdp("Accessibility.enable")
        nodes = self.browser.cdp("Accessibility.getFullAXTree")["nodes"]
        self.browser.cdp("Accessibility.disable")
        roles = {"button", "link", "combobox", "textbox", "searchbox", "checkbox", "region",
                 "figure", "table", "img", "image", "tab", "slider"}
        named = [(node["role"]["value"], node.get("name", {}).get("value", "").strip())
                 for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
        self.assertGreater(len(named), 20)
        self.assertEqual([role for role, name in named if not name], [])
        # The verdict speaks up when it changes, and only then.
        self.assertEqual(self.js("return [...document.querySelectorAll("
                                 "'[aria-live], [role=status], [role=alert]')].map((e) => e.id)"),
                         ["verdict-title"])
        self.assertTrue(self.js("return document.documentElement.lang"))
        self.assertEqual(self.count("h1"), 1)
        panels = self.js("return [...document.querySelectorAll('section[id^=panel-]')].filter("
                         "(e) => !e.hidden && !e.querySelector('h2')).map((e) => e.id)")
        self.assertLessEqual(set(panels), {"panel-verdict"}, "panels without a heading")

    def test_verdict_is_said_once(self):
        """What is read aloud changes with the verdict, not with each number of its evidence."""
        patient = self.scene()
        self.open(self.sidecar())
        self.await_scene()
        self.js("""
            window.said = [];
            new MutationObserver(() => {
              said.push(document.getElementById('verdict-title').textContent);
            }).observe(document.getElementById('verdict-title'),
                       {childList: true, characterData: true, subtree: true});""")
        evidence = set()

        def work():
            patient.do("progress", "in", 1000, 100_000)
            patient.do("progress", "out", 1000, 100_000)
            evidence.add(self.text("#verdict-evidence"))
            return len(evidence) > 3
        wait_until(work, what="evidence that changes")
        self.assertEqual(self.js("return window.said"), [])
        patient.do("health", "out", 5)
        self.await_verdict("unready")
        self.assertEqual(self.js("return window.said"), ["Not ready"])


class Looks(UseCase):
    def test_dark_and_light(self):
        self.scene()
        sidecar = self.sidecar()
        backs = {}
        for scheme in ("light", "dark"):
            self.browser.media(prefers_color_scheme=scheme)
            self.open(sidecar)
            self.await_scene()
            self.js("document.querySelector('.lane .bar').click()")
            backs[scheme] = self.js("return getComputedStyle(document.body).backgroundColor")
            self.js("scrollTo(0, 0)")
            self.screenshot(scheme)
        self.assertNotEqual(backs["light"], backs["dark"])

    def test_phone(self):
        self.scene()
        self.browser.viewport(*PHONE, mobile=True)
        self.open(self.sidecar())
        self.await_scene()
        self.js("document.querySelector('.lane .bar').click()")
        wide = """
            const root = document.scrollingElement;
            return root.scrollWidth <= root.clientWidth ? [] : [root.scrollWidth,
              ...[...document.querySelectorAll('body *')].filter((e) =>
                e.getBoundingClientRect().right > root.clientWidth + 1).slice(0, 10).map((e) =>
                e.tagName + '#' + e.id + '.' + e.className)];"""
        self.assertEqual(self.js(wide), [])
        self.assertEqual(self.js("return innerWidth"), PHONE[0])
        small = self.js("return [...document.querySelectorAll('body *')].filter((e) =>"
                        "e.childElementCount === 0 && e.textContent.trim() && e.checkVisibility()"
                        "&& parseFloat(getComputedStyle(e).fontSize) < 10).map((e) => e.tagName)")
        self.assertEqual(small, [], "text too small to read")
        self.js("scrollTo(0, 0)")
        self.screenshot("phone", whole=True)

    def test_little_motion(self):
        self.scene()
        self.browser.media(prefers_reduced_motion="reduce")
        self.open(self.sidecar())
        self.await_scene()
        moving = """
            return [...document.querySelectorAll('*')].filter((e) => {
              const s = getComputedStyle(e);
              const long = (times) => times.split(',').some((t) => parseFloat(t) > 0.001);
              return (s.animationName !== 'none' && long(s.animationDuration)) ||
                     long(s.transitionDuration) || s.scrollBehavior === 'smooth';
            }).map((e) => e.tagName + '.' + e.className);"""
        self.assertEqual(self.js(moving), [])
        self.assertEqual(self.js("return document.getAnimations().filter((a) =>"
                                 "a.playState === 'running').length"), 0)

    def test_nothing_jumps(self):
        patient = self.scene()
        sidecar = self.sidecar()
        self.open(sidecar)
        self.await_scene()
        first = self.js("return watch.firstVerdict")
        # A life of it: counters, lines, spans, a queue that fills, a verdict that changes.
        for i in range(10):
            patient.do("progress", "in", 1000, 100_000)
            patient.do("progress", "out", 1000, 100_000)
            patient.do("log", 17, f"another line {i}")
            patient.do("spans", 3)
            patient.do("queue", "out", 10 * i, 100)
            sidecar.await_tick()
        patient.do("health", "out", 5)
        self.await_verdict("unready")
        shifts = self.js("return watch.shifts")
        later = sum(value for at, value in shifts if at > first)
        figure("layout shift", f"{sum(value for _, value in shifts):.3f} in all, "
                               f"{later:.3f} after the first data")
        self.assertLess(later, SHIFT, shifts)


class Token(UseCase):
    TOKEN = "correct-horse-battery-staple-0123456789"

    def test_login(self):
        path = pathlib.Path(self.scratch) / "token"
        path.write_text(self.TOKEN + "\n")
        path.chmod(0o600)
        self.scene()
        sidecar = self.sidecar("--token-file", str(path))
        self.open(sidecar)
        self.assertIn("oken needed", self.text("h1"))
        # The browser notes the 401 of that very page.
        noted = [entry for entry in self.browser.console() if "401" not in entry[2]]
        self.assertEqual(noted, [])
        self.open(sidecar, f"/?token={self.TOKEN}")
        self.await_scene()
        self.await_live()
        self.assertNotIn(self.TOKEN, self.js("return location.href"))
        self.assertNotIn(self.TOKEN, self.js("return document.documentElement.outerHTML"))
        self.assertNotIn(self.TOKEN, self.js("return document.cookie"))
        self.open(sidecar)  # the cookie is enough from now on
        self.await_scene()


if __name__ == "__main__":
    browser.main()
