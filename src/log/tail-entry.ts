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
import { readControl } from "../record/control.ts";
import type { Partition } from "./partition.ts";
import type { Marker } from "./producer-state.ts";
import { EntryKind, type WalEntry } from "./wal.ts";

/**
 * What such an object costs beside its payload's bytes; counted in every budget. Measured on Node 24: 330
 * bytes in groups of fifty entries, 560 when each is a group of its own.
 */
export const entryOverheadBytes = 448;

const NOTHING = new Uint8Array(0);

export interface EntryPlace {
  readonly baseOffset: Offset;
  readonly leaderEpoch: LeaderEpoch;
  readonly appendedMs: number;
  /** Payload bytes of the partition's batches before this one, since it was opened. */
  readonly bytesBefore: number;
  /** 0: was recovered, and is durable. */
  readonly walNumber: number;
}

export class TailEntry implements WalEntry {
  readonly kind: EntryKind;
  readonly owner: Partition;
  readonly baseOffset: Offset;
  readonly count: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly sequence: number;
  readonly isTransactional: boolean;
  /** Null: data. */
  readonly marker: Marker | null;
  readonly appendedMs: number;
  /** Of the batch's records; −1: none. */
  readonly maxTimestamp: number;
  /** −1 with CreateTime. */
  readonly logAppendTimeMs: number;
  readonly bytesBefore: number;
  readonly walNumber: number;
  /** Set once, before the WAL gets the entry: a copy may take the place of a slice of a request. */
  payload: Uint8Array;
  /** CRC32C of the payload; undefined: nobody has vouched for the batch's own. */
  payloadChecksum: number | undefined = undefined;
  /** End of the WAL frame that holds it; infinite until that is durable, 0 when it comes from an older WAL. */
  walEnd: WalPosition = walPosition(Infinity);
  /** What it adds to the memory budget. */
  heldBytes = entryOverheadBytes;

  private constructor(kind: EntryKind, owner: Partition, place: EntryPlace, batch: BatchView | null) {
    this.kind = kind;
    this.owner = owner;
    this.baseOffset = place.baseOffset;
    this.leaderEpoch = place.leaderEpoch;
    this.appendedMs = place.appendedMs;
    this.bytesBefore = place.bytesBefore;
    this.walNumber = place.walNumber;
    if (batch === null) {
      this.count = 0;
      this.producerId = NO_PRODUCER;
      this.producerEpoch = NO_PRODUCER_EPOCH;
      this.sequence = -1;
      this.isTransactional = false;
      this.marker = null;
      this.maxTimestamp = -1;
      this.logAppendTimeMs = -1;
      this.payload = NOTHING;
    } else {
      this.count = batch.lastOffsetDelta + 1;
      this.producerId = batch.producerId;
      this.producerEpoch = batch.producerEpoch;
      this.sequence = batch.baseSequence;
      this.isTransactional = batch.isTransactional;
      this.marker = batch.isControl ? markerOf(batch) : null;
      this.maxTimestamp = batch.maxTimestamp;
      this.logAppendTimeMs = batch.isLogAppendTime ? this.maxTimestamp : -1;
      this.payload = batch.bytes;
    }
  }

  /** The batch as it is stamped now. Throws `MalformedError` for a control batch that cannot be read. */
  static batch(owner: Partition, batch: BatchView, place: EntryPlace): TailEntry {
    return new TailEntry(EntryKind.batch, owner, place, batch);
  }

  /** The log start moves to `place.baseOffset`. */
  static logStart(owner: Partition, place: EntryPlace): TailEntry {
    return new TailEntry(EntryKind.logStart, owner, place, null);
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

function markerOf(batch: BatchView): Marker | null {
  const control = readControl(batch);
  if (control.kind === "other") return null;
  return { outcome: control.kind, coordinatorEpoch: control.coordinatorEpoch };
}
