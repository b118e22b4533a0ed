/**
 * What brokers tell is never older than what was acknowledged before they were asked (F10), whoever is asked, while
 * brokers stand still, are replaced, go on, are killed, and partitions go to and fro. `SEEDS=200` tries so many.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { leaderEpoch, NO_TOPIC_ID, nodeId, offset, partitionIndex } from "../../base/ids.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AlterPartitionReassignments } from "../../protocol/messages/alter-partition-reassignments.ts";
import { Fetch } from "../../protocol/messages/fetch.ts";
import { ListedOffset, ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";
import { SimClient } from "../../sim/client.ts";
import type { SimRandom } from "../../sim/random.ts";

const places = [0, 1, 2];
const firstPort = 9092;
const zero = partitionIndex(0);
const noEpoch = leaderEpoch(-1);
const seeds = Number(process.env["SEEDS"] ?? 2);
const first = Number(process.env["SEED"] ?? 1);
/** Of the world, per seed. */
const lengthMs = 40_000;
/** Of one prober at a time, to one broker. */
const questionsMax = 100;

const listed = {
  replicaId: nodeId(-1),
  isolationLevel: 0,
  timeoutMs: 1_000,
  topics: [
    {
      name: "orders",
      partitions: [{ partitionIndex: zero, currentLeaderEpoch: noEpoch, timestamp: ListedOffset.latest }],
    },
  ],
};
const produced = () => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 1_000,
  topicData: [
    {
      name: "orders",
      topicId: NO_TOPIC_ID,
      partitionData: [{ index: zero, records: [buildBatch([{ value: "x", timestamp: 1 }], {})] }],
    },
  ],
});
const wantedOffset = {
  groupId: "g",
  topics: [{ name: "orders", partitionIndexes: [zero] }],
  groups: [],
  requireStable: false,
};
const committed = (at: number) => ({
  groupId: "g",
  generationIdOrMemberEpoch: -1,
  memberId: "",
  groupInstanceId: null,
  retentionTimeMs: -1,
  topics: [
    {
      name: "orders",
      topicId: NO_TOPIC_ID,
      partitions: [
        {
          partitionIndex: zero,
          committedOffset: offset(at),
          committedLeaderEpoch: noEpoch,
          committedMetadata: null,
        },
      ],
    },
  ],
});
const fetched = (from: number, lastFetchedEpoch: number) => ({
  clusterId: null,
  replicaId: nodeId(-1),
  replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
  maxWaitMs: 0,
  minBytes: 1,
  maxBytes: 1_000,
  isolationLevel: 0,
  sessionId: 0,
  sessionEpoch: -1,
  topics: [
    {
      topic: "orders",
      topicId: NO_TOPIC_ID,
      partitions: [
        {
          partition: zero,
          currentLeaderEpoch: noEpoch,
          fetchOffset: offset(from),
          lastFetchedEpoch: leaderEpoch(lastFetchedEpoch),
          logStartOffset: offset(-1),
          partitionMaxBytes: 1_000,
          replicaDirectoryId: NO_TOPIC_ID,
          highWatermark: 0n,
        },
      ],
    },
  ],
  forgottenTopicsData: [],
  rackId: "",
});

