import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { leaderEpoch, offset } from "../../base/ids.ts";
import { BatchView } from "../../record/batch.ts";
import { buildBatch } from "../../record/builder.ts";
import { acquiredOf, type Acquired, type Range } from "./acquired.ts";

/** Records at these offsets, up to `last`. */
function batch(offsets: readonly number[], last = offsets.at(-1) ?? 0): Uint8Array {
  const [base = 0] = offsets;
  const records = offsets.map((at) => ({ value: String(at), offsetDelta: at - base }));
  const bytes = buildBatch(records, { lastOffsetDelta: last - base });
  BatchView.at(bytes).stampOffsets(offset(base), leaderEpoch(3));
  return bytes;
}

function acquired(records: Uint8Array, ...ranges: readonly (readonly [number, number])[]): Acquired {
  return acquiredOf("t", 0, {
    partitionIndex: 0 as never,
    errorCode: 0,
    errorMessage: null,
    acknowledgeErrorCode: 0,
    acknowledgeErrorMessage: null,
    currentLeader: { leaderId: -1 as never, leaderEpoch: leaderEpoch(-1) },
    records: [records],
    acquiredRecords: ranges.map(([first, last]) => ({
      firstOffset: offset(first),
      lastOffset: offset(last),
      deliveryCount: 1,
    })),
  });
}

const offsetsOf = (ranges: readonly Range[]): number[] =>
  ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
const handed = ({ records }: Acquired): number[] => records.map(({ record }) => record.offset);

describe("what a share fetch acquired", () => {
  it("is handed out where there is a record, and a gap where compaction took it", () => {
    const bytes = Buffer.concat([batch([10, 12], 14), batch([18, 19])]);
    const found = acquired(bytes, [11, 14], [15, 18]);
    assert.deepEqual(handed(found), [12, 18]);
    assert.deepEqual(offsetsOf(found.gaps), [11, 13, 14, 15, 16, 17]);
    assert.deepEqual(found.damaged, []);
  });

  it("is no gap where the answer ends before it: it was not read, so it is not done", () => {
    const whole = Buffer.concat([batch([10, 11]), batch([12, 13])]);
    const found = acquired(whole.subarray(0, whole.byteLength - 1), [10, 13]);
    assert.deepEqual([handed(found), found.gaps, found.damaged], [[10, 11], [], [{ first: 12, last: 13 }]]);
    const none = acquired(Buffer.alloc(0), [10, 13]);
    assert.deepEqual([handed(none), none.gaps, none.damaged], [[], [], [{ first: 10, last: 13 }]]);
  });

  // Broken when what lies behind the last batch that could be read is called a gap: the broker never delivers it again.
  it("is never called a gap because bytes were spoilt or cut off", () => {
    const whole = Buffer.concat([batch([10, 11, 12]), batch([13, 14]), batch([15, 16, 17, 18])]);
    const begins = [0, batch([10, 11, 12]).byteLength];
    begins.push((begins[1] as number) + batch([13, 14]).byteLength);
    // Where a batch begins no checksum covers.
    const places = Array.from(whole.keys()).filter((at) =>
      begins.every((begin) => at < begin || at >= begin + 8),
    );
    const spoilt = fc.record({
      end: fc.integer({ min: 0, max: whole.byteLength }),
      at: fc.constantFrom(...places),
      flip: fc.integer({ min: 0, max: 255 }),
    });
    fc.assert(
      fc.property(spoilt, ({ end, at, flip }) => {
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] as number) ^ flip;
        const found = acquired(bytes.subarray(0, end), [10, 14], [15, 18]);
        assert.deepEqual(found.gaps, []);
        const all = [...handed(found), ...offsetsOf(found.damaged)].toSorted((a, b) => a - b);
        assert.deepEqual(all, [10, 11, 12, 13, 14, 15, 16, 17, 18]);
      }),
      { numRuns: 2_000 },
    );
  });
});
