/**
 * Offsets of a partition that were acknowledged and cannot be read any more (I10), as recovery named
 * them. They stay gaps for ever: no read passes over one without saying so, and no offset in one is given
 * again.
 */
import { advance, type Offset } from "../base/ids.ts";

/** Offsets [from, to). */
export interface OffsetRange {
  readonly from: Offset;
  readonly to: Offset;
}

export class DamagedRanges {
  #ranges: readonly OffsetRange[];

  constructor(ranges: readonly OffsetRange[]) {
    this.#ranges = ranges.toSorted((a, b) => a.from - b.from);
  }

  add(from: Offset, count: number): void {
    this.#ranges = [...this.#ranges, { from, to: advance(from, count) }].sort((a, b) => a.from - b.from);
  }

  /** The range that `at` lies in, or else the next one behind it. */
  next(at: Offset): OffsetRange | undefined {
    return this.#ranges.length === 0 ? undefined : this.#ranges.find((range) => range.to > at);
  }

  /** The first offset from `at` on that is not damaged. */
  endFrom(at: Offset): Offset {
    let end = at;
    for (const range of this.#ranges) if (range.from <= end && end < range.to) end = range.to;
    return end;
  }
}
