/** Transactions whose coordinator, partitions and groups belong to several brokers. */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import {
  ClusterProducer,
  committedAt,
  coordinatorOf,
  groupAt,
  ownerOf,
  placeOfKey,
  stableOffsetAt,
  startedOverThree,
} from "../../test/cluster-producer.ts";
import type { SimulatedCluster } from "../../test/simulated-cluster.ts";
import { type Place, place, type Producer } from "../../test/transaction-fixture.ts";
import { NO_TOPIC_ID, partitionIndex, producerEpoch, producerId } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { transactionsTopic } from "./transactions.ts";
import { DeleteTopics } from "../protocol/messages/delete-topics.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { ListTransactions } from "../protocol/messages/list-transactions.ts";
import { WriteTxnMarkers } from "../protocol/messages/write-txn-markers.ts";
import { BatchView } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { PeerError } from "./cluster/errors.ts";

const topic = "orders";
const { NONE } = ErrorCode;

/** Three brokers, and a topic with a partition at each. */
async function started(t: TestContext) {
  const cluster = await startedOverThree(t, topic);
  return { cluster, all: [0, 1, 2].map((at) => place(topic, at)) };
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

/** Sees what a broker asks others, before it leaves; may hold it up. */
function onCall(
  t: TestContext,
  cluster: SimulatedCluster,
  at: number,
  see: (api: string, request: unknown) => void | Promise<void>,
  hear: (api: string) => void = () => undefined,
): void {
  const { peers } = cluster.at(at).services.cluster;
  const call = peers.call.bind(peers) as (...of: unknown[]) => Promise<unknown>;
  t.mock.method(peers, "call", async (to: unknown, api: { readonly name: string }, request: unknown) => {
    await see(api.name, request);
    const answer = await call(to, api, request);
    hear(api.name);
    return answer;
  });
}

describe("a coordinator", () => {
  test("lets a marker leave for another broker once the intention is durable, and completes when it is answered", async (t) => {
    const { cluster, all } = await started(t);
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    await cluster.run(producer.write(all, "a"));
    const { wal, transactions } = cluster.at(1).services;
    const stateOf = () =>
      cluster.at(1).services.transactions.run(
        id,
        (shard) => shard.transaction(id)?.state,
        () => undefined,
      );
    const appended = wal.appended;
    let markers = 0;
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    onCall(t, cluster, 1, async (api) => {
      if (api !== "WriteTxnMarkers") return;
      markers++;
      assert.ok(wal.durable > appended, "the intention lies behind what was appended before");
      await held;
    });
    assert.equal((await cluster.run(producer.end(true))).errorCode, NONE);
    await cluster.pass(3_000);
    assert.equal(markers, 2);
    assert.equal(await cluster.run(stateOf()), "PrepareCommit");
    assert.equal(await isSettled(cluster, [all[0] as Place]), false);
    release();
    await cluster.pass(1_000);
    assert.equal(await cluster.run(stateOf()), "CompleteCommit");
    assert.deepEqual(await valuesOf(cluster, all), [["a"], ["a"], ["a"]]);
    assert.ok(transactions.isComplete);
  });

  test("that gave its transactions away and has them again drives what it had begun", async (t) => {
    const { cluster, all } = await started(t);
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    await cluster.run(producer.write(all, "a"));
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    onCall(t, cluster, 1, (api) => (api === "WriteTxnMarkers" ? held : undefined));
    await cluster.run(producer.end(true));
    await cluster.pass(500);
    const { partitions, topics } = cluster.at(1).services;
    const { partition } = placeOfKey(cluster, transactionsTopic, id);
    const state = partitions.get(topics.idOf(transactionsTopic) as never, partition);
    assert.ok(state !== undefined);
    partitions.pause(state);
    await cluster.pass(100);
    partitions.resume(state);
    await cluster.pass(100);
    release();
    assert.deepEqual(await valuesOf(cluster, all), [["a"], ["a"], ["a"]]);
    await cluster.pass(1_000);
    const { transactionStates } = await cluster.ask(1, DescribeTransactions, { transactionalIds: [id] });
    assert.equal(transactionStates[0]?.transactionState, "CompleteCommit");
  });

  test("lets a producer write on at once, though markers of others are on their way", async (t) => {
    const { cluster, all } = await started(t);
    for (const at of [0, 1]) {
      const id = named(at, (name) => coordinatorOf(cluster, name));
      const producer = new ClusterProducer(cluster, "new", id);
      await cluster.run(producer.init());
      for (let round = 0; round < 5; round++) {
        assert.deepEqual(await cluster.run(producer.write(all, `${round}`)), [NONE, NONE, NONE]);
        assert.equal((await cluster.run(producer.end(true))).errorCode, NONE);
      }
    }
  });

  test("forgets partitions of a topic that is deleted while their markers are on the way", async (t) => {
    const { cluster, all } = await started(t);
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    await cluster.run(producer.write(all, "a"));
    let isDeleted = false;
    onCall(t, cluster, 1, async (api) => {
      if (api === "WriteTxnMarkers" && !isDeleted)
        throw new PeerError("lost", { trouble: "lost", sent: true });
    });
    await cluster.run(producer.end(true));
    const topics = [{ name: topic, topicId: NO_TOPIC_ID }];
    await cluster.ask(0, DeleteTopics, { topics, topicNames: [], timeoutMs: 1_000 });
    isDeleted = true;
    await cluster.pass(3_000);
    const { transactionStates } = await cluster.ask(1, DescribeTransactions, { transactionalIds: [id] });
    assert.equal(transactionStates[0]?.transactionState, "CompleteCommit");
  });

  test("that is another broker says so, and names nobody's transactions as its own", async (t) => {
    const { cluster } = await started(t);
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    for (const place of [0, 2]) {
      const wrong = producer.at(place);
      assert.equal((await cluster.run(wrong.init())).errorCode, ErrorCode.NOT_COORDINATOR);
      assert.deepEqual(await cluster.run(wrong.add([{ topic, partition: partitionIndex(0) }])), [
        ErrorCode.NOT_COORDINATOR,
      ]);
      assert.equal(await cluster.run(wrong.addOffsets("g")), ErrorCode.NOT_COORDINATOR);
      assert.equal((await cluster.run(wrong.end(true))).errorCode, ErrorCode.NOT_COORDINATOR);
      const { transactionStates } = await cluster.ask(place, DescribeTransactions, {
        transactionalIds: [id],
      });
      assert.equal(transactionStates[0]?.errorCode, ErrorCode.NOT_COORDINATOR);
    }
    const counts: number[] = [];
    for (const place of [0, 1, 2]) {
      const request = {
        stateFilters: [],
        producerIdFilters: [],
        durationFilter: -1,
        transactionalIdPattern: null,
      };
      counts.push((await cluster.ask(place, ListTransactions, request)).transactionStates.length);
    }
    assert.deepEqual(counts, [0, 1, 0]);
  });
});

describe("a partition whose transactions another broker looks after", () => {
  test("asks once per transaction, and then knows", async (t) => {
    const { cluster, all } = await started(t);
    const [mine] = all.filter((each) => ownerOf(cluster, each) === 0) as [Place];
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    const { partitions, topics, wal } = cluster.at(1).services;
    const { partition } = placeOfKey(cluster, transactionsTopic, id);
    const state = partitions.get(topics.idOf(transactionsTopic) as never, partition);
    let asked = 0;
    onCall(
      t,
      cluster,
      0,
      (api) => void (api === "AddPartitionsToTxn" && asked++),
      (api) => {
        if (api !== "AddPartitionsToTxn") return;
        assert.ok((state?.lastNumber ?? Infinity) <= wal.durable, "what is added is durable");
      },
    );
    for (let round = 0; round < 3; round++) {
      for (let sequence = 0; sequence < 4; sequence++)
        assert.deepEqual(await cluster.run(producer.write([mine], `${round}`, sequence)), [NONE]);
      assert.equal(asked, round + 1);
      await cluster.run(producer.end(true));
      await valuesOf(cluster, [mine]);
    }
  });

  test("takes nothing of a transaction that an old client did not tell of", async (t) => {
    const { cluster, all } = await started(t);
    const [mine] = all.filter((each) => ownerOf(cluster, each) === 0) as [Place];
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "old", id);
    await cluster.run(producer.init());
    assert.deepEqual(await cluster.run(producer.write([mine], "untold")), [ErrorCode.INVALID_TXN_STATE]);
    assert.equal(await isSettled(cluster, [mine]), true);
  });

  for (const speech of ["new", "old"] as const) {
    test(`takes no batch that was admitted before its transaction ended, of a client that speaks as ${speech} ones do`, async (t) => {
      const { cluster, all } = await started(t);
      const [mine] = all.filter((each) => ownerOf(cluster, each) === 0) as [Place];
      const id = named(1, (name) => coordinatorOf(cluster, name));
      const producer = new ClusterProducer(cluster, speech, id);
      await cluster.run(producer.init());
      if (speech === "old") assert.deepEqual(await cluster.run(producer.add([mine])), [NONE]);
      // The coordinator has answered, and the answer is on its way while the transaction ends.
      const { peers } = cluster.at(0).services.cluster;
      const call = peers.call.bind(peers) as (...of: unknown[]) => Promise<unknown>;
      t.mock.method(peers, "call", async (...of: unknown[]) => {
        const answer = await call(...of);
        await new Promise<void>((resolve) => void cluster.scheduler.schedule(2_000, resolve));
        return answer;
      });
      const late = producer.write([mine], "late");
      await cluster.pass(500);
      assert.equal((await cluster.run(producer.end(false))).errorCode, NONE);
      await cluster.pass(1_000);
      const [code] = await cluster.run(late);
      assert.equal(code, speech === "new" ? ErrorCode.INVALID_PRODUCER_EPOCH : ErrorCode.NOT_ENOUGH_REPLICAS);
      assert.equal(await isSettled(cluster, [mine]), true);
    });
  }

  test("lets the producer come again while the coordinator does not answer", async (t) => {
    const { cluster, all } = await started(t);
    const [mine] = all.filter((each) => ownerOf(cluster, each) === 0) as [Place];
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    cluster.memberAt(1).process.pause();
    assert.deepEqual(await cluster.run(producer.write([mine], "x")), [ErrorCode.NOT_ENOUGH_REPLICAS]);
  });
});

