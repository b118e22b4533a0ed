import assert from "node:assert/strict";
import fs, { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { RefusedError } from "../base/errors.ts";
import { apis } from "../protocol/registry.ts";
import { Disconnected, type SimClient } from "../sim/client.ts";
import { SimRandom } from "../sim/random.ts";
import { connect, initProducer, produce, topicNames } from "./raw-client-fixture.ts";
import { startBroker, WaitTimeoutError } from "./test-broker.ts";

/** More of them with HOLDFAST_CRASHES=100. */
const crashes = Number(process.env["HOLDFAST_CRASHES"] ?? 8);

test("a broker serves clients on the loopback address that it names, and tells what it was sent", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  assert.equal(broker.address, `127.0.0.1:${broker.port}`);
  const client = await connect(broker);
  await produce(client, "orders", {
    key: "o-1",
    value: "one apple",
    headers: [{ key: "trace", value: Buffer.from("t1") }],
    timestamp: 1_700_000_000_123,
  });
  await produce(client, "orders", { key: null, value: null });
  const [first, second] = await broker.records("orders");
  assert.deepEqual(first, {
    topic: "orders",
    partition: 0,
    offset: 0,
    timestampMs: 1_700_000_000_123,
    key: "o-1",
    value: "one apple",
    headers: { trace: "t1" },
  });
  assert.equal(Buffer.from(first?.bytes.value ?? []).toString(), "one apple");
  assert.deepEqual([second?.offset, second?.key, second?.value], [1, null, null]);
  client.close();
});

test("topics are made as they are asked for, and a wrong one is refused in a sentence", async () => {
  await using broker = await startBroker({ topics: ["a", { name: "b", partitions: 3 }] });
  await broker.createTopic("c", { configs: { "retention.ms": "60000" } });
  const client = await connect(broker);
  assert.deepEqual(new Set(await topicNames(client)), new Set(["a", "b", "c"]));
  await produce(client, "b", { value: "in two" }, { partition: 2 });
  assert.equal((await broker.records("b", { partition: 2 })).length, 1);
  assert.equal((await broker.records("b", { partition: 0 })).length, 0);
  assert.deepEqual(await broker.records("nowhere"), []);
  await assert.rejects(broker.createTopic("a"), /topic a was not created: TOPIC_ALREADY_EXISTS/);
  await assert.rejects(broker.createTopic("d", { configs: { "retention.ms": "soon" } }), RefusedError);
  client.close();
});

for (const data of ["memory", "temporary"] as const) {
  test(`a crash loses no acknowledged record: ${data}`, async () => {
    await using broker = await startBroker({ data, seed: crashes, topics: ["orders"] });
    const random = new SimRandom(crashes);
    const acked = new Map<number, string>();
    let number = 0;
    for (let round = 0; round < crashes; round++) {
      const clients = await Promise.all([connect(broker), connect(broker)]);
      // Up to 16 requests are under way when the power goes.
      const before = acked.size;
      const enough = Promise.withResolvers<void>();
      const wanted = before + 5 + random.below(40);
      const writers = Array.from({ length: 16 }, async (_, index) => {
        for (;;) {
          const value = `${round}-${number++}-${"x".repeat(random.below(9000))}`;
          acked.set(await produce(clients[index % 2] as SimClient, "orders", { value }), value);
          if (acked.size === wanted) enough.resolve();
        }
      });
      await Promise.race([enough.promise, ...writers]);
      const crashed = broker.crash();
      const ends = await Promise.allSettled(writers);
      assert.ok(ends.every((end) => end.status === "rejected" && end.reason instanceof Disconnected));
      await crashed;
      await broker.restart();
      const there = await broker.records("orders");
      for (const [offset, value] of acked) assert.equal(there[offset]?.value, value);
    }
  });
}

test("after a crash nobody listens, and after a restart the address is the same", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  const { address } = broker;
  const client = await connect(broker);
  const asked = assert.rejects(produce(client, "orders", { value: "lost or not" }), Disconnected);
  await broker.crash();
  await asked;
  await assert.rejects(connect(broker), /nothing listens/);
  await assert.rejects(broker.records("orders"), /it was crashed; call restart\(\) first/);
  await assert.rejects(broker.stopped(), /it was crashed/);
  await broker.restart();
  assert.equal(broker.address, address);
  (await connect(broker)).close();
});

test("a restart without a crash keeps everything, and a crash of a broker that is down changes nothing", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  const client = await connect(broker);
  await produce(client, "orders", { value: "kept" });
  await broker.restart();
  await broker.crash();
  await broker.crash();
  await broker.restart();
  assert.deepEqual(
    (await broker.records("orders")).map(({ value }) => value),
    ["kept"],
  );
});

