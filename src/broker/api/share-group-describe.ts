/** ShareGroupDescribe: state, members and assignments of share groups. */
import { type PartitionSet, topicPartitions } from "../../coordinator/group/partition-set.ts";
import type { ShareMember } from "../../coordinator/group/share-member.ts";
import type { ShareGroup } from "../../coordinator/group/share.ts";
import type { ShareRefusal } from "../../coordinator/group/share-groups.ts";
import { simpleAssignor } from "../../coordinator/group/assign/simple.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import {
  ShareGroupDescribe,
  type ShareGroupDescribeResponse,
} from "../../protocol/messages/share-group-describe.ts";
import { groupOperations } from "../cluster-view.ts";
import type { Services } from "../context.ts";
import { shareGroupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { type Refusal, refusal } from "../refusal.ts";

type Described = ShareGroupDescribeResponse["groups"][number];
type DescribedMember = Described["members"][number];

export const shareGroupDescribe = handle(ShareGroupDescribe, {
  prepare: (request, { services }) => services.groups.enter(request.groupIds)?.then(() => request),
  async decide({ groupIds, includeAuthorizedOperations }, { services }) {
    const off = shareGroupsOff(services);
    const described = await Promise.all(
      groupIds.map(async (groupId) => {
        if (off !== null) return refused(groupId, off);
        return services.groups.run(
          groupId,
          (shard) => describe(groupId, shard.share.find(groupId), services),
          (elsewhere) => refused(groupId, refusal(elsewhere)),
        );
      }),
    );
    const authorizedOperations = includeAuthorizedOperations ? groupOperations : OPERATIONS_NOT_ASKED;
    return { throttleTimeMs: 0, groups: described.map((each) => ({ ...each, authorizedOperations })) };
  },
});

function describe(groupId: string, found: ShareGroup | ShareRefusal, services: Services): Described {
  if ("kind" in found) return refused(groupId, refusal(found.errorCode, found.errorMessage));
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    groupId,
    groupState: found.phase,
    groupEpoch: found.epoch,
    assignmentEpoch: found.targetEpoch,
    assignorName: simpleAssignor,
    members: Array.from(found.members, (member) => describeMember(member, services)),
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

function describeMember({ id, about, held }: ShareMember, services: Services): DescribedMember {
  return {
    memberId: id,
    rackId: about.rackId,
    memberEpoch: held.epoch,
    clientId: about.clientId,
    clientHost: about.clientHost,
    subscribedTopicNames: about.subscribedTopicNames,
    assignment: named(held.assigned, services),
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
