/** Dead letters over one whole broker in the simulation: what they are, and that each record has one or none, whatever crashes. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import {
  Ack,
  beginShare,
  configureShare,
  offsetsIn,
  pass,
  ShareMember,
} from "../../../test/share-fixture.ts";
import { offset } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { batchesIn } from "../../record/batch.ts";
import { recordsIn } from "../../record/record.ts";

const letterTopic = "dlq.g";
const takesLetters = { "errors.deadletterqueue.group.enable": "true" };

async function aQueue(
  context: TestContext,
  settings: Record<string, string> = {},
  topicConfigs: Record<string, string> | null = takesLetters,
): Promise<SimulatedBroker> {
  const broker = await aBroker(context, settings);
  await broker.createTopic("t");
  if (topicConfigs !== null) await broker.createTopic(letterTopic, 2, topicConfigs);
  await configureShare(broker, "g", {
    "share.auto.offset.reset": "earliest",
    "errors.deadletterqueue.topic.name": letterTopic,
  });
  await beginShare(broker, "g", "t");
  return broker;
}

const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();

/** What lies in the dead-letter topic: values, and the headers by name. */
async function letters(broker: SimulatedBroker) {
  const { topics, partitions } = broker.broker.services;
  const topic = topics.idOf(letterTopic);
  if (topic === undefined) return [];
  const found = [];
  for (const partition of partitions.ofTopic(topic)) {
    const read = await broker.scheduler.runUntil(
      Promise.resolve(partition.read({ offset: offset(0), bytesMax: 16 << 20, orOneBatch: true })),
    );
    assert.equal(read.kind, "read");
    if (read.kind !== "read") continue;
    for (const batch of read.chunks.flatMap((chunk) => [...batchesIn(chunk)])) {
      for (const { value, timestamp, headers } of recordsIn(batch, 1 << 20)) {
        const named = Object.fromEntries(headers.map((each) => [each.key, text(each.value)]));
        found.push({ value: text(value), timestamp, headers: named });
      }
    }
  }
  return found;
}

const patient = { waitMs: 1_000 };

test("a record that is rejected is a dead letter as it was, with where it came from and why", async (context) => {
  const broker = await aQueue(context);
  await broker.write("t", ["a", "b"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  assert.equal(await one.acknowledge(1, 1, Ack.reject), ErrorCode.NONE);
  const [letter, ...others] = await letters(broker);
  assert.deepEqual(others, []);
  const { "__dlq.errors.timestamp": timestamp, ...headers } = letter?.headers ?? {};
  assert.ok(Number(timestamp) > 0);
  assert.equal(letter?.timestamp, 1_700_000_001_000);
  assert.equal(letter?.value, "b");
  assert.deepEqual(headers, {
    h: "b",
    "__dlq.errors.topic": "t",
    "__dlq.errors.partition": "0",
    "__dlq.errors.offset": "1",
    "__dlq.errors.group": "g",
    "__dlq.errors.delivery.count": "1",
    "__dlq.errors.message": "A member of the share group rejected the record.",
  });
  assert.deepEqual(offsetsIn(await one.fetch()), []);
});

test("a record that was delivered as often as allowed is a dead letter, and the others go on", async (context) => {
  const broker = await aQueue(context);
  await configureShare(broker, "g", { "share.delivery.count.limit": "2" });
  await broker.write("t", ["a"]);
  const one = new ShareMember(broker, "one", "t");
  for (let times = 0; times < 2; times++) {
    assert.deepEqual(offsetsIn(await one.fetch(patient)), [0]);
    await one.acknowledge(0, 0, Ack.release);
  }
  await broker.write("t", ["b"]);
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [1]);
  assert.deepEqual(
    (await letters(broker)).map(({ value, headers }) => [value, headers["__dlq.errors.delivery.count"]]),
    [["a", "2"]],
  );
});

test("a crash at any moment leaves the letter and what archives its record, or neither", async (context) => {
  for (let at = 0; at < 12; at++) {
    const broker = await aQueue(context);
    await broker.write("t", ["a"]);
    const one = new ShareMember(broker, "one", "t");
    await one.fetch(patient);
    const said = { isAnswered: false };
    one.sendWord(0, 0, Ack.reject).then(
      () => (said.isAnswered = true),
      () => undefined,
    );
    await pass(broker, at * 2);
    broker.crash();
    await broker.boot();
    const two = new ShareMember(broker, "two", "t");
    const again = offsetsIn(await two.fetch(patient));
    const count = (await letters(broker)).length;
    assert.equal(count + again.length, 1, `after ${at * 2} ms`);
    if (said.isAnswered) assert.equal(count, 1);
  }
});

test("letters of records in segments are written as well", async (context) => {
  const broker = await aQueue(context);
  await broker.write("t", ["a", "b"]);
  await broker.scheduler.runUntil(broker.broker.flush());
  await broker.restart();
  const one = new ShareMember(broker, "one", "t");
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [0, 1]);
  await one.acknowledge(0, 1, Ack.reject);
  await pass(broker, 1_000);
  assert.deepEqual(new Set((await letters(broker)).map(({ value }) => value)), new Set(["a", "b"]));
});

