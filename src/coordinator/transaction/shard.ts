/**
 * The transactional ids whose state lies in one partition of `__transaction_state`, and every decision about
 * them. No I/O and no clock. Ending a transaction has two steps: the intention is a record (`prepared` tells
 * which those are), then somebody else writes the markers and says so (`completed`); a crash in between
 * leaves the intention, and the markers are written again. What is decided here is never decided otherwise
 * later: a transaction that is to be committed is not aborted, and an epoch never comes back.
 */
import { assert } from "../../base/assert.ts";
import {
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  producerEpoch,
  type ProducerEpoch,
  producerId,
  type ProducerId,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { DescribeTransactionsResponse } from "../../protocol/messages/describe-transactions.ts";
import { Deadlines } from "../deadlines.ts";
import type { Shard } from "../shard.ts";
import type { Listed, ListFilter } from "./listing.ts";
import { judgeEnd, judgeEndOfEpoch } from "./ending.ts";
import type { TransactionLogValue, TransactionRecord, TransactionTurn } from "./records.ts";
import type { TransactionSettings } from "./settings.ts";
import { completed, created, extended, prepared, replaced, restarted, restartedAgain } from "./steps.ts";
import {
  isSame,
  lastToldEpoch,
  type Outcome,
  partitionsBytes,
  type ProducerIdentity,
  Transaction,
  transactionBytes,
  type TransactionalClaim,
  type TransactionPartition,
} from "./transaction.ts";

export interface Init {
  readonly transactionalId: string;
  readonly timeoutMs: number;
  /** A producer that goes on after an error says who it is (KIP-360); null: one that starts. */
  readonly expected: ProducerIdentity | null;
  /** See `wantsProducerId`; null: none is at hand. */
  readonly freshProducerId: ProducerId | null;
}

/** Both −1 with an error. */
export interface Told extends ProducerIdentity {
  readonly errorCode: ErrorCode;
  /** The id that was brought along belongs to this producer now. */
  readonly tookFreshId: boolean;
}

export interface EndRequest {
  readonly outcome: Outcome;
  /** 2: EndTxn from version 5 on, which asks for the next epoch along with it (KIP-890); 0: older ones. */
  readonly clientVersion: 0 | 2;
  readonly freshProducerId: ProducerId | null;
}

/** A transaction that is at its end and whose markers have to be there before it is complete. */
export interface PreparedTransaction {
  readonly transactionalId: string;
  /** What its markers say. */
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly coordinatorEpoch: number;
  readonly outcome: Outcome;
  /** 2: no batch of this transaction has the epoch of its markers, so that a late one ends nothing else (KIP-1228). */
  readonly transactionVersion: number;
  /** One that is not there any more needs no marker. */
  readonly topics: NonNullable<TransactionLogValue["partitions"]>;
}

/** What DescribeTransactions tells of one id. */
export type Description = DescribeTransactionsResponse["transactionStates"][number];

/** So many ids are forgotten in one turn. */
const expiredMax = 1_000;

export class TransactionShard implements Shard<TransactionRecord> {
  readonly #settings: TransactionSettings;
  /** The leader epoch of its partition: markers carry it, so that an older coordinator's are refused. */
  readonly coordinatorEpoch: number;
  readonly #transactions = new Map<string, Transaction>();
  readonly #prepared = new Set<string>();
  /** Of open transactions. */
  readonly #deadlines = new Deadlines();
  /** Open since before the start: for how long, wall clock time tells. */
  readonly #inherited = new Set<string>();
  #bytes = 0;

  constructor(settings: TransactionSettings, coordinatorEpoch: number) {
    this.#settings = settings;
    this.coordinatorEpoch = coordinatorEpoch;
  }

  get transactionCount(): number {
    return this.#transactions.size;
  }
  /** About what all of it takes in memory. */
  get bytes(): number {
    return this.#bytes;
  }
  transaction(id: string): Transaction | undefined {
    return this.#transactions.get(id);
  }
  transactions(): Iterable<Transaction> {
    return this.#transactions.values();
  }

  // ── Records ──

  load(record: TransactionRecord): void {
    this.apply(record);
  }

  loaded(nowMs: number): void {
    for (const { id, isOpen } of this.#transactions.values()) {
      if (!isOpen) continue;
      this.#inherited.add(id);
      this.#deadlines.set(id, nowMs);
    }
  }

  apply({ key: { transactionalId: id }, value }: TransactionRecord): void {
    this.#bytes -= this.#transactions.get(id)?.bytes ?? 0;
    if (value === null) {
      this.#transactions.delete(id);
      this.#prepared.delete(id);
      return;
    }
    const transaction = new Transaction(id, value);
    this.#bytes += transaction.bytes;
    this.#transactions.set(id, transaction);
    if (transaction.isEnding) this.#prepared.add(id);
    else this.#prepared.delete(id);
  }

  #write(turn: TransactionTurn, id: string, value: TransactionLogValue): void {
    const wasOpen = this.#transactions.get(id)?.isOpen ?? false;
    turn.write({ kind: "transaction", key: { transactionalId: id }, value });
    const isOpen = this.#transactions.get(id)?.isOpen ?? false;
    if (isOpen === wasOpen) return;
    this.#inherited.delete(id);
    this.#deadlines.set(id, isOpen ? turn.monotonicMs + value.timeoutMs : Infinity);
  }

  // ── Who the producer is ──

  /** Whether the next `init` or `end` for it may need a producer id that nobody ever had. */
  wantsProducerId(transactionalId: string): boolean {
    return this.#transactions.get(transactionalId)?.isExhausted ?? true;
  }

  /**
   * Tells a producer its id and epoch; whoever had the same transactional id before it is fenced.
   * CONCURRENT_TRANSACTIONS: a transaction of its predecessor is being ended, by this very call perhaps (see
   * `prepared`). Once that is complete, it has to ask again.
   */
  init(turn: TransactionTurn, { transactionalId: id, timeoutMs, expected, freshProducerId }: Init): Told {
    if (id === "") return refusal(ErrorCode.INVALID_REQUEST);
    if (timeoutMs <= 0 || timeoutMs > this.#settings.timeoutMaxMs) {
      return refusal(ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    }
    const known = this.#transactions.get(id);
    if (known === undefined) {
      const mayBe = freshProducerId !== null && this.#settings.mayGrow(transactionBytes(id));
      // Clients ask again.
      if (!mayBe) return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE);
      return this.#tell(turn, id, created(freshProducerId, timeoutMs, turn.wallMs), true);
    }
    const isNow = expected === null || isSame(expected, known.value);
    const { former } = known;
    const isFormer = expected !== null && former !== null && isSame(expected, former);
    if (known.isEnding) {
      const { next, value } = known;
      const isNext = expected !== null && next !== null && isSame(expected, next);
      const isOther = expected !== null && !isNext && expected.producerId !== value.producerId;
      return refusal(isOther ? ErrorCode.PRODUCER_FENCED : ErrorCode.CONCURRENT_TRANSACTIONS);
    }
    if (!isNow && !isFormer) return refusal(ErrorCode.PRODUCER_FENCED);
    if (known.isOpen) {
      this.#fence(turn, known, freshProducerId);
      const tookFreshId = known.isExhausted && freshProducerId !== null;
      return { ...refusal(ErrorCode.CONCURRENT_TRANSACTIONS), tookFreshId };
    }
    if (isFormer && known.value.producerEpoch <= lastToldEpoch) {
      return this.#tell(turn, id, restartedAgain(known.value, timeoutMs, turn.wallMs), false);
    }
    if (known.isExhausted && freshProducerId === null) {
      return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    }
    const restart = {
      timeoutMs,
      goesOn: expected !== null,
      freshProducerId: known.isExhausted ? freshProducerId : null,
    };
    return this.#tell(turn, id, restarted(known.value, restart, turn.wallMs), known.isExhausted);
  }

  #tell(turn: TransactionTurn, id: string, value: TransactionLogValue, tookFreshId: boolean): Told {
    this.#write(turn, id, value);
    return told(value, tookFreshId);
  }

  /** Ends an open transaction over the head of its producer, which is in an old epoch from now on. */
  #fence(turn: TransactionTurn, { id, value }: Transaction, freshProducerId: ProducerId | null): void {
    const ending = { outcome: "abort", takesEpoch: true, freshProducerId } as const;
    this.#write(turn, id, prepared(value, ending, turn.wallMs));
  }

  // ── What belongs to a transaction ──

  /** Whether this partition is part of the open transaction of this producer: then nothing has to be written. */
  covers(claim: TransactionalClaim, partition: TransactionPartition): boolean {
    const known = this.#transactions.get(claim.transactionalId);
    return known?.isOpen === true && isSame(claim, known.value) && known.holds(partition);
  }

  /** AddPartitionsToTxn and AddOffsetsToTxn of clients that say beforehand what they will write to. */
  addPartitions(
    turn: TransactionTurn,
    claim: TransactionalClaim,
    partitions: readonly TransactionPartition[],
    clientVersion: 0 | 2 = 0,
  ): ErrorCode {
    const claimed = this.#claim(claim);
    if (!(claimed instanceof Transaction)) return claimed;
    const added = claimed.isOpen ? partitions.filter((each) => !claimed.holds(each)) : partitions;
    if (added.length === 0) return ErrorCode.NONE;
    if (!this.#settings.mayGrow(partitionsBytes(added))) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    this.#write(turn, claimed.id, extended(claimed, added, clientVersion, turn.wallMs));
    return ErrorCode.NONE;
  }

  /** The same without a request of its own: what is written to becomes part of the transaction (KIP-890). */
  admit(
    turn: TransactionTurn,
    claim: TransactionalClaim,
    partitions: readonly TransactionPartition[],
  ): ErrorCode {
    return this.addPartitions(turn, claim, partitions, 2);
  }

  /** Whether partitions are part of the transaction, one code each; of others nothing may be taken (KIP-890). */
  verify(claim: TransactionalClaim, partitions: readonly TransactionPartition[]): readonly ErrorCode[] {
    const claimed = this.#claim(claim);
    return partitions.map((each) => {
      if (!(claimed instanceof Transaction)) return claimed;
      return claimed.holds(each) ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE;
    });
  }

  #claim(claim: TransactionalClaim): Transaction | ErrorCode {
    if (claim.transactionalId === "") return ErrorCode.INVALID_REQUEST;
    const known = this.#transactions.get(claim.transactionalId);
    if (known === undefined) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    const { producerId, producerEpoch } = known.value;
    if (known.next !== null && isSame(claim, known.next)) return ErrorCode.CONCURRENT_TRANSACTIONS;
    if (claim.producerId !== producerId) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    // The epoch above the last one that is told only ever fences.
    if (claim.producerEpoch !== producerEpoch || producerEpoch > lastToldEpoch) {
      return ErrorCode.PRODUCER_FENCED;
    }
    return known.isEnding ? ErrorCode.CONCURRENT_TRANSACTIONS : known;
  }

  // ── Its end ──

  /**
   * The intention to commit or abort. With NONE the answer may leave once the intention is durable; id and
   * epoch are those with which the producer goes on. The markers are to be driven: see `prepared`.
   */
  end(turn: TransactionTurn, claim: TransactionalClaim, request: EndRequest): Told {
    const { outcome, clientVersion, freshProducerId } = request;
    if (claim.transactionalId === "") return refusal(ErrorCode.INVALID_REQUEST);
    const known = this.#transactions.get(claim.transactionalId);
    if (known === undefined) return refusal(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
    if (claim.producerEpoch > lastToldEpoch) return refusal(ErrorCode.PRODUCER_FENCED);
    const takesEpoch = clientVersion >= 2;
    const verdict = (takesEpoch ? judgeEndOfEpoch : judgeEnd)(known, claim, outcome);
    switch (verdict.kind) {
      case "refused":
        return refusal(verdict.errorCode);
      case "ended":
        return this.#tellAgain(turn, known, freshProducerId);
      case "end": {
        if (takesEpoch && known.isExhausted && freshProducerId === null) {
          return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE);
        }
        const ending = { outcome, takesEpoch, freshProducerId };
        const intended = prepared(known.value, ending, turn.wallMs);
        const done = completed(intended, turn.wallMs);
        // Where nothing was added there is nothing to mark.
        this.#write(turn, known.id, known.isOpen ? intended : done);
        return told(done, done.producerId === freshProducerId);
      }
      default:
        return verdict satisfies never;
    }
  }

  /** The answer to an end that was not heard. An epoch that only fences is not told: another producer id is. */
  #tellAgain(turn: TransactionTurn, { id, value }: Transaction, freshProducerId: ProducerId | null): Told {
    if (value.producerEpoch <= lastToldEpoch) return told(value, false);
    if (freshProducerId === null) return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    return this.#tell(turn, id, replaced(value, freshProducerId, turn.wallMs), true);
  }

  /** Transactions whose markers are to be written, then `completed`; after a start, too. */
  prepared(): readonly PreparedTransaction[] {
    return Array.from(this.#prepared, (id) => this.#markersOf(this.#transactions.get(id)));
  }

  /** Null: it is not at its end. */
  preparedOf(transactionalId: string): PreparedTransaction | null {
    const known = this.#transactions.get(transactionalId);
    return known?.isEnding === true ? this.#markersOf(known) : null;
  }

  #markersOf(known: Transaction | undefined): PreparedTransaction {
    assert(known?.isEnding === true, "only a transaction at its end wants markers");
    const { producerId, producerEpoch, partitions, clientVersion } = known.value;
    return {
      transactionalId: known.id,
      producerId,
      producerEpoch,
      coordinatorEpoch: this.coordinatorEpoch,
      outcome: known.state === "PrepareCommit" ? "commit" : "abort",
      transactionVersion: clientVersion,
      topics: partitions ?? [],
    };
  }

  /** All of its markers are in their logs before what this writes. */
  completed(turn: TransactionTurn, transactionalId: string): void {
    const known = this.#transactions.get(transactionalId);
    assert(known?.isEnding === true, "only a transaction at its end is completed");
    this.#write(turn, known.id, completed(known.value, turn.wallMs));
  }

  // ── What is told of it ──

  describe(transactionalId: string): Description {
    if (transactionalId === "") return undescribed(transactionalId, ErrorCode.INVALID_REQUEST);
    const known = this.#transactions.get(transactionalId);
    if (known === undefined) return undescribed(transactionalId, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
    const { producerId, producerEpoch, timeoutMs, startedMs, partitions } = known.value;
    return {
      errorCode: ErrorCode.NONE,
      transactionalId,
      transactionState: known.state,
      transactionTimeoutMs: timeoutMs,
      transactionStartTimeMs: startedMs,
      producerId,
      producerEpoch,
      topics: (partitions ?? []).map(({ topic, partitionIds }) => ({ topic, partitions: partitionIds })),
    };
  }

  /** Of all ids together: what a pattern has to look at. */
  get idCharacters(): number {
    let count = 0;
    for (const id of this.#transactions.keys()) count += id.length;
    return count;
  }

  list(filter: ListFilter, wallMs: number): readonly Listed[] {
    const listed: Listed[] = [];
    for (const each of this.#transactions.values()) {
      if (!filter.accepts(each, wallMs)) continue;
      const { id: transactionalId, state: transactionState } = each;
      listed.push({ transactionalId, producerId: each.value.producerId, transactionState });
    }
    return listed;
  }

  // ── Time ──

  /** Monotonic ms; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    return this.#deadlines.nextMs;
  }

  /** Aborts what is open for longer than its producer said: nobody reads past it (`prepared` tells whose markers are due). */
  onTime(turn: TransactionTurn): void {
    for (const id of this.#deadlines.due(turn.monotonicMs)) {
      const known = this.#transactions.get(id);
      if (known?.isOpen !== true) continue;
      const leftMs = this.#inherited.delete(id) ? inheritedMs(known.value, turn.wallMs) : 0;
      if (leftMs > 0) this.#deadlines.set(id, turn.monotonicMs + leftMs);
      else this.#fence(turn, known, null);
    }
  }

  /** Nobody waits here. */
  dismiss(_turn: TransactionTurn): void {}

  /** Forgets ids that nobody used for `transactional.id.expiration.ms`. Returns whether there may be more. */
  expire(turn: TransactionTurn): boolean {
    let count = 0;
    for (const { id, value, isOpen, isEnding } of this.#transactions.values()) {
      if (isOpen || isEnding || turn.wallMs - value.updatedMs < this.#settings.idExpirationMs) continue;
      turn.write({ kind: "transaction", key: { transactionalId: id }, value: null });
      if (++count === expiredMax) return true;
    }
    return false;
  }
}

/** How much longer it may stay open after a restart: not longer than a new one, whatever the clock says. */
function inheritedMs({ startedMs, timeoutMs }: TransactionLogValue, wallMs: number): number {
  return Math.min(startedMs + timeoutMs - wallMs, timeoutMs);
}

function told({ producerId, producerEpoch }: TransactionLogValue, tookFreshId: boolean): Told {
  return { errorCode: ErrorCode.NONE, producerId, producerEpoch, tookFreshId };
}

/** Nothing is told of it. */
export function undescribed(transactionalId: string, errorCode: ErrorCode): Description {
  return {
    errorCode,
    transactionalId,
    transactionState: "",
    transactionTimeoutMs: 0,
    transactionStartTimeMs: 0,
    producerId: producerId(0),
    producerEpoch: producerEpoch(0),
    topics: [],
  };
}

function refusal(errorCode: ErrorCode): Told {
  return { errorCode, producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH, tookFreshId: false };
}
