import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  aBroker,
  aFlush,
  aFlushRow,
  aSegment,
  aTopic,
  aTopicId,
  at,
} from "../../test/proof/journal-world.ts";
import { type BrokerEpoch, brokerEpoch, leaderEpoch, partitionIndex, walPosition } from "../base/ids.ts";
import { applySlot } from "./apply.ts";
import type { Command } from "./commands.ts";
import { ClusterImage } from "./image.ts";
import type { CommandOutcome } from "./outcomes.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";
import { NO_BROKER, type PartitionState } from "./state.ts";

const init: Command = { kind: "init", clusterId: "c", level: 2, walKind: 0, chapterSlots: 1024 };
const register: Command = { kind: "register", ...aBroker, nonce: "00", levelMax: 2, name: null };

/** A cluster with live brokers 1, 2 and 3, and lists numbered by themselves. */
class Cluster {
  image = new ClusterImage();
  #lists = 0;

  constructor() {
    this.slot(NO_BROKER, [init], 0);
    for (let count = 0; count < 3; count++) this.slot(NO_BROKER, [register], 0);
  }

  slot(author: BrokerEpoch, commands: readonly Command[], list = ++this.#lists): readonly CommandOutcome[] {
    return applySlot(this.image, { author, list, commands }, new Uint8Array(32).fill(this.image.nextSlot));
  }

  /** "applied", or why not. */
  give(author: number, command: Command): string {
    const [outcome] = this.slot(brokerEpoch(author), [command]);
    return outcome?.kind === "void" ? outcome.reason : (outcome?.kind as string);
  }

  get partition(): PartitionState {
    return this.image.topics.get(aTopicId(1))?.partitions[0] as PartitionState;
  }
}

const aRecovery = (epoch: number, end: number, owner: number): Command => ({
  kind: "recover",
  epoch: brokerEpoch(epoch),
  end: walPosition(end),
  assignment: { owner: brokerEpoch(owner), exceptions: [] },
  holes: [],
  jumped: false,
  hash: new Uint8Array(0),
});
const aFence = (epoch: number): Command => ({ kind: "fence", epoch: brokerEpoch(epoch) });
const aTrim = (start: number, footer: ReturnType<typeof aSegment> | null = null): Command => ({
  kind: "trim",
  topicId: aTopicId(1),
  partition: partitionIndex(0),
  leaderEpoch: leaderEpoch(0),
  start: at(start),
  footer,
});
const aPointer = (first: number, end: number) => ({
  object: `seg/1/${end}`,
  bytes: 10,
  checksum: end,
  first: at(first),
  end: at(end),
  segmentBytes: 10,
  segmentCount: 1,
});
const aFold = (
  previous: ReturnType<typeof aPointer> | null,
  next: ReturnType<typeof aPointer> | null,
): Command => ({
  kind: "fold",
  topicId: aTopicId(1),
  partition: partitionIndex(0),
  leaderEpoch: leaderEpoch(0),
  previous,
  next,
});

/** Broker 1 owns topic 1 with segments [0, 10), [10, 20), … */
function aFlushedCluster(segments: number): Cluster {
  const cluster = new Cluster();
  assert.equal(cluster.give(1, aTopic(1, brokerEpoch(1))), "applied");
  for (let count = 0; count < segments; count++) {
    const row = aFlushRow({ from: count * 10, to: count * 10 + 10 });
    assert.equal(cluster.give(1, aFlush([row], count)), "applied");
  }
  return cluster;
}

