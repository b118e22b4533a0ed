/**
 * Committed offsets while brokers are killed, paused, woken, stopped and started: one writer for each group commits
 * 1, 2, 3, … wherever its coordinator is, readers ask any broker, also those that were replaced. Nobody is told
 * less than what was acknowledged before he asked, or more than what was tried.
 *
 *   HOLDFAST_RUNS=20 HOLDFAST_SEED=1 HOLDFAST_EVENTS=6 node --test src/broker/cluster/committed-offsets.test.ts
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { FindCoordinator } from "../../protocol/messages/find-coordinator.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { Disconnected, SimClient } from "../../sim/client.ts";
import type { SimRandom } from "../../sim/random.ts";
import { shardIndex } from "../shards.ts";

const places = [0, 1, 2];
const groupIds = ["a", "b", "c", "d"];
const partitions = 5;
const settings = { "offsets.topic.num.partitions": String(partitions) };
const eventsDefault = 2;

interface Group {
  readonly id: string;
  tried: number;
  acknowledged: number;
}

class Storm {
  readonly cluster: SimulatedCluster;
  readonly #random: SimRandom;
  readonly groups: readonly Group[] = groupIds.map((id) => ({ id, tried: 0, acknowledged: 0 }));
  readonly #connections = new Map<string, SimClient>();
  readonly wrong: string[] = [];
  reads = 0;
  commits = 0;
  #over = false;

  constructor(seed: number) {
    this.cluster = new SimulatedCluster(settings, seed);
    this.#random = this.cluster.random.fork("storm");
  }

  async run(events: number): Promise<void> {
    const { cluster } = this;
    await cluster.bootAll(3);
    await cluster.run(
      cluster
        .client()
        .admin()
        .createTopics([{ topic: "t", partitions: 1 }]),
    );
    const actors = this.groups.flatMap((group) => [this.#write(group), this.#read(group), this.#read(group)]);
    for (let event = 0; event < events; event++) {
      const disturbed = [this.#coordinator()];
      if (this.#random.chance(0.2)) disturbed.push(this.#random.pick(places));
      for (const place of disturbed) await this.#disturb(place);
      await cluster.pass(this.#random.between(500, 20_000));
      for (const place of places) await this.#comeBack(place);
      await cluster.pass(this.#random.between(100, 5_000));
    }
    await cluster.pass(15_000);
    this.#over = true;
    await cluster.run(Promise.all(actors));
    for (const connection of this.#connections.values()) connection.close();
  }

  /** Of some group, as some broker sees it: there it matters. */
  #coordinator(): number {
    const index = shardIndex(this.#random.pick(groupIds), partitions);
    const seenBy = places.find((place) => this.#alive(place) !== null);
    const owner = seenBy === undefined ? null : this.cluster.ownerOf("__consumer_offsets", index, seenBy);
    return owner ?? this.#random.pick(places);
  }

  async #disturb(place: number): Promise<void> {
    const { cluster } = this;
    const member = this.#alive(place);
    if (member === null) return;
    const kind = this.#random.pick(["kill", "pause", "pause", "stop"] as const);
    if (kind === "kill") cluster.kill(place);
    else if (kind === "pause") member.process.pause();
    else if (!member.process.isPaused) await cluster.stop(place);
  }

  async #comeBack(place: number): Promise<void> {
    const member = this.#alive(place);
    if (member === null) await this.cluster.boot(place);
    else if (member.process.isPaused) member.process.resume();
  }

  /** Null: there is none, or it gave up. */
  #alive(place: number) {
    try {
      const member = this.cluster.memberAt(place);
      return member.failure === null ? member : null;
    } catch {
      return null;
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.cluster.scheduler.schedule(ms, () => resolve()));
  }

  /** Each actor has a connection to each broker: an answer that does not come holds up nobody else. */
  #connection(actor: string, place: number): SimClient | null {
    const key = `${actor} ${place}`;
    const known = this.#connections.get(key);
    if (known?.closed === false) return known;
    const made = SimClient.connect(this.cluster.network, 9092 + place, actor);
    if (made !== null) this.#connections.set(key, made);
    return made;
  }

  /** Undefined: the connection ended, and nobody knows what became of it. */
  async #ask<T>(call: Promise<T>): Promise<T | undefined> {
    try {
      return await call;
    } catch (cause) {
      assert.ok(cause instanceof Disconnected);
      return undefined;
    }
  }

  /** As any broker names it; a paused one is not waited for. */
  async #coordinatorOf(group: Group, actor: string): Promise<number | null> {
    const client = this.#connection(`${actor} finds ${this.#random.u32()}`, this.#random.pick(places));
    if (client === null) return null;
    const asked = this.#ask(
      client.call(FindCoordinator, 6, { key: "", keyType: 0, coordinatorKeys: [group.id] }),
    );
    const answer = await Promise.race([asked, this.#sleep(1_000)]);
    client.close();
    const [told] = answer?.coordinators ?? [];
    return told === undefined || told.errorCode !== ErrorCode.NONE ? null : told.port - 9092;
  }

  /** Waits for every answer until somebody else looks after the group: what is merely late would take effect after what follows. */
  async #write(group: Group): Promise<void> {
    let place: number | null = null;
    // What has nothing on its way when its coordinator is paused can be answered from memory when that wakes.
    const isQuiet = group.id > "b";
    while (!this.#over) {
      await this.#sleep(this.#random.between(5, isQuiet ? 1_500 : 60));
      place ??= await this.#coordinatorOf(group, `writer-${group.id}`);
      const client = place === null ? null : this.#connection(`writer-${group.id}`, place);
      if (client === null) {
        place = null;
        continue;
      }
      const wanted = group.acknowledged + 1;
      group.tried = wanted;
      const asked = this.#ask(client.call(OffsetCommit, 9, commitRequest(group.id, wanted)));
      const answer = await Promise.race([asked, this.#whenElsewhere(group, place)]);
      const code = answer?.topics[0]?.partitions[0]?.errorCode;
      if (code === ErrorCode.NONE) {
        group.acknowledged = wanted;
        this.commits++;
      } else if (code !== ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) place = null;
    }
  }

  /** Resolves when the group's coordinator is another one for sure: then the former one decides nothing any more. */
  async #whenElsewhere(group: Group, former: number | null): Promise<undefined> {
    for (let named = former; named === former || named === null; ) {
      await this.#sleep(1_000);
      if (this.#over) return;
      named = await this.#coordinatorOf(group, `watcher-${group.id}`);
    }
    this.#connections.get(`writer-${group.id} ${former}`)?.close();
  }

  /** Asks again while an answer is late, so that who wakes up finds questions of every age. */
  async #read(group: Group): Promise<void> {
    const actor = `reader-${group.id}-${this.#random.u32()}`;
    while (!this.#over) {
      await this.#sleep(this.#random.between(5, 100));
      const named = this.#random.chance(0.5) ? await this.#coordinatorOf(group, actor) : null;
      const place = named ?? this.#random.pick(places);
      // On the same connection: a new one is heard only after what a broker that wakes does first.
      await Promise.race([this.#fetch(group, place, actor), this.#sleep(1_000)]);
    }
  }

  async #fetch(group: Group, place: number, actor: string): Promise<void> {
    const client = this.#connection(actor, place);
    if (client === null) return;
    const { acknowledged } = group;
    const answer = await this.#ask(client.call(OffsetFetch, 9, fetchRequest(group.id)));
    const told = answer?.groups[0];
    if (told === undefined || told.errorCode !== ErrorCode.NONE) return;
    const found = Math.max(0, Number(told.topics[0]?.partitions[0]?.committedOffset));
    this.reads++;
    if (found >= acknowledged && found <= group.tried) return;
    this.wrong.push(
      `broker ${place} told ${found} of ${group.id}: ${acknowledged} was acknowledged before, ${group.tried} tried`,
    );
  }
}

function commitRequest(groupId: string, at: number) {
  const committed = {
    partitionIndex: partitionIndex(0),
    committedOffset: offset(at),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: "",
  };
  return {
    groupId,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    retentionTimeMs: -1,
    topics: [{ name: "t", topicId: NO_TOPIC_ID, partitions: [committed] }],
  };
}

function fetchRequest(groupId: string) {
  const topics = [{ name: "t", topicId: NO_TOPIC_ID, partitionIndexes: [partitionIndex(0)] }];
  const groups = [{ groupId, memberId: null, memberEpoch: -1, topics }];
  return { groupId: "", topics: [], groups, requireStable: false };
}

const first = Number(process.env["HOLDFAST_SEED"] ?? 4);
const runs = Number(process.env["HOLDFAST_RUNS"] ?? 1);

for (let seed = first; seed < first + runs; seed++) {
  test(`no broker tells an older offset than was acknowledged before (seed ${seed})`, async (t) => {
    const storm = new Storm(seed);
    t.after(() => storm.cluster.close());
    await storm.run(Number(process.env["HOLDFAST_EVENTS"] ?? eventsDefault));
    assert.deepEqual(storm.wrong, []);
    assert.ok(storm.commits > 100 && storm.reads > 100, `${storm.commits} commits, ${storm.reads} reads`);
    t.diagnostic(`${storm.commits} commits, ${storm.reads} reads`);
  });
}
