import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBroker } from "../../test/simulated-broker.ts";
import { createClient } from "./client.ts";
import { DamagedRecordsError, LostPositionError } from "./consumer-errors.ts";
import type { SkipNotice } from "./consumer-options.ts";
import { UnknownTopicError } from "./errors.ts";
import { aClient, counted, take, all, runFor, values } from "../../test/consumer-fixture.ts";

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

  it("stands still when the log was trimmed under it, and says how much it never saw", async (test) => {
    const broker = await aBroker(test);
    const client = aClient(test, broker);
    await broker.createTopic("t", 1, { "retention.ms": "60000" });
    await broker.write("t", counted(0, 4));
    await using careful = client.consumer({ topic: "t" });
    const skips: SkipNotice[] = [];
    await using careless = client.consumer({
      topic: "t",
      onLostPosition: "start",
      onSkipped: (notice) => skips.push(notice),
    });
    for (const consumer of [careful, careless]) {
      await broker.scheduler.runUntil(take(consumer, 4));
      // As a reader that was away while more was written and retention took it.
      consumer.pause();
    }
    await broker.write("t", counted(4, 10));
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 3_600_000 });
    await broker.write("t", counted(10, 12), { beginMs: 1_767_225_600_000 + 3_600_000 });
    careful.resume();
    await broker.scheduler.runUntil(
      assert.rejects(take(careful, 1), (cause: unknown) => {
        assert(cause instanceof LostPositionError);
        const { reason, offset, availableStart, availableEnd } = cause;
        assert.deepEqual([reason, offset, availableStart, availableEnd], ["trimmed", 4, 10, 12]);
        assert.match(cause.message, /deleted before it was read, as were 6 offsets in all/);
        return true;
      }),
    );
    careless.resume();
    assert.deepEqual(values(await broker.scheduler.runUntil(take(careless, 2))), ["10", "11"]);
    assert.deepEqual(skips, [{ topic: "t", partition: 0, from: 4, to: 10, reason: "trimmed" }]);
  });

  it("notices that the log was cut and written anew at its position (KIP-320)", async (test) => {
    const [before, after] = await Promise.all([aBroker(test), aBroker(test)]);
    assert(before !== undefined && after !== undefined);
    for (const broker of [before, after]) await broker.createTopic("t");
    await before.write("t", counted(0, 10));
    await after.write("t", counted(0, 4));
    // One seed, so both are one cluster with one topic; the second has forgotten what the first acknowledged.
    let current = before;
    const client = createClient(
      { bootstrap: before.address },
      {
        ...before.clientPorts(),
        dialer: { dial: (address) => current.network.dial(address) },
      },
    );
    test.after(() => client.close());
    const consumer = client.consumer({ topic: "t" });
    await before.scheduler.runUntil(take(consumer, 10));
    current = after;
    before.crash();
    const lost = assert.rejects(take(consumer, 1), (cause: unknown) => {
      assert(cause instanceof LostPositionError);
      const { reason, offset, availableStart, availableEnd } = cause;
      assert.deepEqual([reason, offset, availableStart, availableEnd], ["truncated", 10, 0, 4]);
      return true;
    });
    let isOver = false;
    void lost.finally(() => {
      isOver = true;
    });
    for (let round = 0; round < 1_000 && !isOver; round++) {
      for (const { scheduler } of [before, after]) await scheduler.run({ untilMs: scheduler.nowMs + 10 });
    }
    await lost;
    await before.boot();
  });

  it("stands still at records that the broker cannot read, and leaves them out only when told to", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    await runFor(broker, 600_000);
    await broker.restart();
    const segment = "store/seg/000000000001/000000000000.object";
    const inTheValues = Buffer.from(broker.disk.contents(segment)).indexOf("5", 128);
    broker.disk.flipBit(segment, 8 * inTheValues);
    await broker.write("t", counted(10, 13));
    const client = aClient(test, broker);
    const consumer = client.consumer({ topic: "t", from: 3 });
    await broker.scheduler.runUntil(
      assert.rejects(take(consumer, 1), (cause: unknown) => {
        assert(cause instanceof DamagedRecordsError);
        return cause.offset === 3 && /offset 3 of t\/0 cannot be read/.test(cause.message);
      }),
    );
    consumer.seek({ partition: 0, to: 10 });
    assert.deepEqual(values(await broker.scheduler.runUntil(take(consumer, 3))), counted(10, 13));
    const skipped: number[] = [];
    const skipping = client.consumer({
      topic: "t",
      onDamage: "skip",
      until: "end",
      onSkipped: ({ from }) => skipped.push(from),
    });
    assert.deepEqual(values(await broker.scheduler.runUntil(all(skipping))), counted(10, 13));
    assert.deepEqual(skipped.map(String), counted(0, 10));
  });

  it("stands still when the topic was deleted", async (test) => {
    const broker = await aBroker(test, { "auto.create.topics.enable": "false" });
    await broker.createTopic("t");
    await broker.write("t", ["a"]);
    const consumer = aClient(test, broker).consumer({ topic: "t" });
    await broker.scheduler.runUntil(take(consumer, 1));
    await broker.deleteTopic("t");
    await broker.scheduler.runUntil(assert.rejects(take(consumer, 1), UnknownTopicError));
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