describe("a command of the journal", () => {
  it("is void from an author that is fenced, sealed, or never was", () => {
    const cluster = new Cluster();
    assert.equal(cluster.give(1, aFence(2)), "applied");
    assert.equal(cluster.give(2, aTopic(1, brokerEpoch(1))), "author-not-live");
    assert.equal(cluster.give(1, aFence(2)), "epoch-not-live");
    assert.equal(cluster.give(1, aRecovery(2, 0, 1)), "applied");
    assert.equal(cluster.give(2, aTopic(1, brokerEpoch(1))), "author-not-live");
    assert.equal(cluster.give(77, aTopic(1, brokerEpoch(1))), "author-not-live");
  });

  it("is judged by itself, in the order of its list", () => {
    const cluster = new Cluster();
    const kinds = cluster
      .slot(brokerEpoch(1), [
        aTopic(1, brokerEpoch(1)),
        aTopic(1, brokerEpoch(1)),
        aFence(1),
        aTopic(2, brokerEpoch(2)),
      ])
      .map((outcome) => (outcome.kind === "void" ? outcome.reason : "applied"));
    assert.deepEqual(kinds, ["applied", "name-taken", "applied", "author-not-live"]);
  });

  it("has effect once, even when its list stands in two slots", () => {
    const cluster = new Cluster();
    const list = [{ kind: "producers", count: 1000 } as const];
    assert.equal(cluster.slot(brokerEpoch(1), list, 5)[0]?.kind, "applied");
    assert.deepEqual(cluster.slot(brokerEpoch(1), list, 5), [{ kind: "void", reason: "judged-before" }]);
    assert.equal(cluster.image.nextProducerId, 1000);
  });

  it("begins a cluster in slot 0 only, and registers alone only", () => {
    const cluster = new Cluster();
    const misplaced = [{ kind: "void", reason: "misplaced" }];
    assert.deepEqual(cluster.slot(NO_BROKER, [{ ...init, clusterId: "d" }], 0), misplaced);
    assert.deepEqual(cluster.slot(brokerEpoch(1), [register]), misplaced);
    assert.equal(cluster.image.clusterId, "c");
    assert.equal(cluster.image.brokers.size, 3);
  });
});

describe("FENCE and RECOVER", () => {
  it("hand a dead broker's partitions on with what its WAL still holds", () => {
    const cluster = aFlushedCluster(3);
    assert.equal(cluster.give(2, aRecovery(1, 9, 2)), "epoch-not-fenced");
    cluster.give(2, aFence(1));
    assert.equal(cluster.give(2, aRecovery(1, 1, 2)), "below-released");
    assert.equal(cluster.give(2, aRecovery(1, 9, 1)), "owner-not-live");
    assert.equal(cluster.give(2, aRecovery(1, 9, 3)), "applied");
    assert.equal(cluster.give(2, aRecovery(1, 9, 2)), "epoch-not-fenced");
    const { owner, leaderEpoch: epoch, dependencies } = cluster.partition;
    assert.deepEqual(
      { owner, epoch, dependencies },
      { owner: 3, epoch: 1, dependencies: [{ epoch: 1, from: 2, to: 9 }] },
    );
    assert.equal(cluster.image.brokers.get(brokerEpoch(1))?.end, 9);
  });

  it("give exceptions to their own owners", () => {
    const cluster = aFlushedCluster(0);
    cluster.give(2, aFence(1));
    const exceptions = [{ topicId: aTopicId(1), partition: partitionIndex(1), owner: brokerEpoch(3) }];
    const command = aRecovery(1, 9, 2) as Extract<Command, { kind: "recover" }>;
    cluster.give(2, { ...command, assignment: { owner: brokerEpoch(2), exceptions } });
    assert.deepEqual(
      cluster.image.topics.get(aTopicId(1))?.partitions.map(({ owner }) => owner),
      [2, 3],
    );
  });

  it("let dependencies pile up over deaths without a flush, and a flush clears them all", () => {
    const cluster = aFlushedCluster(1);
    cluster.give(2, aFence(1));
    cluster.give(2, aRecovery(1, 5, 2));
    cluster.give(3, aFence(2));
    cluster.give(3, aRecovery(2, 7, 3));
    assert.deepEqual(cluster.partition.dependencies, [
      { epoch: 1, from: 0, to: 5 },
      { epoch: 2, from: 0, to: 7 },
    ]);
    assert.equal(cluster.give(3, aFlush([aFlushRow({ from: 10, to: 10, leaderEpoch: 2 })])), "applied");
    assert.deepEqual(cluster.partition.dependencies, []);
  });

  it("make no dependency on a WAL of which nothing is left", () => {
    const cluster = aFlushedCluster(3);
    cluster.give(2, aFence(1));
    cluster.give(2, aRecovery(1, 2, 2));
    assert.deepEqual(cluster.partition.dependencies, []);
  });

  it("forget sealed epochs beyond a bound, but none that is depended on", () => {
    const cluster = aFlushedCluster(1);
    cluster.give(2, aFence(1));
    cluster.give(2, aRecovery(1, 5, 2));
    for (let count = 0; count < 1_100; count++) {
      const epoch = cluster.image.nextSlot;
      cluster.slot(NO_BROKER, [register], 0);
      cluster.give(2, aFence(epoch));
      cluster.give(2, aRecovery(epoch, 0, 2));
    }
    assert.ok(cluster.image.brokers.size <= 1_001);
    assert.ok(cluster.image.brokers.has(brokerEpoch(1)));
  });
});

