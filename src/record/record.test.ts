import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MalformedError } from "../base/errors.ts";
import { offset, producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, batchesIn, Codec } from "./batch.ts";
import { BatchBuilder, buildBatch, type NewRecord } from "./builder.ts";
import { buildMarker, readControl } from "./control.ts";
import { RecordCursor, recordBytes, recordsIn, writeRecord } from "./record.ts";

const bytesMax = 10_000_000;
const fixture = (name: string): Uint8Array => readFileSync(new URL(`fixtures/${name}`, import.meta.url));
const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(" ", ""), "hex");

const bytes = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: null });
const aRecord: fc.Arbitrary<Required<Omit<NewRecord, "offsetDelta">>> = fc.record({
  key: bytes,
  value: bytes,
  headers: fc.array(fc.record({ key: fc.string({ unit: "grapheme", maxLength: 20 }), value: bytes }), {
    maxLength: 5,
  }),
  timestamp: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2 ** 51 })),
});

const plain = (value: Uint8Array | string | null | undefined): number[] | null =>
  value === null || value === undefined ? null : [...Buffer.from(value as Uint8Array)];

describe("records", () => {
  it("come back from a batch as they went in, with every codec", () => {
    fc.assert(
      fc.property(
        fc.array(aRecord, { minLength: 1, maxLength: 30 }),
        fc.constantFrom(...Object.values(Codec)),
        (records, codec) => {
          const batch = BatchView.at(buildBatch(records, { codec, baseOffset: offset(1000) }));
          assert.ok(batch.isIntact());
          assert.equal(batch.recordCount, records.length);
          assert.equal(batch.maxTimestamp, Math.max(...records.map((record) => record.timestamp)));
          const found = [...recordsIn(batch, bytesMax)];
          assert.equal(found.length, records.length);
          for (const [index, record] of records.entries()) {
            const back = found[index];
            assert.equal(back?.offset, 1000 + index);
            assert.equal(back?.timestamp, record.timestamp);
            assert.deepEqual(plain(back?.key), plain(record.key));
            assert.deepEqual(plain(back?.value), plain(record.value));
            assert.deepEqual(
              back?.headers.map((header) => [header.key, plain(header.value)]),
              record.headers.map((header) => [header.key, plain(header.value)]),
            );
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("take the bytes that were counted, at every edge of a varint", () => {
    const edges = [0, 1, 63, 64, 8191, 8192, 2 ** 20 - 1, 2 ** 20, 2 ** 30 - 1, 2 ** 31 - 1];
    const longs = [...edges, 2 ** 32, 2 ** 34, 2 ** 41, 2 ** 48, 2 ** 51].flatMap((value) => [
      value,
      0 - value,
      -value - 1,
    ]);
    for (const offsetDelta of edges) {
      for (const timestampDelta of longs) {
        const record = { timestampDelta, offsetDelta, key: null, value: null, headers: [] };
        const size = recordBytes(record);
        const into = Buffer.alloc(size);
        assert.equal(writeRecord(into, 0, record), size);
        const cursor = new RecordCursor(into, 1);
        assert.ok(cursor.next());
        assert.equal(cursor.timestampDelta, timestampDelta);
        assert.equal(cursor.offsetDelta, offsetDelta);
        assert.ok(!cursor.next());
      }
    }
  });

  it("cut anywhere are refused", () => {
    const batch = BatchView.at(
      buildBatch([
        { key: "key", value: "value", headers: [{ key: "h", value: null }], timestamp: 7 },
        { value: "b" },
      ]),
    );
    for (let length = 0; length < batch.payload.byteLength; length++) {
      const cursor = new RecordCursor(batch.payload.subarray(0, length), 2);
      assert.throws(() => {
        while (cursor.next());
      }, MalformedError);
    }
  });

  it("with any bit flipped are refused or read within their bounds", () => {
    const { payload } = BatchView.at(
      buildBatch([
        { key: "key", value: "value", headers: [{ key: "h", value: Buffer.from("v") }], timestamp: 7 },
        { value: "b" },
      ]),
    );
    for (let bit = 0; bit < payload.byteLength * 8; bit++) {
      const damaged = Uint8Array.from(payload);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      readAll(damaged, 2);
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(4), readAll), { numRuns: 500 });
  });

  it("whose lengths lie are refused", () => {
    const lies = {
      "longer than the batch": "7e 00 00 00 01 01 00",
      "shorter than a record can be": "02 00",
      "no bytes at all": "00",
      "a negative length": "01 00 00 00 01 01 00",
      "a key of length −2": "0c 00 00 00 03 01 00",
      "a value longer than the record": "0c 00 00 00 01 7e 00",
      "more headers than fit": "0c 00 00 00 01 01 fe",
      "a negative header count": "0c 00 00 00 01 01 01",
      "a header without a key": "10 00 00 00 01 01 02 01 01",
      "bytes behind its fields": "0e 00 00 00 01 01 00 00",
      "a varint without an end": "0e 00 00 80 80 80 80 80",
      "a varint of 35 bits": "14 00 00 ffffffff7f 01 01 00",
      "a varlong beyond 2^53": "1c 00 ffffffffffffffff7f 00 01 01 00",
    };
    for (const [lie, record] of Object.entries(lies)) {
      const cursor = new RecordCursor(hex(record), 1);
      assert.throws(() => cursor.next(), MalformedError, lie);
    }
    assert.ok(new RecordCursor(hex("0c 00 00 00 01 01 00"), 1).next());
  });

  it("of another number than promised are refused", () => {
    const { payload } = BatchView.at(buildBatch([{ value: "a" }, { value: "b" }]));
    for (const count of [0, 1, 3, 2 ** 31 - 1]) {
      const cursor = new RecordCursor(payload, count);
      assert.throws(() => {
        while (cursor.next());
      }, MalformedError);
    }
    assert.throws(() => new RecordCursor(payload, -1), MalformedError);
  });

  it("may have gaps between their offsets, as compaction leaves them", () => {
    const builder = new BatchBuilder();
    builder.append({ value: "a", offsetDelta: 3 });
    builder.append({ value: "b" });
    builder.append({ value: "c", offsetDelta: 9 });
    const batch = BatchView.at(builder.build({ baseOffset: offset(100), lastOffsetDelta: 12 }));
    assert.deepEqual(
      [...recordsIn(batch, bytesMax)].map((record) => record.offset),
      [103, 104, 109],
    );
    assert.equal(batch.lastOffset, 112);
  });
});

function readAll(payload: Uint8Array, count: number): void {
  const cursor = new RecordCursor(payload, count);
  try {
    while (cursor.next()) {
      const { key, value, headers } = cursor;
      assert.ok((key?.byteLength ?? 0) + (value?.byteLength ?? 0) + headers.length <= payload.byteLength);
    }
  } catch (error) {
    assert.ok(error instanceof MalformedError, String(error));
  }
}

describe("batches written by Apache Kafka's library", () => {
  for (const name of ["none", "gzip", "snappy", "lz4", "zstd"] as const) {
    it(`are read as they were meant: ${name}`, () => {
      const batch = BatchView.at(fixture(`${name}.bin`));
      assert.ok(batch.isIntact());
      assert.equal(batch.codec, Codec[name]);
      assert.equal(batch.producerId, 4000);
      assert.equal(batch.producerEpoch, 2);
      assert.equal(batch.baseSequence, 17);
      const records = [...recordsIn(batch, bytesMax)];
      const count = name === "none" ? 20 : 61;
      assert.equal(records.length, count);
      for (const [index, record] of records.slice(0, name === "none" ? 20 : 60).entries()) {
        assert.equal(record.offset, index);
        assert.equal(record.timestamp, 1_700_000_000_000 + ((index * 37) % 100));
        assert.deepEqual(plain(record.key), plain(index % 3 === 0 ? null : `key-${index}`));
        assert.deepEqual(
          plain(record.value),
          plain(index % 7 === 0 ? null : `välue-${index}-`.repeat(index)),
        );
        assert.deepEqual(
          record.headers.map((header) => [header.key, plain(header.value)]),
          [0, 1, 2].slice(0, index % 4).map((h) => [`h-${h}`, h === 1 ? null : plain(`${index * h}`)]),
        );
      }
      if (name !== "none") assert.equal(records.at(-1)?.value?.byteLength, 150_000);
    });
  }

  it("and the library's commit marker is ours, byte for byte", () => {
    const bytes = fixture("commit.bin");
    const batch = BatchView.at(bytes);
    assert.deepEqual(readControl(batch), { kind: "commit", coordinatorEpoch: 9 });
    const ours = BatchView.at(
      buildMarker({
        kind: "commit",
        producerId: producerId(4000),
        producerEpoch: producerEpoch(2),
        coordinatorEpoch: 9,
        timestampMs: 1_700_000_000_000,
      }),
    );
    ours.stampOffsets(batch.baseOffset, batch.leaderEpoch);
    assert.deepEqual(Buffer.from(ours.bytes), Buffer.from(bytes));
  });
});

describe("batches written by librdkafka", () => {
  for (const name of ["gzip", "snappy", "lz4", "zstd"] as const) {
    it(`are read as they were meant: ${name}`, () => {
      const batches = [...batchesIn(fixture(`librdkafka-${name}.bin`))];
      assert.ok(batches.every((batch) => batch.isIntact()));
      // The first may hold one record, which librdkafka leaves as it is when that is shorter.
      assert.equal(batches.at(-1)?.codec, Codec[name]);
      const records = batches.flatMap((batch) => [...recordsIn(batch, bytesMax)]);
      assert.deepEqual(
        records.map((record) => [
          record.offset,
          Buffer.from(record.key ?? "").toString(),
          Buffer.from(record.value ?? "").toString(),
        ]),
        Array.from({ length: 300 }, (_, at) => [at, `key-${at}`, `value ${at} of three hundred`]),
      );
    });
  }
});

describe("control records", () => {
  it("say what they are, and of unknown types at least the number", () => {
    const marker = {
      kind: "abort",
      producerId: producerId(1),
      producerEpoch: producerEpoch(0),
      timestampMs: 5,
    } as const;
    for (const coordinatorEpoch of [-1, 0, 0x1234_8765, 2 ** 31 - 1]) {
      const bytes = buildMarker({ ...marker, coordinatorEpoch });
      assert.deepEqual(readControl(BatchView.at(bytes)), { kind: "abort", coordinatorEpoch });
    }
    const other = buildBatch([{ key: hex("0000 0002"), value: hex("00") }], { isControl: true });
    assert.deepEqual(readControl(BatchView.at(other)), { kind: "other", type: 2 });
  });

  it("that are cut short are refused", () => {
    for (const [key, value] of [
      ["000000", "000000000009"],
      ["00000001", "0000000000"],
    ] as const) {
      const bytes = buildBatch([{ key: hex(key), value: hex(value) }], { isControl: true });
      assert.throws(() => readControl(BatchView.at(bytes)), MalformedError);
    }
  });

  it("may be gone from their batch: compaction takes a marker when nothing is left that it decided on", () => {
    const empty = BatchView.at(buildBatch([], { isControl: true }));
    assert.deepEqual(readControl(empty), { kind: "other", type: null });
  });
});
