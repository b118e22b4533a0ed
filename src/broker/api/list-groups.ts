/** ListGroups: every group that this broker looks after, on request only those of some states (KIP-518) or types (KIP-848, KIP-932). */
import type { Group } from "../../coordinator/group/group.ts";
import { consumerProtocolType } from "../../protocol/consumer-protocol.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ListGroups, type ListGroupsResponse } from "../../protocol/messages/list-groups.ts";
import { handle } from "../handle.ts";

type Listed = ListGroupsResponse["groups"][number];

/** As Kafka tells it. */
const shareProtocolType = "share";

export const listGroups = handle(ListGroups, {
  prepare: (request, { services }) => services.groups.whenListable()?.then(() => request),
  async decide({ statesFilter, typesFilter }, { services }) {
    const states = new Set(statesFilter.map((each) => each.toLowerCase()));
    const types = new Set(typesFilter.map((each) => each.toLowerCase()));
    const isWanted = ({ groupState, groupType }: Listed): boolean =>
      (states.size === 0 || states.has(groupState.toLowerCase())) &&
      (types.size === 0 || types.has(groupType.toLowerCase()));
    const { isComplete } = services.groups;
    const all = await services.groups.runAll((shard) => Array.from(shard.groups(), listed).filter(isWanted));
    // What is not read yet is not denied: whoever asks for all of it asks again.
    const errorCode = isComplete ? ErrorCode.NONE : ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    return { throttleTimeMs: 0, errorCode, groups: all.flat() };
  },
});

function listed({ id, classic, consumer, share }: Group): Listed {
  if (share !== null) {
    return { groupId: id, protocolType: shareProtocolType, groupState: share.phase, groupType: "share" };
  }
  return {
    groupId: id,
    protocolType: consumer === null ? (classic?.protocolType ?? "") : consumerProtocolType,
    groupState: consumer?.phase ?? classic?.phase ?? "Empty",
    groupType: consumer === null ? "classic" : "consumer",
  };
}
