import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  aBroker,
  aFlush,
  aFlushRow,
  aSegment,
  aTopic,
  aTopicId,
  at,
} from "../../test/proof/journal-world.ts";
import { Reader, Writer } from "../base/bytes.ts";
import { brokerEpoch, leaderEpoch, partitionIndex } from "../base/ids.ts";
import type { ListPointer, ReplaceRow, SegmentRef } from "../log/segment-ref.ts";
import { applySlot } from "./apply.ts";
import { type Command, readCommand, writeCommand } from "./commands.ts";
import { ClusterImage } from "./image.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";
import { NO_BROKER, type PartitionState } from "./state.ts";

const name = (base: number): string => `seg/000000000001/${String(base).padStart(12, "0")}`;
const segment = (base: number, end: number, generation = 0): SegmentRef =>
  aSegment(base, end, name(base + generation * 1000));
const pointer = (first: number, end: number): ListPointer => ({
  object: `seg/1/${first}-${end}`,
  bytes: 10,
  checksum: end,
  first: at(first),
  end: at(end),
  segmentBytes: 10,
  segmentCount: 1,
});

/** Broker 1 owns topic 1 with segments [0, 10), [10, 20), … */
class Cluster {
  readonly image = new ClusterImage();
  #lists = 0;

  constructor(segments: number) {
    const init: Command = { kind: "init", clusterId: "c", level: 2, walKind: 0, chapterSlots: 1024 };
    const register: Command = { kind: "register", ...aBroker, nonce: "00", levelMax: 2, name: null };
    for (const command of [init, register]) this.#slot(NO_BROKER.valueOf(), command, 0);
    this.give(aTopic(1, brokerEpoch(1)));
    for (let base = 0; base < segments * 10; base += 10) {
      this.give(aFlush([aFlushRow({ from: base, to: base + 10, segment: segment(base, base + 10) })]));
    }
  }

  #slot(author: number, command: Command, list: number): string {
    const content = { author: brokerEpoch(author), list, commands: [command] };
    const [outcome] = applySlot(this.image, content, new Uint8Array(32));
    return outcome?.kind === "void" ? outcome.reason : (outcome?.kind as string);
  }

  give(command: Command): string {
    return this.#slot(1, command, ++this.#lists);
  }

  replace(row: Partial<ReplaceRow>, ...more: readonly Partial<ReplaceRow>[]): string {
    return this.give({ kind: "replace", rows: [row, ...more].map(aRow), below: 77 });
  }

  get partition(): PartitionState {
    return this.image.topics.get(aTopicId(1))?.partitions[0] as PartitionState;
  }
  get ranges(): readonly (readonly [number, number])[] {
    return this.partition.recent.map(({ base, end }) => [base, end]);
  }
}

const aRow = (row: Partial<ReplaceRow>): ReplaceRow => ({
  topicId: aTopicId(1),
  partition: partitionIndex(0),
  leaderEpoch: leaderEpoch(0),
  previous: null,
  next: null,
  old: [],
  segments: [],
  compacted: null,
  ...row,
});
const old = (...refs: readonly SegmentRef[]) =>
  refs.map(({ object, sectionStart }) => ({ object, sectionStart }));
const firstThree = old(segment(0, 10), segment(10, 20), segment(20, 30));

