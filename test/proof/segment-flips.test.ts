import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./segment-flips.ts";

test("flipped bits and truncations of a pack are named, and everything beside them is read", async () => {
  const counts = await run({ sample: 997 });
  assert.ok(counts.objectBytes >= 64 * 1024);
  assert.ok(counts.blocksNamed > 100 && counts.footersNamed > 10 && counts.blocksRead > 10_000);
});
