/**
 * What was read of the log, as a share-partition sees it: which batches have records for the group, which offsets
 * have none (control batches, transactions that were aborted), and which bytes go to a member, stored batches as
 * they lie. Reads batch headers only.
 */
import type { ProducerId } from "../../base/ids.ts";
import type { AbortedRange } from "../../log/outcomes.ts";
import { type BatchView, batchesIn } from "../../record/batch.ts";
import { readControl } from "../../record/control.ts";

export interface Span {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

interface ReadBatch extends Span {
  readonly bytes: Uint8Array;
  /** No record of it is for the group. */
  readonly isEmpty: boolean;
}

export class RecordRead {
  readonly #batches: readonly ReadBatch[];

  /** `aborted`: as a committed read tells it; empty for any other. Throws `MalformedError`. */
  constructor(chunks: readonly Uint8Array[], aborted: readonly AbortedRange[]) {
    const judge = new AbortedJudge(aborted);
    const batches: ReadBatch[] = [];
    for (const chunk of chunks) {
      for (const batch of batchesIn(chunk)) {
        const isEmpty = batch.isControl || batch.recordCount === 0 || judge.isAborted(batch);
        if (batch.isControl) judge.passMarker(batch);
        batches.push({ first: batch.baseOffset, last: batch.lastOffset, bytes: batch.bytes, isEmpty });
      }
    }
    this.#batches = batches;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }
  /** Inclusive; −1: nothing was read. */
  get last(): number {
    return this.#batches.at(-1)?.last ?? -1;
  }

  /** With records for the group, in order. */
  get full(): readonly Span[] {
    return this.#batches.filter(({ isEmpty }) => !isEmpty);
  }
  /** Without any. */
  get empty(): readonly Span[] {
    return this.#batches.filter(({ isEmpty }) => isEmpty);
  }

  /** The bytes of the batches that any of `acquired` lies in; both are in order. */
  bytesOf(acquired: readonly Span[]): { readonly chunks: readonly Uint8Array[]; readonly bytes: number } {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let at = 0;
    for (const batch of this.#batches) {
      while (at < acquired.length && (acquired[at] as Span).last < batch.first) at++;
      const next = acquired[at];
      if (next === undefined) break;
      if (next.first > batch.last || batch.isEmpty) continue;
      chunks.push(batch.bytes);
      bytes += batch.bytes.byteLength;
    }
    return { chunks, bytes };
  }
}

/** Follows aborted transactions along the log: each counts from its first offset to its producer's next marker. */
class AbortedJudge {
  readonly #aborted: readonly AbortedRange[];
  #next = 0;
  readonly #open = new Set<ProducerId>();

  constructor(aborted: readonly AbortedRange[]) {
    this.#aborted = aborted;
  }

  isAborted(batch: BatchView): boolean {
    if (this.#aborted.length === 0 || batch.isControl || !batch.isTransactional) return false;
    this.#advance(batch.lastOffset);
    return this.#open.has(batch.producerId);
  }

  passMarker(batch: BatchView): void {
    if (this.#aborted.length === 0) return;
    this.#advance(batch.lastOffset);
    if (readControl(batch).kind === "abort") this.#open.delete(batch.producerId);
  }

  #advance(to: number): void {
    for (let next = this.#aborted[this.#next]; next !== undefined; next = this.#aborted[this.#next]) {
      if (next.firstOffset > to) return;
      this.#open.add(next.producerId);
      this.#next++;
    }
  }
}
