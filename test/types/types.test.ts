/** What the compiler must refuse, and what it may cost to compile the protocol. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { test } from "node:test";

const root = resolve(import.meta.dirname, "../..");

/** Of the whole protocol; raise it only when the messages that were added explain it. */
const instantiationsMax = 75_000;

test("wrong values do not compile, and the types of the protocol stay cheap", { timeout: 60_000 }, () => {
  const output = execFileSync(
    process.execPath,
    [
      join(root, "node_modules/typescript/bin/tsc"),
      "-p",
      join(root, "test/types/tsconfig.json"),
      "--extendedDiagnostics",
    ],
    { encoding: "utf8", cwd: root },
  );
  const instantiations = Number(/^Instantiations:\s*(\d+)/m.exec(output)?.[1]);
  assert.ok(instantiations > 0, `tsc told no number of instantiations:\n${output}`);
  assert.ok(instantiations <= instantiationsMax, `${instantiations} type instantiations`);
});
