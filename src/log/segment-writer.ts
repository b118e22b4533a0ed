/**
 * Batches → the chunks of an object and the references to its sections. Large payloads are taken by
 * reference and must not change until the object is stored; runs of small ones are copied together,
 * since a write with ten thousand tiny chunks costs more than the copy. Nothing here touches the store,
 * and no reference made here may be published before the put of its object is known durable.
 */
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import { crc32c, crc32cJoin } from "../base/crc32c.ts";
import { advance, offset, type Offset } from "../base/ids.ts";
import { BatchView } from "../record/batch.ts";
import type { SegmentBatch } from "./flush-source.ts";
import {
  type Block,
  blockBytesTarget,
  checksumSeed,
  encodeFooter,
  encodeObjectHeader,
  encodeTrailer,
  type FooterState,
  ObjectKind,
  objectHeaderBytes,
  objectKey,
  type ObjectOrigin,
  type SectionIdentity,
  SEGMENT_FORMAT,
  trailerBytes,
} from "./segment-format.ts";
import type { SegmentRef } from "./segment-ref.ts";

/** A partition's share of at least this becomes an object of its own. */
export const ownSegmentBytesMin = 1024 * 1024;
/** A pack is closed by the share that reaches this. */
export const packBytesTarget = 16 * 1024 * 1024;
/** Batches below this are copied together. */
const copyBytesMax = 4096;
/** From here on joining two checksums is quicker than reading the bytes. */
const joinedBytesMin = 32 * 1024;
/** After so many bytes of checksums the event loop gets its turn: one or two milliseconds. */
const sliceBytes = 2 * 1024 * 1024;
/** A batch costs as much as so many bytes, whatever its size. */
const batchCostBytes = 2048;
/** And a section, with its two footers. */
const sectionCostBytes = 32 * 1024;

/** One partition's batches on their way into a section. */
export interface SectionDraft extends SectionIdentity {
  /** Offsets [base, end). Equal: a footer alone. */
  readonly base: Offset;
  readonly end: Offset;
  /** In order, inside [base, end). */
  readonly batches: readonly SegmentBatch[];
  readonly appendedFirstMs: number;
  readonly appendedLastMs: number;
  readonly state: FooterState;
}

export interface BuiltObject {
  readonly key: string;
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
  /** One per draft, in their order. */
  readonly refs: readonly SegmentRef[];
}

/** Which drafts share an object: large ones have one to themselves. */
export function planObjects(drafts: readonly SectionDraft[]): readonly (readonly SectionDraft[])[] {
  const objects: SectionDraft[][] = [];
  let pack: SectionDraft[] = [];
  let packBytes = 0;
  for (const draft of drafts) {
    const bytes = batchBytes(draft.batches);
    if (bytes >= ownSegmentBytesMin) {
      objects.push([draft]);
      continue;
    }
    pack.push(draft);
    packBytes += bytes;
    if (packBytes >= packBytesTarget) {
      objects.push(pack);
      pack = [];
      packBytes = 0;
    }
  }
  if (pack.length > 0) objects.push(pack);
  return objects;
}

export function batchBytes(batches: readonly SegmentBatch[]): number {
  let bytes = 0;
  for (const batch of batches) bytes += batch.payload.byteLength;
  return bytes;
}

/** `pause` lets the event loop do other work; it is awaited every few MiB. Blocks close at `blockBytes`. */
export async function buildObject(
  origin: ObjectOrigin,
  drafts: readonly SectionDraft[],
  pause: () => Promise<void>,
  blockBytes = blockBytesTarget,
): Promise<BuiltObject> {
  const key = objectKey(origin.epoch, origin.counter);
  const body: Uint8Array[] = [];
  const refs: SegmentRef[] = [];
  let at = objectHeaderBytes;
  let sinceYield = 0;
  for (const draft of drafts) {
    const section = new SectionBuilder(draft, blockBytes);
    for (const batch of draft.batches) {
      section.add(batch);
      sinceYield += batch.payload.byteLength + batchCostBytes;
      if (sinceYield >= sliceBytes) {
        sinceYield = 0;
        await pause();
      }
    }
    const finished = section.finish(origin, key, at);
    for (const chunk of finished.chunks) body.push(chunk);
    refs.push(finished.ref);
    at += finished.ref.sectionBytes;
    sinceYield += sectionCostBytes;
    if (sinceYield >= sliceBytes) {
      sinceYield = 0;
      await pause();
    }
  }
  const header = encodeObjectHeader(origin, ObjectKind.segment, at - objectHeaderBytes);
  return { key, chunks: [header, ...body], length: at, refs };
}