test("a dropped Produce answer ends the connection, and the producer's second try is stored once", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  const first = await connect(broker);
  const id = await initProducer(first);
  await produce(first, "orders", { value: "before" }, { producer: { id, sequence: 0 } });
  broker.faults.dropNextResponse("Produce");
  const record = { value: "once" };
  const producer = { id, sequence: 1 };
  await assert.rejects(produce(first, "orders", record, { producer }), Disconnected);
  const second = await connect(broker);
  assert.equal(await produce(second, "orders", record, { producer }), 1, "the offset of the first try");
  assert.deepEqual(
    (await broker.records("orders")).map(({ value }) => value),
    ["before", "once"],
  );
  second.close();
});

test("a delayed answer comes late, and what was asked behind it later still", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  const client = await connect(broker);
  broker.faults.delay("Metadata", 30);
  const begun = performance.now();
  const order: string[] = [];
  await Promise.all([
    topicNames(client).then(() => order.push("metadata")),
    produce(client, "orders", { value: "behind" }).then(() => order.push("produce")),
  ]);
  assert.deepEqual(order, ["metadata", "produce"]);
  // A timer may be a millisecond early.
  assert.ok(performance.now() - begun >= 29);
  broker.faults.clear();
  client.close();
});

test("after a failed sync nothing is acknowledged, and a restart brings back what was", async () => {
  for (const seed of [1, 2, 3, 4]) {
    await using broker = await startBroker({ seed, topics: ["orders"] });
    const client = await connect(broker);
    await produce(client, "orders", { value: "acknowledged" });
    broker.faults.failSync();
    await assert.rejects(produce(client, "orders", { value: "unknown" }), Disconnected);
    assert.match((await broker.stopped()).message, /the WAL of epoch 1 stopped/);
    await assert.rejects(broker.records("orders"), /this one stopped: the WAL .*Call restart\(\)/);
    await assert.rejects(connect(broker), /nothing listens/);
    await broker.restart();
    const values = (await broker.records("orders")).map(({ value }) => value);
    assert.ok(values.length === 1 || (values.length === 2 && values[1] === "unknown"));
    assert.equal(values[0], "acknowledged");
    const again = await connect(broker);
    assert.equal(await produce(again, "orders", { value: "next" }), values.length);
    again.close();
  }
});

test("faults.clear takes back what has not struck", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  broker.faults.dropNextResponse("Produce");
  broker.faults.failSync();
  broker.faults.delay("Produce", 60_000);
  broker.faults.clear();
  const client = await connect(broker);
  assert.equal(await produce(client, "orders", { value: "fine" }), 0);
  client.close();
});

test("the names of APIs that can be made to fail are those of the protocol", async () => {
  await using broker = await startBroker();
  for (const { name } of apis) broker.faults.delay(name as "Produce", 0);
  assert.throws(
    () => broker.faults.dropNextResponse("Prodcue" as "Produce"),
    /no API Prodcue.*Produce, Fetch/,
  );
});

test("waitFor gives the records once they are there, also when the broker crashes in between", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  const client = await connect(broker);
  await produce(client, "orders", { value: "1" });
  const waiting = broker.waitFor({ topic: "orders", count: 2 });
  await broker.crash();
  await broker.restart();
  const again = await connect(broker);
  await produce(again, "orders", { value: "2" });
  assert.deepEqual(
    (await waiting).map(({ value }) => value),
    ["1", "2"],
  );
  again.close();
});

test("a waitFor in vain says how many are there, and what clients asked and were told", async () => {
  await using broker = await startBroker({ topics: ["orders", "payments"] });
  const client = await connect(broker);
  await produce(client, "orders", { value: "1" });
  await assert.rejects(produce(client, "unheard", { value: "1" }), /refused: UNKNOWN_TOPIC_OR_PARTITION/);
  await assert.rejects(broker.waitFor({ topic: "orders", count: 2, timeoutMs: 20 }), (error) => {
    assert.ok(error instanceof WaitTimeoutError);
    const lines = error.message.split("\n");
    assert.equal(lines[0], 'Waited 20 ms for 2 records in "orders"; 1 is there.');
    assert.equal(lines[1], "The last 2 requests:");
    assert.match(lines[2] ?? "", /^ {2}\d+ ms ago #1 raw Produce v12 orders, \d+ bytes: ok after [\d.]+ ms$/);
    assert.match(lines[3] ?? "", /Produce v12 unheard, \d+ bytes: UNKNOWN_TOPIC_OR_PARTITION after/);
    return true;
  });
  await assert.rejects(
    broker.waitFor({ topic: "order", timeoutMs: 0 }),
    /there is no such topic; the topics are: orders, payments/,
  );
  await broker.crash();
  await assert.rejects(
    broker.waitFor({ topic: "orders", timeoutMs: 0 }),
    /the broker is down, because it was crashed/,
  );
});

test("a failure tells of the last 20 requests", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  const client = await connect(broker);
  for (let count = 0; count < 25; count++) await produce(client, "orders", { value: String(count) });
  assert.equal(broker.describeExchanges().split("\n").length, 21);
  client.close();
});

