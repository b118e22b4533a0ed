import assert from "node:assert/strict";
import { test } from "node:test";
import { outages } from "./outages.ts";

test("a bucket that stands still, or is gone, stops acknowledgements and loses none", async (t) => {
  const report = await outages({ outages: 2, awayMs: 8_000, onEvent: (line) => t.diagnostic(line) });
  assert.ok(report.passed, JSON.stringify(report));
});
