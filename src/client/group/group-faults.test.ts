import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { counted, runFor, sleep } from "../../../test/consumer-fixture.ts";
import { Door } from "../../../test/door.ts";
import { committed, finish, Process, text } from "../../../test/group-fixture.ts";
import { aBroker } from "../../../test/simulated-broker.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ConsumerGroupHeartbeat,
  type ConsumerGroupHeartbeatResponse,
} from "../../protocol/messages/consumer-group-heartbeat.ts";
import { OffsetCommit, type OffsetCommitRequest } from "../../protocol/messages/offset-commit.ts";
import { LostPositionError } from "../consumer-errors.ts";
import { OptionError, UnknownTopicError } from "../errors.ts";
import { CommitError, FencedMemberError } from "./errors.ts";
import type { GroupConsumerOptions } from "./options.ts";

const offsetOf = ({ topics }: OffsetCommitRequest): number =>
  topics[0]?.partitions[0]?.committedOffset as number;

/** As a broker that refuses every partition of a commit. */
const refused = ({ topics }: OffsetCommitRequest, errorCode: number): { readonly answer: unknown } => ({
  answer: {
    throttleTimeMs: 0,
    topics: topics.map(({ name, topicId, partitions }) => ({
      name,
      topicId,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
    })),
  },
});

