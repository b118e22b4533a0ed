/**
 * How far a partition has come into segments: what the next FLUSH row has to say, and what the last one
 * settled. The producers of a footer are rolled forward from the last flushed end over the entries in
 * memory, because the live ones are already ahead of it; a footer that knew more than its records would
 * take a retry of a lost batch for a duplicate.
 */
import { assert } from "../base/assert.ts";
import { type LeaderEpoch, offset, type Offset, type WalPosition } from "../base/ids.ts";
import type { Unflushed } from "./flush-source.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { ProducerState } from "./producer-state.ts";
import type { FlushRow } from "./segment-ref.ts";
import type { TailEntry } from "./tail-entry.ts";
import type { TailIndex } from "./tail-index.ts";
import type { Transactions } from "./transactions.ts";

/** A partition as it stands now. */
export interface FlushView {
  readonly leaderEpoch: LeaderEpoch;
  readonly logStart: Offset;
  readonly durableEnd: Offset;
  readonly epochs: LeaderEpochs;
  readonly transactions: Pick<Transactions, "abortedBetween">;
}

export class FlushProgress {
  readonly #tail: TailIndex;
  /** What segments hold. flushedEnd ≤ durableEnd. */
  #flushedEnd: Offset;
  /** As of `flushedEnd`. */
  readonly #producers: ProducerState;
  /** The log start as the journal has it. publishedStart ≤ logStart. */
  #publishedStart: Offset;
  /** The next row reaches at least this far, because it clears the dependencies on older WALs. */
  #loadedEnd: Offset;
  #isDependent: boolean;

  constructor(options: {
    readonly tail: TailIndex;
    readonly flushedEnd: Offset;
    readonly producers: ProducerState;
    readonly publishedStart: Offset;
    readonly isDependent: boolean;
  }) {
    this.#tail = options.tail;
    this.#flushedEnd = options.flushedEnd;
    this.#producers = options.producers;
    this.#publishedStart = options.publishedStart;
    this.#loadedEnd = options.flushedEnd;
    this.#isDependent = options.isDependent;
  }

  get flushedEnd(): Offset {
    return this.#flushedEnd;
  }

  /** Everything older WALs had is loaded; it ended here. */
  loaded(end: Offset): void {
    this.#loadedEnd = end;
  }

  startPublished(start: Offset): void {
    if (start > this.#publishedStart) this.#publishedStart = start;
  }

  unflushed(view: FlushView, below: WalPosition): Unflushed | null {
    const entries = this.#entriesBelow(view, below);
    const first = entries[0];
    const last = entries.at(-1);
    const to = offset(Math.max(last?.end ?? this.#flushedEnd, this.#loadedEnd));
    const start = offset(Math.min(view.logStart, to));
    const hasStart = start > this.#publishedStart;
    if (to === this.#flushedEnd && !hasStart && !this.#isDependent) return null;
    const producers = this.#producers.clone();
    for (const entry of entries) producers.apply(entry);
    return {
      leaderEpoch: view.leaderEpoch,
      from: this.#flushedEnd,
      to,
      start: hasStart ? start : offset(-1),
      batches: entries.filter((entry) => entry.end > view.logStart),
      appendedFirstMs: first?.appendedMs ?? producers.recordedMs,
      appendedLastMs: last?.appendedMs ?? producers.recordedMs,
      state: {
        recordedMs: producers.recordedMs,
        producers: producers.snapshot(),
        // A marker that goes with what was deleted ends nothing that stays.
        aborted: view.transactions.abortedBetween(offset(Math.max(this.#flushedEnd, view.logStart)), to),
        leaderEpochs: view.epochs.asOf(to),
      },
    };
  }

  #entriesBelow(view: FlushView, below: WalPosition): readonly TailEntry[] {
    const entries: TailEntry[] = [];
    for (const entry of this.#tail.range(this.#flushedEnd, view.durableEnd)) {
      if (entry.walEnd > below) break;
      entries.push(entry);
    }
    return entries;
  }

  published(row: FlushRow, durableEnd: Offset): void {
    const goesOn = row.from === this.#flushedEnd && row.from <= row.to && row.to <= durableEnd;
    assert(goesOn, "a flush goes on where the last one ended, and covers durable records only");
    for (const entry of this.#tail.range(row.from, row.to)) this.#producers.apply(entry);
    this.#flushedEnd = row.to;
    this.#isDependent = false;
    this.startPublished(row.start);
  }
}
