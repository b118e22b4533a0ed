import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { anEnv, emptyState, ManualClock, MemoryStore, orders } from "../../test/proof/segment-world.ts";
import { brokerEpoch, leaderEpoch, offset, partitionIndex } from "../base/ids.ts";
import type { Clock } from "../base/ports.ts";
import { replacePartition } from "../metadata/partition.ts";
import type { PartitionState } from "../metadata/state.ts";
import { type BatchView, batchesIn } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { recordsIn } from "../record/record.ts";
import { Compaction, type CompactionSource } from "./compaction.ts";
import { logConfigDefaults } from "./log-config.ts";
import { ObjectNames } from "./object-names.ts";
import { storeObject } from "./object-writer.ts";
import { SegmentReader } from "./segment-reader.ts";
import type { Replacement, SegmentRef } from "./segment-ref.ts";
import { buildObject } from "./segment-writer.ts";

const config = {
  ...logConfigDefaults,
  compacts: true,
  deletes: false,
  dirtyRatioMin: 0,
  deleteRetentionMs: 0,
};

/** Key and value of each record of a segment; null: a tombstone. */
type Segment = readonly (readonly [key: string, value: string | null])[];

/** One partition whose segments are there, and what a journal does with it. */
class Log {
  readonly store = new MemoryStore();
  readonly clock = new ManualClock();
  readonly env = anEnv(this.clock);
  readonly names = new ObjectNames("cluster", brokerEpoch(7));
  readonly reader = new SegmentReader({ store: this.store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
  readonly replacements: Replacement[] = [];
  state: PartitionState = {
    index: partitionIndex(3),
    owner: brokerEpoch(7),
    leaderEpoch: leaderEpoch(0),
    start: offset(0),
    flushed: offset(0),
    folded: null,
    recent: [],
    compacted: null,
    preferred: null,
    dependencies: [],
  };
  readonly source: CompactionSource;
  /** Slept for, ms. */
  sleptMs = 0;

  constructor(changes: Partial<typeof config> = {}) {
    const end = () => this.state.flushed;
    this.source = {
      ...orders,
      leaderEpoch: leaderEpoch(0),
      config: { ...config, ...changes },
      logStart: offset(0),
      get lastStable() {
        return end();
      },
      segments: () => this.state,
    };
  }

  async add(...segments: readonly Segment[]): Promise<void> {
    for (const records of segments) {
      const base = this.state.flushed;
      const batches = records.map(([key, value], i) => {
        const baseOffset = offset(base + i);
        return { payload: buildBatch([{ key, value, timestamp: 5 }], { baseOffset }), baseOffset, count: 1 };
      });
      const end = offset(base + records.length);
      const draft = {
        ...orders,
        base,
        end,
        batches,
        appendedFirstMs: this.clock.nowMs,
        appendedLastMs: this.clock.nowMs,
        state: { ...emptyState, recordedMs: end },
      };
      const pause = () => Promise.resolve();
      const stored = await storeObject(this.store, this.names, (origin) =>
        // Blocks of one batch each.
        buildObject(origin, [draft], pause, 1),
      );
      this.names.settle(stored.origin);
      const recent = [...this.state.recent, stored.content.refs[0] as SegmentRef];
      this.state = { ...this.state, recent, flushed: end };
    }
  }

  compaction(
    settings: { readonly isEnabled?: boolean; readonly bytesPerSecondMax?: number } = {},
  ): Compaction {
    const schedule: Clock["schedule"] = (delayMs, run) => {
      this.sleptMs += delayMs;
      this.clock.nowMs += delayMs;
      return this.clock.schedule(0, run);
    };
    const clock = { wallMs: () => this.clock.nowMs, monotonicMs: () => this.clock.nowMs, schedule };
    return new Compaction({
      env: { ...this.env, clock },
      store: this.store,
      names: this.names,
      index: this.reader.index,
      sources: () => [this.source],
      known: () => this.state,
      publishReplace: (replacement) => {
        let { state } = this;
        for (const row of replacement.rows) {
          const changed = replacePartition(state, row);
          if (changed.kind === "void") return Promise.resolve("void");
          state = changed.partition;
        }
        this.state = state;
        this.replacements.push(replacement);
        return Promise.resolve("published");
      },
      settings: () => ({
        isEnabled: true,
        intervalMs: 1000,
        keyBytesMax: 1 << 20,
        bytesPerSecondMax: Infinity,
        ...settings,
      }),
      onFailure: (cause) => {
        throw cause;
      },
    });
  }

  /** What can be read, damage included. */
  async told(): Promise<readonly string[]> {
    const told: string[] = [];
    const text = (bytes: Uint8Array | null) => (bytes === null ? "∅" : Buffer.from(bytes).toString());
    const records = (batch: BatchView) =>
      [...recordsIn(batch, 1 << 20)].map((each) => `${each.offset}:${text(each.key)}=${text(each.value)}`);
    const reader = new SegmentReader({ store: this.store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
    for (let at = 0; at < this.state.flushed; ) {
      const read = await reader.read(this.source, offset(at), {
        bytesMax: 1 << 20,
        limit: this.state.flushed,
      });
      if (read.kind === "absent") break;
      if (read.kind === "damaged") {
        told.push(`${read.from}–${read.to} damaged`);
        at = read.to;
        continue;
      }
      for (const chunk of read.chunks) for (const batch of batchesIn(chunk)) told.push(...records(batch));
      at = read.next;
    }
    return told;
  }

  damage(segment: number): void {
    const ref = this.state.recent[segment] as SegmentRef;
    const bytes = this.store.objects.get(ref.object) as Uint8Array;
    const at = ref.sectionStart + ref.footerBytes + 65;
    bytes[at] = (bytes[at] as number) ^ 1;
  }
}

describe("compaction", () => {
  it("merges small segments into one, and tells the journal how far it came", async () => {
    const log = new Log();
    await log.add(
      [
        ["a", "1"],
        ["b", "1"],
      ],
      [["a", "2"]],
      [["c", "1"]],
    );
    await log.compaction().round();
    assert.deepEqual(await log.told(), ["1:b=1", "2:a=2", "3:c=1"]);
    assert.deepEqual(
      log.state.recent.map(({ base, end, recordCount }) => [base, end, recordCount]),
      [[0, 4, 3]],
    );
    assert.deepEqual(log.state.compacted, { to: 4, horizonMs: -1 });
    const { footer } = (await log.reader.index.newest(log.source)) ?? assert.fail();
    assert.equal(footer.state.recordedMs, 4, "the newest footer says what the partition is");
    await log.compaction().round();
    assert.equal(log.replacements.length, 1, "nothing is written for nothing");
  });

  it("does nothing when it is switched off, or the topic is not compacted", async () => {
    const log = new Log();
    await log.add([["a", "1"]], [["a", "2"]]);
    await log.compaction({ isEnabled: false }).round();
    assert.equal(log.replacements.length, 0);
    const other = new Log({ compacts: false });
    await other.add([["a", "1"]], [["a", "2"]]);
    await other.compaction().round();
    assert.equal(other.replacements.length, 0);
  });

  it("leaves what is damaged where it is, goes on around it, and drops no tombstone behind it", async () => {
    const log = new Log();
    await log.add(
      [
        ["a", "1"],
        ["b", "1"],
      ],
      [["b", "2"]],
      [["x", "1"]],
      [
        ["x", null],
        ["a", "2"],
      ],
      [["a", "3"]],
    );
    log.damage(2);
    const compaction = log.compaction();
    await compaction.round();
    const after = ["2:b=2", "3–4 damaged", "4:x=∅", "6:a=3"];
    assert.deepEqual(await log.told(), after);
    assert.equal(log.state.compacted?.to, 3);
    assert.equal(log.state.recent[1]?.base, 3);
    const count = log.replacements.length;
    await log.clock.advance(3_599_000);
    await compaction.round();
    assert.equal(log.replacements.length, count, "it is not tried again soon");
    await log.clock.advance(1_000);
    await compaction.round();
    assert.deepEqual(await log.told(), after);
    log.damage(1);
    await log.clock.advance(3_600_000);
    const healed = log.compaction();
    await healed.round();
    assert.deepEqual(
      await log.told(),
      ["2:b=2", "4:x=∅", "6:a=3"],
      "the damage is gone, and 3 is superseded",
    );
    await healed.round();
    assert.deepEqual(await log.told(), ["2:b=2", "6:a=3"]);
  });

  it("reads and writes no faster than it may", async () => {
    const log = new Log();
    const large = "x".repeat(100_000);
    await log.add(...Array.from({ length: 40 }, (_, i): Segment => [[`k${i % 20}`, large]]));
    await log.compaction({ bytesPerSecondMax: 1_000_000 }).round();
    // 4 MB are read twice and 2 MB written.
    assert.ok(log.sleptMs > 9_000 && log.sleptMs < 12_000, `${log.sleptMs} ms`);
  });

  it("merges nothing over a long time where old records are to go", async () => {
    const log = new Log({ deletes: true, retentionMs: 8_000 });
    for (let i = 0; i < 6; i++) {
      await log.add([[`k${i}`, "v"]]);
      await log.clock.advance(600);
    }
    await log.compaction().round();
    assert.deepEqual(
      log.state.recent.map(({ base, end }) => [base, end]),
      [
        [0, 2],
        [2, 4],
        [4, 6],
      ],
    );
  });

  it("divides a segment that is too large once, even if nothing in it goes, and leaves no object behind", async () => {
    const log = new Log();
    const large = "x".repeat(400_000);
    await log.add(Array.from({ length: 60 }, (_, i) => [`k${i}`, large] as const));
    await log.compaction().round();
    assert.deepEqual(
      log.state.recent.map(({ base, end }) => [base, end]),
      [
        [0, 42],
        [42, 60],
      ],
    );
    await log.add([["new", "1"]]);
    const objects = log.store.objects.size;
    await log.compaction().round();
    assert.equal(log.state.recent[0]?.end, 42);
    assert.equal(log.store.objects.size, objects + 1);
    assert.equal(log.names.below(), log.names.take().counter, "no number is open");
  });

  it("divides what is too large for one object, and exchanges what is in a list as well", async () => {
    const log = new Log();
    const large = "x".repeat(400_000);
    await log.add(
      ...Array.from(
        { length: 60 },
        (_, i): Segment => [
          [`k${i}`, large],
          [`k${i}`, large],
        ],
      ),
    );
    await log.compaction().round();
    assert.ok(log.state.recent.length + (log.state.folded?.segmentCount ?? 0) < 8);
    assert.deepEqual(
      (await log.told()).map((each) => each.split(":")[0]),
      Array.from({ length: 60 }, (_, i) => String(i * 2 + 1)),
    );
  });
});
