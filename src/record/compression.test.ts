import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MalformedError } from "../base/errors.ts";
import { Codec } from "./batch.ts";
import { compress, decompress } from "./compression.ts";
import { InflationError } from "./errors.ts";
import { type Lz4Native, type Lz4Script, readLz4Frame, writeLz4Frame } from "./lz4.ts";
import { readSnappy } from "./snappy.ts";

const load = createRequire(import.meta.url);
const native = load("lz4-napi") as Lz4Native;
const script = load("lz4js") as Lz4Script;
const fixture = (name: string): Uint8Array => readFileSync(new URL(`fixtures/${name}`, import.meta.url));
const codecs = Object.entries(Codec).filter(([name]) => name !== "none");
const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(" ", ""), "hex");

/** Bytes with repetitions near and far, so that codecs find matches. */
const compressible = fc
  .array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(Buffer.from("abcabcabc"))), { maxLength: 60 })
  .chain((parts) =>
    fc.nat(20).map((times) => Buffer.concat(Array.from({ length: times }, () => parts).flat())),
  );

/** Longer than several blocks of any codec's framing, partly random. */
function longBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 12345;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = at % 1000 < 300 ? state >>> 24 : at & 0x3f;
  }
  return bytes;
}

for (const [name, codec] of codecs) {
  describe(`${name}`, () => {
    it("gives back what went in", () => {
      fc.assert(
        fc.property(compressible, (bytes) => {
          const inflated = decompress(codec, compress(codec, bytes), bytes.byteLength);
          assert.ok(Buffer.compare(inflated, bytes) === 0);
        }),
        { numRuns: 60 },
      );
      for (const length of [0, 1, 65_535, 65_536, 65_537, 300_000]) {
        const bytes = longBytes(length);
        assert.ok(
          Buffer.compare(decompress(codec, compress(codec, bytes), length), bytes) === 0,
          `${length} bytes`,
        );
      }
    });

    it("stops at the bound on its output", () => {
      const bomb = compress(codec, Buffer.alloc(8_000_000));
      assert.throws(() => decompress(codec, bomb, 7_999_999), InflationError);
      assert.throws(() => decompress(codec, bomb, 1), InflationError);
      assert.throws(() => decompress(codec, bomb, 0), InflationError);
      assert.equal(decompress(codec, bomb, 8_000_000).byteLength, 8_000_000);
    });

    it("refuses every truncation", () => {
      const whole = compress(codec, longBytes(3000));
      // Snappy's framing has no end mark: between blocks, a cut one is a shorter stream.
      const shorter = codec === Codec.snappy ? [16] : [];
      for (let length = 0; length < whole.byteLength; length++) {
        const cut = Uint8Array.from(whole.subarray(0, length));
        if (shorter.includes(length)) assert.equal(decompress(codec, cut, 10_000).byteLength, 0);
        else
          assert.throws(
            () => decompress(codec, cut, 10_000),
            MalformedError,
            `${length} of ${whole.byteLength}`,
          );
      }
    });

    it("ends on damaged input with a typed error or with bytes within the bound", () => {
      const whole = Uint8Array.from(compress(codec, longBytes(700)));
      for (let bit = 0; bit < whole.byteLength * 8; bit++) {
        const damaged = Uint8Array.from(whole);
        damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
        endsWell(codec, damaged);
      }
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => endsWell(codec, bytes)),
        { numRuns: 200 },
      );
    });
  });
}

function endsWell(codec: Codec, bytes: Uint8Array): void {
  try {
    assert.ok(decompress(codec, bytes, 5000).byteLength <= 5000);
  } catch (error) {
    assert.ok(error instanceof MalformedError || error instanceof InflationError, String(error));
  }
}

describe("what franz-go compressed", () => {
  for (const [name, codec] of codecs) {
    it(`is read: ${name}`, () => {
      const expected = Buffer.from("0123456789".repeat(15_000));
      assert.ok(
        Buffer.compare(decompress(codec, fixture(`franz-${name}.compressed`), 150_000), expected) === 0,
      );
    });
  }
});

