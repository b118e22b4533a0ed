/** Share groups for an admin: their workers, where they begin to deliver and how much waits, moved and forgotten (KIP-932). */
import { offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AlterShareGroupOffsets } from "../protocol/messages/alter-share-group-offsets.ts";
import { DeleteShareGroupOffsets } from "../protocol/messages/delete-share-group-offsets.ts";
import { DescribeShareGroupOffsets } from "../protocol/messages/describe-share-group-offsets.ts";
import { ShareGroupDescribe } from "../protocol/messages/share-group-describe.ts";
import { coordinatorOf, once, persistently } from "./admin-groups.ts";
import { refuseFailures } from "./admin-outcome.ts";
import type { AdminAccess } from "./admin-topics.ts";
import { refuseUnlessNone } from "./errors.ts";
import type { TopicPartition } from "./group/assignor.ts";

export interface ShareMemberDescription {
  readonly memberId: string;
  readonly clientId: string;
  readonly host: string;
  readonly epoch: number;
  readonly topics: readonly string[];
  readonly assignment: readonly TopicPartition[];
}

export interface ShareGroupDescription {
  readonly group: string;
  readonly state: string;
  readonly assignor: string;
  readonly members: readonly ShareMemberDescription[];
}

export interface ShareGroupOffset extends TopicPartition {
  /** Everything below it is done: accepted, or dropped for good. −1: the group has delivered nothing of it yet. */
  readonly startOffset: number;
  readonly leaderEpoch: number;
  /** Messages that are not done, those that are being worked on included; −1: the broker does not say. */
  readonly lag: number;
}

export interface NewShareGroupOffset extends TopicPartition {
  readonly offset: number;
}

/** Rejects with `BrokerRefusedError` (code `GROUP_ID_NOT_FOUND`, …). */
export async function describeShareGroup(access: AdminAccess, group: string): Promise<ShareGroupDescription> {
  const what = `Describing share group "${group}"`;
  const answer = await coordinatorOf(access, group).call(
    ShareGroupDescribe,
    { groupIds: [group], includeAuthorizedOperations: false },
    { ...persistently(access, what), codeOf: ({ groups }) => groups[0]?.errorCode ?? 0 },
  );
  const [found] = answer.groups;
  refuseUnlessNone(what, found?.errorCode ?? ErrorCode.GROUP_ID_NOT_FOUND, found?.errorMessage ?? null);
  return {
    group,
    state: found?.groupState ?? "",
    assignor: found?.assignorName ?? "",
    members: (found?.members ?? []).map((member) => ({
      memberId: member.memberId,
      clientId: member.clientId,
      host: member.clientHost,
      epoch: member.memberEpoch,
      topics: member.subscribedTopicNames,
      assignment: member.assignment.topicPartitions.flatMap(({ topicName, partitions }) =>
        partitions.map((partition) => ({ topic: topicName, partition })),
      ),
    })),
  };
}

/** Of all partitions that the group has to do with, by topic and number. */
export async function listShareGroupOffsets(
  access: AdminAccess,
  group: string,
): Promise<readonly ShareGroupOffset[]> {
  const what = `Looking up how far share group "${group}" has got`;
  const answer = await coordinatorOf(access, group).call(
    DescribeShareGroupOffsets,
    { groups: [{ groupId: group, topics: null }] },
    { ...persistently(access, what), codeOf: ({ groups }) => groups[0]?.errorCode ?? 0 },
  );
  const [found] = answer.groups;
  refuseUnlessNone(what, found?.errorCode ?? ErrorCode.NONE, found?.errorMessage ?? null);
  const all = (found?.topics ?? []).flatMap(({ topicName, partitions }) =>
    partitions.map((each) => ({ topic: topicName, partition: each.partitionIndex, ...each })),
  );
  refuseFailures(
    `${what} in`,
    all.map((each) => ({ ...each, name: `${each.topic}/${each.partition}` })),
  );
  return all
    .map(({ topic, partition, startOffset, leaderEpoch, lag }) => ({
      topic,
      partition,
      startOffset,
      leaderEpoch,
      lag,
    }))
    .toSorted((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}

/** Only while the group has no members. What was being worked on is delivered from there on as if it never had been. */
export async function alterShareGroupOffsets(
  access: AdminAccess,
  group: string,
  offsets: readonly NewShareGroupOffset[],
): Promise<void> {
  const what = `Moving share group "${group}"`;
  const request = {
    groupId: group,
    topics: [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topicName, each]) => ({
      topicName,
      partitions: each.map(({ partition, offset: at }) => ({
        partitionIndex: partitionIndex(partition),
        startOffset: offset(at),
      })),
    })),
  };
  // Asking twice does what asking once does.
  const answer = await coordinatorOf(access, group).call(AlterShareGroupOffsets, request, {
    ...persistently(access, what),
    codeOf: ({ errorCode }) => errorCode,
  });
  refuseUnlessNone(what, answer.errorCode, answer.errorMessage);
  refuseFailures(
    `${what} in`,
    answer.responses.flatMap(({ topicName, partitions }) =>
      partitions.map((each) => ({ ...each, name: `${topicName}/${each.partitionIndex}` })),
    ),
  );
}

/** The group forgets these topics. Only while it has no members. */
export async function deleteShareGroupOffsets(
  access: AdminAccess,
  group: string,
  topics: readonly string[],
): Promise<void> {
  const what = `Deleting what share group "${group}" knows of topics`;
  const request = { groupId: group, topics: topics.map((topicName) => ({ topicName })) };
  const answer = await coordinatorOf(access, group).call(DeleteShareGroupOffsets, request, {
    ...once(access, what),
    codeOf: ({ errorCode }) => errorCode,
  });
  refuseUnlessNone(what, answer.errorCode, answer.errorMessage);
  refuseFailures(
    `${what}:`,
    answer.responses.map((each) => ({ ...each, name: each.topicName })),
  );
}
