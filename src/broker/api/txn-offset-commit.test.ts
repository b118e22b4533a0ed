/** Offsets inside transactions over the wire: whose transaction it must be, which member, and when they count. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import {
  leaderEpoch,
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  NO_TOPIC_ID,
  offset,
  partitionIndex,
  producerEpoch,
  type ProducerEpoch,
  type ProducerId,
  producerId,
  topicIdFromBytes,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { ConsumerGroupHeartbeat } from "../../protocol/messages/consumer-group-heartbeat.ts";
import { DescribeTransactions } from "../../protocol/messages/describe-transactions.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { InitProducerId } from "../../protocol/messages/init-producer-id.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { TxnOffsetCommit, type TxnOffsetCommitRequest } from "../../protocol/messages/txn-offset-commit.ts";

const settings = { "transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "3" };
const transactionalId = "tx";
const groupId = "g";
const only = partitionIndex(0);

interface Producer {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}

async function init(broker: SimulatedBroker): Promise<Producer> {
  const fresh = { producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };
  const told = await broker.ask(InitProducerId, { transactionalId, transactionTimeoutMs: 60_000, ...fresh });
  assert.equal(told.errorCode, ErrorCode.NONE);
  return told;
}

function request(
  { producerId, producerEpoch }: Producer,
  at: number,
  over: Partial<TxnOffsetCommitRequest> = {},
): TxnOffsetCommitRequest {
  const committed = {
    partitionIndex: only,
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: null,
  };
  return {
    transactionalId,
    groupId,
    producerId,
    producerEpoch,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    topics: [{ name: "orders", topicId: NO_TOPIC_ID, partitions: [committed] }],
    ...over,
  };
}

async function commit(
  broker: SimulatedBroker,
  producer: Producer,
  at: number,
  version = 5,
  over: Partial<TxnOffsetCommitRequest> = {},
) {
  const { topics } = await broker.ask(TxnOffsetCommit, request(producer, at, over), version);
  return topics[0]?.partitions[0]?.errorCode;
}

async function end(broker: SimulatedBroker, { producerId, producerEpoch }: Producer, committed = true) {
  const told = await broker.ask(EndTxn, { transactionalId, producerId, producerEpoch, committed }, 5);
  assert.equal(told.errorCode, ErrorCode.NONE);
  return told;
}

async function addOffsets(broker: SimulatedBroker, { producerId, producerEpoch }: Producer) {
  const added = { transactionalId, producerId, producerEpoch, groupId };
  return (await broker.ask(AddOffsetsToTxn, added, 3)).errorCode;
}

async function fetched(broker: SimulatedBroker, requireStable = true) {
  const wanted = [{ name: "orders", topicId: NO_TOPIC_ID, partitionIndexes: [only] }];
  const groups = [{ groupId, memberId: null, memberEpoch: -1, topics: wanted }];
  const answer = await broker.ask(OffsetFetch, { groupId: "", topics: [], groups, requireStable }, 9);
  const told = answer.groups[0]?.topics[0]?.partitions[0];
  return told?.errorCode === ErrorCode.UNSTABLE_OFFSET_COMMIT ? "unstable" : told?.committedOffset;
}

/** A broker with the topic, and a producer that has begun nothing. */
async function aProducer(t: Parameters<typeof aBroker>[0]) {
  const broker = await aBroker(t, settings);
  await broker.createTopic("orders");
  return { broker, producer: await init(broker) };
}

