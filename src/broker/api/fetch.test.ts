import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SimulatedBroker } from "../../../test/simulated-broker.ts";
import { leaderEpoch, NO_TOPIC_ID, nodeId, offset, partitionIndex, topicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Fetch, type FetchRequest } from "../../protocol/messages/fetch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";
import { wholeBatchesIn } from "../../record/batch.ts";
import { recordsIn } from "../../record/record.ts";

/** By name; topics by id have their own tests below. */
const version = 12;

function request(
  fetchOffset: number,
  change: Partial<Omit<FetchRequest, "topics">> & {
    readonly topic?: string;
    readonly bytesMax?: number;
    readonly epoch?: number;
    readonly lastFetchedEpoch?: number;
  } = {},
): FetchRequest {
  const { topic = "orders", bytesMax = 1 << 20, epoch = -1, lastFetchedEpoch = -1, ...top } = change;
  return {
    clusterId: null,
    replicaId: nodeId(-1),
    replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 1 << 24,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic,
        topicId: NO_TOPIC_ID,
        partitions: [
          {
            partition: partitionIndex(0),
            currentLeaderEpoch: leaderEpoch(epoch),
            fetchOffset: offset(fetchOffset),
            lastFetchedEpoch: leaderEpoch(lastFetchedEpoch),
            logStartOffset: offset(-1),
            partitionMaxBytes: bytesMax,
            replicaDirectoryId: NO_TOPIC_ID,
            highWatermark: 0x7fff_ffff_ffff_ffffn,
          },
        ],
      },
    ],
    forgottenTopicsData: [],
    rackId: "",
    ...top,
  };
}

async function produce(broker: SimulatedBroker, values: readonly string[], partition = 0) {
  const batch = buildBatch(values.map((value) => ({ value })));
  const answer = await broker.ask(
    Produce,
    {
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      topicData: [
        {
          name: "orders",
          topicId: NO_TOPIC_ID,
          partitionData: [{ index: partitionIndex(partition), records: [batch] }],
        },
      ],
    },
    9,
  );
  assert.equal(answer.responses[0]?.partitionResponses[0]?.errorCode, ErrorCode.NONE);
}

async function aBroker(batches: readonly (readonly string[])[]): Promise<SimulatedBroker> {
  const broker = await SimulatedBroker.start();
  await broker.createTopic("orders");
  for (const values of batches) await produce(broker, values);
  return broker;
}

async function fetch(broker: SimulatedBroker, wanted: FetchRequest) {
  const answer = await broker.ask(Fetch, wanted, version);
  const partition = answer.responses[0]?.partitions[0];
  const values = (partition?.records ?? []).flatMap((chunk) =>
    [...wholeBatchesIn(chunk)].flatMap((batch) =>
      [...recordsIn(batch, 1 << 20)].map(
        (record) => `${record.offset}:${Buffer.from(record.value ?? []).toString()}`,
      ),
    ),
  );
  return { answer, partition, values };
}

