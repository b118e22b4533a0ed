/**
 * Neighbouring segments of one partition on their way into new ones: what was kept of them is gathered,
 * stored in objects of bounded size, and taken for the old ones in one exchange. Nothing is published here.
 * What is gathered is copied, so the memory that was read can be used again.
 */
import { assert } from "../base/assert.ts";
import type { Offset } from "../base/ids.ts";
import type { BatchView } from "../record/batch.ts";
import { emptiedBatch } from "../record/thin.ts";
import type { Verdict } from "./compaction-judge.ts";
import type { SegmentBatch } from "./flush-source.ts";
import type { StoredObject } from "./object-writer.ts";
import type { AbortedTransaction, FooterState, SectionIdentity } from "./segment-format.ts";
import type { SegmentRef } from "./segment-ref.ts";
import type { BuiltObject, SectionDraft } from "./segment-writer.ts";

/** What a batch takes beside its bytes. */
const batchCostBytes = 256;

/** Stores one draft in an object of its own. Rejects with what the store rejects with; nothing is left then. */
export type StoreDraft = (draft: SectionDraft) => Promise<StoredObject<BuiltObject>>;

/** A group as it leaves: what it takes away, what is stored already, and what still is to be. */
export interface ClosedGroup {
  readonly old: readonly SegmentRef[];
  readonly stored: readonly StoredObject<BuiltObject>[];
  readonly draft: SectionDraft;
}

interface LastBatch {
  readonly batch: SegmentBatch;
  /** It had no records before. */
  readonly isSame: boolean;
}

interface Before {
  readonly oldCount: number;
  readonly batchCount: number;
  readonly bytes: number;
  readonly last: LastBatch | null;
  readonly isChanged: boolean;
  readonly state: FooterState | null;
}

export class CompactionGroup {
  readonly #identity: SectionIdentity;
  readonly #bytesTarget: number;
  readonly #store: StoreDraft;
  #old: SegmentRef[] = [];
  /** Of the segments' appends; of one that was given up as well. */
  #appendedFirstMs = Number.POSITIVE_INFINITY;
  #appendedLastMs = Number.NEGATIVE_INFINITY;
  #stored: StoredObject<BuiltObject>[] = [];
  #batches: SegmentBatch[] = [];
  #bytes = 0;
  /** Where what is gathered begins. */
  #base: Offset | null = null;
  #isChanged = false;
  /** The batch before, of which no record stays; it is kept without records if it turns out to be the last. */
  #last: LastBatch | null = null;
  /** As it was before the newest segment. */
  #before: Before | null = null;
  #state: FooterState | null = null;
  #aborted: AbortedTransaction[] = [];
  readonly #markers = new Set<Offset>();

  constructor(identity: SectionIdentity, bytesTarget: number, store: StoreDraft) {
    this.#identity = identity;
    this.#bytesTarget = bytesTarget;
    this.#store = store;
  }

