/** ShareAcknowledge: what became of records that a member of a share group acquired (KIP-932, KIP-1222). */
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ShareAcknowledge,
  type ShareAcknowledgeResponse,
} from "../../protocol/messages/share-acknowledge.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { noLeader, Referrals, sendsAway } from "../placement.ts";
import {
  acknowledge,
  type Answered,
  byTopic,
  messageOf,
  refuseNames,
  whenRoom,
  wordsOf,
} from "../share/share-request.ts";
import { type Refused, ShareEpoch } from "../share/share-session.ts";

export const shareAcknowledge = handle(ShareAcknowledge, {
  prepare: (request, { services }) => whenRoom(request.topics, services)?.then(() => request),
  decide(request, context) {
    const { shares } = context.services;
    const groupId = request.groupId ?? "";
    const memberId = request.memberId ?? "";
    const wrong = refuseNames(request, context.services);
    if (wrong !== null) return failed(wrong);
    const { shareSessionEpoch: epoch } = request;
    const session = shares.sessions.acknowledge(groupId, memberId, epoch, context.connection);
    if ("kind" in session) return failed(session);
    const answered = acknowledge(groupId, memberId, wordsOf(request.topics), request.isRenewAck, context);
    if (epoch !== ShareEpoch.close) return answered.then((all) => answer(all, groupId, context));
    shares.sessions.end(session);
    const released = shares.release(groupId, memberId, "closed");
    return Promise.all([answered, released]).then(([all]) => answer(all, groupId, context));
  },
});

function failed({ errorCode, errorMessage }: Refused): ShareAcknowledgeResponse {
  return {
    throttleTimeMs: 0,
    errorCode,
    errorMessage,
    acquisitionLockTimeoutMs: 0,
    responses: [],
    nodeEndpoints: [],
  };
}

function answer(
  answered: readonly Answered[],
  groupId: string,
  context: RequestContext,
): ShareAcknowledgeResponse {
  const referrals = new Referrals(context);
  const responses = byTopic(
    answered.map(({ topicId, partition, errorCode }) => ({
      topicId,
      value: {
        partitionIndex: partition,
        errorCode,
        errorMessage: messageOf(errorCode),
        currentLeader: sendsAway(errorCode) ? referrals.leaderOf(topicId, partition) : noLeader,
      },
    })),
  );
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    acquisitionLockTimeoutMs: context.services.shares.settingsOf(groupId).lockDurationMs,
    responses,
    nodeEndpoints: [...referrals.endpoints],
  };
}
