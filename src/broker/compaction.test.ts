/** Compacted topics as clients and the disk see them, in a whole broker. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { aClient } from "../../test/consumer-fixture.ts";
import { readBack } from "../../test/read-back.ts";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { DeleteRecords } from "../protocol/messages/delete-records.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { buildBatch } from "../record/builder.ts";

const minuteMs = 60_000;

const quick = {
  "log.cleaner.backoff.ms": "1000",
  "log.retention.check.interval.ms": "1000",
  "log.segment.delete.delay.ms": "1000",
};

/** Key, and value or null. */
type Entry = readonly [key: string | null, value: string | null];

async function produce(broker: SimulatedBroker, entries: readonly Entry[], partition = 0): Promise<number> {
  const timestamp = broker.broker.services.env.clock.wallMs();
  const batch = buildBatch(entries.map(([key, value]) => ({ key, value, timestamp })));
  const partitionData = [{ index: partitionIndex(partition), records: [batch] }];
  const topicData = [{ name: "state", topicId: NO_TOPIC_ID, partitionData }];
  const { responses } = await broker.ask(
    Produce,
    { transactionalId: null, acks: -1, timeoutMs: 1000, topicData },
    12,
  );
  return responses[0]?.partitionResponses[0]?.errorCode as number;
}

/** As several flushes, so that there is something to compact. */
async function flushed(broker: SimulatedBroker, ...parts: readonly (readonly Entry[])[]): Promise<void> {
  for (const part of parts) {
    assert.equal(await produce(broker, part), ErrorCode.NONE);
    await broker.scheduler.runUntil(broker.broker.flush());
  }
}

const pass = (broker: SimulatedBroker, ms = 10_000): Promise<void> =>
  broker.scheduler.run({ untilMs: broker.scheduler.nowMs + ms });

async function told(broker: SimulatedBroker, partition = 0): Promise<readonly string[]> {
  const records = await readBack(broker, "state", partition);
  const text = (bytes: Uint8Array | null) => Buffer.from(bytes ?? []).toString();
  return records.map(
    ({ offset: at, key, value }) => `${at}:${text(key)}=${value === null ? "∅" : text(value)}`,
  );
}

/** What is read from segments: a restart leaves nothing in memory. */
async function cold(broker: SimulatedBroker, partition = 0): Promise<readonly string[]> {
  await broker.restart();
  return told(broker, partition);
}

const inJournal = (broker: SimulatedBroker, partition = 0) => {
  const state = broker.broker.services.topics.byName("state")?.partitions[partition];
  assert.ok(state !== undefined);
  return state;
};

async function aState(
  test: TestContext,
  configs: { readonly [name: string]: string } = {},
  partitions = 1,
): Promise<SimulatedBroker> {
  const broker = await aBroker(test, quick);
  await broker.createTopic("state", partitions, {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0",
    ...configs,
  });
  return broker;
}

const bytesOnDisk = async (broker: SimulatedBroker): Promise<number> => {
  const objects = await broker.scheduler.runUntil(broker.broker.store.list("seg/"));
  return objects.reduce((sum, { bytes }) => sum + bytes, 0);
};

