/**
 * Transactions as an admin sees them: what coordinators know of them, what partitions know of their producers,
 * and how one that holds up readers is ended: one whose coordinator knows it by taking over its id, one that
 * hangs, because no coordinator knows of it, by a marker of its own in the partition (KIP-664).
 */
import {
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  type NodeId,
  partitionIndex,
  producerEpoch,
  producerId,
} from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { DescribeProducers } from "../protocol/messages/describe-producers.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { ListTransactions } from "../protocol/messages/list-transactions.ts";
import { WriteTxnMarkers } from "../protocol/messages/write-txn-markers.ts";
import { persistently } from "./admin-groups.ts";
import type { AdminAccess } from "./admin-topics.ts";
import type { BrokerView } from "./cluster.ts";
import { Coordinator } from "./coordinator.ts";
import { BrokerRefusedError, refuseUnlessNone } from "./errors.ts";
import type { TopicPartition } from "./group/assignor.ts";

export interface ListedTransaction {
  readonly transactionalId: string;
  /** "Ongoing", "Empty", "CompleteCommit", … */
  readonly state: string;
  readonly producerId: number;
  /** The broker that looks after it. */
  readonly coordinator: number;
}

export interface TransactionDescription {
  readonly transactionalId: string;
  readonly state: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  /** After which the broker aborts it. */
  readonly timeoutMs: number;
  /** Ms since 1970; null: none is open. */
  readonly startedMs: number | null;
  /** Of the one that is open; while it is being ended, those that still lack their marker. */
  readonly partitions: readonly TopicPartition[];
}

/** A producer as one partition knows it. */
export interface PartitionProducer extends TopicPartition {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly lastSequence: number;
  /** Of its last record, ms since 1970. */
  readonly lastTimestampMs: number;
  /** −1: it has written no marker here. */
  readonly coordinatorEpoch: number;
  /** Where its open transaction begins; null: none is open. */
  readonly openFrom: number | null;
}

/** An open transaction of which no coordinator knows, in one partition. */
export interface HangingTransaction extends PartitionProducer {
  readonly openFrom: number;
  /** Null: no coordinator knows the producer. */
  readonly transactionalId: string | null;
}

/** Of all brokers, by id. */
export async function listTransactions(
  access: AdminAccess,
  options: {
    readonly states?: readonly string[] | undefined;
    readonly producerIds?: readonly number[] | undefined;
    readonly openForMs?: number | undefined;
  },
): Promise<readonly ListedTransaction[]> {
  const { states = [], producerIds = [], openForMs = -1 } = options;
  const answers = await onEachBroker(access, async (broker) => {
    const connection = await access.links.to(broker);
    // A broker that cannot tell by age would tell all.
    if (openForMs >= 0)
      connection.versionOf({ ...ListTransactions, versions: [1, ListTransactions.versions[1]] });
    const answer = await connection.call(ListTransactions, {
      stateFilters: states,
      producerIdFilters: producerIds.map(producerId),
      durationFilter: openForMs,
      transactionalIdPattern: null,
    });
    refuseUnlessNone(`Listing the transactions of broker ${broker.nodeId}`, answer.errorCode);
    return answer.transactionStates.map((each) => ({
      transactionalId: each.transactionalId,
      state: each.transactionState,
      producerId: each.producerId,
      coordinator: broker.nodeId,
    }));
  });
  return answers.flat().toSorted((a, b) => (a.transactionalId < b.transactionalId ? -1 : 1));
}

/** Rejects with `BrokerRefusedError` (code `TRANSACTIONAL_ID_NOT_FOUND`, …). */
export async function describeTransaction(
  access: AdminAccess,
  transactionalId: string,
): Promise<TransactionDescription> {
  const what = `Describing the transaction of "${transactionalId}"`;
  const answer = await coordinatorOf(access, transactionalId).call(
    DescribeTransactions,
    { transactionalIds: [transactionalId] },
    {
      ...persistently(access, what),
      codeOf: ({ transactionStates }) => transactionStates[0]?.errorCode ?? ErrorCode.NONE,
    },
  );
  const [found] = answer.transactionStates;
  if (found === undefined) throw new BrokerRefusedError(what, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
  refuseUnlessNone(what, found.errorCode);
  return {
    transactionalId,
    state: found.transactionState,
    producerId: found.producerId,
    producerEpoch: found.producerEpoch,
    timeoutMs: found.transactionTimeoutMs,
    startedMs: found.transactionStartTimeMs < 0 ? null : found.transactionStartTimeMs,
    partitions: found.topics.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ),
  };
}

/** Of these partitions. Rejects with `UnknownTopicError`, `UnknownPartitionError`, `BrokerRefusedError`. */
export async function describeProducers(
  access: AdminAccess,
  partitions: readonly TopicPartition[],
): Promise<readonly PartitionProducer[]> {
  const byLeader = new Map<NodeId, TopicPartition[]>();
  for (const part of partitions) {
    const { leader } = access.cluster.partition(await access.cluster.topic(part.topic), part.partition);
    const together = byLeader.get(leader);
    if (together === undefined) byLeader.set(leader, [part]);
    else together.push(part);
  }
  const answers = await Promise.all(
    [...byLeader].map(async ([leader, parts]) => {
      const connection = await access.links.to(leaderOf(access, leader, parts[0] as TopicPartition));
      const topics = [...Map.groupBy(parts, ({ topic }) => topic)].map(([name, each]) => ({
        name,
        partitionIndexes: each.map(({ partition }) => partitionIndex(partition)),
      }));
      return connection.call(DescribeProducers, { topics });
    }),
  );
  return answers.flatMap(({ topics }) =>
    topics.flatMap(({ name, partitions: each }) =>
      each.flatMap(({ partitionIndex: partition, errorCode, errorMessage, activeProducers }) => {
        refuseUnlessNone(`Describing the producers of ${name}/${partition}`, errorCode, errorMessage);
        return activeProducers.map((active) => ({
          topic: name,
          partition,
          producerId: active.producerId,
          producerEpoch: active.producerEpoch,
          lastSequence: active.lastSequence,
          lastTimestampMs: active.lastTimestamp,
          coordinatorEpoch: active.coordinatorEpoch,
          openFrom: active.currentTxnStartOffset < 0 ? null : active.currentTxnStartOffset,
        }));
      }),
    ),
  );
}

