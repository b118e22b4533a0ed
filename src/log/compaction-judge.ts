/**
 * What stays of each batch in one pass of compaction. Of every key the record with the greatest offset
 * stays, and every record that the pass did not compare; a tombstone stays until a time that is written
 * into its batch when it is first met (KIP-534), so that who reads from the start has `delete.retention.ms`
 * to learn of it; a transaction's marker stays as long as one of its records does, and then as long as a
 * tombstone. Control records have no key that anything could replace. Batches are judged in the order of
 * their offsets. Where something could not be read, nothing behind it is taken for the last trace of a
 * key: neither tombstones nor markers go, since what they take back may lie there.
 */
import { HoldfastError } from "../base/errors.ts";
import { advance, offset, type Offset, type ProducerId } from "../base/ids.ts";
import type { BatchView } from "../record/batch.ts";
import { inflatedPayload, RecordCursor } from "../record/record.ts";
import { type Thinned, thinBatch } from "../record/thin.ts";
import type { AbortedTransactions } from "./aborted-transactions.ts";
import type { KeyOffsets } from "./key-offsets.ts";

export type Verdict =
  | { readonly kind: "keep" }
  | { readonly kind: "change"; readonly bytes: Uint8Array }
  | { readonly kind: "drop" };

export interface JudgeOptions {
  /** Of what lies from the first dirty offset up to `end`. */
  readonly newest: KeyOffsets;
  /** Records from here on are not compared. */
  readonly end: Offset;
  /** Where learning could not read on; null: it could. */
  readonly unreadableFrom: Offset | null;
  /** The log start. */
  readonly start: Offset;
  readonly wallMs: number;
  readonly deleteRetentionMs: number;
  readonly aborted: AbortedTransactions;
  readonly inflatedBytesMax: number;
}

const keep: Verdict = { kind: "keep" };
const drop: Verdict = { kind: "drop" };

export class CompactionJudge {
  readonly #options: JudgeOptions;
  #end: Offset;
  #isBlind = false;
  #horizonMs = -1;
  /** Producers with records in the transaction that is open at this place of the log. */
  readonly #holding = new Set<ProducerId>();

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#end = offset(Math.min(options.end, options.unreadableFrom ?? options.end));
  }

  /** Everything below it was compared. */
  get end(): Offset {
    return this.#end;
  }
  /** Whether something could not be read. */
  get isBlind(): boolean {
    return this.#isBlind;
  }
  /** When the first of the tombstones and markers that stay may go; −1: there is none. */
  get horizonMs(): number {
    return this.#horizonMs;
  }

  /** What lies from `from` on cannot be read, for a while at least. */
  passUnreadable(from: Offset): void {
    this.#isBlind = true;
    if (from < this.#end) this.#end = from;
  }

  judge(batch: BatchView): Verdict {
    if (batch.nextOffset <= this.#options.start) return drop;
    if (batch.isControl) return this.#judgeMarker(batch);
    const verdict = this.#judgeData(batch);
    if (batch.isTransactional && verdict.kind !== "drop") this.#holding.add(batch.producerId);
    return verdict;
  }

  #judgeData(batch: BatchView): Verdict {
    const { newest, start, aborted } = this.#options;
    const isCompared = batch.lastOffset < this.#end;
    if (isCompared && aborted.has(batch)) return drop;
    if (batch.baseOffset >= this.#options.end) return keep;
    const mayForget = isCompared && this.#isDue(batch);
    const { baseOffset } = batch;
    return this.#thin(batch, isCompared, (record) => {
      const at = baseOffset + record.offsetDelta;
      if (at < start) return false;
      const { key } = record;
      // Without a key, from before the topic was compacted: nothing ever replaces it, so it stays.
      if (key === null) return true;
      if (newest.get(key) > at) return false;
      return record.valueLength >= 0 || !mayForget;
    });
  }

  #judgeMarker(batch: BatchView): Verdict {
    const holds = this.#holding.delete(batch.producerId);
    const isCompared = batch.lastOffset < this.#end;
    // Others than markers of transactions are nobody's to drop.
    if (holds || !isCompared || !batch.isTransactional || this.#isBlind) return keep;
    return this.#isDue(batch) ? drop : this.#thin(batch, true, () => true);
  }

  /** Whether its tombstones, or its marker, have stayed long enough. */
  #isDue(batch: BatchView): boolean {
    return batch.hasDeleteHorizon && !this.#isBlind && batch.baseTimestamp <= this.#options.wallMs;
  }

  #thin(batch: BatchView, isCompared: boolean, keeps: (record: RecordCursor) => boolean): Verdict {
    const { wallMs, deleteRetentionMs, inflatedBytesMax } = this.#options;
    // A tombstone whose time runs must have replaced everything before it, or what it deleted comes back.
    const horizonMs = isCompared && !this.#isBlind ? wallMs + deleteRetentionMs : null;
    let thinned: Thinned;
    try {
      thinned = thinBatch(batch, { keeps, horizonMs, inflatedBytesMax });
    } catch (cause) {
      if (!(cause instanceof HoldfastError)) throw cause;
      this.passUnreadable(batch.baseOffset);
      return keep;
    }
    switch (thinned.kind) {
      case "empty":
        return drop;
      case "unchanged":
        this.#note(thinned.horizonMs);
        return keep;
      case "changed":
        this.#note(thinned.horizonMs);
        return { kind: "change", bytes: thinned.bytes };
      default:
        return thinned satisfies never;
    }
  }

  #note(horizonMs: number): void {
    if (horizonMs >= 0 && (this.#horizonMs < 0 || horizonMs < this.#horizonMs)) this.#horizonMs = horizonMs;
  }
}

/**
 * Puts the keys of a batch into `newest`, in the order of offsets. Returns the offset at which there was no
 * more room; null: all are in. Throws as `thinBatch` does when the records cannot be read.
 */
export function learnKeys(
  batch: BatchView,
  newest: KeyOffsets,
  options: {
    readonly from: Offset;
    readonly aborted: AbortedTransactions;
    readonly inflatedBytesMax: number;
  },
): Offset | null {
  const { from, aborted } = options;
  // An aborted record never was the value of its key, and one that may be aborted replaces nothing.
  const isValue = !batch.isControl && !aborted.has(batch) && (!batch.isTransactional || aborted.isComplete);
  if (!isValue || batch.nextOffset <= from) return null;
  const payload = inflatedPayload(batch, options.inflatedBytesMax);
  const cursor = new RecordCursor(payload, batch.recordCount);
  const { baseOffset } = batch;
  const found: { readonly key: Uint8Array; readonly at: Offset }[] = [];
  while (cursor.next()) {
    const { key } = cursor;
    const at = advance(baseOffset, cursor.offsetDelta);
    if (key !== null && at >= from) found.push({ key, at });
  }
  // Only now: a batch that cannot be read to its end replaces nothing.
  return found.find(({ key, at }) => !newest.put(key, at))?.at ?? null;
}