describe("a compacted topic", () => {
  it("keeps the newest value of each key at its offset, and gives the space of the others back", async (t) => {
    const broker = await aState(t);
    const large = "x".repeat(50_000);
    await flushed(
      broker,
      [
        ["a", large],
        ["b", large],
      ],
      [["a", "2"]],
      [
        ["b", "3"],
        ["c", "4"],
      ],
    );
    const before = await bytesOnDisk(broker);
    await pass(broker);
    assert.deepEqual(await cold(broker), ["2:a=2", "3:b=3", "4:c=4"]);
    assert.ok((await bytesOnDisk(broker)) < before / 20);
    await broker.restart();
    broker.crash();
    await broker.boot();
    assert.deepEqual(await cold(broker), ["2:a=2", "3:b=3", "4:c=4"]);
    assert.equal(inJournal(broker).compacted?.to, 5);
    await flushed(broker, [["a", "5"]]);
    await pass(broker);
    assert.deepEqual(await cold(broker), ["3:b=3", "4:c=4", "5:a=5"]);
  });

  it("is compacted together with what is not flushed when that is flushed, and never above it", async (t) => {
    const broker = await aState(t);
    await flushed(broker, [["a", "1"]], [["b", "1"]]);
    assert.equal(await produce(broker, [["a", "2"]]), ErrorCode.NONE);
    await pass(broker, 2_000);
    assert.equal(inJournal(broker).compacted?.to, 2);
    assert.deepEqual(await told(broker), ["0:a=1", "1:b=1", "2:a=2"]);
    await broker.restart();
    await pass(broker);
    assert.deepEqual(await cold(broker), ["1:b=1", "2:a=2"]);
  });

  it("keeps a tombstone for delete.retention.ms from when it was first compacted, over a restart", async (t) => {
    const broker = await aState(t, { "delete.retention.ms": String(minuteMs) });
    await flushed(
      broker,
      [
        ["a", "1"],
        ["b", "1"],
      ],
      [["a", null]],
    );
    await pass(broker);
    assert.deepEqual(await cold(broker), ["1:b=1", "2:a=∅"]);
    const horizonMs = inJournal(broker).compacted?.horizonMs as number;
    await pass(broker, minuteMs / 2);
    await broker.restart();
    await pass(broker);
    assert.deepEqual(
      [await cold(broker), inJournal(broker).compacted?.horizonMs],
      [["1:b=1", "2:a=∅"], horizonMs],
    );
    await pass(broker, minuteMs / 2);
    assert.deepEqual(await cold(broker), ["1:b=1"]);
    assert.equal(inJournal(broker).compacted?.horizonMs, -1);
  });

  it("lets a consumer reach the end although nothing is left there", async (t) => {
    const broker = await aState(t, { "delete.retention.ms": "1" });
    await flushed(
      broker,
      [["a", "1"]],
      [["b", "1"]],
      [
        ["a", null],
        ["b", null],
      ],
    );
    await pass(broker);
    assert.deepEqual(await cold(broker), []);
    const consumer = aClient(t, broker).consumer({ topic: "state", from: "start", until: "end" });
    const seen = [];
    await broker.scheduler.runUntil(
      (async () => {
        for await (const record of consumer) seen.push(record);
      })(),
    );
    assert.equal(seen.length, 0);
    await flushed(broker, [["c", "1"]]);
    assert.deepEqual(await cold(broker), ["4:c=1"]);
  });

  it("refuses a record without a key", async (t) => {
    const broker = await aState(t);
    assert.equal(
      await produce(broker, [
        ["a", "1"],
        [null, "2"],
      ]),
      ErrorCode.INVALID_RECORD,
    );
    assert.deepEqual(await cold(broker), []);
  });

  it("leaves records alone for min.compaction.lag.ms", async (t) => {
    const broker = await aState(t, { "min.compaction.lag.ms": String(minuteMs) });
    await flushed(broker, [["a", "1"]], [["a", "2"]]);
    await pass(broker, minuteMs / 2);
    assert.equal((await cold(broker)).length, 2);
    await pass(broker, minuteMs);
    assert.deepEqual(await cold(broker), ["1:a=2"]);
  });

  it("is compacted before it is dirty enough when max.compaction.lag.ms is over", async (t) => {
    const broker = await aState(t, {
      "min.cleanable.dirty.ratio": "1",
      "max.compaction.lag.ms": String(minuteMs),
    });
    await flushed(broker, [["a", "1"]], [["a", "2"]]);
    await pass(broker, minuteMs / 2);
    assert.equal((await cold(broker)).length, 2);
    await pass(broker, minuteMs);
    assert.deepEqual(await cold(broker), ["1:a=2"]);
  });

  it("with delete beside compact also loses old records and takes DeleteRecords", async (t) => {
    const broker = await aState(t, { "cleanup.policy": "compact,delete", "retention.ms": String(minuteMs) });
    await flushed(
      broker,
      [["a", "1"]],
      [
        ["a", "2"],
        ["b", "2"],
      ],
    );
    await pass(broker);
    assert.deepEqual(await cold(broker), ["1:a=2", "2:b=2"]);
    await pass(broker, 2 * minuteMs);
    assert.equal(inJournal(broker).start, 3);
    await flushed(broker, [
      ["c", "3"],
      ["d", "4"],
    ]);
    const partitions = [{ partitionIndex: partitionIndex(0), offset: offset(4) }];
    await broker.ask(DeleteRecords, { topics: [{ name: "state", partitions }], timeoutMs: 0 });
    await pass(broker);
    await broker.restart();
    assert.deepEqual([inJournal(broker).start, inJournal(broker).flushed], [4, 5]);
  });

  it("with many partitions has one object for all that is small, and stays so", async (t) => {
    const broker = await aState(t, {}, 30);
    for (let round = 0; round < 12; round++) {
      for (let partition = 0; partition < 30; partition++) {
        assert.equal(
          await produce(
            broker,
            [
              ["k", `${round}`],
              [`${round}`, "v"],
            ],
            partition,
          ),
          ErrorCode.NONE,
        );
      }
      await broker.scheduler.runUntil(broker.broker.flush());
      await pass(broker, 2_000);
    }
    await pass(broker, 20_000);
    await broker.restart();
    for (let partition = 0; partition < 30; partition += 7) {
      const found = await told(broker, partition);
      assert.deepEqual([found.length, found.at(-2)], [13, "22:k=11"]);
    }
    const objects = await broker.scheduler.runUntil(broker.broker.store.list("seg/"));
    assert.ok(objects.length <= 6, `${objects.length} objects`);
  });

  it("that became one after records without keys keeps those", async (t) => {
    const broker = await aBroker(t, quick);
    await broker.createTopic("state");
    await flushed(
      broker,
      [
        [null, "n"],
        ["a", "1"],
      ],
      [["a", "2"]],
    );
    const { topics } = broker.broker.services;
    const id = topics.idOf("state") ?? assert.fail();
    await broker.scheduler.runUntil(topics.configure(id, new Map([["cleanup.policy", "compact"]]), false));
    await pass(broker);
    assert.deepEqual(await cold(broker), ["0:=n", "2:a=2"]);
  });
});

