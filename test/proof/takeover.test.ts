import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./takeover.ts";

test("nothing acknowledged or shown is lost, doubled or denied over take-overs, moves, zombies and garbage collection", async () => {
  const counts = await run({ schedules: 60 });
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 0, what);
});
