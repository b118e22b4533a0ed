/**
 * The records of `__consumer_offsets` in Kafka's own formats, so that Kafka's tools read them here and a
 * partition of Kafka's could be read by us.
 */
import { NO_TOPIC_ID, type Offset, type PartitionIndex } from "../../base/ids.ts";
import { ownTagsFrom, unknownLeaderEpoch } from "../../protocol/fields.ts";
import type { Codec } from "../../schema/compile.ts";
import {
  array,
  between,
  branded,
  bytes,
  clamped64,
  type Decoded,
  from,
  int8,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
  tagged,
  type Type,
  uuid,
} from "../../schema/types.ts";
import { keyOf, recordCodec, type RecordKind } from "../record-format.ts";
import type { RecordCodec } from "../shard.ts";
import type { Turn } from "../turn.ts";

const partition = branded<PartitionIndex>(int32);

/** How far a group has got in one partition. */
export const OffsetCommitKey = struct({ group: string, topic: string, partition });
export interface OffsetCommitKey extends Decoded<typeof OffsetCommitKey> {}

export const OffsetCommitValue = struct({
  offset: branded<Offset>(int64),
  leaderEpoch: from(3, unknownLeaderEpoch),
  metadata: string,
  /** Ms since 1970. */
  commitTimestamp: int64,
  expireTimestamp: between(1, 1, orElse(-1, int64)),
  /** A topic of the same name made later is another one, and this offset says nothing of it. */
  topicId: tagged(0, 4, orElse(NO_TOPIC_ID, uuid)),
});
export interface OffsetCommitValue extends Decoded<typeof OffsetCommitValue> {}

/** One generation of a group of the classic protocol. */
export const GroupMetadataKey = struct({ group: string });
export interface GroupMetadataKey extends Decoded<typeof GroupMetadataKey> {}

export const GroupMetadataValue = struct({
  protocolType: string,
  generation: int32,
  protocol: nullable(string),
  leader: nullable(string),
  /** Ms since 1970. */
  currentStateTimestamp: from(2, orElse(-1, int64)),
  members: array(
    struct({
      memberId: string,
      groupInstanceId: from(3, orElse(null, nullable(string))),
      clientId: string,
      clientHost: string,
      rebalanceTimeout: from(1, orElse(-1, int32)),
      sessionTimeout: int32,
      subscription: bytes,
      assignment: bytes,
    }),
  ),
});
export interface GroupMetadataValue extends Decoded<typeof GroupMetadataValue> {}

/** The epoch of a group of KIP-848: it rises when members, subscriptions or topics change. */
export const ConsumerGroupKey = struct({ group: string });
export interface ConsumerGroupKey extends Decoded<typeof ConsumerGroupKey> {}
export const ConsumerGroupValue = struct({
  epoch: int32,
  /** Of the topics that its members want, as they were when the epoch began. */
  metadataHash: tagged(0, 0, clamped64),
});
export interface ConsumerGroupValue extends Decoded<typeof ConsumerGroupValue> {}

/** A member of such a group, in three records: who it is, what it is to have, what it has. */
export const ConsumerMemberKey = struct({ group: string, memberId: string });
export interface ConsumerMemberKey extends Decoded<typeof ConsumerMemberKey> {}
export const ConsumerMemberValue = struct({
  instanceId: nullable(string),
  rackId: nullable(string),
  clientId: string,
  clientHost: string,
  subscribedTopicNames: array(string),
  subscribedTopicRegex: nullable(string),
  rebalanceTimeoutMs: orElse(-1, int32),
  serverAssignor: nullable(string),
  classicMemberMetadata: tagged(
    0,
    0,
    orElse(
      null,
      nullable(
        struct({
          sessionTimeoutMs: int32,
          supportedProtocols: array(struct({ name: string, metadata: bytes })),
        }),
      ),
    ),
  ),
});
export interface ConsumerMemberValue extends Decoded<typeof ConsumerMemberValue> {}

/** For which epoch of the group the target is. */
export const TargetEpochValue = struct({
  assignmentEpoch: int32,
  assignmentTimestamp: tagged(0, 0, int64),
});
export interface TargetEpochValue extends Decoded<typeof TargetEpochValue> {}

const partitions = array(partition);
export const TargetValue = struct({ topicPartitions: array(struct({ topicId: uuid, partitions })) });
export interface TargetValue extends Decoded<typeof TargetValue> {}

const heldPartitions = array(
  struct({ topicId: uuid, partitions, assignmentEpochs: tagged(0, 0, orElse(null, nullable(array(int32)))) }),
);
export const CurrentValue = struct({
  memberEpoch: int32,
  previousMemberEpoch: int32,
  state: int8,
  assignedPartitions: heldPartitions,
  partitionsPendingRevocation: heldPartitions,
});
export interface CurrentValue extends Decoded<typeof CurrentValue> {}

// ── Share groups (KIP-932) ──

/** As of a group of KIP-848, but that the hash is in every version. */
export const ShareGroupValue = struct({ epoch: int32, metadataHash: clamped64 });
export interface ShareGroupValue extends Decoded<typeof ShareGroupValue> {}

