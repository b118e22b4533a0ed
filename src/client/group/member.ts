/**
 * What a member of a group is to the rest of the client, whichever protocol it speaks: partitions come and
 * go, commits need an identity, and somebody has to know whether it is still a member.
 */
import type { Cluster } from "../cluster.ts";
import type { RetryWatch } from "../retry-watch.ts";
import type { TopicPartition } from "./assignor.ts";
import type { Coordinator } from "../coordinator.ts";
import type { GroupSettings, ReleaseReason } from "./options.ts";

export interface MemberAccess {
  readonly cluster: Cluster;
  readonly coordinator: Coordinator;
  readonly settings: GroupSettings;
  readonly watch: RetryWatch;
  /** What the member wants to read. */
  readonly topics: () => readonly string[];
  readonly owned: () => readonly TopicPartition[];
  /** These are the member's from now on. */
  readonly onAssigned: (added: readonly TopicPartition[]) => void;
  /** Resolves when nothing of them is handled here any more and what was finished is committed, or cannot be. */
  readonly release: (parts: readonly TopicPartition[], reason: ReleaseReason) => Promise<void>;
  /** Something that waits for the membership may look again. */
  readonly onChange: () => void;
  /** It is over; nothing is owned any more. */
  readonly onFailure: (cause: Error) => void;
}

/** Under which a member commits: the coordinator refuses what a newer generation has overtaken. */
export interface Identity {
  readonly memberId: string;
  /** Or the member's epoch (KIP-848). */
  readonly generation: number;
  readonly instanceId: string | null;
}

export interface Member {
  /** Begins to live; harmless when it does. */
  start(): void;
  /** `undefined`: not a member. */
  readonly identity: Identity | undefined;
  /** It has what the group gave to it, and nothing is on its way. */
  readonly isStable: boolean;
  /** It has to notice when topics get partitions. */
  readonly isLeader: boolean;
  /** Whether nobody else can have been given what it owns because this member was silent. */
  readonly isAlive: boolean;
  /** Subscription or topics have changed: the group shall be assigned anew. */
  rejoin(): void;
  /** A commit of `generation` was refused with a code that says something about the membership. */
  suspect(code: number, generation: number): void;
  /** Leaves, so that the others need not wait for the session's end. */
  leave(): Promise<void>;
}

/** What is in the first and not in the second. */
export function without(
  these: readonly TopicPartition[],
  those: readonly TopicPartition[],
): readonly TopicPartition[] {
  const names = new Set(those.map(({ topic, partition }) => `${topic}/${partition}`));
  return these.filter(({ topic, partition }) => !names.has(`${topic}/${partition}`));
}

/** Of the answer to a farewell; nobody depends on it. */
export const leaveTimeoutMs = 3_000;
