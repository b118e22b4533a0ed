/**
 * Asks the leaders of partitions where an offset is: the ends of a log, or the first record at or after
 * a time. One attempt; who asks decides about another.
 */
import {
  type LeaderEpoch,
  leaderEpoch,
  type NodeId,
  nodeId,
  type Offset,
  partitionIndex,
} from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { ListedOffset, ListOffsets, type ListOffsetsRequest } from "../protocol/messages/list-offsets.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerRefusedError, UnknownPartitionError } from "./errors.ts";
import type { Links } from "./links.ts";

export interface OffsetQuestion {
  readonly topic: string;
  readonly partition: number;
  /** Ms since 1970, or one of `ListedOffset`. */
  readonly timestamp: number;
}

export interface FoundOffset {
  readonly topic: string;
  readonly partition: number;
  /** −1: there is no such record. */
  readonly offset: Offset;
  /** Of the record; −1 where an end was asked for. */
  readonly timestampMs: number;
  readonly leaderEpoch: LeaderEpoch;
}

export type Isolation = "committed" | "uncommitted";

/** The first version that knows the record with the largest timestamp (KIP-734). */
const maxTimestampVersion = 7;

/**
 * In the order of the questions; each partition at most once. Rejects with `UnknownTopicError`,
 * `UnknownPartitionError`, `BrokerRefusedError` (after which what is known of the topic is asked for
 * again), and with what `Links.to` and a call reject with.
 */
export async function lookUpOffsets(
  access: { readonly cluster: Cluster; readonly links: Links },
  questions: readonly OffsetQuestion[],
  isolation: Isolation,
): Promise<readonly FoundOffset[]> {
  const { cluster } = access;
  const byLeader = new Map<NodeId, OffsetQuestion[]>();
  for (const question of questions) {
    const view = await cluster.topic(question.topic);
    const { leader } = cluster.partition(view, question.partition);
    const together = byLeader.get(leader);
    if (together === undefined) byLeader.set(leader, [question]);
    else together.push(question);
  }
  const found = new Map<string, FoundOffset>();
  await Promise.all(
    [...byLeader].map(async ([leader, asked]) => {
      const answers = askLeader(access, leader, asked, isolation);
      // Whatever kept the leader from answering: it may be another one by now.
      answers.catch(() => asked.forEach(({ topic }) => cluster.refresh(topic)));
      for (const one of await answers) {
        found.set(`${one.topic}/${one.partition}`, one);
      }
    }),
  );
  return questions.map(({ topic, partition }) => {
    const one = found.get(`${topic}/${partition}`);
    if (one === undefined) throw new UnknownPartitionError(topic, partition, 0);
    return one;
  });
}

async function askLeader(
  { cluster, links }: { readonly cluster: Cluster; readonly links: Links },
  leader: NodeId,
  questions: readonly OffsetQuestion[],
  isolation: Isolation,
): Promise<readonly FoundOffset[]> {
  const broker = cluster.broker(leader);
  const first = questions[0] as OffsetQuestion;
  const what = `Looking up offsets of ${first.topic}/${first.partition}`;
  if (broker === undefined) {
    cluster.refresh(first.topic);
    throw new BrokerRefusedError(what, ErrorCode.LEADER_NOT_AVAILABLE);
  }
  const connection = await links.to(broker);
  if (questions.some(({ timestamp }) => timestamp === ListedOffset.maxTimestamp)) {
    const version = connection.versionOf(ListOffsets);
    if (version < maxTimestampVersion) throw new BrokerRefusedError(what, ErrorCode.UNSUPPORTED_VERSION);
  }
  const answer = await connection.call(ListOffsets, requestFor(questions, isolation));
  return answer.topics.flatMap(({ name, partitions }) =>
    partitions.map((partition) => {
      if (partition.errorCode !== ErrorCode.NONE) {
        cluster.refresh(name);
        const place = `Looking up offsets of ${name}/${partition.partitionIndex}`;
        throw new BrokerRefusedError(place, partition.errorCode);
      }
      return {
        topic: name,
        partition: partition.partitionIndex,
        offset: partition.offset,
        timestampMs: partition.timestamp,
        leaderEpoch: partition.leaderEpoch,
      };
    }),
  );
}

function requestFor(questions: readonly OffsetQuestion[], isolation: Isolation): ListOffsetsRequest {
  const byTopic = new Map<string, OffsetQuestion[]>();
  for (const question of questions) {
    const together = byTopic.get(question.topic);
    if (together === undefined) byTopic.set(question.topic, [question]);
    else together.push(question);
  }
  return {
    replicaId: nodeId(-1),
    isolationLevel: isolation === "committed" ? 1 : 0,
    topics: [...byTopic].map(([name, asked]) => ({
      name,
      partitions: asked.map(({ partition, timestamp }) => ({
        partitionIndex: partitionIndex(partition),
        currentLeaderEpoch: leaderEpoch(-1),
        timestamp,
      })),
    })),
    timeoutMs: 30_000,
  };
}
