import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, Codec } from "../record/batch.ts";
import { buildBatch, type NewRecord, wrapRecords } from "../record/builder.ts";
import { recordsIn } from "../record/record.ts";
import { validateProduced } from "../record/validate.ts";
import { checkRecords } from "./record-bounds.ts";
import { recompress, targetCompression } from "./recompress.ts";

const nowMs = 1_700_000_000_000;
const rules = {
  timestampType: "create",
  timestampBeforeMaxMs: 1000,
  timestampAfterMaxMs: 500,
  needsKeys: false,
  inflatedBytesMax: 1_000_000,
  messageBytesMax: 1_000_000,
} as const;

const records: readonly NewRecord[] = [
  { key: "a", value: "one ".repeat(100), timestamp: nowMs + 5, headers: [{ key: "h", value: null }] },
  { key: null, value: null, timestamp: nowMs + 9 },
  { key: "c", value: "three", timestamp: nowMs + 1, headers: [{ key: "x", value: Buffer.from([0xff, 0]) }] },
];
const producer = {
  producerId: producerId(8),
  producerEpoch: producerEpoch(1),
  baseSequence: 44,
  isTransactional: true,
};

/** The records as values that compare, whichever class of byte array holds them. */
function plain(batch: BatchView): unknown {
  const text = (bytes: Uint8Array | null): string | null =>
    bytes === null ? null : Buffer.from(bytes).toString("hex");
  return [...recordsIn(batch, 10_000)].map((record) => [
    record.offset,
    record.timestamp,
    text(record.key),
    text(record.value),
    record.headers.map((header) => [header.key, text(header.value)]),
  ]);
}

describe("a batch in the topic's codec", () => {
  it("has the same records and the same producer, from every codec to every codec", () => {
    for (const from of Object.values(Codec)) {
      const batch = BatchView.at(buildBatch(records, { codec: from, ...producer }));
      const expected = plain(batch);
      for (const codec of Object.values(Codec)) {
        const result = recompress(batch, { codec }, rules, nowMs);
        assert.ok(result.kind === "ok");
        assert.equal(result.batch === batch, from === codec);
        assert.equal(result.batch.codec, codec);
        assert.ok(result.batch.isIntact());
        assert.deepEqual(plain(result.batch), expected);
        assert.equal(result.batch.producerId, 8);
        assert.equal(result.batch.producerEpoch, 1);
        assert.equal(result.batch.baseSequence, 44);
        assert.equal(result.batch.lastSequence, 46);
        assert.ok(result.batch.isTransactional);
        assert.equal(result.batch.maxTimestamp, nowMs + 9);
        const limits = { ...rules, zstdAllowed: true };
        assert.equal(validateProduced(result.batch.bytes, limits, nowMs).kind, "ok");
      }
    }
  });

  it("has the true maximum timestamp, whatever the client said", () => {
    const batch = BatchView.at(buildBatch(records));
    batch.stampMaxTimestamp(nowMs + 400);
    const result = recompress(batch, { codec: Codec.lz4 }, rules, nowMs);
    assert.equal(result.kind === "ok" && result.batch.maxTimestamp, nowMs + 9);
  });

  it("is of Kafka's own library as well", () => {
    const gzip = readFileSync(new URL("../record/fixtures/gzip.bin", import.meta.url));
    const result = recompress(BatchView.at(gzip), { codec: Codec.zstd, level: 19 }, rules, nowMs);
    assert.ok(result.kind === "ok");
    assert.equal([...recordsIn(result.batch, 1_000_000)].length, 61);
  });

  it("is refused when it would be stored larger than allowed, or inflates beyond the bound", () => {
    const batch = BatchView.at(
      buildBatch([{ value: "a".repeat(5000), timestamp: nowMs }], { codec: Codec.gzip }),
    );
    const large = recompress(batch, { codec: Codec.none }, { ...rules, messageBytesMax: 5000 }, nowMs);
    assert.equal(large.kind === "refused" && large.error, "MESSAGE_TOO_LARGE");
    const inflated = recompress(batch, { codec: Codec.none }, { ...rules, inflatedBytesMax: 5000 }, nowMs);
    assert.equal(inflated.kind === "refused" && inflated.error, "MESSAGE_TOO_LARGE");
  });

  it("follows the settings under Kafka's names", () => {
    const settings = { gzipLevel: 9, zstdLevel: 19 };
    assert.equal(targetCompression({ type: "producer", ...settings }), null);
    assert.deepEqual(targetCompression({ type: "uncompressed", ...settings }), { codec: Codec.none });
    assert.deepEqual(targetCompression({ type: "gzip", ...settings }), { codec: Codec.gzip, level: 9 });
    assert.deepEqual(targetCompression({ type: "zstd", ...settings }), { codec: Codec.zstd, level: 19 });
    assert.deepEqual(targetCompression({ type: "lz4", ...settings }), { codec: Codec.lz4 });
  });
});

describe("the check of single records", () => {
  const check = (
    batch: Uint8Array,
    changed: Partial<typeof rules> | { needsKeys: true } = {},
  ): ReturnType<typeof checkRecords> => checkRecords(BatchView.at(batch), { ...rules, ...changed }, nowMs);

  it("finds a record in the middle that is too old, which the header does not show", () => {
    const bytes = buildBatch([{ timestamp: nowMs }, { timestamp: nowMs - 1001 }, { timestamp: nowMs }]);
    assert.equal(validateProduced(bytes, { ...rules, zstdAllowed: true }, nowMs).kind, "ok");
    const found = check(bytes);
    assert.ok(found.kind === "refused");
    assert.equal(found.error, "INVALID_TIMESTAMP");
    assert.deepEqual(
      found.recordErrors.map((error) => error.batchIndex),
      [1],
    );
    assert.equal(check(buildBatch([{ timestamp: nowMs - 1000 }, { timestamp: nowMs + 500 }])).kind, "ok");
  });

  it("names the records without a key on a compacted topic, and not more than a few", () => {
    const found = check(buildBatch([{ key: "a", timestamp: nowMs }, { timestamp: nowMs }]), {
      needsKeys: true,
    });
    assert.ok(found.kind === "refused");
    assert.equal(found.error, "INVALID_RECORD");
    assert.deepEqual(
      found.recordErrors.map((error) => error.batchIndex),
      [1],
    );
    const many = check(buildBatch(Array.from({ length: 1000 }, () => ({ timestamp: nowMs }))), {
      needsKeys: true,
    });
    assert.ok(many.kind === "refused");
    assert.equal(many.recordErrors.length, 20);
    assert.match(many.message, /^1000 of 1000 records/);
  });

  it("refuses records that are not numbered from 0 without gaps, or of which there are not as many as promised", () => {
    assert.equal(check(buildBatch([{ timestamp: nowMs, offsetDelta: 1 }])).kind, "refused");
    const { payload } = BatchView.at(buildBatch([{ timestamp: nowMs }]));
    const header = { recordCount: 2, lastOffsetDelta: 1, baseTimestamp: nowMs, maxTimestamp: nowMs };
    for (const codec of Object.values(Codec)) {
      const found = check(wrapRecords(payload, { ...header, codec }));
      assert.equal(found.kind === "refused" && found.error, "INVALID_RECORD");
    }
  });

  it("refuses records that do not inflate", () => {
    for (const codec of [Codec.gzip, Codec.snappy, Codec.lz4, Codec.zstd]) {
      const bytes = Uint8Array.from(buildBatch(records, { codec }));
      bytes.fill(0xee, 66);
      const found = check(bytes);
      assert.equal(found.kind === "refused" && found.error, "INVALID_RECORD");
    }
  });
});
