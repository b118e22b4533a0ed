/** What a member of KIP-848 says with one heartbeat, and what it is told. */
import type { ErrorCode } from "../../protocol/errors.ts";
import type { PartitionSet } from "./partition-set.ts";

/** Epochs that mean something else than an epoch. */
export const MemberEpoch = { join: 0, leave: -1, leaveForNow: -2 } as const;

export interface ConsumerHeartbeat {
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** −1: as before. */
  readonly rebalanceTimeoutMs: number;
  /** Null: as before. */
  readonly topicNames: readonly string[] | null;
  /** Null: as before; "": none any more. */
  readonly topicRegex: string | null;
  readonly assignor: string | null;
  /** What it has; null: as before. */
  readonly owned: PartitionSet | null;
}

export interface HeartbeatAnswer {
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
  readonly memberId: string;
  readonly memberEpoch: number;
  /** Null: what it was told last still holds. */
  readonly assignment: PartitionSet | null;
}

export function refusedBeat(
  { memberId }: Pick<ConsumerHeartbeat, "memberId">,
  errorCode: ErrorCode,
  errorMessage: string,
): HeartbeatAnswer {
  return { errorCode, errorMessage, memberId, memberEpoch: 0, assignment: null };
}
