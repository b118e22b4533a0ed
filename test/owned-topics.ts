/** Topics of a simulated cluster whose owners are chosen, and what an admin asks about them. */
import assert from "node:assert/strict";
import { NO_TOPIC_ID, nodeId, partitionIndex } from "../src/base/ids.ts";
import { ErrorCode } from "../src/protocol/errors.ts";
import { AlterPartitionReassignments } from "../src/protocol/messages/alter-partition-reassignments.ts";
import { CreateTopics } from "../src/protocol/messages/create-topics.ts";
import type { SimulatedCluster } from "./simulated-cluster.ts";

export async function create(
  cluster: SimulatedCluster,
  place: number,
  name: string,
  { partitions = 3, assigned = [] }: { partitions?: number; assigned?: readonly (readonly number[])[] } = {},
) {
  const assignments = assigned.map((nodes, index) => ({
    partitionIndex: partitionIndex(index),
    brokerIds: nodes.map(nodeId),
  }));
  const numPartitions = assigned.length > 0 ? -1 : partitions;
  const topic = { name, numPartitions, replicationFactor: -1, assignments, configs: [] };
  const request = { topics: [topic], timeoutMs: 1_000, validateOnly: false };
  const { topics } = await cluster.ask(place, CreateTopics, request);
  const [made] = topics;
  assert.ok(made !== undefined);
  return made;
}

/** Who has its partitions, as one broker sees it; −1: nobody. */
export const placesOf = (cluster: SimulatedCluster, topic: string, seenBy: number, count = 3): number[] =>
  Array.from({ length: count }, (_, index) => cluster.ownerOf(topic, index, seenBy) ?? -1);

export const nodeAt = (cluster: SimulatedCluster, place: number): number => cluster.at(place).services.nodeId;

/** A topic whose only partition the broker at `owner` has; the others are named by `stranger`. */
export async function aStrangeTopic(cluster: SimulatedCluster) {
  const owner = 0;
  const made = await create(cluster, owner, "orders", { assigned: [[nodeAt(cluster, owner)]] });
  assert.equal(made.errorCode, ErrorCode.NONE);
  assert.equal(cluster.ownerOf("orders", 0, 1), owner);
  return {
    owner,
    stranger: 1,
    byId: { name: "", id: made.topicId },
    byName: { name: "orders", id: NO_TOPIC_ID },
  };
}

/** Wishes that the broker at `place` has it, and waits until it has. */
export async function move(
  cluster: SimulatedCluster,
  name: string,
  index: number,
  place: number,
): Promise<void> {
  const { errorCode } = await reassign(cluster, 1, name, index, [nodeAt(cluster, place)]);
  assert.equal(errorCode, ErrorCode.NONE);
  await cluster.until(`${name}/${index} is at ${place}`, () =>
    [0, 1, 2].every((seenBy) => cluster.ownerOf(name, index, seenBy) === place),
  );
}

export async function reassign(
  cluster: SimulatedCluster,
  place: number,
  name: string,
  index: number,
  nodes: readonly number[] | null,
) {
  const replicas = nodes === null ? null : nodes.map(nodeId);
  const { responses } = await cluster.ask(place, AlterPartitionReassignments, {
    timeoutMs: 1_000,
    allowReplicationFactorChange: true,
    topics: [{ name, partitions: [{ partitionIndex: partitionIndex(index), replicas }] }],
  });
  const [told] = responses[0]?.partitions ?? [];
  assert.ok(told !== undefined);
  return told;
}
