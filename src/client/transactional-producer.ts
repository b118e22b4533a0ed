/**
 * What users hold of a producer with a transactional id: transactions, one at a time. The promise of
 * `transaction` resolves when it is known to be committed; else it rejects with an error whose `outcome` says
 * "aborted" (nothing of it is ever read as committed) or "unknown". It never says "aborted" of what may have
 * been committed: a commit whose answer was lost is asked for again until it is answered or the time is over.
 */
import type { Timer } from "../base/ports.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { Cluster } from "./cluster.ts";
import { Delivery, type ProducerStats } from "./delivery.ts";
import { Enrolment } from "./enrolment.ts";
import { ClosedError } from "./errors.ts";
import type { TransactionalProducerOptions } from "./options.ts";
import { transactionalSettings, type TransactionSettings } from "./producer-settings.ts";
import type { OutgoingRecord } from "./records.ts";
import { mayBeRepeated, OpenTransaction, type Transaction } from "./transaction.ts";
import {
  type Ending,
  isCode,
  isFencing,
  type Terms,
  TransactionCoordinator,
} from "./transaction-coordinator.ts";
import {
  ProducerFencedError,
  TransactionAbortedError,
  type TransactionOutcome,
  TransactionUnknownError,
  TransactionUsageError,
} from "./transaction-errors.ts";
import { commitInTransaction } from "./transaction-offsets.ts";

export interface TransactionalProducerStats extends ProducerStats {
  /** Transactions, those without anything in them left out. */
  readonly committed: number;
  readonly aborted: number;
}

export class TransactionalProducer implements AsyncDisposable {
  readonly #settings: TransactionSettings;
  readonly #cluster: Cluster;
  readonly #coordinator: TransactionCoordinator;
  readonly #delivery: Delivery;
  readonly #onClosed: () => void;
  #enrolment: Enrolment | null = null;
  /** Null: to be registered before the next transaction. */
  #terms: Terms | null = null;
  /** Under what this producer went last, to be registered again as the one that it was. */
  #before: Terms["identity"] | null = null;
  /** Sequences begin anew with the next transaction. */
  #isOther = true;
  #registering: Promise<void> | null = null;
  #open: OpenTransaction | null = null;
  #running: Promise<unknown> | null = null;
  #fenced: ProducerFencedError | null = null;
  #closing: Promise<void> | null = null;
  readonly #counts = { committed: 0, aborted: 0 };

