/** Whether the leader epoch that a client believes in is the one of today (KIP-320). */
import type { LeaderEpoch } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";

/** Null: it is, or the client named none. */
export function epochMismatch(claimed: LeaderEpoch, current: LeaderEpoch): ErrorCode | null {
  if (claimed < 0 || claimed === current) return null;
  return claimed < current ? ErrorCode.FENCED_LEADER_EPOCH : ErrorCode.UNKNOWN_LEADER_EPOCH;
}