describe("commits", () => {
  it("never go back when an answer is lost: what is sent again is what is finished by then (C21)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 60));
    const door = await Door.before(broker);
    const sent: number[] = [];
    let number = 0;
    door.on(OffsetCommit, (request) => {
      sent.push(offsetOf(request));
      // Every second answer is lost; every third request does not even arrive.
      number++;
      return number % 3 === 0 ? "cut-before" : number % 2 === 0 ? "cut-after" : "pass";
    });
    const consumer = new Process(test, broker, door.bootstrap).member({ commitIntervalMs: 40 });
    void consumer.run({ handle: () => sleep(broker, 25) });
    await runFor(broker, 10_000);
    assert(sent.length > 10, `${sent.length} commits`);
    assert.deepEqual(
      sent,
      sent.toSorted((a, b) => a - b),
    );
    assert.deepEqual(await committed(broker), { "t/0": 60 });
  });

  it("an explicit commit whose answer is lost is not sent again after a newer one (C21)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    const door = await Door.before(broker);
    const sent: number[] = [];
    door.on(OffsetCommit, (request) => {
      sent.push(offsetOf(request));
      return sent.length === 1 ? "cut-before" : "pass";
    });
    const consumer = new Process(test, broker, door.bootstrap).member({ autoCommit: false });
    await broker.scheduler.runUntil(consumer.ready());
    const older = consumer.commitSync([{ partition: 0, offset: 3 }]);
    const newer = consumer.commitSync([{ partition: 0, offset: 7 }]);
    await broker.scheduler.runUntil(Promise.all([older, newer]));
    assert.deepEqual(sent, [3, 7]);
    assert.deepEqual(await committed(broker), { "t/0": 7 });
  });

  it("that a rebalance refuses are made again in the next generation (C20)", async (test) => {
    for (const [protocol, code] of [
      ["classic", ErrorCode.REBALANCE_IN_PROGRESS],
      ["consumer", ErrorCode.STALE_MEMBER_EPOCH],
    ] as const) {
      const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
      await broker.createTopic("t", 2);
      await broker.write("t", counted(0, 10));
      const door = await Door.before(broker);
      const generations: number[] = [];
      door.on(OffsetCommit, (request) => {
        generations.push(request.generationIdOrMemberEpoch);
        return generations.length === 1 ? refused(request, code) : "pass";
      });
      const consumer = new Process(test, broker, door.bootstrap).member({ autoCommit: false, protocol });
      assert.deepEqual(await broker.scheduler.runUntil(finish(consumer, 5)), counted(0, 5));
      assert.equal((await committed(broker))["t/0"], 5);
      assert.equal(generations.length, 2);
      // A member that was told to join again has done so before it tried again.
      if (protocol === "classic") assert((generations[0] as number) < (generations[1] as number));
    }
  });

  it("of a member that was closed meanwhile fail at once: no group that it could wait for knows it any more", async (test) => {
    for (const protocol of ["classic", "consumer"] as const) {
      const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
      await broker.createTopic("t");
      await broker.write("t", counted(0, 10));
      const door = await Door.before(broker);
      const consumer = new Process(test, broker, door.bootstrap).member({ autoCommit: false, protocol });
      let closing: Promise<void> | undefined;
      door.on(OffsetCommit, (request) => {
        closing ??= consumer.close();
        return refused(request, ErrorCode.STALE_MEMBER_EPOCH);
      });
      await broker.scheduler.runUntil(consumer.ready());
      const beganMs = broker.scheduler.nowMs;
      await assert.rejects(broker.scheduler.runUntil(finish(consumer, 5)), CommitError);
      await broker.scheduler.runUntil(closing as unknown as Promise<void>);
      const tookMs = broker.scheduler.nowMs - beganMs;
      assert(tookMs < 5_000, `the loop ends after ${tookMs} ms`);
    }
  });

  it("of a generation that the group has left are an error, and what they were about is read again (C20)", async (test) => {
    const broker = await aBroker(test, { "group.initial.rebalance.delay.ms": "0" });
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    const door = await Door.before(broker);
    let isFirst = true;
    door.on(OffsetCommit, (request) => {
      const treatment = isFirst ? refused(request, ErrorCode.ILLEGAL_GENERATION) : "pass";
      isFirst = false;
      return treatment;
    });
    const consumer = new Process(test, broker, door.bootstrap).member({
      autoCommit: false,
      protocol: "classic",
    });
    await broker.scheduler.runUntil(
      assert.rejects(finish(consumer, 5), (cause: unknown) => {
        assert(cause instanceof CommitError);
        assert.deepEqual(cause.partitions, [{ topic: "t", partition: 0, offset: 5 }]);
        return true;
      }),
    );
    assert.deepEqual(await broker.scheduler.runUntil(finish(consumer, 5)), counted(0, 5));
    assert.deepEqual(await committed(broker), { "t/0": 5 });
  });

  it("of a partition that is another's by then are an error that names it, and nothing is skipped (C20)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 4));
    const sleepy = new Process(test, broker);
    const consumer = sleepy.member({ autoCommit: false });
    const iterator = consumer[Symbol.asyncIterator]();
    await broker.scheduler.runUntil(iterator.next());
    sleepy.stop();
    await runFor(broker, 60_000);
    const other = new Process(test, broker).member();
    await broker.scheduler.runUntil(finish(other, 1));
    sleepy.cont();
    await broker.scheduler.runUntil(
      assert.rejects(consumer.commitSync([{ partition: 0, offset: 4 }]), (cause: unknown) => {
        assert(cause instanceof CommitError);
        assert.deepEqual(cause.partitions, [{ topic: "t", partition: 0, offset: 4 }]);
        return true;
      }),
    );
    assert.deepEqual(await committed(broker), { "t/0": 1 });
  });

  it("that fail for good are told to onCommitFailed, and reject at close", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 4));
    const door = await Door.before(broker);
    door.on(OffsetCommit, (request) => refused(request, ErrorCode.OFFSET_METADATA_TOO_LARGE));
    const told: CommitError[] = [];
    const consumer = new Process(test, broker, door.bootstrap).member({
      onCommitFailed: (failure) => told.push(failure),
    });
    void consumer.run({ handle: () => undefined });
    await runFor(broker, 5_000);
    assert.match(
      String(told[0]?.message),
      /^Group g did not commit offset \d of t\/0: Committing for group g was refused/,
    );
    await broker.scheduler.runUntil(assert.rejects(consumer.close(), CommitError));
  });

  it("reach a broker that was away: nothing is lost, and nothing is committed twice over", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 20));
    const consumer = new Process(test, broker).member({ commitIntervalMs: 100 });
    const handled: string[] = [];
    void consumer.run({
      handle: async (record) => {
        await sleep(broker, 100);
        handled.push(text(record));
      },
    });
    await runFor(broker, 1_500);
    broker.crash();
    await runFor(broker, 5_000);
    await broker.boot();
    await broker.write("t", counted(20, 25));
    await runFor(broker, 20_000);
    assert.deepEqual([...new Set(handled)], counted(0, 25));
    assert.deepEqual(await committed(broker), { "t/0": 25 });
  });
});

