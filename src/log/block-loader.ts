/**
 * Blocks of segments out of the object store: neighbours in one range read, each checked by its own
 * checksum, good ones kept in the cache, and one read for all who want the same block at the same time.
 * Bytes that are being read are bounded; whoever comes later waits.
 */
import { Budget } from "../base/budget.ts";
import { crc32c } from "../base/crc32c.ts";
import { DamageError } from "../base/errors.ts";
import type { Offset } from "../base/ids.ts";
import type { ObjectStore } from "../base/ports.ts";
import { type Loan, ReusedMemory } from "../base/reused-memory.ts";
import { BlockCache } from "./block-cache.ts";
import {
  type Block,
  blockPosition,
  checksumSeed,
  type SectionIdentity,
  type SegmentFooter,
} from "./segment-format.ts";
import { goneError, nameOf } from "./segment-index.ts";
import type { SegmentRef } from "./segment-ref.ts";

/** A range read takes about so many bytes at most, one block at least. */
const rangeBytesMax = 1024 * 1024;
/** Bytes that may be on their way from the store at the same time. */
const loadingBytesMax = 32 * 1024 * 1024;

export interface GoodBlock {
  readonly kind: "good";
  readonly bytes: Uint8Array;
  /** Held once for whoever loads the block; null: the memory is not used again. */
  readonly loan: Loan | null;
}

export type LoadedBlock = GoodBlock | { readonly kind: "damaged"; readonly error: DamageError };

/** One read of neighbours that is under way. */
interface RangeRead {
  readonly blocks: Promise<ReadonlyMap<number, LoadedBlock>>;
  /** How many blocks of it are waited for. */
  readonly awaited: { count: number };
}

export class BlockLoader {
  readonly #store: ObjectStore;
  readonly cache: BlockCache;
  readonly #loading = new Budget(loadingBytesMax);
  /** By object and start of the block. */
  readonly #inFlight = new Map<string, RangeRead>();
  readonly #memory: ReusedMemory;

  constructor(store: ObjectStore, cacheBytesMax: number) {
    this.#store = store;
    this.cache = new BlockCache(cacheBytesMax);
    this.#memory = new ReusedMemory(cacheBytesMax);
  }

  /** Bytes on their way from the store. */
  get loadingBytes(): number {
    return this.#loading.used;
  }

  /** Blocks [first, end) of the footer, in order, each held once for the caller. Throws `ObjectGoneError` and what the store throws. */
  async load(
    identity: SectionIdentity,
    ref: SegmentRef,
    footer: SegmentFooter,
    first: number,
    end: number,
  ): Promise<readonly LoadedBlock[]> {
    const blocks: LoadedBlock[] = [];
    const missing: number[] = [];
    const reads: Promise<ReadonlyMap<number, LoadedBlock>>[] = [];
    for (let i = first; i < end; i++) {
      const block = footer.blocks[i] as Block;
      const cached = this.cache.get(ref.object, blockPosition(ref, block));
      if (cached !== undefined) {
        cached.loan?.hold();
        blocks[i - first] = { kind: "good", ...cached };
        continue;
      }
      const range = this.#inFlight.get(keyOf(ref, block)) ?? this.#startRange(identity, ref, footer, i, end);
      range.awaited.count++;
      missing.push(i);
      reads.push(range.blocks);
    }
    for (const [i, read] of (await Promise.all(reads)).entries()) {
      const index = missing[i] as number;
      blocks[index - first] = read.get((footer.blocks[index] as Block).start) as LoadedBlock;
    }
    return blocks;
  }

  /** One range read from block `first` on, over neighbours that nobody has or reads yet. */
  #startRange(
    identity: SectionIdentity,
    ref: SegmentRef,
    footer: SegmentFooter,
    first: number,
    endMax: number,
  ): RangeRead {
    let end = first;
    let length = 0;
    while (end < endMax) {
      const block = footer.blocks[end] as Block;
      if (end > first) {
        if (length + block.bytes > rangeBytesMax || this.#inFlight.has(keyOf(ref, block))) break;
        if (this.cache.has(ref.object, blockPosition(ref, block))) break;
      }
      length += block.bytes;
      end++;
    }
    const awaited = { count: 0 };
    const blocks = this.#readRange(identity, ref, footer, { first, end, length, awaited });
    const range: RangeRead = { blocks, awaited };
    for (const block of footer.blocks.slice(first, end)) this.#inFlight.set(keyOf(ref, block), range);
    return range;
  }

  async #readRange(
    identity: SectionIdentity,
    ref: SegmentRef,
    footer: SegmentFooter,
    range: {
      readonly first: number;
      readonly end: number;
      readonly length: number;
      readonly awaited: RangeRead["awaited"];
    },
  ): Promise<ReadonlyMap<number, LoadedBlock>> {
    const { first, end, length, awaited } = range;
    await this.#loading.take(length);
    try {
      const begin = footer.blocks[first] as Block;
      const taken = this.#memory.take(length);
      const place = { start: blockPosition(ref, begin), length };
      const bytes = await this.#store.get(ref.object, place, taken?.bytes);
      if (bytes === null) throw goneError(identity, ref);
      // A store need not use what it is offered.
      const loan = bytes.buffer === taken?.bytes.buffer ? taken : null;
      const loaded = new Map<number, LoadedBlock>();
      const good: { start: number; bytes: Uint8Array }[] = [];
      for (let i = first; i < end; i++) {
        const block = footer.blocks[i] as Block;
        const at = block.start - begin.start;
        const part = bytes.subarray(at, at + block.bytes);
        const error = checkBlock(identity, ref, block, blockEnd(footer, i), part);
        loaded.set(
          block.start,
          error === null ? { kind: "good", bytes: part, loan } : { kind: "damaged", error },
        );
        if (error === null) good.push({ start: blockPosition(ref, block), bytes: part });
      }
      // In the same step in which nobody can begin to wait any more.
      loan?.hold(awaited.count);
      this.cache.put(ref.object, loan?.bytes.byteLength ?? bytes.byteLength, good, loan);
      return loaded;
    } finally {
      for (const block of footer.blocks.slice(first, end)) this.#inFlight.delete(keyOf(ref, block));
      this.#loading.give(length);
    }
  }
}

/**
 * A damaged block is given up as a whole. Picking out batches by their own CRC would not be safe: it covers
 * neither offset nor epoch nor partition, so a misplaced piece of another partition's block could pass.
 */
function checkBlock(
  identity: SectionIdentity,
  ref: SegmentRef,
  block: Block,
  end: Offset,
  bytes: Uint8Array,
): DamageError | null {
  const short = bytes.byteLength < block.bytes;
  if (!short && crc32c(bytes, checksumSeed(identity, block.base)) === block.checksum) {
    return null;
  }
  const why = short ? "the object ends before them" : "they fail their checksum";
  const what = `Offsets ${block.base} to ${end} of ${nameOf(identity)}`;
  const where = `${ref.object} at byte ${blockPosition(ref, block)}`;
  return new DamageError(`${what} in ${where} are damaged: ${why}.`);
}

/** The offset behind the block's last one. */
export function blockEnd(footer: SegmentFooter, index: number): Offset {
  return footer.blocks[index + 1]?.base ?? footer.end;
}

const keyOf = (ref: SegmentRef, block: Block): string => `${ref.object}@${blockPosition(ref, block)}`;
