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

export type LoadedBlock =
  | { readonly kind: "good"; readonly bytes: Uint8Array }
  | { readonly kind: "damaged"; readonly error: DamageError };

export class BlockLoader {
  readonly #store: ObjectStore;
  readonly cache: BlockCache;
  readonly #loading = new Budget(loadingBytesMax);
  /** By object and start of the block. */
  readonly #inFlight = new Map<string, Promise<ReadonlyMap<number, LoadedBlock>>>();

  constructor(store: ObjectStore, cacheBytesMax: number) {
    this.#store = store;
    this.cache = new BlockCache(cacheBytesMax);
  }

  /** Bytes on their way from the store. */
  get loadingBytes(): number {
    return this.#loading.used;
  }

  /** Blocks [first, end) of the footer, in order. Throws `ObjectGoneError` and what the store throws. */
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
      const bytes = this.cache.get(ref.object, blockPosition(ref, block));
      if (bytes !== undefined) {
        blocks[i - first] = { kind: "good", bytes };
        continue;
      }
      missing.push(i);
      reads.push(this.#inFlight.get(keyOf(ref, block)) ?? this.#startRange(identity, ref, footer, i, end));
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
  ): Promise<ReadonlyMap<number, LoadedBlock>> {
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
    const keys = footer.blocks.slice(first, end).map((block) => keyOf(ref, block));
    const reading = this.#readRange(identity, ref, footer, { first, end, length }).finally(() => {
      for (const key of keys) this.#inFlight.delete(key);
    });
    for (const key of keys) this.#inFlight.set(key, reading);
    return reading;
  }

  async #readRange(
    identity: SectionIdentity,
    ref: SegmentRef,
    footer: SegmentFooter,
    range: { readonly first: number; readonly end: number; readonly length: number },
  ): Promise<ReadonlyMap<number, LoadedBlock>> {
    const { first, end, length } = range;
    await this.#loading.take(length);
    try {
      const begin = footer.blocks[first] as Block;
      const bytes = await this.#store.get(ref.object, { start: blockPosition(ref, begin), length });
      if (bytes === null) throw goneError(identity, ref);
      const loaded = new Map<number, LoadedBlock>();
      const good: { start: number; bytes: Uint8Array }[] = [];
      for (let i = first; i < end; i++) {
        const block = footer.blocks[i] as Block;
        const at = block.start - begin.start;
        const part = bytes.subarray(at, at + block.bytes);
        const checked = checkBlock(identity, ref, block, blockEnd(footer, i), part);
        loaded.set(block.start, checked);
        if (checked.kind === "good") good.push({ start: blockPosition(ref, block), bytes: part });
      }
      this.cache.put(ref.object, bytes.byteLength, good);
      return loaded;
    } finally {
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
): LoadedBlock {
  const short = bytes.byteLength < block.bytes;
  if (!short && crc32c(bytes, checksumSeed(identity, block.base)) === block.checksum) {
    return { kind: "good", bytes };
  }
  const why = short ? "the object ends before them" : "they fail their checksum";
  const what = `Offsets ${block.base} to ${end} of ${nameOf(identity)}`;
  const where = `${ref.object} at byte ${blockPosition(ref, block)}`;
  return { kind: "damaged", error: new DamageError(`${what} in ${where} are damaged: ${why}.`) };
}

/** The offset behind the block's last one. */
export function blockEnd(footer: SegmentFooter, index: number): Offset {
  return footer.blocks[index + 1]?.base ?? footer.end;
}

const keyOf = (ref: SegmentRef, block: Block): string => `${ref.object}@${blockPosition(ref, block)}`;
