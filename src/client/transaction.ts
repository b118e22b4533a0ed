/**
 * One transaction while its work runs: what is sent and committed in it, and the first thing that went wrong,
 * after which it can only be aborted. It promises that nothing is taken into it once it is over, and that
 * whoever ends it has waited for all that it took.
 */
import { ErrorCode } from "../protocol/errors.ts";
import { isRetriable } from "./assignment.ts";
import type { Delivery } from "./delivery.ts";
import { DeadlineError, DeliveryError } from "./errors.ts";
import { NotOwnedError } from "./group/errors.ts";
import type { TakenOffsets } from "./group/taken-offsets.ts";
import type { Acknowledgement, OutgoingRecord, RecordMetadata } from "./records.ts";
import { isCode, isFencing } from "./transaction-coordinator.ts";
import { TransactionUsageError } from "./transaction-errors.ts";

/** Whose offsets a transaction can commit: a member of a group, with `autoCommit: false`. */
export interface OffsetSource {
  /** What has been handed out by now. Throws `TransactionUsageError`. */
  [takeOffsets](): TakenOffsets;
}
export const takeOffsets: unique symbol = Symbol("offsets for a transaction");

/** What the work of a transaction is given. */
export interface Transaction {
  /**
   * Resolves when the broker has the record; readers of committed records see it after the commit. Nobody has
   * to wait for it: the commit does, and a record that fails aborts the transaction.
   */
  send(record: OutgoingRecord): Promise<RecordMetadata>;
  sendMany(records: Iterable<OutgoingRecord>): Promise<readonly Acknowledgement[]>;
  /** False: the next record would have to wait; `await ready()` first to send at the broker's pace. */
  readonly hasRoom: boolean;
  ready(): Promise<void>;
  /**
   * Commits what the loop over the consumer was given up to now, including the record (or batch) at hand, if
   * and only if the transaction is committed; otherwise all of it will be handed out again. Best called
   * first: then that is so whatever the rest of the work throws.
   */
  commitOffsets(consumer: OffsetSource): Promise<void>;
}

export interface TransactionAccess {
  readonly delivery: Delivery;
  readonly commit: (taken: TakenOffsets) => Promise<void>;
}

export class OpenTransaction implements Transaction {
  readonly #access: TransactionAccess;
  readonly #pending = new Set<Promise<unknown>>();
  readonly #taken = new Set<TakenOffsets>();
  #failure: Error | null = null;
  #isOver = false;

  constructor(access: TransactionAccess) {
    this.#access = access;
  }

  /** Why it can only be aborted. */
  get failure(): Error | null {
    return this.#failure;
  }

  send(record: OutgoingRecord): Promise<RecordMetadata> {
    const refusal = this.#refusal();
    if (refusal !== null) return refusal;
    const sent = this.#access.delivery.send(record);
    // The commit waits for it and tells of its failure.
    sent.catch(ignore);
    return sent;
  }

  sendMany(records: Iterable<OutgoingRecord>): Promise<readonly Acknowledgement[]> {
    const refusal = this.#refusal();
    if (refusal !== null) return refusal;
    return this.#await(this.#access.delivery.sendMany(records));
  }

  get hasRoom(): boolean {
    return this.#access.delivery.hasRoom;
  }

  ready(): Promise<void> {
    return this.#access.delivery.ready();
  }

  commitOffsets(consumer: OffsetSource): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== null) return refusal;
    return this.#await(this.#commitOffsets(consumer));
  }

  async #commitOffsets(consumer: OffsetSource): Promise<void> {
    try {
      const taken = consumer[takeOffsets]();
      this.#taken.add(taken);
      if (!taken.isEmpty) await this.#access.commit(taken);
    } catch (cause) {
      this.fail(cause as Error);
      throw cause;
    }
  }

  /** The first cause counts. What is not written yet will not be. */
  fail(cause: Error): void {
    if (this.#failure !== null) return;
    this.#failure = cause;
    const { delivery } = this.#access;
    delivery.refuse(cause);
    // Not at once: it is told while records are being settled.
    queueMicrotask(() => void delivery.abandon(cause));
  }

  /** Takes nothing more; resolves when all that it took has come to an end. */
  async finish(): Promise<void> {
    this.#isOver = true;
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
    await this.#access.delivery.flush();
  }

  /** Tells the consumers what became of it. */
  settle(outcome: "committed" | "aborted" | "unknown"): void {
    for (const taken of this.#taken) taken.settle(outcome);
  }

  /** Null: it takes what is given to it. */
  #refusal(): Promise<never> | null {
    if (this.#isOver) {
      return Promise.reject(
        new TransactionUsageError(
          "The transaction is over: send within the function that producer.transaction is given, and let its promise wait for what it begins.",
        ),
      );
    }
    if (this.#failure === null) return null;
    const refused = Promise.reject(this.#failure);
    // The promise of the transaction tells of it.
    refused.catch(ignore);
    return refused;
  }

  #await<T>(done: Promise<T>): Promise<T> {
    this.#pending.add(done);
    const over = (): void => void this.#pending.delete(done);
    done.then(over, over);
    return done;
  }
}

const ignore = (): void => undefined;

/** Whether the same work may succeed in another transaction. */
export function mayBeRepeated(cause: unknown): boolean {
  if (cause instanceof DeliveryError) return mayBeRepeated(cause.cause);
  if (cause instanceof DeadlineError || cause instanceof NotOwnedError) return true;
  if (isFencing(cause) || isRetriable(cause)) return true;
  return isCode(
    cause,
    ErrorCode.TRANSACTION_ABORTABLE,
    ErrorCode.INVALID_TXN_STATE,
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
    ErrorCode.UNKNOWN_PRODUCER_ID,
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.STALE_MEMBER_EPOCH,
    ErrorCode.FENCED_MEMBER_EPOCH,
  );
}
