import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterWorld } from "./cluster-world.ts";

test("minutes of a cluster over a bucket that misbehaves, with deaths, pauses and cuts: nothing is lost, doubled or stuck", async () => {
  const { violations, counts } = await new ClusterWorld(1, 300_000).run();
  assert.deepEqual(violations, []);
  for (const [what, count] of Object.entries(counts)) assert.ok(count > 0, what);
});
