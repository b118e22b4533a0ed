/**
 * Offset or timestamp → segment → blocks → whole batches, out of the object store through bounded
 * caches. Nothing is served that did not pass its checksum; what is damaged is named by topic, partition,
 * offsets and object, and everything beside it stays readable. An object that is gone means first of all
 * that the references are out of date: they are looked up again before it is called damage.
 */
import { DamageError } from "../base/errors.ts";
import type { Offset } from "../base/ids.ts";
import type { Logger, ObjectStore } from "../base/ports.ts";
import { lend } from "../base/reused-memory.ts";
import { BatchView, batchesIn } from "../record/batch.ts";
import { AbortedLookup } from "./aborted-lookup.ts";
import { blockEnd, BlockLoader, type GoodBlock } from "./block-loader.ts";
import { ReadAhead } from "./read-ahead.ts";
import type { AbortedTransaction, Block, SectionIdentity, SegmentFooter } from "./segment-format.ts";
import { ObjectGoneError, SegmentIndex, type SegmentSource } from "./segment-index.ts";
import { hasRecords } from "./segment-list.ts";
import type { SegmentRef } from "./segment-ref.ts";

export interface ReadBounds {
  /** About so many bytes; a first batch that is larger comes all the same. */
  readonly bytesMax: number;
  /** No batch that begins at or above it. */
  readonly limit: Offset;
  /** Everything below `limit` is decided, and what of it was aborted is wanted as well. Default false. */
  readonly isCommitted?: boolean;
}

export type SegmentRead =
  | {
      readonly kind: "batches";
      /**
       * Whole batches; the first may begin below the offset that was asked for. Read only: others may read
       * the same bytes. Who is done with a chunk may `giveBack` it (base/reused-memory.ts).
       */
      readonly chunks: readonly Uint8Array[];
      readonly bytes: number;
      /** Where the next read begins. */
      readonly next: Offset;
      /**
       * With `isCommitted`: the aborted transactions with records in `chunks` and a marker in segments; the
       * rest is in memory.
       */
      readonly aborted: readonly AbortedTransaction[];
    }
  | Damaged
  /** No segment has a record at or above the offset. */
  | { readonly kind: "absent" };

/** Offsets [from, to) cannot be read; the next read begins at `to`. */
export interface Damaged {
  readonly kind: "damaged";
  readonly from: Offset;
  readonly to: Offset;
  readonly error: DamageError;
}

export type TimestampRead =
  /** The first batch whose maximum timestamp is at least the wanted one. */
  { readonly kind: "batch"; readonly batch: Uint8Array } | Damaged | { readonly kind: "absent" };

export interface SegmentReaderOptions {
  readonly store: ObjectStore;
  /** Hears of damage: what readers were refused, and what a copy made good. */
  readonly log?: Pick<Logger, "error">;
  /** Bytes of blocks that are kept. */
  readonly blockBytesMax: number;
  /** Bytes of decoded footers and lists that are kept. */
  readonly indexBytesMax: number;
  /**
   * Brings the journal's view up to date before an object that is gone is looked up again: who lost a
   * partition without knowing it reads by references that are old. Rejects: nothing is told, not even damage.
   */
  readonly refresh?: () => Promise<void>;
}

/** So many small segments one read may go through. */
const segmentsPerReadMax = 32;
/** How often references are looked up again when objects keep vanishing under a read. */
const lookupsMax = 4;
/** The farthest that is read ahead of one reader; at most an eighth of the cache. */
const aheadBytesMax = 4 * 1024 * 1024;
/** So many readers are read ahead for at the same time. */
const aheadLoadsMax = 4;

/** So many damaged ranges are remembered as reported. */
const reportedMax = 10_000;

export class SegmentReader {
  /** Footers, lists and the way to a segment. */
  readonly index: SegmentIndex;
  readonly blocks: BlockLoader;
  readonly #aborted: AbortedLookup;
  readonly #ahead: ReadAhead;
  readonly #log: Pick<Logger, "error"> | undefined;
  readonly #refresh: () => Promise<void>;
  readonly #reported = new Set<string>();
  #aheadLoads = 0;

