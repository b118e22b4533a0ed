/**
 * The requests about one transactional id, each repeated until it is answered or its time is over: to take
 * the id over, to add to a transaction, to end it. Knows how what a coordinator answers is to be read, and
 * nothing of records. Two protocols: from transaction.version 2 on (KIP-890) a producer's epoch is raised by
 * the end of each transaction, and brokers add partitions by themselves; before that it says which it adds.
 */
import { NO_PRODUCER, NO_PRODUCER_EPOCH, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AddOffsetsToTxn } from "../protocol/messages/add-offsets-to-txn.ts";
import {
  AddPartitionsToTxn,
  type AddPartitionsToTxnResponse,
} from "../protocol/messages/add-partitions-to-txn.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import type { Cluster } from "./cluster.ts";
import { Coordinator } from "./coordinator.ts";
import {
  BrokerRefusedError,
  ConnectionLostError,
  NoBrokerError,
  NotKafkaError,
  refuseUnlessNone,
} from "./errors.ts";
import type { TopicPartition } from "./group/assignor.ts";
import type { Identity } from "./lane.ts";
import type { TransactionSettings } from "./producer-settings.ts";
import { backoffAfter } from "./settings.ts";

/** Under what a transaction goes. */
export interface Terms {
  readonly identity: Identity;
  /** 2: of KIP-890. */
  readonly version: 1 | 2;
}

export type Ending =
  /** `isInDoubt`: an earlier attempt may have been carried out all the same, or be on its way still. */
  | { readonly kind: "done"; readonly identity: Identity; readonly isInDoubt: boolean }
  | { readonly kind: "refused"; readonly cause: BrokerRefusedError; readonly isInDoubt: boolean }
  | { readonly kind: "unanswered"; readonly cause: Error };

/** With what the coordinator raises the epoch at the end of each transaction. */
const epochVersion = 5;
/** The last version that clients use; later ones are for brokers. */
const addPartitionsVersion = 3;
/** The transaction before is being ended, which takes a moment. */
const concurrentPauseMs = 20;

export class TransactionCoordinator {
  readonly #cluster: Cluster;
  readonly #settings: TransactionSettings;
  readonly #coordinator: Coordinator;

  constructor(cluster: Cluster, settings: TransactionSettings) {
    this.#cluster = cluster;
    this.#settings = settings;
    this.#coordinator = new Coordinator(cluster, { kind: "transaction", name: settings.transactionalId });
  }

  close(): void {
    this.#coordinator.close();
  }

