import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { crc32c, crc32cJoin, crc32cScript } from "./crc32c.ts";

const ascending = Uint8Array.from({ length: 32 }, (_, at) => at);

/** RFC 3720, B.4, written there in the order of bytes on the wire; and the check value of the polynomial. */
const known: readonly (readonly [string, Uint8Array, number])[] = [
  ["32 bytes of zeroes", new Uint8Array(32), 0x8a9136aa],
  ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["32 ascending bytes", ascending, 0x46dd794e],
  ["32 descending bytes", Uint8Array.from(ascending).reverse(), 0x113fdb5c],
  [
    "an iSCSI read command",
    Buffer.from(
      "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000",
      "hex",
    ),
    0xd9963a56,
  ],
  ["123456789", Buffer.from("123456789"), 0xe3069283],
  ["nothing", new Uint8Array(0), 0],
];

describe("CRC-32C", () => {
  for (const [name, bytes, expected] of known) {
    it(`is the published value for ${name}`, () => {
      assert.equal(crc32cScript(bytes), expected);
      assert.equal(crc32c(bytes), expected);
    });
  }

  it("goes on from an earlier result, wherever the bytes are divided", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
        assert.equal(
          crc32cScript(bytes.subarray(cut), crc32cScript(bytes.subarray(0, cut))),
          crc32cScript(bytes),
        );
      }),
    );
  });

  it("is the same from any position of a larger buffer", () => {
    const bytes = Uint8Array.from({ length: 200 }, (_, at) => (at * 89) & 0xff);
    for (let start = 0; start < 16; start++) {
      for (let length = 0; length < 40; length++) {
        const part = bytes.subarray(start, start + length);
        assert.equal(crc32cScript(part), crc32cScript(Uint8Array.from(part)));
      }
    }
  });
});

describe("joined checksums", () => {
  it("are those of the joined bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
        assert.equal(crc32cJoin(crc32c(a), crc32c(b), b.byteLength), crc32c(Buffer.concat([a, b])));
      }),
    );
    const long = Uint8Array.from({ length: 200_003 }, (_, at) => (at * 7919) & 0xff);
    for (const cut of [0, 1, 21, 65_536, 200_002, 200_003]) {
      const a = long.subarray(0, cut);
      const b = long.subarray(cut);
      assert.equal(crc32cJoin(crc32c(a), crc32c(b), b.byteLength), crc32c(long));
    }
  });
});