  constructor(options: SegmentReaderOptions) {
    this.index = new SegmentIndex(options.store, options.indexBytesMax, options.log);
    this.#aborted = new AbortedLookup(this.index);
    this.blocks = new BlockLoader(options.store, options.blockBytesMax);
    this.#log = options.log;
    this.#refresh = options.refresh ?? (() => Promise.resolve());
    const windowBytesMax = Math.min(aheadBytesMax, Math.floor(options.blockBytesMax / 8));
    this.#ahead = new ReadAhead(windowBytesMax, options.blockBytesMax / 2);
  }

  /**
   * Whole batches beginning with the one that contains `from`, or with the next one there is. Good batches
   * before a damaged place come first, then the damage by itself. Throws `DamageError` when a folded list
   * cannot be read, because then nothing is known about where the records are.
   */
  async read(source: SegmentSource, from: Offset, bounds: ReadBounds): Promise<SegmentRead> {
    const answer = await lookAgain(this.#refresh, () => this.#read(asNow(source), from, bounds));
    if (answer.kind === "batches") this.#readAhead(source, from, answer, bounds.limit);
    if (answer.kind === "damaged") this.#report(answer);
    return answer;
  }

  /** Each damaged range once, however often it is asked for. */
  #report({ from, to, error }: Damaged): void {
    if (this.#reported.has(error.message)) return;
    if (this.#reported.size === reportedMax) this.#reported.clear();
    this.#reported.add(error.message);
    this.#log?.error("segment.damaged", { from, to, cause: error });
  }

  async #read(source: SegmentSource, from: Offset, bounds: ReadBounds): Promise<SegmentRead> {
    const answer = await this.#readBatches(source, from, bounds);
    if (answer.kind !== "batches" || answer.bytes === 0 || bounds.isCommitted !== true) return answer;
    const range = { from, to: answer.next };
    const aborted = await this.#aborted.in(source, range).catch(damageAsValue);
    // Who cannot tell what was committed gives nothing.
    return aborted instanceof DamageError
      ? damaged(from, from, answer.next, aborted)
      : { ...answer, aborted };
  }

  async #readBatches(source: SegmentSource, from: Offset, bounds: ReadBounds): Promise<SegmentRead> {
    const collected = new Collected(from, bounds);
    for (let i = 0; i < segmentsPerReadMax && !collected.isFull; i++) {
      const ref = await this.index.locate(source, collected.next);
      if (ref === null) return collected.isEmpty ? { kind: "absent" } : collected.answer();
      if (ref.base >= bounds.limit) {
        collected.endAtLimit();
        break;
      }
      const damaged = await this.index.inUse.during(ref.object, () => this.#collect(source, ref, collected));
      if (damaged !== null) return collected.isEmpty ? damaged : collected.answer();
      if (!collected.isFull) collected.skipTo(ref.end);
      if (collected.next >= bounds.limit) break;
    }
    return collected.answer();
  }

  /** Adds what `ref` has from `collected.next` on, as far as the bounds allow. */
  async #collect(source: SegmentSource, ref: SegmentRef, collected: Collected): Promise<Damaged | null> {
    const footer = await this.#footerOf(source, ref);
    if (footer instanceof DamageError) return damaged(collected.next, ref.base, ref.end, footer);
    const { blocks } = footer;
    let first = blockIndex(blocks, collected.next);
    while (first < blocks.length && !collected.isFull) {
      const { base, bytes } = blocks[first] as Block;
      if (base >= collected.bounds.limit) collected.endAtLimit();
      // What does not fit is left to the next read: it would push out of the cache what somebody waits for.
      else if (!collected.isEmpty && bytes > collected.bytesLeft) collected.close();
      if (collected.isFull) break;
      const end = blocksWithin(blocks, first, collected.bytesLeft, collected.bounds.limit);
      const loaded = await this.#blocksOf(source, ref, footer, first, end);
      if (loaded instanceof DamageError) return damaged(collected.next, ref.base, ref.end, loaded);
      for (const [i, block] of loaded.entries()) {
        const to = blockEnd(footer, first + i);
        if (block.kind === "damaged") {
          if (collected.isFull) break;
          return damaged(collected.next, (blocks[first + i] as Block).base, to, block.error);
        }
        collected.add(block, (blocks[first + i] as Block).base, to);
      }
      first = end;
    }
    return null;
  }

