import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBroker } from "../../test/simulated-broker.ts";
import { Codec } from "../record/batch.ts";
import { ConsumerUsageError } from "./consumer-errors.ts";
import type { ConsumerOptions } from "./consumer-options.ts";
import { OptionError, UnknownPartitionError } from "./errors.ts";
import { aClient, counted, take, all, runFor, sleep, values } from "../../test/consumer-fixture.ts";

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

  it("waits for more of one partition while another is paused in the middle", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 2);
    for (const partition of [0, 1]) await broker.write("t", counted(0, 10), { partition });
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    const [first] = await broker.scheduler.runUntil(take(consumer, 1));
    consumer.pause([{ partition: first!.partition }]);
    await broker.scheduler.runUntil(take(consumer, 10));
    const waiting = take(consumer, 1);
    await runFor(broker, 2_000);
    await broker.write("t", ["more"], { partition: 1 - first!.partition });
    const beginMs = broker.scheduler.nowMs;
    assert.deepEqual(values(await broker.scheduler.runUntil(waiting)), ["more"]);
    assert(broker.scheduler.nowMs - beginMs < 1_000, "not only when something else happens");
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

describe("a consumer that is slow", () => {
  it("keeps what it reads ahead below its bound, and one batch may be larger", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 4);
    for (let round = 0; round < 16; round++) {
      for (let partition = 0; partition < 4; partition++) {
        await broker.write("t", counted(round * 100, round * 100 + 100), { partition });
      }
    }
    for (const prefetchBytesMax of [1_024, 8_192, 65_536]) {
      await using consumer = aClient(test, broker).consumer({ topic: "t", until: "end", prefetchBytesMax });
      let count = 0;
      let most = 0;
      const read = async (): Promise<void> => {
        for await (const record of consumer) {
          count++;
          most = Math.max(most, consumer.bufferedBytes);
          if (record.offset % 50 === 0) await sleep(broker, 20);
        }
      };
      await broker.scheduler.runUntil(read());
      assert.equal(count, 6_400);
      const batchBytes = 1_700;
      assert(most <= prefetchBytesMax + batchBytes, `${most} of ${prefetchBytesMax}`);
      assert(most >= Math.min(prefetchBytesMax / 2, 20_000), "it does read ahead");
    }
  });

  it("does not let paused partitions use up the bound", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 2);
    for (let at = 0; at < 1_000; at += 100) {
      for (const partition of [0, 1]) await broker.write("t", counted(at, at + 100), { partition });
    }
    const consumer = aClient(test, broker).consumer({ topic: "t", prefetchBytesMax: 4_096 });
    await broker.scheduler.runUntil(take(consumer, 1));
    consumer.pause();
    await runFor(broker, 1_000);
    consumer.resume([{ partition: 1 }]);
    const found = await broker.scheduler.runUntil(take(consumer, 1_000));
    assert(found.every(({ partition }) => partition === 1));
    consumer.pause();
    consumer.resume([{ partition: 0 }]);
    const others = await broker.scheduler.runUntil(take(consumer, 999));
    assert.equal(
      new Set([...found, ...others].map(({ partition, offset }) => `${partition}/${offset}`)).size,
      1_999,
    );
  });
});

describe("a consumer that is misused", () => {
  it("refuses options that make no sense, in a sentence", async (test) => {
    const client = aClient(test, await aBroker(test));
    const wrong: [ConsumerOptions, RegExp][] = [
      [{}, /needs a topic/],
      [{ topic: "t", from: -1 }, /An offset is a whole number from 0 on, not -1\./],
      [{ topic: "t", from: { last: 1.5 } }, /last is a whole number/],
      [{ topic: ["t", "u"], partitions: [0] }, /one topic/],
      [{ topic: "t", assignment: [{ topic: "t", partition: 0 }] }, /either topics or an assignment/],
      [{ assignment: [] }, /names no partition/],
      [{ topic: "t", partitions: [-1] }, /A partition is a number/],
      [{ topic: "t", prefetchBytesMax: 1 }, /prefetchBytesMax is a whole number of at least 1024/],
    ];
    for (const [options, message] of wrong) {
      assert.throws(
        () => client.consumer(options),
        (cause) => cause instanceof OptionError && message.test(cause.message),
      );
    }
  });

  it("refuses partitions that it does not read, and a second loop", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const client = aClient(test, broker);
    const consumer = client.consumer({ topic: "t" });
    assert.throws(() => consumer.seek({ partition: 0, to: 0 }), /not known yet: await ready\(\) first/);
    await broker.scheduler.runUntil(consumer.ready());
    assert.throws(() => consumer.seek({ partition: 7, to: 0 }), ConsumerUsageError);
    const first = take(consumer, 1);
    await broker.scheduler.runUntil(assert.rejects(take(consumer, 1), /One loop at a time/));
    await broker.write("t", ["a"]);
    assert.deepEqual(values(await broker.scheduler.runUntil(first)), ["a"]);
    const away = client.consumer({ topic: "t", partitions: [5] });
    await broker.scheduler.runUntil(assert.rejects(take(away, 1), UnknownPartitionError));
  });

  it("ends its loop when it is closed, and reads no more", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    const waiting = take(consumer, 1);
    await runFor(broker, 100);
    await consumer.close();
    assert.deepEqual(await broker.scheduler.runUntil(waiting), []);
    assert.deepEqual(await take(consumer, 1), []);
  });

  it("reads exactly the partitions that are assigned, each from its own place", async (test) => {
    const broker = await aBroker(test);
    for (const topic of ["t", "u"]) {
      await broker.createTopic(topic, 2);
      for (const partition of [0, 1]) await broker.write(topic, counted(0, 5), { partition });
    }
    const consumer = aClient(test, broker).consumer({
      assignment: [
        { topic: "t", partition: 1, from: 3 },
        { topic: "u", partition: 0 },
      ],
      from: { last: 1 },
      until: "end",
    });
    const found = await broker.scheduler.runUntil(all(consumer));
    const places = found.map(({ topic, partition, offset }) => `${topic}/${partition}/${offset}`);
    assert.deepEqual(places.toSorted(), ["t/1/3", "t/1/4", "u/0/4"]);
  });
});
