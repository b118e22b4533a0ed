import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MalformedError } from "../base/errors.ts";
import { leaderEpoch, offset, producerEpoch, producerId } from "../base/ids.ts";
import { advanceSequence, BatchView, batchesIn, Codec, wholeBatchBytes, wholeBatchesIn } from "./batch.ts";
import { buildBatch } from "./builder.ts";
import { recordsIn } from "./record.ts";

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/[^0-9a-f]/g, ""), "hex");

/** One record {key "k", value "v"} at 1,000 ms, put together by hand. */
const HAND_MADE = hex(
  "0000000000000000" + // base offset 0
    "0000003a" + // 58 bytes follow: 49 of header, 9 of record
    "ffffffff" + // leader epoch −1
    "02" + // magic
    "610eb0c2" + // CRC32C of what follows, computed with java.util.zip.CRC32C
    "0000" + // attributes: no compression, create time
    "00000000" + // last offset delta
    "00000000000003e8" + // base timestamp 1,000
    "00000000000003e8" + // maximum timestamp 1,000
    "0000000000000007" + // producer 7
    "0003" + // producer epoch 3
    "7fffffff" + // base sequence 2^31 − 1
    "00000001" + // one record
    "10" + // record: 8 bytes, zigzag 16
    "00" + // attributes
    "00" + // timestamp delta 0
    "00" + // offset delta 0
    "026b" + // key: 1 byte, "k"
    "0276" + // value: 1 byte, "v"
    "00", // no headers
);

function aBatch(fields: Parameters<typeof buildBatch>[1] = {}): Uint8Array {
  return buildBatch([{ key: "k", value: "v", timestamp: 1000 }], fields);
}

