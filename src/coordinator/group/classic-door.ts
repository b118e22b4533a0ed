/**
 * Members of the classic protocol in a group of KIP-848: their JoinGroup tells what they want and have, as
 * a heartbeat of the others does, and their SyncGroup hears what they are to have. Nobody leads, nobody
 * waits; a member for which there is something new is told so by its next heartbeat, and joins again.
 */
import { ErrorCode } from "../../protocol/errors.ts";
import { consumerProtocolType } from "../../protocol/consumer-protocol.ts";
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../../protocol/messages/sync-group.ts";
import type { GroupTurn } from "./records.ts";
import type { TopicView } from "../topic-view.ts";
import {
  type Claim,
  type Identity,
  type Join,
  refusedJoin,
  refusedSync,
  type Sync,
} from "./classic-request.ts";
import type { ConsumerGroup } from "./consumer.ts";
import { MemberEpoch } from "./consumer-request.ts";
import { aboutClassic, ownedBy, partOf, subscriptionOf } from "./migration.ts";

export class ClassicDoor {
  readonly #group: ConsumerGroup;
  readonly #topics: TopicView;

  constructor(group: ConsumerGroup, topics: TopicView) {
    this.#group = group;
    this.#topics = topics;
  }

  join(turn: GroupTurn, join: Join): JoinGroupResponse {
    const { instanceId, protocols } = join;
    const subscription = join.protocolType === consumerProtocolType ? subscriptionOf(protocols) : null;
    if (subscription === null) return refusedJoin(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, join.memberId);
    const isNew = join.memberId === "";
    const memberId = isNew ? `${instanceId ?? join.clientId}-${join.freshId}` : join.memberId;
    if (isNew && instanceId === null && join.mustKnowId) {
      this.#group.invite(memberId, turn.monotonicMs + join.sessionTimeoutMs);
      return refusedJoin(ErrorCode.MEMBER_ID_REQUIRED, memberId);
    }
    if (!isNew && !this.#group.isInvited(memberId)) {
      const claimed = this.#verify({ memberId, instanceId });
      if (claimed !== ErrorCode.NONE) return refusedJoin(claimed, memberId);
    }
    const beat = {
      memberId,
      memberEpoch: MemberEpoch.join,
      instanceId,
      rackId: subscription.rackId,
      clientId: join.clientId,
      clientHost: join.clientHost,
      rebalanceTimeoutMs: join.rebalanceTimeoutMs,
      topicNames: subscription.topics,
      topicRegex: null,
      assignor: null,
      owned: ownedBy(subscription, this.#topics),
    };
    const { errorCode, memberEpoch } = this.#group.heartbeat(turn, beat, aboutClassic(join, subscription));
    if (errorCode !== ErrorCode.NONE) return refusedJoin(errorCode, memberId);
    return {
      ...refusedJoin(ErrorCode.NONE, memberId),
      generationId: memberEpoch,
      protocolType: consumerProtocolType,
      protocolName: protocols[0]?.name ?? null,
    };
  }

  sync(
    turn: GroupTurn,
    { memberId, instanceId, generation, protocolType, protocol }: Sync,
  ): SyncGroupResponse {
    const refused = this.#current({ memberId, instanceId, generation });
    if (refused !== ErrorCode.NONE) return refusedSync(refused);
    const offered = this.#group.member(memberId)?.about.classicMemberMetadata?.supportedProtocols ?? [];
    const isOther =
      (protocolType !== null && protocolType !== consumerProtocolType) ||
      (protocol !== null && !offered.some(({ name }) => name === protocol));
    if (isOther) return refusedSync(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    if (this.#group.hasNews(memberId)) return refusedSync(ErrorCode.REBALANCE_IN_PROGRESS);
    this.#group.hear(turn, memberId);
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      protocolType: consumerProtocolType,
      protocolName: protocol,
      assignment: partOf(this.#group.member(memberId)?.held.assigned ?? new Map(), this.#topics),
    };
  }

  heartbeat(turn: GroupTurn, claim: Claim): ErrorCode {
    const refused = this.#current(claim);
    if (refused !== ErrorCode.NONE) return refused;
    this.#group.hear(turn, claim.memberId);
    return this.#group.hasNews(claim.memberId) ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE;
  }

  leave(turn: GroupTurn, { memberId, instanceId }: Identity): ErrorCode {
    const byInstance = instanceId === null ? undefined : this.#group.byInstance(instanceId);
    if (instanceId !== null && byInstance === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (byInstance !== undefined && memberId !== "" && memberId !== byInstance.id)
      return ErrorCode.FENCED_INSTANCE_ID;
    const id = byInstance?.id ?? memberId;
    if (this.#group.member(id) === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    this.#group.drop(turn, new Set([id]));
    return ErrorCode.NONE;
  }

  #current(claim: Claim): ErrorCode {
    const claimed = this.#verify(claim);
    if (claimed !== ErrorCode.NONE) return claimed;
    return this.#group.member(claim.memberId)?.held.epoch === claim.generation
      ? ErrorCode.NONE
      : ErrorCode.ILLEGAL_GENERATION;
  }

  #verify({ memberId, instanceId }: Identity): ErrorCode {
    if (instanceId !== null) {
      const named = this.#group.byInstance(instanceId);
      if (named === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (named.id !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    // One of KIP-848 has other requests to say this.
    const metadata = this.#group.member(memberId)?.about.classicMemberMetadata;
    return metadata === undefined || metadata === null ? ErrorCode.UNKNOWN_MEMBER_ID : ErrorCode.NONE;
  }
}
