/** What readers with isolation level read_committed are told by Fetch and ListOffsets, over the wire. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import {
  leaderEpoch,
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  NO_TOPIC_ID,
  nodeId,
  offset,
  partitionIndex,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { Fetch, type FetchRequest } from "../../protocol/messages/fetch.ts";
import { InitProducerId, type InitProducerIdResponse } from "../../protocol/messages/init-producer-id.ts";
import { ListedOffset, ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { wholeBatchesIn } from "../../record/batch.ts";
import { buildBatch } from "../../record/builder.ts";

const transactionalId = "tx";
const only = partitionIndex(0);
/** Fetch by name. */
const fetchVersion = 12;

const nowOf = ({ broker }: SimulatedBroker): number => broker.services.env.clock.wallMs();

type Producer = Pick<InitProducerIdResponse, "producerId" | "producerEpoch">;

async function init(broker: SimulatedBroker): Promise<Producer> {
  const fresh = { producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };
  return broker.ask(InitProducerId, { transactionalId, transactionTimeoutMs: 60_000, ...fresh });
}

/** One record with this time; of a transaction, or of nobody. */
async function produce(broker: SimulatedBroker, timestamp: number, producer: Producer | null, sequence = 0) {
  const own = producer && { ...producer, baseSequence: sequence, isTransactional: true };
  const batch = buildBatch([{ value: "v", timestamp }], { ...own });
  const answer = await broker.ask(
    Produce,
    {
      transactionalId: producer === null ? null : transactionalId,
      acks: -1,
      timeoutMs: 1000,
      topicData: [
        { name: "orders", topicId: NO_TOPIC_ID, partitionData: [{ index: only, records: [batch] }] },
      ],
    },
    12,
  );
  assert.equal(answer.responses[0]?.partitionResponses[0]?.errorCode, ErrorCode.NONE);
}

async function end(broker: SimulatedBroker, producer: Producer, committed: boolean): Promise<Producer> {
  const { producerId, producerEpoch } = producer;
  const told = await broker.ask(EndTxn, { transactionalId, producerId, producerEpoch, committed }, 5);
  assert.equal(told.errorCode, ErrorCode.NONE);
  return told;
}

function wanted(isolationLevel: number, fetchOffset: number, maxWaitMs = 0): FetchRequest {
  const partition = {
    partition: only,
    currentLeaderEpoch: leaderEpoch(-1),
    fetchOffset: offset(fetchOffset),
    lastFetchedEpoch: leaderEpoch(-1),
    logStartOffset: offset(-1),
    partitionMaxBytes: 1 << 20,
    replicaDirectoryId: NO_TOPIC_ID,
    highWatermark: 0x7fff_ffff_ffff_ffffn,
  };
  return {
    clusterId: null,
    replicaId: nodeId(-1),
    replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
    maxWaitMs,
    minBytes: 1,
    maxBytes: 1 << 24,
    isolationLevel,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{ topic: "orders", topicId: NO_TOPIC_ID, partitions: [partition] }],
    forgottenTopicsData: [],
    rackId: "",
  };
}

type Answer = Awaited<ReturnType<typeof fetchOnce>>;

async function fetchOnce(broker: SimulatedBroker, isolationLevel: number, from = 0) {
  return broker.ask(Fetch, wanted(isolationLevel, from), fetchVersion);
}

/** Base offsets of the batches, the aborted transactions by first offset, and the last stable offset. */
function told(answer: Answer) {
  const [partition] = answer.responses[0]?.partitions ?? [];
  assert.equal(partition?.errorCode, ErrorCode.NONE);
  const batches = (partition.records ?? []).flatMap((chunk) => [...wholeBatchesIn(chunk)]);
  return {
    bases: batches.map(({ baseOffset }) => baseOffset),
    aborted: partition.abortedTransactions?.map(({ firstOffset }) => firstOffset) ?? null,
    lastStable: partition.lastStableOffset,
  };
}

