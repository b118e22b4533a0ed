/**
 * One WAL entry of a partition as the memory tail keeps it: what the WAL needs, what a read needs, and to
 * whom it belongs, in one object, so that an append makes one and a durable group finds its partitions
 * without a look-up.
 */
import type {
  LeaderEpoch,
  Offset,
  PartitionIndex,
  ProducerEpoch,
  ProducerId,
  TopicId,
  WalPosition,
} from "../base/ids.ts";
import { NO_PRODUCER, NO_PRODUCER_EPOCH, walPosition } from "../base/ids.ts";
import type { BatchView } from "../record/batch.ts";
import type { Partition } from "./partition.ts";
import { EntryKind, type WalEntry } from "./wal.ts";

/** What such an object costs beside its payload's bytes, measured and rounded up: counted in every budget. */
export const entryOverheadBytes = 320;

const NOTHING = new Uint8Array(0);

export class TailEntry implements WalEntry {
  readonly kind: EntryKind;
  readonly owner: Partition;
  readonly baseOffset: Offset;
  readonly count: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly sequence: number;
  readonly appendedMs: number;
  /** Of the batch's records; −1: none. */
  readonly maxTimestamp: number;
  /** −1 with CreateTime. */
  readonly logAppendTimeMs: number;
  /** Payload bytes of the partition's batches before this one, since it was opened. */
  readonly bytesBefore: number;
  /** 0: was recovered, and is durable. */
  readonly walNumber: number;
  /** Set once, before the WAL gets the entry: a copy may take the place of a slice of a request. */
  payload: Uint8Array;
  /** End of the WAL frame that holds it; infinite until that is durable, 0 when it comes from an older WAL. */
  walEnd: WalPosition = walPosition(Infinity);
  /** What it adds to the memory budget. */
  heldBytes = entryOverheadBytes;

  private constructor(fields: {
    kind: EntryKind;
    owner: Partition;
    baseOffset: Offset;
    count: number;
    leaderEpoch: LeaderEpoch;
    producerId: ProducerId;
    producerEpoch: ProducerEpoch;
    sequence: number;
    appendedMs: number;
    maxTimestamp: number;
    logAppendTimeMs: number;
    bytesBefore: number;
    walNumber: number;
    payload: Uint8Array;
  }) {
    this.kind = fields.kind;
    this.owner = fields.owner;
    this.baseOffset = fields.baseOffset;
    this.count = fields.count;
    this.leaderEpoch = fields.leaderEpoch;
    this.producerId = fields.producerId;
    this.producerEpoch = fields.producerEpoch;
    this.sequence = fields.sequence;
    this.appendedMs = fields.appendedMs;
    this.maxTimestamp = fields.maxTimestamp;
    this.logAppendTimeMs = fields.logAppendTimeMs;
    this.bytesBefore = fields.bytesBefore;
    this.walNumber = fields.walNumber;
    this.payload = fields.payload;
  }

  /** The batch as it is stamped now. */
  static batch(
    owner: Partition,
    batch: BatchView,
    place: {
      readonly baseOffset: Offset;
      readonly leaderEpoch: LeaderEpoch;
      readonly appendedMs: number;
      readonly bytesBefore: number;
      readonly walNumber: number;
    },
  ): TailEntry {
    const maxTimestamp = batch.maxTimestamp;
    return new TailEntry({
      kind: EntryKind.batch,
      owner,
      baseOffset: place.baseOffset,
      count: batch.lastOffsetDelta + 1,
      leaderEpoch: place.leaderEpoch,
      producerId: batch.producerId,
      producerEpoch: batch.producerEpoch,
      sequence: batch.baseSequence,
      appendedMs: place.appendedMs,
      maxTimestamp,
      logAppendTimeMs: batch.isLogAppendTime ? maxTimestamp : -1,
      bytesBefore: place.bytesBefore,
      walNumber: place.walNumber,
      payload: batch.bytes,
    });
  }

  /** The log start moves to `start`. */
  static logStart(
    owner: Partition,
    start: Offset,
    place: { readonly leaderEpoch: LeaderEpoch; readonly appendedMs: number; readonly walNumber: number },
  ): TailEntry {
    return new TailEntry({
      kind: EntryKind.logStart,
      owner,
      baseOffset: start,
      count: 0,
      leaderEpoch: place.leaderEpoch,
      producerId: NO_PRODUCER,
      producerEpoch: NO_PRODUCER_EPOCH,
      sequence: -1,
      appendedMs: place.appendedMs,
      maxTimestamp: -1,
      logAppendTimeMs: -1,
      bytesBefore: 0,
      walNumber: place.walNumber,
      payload: NOTHING,
    });
  }

  get topicId(): TopicId {
    return this.owner.topicId;
  }
  get partition(): PartitionIndex {
    return this.owner.partition;
  }
  /** The offset behind it. */
  get end(): Offset {
    return (this.baseOffset + this.count) as Offset;
  }
}
