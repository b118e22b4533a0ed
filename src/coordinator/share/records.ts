/**
 * The records of `__share_group_state` in Kafka's own formats (KIP-932, KIP-1226), so that Kafka's tools read them
 * here: the whole state of a share-partition, and what has changed since. A null snapshot says that nothing is
 * known of it any more. The two tagged fields of a batch are ours: as whom its dead letters are written; Kafka's
 * tools pass over them.
 */
import type { LeaderEpoch, Offset, PartitionIndex } from "../../base/ids.ts";
import { stateBatches } from "../../protocol/fields.ts";
import {
  branded,
  type Decoded,
  int32,
  int64,
  orElse,
  string,
  struct,
  tagged,
  uuid,
} from "../../schema/types.ts";
import { keyOf, recordCodec } from "../record-format.ts";
import type { RecordCodec } from "../shard.ts";
import type { Turn } from "../turn.ts";

export const ShareStateKey = struct({
  groupId: string,
  topicId: uuid,
  partition: branded<PartitionIndex>(int32),
});
export interface ShareStateKey extends Decoded<typeof ShareStateKey> {}

const offset = branded<Offset>(int64);
const leaderEpoch = branded<LeaderEpoch>(int32);
const deliveryCompleteCount = tagged(0, 0, orElse(-1, int32));

export const ShareSnapshotValue = struct({
  /** One more with each snapshot. */
  snapshotEpoch: int32,
  stateEpoch: int32,
  leaderEpoch,
  /** −1: not known yet. */
  startOffset: offset,
  deliveryCompleteCount,
  /** Both in ms since 1970. */
  createTimestamp: int64,
  writeTimestamp: int64,
  stateBatches,
});
export interface ShareSnapshotValue extends Decoded<typeof ShareSnapshotValue> {}

export const ShareUpdateValue = struct({
  /** Of the snapshot that it changes. */
  snapshotEpoch: int32,
  leaderEpoch,
  /** −1: as it was. */
  startOffset: offset,
  deliveryCompleteCount,
  stateBatches,
});
export interface ShareUpdateValue extends Decoded<typeof ShareUpdateValue> {}

export type ShareStateRecord =
  | { readonly kind: "snapshot"; readonly key: ShareStateKey; readonly value: ShareSnapshotValue | null }
  | { readonly kind: "update"; readonly key: ShareStateKey; readonly value: ShareUpdateValue | null };

/** A decision about share states. */
export type ShareStateTurn = Turn<ShareStateRecord>;

const key = keyOf(ShareStateKey);
const sole = { key, valueVersions: [0, 0], writtenVersion: 0, flexibleFrom: 0 } as const;

export const shareStateRecords: RecordCodec<ShareStateRecord> = recordCodec<ShareStateRecord>({
  snapshot: { ...sole, keyVersions: [0], value: ShareSnapshotValue },
  update: { ...sole, keyVersions: [1], value: ShareUpdateValue },
});
