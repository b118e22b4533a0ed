/** Three brokers over one store: one dies, one stands still, the store does not answer, and every order is shipped once. */
import assert from "node:assert/strict";
import test from "node:test";
import { startCluster } from "holdfast/testing";
import { ship } from "../shipping.ts";

test("every order is shipped once, although brokers die and stand still", async () => {
  await using cluster = await startCluster({ brokers: 3, topics: [{ name: "shipments", partitions: 6 }] });
  await ship(cluster.bootstrap, ["o-1", "o-2"]);

  // The others take its partitions over; what it had acknowledged is in the store.
  await cluster.kill(1);
  await ship(cluster.bootstrap, ["o-3", "o-4"]);
  await cluster.restart(1);

  // A broker that stood still and was replaced finds that out, and stops.
  cluster.pause(2);
  const stopped = cluster.stopped(2);
  await cluster.whenServing();
  cluster.resume(2);
  await stopped;
  await ship(cluster.bootstrap, ["o-5"]);

  const shipments = await cluster.records("shipments");
  assert.deepEqual(shipments.map(({ key }) => key).sort(), ["o-1", "o-2", "o-3", "o-4", "o-5"]);
});

test("nothing is shipped while the store does not answer, and everything when it does", async () => {
  await using cluster = await startCluster({ topics: ["shipments"] });
  cluster.store.faults.hang({ request: "put" });
  const shipping = ship(cluster.bootstrap, ["o-6"]);
  assert.deepEqual(await cluster.records("shipments"), []);
  cluster.store.faults.clear();
  await shipping;
  await cluster.waitFor({ topic: "shipments", count: 1 });
});