/** Written past every coordinator. */
async function strand(cluster: SimulatedCluster, where: Place, producer: Producer): Promise<void> {
  const { partitions, topics, wal } = cluster.at(ownerOf(cluster, where)).services;
  const id = topics.idOf(where.topic);
  const log = id === undefined ? undefined : partitions.get(id, where.partition);
  assert.ok(log !== undefined);
  const session = partitions.begin();
  const fields = { ...producer, baseSequence: 0, isTransactional: true };
  log.append(session, BatchView.at(buildBatch([{ value: "x", timestamp: 1 }], fields)), 1);
  await cluster.run(wal.whenDurable(session.commit()));
}

describe("a marker of somebody who is no broker of the cluster", () => {
  const marked = async (cluster: SimulatedCluster, at: Place, producer: Producer, commits: boolean) => {
    const marker = {
      ...producer,
      transactionResult: commits,
      topics: [{ name: at.topic, partitionIndexes: [at.partition] }],
      coordinatorEpoch: 1_000,
      transactionVersion: 0,
    };
    const { markers } = await cluster.ask(ownerOf(cluster, at), WriteTxnMarkers, { markers: [marker] });
    return markers[0]?.topics[0]?.partitions[0]?.errorCode;
  };

  test("is refused where a coordinator knows of the transaction, wherever that is, and never commits", async (t) => {
    const { cluster, all } = await started(t);
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    await cluster.run(producer.write(all, "a"));
    for (const each of all) {
      for (const commits of [true, false]) {
        const code = await marked(cluster, each, producer.now as Producer, commits);
        assert.equal(code, ErrorCode.CLUSTER_AUTHORIZATION_FAILED);
      }
    }
    await cluster.run(producer.end(true));
    assert.deepEqual(await valuesOf(cluster, all), [["a"], ["a"], ["a"]]);
  });

  test("is what an operator's search for hanging transactions ends in, and tells who has the others", async (t) => {
    const { cluster, all } = await started(t);
    const id = named(1, (name) => coordinatorOf(cluster, name));
    const producer = new ClusterProducer(cluster, "new", id);
    await cluster.run(producer.init());
    await cluster.run(producer.write(all, "a"));
    const admin = cluster.client().admin();
    const wanted = all.map(({ partition }) => ({ topic, partition }));
    assert.deepEqual(await cluster.run(admin.findHangingTransactions(wanted, { idleMs: 0 })), []);
    const [described] = await cluster.run(admin.describeProducers(wanted));
    assert.ok(described !== undefined);
    await assert.rejects(
      cluster.run(admin.abortTransaction(described)),
      /a coordinator looks after the transaction; abort it by its transactional id/,
    );
    const stranger = { producerId: producerId(4_711), producerEpoch: producerEpoch(3) };
    await strand(cluster, all[2] as Place, stranger);
    const [hanging, ...others] = await cluster.run(admin.findHangingTransactions(wanted, { idleMs: 0 }));
    assert.ok(hanging !== undefined && others.length === 0);
    assert.equal(hanging.producerId, stranger.producerId);
    await cluster.run(admin.abortTransaction(hanging));
    assert.deepEqual(await cluster.run(admin.findHangingTransactions(wanted, { idleMs: 0 })), []);
    await cluster.run(producer.end(true));
    assert.deepEqual(await valuesOf(cluster, all), [["a"], ["a"], ["a"]]);
  });

  test("aborts what hangs, and only while every coordinator can be asked", async (t) => {
    const { cluster, all } = await started(t);
    const [mine] = all.filter((each) => ownerOf(cluster, each) === 0) as [Place];
    // As if damage had taken what its coordinator knew.
    const stranger = { producerId: producerId(4_711), producerEpoch: producerEpoch(3) };
    await strand(cluster, mine, stranger);
    assert.equal(await isSettled(cluster, [mine]), false);
    assert.equal(await marked(cluster, mine, stranger, true), ErrorCode.CLUSTER_AUTHORIZATION_FAILED);
    assert.equal(await marked(cluster, mine, stranger, false), NONE);
    assert.equal(await isSettled(cluster, [mine]), true);
    const other = { ...stranger, producerId: producerId(4_712) };
    cluster.memberAt(2).process.pause();
    assert.equal(await marked(cluster, mine, other, false), ErrorCode.CLUSTER_AUTHORIZATION_FAILED);
  });
});
