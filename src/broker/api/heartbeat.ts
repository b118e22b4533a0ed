/** Heartbeat: a member of a classic group is alive, and hears whether the group rebalances. */
import { Heartbeat } from "../../protocol/messages/heartbeat.ts";
import { handle } from "../handle.ts";

export const heartbeat = handle(Heartbeat, {
  prepare: (request, { services }) => services.groups.enter()?.then(() => request),
  async decide({ groupId, memberId, groupInstanceId, generationId }, { services }) {
    const claim = { memberId, instanceId: groupInstanceId, generation: generationId };
    const errorCode = await services.groups.run(groupId, (shard, turn) =>
      shard.heartbeat(turn, groupId, claim),
    );
    return { throttleTimeMs: 0, errorCode };
  },
});
