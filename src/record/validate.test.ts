import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offset, producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, Codec } from "./batch.ts";
import { type BatchFields, buildBatch } from "./builder.ts";
import { type ProduceLimits, type ProduceRefusal, validateProduced } from "./validate.ts";

const nowMs = 1_700_000_000_000;
const limits: ProduceLimits = {
  messageBytesMax: 1_048_588,
  timestampType: "create",
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: 3_600_000,
  zstdAllowed: true,
};

function aBatch(fields: BatchFields = {}, timestamps: readonly number[] = [nowMs, nowMs + 1]): Uint8Array {
  return buildBatch(
    timestamps.map((timestamp, at) => ({ key: `k${at}`, value: "value", timestamp })),
    fields,
  );
}

/** The batch with bytes put over it at `at`, and the CRC made right again. */
function altered(at: number, bytesHex: string, batch = aBatch()): Uint8Array {
  const bytes = Uint8Array.from(batch);
  bytes.set(Buffer.from(bytesHex, "hex"), at);
  if (at > 20) BatchView.at(bytes).stampCrc();
  return bytes;
}

function verdict(records: Uint8Array, changed: Partial<ProduceLimits> = {}): "ok" | ProduceRefusal {
  const check = validateProduced(records, { ...limits, ...changed }, nowMs);
  return check.kind === "ok" ? "ok" : check.error;
}

describe("a produced batch", () => {
  it("that follows the rules passes and is not changed", () => {
    for (const codec of Object.values(Codec)) {
      const bytes = aBatch({
        codec,
        producerId: producerId(5),
        producerEpoch: producerEpoch(0),
        baseSequence: 0,
      });
      const before = Uint8Array.from(bytes);
      const check = validateProduced(bytes, limits, nowMs);
      assert.equal(check.kind, "ok");
      assert.equal(check.kind === "ok" && check.batch.recordCount, 2);
      assert.deepEqual(Uint8Array.from(bytes), before);
    }
    for (const name of ["none", "gzip", "snappy", "lz4", "zstd"]) {
      assert.equal(verdict(readFileSync(new URL(`fixtures/${name}.bin`, import.meta.url))), "ok");
    }
    assert.equal(verdict(aBatch({ isTransactional: true }, [-1, -1])), "ok");
  });

  it("that is absent, cut, or followed by something is refused", () => {
    const bytes = aBatch();
    for (let length = 0; length < bytes.byteLength; length++) {
      assert.equal(verdict(bytes.subarray(0, length)), "INVALID_RECORD", `${length} bytes`);
    }
    assert.equal(verdict(Buffer.concat([bytes, bytes])), "INVALID_RECORD");
    assert.equal(verdict(Buffer.concat([bytes, Buffer.from([0])])), "INVALID_RECORD");
  });

  it("whose length cannot be is corrupt", () => {
    // Shorter than any format's; and of magic 2 but without a whole header.
    for (const length of ["00000000", "0000000d", "ffffffff", "80000000"]) {
      assert.equal(verdict(altered(8, length)), "CORRUPT_MESSAGE");
    }
    assert.equal(verdict(altered(8, "0000002f").subarray(0, 12 + 0x2f)), "CORRUPT_MESSAGE");
  });

  it("of an old format is refused, of an unknown one corrupt", () => {
    assert.equal(verdict(altered(16, "00")), "INVALID_RECORD");
    assert.equal(verdict(altered(16, "01")), "INVALID_RECORD");
    assert.equal(verdict(altered(16, "03")), "CORRUPT_MESSAGE");
    assert.equal(verdict(altered(16, "ff")), "CORRUPT_MESSAGE");
  });

  it("with any bit flipped behind its magic is corrupt", () => {
    const bytes = Uint8Array.from(aBatch());
    for (let bit = 17 * 8; bit < bytes.byteLength * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      const found = verdict(bytes);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.equal(found, "CORRUPT_MESSAGE", `bit ${bit}`);
    }
  });

  it("whose counts do not agree is refused", () => {
    assert.equal(verdict(altered(57, "00000000")), "INVALID_RECORD");
    assert.equal(verdict(altered(57, "ffffffff")), "INVALID_RECORD");
    assert.equal(verdict(altered(57, "00000003")), "INVALID_RECORD");
    assert.equal(verdict(altered(23, "00000000")), "INVALID_RECORD");
    assert.equal(verdict(altered(23, "ffffffff")), "INVALID_RECORD");
    assert.equal(verdict(buildBatch([])), "INVALID_RECORD");
  });

  it("that claims offsets, control or a delete horizon is refused", () => {
    assert.equal(verdict(aBatch({ baseOffset: offset(1) })), "INVALID_RECORD");
    assert.equal(verdict(aBatch({ isControl: true })), "INVALID_RECORD");
    assert.equal(verdict(altered(21, "0040")), "INVALID_RECORD");
  });

  it("with a producer needs an epoch and a sequence", () => {
    const producer = { producerId: producerId(5), producerEpoch: producerEpoch(0), baseSequence: 0 };
    assert.equal(verdict(aBatch({ ...producer, baseSequence: -1 })), "INVALID_RECORD");
    assert.equal(verdict(aBatch({ ...producer, producerEpoch: producerEpoch(-1) })), "INVALID_RECORD");
    assert.equal(verdict(aBatch({ ...producer, baseSequence: 2 ** 31 - 1 })), "ok");
    assert.equal(verdict(altered(43, "7fffffffffffffff", aBatch(producer))), "INVALID_RECORD");
  });

  it("with an unknown codec, or zstd where the request is too old for it, is refused", () => {
    for (const attributes of ["0005", "0006", "0007"]) {
      assert.equal(verdict(altered(21, attributes)), "UNSUPPORTED_COMPRESSION_TYPE");
    }
    assert.equal(
      verdict(aBatch({ codec: Codec.zstd }), { zstdAllowed: false }),
      "UNSUPPORTED_COMPRESSION_TYPE",
    );
  });

  it("may have as many bytes as message.max.bytes, and not one more", () => {
    const bytes = aBatch();
    assert.equal(verdict(bytes, { messageBytesMax: bytes.byteLength }), "ok");
    assert.equal(verdict(bytes, { messageBytesMax: bytes.byteLength - 1 }), "MESSAGE_TOO_LARGE");
  });
});

