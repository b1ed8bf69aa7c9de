# SPDX-License-Identifier: Apache-2.0
"""The man pages: proper, and of the program that is there: every command, option and exit code."""
import pathlib
import re
import subprocess
import unittest

from host import harness

PAGES = {"fwdscope.1": harness.ROOT / "sidecar" / "fwdscope.1",
         "fwdscope-region.5": harness.ROOT / "shmlayout" / "fwdscope-region.5"}


class Manual(harness.Case):
    def commands(self):
        said, _ = self.run_command("--help")
        return re.findall(r"^  ([a-z]+) ", said, re.MULTILINE)

    def section_of(self, command):
        """The part of fwdscope.1 about one command."""
        text = PAGES["fwdscope.1"].read_text()
        found = re.search(rf"^\.Ss fwdscope {command}\n(.*?)^\.S[sh] ", text,
                          re.MULTILINE | re.DOTALL)
        self.assertTrue(found, f"no section about {command}")
        return found[1]

    def test_lint(self):
        for page in PAGES.values():
            said = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True,
                                  text=True, check=False).stdout
            self.assertEqual(said, "")

    def test_every_command_and_option(self):
        commands = self.commands()
        self.assertIn("serve", commands)
        for command in commands:
            said, _ = self.run_command(command, "--help")
            options = set(re.findall(r"--([a-z][a-z-]+)", said)) - {"help"}
            text = self.section_of(command)
            told = {name.replace("\\-", "-")
                    for name in re.findall(r"^\.It Fl -([a-z\\-]+)", text, re.MULTILINE)}
            self.assertEqual(options - told, set(), f"{command}: not in the page")
            self.assertEqual(told - options, set(), f"{command}: not in the program")

    def test_installed(self):
        root = pathlib.Path(self.scratch) / "root"
        subprocess.run(["cmake", "--install", harness.BUILD, "--prefix", root], check=True,
                       stdout=subprocess.DEVNULL)
        for page in PAGES:
            self.assertTrue((root / f"share/man/man{page[-1]}" / page).exists(), page)
        self.assertTrue((root / "share/doc/fwdscope/region.md").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
