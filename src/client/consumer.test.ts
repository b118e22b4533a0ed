import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { Codec } from "../record/batch.ts";
import { type Client, createClient } from "./client.ts";
import type { Consumer } from "./consumer.ts";
import { LostPositionError } from "./consumer-errors.ts";
import type { ConsumerOptions, SkipNotice } from "./consumer-options.ts";
import type { IncomingRecord } from "./incoming-record.ts";

function aClient(test: TestContext, broker: SimulatedBroker, options: object = {}): Client {
  const client = createClient({ bootstrap: broker.address, ...options }, broker.clientPorts());
  test.after(() => client.close());
  return client;
}

const counted = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index));

async function take(consumer: Consumer, count: number): Promise<IncomingRecord[]> {
  const records: IncomingRecord[] = [];
  if (count === 0) return records;
  for await (const record of consumer) if (records.push(record) === count) break;
  return records;
}

async function all(consumer: Consumer): Promise<IncomingRecord[]> {
  const records: IncomingRecord[] = [];
  for await (const record of consumer) records.push(record);
  return records;
}

const values = (records: readonly IncomingRecord[]): string[] => records.map(({ value }) => String(value));

describe("a consumer", () => {
  it("hands out records in order, with key, value, headers, time and place", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", ["a", "b"], { key: "k" });
    await broker.write("t", ["c"]);
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    const records = await broker.scheduler.runUntil(take(consumer, 3));
    assert.deepEqual(
      records.map((record) => record.toJSON()),
      ["a", "b", "c"].map((value, offset) => ({
        topic: "t",
        partition: 0,
        offset,
        timestampMs: 1_700_000_000_000 + (offset === 1 ? 1_000 : 0),
        key: value === "c" ? null : "k",
        value,
        headers: [{ key: "h", value }],
      })),
    );
    assert.equal(consumer.position({ partition: 0 }), 3);
  });

  it("waits at the end, and hands out what comes then", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const consumer = aClient(test, broker).consumer({ topic: "t", from: "end" });
    await broker.scheduler.runUntil(consumer.ready());
    const waiting = take(consumer, 2);
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 3_000 });
    await broker.write("t", ["x"]);
    await broker.write("t", ["y"]);
    assert.deepEqual(values(await broker.scheduler.runUntil(waiting)), ["x", "y"]);
  });

  it("begins at the start, the end, an offset, a time, or so many before the end", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    const client = aClient(test, broker);
    const begins: [ConsumerOptions["from"], number][] = [
      ["start", 0],
      ["end", 10],
      [4, 4],
      [10, 10],
      [{ timeMs: 1_700_000_003_000 }, 3],
      [{ timeMs: 1_700_000_003_001 }, 4],
      [{ timeMs: 1_800_000_000_000 }, 10],
      [{ last: 3 }, 7],
      [{ last: 0 }, 10],
      [{ last: 1_000 }, 0],
    ];
    for (const [from, first] of begins) {
      await using consumer = client.consumer({ topic: "t", from, until: "end" });
      const found = await broker.scheduler.runUntil(all(consumer));
      assert.deepEqual(values(found), counted(first, 10), JSON.stringify(from));
    }
  });

  it("stops with `until: end` at the end that there was in the beginning", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 3);
    await broker.write("t", counted(0, 5), { partition: 0 });
    await broker.write("t", counted(0, 5), { partition: 2 });
    const consumer = aClient(test, broker).consumer({ topic: "t", until: "end" });
    await broker.scheduler.runUntil(consumer.ready());
    await broker.write("t", ["late"], { partition: 0 });
    await broker.write("t", ["late"], { partition: 1 });
    const found = await broker.scheduler.runUntil(all(consumer));
    assert.equal(found.length, 10);
    assert(!values(found).includes("late"));
  });

  for (const codec of ["gzip", "snappy", "lz4", "zstd"] as const) {
    it(`reads batches compressed with ${codec}`, async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 500), { codec: Codec[codec] });
      const consumer = aClient(test, broker).consumer({ topic: "t", from: 100, until: "end" });
      assert.deepEqual(values(await broker.scheduler.runUntil(all(consumer))), counted(100, 500));
    });
  }

  it("hands out consecutive records of a partition as batches, and goes on behind them", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    for (let at = 0; at < 40; at += 10) await broker.write("t", counted(at, at + 10));
    const consumer = aClient(test, broker).consumer({ topic: "t", until: "end" });
    const sizes: number[] = [];
    const read = async (): Promise<void> => {
      for await (const batch of consumer.batches({ recordsMax: 15 })) {
        sizes.push(batch.records.length);
        assert.equal(batch.nextOffset, batch.records.at(-1)!.offset + 1);
        assert.equal(batch.end, 40);
        assert.equal(consumer.position(batch), batch.nextOffset);
      }
    };
    await broker.scheduler.runUntil(read());
    assert.deepEqual(sizes, [20, 20]);
  });

  it("goes on elsewhere after a seek, in the middle of what was read ahead", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 100));
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    await broker.scheduler.runUntil(take(consumer, 10));
    consumer.seek({ partition: 0, to: 50 });
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 3))), counted(50, 53));
    consumer.seek({ partition: 0, to: "start" });
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 3))), counted(0, 3));
    consumer.seek({ partition: 0, to: { last: 2 } });
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 2))), counted(98, 100));
  });

  it("leaves a paused partition out, and loses nothing of it", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 2);
    await broker.write("t", counted(0, 10), { partition: 0 });
    await broker.write("t", counted(0, 10), { partition: 1 });
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    const before = await broker.scheduler.runUntil(take(consumer, 5));
    const paused = { partition: before[0]!.partition };
    consumer.pause([paused]);
    const others = await broker.scheduler.runUntil(take(consumer, 10));
    assert(others.every(({ partition }) => partition !== paused.partition));
    consumer.resume();
    const rest = await broker.scheduler.runUntil(take(consumer, 5));
    assert.deepEqual(values([...before, ...rest]), counted(0, 10));
  });

  it("reads partitions that are added, from their start", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 1);
    const consumer = aClient(test, broker).consumer({ topic: "t", from: "end", refreshMs: 1_000 });
    await broker.scheduler.runUntil(consumer.ready());
    await broker.addPartitions("t", 2);
    await broker.write("t", ["early"], { partition: 1 });
    const found = await broker.scheduler.runUntil(take(consumer, 1));
    assert.deepEqual(values(found), ["early"]);
  });

  it("goes on after the connection was lost", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 20));
    const consumer = aClient(test, broker).consumer({ topic: "t", fetchBytesMax: 1_024 });
    const found = await broker.scheduler.runUntil(take(consumer, 10));
    while (broker.network.cutOne());
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 100 });
    await broker.write("t", counted(20, 30));
    found.push(...(await broker.scheduler.runUntil(take(consumer, 20))));
    assert.deepEqual(values(found), counted(0, 30));
  });

  it("waits for a broker that crashed, tells that it does, and misses nothing", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 5));
    const notices: string[] = [];
    const consumer = aClient(test, broker).consumer({
      topic: "t",
      onRetry: ({ operation, failingMs }) => {
        notices.push(operation);
        assert(failingMs >= 5_000);
      },
    });
    const found = await broker.scheduler.runUntil(take(consumer, 5));
    broker.crash();
    const waiting = take(consumer, 5);
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 60_000 });
    assert(notices.length >= 5, `${notices.length} notices`);
    await broker.boot();
    await broker.write("t", counted(5, 10));
    found.push(...(await broker.scheduler.runUntil(waiting)));
    assert.deepEqual(values(found), counted(0, 10));
  });
});

