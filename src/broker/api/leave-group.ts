/** LeaveGroup: members leave a classic group, several at once where an admin names static ones (KIP-345). */
import type { GroupShard } from "../../coordinator/group/shard.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { LeaveGroup } from "../../protocol/messages/leave-group.ts";
import { handle } from "../handle.ts";

const manyMembersVersionMin = 3;

export const leaveGroup = handle(LeaveGroup, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide(request, { apiVersion, services }) {
    const { groupId } = request;
    const isMany = apiVersion >= manyMembersVersionMin;
    const leaving = isMany
      ? request.members.map((each) => ({ memberId: each.memberId, instanceId: each.groupInstanceId }))
      : [{ memberId: request.memberId, instanceId: null }];
    const left = await services.groups.run<ReturnType<GroupShard["leave"]>>(
      groupId,
      (shard, turn) => shard.leave(turn, groupId, leaving),
      (errorCode) => ({ errorCode, members: [] }),
    );
    const members = left.members.map((errorCode, at) => {
      const { memberId, instanceId } = leaving[at] as (typeof leaving)[number];
      return { memberId, groupInstanceId: instanceId, errorCode };
    });
    if (isMany) return { throttleTimeMs: 0, errorCode: left.errorCode, members };
    const errorCode =
      left.errorCode === ErrorCode.NONE ? (left.members[0] ?? ErrorCode.NONE) : left.errorCode;
    return { throttleTimeMs: 0, errorCode, members: [] };
  },
});