describe("Fetch", () => {
  it("gives whole batches from the one that holds the offset on, with the ends of the log", async () => {
    const broker = await aBroker([["a", "b"], ["c"]]);
    const { partition, values } = await fetch(broker, request(1));
    assert.deepEqual(values, ["0:a", "1:b", "2:c"]);
    assert.deepEqual(
      [partition?.highWatermark, partition?.lastStableOffset, partition?.logStartOffset],
      [3, 3, 0],
    );
    await broker.stop();
  });

  it("gives the first batch even if it is larger than every bound, and no second one", async () => {
    const broker = await aBroker([["a".repeat(500)], ["b"]]);
    const { values } = await fetch(broker, request(0, { bytesMax: 10, maxBytes: 10 }));
    assert.equal(values.length, 1);
    await broker.stop();
  });

  it("is answered as soon as enough became durable, long before its time is up", async () => {
    const broker = await aBroker([]);
    const before = broker.scheduler.nowMs;
    const reader = broker.connect();
    const waiting = reader.call(Fetch, version, request(0, { maxWaitMs: 60_000 }));
    await produce(broker, ["a"]);
    const answer = await broker.scheduler.runUntil(waiting);
    assert.equal(answer.responses[0]?.partitions[0]?.highWatermark, 1);
    assert.ok(broker.scheduler.nowMs - before < 5_000);
    await broker.stop();
  });

  it("is answered empty when its time is up", async () => {
    const broker = await aBroker([]);
    const before = broker.scheduler.nowMs;
    const { partition, values } = await fetch(broker, request(0, { maxWaitMs: 500 }));
    assert.deepEqual(values, []);
    assert.equal(partition?.errorCode, ErrorCode.NONE);
    assert.ok(broker.scheduler.nowMs - before >= 500);
    await broker.stop();
  });

  it("refuses an offset outside of the log, and a leader epoch that is not today's", async () => {
    const broker = await aBroker([["a"]]);
    const codeOf = async (wanted: FetchRequest) => (await fetch(broker, wanted)).partition?.errorCode;
    assert.equal(await codeOf(request(2)), ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.equal(await codeOf(request(-1)), ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.equal(await codeOf(request(0, { epoch: 7 })), ErrorCode.UNKNOWN_LEADER_EPOCH);
    assert.equal(await codeOf(request(0, { topic: "nothing" })), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    await broker.restart();
    assert.equal(await codeOf(request(0, { epoch: 0 })), ErrorCode.FENCED_LEADER_EPOCH);
    await broker.stop();
  });

  it("tells a client whose last record is of an epoch that ended earlier where that epoch ended", async () => {
    const broker = await aBroker([["a"]]);
    await broker.restart();
    await produce(broker, ["b"]);
    const { partition } = await fetch(broker, request(2, { lastFetchedEpoch: 0 }));
    assert.deepEqual(partition?.divergingEpoch, { epoch: 0, endOffset: 1 });
    assert.equal(Buffer.concat([...(partition?.records ?? [])]).byteLength, 0);
    await broker.stop();
  });

  it("has no offset for a client whose last record is of an epoch that there has not been", async () => {
    const broker = await aBroker([["a", "b"]]);
    const code = async (at: number, lastFetchedEpoch: number) =>
      (await fetch(broker, request(at, { lastFetchedEpoch }))).partition?.errorCode;
    assert.equal(await code(1, 0), ErrorCode.NONE);
    assert.equal(await code(1, 1), ErrorCode.OFFSET_OUT_OF_RANGE);
    await broker.stop();
  });

  it("reads from segments what is no longer in memory, the same bytes", async () => {
    const broker = await aBroker([["a", "b"], ["c"]]);
    const { partition: before } = await fetch(broker, request(0));
    await broker.scheduler.runUntil(broker.broker.flush());
    await broker.restart();
    const { partition: after, values } = await fetch(broker, request(0));
    assert.deepEqual(values, ["0:a", "1:b", "2:c"]);
    assert.deepEqual(Buffer.concat([...(after?.records ?? [])]), Buffer.concat([...(before?.records ?? [])]));
    await broker.stop();
  });

  it("reads several partitions from segments, in their order, and no more than the answer has room for", async () => {
    const broker = await SimulatedBroker.start();
    await broker.createTopic("orders", 6);
    const value = "x".repeat(200_000);
    for (let partition = 0; partition < 6; partition++) await produce(broker, [value], partition);
    await broker.scheduler.runUntil(broker.broker.flush());
    await broker.restart();
    const large: number[] = [];
    broker.disk.refuseRead = (_path, _position, length) => {
      if (length > value.length) large.push(length);
      return false;
    };
    const wanted = (maxBytes: number): FetchRequest => {
      const one = request(0, { maxBytes });
      const [topic] = one.topics;
      const partitions = Array.from({ length: 6 }, (_, index) => ({
        ...(topic?.partitions[0] as NonNullable<typeof topic>["partitions"][number]),
        partition: partitionIndex(index),
      }));
      return { ...one, topics: topic === undefined ? [] : [{ ...topic, partitions }] };
    };
    const read = async (maxBytes: number): Promise<readonly boolean[]> => {
      const answer = await broker.ask(Fetch, wanted(maxBytes), version);
      const { partitions = [] } = answer.responses[0] ?? {};
      assert.deepEqual(
        partitions.map(({ partitionIndex: index }) => index),
        [0, 1, 2, 3, 4, 5],
      );
      assert.ok(partitions.every(({ errorCode }) => errorCode === ErrorCode.NONE));
      return partitions.map(({ records }) => (records ?? []).some(({ byteLength }) => byteLength > 0));
    };
    assert.deepEqual(await read(500_000), [true, true, false, false, false, false]);
    assert.equal(large.length, 3, "the third did not fit, and of the others none was read");
    assert.deepEqual(await read(10_000_000), [true, true, true, true, true, true]);
    assert.equal(broker.broker.services.answers.used, 0, "nothing is counted when nothing is held");
    await broker.stop();
  });

  it("knows a topic by its id from version 13 on, and says when the id is unknown", async () => {
    const broker = await aBroker([["a"]]);
    const id = broker.broker.services.topics.idOf("orders") ?? NO_TOPIC_ID;
    const byId = (wanted: string) => {
      const base = request(0);
      return { ...base, topics: base.topics.map((topic) => ({ ...topic, topicId: topicId(wanted) })) };
    };
    const found = await broker.ask(Fetch, byId(id), 13);
    assert.equal(found.responses[0]?.partitions[0]?.highWatermark, 1);
    const missing = await broker.ask(Fetch, byId("BBBBBBBBBBBBBBBBBBBBBA"), 13);
    assert.equal(missing.responses[0]?.partitions[0]?.errorCode, ErrorCode.UNKNOWN_TOPIC_ID);
    await broker.stop();
  });

  it("in a session answers only what is new, and refuses a session that it does not know", async () => {
    const broker = await aBroker([["a"]]);
    const first = await broker.ask(Fetch, request(0, { sessionEpoch: 0 }), version);
    assert.notEqual(first.sessionId, 0);
    const quiet = { ...request(0), sessionId: first.sessionId, sessionEpoch: 1 };
    const moved = { ...quiet, topics: request(1).topics };
    assert.deepEqual((await broker.ask(Fetch, moved, version)).responses, []);
    const unknown = await broker.ask(Fetch, { ...quiet, sessionId: first.sessionId ^ 1 }, version);
    assert.equal(unknown.errorCode, ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    await broker.stop();
  });
});
