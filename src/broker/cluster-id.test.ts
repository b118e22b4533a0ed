import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker, SimulatedBroker } from "../../test/simulated-broker.ts";
import { RefusedError } from "../base/errors.ts";
import { DescribeCluster } from "../protocol/messages/describe-cluster.ts";

test("an empty store becomes the cluster that was asked for", async (t) => {
  const broker = await aBroker(t, { "holdfast.cluster.id": "orders" });
  const request = { includeClusterAuthorizedOperations: false, endpointType: 1, includeFencedBrokers: false };
  assert.equal((await broker.ask(DescribeCluster, request, 2)).clusterId, "orders");
});

test("what cannot be a cluster's id is refused", async () => {
  await assert.rejects(SimulatedBroker.start({ "holdfast.cluster.id": "the orders" }), (error: Error) => {
    assert.ok(error instanceof RefusedError);
    assert.match(error.message, /^holdfast\.cluster\.id "the orders" cannot be a cluster's id: give 1 to 32/);
    return true;
  });
});