describe("where a group begins", () => {
  it("a partition that is added is read from its beginning, also by a group that began at the end (C24)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", ["old"]);
    const options: Partial<GroupConsumerOptions> = { from: "end", refreshMs: 1_000 };
    const first = new Process(test, broker);
    const consumer = first.member(options);
    await broker.scheduler.runUntil(consumer.ready());
    await broker.addPartitions("t", 2);
    await broker.write("t", ["in the new partition"], { partition: 1 });
    const seen: string[] = [];
    void consumer.run({ handle: (record) => void seen.push(text(record)) });
    await runFor(broker, 10_000);
    assert.deepEqual(seen, ["in the new partition"]);
    first.kill();
    // Nobody is there while another is added and written to.
    await broker.addPartitions("t", 3);
    await broker.write("t", ["while nobody was there"], { partition: 2 });
    await runFor(broker, 60_000);
    const again = new Process(test, broker).member(options);
    assert.deepEqual(await broker.scheduler.runUntil(finish(again, 1)), ["while nobody was there"]);
  });

  it("members of a group that begins at the end all begin there, whoever commits first", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 4);
    for (let partition = 0; partition < 4; partition++) await broker.write("t", ["old"], { partition });
    const members = [0, 1].map(() => new Process(test, broker).member({ from: "end" }));
    const seen: string[] = [];
    for (const member of members) void member.run({ handle: (record) => void seen.push(text(record)) });
    await runFor(broker, 15_000);
    for (let partition = 0; partition < 4; partition++) await broker.write("t", ["new"], { partition });
    await runFor(broker, 5_000);
    assert.deepEqual(seen, ["new", "new", "new", "new"]);
  });

  it("a group that began at the end stays where that was, also when it never read a record", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", ["old"]);
    const first = new Process(test, broker);
    await broker.scheduler.runUntil(first.member({ from: "end" }).ready());
    first.kill();
    await broker.write("t", ["new"]);
    await runFor(broker, 60_000);
    const again = new Process(test, broker).member({ from: "end" });
    assert.deepEqual(await broker.scheduler.runUntil(finish(again, 1)), ["new"]);
  });

  it("a committed position whose records are gone is an error with the exact gap, not a jump (C09)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 1, { "retention.ms": "60000" });
    await broker.write("t", counted(0, 10));
    const first = new Process(test, broker).member();
    await broker.scheduler.runUntil(finish(first, 4));
    await broker.scheduler.runUntil(first.close());
    await runFor(broker, 3_600_000);
    await broker.write("t", counted(10, 12), { beginMs: 1_767_225_600_000 + 3_600_000 });
    const consumer = new Process(test, broker).member();
    await broker.scheduler.runUntil(
      assert.rejects(finish(consumer, 1), (cause: unknown) => {
        assert(cause instanceof LostPositionError);
        const { reason, offset, availableStart } = cause;
        assert.deepEqual([reason, offset, availableStart], ["trimmed", 4, 10]);
        return true;
      }),
    );
    assert.deepEqual(await committed(broker), { "t/0": 4 });
    consumer.seek({ partition: 0, to: "start" });
    assert.deepEqual(await broker.scheduler.runUntil(finish(consumer, 2)), ["10", "11"]);
  });

  it("a committed place in a log that was cut and written anew is noticed by its epoch (C10)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", counted(0, 10));
    await broker.restart();
    await broker.write("t", counted(10, 20));
    // As if the first leader had acknowledged what this log does not hold of it.
    const partitions = [
      {
        partitionIndex: partitionIndex(0),
        committedOffset: offset(15),
        committedLeaderEpoch: leaderEpoch(0),
        committedMetadata: "",
      },
    ];
    const { topics } = await broker.ask(
      OffsetCommit,
      {
        groupId: "g",
        generationIdOrMemberEpoch: -1,
        memberId: "",
        groupInstanceId: null,
        retentionTimeMs: -1,
        topics: [{ name: "t", topicId: NO_TOPIC_ID, partitions }],
      },
      9,
    );
    assert.equal(topics[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
    const consumer = new Process(test, broker).member();
    await broker.scheduler.runUntil(
      assert.rejects(finish(consumer, 1), (cause: unknown) => {
        return cause instanceof LostPositionError && cause.reason === "truncated" && cause.offset === 15;
      }),
    );
  });

  it("a name that is mistyped is an error, and an expression finds topics that come later", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("orders.eu");
    const mistyped = new Process(test, broker).member({ topic: "order.eu" });
    await broker.scheduler.runUntil(assert.rejects(mistyped.ready(), UnknownTopicError));
    const consumer = new Process(test, broker).member({ topic: /orders\..*/, refreshMs: 1_000 });
    await broker.write("orders.eu", ["a"]);
    const seen: string[] = [];
    void consumer.run({ handle: (record) => void seen.push(`${record.topic} ${text(record)}`) });
    await runFor(broker, 5_000);
    await broker.createTopic("orders.us");
    await broker.createTopic("my.orders.us");
    await broker.write("orders.us", ["b"]);
    await runFor(broker, 5_000);
    assert.deepEqual(seen, ["orders.eu a", "orders.us b"]);
  });

  it("options that make no sense are refused before anything is sent", async (test) => {
    const broker = await aBroker(test);
    const { client } = new Process(test, broker);
    for (const wrong of [
      { group: "" },
      { topic: [] },
      { from: 4 as never },
      { assignors: [] },
      { assignors: ["toString" as never] },
      { heartbeatIntervalMs: 40_000 },
      { releaseTimeoutMs: 60_000 },
    ]) {
      assert.throws(() => client.consumer({ group: "g", topic: "t", ...wrong }), OptionError);
    }
  });
});

