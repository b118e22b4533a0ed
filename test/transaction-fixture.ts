/** A producer with a transactional id that speaks the wire itself, old or new, and what readers of committed records see. */
import {
  advance,
  leaderEpoch,
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  NO_TOPIC_ID,
  nodeId,
  offset,
  type Offset,
  type PartitionIndex,
  partitionIndex,
  type ProducerEpoch,
  type ProducerId,
} from "../src/base/ids.ts";
import { ErrorCode } from "../src/protocol/errors.ts";
import { AddOffsetsToTxn } from "../src/protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../src/protocol/messages/add-partitions-to-txn.ts";
import { EndTxn, type EndTxnResponse } from "../src/protocol/messages/end-txn.ts";
import { Fetch } from "../src/protocol/messages/fetch.ts";
import { InitProducerId, type InitProducerIdResponse } from "../src/protocol/messages/init-producer-id.ts";
import { OffsetFetch } from "../src/protocol/messages/offset-fetch.ts";
import { Produce } from "../src/protocol/messages/produce.ts";
import { TxnOffsetCommit } from "../src/protocol/messages/txn-offset-commit.ts";
import { batchesIn } from "../src/record/batch.ts";
import { buildBatch } from "../src/record/builder.ts";
import { recordsIn } from "../src/record/record.ts";
import type { SimClient } from "../src/sim/client.ts";

export interface Producer {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}

export interface Place {
  readonly topic: string;
  readonly partition: PartitionIndex;
}

export const place = (topic: string, partition = 0): Place => ({
  topic,
  partition: partitionIndex(partition),
});

/** The versions of a client of librdkafka 1.x, before KIP-447 and KIP-890, and of one of today. */
const versions = {
  old: { init: 1, add: 0, addOffsets: 0, produce: 7, offsets: 2, end: 1 },
  new: { init: 5, add: 3, addOffsets: 3, produce: 12, offsets: 5, end: 5 },
} as const;
export type Speech = keyof typeof versions;

export class WireProducer {
  readonly #client: SimClient;
  readonly #versions: (typeof versions)[Speech];
  readonly transactionalId: string;
  readonly isOld: boolean;
  /** What it was told last. */
  now: Producer = { producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH };

  constructor(client: SimClient, speech: Speech, transactionalId = "tx") {
    this.#client = client;
    this.#versions = versions[speech];
    this.isOld = speech === "old";
    this.transactionalId = transactionalId;
  }

  async init(expected: Producer | null = null, timeoutMs = 60_000): Promise<InitProducerIdResponse> {
    const request = {
      transactionalId: this.transactionalId,
      transactionTimeoutMs: timeoutMs,
      producerId: expected?.producerId ?? NO_PRODUCER,
      producerEpoch: expected?.producerEpoch ?? NO_PRODUCER_EPOCH,
    };
    const told = await this.#client.call(InitProducerId, this.#versions.init, request);
    if (told.errorCode === ErrorCode.NONE) this.#hear(told);
    return told;
  }

  #hear({ producerId, producerEpoch }: Producer): void {
    this.now = { producerId, producerEpoch };
  }

  /** One code per place. */
  async add(places: readonly Place[], as: Producer = this.now): Promise<readonly ErrorCode[]> {
    const request = {
      transactions: [],
      v3AndBelowTransactionalId: this.transactionalId,
      v3AndBelowProducerId: as.producerId,
      v3AndBelowProducerEpoch: as.producerEpoch,
      v3AndBelowTopics: places.map(({ topic, partition }) => ({ name: topic, partitions: [partition] })),
    };
    const answer = await this.#client.call(AddPartitionsToTxn, this.#versions.add, request);
    return answer.resultsByTopicV3AndBelow.flatMap(({ resultsByPartition }) =>
      resultsByPartition.map(({ partitionErrorCode }) => partitionErrorCode),
    );
  }

  /** One record to each place, in one request; one code per place. */
  async write(
    places: readonly Place[],
    value: string,
    { sequence = 0, as = this.now, isTransactional = true } = {},
  ): Promise<readonly ErrorCode[]> {
    const fields = { ...as, baseSequence: sequence, isTransactional };
    const records = () => [buildBatch([{ value, timestamp: 1 }], fields)];
    const topicData = places.map(({ topic, partition }) => ({
      name: topic,
      topicId: NO_TOPIC_ID,
      partitionData: [{ index: partition, records: records() }],
    }));
    const request = { transactionalId: this.transactionalId, acks: -1, timeoutMs: 1_000, topicData };
    const { responses } = await this.#client.call(Produce, this.#versions.produce, request);
    return responses.flatMap(({ partitionResponses }) => partitionResponses.map((each) => each.errorCode));
  }

  async addOffsets(groupId: string, as: Producer = this.now): Promise<ErrorCode> {
    const request = { ...as, transactionalId: this.transactionalId, groupId };
    return (await this.#client.call(AddOffsetsToTxn, this.#versions.addOffsets, request)).errorCode;
  }

  /** As somebody who assigns partitions by itself. */
  async commitOffset(groupId: string, { topic, partition }: Place, at: number): Promise<ErrorCode> {
    const committed = {
      partitionIndex: partition,
      committedOffset: offset(at),
      committedLeaderEpoch: leaderEpoch(-1),
      committedMetadata: null,
    };
    const request = {
      ...this.now,
      transactionalId: this.transactionalId,
      groupId,
      generationIdOrMemberEpoch: -1,
      memberId: "",
      groupInstanceId: null,
      topics: [{ name: topic, topicId: NO_TOPIC_ID, partitions: [committed] }],
    };
    const { topics } = await this.#client.call(TxnOffsetCommit, this.#versions.offsets, request);
    return topics[0]?.partitions[0]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
  }

  async end(committed: boolean, as: Producer = this.now): Promise<EndTxnResponse> {
    const request = { ...as, transactionalId: this.transactionalId, committed };
    const told = await this.#client.call(EndTxn, this.#versions.end, request);
    if (told.errorCode === ErrorCode.NONE && !this.isOld) this.#hear(told);
    return told;
  }
}

