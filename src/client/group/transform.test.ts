import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { aClient, all, counted, runFor, sleep, values } from "../../../test/consumer-fixture.ts";
import { Door, type Treatment } from "../../../test/door.ts";
import { committed, Process, text } from "../../../test/group-fixture.ts";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import type { AnyApi, Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../../protocol/messages/add-partitions-to-txn.ts";
import { ApiVersions, type ApiVersionsResponse } from "../../protocol/messages/api-versions.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { FindCoordinator } from "../../protocol/messages/find-coordinator.ts";
import { InitProducerId } from "../../protocol/messages/init-producer-id.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { TxnOffsetCommit, type TxnOffsetCommitRequest } from "../../protocol/messages/txn-offset-commit.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import {
  ProducerFencedError,
  TransactionAbortedError,
  TransactionUnknownError,
  TransactionUsageError,
} from "../transaction-errors.ts";
import type { TransactionalProducer } from "../transactional-producer.ts";
import { HandlerError, NotOwnedError } from "./errors.ts";
import type { GroupConsumer } from "./group-consumer.ts";
import type { GroupConsumerOptions } from "./options.ts";
import type { TransformOptions } from "./transform.ts";

const count = 60;

interface World {
  readonly broker: SimulatedBroker;
  readonly door: Door;
  readonly run: <T>(promise: Promise<T>) => Promise<T>;
  /** What readers of committed records see of the output, sorted as numbers. */
  readonly output: () => Promise<string[]>;
}

/** `count` records in the two partitions of t, and the topic out. `version` 1: as brokers are before KIP-890. */
async function aWorld(test: TestContext, version: 1 | 2 = 2): Promise<World> {
  const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
  await broker.createTopic("t", 2);
  await broker.createTopic("out", 2);
  for (let at = 0; at < count; at += 5)
    await broker.write("t", counted(at, at + 5), { partition: (at / 5) % 2 });
  const door = await Door.before(broker);
  if (version === 1) {
    door.on(ApiVersions, () => ({
      rewrite: (answer: ApiVersionsResponse) => ({ ...answer, finalizedFeatures: [] }),
    }));
  }
  const run = <T>(promise: Promise<T>): Promise<T> => broker.scheduler.runUntil(promise);
  return {
    broker,
    door,
    run,
    output: async () => {
      const records = await run(all(aClient(test, broker).consumer({ topic: "out", until: "end" })));
      return values(records).toSorted((a, b) => Number(a) - Number(b));
    },
  };
}

/** One process that copies t to out. */
class Copier {
  readonly process: Process;
  readonly consumer: GroupConsumer;
  readonly producer: TransactionalProducer;

  constructor(
    test: TestContext,
    { broker, door }: World,
    options: Partial<GroupConsumerOptions> = {},
    name = "copier",
  ) {
    this.process = new Process(test, broker, door.bootstrap);
    this.consumer = this.process.member(options);
    this.producer = this.process.client.producer({ transactionalId: name, transactionTimeoutMs: 10_000 });
  }

  copy(more: Partial<TransformOptions> = {}): Promise<void> {
    return this.consumer.transform(this.producer, {
      recordsMax: 7,
      handle: (record, { send }) => {
        void send({ topic: "out", key: record.value, value: record.value });
      },
      ...more,
    });
  }
}

const isAllCommitted = async (broker: SimulatedBroker): Promise<boolean> => {
  const at = await committed(broker);
  return at["t/0"] === count / 2 && at["t/1"] === count / 2;
};

/** Runs the world until the group has got through the input. */
async function untilDone({ broker }: World, longestMs = 120_000): Promise<void> {
  const endMs = broker.scheduler.nowMs + longestMs;
  while (broker.scheduler.nowMs < endMs) {
    await runFor(broker, 200);
    if (await isAllCommitted(broker)) return;
  }
  assert.fail(`not done after ${longestMs} ms: ${JSON.stringify(await committed(broker))}`);
}

const versions = [1, 2] as const;

describe("consume, transform, produce", () => {
  for (const version of versions) {
    it(`writes what each record becomes once, and commits nothing beside its transactions (version ${version})`, async (test) => {
      const world = await aWorld(test, version);
      const copier = new Copier(test, world, { commitIntervalMs: 20 });
      const done = copier.copy();
      await untilDone(world);
      await world.run(Promise.all([copier.consumer.close(), done]));
      assert.deepEqual(await world.output(), counted(0, count));
      assert.equal(world.door.came.get(OffsetCommit.key) ?? 0, 0);
      assert(copier.producer.stats.committed >= count / 7);
    });
  }

  it("ends with the handler's error, nothing of its transaction being written; begun again it goes on", async (test) => {
    const world = await aWorld(test);
    const copier = new Copier(test, world);
    const failing = copier.copy({
      handle: async (record, { send }) => {
        await send({ topic: "out", value: record.value });
        if (text(record) === "23") throw new Error("cannot read 23");
      },
    });
    await world.run(
      assert.rejects(failing, (error: unknown) => {
        assert(error instanceof HandlerError, String(error));
        assert.match(error.message, /^The handler failed at offset 13 of t\/0: cannot read 23$/);
        return true;
      }),
    );
    assert(!(await world.output()).includes("23"));
    void copier.copy().catch(() => undefined);
    await untilDone(world);
    assert.deepEqual(await world.output(), counted(0, count));
  });

  it("goes on when the broker aborts a transaction that took too long, and hands its records out again", async (test) => {
    const world = await aWorld(test);
    const copier = new Copier(test, world);
    let isFirst = true;
    const told: Error[] = [];
    void copier.copy({
      handle: async (record, { send }) => {
        await send({ topic: "out", value: record.value });
        if (isFirst) await sleep(world.broker, 30_000);
        isFirst = false;
      },
      onAborted: (cause) => void told.push(cause),
    });
    await untilDone(world);
    assert(told.length === 1 && told[0] instanceof TransactionAbortedError);
    assert.deepEqual(await world.output(), counted(0, count));
    assert.equal(copier.producer.stats.aborted, 1);
  });

  it("sends at the broker's pace when its records are more than the producer's buffer holds", async (test) => {
    const world = await aWorld(test);
    const { consumer, process } = new Copier(test, world);
    const producer = process.client.producer({
      transactionalId: "large",
      bufferBytes: 40_000,
      batchBytes: 5_000,
    });
    void consumer.transform(producer, {
      handle: (record, { send }) => {
        const headers = { padding: "x".repeat(4_000) };
        void send({ topic: "out", key: record.value, value: record.value, headers });
      },
    });
    await untilDone(world);
    assert.deepEqual(await world.output(), counted(0, count));
    assert.equal(producer.stats.aborted, 0);
    assert(producer.stats.committed <= 4, `${producer.stats.committed} transactions`);
  });

  it("resolves at the end with until: end, everything being committed", async (test) => {
    const world = await aWorld(test);
    const copier = new Copier(test, world, { until: "end" });
    await world.run(copier.copy());
    assert(await isAllCommitted(world.broker));
    assert.deepEqual(await world.output(), counted(0, count));
  });

  it("resolves at close when the transaction under way is committed, and another process goes on behind it", async (test) => {
    for (let at = 1; at < 20; at += 3) {
      const world = await aWorld(test);
      const first = new Copier(test, world);
      let handled = 0;
      const closed = Promise.withResolvers<void>();
      const copying = first.copy({
        handle: async (record, { send }) => {
          if (++handled === at) void first.consumer.close().then(closed.resolve, closed.reject);
          await sleep(world.broker, 5);
          void send({ topic: "out", value: record.value });
        },
      });
      await world.run(Promise.all([closed.promise, copying]));
      assert.equal((await world.output()).length, handled);
      void new Copier(test, world).copy();
      await untilDone(world);
      assert.deepEqual(await world.output(), counted(0, count));
    }
  });

  it("is the only one that reads its consumer", async (test) => {
    const world = await aWorld(test);
    const copier = new Copier(test, world);
    void copier.copy();
    await world.run(assert.rejects(copier.copy(), TransactionUsageError));
    await untilDone(world);
    assert.deepEqual(await world.output(), counted(0, count));
  });

  it("ends when another process has taken over its name, and hands nothing out twice", async (test) => {
    const world = await aWorld(test);
    const older = new Copier(test, world, { protocol: "classic" });
    const done = older.copy({
      handle: async (record, { send }) => {
        await sleep(world.broker, 20);
        void send({ topic: "out", value: record.value });
      },
    });
    done.catch(() => undefined);
    await runFor(world.broker, 500);
    const newer = new Copier(test, world, { protocol: "classic" });
    void newer.copy().catch(() => undefined);
    await world.run(assert.rejects(done, ProducerFencedError));
    await world.run(older.consumer.close());
    await untilDone(world);
    assert.deepEqual(await world.output(), counted(0, count));
  });
});

interface Trouble {
  readonly what: string;
  readonly treatment: Treatment;
}
/** Also where processes are killed at every request instead of some. */
const isFull = process.env["HOLDFAST_SWEEP"] === "full";

const troubles: readonly Trouble[] = [
  { what: "do not arrive", treatment: "cut-before" },
  { what: "lose their answers", treatment: "cut-after" },
  { what: "are held back", treatment: { heldMs: 3_000 } },
  { what: "come once more, later", treatment: { echoMs: 40 } },
];
const requests: readonly (readonly [AnyApi, readonly (1 | 2)[]])[] = [
  [AddPartitionsToTxn as AnyApi, [1]],
  [AddOffsetsToTxn as AnyApi, [1]],
  [Produce as AnyApi, versions],
  [TxnOffsetCommit as AnyApi, versions],
  [EndTxn as AnyApi, versions],
];

describe("consume, transform, produce counts each record once", () => {
  for (const [api, spoken] of requests) {
    for (const version of spoken) {
      for (const { what, treatment } of troubles) {
        // Before KIP-890 an end that comes twice ends the next transaction as well: what that is for.
        if (api === EndTxn && version === 1 && typeof treatment === "object" && "echoMs" in treatment)
          continue;
        it(`when every third of its requests ${api.name} (version ${version}) ${what}`, async (test) => {
          const world = await aWorld(test, version);
          let number = 0;
          world.door.on(api as Api<unknown, unknown>, () => (number++ % 3 === 0 ? treatment : "pass"));
          void new Copier(test, world).copy();
          await untilDone(world);
          assert(number > 3);
          assert.deepEqual(await world.output(), counted(0, count));
        });
      }
    }
  }

  for (const version of versions) {
    it(`whichever request the process is killed at, before the broker has it or before the answer (version ${version})`, async (test) => {
      const watched: readonly AnyApi[] = [
        FindCoordinator,
        InitProducerId,
        AddPartitionsToTxn,
        AddOffsetsToTxn,
        OffsetFetch,
        Produce,
        TxnOffsetCommit,
        EndTxn,
      ] as readonly AnyApi[];
      let kills = 0;
      let worlds = 0;
      for (const kind of ["cut-before", "cut-after"] as const) {
        for (let at = kind === "cut-before" ? 1 : 3; at <= 25; at += isFull ? 1 : 6) {
          const world = await aWorld(test, version);
          let number = 0;
          worlds++;
          const victim = new Copier(test, world);
          for (const api of watched) {
            world.door.on(api as Api<unknown, unknown>, () => {
              if (++number !== at) return "pass";
              victim.process.kill();
              kills++;
              return kind;
            });
          }
          victim.copy().catch(() => undefined);
          await runFor(world.broker, 1_000);
          void new Copier(test, world).copy();
          await untilDone(world);
          assert.deepEqual(await world.output(), counted(0, count), `${kind} at request ${at}`);
          await world.broker.stop();
        }
      }
      assert.equal(kills, worlds);
    });
  }

  it("although the broker loses power again and again", async (test) => {
    const world = await aWorld(test);
    void new Copier(test, world).copy({ recordsMax: 3 });
    for (let crash = 0; crash < 15; crash++) {
      await runFor(world.broker, 3 + crash * 7);
      world.broker.crash();
      await runFor(world.broker, 50);
      await world.broker.boot();
    }
    await untilDone(world);
    assert.deepEqual(await world.output(), counted(0, count));
  });

  for (const protocol of ["classic", "consumer"] as const) {
    it(`while members come, go, are killed and stand still (${protocol} protocol)`, async (test) => {
      const world = await aWorld(test);
      const { broker } = world;
      let number = 0;
      const begin = (): Copier => {
        const copier = new Copier(test, world, { protocol, sessionTimeoutMs: 6_000 }, `copier-${number++}`);
        copier
          .copy({
            recordsMax: 3,
            handle: async (record, { send }) => {
              await sleep(broker, 15);
              void send({ topic: "out", key: record.value, value: record.value });
            },
          })
          .catch(() => undefined);
        return copier;
      };
      const first = begin();
      await runFor(broker, 150);
      const second = begin();
      await runFor(broker, 300);
      first.process.stop();
      await runFor(broker, 20_000);
      first.process.cont();
      await runFor(broker, 100);
      second.process.kill();
      const third = begin();
      await runFor(broker, 200);
      void third.consumer.close();
      begin();
      await untilDone(world);
      await runFor(broker, 30_000);
      assert.deepEqual(await world.output(), counted(0, count));
    });
  }
});

/** Reads `many` records in a loop and copies each in a transaction of its own. */
async function copySome(
  consumer: GroupConsumer,
  producer: TransactionalProducer,
  many: number,
  sabotage: (record: IncomingRecord) => void = () => undefined,
): Promise<string[]> {
  const seen: string[] = [];
  for await (const record of consumer) {
    await producer.transaction(async (tx) => {
      void tx.commitOffsets(consumer);
      await tx.send({ topic: "out", value: record.value });
      sabotage(record);
    });
    if (seen.push(text(record)) === many) break;
  }
  return seen;
}

describe("offsets that the group refuses in a transaction", () => {
  const refusing = ({ topics }: TxnOffsetCommitRequest, errorCode: ErrorCode): Treatment => ({
    answer: {
      throttleTimeMs: 0,
      topics: topics.map(({ name, topicId, partitions }) => ({
        name,
        topicId,
        partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
      })),
    },
  });
  const codes = [
    "INVALID_TXN_STATE",
    "TRANSACTION_ABORTABLE",
    "INVALID_PRODUCER_EPOCH",
    "CONCURRENT_TRANSACTIONS",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "NOT_COORDINATOR",
    "UNKNOWN_MEMBER_ID",
    "ILLEGAL_GENERATION",
    "STALE_MEMBER_EPOCH",
  ] as const;
  for (const protocol of ["classic", "consumer"] as const) {
    for (const code of codes) {
      // Of the new protocol only.
      if (code === "STALE_MEMBER_EPOCH" && protocol === "classic") continue;
      it(`are a reason to try again: ${code} (${protocol} protocol)`, async (test) => {
        const world = await aWorld(test);
        let number = 0;
        world.door.on(TxnOffsetCommit, (request) =>
          number++ % 4 === 0 ? refusing(request, ErrorCode[code]) : "pass",
        );
        const done = new Copier(test, world, { protocol }).copy();
        done.catch(() => undefined);
        // Who joins anew waits for the end of the session of who it was.
        await untilDone(world, 1_000_000);
        assert.deepEqual(await world.output(), counted(0, count));
      });
    }
  }

  it("end the copying where trying again does not help", async (test) => {
    const world = await aWorld(test);
    world.door.on(TxnOffsetCommit, (request) => refusing(request, ErrorCode.GROUP_AUTHORIZATION_FAILED));
    await world.run(
      assert.rejects(new Copier(test, world).copy(), (error: unknown) => {
        assert(error instanceof TransactionAbortedError && !error.retriable);
        return /GROUP_AUTHORIZATION_FAILED/.test(error.message);
      }),
    );
    assert.deepEqual(await world.output(), []);
  });
});

describe("a loop whose offsets go with transactions", () => {
  const options = { autoCommit: false } as const;

  it("has committed the record at hand when the transaction is, and goes on behind it", async (test) => {
    const world = await aWorld(test);
    const { consumer, producer } = new Copier(test, world, options);
    const first = await world.run(copySome(consumer, producer, 8));
    const rest = await world.run(copySome(consumer, producer, count - 8));
    assert.deepEqual(
      [...first, ...rest].toSorted((a, b) => Number(a) - Number(b)),
      counted(0, count),
    );
    assert.deepEqual(await world.output(), counted(0, count));
    assert(await isAllCommitted(world.broker));
  });

  it("is handed out again what an aborted transaction was about, also within the same loop", async (test) => {
    const world = await aWorld(test);
    const { consumer, producer } = new Copier(test, world, options);
    let isFirst = true;
    const seen: string[] = [];
    const loop = async (): Promise<void> => {
      for await (const batch of consumer.batches()) {
        const work = producer.transaction(async (tx) => {
          void tx.commitOffsets(consumer);
          await tx.sendMany(batch.records.map(({ value }) => ({ topic: "out", value })));
          if (!isFirst) return;
          isFirst = false;
          throw new Error("not this time");
        });
        await work.catch((cause: unknown) => assert(cause instanceof TransactionAbortedError));
        seen.push(...values(batch.records));
        if (await isAllCommittedNow()) break;
      }
    };
    const isAllCommittedNow = (): Promise<boolean> => Promise.resolve(seen.length > count);
    void loop();
    await untilDone(world);
    assert(seen.length > count);
    assert.deepEqual(await world.output(), counted(0, count));
  });

  it("asks the group where it stands when nobody knows what became of a transaction", async (test) => {
    for (const treatment of ["cut-before", "cut-after"] as const) {
      const world = await aWorld(test);
      const process = new Process(test, world.broker, world.door.bootstrap);
      const consumer = process.member(options);
      const producer = process.client.producer({ transactionalId: "c", deliveryTimeoutMs: 3_000 });
      await world.run(copySome(consumer, producer, 2));
      let isLost = true;
      world.door.on(EndTxn, () => (isLost ? treatment : "pass"));
      await world.run(assert.rejects(copySome(consumer, producer, 1), TransactionUnknownError));
      isLost = false;
      const left = treatment === "cut-after" ? count - 3 : count - 2;
      await world.run(copySome(consumer, producer, left));
      assert.deepEqual(await world.output(), counted(0, count));
    }
  });

  it("aborts what the group does not take from this member any more (KIP-447), and says so", async (test) => {
    for (const code of [
      ErrorCode.ILLEGAL_GENERATION,
      ErrorCode.UNKNOWN_MEMBER_ID,
      ErrorCode.FENCED_INSTANCE_ID,
    ]) {
      const world = await aWorld(test);
      const { consumer, producer } = new Copier(test, world, { ...options, protocol: "classic" });
      let isFirst = true;
      const sent: TxnOffsetCommitRequest[] = [];
      world.door.on(TxnOffsetCommit, (request) => {
        sent.push(request);
        if (!isFirst) return "pass";
        isFirst = false;
        const topics = request.topics.map(({ name, topicId, partitions }) => ({
          name,
          topicId,
          partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: code })),
        }));
        return { answer: { throttleTimeMs: 0, topics } };
      });
      await world.run(assert.rejects(copySome(consumer, producer, 1), TransactionAbortedError));
      assert(sent[0] !== undefined && sent[0].memberId !== "" && sent[0].generationIdOrMemberEpoch > 0);
      assert.deepEqual(await world.output(), []);
      if (code === ErrorCode.FENCED_INSTANCE_ID) continue;
      await world.run(copySome(consumer, producer, count));
      assert.deepEqual(await world.output(), counted(0, count));
    }
  });

  it("aborts what was made of records whose partition was taken away meanwhile, however late it looks", async (test) => {
    for (const many of [1, 5]) {
      const world = await aWorld(test);
      const { broker } = world;
      const sleepy = new Copier(test, world, { ...options, releaseTimeoutMs: 500 });
      const copyLate = async (): Promise<void> => {
        const records: IncomingRecord[] = [];
        for await (const record of sleepy.consumer) {
          if (records.push(record) < many) continue;
          await sleep(broker, 80_000);
          await sleepy.producer.transaction(async (tx) => {
            for (const { value } of records) void tx.send({ topic: "out", value });
            await tx.commitOffsets(sleepy.consumer);
          });
          records.length = 0;
        }
      };
      const late = copyLate();
      const aborted = assert.rejects(late, (error: unknown) => {
        assert(
          error instanceof TransactionAbortedError && error.cause instanceof NotOwnedError,
          String(error),
        );
        return error.retriable;
      });
      await runFor(broker, 5_000);
      sleepy.process.stop();
      void new Copier(test, world, {}, "other").copy();
      await runFor(broker, 60_000);
      sleepy.process.cont();
      await Promise.all([aborted, runFor(broker, 30_000)]);
      await world.run(sleepy.consumer.close());
      await untilDone(world);
      assert.deepEqual(await world.output(), counted(0, count));
    }
  });

  it("commits nothing before the group has its offsets, also when nobody waits for that", async (test) => {
    const world = await aWorld(test);
    const { consumer, producer } = new Copier(test, world, options);
    world.door.on(TxnOffsetCommit, () => ({ heldMs: 2_000 }));
    await world.run(copySome(consumer, producer, 3));
    const at = await committed(world.broker);
    assert.equal((at["t/0"] ?? 0) + (at["t/1"] ?? 0), 3);
  });

  it("is refused where the consumer commits by itself, and within run", async (test) => {
    const world = await aWorld(test);
    const { consumer, producer, process } = new Copier(test, world);
    await world.run(
      assert.rejects(copySome(consumer, producer, 1), (error: unknown) => {
        assert(error instanceof TransactionAbortedError && error.cause instanceof TransactionUsageError);
        assert.match(error.message, /commits by itself, beside the transaction; use transform/);
        return true;
      }),
    );
    const other = process.member({ ...options, group: "h" });
    const running = other.run({
      handle: () => producer.transaction((tx) => tx.commitOffsets(other)),
    });
    await world.run(assert.rejects(running, /finish in any order, .* use transform/));
  });
});
