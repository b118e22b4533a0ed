/** Transactions over the wire: what readers of committed records see, who is fenced, and what a power cut leaves. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { committedIn, place } from "../../test/transaction-fixture.ts";
import {
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  NO_TOPIC_ID,
  partitionIndex,
  producerEpoch,
  producerId,
  type ProducerEpoch,
  type ProducerId,
} from "../base/ids.ts";
import { transactionRecords } from "../coordinator/transaction/records.ts";
import { statusOf } from "../coordinator/transaction/transaction.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AddPartitionsToTxn } from "../protocol/messages/add-partitions-to-txn.ts";
import { DescribeProducers } from "../protocol/messages/describe-producers.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { ListTransactions } from "../protocol/messages/list-transactions.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { WriteTxnMarkers } from "../protocol/messages/write-txn-markers.ts";
import { BatchView } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { silentLogger } from "../sim/silence.ts";
import { shardIndex } from "./shards.ts";
import { transactionsTopic } from "./transactions.ts";

const settings = { "transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "1" };
const only = partitionIndex(0);
const topic = "orders";

interface Producer {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}

async function init(broker: SimulatedBroker, transactionalId = "tx", going?: Producer, timeoutMs = 60_000) {
  const request = {
    transactionalId,
    transactionTimeoutMs: timeoutMs,
    producerId: going?.producerId ?? NO_PRODUCER,
    producerEpoch: going?.producerEpoch ?? NO_PRODUCER_EPOCH,
  };
  return broker.ask(InitProducerId, request, 5);
}

/** Version 11: a client that says beforehand what it writes to; 12: one that does not. */
async function send(broker: SimulatedBroker, producer: Producer, value: string, sequence = 0, version = 12) {
  const { producerId, producerEpoch } = producer;
  const fields = { producerId, producerEpoch, baseSequence: sequence, isTransactional: true };
  const bytes = buildBatch([{ value, timestamp: 1 }], fields);
  const partitionData = [{ index: only, records: [bytes] }];
  const topicData = [{ name: topic, topicId: NO_TOPIC_ID, partitionData }];
  const request = { transactionalId: "tx", acks: -1, timeoutMs: 1_000, topicData };
  const { responses } = await broker.ask(Produce, request, version);
  return responses[0]?.partitionResponses[0]?.errorCode;
}

async function end(broker: SimulatedBroker, producer: Producer, committed: boolean, version = 5) {
  return broker.ask(EndTxn, { ...producer, transactionalId: "tx", committed }, version);
}

async function add(broker: SimulatedBroker, { producerId, producerEpoch }: Producer) {
  const request = {
    transactions: [],
    v3AndBelowTransactionalId: "tx",
    v3AndBelowProducerId: producerId,
    v3AndBelowProducerEpoch: producerEpoch,
    v3AndBelowTopics: [{ name: topic, partitions: [only] }],
  };
  const { resultsByTopicV3AndBelow } = await broker.ask(AddPartitionsToTxn, request, 3);
  return resultsByTopicV3AndBelow[0]?.resultsByPartition[0]?.partitionErrorCode;
}

async function viewOf(broker: SimulatedBroker, name: string) {
  return broker.scheduler.runUntil(committedIn(broker.connect(), place(name)));
}

async function committed(broker: SimulatedBroker, name = topic): Promise<readonly string[]> {
  return (await viewOf(broker, name)).values;
}

async function pass(broker: SimulatedBroker, ms: number): Promise<void> {
  await broker.scheduler.runUntil(
    new Promise<void>((resolve) => void broker.clientPorts().clock.schedule(ms, resolve)),
  );
}

async function withTopic(t: Parameters<typeof aBroker>[0], more = {}) {
  const broker = await aBroker(t, { ...settings, ...more });
  await broker.createTopic(topic);
  return broker;
}

