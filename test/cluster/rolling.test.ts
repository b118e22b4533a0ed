/**
 * A rolling upgrade of three real brokers, back, and up again, under load. HOLDFAST_ROLLING says how often; without
 * it nothing runs, because the client is a Go program and the older build comes out of git.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { repositoryRoot } from "../../tools/toolbox.ts";
import { buildAt, firstOfClusters } from "./builds.ts";
import { rolling } from "./rolling.ts";

const rounds = Number(process.env["HOLDFAST_ROLLING"] ?? 0);
const skip = rounds === 0 ? "set HOLDFAST_ROLLING to 1" : false;
const newer = join(repositoryRoot, "src/cli/main.ts");

test("an older build and this one over one store lose nothing, in both directions", { skip }, async (t) => {
  const options = { older: buildAt(firstOfClusters), newer, raiseTo: null, rounds };
  const report = await rolling({ ...options, onEvent: (line) => t.diagnostic(line) });
  assert.ok(report.passed, JSON.stringify(report));
});

test("the format level is raised when the last broker that does not know it is gone, and not before", {
  skip,
}, async (t) => {
  // Of the first builds none ends at level 1 without planning moves that cannot be: it is this one that knows less.
  const options = { older: buildAt("HEAD", 1), newer, raiseTo: 2, rounds: 0 };
  const report = await rolling({ ...options, onEvent: (line) => t.diagnostic(line) });
  assert.ok(report.passed, JSON.stringify(report));
});