describe("a consumer whose records are gone", () => {
  it("stands still with the old offset and the range that exists, until it is moved", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    const consumer = aClient(test, broker).consumer({ topic: "t", from: 50 });
    for (let again = 0; again < 2; again++) {
      await broker.scheduler.runUntil(
        assert.rejects(take(consumer, 1), (cause: unknown) => {
          assert(cause instanceof LostPositionError);
          const { reason, offset, availableStart, availableEnd } = cause;
          assert.deepEqual([reason, offset, availableStart, availableEnd], ["beyond-end", 50, 0, 10]);
          return true;
        }),
      );
    }
    consumer.seek({ partition: 0, to: 8 });
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 2))), ["8", "9"]);
  });

  it("notices that the topic is another one under the same name, and does not mix them", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    await broker.scheduler.runUntil(take(consumer, 5));
    await broker.deleteTopic("t");
    await broker.createTopic("t");
    await broker.write("t", ["other 0", "other 1"]);
    // What was read ahead is of the old topic and is still handed out.
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 5))), counted(5, 10));
    await broker.scheduler.runUntil(
      assert.rejects(take(consumer, 1), (cause: unknown) => {
        assert(cause instanceof LostPositionError);
        assert.deepEqual([cause.reason, cause.offset, cause.availableEnd], ["recreated", 10, 2]);
        return true;
      }),
    );
    consumer.seek({ partition: 0, to: "start" });
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 2))), ["other 0", "other 1"]);
  });

  it("jumps only when told to, and says what was skipped", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 3));
    const skips: SkipNotice[] = [];
    const consumer = aClient(test, broker).consumer({
      topic: "t",
      onLostPosition: "start",
      onSkipped: (notice) => skips.push(notice),
    });
    await broker.scheduler.runUntil(take(consumer, 3));
    await broker.deleteTopic("t");
    await broker.createTopic("t");
    await broker.write("t", ["other"]);
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 1))), ["other"]);
    assert.deepEqual(skips, [{ topic: "t", partition: 0, from: 3, to: 0, reason: "recreated" }]);
  });
});
