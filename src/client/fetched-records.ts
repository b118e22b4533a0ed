/**
 * What one fetch answer holds of one partition, handed out record by record. Batches are checked and
 * inflated when they are reached, one at a time, so what waits here waits compressed. Control records,
 * records below the asked offset, records of aborted transactions (KIP-98) and what lies behind a stop
 * are passed over; damage is an error that names its offset and comes again until the reader moves.
 */
import { MalformedError } from "../base/errors.ts";
import { type LeaderEpoch, leaderEpoch, type Offset, offset, type ProducerId } from "../base/ids.ts";
import { type BatchView, wholeBatchesIn } from "../record/batch.ts";
import { InflationError } from "../record/errors.ts";
import { inflatedPayload, RecordCursor } from "../record/record.ts";
import { DamagedRecordsError } from "./consumer-errors.ts";
import { IncomingRecord } from "./incoming-record.ts";

/** A batch that inflates to more is refused as damaged: it would take the process's memory. */
export const inflatedBytesMax = 256 * 1024 * 1024;

export interface AbortedTransaction {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
}

export interface FetchedFacts {
  readonly topic: string;
  readonly partition: number;
  /** What was asked for: earlier records of the first batch are dropped. */
  readonly from: Offset;
  /** Exclusive; `Infinity`: none. */
  readonly stopAt: number;
  /** In the order of their first offsets; null: everything is handed out, as for "uncommitted". */
  readonly aborted: readonly AbortedTransaction[] | null;
  readonly onDamage: "error" | "skip";
  /** Told of each range [from, to) that `onDamage: "skip"` passed over. */
  readonly onSkipped: (from: number, to: number) => void;
}

export class FetchedRecords {
  readonly #facts: FetchedFacts;
  readonly #batches: readonly BatchView[];
  /** Behind the last whole batch; where to fetch next. `from` when there is none. */
  readonly end: Offset;
  /** Of the last batch; −1 when there is none. */
  readonly lastEpoch: LeaderEpoch;
  readonly #abortedNow = new Set<ProducerId>();
  #abortedIndex = 0;
  #index = -1;
  #batch: BatchView | undefined = undefined;
  /** Behind the last offset of the batch: its own word once the checksum is known to be right. */
  #batchEnd = 0;
  /** Where the batch before it ended. */
  #passedEnd = 0;
  #cursor: RecordCursor | undefined = undefined;
  #payload: Buffer = emptyPayload;
  #baseOffset = 0;
  #baseTimestamp = 0;
  /** Of every record of the batch, with log append time; `undefined`: each has its own. */
  #batchTimestamp: number | undefined = undefined;
  /** The next offset to hand out; everything below was handed out or passed over. */
  position: Offset;
  /** Of the batch of the last record handed out or passed over; −1: none yet. */
  epoch: LeaderEpoch = leaderEpoch(-1);

  /** Throws `DamagedRecordsError` when not even the borders of the batches can be found. */
  constructor(chunks: readonly Uint8Array[], facts: FetchedFacts) {
    this.#facts = facts;
    this.position = facts.from;
    const batches: BatchView[] = [];
    try {
      for (const chunk of chunks) batches.push(...wholeBatchesIn(chunk));
    } catch (cause) {
      // What lies before the damage is still handed out; the next fetch begins at the damage and ends up here.
      if (batches.length === 0) throw this.#damage(facts.from, cause);
    }
    this.#batches = batches;
    const last = batches.at(-1);
    this.end = last === undefined ? facts.from : last.nextOffset;
    this.lastEpoch = last === undefined ? leaderEpoch(-1) : last.leaderEpoch;
    // A fetch that cannot advance would be repeated for ever.
    if (last !== undefined && this.end <= facts.from) {
      throw this.#damage(facts.from, new MalformedError(`the broker sent a batch that ends at ${this.end}`));
    }
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** `undefined` behind the last one. Throws `DamagedRecordsError`, each time it is called. */
  next(): IncomingRecord | undefined {
    for (;;) {
      const cursor = this.#cursor;
      if (cursor === undefined) {
        if (!this.#openNext()) return undefined;
        continue;
      }
      if (!this.#step(cursor)) {
        this.#closeBatch();
        continue;
      }
      const at = this.#baseOffset + cursor.offsetDelta;
      if (at < this.position) continue;
      if (at >= this.#facts.stopAt) {
        this.#finish();
        return undefined;
      }
      this.position = offset(at + 1);
      const timestampMs = this.#batchTimestamp ?? this.#baseTimestamp + cursor.timestampDelta;
      const { topic, partition } = this.#facts;
      return new IncomingRecord(topic, partition, { offset: offset(at), timestampMs }, this.#payload, cursor);
    }
  }

  /** Whether the next record begins another stored batch: the place to stop when collecting whole ones. */
  get isBetweenBatches(): boolean {
    return this.#cursor === undefined || this.#cursor.index === this.#cursor.count - 1;
  }

  #step(cursor: RecordCursor): boolean {
    try {
      return cursor.next();
    } catch (cause) {
      this.#passDamage(cause);
      return false;
    }
  }

  #openNext(): boolean {
    const batch = this.#batches[this.#index + 1];
    if (batch === undefined || batch.baseOffset >= this.#facts.stopAt) {
      this.#finish();
      return false;
    }
    this.#batch = batch;
    try {
      this.#open(batch);
    } catch (cause) {
      this.#passDamage(cause);
      this.#closeBatch();
    }
    return true;
  }

  #open(batch: BatchView): void {
    if (!batch.isIntact()) throw new MalformedError("the batch fails its checksum");
    // Where a batch begins is outside of its checksum.
    if (batch.baseOffset < this.#passedEnd) {
      throw new MalformedError(`the batch claims to begin at ${batch.baseOffset}`);
    }
    this.#batchEnd = batch.nextOffset;
    if (!this.#isWanted(batch)) {
      this.#closeBatch();
      return;
    }
    const payload = inflatedPayload(batch, inflatedBytesMax);
    this.#payload = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    this.#baseOffset = batch.baseOffset;
    this.#baseTimestamp = batch.baseTimestamp;
    this.#batchTimestamp = batch.isLogAppendTime ? batch.maxTimestamp : undefined;
    this.#cursor = new RecordCursor(this.#payload, batch.recordCount);
    // Whoever stops within the batch goes on with its epoch: an older one would look like a log that was cut.
    this.epoch = batch.leaderEpoch;
  }

