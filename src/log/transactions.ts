/**
 * The transactions of one partition that its readers have to know of: those that are open or whose marker
 * is not durable yet, in the order of their first offsets, and those that were aborted by a marker that is
 * in memory. A marker counts for readers only once it is durable: a crash that takes it opens the
 * transaction again, and what a committed reader was given before could then turn out to be aborted.
 */
import { assert } from "../base/assert.ts";
import { offset, type Offset, type ProducerId } from "../base/ids.ts";
import type { TransactionChange } from "./producer-state.ts";
import type { AbortedTransaction, FooterState } from "./segment-format.ts";

/** A transaction that keeps the last stable offset where it is. */
export interface OpenTransaction {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
  /** Its marker is appended, and not durable yet. */
  readonly isEnding: boolean;
}

/** The part of an entry that matters here. */
interface TransactionEntry {
  readonly producerId: ProducerId;
  readonly baseOffset: Offset;
}

interface Open {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
  /** Offset of its marker; −1: none is appended. */
  endsAt: Offset;
  /** Neighbours by first offset. */
  earlier: Open | null;
  later: Open | null;
  /** The next one by its marker. */
  endsNext: Open | null;
}

/** Room of forgotten transactions is given back when it is at least this and half of the array. */
const slackMax = 256;

export class Transactions {
  /** Without a marker. */
  readonly #open = new Map<ProducerId, Open>();
  /** By first offset: those without a marker, and those whose marker is not durable. */
  #first: Open | null = null;
  #last: Open | null = null;
  /** The first of them without a marker. */
  #firstOpen: Open | null = null;
  /** Whose markers are not durable, by marker. */
  #endsFirst: Open | null = null;
  #endsLast: Open | null = null;
  /** By marker; from `#abortedHead` on, those whose markers are in memory. */
  #aborted: AbortedTransaction[] = [];
  #abortedHead = 0;

  /** `producers`: of the newest segment's footer. */
  constructor(producers: FooterState["producers"]) {
    const open = producers.filter(({ openFrom }) => openFrom >= 0);
    for (const { producerId, openFrom } of open.sort((a, b) => a.openFrom - b.openFrom)) {
      this.#begin(producerId, openFrom);
    }
  }

  /** First offset of the oldest transaction that may still be aborted; null: there is none. */
  get firstUnstable(): Offset | null {
    return this.#first?.firstOffset ?? null;
  }

  /** Whose transaction that is; null: there is none, or its marker is on its way. */
  get firstOpen(): ProducerId | null {
    return this.#first !== null && this.#first === this.#firstOpen ? this.#first.producerId : null;
  }

  /** By first offset. */
  *undecided(): Generator<OpenTransaction, void, void> {
    for (let next = this.#first; next !== null; next = next.later) {
      const { producerId, firstOffset, endsAt } = next;
      yield { producerId, firstOffset, isEnding: endsAt >= 0 };
    }
  }

  /** Takes what an entry changed, in log order. */
  apply(change: TransactionChange, { producerId, baseOffset }: TransactionEntry): void {
    if (change.kind === "opened") return this.#begin(producerId, baseOffset);
    const open = this.#open.get(producerId);
    assert(open?.firstOffset === change.from, "only an open transaction ends");
    this.#end(open, baseOffset);
    if (change.outcome === "commit") return;
    this.#aborted.push({
      producerId,
      firstOffset: change.from,
      lastOffset: baseOffset,
      lastStableOffset: this.#firstOpen?.firstOffset ?? offset(baseOffset + 1),
    });
  }

  /** Everything below `end` is durable. */
  settle(end: Offset): void {
    while (this.#endsFirst !== null && this.#endsFirst.endsAt < end) {
      this.#unlink(this.#endsFirst);
      this.#endsFirst = this.#endsFirst.endsNext;
    }
    if (this.#endsFirst === null) this.#endsLast = null;
  }

  /** Aborted transactions with a marker in memory at or above `from` and a first offset below `to`, by marker. */
  abortedIn(from: Offset, to: Offset): readonly AbortedTransaction[] {
    const found: AbortedTransaction[] = [];
    for (let at = this.#markerFrom(from); at < this.#aborted.length; at++) {
      const transaction = this.#aborted[at] as AbortedTransaction;
      if (transaction.firstOffset < to) found.push(transaction);
      // Everything below this was decided by then.
      if (transaction.lastStableOffset >= to) break;
    }
    return found;
  }

  /** Aborted transactions whose markers lie in [from, to). */
  abortedBetween(from: Offset, to: Offset): readonly AbortedTransaction[] {
    return this.#aborted.slice(this.#markerFrom(from), this.#markerFrom(to));
  }

  /** The memory begins at `begin` now: markers below it are in segments, and their footers name what they ended. */
  forgetBelow(begin: Offset): void {
    const aborted = this.#aborted;
    while ((aborted[this.#abortedHead]?.lastOffset ?? Infinity) < begin) this.#abortedHead++;
    if (this.#abortedHead >= slackMax && this.#abortedHead * 2 >= aborted.length) {
      this.#aborted = aborted.slice(this.#abortedHead);
      this.#abortedHead = 0;
    }
  }

  /** Index of the first whose marker is at or above `at`. */
  #markerFrom(at: Offset): number {
    let low = this.#abortedHead;
    let high = this.#aborted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#aborted[middle] as AbortedTransaction).lastOffset < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #begin(producerId: ProducerId, firstOffset: Offset): void {
    const open: Open = {
      producerId,
      firstOffset,
      endsAt: offset(-1),
      earlier: this.#last,
      later: null,
      endsNext: null,
    };
    if (this.#last === null) this.#first = open;
    else this.#last.later = open;
    this.#last = open;
    this.#firstOpen ??= open;
    this.#open.set(producerId, open);
  }

  #end(open: Open, marker: Offset): void {
    this.#open.delete(open.producerId);
    open.endsAt = marker;
    if (this.#endsLast === null) this.#endsFirst = open;
    else this.#endsLast.endsNext = open;
    this.#endsLast = open;
    while (this.#firstOpen !== null && this.#firstOpen.endsAt >= 0) this.#firstOpen = this.#firstOpen.later;
  }

  #unlink(open: Open): void {
    if (open.earlier === null) this.#first = open.later;
    else open.earlier.later = open.later;
    if (open.later === null) this.#last = open.earlier;
    else open.later.earlier = open.earlier;
  }
}
