/** The topics of coordinators: who may make them, and what somebody else's transactions leave in them. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../test/simulated-broker.ts";
import { NO_PRODUCER, NO_PRODUCER_EPOCH, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AddPartitionsToTxn } from "../protocol/messages/add-partitions-to-txn.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { FindCoordinator } from "../protocol/messages/find-coordinator.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";

const settings = { "transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "2" };
const ownTopics = ["__consumer_offsets", "__transaction_state"];

/** Returns the state of the transaction behind it. */
async function transactionOver(broker: SimulatedBroker, topics: readonly string[], timeoutMs = 60_000) {
  const transactionalId = "tx";
  const { producerId, producerEpoch } = await broker.ask(InitProducerId, {
    transactionalId,
    transactionTimeoutMs: timeoutMs,
    producerId: NO_PRODUCER,
    producerEpoch: NO_PRODUCER_EPOCH,
  });
  const { resultsByTopicV3AndBelow } = await broker.ask(
    AddPartitionsToTxn,
    {
      transactions: [],
      v3AndBelowTransactionalId: transactionalId,
      v3AndBelowProducerId: producerId,
      v3AndBelowProducerEpoch: producerEpoch,
      v3AndBelowTopics: topics.map((name) => ({ name, partitions: [partitionIndex(0), partitionIndex(1)] })),
    },
    3,
  );
  for (const { resultsByPartition } of resultsByTopicV3AndBelow) {
    for (const { partitionErrorCode } of resultsByPartition) assert.equal(partitionErrorCode, ErrorCode.NONE);
  }
  return {
    end: () => broker.ask(EndTxn, { transactionalId, producerId, producerEpoch, committed: true }, 5),
    state: async () => {
      const told = await broker.ask(DescribeTransactions, { transactionalIds: [transactionalId] });
      return told.transactionStates[0]?.transactionState;
    },
  };
}

describe("partitions of coordinators in somebody's transaction", () => {
  test("take its markers, and are read again as if there were none", async (t) => {
    const broker = await aBroker(t, settings);
    await broker.ask(FindCoordinator, { key: "", keyType: 0, coordinatorKeys: ["g"] });
    await broker.ask(FindCoordinator, { key: "", keyType: 1, coordinatorKeys: ["tx"] });
    const transaction = await transactionOver(broker, ownTopics);
    assert.equal((await transaction.end()).errorCode, ErrorCode.NONE);
    await broker.restart();
    assert.equal(await transaction.state(), "CompleteCommit");
    broker.crash();
    await broker.boot();
    assert.equal(await transaction.state(), "CompleteCommit");
  });

  test("take them also where a user made the topic and no group has used it", async (t) => {
    for (const ends of [true, false]) {
      const broker = await aBroker(t, settings);
      await broker.createTopic("__consumer_offsets", 2);
      const transaction = await transactionOver(broker, ["__consumer_offsets"], 1_000);
      if (ends) assert.equal((await transaction.end()).errorCode, ErrorCode.NONE);
      await broker.scheduler.run({ untilMs: broker.scheduler.nowMs + 20_000 });
      assert.equal(await transaction.state(), ends ? "CompleteCommit" : "CompleteAbort");
    }
  });
});
