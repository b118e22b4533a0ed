/** ListPartitionReassignments: which partitions are on their way to the node that is preferred. */
import {
  ListPartitionReassignments,
  type ListPartitionReassignmentsResponse,
} from "../../protocol/messages/list-partition-reassignments.ts";
import type { TopicState } from "../../metadata/state.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { pendingMove } from "../reassignment.ts";
import { accepted } from "../refusal.ts";

type Topic = ListPartitionReassignmentsResponse["topics"][number];

export const listPartitionReassignments = handle(ListPartitionReassignments, {
  decide({ topics }, { services }) {
    const wanted =
      topics === null
        ? Array.from(services.topics.all(), (topic) => underWay(topic, null, services))
        : topics.map(({ name, partitionIndexes }) => {
            const topic = services.topics.byName(name);
            return topic && underWay(topic, new Set(partitionIndexes), services);
          });
    const told = wanted.filter((topic) => topic !== undefined && topic.partitions.length > 0) as Topic[];
    return { throttleTimeMs: 0, ...accepted, topics: told };
  },
});

function underWay(topic: TopicState, wanted: ReadonlySet<number> | null, { journal }: Services): Topic {
  const partitions = topic.partitions.flatMap((partition) => {
    if (wanted !== null && !wanted.has(partition.index)) return [];
    const move = pendingMove(partition, journal.state);
    if (move === null || !move.isPossible) return [];
    const { from, to } = move;
    const nodes = { replicas: [to, from], addingReplicas: [to], removingReplicas: [from] };
    return [{ partitionIndex: partition.index, ...nodes }];
  });
  return { name: topic.name, partitions };
}