describe("the timestamps of a produced batch", () => {
  const bounds = { timestampBeforeMaxMs: 100, timestampAfterMaxMs: 10 };

  it("lie within the topic's bounds, both inclusive", () => {
    assert.equal(verdict(aBatch({}, [nowMs - 100, nowMs + 10]), bounds), "ok");
    assert.equal(verdict(aBatch({}, [nowMs - 101, nowMs]), bounds), "INVALID_TIMESTAMP");
    assert.equal(verdict(aBatch({}, [nowMs, nowMs + 11]), bounds), "INVALID_TIMESTAMP");
    assert.equal(verdict(aBatch({}, [-1, -1]), bounds), "ok");
  });

  it("are not bounded when the broker's clock replaces them", () => {
    assert.equal(verdict(aBatch({}, [5, nowMs * 2]), { ...bounds, timestampType: "log-append" }), "ok");
  });

  it("may not claim to be the broker's", () => {
    assert.equal(verdict(aBatch({ logAppendTimeMs: nowMs })), "INVALID_TIMESTAMP");
    assert.equal(
      verdict(aBatch({ logAppendTimeMs: nowMs }), { timestampType: "log-append" }),
      "INVALID_TIMESTAMP",
    );
  });

  it("that no clock can show are refused", () => {
    for (const timestamp of ["7fffffffffffffff", "8000000000000000", "fffffffffffffffe"]) {
      for (const at of [27, 35]) {
        for (const timestampType of ["create", "log-append"] as const) {
          const found = verdict(altered(at, timestamp), {
            timestampType,
            timestampAfterMaxMs: Number.MAX_VALUE,
          });
          assert.equal(found, "INVALID_TIMESTAMP", `${timestamp} at ${at}`);
        }
      }
    }
  });

  it("whose maximum lies before the first record's are corrected, with a CRC that holds", () => {
    const bytes = altered(35, "ffffffffffffffff");
    const check = validateProduced(bytes, limits, nowMs);
    assert.ok(check.kind === "ok");
    assert.equal(check.batch.maxTimestamp, nowMs);
    assert.ok(check.batch.isIntact());
  });
});

describe("the check of produced bytes", () => {
  it("has a verdict on anything, and passes nothing that is not whole", () => {
    const headers = fc.uint8Array({ minLength: 0, maxLength: 90 });
    fc.assert(
      fc.property(headers, fc.boolean(), (noise, repaired) => {
        const bytes = Uint8Array.from(noise);
        if (repaired && bytes.byteLength >= 61) {
          Buffer.from(bytes.buffer).writeInt32BE(bytes.byteLength - 12, 8);
          bytes[16] = 2;
          BatchView.at(bytes).stampCrc();
        }
        if (verdict(bytes) === "ok") {
          const batch = BatchView.at(bytes);
          assert.ok(batch.isIntact() && batch.recordCount > 0 && batch.sizeInBytes === bytes.byteLength);
        }
      }),
      { numRuns: 300 },
    );
  });
});