export const ShareMemberValue = struct({
  rackId: nullable(string),
  clientId: string,
  clientHost: string,
  subscribedTopicNames: array(string),
});
export interface ShareMemberValue extends Decoded<typeof ShareMemberValue> {}

export const ShareCurrentValue = struct({
  memberEpoch: int32,
  previousMemberEpoch: int32,
  /** Always 0: nobody waits for anybody. */
  state: int8,
  assignedPartitions: array(struct({ topicId: uuid, partitions })),
});
export interface ShareCurrentValue extends Decoded<typeof ShareCurrentValue> {}

const named = { topicId: uuid, topicName: string, partitions };
/** In which partitions the group's share state is there, begins to be, or is about to go. */
export const ShareStateValue = struct({
  initializingTopics: array(
    // Ours: those of them that came when the group had begun to read the topic. Kafka's tools pass over it.
    struct({ ...named, laterPartitions: tagged(ownTagsFrom, 0, orElse([], partitions)) }),
  ),
  initializedTopics: array(struct(named)),
  deletingTopics: array(struct({ topicId: uuid, topicName: string })),
});
export interface ShareStateValue extends Decoded<typeof ShareStateValue> {}

/** One record of `__consumer_offsets`; a null value says that what the key names is gone. */
export type GroupRecord =
  | { readonly kind: "offset"; readonly key: OffsetCommitKey; readonly value: OffsetCommitValue | null }
  | { readonly kind: "classic"; readonly key: GroupMetadataKey; readonly value: GroupMetadataValue | null }
  | ConsumerRecord
  | ShareRecord;

/** Of groups of KIP-848. */
export type ConsumerRecord =
  | { readonly kind: "consumer"; readonly key: ConsumerGroupKey; readonly value: ConsumerGroupValue | null }
  | { readonly kind: "member"; readonly key: ConsumerMemberKey; readonly value: ConsumerMemberValue | null }
  | { readonly kind: "targetEpoch"; readonly key: ConsumerGroupKey; readonly value: TargetEpochValue | null }
  | { readonly kind: "target"; readonly key: ConsumerMemberKey; readonly value: TargetValue | null }
  | { readonly kind: "current"; readonly key: ConsumerMemberKey; readonly value: CurrentValue | null };

/** Of share groups. */
export type ShareRecord =
  | { readonly kind: "share"; readonly key: ConsumerGroupKey; readonly value: ShareGroupValue | null }
  | { readonly kind: "shareMember"; readonly key: ConsumerMemberKey; readonly value: ShareMemberValue | null }
  | {
      readonly kind: "shareTargetEpoch";
      readonly key: ConsumerGroupKey;
      readonly value: TargetEpochValue | null;
    }
  | { readonly kind: "shareTarget"; readonly key: ConsumerMemberKey; readonly value: TargetValue | null }
  | {
      readonly kind: "shareCurrent";
      readonly key: ConsumerMemberKey;
      readonly value: ShareCurrentValue | null;
    }
  | { readonly kind: "shareState"; readonly key: ConsumerGroupKey; readonly value: ShareStateValue | null };

/** Of one member: who it is, what it is to have, what it was told. */
export type ShareMemberRecord = Extract<ShareRecord, { readonly key: ConsumerMemberKey }>;

export const isShareRecord = (record: GroupRecord): record is ShareRecord => record.kind.startsWith("share");

const ofGroup = keyOf(ConsumerGroupKey);
const ofMember = keyOf(ConsumerMemberKey);
/** Kinds of KIP-848 and KIP-932 have one version each, which is flexible. */
const sole = (number: number, key: Codec<unknown>, value: Type<unknown>): RecordKind => ({
  keyVersions: [number],
  key,
  value,
  valueVersions: [0, 0],
  writtenVersion: 0,
  flexibleFrom: 0,
});

export const groupRecords: RecordCodec<GroupRecord> = recordCodec({
  offset: {
    keyVersions: [0, 1],
    key: keyOf(OffsetCommitKey),
    value: OffsetCommitValue,
    valueVersions: [0, 4],
    writtenVersion: 4,
    flexibleFrom: 4,
  },
  classic: {
    keyVersions: [2],
    key: keyOf(GroupMetadataKey),
    value: GroupMetadataValue,
    valueVersions: [0, 4],
    writtenVersion: 3,
    flexibleFrom: 4,
  },
  consumer: sole(3, ofGroup, ConsumerGroupValue),
  member: sole(5, ofMember, ConsumerMemberValue),
  targetEpoch: sole(6, ofGroup, TargetEpochValue),
  target: sole(7, ofMember, TargetValue),
  current: sole(8, ofMember, CurrentValue),
  shareMember: sole(10, ofMember, ShareMemberValue),
  share: sole(11, ofGroup, ShareGroupValue),
  shareTargetEpoch: sole(12, ofGroup, TargetEpochValue),
  shareTarget: sole(13, ofMember, TargetValue),
  shareCurrent: sole(14, ofMember, ShareCurrentValue),
  shareState: sole(15, ofGroup, ShareStateValue),
});

/** A decision about groups. */
export type GroupTurn = Turn<GroupRecord>;