describe("REPLACE", () => {
  it("puts segments in the place of the oldest recent ones, and says how far compaction has come", () => {
    const cluster = new Cluster(5);
    const compacted = { to: at(30), horizonMs: 99 };
    const row = { old: firstThree, segments: [segment(0, 30, 1)], compacted };
    assert.equal(cluster.replace(row), "applied");
    assert.deepEqual(cluster.ranges, [
      [0, 30],
      [30, 40],
      [40, 50],
    ]);
    assert.deepEqual(cluster.partition.compacted, compacted);
    assert.equal(cluster.image.brokers.get(brokerEpoch(1))?.below, 77);
    assert.equal(cluster.replace(row), "segments-changed", "what is named is gone");
    assert.equal(cluster.replace({}), "applied");
    assert.deepEqual(cluster.partition.compacted, compacted, "a row without it leaves it alone");
  });

  it("is void unless it names what stands there", () => {
    const cluster = new Cluster(5);
    const segments = [segment(0, 30, 1)];
    assert.equal(cluster.replace({ old: old(segment(10, 20)), segments }), "segments-changed");
    assert.equal(cluster.replace({ old: [...firstThree].reverse(), segments }), "segments-changed");
    assert.equal(cluster.replace({ previous: pointer(0, 10), old: firstThree, segments }), "list-changed");
    assert.equal(cluster.replace({ leaderEpoch: leaderEpoch(1), old: firstThree, segments }), "leader-epoch");
    assert.equal(cluster.replace({ partition: partitionIndex(7), segments }), "unknown-partition");
    assert.equal(cluster.ranges.length, 5);
  });

  it("never loses an offset: neither at the ends nor between", () => {
    const cluster = new Cluster(5);
    const refuse = (...segments: readonly SegmentRef[]) =>
      assert.equal(cluster.replace({ old: firstThree, segments }), "offsets");
    refuse();
    refuse(segment(0, 20, 1));
    refuse(segment(0, 40, 1));
    refuse(segment(10, 30, 1));
    refuse(segment(0, 10, 1), segment(20, 30, 1));
    refuse(segment(0, 20, 1), segment(10, 30, 1));
    refuse(segment(10, 30, 1), segment(0, 10, 1));
    assert.equal(cluster.replace({ segments: [segment(0, 10, 1)] }), "offsets");
    assert.equal(cluster.replace({ compacted: { to: at(51), horizonMs: -1 } }), "offsets");
  });

  it("may leave out what lies below the log start, but for the newest footer", () => {
    const cluster = new Cluster(3);
    const trim = { topicId: aTopicId(1), partition: partitionIndex(0), leaderEpoch: leaderEpoch(0) };
    assert.equal(cluster.give({ kind: "trim", ...trim, start: at(30), footer: null }), "applied");
    assert.deepEqual(cluster.ranges, [[20, 30]]);
    const newest = old(segment(20, 30));
    assert.equal(cluster.replace({ old: newest, segments: [] }), "offsets");
    assert.equal(cluster.replace({ old: newest, segments: [segment(30, 30, 1)] }), "applied");
    assert.deepEqual(cluster.ranges, [[30, 30]]);
  });

  it("exchanges the list, alone or together with recent segments", () => {
    const cluster = new Cluster(6);
    const place = { topicId: aTopicId(1), partition: partitionIndex(0), leaderEpoch: leaderEpoch(0) };
    const list = pointer(0, 30);
    assert.equal(cluster.give({ kind: "fold", ...place, previous: null, next: list }), "applied");
    const shorter = pointer(0, 20);
    assert.equal(cluster.replace({ previous: list, next: shorter }), "offsets");
    assert.equal(
      cluster.replace({ previous: list, next: shorter, segments: [segment(20, 30, 1)] }),
      "applied",
    );
    assert.deepEqual(cluster.partition.folded, shorter);
    assert.deepEqual(cluster.ranges[0], [20, 30]);
    const rest = old(segment(20, 30, 1), segment(30, 40), segment(40, 50));
    const all = [segment(0, 50, 2)];
    assert.equal(cluster.replace({ previous: shorter, next: null, old: rest, segments: all }), "applied");
    assert.equal(cluster.partition.folded, null);
    assert.deepEqual(cluster.ranges, [
      [0, 50],
      [50, 60],
    ]);
    const lists = { next: pointer(0, 50), old: old(segment(0, 50, 2)) };
    assert.equal(cluster.replace(lists), "applied");
    assert.deepEqual(cluster.ranges, [[50, 60]]);
  });

  it("is void as a whole when one row is, and keeps the number of recent segments bounded", () => {
    const cluster = new Cluster(3);
    const good = { old: firstThree, segments: [segment(0, 30, 1)] };
    assert.equal(
      cluster.replace(good, { partition: partitionIndex(1), compacted: { to: at(1), horizonMs: -1 } }),
      "offsets",
    );
    assert.equal(cluster.ranges.length, 3);
    const many = Array.from({ length: 63 }, (_, i) => (i === 0 ? segment(0, 10, 1) : segment(10, 10, i)));
    assert.equal(cluster.replace({ old: firstThree.slice(0, 1), segments: many }), "too-many-segments");
    const dropped = { topicId: aTopicId(9), old: firstThree };
    assert.equal(cluster.replace(dropped), "applied", "its topic is gone, and the others still hold");
  });
});

