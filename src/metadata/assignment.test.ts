import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { aBroker, aTopicId } from "../../test/proof/journal-world.ts";
import {
  type BrokerEpoch,
  brokerEpoch,
  nodeId,
  partitionIndex,
  partitionKey,
  walPosition,
} from "../base/ids.ts";
import { applySlot } from "./apply.ts";
import { assignDead, assignTopic, type PlannedMove, planMoves } from "./assignment.ts";
import type { Command } from "./commands.ts";
import { ClusterImage } from "./image.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";
import { type ClusterState, NO_BROKER, NO_NODE, type TopicState } from "./state.ts";

/** Brokers have the epochs 1, 2, …, and node ids equal to them. */
class Cluster {
  image = new ClusterImage();
  #lists = 0;

  constructor(brokers: number) {
    this.#slot(NO_BROKER, { kind: "init", clusterId: "c", level: 2, walKind: 1, chapterSlots: 1024 }, 0);
    for (let count = 0; count < brokers; count++) this.join();
  }

  join(): BrokerEpoch {
    const command: Command = {
      kind: "register",
      ...aBroker,
      nonce: "",
      levelMax: 2,
      name: null,
      nodeId: NO_NODE,
    };
    this.#slot(NO_BROKER, command, 0);
    return brokerEpoch(this.image.nextSlot - 1);
  }

  #slot(author: BrokerEpoch, command: Command, list = ++this.#lists): string {
    const [outcome] = applySlot(this.image, { author, list, commands: [command] }, new Uint8Array(32));
    return outcome?.kind ?? "";
  }

  give(author: BrokerEpoch, command: Command): string {
    return this.#slot(author, command);
  }

  get live(): ReadonlySet<BrokerEpoch> {
    return new Set(
      [...this.image.brokers.values()].filter(({ status }) => status === "live").map(({ epoch }) => epoch),
    );
  }

  /** A topic whose partitions have these owners; without: those that are planned. */
  topic(number: number, partitionCount: number, owners: readonly BrokerEpoch[] | null = null): void {
    const [author] = this.live;
    const id = aTopicId(number);
    const planned = assignTopic(this.image, this.live, id, 0, partitionCount);
    const exceptions = (owners ?? []).map((owner, at) => ({
      topicId: id,
      partition: partitionIndex(at),
      owner,
    }));
    const assignment = owners === null ? planned : { owner: brokerEpoch(1), exceptions };
    const topic = { id, name: `topic-${number}`, partitionCount, assignment, configs: [] };
    assert.equal(this.give(author as BrokerEpoch, { kind: "topic", ...topic }), "applied");
  }

  prefer(topic: number, partition: number, id: number): void {
    const place = { topicId: aTopicId(topic), partition: partitionIndex(partition) };
    const [author] = this.live;
    this.give(author as BrokerEpoch, { kind: "prefer", ...place, nodeId: nodeId(id) });
  }

  drain(epoch: BrokerEpoch): void {
    this.give(epoch, { kind: "drain", epoch });
  }

  die(epoch: BrokerEpoch): void {
    const others = new Set(this.live);
    others.delete(epoch);
    const [author] = others;
    this.give(author as BrokerEpoch, { kind: "fence", epoch });
    const assignment = assignDead(this.image, epoch, others);
    const rest = { end: walPosition(9), holes: [], jumped: false, hash: new Uint8Array(0) };
    const command: Command = { kind: "recover", epoch, assignment, ...rest };
    assert.equal(this.give(author as BrokerEpoch, command), "applied");
  }

  /** `view`: the state in which it was planned. */
  move(
    author: BrokerEpoch,
    { topicId, partition, to }: PlannedMove,
    view: ClusterState = this.image,
  ): boolean {
    const seen = view.topics.get(topicId)?.partitions[partition];
    assert.ok(seen !== undefined);
    const rest = { leaderEpoch: seen.leaderEpoch, to, end: walPosition(0) };
    return this.give(author, { kind: "move", topicId, partition, ...rest }) === "applied";
  }

  /** As another broker sees it, that read a snapshot. */
  copy(): ClusterState {
    return decodeSnapshot(encodeSnapshot(this.image));
  }

  /** Everybody moves until there is nothing to do, and how many moves it took. */
  settle(): number {
    for (let moves = 0; ; ) {
      const before = moves;
      for (const own of this.live) {
        for (const move of planMoves(this.image, this.live, own, 3)) if (this.move(own, move)) moves++;
      }
      if (moves === before) return moves;
      assert.ok(moves < 10_000, "it comes to an end");
    }
  }
}

function countsOf(topics: Iterable<TopicState>, epochs: Iterable<BrokerEpoch>): number[] {
  const counts = new Map([...epochs].map((epoch) => [epoch, 0]));
  for (const { partitions } of topics)
    for (const { owner } of partitions) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return [...counts.values()];
}

const spread = (counts: readonly number[]): number => Math.max(...counts) - Math.min(...counts);

