/** Share groups over several brokers: the state is at one, the partition at another, and both change hands. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import {
  Ack,
  type AskedBroker,
  beginShare,
  configureShare,
  offsetsIn,
  ShareMember,
  topicIdOf,
} from "../../../test/share-fixture.ts";
import { aCluster, type SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { batchesIn } from "../../record/batch.ts";
import { recordsIn } from "../../record/record.ts";
import { SimClient } from "../../sim/client.ts";

const letterTopic = "dlq.g";
const firstPort = 9092;

function brokerAt(cluster: SimulatedCluster, place: number): AskedBroker {
  return {
    broker: cluster.at(place),
    scheduler: cluster.scheduler,
    ask: (api, request) => cluster.ask(place, api, request),
    connect() {
      const client = SimClient.connect(cluster.network, firstPort + place, "test");
      if (client === null) throw new Error(`nobody listens at place ${place}`);
      return client;
    },
  };
}

interface Scene {
  readonly cluster: SimulatedCluster;
  readonly partition: number;
  /** Who has the partition, and who its state. */
  readonly leader: number;
  readonly keeper: number;
}

/** Where the state of the partition is kept, as a place. */
function keeperOf(cluster: SimulatedCluster, partition: number, seenBy: number): number | null {
  const { shareStates } = cluster.at(seenBy).services;
  const topicId = topicIdOf(brokerAt(cluster, seenBy), "t");
  const place = shareStates.placeOf({ groupId: "g", topicId, partition: partitionIndex(partition) });
  return place === undefined ? null : cluster.ownerOf("__share_group_state", place.index, seenBy);
}

/** Records "a", "b", "c" in a partition of "t" whose state lies at another broker. */
async function aScene(context: TestContext, seed = 1): Promise<Scene> {
  const settings = { "share.coordinator.state.topic.num.partitions": "6" };
  const cluster = await aCluster(context, settings, seed);
  const admin = cluster.client().admin();
  await cluster.createTopic("t", 6);
  await cluster.run(
    admin.createTopics([
      { topic: letterTopic, partitions: 6, configs: { "errors.deadletterqueue.group.enable": "true" } },
    ]),
  );
  await configureShare(brokerAt(cluster, 0), "g", {
    "share.auto.offset.reset": "earliest",
    "errors.deadletterqueue.topic.name": letterTopic,
  });
  for (let partition = 0; partition < 6; partition++)
    await beginShare(brokerAt(cluster, 0), "g", "t", partition);
  const partition = [0, 1, 2, 3, 4, 5].find(
    (each) => keeperOf(cluster, each, 0) !== cluster.ownerOf("t", each, 0),
  );
  if (partition === undefined) {
    // All of it came to one broker: another world then.
    cluster.close();
    return aScene(context, seed + 100);
  }
  const producer = cluster.client().producer();
  for (const value of ["a", "b", "c"]) await cluster.run(producer.send({ topic: "t", partition, value }));
  const leader = cluster.ownerOf("t", partition, 0);
  const keeper = keeperOf(cluster, partition, 0);
  assert.ok(leader !== null && keeper !== null);
  return { cluster, partition, leader, keeper };
}

const memberAt = ({ cluster, partition }: Scene, place: number, name: string): ShareMember =>
  new ShareMember(brokerAt(cluster, place), name, "t", { partition });

const patient = { waitMs: 20_000 };

/** Kills a broker; the place that has the partition once everything is taken over. */
async function killed({ cluster, partition }: Scene, place: number): Promise<number> {
  cluster.kill(place);
  const witness = [0, 1, 2].find((each) => cluster.has(each)) as number;
  const isThere = (owner: number | null): boolean => owner !== null && cluster.has(owner);
  const isWhole = (): boolean =>
    isThere(cluster.ownerOf("t", partition, witness)) &&
    isThere(keeperOf(cluster, partition, witness)) &&
    [0, 1, 2, 3, 4, 5].every((each) => isThere(cluster.ownerOf(letterTopic, each, witness)));
  await cluster.until("everything has a live owner", isWhole);
  await cluster.pass(1_000);
  return cluster.ownerOf("t", partition, witness) as number;
}

