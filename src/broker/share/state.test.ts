/** States of share-partitions in a broker and in a cluster: durable before they are told, fenced, found from everywhere. */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { SimulatedBroker } from "../../../test/simulated-broker.ts";
import { aCluster, type SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { leaderEpoch, offset, partitionIndex, type TopicId } from "../../base/ids.ts";
import type { StateBatch } from "../../coordinator/share/state-batch.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { CreateTopics } from "../../protocol/messages/create-topics.ts";
import { CoordinatorType, FindCoordinator } from "../../protocol/messages/find-coordinator.ts";
import { ReadShareGroupState } from "../../protocol/messages/read-share-group-state.ts";
import { ReadShareGroupStateSummary } from "../../protocol/messages/read-share-group-state-summary.ts";
import { shardIndex } from "../shards.ts";
import type { SharePartitionKey, SharePersister, StateChange, Told } from "./persister.ts";
import { coordinatorKey, shareStateTopic } from "./state.ts";

const settings = { "share.coordinator.state.topic.num.partitions": "3" };
const unknown = offset(-1);

const done: StateBatch = {
  first: offset(3),
  last: offset(4),
  state: 2,
  deliveryCount: 1,
  letter: null,
};

function change(epoch: number, batches: readonly StateBatch[] = [done]): StateChange {
  return {
    stateEpoch: 1,
    leaderEpoch: leaderEpoch(epoch),
    startOffset: offset(3),
    deliveryCompleteCount: 2,
    batches,
  };
}

const said = (told: Told<unknown>): string =>
  told.kind === "told" ? "NONE" : `${told.kind} ${errorFacts(told.errorCode).name}`;

describe("the state of a share-partition", () => {
  async function withTopic(t: TestContext) {
    const broker = await SimulatedBroker.start(settings);
    t.after(() => broker.stop());
    await broker.createTopic("orders");
    const topic = broker.broker.services.topics.idOf("orders") as TopicId;
    const key: SharePartitionKey = { groupId: "g", topicId: topic, partition: partitionIndex(0) };
    const ask = <T>(question: (persister: SharePersister) => Promise<T>): Promise<T> =>
      broker.scheduler.runUntil(question(broker.broker.services.sharePersister));
    return { broker, key, ask };
  }

  test("that was told is there after a crash that loses what was not synced, and who was fenced stays so", async (t) => {
    const { broker, key, ask } = await withTopic(t);
    assert.equal(
      said(await ask((at) => at.initialize(key, { stateEpoch: 1, startOffset: unknown }))),
      "NONE",
    );
    assert.equal(said(await ask((at) => at.read(key, leaderEpoch(7)))), "NONE");
    assert.equal(said(await ask((at) => at.write(key, change(7)))), "NONE");
    broker.crash();
    await broker.boot();
    const read = await ask((at) => at.read(key, leaderEpoch(8)));
    assert.deepEqual(read, { kind: "told", value: { stateEpoch: 1, startOffset: 3, batches: [done] } });
    broker.crash();
    await broker.boot();
    assert.equal(said(await ask((at) => at.write(key, change(7)))), "refused FENCED_LEADER_EPOCH");
    assert.equal(said(await ask((at) => at.write(key, change(8)))), "NONE");
  });

  test("is not told before it is durable", async (t) => {
    const { broker, key, ask } = await withTopic(t);
    await ask((at) => at.initialize(key, { stateEpoch: 1, startOffset: unknown }));
    const { services } = broker.broker;
    const toldAt: number[] = [];
    const write = services.sharePersister.write(key, change(0)).then(() => {
      toldAt.push(services.wal.durable);
    });
    const { appended } = services.wal;
    assert.ok(appended > services.wal.durable);
    await broker.scheduler.runUntil(write);
    assert.ok((toldAt[0] ?? 0) >= appended);
  });

  test("is written in one frame with what else the caller puts into his session, or not at all", async (t) => {
    const { broker, key, ask } = await withTopic(t);
    await ask((at) => at.initialize(key, { stateEpoch: 1, startOffset: unknown }));
    await ask((at) => at.read(key, leaderEpoch(2)));
    const { partitions, sharePersister: persister, wal } = broker.broker.services;
    const refused = partitions.begin();
    assert.equal(persister.writeIn(refused, key, change(1)).kind, "refused");
    assert.equal(refused.commit(), 0);
    const session = partitions.begin();
    assert.equal(persister.writeIn(session, key, change(2)).kind, "appended");
    await broker.scheduler.runUntil(wal.whenDurable(session.commit()));
    broker.crash();
    await broker.boot();
    const read = await ask((at) => at.read(key, leaderEpoch(3)));
    assert.ok(read.kind === "told");
    assert.deepEqual(read.value.batches, [done]);
  });

  test("goes with its topic", async (t) => {
    const { broker, key, ask } = await withTopic(t);
    await ask((at) => at.initialize(key, { stateEpoch: 1, startOffset: unknown }));
    assert.equal(broker.broker.services.shareStates.count, 1);
    await broker.deleteTopic("orders");
    assert.equal(broker.broker.services.shareStates.count, 0);
    assert.equal(said(await ask((at) => at.read(key, leaderEpoch(1)))), "refused UNKNOWN_TOPIC_OR_PARTITION");
    await broker.restart();
    assert.equal(broker.broker.services.shareStates.count, 0);
  });

  test("keeps its log short: what no state needs any more is deleted, and a start reads the rest", async (t) => {
    const { broker, key, ask } = await withTopic(t);
    await ask((at) => at.initialize(key, { stateEpoch: 1, startOffset: unknown }));
    for (let n = 0; n < 1_100; n++) await ask((at) => at.write(key, change(0)));
    const { shareStates, topics, partitions } = broker.broker.services;
    const id = topics.idOf(shareStateTopic) as TopicId;
    const log = partitions.get(id, partitionIndex(shardIndex(coordinatorKey(key), 3)));
    assert.ok(log !== undefined && log.logStart === 0 && log.logEnd > 1_100);
    shareStates.prune();
    await ask((at) => at.write(key, change(0)));
    assert.ok(log.logStart > 900);
    broker.crash();
    await broker.boot();
    const read = await ask((at) => at.read(key, leaderEpoch(1)));
    assert.ok(read.kind === "told");
    assert.deepEqual(read.value.batches, [done]);
  });

  test("is asked for over the wire as in Kafka", async (t) => {
    const { broker, key, ask } = await withTopic(t);
    await ask((at) => at.initialize(key, { stateEpoch: 1, startOffset: offset(3) }));
    await ask((at) => at.write(key, change(0)));
    const partitions = [{ partition: key.partition, leaderEpoch: leaderEpoch(0) }];
    const topics = [{ topicId: key.topicId, partitions }];
    const { results } = await broker.ask(ReadShareGroupState, { groupId: "g", topics });
    assert.equal(results[0]?.partitions[0]?.startOffset, 3);
    assert.equal(results[0]?.partitions[0]?.stateBatches[0]?.lastOffset, 4);
    const summary = await broker.ask(ReadShareGroupStateSummary, { groupId: "g", topics });
    assert.equal(summary.results[0]?.partitions[0]?.deliveryCompleteCount, 2);
    const nobody = await broker.ask(ReadShareGroupStateSummary, { groupId: "", topics });
    assert.equal(nobody.results[0]?.partitions[0]?.errorCode, ErrorCode.INVALID_REQUEST);
  });

  test("has a coordinator, which is found by group, topic id and partition", async (t) => {
    const { broker, key } = await withTopic(t);
    const good = coordinatorKey(key);
    const { topicId } = key;
    const coordinatorKeys = [good, `a:b:${good}`, "g", `:${topicId}:0`, `g:${topicId}:x`, `g:short:0`];
    const request = { key: "", keyType: CoordinatorType.share, coordinatorKeys };
    const { coordinators } = await broker.ask(FindCoordinator, request);
    const { NONE, INVALID_REQUEST } = ErrorCode;
    assert.deepEqual(
      coordinators.map(({ errorCode }) => errorCode),
      [NONE, NONE, INVALID_REQUEST, INVALID_REQUEST, INVALID_REQUEST, INVALID_REQUEST],
    );
    const before = await broker.ask(FindCoordinator, { ...request, coordinatorKeys: [good] }, 5);
    assert.equal(before.coordinators[0]?.errorCode, INVALID_REQUEST);
  });
});

describe("in a cluster the state of a share-partition", () => {
  async function started(t: TestContext) {
    const cluster = await aCluster(t, settings);
    const wanted = { name: "orders", numPartitions: 3, replicationFactor: -1, assignments: [], configs: [] };
    await cluster.ask(0, CreateTopics, { topics: [wanted], timeoutMs: 1_000, validateOnly: false });
    await cluster.run(Promise.resolve(cluster.at(0).services.shareStates.whenMade()));
    const places = [0, 1, 2];
    await cluster.until("the states are spread", () => {
      const views = places.map((seenBy) => places.map((at) => cluster.ownerOf(shareStateTopic, at, seenBy)));
      return new Set(views[0]).size === 3 && views.every((view) => view.join() === views[0]?.join());
    });
    await cluster.pass(500);
    const topic = cluster.at(0).services.topics.idOf("orders") as TopicId;
    const keys = Array.from({ length: 12 }, (_, n): SharePartitionKey => {
      return { groupId: `g${n}`, topicId: topic, partition: partitionIndex(Math.floor(n / 4)) };
    });
    return { cluster, keys };
  }
  const at = (cluster: SimulatedCluster, place: number): SharePersister =>
    cluster.at(place).services.sharePersister;

  test("is the same from every broker", async (t) => {
    const { cluster, keys } = await started(t);
    for (const [n, key] of keys.entries()) {
      const begun = at(cluster, n % 3).initialize(key, { stateEpoch: 1, startOffset: unknown });
      assert.equal(said(await cluster.run(begun)), "NONE");
      assert.equal(said(await cluster.run(at(cluster, (n + 1) % 3).read(key, leaderEpoch(1)))), "NONE");
      const letter = { producerId: 77, sequence: 5 } as NonNullable<StateBatch["letter"]>;
      const word: StateBatch = { ...done, state: 3, letter };
      assert.equal(said(await cluster.run(at(cluster, (n + 2) % 3).write(key, change(1, [word])))), "NONE");
      const read = await cluster.run(at(cluster, n % 3).read(key, leaderEpoch(1)));
      assert.deepEqual(read, { kind: "told", value: { stateEpoch: 1, startOffset: 3, batches: [word] } });
    }
    const counts = [0, 1, 2].map((place) => cluster.at(place).services.shareStates.count);
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      keys.length,
    );
    assert.ok(
      counts.every((count) => count > 0),
      String(counts),
    );
  });

  test("goes on at another broker when its own dies, with all that was told", async (t) => {
    const { cluster, keys } = await started(t);
    for (const key of keys) {
      await cluster.run(at(cluster, 0).initialize(key, { stateEpoch: 1, startOffset: unknown }));
      await cluster.run(at(cluster, 0).read(key, leaderEpoch(4)));
      assert.equal(said(await cluster.run(at(cluster, 0).write(key, change(4)))), "NONE");
    }
    cluster.kill(2);
    // Asked for while it is nobody's: the persister looks for whoever has it next.
    const reads = await cluster.run(Promise.all(keys.map((key) => at(cluster, 1).read(key, leaderEpoch(5)))));
    for (const read of reads) {
      assert.deepEqual(read, { kind: "told", value: { stateEpoch: 1, startOffset: 3, batches: [done] } });
    }
    const zombies = await cluster.run(Promise.all(keys.map((key) => at(cluster, 0).write(key, change(4)))));
    for (const each of zombies) assert.equal(said(each), "refused FENCED_LEADER_EPOCH");
  });
});