export interface CommittedView {
  /** Of transactions that did not abort, in their order. */
  readonly values: readonly string[];
  /** Equal: nothing is open. */
  readonly lastStable: Offset;
  readonly highWatermark: Offset;
}

/** What a reader of committed records makes of one partition, from its start to the last stable offset. */
export async function committedIn(client: SimClient, at: Place): Promise<CommittedView> {
  const values: string[] = [];
  const passedOver = new Set<ProducerId>();
  for (let next = offset(0); ; ) {
    const { records, abortedTransactions, ...view } = await fetchCommitted(client, at, next);
    if (next >= view.lastStable) return { values, ...view };
    const aborted = [...abortedTransactions].sort((a, b) => a.firstOffset - b.firstOffset);
    const before = next;
    for (const batch of records.flatMap((chunk) => [...batchesIn(chunk)])) {
      while (aborted[0] !== undefined && aborted[0].firstOffset <= batch.baseOffset) {
        passedOver.add(aborted[0].producerId);
        aborted.shift();
      }
      next = advance(batch.lastOffset, 1);
      if (batch.isControl) passedOver.delete(batch.producerId);
      else if (!(batch.isTransactional && passedOver.has(batch.producerId))) {
        for (const { value } of recordsIn(batch, 1_000)) values.push(Buffer.from(value ?? "").toString());
      }
    }
    if (next === before) throw new Error(`${at.topic}: nothing is read at ${next}`);
  }
}

async function fetchCommitted(client: SimClient, { topic, partition }: Place, from: Offset) {
  const wanted = {
    partition,
    currentLeaderEpoch: leaderEpoch(-1),
    fetchOffset: from,
    lastFetchedEpoch: leaderEpoch(-1),
    logStartOffset: offset(-1),
    partitionMaxBytes: 10_000_000,
  };
  const request = {
    clusterId: null,
    replicaId: nodeId(-1),
    replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 10_000_000,
    isolationLevel: 1,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{ topic, topicId: NO_TOPIC_ID, partitions: [wanted] }],
    forgottenTopicsData: [],
    rackId: "",
  };
  const { responses } = await client.call(Fetch, 12, request as never);
  const read = responses[0]?.partitions[0];
  if (read === undefined || read.errorCode !== ErrorCode.NONE)
    throw new Error(`${topic}: ${read?.errorCode}`);
  const { lastStableOffset: lastStable, highWatermark, records, abortedTransactions } = read;
  return {
    lastStable,
    highWatermark,
    records: records ?? [],
    abortedTransactions: abortedTransactions ?? [],
  };
}

/** How far a group has got; −1: nothing is committed. */
export async function stableOffset(client: SimClient, groupId: string, at: Place): Promise<number> {
  const topics = [{ name: at.topic, topicId: NO_TOPIC_ID, partitionIndexes: [at.partition] }];
  const group = { groupId, memberId: null, memberEpoch: -1, topics };
  const request = { groupId: "", topics: [], groups: [group], requireStable: true };
  const { groups } = await client.call(OffsetFetch, 9, request);
  const found = groups[0]?.topics[0]?.partitions[0];
  if (found === undefined || found.errorCode !== ErrorCode.NONE)
    throw new Error(`offset: ${found?.errorCode}`);
  return found.committedOffset;
}