describe("FLUSH", () => {
  it("adds segments, releases the WAL and never goes back", () => {
    const cluster = aFlushedCluster(3);
    assert.equal(cluster.partition.flushed, 30);
    assert.equal(cluster.partition.recent.length, 3);
    cluster.give(1, aFlush([], 1, 1));
    assert.equal(cluster.image.brokers.get(brokerEpoch(1))?.released, 2);
  });

  const refusals: readonly [string, Command, string][] = [
    ["from another offset", aFlush([aFlushRow({ from: 20, to: 40 })]), "not-at-flushed"],
    ["of another leader epoch", aFlush([aFlushRow({ from: 30, to: 40, leaderEpoch: 1 })]), "leader-epoch"],
    ["backwards", aFlush([aFlushRow({ from: 30, to: 20, segment: null })]), "offsets"],
    [
      "that names no object for its records",
      aFlush([aFlushRow({ from: 30, to: 40, segment: null })]),
      "offsets",
    ],
    [
      "whose object leaves a gap",
      aFlush([aFlushRow({ from: 30, to: 40, segment: aSegment(31, 40) })]),
      "offsets",
    ],
    [
      "whose object ends early",
      aFlush([aFlushRow({ from: 30, to: 40, segment: aSegment(30, 39) })]),
      "offsets",
    ],
    [
      "of a partition that is not there",
      aFlush([aFlushRow({ from: 0, to: 1, partition: 9 })]),
      "unknown-partition",
    ],
    ["with a start above its end", aFlush([aFlushRow({ from: 30, to: 40, start: 41 })]), "offsets"],
  ];
  for (const [what, command, reason] of refusals) {
    it(`${what} is void as a whole`, () => {
      const cluster = aFlushedCluster(3);
      const { rows } = command as Extract<Command, { kind: "flush" }>;
      const good = aFlushRow({ from: 0, to: 5, partition: 1 });
      const withoutSlot = { nextSlot: 0, previousHash: new Uint8Array(0), brokers: new Map() };
      const seen = () => encodeSnapshot(Object.assign({}, cluster.image, withoutSlot));
      const before = seen();
      assert.equal(cluster.give(1, aFlush([good, ...rows], 99)), reason);
      assert.deepEqual(seen(), before);
      assert.equal(cluster.image.brokers.get(brokerEpoch(1))?.released, 2);
    });
  }

  it("by one who is not the owner is void", () => {
    assert.equal(aFlushedCluster(3).give(2, aFlush([aFlushRow({ from: 30, to: 40 })])), "not-owner");
  });

  it("skips topics that were dropped meanwhile", () => {
    const cluster = aFlushedCluster(3);
    const gone = aFlushRow({ topic: aTopicId(9), from: 0, to: 10 });
    assert.equal(cluster.give(1, aFlush([gone, aFlushRow({ from: 30, to: 40 })])), "applied");
    assert.equal(cluster.partition.flushed, 40);
  });

  it("may leave out what lies below a log start that it carries", () => {
    const cluster = aFlushedCluster(3);
    const row = aFlushRow({ from: 30, to: 40, start: 35, segment: aSegment(35, 40) });
    assert.equal(cluster.give(1, aFlush([row])), "applied");
    assert.deepEqual(
      cluster.partition.recent.map(({ base }) => base),
      [35],
    );
    assert.equal(cluster.partition.start, 35);
  });

  it("is void when a partition has too many recent segments, until they are folded", () => {
    const cluster = aFlushedCluster(64);
    const flush = aFlush([aFlushRow({ from: 640, to: 650 })]);
    assert.equal(cluster.give(1, flush), "too-many-segments");
    assert.equal(cluster.give(1, aFold(null, aPointer(0, 600))), "applied");
    assert.equal(cluster.give(1, flush), "applied");
    assert.deepEqual(
      cluster.partition.recent.map(({ base }) => base),
      [600, 610, 620, 630, 640],
    );
  });
});

