import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { leaderEpoch, nodeId, offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DeleteRecords } from "../../protocol/messages/delete-records.ts";
import { ListedOffset, ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { partitionBytes } from "../../log/segment-list.ts";

const all = -1;

const requestFor = (topic: string, before: number, partition = 0) => ({
  topics: [
    { name: topic, partitions: [{ partitionIndex: partitionIndex(partition), offset: offset(before) }] },
  ],
  timeoutMs: 1000,
});

async function purge(
  broker: SimulatedBroker,
  topic: string,
  before: number,
  options: { readonly partition?: number; readonly version?: number } = {},
): Promise<{ readonly errorCode: number; readonly lowWatermark: number }> {
  const { partition = 0, version = 2 } = options;
  const answer = await broker.ask(DeleteRecords, requestFor(topic, before, partition), version);
  const { errorCode, lowWatermark } = answer.topics[0]?.partitions[0] ?? {};
  return { errorCode: errorCode as number, lowWatermark: lowWatermark as number };
}

async function startOf(broker: SimulatedBroker, topic: string): Promise<number> {
  const partitions = [
    {
      partitionIndex: partitionIndex(0),
      currentLeaderEpoch: leaderEpoch(-1),
      timestamp: ListedOffset.earliest,
    },
  ];
  const topics = [{ name: topic, partitions }];
  const request = { replicaId: nodeId(-1), isolationLevel: 0, topics, timeoutMs: 0 };
  const answer = await broker.ask(ListOffsets, request);
  return answer.topics[0]?.partitions[0]?.offset as number;
}

const inJournal = (broker: SimulatedBroker, topic: string) => {
  const state = broker.broker.services.topics.byName(topic)?.partitions[0];
  assert.ok(state !== undefined);
  return state;
};

test("every version moves the log start and tells it; moving back changes nothing", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders");
  await broker.write("orders", ["a", "b", "c", "d"]);
  for (const version of [0, 1, 2]) {
    const told = await purge(broker, "orders", version + 1, { version });
    assert.deepEqual(told, { errorCode: ErrorCode.NONE, lowWatermark: version + 1 });
    assert.equal(await startOf(broker, "orders"), version + 1);
  }
  assert.equal((await purge(broker, "orders", 1)).lowWatermark, 3);
  assert.equal((await purge(broker, "orders", all)).lowWatermark, 4);
  assert.equal(await broker.write("orders", ["e"]), 4);
});

test("refuses what it cannot do, and changes nothing", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders");
  await broker.createTopic("state", 1, { "cleanup.policy": "compact" });
  await broker.createTopic("both", 1, { "cleanup.policy": "compact,delete" });
  await broker.write("orders", ["a", "b"]);
  const code = async (...args: Parameters<typeof purge> extends [unknown, ...infer R] ? R : never) => {
    const { errorCode, lowWatermark } = await purge(broker, ...args);
    if (errorCode !== ErrorCode.NONE) assert.equal(lowWatermark, -1);
    return errorCode;
  };
  assert.equal(await code("orders", 3), ErrorCode.OFFSET_OUT_OF_RANGE);
  assert.equal(await code("orders", -2), ErrorCode.OFFSET_OUT_OF_RANGE);
  assert.equal(await code("orders", 1, { partition: 1 }), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(await code("absent", 1), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(await code("__consumer_offsets", 0), ErrorCode.INVALID_TOPIC_EXCEPTION);
  assert.equal(await code("state", all), ErrorCode.POLICY_VIOLATION);
  assert.equal(await code("both", all), ErrorCode.NONE);
  assert.equal(await startOf(broker, "orders"), 0);
});

test("one request for several partitions answers each, in their order", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders", 2);
  await broker.write("orders", ["a", "b"], { partition: 1 });
  const wanted = (partition: number, before: number) => ({
    partitionIndex: partitionIndex(partition),
    offset: offset(before),
  });
  const partitions = [wanted(1, 2), wanted(0, 1), wanted(1, 1)];
  const answer = await broker.ask(DeleteRecords, {
    topics: [{ name: "orders", partitions }],
    timeoutMs: 0,
  });
  assert.deepEqual(
    answer.topics[0]?.partitions.map(({ partitionIndex: index, lowWatermark }) => [index, lowWatermark]),
    [
      [1, 2],
      [0, -1],
      [1, 2],
    ],
  );
});

test("what was told deleted stays deleted after power loss, before and after a flush", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders");
  await broker.write("orders", ["a", "b", "c"]);
  assert.equal((await purge(broker, "orders", 2)).lowWatermark, 2);
  broker.crash();
  await broker.boot();
  assert.equal(await startOf(broker, "orders"), 2);
  await broker.scheduler.runUntil(broker.broker.flush());
  assert.equal(inJournal(broker, "orders").start, 2);
  broker.crash();
  await broker.boot();
  assert.equal(await startOf(broker, "orders"), 2);
  assert.equal(await broker.write("orders", ["d"]), 3);
});

test("it takes effect when it is durable, not before", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders");
  await broker.write("orders", ["a", "b"]);
  const client = broker.connect();
  const asked = client.call(DeleteRecords, 2, requestFor("orders", all));
  const { services } = broker.broker;
  const partition = services.partitions.get(
    services.topics.idOf("orders") ?? assert.fail(),
    partitionIndex(0),
  );
  let isAnswered = false;
  let pendingEvents = 0;
  void asked.then(() => {
    isAnswered = true;
  });
  broker.scheduler.afterEvent = () => {
    if (services.wal.durable >= (partition?.lastNumber ?? 0)) return;
    pendingEvents++;
    assert.deepEqual([partition?.logStart, isAnswered], [0, false]);
  };
  await broker.scheduler.runUntil(asked);
  broker.scheduler.afterEvent = null;
  assert.ok(pendingEvents > 0);
  assert.equal(partition?.logStart, 2);
});

test("segments that lie wholly below the log start leave the journal and then the disk", async (t) => {
  const broker = await aBroker(t, {
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
  });
  await broker.createTopic("orders");
  for (let i = 0; i < 6; i++) {
    await broker.write("orders", [`${i}`.repeat(10_000)]);
    await broker.scheduler.runUntil(broker.broker.flush());
  }
  const objects = () => broker.broker.store.list("seg/");
  assert.equal((await broker.scheduler.runUntil(objects())).length, 6);
  assert.equal((await purge(broker, "orders", 4)).lowWatermark, 4);
  await broker.scheduler.runUntil(broker.broker.flush());
  assert.deepEqual(
    inJournal(broker, "orders").recent.map(({ base }) => base),
    [4, 5],
  );
  assert.ok(partitionBytes(inJournal(broker, "orders")) < 50_000);
  await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 10_000 });
  assert.equal((await broker.scheduler.runUntil(objects())).length, 2);
  assert.equal(await broker.write("orders", ["next"]), 6);
});
