/**
 * What is known of the records of one share-partition, as ranges of records that are alike: they follow each
 * other without a gap, and neighbours that are alike are one range. So memory goes with how often the state
 * changes along the offsets, and not with how many records there are. A change of a batch costs the search
 * for its range and the writing of one chunk, both independent of how many records it has.
 */
import { assert } from "../../../base/assert.ts";
import type { Lock } from "./locks.ts";

export type RangeState = "available" | "acquired" | "acknowledged" | "archiving" | "archived";

/** Never changed in place. */
export interface Range {
  readonly first: number;
  readonly last: number;
  readonly state: RangeState;
  /** How often the records were delivered; 0 where nobody asks any more. */
  readonly deliveryCount: number;
  /** Of those that are acquired. */
  readonly lock: Lock | null;
}

export const sizeOf = ({ first, last }: { readonly first: number; readonly last: number }): number =>
  last - first + 1;

/** A chunk with more is cut in two or more. */
const chunkMax = 256;
/** One with fewer takes in its neighbour. */
const chunkMin = 64;

export class Ranges {
  /** None is empty. */
  readonly #chunks: Range[][] = [];
  #size = 0;

  /** How many ranges there are. */
  get size(): number {
    return this.#size;
  }

  get first(): Range | undefined {
    return this.#chunks[0]?.[0];
  }
  get last(): Range | undefined {
    return this.#chunks.at(-1)?.at(-1);
  }

  /** From the one that contains `offset` on, or from the first that lies behind it. Not while they are changed. */
  *from(offset: number): Generator<Range, void> {
    let [chunk, index] = this.#find(offset);
    for (; chunk < this.#chunks.length; chunk++, index = 0) {
      const ranges = this.#chunks[chunk] as Range[];
      for (; index < ranges.length; index++) yield ranges[index] as Range;
    }
  }

  /** Those that have to do with `first` to `last`, cut to that. */
  within(first: number, last: number): Range[] {
    const found: Range[] = [];
    for (const range of this.from(first)) {
      if (range.first > last) break;
      found.push(cut(range, first, last));
    }
    return found;
  }

  /** `ranges` take the place of what is there from their first record to their last, or follow the end. */
  replace(ranges: readonly Range[]): void {
    const first = (ranges[0] as Range).first;
    const last = (ranges.at(-1) as Range).last;
    const end = this.last === undefined ? first : this.last.last + 1;
    assert(first <= end && (this.first === undefined || this.first.first <= first), "ranges have no gaps");
    // With a neighbour on each side, which may be alike.
    let [fromChunk, fromIndex] = this.#find(first - 1);
    if (fromChunk === this.#chunks.length && fromChunk > 0) {
      fromChunk--;
      fromIndex = (this.#chunks[fromChunk] as Range[]).length;
    }
    let [toChunk, toIndex] = this.#find(last + 1);
    if (toChunk === this.#chunks.length && toChunk > 0) {
      toChunk--;
      toIndex = (this.#chunks[toChunk] as Range[]).length - 1;
    }
    const before = this.#chunks[fromChunk]?.[fromIndex];
    const after = this.#chunks[toChunk]?.[toIndex];
    const between: Range[] = [];
    if (before !== undefined && before.first < first) push(between, cut(before, 0, first - 1));
    for (const range of ranges) push(between, range);
    if (after !== undefined && after.last > last) push(between, cut(after, last + 1, after.last));
    this.#splice([fromChunk, fromIndex], [toChunk, toIndex + 1], between);
  }

  /** Forgets what lies before `offset`. */
  dropBefore(offset: number): void {
    const [chunk, index] = this.#find(offset);
    for (const ranges of this.#chunks.splice(0, chunk)) this.#size -= ranges.length;
    const [ranges] = this.#chunks;
    if (ranges === undefined) return;
    this.#size -= ranges.splice(0, index).length;
    const [range] = ranges;
    if (range !== undefined) ranges[0] = cut(range, offset, range.last);
  }

  /** Of the first range that ends at `offset` or behind it; behind the last chunk if there is none. */
  #find(offset: number): [chunk: number, index: number] {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (((this.#chunks[middle] as Range[]).at(-1) as Range).last < offset) low = middle + 1;
      else high = middle;
    }
    const chunk = low;
    const ranges = this.#chunks[chunk];
    if (ranges === undefined) return [chunk, 0];
    low = 0;
    high = ranges.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ranges[middle] as Range).last < offset) low = middle + 1;
      else high = middle;
    }
    return [chunk, low];
  }

  #splice(
    [fromChunk, fromIndex]: readonly [number, number],
    [toChunk, toIndex]: readonly [number, number],
    between: readonly Range[],
  ): void {
    const head = this.#chunks[fromChunk] ?? [];
    const tail = this.#chunks[toChunk] ?? [];
    let count = toChunk - fromChunk + 1;
    if (count === 1 && between.length <= 8 && head.length + between.length <= chunkMax) {
      const before = head.length;
      head.splice(fromIndex, toIndex - fromIndex, ...between);
      this.#size += head.length - before;
      if (head.length >= chunkMin || this.#chunks.length === 1) return;
      if (this.#chunks.length === 0) return void this.#chunks.push(head);
      return this.#joinNext(fromChunk);
    }
    for (let chunk = fromChunk; chunk <= toChunk; chunk++) this.#size -= this.#chunks[chunk]?.length ?? 0;
    const joined = [...head.slice(0, fromIndex), ...between, ...tail.slice(toIndex)];
    this.#size += joined.length;
    const pieces: Range[][] = [];
    const pieceSize = joined.length <= chunkMax ? chunkMax : chunkMax / 2;
    for (let at = 0; at < joined.length; at += pieceSize) pieces.push(joined.slice(at, at + pieceSize));
    count = Math.min(count, this.#chunks.length - fromChunk);
    this.#chunks.splice(fromChunk, count, ...pieces);
    if ((pieces.at(-1)?.length ?? 0) < chunkMin) this.#joinNext(fromChunk + pieces.length - 1);
  }

  /** With the one behind it, so that small chunks do not pile up. */
  #joinNext(at: number): void {
    const chunk = this.#chunks[at];
    const next = this.#chunks[at + 1];
    if (chunk === undefined || next === undefined || chunk.length + next.length > chunkMax) return;
    this.#chunks.splice(at, 2, [...chunk, ...next]);
  }
}

/** One range with the last, where they are alike. */
function push(ranges: Range[], range: Range): void {
  const before = ranges.at(-1);
  if (
    before !== undefined &&
    before.state === range.state &&
    before.deliveryCount === range.deliveryCount &&
    before.lock === range.lock
  )
    ranges[ranges.length - 1] = { ...before, last: range.last };
  else ranges.push(range);
}

function cut(range: Range, first: number, last: number): Range {
  if (first <= range.first && last >= range.last) return range;
  return { ...range, first: Math.max(first, range.first), last: Math.min(last, range.last) };
}

export function available(first: number, last: number, deliveryCount: number): Range {
  return { first, last, state: "available", deliveryCount, lock: null };
}

export function complete(first: number, last: number, state: "acknowledged" | "archived"): Range {
  return { first, last, state, deliveryCount: 0, lock: null };
}
