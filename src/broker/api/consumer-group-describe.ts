/** ConsumerGroupDescribe: state, members and assignments of groups of KIP-848. */
import type { ConsumerGroup } from "../../coordinator/group/consumer.ts";
import type { Group } from "../../coordinator/group/group.ts";
import type { ConsumerMember } from "../../coordinator/group/consumer-member.ts";
import { type PartitionSet, topicPartitions } from "../../coordinator/group/partition-set.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import {
  ConsumerGroupDescribe,
  type ConsumerGroupDescribeResponse,
} from "../../protocol/messages/consumer-group-describe.ts";
import { groupOperations } from "../cluster-view.ts";
import type { Services } from "../context.ts";
import { groupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { type Refusal, refusal } from "../refusal.ts";

type Described = ConsumerGroupDescribeResponse["groups"][number];
type DescribedMember = Described["members"][number];

/** Kafka's numbers for what a member speaks. */
const MemberType = { classic: 0, consumer: 1 } as const;

export const consumerGroupDescribe = handle(ConsumerGroupDescribe, {
  prepare: (request, { services }) => services.groups.enter(request.groupIds)?.then(() => request),
  async decide({ groupIds, includeAuthorizedOperations }, { services }) {
    const off = groupsOff(services);
    const described = await Promise.all(
      groupIds.map(async (groupId) => {
        if (off !== null) return refused(groupId, off);
        return services.groups.run(
          groupId,
          (shard) => describe(groupId, shard.group(groupId), services),
          (elsewhere) => refused(groupId, refusal(elsewhere)),
        );
      }),
    );
    const authorizedOperations = includeAuthorizedOperations ? groupOperations : OPERATIONS_NOT_ASKED;
    return { throttleTimeMs: 0, groups: described.map((each) => ({ ...each, authorizedOperations })) };
  },
});

function describe(groupId: string, found: Group | undefined, services: Services): Described {
  const group: ConsumerGroup | null = found?.consumer ?? null;
  if (group === null) {
    // Kafka's words: its tools show them.
    const why = `Group ${groupId} ${found === undefined ? "not found" : "is not a consumer group"}.`;
    return refused(groupId, refusal(ErrorCode.GROUP_ID_NOT_FOUND, why));
  }
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    groupId,
    groupState: group.phase,
    groupEpoch: group.epoch,
    assignmentEpoch: group.targetEpoch,
    assignorName: group.assignorName,
    members: Array.from(group.members, (member) => describeMember(member, services)),
    authorizedOperations: OPERATIONS_NOT_ASKED,
  };
}

function refused(groupId: string, why: Refusal): Described {
  return {
    ...why,
    groupId,
    groupState: "Dead",
    groupEpoch: 0,
    assignmentEpoch: 0,
    assignorName: "",
    members: [],
    authorizedOperations: OPERATIONS_NOT_ASKED,
  };
}

function describeMember({ id, about, held, target }: ConsumerMember, services: Services): DescribedMember {
  return {
    memberId: id,
    instanceId: about.instanceId,
    rackId: about.rackId,
    memberEpoch: held.epoch,
    clientId: about.clientId,
    clientHost: about.clientHost,
    subscribedTopicNames: about.subscribedTopicNames,
    subscribedTopicRegex: about.subscribedTopicRegex,
    assignment: named(held.assigned, services),
    targetAssignment: named(target, services),
    memberType: about.classicMemberMetadata === null ? MemberType.consumer : MemberType.classic,
  };
}

/** A topic that was deleted meanwhile has no name any more. */
function named(set: PartitionSet, { topics }: Services): DescribedMember["assignment"] {
  const known = topicPartitions(set).flatMap(({ topicId, partitions }) => {
    const topicName = topics.byId(topicId)?.name;
    return topicName === undefined ? [] : [{ topicId, topicName, partitions }];
  });
  return { topicPartitions: known };
}
