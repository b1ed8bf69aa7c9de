// SPDX-License-Identifier: Apache-2.0
// The modules as the build joins them: one script, so every name at the top is used once, and every
// file in the folder is in the list.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../../sidecar/dashboard/", import.meta.url));
const listed = /set\(modules ([^)]*)\)/.exec(readFileSync(join(folder, "embed.cmake"), "utf8"))[1]
  .trim().split(/\s+/);

test("every module is in the build's list, once", () => {
  const there = readdirSync(folder).filter((name) => name.endsWith(".js")).map((name) => name.slice(0, -3));
  assert.deepEqual([...listed].sort(), there.sort());
});

test("joined, they are one valid module", () => {
  const joined = listed.map((name) => readFileSync(join(folder, `${name}.js`), "utf8")
    .replace(/^import \{[^}]*\} from "[^"]*";\n/gm, "").replace(/^export /gm, "")).join("");
  const scratch = mkdtempSync(join(tmpdir(), "page."));
  try {
    writeFileSync(join(scratch, "joined.mjs"), joined);
    const { status, stderr } = spawnSync(process.execPath, ["--check", join(scratch, "joined.mjs")]);
    assert.equal(status, 0, String(stderr));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});

test("nothing in them can make markup or code of a string", () => {
  for (const name of listed) {
    const source = readFileSync(join(folder, `${name}.js`), "utf8");
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|setAttribute\("(on|style)/, name);
  }
});
