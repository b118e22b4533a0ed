/**
 * What is decided about the offsets of one group: who may commit them, plainly or inside a transaction, and
 * which are forgotten and when. Only records are written here; what they do is in `shard.ts`.
 */
import { utf8Length } from "../../base/bytes.ts";
import { NO_TOPIC_ID, type TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { type Claim, isUnnamed } from "./classic-request.ts";
import { expiredOffsets, type Expired } from "./expiry.ts";
import type { Group } from "./group.ts";
import { type CommittedOffset, committedBytes, type PartitionName } from "./offsets.ts";
import type { GroupTurn } from "./records.ts";
import type { GroupSettings } from "./settings.ts";

export interface OffsetToCommit extends PartitionName, Omit<CommittedOffset, "commitTimestamp" | "order"> {}

export interface CommitRequest {
  readonly groupId: string;
  readonly claim: Claim;
  readonly offsets: readonly OffsetToCommit[];
  /** Inside a producer's transaction (TxnOffsetCommit). */
  readonly isTransactional: boolean;
}

/** What the log knows of a partition whose offset may expire. */
export interface HeldData {
  /** Whether records are there that this offset says something of. */
  holds(name: PartitionName, committed: CommittedOffset): boolean;
}

/** Returns the answer for each offset, in the order in which they were given. */
export function commitOffsets(
  turn: GroupTurn,
  group: Group | undefined,
  request: CommitRequest,
  settings: GroupSettings,
): readonly ErrorCode[] {
  const { groupId, offsets, isTransactional } = request;
  const refused = mayCommit(turn, group, request);
  return offsets.map(({ topic, partition, offset, leaderEpoch, metadata, topicId }) => {
    if (refused !== ErrorCode.NONE) return refused;
    if (utf8Length(metadata) > settings.metadataBytesMax) return ErrorCode.OFFSET_METADATA_TOO_LARGE;
    const isNew = isTransactional || group?.offsets.get(topic, partition) === undefined;
    if (isNew && !settings.mayGrow(committedBytes(topic, metadata))) {
      // Clients try again, and what is committed already may go on.
      return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    }
    turn.write({
      kind: "offset",
      key: { group: groupId, topic, partition },
      value: { offset, leaderEpoch, metadata, commitTimestamp: turn.wallMs, expireTimestamp: -1, topicId },
    });
    return ErrorCode.NONE;
  });
}

function mayCommit(
  turn: GroupTurn,
  group: Group | undefined,
  { claim, offsets, isTransactional }: CommitRequest,
): ErrorCode {
  // What a share group has done with is kept for each record, elsewhere.
  if (group?.share) return ErrorCode.GROUP_ID_NOT_FOUND;
  // Producers before KIP-447 do not say for which member they commit: their epoch fences them.
  if (isTransactional && isUnnamed(claim)) return ErrorCode.NONE;
  if (group?.consumer) {
    const refused = group.consumer.mayCommit(claim, offsets);
    // The producer of a transaction knows generations only.
    return isTransactional && refused === ErrorCode.STALE_MEMBER_EPOCH
      ? ErrorCode.ILLEGAL_GENERATION
      : refused;
  }
  if (group?.classic) return group.classic.mayCommit(turn, claim, isTransactional);
  // Nobody ever joined: whoever assigns partitions by itself may commit, a member of what is gone may not.
  return claim.generation < 0 ? ErrorCode.NONE : ErrorCode.ILLEGAL_GENERATION;
}

/** Offsets of topics that the group does not read now, those of open transactions as well. */
export function deleteOffsets(
  turn: GroupTurn,
  group: Group | undefined,
  names: readonly PartitionName[],
): { readonly errorCode: ErrorCode; readonly errorCodes: readonly ErrorCode[] } {
  if (group === undefined || group.share !== null) {
    return { errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorCodes: [] };
  }
  const subscribed = group.subscribedTopics();
  if (subscribed === null) return { errorCode: ErrorCode.NON_EMPTY_GROUP, errorCodes: [] };
  const errorCodes = names.map((name) => {
    if (subscribed.has(name.topic)) return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC;
    if (knows(group, name)) forget(turn, group.id, name);
    return ErrorCode.NONE;
  });
  return { errorCode: ErrorCode.NONE, errorCodes };
}

export function deleteAllOffsets(turn: GroupTurn, group: Group): void {
  for (const each of [...group.offsets.all(), ...group.pending.all()]) {
    if (knows(group, each)) forget(turn, group.id, each);
  }
}

/** Of topics that are gone: their offsets say nothing of a later topic of the same name. */
export function forgetTopics(turn: GroupTurn, group: Group, isGone: (id: TopicId) => boolean): void {
  const saysNothing = ({ topicId }: CommittedOffset): boolean => topicId !== NO_TOPIC_ID && isGone(topicId);
  for (const each of [...group.offsets.all(), ...group.pending.all()]) {
    if (!saysNothing(each.committed) || !knows(group, each)) continue;
    // What was committed since for the later topic stays: it is newer than what the transaction says.
    const committed = group.offsets.get(each.topic, each.partition);
    if (committed === undefined || saysNothing(committed)) forget(turn, group.id, each);
  }
}

/** Ends what nobody has used for `offsets.retention.minutes` (KIP-211), unless a transaction is about to use it. */
export function expireOffsets(
  turn: GroupTurn,
  group: Group,
  retentionMs: number,
  data: HeldData,
): readonly Expired[] {
  const expired = expiredOffsets(group, turn.wallMs, retentionMs, data);
  const gone = expired.filter(({ topic, partition }) => !group.pending.has(topic, partition));
  for (const each of gone) forget(turn, group.id, each);
  return gone;
}

const knows = (group: Group, { topic, partition }: PartitionName): boolean =>
  group.offsets.get(topic, partition) !== undefined || group.pending.has(topic, partition);

function forget(turn: GroupTurn, group: string, { topic, partition }: PartitionName): void {
  turn.write({ kind: "offset", key: { group, topic, partition }, value: null });
}
