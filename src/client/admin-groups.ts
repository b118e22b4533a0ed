/** Consumer groups for an admin: listed, described, deleted, and how far each has got read, moved and forgotten. */
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { consumerProtocolType, decodeAssignment } from "../protocol/consumer-protocol.ts";
import { ErrorCode } from "../protocol/errors.ts";
import {
  ConsumerGroupDescribe,
  type ConsumerGroupDescribeResponse,
} from "../protocol/messages/consumer-group-describe.ts";
import { DeleteGroups } from "../protocol/messages/delete-groups.ts";
import { DescribeGroups, type DescribeGroupsResponse } from "../protocol/messages/describe-groups.ts";
import { ListGroups } from "../protocol/messages/list-groups.ts";
import { OffsetDelete } from "../protocol/messages/offset-delete.ts";
import { refuseFailures } from "./admin-outcome.ts";
import type { AdminAccess } from "./admin-topics.ts";
import { BrokerRefusedError, ConnectionLostError, refuseUnlessNone } from "./errors.ts";
import type { TopicPartition } from "./group/assignor.ts";
import { Coordinator } from "./coordinator.ts";
import { byTopic } from "./group/leader.ts";
import { commitOffsets, fetchOffsets, noMember, type Persistence } from "./group/offsets.ts";
import { backoffAfter } from "./settings.ts";

export interface ListedGroup {
  readonly group: string;
  /** "consumer" for consumer groups; Kafka Connect and others have their own. */
  readonly protocolType: string;
  /** "Stable", "Empty", "PreparingRebalance", …; empty: the broker is too old to tell. */
  readonly state: string;
  /** "classic", "consumer" (KIP-848), …; empty: the broker is too old to tell. */
  readonly type: string;
}

export interface GroupMemberDescription {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly host: string;
  readonly assignment: readonly TopicPartition[];
}

export interface GroupDescription {
  readonly group: string;
  readonly state: string;
  readonly type: string;
  /** How partitions are given out; empty while the group has no members. */
  readonly assignor: string;
  readonly members: readonly GroupMemberDescription[];
}

export interface GroupOffset extends TopicPartition {
  /** Of the next record that the group will read. */
  readonly offset: number;
  readonly metadata: string;
  /** Of the record before it; −1: unknown. */
  readonly leaderEpoch: number;
}

export interface NewGroupOffset extends TopicPartition {
  readonly offset: number;
  readonly metadata?: string | undefined;
}

/** Of all brokers, by name. */
export async function listGroups(
  { cluster, links }: AdminAccess,
  options: {
    readonly states?: readonly string[] | undefined;
    readonly types?: readonly string[] | undefined;
  },
): Promise<readonly ListedGroup[]> {
  // Also finds the brokers.
  await cluster.listTopics();
  const request = { statesFilter: options.states ?? [], typesFilter: options.types ?? [] };
  const answers = await Promise.all(
    cluster.brokers.map(async (broker) => {
      const connection = await links.to(broker);
      const answer = await connection.call(ListGroups, request);
      refuseUnlessNone(`Listing the groups of broker ${broker.nodeId}`, answer.errorCode);
      return answer.groups;
    }),
  );
  return answers
    .flat()
    .map(({ groupId, protocolType, groupState, groupType }) => ({
      group: groupId,
      protocolType,
      state: groupState,
      type: groupType.toLowerCase(),
    }))
    .toSorted((a, b) => (a.group < b.group ? -1 : 1));
}

/** Rejects with `BrokerRefusedError` (code `GROUP_ID_NOT_FOUND`, …). */
export async function describeGroup(access: AdminAccess, group: string): Promise<GroupDescription> {
  const what = `Describing group "${group}"`;
  const coordinator = coordinatorOf(access, group);
  const persistence = persistently(access, what);
  if ((await coordinator.connection(persistence.again)).serves(ConsumerGroupDescribe)) {
    const request = { groupIds: [group], includeAuthorizedOperations: false };
    const codeOf = ({ groups }: ConsumerGroupDescribeResponse): number => groups[0]?.errorCode ?? 0;
    const answer = await coordinator.call(ConsumerGroupDescribe, request, { ...persistence, codeOf });
    const [found] = answer.groups;
    if (found?.errorCode === ErrorCode.NONE) return newDescription(found);
  }
  const request = { groups: [group], includeAuthorizedOperations: false };
  const codeOf = ({ groups }: DescribeGroupsResponse): number => groups[0]?.errorCode ?? 0;
  const answer = await coordinator.call(DescribeGroups, request, { ...persistence, codeOf });
  const [found] = answer.groups;
  // Before version 6 a group that is not there is "Dead".
  const isAbsent = found === undefined || found.groupState === "Dead";
  const code = isAbsent ? ErrorCode.GROUP_ID_NOT_FOUND : found.errorCode;
  refuseUnlessNone(what, code, isAbsent ? null : found.errorMessage);
  return classicDescription(found as DescribeGroupsResponse["groups"][number]);
}

function newDescription(found: ConsumerGroupDescribeResponse["groups"][number]): GroupDescription {
  return {
    group: found.groupId,
    state: found.groupState,
    type: "consumer",
    assignor: found.assignorName,
    members: found.members.map(({ memberId, instanceId, clientId, clientHost, assignment }) => ({
      memberId,
      instanceId,
      clientId,
      host: clientHost,
      assignment: assignment.topicPartitions.flatMap(({ topicName, partitions }) =>
        partitions.map((partition) => ({ topic: topicName, partition })),
      ),
    })),
  };
}

