import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { all, runFor } from "../../../test/consumer-fixture.ts";
import { Door } from "../../../test/door.ts";
import { committed, Process, text } from "../../../test/group-fixture.ts";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Produce, type ProduceRequest } from "../../protocol/messages/produce.ts";
import { UnknownTopicError } from "../errors.ts";
import { HandlerError } from "../group/errors.ts";
import type { RunOptions } from "../group/handlers.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { Reject } from "../share/errors.ts";
import { letterBatch } from "../../broker/share/letter-batch.ts";
import { BatchView } from "../../record/batch.ts";
import { recordsIn } from "../../record/record.ts";
import { type DeadLetter, DeadLetterHeader, deadLetterOf } from "./letter.ts";

interface World {
  readonly broker: SimulatedBroker;
  readonly door: Door;
  readonly run: <T>(promise: Promise<T>) => Promise<T>;
  readonly letters: () => Promise<readonly DeadLetter[]>;
}

async function aWorld(test: TestContext): Promise<World> {
  const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
  for (const topic of ["t", "dead"]) await broker.createTopic(topic);
  await broker.write("t", ["a", "b", "c"], { key: "k" });
  const run = <T>(promise: Promise<T>): Promise<T> => broker.scheduler.runUntil(promise);
  const letters = async (): Promise<readonly DeadLetter[]> => {
    const { client } = new Process(test, broker);
    return (await run(all(client.consumer({ topic: "dead", until: "end" })))).map(deadLetterOf);
  };
  return { broker, door: await Door.before(broker), run, letters };
}

const working = (test: TestContext, { broker, door }: World, options: RunOptions): Promise<void> =>
  new Process(test, broker, door.bootstrap).member({ until: "end" }).run(options);

const failingAt =
  (value: string, failure: () => unknown, seen: string[] = []) =>
  (record: IncomingRecord): void => {
    seen.push(text(record));
    if (text(record) === value) throw failure();
  };

describe("a member with dead letters", () => {
  it("calls a handler that threw again, then writes the record to the dead-letter topic and goes on", async (test) => {
    const world = await aWorld(test);
    const seen: string[] = [];
    const told: string[] = [];
    const beginMs = world.broker.scheduler.nowMs;
    const handle = failingAt("b", () => new Error("no such customer"), seen);
    const onDeadLetter = (record: IncomingRecord): void => void told.push(text(record));
    const deadLetters = { topic: "dead", retries: 2, delayMs: 5_000, onDeadLetter };
    await world.run(working(test, world, { handle, deadLetters }));
    assert.deepEqual(seen, ["a", "b", "b", "b", "c"]);
    assert.deepEqual(told, ["b"]);
    assert.ok(world.broker.scheduler.nowMs - beginMs >= 10_000);
    const [letter, ...more] = await world.letters();
    assert.equal(more.length, 0);
    assert.deepEqual(letter?.origin, { topic: "t", partition: 0, offset: 1 });
    assert.deepEqual([letter.group, letter.deliveryCount, letter.reason], ["g", 3, "no such customer"]);
    assert.deepEqual([text(letter.record), String(letter.record.key)], ["b", "k"]);
    assert.equal(letter.record.timestampMs, 1_700_000_001_000);
    assert.equal(letter.record.headers[0]?.key, "h");
    await runFor(world.broker, 5_000);
    assert.deepEqual(await committed(world.broker), { "t/0": 3 });
  });

  it("does not call again what throws Reject", async (test) => {
    const world = await aWorld(test);
    const seen: string[] = [];
    const handle = failingAt("a", () => new Reject("not a bill"), seen);
    await world.run(working(test, world, { handle, deadLetters: { topic: "dead" } }));
    assert.deepEqual(seen, ["a", "b", "c"]);
    assert.deepEqual(
      (await world.letters()).map(({ reason }) => reason),
      ["not a bill"],
    );
  });

  // Broken when the record is finished before the letter is acknowledged: the commit stands behind it then.
  it("commits nothing behind a record whose dead letter is not durable", async (test) => {
    const world = await aWorld(test);
    world.door.on(Produce, ({ topicData }: ProduceRequest) => ({
      answer: {
        responses: topicData.map(({ name, topicId, partitionData }) => ({
          name,
          topicId,
          partitionResponses: partitionData.map(({ index }) => ({
            index,
            errorCode: ErrorCode.POLICY_VIOLATION,
            baseOffset: -1,
            logAppendTimeMs: -1,
            logStartOffset: -1,
            recordErrors: [],
            errorMessage: "the topic is full",
            currentLeader: { leaderId: -1, leaderEpoch: -1 },
          })),
        })),
        throttleTimeMs: 0,
        nodeEndpoints: [],
      },
    }));
    const handle = failingAt("b", () => new Error("no"));
    const deadLetters = { topic: "dead", retries: 0 };
    const failed = working(test, world, { handle, order: "none", concurrency: 3, deadLetters });
    await assert.rejects(world.run(failed), HandlerError);
    await runFor(world.broker, 5_000);
    assert.deepEqual(await committed(world.broker), { "t/0": 1 });
  });

  it("says at once that the dead-letter topic is missing, and handles nothing", async (test) => {
    const world = await aWorld(test);
    const seen: string[] = [];
    const handle = failingAt("", () => null, seen);
    const failed = working(test, world, { handle, deadLetters: { topic: "deed" } });
    await assert.rejects(
      world.run(failed),
      (cause: HandlerError) => cause.cause instanceof UnknownTopicError,
    );
    assert.deepEqual(seen, []);
  });

  it("writes the headers that the broker writes for share groups, in the same order", async (test) => {
    const world = await aWorld(test);
    const handle = failingAt("a", () => new Reject("not a bill"));
    await world.run(working(test, world, { handle, deadLetters: { topic: "dead" } }));
    const [letter] = await world.letters();
    const origin = {
      topic: "t",
      partition: 0,
      groupId: "g",
      deliveryCount: 1,
      reason: "rejected",
      wallMs: 7,
    } as const;
    const { builder } = letterBatch(new Map([[0, null]]), { first: 0, last: 0 }, origin, true, 1e6);
    const [record] = [...recordsIn(BatchView.at(builder.build(), 0), 1e6)];
    const names = (headers: readonly { readonly key: string }[] = []): string[] =>
      headers.flatMap(({ key }) => (key.startsWith("__") ? [key] : []));
    assert.deepEqual(names(letter?.record.headers), names(record?.headers));
    const died = letter?.record.headers.find(({ key }) => key === DeadLetterHeader.timestamp)?.value;
    assert.match(String(died), /^\d{13}$/);
  });

  it("writes one letter and goes on though what it calls to tell of it throws", async (test) => {
    const world = await aWorld(test);
    const seen: string[] = [];
    const oops = (): never => {
      throw new Error("oops");
    };
    const handle = failingAt("b", oops, seen);
    const deadLetters = { topic: "dead", retries: 1, delayMs: oops, onDeadLetter: oops };
    await world.run(working(test, world, { handle, deadLetters }));
    assert.deepEqual(seen, ["a", "b", "b", "c"]);
    assert.equal((await world.letters()).length, 1);
  });
});
