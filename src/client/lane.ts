/**
 * One partition as a producer sees it: batches in the order in which they must be written, those on their
 * way, and the sequence by which the broker knows a retry from something new (KIP-98, KIP-360). Pure
 * bookkeeping, synchronous throughout. It promises:
 * - batches are sent, and sent again, in their order: after any doubt or refusal nothing is sent until all
 *   that was on its way came back, and then it begins with the oldest;
 * - a batch whose fate is unknown keeps producer id, epoch and sequence in every further attempt, so the
 *   broker tells a duplicate; it never gets another sequence, since that could write it twice;
 * - the epoch is raised, and sequences begin again at 0, only with batches that are known not to be written.
 *   What is in doubt then is given up as "unknown". The new epoch fences what old attempts may still bring.
 */
import { assert } from "../base/assert.ts";
import {
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  type ProducerEpoch,
  producerEpoch,
  type ProducerId,
} from "../base/ids.ts";
import { advanceSequence } from "../record/batch.ts";
import type { Batch } from "./batch.ts";

export interface Identity {
  readonly id: ProducerId;
  readonly epoch: ProducerEpoch;
}

const epochMax = 0x7fff;
const sequenceSpace = 0x8000_0000;

export class Lane {
  readonly topic: string;
  readonly partition: number;
  /** Not on their way, oldest first; those that have a sequence stand before those that have none. */
  readonly waiting: Batch[] = [];
  /** On their way, oldest first. */
  readonly inFlight: Batch[] = [];
  /** Acknowledged while one before them is not settled; in their order. */
  readonly early: Batch[] = [];
  /** The broker that `inFlight` went to. */
  flightNode = -1;
  /** In the queue of a broker already. */
  queued = false;
  /** The open batch may go although it is not full. */
  due = false;
  /** Size of the batch before, a guess for the next. */
  sizeHint = 0;
  /** Failed attempts in a row, and the time before which there is none; on the monotonic clock. */
  failures = 0;
  pausedUntilMs = 0;
  #identity: Identity | null = null;
  #nextSequence = 0;
  /** Nothing is sent before all that is on its way came back. */
  #rewinding = false;
  /** The sequence is broken with nothing in doubt: begin a new epoch before anything is sent. */
  #breaks = false;
  #staleId: ProducerId | null = null;