async function listed(broker: SimulatedBroker, isolationLevel: number, timestamp: number) {
  const partitions = [{ partitionIndex: only, currentLeaderEpoch: leaderEpoch(-1), timestamp }];
  const request = {
    replicaId: nodeId(-1),
    isolationLevel,
    topics: [{ name: "orders", partitions }],
    timeoutMs: 0,
  };
  const { topics } = await broker.ask(ListOffsets, request);
  return topics[0]?.partitions[0]?.offset;
}

async function anOpenTransaction(t: Parameters<typeof aBroker>[0]) {
  const broker = await aBroker(t, { "transaction.state.log.num.partitions": "1" });
  await broker.createTopic("orders");
  const producer = await init(broker);
  const nowMs = nowOf(broker);
  await produce(broker, nowMs, null);
  await produce(broker, nowMs + 1, producer);
  await produce(broker, nowMs + 2, null);
  return { broker, producer, nowMs };
}

test("Fetch gives a committed reader what lies below the last stable offset, and others everything", async (t) => {
  const { broker } = await anOpenTransaction(t);
  assert.deepEqual(told(await fetchOnce(broker, 0)), { bases: [0, 1, 2], aborted: null, lastStable: 1 });
  assert.deepEqual(told(await fetchOnce(broker, 1)), { bases: [0], aborted: [], lastStable: 1 });
  assert.deepEqual(told(await fetchOnce(broker, 1, 2)), { bases: [], aborted: [], lastStable: 1 });
});

test("a committed reader that waits is answered when the transaction ends, and told what was aborted", async (t) => {
  const { broker, producer } = await anOpenTransaction(t);
  const before = broker.scheduler.nowMs;
  const waiting = broker.connect().call(Fetch, fetchVersion, wanted(1, 1, 60_000));
  await produce(broker, nowOf(broker), null);
  await end(broker, producer, false);
  const answer = told(await broker.scheduler.runUntil(waiting));
  assert.deepEqual(answer, { bases: [1, 2, 3, 4], aborted: [1], lastStable: 5 });
  assert.ok(broker.scheduler.nowMs - before < 5_000);
});

test("what was aborted is told from segments as from memory, also when the marker lies behind the range", async (t) => {
  const { broker, producer } = await anOpenTransaction(t);
  await broker.scheduler.runUntil(broker.broker.flush());
  const next = await end(broker, producer, false);
  await produce(broker, nowOf(broker), next);
  await end(broker, next, true);
  const inMemory = told(await fetchOnce(broker, 1));
  assert.deepEqual(inMemory, { bases: [0, 1, 2, 3, 4, 5], aborted: [1], lastStable: 6 });
  await broker.scheduler.runUntil(broker.broker.flush());
  await broker.restart();
  assert.deepEqual(told(await fetchOnce(broker, 1)), inMemory);
  assert.deepEqual(told(await fetchOnce(broker, 1, 4)), { bases: [4, 5], aborted: [], lastStable: 6 });
});

test("ListOffsets tells a committed reader of nothing at or above the last stable offset", async (t) => {
  const { broker, producer, nowMs } = await anOpenTransaction(t);
  const both = async (timestamp: number) => [
    await listed(broker, 0, timestamp),
    await listed(broker, 1, timestamp),
  ];
  assert.deepEqual(await both(ListedOffset.latest), [3, 1]);
  assert.deepEqual(await both(ListedOffset.earliest), [0, 0]);
  assert.deepEqual(await both(nowMs), [0, 0]);
  assert.deepEqual(await both(nowMs + 1), [1, -1]);
  assert.deepEqual(await both(nowMs + 2), [2, -1]);
  assert.deepEqual(await both(ListedOffset.maxTimestamp), [2, -1]);
  await end(broker, producer, true);
  assert.deepEqual(await both(ListedOffset.latest), [4, 4]);
  assert.deepEqual(await both(nowMs + 2), [2, 2]);
});
