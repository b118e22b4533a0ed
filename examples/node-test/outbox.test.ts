import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import test from "node:test";
import { createClient, type IncomingRecord, ProducerFencedError } from "holdfast/client";
import { startBroker } from "holdfast/testing";
import { change, createTables, Relay, replica } from "../outbox.ts";

function aDatabase(): DatabaseSync {
  const db = new DatabaseSync(":memory:");
  createTables(db);
  for (let number = 0; number < 50; number++) change(db, `article ${number}`, number);
  // Before anybody thought of a relay, the outbox was emptied now and then.
  db.exec("DELETE FROM outbox WHERE id <= 40");
  return db;
}

const table = (db: DatabaseSync): Map<string, number> =>
  new Map(
    (db.prepare("SELECT article, pieces FROM stock").all() as { article: string; pieces: number }[]).map(
      ({ article, pieces }) => [article, pieces],
    ),
  );

async function committed(bootstrap: string): Promise<IncomingRecord[]> {
  await using client = createClient({ bootstrap });
  const records: IncomingRecord[] = [];
  for await (const record of client.consumer({ topic: "stock", until: "end" })) records.push(record);
  return records;
}

test("a topic has what the table has: a snapshot, and each change behind it once, over crashes of relay and broker", async () => {
  await using broker = await startBroker({
    topics: ["stock", { name: "stock-position", configs: { "cleanup.policy": "compact" } }],
  });
  const db = aDatabase();
  await using older = await Relay.start(broker.address, db);
  assert.equal(await older.round(), 50);
  change(db, "article 7", 700);
  change(db, "article 8", null);
  assert.equal(await older.round(), 2);

  await broker.crash();
  await broker.restart();
  for (let number = 0; number < 250; number++) change(db, `article ${number % 60}`, number);
  const failing = older.round().catch((cause: unknown) => cause);
  // Another process takes over while the first is at it: its round is in the topic as a whole, or not at all.
  await using newer = await Relay.start(broker.address, db);
  const outcome = await failing;
  assert(typeof outcome === "number" || outcome instanceof ProducerFencedError, String(outcome));
  while ((await newer.round()) > 0);
  assert.deepEqual(await replica(broker.address), table(db));
  assert.equal((await committed(broker.address)).length, 50 + 2 + 250);
  change(db, "article 1", 1);
  await assert.rejects(older.round(), ProducerFencedError);
  assert.equal(await newer.round(), 1);
});
