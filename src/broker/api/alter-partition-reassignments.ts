/**
 * AlterPartitionReassignments: the one replica of a partition is its owner, and partitions are not moved by
 * hand. To assign one to where it lies is done at once; anything else is refused.
 */
import type { NodeId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  AlterPartitionReassignments,
  type AlterPartitionReassignmentsRequest,
} from "../../protocol/messages/alter-partition-reassignments.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";

type Wanted = AlterPartitionReassignmentsRequest["topics"][number]["partitions"][number];

export const alterPartitionReassignments = handle(AlterPartitionReassignments, {
  decide({ topics, allowReplicationFactorChange }, { services }) {
    return {
      throttleTimeMs: 0,
      allowReplicationFactorChange,
      ...accepted,
      responses: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((wanted) => ({
          partitionIndex: wanted.partitionIndex,
          ...judge(name, wanted, services),
        })),
      })),
    };
  },
});

function judge(topic: string, { partitionIndex, replicas }: Wanted, services: Services): Refusal {
  const partitions = services.topics.byName(topic)?.partitions;
  const partition = partitions?.[partitionIndex];
  if (partition === undefined) {
    const absent = partitions === undefined ? `topic ${topic}` : `partition ${topic}-${partitionIndex}`;
    return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `There is no ${absent}.`);
  }
  if (replicas === null) return refusal(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS);
  const owner = services.journal.state.brokers.get(partition.owner)?.nodeId;
  const isThere = replicas.length === 1 && replicas[0] === owner;
  return isThere ? accepted : refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, whyNot(replicas, owner));
}

function whyNot(replicas: readonly NodeId[], owner: NodeId | undefined): string {
  const asked = replicas.length === 0 ? "none" : replicas.join(", ");
  return `The partition has one replica, broker ${owner}, since the store keeps its copies; it cannot be given ${asked}.`;
}
