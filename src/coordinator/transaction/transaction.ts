/**
 * One transactional id: who its producer is, and what has become of its newest transaction. It is what its
 * newest record says and nothing beside that, so a restart knows as much as the process that died.
 */
import { MalformedError } from "../../base/errors.ts";
import {
  NO_PRODUCER,
  type PartitionIndex,
  producerEpoch,
  type ProducerEpoch,
  type ProducerId,
} from "../../base/ids.ts";
import type { TransactionLogValue } from "./records.ts";

/** Kafka's names; a state is at the place of its number. */
export const transactionStates = [
  "Empty",
  "Ongoing",
  "PrepareCommit",
  "PrepareAbort",
  "CompleteCommit",
  "CompleteAbort",
] as const;
export type TransactionState = (typeof transactionStates)[number];
export type Outcome = "commit" | "abort";

export const statusOf = (state: TransactionState): number => transactionStates.indexOf(state);

/** Who somebody says to be. */
export interface ProducerIdentity {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}
export interface TransactionalClaim extends ProducerIdentity {
  readonly transactionalId: string;
}

export interface TransactionPartition {
  readonly topic: string;
  readonly partition: PartitionIndex;
}

/** The last epoch that a producer is told: one is left above it for fencing whoever uses it. */
export const lastToldEpoch = producerEpoch(32_766);

export const isSame = (a: ProducerIdentity, b: ProducerIdentity): boolean =>
  a.producerId === b.producerId && a.producerEpoch === b.producerEpoch;

/** What an id, a topic and a partition of its transaction take in memory beside their names. Measured with 100,000 ids. */
const plainBytes = 700;
const topicBytes = 500;
const partitionBytes = 20;

export function transactionBytes(id: string): number {
  return plainBytes + 2 * id.length;
}

/** What is added by partitions that are new, at most. */
export function partitionsBytes(partitions: readonly TransactionPartition[]): number {
  let bytes = partitionBytes * partitions.length;
  for (const topic of new Set(partitions.map((each) => each.topic))) bytes += topicBytes + 2 * topic.length;
  return bytes;
}

export class Transaction {
  readonly id: string;
  readonly value: TransactionLogValue;
  readonly state: TransactionState;
  readonly #topics = new Map<string, ReadonlySet<PartitionIndex>>();

  /** Throws `MalformedError`: the record tells a state that is not known here. */
  constructor(id: string, value: TransactionLogValue) {
    const state = transactionStates[value.status];
    if (state === undefined) {
      throw new MalformedError(`a transaction in state ${value.status}, which is not known here`);
    }
    this.id = id;
    this.value = value;
    this.state = state;
    for (const { topic, partitionIds } of value.partitions ?? []) {
      this.#topics.set(topic, new Set(partitionIds));
    }
  }

  /** About what it takes in memory. */
  get bytes(): number {
    let bytes = transactionBytes(this.id);
    for (const [topic, partitions] of this.#topics) {
      bytes += topicBytes + 2 * topic.length + partitionBytes * partitions.size;
    }
    return bytes;
  }

  get isOpen(): boolean {
    return this.state === "Ongoing";
  }
  /** How it ends is decided, and markers are on their way. */
  get isEnding(): boolean {
    return this.state === "PrepareCommit" || this.state === "PrepareAbort";
  }

  holds({ topic, partition }: TransactionPartition): boolean {
    return this.#topics.get(topic)?.has(partition) === true;
  }

  /**
   * How the transaction that the producer had in this epoch ended. Null: that is not known, since it had others
   * after it, or more than one in that epoch.
   */
  outcomeOf(epoch: ProducerEpoch): Outcome | null {
    const { producerEpoch, clientVersion } = this.value;
    if (clientVersion < 2 || producerEpoch !== epoch + 1) return null;
    if (this.state === "CompleteCommit") return "commit";
    return this.state === "CompleteAbort" ? "abort" : null;
  }

  /** No further epoch can be told: the next one belongs to another producer id. */
  get isExhausted(): boolean {
    return this.value.producerEpoch >= lastToldEpoch;
  }

  /**
   * Who the producer was before it was told its present id and epoch, if that was the same client: one that
   * missed the answer may ask again in this name (KIP-360, KIP-890). Null: it began anew.
   */
  get former(): ProducerIdentity | null {
    const { producerId, previousProducerId, producerEpoch: epoch, clientVersion } = this.value;
    if (previousProducerId === NO_PRODUCER || this.isOpen || this.isEnding) return null;
    if (this.state !== "Empty" && clientVersion < 2) return null;
    if (previousProducerId !== producerId) {
      return { producerId: previousProducerId, producerEpoch: lastToldEpoch };
    }
    return { producerId, producerEpoch: producerEpoch(epoch - 1) };
  }

  /**
   * Who the producer is in its next transaction, while markers of this one are on their way: it may have been told
   * already, since markers of other brokers are written behind the answer. Null: it is as it was, or not known yet.
   */
  get next(): ProducerIdentity | null {
    const { producerId, nextProducerId, producerEpoch: epoch, clientVersion } = this.value;
    if (!this.isEnding || clientVersion < 2) return null;
    if (nextProducerId !== NO_PRODUCER)
      return { producerId: nextProducerId, producerEpoch: producerEpoch(0) };
    return epoch > lastToldEpoch ? null : { producerId, producerEpoch: epoch };
  }
}

export const stateAfter = {
  commit: { prepared: "PrepareCommit", completed: "CompleteCommit" },
  abort: { prepared: "PrepareAbort", completed: "CompleteAbort" },
} as const;