  /**
   * Takes the id over: whoever had it before is put out, and what that left open is aborted. `before`: under
   * what this producer went; one that was put out since is refused. Rejects with `BrokerRefusedError`, and
   * with what no broker answered, once the time is over.
   */
  async register(before: Identity | null): Promise<Terms> {
    const { transactionalId, transactionTimeoutMs } = this.#settings;
    const what = `Registering the producer "${transactionalId}"`;
    const again = before === null ? this.#beforeFirstContact(this.again()) : this.again();
    const answer = await this.#coordinator.call(
      InitProducerId,
      {
        transactionalId,
        transactionTimeoutMs,
        producerId: before?.id ?? NO_PRODUCER,
        producerEpoch: before?.epoch ?? NO_PRODUCER_EPOCH,
      },
      { what, again, codeOf: ({ errorCode }) => errorCode },
    );
    refuseUnlessNone(what, answer.errorCode);
    return {
      identity: { id: answer.producerId, epoch: answer.producerEpoch },
      version: await this.#version(),
    };
  }

  /** As the cluster has it now. */
  async #version(): Promise<Terms["version"]> {
    const connection = await this.#coordinator.connection(this.again());
    const isServed = connection.serves(EndTxn) && connection.versionOf(EndTxn) >= epochVersion;
    return isServed && connection.featureLevel("transaction.version") >= 2 ? 2 : 1;
  }

  /** Rejects as `register` does. */
  async addPartitions({ identity }: Terms, partitions: readonly TopicPartition[]): Promise<void> {
    const what = `Adding partitions to the transaction of "${this.#settings.transactionalId}"`;
    const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, each]) => ({
      name,
      partitions: each.map(({ partition }) => partitionIndex(partition)),
    }));
    const request = {
      transactions: [],
      v3AndBelowTransactionalId: this.#settings.transactionalId,
      v3AndBelowProducerId: identity.id,
      v3AndBelowProducerEpoch: identity.epoch,
      v3AndBelowTopics: topics,
    };
    const answer = await this.#coordinator.call(AddPartitionsToTxn, request, {
      what,
      again: this.again(),
      versionMax: addPartitionsVersion,
      codeOf: gravest,
    });
    refuseUnlessNone(what, gravest(answer));
  }

  /** Rejects as `register` does. */
  async addOffsets({ identity }: Terms, group: string): Promise<void> {
    const { transactionalId } = this.#settings;
    const what = `Adding group ${group} to the transaction of "${transactionalId}"`;
    const request = {
      transactionalId,
      producerId: identity.id,
      producerEpoch: identity.epoch,
      groupId: group,
    };
    const answer = await this.#coordinator.call(AddOffsetsToTxn, request, {
      what,
      again: this.again(),
      codeOf: ({ errorCode }) => errorCode,
    });
    refuseUnlessNone(what, answer.errorCode);
  }

  /** Asks until it is known: the same request, which a coordinator that carried it out already answers in the same way. */
  async end({ identity, version }: Terms, committed: boolean): Promise<Ending> {
    const { transactionalId } = this.#settings;
    const what = `${committed ? "Committing" : "Aborting"} the transaction of "${transactionalId}"`;
    const request = { transactionalId, producerId: identity.id, producerEpoch: identity.epoch, committed };
    let isInDoubt = false;
    const again = this.again();
    try {
      const answer = await this.#coordinator.call(EndTxn, request, {
        what,
        codeOf: ({ errorCode }) => errorCode,
        versionMax: version === 2 ? epochVersion : epochVersion - 1,
        again: (cause) => {
          isInDoubt ||= mayHaveHappened(cause);
          return again(cause);
        },
      });
      if (answer.errorCode !== ErrorCode.NONE) {
        return { kind: "refused", cause: new BrokerRefusedError(what, answer.errorCode), isInDoubt };
      }
      const isRaised = answer.producerId !== NO_PRODUCER;
      const after = isRaised ? { id: answer.producerId, epoch: answer.producerEpoch } : identity;
      return { kind: "done", identity: after, isInDoubt };
    } catch (cause) {
      return { kind: "unanswered", cause: cause as Error };
    }
  }

  /** From now on for `persistMs`; see `CoordinatorCall`. */
  again(): (cause: Error) => number | undefined {
    const { settings } = this.#cluster;
    const endMs = settings.clock.monotonicMs() + this.#settings.persistMs;
    let attempts = 0;
    return (cause) => {
      if (settings.clock.monotonicMs() >= endMs) return undefined;
      return isCode(cause, ErrorCode.CONCURRENT_TRANSACTIONS)
        ? concurrentPauseMs
        : backoffAfter(++attempts, settings);
    };
  }

  /** A wrong address is told soon. */
  #beforeFirstContact(again: (cause: Error) => number | undefined): (cause: Error) => number | undefined {
    const { clock, bootstrapTimeoutMs } = this.#cluster.settings;
    const endMs = clock.monotonicMs() + bootstrapTimeoutMs;
    return (cause) => {
      const isUnreached = cause instanceof NoBrokerError || cause instanceof NotKafkaError;
      return isUnreached && clock.monotonicMs() >= endMs ? undefined : again(cause);
    };
  }
}

export const isCode = (cause: unknown, ...codes: readonly number[]): boolean =>
  cause instanceof BrokerRefusedError && codes.includes(cause.errorCode);

/** Refusals that say that another producer may have come, or that the broker has aborted and moved on. */
export const isFencing = (cause: unknown): boolean =>
  isCode(
    cause,
    ErrorCode.PRODUCER_FENCED,
    ErrorCode.INVALID_PRODUCER_EPOCH,
    ErrorCode.INVALID_PRODUCER_ID_MAPPING,
  );

/** Whether the coordinator may have carried out what it did not acknowledge. */
function mayHaveHappened(cause: Error): boolean {
  if (cause instanceof ConnectionLostError) return cause.sent;
  return !(
    cause instanceof NoBrokerError ||
    isCode(
      cause,
      ErrorCode.NOT_COORDINATOR,
      ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
      ErrorCode.CONCURRENT_TRANSACTIONS,
    )
  );
}

/** What was not tried because of another is told by that other. */
function gravest({ resultsByTopicV3AndBelow }: AddPartitionsToTxnResponse): number {
  const codes: readonly number[] = resultsByTopicV3AndBelow.flatMap(({ resultsByPartition }) =>
    resultsByPartition.map(({ partitionErrorCode }) => partitionErrorCode),
  );
  const failed = codes.filter((code) => code !== ErrorCode.NONE);
  return failed.find((code) => code !== ErrorCode.OPERATION_NOT_ATTEMPTED) ?? failed[0] ?? ErrorCode.NONE;
}
