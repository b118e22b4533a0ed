/**
 * What one partition remembers of its idempotent producers (KIP-98, KIP-360): enough to answer a retry
 * with its first offset, to refuse a gap, and to fence an older epoch. `check` judges and changes
 * nothing; `apply` takes an appended entry and never refuses, so that replaying the log gives exactly the
 * state that the live broker had. A producer's transaction is open from its first transactional batch to
 * its marker, and who has one open is never forgotten. It never knows the clock: producers expire by
 * recorded append times.
 * State and batch travel in one WAL entry (I4); a state that ran ahead of its batch would answer a retry
 * of a lost batch as a duplicate, and that is a lost message.
 */
import { type Offset, type ProducerEpoch, type ProducerId, offset } from "../base/ids.ts";
import { advanceSequence } from "../record/batch.ts";
import type { FooterState, ProducerSnapshot } from "./segment-format.ts";

/** Batches per producer whose first answer is remembered. Clients have at most 5 requests in flight. */
export const batchesRemembered = 5;
/** Over this bound the producer that was silent longest is forgotten; its next batch is told so. */
export const producersMaxDefault = 10_000;
/** Kafka's default of `producer.id.expiration.ms`. */
export const producerExpirationMsDefault = 86_400_000;

/** Sequence numbers run from 0 to 2^31 − 1 and then begin again. */
const sequenceSpace = 0x8000_0000;
/** Further back than this a sequence number could as well lie ahead, so nothing is claimed about it. */
const provableDistanceMax = 2 ** 30;

/** How a transaction ends. */
export type TransactionEnd = "commit" | "abort";

/** What a control batch that ends a transaction says. */
export interface Marker {
  readonly outcome: TransactionEnd;
  /** Of the coordinator that decided; a later one fences it. */
  readonly coordinatorEpoch: number;
}

/** The part of an appended entry that matters here. */
export interface SequencedEntry {
  readonly baseOffset: Offset;
  readonly count: number;
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  /** −1: without sequence numbers (a marker, or no producer at all). */
  readonly sequence: number;
  readonly isTransactional: boolean;
  /** Null: data. */
  readonly marker: Marker | null;
  readonly appendedMs: number;
  /** −1 with CreateTime. */
  readonly logAppendTimeMs: number;
  readonly walNumber: number;
}

/** A remembered batch. Owned by the state, which reuses the object: take what is needed at once. */
export interface RememberedBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: Offset;
  readonly lastOffset: Offset;
  readonly logAppendTimeMs: number;
  /** 0 after a restart: what was recovered is durable. */
  readonly walNumber: number;
}

export type SequenceVerdict =
  | { readonly kind: "next" }
  | { readonly kind: "duplicate"; readonly batch: RememberedBatch }
  | { readonly kind: "duplicate-sequence" }
  | { readonly kind: "out-of-order-sequence"; readonly expected: number }
  | { readonly kind: "unknown-producer" }
  | { readonly kind: "stale-producer-epoch"; readonly current: ProducerEpoch }
  /** Not part of a transaction, while the producer has one open. */
  | { readonly kind: "invalid-transaction-state" };

export type MarkerVerdict =
  | { readonly kind: "next" }
  | { readonly kind: "stale-producer-epoch"; readonly current: ProducerEpoch }
  /** A later coordinator has written a marker of this producer. */
  | { readonly kind: "coordinator-fenced" };

/** What `apply` did to a transaction. */
export type TransactionChange =
  | { readonly kind: "opened" }
  /** `from`: first offset of the transaction that ended. */
  | { readonly kind: "ended"; readonly from: Offset; readonly outcome: TransactionEnd };

/** A producer as DescribeProducers shows it (KIP-664). */
export interface ActiveProducer {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  /** −1: none is remembered. */
  readonly lastSequence: number;
  /** When its newest batch was appended, ms since 1970. */
  readonly lastTimestampMs: number;
  /** Of the coordinator that wrote its last marker; −1: none did. */
  readonly coordinatorEpoch: number;
  /** First offset of its open transaction; −1: none is open. */
  readonly openFrom: Offset;
}

const NEXT = { kind: "next" } as const;
const UNKNOWN: SequenceVerdict = { kind: "unknown-producer" };
const OLD_DUPLICATE: SequenceVerdict = { kind: "duplicate-sequence" };
const OPEN_TRANSACTION: SequenceVerdict = { kind: "invalid-transaction-state" };
const FENCED: MarkerVerdict = { kind: "coordinator-fenced" };
const OPENED: TransactionChange = { kind: "opened" };

