/**
 * Consume, transform, produce, each input counted once: what is read, what is written because of it and how far
 * the group has got are one transaction. What is aborted is handed out again; what is in doubt is asked about.
 * Nothing of the group is committed beside the transactions.
 */
import { type Clock, sleep } from "../../base/ports.ts";
import { isRetriable } from "../assignment.ts";
import { OptionError } from "../errors.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import type { RetryWatch } from "../retry-watch.ts";
import type { OffsetSource, Transaction } from "../transaction.ts";
import {
  ProducerFencedError,
  TransactionAbortedError,
  TransactionUnknownError,
} from "../transaction-errors.ts";
import type { TransactionalProducer } from "../transactional-producer.ts";
import { HandlerError } from "./errors.ts";
import type { Taken } from "./handlers.ts";

/** What a handler may do in the transaction of its record. */
export interface TransformContext extends Pick<Transaction, "send" | "sendMany"> {
  /** Aborted when the partition was taken away: the transaction will not be committed. */
  readonly signal: AbortSignal;
}

export interface TransformOptions {
  /**
   * One record after the other. What it sends need not be waited for. When it throws, the transaction is
   * aborted, and `transform` ends.
   */
  readonly handle: (record: IncomingRecord, context: TransformContext) => unknown;
  /**
   * Waited for before records of a transaction that was aborted, or may have been, are handed out again: what
   * was calculated from them in memory must be forgotten.
   */
  readonly onAborted?: ((cause: Error) => void | Promise<void>) | undefined;
  /** A transaction has the records that are there when it begins, at most so many; default 2,000. */
  readonly recordsMax?: number | undefined;
}

export interface TransformAccess {
  readonly producer: TransactionalProducer;
  readonly source: OffsetSource;
  readonly watch: RetryWatch;
  readonly clock: Clock;
  /** The records of a transaction that was not begun are handed out again. */
  readonly goBack: () => void;
}

export class Transform {
  readonly #access: TransformAccess;
  readonly #handle: TransformOptions["handle"];
  readonly #onAborted: (cause: Error) => void | Promise<void>;
  readonly #recordsMax: number;

  /** Throws `OptionError`. */
  constructor(access: TransformAccess, options: TransformOptions) {
    const { handle, recordsMax = 2_000, onAborted = () => undefined } = options;
    if (!Number.isInteger(recordsMax) || recordsMax < 1) {
      throw new OptionError(`recordsMax is a whole number from 1 on, not ${String(recordsMax)}.`);
    }
    this.#access = access;
    this.#handle = handle;
    this.#onAborted = onAborted;
    this.#recordsMax = recordsMax;
  }

  /** What is there for a transaction; `undefined`: nothing. */
  collect(take: () => Taken | undefined): readonly Taken[] | undefined {
    const many: Taken[] = [];
    try {
      while (many.length < this.#recordsMax) {
        const taken = take();
        if (taken === undefined) break;
        many.push(taken);
      }
    } catch (cause) {
      // What lies before it first; it comes again with the next call.
      if (many.length === 0) throw cause;
    }
    return many.length === 0 ? undefined : many;
  }

  /**
   * One transaction. Resolves when it is committed, or when its records will be handed out again. Rejects with
   * `HandlerError`, `ProducerFencedError`, `TransactionAbortedError` for what another attempt would not
   * mend, and with what keeps the producer from beginning.
   */
  async once(taken: readonly Taken[]): Promise<void> {
    const { producer, source, watch, clock, goBack } = this.#access;
    const operation = `transform in transactions of "${producer.transactionalId}"`;
    let isBegun = false;
    try {
      await producer.transaction(async (tx) => {
        isBegun = true;
        // First, so that whatever fails from here on brings the records back.
        const offsets = tx.commitOffsets(source);
        await this.#handleAll(taken, tx);
        await offsets;
      });
      watch.succeeded(operation);
    } catch (cause) {
      if (!isBegun) goBack();
      if (cause instanceof TransactionAbortedError && cause.cause instanceof HandlerError) throw cause.cause;
      const again = repeatable(cause);
      if (again === undefined) throw cause;
      if (isBegun) await this.#onAborted(again);
      await sleep(clock, watch.failed(operation, again));
    }
  }

  async #handleAll(taken: readonly Taken[], tx: Transaction): Promise<void> {
    const send = tx.send.bind(tx);
    const sendMany = tx.sendMany.bind(tx);
    for (const { record, share } of taken) {
      const { signal } = share;
      if (!tx.hasRoom) await tx.ready();
      signal.throwIfAborted();
      try {
        const handled = this.#handle(record, { send, sendMany, signal });
        // A turn of the event loop's queue for each record that needs none would cost more than the record.
        if (handled instanceof Promise) await handled;
      } catch (cause) {
        throw new HandlerError(record, cause);
      }
    }
  }
}

/** `undefined`: another attempt would not mend it. */
function repeatable(cause: unknown): Error | undefined {
  if (cause instanceof ProducerFencedError) return undefined;
  return cause instanceof TransactionUnknownError || isRetriable(cause) ? cause : undefined;
}
