/**
 * The batches of one partition that are in memory, in offset order. Appends go to the end, the tail lets
 * go of the first; a read finds its place by halving. It knows nothing of durability: callers say how far
 * they may look.
 */
import { assert } from "../base/assert.ts";
import type { Offset } from "../base/ids.ts";
import type { TailEntry } from "./tail-entry.ts";

/** Room of dropped entries is given back when it is at least this and half of the array. */
const slackMax = 256;

export class TailIndex {
  #entries: (TailEntry | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#entries.length - this.#head;
  }
  get first(): TailEntry | undefined {
    return this.#entries[this.#head];
  }
  get last(): TailEntry | undefined {
    return this.size === 0 ? undefined : this.#entries.at(-1);
  }

  push(entry: TailEntry): void {
    this.#entries.push(entry);
  }

  /** Forgets `entry`, which is the first. */
  drop(entry: TailEntry): void {
    assert(this.#entries[this.#head] === entry, "the tail lets go of a partition's batches in order");
    this.#entries[this.#head++] = undefined;
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head >= slackMax && this.#head * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
  }

  /** The entries from the one that holds `from`, or else the next one above it, while they begin below `below`. */
  *range(from: Offset, below: Offset): Generator<TailEntry, void, void> {
    for (let at = this.#find(from); at < this.#entries.length; at++) {
      const entry = this.#entries[at] as TailEntry;
      if (entry.baseOffset >= below) return;
      yield entry;
    }
  }

  /**
   * Whole batches like `range`, at most `bytesMax` bytes of them, but the first one in any case when
   * `orOneBatch`. Batches that lie side by side in memory come as one chunk. `next`: the end of the last.
   */
  collect(
    from: Offset,
    below: Offset,
    bytesMax: number,
    orOneBatch: boolean,
  ): { readonly chunks: Uint8Array[]; readonly bytes: number; readonly next: Offset } {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let next = from;
    let pending: Uint8Array | undefined;
    let pendingEnd = 0;
    for (let at = this.#find(from); at < this.#entries.length; at++) {
      const entry = this.#entries[at] as TailEntry;
      const payload = entry.payload;
      if (entry.baseOffset >= below) break;
      if (bytes + payload.byteLength > bytesMax && !(orOneBatch && bytes === 0)) break;
      bytes += payload.byteLength;
      next = entry.end;
      if (pending !== undefined && pending.buffer === payload.buffer && pendingEnd === payload.byteOffset) {
        pendingEnd += payload.byteLength;
        continue;
      }
      if (pending !== undefined) chunks.push(extend(pending, pendingEnd));
      pending = payload;
      pendingEnd = payload.byteOffset + payload.byteLength;
    }
    if (pending !== undefined) chunks.push(extend(pending, pendingEnd));
    return { chunks, bytes, next };
  }

  /** Payload bytes of `range(from, below)`, where `below` is an end of a batch; two look-ups, whatever lies between. */
  bytesBetween(from: Offset, below: Offset): number {
    const first = this.#entries[this.#find(from)];
    if (first === undefined || first.baseOffset >= below) return 0;
    const last = this.#entries[this.#find(below) - 1] as TailEntry;
    return last.bytesBefore + last.payload.byteLength - first.bytesBefore;
  }

  /** Index of the first entry that ends above `at`. */
  #find(at: Offset): number {
    let low = this.#head;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as TailEntry).end <= at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function extend(first: Uint8Array, end: number): Uint8Array {
  const length = end - first.byteOffset;
  return length === first.byteLength ? first : new Uint8Array(first.buffer, first.byteOffset, length);
}
