import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { counted, runFor, sleep } from "../../../test/consumer-fixture.ts";
import { committed, finish, Process, text } from "../../../test/group-fixture.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { nameOf } from "./assignor.ts";
import { HandlerError } from "./errors.ts";
import type { GroupConsumer } from "./group-consumer.ts";
import type { GroupConsumerOptions } from "./options.ts";

/** A group is assigned when the first member joins, and again when the second does. */
const atOnce = { "group.initial.rebalance.delay.ms": "0" };

/** A member of group g that reads t, in a process of its own. */
type Make = (
  test: TestContext,
  broker: SimulatedBroker,
  options?: Partial<GroupConsumerOptions>,
) => GroupConsumer;

for (const protocol of ["classic", "consumer"] as const) {
  const aMember: Make = (test, broker, options = {}) =>
    new Process(test, broker).member(options.assignors === undefined ? { protocol, ...options } : options);
  describe(`a member of a group of the protocol "${protocol}"`, () => {
    it("begins at the start when the group has committed nothing, also behind what was written before it came (C08)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 3));
      const consumer = aMember(test, broker);
      assert.deepEqual(await broker.scheduler.runUntil(finish(consumer, 3)), counted(0, 3));
    });

    it("goes on behind what was committed, in another process", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t", 2);
      await broker.write("t", counted(0, 10));
      const first = aMember(test, broker);
      assert.deepEqual(await broker.scheduler.runUntil(finish(first, 4)), counted(0, 4));
      await broker.scheduler.runUntil(first.close());
      const second = aMember(test, broker);
      assert.deepEqual(await broker.scheduler.runUntil(finish(second, 6)), counted(4, 10));
    });

    it("a loop ends when its member is closed, also one that asks for the next record meanwhile", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 5));
      for (const until of [undefined, "end"] as const) {
        const consumer = aMember(test, broker, { until });
        let closing: Promise<void> | undefined;
        const seen: string[] = [];
        const reading = async (): Promise<void> => {
          for await (const record of consumer) {
            seen.push(text(record));
            closing = consumer.close();
          }
        };
        await broker.scheduler.runUntil(reading());
        await broker.scheduler.runUntil(closing ?? assert.fail("nothing was read"));
        assert.equal(seen.length, 1);
      }
    });

    it("leaving a loop leaves its last record unfinished: it is handed out again, here and elsewhere (C02)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 5));
      const consumer = aMember(test, broker);
      const seen: string[] = [];
      const failing = async (): Promise<void> => {
        for await (const record of consumer) {
          seen.push(text(record));
          if (seen.length === 3) throw new Error("the third is bad");
        }
      };
      await broker.scheduler.runUntil(assert.rejects(failing(), /the third is bad/));
      assert.deepEqual(seen, ["0", "1", "2"]);
      assert.deepEqual(await broker.scheduler.runUntil(finish(consumer, 1)), ["2"]);
      await broker.scheduler.runUntil(consumer.close());
      assert.deepEqual(await committed(broker), { "t/0": 3 });
    });

    it("commits nothing that is being handled, however long (C01, C19)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 5));
      const consumer = aMember(test, broker);
      const running = consumer.run({
        handle: (record) => (text(record) === "2" ? sleep(broker, 3_600_000) : undefined),
      });
      await runFor(broker, 20_000);
      await broker.scheduler.runUntil(consumer.close());
      await broker.scheduler.runUntil(running);
      assert.deepEqual(await committed(broker), { "t/0": 2 });
    });

    it("handlers that finish in any order never leave a gap behind a commit (C03)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 40));
      const consumer = aMember(test, broker, { commitIntervalMs: 50 });
      const finished = new Set<string>();
      void consumer.run({
        concurrency: 8,
        order: "none",
        handle: async (record) => {
          await sleep(broker, text(record) === "7" ? 3_600_000 : (record.offset * 37) % 200);
          finished.add(text(record));
        },
      });
      await runFor(broker, 5_000);
      assert.equal(finished.size, 39);
      assert.deepEqual(await committed(broker), { "t/0": 7 });
    });

    it("run keeps the order of a partition, or of a key, and never handles more at once than it may", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t", 3);
      for (const partition of [0, 1, 2]) {
        for (const key of ["a", "b"]) {
          await broker.write(
            "t",
            counted(0, 6).map((each) => `${partition}${key}${each}`),
            { partition, key },
          );
        }
      }
      for (const [order, lane] of [
        ["partition", 1],
        ["key", 2],
        ["none", 0],
      ] as const) {
        const consumer = aMember(test, broker, { group: order });
        const seen: string[] = [];
        let now = 0;
        let most = 0;
        const running = consumer.run({
          concurrency: 4,
          order,
          handle: async (record) => {
            now++;
            most = Math.max(most, now);
            await sleep(broker, 1 + ((record.offset * 7919) % 13));
            seen.push(text(record));
            now--;
          },
        });
        await runFor(broker, 10_000);
        assert.equal(seen.length, 36, order);
        assert.equal(most, order === "partition" ? 3 : 4, order);
        if (lane > 0) {
          const lanes = Map.groupBy(seen, (each) => each.slice(0, lane));
          for (const [, values] of lanes) {
            const inOrder = values.map((each) => Number(each.slice(2)) + (each[1] === "b" ? 10 : 0));
            if (lane === 1) assert.deepEqual(inOrder, [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]);
            else
              assert.deepEqual(
                inOrder,
                inOrder.toSorted((a, b) => a - b),
              );
          }
        }
        await broker.scheduler.runUntil(consumer.close());
        await broker.scheduler.runUntil(running);
      }
    });

    it("run ends with `until: end` when everything that was there is handled, in whatever order", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      for (const key of ["a", "b", "c"]) await broker.write("t", counted(0, 100), { key });
      for (const order of ["partition", "key", "none"] as const) {
        const consumer = aMember(test, broker, { group: `until-${order}`, until: "end" });
        let handled = 0;
        const handle = async (): Promise<void> => {
          await sleep(broker, 5);
          handled++;
        };
        await broker.scheduler.runUntil(consumer.run({ handle, order, concurrency: 2 }));
        assert.equal(handled, 300, order);
        await broker.scheduler.runUntil(consumer.close());
      }
    });

    it("run ends with the handler's error, and begins again at the lowest unfinished record (C02)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 10));
      const consumer = aMember(test, broker);
      const handled: string[] = [];
      let isBad = true;
      const handle = async (record: IncomingRecord): Promise<void> => {
        await sleep(broker, 10);
        if (text(record) === "4" && isBad) throw new Error("poison");
        handled.push(text(record));
      };
      await broker.scheduler.runUntil(
        assert.rejects(consumer.run({ handle, concurrency: 3, order: "none" }), (cause: unknown) => {
          assert(cause instanceof HandlerError);
          return cause.offset === 4 && /offset 4 of t\/0: poison/.test(cause.message);
        }),
      );
      assert.deepEqual(await committed(broker), { "t/0": 4 });
      isBad = false;
      void consumer.run({ handle });
      await runFor(broker, 2_000);
      assert.deepEqual([...new Set(handled)].toSorted(), counted(0, 10));
    });

    it("heartbeats go on whatever a handler does: nobody is put out for being slow (C07)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", ["long", "short"]);
      const consumer = aMember(test, broker);
      const handled: string[] = [];
      const slow: [string, number][] = [];
      void consumer.run({
        slowMs: 600_000,
        onSlow: ({ record, runningMs }) => slow.push([text(record), Math.round(runningMs / 600_000)]),
        handle: async (record) => {
          await sleep(broker, text(record) === "long" ? 3_600_001 : 1);
          handled.push(text(record));
        },
      });
      await runFor(broker, 3_700_000);
      assert.deepEqual(handled, ["long", "short"]);
      assert.deepEqual(
        slow,
        [1, 2, 3, 4, 5, 6].map((times) => ["long", times]),
      );
      assert.deepEqual(await committed(broker), { "t/0": 2 });
    });

    it("lets go of a partition only when nothing of it is being handled, and what was finished is committed (C04)", async (test) => {
      for (const options of protocol === "consumer" ? [{}] : [{}, { assignors: ["range"] as const }]) {
        const broker = await aBroker(test, atOnce);
        await broker.createTopic("t", 4);
        for (let partition = 0; partition < 4; partition++) {
          await broker.write(
            "t",
            counted(0, 30).map((each) => `${partition}/${each}`),
            { partition },
          );
        }
        const handled: string[] = [];
        const now = new Map<string, number>();
        let violations = 0;
        const handle = async (record: IncomingRecord): Promise<void> => {
          const name = nameOf(record);
          if ((now.get(name) ?? 0) > 0) violations++;
          now.set(name, (now.get(name) ?? 0) + 1);
          await sleep(broker, 400);
          handled.push(text(record));
          now.set(name, (now.get(name) as number) - 1);
        };
        const members = [0, 1, 2].map(() => aMember(test, broker, options));
        for (const member of members) {
          void member.run({ handle, concurrency: 4 });
          await runFor(broker, 2_000);
        }
        await runFor(broker, 20_000);
        await broker.scheduler.runUntil(members[0]!.close());
        await runFor(broker, 20_000);
        assert.equal(violations, 0);
        // Handed over cleanly, so not even a second time.
        assert.equal(handled.length, 120, JSON.stringify(options));
        assert.equal(new Set(handled).size, 120);
      }
    });

    it("gives up a partition after a bound although a handler is stuck, tells the handler, and takes no notice of what it finishes (C04)", async (test) => {
      const broker = await aBroker(test, atOnce);
      await broker.createTopic("t", 2);
      for (const partition of [0, 1]) await broker.write("t", ["stuck", "next"], { partition });
      const slow = aMember(test, broker, { releaseTimeoutMs: 5_000 });
      const reasons: unknown[] = [];
      void slow.run({
        concurrency: 2,
        handle: async (_record, { signal }) => {
          await sleep(broker, 20_000);
          reasons.push(signal.aborted);
        },
      });
      await runFor(broker, 3_000);
      const quick = aMember(test, broker);
      const handled: string[] = [];
      void quick.run({ handle: (record) => void handled.push(text(record)) });
      await runFor(broker, 15_000);
      // What was stuck is read again by whoever has the partition now.
      assert.deepEqual(handled, ["stuck", "next"]);
      await runFor(broker, 60_000);
      // The other one was its own all the time.
      assert.deepEqual(new Set(reasons.slice(0, 2)), new Set([false, true]));
    });

    it("a member that slept for longer than its session hands out nothing that is another's by then, and its commit is refused (C06)", async (test) => {
      const broker = await aBroker(test);
      await broker.createTopic("t");
      await broker.write("t", counted(0, 4));
      const sleepy = new Process(test, broker);
      const consumer = sleepy.member({ protocol });
      const iterator = consumer[Symbol.asyncIterator]();
      const next = async (): Promise<string> => {
        const { value } = await broker.scheduler.runUntil(iterator.next());
        return text(value as IncomingRecord);
      };
      assert.deepEqual([await next(), await next()], ["0", "1"]);
      sleepy.stop();
      await runFor(broker, 60_000);
      const other = aMember(test, broker);
      assert.deepEqual(await broker.scheduler.runUntil(finish(other, 3)), ["0", "1", "2"]);
      await broker.scheduler.runUntil(other.close());
      sleepy.cont();
      // Without its session it would go on with 2; as a new member it begins behind what the other committed.
      assert.equal(await next(), "3");
      assert.deepEqual(await committed(broker), { "t/0": 3 });
    });
  });
}
