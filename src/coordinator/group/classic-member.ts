/** One member of a group of the classic protocol, and how members together choose the protocol they all speak. */
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../../protocol/messages/sync-group.ts";
import type { GroupMetadataValue } from "./records.ts";
import type { Ticket } from "../turn.ts";
import type { Join } from "./classic-request.ts";

type MemberRecord = GroupMetadataValue["members"][number];

/** A way of dividing partitions that a member offers, with what it says of itself for it. */
export interface OfferedProtocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

export interface ClassicMember {
  readonly id: string;
  /** Static members keep their place over restarts (KIP-345). */
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  /** In the order in which the member prefers them. */
  protocols: readonly OfferedProtocol[];
  assignment: Uint8Array;
  /** Monotonic: not heard of by then, it is taken for dead. Does not count while it waits for a join. */
  deadlineMs: number;
  /** Set while its JoinGroup waits for the others. */
  joining: Ticket<JoinGroupResponse> | null;
  /** Set while its SyncGroup waits for the leader. */
  syncing: Ticket<SyncGroupResponse> | null;
}

export const noBytes = new Uint8Array(0);

export function metadataFor(member: ClassicMember, protocol: string | null): Uint8Array {
  return member.protocols.find(({ name }) => name === protocol)?.metadata ?? noBytes;
}

export function offersSame(a: readonly OfferedProtocol[], b: readonly OfferedProtocol[]): boolean {
  return (
    a.length === b.length &&
    a.every((each, at) => {
      const other = b[at] as OfferedProtocol;
      return each.name === other.name && Buffer.compare(each.metadata, other.metadata) === 0;
    })
  );
}

/** Names that every member offers; of no members, none. */
export function commonProtocols(members: Iterable<ClassicMember>): ReadonlySet<string> {
  const offeredBy = new Map<string, number>();
  let count = 0;
  for (const { protocols } of members) {
    count++;
    for (const name of new Set(protocols.map((each) => each.name))) {
      offeredBy.set(name, (offeredBy.get(name) ?? 0) + 1);
    }
  }
  return new Set(Array.from(offeredBy.keys()).filter((name) => offeredBy.get(name) === count));
}

/** Each member votes for the first of its protocols that all offer; the most votes win, the first counted of equals. */
export function electProtocol(members: Iterable<ClassicMember>): string | null {
  const all = [...members];
  const common = commonProtocols(all);
  const votes = all.map(({ protocols }) => protocols.find(({ name }) => common.has(name))?.name);
  return mostVoted(votes.filter((vote) => vote !== undefined));
}

/** The first of those that are named most often; null: nobody voted. */
export function mostVoted(votes: readonly string[]): string | null {
  const counts = new Map<string, number>();
  for (const vote of votes) counts.set(vote, (counts.get(vote) ?? 0) + 1);
  let elected: string | null = null;
  for (const [name, count] of counts) {
    if (elected === null || count > (counts.get(elected) ?? 0)) elected = name;
  }
  return elected;
}

/** A member as the leader hears of it. */
export function candidate(
  member: ClassicMember,
  protocol: string | null,
): JoinGroupResponse["members"][number] {
  return {
    memberId: member.id,
    groupInstanceId: member.instanceId,
    metadata: metadataFor(member, protocol),
  };
}

/** What the log keeps of a member. */
export function memberRecord(member: ClassicMember, protocol: string | null): MemberRecord {
  return {
    memberId: member.id,
    groupInstanceId: member.instanceId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    rebalanceTimeout: member.rebalanceTimeoutMs,
    sessionTimeout: member.sessionTimeoutMs,
    subscription: metadataFor(member, protocol),
    assignment: member.assignment,
  };
}

/** Somebody new, who waits for the first generation with it. */
export function memberOf(id: string, join: Join, joining: Ticket<JoinGroupResponse>): ClassicMember {
  const { instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols } = join;
  const facts = { id, instanceId, clientId, clientHost, sessionTimeoutMs, rebalanceTimeoutMs, protocols };
  return { ...facts, assignment: noBytes, deadlineMs: Infinity, joining, syncing: null };
}

/** A member as a restarted broker knows it; its session begins now (monotonic). */
export function memberFrom(record: MemberRecord, protocol: string | null, nowMs: number): ClassicMember {
  const { sessionTimeout, rebalanceTimeout } = record;
  return {
    id: record.memberId,
    instanceId: record.groupInstanceId,
    clientId: record.clientId,
    clientHost: record.clientHost,
    sessionTimeoutMs: sessionTimeout,
    rebalanceTimeoutMs: rebalanceTimeout < 0 ? sessionTimeout : rebalanceTimeout,
    protocols: [{ name: protocol ?? "", metadata: record.subscription }],
    assignment: record.assignment,
    deadlineMs: nowMs + sessionTimeout,
    joining: null,
    syncing: null,
  };
}
