/**
 * Fetch: hands out stored batches as they lie, from durable data only. Plans which partitions to read
 * (fetch-session.ts), reads them in the session's order under the request's byte bounds, waits when there
 * is too little (fetch-wait.ts), and reads once more. Never decodes a record.
 */
import { leaderEpoch, NO_TOPIC_ID, type Offset, offset, type TopicId } from "../../base/ids.ts";
import { DamageError } from "../../base/errors.ts";
import { within } from "../../base/ports.ts";
import { AnswerRoom } from "../answer-room.ts";
import type { ReadOutcome } from "../../log/outcomes.ts";
import type { Partition } from "../../log/partition.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Fetch, type FetchRequest, type FetchResponse } from "../../protocol/messages/fetch.ts";
import type { RequestContext } from "../context.ts";
import type { FetchNews, FetchPlan, FetchWish } from "../fetch-session.ts";
import { type Awaited, waitForBytes } from "../fetch-wait.ts";
import { handle } from "../handle.ts";
import { noLeader, placeOf, Referrals, sendsAway } from "../placement.ts";

type TopicResponse = FetchResponse["responses"][number];
type PartitionResponse = TopicResponse["partitions"][number];

const topicIdVersionMin = 13;
/** Whom a client shall ask instead is told from here on (KIP-951). */
const currentLeaderVersionMin = 16;
const readCommitted = 1;

/** One partition of an answer, with what decides whether a session omits it. */
interface Served {
  readonly wish: FetchWish;
  readonly response: PartitionResponse;
  readonly bytes: number;
  /** The log is said to end before what the client asks for: that needs proof. */
  readonly denies?: true;
}

