import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { type Meddling, Meddler } from "../../test/meddler.ts";
import { readBack } from "../../test/read-back.ts";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { type Client, createClient } from "./client.ts";
import { DeliveryError } from "./errors.ts";
import type { ClientOptions, ProducerOptions } from "./options.ts";
import type { Producer } from "./producer.ts";
import type { RecordMetadata } from "./records.ts";

function aClient(test: TestContext, broker: SimulatedBroker, options: Partial<ClientOptions> = {}): Client {
  const client = createClient({ bootstrap: broker.address, ...options }, broker.clientPorts());
  test.after(() => broker.scheduler.runUntil(client.close()));
  return client;
}

/** A producer whose requests a test can meddle with, warmed up with one record. */
async function meddled(
  test: TestContext,
  options: ProducerOptions = {},
  configs: { readonly [name: string]: string } = {},
): Promise<{ broker: SimulatedBroker; meddler: Meddler; producer: Producer }> {
  const broker = await aBroker(test);
  await broker.createTopic("orders", 1, configs);
  const meddler = await Meddler.before(broker);
  const producer = aClient(test, broker, { bootstrap: meddler.bootstrap, requestTimeoutMs: 2_000 }).producer({
    inFlightMax: 5,
    ...options,
  });
  await broker.scheduler.runUntil(producer.send({ topic: "orders", value: "warm" }));
  return { broker, meddler, producer };
}

/** Sends records one batch each, as fast as the window allows, and gives what became of each. */
async function sendApart(
  { broker, producer }: { broker: SimulatedBroker; producer: Producer },
  values: readonly string[],
): Promise<PromiseSettledResult<RecordMetadata>[]> {
  const sent: Promise<RecordMetadata>[] = [];
  for (const value of values) {
    const one = producer.send({ topic: "orders", value });
    one.catch(() => undefined);
    sent.push(one);
    // Each turn its own batch, without time passing.
    await Promise.resolve();
    await Promise.resolve();
  }
  return broker.scheduler.runUntil(Promise.allSettled(sent));
}

async function valuesOf(broker: SimulatedBroker): Promise<string[]> {
  return (await readBack(broker, "orders")).map(({ value }) => Buffer.from(value ?? []).toString()).slice(1);
}

/** Meddles with the requests by number, from 0 on; others pass. */
const byNumber = (meddlings: { readonly [number: number]: Meddling }): (() => Meddling) => {
  let number = 0;
  return () => meddlings[number++] ?? "pass";
};

/** What is sent before clients notice is in doubt; what is sent afterwards is not. */
async function crashAndNotice(broker: SimulatedBroker): Promise<void> {
  broker.crash();
  await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 1_000 });
}

const letters = ["a", "b", "c", "d", "e", "f", "g", "h"];