  /** False for markers and for what a transaction that was aborted left behind. */
  #isWanted(batch: BatchView): boolean {
    const { aborted } = this.#facts;
    if (aborted !== null) {
      for (let next = aborted[this.#abortedIndex]; next !== undefined; next = aborted[this.#abortedIndex]) {
        if (next.firstOffset > batch.lastOffset) break;
        this.#abortedNow.add(next.producerId);
        this.#abortedIndex++;
      }
    }
    if (batch.isControl) {
      // A producer has one transaction at a time, and whichever marker it is ends it; compaction may have emptied it.
      this.#abortedNow.delete(batch.producerId);
      return false;
    }
    return !(batch.isTransactional && this.#abortedNow.has(batch.producerId));
  }

  /** The current batch is done with: whatever else its offsets named does not exist any more. */
  #closeBatch(): void {
    const batch = this.#batch;
    this.#cursor = undefined;
    this.#payload = emptyPayload;
    this.#batch = undefined;
    this.#index++;
    if (batch === undefined) return;
    this.#passedEnd = this.#batchEnd;
    this.#moveTo(this.#batchEnd);
    this.epoch = batch.leaderEpoch;
  }

  #moveTo(at: number): void {
    if (at > this.position) this.position = offset(Math.min(at, Math.max(this.position, this.#facts.stopAt)));
  }

  /** Behind the last batch, or at the stop. */
  #finish(): void {
    this.#cursor = undefined;
    this.#payload = emptyPayload;
    this.#index = this.#batches.length;
    this.#moveTo(this.end);
    this.epoch = this.lastEpoch;
  }

  /** Throws, or says that the rest of the batch is skipped; the caller closes it. */
  #passDamage(cause: unknown): void {
    const error = this.#damage(this.position, cause);
    const batch = this.#batch as BatchView;
    // The batch's own word on its end cannot be trusted; the next batch's beginning limits it.
    const following = this.#batches[this.#index + 2]?.baseOffset ?? Number.POSITIVE_INFINITY;
    const end = Math.min(batch.nextOffset, following);
    const isPlausible = Number.isSafeInteger(batch.nextOffset) && end > this.position;
    if (this.#facts.onDamage === "error" || !isPlausible) {
      this.#cursor = undefined;
      this.#payload = emptyPayload;
      this.#batch = undefined;
      throw error;
    }
    this.#batchEnd = end;
    this.#facts.onSkipped(this.position, Math.min(end, this.#facts.stopAt));
  }

  #damage(at: Offset, cause: unknown): DamagedRecordsError {
    if (!(cause instanceof MalformedError) && !(cause instanceof InflationError)) throw cause;
    const { topic, partition } = this.#facts;
    return new DamagedRecordsError({ topic, partition, offset: at, why: cause.message, cause });
  }
}

const emptyPayload: Buffer = Buffer.alloc(0);