const NO_OFFSET = offset(-1);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type MutableBatch = Mutable<RememberedBatch>;

/** One producer as it stands now. */
export interface ProducerFacts {
  readonly epoch: ProducerEpoch;
  /** Of the coordinator that wrote its last marker; −1: none did. */
  readonly coordinatorEpoch: number;
  /** When it last wrote, ms since 1970. */
  readonly lastMs: number;
  /** First offset of the open transaction; −1: none. */
  readonly openFrom: Offset;
  /** Those of this process, and not part of the state: only whether it is the same number as before means something. */
  readonly markers: number;
}

interface Producer extends Mutable<ProducerFacts> {
  readonly id: ProducerId;
  /** Sequence numbers that this epoch was given without a gap, up to the newest. */
  sequenceCount: number;
  /** Oldest first, at most `batchesRemembered`. */
  readonly batches: MutableBatch[];
  /** Neighbours in the order of their newest batches. */
  older: Producer | null;
  newer: Producer | null;
}

/** The default bounds are those of the constants above. */
export interface ProducerBounds {
  readonly producersMax?: number;
  readonly expirationMs?: number;
}

export class ProducerState {
  readonly #producersMax: number;
  readonly #expirationMs: number;
  readonly #producers = new Map<ProducerId, Producer>();
  #oldest: Producer | null = null;
  #newest: Producer | null = null;
  /** The latest append time that was recorded: the only clock here. Never goes back. */
  #recordedMs = 0;

  constructor(bounds: ProducerBounds = {}) {
    this.#producersMax = bounds.producersMax ?? producersMaxDefault;
    this.#expirationMs = bounds.expirationMs ?? producerExpirationMsDefault;
  }

  static restore(state: Pick<FooterState, "recordedMs" | "producers">, bounds: ProducerBounds = {}) {
    const restored = new ProducerState(bounds);
    restored.#recordedMs = state.recordedMs;
    for (const snapshot of state.producers) restored.#append(fromSnapshot(snapshot));
    return restored;
  }

  get size(): number {
    return this.#producers.size;
  }
  get recordedMs(): number {
    return this.#recordedMs;
  }

  /**
   * Whether a batch of `count` records may be appended at `nowMs`.
   *
   * Nothing is known of the producer and the sequence is not 0: refused as unknown. Kafka 4.x takes any
   * sequence there from a producer without transactions, and refuses it from one with them (KIP-890).
   * Refusing everybody is the choice that loses nothing: an accepted batch may be the second of a new
   * producer whose first was refused a moment ago, and the retry of the first would then come too late;
   * or the retry of a batch whose state has expired, and would be stored twice. Clients answer the
   * refusal with a new epoch and sequence 0 and send again what is not acknowledged (KIP-360).
   *
   * A batch older than those remembered: Kafka says out of order, here it is a duplicate when every
   * sequence number of it certainly was taken, else out of order.
   */
  check(
    id: ProducerId,
    epoch: ProducerEpoch,
    sequence: number,
    count: number,
    nowMs: number,
    isTransactional = false,
  ): SequenceVerdict {
    const producer = this.#producers.get(id);
    if (producer === undefined || this.#isExpired(producer, nowMs)) {
      return sequence <= 0 ? NEXT : UNKNOWN;
    }
    const verdict = checkSequence(producer, epoch, sequence, count);
    const isOutside = producer.openFrom >= 0 && !isTransactional;
    return isOutside && verdict.kind === "next" ? OPEN_TRANSACTION : verdict;
  }

  /**
   * Whether a marker may be appended. One for a producer without an open transaction may: a coordinator that
   * does not know whether its marker arrived writes it again.
   */
  checkMarker(
    id: ProducerId,
    epoch: ProducerEpoch,
    coordinatorEpoch: number,
    transactionVersion = 0,
  ): MarkerVerdict {
    const producer = this.#producers.get(id);
    if (producer === undefined) return NEXT;
    const isLate = transactionVersion >= 2 && epoch === producer.epoch && producer.openFrom >= 0;
    if (epoch < producer.epoch || isLate) return { kind: "stale-producer-epoch", current: producer.epoch };
    return coordinatorEpoch < producer.coordinatorEpoch ? FENCED : NEXT;
  }

