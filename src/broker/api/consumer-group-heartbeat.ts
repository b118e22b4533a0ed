/** ConsumerGroupHeartbeat: all that a member of KIP-848 says, and what it is told to have. */
import {
  type ConsumerHeartbeat,
  MemberEpoch,
  refusedBeat,
} from "../../coordinator/group/consumer-request.ts";
import { partitionSet, topicPartitions } from "../../coordinator/group/partition-set.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import {
  ConsumerGroupHeartbeat,
  type ConsumerGroupHeartbeatRequest,
} from "../../protocol/messages/consumer-group-heartbeat.ts";
import type { RequestContext } from "../context.ts";
import { groupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { whenProved } from "../heartbeat-proof.ts";
import { randomUuid } from "../random-uuid.ts";

/** Clients choose their member id themselves; before, a member without one was given it. */
const ownIdVersionMin = 1;
const textMax = 249;

export const consumerGroupHeartbeat = handle(ConsumerGroupHeartbeat, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide(request, context) {
    const { groups } = context.services;
    const beat = toBeat(request, context);
    const refused = refuse(request, beat, context);
    const answer =
      refused ??
      (await groups.run(
        request.groupId,
        (shard, turn) => shard.beat(turn, request.groupId, beat),
        (elsewhere) => refusedBeat(beat, elsewhere, errorFacts(elsewhere).text),
      ));
    if (answer.errorCode === ErrorCode.NONE) {
      const proof = whenProved(context.services, groups.consumerSessionMs(request.groupId));
      if (proof !== undefined) await proof;
    }
    const { assignment, ...told } = answer;
    return {
      throttleTimeMs: 0,
      ...told,
      heartbeatIntervalMs:
        answer.errorCode === ErrorCode.NONE ? groups.consumerHeartbeatMs(request.groupId) : 0,
      assignment: assignment === null ? null : { topicPartitions: topicPartitions(assignment) },
    };
  },
});

function toBeat(request: ConsumerGroupHeartbeatRequest, context: RequestContext): ConsumerHeartbeat {
  const { memberId, memberEpoch, topicPartitions: owned } = request;
  const isUnnamed =
    memberId === "" && memberEpoch === MemberEpoch.join && context.apiVersion < ownIdVersionMin;
  return {
    memberId: isUnnamed ? randomUuid(context.services.env.random) : memberId,
    memberEpoch,
    instanceId: request.instanceId,
    rackId: request.rackId,
    clientId: context.clientId ?? "",
    clientHost: `/${context.connection.remoteHost}`,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs,
    topicNames: request.subscribedTopicNames,
    topicRegex: request.subscribedTopicRegex,
    assignor: request.serverAssignor,
    owned: owned === null ? null : partitionSet(owned),
  };
}

function refuse(request: ConsumerGroupHeartbeatRequest, beat: ConsumerHeartbeat, context: RequestContext) {
  const off = groupsOff(context.services);
  if (off !== null) return refusedBeat(beat, off.errorCode, off.errorMessage);
  const wrong = check(request, context);
  return wrong === null ? null : refusedBeat(beat, ErrorCode.INVALID_REQUEST, wrong);
}

/** What no well-kept client sends; null: nothing is wrong. */
function check(request: ConsumerGroupHeartbeatRequest, { apiVersion }: RequestContext): string | null {
  const { groupId, memberId, memberEpoch, instanceId, topicPartitions: owned } = request;
  if (groupId.trim() === "") return "GroupId can't be empty.";
  if (instanceId?.trim() === "") return "InstanceId can't be empty.";
  if (request.rackId?.trim() === "") return "RackId can't be empty.";
  if (memberId.length > textMax) return `MemberId is longer than ${textMax} characters.`;
  if (memberEpoch < MemberEpoch.leaveForNow) return `MemberEpoch ${memberEpoch} is invalid.`;
  if (memberId.trim() === "" && (memberEpoch !== MemberEpoch.join || apiVersion >= ownIdVersionMin)) {
    return "MemberId can't be empty.";
  }
  if (memberEpoch === MemberEpoch.leaveForNow && instanceId === null) {
    return "InstanceId can't be null when a static member leaves for a while.";
  }
  if (memberEpoch !== MemberEpoch.join) return null;
  if (request.rebalanceTimeoutMs === -1) return "RebalanceTimeoutMs must be provided in the first request.";
  if (owned === null || owned.length > 0) return "TopicPartitions must be empty when (re-)joining.";
  const subscribes = (request.subscribedTopicNames?.length ?? 0) > 0 || Boolean(request.subscribedTopicRegex);
  if (request.subscribedTopicNames !== null || subscribes) return null;
  return "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
}
