/**
 * Produce: appends record batches and answers when they are durable. acks=1 gets what acks=all gets;
 * acks=0 gets no answer, and its data is made durable all the same. A request's batches go to the WAL in
 * one piece, so that 1,000 partitions cost one append. Records are decoded only where the topic demands it:
 * a `compression.type` of its own, or keys on a compacted topic.
 */
import { offset, type TopicId } from "../../base/ids.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { AppendOutcome, AppendRefusal } from "../../log/outcomes.ts";
import type { Partition } from "../../log/partition.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Produce, type ProduceRequest, type ProduceResponse } from "../../protocol/messages/produce.ts";
import type { BatchView } from "../../record/batch.ts";
import { type ProduceCheck, type ProduceRefusal, validateProduced } from "../../record/validate.ts";
import { isInternalTopic } from "../cluster-view.ts";
import type { RequestContext, Services } from "../context.ts";
import { askCoordinator, ProduceAdmission } from "../produce-admission.ts";
import { handle } from "../handle.ts";
import { noLeader, placeOf, Referrals, sendsAway } from "../placement.ts";
import { recompress, targetCompression } from "../recompress.ts";
import { checkRecords, openedBytes, type RecordError } from "../record-bounds.ts";

type PartitionRequest = ProduceRequest["topicData"][number]["partitionData"][number];
type TopicResponse = ProduceResponse["responses"][number];
type PartitionResponse = TopicResponse["partitionResponses"][number];

/** zstd came with version 7 (KIP-110). */
const zstdVersionMin = 7;
/** Topics are named by id from version 13 on (KIP-516). */
const topicIdVersionMin = 13;
/** Whom a client shall ask instead is told from here on (KIP-951). */
const currentLeaderVersionMin = 10;

export const produce = handle(Produce, {
  // Waits for room in the memory tail, which is where back-pressure on producers comes from.
  prepare(request, context) {
    const { tail, transactions } = context.services;
    const bytes = recordBytes(request);
    if (request.transactionalId === null) return tail.admit(bytes)?.then(() => request);
    const entering = transactions.enter(request.transactionalId);
    const admitted = entering === undefined ? tail.admit(bytes) : entering.then(() => tail.admit(bytes));
    const asked =
      admitted === undefined
        ? askCoordinator(request, context)
        : admitted.then(() => askCoordinator(request, context));
    return asked?.then(() => request);
  },

  // Stage one: no await in here, so that offsets are given in the order of arrival.
  decide(request, context) {
    const { services } = context;
    const admitted = recordBytes(request);
    const admission = new ProduceAdmission(context, request);
    const { judged, decided } = judgeAll(request, admitted, admission, context);
    const session = services.partitions.begin(admitted);
    let awaited = 0;
    let failed = false;
    const responses = request.topicData.map((topic, at): TopicResponse => {
      const partitionResponses = topic.partitionData.map((wanted, within) => {
        const judgement = judged[at]?.[within] as Judgement;
        const outcome = append(wanted, judgement, admission, session);
        if (outcome.walNumber > awaited) awaited = outcome.walNumber;
        if (outcome.response.errorCode !== ErrorCode.NONE) failed = true;
        return outcome.response;
      });
      return { name: topic.name, topicId: topic.topicId, partitionResponses };
    });
    session.commit();
    if (request.acks === 0) {
      // The client cannot be told of an error but by the end of the connection, as in Kafka.
      if (failed) context.connection.close("a Produce request with acks=0 failed");
      decided?.catch(() => undefined);
      return null;
    }
    const response = failed
      ? withLeaders(responses, context)
      : { responses, throttleTimeMs: 0, nodeEndpoints: [] };
    // Stage two: I1, nothing leaves before what it tells is durable.
    if (decided !== null) {
      return Promise.all([decided, services.wal.whenDurable(awaited)]).then(() => response);
    }
    if (awaited <= services.wal.durable) return response;
    return services.wal.whenDurable(awaited).then(() => response);
  },
});

/** Tells of each partition that is elsewhere where it is. */
function withLeaders(responses: readonly TopicResponse[], context: RequestContext): ProduceResponse {
  if (context.apiVersion < currentLeaderVersionMin)
    return { responses, throttleTimeMs: 0, nodeEndpoints: [] };
  const referrals = new Referrals(context);
  const told = responses.map((topic) => {
    const partitionResponses = topic.partitionResponses.map((each) =>
      sendsAway(each.errorCode)
        ? { ...each, currentLeader: referrals.leaderOf(idOf(topic, context), each.index) }
        : each,
    );
    return { ...topic, partitionResponses };
  });
  return { responses: told, throttleTimeMs: 0, nodeEndpoints: referrals.endpoints };
}

const idOf = (
  { name, topicId }: { readonly name: string; readonly topicId: TopicId },
  { apiVersion, services }: RequestContext,
): TopicId | undefined => (apiVersion >= topicIdVersionMin ? topicId : services.topics.idOf(name));

