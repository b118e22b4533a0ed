/** JoinGroup: enters a group of the classic protocol; answered when the others have come or their time is up. */
import {
  JoinGroup,
  type JoinGroupRequest,
  type JoinGroupResponse,
} from "../../protocol/messages/join-group.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { refusedJoin } from "../../coordinator/group/classic-request.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { randomUuid } from "../random-uuid.ts";

/** A member is told its id before it joins (KIP-394). */
const knownIdVersionMin = 4;
/** KIP-814. */
const skipAssignmentVersionMin = 9;
/** Before, the name of a protocol cannot be null. */
const nullProtocolVersionMin = 7;
/** What one member may say of itself, over all the protocols that it offers. */
const memberBytesMax = 1024 * 1024;

export const joinGroup = handle(JoinGroup, {
  prepare: (request, { services }) =>
    services.groups.enter(request.groupId, weigh(request))?.then(() => request),
  async decide(request, context) {
    const { groups } = context.services;
    const joined = await groups.ask<JoinGroupResponse>(
      request.groupId,
      (shard, turn, ticket) => {
        if (weigh(request) > memberBytesMax) {
          return turn.reply(ticket, refusedJoin(ErrorCode.INVALID_REQUEST, request.memberId));
        }
        shard.join(turn, request.groupId, toJoin(request, context), ticket);
      },
      (elsewhere) => refusedJoin(elsewhere, request.memberId),
      weigh(request),
    );
    if (joined.protocolName !== null || context.apiVersion >= nullProtocolVersionMin) return joined;
    return { ...joined, protocolName: "" };
  },
});

/** Bytes that a generation with this member may add to the log. */
function weigh({ protocols }: JoinGroupRequest): number {
  return protocols.reduce((sum, { metadata }) => sum + metadata.byteLength, 0);
}

function toJoin(request: JoinGroupRequest, context: RequestContext) {
  const { apiVersion, clientId, connection, services } = context;
  return {
    memberId: request.memberId,
    instanceId: request.groupInstanceId,
    clientId: clientId ?? "",
    clientHost: `/${connection.remoteHost}`,
    sessionTimeoutMs: request.sessionTimeoutMs,
    rebalanceTimeoutMs:
      request.rebalanceTimeoutMs < 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs,
    protocolType: request.protocolType,
    // Copies: a group outlives the frame that its member came in.
    protocols: request.protocols.map(({ name, metadata }) => ({ name, metadata: Uint8Array.from(metadata) })),
    mustKnowId: apiVersion >= knownIdVersionMin,
    maySkipAssignment: apiVersion >= skipAssignmentVersionMin,
    freshId: randomUuid(services.env.random),
  };
}
