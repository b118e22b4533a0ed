/** MOVE, PREFER, DRAIN, and the id that REGISTER gives. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBroker, aFlush, aFlushRow, aTopic, aTopicId } from "../../test/proof/journal-world.ts";
import {
  type BrokerEpoch,
  brokerEpoch,
  leaderEpoch,
  nodeId,
  partitionIndex,
  walPosition,
} from "../base/ids.ts";
import { applySlot } from "./apply.ts";
import { idsKeptMax } from "./brokers.ts";
import type { Command, Register } from "./commands.ts";
import { ClusterImage } from "./image.ts";
import { dependenciesMax } from "./partition.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";
import { NO_BROKER, NO_NODE, type PartitionState } from "./state.ts";

/** A cluster whose brokers are named by their epochs. Broker 1 owns topic 1. */
class Cluster {
  image = new ClusterImage();
  #lists = 0;

  constructor(level = 2) {
    this.slot(NO_BROKER, { kind: "init", clusterId: "c", level, walKind: 1, chapterSlots: 1024 }, 0);
    for (let count = 0; count < 3; count++) this.register({});
    this.give(1, aTopic(1, brokerEpoch(1)));
  }

  register(facts: Partial<Register>): BrokerEpoch {
    const epoch = brokerEpoch(this.image.nextSlot);
    const nodeId = facts.nodeId ?? NO_NODE;
    const command: Command = { kind: "register", ...aBroker, nonce: "00", levelMax: 2, name: null, ...facts };
    this.slot(NO_BROKER, { ...command, nodeId }, 0);
    return epoch;
  }

  /** The id that a broker of this name is given. */
  idOf(name: string | null, id = -1): number {
    const epoch = this.register({ name, nodeId: nodeId(id) });
    return this.image.brokers.get(epoch)?.nodeId as number;
  }

  slot(author: BrokerEpoch, command: Command, list = ++this.#lists): string {
    const content = { author, list, commands: [command] };
    const [outcome] = applySlot(this.image, content, new Uint8Array(32).fill(this.image.nextSlot));
    // Whatever happened: the state survives being written down.
    assert.deepEqual(encodeSnapshot(decodeSnapshot(encodeSnapshot(this.image))), encodeSnapshot(this.image));
    return outcome?.kind === "void" ? outcome.reason : (outcome?.kind as string);
  }

  give(author: number, command: Command): string {
    return this.slot(brokerEpoch(author), command);
  }

  move(author: number, to: number, epoch: number, end: number): string {
    return this.give(author, {
      kind: "move",
      topicId: aTopicId(1),
      partition: partitionIndex(0),
      leaderEpoch: leaderEpoch(epoch),
      to: brokerEpoch(to),
      end: walPosition(end),
    });
  }

  end(epoch: number): void {
    this.give(3, { kind: "fence", epoch: brokerEpoch(epoch) });
    const assignment = { owner: brokerEpoch(3), exceptions: [] };
    const rest = { assignment, holes: [], jumped: false, hash: new Uint8Array(0) };
    const command = { kind: "recover", epoch: brokerEpoch(epoch), end: walPosition(50), ...rest } as const;
    assert.equal(this.give(3, command), "applied");
  }

  get partition(): PartitionState {
    return this.image.topics.get(aTopicId(1))?.partitions[0] as PartitionState;
  }

  get dependencies(): readonly (readonly [epoch: number, from: number, to: number])[] {
    return this.partition.dependencies.map(({ epoch, from, to }) => [epoch, from, to]);
  }
}