class Story {
  readonly cluster: SimulatedCluster;
  readonly random: SimRandom;
  readonly violations: string[] = [];
  /** How often each question was answered with something that could have been wrong. */
  readonly answers = new Map<string, number>();
  ackedEnd = 0;
  ackedCommit = -1;
  isOver = false;
  readonly #clients = new Map<string, SimClient>();

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster;
    this.random = cluster.random.fork("story");
  }

  nap(ms: number): Promise<void> {
    return new Promise((resolve) => this.cluster.scheduler.schedule(ms, () => resolve()));
  }

  /** Over the connection that `who` keeps to a broker. Null: it has none, or got no answer. */
  async ask<Req, Res>(who: string, place: number, api: Api<Req, Res>, version: number, request: Req) {
    const key = `${who} ${place}`;
    let client = this.#clients.get(key);
    if (client === undefined || client.closed) {
      const made = SimClient.connect(this.cluster.network, firstPort + place, who);
      if (made === null) return null;
      this.#clients.set(key, (client = made));
    }
    return client.call(api, version, request).catch(() => null);
  }

  note(what: string, isTrue: boolean, told: unknown): void {
    this.answers.set(what, (this.answers.get(what) ?? 0) + 1);
    if (!isTrue) this.violations.push(`${what}: ${JSON.stringify(told)} at ${this.cluster.scheduler.nowMs}`);
  }

  /** As `ask`, by somebody who goes elsewhere when a broker stands still. */
  async askSoon<Req, Res>(who: string, place: number, api: Api<Req, Res>, version: number, request: Req) {
    return Promise.race([this.ask(who, place, api, version, request), this.nap(500).then(() => null)]);
  }

  async write(): Promise<void> {
    while (!this.isOver) {
      const told = await this.askSoon("writer", this.#place(), Produce, 12, produced());
      const partition = told?.responses[0]?.partitionResponses[0];
      if (partition?.errorCode === ErrorCode.NONE)
        this.ackedEnd = Math.max(this.ackedEnd, partition.baseOffset + 1);
      await this.nap(this.random.u32() % 50);
    }
  }

  async commit(): Promise<void> {
    for (let at = 0; !this.isOver; at++) {
      const told = await this.askSoon("committer", this.#place(), OffsetCommit, 9, committed(at));
      if (told?.topics[0]?.partitions[0]?.errorCode === ErrorCode.NONE) this.ackedCommit = at;
      await this.nap(this.random.u32() % 50);
    }
  }

  #place(): number {
    return this.random.u32() % places.length;
  }

  /** Asks on, whether it is answered or not: what is asked last of a broker that stands still matters most. */
  async probe(place: number): Promise<void> {
    let open = 0;
    while (!this.isOver) {
      await this.nap(100 + (this.random.u32() % 200));
      if (open >= questionsMax) continue;
      open++;
      void this.question(place).finally(() => open--);
    }
  }

  async question(place: number): Promise<void> {
    const { ackedEnd, ackedCommit } = this;
    const claimed = this.random.u32() % 2 === 0 ? -1 : 0;
    const [latest, found, read] = await Promise.all([
      this.ask("end", place, ListOffsets, 10, listed),
      this.ask("group", place, OffsetFetch, 7, wantedOffset),
      this.ask("reader", place, Fetch, 12, fetched(ackedEnd, claimed)),
    ]);
    const end = latest?.topics[0]?.partitions[0];
    if (end?.errorCode === ErrorCode.NONE)
      this.note("latest", end.offset >= ackedEnd, [end.offset, ackedEnd]);
    const group = found?.topics[0]?.partitions[0];
    if (found?.errorCode === ErrorCode.NONE && group?.errorCode === ErrorCode.NONE) {
      const { committedOffset } = group;
      this.note("committed", committedOffset >= ackedCommit, [committedOffset, ackedCommit]);
    }
    const records = read?.responses[0]?.partitions[0];
    const isOut = records?.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE;
    if (records?.errorCode === ErrorCode.NONE || isOut) this.note("range", !isOut, [ackedEnd, claimed]);
  }

  /** Stops, kills, and moves. */
  async trouble(): Promise<void> {
    const { cluster, random } = this;
    while (!this.isOver) {
      await this.nap(1_000 + (random.u32() % 3_000));
      const place = random.u32() % places.length;
      switch (random.u32() % 4) {
        case 0:
        case 1: {
          const topic = random.u32() % 2 === 0 ? "orders" : "__consumer_offsets";
          const owner = cluster.ownerOf(topic, 0, place) ?? place;
          const { process } = cluster.memberAt(owner);
          process.pause();
          await this.nap(500 + (random.u32() % 8_000));
          process.resume();
          await this.nap(500);
          if (process.isDead) await cluster.bootLater(owner);
          break;
        }
        case 2:
          cluster.kill(place);
          await this.nap(random.u32() % 5_000);
          await cluster.bootLater(place);
          break;
        default: {
          const to = cluster.at(random.u32() % places.length).services.nodeId;
          const partitions = [{ partitionIndex: zero, replicas: [to] }];
          const topics = ["orders", "__consumer_offsets"].map((name) => ({ name, partitions }));
          const wish = { timeoutMs: 1_000, allowReplicationFactorChange: true, topics };
          await Promise.race([
            this.ask("admin", place, AlterPartitionReassignments, 1, wish),
            this.nap(2_000),
          ]);
        }
      }
    }
  }
}

for (let seed = first; seed < first + seeds; seed++) {
  test(`nothing that is told is older than what was acknowledged before the question, in world ${seed}`, async () => {
    const cluster = new SimulatedCluster({ "offsets.topic.num.partitions": "1" }, seed, {
      suspicionMs: 1_000,
    });
    await cluster.bootAll(3);
    await cluster.run(
      cluster
        .client()
        .admin()
        .createTopics([{ topic: "orders", partitions: 1 }]),
    );
    const story = new Story(cluster);
    void story.write();
    void story.commit();
    for (const place of places) void story.probe(place);
    void story.trouble();
    await cluster.pass(lengthMs);
    story.isOver = true;
    assert.deepEqual(story.violations, []);
    if (process.env["SEEDS"] !== undefined)
      console.log(seed, story.ackedEnd, story.ackedCommit, story.answers);
    for (const what of ["latest", "committed", "range"]) assert.ok((story.answers.get(what) ?? 0) > 10, what);
    cluster.close();
  });
}