const secret = "what nobody may find any more";

/** Files that hold it, as they are on the disk. */
const holding = (broker: SimulatedBroker): readonly string[] =>
  broker.disk.paths().filter((path) => Buffer.from(broker.disk.contents(path)).includes(secret));

/** All bounds on the way out: of compaction, its interval, garbage and ended logs some seconds, and half a minute of a flush. */
const boundMs = 45_000;

async function commit(broker: SimulatedBroker, groupId: string, at: number): Promise<void> {
  const committed = {
    partitionIndex: partitionIndex(0),
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: "",
  };
  const topics = [{ name: "state", topicId: NO_TOPIC_ID, partitions: [committed] }];
  const member = { generationIdOrMemberEpoch: -1, memberId: "", groupInstanceId: null, retentionTimeMs: -1 };
  const answer = await broker.ask(OffsetCommit, { groupId, ...member, topics }, 9);
  assert.equal(answer.topics[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
}

async function committed(broker: SimulatedBroker, groupId: string): Promise<number | undefined> {
  const topics = [{ name: "state", topicId: NO_TOPIC_ID, partitionIndexes: [partitionIndex(0)] }];
  const groups = [{ groupId, memberId: null, memberEpoch: -1, topics }];
  const answer = await broker.ask(OffsetFetch, { groupId: "", topics: [], groups, requireStable: false }, 9);
  return answer.groups[0]?.topics[0]?.partitions[0]?.committedOffset;
}

describe("__consumer_offsets", () => {
  it("stays small however often groups commit, and says after a restart what they committed last", async (t) => {
    const broker = await aState(t);
    const groups = Array.from({ length: 5 }, (_, i) => `group-${i}`);
    for (let round = 0; round < 8; round++) {
      for (let at = 0; at < 20; at++) {
        for (const group of groups) await commit(broker, group, round * 20 + at);
      }
      await broker.scheduler.runUntil(broker.broker.flush());
      await pass(broker, 2_000);
    }
    const { topics } = broker.broker.services;
    const partitions = topics.byName("__consumer_offsets")?.partitions ?? [];
    const used = partitions.filter(({ flushed }) => flushed > 0);
    assert.ok(used.length > 0);
    for (const { recent, folded } of used) {
      assert.equal(folded, null);
      const records = recent.reduce((sum, { recordCount }) => sum + recordCount, 0);
      assert.ok(recent.length <= 2 && records <= 2 * groups.length, `${records} records`);
    }
    broker.crash();
    await broker.boot();
    for (const group of groups) assert.equal(await committed(broker, group), 159);
  });
});

describe("erasure", () => {
  it("a superseded value, a deleted one and its tombstone are in no file when the bounds are over and the log has ended", async (t) => {
    const broker = await aState(t, { "max.compaction.lag.ms": "1000", "delete.retention.ms": "1000" });
    await flushed(
      broker,
      [
        ["a", secret],
        ["b", secret],
      ],
      [
        ["a", "2"],
        ["b", null],
      ],
    );
    assert.ok(holding(broker).some((path) => path.startsWith("store/seg/")));
    await pass(broker, boundMs);
    assert.deepEqual(
      holding(broker).filter((path) => !path.startsWith("wal/")),
      [],
    );
    await broker.restart();
    await pass(broker, boundMs);
    assert.deepEqual(holding(broker), []);
    assert.deepEqual(await told(broker), ["2:a=2"]);
  });

  it("records that were deleted are in no file either", async (t) => {
    const broker = await aBroker(t, quick);
    await broker.createTopic("state");
    await flushed(broker, [["a", secret]]);
    const partitions = [{ partitionIndex: partitionIndex(0), offset: offset(-1) }];
    await broker.ask(DeleteRecords, { topics: [{ name: "state", partitions }], timeoutMs: 0 });
    await broker.restart();
    await pass(broker, boundMs);
    assert.deepEqual(holding(broker), []);
  });
});

describe("a partition from which all records were deleted", () => {
  it("takes no space, although nothing is written to it any more", async (t) => {
    const broker = await aBroker(t, quick);
    await broker.createTopic("state");
    await flushed(broker, [["a", "x".repeat(100_000)]], [["a", "x".repeat(100_000)]]);
    const partitions = [{ partitionIndex: partitionIndex(0), offset: offset(-1) }];
    await broker.ask(DeleteRecords, { topics: [{ name: "state", partitions }], timeoutMs: 0 });
    await broker.scheduler.runUntil(broker.broker.flush());
    await pass(broker, 20_000);
    assert.ok((await bytesOnDisk(broker)) < 2_000);
    await broker.restart();
    assert.equal(await produce(broker, [["b", "1"]]), ErrorCode.NONE);
    assert.deepEqual([inJournal(broker).start, inJournal(broker).flushed], [2, 2]);
  });
});
