import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { createClient } from "../entry/client.ts";
import { startCluster, type TestCluster, WaitTimeoutError } from "../entry/testing.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-cluster-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const six = { name: "orders", partitions: 6 };

/** Values from `from` on, one after the other, each acknowledged. */
async function produce(cluster: TestCluster, from: number, count: number, topic = "orders"): Promise<void> {
  await using client = createClient({ bootstrap: cluster.bootstrap, requestTimeoutMs: 1_000 });
  const producer = client.producer();
  for (let value = from; value < from + count; value++) await producer.send({ topic, value: String(value) });
  await producer.close();
}

const values = async (cluster: TestCluster, topic = "orders"): Promise<number[]> =>
  (await cluster.records(topic)).map(({ value }) => Number(value)).sort((a, b) => a - b);
const upTo = (end: number): number[] => Array.from({ length: end }, (_, at) => at);
const owners = (cluster: TestCluster): (number | null)[] =>
  upTo(6).map((index) => cluster.ownerOf("orders", index));

describe("startCluster", () => {
  it("spreads a topic over its brokers, each of which tells clients of all", async () => {
    await using cluster = await startCluster({ topics: [six] });
    assert.deepEqual(new Set(owners(cluster)), new Set([1, 2, 3]));
    assert.deepEqual(
      cluster.brokers.map(({ number, state }) => [number, state]),
      [
        [1, "running"],
        [2, "running"],
        [3, "running"],
      ],
    );
    await produce(cluster, 0, 12);
    assert.deepEqual(await values(cluster), upTo(12));
    await using client = createClient({ bootstrap: cluster.broker(3).address });
    const { brokers } = await client.admin().describeCluster();
    assert.deepEqual(
      brokers.map(({ id, port }) => [id, port]),
      cluster.brokers.map(({ number, port }) => [number, port]),
    );
  });

  it("loses nothing that was acknowledged when a broker is killed, and gives it a place when it comes back", async () => {
    await using cluster = await startCluster({ topics: [six] });
    await produce(cluster, 0, 12);
    await cluster.kill(2);
    assert.equal(cluster.broker(2).state, "down");
    await cluster.whenServing();
    assert.ok(!owners(cluster).includes(2));
    await produce(cluster, 12, 12);
    await cluster.restart(2);
    await cluster.whenServing();
    assert.deepEqual(await values(cluster), upTo(24));
  });

  it("hands over when a broker is stopped: no partition is ever without an owner that runs", async () => {
    await using cluster = await startCluster({ topics: [six] });
    const { address, port } = cluster.broker(1);
    await produce(cluster, 0, 6);
    await cluster.stop(1);
    await cluster.whenServing(1_000);
    assert.ok(!owners(cluster).includes(1));
    await cluster.restart(1);
    assert.equal(cluster.broker(1).address, address);
    assert.equal(cluster.broker(1).port, port);
    assert.deepEqual(await values(cluster), upTo(6));
  });

  it("lets a broker stand still: it is replaced, and when it goes on it finds that out and stops", async () => {
    await using cluster = await startCluster({ topics: [six] });
    await produce(cluster, 0, 6);
    cluster.pause(3);
    assert.equal(cluster.broker(3).state, "paused");
    const stopped = cluster.stopped(3);
    await cluster.whenServing();
    assert.ok(!owners(cluster).includes(3));
    cluster.resume(3);
    assert.match((await stopped).message, /was ended by the broker of epoch/);
    assert.equal(cluster.broker(3).state, "down");
    await produce(cluster, 6, 6);
    assert.deepEqual(await values(cluster), upTo(12));
  });

  it("lets a broker stand still for so short a time that nobody minds", async () => {
    await using cluster = await startCluster({ topics: [six], suspicionMs: 5_000 });
    const before = owners(cluster);
    cluster.pause(1);
    const producing = produce(cluster, 0, 12);
    await new Promise((resolve) => setTimeout(resolve, 100));
    cluster.resume(1);
    await producing;
    assert.deepEqual(owners(cluster), before);
    assert.deepEqual(await values(cluster), upTo(12));
  });

  it("keeps everything when all brokers are killed at once", async () => {
    await using cluster = await startCluster({ topics: [six] });
    await produce(cluster, 0, 12);
    await Promise.all([1, 2, 3].map((number) => cluster.kill(number)));
    await assert.rejects(cluster.createTopic("more"), /all are down or paused/);
    await cluster.begin();
    assert.deepEqual(await values(cluster), upTo(12));
  });

  it("acknowledges nothing while the store does not answer, and goes on when it does", async () => {
    await using cluster = await startCluster({ topics: [six], suspicionMs: 5_000 });
    cluster.store.faults.hang({ request: "put" });
    let isDone = false;
    const producing = produce(cluster, 0, 3).then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(isDone, false);
    assert.deepEqual(await values(cluster), []);
    cluster.store.faults.clear();
    await producing;
    assert.deepEqual(await values(cluster), upTo(3));
  });

  it("stores once what was acknowledged late, was refused, or whose answer the store lost", async () => {
    await using cluster = await startCluster({ topics: [six] });
    const { faults } = cluster.store;
    faults.loseNextAnswer({ request: "put" });
    faults.loseNextAnswer({ request: "put" });
    faults.delay(30, { request: "put", broker: 1 });
    await produce(cluster, 0, 12);
    faults.fail({ request: "put" });
    setTimeout(() => faults.clear(), 100);
    await produce(cluster, 12, 3);
    assert.deepEqual(await values(cluster), upTo(15));
    assert.throws(() => faults.delay(-1), /a time of 0 ms or more/);
    assert.throws(() => faults.fail({ request: "post" as "put" }), /There is no request post/);
  });

  it("drops and delays answers of one broker as its faults say", async () => {
    await using cluster = await startCluster({ brokers: 2, topics: ["one"] });
    const owner = cluster.ownerOf("one") as number;
    cluster.broker(owner).faults.dropNextResponse("Produce");
    await produce(cluster, 0, 1, "one");
    assert.deepEqual(await values(cluster, "one"), [0], "the idempotent producer sent it twice");
    assert.match(cluster.describeExchanges(), /Produce v\d+ one, .*: answer dropped/);
    assert.doesNotMatch(cluster.describeExchanges(), /Peer/);
  });

  it("keeps its data in a directory that stays, and goes on there", async () => {
    const store = join(scratch, "stays");
    const first = await startCluster({ brokers: 2, store, topics: [six] });
    await produce(first, 0, 6);
    assert.ok((await first.store.list("wal/")).length > 0);
    await first.close();
    await using again = await startCluster({ brokers: 3, store });
    assert.deepEqual(await values(again), upTo(6));
  });

  it("says what is missing when it waits in vain, and refuses what cannot be", async () => {
    await using cluster = await startCluster({ brokers: 1, topics: ["one"] });
    await assert.rejects(cluster.waitFor({ topic: "one", timeoutMs: 20 }), (error) => {
      assert.ok(error instanceof WaitTimeoutError);
      assert.match(error.message, /Waited 20 ms for 1 record in "one"; 0 are served; broker 1 is running\./);
      return true;
    });
    await assert.rejects(startCluster({ brokers: 0 }), /has 1 to 20 brokers, not 0/);
    assert.throws(() => cluster.broker(2), /There is no broker 2; there are 1 to 1/);
    await cluster.kill(1);
    assert.throws(() => cluster.pause(1), /broker 1 is down; call restart\(1\) first/);
  });
});
