import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aSegment } from "../../test/proof/journal-world.ts";
import { offset } from "../base/ids.ts";
import { type CompactionMoment, planCompaction } from "./compaction-plan.ts";
import type { SegmentRef } from "./segment-ref.ts";

const limits = { compactionLagMinMs: 0, compactionLagMaxMs: Number.MAX_SAFE_INTEGER, dirtyRatioMin: 0.5 };

/** Segments of ten offsets each with so many bytes of records, appended 100 ms after one another from 1000 on. */
const segments = (...bytes: readonly number[]): readonly SegmentRef[] =>
  bytes.map((each, i) => ({
    ...aSegment(i * 10, i * 10 + 10),
    sectionBytes: each + 200,
    maxTimestamp: 1000 + i * 100,
    appendedFirstMs: 1000 + i * 100,
    appendedLastMs: 1000 + i * 100 + 50,
  }));

const at = (moment: Partial<CompactionMoment> = {}): CompactionMoment => ({
  wallMs: 10_000,
  start: offset(0),
  lastStable: offset(1_000),
  compacted: null,
  ...moment,
});
const compactedTo = (to: number, horizonMs = -1) => ({ compacted: { to: offset(to), horizonMs } });

describe("a plan of compaction", () => {
  it("begins when more than the ratio is dirty, and covers everything from the log start", () => {
    const refs = segments(100, 100, 100, 101);
    const none = planCompaction(refs, limits, at(compactedTo(20)));
    assert.deepEqual([none?.reason, none?.firstDirty, none?.end, none?.refs.length], ["dirty", 20, 40, 4]);
    assert.deepEqual([none?.dirtyBytes, none?.cleanBytes], [201, 200]);
    assert.equal(planCompaction(segments(100, 100, 100, 100), limits, at(compactedTo(20))), null);
    assert.equal(planCompaction(refs, limits, at())?.firstDirty, 0);
    assert.equal(planCompaction(refs, limits, at(compactedTo(40))), null);
    assert.equal(planCompaction([], limits, at()), null);
  });

  it("leaves out what is below the log start, not stable, or a footer alone", () => {
    const refs = segments(100, 100, 100, 100);
    const plan = planCompaction(refs, limits, at({ start: offset(15), lastStable: offset(35) }));
    assert.deepEqual(
      plan?.refs.map(({ base }) => base),
      [10, 20],
    );
    assert.equal(plan?.firstDirty, 15);
    assert.equal(planCompaction([aSegment(40, 40)], limits, at()), null);
  });

  it("leaves out what is younger than min.compaction.lag.ms, by record time and by time of append", () => {
    const refs = segments(100, 100, 100);
    const lag = { ...limits, compactionLagMinMs: 500 };
    assert.equal(planCompaction(refs, lag, at({ wallMs: 1_550 }))?.end, 10);
    assert.equal(planCompaction(refs, lag, at({ wallMs: 1_549 })), null);
    const early = refs.map((ref) => ({ ...ref, maxTimestamp: -1 }));
    assert.equal(planCompaction(early, lag, at({ wallMs: 1_650 }))?.end, 20);
    const late = refs.map((ref) => ({ ...ref, maxTimestamp: 9_000 }));
    assert.equal(planCompaction(late, lag, at({ wallMs: 9_400 })), null);
  });

  it("begins below the ratio when a dirty record is older than max.compaction.lag.ms", () => {
    const refs = segments(100, 10);
    const lag = { ...limits, compactionLagMaxMs: 500 };
    assert.equal(planCompaction(refs, lag, at({ ...compactedTo(10), wallMs: 1_600 })), null);
    assert.equal(planCompaction(refs, lag, at({ ...compactedTo(10), wallMs: 1_601 }))?.reason, "lag");
    assert.equal(planCompaction(refs, lag, at({ ...compactedTo(20), wallMs: 9_601 })), null);
  });

  it("begins without anything dirty when tombstones may go", () => {
    const refs = segments(100, 100);
    assert.equal(planCompaction(refs, limits, at(compactedTo(20, 10_001))), null);
    const plan = planCompaction(refs, limits, at(compactedTo(20, 10_000)));
    assert.deepEqual([plan?.reason, plan?.firstDirty, plan?.end], ["horizon", 20, 20]);
  });

  it("begins when there are many small segments, and not for few or for large ones", () => {
    const many = segments(...Array.from({ length: 16 }, () => 10));
    assert.equal(planCompaction(many, limits, at(compactedTo(160)))?.reason, "pieces");
    assert.equal(planCompaction(many.slice(1), limits, at(compactedTo(160))), null);
    const large = segments(...Array.from({ length: 16 }, () => 2 << 20));
    assert.equal(planCompaction(large, limits, at(compactedTo(160))), null);
  });
});
