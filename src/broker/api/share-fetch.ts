/**
 * ShareFetch: acquires records for a member of a share group and hands them out as the batches that are stored,
 * after it took what the member says of earlier ones (KIP-932, KIP-1206, KIP-1222). Never decodes a record. Records
 * leave when what they rest on is durable (I1), in a cluster also only with a proof that is younger than their
 * acquisition: a broker that was replaced must not deliver what its successor was told is acknowledged.
 */
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ShareFetch,
  type ShareFetchRequest,
  type ShareFetchResponse,
} from "../../protocol/messages/share-fetch.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { noLeader, Referrals, sendsAway } from "../placement.ts";
import { offsetsOf } from "../share/share-partition.ts";
import {
  acknowledge,
  type Answered,
  byTopic,
  messageOf,
  refuseNames,
  whenRoom,
  wordsOf,
} from "../share/share-request.ts";
import { type ServedShare, ShareServing, whenTellable } from "../share/share-serving.ts";
import {
  placeKey,
  type Refused,
  refused,
  ShareEpoch,
  type SharePlace,
  type ShareSession,
} from "../share/share-session.ts";

type PartitionResponse = ShareFetchResponse["responses"][number]["partitions"][number];

const acquireModes = ["batch", "strict"] as const;

export const shareFetch = handle(ShareFetch, {
  prepare: (request, { services }) => whenRoom(request.topics, services)?.then(() => request),
  decide(request, context) {
    const wrong = refuseNames(request, context.services) ?? refuse(request);
    if (wrong !== null) return failed(wrong);
    const { shares } = context.services;
    const groupId = request.groupId ?? "";
    const memberId = request.memberId ?? "";
    const words = wordsOf(request.topics);
    const { shareSessionEpoch: epoch } = request;
    const session = shares.sessions.fetch(
      {
        groupId,
        memberId,
        epoch,
        wanted: request.isRenewAck ? [] : placesOf(request),
        forgotten: forgottenOf(request),
        acknowledges: words.length > 0,
      },
      context.connection,
    );
    if ("kind" in session) return failed(session);
    const answered = acknowledge(groupId, memberId, words, request.isRenewAck, context);
    if (epoch === ShareEpoch.close) {
      shares.sessions.end(session);
      const released = shares.release(groupId, memberId, "closed");
      return Promise.all([answered, released]).then(([all]) => answer(all, [], session, context));
    }
    // To look for records meanwhile could outlast the locks that it renews.
    if (request.isRenewAck) return answered.then((all) => answer(all, [], session, context));
    return fetch(request, session, answered, context);
  },
});

/** Null: nothing is wrong with it. */
function refuse(request: ShareFetchRequest): Refused | null {
  const { isRenewAck, maxBytes, minBytes, maxRecords, maxWaitMs, shareAcquireMode } = request;
  if (isRenewAck && (maxBytes !== 0 || minBytes !== 0 || maxRecords !== 0 || maxWaitMs !== 0)) {
    return refused(
      ErrorCode.INVALID_REQUEST,
      "A request that renews fetches nothing: MaxBytes, MinBytes, MaxRecords and MaxWaitMs must be 0.",
    );
  }
  if (acquireModes[shareAcquireMode] !== undefined) return null;
  return refused(ErrorCode.INVALID_REQUEST, `There is no acquire mode ${shareAcquireMode}, only 0 and 1.`);
}

function placesOf({ topics }: ShareFetchRequest): readonly SharePlace[] {
  return topics.flatMap(({ topicId, partitions }) =>
    partitions.map(({ partitionIndex }) => ({ topicId, partition: partitionIndex })),
  );
}

function forgottenOf({ forgottenTopicsData }: ShareFetchRequest): readonly SharePlace[] {
  return forgottenTopicsData.flatMap(({ topicId, partitions }) =>
    partitions.map((partition) => ({ topicId, partition })),
  );
}

async function fetch(
  request: ShareFetchRequest,
  session: ShareSession,
  answered: Promise<readonly Answered[]>,
  context: RequestContext,
): Promise<ShareFetchResponse> {
  const { services, connection } = context;
  const serving = new ShareServing(
    {
      session,
      recordsMax: request.maxRecords,
      bytesMin: request.minBytes,
      bytesMax: Math.max(0, request.maxBytes),
      waitMs: request.maxWaitMs,
      mode: acquireModes[request.shareAcquireMode] ?? "batch",
      batchSize: request.batchSize,
    },
    services,
  );
  const running = serving.run(connection);
  try {
    const [all, served] = await Promise.all([answered, running]);
    return answer(all, await whenTellable(session.memberId, served, services), session, context);
  } finally {
    // The connection counts the answer from here on; what failed is not one.
    const giveBack = (): void => serving.room.giveBack();
    running.then(giveBack, giveBack);
  }
}

function failed({ errorCode, errorMessage }: Refused): ShareFetchResponse {
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
  served: readonly ServedShare[],
  session: ShareSession,
  context: RequestContext,
): ShareFetchResponse {
  const referrals = new Referrals(context);
  const told = new Map<string, { readonly place: SharePlace; readonly response: PartitionResponse }>();
  for (const { topicId, partition, errorCode } of answered) {
    const place = { topicId, partition };
    const response = {
      ...quiet(place),
      acknowledgeErrorCode: errorCode,
      acknowledgeErrorMessage: messageOf(errorCode),
      currentLeader: sendsAway(errorCode) ? referrals.leaderOf(topicId, partition) : noLeader,
    };
    told.set(placeKey(place), { place, response });
  }
  for (const { place, taken } of served) {
    const key = placeKey(place);
    const response = told.get(key)?.response ?? quiet(place);
    session.tells(place, taken.kind === "refused");
    if (taken.kind === "records") {
      session.served(place);
      const records = { records: [...taken.chunks], acquiredRecords: offsetsOf(taken.acquired) };
      told.set(key, { place, response: { ...response, ...records } });
    } else {
      const { errorCode } = taken;
      const currentLeader = sendsAway(errorCode)
        ? referrals.leaderOf(place.topicId, place.partition)
        : response.currentLeader;
      const refusal = { errorCode, errorMessage: messageOf(errorCode), currentLeader };
      told.set(key, { place, response: { ...response, ...refusal } });
    }
  }
  // Each new partition is named once, so that the member knows that it is read.
  for (const place of session.isOver ? [] : session.partitions.values()) {
    if (told.has(placeKey(place)) || !session.tells(place, false)) continue;
    told.set(placeKey(place), { place, response: quiet(place) });
  }
  const responses = byTopic(
    Array.from(told.values(), ({ place, response }) => ({ topicId: place.topicId, value: response })),
  );
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    acquisitionLockTimeoutMs: context.services.shares.settingsOf(session.groupId).lockDurationMs,
    responses,
    nodeEndpoints: [...referrals.endpoints],
  };
}

function quiet({ partition }: SharePlace): PartitionResponse {
  return {
    partitionIndex: partition,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    acknowledgeErrorCode: ErrorCode.NONE,
    acknowledgeErrorMessage: null,
    currentLeader: noLeader,
    records: [],
    acquiredRecords: [],
  };
}