describe("MOVE", () => {
  it("gives a partition to a live broker, which depends on what the former owner has not released", () => {
    const cluster = new Cluster();
    assert.equal(cluster.give(1, aFlush([aFlushRow({ from: 0, to: 10 })], 5)), "applied");
    assert.equal(cluster.move(1, 2, 0, 9), "applied");
    assert.deepEqual([cluster.partition.owner, cluster.partition.leaderEpoch], [2, 1]);
    assert.deepEqual(cluster.dependencies, [[1, 5, 9]]);
    assert.equal(cluster.image.topics.get(aTopicId(1))?.partitions[1]?.owner, 1);
  });

  it("leaves no dependency where nothing lies between", () => {
    const cluster = new Cluster();
    cluster.give(1, aFlush([aFlushRow({ from: 0, to: 10 })], 9));
    assert.equal(cluster.move(1, 2, 0, 9), "applied");
    assert.equal(cluster.move(2, 1, 1, 0), "applied");
    assert.deepEqual(cluster.dependencies, []);
  });

  it("is void from anybody but the owner of this leader epoch, to itself, and to a broker that is not live", () => {
    const cluster = new Cluster();
    assert.equal(cluster.move(2, 2, 0, 9), "not-owner");
    assert.equal(cluster.move(1, 1, 0, 9), "same-owner");
    assert.equal(cluster.move(1, 77, 0, 9), "owner-not-live");
    assert.equal(cluster.move(1, 2, 1, 9), "leader-epoch");
    assert.equal(cluster.move(1, 2, 0, 9), "applied");
    assert.equal(cluster.move(1, 3, 0, 9), "not-owner");
    cluster.end(1);
    assert.equal(cluster.move(2, 1, 1, 9), "owner-not-live");
    assert.equal(cluster.move(1, 2, 0, 9), "author-not-live");
    assert.equal(cluster.partition.owner, 2);
  });

  it("ends what the former owner prepared: its FLUSH is void and clears nothing", () => {
    const cluster = new Cluster();
    cluster.move(1, 2, 0, 9);
    assert.equal(cluster.give(1, aFlush([aFlushRow({ from: 0, to: 10 })], 9)), "not-owner");
    cluster.move(2, 1, 1, 3);
    assert.equal(cluster.give(1, aFlush([aFlushRow({ from: 0, to: 10 })], 9)), "leader-epoch");
    assert.deepEqual(cluster.dependencies, [
      [1, 0, 9],
      [2, 0, 3],
    ]);
    const current = aFlushRow({ from: 0, to: 10, leaderEpoch: 2 });
    assert.equal(cluster.give(1, aFlush([current], 9)), "applied");
    assert.deepEqual(cluster.dependencies, []);
  });

  it("there and back, and a death after it, name no part of a WAL twice", () => {
    const cluster = new Cluster();
    cluster.move(1, 2, 0, 9);
    cluster.move(2, 1, 1, 3);
    cluster.move(1, 2, 2, 20);
    cluster.move(2, 1, 3, 3);
    cluster.end(1);
    assert.equal(cluster.partition.owner, 3);
    assert.deepEqual(cluster.dependencies, [
      [1, 0, 9],
      [2, 0, 3],
      [1, 9, 20],
      [1, 20, 50],
    ]);
  });

  it("is void when the partition depends on too many WALs, until it is flushed", () => {
    const cluster = new Cluster();
    for (let count = 0; count < dependenciesMax; count++) {
      assert.equal(cluster.move(1 + (count % 2), 2 - (count % 2), count, 9 + count), "applied");
    }
    assert.equal(cluster.move(1, 2, dependenciesMax, 99), "too-many-dependencies");
    assert.equal(cluster.give(1, aFlush([aFlushRow({ from: 0, to: 1, leaderEpoch: 32 })])), "applied");
    assert.equal(cluster.move(1, 2, dependenciesMax, 99), "applied");
  });

  it("may name a broker that drains, as a new topic and a recovery may: the view was older", () => {
    const cluster = new Cluster();
    assert.equal(cluster.give(2, { kind: "drain", epoch: brokerEpoch(2) }), "applied");
    assert.equal(cluster.image.brokers.get(brokerEpoch(2))?.draining, true);
    assert.equal(cluster.move(1, 2, 0, 9), "applied");
    assert.equal(cluster.give(1, aTopic(2, brokerEpoch(2))), "applied");
    assert.equal(cluster.give(1, { kind: "drain", epoch: brokerEpoch(77) }), "epoch-not-live");
  });
});

describe("PREFER", () => {
  const prefer = (id: number, partition = 0, topic = 1): Command => ({
    kind: "prefer",
    topicId: aTopicId(topic),
    partition: partitionIndex(partition),
    nodeId: nodeId(id),
  });

  it("is remembered over moves and recoveries until it is taken back", () => {
    const cluster = new Cluster();
    assert.equal(cluster.partition.preferred, null);
    assert.equal(cluster.give(2, prefer(9)), "applied");
    cluster.move(1, 2, 0, 9);
    cluster.end(2);
    assert.equal(cluster.partition.preferred, 9);
    assert.equal(cluster.give(1, prefer(-1)), "applied");
    assert.equal(cluster.partition.preferred, null);
  });

  it("of what is not there is void", () => {
    const cluster = new Cluster();
    assert.equal(cluster.give(1, prefer(1, 0, 7)), "unknown-topic");
    assert.equal(cluster.give(1, prefer(1, 9)), "unknown-partition");
    assert.equal(cluster.give(1, prefer(-2)), "node-id");
  });
});

describe("a node id", () => {
  it("that is given is kept, else it is the smallest that nobody has", () => {
    const cluster = new Cluster();
    assert.deepEqual(
      [...cluster.image.brokers.values()].map(({ nodeId }) => nodeId),
      [1, 2, 3],
    );
    assert.equal(cluster.idOf("a", 5), 5);
    assert.equal(cluster.idOf("b"), 4);
    assert.equal(cluster.idOf("c"), 6);
  });

  it("is the one that the name had before, also when its former life is not over yet", () => {
    const cluster = new Cluster();
    assert.equal(cluster.idOf("b", 40), 40);
    assert.equal(cluster.idOf("b"), 40);
    const last = Math.max(...cluster.image.brokers.keys());
    cluster.end(last);
    assert.equal(cluster.idOf("b"), 40);
    assert.equal(cluster.idOf("a"), 4);
  });

  it("is given again when its name has not been seen for long, so that ids stay small where names change", () => {
    const cluster = new Cluster();
    const ids = Array.from({ length: 100 }, (_, start) => {
      const id = cluster.idOf(`pod-${start}`);
      cluster.end(Math.max(...cluster.image.brokers.keys()));
      return id;
    });
    assert.equal(Math.max(...ids), 3 + idsKeptMax + 1);
    assert.equal(cluster.idOf("pod-99"), ids[99]);
  });

  it("that a live broker of another name was told to have meanwhile is not given", () => {
    const cluster = new Cluster();
    assert.equal(cluster.idOf("b"), 4);
    assert.equal(cluster.idOf("a", 4), 4);
    assert.equal(cluster.idOf("b"), 5);
  });
});

it("what format level 2 brought is void below it", () => {
  const cluster = new Cluster(1);
  assert.equal(cluster.move(1, 2, 0, 9), "level");
  assert.equal(cluster.give(1, { kind: "drain", epoch: brokerEpoch(2) }), "level");
  assert.equal(cluster.give(1, { kind: "level", level: 2 }), "applied");
  assert.equal(cluster.move(1, 2, 0, 9), "applied");
});