describe("FOLD", () => {
  it("exchanges the pointer only for the one it was made from", () => {
    const cluster = aFlushedCluster(5);
    assert.equal(cluster.give(1, aFold(null, aPointer(0, 20))), "applied");
    assert.equal(cluster.give(1, aFold(null, aPointer(0, 30))), "list-changed");
    assert.equal(cluster.give(1, aFold(aPointer(0, 20), aPointer(0, 40))), "applied");
    assert.deepEqual(
      cluster.partition.recent.map(({ base }) => base),
      [40],
    );
  });

  it("loses no record and keeps the newest reference", () => {
    const cluster = aFlushedCluster(5);
    assert.equal(
      cluster.give(1, aFold(null, aPointer(10, 20))),
      "offsets",
      "the list lacks the first segment",
    );
    assert.equal(cluster.give(1, aFold(null, aPointer(0, 25))), "offsets", "the list ends inside a segment");
    assert.equal(cluster.give(1, aFold(null, aPointer(0, 50))), "offsets", "the newest reference would go");
    assert.equal(cluster.give(1, aFold(null, null)), "offsets");
  });
});

describe("TRIM", () => {
  it("drops what lies wholly below the log start, list included", () => {
    const cluster = aFlushedCluster(5);
    cluster.give(1, aFold(null, aPointer(0, 20)));
    assert.equal(cluster.give(1, aTrim(15)), "applied");
    assert.notEqual(cluster.partition.folded, null);
    assert.equal(cluster.give(1, aTrim(35)), "applied");
    assert.equal(cluster.partition.folded, null);
    assert.deepEqual(
      cluster.partition.recent.map(({ base }) => base),
      [30, 40],
    );
    assert.equal(cluster.give(1, aTrim(35)), "offsets");
    assert.equal(cluster.give(1, aTrim(51)), "offsets");
  });

  it("keeps the newest reference until a footer takes its place", () => {
    const cluster = aFlushedCluster(2);
    assert.equal(cluster.give(1, aTrim(20)), "applied");
    assert.deepEqual(
      cluster.partition.recent.map(({ base }) => base),
      [10],
    );
    const other = aFlushedCluster(2);
    assert.equal(other.give(1, aTrim(20, aSegment(20, 20))), "applied");
    assert.deepEqual(
      other.partition.recent.map(({ base, end }) => [base, end]),
      [[20, 20]],
    );
    assert.equal(aFlushedCluster(2).give(1, aTrim(15, aSegment(20, 20))), "offsets");
  });
});

describe("LEVEL, topics and configurations", () => {
  it("never rise above what a live broker can, nor fall", () => {
    const cluster = new Cluster();
    assert.equal(cluster.give(1, { kind: "level", level: 3 }), "level");
    assert.equal(cluster.give(1, { kind: "level", level: 1 }), "level");
    assert.equal(cluster.give(1, { kind: "level", level: 2 }), "applied");
  });

  it("grow, change and go", () => {
    const cluster = aFlushedCluster(0);
    const assignment = { owner: brokerEpoch(1), exceptions: [] };
    const id = aTopicId(1);
    assert.equal(
      cluster.give(1, { kind: "partitions", id, partitionCount: 2, assignment }),
      "partition-count",
    );
    assert.equal(cluster.give(1, { kind: "partitions", id, partitionCount: 4, assignment }), "applied");
    assert.equal(cluster.image.topics.get(id)?.partitions.length, 4);
    const edit = (replace: boolean, name: string, value: string | null): Command => ({
      kind: "topicConfig",
      id,
      replace,
      edits: [{ name, value }],
    });
    cluster.give(1, edit(false, "a", "1"));
    assert.deepEqual(
      cluster.image.topics.get(id)?.configs,
      new Map([
        ["retention.ms", "1"],
        ["a", "1"],
      ]),
    );
    cluster.give(1, edit(false, "retention.ms", null));
    cluster.give(1, edit(true, "b", "2"));
    assert.deepEqual(cluster.image.topics.get(id)?.configs, new Map([["b", "2"]]));
    assert.equal(cluster.give(1, { kind: "drop", id }), "applied");
    assert.equal(cluster.give(1, { kind: "drop", id }), "unknown-topic");
    assert.equal(cluster.give(1, aTopic(1, brokerEpoch(1))), "applied");
  });

  it("refuse partitions for brokers that are not live, and absurd numbers of them", () => {
    const cluster = new Cluster();
    assert.equal(cluster.give(1, aTopic(1, brokerEpoch(9))), "owner-not-live");
    assert.equal(cluster.give(1, aTopic(1, brokerEpoch(1), 0)), "partition-count");
    assert.equal(cluster.give(1, aTopic(1, brokerEpoch(1), 2 ** 31 - 1)), "partition-count");
  });
});

