/**
 * AlterPartitionReassignments: the one replica of a partition is its owner, and of the nodes that are named the
 * first becomes its preferred owner; the partition goes there by a planned move. A broker that has its data
 * alone moves nothing: to assign a partition to where it lies is done at once, and anything else is refused.
 */
import type { NodeId } from "../../base/ids.ts";
import type { PartitionState, TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  AlterPartitionReassignments,
  type AlterPartitionReassignmentsRequest,
} from "../../protocol/messages/alter-partition-reassignments.ts";
import { refuseNodes } from "../cluster-view.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { prefer } from "../reassignment.ts";
import { accepted, type Refusal, refusal, repeated } from "../refusal.ts";

type Wanted = AlterPartitionReassignmentsRequest["topics"][number]["partitions"][number];

export const alterPartitionReassignments = handle(AlterPartitionReassignments, {
  async decide({ topics, allowReplicationFactorChange }, { services }) {
    // No await before every wish is with the journal: they share a slot.
    const responses = topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map(async (wanted) => ({
          partitionIndex: wanted.partitionIndex,
          ...(await reassign(name, wanted, services)),
        })),
      ),
    }));
    return {
      throttleTimeMs: 0,
      allowReplicationFactorChange,
      ...accepted,
      responses: await Promise.all(responses),
    };
  },
});

async function reassign(name: string, { partitionIndex, replicas }: Wanted, services: Services) {
  const topic = services.topics.byName(name);
  const partition = topic?.partitions[partitionIndex];
  if (topic === undefined || partition === undefined) {
    const absent = topic === undefined ? `topic ${name}` : `partition ${name}-${partitionIndex}`;
    return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `There is no ${absent}.`);
  }
  if (replicas === null) return cancel(topic, partition, services);
  if (services.journal.state.walKind === "file") return stay(partition, replicas, services);
  const [node] = replicas;
  if (node === undefined || repeated(replicas).size > 0) {
    const sentence = "At least one broker must be named, and each once.";
    return refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, sentence);
  }
  const unknown = refuseNodes(replicas, services);
  if (unknown !== null) return refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, unknown);
  return prefer(topic, partition.index, node, services);
}

/** Also of a wish that was fulfilled: from then on the partition may go wherever the balance wants it. */
async function cancel(topic: TopicState, partition: PartitionState, services: Services): Promise<Refusal> {
  if (partition.preferred === null) return refusal(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS);
  return prefer(topic, partition.index, null, services);
}

function stay(partition: PartitionState, replicas: readonly NodeId[], { journal }: Services): Refusal {
  const owner = journal.state.brokers.get(partition.owner)?.nodeId;
  const isThere = replicas.length === 1 && replicas[0] === owner;
  return isThere ? accepted : refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, whyNot(replicas, owner));
}

function whyNot(replicas: readonly NodeId[], owner: NodeId | undefined): string {
  const asked = replicas.length === 0 ? "none" : replicas.join(", ");
  return `The partition has one replica, broker ${owner}, since the store keeps its copies; it cannot be given ${asked}.`;
}