describe("a transaction", () => {
  test("is seen by readers of committed records once it commits, and never if it aborts", async (t) => {
    const broker = await withTopic(t);
    let producer: Producer = await init(broker);
    assert.equal(await send(broker, producer, "a"), ErrorCode.NONE);
    assert.equal(await send(broker, producer, "b", 1), ErrorCode.NONE);
    assert.deepEqual(await committed(broker), []);
    producer = await end(broker, producer, true);
    assert.deepEqual(await committed(broker), ["a", "b"]);
    assert.equal(await send(broker, producer, "c"), ErrorCode.NONE);
    producer = await end(broker, producer, false);
    assert.equal(await send(broker, producer, "d"), ErrorCode.NONE);
    producer = await end(broker, producer, true);
    assert.deepEqual(await committed(broker), ["a", "b", "d"]);
  });

  test("of a client that says beforehand what it writes to takes nothing else", async (t) => {
    const broker = await withTopic(t);
    const producer = await init(broker);
    assert.equal(await send(broker, producer, "not added", 0, 11), ErrorCode.TRANSACTION_ABORTABLE);
    assert.equal(await send(broker, producer, "not added", 0, 10), ErrorCode.INVALID_TXN_STATE);
    assert.equal(await add(broker, producer), ErrorCode.NONE);
    assert.equal(await send(broker, producer, "added", 0, 11), ErrorCode.NONE);
    const { errorCode } = await end(broker, producer, true, 3);
    assert.equal(errorCode, ErrorCode.NONE);
    assert.equal(await send(broker, producer, "late", 1, 11), ErrorCode.TRANSACTION_ABORTABLE);
    assert.deepEqual(await committed(broker), ["added"]);
  });

  test("that is acknowledged as committed is whole after a power cut at once", async (t) => {
    const broker = await withTopic(t);
    let producer: Producer = await init(broker);
    const expected: string[] = [];
    for (let round = 0; round < 6; round++) {
      assert.equal(await send(broker, producer, `${round}`), ErrorCode.NONE);
      const commits = round % 3 !== 2;
      producer = await end(broker, producer, commits);
      if (commits) expected.push(`${round}`);
      broker.crash();
      await broker.boot();
      assert.deepEqual(await committed(broker), expected);
    }
  });

  test("that its producer leaves open is aborted when its time is over, and its producer fenced", async (t) => {
    const broker = await withTopic(t);
    const producer = await init(broker, "tx", undefined, 5_000);
    await send(broker, producer, "left");
    const other = await init(broker, "other");
    assert.notEqual(other.producerId, producer.producerId);
    await pass(broker, 10_000);
    assert.equal(await send(broker, producer, "late", 1), ErrorCode.INVALID_PRODUCER_EPOCH);
    const { transactionStates } = await broker.ask(DescribeTransactions, { transactionalIds: ["tx"] });
    assert.equal(transactionStates[0]?.transactionState, "CompleteAbort");
    assert.deepEqual(await committed(broker), []);
  });

  test("that was open at a power cut goes on after it, and so does its time", async (t) => {
    const broker = await withTopic(t);
    const producer = await init(broker);
    await send(broker, producer, "before");
    broker.crash();
    await broker.boot();
    assert.equal(await send(broker, producer, "after", 1), ErrorCode.NONE);
    await end(broker, producer, true);
    assert.deepEqual(await committed(broker), ["before", "after"]);
    const next = await init(broker);
    await send(broker, next, "open");
    broker.crash();
    await broker.boot();
    await pass(broker, 120_000);
    const { transactionStates } = await broker.ask(DescribeTransactions, { transactionalIds: ["tx"] });
    assert.equal(transactionStates[0]?.transactionState, "CompleteAbort");
  });
});

describe("of two producers with one transactional id", () => {
  test("the later has it: the transaction of the earlier is aborted, and it is fenced", async (t) => {
    const broker = await withTopic(t);
    const zombie = await init(broker);
    await send(broker, zombie, "zombie");
    const successor = await init(broker);
    assert.equal(successor.errorCode, ErrorCode.NONE);
    assert.equal(successor.producerId, zombie.producerId);
    assert.ok(successor.producerEpoch > zombie.producerEpoch);
    assert.equal(await send(broker, zombie, "again", 1), ErrorCode.INVALID_PRODUCER_EPOCH);
    assert.equal((await end(broker, zombie, true)).errorCode, ErrorCode.PRODUCER_FENCED);
    await send(broker, successor, "successor");
    await end(broker, successor, true);
    assert.deepEqual(await committed(broker), ["successor"]);
  });
});

describe("an end that comes too late", () => {
  test("does not end the next transaction of the same producer (KIP-890)", async (t) => {
    const broker = await withTopic(t);
    const first = await init(broker);
    await send(broker, first, "first");
    const second = await end(broker, first, true);
    await send(broker, second, "second");
    const late = await end(broker, first, false);
    assert.notEqual(late.errorCode, ErrorCode.NONE);
    assert.equal((await end(broker, second, true)).errorCode, ErrorCode.NONE);
    assert.deepEqual(await committed(broker), ["first", "second"]);
  });

  test("and only repeats the former one is answered as that was", async (t) => {
    const broker = await withTopic(t);
    const first = await init(broker);
    await send(broker, first, "first");
    const second = await end(broker, first, true);
    const again = await end(broker, first, true);
    assert.deepEqual(again, second);
  });
});

