/** Transactions that damage left open, in a cluster where nobody knows of everything. */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import {
  ClusterProducer,
  committedAt,
  coordinatorOf,
  ownerOf,
  startedOverThree,
} from "../../../test/cluster-producer.ts";
import type { SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { type Place, place, type Producer } from "../../../test/transaction-fixture.ts";
import { producerEpoch, producerId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { BatchView } from "../../record/batch.ts";
import { buildBatch } from "../../record/builder.ts";
import { silentLogger } from "../../sim/silence.ts";

const topic = "orders";
const all = [0, 1, 2].map((at) => place(topic, at));

function logOf(cluster: SimulatedCluster, at: number, { partition }: Place) {
  const { partitions, topics } = cluster.at(at).services;
  const id = topics.idOf(topic);
  const log = id === undefined ? undefined : partitions.get(id, partition);
  assert.ok(log !== undefined);
  return log;
}

/** Written past the coordinator, as if damage had taken what was known of it. */
async function strand(cluster: SimulatedCluster, where: Place, producer: Producer, value: string) {
  const at = ownerOf(cluster, where);
  const { partitions, wal } = cluster.at(at).services;
  const fields = { ...producer, baseSequence: 0, isTransactional: true };
  const session = partitions.begin();
  const batch = BatchView.at(buildBatch([{ value, timestamp: 1 }], fields));
  logOf(cluster, at, where).append(session, batch, 1);
  await cluster.run(wal.whenDurable(session.commit()));
}

function orphans(t: TestContext) {
  const errors = t.mock.method(silentLogger, "error");
  return () =>
    errors.mock.calls.filter((call) => (call.arguments as readonly unknown[])[0] === "transaction.orphan")
      .length;
}

describe("a transaction that is open in a partition though it is over", () => {
  for (const commits of [true, false]) {
    test(`ends as its coordinator says, where the partition comes to it: ${commits ? "committed" : "aborted"}`, async (t) => {
      const cluster = await startedOverThree(t, topic);
      const [mine, other] = all as [Place, Place, Place];
      const at = ownerOf(cluster, mine);
      let id = "tx";
      while (coordinatorOf(cluster, id) !== at) id += "x";
      const producer = new ClusterProducer(cluster, "new", id);
      const { producerId: who, producerEpoch: epoch } = await cluster.run(producer.init());
      await cluster.run(producer.write([other], "sound"));
      await strand(cluster, mine, { producerId: who, producerEpoch: epoch }, "lost its marker");
      assert.equal((await cluster.run(producer.end(commits))).errorCode, ErrorCode.NONE);
      await cluster.pass(1_000);
      assert.deepEqual((await cluster.run(committedAt(cluster, mine))).lastStable, 0);
      const named = orphans(t);
      const { partitions } = cluster.at(at).services;
      partitions.pause(logOf(cluster, at, mine));
      partitions.resume(logOf(cluster, at, mine));
      await cluster.pass(2_000);
      const view = await cluster.run(committedAt(cluster, mine));
      assert.deepEqual([view.lastStable, view.values], [2, commits ? ["lost its marker"] : []]);
      assert.equal(named(), 1);
    });
  }

  test("is not judged by who does not know its coordinator", async (t) => {
    const cluster = await startedOverThree(t, topic);
    const [mine] = all as [Place, Place, Place];
    const stranger = { producerId: producerId(4_711), producerEpoch: producerEpoch(3) };
    await strand(cluster, mine, stranger, "of somebody");
    const named = orphans(t);
    const at = ownerOf(cluster, mine);
    const seenBy = (at + 1) % 3;
    cluster.kill(at);
    await cluster.until("it is taken over", () => {
      const owner = cluster.ownerOf(topic, mine.partition, seenBy);
      return owner !== null && owner !== at;
    });
    await cluster.pass(3_000);
    const view = await cluster.run(committedAt(cluster, mine, seenBy));
    assert.deepEqual([view.lastStable, view.highWatermark], [0, 1]);
    assert.equal(named(), 0);
  });
});
