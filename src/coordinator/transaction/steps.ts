/**
 * What becomes of one transactional id at each step, as the value of its next record. Pure: whether a step
 * may be taken is decided in shard.ts and ending.ts. Within a producer id epochs never go back, and one is
 * always left above those that were told, to fence with.
 */
import {
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  type PartitionIndex,
  producerEpoch,
  type ProducerEpoch,
  type ProducerId,
} from "../../base/ids.ts";
import type { TransactionLogValue } from "./records.ts";
import {
  lastToldEpoch,
  type Outcome,
  stateAfter,
  statusOf,
  type Transaction,
  type TransactionPartition,
} from "./transaction.ts";

const firstEpoch = producerEpoch(0);
const noTime = -1;

const above = (epoch: ProducerEpoch): ProducerEpoch => producerEpoch(epoch + 1);

/** An id that nothing was known of. */
export function created(producerId: ProducerId, timeoutMs: number, nowMs: number): TransactionLogValue {
  return {
    producerId,
    previousProducerId: NO_PRODUCER,
    nextProducerId: NO_PRODUCER,
    producerEpoch: firstEpoch,
    nextProducerEpoch: NO_PRODUCER_EPOCH,
    timeoutMs,
    status: statusOf("Empty"),
    partitions: null,
    updatedMs: nowMs,
    startedMs: noTime,
    clientVersion: 0,
  };
}

export interface Restart {
  readonly timeoutMs: number;
  /** Whether it is the same client that goes on after an error: only then may it ask again in its former name. */
  readonly goesOn: boolean;
  /** In place of one whose epochs are used up. */
  readonly freshProducerId: ProducerId | null;
}

/** InitProducerId: the next epoch, or epoch 0 of a fresh producer id; all former ones are fenced. */
export function restarted(former: TransactionLogValue, restart: Restart, nowMs: number): TransactionLogValue {
  const { timeoutMs, goesOn, freshProducerId } = restart;
  const isFresh = freshProducerId !== null;
  return {
    ...former,
    producerId: isFresh ? freshProducerId : former.producerId,
    previousProducerId: goesOn ? former.producerId : NO_PRODUCER,
    nextProducerId: NO_PRODUCER,
    producerEpoch: isFresh ? firstEpoch : above(former.producerEpoch),
    timeoutMs,
    status: statusOf("Empty"),
    partitions: null,
    updatedMs: nowMs,
    startedMs: noTime,
  };
}

/** The same answer again, to one that did not get it. */
export function restartedAgain(
  former: TransactionLogValue,
  timeoutMs: number,
  nowMs: number,
): TransactionLogValue {
  return {
    ...former,
    timeoutMs,
    status: statusOf("Empty"),
    partitions: null,
    updatedMs: nowMs,
    startedMs: noTime,
  };
}

/** Opens a transaction, or takes more partitions into the one that is open. */
export function extended(
  transaction: Transaction,
  partitions: readonly TransactionPartition[],
  clientVersion: number,
  nowMs: number,
): TransactionLogValue {
  const { value, isOpen } = transaction;
  const topics = new Map<string, Set<PartitionIndex>>();
  const add = (topic: string, ids: Iterable<PartitionIndex>): void => {
    let known = topics.get(topic);
    if (known === undefined) topics.set(topic, (known = new Set()));
    for (const id of ids) known.add(id);
  };
  for (const { topic, partitionIds } of value.partitions ?? []) add(topic, partitionIds);
  for (const { topic, partition } of partitions) add(topic, [partition]);
  return {
    ...value,
    status: statusOf("Ongoing"),
    partitions: Array.from(topics, ([topic, ids]) => ({ topic, partitionIds: [...ids] })),
    updatedMs: nowMs,
    startedMs: isOpen ? value.startedMs : nowMs,
    clientVersion,
  };
}

export interface Ending {
  readonly outcome: Outcome;
  /**
   * Markers carry the next epoch, so that whatever was under way under the present one is refused from then
   * on (KIP-890). Clients that do not know of that stay in the epoch that they have.
   */
  readonly takesEpoch: boolean;
  /** Goes on where the next epoch is the last one; null: it is brought along when somebody asks for it. */
  readonly freshProducerId: ProducerId | null;
}

/** The intention: from here on the transaction ends in this way and no other, whatever happens. */
export function prepared(former: TransactionLogValue, ending: Ending, nowMs: number): TransactionLogValue {
  const { outcome, takesEpoch, freshProducerId } = ending;
  const next = takesEpoch ? above(former.producerEpoch) : former.producerEpoch;
  return {
    ...former,
    previousProducerId: former.producerId,
    nextProducerId: next > lastToldEpoch && freshProducerId !== null ? freshProducerId : NO_PRODUCER,
    producerEpoch: next,
    status: statusOf(stateAfter[outcome].prepared),
    updatedMs: nowMs,
    startedMs: former.startedMs === noTime ? nowMs : former.startedMs,
    clientVersion: takesEpoch ? 2 : 0,
  };
}

/** All markers are written. */
export function completed(former: TransactionLogValue, nowMs: number): TransactionLogValue {
  const isCommit = former.status === statusOf("PrepareCommit");
  const { nextProducerId } = former;
  const complete: TransactionLogValue = {
    ...former,
    status: statusOf(stateAfter[isCommit ? "commit" : "abort"].completed),
    partitions: [],
    updatedMs: nowMs,
  };
  return nextProducerId === NO_PRODUCER ? complete : replaced(complete, nextProducerId, nowMs);
}

/** Its producer id has no epoch left: it goes on under another one. */
export function replaced(
  former: TransactionLogValue,
  freshProducerId: ProducerId,
  nowMs: number,
): TransactionLogValue {
  return {
    ...former,
    producerId: freshProducerId,
    previousProducerId: former.producerId,
    nextProducerId: NO_PRODUCER,
    producerEpoch: firstEpoch,
    updatedMs: nowMs,
  };
}
