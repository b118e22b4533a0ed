/** ShareGroupHeartbeat: all that a member of a share group says, and what it is told to read (KIP-932). */
import { MemberEpoch } from "../../coordinator/group/consumer-request.ts";
import { topicPartitions } from "../../coordinator/group/partition-set.ts";
import type { ShareBeat } from "../../coordinator/group/share-groups.ts";
import {
  refusedShareBeat,
  type ShareAnswer,
  type ShareHeartbeat,
  type ShareWork,
} from "../../coordinator/group/share-request.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import {
  ShareGroupHeartbeat,
  type ShareGroupHeartbeatRequest,
} from "../../protocol/messages/share-group-heartbeat.ts";
import type { RequestContext, Services } from "../context.ts";
import { shareGroupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { whenProved } from "../heartbeat-proof.ts";
import { settleWork } from "../share/group-work.ts";
import { shareSettingsOf } from "../share/settings.ts";

const textMax = 249;
/** A member that joins waits so long for share state to begin, so that it is told at once what to read. */
const workWaitMaxMs = 2_000;

export const shareGroupHeartbeat = handle(ShareGroupHeartbeat, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide(request, context) {
    const { services } = context;
    const beat = toBeat(request, context);
    const refused = refuse(request, beat, services);
    const first = refused === null ? await heard(request.groupId, beat, services) : null;
    const answer = refused ?? (await afterWork(request, beat, first as ShareBeat, services));
    const { sessionTimeoutMs, heartbeatIntervalMs } = shareSettingsOf(
      request.groupId,
      services.journal.state,
      services.config,
    );
    const isWell = answer.errorCode === ErrorCode.NONE;
    if (isWell) {
      const proof = whenProved(services, sessionTimeoutMs);
      if (proof !== undefined) await proof;
    }
    const { assignment, ...told } = answer;
    return {
      throttleTimeMs: 0,
      ...told,
      heartbeatIntervalMs: isWell ? heartbeatIntervalMs : 0,
      assignment: assignment === null ? null : { topicPartitions: topicPartitions(assignment) },
    };
  },
});

function heard(groupId: string, beat: ShareHeartbeat, { groups }: Services): Promise<ShareBeat> {
  return groups.run(
    groupId,
    (shard, turn) => shard.share.beat(turn, groupId, beat),
    (elsewhere) => ({ answer: refusedShareBeat(beat, elsewhere, errorFacts(elsewhere).text), work: null }),
  );
}

/** What the member is told once what it waits for is done, if that does not take too long. */
async function afterWork(
  { groupId }: ShareGroupHeartbeatRequest,
  beat: ShareHeartbeat,
  { answer, work }: ShareBeat,
  services: Services,
): Promise<ShareAnswer> {
  if (work === null) return answer;
  if (!(await isDoneInTime(groupId, work, services))) return answer;
  const again = await heard(groupId, { ...beat, memberEpoch: answer.memberEpoch }, services);
  // There may be more by now, as when a topic grew; the next heartbeat hears of it.
  if (again.work !== null) void isDoneInTime(groupId, again.work, services);
  return again.answer.errorCode === ErrorCode.NONE ? again.answer : answer;
}

/** Whether the group was told in time what came of it; else it goes on by itself. */
async function isDoneInTime(groupId: string, work: ShareWork, services: Services): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = services.env.clock.schedule(workWaitMaxMs, () => resolve(false));
    const done = (isDone: boolean): void => {
      timer.cancel();
      resolve(isDone);
    };
    settleWork(services, groupId, work).then(
      () => done(true),
      // The log closed: whoever reads the group next finds in its records what was to be done.
      () => done(false),
    );
  });
}

function toBeat(request: ShareGroupHeartbeatRequest, context: RequestContext): ShareHeartbeat {
  const { memberId, memberEpoch, rackId, subscribedTopicNames } = request;
  return {
    memberId,
    memberEpoch,
    rackId,
    clientId: context.clientId ?? "",
    clientHost: `/${context.connection.remoteHost}`,
    topicNames: subscribedTopicNames,
  };
}

function refuse(
  request: ShareGroupHeartbeatRequest,
  beat: ShareHeartbeat,
  services: Services,
): ShareAnswer | null {
  const off = shareGroupsOff(services);
  if (off !== null) return refusedShareBeat(beat, off.errorCode, off.errorMessage);
  const wrong = check(request);
  return wrong === null ? null : refusedShareBeat(beat, ErrorCode.INVALID_REQUEST, wrong);
}

/** What no well-kept client sends; null: nothing is wrong. */
function check(request: ShareGroupHeartbeatRequest): string | null {
  const { groupId, memberId, memberEpoch, rackId, subscribedTopicNames } = request;
  if (memberId.trim() === "") return "MemberId can't be empty.";
  if (memberId.length > textMax) return `MemberId is longer than ${textMax} characters.`;
  if (groupId.trim() === "") return "GroupId can't be empty.";
  if (rackId?.trim() === "") return "RackId can't be empty.";
  if (memberEpoch < MemberEpoch.leave) return "MemberEpoch is invalid.";
  const subscribes = (subscribedTopicNames?.length ?? 0) > 0;
  if (memberEpoch === MemberEpoch.join && !subscribes) {
    return "SubscribedTopicNames must be set in first request.";
  }
  return null;
}
