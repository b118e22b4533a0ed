/** What becomes of a transaction that is not known to be committed. Each message says what, why and what to do; `code` and `outcome` are for programs. */
import { HoldfastError } from "../base/errors.ts";

/** "aborted": no reader of committed records ever sees anything of it. "unknown": it was committed, or it was aborted. */
export type TransactionOutcome = "aborted" | "unknown";

/** Nothing of the transaction took effect. `cause` is why: what the work threw, or what a broker refused. */
export class TransactionAbortedError extends HoldfastError {
  readonly code = "TRANSACTION_ABORTED";
  override readonly name = "TransactionAbortedError";
  readonly outcome: TransactionOutcome = "aborted";
  readonly transactionalId: string;
  /** The same work may succeed in another transaction of the same producer. */
  override readonly retriable: boolean;

  constructor(transactionalId: string, cause: unknown, retriable: boolean) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`The transaction of "${transactionalId}" was aborted: ${why}`, { cause });
    this.transactionalId = transactionalId;
    this.retriable = retriable;
  }
}

/** The broker was asked to commit, and its answer was not to be had. The next transaction of the producer begins when it is decided. */
export class TransactionUnknownError extends HoldfastError {
  readonly code = "TRANSACTION_UNKNOWN";
  override readonly name = "TransactionUnknownError";
  readonly outcome: TransactionOutcome = "unknown";
  readonly transactionalId: string;

  constructor(transactionalId: string, cause: Error) {
    super(
      `The transaction of "${transactionalId}" may or may not have been committed: ${cause.message}. Read what it would have written, or the group's offsets, to find out.`,
      { cause },
    );
    this.transactionalId = transactionalId;
  }
}

/** Another producer has come with the same transactional id; this one is of no use any more. */
export class ProducerFencedError extends HoldfastError {
  readonly code = "PRODUCER_FENCED";
  override readonly name = "ProducerFencedError";
  /** Of the transaction that was under way. */
  readonly outcome: TransactionOutcome;
  readonly transactionalId: string;

  constructor(transactionalId: string, outcome: TransactionOutcome, cause: Error) {
    const what = outcome === "aborted" ? "was aborted" : "may or may not have been committed";
    super(
      `Another producer has come as "${transactionalId}", so this one was put out, and its transaction ${what}; close it, and see to it that each process has a transactionalId of its own.`,
      { cause },
    );
    this.transactionalId = transactionalId;
    this.outcome = outcome;
  }
}

/** A call that makes no sense; nothing was sent because of it. */
export class TransactionUsageError extends HoldfastError {
  readonly code = "TRANSACTION_USAGE";
  override readonly name = "TransactionUsageError";
}