  get isEmpty(): boolean {
    return this.#old.length === 0;
  }
  /** Memory of what is gathered and not stored. */
  get bytes(): number {
    return this.#bytes;
  }
  /** Nothing more is to be added. */
  get isFull(): boolean {
    return this.#stored.length > 0 || this.#bytes >= this.#bytesTarget;
  }
  /** One segment of which everything stayed as it was, and that is not too large: it can be left where it is. */
  get isUnchanged(): boolean {
    const isStored = this.#stored.length > 0;
    return this.#old.length === 1 && !this.#isChanged && !isStored && this.#last?.isSame !== false;
  }
  /** Where the first of its segments begins. */
  get base(): Offset {
    assert(this.#base !== null, "an empty group begins nowhere");
    return this.#base;
  }
  /** When the first of its records was appended. */
  get appendedFirstMs(): number {
    return this.#appendedFirstMs;
  }

  async add(batch: BatchView, verdict: Verdict): Promise<void> {
    const place = { baseOffset: batch.baseOffset, count: batch.lastOffsetDelta + 1 };
    // Whatever comes behind it, the one before is not the last.
    if (this.#last !== null) this.#isChanged = true;
    this.#last = null;
    if (verdict.kind === "drop") {
      const isSame = batch.recordCount === 0;
      const payload = isSame ? Buffer.from(batch.bytes) : emptiedBatch(batch);
      this.#last = { batch: { payload, ...place }, isSame };
      return;
    }
    if (verdict.kind === "change") this.#isChanged = true;
    if (batch.isControl) this.#markers.add(batch.baseOffset);
    if (this.#bytes >= this.#bytesTarget) await this.#storeBatches(batch.baseOffset);
    const payload = verdict.kind === "change" ? verdict.bytes : Buffer.from(batch.bytes);
    this.#batches.push({ payload, ...place });
    this.#bytes += payload.byteLength + batchCostBytes;
  }

  /** The batches of `ref` follow; `state` is that of its footer. */
  begin(ref: SegmentRef, state: FooterState): void {
    assert(this.#stored.length === 0, "a group that is full takes no further segment");
    this.#before = {
      oldCount: this.#old.length,
      batchCount: this.#batches.length,
      bytes: this.#bytes,
      last: this.#last,
      isChanged: this.#isChanged,
      state: this.#state,
    };
    this.#base ??= ref.base;
    this.#old.push(ref);
    this.#appendedFirstMs = Math.min(this.#appendedFirstMs, ref.appendedFirstMs);
    this.#appendedLastMs = Math.max(this.#appendedLastMs, ref.appendedLastMs);
    this.#aborted.push(...state.aborted);
    this.#state = state;
  }

  /**
   * The newest segment turned out to be damaged: it is left where it is. Returns what was stored of it; if
   * something of the segments before it is in there as well, they are left too.
   */
  giveUpNewest(): readonly StoredObject<BuiltObject>[] {
    const stored = this.#stored;
    const before = stored.length === 0 ? this.#before : null;
    this.#stored = [];
    this.#old = this.#old.slice(0, before?.oldCount ?? 0);
    this.#batches = this.#batches.slice(0, before?.batchCount ?? 0);
    this.#bytes = before?.bytes ?? 0;
    this.#last = before?.last ?? null;
    this.#isChanged = before?.isChanged ?? false;
    this.#state = before?.state ?? null;
    if (this.#old.length === 0) this.#base = null;
    return stored;
  }

  async #storeBatches(end: Offset): Promise<void> {
    this.#stored.push(await this.#store(this.#draft(end, false)));
    this.#base = end;
    this.#batches = [];
    this.#bytes = 0;
  }

  /** `isEnd`: it ends what compaction goes over, so its last batch stays, without records if none of them does (a reader who comes to it learns where it ends). */
  close(isEnd: boolean): ClosedGroup {
    const newest = this.#old.at(-1);
    assert(newest !== undefined, "an empty group is not closed");
    if (this.#last !== null && isEnd) {
      this.#batches.push(this.#last.batch);
      this.#bytes += this.#last.batch.payload.byteLength + batchCostBytes;
      this.#isChanged ||= !this.#last.isSame;
      this.#last = null;
    }
    return { old: this.#old, stored: this.#stored, draft: this.#draft(newest.end, true) };
  }

  #draft(end: Offset, isLast: boolean): SectionDraft {
    const { topicId, partition } = this.#identity;
    const base = this.base;
    const aborted = this.#aborted.filter(
      ({ lastOffset: marker }) => marker >= base && marker < end && this.#markers.has(marker),
    );
    return {
      topicId,
      partition,
      base,
      end,
      batches: this.#batches,
      appendedFirstMs: this.appendedFirstMs,
      appendedLastMs: this.#appendedLastMs,
      // In the middle of an old segment nobody knows the producers any more, and nobody asks.
      state: { ...(isLast ? (this.#state ?? emptyState) : emptyState), aborted },
    };
  }
}

const emptyState: FooterState = { recordedMs: 0, producers: [], aborted: [], leaderEpochs: [] };
