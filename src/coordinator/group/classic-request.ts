/** What members of the classic protocol ask for, apart from the bytes it came in, and how they are refused. */
import type { ErrorCode } from "../../protocol/errors.ts";
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../../protocol/messages/sync-group.ts";
import type { GroupTurn } from "./records.ts";
import { type ClassicMember, noBytes, type OfferedProtocol } from "./classic-member.ts";

export interface Join {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly OfferedProtocol[];
  /** A member without an id is first told one, and joins with it (KIP-394): a retry then makes no second member. */
  readonly mustKnowId: boolean;
  /** A leader that comes back may be told that there is nothing to divide (KIP-814). */
  readonly maySkipAssignment: boolean;
  /** Unique; becomes the end of the id of a new member. */
  readonly freshId: string;
}

export interface Sync {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly generation: number;
  /** Null: the version does not tell. */
  readonly protocolType: string | null;
  readonly protocol: string | null;
  /** The leader's division; of others, empty. */
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[];
}

/** Who somebody says to be. */
export interface Identity {
  readonly memberId: string;
  readonly instanceId: string | null;
}

/** As which a member commits, or says that it is alive. */
export interface Claim extends Identity {
  /** −1: none is claimed. */
  readonly generation: number;
}

/** Who does not say for which member it speaks. */
export function isUnnamed({ memberId, instanceId, generation }: Claim): boolean {
  return generation < 0 && memberId === "" && instanceId === null;
}

export function refusedJoin(errorCode: ErrorCode, memberId: string): JoinGroupResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: "",
    skipAssignment: false,
    memberId,
    members: [],
  };
}

export function refusedSync(errorCode: ErrorCode): SyncGroupResponse {
  return { throttleTimeMs: 0, errorCode, protocolType: null, protocolName: null, assignment: noBytes };
}

/** Ends what a member waits for. */
export function refuseWaiting(turn: GroupTurn, member: ClassicMember, errorCode: ErrorCode): void {
  if (member.joining !== null) turn.reply(member.joining, refusedJoin(errorCode, member.id));
  if (member.syncing !== null) turn.reply(member.syncing, refusedSync(errorCode));
  member.joining = null;
  member.syncing = null;
}