/** As format 1, snapshot version 0 wrote it: before compaction. */
const snapshot0 =
  "AAAAAAAAAAAAAAphLWNsdXN0ZXIAAQAAAAQAAAAAAAAAAAAEAQIDAgAAAAAAAAABA2FiAAAAAQACClBMQUlOVEVYVAoxMjcuMC4wLjEAACOEAAAAAAAAAQ5ob2xkZmFzdCB0ZXN0AAAAAAAAAAAM//////////8BAAEAAAAAAAAADQEAAAAAAAAAAQP/AAAAAAAAAAAAAAAAAAD/AAAAAAAAAAAAAAAAAAAAAAIHAAAAAAAAAAAAAAAAAAABCHRvcGljLTECDXJldGVudGlvbi5tcwIxAAMAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAJ/wIec2VnLzAwMDAwMDAwMDAwMS8wMDAwMDAwMDAwMDEAAAAAAAAAgAAAAAAAAAPoAAAAZAAAAAcAAAAAAAAAAAAAAAAAAAAJAAAAAAAAAAkAAAAAAAAABQAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAgABAAEAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAP8BAQAAAQA=";
/** The command as its version 0 wrote it. */
const replace0 =
  "AAgAAAAAANECBwAAAAAAAAAAAAAAAAAAAQAAAAAAAAAA//8CHnNlZy8wMDAwMDAwMDAwMDEvMDAwMDAwMDAwMDAwAAAAAAAAAIAAAh5zZWcvMDAwMDAwMDAwMDAxLzAwMDAwMDAwMTAwMAAAAAAAAACAAAAAAAAAA+gAAABkAAAABwAAAAAAAAAAAAAAAAAAAAoAAAAAAAAACgAAAAAAAAAFAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAACAAEAAQAAAAAAAAAKAAAAAAAAAGMAAAAAAAAAAABNAA==";

describe("old bytes", () => {
  it("a snapshot of version 0 is read, and nothing in it is compacted", () => {
    const image = decodeSnapshot(Buffer.from(snapshot0, "base64"));
    const [partition] = image.topics.get(aTopicId(1))?.partitions ?? [];
    assert.deepEqual([partition?.flushed, partition?.recent.length, partition?.compacted], [9, 1, null]);
    assert.deepEqual(decodeSnapshot(encodeSnapshot(image)), image);
  });

  it("a REPLACE of version 0 is read", () => {
    const command = {
      kind: "replace",
      rows: [
        aRow({
          old: old(segment(0, 10)),
          segments: [segment(0, 10, 1)],
          compacted: { to: at(10), horizonMs: 99 },
        }),
      ],
      below: 77,
    } as const;
    const to = new Writer();
    writeCommand(to, command, 1);
    assert.equal(Buffer.from(to.finishFlat()).toString("base64"), replace0);
    const { kind, ...fields } = readCommand(new Reader(Buffer.from(replace0, "base64")));
    assert.deepEqual(
      [kind, JSON.stringify(fields)],
      ["replace", JSON.stringify({ rows: command.rows, below: 77 })],
    );
  });
});