  /** What is known of a producer; undefined: nothing. Owned by the state: take what is needed at once. */
  facts(id: ProducerId): ProducerFacts | undefined {
    return this.#producers.get(id);
  }

  /** All that is remembered, in the order of the newest batches. */
  *active(): Generator<ActiveProducer, void, void> {
    for (let next = this.#oldest; next !== null; next = next.newer) {
      yield {
        producerId: next.id,
        producerEpoch: next.epoch,
        lastSequence: next.batches.at(-1)?.lastSequence ?? -1,
        lastTimestampMs: next.lastMs,
        coordinatorEpoch: next.coordinatorEpoch,
        openFrom: next.openFrom,
      };
    }
  }

  /**
   * Takes an entry that is in the log, in log order. Entries without a producer count as well: they move the
   * time. Returns what it did to a transaction, null: nothing.
   */
  apply(entry: SequencedEntry): TransactionChange | null {
    if (entry.appendedMs > this.#recordedMs) this.#recordedMs = entry.appendedMs;
    this.#expire();
    if (entry.producerId < 0) return null;
    const producer = this.#touch(entry.producerId);
    if (producer.epoch !== entry.producerEpoch) {
      producer.epoch = entry.producerEpoch;
      producer.batches.length = 0;
      producer.sequenceCount = 0;
    }
    if (entry.sequence >= 0) remember(producer, entry);
    return entry.isTransactional ? advanceTransaction(producer, entry) : null;
  }

  #isExpired(producer: Producer, nowMs: number): boolean {
    return producer.openFrom < 0 && nowMs - producer.lastMs > this.#expirationMs;
  }

  #expire(): void {
    let next = this.#oldest;
    while (next !== null && this.#recordedMs - next.lastMs > this.#expirationMs) {
      const producer = next;
      next = producer.newer;
      if (producer.openFrom < 0) this.#remove(producer);
    }
  }

  /** The producer, known or new, as the one with the newest batch. */
  #touch(id: ProducerId): Producer {
    let producer = this.#producers.get(id);
    if (producer === undefined) {
      producer = {
        id,
        epoch: -1 as ProducerEpoch,
        coordinatorEpoch: -1,
        lastMs: this.#recordedMs,
        sequenceCount: 0,
        openFrom: NO_OFFSET,
        markers: 0,
        batches: [],
        older: null,
        newer: null,
      };
      this.#append(producer);
      this.#evict();
    } else {
      producer.lastMs = this.#recordedMs;
      if (producer !== this.#newest) {
        this.#unlink(producer);
        this.#link(producer);
      }
    }
    return producer;
  }

  #append(producer: Producer): void {
    this.#producers.set(producer.id, producer);
    this.#link(producer);
  }

  #evict(): void {
    let next = this.#oldest;
    while (this.#producers.size > this.#producersMax && next !== null && next !== this.#newest) {
      const producer = next;
      next = producer.newer;
      if (producer.openFrom < 0) this.#remove(producer);
    }
  }

  #remove(producer: Producer): void {
    this.#producers.delete(producer.id);
    this.#unlink(producer);
  }

  #link(producer: Producer): void {
    producer.older = this.#newest;
    producer.newer = null;
    if (this.#newest === null) this.#oldest = producer;
    else this.#newest.newer = producer;
    this.#newest = producer;
  }

  #unlink(producer: Producer): void {
    if (producer.older === null) this.#oldest = producer.newer;
    else producer.older.newer = producer.newer;
    if (producer.newer === null) this.#newest = producer.older;
    else producer.newer.older = producer.older;
  }

  /** For a segment's footer; in the order of the newest batches, so that equal states give equal bytes. */
  snapshot(): ProducerSnapshot[] {
    const snapshots: ProducerSnapshot[] = [];
    for (let next = this.#oldest; next !== null; next = next.newer) snapshots.push(toSnapshot(next));
    return snapshots;
  }

  /** A copy that shares nothing. */
  clone(): ProducerState {
    const copy = new ProducerState({ producersMax: this.#producersMax, expirationMs: this.#expirationMs });
    copy.#recordedMs = this.#recordedMs;
    for (let next = this.#oldest; next !== null; next = next.newer) {
      copy.#append({
        ...next,
        batches: next.batches.map((batch) => ({ ...batch })),
        older: null,
        newer: null,
      });
    }
    return copy;
  }
}

