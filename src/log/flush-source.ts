/**
 * A partition as the flusher sees it. The flusher asks what lies unflushed below a WAL position, writes
 * it into objects, publishes the row and reports back; the partition answers in one synchronous step and
 * keeps the batches' bytes unchanged and readable until `published`.
 */
import type { LeaderEpoch, Offset, PartitionIndex, TopicId, WalPosition } from "../base/ids.ts";
import type { FooterState } from "./segment-format.ts";
import type { FlushRow } from "./segment-ref.ts";

/** One record batch as stored; a `WalEntry` is one. */
export interface SegmentBatch {
  readonly payload: Uint8Array;
  /** CRC32C of the payload, where it is known already. */
  readonly payloadChecksum?: number | undefined;
  readonly baseOffset: Offset;
  /** How many offsets it takes. */
  readonly count: number;
}

export interface FlushSource {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  /** Null: nothing below the position waits for a segment, and no dead WAL is depended on: no row is needed. */
  unflushed(below: WalPosition): Unflushed | null;
  /** The row that was made of the answer took effect; what it covers can leave the memory. */
  published(row: FlushRow): void;
}

/** Everything of one partition that a FLUSH row says, except for where the segment lies. */
export interface Unflushed {
  readonly leaderEpoch: LeaderEpoch;
  /** flushed(p) as the journal has it now. */
  readonly from: Offset;
  /**
   * End of the durable entries below the asked position, and at least the end of what was loaded when this
   * ownership began, because the row clears every dependency on older WALs. `from = to`: nothing but them.
   */
  readonly to: Offset;
  /** The log start that DeleteRecords moved, if the journal does not have it yet; −1: none. */
  readonly start: Offset;
  /** All batches in [from, to) that reach above the log start, in order. */
  readonly batches: readonly SegmentBatch[];
  /** When the broker appended the first and the last of them, ms since 1970. */
  readonly appendedFirstMs: number;
  readonly appendedLastMs: number;
  /** Producers, aborted transactions of [from, to), and leader epochs, exactly as of `to` and nothing behind it. */
  readonly state: FooterState;
}