describe("a snapshot", () => {
  const small = fc.integer({ min: 0, max: 4 });
  const author = fc.integer({ min: 1, max: 5 });
  const step = fc.record({ author, kind: fc.integer({ min: 0, max: 12 }), a: small, b: small, c: small });

  const commandOf = (
    cluster: Cluster,
    { kind, a, b, c }: { kind: number; a: number; b: number; c: number },
  ): Command => {
    const { partition } = cluster;
    const flushed = partition?.flushed ?? 0;
    const current = { leaderEpoch: partition?.leaderEpoch ?? leaderEpoch(0) };
    switch (kind) {
      case 0:
        return aTopic(a + 1, brokerEpoch(b + 1), c + 1);
      case 1:
        return { kind: "drop", id: aTopicId(a + 2) };
      case 2:
        return aFence(a + 2);
      case 3:
        return aRecovery(a + 2, b + 5, c + 1);
      case 4:
        return { kind: "producers", count: a + 1 };
      case 5:
        return {
          kind: "brokerConfig",
          resource: String(a),
          replace: b === 0,
          edits: [{ name: `n${c}`, value: b === 1 ? null : "v" }],
        };
      case 6:
        return { ...(aTrim(flushed - a) as Extract<Command, { kind: "trim" }>), ...current };
      case 7: {
        const end = partition?.recent.at(-2)?.end ?? 0;
        const next = aPointer(partition?.folded?.first ?? partition?.recent[0]?.base ?? 0, end);
        return {
          ...(aFold(partition?.folded as never, next) as Extract<Command, { kind: "fold" }>),
          ...current,
        };
      }
      case 8: {
        const old = partition?.recent.slice(0, a) ?? [];
        const end = old.at(-1)?.end ?? at(0);
        const merged = { ...aSegment(0, 0, `seg/2/${c}`), base: old[0]?.base ?? at(0), end };
        const row = {
          topicId: aTopicId(1),
          partition: partitionIndex(0),
          ...current,
          previous: partition?.folded ?? null,
          next: partition?.folded ?? null,
          old: old.map(({ object, sectionStart }) => ({ object, sectionStart })),
          segments: old.length === 0 ? [] : [merged],
          compacted: b === 0 ? null : { to: end, horizonMs: b },
        };
        return { kind: "replace", rows: [row], below: c };
      }
      default:
        return aFlush(
          [aFlushRow({ from: flushed, to: flushed + a, leaderEpoch: current.leaderEpoch })],
          b,
          c,
        );
    }
  };

  it("is the state, whenever it is taken: what follows gives the same from it", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), fc.nat(), (steps, when) => {
        const cluster = new Cluster();
        cluster.give(1, aTopic(1, brokerEpoch(1)));
        const turn = when % steps.length;
        let twin: Cluster | null = null;
        steps.forEach((each, index) => {
          if (index === turn) {
            twin = new Cluster();
            twin.image = decodeSnapshot(encodeSnapshot(cluster.image));
            assert.deepEqual(twin.image, cluster.image);
          }
          const command = commandOf(cluster, each);
          const list = 100 + index;
          const expected = cluster.slot(brokerEpoch(each.author), [command], list);
          if (twin !== null) assert.deepEqual(twin.slot(brokerEpoch(each.author), [command], list), expected);
        });
        assert.deepEqual(encodeSnapshot((twin as unknown as Cluster).image), encodeSnapshot(cluster.image));
      }),
      { numRuns: 150 },
    );
  });

  it("keeps what every random history keeps: segments follow each other from the log start to the flushed end", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const cluster = new Cluster();
        cluster.give(1, aTopic(1, brokerEpoch(1)));
        for (const each of steps) {
          cluster.slot(brokerEpoch(each.author), [commandOf(cluster, each)]);
          const { start, flushed, folded, recent } = cluster.partition;
          assert.ok(start <= flushed);
          let covered = folded?.end ?? recent[0]?.base ?? flushed;
          assert.ok((folded?.first ?? covered) <= Math.max(start, 0) || start === flushed);
          for (const { base, end } of recent) {
            assert.equal(base, covered);
            covered = end;
          }
          assert.equal(covered, flushed);
        }
      }),
      { numRuns: 150 },
    );
  });
});
