/** Heartbeat: a member of a classic group is alive, and hears whether the group rebalances. */
import { ErrorCode } from "../../protocol/errors.ts";
import { Heartbeat } from "../../protocol/messages/heartbeat.ts";
import { handle } from "../handle.ts";
import { whenProved } from "../heartbeat-proof.ts";

export const heartbeat = handle(Heartbeat, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide({ groupId, memberId, groupInstanceId, generationId }, { services }) {
    const claim = { memberId, instanceId: groupInstanceId, generation: generationId };
    const errorCode = await services.groups.run<ErrorCode>(
      groupId,
      (shard, turn) => shard.heartbeat(turn, groupId, claim),
      // Clients know no such answer to it, and a session begins anew where the group is read (as in Kafka).
      (away) => (away === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS ? ErrorCode.NONE : away),
    );
    if (errorCode === ErrorCode.NONE) {
      const proof = whenProved(services, services.config.get("group.min.session.timeout.ms"));
      if (proof !== undefined) await proof;
    }
    return { throttleTimeMs: 0, errorCode };
  },
});
