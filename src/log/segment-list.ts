/**
 * Which segments form a partition: at most 64 recent references in the journal, everything older in one
 * immutable list object that the journal points at. Pure edits and lookups, and the bytes of a list:
 *
 *   object header as in segment-format.ts, kind list; then topic id uuid · partition int32 ·
 *   first int64 · end int64 · array of `SegmentRef` in version `format`
 *
 * The pointer's checksum covers everything behind the header and begins with the partition's identity.
 * A list never loses a reference by itself: only retention and replacement take some out, and they say which.
 */
import { assert } from "../base/assert.ts";
import { Reader, Writer } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { DamageError, MalformedError } from "../base/errors.ts";
import type { Offset, PartitionIndex } from "../base/ids.ts";
import { compile } from "../schema/compile.ts";
import { branded, int32, int64, struct, uuid } from "../schema/types.ts";
import {
  checksumSeed,
  decodeObjectHeader,
  encodeObjectHeader,
  ObjectKind,
  objectHeaderBytes,
  objectKey,
  type ObjectOrigin,
  type SectionIdentity,
  SEGMENT_FORMAT,
} from "./segment-format.ts";
import { type ListPointer, type SegmentRef, SegmentRefs } from "./segment-ref.ts";

/** The journal keeps at most so many references of a partition outside its list. */
export const recentSegmentsMax = 64;

/** A partition's segments as the journal has them; `PartitionState` is one. */
export interface PartitionSegments {
  readonly folded: ListPointer | null;
  /** Ascending. */
  readonly recent: readonly SegmentRef[];
}

const ListBody = struct({
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
  first: branded<Offset>(int64),
  end: branded<Offset>(int64),
  segments: SegmentRefs,
});
const listCodec = compile(ListBody, SEGMENT_FORMAT, { flexible: false });

/** Whether records lie in it, or it only carries what the partition was at its end. */
export const hasRecords = (ref: SegmentRef): boolean => ref.base < ref.end;

/** `refs` with `ref` behind them. */
export function appendSegment(refs: readonly SegmentRef[], ref: SegmentRef): readonly SegmentRef[] {
  const newest = refs.at(-1);
  assert(newest === undefined || ref.base >= newest.end, "a partition's segments do not overlap");
  return [...refs, ref];
}

/** Index of the first segment with records at or above `offset`; −1 when there is none. It may begin above `offset`. */
export function findSegment(refs: readonly SegmentRef[], offset: Offset): number {
  let low = 0;
  let high = refs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((refs[middle] as SegmentRef).end > offset) high = middle;
    else low = middle + 1;
  }
  while (low < refs.length && !hasRecords(refs[low] as SegmentRef)) low++;
  return low < refs.length ? low : -1;
}

/** Whether the answer for `offset` can lie in the folded list; otherwise the recent references are enough. */
export function isFolded(segments: PartitionSegments, offset: Offset): boolean {
  return segments.folded !== null && offset < segments.folded.end;
}

/** Drops what lies wholly below `start`. The newest reference stays, because it says what the partition is (its producers and epochs). */
export function trimSegments(
  refs: readonly SegmentRef[],
  start: Offset,
): { readonly kept: readonly SegmentRef[]; readonly dropped: readonly SegmentRef[] } {
  let first = 0;
  while (first < refs.length - 1 && (refs[first] as SegmentRef).end <= start) first++;
  return { kept: refs.slice(first), dropped: refs.slice(0, first) };
}

export function segmentBytes(refs: readonly SegmentRef[]): number {
  let bytes = 0;
  for (const ref of refs) bytes += ref.sectionBytes;
  return bytes;
}

/** Bytes of all segments of a partition, by the journal alone. */
export function partitionBytes(segments: PartitionSegments): number {
  return (segments.folded?.segmentBytes ?? 0) + segmentBytes(segments.recent);
}

/** Newest of all; it carries what the partition is. */
export function newestSegment(
  segments: PartitionSegments,
  list: readonly SegmentRef[] = [],
): SegmentRef | undefined {
  return segments.recent.at(-1) ?? list.at(-1);
}

export interface FoldedList {
  readonly pointer: ListPointer;
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
}

/** The list object of `refs`, and the pointer to publish once the object is known durable. */
export function encodeList(
  origin: ObjectOrigin,
  identity: SectionIdentity,
  refs: readonly SegmentRef[],
): FoldedList {
  const oldest = refs[0];
  const newest = refs.at(-1);
  assert(oldest !== undefined && newest !== undefined, "a list names at least one segment");
  for (let i = 1; i < refs.length; i++) {
    const before = refs[i - 1] as SegmentRef;
    assert((refs[i] as SegmentRef).base >= before.end, "the segments of a list ascend without overlap");
  }
  const { topicId, partition } = identity;
  const body = new Writer(64 + refs.length * 160);
  listCodec.write(body, { topicId, partition, first: oldest.base, end: newest.end, segments: refs });
  const bytes = body.finishFlat();
  return {
    chunks: [encodeObjectHeader(origin, ObjectKind.list, bytes.byteLength), bytes],
    length: objectHeaderBytes + bytes.byteLength,
    pointer: {
      object: objectKey(origin.epoch, origin.counter),
      bytes: objectHeaderBytes + bytes.byteLength,
      checksum: crc32c(bytes, checksumSeed(identity, oldest.base)),
      first: oldest.base,
      end: newest.end,
      segmentBytes: segmentBytes(refs),
      segmentCount: refs.length,
    },
  };
}

/** The references in a list object. Throws `DamageError` that names partition and object. */
export function decodeList(
  bytes: Uint8Array,
  identity: SectionIdentity,
  pointer: ListPointer,
): readonly SegmentRef[] {
  try {
    return decode(bytes, identity, pointer);
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    throw new DamageError(
      `The segment list ${pointer.object} of partition ${identity.partition} of topic ${identity.topicId}, ` +
        `offsets ${pointer.first} to ${pointer.end}, is damaged: ${cause.message}.`,
      { cause },
    );
  }
}

function decode(bytes: Uint8Array, identity: SectionIdentity, pointer: ListPointer): readonly SegmentRef[] {
  if (bytes.byteLength !== pointer.bytes) {
    throw new MalformedError(`it has ${bytes.byteLength} bytes instead of ${pointer.bytes}`);
  }
  const header = decodeObjectHeader(bytes);
  if (header.kind !== ObjectKind.list || objectKey(header.epoch, header.counter) !== pointer.object) {
    throw new MalformedError("its header is that of another object");
  }
  const body = bytes.subarray(objectHeaderBytes);
  if (crc32c(body, checksumSeed(identity, pointer.first)) !== pointer.checksum) {
    throw new MalformedError("it fails its checksum");
  }
  const reader = new Reader(body);
  const list = listCodec.read(reader);
  if (
    reader.remaining !== 0 ||
    list.topicId !== identity.topicId ||
    list.partition !== identity.partition ||
    list.end !== pointer.end ||
    list.segments.length !== pointer.segmentCount
  ) {
    throw new MalformedError("it is the list of another partition");
  }
  return list.segments;
}