test("two brokers side by side know nothing of each other", async () => {
  await using one = await startBroker({ topics: ["orders"] });
  await using two = await startBroker({ data: "temporary", topics: ["orders"] });
  const client = await connect(one);
  two.faults.dropNextResponse("Produce");
  await produce(client, "orders", { value: "one" });
  await two.crash();
  await produce(client, "orders", { value: "still here" });
  await two.restart();
  assert.equal((await one.records("orders")).length, 2);
  assert.equal((await two.records("orders")).length, 0);
  client.close();
});

test("a temporary directory goes with its broker", async () => {
  const before = new Set(temporaryDirectories());
  const broker = await startBroker({ data: "temporary" });
  const mine = temporaryDirectories().filter((name) => !before.has(name));
  assert.ok(mine.length >= 1);
  await broker.close();
  await broker.close();
  // Other processes of this machine may have made some too.
  assert.ok(mine.some((name) => !existsSync(join(tmpdir(), name))));
  await assert.rejects(broker.restart(), /was closed/);
});

test("a directory of one's own stays, and is one broker's at a time", async (t) => {
  const data = mkdtempSync(join(tmpdir(), "holdfast-own-"));
  t.after(() => rmSync(data, { recursive: true }));
  {
    await using broker = await startBroker({ data, topics: ["orders"] });
    const client = await connect(broker);
    await produce(client, "orders", { value: "kept" });
    await assert.rejects(startBroker({ data }), /is in use by process/);
    await broker.crash();
    await broker.restart();
    client.close();
  }
  await using broker = await startBroker({ data });
  assert.deepEqual(
    (await broker.records("orders")).map(({ value }) => value),
    ["kept"],
  );
});

test("a setting that is wrong and a port that is taken are refused in a sentence", async () => {
  await assert.rejects(startBroker({ settings: { "num.partitions": "many" } }), /num\.partitions/);
  await using broker = await startBroker();
  await assert.rejects(startBroker({ port: broker.port }), new RegExp(`Port ${broker.port}`));
});

test("a broker that stopped for a reason of its own says so at the end, and one that was told to does not", async (t) => {
  const broker = await startBroker({ data: "temporary", topics: ["orders"] });
  const client = await connect(broker);
  const refuse = (...args: unknown[]): void => {
    (args.at(-1) as (error: Error) => void)(Object.assign(new Error("refused"), { code: "EIO" }));
  };
  t.mock.method(fs, "writev", refuse);
  await assert.rejects(produce(client, "orders", { value: "1" }), Disconnected);
  await assert.rejects(broker.close(), /the WAL of epoch 1 stopped.*EIO/);
  t.mock.restoreAll();
  const told = await startBroker({ topics: ["orders"] });
  told.faults.failSync();
  await assert.rejects(
    connect(told).then((client) => produce(client, "orders", { value: "1" })),
    Disconnected,
  );
  await told.close();
});

test("a test's fake timers do not stop the broker", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "setImmediate", "Date"] });
  await using broker = await startBroker({ topics: ["orders"] });
  const client = await connect(broker);
  broker.faults.delay("Produce", 5);
  await produce(client, "orders", { value: "on time" });
  await broker.crash();
  await broker.restart();
  assert.equal((await broker.waitFor({ topic: "orders" })).length, 1);
});

test("what the broker logs goes to the logger that was given", async () => {
  const events: string[] = [];
  const note = (event: string): void => void events.push(event);
  await using broker = await startBroker({ logger: { debug: note, info: note, warn: note, error: note } });
  broker.faults.failSync();
  const client = await connect(broker);
  await assert.rejects(
    broker.createTopic("a").then(() => produce(client, "a", { value: "1" })),
    Disconnected,
  );
  assert.ok(events.includes("wal-failed"));
});

test("a second broker of a process starts quickly", async (t) => {
  await (await startBroker()).close();
  for (const data of ["memory", "temporary"]) {
    const begun = performance.now();
    await using broker = await startBroker({ data });
    t.diagnostic(`${data}: ${(performance.now() - begun).toFixed(1)} ms until ${broker.address} serves`);
  }
});

function temporaryDirectories(): readonly string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith("holdfast-test-"));
}
