/** Where share groups begin and what of the log they are given: committed or not, in memory, in segments, read ahead. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { partitionIndex } from "../../base/ids.ts";
import { aBroker } from "../../../test/simulated-broker.ts";
import {
  Ack,
  aQueue,
  beginShare,
  configureShare,
  offsetsIn,
  pass,
  ShareMember,
  topicIdOf,
} from "../../../test/share-fixture.ts";
import { place, WireProducer } from "../../../test/transaction-fixture.ts";
import { beginMs } from "../../sim/clock.ts";

/** Waits until the share-partition is read, too. */
const patient = { waitMs: 1_000 };

/** A broker that has just begun, with a member for which it has read what lies in segments, and who did not take it. */
async function withReadAhead(context: TestContext, configs: Record<string, string> = {}) {
  const broker = await aQueue(context, ["a", "b"], configs);
  const writer = new WireProducer(broker.connect(), "new");
  await broker.scheduler.runUntil(writer.init());
  for (const [value, commits] of [
    ["aborted", false],
    ["committed", true],
  ] as const) {
    await broker.scheduler.runUntil(writer.write([place("t")], value));
    await broker.scheduler.runUntil(writer.end(commits));
    await pass(broker, 1_000);
  }
  await broker.scheduler.runUntil(broker.broker.flush());
  await broker.restart();
  const one = new ShareMember(broker, "one", "t");
  await one.fetch();
  await pass(broker, 1_000);
  const { shares } = broker.broker.services;
  assert.deepEqual([offsetsIn(await one.fetch()), shares.count], [[], 1]);
  await pass(broker, 1_000);
  assert.ok(shares.aheadBytes > 0);
  return { broker, one, shares };
}

test("what was read of segments and nobody took is let go after a while", async (context) => {
  const { broker, one, shares } = await withReadAhead(context);
  await pass(broker, 11_000);
  assert.equal(shares.aheadBytes, 0);
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [0, 1, 2, 4]);
  assert.equal(shares.aheadBytes, 0);
});

test("what was read of segments is let go when nobody of the group reads here any more", async (context) => {
  const { broker, one, shares } = await withReadAhead(context);
  one.vanish();
  await pass(broker, 100);
  assert.deepEqual([shares.aheadBytes, shares.count], [0, 0]);
});

test("what was read of segments before a group reads committed records only is not given to it", async (context) => {
  const { broker, one } = await withReadAhead(context);
  await configureShare(broker, "g", { "share.isolation.level": "read_committed" });
  const { records } = await one.fetch(patient);
  assert.deepEqual(
    records.map(({ value }) => value),
    ["a", "b", "committed"],
  );
});

for (const where of ["in memory", "in segments"]) {
  test(`a group that reads committed records is never given an aborted one, nor one that is open, ${where}`, async (context) => {
    const broker = await aQueue(context, ["a"], { "share.isolation.level": "read_committed" });
    const { scheduler } = broker;
    const [first, second] = ["first", "second"].map(
      (name) => new WireProducer(broker.connect(), "new", name),
    ) as [WireProducer, WireProducer];
    for (const writer of [first, second]) await scheduler.runUntil(writer.init());
    await scheduler.runUntil(first.write([place("t")], "aborted"));
    await scheduler.runUntil(second.write([place("t")], "committed"));
    await scheduler.runUntil(first.write([place("t")], "aborted, too", { sequence: 1 }));
    await broker.write("t", ["b"]);
    const early = await new ShareMember(broker, "early", "t").fetch(patient);
    assert.deepEqual(offsetsIn(early), [0], "behind what is open nothing is given");
    await scheduler.runUntil(first.end(false));
    await pass(broker, 1_000);
    if (where === "in segments") {
      await scheduler.runUntil(broker.broker.flush());
      await broker.restart();
      const waits = new WireProducer(broker.connect(), "new", "second");
      waits.now = second.now;
      assert.deepEqual(offsetsIn(await new ShareMember(broker, "late", "t").fetch(patient)), [0]);
      await scheduler.runUntil(waits.end(true));
    } else await scheduler.runUntil(second.end(true));
    await pass(broker, 1_000);
    const one = new ShareMember(broker, "one", "t");
    const { records } = await one.fetch({ ...patient, bytesMin: 1 });
    assert.deepEqual(
      records.map(({ value }) => value).filter((value) => value !== "a"),
      ["committed", "b"],
    );
    // What has no records for the group is done with: nothing of it holds up the start.
    for (const { offset: at } of records) assert.equal(await one.acknowledge(at, at, Ack.accept), 0);
    broker.crash();
    await broker.boot();
    const two = await new ShareMember(broker, "two", "t").fetch(patient);
    assert.deepEqual(
      two.records.map(({ value }) => value).filter((value) => value !== "a"),
      [],
    );
  });
}

test("a group that begins a time ago begins with the first record of that time, also after a crash", async (context) => {
  const broker = await aBroker(context);
  await broker.createTopic("t");
  const nowMs = Math.floor(beginMs + broker.scheduler.nowMs);
  const hourMs = 3_600_000;
  await broker.write("t", ["older"], { beginMs: nowMs - 3 * hourMs });
  await broker.write("t", ["old", "new"], { beginMs: nowMs - 2 * hourMs - 500 });
  await broker.write("t", ["newer"], { beginMs: nowMs - hourMs });
  await configureShare(broker, "g", { "share.auto.offset.reset": "by_duration:PT2H" });
  await beginShare(broker, "g", "t");
  const one = new ShareMember(broker, "one", "t");
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [2, 3]);
  await pass(broker, hourMs);
  broker.crash();
  await broker.boot();
  assert.deepEqual(offsetsIn(await new ShareMember(broker, "two", "t").fetch(patient)), [2, 3]);
});

test("a group that begins a time ago in which nothing was written begins at the end", async (context) => {
  const broker = await aQueue(context, ["a"], { "share.auto.offset.reset": "by_duration:PT1M" });
  const one = new ShareMember(broker, "one", "t");
  assert.deepEqual(offsetsIn(await one.fetch(patient)), []);
  await broker.write("t", ["b"]);
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [1]);
});

test("a member that holds what goes alone waits for more in segments without anything being read for it meanwhile", async (context) => {
  const broker = await aQueue(context, ["a", "b"], { "share.delivery.count.limit": "3" });
  const one = new ShareMember(broker, "one", "t");
  for (let count = 1; count < 3; count++) {
    assert.deepEqual(offsetsIn(await one.fetch({ ...patient, recordsMax: 1, strict: true })), [0]);
    assert.equal(await one.acknowledge(0, 0, Ack.release), 0);
  }
  await broker.scheduler.runUntil(broker.broker.flush());
  await broker.restart();
  const again = new ShareMember(broker, "again", "t");
  assert.deepEqual(offsetsIn(await again.fetch(patient)), [0], "alone: the last time");
  const partition = broker.broker.services.partitions.get(topicIdOf(broker, "t"), partitionIndex(0));
  assert.ok(partition !== undefined);
  const reads = context.mock.method(partition, "read");
  assert.deepEqual(offsetsIn(await again.fetch(patient)), [], "nothing beside it");
  assert.equal(reads.mock.callCount(), 0);
  assert.equal(await again.acknowledge(0, 0, Ack.accept), 0);
  assert.deepEqual(offsetsIn(await again.fetch(patient)), [1]);
});