class SectionBuilder {
  readonly #draft: SectionDraft;
  readonly #blockBytes: number;
  readonly #chunks: Uint8Array[] = [];
  readonly #blocks: Block[] = [];
  /** Small batches of the open block that were not copied yet. */
  #small: Uint8Array[] = [];
  #bytes = 0;
  #next: Offset;
  #recordCount = 0;
  #maxTimestamp = -1;
  #maxTimestampOffset = offset(-1);
  #blockBase: Offset | null = null;
  #blockStart = 0;
  #blockMaxTimestamp = -1;
  #blockChecksum = 0;

  constructor(draft: SectionDraft, blockBytes: number) {
    this.#draft = draft;
    this.#blockBytes = blockBytes;
    this.#next = draft.base;
  }

  add(batch: SegmentBatch): void {
    const { payload, baseOffset } = batch;
    const view = BatchView.at(payload);
    assert(
      view.sizeInBytes === payload.byteLength && view.baseOffset === baseOffset,
      "a batch on its way into a segment carries the offset that it was given",
    );
    assert(baseOffset >= this.#next, "batches on their way into a segment are in order");
    this.#next = advance(baseOffset, batch.count);
    if (this.#blockBase === null) {
      this.#blockBase = baseOffset;
      this.#blockStart = this.#bytes;
      this.#blockMaxTimestamp = -1;
      this.#blockChecksum = checksumSeed(this.#draft, baseOffset);
    }
    const maxTimestamp = view.maxTimestamp;
    if (maxTimestamp > this.#blockMaxTimestamp) this.#blockMaxTimestamp = maxTimestamp;
    if (maxTimestamp > this.#maxTimestamp) {
      this.#maxTimestamp = maxTimestamp;
      this.#maxTimestampOffset = baseOffset;
    }
    this.#recordCount += view.recordCount;
    this.#put(payload, batch.payloadChecksum);
    if (this.#bytes - this.#blockStart >= this.#blockBytes) this.#closeBlock();
  }

  #put(payload: Uint8Array, checksum: number | undefined): void {
    this.#bytes += payload.byteLength;
    if (payload.byteLength <= copyBytesMax) {
      this.#small.push(payload);
      return;
    }
    this.#copySmall();
    this.#append(payload, checksum);
  }

  #copySmall(): void {
    if (this.#small.length === 0) return;
    this.#append(this.#small.length === 1 ? (this.#small[0] as Uint8Array) : concatBytes(this.#small));
    this.#small = [];
  }

  #append(chunk: Uint8Array, checksum?: number): void {
    this.#chunks.push(chunk);
    this.#blockChecksum =
      checksum === undefined || chunk.byteLength < joinedBytesMin
        ? crc32c(chunk, this.#blockChecksum)
        : crc32cJoin(this.#blockChecksum, checksum, chunk.byteLength);
  }

  #closeBlock(): void {
    if (this.#blockBase === null) return;
    this.#copySmall();
    this.#blocks.push({
      base: this.#blockBase,
      maxTimestamp: this.#blockMaxTimestamp,
      start: this.#blockStart,
      bytes: this.#bytes - this.#blockStart,
      checksum: this.#blockChecksum,
    });
    this.#blockBase = null;
  }

  finish(
    origin: ObjectOrigin,
    key: string,
    sectionStart: number,
  ): { readonly chunks: readonly Uint8Array[]; readonly ref: SegmentRef } {
    this.#closeBlock();
    const { topicId, partition, base, end, batches, appendedFirstMs, appendedLastMs, state } = this.#draft;
    assert(this.#next <= end, "a segment's end is not below its last batch");
    const known = {
      base,
      end,
      recordCount: this.#recordCount,
      maxTimestamp: this.#maxTimestamp,
      maxTimestampOffset: this.#maxTimestampOffset,
      appendedFirstMs,
      appendedLastMs,
    };
    const footer = encodeFooter({
      topicId,
      partition,
      epoch: origin.epoch,
      counter: origin.counter,
      ...known,
      batchCount: batches.length,
      blocks: this.#blocks,
      state,
    });
    const footerBytes = footer.bytes.byteLength;
    const sectionBytes = footerBytes + this.#bytes + footerBytes + trailerBytes;
    const trailer = encodeTrailer(sectionBytes, footerBytes, footer.checksum);
    const ref: SegmentRef = {
      object: key,
      sectionStart,
      sectionBytes,
      footerBytes,
      footerChecksum: footer.checksum,
      ...known,
      format: SEGMENT_FORMAT,
    };
    return { chunks: [footer.bytes, ...this.#chunks, footer.bytes, trailer], ref };
  }
}
