/**
 * How the journal names a segment: a section of an object that holds one partition's batches from
 * `base` to `end`, with what retention and lookups need to know without reading it.
 */
import type { LeaderEpoch, Offset, PartitionIndex, WalPosition } from "../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
  int32,
  int64,
  nullable,
  string,
  struct,
  uint16,
  uint32,
  uuid,
} from "../schema/types.ts";

export const SegmentRef = struct({
  /** Key in the object store, `seg/<epoch>/<counter>`. A name is used for one content only. */
  object: string,
  /** Where the section lies in the object: first byte, and length with its footer. A segment of its own starts at 0 behind the object's header. */
  sectionStart: int64,
  sectionBytes: int64,
  /** Length of the footer at the section's end, and its CRC32C. */
  footerBytes: int32,
  footerChecksum: uint32,
  /** Offsets [base, end). `base = end`: a footer alone, which carries producers, epochs and the end. */
  base: branded<Offset>(int64),
  end: branded<Offset>(int64),
  recordCount: int64,
  /** −1 when there is no record. */
  maxTimestamp: int64,
  /** Base offset of the first batch that has this maximum timestamp in its header; the record is found by decoding it. */
  maxTimestampOffset: branded<Offset>(int64),
  /** When the broker appended the first and the last batch, ms since 1970. */
  appendedFirstMs: int64,
  appendedLastMs: int64,
  /** Layout of the section: see segment-format.ts. */
  format: uint16,
});
export interface SegmentRef extends Decoded<typeof SegmentRef> {}

/** Older references of a partition, folded into one immutable list object. */
export const ListPointer = struct({
  object: string,
  bytes: int32,
  checksum: uint32,
  first: branded<Offset>(int64),
  end: branded<Offset>(int64),
  /** Sum over the listed segments, for retention by size. */
  segmentBytes: int64,
  segmentCount: int32,
});
export interface ListPointer extends Decoded<typeof ListPointer> {}

export const FlushRow = struct({
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
  leaderEpoch: branded<LeaderEpoch>(int32),
  /** What was flushed before and is now. Equal: the row only clears dependencies on older WALs. */
  from: branded<Offset>(int64),
  to: branded<Offset>(int64),
  /** A log start that moved through the WAL (DeleteRecords); −1: none. */
  start: branded<Offset>(int64),
  segment: nullable(SegmentRef),
});
export interface FlushRow extends Decoded<typeof FlushRow> {}

/** One FLUSH command: rows, up to where the WAL may be released, and the lowest object counter still in the making. */
export interface Flush {
  readonly rows: readonly FlushRow[];
  readonly release: WalPosition;
  readonly below: number;
}

/**
 * Puts a FLUSH into the journal. Resolves when its slot is decided; "void": a row no longer held, nothing
 * took effect. Rejects with a retriable error when nothing took effect either (the disk is full); after any
 * other error the outcome is unknown.
 */
export type PublishFlush = (flush: Flush) => Promise<"published" | "void">;

export const SegmentRefs = array(SegmentRef);

/** How far compaction has come in a partition. */
export const Compacted = struct({
  /** Below it no record has a newer one of the same key that is also below it, except what could not be read. */
  to: branded<Offset>(int64),
  /** When the first of the tombstones and markers below `to` may go, ms since 1970; −1: there is none. */
  horizonMs: int64,
});
export interface Compacted extends Decoded<typeof Compacted> {}

/**
 * One partition's exchange of segments for others with the same offsets (compaction). It names everything
 * that it takes out of the journal, so that it is void when anything of that has changed meanwhile.
 */
export const ReplaceRow = struct({
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
  leaderEpoch: branded<LeaderEpoch>(int32),
  /** The list as it stands, and what takes its place; equal: it stays. */
  previous: nullable(ListPointer),
  next: nullable(ListPointer),
  /** The oldest of the recent references, by their sections. */
  old: array(struct({ object: string, sectionStart: int64 })),
  /** What takes the place of those, and of what `next` does not list any more. */
  segments: SegmentRefs,
  /** Null: what the journal has stays. */
  compacted: nullable(Compacted),
});
export interface ReplaceRow extends Decoded<typeof ReplaceRow> {}

/** One REPLACE command. `below`: as in `Flush`. */
export interface Replacement {
  readonly rows: readonly ReplaceRow[];
  readonly below: number;
}

/** Puts a REPLACE into the journal. Resolves and rejects as `PublishFlush` does. */
export type PublishReplace = (replacement: Replacement) => Promise<"published" | "void">;