function append(
  wanted: PartitionRequest,
  judgement: Judgement,
  admission: ProduceAdmission,
  session: AppendSession,
): Appended {
  if ("response" in judgement) return judgement;
  const { partition, batch, nowMs } = judgement;
  const refusal = admission.refusalOf(partition, batch);
  return refusal === undefined
    ? toResponse(wanted, partition.append(session, batch, nowMs))
    : refuse(wanted, refusal, null);
}

function recordBytes(request: ProduceRequest): number {
  let bytes = 0;
  for (const topic of request.topicData) {
    for (const { records } of topic.partitionData) {
      if (records !== null) for (const chunk of records) bytes += chunk.byteLength;
    }
  }
  return bytes;
}

interface Appended {
  readonly response: PartitionResponse;
  /** The answer waits for this entry; 0: for none. */
  readonly walNumber: number;
}

/** A refusal, or what may be appended. */
type Judgement =
  | Appended
  | { readonly partition: Partition; readonly batch: BatchView; readonly nowMs: number };

interface Judged {
  /** By topic and partition, as they stand in the request. */
  readonly judged: readonly (readonly Judgement[])[];
  /** When what the transaction's coordinator decided is durable; null: with the appends. */
  readonly decided: Promise<unknown> | null;
}

/**
 * Looks at every batch before the first offset is given: what fails in here (a codec, memory) costs this
 * request and nothing else, while a failure between two appends would leave offsets without records.
 */
function judgeAll(
  request: ProduceRequest,
  admitted: number,
  admission: ProduceAdmission,
  context: RequestContext,
): Judged {
  const { services, apiVersion } = context;
  const opened: Opened = { bytes: 0 };
  try {
    const judged = request.topicData.map((topic) => {
      const byId = apiVersion >= topicIdVersionMin;
      const id = idOf(topic, context);
      const name = byId ? services.topics.byId(topic.topicId)?.name : topic.name;
      if (id !== undefined && name !== undefined && isInternalTopic(name)) {
        // What the broker reads there it takes for its own decisions.
        return topic.partitionData.map((wanted) =>
          refuse(wanted, ErrorCode.INVALID_TOPIC_EXCEPTION, ownTopic),
        );
      }
      return topic.partitionData.map((wanted) => {
        const judgement = judge(request, wanted, id, opened, context);
        if ("response" in judgement || name === undefined || !judgement.batch.isTransactional)
          return judgement;
        const refusal = admission.note(judgement.partition, name, judgement.batch);
        return refusal === null ? judgement : refuse(wanted, refusal, null);
      });
    });
    return { judged, decided: admission.decide() };
  } catch (cause) {
    services.tail.dismiss(admitted);
    throw cause;
  }
}

function judge(
  request: ProduceRequest,
  wanted: PartitionRequest,
  id: TopicId | undefined,
  opened: Opened,
  context: RequestContext,
): Judgement {
  const { services, apiVersion } = context;
  if (request.acks < -1 || request.acks > 1) {
    return refuse(wanted, ErrorCode.INVALID_REQUIRED_ACKS, "acks must be 0, 1 or -1 (all)");
  }
  const partition = placeOf(id, wanted.index, "owner", services);
  if (typeof partition === "number") {
    const byId = apiVersion >= topicIdVersionMin && (id === undefined || !services.topics.has(id));
    return refuse(wanted, byId ? ErrorCode.UNKNOWN_TOPIC_ID : partition, null);
  }
  if (services.diskFloor.refusing) {
    return refuse(wanted, ErrorCode.KAFKA_STORAGE_ERROR, diskFullMessage(services));
  }
  const nowMs = services.env.clock.wallMs();
  const check = checkBatch(wanted, partition, apiVersion, opened, nowMs);
  if (check.kind === "refused") {
    const errors = "recordErrors" in check ? check.recordErrors : [];
    return refuse(wanted, refusalCodes[check.error], check.message, errors);
  }
  return { partition, batch: check.batch, nowMs };
}

/**
 * A batch may inflate to so many times `message.max.bytes` where the broker has to look inside: this runs
 * on the event loop, and nobody may stop it for long with a few bytes.
 */
const inflationMax = 16;
/**
 * So much one request may make us open beyond its first batch; a frame of bombs would otherwise hold the
 * loop for minutes and memory without bound. Batches behind it are to be sent again: the first of a request
 * is always opened, so that every client gets on.
 */
const requestOpenedBytesMax = 16 * 1024 * 1024;

/** What a request's batches have taken of that. */
interface Opened {
  bytes: number;
}

function checkBatch(
  wanted: PartitionRequest,
  partition: Partition,
  apiVersion: number,
  opened: Opened,
  nowMs: number,
): BatchCheck {
  const [records] = wanted.records ?? [];
  if (records === undefined) {
    return { kind: "refused", error: "INVALID_RECORD", message: "there is no record batch" };
  }
  const { config } = partition;
  const { messageBytesMax } = config;
  const check = validateProduced(records, { ...config, zstdAllowed: apiVersion >= zstdVersionMin }, nowMs);
  const target = targetCompression({ ...config, type: config.compressionType });
  if (check.kind === "refused" || (target === null && !config.compacts)) return check;
  const ownMax = messageBytesMax * inflationMax;
  const inflatedBytesMax =
    opened.bytes === 0 ? ownMax : Math.min(ownMax, requestOpenedBytesMax - opened.bytes);
  const rules = { ...config, needsKeys: config.compacts, inflatedBytesMax };
  const inside = inflatedBytesMax <= 0 ? sendAgain : lookInside(check.batch, target, rules, nowMs);
  if (inside.kind === "refused") {
    // What it took is not known: as much as it was allowed.
    opened.bytes += Math.max(0, inflatedBytesMax);
    return inside.error === "MESSAGE_TOO_LARGE" && inflatedBytesMax < ownMax ? sendAgain : inside;
  }
  opened.bytes += inside.openedBytes;
  return inside;
}