  /** Throws `OptionError`. */
  constructor(
    cluster: Cluster,
    options: TransactionalProducerOptions,
    onClosed: () => void = () => undefined,
  ) {
    const settings = transactionalSettings(options);
    this.#cluster = cluster;
    this.#settings = settings;
    this.#onClosed = onClosed;
    this.#coordinator = new TransactionCoordinator(cluster, settings);
    this.#delivery = new Delivery(cluster, settings, {
      standing: (onAnswer) => {
        this.#enrolment = new Enrolment(onAnswer, {
          add: (terms, lanes) => this.#coordinator.addPartitions(terms, lanes),
          onFailed: (cause) => this.#open?.fail(cause),
        });
        return this.#enrolment;
      },
      onFailed: (cause) => this.#open?.fail(cause),
    });
    this.#delivery.refuse(new TransactionUsageError("No transaction is open."));
  }

  get transactionalId(): string {
    return this.#settings.transactionalId;
  }

  /**
   * Takes the transactional id over: a predecessor is put out, and what it left open is aborted. The first
   * transaction does so unless it was done. Rejects with `NoBrokerError`, `BrokerRefusedError`,
   * `ProducerFencedError`.
   */
  connect(): Promise<void> {
    const refusal = this.#refusal();
    return refusal === null ? this.#register() : Promise.reject(refusal);
  }

  /**
   * Runs `work` and commits what it sent, together with the offsets that it committed; resolves with what it
   * returned. When it throws, or anything that it sent fails, all of it is aborted. One at a time: a second call
   * meanwhile is refused. Rejects with `TransactionAbortedError`, `TransactionUnknownError`,
   * `ProducerFencedError`, `TransactionUsageError`, and as `connect` does when the work was not begun.
   */
  transaction<T>(work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    if (this.#running !== null) {
      return Promise.reject(
        new TransactionUsageError(
          `A transaction of "${this.transactionalId}" is under way, and a producer has one at a time: wait for its promise, or use another producer with a transactionalId of its own.`,
        ),
      );
    }
    const running = this.#run(work).finally(() => {
      this.#running = null;
    });
    this.#running = running;
    return running;
  }

  /** There is no sending outside of a transaction. */
  send(_record: OutgoingRecord): Promise<never> {
    return Promise.reject(
      new TransactionUsageError(
        `The producer "${this.transactionalId}" sends in transactions only: producer.transaction(async (tx) => { await tx.send(record); }). Records that need none go by a producer without a transactionalId.`,
      ),
    );
  }

  get stats(): TransactionalProducerStats {
    return { ...this.#delivery.stats, ...this.#counts };
  }

  /**
   * Begins no further transaction, and waits for the one that is under way; after `timeoutMs` (default: the
   * transaction's time-out) that fails, and the broker aborts it.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? this.#settings.transactionTimeoutMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeoutMs: number): Promise<void> {
    const { clock } = this.#cluster.settings;
    const late = Promise.withResolvers<void>();
    const timer: Timer = clock.schedule(timeoutMs, late.resolve);
    const done = this.#running?.then(ignore, ignore) ?? Promise.resolve();
    await Promise.race([done, late.promise]);
    timer.cancel();
    this.#open?.fail(new ClosedError("The producer was closed."));
    this.#coordinator.close();
    await this.#delivery.close(0);
    this.#onClosed();
  }

  async #run<T>(work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    await this.#register();
    // Each transaction has terms of its own, so that an answer to an earlier one is known as such.
    const terms: Terms = { ...(this.#terms as Terms) };
    const enrolment = this.#enrolment as Enrolment;
    enrolment.begin(terms);
    this.#delivery.begin(this.#isOther);
    this.#isOther = false;
    const open: OpenTransaction = new OpenTransaction({
      delivery: this.#delivery,
      commit: async (taken) => {
        enrolment.isTouched = true;
        if (terms.version === 1) await this.#coordinator.addOffsets(terms, taken.group);
        const again = this.#coordinator.again();
        await commitInTransaction(taken, this.transactionalId, terms, (cause) =>
          // What can only be aborted does not wait for a coordinator that is away.
          open.failure === null ? again(cause) : undefined,
        );
      },
    });
    this.#open = open;
    try {
      let result: T;
      try {
        result = await work(open);
        await open.finish();
      } catch (cause) {
        throw await this.#abort(open, terms, open.failure ?? cause);
      }
      if (open.failure !== null) throw await this.#abort(open, terms, open.failure);
      this.#delivery.refuse(new TransactionUsageError("No transaction is open."));
      if (enrolment.isTouched) await this.#commit(terms);
      open.settle("committed");
      return result;
    } catch (cause) {
      open.settle(outcomeOf(cause));
      throw cause;
    } finally {
      this.#open = null;
    }
  }

  async #commit(terms: Terms): Promise<void> {
    const ending = await this.#coordinator.end(terms, true);
    switch (ending.kind) {
      case "done":
        this.#counts.committed++;
        // Before KIP-890 an attempt that comes late would end the next transaction, unless that has another epoch (P19).
        if (terms.version === 1 && ending.isInDoubt) this.#forget();
        else this.#goOn(terms, ending.identity);
        return;
      case "unanswered":
        throw this.#unknown(ending.cause);
      case "refused":
        throw await this.#explain(terms, ending);
      default:
        ending satisfies never;
    }
  }

  /** Why a commit was refused, and what became of the transaction. */
  async #explain(terms: Terms, { cause, isInDoubt }: Ending & { kind: "refused" }): Promise<Error> {
    if (isFencing(cause)) {
      // A coordinator that carried out the first attempt refuses the second only when another producer has come since.
      const found = await this.#findOut(isInDoubt ? "unknown" : "aborted", cause);
      if (found instanceof ProducerFencedError) return found;
      return isInDoubt && found === "unanswered" ? this.#unknown(cause) : this.#aborted(cause);
    }
    if (isCode(cause, ErrorCode.TRANSACTION_ABORTABLE)) await this.#endAborted(terms);
    else this.#forget();
    // These say in which state it is; others only why this attempt was refused, or not even that.
    const isTold = isCode(cause, ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.INVALID_TXN_STATE);
    const isRefused = !isInDoubt && !isCode(cause, ErrorCode.UNKNOWN_SERVER_ERROR);
    return isTold || isRefused ? this.#aborted(cause) : this.#unknown(cause);
  }

  /** Ends it, and returns what to tell. */
  async #abort(open: OpenTransaction, terms: Terms, cause: unknown): Promise<Error> {
    const isAborting = new TransactionUsageError("The transaction is being aborted.");
    open.fail(cause instanceof Error ? cause : new Error(String(cause)));
    await this.#delivery.abandon(isAborting);
    await open.finish();
    if (this.#enrolment?.isTouched === true) {
      const refusal = isFencing(cause) ? (cause as Error) : await this.#endAborted(terms);
      if (refusal !== null && isFencing(refusal)) {
        const found = await this.#findOut("aborted", refusal);
        if (found instanceof ProducerFencedError) return found;
      }
    }
    return this.#aborted(cause);
  }

  /** Returns why the coordinator did not abort it, as far as is known; it does so at the next registration. */
  async #endAborted(terms: Terms): Promise<Error | null> {
    const ending = await this.#coordinator.end(terms, false);
    if (ending.kind === "done" && terms.version === 2) {
      this.#goOn(terms, ending.identity);
      return null;
    }
    // Before KIP-890 the epoch stays, under which something may still be on its way.
    this.#forget();
    return ending.kind === "done" ? null : ending.cause;
  }

  /** Has another producer come, or did the broker abort by itself ("alone"), as it does after the time-out? */
  async #findOut(
    outcome: TransactionOutcome,
    cause: Error,
  ): Promise<ProducerFencedError | "alone" | "unanswered"> {
    this.#forget();
    if (this.#closing !== null) return "unanswered";
    try {
      await this.#register();
      return "alone";
    } catch (refusal) {
      if (!(refusal instanceof ProducerFencedError)) return "unanswered";
      this.#fenced = new ProducerFencedError(this.transactionalId, outcome, cause);
      return this.#fenced;
    }
  }

  #aborted(cause: unknown): TransactionAbortedError {
    this.#counts.aborted++;
    return new TransactionAbortedError(this.transactionalId, cause, mayBeRepeated(cause));
  }

  #unknown(cause: Error): TransactionUnknownError {
    this.#forget();
    // What this producer left open holds up readers until somebody takes the id over, and that may as well be itself.
    if (this.#closing === null) this.#register().catch(ignore);
    return new TransactionUnknownError(this.transactionalId, cause);
  }

  /** The next transaction goes under this identity. */
  #goOn({ version }: Terms, identity: Terms["identity"]): void {
    const { id, epoch } = this.#terms?.identity ?? { id: null, epoch: null };
    this.#isOther ||= identity.id !== id || identity.epoch !== epoch;
    this.#terms = { identity, version };
    this.#before = identity;
  }

  /** What the coordinator holds of this producer is not known any more. */
  #forget(): void {
    this.#before = this.#terms?.identity ?? this.#before;
    this.#terms = null;
  }

  #register(): Promise<void> {
    if (this.#terms !== null) return Promise.resolve();
    this.#registering ??= this.#takeOver().finally(() => {
      this.#registering = null;
    });
    return this.#registering;
  }

  async #takeOver(): Promise<void> {
    try {
      this.#terms = await this.#coordinator.register(this.#before);
    } catch (cause) {
      if (this.#before === null || !isFencing(cause)) throw cause;
      this.#fenced = new ProducerFencedError(this.transactionalId, "aborted", cause as Error);
      throw this.#fenced;
    }
    this.#before = this.#terms.identity;
    this.#isOther = true;
  }

  #refusal(): Error | null {
    if (this.#closing !== null) return new ClosedError(`The producer "${this.transactionalId}" was closed.`);
    return this.#fenced;
  }
}

const ignore = (): void => undefined;

/** What a rejection of `transaction` says of it. */
export function outcomeOf(cause: unknown): TransactionOutcome {
  return cause instanceof TransactionUnknownError || cause instanceof ProducerFencedError
    ? cause.outcome
    : "aborted";
}