describe("snappy from strangers", () => {
  it("is read raw and in the Java framing, also when framed streams follow each other", () => {
    // Inflated length 11; literal of 3 (tag 2 << 2): "abc"; copy of 8 (tag 1: (8−4) << 2 | 1) from 3 back.
    const raw = hex("0b 08 616263 11 03");
    assert.equal(Buffer.from(readSnappy(raw, 11)).toString(), "abcabcabcab");
    const framed = hex(`82534e4150505900 00000001 00000001 00000007 ${Buffer.from(raw).toString("hex")}`);
    assert.equal(Buffer.from(readSnappy(framed, 11)).toString(), "abcabcabcab");
    assert.equal(readSnappy(Buffer.concat([framed, framed]), 22).byteLength, 22);
    assert.throws(() => readSnappy(Buffer.concat([framed, framed]), 21), InflationError);
  });

  it("with copies of 16 and 32 bits of distance and long literals is read", () => {
    // 61 << 2: two bytes of length − 1 = 0x00ff, so 256 literals; then copies of 4 from 256 back, both forms.
    const literals = Buffer.alloc(256, "wxyz");
    const raw = Buffer.concat([hex("8802 f4 ff00"), literals, hex("0e 0001 0f 00010000")]);
    assert.equal(Buffer.from(readSnappy(raw, 264)).toString(), literals.toString() + "wxyzwxyz");
  });

  it("whose literal length wraps around is refused instead of looping for ever", () => {
    // Four length bytes of 255: read as signed, that is a literal of 0 or fewer bytes.
    assert.throws(() => readSnappy(hex("0a fc ffffffff 000000000000000000"), 100), MalformedError);
    assert.throws(() => readSnappy(hex("0a fc faffffff 000000000000000000"), 100), MalformedError);
  });

  it("is refused when it copies from before its begin, from itself, or gives another length than claimed", () => {
    for (const bytes of [
      "04 01 01",
      "04 0c 61",
      "05 00 61 01 00",
      "05 00 61 01 02",
      "05 00 61",
      "01 04 6161",
      "05 00 61 0f ffffffff",
    ]) {
      assert.throws(() => readSnappy(hex(bytes), 100), MalformedError, bytes);
    }
  });

  it("that claims far more than it can hold is refused before anything is allocated", () => {
    assert.throws(() => readSnappy(hex("ffffffff0f 00 61"), 2 ** 33), MalformedError);
  });

  it("with a block length that is negative, zero or too long is refused", () => {
    for (const length of ["ffffffff", "00000000", "7fffffff", "00000005"]) {
      assert.throws(
        () => readSnappy(hex(`82534e4150505900 00000001 00000001 ${length} 00000000`), 100),
        MalformedError,
      );
    }
  });
});

describe("lz4 frames", () => {
  const digits = Buffer.from("0123456789".repeat(15_000));
  const row = "the same words on every row of this file, so that it compresses well; ";
  const rows = Buffer.from(
    Array.from({ length: 2000 }, (_, at) => `row ${at % 500}: ${row}`)
      .join("")
      .slice(0, 150_000),
  );

  for (const [name, library] of [
    ["the native library", native],
    ["the script", script],
  ] as const) {
    it(`with block checksums, content checksum and linked blocks are read with ${name}`, () => {
      assert.ok(Buffer.compare(readLz4Frame(fixture("block-checksum.lz4"), 150_000, library), digits) === 0);
      assert.ok(
        Buffer.compare(readLz4Frame(fixture("content-checksum.lz4"), 150_000, library), digits) === 0,
      );
      assert.ok(Buffer.compare(readLz4Frame(fixture("linked.lz4"), 150_000, library), rows) === 0);
      assert.throws(() => readLz4Frame(fixture("linked.lz4"), 149_999, library), InflationError);
    });

    it(`written with ${name} have independent blocks and are read with both`, () => {
      for (const bytes of [
        digits,
        rows,
        longBytes(200_000),
        Buffer.from("short"),
        Buffer.alloc(0),
        Buffer.alloc(65_536),
      ]) {
        const frame = writeLz4Frame(bytes, library);
        assert.equal((frame[4] as number) & 0x20, 0x20);
        assert.ok(Buffer.compare(readLz4Frame(frame, bytes.byteLength, native), bytes) === 0);
        assert.ok(Buffer.compare(readLz4Frame(frame, bytes.byteLength, script), bytes) === 0);
      }
    });
  }

  it("cut before the end mark or inside a trailing checksum are refused, which the native library alone would take", () => {
    const frame = fixture("content-checksum.lz4");
    for (const missing of [1, 4, 5, 8]) {
      const cut = frame.subarray(0, frame.byteLength - missing);
      assert.throws(() => readLz4Frame(cut, 150_000, native), MalformedError);
      assert.throws(() => readLz4Frame(cut, 150_000, script), MalformedError);
    }
  });

  it("with matches from before the begin are refused by both", () => {
    // Token 1 literal, match 4; literal; distance 2 although one byte is there.
    const frame = hex("04224d18 60 40 82 09000000 10 61 0200 50 6262626262 00000000".replace("09", "0a"));
    assert.throws(() => readLz4Frame(frame, 1000, native), MalformedError);
    assert.throws(() => readLz4Frame(frame, 1000, script), MalformedError);
  });
});
