/** Where partitions end, wherever they are: asked of this broker, or of the one that owns them. */
import {
  type BrokerEpoch,
  leaderEpoch,
  nodeId,
  type Offset,
  type PartitionIndex,
  type TopicId,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ListedOffset, ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { PeerError } from "../cluster/errors.ts";
import type { Services } from "../context.ts";
import { placeOf } from "../placement.ts";

export interface PartitionOfTopic {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
}

const anyReplica = nodeId(-1);
const uncommitted = 0;
const anyEpoch = leaderEpoch(-1);

/** By topic id and partition, as `endKey` names them; an error code where nobody said it. */
export async function partitionEnds(
  wanted: readonly PartitionOfTopic[],
  services: Pick<Services, "partitions" | "journal" | "topics" | "cluster" | "epoch">,
): Promise<ReadonlyMap<string, Offset | { readonly errorCode: ErrorCode }>> {
  const ends = new Map<string, Offset | { readonly errorCode: ErrorCode }>();
  const elsewhere = new Map<BrokerEpoch, PartitionOfTopic[]>();
  for (const each of wanted) {
    const place = placeOf(each.topicId, each.partition, "owner", services);
    if (typeof place !== "number") {
      ends.set(endKey(each), place.highWatermark);
      continue;
    }
    ends.set(endKey(each), { errorCode: place });
    const owner = services.journal.state.topics.get(each.topicId)?.partitions[each.partition]?.owner;
    if (owner === undefined || owner === services.epoch) continue;
    const its = elsewhere.get(owner);
    if (its === undefined) elsewhere.set(owner, [each]);
    else its.push(each);
  }
  await Promise.all(Array.from(elsewhere, ([owner, its]) => ask(owner, its, services, ends)));
  return ends;
}

export const endKey = ({ topicId, partition }: PartitionOfTopic): string => `${topicId}/${partition}`;

async function ask(
  owner: BrokerEpoch,
  wanted: readonly PartitionOfTopic[],
  { topics, cluster }: Pick<Services, "topics" | "cluster">,
  ends: Map<string, Offset | { readonly errorCode: ErrorCode }>,
): Promise<void> {
  const byTopic = new Map<TopicId, PartitionOfTopic[]>();
  for (const each of wanted) byTopic.set(each.topicId, [...(byTopic.get(each.topicId) ?? []), each]);
  const asked = Array.from(byTopic, ([topicId, its]) => ({
    name: topics.byId(topicId)?.name ?? "",
    partitions: its.map(({ partition }) => ({
      partitionIndex: partition,
      currentLeaderEpoch: anyEpoch,
      timestamp: ListedOffset.latest,
    })),
  }));
  try {
    const answer = await cluster.peers.call(owner, ListOffsets, {
      replicaId: anyReplica,
      isolationLevel: uncommitted,
      topics: asked,
      timeoutMs: 0,
    });
    for (const { name, partitions } of answer.topics) {
      const topicId = topics.idOf(name);
      if (topicId === undefined) continue;
      for (const { partitionIndex: partition, errorCode, offset } of partitions) {
        ends.set(endKey({ topicId, partition }), errorCode === ErrorCode.NONE ? offset : { errorCode });
      }
    }
  } catch (cause) {
    if (!(cause instanceof PeerError)) throw cause;
    for (const each of wanted) ends.set(endKey(each), { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE });
  }
}