describe("a producer in trouble", () => {
  const troubles: readonly [string, { readonly [number: number]: Meddling }][] = [
    ["the connection ends between write and answer", { 1: "cut-after" }],
    ["the connection ends before the write", { 1: "cut-before" }],
    ["an answer never comes", { 0: "swallow-answer" }],
    [
      "a retriable refusal comes for one of several on their way",
      { 1: { error: ErrorCode.NOT_ENOUGH_REPLICAS } },
    ],
    ["answers are lost twice in a row", { 0: "cut-after", 1: "cut-after", 2: "cut-after", 5: "cut-after" }],
    [
      "refusals and losses mix",
      {
        0: { error: ErrorCode.KAFKA_STORAGE_ERROR },
        2: "cut-after",
        6: { error: ErrorCode.REQUEST_TIMED_OUT },
      },
    ],
    [
      "the broker forgot the producer, and nothing is in doubt",
      { 2: { error: ErrorCode.UNKNOWN_PRODUCER_ID } },
    ],
    [
      "the broker expects another sequence, and nothing is in doubt",
      { 0: { error: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER } },
    ],
    ["the broker knows a newer epoch", { 1: { error: ErrorCode.INVALID_PRODUCER_EPOCH } }],
  ];
  for (const [what, meddlings] of troubles) {
    it(`delivers every record once and in order when ${what}`, async (test) => {
      const world = await meddled(test);
      world.meddler.onProduce = byNumber(meddlings);
      const results = await sendApart(world, letters);
      assert.deepEqual(await valuesOf(world.broker), letters);
      results.forEach((result, index) => {
        assert.equal(result.status, "fulfilled", String((result as PromiseRejectedResult).reason));
        assert.equal(result.value.offset, index + 1);
      });
      assert.equal(world.producer.stats.bufferedBytes, 0);
      assert.equal(world.producer.stats.acknowledged, letters.length + 1);
    });
  }

  it("tells of a batch only after those before it, whose answer did not say what became of them", async (test) => {
    const world = await meddled(test);
    world.meddler.onProduce = byNumber({ 0: { errorAfter: ErrorCode.REQUEST_TIMED_OUT } });
    const told: number[] = [];
    const sent = ["a", "b", "c"].map(async (value, index) => {
      for (let turn = 0; turn < 2 * index; turn++) await Promise.resolve();
      const { offset } = await world.producer.send({ topic: "orders", value });
      told.push(offset);
    });
    await world.broker.scheduler.runUntil(Promise.all(sent));
    assert.deepEqual(told, [1, 2, 3]);
    assert.deepEqual(await valuesOf(world.broker), ["a", "b", "c"]);
    assert.equal(world.producer.stats.retries, 1);
    assert.equal(world.producer.stats.bufferedBytes, 0);
  });

  it("says of what was acknowledged that it was, when the batch before it is given up", async (test) => {
    const world = await meddled(test, { deliveryTimeoutMs: 2_000 });
    let number = 0;
    world.meddler.onProduce = () => (number++ === 1 ? "pass" : { errorAfter: ErrorCode.REQUEST_TIMED_OUT });
    const results = await sendApart(world, ["a", "b"]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["rejected", "fulfilled"],
    );
    assert.equal(((results[0] as PromiseRejectedResult).reason as DeliveryError).fate, "unknown");
    assert.deepEqual(await valuesOf(world.broker), ["a", "b"]);
    await world.broker.scheduler.run({ untilMs: world.broker.scheduler.nowMs + 5_000 });
    assert.equal(world.producer.stats.bufferedBytes, 0);
    assert.equal(world.producer.stats.acknowledged, 2);
  });

  it("follows the leader to another broker, and keeps the order", async (test) => {
    const world = await meddled(test);
    let number = 0;
    world.meddler.onProduce = (_request, node) => {
      if (node === 0 && number++ === 1) {
        world.meddler.leader = 1;
        return { error: ErrorCode.NOT_LEADER_OR_FOLLOWER };
      }
      return "pass";
    };
    const results = await sendApart(world, letters);
    assert.deepEqual(await valuesOf(world.broker), letters);
    assert(results.every(({ status }) => status === "fulfilled"));
    assert((world.meddler.produced[1] ?? 0) > 0);
  });

  it("says that the fate is unknown when the broker lost track of a batch that may have been written", async (test) => {
    const world = await meddled(test, { inFlightMax: 1 });
    world.meddler.onProduce = byNumber({ 0: "cut-after", 1: { error: ErrorCode.UNKNOWN_PRODUCER_ID } });
    const [first, second] = await sendApart(world, ["a", "b"]);
    assert.equal(first?.status, "rejected");
    const cause = first.reason as DeliveryError;
    assert.equal(cause.fate, "unknown");
    assert.match(
      cause.message,
      /^1 record for "orders" partition 0 may or may not have been written: .*UNKNOWN_PRODUCER_ID/,
    );
    assert.equal(second?.status, "fulfilled");
    assert.deepEqual(await valuesOf(world.broker), ["a", "b"]);
    assert.equal(world.producer.stats.epochs, 1);
  });

  it("takes the broker's word for a duplicate, without an offset", async (test) => {
    const world = await meddled(test);
    world.meddler.onProduce = byNumber({ 0: { error: ErrorCode.DUPLICATE_SEQUENCE_NUMBER } });
    const [result] = await sendApart(world, ["a"]);
    assert.equal(result?.status, "fulfilled");
    assert.equal(result.value.offset, -1);
  });

  it("does not try again what is refused for good, and goes on with the rest", async (test) => {
    const world = await meddled(test);
    world.meddler.onProduce = byNumber({ 1: { error: ErrorCode.INVALID_RECORD } });
    const results = await sendApart(world, ["a", "b", "c", "d"]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled", "fulfilled"],
    );
    const cause = (results[1] as PromiseRejectedResult).reason as DeliveryError;
    assert.equal(cause.fate, "not-written");
    assert.deepEqual(await valuesOf(world.broker), ["a", "c", "d"]);
  });

  it("splits a batch that the broker finds too large, and keeps the order", async (test) => {
    const world = await meddled(test, {}, { "max.message.bytes": "2000" });
    const { broker, producer } = world;
    const values = Array.from({ length: 100 }, (_, index) => `${index}-${"x".repeat(100)}`);
    const sent = await broker.scheduler.runUntil(
      Promise.all(values.map((value) => producer.send({ topic: "orders", value }))),
    );
    assert.deepEqual(await valuesOf(broker), values);
    assert.deepEqual(
      sent.map(({ offset }) => offset),
      values.map((_, index) => index + 1),
    );
    const [large] = await sendApart(world, ["y".repeat(3_000)]);
    assert.equal(large?.status, "rejected");
    assert.equal((large.reason as DeliveryError).fate, "not-written");
    assert.match(String(large.reason), /MESSAGE_TOO_LARGE/);
    assert.equal(producer.stats.bufferedBytes, 0);
  });

  it("fails what waits for a topic that was deleted, at once and not at the deadline", async (test) => {
    const world = await meddled(test);
    const { broker, producer } = world;
    const { DeleteTopics } = await import("../protocol/messages/delete-topics.ts");
    await broker.ask(DeleteTopics, { topics: [], topicNames: ["orders"], timeoutMs: 1_000 } as never, 5);
    const begin = broker.scheduler.nowMs;
    const [result] = await sendApart({ broker, producer }, ["a"]);
    assert.equal(result?.status, "rejected");
    assert.match(String(result.reason), /not written: There is no topic "orders"/);
    assert(broker.scheduler.nowMs - begin < 10_000);
    // Created again it is another topic, and sequences begin anew.
    await broker.createTopic("orders");
    const again = await sendApart({ broker, producer }, ["b", "c"]);
    assert(again.every(({ status }) => status === "fulfilled"));
    assert.deepEqual(await valuesOf(broker), ["c"]);
  });
});

