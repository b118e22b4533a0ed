/**
 * Writes dead letters as the producer that their intention names, into the partition where Kafka would write them,
 * here or at another broker. The intention is durable before; a batch that is there already is found by its
 * sequence, and not written again.
 */
import type { BrokerEpoch, PartitionIndex } from "../../base/ids.ts";
import type { Partition } from "../../log/partition.ts";
import type { Wal } from "../../log/wal.ts";
import type { TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { BatchView } from "../../record/batch.ts";
import type { Env } from "../../base/ports.ts";
import type { Peers } from "../cluster/cluster.ts";
import { PeerError } from "../cluster/errors.ts";
import { type Author, bytesOfLetters, type LetterBatch } from "./letter-batch.ts";
import { letterIndex, letterPlace, type LetterRoom } from "./letter-topic.ts";

export interface CarrierServices extends LetterRoom {
  readonly env: Pick<Env, "clock">;
  readonly wal: Wal;
  readonly peers: Pick<Peers, "call">;
}

export type Carried =
  /** And durable. */
  | "written"
  /** It may be written or not: to be tried again, as the same. */
  | "away"
  /** The partition knows nothing of the producer, or of another sequence. */
  | "forgotten"
  | "too-large";

const timeoutMs = 30_000;

export function carryLetters(
  batch: LetterBatch,
  author: Author,
  topic: TopicState,
  source: PartitionIndex,
  services: CarrierServices,
): Promise<Carried> {
  const bytes = bytesOfLetters(batch, author);
  const place = letterPlace(topic, source, services);
  switch (place.kind) {
    case "here":
      return append(bytes, place.partition, services);
    case "away":
      return send(bytes, place.owner, topic, letterIndex(topic, source), services);
    case "between":
    case "gone":
      return Promise.resolve("away");
    default:
      return place satisfies never;
  }
}

async function append(
  bytes: Uint8Array,
  partition: Partition,
  { partitions, wal, env }: CarrierServices,
): Promise<Carried> {
  if (bytes.byteLength > partition.config.messageBytesMax) return "too-large";
  const session = partitions.begin();
  const outcome = partition.append(session, BatchView.at(bytes), env.clock.wallMs());
  session.commit();
  if (outcome.walNumber > wal.durable) await wal.whenDurable(outcome.walNumber);
  switch (outcome.kind) {
    case "appended":
    case "duplicate":
    case "duplicate-sequence":
      return "written";
    default:
      return "forgotten";
  }
}

async function send(
  bytes: Uint8Array,
  owner: BrokerEpoch,
  { name, id }: TopicState,
  index: PartitionIndex,
  { peers }: CarrierServices,
): Promise<Carried> {
  const topicData = [{ name, topicId: id, partitionData: [{ index, records: [bytes] }] }];
  try {
    const answer = await peers.call(owner, Produce, {
      transactionalId: null,
      acks: -1,
      timeoutMs,
      topicData,
    });
    return carriedBy(answer.responses[0]?.partitionResponses[0]?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR);
  } catch (cause) {
    if (cause instanceof PeerError) return "away";
    throw cause;
  }
}

function carriedBy(errorCode: ErrorCode): Carried {
  switch (errorCode) {
    case ErrorCode.NONE:
    case ErrorCode.DUPLICATE_SEQUENCE_NUMBER:
      return "written";
    case ErrorCode.UNKNOWN_PRODUCER_ID:
    case ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
    case ErrorCode.INVALID_PRODUCER_EPOCH:
      return "forgotten";
    case ErrorCode.MESSAGE_TOO_LARGE:
      return "too-large";
    default:
      return "away";
  }
}