describe("a view over a record batch", () => {
  it("reads the fields of bytes made by hand", () => {
    const batch = BatchView.at(HAND_MADE);
    assert.equal(batch.sizeInBytes, 70);
    assert.equal(batch.baseOffset, 0);
    assert.equal(batch.leaderEpoch, -1);
    assert.equal(batch.baseTimestamp, 1000);
    assert.equal(batch.maxTimestamp, 1000);
    assert.equal(batch.producerId, 7);
    assert.equal(batch.producerEpoch, 3);
    assert.equal(batch.baseSequence, 2 ** 31 - 1);
    assert.equal(batch.lastSequence, 2 ** 31 - 1);
    assert.equal(batch.recordCount, 1);
    assert.equal(batch.crc, batch.computeCrc());
    const [record] = [...recordsIn(batch, 1000)];
    assert.equal(String(record?.key), "k");
    assert.equal(String(record?.value), "v");
  });

  it("is what the builder makes of the same record", () => {
    const built = aBatch({
      producerId: producerId(7),
      producerEpoch: producerEpoch(3),
      baseSequence: 2 ** 31 - 1,
    });
    assert.deepEqual(Buffer.from(built), Buffer.from(HAND_MADE));
  });

  it("reads negative and large int64 values", () => {
    const at = 2 ** 52 + 12_345;
    const batch = BatchView.at(aBatch({ baseOffset: offset(at), producerId: producerId(2 ** 40 + 3) }));
    assert.equal(batch.baseOffset, at);
    assert.equal(batch.producerId, 2 ** 40 + 3);
    assert.equal(BatchView.at(aBatch()).producerId, -1);
    assert.equal(BatchView.at(aBatch()).hasProducer, false);
    assert.equal(BatchView.at(buildBatch([{ value: "a" }, { value: "b" }])).lastSequence, -1);
  });

  it("wraps sequence numbers behind 2^31 − 1", () => {
    assert.equal(advanceSequence(2 ** 31 - 1, 1), 0);
    assert.equal(advanceSequence(2 ** 31 - 2, 5), 3);
    const batch = BatchView.at(
      buildBatch([{ value: "a" }, { value: "b" }, { value: "c" }], { baseSequence: 2 ** 31 - 2 }),
    );
    assert.equal(batch.lastSequence, 0);
  });

  it("stamps offset and leader epoch without touching what the CRC covers", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(2 ** 31 - 1), (base, epoch) => {
        const before = aBatch();
        const batch = BatchView.at(Uint8Array.from(before));
        batch.stampOffsets(offset(base), leaderEpoch(epoch));
        assert.equal(batch.baseOffset, base);
        assert.equal(batch.leaderEpoch, epoch);
        assert.equal(batch.nextOffset, base + 1);
        assert.ok(batch.isIntact());
        assert.deepEqual(batch.bytes.slice(16), new Uint8Array(before.slice(16)));
      }),
      { numRuns: 50 },
    );
  });

  it("stamps log append time into the header, with a CRC that holds, and every record has that time", () => {
    const batch = BatchView.at(
      buildBatch(
        [
          { value: "a", timestamp: 5 },
          { value: "b", timestamp: 900 },
        ],
        { codec: Codec.gzip },
      ),
    );
    batch.stampLogAppendTime(1_700_000_000_123);
    assert.ok(batch.isIntact());
    assert.ok(batch.isLogAppendTime);
    assert.equal(batch.codec, Codec.gzip);
    assert.equal(batch.baseTimestamp, 5);
    assert.equal(batch.maxTimestamp, 1_700_000_000_123);
    assert.deepEqual(
      [...recordsIn(batch, 1000)].map((record) => record.timestamp),
      [1_700_000_000_123, 1_700_000_000_123],
    );
  });

  it("detects the flip of any bit behind the magic by its CRC", () => {
    const bytes = Uint8Array.from(aBatch({ codec: Codec.none }));
    const batch = BatchView.at(bytes);
    let detected = 0;
    for (let bit = 17 * 8; bit < bytes.byteLength * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      if (!batch.isIntact()) detected++;
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    }
    assert.equal(detected, (bytes.byteLength - 17) * 8);
    assert.ok(batch.isIntact());
  });

  it("refuses the flip of any bit of length and magic, and changes only its own field for the rest of the first 17 bytes", () => {
    const original = aBatch();
    for (let bit = 0; bit < 17 * 8; bit++) {
      const bytes = Uint8Array.from(original);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      const byte = bit >> 3;
      if ((byte >= 8 && byte < 12) || byte === 16) {
        // A shorter length that is still a possible one is a batch whose CRC does not hold.
        let found: BatchView;
        try {
          found = BatchView.at(bytes);
        } catch (error) {
          assert.ok(error instanceof MalformedError);
          continue;
        }
        assert.ok(!found.isIntact(), `bit ${bit}`);
      } else {
        assert.ok(BatchView.at(bytes).isIntact());
      }
    }
  });

  it("refuses every truncation", () => {
    const bytes = aBatch();
    for (let length = 0; length < bytes.byteLength; length++) {
      assert.throws(() => BatchView.at(bytes.subarray(0, length)), MalformedError);
    }
  });
});

describe("rows of batches", () => {
  const three = Buffer.concat([
    aBatch(),
    aBatch({ baseOffset: offset(1) }),
    aBatch({ baseOffset: offset(2) }),
  ]);

  it("are walked one by one, sharing memory", () => {
    const found = [...batchesIn(three)];
    assert.deepEqual(
      found.map((batch) => batch.baseOffset),
      [0, 1, 2],
    );
    assert.equal(found[1]?.bytes.buffer, three.buffer);
    assert.deepEqual([...batchesIn(new Uint8Array(0))], []);
  });

  it("end at the last whole batch when a fetch answer is cut anywhere", () => {
    const size = three.byteLength / 3;
    for (let length = 0; length <= three.byteLength; length++) {
      const cut = three.subarray(0, length);
      const whole = Math.floor(length / size);
      assert.equal(wholeBatchBytes(cut), whole * size);
      assert.equal([...wholeBatchesIn(cut)].length, whole);
      if (length % size !== 0) assert.throws(() => [...batchesIn(cut)], MalformedError);
    }
  });

  it("are refused when a batch claims an impossible length", () => {
    const bytes = Buffer.from(three);
    bytes.writeInt32BE(-1, 8);
    assert.throws(() => wholeBatchBytes(bytes), MalformedError);
    bytes.writeInt32BE(0, 8);
    assert.throws(() => [...wholeBatchesIn(bytes)], MalformedError);
  });
});