  constructor(topic: string, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  /** The batch that takes records, if there is one. */
  get open(): Batch | null {
    const last = this.waiting.at(-1);
    return last === undefined || last.closed ? null : last;
  }

  /** The batch to send next, if one may be sent now as far as this partition is concerned. */
  next(inFlightMax: number): Batch | null {
    const head = this.waiting[0];
    if (head === undefined || this.inFlight.length >= inFlightMax) return null;
    if (this.#rewinding && this.inFlight.length > 0) return null;
    if (!head.closed && !this.due && this.waiting.length === 1) return null;
    return head;
  }

  /**
   * Takes the batch that `next` gave and puts it on its way; gives it its sequence if it has none.
   * `identity` null: without idempotence.
   */
  depart(identity: Identity | null, node: number): void {
    const batch = this.waiting.shift() as Batch;
    if (this.inFlight.length === 0) this.#rewinding = false;
    this.flightNode = node;
    if (this.waiting.length === 0) this.due = false;
    if (identity === null) batch.stamp(NO_PRODUCER, NO_PRODUCER_EPOCH, -1);
    else if (batch.sequence < 0) {
      this.#identity ??= identity;
      batch.stamp(this.#identity.id, this.#identity.epoch, this.#nextSequence);
      this.#nextSequence = advanceSequence(this.#nextSequence, batch.recordCount);
    }
    batch.attempts++;
    this.inFlight.push(batch);
  }

  /** It came back and will not be sent again. */
  arrive(batch: Batch): void {
    this.inFlight.splice(this.inFlight.indexOf(batch), 1);
  }

  /** It came back and is to be sent again, at its place. */
  comeBack(batch: Batch): void {
    this.arrive(batch);
    this.#rewinding = true;
    this.#insert(batch);
  }

  /** Puts the halves of a batch that came back in its place. The sequence of those behind stays true. */
  replace(batch: Batch, halves: readonly Batch[]): void {
    this.arrive(batch);
    this.#rewinding = true;
    let sequence = batch.sequence;
    for (const half of halves) {
      if (sequence >= 0 && this.#identity !== null) {
        half.stamp(this.#identity.id, this.#identity.epoch, sequence);
        sequence = advanceSequence(sequence, half.recordCount);
      }
    }
    const at = this.#placeOf(batch);
    this.waiting.splice(at, 0, ...halves);
  }

  /** It is given up while it waits. */
  drop(batch: Batch): void {
    const at = this.waiting.indexOf(batch);
    if (at >= 0) this.waiting.splice(at, 1);
  }

  /** Whether every batch before this one has been acknowledged or given up. */
  isOldest(batch: Batch): boolean {
    if (this.inFlight[0] !== batch) return false;
    const head = this.waiting[0];
    return head === undefined || head.sequence < 0 || isBefore(batch.sequence, head.sequence);
  }

  /** Whether a batch that may have got earlier offsets is still to be settled. */
  hasUnsettledBefore(batch: Batch): boolean {
    const isEarlier = (other: Batch): boolean =>
      other.sequence >= 0 && isBefore(other.sequence, batch.sequence);
    const head = this.waiting[0];
    if (head !== undefined && isEarlier(head)) return true;
    return this.inFlight.some((other) => !other.settled && isEarlier(other));
  }

  /** Begins at sequence 0 under the identity that comes next; nothing may wait or be on its way. */
  restart(): void {
    assert(this.waiting.length === 0 && this.inFlight.length === 0, "a lane restarts when it is empty");
    this.#identity = null;
    this.#nextSequence = 0;
    this.#rewinding = false;
    this.#breaks = false;
    this.#staleId = null;
    this.failures = 0;
    this.pausedUntilMs = 0;
  }

  /** The broker does not go on from this sequence. `stale`: nor from any epoch of this producer id. */
  breakSequence(stale = false): void {
    this.#breaks = true;
    if (stale) this.#staleId = this.#identity?.id ?? null;
  }

  /** To be mended with `beginEpoch` before anything is sent. */
  get breaks(): boolean {
    return this.#breaks && this.inFlight.length === 0;
  }

  /**
   * Begins a new epoch. Returns the batches in doubt, which are taken out: to send them under other
   * sequences could write them twice. Null: nothing was done, since another producer id is needed.
   */
  beginEpoch(identity: Identity): readonly Batch[] | null {
    const current = this.#identity ?? identity;
    if (current.id !== identity.id) this.#identity = identity;
    else if (current.epoch < epochMax && current.id !== this.#staleId) {
      this.#identity = { id: current.id, epoch: producerEpoch(current.epoch + 1) };
    } else return null;
    const inDoubt = this.waiting.filter((batch) => batch.inDoubt);
    for (const batch of inDoubt) this.drop(batch);
    for (const batch of this.waiting) batch.sequence = -1;
    this.#breaks = false;
    this.#staleId = null;
    this.#nextSequence = 0;
    return inDoubt;
  }

  #insert(batch: Batch): void {
    this.waiting.splice(this.#placeOf(batch), 0, batch);
  }

  #placeOf(batch: Batch): number {
    let at = 0;
    if (batch.sequence < 0) return at;
    for (; at < this.waiting.length; at++) {
      const other = (this.waiting[at] as Batch).sequence;
      if (other < 0 || isBefore(batch.sequence, other)) break;
    }
    return at;
  }
}

/** Sequences wrap; those of one partition that are not acknowledged lie close together. */
function isBefore(a: number, b: number): boolean {
  return (b - a + sequenceSpace) % sequenceSpace < sequenceSpace / 2 && a !== b;
}
