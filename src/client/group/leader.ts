/** What the leader of a classic group does: reads what every member wants and has, and says who gets what. */
import {
  type ConsumerSubscription,
  decodeSubscription,
  encodeAssignment,
} from "../../protocol/consumer-protocol.ts";
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupRequest } from "../../protocol/messages/sync-group.ts";
import type { Cluster } from "../cluster.ts";
import { UnknownTopicError } from "../errors.ts";
import type { Assignor, GroupMember, TopicPartition } from "./assignor.ts";

/** Rejects with `MalformedError` for a member whose subscription cannot be read, and as `Cluster.askTopic` does. */
export async function assignmentsFor(
  cluster: Cluster,
  assignor: Assignor,
  members: JoinGroupResponse["members"],
): Promise<SyncGroupRequest["assignments"]> {
  const group = members.map(memberOf);
  const counts = await partitionCounts(cluster, new Set(group.flatMap(({ topics }) => topics)));
  return [...assignor.assign(group, counts)].map(([memberId, parts]) => ({
    memberId,
    assignment: encodeAssignment({ assignedPartitions: byTopic(parts), userData: null }),
  }));
}

function memberOf({
  memberId,
  groupInstanceId,
  metadata,
}: JoinGroupResponse["members"][number]): GroupMember {
  const subscription: ConsumerSubscription = decodeSubscription(metadata);
  return {
    memberId,
    instanceId: groupInstanceId,
    topics: subscription.topics,
    owned: subscription.ownedPartitions.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ),
    generation: subscription.generationId,
  };
}

/** Topics that do not exist have none; another assignment follows when they do. */
async function partitionCounts(
  cluster: Cluster,
  topics: ReadonlySet<string>,
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  await Promise.all(
    [...topics].map(async (topic) => {
      try {
        counts.set(topic, (await cluster.askTopic(topic)).partitions.length);
      } catch (cause) {
        if (!(cause instanceof UnknownTopicError)) throw cause;
      }
    }),
  );
  return counts;
}

export function byTopic(
  parts: readonly TopicPartition[],
): { readonly topic: string; readonly partitions: readonly number[] }[] {
  const topics = new Map<string, number[]>();
  for (const { topic, partition } of parts) {
    const together = topics.get(topic);
    if (together === undefined) topics.set(topic, [partition]);
    else together.push(partition);
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }));
}
