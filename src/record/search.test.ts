import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offset } from "../base/ids.ts";
import { BatchView, Codec } from "./batch.ts";
import { BatchBuilder, buildBatch } from "./builder.ts";
import { InflationError } from "./errors.ts";
import { firstRecordAtOrAfter, maxTimestampRecord } from "./search.ts";

const inflatedBytesMax = 1_000_000;

function aBatch(timestamps: readonly number[], codec: Codec = Codec.none): BatchView {
  return BatchView.at(
    buildBatch(
      timestamps.map((timestamp) => ({ value: "v", timestamp })),
      { codec, baseOffset: offset(50) },
    ),
  );
}

describe("a record by its time", () => {
  it("is the first at or after the asked time and offset", () => {
    const timestamps = fc.array(fc.integer({ min: -1, max: 30 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(
        timestamps,
        fc.constantFrom(...Object.values(Codec)),
        fc.integer({ min: 0, max: 31 }),
        fc.integer({ min: 45, max: 65 }),
        (times, codec, timestamp, from) => {
          const expected = times
            .map((time, at) => ({ timestamp: time, offset: 50 + at }))
            .find((place) => place.timestamp >= timestamp && place.offset >= from);
          const found = firstRecordAtOrAfter(aBatch(times, codec), timestamp, {
            from: offset(from),
            inflatedBytesMax,
          });
          assert.deepEqual(found, expected ?? null);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("with log append time is the first of the batch, at the batch's time", () => {
    const batch = aBatch([1, 2, 3]);
    batch.stampLogAppendTime(500);
    assert.deepEqual(firstRecordAtOrAfter(batch, 400, { from: offset(0), inflatedBytesMax }), {
      timestamp: 500,
      offset: 50,
    });
    assert.deepEqual(maxTimestampRecord(batch, inflatedBytesMax), { timestamp: 500, offset: 50 });
    assert.equal(firstRecordAtOrAfter(batch, 501, { from: offset(0), inflatedBytesMax }), null);
  });

  it("of the latest time is the first that has it, also behind gaps", () => {
    assert.deepEqual(maxTimestampRecord(aBatch([7, 9, 3, 9]), inflatedBytesMax), {
      timestamp: 9,
      offset: 51,
    });
    const builder = new BatchBuilder();
    builder.append({ value: "a", timestamp: 1, offsetDelta: 4 });
    builder.append({ value: "b", timestamp: 6, offsetDelta: 8 });
    assert.deepEqual(
      maxTimestampRecord(BatchView.at(builder.build({ baseOffset: offset(50) })), inflatedBytesMax),
      {
        timestamp: 6,
        offset: 58,
      },
    );
  });

  it("is the last offset when no record has the time that the header claims", () => {
    const batch = aBatch([7, 9, 3]);
    batch.stampMaxTimestamp(10);
    assert.deepEqual(maxTimestampRecord(batch, inflatedBytesMax), { timestamp: 10, offset: 52 });
  });

  it("is not looked for in a batch that inflates beyond the bound", () => {
    const batch = aBatch([1, 2, 3], Codec.zstd);
    assert.throws(() => maxTimestampRecord(batch, 10), InflationError);
  });
});