/**
 * Transactions whose producer has written nothing for `idleMs` and of which no coordinator knows, so that nobody
 * will ever end them.
 */
export async function findHangingTransactions(
  access: AdminAccess,
  partitions: readonly TopicPartition[],
  idleMs: number,
): Promise<readonly HangingTransaction[]> {
  const nowMs = access.cluster.settings.clock.wallMs();
  const open = (await describeProducers(access, partitions)).flatMap((each) =>
    each.openFrom === null || nowMs - each.lastTimestampMs < idleMs
      ? []
      : [{ ...each, openFrom: each.openFrom }],
  );
  if (open.length === 0) return [];
  const producerIds = [...new Set(open.map((each) => each.producerId))];
  const listed = await listTransactions(access, { producerIds });
  const known = new Map(
    await Promise.all(
      listed.map(async ({ producerId: id, transactionalId }) => {
        // One that was forgotten since it was listed knows of no partition.
        const description = await describeTransaction(access, transactionalId).catch((cause: unknown) => {
          if (cause instanceof BrokerRefusedError && cause.code === "TRANSACTIONAL_ID_NOT_FOUND")
            return undefined;
          throw cause;
        });
        return [id, { transactionalId, partitions: description?.partitions ?? [] }] as const;
      }),
    ),
  );
  return open.flatMap((each) => {
    const owner = known.get(each.producerId);
    const isKnown = owner?.partitions.some(
      ({ topic, partition }) => topic === each.topic && partition === each.partition,
    );
    return isKnown === true ? [] : [{ ...each, transactionalId: owner?.transactionalId ?? null }];
  });
}

/** Writes the abort marker of one producer into one partition, whoever looks after its transaction. Rejects with `BrokerRefusedError`. */
export async function abortInPartition(
  access: AdminAccess,
  producer: TopicPartition & Pick<PartitionProducer, "producerId" | "producerEpoch" | "coordinatorEpoch">,
): Promise<void> {
  const { topic, partition } = producer;
  const what = `Aborting the transaction of producer ${producer.producerId} in ${topic}/${partition}`;
  const { leader } = access.cluster.partition(await access.cluster.askTopic(topic), partition);
  const connection = await access.links.to(leaderOf(access, leader, producer));
  const answer = await connection.call(WriteTxnMarkers, {
    markers: [
      {
        producerId: producerId(producer.producerId),
        producerEpoch: producerEpoch(producer.producerEpoch),
        transactionResult: false,
        topics: [{ name: topic, partitionIndexes: [partitionIndex(partition)] }],
        coordinatorEpoch: Math.max(0, producer.coordinatorEpoch),
        // The producer's own epoch, and not a later one.
        transactionVersion: 0,
      },
    ],
  });
  const code = answer.markers[0]?.topics[0]?.partitions[0]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
  const isRefused = code === ErrorCode.CLUSTER_AUTHORIZATION_FAILED;
  refuseUnlessNone(what, code, isRefused ? lookedAfter : null);
}

/** Of a cluster of Holdfast it means the second. */
const lookedAfter =
  "it is not permitted, or a coordinator looks after the transaction; abort it by its transactional id, or try again when every broker answers";

/** Puts the producer of an id out, and aborts what it has open. Rejects with `BrokerRefusedError`. */
export async function fenceProducer(access: AdminAccess, transactionalId: string): Promise<void> {
  const what = `Taking over the transactional id "${transactionalId}"`;
  const answer = await coordinatorOf(access, transactionalId).call(
    InitProducerId,
    {
      transactionalId,
      transactionTimeoutMs: access.cluster.settings.requestTimeoutMs,
      producerId: NO_PRODUCER,
      producerEpoch: NO_PRODUCER_EPOCH,
    },
    { ...persistently(access, what), codeOf: ({ errorCode }) => errorCode },
  );
  refuseUnlessNone(what, answer.errorCode);
}

const coordinatorOf = ({ cluster, links }: AdminAccess, name: string): Coordinator =>
  new Coordinator(cluster, { kind: "transaction", name }, links);

function leaderOf(
  { cluster }: AdminAccess,
  leader: NodeId,
  { topic, partition }: TopicPartition,
): BrokerView {
  const broker = cluster.broker(leader);
  if (broker !== undefined) return broker;
  cluster.refresh(topic);
  throw new BrokerRefusedError(`Finding the leader of ${topic}/${partition}`, ErrorCode.LEADER_NOT_AVAILABLE);
}

async function onEachBroker<T>(
  { cluster }: AdminAccess,
  ask: (broker: BrokerView) => Promise<T>,
): Promise<readonly T[]> {
  // Also finds the brokers.
  await cluster.listTopics();
  return Promise.all(cluster.brokers.map(ask));
}