function classicDescription(found: DescribeGroupsResponse["groups"][number]): GroupDescription {
  const isReadable = found.protocolType === consumerProtocolType;
  return {
    group: found.groupId,
    state: found.groupState,
    type: "classic",
    assignor: found.protocolData,
    members: found.members.map(({ memberId, groupInstanceId, clientId, clientHost, memberAssignment }) => ({
      memberId,
      instanceId: groupInstanceId,
      clientId,
      host: clientHost,
      assignment:
        isReadable && memberAssignment.byteLength > 0
          ? decodeAssignment(memberAssignment).assignedPartitions.flatMap(({ topic, partitions }) =>
              partitions.map((partition) => ({ topic, partition })),
            )
          : [],
    })),
  };
}

/** Only of groups without members. */
export async function deleteGroups(access: AdminAccess, groups: readonly string[]): Promise<void> {
  const results = await Promise.all(
    groups.map(async (group) => {
      const answer = await coordinatorOf(access, group).call(
        DeleteGroups,
        { groupsNames: [group] },
        {
          ...once(access, `Deleting group "${group}"`),
          codeOf: (each) => each.results[0]?.errorCode ?? ErrorCode.NONE,
        },
      );
      const { errorCode = ErrorCode.UNKNOWN_SERVER_ERROR, errorMessage = null } = answer.results[0] ?? {};
      return { name: group, errorCode, errorMessage };
    }),
  );
  refuseFailures("Deleting group", results);
}

/** Of the partitions that the group has committed, by topic and number. */
export async function listGroupOffsets(
  access: AdminAccess,
  group: string,
  partitions?: readonly TopicPartition[],
): Promise<readonly GroupOffset[]> {
  const persistence = persistently(access, `Looking up the offsets of group "${group}"`);
  const asked = partitions === undefined ? null : byTopic(partitions);
  // As Kafka's admin: a transaction that hangs must not hide where the group stands.
  const found = await fetchOffsets(coordinatorOf(access, group), group, asked, persistence, {
    requireStable: false,
  });
  return found
    .map(({ epoch, ...rest }) => ({ ...rest, leaderEpoch: epoch }))
    .toSorted((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}

/** Only while the group has no members, which would go on from where they are. Asking twice does what asking once does. */
export async function alterGroupOffsets(
  access: AdminAccess,
  group: string,
  offsets: readonly NewGroupOffset[],
): Promise<void> {
  const what = `Moving group "${group}"`;
  const wanted = await Promise.all(
    offsets.map(async ({ topic, partition, offset: at, metadata = "" }) => {
      const view = await access.cluster.topic(topic);
      access.cluster.partition(view, partition);
      return {
        topic,
        partition,
        topicId: view.id ?? NO_TOPIC_ID,
        offset: offset(at),
        epoch: leaderEpoch(-1),
        metadata,
      };
    }),
  );
  const coordinator = coordinatorOf(access, group);
  const results = await commitOffsets(coordinator, group, noMember, wanted, persistently(access, what));
  refuseFailures(
    `Moving group "${group}" in`,
    results.map(({ of, errorCode }) => ({
      name: `${of.topic}/${of.partition}`,
      errorCode,
      errorMessage: errorCode === ErrorCode.UNKNOWN_MEMBER_ID ? memberSentence : null,
    })),
  );
}

const memberSentence = "the group has members, which would go on from where they are; stop them first";

/** The group forgets how far it got there. Only of topics that no member reads. */
export async function deleteGroupOffsets(
  access: AdminAccess,
  group: string,
  partitions: readonly TopicPartition[],
): Promise<void> {
  const what = `Deleting offsets of group "${group}"`;
  const request = {
    groupId: group,
    topics: byTopic(partitions).map(({ topic, partitions: indexes }) => ({
      name: topic,
      partitions: indexes.map((index) => ({ partitionIndex: partitionIndex(index) })),
    })),
  };
  const codeOf = ({ errorCode }: { readonly errorCode: number }): number => errorCode;
  const answer = await coordinatorOf(access, group).call(OffsetDelete, request, {
    ...once(access, what),
    codeOf,
  });
  refuseUnlessNone(what, answer.errorCode);
  refuseFailures(
    `${what} of`,
    answer.topics.flatMap(({ name, partitions: each }) =>
      each.map(({ partitionIndex: index, errorCode }) => ({ name: `${name}/${index}`, errorCode })),
    ),
  );
}

export const coordinatorOf = ({ cluster, links }: AdminAccess, group: string): Coordinator =>
  new Coordinator(cluster, { kind: "group", name: group }, links);

/** For `requestTimeoutMs`. */
export function persistently({ cluster: { settings } }: AdminAccess, what: string): Persistence {
  const endMs = settings.clock.monotonicMs() + settings.requestTimeoutMs;
  let attempts = 0;
  return {
    what,
    again: () => (settings.clock.monotonicMs() >= endMs ? undefined : backoffAfter(++attempts, settings)),
  };
}

/** A change that may have been made is not sent again: a second attempt would be refused as if the first had failed. */
export function once(access: AdminAccess, what: string): Persistence {
  const { again } = persistently(access, what);
  return {
    what,
    again: (cause) => {
      const isRefused = cause instanceof BrokerRefusedError;
      const isUnsent = cause instanceof ConnectionLostError && !cause.sent;
      return isRefused || isUnsent ? again(cause) : undefined;
    },
  };
}
