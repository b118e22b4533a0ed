/** What an admin wishes of the owners of partitions, and what becomes of it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aStrangeTopic, create, move, nodeAt, placesOf, reassign } from "../../test/owned-topics.ts";
import { aCluster, type SimulatedCluster } from "../../test/simulated-cluster.ts";
import { nodeId, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { CreatePartitions } from "../protocol/messages/create-partitions.ts";
import { ElectionType, ElectLeaders } from "../protocol/messages/elect-leaders.ts";
import { ListPartitionReassignments } from "../protocol/messages/list-partition-reassignments.ts";

const { NONE } = ErrorCode;

describe("an assignment", () => {
  test("gives each partition to its first replica for good, and names no broker that is unknown", async (t) => {
    const cluster = await aCluster(t);
    const [a, b, c] = [0, 1, 2].map((place) => nodeAt(cluster, place)) as [number, number, number];
    const made = await create(cluster, 0, "orders", { assigned: [[c], [c, a], [b]] });
    assert.equal(made.errorCode, NONE);
    assert.deepEqual(placesOf(cluster, "orders", 1), [2, 2, 1]);
    const refused = await create(cluster, 0, "others", { assigned: [[a], [99]] });
    assert.equal(refused.errorCode, ErrorCode.INVALID_REPLICA_ASSIGNMENT);
    assert.match(refused.errorMessage ?? "", /no broker 99 in this cluster now; it has 1, 2, 3\./);
    const more = (node: number) => ({
      topics: [{ name: "orders", count: 4, assignments: [{ brokerIds: [nodeId(node)] }] }],
      timeoutMs: 1_000,
      validateOnly: false,
    });
    assert.equal(
      (await cluster.ask(0, CreatePartitions, more(99))).results[0]?.errorCode,
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
    );
    assert.equal((await cluster.ask(0, CreatePartitions, more(a))).results[0]?.errorCode, NONE);
    assert.equal(cluster.ownerOf("orders", 3, 2), 0);
    // Balance does not take away what was assigned.
    await cluster.pass(20_000);
    assert.deepEqual(placesOf(cluster, "orders", 1, 4), [2, 2, 1, 0]);
  });
});

describe("a reassignment", () => {
  const list = async (cluster: SimulatedCluster, place: number) => {
    const { topics } = await cluster.ask(place, ListPartitionReassignments, {
      timeoutMs: 1_000,
      topics: null,
    });
    return topics.flatMap(({ name, partitions }) =>
      partitions.map((each) => [name, each.partitionIndex, ...each.addingReplicas, ...each.removingReplicas]),
    );
  };
  const elect = async (cluster: SimulatedCluster, timeoutMs = 30_000) => {
    const topicPartitions = [{ topic: "orders", partitions: [partitionIndex(0)] }];
    const request = { electionType: ElectionType.preferred, topicPartitions, timeoutMs };
    const { replicaElectionResults } = await cluster.ask(1, ElectLeaders, request);
    return replicaElectionResults[0]?.partitionResult[0]?.errorCode;
  };

  test("is under way until the partition lies there, and then stays", async (t) => {
    const cluster = await aCluster(t);
    const { owner } = await aStrangeTopic(cluster);
    const to = nodeAt(cluster, 2);
    assert.equal((await reassign(cluster, 1, "orders", 0, [to])).errorCode, NONE);
    assert.deepEqual(await list(cluster, 2), [["orders", 0, to, nodeAt(cluster, owner)]]);
    assert.equal(await elect(cluster), NONE);
    assert.equal(cluster.ownerOf("orders", 0, 1), 2);
    assert.deepEqual(await list(cluster, 2), []);
    assert.equal(await elect(cluster), ErrorCode.ELECTION_NOT_NEEDED);
    await cluster.pass(20_000);
    assert.equal(cluster.ownerOf("orders", 0, 1), 2);
    // Taking back what was done lets the balance have it, and there is nothing more to take back.
    assert.equal((await reassign(cluster, 1, "orders", 0, null)).errorCode, NONE);
    const { errorCode } = await reassign(cluster, 1, "orders", 0, null);
    assert.equal(errorCode, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS);
  });

  test("can be called off", async (t) => {
    const cluster = await aCluster(t);
    const { owner } = await aStrangeTopic(cluster);
    await reassign(cluster, 1, "orders", 0, [nodeAt(cluster, 2)]);
    assert.equal((await reassign(cluster, 2, "orders", 0, null)).errorCode, NONE);
    assert.deepEqual(await list(cluster, 0), []);
    await cluster.pass(10_000);
    assert.equal(cluster.ownerOf("orders", 0, 1), owner);
  });

  test("to nobody, to somebody unknown, or twice to the same is refused", async (t) => {
    const cluster = await aCluster(t);
    await aStrangeTopic(cluster);
    for (const nodes of [[], [99], [1, 1], [-1]]) {
      const { errorCode } = await reassign(cluster, 0, "orders", 0, nodes);
      assert.equal(errorCode, ErrorCode.INVALID_REPLICA_ASSIGNMENT);
    }
    assert.deepEqual(await list(cluster, 0), []);
  });

  test("to a broker that went away waits for it, and an election says so", async (t) => {
    const cluster = await aCluster(t);
    const { owner } = await aStrangeTopic(cluster);
    const to = nodeAt(cluster, 2);
    await move(cluster, "orders", 0, 2);
    await cluster.stop(2);
    await cluster.until("another has it", () => cluster.ownerOf("orders", 0, 1) !== 2);
    assert.deepEqual(await list(cluster, 0), []);
    assert.equal(await elect(cluster), ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE);
    await cluster.boot(2);
    await cluster.until("it is back", () => cluster.ownerOf("orders", 0, 1) === 2);
    assert.equal(nodeAt(cluster, 2), to);
    assert.notEqual(owner, 2);
  });
});
