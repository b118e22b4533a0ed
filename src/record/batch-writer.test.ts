import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, Codec } from "./batch.ts";
import {
  BatchWriter,
  byteLengthOf,
  headersLength,
  recordOverheadMax,
  stampProducer,
} from "./batch-writer.ts";
import { buildBatch } from "./builder.ts";
import { recordsIn } from "./record.ts";

const bytes = fc.oneof(
  fc.constant(null),
  fc.string({ unit: "grapheme", maxLength: 100 }),
  fc.string({ maxLength: 40 }),
  fc.uint8Array({ maxLength: 300 }),
  // Where a length takes one byte more.
  fc.constantFrom(63, 64, 8_191, 8_192).map((length) => new Uint8Array(length).fill(7)),
);
const records = fc.array(
  fc.record({
    key: bytes,
    value: bytes,
    headers: fc.array(fc.record({ key: fc.string({ unit: "grapheme", maxLength: 40 }), value: bytes }), {
      maxLength: 3,
    }),
    timestamp: fc.oneof(fc.nat(2_000), fc.integer({ min: 0, max: 2 ** 45 })),
  }),
  { minLength: 1, maxLength: 80 },
);

function asBytes(value: Uint8Array | string | null): Uint8Array | null {
  return typeof value === "string" ? Buffer.from(value, "utf8") : value;
}

describe("a batch that is filled in place", () => {
  it("has the bytes that the builder of batches gives for the same records", () => {
    fc.assert(
      fc.property(records, fc.constantFrom(100, 1_000, 1_000_000), (given, sizeHint) => {
        const writer = new BatchWriter(1_000_000, sizeHint);
        for (const { key, value, headers, timestamp } of given) {
          const before = writer.size;
          writer.append(key, byteLengthOf(key), value, byteLengthOf(value), headers, timestamp);
          const most = recordOverheadMax + byteLengthOf(key) + byteLengthOf(value) + headersLength(headers);
          assert(writer.size - before <= most, "a record takes no more than was reckoned");
        }
        const filled = writer.finish(Codec.none);
        stampProducer(filled, producerId(4_711), producerEpoch(3), 99);
        const built = buildBatch(
          given.map(({ key, value, headers, timestamp }) => ({
            key,
            value,
            headers: headers.map((header) => ({ key: header.key, value: asBytes(header.value) })),
            timestamp,
          })),
          { producerId: producerId(4_711), producerEpoch: producerEpoch(3), baseSequence: 99 },
        );
        assert.deepEqual(Buffer.from(filled), Buffer.from(built));
      }),
      { numRuns: 200 },
    );
  });

  it("reads back the same from every compression, also stamped anew", () => {
    for (const codec of [Codec.gzip, Codec.snappy, Codec.lz4, Codec.zstd]) {
      const writer = new BatchWriter(10_000);
      for (let index = 0; index < 100; index++) {
        const value = `value ${index}`;
        writer.append(null, 0, value, value.length, [], index);
      }
      const packed = writer.finish(codec);
      for (const sequence of [0, 100]) {
        stampProducer(packed, producerId(1), producerEpoch(0), sequence);
        const batch = BatchView.at(packed);
        assert(batch.isIntact());
        assert.equal(batch.baseSequence, sequence);
        const values = [...recordsIn(batch, 1e6)].map(({ value }) => Buffer.from(value ?? []).toString());
        assert.deepEqual(
          values,
          Array.from({ length: 100 }, (_, index) => `value ${index}`),
        );
      }
    }
  });

  it("takes any first record, and no other beyond its bound", () => {
    const writer = new BatchWriter(1_000);
    assert(writer.fits(5_000));
    writer.append(null, 0, new Uint8Array(5_000), 5_000, [], 1);
    assert(!writer.fits(1));
  });
});