describe("a producer whose broker is away", () => {
  it("delivers after nearly two minutes what it took, in order", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    await broker.scheduler.runUntil(producer.send({ topic: "orders", value: "warm" }));
    broker.crash();
    const sent = letters.map((value) => producer.send({ topic: "orders", value }));
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 110_000 });
    await broker.boot();
    const places = await broker.scheduler.runUntil(Promise.all(sent));
    assert.deepEqual(await valuesOf(broker), letters);
    assert.deepEqual(
      places.map(({ offset }) => offset),
      letters.map((_, index) => index + 1),
    );
  });

  it("gives up after the delivery deadline, and says that nothing was written and why", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    await broker.scheduler.runUntil(producer.send({ topic: "orders", value: "warm" }));
    await crashAndNotice(broker);
    const begin = broker.scheduler.nowMs;
    const results = await sendApart({ broker, producer }, ["a", "b"]);
    const spent = broker.scheduler.nowMs - begin;
    assert(spent >= 120_000 && spent < 122_000, `${spent} ms`);
    for (const result of results) {
      assert.equal(result.status, "rejected");
      const cause = result.reason as DeliveryError;
      assert.equal(cause.fate, "not-written");
      assert.match(cause.message, /could not be delivered within 120000 ms/);
      assert.match(cause.message, /The broker at 127.0.0.1:9092 cannot be reached: nothing listens there/);
    }
    assert.equal(producer.stats.bufferedBytes, 0);
    await broker.boot();
    assert.deepEqual(await valuesOf(broker), []);
  });

  it("says that the fate is unknown of what was on its way when the deadline passed", async (test) => {
    const world = await meddled(test, { deliveryTimeoutMs: 1_000 });
    world.meddler.onProduce = () => "swallow-answer";
    const [result] = await sendApart(world, ["a"]);
    assert.equal(result?.status, "rejected");
    assert.equal((result.reason as DeliveryError).fate, "unknown");
    await world.broker.scheduler.run({ untilMs: world.broker.scheduler.nowMs + 5_000 });
    assert.equal(world.producer.stats.bufferedBytes, 0);
  });

  it("holds no more than its buffer and a line as long, and refuses the rest at once", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const bufferBytes = 100_000;
    const producer = aClient(test, broker).producer({ bufferBytes, batchBytes: 10_000 });
    await broker.scheduler.runUntil(producer.send({ topic: "orders", value: "warm" }));
    await crashAndNotice(broker);
    const value = "x".repeat(959);
    const sent = Array.from({ length: 400 }, () => producer.send({ topic: "orders", value }));
    assert(producer.stats.bufferedBytes <= bufferBytes + 10_000);
    assert(producer.stats.waitingBytes <= bufferBytes);
    assert.equal(producer.hasRoom, false);
    const ready = producer.ready();
    const settled = Promise.allSettled(sent);
    await broker.boot();
    const results = await broker.scheduler.runUntil(settled);
    const refused = results.flatMap((result) =>
      result.status === "rejected" ? [result.reason as DeliveryError] : [],
    );
    assert(refused.length > 190 && refused.length < 230, `${refused.length} refused`);
    for (const cause of refused) {
      assert.equal(cause.fate, "not-written");
      assert.equal((cause.cause as { code?: string }).code, "BUFFER_FULL");
    }
    await broker.scheduler.runUntil(ready);
    assert.equal((await valuesOf(broker)).length, 400 - refused.length);
  });

  it("closes in time although nothing can be delivered, and tells each record", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders");
    const producer = aClient(test, broker).producer();
    await broker.scheduler.runUntil(producer.send({ topic: "orders", value: "warm" }));
    await crashAndNotice(broker);
    const sent = producer.send({ topic: "orders", value: "a" });
    const outcome = assert.rejects(sent, /was not written: The producer was closed/);
    const begin = broker.scheduler.nowMs;
    await broker.scheduler.runUntil(producer.close({ timeoutMs: 3_000 }));
    assert(broker.scheduler.nowMs - begin < 3_100);
    await outcome;
    await broker.boot();
  });

  it("gives each record that comes too late its own reason, and not those of the records before it", async (test) => {
    const world = await meddled(test, { deliveryTimeoutMs: 1_000 });
    await crashAndNotice(world.broker);
    const why: string[] = [];
    for (const value of letters) {
      const [result] = await sendApart(world, [value]);
      why.push(((result as PromiseRejectedResult).reason as DeliveryError).message);
    }
    for (const each of why) assert.equal(each.split("could not be delivered").length, 2, each);
  });
});