test("while there is no topic for it the dead wait, over crashes too, and go there when it is made", async (context) => {
  const broker = await aQueue(context, {}, null);
  await broker.write("t", ["a", "b"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  assert.equal(await one.acknowledge(0, 0, Ack.reject), ErrorCode.NONE);
  assert.equal(await one.acknowledge(1, 1, Ack.accept), ErrorCode.NONE);
  broker.crash();
  await broker.boot();
  const two = new ShareMember(broker, "two", "t");
  assert.deepEqual(offsetsIn(await two.fetch(patient)), []);
  await broker.createTopic(letterTopic, 1, takesLetters);
  await pass(broker, 10_000);
  assert.deepEqual(
    (await letters(broker)).map(({ value }) => value),
    ["a"],
  );
});

for (const [what, configs] of [
  ["compacted", { ...takesLetters, "cleanup.policy": "compact" }],
  ["not for letters", {}],
] as const) {
  test(`no letter goes to a topic that is ${what}`, async (context) => {
    const broker = await aQueue(context, {}, configs);
    await broker.write("t", ["a"]);
    const one = new ShareMember(broker, "one", "t");
    await one.fetch(patient);
    assert.equal(await one.acknowledge(0, 0, Ack.reject), ErrorCode.NONE);
    await pass(broker, 10_000);
    assert.deepEqual(await letters(broker), []);
    const share = broker.broker.services.shares.all()[0];
    assert.deepEqual([share?.counts?.archiving, share?.startOffset], [1, 0]);
  });
}

test("the topic is made on first use where the broker may", async (context) => {
  const broker = await aQueue(context, { "errors.deadletterqueue.auto.create.topics.enable": "true" }, null);
  await broker.write("t", ["a"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  await one.acknowledge(0, 0, Ack.reject);
  await pass(broker, 1_000);
  assert.deepEqual(
    (await letters(broker)).map(({ value }) => value),
    ["a"],
  );
});

test("without copies a letter has the headers of its context alone", async (context) => {
  const broker = await aQueue(context);
  await configureShare(broker, "g", { "errors.deadletterqueue.copy.record.enable": "false" });
  await broker.write("t", ["a"]);
  const one = new ShareMember(broker, "one", "t");
  await one.fetch(patient);
  await one.acknowledge(0, 0, Ack.reject);
  const [letter] = await letters(broker);
  assert.deepEqual(
    [letter?.value, letter?.headers["h"], letter?.headers["__dlq.errors.offset"]],
    [null, undefined, "0"],
  );
});

test("many letters of one word are all there, in the order of their records", async (context) => {
  const broker = await aQueue(context);
  const values = Array.from({ length: 40 }, (_, at) => `${at} `.padEnd(40_000, "x"));
  for (let at = 0; at < values.length; at += 5) await broker.write("t", values.slice(at, at + 5));
  const one = new ShareMember(broker, "one", "t");
  const { records } = await one.fetch({ ...patient, bytesMax: 8 << 20 });
  assert.equal(records.length, 40);
  assert.equal(await one.acknowledge(0, 39, Ack.reject), ErrorCode.NONE);
  await pass(broker, 1_000);
  const offsets = (await letters(broker)).map(({ headers }) => Number(headers["__dlq.errors.offset"]));
  assert.deepEqual(
    offsets,
    records.map((each) => each.offset),
  );
});