/** Within one partition, per topic and in all, over these brokers. */
function assertEven(state: ClusterState, epochs: ReadonlySet<BrokerEpoch>): void {
  for (const topic of state.topics.values()) assert.ok(spread(countsOf([topic], epochs)) <= 1, topic.name);
  assert.ok(spread(countsOf(state.topics.values(), epochs)) <= 1, "in all");
}

const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 });
const brokerCount = fc.integer({ min: 1, max: 6 });
/** Anything: topics whose partitions lie anywhere. */
const anywhere = fc
  .record({
    brokers: fc.integer({ min: 2, max: 6 }),
    owners: fc.array(fc.array(fc.nat(), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 }),
  })
  .map(({ brokers, owners }) => {
    const cluster = new Cluster(brokers);
    owners.forEach((row, number) =>
      cluster.topic(
        number,
        row.length,
        row.map((owner) => brokerEpoch(1 + (owner % brokers))),
      ),
    );
    return cluster;
  });

describe("the assignment of new topics", () => {
  it("is even per topic and in all, also when a topic grows", () => {
    fc.assert(
      fc.property(brokerCount, sizes, (brokers, counts) => {
        const cluster = new Cluster(brokers);
        counts.forEach((count, number) => {
          cluster.topic(number, count);
          assertEven(cluster.image, cluster.live);
        });
        const [first] = cluster.live;
        const id = aTopicId(0);
        const from = counts[0] as number;
        const assignment = assignTopic(cluster.image, cluster.live, id, from, 5);
        cluster.give(first as BrokerEpoch, { kind: "partitions", id, partitionCount: from + 5, assignment });
        const grown = cluster.image.topics.get(id) as TopicState;
        assert.ok(spread(countsOf([grown], cluster.live)) <= 1);
        cluster.settle();
        assertEven(cluster.image, cluster.live);
      }),
    );
  });

  it("names brokers that answer and do not drain only, and one that drains when there is no other", () => {
    const cluster = new Cluster(3);
    cluster.drain(brokerEpoch(1));
    const ownersOf = (answering: readonly number[]) => {
      const epochs = new Set(answering.map(brokerEpoch));
      const { owner, exceptions } = assignTopic(cluster.image, epochs, aTopicId(1), 0, 9);
      return new Set([owner, ...exceptions.map((each) => each.owner)]);
    };
    assert.deepEqual(ownersOf([1, 2, 3]), new Set([2, 3]));
    assert.deepEqual(ownersOf([1, 2]), new Set([2]));
    assert.deepEqual(ownersOf([1]), new Set([1]));
    assert.deepEqual(ownersOf([2, 77]), new Set([2]));
  });

  it("spreads topics of one partition that are made at one moment", () => {
    const cluster = new Cluster(3);
    const owners = Array.from({ length: 60 }, (_, number) => {
      return assignTopic(cluster.image, cluster.live, aTopicId(number), 0, 1).owner;
    });
    assert.equal(new Set(owners).size, 3);
  });
});

describe("what a dead broker owned", () => {
  it("goes to the others, evenly per topic, and nothing else changes hands", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 6 }), sizes, (brokers, counts) => {
        const cluster = new Cluster(brokers);
        counts.forEach((count, number) => cluster.topic(number, count));
        const before = cluster.copy();
        cluster.die(brokerEpoch(2));
        for (const topic of cluster.image.topics.values()) {
          assert.ok(spread(countsOf([topic], cluster.live)) <= 1);
          for (const { index, owner } of topic.partitions) {
            const former = before.topics.get(topic.id)?.partitions[index]?.owner;
            assert.equal(owner === former, former !== brokerEpoch(2));
          }
        }
        cluster.settle();
        assertEven(cluster.image, cluster.live);
      }),
    );
  });

  it("goes where it is preferred, unless that is the dead one", () => {
    const cluster = new Cluster(3);
    cluster.topic(1, 6);
    for (let partition = 0; partition < 6; partition++) cluster.prefer(1, partition, 1);
    cluster.settle();
    cluster.prefer(1, 0, 2);
    cluster.prefer(1, 1, 3);
    cluster.die(brokerEpoch(1));
    const owners = cluster.image.topics.get(aTopicId(1))?.partitions.map(({ owner }) => owner);
    assert.deepEqual(owners?.slice(0, 2), [2, 3]);
    assert.equal(spread(countsOf(cluster.image.topics.values(), cluster.live)), 0);
  });
});

