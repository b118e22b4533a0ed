/** Transactions whose coordinator, partitions and groups belong to several brokers. */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import {
  ClusterProducer,
  committedAt,
  coordinatorOf,
  groupAt,
  ownerOf,
  stableOffsetAt,
} from "../../test/cluster-producer.ts";
import { aCluster, type SimulatedCluster } from "../../test/simulated-cluster.ts";
import { type Place, place } from "../../test/transaction-fixture.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { offsetsTopic } from "./groups.ts";
import { transactionsTopic } from "./transactions.ts";
import { CreateTopics } from "../protocol/messages/create-topics.ts";

const settings = { "transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3" };
const topic = "orders";
const { NONE } = ErrorCode;

/** Three brokers, and a topic with a partition at each. */
async function started(t: TestContext, seed = 1) {
  const cluster = await aCluster(t, settings, seed);
  const { topics } = await cluster.ask(0, CreateTopics, {
    topics: [{ name: topic, numPartitions: 3, replicationFactor: -1, assignments: [], configs: [] }],
    timeoutMs: 1_000,
    validateOnly: false,
  });
  assert.equal(topics[0]?.errorCode, NONE);
  const services = cluster.at(0).services;
  await cluster.run(Promise.resolve(services.transactions.whenMade()));
  await cluster.run(Promise.resolve(services.groups.whenMade()));
  const all = [0, 1, 2].map((at) => place(topic, at));
  for (const name of [topic, transactionsTopic, offsetsTopic]) await spread(cluster, name);
  return { cluster, all };
}

/** Each of its three partitions is with another broker, and all agree on that. */
async function spread(cluster: SimulatedCluster, name: string): Promise<void> {
  await cluster.until(`${name} is spread`, () => {
    const views = [0, 1, 2].map((seenBy) => [0, 1, 2].map((at) => cluster.ownerOf(name, at, seenBy)));
    const [first] = views;
    return new Set(first).size === 3 && views.every((view) => view.join() === first?.join());
  });
  await cluster.pass(500);
}

/** A name whose coordinator is at this place. */
function named(at: number, find: (name: string) => number): string {
  for (let n = 0; n < 1_000; n++) if (find(`name-${n}`) === at) return `name-${n}`;
  throw new Error(`nothing has its place at ${at}`);
}

async function isSettled(cluster: SimulatedCluster, places: readonly Place[], seenBy = 0): Promise<boolean> {
  for (const each of places) {
    const view = await cluster.run(committedAt(cluster, each, seenBy));
    if (view.lastStable !== view.highWatermark) return false;
  }
  return true;
}

/** Once nothing hangs any more. */
async function valuesOf(cluster: SimulatedCluster, places: readonly Place[], seenBy = 0) {
  for (let tries = 0; !(await isSettled(cluster, places, seenBy)); tries++) {
    assert.ok(tries < 400, "nothing hangs");
    await cluster.pass(50);
  }
  const values: (readonly string[])[] = [];
  for (const each of places) values.push((await cluster.run(committedAt(cluster, each, seenBy))).values);
  return values;
}

describe("a transaction over partitions of several brokers", () => {
  for (const speech of ["new", "old"] as const) {
    test(`of a client that speaks as ${speech} ones do commits and aborts as a whole`, async (t) => {
      const { cluster, all } = await started(t);
      assert.equal(new Set(all.map((each) => ownerOf(cluster, each))).size, 3);
      const id = named(1, (name) => coordinatorOf(cluster, name));
      const producer = new ClusterProducer(cluster, speech, id);
      assert.equal((await cluster.run(producer.init())).errorCode, NONE);
      const expected: string[] = [];
      for (const [round, commits] of [true, false, true].entries()) {
        if (speech === "old") {
          for (let codes: readonly ErrorCode[] = []; codes[0] !== NONE; await cluster.pass(20))
            codes = await cluster.run(producer.add(all));
        }
        const sequence = speech === "old" ? round : 0;
        assert.deepEqual(await cluster.run(producer.write(all, `${round}`, sequence)), [NONE, NONE, NONE]);
        assert.equal((await cluster.run(producer.end(commits))).errorCode, NONE);
        if (commits) expected.push(`${round}`);
        assert.deepEqual(await valuesOf(cluster, all), [expected, expected, expected]);
      }
    });
  }

  test("holds the offsets of a group whose coordinator is another broker", async (t) => {
    const { cluster, all } = await started(t);
    const id = named(0, (name) => coordinatorOf(cluster, name));
    const group = named(2, (name) => groupAt(cluster, name));
    for (const speech of ["new", "old"] as const) {
      const producer = new ClusterProducer(cluster, speech, id);
      await cluster.run(producer.init());
      const from = speech === "new" ? 10 : 20;
      for (const [at, commits] of [
        [from + 1, true],
        [from + 2, false],
      ] as const) {
        if (speech === "old") {
          for (let code: ErrorCode | null = null; code !== NONE; await cluster.pass(20))
            code = await cluster.run(producer.at(producer.coordinator).addOffsets(group));
        }
        assert.equal(await cluster.run(producer.commitOffset(group, all[0] as Place, at)), NONE);
        assert.equal((await cluster.run(producer.end(commits))).errorCode, NONE);
        await cluster.pass(500);
        assert.equal(await cluster.run(stableOffsetAt(cluster, group, all[0] as Place)), from + 1);
      }
    }
  });
});
