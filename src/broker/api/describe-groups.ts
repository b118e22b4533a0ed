/** DescribeGroups: state and members of groups of the classic protocol. */
import type { ClassicGroup } from "../../coordinator/group/classic.ts";
import { type ClassicMember, metadataFor, noBytes } from "../../coordinator/group/classic-member.ts";
import type { Group } from "../../coordinator/group/group.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import { DescribeGroups, type DescribeGroupsResponse } from "../../protocol/messages/describe-groups.ts";
import { groupOperations } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";

type Described = DescribeGroupsResponse["groups"][number];

/** Before, a group that is not there was told as one that is dead (KIP-1043). */
const notFoundVersionMin = 6;

export const describeGroups = handle(DescribeGroups, {
  prepare: (request, { services }) => services.groups.enter(request.groups)?.then(() => request),
  async decide({ groups, includeAuthorizedOperations }, context) {
    const described = await Promise.all(
      groups.map((groupId) =>
        context.services.groups.run(
          groupId,
          (shard) => describe(groupId, shard.group(groupId), context),
          (errorCode) => ({ ...nothing(groupId), errorCode }),
        ),
      ),
    );
    const authorizedOperations = includeAuthorizedOperations ? groupOperations : OPERATIONS_NOT_ASKED;
    return { throttleTimeMs: 0, groups: described.map((each) => ({ ...each, authorizedOperations })) };
  },
});

function nothing(groupId: string): Described {
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    groupId,
    groupState: "",
    protocolType: "",
    protocolData: "",
    members: [],
    authorizedOperations: OPERATIONS_NOT_ASKED,
  };
}

function describe(groupId: string, group: Group | undefined, { apiVersion }: RequestContext): Described {
  const plain = nothing(groupId);
  if (group === undefined || group.consumer !== null || group.share !== null) {
    if (apiVersion < notFoundVersionMin) return { ...plain, groupState: "Dead" };
    const errorMessage = `Group ${groupId} ${group === undefined ? "not found" : "is not a classic group"}.`;
    return { ...plain, groupState: "Dead", errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage };
  }
  const { classic } = group;
  if (classic === null) return { ...plain, groupState: "Empty" };
  return {
    ...plain,
    groupState: classic.phase,
    protocolType: classic.protocolType ?? "",
    protocolData: classic.phase === "Stable" ? (classic.protocol ?? "") : "",
    members: Array.from(classic.members, (member) => describeMember(member, classic)),
  };
}

function describeMember(member: ClassicMember, group: ClassicGroup): Described["members"][number] {
  const isStable = group.phase === "Stable";
  return {
    memberId: member.id,
    groupInstanceId: member.instanceId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    // While members come and go there is no protocol yet that they were chosen for.
    memberMetadata: isStable ? metadataFor(member, group.protocol) : noBytes,
    memberAssignment: isStable ? member.assignment : noBytes,
  };
}