function checkSequence(
  producer: Producer,
  epoch: ProducerEpoch,
  sequence: number,
  count: number,
): SequenceVerdict {
  if (epoch < producer.epoch) return { kind: "stale-producer-epoch", current: producer.epoch };
  if (sequence < 0) return NEXT;
  if (epoch > producer.epoch) return expect(0, sequence);
  const newest = producer.batches.at(-1);
  if (newest === undefined) return expect(0, sequence);
  const expected = advanceSequence(newest.lastSequence, 1);
  if (sequence === expected) return NEXT;
  const lastSequence = advanceSequence(sequence, count - 1);
  for (const batch of producer.batches) {
    if (batch.firstSequence === sequence && batch.lastSequence === lastSequence) {
      return { kind: "duplicate", batch };
    }
  }
  const remembered = distanceBack(expected, (producer.batches[0] as MutableBatch).firstSequence);
  const back = distanceBack(expected, sequence);
  const wasTaken = back <= Math.min(producer.sequenceCount, provableDistanceMax);
  if (wasTaken && back - count >= remembered) return OLD_DUPLICATE;
  return { kind: "out-of-order-sequence", expected };
}

function advanceTransaction(producer: Producer, entry: SequencedEntry): TransactionChange | null {
  const from = producer.openFrom;
  if (entry.marker === null) {
    if (from >= 0) return null;
    producer.openFrom = entry.baseOffset;
    return OPENED;
  }
  producer.coordinatorEpoch = entry.marker.coordinatorEpoch;
  producer.markers++;
  producer.openFrom = NO_OFFSET;
  return from < 0 ? null : { kind: "ended", from, outcome: entry.marker.outcome };
}

function expect(expected: number, sequence: number): SequenceVerdict {
  return sequence === expected ? NEXT : { kind: "out-of-order-sequence", expected };
}

/** How far `sequence` lies before `expected`, 0 … 2^31 − 1. */
function distanceBack(expected: number, sequence: number): number {
  return (expected - sequence + sequenceSpace) % sequenceSpace;
}

function remember(producer: Producer, entry: SequencedEntry): void {
  const batches = producer.batches;
  const newest = batches.at(-1);
  if (newest !== undefined && advanceSequence(newest.lastSequence, 1) !== entry.sequence) {
    // A gap in what was logged: nothing before it proves anything about what comes after it.
    batches.length = 0;
    producer.sequenceCount = 0;
  }
  producer.sequenceCount = Math.min(producer.sequenceCount + entry.count, sequenceSpace - 1);
  const batch = batches.length < batchesRemembered ? ({} as MutableBatch) : (batches.shift() as MutableBatch);
  batch.firstSequence = entry.sequence;
  batch.lastSequence = advanceSequence(entry.sequence, entry.count - 1);
  batch.baseOffset = entry.baseOffset;
  batch.lastOffset = offset(entry.baseOffset + entry.count - 1);
  batch.logAppendTimeMs = entry.logAppendTimeMs;
  batch.walNumber = entry.walNumber;
  batches.push(batch);
}

function toSnapshot(producer: Producer): ProducerSnapshot {
  return {
    producerId: producer.id,
    producerEpoch: producer.epoch,
    coordinatorEpoch: producer.coordinatorEpoch,
    lastTimestampMs: producer.lastMs,
    sequenceCount: producer.sequenceCount,
    openFrom: producer.openFrom,
    batches: producer.batches.map((batch) => ({
      firstSequence: batch.firstSequence,
      lastSequence: batch.lastSequence,
      baseOffset: batch.baseOffset,
      lastOffset: batch.lastOffset,
      timestampMs: batch.logAppendTimeMs,
    })),
  };
}

function fromSnapshot(snapshot: ProducerSnapshot): Producer {
  return {
    id: snapshot.producerId,
    epoch: snapshot.producerEpoch,
    coordinatorEpoch: snapshot.coordinatorEpoch,
    lastMs: snapshot.lastTimestampMs,
    sequenceCount: snapshot.sequenceCount,
    openFrom: snapshot.openFrom,
    markers: 0,
    batches: snapshot.batches.map((batch) => ({
      firstSequence: batch.firstSequence,
      lastSequence: batch.lastSequence,
      baseOffset: batch.baseOffset,
      lastOffset: batch.lastOffset,
      logAppendTimeMs: batch.timestampMs,
      walNumber: 0,
    })),
    older: null,
    newer: null,
  };
}