type BatchCheck = ProduceCheck | Exclude<ReturnType<typeof checkRecords>, { kind: "ok" }> | typeof sendAgain;

/** REQUEST_TIMED_OUT is what every client takes for "again", and what says nothing against its records. */
const sendAgain = {
  kind: "refused",
  error: "REQUEST_TIMED_OUT",
  message: "the request has more records than are opened at a time; send this batch again",
} as const;

function lookInside(
  batch: BatchView,
  target: ReturnType<typeof targetCompression>,
  rules: Parameters<typeof recompress>[2],
  nowMs: number,
): ReturnType<typeof recompress> {
  if (target !== null && batch.codec !== target.codec) return recompress(batch, target, rules, nowMs);
  const inside = checkRecords(batch, rules, nowMs);
  if (inside.kind === "refused") return inside;
  if (rules.timestampType === "create" && inside.maxTimestamp !== batch.maxTimestamp) {
    batch.stampMaxTimestamp(inside.maxTimestamp);
  }
  return { kind: "ok", batch, openedBytes: openedBytes(inside.payload, batch) };
}

const refusalCodes: { readonly [refusal in ProduceRefusal | "REQUEST_TIMED_OUT"]: ErrorCode } = {
  CORRUPT_MESSAGE: ErrorCode.CORRUPT_MESSAGE,
  INVALID_RECORD: ErrorCode.INVALID_RECORD,
  INVALID_TIMESTAMP: ErrorCode.INVALID_TIMESTAMP,
  MESSAGE_TOO_LARGE: ErrorCode.MESSAGE_TOO_LARGE,
  REQUEST_TIMED_OUT: ErrorCode.REQUEST_TIMED_OUT,
  UNSUPPORTED_COMPRESSION_TYPE: ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
};

function toResponse(wanted: PartitionRequest, outcome: AppendOutcome): Appended {
  switch (outcome.kind) {
    case "appended":
    case "duplicate":
      return {
        walNumber: outcome.walNumber,
        response: {
          index: wanted.index,
          errorCode: ErrorCode.NONE,
          baseOffset: outcome.baseOffset,
          logAppendTimeMs: outcome.logAppendTimeMs,
          logStartOffset: outcome.logStart,
          recordErrors: [],
          errorMessage: null,
          currentLeader: noLeader,
        },
      };
    case "out-of-order-sequence": {
      const message = `expected sequence ${outcome.expected}, got ${outcome.received}`;
      return refuseAppend(wanted, outcome, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, message);
    }
    case "unknown-producer":
      return refuseAppend(wanted, outcome, ErrorCode.UNKNOWN_PRODUCER_ID, null);
    case "stale-producer-epoch":
      return refuseAppend(
        wanted,
        outcome,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        `the epoch is ${outcome.current}`,
      );
    case "invalid-transaction-state":
      return refuseAppend(
        wanted,
        outcome,
        ErrorCode.INVALID_TXN_STATE,
        "the producer has a transaction open here, and this batch is not part of it",
      );
    case "duplicate-sequence":
      return refuseAppend(wanted, outcome, ErrorCode.DUPLICATE_SEQUENCE_NUMBER, null);
    default:
      return outcome satisfies never;
  }
}

/** The partition judged the batch: the answer waits for what it relies on and names the log start. */
function refuseAppend(
  wanted: PartitionRequest,
  { walNumber, logStart }: AppendRefusal,
  errorCode: ErrorCode,
  errorMessage: string | null,
): Appended {
  const { response } = refuse(wanted, errorCode, errorMessage);
  return { walNumber, response: { ...response, logStartOffset: logStart } };
}

const ownTopic = "the broker alone writes to this topic";

function refuse(
  wanted: PartitionRequest,
  errorCode: ErrorCode,
  errorMessage: string | null,
  recordErrors: readonly RecordError[] = [],
): Appended {
  return {
    walNumber: 0,
    response: {
      index: wanted.index,
      errorCode,
      baseOffset: offset(-1),
      logAppendTimeMs: -1,
      logStartOffset: offset(-1),
      recordErrors: recordErrors.map(({ batchIndex, message }) => ({
        batchIndex,
        batchIndexErrorMessage: message,
      })),
      errorMessage,
      currentLeader: noLeader,
    },
  };
}

function diskFullMessage(services: Services): string {
  const { freeBytes, floorBytes } = services.diskFloor;
  return `the disk is nearly full (${freeBytes} bytes free, the floor is ${floorBytes}); producing resumes when space is back`;
}