describe("planned moves", () => {
  it("make everything even from anywhere, and then there are none", () => {
    fc.assert(
      fc.property(anywhere, (cluster) => {
        cluster.settle();
        assertEven(cluster.image, cluster.live);
      }),
    );
  });

  it("are the same for everybody, whatever way the state came about", () => {
    fc.assert(
      fc.property(anywhere, (cluster) => {
        const copy = cluster.copy();
        for (const own of cluster.live) {
          const plan = (state: ClusterState) => planMoves(state, cluster.live, own, 100);
          assert.deepEqual(plan(cluster.image), plan(copy));
        }
      }),
    );
  });

  it("give a new broker its share, and move hardly anything else", () => {
    fc.assert(
      fc.property(brokerCount, sizes, (brokers, counts) => {
        const cluster = new Cluster(brokers);
        counts.forEach((count, number) => cluster.topic(number, count));
        cluster.settle();
        cluster.join();
        const moves = cluster.settle();
        assertEven(cluster.image, cluster.live);
        const [share] = countsOf(cluster.image.topics.values(), cluster.live).slice(-1);
        assert.ok(moves <= (share as number) + 1, `${moves} moves for a share of ${share}`);
      }),
    );
  });

  it("from old views, done in part, and at once by all, come to rest, and no partition goes back and forth", () => {
    const choices = fc.infiniteStream(fc.nat());
    fc.assert(
      fc.property(anywhere, choices, (cluster, choice) => {
        const next = (below: number): number => (choice.next().value as number) % below;
        const views = [cluster.copy()];
        const moved = new Map<string, number>();
        let quiet = 0;
        for (let round = 0; quiet < 8; round++) {
          assert.ok(round < 400, "it comes to rest");
          let moves = 0;
          for (const own of cluster.live) {
            const view = views[Math.max(0, views.length - 1 - next(3))] as ClusterState;
            for (const move of planMoves(view, cluster.live, own, 1 + next(4))) {
              if (next(3) === 0 || !cluster.move(own, move, view)) continue;
              const key = partitionKey(move.topicId, move.partition);
              moved.set(key, (moved.get(key) ?? 0) + 1);
              moves++;
            }
          }
          views.push(cluster.copy());
          quiet = moves === 0 ? quiet + 1 : 0;
        }
        cluster.settle();
        assertEven(cluster.image, cluster.live);
        assert.ok(
          Math.max(0, ...moved.values()) <= 3,
          `a partition was moved ${Math.max(...moved.values())} times`,
        );
      }),
      { numRuns: 200 },
    );
  });

  it("empty a broker that drains, and disturb nobody else meanwhile", () => {
    fc.assert(
      fc.property(anywhere, (cluster) => {
        cluster.settle();
        const leaving = brokerEpoch(1);
        cluster.drain(leaving);
        const owned = countsOf(cluster.image.topics.values(), cluster.live)[0];
        for (const own of cluster.live) {
          if (own !== leaving && (owned as number) > 0)
            assert.deepEqual(planMoves(cluster.image, cluster.live, own, 9), []);
        }
        const moves = planMoves(cluster.image, cluster.live, leaving, 1_000);
        assert.equal(moves.length, owned);
        for (const move of moves) assert.ok(cluster.move(leaving, move));
        cluster.settle();
        const staying = new Set(cluster.live);
        staying.delete(leaving);
        assert.equal(countsOf(cluster.image.topics.values(), cluster.live)[0], 0);
        assertEven(cluster.image, staying);
      }),
    );
  });

  it("give preferred owners what is theirs, keep it there, and even out the rest", () => {
    const wishes = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { maxLength: 12 });
    fc.assert(
      fc.property(anywhere, wishes, (cluster, wanted) => {
        const brokers = cluster.live.size;
        for (const [topic, partition, node] of wanted)
          cluster.prefer(topic % 8, partition % 12, 1 + (node % brokers));
        cluster.settle();
        for (const { partitions } of cluster.image.topics.values()) {
          for (const { preferred, owner } of partitions)
            if (preferred !== null) assert.equal(owner, preferred);
        }
        const pinned = [...cluster.image.topics.values()].flatMap(({ partitions }) =>
          partitions.filter(({ preferred }) => preferred !== null),
        );
        if (pinned.length === 0) assertEven(cluster.image, cluster.live);
      }),
    );
  });

  it("neither take from nor give to a broker that does not answer", () => {
    const cluster = new Cluster(3);
    cluster.topic(1, 9, Array<BrokerEpoch>(9).fill(brokerEpoch(1)));
    const answering = new Set([brokerEpoch(1), brokerEpoch(2)]);
    const moves = planMoves(cluster.image, answering, brokerEpoch(1), 100);
    assert.deepEqual(new Set(moves.map(({ to }) => to)), new Set([2]));
    assert.equal(moves.length, 4);
    assert.deepEqual(planMoves(cluster.image, new Set([brokerEpoch(2)]), brokerEpoch(1), 100), []);
    assert.equal(planMoves(cluster.image, answering, brokerEpoch(1), 2).length, 2);
  });

  it("are none when everybody drains", () => {
    const cluster = new Cluster(2);
    cluster.topic(1, 4, Array<BrokerEpoch>(4).fill(brokerEpoch(1)));
    for (const epoch of cluster.live) cluster.drain(epoch);
    assert.deepEqual(planMoves(cluster.image, cluster.live, brokerEpoch(1), 9), []);
  });
});

it("a plan over thousands of partitions ends when the planner has enough to do", () => {
  const cluster = new Cluster(4);
  for (let number = 0; number < 500; number++) cluster.topic(number, 10);
  const joined = cluster.join();
  const moves = planMoves(cluster.image, cluster.live, brokerEpoch(1), 10);
  assert.equal(moves.length, 10);
  assert.ok(moves.every(({ to }) => to === joined));
});