  /** The first batch in [from, limit) that by its header has a timestamp ≥ `timestamp`, ms since 1970. */
  async findTimestamp(
    source: SegmentSource,
    timestamp: number,
    range: { readonly from: Offset; readonly limit: Offset },
  ): Promise<TimestampRead> {
    const answer = await lookAgain<TimestampRead>(this.#refresh, async () => {
      for (const ref of await this.index.from(source, range.from)) {
        if (!hasRecords(ref) || ref.maxTimestamp < timestamp) continue;
        if (ref.base >= range.limit) break;
        const answer = await this.index.inUse.during(ref.object, () =>
          this.#findTimestampIn(source, ref, timestamp, range),
        );
        if (answer !== null) return answer;
      }
      return { kind: "absent" };
    });
    if (answer.kind === "damaged") this.#report(answer);
    return answer;
  }

  async #findTimestampIn(
    source: SegmentSource,
    ref: SegmentRef,
    timestamp: number,
    range: { readonly from: Offset; readonly limit: Offset },
  ): Promise<TimestampRead | null> {
    const footer = await this.#footerOf(source, ref);
    if (footer instanceof DamageError) return damaged(range.from, ref.base, ref.end, footer);
    for (let i = blockIndex(footer.blocks, range.from); i < footer.blocks.length; i++) {
      const block = footer.blocks[i] as Block;
      if (block.base >= range.limit) return null;
      if (block.maxTimestamp < timestamp) continue;
      const loaded = await this.#blocksOf(source, ref, footer, i, i + 1);
      if (loaded instanceof DamageError) return damaged(range.from, ref.base, ref.end, loaded);
      const only = loaded[0];
      if (only === undefined) return null;
      if (only.kind === "damaged") {
        return damaged(range.from, block.base, blockEnd(footer, i), only.error);
      }
      for (const batch of batchesIn(only.bytes)) {
        if (batch.nextOffset <= range.from || batch.maxTimestamp < timestamp) continue;
        // Its memory stays lent: whoever gets the batch may keep it.
        return batch.baseOffset < range.limit ? { kind: "batch", batch: batch.bytes } : null;
      }
      only.loan?.release();
    }
    return null;
  }

  /** A damaged footer is an answer here; what else goes wrong is thrown. */
  #footerOf(identity: SectionIdentity, ref: SegmentRef): Promise<SegmentFooter | DamageError> {
    return this.index.footer(identity, ref).catch(damageAsValue);
  }

  #blocksOf(identity: SectionIdentity, ref: SegmentRef, footer: SegmentFooter, first: number, end: number) {
    return this.blocks.load(identity, ref, footer, first, end).catch(damageAsValue);
  }

  /** Fetches in the background what a reader who catches up will ask for next. */
  #readAhead(
    source: SegmentSource,
    from: Offset,
    answer: { readonly next: Offset; readonly bytes: number },
    limit: Offset,
  ): void {
    const bytes = this.#ahead.advance(source, from, answer.next, answer.bytes);
    if (bytes === 0 || this.#aheadLoads >= aheadLoadsMax) return;
    this.#aheadLoads++;
    this.#prefetch(source, answer.next, bytes, limit)
      // A reader will come to the same place and is told there.
      .catch(() => undefined)
      .finally(() => this.#aheadLoads--);
  }

  /** Also over the ends of segments, since those out of packs are small; never what begins at `limit`, which is in memory. */
  async #prefetch(source: SegmentSource, from: Offset, bytes: number, limit: Offset): Promise<void> {
    let next = from;
    let bytesLeft = bytes;
    for (let i = 0; i < segmentsPerReadMax && bytesLeft > 0; i++) {
      const ref = await this.index.locate(source, next);
      if (ref === null || ref.base >= limit) return;
      bytesLeft -= await this.index.inUse.during(ref.object, () =>
        this.#prefetchIn(source, ref, next, bytesLeft, limit),
      );
      next = ref.end;
    }
  }

  /** How many bytes were read. */
  async #prefetchIn(
    source: SegmentSource,
    ref: SegmentRef,
    from: Offset,
    bytesMax: number,
    limit: Offset,
  ): Promise<number> {
    const footer = await this.index.footer(source, ref);
    const first = blockIndex(footer.blocks, from);
    if (first >= footer.blocks.length) return 0;
    const end = blocksWithin(footer.blocks, first, bytesMax, limit);
    const loaded = await this.blocks.load(source, ref, footer, first, end);
    for (const block of loaded) if (block.kind === "good") block.loan?.release();
    return footer.blocks.slice(first, end).reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

/** What one read has found so far. */
class Collected {
  readonly bounds: ReadBounds;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #next: Offset;
  #closed = false;

  constructor(from: Offset, bounds: ReadBounds) {
    this.#next = from;
    this.bounds = bounds;
  }

  get next(): Offset {
    return this.#next;
  }
  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }
  /** Nothing more may be added. */
  get isFull(): boolean {
    return this.#closed;
  }
  get bytesLeft(): number {
    return this.bounds.bytesMax - this.#bytes;
  }

  close(): void {
    this.#closed = true;
  }

  /** What follows begins at or above the limit: below it nothing is left to be read, as after a compaction. */
  endAtLimit(): void {
    this.skipTo(this.bounds.limit);
    this.#closed = true;
  }

  /** Never beyond the limit: what lies there is for another to give, though segments know that it is gone. */
  skipTo(offset: Offset): void {
    const to = offset < this.bounds.limit ? offset : this.bounds.limit;
    if (to > this.#next) this.#next = to;
  }

  /**
   * Adds the batches of a block from `next` on, in one piece. The block begins at `base`, which may lie below
   * `next` (segments can be exchanged between two of them), and `end` is the offset behind it.
   */
  add({ bytes: block, loan }: GoodBlock, base: Offset, end: Offset): void {
    const isWhole = base >= this.#next && end <= this.bounds.limit;
    if (!this.#closed && !this.isEmpty && isWhole && block.byteLength < this.bytesLeft) {
      this.#push(block.subarray(0), loan);
      this.#next = end;
      return;
    }
    let begin = -1;
    let at = 0;
    while (at < block.byteLength && !this.#closed) {
      const batch = BatchView.at(block, at);
      if (batch.nextOffset > this.#next) {
        if (batch.baseOffset >= this.bounds.limit) {
          this.endAtLimit();
          break;
        }
        const size = at + batch.sizeInBytes - (begin < 0 ? at : begin);
        if (size > this.bytesLeft && !(this.isEmpty && begin < 0)) {
          this.#closed = true;
          break;
        }
        if (begin < 0) begin = at;
        this.#next = batch.nextOffset;
      }
      at += batch.sizeInBytes;
    }
    if (begin >= 0) this.#push(block.subarray(begin, at), loan);
    else loan?.release();
    if (this.bytesLeft <= 0) this.#closed = true;
    if (!this.#closed) this.skipTo(end);
  }

  /** `chunk` is an array of its own, which whoever gets the answer may give back. */
  #push(chunk: Uint8Array, loan: GoodBlock["loan"]): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (loan !== null) lend(chunk, loan);
  }

  answer(): SegmentRead {
    return { kind: "batches", chunks: this.#chunks, bytes: this.#bytes, next: this.#next, aborted: [] };
  }
}

/** Index of the block that contains `offset`, or else of the next one. */
function blockIndex(blocks: readonly Block[], offset: Offset): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((blocks[middle] as Block).base <= offset) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

/** The end of the run of blocks from `first` on that begin below `limit` and fit into `bytes`; the first belongs to it in any case. */
function blocksWithin(blocks: readonly Block[], first: number, bytes: number, limit: Offset): number {
  let end = first + 1;
  let sum = (blocks[first] as Block).bytes;
  while (end < blocks.length) {
    const block = blocks[end] as Block;
    sum += block.bytes;
    if (sum > bytes || block.base >= limit) break;
    end++;
  }
  return end;
}

/** With the references of this moment: footers and records of one read belong together. */
function asNow(source: SegmentSource): SegmentSource {
  const { topicId, partition } = source;
  const segments = source.segments();
  return { topicId, partition, segments: () => segments };
}

function damaged(next: Offset, base: Offset, to: Offset, error: DamageError): Damaged {
  return { kind: "damaged", from: next > base ? next : base, to, error };
}

function damageAsValue(cause: unknown): DamageError {
  if (cause instanceof DamageError) return cause;
  throw cause;
}

/** Tries again with fresh references as long as objects are gone; what is still referred to then is damage. */
async function lookAgain<T extends { readonly kind: string; readonly error?: DamageError }>(
  refresh: () => Promise<void>,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let lookups = 1; ; lookups++) {
    try {
      const answer = await attempt();
      if (!(answer.error instanceof ObjectGoneError) || lookups === lookupsMax) return answer;
    } catch (cause) {
      if (!(cause instanceof ObjectGoneError) || lookups === lookupsMax) throw cause;
    }
    await refresh();
  }
}