describe("a member of the new protocol", () => {
  it("asks again soon when it is given nothing yet, as by a broker that decides about assignments later", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const door = await Door.before(broker);
    let beats = 0;
    door.on(ConsumerGroupHeartbeat, () => {
      beats++;
      if (beats > 3) return "pass";
      return {
        rewrite: (answer: ConsumerGroupHeartbeatResponse) => ({
          ...answer,
          assignment: beats === 1 ? { topicPartitions: [] } : null,
        }),
      };
    });
    const consumer = new Process(test, broker, door.bootstrap).member({ protocol: "consumer" });
    const ready = consumer.ready();
    await runFor(broker, 4_000);
    // It is told once more when it says everything; until then it knows of nothing and says that it has nothing.
    assert(beats >= 5, `${beats} heartbeats`);
    await broker.scheduler.runUntil(ready);
  });

  it("whose answers are lost says everything again, and stays the member that it is", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 3);
    const door = await Door.before(broker);
    let beats = 0;
    door.on(ConsumerGroupHeartbeat, () => (++beats % 2 === 0 ? "cut-after" : "pass"));
    const consumer = new Process(test, broker, door.bootstrap).member({ protocol: "consumer" });
    await broker.scheduler.runUntil(consumer.ready());
    const { memberId } = consumer.membership ?? {};
    await runFor(broker, 120_000);
    assert.deepEqual([consumer.assignment.length, consumer.membership?.memberId], [3, memberId]);
    assert(beats > 20);
  });
});

describe("callbacks of a member", () => {
  it("that throw end the loop with what they threw, with both protocols", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    await broker.write("t", ["a"]);
    for (const protocol of ["classic", "consumer"] as const) {
      const assigned = new Process(test, broker).member({
        group: `assigned-${protocol}`,
        protocol,
        onAssigned: () => {
          throw new Error("not ready for it");
        },
      });
      await broker.scheduler.runUntil(assert.rejects(finish(assigned, 1), /not ready for it/));
      const released = new Process(test, broker).member({
        group: `released-${protocol}`,
        protocol,
        onReleased: () => Promise.reject(new Error("could not be written")),
      });
      await broker.scheduler.runUntil(finish(released, 1));
      await broker.scheduler.runUntil(assert.rejects(released.close(), /could not be written/));
    }
  });
});

describe("static members", () => {
  it("come back within their session without a rebalance, and keep their partitions", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t", 2);
    const released: unknown[] = [];
    const stays = new Process(test, broker).member({
      instanceId: "a",
      onReleased: (parts) => void released.push(...parts),
    });
    const leaves = new Process(test, broker).member({ instanceId: "b" });
    await broker.scheduler.runUntil(Promise.all([stays.ready(), leaves.ready()]));
    await runFor(broker, 10_000);
    const before = stays.assignment;
    released.length = 0;
    await broker.scheduler.runUntil(leaves.close());
    await runFor(broker, 5_000);
    const back = new Process(test, broker).member({ instanceId: "b" });
    await broker.scheduler.runUntil(back.ready());
    await runFor(broker, 10_000);
    assert.deepEqual([before.length, stays.assignment, released], [1, before, []]);
  });

  it("with the new protocol the younger waits for the older's session, and gives up when that lives (C25)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const first = new Process(test, broker);
    await broker.scheduler.runUntil(first.member({ instanceId: "i" }).ready());
    const second = new Process(test, broker).member({ instanceId: "i" });
    const waiting = second.ready();
    await runFor(broker, 10_000);
    first.kill();
    await broker.scheduler.runUntil(waiting);
    assert.equal(second.assignment.length, 1);
    const third = new Process(test, broker).member({ instanceId: "i" });
    await broker.scheduler.runUntil(
      assert.rejects(third.ready(), (cause: unknown) =>
        /UNRELEASED_INSTANCE_ID/.test((cause as Error).message),
      ),
    );
    assert.equal(second.assignment.length, 1);
  });

  it("two with one instance id: the older is put out and told so (C25)", async (test) => {
    const broker = await aBroker(test);
    await broker.createTopic("t");
    const older = new Process(test, broker).member({ instanceId: "i", protocol: "classic" });
    await broker.scheduler.runUntil(older.ready());
    const loop = finish(older, 1);
    const newer = new Process(test, broker).member({ instanceId: "i", protocol: "classic" });
    await broker.scheduler.runUntil(newer.ready());
    await broker.scheduler.runUntil(assert.rejects(loop, FencedMemberError));
    assert.deepEqual([older.assignment.length, newer.assignment.length], [0, 1]);
  });
});
