import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { leaderEpoch, offset, producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, Codec } from "./batch.ts";
import { buildBatch, type NewRecord } from "./builder.ts";
import { recordsIn } from "./record.ts";
import { emptiedBatch, type Thinned, thinBatch } from "./thin.ts";

const identity = {
  baseOffset: offset(1000),
  leaderEpoch: leaderEpoch(4),
  producerId: producerId(77),
  producerEpoch: producerEpoch(3),
  baseSequence: 500,
};
const inflatedBytesMax = 1 << 20;
const record = fc.record({
  key: fc.oneof(fc.constant(null), fc.uint8Array({ maxLength: 20 })),
  value: fc.oneof(fc.constant(null), fc.uint8Array({ maxLength: 200 })),
  timestamp: fc.integer({ min: -1, max: 2 ** 41 }),
  headers: fc.array(fc.record({ key: fc.string({ maxLength: 5 }), value: fc.uint8Array({ maxLength: 9 }) })),
  stays: fc.boolean(),
});
const codec = fc.constantFrom(Codec.none, Codec.gzip, Codec.zstd, Codec.lz4, Codec.snappy);

function changed(thinned: Thinned): BatchView {
  assert.equal(thinned.kind, "changed");
  const batch = BatchView.at((thinned as Extract<Thinned, { kind: "changed" }>).bytes);
  assert.ok(batch.isIntact());
  return batch;
}

/** What compaction must never change in a batch. */
const place = (batch: BatchView) => [
  batch.baseOffset,
  batch.lastOffset,
  batch.leaderEpoch,
  batch.producerId,
  batch.producerEpoch,
  batch.baseSequence,
  batch.lastSequence,
  batch.isTransactional,
  batch.isControl,
  batch.isLogAppendTime,
];

describe("a batch without some of its records", () => {
  it("has the others as they were: offset, time, key, value, headers; and its place and producer", () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 30 }),
        codec,
        fc.boolean(),
        fc.boolean(),
        fc.option(fc.integer({ min: 1, max: 2 ** 45 })),
        (records, codec, isTransactional, isLogAppend, horizonMs) => {
          const stamp = isLogAppend ? { logAppendTimeMs: 5_000 } : {};
          const batch = BatchView.at(buildBatch(records, { ...identity, codec, isTransactional, ...stamp }));
          const before = [...recordsIn(batch, inflatedBytesMax)];
          const kept = before.filter((_, i) => records[i]?.stays);
          const thinned = thinBatch(batch, {
            keeps: ({ index }) => records[index]?.stays === true,
            horizonMs,
            inflatedBytesMax,
          });
          const getsHorizon = horizonMs !== null && kept.some(({ value }) => value === null);
          if (kept.length === 0) return assert.equal(thinned.kind, "empty");
          if (kept.length === before.length && !getsHorizon) return assert.equal(thinned.kind, "unchanged");
          const after = changed(thinned);
          assert.deepEqual([...recordsIn(after, inflatedBytesMax)], kept);
          assert.deepEqual(place(after), place(batch));
          assert.equal(after.codec, codec);
          assert.equal(after.recordCount, kept.length);
          assert.equal(after.hasDeleteHorizon, getsHorizon);
          if (getsHorizon) assert.equal(after.baseTimestamp, horizonMs);
          const latest = Math.max(...kept.map(({ timestamp }) => timestamp));
          assert.equal(after.maxTimestamp, isLogAppend ? 5_000 : latest);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("keeps its delete horizon when it is thinned again", () => {
    const records: NewRecord[] = [0, 1, 2].map((i) => ({ key: `k${i}`, value: null, timestamp: 10 + i }));
    const rules = { keeps: () => true, inflatedBytesMax };
    const once = changed(
      thinBatch(BatchView.at(buildBatch(records, identity)), { ...rules, horizonMs: 900 }),
    );
    assert.equal(thinBatch(once, { ...rules, horizonMs: 1_900 }).kind, "unchanged");
    const again = changed(thinBatch(once, { ...rules, keeps: ({ index }) => index !== 1, horizonMs: 1_900 }));
    assert.deepEqual([again.hasDeleteHorizon, again.baseTimestamp], [true, 900]);
    assert.deepEqual(
      [...recordsIn(again, inflatedBytesMax)].map(({ offset: at, timestamp }) => [at, timestamp]),
      [
        [1000, 10],
        [1002, 12],
      ],
    );
  });

  it("gets a horizon for a marker, whose record has a value", () => {
    const marker = buildBatch([{ key: "k", value: "v", timestamp: 10 }], { ...identity, isControl: true });
    const rules = { keeps: () => true, inflatedBytesMax, horizonMs: 900 };
    assert.equal(changed(thinBatch(BatchView.at(marker), rules)).baseTimestamp, 900);
  });

  it("gets no horizon when a record's time lies too far from it to be written", () => {
    const far = buildBatch([{ key: "k", value: null, timestamp: 2 ** 51 }], identity);
    const rules = { keeps: () => true, inflatedBytesMax, horizonMs: 900 };
    assert.equal(thinBatch(BatchView.at(far), rules).kind, "unchanged");
  });
});

it("a batch without any record still has its place and producer, and no time", () => {
  const batch = BatchView.at(buildBatch([{ key: "k", value: "v", timestamp: 7 }, { key: "k" }], identity));
  const empty = BatchView.at(emptiedBatch(batch));
  assert.ok(empty.isIntact());
  assert.deepEqual(place(empty), place(batch));
  assert.deepEqual([empty.recordCount, empty.maxTimestamp, empty.sizeInBytes], [0, -1, 61]);
  assert.deepEqual([...recordsIn(empty, inflatedBytesMax)], []);
  const stamped = BatchView.at(buildBatch([{ key: "k" }], { ...identity, logAppendTimeMs: 9 }));
  const emptied = BatchView.at(emptiedBatch(stamped));
  assert.deepEqual([emptied.isLogAppendTime, emptied.maxTimestamp], [true, -1]);
});