export const fetch = handle(Fetch, {
  decide(request, context) {
    const byId = context.apiVersion >= topicIdVersionMin;
    const plan = context.services.fetchSessions.plan({
      sessionId: request.sessionId,
      sessionEpoch: request.sessionEpoch,
      byId,
      wishes: request.topics.flatMap((topic) =>
        topic.partitions.map((partition) => ({
          topic: topic.topic,
          topicId: topic.topicId,
          partition: partition.partition,
          currentLeaderEpoch: partition.currentLeaderEpoch,
          fetchOffset: partition.fetchOffset,
          lastFetchedEpoch: partition.lastFetchedEpoch,
          bytesMax: partition.partitionMaxBytes,
        })),
      ),
      forgotten: request.forgottenTopicsData.flatMap((topic) =>
        topic.partitions.map((partition) => ({ topic: topic.topic, topicId: topic.topicId, partition })),
      ),
    });
    switch (plan.kind) {
      case "unknown-session":
        return failed(ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
      case "wrong-epoch":
        return failed(ErrorCode.INVALID_FETCH_SESSION_EPOCH);
      case "wrong-topic-naming":
        return failed(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR);
      case "serve":
        return serve(request, plan, context).then(({ served, room }) => {
          // The connection counts the answer from here on.
          room.giveBack();
          return answer(
            plan.sessionId,
            served.filter(({ wish, response, bytes }) => !plan.omits(wish, newsOf(response, bytes))),
            context,
          );
        });
      default:
        return plan satisfies never;
    }
  },
});

function failed(errorCode: ErrorCode): FetchResponse {
  return { throttleTimeMs: 0, errorCode, sessionId: 0, responses: [], nodeEndpoints: [] };
}

function newsOf(response: PartitionResponse, recordBytes: number): FetchNews {
  return {
    errorCode: response.errorCode,
    recordBytes,
    highWatermark: response.highWatermark,
    logStart: response.logStartOffset,
    diverging: response.divergingEpoch.epoch >= 0,
  };
}

function answer(sessionId: number, served: readonly Served[], context: RequestContext): FetchResponse {
  // Partitions of one topic come together, in the order in which the topics are met first.
  const topics = new Map<string, { topic: string; topicId: TopicId; partitions: PartitionResponse[] }>();
  const referrals = new Referrals(context);
  for (const { wish, response } of served) {
    const key = wish.topicId === NO_TOPIC_ID ? wish.topic : wish.topicId;
    let topic = topics.get(key);
    if (topic === undefined) {
      topic = { topic: wish.topic, topicId: wish.topicId, partitions: [] };
      topics.set(key, topic);
    }
    topic.partitions.push(
      sendsAway(response.errorCode) && context.apiVersion >= currentLeaderVersionMin
        ? { ...response, currentLeader: referrals.leaderOf(idOf(wish, context), wish.partition) }
        : response,
    );
  }
  const responses = [...topics.values()];
  return { ...failed(ErrorCode.NONE), sessionId, responses, nodeEndpoints: referrals.endpoints };
}

type ServePlan = Extract<FetchPlan, { readonly kind: "serve" }>;

async function serve(request: FetchRequest, plan: ServePlan, context: RequestContext): Promise<Reading> {
  const { wishes } = plan;
  const first = await readAll(request, plan, context);
  const enough = first.room.bytes >= request.minBytes || first.urgent || wishes.length === 0;
  if (enough || request.maxWaitMs <= 0) return proved(first, context);
  first.room.giveBack();
  const isolation = request.isolationLevel === readCommitted ? "committed" : "uncommitted";
  const places = wishes.map((wish) => find(wish, context));
  // One that went away while others were read is an error to hear now.
  if (places.every((place) => typeof place === "object")) {
    await waitForBytes({
      clock: context.services.env.clock,
      awaited: places.map((partition, index): Awaited => {
        const from = (wishes[index] as FetchWish).fetchOffset;
        return {
          availableBytes: () => partition.availableBytes(from, isolation),
          isOver: () => partition.isClosed,
          watch: (onChange) => partition.watch(onChange),
        };
      }),
      bytesMin: request.minBytes,
      waitMs: request.maxWaitMs,
      onCancel: (cancel) => context.connection.onClose(cancel),
    });
  }
  return proved(await readAll(request, plan, context), context);
}

/** The rest of the answer does not wait for longer than this when the store is silent. */
const proofWaitMs = 1_000;

/**
 * A client that hears that its offset is out of range goes elsewhere in the log, and passes over records. It
 * hears so only from who has proved to own the partition; else it is sent to look for the owner again.
 */
function proved(reading: Reading, { services }: RequestContext): Reading | Promise<Reading> {
  if (!reading.served.some(({ denies }) => denies)) return reading;
  const passed = services.cluster.barrier.pass();
  if (passed === undefined) return reading;
  const isOwner = passed.then(
    () => true,
    () => false,
  );
  return within(services.env.clock, proofWaitMs, isOwner, () => false).then((isOurs) => {
    if (isOurs) return reading;
    const served = reading.served.map((one) => (one.denies === true ? sentAway(one.wish) : one));
    return { ...reading, served };
  });
}

interface Reading {
  readonly served: readonly Served[];
  /** What the records take, until the answer is given to the connection. */
  readonly room: AnswerRoom;
  /** Something that the client should hear now: an error, or another log than it believes in. */
  readonly urgent: boolean;
}

/** So many partitions of one fetch are read from segments at the same time: the disk has something to do while one is checked. */
const readsAtOnceMax = 4;

async function readAll(request: FetchRequest, plan: ServePlan, context: RequestContext): Promise<Reading> {
  const { config, answers } = context.services;
  const room = new AnswerRoom(answers, Math.min(request.maxBytes, config.get("fetch.max.bytes")));
  const served: Served[] = [];
  const reading = new Set<Promise<void>>();
  let urgent = false;
  /** What lies in segments comes in large pieces: once one does not fit into what is left, no other is read for nothing. */
  let memoryOnly = false;
  const take = (index: number, one: Served): void => {
    served[index] = one;
    room.take(one.bytes);
    urgent ||= one.response.errorCode !== ErrorCode.NONE || one.response.divergingEpoch.epoch >= 0;
  };
  for (let index = 0; index < plan.wishes.length; index++) {
    if (isQuiet(index, request, plan, context)) continue;
    const wish = plan.wishes[index] as FetchWish;
    // Who is first gets a batch of any size, so it must be known whether there is one; and room may be left over.
    while (reading.size >= readsAtOnceMax || (reading.size > 0 && (room.bytes === 0 || room.left === 0))) {
      await Promise.race(reading);
    }
    const bytesMax = Math.max(0, Math.min(wish.bytesMax, room.left));
    const one = readOne(wish, request, { bytesMax, isFirst: room.bytes === 0, memoryOnly }, context);
    if (!(one instanceof Promise)) {
      take(index, one);
      continue;
    }
    room.reserve(bytesMax);
    const taken: Promise<void> = one.then((found) => {
      room.cancel(bytesMax);
      take(index, found);
      const didNotFit = found.bytes === 0 && found.response.errorCode === ErrorCode.NONE;
      memoryOnly ||= didNotFit && bytesMax < wish.bytesMax;
      reading.delete(taken);
    });
    reading.add(taken);
  }
  await Promise.all(reading);
  return { served, room, urgent };
}

/**
 * Nothing is to be read there, and the session's client knows the rest: the answer leaves it out. A consumer
 * of 1,000 partitions that hears of a record each millisecond cannot have an answer made for each of them.
 */
function isQuiet(index: number, request: FetchRequest, plan: ServePlan, context: RequestContext): boolean {
  const wish = plan.wishes[index] as FetchWish;
  const partition = find(wish, context);
  if (typeof partition === "number") return false;
  const { logStart, highWatermark, lastStable } = partition;
  const end = request.isolationLevel === readCommitted ? lastStable : highWatermark;
  return (
    plan.knows(index, logStart, highWatermark) &&
    wish.fetchOffset >= end &&
    wish.fetchOffset <= highWatermark &&
    divergence(wish, partition) === null
  );
}

const idOf = (wish: FetchWish, { apiVersion, services }: RequestContext): TopicId | undefined =>
  apiVersion >= topicIdVersionMin ? wish.topicId : services.topics.idOf(wish.topic);

/** The partition where it may be read, or why it may not. */
function find(wish: FetchWish, context: RequestContext): Partition | ErrorCode {
  const id = idOf(wish, context);
  const place = placeOf(id, wish.partition, "reads", context.services, wish.currentLeaderEpoch);
  return place === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION ? unknownCode(wish, context) : place;
}

function readOne(
  wish: FetchWish,
  request: FetchRequest,
  bounds: { readonly bytesMax: number; readonly isFirst: boolean; readonly memoryOnly: boolean },
  context: RequestContext,
): Served | Promise<Served> {
  const partition = find(wish, context);
  if (typeof partition === "number") return refuse(wish, partition);
  const diverging = divergence(wish, partition);
  if (diverging !== null) {
    // What it denies, a new owner may hold already.
    if (!partition.takesAppends) return sentAway(wish);
    if (diverging === "unknown") return { ...refuse(wish, ErrorCode.OFFSET_OUT_OF_RANGE), denies: true };
    const { highWatermark, lastStable, logStart } = partition;
    const response = responseOf(wish, { highWatermark, lastStable, logStart });
    return { wish, bytes: 0, denies: true, response: { ...response, divergingEpoch: diverging } };
  }
  const committed = request.isolationLevel === readCommitted;
  let outcome: ReadOutcome | Promise<ReadOutcome>;
  try {
    outcome = partition.read({
      offset: wish.fetchOffset,
      bytesMax: bounds.bytesMax,
      orOneBatch: bounds.isFirst,
      memoryOnly: bounds.memoryOnly,
      isolation: committed ? "committed" : "uncommitted",
    });
  } catch (cause) {
    return damaged(wish, partition, cause, context);
  }
  if (!(outcome instanceof Promise)) return toServed(wish, partition, outcome, committed);
  return outcome.then(
    (found) => (isMoved(partition, found) ? sentAway(wish) : toServed(wish, partition, found, committed)),
    (cause: unknown) => damaged(wish, partition, cause, context),
  );
}

function unknownCode(wish: FetchWish, context: RequestContext): ErrorCode {
  if (context.apiVersion < topicIdVersionMin) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  return context.services.topics.has(wish.topicId)
    ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    : ErrorCode.UNKNOWN_TOPIC_ID;
}

/**
 * Where the client's last record belongs to an epoch that ended before it: its log is not this one (KIP-595).
 * "unknown": of an epoch that there has not been, nobody can say where it ends; as in Kafka that is no offset here.
 */
function divergence(
  wish: FetchWish,
  partition: Partition,
): PartitionResponse["divergingEpoch"] | "unknown" | null {
  if (wish.lastFetchedEpoch < 0) return null;
  const { leaderEpoch: epoch, logStart, highWatermark } = partition;
  // Of the epoch of now, which ends where the log does: what nearly everybody asks.
  const isNow = wish.lastFetchedEpoch === epoch && wish.fetchOffset <= highWatermark;
  if (isNow && wish.fetchOffset >= logStart) return null;
  const end = partition.epochEnd(wish.lastFetchedEpoch);
  // Below the log start there is nothing to compare, whatever the epochs say.
  if (end.endOffset < 0 || wish.fetchOffset < logStart) return "unknown";
  const diverges = end.leaderEpoch < wish.lastFetchedEpoch || end.endOffset < wish.fetchOffset;
  return diverges ? { epoch: end.leaderEpoch, endOffset: end.endOffset } : null;
}

function toServed(wish: FetchWish, partition: Partition, outcome: ReadOutcome, committed: boolean): Served {
  switch (outcome.kind) {
    case "read":
      return {
        wish,
        bytes: outcome.bytes,
        response: {
          ...responseOf(wish, outcome),
          abortedTransactions: committed ? outcome.aborted : null,
          records: outcome.chunks,
        },
      };
    case "out-of-range": {
      const response = { ...responseOf(wish, outcome), errorCode: ErrorCode.OFFSET_OUT_OF_RANGE };
      // What is below the log start stays there; what is above its end somebody else may have written.
      if (wish.fetchOffset < outcome.logStart) return { wish, bytes: 0, response };
      return partition.takesAppends ? { wish, bytes: 0, denies: true, response } : sentAway(wish);
    }
    case "damaged": {
      // Never OFFSET_OUT_OF_RANGE: clients answer that by jumping silently. This one they show.
      const response = responseOf(wish, outcome);
      return { wish, bytes: 0, response: { ...response, errorCode: ErrorCode.CORRUPT_MESSAGE } };
    }
    default:
      return outcome satisfies never;
  }
}

/**
 * The partition went elsewhere while it was read, and so may have its segments: the client is sent to the new
 * owner, and nothing is called damaged by somebody whom it is no business of.
 */
const isMoved = (partition: Partition, found: ReadOutcome): boolean =>
  found.kind === "damaged" && partition.isClosed;
const sentAway = (wish: FetchWish): Served => refuse(wish, ErrorCode.NOT_LEADER_OR_FOLLOWER);

/** The store did not answer, or what it gave fails its checksum. The partition goes on; this range is named. */
function damaged(wish: FetchWish, partition: Partition, cause: unknown, context: RequestContext): Served {
  if (partition.isClosed) return sentAway(wish);
  const { highWatermark, lastStable, logStart } = partition;
  context.services.env.log.error("fetch.unreadable", {
    topicId: partition.topicId,
    partition: partition.partition,
    offset: wish.fetchOffset,
    cause: cause instanceof Error ? cause.message : String(cause),
  });
  const errorCode = cause instanceof DamageError ? ErrorCode.CORRUPT_MESSAGE : ErrorCode.KAFKA_STORAGE_ERROR;
  return {
    wish,
    bytes: 0,
    response: { ...responseOf(wish, { highWatermark, lastStable, logStart }), errorCode },
  };
}

const unknown = offset(-1);

function refuse(wish: FetchWish, errorCode: ErrorCode): Served {
  const ends = { highWatermark: unknown, lastStable: unknown, logStart: unknown };
  return { wish, bytes: 0, response: { ...responseOf(wish, ends), errorCode } };
}

function responseOf(
  wish: FetchWish,
  ends: { readonly highWatermark: Offset; readonly lastStable: Offset; readonly logStart: Offset },
): PartitionResponse {
  return {
    partitionIndex: wish.partition,
    errorCode: ErrorCode.NONE,
    highWatermark: ends.highWatermark,
    lastStableOffset: ends.lastStable,
    logStartOffset: ends.logStart,
    divergingEpoch: { epoch: leaderEpoch(-1), endOffset: unknown },
    currentLeader: noLeader,
    snapshotId: { endOffset: unknown, epoch: leaderEpoch(-1) },
    abortedTransactions: null,
    preferredReadReplica: -1 as PartitionResponse["preferredReadReplica"],
    records: [],
  };
}
