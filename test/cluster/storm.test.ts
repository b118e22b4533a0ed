/**
 * Three real brokers in a storm, in small: one is killed, one stands still and finds out, one is asked to end, all
 * are killed at once. HOLDFAST_STORM says how many of each; without it nothing runs, because the client is a Go
 * program. `node test/cluster/storm.ts` is the long one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { storm } from "./storm.ts";

const times = Number(process.env["HOLDFAST_STORM"] ?? 0);
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);

test("brokers that die, stand still and are asked to end lose nothing acknowledged, double nothing and keep the order", {
  skip: times === 0 ? "set HOLDFAST_STORM to 1" : false,
}, async (t) => {
  const counts = { kills: times, pauses: times, all: times, restarts: times };
  const report = await storm({
    ...counts,
    everyMs: 3_000,
    pauseMs: 9_000,
    seed,
    onEvent: (line) => t.diagnostic(line),
  });
  assert.ok(report.passed, JSON.stringify(report));
});
