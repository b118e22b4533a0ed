/** Runs with Node's own test runner: `node --test`. Needs Node 24 (for `await using`) and holdfast. */
import assert from "node:assert/strict";
import test from "node:test";
import { createClient } from "holdfast/client";
import { startBroker } from "holdfast/testing";
import { ship } from "../shipping.ts";

test("every order is shipped once, although the network breaks and the power fails", async () => {
  await using broker = await startBroker({ topics: ["shipments"] });

  // The broker stores the record, and its answer is lost: the producer has to ask again.
  broker.faults.dropNextResponse("Produce");
  await ship(broker.address, ["o-1"]);

  // What was acknowledged before a power cut is there after it.
  await broker.crash();
  await broker.restart();
  await ship(broker.address, ["o-2"]);

  const shipments = await broker.records("shipments");
  assert.deepEqual(
    shipments.map(({ key, value }) => [key, value]),
    [
      ["o-1", "shipped"],
      ["o-2", "shipped"],
    ],
  );
});

test("a producer waits until the broker is back", async () => {
  await using broker = await startBroker({ topics: ["shipments"] });
  await broker.crash();
  const shipping = ship(broker.address, ["o-3"]);
  await broker.restart();
  await shipping;
  await broker.waitFor({ topic: "shipments", count: 1 });
});

test("a consumer reads on where it was, when the disk failed in between", async () => {
  await using broker = await startBroker({ topics: ["shipments"] });
  await ship(broker.address, ["o-4"]);
  await using client = createClient({ bootstrap: broker.address });
  const seen: string[] = [];
  for await (const { key } of client.consumer({ topic: "shipments" })) {
    seen.push(String(key));
    if (seen.length === 2) break;
    // The broker stops, since it cannot know what is on its disk; nothing is acknowledged until it is back.
    broker.faults.failSync();
    const shipping = ship(broker.address, ["o-5"]);
    await broker.stopped();
    await broker.restart();
    await shipping;
  }
  assert.deepEqual(seen, ["o-4", "o-5"]);
});
