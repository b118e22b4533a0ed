import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { sha256 } from "../io/sha256.ts";
import { equalSecrets, hmacSha256 } from "./hmac.ts";

const text = (value: string): Uint8Array => Buffer.from(value, "utf8");
const repeated = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** RFC 4231, section 4; the fifth is cut to 128 bits there. */
const vectors: readonly { readonly key: Uint8Array; readonly data: Uint8Array; readonly mac: string }[] = [
  {
    key: repeated(0x0b, 20),
    data: text("Hi There"),
    mac: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  },
  {
    key: text("Jefe"),
    data: text("what do ya want for nothing?"),
    mac: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  },
  {
    key: repeated(0xaa, 20),
    data: repeated(0xdd, 50),
    mac: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
  },
  {
    key: Uint8Array.from({ length: 25 }, (_, at) => at + 1),
    data: repeated(0xcd, 50),
    mac: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
  },
  {
    key: repeated(0x0c, 20),
    data: text("Test With Truncation"),
    mac: "a3b6167473100ee06e0c796c2955552b",
  },
  {
    key: repeated(0xaa, 131),
    data: text("Test Using Larger Than Block-Size Key - Hash Key First"),
    mac: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  },
  {
    key: repeated(0xaa, 131),
    data: text(
      "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
    ),
    mac: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
  },
];

describe("HMAC-SHA256", () => {
  for (const [at, { key, data, mac }] of vectors.entries()) {
    test(`gives what RFC 4231 says in test case ${at + 1}`, () => {
      assert.equal(hex(hmacSha256(sha256, key, data)).slice(0, mac.length), mac);
    });
  }

  test("is Node's for any key and any chunks", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 150 }), fc.array(fc.uint8Array()), (key, chunks) => {
        const expected = createHmac("sha256", key);
        for (const chunk of chunks) expected.update(chunk);
        assert.equal(hex(hmacSha256(sha256, key, ...chunks)), expected.digest("hex"));
      }),
    );
  });
});

describe("comparing secrets", () => {
  test("tells equal ones from those that differ in any bit or in length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(), fc.nat(7), (secret, at, bit) => {
        const other = secret.slice();
        other[at % other.byteLength] = (other[at % other.byteLength] as number) ^ (1 << bit);
        assert.equal(equalSecrets(secret, secret.slice()), true);
        assert.equal(equalSecrets(secret, other), false);
        assert.equal(equalSecrets(secret, secret.subarray(1)), false);
      }),
    );
  });
});
