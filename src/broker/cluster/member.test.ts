import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aCluster, SimulatedCluster } from "../../../test/simulated-cluster.ts";

/** Every value of a topic, partition after partition, as a new client reads it. */
async function readAll(cluster: SimulatedCluster, topic: string, count: number): Promise<string[]> {
  const consumer = cluster.client().consumer({ topic, from: "start" });
  const values: string[] = [];
  await cluster.run(
    (async () => {
      for await (const record of consumer) {
        values.push(String(record.value));
        if (values.length === count) break;
      }
    })(),
  );
  return values.sort();
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, at) => `v${at}`).sort();

describe("Brokers over one store", () => {
  it("spread the partitions of a topic, and each says the same of them", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 6);
    await cluster.pass(1_000);
    for (const place of [0, 1, 2]) {
      const owners = [0, 1, 2, 3, 4, 5].map((index) => cluster.ownerOf("t", index, place));
      for (const owner of [0, 1, 2]) assert.equal(owners.filter((each) => each === owner).length, 2);
    }
  });

  it("keep what was acknowledged when one is killed, and go on without it", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 6);
    const producer = cluster.client().producer();
    const send = (from: number, to: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: to - from }, (_, at) =>
          producer.send({ topic: "t", partition: (from + at) % 6, value: `v${from + at}` }),
        ),
      );
    await cluster.run(send(0, 60));
    cluster.kill(1);
    const begunMs = cluster.scheduler.nowMs;
    await cluster.run(send(60, 120));
    assert.ok(cluster.scheduler.nowMs - begunMs < 6_000, "within seconds");
    assert.deepEqual(await readAll(cluster, "t", 120), numbered(120));
    assert.deepEqual(cluster.memberAt(0).failure, null);
  });

  it("hand everything over when one is stopped, without an error at the producer", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 6);
    const producer = cluster.client().producer();
    const sent: Promise<unknown>[] = [];
    let longestMs = 0;
    let isDone = false;
    const load = (async () => {
      for (let at = 0; !isDone; at++) {
        const beganMs = cluster.scheduler.nowMs;
        const sending = producer.send({ topic: "t", partition: at % 6, value: `v${at}` });
        sent.push(
          sending.then(() => {
            longestMs = Math.max(longestMs, cluster.scheduler.nowMs - beganMs);
          }),
        );
        await new Promise<void>((resolve) => cluster.scheduler.schedule(10, () => resolve()));
      }
    })();
    await cluster.pass(500);
    await cluster.stop(2);
    await cluster.pass(1_000);
    isDone = true;
    await cluster.run(load);
    await cluster.run(Promise.all(sent));
    assert.ok(longestMs < 1_000, `the longest took ${longestMs} ms`);
    assert.deepEqual(await readAll(cluster, "t", sent.length), numbered(sent.length));
    for (const index of [0, 1, 2, 3, 4, 5]) assert.notEqual(cluster.ownerOf("t", index, 0), 2);
  });

  it("give a broker that comes its share", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 6);
    await cluster.stop(2);
    await cluster.boot(2);
    await cluster.until("all own two", () => {
      const owners = [0, 1, 2, 3, 4, 5].map((index) => cluster.ownerOf("t", index, 0));
      return [0, 1, 2].every((place) => owners.filter((owner) => owner === place).length === 2);
    });
  });

  it("give a broker the number that it had before", async (test) => {
    const cluster = await aCluster(test);
    const { nodeId } = cluster.at(1).services;
    cluster.kill(1);
    const again = await cluster.boot(1);
    assert.equal(again.services.nodeId, nodeId);
  });

  it("do not believe one that was paused and replaced, and it gives up with a sentence", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 3);
    const producer = cluster.client().producer();
    const send = (at: number): Promise<unknown> =>
      producer.send({ topic: "t", partition: at % 3, value: `v${at}` });
    await cluster.run(Promise.all([0, 1, 2].map(send)));
    const paused = cluster.memberAt(0);
    paused.process.pause();
    await cluster.run(Promise.all([3, 4, 5].map(send)));
    paused.process.resume();
    await cluster.until("it gave up", () => paused.failure !== null);
    assert.match(String(paused.failure?.message), /ended by|sealed|took over/);
    await cluster.run(Promise.all([6, 7, 8].map(send)));
    assert.deepEqual(await readAll(cluster, "t", 9), numbered(9));
  });

  it("flush when their logs are full of small slots, also while partitions move", async (test) => {
    const cluster = new SimulatedCluster({}, 3, { unreleasedSlotsMax: 32, flushAgeMs: 3_600_000 });
    test.after(() => cluster.close());
    await cluster.bootAll(2);
    await cluster.createTopic("t", 6);
    const producer = cluster.client().producer();
    const sent: Promise<unknown>[] = [];
    // Each in a slot of its own, in many times more slots than may wait for a flush.
    const load = async (): Promise<void> => {
      for (let at = 0; at < 600; at++) {
        sent.push(producer.send({ topic: "t", partition: at % 6, value: `v${at}` }));
        await new Promise<void>((resolve) => cluster.scheduler.schedule(20, () => resolve()));
      }
    };
    const loading = load();
    await cluster.pass(1_000);
    await cluster.boot(2);
    await cluster.run(loading);
    await cluster.run(Promise.all(sent));
    const owners = [0, 1, 2, 3, 4, 5].map((index) => cluster.ownerOf("t", index, 0));
    assert.equal(owners.filter((owner) => owner === 2).length, 2, "and the one that came has its share");
    assert.deepEqual(await readAll(cluster, "t", 600), numbered(600));
  });

  it("go on with everything after all were killed at once", async (test) => {
    const cluster = await aCluster(test);
    await cluster.createTopic("t", 6);
    const producer = cluster.client().producer();
    const values = numbered(30);
    await cluster.run(
      Promise.all(values.map((value, at) => producer.send({ topic: "t", partition: at % 6, value }))),
    );
    for (const place of [0, 1, 2]) cluster.kill(place);
    await cluster.bootAll(3);
    await cluster.run(cluster.at(0).whenServing());
    assert.deepEqual(await readAll(cluster, "t", 30), values);
  });
});