describe("a transaction that hangs in one partition", () => {
  /** A start answers before it has written the markers that it owes. */
  const markersMs = 100;

  /** As if damage had taken a marker, or what the coordinator knew. */
  async function strand(broker: SimulatedBroker, name: string, producer: Producer, value: string) {
    const { partitions, topics, wal } = broker.broker.services;
    const id = topics.idOf(name);
    const log = id === undefined ? undefined : partitions.get(id, only);
    assert.ok(log !== undefined);
    const { producerId, producerEpoch } = producer;
    const fields = { producerId, producerEpoch, baseSequence: 0, isTransactional: true };
    const session = partitions.begin();
    log.append(session, BatchView.at(buildBatch([{ value, timestamp: 1 }], fields)), 1);
    await broker.scheduler.runUntil(wal.whenDurable(session.commit()));
  }

  test("though its coordinator knows how it ended, ends in the same way at the next start", async (t) => {
    for (const commits of [true, false]) {
      const broker = await withTopic(t);
      await broker.createTopic("damaged");
      const producer = await init(broker);
      await send(broker, producer, "sound");
      await strand(broker, "damaged", producer, "lost its marker");
      await end(broker, producer, commits);
      assert.deepEqual(await committed(broker, "damaged"), []);
      broker.crash();
      await broker.boot();
      await pass(broker, markersMs);
      assert.deepEqual(await committed(broker, "damaged"), commits ? ["lost its marker"] : []);
      assert.equal((await viewOf(broker, "damaged")).lastStable, 2);
    }
  });

  test("until the start has written its marker is no damage, and is not called that", async (t) => {
    const broker = await withTopic(t);
    await send(broker, await init(broker), "prepared");
    const { partitions, topics, transactions, wal } = broker.broker.services;
    const known = await broker.scheduler.runUntil(
      transactions.run(
        "tx",
        (shard) => shard.transaction("tx"),
        () => undefined,
      ),
    );
    const value = known?.value;
    const id = topics.idOf(transactionsTopic);
    const log = id === undefined ? undefined : partitions.get(id, partitionIndex(shardIndex("tx", 2)));
    assert.ok(log !== undefined && value !== undefined);
    const prepared = {
      ...value,
      status: statusOf("PrepareCommit"),
      producerEpoch: producerEpoch(value.producerEpoch + 1),
    };
    const record = transactionRecords.encode({
      kind: "transaction",
      key: { transactionalId: "tx" },
      value: prepared,
    });
    const session = partitions.begin();
    log.append(session, BatchView.at(buildBatch([{ ...record, timestamp: 1 }])), 1);
    await broker.scheduler.runUntil(wal.whenDurable(session.commit()));
    broker.crash();
    const errors = t.mock.method(silentLogger, "error");
    await broker.boot();
    await pass(broker, markersMs);
    assert.deepEqual(await committed(broker), ["prepared"]);
    assert.equal(errors.mock.callCount(), 0);
  });

  test("and of which nobody knows how it ended is never called aborted: it may have been acknowledged", async (t) => {
    const broker = await withTopic(t);
    const producer = await init(broker);
    await strand(broker, topic, { producerId: producerId(4_711), producerEpoch: producerEpoch(3) }, "x");
    await send(broker, producer, "behind it");
    await end(broker, producer, true);
    broker.crash();
    await broker.boot();
    await init(broker, "other");
    assert.equal((await viewOf(broker, topic)).lastStable, 0);
  });

  test("is seen there, and ended by hand", async (t) => {
    const broker = await withTopic(t);
    const producer = await init(broker);
    await send(broker, producer, "open");
    const wanted = { topics: [{ name: topic, partitionIndexes: [only] }] };
    const { topics } = await broker.ask(DescribeProducers, wanted);
    const active = topics[0]?.partitions[0]?.activeProducers[0];
    assert.equal(active?.producerId, producer.producerId);
    assert.equal(active?.currentTxnStartOffset, 0);
    const marker = {
      producerId: producer.producerId,
      producerEpoch: producerEpoch(producer.producerEpoch),
      transactionResult: false,
      topics: [{ name: topic, partitionIndexes: [only] }],
      coordinatorEpoch: 1_000,
      transactionVersion: 0,
    };
    const { markers } = await broker.ask(WriteTxnMarkers, { markers: [marker] });
    assert.equal(markers[0]?.topics[0]?.partitions[0]?.errorCode, ErrorCode.NONE);
    const after = await broker.ask(DescribeProducers, wanted);
    assert.equal(after.topics[0]?.partitions[0]?.activeProducers[0]?.currentTxnStartOffset, -1);
    // The epoch that somebody made up for the marker does not shut out the coordinator.
    assert.equal((await end(broker, producer, false)).errorCode, ErrorCode.NONE);
    const next = await init(broker);
    await send(broker, next, "next");
    await end(broker, next, true);
    assert.deepEqual(await committed(broker), ["next"]);
  });
});

test("transactional ids are listed by state, by producer and by pattern", async (t) => {
  const broker = await withTopic(t);
  const producer = await init(broker);
  await init(broker, "other");
  await send(broker, producer, "open");
  const listed = async (more = {}) => {
    const request = {
      stateFilters: [],
      producerIdFilters: [],
      durationFilter: -1,
      transactionalIdPattern: null,
      ...more,
    };
    const answer = await broker.ask(ListTransactions, request);
    return answer.transactionStates.map((each) => `${each.transactionalId} ${each.transactionState}`).sort();
  };
  assert.deepEqual(await listed(), ["other Empty", "tx Ongoing"]);
  assert.deepEqual(await listed({ stateFilters: ["Empty"] }), ["other Empty"]);
  assert.deepEqual(await listed({ producerIdFilters: [producer.producerId] }), ["tx Ongoing"]);
  assert.deepEqual(await listed({ transactionalIdPattern: "o.*" }), ["other Empty"]);
});
