/**
 * Which batches of one Produce request may become part of their producer's transaction: its coordinator is
 * asked once, for all of them, after they are judged and before the first offset is given. A batch that got
 * in without it would open a transaction that nobody ends, and hold up readers for ever (KIP-890).
 */
import type { Partition } from "../log/partition.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { BatchView } from "../record/batch.ts";
import type { TransactionalClaim, TransactionPartition } from "../coordinator/transaction/transaction.ts";
import type { RequestContext } from "./context.ts";

export class ProduceAdmission {
  readonly #context: RequestContext;
  readonly #transactionalId: string | null;
  #claim: TransactionalClaim | null = null;
  /** Both stay empty, and unmade, for requests without transactions. */
  #wanted: Map<Partition, TransactionPartition> | null = null;
  #refused: Map<Partition, ErrorCode> | null = null;

  constructor(context: RequestContext, transactionalId: string | null) {
    this.#context = context;
    this.#transactionalId = transactionalId;
  }

  /** A batch that is to become part of a transaction. Returns why it cannot, or null. */
  note(partition: Partition, topic: string, { producerId, producerEpoch }: BatchView): ErrorCode | null {
    const transactionalId = this.#transactionalId;
    if (transactionalId === null) return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    this.#claim ??= { transactionalId, producerId, producerEpoch };
    const isSame = this.#claim.producerId === producerId && this.#claim.producerEpoch === producerEpoch;
    // One transactional id has one producer.
    if (!isSame) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    this.#wanted ??= new Map();
    this.#wanted.set(partition, { topic, partition: partition.partition });
    return null;
  }

  /** Asks the coordinator. What is admitted must be appended in the same step. Resolves when what was decided is durable; null: with the appends. */
  decide(): Promise<unknown> | null {
    if (this.#claim === null || this.#wanted === null) return null;
    const { services, apiVersion } = this.#context;
    const places = [...this.#wanted.values()];
    const { errorCodes, durable } = services.transactions.admit("Produce", apiVersion, this.#claim, places);
    for (const [at, partition] of [...this.#wanted.keys()].entries()) {
      const errorCode = errorCodes[at] ?? ErrorCode.UNKNOWN_SERVER_ERROR;
      if (errorCode === ErrorCode.NONE) continue;
      this.#refused ??= new Map();
      this.#refused.set(partition, errorCode);
    }
    return durable;
  }

  /** Why a batch for this partition is not admitted; undefined: it is. */
  refusalOf(partition: Partition, batch: BatchView): ErrorCode | undefined {
    return batch.isTransactional ? this.#refused?.get(partition) : undefined;
  }
}
