/**
 * Which segments form a partition: at most 64 recent references in the journal, everything older in one
 * immutable list object that the journal points at. Pure edits and lookups, and the bytes of a list:
 *
 *   object header as in segment-format.ts, kind list; then topic id uuid · partition int32 ·
 *   previous `ListPointer` or null · array of `SegmentRef`, in version `format`
 *
 * A list goes on from the list before it, if that one is long or cannot be read; so what is folded is
 * written again only a bounded number of times, and a damaged list stays named and stops nobody.
 * The pointer's checksum covers everything behind the header and begins with the partition's identity.
 * A list never loses a reference by itself: only retention and replacement take some out, and they say which.
 */
import { assert } from "../base/assert.ts";
import { Reader, Writer } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { DamageError, MalformedError } from "../base/errors.ts";
import type { Offset, PartitionIndex } from "../base/ids.ts";
import { compile } from "../schema/compile.ts";
import { branded, type Decoded, int32, nullable, struct, uuid } from "../schema/types.ts";
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
import { ListPointer, type SegmentRef, SegmentRefs } from "./segment-ref.ts";

/** The journal keeps at most so many references of a partition outside its list. */
export const recentSegmentsMax = 64;

/** A partition's segments as the journal has them; `PartitionState` is one. */
export interface PartitionSegments {
  readonly folded: ListPointer | null;
  /** Ascending. */
  readonly recent: readonly SegmentRef[];
}

export const ListBody = struct({
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
  /** The list with what is older than `segments`. */
  previous: nullable(ListPointer),
  segments: SegmentRefs,
});
export type SegmentList = Pick<Decoded<typeof ListBody>, "previous" | "segments">;
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

/** Whether records at `offset` can be behind the pointer. */
export function isListed(pointer: ListPointer | null, offset: Offset): pointer is ListPointer {
  return pointer !== null && offset < pointer.end;
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

export interface FoldedList {
  readonly pointer: ListPointer;
  readonly chunks: readonly Uint8Array[];
  readonly length: number;
}

/** The list object, and the pointer to publish once the object is known durable. */
export function encodeList(origin: ObjectOrigin, identity: SectionIdentity, list: SegmentList): FoldedList {
  const { previous, segments } = list;
  const oldest = segments[0];
  const newest = segments.at(-1);
  assert(oldest !== undefined && newest !== undefined, "a list names at least one segment");
  let end = previous?.end ?? oldest.base;
  for (const ref of segments) {
    assert(ref.base >= end, "the segments of a list ascend without overlap");
    end = ref.end;
  }
  const { topicId, partition } = identity;
  const body = new Writer(256 + segments.length * 160);
  listCodec.write(body, { topicId, partition, previous, segments });
  const bytes = body.finishFlat();
  const first = previous?.first ?? oldest.base;
  return {
    chunks: [encodeObjectHeader(origin, ObjectKind.list, bytes.byteLength), bytes],
    length: objectHeaderBytes + bytes.byteLength,
    pointer: {
      object: objectKey(origin.epoch, origin.counter),
      bytes: objectHeaderBytes + bytes.byteLength,
      checksum: crc32c(bytes, checksumSeed(identity, first)),
      first,
      end: newest.end,
      segmentBytes: (previous?.segmentBytes ?? 0) + segmentBytes(segments),
      segmentCount: (previous?.segmentCount ?? 0) + segments.length,
    },
  };
}

/** Throws `DamageError` that names partition and object. */
export function decodeList(bytes: Uint8Array, identity: SectionIdentity, pointer: ListPointer): SegmentList {
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

function decode(bytes: Uint8Array, identity: SectionIdentity, pointer: ListPointer): SegmentList {
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
    list.segments.at(-1)?.end !== pointer.end
  ) {
    throw new MalformedError("it is the list of another partition");
  }
  return { previous: list.previous, segments: list.segments };
}
