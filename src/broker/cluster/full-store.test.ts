/** What brokers do while the store takes nothing from them, because it is full or because it is silent. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aCluster, SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { DiskError } from "../../base/errors.ts";
import { partitionIndex } from "../../base/ids.ts";

const places = [0, 1, 2];
const partitions = [0, 1, 2, 3, 4, 5];
const ownersIn = (cluster: SimulatedCluster): readonly (number | null)[] =>
  partitions.map((index) => cluster.ownerOf("t", index, 0));

/** As a directory on a disk without space. */
const full = (_: number, key: string): Promise<void> =>
  Promise.reject(new DiskError({ errno: "ENOSPC", operation: "write", path: key }));

async function goesOn(cluster: SimulatedCluster): Promise<void> {
  const producer = cluster.client().producer();
  await cluster.run(
    Promise.all(partitions.map((partition) => producer.send({ topic: "t", partition, value: "v" }))),
  );
}

describe("A store that is full", () => {
  it("delays a take-over, and ends no broker", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 6);
    await goesOn(cluster);
    cluster.beforePut = full;
    cluster.kill(1);
    await cluster.pass(20_000);
    for (const place of [0, 2]) assert.equal(cluster.memberAt(place).failure, null);
    cluster.beforePut = null;
    await cluster.until("the others own all", () =>
      ownersIn(cluster).every((owner) => owner === 0 || owner === 2),
    );
    await goesOn(cluster);
  });

  it("delays moves, and ends no broker", async (test) => {
    const cluster = new SimulatedCluster();
    test.after(() => cluster.close());
    await cluster.bootAll(2);
    await cluster.createTopic("t", 6);
    await cluster.boot(2);
    cluster.beforePut = full;
    await cluster.pass(20_000);
    for (const place of places) assert.equal(cluster.memberAt(place).failure, null);
    assert.ok(!ownersIn(cluster).includes(2));
    cluster.beforePut = null;
    await cluster.until("each owns two", () =>
      places.every((place) => ownersIn(cluster).filter((owner) => owner === place).length === 2),
    );
    await goesOn(cluster);
  });
});

describe("A store that takes no slot of a broker's log", () => {
  it("stops the appends of partitions that are to move for two seconds, not for good", async (test) => {
    const cluster = new SimulatedCluster();
    test.after(() => cluster.close());
    await cluster.bootAll(2);
    await cluster.createTopic("t", 6);
    const silence = Promise.withResolvers<void>();
    cluster.beforePut = (place, key) =>
      place === 0 && key.startsWith("wal/") ? silence.promise : Promise.resolve();
    const producer = cluster.client().producer();
    const sent = Promise.all(
      partitions.map((partition) => producer.send({ topic: "t", partition, value: "v" })),
    );
    const { services } = cluster.at(0);
    const topicId = services.topics.idOf("t");
    assert.ok(topicId !== undefined);
    const takesAll = (): boolean =>
      partitions
        .filter((index) => cluster.ownerOf("t", index, 0) === 0)
        .every((index) => services.partitions.get(topicId, partitionIndex(index))?.takesAppends === true);
    await cluster.boot(2);
    await cluster.until("appends stop for a move", () => !takesAll(), 10_000);
    const begunMs = cluster.scheduler.nowMs;
    await cluster.until("they go on without it", takesAll, 10_000);
    assert.ok(cluster.scheduler.nowMs - begunMs < 2_500);
    silence.resolve();
    await cluster.run(sent);
    await cluster.until("each owns two", () =>
      places.every((place) => ownersIn(cluster).filter((owner) => owner === place).length === 2),
    );
  });
});
