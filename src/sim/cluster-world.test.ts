import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterWorld } from "./cluster-world.ts";

test("minutes of a cluster over a bucket that misbehaves, with deaths, pauses and cuts: nothing is lost, doubled or stuck", async () => {
  const { violations, counts } = await new ClusterWorld(1, 300_000).run();
  assert.deepEqual(violations, []);
  assert.ok(counts.faulted > 10 && counts.takeOvers > 0 && counts.moves > 0);
  assert.ok(counts.acked > 50 && counts.commits > 0 && counts.transactions > 0);
  assert.ok(counts.given > 50 && counts.accepted > 50);
});
