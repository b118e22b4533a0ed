/**
 * What was read lately, under a bound in bytes; the least recently used goes first. Blocks that came
 * with one read share one buffer, and a slice keeps its whole buffer alive: so a buffer is the unit that
 * is counted and evicted, never a block. Only bytes that passed their checksum may be put in.
 */
import type { Loan } from "../base/reused-memory.ts";

/** A map with a bound in bytes. */
export class ByteLru<V> {
  readonly bytesMax: number;
  /** In the order of last use: a Map keeps insertion order. */
  readonly #entries = new Map<string, { readonly value: V; readonly bytes: number }>();
  readonly #onEvict: ((value: V) => void) | undefined;
  #bytes = 0;

  constructor(bytesMax: number, onEvict?: (value: V) => void) {
    this.bytesMax = bytesMax;
    this.#onEvict = onEvict;
  }

  get bytes(): number {
    return this.#bytes;
  }
  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** What is larger than the whole bound is not kept. */
  put(key: string, value: V, bytes: number): void {
    this.delete(key);
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.bytesMax) return;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    this.#onEvict?.(entry.value);
  }
}

/** The blocks of one range read. */
interface Extent {
  readonly key: string;
  /** Whose memory it is; held for as long as the blocks are here. */
  readonly loan: Loan | null;
  readonly blockKeys: readonly string[];
}

export class BlockCache {
  readonly #extents: ByteLru<Extent>;
  readonly #blocks = new Map<string, { readonly extent: Extent; readonly bytes: Uint8Array }>();
  #hits = 0;
  #misses = 0;
  #reads = 0;

  constructor(bytesMax: number) {
    this.#extents = new ByteLru<Extent>(bytesMax, (extent) => this.#forget(extent));
  }

  get bytesMax(): number {
    return this.#extents.bytesMax;
  }
  /** Bytes of the buffers that are kept. */
  get bytes(): number {
    return this.#extents.bytes;
  }
  get hits(): number {
    return this.#hits;
  }
  get misses(): number {
    return this.#misses;
  }

  /** `start` is the block's first byte in the object. Who keeps the bytes beyond this turn holds the loan. */
  get(object: string, start: number): { readonly bytes: Uint8Array; readonly loan: Loan | null } | undefined {
    const found = this.#blocks.get(blockKey(object, start));
    if (found === undefined) {
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    this.#extents.get(found.extent.key);
    return { bytes: found.bytes, loan: found.extent.loan };
  }

  has(object: string, start: number): boolean {
    return this.#blocks.has(blockKey(object, start));
  }

  /** Keeps blocks that share one buffer of `bufferBytes`. The bytes must not change any more. */
  put(
    object: string,
    bufferBytes: number,
    blocks: readonly { readonly start: number; readonly bytes: Uint8Array }[],
    loan: Loan | null = null,
  ): void {
    if (blocks.length === 0) return;
    const extent: Extent = {
      key: String(this.#reads++),
      loan,
      blockKeys: blocks.map(({ start }) => blockKey(object, start)),
    };
    for (const [i, { bytes }] of blocks.entries()) {
      this.#blocks.set(extent.blockKeys[i] as string, { extent, bytes });
    }
    loan?.hold();
    this.#extents.put(extent.key, extent, bufferBytes);
  }

  #forget(extent: Extent): void {
    for (const key of extent.blockKeys) {
      if (this.#blocks.get(key)?.extent === extent) this.#blocks.delete(key);
    }
    extent.loan?.release();
  }
}

const blockKey = (object: string, start: number): string => `${object}@${start}`;
