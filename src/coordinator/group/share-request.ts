/** What a member of a share group says with one heartbeat, what it is told, and what has to be done for it elsewhere. */
import type { Offset, PartitionIndex, TopicId } from "../../base/ids.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import type { PartitionSet } from "./partition-set.ts";

export interface ShareHeartbeat {
  readonly memberId: string;
  /** `MemberEpoch.join` and `leave` mean something else than an epoch. */
  readonly memberEpoch: number;
  /** Null: as before. */
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Null: as before. */
  readonly topicNames: readonly string[] | null;
}

export interface ShareAnswer {
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
  readonly memberId: string;
  readonly memberEpoch: number;
  /** Null: what it was told last still holds. */
  readonly assignment: PartitionSet | null;
}

/**
 * Share state that is to begin, or to end, before the group goes on with those partitions. Whoever carries it out
 * says so with `ShareGroups.settled`, whatever came of it; what nobody heard of is wished for again.
 */
export interface ShareWork {
  /** Of what begins, at least: what is there, or was and is deleted, begins anew with a number after its own. */
  readonly stateEpoch: number;
  readonly beginning: readonly StateBeginning[];
  readonly ending: PartitionSet;
}

export interface StateBeginning {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  /** −1: as `share.auto.offset.reset` says when it is first read. */
  readonly startOffset: Offset;
}

export function refusedShareBeat(
  { memberId }: Pick<ShareHeartbeat, "memberId">,
  errorCode: ErrorCode,
  errorMessage: string,
): ShareAnswer {
  return { errorCode, errorMessage, memberId, memberEpoch: 0, assignment: null };
}
