/**
 * The reading side of one partition: what is durable, from memory at once or from segments through a
 * promise, and for a committed reader only what is decided, with the names of what was aborted. Nothing at
 * or above the durable end leaves here (I2), and nothing of an open transaction goes to a committed reader.
 */
import { offset, type Offset } from "../base/ids.ts";
import type { ColdReader } from "./cold-reader.ts";
import type { DamagedRanges } from "./damaged-ranges.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { AbortedRange, Isolation, ReadOptions, ReadOutcome, TimestampAndOffset } from "./outcomes.ts";
import type { AbortedTransaction } from "./segment-format.ts";
import type { SegmentSource } from "./segment-index.ts";
import type { TailIndex } from "./tail-index.ts";
import { latestRecord, recordAtOrAfter } from "./time-lookup.ts";
import type { Transactions } from "./transactions.ts";

/** A partition as it stands now. */
export interface ReadView extends SegmentSource {
  readonly logStart: Offset;
  readonly lastStable: Offset;
  readonly durableEnd: Offset;
  readonly logEnd: Offset;
}

export class PartitionReader {
  readonly #view: ReadView;
  readonly #tail: TailIndex;
  readonly #cold: ColdReader;
  readonly #damaged: DamagedRanges;
  readonly #epochs: LeaderEpochs;
  readonly #transactions: Transactions;

  constructor(parts: {
    readonly partition: ReadView;
    readonly tail: TailIndex;
    readonly cold: ColdReader;
    readonly damaged: DamagedRanges;
    readonly epochs: LeaderEpochs;
    readonly transactions: Transactions;
  }) {
    this.#view = parts.partition;
    this.#tail = parts.tail;
    this.#cold = parts.cold;
    this.#damaged = parts.damaged;
    this.#epochs = parts.epochs;
    this.#transactions = parts.transactions;
  }

  read(options: ReadOptions): ReadOutcome | Promise<ReadOutcome> {
    const from = options.offset;
    const { logStart, durableEnd } = this.#view;
    if (from < logStart || from > durableEnd) return this.#outOfRange();
    const isolation = options.isolation ?? "uncommitted";
    const end = this.#end(isolation);
    if (from >= end) return this.#served(nothing);
    const damaged = this.#damaged.next(from);
    if (damaged !== undefined && damaged.from <= from) return this.#unreadable(damaged.to);
    const below = damaged === undefined || damaged.from > end ? end : damaged.from;
    const memoryBegin = this.#memoryBegin;
    if (from < memoryBegin) {
      const fits = options.orOneBatch || (options.bytesMax > 0 && options.memoryOnly !== true);
      return fits ? this.#readCold(options, offset(Math.min(below, memoryBegin))) : this.#served(nothing);
    }
    const found = this.#tail.collect(from, below, options.bytesMax, options.orOneBatch);
    return this.#served(found, this.#abortedInMemory(isolation, from, found.next));
  }

  async #readCold(options: ReadOptions, limit: Offset): Promise<ReadOutcome> {
    const { offset: from, bytesMax, isolation = "uncommitted" } = options;
    // Now: a marker that is in memory may leave it while segments are read, which may not have it yet.
    const inMemory = this.#abortedInMemory(isolation, from, limit);
    const bounds = { bytesMax, limit, isCommitted: isolation === "committed" };
    const found = await this.#cold.read(this.#view, from, bounds);
    if (from < this.#view.logStart) return this.#outOfRange();
    switch (found.kind) {
      case "damaged":
        return this.#unreadable(found.to);
      case "absent":
        return this.#unreadable(limit);
      case "batches":
        if (found.bytes > bytesMax && !options.orOneBatch) return this.#served(nothing);
        if (found.bytes === 0 && found.next > from) {
          // Compaction left nothing here; the reader goes on behind it, perhaps in memory.
          return this.read({ ...options, offset: found.next });
        }
        return this.#served(found, [
          ...found.aborted,
          ...inMemory.filter(({ firstOffset }) => firstOffset < found.next),
        ]);
      default:
        return found satisfies never;
    }
  }

  #end(isolation: Isolation): Offset {
    return isolation === "committed" ? this.#view.lastStable : this.#view.durableEnd;
  }

  #abortedInMemory(isolation: Isolation, from: Offset, to: Offset): readonly AbortedTransaction[] {
    return isolation === "committed" ? this.#transactions.abortedIn(from, to) : [];
  }

  #served(
    { chunks, bytes }: { readonly chunks: readonly Uint8Array[]; readonly bytes: number },
    aborted: readonly AbortedTransaction[] = [],
  ): ReadOutcome {
    const { durableEnd, lastStable, logStart } = this.#view;
    return {
      kind: "read",
      chunks,
      bytes,
      highWatermark: durableEnd,
      lastStable,
      logStart,
      aborted: byFirstOffset(aborted),
    };
  }

  #outOfRange(): ReadOutcome {
    const { durableEnd, lastStable, logStart } = this.#view;
    return { kind: "out-of-range", logStart, lastStable, highWatermark: durableEnd };
  }

  #unreadable(resumeAt: Offset): ReadOutcome {
    const { durableEnd, lastStable, logStart } = this.#view;
    return { kind: "damaged", resumeAt, lastStable, highWatermark: durableEnd, logStart };
  }

  /** Everything from here on is in memory; below it, in segments. */
  get #memoryBegin(): Offset {
    return this.#tail.first?.baseOffset ?? this.#view.logEnd;
  }

  availableBytes(from: Offset, isolation: Isolation): number {
    // The records that it waits behind were deleted, and it must hear so. The log may begin inside a batch now.
    if (from < this.#view.logStart) return Infinity;
    const end = this.#end(isolation);
    if (from >= end) return 0;
    return from < this.#memoryBegin ? Infinity : this.#tail.bytesBetween(from, end);
  }

  findTimestamp(timestamp: number, isolation: Isolation): Promise<TimestampAndOffset> {
    return recordAtOrAfter(timestamp, this.#timeSource(this.#end(isolation)));
  }

  findMaxTimestamp(): Promise<TimestampAndOffset> {
    return latestRecord(this.#timeSource(this.#view.durableEnd));
  }

  #timeSource(end: Offset) {
    return {
      segments: this.#view,
      cold: this.#cold,
      tail: this.#tail,
      epochs: this.#epochs,
      from: this.#view.logStart,
      memoryBegin: this.#memoryBegin,
      end,
    };
  }
}

const nothing = { chunks: [], bytes: 0 };

/** By first offset, each once: one whose marker has just come into segments is in memory as well. */
function byFirstOffset(aborted: readonly AbortedTransaction[]): readonly AbortedRange[] {
  if (aborted.length < 2) return aborted;
  // No two transactions begin at one offset.
  const byFirst = new Map(aborted.map((transaction) => [transaction.firstOffset, transaction]));
  return [...byFirst.values()].sort((a, b) => a.firstOffset - b.firstOffset);
}
