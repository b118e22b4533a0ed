/**
 * What members of the classic protocol say, in the terms of KIP-848, and back: for groups whose members
 * move from one protocol to the other one by one, without anybody stopping. Pure.
 */
import { MalformedError } from "../../base/errors.ts";
import { partitionIndex, type PartitionIndex, type TopicId } from "../../base/ids.ts";
import {
  type ConsumerSubscription,
  consumerProtocolType,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
} from "../../protocol/consumer-protocol.ts";
import type { ConsumerMemberValue } from "./records.ts";
import type { TopicView } from "../topic-view.ts";
import type { ClassicGroup } from "./classic.ts";
import { type ClassicMember, noBytes, type OfferedProtocol } from "./classic-member.ts";
import type { ConsumerMember } from "./consumer-member.ts";
import { contains, type PartitionSet } from "./partition-set.ts";

/** A member of the classic protocol as one of KIP-848. */
export interface Migrant {
  readonly id: string;
  readonly about: ConsumerMemberValue;
  readonly assigned: PartitionSet;
}

/** Null: its members do not divide topics among consumers, or not in a way that can be read. */
export function migrantsOf(group: ClassicGroup, topics: TopicView): readonly Migrant[] | null {
  if (group.protocolType !== consumerProtocolType) return null;
  const migrants: Migrant[] = [];
  const taken: Map<TopicId, Set<PartitionIndex>> = new Map();
  for (const member of group.members) {
    const subscription = subscriptionOf(member.protocols);
    if (subscription === null) return null;
    const assigned = new Map<TopicId, Set<PartitionIndex>>();
    for (const { topic, partitions } of assignmentOf(member.assignment)) {
      const id = topics.find(topic)?.id;
      if (id === undefined) continue;
      // An assignor of their own may have given a partition to two: here it has one owner.
      const free = partitions.map(partitionIndex).filter((partition) => !contains(taken, id, partition));
      assigned.set(id, new Set(free));
      taken.set(id, new Set([...(taken.get(id) ?? []), ...free]));
    }
    migrants.push({ id: member.id, about: aboutClassic(member, subscription), assigned });
  }
  return migrants;
}

/** Of the protocol that it prefers; every one tells the same topics. */
export function subscriptionOf(protocols: readonly OfferedProtocol[]): ConsumerSubscription | null {
  const [preferred] = protocols;
  if (preferred === undefined) return null;
  try {
    return decodeSubscription(preferred.metadata);
  } catch (error) {
    if (error instanceof MalformedError) return null;
    throw error;
  }
}

function assignmentOf(
  assignment: Uint8Array,
): readonly { readonly topic: string; readonly partitions: readonly number[] }[] {
  if (assignment.byteLength === 0) return [];
  try {
    return decodeAssignment(assignment).assignedPartitions;
  } catch (error) {
    if (error instanceof MalformedError) return [];
    throw error;
  }
}

export function aboutClassic(
  member: Pick<
    ClassicMember,
    "instanceId" | "clientId" | "clientHost" | "rebalanceTimeoutMs" | "sessionTimeoutMs" | "protocols"
  >,
  subscription: ConsumerSubscription,
): ConsumerMemberValue {
  return {
    instanceId: member.instanceId,
    rackId: subscription.rackId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    subscribedTopicNames: [...subscription.topics].sort(),
    subscribedTopicRegex: null,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    serverAssignor: null,
    classicMemberMetadata: {
      sessionTimeoutMs: member.sessionTimeoutMs,
      supportedProtocols: member.protocols,
    },
  };
}

/** What a member says that it has; one that gives up everything before it joins says nothing. */
export function ownedBy(subscription: ConsumerSubscription, topics: TopicView): PartitionSet {
  const owned = new Map<TopicId, Set<PartitionIndex>>();
  for (const { topic, partitions } of subscription.ownedPartitions) {
    const id = topics.find(topic)?.id;
    if (id !== undefined) owned.set(id, new Set(partitions.map(partitionIndex)));
  }
  return owned;
}

/** As a member of the classic protocol reads its part. */
export function partOf(set: PartitionSet, topics: TopicView): Uint8Array {
  const assignedPartitions = Array.from(set, ([id, partitions]) => ({
    topic: topics.nameOf(id) ?? "",
    partitions: [...partitions].sort((a, b) => a - b),
  })).filter(({ topic }) => topic !== "");
  return encodeAssignment({ assignedPartitions, userData: null }, 0);
}

/** The last members that are left speak the classic protocol: they are one again. `nowMs`: monotonic. */
export function classicMembers(
  members: Iterable<ConsumerMember>,
  topics: TopicView,
  nowMs: number,
): readonly ClassicMember[] | null {
  const classic: ClassicMember[] = [];
  for (const { id, about, held } of members) {
    const { classicMemberMetadata: metadata } = about;
    if (metadata === null) return null;
    classic.push({
      id,
      instanceId: about.instanceId,
      clientId: about.clientId,
      clientHost: about.clientHost,
      sessionTimeoutMs: metadata.sessionTimeoutMs,
      rebalanceTimeoutMs: about.rebalanceTimeoutMs,
      protocols: metadata.supportedProtocols,
      assignment: held.assigned.size === 0 ? noBytes : partOf(held.assigned, topics),
      deadlineMs: nowMs + metadata.sessionTimeoutMs,
      joining: null,
      syncing: null,
    });
  }
  return classic;
}
