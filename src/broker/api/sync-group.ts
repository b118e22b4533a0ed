/** SyncGroup: the leader hands in who reads what, and every member hears its own part. */
import { refusedSync } from "../../coordinator/group/classic-request.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  SyncGroup,
  type SyncGroupRequest,
  type SyncGroupResponse,
} from "../../protocol/messages/sync-group.ts";
import { handle } from "../handle.ts";

export const syncGroup = handle(SyncGroup, {
  prepare: (request, { services }) =>
    services.groups.enter(request.groupId, weigh(request))?.then(() => request),
  decide(request, { services }) {
    const { groupId, memberId, groupInstanceId, generationId, protocolType, protocolName } = request;
    const sync = {
      memberId,
      instanceId: groupInstanceId,
      generation: generationId,
      protocolType,
      protocol: protocolName,
      assignments: request.assignments,
    };
    return services.groups.ask<SyncGroupResponse>(
      groupId,
      (shard, turn, ticket) => shard.sync(turn, groupId, sync, ticket),
      // While it is loaded the generation is lost that somebody divides: clients know no other answer to that.
      (away) =>
        refusedSync(away === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS ? ErrorCode.REBALANCE_IN_PROGRESS : away),
      weigh(request),
    );
  },
});

function weigh({ assignments }: SyncGroupRequest): number {
  return assignments.reduce((sum, { assignment }) => sum + assignment.byteLength, 0);
}