describe("offsets in a transaction", () => {
  test("count when it commits: with the answer to EndTxn they are told, also after a power cut", async (t) => {
    const { broker, producer } = await aProducer(t);
    assert.equal(await commit(broker, producer, 7), ErrorCode.NONE);
    assert.equal(await fetched(broker), "unstable");
    assert.equal(await fetched(broker, false), -1);
    broker.crash();
    await broker.boot();
    assert.equal(await fetched(broker), "unstable");
    const next = await end(broker, producer);
    assert.equal(await fetched(broker), 7);
    broker.crash();
    await broker.boot();
    assert.equal(await fetched(broker), 7);
    await commit(broker, next, 9);
    await end(broker, next, false);
    assert.equal(await fetched(broker), 7);
  });

  test("belong to it from version 5 on without being said beforehand, and before that only when they were", async (t) => {
    const { broker, producer } = await aProducer(t);
    assert.equal(await commit(broker, producer, 3, 4), ErrorCode.TRANSACTION_ABORTABLE);
    assert.equal(await commit(broker, producer, 3, 3), ErrorCode.INVALID_TXN_STATE);
    assert.equal(await fetched(broker), -1, "nothing was taken");
    assert.equal(await addOffsets(broker, producer), ErrorCode.NONE);
    for (const version of [0, 1, 2, 3, 4]) {
      assert.equal(await commit(broker, producer, version, version), ErrorCode.NONE);
    }
    const next = await end(broker, producer);
    assert.equal(await fetched(broker), 4);
    await commit(broker, next, 9);
    const { transactionStates } = await broker.ask(DescribeTransactions, {
      transactionalIds: [transactionalId],
    });
    assert.deepEqual(
      transactionStates[0]?.topics.map((each) => each.topic),
      ["__consumer_offsets"],
    );
  });

  test("are aborted with it when its time is up", async (t) => {
    const { broker, producer } = await aProducer(t);
    await commit(broker, producer, 7);
    await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 61_000 });
    assert.equal(await fetched(broker), -1);
    assert.equal(await commit(broker, producer, 8), ErrorCode.INVALID_PRODUCER_EPOCH);
  });
});

describe("who commits in a transaction", () => {
  test("is the producer of now, with the id of now", async (t) => {
    const { broker, producer } = await aProducer(t);
    const other = { ...producer, producerId: producerId(producer.producerId + 1_000_000) };
    assert.equal(await commit(broker, other, 1), ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    const code = await commit(broker, producer, 1, 5, { transactionalId: "unknown" });
    assert.equal(code, ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    await init(broker);
    assert.equal(await commit(broker, producer, 1), ErrorCode.INVALID_PRODUCER_EPOCH);
    const wrong = { ...producer, producerEpoch: producerEpoch(99) };
    assert.equal(await commit(broker, wrong, 1), ErrorCode.INVALID_PRODUCER_EPOCH);
    assert.equal(await fetched(broker), -1);
  });

  test("speaks for a member of now where it says for which one (KIP-447)", async (t) => {
    const { broker, producer } = await aProducer(t);
    const { memberEpoch } = await broker.ask(ConsumerGroupHeartbeat, {
      groupId,
      memberId: "m",
      memberEpoch: 0,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: 30_000,
      subscribedTopicNames: ["orders"],
      subscribedTopicRegex: null,
      serverAssignor: null,
      topicPartitions: [],
    });
    const by = (memberId: string, generationIdOrMemberEpoch: number) =>
      commit(broker, producer, 5, 5, { memberId, generationIdOrMemberEpoch });
    assert.equal(await by("m", memberEpoch), ErrorCode.NONE);
    assert.equal(await by("m", memberEpoch + 1), ErrorCode.ILLEGAL_GENERATION);
    assert.equal(await by("former", memberEpoch), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(await commit(broker, producer, 6), ErrorCode.NONE, "or does not say it");
  });

  test("names a group, and topics that are there", async (t) => {
    const { broker, producer } = await aProducer(t);
    const { tail } = broker.broker.services;
    const { unflushedBytes } = tail;
    assert.equal(await commit(broker, producer, 1, 5, { groupId: "" }), ErrorCode.INVALID_GROUP_ID);
    assert.equal(tail.unflushedBytes, unflushedBytes, "it keeps no room");
    const topicId = topicIdFromBytes(Buffer.alloc(16, 7));
    const committed = request(producer, 1).topics[0]?.partitions ?? [];
    const nothing = [{ name: "nothing", topicId, partitions: committed }];
    const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    assert.equal(await commit(broker, producer, 1, 5, { topics: nothing }), unknown);
    assert.equal(await commit(broker, producer, 1, 6, { topics: nothing }), ErrorCode.UNKNOWN_TOPIC_ID);
    const known = broker.broker.services.topics.idOf("orders") ?? NO_TOPIC_ID;
    const byId = [{ name: "", topicId: known, partitions: committed }];
    assert.equal(await commit(broker, producer, 1, 6, { topics: byId }), ErrorCode.NONE);
  });
});