test("what was answered holds at the next owner of the partition, and what was in flight comes back", async (context) => {
  const scene = await aScene(context);
  const one = memberAt(scene, scene.leader, "one");
  assert.deepEqual(offsetsIn(await one.fetch(patient)), [0, 1, 2]);
  assert.equal(await one.acknowledge(1, 1, Ack.accept), ErrorCode.NONE);
  const next = await killed(scene, scene.leader);
  assert.deepEqual(offsetsIn(await memberAt(scene, next, "two").fetch(patient)), [0, 2]);
});

test("an acknowledgement waits for the next owner of the state, and counts there", async (context) => {
  const scene = await aScene(context);
  const one = memberAt(scene, scene.leader, "one");
  await one.fetch(patient);
  scene.cluster.kill(scene.keeper);
  assert.equal(await one.acknowledge(0, 1, Ack.accept), ErrorCode.NONE);
  const next = await killed(scene, scene.leader);
  assert.deepEqual(offsetsIn(await memberAt(scene, next, "two").fetch(patient)), [2]);
});

test("a member that asks the wrong broker is told who has the partition", async (context) => {
  const scene = await aScene(context);
  const wrong = [0, 1, 2].find((place) => place !== scene.leader) as number;
  const { errorCode } = await memberAt(scene, wrong, "one").fetch();
  assert.equal(errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER);
});

/** Values in the dead-letter topic, over all brokers. */
async function letters(cluster: SimulatedCluster): Promise<readonly string[]> {
  const values: string[] = [];
  for (const place of [0, 1, 2].filter((each) => cluster.has(each))) {
    const { topics, partitions } = cluster.at(place).services;
    for (const partition of partitions.ofTopic(topics.idOf(letterTopic) ?? ("" as never))) {
      if (!partition.takesAppends) continue;
      const read = await cluster.run(
        Promise.resolve(partition.read({ offset: offset(0), bytesMax: 1 << 20, orOneBatch: true })),
      );
      if (read.kind !== "read") continue;
      for (const batch of read.chunks.flatMap((chunk) => [...batchesIn(chunk)])) {
        for (const { value } of recordsIn(batch, 1 << 20)) values.push(Buffer.from(value ?? []).toString());
      }
    }
  }
  return values;
}

test("where the state is at another broker, a dead letter is written once, too", async (context) => {
  const scene = await aScene(context);
  const one = memberAt(scene, scene.leader, "one");
  await one.fetch(patient);
  assert.equal(await one.acknowledge(1, 1, Ack.reject), ErrorCode.NONE);
  await scene.cluster.pass(10_000);
  assert.deepEqual(await letters(scene.cluster), ["b"]);
  const [share] = scene.cluster.at(scene.leader).services.shares.all();
  assert.equal(share?.counts?.archiving, 0);
});

test("whoever takes over goes on with a dead letter where it was, and there is one of it", async (context) => {
  for (let at = 0; at < 8; at++) {
    const scene = await aScene(context, 1 + at);
    const one = memberAt(scene, scene.leader, "one");
    await one.fetch(patient);
    const said = { isAnswered: false };
    one.sendWord(1, 1, Ack.reject).then(
      () => (said.isAnswered = true),
      () => undefined,
    );
    await scene.cluster.pass(at * 60);
    const next = await killed(scene, scene.leader);
    const two = memberAt(scene, next, "two");
    const again = offsetsIn(await two.fetch(patient)).filter((each) => each === 1);
    await scene.cluster.pass(20_000);
    const written = await letters(scene.cluster);
    assert.deepEqual([...written, ...again.map(() => "b")], ["b"], `killed after ${at * 60} ms`);
    if (said.isAnswered) assert.deepEqual(written, ["b"]);
  }
});
